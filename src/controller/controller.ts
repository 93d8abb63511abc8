/**
 * Controller: makes the cluster's VirtualIPs, programs and IPVSNodes what compile says, and reports back. One pass at a time: take what
 * changed, compile, write the difference. It moves values between the caches, the compiler and the writers, and decides only the order:
 * an address is claimed before anybody serves it, a node is told to receive before directors send, and given back after they stopped.
 */
import type { Logger } from 'pino';
import { objectKey, RESOURCES, type ServerObjects, type VirtualServerStatus } from '../api/v1alpha1/index.ts';
import type { Program, ProgramTunnel } from '../api/v1alpha1/program.ts';
import type { KubeClient } from '../kube/client.ts';
import { isAlreadyExists, isConflict } from '../kube/errors.ts';
import { isAbort, sleep as realSleep, type Sleep } from '../kube/wait.ts';
import type { Bind } from './compile/endpoints.ts';
import { Compiler, type CompileChange } from './compiler.ts';
import { Budget, inParallel } from './reconcile/budget.ts';
import { desiredNodes, sameNode } from './reconcile/nodes.ts';
import { desiredPrograms, sameProgram, urgency } from './reconcile/programs.ts';
import { desiredVirtualIPs, sameVirtualIP } from './reconcile/virtualips.ts';
import { Writer, type CountWrite } from './reconcile/writer.ts';
import { claimsOf, marksOf, programsOf } from './remembered.ts';
import { Reports } from './reports.ts';
import { Statuses } from './statuses.ts';
import { Surroundings } from './surroundings.ts';
import type { Changes, World } from './world.ts';

export interface ControllerOptions {
  readonly client: KubeClient;
  readonly world: World;
  readonly log: Logger;
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
const WIDTH = 16;
const RETRY = { minMs: 200, maxMs: 10_000 };
/** Leases run out without an event, and objects that fail their schema come without one. Milliseconds. */
const TICK_MS = 1_000;

/** What of an accepted VirtualServer binds nodes: it outlives a later refusal, as its program does. */
interface Binding { readonly binds: readonly Bind[]; readonly addresses: readonly string[]; readonly mode: 'DR' | 'TUN'; readonly tunnel: ProgramTunnel | null }

export class Controller {
  readonly #options: ControllerOptions;
  readonly #reports = new Reports();
  readonly #virtualIPs: Writer<ServerObjects['VirtualIP']>;
  readonly #programs: Writer<ServerObjects['VirtualServerProgram']>;
  readonly #nodes: Writer<ServerObjects['IPVSNode']>;
  readonly #statuses: Statuses;
  readonly #surroundings: Surroundings;
  readonly #bindings = new Map<string, Binding>();
  /** What is not written yet, or has to be looked at again. */
  readonly #dirty = { programs: new Set<string>(), virtualIPs: true, nodes: true, claims: false, release: true };
  /** Why a VirtualServer has no address that is surely its own. */
  readonly #unwritten = new Map<string, string>();
  /** Slices that the program of a VirtualServer has had at most. */
  readonly #slices = new Map<string, number>();
  #compiler: Compiler | null = null;
  #wake: (() => void) | null = null;
  #woken = true;
  #retryMs = 0;
  #passes = 0;
  #passStarted: number | null = null;

  constructor(options: ControllerOptions) {
    this.#options = options;
    const { client, world, now, count, writesPerSecond = WRITES_PER_SECOND } = options;
    const budget = new Budget({ perSecond: writesPerSecond, burst: BURST, now });
    const common = { client, budget, count };
    this.#virtualIPs = new Writer({ ...common, resource: RESOURCES.VirtualIP, cache: world.virtualIPs.store, same: sameVirtualIP });
    this.#programs = new Writer({ ...common, resource: RESOURCES.VirtualServerProgram, cache: world.programs.store, same: sameProgram });
    this.#nodes = new Writer({ ...common, resource: RESOURCES.IPVSNode, cache: world.ipvsNodes.store, same: sameNode });
    this.#statuses = new Statuses({ ...options, reports: this.#reports, budget }, this.#virtualIPs.objects);
    this.#surroundings = new Surroundings({
      services: world.services.store, slices: world.slices.store, endpoints: world.endpoints.store, nodes: world.nodes.store, namespaces: world.namespaces.store,
      serviceCIDRs: world.serviceCIDRs.store, grants: world.grants.store, ipvsNodes: world.ipvsNodes.store,
    }, (node, vip) => this.#sendsTo(node, vip));
  }

