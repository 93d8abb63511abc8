/**
 * The controller when something is in its way: somebody was quicker, the server refuses one object, answers are lost, objects fail their
 * schema, history is rewritten. One thing that goes wrong stops nothing else, and nobody loses an address by it.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { KubeClient } from '../../../src/kube/client.ts';
import { keyOf, type KubeObject, type Resource } from '../../../src/kube/types.ts';
import { RESOURCES } from '../../../src/api/v1alpha1/index.ts';
import { ApiError } from '../../../src/kube/errors.ts';
import { hashOf } from '../../../src/controller/compile/compile.ts';
import { Refusal } from '../kube/fake-cluster.ts';
import type { Call } from './fake-api.ts';
import { Bench, lease, node, service, slice } from './bench.ts';
import { endpoints, group, pin, pool, ports, server } from './compile/setup.ts';

const SERVERS = '/apis/ipvs-operator.dev/v1alpha1/virtualservers';
const addressesOf = (o: KubeObject | undefined): string[] => (o as unknown as { spec: { addresses: { address: string }[] } }).spec.addresses.map((a) => a.address);
const realServers = (b: Bench, key: string): string[] | undefined => b.get('VirtualServerProgram', key)?.spec.services.flatMap((s) => s.realServers);

function bench(...objects: object[]): Bench {
  const b = new Bench();
  b.put(pool(), group('edge'), node('e1', ['192.0.2.1']), lease('e1'), ...objects);
  return b;
}

/** An object that no schema would let in, as an older CRD did. */
function putInvalid(b: Bench, object: KubeObject, spec: Record<string, unknown> = { mode: 'WRONG' }): void {
  const { group: api, version, plural } = RESOURCES[object.kind as 'VirtualServer'];
  const collection = `/apis/${api}/${version}/${plural}`;
  const old = b.api.find(RESOURCES[object.kind as 'VirtualServer'] as unknown as Resource<KubeObject>, keyOf(object));
  if (old) b.api.cluster.replace(collection, { ...old, metadata: { ...old.metadata, generation: (old.metadata.generation ?? 1) + 1 }, spec } as unknown as KubeObject);
  else b.api.cluster.create(collection, { ...object, metadata: { ...object.metadata, generation: 1 }, spec } as unknown as KubeObject);
}

for (const [what, spec] of [['pinned', pin('203.0.113.3')], ['allocated', {}]] as const) {
  test(`who was not quick enough for an address, ${what}, never has a program with it`, async () => {
    const b = bench(server('tenant/late', spec));
    // Another controller, with another VirtualServer, is a moment earlier.
    let once = true;
    b.api.arrives = ({ verb, kind, object }) => {
      if (verb !== 'create' || kind !== 'VirtualIP' || !once) return;
      once = false;
      const { metadata: { name }, spec: { address } } = object as never as { metadata: { name: string }; spec: { address: string } };
      b.put(server('other/quick', pin(address)));
      b.put({ ...object!, metadata: { name }, spec: { ...(object as never as { spec: object }).spec, claims: [{ namespace: 'other', name: 'quick', uid: b.get('VirtualServer', 'other/quick')!.metadata.uid!, ports: ['TCP/80-80'] }] } });
    };
    b.start();
    await b.settle();
    const taken = b.get('VirtualServerProgram', 'other/quick')!.spec.addresses[0]!.address;
    for (const { object, verb } of b.api.asked.filter((w) => w.kind === 'VirtualServerProgram' && w.key === 'tenant/late')) assert.ok(!addressesOf(object).includes(taken), `${verb} of a program with ${taken}`);
    const late = b.get('VirtualServerProgram', 'tenant/late');
    if (what === 'pinned') assert.deepEqual([late, b.condition('tenant/late', 'Accepted'), b.get('VirtualServer', 'tenant/late')?.status?.addresses], [undefined, 'False AddressInUse', []]);
    else assert.notEqual(addressesOf(late)[0], taken);
    await b.stopAll();
  });
}

