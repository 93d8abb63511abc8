/**
 * The health port: /metrics for Prometheus, /livez and /readyz for kubelets. Plain HTTP, read only, three paths. What is alive and what is
 * ready is the caller's to say. A port that cannot be had is no reason to stop serving traffic: it is logged with its code and tried
 * again, and until then probes fail.
 */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as timer } from 'node:timers/promises';
import { CONTENT_TYPE } from './exposition.ts';
import { HealthError, parseListen } from './listen.ts';
import type { Metrics } from './metrics.ts';

// An import would read every export, and WebSocket is one that loads the whole of undici: 3 MB of memory for nothing.
const { createServer } = process.getBuiltinModule('node:http');

export interface HealthOptions {
  /** `HOST:PORT`, `[IPV6]:PORT`, or `:PORT` for every address; port 0 is any free one. Default 127.0.0.1:9822. */
  readonly listen?: string;
  readonly metrics: Pick<Metrics, 'scrape'>;
  /** null, or why this process should be restarted. Not to depend on anything outside of the process: a restart would not mend that. */
  readonly live: () => string | null;
  /** null, or why this process cannot do its work. */
  readonly ready: () => string | null;
  readonly log: { info(fields: object, message: string): void; error(fields: object, message: string): void };
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Milliseconds until a port that could not be had is tried again. */
  readonly retryMs?: number;
}

export interface HealthServer {
  /** The port it listens on; null while it has none. */
  readonly port: number | null;
  /** Why it has none. */
  readonly problem: HealthError | null;
  /** Resolves when, after an abort, everything is closed. */
  readonly closed: Promise<void>;
}

export const DEFAULT_LISTEN = '127.0.0.1:9822';
const RETRY_MS = 5_000;
/** A scrape and two probes at once, several times over. */
const MAX_CONNECTIONS = 64;
/** A connection without requests is closed after this; Prometheus comes every 15 to 60 seconds. */
const KEEP_ALIVE_MS = 75_000;
/** For a whole request to arrive. */
const REQUEST_MS = 10_000;

/** Resolves after the first attempt to listen, however it ended. Throws HealthError LISTEN_INVALID for an address that is none. */
export async function serveHealth(options: HealthOptions): Promise<HealthServer> {
  const { listen = DEFAULT_LISTEN, log, signal, retryMs = RETRY_MS } = options;
  const address = parseListen(listen);
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: REQUEST_MS }, (request, response) => void answer(request, response, options));
  server.maxConnections = MAX_CONNECTIONS;
  // After it listens: a connection that could not be accepted. The next one may be.
  server.on('error', (error) => { if (server.listening) log.error({ err: error }, 'health port'); });
  const port = (): number | null => (server.address() as AddressInfo | null)?.port ?? null;
  let problem: HealthError | null = null;

  async function open(): Promise<void> {
    try {
      server.listen(address);
      await once(server, 'listening', { signal });
      problem = null;
      log.info({ listen, port: port() }, 'health port open');
    } catch (error) {
      if (signal.aborted) return;
      const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
      const cause = taken ? 'another program has that port' : (error as Error).message;
      const why = new HealthError(taken ? 'LISTEN_TAKEN' : 'LISTEN_REFUSED', `cannot listen on ${listen}: ${cause}`, error);
      if (problem?.message !== why.message) log.error({ code: why.code, err: why.message, retryMs }, 'no health port: no metrics, and probes fail; trying again');
      problem = why;
    }
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      // Rejected by the abort, and then there is nothing to wait for.
      if (server.listening) await once(signal, 'abort');
      else await timer(retryMs, undefined, { signal, ref: false }).then(open, () => {});
    }
    if (!server.listening) {
      // A name may still be looked up.
      server.once('listening', () => server.close());
      return;
    }
    const done = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await done;
  }

  if (!signal.aborted) await open();
  return { get port() { return port(); }, get problem() { return problem; }, closed: run() };
}

async function answer(request: IncomingMessage, response: ServerResponse, { metrics, live, ready, log }: HealthOptions): Promise<void> {
  request.resume();
  const path = request.url?.split('?', 1)[0];
  const respond = (status: number, text: string, headers: Record<string, string> = {}): void => {
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store', ...headers });
    response.end(request.method === 'HEAD' ? undefined : `${text}\n`);
  };
  if (path !== '/metrics' && path !== '/livez' && path !== '/readyz') return respond(404, 'only /metrics, /livez and /readyz are here');
  if (request.method !== 'GET' && request.method !== 'HEAD') return respond(405, 'GET or HEAD', { allow: 'GET, HEAD' });
  if (path !== '/metrics') {
    const problem = verdict(path === '/livez' ? live : ready);
    return respond(problem === null ? 200 : 503, problem ?? 'ok');
  }
  if (request.method === 'HEAD') return respond(200, '', { 'content-type': CONTENT_TYPE });
  try {
    response.writeHead(200, { 'content-type': CONTENT_TYPE, 'cache-control': 'no-store' });
    await pipeline(Readable.from(metrics.scrape()), response);
  } catch (error) {
    // Whoever asked went away. Anything else: the answer breaks off, so that nobody takes a part for the whole.
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') log.error({ err: error }, 'scrape failed');
    response.destroy();
  }
}

/** A check that throws is a check that fails. */
function verdict(check: () => string | null): string | null {
  try {
    return check();
  } catch (error) {
    return `the check itself failed: ${(error as Error).message}`;
  }
}
