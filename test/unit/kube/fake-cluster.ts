/**
 * What a fake API server knows: objects by URL, a version counter, and a history that watches are served from and that can be compacted.
 * Behaves as the real one where this runtime could notice. What it gives is frozen. No sockets here, and no faults: those are in fake-server.ts.
 */
import type { KubeObject, ObjectMeta } from '../../../src/kube/types.ts';

export interface Stored extends KubeObject {
  readonly metadata: ObjectMeta & { readonly uid: string; readonly resourceVersion: string; readonly managedFields?: unknown };
  readonly spec?: unknown;
  readonly status?: unknown;
}

export interface Selection {
  readonly namespace: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
}

/** One change. `old` is what was there before, `object` what is there now, or was there last. */
export interface Entry {
  readonly version: number;
  readonly collection: string;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: Stored;
  readonly old: Stored | undefined;
}

/** A refusal as the server words it. */
export class Refusal extends Error {
  readonly status: number;
  readonly reason: string;
  readonly details: object | undefined;
  constructor(status: number, reason: string, message: string, details?: object) {
    super(message);
    this.status = status;
    this.reason = reason;
    this.details = details;
  }
}

export class FakeCluster {
  version = 100;
  readonly history: Entry[] = [];
  /** Watches from before this version, and pages of lists from before it, are answered 410. */
  compacted = 0;
  readonly listeners = new Set<(entry: Entry) => void>();
  readonly #objects = new Map<string, Map<string, Stored>>();
  /** What is sorted, until a name comes or goes or an object changes. */
  readonly #sorted = new Map<string, readonly Stored[]>();
  readonly #pages = new Map<string, { readonly version: number; readonly rest: readonly Stored[] }>();

  get(collection: string, key: string): Stored {
    const found = this.#objects.get(collection)?.get(key);
    if (!found) throw new Refusal(404, 'NotFound', `${collection} "${key}" not found`);
    return found;
  }

  /** Sorted by key, as etcd has them. */
  all(collection: string, selection: Selection = { namespace: undefined, labels: {} }): Stored[] {
    let all = this.#sorted.get(collection);
    if (!all) this.#sorted.set(collection, all = [...this.#objects.get(collection) ?? []].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, o]) => o));
    return all.filter((o) => selects(selection, o));
  }

  list(collection: string, selection: Selection, limit: number, token: string | null): { items: Stored[]; version: number; next: string | undefined } {
    const page = token === null ? { version: this.version, rest: this.all(collection, selection) } : this.#pages.get(token);
    if (!page || (token !== null && page.version < this.compacted)) throw new Refusal(410, 'Expired', 'The provided continue parameter is too old');
    const items = limit > 0 ? page.rest.slice(0, limit) : [...page.rest];
    const rest = page.rest.slice(items.length);
    const next = rest.length > 0 ? `page-${this.#pages.size}` : undefined;
    if (next) this.#pages.set(next, { version: page.version, rest });
    return { items, version: page.version, next };
  }

