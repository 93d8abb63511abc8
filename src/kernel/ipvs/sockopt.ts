/**
 * Reads IPv4 services and destinations through getsockopt (struct ip_vs_get_services and ip_vs_get_dests of linux/ip_vs.h):
 * the interface that ipvsadm used before netlink. It answers atomically and ten times faster, and shows less: no IPv6, no
 * destinations of the other family, no tunnel attributes, no persistence engine. An optimisation; netlink is the reference.
 */
import { AF, close, getsockopt, SOCK, socket } from '../netlink/libc.ts';
import { ERRNO, KernelError } from '../netlink/errors.ts';
import { ipv4Text, ipv4Word, swap16 } from './address-words.ts';
import { FORWARD_MASK, IPPROTO, SOCKOPT } from './constants.ts';
import { serviceOf, type DecodedService } from './decode.ts';
import { DestinationTable, ROW, sameTables } from './destinations.ts';
import { FORWARDING_METHODS, serviceKey, type Service } from './types.ts';

/** struct ip_vs_get_services: a count, padding, entries of 104 bytes. In words. */
const SERVICES_HEADER = 2;
const SERVICE_ENTRY = 26;
/** Words of an entry before its statistics: protocol, address, port, fwmark, scheduler (4), flags, timeout, netmask, number of destinations. */
const SERVICE_IDENTITY = 12;
/** struct ip_vs_get_dests: protocol, address, port, fwmark, count, padding, entries of 96 bytes. In words. */
const DESTS_HEADER = 6;
const DEST_ENTRY = 24;
/** More entries are asked for than were last seen: the kernel writes no count back, so a free one shows the end. */
const SLACK = 2;

/** Rows are cut from arrays of this many words: 10,000 arrays of 480 bytes cost more time and memory than what is in them. */
const SLAB = 16_384;

const TUNNEL = FORWARDING_METHODS.indexOf('tunnel');

export interface ListedService {
  /** May be replaced by an equal one. */
  service: DecodedService;
  /** serviceKey(), '' for a service that we have no words for. */
  readonly key: string;
  /** Number of destinations, those of the other family included. */
  readonly destinations: number;
}

/** What GET_DESTS cannot tell: 'gone', or 'partial' (tunnels, other family, changed meanwhile): ask netlink. */
export type DestinationAnswer = DestinationTable | 'gone' | 'partial';

export class SockoptReader {
  readonly #fd: number;
  /** Grows to the longest answer, and is used for every call. */
  #words = new Uint32Array(4096);
  #bytes = new Uint8Array(this.#words.buffer);
  #slab = new Uint32Array(0);
  /** What services() said last, and the words it was made of. */
  readonly #known: ListedService[] = [];
  #identities = new Uint32Array(0);
  #closed = false;
  #callMicroseconds: number | undefined;

  /** Opens a socket in the current network namespace. Throws KernelError SYSTEM_CALL. */
  constructor() {
    this.#fd = socket(AF.INET, SOCK.DGRAM, 0);
  }

  /**
   * Microseconds that a system call costs here, at best: less than one on hardware, fifteen in User-Mode Linux, something between in a
   * sandbox. Measured once.
   */
  get callMicroseconds(): number { return this.#callMicroseconds ??= this.#fastest(); }

  #fastest(): number {
    let best = Infinity;
    for (let round = 0; round < 8; round++) {
      const start = performance.now();
      for (let i = 0; i < 8; i++) this.count();
      best = Math.min(best, (performance.now() - start) * 1000 / 8);
    }
    return best;
  }

  /** Number of IPv4 services; null when the kernel does not answer (no ip_vs module, or this interface was removed). */
  count(): number | null {
    const length = this.#get(SOCKOPT.GET_INFO, 3);
    return length === null ? null : this.#words[2]!;
  }

