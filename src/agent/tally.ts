/**
 * Tally: counts of what the agent did and met since it started: operations by kind, failures by code, drifts, and services of ours that
 * somebody else removed. For status and metrics. State, no effects.
 */
import { serviceKey } from '../kernel/ipvs/types.ts';
import type { Failure } from './apply.ts';
import type { Ledger } from './ledger.ts';
import { countOperations, type Operation, type Work } from './operation.ts';

/** Services of ours that were gone although nobody here removed them. */
export interface Flushes {
  /** How often some were. */
  readonly times: number;
  /** How many, the last time. */
  readonly services: number;
  /** The last time, in milliseconds since the epoch; null: never. */
  readonly lastAt: number | null;
}

export class Tally {
  /** Those that were done. */
  readonly operations = new Map<Operation['kind'], number>();
  readonly failures = new Map<string, number>();
  /** All operations. */
  total = 0;
  reconciles = 0;
  drifts = 0;
  flushes: Flushes = { times: 0, services: 0, lastAt: null };
  /** Whether a reconcile of everything is behind us: before it, what is missing went with a reboot. */
  #established = false;

  /**
   * One reconcile. `ledger` is that of before it, `failed` what failed in the one before: that is missing for another reason.
   * `now`: milliseconds since the epoch.
   */
  reconciled(work: readonly Work[], failures: readonly Failure[], ledger: Ledger, failed: readonly Failure[], full: boolean, now: number): void {
    this.reconciles++;
    this.total += countOperations(work);
    for (const w of work) {
      if (w.kind === 'addTable') add(this.operations, 'addDestination', w.destinations.length);
      else add(this.operations, w.kind);
    }
    for (const { operation, error } of failures) {
      add(this.failures, error.code);
      // It was asked for, and not done.
      add(this.operations, operation.kind, -1);
    }
    const gone = this.#established ? missing(work, ledger, failed) : 0;
    if (gone > 0) this.flushes = { times: this.flushes.times + 1, services: gone, lastAt: now };
    this.#established ||= full;
  }
}

/** Services that had to be made again. */
function missing(work: readonly Work[], ledger: Ledger, failed: readonly Failure[]): number {
  const again = new Set(failed.flatMap(({ operation: o }) => ('service' in o ? serviceKey(o.service) : [])));
  return work.filter((o) => o.kind === 'addService' && serviceKey(o.service) in ledger.services && !again.has(serviceKey(o.service))).length;
}

function add<K>(counts: Map<K, number>, key: K, count = 1): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}
