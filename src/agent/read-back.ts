/**
 * ReadBack: everything compared with the kernel in pieces, for a node of which nothing is known to be wrong: the work of every ten seconds, in
 * the midst of which a change of an endpoint may come. It changes nothing: what is not as it should be it names, and a reconcile reads that once
 * more and puts it right. So whatever happens between two pieces makes nothing wrong: each piece is compared, at the moment in which it is read,
 * with what is wanted at that moment. When a piece is due, and what comes before it, is loop.ts's.
 */
import type { IpvsObservation, ObservedService } from '../kernel/ipvs/contract.ts';
import type { NetObservation } from '../kernel/net/types.ts';
import type { Kernel } from './apply.ts';
import { observeNodeSlowly } from './observe.ts';
import { drainsOf } from './drain.ts';
import { plan, type Plan, type PlanInput } from './plan.ts';
import type { NodeObservation } from './plan-node.ts';

/** What is wanted, and what is ours. */
export type Basis = Omit<PlanInput, 'observed' | 'scope'>;

export interface ReadBackOptions {
  readonly kernel: Kernel;
  /** As it is when it is asked for. */
  readonly basis: () => Basis;
  /** Whether this node has to do with IPVS at all. */
  readonly usesIpvs: boolean;
  /** Whether what the node is, its NICs and networks, is what everything was decided upon. */
  readonly sameFacts: (net: NetObservation) => boolean;
  /** Called when a step that was waiting has something to do. */
  readonly onReady: () => void;
  readonly signal: AbortSignal;
  /** A step takes no longer, but for one piece more. Milliseconds. */
  readonly stepMs?: number;
}

/** What a reconcile is to look at, and what else was seen. */
export interface Findings {
  /** Keys of services that are not as they should be. */
  readonly services: ReadonlySet<string>;
  /** Whether something of the node is not: addresses, links, sysctls, rules. */
  readonly node: boolean;
  /** It could not be read to its end: nothing else of this counts. */
  readonly broken: boolean;
  /** Whether everything was seen whole. */
  readonly complete: boolean;
  /** Keys of services of others. */
  readonly foreign: readonly string[];
  /** Real servers of others in services that we adopted. */
  readonly kept: readonly string[];
  /** The plan for the node, which does nothing; null: a reconcile looked at the node meanwhile. */
  readonly nodePlan: Plan | null;
}

/** 'more': there is; 'waiting': there will be, and onReady says when. */
export type Step = 'more' | 'waiting' | 'done';

const STEP_MS = 2;
const NO_KEYS: ReadonlySet<string> = new Set();
const NO_SERVICES: IpvsObservation = { services: new Map(), complete: true };

export class ReadBack {
  readonly #options: ReadBackOptions;
  readonly #work: Generator<Step, void>;
  /** Of the step under way; milliseconds of performance.now(). */
  #began = 0;
  readonly #suspects = new Set<string>();
  /** Services that the kernel has, and those that a reconcile looked at since this began. */
  readonly #seen = new Set<string>();
  readonly #passed = new Set<string>();
  #nodePassed = false;
  #node = false;
  #nodePlan: Plan | null = null;
  #broken = false;
  #complete = true;
  readonly #foreign: string[] = [];
  readonly #kept: string[] = [];
  /** What the steps took together. Milliseconds. */
  tookMs = 0;

  constructor(options: ReadBackOptions) {
    this.#options = options;
    this.#work = this.#pieces();
  }

  get findings(): Findings {
    return {
      services: this.#suspects, node: this.#node && !this.#nodePassed, broken: this.#broken, complete: this.#complete, foreign: this.#foreign, kept: this.#kept,
      nodePlan: this.#nodePassed ? null : this.#nodePlan,
    };
  }

  /** Does the next part of the work. Never throws. */
  step(): Step {
    this.#began = performance.now();
    try {
      const { done, value } = this.#work.next();
      return done ? 'done' : value;
    } catch {
      // Whoever looks at everything next meets it as well, and says so.
      this.#broken = true;
      return 'done';
    } finally {
      this.tookMs += performance.now() - this.#began;
    }
  }

