// A rolling restart of twenty endpoints as a Deployment and kubelets do it, under 200 connections a second from behind the router:
// a new Pod becomes ready, an old one is told to go, and its server stops when its grace is over, whoever still sends to it.

import assert from 'node:assert/strict';
import { create, node, pod, service, type PodOptions } from '../../cluster/objects.ts';
import { scenario, type Lab } from '../lab.ts';
import { basics, edge, startOperator, type NodeSpec } from '../operator.ts';
import { bury, terminate, weights } from '../pods.ts';
import { fleet, vip } from '../topologies.ts';

const directors: NodeSpec[] = ['dir1', 'dir2', 'dir3'].map((name, i) => ({ name, addresses: [`10.0.1.1${i + 1}`], labels: edge }));
const hosts = ['rs1', 'rs2', 'rs3', 'rs4'];
const replicas = 20;
/**
 * From a Pod's deletion to the end of its server: Kubernetes gives 30 s; the shorter, the sooner a table that is late is seen. On a busy machine so many
 * times what the first one took, for the last of twenty may take ten times that, and not more than the other.
 */
const grace = { seconds: 20, times: 15, mostSeconds: 90 } as const;
/** Between two replacements: the next Pod has to start. */
const pauseMs = 500;

const virtualServer = `
apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: { name: web, namespace: shop }
spec: { vip: { addresses: [ ${vip} ] }, mode: NAT, ports: [ { port: 80 } ], scheduler: { name: rr }, backends: [ { serviceRef: { name: web } } ] }
`;

interface Replica { readonly host: string; readonly address: string; readonly pod: PodOptions }

/** Replicas of one generation, each with an address of its own: .101 to .120, then .121 to .140. */
function generation(number: 1 | 2): Replica[] {
  return Array.from({ length: replicas }, (_, i) => {
    const host = hosts[i % hosts.length]!;
    const address = `10.0.1.${100 + (number - 1) * replicas + i + 1}`;
    return { host, address, pod: { namespace: 'shop', name: `web-${number}-${i}`, labels: { app: 'web' }, node: host, addresses: [address] } };
  });
}

const serveReplica = (lab: Lab, { host, address }: Replica) => lab.serve(host, { tcp: [8080], bind: [address], name: address });

export const rollout = scenario({
  name: 'cluster-rollout',
  about: 'a rolling restart of 20 endpoints under 200 connections a second: none refused, none reset, none timed out',
  topology: fleet,
  tags: ['cluster'],
  timeoutSeconds: 400,
  run: async (lab) => {
    const [old, young] = [generation(1), generation(2)];
    for (const host of hosts) {
      const own = [...old, ...young].filter((replica) => replica.host === host);
      await lab.host(host).sh(own.map(({ address }) => `ip addr add ${address}/24 dev e0`).join('\n'));
    }
    const servers = await Promise.all(old.map((replica) => serveReplica(lab, replica)));
    const operator = await startOperator(lab, directors, basics('10.0.1.192/27'));
    const { cluster } = operator;
    await create(cluster, ...hosts.map((host, i) => node(host, [`10.0.1.2${i + 1}`])), service('shop', 'web', { app: 'web' }, [{ port: 80, targetPort: 8080 }]));
    await Promise.all(old.map((replica) => create(cluster, pod(replica.pod))));
    await cluster.apply(virtualServer);
    await operator.ready('shop/web');
    const owner = await operator.owner(vip);
    const has = (replicas: readonly Replica[]) => lab.eventually(async () => {
      assert.deepEqual(await weights(lab, owner, vip, 80), Object.fromEntries(replicas.map(({ address }) => [address, 1])));
    }, { withinMs: 120_000, what: `the table of ${owner} has these ${replicas.length} and no other` });
    await has(old);

    const target = { address: vip, port: 80, everyMs: 5, timeoutMs: 20_000 };
    const stream = await lab.stream('c1', target);
    await lab.sleep(2000);
    const deleted = new Map<string, number>();
    const endings: Promise<void>[] = [];
    const youngServers = [];
    let graceSeconds: number = grace.mostSeconds;
    for (const [i, leaving] of old.entries()) {
      youngServers.push(await serveReplica(lab, young[i]!));
      await create(cluster, pod(young[i]!.pod));
      await terminate(cluster, leaving.pod, graceSeconds);
      const began = Date.now();
      deleted.set(leaving.address, began);
      if (i === 0) {
        await lab.eventually(async () => ((await weights(lab, owner, vip, 80))?.[leaving.address] ?? 0) === 0, { withinMs: 60_000, what: 'the first one gets no new connections' });
        graceSeconds = Math.ceil(Math.min(grace.mostSeconds, Math.max(grace.seconds, grace.times * (Date.now() - began) / 1000)));
        lab.log(`ROLLOUT the first one was taken away after ${Date.now() - began} ms: servers stop ${graceSeconds} s after their Pod's deletion`);
      }
      endings.push(lab.sleep(began + graceSeconds * 1000 - Date.now()).then(() => servers[i]!.stop()).then(() => bury(cluster, leaving.pod)));
      await lab.sleep(pauseMs);
    }
    await Promise.all(endings);
    await has(young);
    await lab.sleep(1000);
    const { sent, ok, errors, perSecond, by, lastBy, maxGapMs } = await stream.stop();
    const lateMs = old.map(({ address }) => Math.max(0, (lastBy[address] ?? 0) - deleted.get(address)!)).sort((a, b) => a - b);
    lab.log(`ROLLOUT ${sent} connections, ${perSecond}/s, longest gap ${maxGapMs} ms; last new connection after a Pod's deletion: median ${lateMs[replicas >> 1]} ms, at most ${lateMs.at(-1)} ms`);
    assert.deepEqual([errors, ok], [{}, sent]);
    assert.deepEqual(Object.keys(by).sort(), [...old, ...young].map(({ address }) => address).sort(), 'every one had its share');
    // 200 on a free CPU. A real server that is taken away too late, or comes too early, is met all the same.
    assert.ok(perSecond >= 20, `this machine made only ${perSecond} connections a second`);
    assert.equal(await operator.owner(vip), owner);

    // What the stream would have said of a server that stops without a word: it is refused until somebody notices.
    const blunt = await lab.stream('c1', target);
    await youngServers[0]!.stop();
    await lab.eventually(async () => ((await blunt.report()).errors['ECONNREFUSED'] ?? 0) > 0, { withinMs: 30_000, what: 'a server that stops is seen' });
    await blunt.stop();
  },
});
