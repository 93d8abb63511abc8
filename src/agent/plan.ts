/**
 * plan: desired state against observed state, as an ordered list of operations plus what the ledger must say. Pure; it is what
 * `ipvs-operator plan` prints. The order, and why:
 *
 *   1 prepare       tunnels, sysctls, GUE ports, timeouts, rules      nothing may arrive before its path is ready
 *   2 create        new services whole, tables built once             add before delete: deleted destinations slow every later add
 *   3 additions     real servers added to live services
 *   4 fields        flags and persistence; then weights, thresholds   a fallback flag must stand before a weight becomes 0, and who takes
 *                                                                     over have theirs
 *   5 bind          VIPs, announcements                               only now may clients come
 *   6 removals      drained real servers
 *   7 schedulers    of live services, one by one                      each costs the kernel an RCU grace period (16 ms)
 *   8 services      of nobody any more                                clients get a reset while the VIP still stands
 *   9 release       VIPs, sysctls, tunnels, rules                     the VIP goes before the ARP policy that hid it
 *
 * Nothing is flushed and nothing foreign appears in any list. An incomplete observation plans no deletion.
 */
import type { IpvsObservation } from '../kernel/ipvs/contract.ts';
import { parseServiceKey, serviceKey } from '../kernel/ipvs/types.ts';
import type { MarkRule, SourceNatRule } from '../kernel/net/types.ts';
import type { DrainRecords } from './drain.ts';
import type { Ledger, ServiceEntry } from './ledger.ts';
import type { Work } from './operation.ts';
import { planIpvs, touchedBy, type IpvsPlan } from './plan-ipvs.ts';
import { planNode, type NodeObservation, type NodePlan } from './plan-node.ts';
import type { DesiredService, NodeState, Refusal, SharedState } from './state.ts';

export interface PlanInput {
  readonly desired: NodeState;
  readonly observed: { readonly ipvs: IpvsObservation; readonly node: NodeObservation | null };
  readonly ledger: Ledger;
  readonly drains: DrainRecords;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Only these services, and nothing of the node unless it was observed; null: everything. */
  readonly scope: ReadonlySet<string> | null;
  readonly noneScheduler: boolean;
  /** VIPs that this node refuses, by the VirtualServer that wants them. */
  readonly refused: ReadonlyMap<string, ReadonlySet<string>>;
  /** Services of others that stand where ours should, as the plan before found them: for those that this one does not look at. Key -> owner. */
  readonly conflicts: ReadonlyMap<string, string>;
  /** What is wanted was decided on partial facts about the node: nothing may be deleted. */
  readonly additive: boolean;
  /** VIPs that nobody wants and that stay for now, by `link address`. */
  readonly parting?: ReadonlySet<string>;
}

export interface Plan {
  readonly operations: readonly Work[];
  /** To be written before the operations are executed; the same object as the input's when nothing changes. */
  readonly ledgerBefore: Ledger;
  /** To be written after all of them succeeded. */
  readonly ledgerAfter: Ledger;
  /** Likewise before and after. */
  readonly drainsBefore: DrainRecords;
  readonly drainsAfter: DrainRecords;
  /** Connections of real servers that drain, by drain key, of the services that were looked at. */
  readonly remaining: ReadonlyMap<string, number>;
  /** Whether everything that was looked at was seen whole. */
  readonly complete: boolean;
  /** Whether it takes another pass, soon, until all is as it is wanted. */
  readonly unfinished: boolean;
  /** Key -> owner. */
  readonly conflicts: ReadonlyMap<string, string>;
  readonly refusals: readonly Refusal[];
  readonly foreign: ForeignReport;
  readonly notes: readonly string[];
  /** Keys of services of which something is to change. Worked out when it is asked for. */
  readonly touched: () => ReadonlySet<string>;
}

/** What is here and not ours. Reported, never touched. */
export interface ForeignReport {
  /** Service keys. */
  readonly services: readonly string[];
  /** `service -> destination` inside services that we adopted. */
  readonly destinations: readonly string[];
  /** `address on link` marked as ours although no ledger remembers it. */
  readonly addresses: readonly string[];
}

