/** What a node is told as a real server: as programs, with those that linger. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { bindPrograms, LINGER_MS, nextBinds, nextEnd, receivingOf, virtualServerOf, type BindRecord } from '../../../../src/agent/cluster/binds.ts';
import { desired } from '../../../../src/agent/desired.ts';
import type { IPVSNodeBind } from '../../../../src/api/v1alpha1/index.ts';
import { facts, makeKernel } from '../setup.ts';

const bind = (fields: Partial<IPVSNodeBind> = {}): IPVSNodeBind => ({ address: '10.0.1.200', family: 'IPv4', mode: 'DR', localAddress: '10.0.1.11', virtualServer: 'default/shop', ...fields });
const told = (...binds: IPVSNodeBind[]): BindRecord[] => binds.map((b) => ({ bind: b, until: null }));
const ten = () => 10_000;

test('a bind that is not told any more goes on for its time, and one that comes back is as if it never went', () => {
  const a = bind();
  const first = nextBinds([], [a], ten, 0);
  assert.deepEqual(first, told(a));
  assert.equal(nextBinds(first, [bind()], ten, 5), first, 'nothing new is the same list');
  const left = nextBinds(first, [], ten, 100);
  assert.deepEqual([left, nextEnd(left)], [[{ bind: a, until: 10_100 }], 10_100]);
  assert.equal(nextBinds(left, [], ten, 10_099), left, 'its end does not move');
  assert.deepEqual(nextBinds(left, [a], ten, 200), told(a));
  assert.deepEqual(nextBinds(left, [], ten, 10_100), []);
  assert.equal(nextEnd(told(a)), null);
  assert.equal(LINGER_MS, 600_000);
});

test('how long is asked for each VirtualServer', () => {
  const records = nextBinds(told(bind(), bind({ virtualServer: 'default/slow' })), [], (vs) => (vs === 'default/slow' ? 99 : 1), 0);
  assert.deepEqual(records.map((r) => r.until), [1, 99]);
});

test('whatever is told in whatever order, what is told is bound, and what was told is bound until its time is up', () => {
  const binds = fc.uniqueArray(fc.record({ address: fc.constantFrom('10.0.1.200', '10.0.1.201'), localAddress: fc.constantFrom('10.0.1.11', '10.0.2.11'), mode: fc.constantFrom('DR' as const, 'TUN' as const) }), { selector: (b) => JSON.stringify(b) });
  fc.assert(fc.property(fc.array(fc.record({ list: binds, pause: fc.integer({ min: 0, max: 15_000 }) }), { maxLength: 12 }), (history) => {
    let [records, now]: [readonly BindRecord[], number] = [[], 0];
    const lastTold = new Map<string, number>();
    let current: IPVSNodeBind[] = [];
    for (const { list, pause } of history) {
      for (const b of current) lastTold.set(JSON.stringify(b), now + pause);
      now += pause;
      current = list.map((b) => bind(b));
      records = nextBinds(records, current, ten, now);
      const bound = new Map(records.map((r) => [JSON.stringify(r.bind), r.until]));
      assert.equal(bound.size, records.length, 'none twice');
      for (const b of current) assert.equal(bound.get(JSON.stringify(b)), null);
      for (const [key, at] of lastTold) if (!current.some((b) => JSON.stringify(b) === key)) assert.equal(bound.get(key) ?? null, at + 10_000 > now ? at + 10_000 : null);
    }
  }));
});

test('binds of one VirtualServer are one program, which makes this node a real server and nothing else', () => {
  const programs = bindPrograms('n1', told(bind(), bind({ address: 'fd00:1::200', family: 'IPv6', localAddress: 'fd00:1::11' }), bind({ virtualServer: 'default/other', address: '10.0.1.201' })));
  assert.deepEqual([...programs.keys()].sort(), ['default/other', 'default/shop']);
  const program = programs.get('default/shop')!;
  assert.deepEqual([program.spec.addresses.map((a) => a.address), program.spec.services[0]!.realServers], [['10.0.1.200', 'fd00:1::200'], ['10.0.1.11|0|1|n1', 'fd00:1::11|0|1|n1']]);
  const duties = { directs: new Set<string>(), owned: new Set<string>(), receives: receivingOf(told(bind())), reserved: new Set<string>() };
  const f = desired(program, null, facts(makeKernel(), { role: 'auto' }), duties);
  assert.deepEqual([f.role, f.services, f.refusals, f.needs.vips.map((v) => `${v.vip.address} ${v.vip.link} ${v.announce}`)], ['realServer', [], [], ['10.0.1.200 lo false', 'fd00:1::200 lo false']]);
});

test('a bind at an address that this node does not have makes it nothing, least of all a director', () => {
  const records = told(bind({ localAddress: '10.0.1.99' }));
  const duties = { directs: new Set<string>(), owned: new Set<string>(), receives: receivingOf(records), reserved: new Set<string>() };
  assert.equal(desired(bindPrograms('n1', records).get('default/shop')!, null, facts(makeKernel(), { role: 'auto' }), duties).role, 'none');
});

test('a VirtualServer that changed its way is received for in both, until the old one is over', () => {
  const gue = { encapsulation: 'GUE' as const, port: 6080, checksum: 'None' as const };
  const programs = bindPrograms('n1', [{ bind: bind(), until: 50 }, { bind: bind({ mode: 'TUN', tunnel: gue }), until: null }]);
  assert.deepEqual([...programs].map(([owner, p]) => [owner, p.owner, p.spec.mode, virtualServerOf(owner)]), [
    ['default/shop', 'default/shop', 'TUN', 'default/shop'], ['default/shop (DR)', 'default/shop (DR)', 'DR', 'default/shop'],
  ]);
});
