/**
 * Health checks on demand: most nodes have no checked program, and what checks is code and a set of sockets that those need not carry. It is
 * loaded when the first checked program is followed; until it is there nothing is known of anybody, which is what UNWATCHED says.
 */
import type { Logger } from 'pino';
import type { Program } from '../../api/v1alpha1/program.ts';
import type { NodeIndex } from '../facts.ts';
import { UNWATCHED, type HealthSource, type Ways } from './source.ts';
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
}

/** Checks under way at most; each has a socket. */
const MAX_OPEN = 4_096;
/** The limit of descriptors where it cannot be read: the usual one. */
const DESCRIPTORS = 1_024;

export class HealthOnDemand implements HealthSource {
  readonly #options: HealthOptions;
  #watch: HealthWatch | null = null;
  /** Resolves when it has ended; null: nothing was loaded. */
  #running: Promise<void> | null = null;
  /** What was followed before there was somebody to tell. */
  readonly #early = new Map<string, readonly [program: Program, index: NodeIndex, ways: Ways]>();

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
    if (this.#watch) return this.#watch.follow(owner, program, index, ways);
    if (program?.spec.healthCheck === undefined) this.#early.delete(owner);
    else this.#early.set(owner, [program, index, ways]);
    if (this.#early.size > 0) this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    const { log, now, node, signal, onChange } = this.#options;
    try {
      const [{ HealthWatch }, { openSockets, descriptorLimit }] = await Promise.all([import('./watch.ts'), import('../../kernel/net/sockets.ts')]);
      if (signal.aborted) return;
      // Servers that do not answer must not take the descriptors that the rest of the agent lives on.
      const maxOpen = Math.min(MAX_OPEN, Math.floor(descriptorLimit(DESCRIPTORS) / 2));
      const watch = new HealthWatch({ sockets: openSockets(), maxOpen, now, salt: node, log, onChange });
      this.#watch = watch;
      for (const [owner, args] of this.#early) watch.follow(owner, ...args);
      this.#early.clear();
      await watch.run(signal);
    } catch (error) {
      // Without checks everybody is served as before: worse than with them, better than not at all. Verdicts that nobody renews are none.
      this.#watch = null;
      log.error({ err: error }, 'health checks cannot be made on this node; real servers are served as they were');
    }
  }
}
