/**
 * Many VirtualServers at a time: each is told the outcome, once, and not what it waits for; one alone is told at once; and what never comes
 * about is told after a moment. And a VirtualIP of which its director says everything costs the controller no write.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { RESOURCES, type VirtualServerStatus } from '../../../src/api/v1alpha1/index.ts';
import { ownedPatch } from '../../../src/agent/ownership/virtualip-status.ts';
import { Rush } from '../../../src/controller/rush.ts';
import { isOnItsWay } from '../../../src/controller/status/virtualserver.ts';
import { transitions } from '../../../src/controller/transitions.ts';
import type { Resource } from '../../../src/kube/types.ts';
import { Bench, lease, node, type Running } from './bench.ts';
import { endpoints, group, pool, server } from './compile/setup.ts';

const MANY = 60;
const key = (i: number): string => `default/s${i}`;
/** The first ones come before anybody can know that many will. */
const LATE = Array.from({ length: MANY - 30 }, (_, i) => key(i + 30)).sort();
const isLate = (owner: string): boolean => LATE.includes(owner);
const shop = (i: number, more: Record<string, unknown> = {}): object => server(`s${i}`, { ...endpoints('10.0.0.1'), ...more });
const wholePool = (): object => pool('public', { blocks: [{ cidr: '203.0.0.0/16' }] });

/** Three live directors, in a second in which nothing happens. */
async function directors(): Promise<{ b: Bench; running: Running }> {
  const b = new Bench();
  b.put(wholePool(), group('edge'), ...['e1', 'e2', 'e3'].flatMap((n, i) => [node(n, [`192.0.2.${i + 1}`]), lease(n)]));
  const running = b.start();
  await b.settle();
  return { b, running };
}

const statusesOf = (b: Bench, since: number): string[] => b.api.asked.slice(since).filter((w) => w.kind === 'VirtualServer').map((w) => w.key);

/** `count` of them in one second, while each director reports once a second. */
async function putMany(b: Bench, count: number, from = 0, spec: Record<string, unknown> = {}): Promise<void> {
  for (let i = 0; i < count; i += 6) {
    b.put(...Array.from({ length: Math.min(6, count - i) }, (_, n) => shop(from + i + n, spec)));
    await b.pass(100);
    b.report(['e1', 'e2', 'e3'][i / 6 % 3]!);
  }
}

test('of many new ones each is told once, that it is Ready; one Event says it all', async () => {
  const { b, running } = await directors();
  const began = b.api.asked.length;
  await putMany(b, MANY);
  for (const n of ['e1', 'e2', 'e3', 'e1', 'e2', 'e3']) { await b.pass(300); b.report(n); }
  await b.pass(3_500);
  assert.deepEqual(Array.from({ length: MANY }, (_, i) => `${b.condition(key(i))} ${b.condition(key(i), 'Programmed')}`), Array(MANY).fill('True Ready True Programmed'), 'some seconds after the last one came');
  assert.deepEqual(statusesOf(b, began).filter(isLate).sort(), LATE);
  const last = running.transitions.filter((t) => t.key === key(MANY - 1));
  assert.deepEqual(last.flatMap((t) => transitions(t.before, t.after)).map((t) => `${t.type} ${t.reason} ${t.note.replace(/[\d.]+ on/, 'VIP on')}`), ['Normal Ready has VIP on e1; 3 of 3 directors run it']);
  await b.stopAll();
});

test('while many come, few are told that they are Ready, and what is wrong with one is told at once', async () => {
  const { b } = await directors();
  const began = b.api.asked.length;
  for (let n = 0; n < 300; n += 30) {
    await putMany(b, 30, n);
    for (const node of ['e1', 'e2', 'e3']) b.report(node);
  }
  b.put(server('wrong', { vip: { poolRef: { name: 'nowhere' } }, ...endpoints('10.0.0.1') }));
  await b.pass(300);
  assert.equal(b.condition('default/wrong', 'Accepted'), 'False PoolNotFound');
  const told = new Set(statusesOf(b, began)).size;
  assert.ok(told >= 30 && told < 150, `${told} of 300 in five seconds: the first ones, and ten a second`);
  for (const node of ['e1', 'e2', 'e3']) b.report(node);
  await b.pass(5_000);
  assert.deepEqual(Array.from({ length: 300 }, (_, i) => b.condition(key(i))), Array(300).fill('True Ready'), 'all, some seconds after the last one came');
  await b.stopAll();
});

test('of many edited ones each is told once, too, and stays Ready meanwhile', async () => {
  const { b } = await directors();
  await putMany(b, MANY);
  await b.settle();
  for (const n of ['e1', 'e2', 'e3']) b.report(n);
  await b.settle();
  const began = b.api.asked.length;
  await putMany(b, MANY, 0, { drain: { timeoutSeconds: 7 } });
  assert.equal(b.condition(key(MANY - 1)), 'True Ready', 'as it was');
  for (const n of ['e1', 'e2', 'e3', 'e1', 'e2', 'e3']) { await b.pass(300); b.report(n); }
  await b.settle();
  const { metadata, status } = b.get('VirtualServer', key(MANY - 1))!;
  assert.deepEqual([b.condition(key(MANY - 1)), status?.observedGeneration], ['True Ready', metadata.generation]);
  assert.deepEqual(statusesOf(b, began).filter(isLate).sort(), LATE);
  await b.stopAll();
});

