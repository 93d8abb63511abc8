/**
 * Netlink messages of the IPVS family into values and table rows. Judges nothing: what the kernel holds is reported as it is.
 * Whatever is malformed throws KernelError PROTOCOL.
 */
import { fromBytes } from '../../ip/ip.ts';
import { AF } from '../netlink/libc.ts';
import { KernelError } from '../netlink/errors.ts';
import type { AttributeReader, MessageReader } from '../netlink/reader.ts';
import { ipv4Text } from './address-words.ts';
import { ATTR, DAEMON, DAEMON_STATE, DEST, FORWARD_MASK, INFO, IPPROTO, STATS, SVC } from './constants.ts';
import type { ServiceStatistics } from './contract.ts';
import { ROW } from './destinations.ts';
import { FORWARDING_METHODS, SERVICE_FLAG, SERVICE_FLAGS_MASK, type Family, type Protocol, type Service, type SyncDaemon, type Timeouts } from './types.ts';

/** A service whose protocol we have no word for (the kernel accepts any number); only its text survives. */
export interface UnknownService { readonly unknown: string; readonly family: Family }
export type DecodedService = Service | UnknownService;

const PROTOCOLS = new Map<number, Protocol>([[IPPROTO.TCP, 'TCP'], [IPPROTO.UDP, 'UDP'], [IPPROTO.SCTP, 'SCTP']]);
const TUNNEL = FORWARDING_METHODS.indexOf('tunnel');

/** The nest `wanted` of a message, or PROTOCOL. */
function nest(message: MessageReader, wanted: number): AttributeReader {
  for (const a = message.genericAttributes(); a.next();) if (a.type === wanted) return a.nested();
  throw new KernelError({ code: 'PROTOCOL', operation: 'decode', message: `a message without attribute ${wanted}` });
}

/** 4 or 16 bytes; the kernel gives 16 for IPv4 too. */
function addressText(a: AttributeReader, family: number): string {
  if (family === AF.INET) return ipv4Text(a.word(0));
  a.word(3); // a protocol error when there are no 16 bytes
  return fromBytes(a.data().subarray(0, 16));
}

/** A service from the numbers that both interfaces deliver. `mask` is IPv4's in host order, or IPv6's prefix length. */
export function serviceOf(family: number, protocol: number, address: string, port: number, fwmark: number, scheduler: string,
  flags: number, timeout: number, mask: number, engine: string): DecodedService {
  const name = fwmark !== 0 ? 'TCP' : PROTOCOLS.get(protocol);
  if (name === undefined) return { unknown: `protocol ${protocol} ${address} port ${port}`, family: family === AF.INET ? 'IPv4' : 'IPv6' };
  const persistent = (flags & SERVICE_FLAG.persistent) !== 0;
  const v4 = family === AF.INET;
  return {
    family: v4 ? 'IPv4' : 'IPv6', protocol: name, address, port, fwmark, scheduler, flags: flags & SERVICE_FLAGS_MASK,
    timeoutSeconds: persistent ? timeout : 0,
    prefixLength: !persistent ? (v4 ? 32 : 128) : v4 ? lengthOf(mask) : mask,
    // Without persistence an engine does nothing, and the getsockopt interface does not show it.
    engine: persistent ? engine : '',
  };
}

/** Bits of a contiguous mask; 0, which nobody may ask for, for the others: they differ from every wish. */
function lengthOf(mask: number): number {
  const length = Math.clz32(~mask);
  return length === 32 || (mask << length) === 0 ? length : 0;
}

