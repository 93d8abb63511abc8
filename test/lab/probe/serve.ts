// The server side of the probe. TCP: greets with a JSON line {server, client}, then answers lines: `echo TEXT` with
// `echo TEXT`, `download N` with N bytes, `upload N` followed by N bytes with `done`. UDP: answers with the JSON line.

import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { createServer, type Socket } from 'node:net';

export interface ServeRequest {
  readonly name: string;
  readonly byAddress?: boolean;
  readonly tcp: readonly number[];
  readonly udp: readonly number[];
  readonly bind: readonly string[];
}

/** What a server says first. */
export interface Greeting {
  readonly server: string;
  readonly client: string;
}

/** Each ends one socket. */
const servers = new Map<number, readonly (() => void)[]>();
let nextServer = 1;

/** Resolves, to a number for stopServing, when every socket is bound. */
export async function serve(request: ServeRequest): Promise<number> {
  // An empty bind list means every address: one dual-stack TCP socket, two UDP sockets.
  const tcpAddresses = request.bind.length > 0 ? request.bind : ['::'];
  const udpAddresses = request.bind.length > 0 ? request.bind : ['0.0.0.0', '::'];
  const name = request.byAddress === true ? null : request.name;
  const ends = await Promise.all([
    ...request.tcp.flatMap((port) => tcpAddresses.map((address) => listenTcp(name, address, port))),
    ...request.udp.flatMap((port) => udpAddresses.map((address) => listenUdp(request.name, address, port))),
  ]);
  // Others may have been bound meanwhile.
  const server = nextServer++;
  servers.set(server, ends);
  return server;
}

/** Closes the sockets of one `serve`, and the connections they accepted. */
export function stopServing(options: { server: number }): void {
  for (const end of servers.get(options.server) ?? []) end();
  servers.delete(options.server);
}

/** `name` null: the address that the client reached. */
function listenTcp(name: string | null, host: string, port: number): Promise<() => void> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    talk(name ?? plain(socket.localAddress ?? ''), socket);
  });
  return new Promise((done, failed) => {
    server.once('error', failed);
    server.listen({ host, port, backlog: 1024 }, () => done(() => {
      server.close();
      for (const socket of open) socket.destroy();
    }));
  });
}

function talk(name: string, socket: Socket): void {
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy()); // A client may vanish at any time; that is its side's finding.
  socket.write(`${JSON.stringify(greeting(name, socket.remoteAddress ?? ''))}\n`);
  let pending = Buffer.alloc(0);
  let uploading = 0;
  socket.on('data', (chunk) => {
    if (uploading > 0) {
      const taken = Math.min(uploading, chunk.length);
      uploading -= taken;
      if (uploading === 0) socket.write('done\n');
      chunk = chunk.subarray(taken);
    }
    pending = Buffer.concat([pending, chunk]);
    for (let end = pending.indexOf(10); end >= 0; end = pending.indexOf(10)) {
      const line = pending.subarray(0, end).toString();
      pending = pending.subarray(end + 1);
      if (line.startsWith('download ')) socket.write(Buffer.alloc(Number(line.slice(9)), 0x78));
      else if (line.startsWith('upload ')) {
        uploading = Number(line.slice(7)) - pending.length;
        pending = Buffer.alloc(0);
        if (uploading <= 0) socket.write('done\n');
      } else socket.write(`${line}\n`);
    }
  });
}

function listenUdp(name: string, address: string, port: number): Promise<() => void> {
  const six = address.includes(':');
  const socket: DatagramSocket = createSocket({ type: six ? 'udp6' : 'udp4', ipv6Only: six, reuseAddr: true });
  socket.on('message', (_message, from) => {
    // A failed answer (no route, refused) is what the client then sees as a timeout.
    socket.send(JSON.stringify(greeting(name, from.address)), from.port, from.address, () => {});
  });
  return new Promise((done, failed) => {
    socket.once('error', failed);
    socket.bind(port, address, () => {
      socket.removeListener('error', failed);
      socket.on('error', () => {}); // Asynchronous ICMP errors of earlier answers.
      done(() => socket.close());
    });
  });
}

function greeting(server: string, client: string): Greeting {
  return { server, client: plain(client) };
}

/** An address as people write it: a dual-stack socket has IPv4 as ::ffff:192.0.2.1. */
function plain(address: string): string {
  return address.replace(/^::ffff:/, '').replace(/%.*$/, '');
}
