/**
 * Store: the objects of one kind as a reflector last saw them, with indexes. Everybody reads; only whoever holds the writer writes, which
 * is a reflector, or a test. What is in it is shared: nobody changes an object that came out of here.
 */
import { keyOf, type KubeObject, type ObjectMeta } from './types.ts';

/** Under which values an object is found. Duplicates and an empty list are fine. */
export type IndexFunction<T> = (object: T) => readonly string[];

export interface StoreOptions<T> {
  /** By index name. A function that throws makes the object a bad one: it is not stored. */
  readonly indexes?: Readonly<Record<string, IndexFunction<T>>>;
  /** Drops what nobody needs before it takes up memory. Name, namespace, uid and resourceVersion must stay. */
  readonly trim?: (object: T) => T;
  /** Freezes what is stored, to find who changes it. For tests: it costs a walk over every object. */
  readonly freeze?: boolean;
}

interface Entry<T> {
  readonly object: T;
  /** For each index the values the object is filed under: filed away as they were, so that removal finds them again. */
  readonly filed: readonly (readonly string[])[];
}

/** The writing half of a store. */
export interface StoreWriter<T> {
  /** What `put` would store: without managedFields, trimmed, frozen. Throws what trim or an index function throws; the store is as before. */
  prepare(object: T): Prepared<T>;
  put(prepared: Prepared<T>): void;
  delete(key: string): void;
}

export interface Prepared<T> extends Entry<T> {
  readonly key: string;
}

let writers: <T extends KubeObject>(store: Store<T>) => StoreWriter<T>;

export class Store<T extends KubeObject> {
  readonly #options: StoreOptions<T>;
  readonly #entries = new Map<string, Entry<T>>();
  readonly #functions: readonly IndexFunction<T>[];
  readonly #indexes = new Map<string, Map<string, Map<string, T>>>();

  constructor(options: StoreOptions<T> = {}) {
    this.#options = options;
    this.#functions = Object.values(options.indexes ?? {});
    for (const name of Object.keys(options.indexes ?? {})) this.#indexes.set(name, new Map());
  }

  static {
    writers = (store) => ({
      prepare: (object) => store.#prepare(object),
      put: (prepared) => store.#put(prepared),
      delete: (key) => store.#delete(key),
    });
  }

  get size(): number { return this.#entries.size; }

  get(key: string): T | undefined { return this.#entries.get(key)?.object; }

  has(key: string): boolean { return this.#entries.has(key); }

  keys(): IterableIterator<string> { return this.#entries.keys(); }

  /** All objects, in no order that means anything. */
  *values(): Generator<T, void, undefined> {
    for (const { object } of this.#entries.values()) yield object;
  }

  /** The objects filed under a value of an index, in no order that means anything. Throws TypeError when there is no such index. */
  by(indexName: string, value: string): readonly T[] {
    return [...this.#filed(indexName, value)?.values() ?? []];
  }

  /** How many there are. Throws TypeError when there is no such index. */
  count(indexName: string, value: string): number { return this.#filed(indexName, value)?.size ?? 0; }

  #filed(indexName: string, value: string): ReadonlyMap<string, T> | undefined {
    const index = this.#indexes.get(indexName);
    if (!index) throw new TypeError(`the store has no index ${indexName}`);
    return index.get(value);
  }

  #prepare(original: T): Prepared<T> {
    const { trim, freeze } = this.#options;
    const stripped = withoutManagedFields(original);
    const object = trim ? trim(stripped) : stripped;
    if (freeze) deepFreeze(object);
    return { key: keyOf(object), object, filed: this.#functions.map((f) => [...new Set(f(object))]) };
  }

  #put({ key, object, filed }: Prepared<T>): void {
    this.#unfile(key);
    this.#entries.set(key, { object, filed });
    let i = 0;
    for (const index of this.#indexes.values()) {
      for (const value of filed[i]!) {
        const under = index.get(value);
        if (under) under.set(key, object);
        else index.set(value, new Map([[key, object]]));
      }
      i++;
    }
  }

  #delete(key: string): void {
    this.#unfile(key);
    this.#entries.delete(key);
  }

  #unfile(key: string): void {
    const filed = this.#entries.get(key)?.filed;
    if (!filed) return;
    let i = 0;
    for (const index of this.#indexes.values()) {
      for (const value of filed[i]!) {
        const under = index.get(value)!;
        under.delete(key);
        if (under.size === 0) index.delete(value);
      }
      i++;
    }
  }
}

/** The right to write a store: for its reflector, and for tests. */
export function writerOf<T extends KubeObject>(store: Store<T>): StoreWriter<T> {
  return writers(store);
}

/** A store that has these objects and never changes: for tests of code that reads one. */
export function storeOf<T extends KubeObject>(objects: Iterable<T>, options: StoreOptions<T> = {}): Store<T> {
  const store = new Store(options);
  const writer = writerOf(store);
  for (const object of objects) writer.put(writer.prepare(object));
  return store;
}

/** managedFields are often the larger half of an object, and nobody here reads them. The original is left as it is. */
function withoutManagedFields<T extends KubeObject>(object: T): T {
  if (!('managedFields' in object.metadata)) return object;
  const { managedFields: _, ...metadata } = object.metadata as ObjectMeta & { managedFields: unknown };
  return { ...object, metadata };
}

function deepFreeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const part of Object.values(value)) deepFreeze(part);
}
