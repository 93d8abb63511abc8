/**
 * Who may do what, asked of a real API server on which deploy/install.yaml is: the two service accounts exactly what their roles say and
 * nothing else of all that the server has; tokens of pods for their own node only; programs from nobody but the controller.
 */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ipvsNode, virtualIP, virtualServerProgram } from '../unit/api/cases-machines.ts';
import { untilInstalled } from './installed.ts';
import { create, namespace, node } from './objects.ts';
import { startCluster, type Cluster } from './server.ts';
import { tokenOnNode } from './tokens.ts';

const folder = mkdtempSync(join(tmpdir(), 'ipvs-rights-'));
const NAMESPACE = 'ipvs-system';
const ACCOUNT = `${NAMESPACE}/ipvs-operator-agent`;
const GROUP = 'ipvs-operator.dev';
const API = `/apis/${GROUP}/v1alpha1`;
let cluster: Cluster;

before(async () => {
  cluster = await startCluster({ folder, controllerManager: true, users: { tenant: ['people'] } });
  await cluster.applyFile(resolve(import.meta.dirname, '../../deploy/install.yaml'));
  await untilInstalled(cluster, ACCOUNT, `${NAMESPACE}/ipvs-operator-controller`);
});
after(async () => {
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Tries until it holds. Far longer than it ever takes: the machine may be busy. */
async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + 180_000; !await holds();) {
    if (performance.now() > deadline) throw new Error(`not within 180 s: ${what}`);
    await sleep(100);
  }
}

const VERBS = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'];

interface Resource { readonly group: string; readonly name: string; readonly namespaced: boolean }

/** Every resource of the server, subresources included. */
async function resources(): Promise<Resource[]> {
  const groups = (await cluster.request<{ groups: { preferredVersion: { groupVersion: string } }[] }>('GET', '/apis')).body.groups.map(({ preferredVersion }) => `/apis/${preferredVersion.groupVersion}`);
  const all: Resource[] = [];
  for (const path of ['/api/v1', ...groups]) {
    const { resources: found } = (await cluster.request<{ resources: { name: string; namespaced: boolean }[] }>('GET', path)).body;
    all.push(...found.map(({ name, namespaced }) => ({ group: path === '/api/v1' ? '' : path.split('/')[2]!, name, namespaced })));
  }
  // Installed with the Gateway API, of which this server knows nothing.
  return [...all, { group: 'gateway.networking.k8s.io', name: 'referencegrants', namespaced: true }];
}

