/**
 * The connections to one API server: one keep-alive agent, made anew only when the server's address or the TLS bytes change. A new agent
 * leaves what is under way on the old one alone; only idle connections of the old one end.
 */
import type { Agent, AgentOptions } from 'node:http';
import https from 'node:https';
import { tlsDigest, type Access } from './credentials.ts';
import { http } from './http.ts';

/** TCP keepalive on open connections: finds a dead server under a quiet watch before the watchdog does. Milliseconds. */
const KEEPALIVE_MS = 15_000;
/** An idle connection is closed after this time; API servers keep them for minutes. Milliseconds. */
const IDLE_MS = 55_000;

export class Connections {
  readonly #maxRequests: number;
  #access: Access | null = null;
  #digest = '';
  #agent: Agent | null = null;
  #streams = 0;
  /** How many agents were made, for tests and statistics. */
  made = 0;

  /** `maxRequests`: connections for requests at the same time; more wait. Streams do not count: each has one of its own for minutes. */
  constructor(maxRequests: number) {
    this.#maxRequests = maxRequests;
  }

  /** Options of node:http for a request, and whether they are those of node:https. */
  optionsFor(access: Access, path: string): { readonly secure: boolean; readonly options: https.RequestOptions } {
    const url = new URL(access.server);
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const prefix = url.pathname.replace(/\/+$/, '');
    const options: https.RequestOptions = { host, path: `${prefix}${path}`, agent: this.#agentFor(access) };
    if (url.port !== '') options.port = url.port;
    return { secure: url.protocol === 'https:', options };
  }

  /** Makes room for a stream; returns how to give the room back. */
  openStream(): () => void {
    this.#resize(1);
    return () => this.#resize(-1);
  }

  /** Closes what nobody uses. */
  dropIdle(agent = this.#agent): void {
    for (const sockets of Object.values(agent?.freeSockets ?? {})) for (const socket of sockets ?? []) socket.destroy();
  }

  close(): void {
    this.#agent?.destroy();
    this.#agent = null;
    this.#access = null;
    this.#digest = '';
  }

  #agentFor(access: Access): Agent {
    // The same reading of the credentials is the same object.
    if (this.#agent && this.#access === access) return this.#agent;
    const digest = `${access.server} ${tlsDigest(access.tls)}`;
    this.#access = access;
    if (this.#agent && this.#digest === digest) return this.#agent;
    if (this.#agent) {
      // Zero free sockets: what is in use is closed when it is done.
      this.#agent.maxFreeSockets = 0;
      this.dropIdle(this.#agent);
    }
    this.#digest = digest;
    this.#agent = makeAgent(access, this.#maxRequests + this.#streams);
    this.made += 1;
    return this.#agent;
  }

  #resize(by: number): void {
    this.#streams += by;
    if (this.#agent) this.#agent.maxSockets = this.#maxRequests + this.#streams;
  }
}

function makeAgent({ server, tls }: Access, maxSockets: number): Agent {
  const options: AgentOptions = { keepAlive: true, keepAliveMsecs: KEEPALIVE_MS, timeout: IDLE_MS, scheduling: 'lifo', maxSockets };
  if (new URL(server).protocol === 'http:') return new http.Agent(options);
  const { ca, cert, key, servername, insecure } = tls;
  return new https.Agent({
    ...options,
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    ...(servername !== undefined && { servername }),
    ...(insecure && { rejectUnauthorized: false }),
  });
}