test('who wants to move and is not quick enough is served where it was', async () => {
  const b = bench(server('tenant/shop', pin('203.0.113.2')));
  b.start();
  await b.settle();
  let once = true;
  b.api.arrives = ({ verb, kind, object }) => {
    if (verb !== 'create' || kind !== 'VirtualIP' || !once) return;
    once = false;
    b.put(server('other/quick', pin('203.0.113.3')));
    b.put({ ...object!, spec: { ...(object as never as { spec: object }).spec, claims: [{ namespace: 'other', name: 'quick', uid: b.get('VirtualServer', 'other/quick')!.metadata.uid!, ports: ['TCP/80-80'] }] } });
  };
  b.put(server('tenant/shop', { ...pin('203.0.113.3'), ...endpoints('10.0.0.99') }));
  await b.settle();
  assert.deepEqual(addressesOf(b.get('VirtualServerProgram', 'tenant/shop')), ['203.0.113.2']);
  assert.deepEqual([b.condition('tenant/shop', 'Accepted'), b.condition('tenant/shop', 'Degraded')], ['False AddressInUse', 'True UsingLastGood']);
  assert.deepEqual(b.get('VirtualIP', '203.0.113.2')?.spec.claims.map((c) => c.name), ['shop']);
  await b.stopAll();
});

test('a cache of VirtualServers that is behind that of VirtualIPs takes nothing away', async () => {
  const b = bench();
  const before = String(b.api.cluster.version);
  b.put(server('shop', pin('203.0.113.2')));
  b.start('one');
  await b.settle();
  // The next leader has not heard of the VirtualServer yet, and of all that was made of it.
  const client = b.api.client('two');
  let release = (): void => {};
  const released = new Promise<void>((go) => { release = go; });
  const behind: KubeClient = {
    ...client,
    list: async (resource, options) => (resource.kind === 'VirtualServer' ? { items: [], resourceVersion: before } : await client.list(resource, options)),
    watch: async function* (resource, options) {
      if (resource.kind === 'VirtualServer') await Promise.race([released, new Promise((go) => { options.signal?.addEventListener('abort', go); })]);
      yield* client.watch(resource, options);
    },
  };
  b.start('two', { client: behind });
  await b.pass(20_000);
  b.put(server('wants-it', pin('203.0.113.2')));
  await b.pass(20_000);
  const writes = (who: string) => b.api.asked.filter((c) => c.who === who && (c.kind === 'VirtualIP' || c.kind === 'VirtualServerProgram')).map((c) => `${c.verb} ${c.key}`);
  assert.deepEqual([writes('two'), b.get('VirtualIP', '203.0.113.2')?.spec.claims.map((c) => c.name), b.get('VirtualServerProgram', 'default/shop') !== undefined], [[], ['shop'], true]);
  release();
  await b.settle();
  assert.deepEqual(b.get('VirtualIP', '203.0.113.2')?.spec.claims.map((c) => c.name), ['shop']);
  await b.stopAll();
});

