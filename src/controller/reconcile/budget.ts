/**
 * Budget: how many writes the controller may send to the API server. A token bucket: a burst, then so many a second. A change of every
 * program at once then costs a minute and not the API server.
 */
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
  #tokens: number;
  #at: number;

  constructor(options: BudgetOptions) {
    this.#options = options;
    this.#tokens = options.burst;
    this.#at = options.now();
  }

  /** Resolves when one more write may be sent. Rejects with an AbortError. */
  async take(signal: AbortSignal): Promise<void> {
    const { perSecond, burst, now, sleep = realSleep } = this.#options;
    const time = now();
    this.#tokens = Math.min(burst, this.#tokens + (time - this.#at) * perSecond / 1000);
    this.#at = time;
    // Below zero is a place in the queue.
    this.#tokens -= 1;
    if (this.#tokens < 0) await sleep(Math.ceil(-this.#tokens * 1000 / perSecond), signal);
  }
}

/** Runs `work` on all items, `width` at a time. Rejects with an AbortError; other errors go to `failed`, and the rest goes on. */
export async function inParallel<T>(items: Iterable<T>, width: number, signal: AbortSignal, work: (item: T) => Promise<void>, failed: (item: T, error: unknown) => void): Promise<void> {
  const queue = items[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (let next = queue.next(); !next.done; next = queue.next()) {
      signal.throwIfAborted();
      try {
        await work(next.value);
      } catch (error) {
        if (signal.aborted) throw error;
        failed(next.value, error);
      }
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
}
