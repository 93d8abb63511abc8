/** What the checker counts, as plain data for metrics: checks by type and reason, how late they began, what did not begin at all. */
import type { CheckType } from './check.ts';
import type { Reason } from './outcome.ts';

/** Upper bounds of lateness in milliseconds; one more bucket holds what is above. */
export const LATENESS_BOUNDS = [1, 5, 10, 20, 50, 100, 250, 500, 1_000, 5_000] as const;

export interface CheckCounts {
  /** Finished checks. */
  readonly results: Map<CheckType, Map<Reason, number>>;
  /** Begun checks by how late they began: LATENESS_BOUNDS, and above. */
  readonly lateness: number[];
  latenessSumMs: number;
  begun: number;
  /** Due times that passed while a check was late or under way: those checks never were. */
  missed: number;
  /** Begun later than they were due because all sockets of their share were in use. */
  delayed: number;
  /** Verdicts that went from Up to Down or back. */
  turns: number;
  /** Most checks that were ever under way at once. */
  mostOpen: number;
}

export function noCounts(): CheckCounts {
  return {
    results: new Map(),
    lateness: new Array<number>(LATENESS_BOUNDS.length + 1).fill(0),
    latenessSumMs: 0, begun: 0, missed: 0, delayed: 0, turns: 0, mostOpen: 0,
  };
}

export function countResult({ results }: CheckCounts, type: CheckType, reason: Reason): void {
  let ofType = results.get(type);
  if (ofType === undefined) results.set(type, ofType = new Map());
  ofType.set(reason, (ofType.get(reason) ?? 0) + 1);
}

export function countBegun(counts: CheckCounts, lateMs: number): void {
  const bucket = LATENESS_BOUNDS.findIndex((bound) => lateMs <= bound);
  counts.lateness[bucket < 0 ? LATENESS_BOUNDS.length : bucket]!++;
  counts.latenessSumMs += lateMs;
  counts.begun++;
}

/** The bound below which `share` (0 to 1) of all checks began; Infinity when that is above the last bound. */
export function latenessBelow({ lateness, begun }: CheckCounts, share: number): number {
  let seen = 0;
  for (const [i, n] of lateness.entries()) {
    seen += n;
    if (seen >= begun * share) return LATENESS_BOUNDS[i] ?? Infinity;
  }
  return 0;
}
