/**
 * A netlink socket: opened, tuned, and reduced to what the connection needs, so that tests can put a fake kernel in its
 * place. No messages here.
 */
import { AF, MSG, SO, SOCK, SOL_SOCKET, bind, close, getsockopt, recv, send, setsockopt, socket, waitReadable } from './libc.ts';
import { ACK_COST, BUFFER_BYTES, NETLINK_OPTION, SOL_NETLINK } from './constants.ts';
import { KernelError } from './errors.ts';

export interface NetlinkSocket {
  /** Sends the first `length` bytes; throws KernelError. */
  send(bytes: Uint8Array, length: number): void;
  /**
   * Receives one datagram without blocking. Returns its true length (which may exceed the buffer), or a negative errno:
   * -EAGAIN when nothing is queued, -ENOBUFS when the kernel dropped something.
   */
  receive(buffer: Uint8Array): number;
  /** Resolves true when there is something to receive, false after `timeoutMs`. */
  wait(timeoutMs: number): Promise<boolean>;
  /** How many ACKs or errors fit into half of the receive buffer: more messages in one send risk their answers. */
  readonly answersThatFit: number;
  close(): void;
}

export interface NetlinkSocketOptions {
  /** Wished size of the receive buffer in bytes; the kernel doubles it. Default 4 MiB. */
  readonly receiveBuffer?: number;
  /** NETLINK_GET_STRICT_CHK: rtnetlink then honours filters of dumps, and refuses what it does not know. */
  readonly strict?: boolean;
  /** Multicast groups to join, by number (RTNLGRP_*). */
  readonly groups?: readonly number[];
}

const DEFAULT_RECEIVE_BUFFER = 4 << 20;
/** A recv that must not happen (all of ours are non-blocking) would end after this long instead of hanging the agent. Seconds. */
const RECEIVE_TIMEOUT_SECONDS = 2;

/** Opens an AF_NETLINK socket in the current network namespace, to which it belongs for ever. Throws KernelError. */
export function openNetlinkSocket(protocol: number, options: NetlinkSocketOptions = {}): NetlinkSocket {
  const fd = socket(AF.NETLINK, SOCK.RAW, protocol);
  try {
    setReceiveBuffer(fd, options.receiveBuffer ?? DEFAULT_RECEIVE_BUFFER);
    // struct timeval, two longs.
    setsockopt(fd, SOL_SOCKET, SO.RCVTIMEO, new Uint8Array(BigInt64Array.of(BigInt(RECEIVE_TIMEOUT_SECONDS), 0n).buffer));
    setsockopt(fd, SOL_NETLINK, NETLINK_OPTION.CAP_ACK, 1);
    setsockopt(fd, SOL_NETLINK, NETLINK_OPTION.EXT_ACK, 1);
    if (options.strict) setsockopt(fd, SOL_NETLINK, NETLINK_OPTION.GET_STRICT_CHK, 1);
    // struct sockaddr_nl: family, pad, pid 0 (the kernel chooses), groups 0.
    bind(fd, new Uint8Array(Uint32Array.of(AF.NETLINK, 0, 0).buffer));
    for (const group of options.groups ?? []) setsockopt(fd, SOL_NETLINK, NETLINK_OPTION.ADD_MEMBERSHIP, group);
    const answersThatFit = Math.floor(receiveBufferOf(fd) / ACK_COST / 2);
    return {
      send: (bytes, length) => { send(fd, bytes, length); },
      receive: (buffer) => recv(fd, buffer, MSG.DONTWAIT | MSG.TRUNC),
      wait: (timeoutMs) => waitReadable(fd, timeoutMs),
      answersThatFit,
      close: () => close(fd),
    };
  } catch (error) {
    close(fd);
    throw error;
  }
}

function setReceiveBuffer(fd: number, bytes: number): void {
  try {
    setsockopt(fd, SOL_SOCKET, SO.RCVBUFFORCE, bytes);
  } catch (error) {
    // RCVBUFFORCE needs CAP_NET_ADMIN in the init user namespace; without it net.core.rmem_max is the limit, and that works too.
    if (!(error instanceof KernelError)) throw error;
    setsockopt(fd, SOL_SOCKET, SO.RCVBUF, bytes);
  }
}

function receiveBufferOf(fd: number): number {
  const value = new Uint8Array(4);
  const length = getsockopt(fd, SOL_SOCKET, SO.RCVBUF, value);
  if (length !== 4) return BUFFER_BYTES;
  return new DataView(value.buffer).getInt32(0, true);
}
