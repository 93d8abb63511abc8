/**
 * StatusWriter: writes the status of objects of one kind by server-side apply, only when it differs, and not more often than people can
 * read. What it should be is decided in controller/status.
 */
import { isDeepStrictEqual } from 'node:util';
import { isNotFound } from '../../kube/errors.ts';
import type { KubeClient } from '../../kube/client.ts';
import { partsOf, type KubeObject, type Resource } from '../../kube/types.ts';
import type { Budget } from './budget.ts';
import type { OwnWrites } from './own-writes.ts';
import { FIELD_MANAGER, refutes, type CountWrite } from './writer.ts';

export type WithStatus<S> = KubeObject & { readonly status?: S };

export interface StatusWriterOptions<T extends WithStatus<S>, S> {
  readonly client: Pick<KubeClient, 'apply' | 'update'>;
  readonly resource: Resource<T>;
  readonly objects: OwnWrites<T>;
  readonly budget: Budget;
  readonly count: CountWrite;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Whether a difference cannot wait: a condition changed. */
  readonly urgent: (before: S | undefined, after: S) => boolean;
  /** What of a status is ours, where others write to it too. Absent: all of it. */
  readonly part?: (status: S | undefined) => S | undefined;
  /** Differences that can wait are written so many milliseconds after the write before. */
  readonly calmMs: number;
}

export class StatusWriter<T extends WithStatus<S>, S> {
  readonly #options: StatusWriterOptions<T, S>;
  readonly objects: OwnWrites<T>;
  /** When each was last written. */
  readonly #written = new Map<string, number>();
  /** What a server keeps otherwise than it was told, as it does with a field that its CRD does not have: told once a version. */
  readonly #kept = new Map<string, { readonly status: S; readonly version: string | undefined }>();

  constructor(options: StatusWriterOptions<T, S>) {
    this.#options = options;
    this.objects = options.objects;
  }

  /** Milliseconds until it may be written; 0: it was, or says the same. Rejects with ApiError. An object that is gone is well. */
  async write(key: string, status: S, signal: AbortSignal): Promise<number> {
    const { now, urgent, calmMs } = this.#options;
    const present = this.objects.get(key);
    if (present === undefined || this.#says(present, status)) return 0;
    const kept = this.#kept.get(key);
    if (kept !== undefined && kept.version === present.metadata.resourceVersion && isDeepStrictEqual(kept.status, status)) return 0;
    const wait = (this.#written.get(key) ?? -Infinity) + calmMs - now();
    if (wait > 0 && !urgent(present.status, status)) return Math.ceil(wait);
    try {
      const { apiVersion, kind } = present;
      await this.#send(key, () => this.#apply(key, { apiVersion, kind, status }, signal), signal);
      // Others' fields stay where we apply ours, and here nobody else has any.
      const after = this.objects.get(key);
      if (after !== undefined && !this.#options.part && !this.#says(after, status)) await this.#send(key, () => this.#replace({ ...after, status }, signal), signal);
      this.#remember(key, status);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    return 0;
  }

  /** The object is gone. */
  forget(key: string): void {
    this.#written.delete(key);
    this.#kept.delete(key);
  }

  #says(object: T, status: S): boolean {
    const { part = (s: S | undefined) => s } = this.#options;
    return isDeepStrictEqual(part(object.status), status);
  }

  #remember(key: string, status: S): void {
    this.#written.set(key, this.#options.now());
    const object = this.objects.get(key);
    if (object === undefined || this.#says(object, status)) this.#kept.delete(key);
    else this.#kept.set(key, { status, version: object.metadata.resourceVersion });
  }

  async #apply(key: string, object: { readonly apiVersion: string; readonly kind: string; readonly status: S }, signal: AbortSignal): Promise<T> {
    const { client, resource } = this.#options;
    const { namespace, name } = partsOf(key);
    const metadata = { name, ...(namespace === undefined ? {} : { namespace }) };
    return await client.apply(resource, { ...object, metadata }, { fieldManager: FIELD_MANAGER, force: true, subresource: 'status', signal });
  }

  async #replace(object: T, signal: AbortSignal): Promise<T> {
    const { client, resource } = this.#options;
    return await client.update(resource, object, { fieldManager: FIELD_MANAGER, subresource: 'status', signal });
  }

  async #send(key: string, send: () => Promise<T>, signal: AbortSignal): Promise<void> {
    const { resource, budget, count } = this.#options;
    await budget.take(signal);
    try {
      const written = await send();
      this.objects.wroteStatus(key, resource.parse?.(written) ?? written);
      count(resource.kind, 'status', true);
    } catch (error) {
      if (refutes(error)) this.objects.refuted(key);
      count(resource.kind, 'status', false);
      throw error;
    }
  }
}
