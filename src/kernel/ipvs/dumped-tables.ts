/**
 * The destinations of many services by few system calls: one GET_DEST dump a service, in bundles (netlink/bundle.ts). For what getsockopt
 * does not tell (IPv6, tunnels), and for where system calls are dear. Answers only what is sure: a dump that came as one datagram, which
 * the kernel wrote under its lock, and that is not empty, as the dump of a service that is gone would be.
 */
import { DumpBundle } from '../netlink/bundle.ts';
import { NLM_F } from '../netlink/constants.ts';
import type { GenericFamily } from '../netlink/genl.ts';
import { AF } from '../netlink/libc.ts';
import { MessageReader } from '../netlink/reader.ts';
import { COMMAND } from './constants.ts';
import { decodeDestination, RowBuffer } from './decode.ts';
import { DestinationLayout } from './destination-layout.ts';
import { DestinationTable, ROW, sameTables } from './destinations.ts';
import { encodeServiceKey } from './encode.ts';
import type { Service } from './types.ts';

/** Fewer services are read one by one, and cost no memory for bundles. */
const LEAST_SERVICES = 4;
/**
 * What a dump costs the kernel more than getsockopt does (14 µs against 7 with ten destinations, measured in Linux 6.1): it pays where a
 * call saved costs more than that.
 */
const DUMP_US = 2;
const DUMP_US_EACH = 0.6;
/** Services with more destinations are read by themselves: their dumps may take several datagrams. */
const MOST_DESTINATIONS = 64;
/** Bytes of a destination in a dump, at most: 400 with Linux 6.1. More would make it fall out of the bundle, no worse. */
const ENTRY_BYTES = 416;
/** Words of a row that are compared: all but the counters. */
const COMPARED = 10;
const NOT_ASKED = -1;

export class DumpedTables {
  readonly #family: GenericFamily;
  readonly #callMicroseconds: () => number;
  readonly #bundle = new DumpBundle();
  readonly #layout = new DestinationLayout();
  readonly #rows = new RowBuffer();
  /** Listed services with at most so many destinations are read here. */
  #most = 0;
  #services: readonly { readonly service: Service }[] = [];
  #from = 0;
  /** Numbers in the bundle of the services from `#from` on. */
  readonly #numbers: number[] = [];
  /** The service whose rows are in `#rows`. */
  #decoded = NOT_ASKED;
  #table: DestinationTable | undefined;

  /** Its socket belongs to the current network namespace. Throws KernelError SYSTEM_CALL. */
  constructor(family: GenericFamily, callMicroseconds: () => number) {
    this.#family = family;
    this.#callMicroseconds = callMicroseconds;
  }

  /** Whether `count` services, `plain` if getsockopt tells all of them, are better read here than one by one. */
  pays(count: number, plain: boolean): boolean {
    if (count < LEAST_SERVICES || !this.#bundle.works) return false;
    this.#most = (this.#callMicroseconds() - DUMP_US) / DUMP_US_EACH;
    return this.#most >= 1 || !plain;
  }

  /**
   * Reads the services from `from` on that fit into a bundle, to `to` at most. `destinationsOf` is asked for their numbers of destinations, negative
   * if not known. Returns the first that is not in it. What is answered is good until the next call.
   */
  read(services: readonly { readonly service: Service; readonly destinations: number }[], from: number, to: number, destinationsOf: (i: number) => number): number {
    this.#services = services;
    this.#from = from;
    this.#numbers.length = 0;
    this.#decoded = NOT_ASKED;
    const bundle = this.#bundle;
    if (!bundle.works) return to;
    const writer = bundle.reset();
    let i = from;
    for (; i < to; i++) {
      const count = destinationsOf(i);
      const bytes = (count + 1) * ENTRY_BYTES;
      const asked = count > 0 && count <= MOST_DESTINATIONS && (count <= this.#most || services[i]!.destinations < 0);
      if (!asked) { this.#numbers.push(NOT_ASKED); continue; }
      if (!bundle.fits(bytes)) break;
      encodeServiceKey(this.#family.message(writer, COMMAND.GET_DEST, NLM_F.DUMP), services[i]!.service);
      this.#numbers.push(bundle.add(bytes));
    }
    bundle.run();
    return i;
  }

  /** Whether service `i` was answered. */
  has(i: number): boolean {
    const number = this.#numbers[i - this.#from];
    return number !== undefined && number !== NOT_ASKED && this.#bundle.end(number) > this.#bundle.start(number);
  }

  /** Whether service `i`, which was answered, has these destinations, counters aside. */
  is(i: number, table: DestinationTable): boolean {
    this.#decode(i);
    const { rows } = this.#rows;
    return table.length === rows && (this.#isReversed(table) || sameTables(this.table(i), table));
  }

  /** The kernel lists the newest first, and ours were added in ascending order. */
  #isReversed(table: DestinationTable): boolean {
    const { words, rows } = this.#rows;
    const wanted = table.words;
    for (let at = 0, row = (rows - 1) * ROW; row >= 0; at += ROW, row -= ROW) {
      for (let k = 0; k < COMPARED; k++) if (words[at + k] !== wanted[row + k]) return false;
    }
    return true;
  }

  /** The destinations of service `i`, which was answered. */
  table(i: number): DestinationTable {
    this.#decode(i);
    return this.#table ??= new DestinationTable(this.#rows.take());
  }

  close(): void { this.#bundle.close(); }

  #decode(i: number): void {
    if (this.#decoded === i) return;
    this.#decoded = i;
    this.#table = undefined;
    this.#rows.reset();
    const { words } = this.#bundle;
    const number = this.#numbers[i - this.#from]!;
    const end = this.#bundle.end(number);
    const family = this.#services[i]!.service.family === 'IPv4' ? AF.INET : AF.INET6;
    for (let at = this.#bundle.start(number); at < end; at += words[at]! >>> 2) {
      if (this.#layout.read(words, at, this.#rows)) continue;
      const reader = new MessageReader(new Uint8Array(words.buffer, at * 4, words[at]!));
      reader.next();
      decodeDestination(reader, family, this.#rows);
      this.#layout.learn(words, at);
    }
  }
}
