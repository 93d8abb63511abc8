/**
 * IPVS values into netlink attributes. Expects what validate.ts accepts; decides nothing.
 */
import { AF } from '../netlink/libc.ts';
import type { MessageWriter } from '../netlink/writer.ts';
import { KernelError } from '../netlink/errors.ts';
import { familyOf, toBytes } from '../../ip/ip.ts';
import { NLM_F } from '../netlink/constants.ts';
import { ipv4Word, ipv6Words, swap16 } from './address-words.ts';
import { ATTR, DAEMON, DAEMON_STATE, DEST, IPPROTO, SVC } from './constants.ts';
import { FORWARDING_METHODS, SERVICE_FLAGS_MASK, TUNNEL_TYPES, type Destination, type Service, type SyncDaemon, type Timeouts } from './types.ts';

/** Bytes that no message of ours exceeds: headers, a service nest, a destination nest. */
export const LARGEST_MESSAGE = 192;

function address(writer: MessageWriter, type: number, family: Service['family'], text: string): void {
  if (family === 'IPv4') {
    const word = ipv4Word(text);
    if (word >= 0) { writer.u32(type, word); return; }
  } else {
    const words = ipv6Words(text);
    if (words !== null) { writer.word(20 | (type << 16)).copy(words); return; }
  }
  throw new KernelError({ code: 'INVALID', operation: 'encode', object: text, message: `not an ${family} address` });
}

function key(writer: MessageWriter, service: Service): void {
  writer.u16(SVC.AF, service.family === 'IPv4' ? AF.INET : AF.INET6);
  if (service.fwmark !== 0) {
    writer.u32(SVC.FWMARK, service.fwmark);
    return;
  }
  writer.u16(SVC.PROTOCOL, IPPROTO[service.protocol]);
  address(writer, SVC.ADDR, service.family, service.address);
  writer.u16be(SVC.PORT, service.port);
}

/** The key of a service, as DEL, GET and the destination commands want it. */
export function encodeServiceKey(writer: MessageWriter, service: Service): void {
  writer.begin(ATTR.SERVICE);
  key(writer, service);
  writer.end();
}

/** A whole service: NEW_SERVICE and SET_SERVICE, which replaces every field (an absent PE_NAME removes the engine). */
export function encodeService(writer: MessageWriter, service: Service): void {
  writer.begin(ATTR.SERVICE);
  key(writer, service);
  writer.string(SVC.SCHED_NAME, service.scheduler);
  // struct ip_vs_flags { flags, mask }: only masked bits are changed, so the kernel's own (HASHED) stay.
  writer.word(12 | (SVC.FLAGS << 16)).word(service.flags).word(SERVICE_FLAGS_MASK);
  writer.u32(SVC.TIMEOUT, service.timeoutSeconds);
  // IPv4 wants a mask in network order, IPv6 a prefix length in host order.
  if (service.family === 'IPv4') writer.u32be(SVC.NETMASK, maskOf(service.prefixLength));
  else writer.u32(SVC.NETMASK, service.prefixLength);
  if (service.engine !== '') writer.string(SVC.PE_NAME, service.engine);
  writer.end();
}

/** /24 is 0xffffff00. */
export function maskOf(prefixLength: number): number {
  return prefixLength === 0 ? 0 : (0xffffffff << (32 - prefixLength)) >>> 0;
}

/** The key of a destination, after the service's: DEL_DEST. */
export function encodeDestinationKey(writer: MessageWriter, destination: Destination): void {
  writer.begin(ATTR.DEST);
  address(writer, DEST.ADDR, destination.family, destination.address);
  writer.u16be(DEST.PORT, destination.port);
  writer.u16(DEST.ADDR_FAMILY, destination.family === 'IPv4' ? AF.INET : AF.INET6).end();
}

/** A whole destination, after the service's key: NEW_DEST and SET_DEST. */
export function encodeDestination(writer: MessageWriter, destination: Destination): void {
  writer.begin(ATTR.DEST);
  // The order is that of DestinationSeries below.
  address(writer, DEST.ADDR, destination.family, destination.address);
  writer.u16be(DEST.PORT, destination.port);
  writer.u32(DEST.FWD_METHOD, FORWARDING_METHODS.indexOf(destination.method));
  writer.u32(DEST.WEIGHT, destination.weight);
  writer.u32(DEST.U_THRESH, destination.upper);
  writer.u32(DEST.L_THRESH, destination.lower);
  // Without it the kernel takes the service's family: wrong for mixed ones, and never a shorter way.
  writer.u16(DEST.ADDR_FAMILY, destination.family === 'IPv4' ? AF.INET : AF.INET6);
  if (destination.method === 'tunnel') {
    writer.u8(DEST.TUN_TYPE, TUNNEL_TYPES.indexOf(destination.tunnelType));
    writer.u16be(DEST.TUN_PORT, destination.tunnelPort);
    writer.u16(DEST.TUN_FLAGS, destination.tunnelFlags);
  }
  writer.end();
}

