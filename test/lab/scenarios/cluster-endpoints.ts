// Endpoints of a Service in every condition that Kubernetes knows: where new connections go, what becomes of held ones, and what
// a director's table then has. Pods and kube-controller-manager make the conditions; nobody may be refused.

import assert from 'node:assert/strict';
import { create, node, pathOf, pod, service, type PodOptions } from '../../cluster/objects.ts';
import { scenario, type HeldConnections, type Lab } from '../lab.ts';
import { basics, edge, startOperator, type NodeSpec, type Operator } from '../operator.ts';
import { bury, endpointStates, setReady, terminate, weights, type EndpointState } from '../pods.ts';
import { fleet, vip } from '../topologies.ts';

const directors: NodeSpec[] = ['dir1', 'dir2', 'dir3'].map((name, i) => ({ name, addresses: [`10.0.1.1${i + 1}`], labels: edge }));
const realServers: NodeSpec[] = ['rs1', 'rs2', 'rs3', 'rs4'].map((name, i) => ({ name, addresses: [`10.0.1.2${i + 1}`] }));
const [rs1, rs2, rs3, rs4] = realServers.map(({ addresses }) => addresses[0]!) as [string, string, string, string];

const virtualServer = (mode: string, more = ''): string => `
apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: { name: web, namespace: shop }
spec: { vip: { addresses: [ ${vip} ] }, mode: ${mode}, ports: [ { port: 80 } ], scheduler: { name: rr }, backends: [ { serviceRef: { name: web } } ] ${more} }
`;

/** `True Ready`: status and reason of a condition; '' when it is absent. */
async function condition(operator: Operator, type: string): Promise<string> {
  const server = await operator.get<{ status?: { conditions?: { type: string; status: string; reason: string }[] } }>('virtualservers', 'shop/web');
  const found = server?.status?.conditions?.find((c) => c.type === type);
  return found === undefined ? '' : `${found.status} ${found.reason}`;
}

/**
 * Checks of each step: the slices have the intended conditions, every director follows, new connections go there, held ones go on.
 * `table`: what the owner has, with weights; the other directors, which have no connections to wait for, have only what is above 0.
 */
function steps(lab: Lab, operator: Operator, owner: string, held: HeldConnections, heldBy: Readonly<Record<string, number>>) {
  return async (what: string, states: Readonly<Record<string, EndpointState>>, table: Readonly<Record<string, number>>): Promise<void> => {
    const begun = performance.now();
    await lab.eventually(async () => { assert.deepEqual(await endpointStates(operator.cluster, 'shop', 'web'), states); }, { withinMs: 60_000, what: `${what}: the slices say so` });
    const active = Object.fromEntries(Object.entries(table).filter(([, weight]) => weight > 0));
    for (const { name } of directors) {
      await lab.eventually(async () => { assert.deepEqual(await weights(lab, name, vip, 80), name === owner ? table : active); }, { withinMs: 60_000, what: `${what}: the table of ${name}` });
    }
    const taking = realServers.filter(({ addresses }) => active[addresses[0]!] !== undefined).map(({ name }) => name);
    // Refusals are few: the kernel answers about one a second.
    const answers = await lab.get('c1', { address: vip, port: 80, count: taking.length > 0 ? 16 : 4, timeoutMs: 10_000 });
    if (taking.length > 0) assert.deepEqual([Object.keys(answers.by).sort(), answers.errors], [taking, {}], what);
    else assert.deepEqual([answers.by, answers.errors], [{}, { ECONNREFUSED: 4 }], what);
    const still = await held.check();
    assert.deepEqual([still.broken, still.by], [0, heldBy], `${what}: ${JSON.stringify(still)}`);
    lab.log(`STEP ${what}: ${Math.round(performance.now() - begun)} ms`);
  };
}

