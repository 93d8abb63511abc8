/**
 * A fake Kubernetes API server on real sockets, for tests of this runtime and of what stands on it. It lists in pages, watches, creates,
 * replaces, patches, applies and deletes objects of any kind, and misbehaves when told to: a fault is a function that answers, or spoils the
 * answer of, the next request it matches.
 */
import { readFileSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import type { Access, Credentials } from '../../../src/kube/credentials.ts';
import { Transport, type TransportOptions } from '../../../src/kube/transport.ts';
import type { Edit } from '../../../src/kube/client.ts';
import type { KubeObject, Log } from '../../../src/kube/types.ts';
import { patched } from './json-patch.ts';
import { FakeCluster, Refusal, merge, type Entry, type Selection, type Stored } from './fake-cluster.ts';

export const FIXTURES = join(import.meta.dirname, 'fixtures');

export interface Asked {
  readonly method: string;
  /** '/api/v1/nodes', or '/apis/example.org/v1/widgets' for all namespaces as for one. */
  readonly collection: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  readonly query: URLSearchParams;
  readonly headers: http.IncomingHttpHeaders;
  readonly watch: boolean;
  readonly body: unknown;
  /** The text of the body as it was sent. */
  readonly sent: string;
}

/** Answers in the server's place. `proceed` lets the server answer, too. */
export type Answer = (response: ServerResponse, asked: Asked, proceed: () => void) => void;

export interface Fault {
  readonly on: (asked: Asked) => boolean;
  /** How many requests it hits; 1 if absent. */
  times?: number;
  readonly answer: Answer;
}

export interface FakeServerOptions {
  /** Plain HTTP if absent, else which certificate of the fixtures. */
  readonly tls?: 'a' | 'b';
  /** Clients must show the certificate 'b'. */
  readonly clientCertificates?: boolean;
}

interface Watcher {
  readonly response: ServerResponse;
  readonly asked: Asked;
}

export class FakeServer {
  readonly cluster = new FakeCluster();
  readonly faults: Fault[] = [];
  readonly asked: Asked[] = [];
  /** Connections that were accepted, ever. */
  connections = 0;
  /** Refuses every other token with 401. */
  token: string | null = null;
  readonly #watchers = new Set<Watcher>();
  readonly #sockets = new Set<Socket>();
  readonly #server: http.Server;
  readonly #options: FakeServerOptions;

  constructor(options: FakeServerOptions = {}) {
    this.#options = options;
    const pem = (name: string): Buffer => readFileSync(join(FIXTURES, name));
    const answer = (request: IncomingMessage, response: ServerResponse): void => { void this.#receive(request, response); };
    this.#server = options.tls
      ? https.createServer({ cert: pem(`${options.tls}.pem`), key: pem(`${options.tls}.key`), ...(options.clientCertificates && { requestCert: true, ca: pem('b.pem') }) }, answer)
      : http.createServer(answer);
    // API servers keep idle connections for minutes; Node says 5 s.
    this.#server.keepAliveTimeout = 60_000;
    this.#server.on(options.tls ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.cluster.listeners.add((entry) => this.#tell(entry));
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => { this.#server.listen(0, '127.0.0.1', resolve); });
    return this;
  }

  /** Presents another certificate to new connections, and ends the old ones. */
  useCertificate(name: 'a' | 'b'): void {
    (this.#server as https.Server).setSecureContext({ cert: readFileSync(join(FIXTURES, `${name}.pem`)), key: readFileSync(join(FIXTURES, `${name}.key`)) });
    this.breakConnections();
  }

  get url(): string { return `http${this.#options.tls ? 's' : ''}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`; }
  get watchers(): number { return this.#watchers.size; }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => { this.#server.close(resolve); });
    this.breakConnections();
    await closed;
  }

  /** Resets every connection, in the middle of whatever is being sent. */
  breakConnections(): void {
    for (const socket of [...this.#sockets]) socket.destroy();
  }

  /** Ends every watch as a server does when timeoutSeconds are over. */
  endWatches(): void {
    for (const watcher of [...this.#watchers]) {
      this.#watchers.delete(watcher);
      watcher.response.end();
    }
  }

  /** Writes to every open watch. */
  write(text: string): void {
    for (const { response } of this.#watchers) response.write(text);
  }

  event(type: string, object: unknown): void {
    this.write(`${JSON.stringify({ type, object })}\n`);
  }

  bookmark(): void {
    this.event('BOOKMARK', { kind: 'Widget', apiVersion: 'example.org/v1', metadata: { resourceVersion: String(this.cluster.version), creationTimestamp: null } });
  }

  fault(on: Fault['on'], answer: Answer, times = 1): void {
    this.faults.push({ on, answer, times });
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const asked = parse(request, Buffer.concat(chunks).toString('utf8'));
    this.asked.push(asked);
    const proceed = (): void => {
      try {
        this.#answer(asked, response);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        refuse(response, error);
      }
    };
    const fault = this.faults.find((f) => f.on(asked));
    if (!fault) return proceed();
    fault.times = (fault.times ?? 1) - 1;
    if (fault.times <= 0) this.faults.splice(this.faults.indexOf(fault), 1);
    fault.answer(response, asked, proceed);
  }

  #answer(asked: Asked, response: ServerResponse): void {
    if (this.token !== null && asked.headers.authorization !== `Bearer ${this.token}`) throw new Refusal(401, 'Unauthorized', 'Unauthorized');
    if (asked.watch) return this.#watch(asked, response);
    const { status, body } = this.#verb(asked);
    send(response, status, onlyMetadata(asked) ? withoutRest(body) : body);
  }

  #verb(asked: Asked): { status: number; body: unknown } {
    const { method, collection, name, query, subresource, body } = asked;
    const { cluster } = this;
    const dryRun = query.get('dryRun') === 'All';
    if (name === undefined) {
      if (method === 'POST') return { status: 201, body: cluster.create(collection, body as KubeObject, dryRun) };
      const { items, version, next } = cluster.list(collection, selection(asked), Number(query.get('limit') ?? 0), query.get('continue'));
      // Items have neither kind nor apiVersion, as on the real server.
      const bare = items.map(({ kind: _, apiVersion: __, ...rest }) => rest);
      return { status: 200, body: { kind: 'List', apiVersion: 'v1', metadata: { resourceVersion: String(version), ...(next && { continue: next }) }, items: bare } };
    }
    const key = asked.namespace ? `${asked.namespace}/${name}` : name;
    if (method === 'GET') return { status: 200, body: cluster.get(collection, key) };
    if (method === 'DELETE') return { status: 200, body: cluster.delete(collection, key, (body as { preconditions?: object } | undefined)?.preconditions ?? {}) };
    const applies = asked.headers['content-type'] === 'application/apply-patch+yaml';
    if (applies && !subresource && !cluster.all(collection).some((o) => (o.metadata.namespace ? `${o.metadata.namespace}/${o.metadata.name}` : o.metadata.name) === key)) return { status: 201, body: cluster.create(collection, body as KubeObject, dryRun) };
    const old = cluster.get(collection, key);
    const edits = asked.headers['content-type'] === 'application/json-patch+json' ? body as readonly Edit[] : null;
    const next = (edits ? patched(old, edits) : method === 'PATCH' ? merge(old, body) : body) as Stored | null;
    if (next === null) throw new Refusal(422, 'Invalid', 'the server rejected our request due to an error in our request');
    const version = (body as Partial<KubeObject>).metadata?.resourceVersion;
    const metadata = { ...(subresource ? old : next).metadata, ...(version !== undefined && { resourceVersion: version }) };
    if (version === undefined) delete (metadata as { resourceVersion?: string }).resourceVersion;
    const changed = subresource === 'status' ? { ...old, status: next.status, metadata } : { ...next, metadata };
    return { status: 200, body: cluster.replace(collection, changed, dryRun) };
  }

  #watch(asked: Asked, response: ServerResponse): void {
    const from = Number(asked.query.get('resourceVersion'));
    if (from < this.cluster.compacted) throw new Refusal(410, 'Expired', `too old resource version: ${from} (${this.cluster.compacted})`);
    if (from > this.cluster.version) throw new Refusal(504, 'Timeout', `Too large resource version: ${from}, current: ${this.cluster.version}`, { causes: [{ reason: 'ResourceVersionTooLarge' }] });
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const watcher: Watcher = { response, asked };
    this.#watchers.add(watcher);
    response.once('close', () => this.#watchers.delete(watcher));
    for (const entry of this.cluster.history) if (entry.version > from) this.#tellOne(watcher, entry);
  }

  #tell(entry: Entry): void {
    for (const watcher of [...this.#watchers]) this.#tellOne(watcher, entry);
  }

  #tellOne({ asked, response }: Watcher, entry: Entry): void {
    if (entry.collection !== asked.collection) return;
    const event = this.cluster.eventOf(entry, selection(asked));
    if (event && !response.writableEnded) response.write(`${JSON.stringify(onlyMetadata(asked) ? { ...event, object: withoutRest(event.object) } : event)}\n`);
  }
}

function onlyMetadata({ headers }: Asked): boolean { return headers.accept?.includes('as=PartialObjectMetadata') ?? false; }

/** Of an object, or of each in a list. */
function withoutRest(body: unknown): unknown {
  const { items, metadata } = body as { readonly items?: readonly Stored[]; readonly metadata: unknown };
  return { kind: `PartialObjectMetadata${items ? 'List' : ''}`, apiVersion: 'meta.k8s.io/v1', metadata, ...(items && { items: items.length === 0 ? null : items.map((item) => ({ metadata: item.metadata })) }) };
}

function parse(request: IncomingMessage, sent: string): Asked {
  const url = new URL(request.url!, 'http://fake');
  const parts = url.pathname.split('/').slice(1).map(decodeURIComponent);
  const root = parts.splice(0, parts[0] === 'api' ? 2 : 3);
  const namespace = parts[0] === 'namespaces' && parts.length > 2 ? parts.splice(0, 2)[1] : undefined;
  const [plural, name, subresource] = parts;
  return {
    method: request.method!, collection: `/${[...root, plural].join('/')}`, namespace, name, subresource, query: url.searchParams, headers: request.headers,
    watch: url.searchParams.get('watch') === 'true', sent, body: sent === '' ? undefined : JSON.parse(sent),
  };
}

function selection({ namespace, query }: Asked): Selection {
  const labels = Object.fromEntries((query.get('labelSelector') ?? '').split(',').filter(Boolean).map((term) => term.split('=') as [string, string]));
  return { namespace, labels };
}

export function send(response: ServerResponse, status: number, body: unknown, headers: http.OutgoingHttpHeaders = {}): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers });
  response.end(text);
}

export function refuse(response: ServerResponse, { status, reason, message, details }: Refusal, headers: http.OutgoingHttpHeaders = {}): void {
  send(response, status, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: status, reason, message, details }, headers);
}

/** A fault that refuses. */
export function refusing(status: number, reason: string, headers: http.OutgoingHttpHeaders = {}): Answer {
  return (response) => refuse(response, new Refusal(status, reason, `as told: ${reason}`), headers);
}

/** Credentials that are what they are told to be; `next` is what a refresh finds. */
export class FakeCredentials implements Credentials {
  readonly source = 'test';
  readonly namespace = 'default';
  readonly problem = null;
  refreshes = 0;
  current: Access;
  next: Access | null = null;

  constructor(access: Access) {
    this.current = access;
  }

  async access(): Promise<Access> { return this.current; }

  async refresh(): Promise<void> {
    this.refreshes += 1;
    if (this.next) this.current = this.next;
  }
}

export function accessTo(server: FakeServer, token?: string, ca?: 'a' | 'b'): Access {
  return { server: server.url, tls: ca ? { ca: readFileSync(join(FIXTURES, `${ca}.pem`)) } : {}, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } };
}

interface TestContext { after(fn: () => void | Promise<void>): void }

/** A server that ends with the test. */
export async function startServer(t: TestContext, options: FakeServerOptions = {}): Promise<FakeServer> {
  const server = await new FakeServer(options).start();
  t.after(() => server.close());
  return server;
}

/** A transport to it that ends before it. */
export function connect(t: TestContext, server: FakeServer, options: Partial<TransportOptions> & { readonly credentials?: Credentials } = {}): Transport {
  const { credentials = new FakeCredentials(accessTo(server)), ...rest } = options;
  const transport = new Transport(credentials, { userAgent: 'test', ...rest });
  t.after(() => transport.close());
  return transport;
}

/** A log that keeps what it is told, as `level message`. */
export class MemoryLog implements Log {
  readonly lines: { readonly level: string; readonly message: string; readonly fields: Readonly<Record<string, unknown>> }[] = [];
  debug(fields: object, message: string): void { this.#keep('debug', message, fields); }
  info(fields: object, message: string): void { this.#keep('info', message, fields); }
  warn(fields: object, message: string): void { this.#keep('warn', message, fields); }
  error(fields: object, message: string): void { this.#keep('error', message, fields); }
  /** Messages of a level. */
  of(level: string): string[] { return this.lines.filter((l) => l.level === level).map((l) => l.message); }
  #keep(level: string, message: string, fields: object): void { this.lines.push({ level, message, fields: fields as Record<string, unknown> }); }
}

/** Waits until something is so; fails after a minute, which no test needs, also where twenty others want the CPU. */
export async function until(what: string, is: () => boolean): Promise<void> {
  for (const end = performance.now() + 60_000; !is();) {
    if (performance.now() > end) throw new Error(`never came true: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 2); });
  }
}
