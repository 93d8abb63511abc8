/**
 * OwnWrites: objects of one kind as the server has them, as far as decisions know of it: what was written counts at once, before the cache
 * has heard of it, or every second reconcile would repeat the first. What is newer than the own write ends it, and so does a time without
 * news: the cache has the last word. And a spec that somebody wrote counts from when it was taken notice of (`heard`), not before: or what
 * was decided without it would be written over it, in its own version, where the server would have refused.
 */
import { isDeepStrictEqual } from 'node:util';
import type { KubeObject } from '../../kube/types.ts';

/** What the cache heard of one object since it was last asked. */
export interface Heard<T> {
  /** As it was before; undefined: not there. */
  readonly old: T | undefined;
  /** As it is now; undefined: not there. */
  readonly object: T | undefined;
  /** The newest that was heard of it; of a deleted one, as it was last known. */
  readonly last: T;
}

/** What that means: nothing new; somebody reported in status; somebody changed what is only ours to write, or took it away. */
export type News = 'none' | 'status' | 'spec';

/** `object` null: deleted, when it had this version. */
interface Own<T> { readonly object: T | null; readonly version: string | undefined; readonly at: number }

/** A cache that has not heard of a write for so long will not. Milliseconds. */
const UNHEARD_MS = 30_000;

/** What is asked of a store (kube/store.ts). */
export interface Cache<T> {
  get(key: string): T | undefined;
  keys(): Iterable<string>;
  values(): Iterable<T>;
}

/** What a cache heard and `heard` was not told yet, by key. */
export type Untaken<T> = ReadonlyMap<string, Heard<T>>;
const NOTHING: Untaken<never> = new Map();

export class OwnWrites<T extends KubeObject> {
  readonly #cache: Cache<T>;
  readonly #now: () => number;
  readonly #untaken: () => Untaken<T>;
  readonly #own = new Map<string, Own<T>>();
  readonly #doubted = new Set<string>();

  /** `now`: monotonic milliseconds. `untaken` absent: specs of this kind are nobody's to write here. */
  constructor(cache: Cache<T>, now: () => number, untaken: () => Untaken<T> = () => NOTHING) {
    this.#cache = cache;
    this.#now = now;
    this.#untaken = untaken;
  }

  get(key: string): T | undefined {
    const own = this.#own.get(key);
    if (own) return own.object ?? undefined;
    const object = this.#cache.get(key);
    const untaken = this.#untaken().get(key);
    // With the newest status and version all the same, or each report of an agent would be a conflict.
    return untaken !== undefined && newsOf(untaken.old, object) === 'spec' ? untaken.old : object;
  }

  /** As last heard of, whether it was taken notice of or not. */
  latest(key: string): T | undefined {
    const own = this.#own.get(key);
    return own ? own.object ?? undefined : this.#cache.get(key);
  }

  /** Everything that is there. */
  *keys(): Generator<string, void, undefined> {
    const untaken = this.#untaken();
    for (const key of this.#cache.keys()) if (!(this.#own.has(key) || untaken.has(key)) || this.get(key) !== undefined) yield key;
    for (const [key, { object }] of this.#own) if (object !== null && this.#cache.get(key) === undefined) yield key;
    for (const key of untaken.keys()) if (!this.#own.has(key) && this.#cache.get(key) === undefined && this.get(key) !== undefined) yield key;
  }

  *values(): Generator<T, void, undefined> {
    if (this.#own.size + this.#untaken().size > 0) for (const key of this.keys()) yield this.get(key)!;
    // As nearly always: thousands are looked at in each pass.
    else yield* this.#cache.values();
  }

  /** The answer to a write that was made upon what is believed, or upon nothing; null: deleted. */
  wrote(key: string, object: T | null): void {
    this.#own.set(key, { object, version: (object ?? this.get(key))?.metadata.resourceVersion, at: this.#now() });
  }

  /**
   * The answer to a write of status, which is made upon whatever there is: what somebody else wrote and no cache has heard of may be in it.
   * Its event will be no news then, for this is newer; so the object is one to be looked at.
   */
  wroteStatus(key: string, object: T): void {
    if (newsOf(this.get(key), object) === 'spec') this.#doubted.add(key);
    this.wrote(key, object);
  }

  /** The server refused a write in a way that proves what is believed of the object wrong. Other failures prove nothing. */
  refuted(key: string): void {
    if (this.#own.delete(key)) this.#doubted.add(key);
  }

  heard(key: string, { old, object, last }: Heard<T>): News {
    const own = this.#own.get(key);
    if (!own) return newsOf(old, object);
    // What is not newer than the own write was on its way when that was made. Of a deletion only that is known which went before it.
    const behind = object === undefined && own.object !== null ? !reaches(last, own.version) : !newer(last, own.version);
    if (behind) {
      const done = object === undefined ? own.object === null : object.metadata.resourceVersion === own.version && own.object !== null;
      if (done) this.#own.delete(key);
      return 'none';
    }
    this.#own.delete(key);
    return own.object === null && object === undefined ? 'none' : newsOf(own.object ?? undefined, object);
  }

  /**
   * Objects that are to be looked at whatever is heard of them: own writes that were refuted, that no cache has heard of for too long, or
   * that somebody else's are in.
   */
  doubts(): string[] {
    const before = this.#now() - UNHEARD_MS;
    for (const [key, { at }] of this.#own) if (at < before) this.refuted(key);
    const keys = [...this.#doubted];
    this.#doubted.clear();
    return keys;
  }
}

function newsOf<T extends KubeObject>(was: T | undefined, is: T | undefined): News {
  if (was === undefined || is === undefined) return was === is ? 'none' : 'spec';
  const [a, b] = [was.metadata, is.metadata];
  return a.uid === b.uid && a.generation === b.generation && isDeepStrictEqual(a.labels ?? {}, b.labels ?? {}) ? 'status' : 'spec';
}

/** Whether this is the version, or a newer one. */
function reaches(object: KubeObject, version: string | undefined): boolean {
  return object.metadata.resourceVersion === version || newer(object, version);
}

/**
 * Whether this is newer than a version. They are comparable since Kubernetes 1.35 says so (KEP-5504), and always were with etcd behind; of others, a
 * different one counts as newer.
 */
function newer({ metadata: { resourceVersion: a } }: KubeObject, b: string | undefined): boolean {
  if (a === undefined || b === undefined || !/^\d+$/.test(a) || !/^\d+$/.test(b)) return a !== b;
  return a.length === b.length ? a > b : a.length > b.length;
}
