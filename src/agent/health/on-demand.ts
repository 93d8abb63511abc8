/**
 * Health checks on demand: most nodes have no checked program, and what checks is code and a set of sockets that those need not carry. It is
 * loaded when the first checked program is followed; until it is there nothing is known of anybody, which is what UNWATCHED says. Checks that
 * end because something is wrong with them are begun anew: without them clients would be sent to whoever dies, for ever.
 */
import { setTimeout as timer } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Program } from '../../api/v1alpha1/program.ts';
import type { NodeIndex } from '../facts.ts';
import { UNWATCHED, type HealthSource, type Ways } from './source.ts';
import type { Sockets } from '../../kernel/net/sockets.ts';
import type { HealthWatch } from './watch.ts';
import type { Weights } from './weighing.ts';

export interface HealthOptions {
  /** Draws the schedule, so that directors do not check in step. */
  readonly node: string;
  readonly log: Logger;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly signal: AbortSignal;
  /** Called when weights may be others than before. */
  readonly onChange: () => void;
  /** Opens what checks go through. Tests have their own. */
  readonly open?: () => Sockets;
  /** Between an end that nobody wanted and the next try. Milliseconds. */
  readonly retryMs?: number;
}

/** Checks under way at most; each has a socket. */
const MAX_OPEN = 4_096;
const RETRY_MS = 10_000;
/** The limit of descriptors where it cannot be read: the usual one. */
const DESCRIPTORS = 1_024;

export class HealthOnDemand implements HealthSource {
  readonly #options: HealthOptions;
  #watch: HealthWatch | null = null;
  /** Resolves when it has ended; null: nothing was loaded. */
  #running: Promise<void> | null = null;
  /** What is checked, for whoever checks it next. */
  readonly #followed = new Map<string, readonly [program: Program, index: NodeIndex, ways: Ways]>();

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /** Null while nothing is checked. */
  get watch(): HealthWatch | null { return this.#watch; }
  /** Resolves when the signal was aborted and nothing is open any more. */
  get ended(): Promise<void> { return this.#running ?? Promise.resolve(); }

  changed(): ReadonlySet<string> { return (this.#watch ?? UNWATCHED).changed(); }

  weights(program: Program, index: NodeIndex): Weights { return (this.#watch ?? UNWATCHED).weights(program, index); }

  follow(owner: string, program: Program | null, index: NodeIndex, ways: Ways): void {
    if (program?.spec.healthCheck === undefined) this.#followed.delete(owner);
    else this.#followed.set(owner, [program, index, ways]);
    if (this.#watch) return this.#watch.follow(owner, program, index, ways);
    if (this.#followed.size > 0) this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    const { log, signal, retryMs = RETRY_MS } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#check();
      } catch (error) {
        // Until then everybody is served as before: worse than with checks, better than not at all. Verdicts that nobody renews are none.
        this.#watch = null;
        log.error({ err: error, retryMs }, 'health checks cannot be made on this node; real servers are served as they were, and it is tried again');
      }
      // Its rejection is the signal's.
      await timer(retryMs, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  /** Checks until the signal aborts. */
  async #check(): Promise<void> {
    const { log, now, node, signal, onChange, open } = this.#options;
    const [{ HealthWatch }, { openSockets, descriptorLimit }] = await Promise.all([import('./watch.ts'), import('../../kernel/net/sockets.ts')]);
    if (signal.aborted) return;
    // Servers that do not answer must not take the descriptors that the rest of the agent lives on.
    const maxOpen = Math.min(MAX_OPEN, Math.floor(descriptorLimit(DESCRIPTORS) / 2));
    const watch = new HealthWatch({ sockets: (open ?? openSockets)(), maxOpen, now, salt: node, log, onChange });
    this.#watch = watch;
    for (const [owner, args] of this.#followed) watch.follow(owner, ...args);
    await watch.run(signal);
  }
}
