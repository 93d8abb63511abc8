/**
 * Slow start: the weight of a real server that came back, or that is new beside others, rises over a window. In few steps, because each
 * costs a message to the kernel (and `mh` rebuilds its whole table for each), and never less than one step at a time. Pure.
 */

/** Steps at most, by what a changed weight costs the scheduler. */
const STEPS = 10;
/** `mh` moves part of all clients at each change of a weight, so they come in two steps; `sh` looks at the weight as it goes. */
const STEPS_MH = 2;

export interface SlowStart {
  /** Monotonic milliseconds: when it came back, or appeared. */
  readonly from: number;
  /** Milliseconds until it has its whole weight; 0: at once. */
  readonly windowMs: number;
  readonly steps: number;
}

export interface WarmWeight {
  readonly weight: number;
  /** Monotonic milliseconds of the next step; null when there is none. */
  readonly nextChangeAt: number | null;
}

export function stepsOf(scheduler: string): number {
  return scheduler === 'mh' ? STEPS_MH : STEPS;
}

/**
 * The weight at `now`: at least 1, never above `full`, never falling as time goes on, `full` from the end of the window on. A weight below
 * the number of steps has fewer steps: each one is a change.
 */
export function warmWeight(full: number, { from, windowMs, steps }: SlowStart, now: number): WarmWeight {
  const n = Math.min(steps, full - 1);
  const elapsed = Math.max(now - from, 0);
  if (n <= 0 || elapsed >= windowMs) return { weight: full, nextChangeAt: null };
  // Step i begins at i/n of the window, as whole milliseconds that timers can hit.
  const beginOf = (i: number) => Math.ceil((i * windowMs) / n);
  let step = Math.floor((elapsed * n) / windowMs);
  while (elapsed < beginOf(step)) step--;
  return { weight: Math.round((full * (step + 1)) / (n + 1)), nextChangeAt: from + beginOf(step + 1) };
}
