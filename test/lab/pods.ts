// Pods of a Service as a scenario without kubelets moves them through their lives, what the EndpointSlices then say of them, and
// what a director's table has. Assertions belong to the scenarios.

import { pathOf, patchStatus, pod, type PodOptions } from '../cluster/objects.ts';
import type { Lab, LabCluster } from './lab.ts';

/** What a slice says of an endpoint: ready; not, and staying; going and still answering; going and not answering. */
export type EndpointState = 'ready' | 'unready' | 'terminating' | 'silent';

interface Slice { readonly endpoints: readonly { readonly addresses: readonly string[]; readonly conditions: { readonly ready?: boolean; readonly serving?: boolean; readonly terminating?: boolean } }[] | null }

/** Whether a Pod passes its readiness probe, as its kubelet would write it. */
export async function setReady(cluster: LabCluster, options: PodOptions, ready: boolean): Promise<void> {
  await patchStatus(cluster, pod({ ...options, ready }));
}

/** Deletes a Pod as kubectl does: it gets its deletionTimestamp and stays until its kubelet says that it has ended. */
export async function terminate(cluster: LabCluster, { namespace, name }: PodOptions, graceSeconds: number): Promise<void> {
  await remove(cluster, pathOf('Pod', namespace, name), graceSeconds);
}

/** What a kubelet does when the last container has ended: the Pod is gone. */
export async function bury(cluster: LabCluster, { namespace, name }: PodOptions): Promise<void> {
  await remove(cluster, pathOf('Pod', namespace, name), 0);
}

async function remove(cluster: LabCluster, path: string, gracePeriodSeconds: number): Promise<void> {
  const { status } = await cluster.request('DELETE', `${path}?gracePeriodSeconds=${gracePeriodSeconds}`);
  if (status !== 200) throw new Error(`DELETE ${path}: ${status}`);
}

/** What the slices of a Service say, by address. */
export async function endpointStates(cluster: LabCluster, space: string, service: string): Promise<Record<string, EndpointState>> {
  const { status, body } = await cluster.request<{ items: Slice[] }>('GET', `/apis/discovery.k8s.io/v1/namespaces/${space}/endpointslices?labelSelector=kubernetes.io/service-name%3D${service}`);
  if (status !== 200) throw new Error(`GET endpointslices: ${status}`);
  return Object.fromEntries(body.items.flatMap(({ endpoints }) => endpoints ?? []).map(({ addresses, conditions: c }): [string, EndpointState] =>
    [addresses[0]!, c.terminating === true ? (c.serving === false ? 'silent' : 'terminating') : c.ready === false ? 'unready' : 'ready']));
}

/** Weights of the destinations of `address:port` (TCP) in a host's table, by their address; null where there is no such service. */
export async function weights(lab: Lab, host: string, address: string, port: number): Promise<Record<string, number> | null> {
  const lines = await lab.host(host).ipvsSave();
  const service = `-t ${address}:${port} `;
  if (!lines.some((line) => line.startsWith(`-A ${service}`))) return null;
  const found = lines.map((line) => new RegExp(`^-a ${service}-r ([^ ]+):\\d+ .*-w (\\d+)`).exec(line)).filter((match) => match !== null);
  return Object.fromEntries(found.map(([, server, weight]) => [server!, Number(weight)]));
}
