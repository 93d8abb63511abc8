/**
 * Agents under the service account that deploy/install.yaml gives them, against a real API server: what they write is accepted, what they
 * watch is selected, two never take one VIP, and they are refused nothing. Their kernels are fake; real ones are the lab's.
 */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { RESOURCES, sliceProgram, virtualIPName, type IPVSNode, type VirtualIP } from '../../src/api/v1alpha1/index.ts';
import { createClient, type KubeClient } from '../../src/kube/client.ts';
import { kubeconfigFileCredentials } from '../../src/kube/kubeconfig-file.ts';
import { Transport } from '../../src/kube/transport.ts';
import type { KubeObject } from '../../src/kube/types.ts';
import { BenchNode, hashed, neighbour, type Surroundings } from '../unit/agent/cluster/bench.ts';
import { program, type ProgramFields } from '../unit/agent/setup.ts';
import { untilInstalled } from './installed.ts';
import { startCluster, type Cluster } from './server.ts';

const root = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'ipvs-agent-'));
const API = 'ipvs-operator.dev/v1alpha1';
const [VIP, VIP6] = ['10.0.1.200', 'fd00:1::200'];
const nodes: BenchNode[] = [];
/** Nobody has an IPVSNode for it. */
let newcomer: BenchNode;
const complaints: string[] = [];
const ends: (() => void | Promise<void>)[] = [];
let cluster: Cluster;
let admin: KubeClient;

const connect = (kubeconfig: string): { client: KubeClient; close: () => void } => {
  const transport = new Transport(kubeconfigFileCredentials(kubeconfig), { userAgent: 'test' });
  return { client: createClient(transport), close: () => transport.close() };
};

