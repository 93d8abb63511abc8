/**
 * The life of controllers on a real API server: a restart that writes nothing, two at once, one that takes over from one that was killed,
 * and deletions in every order, after which nothing is left.
 */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VirtualIP, VirtualServerProgram } from '../../src/api/v1alpha1/index.ts';
import { endpointSlice, group, pool, startBench, toService, toStatic, virtualServer, SYSTEM, type Bench, type Running } from './controller-bench.ts';
import { namespace, node, service } from './objects.ts';

const folder = mkdtempSync(join(tmpdir(), 'ipvs-controller-life-'));
const KINDS = ['VirtualServer', 'VirtualIP', 'VirtualServerProgram', 'IPVSNode', 'VIPPool', 'DirectorGroup'] as const;
let bench: Bench;

before(async () => {
  bench = await startBench({ folder });
  await bench.post(namespace('shop'), node('e1', ['192.0.2.1'], { edge: '' }), node('w1', ['192.0.2.11'], { role: 'web' }), group('edge', { edge: '' }),
    pool('public', { blocks: [{ cidr: '198.18.0.0/16' }], default: true, directorGroupRef: { name: 'edge' }, allowStaticBackendCIDRs: ['10.0.0.0/8'] }));
  await bench.lives('e1');
});
after(async () => {
  await bench?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Versions of everything that a controller writes to. */
const versions = async (): Promise<Record<string, string>> => Object.fromEntries((await Promise.all(KINDS.map(async (kind) =>
  (await bench.list(kind)).map((o) => [`${kind} ${o.metadata.namespace ?? ''}/${o.metadata.name}`, o.metadata.resourceVersion!])))).flat());

/** Waits until a controller has written nothing for so long. */
async function rests(controllers: readonly Running[], quietMs: number): Promise<void> {
  let [writes, since] = [-1, performance.now()];
  await bench.eventually(`no write for ${quietMs / 1000} s`, async () => {
    const now = (await Promise.all(controllers.map((c) => c.writes()))).reduce((a, b) => a + b, 0);
    if (now !== writes) [writes, since] = [now, performance.now()];
    return performance.now() - since > quietMs;
  });
}

/** Each VirtualServer has an address of its own, and a program for it. */
async function eachItsOwn(count: number): Promise<void> {
  const vips = await bench.list<VirtualIP>('VirtualIP');
  const owners = vips.flatMap((v) => v.spec.claims.map((c) => `${c.namespace}/${c.name}`));
  assert.deepEqual([vips.length, owners.length, new Set(owners).size], [count, count, count]);
  const byOwner = new Map(vips.map((v) => [`${v.spec.claims[0]!.namespace}/${v.spec.claims[0]!.name}`, v.spec.address]));
  const programs = await bench.list<VirtualServerProgram>('VirtualServerProgram');
  assert.equal(programs.length, count);
  for (const p of programs) assert.deepEqual(p.spec.addresses.map((a) => a.address), [byOwner.get(`${p.metadata.namespace}/${p.spec.virtualServer.name}`)]);
}

/** At rest they may be only for as long as one of them has no CPU: waits until it is so. */
async function comesToBe(count: number): Promise<void> {
  await bench.eventually(`each of ${count} has its own address and program`, async () => {
    await eachItsOwn(count);
    return true;
  });
}

test('two controllers at once, 100 VirtualServers at the same time: no address twice, and they come to rest', async () => {
  const [left, right] = await Promise.all([bench.start('left', '--no-leader-election'), bench.start('right', '--no-leader-election')]);
  await bench.post(service('shop', 'web', {}, [{ port: 80 }]), endpointSlice('shop/web-1', 'web', ['10.1.0.1', '10.1.0.2']));
  await bench.post(...Array.from({ length: 100 }, (_, i) => virtualServer(`shop/s${i}`, i % 10 === 0 ? { mode: 'DR', backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }] } : toService('web'))));
  await bench.eventually('all have programs', async () => (await bench.list('VirtualServerProgram')).length === 100);
  await bench.report('e1', 'w1');
  await rests([left, right], 3_000);
  await comesToBe(100);
  // Both wanted to write: it was a contest. One that had no CPU for a while was never the quicker, nor tried: more of it, until both did.
  const tried = async (): Promise<boolean[]> => await Promise.all([left, right].map(async (c) => await c.metric('ipvs_operator_controller_writes_total', { kind: 'VirtualIP' }) > 0));
  for (let round = 0; round < 20 && (await tried()).includes(false); round++) {
    const more = Array.from({ length: 20 }, (_, i) => `shop/more-${round}-${i}`);
    await bench.post(...more.map((key) => virtualServer(key, toService('web'))));
    await bench.eventually('they have programs', async () => (await bench.list('VirtualServerProgram')).length === 120);
    await Promise.all(more.map((key) => bench.drop('VirtualServer', key)));
    await bench.eventually('they are gone', async () => (await bench.list('VirtualServerProgram')).length === 100 && (await bench.list('VirtualIP')).length === 100);
  }
  assert.deepEqual(await tried(), [true, true]);
  // And in a change of everything.
  await bench.patch('EndpointSlice', 'shop/web-1', { endpoints: [{ addresses: ['10.1.0.9'], conditions: { ready: true } }] });
  await bench.eventually('all follow', async () => (await bench.list<VirtualServerProgram>('VirtualServerProgram')).filter((p) => p.spec.services[0]!.realServers[0] === '10.1.0.9|8080|1|').length === 90);
  await bench.report('e1', 'w1');
  await rests([left, right], 3_000);
  await Promise.all([left, right].map((c) => c.process.end(0)));
});

