/**
 * Many small dumps of one socket in one system call (Linux AIO: io_submit carries out reads and writes of a netlink socket in their order,
 * before it returns): for each dump a write of its request, a read of its entries, a read of its end. A dump alone costs three calls.
 * What is not answered by exactly one whole datagram is not answered at all: the caller asks again by itself. An optimisation; without
 * AIO (gVisor, seccomp) nothing is ever answered. Knows no family.
 */
import { NETLINK, NETLINK_OPTION, NLM_F, NLMSG, SOL_NETLINK } from './constants.ts';
import { ERRNO } from './errors.ts';
import {
  AF, AIO_CONTROL, AIO_EVENT, IOCB_CMD, MSG, SOCK,
  addressOf, aioDestroy, aioEvents, aioSetup, aioSubmit, bind, close, recv, send, setsockopt, socket,
} from './libc.ts';
import { MessageWriter } from './writer.ts';

/** Most dumps of one bundle. */
export const BUNDLE_DUMPS = 64;
/** The room for all their answers, what the process grows by: for 64 tables of ten destinations. */
const ARENA_BYTES = 300 << 10;
/** For the end of a dump, NLMSG_DONE: 20 bytes. */
const END_BYTES = 64;
const REQUEST_BYTES = 128;
/** The kernel's datagrams are as long as the longest read was, up to this. */
const LONGEST_READ = 32 << 10;
/** A write and two reads. */
const CALLS = 3;
const CONTROL_WORDS = AIO_CONTROL / 4;
const EVENT_WORDS = AIO_EVENT / 4;
/** Every event is there when the submission returns; a kernel that is otherwise is given this long, and not asked again. */
const PATIENCE_SECONDS = 1;
const NOTHING = -1;
const NO_WORDS = new Uint32Array(0);

interface Memory {
  readonly context: bigint;
  readonly writer: MessageWriter;
  readonly arena: Uint32Array;
  readonly controls: Uint32Array;
  readonly pointers: BigUint64Array;
  readonly events: Int32Array;
  readonly results: Int32Array;
}

