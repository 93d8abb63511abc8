/**
 * The controller in its ordinary life, against an API server in memory: in which order it writes, what it writes again and what never,
 * and that whatever others did to its objects is put right.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { KubeObject, Resource } from '../../../src/kube/types.ts';
import { RESOURCES, type VirtualIP } from '../../../src/api/v1alpha1/index.ts';
import { Bench, coreEndpoints, lease, namespace, node, service, slice } from './bench.ts';
import { compile, endpoints, group, pin, pool, ports, server } from './compile/setup.ts';

const ref = (name: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({ backends: [{ serviceRef: { name, ...more } }] });
const realServers = (b: Bench, key: string): string[] | undefined => b.get('VirtualServerProgram', key)?.spec.services.flatMap((s) => s.realServers);
/** `fn` with the writes that were asked for meanwhile. */
async function during(b: Bench, work: () => Promise<void> | void): Promise<string[]> {
  const before = b.api.asked.length;
  await work();
  await b.settle();
  return b.api.asked.slice(before).map((w) => `${w.verb} ${w.kind} ${w.key}`).sort();
}

/** One director, one Service with two endpoints, and a VirtualServer that is Ready. */
async function ready(spec: Record<string, unknown> = {}): Promise<Bench> {
  const b = new Bench();
  b.put(pool(), group('edge', { nodeSelector: { matchLabels: { edge: '' } } }), node('e1', ['192.0.2.1'], { edge: '' }), lease('e1'));
  b.put(service('default/web'), slice('default/web-1', 'web', ['10.1.0.1', '10.1.0.2']), server('shop', { ...ref('web'), ...spec }));
  b.start();
  await b.settle();
  b.report('e1');
  await b.settle();
  assert.equal(b.condition('default/shop'), 'True Ready');
  return b;
}

test('an address is claimed before anybody is told to serve it, and given back after the program is gone', async () => {
  const b = await ready();
  b.drop('VirtualServer', 'default/shop');
  await b.settle();
  const order = b.api.writes.filter((w) => w.kind === 'VirtualIP' || w.kind === 'VirtualServerProgram').filter((w) => w.verb !== 'apply').map((w) => `${w.verb} ${w.kind}`);
  assert.deepEqual(order, ['create VirtualIP', 'create VirtualServerProgram', 'delete VirtualServerProgram', 'delete VirtualIP']);
  assert.deepEqual([b.all('VirtualIP'), b.all('VirtualServerProgram')], [[], []]);
  await b.stopAll();
});

test('an endpoint more is one write to directors; a Service that goes and comes again is followed', async () => {
  const b = await ready();
  assert.deepEqual(await during(b, async () => { b.put(slice('default/web-1', 'web', ['10.1.0.1', '10.1.0.2', '10.1.0.3'])); await b.pass(1_000); b.report('e1'); }), ['apply VirtualServer default/shop', 'update VirtualServerProgram default/shop'],
    'the count of real servers, later, and the program');
  assert.deepEqual(realServers(b, 'default/shop'), ['10.1.0.1|8080|1|', '10.1.0.2|8080|1|', '10.1.0.3|8080|1|']);
  b.report('e1');
  await b.settle();
  b.drop('Service', 'default/web');
  await b.settle();
  assert.deepEqual([realServers(b, 'default/shop'), b.condition('default/shop', 'ResolvedRefs')], [[], 'False ServiceNotFound']);
  b.put(service('default/web'));
  await b.settle();
  b.report('e1');
  await b.settle();
  assert.deepEqual([realServers(b, 'default/shop')?.length, b.condition('default/shop', 'ResolvedRefs'), b.condition('default/shop')], [3, 'True ResolvedRefs', 'True Ready']);
  await b.stopAll();
});

