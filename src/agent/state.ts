/**
 * NodeState: what one node should be, in the kernel's terms, with the VirtualServers that want each piece. The join of one
 * `Fragment` per program. Values only; how a fragment comes about is desired.ts, what it takes to get there is plan.ts.
 */
import type { GroupSettings } from '../api/v1alpha1/program.ts';
import type { DestinationTable } from '../kernel/ipvs/destinations.ts';
import { serviceKey, type Service, type SyncDaemon, type Timeouts } from '../kernel/ipvs/types.ts';
import type { ForwardedTo } from './health/forwarded.ts';
import type { FouPort, MarkRule, MssRule, NetfilterRules, SourceNatRule, Tunnel, VipAddress } from '../kernel/net/types.ts';

/** Why a piece of a program is not on this node. The same codes feed status and logs; docs/errors.md is made from this table. */
export const REFUSAL_CODES = {
  AddressReserved: "The VIP is an address of this node itself, or of a class that is never a VIP. Choose another, or take it off the interface.",
  NoInterface: 'No NIC of this node has a subnet that holds the VIP, or the NIC that the DirectorGroup names is not here.',
  KernelFeatureMissing: 'A scheduler, engine, tunnel type, IPv6 or packet filter is missing in this kernel; the message says what to load or choose.',
  ForeignConflict: 'A service of somebody else stands where ours should. It is left alone; the message has the command that removes it.',
  EndpointNotPermitted: 'A real server that may not be one: loopback, link-local, multicast, a VIP, or not readable.',
  PortConflict: 'Another program has this address, protocol and port on this node and keeps it. For a moment, a port that moves from one VirtualServer to another; for long, only a program that was written by hand.',
  InvalidProgram: 'A program that says nothing sensible; it did not come from our compiler.',
} as const;

export type RefusalCode = keyof typeof REFUSAL_CODES;

export interface Refusal {
  readonly owner: string;
  readonly code: RefusalCode;
  /** The one VIP of its VirtualServer that it is about; absent: all of them. */
  readonly vip?: string;
  /** What is wrong and what to do. */
  readonly message: string;
}

export interface DesiredService {
  readonly service: Service;
  readonly destinations: DestinationTable;
  /** How long a real server that leaves keeps its connections. */
  readonly drainSeconds: number;
  readonly owner: string;
  /** destinationKey() of those that leave at once, without a drain: nobody answers there. Absent: none. */
  readonly cut?: ReadonlySet<string>;
  /** destinationKey() of those of whose health nothing is known yet: a lower weight that the kernel has stays. Absent: none. */
  readonly undecided?: ReadonlySet<string>;
  /** One has weight 0 because its check fails. */
  readonly quiesced?: boolean;
}

export interface VipBinding {
  readonly vip: VipAddress;
  /** Directors announce; real servers must keep quiet. */
  readonly announce: boolean;
}

export interface SysctlWant {
  readonly path: string;
  readonly value: string;
  /** Only a current value among these is replaced; absent: any. (accept_ra 1 -> 2, never 0 -> 2.) */
  readonly onlyFrom?: readonly string[];
}

/** Everything one program wants of this node. */
export interface Fragment {
  readonly owner: string;
  readonly directorGroup: string;
  /** Of the program that it was made of. */
  readonly contentHash: string;
  /** 'none': this node has no part in it. */
  readonly role: 'director' | 'realServer' | 'both' | 'none';
  readonly services: readonly DesiredService[];
  /** Real servers that are checked through a VIP. Absent: none. */
  readonly checks?: readonly ForwardedTo[];
  readonly needs: NodeNeeds;
  readonly refusals: readonly Refusal[];
  /** VIPs of the program that this node refuses to look after. What serves them already goes on serving: a refusal breaks no connection. */
  readonly refusedVips: readonly string[];
}

/** The part of a fragment that is shared between programs and joined by reference. */
export interface NodeNeeds {
  readonly vips: readonly VipBinding[];
  readonly tunnels: readonly Tunnel[];
  readonly fou: readonly FouPort[];
  readonly sysctls: readonly SysctlWant[];
  readonly sourceNat: readonly SourceNatRule[];
  readonly marks: readonly MarkRule[];
  readonly mss: readonly MssRule[];
}

export const NO_NEEDS: NodeNeeds = { vips: [], tunnels: [], fou: [], sysctls: [], sourceNat: [], marks: [], mss: [] };

export interface NodeState {
  /** By serviceKey(). */
  readonly services: ReadonlyMap<string, DesiredService>;
  readonly shared: SharedState;
}

/** The joined needs of all programs. Maps keep the first value and every owner. */
export interface SharedState {
  /** By `link address`. */
  readonly vips: ReadonlyMap<string, Owned<VipBinding>>;
  readonly tunnels: ReadonlyMap<string, Owned<Tunnel>>;
  /** By `family port`. */
  readonly fou: ReadonlyMap<string, Owned<FouPort>>;
  readonly sysctls: ReadonlyMap<string, Owned<SysctlWant>>;
  readonly rules: NetfilterRules;
  readonly timeouts: Timeouts | null;
  readonly syncDaemons: readonly SyncDaemon[];
}

