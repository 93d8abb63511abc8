/**
 * The director's part of a program: services with their real servers, the VIP on a NIC, forwarding sysctls, source NAT and marks.
 * What each mode needs is modes.md's table, tested in the lab. Not for the real server's part: desired-real-server.ts.
 */
import { realServersFor, type GroupSettings, type Program, type ProgramAddress, type ProgramService, type RealServer } from '../api/v1alpha1/program.ts';
import { ADDRESS_BITS } from '../ip/ip.ts';
import { DestinationTable } from '../kernel/ipvs/destinations.ts';
import {
  destinationKey, SCHEDULER_FLAG, SERVICE_FLAG, TUNNEL_FLAG,
  type Destination, type ForwardingMethod, type Service, type TunnelType,
} from '../kernel/ipvs/types.ts';
import type { MarkRule, SourceNatRule } from '../kernel/net/types.ts';
import { holds, type Duties } from './duties.ts';
import { interfaceFor, linksToward, type NodeIndex } from './facts.ts';
import type { ForwardedTo } from './health/forwarded.ts';
import { weightKey, type Weights } from './health/weighing.ts';
import { usedHere, type ReadService } from './real-servers.ts';
import type { DesiredService, NodeNeeds, Refusal, SysctlWant, VipBinding } from './state.ts';

const METHOD: Record<Program['spec']['mode'], ForwardingMethod> = { NAT: 'masq', DR: 'direct', TUN: 'tunnel' };
const TUNNEL: Record<'IPIP' | 'GUE' | 'GRE', TunnelType> = { IPIP: 'ipip', GUE: 'gue', GRE: 'gre' };
const CHECKSUM = { None: TUNNEL_FLAG.none, Checksum: TUNNEL_FLAG.checksum, RemoteChecksum: TUNNEL_FLAG.remoteChecksum } as const;

/**
 * `directed` are those of the VIPs that this node is to have services for. It has the address of those that it holds; the others are ready to
 * be taken over: all but the address is there.
 */
export function desiredDirector(
  program: Program, directed: readonly ProgramAddress[], read: readonly ReadService[], group: GroupSettings | null,
  index: NodeIndex, duties: Duties, weights: Weights | null, refusals: Refusal[],
): { services: DesiredService[]; needs: NodeNeeds; checks: ForwardedTo[] } {
  const { owner, spec } = program;
  const refuse = (code: Refusal['code'], message: string, vip?: string) => { refusals.push({ owner, code, message, ...(vip !== undefined && { vip }) }); };
  const missing = missingFeature(program, index);
  const services: DesiredService[] = [];
  const bindings: VipBinding[] = [];
  const sysctls = new Map<string, SysctlWant>();
  const want = (path: string, value: string, onlyFrom?: readonly string[]) => sysctls.set(path, { path, value, ...(onlyFrom ? { onlyFrom } : {}) });
  const sourceNat: SourceNatRule[] = [];
  const marks: MarkRule[] = [];
  const checks: ForwardedTo[] = [];
  if (missing) {
    refuse('KernelFeatureMissing', missing);
    return { services: [], needs: { vips: [], tunnels: [], fou: [], sysctls: [], sourceNat: [], marks: [], mss: [] }, checks: [] };
  }

  for (const { address, family } of directed) {
    if (family === 'IPv6' && !index.facts.capabilities!.ipv6) {
      refuse('KernelFeatureMissing', 'IPv6 is disabled in this kernel or its IPVS', address);
      continue;
    }
    const held = holds(duties, address);
    const nic = interfaceFor(address, group, index);
    if ('problem' in nic) {
      // A director in another network is none for this VIP; who could hold it is said by its group.
      if (held) refuse('NoInterface', nic.problem, address);
      continue;
    }
    // Nobody resolves addresses on lo: a VIP there is reached by routes.
    if (held) bindings.push({ vip: { link: nic.link, family, address }, announce: !index.links.get(nic.link)?.loopback });
    for (const { index: at, realServers } of read) {
      const part = spec.services[at]!;
      const eligible = realServersFor(spec.mode, usedHere(program, realServers, index), family);
      const service = serviceOf(program, part, { address, family });
      if (isForwarded(program)) {
        checks.push(...eligible.map((r) => forwardedTo(program, part, r, family)));
        // Answers bear the VIP, which is an address of the node that holds it: the kernel would drop them as forged.
        if (held && family === 'IPv4') {
          for (const link of new Set([nic.link, ...linksToward(eligible.map((r) => r.address), index)])) want(`net/ipv4/conf/${link}/accept_local`, '1');
        }
      }
      services.push({ service, ...weighed(program, at, eligible, weights), drainSeconds: spec.drainTimeoutSeconds, owner });
      if (part.mark !== 0) {
        for (const p of part.ports) marks.push({ family, protocol: p.protocol, vip: address, firstPort: p.port, lastPort: p.endPort, mark: part.mark });
      }
      if (spec.mode === 'NAT' && spec.sourceAddress !== 'Preserve') {
        const to = spec.sourceAddress === 'VirtualIP' ? address : '';
        for (const p of part.ports) sourceNat.push({ family, protocol: p.protocol, vip: address, firstPort: p.port, lastPort: p.endPort, mark: part.mark, to });
      }
      if (spec.mode === 'NAT') forwardingSysctls(family, new Set([nic.link, ...linksToward(eligible.map((r) => r.address), index)]), want);
    }
  }
  if (services.length > 0) {
    // A deleted destination must let go of its connections, and a persistence template must not pin clients to a drained one.
    want('net/ipv4/vs/expire_nodest_conn', '1');
    want('net/ipv4/vs/expire_quiescent_template', '1');
    // Stateful FORWARD policies and source NAT only see IPVS's NAT with this.
    if (spec.mode === 'NAT') want('net/ipv4/vs/conntrack', '1');
  }
  return { services, needs: { vips: bindings, tunnels: [], fou: [], sysctls: [...sysctls.values()], sourceNat, marks, mss: [] }, checks };
}

