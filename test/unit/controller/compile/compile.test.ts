/** What a VirtualServer becomes: programs, marks, excluded real servers, groups, the hash. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { ProgramSpec } from '../../../../src/api/v1alpha1/program.ts';
import { groupSettings } from '../../../../src/api/v1alpha1/program.ts';
import { hashOf, type Verdict } from '../../../../src/controller/compile/compile.ts';
import { EXCLUDED_SHOWN } from '../../../../src/controller/compile/endpoints.ts';
import { assignMarks, MARK_BASE } from '../../../../src/controller/compile/marks.ts';
import { NO_MEMORY } from '../../../../src/controller/compile/memory.ts';
import { compile, endpoints, group, pin, pool, ports, server, type World } from './setup.ts';

const A1 = '203.0.113.1';
const V6 = '2001:db8::1';
const dual = pool('public', { blocks: [{ cidr: '203.0.113.0/29' }, { cidr: '2001:db8::/125' }] });

function verdict(spec: Record<string, unknown>, world: World = {}): Verdict {
  return compile({ ...world, servers: [server('shop', spec), ...world.servers ?? []] }).verdicts['default/shop']!;
}
function spec(fields: Record<string, unknown>, world: World = {}): ProgramSpec {
  const v = verdict(fields, world);
  assert.ok(v.program, v.message);
  return v.program.spec;
}

test('a program says everything, and nothing that is not used', () => {
  const { contentHash, ...rest } = spec({ ports: [{ name: 'http', port: 80, targetPort: 8080 }], connectionLimits: { upper: 9, lower: 3 }, drain: { timeoutSeconds: 7 }, ...endpoints({ address: '10.0.0.22', weight: 5 }, '10.0.0.21') });
  assert.match(contentHash, /^[0-9a-f]{16}$/);
  assert.deepEqual(rest, {
    directorGroup: '', addresses: [{ address: A1, family: 'IPv4' }], mode: 'NAT', sourceAddress: 'Masquerade', tunnel: null,
    scheduler: { name: 'wrr', fallback: false, portAware: false, onePacket: false }, persistence: null,
    services: [{ ports: [{ name: 'http', protocol: 'TCP', port: 80, endPort: 80 }], mark: 0, realServers: ['10.0.0.21|8080|1|', '10.0.0.22|8080|5|'] }],
    connectionLimits: { upper: 9, lower: 3 }, drainTimeoutSeconds: 7,
  });
});

for (const [name, fields, expected] of [
  ['Auto is Masquerade', {}, 'Masquerade'], ['Preserve', { nat: { sourceAddress: 'Preserve' } }, 'Preserve'], ['VirtualIP', { nat: { sourceAddress: 'VirtualIP' } }, 'VirtualIP'], ['DR has none', { mode: 'DR' }, 'Preserve'],
] as const) {
  test(`source address: ${name}`, () => { assert.equal(spec(fields).sourceAddress, expected); });
}

for (const [name, tun, expected] of [
  ['IPIP by default', undefined, { encapsulation: 'IPIP', port: 0, checksum: 'None' }], ['GUE with its own port', { encapsulation: 'GUE' }, { encapsulation: 'GUE', port: 6080, checksum: 'None' }],
  ['GUE with a port', { encapsulation: 'GUE', port: 7000, checksum: 'RemoteChecksum' }, { encapsulation: 'GUE', port: 7000, checksum: 'RemoteChecksum' }],
  ['GRE', { encapsulation: 'GRE', checksum: 'Checksum' }, { encapsulation: 'GRE', port: 0, checksum: 'Checksum' }],
] as const) {
  test(`tunnel: ${name}`, () => { assert.deepEqual(spec({ mode: 'TUN', ...(tun && { tun }) }).tunnel, expected); });
}

test('persistence, and nothing of it where there is none', () => {
  assert.deepEqual(spec({ persistence: { timeoutSeconds: 60, ipv4PrefixLength: 24 } }).persistence, { timeoutSeconds: 60, ipv4PrefixLength: 24, ipv6PrefixLength: 128, engine: '' });
  assert.equal(spec({ persistence: { engine: 'sip' }, ports: [{ port: 5060, protocol: 'UDP' }] }).persistence?.engine, 'sip');
});

test('each port is a service; a range is one with a mark; scope AllPorts makes one of all', () => {
  const list = ports(80, { port: 30_000, endPort: 30_100, protocol: 'UDP' });
  const [http, media, ...more] = spec(list).services;
  assert.deepEqual([http!.mark, http!.realServers, more], [0, ['10.0.0.21|80|1|'], []]);
  assert.ok(media!.mark >= MARK_BASE);
  assert.deepEqual([media!.ports, media!.realServers], [[{ name: '', protocol: 'UDP', port: 30_000, endPort: 30_100 }], ['10.0.0.21|0|1|']]);
  const all = spec({ ...list, persistence: { scope: 'AllPorts' } }).services;
  assert.deepEqual([all.length, all[0]!.ports.length, all[0]!.mark >= MARK_BASE, all[0]!.realServers], [1, 2, true, ['10.0.0.21|0|1|']]);
});

test('an endPort that is the port is no range', () => {
  assert.deepEqual(spec({ ports: [{ port: 80, endPort: 80 }] }).services.map((s) => s.mark), [0]);
});

test('a suspended VirtualServer keeps its address and has no program', () => {
  const v = verdict({ suspend: true });
  assert.deepEqual([v.accepted, v.reason, v.addresses, v.program], [true, 'Suspended', [A1], null]);
});

// ---- real servers

test('weights: the endpoint\'s, else the backend\'s; the first mention of an address counts', () => {
  const backends = [{ weight: 7, static: { endpoints: [{ address: '10.0.0.1' }, { address: '10.0.0.2', weight: 0 }] } }, { static: { endpoints: [{ address: '10.0.0.3' }] } }];
  assert.deepEqual(spec({ backends }).services[0]!.realServers, ['10.0.0.1|80|7|', '10.0.0.2|80|0|', '10.0.0.3|80|1|']);
});

const EXCLUDED: readonly [string, Record<string, unknown>, World, string, RegExp][] = [
  ['no static backend without the pool\'s leave', endpoints('10.0.0.1'), { pools: [pool('public', { allowStaticBackendCIDRs: [] })] }, 'EndpointNotPermitted', /add its network to spec\.allowStaticBackendCIDRs/],
  ['outside the networks that the pool allows', endpoints('192.0.2.1'), {}, 'EndpointNotPermitted', /does not permit 192\.0\.2\.1/],
  ['the VIP of another', endpoints('203.0.113.5'), { servers: [server('other', pin('203.0.113.5'))], pools: [pool('public', { allowStaticBackendCIDRs: ['203.0.113.0/24'] })] }, 'EndpointNotPermitted', /the VIP of default\/other/],
  ['its own VIP, allocated', endpoints(A1), { pools: [pool('public', { allowStaticBackendCIDRs: ['203.0.113.0/24'] })] }, 'EndpointNotPermitted', /the VIP of default\/shop/],
  ['another family without a tunnel', endpoints('fd00::1'), {}, 'UnsupportedBackendForMode', /only mode TUN crosses families/],
  ['another family with connection sync', { mode: 'TUN', ...endpoints('fd00::1') }, { groups: [group('g', { connectionSync: { enabled: true, interface: 'e1' } })] }, 'UnsupportedBackendForMode', /connectionSync/],
];
for (const [name, fields, world, reason, message] of EXCLUDED) {
  test(`excluded: ${name}`, () => {
    const v = verdict(fields, world);
    assert.deepEqual([v.accepted, v.excludedCount, v.excluded.map((e) => e.reason), v.program!.spec.services[0]!.realServers], [true, 1, [reason], []]);
    assert.match(v.excluded[0]!.message, message);
  });
}

test('TUN crosses families', () => {
  assert.deepEqual(spec({ mode: 'TUN', ...endpoints('fd00::1') }).services[0]!.realServers, ['fd00::1|80|1|']);
});

test('a VirtualServer of both families takes real servers of both', () => {
  assert.deepEqual(spec({ ...pin(A1, V6), ...endpoints('fd00::1', '10.0.0.1') }, { pools: [dual] }).services[0]!.realServers, ['10.0.0.1|80|1|', 'fd00::1|80|1|']);
});

test('a status names at most 16 excluded ones and counts all', () => {
  const v = verdict(endpoints(...Array.from({ length: 30 }, (_, i) => `192.0.2.${i + 1}`)));
  assert.deepEqual([v.excluded.length, v.excludedCount], [EXCLUDED_SHOWN, 30]);
});

// ---- groups

test('the group of the pool, the only one, or none at all', () => {
  const named = pool('public', { directorGroupRef: { name: 'edge' } });
  assert.equal(spec({}, { pools: [named], groups: [group('edge'), group('x')] }).directorGroup, 'edge');
  assert.equal(spec({}, { groups: [group('x')] }).directorGroup, 'x');
  assert.equal(spec({}).directorGroup, '');
  assert.deepEqual([verdict({}, { pools: [named] }), verdict({}, { groups: [group('a'), group('b')] })].map((v) => [v.accepted, v.reason, v.program]), [[false, 'Pending', null], [false, 'Pending', null]]);
});

test('groupSettings: what the kernel needs of a DirectorGroup', () => {
  assert.deepEqual(groupSettings(group('g')), { name: 'g', nodeSelector: null, interface: { match: 'SubnetOf' }, timeouts: null, connectionSync: null });
  assert.deepEqual(groupSettings(group('g', {
    nodeSelector: { matchLabels: { a: 'b' } }, interface: { match: 'Name', name: 'e0' }, timeouts: { tcpSeconds: 5 }, connectionSync: { enabled: true, interface: 'e1', syncId: 9 },
  })), { name: 'g', nodeSelector: { a: 'b' }, interface: { match: 'Name', name: 'e0' }, timeouts: { tcp: 5, tcpFin: 120, udp: 300 }, connectionSync: { interface: 'e1', syncId: 9 } });
  assert.deepEqual(groupSettings(group('g', { interface: { match: 'Regex', regex: 'e.*' } })).interface, { match: 'Regex', regex: 'e.*' });
});

// ---- the hash

test('contentHash: equal where programs are equal, different where anything differs', () => {
  const base = { ports: [{ port: 80 }], ...pin(A1), ...endpoints('10.0.0.1', '10.0.0.2') };
  const variants: Record<string, unknown>[] = [
    base, { ...base, ...pin('203.0.113.2') }, { ...base, mode: 'DR' }, { ...base, mode: 'TUN' }, { ...base, mode: 'TUN', tun: { encapsulation: 'GRE' } },
    { ...base, mode: 'TUN', tun: { encapsulation: 'GRE', checksum: 'Checksum' } }, { ...base, nat: { sourceAddress: 'Preserve' } }, { ...base, ports: [{ port: 81 }] },
    { ...base, ports: [{ port: 80, targetPort: 8080 }] }, { ...base, ports: [{ port: 80, protocol: 'UDP' }] }, { ...base, ports: [{ port: 80, name: 'x' }] }, { ...base, ports: [{ port: 80, endPort: 81 }] },
    { ...base, scheduler: { name: 'mh' } }, { ...base, scheduler: { name: 'mh', fallback: true } }, { ...base, scheduler: { name: 'mh', portAware: true } }, { ...base, persistence: {} },
    { ...base, persistence: { timeoutSeconds: 1 } }, { ...base, connectionLimits: { upper: 1 } }, { ...base, drain: { timeoutSeconds: 1 } }, { ...base, ...endpoints('10.0.0.1') }, { ...base, ...endpoints('10.0.0.1', { address: '10.0.0.2', weight: 2 }) },
  ];
  const hashes = variants.map((v) => spec(v).contentHash);
  assert.equal(new Set(hashes).size, variants.length);
  assert.equal(spec({ ...base, ...endpoints('10.0.0.2', '10.0.0.1') }).contentHash, hashes[0], 'the order of endpoints is no content');
  assert.equal(spec(base, { groups: [group('g')] }).contentHash === hashes[0], false, 'the group is content');
});

test('contentHash does not depend on the order in which members were written', () => {
  const turned = <T>(value: T): T => JSON.parse(JSON.stringify(value), (_, v: unknown) => (v && typeof v === 'object' && !Array.isArray(v) ? Object.fromEntries(Object.entries(v).reverse()) : v)) as T;
  const one = server('shop', { scheduler: { name: 'mh', fallback: true }, connectionLimits: { upper: 3, lower: 1 }, persistence: { timeoutSeconds: 9 } });
  const hash = (s: typeof one) => compile({ servers: [s] }).verdicts['default/shop']!.program!.spec.contentHash;
  assert.equal(hash(turned(one)), hash(one));
});

// ---- marks

test('marks: different for different names, the same for the same name in any company, and kept once given', () => {
  const names = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 8 }), { maxLength: 200 });
  fc.assert(fc.property(names, names, (old, now) => {
    const before = assignMarks(old, NO_MEMORY);
    assert.equal(new Set(before.values()).size, old.length);
    for (const mark of before.values()) assert.ok(mark >= MARK_BASE && mark < MARK_BASE + 0x4000);
    const after = assignMarks([...now, ...old].filter((n, i, all) => all.indexOf(n) === i), { ...NO_MEMORY, marks: Object.fromEntries(before) });
    assert.equal(new Set(after.values()).size, after.size);
    for (const [name, mark] of before) assert.equal(after.get(name), mark);
    assert.deepEqual(assignMarks(old.toReversed(), NO_MEMORY), before);
  }), { numRuns: 100 });
});

test('marks: a memory that gives two names one mark, or a mark that is not ours, is not followed', () => {
  const marks = assignMarks(['a', 'b', 'c'], { ...NO_MEMORY, marks: { a: MARK_BASE + 5, b: MARK_BASE + 5, c: 0x4000 } });
  assert.equal(marks.get('a'), MARK_BASE + 5);
  assert.equal(new Set(marks.values()).size, 3);
  assert.ok((marks.get('c') ?? 0) >= MARK_BASE);
});

test('when all 16,384 marks are given the next VirtualServer is refused by name, and the others keep theirs', () => {
  const names = Array.from({ length: 0x4000 }, (_, i) => `n${i}`);
  const marks = assignMarks([...names, 'zz'], NO_MEMORY);
  assert.deepEqual([marks.size, marks.has('zz')], [0x4000, false]);
});

test('who waits for its DirectorGroup has no address yet; who had one keeps it, wherever it wants to go', () => {
  const pools = [pool('public', { directorGroupRef: { name: 'edge' } })];
  const { verdicts, memory } = compile({ servers: [server('shop')], pools });
  assert.deepEqual([verdicts['default/shop']!.accepted, verdicts['default/shop']!.reason, memory.claims], [false, 'Pending', {}]);
  assert.match(verdicts['default/shop']!.message, /DirectorGroup edge of VIPPool public does not exist; create it/);
  const before = compile({ servers: [server('shop', pin('203.0.113.1'))], pools, groups: [group('edge')] }).memory;
  const moving = [server('shop', pin('203.0.113.2')), server('other', pin('203.0.113.1'))];
  const after = compile({ servers: moving, pools, memory: before });
  assert.deepEqual([after.outcome, after.memory.claims], [{ shop: 'Pending', other: 'PortConflict' }, { 'default/shop': ['203.0.113.1'] }]);
});

test('the hash of a program is that of its content, in whatever order the object was built', () => {
  const specs = [{}, { mode: 'TUN', tun: { encapsulation: 'GUE' } }, { persistence: { timeoutSeconds: 60 } }, { ...ports([3000, 3010]), trafficPolicy: 'Local' }];
  const reversed = (value: unknown): unknown => (Array.isArray(value) ? value.map(reversed) : typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).reverse().map(([k, v]) => [k, reversed(v)])) : value);
  const hashes = specs.map((spec) => {
    const program = compile({ servers: [server('shop', spec)] }).verdicts['default/shop']!.program!;
    assert.equal(hashOf(reversed(program.spec) as ProgramSpec), program.spec.contentHash);
    assert.notEqual(hashOf({ ...program.spec, drainTimeoutSeconds: 1 }), program.spec.contentHash);
    return program.spec.contentHash;
  });
  assert.equal(new Set(hashes).size, specs.length);
});
