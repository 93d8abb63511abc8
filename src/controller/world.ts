/**
 * World: the caches of everything the controller reads, and what changed in them since it last looked. Reflectors feed it; it decides
 * nothing, but it knows whom a change concerns.
 */
import { isDeepStrictEqual } from 'node:util';
import { objectKey, RESOURCES, WEIGHT_NAME, type ServerObjects } from '../api/v1alpha1/index.ts';
import type { KubeClient } from '../kube/client.ts';
import { isNotFound } from '../kube/errors.ts';
import { LEASES, type Lease } from '../kube/lease.ts';
import { Reflector, type Change, type ReflectorOptions } from '../kube/reflector.ts';
import { nameOf, type KubeObject, type Log, type Resource } from '../kube/types.ts';
import { isAbort, sleep as realSleep, type Sleep } from '../kube/wait.ts';
import { poolHolds, readPool } from './compile/pools.ts';
import { asksPods, servicesOf } from './compile/sources.ts';
import {
  ENDPOINT_SLICES, ENDPOINTS, NAMESPACES, NODES, PODS, REFERENCE_GRANTS, SERVICE_CIDRS, SERVICE_NAME_LABEL, SERVICES,
  trimNamespace, trimNode, trimService, trimSlice,
  type Endpoints, type EndpointSlice, type Namespace, type Node, type Pod, type ReferenceGrant, type Service, type ServiceCIDR,
} from './core.ts';
import { Liveness } from './liveness.ts';
import { PodCache } from './pods.ts';
import type { Heard } from './reconcile/own-writes.ts';
import { API_SERVER, serviceIPs, sliceService } from './surroundings.ts';

export interface WorldOptions {
  readonly client: KubeClient;
  /** Where the Leases of directors are. */
  readonly namespace: string;
  readonly log: Log;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly random: () => number;
  /** Something changed. */
  readonly wake: () => void;
  readonly sleep?: Sleep;
}

type Watched = ServerObjects['VirtualServer'] | ServerObjects['VIPPool'] | ServerObjects['DirectorGroup'];

/** What changed since the last look; objects are as the caches have them now, undefined when they are gone. */
export interface Changes {
  /** objectKeys of what people wrote. */
  readonly written: Set<string>;
  /** `namespace/name` of VirtualServers around which something changed. */
  readonly concerned: Set<string>;
  /** Something changed on which every claim or every VirtualServer may depend. */
  everything: boolean;
  readonly virtualIPs: Map<string, Heard<ServerObjects['VirtualIP']>>;
  readonly programs: Map<string, Heard<ServerObjects['VirtualServerProgram']>>;
  readonly ipvsNodes: Map<string, Heard<ServerObjects['IPVSNode']>>;
  /** By objectKey. */
  readonly statuses: Map<string, Heard<Watched>>;
}

/** One cache with what fills it. */
interface Source {
  readonly name: string;
  readonly reflector: Pick<Reflector<KubeObject>, 'synced' | 'stats'> & { readonly store: { readonly size: number } };
  readonly run: (signal: AbortSignal) => Promise<void>;
  /** Nobody waits for it: the cluster does not have the kind, or nobody asks for it. */
  readonly absent: boolean;
}

/** What a cache is asked for, and what it tells. */
type Reflection<T extends KubeObject> = Pick<ReflectorOptions<T>, 'indexes' | 'trim' | 'namespace' | 'labelSelector' | 'onChange'> & {
  optional?: boolean;
};

/** What VirtualIPs are indexed by as `holder`: their group, and who has them. */
export function holderKey(group: string, node: string): string { return `${group} ${node}`; }

export function noChanges(): Changes {
  return { written: new Set(), concerned: new Set(), everything: false, virtualIPs: new Map(), programs: new Map(), ipvsNodes: new Map(), statuses: new Map() };
}

/** Label of directors' Leases, with the value `director`. */
export const LEASE_LABEL = 'ipvs-operator.dev/lease';
/** A kind that the cluster does not have is looked for again so often. Milliseconds. */
const ABSENT_MS = 60_000;
/** And so often while the server does not say whether it has the kind. Milliseconds. */
const UNKNOWN_MS = 2_000;

