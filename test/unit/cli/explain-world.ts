/**
 * A world in which tenant-a/shop is served: two directors, a Service with three endpoints; to be broken by a test. As facts, and as an API
 * server that has these objects. Builders only.
 */
import type { Facts, Read, SeenLease, Unread } from '../../../src/cli/explain-facts.ts';
import type { LeaseClock } from '../../../src/cli/explain-leases.ts';
import { RESOURCES, type IPVSNode, type IPVSNodeStatus, type VirtualIPSpec, type VirtualIPStatus, type VirtualServerProgramSpec } from '../../../src/api/v1alpha1/index.ts';
import type { Endpoints, Node, ReferenceGrant, Service } from '../../../src/controller/core.ts';
import type { KubeClient, SelectOptions } from '../../../src/kube/client.ts';
import { ApiError, type ApiErrorCode } from '../../../src/kube/errors.ts';
import type { Lease } from '../../../src/kube/lease.ts';
import type { KubeObject, Resource } from '../../../src/kube/types.ts';

export const NOW = Date.parse('2026-01-01T03:00:00Z');
export const HASH = '0123456789abcdef';
const apiVersion = 'ipvs-operator.dev/v1alpha1';
const UID = 'u1';

export const condition = (type: string, status: 'True' | 'False' | 'Unknown', reason: string, message: string) => ({ type, status, reason, message, lastTransitionTime: '2026-01-01T00:00:00Z' });

type Conditions = ReturnType<typeof condition>[];
type MutableSlice = { ports: { name: string; port: number }[]; endpoints: { addresses: string[]; conditions?: { ready?: boolean; terminating?: boolean; serving?: boolean }; nodeName?: string }[] };

type MutableLease = Omit<Lease, 'metadata'> & { metadata: { name: string; namespace: string; annotations?: Record<string, string> } };

export interface World {
  /** The server has no such VirtualServer. */
  absent?: boolean;
  server: { metadata: Record<string, unknown>; spec: Record<string, unknown>; status: Record<string, unknown> & { conditions?: Conditions } };
  programs: { spec: VirtualServerProgramSpec }[];
  /** By address. */
  vips: Record<string, { spec: VirtualIPSpec; status?: Omit<VirtualIPStatus, 'conditions'> & { conditions?: Conditions } }>;
  groups: Record<string, { spec: object }>;
  ipvsNodes: Record<string, { metadata?: { generation?: number }; spec: IPVSNode['spec']; status?: Omit<IPVSNodeStatus, 'conditions'> & { conditions?: Conditions } }>;
  /** By name of the Lease. */
  leases: Record<string, { live: boolean; lease: MutableLease }>;
  /** By `namespace/name`, as the next two. */
  services: Record<string, { metadata: { name: string; namespace: string }; spec: NonNullable<Service['spec']> }>;
  slices: Record<string, MutableSlice[]>;
  endpoints: Record<string, Endpoints>;
  nodes: Node[];
  grants: ReferenceGrant[];
  /** What may not be read, instead of what there is. */
  unread: { server?: Unread; programs?: Unread; vips?: Unread; ipvsNodes?: Unread; leases?: Unread; services?: Unread };
}

export function unread(why: Unread['why'], permission: string): Unread {
  return { why, permission, text: 'the words of the server' };
}

export function lease(node: string, prefixes = '203.0.113.0/24'): World['leases'][string] {
  return {
    live: true,
    lease: {
      apiVersion: 'coordination.k8s.io/v1', kind: 'Lease',
      metadata: { name: `director-${node}`, namespace: 'ipvs-system', annotations: { 'ipvs-operator.dev/groups': 'edge', 'ipvs-operator.dev/prefixes': prefixes } },
      spec: { holderIdentity: node, leaseDurationSeconds: 6, renewTime: new Date(NOW - 1000).toISOString() },
    },
  };
}

