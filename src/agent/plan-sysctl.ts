/**
 * The sysctl guard: the value that stood before us is remembered once, drift is repaired, and when the last program that wants a sysctl
 * goes, the remembered value comes back; unless somebody else changed it meanwhile, for then it is theirs. Pure.
 * A director keeps what a VirtualServer once wanted for as long as it serves it: connections outlive an edit of the mode, and those that
 * began in NAT need forwarding to their end.
 * Forwarding needs more: one write of it changes other sysctls, which are put back as they stood.
 */
import type { NetOperation } from '../kernel/net/types.ts';
import type { Ledger, SysctlEntry } from './ledger.ts';
import type { SharedState } from './state.ts';

type Entries = Record<string, SysctlEntry>;
/** Whether this node directs for a VirtualServer. */
export type Serves = (owner: string) => boolean;

/** What one write of forwarding does to a family: net/ipv4/devinet.c inet_forward_change, net/ipv6/addrconf.c addrconf_fixup_forwarding. */
interface Forwarding {
  readonly path: string;
  /** conf/<device>/forwarding and conf/default/forwarding take the same value. */
  readonly devices: RegExp;
  /** Set to the opposite; null: nothing else changes. */
  readonly opposite: string | null;
}

const FORWARDING: readonly Forwarding[] = [
  { path: 'net/ipv4/ip_forward', devices: /^net\/ipv4\/conf\/(?!all\/)[^/]+\/forwarding$/, opposite: 'net/ipv4/conf/all/accept_redirects' },
  { path: 'net/ipv6/conf/all/forwarding', devices: /^net\/ipv6\/conf\/(?!all\/)[^/]+\/forwarding$/, opposite: null },
];

export interface SysctlPlan {
  /** Forwarding first: everything else may depend on what it resets. */
  readonly set: NetOperation[];
  readonly restore: NetOperation[];
  readonly before: Entries;
  readonly after: Entries;
  readonly notes: string[];
}

/** `values`: by path, null where there is no such file. `isNew`: paths of devices that this very plan creates. `hold`: restore nothing now. */
export function planSysctls(
  shared: SharedState, values: ReadonlyMap<string, string | null>, ledger: Ledger, isNew: (path: string) => boolean, hold: boolean, serves: Serves = () => false,
): SysctlPlan {
  const plan: SysctlPlan = { set: [], restore: [], before: {}, after: {}, notes: [] };
  for (const { value: want, owner } of [...shared.sysctls.values()].sort((a, b) => inOrder(a.value.path, b.value.path))) {
    const current = values.get(want.path) ?? null;
    const known = ledger.sysctls[want.path];
    if (isNew(want.path)) {
      // The device's own sysctls come and go with it: nothing to remember.
      plan.set.push({ kind: 'setSysctl', sysctl: { path: want.path, value: want.value }, from: 'new' });
      continue;
    }
    if (current === null) {
      plan.notes.push(`sysctl ${want.path} does not exist: is its module loaded?`);
      if (known) plan.before[want.path] = plan.after[want.path] = known;
      continue;
    }
    const ours = current === want.value || !want.onlyFrom || want.onlyFrom.includes(current);
    if (ours && current !== want.value) plan.set.push({ kind: 'setSysctl', sysctl: { path: want.path, value: want.value }, from: current });
    if ((known || ours) && !ofOurTunnel(want.path, shared)) {
      const first = known?.owner !== undefined && known.owner !== owner && serves(known.owner) ? known.owner : owner;
      plan.before[want.path] = plan.after[want.path] = { original: known?.original ?? current, value: want.value, owner: first };
    }
  }
  for (const path of Object.keys(ledger.sysctls).sort(inOrder)) if (!shared.sysctls.has(path)) planRestore(path, shared, values, ledger, hold, serves, plan);
  for (const forwarding of FORWARDING) sideEffects(forwarding, values, ledger, plan);
  return plan;
}

