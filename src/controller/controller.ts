/**
 * Controller: makes the cluster's VirtualIPs, programs and IPVSNodes what compile says, and reports back. One pass at a time: take what
 * changed, compile, write the difference. Status is written between passes, and no pass waits for it. It moves values between the caches,
 * the compiler and the writers, and decides only when; the order of writes is reconcile/writing.ts's.
 */
import { objectKey, virtualIPName, type ServerObjects, type VirtualServerStatus } from '../api/v1alpha1/index.ts';
import type { GroupSettings, Program } from '../api/v1alpha1/program.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Log } from '../kube/types.ts';
import { childOf, isAbort, sleep as realSleep, type Sleep } from '../kube/wait.ts';
import { Alarm } from './alarm.ts';
import { hashOf } from './compile/compile.ts';
import { Compiler } from './compiler.ts';
import { Absent } from './reconcile/absent.ts';
import { Budget } from './reconcile/budget.ts';
import { Dirty } from './reconcile/dirty.ts';
import type { CountWrite } from './reconcile/writer.ts';
import { ownerOf, Writing } from './reconcile/writing.ts';
import { claimsOf, lostOf, marksOf, programsOf, withServed } from './remembered.ts';
import { Reports } from './reports.ts';
import { Serving } from './serving.ts';
import { Statuses } from './statuses.ts';
import { Surroundings } from './surroundings.ts';
import type { Changes, World } from './world.ts';

export interface ControllerOptions {
  readonly client: KubeClient;
  readonly world: World;
  readonly log: Log;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  readonly writesPerSecond?: number;
  readonly coalesceMs?: number;
  readonly count: CountWrite;
  readonly onTransition: (server: ServerObjects['VirtualServer'], before: VirtualServerStatus | undefined, after: VirtualServerStatus) => void;
  readonly onPass?: (ms: number, ok: boolean) => void;
  readonly sleep?: Sleep;
}

/** What comes within this time of the first change is one pass. Milliseconds. */
const COALESCE_MS = 50;
const WRITES_PER_SECOND = 250;
const BURST = 1_000;
/** Leases run out without an event, and objects that fail their schema come without one. Milliseconds. */
const TICK_MS = 1_000;

export class Controller {
  readonly #options: ControllerOptions;
  readonly #reports = new Reports(() => this.#compiler?.programs ?? new Map());
  readonly #serving = new Serving((owner) => this.#writing.present(owner));
  readonly #dirty = new Dirty();
  readonly #writing: Writing;
  readonly #statuses: Statuses;
  readonly #surroundings: Surroundings;
  readonly #absent: Absent;
  #compiler: Compiler | null = null;
  #unread: ReadonlySet<string> = new Set();
  readonly #alarm: Alarm;
  /** Rung when statuses may have to be written. */
  readonly #reportAlarm: Alarm;
  #passes = 0;
  #passStarted: number | null = null;
  /** What people wrote that the pass that runs looks at, by objectKey. */
  #deciding: ReadonlySet<string> = new Set();
  /** When a pass last heard of a write, whatever became of it. */
  #wroteAt = 0;
  /** What the last pass took. */
  #passMs = 0;