/** Offsets in words from the start of a message to the key of an IPv4 service: netlink 4, generic 1, nest 1, AF 2, PROTOCOL 2, then ADDR and PORT. */
export const SERVICE_FROM_START = { address: 11, port: 13 } as const;
/** Offsets in words from the end of a message with an IPv4 destination's key only (DEL_DEST). */
export const KEY_FROM_END = { address: 5, port: 3 } as const;
/** Offsets in words from the end of an IPv4 destination's message without tunnel attributes to its values. */
export const DESTINATION_FROM_END = { address: 13, port: 11, method: 9, weight: 7, upper: 5, lower: 3 } as const;

/**
 * Messages about the IPv4 destinations of one service, one after the other: they differ in six words, so each is a copy of
 * the one before with those words replaced. Ten times less work than the long way, above all while the code is still cold.
 */
export class DestinationSeries {
  #service: Service | undefined;
  #type = 0;
  #command = 0;
  /** The writer's serial after our last message. */
  #serial = -1;

  /** Writes a whole message with `command` (NEW_DEST or SET_DEST), `type` being the family's id. */
  write(writer: MessageWriter, type: number, command: number, service: Service, destination: Destination): void {
    const word = destination.family === 'IPv4' && destination.method !== 'tunnel' ? ipv4Word(destination.address) : -1;
    if (word < 0 || !this.#continue(writer, type, command, service)) {
      encodeServiceKey(writer.message(type, NLM_F.REQUEST).generic(command), service);
      encodeDestination(writer, destination);
      this.#serial = word < 0 ? -1 : writer.serial;
      this.#service = service;
      this.#type = type;
      this.#command = command;
      return;
    }
    const end = writer.repeat();
    writer.patch(end - DESTINATION_FROM_END.address, word);
    writer.patch(end - DESTINATION_FROM_END.port, swap16(destination.port));
    writer.patch(end - DESTINATION_FROM_END.method, FORWARDING_METHODS.indexOf(destination.method));
    writer.patch(end - DESTINATION_FROM_END.weight, destination.weight);
    writer.patch(end - DESTINATION_FROM_END.upper, destination.upper);
    writer.patch(end - DESTINATION_FROM_END.lower, destination.lower);
    this.#serial = writer.serial;
  }

  /** Whether the last message of the writer is ours, and about another destination of the same service. */
  #continue(writer: MessageWriter, type: number, command: number, service: Service): boolean {
    return writer.serial === this.#serial && service === this.#service && type === this.#type && command === this.#command;
  }
}

/** SET_CONFIG. The kernel keeps a timeout that is given as 0. */
export function encodeTimeouts(writer: MessageWriter, timeouts: Timeouts): void {
  writer.u32(ATTR.TIMEOUT_TCP, timeouts.tcp).u32(ATTR.TIMEOUT_TCP_FIN, timeouts.tcpFin).u32(ATTR.TIMEOUT_UDP, timeouts.udp);
}

/** NEW_DAEMON with everything, or DEL_DAEMON with its key. 0 and '' leave a field to the kernel's default. */
export function encodeDaemon(writer: MessageWriter, daemon: SyncDaemon): void {
  writer.begin(ATTR.DAEMON);
  writer.u32(DAEMON.STATE, DAEMON_STATE[daemon.role]).string(DAEMON.MCAST_IFN, daemon.interface).u32(DAEMON.SYNC_ID, daemon.syncId);
  if (daemon.maxLength !== 0) writer.u16(DAEMON.SYNC_MAXLEN, daemon.maxLength);
  if (daemon.group !== '') writer.data(familyOf(daemon.group) === 'IPv6' ? DAEMON.MCAST_GROUP6 : DAEMON.MCAST_GROUP, toBytes(daemon.group));
  // Host order, unlike every other port of this protocol.
  if (daemon.port !== 0) writer.u16(DAEMON.MCAST_PORT, daemon.port);
  if (daemon.ttl !== 0) writer.u8(DAEMON.MCAST_TTL, daemon.ttl);
  writer.end();
}
