/** Who gets which address: pins, allocation, memory, sharing, refusals. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { VirtualServer } from '../../../../src/api/v1alpha1/index.ts';
import { NO_CLUSTER } from '../../../../src/controller/compile/cluster.ts';
import { readMemory, NO_MEMORY } from '../../../../src/controller/compile/memory.ts';
import { compile, group, pin, pool, ports, server, type World } from './setup.ts';

const A1 = '203.0.113.1';
const A2 = '203.0.113.2';
const A3 = '203.0.113.3';

/** Worlds one after the other, each with the memory of the one before. Returns the last outcome. */
function history(...worlds: World[]): Record<string, string> {
  let memory = NO_MEMORY;
  let outcome: Record<string, string> = {};
  for (const world of worlds) ({ memory, outcome } = compile({ ...world, memory }));
  return outcome;
}

const both = { vip: { families: ['IPv4', 'IPv6'] } };
const dual = pool('public', { blocks: [{ cidr: '203.0.113.0/29' }, { cidr: '2001:db8::/125' }] });

// ---- from nothing

const TABLE: readonly [string, World, Record<string, string>][] = [
  ['the lowest free address, by name', { servers: [server('b'), server('a')] }, { a: A1, b: A2 }],
  ['pins come before allocations', { servers: [server('a'), server('z', pin(A1))] }, { a: A2, z: A1 }],
  ['first and last address of a prefix are not allocated', { servers: ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((n) => server(n)) }, { a: A1, b: A2, c: A3, d: '203.0.113.4', e: '203.0.113.5', f: '203.0.113.6', g: 'PoolExhausted' }],
  ['but may be pinned', { servers: [server('a', pin('203.0.113.0'))] }, { a: '203.0.113.0' }],
  ['and are allocated where the pool says so', { servers: [server('a')], pools: [pool('public', { allocateFirstLast: true })] }, { a: '203.0.113.0' }],
  ['a range has no first and last to spare', { servers: [server('a')], pools: [pool('public', { blocks: [{ start: '198.51.100.10', stop: '198.51.100.11' }] })] }, { a: '198.51.100.10' }],
  ['a pair and a single host have none either', { servers: [server('a'), server('b')], pools: [pool('public', { blocks: [{ cidr: '198.51.100.8/32' }, { cidr: '198.51.100.10/31' }] })] }, { a: '198.51.100.8', b: '198.51.100.10' }],
  ['excluded addresses are neither allocated nor pinned', { servers: [server('a'), server('b', pin(A1))], pools: [pool('public', { excluded: [A1] })] }, { a: A2, b: 'AddressOutsidePools' }],
  ['one address of each family asked for', { servers: [server('a', both)], pools: [dual] }, { a: `${A1},2001:db8::1` }],
  ['IPv4 where nothing is said and the pool has both', { servers: [server('a')], pools: [dual] }, { a: A1 }],
  ['the family that there is', { servers: [server('a')], pools: [pool('public', { blocks: [{ cidr: '2001:db8::/125' }] })] }, { a: '2001:db8::1' }],
  ['no address of a family that the pool lacks', { servers: [server('a', { mode: 'TUN', vip: { families: ['IPv6'] } })] }, { a: 'PoolExhausted' }],
  ['no default pool', { servers: [server('a')], pools: [pool('other')] }, { a: 'PoolNotFound' }],
  ['of two default pools the first by name', { servers: [server('a')], pools: [pool('z', { default: true, blocks: [{ cidr: '198.51.100.0/29' }] }), pool()] }, { a: A1 }],
  ['a pool by name', { servers: [server('a', { vip: { poolRef: { name: 'other' } } })], pools: [pool(), pool('other', { blocks: [{ cidr: '198.51.100.0/29' }] })] }, { a: '198.51.100.1' }],
  ['a pool that does not exist', { servers: [server('a', { vip: { poolRef: { name: 'x' } } }), server('b', { vip: { poolRef: { name: 'x' }, addresses: [A1] } })] }, { a: 'PoolNotFound', b: 'PoolNotFound' }],
  ['an address in no pool, and one outside the pool that is named', { servers: [server('a', pin('192.0.2.1')), server('b', { vip: { poolRef: { name: 'other' }, addresses: [A1] } })], pools: [pool(), pool('other', { blocks: [{ cidr: '198.51.100.0/29' }] })] }, { a: 'AddressOutsidePools', b: 'AddressOutsidePools' }],
  ['namespaces that the pool does not admit', { servers: [server('x/a'), server('x/b', pin(A2))], pools: [pool('public', { allowedNamespaces: { names: ['y'] } })] }, { 'x/a': 'NamespaceNotAllowed', 'x/b': 'NamespaceNotAllowed' }],
  ['an empty selection admits nobody', { servers: [server('a')], pools: [pool('public', { allowedNamespaces: {} })] }, { a: 'NamespaceNotAllowed' }],
  ['a namespace by name', { servers: [server('y/a')], pools: [pool('public', { allowedNamespaces: { names: ['y'] } })] }, { 'y/a': A1 }],
  ['a namespace by label', { servers: [server('y/a'), server('x/a')], pools: [pool('public', { allowedNamespaces: { matchLabels: { team: 'shop' } } })], labels: { y: { team: 'shop' } } }, { 'y/a': A1, 'x/a': 'NamespaceNotAllowed' }],
  ['labels select nobody where there are none', { servers: [server('y/a')], pools: [pool('public', { allowedNamespaces: { matchLabels: { team: 'shop' } } })] }, { 'y/a': 'NamespaceNotAllowed' }],
  ['a pin in two pools is taken from the one that admits', { servers: [server('y/a', pin(A1))], pools: [pool('aa', { allowedNamespaces: {} }), pool('bb')] }, { 'y/a': A1 }],
  ['a quota', { servers: ['y/a', 'y/b', 'y/c', 'x/a'].map((n) => server(n)), pools: [pool('public', { quotaPerNamespace: 2 })] }, { 'y/a': A2, 'y/b': A3, 'y/c': 'PoolExhausted', 'x/a': A1 }],
  ['a quota counts every pinned address', { servers: [server('a', pin(A1, A2, A3))], pools: [pool('public', { quotaPerNamespace: 2 })] }, { a: 'PoolExhausted' }],
  ['a quota counts a shared address once', { servers: [server('a', pin(A1)), server('b', { ...pin(A1), ...ports(81) })], pools: [pool('public', { quotaPerNamespace: 1 })] }, { a: A1, b: A1 }],
  ['each pool has its own quota', { servers: [server('a', pin(A1, '198.51.100.1'))], pools: [pool('public', { quotaPerNamespace: 1 }), pool('other', { quotaPerNamespace: 1, blocks: [{ cidr: '198.51.100.0/29' }] })] }, { a: `${A1},198.51.100.1` }],
  ['a disabled pool gives nothing new', { servers: [server('a'), server('b', pin(A2))], pools: [pool('public', { disabled: true })] }, { a: 'PoolExhausted', b: 'PoolExhausted' }],
  ['a pool without autoAssign gives pins only', { servers: [server('a'), server('b', pin(A2))], pools: [pool('public', { autoAssign: false })] }, { a: 'PoolExhausted', b: A2 }],
  ['the same address with other ports, in one namespace', { servers: [server('a', pin(A1)), server('b', { ...pin(A1), ...ports(443) })] }, { a: A1, b: A1 }],
  ['the same port twice', { servers: [server('a', pin(A1)), server('b', pin(A1))] }, { a: A1, b: 'PortConflict' }],
  ['the same port, another protocol', { servers: [server('a', pin(A1)), server('b', { ...pin(A1), ...ports({ port: 80, protocol: 'UDP' }) })] }, { a: A1, b: A1 }],
  ['a port inside a range', { servers: [server('a', { ...pin(A1), ...ports([70, 90]) }), server('b', pin(A1))] }, { a: A1, b: 'PortConflict' }],
  ['a range over a port', { servers: [server('a', pin(A1)), server('b', { ...pin(A1), ...ports([70, 90]) })] }, { a: A1, b: 'PortConflict' }],
  ['ranges that touch', { servers: [server('a', { ...pin(A1), ...ports([70, 90]) }), server('b', { ...pin(A1), ...ports([90, 99]) })] }, { a: A1, b: 'PortConflict' }],
  ['ranges side by side', { servers: [server('a', { ...pin(A1), ...ports([70, 89]) }), server('b', { ...pin(A1), ...ports([90, 99]) })] }, { a: A1, b: A1 }],
  ['another namespace has the address', { servers: [server('x/a', pin(A1)), server('y/a', { ...pin(A1), ...ports(443) })] }, { 'x/a': A1, 'y/a': 'AddressInUse' }],
  ['pins in pools of different groups', { servers: [server('a', pin(A1, '198.51.100.1'))], pools: [pool('public', { directorGroupRef: { name: 'g' } }), pool('other', { blocks: [{ cidr: '198.51.100.0/29' }] })] }, { a: 'InvalidSpec' }],
  ['sharedFrom', { servers: [server('z'), server('a', { vip: { sharedFrom: { name: 'z' } }, ...ports(443) })] }, { z: A1, a: A1 }],
  ['sharedFrom with the same port', { servers: [server('z'), server('a', { vip: { sharedFrom: { name: 'z' } } })] }, { z: A1, a: 'PortConflict' }],
  ['sharedFrom nobody, oneself, or one without address', { servers: [server('a', { vip: { sharedFrom: { name: 'x' } } }), server('b', { vip: { sharedFrom: { name: 'b' } } }), server('c', { vip: { sharedFrom: { name: 'd' } } }), server('d', pin('192.0.2.1'))] }, { a: 'Pending', b: 'Pending', c: 'Pending', d: 'AddressOutsidePools' }],
  ['sharedFrom of another namespace', { servers: [server('x/a'), server('y/b', { vip: { sharedFrom: { name: 'a' } }, ...ports(443) })] }, { 'x/a': A1, 'y/b': 'Pending' }],
  ['sharedFrom of one who shares, whatever the names', { servers: [server('m'), server('b', { vip: { sharedFrom: { name: 'm' } }, ...ports(81) }), server('a', { vip: { sharedFrom: { name: 'b' } }, ...ports(82) }), server('c', { vip: { sharedFrom: { name: 'b' } }, ...ports(83) })] }, { m: A1, b: A1, a: 'Pending', c: 'Pending' }],
];
for (const [name, world, expected] of TABLE) {
  test(`claims: ${name}`, () => { assert.deepEqual(compile(world).outcome, expected); });
}

