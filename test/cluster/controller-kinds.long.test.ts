/**
 * The CRDs deleted while everything is in use, which deletes every object of ours with them: each deletion is told before the kinds are gone,
 * the controller waits without ending, nothing sticks in Terminating, and when the CRDs are installed again it goes on without a restart.
 */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { RESOURCES, type IPVSNode, type VirtualIP } from '../../src/api/v1alpha1/index.ts';
import { createClient } from '../../src/kube/client.ts';
import { kubeconfigFileCredentials } from '../../src/kube/kubeconfig-file.ts';
import { Reflector } from '../../src/kube/reflector.ts';
import { Transport } from '../../src/kube/transport.ts';
import { API, group, pool, startBench, toStatic, virtualServer, type Bench } from './controller-bench.ts';
import { namespace, node } from './objects.ts';

const folder = mkdtempSync(join(tmpdir(), 'ipvs-controller-kinds-'));
const crds = resolve(import.meta.dirname, '../../crds');
const KINDS = ['VirtualServer', 'VirtualIP', 'VirtualServerProgram', 'IPVSNode', 'VIPPool', 'DirectorGroup'] as const;
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
let bench: Bench;

before(async () => {
  bench = await startBench({ folder, account: true });
  await bench.post(node('e1', ['192.0.2.1'], { edge: '' }), node('w1', ['192.0.2.11'], { role: 'web' }));
  await bench.lives('e1');
});
after(async () => {
  await bench?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(space: string): Promise<void> {
  await bench.eventually('the server takes our kinds', async () => {
    await bench.post(group(space, { edge: '' }));
    return true;
  });
  await bench.post(namespace(space), pool(space, { blocks: [{ cidr: '203.0.113.0/28' }], default: true, directorGroupRef: { name: space }, allowStaticBackendCIDRs: ['10.0.0.0/8'] }),
    virtualServer(`${space}/nat`, toStatic('10.0.0.1')), virtualServer(`${space}/dr`, { mode: 'DR', ports: [{ port: 81 }], vip: { sharedFrom: { name: 'nat' } }, backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }] }));
  await bench.eventually('it is served', async () => {
    await bench.report('e1', 'w1');
    return (await bench.program(`${space}/dr`))?.services[0]!.realServers.length === 1 && await bench.condition(`${space}/nat`) === 'True Ready';
  });
  assert.deepEqual((await bench.list<VirtualIP>('VirtualIP')).map((v) => v.spec.claims.map((c) => `${c.namespace}/${c.name}`)), [[`${space}/dr`, `${space}/nat`]]);
}

test('the CRDs go before everything else, and come again, twice', async (t) => {
  const controller = await bench.start('one', '--no-leader-election');
  const transport = new Transport(await kubeconfigFileCredentials(bench.cluster.kubeconfig), { userAgent: 'test', log: silent });
  const stop = new AbortController();
  t.after(() => { stop.abort(); transport.close(); });
  const deleted: string[] = [];
  const nodes = new Reflector<IPVSNode>({
    client: createClient(transport), resource: RESOURCES.IPVSNode, log: silent, now: () => performance.now(), random: Math.random,
    onChange: ({ type, key }) => { if (type === 'deleted') deleted.push(`${key}${nodes.kindMissing ? ' too late' : ''}`); },
  });
  void nodes.run(stop.signal);
  for (const space of ['first', 'second']) {
    await serve(space);
    await bench.eventually('the watch sees them', () => nodes.store.has('e1') && nodes.store.has('w1') && !nodes.kindMissing);
    for (const kind of space === 'first' ? KINDS : KINDS.toReversed()) await bench.drop('CustomResourceDefinition', `${kind.toLowerCase()}s.ipvs-operator.dev`);
    await bench.eventually('the kinds are gone', async () => (await bench.cluster.request('GET', `/apis/${API}`)).status === 404);
    // By this an agent knows that nobody will tell it anything any more.
    await bench.eventually('the watch knows', () => nodes.kindMissing);
    assert.deepEqual(deleted.splice(0).sort(), ['e1', 'w1']);
    await bench.drop('Namespace', space);
    await bench.eventually('the namespace does not stick', async () => await bench.get('Namespace', space) === null);
    assert.ok(controller.process.running);
    await bench.cluster.applyFile(crds);
  }
  await serve('third');
});
