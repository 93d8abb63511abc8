/**
 * Statuses: which objects' status has to be looked at, and when; computing is status/'s, writing status-writer.ts's. A status that may
 * wait is looked at again when its time has come.
 */
import type { Logger } from 'pino';
import { RESOURCES, virtualIPName, type DirectorGroupStatus, type ServerObjects, type VIPPoolStatus, type VirtualIPStatus, type VirtualServerStatus } from '../api/v1alpha1/index.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Resource, KubeObject } from '../kube/types.ts';
import type { Compiler } from './compiler.ts';
import { inParallel, type Budget } from './reconcile/budget.ts';
import { StatusWriter, type StatusWriterOptions, type WithStatus } from './reconcile/status-writer.ts';
import type { CountWrite } from './reconcile/writer.ts';
import type { OwnWrites } from './reconcile/own-writes.ts';
import type { Reports } from './reports.ts';
import { claimedStatus, groupStatus, poolStatus } from './status/pools.ts';
import { flips, invalidStatus, virtualServerStatus } from './status/virtualserver.ts';
import type { World } from './world.ts';

export interface StatusesOptions {
  readonly client: KubeClient;
  readonly world: World;
  readonly reports: Reports;
  readonly budget: Budget;
  readonly count: CountWrite;
  readonly log: Logger;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** Told of each condition that changed. */
  readonly onTransition: (server: ServerObjects['VirtualServer'], before: VirtualServerStatus | undefined, after: VirtualServerStatus) => void;
}

/** Counts are written this often at most; conditions at once. Milliseconds. */
const CALM_MS = 10_000;
/** How long directors have to follow a changed program before that is news. Milliseconds. */
const SETTLE_MS = 10_000;
/** After a failed write. Milliseconds. */
const RETRY_MS = 1_000;
const WIDTH = 16;

export class Statuses {
  readonly #options: StatusesOptions;
  readonly #servers: StatusWriter<ServerObjects['VirtualServer'], VirtualServerStatus>;
  readonly #pools: StatusWriter<ServerObjects['VIPPool'], VIPPoolStatus>;
  readonly #groups: StatusWriter<ServerObjects['DirectorGroup'], DirectorGroupStatus>;
  readonly #vips: StatusWriter<ServerObjects['VirtualIP'], VirtualIPStatus>;
  /** Key to when it is due, by kind. */
  readonly #due = { server: new Map<string, number>(), pool: new Map<string, number>(), group: new Map<string, number>(), vip: new Map<string, number>() };
  /** When the program of a VirtualServer last changed. */
  readonly #changedAt = new Map<string, number>();
  readonly #invalid = new Map<string, string>();