test('the label of weights of a node is followed: in the program at once, and named where it is none', async () => {
  const b = await ready({ backends: [{ weight: 100, serviceRef: { name: 'web' } }] });
  const w1 = (labels: Record<string, string>) => node('w1', ['192.0.2.11'], labels);
  const follow = async (...objects: KubeObject[]) => { b.put(...objects); await b.settle(); b.report('e1'); await b.settle(); return realServers(b, 'default/shop'); };
  const endpointsOn = slice('default/web-1', 'web', [{ addresses: ['10.1.0.1'], nodeName: 'w1' }, { addresses: ['10.1.0.2'], nodeName: 'w2' }]);
  assert.deepEqual(await follow(endpointsOn, w1({ 'ipvs-operator.dev/weight': '50' })), ['10.1.0.1|8080|50|w1', '10.1.0.2|8080|100|w2']);
  assert.deepEqual(await follow(w1({ 'ipvs-operator.dev/weight': '0' })), ['10.1.0.1|8080|0|w1', '10.1.0.2|8080|100|w2']);
  assert.deepEqual(await follow(w1({ 'ipvs-operator.dev/weight': 'heavy' })), ['10.1.0.1|8080|100|w1', '10.1.0.2|8080|100|w2']);
  assert.deepEqual([b.condition('default/shop'), b.condition('default/shop', 'Degraded')], ['True Ready', 'True InvalidNodeWeight']);
  assert.deepEqual(await follow(w1({})), ['10.1.0.1|8080|100|w1', '10.1.0.2|8080|100|w2']);
  assert.equal(b.condition('default/shop', 'Degraded'), 'none');
  await b.stopAll();
});

test('a Service whose Endpoints nobody mirrors into slices is read all the same', async () => {
  const b = await ready();
  b.put(service('default/byhand'), server('other', ref('byhand')));
  await b.settle();
  assert.deepEqual(realServers(b, 'default/other'), []);
  b.put(coreEndpoints('default/byhand', '10.3.0.1'));
  await b.settle();
  assert.deepEqual(realServers(b, 'default/other'), ['10.3.0.1|8080|1|']);
  await b.stopAll();
});

test('directors that follow a change one after the other are no news', async () => {
  const b = new Bench();
  b.put(pool(), group('edge'), ...['e1', 'e2', 'e3'].flatMap((n, i) => [node(n, [`192.0.2.${i + 1}`]), lease(n)]), server('shop', endpoints('10.0.0.1')));
  b.start();
  await b.settle();
  b.report('e1', 'e2', 'e3');
  await b.settle();
  assert.equal(b.condition('default/shop'), 'True Ready');
  const before = b.api.asked.length;
  b.put(server('shop', { ...endpoints('10.0.0.1'), drain: { timeoutSeconds: 7 } }));
  // A new generation is news; what follows is not.
  await b.pass(1_000);
  for (const n of ['e2', 'e3', 'e1']) { b.report(n); await b.pass(1_000); }
  await b.settle();
  const statuses = b.api.asked.slice(before).filter((w) => w.kind === 'VirtualServer');
  assert.equal(b.condition('default/shop'), 'True Ready');
  assert.ok(statuses.length <= 2, `${statuses.length} writes of status`);
  // Endpoints change without a new generation.
  b.put(service('default/web'), slice('default/web-1', 'web', ['10.1.0.1']), server('shop', ref('web')));
  await b.settle();
  b.report('e1', 'e2', 'e3');
  await b.settle();
  const changed = b.api.asked.length;
  b.put(slice('default/web-1', 'web', ['10.1.0.9']));
  await b.pass(1_000);
  for (const n of ['e2', 'e3', 'e1']) { b.report(n); await b.pass(1_000); }
  await b.settle();
  assert.deepEqual(b.api.asked.slice(changed).map((w) => `${w.verb} ${w.kind}`), ['update VirtualServerProgram']);
  await b.stopAll();
});

test('a VirtualServer that is deleted and made anew at once has a program of its own, before the old one is collected', async () => {
  const b = await ready();
  const old = b.get('VirtualServerProgram', 'default/shop')!;
  b.drop('VirtualServer', 'default/shop');
  b.put(server('shop', ref('web')));
  await b.pass(2_000);
  const { uid } = b.get('VirtualServer', 'default/shop')!.metadata;
  const now = b.get('VirtualServerProgram', 'default/shop')!;
  assert.deepEqual([now.spec.virtualServer.uid, now.metadata.ownerReferences?.[0]?.uid, now.metadata.uid], [uid, uid, old.metadata.uid], 'the same object, of another owner');
  assert.equal(b.get('VirtualIP', '203.0.113.1')?.spec.claims[0]?.uid, uid);
  await b.settle();
  assert.ok(b.get('VirtualServerProgram', 'default/shop'), 'nothing to collect');
  await b.stopAll();
});

