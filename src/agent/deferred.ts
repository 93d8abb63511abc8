/**
 * Deferred: writing that nobody waits for, soon after it is asked for, and not so often that it takes more than a twentieth of the
 * time: with 10,000 VirtualServers a status takes as long as fifty changes of the kernel. It knows nothing of what is written; what
 * must be on disk before the kernel changes is no matter for it.
 */

/** Pause after a writing, in multiples of the time it took. */
const PAUSE = 20;
/**
 * And at most so long. A disk that was slow for once, or a process that had to wait for its turn, must not keep what a node is told off the disk
 * for a minute: after a reboot without the API server the node would serve what it was told before. Milliseconds.
 */
const MOST_MS = 5_000;

export interface DeferredOptions {
  /** Monotonic milliseconds. */
  readonly now?: () => number;
  /** Pause between asking and writing. Milliseconds. */
  readonly delayMs?: number;
  /** Writes in pieces, with turns of the event loop between them; must not reject. Absent: `write` does, in one piece. */
  readonly slowly?: () => Promise<void>;
}

export class Deferred {
  readonly #write: () => void;
  readonly #now: () => number;
  readonly #options: DeferredOptions;
  #timer: NodeJS.Timeout | null = null;
  #writing = false;
  /** Asked for while it was being written. */
  #again = false;
  /** When the next writing may start, in the milliseconds of `now`. */
  #notBefore = 0;

  /** `write` must not throw. */
  constructor(write: () => void, options: DeferredOptions = {}) {
    this.#write = write;
    this.#now = options.now ?? (() => performance.now());
    this.#options = options;
  }

  /** Writes soon: when the event loop is free, if the last writing is long enough ago. */
  ask(): void {
    if (this.#writing) this.#again = true;
    else this.#timer ??= setTimeout(() => this.#due(), Math.max(this.#options.delayMs ?? 0, this.#notBefore - this.#now())).unref();
  }

  /** Writes now, in one piece, what was asked for and is not written yet; nothing otherwise. */
  flush(): void {
    if (this.#timer === null && !this.#writing) return;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#again = false;
    const started = this.#now();
    this.#write();
    this.#ended(started);
  }

  #due(): void {
    const { slowly } = this.#options;
    if (!slowly) return this.flush();
    this.#timer = null;
    this.#writing = true;
    const started = this.#now();
    void slowly().finally(() => {
      this.#writing = false;
      this.#ended(started);
      if (this.#again) this.ask();
      this.#again = false;
    });
  }

  #ended(started: number): void {
    const ended = this.#now();
    this.#notBefore = ended + Math.min(PAUSE * (ended - started), MOST_MS);
  }
}