export class DumpBundle {
  readonly #fd: number;
  /** Undefined: not tried yet. Null: there is no AIO here. */
  #memory: Memory | null | undefined;
  #closed = false;
  #sequence = 1;
  #dumps = 0;
  #used = 0;
  readonly #starts = new Int32Array(BUNDLE_DUMPS);
  readonly #rooms = new Int32Array(BUNDLE_DUMPS);
  /** Opens a socket in the current network namespace. Throws KernelError SYSTEM_CALL. */
  constructor() {
    this.#fd = socket(AF.NETLINK, SOCK.RAW | SOCK.NONBLOCK, NETLINK.GENERIC);
    bind(this.#fd, new Uint8Array(Uint32Array.of(AF.NETLINK, 0, 0).buffer));
    setsockopt(this.#fd, SOL_NETLINK, NETLINK_OPTION.CAP_ACK, 1);
  }

  /** Whether this kernel does it; asked once. */
  get works(): boolean {
    if (this.#memory === undefined) this.#memory = this.#closed ? null : this.#setUp();
    return this.#memory !== null;
  }

  /** The words of the answers: those of dump `i` begin at `start(i)`. */
  get words(): Uint32Array { return this.#memory?.arena ?? NO_WORDS; }

  /**
   * Forgets requests and answers. Only after `works`, as what follows. Requests go into what it returns, each with NLM_F.DUMP, each
   * followed by `add`.
   */
  reset(): MessageWriter {
    this.#dumps = 0;
    this.#used = 0;
    return this.#memory!.writer.reset();
  }

  /** Whether one more dump with an answer of at most `bytes` fits. */
  fits(bytes: number): boolean { return this.#dumps < BUNDLE_DUMPS && bytes < LONGEST_READ && this.#used + roomOf(bytes) + END_BYTES <= ARENA_BYTES; }

  /** The message that was written last is a dump whose answer has at most `bytes`. Returns its number. */
  add(bytes: number): number {
    this.#starts[this.#dumps] = this.#used >>> 2;
    this.#rooms[this.#dumps] = roomOf(bytes);
    this.#used += roomOf(bytes) + END_BYTES;
    return this.#dumps++;
  }

  /** Asks for all of them. */
  run(): void {
    const memory = this.#memory!;
    const count = this.#dumps * CALLS;
    memory.results.fill(NOTHING);
    if (count === 0) return;
    const first = this.#sequence;
    this.#sequence = (first + this.#dumps) >>> 0 || 1;
    memory.writer.seal(0, first);
    this.#fill(memory);
    const submitted = aioSubmit(memory.context, memory.pointers, count);
    const events = submitted > 0 ? aioEvents(memory.context, memory.events, submitted, PATIENCE_SECONDS) : 0;
    for (let e = 0; e < events; e++) memory.results[memory.events[e * EVENT_WORDS]!] = memory.events[e * EVENT_WORDS + 4]!;
    let whole = submitted === count && events === count;
    // The memory stays with the kernel for as long as an event may be to come: it is never used, nor freed, again.
    if (!whole) { abandoned.push(memory); this.#memory = null; }
    for (let i = 0; i < this.#dumps; i++) {
      if (this.#isWhole(memory, i, (first + i) >>> 0)) continue;
      memory.results[i * CALLS + 1] = NOTHING;
      whole = false;
    }
    if (!whole) this.#drain();
  }

  /** Word where the entries of dump `i` begin. */
  start(i: number): number { return this.#starts[i]!; }
  /** Word where they end: at `start(i)` when it was not answered. Every message between them is whole, and belongs to the dump. */
  end(i: number): number { return this.#starts[i]! + (Math.max(0, this.#memory?.results[i * CALLS + 1] ?? 0) >>> 2); }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#memory) aioDestroy(this.#memory.context);
    this.#memory = null;
    close(this.#fd);
  }

  #setUp(): Memory | null {
    const slots = BUNDLE_DUMPS * CALLS;
    const context = aioSetup(slots);
    if (context === null) return null;
    const controls = new Uint32Array(slots * CONTROL_WORDS);
    const at = addressOf(controls);
    const pointers = BigUint64Array.from({ length: slots }, (_, i) => at + BigInt(i * AIO_CONTROL));
    // An acknowledgement, for nothing but to show the kernel how long our reads are.
    const hello = new MessageWriter(64).message(NLMSG.NOOP, NLM_F.REQUEST | NLM_F.ACK).finish();
    send(this.#fd, hello.bytes, hello.bytesUsed);
    this.#drain();
    return {
      context, controls, pointers, writer: new MessageWriter(BUNDLE_DUMPS * REQUEST_BYTES), arena: new Uint32Array(ARENA_BYTES / 4),
      events: new Int32Array(slots * EVENT_WORDS), results: new Int32Array(slots),
    };
  }

  /** struct iocb { u64 data; u32 key, rw_flags; u16 opcode; s16 priority; u32 fd; u64 buffer, bytes; s64 offset; u64 reserved; u32 flags, resfd; } */
  #fill({ controls, arena, writer }: Memory): void {
    controls.fill(0, 0, this.#dumps * CALLS * CONTROL_WORDS);
    const requests = writer.words;
    const requestsAt = Number(addressOf(requests));
    const arenaAt = Number(addressOf(arena));
    for (let i = 0, request = 0; i < this.#dumps; i++) {
      const length = requests[request]!;
      const answer = arenaAt + this.#starts[i]! * 4;
      this.#control(controls, i * CALLS, IOCB_CMD.PWRITE, requestsAt + request * 4, length);
      this.#control(controls, i * CALLS + 1, IOCB_CMD.PREAD, answer, this.#rooms[i]!);
      this.#control(controls, i * CALLS + 2, IOCB_CMD.PREAD, answer + this.#rooms[i]!, END_BYTES);
      request += length >>> 2;
    }
  }

  #control(controls: Uint32Array, slot: number, operation: number, address: number, bytes: number): void {
    const at = slot * CONTROL_WORDS;
    controls[at] = slot;
    controls[at + 4] = operation;
    controls[at + 5] = this.#fd;
    // A number holds 53 bits, an address 47.
    controls[at + 6] = address % 0x1_0000_0000;
    controls[at + 7] = Math.floor(address / 0x1_0000_0000);
    controls[at + 8] = bytes;
  }

  /** Whether a dump was answered by one datagram of entries, and then by its end. */
  #isWhole({ arena, results }: Memory, i: number, sequence: number): boolean {
    const bytes = results[i * CALLS + 1]!;
    // A datagram that fills its room may have been cut.
    if (bytes <= 0 || bytes % 4 !== 0 || bytes >= this.#rooms[i]! || results[i * CALLS + 2]! < 20) return false;
    const start = this.#starts[i]!;
    const end = start + (bytes >>> 2);
    for (let at = start; at < end;) {
      const length = arena[at]!;
      if (length < 16 || length % 4 !== 0 || at + (length >>> 2) > end) return false;
      const kind = arena[at + 1]!;
      if ((kind & 0xffff) < NLMSG.MIN_TYPE || (kind >>> 16 & NLM_F.DUMP_INTR) !== 0 || arena[at + 2] !== sequence) return false;
      at += length >>> 2;
    }
    const done = start + (this.#rooms[i]! >>> 2);
    return (arena[done + 1]! & 0xffff) === NLMSG.DONE && (arena[done + 1]! >>> 16 & NLM_F.DUMP_INTR) === 0 && arena[done + 2] === sequence && arena[done + 4] === 0;
  }

  /** Empties the socket, to the end of a dump that is still under way: it would make the kernel answer EBUSY to the next one. */
  #drain(): void {
    const buffer = new Uint8Array(LONGEST_READ);
    for (let left = 10_000; left > 0; left--) {
      const length = recv(this.#fd, buffer, MSG.DONTWAIT);
      if (length === -ERRNO.EAGAIN) return;
    }
  }
}

/** Memory that a kernel may still write to. */
const abandoned: Memory[] = [];

/** Rooms begin at whole cache lines. */
function roomOf(bytes: number): number { return (bytes + 64) & ~63; }
