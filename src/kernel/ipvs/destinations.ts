/**
 * Destinations of one service as packed rows, sorted by key: what `desired` wants and what the kernel reports, in a form
 * in which 100,000 of them take 5 MB and compare in milliseconds. An object per destination would take 20 MB and 5 µs each.
 *
 *   word 0   address family << 16 | port (host order)      \
 *   1..4     address bytes, 4 words as they lie in memory   } key: rows are sorted by words 0..4
 *   5        method | tunnel type << 8 | tunnel flags << 16
 *   6        weight
 *   7, 8     upper, lower threshold
 *   9        tunnel port (host order)
 *   10, 11   active, inactive connections: reported by the kernel, never compared
 *
 * A row becomes a `Destination` when an operation needs it: a value by `get`, or by `row` a view that reads the table when it
 * is asked. A first load of 100,000 destinations as values would be 30 MB of objects and texts that are read once.
 */
import { toBytes, fromBytes } from '../../ip/ip.ts';
import { FORWARDING_METHODS, TUNNEL_TYPES, type Destination, type Family, type ForwardingMethod, type TunnelType } from './types.ts';

/** Words a row. */
export const ROW = 12;
const KEY_WORDS = 5;
/** First word after what plan compares. */
const COMPARED_WORDS = 10;
/** linux/socket.h */
const AF_INET = 2;
const AF_INET6 = 10;

const TUNNEL = FORWARDING_METHODS.indexOf('tunnel');

const ADDRESS_CACHE = new Uint8Array(16);
const ADDRESS_WORDS = new Uint32Array(ADDRESS_CACHE.buffer);

export class DestinationTable {
  /** Rows, `ROW` words each. Read it with the accessors below. */
  readonly words: Uint32Array;
  readonly length: number;

  /** Takes ownership of `words` (a whole number of rows), sorts them by key unless `sorted`. */
  constructor(words: Uint32Array, sorted = false) {
    this.words = words;
    this.length = words.length / ROW;
    if (!sorted) sortRows(words);
  }

  static readonly empty = new DestinationTable(new Uint32Array(0), true);

  /** Packs values; a later one with the same key replaces an earlier one's place in no defined way, so give unique keys. */
  static from(destinations: readonly Destination[]): DestinationTable {
    const words = cut(destinations.length * ROW);
    for (let i = 0; i < destinations.length; i++) packRow(words, i * ROW, destinations[i]!);
    return new DestinationTable(words);
  }

  /** The destination in row `i`, as a value. */
  get(i: number): Destination { return this.row(i).toJSON(); }

  /** The same as a view on the row, for bulk. Nobody changes a table once it is made. */
  row(i: number): DestinationRow { return new DestinationRow(this.words, i * ROW); }

  port(i: number): number { return this.words[i * ROW]! & 0xffff; }
  method(i: number): ForwardingMethod { return FORWARDING_METHODS[this.words[i * ROW + 5]! & 0xff] ?? 'masq'; }
  weight(i: number): number { return this.words[i * ROW + 6]! | 0; }
  active(i: number): number { return this.words[i * ROW + 10]!; }
  inactive(i: number): number { return this.words[i * ROW + 11]!; }

  /** All rows as values; for printing and tests. */
  toArray(): Destination[] {
    return Array.from({ length: this.length }, (_, i) => this.get(i));
  }

  toJSON(): Destination[] { return this.toArray(); }
}

/** Small tables are cut from arrays of this many words: ten thousand of their own would cost more than half as much as what is in them. */
const SLAB = 2_048;
let slab = new Uint32Array(0);

/** Zeroed words. */
function cut(words: number): Uint32Array {
  if (words > SLAB / 4) return new Uint32Array(words);
  if (words > slab.length) slab = new Uint32Array(SLAB);
  const rows = slab.subarray(0, words);
  slab = slab.subarray(words);
  return rows;
}

/** One row as a Destination. Not a plain value: whoever compares or spreads it takes `toJSON()`. */
export class DestinationRow implements Destination {
  readonly words: Uint32Array;
  /** Word offset of the row. */
  readonly at: number;

  constructor(words: Uint32Array, at: number) {
    this.words = words;
    this.at = at;
  }

