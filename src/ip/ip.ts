/**
 * IP addresses as text, bytes and classes: the one place that reads an address somebody typed.
 * A leaf that every room may use. It knows no netlink, no Kubernetes and no policy (what is reserved is decided in controller/compile).
 *
 * Parsing itself is ipaddr.js's; what is added here is strictness. ipaddr.js reads `010.0.0.1` as 8.0.0.1 and accepts
 * `127.1`; `net.isIP` accepts zone ids. An address in a load balancer must mean one thing only, so both must agree,
 * and zones and IPv4-mapped IPv6 are refused.
 */
import { isIPv4, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';

export type Family = 'IPv4' | 'IPv6';

/** Number of bits of an address, which is also the prefix length of a host. */
export const ADDRESS_BITS: Record<Family, 32 | 128> = { IPv4: 32, IPv6: 128 };

/** The family of a strictly written address, or null if the text is not one. Zones, leading zeros and IPv4-mapped IPv6 are not. */
export function familyOf(text: string): Family | null {
  if (isIPv4(text)) return 'IPv4';
  if (isIPv6(text) && !text.includes('%') && !isMapped(text)) return 'IPv6';
  return null;
}

/** Canonical text (RFC 5952 for IPv6), or null if the text is no strictly written address. */
export function canonical(text: string): string | null {
  const family = familyOf(text);
  if (family === null) return null;
  return family === 'IPv4' ? text : ipaddr.IPv6.parse(text).toRFC5952String();
}

/** 4 or 16 bytes in network order. Throws RangeError on text that `familyOf` refuses. */
export function toBytes(text: string): Uint8Array {
  const family = familyOf(text);
  if (family === null) throw new RangeError(`${JSON.stringify(text)} is not an IP address`);
  // 100,000 real servers pass here: strictly written decimal needs no second parser.
  if (family === 'IPv4') return octets(text);
  return Uint8Array.from(ipaddr.parse(text).toByteArray());
}

/** Canonical text of 4 or 16 bytes in network order. Throws RangeError on any other length. */
export function fromBytes(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  if (bytes.length === 16) return new ipaddr.IPv6(Array.from(bytes)).toRFC5952String();
  throw new RangeError(`an address has 4 or 16 bytes, not ${bytes.length}`);
}

export interface Prefix {
  readonly family: Family;
  /** Network address, canonical; host bits are zero. */
  readonly address: string;
  readonly length: number;
}

/** Parses `address/length`. Returns null when the text is no prefix or has host bits set. */
export function parsePrefix(text: string): Prefix | null {
  const slash = text.indexOf('/');
  if (slash < 0) return null;
  const address = canonical(text.slice(0, slash));
  const digits = text.slice(slash + 1);
  if (address === null || !/^(0|[1-9]\d{0,2})$/.test(digits)) return null;
  const family = familyOf(address)!;
  const length = Number(digits);
  if (length > ADDRESS_BITS[family]) return null;
  const network = networkOf(address, length);
  return network === address ? { family, address, length } : null;
}

/** The network address of `address` under a prefix of `length` bits, canonical. */
export function networkOf(address: string, length: number): string {
  const bytes = toBytes(address);
  for (let bit = length; bit < bytes.length * 8; bit++) bytes[bit >> 3]! &= ~(0x80 >> (bit & 7));
  return fromBytes(bytes);
}

/** Whether `address` lies in the network of `network`/`length`. Addresses of different families never do. */
export function contains(network: string, length: number, address: string): boolean {
  if (familyOf(network) !== familyOf(address)) return false;
  return networkOf(network, length) === networkOf(address, length);
}

/** Address as an integer, for ranges and ordering within a family. */
export function toBigInt(address: string): bigint {
  let value = 0n;
  for (const byte of toBytes(address)) value = (value << 8n) | BigInt(byte);
  return value;
}

/** The address of a family with this integer value. */
export function fromBigInt(value: bigint, family: Family): string {
  const bytes = new Uint8Array(ADDRESS_BITS[family] / 8);
  for (let i = bytes.length - 1, rest = value; i >= 0; i--, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
  return fromBytes(bytes);
}

export type AddressClass = 'unicast' | 'unspecified' | 'loopback' | 'linkLocal' | 'multicast' | 'broadcast' | 'reserved';

/** What kind of address this is, as far as a VIP or a real server is concerned. Private ranges are plain unicast. */
export function classOf(address: string): AddressClass {
  if (isIPv4(address)) return classOfIPv4(octets(address));
  const range = ipaddr.parse(address).range();
  switch (range) {
    case 'unspecified': case 'loopback': case 'linkLocal': case 'multicast': return range;
    default: return 'unicast';
  }
}

function classOfIPv4([a, b, c, d]: Uint8Array): AddressClass {
  switch (true) {
    // RFC 6890: "this network" as a whole.
    case a === 0: return 'unspecified';
    case a === 127: return 'loopback';
    case a === 169 && b === 254: return 'linkLocal';
    case a === 255 && b === 255 && c === 255 && d === 255: return 'broadcast';
    // RFC 1112: class D, and class E, which kernels and switches drop.
    case a! >= 240: return 'reserved';
    case a! >= 224: return 'multicast';
    default: return 'unicast';
  }
}

/** Bytes of an address that isIPv4 accepts. */
function octets(text: string): Uint8Array {
  const bytes = new Uint8Array(4);
  for (let i = 0, at = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0) at++;
    else bytes[at] = bytes[at]! * 10 + digit;
  }
  return bytes;
}

/** Every way to write one begins with a zero or with `::`; a second parser is for those only. */
function isMapped(text: string): boolean {
  return (text.startsWith(':') || text.startsWith('0')) && ipaddr.IPv6.isValid(text) && ipaddr.IPv6.parse(text).isIPv4MappedAddress();
}
