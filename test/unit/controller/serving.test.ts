/** Where programs in force send packets, and which VirtualServers bind nodes. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Program } from '../../../src/api/v1alpha1/program.ts';
import type { Verdict } from '../../../src/controller/compile/compile.ts';
import { NO_CLUSTER, type Cluster, type Way } from '../../../src/controller/compile/cluster.ts';
import { sends, Serving } from '../../../src/controller/serving.ts';
import { compile, pin, server } from './compile/setup.ts';

const cluster: Cluster = { ...NO_CLUSTER, present: true, nodes: () => [{ name: 'w1', labels: {}, addresses: ['192.0.2.1'] }, { name: 'w2', labels: {}, addresses: ['192.0.2.2'] }], nodeOf: (a) => (a === '192.0.2.1' ? 'w1' : 'w2') };
const verdictOf = (spec: Record<string, unknown> = {}): Verdict => compile({ servers: [server('a', { mode: 'DR', ...pin('203.0.113.1'), backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }], ...spec })], cluster }).verdicts['default/a']!;
const DR: Way = { mode: 'DR', tunnel: null };
const compiler = (verdict: Verdict | null, program: Program | null = verdict?.program ?? null) => ({ verdicts: new Map(verdict ? [['default/a', verdict]] : []), programs: new Map(program ? [['default/a', program]] : []) });

test('a program in DR sends to the nodes of its real servers, one in NAT is of no concern', () => {
  const s = new Serving(() => []);
  assert.equal(s.update('default/a', compiler(verdictOf())), true);
  assert.deepEqual([s.sendsTo('w1', '203.0.113.1', DR), s.sendsTo('w', '203.0.113.1', DR), s.sendsTo('w1', '203.0.113.9', DR), [...s.ownersOf('203.0.113.1')]], [true, false, false, ['default/a']]);
  assert.deepEqual([...s.bindings].map(([o, b]) => [o, b.mode, b.addresses, b.binds.map((x) => x.node)]), [['default/a', 'DR', ['203.0.113.1'], ['w1', 'w2']]]);
  assert.equal(s.update('default/a', compiler(verdictOf())), false, 'nothing new');
  assert.equal(s.update('default/a', compiler(verdictOf({ mode: 'NAT' }))), true);
  assert.deepEqual([s.sendsTo('w1', '203.0.113.1', DR), [...s.ownersOf('203.0.113.1')], s.bindings.size], [false, [], 0]);
});

test('a mode that nodes do not receive in yet binds them already, and is no way in which anything is sent', () => {
  const s = new Serving(() => []);
  const [nat, tun] = [verdictOf({ mode: 'NAT' }), verdictOf({ mode: 'TUN' })];
  assert.equal(s.update('default/a', compiler(tun, nat.program)), true);
  assert.deepEqual([s.bindings.get('default/a')?.mode, [...s.ownersOf('203.0.113.1')]], ['TUN', ['default/a']]);
  const way: Way = { mode: 'TUN', tunnel: { encapsulation: 'IPIP', port: 0, checksum: 'None' } };
  assert.equal(s.sendsTo('w1', '203.0.113.1', way), false);
  assert.equal(s.update('default/a', compiler(tun)), false, 'bound as before');
  assert.deepEqual([way, { ...way, tunnel: { ...way.tunnel!, encapsulation: 'GRE' } } as Way, DR].map((w) => s.sendsTo('w1', '203.0.113.1', w)), [true, false, false]);
});

test('what moves to another address sends for that one only', () => {
  const s = new Serving(() => []);
  s.update('default/a', compiler(verdictOf()));
  s.update('default/a', compiler(verdictOf(pin('203.0.113.2'))));
  assert.deepEqual([s.sendsTo('w1', '203.0.113.1', DR), s.sendsTo('w1', '203.0.113.2', DR)], [false, true]);
});

test('refused and served on, it binds as before; gone, it does not', () => {
  const s = new Serving(() => []);
  const verdict = verdictOf();
  s.update('default/a', compiler(verdict));
  assert.equal(s.update('default/a', compiler({ ...verdict, accepted: false, binds: [], program: null }, verdict.program)), false);
  assert.deepEqual([s.bindings.size, s.sendsTo('w1', '203.0.113.1', DR)], [1, true]);
  assert.equal(s.update('default/a', compiler(null)), true);
  assert.deepEqual([s.bindings.size, s.sendsTo('w1', '203.0.113.1', DR)], [0, false]);
});

test('who is gone is forgotten, also when nobody said so', () => {
  const s = new Serving(() => []);
  s.update('default/a', compiler(verdictOf()));
  assert.equal(s.prune({ servers: new Map([['default/a', server('a')]]), programs: new Map() }), false);
  assert.equal(s.prune({ servers: new Map(), programs: new Map() }), true);
  assert.deepEqual([s.bindings.size, s.sendsTo('w1', '203.0.113.1', DR)], [0, false]);
});

test('what another controller wrote sends too', () => {
  const verdict = verdictOf();
  const empty: Program = { ...verdict.program!, spec: { ...verdict.program!.spec, services: verdict.program!.spec.services.map((x) => ({ ...x, realServers: [] })) } };
  const s = new Serving((owner) => (owner === 'default/a' ? [verdict.program!] : []));
  s.program('default/a', empty);
  assert.deepEqual([s.sendsTo('w1', '203.0.113.1', DR), s.sendsTo('w3', '203.0.113.1', DR)], [true, false]);
  assert.deepEqual([sends(verdict.program!, 'w2'), sends(verdict.program!, '2'), sends(empty, 'w2')], [true, false, false]);
});
