/**
 * Statuses: which objects' status has to be looked at, and when; computing is status/'s, writing status-writer.ts's. A status that may
 * wait is looked at again when its time has come, and of many only some a pass: what directors are told comes first. What only says that
 * something is on its way is not written at all where it will be otherwise in a moment: of a VirtualIP that a director is about to take, and in
 * a rush of a VirtualServer that directors are about to have. In a rush good news waits for its end, but for some.
 */
import {
  RESOURCES, virtualIPName,
  type DirectorGroupStatus, type ServerObjects, type VIPPoolStatus, type VirtualIPStatus, type VirtualServerStatus,
} from '../api/v1alpha1/index.ts';
import { ApiError } from '../kube/errors.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Reflector } from '../kube/reflector.ts';
import type { KubeObject, Log } from '../kube/types.ts';
import type { Compiler } from './compiler.ts';
import type { Budget } from './reconcile/budget.ts';
import { OwnWrites, type Heard } from './reconcile/own-writes.ts';
import { inParallel } from './reconcile/parallel.ts';
import { StatusWriter } from './reconcile/status-writer.ts';
import { InvalidWriter } from './reconcile/invalid-writer.ts';
import type { CountWrite } from './reconcile/writer.ts';
import type { NotWritten } from './reconcile/writing.ts';
import type { Reports } from './reports.ts';
import { GoodNews } from './good-news.ts';
import { Rush } from './rush.ts';
import { claimedStatus, groupStatus, poolRemark, poolStatus, type PoolRemark, type PoolSurroundings } from './status/pools.ts';
import { becameReady, flips, isOnItsWay, virtualServerStatus } from './status/virtualserver.ts';
import { holderKey, type World } from './world.ts';

export interface StatusesOptions {
  readonly client: KubeClient;
  readonly world: World;
  readonly reports: Reports;
  readonly budget: Budget;
  readonly count: CountWrite;
  readonly log: Log;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  readonly reserved: PoolSurroundings['reserved'];
  /** Whether what follows from the newest form of an object, by objectKey, is still to be decided or written. */
  readonly deciding: (objectKey: string) => boolean;
  /** Told of each condition that changed. */
  readonly onTransition: (server: ServerObjects['VirtualServer'], before: VirtualServerStatus | undefined, after: VirtualServerStatus) => void;
}

/** Counts are written this often at most; conditions at once. Milliseconds. */
const CALM_MS = 10_000;
/** How long directors have to follow a changed program before that is news. Milliseconds. */
const SETTLE_MS = 10_000;
/** So long the first status of a VirtualIP is left to the director that takes it, which writes the whole of it. Milliseconds. */
const CLAIMED_MS = 8_000;
/**
 * So long in a rush a new VirtualServer, or a new form of one, is told nothing but the outcome, or each would be written twice more just then.
 * Milliseconds.
 */
const ON_ITS_WAY_MS = 8_000;
/** A group whose nodes are not told of its newest form yet is looked at again so soon. Milliseconds. */
const UNDECIDED_MS = 100;
/** After a failed write. Milliseconds. */
const RETRY_MS = 1_000;
const WIDTH = 16;
/** Looked at and written in one pass, of each kind; the next pass follows at once. In a rush there is more to write for directors. */
const A_PASS = { looks: 256, writes: 64, writesInRush: 16 };
/** Failures that every other request would meet too. */
const AWAY: ReadonlySet<string> = new Set(['UNREACHABLE', 'TIMEOUT', 'TOO_MANY_REQUESTS']);

type Due = 'server' | 'vip' | 'pool' | 'group' | 'invalid';
const REPORTED: readonly Due[] = ['server', 'pool', 'group', 'invalid'];

