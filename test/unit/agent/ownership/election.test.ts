/** Who should hold a VIP: the same answer everywhere, fair, and with as few moves as can be. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { candidatesFor, elect, type Electable, type Member } from '../../../../src/agent/ownership/election.ts';
import { rankOf, ranked } from '../../../../src/agent/ownership/rendezvous.ts';
import { networkOf } from '../../../../src/agent/network.ts';
import { contains, fromBigInt, parsePrefix } from '../../../../src/ip/ip.ts';

const member = (node: string, groups = ['edge'], prefixes: readonly string[] = ['10.0.1.0/24']): Member => ({
  node, groups: new Set(groups), networks: prefixes.map((text) => { const p = parsePrefix(text)!; return networkOf(p.address, p.length); }),
});
const vip = (fields: Partial<Electable> = {}): Electable => ({ address: '10.0.1.200', group: 'edge', bySubnet: true, preferred: null, ...fields });
const THREE = [member('a'), member('b'), member('c')];

const PINNED = ['3cdc462b0b0209a0', 'f578b3ba190f007f', '74808c7d29b0b56b', '65af3c005dc27361'];
test('the hash is what it always was: directors of two versions must agree', () => {
  const hex = (node: string, address: string) => { const { high, low } = rankOf(node, address); return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0'); };
  assert.deepEqual([hex('edge-1', '10.0.1.200'), hex('edge-2', '10.0.1.200'), hex('edge-1', 'fd00:1::200'), hex('', '')], PINNED);
});

const CANDIDATES: readonly [string, Electable, readonly Member[], string[]][] = [
  ['whoever directs for the group and has the network', vip(), THREE, ['a', 'b', 'c']],
  ['nobody of another group', vip(), [member('a', ['inner']), member('b', ['inner', 'edge'])], ['b']],
  ['nobody without the network', vip(), [member('a', ['edge'], ['10.0.2.0/24', 'fd00:1::/64']), member('b', ['edge'], ['10.0.2.0/24', '10.0.0.0/16'])], ['b']],
  ['whoever, when the group names its NIC', vip({ bySubnet: false }), [member('a', ['edge'], [])], ['a']],
  ['by the network of the right family', vip({ address: 'fd00:1::200' }), [member('a'), member('b', ['edge'], ['fd00:1::/64'])], ['b']],
  ['those with a real server, while there are such', vip({ preferred: new Set(['b', 'x']) }), THREE, ['b']],
  ['everybody again, when none of those is live', vip({ preferred: new Set(['x']) }), THREE, ['a', 'b', 'c']],
  ['everybody, when no real server is anywhere', vip({ preferred: new Set() }), THREE, ['a', 'b', 'c']],
];
for (const [name, electable, members, expected] of CANDIDATES) {
  test(`candidates: ${name}`, () => { assert.deepEqual(candidatesFor(electable, members), expected); });
}

test('an owner stays while it is a candidate, and only then', () => {
  for (const owner of ['a', 'b', 'c']) assert.deepEqual(elect(vip(), owner, THREE), { order: [owner], settled: true });
  const order = ranked(['a', 'b', 'c'], '10.0.1.200');
  assert.deepEqual(elect(vip(), '', THREE), { order, settled: false });
  assert.deepEqual(elect(vip(), 'gone', THREE), { order, settled: false });
  assert.deepEqual(elect(vip({ preferred: new Set(['b']) }), 'a', THREE), { order: ['b'], settled: false }, 'its real servers are elsewhere');
  assert.deepEqual(elect(vip(), '', []), { order: [], settled: false });
});

const names = fc.uniqueArray(fc.stringMatching(/^[a-z]([a-z0-9-]{0,20}[a-z0-9])?$/), { minLength: 1, maxLength: 8 });
const addresses = fc.oneof(fc.ipV4(), fc.bigInt({ min: 0x2000n << 112n, max: (0x3fffn << 112n) }).map((n) => fromBigInt(n, 'IPv6')));

test('whatever order members are seen in, everybody elects the same', () => {
  fc.assert(fc.property(names, addresses, fc.infiniteStream(fc.nat()), (nodes, address, numbers) => {
    const shuffled = nodes.map((node) => ({ node, n: numbers.next().value as number })).sort((x, y) => x.n - y.n).map((x) => x.node);
    const order = (list: readonly string[]) => elect(vip({ address, bySubnet: false }), '', list.map((n) => member(n))).order;
    assert.deepEqual(order(shuffled), order(nodes));
  }));
});

test('a director that goes moves only its own VIPs, and each to the next in order', () => {
  fc.assert(fc.property(names.filter((n) => n.length > 1), addresses, fc.nat(), (nodes, address, n) => {
    const before = ranked(nodes, address);
    const gone = nodes[n % nodes.length]!;
    assert.deepEqual(ranked(nodes.filter((x) => x !== gone), address), before.filter((x) => x !== gone));
  }));
});

test('VIPs are spread evenly, also those that differ in one digit', () => {
  const nodes = ['edge-1', 'edge-2', 'edge-3', 'edge-4'];
  const count = new Map(nodes.map((n) => [n, 0]));
  for (let i = 0; i < 4000; i++) {
    const [first] = ranked(nodes, `10.0.${i >> 8}.${i & 255}`);
    count.set(first!, count.get(first!)! + 1);
  }
  for (const n of count.values()) assert.ok(n > 850 && n < 1150, [...count.values()].join(' '));
});

test('a network holds what ip.ts says it holds', () => {
  fc.assert(fc.property(addresses, addresses, fc.nat(128), (network, address, bits) => {
    const length = Math.min(bits, network.includes(':') ? 128 : 32);
    const able = candidatesFor(vip({ address }), [{ node: 'a', groups: new Set(['edge']), networks: [networkOf(network, length)] }]);
    assert.equal(able.length === 1, contains(network, length, address));
  }));
});

test('5,000 VIPs of eight dead directors are ranked in no time', () => {
  const nodes = Array.from({ length: 8 }, (_, i) => `edge-${i}`);
  // Of this thread: others want the CPU, too.
  const started = process.threadCpuUsage();
  for (let i = 0; i < 5000; i++) ranked(nodes, `10.1.${i >> 8}.${i & 255}`);
  assert.ok(process.threadCpuUsage(started).user < 3_000_000);
});
