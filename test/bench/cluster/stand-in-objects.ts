// What the stand-in of an API server (stand-in.ts) knows: objects by the URL of their collection, versions, generations, conflicts,
// and a history that watches are served from. No HTTP here.

import type { Edit } from '../../../src/kube/client.ts';
import type { KubeObject, ObjectMeta } from '../../../src/kube/types.ts';
import { patched } from '../../unit/kube/json-patch.ts';

export interface Stored extends KubeObject {
  readonly metadata: ObjectMeta;
  readonly spec?: unknown;
  readonly status?: Record<string, unknown>;
}

export interface Entry {
  readonly version: number;
  readonly collection: string;
  readonly key: string;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: Stored;
  readonly old: Stored | undefined;
  /** The event as it goes over the wire. */
  readonly line: string;
}

export class Refused extends Error {
  readonly status: number;
  readonly reason: string;
  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/** Events that can still be told to a watch that begins in the past. */
const HISTORY = 5_000;

export class Objects {
  version = 1_000;
  onChange: (entry: Entry) => void = () => {};
  readonly #collections = new Map<string, Map<string, Stored>>();
  readonly #pages = new Map<string, { readonly version: number; readonly rest: readonly Stored[] }>();
  /** Pages that had another behind them. Several kinds are listed at once, and no two of their tokens may be the same. */
  #turned = 0;
  /** Fields of status that each manager applied last. */
  readonly #applied = new Map<string, Record<string, unknown>>();
  #history: Entry[] = [];
  /** Watches from before this version are too late. */
  #forgotten = 0;