/** A service as GET_SERVICE reports it. */
export function decodeService(message: MessageReader): DecodedService {
  let family = 0, protocol = 0, port = 0, fwmark = 0, flags = 0, timeout = 0, mask = 0;
  let address = '', scheduler = '', engine = '';
  for (const a = nest(message, ATTR.SERVICE); a.next();) {
    switch (a.type) {
      case SVC.AF: family = a.u16(); break;
      case SVC.PROTOCOL: protocol = a.u16(); break;
      case SVC.ADDR: address = addressText(a, family); break;
      case SVC.PORT: port = a.u16be(); break;
      case SVC.FWMARK: fwmark = a.u32(); break;
      case SVC.SCHED_NAME: scheduler = a.string(); break;
      case SVC.FLAGS: flags = a.word(0); break;
      case SVC.TIMEOUT: timeout = a.u32(); break;
      case SVC.NETMASK: mask = family === AF.INET ? a.u32be() : a.u32(); break;
      case SVC.PE_NAME: engine = a.string(); break;
      default: // statistics: see decodeStatistics
    }
  }
  if (family !== AF.INET && family !== AF.INET6) throw new KernelError({ code: 'PROTOCOL', operation: 'decode', message: `a service of family ${family}` });
  return serviceOf(family, protocol, address, port, fwmark, scheduler, flags, timeout, mask, engine);
}

/** Family and persistence of a service, without building anything: for skimming a long dump. */
export function skimService(message: MessageReader): { readonly family: number; readonly persistent: boolean } {
  let family = 0, flags = 0;
  for (const a = nest(message, ATTR.SERVICE); a.next();) {
    if (a.type === SVC.AF) family = a.u16();
    else if (a.type === SVC.FLAGS) flags = a.word(0);
  }
  return { family, persistent: (flags & SERVICE_FLAG.persistent) !== 0 };
}

/** Rows that grow while a dump is read, then become the words of a DestinationTable. Reused from service to service. */
export class RowBuffer {
  words = new Uint32Array(64 * ROW);
  rows = 0;

  /** Offset of a new zeroed row. */
  add(): number {
    const at = this.rows * ROW;
    if (at === this.words.length) {
      const larger = new Uint32Array(at * 2);
      larger.set(this.words);
      this.words = larger;
    }
    this.words.fill(0, at, at + ROW);
    this.rows++;
    return at;
  }

  reset(): void { this.rows = 0; }
  /** A copy of the rows. */
  take(): Uint32Array { return this.words.slice(0, this.rows * ROW); }
}

/** One destination of a GET_DEST dump into a row (layout: destinations.ts). `serviceFamily` is AF_*. */
export function decodeDestination(message: MessageReader, serviceFamily: number, into: RowBuffer): void {
  const at = into.add();
  const w = into.words;
  let family = serviceFamily, port = 0, method = 0, tunnelType = 0, tunnelPort = 0, tunnelFlags = 0;
  for (const a = nest(message, ATTR.DEST); a.next();) {
    switch (a.type) {
      case DEST.ADDR: for (let k = 0; k < 4 && k * 4 + 4 <= a.length; k++) w[at + 1 + k] = a.word(k); break;
      case DEST.PORT: port = a.u16be(); break;
      case DEST.FWD_METHOD: method = a.u32() & FORWARD_MASK; break;
      case DEST.WEIGHT: w[at + 6] = a.u32(); break;
      case DEST.U_THRESH: w[at + 7] = a.u32(); break;
      case DEST.L_THRESH: w[at + 8] = a.u32(); break;
      case DEST.ACTIVE_CONNS: w[at + 10] = a.u32(); break;
      case DEST.INACT_CONNS: w[at + 11] = a.u32(); break;
      case DEST.ADDR_FAMILY: family = a.u16(); break;
      case DEST.TUN_TYPE: tunnelType = a.u8(); break;
      case DEST.TUN_PORT: tunnelPort = a.u16be(); break;
      case DEST.TUN_FLAGS: tunnelFlags = a.u16(); break;
      default: // statistics, persistent connections: nobody asks for them per destination
    }
  }
  w[at] = (family << 16) | port;
  if (family === AF.INET) w.fill(0, at + 2, at + 5);
  const tunnel = method === TUNNEL;
  // What is not a tunnel has no tunnel attributes, whatever an earlier SET_DEST left in the kernel.
  w[at + 5] = tunnel ? method | (tunnelType << 8) | (tunnelFlags << 16) : method;
  w[at + 9] = tunnel ? tunnelPort : 0;
}

