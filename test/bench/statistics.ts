// The arithmetic of the report: medians, ratios of pairs, verdicts. Pure.

import type { Measure, Samples } from './measures.ts';

export interface Spread {
  readonly n: number;
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

export type Verdict = 'aim' | 'must' | 'MISSED';

/** Throws RangeError on no values. */
export function spread(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError('no samples');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { n: sorted.length, min: sorted[0]!, median, max: sorted.at(-1)! };
}

/**
 * The numbers that are judged: for ratios one for each pair, so that what else the machine does falls on both sides of it; otherwise
 * the samples themselves.
 */
export function judged(measure: Measure, { ours, peer }: Samples): number[] {
  if (measure.peer === '') return [...ours];
  return ours.map((own, i) => (measure.unit === 'times faster' ? peer[i]! / own : own / peer[i]!));
}

/** What the median of the judged numbers says. */
export function verdict(measure: Measure, value: number): Verdict {
  const reaches = (bound: number): boolean => (measure.unit === 'times faster' ? value >= bound : value <= bound);
  return reaches(measure.aim) ? 'aim' : reaches(measure.must) ? 'must' : 'MISSED';
}
