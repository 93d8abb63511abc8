/**
 * Sends announcements: one packet socket for ARP and one raw ICMPv6 socket per link, opened for the purpose and closed. When and
 * how often is the caller's; what the packets say is announcement.ts.
 */
import { toBytes } from '../../ip/ip.ts';
import { AF, SOCK, bind, close, sendto, setsockopt, socket } from '../netlink/libc.ts';
import { KernelError } from '../netlink/errors.ts';
import { ARP_OPERATION, BROADCAST_MAC, arpAnnouncement, macBytes, neighbourAdvertisement } from './announcement.ts';
import type { Link, VipAddress } from './types.ts';

/** linux/if_ether.h, in network order below. */
const ETH_P_ARP = 0x0806;
/** linux/in.h, in6.h. */
const IPPROTO_ICMPV6 = 58;
const IPPROTO_IPV6 = 41;
const IPV6 = { MULTICAST_IF: 17, MULTICAST_HOPS: 18 } as const;
const ALL_NODES = 'ff02::1';

/**
 * Announces a VIP of `link`. Throws KernelError INVALID when the link has no MAC, SYSTEM_CALL (ENETDOWN: the link is down),
 * PERMISSION_DENIED (CAP_NET_RAW).
 */
export function announce(vip: VipAddress, link: Pick<Link, 'name' | 'index' | 'mac'>): void {
  const mac = macBytes(link.mac);
  if (mac === null) {
    const message = 'the link has no MAC address: nobody resolves addresses on it';
    throw new KernelError({ code: 'INVALID', operation: 'announce', object: `${vip.address} on ${link.name}`, message });
  }
  if (vip.family === 'IPv4') announceByArp(vip.address, mac, link.index);
  else announceByNd(vip.address, mac, link.index);
}

function announceByArp(address: string, mac: Uint8Array, index: number): void {
  // Protocol 0: the socket sends, and nothing is ever delivered to it.
  const fd = socket(AF.PACKET, SOCK.DGRAM, 0);
  try {
    const to = packetAddress(index);
    sendto(fd, arpAnnouncement(ARP_OPERATION.request, mac, address), to);
    sendto(fd, arpAnnouncement(ARP_OPERATION.reply, mac, address), to);
  } finally {
    close(fd);
  }
}

/** struct sockaddr_ll: family, protocol (network order), index, hatype, pkttype, halen, 8 bytes of address. */
export function packetAddress(index: number): Uint8Array {
  const bytes = new Uint8Array(20);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF.PACKET, true);
  view.setUint16(2, ETH_P_ARP, false);
  view.setInt32(4, index, true);
  view.setUint8(11, BROADCAST_MAC.length);
  bytes.set(BROADCAST_MAC, 12);
  return bytes;
}

function announceByNd(address: string, mac: Uint8Array, index: number): void {
  const fd = socket(AF.INET6, SOCK.RAW, IPPROTO_ICMPV6);
  try {
    // Receivers drop neighbour discovery whose hop limit is not 255: it came through a router.
    setsockopt(fd, IPPROTO_IPV6, IPV6.MULTICAST_HOPS, 255);
    setsockopt(fd, IPPROTO_IPV6, IPV6.MULTICAST_IF, index);
    // From the VIP itself: the kernel would choose another address, as ours is deprecated.
    bind(fd, ipv6Address(address, 0));
    sendto(fd, neighbourAdvertisement(mac, address), ipv6Address(ALL_NODES, index));
  } finally {
    close(fd);
  }
}

/** struct sockaddr_in6: family, port, flow, address, scope. */
export function ipv6Address(address: string, scope: number): Uint8Array {
  const bytes = new Uint8Array(28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF.INET6, true);
  bytes.set(toBytes(address), 8);
  view.setUint32(24, scope, true);
  return bytes;
}
