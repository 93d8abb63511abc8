// From `kubectl apply` to packets: a controller, agents on directors and on nodes with real servers, a real API server, and
// clients that know nothing of it. One scenario a mode; each edited live under held connections.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { create, pod, service } from '../../cluster/objects.ts';
import { difference } from '../difference.ts';
import { scenario, type Lab } from '../lab.ts';
import { basics, edge, startOperator, USUAL_LEASE, type NodeSpec } from '../operator.ts';
import { LOAD } from '../theirs.ts';
import { lan, vip } from '../topologies.ts';

const directors: NodeSpec[] = [{ name: 'dir1', addresses: ['10.0.1.11'], labels: edge }, { name: 'dir2', addresses: ['10.0.1.12'], labels: edge }];
const realServers: NodeSpec[] = ['rs1', 'rs2', 'rs3'].map((name, i) => ({ name, addresses: [`10.0.1.2${i + 1}`], labels: { role: 'web' } }));

const server = (spec: string): string => `
apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: { name: web, namespace: shop }
spec: { vip: { addresses: [ ${vip} ] }, scheduler: { name: rr }, drain: { timeoutSeconds: 3600 }, ${spec} }
`;

async function serve(lab: Lab, ports: readonly number[]): Promise<void> {
  for (const { name } of realServers) await lab.serve(name, { tcp: ports });
}

const balanced = { rs1: 4, rs2: 4, rs3: 4 };

export const nat = scenario({
  name: 'cluster-nat',
  about: 'a Service with three pods in NAT: kubectl apply, and both clients are balanced over its endpoints; one that leaves gets no more',
  topology: lan,
  tags: ['cluster'],
  timeoutSeconds: 400,
  run: async (lab) => {
    await serve(lab, [8080]);
    const operator = await startOperator(lab, [...directors, ...realServers], basics('10.0.1.192/27'));
    const { cluster } = operator;
    await create(cluster, service('shop', 'web', { app: 'web' }, [{ port: 80, targetPort: 8080 }]),
      ...realServers.map(({ name, addresses }) => pod({ namespace: 'shop', name: `web-${name}`, labels: { app: 'web' }, node: name, addresses })));
    await cluster.apply(server('mode: NAT, ports: [ { port: 80 } ], backends: [ { serviceRef: { name: web } } ]'));
    await operator.ready('shop/web');
    // Ready with the first of them: the others may come a moment later.
    await lab.eventually(async () => isDeepStrictEqual((await lab.get('c1', { address: vip, port: 80, count: 12 })).by, balanced), { withinMs: 60_000, what: 'all three serve' });
    for (const client of ['c1', 'lc']) assert.deepEqual((await lab.get(client, { address: vip, port: 80, count: 12 })).by, balanced);
    const owner = await operator.owner(vip);
    assert.deepEqual(await lab.arp('lc', vip), [lab.host(owner).mac()], 'only the owner answers for the VIP');
    const held = await lab.hold('c1', { address: vip, port: 80, count: 6 });

    await cluster.request('DELETE', '/api/v1/namespaces/shop/pods/web-rs3?gracePeriodSeconds=0');
    await lab.eventually(async () => !('rs3' in (await lab.get('c1', { address: vip, port: 80, count: 12 })).by), { withinMs: 30_000, what: 'rs3 gets no new connections' });
    await operator.controller.kill();
    await operator.agents[owner]!.kill();
    assert.deepEqual((await lab.get('lc', { address: vip, port: 80, count: 12 })).by, { rs1: 6, rs2: 6 }, 'the kernel needs nobody');
    await operator.controller.start();
    await operator.agents[owner]!.start();
    await create(cluster, pod({ namespace: 'shop', name: 'web-again', labels: { app: 'web' }, node: 'rs3', addresses: ['10.0.1.23'] }));
    await lab.eventually(async () => 'rs3' in (await lab.get('c1', { address: vip, port: 80, count: 12 })).by, { withinMs: 60_000, what: 'rs3 is back' });
    const result = await held.check();
    assert.deepEqual([result.alive, result.broken], [6, 0], JSON.stringify(result));
    await held.close();
    assert.equal(await operator.owner(vip), owner, 'a restart moves no VIP');

    await cluster.kubectl(['delete', 'ivs', '-n', 'shop', 'web', '--wait=true']);
    await lab.eventually(async () => (await operator.get('virtualips', vip)) === null, { withinMs: 30_000, what: 'the address is given back' });
    for (const { name } of directors) {
      await lab.eventually(async () => (await lab.host(name).ipvsSave()).length === 0 && !(await lab.host(name).addresses()).some((a) => a.includes(vip)), { withinMs: 30_000, what: `nothing of ours on ${name}` });
    }
  },
});

