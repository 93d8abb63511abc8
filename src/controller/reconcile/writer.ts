/**
 * Writer: makes objects of one kind what they should be, and writes nothing when they are that already. For kinds that only the controller
 * writes. What should be there is decided elsewhere; status is status-writer.ts's.
 */
import { isAlreadyExists, isConflict, isNotFound } from '../../kube/errors.ts';
import type { KubeClient } from '../../kube/client.ts';
import { keyOf, partsOf, type KubeObject, type Resource } from '../../kube/types.ts';
import type { Budget } from './budget.ts';
import { OwnWrites, type Cache, type Untaken } from './own-writes.ts';

export type WriteVerb = 'create' | 'update' | 'delete' | 'status';
/** Counts writes, for metrics. */
export type CountWrite = (kind: string, verb: WriteVerb, ok: boolean) => void;

export interface WriterOptions<T extends KubeObject> {
  readonly client: Pick<KubeClient, 'create' | 'update' | 'delete'>;
  readonly resource: Resource<T>;
  readonly cache: Cache<T>;
  /** What the cache heard that no decision knows of: nothing is written over it. */
  readonly untaken?: () => Untaken<T>;
  /** Whether what is there says what is wanted. */
  readonly same: (present: T, wanted: T) => boolean;
  readonly budget: Budget;
  readonly count: CountWrite;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Called before each request; what it throws is thrown instead. */
  readonly before?: () => void;
}

export const FIELD_MANAGER = 'ipvs-controller';

export class Writer<T extends KubeObject> {
  readonly #options: WriterOptions<T>;
  readonly objects: OwnWrites<T>;

  constructor(options: WriterOptions<T>) {
    this.#options = options;
    this.objects = new OwnWrites(options.cache, options.now, options.untaken);
  }

  /** Makes it so. Returns whether anything was written. Rejects with ApiError: ALREADY_EXISTS or CONFLICT mean that somebody else was quicker. */
  async ensure(wanted: T, signal: AbortSignal): Promise<boolean> {
    const key = keyOf(wanted);
    const present = this.objects.get(key);
    const { client, resource, same } = this.#options;
    if (present === undefined) {
      await this.#write(key, 'create', signal, () => client.create(resource, wanted, { signal, fieldManager: FIELD_MANAGER }));
      return true;
    }
    if (same(present, wanted)) return false;
    const labels = { ...present.metadata.labels, ...wanted.metadata.labels };
    const next: T = { ...present, ...wanted, metadata: { ...present.metadata, ...wanted.metadata, labels } };
    await this.#write(key, 'update', signal, () => client.update(resource, next, { signal, fieldManager: FIELD_MANAGER }));
    return true;
  }

  /** Removes this very object in this very state. Gone already is well. Returns whether there was anything to remove. */
  async remove(key: string, signal: AbortSignal): Promise<boolean> {
    const present = this.objects.get(key);
    if (present === undefined) return false;
    const { client, resource } = this.#options;
    const { uid, resourceVersion } = present.metadata;
    const { namespace, name } = partsOf(key);
    await this.#write(key, 'delete', signal, async () => {
      try {
        await client.delete(resource, name, namespace, { signal, uid, resourceVersion });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
      return null;
    });
    return true;
  }

  async #write(key: string, verb: WriteVerb, signal: AbortSignal, write: () => Promise<T | null>): Promise<void> {
    const { resource, budget, count, before } = this.#options;
    before?.();
    await budget.take(signal);
    try {
      const object = await write();
      this.objects.wrote(key, object === null ? null : resource.parse?.(object) ?? object);
      count(resource.kind, verb, true);
    } catch (error) {
      if (refutes(error)) this.objects.refuted(key);
      count(resource.kind, verb, false);
      throw error;
    }
  }
}

/** Whether a refusal says that the object is not what it was believed to be. */
export function refutes(error: unknown): boolean {
  return isNotFound(error) || isConflict(error) || isAlreadyExists(error);
}

/** Whether the labels that are wanted are there; others may add theirs. */
export function hasLabels(present: KubeObject, wanted: KubeObject): boolean {
  return Object.entries(wanted.metadata.labels ?? {}).every(([key, value]) => present.metadata.labels?.[key] === value);
}
