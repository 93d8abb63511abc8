// Three VirtualServers on the topology `fleet`, one a mode, and a rollout that takes them from variant A to variant B or back:
// pods that come, leave and are replaced, a node that joins as a real server, a port, weights. Each step can be done again when
// nobody knows whether it was done: the API server may die in the middle of any.

import { create, pod, service } from '../../cluster/objects.ts';
import type { LabCluster } from '../lab.ts';
import { basics, edge, USUAL_LEASE, type NodeSpec } from '../operator.ts';

export const directors: readonly NodeSpec[] = [1, 2, 3].map((i) => ({ name: `dir${i}`, addresses: [`10.0.1.1${i}`], labels: edge }));
export const realServers: readonly NodeSpec[] = [1, 2, 3, 4].map((i) => ({ name: `rs${i}`, addresses: [`10.0.1.2${i}`], labels: i < 4 ? { role: 'web' } : {} }));

/** By VirtualServer. */
export const vips = { nat: '10.0.1.200', dr: '10.0.1.201', tun: '10.0.1.202' } as const;

/** Ports that a real server listens on: 80 and 81 in DR and TUN, the pods' in NAT. */
export const ports = { pods: 8080, http: 80, more: 81 } as const;

export type Variant = 'A' | 'B';
export const other = (variant: Variant): Variant => (variant === 'A' ? 'B' : 'A');

/** Who serves a VIP in a variant, once all is settled. */
export const servers: Readonly<Record<Variant, Readonly<Record<keyof typeof vips, readonly string[]>>>> = {
  A: { nat: ['rs1', 'rs2', 'rs3'], dr: ['rs1', 'rs2', 'rs3'], tun: ['rs1', 'rs2', 'rs3'] },
  B: { nat: ['rs2', 'rs3', 'rs4'], dr: ['rs1', 'rs2', 'rs3', 'rs4'], tun: ['rs1', 'rs2', 'rs4'] },
};

const address = (rs: string): string => realServers.find((r) => r.name === rs)!.addresses[0]!;

/** What of a spec is another in each variant. */
function changing(server: keyof typeof vips, variant: Variant): object {
  const http = { name: 'http', port: ports.http };
  if (server === 'nat') return { backends: [{ serviceRef: { name: 'web' }, weight: variant === 'A' ? 100 : 50 }] };
  if (server === 'dr') return { ports: variant === 'A' ? [http] : [http, { name: 'more', port: ports.more }] };
  const weights = variant === 'A' ? { rs1: 1, rs2: 2, rs3: 3 } : { rs1: 3, rs2: 1, rs4: 2 };
  return { backends: [{ static: { endpoints: Object.entries(weights).map(([rs, weight]) => ({ address: address(rs), weight })) } }] };
}

function virtualServer(server: keyof typeof vips): string {
  const spec = {
    vip: { addresses: [vips[server]] }, mode: server.toUpperCase(), ports: [{ name: 'http', port: ports.http }], scheduler: { name: 'wrr' }, drain: { timeoutSeconds: 3600 },
    ...(server === 'dr' ? { backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }] } : {}),
    ...changing(server, 'A'),
  };
  return JSON.stringify({ apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'VirtualServer', metadata: { name: server, namespace: 'shop' }, spec });
}

/** A DirectorGroup and a pool. Kills are longer than the Lease. */
export const group = basics('10.0.1.192/27', USUAL_LEASE);

const podOn = (rs: string, round: number) => pod({ namespace: 'shop', name: `web-${rs}-${round}`, labels: { app: 'web' }, node: rs, addresses: [address(rs)] });

/** Variant A, in round 0. */
export async function createServices(cluster: LabCluster): Promise<void> {
  await create(cluster, service('shop', 'web', { app: 'web' }, [{ port: ports.http, targetPort: ports.pods }]), ...servers.A.nat.map((rs) => podOn(rs, 0)));
  await cluster.apply((Object.keys(vips) as (keyof typeof vips)[]).map(virtualServer).join('\n---\n'));
}

export interface Step {
  readonly what: string;
  /** Rejects when it did not work, or when that is not known; then it is to be done again. */
  readonly run: (cluster: LabCluster) => Promise<void>;
}

/** Longer than an answer takes on a busy guest, much shorter than a server that is gone. Milliseconds. */
const ANSWER_MS = 5_000;

async function request(cluster: LabCluster, method: string, path: string, body: unknown, good: readonly number[]): Promise<void> {
  const { status, body: answer } = await cluster.request(method, path, body, { timeoutMs: ANSWER_MS });
  if (!good.includes(status)) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(answer)}`);
}

const patch = (what: string, path: string, body: unknown): Step => ({ what, run: (cluster) => request(cluster, 'PATCH', path, body, [200]) });
const edit = (server: keyof typeof vips, variant: Variant): Step => patch(`edit ${server}`, `/apis/ipvs-operator.dev/v1alpha1/namespaces/shop/virtualservers/${server}`, { spec: changing(server, variant) });
const pods = '/api/v1/namespaces/shop/pods';

function podComes(rs: string, round: number): Step {
  const { status, ...rest } = podOn(rs, round);
  return {
    what: `a pod comes on ${rs}`,
    run: async (cluster) => {
      await request(cluster, 'POST', pods, rest, [201, 409]);
      await request(cluster, 'PATCH', `${pods}/${rest.metadata.name}/status`, { status }, [200]);
    },
  };
}

const podLeaves = (rs: string, round: number): Step => ({
  what: `the pod of round ${round} leaves ${rs}`,
  run: (cluster) => request(cluster, 'DELETE', `${pods}/web-${rs}-${round}?gracePeriodSeconds=0`, undefined, [200, 404]),
});

/**
 * From a variant to the other, as groups of steps: those of a group in this order, groups in any. `round` counts from 1; pods of the round
 * before are there. Pods are replaced in all ways: another one elsewhere first, another one at the same address first, and gone before.
 */
export function rollout(from: Variant, round: number): Step[][] {
  const to = other(from);
  const [come, leave] = from === 'A' ? ['rs4', 'rs1'] : ['rs1', 'rs4'];
  return [
    [podComes(come, round), podLeaves(leave, round - 1)],
    [podComes('rs2', round), podLeaves('rs2', round - 1)],
    [podLeaves('rs3', round - 1), podComes('rs3', round)],
    [edit('nat', to)], [edit('dr', to)], [edit('tun', to)],
    [patch(`rs4 ${to === 'B' ? 'joins' : 'leaves'} as a node`, '/api/v1/nodes/rs4', { metadata: { labels: { role: to === 'B' ? 'web' : null } } })],
  ];
}