  constructor(options: StatusesOptions, vips: OwnWrites<ServerObjects['VirtualIP']>) {
    this.#options = options;
    const { world, client, budget, count, now } = options;
    const common = { client, budget, count, now };
    const always = () => true;
    this.#servers = new StatusWriter<ServerObjects['VirtualServer'], VirtualServerStatus>({ ...common, resource: kubeResource(RESOURCES.VirtualServer), cache: world.virtualServers.store, urgent: flips, calmMs: CALM_MS } as StatusWriterOptions<ServerObjects['VirtualServer'], VirtualServerStatus>);
    this.#pools = new StatusWriter<ServerObjects['VIPPool'], VIPPoolStatus>({ ...common, resource: kubeResource(RESOURCES.VIPPool), cache: world.pools.store, urgent: readyFlips, calmMs: CALM_MS });
    this.#groups = new StatusWriter<ServerObjects['DirectorGroup'], DirectorGroupStatus>({ ...common, resource: kubeResource(RESOURCES.DirectorGroup), cache: world.groups.store, urgent: readyFlips, calmMs: CALM_MS });
    this.#vips = new StatusWriter<ServerObjects['VirtualIP'], VirtualIPStatus>({
      ...common, resource: kubeResource(RESOURCES.VirtualIP), cache: { get: (k) => vips.get(k), keys: () => vips.keys() as IterableIterator<string> }, urgent: always, calmMs: 0,
      part: (s) => (s === undefined ? undefined : { ...(s.claims === undefined ? {} : { claims: s.claims }), conditions: (s.conditions ?? []).filter((c) => c.type === 'Claimed') }),
    });
  }

  /** To be looked at now. */
  server(key: string): void { this.#due.server.set(key, 0); }
  pool(key: string): void { this.#due.pool.set(key, 0); }
  group(key: string): void { this.#due.group.set(key, 0); }
  vip(name: string): void { this.#due.vip.set(name, 0); }

  /** The program of a VirtualServer was changed now. */
  programChanged(owner: string): void {
    this.#changedAt.set(owner, this.#options.now());
    this.server(owner);
  }

  /** The caches heard of an object whose status is written here. */
  heard(objectKey: string, object: KubeObject | undefined): void {
    const slash = objectKey.indexOf('/');
    const [kind, key] = [objectKey.slice(0, slash), objectKey.slice(slash + 1)];
    if (kind === 'VirtualServer' && this.#servers.objects.heard(key, object as never)) this.server(key);
    else if (kind === 'VIPPool' && this.#pools.objects.heard(key, object as never)) this.pool(key);
    else if (kind === 'DirectorGroup' && this.#groups.objects.heard(key, object as never)) this.group(key);
  }

  heardVirtualIP(name: string, object: ServerObjects['VirtualIP'] | undefined): void { this.#vips.objects.heard(name, object); }

  /** Milliseconds until something is due; Infinity: nothing is. */
  get nextDue(): number {
    let next = Infinity;
    for (const due of Object.values(this.#due)) for (const at of due.values()) if (at < next) next = at;
    return Math.max(0, next - this.#options.now());
  }

  /** Looks at everything that is due, and writes what differs. */
  async write(compiler: Compiler, unwritten: ReadonlyMap<string, string>, signal: AbortSignal): Promise<void> {
    const { now, clock, world, reports } = this.#options;
    const time = new Date(clock()).toISOString();
    this.#lookForInvalid();
    await this.#each('server', signal, async (key) => {
      const server = world.virtualServers.store.get(key);
      const known = this.#servers.objects.get(key) ?? server;
      const invalid = world.virtualServers.badObjects.get(key);
      if (invalid !== undefined) return await this.#writeInvalid(key, invalid, time, signal);
      const verdict = compiler.verdicts.get(key);
      if (!server || !known || !verdict) return 0;
      const program = compiler.programs.get(key) ?? null;
      const changed = this.#changedAt.get(key);
      const settling = changed !== undefined && now() - changed < SETTLE_MS;
      if (!settling) this.#changedAt.delete(key);
      const status = virtualServerStatus({
        server: { ...server, ...(known.status === undefined ? {} : { status: known.status }) }, verdict, program, unwritten: unwritten.get(key) ?? '', settling, now: time,
        directors: program ? reports.directors(program.spec.directorGroup, key) : [],
        holders: new Map(verdict.addresses.map((a) => [a, reports.holder(world.virtualIPs.store.get(virtualIPName(a)))])),
      });
      const wait = await this.#servers.write(key, status, signal);
      if (wait === 0 && flips(known.status, status)) this.#options.onTransition(server, known.status, status);
      // Whether the directors followed is looked at when they had their time.
      return wait > 0 || !settling ? wait : Math.max(1, changed + SETTLE_MS - now());
    });
    await this.#each('vip', signal, async (name) => {
      const vip = this.#vips.objects.get(name);
      return vip ? await this.#vips.write(name, claimedStatus(vip, time), signal) : 0;
    });
    await this.#each('pool', signal, async (name) => {
      const pool = world.pools.store.get(name);
      return pool ? await this.#pools.write(name, poolStatus({ ...pool, ...status(this.#pools.objects.get(name)) }, this.#used(name, compiler), this.#poolProblem(pool), time), signal) : 0;
    });
    await this.#each('group', signal, async (name) => {
      const group = world.groups.store.get(name);
      if (!group) return 0;
      const owned = new Map<string, number>();
      for (const vip of world.virtualIPs.store.values()) {
        const node = vip.status?.activeNode;
        if (node && vip.spec.directorGroup === name) owned.set(node, (owned.get(node) ?? 0) + 1);
      }
      const members = reports.members(name).map((node) => ({ node, live: reports.isLive(node), report: reports.node(node), owned: owned.get(node) ?? 0 }));
      return await this.#groups.write(name, groupStatus({ ...group, ...status(this.#groups.objects.get(name)) }, members, time), signal);
    });
  }

  async #each(kind: 'server' | 'pool' | 'group' | 'vip', signal: AbortSignal, look: (key: string) => Promise<number>): Promise<void> {
    const { now, log } = this.#options;
    const due = this.#due[kind];
    const keys = [...due].filter(([, at]) => at <= now()).map(([key]) => key);
    await inParallel(keys, WIDTH, signal, async (key) => {
      due.delete(key);
      const wait = await look(key);
      if (wait > 0) due.set(key, Math.min(due.get(key) ?? Infinity, now() + wait));
    }, (key, error) => {
      log.warn({ kind, object: key, err: error, retryMs: RETRY_MS }, 'status not written');
      due.set(key, now() + RETRY_MS);
    });
  }

  /** A VirtualServer that fails its schema changes nothing in the cache, so nobody is told of it but who looks. */
  #lookForInvalid(): void {
    const bad = this.#options.world.virtualServers.badObjects;
    for (const [key, problem] of bad) if (this.#invalid.get(key) !== problem) this.server(key);
    for (const key of this.#invalid.keys()) if (!bad.has(key)) { this.#invalid.delete(key); this.server(key); }
  }

  async #writeInvalid(key: string, problem: string, time: string, signal: AbortSignal): Promise<number> {
    const { client, world } = this.#options;
    const slash = key.indexOf('/');
    // Without its schema: what cannot be read as ours still has metadata.
    const raw = await client.get<WithStatus<VirtualServerStatus>>({ ...kubeResource(RESOURCES.VirtualServer), parse: undefined } as unknown as Resource<WithStatus<VirtualServerStatus>>, key.slice(slash + 1), key.slice(0, slash), { signal });
    const before = world.virtualServers.store.get(key)?.status ?? raw.status;
    await client.apply({ ...kubeResource(RESOURCES.VirtualServer), parse: undefined } as never, {
      apiVersion: raw.apiVersion, kind: raw.kind, metadata: { name: raw.metadata.name, namespace: raw.metadata.namespace },
      status: invalidStatus(before, raw.metadata.generation, problem, time),
    } as KubeObject, { fieldManager: 'ipvs-controller', force: true, subresource: 'status', signal });
    this.#options.count('VirtualServer', 'status', true);
    this.#invalid.set(key, problem);
    return 0;
  }

  #used(pool: string, compiler: Compiler): { ipv4: number; ipv6: number } {
    const used = { ipv4: 0, ipv6: 0 };
    for (const address of compiler.vips.keys()) {
      const owner = compiler.vips.get(address)!;
      if (compiler.verdicts.get(owner)?.pool === pool) used[address.includes(':') ? 'ipv6' : 'ipv4']++;
    }
    return used;
  }

  #poolProblem({ metadata, spec }: ServerObjects['VIPPool']): { reason: string; message: string } | null {
    const { groups } = this.#options.world;
    const name = spec.directorGroupRef?.name;
    if (name !== undefined && !groups.store.has(name)) return { reason: 'DirectorGroupNotFound', message: `DirectorGroup ${name} does not exist; create it, or correct spec.directorGroupRef of VIPPool ${metadata.name}` };
    if (name === undefined && groups.store.size > 1) return { reason: 'DirectorGroupNotFound', message: `there are ${groups.store.size} DirectorGroups; name one in spec.directorGroupRef` };
    return null;
  }
}

function status<S>(object: { readonly status?: S } | undefined): { status?: S } {
  return object?.status === undefined ? {} : { status: object.status };
}

function readyFlips(before: { readonly conditions?: readonly { type: string; status: string; reason: string }[] | undefined } | undefined, after: { readonly conditions?: readonly { type: string; status: string; reason: string }[] | undefined }): boolean {
  const text = (c: typeof after.conditions) => JSON.stringify((c ?? []).map(({ type, status: s, reason }) => [type, s, reason]));
  return text(before?.conditions) !== text(after.conditions);
}

/** api's descriptions are kube's resources: the rooms do not know each other's types. */
function kubeResource<T extends KubeObject>(description: { readonly group: string; readonly version: string; readonly kind: string; readonly plural: string; readonly namespaced: boolean; readonly parse: (value: unknown) => T }): Resource<T> {
  return description;
}
