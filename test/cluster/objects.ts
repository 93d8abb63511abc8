// Objects of the core API as a test without kubelets writes them: Nodes that are Ready, Pods that run. Plain data, complete
// enough that the real API server and the real controllers take them; send them with `create`.

import type { Cluster } from './server.ts';

export interface ApiObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

/** Where the core kinds of this file live below /api/v1. */
const plurals: Readonly<Record<string, string>> = { Namespace: 'namespaces', Node: 'nodes', Pod: 'pods', Service: 'services', ServiceAccount: 'serviceaccounts', Endpoints: 'endpoints' };

export function namespace(name: string, labels: Readonly<Record<string, string>> = {}): ApiObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

export function serviceAccount(space: string, name: string): ApiObject {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: space } };
}

/** A Node that is Ready. The status is part of it: `create` writes both. */
export function node(name: string, addresses: readonly string[], labels: Readonly<Record<string, string>> = {}): ApiObject {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { 'kubernetes.io/hostname': name, ...labels } },
    status: {
      addresses: [...addresses.map((address) => ({ type: 'InternalIP', address })), { type: 'Hostname', address: name }],
      conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'written by a test' }],
    },
  };
}

export interface PodOptions {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Must exist, or the EndpointSlice controller leaves the Pod out. */
  readonly node: string;
  readonly addresses: readonly string[];
  /** Default true. */
  readonly ready?: boolean;
  readonly hostNetwork?: boolean;
}

/** A Pod that runs on a node. */
export function pod({ namespace: space, name, labels, node: nodeName, addresses, ready = true, hostNetwork = false }: PodOptions): ApiObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: space, labels },
    spec: { nodeName, hostNetwork, containers: [{ name: 'main', image: 'none' }], terminationGracePeriodSeconds: 0 },
    status: {
      phase: 'Running',
      podIP: addresses[0],
      podIPs: addresses.map((ip) => ({ ip })),
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
    },
  };
}

export interface ServicePort { readonly name?: string; readonly port: number; readonly targetPort?: number | string; readonly protocol?: 'TCP' | 'UDP' | 'SCTP' }

export function service(space: string, name: string, selector: Readonly<Record<string, string>>, ports: readonly ServicePort[]): ApiObject {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: space }, spec: { selector, ports } };
}

/** Path of an object, or of its collection when `name` is left out. */
export function pathOf(kind: string, space: string | undefined, name?: string): string {
  const plural = plurals[kind];
  if (plural === undefined) throw new Error(`objects.ts does not know where ${kind} lives`);
  return `/api/v1${space === undefined ? '' : `/namespaces/${space}`}/${plural}${name === undefined ? '' : `/${name}`}`;
}

/** Creates objects one after the other, with their status where they have one. Rejects with the server's words. */
export async function create(cluster: Pick<Cluster, 'request'>, ...objects: readonly ApiObject[]): Promise<void> {
  for (const object of objects) {
    const { kind, metadata } = object;
    const made = await cluster.request<{ message?: string }>('POST', pathOf(kind, metadata.namespace), object);
    if (made.status !== 201) throw new Error(`cannot create ${kind} ${metadata.name}: ${made.status} ${made.body.message ?? ''}`);
    // A POST drops the status.
    if (object['status'] !== undefined) await patchStatus(cluster, object);
  }
}

/** Writes the status of an object that exists (merge patch): how a test makes a Pod unready. */
export async function patchStatus(cluster: Pick<Cluster, 'request'>, { kind, metadata, status }: ApiObject): Promise<void> {
  const answer = await cluster.request<{ message?: string }>('PATCH', `${pathOf(kind, metadata.namespace, metadata.name)}/status`, { status });
  if (answer.status !== 200) throw new Error(`cannot write the status of ${kind} ${metadata.name}: ${answer.status} ${answer.body.message ?? ''}`);
}