for (const [what, refused] of [
  ['a program', (c: Call) => c.kind === 'VirtualServerProgram' && c.key === 'default/bad'],
  ['a VirtualIP', (c: Call) => c.kind === 'VirtualIP' && c.key === '203.0.113.6'],
  ['an IPVSNode', (c: Call) => c.kind === 'IPVSNode' && c.key === 'e2'],
  ['a status', (c: Call) => c.kind === 'VirtualServer' && c.key === 'default/bad'],
] as const) {
  test(`what the server refuses for ever stops nothing else: ${what}`, async () => {
    const b = bench(node('e2', ['192.0.2.2']), server('bad', pin('203.0.113.6')), server('gone', pin('203.0.113.5')));
    b.api.arrives = (c) => { if (c.verb !== 'get' && c.verb !== 'list' && refused(c)) throw new Refusal(422, 'Invalid', 'no, never'); };
    b.start();
    // Long enough for every wait between tries to be at its longest.
    await b.pass(120_000);
    const from = b.api.asked.length;
    b.put(server('good', pin('203.0.113.4')));
    b.drop('VirtualServer', 'default/gone');
    await b.pass(2_000);
    assert.deepEqual([b.get('VirtualServerProgram', 'default/good') !== undefined, b.condition('default/good', 'Accepted'), b.get('VirtualServerProgram', 'default/gone'), b.get('VirtualIP', '203.0.113.5')], [true, 'True Accepted', undefined, undefined]);
    await b.pass(60_000);
    // Who looks at it must not be told to wait for directors.
    if (what === 'a program') assert.match(b.get('VirtualServer', 'default/bad')!.status!.conditions!.find((c) => c.type === 'Ready')!.message, /the API server does not take its program, .*no, never/);
    const tries = b.api.asked.slice(from).filter((c) => refused(c)).length;
    assert.ok(tries >= 2 && tries <= 70, `${tries} tries in a minute`);
    b.api.arrives = () => {};
    await b.settle();
    assert.deepEqual([b.get('VirtualServerProgram', 'default/bad') !== undefined, b.get('VirtualIP', '203.0.113.6') !== undefined, b.get('IPVSNode', 'e2') !== undefined, b.condition('default/bad', 'Accepted')], [true, true, true, 'True Accepted']);
    await b.stopAll();
  });
}

test('an address is not given back while a program may still lead to it', async () => {
  const b = bench(server('shop', pin('203.0.113.2')));
  b.start();
  await b.settle();
  b.api.arrives = ({ verb, kind }) => { if (verb === 'delete' && kind === 'VirtualServerProgram') throw new Refusal(500, 'InternalError', 'not now'); };
  b.drop('VirtualServer', 'default/shop');
  await b.pass(30_000);
  assert.notEqual(b.get('VirtualIP', '203.0.113.2'), undefined);
  b.api.arrives = () => {};
  await b.settle();
  assert.deepEqual([b.all('VirtualIP'), b.all('VirtualServerProgram')], [[], []]);
  await b.stopAll();
});

test('somebody deletes a VirtualIP: its address is nobody else\'s, although one waits for it', async () => {
  const b = new Bench();
  b.put(pool('public', { blocks: [{ cidr: '203.0.113.1/32' }] }), group('edge'), node('e1', ['192.0.2.1']), lease('e1'), server('shop'));
  b.start();
  await b.settle();
  b.put(server('a-newcomer'));
  await b.settle();
  assert.equal(b.condition('default/a-newcomer', 'Accepted'), 'False PoolExhausted');
  b.drop('VirtualIP', '203.0.113.1');
  await b.settle();
  assert.deepEqual(b.get('VirtualIP', '203.0.113.1')?.spec.claims.map((c) => c.name), ['shop']);
  // The same while no controller looks.
  await b.stopAll();
  b.drop('VirtualIP', '203.0.113.1');
  b.start('two');
  await b.settle();
  assert.deepEqual(b.get('VirtualIP', '203.0.113.1')?.spec.claims.map((c) => c.name), ['shop']);
  await b.stopAll();
});

test('somebody empties the claims of a VirtualIP just before its status is written: the answer has both, and the claims are put right', async () => {
  const b = bench(server('shop', pin('203.0.113.2')));
  let emptied = 0;
  b.api.arrives = ({ verb, kind }) => {
    const vip = b.get('VirtualIP', '203.0.113.2');
    if (verb !== 'apply' || kind !== 'VirtualIP' || emptied++ > 0) return;
    b.put({ ...vip!, spec: { ...vip!.spec, claims: [] } });
  };
  b.start();
  await b.settle();
  assert.ok(emptied > 0);
  assert.deepEqual(b.get('VirtualIP', '203.0.113.2')?.spec.claims.map((c) => c.name), ['shop']);
  await b.stopAll();
});

