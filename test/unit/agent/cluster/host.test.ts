/** The agent in a cluster, as a process would live: told by an API server that goes away and comes back, beside another director. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { formatOperation } from '../../../../src/agent/operation.ts';
import { readApplied, RESOURCES } from '../../../../src/api/v1alpha1/index.ts';
import type { KubeObject } from '../../../../src/kube/types.ts';
import { program, service, tempFolder } from '../setup.ts';
import type { Fault } from '../../kube/fake-server.ts';
import { BenchNode, ClusterBench, hashed, neighbour, quiet, until } from './bench.ts';
import { Cut } from './cut.ts';

const VIP = '10.0.1.200';
const SERVICE = `TCP ${VIP}:80`;

/** A director that holds a VIP with one program. */
async function director(t: { after(fn: () => void | Promise<void>): void }, fields: Parameters<ClusterBench['program']>[0] = {}, options: Parameters<BenchNode['start']>[0] = {}): Promise<{ bench: ClusterBench; n1: BenchNode; hash: string }> {
  const bench = await ClusterBench.start(t);
  bench.group();
  bench.tell('n1');
  const hash = bench.program(fields);
  const n1 = bench.node('n1');
  n1.start(options);
  await until('the VIP is held', () => n1.has(VIP, 'e0'));
  return { bench, n1, hash };
}
/** Announcements are repeated whatever happens. */
const operations = (n: BenchNode, from: number) => n.kernel.log.slice(from).filter((o) => o.kind !== 'announce').map(formatOperation);
const conditions = (bench: ClusterBench, node = 'n1') => (bench.nodeStatus(node).conditions ?? []).map((c) => `${c.type}=${c.status}/${c.reason}`).join(' ');

/** Two nodes that run, each with a NIC of its own. */
function two(bench: ClusterBench): BenchNode[] {
  return ['n1', 'n2'].map((name, i) => {
    const node = bench.node(name);
    node.kernel.net.links = node.kernel.net.links.map((l) => (l.name === 'e0' ? { ...l, mac: `02:00:00:00:00:0${i + 1}` } : l));
    bench.tell(name);
    node.start();
    return node;
  });
}

/** Waits until no report was written for two and a half seconds: one of what happened before may still be on its way. */
async function untilNoReport(bench: ClusterBench, what: string): Promise<void> {
  const writes = () => bench.server.asked.filter((a) => a.method !== 'GET' && a.collection.endsWith('ipvsnodes')).length;
  let last = { writes: writes(), at: performance.now() };
  await until(what, () => {
    if (writes() !== last.writes) last = { writes: writes(), at: performance.now() };
    return performance.now() - last.at > 2_500;
  });
}

