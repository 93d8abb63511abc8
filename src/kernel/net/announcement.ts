/**
 * The bytes that tell neighbours who has a VIP: gratuitous ARP (RFC 5227) and unsolicited neighbour advertisement (RFC 4861).
 * Pure; sending is announce.ts, and how often is agent/ownership's.
 */
import { toBytes } from '../../ip/ip.ts';

/** linux/if_arp.h ARPOP_*. Some neighbours believe only one of the two forms, so both are sent. */
export const ARP_OPERATION = { request: 1, reply: 2 } as const;
export const BROADCAST_MAC = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff);

/** 28 bytes: sender and target address are the VIP, which is what makes it gratuitous. */
export function arpAnnouncement(operation: number, mac: Uint8Array, vip: string): Uint8Array {
  const address = toBytes(vip);
  // Hardware type Ethernet (1), protocol IPv4 (0x0800), their lengths 6 and 4.
  const packet = new Uint8Array(28);
  packet.set([0, 1, 0x08, 0, 6, 4, 0, operation]);
  packet.set(mac, 8);
  packet.set(address, 14);
  // RFC 5227 leaves the target MAC of a request zero; a reply names its receiver, which is the sender itself.
  if (operation === ARP_OPERATION.reply) packet.set(mac, 18);
  packet.set(address, 24);
  return packet;
}

/** 32 bytes of ICMPv6 type 136 with the override flag and our MAC; the kernel fills in the checksum. */
export function neighbourAdvertisement(mac: Uint8Array, vip: string): Uint8Array {
  const packet = new Uint8Array(32);
  packet[0] = 136;
  // Override: neighbours replace the MAC they have cached.
  packet[4] = 0x20;
  packet.set(toBytes(vip), 8);
  // Option 2, target link-layer address, one unit of 8 bytes.
  packet.set([2, 1], 24);
  packet.set(mac, 26);
  return packet;
}

/** Six bytes of `02:00:00:00:00:01`, or null when the text is no MAC. */
export function macBytes(text: string): Uint8Array | null {
  return /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(text) ? Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16)) : null;
}
