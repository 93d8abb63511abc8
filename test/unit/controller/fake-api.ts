/**
 * An API server in memory, as KubeClient: versions, generations, conflicts, preconditions, status apart from spec, server-side apply of
 * status by several managers, watches that come late, garbage collection by owner references. Every call and every event takes a random
 * part of a fake time, so a seed is a history. Schemas are enforced; HTTP, RBAC and CEL are the real server's (test/cluster).
 */
import type { KubeClient, ListOptions, WatchEvent, WatchOptions } from '../../../src/kube/client.ts';
import { ApiError, errorFromStatus } from '../../../src/kube/errors.ts';
import { collectionPath, keyOf, type KubeObject, type ObjectMeta, type Resource } from '../../../src/kube/types.ts';
import { AbortError, onAbort, throwIfAborted } from '../../../src/kube/wait.ts';
import { FakeCluster, Refusal, sameJson, type Entry, type Stored } from '../kube/fake-cluster.ts';
import type { FakeTime } from '../kube/fake-time.ts';

export type Verb = 'create' | 'update' | 'apply' | 'delete' | 'get' | 'list' | 'watch';

export interface Call {
  readonly who: string;
  readonly verb: Verb;
  readonly kind: string;
  readonly key: string;
  /** What was sent, for writes. */
  readonly object: KubeObject | undefined;
}

export interface FakeAPIOptions {
  readonly time: FakeTime;
  /** 0 <= x < 1. */
  readonly random: () => number;
  /** Longest way of a request, of its answer, and of an event. Milliseconds. */
  readonly lagMs?: number;
}

type Written = KubeObject & { readonly spec?: unknown; readonly status?: Record<string, unknown> };

const READING: ReadonlySet<Verb> = new Set(['get', 'list', 'watch']);

export class FakeAPI {
  readonly cluster = new FakeCluster();
  /** Writes that were carried out and changed something, in order. */
  readonly writes: Call[] = [];
  /** Writes that were asked for, whatever became of them. */
  readonly asked: Call[] = [];
  /** Called when a call arrives; throws to refuse it. */
  arrives: (call: Call) => void = () => {};
  /** Whether the answer to a call that was carried out gets lost. */
  loses: (call: Call) => boolean = () => false;
  /** Called after each change of an object, whoever made it. */
  changed: (entry: Entry) => void = () => {};
  /** Kinds (plurals) that this server does not have. */
  readonly absent = new Set<string>();
  #breaks = 0;
  #collected = 0;
  readonly #rings = new Set<() => void>();
  readonly #options: Required<FakeAPIOptions>;
  readonly #resources = new Map<string, Resource>();

  constructor(options: FakeAPIOptions) {
    this.#options = { lagMs: 40, ...options };
    this.cluster.listeners.add((entry) => this.changed(entry));
  }

  /** All objects of a kind, by key. */
  all<T extends KubeObject>(resource: Resource<T>): Map<string, T> {
    return new Map(this.cluster.all(collectionPath(resource)).map((o) => [keyOf(o), o as unknown as T]));
  }