export function healthy(): World {
  const director = () => ({
    spec: { directorGroups: ['edge'], realServer: { binds: [] }, reservedAddresses: [] },
    status: { agentVersion: '0.1.0', applied: [`tenant-a/shop|${HASH}`], programs: { applied: 1, failed: 0, digest: 'd' } },
  });
  return {
    server: {
      metadata: { name: 'shop', namespace: 'tenant-a', uid: UID, generation: 3 },
      spec: { mode: 'NAT', ports: [{ port: 80 }], backends: [{ serviceRef: { name: 'web' } }] },
      status: { observedGeneration: 3, addresses: [{ value: '203.0.113.10', family: 'IPv4', activeNode: 'edge-1' }], conditions: [condition('Accepted', 'True', 'Accepted', ''), condition('Ready', 'True', 'Ready', '')] },
    },
    programs: [{
      spec: {
        directorGroup: 'edge', contentHash: HASH, addresses: [{ address: '203.0.113.10', family: 'IPv4' }], mode: 'NAT', sourceAddress: 'Masquerade',
        scheduler: { name: 'wrr', fallback: false, portAware: false, onePacket: false }, connectionLimits: { upper: 0, lower: 0 }, drainTimeoutSeconds: 300,
        services: [{ ports: [{ name: '', protocol: 'TCP', port: 80, endPort: 80 }], mark: 0, realServers: ['10.1.0.1|8080|1|node-1', '10.1.0.2|8080|1|node-2'] }],
        slice: { index: 0, count: 1 }, generation: 3, virtualServer: { name: 'shop', uid: UID },
      },
    }],
    vips: {
      '203.0.113.10': {
        spec: { address: '203.0.113.10', family: 'IPv4', poolRef: { name: 'public' }, directorGroup: 'edge', claims: [{ namespace: 'tenant-a', name: 'shop', uid: UID, ports: ['TCP/80-80'] }] },
        status: { activeNode: 'edge-1', since: '2026-01-01T00:00:00Z', epoch: 1 },
      },
    },
    groups: { edge: { spec: { nodeSelector: { matchLabels: { 'node-role/edge': '' } } } } },
    ipvsNodes: { 'edge-1': director(), 'edge-2': director() },
    leases: {
      'director-edge-1': lease('edge-1'), 'director-edge-2': lease('edge-2'),
      'ipvs-operator-controller': { live: true, lease: { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'ipvs-operator-controller', namespace: 'ipvs-system' }, spec: { holderIdentity: 'ctl-1', leaseDurationSeconds: 15, renewTime: new Date(NOW - 1000).toISOString() } } },
    },
    services: { 'tenant-a/web': { metadata: { name: 'web', namespace: 'tenant-a' }, spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, protocol: 'TCP' }] } } },
    slices: {
      'tenant-a/web': [{
        ports: [{ name: 'http', port: 8080 }],
        endpoints: [{ addresses: ['10.1.0.1'], nodeName: 'node-1' }, { addresses: ['10.1.0.2'], nodeName: 'node-2' }, { addresses: ['10.1.0.3'], conditions: { ready: false, serving: true, terminating: true } }],
      }],
    },
    endpoints: {}, nodes: [], grants: [], unread: {},
  };
}

/** The objects of a world as a server has them: each kind as a list. */
export function objectsOf(w: World): Record<string, KubeObject[]> {
  const named = (kind: string, list: Record<string, object>): KubeObject[] => Object.entries(list).map(([name, o]) => ({ apiVersion, kind, ...o, metadata: { name, ...(o as { metadata?: object }).metadata } } as KubeObject));
  return {
    virtualservers: w.absent ? [] : [{ apiVersion, kind: 'VirtualServer', ...w.server } as unknown as KubeObject],
    virtualserverprograms: w.programs.map((p) => ({ apiVersion, kind: 'VirtualServerProgram', metadata: { name: 'shop', namespace: 'tenant-a', labels: { 'ipvs-operator.dev/virtual-server': 'shop' } }, ...p }) as KubeObject),
    virtualips: named('VirtualIP', w.vips), directorgroups: named('DirectorGroup', w.groups), ipvsnodes: named('IPVSNode', w.ipvsNodes),
    leases: Object.values(w.leases).map((l) => l.lease),
    services: Object.values(w.services).map((s) => ({ apiVersion: 'v1', kind: 'Service', ...s })),
    endpointslices: Object.entries(w.slices).flatMap(([key, list]) => list.map((s, i) => ({
      apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4', ...s,
      metadata: { name: `${key.split('/')[1]}-${i}`, namespace: key.split('/')[0]!, labels: { 'kubernetes.io/service-name': key.split('/')[1]! } },
    }))),
    endpoints: Object.values(w.endpoints), nodes: w.nodes, referencegrants: w.grants,
  };
}

