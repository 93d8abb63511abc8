/** The cluster bench itself: its stand-in of an API server answers the product's own client as a real one does, and its report says what it was given. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createClient } from '../../../src/kube/client.ts';
import { Transport } from '../../../src/kube/transport.ts';
import type { KubeObject, Resource } from '../../../src/kube/types.ts';
import { MEASURES, quantile, type Results } from '../../bench/cluster/measures.ts';
import { rowsOf, verdictOf } from '../../bench/cluster/report.ts';
import { StandIn, type Write } from '../../bench/cluster/stand-in.ts';
import { endpointsOf, firstOf, PATHS, slice, virtualServer } from '../../bench/cluster/workload.ts';

interface Widget extends KubeObject { readonly spec?: unknown; readonly status?: Record<string, unknown> }
const WIDGETS: Resource<Widget> = { group: 'example.org', version: 'v1', kind: 'Widget', plural: 'widgets', namespaced: true };
const COLLECTION = '/apis/example.org/v1/widgets';
const widget = (name: string, labels: Record<string, string> = {}, spec: object = {}): Widget => ({ apiVersion: 'example.org/v1', kind: 'Widget', metadata: { name, namespace: 'default', labels }, spec });

async function standIn(t: { after(fn: () => Promise<void>): void }) {
  const api = new StandIn();
  const port = await api.listen('127.0.0.1', 0);
  const access = { server: `http://127.0.0.1:${port}`, tls: {}, headers: {} };
  const transport = new Transport({ source: 'test', namespace: 'default', problem: null, access: async () => access, refresh: async () => {} }, { userAgent: 'test n1' });
  t.after(async () => { transport.close(); await api.close(); });
  return { api, client: createClient(transport) };
}

test('the stand-in counts generations of spec, refuses what is not the newest, and applies status as managers say', async (t) => {
  const { api, client } = await standIn(t);
  const writes: Write[] = [];
  api.onWrite = (write) => { writes.push(write); };
  const made = await client.create(WIDGETS, widget('a', {}, { n: 1 }));
  await assert.rejects(client.create(WIDGETS, widget('a')), { code: 'ALREADY_EXISTS' });
  const changed = await client.update(WIDGETS, { ...made, spec: { n: 2 } });
  assert.deepEqual([made.metadata.generation, changed.metadata.generation], [1, 2]);
  await assert.rejects(client.update(WIDGETS, { ...made, spec: { n: 3 } }), { code: 'CONFLICT' });
  const apply = (fieldManager: string, status: object) => client.apply<Widget>(WIDGETS, { ...widget('a'), status } as KubeObject, { fieldManager, force: true, subresource: 'status' });
  await apply('one', { x: 1, conditions: [{ type: 'A', status: 'True' }, { type: 'B', status: 'True' }] });
  await apply('two', { y: 2, conditions: [{ type: 'C', status: 'True' }] });
  const after = await apply('one', { conditions: [{ type: 'A', status: 'False' }] });
  assert.deepEqual(after.status, { y: 2, conditions: [{ type: 'A', status: 'False' }, { type: 'C', status: 'True' }] });
  assert.equal(after.metadata.generation, 2);
  const version = api.objects.version;
  await apply('one', { conditions: [{ type: 'A', status: 'False' }] });
  assert.equal(api.objects.version, version, 'the same again is no change');
  assert.deepEqual(writes.map((w) => [w.method, w.key, w.subresource, w.who])[0], ['POST', 'default/a', undefined, 'test n1']);
  assert.equal(writes.length, 8);
});

test('the stand-in lists in pages, and a watch tells of what begins and ceases to match', async (t) => {
  const { api, client } = await standIn(t);
  for (const n of ['a', 'b', 'c', 'd', 'e']) api.objects.create(COLLECTION, `default/${n}`, widget(n, n < 'd' ? { role: 'x' } : {}));
  const first = await client.list(WIDGETS, { limit: 2, labelSelector: 'role=x' });
  const second = await client.list(WIDGETS, { limit: 2, labelSelector: 'role=x', continue: first.continue });
  assert.deepEqual([...first.items, ...second.items].map((o) => o.metadata.name), ['a', 'b', 'c']);
  assert.equal(second.continue, undefined);
  assert.deepEqual((await client.list(WIDGETS, { labelSelector: '!role' })).items.map((o) => o.metadata.name), ['d', 'e']);
  assert.deepEqual((await client.list(WIDGETS, { fieldSelector: 'metadata.name=b' })).items.map((o) => o.metadata.name), ['b']);
  // One is missed while nobody watches.
  api.objects.merge(COLLECTION, 'default/d', { metadata: { labels: { role: 'x' } } } as never, false);
  const seen: string[] = [];
  for await (const { type, object } of client.watch(WIDGETS, { resourceVersion: first.resourceVersion, labelSelector: 'role=x' })) {
    seen.push(`${type} ${(object as Widget).metadata.name}`);
    if (seen.length === 1) api.objects.merge(COLLECTION, 'default/a', { metadata: { labels: { role: null } } } as never, false);
    if (seen.length === 2) api.objects.merge(COLLECTION, 'default/b', { spec: { n: 1 } } as never, false);
    if (seen.length === 3) break;
  }
  assert.deepEqual(seen, ['ADDED d', 'DELETED a', 'MODIFIED b']);
});

test('two kinds that are listed in pages at once are not mixed up', async (t) => {
  const { api, client } = await standIn(t);
  const gadgets = { ...WIDGETS, kind: 'Gadget', plural: 'gadgets' };
  for (let i = 0; i < 6; i++) {
    api.objects.create(COLLECTION, `default/w${i}`, widget(`w${i}`));
    api.objects.create('/apis/example.org/v1/gadgets', `default/g${i}`, { ...widget(`g${i}`), kind: 'Gadget' });
  }
  for (let i = 0; i < 10; i++) {
    const [widgets, others] = await Promise.all([client.listAll(WIDGETS, { pageSize: 2 }), client.listAll(gadgets, { pageSize: 2 })]);
    assert.deepEqual([widgets.items.map((o) => o.metadata.name), others.items.map((o) => o.metadata.name)], [['w0', 'w1', 'w2', 'w3', 'w4', 'w5'], ['g0', 'g1', 'g2', 'g3', 'g4', 'g5']]);
  }
});

test('each VirtualServer of the workload has endpoints that no other has, whichever was replaced', () => {
  const all = Array.from({ length: 5_000 }, (_, s) => [...endpointsOf(s, 10), ...Array.from({ length: 15 }, (_, turn) => firstOf(s, 10, turn + 1))]).flat();
  assert.equal(new Set(all).size, all.length);
  assert.deepEqual(endpointsOf(7, 10, 3), [firstOf(7, 10, 3), ...endpointsOf(7, 10).slice(1)]);
  assert.equal(slice(3, ['10.0.0.1']).metadata.labels?.['kubernetes.io/service-name'], virtualServer(3).metadata.name);
  assert.ok(Object.values(PATHS).every((path) => path.startsWith('/api')));
});

const sample = (ms: number) => ({ controllerMs: 50 + ms, agentMs: ms, wholeMs: 60 + 2 * ms });
const memory = (resident: number) => [{ resident, peak: resident, files: 1 }];
const results: Results = {
  kernel: 'Linux', node: 'v24', pipeline: { 100: [sample(1)], 1000: [sample(4), sample(6)], 5000: [sample(2)] }, connections: [100, 501], apply: { kubectlMs: 1, programmedMs: 31_000, readyMs: 2 },
  writes: { idlePerSecond: 5.5, perChange: 1.2, perLoneChange: 5, agents: [] }, idleAgents: memory(50), loadedAgents: memory(91), controllers: memory(150),
};

test('rows are judged by the worst that one in a hundred may be, without the window', () => {
  assert.deepEqual(rowsOf(results).map((row) => [row.measure.number, row.value, verdictOf(row)]), [
    [1, 12, 'must kept'], [2, 2, 'MISSED'], [3, 501, 'MISSED'], [4, 31, 'MISSED'], [5, 1.2, 'must kept'], [5, 5.5, 'must kept'], [6, 50, 'aim reached'], [6, 91, 'MISSED'], [7, 150, 'aim reached'],
  ]);
  assert.equal(rowsOf({ ...results, pipeline: {} }).length, MEASURES.length - 2, 'what was not measured is no row');
  assert.deepEqual([quantile([3, 1, 2], 0.5), quantile(Array.from({ length: 100 }, (_, i) => i), 0.99), quantile([7], 0)], [2, 98, 7]);
});