for (const [what, spoil] of [
  ['the program has other real servers', (b: Bench) => b.put({ ...b.get('VirtualServerProgram', 'default/shop')!, spec: { ...b.get('VirtualServerProgram', 'default/shop')!.spec, services: [] } })],
  ['the program lost its labels', (b: Bench) => { const { labels: _, ...metadata } = b.get('VirtualServerProgram', 'default/shop')!.metadata; b.put({ ...b.get('VirtualServerProgram', 'default/shop')!, metadata }); }],
  ['the program is deleted', (b: Bench) => { b.drop('VirtualServerProgram', 'default/shop'); }],
  ['the VirtualIP is deleted', (b: Bench) => { b.drop('VirtualIP', '203.0.113.1'); }],
  ['the VirtualIP has another group', (b: Bench) => b.put({ ...b.get('VirtualIP', '203.0.113.1')!, spec: { ...b.get('VirtualIP', '203.0.113.1')!.spec, directorGroup: 'other' } })],
  ['the VirtualIP lost its label', (b: Bench) => { const { labels: _, ...metadata } = b.get('VirtualIP', '203.0.113.1')!.metadata; b.put({ ...b.get('VirtualIP', '203.0.113.1')!, metadata }); }],
  ['the IPVSNode directs nothing', (b: Bench) => b.put({ ...b.get('IPVSNode', 'e1')!, spec: { ...b.get('IPVSNode', 'e1')!.spec, directorGroups: [] } })],
  ['the IPVSNode is deleted', (b: Bench) => { b.drop('IPVSNode', 'e1'); }],
  ['the status says that it is not Ready', (b: Bench) => b.api.putStatus(RESOURCES.VirtualServer as Resource, 'default/shop', { conditions: [{ type: 'Ready', status: 'False', reason: 'No', message: 'edited', lastTransitionTime: '2026-01-01T00:00:00Z' }] })],
  ['the status has what nobody wrote', (b: Bench) => b.api.putStatus(RESOURCES.VirtualServer as Resource, 'default/shop', { excluded: [{ backend: '10.1.0.9', reason: 'PortRemapInDR', message: 'edited' }], excludedCount: 1 })],
  ['the status is empty', (b: Bench) => { b.api.cluster.replace('/apis/ipvs-operator.dev/v1alpha1/virtualservers', { ...b.get('VirtualServer', 'default/shop')!, status: {} } as KubeObject); }],
  ['the status of the pool is another', (b: Bench) => b.api.putStatus(RESOURCES.VIPPool as Resource, 'public', { allocated: { ipv4: '99', ipv6: '99' }, conditions: [] })],
  ['the status of the group names members that are none', (b: Bench) => b.api.putStatus(RESOURCES.DirectorGroup as Resource, 'edge', { members: [{ node: 'ghost', state: 'Live', ownedVIPs: 7 }] })],
  ['the status of the VirtualIP is another', (b: Bench) => b.api.putStatus(RESOURCES.VirtualIP as Resource, '203.0.113.1', { claims: 42, conditions: [] })],
  ['a program that nobody compiled', (b: Bench) => {
    const { metadata: { ownerReferences: _, uid: _u, resourceVersion: _r, ...metadata }, ...program } = b.get('VirtualServerProgram', 'default/shop')!;
    b.put({ ...program, metadata: { ...metadata, name: 'hostile' }, spec: { ...program.spec, virtualServer: { name: 'hostile', uid: 'x' }, addresses: [{ address: '169.254.169.254', family: 'IPv4' }] } });
  }],
  ['a VirtualIP that nobody claimed', (b: Bench) => b.put({ ...b.get('VirtualIP', '203.0.113.1')!, metadata: { name: '203.0.113.5' }, spec: { ...b.get('VirtualIP', '203.0.113.1')!.spec, address: '203.0.113.5', claims: [] } })],
] as const) {
  test(`what others did is put right, and then nothing more is written: ${what}`, async () => {
    const b = await ready();
    const was = b.picture();
    spoil(b);
    await b.settle();
    b.report('e1');
    await b.settle();
    assert.deepEqual(b.picture(), was);
    const asked = b.api.asked.length;
    await b.pass(60_000);
    assert.equal(b.api.asked.length, asked, 'it comes to rest');
    await b.stopAll();
    assert.equal((await b.runOnce('two')).asked, 0);
  });
}

