/**
 * Reads what plan-node compares: links, addresses, sysctls, rules, timeouts, daemons. Only what somebody wants or the ledger remembers
 * is read, so a host that is only a real server never touches IPVS, and a host without rules never starts a packet-filter tool.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { NO_RULES, type Address, type NetObservation } from '../kernel/net/types.ts';
import { isModuleMissing, KernelError } from '../kernel/netlink/errors.ts';
import type { Kernel } from './apply.ts';
import type { Ledger } from './ledger.ts';
import type { NodeObservation } from './plan-node.ts';
import { besideForwarding } from './plan-sysctl.ts';
import type { SharedState } from './state.ts';

/** What is gone through between two turns of the event loop, of thousands. */
const AT_ONCE = 256;

export function observeNode(kernel: Kernel, shared: SharedState, ledger: Ledger, net: NetObservation): NodeObservation {
  return { ...net, ...(wantsRules(shared, ledger) ? readRules(kernel, shared) : { rules: null }), ...readRest(kernel, shared, ledger, net) };
}

/** A packet filter whose programs fail must not keep dead real servers in the services of this node: they need none of its rules. */
function readRules({ net }: Kernel, shared: SharedState): Pick<NodeObservation, 'rules' | 'unread'> {
  try {
    return { rules: net.readRules() ?? NO_RULES };
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return { rules: null, unread: [{ operation: { kind: 'setRules', rules: shared.rules }, error }] };
  }
}

/** The same with turns of the event loop in between. Rejects with the signal's reason, and KernelError, also where rules cannot be read. */
export async function observeNodeSlowly(kernel: Kernel, shared: SharedState, ledger: Ledger, signal: AbortSignal): Promise<NodeObservation> {
  const rules = wantsRules(shared, ledger) ? await kernel.net.readRulesSlowly() ?? NO_RULES : null;
  const net = await kernel.net.observeSlowly(signal);
  const index = { addresses: new Map<string, Address>(), localRoutes: new Set<string>() };
  await eachSlowly(net.addresses, (a) => index.addresses.set(`${a.link} ${a.address}`, a), signal);
  await eachSlowly(net.localRoutes, (r) => index.localRoutes.add(`${r.link} ${r.address}`), signal);
  return { ...net, rules, index, ...readRest(kernel, shared, ledger, net) };
}

async function eachSlowly<T>(list: readonly T[], take: (item: T) => void, signal: AbortSignal): Promise<void> {
  for (let i = 0; i < list.length; i++) {
    take(list[i]!);
    if (i % AT_ONCE !== AT_ONCE - 1) continue;
    await turn();
    signal.throwIfAborted();
  }
}

function wantsRules({ rules }: SharedState, ledger: Ledger): boolean {
  return rules.sourceNat.length + rules.marks.length + rules.mss.length > 0 || ledger.rules;
}

function readRest(kernel: Kernel, shared: SharedState, ledger: Ledger, net: NetObservation): Pick<NodeObservation, 'sysctls' | 'timeouts' | 'syncDaemons'> {
  return {
    sysctls: readSysctls(kernel, shared, ledger, net),
    timeouts: shared.timeouts || ledger.timeouts ? unlessMissing(() => kernel.ipvs.timeouts()) : null,
    syncDaemons: shared.syncDaemons.length > 0 || ledger.syncDaemons.length > 0 ? unlessMissing(() => kernel.ipvs.syncDaemons()) : null,
  };
}

/** What `read` returns, or null where there is no ip_vs, and so nothing of the kind. */
function unlessMissing<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (isModuleMissing(error)) return null;
    throw error;
  }
}

function readSysctls(kernel: Kernel, shared: SharedState, ledger: Ledger, net: NetObservation): Map<string, string | null> {
  const beside = besideForwarding(shared, ledger, net.links, (path) => kernel.net.readSysctl(path));
  const paths = new Set([...shared.sysctls.keys(), ...Object.keys(ledger.sysctls), ...beside]);
  const values = new Map<string, string | null>();
  for (const path of paths) values.set(path, kernel.net.readSysctl(path));
  return values;
}

/** Whether any desired sysctl stands differently: the cheap check of every second. */
export function sysctlsDrifted(kernel: Kernel, shared: SharedState): boolean {
  for (const { value: want } of shared.sysctls.values()) {
    const current = kernel.net.readSysctl(want.path);
    if (current !== null && current !== want.value && !(want.onlyFrom && !want.onlyFrom.includes(current))) return true;
  }
  return false;
}
