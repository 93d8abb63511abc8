/** DirectorGroups that go: whoever is served by their directors is served on, as its status says. Against an API server in memory. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Bench, lease, node } from './bench.ts';
import { endpoints, group, pool, server } from './compile/setup.ts';

const EDGE = { nodeSelector: { matchLabels: { edge: '' } } };
const directs = (b: Bench, name: string): string[] | undefined => b.get('IPVSNode', name)?.spec.directorGroups;

async function served(): Promise<Bench> {
  const b = new Bench();
  b.put(pool('public', { directorGroupRef: { name: 'edge' } }), group('edge', EDGE), node('e1', ['192.0.2.1'], { edge: '' }), lease('e1'), server('shop', endpoints('10.0.0.1')));
  b.start();
  await b.settle();
  b.report('e1');
  await b.settle();
  assert.deepEqual([b.condition('default/shop'), directs(b, 'e1')], ['True Ready', ['edge']]);
  return b;
}

test('the directors of a group that is deleted go on for who is served by them, and no other node begins; until nobody is', async () => {
  const b = await served();
  b.drop('DirectorGroup', 'edge');
  b.put(node('e2', ['192.0.2.2'], { edge: '' }));
  await b.settle();
  assert.deepEqual([b.condition('default/shop', 'Degraded'), b.get('VirtualServerProgram', 'default/shop')?.spec.directorGroup], ['True UsingLastGood', 'edge']);
  assert.deepEqual([directs(b, 'e1'), directs(b, 'e2')], [['edge'], undefined]);
  b.drop('VirtualServer', 'default/shop');
  await b.settle();
  assert.deepEqual([directs(b, 'e1'), b.all('VirtualServerProgram')], [[], []]);
  await b.stopAll();
});

test('a group that is deleted and made anew has the nodes that it selects then; also over a restart between', async () => {
  const b = await served();
  b.drop('DirectorGroup', 'edge');
  await b.settle();
  await b.stopAll();
  b.start('two');
  await b.settle();
  assert.deepEqual(directs(b, 'e1'), ['edge']);
  b.put(group('edge', { nodeSelector: { matchLabels: { other: '' } } }), node('e2', ['192.0.2.2'], { other: '' }));
  await b.settle();
  assert.deepEqual([directs(b, 'e1'), directs(b, 'e2')], [[], ['edge']]);
  await b.stopAll();
});

test('whoever is served in the last form and is suspended is served no more, and keeps the address', async () => {
  const b = await served();
  b.drop('DirectorGroup', 'edge');
  b.put(server('shop', { ...endpoints('10.0.0.1'), suspend: true }));
  await b.settle();
  assert.deepEqual([b.condition('default/shop', 'Accepted'), b.all('VirtualServerProgram'), directs(b, 'e1')], ['False Pending', [], []]);
  assert.deepEqual(b.all('VirtualIP').map((v) => [v.spec.address, v.spec.claims.map((c) => c.name)]), [['203.0.113.1', ['shop']]]);
  b.put(group('edge', EDGE), server('shop', endpoints('10.0.0.1')));
  await b.settle();
  assert.deepEqual([b.condition('default/shop', 'Accepted'), b.get('VirtualServerProgram', 'default/shop')?.spec.addresses, directs(b, 'e1')], ['True Accepted', [{ address: '203.0.113.1', family: 'IPv4' }], ['edge']]);
  await b.stopAll();
});
