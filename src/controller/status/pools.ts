/**
 * Status of pools, groups and VirtualIPs: how many addresses, which members, who has a claim. Pure.
 */
import {
  claimedOf,
  type DirectorGroupStatus, type IPVSNode, type MemberState, type ServerObjects, type VIPPoolStatus, type VirtualIP,
} from '../../api/v1alpha1/index.ts';
import { names } from '../../api/v1alpha1/problems.ts';
import { MAX_MEMBERS } from '../../api/v1alpha1/vocabulary.ts';
import type { Family } from '../../ip/ip.ts';
import { dropCondition, setCondition, type Condition } from '../../kube/conditions.ts';
import { inRanges, readPool, type Range } from '../compile/pools.ts';

/** Longest list of names in a message. */
const NAMES = 20;

type Conditions<S extends { conditions?: unknown }> = NonNullable<S['conditions']>;

const meta = (generation: number | undefined) => (generation === undefined ? {} : { observedGeneration: generation });

/** What is wrong with a pool, or worth knowing: then `ready` all the same. */
export interface PoolRemark { readonly ready: boolean; readonly reason: string; readonly message: string }

export interface PoolSurroundings {
  /** DirectorGroups by name, those that cannot be read too. */
  readonly groups: ReadonlySet<string>;
  readonly pools: Iterable<ServerObjects['VIPPool']>;
  /** Whose an address of these ranges is, when it is never given: `192.0.2.1 is an address of node n1`; null when none is anybody's. */
  readonly reserved: (ranges: readonly Range[]) => string | null;
}

/** The first remark that applies, the gravest first. */
export function poolRemark(pool: ServerObjects['VIPPool'], { groups, pools, reserved }: PoolSurroundings): PoolRemark | null {
  const no = (reason: string, message: string): PoolRemark => ({ ready: false, reason, message });
  const { name } = pool.metadata;
  const group = pool.spec.directorGroupRef?.name;
  if (group !== undefined && !groups.has(group)) {
    return no('DirectorGroupNotFound', `DirectorGroup ${group} does not exist; create it, or correct spec.directorGroupRef of VIPPool ${name}`);
  }
  if (group === undefined && groups.size > 1) return no('DirectorGroupNotFound', `there are ${groups.size} DirectorGroups; name one in spec.directorGroupRef`);
  if (pool.spec.disabled) return no('Disabled', 'spec.disabled is true: claims stay, new ones are refused');
  const { ranges } = readPool(pool);
  const others = [...pools].filter((other) => other.metadata.name !== name && overlap(readPool(other).ranges, ranges)).map((other) => other.metadata.name).sort();
  if (others.length > 0) {
    const message = `VIPPool ${others.slice(0, 5).join(', ')} has some of its addresses too; an address is given once all the same`;
    return { ready: true, reason: 'PoolOverlap', message };
  }
  const whose = reserved(ranges);
  if (whose === null) return null;
  const message = `${whose}: it is never given, and others like it neither; take such addresses out of spec.blocks, or name them in spec.excluded`;
  return { ready: true, reason: 'AddressReserved', message };
}

function overlap(a: readonly Range[], b: readonly Range[]): boolean {
  return a.some((x) => b.some((y) => x.family === y.family && x.first <= y.last && y.first <= x.last));
}

interface Used {
  readonly ipv4: number;
  readonly ipv6: number;
}

