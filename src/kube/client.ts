/**
 * Client: the verbs of the Kubernetes API on objects of any kind. Objects go in and come out as the JSON they are: nothing is parsed,
 * defaulted or dropped, so that what is read can be changed and written back whole. Keeping objects up to date is reflector.ts.
 */
import { ApiError, isExpired } from './errors.ts';
import type { Query, RequestSpec, StreamSpec, Transport } from './transport.ts';
import { apiVersionOf, collectionPath, nameOf, objectPath, type KubeObject, type Resource } from './types.ts';

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface SelectOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

export interface ListOptions extends SelectOptions, CallOptions {
  readonly limit?: number | undefined;
  readonly continue?: string | undefined;
  /** Absent: the newest state. '0': whatever the server has in its cache, which may be older than what was seen before. */
  readonly resourceVersion?: string | undefined;
  readonly resourceVersionMatch?: 'NotOlderThan' | 'Exact' | undefined;
}

export interface List<T> {
  /** With apiVersion and kind filled in: servers leave them out in lists. */
  readonly items: readonly T[];
  readonly resourceVersion: string;
  /** There is more; pass it on. */
  readonly continue?: string;
}

export interface WatchOptions extends SelectOptions, CallOptions {
  readonly resourceVersion: string;
  readonly timeoutSeconds?: number | undefined;
  readonly allowWatchBookmarks?: boolean | undefined;
}

/** As it came: `object` is an object of the kind, one that has only a resourceVersion (BOOKMARK), or a Status (ERROR). */
export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: unknown;
}

export interface WriteOptions extends CallOptions {
  /** Checked and defaulted by the server, and not stored. */
  readonly dryRun?: boolean | undefined;
  readonly fieldManager?: string | undefined;
  readonly fieldValidation?: 'Strict' | 'Warn' | 'Ignore' | undefined;
}

export interface UpdateOptions extends WriteOptions {
  readonly subresource?: 'status' | undefined;
}

export interface ApplyOptions extends UpdateOptions {
  readonly fieldManager: string;
  /** Takes fields from other managers instead of failing with CONFLICT. */
  readonly force?: boolean | undefined;
  /** The answer is the object's metadata only (meta/v1 PartialObjectMetadata): for who knows the rest, where that is large. */
  readonly metadataOnly?: boolean | undefined;
}

export interface EditOptions extends WriteOptions {
  /** As of ApplyOptions. */
  readonly metadataOnly?: boolean | undefined;
}

/** One operation of a JSON patch (RFC 6902); `path` is a JSON pointer from the root of the object. */
export type Edit = { readonly op: 'test' | 'add' | 'replace'; readonly path: string; readonly value: unknown } | { readonly op: 'remove'; readonly path: string };

export interface DeleteOptions extends CallOptions {
  /** Deletes only this very object, in this very state; CONFLICT otherwise. */
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly propagationPolicy?: 'Orphan' | 'Background' | 'Foreground' | undefined;
}

/** Every method rejects with ApiError (see its codes), CredentialsError, AbortError, or TypeError when namespace and scope do not fit. */
export interface KubeClient {
  get<T extends KubeObject>(resource: Resource<T>, name: string, namespace?: string, options?: CallOptions): Promise<T>;
  list<T extends KubeObject>(resource: Resource<T>, options?: ListOptions): Promise<List<T>>;
  /** All pages. When the continue token runs out on the way, everything is read once more in one piece. */
  listAll<T extends KubeObject>(resource: Resource<T>, options?: SelectOptions & CallOptions & { readonly pageSize?: number }): Promise<List<T>>;
  /** Ends without an error when the server closes the watch. BAD_RESPONSE on a line that is no event, with its place. */
  watch<T extends KubeObject>(resource: Resource<T>, options: WatchOptions): AsyncIterable<WatchEvent>;
  /** ALREADY_EXISTS when there is one of that name: a create is also how something is claimed. */
  create<T extends KubeObject>(resource: Resource<T>, object: T, options?: WriteOptions): Promise<T>;
  /** Replaces the object; with metadata.resourceVersion only in that state, CONFLICT otherwise. */
  update<T extends KubeObject>(resource: Resource<T>, object: T, options?: UpdateOptions): Promise<T>;
  /** Server-side apply: `object` has what this manager owns, and nothing else. */
  apply<T extends KubeObject>(resource: Resource<T>, object: KubeObject, options: ApplyOptions): Promise<T>;
  /** Merge patch of `status`: `patch` is what changes, e.g. `{ status: { ready: 3 } }`; with metadata.resourceVersion only in that state. */
  patchStatus<T extends KubeObject>(resource: Resource<T>, name: string, namespace: string | undefined, patch: object, options?: WriteOptions): Promise<T>;
  /** JSON patch of `status`, for a small change to a large one: all of it, or nothing. INVALID when a `test` in it does not hold. */
  editStatus<T extends KubeObject>(resource: Resource<T>, name: string, namespace: string | undefined, edits: readonly Edit[], options?: EditOptions): Promise<T>;
  delete<T extends KubeObject>(resource: Resource<T>, name: string, namespace?: string, options?: DeleteOptions): Promise<void>;
}