test('an address that another controller claims while our pass runs is not given back at its end, and not written over', async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const b = new Bench(seed);
    b.put(pool(), group('edge'), node('e1', ['192.0.2.1']), lease('e1'), server('ours', pin('203.0.113.2')));
    const others = [] as string[];
    b.api.arrives = ({ who, verb, kind, object }) => {
      if (who !== 'one' || verb !== 'create' || kind !== 'VirtualIP' || others.length > 0) return;
      for (const last of [3, 4]) {
        const [address, key] = [`203.0.113.${last}`, `other/s${last}`];
        b.put(server(key, pin(address)));
        b.put({ ...object!, metadata: { ...object!.metadata, name: address }, spec: { ...(object as never as { spec: object }).spec, address, claims: [{ namespace: 'other', name: `s${last}`, uid: b.get('VirtualServer', key)!.metadata.uid!, ports: ['TCP/80-80'] }] } });
        others.push(address);
      }
    };
    b.start();
    await b.settle();
    assert.equal(others.length, 2);
    assert.deepEqual(b.api.asked.filter((c) => c.kind === 'VirtualIP' && (c.verb === 'delete' || (c.verb !== 'apply' && others.includes(c.key)))).map((c) => `${c.verb} ${c.key}`), [], `seed ${seed}`);
    assert.equal(b.all('VirtualServerProgram').length, 3);
    await b.stopAll();
  }
});

test('what was written and deleted by somebody before any cache heard of it is written again', async () => {
  const b = bench(server('shop', pin('203.0.113.2')));
  // The watches break in the moment of the create, and when they are back there is nothing.
  b.api.changed = ({ object, type }) => {
    if (type !== 'ADDED' || object.kind !== 'VirtualIP') return;
    b.api.changed = () => {};
    b.api.breakWatches();
    setImmediate(() => {
      b.drop('VirtualIP', '203.0.113.2');
      b.api.cluster.compact();
    });
  };
  b.start();
  await b.pass(120_000);
  assert.notEqual(b.get('VirtualIP', '203.0.113.2'), undefined);
  await b.stopAll();
});

test('a VirtualServer that fails its schema is told so, once, and the others are served', async () => {
  const b = bench(server('good'));
  putInvalid(b, server('bad') as unknown as KubeObject);
  b.start();
  await b.settle();
  assert.deepEqual([b.condition('default/good', 'Accepted'), b.condition('default/good', 'Programmed')], ['True Accepted', 'False Pending']);
  const conditions = (key: string) => (b.api.cluster.get(SERVERS, key) as unknown as { status?: { conditions: { type: string; status: string; reason: string; message: string }[] } }).status?.conditions ?? [];
  assert.deepEqual(conditions('default/bad').map((c) => `${c.type} ${c.status} ${c.reason}`), ['Accepted False InvalidSpec', 'Stalled True InvalidSpec', 'Ready False NotAccepted']);
  assert.match(conditions('default/bad')[0]!.message, /spec\.mode/);
  await b.stopAll();
  assert.equal((await b.runOnce('two')).asked, 0, 'a restart says nothing new');
  b.put(server('bad'));
  b.start('three');
  await b.settle();
  assert.deepEqual([b.condition('default/bad', 'Accepted'), b.condition('default/bad', 'Stalled')], ['True Accepted', 'none']);
  await b.stopAll();
});

test('pools and groups that fail their schema are told so', async () => {
  const b = bench();
  putInvalid(b, pool('second') as unknown as KubeObject, { blocks: 'all' });
  putInvalid(b, group('core') as unknown as KubeObject, { interface: 7 });
  b.start();
  await b.settle();
  for (const [plural, name] of [['vippools', 'second'], ['directorgroups', 'core']] as const) {
    const { status } = b.api.cluster.get(`/apis/ipvs-operator.dev/v1alpha1/${plural}`, name) as unknown as { status?: { conditions: { type: string; status: string; reason: string }[] } };
    assert.deepEqual(status?.conditions.map((c) => `${c.type} ${c.status} ${c.reason}`), ['Ready False InvalidSpec'], plural);
  }
  await b.stopAll();
  assert.equal((await b.runOnce('two')).asked, 0);
});

