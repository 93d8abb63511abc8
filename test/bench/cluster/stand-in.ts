// A stand-in for the API server where the product is measured without one: lists in pages, watches, creates, replaces, patches,
// applies status and deletes, in memory and over plain HTTP, and takes the time of what it hears and says. It checks no schema, no
// right and no admission. The product talks to it as to the real one, whose own time (etcd, RBAC, CEL) is what it leaves out.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Edit } from '../../../src/kube/client.ts';
import { Objects, Refused, type Entry, type Stored } from './stand-in-objects.ts';

/** One request that changes something, as it arrived. */
export interface Write {
  /** When its head was there, in the milliseconds of performance.now(). */
  readonly at: number;
  readonly method: string;
  readonly collection: string;
  readonly key: string;
  readonly subresource: string | undefined;
  /** Its user agent: `ipvs-operator-agent/0.1.0 dir1`. */
  readonly who: string;
}

interface Asked {
  readonly method: string;
  readonly collection: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  readonly query: URLSearchParams;
  readonly who: string;
  readonly metadataOnly: boolean;
}

interface Watcher {
  readonly response: ServerResponse;
  readonly selects: (object: Stored) => boolean;
  readonly who: string;
  readonly metadataOnly: boolean;
}

/** Reflectors take a silence of 90 s for a dead connection. Milliseconds. */
const BOOKMARK_MS = 30_000;
const VERBS: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);

export class StandIn {
  readonly objects = new Objects();
  /** Called with each write before it is carried out. */
  onWrite: (write: Write) => void = () => {};
  /** Called just before an event is sent on a watch. */
  onEvent: (entry: Entry, who: string) => void = () => {};
  readonly #watchers = new Map<string, Set<Watcher>>();
  readonly #server: Server;
  #bookmarks: NodeJS.Timeout | undefined;

  constructor() {
    this.#server = createServer((request, response) => { void this.#receive(request, response, performance.now()); });
    // As API servers do: idle connections are kept for minutes.
    this.#server.keepAliveTimeout = 180_000;
    this.objects.onChange = (entry) => this.#tell(entry);
  }

  /** Port 0 is one that is free; resolves to the port. */
  async listen(address: string, port: number): Promise<number> {
    await new Promise<void>((done, failed) => {
      this.#server.once('error', failed);
      this.#server.listen(port, address, done);
    });
    this.#bookmarks = setInterval(() => this.#bookmark(), BOOKMARK_MS);
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    clearInterval(this.#bookmarks);
    this.#server.closeAllConnections();
    await new Promise((done) => { this.#server.close(done); });
  }

  async #receive(request: IncomingMessage, response: ServerResponse, at: number): Promise<void> {
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const sent = Buffer.concat(chunks).toString('utf8');
      const asked = parse(request);
      const body = sent === '' ? undefined : JSON.parse(sent) as Stored;
      const name = asked.name ?? body?.metadata?.name ?? '';
      const key = asked.namespace === undefined ? name : `${asked.namespace}/${name}`;
      if (VERBS.has(asked.method)) this.onWrite({ at, method: asked.method, collection: asked.collection, key, subresource: asked.subresource, who: asked.who });
      if (asked.query.get('watch') === 'true') this.#watch(asked, response);
      else {
        const result = this.#do(asked, key, body, request.headers['content-type'] ?? '');
        answer(response, asked.method === 'POST' ? 201 : 200, asked.metadataOnly ? onlyMetadata(result as Stored) : result);
      }
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      answer(response, error.status, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: error.status, reason: error.reason, message: error.message });
    }
  }