export class World {
  readonly virtualServers: Reflector<ServerObjects['VirtualServer']>;
  readonly pools: Reflector<ServerObjects['VIPPool']>;
  readonly groups: Reflector<ServerObjects['DirectorGroup']>;
  readonly virtualIPs: Reflector<ServerObjects['VirtualIP']>;
  readonly programs: Reflector<ServerObjects['VirtualServerProgram']>;
  readonly ipvsNodes: Reflector<ServerObjects['IPVSNode']>;
  readonly services: Reflector<Service>;
  readonly slices: Reflector<EndpointSlice>;
  readonly endpoints: Reflector<Endpoints>;
  readonly nodes: Reflector<Node>;
  readonly namespaces: Reflector<Namespace>;
  readonly serviceCIDRs: Reflector<ServiceCIDR>;
  readonly grants: Reflector<ReferenceGrant>;
  readonly pods: PodCache;
  readonly leases: Reflector<Lease>;
  /** Who of them lives. */
  readonly directors: Liveness;
  readonly #options: WorldOptions;
  readonly #sources: Source[] = [];
  #changes = noChanges();
  #synced = false;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.virtualServers = this.#reflect(RESOURCES.VirtualServer, {
      indexes: { service: servicesOf },
      onChange: (c) => {
        this.#wrote(c);
        this.pods.ask(c.key, c.type !== 'deleted' && asksPods(c.object));
      },
    });
    this.pools = this.#reflect(RESOURCES.VIPPool, { onChange: (c) => this.#wrote(c) });
    this.groups = this.#reflect(RESOURCES.DirectorGroup, { onChange: (c) => this.#wrote(c) });
    this.virtualIPs = this.#reflect(RESOURCES.VirtualIP, {
      indexes: { holder: (v) => [holderKey(v.spec.directorGroup, v.status?.activeNode ?? '')] },
      onChange: (c) => hear(this.#changes.virtualIPs, c.key, c),
    });
    this.programs = this.#reflect(RESOURCES.VirtualServerProgram, {
      indexes: { owner: (p) => [`${p.metadata.namespace}/${p.spec.virtualServer.name}`] },
      onChange: (c) => hear(this.#changes.programs, c.key, c),
    });
    this.ipvsNodes = this.#reflect(RESOURCES.IPVSNode, { onChange: (c) => hear(this.#changes.ipvsNodes, c.key, c) });
    this.services = this.#reflect(SERVICES, {
      trim: trimService, indexes: { clusterIP: serviceIPs },
      onChange: (c) => { this.#concern(c.key); this.#freed(c); },
    });
    this.slices = this.#reflect(ENDPOINT_SLICES, {
      labelSelector: SERVICE_NAME_LABEL, trim: trimSlice, indexes: { service: sliceService },
      onChange: (c) => { for (const o of c.type === 'updated' ? [c.old, c.object] : [c.object]) for (const key of sliceService(o)) this.#concern(key); },
    });
    // The endpoints controller mirrors what it writes itself, and says so on the object.
    this.endpoints = this.#reflect(ENDPOINTS, { labelSelector: '!endpoints.kubernetes.io/managed-by', onChange: (c) => this.#concern(c.key) });
    this.nodes = this.#reflect(NODES, { trim: trimNode, onChange: (c) => this.#unlessHeartbeat(c) });
    this.namespaces = this.#reflect(NAMESPACES, { trim: trimNamespace, onChange: (c) => this.#unlessHeartbeat(c) });
    this.serviceCIDRs = this.#reflect(SERVICE_CIDRS, { optional: true, onChange: () => { this.#changes.everything = true; } });
    this.grants = this.#reflect(REFERENCE_GRANTS, { optional: true, onChange: () => { this.#changes.everything = true; } });
    const pods = new PodCache({ ...options, onChange: (c) => { this.#podChanged(c); options.wake(); }, onAnswer: () => { this.#concernAsking(); options.wake(); } });
    this.pods = pods;
    this.#sources.push({ name: nameOf(PODS), reflector: pods, run: (signal) => pods.run(signal), get absent() { return pods.absent; } });
    const ofDirectors = { namespace: options.namespace, labelSelector: `${LEASE_LABEL}=director` };
    this.directors = new Liveness({
      now: options.now, log: options.log, onAnswer: options.wake, errors: () => this.leases.stats.errors,
      list: async (signal) => (await options.client.listAll(LEASES, { ...ofDirectors, signal })).items,
    });
    this.leases = this.#reflect(LEASES, {
      ...ofDirectors,
      onChange: (c) => (c.type === 'deleted' ? this.directors.forget(c.object) : this.directors.observe(c.object)),
    });
  }

  /**
   * Whether every cache has been complete once. Before that nothing may be decided. What is read only from then on, because somebody begins to ask
   * or the cluster has the kind now, nobody waits for.
   */
  get synced(): boolean { return this.#synced ||= this.#sources.every((s) => s.reflector.synced || s.absent); }

  /** objectKeys of what people wrote and nobody can read: their newest form fails the schema, and there is no good one from before. */
  get unread(): Set<string> {
    const keys = new Set<string>();
    for (const [kind, { badObjects, store }] of [['VirtualServer', this.virtualServers], ['VIPPool', this.pools], ['DirectorGroup', this.groups]] as const) {
      for (const key of badObjects.keys()) if (!store.has(key)) keys.add(`${kind}/${key}`);
    }
    return keys;
  }

  /** Names of caches that were never complete. */
  get missing(): string[] { return this.#sources.filter((s) => !s.reflector.synced && !s.absent).map((s) => s.name); }

  /** For metrics: of what is read. */
  get stats(): { readonly resource: string; readonly stats: Reflector<KubeObject>['stats']; readonly synced: boolean; readonly objects: number }[] {
    const read = this.#sources.filter((s) => this.pods.asked || s.name !== nameOf(PODS));
    return read.map(({ name, reflector }) => ({ resource: name, stats: reflector.stats, synced: reflector.synced, objects: reflector.store.size }));
  }

  /** What `take` would return. */
  get untaken(): Readonly<Changes> { return this.#changes; }

  /** What changed since the last call. */
  take(): Changes {
    const changes = this.#changes;
    this.#changes = noChanges();
    return changes;
  }

  /** Resolves when the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    this.directors.begin(signal);
    await Promise.all(this.#sources.map((s) => s.run(signal)));
  }

  #reflect<T extends KubeObject>(resource: Resource<T>, { onChange, optional = false, ...rest }: Reflection<T>): Reflector<T> {
    const { client, log, now, random, wake, sleep = realSleep } = this.#options;
    const reflector = new Reflector<T>({
      client, resource, log, now, random, sleep, ...rest,
      onSynced: () => wake(),
      onChange: (change) => { onChange(change); wake(); },
    });
    const source = {
      name: nameOf(resource), reflector: reflector as unknown as Reflector<KubeObject>, absent: false,
      run: async (signal: AbortSignal): Promise<void> => {
        if (optional) await this.#whenInstalled(resource, signal, (absent) => { source.absent = absent; wake(); });
        await reflector.run(signal);
      },
    };
    this.#sources.push(source);
    return reflector;
  }

  /**
   * Resolves when the server has the kind, or the signal aborts. A server that is away has said nothing: who starts then must not wait for
   * the kind for ever.
   */
  async #whenInstalled(resource: Resource, signal: AbortSignal, told: (absent: boolean) => void): Promise<void> {
    const { client, log, sleep = realSleep } = this.#options;
    while (!signal.aborted) {
      let absent = false;
      try {
        await client.list(resource, { limit: 1, signal });
        told(false);
        return;
      } catch (error) {
        if (isAbort(error)) return;
        absent = isNotFound(error);
        if (absent) told(true);
        log[absent ? 'debug' : 'warn'](
          { resource: nameOf(resource), ...(!absent && { err: error }) },
          absent ? 'the cluster does not have this kind' : 'whether the cluster has this kind is not known',
        );
      }
      try {
        await sleep(absent ? ABSENT_MS : UNKNOWN_MS, signal);
      } catch (error) {
        if (!isAbort(error)) throw error;
      }
    }
  }

  #podChanged(c: Change<Pod>): void {
    const weight = (pod: Pod) => pod.metadata.annotations?.[WEIGHT_NAME];
    if ((c.type === 'updated' ? weight(c.old) : undefined) !== weight(c.object)) this.#concernAsking(c.object.metadata.namespace);
  }

  /** VirtualServers that ask for weights of Pods; `namespace`: only of Pods there. */
  #concernAsking(namespace?: string): void {
    for (const server of this.virtualServers.store.values()) {
      if (!asksPods(server) || (namespace !== undefined && !servicesOf(server).some((key) => key.startsWith(`${namespace}/`)))) continue;
      this.#changes.concerned.add(`${server.metadata.namespace}/${server.metadata.name}`);
    }
  }

  #wrote(c: Change<Watched>): void {
    const key = objectKey(c.object);
    hear(this.#changes.statuses, key, c);
    // What was written is another only with another generation; the rest is status and labels.
    if (c.type !== 'updated' || c.old.metadata.generation !== c.object.metadata.generation) this.#changes.written.add(key);
  }

  #concern(service: string): void {
    if (service === API_SERVER) this.#changes.everything = true;
    for (const { metadata } of this.virtualServers.store.by('service', service)) this.#changes.concerned.add(`${metadata.namespace}/${metadata.name}`);
  }

  /** The address that a Service had is one to be given, where it is of a pool: somebody may have been refused it. */
  #freed(c: Change<Service>): void {
    const old = c.type === 'deleted' ? serviceIPs(c.object) : c.type === 'updated' ? serviceIPs(c.old) : [];
    const gone = c.type === 'updated' ? old.filter((ip) => !serviceIPs(c.object).includes(ip)) : old;
    if (gone.length === 0) return;
    for (const pool of this.pools.store.values()) if (gone.some((ip) => poolHolds(readPool(pool), ip))) this.#changes.everything = true;
  }

  #unlessHeartbeat<T extends KubeObject>(c: Change<T>): void {
    const said = ({ metadata, ...rest }: T) => [metadata.labels ?? {}, rest];
    if (c.type !== 'updated' || !isDeepStrictEqual(said(c.old), said(c.object))) this.#changes.everything = true;
  }
}

function hear<T>(heard: Map<string, Heard<T>>, key: string, c: Change<T>): void {
  const old = heard.has(key) ? heard.get(key)!.old : c.type === 'added' ? undefined : c.type === 'updated' ? c.old : c.object;
  heard.set(key, { old, object: c.type === 'deleted' ? undefined : c.object, last: c.object });
}
