// What the cluster bench has in its cluster: nodes, a group, a pool, and S VirtualServers with one VIP each and a Service with R
// endpoints. As objects, for the stand-in and for a real API server. Measures nothing.

import type { Stored } from './stand-in-objects.ts';

export const SYSTEM = 'ipvs-system';
export const SHOP = 'shop';
const OURS = 'ipvs-operator.dev/v1alpha1';
const MACHINES = '/apis/ipvs-operator.dev/v1alpha1';

/** Collections by kind. */
export const PATHS = {
  Namespace: '/api/v1/namespaces', Node: '/api/v1/nodes', Service: '/api/v1/services', EndpointSlice: '/apis/discovery.k8s.io/v1/endpointslices', Lease: '/apis/coordination.k8s.io/v1/leases',
  VirtualServer: `${MACHINES}/virtualservers`, VIPPool: `${MACHINES}/vippools`, DirectorGroup: `${MACHINES}/directorgroups`,
  VirtualIP: `${MACHINES}/virtualips`, VirtualServerProgram: `${MACHINES}/virtualserverprograms`, IPVSNode: `${MACHINES}/ipvsnodes`,
} as const;

export type Kind = keyof typeof PATHS;

const TARGET_PORT = 8080;

/** VIPs are from 10.100.0.1 on, real servers from 172.16.0.1, nodes from 10.103.255.1: a NIC in 10.100.0.0/14 has VIPs and nodes. */
export const vipOf = (s: number): string => dotted(0x0a640001 + s);
export const realOf = (i: number): string => dotted(0xac100001 + i);
export const nodeAddress = (n: number): string => dotted(0x0a67ff01 + n);
export const NETWORK = { cidr: '10.100.0.0/14', prefix: 14 } as const;

function dotted(n: number): string {
  return `${n >>> 24}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;
}

const named = (apiVersion: string, kind: string, name: string, namespace: string | undefined, rest: object): Stored =>
  ({ apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) }, ...rest });

export function namespaces(): Stored[] {
  return [SYSTEM, SHOP].map((name) => named('v1', 'Namespace', name, undefined, {}));
}

/** A Node whose agent directs. */
export function director(n: number, name: string, address = nodeAddress(n)): Stored {
  const status = { addresses: [{ type: 'InternalIP', address }], conditions: [{ type: 'Ready', status: 'True' }] };
  const node = named('v1', 'Node', name, undefined, { status });
  return { ...node, metadata: { ...node.metadata, labels: { 'kubernetes.io/hostname': name, role: 'edge' } } };
}

export function group(): Stored {
  return named(OURS, 'DirectorGroup', 'edge', undefined, { spec: { nodeSelector: { matchLabels: { role: 'edge' } } } });
}

export function pool(cidr: string = NETWORK.cidr): Stored {
  return named(OURS, 'VIPPool', 'bench', undefined, { spec: { blocks: [{ cidr }], default: true, allowedNamespaces: { all: true }, directorGroupRef: { name: 'edge' }, allowStaticBackendCIDRs: ['172.16.0.0/12'] } });
}

/** VirtualServer `web-S` on its own VIP, for the Service of that name. */
export function virtualServer(s: number, address = vipOf(s)): Stored {
  return named(OURS, 'VirtualServer', nameOf(s), SHOP, {
    spec: { vip: { addresses: [address] }, mode: 'NAT', nat: { sourceAddress: 'Preserve' }, scheduler: { name: 'rr' }, ports: [{ port: 80 }], backends: [{ serviceRef: { name: nameOf(s) } }] },
  });
}

/** A VirtualServer that needs no Service: its real servers are written in it. */
export function staticServer(s: number, reals: number, address = vipOf(s)): Stored {
  const endpoints = Array.from({ length: reals }, (_, r) => ({ address: realOf(s * reals + r) }));
  return named(OURS, 'VirtualServer', nameOf(s), SHOP, {
    spec: { vip: { addresses: [address] }, mode: 'NAT', nat: { sourceAddress: 'Preserve' }, scheduler: { name: 'rr' }, ports: [{ port: 80, targetPort: TARGET_PORT }], backends: [{ static: { endpoints } }] },
  });
}

export function service(s: number): Stored {
  return named('v1', 'Service', nameOf(s), SHOP, { spec: { type: 'ClusterIP', selector: { app: nameOf(s) }, ports: [{ port: 80, targetPort: TARGET_PORT, protocol: 'TCP' }] } });
}

/** As the EndpointSlice controller writes it, with what the product does not read. */
export function slice(s: number, addresses: readonly string[], node = 'worker'): Stored {
  const name = `${nameOf(s)}-slice`;
  const made = named('discovery.k8s.io/v1', 'EndpointSlice', name, SHOP, {
    addressType: 'IPv4', ports: [{ name: '', port: TARGET_PORT, protocol: 'TCP' }],
    endpoints: addresses.map((address) => ({
      addresses: [address], conditions: { ready: true, serving: true, terminating: false }, nodeName: node, targetRef: { kind: 'Pod', name: `${nameOf(s)}-${address.replaceAll('.', '-')}`, namespace: SHOP },
    })),
  });
  return { ...made, metadata: { ...made.metadata, labels: { 'kubernetes.io/service-name': nameOf(s), 'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io' } } };
}

export const nameOf = (s: number): string => `web-${s}`;

/** The endpoint that is replaced: another address each turn, for sixteen of them. */
export const firstOf = (s: number, reals: number, turn: number): string => (turn === 0 ? realOf(s * reals) : realOf(0x80000 + s * 16 + (turn % 16)));

/** Addresses of the endpoints of one Service; `turn`: how often its first one was replaced. */
export function endpointsOf(s: number, reals: number, turn = 0): string[] {
  return [firstOf(s, reals, turn), ...Array.from({ length: reals - 1 }, (_, r) => realOf(s * reals + r + 1))];
}

/** Creates an object on an API server. Rejects with the server's words. */
export async function post({ request }: { request<T>(method: string, path: string, body?: unknown): Promise<{ readonly status: number; readonly body: T }> }, kind: Kind, object: Stored): Promise<void> {
  const { namespace, name } = object.metadata;
  const path = namespace === undefined ? PATHS[kind] : PATHS[kind].replace(/\/([a-z]+)$/, `/namespaces/${namespace}/$1`);
  const { status, body } = await request<{ message?: string }>('POST', path, object);
  if (status !== 201) throw new Error(`${kind} ${name}: ${status} ${body.message ?? ''}`);
}
