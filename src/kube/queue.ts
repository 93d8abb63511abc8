/**
 * Work queue: which keys have to be looked at. A key stands in it once however often it is added; it is worked on by one worker at a time,
 * and once more if it was added meanwhile; failures are tried again, later each time. It knows nothing of what a key means.
 *
 *   add ──> ready ──> active ──┬─ well ────────────────> forgotten
 *            ▲  ▲       │      └─ failed, or retry(key) ─> delayed
 *            │  └───────┘ added meanwhile                    │
 *            └───────────────────── due ─────────────────────┘ <── addAfter
 */
import type { Log } from './types.ts';
import { isAbort, onAbort, sleep as realSleep, type Sleep } from './wait.ts';

export interface WorkQueueOptions {
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly sleep?: Sleep;
  /** The wait after the first failure of a key, doubled with each more up to the longest. Milliseconds. */
  readonly retryMinMs?: number;
  readonly retryMaxMs?: number;
}

export interface RunOptions {
  /** Keys worked on at the same time. */
  readonly workers: number;
  readonly signal: AbortSignal;
  readonly log: Log;
}

export type Handler = (key: string, signal: AbortSignal) => Promise<void>;

export interface QueueStats {
  /** Keys that wait for a worker, are worked on, wait for their time. */
  readonly ready: number;
  readonly active: number;
  readonly delayed: number;
  /** Counted since the start: calls of add, handlers started, ended well, ended badly, waits after failures. */
  readonly added: number;
  readonly started: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly retries: number;
  /** How long the longest-running handler has been at it. Milliseconds. */
  readonly longestActiveMs: number;
}

const RETRY_MIN_MS = 5;
const RETRY_MAX_MS = 300_000;
/** Handlers started before others get the event loop: handlers that do no I/O would keep it for themselves. */
const STARTS_PER_TURN = 32;
/** Timers of Node end at 24 days; the queue looks again long before. */
const MAX_SLEEP_MS = 3_600_000;

export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #sleep: Sleep;
  /** In order of arrival. */
  readonly #ready = new Set<string>();
  /** Key to when its handler started. */
  readonly #active = new Map<string, number>();
  /** Added while active. */
  readonly #again = new Set<string>();
  /** Key to when it is due. */
  readonly #delayed = new Map<string, number>();
  #earliest = Infinity;
  /** Failures in a row. */
  readonly #failures = new Map<string, number>();
  readonly #counts = { added: 0, started: 0, succeeded: 0, failed: 0, retries: 0 };
  #wake: () => void = () => {};
  #running = false;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#sleep = options.sleep ?? realSleep;
  }

  get stats(): QueueStats {
    const now = this.#options.now();
    const since = Math.min(now, ...this.#active.values());
    return { ready: this.#ready.size, active: this.#active.size, delayed: this.#delayed.size, ...this.#counts, longestActiveMs: now - since };
  }

  /** The key is to be worked on, now. */
  add(key: string): void {
    this.#counts.added += 1;
    this.#enqueue(key);
  }

  /** The key is to be worked on in `ms` milliseconds; of two such wishes the earlier one counts. At once when `ms` is not positive. */
  addAfter(key: string, ms: number): void {
    if (!(ms > 0)) return this.add(key);
    const due = this.#options.now() + ms;
    if ((this.#delayed.get(key) ?? Infinity) <= due) return;
    this.#delayed.set(key, due);
    if (due >= this.#earliest) return;
    this.#earliest = due;
    this.#wake();
  }

  /** The key is to be worked on again after its backoff. A handler that throws does the same. */
  retry(key: string): void {
    const { retryMinMs = RETRY_MIN_MS, retryMaxMs = RETRY_MAX_MS } = this.#options;
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.#counts.retries += 1;
    this.addAfter(key, Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(failures, 40)));
  }

  /** The next failure of the key is a first one. A handler that ends well does the same. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /**
   * Works until the signal aborts and the handlers that run have ended; never rejects. What is left stays in the queue for another run.
   * Throws TypeError when it is running already, or without a worker.
   */
  async run(handler: Handler, { workers, signal, log }: RunOptions): Promise<void> {
    if (this.#running) throw new TypeError('the queue is running already');
    if (!(workers >= 1)) throw new TypeError(`a queue needs a worker, not ${workers}`);
    this.#running = true;
    const work = new Set<Promise<void>>();
    let starts = 0;
    try {
      while (!signal.aborted) {
        this.#promote();
        for (const key of this.#ready) {
          if (this.#active.size >= workers) break;
          this.#ready.delete(key);
          const done: Promise<void> = this.#work(key, handler, signal, log).finally(() => {
            work.delete(done);
            this.#wake();
          });
          work.add(done);
          starts += 1;
        }
        if (starts >= STARTS_PER_TURN) {
          starts = 0;
          await new Promise((resolve) => { setImmediate(resolve); });
        }
        if (this.#ready.size > 0 && this.#active.size < workers) continue;
        await this.#idle(signal);
      }
      await Promise.all(work);
    } finally {
      this.#running = false;
    }
  }

  #enqueue(key: string): void {
    if (this.#active.has(key)) this.#again.add(key);
    else {
      this.#ready.add(key);
      this.#wake();
    }
  }

  /** Moves what is due. */
  #promote(): void {
    const now = this.#options.now();
    if (this.#earliest > now) return;
    this.#earliest = Infinity;
    for (const [key, due] of this.#delayed) {
      if (due <= now) {
        this.#delayed.delete(key);
        this.#enqueue(key);
      } else if (due < this.#earliest) this.#earliest = due;
    }
  }

  async #work(key: string, handler: Handler, signal: AbortSignal, log: Log): Promise<void> {
    this.#active.set(key, this.#options.now());
    this.#counts.started += 1;
    const failures = this.#failures.get(key);
    try {
      await handler(key, signal);
      this.#counts.succeeded += 1;
      // Not if the handler itself asked for a retry.
      if (this.#failures.get(key) === failures) this.forget(key);
    } catch (error) {
      if (signal.aborted && isAbort(error)) this.#again.add(key);
      else {
        this.#counts.failed += 1;
        this.retry(key);
        log.warn({ key, err: error, failures: this.#failures.get(key) }, 'work failed; it will be tried again');
      }
    } finally {
      this.#active.delete(key);
      if (this.#again.delete(key)) this.#enqueue(key);
    }
  }

  /** Until something was added, a handler ended, the earliest is due, or the signal aborts. */
  async #idle(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const alarm = new AbortController();
    const detach = onAbort(signal, resolve);
    this.#wake = resolve;
    if (this.#earliest < Infinity) {
      this.#sleep(Math.min(MAX_SLEEP_MS, Math.max(1, this.#earliest - this.#options.now())), alarm.signal).then(resolve, (error: unknown) => {
        // Woken before its time.
        if (!isAbort(error)) throw error;
      });
    }
    await promise;
    this.#wake = () => {};
    detach();
    alarm.abort();
  }
}