test('a thousand VirtualServers that fail their schema do not delay a valid one', async () => {
  const b = bench();
  for (let i = 0; i < 1_000; i++) putInvalid(b, server(`bad${i}`) as unknown as KubeObject);
  b.start();
  while (b.api.asked.length === 0) await b.pass(10);
  b.put(server('good'));
  const from = b.api.asked.length;
  while (!b.get('VirtualServerProgram', 'default/good')) await b.pass(10);
  assert.ok(b.api.asked.length - from < 200, `${b.api.asked.length - from} writes before`);
  await b.settle();
  const invalid = b.api.cluster.all(SERVERS).filter((o) => (o as unknown as { status?: { conditions: { reason: string }[] } }).status?.conditions[0]?.reason === 'InvalidSpec');
  assert.equal(invalid.length, 1_000);
  await b.stopAll();
});

for (const [what, spoil] of [
  ['the VirtualServer', (b: Bench) => putInvalid(b, server('shop') as unknown as KubeObject)],
  ['its pool', (b: Bench) => putInvalid(b, pool() as unknown as KubeObject, { blocks: 'all' })],
  ['its DirectorGroup', (b: Bench) => putInvalid(b, group('edge') as unknown as KubeObject, { interface: 7 })],
] as const) {
  test(`what is served goes on when, over a restart, ${what} fails its schema; and ends when it is deleted`, async () => {
    const b = bench(server('shop', pin('203.0.113.2')), server('other'));
    b.start();
    await b.settle();
    const machines = () => ['VirtualIP', 'VirtualServerProgram', 'IPVSNode'].map((kind) => b.all(kind as 'VirtualIP').map((o) => o.metadata.resourceVersion));
    const was = machines();
    await b.stopAll();
    spoil(b);
    b.start('two');
    await b.settle();
    b.put(server('third'));
    await b.settle();
    assert.deepEqual(machines().map((list, i) => list.slice(0, was[i]!.length)), was, 'nothing of it was written');
    if (what !== 'its DirectorGroup') {
      b.drop('VirtualServer', 'default/shop');
      await b.settle();
      assert.deepEqual([b.get('VirtualServerProgram', 'default/shop'), b.get('VirtualIP', '203.0.113.2')], [undefined, undefined]);
    } else {
      b.drop('DirectorGroup', 'edge');
      await b.settle();
      assert.deepEqual(b.get('IPVSNode', 'e1')?.spec.directorGroups, []);
    }
    await b.stopAll();
  });
}

test('a namespace that is going refuses new programs; the rest goes on, and in the end nothing of it is left', async () => {
  const b = bench(server('tenant/shop'), server('shop'));
  b.start();
  await b.settle();
  b.api.arrives = ({ verb, key }) => { if (verb === 'create' && key.startsWith('tenant/')) throw new Refusal(403, 'Forbidden', 'namespace tenant is being terminated'); };
  b.drop('VirtualServerProgram', 'tenant/shop');
  await b.pass(20_000);
  b.put(server('new'));
  await b.pass(2_000);
  assert.notEqual(b.get('VirtualServerProgram', 'default/new'), undefined);
  b.drop('VirtualServer', 'tenant/shop');
  await b.settle();
  assert.deepEqual(b.all('VirtualIP').flatMap((v) => v.spec.claims.map((c) => `${c.namespace}/${c.name}`)).sort(), ['default/new', 'default/shop']);
  await b.stopAll();
});

