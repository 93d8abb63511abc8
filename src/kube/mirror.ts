/**
 * Mirror: from objects as the server sends them to a store and the changes that led to it: parsing, the last good version of a bad object,
 * and what a new list means for what is there. The state behind a reflector, without time and without the network.
 */
import { writerOf, type Prepared, type Store, type StoreWriter } from './store.ts';
import { keyOf, nameOf, type KubeObject, type Log, type Resource } from './types.ts';

/** One difference. `old` is what was in the store before; a deleted object is as it was last known. */
export type Change<T> =
  | { readonly type: 'added'; readonly key: string; readonly object: T }
  | { readonly type: 'updated'; readonly key: string; readonly object: T; readonly old: T }
  | { readonly type: 'deleted'; readonly key: string; readonly object: T };

export interface MirrorOptions<T extends KubeObject> {
  readonly resource: Resource<T>;
  readonly store: Store<T>;
  readonly log: Log;
  /** Must not throw. */
  readonly emit: (change: Change<T>) => void;
}

/** A whole state that is being collected. Until `apply` nothing of it is visible. */
export interface Replacement<T> {
  add(object: T): void;
  clear(): void;
  apply(): void;
}

type Read<T> = { readonly prepared: Prepared<T> } | { readonly problem: string; readonly version: string | undefined; readonly uid: string | undefined };

export class Mirror<T extends KubeObject> {
  readonly #options: MirrorOptions<T>;
  readonly #writer: StoreWriter<T>;
  readonly #bad = new Map<string, string>();
  /** Versions of the bad ones: the same version is not complained about twice. */
  readonly #badVersions = new Map<string, string | undefined>();

  constructor(options: MirrorOptions<T>) {
    this.#options = options;
    this.#writer = writerOf(options.store);
  }

  /** Key to what is wrong. */
  get bad(): ReadonlyMap<string, string> { return this.#bad; }

  put(object: T): void {
    const key = keyOf(object);
    if (this.#unchanged(key, object)) return;
    this.#take(key, this.#read(key, object), this.#options.emit);
  }

  delete(object: T): void {
    this.#drop(keyOf(object), this.#options.emit);
  }

  /** `anew`: a version that is there already proves nothing, because the server has gone back in time; every object counts as changed. */
  replacement(anew = false): Replacement<T> {
    /** null: as it is in the store. */
    const next = new Map<string, Read<T> | null>();
    return {
      add: (object) => {
        const key = keyOf(object);
        next.set(key, !anew && this.#unchanged(key, object) ? null : this.#read(key, object));
      },
      clear: () => next.clear(),
      apply: () => {
        const { store, emit } = this.#options;
        // The store first and whole, then the changes: who is told of one sees all of them.
        const changes: Change<T>[] = [];
        const collect = (change: Change<T>): void => { changes.push(change); };
        for (const key of [...store.keys()]) if (!next.has(key)) this.#drop(key, collect);
        for (const key of [...this.#bad.keys()]) if (!next.has(key)) this.#forgive(key);
        for (const [key, read] of next) if (read) this.#take(key, read, collect);
        for (const change of changes) emit(change);
      },
    };
  }

  /** The version the store has, or that is known to be bad. */
  #unchanged(key: string, { metadata }: T): boolean {
    const version = metadata.resourceVersion;
    if (version === undefined) return false;
    return this.#bad.has(key) ? this.#badVersions.get(key) === version : this.#options.store.get(key)?.metadata.resourceVersion === version;
  }

  #read(key: string, object: T): Read<T> {
    const { parse } = this.#options.resource;
    try {
      const prepared = this.#writer.prepare(parse ? parse(object) : object);
      if (prepared.key !== key) throw new TypeError(`became ${prepared.key} when it was parsed`);
      return { prepared };
    } catch (error) {
      return { problem: (error as Error).message || String(error), version: object.metadata.resourceVersion, uid: object.metadata.uid };
    }
  }

  #take(key: string, read: Read<T>, emit: (change: Change<T>) => void): void {
    const { store, resource, log } = this.#options;
    if ('problem' in read) {
      // What is there is the last good version of this object, not of one of the same name before it.
      if (store.get(key)?.metadata.uid !== read.uid) this.#drop(key, emit);
      this.#bad.set(key, read.problem);
      this.#badVersions.set(key, read.version);
      log.warn({ resource: nameOf(resource), object: key, problem: read.problem, lastGood: store.has(key) }, 'an object fails its schema');
      return;
    }
    this.#forgive(key);
    const { object } = read.prepared;
    const old = store.get(key);
    this.#writer.put(read.prepared);
    if (old === undefined) return emit({ type: 'added', key, object });
    if (old.metadata.uid === object.metadata.uid) return emit({ type: 'updated', key, object, old });
    // Deleted and made anew while nobody looked.
    emit({ type: 'deleted', key, object: old });
    emit({ type: 'added', key, object });
  }

  #drop(key: string, emit: (change: Change<T>) => void): void {
    this.#forgive(key);
    const old = this.#options.store.get(key);
    if (old === undefined) return;
    this.#writer.delete(key);
    emit({ type: 'deleted', key, object: old });
  }

  #forgive(key: string): void {
    this.#bad.delete(key);
    this.#badVersions.delete(key);
  }
}
