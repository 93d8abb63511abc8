/**
 * Ten thousand VirtualServers that keep to the schema and mean nothing, of one tenant who knows no better: each is told why, and an edit of
 * another's arrives in seconds while they come, while they are told, after a restart of the controller and while they go.
 */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VirtualServerStatus } from '../../src/api/v1alpha1/index.ts';
import { group, pool, startBench, toService, toStatic, virtualServer, type Any, type Bench, type Running } from './controller-bench.ts';
import { namespace, node } from './objects.ts';

const MANY = 10_000;
/** What an edit may take at most. On a free machine it is a tenth of a second; a hundred times that is still not "after the others". */
const IN_TIME_MS = 15_000;
/** The rate that deploy/ gives, not the bench's. */
const RATE = ['--no-leader-election', '--writes-per-second', '250'];
const folder = mkdtempSync(join(tmpdir(), 'ipvs-controller-many-'));
let bench: Bench;
let controller: Running;

before(async () => {
  bench = await startBench({ folder, account: true });
  await bench.post(namespace('shop'), namespace('bad'), node('e1', ['192.0.2.1'], { edge: '' }), group('edge', { edge: '' }),
    pool('public', { blocks: [{ cidr: '198.18.0.0/16' }], default: true, directorGroupRef: { name: 'edge' }, allowStaticBackendCIDRs: ['10.0.0.0/8'], allowedNamespaces: { names: ['shop'] } }),
    pool('theirs', { blocks: [{ cidr: '203.0.113.8/32' }], directorGroupRef: { name: 'edge' }, allowStaticBackendCIDRs: ['10.0.0.0/8'], allowedNamespaces: { names: ['bad'] } }));
  await bench.lives('e1');
  controller = await bench.start('one', ...RATE);
  await bench.post(virtualServer('shop/web', toStatic('10.0.0.1')), virtualServer('bad/holder', { ...toStatic('10.0.0.1'), vip: { addresses: ['203.0.113.8'] } }));
  await bench.eventually('it is served', async () => await bench.program('shop/web') !== null && await bench.program('bad/holder') !== null);
});
after(async () => {
  await bench?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Each kind of nonsense, with its reason. */
const SENSELESS: readonly (readonly [reason: string, spec: (i: number) => object])[] = [
  ['PoolNotFound', (i) => ({ ...toStatic('10.0.0.1'), vip: { poolRef: { name: `none-${i % 7}` } } })],
  ['NamespaceNotAllowed', () => toStatic('10.0.0.1')],
  ['AddressOutsidePools', (i) => ({ ...toStatic('10.0.0.1'), vip: { addresses: [`100.64.${i >> 8 & 255}.${i & 255}`] } })],
  ['PoolExhausted', () => ({ ...toService('none'), vip: { poolRef: { name: 'theirs' } } })],
  ['PortConflict', () => ({ ...toStatic('10.0.0.1'), vip: { addresses: ['203.0.113.8'] } })],
  ['Pending', (i) => ({ ...toStatic('10.0.0.1'), vip: { sharedFrom: { name: `nobody-${i}` } } })],
];
const senseless = (i: number): Any => virtualServer(`bad/b${i}`, SENSELESS[i % SENSELESS.length]![1](i));

let edits = 1;
const times: string[] = [];
/** Edits the one that means something; it must be in its program in time. */
async function edit(when: string): Promise<void> {
  const [began, address] = [performance.now(), `10.0.${++edits}.1`];
  await bench.patch('VirtualServer', 'shop/web', { spec: toStatic(address) });
  await bench.eventually(`the edit arrives ${when}`, async () => (await bench.program('shop/web'))?.services[0]!.realServers[0]?.startsWith(`${address}|`) === true);
  const took = performance.now() - began;
  times.push(`${when}: ${Math.round(took)} ms`);
  assert.ok(took < IN_TIME_MS, `the edit took ${Math.round(took)} ms ${when}`);
}

interface Server { readonly metadata: { readonly name: string }; readonly status?: VirtualServerStatus }
const told = async (): Promise<Server[]> => (await bench.list<Server>('VirtualServer', 'bad')).filter((s) => s.status?.conditions !== undefined && s.metadata.name !== 'holder');

test('ten thousand senseless VirtualServers delay nobody, and each is told why', { timeout: 900_000 }, async (t) => {
  for (let from = 0; from < MANY; from += 2_000) {
    const coming = bench.post(...Array.from({ length: 2_000 }, (_, i) => senseless(from + i)));
    await edit(`while numbers ${from} to ${from + 1_999} come`);
    await coming;
  }
  await edit('while they are told');
  // A list of all is 15 MB: it is asked for when there is reason to.
  await bench.eventually('so many reports were written', async () => await controller.metric('ipvs_operator_controller_writes_total', { kind: 'VirtualServer', result: 'success' }) >= MANY);
  await bench.eventually('each is told', async () => (await told()).length === MANY);
  const wrong = (await told()).filter((s) => s.status!.conditions!.find((c) => c.type === 'Accepted')?.reason !== SENSELESS[Number(s.metadata.name.slice(1)) % SENSELESS.length]![0]);
  assert.deepEqual(wrong.map((s) => `${s.metadata.name} ${JSON.stringify(s.status?.conditions)}`).slice(0, 3), []);
  await edit('when all is still');
  await controller.process.end(0);
  controller = await bench.start('one', ...RATE);
  await edit('after a restart');
  const writes = await controller.writes();
  assert.ok(writes < 20, `${writes} writes after the restart: nothing was new but the one edit`);
  // So many take longer than a request may; what is left of them is asked for again.
  const going = bench.eventually('they are deleted', async () => {
    await bench.send('DELETE', '/apis/ipvs-operator.dev/v1alpha1/namespaces/bad/virtualservers');
    return true;
  });
  await edit('while they go');
  await going;
  await bench.eventually('the one address of theirs is given back', async () => await bench.get('VirtualIP', '203.0.113.8') === null && await bench.program('bad/holder') === null);
  assert.ok(controller.process.running);
  t.diagnostic(times.join('; '));
});