test('an edit from DR to NAT with the VIP as the source: the director\'s own address is the source until nodes let go of the VIP', async () => {
  const b = new Bench();
  b.put(pool(), group('edge', { nodeSelector: { matchLabels: { edge: '' } } }), node('e1', ['192.0.2.1'], { edge: '' }), node('w1', ['192.0.2.11'], { role: 'web' }), node('w2', ['192.0.2.12'], { role: 'web' }), lease('e1'));
  const form = (spec: Record<string, unknown>) => server('shop', { ports: [{ port: 80 }], backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }], ...spec });
  const says = (boundVIPs: string[]) => { for (const name of ['w1', 'w2']) b.api.putStatus(RESOURCES.IPVSNode as Resource, name, { boundVIPs }); };
  const source = (): unknown => b.get('VirtualServerProgram', 'default/shop')?.spec.sourceAddress;
  b.put(form({ mode: 'DR' }));
  b.start();
  await b.settle();
  says(['203.0.113.1']);
  await b.settle();
  b.put(form({ mode: 'NAT', nat: { sourceAddress: 'VirtualIP' } }));
  await b.settle();
  assert.equal(source(), 'Masquerade');
  says([]);
  await b.settle();
  assert.equal(source(), 'VirtualIP');
  await b.stopAll();
});

test('in DR a node is told to receive first; when it says that it does, directors send', async () => {
  const b = new Bench();
  b.put(pool(), group('edge', { nodeSelector: { matchLabels: { edge: '' } } }), node('e1', ['192.0.2.1'], { edge: '' }), node('w1', ['192.0.2.11'], { role: 'web' }), node('w2', ['192.0.2.12'], { role: 'web' }), lease('e1'));
  b.put(server('shop', { mode: 'DR', ports: [{ port: 80 }], backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }] }));
  b.start();
  await b.settle();
  assert.deepEqual(b.get('IPVSNode', 'w1')?.spec.realServer.binds, [{ address: '203.0.113.1', family: 'IPv4', mode: 'DR', localAddress: '192.0.2.11', virtualServer: 'default/shop' }]);
  assert.deepEqual(realServers(b, 'default/shop'), []);
  b.report('e1');
  await b.settle();
  assert.match(b.get('VirtualServer', 'default/shop')!.status!.conditions!.find((c) => c.type === 'Ready')!.message, /waiting for w1, w2 to receive for the VIP/);
  b.api.putStatus(RESOURCES.IPVSNode as Resource, 'w2', { boundVIPs: ['203.0.113.1'] });
  await b.settle();
  assert.deepEqual(realServers(b, 'default/shop'), ['192.0.2.12|80|1|w2']);
  // An agent that starts anew says for a moment that it receives for nothing; traffic goes on.
  b.api.putStatus(RESOURCES.IPVSNode as Resource, 'w2', { boundVIPs: [] });
  b.put(namespace('other'));
  await b.settle();
  assert.deepEqual(realServers(b, 'default/shop'), ['192.0.2.12|80|1|w2']);
  // So it does over a restart of the controller.
  await b.stopAll();
  b.start('two');
  await b.settle();
  assert.deepEqual(realServers(b, 'default/shop'), ['192.0.2.12|80|1|w2']);
  // The node goes: directors stop sending before anybody is told to stop receiving, and its IPVSNode goes with it.
  b.drop('Node', 'w2');
  await b.settle();
  assert.deepEqual([realServers(b, 'default/shop'), b.get('IPVSNode', 'w2')], [[], undefined]);
  await b.stopAll();
});

