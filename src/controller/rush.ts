/**
 * Rush: whether VirtualServers come, or are edited, by the dozen. Then what only tells people of a state on its way waits for the state: each
 * would be written two or three times, on an API server that is busy with taking them in. State without effects.
 */

/** So many within a moment are none yet. */
const ROOM = 20;
/** As many a second may come for ever without being one. */
const PER_SECOND = 5;
/** It is over so long after the last one, at the latest. Seconds. */
const ECHO_SECONDS = 3;

export class Rush {
  readonly #now: () => number;
  #level = 0;
  #at: number;

  /** `now`: monotonic milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
    this.#at = now();
  }

  came(count: number): void {
    this.#level = Math.min(this.#drained() + count, ROOM + ECHO_SECONDS * PER_SECOND);
  }

  get on(): boolean { return this.#drained() > ROOM; }

  #drained(): number {
    const now = this.#now();
    this.#level = Math.max(0, this.#level - (now - this.#at) * PER_SECOND / 1000);
    this.#at = now;
    return this.#level;
  }
}