/** Objects a page: what client-go uses. */
export const PAGE_SIZE = 500;

/** What is asked for instead of whole objects. A server that cannot (before 1.15) answers with an error, as nothing else is accepted. */
const METADATA = {
  list: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
  one: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
} as const;

const EVENT_TYPES: ReadonlySet<unknown> = new Set<WatchEvent['type']>(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']);

export function createClient(transport: Pick<Transport, 'request' | 'stream'>): KubeClient {
  /** Sends, and takes the answer for an object of the kind. */
  async function send<T extends KubeObject>(resource: Resource<T>, spec: RequestSpec): Promise<T> {
    const { json } = await transport.request(spec);
    if (!isObject(json)) throw badResponse(spec, `the answer is no ${resource.kind}`);
    return json as unknown as T;
  }

  async function list<T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}): Promise<List<T>> {
    const { signal, namespace, ...query } = options;
    const spec: RequestSpec = {
      method: 'GET', path: collectionPath(resource, namespace), query, signal, ...(resource.metadataOnly === true && { accept: METADATA.list }),
    };
    const { json } = await transport.request(spec);
    const { items: given, metadata } = (json ?? {}) as { items?: unknown; metadata?: { resourceVersion?: unknown; continue?: unknown } };
    // Of no objects at all a server may say null, as it does of metadata alone.
    const items = given === null ? [] : given;
    if (!Array.isArray(items) || typeof metadata?.resourceVersion !== 'string') throw badResponse(spec, `the answer is no list of ${nameOf(resource)}`);
    const more = metadata.continue;
    const type = { apiVersion: apiVersionOf(resource), kind: resource.kind };
    return {
      items: items.map((item) => ({ ...type, ...item as T })), resourceVersion: metadata.resourceVersion,
      ...(typeof more === 'string' && more !== '' && { continue: more }),
    };
  }

  async function listAll<T extends KubeObject>(
    resource: Resource<T>,
    { pageSize = PAGE_SIZE, ...select }: SelectOptions & CallOptions & { readonly pageSize?: number } = {},
  ): Promise<List<T>> {
    const items: T[] = [];
    const first = await list(resource, { ...select, limit: pageSize });
    items.push(...first.items);
    for (let page = first; page.continue !== undefined;) {
      try {
        page = await list(resource, { ...select, limit: pageSize, continue: page.continue });
      } catch (error) {
        if (!isExpired(error)) throw error;
        return await list(resource, select);
      }
      items.push(...page.items);
    }
    // All pages are of the state of the first.
    return { items, resourceVersion: first.resourceVersion };
  }

  async function* watch<T extends KubeObject>(resource: Resource<T>, { signal, namespace, ...query }: WatchOptions): AsyncGenerator<WatchEvent, void, undefined> {
    const spec: StreamSpec = {
      path: collectionPath(resource, namespace), query: { watch: true, ...query }, signal, ...(resource.metadataOnly === true && { accept: METADATA.one }),
    };
    let line = 0;
    for await (const text of transport.stream(spec)) {
      line += 1;
      yield eventOf(text, line, spec.path);
    }
  }

  return {
    list, listAll, watch,
    get: async (resource, name, namespace, { signal } = {}) => await send(resource, { method: 'GET', path: objectPath(resource, name, namespace), signal }),
    create: async (resource, object, { signal, ...options } = {}) => {
      const { namespace } = object.metadata;
      if (resource.namespaced && !namespace) throw new TypeError(`${nameOf(resource)} is namespaced and ${object.metadata.name} has no namespace`);
      return await send(resource, { method: 'POST', path: collectionPath(resource, namespace), query: writeQuery(options), body: typed(resource, object), signal });
    },
    update: async (resource, object, { signal, subresource, ...options } = {}) =>
      await send(resource, { method: 'PUT', path: pathOf(resource, object, subresource), query: writeQuery(options), body: typed(resource, object), signal }),
    apply: async (resource, object, { signal, subresource, force, metadataOnly, ...options }) =>
      await send(resource, {
        method: 'PATCH', path: pathOf(resource, object, subresource), query: { ...writeQuery(options), force },
        // YAML includes JSON, and servers of every version take it.
        contentType: 'application/apply-patch+yaml', body: typed(resource, object), signal, ...(metadataOnly === true && { accept: METADATA.one }),
      }),
    patchStatus: async (resource, name, namespace, patch, { signal, ...options } = {}) =>
      await send(resource, {
        method: 'PATCH', path: objectPath(resource, name, namespace, 'status'), query: writeQuery(options),
        contentType: 'application/merge-patch+json', body: patch, signal,
      }),
    editStatus: async (resource, name, namespace, edits, { signal, metadataOnly, ...options } = {}) =>
      await send(resource, {
        method: 'PATCH', path: objectPath(resource, name, namespace, 'status'), query: writeQuery(options),
        contentType: 'application/json-patch+json', body: edits, signal,
        ...(metadataOnly === true && { accept: METADATA.one }),
      }),
    delete: async (resource, name, namespace, { signal, uid, resourceVersion, propagationPolicy } = {}) => {
      const preconditions = { ...(uid !== undefined && { uid }), ...(resourceVersion !== undefined && { resourceVersion }) };
      const body = {
        apiVersion: 'v1', kind: 'DeleteOptions', ...(Object.keys(preconditions).length > 0 && { preconditions }), ...(propagationPolicy && { propagationPolicy }),
      };
      await transport.request({ method: 'DELETE', path: objectPath(resource, name, namespace), body, signal });
    },
  };
}

