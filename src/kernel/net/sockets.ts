/**
 * Many short connections at a time: TCP and UDP sockets that never block, watched by one epoll set that is looked at, not waited for. What
 * Node's own sockets cannot do: a mark or a source address before the first packet, an errno for each failure, and a TCP connection that costs
 * five system calls and no object. What is said on them is the caller's.
 */
import { readFileSync } from 'node:fs';
import { toBytes, type Family } from '../../ip/ip.ts';
import {
  AF, EPOLL, SO, SOCK, SOL_SOCKET,
  bind, close, connect, epollAdd, epollCreate, epollDelete, epollTake, eventAt, eventsFor, getsockopt, setsockopt, socket, tryReceive, trySend,
} from '../netlink/libc.ts';
import { ERRNO, KernelError } from '../netlink/errors.ts';

export interface SocketAddress {
  readonly kind: 'stream' | 'datagram';
  readonly family: Family;
  readonly address: string;
  readonly port: number;
  /** SO_MARK; 0: none. Needs CAP_NET_ADMIN. */
  readonly mark: number;
  /** Address to send from; empty: the kernel chooses. */
  readonly source: string;
}

/** What happened to a socket since the last look. */
export interface SocketEvent {
  readonly fd: number;
  readonly writable: boolean;
  readonly readable: boolean;
  /** Positive errno of a failure; 0: none. */
  readonly error: number;
}

/** Everything takes and gives descriptors that open() returned. Failures of the network are numbers, never exceptions. */
export interface Sockets {
  /** Opens and connects. Returns the descriptor, or a negative errno when it failed at once. Throws RangeError when an address is none. */
  open(to: SocketAddress): number;
  /** What happened since the last call, each socket at most once a call. A change is told once (edge triggered): read until -EAGAIN. */
  take(): SocketEvent[];
  /** Bytes sent, or a negative errno. */
  send(fd: number, bytes: Uint8Array): number;
  /** Bytes received, 0 when the peer closed, or a negative errno. */
  receive(fd: number, buffer: Uint8Array): number;
  /** Stops watching a socket, for somebody else to own and to close. */
  release(fd: number): void;
  close(fd: number): void;
  /** Closes the set; sockets that are open are the caller's. */
  end(): void;
}

/** Events of one look: what does not fit is there at the next. */
const EVENTS = 256;
const WATCHED = EPOLL.IN | EPOLL.OUT | EPOLL.RDHUP | EPOLL.ET;
/** struct linger { int l_onoff; int l_linger; }: a close is a reset. No TIME_WAIT, and no answer is waited for that nobody reads. */
const RESET_ON_CLOSE = new Uint8Array(Int32Array.of(1, 0).buffer);
const option = new Uint8Array(4);
const optionView = new DataView(option.buffer);

/** Throws KernelError where epoll cannot be had. */
export function openSockets(): Sockets {
  const epoll = epollCreate();
  const events = eventsFor(EVENTS);
  return {
    open: (to) => open(epoll, to),
    take() {
      const taken: SocketEvent[] = [];
      const count = epollTake(epoll, events);
      for (let i = 0; i < count; i++) {
        const { fd, events: bits } = eventAt(events, i);
        taken.push({
          fd,
          writable: (bits & EPOLL.OUT) !== 0,
          readable: (bits & (EPOLL.IN | EPOLL.RDHUP | EPOLL.HUP)) !== 0,
          error: bits & EPOLL.ERR ? errorOf(fd) : 0,
        });
      }
      return taken;
    },
    send: trySend,
    receive: tryReceive,
    release: (fd) => epollDelete(epoll, fd),
    close,
    end: () => close(epoll),
  };
}

/** File descriptors that this process may have (RLIMIT_NOFILE, which Node raises to the hard limit); `fallback` where that cannot be read. */
export function descriptorLimit(fallback: number, read: () => string = () => readFileSync('/proc/self/limits', 'latin1')): number {
  let text: string;
  try {
    text = read();
  } catch {
    return fallback; // no /proc: the limit is somewhere, and nobody says where
  }
  const soft = /^Max open files +(\d+|unlimited)/m.exec(text)?.[1];
  return soft === undefined ? fallback : soft === 'unlimited' ? Infinity : Number(soft);
}

function open(epoll: number, to: SocketAddress): number {
  let fd = -1;
  try {
    fd = socket(to.family === 'IPv4' ? AF.INET : AF.INET6, (to.kind === 'stream' ? SOCK.STREAM : SOCK.DGRAM) | SOCK.NONBLOCK, 0);
    if (to.mark !== 0) setsockopt(fd, SOL_SOCKET, SO.MARK, to.mark | 0);
    if (to.kind === 'stream') setsockopt(fd, SOL_SOCKET, SO.LINGER, RESET_ON_CLOSE);
    if (to.source !== '') bind(fd, socketAddress(to.family, to.source, 0));
    const result = connect(fd, socketAddress(to.family, to.address, to.port));
    if (result === 0 || result === -ERRNO.EINPROGRESS) {
      epollAdd(epoll, fd, WATCHED);
      return fd;
    }
    close(fd);
    return result;
  } catch (error) {
    if (fd >= 0) close(fd);
    if (error instanceof KernelError && error.errno > 0) return -error.errno;
    throw error;
  }
}

function errorOf(fd: number): number {
  return getsockopt(fd, SOL_SOCKET, SO.ERROR, option) < 0 ? ERRNO.EBADF : optionView.getInt32(0, true);
}

/** struct sockaddr_in: family, port, address; struct sockaddr_in6: family, port, flow, address, scope. Ports and addresses in network order. */
function socketAddress(family: Family, address: string, port: number): Uint8Array {
  const bytes = new Uint8Array(family === 'IPv4' ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, family === 'IPv4' ? AF.INET : AF.INET6, true);
  view.setUint16(2, port);
  bytes.set(toBytes(address), family === 'IPv4' ? 4 : 8);
  return bytes;
}
