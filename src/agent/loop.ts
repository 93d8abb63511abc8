/**
 * Loop: when the agent reconciles. At once when programs changed; within a quarter second of a change to addresses or links; each
 * second a cheap look for drift and for drains that are done; every ten seconds everything, in pieces between which changes have precedence.
 * VIPs are announced again when it is time. Serial, and the only place with timers, but for the moment in which connections are cut
 * (cut.ts). It never ends except by its signal: a failure is reported and tried again, slower each time, and delays nothing else.
 */
import { setImmediate as turn, setTimeout as timer } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { NetClient, VipAddress } from '../kernel/net/types.ts';
import type { Agent, Extent, Report } from './agent.ts';
import { formatOperation } from './operation.ts';
import { Announcements } from './ownership/announce.ts';
import type { ReadBack } from './read-back.ts';

export interface LoopOptions {
  readonly agent: Agent;
  readonly net: Pick<NetClient, 'watch' | 'apply'>;
  readonly log: Logger;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Waits; rejects with an AbortError when the signal is aborted. Tests have their own. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Milliseconds between the cheap looks, and between full reconciles. */
  readonly lookEveryMs?: number;
  readonly fullEveryMs?: number;
  /** Called after each reconcile; `error` when it could not be done at all. */
  readonly onReport: (report: Report | null, error: unknown, pass: Pass) => void;
}

/** How much a reconcile looked at, and how long that took in milliseconds. */
export interface Pass {
  readonly extent: Extent;
  readonly tookMs: number;
}

/** Waits after failures: doubled each time up to the second. */
const RETRY_MS = 1_000;
const RETRY_MAX_MS = 30_000;

/**
 * A pass over changes that had to look at the node as well is followed by a pause, in multiples of the time it took, if it took long: thousands
 * of VIPs that are taken one after the other are then some passes, and not one each. At most so many milliseconds, and none below `least`. A
 * change of an endpoint is not such a pass, however slow the machine: what comes next would wait for nothing.
 */
const PAUSE = { times: 3, most: 50, least: 5 };

/**
 * After so many such passes in a row, none a second after the one before, the pauses are longer: each pass goes through all VIPs there are, and a
 * thousand that come in half a minute took most of it.
 */
const IN_A_ROW = { after: 8, withinMs: 1_000, times: 10, most: 250 };

/** Between two cheap looks, and two looks at everything. Milliseconds. */
const LOOK_EVERY_MS = 1_000;
const FULL_EVERY_MS = 10_000;

/** Between two rounds of announcements: thousands are sent a few at a time. Milliseconds. */
const ANNOUNCE_MS = 50;

function nextRetry(last: number): number {
  return Math.min(Math.max(last * 2, RETRY_MS), RETRY_MAX_MS);
}

export class Loop {
  readonly #options: LoopOptions;
  #wanted: Extent | null = 'full';
  #wake: (() => void) | null = null;
  /** Whether the last reconcile could not be done at all: then what is pending waits for its time. */
  #failed = false;
  /** When everything is looked at next, in the milliseconds of `now`; and the wait after the last failure, 0 while all is well. */
  #nextFull = 0;
  #retryMs = 0;
  /** The look at everything that is under way. */
  #readBack: ReadBack | null = null;
  /** Whether it has nothing to do just now. */
  #waiting = false;
  readonly #announcements = new Announcements();
  /** When the next is due, of which VIPs, and before which time none is sent; in the milliseconds of `now`. */
  #announceDue = -Infinity;
  #announcing: ReadonlyMap<string, VipAddress> | null = null;
  #announceAfter = -Infinity;
  /** Passes in a row that were followed by a pause, and when the last of them ended. */
  #row = { passes: 0, endedAt: -Infinity };
  /** When the cheap look is due. */
  #lookAt = -Infinity;
  /** Announcements after the first one of each VIP, which is the plan's. */
  readonly announced = { sent: 0, failed: 0 };

  constructor(options: LoopOptions) {
    this.#options = options;
  }

