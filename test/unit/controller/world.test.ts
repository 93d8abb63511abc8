/** The caches and whom a change in them concerns, with a client that tells what it is asked. */
import { afterEach, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../../../src/kube/errors.ts';
import type { Resource } from '../../../src/kube/types.ts';
import { RESOURCES } from '../../../src/api/v1alpha1/index.ts';
import { NODES, trimNamespace, trimNode, trimService, trimSlice, type Node } from '../../../src/controller/core.ts';
import { World, type Changes } from '../../../src/controller/world.ts';
import { Bench, coreEndpoints, lease, MemoryLog, namespace, NAMESPACE, node, service, slice } from './bench.ts';
import { group, pool, server } from './compile/setup.ts';

interface Watching { b: Bench; world: World; woken: () => number; take: () => Promise<Changes>; stop: () => Promise<void> }

async function watching(prepare: (b: Bench) => void = () => {}): Promise<Watching> {
  const b = new Bench(1, 5);
  prepare(b);
  let woken = 0;
  const world = new World({ client: b.api.client('world'), namespace: NAMESPACE, log: new MemoryLog(), now: b.time.now, random: () => 0.5, wake: () => { woken++; }, sleep: b.time.sleep });
  const ending = new AbortController();
  const running = world.run(ending.signal);
  const stop = async (): Promise<void> => { ending.abort(); await b.time.idle(); await running; };
  open.push(stop);
  await b.pass(200);
  world.take();
  return { b, world, woken: () => woken, take: async () => { await b.pass(200); return world.take(); }, stop };
}

const open: (() => Promise<void>)[] = [];
afterEach(async () => { for (const stop of open.splice(0)) await stop(); });

const said = (c: Changes): Record<string, unknown> => Object.fromEntries(Object.entries({
  written: [...c.written].sort(), concerned: [...c.concerned].sort(), everything: c.everything, virtualIPs: [...c.virtualIPs.keys()], programs: [...c.programs.keys()], ipvsNodes: [...c.ipvsNodes.keys()], statuses: [...c.statuses.keys()].sort(),
}).filter(([, v]) => (Array.isArray(v) ? v.length > 0 : v)));

const SHOP = server('ns/shop', { backends: [{ serviceRef: { name: 'web' } }] });
const objects = (b: Bench): void => b.put(SHOP, server('ns/third', { backends: [{ serviceRef: { name: 'third' } }] }), server('ns/other', { backends: [{ serviceRef: { name: 'web', namespace: 'else' } }] }), pool(), group('edge'), service('ns/web'), slice('ns/web-1', 'web', ['10.0.0.1']), node('n1', ['192.0.2.1']), namespace('ns'));

describe('a change', () => {
  const cases: [string, (b: Bench) => void, Record<string, unknown>][] = [
    ['of a VirtualServer is its own', (b) => b.put(server('ns/shop', { backends: [{ serviceRef: { name: 'web' } }], suspend: true })), { written: ['VirtualServer/ns/shop'], statuses: ['VirtualServer/ns/shop'] }],
    ['of its status is none of what is written', (b) => b.api.putStatus(RESOURCES.VirtualServer as Resource, 'ns/shop', { observedGeneration: 1 }), { statuses: ['VirtualServer/ns/shop'] }],
    ['of its labels neither', (b) => b.put({ ...SHOP, metadata: { ...SHOP.metadata, labels: { a: 'b' } } }), { statuses: ['VirtualServer/ns/shop'] }],
    ['is that it goes', (b) => { b.drop('VirtualServer', 'ns/shop'); }, { written: ['VirtualServer/ns/shop'], statuses: ['VirtualServer/ns/shop'] }],
    ['is that it is made anew', (b) => { b.drop('VirtualServer', 'ns/shop'); b.put(SHOP); }, { written: ['VirtualServer/ns/shop'], statuses: ['VirtualServer/ns/shop'] }],
    ['of a pool or a group is theirs', (b) => b.put(pool('public', { disabled: true }), group('edge', { nodeSelector: { matchLabels: { a: 'b' } } })), { written: ['DirectorGroup/edge', 'VIPPool/public'], statuses: ['DirectorGroup/edge', 'VIPPool/public'] }],
    ['of a Service concerns those that name it', (b) => b.put(service('ns/web', { port: 81 })), { concerned: ['ns/shop'] }],
    ['of one in another namespace too', (b) => b.put(service('else/web')), { concerned: ['ns/other'] }],
    ['of one that nobody names concerns nobody', (b) => b.put(service('ns/nobody')), {}],
    ['of a slice concerns its Service\'s', (b) => b.put(slice('ns/web-1', 'web', ['10.0.0.2'])), { concerned: ['ns/shop'] }],
    ['of a slice that moves from one Service to another concerns both', (b) => b.put(slice('ns/web-1', 'third', ['10.0.0.2'])), { concerned: ['ns/shop', 'ns/third'] }],
    ['of Endpoints too', (b) => b.put(coreEndpoints('ns/web', '10.0.0.1')), { concerned: ['ns/shop'] }],
    ['of a node\'s labels concerns everybody', (b) => b.put(node('n1', ['192.0.2.1'], { edge: '' })), { everything: true }],
    ['of a node\'s addresses too', (b) => b.put({ ...node('n1', ['192.0.2.1']), status: { addresses: [{ type: 'InternalIP', address: '192.0.2.7' }] } }, node('n2', ['192.0.2.2'])), { everything: true }],
    ['of a namespace\'s labels too', (b) => b.put(namespace('ns', { team: 'a' })), { everything: true }],
    ['of the API server\'s endpoints too', (b) => b.put(slice('default/kubernetes', 'kubernetes', ['192.0.2.9'])), { everything: true }],
    ['of a ServiceCIDR too', (b) => b.put({ apiVersion: 'networking.k8s.io/v1', kind: 'ServiceCIDR', metadata: { name: 'c' }, spec: { cidrs: ['10.96.0.0/16'] } }), { everything: true }],
  ];
  for (const [name, change, expected] of cases) {
    it(name, async () => {
      const w = await watching(objects);
      const before = w.woken();
      change(w.b);
      assert.deepEqual(said(await w.take()), expected);
      assert.ok(w.woken() > before, 'somebody is told');
      assert.deepEqual(said(await w.take()), {}, 'once');
    });
  }

  it('that is a node\'s heartbeat concerns nobody', async () => {
    const w = await watching(objects);
    const beating = { ...node('n1', ['192.0.2.1']), status: { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }], conditions: [{ type: 'Ready', status: 'True', lastHeartbeatTime: 'now' }] } };
    w.b.api.cluster.replace('/api/v1/nodes', { ...w.b.api.all(NODES).get('n1')!, ...beating, metadata: w.b.api.all(NODES).get('n1')!.metadata });
    w.b.put({ ...namespace('ns'), metadata: { name: 'ns', annotations: { a: 'b' } } });
    assert.deepEqual(said(await w.take()), {});
  });

  it('is told with what was there before, and with the last that was heard, however many there were', async () => {
    const w = await watching((b) => b.put(pool()));
    w.b.put(pool('public', { disabled: true }));
    w.b.put(pool('public', { default: false }));
    const updated = (await w.take()).statuses.get('VIPPool/public')!;
    assert.deepEqual([updated.old?.metadata.generation, updated.object?.metadata.generation, updated.last.metadata.generation], [1, 3, 3]);
    w.b.put(pool('public', { autoAssign: false }));
    w.b.drop('VIPPool', 'public');
    const gone = (await w.take()).statuses.get('VIPPool/public')!;
    assert.deepEqual([gone.old?.metadata.generation, gone.object, gone.last.metadata.generation], [3, undefined, 4]);
    w.b.put(pool());
    const added = (await w.take()).statuses.get('VIPPool/public')!;
    assert.deepEqual([added.old, added.object?.metadata.generation], [undefined, 1]);
  });
});

