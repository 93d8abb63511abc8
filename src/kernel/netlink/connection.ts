/**
 * Requests over a netlink socket, answered synchronously: the kernel works inside send(), so when it returns every answer is
 * queued, and reading without blocking until the last one is correct and simple. Sequence numbers tie answers to requests.
 * Knows errors, acknowledgements and dumps; knows no family. Events are in subscription.ts.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { BUFFER_BYTES, NLM_F, NLMSG } from './constants.ts';
import type { NetlinkDebug } from './debug.ts';
import { ERRNO, KernelError } from './errors.ts';
import { MessageReader } from './reader.ts';
import { extendedAck, refusalError, refusalIn, type Refusal, type RequestName } from './refusal.ts';
import { openNetlinkSocket, type NetlinkSocket, type NetlinkSocketOptions } from './socket.ts';
import { MessageWriter } from './writer.ts';

/** What became of a batch. */
export interface BatchOutcome {
  readonly messages: number;
  /** By position of the message in the batch. Whatever is not in here took effect. */
  readonly refused: ReadonlyMap<number, Refusal>;
}

export interface DumpOutcome<T> {
  readonly items: T[];
  /** False: the table changed under every attempt (NLM_F_DUMP_INTR), the items may be too few or too many. */
  readonly complete: boolean;
  /** Datagrams that carried entries. The kernel may let others in between two of them, never within one. */
  readonly datagrams: number;
}

export interface ConnectionOptions extends NetlinkSocketOptions {
  readonly debug?: NetlinkDebug | undefined;
  /** For tests: a fake kernel. */
  readonly socket?: NetlinkSocket;
}

/** A dump that was interrupted is tried this often in all. */
export const DUMP_ATTEMPTS = 4;
/** What a dump comes to that nobody reads to its end. */
const ABANDONED = { complete: false, datagrams: 0 };

export class NetlinkConnection {
  readonly #socket: NetlinkSocket;
  readonly #debug: NetlinkDebug | undefined;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  readonly #reader = new MessageReader(this.#buffer);
  #sequence = 1;
  #closed = false;
  /** The writer that callers may share: nothing here is concurrent. Reset it before use. */
  readonly writer = new MessageWriter();
  /** A small one for single requests that may be needed while `writer` is being filled. */
  readonly scratch = new MessageWriter(4096);

  /** Opens a socket of `protocol` (NETLINK.*). Throws KernelError SYSTEM_CALL or PERMISSION_DENIED. */
  constructor(protocol: number, options: ConnectionOptions = {}) {
    this.#socket = options.socket ?? openNetlinkSocket(protocol, options);
    this.#debug = options.debug;
  }

