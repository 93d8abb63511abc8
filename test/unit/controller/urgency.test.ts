/**
 * What is urgent waits for nothing that is not: a program for no status, however many there are and however slow the server is; and who is
 * gone not for the programs of hundreds of others. What fails altogether is faults.test.ts's.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { KubeClient } from '../../../src/kube/client.ts';
import { Bench, lease, node, service, slice } from './bench.ts';
import { group, pool, server } from './compile/setup.ts';

const realServers = (b: Bench, key: string): string[] | undefined => b.get('VirtualServerProgram', key)?.spec.services.flatMap((s) => s.realServers);

function bench(...objects: object[]): Bench {
  const b = new Bench();
  b.put(pool(), group('edge'), node('e1', ['192.0.2.1']), lease('e1'), ...objects);
  return b;
}

test('many statuses that change at once do not delay a program', async () => {
  const b = bench(service('default/web'), slice('default/web-1', 'web', ['10.1.0.1']), server('shop', { backends: [{ serviceRef: { name: 'web' } }] }));
  b.put(pool('big', { blocks: [{ cidr: '198.18.0.0/16' }], default: false }));
  for (let i = 0; i < 300; i++) b.put(server(`s${i}`, { vip: { poolRef: { name: 'big' } } }));
  b.start();
  await b.settle();
  b.report('e1');
  await b.settle();
  const from = b.api.asked.length;
  b.drop('Lease', 'ipvs-system/director-e1');
  while (b.api.asked.length === from) await b.pass(10);
  const changed = b.api.asked.length;
  b.put(slice('default/web-1', 'web', ['10.1.0.2']));
  while (realServers(b, 'default/shop')?.[0] !== '10.1.0.2|8080|1|') await b.pass(10);
  assert.ok(b.api.asked.length - changed < 150, `${b.api.asked.length - changed} writes before`);
  await b.settle();
  assert.equal(b.condition('default/s299', 'Programmed'), 'False NoDirector');
  await b.stopAll();
});

test('a status write that the server does not answer delays no program', async () => {
  const b = bench(service('default/web'), slice('default/web-1', 'web', ['10.1.0.1']), server('shop', { backends: [{ serviceRef: { name: 'web' } }] }));
  const client = b.api.client('one');
  let hang = false;
  let hung = 0;
  const slow: KubeClient = { ...client, apply: async (resource, object, options) => {
    if (hang && resource.kind === 'VirtualServer') {
      hung++;
      await b.time.sleep(30_000, options.signal!);
    }
    return await client.apply(resource, object, options);
  } };
  b.start('one', { client: slow });
  await b.settle();
  b.report('e1');
  await b.settle();
  hang = true;
  b.drop('Lease', 'ipvs-system/director-e1');
  while (hung === 0) await b.pass(10);
  b.put(slice('default/web-1', 'web', ['10.1.0.2']));
  await b.pass(1_000);
  assert.deepEqual(realServers(b, 'default/shop'), ['10.1.0.2|8080|1|']);
  await b.settle(60_000);
  assert.equal(b.condition('default/shop', 'Programmed'), 'False NoDirector');
  await b.stopAll();
});

/** `shop` on the Service api, others on the Service web, and an API server that takes its time for each update. */
async function busy({ api, others, updateMs }: { api: readonly string[]; others: number; updateMs: number }) {
  const b = bench(service('default/web'), slice('default/web-1', 'web', ['10.1.0.1']), service('default/api'), slice('default/api-1', 'api', api), server('shop', { backends: [{ serviceRef: { name: 'api' } }] }));
  b.put(pool('big', { blocks: [{ cidr: '198.18.0.0/16' }], default: false }));
  for (let i = 0; i < others; i++) b.put(server(`s${i}`, { vip: { poolRef: { name: 'big' } }, backends: [{ serviceRef: { name: 'web' } }] }));
  const client = b.api.client('one');
  b.start('one', { client: { ...client, update: async (resource, object, options) => {
    await b.time.sleep(updateMs, options!.signal!);
    return await client.update(resource, object, options);
  } } });
  await b.settle();
  return b;
}

test('a real server that goes while hundreds of programs are being written does not wait for all of them', async () => {
  // Sixteen at a time are 40 a second.
  const b = await busy({ api: ['10.2.0.1', '10.2.0.2'], others: 200, updateMs: 400 });
  const written = (): number => b.api.writes.filter((w) => w.verb === 'update' && w.key.startsWith('default/s') && w.key !== 'default/shop').length;
  assert.equal(written(), 0);
  b.put(slice('default/web-1', 'web', ['10.1.0.1', '10.1.0.9']));
  while (written() === 0) await b.pass(50);
  b.put(slice('default/api-1', 'api', ['10.2.0.2']));
  while (realServers(b, 'default/shop')?.length !== 1) await b.pass(50);
  assert.ok(written() < 150, `${written()} of 200 programs were written before`);
  await b.settle();
  assert.deepEqual([written(), realServers(b, 'default/s199')], [200, ['10.1.0.1|8080|1|', '10.1.0.9|8080|1|']], 'and the others once each');
  await b.stopAll();
});