function planRestore(
  path: string, shared: SharedState, values: ReadonlyMap<string, string | null>, ledger: Ledger, hold: boolean, serves: Serves, plan: SysctlPlan,
): void {
  const entry = ledger.sysctls[path]!;
  const kept = (owner: string | undefined) => owner !== undefined && serves(owner);
  const cause = FORWARDING.find((f) => f.devices.test(path));
  if (hold || kept(entry.owner) || (cause && (shared.sysctls.has(cause.path) || kept(ledger.sysctls[cause.path]?.owner)))) {
    plan.before[path] = plan.after[path] = entry;
    return;
  }
  // Devices are put back behind the write of forwarding; here only where that write was the last thing a killed process did.
  if (cause && values.get(cause.path) !== entry.value) return;
  const current = values.get(path) ?? null;
  // Somebody changed it meanwhile: then it is theirs now, and the ledger forgets it at once.
  if (current === null || current !== entry.value || current === entry.original) return;
  plan.restore.push({ kind: 'setSysctl', sysctl: { path, value: entry.original }, from: current });
  plan.before[path] = entry;
}

/** What a write of forwarding changes besides is put back right behind it; the ledger remembers it meanwhile, in case nobody gets that far. */
function sideEffects({ path, devices, opposite }: Forwarding, values: ReadonlyMap<string, string | null>, ledger: Ledger, plan: SysctlPlan): void {
  for (const [list, entries] of [[plan.set, plan.after], [plan.restore, null]] as const) {
    const at = list.findIndex((o) => o.kind === 'setSysctl' && o.sysctl.path === path);
    const write = list[at];
    if (write?.kind !== 'setSysctl') continue;
    const back: NetOperation[] = [];
    for (const [device, current] of values) {
      if (!devices.test(device)) continue;
      const known = ledger.sysctls[device];
      if (entries) {
        // Going on: a device that forwarded before must forward afterwards too, when this is taken back. One that is remembered and
        // does not forward now was caught between the two writes of a killed restore.
        if (current === '1' || known) plan.before[device] = plan.after[device] = known ?? { original: '1', value: '0' };
      } else if (known && current !== known.value) {
        back.push({ kind: 'setSysctl', sysctl: { path: device, value: known.original }, from: write.sysctl.value });
        plan.before[device] = known;
      }
    }
    const stood = opposite === null ? null : values.get(opposite) ?? null;
    if (opposite !== null && stood !== null) {
      const becomes = write.sysctl.value === '0' ? '1' : '0';
      const known = ledger.sysctls[opposite];
      const original = known?.value === stood ? known.original : stood;
      const planned = plan.restore.findIndex((o) => o.kind === 'setSysctl' && o.sysctl.path === opposite);
      if (planned >= 0) plan.restore.splice(planned, 1);
      if (becomes !== original) {
        back.push({ kind: 'setSysctl', sysctl: { path: opposite, value: original }, from: becomes });
        plan.before[opposite] = { original, value: becomes };
      } else if (known?.value === stood) {
        plan.before[opposite] = known;
      }
    }
    list.splice(list.indexOf(write) + 1, 0, ...back);
  }
}

/** Paths that a plan needs to know besides those that are wanted or remembered: what a write of forwarding would change. */
export function besideForwarding(shared: SharedState, ledger: Ledger, links: readonly { readonly name: string }[], read: (path: string) => string | null): string[] {
  const paths: string[] = [];
  for (const { path, opposite, devices } of FORWARDING) {
    // A device that is remembered alone was left by a killed restore: whether it is to be put back depends on forwarding itself.
    if (Object.keys(ledger.sysctls).some((p) => devices.test(p))) paths.push(path);
    const want = shared.sysctls.get(path)?.value.value;
    if (want === undefined ? !(path in ledger.sysctls) : read(path) === want) continue;
    if (opposite !== null) paths.push(opposite);
    const family = path.startsWith('net/ipv4/') ? 'ipv4' : 'ipv6';
    for (const scope of ['default', ...links.map((l) => l.name)]) paths.push(`net/${family}/conf/${scope}/forwarding`);
  }
  return paths;
}

/** Sysctls of a device of ours need no memory: they go with it. */
function ofOurTunnel(path: string, shared: SharedState): boolean {
  const device = deviceOf(path);
  return device !== null && shared.tunnels.has(device);
}

export function deviceOf(path: string): string | null {
  return /^net\/ipv[46]\/conf\/([^/]+)\//.exec(path)?.[1] ?? null;
}

function inOrder(a: string, b: string): number {
  const rank = (path: string) => (FORWARDING.some((f) => f.path === path) ? 0 : 1);
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}
