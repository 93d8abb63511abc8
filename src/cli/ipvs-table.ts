/**
 * A whole IPVS table as values, in the order that people and `ipvsadm` read it: what `save`, `import` and their texts work on.
 * Not for comparing with the kernel: that is agent/plan's, on packed rows.
 */
import { isCheckMark } from '../agent/health/forwarded.ts';
import { ADDRESS_BITS, canonical, networkOf, toBytes, type Family } from '../ip/ip.ts';
import type { IpvsObservation } from '../kernel/ipvs/contract.ts';
import type { Destination, Protocol, Service } from '../kernel/ipvs/types.ts';

/** A service with its real servers. */
export interface TableEntry {
  readonly service: Service;
  readonly destinations: readonly Destination[];
  /** Line of the text that the service came from, counted from 1; 0 when it came from the kernel. */
  readonly line: number;
}

const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP'];

/** The kernel's table, sorted; without the services that only checks of real servers use, which are nobody's to keep. */
export function tableOf(observation: IpvsObservation): TableEntry[] {
  const meant = [...observation.services.values()].filter(({ service }) => !isCheckMark(service.fwmark));
  return sortTable(meant.map(({ service, destinations }) => ({ service, destinations: destinations.toArray(), line: 0 })));
}

/** Addresses first, fwmarks last; IPv4 before IPv6; by protocol, address as a number, port. Real servers by address and port. */
export function sortTable(entries: readonly TableEntry[]): TableEntry[] {
  return sortedBy(entries, ({ service: s }) => (s.fwmark === 0
    ? `0 ${s.family} ${PROTOCOLS.indexOf(s.protocol)} ${addressKey(s.address)} ${portKey(s.port)}`
    : `1 ${s.fwmark.toString(16).padStart(8, '0')} ${s.family}`))
    .map((entry) => ({ ...entry, destinations: sortedBy(entry.destinations, (d) => `${d.family} ${addressKey(d.address)} ${portKey(d.port)}`) }));
}

/** The IPv4 netmask of a prefix length: 24 is 255.255.255.0. */
export function netmaskOf(length: number): string {
  return networkOf('255.255.255.255', length);
}

/** The prefix length of an IPv4 netmask, or null when its ones are not all in front. */
export function prefixLengthOf(netmask: string): number | null {
  if (canonical(netmask) === null || netmask.includes(':')) return null;
  for (let length = 0; length <= ADDRESS_BITS.IPv4; length++) if (netmaskOf(length) === netmask) return length;
  return null;
}

export function familyOfAddress(address: string): Family {
  return address.includes(':') ? 'IPv6' : 'IPv4';
}

function addressKey(address: string): string {
  return Buffer.from(toBytes(address)).toString('hex');
}

function portKey(port: number): string {
  return String(port).padStart(5, '0');
}

/** Sorts by a text that is computed once for each value. */
function sortedBy<T>(values: readonly T[], key: (value: T) => string): T[] {
  return values.map((value) => ({ value, key: key(value) })).sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)).map(({ value }) => value);
}
