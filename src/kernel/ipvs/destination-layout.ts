/**
 * A destination of a GET_DEST dump into a row, ten times as fast as attribute by attribute: one kernel writes all of them with the same
 * attributes in the same places. Those are learnt from a message, and looked for in the next ones, header by header. What lies otherwise
 * is left to decode.ts, which is the reference.
 */
import { AF } from '../netlink/libc.ts';
import { NLA_TYPE_MASK } from '../netlink/constants.ts';
import { swap16 } from './address-words.ts';
import { ATTR, DEST, FORWARD_MASK } from './constants.ts';
import type { RowBuffer } from './decode.ts';
import { FORWARDING_METHODS } from './types.ts';

/** What must be there, with its length in bytes. Statistics may be, and are not looked at. */
const WANTED: readonly (readonly [type: number, bytes: number])[] = [
  [DEST.ADDR, 16], [DEST.PORT, 2], [DEST.FWD_METHOD, 4], [DEST.WEIGHT, 4], [DEST.U_THRESH, 4], [DEST.L_THRESH, 4], [DEST.ACTIVE_CONNS, 4], [DEST.INACT_CONNS, 4],
  [DEST.ADDR_FAMILY, 2], [DEST.TUN_TYPE, 1], [DEST.TUN_PORT, 2], [DEST.TUN_FLAGS, 2],
];
/** Words before the nest: struct nlmsghdr and genlmsghdr. */
const NEST = 5;
const TUNNEL = FORWARDING_METHODS.indexOf('tunnel');

export class DestinationLayout {
  /** Bytes of a message; 0: nothing learnt. */
  #length = 0;
  #nest = 0;
  /** By place in WANTED: word of the message with the attribute's header, and that header. */
  readonly #at = new Int32Array(WANTED.length);
  readonly #headers = new Uint32Array(WANTED.length);

  /** Takes the layout of the message at word `at`, which decode.ts understood. */
  learn(words: Uint32Array, at: number): void {
    this.#length = 0;
    const length = words[at]!;
    const end = at + (length >>> 2);
    const nest = words[at + NEST]!;
    // One nest and nothing else.
    if ((nest >>> 16 & NLA_TYPE_MASK) !== ATTR.DEST || (nest & 0xffff) !== length - NEST * 4) return;
    let found = 0;
    for (let a = at + NEST + 1; a < end;) {
      const header = words[a]!;
      const i = WANTED.findIndex(([type, bytes]) => type === (header >>> 16 & NLA_TYPE_MASK) && bytes + 4 === (header & 0xffff));
      if (i >= 0) {
        this.#at[i] = a - at;
        this.#headers[i] = header;
        found |= 1 << i;
      }
      a += Math.max(1, ((header & 0xffff) + 3) >>> 2);
    }
    if (found !== (1 << WANTED.length) - 1) return;
    this.#nest = nest;
    this.#length = length;
  }

  /** Adds the destination in the message at word `at` to the rows; false, and nothing done, when it lies otherwise. */
  read(words: Uint32Array, at: number, into: RowBuffer): boolean {
    if (words[at] !== this.#length || words[at + NEST] !== this.#nest) return false;
    const places = this.#at;
    for (let i = 0; i < places.length; i++) if (words[at + places[i]!] !== this.#headers[i]) return false;
    const row = into.add();
    const w = into.words;
    const value = (i: number): number => words[at + places[i]! + 1]!;
    const family = value(8) & 0xffff;
    const address = at + places[0]! + 1;
    w[row] = (family << 16) | swap16(value(1));
    w[row + 1] = words[address]!;
    if (family !== AF.INET) for (let k = 1; k < 4; k++) w[row + 1 + k] = words[address + k]!;
    const method = value(2) & FORWARD_MASK;
    const tunnel = method === TUNNEL;
    w[row + 5] = tunnel ? method | (value(9) & 0xff) << 8 | (value(11) & 0xffff) << 16 : method;
    w[row + 6] = value(3);
    w[row + 7] = value(4);
    w[row + 8] = value(5);
    w[row + 9] = tunnel ? swap16(value(10)) : 0;
    w[row + 10] = value(6);
    w[row + 11] = value(7);
    return true;
  }
}
