/**
 * GoodNews: in a rush, whose turn it is to be told that it is Ready. Each status is as much work for the API server as a program, and until
 * the programs are there nobody is served; so some are told at once, a few a second then, and the others when the rush is over. What is not
 * good is none of its business. State without effects.
 */
import { Bucket } from '../kube/bucket.ts';

const PACE = { atOnce: 10, perSecond: 10 };

export class GoodNews {
  readonly #waiting = new Set<string>();
  readonly #next = new Set<string>();
  readonly #pace = new Bucket(PACE);

  /** Whether `key` has to wait with what there is to tell of it now. */
  waits(key: string, good: boolean, inRush: boolean): boolean {
    const waits = !this.#next.delete(key) && good && inRush;
    if (waits) this.#waiting.add(key);
    else this.#waiting.delete(key);
    return waits;
  }

  /** Those whose turn it is now, in order: they are to be asked for once more, and do not wait then. `now`: monotonic milliseconds. */
  *turn(inRush: boolean, now: number): Generator<string> {
    for (const key of this.#waiting) {
      if (inRush && this.#pace.take(now) > 0) return;
      this.#waiting.delete(key);
      this.#next.add(key);
      yield key;
    }
  }

  forget(key: string): void {
    this.#waiting.delete(key);
    this.#next.delete(key);
  }
}
