/**
 * Bucket: how much of something may happen at once, and how much a second for as long as there is more. It waits for nothing: who gets no leave
 * asks again later. State without effects.
 */

export interface BucketOptions {
  /** Who was silent may do so much at once. */
  readonly atOnce: number;
  readonly perSecond: number;
}

export class Bucket {
  readonly #options: BucketOptions;
  #left: number;
  #at: number | null = null;

  constructor(options: BucketOptions) {
    this.#options = options;
    this.#left = options.atOnce;
  }

  /** Takes leave for one more. `now`: milliseconds of any clock, always the same one; it may be set back. Returns 0, or milliseconds until there is leave. */
  take(now: number): number {
    const { atOnce, perSecond } = this.#options;
    this.#left = Math.min(atOnce, this.#left + Math.max(0, now - (this.#at ?? now)) * perSecond / 1000);
    this.#at = now;
    if (this.#left < 1) return Math.ceil((1 - this.#left) * 1000 / perSecond);
    this.#left -= 1;
    return 0;
  }
}
