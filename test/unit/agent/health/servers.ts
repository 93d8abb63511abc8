/** Servers on loopback that behave and misbehave, and one check against them: for the tests of probes and of the checker. */
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { checkTarget, type HealthCheck, type Probe } from '../../../../src/agent/health/check.ts';
import { Flights } from '../../../../src/agent/health/flights.ts';
import type { Result } from '../../../../src/agent/health/outcome.ts';
import { openSockets } from '../../../../src/kernel/net/sockets.ts';

export interface Running extends AsyncDisposable {
  readonly port: number;
}

/** A TCP server that does `serve` with each connection. */
export async function tcp(serve: (socket: Socket) => void, host = '127.0.0.1'): Promise<Running> {
  return running(createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    serve(socket);
  }), host);
}

/** Any server of Node; what is open when it is disposed of is destroyed. */
export async function running(server: Server, host = '127.0.0.1'): Promise<Running> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, host);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A UDP server; `answers` makes the datagrams that are sent back. */
export async function udp(answers: (datagram: Buffer) => readonly Uint8Array[], host = '127.0.0.1'): Promise<Running> {
  const socket = createSocket('udp4');
  socket.on('message', (datagram, from) => { for (const answer of answers(datagram)) socket.send(answer, from.port, from.address); });
  socket.bind(0, host);
  await once(socket, 'listening');
  return {
    port: socket.address().port,
    async [Symbol.asyncDispose]() {
      socket.close();
      await once(socket, 'close');
    },
  };
}

/** What such a process does: it loads nothing that it does not need. */
const BLACK_HOLE = `const server = require('node:net').createServer().listen({ port: 0, host: '0.0.0.0', backlog: 1 }, () => process.send(server.address().port))`;

/**
 * A port of all of 127.0.0.0/8 that lets every connection hang before it is made: a stopped process whose queue is full, so that the kernel
 * drops what comes. As far as a client can tell it is a host that is gone.
 */
export async function blackHole(): Promise<Running> {
  const child = spawn(process.execPath, ['-e', BLACK_HOLE], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const [port] = await once(child, 'message') as [number];
  child.kill('SIGSTOP');
  // A signal is sent before it is heard: what goes on running takes connections out of the queue that is filled here.
  const state = (): string => readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]![0]!;
  while (state() !== 'T') await new Promise((resolve) => { setTimeout(resolve, 1); });
  const filling = Array.from({ length: 8 }, () => connect({ host: '127.0.0.1', port }).on('error', () => {}));
  for (let quiet = 0, before = -1; quiet < 3; await new Promise((resolve) => { setTimeout(resolve, 50); })) {
    const made = filling.filter((s) => !s.connecting).length;
    quiet = made === before && made > 0 ? quiet + 1 : 0;
    before = made;
  }
  if (filling.every((s) => !s.connecting)) throw new Error('the queue of the black hole is not full');
  return {
    port,
    async [Symbol.asyncDispose]() {
      for (const socket of filling) socket.destroy();
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    },
  };
}

/** An answer has half a minute, of which it needs milliseconds. */
const timing = { periodMs: 60_000, timeoutMs: 30_000, rise: 2, fall: 3 } as const;

/** One check, as it is done in the agent. */
export function checkOnce(probe: Probe, port: number, { timeoutMs = timing.timeoutMs, address = '127.0.0.1' }: { timeoutMs?: number; address?: string } = {}): Promise<Result> {
  const sockets = openSockets();
  return new Promise((resolve) => {
    const flights = new Flights<object>({
      sockets, now: () => performance.now(),
      onEnd: (_, result) => {
        clearInterval(look);
        sockets.end();
        resolve(result);
      },
    });
    const look = setInterval(() => {
      flights.look(performance.now());
      flights.expire(performance.now());
    }, 2);
    flights.start({}, checkTarget(address, { ...timing, timeoutMs, port, ...probe } as HealthCheck), performance.now());
  });
}
