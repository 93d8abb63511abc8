/**
 * Agent: keeps one node's kernel as its programs say. It owns what must be remembered between reconciles (fragments, ledger, drains) and runs
 * desired -> plan -> apply over it. It knows neither where programs come from (a folder, an API server) nor when to run (loop.ts). One reconcile
 * at a time: the caller awaits each.
 */
import type { Logger } from 'pino';
import type { GroupSettings, Program } from '../api/v1alpha1/program.ts';
import type { IpvsCapabilities, IpvsObservation } from '../kernel/ipvs/contract.ts';
import { parseServiceKey } from '../kernel/ipvs/types.ts';
import type { NetObservation, VipAddress } from '../kernel/net/types.ts';
import { isModuleMissing } from '../kernel/netlink/errors.ts';
import { Announced } from './announced.ts';
import { apply, type Failure, type Kernel } from './apply.ts';
import { untilCut, type Wait } from './cut.ts';
import { drainsByService, type DrainRecords } from './drain.ts';
import { DriftLook } from './drift-look.ts';
import type { Duties } from './duties.ts';
import type { NodeIndex, RoleChoice } from './facts.ts';
import { Fragments } from './fragments.ts';
import type { HealthSource } from './health/source.ts';
import { KeptDrains } from './kept-drains.ts';
import { KnownNode, type Reading } from './known-node.ts';
import { markedAddresses, ownsNothing, type Ledger } from './ledger.ts';
import { loadLedger } from './load-ledger.ts';
import { observeNode, sysctlsDrifted } from './observe.ts';
import { logWork, type PassKnowledge } from './kernel-log.ts';
import { countOperations, formatOperation, unfold, type Operation } from './operation.ts';
import { noteOfKept, plan, type ForeignReport, type Plan } from './plan.ts';
import { ReadBack, type Basis } from './read-back.ts';
import { Parting } from './parting.ts';
import type { StateFolder } from './state-folder.ts';
import type { DesiredService, Fragment, Refusal, SharedState } from './state.ts';
import { Tally } from './tally.ts';
import { upkeepOf } from './upkeep.ts';

export interface AgentOptions {
  readonly node: string;
  readonly role: RoleChoice;
  readonly labels: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  readonly log: Logger;
  /**
   * After the ledger was lost, addresses that bear our mark count as ours and so go when nobody wants them. In a cluster: an address that is
   * left here keeps every other director from taking it.
   */
  readonly adoptMarked?: boolean;
  /** Checks of real servers. Absent: nobody checks, and weights are left as they are. */
  readonly health?: HealthSource;
  /** How long a VIP that nobody wants any more goes on resetting connections (parting.ts). Milliseconds; absent: not at all. */
  readonly partingMs?: number;
  /** For tests. */
  readonly wait?: Wait;
}

/** What one reconcile did. */
export interface Report {
  readonly operations: number;
  readonly failures: readonly Failure[];
  /**
   * False when something asked for is not in the kernel: failures, refusals, incomplete reads, real servers on their way to another mode.
   * Drains that wait are settled.
   */
  readonly settled: boolean;
}

/** Everything a status is made of. */
export interface AgentView {
  readonly fragments: ReadonlyMap<string, Fragment>;
  /** By serviceKey(), as they are wanted. */
  readonly services: ReadonlyMap<string, DesiredService>;
  readonly refusals: readonly Refusal[];
  readonly failures: readonly Failure[];
  readonly drains: DrainRecords;
  /** Connections that they still have, by the same keys. */
  readonly remaining: ReadonlyMap<string, number>;
  readonly foreign: ForeignReport;
  readonly notes: readonly string[];
  /** What all fragments ask of the node; the same object until that changes. */
  readonly shared: SharedState;
  readonly capabilities: IpvsCapabilities | null;
  readonly netfilter: string | null;
  readonly operations: number;
  readonly drifts: number;
}

/**
 * How much a reconcile looks at. 'changes': the services of changed programs and of drains, and the node where its needs changed.
 * 'node': addresses, links, sysctls and rules besides. 'full': everything.
 */
export type Extent = 'changes' | 'node' | 'full';

/** `unread`: NodeObservation.unread. */
interface Planned { readonly plan: Plan; readonly full: boolean; readonly unread: readonly Failure[] }

/** A plan for people. */
export type Preview = Omit<Plan, 'operations'> & { readonly operations: readonly Operation[] };

/** Above this many services a list of all is cheaper, and yields to the event loop in between. */
const READ_SINGLY = 256;
/** Passes of a cleanup at most. */
const CLEANUP_TRIES = 3;
const EMPTY: IpvsObservation = { services: new Map(), complete: true };

