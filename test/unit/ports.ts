/**
 * Ports that refuse. A port that was taken and given back belongs to whoever asks the kernel for one next, and other tests do, in this process
 * and in those beside it: so it is kept, without anybody listening on it. Not for servers: those listen on port 0.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface RefusingPort extends AsyncDisposable {
  readonly port: number;
}

/**
 * A port of 127.0.0.1 on which nobody listens and which nobody gets by chance as long as it is not disposed of. Whoever names it may listen on it
 * (TCP only, Node's servers do): then it answers, and refuses again when that server is closed.
 */
export function refusingPort(kind: 'tcp' | 'udp' = 'tcp'): Promise<RefusingPort> {
  return kind === 'tcp' ? ofTcp('127.0.0.1') : ofUdp('127.0.0.1');
}

/** The near end of a connection: its port is bound, which is not what listening is, and only its peer reaches it. */
async function ofTcp(host: string): Promise<RefusingPort> {
  const server = createServer().listen(0, host);
  await once(server, 'listening');
  // With an address the port is bound by bind(), as a server's is; connect() alone would let others connect from it, also to itself.
  const near = connect({ host, port: (server.address() as AddressInfo).port, localAddress: host });
  const [[far]] = await Promise.all([once(server, 'connection') as Promise<[Socket]>, once(near, 'connect')]);
  server.close();
  return {
    port: near.localPort!,
    async [Symbol.asyncDispose]() {
      const closed = Promise.all([once(near, 'close'), once(far, 'close')]);
      near.destroy();
      far.destroy();
      await closed;
    },
  };
}

/** A socket that is connected to itself: what others send does not reach it, and is refused. */
async function ofUdp(host: string): Promise<RefusingPort> {
  const socket = createSocket('udp4');
  socket.bind(0, host);
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.connect(port, host);
  await once(socket, 'connect');
  return {
    port,
    async [Symbol.asyncDispose]() {
      socket.close();
      await once(socket, 'close');
    },
  };
}
