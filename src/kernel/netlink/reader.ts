/**
 * Reads netlink messages and attributes out of a datagram, checking every length. Whatever the bytes are, nothing is thrown
 * but KernelError PROTOCOL, and nothing outside the datagram is read. Cursors, not objects: a dump of 100,000 destinations
 * allocates two readers a message and nothing else. Knows no family.
 */
import { KernelError } from './errors.ts';
import { GENL_HEADER, NLA_F_NESTED, NLA_HEADER, NLA_TYPE_MASK, NLMSG_HEADER } from './constants.ts';

// A BOM is text like any other here.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

function malformed(message: string): KernelError {
  return new KernelError({ code: 'PROTOCOL', operation: 'decode', message });
}

/** Bytes seen as words, whatever their offset. Copies only when they are not aligned. */
class Datagram {
  readonly words: Uint32Array;
  readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    const aligned = bytes.byteOffset % 4 === 0 && bytes.length % 4 === 0;
    let source = bytes;
    if (!aligned) {
      source = new Uint8Array((bytes.length + 3) & ~3);
      source.set(bytes);
    }
    this.bytes = source;
    this.words = new Uint32Array(source.buffer, source.byteOffset, source.length >>> 2);
  }
}

/** A cursor over the messages of one datagram: `while (reader.next()) { reader.type ... }`. */
export class MessageReader {
  readonly #datagram: Datagram;
  #end = 0;
  #next = 0;
  /** nlmsg_type, nlmsg_flags, nlmsg_seq of the current message. */
  type = 0;
  flags = 0;
  sequence = 0;
  /** Offset and end of what follows struct nlmsghdr. */
  start = 0;
  end = 0;

  /** Over the first `length` bytes; the buffer may be refilled and `rewind` called. */
  constructor(buffer: Uint8Array, length = buffer.length) {
    this.#datagram = new Datagram(buffer);
    this.rewind(length);
  }

  /** Starts again, over `length` bytes. */
  rewind(length: number): this {
    this.#end = Math.min(length, this.#datagram.bytes.length);
    this.#next = 0;
    return this;
  }

  /** Moves to the next message; false after the last. Throws KernelError PROTOCOL when its length is impossible. */
  next(): boolean {
    const at = this.#next;
    if (at >= this.#end) return false;
    if (this.#end - at < NLMSG_HEADER) throw malformed(`${this.#end - at} bytes after the last message`);
    const w = this.#datagram.words;
    const length = w[at >>> 2]!;
    if (length < NLMSG_HEADER || length > this.#end - at) throw malformed(`message of ${length} bytes in a datagram with ${this.#end - at} left`);
    const kind = w[(at >>> 2) + 1]!;
    this.type = kind & 0xffff;
    this.flags = kind >>> 16;
    this.sequence = w[(at >>> 2) + 2]!;
    this.start = at + NLMSG_HEADER;
    this.end = at + length;
    this.#next = at + ((length + 3) & ~3);
    return true;
  }

  /** The word at `offset` bytes into the payload, host order. */
  word(offset: number): number {
    if (offset % 4 !== 0 || this.start + offset + 4 > this.end) throw malformed(`no word at ${offset} of a payload of ${this.end - this.start} bytes`);
    return this.#datagram.words[(this.start + offset) >>> 2]!;
  }

  /** genlmsghdr.cmd. */
  get command(): number { return this.word(0) & 0xff; }

  /** Attributes after a fixed header of `skip` bytes (a multiple of 4). */
  attributes(skip: number): AttributeReader {
    if (this.start + skip > this.end) throw malformed(`a header of ${skip} bytes in a payload of ${this.end - this.start}`);
    return new AttributeReader(this.#datagram, this.start + skip, this.end);
  }

  /** Attributes of a generic netlink message. */
  genericAttributes(): AttributeReader { return this.attributes(GENL_HEADER); }

  /** A copy of the payload. */
  payload(): Uint8Array { return this.#datagram.bytes.slice(this.start, this.end); }
}

/** A cursor over attributes: `while (a.next()) switch (a.type) { case 1: x = a.u32(); }`. */
export class AttributeReader {
  readonly #datagram: Datagram;
  readonly #end: number;
  #next: number;
  #start = 0;
  /** nla_type without its flag bits. */
  type = 0;
  /** Bytes of payload. */
  length = 0;
  /** NLA_F_NESTED was set. */
  flaggedNested = false;

  constructor(datagram: Datagram, start: number, end: number) {
    this.#datagram = datagram;
    this.#next = start;
    this.#end = end;
  }

  /** Moves to the next attribute; false after the last. Throws KernelError PROTOCOL when its length is impossible. */
  next(): boolean {
    const at = this.#next;
    const left = this.#end - at;
    if (left <= 0) return false;
    if (left < NLA_HEADER) throw malformed(`${left} bytes after the last attribute`);
    const header = this.#datagram.words[at >>> 2]!;
    const length = header & 0xffff;
    if (length < NLA_HEADER || length > left) throw malformed(`attribute of ${length} bytes with ${left} left`);
    this.type = (header >>> 16) & NLA_TYPE_MASK;
    this.flaggedNested = (header >>> 16 & NLA_F_NESTED) !== 0;
    this.length = length - NLA_HEADER;
    this.#start = at + NLA_HEADER;
    this.#next = at + ((length + 3) & ~3);
    return true;
  }

  u8(): number { return this.#word(1) & 0xff; }
  u16(): number { return this.#word(2) & 0xffff; }
  u16be(): number { const v = this.#word(2); return ((v & 0xff) << 8) | ((v >>> 8) & 0xff); }
  u32(): number { return this.#word(4); }
  i32(): number { return this.#word(4) | 0; }
  u32be(): number {
    const v = this.#word(4);
    return (((v & 0xff) << 24) | ((v & 0xff00) << 8) | ((v >>> 8) & 0xff00) | (v >>> 24)) >>> 0;
  }
  u64(): bigint {
    const low = this.#word(8);
    return (BigInt(this.#datagram.words[(this.#start >>> 2) + 1]!) << 32n) | BigInt(low);
  }

  /** Word `index` of the payload in host order. */
  word(index: number): number {
    this.#word((index + 1) * 4);
    return this.#datagram.words[(this.#start >>> 2) + index]!;
  }

  /** A copy of the payload. */
  data(): Uint8Array { return this.#datagram.bytes.slice(this.#start, this.#start + this.length); }

  /** Text up to the first NUL. */
  string(): string {
    const bytes = this.#datagram.bytes;
    const end = this.#start + this.length;
    let stop = this.#start;
    while (stop < end && bytes[stop] !== 0) stop++;
    return decoder.decode(bytes.subarray(this.#start, stop));
  }

  /** Attributes inside this one, after a fixed header of `skip` bytes (a multiple of 4). */
  nested(skip = 0): AttributeReader {
    if (skip > this.length) throw malformed(`a header of ${skip} bytes in an attribute of ${this.length}`);
    return new AttributeReader(this.#datagram, this.#start + skip, this.#start + this.length);
  }

  #word(bytes: number): number {
    if (this.length < bytes) throw malformed(`attribute ${this.type} has ${this.length} bytes, wanted ${bytes}`);
    return this.#datagram.words[this.#start >>> 2]!;
  }
}
