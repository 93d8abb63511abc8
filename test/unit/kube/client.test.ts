/** The verbs, as the server sees them and as they come back. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { createClient, type WatchEvent } from '../../../src/kube/client.ts';
import { ApiError, isAlreadyExists, isConflict, isExpired, isInvalid, isNotFound, type ApiErrorCode } from '../../../src/kube/errors.ts';
import { collectionPath, keyOf, objectPath, partsOf } from '../../../src/kube/types.ts';
import { connect, send, startServer, until, type FakeServer } from './fake-server.ts';
import { COLLECTION, GADGETS, WIDGETS, widget, type Widget } from './widgets.ts';

async function open(t: { after(fn: () => void | Promise<void>): void }) {
  const server = await startServer(t);
  return { server, client: createClient(connect(t, server)) };
}

/** How the last request looked on the wire. */
function last(server: FakeServer): string {
  const { method, collection, namespace, name, subresource, query } = server.asked.at(-1)!;
  return `${method} ${collection}${namespace ? ` in ${namespace}` : ''}${name ? ` ${name}` : ''}${subresource ? `/${subresource}` : ''} ${decodeURIComponent(query.toString())}`.trim();
}

const gadget = (name: string): Widget => ({ apiVersion: 'v1', kind: 'Gadget', metadata: { name }, spec: { size: 1 } });

