/**
 * StatusWriter: writes the status of objects of one kind by server-side apply, only when it differs, and not more often than people can
 * read. What it should be is decided in controller/status.
 */
import { isDeepStrictEqual } from 'node:util';
import { isNotFound } from '../../kube/errors.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Store } from '../../kube/store.ts';
import { partsOf, type KubeObject, type Resource } from '../../kube/types.ts';
import type { Budget } from './budget.ts';
import { OwnWrites } from './own-writes.ts';
import { FIELD_MANAGER, type CountWrite } from './writer.ts';

export type WithStatus<S> = KubeObject & { readonly status?: S };

export interface StatusWriterOptions<T extends WithStatus<S>, S> {
  readonly client: Pick<KubeClient, 'apply'>;
  readonly resource: Resource<T>;
  readonly cache: Pick<Store<T>, 'get' | 'keys'>;
  readonly budget: Budget;
  readonly count: CountWrite;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Whether a difference cannot wait: a condition changed. */
  readonly urgent: (before: S | undefined, after: S) => boolean;
  /** What of a status is ours, where others write to it too. */
  readonly part?: (status: S | undefined) => S | undefined;
  /** Differences that can wait are written so many milliseconds after the write before. */
  readonly calmMs: number;
}

export class StatusWriter<T extends WithStatus<S>, S> {
  readonly #options: StatusWriterOptions<T, S>;
  readonly objects: OwnWrites<T>;
  /** When each was last written. */
  readonly #written = new Map<string, number>();

  constructor(options: StatusWriterOptions<T, S>) {
    this.#options = options;
    this.objects = new OwnWrites(options.cache);
  }

  /** Milliseconds until it may be written; 0: it was, or says the same. Rejects with ApiError. An object that is gone is well. */
  async write(key: string, status: S, signal: AbortSignal): Promise<number> {
    const { client, resource, budget, count, now, urgent, calmMs, part = (s) => s } = this.#options;
    const present = this.objects.get(key);
    if (present === undefined || isDeepStrictEqual(part(present.status), status)) return 0;
    const wait = (this.#written.get(key) ?? -Infinity) + calmMs - now();
    if (wait > 0 && !urgent(present.status, status)) return Math.ceil(wait);
    await budget.take(signal);
    const { namespace, name } = partsOf(key);
    const { apiVersion, kind } = present;
    const object = { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) }, status };
    try {
      const written = await client.apply(resource, object, { fieldManager: FIELD_MANAGER, force: true, subresource: 'status', signal });
      this.objects.wrote(key, resource.parse?.(written) ?? written);
      this.#written.set(key, now());
      count(resource.kind, 'status', true);
    } catch (error) {
      this.objects.failed(key);
      count(resource.kind, 'status', false);
      if (!isNotFound(error)) throw error;
    }
    return 0;
  }

  forget(key: string): void { this.#written.delete(key); }
}
