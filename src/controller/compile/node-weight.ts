/**
 * Weights by node: the label `ipvs-operator.dev/weight` of a node is a percentage of the weight of every real server on it, whoever wrote
 * that. For machines of several sizes, and with 0 for one that is to get no new connections. Pure.
 * Pods are not watched, so there is no such annotation of a Pod.
 */
import { MAX_WEIGHT } from '../../api/v1alpha1/vocabulary.ts';

/** Largest label: as a percentage it is more than enough, and no weight gets beyond MAX_WEIGHT. */
const MAX_PERCENT = 65_535;

/** The percentage that a label says; null when it is no whole number from 0 to 65535, as people write one. */
export function percentOf(label: string): number | null {
  return /^(0|[1-9]\d{0,4})$/.test(label) && Number(label) <= MAX_PERCENT ? Number(label) : null;
}

/** `percent` of a weight, rounded. 0 only when one of them is: a small share of a small weight is still some. */
export function weightOnNode(weight: number, percent: number): number {
  if (weight === 0 || percent === 0) return 0;
  return Math.min(MAX_WEIGHT, Math.max(1, Math.round((weight * percent) / 100)));
}