async function permits(user: string, verb: string, { group, name }: Resource, space: string, objectName?: string): Promise<boolean> {
  const [resource, subresource] = name.split('/');
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${NAMESPACE}`, 'system:authenticated'];
  const { status, body } = await cluster.request<{ status: { allowed: boolean } }>('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
    apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview',
    spec: { user: `system:serviceaccount:${NAMESPACE}:${user}`, groups, resourceAttributes: { verb, group, resource, ...(subresource === undefined ? {} : { subresource }), ...(space === '' ? {} : { namespace: space }), ...(objectName === undefined ? {} : { name: objectName }) } },
  });
  assert.equal(status, 201);
  return body.status.allowed;
}

/** Whether an account may do something that not every account may. */
async function may(user: string, verb: string, resource: Resource, space: string): Promise<boolean> {
  return await permits(user, verb, resource, space) && !await permits('nobody', verb, resource, space);
}

/** What an account may do, as `verb group/resource`; in its own namespace and in another. */
async function allowed(user: string): Promise<{ own: string[]; elsewhere: string[] }> {
  const result = { own: [] as string[], elsewhere: [] as string[] };
  const questions = (await resources()).flatMap((resource) => VERBS.map((verb) => ({ resource, verb })));
  assert.ok(questions.length > 500);
  // Twenty at a time: each is a connection.
  for (let i = 0; i < questions.length; i += 20) {
    await Promise.all(questions.slice(i, i + 20).map(async ({ resource, verb }) => {
      const name = `${verb} ${resource.group}/${resource.name}`;
      if (await may(user, verb, resource, resource.namespaced ? NAMESPACE : '')) result.own.push(name);
      if (resource.namespaced && await may(user, verb, resource, 'kube-system')) result.elsewhere.push(name);
    }));
  }
  return { own: result.own.sort(), elsewhere: result.elsewhere.sort() };
}

const each = (verbs: string, group: string, names: string): string[] => verbs.split(' ').flatMap((verb) => names.split(' ').map((name) => `${verb} ${group}/${name}`));
const READ = 'get list watch';
const LEASES = each('get list watch create', 'coordination.k8s.io', 'leases');
const EVENTS = each('create update', 'events.k8s.io', 'events');

test('the controller may do what it needs and, of all that the server has, nothing else', { timeout: 900_000 }, async () => {
  const { own, elsewhere } = await allowed('ipvs-operator-controller');
  const namespaced = [
    ...each(READ, '', 'services endpoints'), ...each(READ, 'discovery.k8s.io', 'endpointslices'), ...each(READ, 'gateway.networking.k8s.io', 'referencegrants'),
    ...each(READ, GROUP, 'virtualservers'), ...each('update patch', GROUP, 'virtualservers/status'), ...each(`${READ} create update delete`, GROUP, 'virtualserverprograms'), ...EVENTS,
  ];
  assert.deepEqual(own, [
    ...namespaced, ...LEASES, ...each(READ, '', 'nodes namespaces'), ...each(READ, 'networking.k8s.io', 'servicecidrs'), ...each(READ, GROUP, 'vippools directorgroups'),
    ...each('update patch', GROUP, 'vippools/status directorgroups/status virtualips/status'), ...each(`${READ} create update delete`, GROUP, 'virtualips ipvsnodes'),
  ].sort());
  assert.deepEqual(elsewhere, namespaced.sort());
  // Of Leases it writes its own only: others may be in its namespace.
  const leases: Resource = { group: 'coordination.k8s.io', name: 'leases', namespaced: true };
  assert.deepEqual(await Promise.all(['ipvs-operator-controller', 'director-n1', 'kube-controller-manager'].map((name) => permits('ipvs-operator-controller', 'update', leases, NAMESPACE, name))), [true, false, false]);
});

test('an agent may do what it needs and, of all that the server has, nothing else', { timeout: 900_000 }, async () => {
  const { own, elsewhere } = await allowed('ipvs-operator-agent');
  const namespaced = [...each(READ, GROUP, 'virtualserverprograms'), ...EVENTS];
  assert.deepEqual(own, [
    ...namespaced, ...LEASES, ...each('update', 'coordination.k8s.io', 'leases'), ...each(READ, GROUP, 'ipvsnodes directorgroups virtualips'), ...each('update patch', GROUP, 'ipvsnodes/status'), ...each('patch', GROUP, 'virtualips/status'),
  ].sort());
  assert.deepEqual(elsewhere, namespaced.sort());
});

interface Refusal { readonly message?: string; readonly metadata?: { readonly resourceVersion: string } }
const patch = (token: string, path: string, body: object) => cluster.request<Refusal>('PATCH', path, body, { token });
const lease = (name: string) => ({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name, namespace: NAMESPACE }, spec: { holderIdentity: 'x', leaseDurationSeconds: 6 } });
const LEASES_PATH = `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases`;

test('the token of an agent\'s pod is good for its own node: IPVSNode, Lease, VIPs', async (t) => {
  await create(cluster, node('n1', []), node('n2', []));
  const [first, second] = [await tokenOnNode(cluster, ACCOUNT, 'n1'), await tokenOnNode(cluster, ACCOUNT, 'n2')];
  const vip = virtualIP();
  for (const [path, object] of [[`${API}/ipvsnodes`, ipvsNode({}, { name: 'n1' })], [`${API}/ipvsnodes`, ipvsNode({}, { name: 'n2' })], [`${API}/virtualips`, vip]] as const) {
    const { status, body } = await cluster.request<Refusal>('POST', path, { ...object, status: undefined });
    assert.equal(status, 201, body.message);
  }
  const vipPath = `${API}/virtualips/${(vip as unknown as { metadata: { name: string } }).metadata.name}/status`;
  const owner = (activeNode: string | null) => ({ status: { activeNode } });
  // A policy takes a moment until it is in force.
  await eventually('the policy is in force', async () => (await patch(first, `${API}/ipvsnodes/n2/status`, { status: { kernel: 'x' } })).status === 403);

  const steps: readonly (readonly [what: string, run: () => Promise<{ status: number; body: Refusal }>, wanted: number])[] = [
    ['reports for its node', () => patch(first, `${API}/ipvsnodes/n1/status`, { status: { kernel: '6.1' } }), 200],
    ['does not report for another', () => patch(first, `${API}/ipvsnodes/n2/status`, { status: { kernel: '6.1' } }), 403],
    ['does not write the spec of its node', () => patch(first, `${API}/ipvsnodes/n1`, { spec: { directorGroups: ['x'] } }), 403],
    ['makes its Lease', () => cluster.request<Refusal>('POST', LEASES_PATH, lease('director-n1'), { token: first }), 201],
    ['does not make that of another', () => cluster.request<Refusal>('POST', LEASES_PATH, lease('director-n2'), { token: first }), 403],
    ['does not make that of the controller', () => cluster.request<Refusal>('POST', LEASES_PATH, lease('ipvs-operator-controller'), { token: first }), 403],
    ['does not give a VIP to another', () => patch(first, vipPath, owner('n2')), 403],
    ['takes a VIP', () => patch(first, vipPath, owner('n1')), 200],
    ['sees the other report of it', () => patch(second, vipPath, { status: { conditions: [{ type: 'DuplicateAddress', status: 'True', reason: 'ForeignHost', message: 'x', lastTransitionTime: '2026-01-01T00:00:00Z' }] } }), 200],
    ['but not take it from the owner without having it', () => patch(second, vipPath, owner(null)), 403],
    ['has it taken over by the other', () => patch(second, vipPath, owner('n2')), 200],
    ['may not give back what is no longer its own', () => patch(first, vipPath, owner(null)), 403],
    ['the other gives it back', () => patch(second, vipPath, owner(null)), 200],
  ];
  for (const [what, run, wanted] of steps) {
    await t.test(what, async () => {
      const { status, body } = await run();
      assert.equal(status, wanted, body.message);
      if (wanted === 403) assert.match(body.message!, /the agent of n\d may not|cannot patch resource "ipvsnodes" in API group/);
    });
  }
});

test('a token that names no node is left to RBAC', async () => {
  const token = await cluster.tokenFor(`${NAMESPACE}/ipvs-operator-agent`);
  assert.equal((await patch(token, `${API}/ipvsnodes/n2/status`, { status: { kernel: '6.2' } })).status, 200);
  assert.equal((await cluster.request('GET', `/api/v1/namespaces/${NAMESPACE}/secrets`, undefined, { token })).status, 403);
});

test('a program comes from the controller or an administrator, and not from whoever owns a namespace', async (t) => {
  await create(cluster, namespace('tenant-a'));
  const group = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole' };
  const everything = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role', metadata: { name: 'everything' }, rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }] };
  for (const [path, object] of [
    ['roles', everything], ['rolebindings', { metadata: { name: 'everything' }, roleRef: { ...group, kind: 'Role', name: 'everything' }, subjects: [{ kind: 'User', name: 'tenant', apiGroup: group.apiGroup }] }],
  ] as const) assert.equal((await cluster.request('POST', `/apis/rbac.authorization.k8s.io/v1/namespaces/tenant-a/${path}`, object)).status, 201);
  const path = `${API}/namespaces/tenant-a/virtualserverprograms`;
  const program = virtualServerProgram() as unknown as { metadata: { name: string } };
  const post = (token: string, query = '?dryRun=All') => cluster.request<Refusal>('POST', `${path}${query}`, program, { token });
  const tenant = cluster.tokens['tenant']!;
  await eventually('the policy is in force', async () => (await post(tenant)).status === 403);

  await t.test('its owner is told what to write instead', async () => assert.match((await post(tenant)).body.message!, /write a VirtualServer instead/));
  const controller = await cluster.tokenFor(`${NAMESPACE}/ipvs-operator-controller`);
  await t.test('the controller makes one', async () => { const { status, body } = await post(controller, ''); assert.equal(status, 201, body.message); });
  const one = `${path}/${program.metadata.name}`;
  await t.test('the tenant cannot change it, not even its labels', async () => {
    assert.equal((await patch(tenant, one, { spec: { contentHash: 'fedcba9876543210' } })).status, 403);
    assert.equal((await patch(tenant, one, { metadata: { labels: { [`${GROUP}/director-group`]: 'other' } } })).status, 403);
  });
  await t.test('what touches neither, as the garbage collector does, is let through', async () => assert.equal((await patch(tenant, one, { metadata: { annotations: { a: 'b' } } })).status, 200));
  await t.test('an administrator may', async () => assert.equal((await patch(cluster.adminToken, one, { metadata: { labels: { a: 'b' } } })).status, 200));
});

test('who has the cluster\'s role edit may write VirtualServers, and view may read them', async () => {
  for (const [role, verbs] of [['edit', ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete']], ['view', ['get', 'list', 'watch']]] as const) {
    const binding = { metadata: { name: role }, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role }, subjects: [{ kind: 'User', name: `${role}or`, apiGroup: 'rbac.authorization.k8s.io' }] };
    assert.equal((await cluster.request('POST', '/apis/rbac.authorization.k8s.io/v1/namespaces/tenant-a/rolebindings', binding)).status, 201);
    const can = async (verb: string, resource: string): Promise<boolean> => (await cluster.kubectl(['auth', 'can-i', verb, resource, '-n', 'tenant-a', '--as', `${role}or`])).stdout.trim() === 'yes';
    // The controller that adds up roles takes a moment.
    await eventually(`${role} has it`, () => can(verbs.at(-1)!, `virtualservers.${GROUP}`));
    for (const verb of verbs) assert.ok(await can(verb, `virtualservers.${GROUP}`), `${role} ${verb}`);
    assert.equal(await can('create', `virtualservers.${GROUP}`), role === 'edit');
    for (const verb of ['create', 'update', 'delete']) assert.equal(await can(verb, `virtualserverprograms.${GROUP}`), false);
    assert.equal(await can('create', `vippools.${GROUP}`), false);
  }
});