test('every refusal says what to do', () => {
  for (const [, world] of TABLE) {
    for (const v of Object.values(compile(world).verdicts)) if (!v.accepted) assert.match(v.message, /;|quotaPerNamespace|takes no new claims|has no address/, v.message);
  }
});

// ---- over time

const HISTORIES: readonly [string, World[], Record<string, string>][] = [
  ['memory keeps addresses when names before it come', [{ servers: [server('m')] }, { servers: [server('m'), server('a')] }], { m: A1, a: A2 }],
  ['a newcomer\'s pin does not take an allocated address of another namespace', [{ servers: [server('x/m')] }, { servers: [server('x/m'), server('a', pin(A1))] }], { 'x/m': A1, a: 'AddressInUse' }],
  ['nor an allocated address with the same port', [{ servers: [server('m')] }, { servers: [server('m'), server('a', pin(A1))] }], { m: A1, a: 'PortConflict' }],
  ['a newcomer who shares the address by ports, with an earlier name, does not drive the holder out', [{ servers: [server('m')] }, { servers: [server('m'), server('a', { ...pin(A1), ...ports(443) })] }, { servers: [server('m'), server('a', { ...pin(A1), ...ports(443) })] }], { m: A1, a: A1 }],
  ['one who has an address and moves to another is a newcomer there', [{ servers: [server('a', pin(A1)), server('z', pin(A2))] }, { servers: [server('a', pin(A2)), server('z', pin(A2))] }], { a: 'PortConflict', z: A2 }],
  ['one who takes one more port is a newcomer on that port', [{ servers: [server('a', pin(A1)), server('z', { ...pin(A1), ...ports(81) })] }, { servers: [server('a', { ...pin(A1), ...ports(80, 81) }), server('z', { ...pin(A1), ...ports(81) })] }], { a: 'PortConflict', z: A1 }],
  ['two who swap addresses both get them', [{ servers: [server('a', pin(A1)), server('b', pin(A2))] }, { servers: [server('a', pin(A2)), server('b', pin(A1))] }], { a: A2, b: A1 }],
  ['an address that is left is free at once', [{ servers: [server('m', pin(A1))] }, { servers: [server('m', pin(A2)), server('a', pin(A1))] }], { m: A2, a: A1 }],
  ['one who cannot move stays where it was, and nobody is let in meanwhile', [{ servers: [server('m', pin(A1))] }, { servers: [server('m', pin('192.0.2.1')), server('a', pin(A1)), server('b')] }], { m: 'AddressOutsidePools', a: 'PortConflict', b: A2 }],
  ['also where the other moves, too, and has the earlier name', [{ servers: [server('m', pin(A1)), server('a', pin(A2))] }, { servers: [server('m', pin('192.0.2.1')), server('a', pin(A1))] }], { m: 'AddressOutsidePools', a: 'PortConflict' }],
  ['and it keeps the ports that it had, not those that it asks for', [{ servers: [server('m', pin(A1))] }, { servers: [server('m', { ...pin('192.0.2.1'), ...ports(81) }), server('a', pin(A1)), server('b', { ...pin(A1), ...ports(81) })] }], { m: 'AddressOutsidePools', a: 'PortConflict', b: A1 }],
  ['a pool that is disabled keeps old claims', [{ servers: [server('m'), server('p', pin(A2))] }, { servers: [server('m'), server('p', pin(A2)), server('n')], pools: [pool('public', { disabled: true })] }], { m: A1, p: A2, n: 'PoolExhausted' }],
  ['autoAssign switched off keeps old claims', [{ servers: [server('m')] }, { servers: [server('m'), server('a')], pools: [pool('public', { autoAssign: false })] }], { m: A1, a: 'PoolExhausted' }],
  ['a quota that shrinks keeps old claims, and counts them', [{ servers: [server('m'), server('n')] }, { servers: [server('m'), server('n'), server('a')], pools: [pool('public', { quotaPerNamespace: 1 })] }], { m: A1, n: A2, a: 'PoolExhausted' }],
  ['a pool that gets IPv4 later does not move who has IPv6', [{ servers: [server('m')], pools: [pool('public', { blocks: [{ cidr: '2001:db8::/125' }] })] }, { servers: [server('m'), server('n')], pools: [dual] }], { m: '2001:db8::1', n: A1 }],
  ['a family more keeps the one that was there', [{ servers: [server('a'), server('m', both)], pools: [dual] }, { servers: [server('m', both)], pools: [dual] }], { m: `${A2},2001:db8::1` }],
  ['an address that left its pool is given up for another', [{ servers: [server('m')] }, { servers: [server('m')], pools: [pool('public', { blocks: [{ cidr: '198.51.100.0/29' }] })] }], { m: '198.51.100.1' }],
  ['an allocated address with a port in its way waits rather than moves', [{ servers: [server('m')] }, { servers: [server('m'), server('a', { ...pin(A1), ...ports(443) })] }, { servers: [server('m', ports(443)), server('a', { ...pin(A1), ...ports(443) })] }], { m: 'PortConflict', a: A1 }],
  ['deleted is forgotten', [{ servers: [server('m')] }, { servers: [] }, { servers: [server('n')] }], { n: A1 }],
  ['suspended keeps its address', [{ servers: [server('m', { suspend: true })] }, { servers: [server('m', { suspend: true }), server('a')] }], { m: A1, a: A2 }],
  ['who cannot be read keeps its address and its ports', [{ servers: [server('m'), server('n', pin(A2))] }, { servers: [server('a'), server('b', pin(A2)), server('c', { ...pin(A2), ...ports(81) })], unread: ['default/m', 'default/n'] }], { a: A3, b: 'PortConflict', c: A2 }],
];
for (const [name, worlds, expected] of HISTORIES) {
  test(`over time: ${name}`, () => { assert.deepEqual(history(...worlds), expected); });
}

