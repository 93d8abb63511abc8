/**
 * Refuses what the kernel would refuse, and what it accepts but should not (tunnel type 200, weight 2^31-1, port 0, a timeout
 * that overflows): an operation that passes here fails in the kernel only for reasons of state. Shape, not policy: which VIP
 * somebody may use is decided in controller/compile.
 */
import { classOf, familyOf } from '../../ip/ip.ts';
import { KernelError } from '../netlink/errors.ts';
import { ipv4Word } from './address-words.ts';
import type { IpvsOperation } from './contract.ts';
import { DestinationRow, isPlainRow } from './destinations.ts';
import {
  destinationKey, FORWARDING_METHODS, NO_SCHEDULER, SERVICE_FLAG, SERVICE_FLAGS_MASK, serviceKey, TUNNEL_FLAG, TUNNEL_TYPES,
  type Destination, type Family, type Service, type SyncDaemon, type Timeouts,
} from './types.ts';

/** The kernel keeps timeouts as seconds * HZ in 32 signed bits; HZ is at most 1000. Above, it overflows silently. */
export const MAXIMUM_TIMEOUT_SECONDS = Math.floor(0x7fffffff / 1000);
/** IP_VS_SCHEDNAME_MAXLEN and IP_VS_PENAME_MAXLEN, less the NUL. */
const MAXIMUM_NAME = 15;
/** IFNAMSIZ - 1. */
const MAXIMUM_INTERFACE_NAME = 15;
const MAXIMUM_WEIGHT = 65535;
/** The kernel (6.1.192 and later) refuses thresholds above INT_MAX. */
const MAXIMUM_THRESHOLD = 0x7fffffff;
const NAME = /^[a-z0-9_]+$/;

/** What operations are called in errors: the kernel's own commands. */
export const OPERATION_NAMES: Record<IpvsOperation['kind'], string> = {
  addService: 'NEW_SERVICE', setService: 'SET_SERVICE', delService: 'DEL_SERVICE',
  addDestination: 'NEW_DEST', setDestination: 'SET_DEST', delDestination: 'DEL_DEST',
  setTimeouts: 'SET_CONFIG', startSync: 'NEW_DAEMON', stopSync: 'DEL_DAEMON',
};

/** What an operation is about, for errors: `TCP 192.0.2.1:80 -> 10.0.0.1:80`. */
export function operationObject(operation: IpvsOperation): string {
  switch (operation.kind) {
    case 'addService': case 'setService': case 'delService': return serviceKey(operation.service);
    case 'addDestination': case 'setDestination': case 'delDestination':
      return `${serviceKey(operation.service)} -> ${destinationKey(operation.destination)}`;
    case 'setTimeouts': return 'timeouts';
    case 'startSync': case 'stopSync': return `sync ${operation.daemon.role} on ${operation.daemon.interface}`;
  }
}

/** Why an operation may not go to the kernel, or null. Services are remembered by identity: one look for all their destinations. */
export class OperationValidator {
  #validKey: Service | undefined;

  /** Returns a KernelError INVALID that names the object, the field and the value; null when the operation is sound. */
  check(operation: IpvsOperation): KernelError | null {
    const why = this.#reason(operation);
    return why === null ? null : new KernelError({ code: 'INVALID', operation: OPERATION_NAMES[operation.kind], object: operationObject(operation), message: why });
  }

  #reason(operation: IpvsOperation): string | null {
    switch (operation.kind) {
      case 'addService': case 'setService': return invalidService(operation.service);
      case 'delService': return this.#keyReason(operation.service);
      case 'addDestination': case 'setDestination':
        return this.#keyReason(operation.service) ?? invalidDestination(operation.service, operation.destination);
      // What is to go may be any nonsense that somebody else put there; only its key must be encodable.
      case 'delDestination': return this.#keyReason(operation.service) ?? invalidDestinationKey(operation.destination);
      case 'setTimeouts': return invalidTimeouts(operation.timeouts);
      case 'startSync': return invalidDaemon(operation.daemon);
      case 'stopSync': return invalidDaemon(operation.daemon);
    }
  }

  #keyReason(service: Service): string | null {
    if (service === this.#validKey) return null;
    const why = invalidServiceKey(service);
    if (why === null) this.#validKey = service;
    return why;
  }
}

const whole = (value: number, from: number, to: number): boolean => Number.isInteger(value) && value >= from && value <= to;
const range = (field: string, value: number, from: number, to: number): string | null =>
  whole(value, from, to) ? null : `${field} ${value} is not ${from}..${to}`;

/** Why these are not the key of a service, or null. */
export function invalidServiceKey(service: Service): string | null {
  if (service.family !== 'IPv4' && service.family !== 'IPv6') return `family ${String(service.family)} is neither IPv4 nor IPv6`;
  if (service.protocol !== 'TCP' && service.protocol !== 'UDP' && service.protocol !== 'SCTP') {
    return `protocol ${String(service.protocol)} is none of TCP, UDP, SCTP`;
  }
  if (service.fwmark !== 0) {
    if (!whole(service.fwmark, 1, 0xffffffff)) return `fwmark ${service.fwmark} is not 1..4294967295`;
    if (service.address !== '' || service.port !== 0) return 'a fwmark service has neither address nor port';
    return service.protocol === 'TCP' ? null : 'protocol of a fwmark service is TCP for the kernel, whatever it serves';
  }
  return wrongAddress('address', service.address, service.family) ?? range('port', service.port, 0, 65535);
}