describe('the caches', () => {
  it('are complete when every kind is, or does not exist', async () => {
    const b = new Bench(1, 5);
    let held: (() => void) | null = null;
    const client = b.api.client('world');
    const slow = { ...client, list: async (resource: Resource, options: object) => { if (resource.plural === 'nodes') await new Promise<void>((go) => { held = go; }); return await client.list(resource, options); } };
    const world = new World({ client: slow as never, namespace: NAMESPACE, log: new MemoryLog(), now: b.time.now, random: () => 0.5, wake: () => {}, sleep: b.time.sleep });
    const ending = new AbortController();
    const running = world.run(ending.signal);
    await b.pass(500);
    assert.deepEqual([world.synced, world.missing], [false, ['nodes']], 'ReferenceGrants are not installed');
    held!();
    await b.pass(500);
    assert.deepEqual([world.synced, world.missing], [true, []]);
    assert.equal(world.stats.length, 14);
    ending.abort();
    await b.time.idle();
    await running;
  });

  it('look for a kind that is not installed again', async () => {
    const w = await watching();
    w.b.api.absent.delete('referencegrants');
    w.b.put({ apiVersion: 'gateway.networking.k8s.io/v1beta1', kind: 'ReferenceGrant', metadata: { name: 'g', namespace: 'ns' }, spec: { from: [], to: [] } });
    await w.b.pass(61_000);
    assert.deepEqual([w.world.grants.store.size, (await w.take()).everything], [1, true]);
  });

  it('are complete although the server was away at the start and does not have a kind', async () => {
    const b = new Bench(1, 5);
    let away = true;
    const client = b.api.client('world');
    const list = async (resource: Resource, options: object) => {
      if (away) throw new ApiError({ code: 'UNREACHABLE', status: 0, message: 'connect ECONNREFUSED', verb: 'GET', path: resource.plural });
      return await client.list(resource, options);
    };
    const world = new World({ client: { ...client, list: list as never }, namespace: NAMESPACE, log: new MemoryLog(), now: b.time.now, random: () => 0.5, wake: () => {}, sleep: b.time.sleep });
    const ending = new AbortController();
    const running = world.run(ending.signal);
    await b.pass(10_000);
    assert.equal(world.missing.includes('referencegrants.gateway.networking.k8s.io'), true, 'it may be there');
    away = false;
    await b.pass(61_000);
    assert.deepEqual([world.synced, world.missing], [true, []]);
    ending.abort();
    await b.time.idle();
    await running;
  });

  it('name what exists and cannot be read; what was good once is read as it was', async () => {
    const w = await watching((b) => {
      b.put(pool(), server('ns/shop'));
      b.api.cluster.create('/apis/ipvs-operator.dev/v1alpha1/directorgroups', { ...group('edge'), spec: 7 } as never);
    });
    assert.deepEqual([...w.world.unread], ['DirectorGroup/edge']);
    const old = w.b.get('VIPPool', 'public')!;
    w.b.api.cluster.replace('/apis/ipvs-operator.dev/v1alpha1/vippools', { ...old, spec: 7 } as never);
    await w.b.pass(200);
    assert.deepEqual([...w.world.unread, w.world.pools.store.has('public')], ['DirectorGroup/edge', true]);
  });

  it('know who lives by the Leases of directors in one namespace', async () => {
    const w = await watching((b) => b.put(lease('n1', 10), { ...lease('n2'), metadata: { ...lease('n2').metadata, namespace: 'elsewhere' } }, { ...lease('n3'), metadata: { ...lease('n3').metadata, labels: {} } }));
    assert.deepEqual([...w.world.directors.live()], ['n1']);
    await w.b.pass(11_000);
    assert.deepEqual([...w.world.directors.live()], ['n1'], 'not renewed, as it seems: the server is asked');
    await w.b.pass(1_000);
    assert.deepEqual([...w.world.directors.live()], []);
    w.b.put({ ...lease('n1', 10), spec: { ...lease('n1', 10).spec, leaseTransitions: 1 } });
    await w.b.pass(100);
    assert.deepEqual([...w.world.directors.live()], ['n1']);
    w.b.drop('Lease', `${NAMESPACE}/director-n1`);
    await w.b.pass(100);
    assert.deepEqual([...w.world.directors.live()], []);
  });

  it('end when they are told to, also one that waits for its kind', async () => {
    const w = await watching();
    await w.stop();
    w.b.put(server('ns/shop'));
    assert.deepEqual(said(await w.take()), {});
  });
});

