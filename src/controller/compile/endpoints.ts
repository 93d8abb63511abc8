/**
 * Which real servers a VirtualServer may have, with their ports and weights; and which it may not, with the reason. Pure. What its
 * backends offer is sources.ts.
 */
import type { ExclusionReason } from '../../api/v1alpha1/conditions.ts';
import { GUE_PORT, type VirtualServer } from '../../api/v1alpha1/index.ts';
import type { ProgramTunnel } from '../../api/v1alpha1/program.ts';
import { classOf, familyOf, type Family } from '../../ip/ip.ts';
import type { Cluster } from './cluster.ts';
import { percentOf, shareOf } from './node-weight.ts';
import { inRanges, type Pool } from './pools.ts';
import { asksPods, candidatesOf, type Candidate, type SourceProblem } from './sources.ts';

export interface Exclusion {
  readonly backend: string;
  readonly reason: ExclusionReason;
  readonly message: string;
}

export interface Endpoint {
  readonly address: string;
  /** On the real server; 0: the packet's own. */
  readonly port: number;
  readonly weight: number;
  readonly node: string;
}

/** A percentage that is none, of a node's label or of a Pod's annotation. It does not count. */
export interface BadWeight {
  readonly kind: 'Node' | 'Pod';
  /** Of a Pod `namespace/name`. */
  readonly name: string;
  readonly text: string;
}

/** A node that receives for the VIPs, in modes DR and TUN. */
export interface Bind {
  readonly node: string;
  /** Under which directors know the real server. */
  readonly localAddress: string;
}

export interface Endpoints {
  /** For each of spec.ports. */
  readonly eligible: readonly (readonly Endpoint[])[];
  /** Different addresses among them. */
  readonly count: number;
  readonly binds: readonly Bind[];
  /** Nodes that do not receive for the VIPs yet: their real servers are not among the eligible. */
  readonly waiting: readonly string[];
  /** At most EXCLUDED_SHOWN; `excludedCount` has the whole number. */
  readonly excluded: readonly Exclusion[];
  readonly excludedCount: number;
  readonly problems: readonly SourceProblem[];
  readonly badWeights: readonly BadWeight[];
  /** It asks for weights of Pods, and Pods are not known: those do not count. */
  readonly podsUnknown: boolean;
}

export interface EndpointInput {
  readonly server: VirtualServer;
  /** Null: of no pool; then there is no static real server. */
  readonly pool: Pool | null;
  readonly addresses: readonly string[];
  /** Every VIP with one holder. */
  readonly vips: ReadonlyMap<string, string>;
  readonly connectionSync: boolean;
  readonly cluster: Cluster;
}

/** How many exclusions a status shows (api.md). */
export const EXCLUDED_SHOWN = 16;

const NONE: readonly never[] = [];

export function endpointsOf(input: EndpointInput): Endpoints {
  const { server, cluster, addresses } = input;
  const { mode, ports } = server.spec;
  const tunnel = tunnelOf(server);
  const families = new Set(addresses.map((a) => familyOf(a)!));
  const { candidates, standIns, problems } = candidatesOf(server, cluster);
  const eligible = ports.map(() => new Map<string, Endpoint>());
  const seen = new Set<string>();
  const used = new Set<string>();
  /** Backends that have somebody who serves. */
  const served = new Set<number>();
  const binds = new Map<string, Bind>();
  const waiting = new Set<string>();
  const badWeights = new Map<string, BadWeight>();
  const percent = (kind: BadWeight['kind'], name: string, text: string | null): number => {
    const said = text === null ? 100 : percentOf(text);
    if (said === null) badWeights.set(`${kind} ${name}`, { kind, name, text: text! });
    return said ?? 100;
  };
  const weigh = (weight: number, node: string, pod: string): number =>
    shareOf(weight, percent('Node', node, cluster.weightLabel(node)), percent('Pod', pod, pod === '' ? null : cluster.podWeight(pod)));
  const excluded: Exclusion[] = [];
  let excludedCount = 0;
  const exclude = (backend: string, why: Omit<Exclusion, 'backend'>) => {
    excludedCount++;
    if (excluded.length < EXCLUDED_SHOWN) excluded.push({ backend, ...why });
  };
  const take = (candidate: Candidate): void => {
    const { address, backend, weight, targets, origin } = candidate;
    const first = !seen.has(address);
    seen.add(address);
    const why = unfit(candidate, families, input);
    if (why) {
      if (first) exclude(address, why);
      return;
    }
    const node = cluster.nodeOf(address) ?? candidate.node;
    // A static real server outside the cluster is its owner's to prepare; one on a node gets its VIP from the agent there, first.
    const prepared = mode === 'NAT' || (origin === 'static' && cluster.nodeOf(address) === null);
    if (!prepared) binds.set(`${node} ${address}`, { node, localAddress: address });
    if (!prepared && !addresses.every((vip) => cluster.receives(node, vip, { mode, tunnel }))) {
      waiting.add(node);
      return;
    }
    const weighed = weigh(weight, node, candidate.pod);
    for (const [i, target] of targets.entries()) {
      if (target === null) continue;
      if (mode !== 'NAT' && target !== 0 && target !== ports[i]!.port) {
        const { port } = ports[i]!;
        const message = `${address} serves port ${port} on port ${target}, and ${mode} cannot rewrite ports; use mode NAT, or let the real server listen on ${port}`;
        exclude(`${address}:${target}`, { reason: 'PortRemapInDR', message });
        continue;
      }
      const key = `${address} ${target}`;
      if (!eligible[i]!.has(key)) eligible[i]!.set(key, { address, port: target, weight: weighed, node });
      used.add(address);
      served.add(backend);
    }
  };
  for (const candidate of concerned(candidates, families)) take(candidate);
  // A ready Pod on a node that does not receive yet is nobody: without those that go, clients would be refused until it does.
  for (const candidate of concerned(standIns.filter((c) => !served.has(c.backend)), families)) take(candidate);
  return {
    eligible: eligible.map((m) => [...m.values()]), count: used.size, excluded, excludedCount,
    // Thousands of VirtualServers have none of these.
    binds: binds.size === 0 ? NONE : [...binds.values()], waiting: waiting.size === 0 ? NONE : [...waiting], problems: problems.length === 0 ? NONE : problems,
    badWeights: badWeights.size === 0 ? NONE : [...badWeights.values()], podsUnknown: !cluster.podsKnown && asksPods(server),
  };
}