  /**
   * All IPv4 services, atomically; null as above. What the kernel says of a service as it did the last time is the same object, and the
   * list is good until the next call. Throws KernelError PERMISSION_DENIED, SYSTEM_CALL.
   */
  services(): readonly ListedService[] | null {
    const count = this.#list();
    if (count === null) return null;
    const known = this.#known;
    if (this.#identities.length < count * SERVICE_IDENTITY) {
      const larger = new Uint32Array(count * SERVICE_IDENTITY);
      larger.set(this.#identities);
      this.#identities = larger;
    }
    for (let i = 0; i < count; i++) {
      const at = SERVICES_HEADER + i * SERVICE_ENTRY;
      if (i < known.length && this.#isAgain(at, i * SERVICE_IDENTITY)) continue;
      known[i] = this.#serviceAt(at);
      this.#identities.set(this.#words.subarray(at, at + SERVICE_IDENTITY), i * SERVICE_IDENTITY);
    }
    known.length = count;
    return known;
  }

  #isAgain(at: number, identity: number): boolean {
    for (let k = 0; k < SERVICE_IDENTITY; k++) if (this.#words[at + k] !== this.#identities[identity + k]) return false;
    return true;
  }

  /** Feeds everything but statistics of all IPv4 services to `mix`, word by word. Returns their number, null as above. */
  mixServices(mix: (word: number) => void): number | null {
    const count = this.#list();
    for (let i = 0; i < (count ?? 0); i++) {
      const at = SERVICES_HEADER + i * SERVICE_ENTRY;
      for (let k = 0; k < SERVICE_IDENTITY; k++) mix(this.#words[at + k]!);
    }
    return count;
  }

  /** One IPv4 service, without its engine; null when it does not exist. */
  service(service: Service): ListedService | null {
    const w = this.#words;
    w.fill(0, 0, SERVICE_ENTRY);
    this.#writeKey(service);
    return this.#get(SOCKOPT.GET_SERVICE, SERVICE_ENTRY) === null ? null : this.#serviceAt(0);
  }

  /** The destinations of an IPv4 service, atomically; `expected` is their number as listed. */
  destinations(service: Service, expected: number): DestinationAnswer {
    this.#writeKey(service);
    return this.#destinations(expected);
  }

  /** The same for service `i` of what services() said last. `wish` itself, if that is what is there. */
  destinationsAgain(i: number, wish?: DestinationTable): DestinationAnswer {
    // protocol, address, port, fwmark: both structures begin with them.
    for (let k = 0; k < 4; k++) this.#words[k] = this.#identities[i * SERVICE_IDENTITY + k]!;
    return this.#destinations(this.#known[i]!.destinations, wish);
  }

  /** For the service whose key stands in the buffer. */
  #destinations(expected: number, wish?: DestinationTable): DestinationAnswer {
    for (let room = expected + SLACK; ; room *= 2) {
      const length = DESTS_HEADER + room * DEST_ENTRY;
      this.#reserve(length);
      const w = this.#words;
      w[4] = room;
      w[5] = 0;
      // An entry begins with its address, which is never 0.0.0.0.
      for (let at = DESTS_HEADER; at < length; at += DEST_ENTRY) w[at] = 0;
      if (this.#get(SOCKOPT.GET_DESTS, length) === null) return 'gone';
      let count = 0;
      while (count < room && w[DESTS_HEADER + count * DEST_ENTRY] !== 0) count++;
      if (count === room) continue;
      if (count !== expected) return 'partial';
      if (wish !== undefined && this.#is(wish, count)) return wish;
      const answer = this.#table(count);
      return wish !== undefined && typeof answer === 'object' && sameTables(answer, wish) ? wish : answer;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    close(this.#fd);
  }

  /** Whether the entries are the rows of a table, counters aside: in the reverse order, in which the kernel lists what was added in ours. */
  #is(table: DestinationTable, count: number): boolean {
    if (table.length !== count) return false;
    const w = this.#words;
    const rows = table.words;
    for (let from = DESTS_HEADER, row = (count - 1) * ROW; row >= 0; from += DEST_ENTRY, row -= ROW) {
      const method = w[from + 2]! & FORWARD_MASK;
      if (method === TUNNEL || rows[row + 1] !== w[from]! || rows[row] !== ((AF.INET << 16) | swap16(w[from + 1]!)) || rows[row + 5] !== method
        || rows[row + 6] !== w[from + 3]! || rows[row + 7] !== w[from + 4]! || rows[row + 8] !== w[from + 5]! || rows[row + 9] !== 0) return false;
    }
    return true;
  }

  /** Entries into rows. Written from the end: the kernel lists the newest first, and ours were added in ascending order. */
  #table(count: number): DestinationAnswer {
    if (count === 0) return DestinationTable.empty;
    const w = this.#words;
    const rows = this.#cut(count * ROW);
    for (let from = DESTS_HEADER, to = (count - 1) * ROW; to >= 0; from += DEST_ENTRY, to -= ROW) {
      const method = w[from + 2]! & FORWARD_MASK;
      if (method === TUNNEL) return 'partial';
      rows[to] = (AF.INET << 16) | swap16(w[from + 1]!);
      rows[to + 1] = w[from]!;
      rows[to + 5] = method;
      rows[to + 6] = w[from + 3]!;
      rows[to + 7] = w[from + 4]!;
      rows[to + 8] = w[from + 5]!;
      rows[to + 10] = w[from + 6]!;
      rows[to + 11] = w[from + 7]!;
    }
    return new DestinationTable(rows);
  }

  /** Zeroed words for the rows of one service. */
  #cut(words: number): Uint32Array {
    if (words > SLAB / 4) return new Uint32Array(words);
    if (words > this.#slab.length) this.#slab = new Uint32Array(SLAB);
    const rows = this.#slab.subarray(0, words);
    this.#slab = this.#slab.subarray(words);
    return rows;
  }

  /** Fetches the list of services into the buffer; returns how many. */
  #list(): number | null {
    for (let room = (this.count() ?? 0) + SLACK; ; room *= 2) {
      const length = SERVICES_HEADER + room * SERVICE_ENTRY;
      this.#reserve(length);
      const w = this.#words;
      w[0] = room;
      w[1] = 0;
      for (let at = SERVICES_HEADER; at < length; at += SERVICE_ENTRY) w.fill(0, at, at + 4);
      if (this.#get(SOCKOPT.GET_SERVICES, length) === null) return null;
      let count = 0;
      for (let at = SERVICES_HEADER; count < room && (w[at] !== 0 || w[at + 1] !== 0 || w[at + 3] !== 0); at += SERVICE_ENTRY) count++;
      if (count < room) return count;
    }
  }

  #serviceAt(at: number): ListedService {
    const w = this.#words;
    const fwmark = w[at + 3]!;
    const mask = w[at + 10]!;
    const hostOrder = ((mask & 0xff) << 24) | ((mask & 0xff00) << 8) | ((mask >>> 8) & 0xff00) | (mask >>> 24);
    const service = serviceOf(AF.INET, w[at]! & 0xffff, fwmark === 0 ? ipv4Text(w[at + 1]!) : '', fwmark === 0 ? swap16(w[at + 2]!) : 0, fwmark,
      this.#name(at + 4), w[at + 8]!, w[at + 9]!, hostOrder, '');
    return { service, key: 'unknown' in service ? '' : serviceKey(service), destinations: w[at + 11]! };
  }

  /** A NUL-terminated name in four words. */
  #name(at: number): string {
    let name = '';
    for (let i = at * 4; i < at * 4 + 16 && this.#bytes[i] !== 0; i++) name += String.fromCharCode(this.#bytes[i]!);
    return name;
  }

  /** protocol, address, port, fwmark: both structures begin with them. */
  #writeKey(service: Service): void {
    const w = this.#words;
    w[0] = service.fwmark === 0 ? IPPROTO[service.protocol] : IPPROTO.TCP;
    w[1] = service.fwmark === 0 ? ipv4Word(service.address) : 0;
    w[2] = swap16(service.port);
    w[3] = service.fwmark;
  }

  #reserve(words: number): void {
    if (words <= this.#words.length) return;
    const key = this.#words.subarray(0, 4);
    this.#words = new Uint32Array(words + (words >>> 1));
    this.#words.set(key);
    this.#bytes = new Uint8Array(this.#words.buffer);
  }

  /** Asks for `words` words. Null when there is no such thing: service, module or interface. */
  #get(option: number, words: number): number | null {
    const length = getsockopt(this.#fd, SOCKOPT.LEVEL, option, this.#bytes, words * 4);
    if (length >= 0) return length;
    const errno = -length;
    if (errno === ERRNO.ESRCH || errno === ERRNO.ENOPROTOOPT) return null;
    const permission = errno === ERRNO.EPERM;
    throw new KernelError({
      code: permission ? 'PERMISSION_DENIED' : 'SYSTEM_CALL', errno, operation: 'getsockopt', object: `IP_VS_SO_GET ${option}`,
      message: permission ? 'IPVS needs CAP_NET_ADMIN in the initial user namespace' : '',
    });
  }
}
