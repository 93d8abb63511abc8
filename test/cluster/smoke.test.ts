// Proves the cluster bench itself: a real API server with controllers and RBAC comes up, survives the loss of its parts,
// and leaves no process behind however its owner ends. When one of these fails, no other test here means anything.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, namespace, node, patchStatus, pod, service, serviceAccount } from './objects.ts';
import { startCluster, type Cluster } from './server.ts';

const folders: string[] = [];
function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'ipvs-cluster-'));
  folders.push(path);
  return path;
}

/** Tries until it holds. Far longer than it ever takes: the machine may be busy. */
async function eventually(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (const deadline = performance.now() + 180_000; !await holds();) {
    if (performance.now() > deadline) throw new Error(`not within 180 s: ${what}`);
    await sleep(100);
  }
}

/** Processes whose command line names a folder: every part of a cluster does. */
function processesOf(path: string): string[] {
  return globSync('/proc/[0-9]*/cmdline').flatMap((file) => {
    try {
      const line = readFileSync(file, 'utf8').replaceAll('\0', ' ');
      return line.includes(`${path}/`) && !line.startsWith(process.execPath) ? [line] : [];
    } catch (error) {
      if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return []; // Ended while we looked.
      throw error;
    }
  });
}

/** How many processes have this one for a parent: parts of clusters and what watches over them. */
function children(): number {
  return globSync('/proc/[0-9]*/stat').filter((file) => {
    try {
      return readFileSync(file, 'utf8').replace(/^.*\) /, '').split(' ')[1] === String(process.pid);
    } catch (error) {
      if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
      throw error;
    }
  }).length;
}

let cluster: Cluster;
before(async () => { cluster = await startCluster({ folder: folder(), controllerManager: true, users: { stranger: ['people'] } }); });
after(async () => {
  await cluster.stop();
  for (const path of folders) rmSync(path, { recursive: true, force: true });
});

const slices = async (): Promise<{ addresses: string[]; ready: boolean | undefined; port: number | undefined }[]> => {
  const { body } = await cluster.request<{ items: { ports: { port: number }[]; endpoints: { addresses: string[]; conditions: { ready?: boolean } }[] | null }[] }>(
    'GET', '/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?labelSelector=kubernetes.io/service-name%3Dweb');
  return body.items.flatMap(({ ports, endpoints }) => (endpoints ?? []).map(({ addresses, conditions }) => ({ addresses, ready: conditions.ready, port: ports[0]?.port })));
};

test('a Service and a Pod on a Node become an EndpointSlice, which follows the readiness of the Pod', async () => {
  await cluster.apply('apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }');
  const web = pod({ namespace: 'shop', name: 'web-1', labels: { app: 'web' }, node: 'n1', addresses: ['10.1.0.7'] });
  await create(cluster, node('n1', ['192.0.2.1']), web, service('shop', 'web', { app: 'web' }, [{ port: 80, targetPort: 8080 }]));
  await eventually('the slice has the ready Pod', async () => JSON.stringify(await slices()) === JSON.stringify([{ addresses: ['10.1.0.7'], ready: true, port: 8080 }]));
  await patchStatus(cluster, pod({ namespace: 'shop', name: 'web-1', labels: {}, node: 'n1', addresses: ['10.1.0.7'], ready: false }));
  await eventually('the slice says that it is not ready', async () => (await slices())[0]?.ready === false);
});

test('the controllers really work: an owned object goes with its owner, a namespace with what is in it', async () => {
  await create(cluster, namespace('gone'));
  const owner = await cluster.request<{ metadata: { uid: string } }>('POST', '/api/v1/namespaces/gone/configmaps', { metadata: { name: 'owner' } });
  const owned = { metadata: { name: 'owned', ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'owner', uid: owner.body.metadata.uid }] } };
  assert.equal((await cluster.request('POST', '/api/v1/namespaces/gone/configmaps', owned)).status, 201);
  await cluster.request('DELETE', '/api/v1/namespaces/gone/configmaps/owner');
  await eventually('the owned object is collected', async () => (await cluster.request('GET', '/api/v1/namespaces/gone/configmaps/owned')).status === 404);
  await cluster.request('DELETE', '/api/v1/namespaces/gone');
  await eventually('the namespace is gone', async () => (await cluster.request('GET', '/api/v1/namespaces/gone')).status === 404);
});