export interface Owned<T> {
  readonly value: T;
  /** One VirtualServer that wants it: the first by name. */
  readonly owner: string;
}

/** Keys under which the joined state and the ledger know a piece. */
export const keyOf = {
  vip: (v: VipAddress) => `${v.link} ${v.address}`,
  fou: (f: FouPort) => `${f.family} ${f.port}`,
};

/** Joins what programs want of the node. Order does not matter: the result is sorted where it is a list. */
export function joinNeeds(fragments: Iterable<Fragment>, groups: Iterable<GroupSettings>): SharedState {
  const vips = new Map<string, Owned<VipBinding>>();
  const tunnels = new Map<string, Owned<Tunnel>>();
  const fou = new Map<string, Owned<FouPort>>();
  const sysctls = new Map<string, Owned<SysctlWant>>();
  const sourceNat = new Map<string, SourceNatRule>();
  const marks = new Map<string, MarkRule>();
  const mss = new Map<string, MssRule>();
  const directed = new Set<string>();
  for (const { owner, needs, role, directorGroup } of fragments) {
    if (role === 'director' || role === 'both') directed.add(directorGroup);
    if (needs === NO_NEEDS) continue;
    for (const value of needs.vips) put(vips, keyOf.vip(value.vip), value, owner);
    for (const value of needs.tunnels) put(tunnels, value.name, value, owner);
    for (const value of needs.fou) put(fou, keyOf.fou(value), value, owner);
    for (const value of needs.sysctls) put(sysctls, value.path, value, owner);
    for (const rule of needs.sourceNat) sourceNat.set(ruleKey(rule), rule);
    for (const rule of needs.marks) marks.set(ruleKey(rule), rule);
    // Two programs may share a VIP with different tunnels: the smaller MSS is right for both.
    for (const rule of needs.mss) {
      const key = `${rule.family} ${rule.vip}`;
      const other = mss.get(key);
      if (!other || rule.mss < other.mss) mss.set(key, rule);
    }
  }
  return {
    vips, tunnels, fou, sysctls,
    rules: { sourceNat: sorted(sourceNat), marks: sorted(marks), mss: sorted(mss) },
    ...groupState([...groups].filter((g) => directed.has(g.name))),
  };
}

/** Timeouts and daemons are the node's, so a node that directs for several groups obeys the first by name that says something. */
function groupState(groups: readonly GroupSettings[]): Pick<SharedState, 'timeouts' | 'syncDaemons'> {
  let timeouts: Timeouts | null = null;
  let syncDaemons: SyncDaemon[] = [];
  for (const group of groups.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (group.timeouts && !timeouts) timeouts = group.timeouts;
    if (group.connectionSync && syncDaemons.length === 0) {
      // Both roles on every director, with one sync id: each sends what it forwards and learns what the others forward.
      const { interface: name, syncId } = group.connectionSync;
      syncDaemons = (['master', 'backup'] as const).map((role) => ({ role, interface: name, syncId, maxLength: 0, group: '', port: 0, ttl: 0 }));
    }
  }
  return { timeouts, syncDaemons };
}

/** Services by key, and who wants each that more than one program wants. */
export interface JoinedServices {
  readonly services: Map<string, DesiredService>;
  readonly contested: Map<string, Set<string>>;
}

/**
 * Services of all fragments. Compile gives a key to one program only, but programs come one after the other, and may be forged: who is in
 * place (`before`) stays, else the first by name has it.
 */
export function joinServices(fragments: Iterable<Fragment>, before: ReadonlyMap<string, DesiredService> = new Map()): JoinedServices {
  const services = new Map<string, DesiredService>();
  const contested = new Map<string, Set<string>>();
  for (const fragment of fragments) {
    for (const desired of fragment.services) {
      const key = serviceKey(desired.service);
      const present = services.get(key);
      if (present) contested.set(key, (contested.get(key) ?? new Set([present.owner])).add(desired.owner));
      if (!present || outranks(desired.owner, present.owner, before.get(key)?.owner)) services.set(key, desired);
    }
  }
  return { services, contested };
}

function outranks(owner: string, other: string, inPlace: string | undefined): boolean {
  return owner === inPlace || (other !== inPlace && owner < other);
}

/** Whether two fragments ask the same of the node apart from their services. */
export function sameNeeds(a: NodeNeeds, b: NodeNeeds): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

function put<T>(map: Map<string, Owned<T>>, key: string, value: T, owner: string): void {
  const present = map.get(key);
  if (!present || owner < present.owner) map.set(key, { value, owner });
}

function ruleKey(rule: SourceNatRule | MarkRule): string {
  return [rule.family, rule.vip, rule.protocol, String(rule.firstPort).padStart(5, '0'), String(rule.lastPort).padStart(5, '0'), rule.mark].join(' ');
}

function sorted<T>(map: Map<string, T>): T[] {
  return [...map.entries()].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, value]) => value);
}
