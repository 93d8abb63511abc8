/** A kernel for unit tests: answers each send with datagrams (or errnos) that the test wrote. */
import { MessageReader } from '../../../../src/kernel/netlink/reader.ts';
import { MessageWriter } from '../../../../src/kernel/netlink/writer.ts';
import { NLMSG } from '../../../../src/kernel/netlink/constants.ts';
import type { NetlinkSocket } from '../../../../src/kernel/netlink/socket.ts';

export interface Sent { readonly type: number; readonly flags: number; readonly sequence: number; readonly payload: Uint8Array }

export interface ScriptedSocket extends NetlinkSocket {
  readonly sent: Sent[][];
  /** What receive returns next: a datagram or a negative errno; -EAGAIN when empty. */
  readonly queue: (Uint8Array | number)[];
  closed: boolean;
}

/** `answer` sees the messages of one send and returns what the kernel would queue. */
export function scriptedSocket(answer: (messages: readonly Sent[]) => (Uint8Array | number)[]): ScriptedSocket {
  const queue: (Uint8Array | number)[] = [];
  const sent: Sent[][] = [];
  return {
    sent, queue, closed: false, answersThatFit: 100,
    send(bytes, length) {
      const messages: Sent[] = [];
      for (const reader = new MessageReader(bytes, length); reader.next();) {
        messages.push({ type: reader.type, flags: reader.flags, sequence: reader.sequence, payload: reader.payload() });
      }
      sent.push(messages);
      queue.push(...answer(messages));
    },
    receive(buffer) {
      const next = queue.shift();
      if (next === undefined) return -11;
      if (typeof next === 'number') return next;
      buffer.set(next.subarray(0, buffer.length));
      return next.length;
    },
    wait: async () => queue.length > 0,
    close() { this.closed = true; },
  };
}

/** NLMSG_ERROR with NETLINK_CAP_ACK, as the kernel sends it; errno 0 acknowledges. */
export function errorReply(sequence: number, errno: number, text?: string): Uint8Array {
  const writer = new MessageWriter(1024).message(NLMSG.ERROR, text === undefined ? 0x100 : 0x300, sequence).word(-errno).word(16).word(0).word(sequence).word(0);
  if (text !== undefined) writer.string(1, text).u32(2, 20);
  return taken(writer);
}

export function doneReply(sequence: number, errno = 0, flags = 2): Uint8Array {
  return taken(new MessageWriter(64).message(NLMSG.DONE, flags, sequence).word(-errno));
}

export function dataReply(sequence: number, type: number, value: number, flags = 2): Uint8Array {
  return taken(new MessageWriter(64).message(type, flags, sequence).generic(1).u32(1, value));
}

export function taken(writer: MessageWriter): Uint8Array {
  writer.finish();
  return writer.bytes.slice(0, writer.bytesUsed);
}

export function joined(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