/** The command of docs/install.md that shows whether something is left on a node. */
function whatNodesHave(): string[] {
  return /^kubectl (get ivn -o custom-columns=\S+)/m.exec(readFileSync(resolve(import.meta.dirname, '../../../docs/install.md'), 'utf8'))![1]!.split(' ');
}

const nodesMode = (mode: 'DR' | 'TUN') => scenario({
  name: `cluster-${mode.toLowerCase()}`,
  about: `nodes as real servers in ${mode}: their agents receive for the VIP before any director sends, and clients are balanced; what an agent left behind is taken away without one`,
  topology: lan,
  tags: mode === 'DR' ? ['cluster'] : ['cluster', 'long'],
  timeoutSeconds: 400,
  run: async (lab) => {
    await serve(lab, [80]);
    let empty = '';
    const operator = await startOperator(lab, [...directors, ...realServers], basics('10.0.1.192/27', USUAL_LEASE), { before: async () => {
      await lab.host('rs1').sh(LOAD);
      empty = await lab.snapshot('rs1');
    } });
    await operator.cluster.apply(server(`mode: ${mode}, ports: [ { port: 80 } ], backends: [ { nodes: { selector: { matchLabels: { role: web } } } } ]`));
    await operator.ready('shop/web');
    await lab.eventually(async () => isDeepStrictEqual((await lab.get('c1', { address: vip, port: 80, count: 12 })).by, balanced), { withinMs: 60_000, what: 'all three serve' });
    for (const { name } of realServers) await lab.host(name).flushNeighbours();
    for (const client of ['c1', 'lc']) assert.deepEqual((await lab.get(client, { address: vip, port: 80, count: 12 })).by, balanced);
    const owner = await operator.owner(vip);
    assert.deepEqual(await lab.arp('lc', vip), [lab.host(owner).mac()], 'only the owner answers for the VIP');

    // The owner dies: the other director takes over, and connections go on with it.
    await operator.agents[owner]!.kill();
    await lab.host(owner).sh('ip link set e0 down');
    const other = owner === 'dir1' ? 'dir2' : 'dir1';
    await lab.eventually(async () => await operator.owner(vip) === other, { withinMs: 90_000, what: `${other} takes over` });
    await lab.eventually(async () => isDeepStrictEqual((await lab.get('c1', { address: vip, port: 80, count: 12 })).by, balanced), { withinMs: 30_000, what: `${other} balances` });
    assert.deepEqual(await lab.arp('lc', vip), [lab.host(other).mac()]);

    await operator.cluster.kubectl(['delete', 'ivs', '-n', 'shop', 'web', '--wait=true']);
    await lab.eventually(async () => !(await lab.host(other).addresses()).some((a) => a.includes(vip)), { withinMs: 30_000, what: 'the VIP is gone' });

    // Uninstalled now, real servers would keep it: who uninstalls waits until no node says so, or cleans up there (docs/install.md).
    await lab.eventually(async () => (await operator.get('virtualips', vip)) === null, { withinMs: 30_000, what: 'the address is given back' });
    await lab.eventually(async () => {
      const { stdout } = await operator.cluster.kubectl(whatNodesHave());
      const left = Object.fromEntries(stdout.trim().split('\n').map((line) => line.split(/ +/)).map(([name, ...rest]) => [name, rest.join(' ')]));
      assert.deepEqual([left[other], left['rs1']], ['0 [] []', `0 [] [${vip}]`], stdout);
    }, { withinMs: 60_000, what: 'the director has nothing, rs1 receives' });
    await operator.agents['rs1']!.kill();
    assert.notDeepEqual(difference(empty, await lab.snapshot('rs1')), []);
    const cleaned = await lab.cli('rs1', ['standalone', '--cleanup', '--state', lab.host('rs1').path('agent')]);
    assert.equal(cleaned.code, 0, cleaned.stderr);
    assert.deepEqual(difference(empty, await lab.snapshot('rs1')), [], 'rs1 is as it was before us');
  },
});

export const dr = nodesMode('DR');
export const tun = nodesMode('TUN');
