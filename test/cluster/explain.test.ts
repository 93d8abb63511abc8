/**
 * `ipvs-operator explain` as a person runs it, against a real API server: a served VirtualServer whose objects are written by hand, then
 * broken piece by piece; a user who may only read; users who may not even that; Leases of a clock that is wrong.
 */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RESOURCES } from '../../src/api/v1alpha1/index.ts';
import type { Step } from '../../src/cli/explain-step.ts';
import { ENDPOINT_SLICES, SERVICES } from '../../src/controller/core.ts';
import { LEASES, microTime } from '../../src/kube/lease.ts';
import { collectionPath, objectPath, type KubeObject, type Resource } from '../../src/kube/types.ts';
import { runCommand } from '../lab/process.ts';
import { healthy, objectsOf } from '../unit/cli/explain-world.ts';
import { object } from '../unit/deploy/files.ts';
import { create, namespace } from './objects.ts';
import { startCluster, type Cluster } from './server.ts';

const MAIN = resolve(import.meta.dirname, '../../src/main.ts');
const folder = mkdtempSync(join(tmpdir(), 'ipvs-explain-'));
/** Of one day: nobody has to renew it while the tests run. */
const LONG_SECONDS = 86_400;

let cluster: Cluster;
before(async () => { cluster = await startCluster({ folder, users: { reader: ['people'], viewer: ['people'], tenant: ['people'], nobody: ['people'] } }); });
after(async () => {
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Told { readonly steps: readonly Step[]; readonly served: boolean | null; readonly stopsAt: Step | null; readonly conclusion: string }
type Outcome = Told & { readonly code: number; readonly stdout: string; readonly stderr: string };

/** Runs the command with -o json, as a user of the cluster. */
async function explained(user = 'admin'): Promise<Outcome> {
  const kubeconfig = user === 'admin' ? cluster.kubeconfig : cluster.writeKubeconfig(user, cluster.tokens[user] ?? user);
  const { code, stdout, stderr } = await runCommand([process.execPath, MAIN, 'explain', 'tenant-a/shop', '--kubeconfig', kubeconfig, '-o', 'json'], { timeoutMs: 120_000 });
  return { ...(stdout === '' ? { steps: [], served: null, stopsAt: null, conclusion: '' } : JSON.parse(stdout) as Told), code, stdout, stderr };
}

const KINDS: Readonly<Record<string, Resource>> = {
  virtualservers: RESOURCES.VirtualServer as unknown as Resource, virtualserverprograms: RESOURCES.VirtualServerProgram as unknown as Resource,
  virtualips: RESOURCES.VirtualIP as unknown as Resource, directorgroups: RESOURCES.DirectorGroup as unknown as Resource, ipvsnodes: RESOURCES.IPVSNode as unknown as Resource,
  leases: LEASES as Resource, services: SERVICES as Resource, endpointslices: ENDPOINT_SLICES as Resource,
};

interface Stored extends KubeObject { readonly metadata: KubeObject['metadata'] & { readonly uid: string }; readonly message?: string }

/** Creates an object with its status. Tries again while a CRD is not served yet. */
async function send(plural: string, object: KubeObject & { status?: object }): Promise<Stored> {
  const { name, namespace: space } = object.metadata;
  for (const deadline = performance.now() + 180_000; ; await sleep(100)) {
    const { status, body } = await cluster.request<Stored>('POST', collectionPath(KINDS[plural]!, space), object);
    if (status !== 404 || performance.now() > deadline) assert.equal(status, 201, `${plural} ${name}: ${body.message}`);
    if (status !== 201) continue;
    if (object.status) await patch(plural, name, space, { status: object.status }, 'status');
    return body;
  }
}

async function patch(plural: string, name: string, space: string | undefined, change: object, subresource?: 'status'): Promise<void> {
  const { status, body } = await cluster.request<{ message?: string }>('PATCH', objectPath(KINDS[plural]!, name, space, subresource), change);
  assert.equal(status, 200, `${plural} ${name}: ${body.message}`);
}

const renewed = (name: string, wallMs: number, leaseDurationSeconds: number) => patch('leases', name, 'ipvs-system', { spec: { renewTime: microTime(wallMs), leaseDurationSeconds } });

test('before the CRDs are there it says so, and before the VirtualServer is', async () => {
  const bare = await explained();
  assert.equal(bare.code, 1, bare.stderr);
  assert.match(bare.conclusion, /the CRDs are not installed\. Run: kubectl apply -f crds\//);
  await cluster.applyFile(new URL('../../crds/', import.meta.url).pathname);
  await create(cluster, namespace('tenant-a'), namespace('ipvs-system'));
  for (const deadline = performance.now() + 180_000; ; await sleep(100)) {
    const empty = await explained();
    if (/CRDs/.test(empty.conclusion) && performance.now() < deadline) continue;
    assert.equal(empty.code, 1, empty.stderr);
    assert.match(empty.conclusion, /^Not served: it stops at spec: there is no VirtualServer tenant-a\/shop\. Run: kubectl get ivs -A/);
    return;
  }
});

test('a VirtualServer that is served is followed into the kernels, and exit code 0 says so', async () => {
  const w = healthy();
  const made = await send('virtualservers', { ...objectsOf(w)['virtualservers']![0]!, metadata: { name: 'shop', namespace: 'tenant-a' } });
  const { uid, generation } = made.metadata;
  w.server.status['observedGeneration'] = generation;
  w.vips['203.0.113.10']!.spec.claims[0]!.uid = w.programs[0]!.spec.virtualServer.uid = uid;
  for (const { lease } of Object.values(w.leases)) Object.assign(lease.spec!, { renewTime: microTime(Date.now()), leaseDurationSeconds: LONG_SECONDS });
  await patch('virtualservers', 'shop', 'tenant-a', { status: w.server.status }, 'status');
  for (const [plural, list] of Object.entries(objectsOf(w))) if (plural in KINDS && plural !== 'virtualservers') for (const object of list) await send(plural, object);
  const e = await explained();
  assert.deepEqual(e.steps.filter((s) => s.ok !== true), [], e.stdout);
  assert.deepEqual([e.code, e.served, e.stopsAt, e.conclusion, e.stderr], [0, true, null, 'Served.', '']);
  assert.deepEqual(e.steps.map((s) => s.step), ['spec', 'controller', 'accepted', 'backend', 'address', 'program', 'director', 'director', 'realServers', 'ready']);
  const text = await runCommand([process.execPath, MAIN, 'explain', 'shop', '-n', 'tenant-a', '--kubeconfig', cluster.kubeconfig], { timeoutMs: 120_000 });
  assert.match(text.stdout, /^VirtualServer tenant-a\/shop\n\n {2}ok {5}spec [^]*\n\nServed\.\n$/);
});

test('get and list are all it needs', async () => {
  await cluster.apply(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: explain }
rules:
- { apiGroups: [ipvs-operator.dev], resources: [virtualservers, virtualips, directorgroups], verbs: [get] }
- { apiGroups: [ipvs-operator.dev], resources: [virtualserverprograms, ipvsnodes], verbs: [list] }
- { apiGroups: [''], resources: [services], verbs: [get] }
- { apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list] }
- { apiGroups: [coordination.k8s.io], resources: [leases], verbs: [list] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: explain }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: explain }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: reader }]
`);
  for (const deadline = performance.now() + 180_000; ; await sleep(200)) {
    const e = await explained('reader');
    // A role counts a moment after it was written.
    if (e.code !== 0 && performance.now() < deadline) continue;
    assert.equal(e.code, 0, e.stdout);
    assert.deepEqual(e.steps.filter((s) => s.ok !== true), []);
    return;
  }
});

test('the chart\'s role ipvs-operator-view is all it needs', async () => {
  const { apiVersion, kind, metadata: { name }, rules } = object('ClusterRole', 'ipvs-operator-view');
  // As it is, but not joined to the role view: alone it must do.
  await cluster.apply(JSON.stringify({ apiVersion, kind, metadata: { name }, rules }));
  const blind = await explained('viewer');
  assert.deepEqual([blind.code, blind.steps.every((s) => s.ok === null)], [2, true], 'without it he sees nothing');
  await cluster.apply(JSON.stringify({
    apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding', metadata: { name: 'viewer' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name }, subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'viewer' }],
  }));
  for (const deadline = performance.now() + 180_000; ; await sleep(200)) {
    const e = await explained('viewer');
    if (e.code !== 0 && performance.now() < deadline) continue;
    assert.deepEqual([e.code, e.steps.filter((s) => s.ok !== true)], [0, []], e.stdout);
    return;
  }
});

test('who may read only what is in his namespace is told what he may not, and sees the rest', async () => {
  await cluster.apply(`
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: view, namespace: tenant-a }
rules: [{ apiGroups: [ipvs-operator.dev], resources: [virtualservers, virtualserverprograms], verbs: [get, list] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: view, namespace: tenant-a }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: view }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: tenant }]
`);
  for (const deadline = performance.now() + 180_000; ; await sleep(200)) {
    const e = await explained('tenant');
    assert.equal(e.code, 2, e.stdout);
    if (e.steps.some((s) => s.step === 'spec' && s.ok !== true) && performance.now() < deadline) continue;
    const blind = e.steps.filter((s) => s.ok === null).map((s) => `${s.step}: ${s.text}`);
    assert.deepEqual(blind, [
      'backend: not looked at, for want of permission to get services/web -n tenant-a',
      'address: not looked at, for want of permission to get virtualips.ipvs-operator.dev/203.0.113.10; the controller says that edge-1 holds it',
      'director: not looked at, for want of permission to list ipvsnodes.ipvs-operator.dev',
    ]);
    assert.deepEqual(e.steps.filter((s) => s.ok === true).map((s) => s.step), ['spec', 'controller', 'accepted', 'program', 'realServers', 'ready']);
    assert.match(e.conclusion, /^Cannot tell whether it is served: address 203\.0\.113\.10: .*\(the controller says that it is\)\. Run: kubectl auth can-i get virtualips/);
    // The advice is a command that works, and agrees.
    const asked = await cluster.kubectl(['auth', 'can-i', 'get', 'virtualips.ipvs-operator.dev/203.0.113.10'], { kubeconfig: cluster.writeKubeconfig('tenant', cluster.tokens['tenant']!) });
    assert.equal(asked.stdout.trim(), 'no', asked.stderr);
    return;
  }
});

test('who may read nothing, or is nobody, gets exit code 2', async () => {
  const e = await explained('nobody');
  assert.equal(e.code, 2, e.stdout);
  assert.match(e.conclusion, /want of permission to get virtualservers\.ipvs-operator\.dev\/shop -n tenant-a/);
  const stranger = await explained('no-such-token');
  assert.deepEqual([stranger.code, stranger.stdout], [2, '']);
  assert.match(stranger.stderr, /^ipvs-operator explain: UNAUTHORIZED: /);
});

test('what is broken is found: an older program in the kernel, no endpoint, no owner', async () => {
  const applied = (text: string) => patch('ipvsnodes', 'edge-1', undefined, { status: { applied: [text] } }, 'status');
  await applied('tenant-a/shop|older');
  const behind = await explained();
  assert.equal(behind.code, 1);
  assert.match(behind.conclusion, /^Not served: it stops at director edge-1: it runs older, an older form\. Run: kubectl -n ipvs-system get pods .*spec\.nodeName=edge-1$/);
  await applied('tenant-a/shop|0123456789abcdef');
  await patch('virtualips', '203.0.113.10', undefined, { status: { activeNode: '' } }, 'status');
  assert.match((await explained()).conclusion, /address 203\.0\.113\.10: no director holds it: edge-1, edge-2 can and have not taken it yet/);
  await patch('virtualips', '203.0.113.10', undefined, { status: { activeNode: 'edge-1' } }, 'status');
  await patch('endpointslices', 'web-0', 'tenant-a', { endpoints: [] });
  const served = await explained();
  assert.deepEqual([served.code, served.stopsAt?.step], [0, 'backend'], 'the program still has real servers');
  await cluster.request('DELETE', objectPath(KINDS['virtualserverprograms']!, 'shop', 'tenant-a'));
  const none = await explained();
  assert.match(none.conclusion, /it stops at backend Service tenant-a\/web: it has no endpoints: no Pod with its labels runs\. Run: kubectl -n tenant-a get pods -l app=web/);
  const { virtualserverprograms, endpointslices } = objectsOf(healthy());
  const uid = (await cluster.request<Stored>('GET', objectPath(KINDS['virtualservers']!, 'shop', 'tenant-a'))).body.metadata.uid;
  const program = virtualserverprograms![0] as KubeObject & { spec: { virtualServer: { uid: string } } };
  program.spec.virtualServer.uid = uid;
  await send('virtualserverprograms', program);
  await patch('endpointslices', 'web-0', 'tenant-a', { endpoints: (endpointslices![0] as unknown as { endpoints: unknown }).endpoints });
  assert.equal((await explained()).code, 0);
});

test('a Lease that nobody renews is that of a dead director; one whose clock is an hour late is not', async () => {
  const late = () => Date.now() - 3_600_000;
  await renewed('director-edge-1', late(), 3);
  const dead = await explained();
  assert.equal(dead.code, 1, dead.stdout);
  assert.match(dead.conclusion, /address 203\.0\.113\.10: edge-1 holds it .*does not renew its Lease, and no other director has taken over/);
  assert.match(dead.stderr, /looking for up to 3 s whether somebody renews director-edge-1/);
  // Long enough to be renewed in time on a slow machine.
  await renewed('director-edge-1', late(), 60);
  const stopped = new AbortController();
  const renewing = (async () => {
    while (!stopped.signal.aborted) {
      await renewed('director-edge-1', late(), 60);
      await sleep(200);
    }
  })();
  const live = await explained();
  stopped.abort();
  await renewing;
  assert.equal(live.code, 0, live.stdout);
  assert.match(live.stderr, /looking for up to 60 s/);
});