test('a restart with 500 VirtualServers writes nothing', async () => {
  const first = await bench.start('first', '--no-leader-election');
  await bench.post(...Array.from({ length: 396 }, (_, i) => virtualServer(`shop/t${i}`, { ...(i % 2 ? toStatic(`10.5.${i >> 8}.${i & 255}`) : toService('web')), ...(i % 20 === 7 ? { ports: [{ port: 3000, endPort: 3010, protocol: 'UDP' }] } : {}) })),
    virtualServer('shop/pinned', { ...toStatic('10.0.0.1'), vip: { addresses: ['198.18.255.1'] } }), virtualServer('shop/sharing', { ...toStatic('10.0.0.1'), ports: [{ port: 81 }], vip: { sharedFrom: { name: 'pinned' } } }),
    virtualServer('shop/refused', { ...toStatic('10.0.0.1'), vip: { addresses: ['8.8.8.8'] } }), virtualServer('shop/suspended', { ...toStatic('10.0.0.1'), suspend: true }));
  await bench.eventually('all are looked at', async () => (await bench.list<{ metadata: object; status?: { observedGeneration?: number } }>('VirtualServer')).filter((s) => s.status?.observedGeneration === 1).length === 500);
  await bench.report('e1', 'w1');
  // Counts may wait for ten seconds.
  await rests([first], 12_000);
  await first.process.end(0);
  const was = await versions();
  assert.ok(Object.keys(was).length > 1_490, `${Object.keys(was).length} objects`);
  const second = await bench.start('second', '--no-leader-election');
  await bench.eventually('it has compiled everything', async () => await second.metric('ipvs_operator_controller_programs') === 498);
  await rests([second], 5_000);
  assert.equal(await second.writes(), 0);
  assert.deepEqual(await versions(), was);
  await second.process.end(0);
});

test('the leader is killed: the other one takes over; one that loses its Lease ends', async () => {
  const holder = async (): Promise<string> => ((await bench.get('Lease', `${SYSTEM}/ipvs-operator-controller`))?.spec as { holderIdentity?: string } | undefined)?.holderIdentity ?? '';
  const one = await bench.start('elected-1');
  await bench.eventually('the first leads', async () => (await holder()).startsWith('elected-1_'));
  const two = await bench.start('elected-2');
  await bench.post(virtualServer('shop/before', toStatic('10.0.0.1')));
  await bench.eventually('it works', async () => await bench.program('shop/before') !== null);
  assert.deepEqual([await one.metric('ipvs_operator_controller_leader'), await two.metric('ipvs_operator_controller_leader'), await two.writes()], [1, 0, 0]);
  await one.process.end(0);
  await bench.post(virtualServer('shop/after', toStatic('10.0.0.1')));
  await bench.eventually('the second leads', async () => (await holder()).startsWith('elected-2_'));
  await bench.eventually('and works', async () => await bench.program('shop/after') !== null);
  // Asked to end, the leader gives the Lease back, and the next one need not wait.
  const three = await bench.start('elected-3');
  await two.process.end(30_000);
  assert.equal(await two.process.ended, 0);
  await bench.eventually('the third leads', async () => (await holder()).startsWith('elected-3_'));
  // Somebody takes the Lease.
  await bench.patch('Lease', `${SYSTEM}/ipvs-operator-controller`, { spec: { holderIdentity: 'thief', leaseDurationSeconds: 3600, renewTime: new Date(Date.now()).toISOString().replace('Z', '000Z') } });
  await bench.eventually('it ends', () => !three.process.running);
  assert.equal(await three.process.ended, 1);
  assert.match(JSON.stringify(three.log()), /another one took the lease/);
  await bench.drop('VirtualServer', 'shop/after');
  await bench.drop('Lease', `${SYSTEM}/ipvs-operator-controller`);
  // Nobody leads now, and nobody wrote: the program goes by its owner reference, the claim stays for the next one.
  const four = await bench.start('elected-4');
  await bench.eventually('the fourth cleans up', async () => !(await bench.list<VirtualIP>('VirtualIP')).some((v) => v.spec.claims.some((c) => c.name === 'after')));
  await four.process.end(0);
});

