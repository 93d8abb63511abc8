/**
 * Transport: authenticated HTTP to one API server, on node:https with connections that are kept. A request has a deadline and a largest
 * answer; a stream is lines until it ends. What the paths and bodies mean is client.ts; when to try again is decided above, but for three
 * cases that only this place can tell: an old token, an old CA, and a kept connection that the server had closed already.
 */
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import https from 'node:https';
import { asStatus, badResponse, chunksOf, describe, parseJson, readAll, retryAfter, unreachable, type Asked } from './answer.ts';
import { Connections } from './connections.ts';
import type { Access, Credentials } from './credentials.ts';
import { ApiError, errorFromStatus, quote } from './errors.ts';
import { http } from './http.ts';
import { splitLines } from './lines.ts';
import type { Log } from './types.ts';
import { AbortError, onAbort } from './wait.ts';

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;
export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface RequestSpec {
  readonly method: Method;
  /** '/api/v1/nodes/x', encoded. */
  readonly path: string;
  /** Members that are undefined are left out. */
  readonly query?: Query;
  /** Default: application/json. */
  readonly accept?: string | undefined;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal | undefined;
  /** From the call to the last byte of the answer. */
  readonly timeoutMs?: number | undefined;
}

export interface StreamSpec {
  readonly path: string;
  readonly query?: Query;
  /** Default: application/json. */
  readonly accept?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** From the call to the headers of the answer; how long the stream may be silent is the reader's. */
  readonly timeoutMs?: number | undefined;
}

export interface Response {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly json: unknown;
}

export interface TransportOptions {
  /** 'ipvs-operator-agent/1.2.3 node-a': how the server's audit log names us. */
  readonly userAgent: string;
  readonly requestTimeoutMs?: number;
  /** Largest answer to a request, and largest line of a stream. */
  readonly maxResponseBytes?: number;
  readonly maxLineBytes?: number;
  /** Connections for requests at the same time; more requests wait for one. */
  readonly maxConnections?: number;
  readonly log?: Log;
}

/** Half the time after which API servers themselves give up. */
const REQUEST_TIMEOUT_MS = 30_000;
/** A page of 500 of the largest usual objects is a tenth of it. */
const MAX_RESPONSE_BYTES = 128 * 1024 * 1024;
/** Objects end at 1.5 MB in etcd, and a line is one object. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;
const MAX_ERROR_BYTES = 1024 * 1024;
const MAX_CONNECTIONS = 16;
/** Distinct warnings of the server that are logged, once each. */
const MAX_WARNINGS = 100;

/** OpenSSL's and Node's codes for a certificate that does not satisfy: the request was not sent. */
const DISTRUST = /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS_|HOSTNAME_MISMATCH/;

interface Call extends Asked {
  /** Path and query. */
  readonly target: string;
  readonly spec: Omit<RequestSpec, 'signal' | 'timeoutMs'>;
}

export class Transport {
  readonly #credentials: Credentials;
  readonly #options: TransportOptions;
  readonly #connections: Connections;
  readonly #calls = new Set<AbortController>();
  readonly #warned = new Set<string>();
  #problem = '';
  #closed = false;

  constructor(credentials: Credentials, options: TransportOptions) {
    this.#credentials = credentials;
    this.#options = options;
    this.#connections = new Connections(options.maxConnections ?? MAX_CONNECTIONS);
  }

  get credentials(): Credentials { return this.#credentials; }

  /** How often connections were made anew because the TLS bytes or the address changed; 1 after the first request. */
  get agents(): number { return this.#connections.made; }

  /** Resolves with an answer of 2xx. Rejects with ApiError, CredentialsError (no credentials at all), or AbortError by the signal. */
  async request({ signal, timeoutMs, ...spec }: RequestSpec): Promise<Response> {
    const { maxResponseBytes = MAX_RESPONSE_BYTES } = this.#options;
    return await this.#call(spec.method, spec, signal, timeoutMs, async (call) => {
      const response = await this.#exchange(call);
      const body = await readAll(response, maxResponseBytes, call);
      return { status: response.statusCode!, headers: response.headers, json: parseJson(body, call) };
    });
  }

