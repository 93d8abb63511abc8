/**
 * Reporting: what the agent says about its node, to whom: the status of its IPVSNode, an Event when somebody removed our services, and what
 * health and metrics ask. It gathers; node-status.ts words it.
 */
import type { IPVSNodeStatus } from '../../api/v1alpha1/index.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Condition } from '../../kube/conditions.ts';
import type { EventRecorder } from '../../kube/events.ts';
import type { Log } from '../../kube/types.ts';
import type { Agent, Report } from '../agent.ts';
import type { HealthWatch } from '../health/watch.ts';
import { AppliedLines } from './applied.ts';
import type { Assignment } from './assignment.ts';
import { namesOf, readCommands as readProcesses, remedyFor, suspects, type Culprit } from './culprit.ts';
import type { Directing } from './directing.ts';
import type { Inputs } from './inputs.ts';
import { nodeStatus } from './node-status.ts';
import { StatusWriter } from './status-writer.ts';

export interface ReportingOptions {
  readonly node: string;
  readonly client: KubeClient;
  readonly agent: Agent;
  readonly health: () => HealthWatch | null;
  readonly assignment: Assignment;
  readonly inputs: Inputs;
  readonly directing: Directing;
  readonly events: Pick<EventRecorder, 'record'>;
  readonly log: Log;
  readonly version: string;
  readonly kernel: string;
  /** Of the spec that is in force. */
  readonly generation: () => number | undefined;
  readonly usingSnapshot: () => boolean;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** 0 <= x < 1. */
  readonly random: () => number;
  readonly readCommands?: () => readonly string[];
}

/** What changes by time alone is looked for so often. Milliseconds. */
const LOOK_MS = 30_000;

export class Reporting {
  readonly #options: ReportingOptions;
  readonly #writer: StatusWriter;
  readonly #applied = new AppliedLines();
  #reconciled = false;
  #reportedAt: number | null = null;
  #error: { readonly code: string; readonly message: string } | null = null;
  #flushesSeen = 0;
  #culprits: readonly Culprit[] = [];
  /** Of the last status that was made. */
  #said = { applied: 0, failed: 0, bound: 0 };

  constructor(options: ReportingOptions) {
    const { client, node, now, random, log, inputs } = options;
    this.#options = options;
    this.#writer = new StatusWriter({
      client, node, now, random, log, writing: () => inputs.node.writing(), wrote: (version) => inputs.node.wrote(version),
      known: () => (inputs.node.object?.status?.conditions ?? []) as readonly Condition[],
      // Before the first reconcile the status of before says more; during one, what is to be is not what is.
      status: (before) => (this.#reportedAt === null || options.agent.busy ? null : this.#status(before)),
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const timer = setInterval(() => this.ask(), LOOK_MS).unref();
    await this.#writer.run(signal);
    clearInterval(timer);
  }

  /** There may be something new to say. */
  ask(): void { this.#writer.ask(); }

  /** The IPVSNode is another object than before: everything is said again. */
  forget(): void { this.#writer.forget(); }

  /** Whether that is what was written. */
  recognises(status: IPVSNodeStatus): boolean { return this.#writer.recognises(status); }

  /** The server has something else. */
  spoiled(): void { this.#writer.spoiled(); }

  /** Takes what a reconcile reported; null when it could not be done at all. */
  reconciled(report: Report | null, error: unknown): void {
    this.#reportedAt = this.#options.now();
    this.#reconciled ||= report !== null;
    this.#error = error ? { code: (error as { code?: string }).code ?? 'Error', message: (error as Error).message } : null;
    this.#lookForFlush();
    this.ask();
  }

  /** Programs that are in the kernel, whole or not, and VIPs that are bound, as they were reported last. */
  get said(): { readonly applied: number; readonly failed: number; readonly bound: number } { return this.#said; }

  /** Why the kernel is not what it should be as a whole; null when nothing stands in the way. */
  get problem(): string | null {
    if (this.#error) return this.#error.message;
    return this.#reconciled ? null : 'the kernel was not compared with what it should be yet';
  }

  /** When the kernel was last compared; null before the first time. Monotonic milliseconds. */
  get reportedAt(): number | null { return this.#reportedAt; }

  #status(conditions: readonly Condition[]): ReturnType<typeof nodeStatus> {
    const { agent, health, assignment, directing, version, kernel, generation, usingSnapshot, clock } = this.#options;
    const { directs, programs, problems } = assignment;
    const status = nodeStatus({
      version, kernel, generation: generation(), directs, programs, problems, view: agent.view, index: agent.index,
      reconciled: this.#reconciled, error: this.#error, health: health(), applied: (programs) => this.#applied.of(programs),
      owned: directing.owned, blocked: directing.blocked, usingSnapshot: usingSnapshot(), flushes: agent.tally.flushes,
      culprits: this.#culprits, conditions, now: clock(),
    });
    this.#said = { applied: status.programs!.applied, failed: status.programs!.failed, bound: status.boundVIPs!.length };
    return status;
  }

  #lookForFlush(): void {
    const { agent, log, events, inputs, readCommands = readProcesses } = this.#options;
    const { flushes } = agent.tally;
    if (flushes.times === this.#flushesSeen) return;
    this.#flushesSeen = flushes.times;
    this.#culprits = suspects(agent.index?.links.keys() ?? [], readCommands());
    log.warn({ services: flushes.services, suspects: namesOf(this.#culprits) }, 'somebody removed our virtual services; they were made again');
    const { object } = inputs.node;
    if (!object) return;
    events.record({
      regarding: object, type: 'Warning', reason: this.#culprits.some((c) => c.name === 'kube-proxy') ? 'KubeProxyConflict' : 'ForeignFlush', action: 'Restored',
      note: `somebody removed virtual services of ours; they were made again. ${remedyFor(this.#culprits)}`,
    });
  }
}