  constructor(options: ControllerOptions) {
    this.#options = options;
    const { world, now, sleep, writesPerSecond = WRITES_PER_SECOND } = options;
    this.#alarm = new Alarm(now, sleep ?? realSleep);
    this.#reportAlarm = new Alarm(now, sleep ?? realSleep);
    const budget = new Budget({ perSecond: writesPerSecond, burst: BURST, now, ...(sleep && { sleep }) });
    this.#surroundings = new Surroundings({
      services: world.services.store, slices: world.slices.store, endpoints: world.endpoints.store, nodes: world.nodes.store, namespaces: world.namespaces.store,
      serviceCIDRs: world.serviceCIDRs.store, grants: world.grants.store, ipvsNodes: world.ipvsNodes.store, pods: world.pods.store,
    }, (node, vip, way) => this.#serving.sendsTo(node, vip, way), () => !world.pods.refused);
    this.#writing = new Writing({
      ...options, budget, dirty: this.#dirty, serving: this.#serving, unread: () => this.#unread, reserved: () => this.#surroundings.ownAddresses,
      count: (...write) => {
        this.#wroteAt = now();
        options.count(...write);
      },
      onVirtualIP: (name) => this.#statuses.vip(name),
      onNode: (name, object) => { for (const key of this.#reports.update(name, object)) this.#statuses.server(key); },
      onUnwritten: (owner) => this.#statuses.server(owner),
    });
    this.#absent = new Absent({ ...options, known: (owner) => world.virtualServers.store.has(owner) || world.virtualServers.badObjects.has(owner) });
    this.#statuses = new Statuses({
      ...options, reports: this.#reports, budget, reserved: (ranges) => this.#surroundings.reservedIn(ranges),
      deciding: (key) => world.untaken.written.has(key) || this.#deciding.has(key),
    }, this.#writing.virtualIPs.objects);
  }

  /** Something changed: a pass is due. */
  wake(): void { this.#alarm.ring(); }

  /** For metrics: programs in force, and passes over what had changed. */
  get programs(): number { return this.#compiler?.programs.size ?? 0; }
  get compiles(): number { return this.#passes; }

  /** Since when the pass that runs has neither begun nor written anything (null: none runs): one that has thousands to write is not stuck. */
  get silentSince(): number | null { return this.#passStarted === null ? null : Math.max(this.#passStarted, this.#wroteAt); }

  /** Resolves when the signal aborts. What fails in a pass is repeated, later each time, and loses nothing. */
  async run(signal: AbortSignal): Promise<void> {
    const { controller: either, detach } = childOf(signal);
    const loop = async (work: (signal: AbortSignal) => Promise<void>): Promise<void> => {
      try {
        while (!either.signal.aborted) await work(either.signal);
      } catch (error) {
        if (!isAbort(error) && !either.signal.aborted) throw error;
      } finally {
        // Neither goes on alone.
        either.abort();
      }
    };
    const ended = await Promise.allSettled([loop((s) => this.#decide(s)), loop((s) => this.#report(s))]);
    detach();
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
    this.#options.log.debug({}, 'stopped');
  }

  /** Waits for a change, or until something that waited or failed is to be tried again; then a pass. */
  async #decide(signal: AbortSignal): Promise<void> {
    const { world, coalesceMs = COALESCE_MS, sleep = realSleep, now, onPass } = this.#options;
    const since = await this.#alarm.wait(Math.min(TICK_MS, Math.max(Math.min(this.#dirty.nextDue(now()), this.#statuses.nextClaimDue), 1)), signal);
    // From the first change on, also where that came while another pass ran; and never more than half of the time.
    if (world.synced) await sleep(Math.max(since + coalesceMs - now(), Math.min(this.#passMs, coalesceMs), 0), signal);
    this.#alarm.clear();
    if (!world.synced) return;
    const started = now();
    this.#passStarted = started;
    const ok = await this.#pass(signal);
    this.#passStarted = null;
    this.#passes++;
    this.#passMs = now() - started;
    this.#reportAlarm.ring();
    onPass?.(this.#passMs, ok);
  }

  /** Waits until a status is due; then writes some, if no pass runs: what directors are told comes first. */
  async #report(signal: AbortSignal): Promise<void> {
    const passing = () => this.#compiler === null || this.#passStarted !== null;
    // In a rush some after each pass, and no more.
    const least = this.#statuses.inRush ? this.#options.coalesceMs ?? COALESCE_MS : 1;
    await this.#reportAlarm.wait(passing() ? TICK_MS : Math.min(TICK_MS, Math.max(this.#statuses.nextDue, least)), signal);
    this.#reportAlarm.clear();
    if (!passing()) await this.#statuses.write(this.#compiler!, this.#writing.notWritten, signal);
  }

  /** Returns whether everything that was tried was written. */
  async #pass(signal: AbortSignal): Promise<boolean> {
    const { world, now } = this.#options;
    const vips = this.#writing.virtualIPs.objects;
    const moved = this.#ownersMoved(world.untaken);
    if (moved) await this.#absent.ask(world.virtualIPs.store.values(), signal);
    // From here to the end of compile nothing waits: caches and changes are of one moment.
    const changes = world.take();
    this.#deciding = changes.written;
    this.#dirty.begin(now());
    this.#hear(changes);
    this.#writing.lookForDoubts();
    if (this.#reports.setLive(world.directors.live()) || changes.everything) {
      for (const key of world.virtualServers.store.keys()) this.#statuses.server(key);
      for (const name of world.groups.store.keys()) this.#statuses.group(name);
    }
    if (changes.everything) for (const name of world.pools.store.keys()) this.#statuses.pool(name);
    const absent = moved || this.#ownersMoved(changes) ? this.#absent.unconfirmed(vips.values()) : [];
    const unread = new Set([...world.unread, ...absent.map((owner) => `VirtualServer/${owner}`)]);
    const compiler = this.#compile(changes, unread);
    await this.#writing.write(compiler, signal);
    this.#deciding = new Set();
    const ok = this.#dirty.end(now());
    await this.#statuses.writeClaims(signal);
    return ok;
  }

  /** Whether a claim has to be looked at for who has it: it is another, or a VirtualServer came or went. Or else thousands would be, in each pass. */
  #ownersMoved({ virtualIPs, written }: Readonly<Changes>): boolean {
    if (!this.#absent.complete || virtualIPs.size > 0 || this.#unread.size + this.#options.world.unread.size > 0 || this.#dirty.has('claims')) return true;
    for (const key of written) if (key.startsWith('VirtualServer/')) return true;
    return false;
  }

  /** Takes what the caches heard: own writes come back, others' are looked at. */
  #hear(changes: Changes): void {
    const { virtualIPs, programs, nodes } = this.#writing;
    for (const [name, heard] of changes.virtualIPs) {
      // Reports of agents, in status, are no reason to decide anything anew.
      if (virtualIPs.objects.heard(name, heard) === 'spec') this.#dirty.mark('claims');
      if (heard.object) this.#statuses.vip(name);
      for (const { spec } of [heard.old, heard.object].filter((o) => o !== undefined)) {
        this.#statuses.group(spec.directorGroup);
        this.#statuses.pool(spec.poolRef.name);
        for (const { namespace, name: owner } of spec.claims) this.#statuses.server(`${namespace}/${owner}`);
      }
    }
    if (changes.programs.size > 0) this.#writing.programsChanged();
    for (const [key, heard] of changes.programs) {
      if (programs.objects.heard(key, heard) === 'none') continue;
      const owner = ownerOf(key);
      this.#dirty.programs.add(owner);
      changes.concerned.add(owner);
      // Whatever it says of itself.
      if (heard.object) this.#dirty.programs.add(`${heard.object.metadata.namespace}/${heard.object.spec.virtualServer.name}`);
      this.#adopt(owner);
    }
    for (const [name, heard] of changes.ipvsNodes) {
      if (nodes.objects.heard(name, heard) === 'spec') this.#dirty.mark('nodes');
      for (const key of this.#reports.update(name, heard.object)) this.#statuses.server(key);
      for (const address of heard.object?.status?.boundVIPs ?? []) {
        for (const owner of this.#serving.ownersOf(address)) if (this.#compiler?.verdicts.get(owner)?.waiting.includes(name)) changes.concerned.add(owner);
      }
      for (const owner of this.#sharing(heard.old?.status?.boundVIPs ?? [], heard.object?.status?.boundVIPs ?? [])) changes.concerned.add(owner);
      for (const group of [...heard.old?.spec.directorGroups ?? [], ...heard.object?.spec.directorGroups ?? []]) this.#statuses.group(group);
    }
    for (const [key, heard] of changes.statuses) {
      this.#statuses.heard(key, heard);
      // Made anew under its name: it inherits only what it asks for.
      if (heard.object?.kind === 'VirtualServer' && heard.old && heard.old.metadata.uid !== heard.object.metadata.uid) this.#dirty.mark('claims');
    }
  }

  /** VirtualServers in mode NAT whose VIPs a node has, or has no longer, as a real server: those that use them as a source (compile.ts). */
  #sharing(before: readonly string[], now: readonly string[]): string[] {
    // Thousands of addresses, and most reports say the same ones.
    if (before.length === now.length && before.every((a, i) => a === now[i])) return [];
    const [had, has] = [new Set(before), new Set(now)];
    const changed = new Set([...before.filter((a) => !has.has(a)), ...now.filter((a) => !had.has(a))]);
    if (changed.size === 0) return [];
    const shares = ({ spec }: Program): boolean => spec.mode === 'NAT' && spec.addresses.some((a) => changed.has(a.address));
    return [...this.#compiler?.programs ?? []].flatMap(([owner, program]) => (shares(program) ? [owner] : []));
  }

  /**
   * A program that another controller wrote, while it led or still believes that it does. Of a VirtualServer that is refused now it is the
   * last good form, as if this controller had begun just now: or two would go on with two forms for ever. If its addresses are its own.
   */
  #adopt(owner: string): void {
    const compiler = this.#compiler;
    const uid = this.#serverOf(owner)?.metadata.uid;
    const slices = this.#writing.present(owner);
    const own = compiler?.programs.get(owner);
    const verdict = compiler?.verdicts.get(owner);
    // Accepted, and served as it is: not in the form before, which is kept until nodes receive in the new one.
    const current = own && verdict?.accepted && verdict.program?.spec.contentHash === own.spec.contentHash;
    if (!compiler || uid === undefined || current || slices.some((s) => s.spec.virtualServer.uid !== uid)) return;
    const program = programsOf(slices).get(owner);
    if (!program || program.spec.contentHash === own?.spec.contentHash || hashOf(program.spec) !== program.spec.contentHash) return;
    const claimed = (address: string) => this.#writing.virtualIPs.objects.get(virtualIPName(address))?.spec.claims.some((c) => c.uid === uid) === true;
    if (program.spec.addresses.every((a) => claimed(a.address))) compiler.restore(owner, program);
  }

  #compile(changes: Changes, unread: ReadonlySet<string>): Compiler {
    const { world } = this.#options;
    const first = this.#compiler === null;
    const compiler = this.#compiler ??= this.#begin(changes);
    if (changes.everything) {
      this.#surroundings.invalidate();
      this.#dirty.mark('claims', 'nodes');
      for (const owner of world.virtualServers.store.keys()) changes.concerned.add(owner);
    }
    if (this.#dirty.take('claims') && !first) {
      const vips = [...this.#writing.virtualIPs.objects.values()];
      for (const owner of this.#lost(vips, compiler.programs.values())) compiler.restore(owner, null);
      compiler.remember({ ...withServed(claimsOf(vips, this.#serverOf), compiler.programs.values()), marks: compiler.memory.marks });
      this.#dirty.mark('virtualIPs');
    }
    if (unread.size !== this.#unread.size || [...unread].some((key) => !this.#unread.has(key))) this.#unreadChanged(unread);
    const change = compiler.update(this.#written(changes.written), changes.written, unread, changes.concerned);
    if (change.groups) this.#dirty.mark('nodes');
    if (change.memoryChanged) this.#dirty.mark('virtualIPs');
    if (changes.written.size > 0) {
      this.#dirty.mark('virtualIPs');
      for (const name of world.pools.store.keys()) this.#statuses.pool(name);
      for (const name of world.groups.store.keys()) this.#statuses.group(name);
      const servers = [...changes.written].filter((key) => key.startsWith('VirtualServer/'));
      this.#statuses.came(servers.length);
      // One that was made anew under its old name has the program of the old one.
      for (const key of servers) this.#dirty.programs.add(key.slice('VirtualServer/'.length));
    }
    for (const owner of change.programs.keys()) {
      this.#dirty.programs.add(owner);
      if (!first) this.#statuses.programChanged(owner);
    }
    for (const owner of new Set([...change.compiled, ...change.programs.keys()])) {
      this.#statuses.server(owner);
      if (this.#serving.update(owner, compiler)) this.#dirty.mark('nodes');
    }
    if (this.#serving.prune(compiler)) this.#dirty.mark('nodes');
    // Of programs that they have no line for they could not be read before.
    if (first) for (const node of world.ipvsNodes.store.values()) this.#reports.update(node.metadata.name, node);
    return compiler;
  }

  /** The first time: what was decided before is what the server has. */
  #begin(changes: Changes): Compiler {
    const { world } = this.#options;
    const programs = programsOf(world.programs.store.values());
    for (const [owner, program] of programs) this.#serving.program(owner, program);
    const vips = [...world.virtualIPs.store.values()];
    for (const owner of this.#lost(vips, programs.values())) programs.delete(owner);
    const claims = withServed(claimsOf(vips, this.#serverOf), programs.values());
    for (const { store } of [world.virtualServers, world.pools, world.groups]) for (const object of store.values()) changes.written.add(objectKey(object));
    for (const program of world.programs.store.values()) this.#dirty.programs.add(`${program.metadata.namespace}/${program.spec.virtualServer.name}`);
    for (const name of world.virtualIPs.store.keys()) this.#statuses.vip(name);
    return new Compiler({ ...claims, marks: marksOf(programs.values()) }, programs, unreadGroups(world.unread), this.#surroundings);
  }

  readonly #serverOf = (owner: string): ServerObjects['VirtualServer'] | undefined => this.#options.world.virtualServers.store.get(owner);

  #lost(vips: readonly ServerObjects['VirtualIP'][], programs: Iterable<Program>): Set<string> {
    return lostOf(vips, programs, this.#serverOf, (owner) => this.#writing.present(owner));
  }

  /** What could not be read can, or is gone; or the other way round. */
  #unreadChanged(unread: ReadonlySet<string>): void {
    for (const key of new Set([...unread, ...this.#unread])) if (key.startsWith('VirtualServer/')) this.#dirty.programs.add(key.slice('VirtualServer/'.length));
    this.#unread = unread;
    this.#dirty.mark('virtualIPs', 'nodes');
  }

  /** Objects of these keys, as the compiler takes them. */
  #written(keys: ReadonlySet<string>): Parameters<Compiler['update']>[0] {
    const { virtualServers, pools, groups } = this.#options.world;
    const stores: Readonly<Record<string, { get(key: string): unknown }>> = {
      VirtualServer: virtualServers.store, VIPPool: pools.store, DirectorGroup: groups.store,
    };
    const objects = new Map<string, { object: never }>();
    for (const key of keys) {
      const slash = key.indexOf('/');
      const object = stores[key.slice(0, slash)]?.get(key.slice(slash + 1));
      if (object !== undefined) objects.set(key, { object: object as never });
    }
    return objects;
  }
}

/**
 * What stands for groups that cannot be read, so that VirtualServers of theirs are refused nothing for that. Which nodes they have is kept
 * as it is (reconcile/nodes.ts).
 */
function unreadGroups(unread: ReadonlySet<string>): Map<string, GroupSettings> {
  const names = [...unread].filter((key) => key.startsWith('DirectorGroup/')).map((key) => key.slice('DirectorGroup/'.length));
  return new Map(names.map((name) => [name, { name, nodeSelector: null, interface: { match: 'SubnetOf' }, timeouts: null, connectionSync: null }]));
}
