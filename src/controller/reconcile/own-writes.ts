/**
 * OwnWrites: objects of one kind as the server has them, as far as is known: what was written counts at once, before the cache has heard
 * of it, or every second reconcile would repeat the first. What is newer than the own write ends it.
 */
import type { Store } from '../../kube/store.ts';
import type { KubeObject } from '../../kube/types.ts';

/** null: deleted. */
type Own<T> = { readonly object: T | null; readonly version: string | undefined };

export class OwnWrites<T extends KubeObject> {
  readonly #cache: Pick<Store<T>, 'get' | 'keys'>;
  readonly #own = new Map<string, Own<T>>();

  constructor(cache: Pick<Store<T>, 'get' | 'keys'>) {
    this.#cache = cache;
  }

  get(key: string): T | undefined {
    const own = this.#own.get(key);
    return own ? own.object ?? undefined : this.#cache.get(key);
  }

  /** Everything that is there. */
  *keys(): Generator<string, void, undefined> {
    for (const key of this.#cache.keys()) if (this.#own.get(key)?.object !== null) yield key;
    for (const [key, { object }] of this.#own) if (object !== null && this.#cache.get(key) === undefined) yield key;
  }

  /** The answer to a write; null: deleted. */
  wrote(key: string, object: T | null): void {
    this.#own.set(key, { object, version: object?.metadata.resourceVersion });
  }

  /** A write failed: whatever was believed of it may be wrong, and the cache has the last word. */
  failed(key: string): void { this.#own.delete(key); }

  /** The cache heard of a change (undefined: deleted). Returns whether somebody else made it. */
  heard(key: string, object: T | undefined): boolean {
    const own = this.#own.get(key);
    if (!own) return true;
    if (object === undefined) {
      // A deletion that was ours, or one of an object from before ours.
      if (own.object === null) this.#own.delete(key);
      return false;
    }
    const version = object.metadata.resourceVersion;
    if (own.object === null ? own.version === version : older(version, own.version)) return false;
    this.#own.delete(key);
    return version !== own.version;
  }
}

/** Whether a version comes before another. They are comparable since Kubernetes 1.35 says so (KEP-5504), and always were with etcd behind. */
function older(a: string | undefined, b: string | undefined): boolean {
  if (a === undefined || b === undefined || !/^\d+$/.test(a) || !/^\d+$/.test(b)) return false;
  return a.length === b.length ? a < b : a.length < b.length;
}
