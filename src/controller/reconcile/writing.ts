/**
 * Writing: the phases in which what was decided is written, in the order that leaves nobody with an address that leads elsewhere: claim
 * before serving, receive before sending; stop sending before receiving ends, stop serving before the address is given back. What should
 * be there is pure (virtualips.ts, nodes.ts, programs.ts); here it is compared, sent, and tried again.
 */
import { isDeepStrictEqual } from 'node:util';
import { MAX_BINDS, RESOURCES, sliceName, type ServerObjects } from '../../api/v1alpha1/index.ts';
import type { Program } from '../../api/v1alpha1/program.ts';
import type { KubeClient } from '../../kube/client.ts';
import { ApiError, isAlreadyExists, isConflict, isNotFound } from '../../kube/errors.ts';
import type { Log } from '../../kube/types.ts';
import { poolHolds, readPool } from '../compile/pools.ts';
import type { Compiler } from '../compiler.ts';
import { programsOf } from '../remembered.ts';
import { sends, type Serving } from '../serving.ts';
import type { World } from '../world.ts';
import type { Budget } from './budget.ts';
import type { Dirty, Part } from './dirty.ts';
import { desiredNodes, sameNode, type WantedNodes } from './nodes.ts';
import { inParallel } from './parallel.ts';
import { desiredPrograms, sameProgram, urgency } from './programs.ts';
import { desiredVirtualIPs, sameVirtualIP } from './virtualips.ts';
import { Writer, type CountWrite } from './writer.ts';

export interface WritingOptions {
  readonly client: KubeClient;
  readonly world: World;
  readonly dirty: Dirty;
  readonly serving: Serving;
  readonly budget: Budget;
  readonly count: CountWrite;
  readonly log: Log;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** objectKeys of what exists, as far as is known, and cannot be read: what there is of it stays. */
  readonly unread: () => ReadonlySet<string>;
  /** Addresses that are never VIPs, for every node. */
  readonly reserved: () => readonly string[];
  /** A VirtualIP was written. */
  readonly onVirtualIP: (name: string) => void;
  /** An IPVSNode was written; undefined: removed. */
  readonly onNode: (name: string, object: ServerObjects['IPVSNode'] | undefined) => void;
  /** What is not written of a VirtualServer, or why, changed. */
  readonly onUnwritten: (owner: string) => void;
}

/** By VirtualServer, why. */
export interface NotWritten {
  readonly claims: ReadonlyMap<string, string>;
  readonly programs: ReadonlyMap<string, string>;
}

const WIDTH = 16;
/** So long programs are written, and then what came meanwhile is looked at before the rest: who is gone must not wait behind thousands. Milliseconds. */
const TURN_MS = 1_000;
/** What was left for others that were more urgent for so long has every fourth place, or it would wait for as long as something goes. Milliseconds. */
const PATIENCE_MS = 5_000;
/** Failures that every other request would meet too. */
const AWAY: ReadonlySet<string> = new Set(['UNREACHABLE', 'TIMEOUT', 'TOO_MANY_REQUESTS']);

export class Writing {
  readonly #options: WritingOptions;
  readonly virtualIPs: Writer<ServerObjects['VirtualIP']>;
  readonly programs: Writer<ServerObjects['VirtualServerProgram']>;
  readonly nodes: Writer<ServerObjects['IPVSNode']>;
  /** Why a VirtualServer has no address that is surely its own. */
  readonly #unwritten = new Map<string, string>();
  /** Why the program of a VirtualServer is not what it should be: the server refuses it. */
  readonly #refused = new Map<string, string>();
  /** What was said of nodes with too many binds. */
  #overfull: WantedNodes['overfull'] = new Map();
  /** Slices that the program of a VirtualServer has had at most. */
  readonly #slices = new Map<string, number>();
  /** Since when programs are left for others. */
  readonly #leftSince = new Map<string, number>();
  /** Nodes or VirtualIPs wait until some program is another. */
  readonly #waiting = new Set<Part>();
  #away = false;