test('whose directors do not follow hears of that some seconds later, in a rush as well', async () => {
  const { b } = await directors();
  b.put(...Array.from({ length: MANY }, (_, i) => shop(i)));
  await b.pass(1_000);
  assert.equal(b.condition(key(MANY - 1)), 'none');
  await b.pass(9_000);
  assert.deepEqual(Array.from({ length: MANY }, (_, i) => b.condition(key(i), 'Programmed')), Array(MANY).fill('False Pending'));
  await b.stopAll();
});

test('what is refused is told at once, in a rush as well', async () => {
  const { b } = await directors();
  b.put(...Array.from({ length: MANY }, (_, i) => shop(i)), server('wrong', { vip: { poolRef: { name: 'nowhere' } }, ...endpoints('10.0.0.1') }));
  await b.pass(1_000);
  assert.equal(b.condition('default/wrong', 'Accepted'), 'False PoolNotFound');
  await b.stopAll();
});

test('one alone is told at once', async () => {
  const { b } = await directors();
  b.put(shop(0));
  await b.pass(500);
  assert.deepEqual([b.condition(key(0), 'Accepted'), b.condition(key(0), 'Programmed')], ['True Accepted', 'False Pending']);
  await b.stopAll();
});

const says = (generation: number, accepted: string, programmed: string, ready: string): VirtualServerStatus => ({
  observedGeneration: generation,
  conditions: Object.entries({ Accepted: accepted, Programmed: programmed, Ready: ready }).map(([type, reason]) => ({ type, status: type === reason ? 'True' as const : 'False' as const, reason, message: '', lastTransitionTime: '2026-01-01T00:00:00Z' })) as NonNullable<VirtualServerStatus['conditions']>,
});
const READY = says(1, 'Accepted', 'Programmed', 'Ready');
const PENDING = says(1, 'Accepted', 'Pending', 'NotProgrammed');
const UNHELD = says(1, 'Accepted', 'Programmed', 'NoOwner');
const ON_ITS_WAY: readonly (readonly [what: string, before: VirtualServerStatus | undefined, after: VirtualServerStatus, waits: boolean])[] = [
  ['a new one that directors do not run yet', undefined, PENDING, true],
  ['a new one whose address is not written yet', undefined, says(1, 'Pending', 'Pending', 'NotAccepted'), true],
  ['a new one that they run and nobody holds yet', undefined, UNHELD, true],
  ['the same, of which it was told that they do not run it', PENDING, UNHELD, true],
  ['a new form that they do not run yet', READY, says(2, 'Accepted', 'Pending', 'NotProgrammed'), true],
  ['a new one that is Ready', undefined, READY, false],
  ['a new one that is refused', undefined, says(1, 'PoolNotFound', 'Pending', 'NotAccepted'), false],
  ['a new one that a kernel cannot do', undefined, says(1, 'Accepted', 'KernelFeatureMissing', 'NotProgrammed'), false],
  ['a new one without real servers', undefined, says(1, 'Accepted', 'Programmed', 'NoReadyBackends'), false],
  ['one that was Ready and lost its holder', READY, UNHELD, false],
  ['one that was Ready and lost its directors', READY, PENDING, false],
];
for (const [what, before, after, waits] of ON_ITS_WAY) test(`in a rush ${waits ? 'waits' : 'is told at once'}: ${what}`, () => assert.equal(isOnItsWay(before, after), waits));

test('a rush is over a moment after the last one came', () => {
  let now = 0;
  const rush = new Rush(() => now);
  const came = (count: number, overMs: number): boolean => { now += overMs; rush.came(count); return rush.on; };
  assert.equal(came(20, 0), false, 'a score of them is none');
  assert.equal(came(1_000, 1_000), true);
  now += 3_100;
  assert.equal(rush.on, false);
  for (let i = 0; i < 100; i++) assert.equal(came(4, 1_000), false, 'four a second are none, for however long');
});

test('of a VirtualIP that a director takes, the director says everything; of one that nobody takes the controller says that it is claimed', async () => {
  const { b } = await directors();
  b.put(shop(0), shop(1));
  await b.pass(500);
  const [taken, other] = b.all('VirtualIP').map((v) => v.metadata.name) as [string, string];
  const before = b.get('VirtualIP', taken)!;
  assert.equal(before.status, undefined, 'nobody has said anything');
  b.api.putStatus(RESOURCES.VirtualIP as Resource, taken, { ...ownedPatch(before, 'e1', '02:00:00:00:00:01', '2026-01-01T00:00:01Z').status });
  await b.settle();
  assert.deepEqual(b.api.asked.filter((w) => w.kind === 'VirtualIP' && w.verb === 'apply').map((w) => w.key), [other]);
  const said = (name: string) => { const { claims, conditions = [] } = b.get('VirtualIP', name)!.status!; return [claims, conditions.map((c) => `${c.type} ${c.status}`)]; };
  assert.deepEqual([said(taken), said(other)], [[1, ['Claimed True', 'Owned True']], [1, ['Claimed True']]]);
  await b.stopAll();
});
