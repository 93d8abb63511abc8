// The probe's ARP requests and IPv6 neighbour solicitations: one frame out, every answer within a time listed.
// Made by hand on a packet socket, because the usual tools stop at the first answer or hide who sent it.

import koffi from 'koffi';
import { networkInterfaces } from 'node:os';

const AF_PACKET = 17; // linux/socket.h
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const ETH_P_ARP = 0x0806; // linux/if_ether.h
const ETH_P_IPV6 = 0x86dd;
const ICMPV6_NEIGHBOUR_SOLICITATION = 135; // RFC 4861
const ICMPV6_NEIGHBOUR_ADVERTISEMENT = 136;
/** Between two looks for answers. */
const LOOK_MS = 10;

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, const void *address, uint32_t length)');
const send = libc.func('long send(int fd, const void *data, size_t length, int flags)');
const recv = libc.func('long recv(int fd, void *data, size_t length, int flags)');
const close = libc.func('int close(int fd)');
const if_nametoindex = libc.func('uint32_t if_nametoindex(const char *name)');

export interface SolicitRequest {
  readonly address: string;
  readonly link: string;
  readonly waitMs: number;
}

/** Asks once who has an address and lists, sorted and once each, the MAC addresses that answer in `waitMs`, or in more where the machine is busy. */
export async function solicit(request: SolicitRequest): Promise<string[]> {
  const six = request.address.includes(':');
  const own = (networkInterfaces()[request.link] ?? []).filter((one) => one.family === (six ? 'IPv6' : 'IPv4'));
  // A global address first: an answer to a link-local one would not show what other hosts get.
  const source = own.find((one) => !one.address.startsWith('fe80:')) ?? own[0];
  if (source === undefined) throw new Error(`no ${six ? 'IPv6' : 'IPv4'} address on ${request.link} to ask from`);
  const protocol = six ? ETH_P_IPV6 : ETH_P_ARP;
  const mac = Buffer.from(source.mac.replaceAll(':', ''), 'hex');
  const frame = six ? solicitation(mac, source.address, request.address) : arpRequest(mac, source.address, request.address);
  const answers = new Set<string>();

  const fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(protocol)) as number;
  if (fd < 0) throw new Error('cannot open a packet socket');
  try {
    const place = Buffer.alloc(20); // struct sockaddr_ll
    place.writeUInt16LE(AF_PACKET, 0);
    place.writeUInt16BE(protocol, 2);
    place.writeInt32LE(if_nametoindex(request.link) as number, 4);
    if (bind(fd, place, place.length) !== 0) throw new Error(`cannot bind to ${request.link}`);
    if (Number(send(fd, frame, frame.length, 0)) !== frame.length) throw new Error(`cannot send on ${request.link}`);
    const buffer = Buffer.alloc(2048);
    // So many looks, and not until a time: a guest that has no CPU for so long would never look.
    for (let looks = 0; looks <= request.waitMs / LOOK_MS; looks++) {
      await new Promise((tick) => setTimeout(tick, LOOK_MS));
      for (let length = Number(recv(fd, buffer, buffer.length, 0)); length > 0; length = Number(recv(fd, buffer, buffer.length, 0))) {
        const answer = six ? advertisedBy(buffer.subarray(0, length), request.address) : repliedBy(buffer.subarray(0, length), request.address);
        if (answer !== null) answers.add(answer);
      }
    }
  } finally {
    close(fd);
  }
  return [...answers].sort();
}

/** RFC 826 request in a broadcast frame. */
function arpRequest(mac: Buffer, source: string, target: string): Buffer {
  return Buffer.concat([
    Buffer.alloc(6, 0xff), mac, uint16(ETH_P_ARP),
    Buffer.from([0, 1, 8, 0, 6, 4, 0, 1]), // Ethernet, IPv4, lengths 6 and 4, request
    mac, bytes4(source), Buffer.alloc(6), bytes4(target),
  ]);
}

/** The sender's MAC address of an ARP reply for the address, or null. */
function repliedBy(frame: Buffer, address: string): string | null {
  const reply = frame.length >= 42 && frame.readUInt16BE(20) === 2;
  return reply && frame.subarray(28, 32).equals(bytes4(address)) ? macText(frame.subarray(22, 28)) : null;
}

/** RFC 4861 4.3 to the solicited-node multicast address. */
function solicitation(mac: Buffer, source: string, target: string): Buffer {
  const wanted = bytes16(target);
  const group = Buffer.from('ff0200000000000000000001ff000000', 'hex');
  wanted.copy(group, 13, 13);
  const message = Buffer.concat([
    Buffer.from([ICMPV6_NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]), wanted,
    Buffer.from([1, 1]), mac, // source link-layer address option
  ]);
  const from = bytes16(source);
  message.writeUInt16BE(checksum(Buffer.concat([from, group, uint32(message.length), uint32(58), message])), 2);
  const header = Buffer.from([0x60, 0, 0, 0, 0, message.length, 58, 255]); // next header ICMPv6, hop limit 255
  return Buffer.concat([Buffer.from([0x33, 0x33]), group.subarray(12), mac, uint16(ETH_P_IPV6), header, from, group, message]);
}

/** The sender's MAC address of a neighbour advertisement for the address, or null. */
function advertisedBy(frame: Buffer, address: string): string | null {
  const advertisement = frame.length >= 78 && frame[20] === 58 && frame[54] === ICMPV6_NEIGHBOUR_ADVERTISEMENT;
  return advertisement && frame.subarray(62, 78).equals(bytes16(address)) ? macText(frame.subarray(6, 12)) : null;
}

function checksum(data: Buffer): number {
  let sum = 0;
  for (let at = 0; at < data.length; at += 2) sum += data.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function bytes4(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

function bytes16(address: string): Buffer {
  const [head, tail] = address.split('::');
  const words = (text: string | undefined): number[] => (text ? text.split(':').map((word) => Number.parseInt(word, 16)) : []);
  const left = words(head);
  const right = words(tail);
  const all = [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right];
  return Buffer.concat(all.map(uint16));
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

function uint32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(value);
  return buffer;
}

function htons(value: number): number {
  return ((value & 0xff) << 8) | (value >> 8);
}

function macText(mac: Buffer): string {
  return [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