  /**
   * The lines of an answer, without their ends and without empty ones. Nothing is sent before the first is asked for; leaving the loop closes
   * the connection. Throws what `request` rejects with; UNREACHABLE when the connection breaks, and then what came of a last line is lost.
   */
  async *stream({ signal, timeoutMs, ...spec }: StreamSpec): AsyncGenerator<string, void, undefined> {
    const { maxLineBytes = MAX_LINE_BYTES } = this.#options;
    const call = this.#begin('WATCH', { method: 'GET', ...spec });
    const release = this.#connections.openStream();
    const detach = onAbort(signal, () => this.#abort(call, new AbortError(signal!)));
    try {
      const response = await this.#withDeadline(call, timeoutMs, () => this.#exchange(call));
      for await (const line of splitLines(chunksOf(response, call), maxLineBytes, (message) => badResponse(call, message))) {
        // Lines that came before the abort and were not read yet are not wanted any more.
        if (call.stop.signal.aborted) throw call.stop.signal.reason;
        yield line;
      }
    } finally {
      detach();
      release();
      this.#calls.delete(call.stop);
    }
  }

  /** Ends every connection; what is under way fails with UNREACHABLE. */
  close(): void {
    this.#closed = true;
    for (const stop of this.#calls) stop.abort(new ApiError({ code: 'UNREACHABLE', message: 'the client was closed', verb: 'CLOSE', path: '' }));
    this.#connections.close();
  }

  async #call<R>(verb: string, spec: Call['spec'], signal: AbortSignal | undefined, timeoutMs: number | undefined, work: (call: Call) => Promise<R>): Promise<R> {
    const call = this.#begin(verb, spec);
    const detach = onAbort(signal, () => this.#abort(call, new AbortError(signal!)));
    try {
      return await this.#withDeadline(call, timeoutMs, () => work(call));
    } finally {
      detach();
      this.#calls.delete(call.stop);
    }
  }

  #begin(verb: string, spec: Call['spec']): Call {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(spec.query ?? {})) if (value !== undefined) query.set(name, String(value));
    const call: Call = { verb, path: spec.path, target: query.size > 0 ? `${spec.path}?${query}` : spec.path, spec, stop: new AbortController() };
    if (this.#closed) throw unreachable(call, 'the client was closed');
    this.#calls.add(call.stop);
    return call;
  }

  /** Whoever loses patience, here or above, may have a dead connection; then those beside it are dead, too. */
  #abort(call: Call, error: Error): void {
    call.stop.abort(error);
    this.#connections.dropIdle();
  }

  async #withDeadline<R>(call: Call, timeoutMs = this.#options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS, work: () => Promise<R>): Promise<R> {
    const timer = setTimeout(() => {
      this.#abort(call, new ApiError({ code: 'TIMEOUT', message: `no answer within ${timeoutMs} ms`, verb: call.verb, path: call.path }));
    }, timeoutMs);
    try {
      return await work();
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends, and once more where that is safe and promising. Resolves with an answer of 2xx whose body is still to be read. */
  async #exchange(call: Call): Promise<IncomingMessage> {
    let access = await this.#access(call);
    let [renewed, resent] = [false, false];
    for (;;) {
      let response: IncomingMessage;
      try {
        response = await this.#send(call, access);
      } catch (error) {
        if (call.stop.signal.aborted || error instanceof ApiError) throw error;
        const { code = '', reused = false } = error as { code?: string; reused?: boolean };
        if (DISTRUST.test(code) && !renewed) {
          renewed = true;
          const fresh = await this.#renew(access, call);
          if (fresh) { access = fresh; continue; }
        }
        // The server closed the connection while it was idle. Whether it saw the request cannot be told, so only reading is repeated.
        if (reused && call.spec.method === 'GET' && !resent) { resent = true; continue; }
        throw unreachable(call, describe(error as Error), error);
      }
      this.#tellWarnings(response);
      const status = response.statusCode!;
      if (status >= 200 && status < 300) return response;
      const body = (await readAll(response, MAX_ERROR_BYTES, call)).toString('utf8');
      if (status === 401 && !renewed) {
        renewed = true;
        const fresh = await this.#renew(access, call);
        if (fresh) { access = fresh; continue; }
      }
      if (status < 400) throw badResponse(call, `HTTP ${status} where a redirect is never followed`);
      throw errorFromStatus(call.verb, call.path, status, asStatus(body), body, retryAfter(response));
    }
  }

  #send({ spec, target, stop }: Call, access: Access): Promise<IncomingMessage> {
    const { secure, options } = this.#connections.optionsFor(access, target);
    const payload = spec.body === undefined ? undefined : Buffer.from(JSON.stringify(spec.body));
    const headers: OutgoingHttpHeaders = { ...access.headers, accept: spec.accept ?? 'application/json', 'user-agent': this.#options.userAgent };
    if (payload) Object.assign(headers, { 'content-type': spec.contentType ?? 'application/json', 'content-length': payload.length });
    return new Promise((resolve, reject) => {
      const request = (secure ? https : http).request({ ...options, method: spec.method, headers });
      const detach = onAbort(stop.signal, () => {
        // A request that waits for a connection says nothing when it is destroyed: reject here.
        request.destroy();
        reject(stop.signal.reason);
      });
      request.once('response', (response) => {
        detach();
        resolve(response);
      });
      request.on('error', (error) => {
        detach();
        reject(stop.signal.aborted ? stop.signal.reason : Object.assign(error, { reused: request.reusedSocket }));
      });
      request.end(payload);
    });
  }

  async #access(call: Call): Promise<Access> {
    const access = await this.#credentials.access();
    const problem = this.#credentials.problem?.message ?? '';
    if (problem !== this.#problem && problem !== '') {
      this.#options.log?.warn({ err: this.#credentials.problem }, 'credentials cannot be read again; the last good ones stay in use');
    }
    this.#problem = problem;
    if (call.stop.signal.aborted) throw call.stop.signal.reason;
    return access;
  }

  /** Reads the credentials again after a refusal; null when they are what was refused. */
  async #renew(refused: Access, call: Call): Promise<Access | null> {
    // Another request may have read them again while this one was under way.
    const current = await this.#access(call);
    if (differs(current, refused)) return current;
    await this.#credentials.refresh();
    const fresh = await this.#access(call);
    return differs(fresh, refused) ? fresh : null;
  }

  #tellWarnings({ headers }: IncomingMessage): void {
    const warning = headers['warning'];
    if (typeof warning !== 'string' || this.#warned.has(warning) || this.#warned.size >= MAX_WARNINGS) return;
    this.#warned.add(warning);
    this.#options.log?.warn({ warning: quote(warning) }, 'the API server warns');
  }
}

function differs(a: Access, b: Access): boolean {
  if (a === b) return false;
  const bytes = (x: Buffer | undefined): string => x?.toString('latin1') ?? '';
  return a.server !== b.server || JSON.stringify(a.headers) !== JSON.stringify(b.headers)
    || bytes(a.tls.ca) !== bytes(b.tls.ca) || bytes(a.tls.cert) !== bytes(b.tls.cert) || bytes(a.tls.key) !== bytes(b.tls.key);
}
