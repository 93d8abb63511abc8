/**
 * Weights by node and by pod: the label `ipvs-operator.dev/weight` of a node is a percentage of the weight of every real server on it, whoever
 * wrote that, and the annotation of the same name of a Pod one of the weight of its endpoint, where a VirtualServer asks for it. For machines
 * of several sizes, for a first pod of a new version, and with 0 for one that is to get no new connections. Pure.
 */
import { MAX_WEIGHT } from '../../api/v1alpha1/vocabulary.ts';

/** Largest percentage: more than enough, and no weight gets beyond MAX_WEIGHT. */
const MAX_PERCENT = 65_535;

/** The percentage that a text says; null when it is no whole number from 0 to 65535, as people write one. */
export function percentOf(text: string): number | null {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= MAX_PERCENT ? Number(text) : null;
}

/** These percentages of a weight, rounded once. 0 only when one of them is, or it: a small share of a small weight is still some. */
export function shareOf(weight: number, ...percents: readonly number[]): number {
  if (weight === 0 || percents.includes(0)) return 0;
  return Math.min(MAX_WEIGHT, Math.max(1, Math.round(percents.reduce((w, percent) => w * percent, weight) / 100 ** percents.length)));
}