describe('reading and writing', () => {
  test('an object is created, read, replaced, and deleted', async (t) => {
    const { server, client } = await open(t);
    const made = await client.create(WIDGETS, widget('a'));
    assert.equal(last(server), 'POST /apis/example.org/v1/widgets in ns');
    assert.ok(made.metadata.uid && made.metadata.resourceVersion);
    const read = await client.get(WIDGETS, 'a', 'ns');
    assert.deepEqual(read, made);
    const replaced = await client.update(WIDGETS, { ...read, spec: { size: 2 } }, { fieldManager: 'me', fieldValidation: 'Strict' });
    assert.equal(last(server), 'PUT /apis/example.org/v1/widgets in ns a fieldManager=me&fieldValidation=Strict');
    assert.equal(replaced.spec.size, 2);
    await assert.rejects(client.update(WIDGETS, { ...read, spec: { size: 3 } }), isConflict);
    await assert.rejects(client.create(WIDGETS, widget('a')), isAlreadyExists);
    await client.delete(WIDGETS, 'a', 'ns');
    await assert.rejects(client.get(WIDGETS, 'a', 'ns'), isNotFound);
    await assert.rejects(client.delete(WIDGETS, 'a', 'ns'), isNotFound);
  });

  test('a kind of the core group without namespaces has other URLs', async (t) => {
    const { server, client } = await open(t);
    await client.create(GADGETS, gadget('a:b'));
    assert.equal(last(server), 'POST /api/v1/gadgets');
    await client.get(GADGETS, 'a:b');
    assert.equal(last(server), 'GET /api/v1/gadgets a:b');
  });

  test('of a kind that is wanted without its contents lists and watches ask for metadata, and of no other', async (t) => {
    const { server, client } = await open(t);
    const asked = async (resource: typeof WIDGETS): Promise<(string | undefined)[]> => {
      const { resourceVersion } = await client.list(resource, { namespace: 'ns' });
      const stop = new AbortController();
      const watching = client.watch(resource, { namespace: 'ns', resourceVersion, signal: stop.signal })[Symbol.asyncIterator]().next().catch(() => {});
      await until('the watch is open', () => server.asked.at(-1)!.query.get('watch') === 'true');
      stop.abort();
      await watching;
      return server.asked.slice(-2).map(({ headers }) => headers.accept);
    };
    assert.deepEqual(await asked({ ...WIDGETS, metadataOnly: true }), [
      'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1', 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
    ]);
    assert.deepEqual(await asked(WIDGETS), ['application/json', 'application/json']);
  });

  test('of no objects at all a server says null where it was asked for metadata: an agent without an IPVSNode was never ready', async (t) => {
    const { client } = await open(t);
    assert.deepEqual((await client.list({ ...WIDGETS, metadataOnly: true }, { namespace: 'ns' })).items, []);
  });

  test('what was read is written back whole, and with kind and version also when it comes from a list', async (t) => {
    const { server, client } = await open(t);
    await client.create(WIDGETS, { ...widget('a'), unknown: { field: [1] } } as Widget);
    const { items: [item] } = await client.list(WIDGETS, { namespace: 'ns' });
    assert.deepEqual([item!.apiVersion, item!.kind], ['example.org/v1', 'Widget']);
    const { apiVersion: _, kind: __, ...bare } = item!;
    await client.update(WIDGETS, { ...bare, spec: { size: 9 } } as Widget);
    const sent = server.asked.at(-1)!.body as Record<string, unknown>;
    assert.deepEqual([sent['apiVersion'], sent['kind'], sent['unknown']], ['example.org/v1', 'Widget', { field: [1] }]);
  });

  test('apply sends JSON as an apply patch, to the object or its status', async (t) => {
    const { server, client } = await open(t);
    await client.apply(WIDGETS, widget('a', 3), { fieldManager: 'me', force: true });
    assert.equal(last(server), 'PATCH /apis/example.org/v1/widgets in ns a fieldManager=me&force=true');
    assert.equal(server.asked.at(-1)!.headers['content-type'], 'application/apply-patch+yaml');
    const after = await client.apply(WIDGETS, { ...widget('a'), status: { ready: 1 } } as Widget, { fieldManager: 'me', subresource: 'status' });
    assert.equal(last(server), 'PATCH /apis/example.org/v1/widgets in ns a/status fieldManager=me');
    assert.deepEqual([after.spec.size, after.status], [3, { ready: 1 }]);
    assert.equal(server.asked.at(-1)!.headers.accept, 'application/json');
    await client.apply(WIDGETS, { ...widget('a'), status: { ready: 2 } } as Widget, { fieldManager: 'me', subresource: 'status', metadataOnly: true });
    assert.equal(server.asked.at(-1)!.headers.accept, 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1');
  });

  test('patchStatus merges into the status alone', async (t) => {
    const { server, client } = await open(t);
    await client.create(WIDGETS, widget('a', 3));
    const after = await client.patchStatus(WIDGETS, 'a', 'ns', { status: { ready: 2 } }, { fieldManager: 'me' });
    assert.equal(last(server), 'PATCH /apis/example.org/v1/widgets in ns a/status fieldManager=me');
    assert.equal(server.asked.at(-1)!.headers['content-type'], 'application/merge-patch+json');
    assert.deepEqual([after.spec.size, after.status], [3, { ready: 2 }]);
    await assert.rejects(client.patchStatus(WIDGETS, 'a', 'ns', { metadata: { resourceVersion: '1' }, status: { ready: 3 } }), isConflict);
  });

  test('editStatus does all of a JSON patch, or nothing', async (t) => {
    const { server, client } = await open(t);
    await client.create(WIDGETS, widget('a', 3));
    await client.patchStatus(WIDGETS, 'a', 'ns', { status: { ready: 2 } });
    const after = await client.editStatus<Widget>(WIDGETS, 'a', 'ns', [{ op: 'test', path: '/status/ready', value: 2 }, { op: 'replace', path: '/status/ready', value: 3 }], { fieldManager: 'me', metadataOnly: true });
    assert.equal(last(server), 'PATCH /apis/example.org/v1/widgets in ns a/status fieldManager=me');
    const { headers } = server.asked.at(-1)!;
    assert.deepEqual([headers['content-type'], headers.accept], ['application/json-patch+json', 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1']);
    const stored = await client.get(WIDGETS, 'a', 'ns');
    assert.deepEqual([stored.status, stored.metadata.resourceVersion], [{ ready: 3 }, after.metadata.resourceVersion]);
    await assert.rejects(client.editStatus(WIDGETS, 'a', 'ns', [{ op: 'replace', path: '/status/ready', value: 4 }, { op: 'test', path: '/status/ready', value: 2 }]), isInvalid);
    assert.deepEqual((await client.get(WIDGETS, 'a', 'ns')).status, { ready: 3 });
  });

  test('a dry run stores nothing', async (t) => {
    const { server, client } = await open(t);
    await client.create(WIDGETS, widget('a'), { dryRun: true });
    assert.equal(last(server), 'POST /apis/example.org/v1/widgets in ns dryRun=All');
    await assert.rejects(client.get(WIDGETS, 'a', 'ns'), isNotFound);
  });

  test('a delete can be of one very object, in one very state', async (t) => {
    const { server, client } = await open(t);
    const made = await client.create(WIDGETS, widget('a'));
    await assert.rejects(client.delete(WIDGETS, 'a', 'ns', { uid: 'other' }), isConflict);
    await assert.rejects(client.delete(WIDGETS, 'a', 'ns', { resourceVersion: '1' }), isConflict);
    await client.delete(WIDGETS, 'a', 'ns', { uid: made.metadata.uid, resourceVersion: made.metadata.resourceVersion, propagationPolicy: 'Foreground' });
    assert.deepEqual(server.asked.at(-1)!.body, {
      apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid: made.metadata.uid, resourceVersion: made.metadata.resourceVersion }, propagationPolicy: 'Foreground',
    });
  });

  test('an answer that is no object is BAD_RESPONSE', async (t) => {
    const { server, client } = await open(t);
    for (const body of [null, [], {}, { metadata: {} }]) {
      server.fault(() => true, (response) => { send(response, 200, body); });
      await assert.rejects(client.get(WIDGETS, 'a', 'ns'), (e: ApiError) => e.code === 'BAD_RESPONSE' && /is no Widget/.test(e.message));
    }
  });
});

test('a namespace too few or too many is a TypeError, and nothing is sent', async (t) => {
  const { server, client } = await open(t);
  await assert.rejects(client.get(WIDGETS, 'a'), /widgets\.example\.org is namespaced and a was asked for without a namespace/);
  await assert.rejects(client.get(GADGETS, 'a', 'ns'), /gadgets is cluster-scoped/);
  await assert.rejects(client.create(WIDGETS, gadget('a')), TypeError);
  await assert.rejects(client.get(WIDGETS, '', 'ns'), TypeError);
  assert.equal(server.asked.length, 0);
});

test('paths and keys', () => {
  assert.equal(collectionPath(WIDGETS), '/apis/example.org/v1/widgets');
  assert.equal(objectPath(WIDGETS, 'a/b', 'n', 'status'), '/apis/example.org/v1/namespaces/n/widgets/a%2Fb/status');
  assert.equal(objectPath(GADGETS, 'a'), '/api/v1/gadgets/a');
  assert.deepEqual(['a', 'n/a'].map(partsOf), [{ namespace: undefined, name: 'a' }, { namespace: 'n', name: 'a' }]);
  assert.deepEqual([gadget('a'), widget('a')].map(keyOf), ['a', 'ns/a']);
});

describe('listing', () => {
  test('takes selectors, limits and versions', async (t) => {
    const { server, client } = await open(t);
    await client.list(WIDGETS, { namespace: 'ns', labelSelector: 'a=b', fieldSelector: 'metadata.name=c', limit: 5, resourceVersion: '0', resourceVersionMatch: 'NotOlderThan' });
    assert.equal(last(server), 'GET /apis/example.org/v1/widgets in ns labelSelector=a=b&fieldSelector=metadata.name=c&limit=5&resourceVersion=0&resourceVersionMatch=NotOlderThan');
  });

  test('in pages brings everything of one state', async (t) => {
    const { server, client } = await open(t);
    for (let i = 0; i < 7; i++) server.cluster.create(COLLECTION, widget(`w${i}`));
    server.fault((a) => a.query.has('continue'), (_r, _a, proceed) => { server.cluster.create(COLLECTION, widget('later')); proceed(); });
    const version = String(server.cluster.version);
    const { items, resourceVersion } = await client.listAll(WIDGETS, { pageSize: 3 });
    assert.deepEqual(items.map((i) => i.metadata.name), ['w0', 'w1', 'w2', 'w3', 'w4', 'w5', 'w6']);
    assert.equal(resourceVersion, version);
    assert.equal(server.asked.length, 3);
  });

  test('in pages whose token runs out reads all in one piece', async (t) => {
    const { server, client } = await open(t);
    for (let i = 0; i < 5; i++) server.cluster.create(COLLECTION, widget(`w${i}`));
    server.fault((a) => a.query.has('continue'), (_r, _a, proceed) => { server.cluster.create(COLLECTION, widget('later')); server.cluster.compact(); proceed(); });
    const { items, resourceVersion } = await client.listAll(WIDGETS, { pageSize: 2 });
    assert.deepEqual([items.length, resourceVersion], [6, String(server.cluster.version)]);
    assert.equal(server.asked.at(-1)!.query.has('limit'), false);
  });

  test('fails with what the server says on the first page', async (t) => {
    const { server, client } = await open(t);
    server.fault(() => true, (response) => { send(response, 410, { kind: 'Status', code: 410, reason: 'Expired' }); });
    await assert.rejects(client.listAll(WIDGETS), isExpired);
  });

  test('refuses what is no list', async (t) => {
    const { server, client } = await open(t);
    for (const body of [null, { items: [] }, { metadata: { resourceVersion: '1' } }, { items: {}, metadata: { resourceVersion: '1' } }]) {
      server.fault(() => true, (response) => { send(response, 200, body); });
      await assert.rejects(client.list(WIDGETS), (e: ApiError) => e.code === 'BAD_RESPONSE');
    }
  });
});

describe('watching', () => {
  test('brings what changed since a version, then what changes, until the server ends it', async (t) => {
    const { server, client } = await open(t);
    const from = String(server.cluster.version);
    server.cluster.create(COLLECTION, widget('a'));
    const events: WatchEvent[] = [];
    const watching = (async () => { for await (const event of client.watch(WIDGETS, { namespace: 'ns', resourceVersion: from, timeoutSeconds: 300, allowWatchBookmarks: true })) events.push(event); })();
    await until('the first event is there', () => events.length === 1);
    assert.equal(last(server), `GET /apis/example.org/v1/widgets in ns watch=true&resourceVersion=${from}&timeoutSeconds=300&allowWatchBookmarks=true`);
    server.cluster.create(COLLECTION, widget('b'));
    server.cluster.create(COLLECTION, widget('elsewhere', 1, {}, 'other'));
    server.bookmark();
    server.cluster.delete(COLLECTION, 'ns/a');
    server.event('ERROR', { kind: 'Status', code: 500 });
    await until('all are there', () => events.length === 5);
    server.endWatches();
    await watching;
    assert.deepEqual(events.map((e) => [e.type, (e.object as Widget).metadata?.name]), [['ADDED', 'a'], ['ADDED', 'b'], ['BOOKMARK', undefined], ['DELETED', 'a'], ['ERROR', undefined]]);
  });

  const lines: [string, string, RegExp][] = [
    ['garbage', '{"type":"ADDED","object":{]', /event 2 of the watch, 27 characters: .*position 26/],
    ['an unknown type', '{"type":"RENAMED","object":{}}', /is no event of a watch/],
    ['no object', '{"type":"ADDED"}', /ADDED without an object/],
    ['null', 'null', /is no event of a watch/],
  ];
  for (const [name, line, message] of lines) {
    test(`fails at a line with ${name}, and says where`, async (t) => {
      const { server, client } = await open(t);
      server.fault((a) => a.watch, (response) => { response.end(`{"type":"ADDED","object":{}}\n${line}\n`); });
      let events = 0;
      await assert.rejects(async () => { for await (const _ of client.watch(WIDGETS, { resourceVersion: '100' })) events += 1; }, (e: ApiError) => e.code === 'BAD_RESPONSE' && message.test(e.message));
      assert.equal(events, 1);
    });
  }

  const refusals: [string, string, ApiErrorCode][] = [['a version that is gone', '1', 'EXPIRED'], ['a version that never was', '5000', 'TIMEOUT']];
  for (const [name, resourceVersion, code] of refusals) {
    test(`from ${name} is refused: ${code}`, async (t) => {
      const { server, client } = await open(t);
      server.cluster.compact();
      await assert.rejects(async () => { for await (const _ of client.watch(WIDGETS, { resourceVersion })); }, (e: ApiError) => e.code === code);
    });
  }
});
