/**
 * ClusterHost: caches, assignment, agent and directing of one node, joined. It moves values from one to the next, in the order that keeps
 * traffic flowing: nothing is done before it is known what this node was told, now or, after some seconds without the API server, before;
 * then the kernel; then the Lease and the claims. It decides nothing else. run.ts drives it.
 */
import type { EventRecorder } from '../../kube/events.ts';
import type { Sleep } from '../../kube/wait.ts';
import type { Agent, Report } from '../agent.ts';
import { Deferred } from '../deferred.ts';
import type { HealthWatch } from '../health/watch.ts';
import type { Loop } from '../loop.ts';
import { StateFolderError, type StateFolder } from '../state-folder.ts';
import { Assignment, NOTHING } from './assignment.ts';
import { Directing, type DirectingOptions } from './directing.ts';
import { Inputs } from './inputs.ts';
import { Reporting } from './reporting.ts';
import { HELD_FILE, heldFile, loadBinds, loadSnapshot } from './snapshot.ts';
import { ToldFile } from './told-file.ts';

export interface ClusterHostOptions extends Omit<DirectingOptions, 'assignment' | 'inputs' | 'before' | 'onOwned' | 'onReturned'> {
  readonly folder: StateFolder;
  readonly events: Pick<EventRecorder, 'record'>;
  readonly version: string;
  /** What checks real servers; absent, or null for now: nothing does. */
  readonly health?: () => HealthWatch | null;
  /** uname -r. */
  readonly kernel: string;
  /** Least time that a bind lingers, in milliseconds. */
  readonly lingerMs?: number;
  /** How long the API server is waited for before the snapshot is used. Milliseconds. */
  readonly patienceMs?: number;
  /** How caches wait between two attempts to reach the API server. */
  readonly sleep?: Sleep;
  /** Names of the processes that can be seen, for who may have removed our services. */
  readonly readCommands?: () => readonly string[];
}

