// An agent of the cluster that restarts while nothing changed: it takes up what stands and says nothing to the kernel that changes
// it. What held connections and clients see of restarts is cluster-kill.ts; the same without a cluster is restart.ts.

import assert from 'node:assert/strict';
import { create, pod, service } from '../../cluster/objects.ts';
import { scenario, type Lab } from '../lab.ts';
import { basics, edge, startOperator, type NodeSpec, type Operator } from '../operator.ts';
import { lan, vip } from '../topologies.ts';

const directors: NodeSpec[] = [{ name: 'dir1', addresses: ['10.0.1.11'], labels: edge }, { name: 'dir2', addresses: ['10.0.1.12'], labels: edge }];
const realServers: NodeSpec[] = ['rs1', 'rs2'].map((name, i) => ({ name, addresses: [`10.0.1.2${i + 1}`], labels: { role: 'web' } }));
const nodes = [...directors, ...realServers];

const server = (name: string, spec: string): string => `
apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: { name: ${name}, namespace: shop }
spec: { ${spec} }
---`;
const onNodes = 'backends: [ { nodes: { selector: { matchLabels: { role: web } } } } ]';
const inService = 'backends: [ { serviceRef: { name: web } } ]';

/** One of each that leaves something of its own in the kernel: modes, encapsulation, flags, mark rules. */
const servers = [
  server('nat', `vip: { addresses: [ ${vip} ] }, mode: NAT, ports: [ { port: 80 } ], scheduler: { name: rr }, ${inService}`),
  server('mh', `vip: { addresses: [ 10.0.1.201 ] }, mode: DR, ports: [ { port: 80 } ], scheduler: { name: mh, fallback: true }, persistence: { timeoutSeconds: 60, ipv4PrefixLength: 24 }, ${onNodes}`),
  server('gue', `vip: { addresses: [ 10.0.1.202 ] }, mode: TUN, tun: { encapsulation: GUE }, ports: [ { port: 80 } ], ${onNodes}`),
  server('range', `vip: { addresses: [ 10.0.1.203 ] }, mode: NAT, ports: [ { port: 3000, endPort: 3010 } ], backends: [ { static: { endpoints: [ { address: 10.0.1.21 } ] } } ]`),
].join('');

/** Changing requests, as IPVS_NETLINK_DEBUG prints them. The capability probe makes its own in a scratch namespace, with a mark of its own ('IPVS' as a number). */
const changes = (log: string): string[] => log.split('\n')
  .filter((line) => /netlink > .*\b(NEW_|SET_|DEL_|FLUSH|ZERO|RTM_NEW|RTM_DEL|RTM_SET)/.test(line) && !line.includes('FWMARK=1230001747'));

/** How often an agent has compared all that it wants with all that is there, successfully. */
async function fullPasses(lab: Lab, host: string): Promise<number> {
  const metrics = await lab.host(host).run(`bash -c 'exec 3<>/dev/tcp/127.0.0.1/9822 && printf "GET /metrics HTTP/1.0\\r\\n\\r\\n" >&3 && cat <&3'`);
  return Number(/^ipvs_operator_agent_reconciles_total\{(?=[^}]*extent="full")[^}]*result="success"[^}]*\} (\d+)/m.exec(metrics.stdout)?.[1] ?? 0);
}

async function looked(lab: Lab, operator: Operator, host: string, times: number): Promise<void> {
  await lab.eventually(async () => await fullPasses(lab, host) >= times, { withinMs: 60_000, what: `the agent of ${host} has looked at everything ${times} times` })
    .catch((error: Error) => { throw new Error(`${error.message}\n${operator.agents[host]!.log.slice(-3000)}`, { cause: error }); });
}

export const idle = scenario({
  name: 'cluster-restart-idle',
  about: 'agents stopped, or killed, and started again while nothing changed: no message that changes the kernel, no VIP that moves',
  topology: lan,
  tags: ['cluster', 'restart'],
  timeoutSeconds: 400,
  run: async (lab) => {
    for (const { name } of realServers) await lab.serve(name, { tcp: [80] });
    const operator = await startOperator(lab, nodes, basics('10.0.1.192/27'), { agentArgs: ['--resync', '3'], agentEnvironment: { IPVS_NETLINK_DEBUG: '1' } });
    await create(operator.cluster, service('shop', 'web', { app: 'web' }, [{ port: 80 }]),
      ...realServers.map(({ name, addresses }) => pod({ namespace: 'shop', name: `web-${name}`, labels: { app: 'web' }, node: name, addresses, hostNetwork: true })));
    await operator.cluster.apply(servers);
    for (const name of ['nat', 'mh', 'gue', 'range']) await operator.ready(`shop/${name}`);
    const state = async (): Promise<unknown> => Promise.all(nodes.map(async ({ name }) => [name, (await lab.host(name).ipvsSave()).sort(), (await lab.host(name).addresses()).sort()]));
    // Ready with the first of its real servers: two of three VirtualServers, and one of the range.
    for (const { name } of directors) await lab.eventually(async () => (await lab.host(name).ipvsSave()).filter((line) => line.startsWith('-a ')).length === 7, { withinMs: 60_000, what: `${name} has all real servers` });
    for (const { name } of nodes) await looked(lab, operator, name, await fullPasses(lab, name) + 2);
    const before = await state();
    const owners = await Promise.all([vip, '10.0.1.201', '10.0.1.202', '10.0.1.203'].map((address) => operator.owner(address)));
    assert.ok(owners.every((owner) => owner === 'dir1' || owner === 'dir2'), String(owners));

    // A director and a real server at a time, first in good order.
    for (const [how, pair] of [['stop', ['dir1', 'rs1']], ['kill', ['dir2', 'rs2']]] as const) {
      await Promise.all(pair.map(async (name) => {
        const agent = operator.agents[name]!;
        const mark = agent.log.length;
        assert.notDeepEqual(changes(agent.log.slice(0, mark)), [], 'what the first start changed can be seen, so the next line can fail');
        await agent[how]();
        await agent.start();
        await looked(lab, operator, name, 2);
        assert.deepEqual(changes(agent.log.slice(mark)), [], `${name}, ${how}`);
      }));
    }
    assert.deepEqual(await state(), before);
    assert.deepEqual(await Promise.all([vip, '10.0.1.201', '10.0.1.202', '10.0.1.203'].map((address) => operator.owner(address))), owners);
    assert.deepEqual((await lab.get('c1', { address: vip, port: 80, count: 4 })).by, { rs1: 2, rs2: 2 });
  },
});