  #do({ method, collection, name, subresource, query, namespace }: Asked, key: string, body: Stored | undefined, contentType: string): unknown {
    const { objects } = this;
    if (method === 'POST') return objects.create(collection, key, body!);
    if (name === undefined) {
      const { items, version, next } = objects.list(collection, selection(namespace, query), Number(query.get('limit') ?? 0), query.get('continue'));
      return { kind: 'List', apiVersion: 'v1', metadata: { resourceVersion: String(version), ...(next === undefined ? {} : { continue: next }) }, items };
    }
    if (method === 'GET') return objects.get(collection, key);
    if (method === 'DELETE') return objects.delete(collection, key, (body as { preconditions?: { uid?: string; resourceVersion?: string } } | undefined)?.preconditions);
    if (contentType === 'application/json-patch+json') return objects.edit(collection, key, body as unknown as readonly Edit[]);
    if (method === 'PUT') return objects.replace(collection, key, body!, subresource === 'status');
    if (contentType === 'application/apply-patch+yaml' && subresource === 'status') return objects.applyStatus(collection, key, query.get('fieldManager') ?? '', body!);
    return objects.merge(collection, key, body!, subresource === 'status');
  }

  #watch({ collection, query, namespace, who, metadataOnly }: Asked, response: ServerResponse): void {
    const from = Number(query.get('resourceVersion'));
    const missed = this.objects.since(collection, from);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const watcher: Watcher = { response, selects: selection(namespace, query), who, metadataOnly };
    const watchers = this.#watchers.get(collection) ?? new Set();
    this.#watchers.set(collection, watchers.add(watcher));
    response.once('close', () => watchers.delete(watcher));
    for (const entry of missed) this.#tellOne(watcher, entry);
  }

  #tell(entry: Entry): void {
    for (const watcher of this.#watchers.get(entry.collection) ?? []) this.#tellOne(watcher, entry);
  }

  #tellOne({ response, selects, who, metadataOnly }: Watcher, entry: Entry): void {
    const { type, object, old } = entry;
    const [is, was] = [type !== 'DELETED' && selects(object), old !== undefined && selects(old)];
    if (!is && !was) return;
    // An object that begins or ceases to match is added or deleted for whoever selects.
    const seen = is ? (was ? 'MODIFIED' : 'ADDED') : 'DELETED';
    this.onEvent(entry, who);
    response.write(metadataOnly ? `${JSON.stringify({ type: seen, object: onlyMetadata(object) })}\n` : seen === type ? entry.line : `${JSON.stringify({ type: seen, object })}\n`);
  }

  #bookmark(): void {
    const line = `${JSON.stringify({ type: 'BOOKMARK', object: { kind: 'Bookmark', apiVersion: 'v1', metadata: { resourceVersion: String(this.objects.version) } } })}\n`;
    for (const watchers of this.#watchers.values()) for (const { response } of watchers) response.write(line);
  }
}

/** meta/v1 PartialObjectMetadata, or a list of such. */
function onlyMetadata({ metadata, items }: Stored & { readonly items?: readonly Stored[] }): object {
  return { kind: `PartialObjectMetadata${items ? 'List' : ''}`, apiVersion: 'meta.k8s.io/v1', metadata, ...(items && { items: items.map((item) => ({ metadata: item.metadata })) }) };
}

function parse({ url, method, headers }: IncomingMessage): Asked {
  const { pathname, searchParams: query } = new URL(url!, 'http://stand-in');
  const parts = pathname.split('/').slice(1).map(decodeURIComponent);
  const root = parts.splice(0, parts[0] === 'api' ? 2 : 3);
  const namespace = parts[0] === 'namespaces' && parts.length > 2 ? parts.splice(0, 2)[1] : undefined;
  const [plural, name, subresource] = parts;
  return { method: method!, collection: `/${[...root, plural].join('/')}`, namespace, name, subresource, query, who: headers['user-agent'] ?? '', metadataOnly: headers.accept?.includes('as=PartialObjectMetadata') === true };
}

/** Namespace, and the selectors that the product uses: `a`, `!a`, `a=b`; `metadata.name=a`, `spec.directorGroup=a`. */
function selection(namespace: string | undefined, query: URLSearchParams): (object: Stored) => boolean {
  const labels = (query.get('labelSelector') ?? '').split(',').filter(Boolean);
  const fields = (query.get('fieldSelector') ?? '').split(',').filter(Boolean).map((term) => term.split('=') as [string, string]);
  return (object) => (namespace === undefined || object.metadata.namespace === namespace)
    && labels.every((term) => {
      const [name = '', value] = term.split('=');
      const has = object.metadata.labels?.[name.replace(/^!/, '')];
      return name.startsWith('!') ? has === undefined : value === undefined ? has !== undefined : has === value;
    })
    && fields.every(([path, value]) => path.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], object) === value);
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