  /** Most messages that one batch should have, so that its answers cannot overflow the receive buffer even if all fail. */
  get maximumBatch(): number { return this.#socket.answersThatFit; }

  /**
   * Sends all messages of `writer` (each with NLM_F_REQUEST) at once and reports who was refused. The last one gets
   * NLM_F_ACK. Throws KernelError REPLIES_LOST when answers were dropped or the final ACK is missing: what took effect is
   * then unknown. Also TRUNCATED, PROTOCOL, SYSTEM_CALL.
   */
  transact(writer: MessageWriter): BatchOutcome {
    const messages = writer.messageCount;
    const refused = new Map<number, Refusal>();
    if (messages === 0) return { messages, refused };
    const first = this.#send(writer, NLM_F.ACK);
    for (let acknowledged = false; !acknowledged;) {
      const reader = this.#receive(`batch of ${messages}`);
      while (reader.next()) {
        const position = (reader.sequence - first) >>> 0;
        if (position >= messages || reader.type !== NLMSG.ERROR) continue; // an answer to an earlier, abandoned request
        const refusal = refusalIn(reader);
        if (refusal !== null) refused.set(position, refusal);
        if (position === messages - 1) acknowledged = true;
      }
    }
    return { messages, refused };
  }

  /**
   * Sends the one message of `writer` and hands each data message of the answer to `decode`. Returns what it returned.
   * Throws KernelError: KERNEL_REFUSED or PERMISSION_DENIED with the errno, REPLIES_LOST, TRUNCATED, PROTOCOL, SYSTEM_CALL.
   */
  request<T = void>(writer: MessageWriter, name: RequestName, decode: (message: MessageReader) => T = () => undefined as T): T[] {
    const items: T[] = [];
    const sequence = this.#send(writer, NLM_F.ACK);
    for (;;) {
      const reader = this.#receive(name.operation);
      while (reader.next()) {
        if (reader.sequence !== sequence) continue;
        if (reader.type >= NLMSG.MIN_TYPE) items.push(decode(reader));
        if (reader.type !== NLMSG.ERROR) continue;
        const refusal = refusalIn(reader);
        if (refusal === null) return items;
        throw refusalError(refusal, name);
      }
    }
  }

  /**
   * Sends the one message of `writer` with NLM_F_DUMP and hands each entry to `decode`, which must copy what it keeps. An
   * interrupted dump is started again, up to DUMP_ATTEMPTS times; `restart` is called before each further attempt. A dump
   * that the kernel ends with an error throws KernelError KERNEL_REFUSED; also REPLIES_LOST, TRUNCATED, PROTOCOL, SYSTEM_CALL.
   */
  dump<T>(writer: MessageWriter, name: RequestName, decode: (message: MessageReader) => T, restart?: () => void): DumpOutcome<T> {
    for (let attempt = 1; ; attempt++) {
      const items: T[] = [];
      const sequence = this.#send(writer, NLM_F.DUMP);
      const { complete, datagrams } = this.#collect(sequence, name, (message) => { items.push(decode(message)); });
      if (complete || attempt === DUMP_ATTEMPTS) return { items, complete, datagrams };
      restart?.();
    }
  }

  /**
   * The same with a turn of the event loop after each datagram, for what is large and in no hurry. Until it resolves nothing else may use
   * this connection. An answer that is begun anew waits for nobody; rejects with the signal's reason.
   */
  async dumpSlowly<T>(writer: MessageWriter, name: RequestName, decode: (message: MessageReader) => T, signal: AbortSignal): Promise<DumpOutcome<T>> {
    for (let attempt = 1; ; attempt++) {
      const items: T[] = [];
      const dump = this.#pieces(this.#send(writer, NLM_F.DUMP), name, (message) => { items.push(decode(message)); });
      try {
        for (let piece = dump.next(); ; piece = dump.next()) {
          if (piece.done) {
            if (piece.value.complete || attempt === DUMP_ATTEMPTS) return { items, ...piece.value };
            break;
          }
          await turn();
          signal.throwIfAborted();
        }
      } finally {
        // Nothing of a dump that is left may stay in the socket.
        dump.return(ABANDONED);
      }
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }

  /** Reads a dump to its end. */
  #collect(sequence: number, name: RequestName, each: (message: MessageReader) => void): { complete: boolean; datagrams: number } {
    const dump = this.#pieces(sequence, name, each);
    for (;;) {
      const piece = dump.next();
      if (piece.done) return piece.value;
    }
  }

  /** Reads a dump; yields after each datagram but the last. */
  *#pieces(sequence: number, name: RequestName, each: (message: MessageReader) => void): Generator<void, { complete: boolean; datagrams: number }> {
    let interrupted = false;
    let done = false;
    let datagrams = 0;
    try {
      for (;;) {
        const reader = this.#receive(name.operation);
        let counted = false;
        while (reader.next()) {
          if (reader.sequence !== sequence) continue;
          if (reader.flags & NLM_F.DUMP_INTR) interrupted = true;
          if (reader.type >= NLMSG.MIN_TYPE) {
            if (!counted) datagrams++;
            counted = true;
            each(reader);
          } else if (reader.type === NLMSG.ERROR) {
            const refusal = refusalIn(reader);
            done = true;
            if (refusal !== null) throw refusalError(refusal, name);
          } else if (reader.type === NLMSG.DONE) {
            done = true;
            const errno = reader.end - reader.start >= 4 ? -(reader.word(0) | 0) : 0;
            if (errno > 0) throw refusalError({ errno, ...extendedAck(reader, 4) }, name);
            return { complete: !interrupted, datagrams };
          }
        }
        yield;
      }
    } finally {
      // A dump that is not read to its end makes the socket answer EBUSY to the next one.
      if (!done) this.#discard();
    }
  }

  #send(writer: MessageWriter, flags: number): number {
    const first = this.#sequence;
    this.#sequence = (first + writer.messageCount) >>> 0 || 1;
    writer.seal(flags, first);
    this.#debug?.sent(writer.bytes, writer.bytesUsed);
    this.#socket.send(writer.bytes, writer.bytesUsed);
    return first;
  }

  /** The next datagram. It must be there: the kernel has answered. */
  #receive(operation: string): MessageReader {
    const length = this.#receiveOnce();
    if (length === -ERRNO.ENOBUFS) {
      this.#discard();
      throw new KernelError({ code: 'REPLIES_LOST', errno: ERRNO.ENOBUFS, operation, message: 'the receive buffer overflowed' });
    }
    if (length < 0) throw new KernelError({ code: 'REPLIES_LOST', errno: -length, operation, message: 'the final answer never came' });
    if (length > this.#buffer.length) {
      throw new KernelError({ code: 'TRUNCATED', operation, message: `a datagram of ${length} bytes does not fit into ${this.#buffer.length}` });
    }
    this.#debug?.received(this.#buffer, length);
    return this.#reader.rewind(length);
  }

  #receiveOnce(): number {
    for (;;) {
      const length = this.#socket.receive(this.#buffer);
      if (length !== -ERRNO.EINTR) return length;
    }
  }

  /** Empties the socket, so that what was abandoned cannot fill its buffer. Sequence numbers protect the next request. */
  #discard(): void {
    for (let length = this.#receiveOnce(); length >= 0 || length === -ERRNO.ENOBUFS;) length = this.#receiveOnce();
  }
}
