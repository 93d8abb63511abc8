/**
 * The client runtime (src/kube) against a real API server: what a fake one can only guess. The codes of its refusals, pages, bookmarks and versions
 * that are too old, a token that may do nothing, and an API server that hangs, dies, and comes back. Everything else of it has a fake server that
 * misbehaves on purpose (test/unit/kube).
 */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient, type KubeClient } from '../../src/kube/client.ts';
import { ApiError, isAlreadyExists, isConflict, isExpired, isInvalid, isNotFound } from '../../src/kube/errors.ts';
import { kubeconfigFileCredentials } from '../../src/kube/kubeconfig-file.ts';
import { Reflector, type Change } from '../../src/kube/reflector.ts';
import { Transport } from '../../src/kube/transport.ts';
import { keyOf, type KubeObject, type Resource } from '../../src/kube/types.ts';
import { create, namespace, serviceAccount } from './objects.ts';
import { startCluster, type Cluster } from './server.ts';

interface ConfigMap extends KubeObject { readonly data?: Readonly<Record<string, string>> }
const MAPS: Resource<ConfigMap> = { group: '', version: 'v1', kind: 'ConfigMap', plural: 'configmaps', namespaced: true };
const NAMESPACES: Resource<KubeObject & { readonly status?: { readonly phase?: string } }> = { group: '', version: 'v1', kind: 'Namespace', plural: 'namespaces', namespaced: false };
const map = (name: string, value = '1'): ConfigMap => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'box' }, data: { value } });

const folder = mkdtempSync(join(tmpdir(), 'kube-real-'));
const ends: (() => void)[] = [];
const logged: string[] = [];
const log = { debug: () => {}, info: (_: object, message: string) => { logged.push(message); }, warn: (_: object, message: string) => { logged.push(message); }, error: (_: object, message: string) => { logged.push(`error ${message}`); } };
let cluster: Cluster;
let client: KubeClient;

function connect(kubeconfig: string): KubeClient {
  const transport = new Transport(kubeconfigFileCredentials(kubeconfig), { userAgent: 'test', requestTimeoutMs: 20_000 });
  ends.push(() => transport.close());
  return createClient(transport);
}

