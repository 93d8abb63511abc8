/**
 * Bucket: how much of something may happen at once, and how much a second for as long as there is more. It waits for nothing: it says how long
 * others are to. State without effects. Times are milliseconds of any clock, always the same one; it may be set back.
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

  /** Takes leave for one more, if there is. Returns 0, or milliseconds after which to ask again. */
  take(now: number): number {
    this.#fill(now);
    if (this.#left < 1) return this.#until(1);
    this.#left -= 1;
    return 0;
  }

  /** Takes leave for one more in any case. Returns 0, or milliseconds after which it counts: below nothing is a place in the queue. */
  reserve(now: number): number {
    this.#fill(now);
    this.#left -= 1;
    return this.#left < 0 ? this.#until(0) : 0;
  }

  #fill(now: number): void {
    const { atOnce, perSecond } = this.#options;
    this.#left = Math.min(atOnce, this.#left + Math.max(0, now - (this.#at ?? now)) * perSecond / 1000);
    this.#at = now;
  }

  #until(left: number): number { return Math.ceil((left - this.#left) * 1000 / this.#options.perSecond); }
}