function pathOf(resource: Resource, object: KubeObject, subresource: string | undefined): string {
  return objectPath(resource, object.metadata.name, object.metadata.namespace, subresource);
}

/** What is written says what it is, also when it came out of a list. */
function typed(resource: Resource, object: KubeObject): KubeObject {
  return { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind };
}

function writeQuery({ dryRun, fieldManager, fieldValidation }: WriteOptions): Query {
  return { dryRun: dryRun ? 'All' : undefined, fieldManager, fieldValidation };
}

function isObject(json: unknown): json is KubeObject {
  return typeof (json as Partial<KubeObject> | null)?.metadata?.name === 'string';
}

function badResponse({ path, method }: RequestSpec, message: string): ApiError {
  return new ApiError({ code: 'BAD_RESPONSE', message, verb: method, path });
}

/** Throws ApiError BAD_RESPONSE that says where. */
function eventOf(text: string, line: number, path: string): WatchEvent {
  const fail = (why: string, cause?: unknown): never => {
    throw new ApiError({ code: 'BAD_RESPONSE', message: `event ${line} of the watch, ${text.length} characters: ${why}`, verb: 'WATCH', path, cause });
  };
  let event: Partial<WatchEvent> | null;
  try {
    event = JSON.parse(text) as Partial<WatchEvent> | null;
  } catch (cause) {
    // The parser's message has the position.
    return fail((cause as Error).message, cause);
  }
  if (typeof event !== 'object' || event === null || !EVENT_TYPES.has(event.type)) return fail('is no event of a watch');
  if (typeof event.object !== 'object' || event.object === null) return fail(`${event.type} without an object`);
  return event as WatchEvent;
}
