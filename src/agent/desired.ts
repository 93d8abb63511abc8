/**
 * desired: which part of a program is this node's, in which role, in the kernel's terms. Pure: program + facts in, Fragment out.
 * It decides no policy (which real server is eligible, who may use an address: controller/compile) except to refuse what would hurt
 * this node. The two roles are in desired-director.ts and desired-real-server.ts.
 */
import type { GroupSettings, Program, ProgramAddress } from '../api/v1alpha1/program.ts';
import { classOf, familyOf } from '../ip/ip.ts';
import { desiredDirector } from './desired-director.ts';
import { desiredRealServer, receiving } from './desired-real-server.ts';
import { ALONE, holds, type Duties, type Receiving } from './duties.ts';
import type { NodeIndex } from './facts.ts';
import type { Weights } from './health/weighing.ts';
import { readRealServers, type ReadService } from './real-servers.ts';
import { NO_NEEDS, type Fragment, type NodeNeeds, type Refusal } from './state.ts';

/** `weights`: what a director gives the real servers of a program that are checked; null: what the program says. */
export function desired(program: Program, group: GroupSettings | null, index: NodeIndex, duties: Duties = ALONE, weights: Weights | null = null): Fragment {
  const { owner, spec } = program;
  const refusals: Refusal[] = [];
  const refusedVips: string[] = [];
  const nothing = {
    owner, directorGroup: spec.directorGroup, contentHash: spec.contentHash, role: 'none', services: [], needs: NO_NEEDS, refusals, refusedVips,
  } as const;
  const senseless = contradiction(program);
  if (senseless) {
    refusals.push({ owner, code: 'InvalidProgram', message: senseless });
    return { ...nothing, refusedVips: spec.addresses.map((a) => a.address).filter((address) => holds(duties, address)) };
  }
  const vips = spec.addresses.filter(({ address }) => {
    const problem = reservedHere(address, index, duties);
    if (!problem) return true;
    refusals.push({ owner, code: 'AddressReserved', vip: address, message: problem });
    if (holds(duties, address)) refusedVips.push(address);
    return false;
  });
  const services = readServices(program, refusals);
  const asked = duties.receives.get(owner) ?? [];
  const local = localAddresses(services, asked, index);
  const isDirector = directs(program, group, index, duties, local.size > 0);
  const isRealServer = !isDirector && local.size > 0 && index.facts.role !== 'director';
  if (vips.length === 0 || (!isDirector && !isRealServer)) {
    // What is not this node's part is nothing that it could refuse.
    return vips.length === 0 ? nothing : { ...nothing, refusedVips: [] };
  }
  if (isRealServer) {
    // NAT asks nothing of a real server that is ours to change: its default route is its owner's.
    const needs = spec.mode === 'NAT' ? NO_NEEDS : desiredRealServer(program, vips, local, asked, index);
    return { ...nothing, role: 'realServer', needs };
  }
  // A director that does not hold a VIP and receives for it is a real server only: with a service of its own it would send on what the
  // director that holds the VIP sends to it, and that one back.
  const receives = (v: ProgramAddress) => spec.mode !== 'NAT' && !holds(duties, v.address) && receiving(program, v, local, asked).length > 0;
  const [received, directed] = [vips.filter(receives), vips.filter((v) => !receives(v))];
  const part = desiredDirector(program, directed, services, group, index, duties, weights, refusals);
  refusedVips.push(...directed.map((v) => v.address).filter((address) => holds(duties, address) && !part.needs.vips.some((b) => b.vip.address === address)));
  const needs = received.length === 0 ? part.needs : join(part.needs, desiredRealServer(program, received, local, asked, index));
  return {
    ...nothing,
    role: local.size > 0 ? 'both' : 'director',
    services: part.services,
    needs: compact(needs),
    ...(part.checks.length > 0 && { checks: part.checks }),
  };
}

/** What makes a program impossible to follow, or null. Programs come over a network, or from a file of another version. */
function contradiction({ spec }: Program): string | null {
  if (spec.addresses.length === 0 || spec.services.length === 0) return 'the program has no address or no service';
  if (spec.mode === 'TUN' && !spec.tunnel) return 'the program says TUN and names no tunnel';
  for (const { ports, mark } of spec.services) {
    if (ports.length === 0) return 'a service of the program has no port';
    if (mark === 0 && (ports.length > 1 || ports[0]!.port !== ports[0]!.endPort)) return 'a service of the program has several ports and no mark';
  }
  return null;
}

/** Whether this node directs the group's VIPs. Without a cluster and a group, 'auto' directs unless it is a real server of this program. */
function directs({ spec }: Program, group: GroupSettings | null, index: NodeIndex, duties: Duties, isEndpoint: boolean): boolean {
  const { role, labels } = index.facts;
  if (duties.directs) return duties.directs.has(spec.directorGroup);
  if (role === 'director' || role === 'both') return true;
  if (role === 'real-server') return false;
  if (group?.nodeSelector) return Object.entries(group.nodeSelector).every(([key, value]) => labels[key] === value);
  return !isEndpoint;
}

/** Why this address must never be a VIP of this node; null when it may. Checked here again although compile checked: a program may be forged. */
function reservedHere(address: string, index: NodeIndex, duties: Duties): string | null {
  if (familyOf(address) === null) return `${JSON.stringify(address)} is not an IP address`;
  const kind = classOf(address);
  if (kind !== 'unicast') return `${address} is a ${kind} address and cannot be a VIP`;
  const own = index.own.get(address);
  if (own) return `${address} is this node's own address (${address}/${own.prefixLength} on ${own.link}); choose another VIP, or remove it from the interface`;
  if (duties.reserved.has(address)) return `${address} is an address of a node or of the API server; choose another VIP`;
  return null;
}

function readServices(program: Program, refusals: Refusal[]): ReadService[] {
  const services = readRealServers(program);
  for (const { refused: { length: n, 0: example } } of services) {
    if (n === 0) continue;
    const several = n > 1 ? 's' : '';
    const message = `${n} real server${several} refused, e.g. ${JSON.stringify(example)}: not ip|port|weight|node, or loopback, link-local, multicast or a VIP`;
    refusals.push({ owner: program.owner, code: 'EndpointNotPermitted', message });
  }
  return services;
}

/** The real-server addresses that this node itself has, and those at which it is asked to receive. */
function localAddresses(services: readonly ReadService[], asked: readonly Receiving[], index: NodeIndex): Set<string> {
  const local = new Set<string>();
  for (const { realServers } of services) {
    for (const { address } of realServers) if (index.endpoints.has(address)) local.add(address);
  }
  for (const { localAddress } of asked) if (index.endpoints.has(localAddress)) local.add(localAddress);
  return local;
}

function join(a: NodeNeeds, b: NodeNeeds): NodeNeeds {
  return {
    vips: [...a.vips, ...b.vips], tunnels: [...a.tunnels, ...b.tunnels], fou: [...a.fou, ...b.fou], sysctls: [...a.sysctls, ...b.sysctls],
    sourceNat: [...a.sourceNat, ...b.sourceNat], marks: [...a.marks, ...b.marks], mss: [...a.mss, ...b.mss],
  };
}

function compact(needs: NodeNeeds): NodeNeeds {
  return Object.values(needs).every((list: readonly unknown[]) => list.length === 0) ? NO_NEEDS : needs;
}
