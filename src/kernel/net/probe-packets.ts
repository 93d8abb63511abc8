/**
 * The bytes that ask whether somebody has an address, and what the answers say: ARP probes (RFC 5227) and neighbour solicitations
 * (RFC 4861). Pure; sending and listening is probe.ts.
 *
 * A solicitation bears a nonce (RFC 7527), as Linux' own detection of duplicates does: so one that asks in order to take the address can be
 * told from a router that wants to reach it.
 */
import { fromBytes, toBytes } from '../../ip/ip.ts';

/** linux/if_arp.h ARPOP_REQUEST, and RFC 4861 types of ICMPv6. */
const ARP_REQUEST = 1;
export const ND = { solicitation: 135, advertisement: 136 } as const;
/** Options of RFC 4861 and RFC 7527. */
const OPTION = { source: 1, target: 2, nonce: 14 } as const;
const NO_MAC = '00:00:00:00:00:00';

/** What somebody said about an address. */
export interface Heard {
  readonly address: string;
  /** 'holds' it, or 'wants' it: asks whether it is free, to take it. */
  readonly says: 'holds' | 'wants';
  /** '' when the packet does not tell. */
  readonly mac: string;
}

/** 28 bytes: who has `vip`, asked by nobody (sender 0.0.0.0), so that no cache learns anything. */
export function arpProbe(mac: Uint8Array, vip: string): Uint8Array {
  const packet = new Uint8Array(28);
  packet.set([0, 1, 0x08, 0, 6, 4, 0, ARP_REQUEST]);
  packet.set(mac, 8);
  packet.set(toBytes(vip), 24);
  return packet;
}

/** Null for a packet that says nothing about who has or wants an address, or that is no ARP over Ethernet for IPv4. */
export function readArp(bytes: Uint8Array): Heard | null {
  if (bytes.length < 28 || bytes[1] !== 1 || bytes[2] !== 0x08 || bytes[3] !== 0 || bytes[4] !== 6 || bytes[5] !== 4) return null;
  const mac = macText(bytes.subarray(8, 14));
  const sender = fromBytes(bytes.subarray(14, 18));
  // Whoever sends from an address has it, in requests, too.
  if (sender !== '0.0.0.0') return { address: sender, says: 'holds', mac };
  return bytes[7] === ARP_REQUEST ? { address: fromBytes(bytes.subarray(24, 28)), says: 'wants', mac } : null;
}

/** 40 bytes of ICMPv6: who has `vip`, with our MAC to answer to and a nonce of 6 bytes; the kernel fills in the checksum. */
export function neighbourProbe(mac: Uint8Array, vip: string, nonce: Uint8Array): Uint8Array {
  const packet = new Uint8Array(40);
  packet[0] = ND.solicitation;
  packet.set(toBytes(vip), 8);
  packet.set([OPTION.source, 1, ...mac], 24);
  packet.set([OPTION.nonce, 1, ...nonce.subarray(0, 6)], 32);
  return packet;
}

/** The ICMPv6 part of a packet. Null for what says nothing about who has or wants an address: a router that asks does not. */
export function readNeighbour(bytes: Uint8Array): Heard | null {
  if (bytes.length < 24 || (bytes[0] !== ND.solicitation && bytes[0] !== ND.advertisement)) return null;
  const address = fromBytes(bytes.subarray(8, 24));
  const options = optionsOf(bytes);
  if (bytes[0] === ND.advertisement) return { address, says: 'holds', mac: options.get(OPTION.target) ?? '' };
  // A host that detects duplicates the old way asks from no address, and so gives no MAC.
  return options.has(OPTION.nonce) || !options.has(OPTION.source) ? { address, says: 'wants', mac: options.get(OPTION.source) ?? '' } : null;
}

/** The first six bytes of each option, as a MAC. */
function optionsOf(bytes: Uint8Array): Map<number, string> {
  const options = new Map<number, string>();
  for (let at = 24; at + 8 <= bytes.length;) {
    const length = bytes[at + 1]! * 8;
    if (length === 0) break;
    options.set(bytes[at]!, macText(bytes.subarray(at + 2, at + 8)));
    at += length;
  }
  return options;
}

/** The multicast group in which whoever has an address listens (RFC 4291, 2.7.1). */
export function solicitedNode(address: string): string {
  const group = toBytes('ff02::1:ff00:0');
  group.set(toBytes(address).subarray(13), 13);
  return fromBytes(group);
}

function macText(bytes: Uint8Array): string {
  const text = Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(':');
  return text === NO_MAC ? '' : text;
}
