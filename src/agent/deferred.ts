/**
 * Deferred: writing that nobody waits for, soon after it is asked for, and never so often that it takes more than a twentieth of the
 * time: with 10,000 VirtualServers a status takes as long as fifty changes of the kernel. It knows nothing of what is written; what
 * must be on disk before the kernel changes is no matter for it.
 */

/** Pause after a writing, in multiples of the time it took. */
const PAUSE = 20;

export class Deferred {
  readonly #write: () => void;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | null = null;
  /** When the next writing may start, in the milliseconds of `now`. */
  #notBefore = 0;

  /** `write` must not throw. `now`: monotonic milliseconds. */
  constructor(write: () => void, now: () => number = () => performance.now()) {
    this.#write = write;
    this.#now = now;
  }

  /** Writes soon: at once when the event loop is free, if the last writing is long enough ago. */
  ask(): void {
    this.#timer ??= setTimeout(() => this.flush(), Math.max(0, this.#notBefore - this.#now())).unref();
  }

  /** Writes now what was asked for; nothing otherwise. */
  flush(): void {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    const started = this.#now();
    this.#write();
    const ended = this.#now();
    this.#notBefore = ended + PAUSE * (ended - started);
  }
}
