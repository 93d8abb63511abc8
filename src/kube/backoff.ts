/** How long to wait after failures in a row: doubled each time, with jitter, back to the start after a time of health. Pure but for its count. */

export interface BackoffOptions {
  /** Shortest and longest wait, in milliseconds. */
  readonly minMs: number;
  readonly maxMs: number;
  /** This long without a failure, counted from the end of the last wait, and the next failure is a first one. */
  readonly resetMs: number;
  /** 0 <= x < 1. */
  readonly random: () => number;
}

export class Backoff {
  readonly #options: BackoffOptions;
  #failures = 0;
  #healthyFrom = -Infinity;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /**
   * The wait after one more failure. The jitter is as large as the wait itself, also at the end of the scale: clients that lost the same
   * server at the same time must not come back together. Always between minMs and maxMs.
   */
  next(now: number): number {
    const { minMs, maxMs, resetMs, random } = this.#options;
    if (now - this.#healthyFrom >= resetMs) this.#failures = 0;
    const base = Math.max(minMs, Math.min(maxMs / 2, minMs * 2 ** Math.min(this.#failures, 40)));
    this.#failures += 1;
    const wait = Math.min(maxMs, base * (1 + random()));
    this.#healthyFrom = now + wait;
    return wait;
  }
}