// They wait for Leases and for what is not to happen: two seconds of CPU in all, so all of them may wait at the same time.
describe('cluster host', { concurrency: true }, () => {
  test('a director programs, claims, serves and reports', async (t) => {
    const { bench, n1, hash } = await director(t, { sourceAddress: 'Masquerade' });
    assert.deepEqual(n1.services(), [SERVICE]);
    const status = bench.vipStatus(VIP);
    assert.deepEqual([status.activeNode, status.epoch, status.mac], ['n1', 1, '02:00:00:00:01:11']);
    await until('it is reported', () => bench.nodeStatus('n1').ownedVIPs?.includes(VIP) === true && bench.nodeStatus('n1').boundVIPs?.includes(VIP) === true);
    const report = bench.nodeStatus('n1');
    assert.deepEqual(readApplied(report.applied!).get('default/shop'), hash);
    assert.deepEqual([report.programs?.applied, report.programs?.failed, report.boundVIPs, report.agentVersion, report.kernel], [1, 0, [VIP], '1.2.3', '6.1.0-fake']);
    assert.deepEqual(report.interfaces, [{ name: 'e0', addresses: ['10.0.1.11/24', 'fd00:1::11/64'] }, { name: 'e1', addresses: ['10.0.2.11/24'] }]);
    assert.equal(conditions(bench), 'Ready=True/Ready');
    assert.equal(n1.host.notReady(), null);
    const lease = bench.server.cluster.get('/apis/coordination.k8s.io/v1/leases', 'ipvs-system/director-n1');
    assert.deepEqual([lease.metadata.labels, lease.metadata.annotations], [{ 'ipvs-operator.dev/lease': 'director' }, { 'ipvs-operator.dev/groups': 'edge', 'ipvs-operator.dev/prefixes': '10.0.1.0/24,10.0.2.0/24,fd00:1::/64' }]);
    const order = n1.kernel.log.map((o) => o.kind);
    assert.ok(order.indexOf('addService') < order.indexOf('addAddress'), 'services stand before the address');
    const next = bench.program({ sourceAddress: 'Masquerade', realServers: ['10.0.1.23'] });
    await until('the change is reported', () => readApplied(bench.nodeStatus('n1').applied!).get('default/shop') === next);
    await untilNoReport(bench, 'nothing changes, and nothing is written');
  });

  test('while the IPVSNode is not there nothing is changed, and it is waited for', async (t) => {
    const bench = await ClusterBench.start(t);
    bench.group();
    bench.program();
    const n1 = bench.node('n1');
    n1.kernel.ipvs.put(service({ address: '10.9.9.9', port: 1 }));
    n1.start({ patienceMs: 300 });
    // Before there is a group nobody has an IPVSNode, and who installs the chart waits for the agents.
    await until('it is ready', () => n1.host.notReady() === null);
    await quiet(1_000);
    assert.deepEqual([n1.kernel.log, n1.host.notReady()], [[], null]);
    bench.tell('n1');
    await until('it serves', () => n1.has(VIP));
    bench.drop(RESOURCES.IPVSNode, 'n1');
    await quiet(500);
    assert.ok(n1.has(VIP), 'an object that is gone untells nothing');
    bench.tell('n1');
    await until('it reports to the new object', () => bench.nodeStatus('n1').ownedVIPs?.includes(VIP) === true);
    assert.ok(n1.services().includes('TCP 10.9.9.9:1'), 'and what is foreign stays');
  });

  test('an IPVSNode that was made anew is another one, although it has the generation that the old one had', async (t) => {
    const { bench, n1 } = await director(t);
    const nodes = '/apis/ipvs-operator.dev/v1alpha1/ipvsnodes';
    const { apiVersion, kind, metadata: { name, generation } } = bench.server.cluster.get(nodes, 'n1');
    const bind = { address: '10.0.1.210', family: 'IPv4', mode: 'DR', localAddress: '10.0.1.11', virtualServer: 'default/other' } as const;
    bench.drop(RESOURCES.IPVSNode, 'n1');
    const spec = { directorGroups: ['edge'], realServer: { binds: [bind] }, reservedAddresses: [] };
    bench.server.cluster.create(nodes, { apiVersion, kind, metadata: { name, generation }, spec } as KubeObject);
    await until('it receives for the VIP', () => n1.has('10.0.1.210', 'lo'));
    assert.ok(n1.has(VIP, 'e0'));
  });

  test('an incomplete program leaves the last one in force; a broken object is named and disturbs nobody', async (t) => {
    const { bench, n1 } = await director(t);
    const big = hashed(program({ directorGroup: 'edge', realServers: Array.from({ length: 1_500 }, (_, i) => `10.0.1.${i % 200}|${1000 + i}|1|`).filter((r) => !r.startsWith('10.0.1.11|')) }));
    const [first, second] = bench.slices(big) as unknown as [KubeObject, KubeObject];
    bench.put(RESOURCES.VirtualServerProgram, first);
    await until('the gap is reported', () => bench.nodeStatus('n1').failures?.[0]?.code === 'SlicesMissing');
    const size = () => n1.kernel.ipvs.services.get(SERVICE)!.destinations.size;
    assert.equal(size(), 2);
    assert.match(bench.warnings.join('\n'), /no program; the one in force stays .*default\/shop/);
    bench.put(RESOURCES.VirtualServerProgram, second);
    await until('the whole program is there', () => size() > 1_400);
    bench.server.cluster.create('/apis/ipvs-operator.dev/v1alpha1/virtualserverprograms', { apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'VirtualServerProgram', metadata: { name: 'broken', namespace: 'default' }, spec: { directorGroup: 'edge', nonsense: true } } as KubeObject);
    bench.program({ owner: 'default/other', port: 81 });
    await until('the other is served', () => n1.services().length === 2);
    assert.match(bench.warnings.join('\n'), /fails its schema .*default\/broken/);
  });

  test('programs by hand gain nothing: loopback, link-local, an address of this node or of another, a real server that is the VIP', async (t) => {
    const { bench, n1 } = await director(t);
    bench.tell('n1', { reservedAddresses: ['10.0.1.12'] });
    await until('it is told', () => bench.nodeStatus('n1').observedGeneration! > 2);
    const before = JSON.stringify(n1.kernel.snapshot());
    const HOSTILE: Record<string, Parameters<ClusterBench['program']>[0]> = {
      loopback: { vips: ['127.0.0.9'] }, 'link-local': { vips: ['169.254.169.254'] }, own: { vips: ['10.0.1.11'] }, another: { vips: ['10.0.1.12'] },
      circle: { vips: ['10.0.1.210'], realServers: ['10.0.1.210'] }, metadata: { vips: ['10.0.1.211'], realServers: ['169.254.169.254'] },
    };
    for (const [name, fields] of Object.entries(HOSTILE)) bench.program({ owner: `evil/${name}`, port: 90, ...fields });
    await until('all are refused', () => bench.nodeStatus('n1').failures?.length === 6);
    assert.deepEqual(bench.nodeStatus('n1').failures!.map((f) => `${f.virtualServer} ${f.code}`), [
      'evil/another AddressReserved', 'evil/circle InvalidProgram', 'evil/link-local InvalidProgram', 'evil/loopback InvalidProgram', 'evil/metadata InvalidProgram', 'evil/own AddressReserved',
    ]);
    assert.equal(JSON.stringify(n1.kernel.snapshot()), before);
    bench.program({ realServers: ['10.0.1.200'] });
    await until('it is refused, too', () => bench.nodeStatus('n1').failures?.some((f) => f.virtualServer === 'default/shop') === true);
    assert.equal(JSON.stringify(n1.kernel.snapshot()), before, 'the last good form stays');
  });

  test('an agent that never reached the API server is not ready', async (t) => {
    const bench = await ClusterBench.start(t);
    bench.away();
    const n1 = bench.node('n1');
    n1.start({ patienceMs: 300 });
    await quiet(1_000);
    assert.match(n1.host.notReady() ?? 'ready', /waiting for the API server/);
  });

  test('the API server away: nothing changes, drift is still repaired, and what was missed comes with it', async (t) => {
    const { bench, n1 } = await director(t);
    const back = bench.away();
    const before = JSON.stringify(n1.kernel.snapshot());
    await quiet(4_500);
    assert.equal(JSON.stringify(n1.kernel.snapshot()), before, 'longer than a Lease');
    n1.kernel.ipvs.services.clear();
    await until('repaired', () => n1.services().length === 1);
    assert.equal(n1.host.notReady(), null);
    bench.program({ owner: 'default/late', port: 81 });
    bench.vip('10.0.1.201');
    back();
    await until('news', () => n1.services().length === 2, 40_000);
    assert.ok(n1.has(VIP));
    assert.equal(bench.vipStatus(VIP).epoch, 1, 'nobody took it');
  });

  test('a restart without the API server serves from the snapshot and changes nothing in the kernel', async (t) => {
    const { bench, n1 } = await director(t, { sourceAddress: 'Masquerade' });
    await n1.stop();
    const back = bench.away();
    const from = n1.kernel.log.length;
    n1.start({ patienceMs: 500 });
    await until('it serves', () => n1.host.notReady() === null);
    await quiet(1_500);
    assert.deepEqual(operations(n1, from), []);
    assert.equal(n1.host.usingSnapshot, true);
    n1.kernel.ipvs.services.clear();
    await until('it repairs', () => n1.services().length === 1);
    bench.program({ owner: 'default/late', vips: ['10.0.1.201'], port: 81 });
    back();
    await until('news', () => n1.has('10.0.1.201'), 40_000);
    await until('everything is read', () => !n1.host.usingSnapshot, 40_000);
    assert.ok(operations(n1, from).every((line) => !line.includes(`${VIP} on`)), 'the VIP stood all the time');
  });

  test('a reboot without the API server: services from the snapshot, and the VIPs that were held, after silence', async (t) => {
    const { bench, n1 } = await director(t);
    bench.program({ owner: 'default/other', vips: ['10.0.1.201'], port: 81 });
    await until('both are held', () => n1.has('10.0.1.201'));
    await n1.stop();
    n1.reboot();
    bench.away();
    bench.strangers.set('10.0.1.201', '02:00:00:00:00:99');
    n1.start({ patienceMs: 500 });
    await until('the VIP is back', () => n1.has(VIP));
    await quiet(1_500);
    assert.deepEqual([n1.services().length, n1.has('10.0.1.201')], [2, false]);
    bench.strangers.clear();
    await until('the other, too', () => n1.has('10.0.1.201'));
  });

  test('a director that dies without a word serves again what it was told last, which only its journal has', async (t) => {
    const { bench, n1 } = await director(t);
    await until('a base', () => existsSync(join(n1.path, 'cluster.json')));
    const base = readFileSync(join(n1.path, 'cluster.json'), 'utf8');
    bench.program({ realServers: ['10.0.1.28', '10.0.1.29'] });
    const journal = (): string => readdirSync(n1.path).filter((name) => name.endsWith('.journal')).map((name) => readFileSync(join(n1.path, name), 'utf8')).join();
    await until('it is appended', () => /10\.0\.1\.29[^]*"end"/.test(journal()));
    assert.equal(readFileSync(join(n1.path, 'cluster.json'), 'utf8'), base);
    const asKilled = tempFolder(t);
    cpSync(n1.path, asKilled, { recursive: true });
    await n1.stop();
    rmSync(n1.path, { recursive: true });
    cpSync(asKilled, n1.path, { recursive: true });
    n1.reboot();
    bench.away();
    n1.start({ patienceMs: 300 });
    await until('it serves', () => n1.services().length === 1);
    assert.deepEqual([...n1.kernel.ipvs.services.get(SERVICE)!.destinations.keys()].sort(), ['10.0.1.28:80', '10.0.1.29:80']);
    await until('a new base has it', () => readFileSync(join(n1.path, 'cluster.json'), 'utf8').includes('10.0.1.29') && journal() === '');
  });

  test('without snapshot and ledger and API server nothing is touched; then what stands is adopted without interruption', async (t) => {
    const { bench, n1 } = await director(t);
    await n1.stop();
    for (const file of ['ledger', 'cluster', 'cluster-held', 'drains']) rmSync(join(n1.path, `${file}.json`), { force: true });
    const back = bench.away();
    const from = n1.kernel.log.length;
    n1.start({ patienceMs: 300 });
    await quiet(1_500);
    assert.deepEqual(operations(n1, from), []);
    back();
    await until('it serves', () => n1.host.notReady() === null, 40_000);
    await until('it is reported', () => bench.nodeStatus('n1').ownedVIPs?.includes(VIP) === true);
    assert.deepEqual(operations(n1, from), []);
    assert.equal(bench.vipStatus(VIP).epoch, 1);
  });

  test('binds make a real server; what is not told any more lingers, over restarts, and then goes', async (t) => {
    const bench = await ClusterBench.start(t);
    const bind = { address: VIP, family: 'IPv4' as const, mode: 'DR' as const, localAddress: '10.0.1.11', virtualServer: 'default/shop' };
    const tun = { address: '10.0.1.201', family: 'IPv4' as const, mode: 'TUN' as const, tunnel: { encapsulation: 'GUE' as const, port: 6080, checksum: 'None' as const }, localAddress: '10.0.1.11', virtualServer: 'default/tun' };
    bench.tell('n1', { directorGroups: [], binds: [bind, tun] });
    const n1 = bench.node('n1');
    n1.start();
    await until('both are bound', () => bench.nodeStatus('n1').boundVIPs?.length === 2);
    assert.ok(n1.has(VIP, 'lo'));
    assert.equal(n1.kernel.net.sysctls.get('net/ipv4/conf/all/arp_ignore'), '1');
    assert.deepEqual([n1.kernel.net.fou.length, n1.kernel.net.rules?.mss.length, n1.services()], [1, 1, []]);
    assert.deepEqual(bench.server.asked.filter((a) => a.watch).map((a) => a.collection.split('/').at(-1)), ['ipvsnodes'], 'a real server watches one object');
    bench.tell('n1', { directorGroups: [], binds: [] });
    await until('the change is taken', () => n1.host.assignment.binds.every((b) => b.until !== null));
    await quiet(600);
    assert.ok(n1.has(VIP, 'lo'));
    await n1.stop();
    n1.later = 300_000;
    n1.start();
    await until('it serves', () => n1.host.notReady() === null);
    assert.ok(n1.has(VIP, 'lo'), 'a restart neither ends it nor begins it anew');
    await n1.stop();
    n1.later = 599_000;
    n1.start();
    await until('its time is up', () => !n1.has(VIP) && !n1.has('10.0.1.201'));
    await until('the rest is gone, too', () => n1.kernel.net.fou.length === 0 && n1.kernel.net.sysctls.get('net/ipv4/conf/all/arp_ignore') === '0' && n1.kernel.net.links.every((l) => l.kind === ''));
  });

  test('a director that is also asked to receive does so before the program names it, and says so', async (t) => {
    const bench = await ClusterBench.start(t);
    bench.group();
    const bind = { address: VIP, family: 'IPv4' as const, mode: 'DR' as const, localAddress: '10.0.1.11', virtualServer: 'default/shop' };
    bench.tell('n1', { binds: [bind] });
    bench.program({ mode: 'DR' });
    bench.strangers.set(VIP, '02:00:00:00:00:99');
    const n1 = bench.node('n1');
    n1.start();
    await until('it receives', () => n1.has(VIP, 'lo') && bench.nodeStatus('n1').boundVIPs?.includes(VIP) === true);
    assert.deepEqual(n1.services(), [], 'the VIP is elsewhere, so a service would play ping-pong');
    bench.strangers.clear();
    await until('it holds the VIP', () => n1.has(VIP, 'e0') && !n1.has(VIP, 'lo'));
    assert.deepEqual(n1.services(), [SERVICE]);
  });

  test('a foreign host keeps an address; it is named on the VirtualIP and on the node, and leaves no mark when it goes', async (t) => {
    const bench = await ClusterBench.start(t);
    bench.group();
    bench.tell('n1');
    bench.program();
    bench.strangers.set(VIP, '02:00:00:00:00:99');
    const n1 = bench.node('n1');
    n1.start();
    await until('it is said', () => bench.vipStatus(VIP).conditions?.some((c) => c.type === 'DuplicateAddress' && c.message.includes('02:00:00:00:00:99')) === true);
    await until('also on the node', () => conditions(bench).includes('Degraded=True/ForeignConflict'));
    assert.deepEqual([n1.has(VIP), n1.services()], [false, [SERVICE]]);
    bench.strangers.clear();
    await until('it is taken', () => n1.has(VIP));
    await until('all is well', () => conditions(bench) === 'Ready=True/Ready');
    assert.deepEqual(bench.vipStatus(VIP).conditions?.map((c) => `${c.type}=${c.status}`), ['Owned=True']);
  });

  test('a group that leaves takes its programs and VIPs with it; a program that moves between groups is never missing', async (t) => {
    const { bench, n1 } = await director(t);
    bench.group('inner');
    bench.tell('n1', { directorGroups: ['edge', 'inner'] });
    bench.program({ owner: 'default/inner', directorGroup: 'inner', vips: ['10.0.1.201'], port: 81 });
    await until('both are served', () => n1.has('10.0.1.201'));
    const from = n1.kernel.log.length;
    bench.vip(VIP, 'inner');
    bench.program({ directorGroup: 'inner' });
    await quiet(1_500);
    assert.deepEqual(operations(n1, from).filter((line) => line.startsWith('delete') && !line.includes(` ${VIP} on`)), []);
    await until('it is held', () => n1.has(VIP));
    bench.tell('n1', { directorGroups: ['edge'] });
    await until('the group is left', () => n1.services().length === 0 && !n1.has(VIP) && !n1.has('10.0.1.201'));
    bench.tell('n1', { directorGroups: [] });
    await until('the Lease says so', () => bench.server.cluster.get('/apis/coordination.k8s.io/v1/leases', 'ipvs-system/director-n1').metadata.annotations?.['ipvs-operator.dev/groups'] === '');
  });

  test('the IPVSNode is deleted with its kind: nothing is served or received for any more; alone, or without its deletion being seen, it is waited for', async (t) => {
    const { bench, n1 } = await director(t, {}, { lingerMs: 100 });
    bench.tell('n1', { binds: [{ address: '10.0.1.210', family: 'IPv4', mode: 'DR', localAddress: '10.0.1.11', virtualServer: 'default/direct' }] });
    await until('it receives', () => n1.has('10.0.1.210', 'lo'));
    const missing: Fault = { on: (a) => a.collection.endsWith('/ipvsnodes'), times: Infinity, answer: (response) => { response.writeHead(404).end('404 page not found'); } };
    bench.server.faults.push(missing);
    bench.server.endWatches();
    await until('it was asked for', () => bench.server.asked.some((a) => a.collection.endsWith('/ipvsnodes') && !a.watch && a.method === 'GET' && bench.server.asked.indexOf(a) > 5));
    await quiet(1_500);
    assert.deepEqual([n1.services(), n1.has(VIP), n1.has('10.0.1.210')], [[SERVICE], true, true], 'no deletion was seen: perhaps only this version of the kind is gone');
    bench.server.faults.length = 0;
    bench.tell('n1', { binds: [{ address: '10.0.1.210', family: 'IPv4', mode: 'DR', localAddress: '10.0.1.11', virtualServer: 'default/direct' }], reservedAddresses: ['10.0.1.99'] });
    await until('it is read again', () => bench.nodeStatus('n1').observedGeneration === bench.get<KubeObject>(RESOURCES.IPVSNode, 'n1').metadata.generation, 60_000);
    bench.drop(RESOURCES.IPVSNode, 'n1');
    await quiet(700);
    assert.deepEqual([n1.services(), n1.has(VIP), n1.has('10.0.1.210')], [[SERVICE], true, true], 'the controller will make it again');
    bench.server.faults.push(missing);
    bench.server.endWatches();
    await until('nothing of ours is left', () => n1.services().length === 0 && !n1.has(VIP) && !n1.has('10.0.1.210'), 60_000);
    bench.server.faults.length = 0;
    bench.tell('n1');
    await until('it serves again', () => n1.has(VIP) && n1.services().join() === SERVICE, 60_000);
    await until('and reports', () => bench.nodeStatus('n1').ownedVIPs?.includes(VIP) === true);
  });

  test('a program and its VirtualIP that go at the same moment leave no VIP that is held and nobody wants', async (t) => {
    const { bench, n1 } = await director(t);
    bench.drop(RESOURCES.VirtualServerProgram, 'default/shop');
    bench.drop(RESOURCES.VirtualIP, VIP);
    await until('the address is gone', () => !n1.has(VIP));
    await until('and not held', () => n1.host.directing.owned.size === 0);
  });

  test('a report over which somebody wrote is made again', async (t) => {
    const { bench, n1 } = await director(t);
    await until('it is reported', () => bench.nodeStatus('n1').ownedVIPs?.includes(VIP) === true && conditions(bench) === 'Ready=True/Ready');
    const node = bench.get<KubeObject & { status: object }>(RESOURCES.IPVSNode, 'n1');
    bench.server.cluster.replace('/apis/ipvs-operator.dev/v1alpha1/ipvsnodes', { ...node, status: { ...node.status, ownedVIPs: [], boundVIPs: ['198.51.100.1'], applied: [] } } as KubeObject);
    await until('it is as it was', () => JSON.stringify(bench.nodeStatus('n1').ownedVIPs) === JSON.stringify([VIP]) && JSON.stringify(bench.nodeStatus('n1').boundVIPs) === JSON.stringify([VIP]) && bench.nodeStatus('n1').applied?.length === 1);
    await untilNoReport(bench, 'and then not again and again');
    assert.deepEqual(n1.services(), [SERVICE]);
  });

  test('a flush by somebody else is repaired, and the suspect is named with the remedy', async (t) => {
    const { bench, n1 } = await director(t);
    await until('it is reported', () => conditions(bench) === 'Ready=True/Ready');
    n1.commands = ['systemd', 'kube-proxy'];
    n1.kernel.net.addLink({ name: 'kube-ipvs0', kind: 'dummy' });
    await quiet(300);
    n1.kernel.ipvs.services.clear();
    await until('repaired', () => n1.services().length === 1);
    await until('it is said', () => conditions(bench).includes('Degraded=True/KubeProxyConflict'));
    const { foreign, conditions: list } = bench.nodeStatus('n1');
    assert.equal(foreign?.culprit, 'kube-proxy');
    assert.match(list!.find((c) => c.type === 'Degraded')!.message, /removed 1 of our virtual services.*excludeCIDRs.*--ipvs-strict-arp/);
    assert.deepEqual(n1.events.map((e) => [e.type, e.reason, e.action]), [['Warning', 'KubeProxyConflict', 'Restored']]);
    assert.match(n1.events[0]!.note, /excludeCIDRs/);
  });

  test('a director whose NIC has lost its carrier gives its VIPs to another one, also where the group names the NIC; with none left it keeps them', async (t) => {
    const bench = await ClusterBench.start(t);
    bench.group('edge', { interface: { match: 'Name', name: 'e0' } });
    bench.program();
    const nodes = two(bench);
    await until('one has it, and the other stands by', () => nodes.filter((n) => n.has(VIP)).length === 1 && nodes.every((n) => n.services().length === 1));
    const [first, second] = nodes[0]!.has(VIP) ? nodes as [BenchNode, BenchNode] : nodes.toReversed() as [BenchNode, BenchNode];
    const carrier = (n: BenchNode, is: boolean) => { n.kernel.net.links = n.kernel.net.links.map((l) => (l.name === 'e0' ? { ...l, carrier: is } : l)); n.kernel.net.onChange?.(); };
    carrier(first, false);
    await until('the other has it', () => second.has(VIP) && !first.has(VIP));
    assert.equal(bench.vipStatus(VIP).activeNode, second.name);
    carrier(second, false);
    await quiet(2_500);
    assert.ok(second.has(VIP), 'nobody could have it: whoever has it serves as soon as there is a network again');
    carrier(first, true);
    await until('it goes where there is one', () => first.has(VIP) && !second.has(VIP));
  });

  test('two directors: one holds a VIP, the other stands ready and follows when the first is gone', async (t) => {
    const bench = await ClusterBench.start(t);
    bench.group();
    bench.program();
    const nodes = two(bench);
    await until('one has it', () => nodes.filter((n) => n.has(VIP)).length === 1);
    await until('both have the services', () => nodes.every((n) => n.services().length === 1));
    const [first, second] = nodes[0]!.has(VIP) ? nodes as [BenchNode, BenchNode] : nodes.toReversed() as [BenchNode, BenchNode];
    await first.stop();
    await until('it is missed', () => /does not renew its Lease and still answers/.test(bench.vipStatus(VIP).conditions?.[0]?.message ?? ''), 60_000);
    await quiet(1_500);
    assert.deepEqual([first.has(VIP), second.has(VIP)], [true, false], 'a kernel that answers is left alone');
    first.reboot();
    await until('the other follows', () => second.has(VIP));
    assert.deepEqual([bench.vipStatus(VIP).activeNode, bench.vipStatus(VIP).epoch], [second.name, 2]);
    first.start();
    await until('it is back', () => first.services().length === 1);
    await quiet(1_500);
    assert.deepEqual([first.has(VIP), second.has(VIP)], [false, true], 'who has it keeps it');
  });

  /** As soon as it can hear, it hears. */
  test('a director that was cut off and lost its VIPs lets go of them as soon as its Lease is renewed, and who has them says so again', async (t) => {
    const bench = await ClusterBench.start(t);
    const cut = new Cut();
    const nodes: BenchNode[] = [];
    const surroundings = {
      log: bench.log,
      answerFor: (address: string, asker: BenchNode) => neighbour(nodes.filter((n) => !(cut.off && n.name === 'n1')), address, asker),
      connect: () => { const { client, close } = bench.connect(); return { client: cut.client(client), close }; },
    };
    const n1 = new BenchNode(surroundings, t, 'n1');
    const n2 = new BenchNode({ ...surroundings, connect: () => bench.connect() }, t, 'n2');
    nodes.push(n1, n2);
    n2.kernel.net.links = n2.kernel.net.links.map((l) => (l.name === 'e0' ? { ...l, mac: '02:00:00:00:00:02' } : l));
    bench.group();
    bench.program();
    bench.tell('n1');
    n1.start();
    await until('n1 has it', () => n1.has(VIP, 'e0'));
    bench.tell('n2');
    n2.start();
    await until('n2 stands by', () => n2.services().length === 1 && bench.server.cluster.all('/apis/coordination.k8s.io/v1/leases').length === 2);

    cut.off = true;
    await until('n2 has taken it', () => n2.has(VIP, 'e0'));
    assert.ok(n1.has(VIP, 'e0'), 'n1 has not heard of it');
    const announced = () => n2.kernel.log.filter((o) => o.kind === 'announce').length;
    // The first, and its repeats.
    await until('n2 has said so', () => announced() >= 3);
    const before = announced();
    bench.program({ realServers: ['10.0.1.29'] });
    cut.off = false;
    await until('n1 has let go of it', () => !n1.has(VIP, 'e0'));
    assert.equal(bench.vipStatus(VIP).activeNode, 'n2');
    await until('n1 knows the real servers of today', () => n1.kernel.ipvs.services.get(`TCP ${VIP}:80`)!.destinations.has('10.0.1.29:80'));
    // By itself it does so once a minute.
    await until('n2 said it again, to whoever believed n1', () => announced() >= before + 2);
  });
});
