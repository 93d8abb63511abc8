/**
 * HealthWatch: the checks of everything that this node directs. It keeps for each program what is to be checked, hands the union to the
 * checker, and knows whose weights may have changed since they were asked for. It decides no weight (weighing.ts) and touches no kernel.
 *
 *     Fragments ── follow(program) ──> targets ──> Checker ── health ──> changed() ──> Fragments ── weights(program)
 */
import type { Logger } from 'pino';
import type { Program, RealServer } from '../../api/v1alpha1/program.ts';
import { linkToward, type NodeIndex } from '../facts.ts';
import type { CheckTarget } from './check.ts';
import { Checker, NODE_TIMERS, type CheckerOptions, type Timers } from './checker.ts';
import type { CheckCounts } from './counts.ts';
import { massFailures, type GuardMember, type MassFailure } from './guard.ts';
import { Newcomers } from './newcomers.ts';
import { pathDependsOn, pathOf } from './path.ts';
import { checkedHere, type HealthSource, type Ways } from './source.ts';
import { UNKNOWN, type Health } from './verdict.ts';
import { NOTHING_KNOWN, targetFor, weigh, weightKey, type Known, type Weights } from './weighing.ts';

export interface HealthWatchOptions extends Omit<CheckerOptions, 'onChange'> {
  readonly log: Logger;
  /** Called when weights() of some program may be others than before. */
  readonly onChange: () => void;
}

/** One program that is checked. */
interface Followed {
  readonly program: Program;
  /** Keys of targets, by service and in the order of its real servers; '' for one that cannot be checked. */
  readonly keys: readonly (readonly string[])[];
  readonly services: readonly (readonly RealServer[])[];
  readonly ways: Ways;
  /** pathDependsOn(). */
  readonly node: string;
}

interface Watched {
  readonly target: CheckTarget;
  readonly owners: Set<string>;
  readonly link: string;
}

/** A real server that is not as it was written, for status. */
export interface Unhealthy {
  readonly address: string;
  readonly port: number;
  /** Down: it gets nothing. Held and Panic: it counts as up. */
  readonly state: 'Down' | 'Held' | 'Panic';
  readonly reason: string;
  readonly message: string;
}

