/**
 * Checker: checks a set of targets, each on its own schedule, and tells of every change of health. Plain data in, verdicts out: it knows no
 * program, no service and no weight. One clock and one timer for all targets; a check that nobody answers costs a socket until its timeout,
 * and those cannot take the sockets of others away.
 *
 *     due (heaps) ─ time ──> waiting for a socket ──> under way (flights.ts) ── result ──> verdict.ts ──> onChange
 *        ^                                                                         │
 *        └──────────────────────────── next moment of its grid (schedule.ts) <─────┘
 */
import type { Sockets } from '../../kernel/net/sockets.ts';
import type { CheckTarget } from './check.ts';
import { countBegun, countResult, noCounts, type CheckCounts } from './counts.ts';
import { DueQueue, type Due } from './due-queue.ts';
import { Flights } from './flights.ts';
import { Line } from './line.ts';
import type { Result } from './outcome.ts';
import { problemOf } from './problems.ts';
import { firstDue, fractionOf, nextDue, secondDue } from './schedule.ts';
import { UNKNOWN, advance, type Health } from './verdict.ts';

export interface Timers {
  set(run: () => void, ms: number): unknown;
  clear(timer: unknown): void;
}

export interface CheckerOptions {
  readonly sockets: Sockets;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Default: the ones of Node. */
  readonly timers?: Timers;
  /** Draws the schedule together with the key: the node's name, so that directors do not check in step. */
  readonly salt: string;
  /** Checks under way at most, which is sockets. Default 4,096. */
  readonly maxOpen?: number;
  /**
   * Called when the state of a target changed, and at the first failure after passes and the first pass after failures: what guards and
   * weights are made of changed. It may call set().
   */
  readonly onChange: (target: CheckTarget, health: Health, before: Health) => void;
}

/** A target that is not checked, and why. */
export interface RefusedTarget {
  readonly target: CheckTarget;
  readonly problem: string;
}

interface Entry extends Due {
  readonly target: CheckTarget;
  readonly fraction: number;
  health: Health;
  /** Whether the next check is on the grid already. */
  settled: boolean;
  /** What is known of the time that a check takes: never checked, answered in time, or took all of it, and a socket as long. */
  pace: Pace;
  state: 'due' | 'waiting' | 'flying';
  /** Which queue it waits in until it is due. */
  doubted: boolean;
  /** Of the set() that last wanted it. */
  generation: number;
}

type Pace = 'quick' | 'fresh' | 'slow';

const MAX_OPEN = 4_096;
/** Of the sockets, what fresh and slow targets may take together: the rest stays for those that answer. */
const SLOW_SHARE = 0.75;
/** Milliseconds between two looks at the sockets: a verdict is that much late at worst, and what happens in between costs one look. */
const LOOK_MS = 10;
/** Milliseconds that a check may begin late, so that those that are due together cost one turn. */
const GATHER_MS = 20;
/** So many at most: when everything fails at once, it is gathered as ever. */
const DOUBTED = 64;
/** Milliseconds of work before others have their turn on the event loop. */
const SLICE_MS = 5;
/** What is done between two looks at the clock. */
const AT_ONCE = 16;
export const NODE_TIMERS: Timers = { set: (run, ms) => setTimeout(run, ms), clear: (timer) => clearTimeout(timer as NodeJS.Timeout) };

export class Checker {
  readonly #options: CheckerOptions;
  readonly #timers: Timers;
  readonly #maxOpen: number;
  readonly #entries = new Map<string, Entry>();
  readonly #due = new DueQueue<Entry>();
  /** The same of those that failed and are not down yet: their next check may decide, so it begins when it is due and is not gathered with others. */
  readonly #doubted = new DueQueue<Entry>();
  /** Those that are due and have no socket yet, in the order in which they came; in this order they get one. */
  readonly #waiting: Record<Pace, Line<Entry>> = { quick: new Line(), fresh: new Line(), slow: new Line() };
  readonly #flights: Flights<Entry>;
  #generation = 0;
  #fresh: CheckTarget[] = [];
  #admitted = 0;
  #refused: RefusedTarget[] = [];
  /** Checks under way that may take all their time. */
  #slowOpen = 0;
  /** When one of them last had to go on waiting. */
  readonly #shortAt: Record<Pace, number> = { quick: -Infinity, fresh: -Infinity, slow: -Infinity };
  /** When the last check of a doubted one began: looked for soon, and then less and less often. */
  #doubtedAt = -Infinity;
  /** When any last began. */
  #gatheredAt = -Infinity;
  #timer: unknown = null;
  #timerAt = Infinity;
  #running = false;
  #fail: (error: unknown) => void = () => {};
  readonly counts: CheckCounts = noCounts();

