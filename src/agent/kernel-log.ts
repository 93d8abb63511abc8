/**
 * Kernel log: one line for each change of the kernel: the operation, why it is done, and on behalf of which VirtualServer. Of very many one
 * summary, and single lines only at level debug. What an operation looks like is operation.ts's.
 */
import type { Logger } from 'pino';
import { destinationKey, serviceKey } from '../kernel/ipvs/types.ts';
import type { Failure } from './apply.ts';
import { drainKey, type DrainRecords } from './drain.ts';
import type { Ledger } from './ledger.ts';
import { countOperations, formatOperation, isIpvs, unfold, virtualServerOf, type Operation, type Work } from './operation.ts';
import type { DesiredService, SharedState } from './state.ts';

/** What a pass knew. */
export interface PassKnowledge {
  readonly services: ReadonlyMap<string, DesiredService>;
  readonly shared: SharedState;
  /** With what is about to go, which nobody wants any more. */
  readonly ledger: Ledger;
  /** Of before the pass. */
  readonly drains: DrainRecords;
  /** What failed in the pass before. */
  readonly failures: readonly Failure[];
  /** Services of which something else is wanted than in the pass before, and whether something else is wanted of the node. */
  readonly changed: { readonly keys: ReadonlySet<string>; readonly node: boolean };
}

/**
 * `wanted`: something else is wanted than before (a program, its group, what the node holds, health of real servers).
 * `drained`: a real server had its time to leave. `retry`: it failed the time before. `drift`: the kernel was not as it was left.
 */
export type Cause = 'wanted' | 'drained' | 'retry' | 'drift';

/** Above this many operations a pass logs a summary. */
const LOG_SINGLY = 200;

export function logWork(log: Logger, work: readonly Work[], knowledge: PassKnowledge): void {
  const count = countOperations(work);
  const level = count > LOG_SINGLY ? 'debug' : 'info';
  if (count > LOG_SINGLY) log.info({ operations: count, first: formatOperation(unfold(work.slice(0, 1))[0]!) }, 'applying');
  if (!log.isLevelEnabled(level)) return;
  for (const o of unfold(work)) {
    const virtualServer = virtualServerOf(o, (key) => ownerOf(key, knowledge));
    log[level]({ operation: formatOperation(o), cause: causeOf(o, knowledge), virtualServer }, 'kernel');
  }
}

export function causeOf(o: Operation, { drains, failures, changed }: PassKnowledge): Cause {
  if (o.kind === 'delDestination' && drainKey(serviceKey(o.service), destinationKey(o.destination)) in drains) return 'drained';
  const wanted = isIpvs(o) && 'service' in o ? changed.keys.has(serviceKey(o.service)) : changed.node;
  if (wanted) return 'wanted';
  const text = failures.length === 0 ? '' : formatOperation(o);
  return failures.some((f) => formatOperation(f.operation) === text) ? 'retry' : 'drift';
}

/** Who wants what has this key, or wanted it last. */
function ownerOf(key: string, { services, shared, ledger }: PassKnowledge): string | undefined {
  const wants = services.get(key) ?? shared.vips.get(key) ?? shared.tunnels.get(key) ?? shared.sysctls.get(key);
  const owner = wants?.owner ?? ledger.services[key]?.owner ?? ledger.sysctls[key]?.owner;
  const vip = owner === undefined ? ledger.addresses[key]?.address : undefined;
  if (vip === undefined) return owner;
  // Of an address that goes: whoever had a service at it.
  const at = Object.keys(ledger.services).find((service) => service.includes(` ${vip}:`) || service.includes(` [${vip}]:`));
  return at === undefined ? undefined : ledger.services[at]!.owner;
}