describe('what is kept of an object', () => {
  const fat = { managedFields: [{}], annotations: { a: 'b' }, labels: { app: 'x', 'kubernetes.io/service-name': 'web' }, uid: 'u', resourceVersion: '7', ownerReferences: [] };
  it('is what somebody reads', () => {
    const s = { ...service('ns/web', { name: 'http', port: 80, targetPort: 'web', protocol: 'TCP' }), spec: { type: 'ClusterIP', selector: { app: 'x' }, clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1'], ports: [{ name: 'http', port: 80, nodePort: 30000 }] } };
    assert.deepEqual(trimService({ ...s, metadata: { ...s.metadata, ...fat } } as never), { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web', namespace: 'ns', uid: 'u', resourceVersion: '7' }, spec: { type: 'ClusterIP', selector: { app: 'x' }, clusterIPs: ['10.96.0.1'], ports: [{ port: 80, name: 'http' }] } });
    const e = slice('ns/web-1', 'web', [{ addresses: ['10.0.0.1'], conditions: { ready: true }, nodeName: 'n1', hints: {}, targetRef: {}, zone: 'a' } as never]);
    assert.deepEqual(trimSlice({ ...e, metadata: { ...e.metadata, ...fat } } as never), {
      apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata: { name: 'web-1', namespace: 'ns', uid: 'u', resourceVersion: '7', labels: { 'kubernetes.io/service-name': 'web' } },
      addressType: 'IPv4', ports: [{ name: '', port: 8080, protocol: 'TCP' }], endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready: true }, nodeName: 'n1' }],
    });
    assert.deepEqual(trimSlice({ ...e, endpoints: null, ports: null }).endpoints, [], 'servers write null for none');
    const n: Node = { ...node('n1', ['192.0.2.1']), status: { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }], conditions: [{ type: 'Ready', status: 'True' }] } };
    assert.deepEqual(trimNode({ ...n, metadata: { ...n.metadata, ...fat } } as never), { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1', uid: 'u', resourceVersion: '7', labels: fat.labels }, spec: { podCIDRs: [] }, status: { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }] } });
    assert.deepEqual(trimNamespace({ ...namespace('ns'), metadata: { name: 'ns', ...fat } } as never).metadata.labels, fat.labels);
  });
});
