/**
 * Loop: when the agent reconciles. At once when programs changed; within a quarter second of a change to addresses or links; each
 * second a cheap look for drift and for drains that are done; every ten seconds everything. VIPs are announced again when it is time.
 * Serial, and the only place with timers. It never ends except by its signal: a failure is reported and tried again, slower each time,
 * and delays nothing else.
 */
import { setTimeout as timer } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { NetClient } from '../kernel/net/types.ts';
import type { Agent, Extent, Report } from './agent.ts';
import { formatOperation } from './operation.ts';
import { dueAnnouncements, type AnnounceStates } from './ownership/announce.ts';

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
 * A pass over changes is followed by a pause, in multiples of the time it took, if it took long: thousands of VIPs that are taken one after the
 * other are then some passes, and not one each. At most so many milliseconds; passes over a change of an endpoint take less than `least`.
 */
const PAUSE = { times: 3, most: 50, least: 5 };

/** Announcements are looked for no more often. Milliseconds. */
const ANNOUNCE_MS = 200;

function nextRetry(last: number): number {
  return Math.min(Math.max(last * 2, RETRY_MS), RETRY_MAX_MS);
}

export class Loop {
  readonly #options: LoopOptions;
  #wanted: Extent | null = 'full';
  #wake: (() => void) | null = null;
  /** Whether the last reconcile could not be done at all: then what is pending waits for its time. */
  #failed = false;
  #announcements: AnnounceStates = new Map();
  #announceAt = -Infinity;
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

  async run(signal: AbortSignal): Promise<void> {
    const { agent, now, onReport, log, lookEveryMs = 1_000, fullEveryMs = 10_000 } = this.#options;
    this.#options.net.watch(() => this.trigger('node'), signal);
    let nextFull = now();
    let retry = 0;
    while (!signal.aborted) {
      const extent = this.#next(now() >= nextFull);
      if (extent) {
        nextFull = extent === 'full' ? now() + fullEveryMs : nextFull;
        const began = now();
        const pass = (): Pass => ({ extent, tookMs: now() - began });
        try {
          const report = await agent.reconcile(extent, signal);
          this.#failed = false;
          onReport(report, null, pass());
          retry = report.failures.length > 0 ? nextRetry(retry) : 0;
          // What failed is tried again soon; what did not is still compared as often as ever.
          if (retry > 0) nextFull = Math.min(nextFull, now() + retry);
          const took = now() - began;
          if (extent === 'changes' && took > PAUSE.least) await this.#rest(Math.min(PAUSE.times * took, PAUSE.most), signal);
        } catch (error) {
          if (signal.aborted) return;
          this.#failed = true;
          retry = nextRetry(retry);
          nextFull = now() + retry;
          log.error({ err: error, retryMs: retry }, 'reconcile failed');
          onReport(null, error, pass());
        }
      }
      await this.#announce();
      if (!this.#wanted) await this.#sleep(Math.min(lookEveryMs, Math.max(nextFull - now(), 1)), signal);
    }
  }

  /** Announces again what is due; the first announcement is the plan's. */
  async #announce(): Promise<void> {
    const { agent, net, now, log } = this.#options;
    // Thousands of VIPs are not to be looked at after each change of an endpoint.
    if (now() < this.#announceAt) return;
    this.#announceAt = now() + ANNOUNCE_MS;
    const { due, states } = dueAnnouncements(this.#announcements, agent.announced, now());
    this.#announcements = states;
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
  #next(due: boolean): Extent | null {
    const wanted = due ? 'full' : this.#wanted;
    if (wanted) {
      this.#wanted = null;
      return wanted;
    }
    const { agent, log } = this.#options;
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
    return agent.draining || (agent.pending && !this.#failed) ? 'changes' : null;
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