export function plan(input: PlanInput): Plan {
  const { desired, observed, ledger, refused, additive } = input;
  const held = (key: string, entry: ServiceEntry) => isHeld(key, refused.get(entry.owner));
  const ipvs = planIpvs({
    desired: desired.services, observed: observed.ipvs, ledger: ledger.services, fresh: ledger.fresh, drains: input.drains, now: input.now,
    scope: input.scope, noneScheduler: input.noneScheduler, held, additive,
  });
  const conflicts = allConflicts(input, ipvs);
  const refusedVips = new Set([...refused.values()].flatMap((vips) => [...vips]));
  const holds = (): boolean => Object.values(ledger.addresses).some((a) => refusedVips.has(a.address))
    || Object.entries(ledger.services).some(([key, entry]) => held(key, entry));
  const node = observed.node ? planNode({
    shared: withoutConflicts(desired, conflicts, ledger), observed: observed.node, ledger, refusedVips, additive,
    serves: servesIn(desired.services), parting: input.parting ?? new Set(),
    outlived: (rule) => outlived(desired.services.get(keyOfRule(rule))),
    holding: refused.size > 0 && holds(),
  }) : null;
  const services = entriesBefore(ledger.services, ipvs);
  const drainsBefore = nextDrains(input.drains, ipvs);
  return {
    operations: [
      ...(node?.prepare ?? []),
      ...ipvs.create, ...ipvs.addDestinations, ...ipvs.setServices, ...ipvs.setDestinations,
      ...(node?.bind ?? []),
      ...ipvs.delDestinations, ...ipvs.setSchedulers, ...ipvs.delServices,
      ...(node?.release ?? []),
    ],
    ledgerBefore: withServices(node?.before ?? ledger, ledger, services),
    ledgerAfter: withServices(node?.after ?? ledger, ledger, entriesAfter(services, ipvs)),
    drainsBefore, drainsAfter: drainsLeft(drainsBefore, ipvs), remaining: ipvs.remaining,
    complete: observed.ipvs.complete && !additive && (observed.node?.complete ?? true) && [...observed.ipvs.services.values()].every((s) => s.complete),
    unfinished: ipvs.remade.size > 0,
    conflicts,
    refusals: [...conflicts].map(([key, owner]) => conflict(key, owner, desired.services.get(key))),
    foreign: { services: ipvs.foreign, destinations: ipvs.kept, addresses: node?.leftovers ?? [] },
    notes: notes(ipvs, node), touched: () => touchedBy(ipvs),
  };
}

/** The service that a rule is for. */
function keyOfRule(rule: SourceNatRule | MarkRule): string {
  return serviceKey({ ...rule, address: rule.vip, port: rule.firstPort, fwmark: rule.mark });
}

/** Whether a service is of another mode than NAT. */
function outlived(service: DesiredService | undefined): boolean {
  return service !== undefined && service.destinations.length > 0 && service.destinations.method(0) !== 'masq';
}

/** Asked only where a sysctl is wanted no more, so the owners of thousands of services are listed only then. */
function servesIn(services: NodeState['services']): (owner: string) => boolean {
  let owners: Set<string> | null = null;
  return (owner) => (owners ??= new Set([...services.values()].map((s) => s.owner))).has(owner);
}

/** A service of a refused VIP; a fwmark service when any of its owner's VIPs of that family is refused. */
function isHeld(key: string, vips: ReadonlySet<string> | undefined): boolean {
  if (!vips || vips.size === 0) return false;
  const service = parseServiceKey(key);
  if (!service) return true;
  const { family, address, fwmark } = service;
  return fwmark === 0 ? vips.has(address) : [...vips].some((vip) => vip.includes(':') === (family === 'IPv6'));
}

function allConflicts({ desired, conflicts, scope }: PlanInput, ipvs: IpvsPlan): Map<string, string> {
  const all = new Map<string, string>();
  if (scope) for (const [key, owner] of conflicts) if (!scope.has(key) && desired.services.has(key)) all.set(key, owner);
  for (const { key, owner } of ipvs.conflicts) all.set(key, owner);
  return all;
}