/** Whether the real servers of a program are checked through the VIP. */
export function isForwarded({ spec }: Program): boolean {
  return spec.healthCheck?.path === 'Forwarded' && spec.mode !== 'NAT';
}

/** How packets for a VIP of `family` come to a real server: what a check through the VIP has to do likewise. */
export function forwardedTo(program: Program, part: ProgramService, r: RealServer, family: ProgramAddress['family']): ForwardedTo {
  return { family, destination: destinationOf(program, part, r.address, r.port, r.weight) };
}

type Table = Pick<DesiredService, 'destinations' | 'cut' | 'undecided' | 'quiesced'>;

/** The destinations of a service with the weights that their health gives them. */
function weighed(program: Program, at: number, realServers: readonly RealServer[], weights: Weights | null): Table {
  const part = program.spec.services[at]!;
  if (weights === null) return { destinations: tableOf(realServers.map((r) => destinationOf(program, part, r.address, r.port, r.weight))) };
  const [cut, undecided, quiesced] = [new Set<string>(), new Set<string>(), new Set<string>()];
  const destinations = realServers.flatMap((r) => {
    const decided = weights.byServer.get(weightKey(at, r)) ?? { weight: r.weight, reason: 'Written' as const };
    const destination = destinationOf(program, part, r.address, r.port, decided.weight ?? 0);
    if (decided.reason === 'AsBefore') undecided.add(destinationKey(destination));
    if (decided.weight === null) cut.add(destinationKey(destination));
    if (decided.weight === 0 && decided.reason === 'Down') quiesced.add(destinationKey(destination));
    return decided.weight === null ? [] : [destination];
  });
  return {
    destinations: tableOf(destinations),
    ...(cut.size > 0 && { cut }),
    ...(undecided.size > 0 && { undecided }),
    ...(quiesced.size > 0 && { quiesced: true }),
  };
}

/** Each key once: DR and TUN drop the port, so two entries of a program may become one destination. The first counts. */
function tableOf(destinations: readonly Destination[]): DestinationTable {
  const byKey = new Map<string, Destination>();
  for (const d of destinations) if (!byKey.has(destinationKey(d))) byKey.set(destinationKey(d), d);
  return DestinationTable.from([...byKey.values()]);
}