before(async () => {
  cluster = await startCluster({ folder });
  await cluster.applyFile(join(root, 'deploy/install.yaml'));
  await untilInstalled(cluster, 'ipvs-system/ipvs-operator-agent');
  const { client, close } = connect(cluster.kubeconfig);
  admin = client;
  ends.push(close);
  const kubeconfig = cluster.writeKubeconfig('agent', await cluster.tokenFor('ipvs-system/ipvs-operator-agent'));
  const tell = (level: string) => (fields: object, message: string): void => { complaints.push(`${level} ${message} ${String((fields as { err?: unknown }).err ?? '')}`); };
  const surroundings: Surroundings = {
    connect: () => connect(kubeconfig), answerFor: (address, asker) => neighbour(nodes, address, asker),
    log: { debug: () => {}, info: () => {}, warn: tell('warn'), error: tell('error') },
  };
  newcomer = new BenchNode(surroundings, { after: (end) => { ends.push(end); } }, 'n9');
  for (const [i, name] of ['n1', 'n2'].entries()) {
    const node = new BenchNode(surroundings, { after: (end) => { ends.push(end); } }, name);
    node.kernel.net.links = node.kernel.net.links.map((l) => (l.name === 'e0' ? { ...l, mac: `02:00:00:00:00:0${i + 1}` } : l));
    nodes.push(node);
  }
  await admin.create(RESOURCES.DirectorGroup, { apiVersion: API, kind: 'DirectorGroup', metadata: { name: 'edge' }, spec: { failover: { leaseDurationSeconds: 3, renewSeconds: 1 } } } as never);
  for (const { name } of nodes) await admin.create(RESOURCES.IPVSNode, { apiVersion: API, kind: 'IPVSNode', metadata: { name }, spec: { directorGroups: ['edge'], realServer: { binds: [] }, reservedAddresses: [] } } as IPVSNode);
  await write({ vips: [VIP, VIP6], realServers: ['10.0.1.21', 'fd00:1::21'] });
  await write({ owner: 'default/others', directorGroup: 'others', vips: ['10.0.1.210'], port: 81 });
});
after(async () => {
  for (const end of ends.reverse()) await end();
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function write(fields: ProgramFields): Promise<string> {
  const p = hashed(program({ directorGroup: 'edge', ...fields }));
  for (const { address, family } of p.spec.addresses) {
    const vip: VirtualIP = { apiVersion: API, kind: 'VirtualIP', metadata: { name: virtualIPName(address) }, spec: { address, family, poolRef: { name: 'public' }, directorGroup: p.spec.directorGroup, claims: [] } };
    await admin.create(RESOURCES.VirtualIP, vip).catch(() => {});
  }
  for (const slice of sliceProgram(p, { uid: 'u', generation: 1 })) {
    const { ownerReferences: _, ...metadata } = slice.metadata;
    await admin.apply(RESOURCES.VirtualServerProgram, { ...slice, metadata } as unknown as KubeObject, { fieldManager: 'test', force: true });
  }
  return p.spec.contentHash;
}

const vip = (address: string) => admin.get(RESOURCES.VirtualIP, virtualIPName(address));
const ivn = (name: string) => admin.get(RESOURCES.IPVSNode, name);

/** Tries until it holds. Far longer than it ever takes: the machine may be busy. */
async function eventually(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (const deadline = performance.now() + 180_000; !await holds();) {
    if (performance.now() > deadline) throw new Error(`not within 180 s: ${what}\n${complaints.join('\n')}`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
}
/** The same of assertions. Rejects with the last of them that did not hold. */
async function comesToHold(what: string, check: () => Promise<void>): Promise<void> {
  let last: unknown;
  await eventually(what, () => check().then(() => true, (error: unknown) => {
    last = error;
    return false;
  })).catch((error: unknown) => { throw last ?? error; });
}
const holders = (address: string) => nodes.filter((n) => n.has(address));

test('of two directors one takes each VIP, and its name, time, epoch and MAC are there', async () => {
  for (const node of nodes) node.start();
  await eventually('both VIPs are held', () => holders(VIP).length === 1 && holders(VIP6).length === 1);
  await comesToHold('the VirtualIPs say so', async () => {
    for (const address of [VIP, VIP6]) {
      const { status } = await vip(address);
      const [owner] = holders(address);
      assert.deepEqual([status?.activeNode, status?.epoch, status?.mac], [owner!.name, 1, owner!.name === 'n1' ? '02:00:00:00:00:01' : '02:00:00:00:00:02']);
      assert.deepEqual(status?.conditions?.map((c) => `${c.type}=${c.status}/${c.reason}`), ['Owned=True/Owned']);
    }
  });
  await eventually('both have the programs of their group, and no other', () => nodes.every((n) => n.services().length === 2));
});

test('one that nobody has a use for is ready, as all are after the installation: who waits for them would wait for ever', async () => {
  newcomer.start();
  await eventually('it has heard that there is nothing to do', () => newcomer.host.notReady() === null);
  assert.deepEqual(newcomer.services(), []);
});

test('what they report is accepted by the schema, and shown', async () => {
  const [owner] = holders(VIP);
  await comesToHold('it is reported', async () => {
    const { status, metadata } = await ivn(owner!.name);
    assert.deepEqual([status?.ownedVIPs?.includes(VIP), status?.observedGeneration, status?.programs?.applied, status?.applied?.length, status?.agentVersion], [true, metadata.generation, 1, 1, '1.2.3']);
  });
  const { stdout } = await cluster.kubectl(['get', 'ivn', owner!.name]);
  assert.match(stdout, new RegExp(`${owner!.name} +True +\\["edge"\\] +1 `), stdout);
});

test('who writes a large report may have its metadata alone as the answer', async () => {
  const [owner] = holders(VIP);
  const { metadata, ...rest } = await admin.apply(RESOURCES.IPVSNode, { apiVersion: API, kind: 'IPVSNode', metadata: { name: owner!.name, labels: { shelf: '7' } } } as KubeObject, { fieldManager: 'test', metadataOnly: true });
  assert.deepEqual([metadata.name, metadata.labels?.['shelf'], rest], [owner!.name, '7', { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1' }]);
});

test('a program that changes, and one that goes, are followed', async () => {
  const hash = await write({ vips: [VIP, VIP6], realServers: ['10.0.1.23'], mode: 'DR' });
  await eventually('both run it', async () => (await Promise.all(nodes.map((n) => ivn(n.name)))).every((n) => n.status?.applied?.includes(`default/shop|${hash}`) === true));
  for (const { name } of nodes) {
    const { metadata } = await ivn(name);
    const { managedFields = [] } = metadata as { managedFields?: readonly { manager: string; operation: string; subresource?: string; fieldsV1: object }[] };
    const edited = managedFields.find((m) => m.manager === 'ipvs-agent' && m.operation === 'Update' && m.subresource === 'status');
    assert.match(JSON.stringify(edited?.fieldsV1), /f:applied/, `${name} sends what is new, and not all of its report again: ${JSON.stringify(managedFields.map(({ manager, operation }) => [manager, operation]))}`);
  }
  await write({ owner: 'default/more', vips: ['10.0.1.201'], port: 82 });
  await eventually('it is held', () => holders('10.0.1.201').length === 1);
  await admin.delete(RESOURCES.VirtualServerProgram, 'more', 'default');
  await eventually('it is gone', () => holders('10.0.1.201').length === 0 && nodes.every((n) => n.services().length === 2));
  await eventually('its name is taken off', async () => ((await vip('10.0.1.201')).status?.activeNode ?? '') === '');
});

test('a report over which an administrator wrote is made again, and what he added to it is gone', async () => {
  const [owner] = holders(VIP);
  const told = async (): Promise<unknown> => {
    const { status } = await ivn(owner!.name);
    return [status?.ownedVIPs, status?.boundVIPs, status?.applied, status?.observedGeneration, status?.conditions?.map((c) => `${c.type}=${c.status}/${c.reason}`)];
  };
  // What the test before took away may not be reported yet.
  await eventually('it is at rest', async () => (await ivn(owner!.name)).status?.applied?.length === 1 && !(await ivn(owner!.name)).status?.boundVIPs?.includes('10.0.1.201'));
  const was = await told();
  const spoiled = { ownedVIPs: [], boundVIPs: ['198.51.100.66'], applied: [], observedGeneration: 77, conditions: [{ type: 'Degraded', status: 'True', reason: 'Nonsense', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' }] };
  const { status } = await cluster.request('PATCH', `/apis/${API}/ipvsnodes/${owner!.name}/status`, { status: spoiled }, { contentType: 'application/merge-patch+json' });
  assert.equal(status, 200);
  await eventually('it is as it was', async () => JSON.stringify(await told()) === JSON.stringify(was));
  // Something else may have been on its way to be reported.
  await eventually('and is left alone then', async () => {
    const { metadata: { resourceVersion } } = await ivn(owner!.name);
    await new Promise((resolve) => { setTimeout(resolve, 2_500); });
    return (await ivn(owner!.name)).metadata.resourceVersion === resourceVersion;
  });
});

const BY_HAND: readonly (readonly [name: string, fields: ProgramFields, code: string])[] = [
  ['loopback', { vips: ['127.0.0.1'] }, 'InvalidProgram'], ['metadata', { vips: ['10.0.1.220'], realServers: ['169.254.169.254'] }, 'InvalidProgram'],
  ['itself', { vips: ['10.0.1.220'], realServers: ['10.0.1.220'] }, 'InvalidProgram'], ['own', { vips: ['10.0.1.11'] }, 'AddressReserved'],
  ['aaa-thief', { vips: [VIP, VIP6], realServers: ['10.0.1.66', 'fd00:1::66'] }, 'PortConflict'],
];

test('programs that an administrator wrote by hand reach no kernel, are named, and leave nothing when they go', async () => {
  const failures = async (name: string): Promise<string[]> => ((await ivn(name)).status?.failures ?? []).map((f) => `${f.virtualServer} ${f.code}`).sort();
  const kernels = (): string[] => nodes.map((n) => JSON.stringify(n.kernel.snapshot()));
  const before = kernels();
  for (const [name, fields] of BY_HAND) await write({ owner: `default/${name}`, ...fields });
  for (const { name } of nodes) await eventually(`${name} names each`, async () => JSON.stringify(await failures(name)) === JSON.stringify(BY_HAND.map(([n, , code]) => `default/${n} ${code}`).sort()));
  assert.deepEqual(kernels(), before);
  for (const [name] of BY_HAND) await admin.delete(RESOURCES.VirtualServerProgram, name, 'default');
  for (const { name } of nodes) await eventually(`${name} has nothing to complain of`, async () => (await failures(name)).length === 0);
  assert.deepEqual(kernels(), before);
});

test('a Lease that lost the label by which directors find each other gets it back, and no VIP moves', async () => {
  const [owner] = holders(VIP);
  const { status: before } = await vip(VIP);
  const path = `/apis/coordination.k8s.io/v1/namespaces/ipvs-system/leases/director-${owner!.name}`;
  await cluster.request('PATCH', path, { metadata: { labels: { 'ipvs-operator.dev/lease': null } } }, { contentType: 'application/merge-patch+json' });
  await eventually('it has its label', async () => (await cluster.request<KubeObject>('GET', path)).body.metadata.labels?.['ipvs-operator.dev/lease'] === 'director');
  await new Promise((resolve) => { setTimeout(resolve, 4_000); });
  assert.deepEqual([holders(VIP).map((n) => n.name), (await vip(VIP)).status?.epoch], [[owner!.name], before?.epoch]);
});

test('a director that is gone is followed, and the two never meet', async () => {
  const [owner] = holders(VIP);
  const other = nodes.find((n) => n !== owner)!;
  let both = 0;
  const look = setInterval(() => { if (holders(VIP).length > 1) both++; }, 5);
  await owner!.stop();
  owner!.reboot();
  await eventually('the other has it', () => other.has(VIP));
  owner!.start();
  await eventually('the first is back', () => owner!.services().length === 2);
  await new Promise((resolve) => { setTimeout(resolve, 2_000); });
  clearInterval(look);
  assert.deepEqual([both, owner!.has(VIP), (await vip(VIP)).status?.activeNode, (await vip(VIP)).status?.epoch], [0, false, other.name, 2]);
});

// Before the API server is killed: one that has just started refuses what its roles permit, until it has read them.
test('they were refused nothing', () => {
  assert.deepEqual(complaints.filter((line) => /FORBIDDEN|[Ff]orbidden|INVALID|Invalid|UNAUTHORIZED/.test(line)), []);
});

test('an API server that is killed and comes back changes nothing', async () => {
  const before = nodes.map((n) => JSON.stringify(n.kernel.snapshot()));
  const epochs = async () => (await Promise.all([VIP, VIP6].map(vip))).map((v) => v.status?.epoch);
  const old = await epochs();
  await cluster.kill('apiserver');
  await new Promise((resolve) => { setTimeout(resolve, 5_000); });
  assert.deepEqual(nodes.map((n) => JSON.stringify(n.kernel.snapshot())), before, 'longer than a Lease');
  await cluster.start('apiserver');
  await write({ owner: 'default/after', vips: ['10.0.1.202'], port: 83 });
  await eventually('news come through', () => holders('10.0.1.202').length === 1);
  assert.deepEqual([await epochs(), holders(VIP).length], [old, 1]);
});
