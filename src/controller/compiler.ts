/**
 * Compiler: turns VirtualServers, pools and groups into programs, and only those that changed. It keeps what compile needs between calls
 * and calls it; every decision is compile's, except one: what worked goes on working. A VirtualServer that is refused after it was
 * accepted keeps its last form, with the real servers of today, unless its right to the address was withdrawn; one whose mode was changed keeps it until nodes receive in
 * the new one; and one that cannot be read at start keeps the program of before. The controller and a host without a cluster use the same one.
 */
import { exact, Sharer } from '../api/share.ts';
import type { DirectorGroup, Kind, VIPPool, VirtualServer } from '../api/v1alpha1/index.ts';
import type { GroupSettings, Program } from '../api/v1alpha1/program.ts';
import { WITHDRAWN } from './compile/claims.ts';
import { affectedBy, claimSignature, compileOne, follow, prepare, undecided, type Context, type Followed, type Verdict } from './compile/compile.ts';
import { NO_CLUSTER, sameWay, type Cluster } from './compile/cluster.ts';
import type { Memory } from './compile/memory.ts';
import { admission, poolHolds, type Pool } from './compile/pools.ts';

export interface CompileChange {
  /** Programs that changed; null: gone. */
  readonly programs: ReadonlyMap<string, Program | null>;
  /** Present when a DirectorGroup changed. */
  readonly groups: ReadonlyMap<string, GroupSettings> | null;
  /** Whether claims or marks changed: the memory is to be saved. */
  readonly memoryChanged: boolean;
  /** VirtualServers whose verdict is new, whatever it says. */
  readonly compiled: readonly string[];
}

/** Everything people wrote, by objectKey: `VirtualServer/default/shop`. */
export type Objects = ReadonlyMap<string, { readonly object: VirtualServer | VIPPool | DirectorGroup }>;

/** What could not be read: nothing; something, nobody knows what; or these objectKeys. */
export type Unread = boolean | ReadonlySet<string>;

export class Compiler {
  /** The last accepted program of each owner. */
  readonly #last: Map<string, Program>;
  /** VirtualServers as they were when theirs was made of them, in this process. */
  readonly #accepted = new Map<string, VirtualServer>();
  /** Owners that were read in this process: when such a one is missing, it was deleted. */
  readonly #seen = new Set<string>();
  readonly #servers = new Map<string, VirtualServer>();
  readonly #pools = new Map<string, VIPPool>();
  readonly #groups = new Map<string, DirectorGroup>();
  readonly #verdicts = new Map<string, Verdict>();
  readonly #sharer = new Sharer();
  /** Groups of the snapshot that were not read in this process, while some file cannot be read. */
  readonly #lastGroups: Map<string, GroupSettings>;
  #context: Context | null = null;
  #incomplete: Unread = false;
  /** The claims have to be decided anew whatever changed. */
  #stale = false;
  /** To be compiled anew, whatever the claims say. */
  readonly #restored = new Set<string>();
  readonly #cluster: Cluster;
  #memory: Memory;

  /** `last` and `lastGroups`: programs and groups of before. */
  constructor(
    memory: Memory,
    last: ReadonlyMap<string, Program> = new Map(),
    lastGroups: ReadonlyMap<string, GroupSettings> = new Map(),
    cluster: Cluster = NO_CLUSTER,
  ) {
    this.#memory = memory;
    this.#cluster = cluster;
    this.#last = new Map(last);
    this.#lastGroups = new Map(lastGroups);
  }

