/**
 * The CRDs on a real API server: it takes them, prices their rules, and gives the same verdict on every case of the table as our own
 * parsing does (test/unit/api). Also what only a server can show: defaults, columns, selectors, how lists merge, the largest objects.
 */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ALL_KINDS, KINDS, MAX_BINDS, MAX_RESERVED, RESOURCES, formatProblem, fromServer, parseKind, parseObject, reportApplied, sliceProgram, type Kind, type MachineKind, type ServerObjects,
} from '../../src/api/v1alpha1/index.ts';
import { CASES, backends, directorGroup, vipPool, virtualServer, type Case } from '../unit/api/cases.ts';
import { CERTIFICATE } from '../unit/api/certificate.ts';
import { STATUS_CASES, ipvsNode, virtualIP, virtualServerProgram } from '../unit/api/cases-machines.ts';
import { create, namespace } from './objects.ts';
import { startCluster, type Cluster } from './server.ts';

type AnyKind = keyof ServerObjects;
type Fields = Record<string, unknown>;
interface Stored { kind: string; metadata: { name: string; resourceVersion: string }; spec: Fields; status?: Fields }
interface Refusal { message: string; reason: string; details?: { causes?: { field?: string; message: string }[] } }

const STRICT = 'fieldValidation=Strict';
const crds = new URL('../../crds/', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'ipvs-crds-'));
let cluster: Cluster;