export class Statuses {
  readonly #options: StatusesOptions;
  readonly #servers: StatusWriter<ServerObjects['VirtualServer'], VirtualServerStatus>;
  readonly #pools: StatusWriter<ServerObjects['VIPPool'], VIPPoolStatus>;
  readonly #groups: StatusWriter<ServerObjects['DirectorGroup'], DirectorGroupStatus>;
  readonly #vips: StatusWriter<ServerObjects['VirtualIP'], VirtualIPStatus>;
  readonly #invalids: InvalidWriter;
  /** Key to when it is due, by kind. Of `invalid` the key is an objectKey. */
  readonly #due: Record<Due, Map<string, number>> = { server: new Map(), vip: new Map(), pool: new Map(), group: new Map(), invalid: new Map() };
  /** When the program of a VirtualServer last changed. */
  readonly #changedAt = new Map<string, number>();
  readonly #rush: Rush;
  readonly #goodNews = new GoodNews();
  #writes = 0;
  /** VirtualServers of whose newest form nothing was told yet, and VirtualIPs without a status: since when. Monotonic milliseconds. */
  readonly #silentSince = { server: new Map<string, number>(), vip: new Map<string, number>() };
  /** What was wrong with what cannot be read, by objectKey. */
  #invalid: ReadonlyMap<string, string> = new Map();
  /** The API server is away: nothing is due before. */
  #pausedUntil = 0;