/** Why the kernel should not get this service, or null. */
export function invalidService(service: Service): string | null {
  const key = invalidServiceKey(service);
  if (key !== null) return key;
  const unreachable = service.fwmark === 0 ? neverUnicast('address', service.address, service.family) : null;
  if (unreachable !== null) return unreachable;
  const persistent = (service.flags & SERVICE_FLAG.persistent) !== 0;
  if (service.fwmark === 0 && service.port === 0 && !persistent) return 'port 0 (every port) needs persistence';
  if (!whole(service.flags, 0, SERVICE_FLAGS_MASK) || (service.flags & ~SERVICE_FLAGS_MASK) !== 0) return `flags 0x${service.flags.toString(16)} has unknown bits`;
  const wrongName = badName('scheduler', service.scheduler);
  if (wrongName !== null) return wrongName;
  const schedulerFlags = service.flags & (SERVICE_FLAG.sched1 | SERVICE_FLAG.sched2 | SERVICE_FLAG.sched3);
  // A service that waits for its scheduler already carries its flags.
  if (schedulerFlags !== 0 && !['sh', 'mh', NO_SCHEDULER].includes(service.scheduler)) {
    return `flags 0x${schedulerFlags.toString(16)} are scheduler flags, which ${service.scheduler} does not read (sh and mh do)`;
  }
  if (service.flags & SERVICE_FLAG.onePacket && service.fwmark === 0 && service.protocol !== 'UDP') {
    return `flags: one-packet scheduling is for UDP, not ${service.protocol}`;
  }
  const bits = service.family === 'IPv4' ? 32 : 128;
  if (!persistent) {
    if (service.timeoutSeconds !== 0) return `persistence timeout ${service.timeoutSeconds} without persistence`;
    if (service.prefixLength !== bits) return `persistence prefix length ${service.prefixLength} without persistence (must be ${bits})`;
    return service.engine === '' ? null : `persistence engine ${service.engine} without persistence`;
  }
  return range('persistence timeout', service.timeoutSeconds, 1, MAXIMUM_TIMEOUT_SECONDS)
    ?? range('persistence prefix length', service.prefixLength, 1, bits)
    ?? (service.engine === '' ? null : invalidEngine(service));
}

function invalidEngine(service: Service): string | null {
  const wrongName = badName('persistence engine', service.engine);
  if (wrongName !== null) return wrongName;
  // ip_vs_pe_sip.c gives up on anything else, at the first packet.
  return service.engine === 'sip' && service.fwmark === 0 && service.protocol !== 'UDP' ? `persistence engine sip is for UDP, not ${service.protocol}` : null;
}

/** Why these are not the key of a destination, or null. */
export function invalidDestinationKey(destination: Destination): string | null {
  if (destination.family !== 'IPv4' && destination.family !== 'IPv6') return `family ${String(destination.family)} is neither IPv4 nor IPv6`;
  return wrongAddress('address', destination.address, destination.family) ?? range('port', destination.port, 0, 65535);
}

/** Whether a row is one of those of which nothing need be asked again: a short look at its numbers. False says nothing. */
export function isSoundRow(service: Service, words: Uint32Array, at: number): boolean {
  if (!isPlainRow(words, at) || service.family !== 'IPv4' || words[at + 9] !== 0) return false;
  const first = words[at + 1]! & 0xff;
  const port = words[at]! & 0xffff;
  const method = FORWARDING_METHODS[words[at + 5]! & 0xff];
  return first > 0 && first < 224 && port > 0 && (method === 'masq' || (method === 'direct' && port === service.port))
    && words[at + 6]! <= MAXIMUM_WEIGHT && words[at + 7]! <= MAXIMUM_THRESHOLD && words[at + 8]! <= words[at + 7]!;
}

/** Why the kernel should not get this destination in this service, or null. */
export function invalidDestination(service: Service, d: Destination): string | null {
  if (d instanceof DestinationRow && isSoundRow(service, d.words, d.at)) return null;
  const key = invalidDestinationKey(d) ?? neverUnicast('address', d.address, d.family);
  if (key !== null) return key;
  if (!FORWARDING_METHODS.includes(d.method)) return `method ${String(d.method)} is none of ${FORWARDING_METHODS.join(', ')}`;
  if (d.family !== service.family && d.method !== 'tunnel') return `an ${d.family} destination in an ${service.family} service needs method tunnel, not ${d.method}`;
  if (service.fwmark === 0 && service.port !== 0) {
    if (d.port === 0 && d.method === 'masq') return 'port 0 in a service that has a port';
    // Only NAT rewrites ports: with the others the packet arrives with the service's, whatever is said here. 0 is a second entry of a
    // real server (agent/way.ts).
    if (d.method !== 'masq' && d.port !== service.port && d.port !== 0) {
      return `port ${d.port} differs from the service's ${service.port}, which method ${d.method} cannot translate`;
    }
  }
  if (!whole(d.weight, 0, MAXIMUM_WEIGHT)) return `weight ${d.weight} is not 0..${MAXIMUM_WEIGHT}`;
  if (!whole(d.upper, 0, MAXIMUM_THRESHOLD)) return `upper threshold ${d.upper} is not 0..${MAXIMUM_THRESHOLD}`;
  if (!whole(d.lower, 0, MAXIMUM_THRESHOLD)) return `lower threshold ${d.lower} is not 0..${MAXIMUM_THRESHOLD}`;
  if (d.lower > d.upper) return `lower threshold ${d.lower} is above the upper ${d.upper}`;
  return invalidTunnel(d);
}