test('what memory says of who cannot be read survives, so that a second restart knows it, too', () => {
  const first = compile({ servers: [server('m', ports([70, 90]))] });
  const second = compile({ servers: [server('a')], unread: ['default/m'], memory: first.memory });
  assert.deepEqual([second.memory.claims['default/m'], second.memory.ports['default/m'], second.memory.marks['default/m#TCP/70-90']], [[A1], ['TCP/70-90'], first.memory.marks['default/m#TCP/70-90']]);
});

test('readMemory takes what we write, also of the time before ports, and nothing else', () => {
  const { memory } = compile({ servers: [server('a', ports([70, 90]))] });
  assert.deepEqual(readMemory(JSON.parse(JSON.stringify(memory))), memory);
  assert.deepEqual(readMemory({ claims: memory.claims, marks: memory.marks }), { ...memory, ports: {} });
  for (const wrong of [null, 1, [], {}, { claims: { a: 'x' }, marks: {} }, { claims: {}, marks: { a: 'x' } }, { claims: {}, marks: {}, ports: { a: [1] } }]) assert.deepEqual(readMemory(wrong), NO_MEMORY);
});

// ---- properties

const anyServer = fc.record({
  name: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'x/a', 'x/b'),
  vip: fc.oneof(fc.constant(undefined), fc.constantFrom(A1, A2, A3).map((a) => ({ addresses: [a] })), fc.constantFrom('a', 'b', 'c').map((n) => ({ sharedFrom: { name: n } })), fc.constant({ families: ['IPv4', 'IPv6'] })),
  port: fc.constantFrom(80, 81, [75, 85] as [number, number], [200, 210] as [number, number]),
}).map(({ name, vip, port }) => server(name, { ...(vip && { vip }), ...ports(port) }));
const someServers = fc.uniqueArray(anyServer, { maxLength: 7, selector: (s: VirtualServer) => `${s.metadata.namespace}/${s.metadata.name}` });
const pools = [dual, pool('other', { blocks: [{ cidr: '198.51.100.0/29' }], directorGroupRef: { name: 'edge' } })];

