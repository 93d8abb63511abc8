/** Rights that are withdrawn: whoever a pool does not admit any more is served by none of its addresses, whatever way it had them. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Bench, lease, namespace, node } from './bench.ts';
import { endpoints, group, pool, ports, server } from './compile/setup.ts';

const programs = (b: Bench): string[] => b.all('VirtualServerProgram').map((p) => p.metadata.name).sort();
const elsewhere = pool('public', { allowedNamespaces: { names: ['elsewhere'] } });

async function sharing(): Promise<Bench> {
  const b = new Bench();
  b.put(pool(), group('edge'), node('e1', ['192.0.2.1']), lease('e1'), server('shop', endpoints('10.0.0.1')));
  b.put(server('second', { ...endpoints('10.0.0.2'), ...ports(81), vip: { sharedFrom: { name: 'shop' } } }));
  b.start();
  await b.settle();
  assert.deepEqual(programs(b), ['second', 'shop']);
  return b;
}

test('who shares an address is not served by it when the pool admits the namespace no more', async () => {
  const b = await sharing();
  b.put(elsewhere);
  await b.settle();
  assert.deepEqual([programs(b), b.condition('default/second', 'Accepted')], [[], 'False NamespaceNotAllowed']);
  b.put(pool());
  await b.settle();
  assert.deepEqual([programs(b), b.condition('default/second', 'Accepted')], [['second', 'shop'], 'True Accepted'], 'and is again when it does');
  await b.stopAll();
});

test('nor when the pool is deleted', async () => {
  const b = await sharing();
  b.drop('VIPPool', 'public');
  await b.settle();
  assert.deepEqual([programs(b), b.condition('default/second', 'Accepted')], [[], 'False PoolNotFound']);
  await b.stopAll();
});

test('nor when the one that it shared with was deleted before: until then it is served on', async () => {
  const b = await sharing();
  b.drop('VirtualServer', 'default/shop');
  await b.settle();
  assert.deepEqual([programs(b), b.condition('default/second', 'Accepted')], [['second'], 'False Pending']);
  b.put(elsewhere);
  await b.settle();
  assert.deepEqual([programs(b), b.condition('default/second', 'Accepted')], [[], 'False NamespaceNotAllowed']);
  await b.stopAll();
});

for (const [what, poolRef, reason] of [['that there is not', 'publik', 'PoolNotFound'], ['that does not admit it', 'theirs', 'NamespaceNotAllowed']] as const) {
  test(`an edit that asks for a pool ${what} withdraws no right: it is served where it was, until that pool admits it no more`, async () => {
    const b = await sharing();
    b.put(pool('theirs', { blocks: [{ cidr: '203.0.113.8/29' }], allowedNamespaces: { names: ['theirs'] } }));
    b.put(server('shop', { ...endpoints('10.0.0.1'), vip: { poolRef: { name: poolRef } } }));
    await b.settle();
    assert.deepEqual([programs(b), b.condition('default/shop', 'Accepted'), b.condition('default/shop', 'Degraded')], [['second', 'shop'], `False ${reason}`, 'True UsingLastGood']);
    b.put(elsewhere);
    await b.settle();
    assert.deepEqual(programs(b), []);
    await b.stopAll();
  });
}

for (const [what, spec, reason] of [
  ['an address that is in no pool', { vip: { addresses: ['192.0.2.77'] } }, 'AddressOutsidePools'],
  ['the address of somebody who is not there', { vip: { sharedFrom: { name: 'nobody' } } }, 'Pending'],
] as const) {
  test(`whoever asks for ${what} and is served in his last form has no more right to that than others`, async () => {
    const b = await sharing();
    b.put(server('shop', { ...endpoints('10.0.0.1'), ...spec }));
    await b.settle();
    assert.deepEqual([programs(b), b.condition('default/shop', 'Accepted')], [['second', 'shop'], `False ${reason}`]);
    b.put(elsewhere);
    await b.settle();
    assert.deepEqual(programs(b), []);
    await b.stopAll();
  });
}

test('a namespace that the cache does not know yet is not refused, but waited for: a watch may be ahead of another', async () => {
  const b = new Bench();
  b.put(pool('public', { allowedNamespaces: { matchLabels: { team: 'shop' } } }), group('edge'), node('e1', ['192.0.2.1']), lease('e1'), server('fresh/shop', endpoints('10.0.0.1')));
  b.start();
  await b.settle();
  assert.deepEqual([b.condition('fresh/shop', 'Accepted'), b.condition('fresh/shop', 'Stalled'), programs(b)], ['False Pending', 'none', []]);
  b.put(namespace('fresh'));
  await b.settle();
  assert.deepEqual([b.condition('fresh/shop', 'Accepted'), b.condition('fresh/shop', 'Stalled')], ['False NamespaceNotAllowed', 'True AddressUnavailable']);
  b.put(namespace('fresh', { team: 'shop' }));
  await b.settle();
  assert.deepEqual([b.condition('fresh/shop', 'Accepted'), programs(b)], ['True Accepted', ['shop']]);
  await b.stopAll();
});

test('nor does it lose anything by that', async () => {
  const b = new Bench();
  b.put(pool('public', { allowedNamespaces: { matchLabels: { team: 'shop' } } }), group('edge'), node('e1', ['192.0.2.1']), lease('e1'), namespace('fresh', { team: 'shop' }));
  b.put(server('fresh/shop', endpoints('10.0.0.1')));
  b.start();
  await b.settle();
  b.put(server('fresh/shop', { ...endpoints('10.0.0.1'), vip: { addresses: ['192.0.2.77'] } }));
  await b.settle();
  assert.deepEqual([b.condition('fresh/shop', 'Accepted'), programs(b)], ['False AddressOutsidePools', ['shop']]);
  b.drop('Namespace', 'fresh');
  await b.settle();
  assert.deepEqual(programs(b), ['shop']);
  await b.stopAll();
});