export class Agent {
  readonly #kernel: Kernel;
  readonly #folder: StateFolder;
  readonly #options: AgentOptions;
  readonly #fragments: Fragments;
  readonly #known: KnownNode;
  #ledger: Ledger;
  readonly #drains: KeptDrains;
  readonly #parting: Parting;
  #busy = false;
  #lookedAtNode = false;
  /** What the pass under way is about. */
  #changed: PassKnowledge['changed'] = { keys: new Set(), node: false };
  /** The table as it was left. */
  readonly #driftLook = new DriftLook();
  /** Services of others where ours should stand: key -> owner. */
  #conflicts: ReadonlyMap<string, string> = new Map();
  #refusals: readonly Refusal[] = [];
  #failures: readonly Failure[] = [];
  #foreign: ForeignReport = { services: [], destinations: [], addresses: [] };
  /** Connections of real servers that drain, by drain key, as they were seen last. */
  #remaining: ReadonlyMap<string, number> = new Map();
  #notes: readonly string[] = [];
  readonly #tally = new Tally();
  readonly #announced = new Announced();
  /** Under way. */
  #readBack: ReadBack | null = null;
  /** Services that it found other than they should be. */
  #suspects: ReadonlySet<string> = new Set();

  constructor(kernel: Kernel, folder: StateFolder, options: AgentOptions) {
    this.#kernel = kernel;
    this.#folder = folder;
    this.#options = options;
    this.#known = new KnownNode(kernel, { name: options.node, role: options.role, labels: options.labels });
    this.#fragments = new Fragments(options.health);
    this.#parting = new Parting(options.partingMs ?? 0);
    this.#ledger = loadLedger(folder, options.log);
    this.#drains = new KeptDrains(folder, options.log);
  }

  /** Takes changed programs (null: gone) and, where they changed, the groups and the duties. Nothing is done until the next reconcile. */
  update(changed: ReadonlyMap<string, Program | null>, groups?: ReadonlyMap<string, GroupSettings>, duties?: Duties): void {
    const { directs } = duties ?? this.#fragments.duties;
    for (const [owner, program] of changed) {
      const old = this.#fragments.byOwner.get(owner);
      if (old && (!directs || directs.has(old.directorGroup))) this.#parting.part(old, program, this.#options.clock());
    }
    this.#fragments.update(changed, groups, duties);
  }