  /** One object, if it is there. */
  find<T extends KubeObject>(resource: Resource<T>, key: string): T | undefined { return this.#find(collectionPath(resource), key) as unknown as T | undefined; }

  /** Writes an object as a person would, at once: new, or the spec, labels and annotations of the one that is there. */
  put(resource: Resource, object: KubeObject): void {
    const collection = collectionPath(resource);
    this.#resources.set(collection, resource);
    const old = this.#find(collection, keyOf(object));
    if (old) this.cluster.replace(collection, mainOf({ ...object, metadata: { ...object.metadata, resourceVersion: old.metadata.resourceVersion } }, old));
    else this.cluster.create(collection, { ...object, metadata: { ...object.metadata, generation: 1 } });
  }

  /** Writes a status as a person or an agent would, at once: these fields of it. */
  putStatus(resource: Resource, key: string, status: Record<string, unknown>): void {
    const collection = collectionPath(resource);
    const old = this.cluster.get(collection, key);
    this.cluster.replace(collection, { ...old, status: { ...old.status as object | undefined, ...status } } as KubeObject);
  }

  /** Deletes an object, if it is there. Returns whether it was. */
  drop(resource: Resource, key: string): boolean {
    const collection = collectionPath(resource);
    if (!this.#find(collection, key)) return false;
    this.cluster.delete(collection, key);
    return true;
  }

  /** Deletes whatever has owners of which none exists, as kube-controller-manager does. */
  collectGarbage(): void {
    if (this.cluster.version === this.#collected) return;
    // Of before: what is deleted now may have owned something.
    this.#collected = this.cluster.version;
    const uids = new Set<string>();
    const objects: [string, Stored][] = [];
    for (const [collection] of this.#resources) for (const object of this.cluster.all(collection)) { uids.add(object.metadata.uid); objects.push([collection, object]); }
    for (const [collection, object] of objects) {
      const owners = object.metadata.ownerReferences ?? [];
      if (owners.length > 0 && owners.every((o) => !uids.has(o.uid))) this.cluster.delete(collection, keyOf(object));
    }
  }

  /** Every watch that is open ends at once; what it had not delivered it never does. */
  breakWatches(): void {
    this.#breaks++;
    for (const ring of this.#rings) ring();
  }

  client(who: string): KubeClient {
    const call = async <T>(verb: Verb, resource: Resource, key: string, signal: AbortSignal | undefined, work: () => T, object?: KubeObject): Promise<T> => {
      const asked: Call = { who, verb, kind: resource.kind, key, object };
      this.#resources.set(collectionPath(resource), resource);
      await this.#travel(signal);
      if (!READING.has(verb)) this.asked.push(asked);
      let result: T;
      try {
        if (this.absent.has(resource.plural)) throw new Refusal(404, 'NotFound', 'the server could not find the requested resource');
        this.arrives(asked);
        const before = this.cluster.version;
        result = work();
        if (this.cluster.version !== before) this.writes.push(asked);
      } catch (error) {
        await this.#travel(signal);
        if (!(error instanceof Refusal)) throw error;
        throw errorFromStatus(verb.toUpperCase(), `${collectionPath(resource)}/${key}`, error.status, { code: error.status, reason: error.reason, message: error.message });
      }
      // The answer may be later than the event.
      await this.#travel(signal);
      if (this.loses(asked)) throw new ApiError({ code: 'UNREACHABLE', message: 'socket hang up', verb: verb.toUpperCase(), path: key });
      return result;
    };
    const list = async <T extends KubeObject>(resource: Resource<T>, { labelSelector, namespace, signal }: ListOptions = {}) => await call('list', resource, '', signal, () => ({
      items: this.cluster.all(collectionPath(resource)).filter((o) => selects(o, namespace, labelSelector)) as unknown as T[], resourceVersion: String(this.cluster.version),
    }));
    return {
      list, listAll: list,
      get: async <T extends KubeObject>(resource: Resource<T>, name: string, namespace?: string, { signal }: { signal?: AbortSignal | undefined } = {}) => {
        const key = namespace ? `${namespace}/${name}` : name;
        return await call('get', resource, key, signal, () => this.cluster.get(collectionPath(resource), key) as unknown as T);
      },
      create: async <T extends KubeObject>(resource: Resource<T>, object: T, { signal }: { signal?: AbortSignal | undefined } = {}) =>
        await call('create', resource, keyOf(object), signal, () => {
          const { status: _, ...rest } = object as unknown as Written;
          return this.cluster.create(collectionPath(resource), checked(resource, { ...rest, metadata: { ...rest.metadata, generation: 1 } })) as unknown as T;
        }, object),
      update: async <T extends KubeObject>(resource: Resource<T>, object: T, { signal, subresource }: { signal?: AbortSignal | undefined; subresource?: 'status' | undefined } = {}) =>
        await call('update', resource, keyOf(object), signal, () => {
          const collection = collectionPath(resource);
          const old = this.cluster.get(collection, keyOf(object));
          const next = subresource ? statusOf(object, old) : mainOf(object, old);
          return this.cluster.replace(collection, checked(resource, next)) as unknown as T;
        }, object),
      apply: async <T extends KubeObject>(resource: Resource<T>, object: KubeObject, { signal, fieldManager, subresource }: { signal?: AbortSignal | undefined; fieldManager: string; subresource?: 'status' | undefined }) => {
        if (subresource !== 'status') throw new TypeError('this server applies status only');
        return await call('apply', resource, keyOf(object), signal, () => {
          const collection = collectionPath(resource);
          const old = this.cluster.get(collection, keyOf(object)) as Stored & Written;
          const next = { ...old, status: this.#applied(`${collection} ${old.metadata.uid} ${fieldManager}`, old.status ?? {}, (object as Written).status ?? {}) };
          return this.cluster.replace(collection, checked(resource, next)) as unknown as T;
        }, object);
      },
      patchStatus: () => { throw new TypeError('nobody here patches'); },
      editStatus: () => { throw new TypeError('nobody here patches'); },
      delete: async (resource, name, namespace, { signal, uid, resourceVersion } = {}) => {
        const key = namespace ? `${namespace}/${name}` : name;
        await call('delete', resource, key, signal, () => this.cluster.delete(collectionPath(resource), key, { ...(uid === undefined ? {} : { uid }), ...(resourceVersion === undefined ? {} : { resourceVersion }) }));
      },
      watch: (resource, options) => this.#watch(resource, options),
    };
  }

  /** What each manager applied last: fields and conditions that it leaves out the next time go, unless others have them. */
  readonly #managed = new Map<string, Record<string, unknown>>();

  #applied(manager: string, old: Record<string, unknown>, sent: Record<string, unknown>): Record<string, unknown> {
    const before = this.#managed.get(manager) ?? {};
    this.#managed.set(manager, sent);
    const next: Record<string, unknown> = { ...old };
    for (const field of Object.keys(before)) if (!(field in sent)) delete next[field];
    for (const [field, value] of Object.entries(sent)) next[field] = field === 'conditions' ? this.#appliedConditions(typesOf(before['conditions']), old['conditions'], value) : value;
    return next;
  }

  #appliedConditions(mine: ReadonlySet<string>, old: unknown, sent: unknown): unknown[] {
    const now = new Map((sent as { type: string }[]).map((c) => [c.type, c]));
    const kept = ((old ?? []) as { type: string }[]).filter((c) => now.has(c.type) || !mine.has(c.type)).map((c) => now.get(c.type) ?? c);
    const there = typesOf(kept);
    return [...kept, ...[...now.values()].filter((c) => !there.has(c.type))];
  }

  async *#watch(resource: Resource, { resourceVersion, labelSelector, namespace, signal }: WatchOptions): AsyncGenerator<WatchEvent, void, undefined> {
    const collection = collectionPath(resource);
    this.#resources.set(collection, resource);
    await this.#travel(signal);
    if (this.absent.has(resource.plural)) throw new ApiError({ code: 'NOT_FOUND', status: 404, message: 'no such kind', verb: 'WATCH', path: collection });
    const from = Number(resourceVersion);
    if (from < this.cluster.compacted) throw new ApiError({ code: 'EXPIRED', status: 410, reason: 'Expired', message: 'too old resource version', verb: 'WATCH', path: collection });
    const queue = this.cluster.history.filter((e) => e.collection === collection && e.version > from);
    let ring = (): void => {};
    const listener = (entry: Entry): void => { if (entry.collection === collection) { queue.push(entry); ring(); } };
    this.cluster.listeners.add(listener);
    const awake = (): void => ring();
    this.#rings.add(awake);
    const off = onAbort(signal, awake);
    const breaks = this.#breaks;
    try {
      for (;;) {
        while (queue.length === 0 && signal?.aborted !== true && this.#breaks === breaks) await new Promise<void>((resolve) => { ring = resolve; });
        throwIfAborted(signal);
        await this.#travel(signal);
        if (this.#breaks !== breaks) throw new ApiError({ code: 'UNREACHABLE', message: 'socket hang up', verb: 'WATCH', path: collection });
        const event = eventFor(queue.shift()!, namespace, labelSelector);
        if (event) yield event;
      }
    } finally {
      this.cluster.listeners.delete(listener);
      this.#rings.delete(awake);
      off();
    }
  }

  #find(collection: string, key: string): Stored | undefined {
    try {
      return this.cluster.get(collection, key);
    } catch (error) {
      if (error instanceof Refusal) return undefined;
      throw error;
    }
  }

  async #travel(signal: AbortSignal | undefined): Promise<void> {
    const { time, random, lagMs } = this.#options;
    const never = new AbortController().signal;
    if (signal?.aborted) throw new AbortError(signal);
    await time.sleep(Math.floor(random() * lagMs), signal ?? never);
  }
}

function typesOf(conditions: unknown): ReadonlySet<string> {
  return new Set(((conditions ?? []) as { type: string }[]).map((c) => c.type));
}

/** A write of the main resource: status stays, the generation counts changes of spec. */
function mainOf(object: KubeObject, old: Stored): KubeObject {
  const { status: _, ...rest } = object as { -readonly [K in keyof Written]: Written[K] };
  const same = sameJson((object as Written).spec, old.spec);
  const { generation = 1, creationTimestamp } = old.metadata;
  if (Object.keys(rest.metadata.labels ?? {}).length === 0) rest.metadata = { ...rest.metadata, labels: undefined };
  return { ...rest, ...(old.status === undefined ? {} : { status: old.status }), metadata: { ...rest.metadata, generation: same ? generation : generation + 1, creationTimestamp } } as KubeObject;
}

function statusOf(object: KubeObject, old: Stored): KubeObject {
  const { resourceVersion } = object.metadata;
  return { ...old, metadata: { ...old.metadata, ...(resourceVersion === undefined ? {} : { resourceVersion }) }, status: (object as Written).status } as KubeObject;
}

/** What a schema refuses is refused here too. */
function checked(resource: Resource, object: KubeObject): KubeObject {
  try {
    resource.parse?.(object);
  } catch (error) {
    throw new Refusal(422, 'Invalid', (error as Error).message);
  }
  return object;
}

function eventFor({ type, object, old }: Entry, namespace: string | undefined, labels: string | undefined): WatchEvent | null {
  const is = type !== 'DELETED' && selects(object, namespace, labels);
  const was = old !== undefined && selects(old, namespace, labels);
  if (is) return { type: was ? 'MODIFIED' : 'ADDED', object };
  return was ? { type: 'DELETED', object } : null;
}

/** The selectors that the product uses: `a`, `!a`, `a=b`. */
function selects({ metadata }: { readonly metadata: ObjectMeta }, namespace: string | undefined, selector: string | undefined): boolean {
  if (namespace !== undefined && metadata.namespace !== namespace) return false;
  if (selector === undefined) return true;
  const labels = metadata.labels ?? {};
  if (selector.startsWith('!')) return !(selector.slice(1) in labels);
  const at = selector.indexOf('=');
  return at < 0 ? selector in labels : labels[selector.slice(0, at)] === selector.slice(at + 1);
}
