/** The agent's own IPVSNode: read when another may have written it, and never because of what the agent wrote itself. */
import { test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { OwnNode } from '../../../../src/agent/cluster/own-node.ts';
import { RESOURCES } from '../../../../src/api/v1alpha1/index.ts';
import { createClient } from '../../../../src/kube/client.ts';
import { collectionPath, type KubeObject } from '../../../../src/kube/types.ts';
import { Refusal } from '../../kube/fake-cluster.ts';
import { connect, FakeServer, MemoryLog, refuse, refusing, send, until } from '../../kube/fake-server.ts';

const PATH = collectionPath(RESOURCES.IPVSNode);
const object = (generation: number, more: object = {}, spec: object = {}): KubeObject => ({
  apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'IPVSNode', metadata: { name: 'n1', generation }, spec: { directorGroups: [`of-${generation}`], realServer: { binds: [] }, reservedAddresses: [], ...spec }, ...more,
} as KubeObject);

async function start(t: TestContext, spoil: (server: FakeServer) => void = () => {}) {
  const server = await new FakeServer().start();
  spoil(server);
  t.after(() => server.close());
  const log = new MemoryLog();
  const told: string[] = [];
  let ours = true;
  const node: OwnNode = new OwnNode({
    client: createClient(connect(t, server)), node: 'n1', log, now: () => performance.now(), random: () => 0, recognises: () => ours, sleep: (ms, signal) => sleep(ms / 20, undefined, { signal }),
    onChange: () => { told.push(node.object === null ? 'none' : `${node.object.spec.directorGroups[0]}${node.object.ours === false ? ' spoiled' : ''}`); }, onSynced: () => { told.push('synced'); },
  });
  const stop = new AbortController();
  t.after(() => stop.abort());
  void node.run(stop.signal);
  const reads = (): number => server.asked.filter((a) => a.method === 'GET' && a.name === 'n1').length;
  return {
    server, node, told, log, reads, settle: async () => { await sleep(60); },
    put: (o: KubeObject) => (server.cluster.all(PATH).length === 0 ? server.cluster.create(PATH, o) : server.cluster.replace(PATH, o)).metadata.resourceVersion,
    stranger: () => { ours = false; },
  };
}

test('no IPVSNode is known to be none; one that comes is read, each spec of it, and its going is told', async (t) => {
  const { server, node, told, put } = await start(t);
  await until('synced', () => node.synced);
  assert.deepEqual([told, node.object], [['synced'], null]);
  put(object(1));
  await until('it is read', () => node.object?.spec.directorGroups[0] === 'of-1');
  put(object(2));
  await until('its next spec is read', () => node.object?.spec.directorGroups[0] === 'of-2');
  server.cluster.delete(PATH, 'n1');
  await until('it is gone', () => node.object === null);
  put(object(1));
  await until('another is read', () => node.object?.spec.directorGroups[0] === 'of-1');
  assert.deepEqual(told, ['synced', 'of-1', 'of-2', 'none', 'of-1']);
});

test('what comes over the wire for a watch has no report in it', async (t) => {
  const { server, node, put } = await start(t);
  put(object(1, { status: { drifts: 1 } }));
  await until('it is read', () => node.object !== null);
  const accept = server.asked.filter((a) => a.name === undefined).map((a) => a.headers.accept);
  assert.ok(accept.length >= 2 && accept.every((text) => text?.includes('PartialObjectMetadata')), accept.join());
});

test('an own report is not read back, whether its event or the answer comes first', async (t) => {
  const { node, put, reads, settle } = await start(t);
  put(object(1));
  await until('it is read', () => node.object !== null);
  const before = reads();
  for (let i = 0; i < 40; i++) {
    node.writing();
    const version = put(object(1, { status: { drifts: i } }));
    if (i % 2 === 0) await settle();
    node.wrote(version);
  }
  await settle();
  assert.equal(reads(), before);
});

test('a report of somebody else is read, and told as such', async (t) => {
  const { node, put, told, stranger } = await start(t);
  put(object(1));
  await until('it is read', () => node.object !== null);
  stranger();
  put(object(1, { status: { drifts: 99 } }));
  await until('it is told', () => told.at(-1) === 'of-1 spoiled');
});

test('a spec that changes while a report hangs on its way is read at once', async (t) => {
  const { node, put } = await start(t);
  put(object(1));
  await until('it is read', () => node.object !== null);
  node.writing();
  put(object(2));
  await until('it is read', () => node.object?.spec.directorGroups[0] === 'of-2');
});

test('a write that failed on its way, and was done all the same, is looked at', async (t) => {
  const { node, put, reads } = await start(t);
  put(object(1));
  await until('it is read', () => node.object !== null);
  const before = reads();
  node.writing();
  put(object(1, { status: { drifts: 1 } }));
  node.wrote(null);
  await until('it is read again', () => reads() > before);
});

test('what another wrote before an own report, unseen while the watch was broken, is read all the same', async (t) => {
  const { server, node, put, stranger, told } = await start(t);
  put(object(1));
  await until('it is read', () => node.object !== null && server.watchers === 1);
  let away = true;
  server.fault(() => away, (response) => { response.destroy(); }, Infinity);
  server.breakConnections();
  stranger();
  put(object(1, { status: { drifts: 7 } }));
  node.writing();
  node.wrote(put(object(1, { status: { drifts: 8 } })));
  server.cluster.compact();
  away = false;
  await until('it is looked at', () => told.at(-1) === 'of-1 spoiled');
});

test('a read that fails is repeated until it succeeds', async (t) => {
  const { server, node, put, log } = await start(t);
  server.fault((a) => a.name === 'n1', (response) => { response.destroy(); }, 4);
  put(object(1));
  await until('it is read', () => node.object !== null);
  assert.ok(log.of('warn').length > 0);
});

test('of an IPVSNode that cannot be read for what it is the last good version stays, and it is counted', async (t) => {
  const { node, put, told } = await start(t);
  put(object(1));
  await until('it is read', () => node.object !== null);
  put(object(2, {}, { directorGroups: 'edge' }));
  await until('it is counted', () => node.stats.badObjects === 1);
  assert.equal(node.object?.spec.directorGroups[0], 'of-1');
  assert.match([...node.badObjects.values()].join(), /directorGroups/);
  put(object(3));
  await until('it is read again', () => node.object?.spec.directorGroups[0] === 'of-3');
  assert.equal(node.stats.badObjects, 0);
  assert.ok(told.includes('of-3'));
});

test('an IPVSNode that goes while it is being read does not come back to life by the answer', async (t) => {
  const { server, node, put, told, settle } = await start(t);
  put(object(1));
  await until('it is read', () => node.object !== null && server.watchers === 1);
  server.fault((a) => a.name === 'n1', (response) => {
    const old = server.cluster.get(PATH, 'n1');
    server.cluster.delete(PATH, 'n1');
    void until('its going is heard of', () => told.at(-1) === 'none').then(() => send(response, 200, old));
  });
  put(object(2));
  await until('its going is told', () => told.at(-1) === 'none');
  await settle();
  assert.deepEqual([node.object, told.at(-1)], [null, 'none']);
});

test('an unreadable IPVSNode that came in the place of another does not inherit what that one said', async (t) => {
  const { server, node, put } = await start(t);
  put(object(1));
  await until('it is read', () => node.object !== null && server.watchers === 1);
  server.fault((a) => a.watch, (response) => {
    server.cluster.delete(PATH, 'n1');
    put(object(2, {}, { directorGroups: 'edge' }));
    server.cluster.compact();
    refuse(response, new Refusal(410, 'Expired', 'too old'));
  });
  server.endWatches();
  await until('it is counted', () => node.stats.badObjects === 1);
  assert.equal(node.object, null);
});

test('a server that has no such kind is told of', async (t) => {
  const { node, told } = await start(t, (server) => server.fault((a) => a.collection === PATH, refusing(404, 'NotFound'), 2));
  await until('it is told', () => told.length > 0);
  assert.deepEqual([told[0], node.kindMissing], ['none', true]);
  await until('the kind came', () => node.synced && !node.kindMissing);
});