test('a real server that comes does not wait for ever while others go all the time', async () => {
  // Sixteen at a time are 20 a second.
  const b = await busy({ api: ['10.2.0.1'], others: 100, updateMs: 800 });
  b.put(slice('default/web-1', 'web', ['10.1.0.2']));
  await b.pass(1_000);
  b.put(slice('default/api-1', 'api', ['10.2.0.1', '10.2.0.2']));
  let waited = 0;
  for (; realServers(b, 'default/shop')?.length !== 2 && waited < 60; waited++) {
    b.put(slice('default/web-1', 'web', [`10.1.0.${3 + waited}`]));
    await b.pass(1_000);
  }
  assert.ok(waited < 20, `${waited} s`);
  await b.settle();
  await b.stopAll();
});

test('what comes within fifty milliseconds of the first change is one write', async () => {
  const b = bench(service('default/web'), slice('default/web-1', 'web', ['10.1.0.1']), server('shop', { backends: [{ serviceRef: { name: 'web' } }] }));
  b.start();
  await b.settle();
  const began = b.api.asked.length;
  const hosts = ['10.1.0.1'];
  // Events are up to 20 ms on their way.
  for (const last of [2, 3, 4]) {
    hosts.push(`10.1.0.${last}`);
    b.put(slice('default/web-1', 'web', hosts));
    await b.pass(9);
  }
  await b.pass(1_000);
  assert.deepEqual(b.api.asked.slice(began).filter((w) => w.kind === 'VirtualServerProgram').map((w) => `${w.verb} ${w.key}`), ['update default/shop']);
  assert.equal(realServers(b, 'default/shop')?.length, 4);
  await b.stopAll();
});

test('of what changes at the same time, removals are written first, then additions, then weights', async () => {
  const b = new Bench(1, 0);
  b.put(pool('public', { blocks: [{ cidr: '198.18.0.0/24' }] }), group('edge'), node('e1', ['192.0.2.1']), lease('e1'));
  // More than are written at a time.
  const names = Array.from({ length: 60 }, (_, i) => `s${i}`);
  const kindOf = (name: string): number => Number(name.slice(1)) % 3;
  const form = (name: string, endpoints: object[]): object => server(name, { backends: [{ static: { endpoints } }] });
  const [one, two, heavy] = [{ address: '10.0.0.1' }, { address: '10.0.0.2' }, { address: '10.0.0.1', weight: 9 }];
  b.put(...names.map((name) => form(name, kindOf(name) === 2 ? [one, two] : [one])));
  b.start();
  await b.settle();
  const began = b.api.asked.length;
  b.put(...names.map((name) => form(name, kindOf(name) === 0 ? [heavy] : kindOf(name) === 1 ? [one, two] : [one])));
  await b.pass(2_000);
  const order = b.api.asked.slice(began).filter((w) => w.kind === 'VirtualServerProgram').map((w) => kindOf(w.key.slice('default/'.length)));
  assert.deepEqual(order, [...Array(20).fill(2), ...Array(20).fill(1), ...Array(20).fill(0)]);
  await b.stopAll();
});

test('a pass that has much to write is not stuck, however long it takes; one whose write is not answered is', async () => {
  const b = bench();
  b.put(pool('big', { blocks: [{ cidr: '198.18.0.0/16' }], default: false }));
  for (let i = 0; i < 150; i++) b.put(server(`s${i}`, { vip: { poolRef: { name: 'big' } } }));
  const client = b.api.client('one');
  let hangs = false;
  const { controller } = b.start('one', { client: { ...client, create: async (resource, object, options) => {
    await b.time.sleep(hangs ? 1_000_000 : 500, options!.signal!);
    return await client.create(resource, object, options);
  } } });
  let [began, longest, silent] = [b.time.now(), 0, 0];
  while (b.all('VirtualServerProgram').length < 150) {
    await b.pass(100);
    if (controller.silentSince === null) began = b.time.now();
    else [longest, silent] = [Math.max(longest, b.time.now() - began), Math.max(silent, b.time.now() - controller.silentSince)];
  }
  assert.ok(longest > 5_000 && silent < 1_500, `a pass of ${longest} ms was silent for ${silent} ms`);
  await b.settle();
  assert.equal(controller.silentSince, null, 'nothing to do');
  hangs = true;
  b.put(server('one-more', { vip: { poolRef: { name: 'big' } } }));
  await b.pass(60_000);
  assert.ok(b.time.now() - controller.silentSince! > 50_000);
  await b.stopAll();
});
