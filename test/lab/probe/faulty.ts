// A server of one protocol that misbehaves on command: what a health check is to find out. It is the health endpoint of a real server and
// answers nobody else. Its moods are in ../lab.ts.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createSecureServer as createSecureHttp2, createServer as createHttp2, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { createServer as createHttps } from 'node:https';
import { createServer, type Server, type Socket } from 'node:net';
import type { FaultyOptions, Mood } from '../lab.ts';

interface Faulty {
  mood: Mood;
  /** Connections, or datagrams, since the mood was set. */
  asked: number;
  listen(): Promise<void>;
  close(): Promise<void>;
}

/** Longer than any check waits. */
const LATE_MS = 2_500;
const servers = new Map<number, Faulty>();
let next = 1;

/** Resolves, to a number for the others, when it listens. */
export async function faulty({ protocol, port }: FaultyOptions): Promise<number> {
  const server = protocol === 'UDP' || protocol === 'DNS' ? datagrams(protocol, port) : stream(protocol, port);
  await server.listen();
  const id = next++;
  servers.set(id, server);
  return id;
}

/** Resolves when it is so. */
export async function setMood({ server, mood }: { server: number; mood: Mood }): Promise<void> {
  const one = servers.get(server)!;
  const before = one.mood;
  one.mood = mood;
  one.asked = 0;
  if (mood === 'refuses') await one.close();
  else if (before === 'refuses') await one.listen();
}

export function askedSince({ server }: { server: number }): number {
  return servers.get(server)!.asked;
}

/** What it does this time: who flaps is well every other time. */
function thisTime(one: Faulty): Mood {
  one.asked++;
  if (one.mood !== 'flaps') return one.mood;
  return one.asked % 2 === 0 ? 'well' : 'hangs';
}

function stream(protocol: Exclude<FaultyOptions['protocol'], 'UDP' | 'DNS'>, port: number): Faulty {
  const open = new Set<Socket>();
  const one: Faulty = {
    mood: 'well', asked: 0,
    listen: async () => {
      outer = createServer({ allowHalfOpen: true }, serve);
      outer.listen({ port, host: '0.0.0.0' });
      await once(outer, 'listening');
    },
    close: async () => {
      for (const socket of open) socket.destroy();
      const closed = once(outer, 'close');
      outer.close();
      await closed;
    },
  };
  const inner = speaker(protocol, () => one.mood === 'wrong');
  let outer: Server;
  const serve = (socket: Socket): void => {
    open.add(socket);
    socket.on('error', () => {}).once('close', () => open.delete(socket));
    const mood = thisTime(one);
    if (mood === 'hangs') return;
    if (mood === 'half-closes') return void socket.end();
    if (mood !== 'late') return void inner.emit('connection', socket);
    setTimeout(() => { if (!socket.destroyed) inner.emit('connection', socket); }, LATE_MS);
  };
  return one;
}

/** Speaks the protocol on connections that it is given; `isWrong`: says that it is not well. */
function speaker(protocol: Exclude<FaultyOptions['protocol'], 'UDP' | 'DNS'>, isWrong: () => boolean): { emit(event: 'connection', socket: Socket): boolean } {
  const status = (_: unknown, answer: { writeHead(status: number): { end(): unknown } }): void => { answer.writeHead(isWrong() ? 503 : 200).end(); };
  switch (protocol) {
    case 'HTTP': return createHttp(status);
    case 'HTTPS': return createHttps(certificate(), status).on('tlsClientError', () => {});
    case 'GRPC': return health(createHttp2(), isWrong);
    case 'GRPCS': return health(createSecureHttp2(certificate()).on('tlsClientError', () => {}), isWrong);
  }
}

function certificate(): { cert: Buffer; key: Buffer } {
  const read = (name: string): Buffer => readFileSync(new URL(`../../unit/kube/fixtures/${name}`, import.meta.url));
  return { cert: read('a.pem'), key: read('a.key') };
}

/** grpc.health.v1.Health/Check: SERVING (1) or NOT_SERVING (2), whatever is asked for. */
function health(server: Pick<Http2Server, 'on' | 'emit'>, isWrong: () => boolean): { emit(event: 'connection', socket: Socket): boolean } {
  server.on('stream', (answer: ServerHttp2Stream) => {
    answer.on('error', () => {}).resume();
    answer.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    answer.on('wantTrailers', () => answer.sendTrailers({ 'grpc-status': '0' }));
    answer.end(Buffer.of(0, 0, 0, 0, 2, 8, isWrong() ? 2 : 1));
  });
  server.on('sessionError', () => {});
  return server as unknown as { emit(event: 'connection', socket: Socket): boolean };
}

function datagrams(protocol: 'UDP' | 'DNS', port: number): Faulty {
  let socket = createSocket('udp4');
  const one: Faulty = {
    mood: 'well', asked: 0,
    listen: async () => {
      socket = createSocket('udp4');
      socket.on('message', (question, from) => {
        const mood = thisTime(one);
        if (mood === 'hangs') return;
        const answer = protocol === 'UDP' ? question : dnsAnswer(question, mood);
        const send = (): void => { if (one.mood !== 'refuses') socket.send(answer, from.port, from.address); };
        if (mood === 'late') setTimeout(send, LATE_MS);
        else send();
      });
      socket.bind(port, '0.0.0.0');
      await once(socket, 'listening');
    },
    close: async () => {
      const closed = once(socket, 'close');
      socket.close();
      await closed;
    },
  };
  return one;
}

/** NOERROR or NXDOMAIN with the question and no records; `half-closes`: the first half of that. */
function dnsAnswer(question: Buffer, mood: Mood): Buffer {
  const answer = Buffer.from(question);
  answer.writeUInt16BE(mood === 'wrong' ? 0x8183 : 0x8180, 2);
  return mood === 'half-closes' ? answer.subarray(0, 7) : answer;
}
