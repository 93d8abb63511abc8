/**
 * Alarm: one loop waits, whoever changes something rings. A ring that nobody waited for is kept. It knows when it was rung, not why.
 */
import { childOf, isAbort, type Sleep } from '../kube/wait.ts';

/** Why a wait ends: without a reason each ring would make an error, with a stack that nobody reads. */
const RUNG = 'rung';

export class Alarm {
  readonly #now: () => number;
  readonly #sleep: Sleep;
  #rungAt: number | null;
  #wake: (() => void) | null = null;

  /** `now`: monotonic milliseconds. It begins rung. */
  constructor(now: () => number, sleep: Sleep) {
    this.#now = now;
    this.#sleep = sleep;
    this.#rungAt = now();
  }

  ring(): void {
    this.#rungAt ??= this.#now();
    this.#wake?.();
  }

  /** Resolves to when it was first rung since the last `clear`; or, when it was not, after `ms`, to now. Rejects with an AbortError. */
  async wait(ms: number, signal: AbortSignal): Promise<number> {
    if (this.#rungAt !== null) return this.#rungAt;
    const { controller: either, detach } = childOf(signal);
    this.#wake = () => either.abort(RUNG);
    try {
      await this.#sleep(ms, either.signal);
    } catch (error) {
      if (!isAbort(error) || signal.aborted) throw error;
    } finally {
      this.#wake = null;
      detach();
    }
    return this.#rungAt ?? this.#now();
  }

  /** What rang is being looked at. */
  clear(): void { this.#rungAt = null; }
}
