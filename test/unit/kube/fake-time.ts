/** Time that passes when it is told to, for code that takes `now` and `sleep`. */
import { AbortError, type Sleep } from '../../../src/kube/wait.ts';

const MAX_TIMER_MS = 2 ** 31 - 1;

interface Alarm {
  readonly at: number;
  readonly order: number;
  readonly ring: () => void;
}

export class FakeTime {
  #now = 0;
  #order = 0;
  readonly #alarms = new Set<Alarm>();

  readonly now = (): number => this.#now;

  readonly sleep: Sleep = (ms, signal) => new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new AbortError(signal));
    const stop = (): void => {
      this.#alarms.delete(alarm);
      reject(new AbortError(signal));
    };
    const ring = (): void => {
      this.#alarms.delete(alarm);
      signal.removeEventListener('abort', stop);
      resolve();
    };
    // As Node's timers: what is too long for them is one millisecond.
    const alarm: Alarm = { at: this.#now + (ms > MAX_TIMER_MS ? 1 : ms), order: this.#order++, ring };
    this.#alarms.add(alarm);
    signal.addEventListener('abort', stop, { once: true });
  });

  /** How many sleep. */
  get sleeping(): number { return this.#alarms.size; }

  /** Lets everything that is ready run: promises, and what they start. */
  async idle(): Promise<void> {
    for (let i = 0; i < 8; i++) await new Promise((resolve) => { setImmediate(resolve); });
  }

  /** Lets `ms` milliseconds pass, waking each sleeper at its time and letting it run before the next. */
  async pass(ms: number): Promise<void> {
    const until = this.#now + ms;
    for (;;) {
      await this.idle();
      const [next] = [...this.#alarms].sort((a, b) => a.at - b.at || a.order - b.order);
      if (!next || next.at > until) break;
      this.#now = Math.max(this.#now, next.at);
      next.ring();
    }
    this.#now = until;
  }

  /** Time jumps, and nobody was woken in between: a process that was frozen. */
  jump(ms: number): void { this.#now += ms; }
}
