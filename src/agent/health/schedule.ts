/**
 * When a target is checked: on a grid of its own, `period` apart, whose phase is drawn from its key and the node's name. So thousands of
 * targets spread evenly over their period, two directors do not ask the same real server at the same moment, and nothing drifts or bunches
 * up after a pause. Pure; moments are monotonic milliseconds, and no clock is read here.
 */
import { rankOf } from '../ownership/rendezvous.ts';

/** Where in its period a target is checked: 0 to below 1, the same for the same key and salt. */
export function fractionOf(key: string, salt: string): number {
  return rankOf(salt, key).high / 0x1_0000_0000;
}

/** The first moment of the grid after `after`. */
export function nextDue(fraction: number, periodMs: number, after: number): number {
  const phase = fraction * periodMs;
  const due = Math.floor((after - phase) / periodMs + 1) * periodMs + phase;
  // Rounding may land on `after` itself.
  return due > after ? due : due + periodMs;
}

/** Milliseconds that a new target takes of everybody's time, roughly: many new ones are spread over as much time as they need. */
const FIRST_MS_EACH = 0.5;
const FIRST_MS_LEAST = 1_000;

/** The first check of a target: soon, as nothing is known of it, but not all `fresh` new targets at once. */
export function firstDue(fraction: number, periodMs: number, fresh: number, now: number): number {
  return now + fraction * Math.min(periodMs, Math.max(FIRST_MS_LEAST, fresh * FIRST_MS_EACH));
}

/** The second: on the grid, at least half a period later. */
export function secondDue(fraction: number, periodMs: number, first: number): number {
  return nextDue(fraction, periodMs, first + periodMs / 2);
}