function invalidTunnel(d: Destination): string | null {
  if (!TUNNEL_TYPES.includes(d.tunnelType)) return `tunnel type ${String(d.tunnelType)} is none of ${TUNNEL_TYPES.join(', ')}`;
  if (d.method !== 'tunnel' || d.tunnelType === 'ipip') {
    return d.tunnelPort === 0 && d.tunnelFlags === 0 && d.tunnelType === 'ipip' ? null
      : `tunnel type ${d.tunnelType}, port ${d.tunnelPort}, flags ${d.tunnelFlags} make no sense with ${d.method === 'tunnel' ? 'ipip' : `method ${d.method}`}`;
  }
  const allowed: number[] = d.tunnelType === 'gue' ? [TUNNEL_FLAG.none, TUNNEL_FLAG.checksum, TUNNEL_FLAG.remoteChecksum] : [TUNNEL_FLAG.none, TUNNEL_FLAG.checksum];
  if (!allowed.includes(d.tunnelFlags)) return `tunnel flags ${d.tunnelFlags} are none of ${allowed.join(', ')} for ${d.tunnelType}`;
  if (d.tunnelType === 'gue') return range('tunnel port', d.tunnelPort, 1, 65535);
  return d.tunnelPort === 0 ? null : `tunnel port ${d.tunnelPort} with ${d.tunnelType}, which has none`;
}

/** Why the kernel should not get these timeouts, or null. 0 leaves one as it is. */
export function invalidTimeouts(timeouts: Timeouts): string | null {
  return range('TCP timeout', timeouts.tcp, 0, MAXIMUM_TIMEOUT_SECONDS) ?? range('TCP FIN timeout', timeouts.tcpFin, 0, MAXIMUM_TIMEOUT_SECONDS)
    ?? range('UDP timeout', timeouts.udp, 0, MAXIMUM_TIMEOUT_SECONDS);
}

/** Why the kernel should not get this sync daemon, or null. 0 and '' are the kernel's defaults. */
export function invalidDaemon(daemon: SyncDaemon): string | null {
  if (daemon.role !== 'master' && daemon.role !== 'backup') return `role ${String(daemon.role)} is neither master nor backup`;
  if (!/^[^\s/\0]+$/.test(daemon.interface) || Buffer.byteLength(daemon.interface) > MAXIMUM_INTERFACE_NAME) {
    return `interface ${JSON.stringify(daemon.interface)} is no interface name`;
  }
  if (daemon.group !== '' && (familyOf(daemon.group) === null || classOf(daemon.group) !== 'multicast')) {
    return `group ${JSON.stringify(daemon.group)} is no multicast address`;
  }
  return range('sync id', daemon.syncId, 0, 255) ?? range('maximum length', daemon.maxLength, 0, 65535)
    ?? range('port', daemon.port, 0, 65535) ?? range('TTL', daemon.ttl, 0, 255);
}

function badName(field: string, name: string): string | null {
  return NAME.test(name) && name.length <= MAXIMUM_NAME ? null : `${field} ${JSON.stringify(name)} is no name of 1..${MAXIMUM_NAME} letters, digits and _`;
}

function wrongAddress(field: string, text: string, family: Family): string | null {
  const right = family === 'IPv4' ? ipv4Word(text) >= 0 : familyOf(text) === 'IPv6';
  return right ? null : `${field} ${JSON.stringify(text)} is no ${family} address`;
}

/** Addresses that no host can have alone, as services and as destinations (the kernel refuses them only as destinations). */
function neverUnicast(field: string, text: string, family: Family): string | null {
  if (family === 'IPv4') {
    const first = ipv4Word(text) & 0xff;
    if (first !== 0 && first < 224) return null;
    if (text === '0.0.0.0') return `${field} ${text} is unspecified`;
    if (first === 0) return null;
    return text === '255.255.255.255' ? `${field} ${text} is broadcast` : first < 240 ? `${field} ${text} is multicast` : null;
  }
  const kind = classOf(text);
  return kind === 'unspecified' || kind === 'multicast' || kind === 'linkLocal' ? `${field} ${text} is ${kind === 'linkLocal' ? 'link-local' : kind}` : null;
}