test('a node that has no part any more keeps an empty IPVSNode, by which its agent cleans up', async () => {
  const b = await ready();
  b.put(node('e1', ['192.0.2.1'], {}));
  await b.settle();
  assert.deepEqual(b.get('IPVSNode', 'e1')?.spec.directorGroups, []);
  assert.equal(b.condition('default/shop', 'Programmed'), 'False NoDirector');
  await b.stopAll();
});

test('when the owner of a VIP is not live any more, nobody is told that clients are served', async () => {
  const b = new Bench();
  b.put(pool(), group('edge'), node('e1', ['192.0.2.1']), node('e2', ['192.0.2.2']), lease('e1'), lease('e2'), server('shop'));
  b.start();
  await b.settle();
  b.report('e1', 'e2');
  await b.settle();
  assert.equal(b.condition('default/shop'), 'True Ready');
  b.drop('Lease', 'ipvs-system/director-e1');
  await b.settle();
  assert.equal(b.condition('default/shop'), 'False NoOwner');
  assert.match(b.get('VirtualServer', 'default/shop')!.status!.conditions!.find((c) => c.type === 'Ready')!.message, /^e1, which held 203\.0\.113\.1, is not live/);
  b.api.putStatus(RESOURCES.VirtualIP as Resource, '203.0.113.1', { activeNode: 'e2' });
  await b.settle();
  assert.equal(b.condition('default/shop'), 'True Ready');
  await b.stopAll();
});

test('a restart writes nothing, whatever is there: shared addresses, ranges, slices, DR, refused ones', async () => {
  const b = new Bench();
  const many = Array.from({ length: 1_050 }, (_, i) => `10.2.${i >> 8}.${i & 255}`);
  b.put(pool(), pool('static', { blocks: [{ cidr: '198.51.100.0/24' }], default: false }), group('edge', { nodeSelector: { matchLabels: { edge: '' } } }), node('e1', ['192.0.2.1'], { edge: '' }), node('w1', ['192.0.2.11'], { role: 'web' }), lease('e1'));
  b.put(service('default/big'), ...Array.from({ length: 11 }, (_, i) => slice(`default/big-${i}`, 'big', many.slice(i * 100, i * 100 + 100))));
  b.put(
    server('a', ref('big')), server('b', { ...ports(81), vip: { sharedFrom: { name: 'a' } } }), server('c', ports([3000, 3010])), server('d', { ...ports(80, 443), persistence: { timeoutSeconds: 60, scope: 'AllPorts' } }),
    server('e', { mode: 'DR', backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }] }), server('f', pin('192.0.2.99')), server('g', { suspend: true }), server('h', ref('nowhere')),
  );
  b.start();
  await b.settle();
  b.report('e1', 'w1');
  await b.settle();
  b.report('e1', 'w1');
  await b.settle();
  assert.deepEqual([b.get('VirtualServerProgram', 'default/a')?.spec.slice, b.get('VirtualServerProgram', 'default/a.1')?.spec.slice], [{ index: 0, count: 2 }, { index: 1, count: 2 }]);
  const was = b.picture();
  await b.stopAll();
  for (const who of ['two', 'three']) {
    const { asked } = await b.runOnce(who);
    assert.equal(asked, 0, JSON.stringify(b.api.asked.slice(-asked)));
  }
  assert.deepEqual(b.picture(), was);
});

test('the second slice is there before the first one says so, and goes after it', async () => {
  const b = await ready();
  const many = Array.from({ length: 1_500 }, (_, i) => `10.2.${i >> 8}.${i & 255}`);
  const before = b.api.writes.length;
  b.put(slice('default/web-1', 'web', many));
  await b.settle();
  b.put(slice('default/web-1', 'web', many.slice(0, 3)));
  await b.settle();
  const order = b.api.writes.slice(before).filter((w) => w.kind === 'VirtualServerProgram').map((w) => `${w.verb} ${w.key}`);
  assert.deepEqual(order, ['create default/shop.1', 'update default/shop', 'update default/shop', 'delete default/shop.1']);
  await b.stopAll();
});

