/**
 * Multicast events of a netlink protocol: membership, waiting, and reading whatever is queued. What an event means is the
 * caller's; that events were lost is told by name, and then only a full re-read helps.
 */
import { BUFFER_BYTES } from './constants.ts';
import type { NetlinkDebug } from './debug.ts';
import { ERRNO } from './errors.ts';
import { MessageReader } from './reader.ts';
import { openNetlinkSocket, type NetlinkSocket } from './socket.ts';

export interface DrainOutcome {
  readonly messages: number;
  /** Events were dropped (ENOBUFS) or cut: whatever was derived from events must be read anew. */
  readonly lost: boolean;
}

export interface SubscriptionOptions {
  /** RTNLGRP_* numbers. One socket for all groups of a protocol. */
  readonly groups: readonly number[];
  readonly receiveBuffer?: number;
  readonly debug?: NetlinkDebug | undefined;
  /** For tests. */
  readonly socket?: NetlinkSocket;
}

export class NetlinkSubscription {
  readonly #socket: NetlinkSocket;
  readonly #debug: NetlinkDebug | undefined;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  readonly #reader = new MessageReader(this.#buffer);
  #closed = false;

  /** Joins the groups in the current network namespace. Throws KernelError. */
  constructor(protocol: number, options: SubscriptionOptions) {
    const { groups, receiveBuffer } = options;
    this.#socket = options.socket ?? openNetlinkSocket(protocol, receiveBuffer === undefined ? { groups } : { groups, receiveBuffer });
    this.#debug = options.debug;
  }

  /**
   * Reads all that is queued without blocking and hands each message to `each` (a cursor: copy what you keep).
   * Throws KernelError PROTOCOL on bytes that are no messages, SYSTEM_CALL.
   */
  drain(each: (message: MessageReader) => void = () => {}): DrainOutcome {
    let messages = 0;
    let lost = false;
    for (;;) {
      const length = this.#socket.receive(this.#buffer);
      if (length === -ERRNO.EINTR) continue;
      if (length === -ERRNO.ENOBUFS) { lost = true; continue; }
      if (length < 0) return { messages, lost };
      if (length > this.#buffer.length) { lost = true; continue; }
      this.#debug?.received(this.#buffer, length);
      for (this.#reader.rewind(length); this.#reader.next(); messages++) each(this.#reader);
    }
  }

  /** Resolves true as soon as there is something to drain, false after `timeoutMs` (see libc.waitReadable for its cost). */
  wait(timeoutMs: number): Promise<boolean> { return this.#socket.wait(timeoutMs); }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }
}