/** What reading such a server gives, without a server. */
export function factsOf(w: World): Facts {
  const objects = objectsOf(w);
  const read = <T>(refused: Unread | undefined, value: () => T): Read<T> => (refused ? { unread: refused } : { value: value() });
  const parsed = <T>(resource: { readonly plural: string; parse(value: unknown): T }) => objects[resource.plural]!.map((o) => resource.parse(o));
  const spec = w.server.spec as { backends: { serviceRef?: { name: string; namespace?: string } }[] };
  const services = [...new Set(spec.backends.flatMap(({ serviceRef: r }) => (r ? [`${r.namespace ?? 'tenant-a'}/${r.name}`] : [])))];
  const found = (kind: string, key: string) => objects[kind]!.find((o) => `${o.metadata.namespace}/${o.metadata.name}` === key) ?? null;
  const slices = (key: string) => objects['endpointslices']!.filter((o) => `${o.metadata.namespace}/${o.metadata.labels?.['kubernetes.io/service-name']}` === key);
  const each = <T>(keys: readonly string[], value: (key: string) => T) => new Map(keys.map((key) => [key, value(key)]));
  return {
    namespace: 'tenant-a', name: 'shop', systemNamespace: 'ipvs-system', now: NOW, bad: [],
    server: read(w.unread.server, () => objects['virtualservers']![0] ?? null),
    programs: read(w.unread.programs, () => parsed(RESOURCES.VirtualServerProgram)),
    virtualIPs: each(['203.0.113.10'], (a) => read(w.unread.vips, () => parsed(RESOURCES.VirtualIP).find((v) => v.metadata.name === a) ?? null)),
    groups: each(['edge'], (g) => ({ value: parsed(RESOURCES.DirectorGroup).find((x) => x.metadata.name === g) ?? null })),
    ipvsNodes: read(w.unread.ipvsNodes, () => parsed(RESOURCES.IPVSNode)),
    leases: read(w.unread.leases, () => new Map<string, SeenLease>(Object.entries(w.leases))),
    services: each(services, (key) => read(w.unread.services, () => found('services', key) as Service | null)),
    slices: each(services, (key) => ({ value: slices(key) as never })),
    endpoints: each(services, (key) => ({ value: found('endpoints', key) as Endpoints | null })),
    nodes: { value: w.nodes },
    grants: each([...new Set(services.map((k) => k.split('/')[0]!))].filter((n) => n !== 'tenant-a'), () => ({ value: w.grants })),
  };
}

/** A server that has these objects; it fails for some kinds, by plural. `requests` are those it got. */
export function clientOf(w: World, failing: Readonly<Record<string, ApiErrorCode>> = {}): Pick<KubeClient, 'get' | 'listAll'> & { readonly requests: string[] } {
  const objects = objectsOf(w);
  const requests: string[] = [];
  const guard = (verb: string, { plural }: Resource, rest: string): void => {
    requests.push(`${verb} ${plural}${rest === '' ? '' : ` ${rest}`}`);
    const code = failing[plural];
    if (code) throw new ApiError({ code, message: 'no', verb: 'GET', path: '' });
  };
  return {
    requests,
    get: async (resource, name, namespace) => {
      guard('get', resource, namespace === undefined ? name : `${namespace}/${name}`);
      const found = objects[resource.plural]!.find((o) => o.metadata.name === name && (namespace === undefined || o.metadata.namespace === namespace));
      if (!found) throw new ApiError({ code: 'NOT_FOUND', message: 'not found', verb: 'GET', path: '', details: { name } });
      return await Promise.resolve(found as never);
    },
    listAll: async (resource, options: SelectOptions = {}) => {
      guard('list', resource, options.namespace ?? '');
      const [label = '', value] = options.labelSelector?.split('=') ?? [];
      const items = objects[resource.plural]!.filter((o) => (options.namespace === undefined || o.metadata.namespace === options.namespace) && (label === '' || o.metadata.labels?.[label] === value));
      return await Promise.resolve({ items: items as never, resourceVersion: '1' });
    },
  };
}

/** A clock that passes only while somebody sleeps. */
export function clock(): LeaseClock & { readonly slept: number; readonly told: [string, number][] } {
  const told: [string, number][] = [];
  let slept = 0;
  return {
    told, get slept() { return slept; },
    now: () => slept, wallClock: () => NOW + slept, signal: new AbortController().signal,
    sleep: (ms) => { slept += ms; return Promise.resolve(); },
    onWait: (leases, seconds) => { told.push([leases.join(), seconds]); },
  };
}
