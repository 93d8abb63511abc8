/**
 * The node half of plan: tunnels, VIPs, local routes, GUE ports, packet-filter rules, timeouts and sync daemons, desired against
 * observed, with the ledger to tell ours from foreign. Pure. Each function plans one kind and says the ledger's next part.
 * Sysctls are in plan-sysctl.ts.
 */
import type { SyncDaemon, Timeouts } from '../kernel/ipvs/types.ts';
import type { IpvsOperation } from '../kernel/ipvs/contract.ts';
import { isEmpty, sameRules, UNREADABLE } from '../kernel/net/rules.ts';
import {
  ADDRESS_PROTOCOL, type Address, type FouPort, type NetfilterRules, type NetObservation, type NetOperation, type SourceNatRule, type Tunnel, type VipAddress,
} from '../kernel/net/types.ts';
import type { Failure } from './apply.ts';
import type { Ledger } from './ledger.ts';
import { deviceOf, planSysctls, type Serves } from './plan-sysctl.ts';
import { keyOf, type SharedState } from './state.ts';

export interface NodeObservation extends NetObservation {
  /** By path; null: no such file. Every desired and every remembered path is in it. */
  readonly sysctls: ReadonlyMap<string, string | null>;
  /** null: not read in this pass, so not planned. */
  readonly rules: NetfilterRules | null;
  /** What could not be read, as the operations that it keeps from being planned. Absent: nothing. */
  readonly unread?: readonly Failure[];
  /** null: nobody wants any and none is remembered, or there is no ip_vs, with which they went. */
  readonly timeouts: Timeouts | null;
  readonly syncDaemons: readonly SyncDaemon[] | null;
  /** The addresses and local routes by key, where somebody had the time to make it. */
  readonly index?: AddressIndex;
}

/** By `link address`. */
export interface AddressIndex { readonly addresses: ReadonlyMap<string, Address>; readonly localRoutes: ReadonlySet<string> }

export interface NodePlanInput {
  readonly shared: SharedState;
  readonly observed: NodeObservation;
  readonly ledger: Ledger;
  /** VIPs that this node refuses now. What already serves them stays as it is, and so does everything they may need. */
  readonly refusedVips: ReadonlySet<string>;
  /** Something of a refused VIP is in the kernel. */
  readonly holding: boolean;
  /** What is wanted was decided on partial facts: nothing may be deleted. */
  readonly additive: boolean;
  readonly serves: Serves;
  /** VIPs that nobody wants and that stay for now, by `link address`. */
  readonly parting: ReadonlySet<string>;
  /** Whether connections that began under a rule may be there although their service has another mode by now. */
  readonly outlived: (rule: SourceNatRule) => boolean;
}