/**
 * Where somebody else's service stands, nothing of ours may touch its traffic: no rule for it, and no VIP that serves only such
 * (the other may be a keepalived backup, whose address is on another node). A VIP that is bound already stays.
 */
function withoutConflicts({ services, shared }: NodeState, conflicts: ReadonlyMap<string, string>, ledger: Ledger): SharedState {
  if (conflicts.size === 0) return shared;
  const free = (rule: SourceNatRule | MarkRule) => !conflicts.has(keyOfRule(rule));
  const serving = new Set<string>();
  for (const [key, { service }] of services) if (!conflicts.has(key)) serving.add(service.address);
  for (const rule of shared.rules.marks) if (free(rule)) serving.add(rule.vip);
  return {
    ...shared,
    vips: new Map([...shared.vips].filter(([key, { value: { vip, announce } }]) => !announce || serving.has(vip.address) || key in ledger.addresses)),
    rules: { ...shared.rules, sourceNat: shared.rules.sourceNat.filter(free), marks: shared.rules.marks.filter(free) },
  };
}

function conflict(key: string, owner: string, wanted: DesiredService | undefined): Refusal {
  const option = { TCP: 't', UDP: 'u', SCTP: '-sctp-service' }[wanted?.service.protocol ?? 'TCP'];
  const flag = wanted?.service.fwmark ? `-f ${wanted.service.fwmark}` : `-${option} ${key.slice(key.indexOf(' ') + 1)}`;
  const message = `a service ${key} of somebody else stands in this kernel and is left alone; remove it (ipvsadm -D ${flag}), or choose another port or VIP`;
  return { owner, code: 'ForeignConflict', message };
}

function entriesBefore(services: Ledger['services'], { entries }: IpvsPlan): Ledger['services'] {
  if (entries.size === 0) return services;
  const next: Record<string, ServiceEntry> = { ...services };
  for (const [key, entry] of entries) {
    if (entry) next[key] = entry;
    else delete next[key];
  }
  return next;
}

function entriesAfter(services: Ledger['services'], ipvs: IpvsPlan): Ledger['services'] {
  if (ipvs.gone.length === 0) return services;
  const left: Record<string, ServiceEntry> = { ...services };
  for (const key of ipvs.gone) delete left[key];
  return left;
}

function withServices(next: Ledger, old: Ledger, services: Ledger['services']): Ledger {
  if (services === old.services && (next === old || sameButServices(next, old))) return old;
  return { ...next, services };
}

/** What is the same object is not looked into: thousands of addresses are the usual case. */
function sameButServices(a: Ledger, b: Ledger): boolean {
  return Object.keys(a).every((name) => {
    const key = name as keyof Ledger;
    return key === 'services' || a[key] === b[key] || JSON.stringify(a[key]) === JSON.stringify(b[key]);
  });
}

function nextDrains(drains: DrainRecords, ipvs: IpvsPlan): DrainRecords {
  if (ipvs.drains.size === 0) return drains;
  const next = { ...drains };
  for (const [key, record] of ipvs.drains) {
    if (record) next[key] = record;
    else delete next[key];
  }
  return next;
}

function drainsLeft(drains: DrainRecords, { drained }: IpvsPlan): DrainRecords {
  if (drained.size === 0) return drains;
  return Object.fromEntries(Object.entries(drains).filter(([id]) => !drained.has(id)));
}

function notes(ipvs: IpvsPlan, node: NodePlan | null): string[] {
  return [...node?.notes ?? [], ...noteOfKept(ipvs.kept)];
}

/** `kept`: destinations of others in services that we adopted. */
export function noteOfKept(kept: readonly string[]): string[] {
  if (kept.length === 0) return [];
  return [`${kept.length} real servers of somebody else stand in services that we adopted; they are left alone: ${kept.slice(0, 3).join(', ')}`];
}
