/**
 * What statuses say, and of which generation: whoever waits for an object (kubectl wait, Flux, Argo CD) believes observedGeneration. Against
 * an API server in memory.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { KubeObject, Resource } from '../../../src/kube/types.ts';
import { RESOURCES } from '../../../src/api/v1alpha1/index.ts';
import { Bench, lease, node, service, slice } from './bench.ts';
import { endpoints, group, pin, pool, server } from './compile/setup.ts';

interface Said { readonly generation: number; readonly reason: string }

/** What was written as the status of objects of a kind, in order. */
function said(b: Bench, kind: string, condition: string): Said[] {
  return b.api.asked.filter((w) => w.kind === kind && w.verb === 'apply').map(({ object }) => {
    const { status } = object as KubeObject & { status: { observedGeneration: number; conditions: { type: string; reason: string }[] } };
    return { generation: status.observedGeneration, reason: status.conditions.find((c) => c.type === condition)!.reason };
  });
}

test('a status of a VirtualServer never says a generation that was not decided upon', async () => {
  const outcomes = new Set<string>();
  for (let seed = 1; seed <= 5; seed++) {
    const b = new Bench(seed);
    b.put(pool(), group('edge'), node('e1', ['192.0.2.1']), lease('e1'), service('default/web'), slice('default/web-1', 'web', ['10.1.0.1']));
    const ref = { backends: [{ serviceRef: { name: 'web' } }] };
    b.put(server('shop', ref));
    b.start();
    await b.settle();
    // Every second generation asks for a pool that there is not. Endpoints come and go meanwhile, so statuses are due at any time.
    for (let i = 0; i < 12; i++) {
      b.put(slice('default/web-1', 'web', i % 2 === 0 ? ['10.1.0.1', '10.1.0.2'] : ['10.1.0.1']));
      await b.pass(35 + seed);
      b.put(server('shop', i % 2 === 0 ? { ...ref, vip: { poolRef: { name: 'nowhere' } } } : ref));
      b.report('e1');
      await b.pass(60 + 7 * seed);
    }
    await b.settle();
    for (const { generation, reason } of said(b, 'VirtualServer', 'Accepted')) {
      outcomes.add(reason);
      if (reason !== 'Pending') assert.equal(reason, generation % 2 === 0 ? 'PoolNotFound' : 'Accepted', `seed ${seed}, generation ${generation}`);
    }
    await b.stopAll();
  }
  assert.deepEqual([outcomes.has('PoolNotFound'), outcomes.has('Accepted')], [true, true]);
});

test('a status of a DirectorGroup never speaks of a generation with the members of the one before', async () => {
  const outcomes = new Set<string>();
  for (let seed = 1; seed <= 5; seed++) {
    const b = new Bench(seed);
    const selects = (label: string): object => group('edge', { nodeSelector: { matchLabels: { [label]: '' } } });
    b.put(pool(), selects('edge'), node('e1', ['192.0.2.1'], { edge: '' }), lease('e1'), server('shop'));
    b.start();
    await b.settle();
    // Every second generation selects nobody. The director's VIPs come and go meanwhile, so statuses are due at any time.
    for (let i = 0; i < 12; i++) {
      b.api.putStatus(RESOURCES.VirtualIP as Resource, '203.0.113.1', { activeNode: i % 2 === 0 ? 'e1' : '' });
      await b.pass(35 + seed);
      b.put(selects(i % 2 === 0 ? 'nobody' : 'edge'));
      b.report('e1');
      await b.pass(60 + 7 * seed);
    }
    await b.settle();
    for (const { generation, reason } of said(b, 'DirectorGroup', 'Ready')) {
      outcomes.add(reason);
      assert.equal(reason === 'NoMembers', generation % 2 === 0, `seed ${seed}, generation ${generation}: ${reason}`);
    }
    await b.stopAll();
  }
  assert.equal(outcomes.has('NoMembers') && outcomes.size > 1, true);
});

test('who mended an object a moment ago is not told that its newest form is invalid', async () => {
  const b = new Bench();
  b.put(pool(), group('edge'), node('e1', ['192.0.2.1']), lease('e1'), server('shop'));
  b.start();
  await b.settle();
  const { metadata } = b.get('VirtualServer', 'default/shop')!;
  // As an older CRD let it in.
  const bad = { ...b.get('VirtualServer', 'default/shop')!, metadata: { ...metadata, generation: 2 }, spec: { mode: 'WRONG' } };
  b.api.cluster.replace('/apis/ipvs-operator.dev/v1alpha1/virtualservers', bad as unknown as KubeObject);
  // Mended just when the controller reads what it is to say that of.
  b.api.arrives = ({ verb, kind }) => { if (verb === 'get' && kind === 'VirtualServer' && b.get('VirtualServer', 'default/shop')!.metadata.generation === 2) b.put(server('shop')); };
  await b.settle();
  assert.equal(b.get('VirtualServer', 'default/shop')!.metadata.generation, 3);
  assert.deepEqual(said(b, 'VirtualServer', 'Accepted').filter(({ generation }) => generation === 3).map(({ reason }) => reason).filter((reason) => reason === 'InvalidSpec'), []);
  assert.equal(b.condition('default/shop', 'Accepted'), 'True Accepted');
  await b.stopAll();
});

test('an address is counted in the pool that it was taken from, also the second one of a VirtualServer with two pools', async () => {
  const b = new Bench();
  b.put(pool(), pool('six', { blocks: [{ cidr: '2001:db8::/124' }] }), group('edge'), node('e1', ['192.0.2.1']), lease('e1'));
  b.put(server('shop', { ...pin('203.0.113.2', '2001:db8::2'), ...endpoints('10.0.0.1', 'fd00::1') }));
  b.start();
  await b.settle();
  assert.equal(b.condition('default/shop', 'Accepted'), 'True Accepted');
  assert.deepEqual(b.all('VirtualIP').map((v) => [v.spec.address, v.spec.poolRef.name]).sort(), [['2001:db8::2', 'six'], ['203.0.113.2', 'public']]);
  assert.deepEqual(['public', 'six'].map((name) => b.get('VIPPool', name)?.status?.allocated), [{ ipv4: '1', ipv6: '0' }, { ipv4: '0', ipv6: '1' }]);
  await b.stopAll();
});

test('who was refused the address of a Service has it when the Service is gone, or has another', async () => {
  for (const pinned of [true, false]) {
    const b = new Bench();
    const at = (...clusterIPs: string[]): object => ({ ...service('default/web'), spec: { ports: [{ port: 80 }], clusterIPs } });
    // Before Kubernetes 1.33 nobody says which network the Services have.
    b.put(pool('public', { blocks: [{ cidr: '203.0.113.3/32' }] }), group('edge'), node('e1', ['192.0.2.1']), lease('e1'), at('203.0.113.3'));
    b.put(server('shop', pinned ? pin('203.0.113.3') : {}));
    b.start();
    await b.settle();
    assert.equal(b.condition('default/shop', 'Accepted'), pinned ? 'False AddressReserved' : 'False PoolExhausted');
    if (pinned) b.drop('Service', 'default/web');
    else b.put(at('10.96.0.7'));
    await b.settle();
    assert.equal(b.condition('default/shop', 'Accepted'), 'True Accepted');
    await b.stopAll();
  }
});