test('RBAC refuses who has no role, and admits a service account to what its role says', async () => {
  await create(cluster, namespace('rbac'), serviceAccount('rbac', 'reader'));
  const path = '/api/v1/namespaces/rbac/configmaps';
  const status = async (token: string | null, method = 'GET'): Promise<number> => (await cluster.request(method, path, method === 'POST' ? { metadata: { name: 'x' } } : undefined, { token })).status;
  assert.equal(await status(cluster.adminToken), 200);
  assert.equal(await status('no-such-token'), 401);
  assert.equal(await status(null), 403, 'anonymous');
  assert.equal(await status(cluster.tokens['stranger']!), 403);
  const reader = await cluster.tokenFor('rbac/reader');
  assert.equal(await status(reader), 403, 'no role yet');
  await cluster.apply(`
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reader, namespace: rbac }
rules: [{ apiGroups: [''], resources: [configmaps], verbs: [get, list] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: reader, namespace: rbac }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader }
subjects: [{ kind: ServiceAccount, name: reader, namespace: rbac }]
`);
  await eventually('the role counts', async () => await status(reader) === 200);
  assert.equal(await status(reader, 'POST'), 403);
  const kubeconfig = cluster.writeKubeconfig('reader', reader);
  const refused = await cluster.kubectl(['create', 'configmap', 'x', '-n', 'rbac'], { kubeconfig });
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /system:serviceaccount:rbac:reader.* cannot create/);
  await assert.rejects(cluster.tokenFor('rbac/nobody'), /no token for rbac\/nobody: 404/);
});

test('what was written survives the sudden end of etcd and of the API server, and an orderly restart', async () => {
  await create(cluster, namespace('durable'));
  const there = async (): Promise<number> => (await cluster.request('GET', '/api/v1/namespaces/durable')).status;
  const pids = [cluster.pids()];
  await cluster.kill('apiserver');
  await assert.rejects(there(), { code: 'ECONNREFUSED' });
  await cluster.start('apiserver');
  assert.equal(await there(), 200);
  pids.push(cluster.pids());

  await cluster.kill('etcd');
  await assert.rejects(async () => assert.equal((await cluster.request('POST', '/api/v1/namespaces', namespace('lost'), { timeoutMs: 3000 })).status, 201), 'nobody writes without etcd');
  await cluster.start('etcd');
  await eventually('it writes again', async () => [201, 409].includes((await cluster.request('POST', '/api/v1/namespaces', namespace('found'))).status));
  assert.equal(await there(), 200);

  await cluster.restartApiServer();
  assert.equal(await there(), 200);
  pids.push(cluster.pids());
  assert.equal(new Set(pids.map(({ apiserver }) => apiserver)).size, 3);
  await assert.rejects(cluster.start('apiserver'), /runs already/);
});

test('a paused API server answers nobody, and goes on when resumed', async () => {
  cluster.pause('apiserver');
  await assert.rejects(cluster.request('GET', '/readyz', undefined, { timeoutMs: 1000 }), /no answer/);
  cluster.resume('apiserver');
  await eventually('it answers', async () => (await cluster.request('GET', '/readyz')).status === 200);
});

test('stop leaves no process, not even a paused one', async () => {
  const before = children();
  const other = await startCluster({ folder: folder(), controllerManager: true });
  assert.equal(processesOf(other.folder).length, 3);
  assert.equal(children(), before + 6);
  other.pause('apiserver');
  await other.stop();
  assert.deepEqual(processesOf(other.folder), []);
  await eventually('nobody watches over nothing', () => children() === before);
  assert.deepEqual(other.pids(), {});
});

test('a cluster that cannot start says why and leaves no process', async () => {
  const path = folder();
  await assert.rejects(startCluster({ folder: path, apiServerFlags: ['--no-such-flag'] }), /apiserver ended with 1; the end of .*apiserver\.log:[^]*unknown flag: --no-such-flag/);
  assert.deepEqual(processesOf(path), []);
  const aborted = new AbortController();
  const starting = startCluster({ folder: path, signal: aborted.signal });
  await eventually('something runs', () => processesOf(path).length > 0);
  aborted.abort(new Error('enough'));
  await assert.rejects(starting, /enough/);
  assert.deepEqual(processesOf(path), []);
});

for (const [how, ending] of [
  ['is terminated', (pid: number) => process.kill(pid, 'SIGTERM')],
  ['is killed', (pid: number) => process.kill(pid, 'SIGKILL')],
  ['ends without stopping it', () => {}],
] as const) {
  test(`a cluster dies with its owner: the owner ${how}`, async () => {
    const path = folder();
    const stay = how === 'ends without stopping it' ? '' : 'setInterval(() => {}, 1000);';
    const owner = spawn(process.execPath, ['--input-type=module', '-e',
      `const { startCluster } = await import(${JSON.stringify(join(import.meta.dirname, 'server.ts'))}); await startCluster({ folder: ${JSON.stringify(path)} }); console.log('up'); ${stay}`],
    { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise<void>((up, failed) => { owner.stdout.once('data', () => up()); owner.once('exit', () => failed(new Error('the owner ended before its cluster was up'))); });
    const gone = new Promise((done) => owner.once('exit', done));
    ending(owner.pid!);
    await gone;
    await eventually('no process is left', () => processesOf(path).length === 0);
  });
}
