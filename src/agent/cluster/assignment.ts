/**
 * Assignment: everything this node is told, from the caches or, before they are complete, from the snapshot; and from it what the agent takes:
 * programs, settings of groups, duties. State, no effects. A thing that is missing is gone only where the cache that should have it is
 * complete; a thing that is wrong leaves the last good one in force.
 */
import type { DirectorGroup, IPVSNodeSpec, VirtualServerProgram } from '../../api/v1alpha1/index.ts';
import type { GroupSettings, Program } from '../../api/v1alpha1/program.ts';
import type { Duties } from '../duties.ts';
import { bindPrograms, LINGER_MS, nextBinds, nextEnd, receivingOf, type BindRecord } from './binds.ts';
import { groupDutyOf, localNodes, programOf, type GroupDuty, type ProgramProblem } from './programs.ts';

export interface AssignmentState {
  /** Null: never told. */
  readonly spec: IPVSNodeSpec | null;
  readonly groups: ReadonlyMap<string, GroupDuty>;
  readonly binds: readonly BindRecord[];
  /** By owner. */
  readonly programs: ReadonlyMap<string, Program>;
}

export const NOTHING: AssignmentState = { spec: null, groups: new Map(), binds: [], programs: new Map() };

/** What the agent is to be told. */
export interface AssignmentChange {
  readonly programs: ReadonlyMap<string, Program | null>;
  readonly groups: ReadonlyMap<string, GroupSettings> | null;
  /** Whether it may matter for who holds which VIP: a program came, went, or has others; or it wants to be where its real servers are. */
  readonly moves: boolean;
}

export interface AssignmentOptions {
  readonly node: string;
  /** Least time that a bind lingers, in milliseconds. */
  readonly lingerMs?: number;
}

export class Assignment {
  readonly #options: AssignmentOptions;
  #spec: IPVSNodeSpec | null;
  readonly #groups: Map<string, GroupDuty>;
  #binds: readonly BindRecord[];
  /** Complete programs of the groups that this node directs for. */
  readonly #programs: Map<string, Program>;
  #bindPrograms = new Map<string, Program>();
  readonly #problems = new Map<string, ProgramProblem>();
  readonly #byVip = new Map<string, Set<string>>();
  readonly #local = new Map<string, ReadonlySet<string>>();
  /** Owners whose program may be another than the agent knows. */
  #dirty = new Set<string>();
  #groupsDirty = true;
  /** What the agent knows. */
  readonly #told = new Map<string, Program>();
  /** What was taken last: of each owner what the agent knew before. */
  #taken = { programs: new Map<string, Program | null>(), groups: false };

  constructor(options: AssignmentOptions, state: AssignmentState = NOTHING) {
    this.#options = options;
    this.#spec = state.spec;
    this.#groups = new Map(state.groups);
    this.#binds = state.binds;
    this.#programs = new Map();
    for (const [owner, program] of state.programs) this.#put(owner, program);
    this.#rebind();
  }

