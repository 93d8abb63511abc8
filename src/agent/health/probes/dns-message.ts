/**
 * The part of DNS that a check needs: one question, and the addresses among the answers (RFC 1035). Pure; every read is bounded, and names
 * in answers are skipped, never followed: a compression pointer ends a name, so there are no loops.
 */
import { fromBytes } from '../../../ip/ip.ts';

export const RECORD = { A: 1, AAAA: 28 } as const;
const CLASS_IN = 1;
const HEADER = 12;
const FLAG = { RESPONSE: 0x8000, TRUNCATED: 0x0200, RECURSION_DESIRED: 0x0100, OPCODE: 0x7800 } as const;

const RCODES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'] as const;

export interface DnsAnswer {
  readonly rcode: string;
  readonly truncated: boolean;
  /** Addresses of the asked type, canonical. */
  readonly addresses: readonly string[];
}

/** A query with recursion desired. `name` has been checked: labels of 1 to 63 characters, or '.'. */
export function encodeQuery(id: number, name: string, record: keyof typeof RECORD): Uint8Array {
  const labels = name.replace(/\.$/, '').split('.').filter((l) => l !== '').map((l) => Buffer.concat([Buffer.of(l.length), Buffer.from(l, 'latin1')]));
  const header = Buffer.alloc(HEADER);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(FLAG.RECURSION_DESIRED, 2);
  header.writeUInt16BE(1, 4);
  const tail = Buffer.alloc(5);
  tail.writeUInt16BE(RECORD[record], 1);
  tail.writeUInt16BE(CLASS_IN, 3);
  return Buffer.concat([header, ...labels, tail]);
}

/**
 * The answer to `query`. 'other': the datagram answers something else (a late answer, or a guess of somebody), so the right one may still
 * come. null: it is no DNS answer.
 */
export function decodeAnswer(bytes: Uint8Array, query: Uint8Array, record: keyof typeof RECORD): DnsAnswer | 'other' | null {
  if (bytes.length < HEADER) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = view.getUint16(2);
  if ((flags & FLAG.RESPONSE) === 0 || (flags & FLAG.OPCODE) !== 0) return null;
  if (bytes[0] !== query[0] || bytes[1] !== query[1]) return 'other';
  const rcode = RCODES[flags & 0xf] ?? `RCODE ${flags & 0xf}`;
  const truncated = (flags & FLAG.TRUNCATED) !== 0;
  // Servers may leave the question out of an error.
  if (view.getUint16(4) === 0) return rcode === 'NOERROR' ? null : { rcode, truncated, addresses: [] };
  if (view.getUint16(4) !== 1 || !sameQuestion(bytes, query)) return 'other';
  const addresses = readAddresses(bytes, query.length, view.getUint16(6), RECORD[record]);
  return addresses === null && !truncated ? null : { rcode, truncated, addresses: addresses ?? [] };
}

/** Letters may come back in another case. */
function sameQuestion(bytes: Uint8Array, query: Uint8Array): boolean {
  if (bytes.length < query.length) return false;
  const lower = (byte: number) => (byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte);
  for (let i = HEADER; i < query.length; i++) if (lower(bytes[i]!) !== lower(query[i]!)) return false;
  return true;
}

function readAddresses(bytes: Uint8Array, from: number, count: number, type: number): string[] | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const addresses: string[] = [];
  let at = from;
  for (let i = 0; i < count; i++) {
    at = endOfName(bytes, at);
    // Type, class, time to live, length.
    if (at < 0 || at + 10 > bytes.length) return null;
    const length = view.getUint16(at + 8);
    const data = at + 10;
    if (data + length > bytes.length) return null;
    const isAsked = view.getUint16(at) === type && view.getUint16(at + 2) === CLASS_IN && length === (type === RECORD.A ? 4 : 16);
    if (isAsked) addresses.push(fromBytes(bytes.subarray(data, data + length)));
    at = data + length;
  }
  return addresses;
}

function endOfName(bytes: Uint8Array, from: number): number {
  for (let at = from; at < bytes.length;) {
    const length = bytes[at]!;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2 <= bytes.length ? at + 2 : -1;
    if (length > 63) return -1;
    at += length + 1;
  }
  return -1;
}