test('the order of the input changes nothing', () => {
  fc.assert(fc.property(someServers, someServers, fc.boolean(), (old, now, reverse) => {
    const before = compile({ servers: old, pools });
    const groups = [group('edge'), group('inner')];
    const flip = <T>(list: readonly T[]) => (reverse ? list.toReversed() : [...list.slice(1), ...list.slice(0, 1)]);
    const one = compile({ servers: now, pools, groups, memory: before.memory });
    const shuffledMemory = { ...before.memory, claims: Object.fromEntries(Object.entries(before.memory.claims).reverse()), ports: Object.fromEntries(Object.entries(before.memory.ports).reverse()) };
    const other = compile({ servers: flip(now), pools: flip(pools), groups: flip(groups), memory: shuffledMemory });
    assert.deepEqual(other.verdicts, one.verdicts);
    assert.deepEqual(other.memory, one.memory);
  }), { numRuns: 100 });
});

test('no two VirtualServers ever get the same port of an address, no two namespaces the same address, and a second look changes nothing', () => {
  fc.assert(fc.property(someServers, someServers, (old, now) => {
    const { memory } = compile({ servers: old, pools });
    const { verdicts, memory: next } = compile({ servers: now, pools, memory });
    const taken = new Map<string, string>();
    for (const s of now) {
      const verdict = verdicts[`${s.metadata.namespace}/${s.metadata.name}`]!;
      for (const address of verdict.accepted ? verdict.addresses : []) {
        assert.equal(taken.get(address) ?? s.metadata.namespace, s.metadata.namespace);
        taken.set(address, s.metadata.namespace);
        for (const p of s.spec.ports) {
          for (let port = p.port; port <= (p.endPort ?? p.port); port++) {
            assert.ok(!taken.has(`${address} ${port}`), `${address} ${port}`);
            taken.set(`${address} ${port}`, s.metadata.name);
          }
        }
      }
    }
    assert.deepEqual(compile({ servers: now, pools, memory: next }).verdicts, verdicts);
  }), { numRuns: 100 });
});