for (const address of ['nonsense', '203.0.113.05', '2001:DB8::1', '::ffff:203.0.113.1']) {
  test(`a program that somebody wrote with an address that is none stops nobody, and is written anew: ${address}`, async () => {
    const b = bench(server('shop'), server('other'));
    b.start();
    await b.settle();
    await b.stopAll();
    const { spec, ...shop } = b.get('VirtualServerProgram', 'default/shop')!;
    const wrong = { ...spec, addresses: [{ address, family: 'IPv4' as const }] };
    b.put({ ...shop, spec: { ...wrong, contentHash: hashOf({ ...wrong, tunnel: null, persistence: null }) } });
    b.drop('VirtualIP', spec.addresses[0]!.address);
    b.start('two');
    await b.settle();
    b.put({ ...shop, spec: { ...wrong, contentHash: hashOf({ ...wrong, tunnel: null, persistence: null }) } });
    b.put(server('third'));
    await b.settle();
    for (const name of ['shop', 'other', 'third']) assert.match(addressesOf(b.get('VirtualServerProgram', `default/${name}`)).join(), /^203\.0\.113\.[1-6]$/);
    await b.stopAll();
  });
}

test('an API server that is away is not asked for everything that is to be written, and afterwards all of it is', async () => {
  const b = bench(service('default/web'), slice('default/web-1', 'web', ['10.1.0.1']));
  b.put(pool('big', { blocks: [{ cidr: '198.18.0.0/16' }], default: false }));
  for (let i = 0; i < 150; i++) b.put(server(`s${i}`, { vip: { poolRef: { name: 'big' } }, backends: [{ serviceRef: { name: 'web' } }] }));
  const { log } = b.start();
  await b.settle();
  b.report('e1');
  await b.settle();
  let calls = 0;
  b.api.arrives = ({ verb }) => {
    if (verb === 'list') return;
    calls++;
    throw new ApiError({ code: 'UNREACHABLE', message: 'connect ECONNREFUSED', verb: 'PUT', path: '/' });
  };
  const lines = log.lines.length;
  b.put(slice('default/web-1', 'web', ['10.1.0.2']));
  b.drop('Lease', 'ipvs-system/director-e1');
  await b.pass(60_000);
  assert.ok(calls > 10 && calls < 1_500, `${calls} calls for 300 writes in a minute`);
  assert.ok(log.lines.length - lines < 2_000, `${log.lines.length - lines} lines of log`);
  b.api.arrives = () => {};
  await b.settle();
  assert.deepEqual([realServers(b, 'default/s0'), realServers(b, 'default/s149'), b.condition('default/s149', 'Programmed')], [['10.1.0.2|8080|1|'], ['10.1.0.2|8080|1|'], 'False NoDirector']);
  await b.stopAll();
});

test('every seventh call fails in some way, and it ends as if none had', async () => {
  for (const seed of [5, 6, 7]) {
    const b = new Bench(seed, 30);
    let n = 0;
    b.api.arrives = ({ verb }) => {
      if (verb === 'list' || n++ % 7 !== 0) return;
      throw new Refusal([500, 503, 429, 409][n % 4]!, ['InternalError', 'ServiceUnavailable', 'TooManyRequests', 'Conflict'][n % 4]!, 'try again');
    };
    b.put(pool('public', { blocks: [{ cidr: '203.0.113.0/26' }] }), group('edge'), node('e1', ['192.0.2.1']), lease('e1'));
    b.start();
    for (let i = 0; i < 40; i++) { b.put(server(`s${i % 25}`, ports(80 + i))); await b.pass(100); if (i % 4 === 3) b.drop('VirtualServer', `default/s${i % 25}`); }
    await b.settle();
    b.api.arrives = () => {};
    await b.stopAll();
    const was = b.picture();
    assert.equal((await b.runOnce('two')).asked, 0);
    assert.deepEqual(b.picture(), was);
    assert.equal(b.all('VirtualServerProgram').length, b.all('VirtualServer').length);
  }
});