export function poolStatus(pool: ServerObjects['VIPPool'], used: Used, remark: PoolRemark | null, now: string): VIPPoolStatus {
  const capacity = { IPv4: 0n, IPv6: 0n };
  const { allocatable, excluded } = readPool(pool);
  // Blocks may overlap, and each address is given once.
  const counted: Record<Family, bigint> = { IPv4: -1n, IPv6: -1n };
  for (const { family, first, last } of [...allocatable].sort((a, b) => (a.first < b.first ? -1 : 1))) {
    const from = first > counted[family] ? first : counted[family] + 1n;
    if (last < from) continue;
    capacity[family] += last - from + 1n;
    counted[family] = last;
  }
  for (const address of excluded) if (inRanges(allocatable, address)) capacity[address.includes(':') ? 'IPv6' : 'IPv4'] -= 1n;
  const { generation } = pool.metadata;
  const full = BigInt(used.ipv4 + used.ipv6) >= capacity.IPv4 + capacity.IPv6;
  // It does what it is for: a pool of one address that is in use must not stop whoever waits until everything is Ready (Flux, Argo CD).
  const exhausted: PoolRemark = { ready: true, reason: 'PoolExhausted', message: 'every address is in use; for another one add a block, or free one' };
  const said = full && remark?.ready !== false ? exhausted : remark;
  const conditions = setCondition(pool.status?.conditions as readonly Condition[] | undefined ?? [],
    { type: 'Ready', status: said?.ready === false ? 'False' : 'True', reason: said?.reason ?? 'Ready', message: said?.message ?? '', ...meta(generation) }, now);
  const text = (n: bigint) => String(n < 0n ? 0n : n);
  return {
    ...meta(generation), capacity: { ipv4: text(capacity.IPv4), ipv6: text(capacity.IPv6) }, allocated: { ipv4: String(used.ipv4), ipv6: String(used.ipv6) },
    conditions: [...conditions] as Conditions<VIPPoolStatus>,
  };
}

export interface Member {
  readonly node: string;
  readonly live: boolean;
  /** Its IPVSNode, when the agent there has reported. */
  readonly report: IPVSNode | undefined;
  /** VIPs of this group that it holds. */
  readonly owned: number;
}

export function groupStatus(group: ServerObjects['DirectorGroup'], members: readonly Member[], now: string): DirectorGroupStatus {
  const { generation } = group.metadata;
  const before = new Map((group.status?.members ?? []).map((m) => [m.node, m]));
  const list = [...members].sort((a, b) => (a.node < b.node ? -1 : 1)).map(({ node, live, report, owned }) => {
    const state = stateOf(live, report);
    const old = before.get(node);
    return { node, state, since: old?.state === state && old.since !== undefined ? old.since : now, ownedVIPs: owned };
  });
  const live = list.filter((m) => m.state === 'Live').length;
  const said = members.length === 0 ? { reason: 'NoMembers', message: 'no node has the labels of spec.nodeSelector; give some nodes these labels' }
    : live === 0 ? { reason: 'NoLiveMember', message: `none of ${members.length} directors is live; look at the agents' pods` } : null;
  let conditions = setCondition(group.status?.conditions as readonly Condition[] | undefined ?? [],
    { type: 'Ready', status: said ? 'False' : 'True', reason: said?.reason ?? 'Ready', message: said?.message ?? '', ...meta(generation) }, now);
  const lost = list.filter((m) => m.state === 'Lost').map((m) => m.node);
  const degraded = said ? null
    : lost.length > 0 ? { reason: 'MemberLost', message: `not live: ${names(lost, NAMES)}` }
      : live === 1 && members.length > 1 ? { reason: 'NoRedundancy', message: 'only one director is live' } : null;
  conditions = degraded
    ? setCondition(conditions, { type: 'Degraded', status: 'True', ...degraded, ...meta(generation) }, now)
    : dropCondition(conditions, 'Degraded');
  return {
    ...meta(generation), members: list.slice(0, MAX_MEMBERS),
    summary: { members: `${live}/${members.length}`, ownedVIPs: list.reduce((n, m) => n + m.ownedVIPs, 0) },
    conditions: [...conditions] as Conditions<DirectorGroupStatus>,
  };
}

function stateOf(live: boolean, report: IPVSNode | undefined): MemberState {
  const reported = report?.status?.agentVersion !== undefined;
  if (!live) return reported ? 'Lost' : 'Pending';
  if (!reported) return 'Pending';
  return report.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'False' && c.reason !== 'ProgramsFailed') ? 'NotReady' : 'Live';
}

/** The controller's part of a VirtualIP's status; who holds it is the owner's to say, and a new owner says this with it. */
export function claimedStatus(vip: VirtualIP, now: string): { claims: number; conditions: Conditions<NonNullable<VirtualIP['status']>> } {
  const { claims, condition } = claimedOf(vip);
  const own = (vip.status?.conditions ?? []).filter((c) => c.type === 'Claimed') as readonly Condition[];
  return { claims, conditions: [...setCondition(own, condition, now)] as Conditions<NonNullable<VirtualIP['status']>> };
}