  get spec(): IPVSNodeSpec | null { return this.#spec; }
  get groups(): ReadonlyMap<string, GroupDuty> { return this.#groups; }
  get binds(): readonly BindRecord[] { return this.#binds; }
  /** By owner; those of binds are not among them. */
  get programs(): ReadonlyMap<string, Program> { return this.#programs; }
  /** What is wrong with programs, by owner. */
  get problems(): ReadonlyMap<string, ProgramProblem> { return this.#problems; }
  get directs(): ReadonlySet<string> { return new Set((this.#spec?.directorGroups ?? []).filter((name) => name !== '')); }

  /** Owners of the programs that want a VIP. */
  ownersOf(vip: string): ReadonlySet<string> { return this.#byVip.get(vip) ?? NOBODY; }

  /** Where the real servers of a VIP are, when one of its programs uses only local ones; null: anywhere. */
  preferredOf(vip: string): ReadonlySet<string> | null {
    let nodes: Set<string> | null = null;
    for (const owner of this.ownersOf(vip)) for (const node of this.#local.get(owner) ?? []) (nodes ??= new Set()).add(node);
    return nodes;
  }

  /** The IPVSNode's spec. Programs of groups that are not this node's any more go. `now`: milliseconds since the epoch. */
  setSpec(spec: IPVSNodeSpec, now: number): void {
    const groups = new Set(spec.directorGroups);
    if (this.#spec?.directorGroups.join() !== spec.directorGroups.join()) this.#groupsDirty = true;
    this.#spec = spec;
    for (const [owner, program] of this.#programs) if (!groups.has(program.spec.directorGroup)) this.#put(owner, null);
    for (const owner of this.#problems.keys()) if (!this.#programs.has(owner)) this.#problems.delete(owner);
    this.setTime(now);
  }

  /** Binds that lingered long enough go. Returns when the next one does; milliseconds since the epoch, null: none. */
  setTime(now: number): number | null {
    const next = nextBinds(this.#binds, this.#spec?.realServer.binds ?? [], (vs) => this.#lingerMs(vs), now);
    if (next !== this.#binds) {
      this.#binds = next;
      this.#rebind();
    }
    return nextEnd(next);
  }

  /** A DirectorGroup, or null when there is none of that name: its last settings stay, for whoever directs for it. */
  setGroup(name: string, group: DirectorGroup | null): void {
    if (!group) return;
    const duty = groupDutyOf(group);
    const old = this.#groups.get(name);
    if (JSON.stringify(old) === JSON.stringify(duty)) return;
    this.#groups.set(name, duty);
    if (JSON.stringify(old?.settings) !== JSON.stringify(duty.settings) && this.directs.has(name)) this.#groupsDirty = true;
  }

  /** All objects of one VirtualServer that any of this node's groups has; none: its program is gone. */
  setProgram(owner: string, objects: readonly VirtualServerProgram[]): ProgramProblem | null {
    if (objects.length === 0) {
      this.#problems.delete(owner);
      this.#put(owner, null);
      return null;
    }
    const result = programOf(objects);
    if ('problem' in result) {
      const known = this.#problems.get(owner)?.message === result.problem.message;
      this.#problems.set(owner, result.problem);
      return known ? null : result.problem;
    }
    this.#problems.delete(owner);
    if (this.#programs.get(owner)?.spec.contentHash !== result.program.spec.contentHash) this.#put(owner, result.program);
    return null;
  }

  /** All programs of a group are known: what the snapshot had besides is gone. */
  complete(group: string, owners: ReadonlySet<string>): void {
    for (const [owner, { spec }] of this.#programs) if (spec.directorGroup === group && !owners.has(owner)) this.#put(owner, null);
  }

  /** What changed since it was asked last; null: nothing. */
  take(): AssignmentChange | null {
    const programs = new Map<string, Program | null>();
    this.#taken = { programs: new Map(), groups: this.#groupsDirty };
    let moves = this.#groupsDirty;
    for (const owner of this.#dirty) {
      const program = this.#programs.get(owner) ?? this.#bindPrograms.get(owner) ?? null;
      const told = this.#told.get(owner) ?? null;
      if (same(told, program)) continue;
      programs.set(owner, program);
      this.#taken.programs.set(owner, told);
      if (!samePlace(told, program) || this.#local.has(owner) || (told && localNodes(told))) moves = true;
      if (program) this.#told.set(owner, program);
      else this.#told.delete(owner);
    }
    this.#dirty = new Set();
    const directed = (name: string) => {
      const group = this.#groups.get(name);
      return group ? [[name, group.settings] as const] : [];
    };
    const groups = this.#groupsDirty ? new Map([...this.directs].flatMap(directed)) : null;
    this.#groupsDirty = false;
    return programs.size > 0 || groups ? { programs, groups, moves } : null;
  }

  /** What was taken last did not arrive: it is taken again. */
  untake(): void {
    for (const [owner, old] of this.#taken.programs) {
      this.#dirty.add(owner);
      if (old) this.#told.set(owner, old);
      else this.#told.delete(owner);
    }
    this.#groupsDirty ||= this.#taken.groups;
  }

  duties(owned: ReadonlySet<string>): Duties {
    return { directs: this.directs, owned, receives: receivingOf(this.#binds), reserved: new Set(this.#spec?.reservedAddresses ?? []) };
  }

  #lingerMs(virtualServer: string): number {
    return Math.max(this.#options.lingerMs ?? LINGER_MS, (this.#programs.get(virtualServer)?.spec.drainTimeoutSeconds ?? 0) * 1000);
  }

  #rebind(): void {
    for (const owner of this.#bindPrograms.keys()) this.#dirty.add(owner);
    this.#bindPrograms = bindPrograms(this.#options.node, this.#binds);
    for (const owner of this.#bindPrograms.keys()) this.#dirty.add(owner);
  }

  #put(owner: string, program: Program | null): void {
    const old = this.#programs.get(owner);
    for (const { address } of old?.spec.addresses ?? []) {
      const owners = this.#byVip.get(address);
      owners?.delete(owner);
      if (owners?.size === 0) this.#byVip.delete(address);
    }
    this.#local.delete(owner);
    this.#dirty.add(owner);
    if (!program) {
      this.#programs.delete(owner);
      return;
    }
    this.#programs.set(owner, program);
    for (const { address } of program.spec.addresses) {
      const owners = this.#byVip.get(address);
      if (owners) owners.add(owner);
      else this.#byVip.set(address, new Set([owner]));
    }
    const local = localNodes(program);
    if (local) this.#local.set(owner, local);
  }
}

const NOBODY: ReadonlySet<string> = new Set();

/** Programs of binds have no hash; they are short. */
function same(a: Program | null, b: Program | null): boolean {
  if (a === b) return true;
  if (!a || !b) return false;
  return a.spec.contentHash === b.spec.contentHash && (a.spec.contentHash !== '' || JSON.stringify(a) === JSON.stringify(b));
}

/** Whether two forms of a program want the same VIPs. */
function samePlace(a: Program | null, b: Program | null): boolean {
  if (!a || !b) return false;
  const [had, has] = [a.spec.addresses, b.spec.addresses];
  return a.spec.directorGroup === b.spec.directorGroup && had.length === has.length && had.every(({ address }, i) => address === has[i]!.address);
}
