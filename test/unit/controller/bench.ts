/**
 * Controllers against an API server in memory, in a time that passes when it is told to: what they wrote is asked of the server. Agents
 * are imitated by what they would report. Builders of objects of the core kinds. No assertions here.
 */
import { afterEach } from 'node:test';
import type { KubeObject, ObjectMeta, Resource } from '../../../src/kube/types.ts';
import { keyOf } from '../../../src/kube/types.ts';
import { LEASES, type Lease } from '../../../src/kube/lease.ts';
import { joinSlices, objectKey, reportApplied, RESOURCES, type ServerObjects, type VirtualServerStatus } from '../../../src/api/v1alpha1/index.ts';
import { Controller, type ControllerOptions } from '../../../src/controller/controller.ts';
import {
  ENDPOINT_SLICES, ENDPOINTS, NAMESPACES, NODES, PODS, REFERENCE_GRANTS, SERVICE_CIDRS, SERVICE_NAME_LABEL, SERVICES,
  type Endpoints, type EndpointSlice, type Namespace, type Node, type Pod, type Service, type ServicePort, type SliceEndpoint, type SlicePort,
} from '../../../src/controller/core.ts';
import type { WriteVerb } from '../../../src/controller/reconcile/writer.ts';
import { World } from '../../../src/controller/world.ts';
import { FakeTime } from '../kube/fake-time.ts';
import { MemoryLog } from '../kube/fake-server.ts';
import { FakeAPI } from './fake-api.ts';

export { FakeTime, MemoryLog };

/** Every kind that the controller reads or writes, by its name. */
export const KINDS = {
  ...RESOURCES, Service: SERVICES, EndpointSlice: ENDPOINT_SLICES, Endpoints: ENDPOINTS, Node: NODES, Namespace: NAMESPACES, ServiceCIDR: SERVICE_CIDRS,
  ReferenceGrant: REFERENCE_GRANTS, Lease: LEASES, Pod: PODS,
} as const;

export type KindName = keyof typeof KINDS;

export const NAMESPACE = 'ipvs-system';

/** Numbers from 0 to 1 that a seed repeats (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export interface Running {
  readonly who: string;
  readonly controller: Controller;
  readonly world: World;
  readonly log: MemoryLog;
  /** Writes by kind and verb, as metrics would count them: `VirtualIP create`. Failed ones with ` failed`. */
  readonly counts: Map<string, number>;
  /** Objects and reasons of transitions: `default/shop Ready`. */
  readonly transitions: { readonly key: string; readonly before: VirtualServerStatus | undefined; readonly after: VirtualServerStatus }[];
  /** How it ended, when it did. */
  ended: 'running' | 'stopped' | { readonly error: unknown };
  /** Ends it wherever it is. */
  stop(): Promise<void>;
}

/** A test that fails in the middle leaves controllers, whose watches would keep the process alive. */
const open = new Set<Bench>();
afterEach(async () => { for (const bench of open) await bench.stopAll(); });

export class Bench {
  /** Nothing of the controller uses setImmediate; and its tests let time pass a hundred thousand times. */
  readonly time = new FakeTime(2);
  readonly api: FakeAPI;
  readonly #random: () => number;
  readonly #running: Running[] = [];

