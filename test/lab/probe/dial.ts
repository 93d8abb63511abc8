// One attempt of the probe as a client: connect (or send), read the greeting, close. Used by get and stream.

import { createSocket } from 'node:dgram';
import { connect, type Socket } from 'node:net';
import type { Greeting } from './serve.ts';

export interface Target {
  readonly address: string;
  readonly port: number;
  readonly protocol?: 'tcp' | 'udp';
  readonly timeoutMs: number;
  readonly sourceAddress?: string;
  readonly localPort?: number;
}

/** Resolves to the greeting, or to the code of what went wrong (TIMEOUT, ECONNREFUSED, ...). */
export function dial(target: Target): Promise<Greeting | string> {
  return target.protocol === 'udp' ? askUdp(target) : askTcp(target);
}

async function askTcp(target: Target): Promise<Greeting | string> {
  const opened = await open(target);
  if (typeof opened === 'string') return opened;
  const { socket, greeting } = opened;
  // An orderly close, so that the director sees FINs; at most until the timeout.
  await new Promise<void>((done) => {
    const timer = setTimeout(() => { socket.destroy(); done(); }, target.timeoutMs);
    socket.once('close', () => { clearTimeout(timer); done(); });
    socket.on('error', () => {}); // The answer is in; a reset while closing is the server's way to end.
    socket.end();
    socket.resume();
  });
  return greeting;
}

export interface OpenConnection {
  readonly socket: Socket;
  readonly greeting: Greeting;
  /** Bytes that came after the greeting. */
  readonly rest: Buffer;
}

/** Opens a TCP connection and reads the greeting; resolves to an error code when that fails. */
export function open(target: Target): Promise<OpenConnection | string> {
  return new Promise((done) => {
    const socket = connect({
      host: target.address,
      port: target.port,
      noDelay: true,
      ...(target.sourceAddress === undefined ? {} : { localAddress: target.sourceAddress }),
      ...(target.localPort === undefined ? {} : { localPort: target.localPort }),
    });
    let received = Buffer.alloc(0);
    const finish = (outcome: OpenConnection | string): void => {
      clearTimeout(timer);
      socket.removeAllListeners();
      if (typeof outcome === 'string') {
        socket.on('error', () => {});
        socket.destroy();
      }
      done(outcome);
    };
    const timer = setTimeout(() => finish('TIMEOUT'), target.timeoutMs);
    socket.once('error', (error: NodeJS.ErrnoException) => finish(error.code ?? error.message));
    socket.once('close', () => finish('CLOSED'));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf(10);
      if (end < 0) return;
      finish({ socket, greeting: JSON.parse(received.subarray(0, end).toString()) as Greeting, rest: received.subarray(end + 1) });
    });
  });
}

// UDP source ports of a probe, each used once. The kernel's choice is random: now and then it takes one again within the five
// minutes that IPVS remembers its flow, and the datagram follows that flow and not the scheduler. Below the range the kernel chooses from.
const udpPorts = { from: 20_000, to: 30_000, next: 20_000 };

function unusedUdpPort(): number {
  const port = udpPorts.next;
  udpPorts.next = port + 1 < udpPorts.to ? port + 1 : udpPorts.from;
  return port;
}

function askUdp(target: Target): Promise<Greeting | string> {
  return new Promise((done) => {
    const socket = createSocket(target.address.includes(':') ? 'udp6' : 'udp4');
    let finished = false;
    const finish = (outcome: Greeting | string): void => {
      if (finished) return;
      finished = true;
      clearTimeout(timer);
      socket.close();
      done(outcome);
    };
    const timer = setTimeout(() => finish('TIMEOUT'), target.timeoutMs);
    socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code ?? error.message));
    socket.on('message', (message) => finish(JSON.parse(message.toString()) as Greeting));
    socket.bind(target.localPort ?? unusedUdpPort(), target.sourceAddress, () => {
      // Connected, so that an answer from any other address than the VIP does not count.
      socket.connect(target.port, target.address, (error?: Error) => {
        if (error) finish((error as NodeJS.ErrnoException).code ?? error.message);
        else socket.send('?', (failure) => { if (failure) finish((failure as NodeJS.ErrnoException).code ?? failure.message); });
      });
    });
  });
}
