/**
 * Weights by the annotation of a Pod, from the API server to the program: Pods are read only when somebody asks, nobody waits for what cannot
 * be read, and a restart changes no weight to and fro.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../../../src/kube/errors.ts';
import type { KubeObject } from '../../../src/kube/types.ts';
import { onAbort } from '../../../src/kube/wait.ts';
import { Bench, lease, node, pod, service, slice } from './bench.ts';
import { group, pin, pool, server } from './compile/setup.ts';

const KEY = 'default/shop';
const asking = (podWeights: string): KubeObject => server('shop', { ...pin('203.0.113.1'), backends: [{ weight: 100, serviceRef: { name: 'web', podWeights } }] }) as unknown as KubeObject;
const endpoint = (address: string, name: string) => ({ addresses: [address], nodeName: 'w1', targetRef: { kind: 'Pod', namespace: 'default', name } });

function cluster(podWeights: string): { b: Bench; reads: string[]; refused: { pods: boolean } } {
  const b = new Bench();
  const reads: string[] = [];
  const refused = { pods: false };
  b.api.arrives = ({ verb, kind }) => {
    if (kind !== 'Pod') return;
    reads.push(verb);
    if (refused.pods) throw new ApiError({ code: 'FORBIDDEN', message: 'pods is forbidden', verb: 'GET', path: '/api/v1/pods', status: 403 });
  };
  b.put(pool(), group('edge', { nodeSelector: { matchLabels: { edge: '' } } }), node('e1', ['192.0.2.1'], { edge: '' }), node('w1', ['192.0.2.11']), lease('e1'));
  b.put(service('default/web'), slice('default/web-1', 'web', [endpoint('10.1.0.1', 'web-a'), endpoint('10.1.0.2', 'web-b')]), pod('default/web-a', '50'), pod('default/web-b'), pod('other/web-a', '7'));
  b.put(asking(podWeights));
  return { b, reads, refused };
}

const weights = (b: Bench): string[] | undefined => b.get('VirtualServerProgram', KEY)?.spec.services.flatMap((s) => s.realServers.map((r) => r.split('|')[2]!));
const settled = async (b: Bench, ...objects: KubeObject[]): Promise<string[] | undefined> => {
  b.put(...objects);
  await b.settle();
  b.report('e1');
  await b.settle();
  return weights(b);
};

test('nobody asks: no Pod is ever read, and annotations do not count', async () => {
  const { b, reads } = cluster('Ignore');
  b.start();
  assert.deepEqual(await settled(b), ['100', '100']);
  assert.deepEqual(reads, []);
  await b.stopAll();
});

test('an annotation is percent of the weight, and is followed; together with the label of the node', async () => {
  const { b } = cluster('Annotation');
  b.start();
  assert.deepEqual(await settled(b), ['50', '100']);
  assert.deepEqual(await settled(b, pod('default/web-a', '0'), pod('default/web-b', '200')), ['0', '200']);
  assert.deepEqual(await settled(b, node('w1', ['192.0.2.11'], { 'ipvs-operator.dev/weight': '50' })), ['0', '100']);
  assert.deepEqual(await settled(b, pod('default/web-a', 'heavy')), ['50', '100']);
  assert.deepEqual([b.condition(KEY), b.condition(KEY, 'Degraded')], ['True Ready', 'True InvalidPodWeight']);
  assert.deepEqual(await settled(b, pod('default/web-a')), ['50', '100']);
  assert.equal(b.condition(KEY, 'Degraded'), 'none');
  await b.stopAll();
});

test('a VirtualServer that begins to ask while the controller runs is served by what the annotations say, and one that ceases is not', async () => {
  const { b, reads } = cluster('Ignore');
  b.start();
  assert.deepEqual(await settled(b), ['100', '100']);
  assert.deepEqual(await settled(b, asking('Annotation')), ['50', '100']);
  assert.ok(reads.includes('list'));
  assert.deepEqual(await settled(b, asking('Ignore')), ['100', '100']);
  await b.stopAll();
});

test('who asked and ceases, or is deleted, lets go of all Pods and of their watch; who asks again is served by what the annotations say by then', async () => {
  const { b, reads } = cluster('Annotation');
  const { world } = b.start();
  const watching = () => [world.pods.store.size, world.pods.asked, world.stats.some((s) => s.resource.startsWith('pods'))];
  assert.deepEqual([await settled(b), watching()], [['50', '100'], [3, true, true]]);
  assert.deepEqual([await settled(b, asking('Ignore')), watching()], [['100', '100'], [0, false, false]]);
  const before = reads.length;
  await settled(b, pod('default/web-a', '20'), pod('default/web-c'));
  assert.deepEqual([reads.length, watching()], [before, [0, false, false]], 'nothing is read any more');
  assert.deepEqual([await settled(b, asking('Annotation')), watching()], [['20', '100'], [4, true, true]]);
  assert.deepEqual(await settled(b, pod('default/web-a', '70')), ['70', '100'], 'and followed');
  b.drop('VirtualServer', KEY);
  await b.settle();
  assert.deepEqual(watching(), [0, false, false]);
  assert.deepEqual([await settled(b, asking('Annotation')), watching()], [['70', '100'], [4, true, true]]);
  await b.stopAll();
});

test('of two who ask, one that ceases takes nothing from the other', async () => {
  const { b } = cluster('Annotation');
  const { world } = b.start();
  const second = server('second', { ...pin('203.0.113.3'), backends: [{ weight: 100, serviceRef: { name: 'web', podWeights: 'Annotation' } }] }) as unknown as KubeObject;
  await settled(b, second);
  b.drop('VirtualServer', 'default/second');
  await b.settle();
  assert.deepEqual([world.pods.store.size, await settled(b, pod('default/web-a', '30'))], [3, ['30', '100']]);
  await b.stopAll();
});

test('a restart writes no program: what the annotations say is known before anything is decided', async () => {
  const { b } = cluster('Annotation');
  const first = b.start();
  await settled(b);
  await first.stop();
  const before = b.api.writes.length;
  const { running } = await b.runOnce('two');
  assert.deepEqual(b.api.writes.slice(before).filter((w) => w.kind === 'VirtualServerProgram'), []);
  assert.deepEqual(weights(b), ['50', '100']);
  assert.equal(running.world.pods.store.get('default/web-b')?.metadata.annotations, undefined);
  await b.stopAll();
});

test('nobody stands still while the Pods are read for who begins to ask: there may be a hundred thousand, and a tenant may ask again and again', async () => {
  const { b } = cluster('Ignore');
  const client = b.api.client('one');
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  // The first page is all that is needed to know that they may be read.
  const list: typeof client.list = async (resource, options) => {
    if (resource.kind === 'Pod' && options?.limit !== 1) {
      onAbort(options?.signal, release);
      await released;
    }
    return await client.list(resource, options);
  };
  b.start('one', { client: { ...client, list } });
  assert.deepEqual(await settled(b), ['100', '100']);
  b.put(asking('Annotation'), server('other', { ...pin('203.0.113.2') }));
  b.put(slice('default/web-1', 'web', [endpoint('10.1.0.1', 'web-a')]));
  await b.pass(5_000);
  b.report('e1');
  await b.pass(15_000);
  assert.deepEqual([b.get('VirtualServerProgram', 'default/other') !== undefined, weights(b)], [true, ['100']]);
  assert.equal(b.condition(KEY, 'Degraded'), 'none', 'that is no lack of a right');
  release();
  assert.deepEqual(await settled(b), ['50']);
  await b.stopAll();
});

test('Pods that cannot be listed: everybody is served as written, it is said, and tried again', async () => {
  const { b, refused } = cluster('Annotation');
  refused.pods = true;
  const running = b.start();
  assert.deepEqual(await settled(b, server('other', { ...pin('203.0.113.2') }) as unknown as KubeObject), ['100', '100']);
  assert.deepEqual([b.condition(KEY, 'Degraded'), b.condition('default/other', 'Degraded')], ['True PodsUnknown', 'none']);
  assert.equal(running.world.synced, true);
  refused.pods = false;
  await b.pass(11_000);
  assert.deepEqual(await settled(b), ['50', '100']);
  assert.equal(b.condition(KEY, 'Degraded'), 'none');
  await b.stopAll();
});