  get family(): Family { return this.words[this.at]! >>> 16 === AF_INET6 ? 'IPv6' : 'IPv4'; }
  get address(): string {
    for (let k = 0; k < 4; k++) ADDRESS_WORDS[k] = this.words[this.at + 1 + k]!;
    return this.family === 'IPv6' ? fromBytes(ADDRESS_CACHE) : `${ADDRESS_CACHE[0]}.${ADDRESS_CACHE[1]}.${ADDRESS_CACHE[2]}.${ADDRESS_CACHE[3]}`;
  }
  get port(): number { return this.words[this.at]! & 0xffff; }
  get method(): ForwardingMethod { return FORWARDING_METHODS[this.words[this.at + 5]! & 0xff] ?? 'masq'; }
  get weight(): number { return this.words[this.at + 6]! | 0; }
  get upper(): number { return this.words[this.at + 7]!; }
  get lower(): number { return this.words[this.at + 8]!; }
  get tunnelType(): TunnelType { return TUNNEL_TYPES[(this.words[this.at + 5]! >>> 8) & 0xff] ?? 'ipip'; }
  get tunnelPort(): number { return this.words[this.at + 9]!; }
  get tunnelFlags(): number { return this.words[this.at + 5]! >>> 16; }

  /** The row as a value. */
  toJSON(): Destination {
    const { family, address, port, method, weight, upper, lower, tunnelType, tunnelPort, tunnelFlags } = this;
    return { family, address, port, method, weight, upper, lower, tunnelType, tunnelPort, tunnelFlags };
  }
}

/** Whether a row is IPv4 and goes without a tunnel: the usual case, for which there are short ways. */
export function isPlainRow(words: Uint32Array, at: number): boolean {
  return words[at]! >>> 16 === AF_INET && (words[at + 5]! & 0xff) !== TUNNEL && words[at + 5]! >>> 8 === 0;
}

/** Compares the keys of two rows: negative, 0 or positive. */
export function compareKeys(a: Uint32Array, ai: number, b: Uint32Array, bi: number): number {
  for (let k = 0, x = ai * ROW, y = bi * ROW; k < KEY_WORDS; k++) {
    const d = a[x + k]! - b[y + k]!;
    if (d !== 0) return d;
  }
  return 0;
}

/** Whether two rows with equal keys differ in anything that we set. */
export function rowsDiffer(a: Uint32Array, ai: number, b: Uint32Array, bi: number): boolean {
  for (let k = KEY_WORDS, x = ai * ROW, y = bi * ROW; k < COMPARED_WORDS; k++) {
    if (a[x + k] !== b[y + k]) return true;
  }
  return false;
}

/** Whether two tables hold the same destinations with the same settings; connection counters aside. */
export function sameTables(a: DestinationTable, b: DestinationTable): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (compareKeys(a.words, i, b.words, i) !== 0 || rowsDiffer(a.words, i, b.words, i)) return false;
  return true;
}

/** Writes one destination at word offset `at`. Throws RangeError when the address is none. */
export function packRow(words: Uint32Array, at: number, d: Destination): void {
  const bytes = toBytes(d.address);
  ADDRESS_CACHE.fill(0);
  ADDRESS_CACHE.set(bytes);
  words[at] = ((bytes.length === 4 ? AF_INET : AF_INET6) << 16) | d.port;
  for (let k = 0; k < 4; k++) words[at + 1 + k] = ADDRESS_WORDS[k]!;
  words[at + 5] = FORWARDING_METHODS.indexOf(d.method) | (TUNNEL_TYPES.indexOf(d.tunnelType) << 8) | (d.tunnelFlags << 16);
  words[at + 6] = d.weight;
  words[at + 7] = d.upper;
  words[at + 8] = d.lower;
  words[at + 9] = d.tunnelPort;
}

function sortRows(words: Uint32Array): void {
  const n = words.length / ROW;
  let ascending = true;
  let descending = true;
  for (let i = 1; i < n && (ascending || descending); i++) {
    const d = compareKeys(words, i - 1, words, i);
    if (d > 0) ascending = false;
    if (d < 0) descending = false;
  }
  if (ascending) return;
  const copy = words.slice();
  // The kernel lists destinations newest first; ours were added in ascending order, so reversing is the usual case.
  const order = descending
    ? Array.from({ length: n }, (_, i) => n - 1 - i)
    : Array.from({ length: n }, (_, i) => i).sort((a, b) => compareKeys(copy, a, copy, b));
  for (let i = 0; i < n; i++) words.set(copy.subarray(order[i]! * ROW, (order[i]! + 1) * ROW), i * ROW);
}