  /** A reconcile looked at these services, and at the node: they are as they should be, whatever was found here. */
  passed(keys: ReadonlySet<string>, node: boolean): void {
    for (const key of keys) {
      this.#suspects.delete(key);
      this.#passed.add(key);
    }
    this.#nodePassed ||= node;
  }

  *#pieces(): Generator<Step, void> {
    if (this.#options.usesIpvs) yield* this.#services();
    yield* this.#restOfNode();
  }

  *#services(): Generator<Step, void> {
    const { kernel, basis, stepMs = STEP_MS } = this.#options;
    const walk = kernel.ipvs.walk(basis().desired.services);
    this.#complete = walk.complete;
    for (let piece = walk.next(); piece !== null; piece = walk.next()) {
      for (const key of piece.keys()) this.#seen.add(key);
      this.#compare(piece.keys(), piece, walk.complete);
      if (performance.now() - this.#began >= stepMs) yield 'more';
    }
    const { desired, ledger } = basis();
    const missing = [...desired.services.keys(), ...Object.keys(ledger.services)].filter((key) => !this.#seen.has(key) && !this.#passed.has(key));
    this.#compare(missing, new Map(), walk.complete);
    yield 'more';
  }

  /** `services`: what the kernel has of these keys. */
  #compare(keys: Iterable<string>, services: ReadonlyMap<string, ObservedService>, complete: boolean): void {
    const basis = this.#options.basis();
    const ours: string[] = [];
    for (const key of keys) {
      if (basis.desired.services.has(key) || key in basis.ledger.services) ours.push(key);
      else this.#foreign.push(key);
      if (services.get(key)?.complete === false) this.#complete = false;
    }
    // A plan goes through all records that it is given.
    const part = { ...basis, drains: drainsOf(basis.drains, ours) };
    const all = plan({ ...part, observed: { ipvs: { services: services as IpvsObservation['services'], complete }, node: null }, scope: new Set(ours) });
    this.#kept.push(...all.foreign.destinations);
    if (doesNothing(all, part) && sameConflicts(all, basis, ours)) return;
    const touched = all.touched();
    for (const key of ours) {
      // Later than the list, which may say what was before.
      if (this.#passed.has(key)) continue;
      const conflict = !sameConflicts(all, basis, [key]);
      if (!touched.has(key) && !conflict) continue;
      this.#suspects.add(key);
      // Rules and VIPs depend on who has the service.
      this.#node ||= conflict;
    }
  }

  *#restOfNode(): Generator<Step, void> {
    const { kernel, basis, onReady, signal, sameFacts } = this.#options;
    const { desired, ledger } = basis();
    let observed: NodeObservation | Error | null = null;
    observeNodeSlowly(kernel, desired.shared, ledger, signal).then((node) => { observed = node; }, (error: Error) => { observed = error; }).finally(onReady);
    while (observed === null && !this.#nodePassed) yield 'waiting';
    if (this.#nodePassed) return;
    const node = observed as unknown as NodeObservation | Error;
    if (node instanceof Error) throw node;
    if (!node.complete || !sameFacts(node)) {
      this.#node = true;
      return;
    }
    yield 'more';
    const now = basis();
    const nodePlan = plan({ ...now, observed: { ipvs: NO_SERVICES, node }, scope: NO_KEYS });
    this.#nodePlan = nodePlan;
    this.#node ||= !doesNothing(nodePlan, now);
  }
}

/** Whether a plan changes neither the kernel nor what is remembered. */
function doesNothing(p: Plan, { ledger, drains }: Basis): boolean {
  return p.operations.length === 0 && p.ledgerBefore === ledger && p.ledgerAfter === ledger && p.drainsBefore === drains && p.drainsAfter === drains;
}

function sameConflicts({ conflicts }: Plan, before: Basis, keys: readonly string[]): boolean {
  return (conflicts.size === 0 && before.conflicts.size === 0) || keys.every((key) => conflicts.get(key) === before.conflicts.get(key));
}