  create(collection: string, object: KubeObject, dryRun = false): Stored {
    const key = keyOf(object);
    if (this.#objects.get(collection)?.has(key)) throw new Refusal(409, 'AlreadyExists', `${collection} "${key}" already exists`);
    const stored = { ...object, metadata: { creationTimestamp: '2026-01-01T00:00:00Z', ...object.metadata, uid: `uid-${this.version + 1}`, managedFields: [{ manager: 'fake' }] } };
    return dryRun ? stored as unknown as Stored : this.#store('ADDED', collection, stored, undefined);
  }

  /** A write of nothing new is no change, as on the real server. */
  replace(collection: string, object: KubeObject, dryRun = false): Stored {
    const old = this.get(collection, keyOf(object));
    const { resourceVersion, uid } = object.metadata;
    if (resourceVersion !== undefined && resourceVersion !== old.metadata.resourceVersion) throw new Refusal(409, 'Conflict', 'the object has been modified; please apply your changes to the latest version and try again');
    if (uid !== undefined && uid !== old.metadata.uid) throw new Refusal(409, 'Conflict', 'Precondition failed: UID in precondition');
    const { resourceVersion: version, uid: same, managedFields } = old.metadata;
    const next = { ...object, metadata: { ...object.metadata, uid: same, resourceVersion: version, managedFields } } as Stored;
    if (dryRun || sameJson(next, old)) return dryRun ? next : old;
    return this.#store('MODIFIED', collection, next, old);
  }

  delete(collection: string, key: string, preconditions: { uid?: string; resourceVersion?: string } = {}): Stored {
    const old = this.get(collection, key);
    if (preconditions.uid !== undefined && preconditions.uid !== old.metadata.uid) throw new Refusal(409, 'Conflict', 'Precondition failed: UID in precondition');
    if (preconditions.resourceVersion !== undefined && preconditions.resourceVersion !== old.metadata.resourceVersion) throw new Refusal(409, 'Conflict', 'Precondition failed: ResourceVersion in precondition');
    return this.#store('DELETED', collection, old, old);
  }

  /** Forgets the history up to now. */
  compact(): void {
    this.compacted = this.version;
    this.history.length = 0;
  }

  /** The events of one change for a watch: an object that stops or begins to match is deleted or added for it. */
  eventOf({ type, object, old }: Entry, selection: Selection): { type: string; object: Stored } | null {
    const [is, was] = [type !== 'DELETED' && selects(selection, object), old !== undefined && selects(selection, old)];
    if (is) return { type: was ? 'MODIFIED' : 'ADDED', object };
    return was ? { type: 'DELETED', object } : null;
  }

  /** Goes back to a state of before, as etcd does when it is restored from a backup: versions are given out a second time. */
  restore(version: number, collection: string, objects: readonly KubeObject[]): void {
    this.version = version;
    this.history.length = 0;
    this.#objects.set(collection, new Map());
    this.#sorted.delete(collection);
    for (const object of objects) this.create(collection, object);
  }

  #store(type: Entry['type'], collection: string, object: KubeObject, old: Stored | undefined): Stored {
    this.version += 1;
    const stored = frozenCopy({ ...object, metadata: { ...object.metadata, resourceVersion: String(this.version) } }) as Stored;
    const objects = this.#objects.get(collection) ?? new Map<string, Stored>();
    this.#objects.set(collection, objects);
    if (type === 'DELETED') objects.delete(keyOf(object));
    else objects.set(keyOf(object), stored);
    this.#sorted.delete(collection);
    const entry: Entry = { version: this.version, collection, type, object: stored, old };
    this.history.push(entry);
    for (const listener of [...this.listeners]) listener(entry);
    return stored;
  }
}

function keyOf({ metadata }: KubeObject): string {
  return metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name;
}

function selects({ namespace, labels }: Selection, { metadata }: KubeObject): boolean {
  return (namespace === undefined || metadata.namespace === namespace) && Object.entries(labels).every(([k, v]) => metadata.labels?.[k] === v);
}

/**
 * What goes over a wire is nobody's to change: a copy is taken when it is stored, and those who read may have the same one. Who writes into what
 * he read is told so by a TypeError. What is frozen already was copied here before.
 */
function frozenCopy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  if (Array.isArray(value)) return Object.freeze(value.map(frozenCopy));
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    const field = (value as Record<string, unknown>)[key];
    if (field !== undefined) copy[key] = frozenCopy(field);
  }
  return Object.freeze(copy);
}

/** Whether both would be the same JSON but for the order of fields: a field that is undefined is none. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return false;
  if (Array.isArray(a)) return a.length === (b as unknown[]).length && a.every((item, i) => sameJson(item, (b as unknown[])[i]));
  const [from, to] = [a as Record<string, unknown>, b as Record<string, unknown>];
  return Object.keys(from).every((key) => sameJson(from[key], to[key])) && Object.keys(to).every((key) => to[key] === undefined || from[key] !== undefined);
}

/** RFC 7386, also good enough for what apply does with one manager. */
export function merge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const out: Record<string, unknown> = { ...(typeof target === 'object' && target !== null && !Array.isArray(target) ? target : {}) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete out[key];
    else out[key] = merge(out[key], value);
  }
  return out;
}
