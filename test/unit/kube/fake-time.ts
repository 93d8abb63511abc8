/** Time that passes when it is told to, for code that takes `now` and `sleep`. */
import { AbortError, type Sleep } from '../../../src/kube/wait.ts';

const MAX_TIMER_MS = 2 ** 31 - 1;

interface Alarm {
  readonly at: number;
  readonly ring: () => void;
}

/** Without the stack, which nobody reads: many thousands of them would be a tenth of the time of the controller's tests. */
function aborted(signal: AbortSignal): AbortError {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return new AbortError(signal);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

export class FakeTime {
  #now = 0;
  /** In the order in which they were set; of those for one moment the first rings first. */
  readonly #alarms = new Set<Alarm>();

  readonly #turns: number;

  /** `turns` of the event loop, at most, for what is ready to be done: one, and one for each time that it gives others their turn (setImmediate). */
  constructor(turns = 8) { this.#turns = turns; }

  readonly now = (): number => this.#now;

  readonly sleep: Sleep = (ms, signal) => new Promise((resolve, reject) => {
    if (signal.aborted) return reject(aborted(signal));
    const stop = (): void => {
      this.#alarms.delete(alarm);
      reject(aborted(signal));
    };
    const ring = (): void => {
      this.#alarms.delete(alarm);
      signal.removeEventListener('abort', stop);
      resolve();
    };
    // As Node's timers: what is too long for them is one millisecond.
    const alarm: Alarm = { at: this.#now + (ms > MAX_TIMER_MS ? 1 : ms), ring };
    this.#alarms.add(alarm);
    signal.addEventListener('abort', stop, { once: true });
  });

  /** How many sleep. */
  get sleeping(): number { return this.#alarms.size; }

  /** Lets everything that is ready run: promises, and what they start. */
  async idle(): Promise<void> {
    await new Promise<void>((resolve) => {
      let turns = 0;
      const turn = (): void => { if (++turns > this.#turns) resolve(); else setImmediate(turn); };
      turn();
    });
  }

  /** Lets `ms` milliseconds pass, waking each sleeper at its time and letting it run before the next. */
  async pass(ms: number): Promise<void> {
    const until = this.#now + ms;
    for (;;) {
      await this.idle();
      let next: Alarm | undefined;
      for (const alarm of this.#alarms) if (!next || alarm.at < next.at) next = alarm;
      if (!next || next.at > until) break;
      this.#now = Math.max(this.#now, next.at);
      next.ring();
    }
    this.#now = until;
  }

  /** Time jumps, and nobody was woken in between: a process that was frozen. */
  jump(ms: number): void { this.#now += ms; }
}