const PATIENCE_MS = 5_000;
/** With several groups, a program that vanished from one may be on its way into another. Milliseconds. */
const MOVING_MS = 1_000;
/** What could not be taken up is tried again so often. Milliseconds. */
const RETRY_MS = 1_000;
/** setTimeout's longest. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export class ClusterHost {
  readonly #options: ClusterHostOptions;
  readonly #agent: Agent;
  readonly #assignment: Assignment;
  readonly #inputs: Inputs;
  readonly #directing: Directing;
  readonly #reporting: Reporting;
  readonly #toldFile: ToldFile;
  readonly #heldFile = new Deferred(() => this.#writeHeld());
  #dirty = { node: true, duties: true, groups: new Set<string>(), programs: new Set<string>(), complete: new Set<string>() };
  /** Programs that vanished, and since when; monotonic milliseconds. */
  readonly #vanished = new Map<string, number>();
  #binds: Assignment['binds'] | null = null;
  #loop: Pick<Loop, 'trigger' | 'announceAgain'> | null = null;
  #signal: AbortSignal | null = null;
  /** Of the IPVSNode's spec that was taken, and of the one that the kernel was made to follow. */
  #generation: number | undefined;
  #reached: number | undefined;
  #uid: string | undefined;
  /** Since when the agent is told; null: it is not. Monotonic milliseconds. */
  #begunAt: number | null = null;
  /** Since when something that this node should be told cannot be read; null: everything was. */
  #behindSince: number | null;
  /** What could not be taken up lately, and why; null: everything was. */
  #problem: string | null = null;
  #onBegin: () => void = () => {};
  /** What the agent was told and has not finished may matter for who holds which VIP. */
  #moved = true;
  /** Whether something failed in the last reconcile. */
  #failed = false;
  readonly #timers = {
    patience: null as NodeJS.Timeout | null, binds: null as NodeJS.Timeout | null, again: null as NodeJS.Timeout | null,
    take: null as NodeJS.Immediate | null,
  };

  constructor(options: ClusterHostOptions) {
    const { node, agent, folder, log, now } = options;
    this.#options = options;
    this.#agent = agent;
    const snapshot = loadSnapshot(folder, node, log);
    const lingerMs = options.lingerMs;
    this.#assignment = new Assignment({ node, ...(lingerMs !== undefined && { lingerMs }) }, snapshot?.state ?? { ...NOTHING, binds: loadBinds(folder, node, log) });
    this.#toldFile = new ToldFile({ folder, node, log, told: this.#assignment, before: snapshot });
    this.#behindSince = now();
    this.#inputs = new Inputs({
      ...options,
      recognises: (status) => this.#reporting.recognises(status),
      listener: {
        node: () => { this.#dirty.node = true; this.#soon(); },
        group: (name) => { this.#dirty.groups.add(name); this.#soon(); },
        program: (owner) => { this.#dirty.programs.add(owner); this.#soon(); },
        virtualIP: () => this.#directing.look(),
        lease: (change) => this.#directing.lease(change),
        synced: (group) => { if (group !== null) this.#dirty.complete.add(group); this.#soon(); },
      },
    });
    this.#directing = new Directing({
      ...options, assignment: this.#assignment, inputs: this.#inputs, before: snapshot?.owned ?? new Set(),
      onOwned: () => { this.#dirty.duties = true; this.#heldFile.ask(); this.#soon(); },
      onReturned: () => this.#loop?.announceAgain(),
    });
    this.#reporting = new Reporting({
      ...options, health: options.health ?? (() => null), assignment: this.#assignment, inputs: this.#inputs, directing: this.#directing,
      generation: () => this.#reached, usingSnapshot: () => this.usingSnapshot,
    });
  }

  /** Runs until the signal aborts. `begun` is called once, when there is something to reconcile. */
  async run(signal: AbortSignal, begun: () => void): Promise<void> {
    this.#signal = signal;
    this.#onBegin = begun;
    this.#timers.patience = setTimeout(() => this.#outOfPatience(), this.#patienceMs);
    const running = [this.#inputs.run(signal), this.#directing.run(signal), this.#reporting.run(signal)];
    this.#inputs.follow(this.#assignment.directs);
    this.#soon();
    await Promise.all(running);
    for (const timer of [this.#timers.patience, this.#timers.binds, this.#timers.again]) if (timer) clearTimeout(timer);
    if (this.#timers.take) clearImmediate(this.#timers.take);
    this.flush();
  }

  /** The loop that reconciles, once it runs. */
  set loop(loop: Pick<Loop, 'trigger' | 'announceAgain'>) { this.#loop = loop; }

  /** Takes what a reconcile reported; null when it could not be done at all. */
  report(report: Report | null, error: unknown): void {
    if (report && !this.#agent.pending) this.#reached = this.#generation;
    this.#reporting.reconciled(report, error);
    if (!report) return;
    // With thousands of VIPs a look takes as long as many changes of endpoints, which are no reason for one.
    const failed = report.failures.length > 0;
    this.#directing.reconciled(this.usingSnapshot, this.#moved || failed || this.#failed || this.#agent.lookedAtNode);
    this.#failed = failed;
    if (!this.#agent.pending) this.#moved = false;
  }

  /** Writes at once what was to be written soon. */
  flush(): void {
    this.#toldFile.flush();
    this.#heldFile.flush();
  }

  get usingSnapshot(): boolean { return this.#behindSince !== null && this.#options.now() - this.#behindSince >= this.#patienceMs; }
  get directing(): Pick<Directing, 'owned' | 'blocked' | 'counts'> { return this.#directing; }
  get reporting(): Pick<Reporting, 'said'> { return this.#reporting; }
  get inputs(): Pick<Inputs, 'reflectors' | 'synced'> { return this.#inputs; }
  get assignment(): Pick<Assignment, 'programs' | 'problems' | 'directs' | 'binds'> { return this.#assignment; }

  /** Why this node cannot do its work yet; null when it does. */
  notReady(): string | null {
    if (this.#problem !== null) return this.#problem;
    // Before there is a DirectorGroup no node has an IPVSNode: then there is nothing to do, and that is done. Whoever installs a chart waits for it.
    if (this.#begunAt === null) return this.#inputs.synced && this.#inputs.node.object === null ? null : 'waiting for the API server to say what this node is to do';
    return this.#reporting.problem ?? this.#directing.problem;
  }

  /**
   * Why this process should be restarted: the kernel was not looked at for `mostMs`, whether it hangs at the first look or a later one. Null: it was,
   * or there is nothing to look for. The API server is not asked: a restart would not bring it back.
   */
  notLive(mostMs: number): string | null {
    const since = this.#reporting.reportedAt ?? this.#begunAt;
    const silentMs = since === null ? 0 : this.#options.now() - since;
    return silentMs > mostMs ? `the kernel was not looked at for ${Math.round(silentMs / 1000)} s` : null;
  }

  get #patienceMs(): number { return this.#options.patienceMs ?? PATIENCE_MS; }

  #soon(): void {
    this.#timers.take ??= setImmediate(() => {
      this.#timers.take = null;
      if (!this.#signal?.aborted) this.#take();
    });
  }

  /** Takes what changed in the caches. */
  #take(): void {
    const { clock, now } = this.#options;
    const { node, duties, groups, programs, complete } = this.#dirty;
    this.#dirty = { node: false, duties, groups: new Set(), programs: new Set(), complete: new Set() };
    this.#problem = null;
    if (node) this.#try('IPVSNode', () => this.#takeNode(), () => { this.#dirty.node = true; });
    for (const name of groups) {
      const set = () => this.#assignment.setGroup(name, this.#inputs.groups.store.get(name) ?? null);
      this.#try(`DirectorGroup ${name}`, set, () => this.#dirty.groups.add(name));
    }
    for (const owner of programs) this.#try(`the program of ${owner}`, () => this.#takeProgram(owner), () => this.#dirty.programs.add(owner));
    for (const group of complete) if (this.#inputs.programsSynced(group)) this.#assignment.complete(group, this.#inputs.ownersIn(group));
    // What is unwanted is known only now.
    if (complete.size > 0) this.#directing.look();
    this.#behindSince = this.#inputs.synced && this.#inputs.node.object !== null ? null : this.#behindSince ?? now();
    this.#try('what this node is told', () => {
      this.#takeTime(this.#assignment.setTime(clock()));
      if (this.#begunAt !== null) this.#tell();
      else if (this.#behindSince === null) this.#begin('told');
    }, () => {});
  }

  /**
   * Whatever is wrong with one thing, the others are taken, and it is tried again: a process that ended would meet it again, and serve
   * nobody meanwhile.
   */
  #try(what: string, take: () => void, again: () => void): void {
    try {
      take();
    } catch (error) {
      this.#options.log.error({ err: error, what, retryMs: RETRY_MS }, 'not taken up; trying on');
      this.#problem = `${what} could not be taken up: ${(error as Error).message}`;
      again();
      this.#timers.again ??= setTimeout(() => {
        this.#timers.again = null;
        this.#soon();
      }, RETRY_MS).unref();
    }
  }

  #takeNode(): void {
    const { clock } = this.#options;
    const { object } = this.#inputs.node;
    // Without the object nothing is untold: the controller makes it again.
    if (!object) return this.#inputs.node.kindMissing ? this.#untell() : undefined;
    if (this.#uid !== undefined && object.metadata.uid !== this.#uid) {
      this.#reporting.forget();
      // Of another object: the new one begins at 1 again, whatever it says.
      this.#generation = undefined;
    }
    this.#uid = object.metadata.uid;
    if (object.ours === false) this.#reporting.spoiled();
    if (object.metadata.generation === this.#generation && this.#generation !== undefined) return;
    this.#assignment.setSpec(object.spec, clock());
    this.#inputs.follow(this.#assignment.directs);
    this.#generation = object.metadata.generation;
    this.#dirty.duties = true;
  }

  /** The IPVSNode was deleted, and with it its kind: nobody will make it again. What was never there, as after a start, is waited for. */
  #untell(): void {
    if (this.#uid === undefined) return;
    this.#options.log.warn({}, 'the kind IPVSNode was deleted: this node directs and receives for nobody any more');
    this.#uid = this.#generation = undefined;
    this.#assignment.setSpec({ directorGroups: [], realServer: { binds: [] }, reservedAddresses: [] }, this.#options.clock());
    this.#inputs.follow(this.#assignment.directs);
    this.#dirty.duties = true;
  }

  #takeProgram(owner: string): void {
    const { now, log } = this.#options;
    const objects = this.#inputs.slicesOf(owner);
    if (objects.length === 0 && this.#assignment.directs.size > 1) {
      const since = this.#vanished.get(owner) ?? now();
      if (now() - since < MOVING_MS) {
        this.#vanished.set(owner, since);
        setTimeout(() => { this.#dirty.programs.add(owner); this.#soon(); }, MOVING_MS + 1).unref();
        return;
      }
    }
    this.#vanished.delete(owner);
    const problem = this.#assignment.setProgram(owner, objects);
    if (problem) log.warn({ virtualServer: owner, ...problem }, 'no program; the one in force stays');
  }

  /** `end`: when the next bind is over; milliseconds since the epoch. */
  #takeTime(end: number | null): void {
    if (this.#timers.binds) clearTimeout(this.#timers.binds);
    this.#timers.binds = end === null ? null : setTimeout(() => this.#soon(), Math.min(Math.max(end - this.#options.clock(), 0) + 1, MAX_TIMEOUT_MS)).unref();
    if (this.#binds === this.#assignment.binds) return;
    this.#binds = this.#assignment.binds;
    this.#dirty.duties = true;
    this.#heldFile.ask();
  }

  #outOfPatience(): void {
    if (this.#begunAt !== null || this.#signal?.aborted) return;
    if (this.#assignment.spec) {
      const again = () => { this.#timers.patience = setTimeout(() => this.#outOfPatience(), RETRY_MS); };
      return this.#try('the snapshot', () => this.#begin('snapshot'), again);
    }
    this.#options.log.warn({}, 'the API server has not said what this node is to do, and there is no snapshot; nothing is changed until it does');
  }

  /** From now on the kernel is made what this node is told. */
  #begin(by: 'told' | 'snapshot'): void {
    const { log, now } = this.#options;
    // First: it asks the kernel, which may fail.
    const holds = this.#directing.adopt();
    this.#begunAt = now();
    log.info({ by, groups: [...this.#assignment.directs], programs: this.#assignment.programs.size, binds: this.#assignment.binds.length, holds }, 'begun');
    this.#dirty.duties = true;
    this.#tell();
    this.#onBegin();
  }

  /** Tells the agent what changed. */
  #tell(): void {
    const change = this.#assignment.take();
    if (!change && !this.#dirty.duties) return;
    const moves = this.#dirty.duties || change?.moves === true;
    try {
      const duties = this.#dirty.duties ? this.#assignment.duties(this.#directing.owned) : undefined;
      this.#agent.update(change?.programs ?? new Map(), change?.groups ?? undefined, duties);
    } catch (error) {
      this.#assignment.untake();
      throw error;
    }
    this.#dirty.duties = false;
    this.#toldFile.changed(change?.programs.keys() ?? []);
    this.#loop?.trigger('changes');
    this.#reporting.ask();
    if (!moves) return;
    this.#moved = true;
    this.#directing.look();
  }

  #writeHeld(): void {
    const { node, folder } = this.#options;
    this.#write(HELD_FILE, () => folder.write(HELD_FILE, heldFile(node, this.#directing.owned, this.#assignment.binds)));
  }

  /** A full disk must not end the process: the kernel is served on, and the next write may succeed. */
  #write(what: string, write: () => void): void {
    try {
      write();
    } catch (error) {
      if (!(error instanceof StateFolderError)) throw error;
      this.#options.log.error({ err: error.message }, `${what} not written`);
    }
  }
}
