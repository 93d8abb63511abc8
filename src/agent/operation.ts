/**
 * Operation: one change of the node's kernel, as a value. What `plan` returns, `ipvs-operator plan` prints, `apply` executes and
 * the log shows. The printable form is made here and nowhere else.
 */
import { operationAt } from '../kernel/ipvs/chunk.ts';
import type { IpvsOperation, IpvsWork, TableAddition } from '../kernel/ipvs/contract.ts';
import { destinationKey, SERVICE_FLAG, serviceKey, type Destination, type Service } from '../kernel/ipvs/types.ts';
import type { NetfilterRules, NetOperation } from '../kernel/net/types.ts';

export type Operation = IpvsOperation | NetOperation;

/** What `plan` returns: operations, and tables that are added as one. */
export type Work = Operation | TableAddition;

/** How many operations that is. */
export function countOperations(work: readonly Work[]): number {
  let count = work.length;
  for (const w of work) if (w.kind === 'addTable') count += w.destinations.length - 1;
  return count;
}

/** One operation each: for people, and for whoever looks at single destinations. */
export function unfold<W extends Work>(work: readonly W[]): Exclude<W, TableAddition>[] {
  return work.flatMap((w): Exclude<W, TableAddition>[] => (w.kind === 'addTable'
    ? Array.from({ length: w.destinations.length }, (_, row) => operationAt(w, row) as Exclude<W, TableAddition>)
    : [w as Exclude<W, TableAddition>]));
}

const IPVS_KINDS: ReadonlySet<string> = new Set<IpvsWork['kind']>([
  'addTable',
  'addService', 'setService', 'delService', 'addDestination', 'setDestination', 'delDestination', 'setTimeouts', 'startSync', 'stopSync',
]);

export function isIpvs(work: Work): work is IpvsWork {
  return IPVS_KINDS.has(work.kind);
}

/** The operation in words, one line. */
export function formatOperation(o: Operation): string {
  switch (o.kind) {
    case 'addService': return `add service ${serviceKey(o.service)} ${formatService(o.service)}`;
    case 'setService': return `set service ${serviceKey(o.service)} ${formatService(o.service)} (${o.changed.join(', ')})`;
    case 'delService': return `delete service ${serviceKey(o.service)}`;
    case 'addDestination': return `add real server ${serviceKey(o.service)} -> ${destinationKey(o.destination)} ${formatDestination(o.destination)}`;
    case 'setDestination': {
      const { service, destination, changed } = o;
      return `set real server ${serviceKey(service)} -> ${destinationKey(destination)} ${formatDestination(destination)} (${changed.join(', ')})`;
    }
    case 'delDestination': return `delete real server ${serviceKey(o.service)} -> ${destinationKey(o.destination)}`;
    case 'setTimeouts': return `set timeouts tcp ${o.timeouts.tcp} tcpfin ${o.timeouts.tcpFin} udp ${o.timeouts.udp}`;
    case 'startSync': return `start sync daemon ${o.daemon.role} on ${o.daemon.interface} id ${o.daemon.syncId}`;
    case 'stopSync': return `stop sync daemon ${o.daemon.role}`;
    case 'addTunnel': return `add tunnel ${o.tunnel.name} ${o.tunnel.kind} local ${o.tunnel.local}${o.tunnel.checksum ? ' checksum' : ''}`;
    case 'delTunnel': return `delete tunnel ${o.name}`;
    case 'linkUp': return `set link ${o.name} up`;
    case 'addAddress': return `add address ${o.vip.address} on ${o.vip.link}`;
    case 'delAddress': return `delete address ${o.vip.address} on ${o.vip.link}`;
    case 'addLocalRoute': return `add local route ${o.route.address} on ${o.route.link}`;
    case 'addFou': return `open GUE port ${o.fou.port} ${o.fou.family}`;
    case 'delFou': return `close GUE port ${o.fou.port} ${o.fou.family}`;
    case 'setSysctl': return `set sysctl ${o.sysctl.path} = ${o.sysctl.value} (was ${o.from})`;
    case 'setRules': return `set packet-filter rules: ${formatRules(o.rules)}`;
    case 'announce': return `announce ${o.vip.address} on ${o.vip.link}`;
  }
}

/** Scheduler, flags and persistence as ipvsadm would say them. */
export function formatService(s: Service): string {
  const words = [s.scheduler];
  if (s.flags & SERVICE_FLAG.sched1) words.push('flag-1');
  if (s.flags & SERVICE_FLAG.sched2) words.push('flag-2');
  if (s.flags & SERVICE_FLAG.sched3) words.push('flag-3');
  if (s.flags & SERVICE_FLAG.onePacket) words.push('ops');
  if (s.flags & SERVICE_FLAG.persistent) words.push(`persistent ${s.timeoutSeconds}s/${s.prefixLength}`);
  if (s.engine) words.push(`pe ${s.engine}`);
  return words.join(' ');
}

export function formatDestination(d: Destination): string {
  const words = [d.method === 'tunnel' ? `tunnel/${d.tunnelType}` : d.method, `weight ${d.weight}`];
  if (d.tunnelPort) words.push(`port ${d.tunnelPort}`);
  if (d.tunnelFlags) words.push(`flags ${d.tunnelFlags}`);
  if (d.upper || d.lower) words.push(`limits ${d.lower}..${d.upper}`);
  return words.join(' ');
}

function formatRules(rules: NetfilterRules): string {
  const count = (n: number, what: string) => (n ? [`${n} ${what}`] : []);
  const parts = [...count(rules.sourceNat.length, 'source NAT'), ...count(rules.marks.length, 'mark'), ...count(rules.mss.length, 'MSS')];
  return parts.join(', ') || 'none';
}

/**
 * The VirtualServer on whose behalf an operation is done, '' when it is nobody's any more (a removal).
 * `ownerOf` knows what `plan` knew: service keys, `link address`, tunnel names and sysctl paths.
 */
export function virtualServerOf(o: Operation, ownerOf: (key: string) => string | undefined): string {
  switch (o.kind) {
    case 'addService': case 'setService': case 'delService': case 'addDestination': case 'setDestination': case 'delDestination':
      return ownerOf(serviceKey(o.service)) ?? '';
    case 'addAddress': case 'delAddress': case 'announce': return ownerOf(`${o.vip.link} ${o.vip.address}`) ?? '';
    case 'addLocalRoute': return ownerOf(`${o.route.link} ${o.route.address}`) ?? '';
    case 'addTunnel': return ownerOf(o.tunnel.name) ?? '';
    case 'delTunnel': case 'linkUp': return ownerOf(o.name) ?? '';
    case 'setSysctl': return ownerOf(o.sysctl.path) ?? '';
    default: return '';
  }
}