test('two controllers that never heard of each other settle, and no address is two\'s', async () => {
  const b = new Bench(1, 300);
  const unsound: string[] = [];
  b.api.changed = ({ object, type }) => {
    if (object.kind !== 'VirtualIP' || type === 'DELETED') return;
    const { address, claims } = (object as unknown as VirtualIP).spec;
    if (claims.length > 1) unsound.push(`${address} is of ${claims.map((c) => `${c.namespace}/${c.name}`).join(' and ')}`);
  };
  b.put(pool('public', { blocks: [{ cidr: '203.0.113.0/24' }] }), group('edge'), node('e1', ['192.0.2.1']), lease('e1'));
  b.start('one');
  b.start('two');
  await b.pass(3_000);
  for (let i = 0; i < 40; i++) { b.put(server(`ns-${i % 7}/s${i}`)); if (i % 5 === 0) await b.pass(37); }
  await b.settle();
  assert.deepEqual(unsound, [], 'at no moment');
  const held = b.all('VirtualIP').flatMap((v) => v.spec.claims.map((c) => `${c.namespace}/${c.name}`));
  assert.deepEqual([held.length, new Set(held).size, b.all('VirtualIP').length, b.all('VirtualServerProgram').length], [40, 40, 40, 40], 'one address each');
  const asked = b.api.asked.length;
  await b.pass(30_000);
  assert.equal(b.api.asked.length, asked, 'no flapping');
  await b.stopAll();
});

test('two controllers that have two last good forms of one that is refused agree on what is written', async () => {
  const b = new Bench(1, 5);
  b.put(pool(), group('edge'), node('e1', ['192.0.2.1']), lease('e1'), server('shop', endpoints('10.0.0.1')));
  b.start('one');
  await b.settle();
  b.put(server('shop', endpoints('10.0.0.2')));
  await b.settle();
  b.put(group('core'));
  await b.settle();
  assert.equal(b.condition('default/shop', 'Accepted'), 'False Pending', 'which group?');
  // The other one accepted what this one refused.
  const other = compile({ servers: [server('shop', endpoints('10.0.0.3'))], groups: [group('edge')] }).verdicts['default/shop']!.program!;
  const written = b.get('VirtualServerProgram', 'default/shop')!;
  b.put({ ...written, spec: { ...written.spec, contentHash: other.spec.contentHash, services: other.spec.services } });
  await b.settle();
  assert.deepEqual(realServers(b, 'default/shop'), ['10.0.0.3|80|1|']);
  // What no controller wrote is nobody's last good form.
  b.put({ ...written, spec: { ...written.spec, services: [] } });
  await b.settle();
  assert.deepEqual(realServers(b, 'default/shop'), ['10.0.0.3|80|1|']);
  await b.stopAll();
});

test('the pool counts what its VirtualIPs say, also the address of one that is refused now and served on', async () => {
  const b = await ready(pin('203.0.113.2'));
  assert.deepEqual(b.get('VIPPool', 'public')?.status?.allocated, { ipv4: '1', ipv6: '0' });
  b.put(server('shop', { ...ref('web'), ...pin('192.0.2.77') }));
  await b.settle();
  assert.deepEqual([b.condition('default/shop', 'Accepted'), b.get('VirtualIP', '203.0.113.2')?.spec.poolRef.name, b.get('VIPPool', 'public')?.status?.allocated], ['False AddressOutsidePools', 'public', { ipv4: '1', ipv6: '0' }]);
  await b.stopAll();
});