export interface NodePlan {
  /** Before services: tunnels, sysctls, GUE ports, timeouts, rules. */
  readonly prepare: (NetOperation | IpvsOperation)[];
  /** After services are complete: VIPs, their routes, announcements. */
  readonly bind: NetOperation[];
  /** After services are gone: VIPs, tunnels, GUE ports, timeouts, rules, sysctls, in this order. */
  readonly release: (NetOperation | IpvsOperation)[];
  /** What the ledger must say before, and may say after. */
  readonly before: Ledger;
  readonly after: Ledger;
  /** Things that hinder and that we do not change: in words, with what to do. */
  readonly notes: string[];
  /** Present although no manifest asks for it and no ledger knows it: `address on link`. */
  readonly leftovers: string[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export function planNode(given: NodePlanInput): NodePlan {
  const { ledger } = given;
  const plan: NodePlan = { prepare: [], bind: [], release: [], before: { ...ledger }, after: { ...ledger }, notes: [], leftovers: [] };
  const down = given.observed.links.find((l) => l.loopback && !l.up);
  if (down) {
    plan.notes.push(
      `${down.name} is down: local delivery is not to be relied on, and a kernel whose lo was never up refuses every IPv4 real server; run: ip link set ${down.name} up`);
  }
  const remade = remadeTunnels(given);
  const input = { ...given, observed: without(given.observed, remade) };
  planAddresses(input, plan);
  planTunnels(input, remade, plan);
  planSysctl(input, plan);
  planFou(input, plan);
  planTimeouts(input, plan);
  planSync(input, plan);
  planRules(input, plan);
  restoreSysctls(plan);
  return plan;
}

/** Whether what is ours and not wanted may go. */
function mayRelease({ observed, ledger, holding, additive }: NodePlanInput): boolean {
  return observed.complete && !ledger.fresh && !holding && !additive;
}

/** Tunnels of ours that are not what they should be: made anew. The name is a hash of what they should be, so somebody changed them. */
function remadeTunnels({ shared, observed, ledger, additive }: NodePlanInput): ReadonlySet<string> {
  if (!observed.complete || ledger.fresh || additive) return new Set();
  const wrong = observed.links.filter(({ name, kind, tunnelLocal }) => {
    const tunnel = shared.tunnels.get(name)?.value;
    return tunnel && name in ledger.tunnels && (kind !== tunnel.kind || tunnelLocal !== tunnel.local);
  });
  return new Set(wrong.map((l) => l.name));
}

/** With a device go its addresses, routes and sysctls. */
function without(observed: NodeObservation, devices: ReadonlySet<string>): NodeObservation {
  if (devices.size === 0) return observed;
  const { index: _, ...rest } = observed;
  return {
    ...rest,
    links: observed.links.filter((l) => !devices.has(l.name)),
    addresses: observed.addresses.filter((a) => !devices.has(a.link)),
    localRoutes: observed.localRoutes.filter((r) => !devices.has(r.link)),
    sysctls: new Map([...observed.sysctls].map(([path, value]) => [path, devices.has(deviceOf(path) ?? '') ? null : value])),
  };
}

function planSysctl({ shared, observed, ledger, holding, additive, serves }: NodePlanInput, plan: NodePlan): void {
  const present = new Set(observed.links.map((l) => l.name));
  const isNew = (path: string) => {
    const device = deviceOf(path);
    return device !== null && shared.tunnels.has(device) && !present.has(device);
  };
  const { set: writes, restore, before, after, notes } = planSysctls(shared, observed.sysctls, ledger, isNew, holding || additive, serves);
  plan.prepare.push(...writes);
  plan.release.push(...restore);
  plan.notes.push(...notes);
  set(plan, 'sysctls', before, after);
}

/** Sysctls are given back last: until then they may protect what is still there. */
function restoreSysctls(plan: NodePlan): void {
  const isSysctl = (o: NetOperation | IpvsOperation) => o.kind === 'setSysctl';
  plan.release.splice(0, Infinity, ...plan.release.filter((o) => !isSysctl(o)), ...plan.release.filter(isSysctl));
}

function planTunnels(input: NodePlanInput, remade: ReadonlySet<string>, plan: NodePlan): void {
  const { shared, observed, ledger } = input;
  const release = mayRelease(input);
  const before: Record<string, Tunnel> = {};
  const after: Record<string, Tunnel> = {};
  // Before the sysctls of the new devices, which exist only then.
  for (const [name, { value: tunnel }] of shared.tunnels) {
    const link = observed.links.find((l) => l.name === name);
    if (remade.has(name)) plan.prepare.push({ kind: 'delTunnel', name });
    if (!link) plan.prepare.push({ kind: 'addTunnel', tunnel }, { kind: 'linkUp', name });
    else if (!link.up) plan.prepare.push({ kind: 'linkUp', name });
    before[name] = after[name] = tunnel;
  }
  for (const [name, tunnel] of Object.entries(ledger.tunnels)) {
    if (shared.tunnels.has(name)) continue;
    if (!release) before[name] = after[name] = tunnel;
    else if (observed.links.some((l) => l.name === name)) {
      plan.release.push({ kind: 'delTunnel', name });
      before[name] = tunnel;
    }
  }
  set(plan, 'tunnels', before, after);
}

function planFou(input: NodePlanInput, plan: NodePlan): void {
  const { shared, observed, ledger } = input;
  const release = mayRelease(input);
  const open = new Set(observed.fou.map(keyOf.fou));
  const before: Record<string, FouPort> = {};
  const after: Record<string, FouPort> = {};
  for (const [key, { value: fou }] of shared.fou) {
    // Somebody else's port serves as well, and stays theirs; an incomplete list may hide one.
    const ours = key in ledger.fou || (!open.has(key) && observed.complete);
    if (!open.has(key)) plan.prepare.push({ kind: 'addFou', fou });
    if (ours) before[key] = after[key] = fou;
  }
  for (const [key, fou] of Object.entries(ledger.fou)) {
    if (shared.fou.has(key)) continue;
    if (!release) before[key] = after[key] = fou;
    else if (open.has(key)) {
      plan.release.push({ kind: 'delFou', fou });
      before[key] = fou;
    }
  }
  set(plan, 'fou', before, after);
}

function planTimeouts({ shared, observed, ledger, holding, additive }: NodePlanInput, plan: NodePlan): void {
  const now = observed.timeouts;
  const known = ledger.timeouts;
  if (!now) return set(plan, 'timeouts', null, null);
  const same = (a: Timeouts, b: Timeouts) => a.tcp === b.tcp && a.tcpFin === b.tcpFin && a.udp === b.udp;
  if (shared.timeouts) {
    if (!same(now, shared.timeouts)) plan.prepare.push({ kind: 'setTimeouts', timeouts: shared.timeouts });
    const entry = { original: known?.original ?? now, value: shared.timeouts };
    set(plan, 'timeouts', entry, entry);
  } else if (known && !holding && !additive) {
    const restore = same(now, known.value) && !same(now, known.original);
    if (restore) plan.release.push({ kind: 'setTimeouts', timeouts: known.original });
    set(plan, 'timeouts', restore ? known : null, null);
  }
}

function planSync(input: NodePlanInput, plan: NodePlan): void {
  const { shared, observed, ledger } = input;
  if (!observed.syncDaemons) return set(plan, 'syncDaemons', [], []);
  const running = (d: SyncDaemon) => observed.syncDaemons!.find((o) => o.role === d.role);
  const same = (a: SyncDaemon | undefined, b: SyncDaemon) => a !== undefined && a.interface === b.interface && a.syncId === b.syncId;
  const before: SyncDaemon[] = [];
  const after: SyncDaemon[] = [];
  for (const daemon of shared.syncDaemons) {
    const other = running(daemon);
    const known = ledger.syncDaemons.filter((l) => l.role === daemon.role);
    if (other && !same(other, daemon) && !known.some((l) => same(other, l))) {
      const { role, interface: on, syncId } = other;
      plan.notes.push(
        `a sync daemon (${role} on ${on}, id ${syncId}) of somebody else runs here; ours waits until it is stopped: ipvsadm --stop-daemon ${role}`);
      continue;
    }
    if (other && !same(other, daemon)) plan.prepare.push({ kind: 'stopSync', daemon: other });
    if (!same(other, daemon)) plan.prepare.push({ kind: 'startSync', daemon });
    if (!other || known.length > 0) {
      // The one that is being replaced stays known until it is.
      before.push(daemon, ...known.filter((l) => !same(l, daemon)));
      after.push(daemon);
    }
  }
  for (const daemon of ledger.syncDaemons) {
    if (shared.syncDaemons.some((d) => d.role === daemon.role)) continue;
    if (!mayRelease(input)) {
      before.push(daemon);
      after.push(daemon);
    } else if (same(running(daemon), daemon)) {
      plan.release.push({ kind: 'stopSync', daemon });
      before.push(daemon);
    }
  }
  set(plan, 'syncDaemons', before, after);
}

function planRules(input: NodePlanInput, plan: NodePlan): void {
  const { shared, observed, ledger } = input;
  const current = observed.rules;
  for (const { error } of observed.unread ?? []) plan.notes.push(`the packet-filter rules cannot be read, and so are left as they are: ${error.message}`);
  if (current === null) return;
  const wanted = withHeld(withOutlived(shared.rules, current, input), current, input);
  const empty = isEmpty(wanted);
  if (empty && (!ledger.rules || !mayRelease(input))) return;
  // One transaction with everything. When it only takes away, it may wait until the services are gone.
  if (!sameRules(wanted, current)) (empty ? plan.release : plan.prepare).push({ kind: 'setRules', rules: wanted });
  set(plan, 'rules', true, !empty);
}

/**
 * Without the last rule the kernel stops tracking connections, and those that began in NAT hang: it stays for as long as their service is
 * served in another mode, of which it translates nothing.
 */
function withOutlived(wanted: NetfilterRules, current: NetfilterRules, { outlived }: NodePlanInput): NetfilterRules {
  const kept = current.sourceNat.filter(outlived);
  return kept.length === 0 ? wanted : { ...wanted, sourceNat: [...wanted.sourceNat, ...kept] };
}

/** The rules of VIPs that are served although they are refused now stay; all of ours, where it is not certain what is wanted. */
function withHeld(wanted: NetfilterRules, current: NetfilterRules, { ledger, refusedVips, additive }: NodePlanInput): NetfilterRules {
  const all = additive || ledger.fresh;
  if (refusedVips.size === 0 && !all) return wanted;
  const wantedVips = new Set([...wanted.sourceNat, ...wanted.marks, ...wanted.mss].map((r) => r.vip));
  const held = ({ vip }: { readonly vip: string }) => refusedVips.has(vip) || (all && !wantedVips.has(vip) && !vip.startsWith(UNREADABLE));
  return {
    sourceNat: [...wanted.sourceNat, ...current.sourceNat.filter(held)],
    marks: [...wanted.marks, ...current.marks.filter(held)],
    mss: [...wanted.mss, ...current.mss.filter(held)],
  };
}

function planAddresses(input: NodePlanInput, plan: NodePlan): void {
  const { shared, observed, ledger, refusedVips, additive, parting } = input;
  const present = observed.index?.addresses ?? new Map(observed.addresses.map((a) => [`${a.link} ${a.address}`, a]));
  const routes = observed.index?.localRoutes ?? new Set(observed.localRoutes.map((r) => `${r.link} ${r.address}`));
  if (addressesStand(input, present, routes)) return set(plan, 'addresses', ledger.addresses, ledger.addresses);
  const before: Record<string, VipAddress> = {};
  const after: Record<string, VipAddress> = {};
  for (const [key, { value: { vip, announce } }] of shared.vips) {
    const there = present.get(key);
    const ours = key in ledger.addresses || there?.protocol === ADDRESS_PROTOCOL;
    // What an incomplete list does not show may be somebody else's address: added, it would count as ours and be deleted one day.
    if (!there && !ours && !observed.complete) continue;
    // Somebody else's address on the right link serves as well; it is theirs and stays theirs.
    const wrong = there && ours && isWrong(there);
    if (!there || wrong) {
      plan.bind.push({ kind: 'addAddress', vip });
      if (announce) plan.bind.push({ kind: 'announce', vip });
    } else if (!routes.has(key) && observed.complete) {
      plan.bind.push({ kind: 'addLocalRoute', route: vip });
    }
    if (!there || ours) before[key] = after[key] = vip;
  }
  for (const [key, vip] of Object.entries(ledger.addresses)) {
    if (shared.vips.has(key)) continue;
    if (!observed.complete || ledger.fresh || additive || refusedVips.has(vip.address) || parting.has(key)) before[key] = after[key] = vip;
    else if (present.has(key)) {
      plan.release.push({ kind: 'delAddress', vip });
      before[key] = vip;
    }
  }
  for (const [key, a] of present) {
    if (a.protocol === ADDRESS_PROTOCOL && !shared.vips.has(key) && !(key in ledger.addresses)) plan.leftovers.push(`${a.address} on ${a.link}`);
  }
  set(plan, 'addresses', before, after);
}

/** Whether every VIP is there, is ours and is as it should be, and nothing besides: what is found every ten seconds, and says nothing new. */
function addressesStand({ shared, ledger }: NodePlanInput, present: ReadonlyMap<string, Address>, routes: ReadonlySet<string>): boolean {
  let marked = 0;
  for (const [key, { value: { vip } }] of shared.vips) {
    const there = present.get(key);
    if (!there || isWrong(there) || !routes.has(key) || ledger.addresses[key]?.address !== vip.address) return false;
    if (there.protocol === ADDRESS_PROTOCOL) marked++;
  }
  if (Object.keys(ledger.addresses).length !== shared.vips.size) return false;
  for (const { protocol } of present.values()) if (protocol === ADDRESS_PROTOCOL) marked--;
  return marked === 0;
}

/** What an address of ours must not be: lost to somebody else's, or one that connections from this node begin with. */
function isWrong({ family, dadFailed, deprecated }: Address): boolean { return dadFailed || (family === 'IPv6' && !deprecated); }

function set<K extends keyof Ledger>(plan: NodePlan, key: K, before: Ledger[K], after: Ledger[K]): void {
  (plan.before as Mutable<Ledger>)[key] = before;
  (plan.after as Mutable<Ledger>)[key] = after;
}