  constructor(options: CheckerOptions) {
    this.#options = options;
    this.#timers = options.timers ?? NODE_TIMERS;
    this.#maxOpen = options.maxOpen ?? MAX_OPEN;
    this.#flights = new Flights({ sockets: options.sockets, now: options.now, onEnd: (entry, result) => this.#landed(entry, result) });
  }

  get size(): number { return this.#entries.size; }
  /** Checks under way. */
  get open(): number { return this.#flights.size; }
  /** Due checks that wait for a socket. */
  get waiting(): number { return this.#waiting.quick.size + this.#waiting.fresh.size + this.#waiting.slow.size; }

  /** Health of a target; null when it is not checked. */
  health(key: string): Health | null {
    return this.#entries.get(key)?.health ?? null;
  }

  /** Every target with its health. */
  *targets(): Generator<{ readonly target: CheckTarget; readonly health: Health }> {
    for (const { target, health } of this.#entries.values()) yield { target, health };
  }

  /** Targets of the last set() that cannot be checked. Complete when `pending` is 0. */
  get refused(): readonly RefusedTarget[] { return this.#refused; }
  /** Targets of the last set() that were not looked at yet: ten thousand at once take several turns. */
  get pending(): number { return this.#fresh.length - this.#admitted; }

  /**
   * Checks exactly these from now on; equal keys are one target. Those that are checked already go on undisturbed, with their health and their
   * schedule; those that are gone are forgotten, with what is under way.
   */
  set(targets: Iterable<CheckTarget>): void {
    const generation = ++this.#generation;
    this.#fresh = [];
    this.#admitted = 0;
    this.#refused = [];
    for (const target of targets) {
      const entry = this.#entries.get(target.key);
      if (entry) entry.generation = generation;
      else this.#fresh.push(target);
    }
    for (const entry of this.#entries.values()) if (entry.generation !== generation) this.#forget(entry);
    this.#admit(this.#options.now() + SLICE_MS);
    if (this.#running) this.#arm(this.#options.now());
  }

  /**
   * Checks until `signal` is aborted; then nothing is left open and nothing is told any more. Call it once. Rejects, and stops, with what
   * onChange threw: a checker whose news do not arrive is worse than none.
   */
  run(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        this.#running = false;
        signal.removeEventListener('abort', stop);
        this.#timers.clear(this.#timer);
        this.#flights.cancelAll();
        this.#options.sockets.end();
        resolve();
      };
      this.#fail = (error) => {
        if (!this.#running) return;
        reject(error instanceof Error ? error : new Error(String(error)));
        stop();
      };
      if (signal.aborted) return stop();
      signal.addEventListener('abort', stop);
      this.#running = true;
      this.#arm(this.#options.now());
    });
  }

  /** Takes new targets in, as far as there is time. */
  #admit(until: number): void {
    const { now, salt } = this.#options;
    const all = this.#fresh.length;
    for (let moment = now(); this.#admitted < all && moment < until; ) {
      const target = this.#fresh[this.#admitted++]!;
      if (this.#admitted % AT_ONCE === 0) moment = now();
      if (this.#entries.has(target.key)) continue;
      const problem = problemOf(target);
      if (problem !== null) {
        this.#refused.push({ target, problem });
        continue;
      }
      const fraction = fractionOf(target.key, salt);
      const entry: Entry = {
        target, fraction, health: UNKNOWN, settled: false, pace: 'fresh', state: 'due', doubted: false, generation: this.#generation, dueAt: 0, place: -1,
      };
      this.#entries.set(target.key, entry);
      this.#due.put(entry, firstDue(fraction, target.check.periodMs, all, moment));
    }
    if (this.#admitted < all) return;
    this.#fresh = [];
    this.#admitted = 0;
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.target.key);
    (entry.doubted ? this.#doubted : this.#due).remove(entry);
    this.#waiting[entry.pace].delete(entry);
    if (entry.state === 'flying') {
      this.#flights.cancel(entry);
      if (entry.pace !== 'quick') this.#slowOpen--;
    }
  }

  /** One turn: what came in, what is over, what is due; then until the next one. */
  #turn(): void {
    this.#timer = null;
    this.#timerAt = Infinity;
    const { now } = this.#options;
    try {
      const moment = now();
      this.#flights.look(moment);
      this.#flights.expire(moment);
      const all = this.#begin(moment);
      if (this.pending > 0) this.#admit(now() + SLICE_MS);
      if (this.#running) this.#arm(now(), all && this.pending === 0);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Waits for the next moment at which there is something to do: at once where something is left over. */
  #arm(moment: number, all = true): void {
    const lookIn = Math.min(LOOK_MS, Math.max(1, moment - this.#doubtedAt));
    const looks = this.#flights.watched > 0 || this.pending > 0 || this.#ready() ? moment + (all ? lookIn : 1) : Infinity;
    // Counted from when some last began: a timer that came a little early must not cost those that are due then a whole turn more.
    const gathers = Math.max(this.#due.next, all ? this.#gatheredAt + GATHER_MS : 0, moment + 1);
    const at = Math.min(looks, gathers, Math.max(this.#doubted.next, moment + 1), Math.max(this.#flights.nextDeadline, moment + LOOK_MS));
    // Never later than it was: whoever calls set() all the time must not keep the turn from coming.
    if (at >= this.#timerAt) return;
    this.#timers.clear(this.#timer);
    this.#timerAt = at;
    this.#timer = this.#timers.set(() => this.#turn(), at - moment);
  }

  /** Whether a check waits that could begin. */
  #ready(): boolean {
    return this.#nextWaiting() !== null;
  }

  /** Begins what is due and has a socket. Returns false when there was no time for all of it. */
  #begin(began: number): boolean {
    const { now } = this.#options;
    const { begun } = this.counts;
    let moment = began;
    let all = true;
    // Whoever is told may stop us.
    for (let i = 1; this.#running; i++) {
      for (let entry = this.#takeDue(moment); entry !== null; entry = this.#takeDue(moment)) {
        entry.state = 'waiting';
        this.#waiting[entry.pace].add(entry);
      }
      const next = this.#nextWaiting();
      if (next === null) {
        this.#short(moment);
        break;
      }
      this.#takeOff(next, moment);
      if (i % AT_ONCE > 0) continue;
      moment = now();
      // What is late anyway may wait for the others' turn on the event loop.
      all = moment < began + SLICE_MS;
      if (!all) break;
    }
    // In a near network the first of them have answered meanwhile.
    if (this.counts.begun > begun && this.#flights.watched > 0) this.#flights.look(now());
    return all;
  }

  #takeDue(moment: number): Entry | null {
    return this.#doubted.take(moment) ?? this.#due.take(moment);
  }

  /** Notes that those which still wait do so for want of a socket. */
  #short(moment: number): void {
    for (const pace of ['quick', 'fresh', 'slow'] as const) if (this.#waiting[pace].size > 0) this.#shortAt[pace] = moment;
  }

  /** Those that answer come first, then those of which nothing is known, and what is left is for those that do not answer. */
  #nextWaiting(): Entry | null {
    if (this.#flights.size >= this.#maxOpen) return null;
    const { quick, fresh, slow } = this.#waiting;
    if (quick.size > 0) return quick.first;
    if (this.#slowOpen >= this.#maxOpen * SLOW_SHARE) return null;
    return fresh.first ?? slow.first;
  }

  #takeOff(entry: Entry, moment: number): void {
    this.#waiting[entry.pace].delete(entry);
    const late = moment - entry.dueAt;
    countBegun(this.counts, late);
    if (entry.dueAt <= this.#shortAt[entry.pace]) this.counts.delayed++;
    entry.state = 'flying';
    this.#gatheredAt = moment;
    if (entry.doubted) this.#doubtedAt = moment;
    if (entry.pace !== 'quick') this.#slowOpen++;
    this.#flights.start(entry, entry.target, moment);
    this.counts.mostOpen = Math.max(this.counts.mostOpen, this.#flights.size);
  }

  #landed(entry: Entry, result: Result): void {
    const { target: { check }, health: before } = entry;
    if (entry.pace !== 'quick') this.#slowOpen--;
    // A millisecond less: moments are fractions, and their difference may fall short of the whole.
    entry.pace = result.tookMs > check.timeoutMs - 1 ? 'slow' : 'quick';
    entry.state = 'due';
    countResult(this.counts, check.type, result.reason);
    const health = advance(before, result, check);
    entry.health = health;
    entry.doubted = health.failingSince !== null && health.state === 'Up' && this.#doubted.size < DOUBTED;
    (entry.doubted ? this.#doubted : this.#due).put(entry, this.#nextOf(entry, result.at));
    if (health.turns !== before.turns) this.counts.turns++;
    if (health.state !== before.state || (health.failingSince === null) !== (before.failingSince === null)) this.#tell(entry.target, health, before);
  }

  /** Some results come by promises, where nobody would see what onChange throws. */
  #tell(target: CheckTarget, health: Health, before: Health): void {
    try {
      this.#options.onChange(target, health, before);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The next moment of its grid that has not passed; those that have are counted. */
  #nextOf(entry: Entry, began: number): number {
    const { fraction, settled, dueAt, target: { check: { periodMs } } } = entry;
    entry.settled = true;
    if (!settled) return secondDue(fraction, periodMs, began);
    const next = nextDue(fraction, periodMs, Math.max(began, dueAt));
    this.counts.missed += Math.max(Math.round((next - dueAt) / periodMs) - 1, 0);
    return next;
  }
}
