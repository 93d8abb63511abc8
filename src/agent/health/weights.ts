/**
 * The weight that a real server has in the kernel, and why: what was written, the verdict of its check, the guards over many, and slow start.
 * Who is not ready is in no program. Pure: one decision for one real server of one service, with the time at which it may change by itself.
 */
import type { Health } from './verdict.ts';
import { stepsOf, warmWeight } from './slowstart.ts';

/** Why a weight is what it is: the one reason that decided. Stable: they appear in status. */
export const WEIGHT_REASONS = {
  Written: 'the weight as it was written; it is healthy, or nobody checks',
  Zero: 'its written weight is 0',
  Down: 'its check fails',
  AsBefore: 'its check has no result yet: it counts as it did before',
  Held: 'its check fails together with all others behind one interface: more likely our own network than all of them',
  Panic: 'its check fails, and too few others of the service are up to do without it',
  SlowStart: 'it came back, or is new, and its weight rises',
} as const;
export type WeightReason = keyof typeof WEIGHT_REASONS;

/** What to do about a real server whose check fails. */
export type OnDown = 'Quiesce' | 'Remove';

export interface WeightCase {
  /** 0 to 65535, as the program says. */
  readonly written: number;
  /** null: it is not checked. */
  readonly health: Health | null;
  /** Of guard.ts: it is among those that are held. */
  readonly held: boolean;
  /** Of panic(): the service has too few without those that are down. */
  readonly panic: boolean;
  readonly onDown: OnDown;
  /** Monotonic milliseconds: when it appeared in a service that had others already; null: it was there from the start. */
  readonly appearedAt: number | null;
  readonly slowStartMs: number;
  readonly scheduler: string;
}

export interface EffectiveWeight {
  /** null: it is to be no destination at all. */
  readonly weight: number | null;
  readonly reason: WeightReason;
  /** Monotonic milliseconds at which the answer is another one without any other cause; null: never. */
  readonly nextChangeAt: number | null;
}

export function effectiveWeight(one: WeightCase, now: number): EffectiveWeight {
  const { written, health, held, panic } = one;
  if (written === 0) return fixed(0, 'Zero');
  if (health === null) return fixed(written, 'Written');
  if (health.state === 'Down') {
    if (held) return fixed(written, 'Held');
    if (panic) return fixed(written, 'Panic');
    return fixed(one.onDown === 'Remove' ? null : 0, 'Down');
  }
  // After a restart of the agent the kernel knows what was decided before, and plan keeps a lower weight that it has; a real server that it does
  // not know is given the benefit of the doubt.
  return health.state === 'Unknown' ? { ...started(one, health, now), reason: 'AsBefore' } : started(one, health, now);
}

/** With its whole weight, unless it came back or appeared a short while ago. */
function started({ written, appearedAt, slowStartMs, scheduler }: WeightCase, health: Health, now: number): EffectiveWeight {
  const from = Math.max(health.recovered ? health.since ?? -Infinity : -Infinity, appearedAt ?? -Infinity);
  if (slowStartMs === 0 || from === -Infinity) return fixed(written, 'Written');
  const { weight, nextChangeAt } = warmWeight(written, { from, windowMs: slowStartMs, steps: stepsOf(scheduler) }, now);
  return { weight, reason: nextChangeAt === null ? 'Written' : 'SlowStart', nextChangeAt };
}

function fixed(weight: number | null, reason: WeightReason): EffectiveWeight {
  return { weight, reason, nextChangeAt: null };
}