before(async () => {
  cluster = await startCluster({ folder });
  await create(cluster, namespace('tenant-a'));
});
after(async () => {
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const kindOf = (object: Fields) => object['kind'] as AnyKind;

/** Where objects of the kind of this one are created. */
function pathOf(object: Fields): string {
  const { group, version, plural, namespaced } = RESOURCES[kindOf(object)];
  return `/apis/${group}/${version}/${namespaced ? 'namespaces/tenant-a/' : ''}${plural}`;
}
const nameOf = (object: Fields) => (object['metadata'] as { name: string }).name;

const post = (object: Fields, query: string) => cluster.request<Stored & Refusal>('POST', `${pathOf(object)}?${STRICT}&${query}`, object);

async function stored(object: Fields): Promise<Stored> {
  const { status, body } = await post(object, 'fieldManager=test');
  assert.equal(status, 201, body.message);
  return body;
}

/** Replaces the status of an object that is there. */
function putStatus(object: Fields, status: unknown, resourceVersion: string) {
  const withVersion = { ...object, metadata: { ...object['metadata'] as object, resourceVersion }, status };
  return cluster.request<Stored & Refusal>('PUT', `${pathOf(object)}/${nameOf(object)}/status?${STRICT}`, withVersion);
}

async function remove(object: Fields): Promise<void> {
  const { status } = await cluster.request('DELETE', `${pathOf(object)}/${nameOf(object)}`);
  assert.equal(status, 200);
}

test('the server takes every CRD, finds it structural and serves it', async () => {
  await cluster.applyFile(crds);
  for (const { plural, group } of Object.values(RESOURCES)) {
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${plural}.${group}`;
    for (const deadline = performance.now() + 180_000; ;) {
      const { body } = await cluster.request<{ status: { conditions: { type: string; status: string; message: string }[] | null } }>('GET', path);
      const conditions = new Map((body.status.conditions ?? []).map((c) => [c.type, c]));
      assert.equal(conditions.get('NonStructuralSchema'), undefined, conditions.get('NonStructuralSchema')?.message);
      if (conditions.get('NamesAccepted')?.status === 'True' && conditions.get('Established')?.status === 'True') break;
      assert.ok(performance.now() < deadline, JSON.stringify(body.status.conditions));
      await sleep(100);
    }
  }
  // Established is said a moment before the first object is taken.
  for (const deadline = performance.now() + 180_000; ;) {
    const answers = await Promise.all(Object.values(RESOURCES).map(({ group, version, plural }) => cluster.request('GET', `/apis/${group}/${version}/${plural}`)));
    if (answers.every((a) => a.status === 200)) break;
    assert.ok(performance.now() < deadline, JSON.stringify(answers.map((a) => a.status)));
    await sleep(100);
  }
});

test('applying them again changes nothing', async () => {
  const versions = async () => (await cluster.request<{ items: Stored[] }>('GET', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions')).body.items.map((c) => [c.metadata.name, c.metadata.resourceVersion]);
  const was = await versions();
  assert.equal(was.length, Object.keys(RESOURCES).length);
  await cluster.applyFile(crds);
  assert.deepEqual(await versions(), was);
});

/** What our own parsing makes of a case. */
const parsed = (c: Case) => (Object.hasOwn(KINDS, kindOf(c.object)) ? parseObject(c.object) : parseKind(kindOf(c.object) as MachineKind, c.object));

test('the server gives the verdict of our own parsing on every case, and the same defaults', async (t) => {
  for (const kind of Object.keys(ALL_KINDS) as AnyKind[]) {
    const cases = CASES.filter((c) => kindOf(c.object) === kind);
    assert.ok(cases.length > 5, kind);
    for (const c of cases) {
      await t.test(`${kind}: ${c.refused === undefined ? 'accepts' : c.server?.accepts ? 'accepts after all' : 'refuses'} ${c.name}`, async () => {
        const { status, body } = await post(c.object, 'dryRun=All');
        if (c.refused !== undefined && c.server?.accepts !== true) {
          assert.ok(status === 422 || status === 400, `${status}: we refuse it with ${c.refused.code} at ${c.refused.path}, the server takes it`);
          return;
        }
        assert.equal(status, 201, `${c.refused === undefined ? '' : `${c.server!.why}: `}${body.message}`);
        if (c.refused !== undefined) return;
        const ours = parsed(c);
        assert.ok(ours.ok);
        assert.deepEqual(body.spec, ours.object.spec, 'defaults differ');
        const theirs = fromServer(kind, body);
        assert.ok(theirs.ok, theirs.ok ? '' : theirs.problems.map(formatProblem).join('; '));
        assert.deepEqual(theirs.object.spec, ours.object.spec);
      });
    }
  }
});

test('the server says where the fault is, in the words of the rule', async () => {
  const faults: [Fields, RegExp][] = [
    [virtualServer({ backends: [{}] }), /spec\.backends\[0\]: Invalid value: .*a backend has exactly one of static, serviceRef and nodes/],
    [virtualServer({ mode: 'DR', ports: [{ port: 80, targetPort: 81 }] }), /spec: Invalid value: .*targetPort must equal port in modes DR and TUN/],
    [directorGroup({ failover: { renewSeconds: 4 } }), /spec\.failover: Invalid value: .*renewSeconds must be at most half of leaseDurationSeconds/],
    [virtualIP({}, { name: '203.0.113.11' }), /the name must be the address/],
    [virtualServerProgram({ slice: { index: 1, count: 2 } }, { name: 'shop-1' }), /the name must be that of the VirtualServer/],
    [virtualServer({ colour: 'red' }), /unknown field "spec\.colour"/],
  ];
  for (const [object, message] of faults) assert.match((await post(object, 'dryRun=All')).body.message, message);
});

test('status is checked like spec, and only where it is written', async () => {
  const reports = CASES.filter((c) => c.refused === undefined && c.object['status'] !== undefined);
  assert.deepEqual([...new Set(reports.map((c) => kindOf(c.object)))].sort(), ['IPVSNode', 'VirtualIP', 'VirtualServer']);
  for (const c of [...reports, ...STATUS_CASES]) {
    const { status: report, ...object } = c.object;
    // A case may carry what a server adds; who creates an object must not.
    object['metadata'] = { name: nameOf(object) };
    const was = await stored(object);
    assert.equal(was.status, undefined);
    const { status, body } = await putStatus(object, report, was.metadata.resourceVersion);
    assert.equal(status, c.refused === undefined ? 200 : 422, `${c.name}: ${body.message}`);
    if (c.refused === undefined) {
      assert.deepEqual(body.status, report, c.name);
      const read = fromServer(kindOf(object), body);
      assert.deepEqual(read.ok && 'status' in read.object && read.object.status, report, c.name);
    }
    await remove(object);
  }
});

test('the largest objects that we allow are taken: no rule runs out of its budget', async () => {
  const ip = (net: number) => (_: unknown, i: number) => `10.${net}.${i >> 8}.${i & 255}`;
  const addresses = Array.from({ length: 16 }, ip(255));
  const http = { path: `/${'a'.repeat(1023)}`, host: 'h'.repeat(253), expectedStatuses: Array.from({ length: 100 }, (_, i) => 200 + i), caBundle: CERTIFICATE.padEnd(16_384) };
  const check = { type: 'HTTPS', port: 0, path: 'Direct', periodSeconds: 5, timeoutSeconds: 2, riseCount: 2, fallCount: 3, onFailure: 'Quiesce', panicThresholdPercent: 0, http };
  const domain = Array.from({ length: 4 }, () => 'd'.repeat(61)).join('.');
  const largest = virtualServer({
    vip: { addresses }, ports: Array.from({ length: 64 }, (_, i) => ({ name: `port-${i}`, port: 1000 + i, targetPort: 2000 + i })),
    backends: Array.from({ length: 16 }, (_, b) => backends(...Array.from({ length: 1000 }, ip(b)))[0]),
    healthCheck: { type: 'HTTPS', http },
  });
  const long = Array.from({ length: 1000 }, (_, i) => `10.0.${i >> 8}.${i & 255}|65535|65535|${'n'.repeat(253)}`);
  const objects: [string, Fields][] = [
    ['a VirtualServer with 16,000 real servers, 64 ports, 16 VIPs and the largest HTTPS check', largest],
    ['the same in IPv6', virtualServer({
      mode: 'TUN', vip: { addresses: addresses.map((_, i) => `2001:db8::${(i + 1).toString(16)}`) },
      backends: Array.from({ length: 16 }, (_, b) => backends(...Array.from({ length: 1000 }, (_e, i) => `2001:db8:1234:5678:9abc:def1:${(b + 1).toString(16)}:${(i + 1).toString(16)}`))[0]),
    })],
    ['a check of the longest gRPC service', virtualServer({ healthCheck: { type: 'GRPC', grpc: { service: 's'.repeat(1024) } } })],
    ['a check of the longest datagram', virtualServer({ healthCheck: { type: 'UDP', udp: { payload: Buffer.alloc(1024).toString('base64') } } })],
    ['a check of the longest name', virtualServer({ healthCheck: { type: 'DNS', dns: { name: `${domain}.`, record: 'AAAA', expectedAddress: '2001:db8:1234:5678:9abc:def1:2345:6789' } } })],
    ['a VIPPool with every list full', vipPool({
      blocks: Array.from({ length: 64 }, (_, i) => ({ cidr: `10.${i}.0.0/16` })), excluded: Array.from({ length: 256 }, ip(1)),
      allowStaticBackendCIDRs: Array.from({ length: 64 }, (_, i) => `2001:db8:${(i + 1).toString(16)}::/48`), allowedNamespaces: { names: Array.from({ length: 256 }, (_, i) => `tenant-${i}`) },
    })],
    ['a slice with the longest real servers and check', virtualServerProgram({ healthCheck: check, services: [{ ports: [{ name: '', protocol: 'TCP', port: 80, endPort: 80 }], mark: 0, realServers: long }] })],
    ['a VirtualIP with every claim', virtualIP({ claims: Array.from({ length: 256 }, (_, i) => ({ namespace: 'tenant-a', name: `s${i}`, uid: 'u'.repeat(36), ports: Array.from({ length: 64 }, (_p, k) => `TCP/${k + 1000}-${k + 1000}`) })) })],
    ['an IPVSNode with every bind and address', ipvsNode({
      realServer: { binds: Array.from({ length: MAX_BINDS }, (_, i) => ({ address: ip(2)(0, i), family: 'IPv4', mode: 'DR', localAddress: '192.168.20.15', virtualServer: `tenant-a/s${i}` })) },
      reservedAddresses: Array.from({ length: MAX_RESERVED }, ip(3)),
    })],
  ];
  for (const [name, object] of objects) {
    const ours = parseKind(kindOf(object) as Kind, object);
    assert.ok(ours.ok, `${name}: ${ours.ok ? '' : ours.problems.map(formatProblem).slice(0, 3).join('; ')}`);
    const was = await stored(object);
    if (kindOf(object) === 'IPVSNode') {
      const { applied, digest } = reportApplied(Array.from({ length: 5000 }, (_, i) => [`tenant-a/service-number-${i}`, '0123456789abcdef']));
      const { status, body } = await putStatus(object, { applied, programs: { applied: 5000, failed: 0, digest } }, was.metadata.resourceVersion);
      assert.equal(status, 200, body.message);
    }
    await remove(object);
  }
});

test('slices of a large program are stored and come back as they were', async () => {
  const realServers = Array.from({ length: 2500 }, (_, i) => `10.0.${i >> 8}.${i & 255}|8080|1|edge-${i % 7}`);
  const { virtualServer: source, slice: _s, generation, ...rest } = virtualServerProgram()['spec'] as { virtualServer: { uid: string }; slice: unknown; generation: number };
  const slices = sliceProgram({ owner: 'tenant-a/shop', spec: { ...rest, tunnel: null, persistence: null, services: [{ ports: [{ name: '', protocol: 'TCP', port: 80, endPort: 80 }], mark: 0, realServers }] } as never }, { uid: source.uid, generation });
  assert.deepEqual(slices.map((s) => s.metadata.name), ['shop', 'shop.1', 'shop.2']);
  for (const slice of slices) {
    const read = fromServer('VirtualServerProgram', await stored(slice as unknown as Fields));
    assert.ok(read.ok);
    assert.deepEqual(read.object.spec, slice.spec);
    assert.deepEqual(read.object.metadata.ownerReferences, slice.metadata.ownerReferences);
  }
  for (const [selector, names] of [['edge', slices.map((s) => s.metadata.name)], ['core', []]] as const) {
    for (const query of [`fieldSelector=spec.directorGroup%3D${selector}`, `labelSelector=ipvs-operator.dev/director-group%3D${selector}`]) {
      const { status, body } = await cluster.request<{ items: Stored[] }>('GET', `/apis/ipvs-operator.dev/v1alpha1/virtualserverprograms?${query}`);
      assert.equal(status, 200);
      assert.deepEqual(body.items.map((i) => i.metadata.name), names, query);
    }
  }
  for (const slice of slices) await remove(slice as unknown as Fields);
});

test('two that apply each a port of their own keep both: ports merge by port and protocol', async () => {
  const whole = virtualServer();
  const apply = async (manager: string, ports: Fields[]) => {
    const spec = manager === 'one' ? { ...whole['spec'] as Fields, ports } : { ports };
    const { status, body } = await cluster.request<Stored & Refusal>('PATCH', `${pathOf(whole)}/shop?fieldManager=${manager}`, { ...whole, spec }, { contentType: 'application/apply-patch+yaml' });
    assert.ok(status === 200 || status === 201, body.message);
    return body.spec['ports'] as { port: number; protocol: string }[];
  };
  await apply('one', [{ port: 53, protocol: 'UDP' }]);
  assert.deepEqual((await apply('two', [{ port: 53, protocol: 'TCP' }])).map((p) => p.protocol).sort(), ['TCP', 'UDP']);
  assert.deepEqual((await apply('one', [{ port: 54, protocol: 'UDP' }])).map((p) => `${p.port}/${p.protocol}`).sort(), ['53/TCP', '54/UDP']);
  await remove(whole);
});

/** Lines of `kubectl get`, split at two spaces or more. */
async function columns(...args: string[]): Promise<string[][]> {
  const { code, stdout, stderr } = await cluster.kubectl(['get', ...args]);
  assert.equal(code, 0, stderr);
  return stdout.trim().split('\n').map((line) => line.trim().split(/ {2,}/));
}

test('kubectl shows what a person asks first, under every short name, and everything as ipvs', async () => {
  const time = '2026-01-01T00:00:00Z';
  const condition = (type: string, reason: string, status = 'True') => ({ type, status, reason, message: '', lastTransitionTime: time });
  const objects: [Fields, Fields | null][] = [
    [virtualServer({ scheduler: { name: 'mh' } }), {
      addresses: [{ value: '203.0.113.10', family: 'IPv4' }, { value: '2001:db8::10', family: 'IPv6' }], summary: { addresses: '203.0.113.10,2001:db8::10', ports: '80/TCP', backends: '1/2', activeNode: 'edge-1' },
      conditions: [condition('Ready', 'NoOwner', 'False'), condition('Programmed', 'Programmed')],
    }],
    [vipPool({ default: true }), { capacity: { ipv4: '14' }, allocated: { ipv4: '1' }, conditions: [condition('Ready', 'Ready')] }],
    [directorGroup(), { members: [{ node: 'edge-1', state: 'Live', ownedVIPs: 1 }], summary: { members: '1/1', ownedVIPs: 1 }, conditions: [condition('Ready', 'Ready')] }],
    [virtualIP(), { activeNode: 'edge-1', since: time, epoch: 12, mac: '02:00:00:00:00:01', claims: 1, conditions: [condition('Owned', 'Owned')] }],
    [virtualServerProgram(), null],
    [ipvsNode({ directorGroups: ['edge', 'core'] }), { agentVersion: '0.1.0', kernel: '6.12.43', programs: { applied: 7, failed: 1, digest: 'x' }, conditions: [condition('Ready', 'ProgramsFailed', 'False'), condition('Degraded', 'ForeignFlush')] }],
  ];
  for (const [object, status] of objects) {
    const { metadata } = await stored(object);
    if (status === null) continue;
    const answer = await putStatus(object, status, metadata.resourceVersion);
    assert.equal(answer.status, 200, answer.body.message);
  }
  const wanted: [string, string[], string[]][] = [
    ['ivs', ['NAME', 'MODE', 'ADDRESS', 'PORTS', 'BACKENDS', 'NODE', 'READY', 'AGE', 'SCHEDULER', 'POOL', 'PROGRAMMED', 'REASON'], ['shop', 'NAT', '203.0.113.10,2001:db8::10', '80/TCP', '1/2', 'edge-1', 'False', 'mh', 'True', 'NoOwner']],
    ['vippool', ['NAME', 'DEFAULT', 'DISABLED', 'IPV4', 'IPV4 USED', 'IPV6 USED', 'READY', 'AGE', 'DIRECTORS'], ['public', 'true', 'false', '14', '1', 'True']],
    ['dgroup', ['NAME', 'INTERFACE', 'SYNC', 'MEMBERS', 'VIPS', 'READY', 'AGE', 'LEASE'], ['edge', 'SubnetOf', 'false', '1/1', '1', 'True', '6']],
    ['vip', ['NAME', 'ADDRESS', 'NODE', 'GROUP', 'CLAIMS', 'OWNED', 'AGE', 'POOL', 'MAC', 'EPOCH', 'SINCE'], ['203.0.113.10', '203.0.113.10', 'edge-1', 'edge', '1', 'True', 'public', '02:00:00:00:00:01', '12']],
    ['ivsp', ['NAME', 'GROUP', 'MODE', 'SLICE', 'OF', 'GENERATION', 'HASH', 'AGE'], ['shop', 'edge', 'NAT', '0', '1', '3', '0123456789abcdef']],
    ['ivn', ['NAME', 'READY', 'GROUPS', 'PROGRAMS', 'KERNEL', 'VERSION', 'AGE', 'FAILED', 'DEGRADED', 'REASON'], ['edge-1.example', 'False', '["edge","core"]', '7', '6.12.43', '0.1.0', '1', 'ForeignFlush', 'ProgramsFailed']],
  ];
  for (const [short, head, values] of wanted) {
    const [header, row] = await columns(short, '-n', 'tenant-a', '-o', 'wide') as [string[], string[]];
    assert.deepEqual(header, head, short);
    assert.deepEqual(values.filter((v) => !row.includes(v)), [], `${short}: ${row.join(' ')}`);
  }
  const { stdout } = await cluster.kubectl(['get', 'ipvs', '-A', '-o', 'name']);
  assert.deepEqual(stdout.trim().split('\n').map((l) => l.slice(0, l.indexOf('.'))).sort(), Object.values(RESOURCES).map((r) => r.kind.toLowerCase()).sort());
  const explained = await cluster.kubectl(['explain', 'ivs.spec.backends.serviceRef.port']);
  assert.match(explained.stdout, /Port of the Service, by name or number/);
});