test('a newcomer never changes what others were given', () => {
  fc.assert(fc.property(someServers, anyServer, (old, newcomer) => {
    const before = compile({ servers: old, pools });
    const others = old.filter((s) => s.metadata.name !== newcomer.metadata.name || s.metadata.namespace !== newcomer.metadata.namespace);
    if (others.length < old.length) return;
    const after = compile({ servers: [...old, newcomer], pools, memory: before.memory });
    for (const [k, v] of Object.entries(before.verdicts)) if (v.accepted) assert.deepEqual([after.verdicts[k]!.accepted, after.verdicts[k]!.addresses], [true, v.addresses], k);
  }), { numRuns: 100 });
});

test('a VirtualIP has room for 256 VirtualServers; a host without a cluster knows no such bound', () => {
  const list = Array.from({ length: 257 }, (_, i) => server(`s${String(i).padStart(3, '0')}`, { ...pin('203.0.113.1'), ...ports(1000 + i) }));
  const { outcome, verdicts } = compile({ servers: list, cluster: { ...NO_CLUSTER, present: true } });
  assert.deepEqual([Object.values(outcome).filter((o) => o === '203.0.113.1').length, outcome['s256']], [256, 'AddressInUse']);
  assert.match(verdicts['default/s256']!.message, /203\.0\.113\.1 has 256 VirtualServers, .*; choose another address/);
  assert.equal(compile({ servers: list }).outcome['s256'], '203.0.113.1');
  // Who has a part of it keeps it, and may have other ports.
  const { memory } = compile({ servers: list.slice(0, 256), cluster: { ...NO_CLUSTER, present: true } });
  const changed = list.slice(0, 256).with(3, server('s003', { ...pin('203.0.113.1'), ...ports(9) }));
  assert.equal(compile({ servers: changed, memory, cluster: { ...NO_CLUSTER, present: true } }).outcome['s003'], '203.0.113.1');
});

test('thousands of allocations and of services on one address take no quadratic time', () => {
  const big = pool('public', { blocks: [{ cidr: '10.128.0.0/16' }] });
  const list = Array.from({ length: 3000 }, (_, i) => server(`s${i}`));
  const shared = Array.from({ length: 3000 }, (_, i) => server(`p${i}`, { ...pin('10.128.200.1'), ...ports(1000 + i) }));
  // Of this thread: others want the CPU, too.
  const start = process.threadCpuUsage();
  const { outcome } = compile({ servers: [...list, ...shared], pools: [big] });
  const ms = process.threadCpuUsage(start).user / 1_000;
  assert.equal(new Set(Object.values(outcome)).size, 3001);
  // Quadratic it took 20 times as long; this is a bound for a machine in distress.
  assert.ok(ms < 5000, `${ms} ms`);
});