test('a VirtualServer that waits for its DirectorGroup has nothing; one that lost it keeps what it had', async () => {
  const b = new Bench();
  b.put(pool('public', { directorGroupRef: { name: 'edge' } }), server('shop'));
  b.start();
  await b.settle();
  assert.deepEqual([b.condition('default/shop', 'Accepted'), b.all('VirtualIP')], ['False Pending', []]);
  b.put(group('edge'));
  await b.settle();
  assert.deepEqual([b.condition('default/shop', 'Accepted'), b.get('VirtualIP', '203.0.113.1')?.spec.directorGroup], ['True Accepted', 'edge']);
  b.drop('DirectorGroup', 'edge');
  b.put(server('shop', pin('203.0.113.4')));
  await b.settle();
  b.drop('VirtualIP', '203.0.113.1');
  await b.settle();
  const vip = b.get('VirtualIP', '203.0.113.1');
  assert.deepEqual([b.condition('default/shop', 'Accepted'), b.condition('default/shop', 'Degraded'), b.all('VirtualIP').length, vip?.spec.poolRef.name], ['False Pending', 'True UsingLastGood', 1, 'public']);
  await b.stopAll();
});

test('a VirtualServer that is made anew and refused has nothing of the one before it', async () => {
  for (const restart of [false, true]) {
    const b = await ready();
    if (restart) await b.stopAll();
    b.drop('VirtualServer', 'default/shop');
    b.put(server('shop', { ...ref('web'), ...pin('192.0.2.200') }));
    if (restart) b.start('two');
    await b.settle();
    assert.deepEqual([b.condition('default/shop', 'Accepted'), b.condition('default/shop', 'Degraded'), b.all('VirtualIP'), b.all('VirtualServerProgram')], ['False AddressOutsidePools', 'none', [], []], `restart: ${restart}`);
    await b.stopAll();
  }
});

test('nobody gets the address of the API server, of a node, or one of the Pod or Service network', async () => {
  const b = new Bench();
  b.put(pool('public', { blocks: [{ cidr: '192.0.2.0/24' }] }), node('n1', ['192.0.2.1'], {}, ['192.0.2.32/28']));
  b.put({ apiVersion: 'networking.k8s.io/v1', kind: 'ServiceCIDR', metadata: { name: 'kubernetes' }, spec: { cidrs: ['192.0.2.64/28'] } });
  b.put(service('default/kubernetes', { name: 'https', port: 443 }), slice('default/kubernetes', 'kubernetes', ['192.0.2.7'], [{ name: 'https', port: 6443, protocol: 'TCP' }]));
  b.put(...['192.0.2.1', '192.0.2.33', '192.0.2.65', '192.0.2.7'].map((a, i) => server(`s${i}`, pin(a))), server('auto'));
  b.start();
  await b.settle();
  assert.deepEqual(['s0', 's1', 's2', 's3'].map((n) => b.condition(`default/${n}`, 'Accepted')), Array(4).fill('False AddressReserved'));
  assert.equal(b.get('VirtualServer', 'default/auto')?.status?.addresses?.[0]?.value, '192.0.2.2');
  assert.deepEqual(b.get('IPVSNode', 'n1')?.spec.reservedAddresses ?? ['192.0.2.1', '192.0.2.7'], ['192.0.2.1', '192.0.2.7']);
  // The API server moves: what was claimed stays, what was free is taken.
  b.put(slice('default/kubernetes', 'kubernetes', ['192.0.2.8'], [{ name: 'https', port: 6443, protocol: 'TCP' }]));
  await b.settle();
  assert.equal(b.condition('default/s3', 'Accepted'), 'True Accepted');
  await b.stopAll();
});

test('the 257th VirtualServer on one address is refused, and the 256 are served', async () => {
  const b = new Bench(1, 4);
  b.put(pool(), group('edge'), node('e1', ['192.0.2.1']), server('a', ports(1)));
  for (let i = 2; i <= 257; i++) b.put(server(`b${String(i).padStart(3, '0')}`, { ...ports(i), vip: { sharedFrom: { name: 'a' } } }));
  b.start();
  await b.settle();
  assert.equal(b.get('VirtualIP', '203.0.113.1')?.spec.claims.length, 256);
  assert.equal(b.all('VirtualServerProgram').length, 256);
  assert.equal(b.condition('default/b257', 'Accepted'), 'False AddressInUse');
  await b.stopAll();
});