  all(collection: string): ReadonlyMap<string, Stored> { return this.#collections.get(collection) ?? new Map(); }

  get(collection: string, key: string): Stored {
    const found = this.#collections.get(collection)?.get(key);
    if (found === undefined) throw new Refused(404, 'NotFound', `${collection} "${key}" not found`);
    return found;
  }

  list(collection: string, selects: (object: Stored) => boolean, limit: number, token: string | null): { items: readonly Stored[]; version: number; next: string | undefined } {
    const page = token === null ? { version: this.version, rest: [...this.all(collection).values()].filter(selects) } : this.#pages.get(token);
    if (page === undefined) throw new Refused(410, 'Expired', 'no such page');
    if (token !== null) this.#pages.delete(token);
    const items = limit > 0 ? page.rest.slice(0, limit) : page.rest;
    const rest = page.rest.slice(items.length);
    const next = rest.length > 0 ? `page-${++this.#turned}` : undefined;
    if (next !== undefined) this.#pages.set(next, { version: page.version, rest });
    return { items, version: page.version, next };
  }

  since(collection: string, version: number): Entry[] {
    if (version < this.#forgotten) throw new Refused(410, 'Expired', 'too old resource version');
    return this.#history.filter((e) => e.version > version && e.collection === collection);
  }

  create(collection: string, key: string, object: Stored): Stored {
    if (this.#collections.get(collection)?.has(key)) throw new Refused(409, 'AlreadyExists', `${collection} "${key}" already exists`);
    const { status: _, ...rest } = object;
    return this.#store('ADDED', collection, key, { ...rest, metadata: { ...rest.metadata, uid: `uid-${this.version}`, generation: 1, creationTimestamp: new Date().toISOString() } }, undefined);
  }

  replace(collection: string, key: string, object: Stored, status: boolean): Stored {
    const old = this.get(collection, key);
    this.#unlessChanged(old, object.metadata.resourceVersion);
    return this.#change(collection, key, old, status ? { ...old, ...(object.status === undefined ? {} : { status: object.status }) } : { ...object, ...(old.status === undefined ? {} : { status: old.status }) });
  }

  /** RFC 7386, of the whole object or of its status. */
  merge(collection: string, key: string, patch: Stored, status: boolean): Stored {
    const old = this.get(collection, key);
    this.#unlessChanged(old, patch.metadata?.resourceVersion);
    const next = merged(old, patch) as Stored;
    return this.#change(collection, key, old, status ? { ...old, ...(next.status === undefined ? {} : { status: next.status }) } : next);
  }

  /** RFC 6902, of the status. */
  edit(collection: string, key: string, edits: readonly Edit[]): Stored {
    const old = this.get(collection, key);
    const next = patched(old, edits);
    if (next === null) throw new Refused(422, 'Invalid', 'the server rejected our request due to an error in our request');
    return this.#change(collection, key, old, { ...old, ...(next.status === undefined ? {} : { status: next.status }) });
  }

  /** Server-side apply of status: fields and conditions that a manager leaves out the next time go. */
  applyStatus(collection: string, key: string, manager: string, { status = {} }: Stored): Stored {
    const old = this.get(collection, key);
    const who = `${collection} ${old.metadata.uid} ${manager}`;
    const before = this.#applied.get(who) ?? {};
    this.#applied.set(who, status);
    const next: Record<string, unknown> = { ...old.status };
    for (const field of Object.keys(before)) if (!(field in status)) delete next[field];
    for (const [field, value] of Object.entries(status)) next[field] = field === 'conditions' ? conditions(before[field], next[field], value) : value;
    return this.#change(collection, key, old, { ...old, status: next });
  }

  delete(collection: string, key: string, { uid, resourceVersion }: { uid?: string; resourceVersion?: string } = {}): Stored {
    const old = this.get(collection, key);
    if (uid !== undefined && uid !== old.metadata.uid) throw new Refused(409, 'Conflict', 'another object of that name');
    this.#unlessChanged(old, resourceVersion);
    return this.#store('DELETED', collection, key, old, old);
  }

  #unlessChanged(old: Stored, version: string | undefined): void {
    if (version !== undefined && version !== old.metadata.resourceVersion) throw new Refused(409, 'Conflict', 'the object has been modified');
  }

  /** A write of nothing new is no change. */
  #change(collection: string, key: string, old: Stored, next: Stored): Stored {
    const { uid, generation = 1, creationTimestamp, resourceVersion } = old.metadata;
    const respecified = next.spec !== old.spec && JSON.stringify(next.spec) !== JSON.stringify(old.spec);
    const object = { ...next, metadata: { ...next.metadata, uid, creationTimestamp, resourceVersion, generation: respecified ? generation + 1 : generation } };
    if (!respecified && JSON.stringify(object) === JSON.stringify(old)) return old;
    return this.#store('MODIFIED', collection, key, object, old);
  }

  #store(type: Entry['type'], collection: string, key: string, object: Stored, old: Stored | undefined): Stored {
    this.version += 1;
    const stored: Stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(this.version) } };
    const objects = this.#collections.get(collection) ?? new Map<string, Stored>();
    this.#collections.set(collection, objects);
    if (type === 'DELETED') objects.delete(key);
    else objects.set(key, stored);
    const entry: Entry = { version: this.version, collection, key, type, object: stored, old, line: `${JSON.stringify({ type, object: stored })}\n` };
    this.#history.push(entry);
    if (this.#history.length > 2 * HISTORY) {
      this.#history = this.#history.slice(-HISTORY);
      this.#forgotten = this.#history[0]!.version - 1;
    }
    this.onChange(entry);
    return stored;
  }
}

function conditions(mine: unknown, old: unknown, sent: unknown): unknown[] {
  const typed = (list: unknown) => (list ?? []) as readonly { readonly type: string }[];
  const [now, before] = [new Map(typed(sent).map((c) => [c.type, c])), new Set(typed(mine).map((c) => c.type))];
  const kept = typed(old).filter((c) => now.has(c.type) || !before.has(c.type)).map((c) => now.get(c.type) ?? c);
  return [...kept, ...typed(sent).filter((c) => !kept.some((k) => k.type === c.type))];
}

function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const out: Record<string, unknown> = { ...(typeof target === 'object' && target !== null && !Array.isArray(target) ? target : {}) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete out[key];
    else out[key] = merged(out[key], value);
  }
  return out;
}
