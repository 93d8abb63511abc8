/**
 * Budget: how many writes the controller may send to the API server: a burst, then so many a second. A change of every program at once then
 * costs a minute and not the API server.
 */
import { Bucket } from '../../kube/bucket.ts';
import { sleep as realSleep, type Sleep } from '../../kube/wait.ts';

export interface BudgetOptions {
  readonly perSecond: number;
  readonly burst: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly sleep?: Sleep;
}

export class Budget {
  readonly #options: BudgetOptions;
  readonly #bucket: Bucket;

  constructor(options: BudgetOptions) {
    this.#options = options;
    this.#bucket = new Bucket({ atOnce: options.burst, perSecond: options.perSecond });
  }

  /** Resolves when one more write may be sent. Rejects with an AbortError. */
  async take(signal: AbortSignal): Promise<void> {
    const { now, sleep = realSleep } = this.#options;
    const waitMs = this.#bucket.reserve(now());
    if (waitMs > 0) await sleep(waitMs, signal);
  }
}