function serviceOf(program: Program, part: ProgramService, vip: ProgramAddress): Service {
  const { scheduler, persistence } = program.spec;
  const first = part.ports[0]!;
  const flags = (scheduler.fallback ? SCHEDULER_FLAG.fallback : 0) | (scheduler.portAware ? SCHEDULER_FLAG.portAware : 0)
    | (scheduler.onePacket ? SERVICE_FLAG.onePacket : 0) | (persistence ? SERVICE_FLAG.persistent : 0);
  const key = part.mark === 0
    ? { protocol: first.protocol, address: vip.address, port: first.port, fwmark: 0 }
    : { protocol: 'TCP' as const, address: '', port: 0, fwmark: part.mark };
  return {
    family: vip.family, ...key, scheduler: scheduler.name, flags,
    timeoutSeconds: persistence?.timeoutSeconds ?? 0,
    prefixLength: persistence ? (vip.family === 'IPv4' ? persistence.ipv4PrefixLength : persistence.ipv6PrefixLength) : ADDRESS_BITS[vip.family],
    engine: persistence?.engine ?? '',
  };
}

function destinationOf(program: Program, part: ProgramService, address: string, port: number, weight: number): Destination {
  const { mode, tunnel, connectionLimits } = program.spec;
  const t = mode === 'TUN' ? tunnel : null;
  return {
    family: address.includes(':') ? 'IPv6' : 'IPv4', address,
    // DR and TUN deliver the packet as it came: the kernel does not check the port, and ipvsadm shows the service's.
    port: mode === 'NAT' ? port : part.mark === 0 ? part.ports[0]!.port : 0,
    method: METHOD[mode], weight, upper: connectionLimits.upper, lower: connectionLimits.lower,
    tunnelType: t ? TUNNEL[t.encapsulation] : 'ipip', tunnelPort: t?.encapsulation === 'GUE' ? t.port : 0, tunnelFlags: t ? CHECKSUM[t.checksum] : 0,
  };
}

type Want = (path: string, value: string, onlyFrom?: readonly string[]) => void;

function forwardingSysctls(family: ProgramAddress['family'], links: ReadonlySet<string>, want: Want): void {
  if (family === 'IPv6') {
    want('net/ipv6/conf/all/forwarding', '1');
    // A forwarding node stops listening to router advertisements, unless told 2: losing the default route would be our doing.
    for (const link of links) want(`net/ipv6/conf/${link}/accept_ra`, '2', ['1']);
    return;
  }
  want('net/ipv4/ip_forward', '1');
  // One-armed NAT: a redirect would teach the real server to bypass us; the kernel takes all OR interface.
  want('net/ipv4/conf/all/send_redirects', '0');
  for (const link of links) want(`net/ipv4/conf/${link}/send_redirects`, '0');
}

function missingFeature(program: Program, index: NodeIndex): string | null {
  const { capabilities, netfilter } = index.facts;
  const { spec } = program;
  if (!capabilities || capabilities.version === null) return 'this kernel has no ip_vs module; install it and run: modprobe ip_vs';
  const { name } = spec.scheduler;
  if (!capabilities.schedulers.has(name)) return `this kernel (${capabilities.kernel}) has no scheduler ${name}; run: modprobe ip_vs_${name}, or choose another`;
  const engine = spec.persistence?.engine;
  if (engine && !capabilities.engines.has(engine)) {
    return `this kernel (${capabilities.kernel}) has no persistence engine ${engine}; run: modprobe ip_vs_pe_${engine}`;
  }
  if (spec.tunnel) {
    const type = TUNNEL[spec.tunnel.encapsulation];
    if (!capabilities.tunnelTypes.has(type)) {
      return `this kernel (${capabilities.kernel}) cannot send ${spec.tunnel.encapsulation} from IPVS; use IPIP, or Linux 5.3 or newer`;
    }
  }
  const rules = spec.services.some((s) => s.mark !== 0) || (spec.mode === 'NAT' && spec.sourceAddress !== 'Preserve');
  if (rules && !netfilter) return 'this needs packet-filter rules (source NAT or port ranges) and neither nft nor iptables works here; install nftables or iptables';
  return null;
}