  /** Asks for a reconcile soon. Calls add up: the widest extent wins. */
  trigger(extent: Extent): void {
    const order: readonly (Extent | null)[] = [null, 'changes', 'node', 'full'];
    if (order.indexOf(extent) > order.indexOf(this.#wanted)) this.#wanted = extent;
    this.#wake?.();
  }

  /** VIPs of this node are announced anew in a second, and in two: another one may have answered for them. */
  announceAgain(): void {
    this.#announcements.again(this.#options.now());
    this.#announceDue = -Infinity;
    this.#wake?.();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { agent, now, lookEveryMs = LOOK_EVERY_MS } = this.#options;
    this.#options.net.watch(() => this.trigger('node'), signal);
    this.#nextFull = now();
    while (!signal.aborted) {
      const extent = this.#next(now() >= this.#nextFull, signal);
      if (extent === 'full') this.#setOut();
      if (extent) await this.#pass(extent, () => agent.reconcile(extent, signal), 0, signal);
      // One after each pass over changes, too: so it comes to its end however many there are.
      if (this.#readBack && !signal.aborted) await this.#step(this.#readBack, signal);
      await this.#announce();
      if (this.#wanted || (this.#readBack && !this.#waiting)) continue;
      const next = Math.min(this.#lookAt, this.#nextFull, Math.max(this.#announceDue, this.#announceAfter));
      await this.#sleep(Math.min(lookEveryMs, Math.max(next - now(), 1)), signal);
    }
  }

  /** A look at everything begins: the next one, and the next cheap one, are counted from here. */
  #setOut(): void {
    this.#readBack = null;
    this.#lookAt = this.#options.now() + (this.#options.lookEveryMs ?? LOOK_EVERY_MS);
    this.#nextFull = this.#options.now() + (this.#options.fullEveryMs ?? FULL_EVERY_MS);
  }

  /** Takes a step of the comparison of everything, and does what it comes to. */
  async #step(readBack: ReadBack, signal: AbortSignal): Promise<void> {
    const step = readBack.step();
    this.#waiting = step === 'waiting';
    if (this.#waiting) return;
    // Whatever came meanwhile is taken up before the next one.
    await turn();
    if (step === 'more') return;
    this.#readBack = null;
    if (!signal.aborted) await this.#pass('full', () => this.#options.agent.conclude(readBack, signal), readBack.tookMs, signal);
  }

  /** One pass, and what follows from its outcome. `spentMs`: what it took before. */
  async #pass(extent: Extent, reconcile: () => Promise<Report>, spentMs: number, signal: AbortSignal): Promise<void> {
    const { now, log } = this.#options;
    const began = now() - spentMs;
    try {
      const report = await reconcile();
      const tookMs = now() - began;
      this.#failed = false;
      this.#report(report, null, { extent, tookMs });
      this.#retryMs = report.failures.length > 0 ? nextRetry(this.#retryMs) : 0;
      // What failed is tried again soon; what did not is still compared as often as ever.
      if (this.#retryMs > 0) this.#nextFull = Math.min(this.#nextFull, now() + this.#retryMs);
      if (extent === 'changes' && this.#options.agent.lookedAtNode && tookMs > PAUSE.least) await this.#rest(this.#pauseAfter(tookMs), signal);
    } catch (error) {
      if (signal.aborted) return;
      this.#failed = true;
      this.#readBack = null;
      this.#retryMs = nextRetry(this.#retryMs);
      this.#nextFull = now() + this.#retryMs;
      log.error({ err: error, retryMs: this.#retryMs }, 'reconcile failed');
      this.#report(null, error, { extent, tookMs: now() - began });
    }
  }

  /** Who takes reports must not keep the kernel from being looked at. */
  #report(report: Report | null, error: unknown, pass: Pass): void {
    try {
      this.#options.onReport(report, error, pass);
    } catch (err) {
      this.#options.log.error({ err }, 'a report could not be taken');
    }
  }

  /** Milliseconds. */
  #pauseAfter(tookMs: number): number {
    const now = this.#options.now();
    const { passes, endedAt } = this.#row;
    // How long the pass itself took is no gap between two.
    this.#row = { passes: now - tookMs - endedAt > IN_A_ROW.withinMs ? 1 : passes + 1, endedAt: now };
    const { times, most } = this.#row.passes > IN_A_ROW.after ? IN_A_ROW : PAUSE;
    return Math.min(times * tookMs, most);
  }

  /** Announces again what is due; the first announcement is the plan's. */
  async #announce(): Promise<void> {
    const { agent, net, now, log } = this.#options;
    // Thousands of VIPs are not to be looked at after each change of an endpoint.
    if (now() < this.#announceAfter) return;
    const vips = agent.announced;
    if (vips === this.#announcing && now() < this.#announceDue) return;
    this.#announceAfter = now() + ANNOUNCE_MS;
    const { due, next } = this.#announcements.due(vips, now());
    this.#announcing = vips;
    this.#announceDue = next;
    if (due.length === 0) return;
    try {
      const failures = await net.apply(due.map((vip) => ({ kind: 'announce', vip })));
      this.announced.sent += due.length - failures.length;
      this.announced.failed += failures.length;
      for (const { operation, error } of failures) log.warn({ operation: formatOperation(operation), code: error.code, err: error.message }, 'announcement failed');
    } catch (error) {
      // The VIPs are served without it; the next round comes in a minute.
      log.warn({ err: error }, 'announcements failed');
    }
  }

  /** What to do now: what was asked for, else what is due, else what a cheap look finds. */
  #next(due: boolean, signal: AbortSignal): Extent | null {
    const wanted = this.#wanted;
    this.#wanted = null;
    if (wanted === 'full') return wanted;
    if (due && this.#readBack === null) {
      // After a pass that could not be done, everything is anew.
      const readBack = this.#failed ? null : this.#options.agent.readBack(() => this.#wake?.(), signal);
      if (!readBack) return 'full';
      this.#setOut();
      this.#readBack = readBack;
    }
    const { agent, log, now, lookEveryMs = LOOK_EVERY_MS } = this.#options;
    if (wanted) return wanted;
    if (this.#readBack && !this.#waiting) {
      // What leaves waits for no comparison, which may take long.
      if (!agent.draining || now() < this.#lookAt) return null;
      this.#lookAt = now() + lookEveryMs;
      return 'changes';
    }
    const pending = agent.pending && !this.#failed ? 'changes' : null;
    if (now() < this.#lookAt) return pending;
    this.#lookAt = now() + lookEveryMs;
    try {
      if (agent.drifted()) {
        agent.countDrift();
        log.warn('drift: the kernel is not as it was left');
        return 'full';
      }
    } catch (error) {
      log.warn({ err: error }, 'cannot look for drift; reading everything');
      return 'full';
    }
    return agent.draining ? 'changes' : pending;
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    const wake = new AbortController();
    this.#wake = () => wake.abort();
    try {
      await this.#rest(ms, AbortSignal.any([signal, wake.signal]));
    } finally {
      this.#wake = null;
    }
  }

  async #rest(ms: number, signal: AbortSignal): Promise<void> {
    const { sleep = (delay, stop) => timer(delay, undefined, { signal: stop }) } = this.#options;
    try {
      await sleep(ms, signal);
    } catch (error) {
      // Woken or stopped: both are what the loop looks at next.
      if (!(error instanceof Error && error.name === 'AbortError')) throw error;
    }
  }
}