/** All orders of some things. */
function orders<T>(things: readonly T[]): T[][] {
  return things.length < 2 ? [[...things]] : things.flatMap((first, i) => orders(things.toSpliced(i, 1)).map((rest) => [first, ...rest]));
}

test('whatever is deleted first: VirtualServer, Service, pool, group, namespace, node; nothing sticks, nothing is left', async () => {
  const controller = await bench.start('deleting', '--no-leader-election');
  // 720 orders are one every thirtieth; each thing is first, last and in between many times.
  const all = orders(['VirtualServer', 'Service', 'VIPPool', 'DirectorGroup', 'Namespace', 'Node'] as const).filter((_, i) => i % 30 === 7);
  assert.equal(all.length, 24);
  const key = { VirtualServer: (n: number) => `d${n}/nat`, Service: (n: number) => `d${n}/web`, VIPPool: (n: number) => `d${n}`, DirectorGroup: (n: number) => `d${n}`, Namespace: (n: number) => `d${n}`, Node: (n: number) => `d${n}` };
  for (const n of all.keys()) {
    await bench.post(namespace(`d${n}`), node(`d${n}`, [`192.0.3.${n}`], { set: `d${n}` }), group(`d${n}`, { set: `d${n}` }), pool(`d${n}`, { blocks: [{ cidr: `203.0.113.${n * 8}/29` }], directorGroupRef: { name: `d${n}` } }));
    await bench.post(service(`d${n}`, 'web', {}, [{ port: 80 }]), endpointSlice(`d${n}/web-1`, 'web', [`10.6.0.${n + 1}`]));
    await bench.post(virtualServer(`d${n}/nat`, { ...toService('web'), vip: { poolRef: { name: `d${n}` } } }), virtualServer(`d${n}/dr`, { mode: 'DR', ports: [{ port: 81 }], vip: { sharedFrom: { name: 'nat' } }, backends: [{ nodes: { selector: { matchLabels: { set: `d${n}` } } } }] }));
  }
  const ours = (list: readonly { metadata: { name: string; namespace?: string } }[]): string[] => list.filter((o) => /^d\d+$/.test(o.metadata.namespace ?? o.metadata.name)).map((o) => `${o.metadata.namespace ?? ''}/${o.metadata.name}`);
  await bench.eventually('all are served', async () => ours(await bench.list('VirtualServerProgram')).length === 48 && ours(await bench.list('IPVSNode')).length === 24);
  await bench.report(...Array.from(all.keys(), (n) => `d${n}`));
  await bench.eventually('nodes receive', async () => (await bench.list<VirtualServerProgram>('VirtualServerProgram')).filter((p) => p.spec.mode === 'DR' && /^d\d+$/.test(p.metadata.namespace) && p.spec.services[0]!.realServers.length === 1).length === 24);
  await Promise.all(all.map(async (order, n) => {
    for (const kind of order) {
      try {
        await bench.drop(kind, key[kind](n));
      } catch (error) {
        // The namespace was first, and took it along.
        if ((error as { status?: number }).status !== 404) throw error;
      }
    }
  }));
  await bench.eventually('nothing of it is left', async () => {
    const left = (await Promise.all(['VirtualServer', 'VirtualServerProgram', 'VIPPool', 'DirectorGroup', 'IPVSNode', 'Namespace', 'Node'].map(async (kind) => ours(await bench.list(kind)).map((o) => `${kind} ${o}`)))).flat();
    const vips = (await bench.list<VirtualIP>('VirtualIP')).filter((v) => v.spec.address.startsWith('203.0.113.'));
    if (left.length + vips.length > 0) throw new Error([...left, ...vips.map((v) => `VirtualIP ${v.spec.address}`)].slice(0, 10).join(', '));
    return true;
  });
  await rests([controller], 3_000);
  assert.equal(await bench.condition('shop/pinned', 'Accepted'), 'True Accepted', 'the others are as they were');
});