before(async () => {
  cluster = await startCluster({ folder });
  client = connect(cluster.kubeconfig);
  await create(cluster, namespace('box'), serviceAccount('box', 'nobody'));
});
after(async () => {
  for (const end of ends.reverse()) end();
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Tries until it holds. Far longer than it ever takes: the machine may be busy. */
async function eventually(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  for (const deadline = performance.now() + 180_000; !await holds();) {
    if (performance.now() > deadline) throw new Error(`not within 180 s: ${what}; logged: ${logged.slice(-10).join('; ')}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

const refused = async (work: Promise<unknown>): Promise<ApiError> => {
  const error: unknown = await work.then(() => null, (e: unknown) => e);
  assert.ok(error instanceof ApiError, String(error));
  return error;
};

test('what it refuses is told apart by its codes', async () => {
  const first = await client.create(MAPS, map('one'));
  assert.ok(isAlreadyExists(await refused(client.create(MAPS, map('one')))));
  assert.ok(isNotFound(await refused(client.get(MAPS, 'none', 'box'))));
  const next = await client.update(MAPS, { ...first, data: { value: '2' } });
  assert.ok(isConflict(await refused(client.update(MAPS, { ...first, data: { value: '3' } }))), 'an old version');
  assert.ok(isConflict(await refused(client.delete(MAPS, 'one', 'box', { uid: '0b8f8d5e-7a5b-4f0c-9f53-3c1f4f6f0a10' }))), 'another object of its name');
  assert.ok(isConflict(await refused(client.delete(MAPS, 'one', 'box', { uid: next.metadata.uid!, resourceVersion: first.metadata.resourceVersion! }))), 'another state of it');
  const applied = await client.apply(MAPS, map('one', '4'), { fieldManager: 'test', force: true });
  assert.equal(applied.data?.['value'], '4');
  assert.equal((await client.patchStatus(NAMESPACES, 'box', undefined, { status: {} })).status?.phase, 'Active');
  await client.delete(MAPS, 'one', 'box', { uid: next.metadata.uid!, resourceVersion: applied.metadata.resourceVersion! });
  const nobody = connect(cluster.writeKubeconfig('nobody', await cluster.tokenFor('box/nobody')));
  const [forbidden, unknown] = [await refused(nobody.list(MAPS)), await refused(connect(cluster.writeKubeconfig('wrong', 'wrong')).list(MAPS))];
  assert.deepEqual([forbidden.status, forbidden.code, unknown.status, unknown.code], [403, 'FORBIDDEN', 401, 'UNAUTHORIZED']);
});

test('a JSON patch of a status is done whole or not at all, and its answer may be metadata alone', async () => {
  const SPACES: Resource<KubeObject & { status?: { conditions?: unknown[]; phase?: string } }> = { group: '', version: 'v1', kind: 'Namespace', plural: 'namespaces', namespaced: false };
  const condition = (message: string) => ({ type: 'Tested', status: 'True', message });
  await client.patchStatus(SPACES, 'box', undefined, { status: { conditions: [condition('one'), { ...condition('two'), type: 'Other' }] } });
  const after = await client.editStatus(SPACES, 'box', undefined, [
    { op: 'test', path: '/status/phase', value: 'Active' }, { op: 'replace', path: '/status/conditions/1/message', value: 'three' },
  ], { fieldManager: 'test', metadataOnly: true });
  assert.deepEqual([after.kind, after.status], ['PartialObjectMetadata', undefined]);
  const now = await client.get(SPACES, 'box');
  assert.deepEqual([now.metadata.resourceVersion, (now.status?.conditions as { message: string }[]).map((c) => c.message)], [after.metadata.resourceVersion, ['one', 'three']]);
  for (const edits of [
    [{ op: 'replace', path: '/status/conditions/1/message', value: 'four' }, { op: 'test', path: '/status/phase', value: 'Terminating' }],
    [{ op: 'replace', path: '/status/conditions/9', value: condition('five') }],
  ] as const) assert.ok(isInvalid(await refused(client.editStatus(SPACES, 'box', undefined, edits))), JSON.stringify(edits));
  assert.equal((await client.get(SPACES, 'box')).metadata.resourceVersion, now.metadata.resourceVersion);
});

test('metadata alone is listed, also where there is none', async () => {
  const bare = { ...MAPS, metadataOnly: true } as const;
  await client.create(MAPS, map('bare'));
  const [found] = (await client.list(bare, { namespace: 'box', fieldSelector: 'metadata.name=bare' })).items;
  assert.deepEqual([found?.metadata.name, found?.data], ['bare', undefined]);
  assert.deepEqual((await client.list(bare, { namespace: 'box', fieldSelector: 'metadata.name=nobody' })).items, []);
});

test('pages are of one state, and all of them are everything', async () => {
  for (let i = 0; i < 7; i++) await client.create(MAPS, map(`page-${i}`));
  const first = await client.list(MAPS, { namespace: 'box', limit: 3 });
  assert.equal(first.items.length, 3);
  await client.create(MAPS, map('page-9'));
  const rest = await client.list(MAPS, { namespace: 'box', limit: 500, continue: first.continue });
  assert.deepEqual([...first.items, ...rest.items].map((o) => o.metadata.name).filter((name) => name.startsWith('page-')), Array.from({ length: 7 }, (_, i) => `page-${i}`));
  assert.ok((await client.listAll(MAPS, { namespace: 'box' })).items.some((o) => o.metadata.name === 'page-9'));
});

test('a version that is too old is told as such, before the stream or in it', async () => {
  // A server knows what happened since it was started, and the first of its life knows everything.
  await cluster.kill('apiserver');
  await cluster.start('apiserver');
  const watch = async (): Promise<void> => { for await (const event of client.watch(MAPS, { resourceVersion: '1', timeoutSeconds: 5 })) if (event.type === 'ERROR') throw Object.assign(new Error('in the stream'), event.object); };
  const error: unknown = await watch().then(() => null, (e: unknown) => e);
  const code = error instanceof ApiError ? error.status : (error as { code?: number } | null)?.code;
  assert.equal(code, 410, String(error));
  if (error instanceof ApiError) assert.ok(isExpired(error));
});

test('a reflector whose version is too old, and whose server hangs, dies and comes back, has in the end what the server has, and told each change once', async (t) => {
  const told = new Map<string, string>();
  const wrong: string[] = [];
  let tooOld = true;
  const reflector = new Reflector<ConfigMap>({
    // The version of the first watch is one that no server has any more.
    client: { list: client.list, watch: (resource, options) => client.watch(resource, { ...options, ...(tooOld && { resourceVersion: '1' }) }) },
    resource: MAPS, namespace: 'box', log, now: () => performance.now(), random: Math.random, idleMs: 4_000, pageSize: 3,
    onChange: (c: Change<ConfigMap>) => {
      const before = told.get(c.key);
      const value = c.object.data?.['value'] ?? '';
      if (c.type === 'added' ? before !== undefined : before === undefined) wrong.push(`${c.type} ${c.key} after ${before}`);
      if (c.type === 'updated' && before === value) wrong.push(`${c.key} twice`);
      if (c.type === 'deleted') told.delete(c.key);
      else told.set(c.key, value);
    },
  });
  const stop = new AbortController();
  const running = reflector.run(stop.signal);
  t.after(async () => {
    stop.abort();
    await running;
  });
  await eventually('it is complete', () => reflector.synced && told.size > 0);
  await eventually('the server said that the version is too old', () => logged.includes('the version to watch from is too old'));
  tooOld = false;
  const same = async (what: string): Promise<void> => eventually(what, async () => {
    const there = await client.listAll(MAPS, { namespace: 'box' }).catch(() => null);
    return there !== null && JSON.stringify(there.items.map((o) => [keyOf(o), o.data?.['value'] ?? '']).sort()) === JSON.stringify([...told].sort());
  });
  await client.create(MAPS, map('late'));
  await same('after a list');

  cluster.pause('apiserver');
  await new Promise((resolve) => { setTimeout(resolve, 6_000); });
  cluster.resume('apiserver');
  await client.delete(MAPS, 'page-0', 'box');
  await same('after it hung for longer than a watch may be silent');

  await cluster.kill('apiserver');
  await cluster.start('apiserver');
  await client.apply(MAPS, map('late', '2'), { fieldManager: 'test', force: true });
  await client.delete(MAPS, 'page-1', 'box');
  await same('after it was killed');
  assert.equal(told.get('box/late'), '2');

  await cluster.kill('etcd');
  await cluster.start('etcd');
  await eventually('it takes writes', async () => client.create(MAPS, map('last')).then(() => true, (e: unknown) => isAlreadyExists(e)));
  await same('after its etcd was killed');
  assert.deepEqual(wrong, []);
});
