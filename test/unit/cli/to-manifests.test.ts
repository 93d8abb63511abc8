/** From an IPVS table to manifests: the pipeline makes the same table of them, and what they cannot say is listed. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { loadAll } from 'js-yaml';
import { sortTable, type TableEntry } from '../../../src/cli/ipvs-table.ts';
import { parseIpvsadm } from '../../../src/cli/ipvsadm-parse.ts';
import { printIpvsadm } from '../../../src/cli/ipvsadm-text.ts';
import { manifestYaml } from '../../../src/cli/manifest-yaml.ts';
import { toManifests } from '../../../src/cli/to-manifests.ts';
import { DestinationTable } from '../../../src/kernel/ipvs/destinations.ts';
import { serviceKey, SERVICE_FLAG } from '../../../src/kernel/ipvs/types.ts';
import { objectsOf, tableFrom } from './pipeline.ts';
import { anyTable, entry, expressibleTable, withoutLines } from './tables.ts';

const OPTIONS = { namespace: 'default', pool: 'imported' };
const yamlOf = (table: readonly TableEntry[]) => manifestYaml(toManifests(table, OPTIONS), 'a test');
const packed = (table: readonly TableEntry[]) => new Map(table.map(({ service, destinations }) => [serviceKey(service), { service, words: DestinationTable.from(destinations).words }]));

test('text, manifests, pipeline: the same table comes out', () => {
  fc.assert(fc.property(expressibleTable, (table) => {
    const { entries, problems } = parseIpvsadm(printIpvsadm(table));
    assert.deepEqual(problems, []);
    const made = toManifests(entries, OPTIONS);
    assert.deepEqual(made.leftOut, []);
    const back = tableFrom(manifestYaml(made, 'a test'));
    assert.deepEqual(withoutLines(sortTable(back)), withoutLines(table));
    assert.deepEqual(packed(back), packed(table));
  }), { numRuns: 60 });
});

test('of any table, every service is either in the manifests, unchanged, or left out with a reason', () => {
  fc.assert(fc.property(anyTable, (table) => {
    const made = toManifests(table, OPTIONS);
    const out = new Set(made.leftOut.map((r) => r.service));
    const back = tableFrom(manifestYaml(made, 'a test'));
    assert.deepEqual(withoutLines(sortTable(back)), withoutLines(table.filter(({ service }) => !out.has(serviceKey(service)))));
  }), { numRuns: 100 });
});

test('ports of one VIP that differ in nothing else become one VirtualServer', () => {
  const { virtualServers } = toManifests([entry({ port: 80 }, {}), entry({ port: 443 }, {}), entry({ port: 53, protocol: 'UDP' }, {})], OPTIONS);
  assert.deepEqual(virtualServers.map((v) => [v.metadata.name, v.spec.ports]), [
    ['vs-192-0-2-10-tcp-80', [{ port: 80, protocol: 'TCP' }, { port: 443, protocol: 'TCP' }, { port: 53, protocol: 'UDP' }]],
  ]);
});

const DIFFERENCES: readonly (readonly [what: string, other: TableEntry])[] = [
  ['the VIP', entry({ port: 81, address: '192.0.2.11' }, {})],
  ['the scheduler', entry({ port: 81, scheduler: 'wrr' }, {})],
  ['a flag', entry({ port: 81, flags: SERVICE_FLAG.persistent, timeoutSeconds: 5 }, {})],
  ['the mode', entry({ port: 81 }, { method: 'masq' })],
  ['a weight', entry({ port: 81 }, { weight: 2 })],
  ['a real server', entry({ port: 81 }, { address: '10.0.0.2' })],
  ['a threshold', entry({ port: 81 }, { upper: 2 })],
];
for (const [what, other] of DIFFERENCES) {
  test(`services that differ in ${what} become two VirtualServers`, () => {
    assert.equal(toManifests([entry({}, {}), other], OPTIONS).virtualServers.length, 2);
  });
}

test('NAT keeps the client’s address, and rewrites the port where ipvsadm does', () => {
  const yaml = yamlOf([entry({}, { method: 'masq', port: 8080, weight: 3 }, { method: 'masq', port: 8080, address: '10.0.0.2', weight: 3 })]);
  assert.match(yaml, /^# NAT keeps the address of the client/m);
  const [pool, server] = loadAll(yaml) as { spec: Record<string, unknown> }[];
  assert.deepEqual(pool!.spec, { blocks: [{ cidr: '192.0.2.10/32' }], autoAssign: false, allowedNamespaces: { names: ['default'] }, allowStaticBackendCIDRs: ['10.0.0.1/32', '10.0.0.2/32'] });
  assert.deepEqual(server!.spec, {
    vip: { addresses: ['192.0.2.10'] }, mode: 'NAT', nat: { sourceAddress: 'Preserve' }, ports: [{ port: 80, protocol: 'TCP', targetPort: 8080 }],
    scheduler: { name: 'rr' }, backends: [{ weight: 3, static: { endpoints: [{ address: '10.0.0.1' }, { address: '10.0.0.2' }] } }],
  });
  assert.match(yaml, /\n +- ?\{ ?address: 10\.0\.0\.1 ?\}\n/, 'a real server a line');
});

const LEFT_OUT: readonly (readonly [what: string, table: TableEntry, message: RegExp])[] = [
  ['two forwarding methods', entry({}, { method: 'masq' }, { address: '10.0.0.2' }), /different forwarding methods/],
  ['a fwmark', entry({ fwmark: 7, address: '', port: 0 }, { port: 80 }), /does not say which ports/],
  ['every port', entry({ port: 0, flags: 1, timeoutSeconds: 9 }, {}), /serves every port/],
  ['a weight above 65535', entry({}, { weight: 65_536 }), /weight 65536, above 65535/],
  ['thresholds that differ', entry({}, { upper: 5 }, { address: '10.0.0.2', upper: 6 }), /different connection thresholds/],
  ['a lower threshold above the upper one', entry({}, { upper: 5, lower: 6 }), /lower is 6, above upper/],
  ['another port with direct routing', entry({}, { port: 8080 }), /port 8080, but direct routing does not rewrite ports: they are reached on 80/],
  ['another port in a tunnel', entry({}, { port: 8080, method: 'tunnel' }), /tunnels do not rewrite ports/],
  ['different ports with NAT', entry({}, { method: 'masq', port: 81 }, { method: 'masq', port: 82, address: '10.0.0.2' }), /listen on different ports/],
  ['scheduler twos', entry({ scheduler: 'twos' }, {}), /scheduler twos cannot be asked for/],
  ['no scheduler', entry({ scheduler: 'none' }, {}), /scheduler none cannot be asked for/],
  ['flags of a scheduler that has none', entry({ flags: SERVICE_FLAG.sched1 }, {}), /gives its flags no meaning/],
  ['flag 3', entry({ scheduler: 'sh', flags: SERVICE_FLAG.sched3 }, {}), /gives its flags no meaning/],
  ['one-packet TCP', entry({ flags: SERVICE_FLAG.onePacket }, {}), /one-packet scheduling is for UDP/],
  ['SIP over TCP', entry({ flags: 1, timeoutSeconds: 9, engine: 'sip' }, {}), /engine sip is for UDP/],
  ['an engine without persistence', entry({ protocol: 'UDP', engine: 'sip' }, {}), /does nothing without persistence/],
  ['an unknown engine', entry({ protocol: 'UDP', flags: 1, timeoutSeconds: 9, engine: 'dns' }, {}), /engine dns cannot be asked for/],
  ['different tunnels', entry({}, { method: 'tunnel' }, { method: 'tunnel', tunnelType: 'gre', address: '10.0.0.2' }), /different tunnels/],
  ['real servers of both families', entry({}, { method: 'tunnel' }, { method: 'tunnel', family: 'IPv6', address: 'fd00::1' }), /IPv4 and IPv6 real servers/],
  ['a real server that is the VIP', entry({}, { address: '192.0.2.10' }), /has the address of a virtual service/],
  ['a loopback real server', entry({}, { address: '127.0.0.1', method: 'masq' }), /loopback/],
  ['a loopback VIP', entry({ address: '127.0.0.1' }, {}), /loopback/],
  ['persistence for clients of every network', entry({ flags: 1, timeoutSeconds: 9, prefixLength: 0 }, {}), /ipv4PrefixLength/],
  ['a persistence longer than the kernel’s timers', entry({ flags: 1, timeoutSeconds: 2_147_484 }, {}), /timeoutSeconds/],
];
for (const [what, table, message] of LEFT_OUT) {
  test(`leaves out ${what}, and says why, and keeps the others`, () => {
    const other = entry({ address: '192.0.2.99' }, {});
    const { leftOut, virtualServers } = toManifests([{ ...table, line: 7 }, other], OPTIONS);
    assert.equal(leftOut.length, 1);
    assert.match(leftOut[0]!.message, message);
    assert.equal(leftOut[0]!.service, serviceKey(table.service));
    assert.equal(leftOut[0]!.line, 7);
    assert.equal(virtualServers.length, 1);
    const yaml = yamlOf([{ ...table, line: 7 }, other]);
    assert.match(yaml, /^# {3}line 7: /m);
    assert.equal(tableFrom(yaml).length, 1);
  });
}

test('a service without real servers is kept, and the reader is told', () => {
  const { virtualServers, notes } = toManifests([entry({})], OPTIONS);
  assert.equal(virtualServers.length, 1);
  assert.match(notes[0]!.message, /no real servers/);
});

test('pools admit exactly the addresses of the table, however many, within what a pool may list', () => {
  const table = Array.from({ length: 200 }, (_, i) => entry({ address: `198.18.${i}.${i}` }, { address: `10.9.${i}.1` }, { address: `10.9.${i}.2` }));
  const yaml = yamlOf(table);
  const pools = [...objectsOf(yaml).values()].flatMap(({ object }) => (object.kind === 'VIPPool' ? [object] : []));
  assert.ok(pools.length > 1);
  assert.deepEqual(pools.map((p) => p.metadata.name), pools.map((_, i) => `imported-${i + 1}`));
  assert.equal(pools.flatMap((p) => p.spec.blocks).length, 200);
  assert.deepEqual(withoutLines(sortTable(tableFrom(yaml))), withoutLines(sortTable(table)));
});

test('neighbouring addresses share a block and a network', () => {
  const table = Array.from({ length: 8 }, (_, i) => entry({ address: `198.18.0.${i + 1}` }, { address: `10.9.0.${i}` }));
  const [pool] = toManifests(table, OPTIONS).pools;
  assert.deepEqual(pool!.spec.blocks, [{ start: '198.18.0.1', stop: '198.18.0.8' }]);
  assert.deepEqual(pool!.spec.allowStaticBackendCIDRs, ['10.9.0.0/29']);
});

test('real servers in too many places make their pool allow wider networks, and the reader is told', () => {
  const many = Array.from({ length: 500 }, (_, i) => ({ address: `10.${i % 250}.${i}.7`.replace(/\.(\d{3,})\.7$/, (_m, n: string) => `.${Number(n) % 256}.7`) }));
  const unique = [...new Map(many.map((d) => [d.address, d])).values()];
  const { pools, notes } = toManifests([entry({}, ...unique)], OPTIONS);
  assert.ok(pools[0]!.spec.allowStaticBackendCIDRs!.length <= 64);
  assert.match(notes[0]!.message, /allows wider networks/);
  assert.equal(tableFrom(yamlOf([entry({}, ...unique)]))[0]!.destinations.length, unique.length);
});

test('2,500 real servers become backends of at most 1,000', () => {
  const servers = Array.from({ length: 2500 }, (_, i) => ({ address: `10.9.${i >> 8}.${i & 255}`, weight: i % 3 }));
  const { virtualServers } = toManifests([entry({}, ...servers)], OPTIONS);
  assert.deepEqual(virtualServers[0]!.spec.backends.map((b) => b.static!.endpoints.length), [1000, 1000, 500]);
});

test('100 ports of one VIP become VirtualServers of at most 64', () => {
  const table = Array.from({ length: 100 }, (_, i) => entry({ port: 1000 + i }, {}));
  assert.deepEqual(toManifests(table, OPTIONS).virtualServers.map((v) => v.spec.ports.length), [64, 36]);
  assert.deepEqual(withoutLines(sortTable(tableFrom(yamlOf(table)))), withoutLines(table));
});