  /** `vips`: shared with who writes VirtualIPs. */
  constructor(options: StatusesOptions, vips: OwnWrites<ServerObjects['VirtualIP']>) {
    this.#options = options;
    const { world, client, budget, count, now } = options;
    this.#rush = new Rush(now);
    const common = { client, budget, count: (...write: Parameters<CountWrite>) => { this.#writes++; count(...write); }, now };
    const { VirtualServer, VIPPool, DirectorGroup, VirtualIP } = RESOURCES;
    const own = <T extends KubeObject>({ store }: Reflector<T>): OwnWrites<T> => new OwnWrites(store, now);
    this.#servers = new StatusWriter<ServerObjects['VirtualServer'], VirtualServerStatus>({
      ...common, resource: VirtualServer, objects: own(world.virtualServers), urgent: flips, calmMs: CALM_MS,
    });
    this.#pools = new StatusWriter<ServerObjects['VIPPool'], VIPPoolStatus>({
      ...common, resource: VIPPool, objects: own(world.pools), urgent: conditionsFlip, calmMs: CALM_MS,
    });
    this.#groups = new StatusWriter<ServerObjects['DirectorGroup'], DirectorGroupStatus>({
      ...common, resource: DirectorGroup, objects: own(world.groups), urgent: conditionsFlip, calmMs: CALM_MS,
    });
    this.#vips = new StatusWriter<ServerObjects['VirtualIP'], VirtualIPStatus>({
      ...common, resource: VirtualIP, objects: vips, urgent: () => true, calmMs: 0, part: claimedPart,
    });
    this.#invalids = new InvalidWriter(common);
  }

  /** To be looked at now. */
  server(key: string): void { this.#due.server.set(key, 0); }
  pool(key: string): void { this.#due.pool.set(key, 0); }
  group(key: string): void { this.#due.group.set(key, 0); }
  vip(name: string): void { this.#due.vip.set(name, 0); }

  /** So many VirtualServers came, or were edited. */
  came(count: number): void { this.#rush.came(count); }

  /** Whether they come by the dozen. */
  get inRush(): boolean { return this.#rush.on; }

  /** The program of a VirtualServer was changed now. */
  programChanged(owner: string): void {
    this.#changedAt.set(owner, this.#options.now());
    this.server(owner);
  }

  /** The caches heard of an object whose status is written here. */
  heard(objectKey: string, heard: Heard<KubeObject>): void {
    const slash = objectKey.indexOf('/');
    const [kind, key] = [objectKey.slice(0, slash), objectKey.slice(slash + 1)];
    const [writer, due] = kind === 'VirtualServer' ? [this.#servers, 'server'] as const
      : kind === 'VIPPool' ? [this.#pools, 'pool'] as const : [this.#groups, 'group'] as const;
    if (writer.objects.heard(key, heard as never) !== 'none') this.#due[due].set(key, 0);
    if (heard.object === undefined) {
      writer.forget(key);
      this.#changedAt.delete(key);
      this.#silentSince.server.delete(key);
      this.#goodNews.forget(key);
    }
  }

  /** Milliseconds until `write` has something to do; Infinity: nothing is due. */
  get nextDue(): number { return this.#until(REPORTED); }

  /** And until `writeClaims` has. */
  get nextClaimDue(): number { return this.#until(['vip']); }

  #until(kinds: readonly Due[]): number {
    let next = Infinity;
    for (const kind of kinds) for (const at of this.#due[kind].values()) if (at < next) next = at;
    return Math.max(0, Math.max(next, this.#pausedUntil) - this.#options.now());
  }

  /** Looks at claims that are due, at so many, and writes what differs. In turn with who writes VirtualIPs: theirs are the same objects. */
  async writeClaims(signal: AbortSignal): Promise<void> {
    const time = new Date(this.#options.clock()).toISOString();
    await this.#each('vip', signal, (name) => this.#vip(name, time, signal));
  }

  /** Looks at everything else that is due, at so many of each kind, and writes what differs. */
  async write(compiler: Compiler, notWritten: NotWritten, signal: AbortSignal): Promise<void> {
    const { clock, world } = this.#options;
    const time = new Date(clock()).toISOString();
    for (const { objects } of [this.#servers, this.#pools, this.#groups]) objects.doubts();
    this.#lookForInvalid();
    for (const key of this.#goodNews.turn(this.#rush.on, this.#options.now())) this.server(key);
    await this.#each('server', signal, (key) => this.#server(key, compiler, notWritten, time, signal));
    await this.#each('pool', signal, async (name) => {
      const pool = this.#pools.objects.get(name);
      return pool && world.pools.store.has(name) ? await this.#pools.write(name, poolStatus(pool, this.#used(name), this.#remark(pool), time), signal) : 0;
    });
    await this.#each('group', signal, async (name) => {
      const group = this.#groups.objects.get(name);
      // Its members are those of the form before.
      if (this.#options.deciding(`DirectorGroup/${name}`)) return UNDECIDED_MS;
      return group && world.groups.store.has(name) ? await this.#groups.write(name, groupStatus(group, this.#members(name), time), signal) : 0;
    });
    // Last, for nobody is served by it.
    await this.#each('invalid', signal, async (key) => {
      if (this.#invalid.has(key)) await this.#invalids.write(key, time, signal);
      return 0;
    });
  }

  async #server(key: string, compiler: Compiler, notWritten: NotWritten, time: string, signal: AbortSignal): Promise<number> {
    const { now, world, reports, onTransition } = this.#options;
    const server = world.virtualServers.store.get(key);
    const verdict = compiler.verdicts.get(key);
    // As it was decided upon: the cache may have a newer form, and nobody who waits for that is to be told of this one.
    const decided = compiler.servers.get(key) as ServerObjects['VirtualServer'] | undefined;
    if (!server || !verdict || !decided || world.virtualServers.badObjects.has(key)) return 0;
    // Made anew: it is due again when it was looked at.
    if (decided.metadata.uid !== server.metadata.uid) return 0;
    const known = this.#servers.objects.get(key) ?? server;
    const program = compiler.programs.get(key) ?? null;
    const changed = this.#changedAt.get(key);
    const settling = changed !== undefined && now() - changed < SETTLE_MS;
    if (!settling) this.#changedAt.delete(key);
    const next = virtualServerStatus({
      server: { ...server, metadata: decided.metadata, spec: decided.spec, ...(known.status === undefined ? {} : { status: known.status }) },
      verdict, program, settling, now: time,
      unwritten: notWritten.claims.get(key) ?? '', refused: notWritten.programs.get(key) ?? '',
      directors: program ? reports.directors(program.spec.directorGroup, key) : [],
      holders: new Map(verdict.addresses.map((a) => [a, reports.holder(world.virtualIPs.store.get(virtualIPName(a)))])),
    });
    const silent = isOnItsWay(known.status, next) && (this.#rush.on || this.#silentSince.server.has(key)) ? this.#silence('server', key, ON_ITS_WAY_MS) : 0;
    if (silent > 0) return silent;
    this.#silentSince.server.delete(key);
    if (this.#goodNews.waits(key, becameReady(known.status, next), this.#rush.on)) return 0;
    const wait = await this.#servers.write(key, next, signal);
    if (wait === 0 && flips(known.status, next)) onTransition(server, known.status, next);
    // Whether the directors followed is looked at when they had their time.
    return wait > 0 || !settling ? wait : Math.max(1, changed + SETTLE_MS - now());
  }

  async #vip(name: string, time: string, signal: AbortSignal): Promise<number> {
    const vip = this.#vips.objects.get(name);
    const silent = vip !== undefined && vip.status?.claims === undefined ? this.#silence('vip', name, CLAIMED_MS) : 0;
    if (silent > 0) return silent;
    this.#silentSince.vip.delete(name);
    if (!vip) this.#vips.forget(name);
    return vip ? await this.#vips.write(name, claimedStatus(vip, time), signal) : 0;
  }

  /** Milliseconds that nothing is told yet of what begins, or began so long ago. */
  #silence(kind: 'server' | 'vip', key: string, ms: number): number {
    const now = this.#options.now();
    const since = this.#silentSince[kind].get(key) ?? now;
    this.#silentSince[kind].set(key, since);
    return Math.max(0, Math.ceil(since + ms - now));
  }

  async #each(kind: Due, signal: AbortSignal, look: (key: string) => Promise<number>): Promise<void> {
    const { now, log } = this.#options;
    const due = this.#due[kind];
    const keys: string[] = [];
    // The clock is asked once: of thousands that wait, most are not due.
    const time = now();
    for (const [key, at] of due) if (at <= time && keys.push(key) === A_PASS.looks) break;
    const enough = this.#writes + (this.#rush.on ? A_PASS.writesInRush : A_PASS.writes);
    await inParallel(keys, WIDTH, signal, async (key) => {
      if (this.#pausedUntil > now() || this.#writes >= enough) return;
      due.delete(key);
      const wait = await look(key);
      if (wait > 0) due.set(key, Math.min(due.get(key) ?? Infinity, now() + wait));
    }, (key, error) => {
      if (error instanceof ApiError && AWAY.has(error.code)) this.#pausedUntil = now() + RETRY_MS;
      log.warn({ kind, object: key, err: error, retryMs: RETRY_MS }, 'status not written');
      due.set(key, now() + RETRY_MS);
    });
  }

  /** What fails its schema changes nothing in the caches, so nobody is told of it but who looks. */
  #lookForInvalid(): void {
    const { virtualServers, pools, groups } = this.#options.world;
    if (this.#invalid.size + virtualServers.badObjects.size + pools.badObjects.size + groups.badObjects.size === 0) return;
    const before = this.#invalid;
    const now = new Map<string, string>();
    for (const [kind, { badObjects }] of [['VirtualServer', virtualServers], ['VIPPool', pools], ['DirectorGroup', groups]] as const) {
      for (const [key, problem] of badObjects) now.set(`${kind}/${key}`, problem);
    }
    this.#invalid = now;
    for (const [key, problem] of now) if (before.get(key) !== problem) this.#due.invalid.set(key, 0);
    // What can be read again says so itself, also when it is as it was before.
    for (const key of before.keys()) {
      if (now.has(key)) continue;
      const name = key.slice(key.indexOf('/') + 1);
      if (key.startsWith('VirtualServer/')) this.server(name);
      else if (key.startsWith('VIPPool/')) this.pool(name);
      else this.group(name);
    }
  }

  /** What VirtualIPs say: also what is served on although it is refused now. */
  #used(pool: string): { ipv4: number; ipv6: number } {
    const used = { ipv4: 0, ipv6: 0 };
    for (const { spec } of this.#vips.objects.values()) if (spec.poolRef.name === pool) used[spec.family === 'IPv6' ? 'ipv6' : 'ipv4']++;
    return used;
  }

  #remark(pool: ServerObjects['VIPPool']): PoolRemark | null {
    const { world, reserved } = this.#options;
    return poolRemark(pool, { groups: new Set([...world.groups.store.keys(), ...world.groups.badObjects.keys()]), pools: world.pools.store.values(), reserved });
  }

  #members(group: string): Parameters<typeof groupStatus>[1] {
    const { world, reports } = this.#options;
    const owned = (node: string): number => world.virtualIPs.store.count('holder', holderKey(group, node));
    return reports.members(group).map((node) => ({ node, live: reports.isLive(node), report: reports.node(node), owned: owned(node) }));
  }
}

/** What of a VirtualIP's status is the controller's; who holds it is the owner's to say. */
function claimedPart(status: VirtualIPStatus | undefined): VirtualIPStatus | undefined {
  if (status === undefined) return undefined;
  const conditions = (status.conditions ?? []).filter((c) => c.type === 'Claimed');
  return { ...(status.claims === undefined ? {} : { claims: status.claims }), conditions };
}

type WithConditions = { readonly conditions?: readonly { type: string; status: string; reason: string }[] | undefined } | undefined;

function conditionsFlip(before: WithConditions, after: WithConditions): boolean {
  const text = (s: WithConditions) => JSON.stringify((s?.conditions ?? []).map(({ type, status, reason }) => [type, status, reason]));
  return text(before) !== text(after);
}