  constructor(seed = 1, lagMs = 20) {
    this.#random = seeded(seed);
    this.api = new FakeAPI({ time: this.time, random: this.#random, lagMs });
    this.api.absent.add('referencegrants');
  }

  /** Writes objects as people do, at once. */
  put(...objects: readonly object[]): void {
    for (const object of objects as KubeObject[]) this.api.put(kindOf(object), object);
  }

  drop(kind: KindName, key: string): boolean { return this.api.drop(KINDS[kind] as Resource, key); }

  all<K extends keyof ServerObjects>(kind: K): ServerObjects[K][] {
    return [...this.api.all<never>(KINDS[kind] as never).values()];
  }

  get<K extends keyof ServerObjects>(kind: K, key: string): ServerObjects[K] | undefined {
    return this.api.find<never>(KINDS[kind] as never, key);
  }

  start(who = 'one', options: Partial<ControllerOptions> = {}): Running {
    const { time, api } = this;
    const log = new MemoryLog();
    const counts = new Map<string, number>();
    const transitions: Running['transitions'] = [];
    const client = options.client ?? api.client(who);
    const ending = new AbortController();
    const wake = { call: () => {} };
    const world = new World({ client, namespace: NAMESPACE, log, now: time.now, random: this.#random, wake: () => wake.call(), sleep: time.sleep });
    const controller = new Controller({
      client, world, log, now: time.now, clock: () => Date.UTC(2026, 0, 1) + time.now(), sleep: time.sleep,
      count: (kind: string, verb: WriteVerb, ok: boolean) => { const key = `${kind} ${verb}${ok ? '' : ' failed'}`; counts.set(key, (counts.get(key) ?? 0) + 1); },
      onTransition: (server, before, after) => { transitions.push({ key: keyOf(server), before, after }); },
      ...options,
    });
    wake.call = () => controller.wake();
    const caches = world.run(ending.signal);
    const working = controller.run(ending.signal);
    const running: Running = {
      who, controller, world, log, counts, transitions, ended: 'running',
      stop: async () => {
        ending.abort();
        await this.time.idle();
        await Promise.all([caches, working]);
      },
    };
    working.then(() => { running.ended = 'stopped'; }, (error: unknown) => { running.ended = { error }; });
    this.#running.push(running);
    open.add(this);
    return running;
  }

  async pass(ms: number): Promise<void> {
    await this.time.pass(ms);
    for (const { ended, who } of this.#running) if (typeof ended === 'object') throw new Error(`controller ${who} ended`, { cause: ended.error });
  }

  /** Lets time pass until nothing was written for `quietMs`. Throws when it never comes to rest. */
  async settle(quietMs = 15_000, mostMs = 200_000): Promise<void> {
    const until = this.time.now() + mostMs;
    for (let quiet = 0, version = this.api.cluster.version; quiet < quietMs;) {
      await this.pass(500);
      this.api.collectGarbage();
      quiet = this.api.cluster.version === version ? quiet + 500 : 0;
      version = this.api.cluster.version;
      if (this.time.now() > until) throw new Error(`no rest within ${mostMs} ms: ${this.api.writes.slice(-20).map((w) => `${w.who} ${w.verb} ${w.kind} ${w.key}`).join('; ')}`);
    }
  }

  /** Starts one, lets it come to rest, and ends it. Returns how many writes it asked for. */
  async runOnce(who: string): Promise<{ readonly asked: number; readonly running: Running }> {
    const before = this.api.asked.length;
    const running = this.start(who);
    await this.settle();
    await running.stop();
    return { asked: this.api.asked.length - before, running };
  }

  async stopAll(): Promise<void> {
    open.delete(this);
    for (const running of this.#running.splice(0)) await running.stop();
  }

  /** What live agents report of the programs and VIPs that are there now. `nodes`: who has one; the first holds every VIP of its groups. */
  report(...nodes: readonly string[]): void {
    const programs = Map.groupBy(this.all('VirtualServerProgram'), (p) => `${p.metadata.namespace}/${p.spec.virtualServer.name}`);
    for (const name of nodes) {
      const node = this.get('IPVSNode', name);
      if (!node) continue;
      const applied: [string, string][] = [];
      for (const [owner, slices] of programs) {
        const joined = joinSlices(slices);
        if (!('problem' in joined) && node.spec.directorGroups.includes(joined.program.spec.directorGroup)) applied.push([owner, joined.program.spec.contentHash]);
      }
      const { applied: list, digest } = reportApplied(applied);
      this.api.putStatus(RESOURCES.IPVSNode as Resource, name, {
        agentVersion: '0.1.0', applied: list, programs: { applied: list.length, failed: 0, digest }, boundVIPs: [...new Set(node.spec.realServer.binds.map((b) => b.address))].sort(),
      });
      for (const vip of this.all('VirtualIP')) {
        if (node.spec.directorGroups.includes(vip.spec.directorGroup) && !vip.status?.activeNode) this.api.putStatus(RESOURCES.VirtualIP as Resource, vip.metadata.name, { activeNode: name });
      }
    }
  }

  /** `True Ready`, or another condition. */
  condition(key: string, type = 'Ready'): string {
    const c = this.get('VirtualServer', key)?.status?.conditions?.find((one) => one.type === type);
    return c ? `${c.status} ${c.reason}` : 'none';
  }

  /** What there is of each kind that the controller writes, without what another run may name otherwise: uids, versions, times. */
  picture(): Record<string, unknown> {
    const kinds = ['VirtualIP', 'VirtualServerProgram', 'IPVSNode', 'VirtualServer', 'VIPPool', 'DirectorGroup'] as const;
    return Object.fromEntries(kinds.flatMap((kind) => this.all(kind).map((o) => [objectKey(o as never), plain({ labels: o.metadata.labels, spec: o.spec, status: 'status' in o ? o.status : undefined })])));
  }
}

const VARIES: ReadonlySet<string> = new Set(['uid', 'lastTransitionTime', 'since', 'observedGeneration']);

function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.every(isCondition) ? value.map(plain).sort((a, b) => ((a as { type: string }).type < (b as { type: string }).type ? -1 : 1)) : value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).filter(([k, v]) => v !== undefined && !VARIES.has(k)).map(([k, v]) => [k, plain(v)]));
}

/** In whatever order they came about. */
function isCondition(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'type' in value && 'lastTransitionTime' in value;
}

function kindOf(object: KubeObject): Resource {
  const resource = KINDS[object.kind as KindName] as Resource | undefined;
  if (!resource) throw new TypeError(`the bench knows no ${object.kind}`);
  return resource;
}

const meta = (name: string, more: Partial<ObjectMeta> = {}): ObjectMeta => {
  const slash = name.indexOf('/');
  return slash < 0 ? { name, ...more } : { name: name.slice(slash + 1), namespace: name.slice(0, slash), ...more };
};

export const namespace = (name: string, labels: Readonly<Record<string, string>> = {}): Namespace => ({ apiVersion: 'v1', kind: 'Namespace', metadata: meta(name, { labels }) });

export const node = (name: string, addresses: readonly string[], labels: Readonly<Record<string, string>> = {}, podCIDRs: readonly string[] = []): Node =>
  ({ apiVersion: 'v1', kind: 'Node', metadata: meta(name, { labels }), spec: { podCIDRs }, status: { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) } });

/** `key`: namespace/name; with the annotation of weights, or none. */
export const pod = (key: string, weight?: string): Pod => ({ apiVersion: 'v1', kind: 'Pod', metadata: meta(key, weight === undefined ? {} : { annotations: { 'ipvs-operator.dev/weight': weight } }) });

/** `key`: namespace/name. */
export const service = (key: string, ...ports: readonly ServicePort[]): Service => ({ apiVersion: 'v1', kind: 'Service', metadata: meta(key), spec: { ports: ports.length > 0 ? ports : [{ port: 80 }] } });

/** A slice of a Service, by `namespace/name` of the slice. */
export const slice = (key: string, of: string, endpoints: readonly (string | SliceEndpoint)[], ports: readonly SlicePort[] = [{ name: '', port: 8080, protocol: 'TCP' }], addressType = 'IPv4'): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata: meta(key, { labels: { [SERVICE_NAME_LABEL]: of } }), addressType, ports,
  endpoints: endpoints.map((e) => (typeof e === 'string' ? { addresses: [e], conditions: { ready: true } } : e)),
});

export const coreEndpoints = (key: string, ...ips: readonly string[]): Endpoints => ({ apiVersion: 'v1', kind: 'Endpoints', metadata: meta(key), subsets: [{ addresses: ips.map((ip) => ({ ip })), ports: [{ port: 8080 }] }] });

/** That a director lives, for longer than any test lasts. */
export const lease = (nodeName: string, seconds = 1_000_000): Lease => ({
  apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: `director-${nodeName}`, namespace: NAMESPACE, labels: { 'ipvs-operator.dev/lease': 'director' } },
  spec: { holderIdentity: nodeName, leaseDurationSeconds: seconds },
});