const everyCondition = (mode: 'NAT' | 'DR') => scenario({
  name: mode === 'NAT' ? 'cluster-endpoints' : `cluster-endpoints-${mode.toLowerCase()}`,
  about: `${mode}: an endpoint added, unready, terminating, all terminating, removed, its Service deleted and recreated: new connections go where they should, held ones go on, nobody is refused who has a server`,
  topology: fleet,
  tags: mode === 'NAT' ? ['cluster'] : ['cluster', 'long'],
  timeoutSeconds: 400,
  run: async (lab) => {
    const targetPort = mode === 'NAT' ? 8080 : 80;
    for (const { name } of realServers) await lab.serve(name, { tcp: [targetPort] });
    // NAT asks nothing of real servers: their nodes need no agent.
    const operator = await startOperator(lab, mode === 'NAT' ? directors : [...directors, ...realServers], basics('10.0.1.192/27'));
    const { cluster } = operator;
    if (mode === 'NAT') await create(cluster, ...realServers.map((one) => node(one.name, one.addresses)));
    const web = (name: string, host: number): PodOptions => ({ namespace: 'shop', name, labels: { app: 'web' }, node: `rs${host}`, addresses: [`10.0.1.2${host}`], hostNetwork: mode !== 'NAT' });
    const [one, two, three, four] = [1, 2, 3, 4].map((n) => web(`web-${n}`, n)) as [PodOptions, PodOptions, PodOptions, PodOptions];
    const svc = service('shop', 'web', { app: 'web' }, [{ port: 80, targetPort }]);
    await create(cluster, svc, pod(one), pod(two), pod(three));
    await cluster.apply(virtualServer(mode));
    await operator.ready('shop/web');
    await lab.eventually(async () => { assert.deepEqual(await weights(lab, await operator.owner(vip), vip, 80), { [rs1]: 1, [rs2]: 1, [rs3]: 1 }); }, { withinMs: 60_000, what: 'all three are in the table' });
    const owner = await operator.owner(vip);
    const held = await lab.hold('c1', { address: vip, port: 80, count: 12 });
    const step = steps(lab, operator, owner, held, { rs1: 4, rs2: 4, rs3: 4 });
    // From here to the last ready endpoint no client may see anything but an answer.
    const stream = await lab.stream('c1', { address: vip, port: 80, everyMs: 50, timeoutMs: 10_000 });

    await create(cluster, pod(four));
    await step('added', { [rs1]: 'ready', [rs2]: 'ready', [rs3]: 'ready', [rs4]: 'ready' }, { [rs1]: 1, [rs2]: 1, [rs3]: 1, [rs4]: 1 });

    await setReady(cluster, two, false);
    await step('unready', { [rs1]: 'ready', [rs2]: 'unready', [rs3]: 'ready', [rs4]: 'ready' }, { [rs1]: 1, [rs2]: 0, [rs3]: 1, [rs4]: 1 });
    await setReady(cluster, two, true);
    await step('ready again', { [rs1]: 'ready', [rs2]: 'ready', [rs3]: 'ready', [rs4]: 'ready' }, { [rs1]: 1, [rs2]: 1, [rs3]: 1, [rs4]: 1 });

    await terminate(cluster, three, 600);
    await step('terminating', { [rs1]: 'ready', [rs2]: 'ready', [rs3]: 'terminating', [rs4]: 'ready' }, { [rs1]: 1, [rs2]: 1, [rs3]: 0, [rs4]: 1 });
    for (const each of [one, two, four]) await terminate(cluster, each, 600);
    await step('all terminating', { [rs1]: 'terminating', [rs2]: 'terminating', [rs3]: 'terminating', [rs4]: 'terminating' }, { [rs1]: 1, [rs2]: 1, [rs3]: 1, [rs4]: 1 });
    assert.equal(await condition(operator, 'Ready'), 'True Ready', 'they still serve');
    await setReady(cluster, four, false);
    await step('one of them does not answer any more', { [rs1]: 'terminating', [rs2]: 'terminating', [rs3]: 'terminating', [rs4]: 'silent' }, { [rs1]: 1, [rs2]: 1, [rs3]: 1 });

    await Promise.all([bury(cluster, three), bury(cluster, four)]);
    await step('removed', { [rs1]: 'terminating', [rs2]: 'terminating' }, { [rs1]: 1, [rs2]: 1, [rs3]: 0 });
    const five = web('web-5', 3);
    await create(cluster, pod(five));
    await step('a ready one again, where another drains', { [rs1]: 'terminating', [rs2]: 'terminating', [rs3]: 'ready' }, { [rs1]: 0, [rs2]: 0, [rs3]: 1 });
    await Promise.all([bury(cluster, one), bury(cluster, two)]);
    await step('the others are gone', { [rs3]: 'ready' }, { [rs1]: 0, [rs2]: 0, [rs3]: 1 });
    const { sent, lost, errors, perSecond } = await stream.stop();
    lab.log(`STREAM ${sent} connections, ${perSecond}/s`);
    assert.deepEqual([lost, errors], [0, {}]);

    // Without its Service a VirtualServer keeps its address, says why it has nobody, and goes on with who is connected.
    await cluster.request('DELETE', pathOf('Service', 'shop', 'web'));
    await step('Service deleted', {}, { [rs1]: 0, [rs2]: 0, [rs3]: 0 });
    await lab.eventually(async () => {
      assert.deepEqual(await Promise.all(['ResolvedRefs', 'Ready', 'Accepted', 'Programmed', 'Stalled', 'Degraded'].map((type) => condition(operator, type))),
        ['False ServiceNotFound', 'False NoReadyBackends', 'True Accepted', 'True Programmed', '', '']);
    }, { withinMs: 60_000, what: 'the status says why' });
    assert.equal(await operator.owner(vip), owner);
    assert.deepEqual(await lab.arp('lc', vip), [lab.host(owner).mac()], 'the VIP stays where it is');
    await create(cluster, svc);
    await step('Service recreated', { [rs3]: 'ready' }, { [rs1]: 0, [rs2]: 0, [rs3]: 1 });
    await operator.ready('shop/web');
    await create(cluster, pod(one));
    await step('balanced again', { [rs1]: 'ready', [rs3]: 'ready' }, { [rs1]: 1, [rs2]: 0, [rs3]: 1 });

    await held.close();
    for (const { name } of directors) {
      await lab.eventually(async () => { assert.deepEqual(await weights(lab, name, vip, 80), { [rs1]: 1, [rs3]: 1 }); }, { withinMs: 60_000, what: `what drained is deleted from ${name}` });
    }
  },
});

export const nat = everyCondition('NAT');
export const dr = everyCondition('DR');