  /** Something changed: a pass is due. */
  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }

  /** For metrics: programs in force, passes over what had changed, and when the one that runs began (null: none runs). */
  get programs(): number { return this.#compiler?.programs.size ?? 0; }
  get compiles(): number { return this.#passes; }
  get passStarted(): number | null { return this.#passStarted; }

  /** Resolves when the signal aborts. A pass that fails is repeated, later each time, and loses nothing. */
  async run(signal: AbortSignal): Promise<void> {
    const { world, log, coalesceMs = COALESCE_MS, sleep = realSleep, now, onPass } = this.#options;
    try {
      while (!signal.aborted) {
        await this.#idle(signal);
        this.#woken = false;
        if (!world.synced) continue;
        await sleep(coalesceMs, signal);
        const started = now();
        this.#passStarted = started;
        const ok = await this.#pass(signal);
        this.#passStarted = null;
        this.#passes++;
        onPass?.(now() - started, ok);
        this.#retryMs = ok ? 0 : Math.min(Math.max(this.#retryMs * 2, RETRY.minMs), RETRY.maxMs);
      }
    } catch (error) {
      if (!isAbort(error) && !signal.aborted) throw error;
      log.debug('stopped');
    }
  }

  /** Until woken, or until it is time: for a retry, a status that waited, a Lease that may have run out. */
  async #idle(signal: AbortSignal): Promise<void> {
    const wait = Math.min(TICK_MS, this.#retryMs || Infinity, Math.max(this.#statuses.nextDue, 1));
    if (this.#woken && this.#retryMs === 0) return;
    const wake = new AbortController();
    this.#wake = () => { if (this.#retryMs === 0) wake.abort(); };
    try {
      await (this.#options.sleep ?? realSleep)(wait, AbortSignal.any([signal, wake.signal]));
    } catch (error) {
      if (!isAbort(error) || signal.aborted) throw error;
    } finally {
      this.#wake = null;
    }
  }

  /** Returns whether everything that is wanted was written. */
  async #pass(signal: AbortSignal): Promise<boolean> {
    const { world, log, now } = this.#options;
    const changes = world.take();
    this.#hear(changes);
    if (this.#reports.setLive(world.observer.live(now())) || changes.everything) {
      for (const key of world.virtualServers.store.keys()) this.#statuses.server(key);
      for (const name of world.groups.store.keys()) this.#statuses.group(name);
    }
    const change = this.#compile(changes);
    const errors: unknown[] = [];
    const failed = (what: string) => (key: string, error: unknown): void => {
      errors.push(error);
      const quiet = isConflict(error) || isAlreadyExists(error);
      log[quiet ? 'info' : 'warn']({ kind: what, object: key, err: error }, 'not written');
    };
    await this.#writeVirtualIPs(change, signal, failed('VirtualIP'));
    await this.#writeNodes(signal, failed('IPVSNode'));
    await this.#writePrograms(signal, failed('VirtualServerProgram'));
    await this.#release(signal, failed('VirtualIP'));
    await this.#statuses.write(this.#compiler!, this.#unwritten, signal);
    return errors.length === 0;
  }

  /** Takes what the caches heard: own writes come back, others' are looked at. */
  #hear(changes: Changes): void {
    for (const [name, object] of changes.virtualIPs) {
      this.#statuses.heardVirtualIP(name, object);
      if (this.#virtualIPs.objects.heard(name, object) && this.#compiler) this.#dirty.claims = true;
      for (const { namespace, name: owner } of object?.spec.claims ?? []) this.#statuses.server(`${namespace}/${owner}`);
      if (object) {
        this.#statuses.vip(name);
        this.#statuses.group(object.spec.directorGroup);
      }
    }
    for (const [key, object] of changes.programs) {
      if (!this.#programs.objects.heard(key, object)) continue;
      this.#dirty.programs.add(`${key.slice(0, key.indexOf('/'))}/${object?.spec.virtualServer.name ?? key.slice(key.indexOf('/') + 1).replace(/\.\d+$/, '')}`);
    }
    for (const [name, { old, object }] of changes.ipvsNodes) {
      if (this.#nodes.objects.heard(name, object) && old?.metadata.generation !== object?.metadata.generation) this.#dirty.nodes = true;
      for (const key of this.#reports.update(name, object)) this.#statuses.server(key);
      const bound = new Set(object?.status?.boundVIPs ?? []);
      if (bound.size > 0) for (const [owner, { addresses }] of this.#bindings) if (addresses.some((a) => bound.has(a)) && this.#compiler?.verdicts.get(owner)?.waiting.includes(name)) changes.concerned.add(owner);
      for (const group of object?.spec.directorGroups ?? []) this.#statuses.group(group);
    }
    for (const [key, object] of changes.statuses) this.#statuses.heard(key, object);
  }

  #compile(changes: Changes): CompileChange {
    const { world } = this.#options;
    const first = this.#compiler === null;
    if (first) {
      const programs = programsOf(world.programs.store.values());
      this.#compiler = new Compiler({ ...claimsOf(world.virtualIPs.store.values()), marks: marksOf(programs.values()) }, programs, new Map(), this.#surroundings);
      for (const store of [world.virtualServers.store, world.pools.store, world.groups.store]) for (const object of store.values()) changes.written.add(objectKey(object));
      for (const owner of programs.keys()) this.#dirty.programs.add(owner);
      for (const name of world.virtualIPs.store.keys()) this.#statuses.vip(name);
    }
    const compiler = this.#compiler!;
    if (changes.everything) this.#surroundings.invalidate();
    if (this.#dirty.claims || changes.everything) {
      const present = [...this.#virtualIPs.objects.keys()].flatMap((name) => this.#virtualIPs.objects.get(name) ?? []);
      compiler.remember({ ...claimsOf(present), marks: compiler.memory.marks });
      this.#dirty.claims = false;
      this.#dirty.virtualIPs = true;
    }
    if (changes.everything) this.#dirty.nodes = true;
    const change = compiler.update(this.#written(changes.written), changes.written, false, changes.concerned);
    if (change.groups) this.#dirty.nodes = true;
    if (changes.written.size > 0) {
      this.#dirty.virtualIPs = true;
      for (const name of world.pools.store.keys()) this.#statuses.pool(name);
      for (const name of world.groups.store.keys()) this.#statuses.group(name);
    }
    for (const owner of change.programs.keys()) {
      this.#dirty.programs.add(owner);
      if (!first) this.#statuses.programChanged(owner);
    }
    for (const owner of change.compiled) {
      this.#statuses.server(owner);
      this.#bind(owner, compiler);
    }
    for (const owner of change.programs.keys()) if (!compiler.programs.has(owner) && this.#bindings.delete(owner)) this.#dirty.nodes = true;
    return change;
  }

  /** Objects of these keys, as the compiler takes them. */
  #written(keys: ReadonlySet<string>): Parameters<Compiler['update']>[0] {
    const { virtualServers, pools, groups } = this.#options.world;
    const stores: Readonly<Record<string, { get(key: string): unknown }>> = { VirtualServer: virtualServers.store, VIPPool: pools.store, DirectorGroup: groups.store };
    const objects = new Map<string, { object: never }>();
    for (const key of keys) {
      const slash = key.indexOf('/');
      const object = stores[key.slice(0, slash)]?.get(key.slice(slash + 1));
      if (object !== undefined) objects.set(key, { object: object as never });
    }
    return objects;
  }

  #bind(owner: string, compiler: Compiler): void {
    const verdict = compiler.verdicts.get(owner);
    const spec = compiler.programs.get(owner)?.spec;
    const before = this.#bindings.get(owner);
    if (!verdict?.accepted && spec) return;
    const next = verdict && spec && spec.mode !== 'NAT' && verdict.binds.length > 0 ? { binds: verdict.binds, addresses: verdict.addresses, mode: spec.mode, tunnel: spec.tunnel } : null;
    if (JSON.stringify(before ?? null) === JSON.stringify(next)) return;
    if (next) this.#bindings.set(owner, next);
    else this.#bindings.delete(owner);
    this.#dirty.nodes = true;
  }

  /** Whether the program in force sends packets for a VIP to a node: then it goes on. */
  #sendsTo(node: string, vip: string): boolean {
    for (const [owner, { addresses }] of this.#bindings) {
      if (!addresses.includes(vip)) continue;
      const services = this.#compiler?.programs.get(owner)?.spec.services ?? [];
      if (services.some((s) => s.realServers.some((r) => r.endsWith(`|${node}`)))) return true;
    }
    return false;
  }

  async #writeVirtualIPs(change: CompileChange, signal: AbortSignal, failed: (key: string, error: unknown) => void): Promise<void> {
    if (!this.#dirty.virtualIPs && !change.memoryChanged) return;
    this.#dirty.virtualIPs = false;
    this.#dirty.release = true;
    this.#unwritten.clear();
    await inParallel(this.#wantedVirtualIPs().values(), WIDTH, signal, async (vip) => {
      if (await this.#virtualIPs.ensure(vip, signal)) this.#statuses.vip(vip.metadata.name);
    }, (vip, error) => {
      failed(vip.metadata.name, error);
      // Somebody else was quicker, or nobody knows: what the server says decides.
      this.#dirty.claims = this.#dirty.virtualIPs = true;
      for (const { namespace, name } of vip.spec.claims) this.#unwritten.set(`${namespace}/${name}`, `${vip.spec.address} is not claimed yet: ${(error as Error).message}`);
    });
    for (const owner of this.#unwritten.keys()) this.#statuses.server(owner);
  }

  #wantedVirtualIPs(): Map<string, ServerObjects['VirtualIP']> {
    const compiler = this.#compiler!;
    return desiredVirtualIPs({ memory: compiler.memory, servers: this.#servers(), verdicts: compiler.verdicts, present: (name) => this.#virtualIPs.objects.get(name) });
  }

  /** VirtualServers with the metadata of the server. */
  #servers(): ReadonlyMap<string, ServerObjects['VirtualServer']> {
    return this.#compiler!.servers as ReadonlyMap<string, ServerObjects['VirtualServer']>;
  }

  async #writeNodes(signal: AbortSignal, failed: (key: string, error: unknown) => void): Promise<void> {
    if (!this.#dirty.nodes) return;
    this.#dirty.nodes = false;
    const present = new Set(this.#nodes.objects.keys());
    const wanted = desiredNodes({
      nodes: this.#options.world.nodes.store.values(), groups: this.#compiler!.groups.values(), reserved: this.#surroundings.ownAddresses, present,
      binding: [...this.#bindings].map(([owner, b]) => [owner, b, b.mode, b.tunnel] as const),
    });
    const lost = (key: string, error: unknown): void => { this.#dirty.nodes = true; failed(key, error); };
    await inParallel(wanted.values(), WIDTH, signal, async (node) => {
      // Who directs is known as soon as it is written, before the caches tell.
      if (await this.#nodes.ensure(node, signal)) this.#reports.update(node.metadata.name, this.#nodes.objects.get(node.metadata.name));
    }, (node, error) => lost(node.metadata.name, error));
    const gone = [...present].filter((name) => !wanted.has(name));
    await inParallel(gone, WIDTH, signal, async (name) => { await this.#nodes.remove(name, signal); }, lost);
  }

  /** What takes real servers away first, then what adds some, then the rest: a connection to nobody is the worst of the three. */
  async #writePrograms(signal: AbortSignal, failed: (key: string, error: unknown) => void): Promise<void> {
    const compiler = this.#compiler!;
    const owners = [...this.#dirty.programs].filter((owner) => !this.#unwritten.has(owner));
    const rank = new Map(owners.map((owner) => [owner, urgency(this.#present(owner), compiler.programs.get(owner) ?? null)]));
    owners.sort((a, b) => rank.get(a)! - rank.get(b)!);
    await inParallel(owners, WIDTH, signal, async (owner) => {
      this.#dirty.programs.delete(owner);
      await this.#writeProgram(owner, compiler.programs.get(owner) ?? null, signal);
    }, (owner, error) => {
      this.#dirty.programs.add(owner);
      failed(owner, error);
    });
  }

  async #writeProgram(owner: string, program: Program | null, signal: AbortSignal): Promise<void> {
    const server = this.#servers().get(owner);
    const wanted = server ? desiredPrograms(program, server) : new Map<string, never>();
    for (const object of wanted.values()) await this.#programs.ensure(object, signal);
    const extras = new Set(this.#present(owner).map((o) => `${o.metadata.namespace}/${o.metadata.name}`));
    for (let i = 0; i < (this.#slices.get(owner) ?? 0); i++) extras.add(i === 0 ? owner : `${owner}.${i}`);
    for (const key of extras) if (!wanted.has(key)) await this.#programs.remove(key, signal);
    if (wanted.size > 1) this.#slices.set(owner, wanted.size);
    else this.#slices.delete(owner);
  }

  #present(owner: string): readonly ServerObjects['VirtualServerProgram'][] {
    return this.#options.world.programs.store.by('owner', owner).flatMap((o) => this.#programs.objects.get(`${o.metadata.namespace}/${o.metadata.name}`) ?? []);
  }

  /** Addresses that nobody has any more: after the programs are gone, so that nobody gets one that still leads to somebody else. */
  async #release(signal: AbortSignal, failed: (key: string, error: unknown) => void): Promise<void> {
    if (this.#dirty.virtualIPs || !this.#dirty.release) return;
    this.#dirty.release = false;
    const wanted = this.#wantedVirtualIPs();
    const gone = [...this.#virtualIPs.objects.keys()].filter((name) => !wanted.has(name));
    await inParallel(gone, WIDTH, signal, async (name) => { await this.#virtualIPs.remove(name, signal); }, (name, error) => {
      this.#dirty.virtualIPs = true;
      failed(name, error);
    });
  }
}