  /** Whether a reconcile is under way: until it ends, the view is of what is to be. */
  get busy(): boolean { return this.#busy; }
  /** Whether something was updated that no finished reconcile has dealt with. */
  get pending(): boolean { return this.#busy || this.#fragments.dirty; }
  /** Whether the last reconcile read addresses, links, sysctls and rules: with thousands of VIPs it takes long. */
  get lookedAtNode(): boolean { return this.#lookedAtNode; }
  /** Whether something that leaves is to be looked at soon. */
  get draining(): boolean { return this.#parting.any || this.#drains.any; }

  get view(): AgentView {
    const refusals = [...this.#refusals, ...this.#fragments.refusals];
    return {
      fragments: this.#fragments.byOwner, services: this.#fragments.services, shared: this.#fragments.shared,
      refusals, failures: this.#failures, drains: this.#drains.records, remaining: this.#remaining, foreign: this.#foreign, notes: this.#notes,
      capabilities: this.#known.capabilities, netfilter: this.#known.index?.facts.netfilter ?? null, operations: this.#tally.total, drifts: this.#tally.drifts,
    };
  }

  get tally(): Readonly<Tally> { return this.#tally; }

  /** What this node has, as the last reconcile found it; null before the first. */
  get index(): NodeIndex | null { return this.#known.index; }

  /** Addresses that we added or are about to, by `link address`. */
  get addresses(): Ledger['addresses'] { return this.#ledger.addresses; }

  /** The cheap look of every second: whether services, their schedulers or sizes, or sysctls are not as we left them. */
  drifted(): boolean {
    if (this.#usesIpvs() && !this.#known.lacksIpvs && this.#driftLook.differs(this.#kernel.ipvs.fingerprint())) return true;
    return sysctlsDrifted(this.#kernel, this.#fragments.shared);
  }

  /** Brings the kernel to what the programs say, as far as `extent` looks. */
  async reconcile(extent: Extent, signal?: AbortSignal): Promise<Report> {
    this.#busy = true;
    try {
      const next = await this.#plan(extent, signal);
      return next ? await this.#execute(next, signal) : { operations: 0, failures: [], settled: this.#settled() };
    } catch (error) {
      // What this pass had taken up is not done.
      this.#fragments.touchAll();
      throw error;
    } finally {
      this.#busy = false;
    }
  }

  /** What a full reconcile would do now, one operation each. Changes neither kernel nor files. */
  async preview(signal?: AbortSignal): Promise<Preview> {
    try {
      const { plan: p } = (await this.#plan('full', signal))!;
      return { ...p, operations: unfold(p.operations) };
    } finally {
      // Nothing of it was done: the next reconcile starts from the same place.
      this.#fragments.touchAll();
    }
  }

  async #plan(extent: Extent, signal?: AbortSignal): Promise<Planned | null> {
    const net = extent !== 'changes' || this.#fragments.allDirty || !this.#known.index ? this.#lookAtNode() : null;
    const index = this.#probe(extent === 'full' && this.#fragments.retryMissingFeatures());
    this.#lookedAtNode = false;
    const { keys, needsChanged: changed } = this.#fragments.refresh(index);
    const needsChanged = this.#parting.end(this.#options.clock()) || changed;
    this.#changed = { keys, node: needsChanged };
    const some = new Set([...keys, ...this.#suspects, ...drainsByService(this.#drains.records).keys()]);
    const full = extent === 'full' || this.#ledger.fresh || some.size > READ_SINGLY;
    const scope = full ? null : some;
    if (extent === 'changes' && !full && some.size === 0 && !needsChanged) return null;
    const observes = full || extent === 'node' || needsChanged;
    const node = observes ? observeNode(this.#kernel, this.#fragments.shared, this.#ledger, net ?? this.#kernel.net.observe()) : null;
    const ipvs = this.#usesIpvs() ? await this.#readIpvs(scope, signal) : EMPTY;
    this.#lookedAtNode = node !== null;
    this.#readBack?.passed(some, node !== null);
    return { plan: plan({ ...this.#basis(), observed: { ipvs, node }, scope }), full, unread: node?.unread ?? [] };
  }

  #basis(): Basis {
    return {
      desired: this.#fragments, ledger: this.#ledger, drains: this.#drains.records, now: this.#options.clock(),
      noneScheduler: this.#known.capabilities?.schedulers.has('none') ?? false,
      refused: this.#fragments.refused(), conflicts: this.#conflicts, additive: !this.#known.complete, parting: this.#parting.staying,
    };
  }

  /**
   * Begins to compare everything with the kernel in pieces. Null: something is wrong or not known, and only a reconcile of everything will do.
   * Changes may be reconciled between two pieces; after a reconcile of everything it is to be left. `onReady`, `stepMs`: see ReadBack.
   */
  readBack(onReady: () => void, signal: AbortSignal, stepMs?: number): ReadBack | null {
    this.#readBack = null;
    if (!this.#known.complete || this.#ledger.fresh || this.#fragments.allDirty || this.#failures.length > 0 || this.#fragments.lacksFeatures) return null;
    const sameFacts = (net: NetObservation) => this.#known.same(net, this.#reading());
    const means = { kernel: this.#kernel, basis: () => this.#basis(), usesIpvs: this.#usesIpvs(), sameFacts, onReady, signal };
    this.#readBack = new ReadBack({ ...means, ...(stepMs !== undefined && { stepMs }) });
    return this.#readBack;
  }

  /** Ends a comparison that is done: what it found is looked at, and put right. */
  async conclude({ findings }: ReadBack, signal?: AbortSignal): Promise<Report> {
    const { services, node, broken, complete, foreign, kept, nodePlan } = findings;
    this.#readBack = null;
    if (broken || services.size > READ_SINGLY) return this.reconcile('full', signal);
    this.#foreign = { services: foreign, destinations: kept, addresses: nodePlan?.foreign.addresses ?? this.#foreign.addresses };
    if (nodePlan) this.#notes = [...nodePlan.notes, ...noteOfKept(kept), ...this.#goesWithout()];
    if (services.size === 0 && !node) return { operations: 0, failures: [], settled: complete && this.#settled() };
    this.#suspects = services;
    const report = await this.reconcile(node ? 'node' : 'changes', signal).finally(() => { this.#suspects = new Set(); });
    return { ...report, settled: report.settled && complete };
  }

  async #execute({ plan: p, full, unread }: Planned, signal?: AbortSignal): Promise<Report> {
    const [ledger, drains] = [this.#ledger, this.#drains.records];
    this.#drains.set(p.drainsBefore);
    try {
      this.#saveLedger(p.ledgerBefore);
    } catch (error) {
      const upkeep = upkeepOf(p.operations, ledger);
      this.#driftLook.changed(upkeep, await apply(upkeep, this.#kernel, signal));
      throw error;
    }
    let failures: readonly Failure[] = [];
    if (p.operations.length > 0) {
      const { services, shared } = this.#fragments;
      logWork(this.#options.log, p.operations, { services, shared, ledger: this.#ledger, drains, failures: this.#failures, changed: this.#changed });
      failures = await apply(p.operations, this.#kernel, signal);
      // Whatever asks for the next pass.
      if (p.unfinished) await untilCut(signal, this.#options.wait);
    }
    this.#tally.reconciled(p.operations, failures, ledger, this.#failures, full, this.#options.clock());
    failures = [...failures, ...unread];
    for (const { operation, error: { code, errno, message } } of failures) {
      this.#options.log.error({ operation: formatOperation(operation), code, errno, err: message }, 'operation failed');
    }
    if (failures.length === 0) {
      const established = full && p.complete && p.ledgerAfter.fresh ? { ...p.ledgerAfter, fresh: false } : p.ledgerAfter;
      this.#saveLedger(established);
      this.#drains.set(p.drainsAfter);
    }
    if (full) {
      this.#foreign = p.foreign;
      this.#notes = [...p.notes, ...this.#goesWithout()];
    }
    this.#conflicts = p.conflicts;
    // Those that a narrow pass did not look at are as before; those that are through are in nobody's records.
    this.#remaining = new Map([...this.#remaining, ...p.remaining].filter(([id]) => id in this.#drains.records));
    this.#refusals = p.refusals;
    this.#failures = failures;
    if (full) this.#driftLook.left(this.#usesIpvs() && !this.#known.lacksIpvs ? this.#kernel.ipvs.fingerprint() : null);
    else this.#driftLook.changed(p.operations, failures);
    return { operations: countOperations(p.operations), failures, settled: p.complete && !p.unfinished && this.#settled() };
  }

  /** Removes exactly what is ours and restores what stood before. */
  async cleanup(signal?: AbortSignal): Promise<Report> {
    this.#fragments.clear();
    this.#parting.clear();
    // An asked-for removal: what the ledger names may go, however it came to be.
    this.#ledger = { ...this.#ledger, fresh: false };
    let operations = 0;
    for (let i = 1; ; i++) {
      const report = await this.reconcile('full', signal);
      operations += report.operations;
      const clean = ownsNothing(this.#ledger);
      // Again after an interrupted read, which permits no deletion; and once more where something failed.
      if (clean || i === CLEANUP_TRIES) {
        if (!clean) this.#options.log.warn({ ledger: this.#ledger }, 'left after cleanup');
        return { operations, failures: report.failures, settled: clean && report.settled };
      }
    }
  }

  #settled(): boolean { return this.#failures.length + this.#refusals.length + this.#fragments.refusals.length === 0; }

  /** What this node cannot have although it serves without it. */
  #goesWithout(): string[] {
    if (this.#known.index!.facts.netfilter !== null || this.#fragments.shared.tunnels.size === 0) return [];
    return [
      'answers through tunnels do not limit their MSS, since neither nft nor iptables works here: uploads stall where ICMP is filtered; install nftables or iptables',
    ];
  }

  #usesIpvs(): boolean {
    return this.#fragments.services.size > 0 || Object.keys(this.#ledger.services).length > 0 || this.#fragments.shared.timeouts !== null;
  }

  /** Reads NICs and addresses, and takes them for the facts. */
  #lookAtNode(): NetObservation {
    const net = this.#kernel.net.observe();
    if (this.#ledger.fresh && this.#options.adoptMarked) this.#ledger = { ...this.#ledger, addresses: { ...markedAddresses(net), ...this.#ledger.addresses } };
    if (this.#known.take(net, this.#reading())) this.#fragments.touchAll();
    return net;
  }

  #reading(): Reading {
    const { addresses } = this.#ledger;
    return { ours: { has: (address) => address in addresses }, missesNetfilter: this.#fragments.lacksFeatures || this.#fragments.shared.tunnels.size > 0 };
  }

  /** Asks the kernel what it can do where that is of use; returns what is known of the node now. */
  #probe(again: boolean): NodeIndex {
    this.#known.probe(this.#fragments.unknownSchedulers(this.#known.capabilities?.schedulers ?? new Set(), this.#known.index!), again);
    return this.#known.index!;
  }

  /** Services of these keys; null: all. Without ip_vs there is none, ours or anybody's. */
  async #readIpvs(scope: ReadonlySet<string> | null, signal?: AbortSignal): Promise<IpvsObservation> {
    const { ipvs } = this.#kernel;
    try {
      if (scope === null) return await ipvs.readAll(signal, this.#fragments.services);
      return ipvs.read([...scope].flatMap((key) => this.#fragments.services.get(key)?.service ?? parseServiceKey(key) ?? []));
    } catch (error) {
      if (isModuleMissing(error)) return EMPTY;
      throw error;
    }
  }

  /** Throws StateFolderError. */
  #saveLedger(ledger: Ledger): void {
    if (ledger !== this.#ledger) this.#folder.write('ledger', ledger);
    this.#ledger = ledger;
  }

  /** VIPs of ours that this node answers for, by `link address`; the same object until they change. */
  get announced(): ReadonlyMap<string, VipAddress> { return this.#announced.of(this.#fragments.shared.vips, this.#ledger.addresses); }

  /** Counts a drift found, for the status. */
  countDrift(): void { this.#tally.drifts++; }
}
