/**
 * Address text to the words that go over the wire, fast enough for 100,000 destinations in one apply: IPv4 without
 * allocation, IPv6 through ip.ts. As strict as ip.ts: what it refuses is refused here.
 */
import { familyOf, toBytes } from '../../ip/ip.ts';

/**
 * Dotted decimal as the word that lies in memory (network order on a little-endian host), or -1 when the text is not a
 * strictly written IPv4 address (leading zeros, missing parts, spaces).
 */
export function ipv4Word(text: string): number {
  // One destination's address is asked for three times in a row: twice by its validation, once by its encoding.
  if (text === lastText) return lastWord;
  lastText = text;
  lastWord = parse(text);
  return lastWord;
}

let lastText = '';
let lastWord = -1;

function parse(text: string): number {
  let word = 0;
  let part = 0;
  let digits = 0;
  let shift = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i) - 48;
    if (c >= 0 && c <= 9) {
      if (digits > 0 && part === 0) return -1;
      part = part * 10 + c;
      digits++;
      if (part > 255) return -1;
    } else if (c === -2 && digits > 0 && shift < 24) { // '.' is 2 below '0'
      word |= part << shift;
      shift += 8;
      part = 0;
      digits = 0;
    } else {
      return -1;
    }
  }
  return shift === 24 && digits > 0 ? (word | (part << 24)) >>> 0 : -1;
}

const bytes = new Uint8Array(16);
const words = new Uint32Array(bytes.buffer);

/** The four words of an IPv6 address, in a buffer that the next call reuses; null when the text is none. */
export function ipv6Words(text: string): Uint32Array | null {
  if (familyOf(text) !== 'IPv6') return null;
  bytes.set(toBytes(text));
  return words;
}

/** Bytes of a word of an IPv4 address as text. */
export function ipv4Text(word: number): string {
  return `${word & 0xff}.${(word >>> 8) & 0xff}.${(word >>> 16) & 0xff}.${word >>> 24}`;
}

/** 16 bits between host and network order. */
export function swap16(value: number): number {
  return ((value & 0xff) << 8) | ((value >>> 8) & 0xff);
}