  constructor(options: WritingOptions) {
    this.#options = options;
    const { client, world, budget, count, now } = options;
    const common = { client, budget, count, now, before: () => this.#unlessAway() };
    this.virtualIPs = new Writer({
      ...common, resource: RESOURCES.VirtualIP, cache: world.virtualIPs.store, untaken: () => world.untaken.virtualIPs, same: sameVirtualIP,
    });
    this.programs = new Writer({
      ...common, resource: RESOURCES.VirtualServerProgram, cache: world.programs.store, untaken: () => world.untaken.programs, same: sameProgram,
    });
    this.nodes = new Writer({ ...common, resource: RESOURCES.IPVSNode, cache: world.ipvsNodes.store, untaken: () => world.untaken.ipvsNodes, same: sameNode });
  }

  /** Why, by VirtualServer: claims of addresses that are not surely its own, and programs that the server refuses. */
  get notWritten(): NotWritten { return { claims: this.#unwritten, programs: this.#refused }; }

  /** Everything that is dirty. */
  async write(compiler: Compiler, signal: AbortSignal): Promise<void> {
    this.#away = false;
    await this.#writeVirtualIPs(compiler, signal);
    await this.#writeNodes(compiler, signal);
    await this.#writePrograms(compiler, signal);
    // Those whose directors were told to stop sending.
    await this.#writeNodes(compiler, signal);
    await this.#release(compiler, signal);
  }

  /** The programs of a VirtualServer that are there: its slices. */
  present(owner: string): ServerObjects['VirtualServerProgram'][] {
    const keys = new Set(this.#options.world.programs.store.by('owner', owner).map(keyOf));
    // Also those that no cache has heard of.
    for (let i = 0; i < (this.#slices.get(owner) ?? 1); i++) keys.add(sliceName(owner, i));
    return [...keys].flatMap((key) => this.programs.objects.get(key) ?? []);
  }

  /** Programs are others than before: who waited for that is looked at. */
  programsChanged(): void {
    this.#options.dirty.mark(...this.#waiting);
    this.#waiting.clear();
  }

  /** What was believed of own writes and proved wrong, or was never confirmed: before anything is decided. */
  lookForDoubts(): void {
    const { dirty } = this.#options;
    if (this.virtualIPs.objects.doubts().length > 0) dirty.mark('claims', 'virtualIPs');
    if (this.nodes.objects.doubts().length > 0) dirty.mark('nodes');
    for (const key of this.programs.objects.doubts()) dirty.programs.add(ownerOf(key));
  }

  async #writeVirtualIPs(compiler: Compiler, signal: AbortSignal): Promise<void> {
    const { dirty, onVirtualIP, onUnwritten } = this.#options;
    if (!dirty.take('virtualIPs')) return;
    dirty.mark('release');
    const before = [...this.#unwritten.keys()];
    this.#unwritten.clear();
    const wanted = this.#wantedVirtualIPs(compiler);
    const served = this.#servedByOthers(wanted.values());
    await inParallel(wanted.values(), WIDTH, signal, async (vip) => {
      const owner = served.get(vip.metadata.name);
      if (owner !== undefined) throw new StillServed(owner);
      if (await this.virtualIPs.ensure(vip, signal)) onVirtualIP(vip.metadata.name);
    }, (vip, error) => {
      this.#tell('VirtualIP', vip.metadata.name, error);
      // Somebody else was quicker, or nobody knows: what the server says decides.
      dirty.failed('claims', 'virtualIPs');
      const there = this.virtualIPs.objects.latest(vip.metadata.name)?.spec.claims ?? [];
      for (const claim of vip.spec.claims) {
        if (there.some((c) => isDeepStrictEqual(c, claim))) continue;
        this.#unwritten.set(`${claim.namespace}/${claim.name}`, `${vip.spec.address} is not claimed yet: ${(error as Error).message}`);
      }
    });
    for (const owner of this.#unwritten.keys()) {
      // What was decided is not in force: what is there is.
      compiler.restore(owner, programsOf(this.present(owner)).get(owner) ?? null);
      onUnwritten(owner);
    }
    for (const owner of before) if (!this.#unwritten.has(owner)) onUnwritten(owner);
  }

  /**
   * Of VirtualIPs that are to be made: who has a program for the address and no claim to it. Another controller wrote that, and nobody gets
   * an address that still leads to somebody else. By name.
   */
  #servedByOthers(wanted: Iterable<ServerObjects['VirtualIP']>): Map<string, string> {
    const made = new Map([...wanted].filter((vip) => this.virtualIPs.objects.get(vip.metadata.name) === undefined).map((vip) => [vip.spec.address, vip]));
    const served = new Map<string, string>();
    if (made.size === 0) return served;
    for (const { metadata, spec } of this.#options.world.programs.store.values()) {
      for (const { address } of spec.addresses) {
        const vip = made.get(address);
        const claimed = vip?.spec.claims.some((c) => c.namespace === metadata.namespace && c.name === spec.virtualServer.name);
        if (vip && !claimed) served.set(vip.metadata.name, `${metadata.namespace}/${spec.virtualServer.name}`);
      }
    }
    return served;
  }

  #wantedVirtualIPs(compiler: Compiler): Map<string, ServerObjects['VirtualIP']> {
    const present = new Map([...this.virtualIPs.objects.values()].map((vip) => [vip.metadata.name, vip]));
    return desiredVirtualIPs({
      memory: compiler.memory, servers: serversOf(compiler), verdicts: compiler.verdicts, present,
      unread: (owner) => this.#isUnread(owner), poolOf: (address) => this.#poolOf(address),
    });
  }

  #poolOf(address: string): string {
    return [...this.#options.world.pools.store.values()].filter((pool) => poolHolds(readPool(pool), address)).map((pool) => pool.metadata.name).sort()[0] ?? '';
  }

  async #writeNodes(compiler: Compiler, signal: AbortSignal): Promise<void> {
    const { dirty, onNode } = this.#options;
    if (!dirty.take('nodes')) return;
    const present = new Set(this.nodes.objects.keys());
    const { byName, waiting, overfull } = this.#wantedNodes(compiler);
    this.#wait('nodes', waiting);
    this.#tellOverfull(overfull);
    const lost = (key: string, error: unknown): void => {
      this.#tell('IPVSNode', key, error);
      dirty.failed('nodes');
    };
    await inParallel(byName.values(), WIDTH, signal, async (node) => {
      // Who directs is known as soon as it is written, before the caches tell.
      if (await this.nodes.ensure(node, signal)) onNode(node.metadata.name, this.nodes.objects.get(node.metadata.name));
    }, (node, error) => lost(node.metadata.name, error));
    await inParallel([...present].filter((name) => !byName.has(name)), WIDTH, signal, async (name) => {
      if (await this.nodes.remove(name, signal)) onNode(name, undefined);
    }, lost);
  }

  #tellOverfull(overfull: WantedNodes['overfull']): void {
    for (const [node, left] of overfull) {
      if (this.#overfull.get(node) === left) continue;
      this.#options.log.warn({ node, left, most: MAX_BINDS }, 'more VIPs than an IPVSNode holds: directors send this node nothing for those that are left out');
    }
    this.#overfull = overfull;
  }

  #wantedNodes(compiler: Compiler): WantedNodes {
    const { world, serving, reserved, unread } = this.#options;
    const unreadGroups = [...unread()].flatMap((key) => (key.startsWith('DirectorGroup/') ? [key.slice('DirectorGroup/'.length)] : []));
    // And of those that were deleted: whoever is served by their directors is served on.
    const orphaned = new Set([...compiler.programs.values()].map(({ spec }) => spec.directorGroup).filter((name) => name !== '' && !compiler.groups.has(name)));
    const wanted = desiredNodes({
      nodes: world.nodes.store.values(), groups: compiler.groups.values(), keptGroups: new Set([...unreadGroups, ...orphaned]), bindings: serving.bindings, reserved: reserved(),
      present: (name) => this.nodes.objects.get(name), kept: (owner) => compiler.programs.has(owner) && compiler.verdicts.get(owner)?.accepted !== true,
      sends: (owner, node) => [...this.present(owner), ...world.programs.store.by('owner', owner)].some((program) => sends(program, node)),
    });
    return { ...wanted, waiting: wanted.waiting || orphaned.size > 0 };
  }

  /** What takes something away first, then what adds, then the rest: a connection to nobody is the worst of the three. */
  async #writePrograms(compiler: Compiler, signal: AbortSignal): Promise<void> {
    const { dirty, world, now, onUnwritten } = this.#options;
    const began = now();
    const isOver = (): boolean => now() - began >= TURN_MS && hasNews(world.untaken);
    const owners = [...dirty.programs].filter((owner) => !this.#unwritten.has(owner));
    const rank = new Map(owners.map((owner) => [owner, urgency(this.present(owner), compiler.programs.get(owner) ?? null)]));
    owners.sort((a, b) => rank.get(a)! - rank.get(b)!);
    for (const owner of this.#leftSince.keys()) if (!rank.has(owner)) this.#leftSince.delete(owner);
    const isLate = (owner: string): boolean => rank.get(owner)! > 0 && began - (this.#leftSince.get(owner) ?? began) >= PATIENCE_MS;
    await inParallel(mixed(owners.filter((owner) => !isLate(owner)), owners.filter(isLate)), WIDTH, signal, async (owner) => {
      // The rest stays dirty, and the news brings the next pass.
      if (isOver()) return void this.#leftSince.set(owner, this.#leftSince.get(owner) ?? began);
      dirty.programs.delete(owner);
      this.#leftSince.delete(owner);
      if (await this.#writeProgram(owner, compiler, signal)) this.programsChanged();
      if (this.#refused.delete(owner)) onUnwritten(owner);
    }, (owner, error) => {
      this.#tell('VirtualServerProgram', owner, error);
      dirty.failedProgram(owner);
      if (passes(error) || this.#refused.get(owner) === (error as Error).message) return;
      this.#refused.set(owner, (error as Error).message);
      onUnwritten(owner);
    });
  }

  /** Returns whether anything was written. */
  async #writeProgram(owner: string, compiler: Compiler, signal: AbortSignal): Promise<boolean> {
    const server = serversOf(compiler).get(owner);
    // It exists and cannot be read: what is there goes on.
    if (!server && this.#isUnread(owner)) return false;
    const program: Program | null = compiler.programs.get(owner) ?? null;
    const wanted = server ? desiredPrograms(program, server) : new Map<string, never>();
    let wrote = false;
    for (const object of wanted.values()) wrote = await this.programs.ensure(object, signal) || wrote;
    for (const key of this.present(owner).map(keyOf)) if (!wanted.has(key)) wrote = await this.programs.remove(key, signal) || wrote;
    if (wanted.size > 1) this.#slices.set(owner, wanted.size);
    else this.#slices.delete(owner);
    return wrote;
  }

  /** Addresses that nobody has any more: after the programs are gone, so that nobody gets one that still leads to somebody else. */
  async #release(compiler: Compiler, signal: AbortSignal): Promise<void> {
    const { dirty, world } = this.#options;
    if (!dirty.take('release')) return;
    const wanted = this.#wantedVirtualIPs(compiler);
    const gone = [...this.virtualIPs.objects.values()].filter((vip) => !wanted.has(vip.metadata.name));
    if (gone.length === 0) return;
    // What another controller wrote meanwhile counts too, although it was not taken notice of.
    const served = new Set([...this.programs.objects.values(), ...world.programs.store.values()].flatMap((p) => p.spec.addresses.map((a) => a.address)));
    this.#wait('release', gone.some((vip) => served.has(vip.spec.address)));
    await inParallel(gone.filter((vip) => !served.has(vip.spec.address)), WIDTH, signal, async ({ metadata: { name }, spec }) => {
      await this.#unlessServed(spec, signal);
      await this.virtualIPs.remove(name, signal);
    }, ({ metadata: { name } }, error) => {
      this.#tell('VirtualIP', name, error);
      dirty.failed('release');
    });
  }

  /** The caches may be behind another controller's program: the server is asked. Rejects with StillServed, or ApiError. */
  async #unlessServed({ address, claims }: ServerObjects['VirtualIP']['spec'], signal: AbortSignal): Promise<void> {
    const { VirtualServerProgram } = RESOURCES;
    for (const { namespace, name } of claims) {
      try {
        const program = await this.#options.client.get(VirtualServerProgram, name, namespace, { signal });
        if (program.spec.addresses.some((a) => a.address === address)) throw new StillServed(`${namespace}/${name}`);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
  }

  #wait(part: Part, waiting: boolean): void {
    if (waiting) this.#waiting.add(part);
    else this.#waiting.delete(part);
  }

  #isUnread(owner: string): boolean {
    return this.#options.unread().has(`VirtualServer/${owner}`);
  }

  /** When one request found nobody, the others of this pass are not sent. */
  #unlessAway(): void {
    if (this.#away) throw new NotSent();
  }

  #tell(kind: string, key: string, error: unknown): void {
    if (error instanceof NotSent) return;
    if (isAway(error)) this.#away = true;
    const quiet = isConflict(error) || isAlreadyExists(error) || error instanceof StillServed;
    this.#options.log[quiet ? 'info' : 'warn']({ kind, object: key, err: error }, 'not written');
  }
}

/** Both, each in its order: three of the first, one of the second. */
function* mixed<T>(first: readonly T[], second: readonly T[]): Generator<T, void, undefined> {
  let next = 0;
  for (const [i, one] of first.entries()) {
    yield one;
    if (i % 3 === 2 && next < second.length) yield second[next++]!;
  }
  yield* second.slice(next);
}

/** Whether something came that may take a real server away, or anything else that is to be decided. */
function hasNews({ written, concerned, everything }: World['untaken']): boolean {
  return everything || written.size > 0 || concerned.size > 0;
}

function isAway(error: unknown): boolean {
  return error instanceof ApiError && AWAY.has(error.code);
}

/** Whether a failure is over with the next try, or with the API server's absence: nobody need be told of it. */
function passes(error: unknown): boolean {
  return error instanceof NotSent || isAway(error) || isConflict(error) || isAlreadyExists(error) || isNotFound(error);
}

class NotSent extends Error {
  constructor() { super('the API server is away'); }
}

class StillServed extends Error {
  constructor(owner: string) { super(`the program of ${owner} still leads there`); }
}

/** VirtualServers with the metadata of the server. */
function serversOf(compiler: Compiler): ReadonlyMap<string, ServerObjects['VirtualServer']> {
  return compiler.servers as ReadonlyMap<string, ServerObjects['VirtualServer']>;
}

function keyOf({ metadata }: ServerObjects['VirtualServerProgram']): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** The VirtualServer of a program, by the program's namespace/name: a VirtualServer has no dot in its name. */
export function ownerOf(programKey: string): string {
  return programKey.replace(/\.\d+$/, '');
}
