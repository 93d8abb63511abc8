// Endpoints of a Service in every condition that Kubernetes knows, and a thousand of them: where new connections go, what becomes
// of held ones, and what a director's table then has. Pods and kube-controller-manager make the conditions; nobody may be refused.

import assert from 'node:assert/strict';
import { create, node, pathOf, pod, service, type PodOptions } from '../../cluster/objects.ts';
import { scenario, type HeldConnections, type Lab } from '../lab.ts';
import { basics, edge, startOperator, type NodeSpec, type Operator } from '../operator.ts';
import { bury, endpointStates, setReady, terminate, weights, type EndpointState } from '../pods.ts';
import { fleet, vip } from '../topologies.ts';

const directors: NodeSpec[] = ['dir1', 'dir2', 'dir3'].map((name, i) => ({ name, addresses: [`10.0.1.1${i + 1}`], labels: edge }));
const realServers: NodeSpec[] = ['rs1', 'rs2', 'rs3', 'rs4'].map((name, i) => ({ name, addresses: [`10.0.1.2${i + 1}`] }));
const [rs1, rs2, rs3, rs4] = realServers.map(({ addresses }) => addresses[0]!) as [string, string, string, string];

/** Who leaves drains for longer than all steps may take on a busy machine. */
const virtualServer = (mode: string): string => `
apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: { name: web, namespace: shop }
spec: { vip: { addresses: [ ${vip} ] }, mode: ${mode}, ports: [ { port: 80 } ], scheduler: { name: rr }, backends: [ { serviceRef: { name: web } } ], drain: { timeoutSeconds: 3600 } }
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
    if (taking.length > 0) {
      // Turn by turn with the stream's, so 16 may all come to the same one: again until each was met, and nobody else ever.
      const met = new Set<string>();
      for (let tries = 0; tries < 10 && met.size < taking.length; tries++) {
        const { by, errors } = await lab.get('c1', { address: vip, port: 80, count: 16, timeoutMs: 10_000 });
        assert.deepEqual(errors, {}, what);
        for (const name of Object.keys(by)) met.add(name);
        assert.deepEqual(Object.keys(by).filter((name) => !taking.includes(name)), [], what);
      }
      assert.deepEqual([...met].sort(), taking, what);
    } else {
      // Few, as the kernel refuses about one a second.
      const { by, errors } = await lab.get('c1', { address: vip, port: 80, count: 4, timeoutMs: 10_000 });
      assert.deepEqual([by, errors], [{}, { ECONNREFUSED: 4 }], what);
    }
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

/** The n-th of the many: 250 a host, in a network of its own that is routed to it. */
const manyth = (n: number): { address: string; nodeName: string } => ({ address: `10.20.${(n % 4) + 1}.${Math.floor(n / 4) + 1}`, nodeName: `rs${(n % 4) + 1}` });

const slicePath = '/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices';

/** An EndpointSlice that no controller looks after, of these of the many. */
function slice(name: string, numbers: readonly number[]): object {
  return {
    apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4', ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    metadata: { name, namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web', 'endpointslice.kubernetes.io/managed-by': 'scenario' } },
    endpoints: numbers.map(manyth).map(({ address, nodeName }) => ({ addresses: [address], nodeName, conditions: { ready: true } })),
  };
}

/** Connections that each destination of a director got since it was added: one that was deleted and added again begins at 0. */
async function connections(lab: Lab, host: string): Promise<Record<string, number>> {
  const lines = (await lab.host(host).sh('ipvsadm -Ln --stats --exact')).split('\n');
  return Object.fromEntries(lines.map((line) => /^ +-> ([\d.]+):8080 +(\d+)/.exec(line)).filter((match) => match !== null).map(([, address, count]) => [address!, Number(count)]));
}

export const many = scenario({
  name: 'cluster-endpoints-many',
  about: '1,000 endpoints in 11 slices are 1,000 destinations that all get connections; a slice that changes or goes touches no other',
  topology: fleet,
  tags: ['cluster'],
  timeoutSeconds: 400,
  run: async (lab) => {
    for (const [i, { name }] of realServers.entries()) {
      await lab.host(name).sh(`ip route add local 10.20.${i + 1}.0/24 dev lo`);
      await lab.serve(name, { tcp: [8080], byAddress: true });
    }
    for (const { name } of directors) await lab.host(name).sh(realServers.map(({ addresses }, i) => `ip route add 10.20.${i + 1}.0/24 via ${addresses[0]}`).join('\n'));
    const operator = await startOperator(lab, directors, basics('10.0.1.192/27'));
    const { cluster } = operator;
    const { selector: _none, ...spec } = service('shop', 'web', {}, [{ port: 80, targetPort: 8080 }])['spec'] as Record<string, unknown>;
    await create(cluster, ...realServers.map((one) => node(one.name, one.addresses)), { ...service('shop', 'web', {}, []), spec });
    const parts = Array.from({ length: 11 }, (_, k) => Array.from({ length: k < 10 ? 91 : 90 }, (_, i) => k * 91 + i));
    for (const [k, numbers] of parts.entries()) assert.equal((await cluster.request('POST', slicePath, slice(`web-${k}`, numbers))).status, 201);
    await cluster.apply(virtualServer('NAT'));
    await operator.ready('shop/web');
    const all = parts.flat().map((n) => manyth(n).address);
    assert.equal(new Set(all).size, 1000);
    const has = async (addresses: readonly string[], what: string): Promise<void> => {
      const wanted = Object.fromEntries(addresses.map((address) => [address, 1]));
      for (const { name } of directors) await lab.eventually(async () => { assert.deepEqual(await weights(lab, name, vip, 80), wanted); }, { withinMs: 60_000, what: `${what} on ${name}` });
    };
    await has(all, '1,000 destinations');
    // Counts may wait for ten seconds.
    await lab.eventually(async () => {
      const { backends } = (await operator.get<{ status: { backends: unknown } }>('virtualservers', 'shop/web'))!.status;
      assert.deepEqual(backends, { total: 1000, ready: 1000 });
    }, { withinMs: 60_000, what: 'the status counts all of them' });

    // rr: each of a thousand connections goes to another one.
    const begun = performance.now();
    const answers = await lab.get('c1', { address: vip, port: 80, count: 1000, parallel: 10, timeoutMs: 20_000 });
    lab.log(`MANY 1000 connections in ${Math.round(performance.now() - begun)} ms`);
    assert.deepEqual(answers.errors, {});
    assert.deepEqual(answers.by, Object.fromEntries(all.map((address) => [address, 1])));
    const owner = await operator.owner(vip);
    // The kernel adds them up every two seconds.
    await lab.eventually(async () => { assert.deepEqual(await connections(lab, owner), Object.fromEntries(all.map((address) => [address, 1]))); }, { withinMs: 30_000, what: 'each counted one' });

    // Five endpoints of one slice are replaced by five others.
    const changed = [...parts[4]!.slice(5), 1000, 1001, 1002, 1003, 1004];
    const begunChange = performance.now();
    assert.equal((await cluster.request('PUT', `${slicePath}/web-4`, slice('web-4', changed))).status, 200);
    const rest = parts.flatMap((numbers, k) => (k === 4 ? changed : numbers)).map((n) => manyth(n).address);
    await has(rest, 'five replaced');
    lab.log(`MANY five of 1000 replaced on three directors after ${Math.round(performance.now() - begunChange)} ms`);
    const added = new Set(changed.slice(-5).map((n) => manyth(n).address));
    assert.deepEqual(await connections(lab, owner), Object.fromEntries(rest.map((address) => [address, added.has(address) ? 0 : 1])), 'nobody else was touched');

    assert.equal((await cluster.request('DELETE', `${slicePath}/web-10`)).status, 200);
    const gone = new Set(parts[10]!.map((n) => manyth(n).address));
    await has(rest.filter((address) => !gone.has(address)), 'a slice less');
    const after = await connections(lab, owner);
    assert.deepEqual([Object.keys(after).length, Object.values(after).filter((count) => count !== 1).length], [910, added.size]);
  },
});