/** Null without mode TUN. */
export function tunnelOf({ spec: { mode, tun } }: VirtualServer): ProgramTunnel | null {
  if (mode !== 'TUN') return null;
  const encapsulation = tun?.encapsulation ?? 'IPIP';
  return { encapsulation, port: encapsulation === 'GUE' ? tun?.port ?? GUE_PORT : 0, checksum: tun?.checksum ?? 'None' };
}

/**
 * A dual-stack Service has each pod twice. Endpoints of a family that no VIP has are none of this VirtualServer's, as long as there are
 * some of its own.
 */
function concerned(candidates: readonly Candidate[], families: ReadonlySet<Family>): readonly Candidate[] {
  const own = (c: Candidate) => families.has(familyOf(c.address)!);
  const other = (c: Candidate) => c.origin !== 'static' && familyOf(c.address) !== null && !own(c);
  return candidates.some((c) => c.origin !== 'static' && own(c)) ? candidates.filter((c) => !other(c)) : candidates;
}

type Unfit = Omit<Exclusion, 'backend'>;

function unfit({ address, origin }: Candidate, families: ReadonlySet<Family>, input: EndpointInput): Unfit | null {
  const { server, pool, vips, connectionSync, cluster } = input;
  const family = familyOf(address);
  if (family === null) return { reason: 'EndpointNotPermitted', message: `${JSON.stringify(address)} is not an IP address` };
  const holder = vips.get(address);
  if (holder) return { reason: 'EndpointNotPermitted', message: `${address} is the VIP of ${holder}: a VIP is never a real server` };
  const kind = classOf(address);
  if (kind !== 'unicast') return { reason: 'EndpointNotPermitted', message: `${address} is a ${kind} address: it is never a real server` };
  if (origin === 'static' && pool !== null && !inRanges(pool.staticBackends, address)) {
    const message = `VIPPool ${pool.name} does not permit ${address} as a static backend; add its network to spec.allowStaticBackendCIDRs`;
    return { reason: 'EndpointNotPermitted', message };
  }
  const { mode } = server.spec;
  if (origin === 'endpoint' && mode !== 'NAT' && cluster.nodeOf(address) === null) {
    const message = `${address} is a pod of its own network, and ${mode} delivers to the network of the node; use mode NAT, or hostNetwork pods`;
    return { reason: 'UnsupportedBackendForMode', message };
  }
  if (families.has(family)) return null;
  if (mode !== 'TUN') return { reason: 'UnsupportedBackendForMode', message: `${address} is ${family} but the VIP is not; only mode TUN crosses families` };
  if (!connectionSync) return null;
  const message = `${address} is ${family} but the VIP is not, and the director group has connectionSync: the kernel refuses both together`;
  return { reason: 'UnsupportedBackendForMode', message };
}