/** Statistics of a service: 64 bits where the kernel has them (4.1), else the old ones. `wide` tells which. */
export function decodeStatistics(message: MessageReader): ServiceStatistics & { readonly wide: boolean } {
  let wide = false;
  const values = [0n, 0n, 0n, 0n, 0n, 0n];
  for (const a = nest(message, ATTR.SERVICE); a.next();) {
    if (a.type !== SVC.STATS64 && (a.type !== SVC.STATS || wide)) continue;
    wide = a.type === SVC.STATS64;
    for (const s = a.nested(); s.next();) {
      if (s.type >= STATS.CONNS && s.type <= STATS.OUTBYTES) values[s.type] = s.length >= 8 ? s.u64() : BigInt(s.u32());
    }
  }
  const [, connections = 0n, inPackets = 0n, outPackets = 0n, inBytes = 0n, outBytes = 0n] = values;
  return { connections, inPackets, outPackets, inBytes, outBytes, wide };
}

export function decodeTimeouts(message: MessageReader): Timeouts {
  let tcp = 0, tcpFin = 0, udp = 0;
  for (const a = message.genericAttributes(); a.next();) {
    if (a.type === ATTR.TIMEOUT_TCP) tcp = a.u32();
    else if (a.type === ATTR.TIMEOUT_TCP_FIN) tcpFin = a.u32();
    else if (a.type === ATTR.TIMEOUT_UDP) udp = a.u32();
  }
  return { tcp, tcpFin, udp };
}

/** IP_VS_SYNC_GROUP, the group that the kernel takes when none is given. */
const DEFAULT_GROUP = '224.0.0.81';

export function decodeDaemon(message: MessageReader): SyncDaemon {
  let state = 0, syncId = 0, maxLength = 0, port = 0, ttl = 0;
  let name = '', group = '';
  for (const a = nest(message, ATTR.DAEMON); a.next();) {
    switch (a.type) {
      case DAEMON.STATE: state = a.u32(); break;
      case DAEMON.MCAST_IFN: name = a.string(); break;
      case DAEMON.SYNC_ID: syncId = a.u32(); break;
      case DAEMON.SYNC_MAXLEN: maxLength = a.u16(); break;
      case DAEMON.MCAST_GROUP: group = ipv4Text(a.u32()); break;
      case DAEMON.MCAST_GROUP6: group = addressText(a, AF.INET6); break;
      case DAEMON.MCAST_PORT: port = a.u16(); break;
      case DAEMON.MCAST_TTL: ttl = a.u8(); break;
      default:
    }
  }
  return { role: state === DAEMON_STATE.backup ? 'backup' : 'master', interface: name, syncId, maxLength, group: group === DEFAULT_GROUP ? '' : group, port, ttl };
}

/** GET_INFO: '1.2.1' and the size of the connection table. */
export function decodeInfo(message: MessageReader): { readonly version: string; readonly connectionTableSize: number } {
  let version = 0, connectionTableSize = 0;
  for (const a = message.genericAttributes(); a.next();) {
    if (a.type === INFO.VERSION) version = a.u32();
    else if (a.type === INFO.CONN_TAB_SIZE) connectionTableSize = a.u32();
  }
  return { version: `${(version >>> 16) & 0xff}.${(version >>> 8) & 0xff}.${version & 0xff}`, connectionTableSize };
}

/** Whether a destination's dump shows the tunnel attributes: the type since 5.2 (GUE), the flags since 5.3 (GRE). */
export function decodeTunnelSupport(message: MessageReader): { readonly type: boolean; readonly flags: boolean } {
  let type = false, flags = false;
  for (const a = nest(message, ATTR.DEST); a.next();) {
    if (a.type === DEST.TUN_TYPE) type = true;
    else if (a.type === DEST.TUN_FLAGS) flags = true;
  }
  return { type, flags };
}
