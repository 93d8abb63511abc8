/**
 * Liveness: which directors live, by the Leases that they renew. Nobody is taken for dead on the word of a watch that is behind or broken: when
 * no Lease was seen to change for half the time of one, the server itself is asked, and until it answers whoever lived lives. When it did not
 * answer at once, or the watch failed, directors could not renew either, and have the time of two Leases to show themselves: a server that comes
 * back is slow, and all want something of it. What all that means for VirtualServers is status/'s to say.
 */
import { LeaseObserver, type Lease } from '../kube/lease.ts';
import { keyOf, type Log } from '../kube/types.ts';
import { isAbort } from '../kube/wait.ts';

export interface LivenessOptions {
  /** The Leases of all directors, from the server itself. */
  readonly list: (signal: AbortSignal) => Promise<readonly Lease[]>;
  /** How often the watch of Leases has failed so far. */
  readonly errors: () => number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly log: Log;
  /** The server answered: others may count as live now. */
  readonly onAnswer: () => void;
}

/** For how many Leases nobody is taken for dead after the server was away. */
const GRACE = 2;

export class Liveness {
  readonly #options: LivenessOptions;
  readonly #observer = new LeaseObserver();
  /** Keys of the Leases that there are, by the watch. */
  readonly #known = new Set<string>();
  /** The longest Lease that was seen, and the shortest. */
  #longestMs = 0;
  #shortestMs = Infinity;
  /** When the server was last heard, and since when without failing. */
  #heardAt = -Infinity;
  #since = -Infinity;
  /** Something failed since it was last heard. */
  #deaf = false;
  #errors = 0;
  #live: ReadonlySet<string> = new Set();
  #asking = false;
  #signal: AbortSignal | null = null;

  constructor(options: LivenessOptions) {
    this.#options = options;
  }

  /** From now on the server may be asked, until the signal aborts. */
  begin(signal: AbortSignal): void { this.#signal = signal; }

  /** A Lease was seen, as it is now. */
  observe(lease: Lease): void {
    this.#known.add(keyOf(lease));
    this.#see(lease);
  }

  #see(lease: Lease): void {
    const now = this.#options.now();
    const ms = (lease.spec?.leaseDurationSeconds ?? 0) * 1_000;
    if (ms > 0) [this.#longestMs, this.#shortestMs] = [Math.max(this.#longestMs, ms), Math.min(this.#shortestMs, ms)];
    this.#observer.observe(lease, now);
    this.#hear();
  }

  /** A Lease was deleted: its holder is gone at once. */
  forget(lease: Lease): void {
    this.#known.delete(keyOf(lease));
    this.#observer.forget(keyOf(lease));
    const live = new Set(this.#live);
    live.delete(lease.spec?.holderIdentity ?? '');
    this.#live = live;
    this.#hear();
  }

  /** Who lives at this moment. */
  live(): ReadonlySet<string> {
    const now = this.#options.now();
    this.#lookForErrors();
    const unsure = this.#deaf || now - this.#heardAt > this.#shortestMs / 2;
    if (unsure && this.#known.size > 0) void this.#ask();
    const live = this.#observer.live(now);
    if (unsure || now - this.#since <= GRACE * this.#longestMs) for (const name of this.#live) live.add(name);
    return this.#live = live;
  }

  #lookForErrors(): void {
    const errors = this.#options.errors();
    this.#deaf ||= errors !== this.#errors;
    this.#errors = errors;
  }

  #hear(): void {
    const now = this.#options.now();
    // Those of before are over.
    this.#lookForErrors();
    if (this.#deaf) this.#since = now;
    this.#deaf = false;
    this.#heardAt = now;
  }

  /** Never rejects. */
  async #ask(): Promise<void> {
    const { list, log, onAnswer } = this.#options;
    const signal = this.#signal;
    if (this.#asking || signal === null || signal.aborted) return;
    this.#asking = true;
    try {
      // The answer may be older than what the watch said meanwhile: who was deleted by that is not raised by it.
      for (const lease of await list(signal)) if (this.#known.has(keyOf(lease))) this.#see(lease);
      this.#hear();
      onAnswer();
    } catch (error) {
      // Asked again in the next pass.
      this.#deaf = true;
      if (!isAbort(error)) log.debug({ err: error }, 'no Lease was renewed for long, and the API server does not say whether all directors are gone');
    } finally {
      this.#asking = false;
    }
  }
}