const NO_WAYS: Ways = new Map();
/** While everybody is silent: who was never out and passes once more ends it, and that is no change that the checker tells. */
const LOOK_AGAIN_MS = 1_000;
/** setTimeout's longest. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export class HealthWatch implements HealthSource {
  readonly #options: HealthWatchOptions;
  readonly #checker: Checker;
  readonly #followed = new Map<string, Followed>();
  readonly #newcomers = new Newcomers();
  /** What was decided last. */
  readonly #decided = new Map<string, Weights>();
  readonly #watched = new Map<string, Watched>();
  #changed = new Set<string>();
  /** Of each program, when its weights change by themselves; monotonic milliseconds. */
  readonly #next = new Map<string, number>();
  #failures: ReadonlyMap<string, MassFailure> = new Map();
  #held: ReadonlySet<string> = new Set();
  #guardStale = false;
  /** When it is to be looked at anew although nothing changed. */
  #guardAt = Infinity;
  #told = new Set<string>();
  #sync: unknown = null;
  #timer: unknown = null;
  readonly #timers: Timers;
  #timerAt = Infinity;
  #stopped = false;

  constructor(options: HealthWatchOptions) {
    this.#options = options;
    this.#timers = options.timers ?? NODE_TIMERS;
    this.#checker = new Checker({ ...options, onChange: (target, health, before) => this.#onResult(target, health, before) });
  }

  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#checker.run(signal);
    } finally {
      this.#stopped = true;
      for (const timer of [this.#sync, this.#timer]) if (timer !== null) this.#timers.clear(timer);
    }
  }

  get counts(): CheckCounts { return this.#checker.counts; }
  get targets(): number { return this.#watched.size; }
  /** Of the programs whose real servers are checked. */
  get owners(): Iterable<string> { return this.#followed.keys(); }
  get open(): number { return this.#checker.open; }
  /** Interfaces behind which everybody went silent at once. */
  get massFailures(): ReadonlyMap<string, MassFailure> { return this.#failures; }

  follow(owner: string, program: Program | null, index: NodeIndex, ways: Ways): void {
    const before = this.#followed.get(owner);
    const check = program?.spec.healthCheck;
    if (program === null || check === undefined) {
      this.#decided.delete(owner);
      if (before === undefined) return;
      this.#forget(owner, before);
      return;
    }
    // The same program on the same node has the same real servers, and they are reached as before.
    const node = pathDependsOn(program, index);
    if (before?.program === program && before.node === node) return;
    const services = checkedHere(program, index);
    const keys = services.map((realServers, at) => realServers.map((r) => {
      const target = this.#target(program, at, r, index, ways);
      if (target === null) return '';
      const known = this.#watched.get(target.key);
      if (known) known.owners.add(owner);
      else this.#watched.set(target.key, { target, owners: new Set([owner]), link: linkToward(r.address, index) });
      return target.key;
    }));
    if (before) this.#release(owner, before, new Set(keys.flat()));
    this.#followed.set(owner, { program, keys, services, ways, node });
    this.#ask();
  }

  weights(program: Program, index: NodeIndex): Weights {
    const now = this.#options.now();
    this.#guard(now);
    const followed = this.#followed.get(program.owner);
    // What is followed has its keys; a new program may share its targets with others, whose health is known.
    const same = followed?.program === program;
    const services = same ? followed.services : checkedHere(program, index);
    if (!same) this.#newcomers.look(program, services, followed?.services ?? null, now);
    const weights = weigh(program.spec, services, (at, r, i): Known => {
      const key = same ? followed.keys[at]![i]! : this.#target(program, at, r, index, followed?.ways ?? NO_WAYS)?.key ?? '';
      return { ...(key === '' ? NOTHING_KNOWN : this.#known(key)), appearedAt: this.#newcomers.appearedAt(program.owner, r) };
    }, now);
    if (weights.nextChangeAt === Infinity) this.#next.delete(program.owner);
    else this.#next.set(program.owner, weights.nextChangeAt);
    this.#arm(weights.nextChangeAt);
    this.#decided.set(program.owner, weights);
    return weights;
  }

  changed(): ReadonlySet<string> {
    const now = this.#options.now();
    this.#guard(now);
    for (const [owner, at] of this.#next) {
      if (at > now) continue;
      this.#next.delete(owner);
      this.#changed.add(owner);
    }
    this.#sayRefused();
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  /**
   * The real servers of a program that are down, or count as up although their check fails. In the order of the program; each address and
   * port once.
   */
  unhealthy(owner: string): Unhealthy[] {
    const found = new Map<string, Unhealthy>();
    const followed = this.#followed.get(owner);
    const decided = this.#decided.get(owner);
    followed?.services.forEach((realServers, s) => realServers.forEach((r, i) => {
      const reason = decided?.byServer.get(weightKey(s, r))?.reason;
      const { last } = this.#known(followed.keys[s]![i]!).health;
      if ((reason !== 'Down' && reason !== 'Held' && reason !== 'Panic') || last === null) return;
      found.set(`${r.address} ${r.port}`, { address: r.address, port: r.port, state: reason, reason: last.reason, message: last.message });
    }));
    return [...found.values()];
  }

  /** Each target that cannot be checked is told once: the API refuses such checks, so it came from a program of another version. */
  #sayRefused(): void {
    for (const { target, problem } of this.#checker.refused) {
      if (this.#told.has(target.key)) continue;
      this.#told.add(target.key);
      this.#options.log.error({ target: target.key, problem, virtualServers: [...this.#watched.get(target.key)?.owners ?? []].slice(0, 10) }, 'not checked');
    }
    if (this.#told.size > this.#checker.refused.length) this.#told = new Set(this.#checker.refused.map((r) => r.target.key));
  }

  /** Null where a real server cannot be checked as it should be: then nothing is known of it. */
  #target(program: Program, at: number, r: RealServer, index: NodeIndex, ways: Ways): CheckTarget | null {
    const path = pathOf(program, at, r, index, ways);
    return path === null ? null : targetFor(program.spec.healthCheck!, r, path);
  }

  #known(key: string): Pick<Known, 'health' | 'held'> {
    return { health: this.#checker.health(key) ?? UNKNOWN, held: this.#held.has(key) };
  }

  #forget(owner: string, before: Followed): void {
    this.#followed.delete(owner);
    this.#newcomers.forget(owner);
    this.#decided.delete(owner);
    this.#next.delete(owner);
    this.#changed.delete(owner);
    this.#release(owner, before, new Set());
    this.#ask();
  }

  #release(owner: string, { keys }: Followed, kept: ReadonlySet<string>): void {
    for (const key of keys.flat()) {
      if (key === '' || kept.has(key)) continue;
      const watched = this.#watched.get(key);
      watched?.owners.delete(owner);
      if (watched?.owners.size === 0) this.#watched.delete(key);
    }
  }

  /** The checker gets its targets once for however many programs changed in this turn. */
  #ask(): void {
    this.#sync ??= this.#timers.set(() => {
      this.#sync = null;
      if (this.#stopped) return;
      this.#checker.set([...this.#watched.values()].map((w) => w.target));
    }, 0);
  }

  #onResult(target: CheckTarget, health: Health, before: Health): void {
    const owners = this.#watched.get(target.key)?.owners;
    if (!owners) return;
    this.#guardStale = true;
    if (health.state !== before.state) {
      const { last } = health;
      const virtualServers = [...owners].slice(0, 10);
      this.#options.log.info({ target: target.key, state: health.state, reason: last?.reason, result: last?.message, virtualServers }, 'health');
      for (const owner of owners) this.#changed.add(owner);
    }
    this.#options.onChange();
  }

  /** Looks anew whether everything behind an interface went silent, and tells whose weights that changes. */
  #guard(now: number): void {
    if (!this.#guardStale && now < this.#guardAt) return this.#arm(this.#guardAt);
    this.#guardStale = false;
    const next = massFailures(this.#members(), this.#failures, now);
    const { log } = this.#options;
    for (const [link, f] of next) {
      if (this.#failures.has(link)) continue;
      const what = { link: link || 'routes', targets: f.held.size };
      log.warn(what, 'every checked real server behind this interface went silent at once; they are kept as they were');
    }
    for (const link of this.#failures.keys()) {
      if (!next.has(link)) log.info({ link: link || 'routes' }, 'real servers behind this interface are heard again');
    }
    this.#failures = next;
    const held = new Set([...next.values()].flatMap((f) => [...f.held]));
    for (const key of [...held, ...this.#held]) {
      if (held.has(key) === this.#held.has(key)) continue;
      for (const owner of this.#watched.get(key)?.owners ?? []) this.#changed.add(owner);
    }
    this.#held = held;
    this.#guardAt = Math.min(Infinity, ...[...next.values()].map(({ until }) => until ?? now + LOOK_AGAIN_MS));
    this.#arm(this.#guardAt);
  }

  *#members(): Generator<GuardMember> {
    for (const { target, link } of this.#watched.values()) {
      yield { key: target.key, link, address: target.address, check: target.check, health: this.#checker.health(target.key) ?? UNKNOWN };
    }
  }

  /** Asks for a look at `at`, unless one is due before. */
  #arm(at: number): void {
    if (at >= this.#timerAt || this.#stopped) return;
    if (this.#timer !== null) this.#timers.clear(this.#timer);
    this.#timerAt = at;
    this.#timer = this.#timers.set(() => {
      this.#timer = null;
      this.#timerAt = Infinity;
      this.#options.onChange();
    }, Math.min(Math.max(at - this.#options.now(), 0) + 1, MAX_TIMEOUT_MS));
  }
}