  get memory(): Memory { return this.#memory; }
  get verdicts(): ReadonlyMap<string, Verdict> { return this.#verdicts; }
  get servers(): ReadonlyMap<string, VirtualServer> { return this.#servers; }
  /** What is served: for the snapshot. */
  get programs(): ReadonlyMap<string, Program> { return this.#last; }
  get groups(): ReadonlyMap<string, GroupSettings> { return this.#context?.groups ?? new Map(); }
  /** Every VIP with one of its holders. */
  get vips(): ReadonlyMap<string, string> { return this.#context?.claims.vips ?? new Map(); }

  /** Takes what others did to the claims meanwhile: the next update decides on it. */
  remember(memory: Memory): void {
    this.#memory = memory;
    this.#stale = true;
  }

  /** What was decided about a VirtualServer could not be done: what is served is this, and the next update decides anew. */
  restore(owner: string, program: Program | null): void {
    put(this.#last, owner, program ?? undefined);
    // Of what this one was made is not known: two controllers at once would write their own forms over each other's for ever.
    this.#accepted.delete(owner);
    this.#restored.add(owner);
    this.#stale = true;
  }

  /**
   * Takes all objects, of which `changed` (objectKeys) are new, different or gone. `incomplete`: some could not be read, so an object that
   * was never seen may be among them. `concerned`: `namespace/name` of VirtualServers around which something changed in the cluster.
   */
  update(objects: Objects, changed: ReadonlySet<string>, incomplete: Unread, concerned: Iterable<string> = []): CompileChange {
    const dirty = new Set<string>([...concerned, ...this.#restored]);
    this.#restored.clear();
    const first = this.#context === null;
    // What could not be read may be what a pool, a group or an address depends on.
    const otherwise = !sameUnread(incomplete, this.#incomplete);
    let claims = first || this.#stale || otherwise;
    let all = first || otherwise;
    let groups = first || otherwise;
    this.#stale = false;
    this.#incomplete = incomplete;
    for (const name of this.#lastGroups.keys()) if (!this.#mayBe('DirectorGroup', name)) this.#lastGroups.delete(name);
    for (const key of changed) {
      const kind = key.slice(0, key.indexOf('/'));
      const name = key.slice(kind.length + 1);
      const object = objects.get(key)?.object;
      if (kind === 'VirtualServer') {
        if (this.#claimChanged(name, object as VirtualServer | undefined)) claims = true;
        put(this.#servers, name, object as VirtualServer | undefined);
        dirty.add(name);
        if (object) this.#seen.add(name);
      } else {
        all = true;
        if (kind === 'DirectorGroup') groups = true;
        if (kind === 'VIPPool') put(this.#pools, name, object as VIPPool | undefined);
        else {
          put(this.#groups, name, object as DirectorGroup | undefined);
          this.#lastGroups.delete(name);
        }
      }
    }
    const [before, context] = [this.#memory, this.#context];
    if (claims || all) this.#prepare();
    // A newcomer costs a look at everybody's claim, not everybody's program.
    if (claims && !all) for (const name of affectedBy(context!, this.#context!, this.#servers, this.#verdicts)) dirty.add(name);
    const programs = new Map<string, Program | null>();
    const compiled = all ? [...this.#servers.keys()] : [...dirty];
    for (const name of compiled) this.#compile(name, first, programs);
    // Whoever came or went changed the claims.
    if (claims || all) this.#forgetGone(first, programs);
    const memoryChanged = before !== this.#memory && JSON.stringify(before) !== JSON.stringify(this.#memory);
    return { programs, compiled, groups: groups ? this.#context!.groups : null, memoryChanged };
  }

  /** Programs without a VirtualServer are gone, unless theirs may stand in what could not be read. */
  #forgetGone(first: boolean, programs: Map<string, Program | null>): void {
    for (const [name, program] of this.#last) {
      if (this.#servers.has(name)) continue;
      if (!this.#unread(name)) {
        this.#last.delete(name);
        this.#accepted.delete(name);
        this.#verdicts.delete(name);
        programs.set(name, null);
      } else if (first) {
        programs.set(name, program);
      }
    }
    for (const name of this.#verdicts.keys()) if (!this.#servers.has(name)) this.#verdicts.delete(name);
  }

  #claimChanged(name: string, next: VirtualServer | undefined): boolean {
    const old = this.#servers.get(name);
    return !old || !next || claimSignature(old) !== claimSignature(next);
  }

  #prepare(): void {
    this.#context = prepare({
      servers: this.#servers, pools: this.#pools, groups: this.#groups, memory: this.#memory,
      // A group that cannot be read goes on selecting its nodes: without it, hosts would direct that must not.
      cluster: this.#cluster, lastGroups: this.#lastGroups,
      unread: new Set([...this.#last.keys(), ...Object.keys(this.#memory.claims)].filter((name) => !this.#servers.has(name) && this.#unread(name))),
    });
    this.#memory = this.#context.memory;
  }

  /**
   * Whether an owner of the snapshot may stand in what could not be read. Where the names are known, one that was read before may be
   * another of its name.
   */
  #unread(name: string): boolean {
    return this.#mayBe('VirtualServer', name) && (typeof this.#incomplete !== 'boolean' || !this.#seen.has(name));
  }

  #mayBe(kind: Kind, name: string): boolean {
    return typeof this.#incomplete === 'boolean' ? this.#incomplete : this.#incomplete.has(`${kind}/${name}`);
  }

  /** Whether some object of a kind could not be read. */
  #lacks(kind: Kind): boolean {
    return typeof this.#incomplete === 'boolean' ? this.#incomplete : [...this.#incomplete].some((key) => key.startsWith(`${kind}/`));
  }

  /** The same with less memory: what most programs say, they share. */
  #lean<V extends Pick<Verdict, 'program' | 'excluded'>>(verdict: V): V {
    const { program } = verdict;
    if (program === null) return { ...verdict, excluded: exact(verdict.excluded) };
    const { spec } = program;
    const services = spec.services.map((s) => ({ ...s, ports: this.#sharer.share(s.ports), realServers: exact(s.realServers) }));
    return {
      ...verdict,
      excluded: exact(verdict.excluded),
      program: {
        ...program,
        spec: {
          ...spec, services, scheduler: this.#sharer.share(spec.scheduler), connectionLimits: this.#sharer.share(spec.connectionLimits),
          tunnel: this.#sharer.share(spec.tunnel), persistence: this.#sharer.share(spec.persistence),
          // One with certificates is of one team, and its text would be kept twice.
          ...(spec.healthCheck === undefined || spec.healthCheck.http?.caBundle ? {} : { healthCheck: this.#sharer.share(spec.healthCheck) }),
        },
      },
    };
  }

  #decide(name: string, server: VirtualServer): Verdict {
    try {
      return this.#lean(compileOne(name, server, this.#context!));
    } catch (error) {
      return undecided(error);
    }
  }

  /**
   * Whether who is refused has no right any more to what is served: its namespace is not admitted where that is, whatever it asks for besides; or no
   * pool has it, and the refusal is about the right. A pool that cannot be read withdraws nothing.
   */
  #isWithdrawn({ metadata: { namespace } }: VirtualServer, { spec: { addresses } }: Program, { reason }: Verdict): boolean {
    const pools = [...this.#context!.pools.values()];
    const holders = addresses.map(({ address }) => pools.filter((pool) => poolHolds(pool, address)));
    const mayAdmit = (pool: Pool): boolean => admission(pool, namespace, this.#cluster) !== 'Refused';
    if (holders.every((some) => some.some(mayAdmit))) return false;
    const lacks = this.#lacks('VIPPool');
    if (WITHDRAWN.has(reason)) return !(reason === 'PoolNotFound' && lacks);
    return !lacks && holders.some((some) => some.length > 0 && !some.some(mayAdmit));
  }

  #compile(name: string, first: boolean, programs: Map<string, Program | null>): void {
    const server = this.#servers.get(name);
    if (!server) return;
    const old = this.#last.get(name);
    let verdict = this.#decide(name, server);
    // Who says to stop is heard, whatever else is wrong.
    if (!verdict.accepted && old && !server.spec.suspend && !this.#isWithdrawn(server, old, verdict)) {
      const followed = this.#follow(name, server, old, first, programs);
      const { program: _, ...now } = followed ?? { addresses: old.spec.addresses.map((a) => a.address) };
      verdict = { ...verdict, ...now, ...this.#told(name, server, old, followed), message: `${verdict.message}. Until then its last accepted form is served` };
    } else if (verdict.program && old && awaitsNodes(verdict, verdict.program, old)) {
      this.#follow(name, server, old, first, programs);
    } else if (verdict.program) {
      this.#accepted.set(name, server);
      this.#serve(name, verdict.program, old, first, programs);
    } else {
      this.#last.delete(name);
      this.#accepted.delete(name);
      if (first || old) programs.set(name, null);
    }
    this.#verdicts.set(name, verdict);
  }

  #serve(name: string, program: Program, old: Program | undefined, first: boolean, programs: Map<string, Program | null>): void {
    this.#last.set(name, program);
    if (first || program.spec.contentHash !== old?.spec.contentHash) programs.set(name, program);
  }

  /**
   * Serves the form of before on: with the real servers of today, for it may be refused for weeks, and pods live shorter. Where it is not known
   * what the form was made of, as in a process that began later, the VirtualServer as it is now will do if that makes the same form; real servers
   * that somebody wrote do not change by themselves. Null: as it was, to the last real server.
   */
  #follow(name: string, server: VirtualServer, old: Program, first: boolean, programs: Map<string, Program | null>): Followed | null {
    const now = this.#followed(name, this.#accepted.get(name) ?? withoutStatic(server), old);
    this.#serve(name, now === null || now.program.spec.contentHash === old.spec.contentHash ? old : this.#lean(now).program, old, first, programs);
    return now;
  }

  #followed(name: string, form: VirtualServer | null, old: Program): Followed | null {
    try {
      return form && follow(name, form, old, this.#context!);
    } catch {
      // What is wrong is ours, and told of the newest form (undecided); the old one goes on as it was.
      return null;
    }
  }

  /**
   * What is said of references and real servers of one that is refused: what the VirtualServer as it is now says of them, if that makes the form
   * that is served. The form of before has other fields, of another generation; and a process that began later does not know it. `followed`: what
   * the form that is served came to.
   */
  #told(name: string, server: VirtualServer, old: Program, followed: Followed | null): Pick<Verdict, 'problems' | 'excluded' | 'excludedCount'> & Partial<Pick<Verdict, 'backends'>> {
    const form = withoutStatic(server);
    const now = form === (this.#accepted.get(name) ?? form) ? followed : this.#followed(name, form, old);
    if (now === null) return { problems: [], excluded: [], excludedCount: 0 };
    const { backends, problems, excluded, excludedCount } = now;
    // How many there are is said beside those that cannot be used.
    return { problems, excluded, excludedCount, ...(excludedCount > 0 ? { backends } : {}) };
  }
}

/**
 * Whether packets are to go another way, and less than half of the nodes receive in it: until then the old way serves, or clients would be refused.
 * Half, so that no few get everything, and that one node without an agent does not hold the others up for ever.
 */
function awaitsNodes({ binds, waiting }: Verdict, next: Program, old: Program): boolean {
  const place = ({ spec }: Program) => JSON.stringify([spec.directorGroup, spec.addresses]);
  return waiting.length * 2 > new Set(binds.map((b) => b.node)).size && !sameWay(next.spec, old.spec) && place(next) === place(old);
}

function sameUnread(a: Unread, b: Unread): boolean {
  if (typeof a === 'boolean' || typeof b === 'boolean') return a === b;
  return a.size === b.size && [...a].every((key) => b.has(key));
}

function put<T>(map: Map<string, T>, key: string, value: T | undefined): void {
  if (value) map.set(key, value);
  else map.delete(key);
}

/** Whether static real servers are permitted is not known of a form of before. */
function withoutStatic(server: VirtualServer): VirtualServer | null {
  return server.spec.backends.some((b) => b.static) ? null : server;
}
