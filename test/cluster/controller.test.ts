/**
 * The controller on a real API server, under the service account of deploy/install.yaml: Services with real EndpointSlices become
 * programs, refusals say why, kubectl shows what one needs, and what others spoil is put right. Agents are imitated by their reports.
 */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VirtualIP, VirtualServerProgram } from '../../src/api/v1alpha1/index.ts';
import { endpointSlice, group, pool, startBench, toService, toStatic, virtualServer, type Any, type Bench, type Running } from './controller-bench.ts';
import { namespace, node, pod, service, type PodOptions } from './objects.ts';

const folder = mkdtempSync(join(tmpdir(), 'ipvs-controller-'));
let bench: Bench;
let controller: Running;

before(async () => {
  bench = await startBench({ folder, account: true });
  const nodes = [['e1', { edge: '' }, '192.0.2.1'], ['e2', { edge: '' }, '192.0.2.2'], ['w1', { role: 'web' }, '192.0.2.11'], ['w2', { role: 'web' }, '192.0.2.12']] as const;
  await bench.post(...nodes.map(([name, labels, address]) => node(name, [address], labels)), namespace('shop'), namespace('other', { team: 'other' }), namespace('backend'));
  await bench.post(
    group('edge', { edge: '' }), pool('public', { blocks: [{ cidr: '203.0.113.0/24' }, { cidr: '2001:db8::/120' }], default: true, directorGroupRef: { name: 'edge' }, allowStaticBackendCIDRs: ['10.0.0.0/8'] }),
    pool('closed', { blocks: [{ cidr: '198.51.100.0/30' }], allowedNamespaces: { names: ['other'] }, directorGroupRef: { name: 'edge' } }),
    pool('tiny', { blocks: [{ cidr: '198.51.100.8/32' }], directorGroupRef: { name: 'edge' } }), pool('nodes', { blocks: [{ cidr: '192.0.2.0/24' }], directorGroupRef: { name: 'edge' } }),
    pool('lost', { blocks: [{ cidr: '198.51.100.16/30' }], directorGroupRef: { name: 'nowhere' } }),
  );
  await bench.lives('e1', 'e2');
  // Gateway API's ReferenceGrant, as far as it is read.
  await bench.post({
    apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition', metadata: { name: 'referencegrants.gateway.networking.k8s.io', annotations: { 'api-approved.kubernetes.io': 'https://github.com/kubernetes-sigs/gateway-api/pull/2997' } },
    spec: {
      group: 'gateway.networking.k8s.io', scope: 'Namespaced', names: { plural: 'referencegrants', singular: 'referencegrant', kind: 'ReferenceGrant', listKind: 'ReferenceGrantList' },
      versions: [{ name: 'v1beta1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } } }],
    },
  });
  await bench.cluster.kubectl(['wait', '--for=condition=Established', '--timeout=280s', 'crd', '--all']);
  controller = await bench.start('one', '--no-leader-election');
});
after(async () => {
  await bench?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const realServers = async (key: string): Promise<string[] | undefined> => (await bench.program(key))?.services.flatMap((s) => s.realServers);
const becomes = async (what: string, key: string, expected: readonly string[]): Promise<void> => {
  await bench.eventually(`${what}: ${expected.join(' ')}`, async () => JSON.stringify(await realServers(key)) === JSON.stringify(expected));
};
const web = (name: string, address: string, more: Partial<PodOptions> & { port?: number; seconds?: number } = {}): object => {
  const { port = 8080, seconds = 0, ...options } = more;
  const made = pod({ namespace: 'shop', name, labels: { app: 'web' }, node: 'w1', addresses: [address], ...options });
  return { ...made, spec: { ...made['spec'] as object, terminationGracePeriodSeconds: seconds, containers: [{ name: 'main', image: 'none', ports: [{ name: 'http', containerPort: port }] }] } };
};
const unready = async (name: string, ready = 'False'): Promise<void> => await bench.patch('Pod', `shop/${name}`, { status: { conditions: [{ type: 'Ready', status: ready }] } }, '/status');

test('the Pods of a Service are the real servers of its VirtualServer: as they come, are unready, end, and with the port each has', async () => {
  await bench.post(service('shop', 'web', { app: 'web' }, [{ name: 'http', port: 80, targetPort: 'http' }]), web('a', '10.1.0.1'), virtualServer('shop/web', toService('web')));
  await becomes('one Pod', 'shop/web', ['10.1.0.1|8080|1|w1']);
  await bench.post(web('b', '10.1.0.2', { port: 9090, seconds: 600 }));
  await becomes('another, with its own number for the named port, in a slice of its own', 'shop/web', ['10.1.0.1|8080|1|w1', '10.1.0.2|9090|1|w1']);
  await unready('a');
  await becomes('the first is unready', 'shop/web', ['10.1.0.2|9090|1|w1']);
  await bench.drop('Pod', 'shop/b');
  await becomes('all that are left are terminating, and still answer', 'shop/web', ['10.1.0.2|9090|1|w1']);
  await unready('a', 'True');
  await becomes('one is ready again', 'shop/web', ['10.1.0.1|8080|1|w1']);
  await bench.send('DELETE', '/api/v1/namespaces/shop/pods/b', { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0 });
  await bench.drop('Pod', 'shop/a');
  await becomes('none', 'shop/web', []);
  await bench.post(web('c', '10.1.0.3'));
  await becomes('one again', 'shop/web', ['10.1.0.3|8080|1|w1']);
});

test('a Pod says what share of the weight it gets, where that is asked for, and only its metadata is read', async () => {
  const rbac = { group: 'rbac.authorization.k8s.io', apiVersion: 'rbac.authorization.k8s.io/v1', path: '/apis/rbac.authorization.k8s.io/v1' };
  await bench.send('POST', `${rbac.path}/clusterroles`, { apiVersion: rbac.apiVersion, kind: 'ClusterRole', metadata: { name: 'read-pods' }, rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] }] });
  await bench.send('POST', `${rbac.path}/clusterrolebindings`, {
    apiVersion: rbac.apiVersion, kind: 'ClusterRoleBinding', metadata: { name: 'read-pods' }, roleRef: { apiGroup: rbac.group, kind: 'ClusterRole', name: 'read-pods' },
    subjects: [{ kind: 'ServiceAccount', name: 'ipvs-operator-controller', namespace: 'ipvs-system' }],
  });
  const review = { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec: { user: 'system:serviceaccount:ipvs-system:ipvs-operator-controller', resourceAttributes: { verb: 'list', resource: 'pods' } } };
  await bench.eventually('it may list Pods', async () => (await bench.send<{ status: { allowed: boolean } }>('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', review)).status.allowed);
  const annotated = (object: object, weight: string): object => ({ ...object, metadata: { ...(object as { metadata: object }).metadata, annotations: { 'ipvs-operator.dev/weight': weight } } });
  await bench.post(annotated(web('c2', '10.1.0.4'), '10'));
  await bench.post(virtualServer('shop/shares', { backends: [{ weight: 100, serviceRef: { name: 'web', podWeights: 'Annotation' } }] }));
  await becomes('as the Pod says', 'shop/shares', ['10.1.0.3|8080|100|w1', '10.1.0.4|8080|10|w1']);
  await bench.patch('Pod', 'shop/c2', { metadata: { annotations: { 'ipvs-operator.dev/weight': '250' } } });
  await becomes('and as it says now', 'shop/shares', ['10.1.0.3|8080|100|w1', '10.1.0.4|8080|250|w1']);
  await becomes('for nobody else', 'shop/web', ['10.1.0.3|8080|1|w1', '10.1.0.4|8080|1|w1']);
  await bench.send('DELETE', '/api/v1/namespaces/shop/pods/c2', { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0 });
  await bench.drop('VirtualServer', 'shop/shares');
  await becomes('without it', 'shop/web', ['10.1.0.3|8080|1|w1']);
});

test('a Service that is deleted takes its real servers with it, and brings them back', async () => {
  await bench.drop('Service', 'shop/web');
  await becomes('no Service', 'shop/web', []);
  await bench.eventually('it says so', async () => await bench.condition('shop/web', 'ResolvedRefs') === 'False ServiceNotFound');
  assert.match(await bench.message('shop/web', 'ResolvedRefs'), /Service shop\/web does not exist; create it/);
  await bench.post(service('shop', 'web', { app: 'web' }, [{ name: 'http', port: 80, targetPort: 'http' }]));
  await becomes('the Service is back', 'shop/web', ['10.1.0.3|8080|1|w1']);
  await bench.eventually('and found', async () => await bench.condition('shop/web', 'ResolvedRefs') === 'True ResolvedRefs');
});

test('a Service without selector is what its slices say: several, duplicates among them, two families', async () => {
  const plain = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'dual', namespace: 'shop' }, spec: { ports: [{ port: 80 }] } };
  await bench.post(plain, endpointSlice('shop/dual-1', 'dual', ['10.2.0.1', '10.2.0.2']), endpointSlice('shop/dual-2', 'dual', ['10.2.0.2', '10.2.0.3']), endpointSlice('shop/dual-3', 'dual', ['fd00::1'], undefined, 'IPv6'));
  await bench.post(virtualServer('shop/dual', { ...toService('dual'), vip: { families: ['IPv4', 'IPv6'] } }), virtualServer('shop/four', toService('dual')));
  await becomes('both families', 'shop/dual', ['10.2.0.1|8080|1|', '10.2.0.2|8080|1|', '10.2.0.3|8080|1|', 'fd00::1|8080|1|']);
  await becomes('one family', 'shop/four', ['10.2.0.1|8080|1|', '10.2.0.2|8080|1|', '10.2.0.3|8080|1|']);
  const { addresses } = (await bench.program('shop/dual'))!;
  assert.deepEqual(addresses.map((a) => a.family), ['IPv4', 'IPv6']);
  const vips = await bench.list<VirtualIP>('VirtualIP');
  for (const { address } of addresses) assert.deepEqual(vips.find((v) => v.spec.address === address)?.spec.claims.map((c) => `${c.namespace}/${c.name} ${c.ports.join()}`), ['shop/dual TCP/80-80']);
});

test('and what its Endpoints say, which the cluster mirrors into slices', async () => {
  await bench.post({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'byhand', namespace: 'shop' }, spec: { ports: [{ port: 80 }] } }, virtualServer('shop/byhand', toService('byhand')));
  await bench.post({ apiVersion: 'v1', kind: 'Endpoints', metadata: { name: 'byhand', namespace: 'shop' }, subsets: [{ addresses: [{ ip: '10.3.0.1' }], notReadyAddresses: [{ ip: '10.3.0.2' }], ports: [{ port: 8081 }] }] });
  await becomes('Endpoints', 'shop/byhand', ['10.3.0.1|8081|1|']);
  await bench.eventually('they are mirrored', async () => (await bench.list('EndpointSlice', 'shop')).some((s) => s.metadata.labels?.['kubernetes.io/service-name'] === 'byhand'));
  await bench.patch('Endpoints', 'shop/byhand', { subsets: [{ addresses: [{ ip: '10.3.0.7' }], ports: [{ port: 8081 }] }] });
  await becomes('other Endpoints', 'shop/byhand', ['10.3.0.7|8081|1|']);
});

test('where nobody mirrors them, they are read directly', async () => {
  await bench.post({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'direct-ep', namespace: 'shop' }, spec: { ports: [{ port: 80 }] } }, virtualServer('shop/direct-ep', toService('direct-ep')));
  const skipped = { 'endpointslice.kubernetes.io/skip-mirror': 'true' };
  await bench.post({ apiVersion: 'v1', kind: 'Endpoints', metadata: { name: 'direct-ep', namespace: 'shop', labels: skipped }, subsets: [{ addresses: [{ ip: '10.3.1.1' }], ports: [{ port: 8081 }] }] });
  await becomes('Endpoints', 'shop/direct-ep', ['10.3.1.1|8081|1|']);
  await bench.patch('Endpoints', 'shop/direct-ep', { subsets: [{ addresses: [{ ip: '10.3.1.7' }], ports: [{ port: 8082 }] }] });
  await becomes('other Endpoints', 'shop/direct-ep', ['10.3.1.7|8082|1|']);
  assert.ok(!(await bench.list('EndpointSlice', 'shop')).some((s) => s.metadata.labels?.['kubernetes.io/service-name'] === 'direct-ep'), 'there is no slice');
});

test('a Service that publishes Pods that are not ready is served by them', async () => {
  await bench.post({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'early', namespace: 'shop' }, spec: { selector: { app: 'early' }, ports: [{ port: 80, targetPort: 8080 }], publishNotReadyAddresses: true } }, virtualServer('shop/early', toService('early')));
  await bench.post(web('early-1', '10.1.0.9', { labels: { app: 'early' }, ready: false }));
  await becomes('one that is not ready', 'shop/early', ['10.1.0.9|8080|1|w1']);
  await bench.patch('Service', 'shop/early', { spec: { publishNotReadyAddresses: false } });
  await becomes('none', 'shop/early', []);
});

test('1,100 endpoints in 11 slices are one program in two objects, complete before directors are told', async () => {
  const address = (i: number): string => `10.4.${i >> 8}.${i & 255}`;
  await bench.post({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'many', namespace: 'shop' }, spec: { ports: [{ port: 80 }] } }, virtualServer('shop/many', toService('many')));
  await bench.post(...Array.from({ length: 11 }, (_, n) => endpointSlice(`shop/many-${n}`, 'many', Array.from({ length: 100 }, (_e, i) => address(n * 100 + i)))));
  await bench.eventually('1,100 real servers', async () => (await realServers('shop/many'))?.length === 1_100);
  const [first, second] = [await bench.get<VirtualServerProgram>('VirtualServerProgram', 'shop/many'), await bench.get<VirtualServerProgram>('VirtualServerProgram', 'shop/many.1')];
  assert.deepEqual([first?.spec.slice, second?.spec.slice, first?.spec.contentHash === second?.spec.contentHash], [{ index: 0, count: 2 }, { index: 1, count: 2 }, true]);
  for (let n = 1; n < 11; n++) await bench.drop('EndpointSlice', `shop/many-${n}`);
  await bench.eventually('one object', async () => (await realServers('shop/many'))?.length === 100 && await bench.get('VirtualServerProgram', 'shop/many.1') === null);
});

test('in DR a node is told first; its real server comes when it says that it receives', async () => {
  await bench.post(virtualServer('shop/direct', { mode: 'DR', backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }] }));
  const bindsOf = async (name: string): Promise<string[]> => (((await bench.get('IPVSNode', name))?.spec as { realServer?: { binds: { virtualServer: string; localAddress: string }[] } } | undefined)?.realServer?.binds ?? []).map((b) => `${b.virtualServer} ${b.localAddress}`);
  await bench.eventually('both nodes are told', async () => JSON.stringify([await bindsOf('w1'), await bindsOf('w2')]) === '[["shop/direct 192.0.2.11"],["shop/direct 192.0.2.12"]]');
  await bench.eventually('nobody sends yet', async () => JSON.stringify(await realServers('shop/direct')) === '[]');
  await bench.report('w2');
  await becomes('one receives', 'shop/direct', ['192.0.2.12|80|1|w2']);
  await bench.report('w1');
  await becomes('both do', 'shop/direct', ['192.0.2.11|80|1|w1', '192.0.2.12|80|1|w2']);
  await bench.patch('Node', 'w1', { metadata: { labels: { role: null } } });
  await becomes('one has left', 'shop/direct', ['192.0.2.12|80|1|w2']);
  await bench.eventually('and is told to stop receiving', async () => (await bindsOf('w1')).length === 0);
});

const grant = { apiVersion: 'gateway.networking.k8s.io/v1beta1', kind: 'ReferenceGrant', metadata: { name: 'shop', namespace: 'backend' }, spec: { from: [{ group: 'ipvs-operator.dev', kind: 'VirtualServer', namespace: 'shop' }], to: [{ group: '', kind: 'Service' }] } };

test('every refusal has its reason, and a message that says what to do', async (t) => {
  await bench.post(virtualServer('shop/holder', { ...toStatic('10.0.0.1'), vip: { addresses: ['203.0.113.200'] } }), virtualServer('shop/tiny', { ...toStatic('10.0.0.1'), vip: { poolRef: { name: 'tiny' } } }));
  await bench.eventually('they hold their addresses', async () => await bench.condition('shop/holder', 'Accepted') === 'True Accepted' && await bench.condition('shop/tiny', 'Accepted') === 'True Accepted');
  await bench.post(service('shop', 'two', {}, [{ name: 'a', port: 1 }, { name: 'b', port: 2 }]), service('backend', 'api', {}, [{ port: 80 }]), endpointSlice('shop/pods', 'pods', ['10.5.0.1']), { apiVersion: 'v1', kind: 'Service', metadata: { name: 'pods', namespace: 'shop' }, spec: { ports: [{ port: 80 }] } });
  const to = toStatic('10.0.0.1');
  const cases: [string, Any, 'Accepted' | 'ResolvedRefs', string, RegExp][] = [
    ['no such pool', virtualServer('shop/r1', { ...to, vip: { poolRef: { name: 'none' } } }), 'Accepted', 'False PoolNotFound', /VIPPool none does not exist; create it/],
    ['a pool of others', virtualServer('shop/r2', { ...to, vip: { poolRef: { name: 'closed' } } }), 'Accepted', 'False NamespaceNotAllowed', /VIPPool closed does not admit namespace shop; ask its owner/],
    ['an address of no pool', virtualServer('shop/r3', { ...to, vip: { addresses: ['8.8.8.8'] } }), 'Accepted', 'False AddressOutsidePools', /8\.8\.8\.8 lies in no VIPPool; add a block/],
    ['an address of a node', virtualServer('shop/r4', { ...to, vip: { addresses: ['192.0.2.11'] } }), 'Accepted', 'False AddressReserved', /192\.0\.2\.11 is an address of node w1: .*choose another/],
    ['an address of another namespace', virtualServer('other/r5', { ...to, vip: { addresses: ['203.0.113.200'] } }), 'Accepted', 'False AddressInUse', /203\.0\.113\.200 is in use by another namespace; choose another/],
    ['a pool without a free address', virtualServer('shop/r6', { ...to, vip: { poolRef: { name: 'tiny' } } }), 'Accepted', 'False PoolExhausted', /VIPPool tiny has no free IPv4 address; add a block/],
    ['a port of another', virtualServer('shop/r7', { ...to, vip: { addresses: ['203.0.113.200'] } }), 'Accepted', 'False PortConflict', /203\.0\.113\.200 TCP port 80 is served by VirtualServer shop\/holder already; choose another port/],
    ['suspended', virtualServer('shop/r8', { ...to, suspend: true }), 'Accepted', 'False Suspended', /spec\.suspend is true/],
    ['shares with nobody', virtualServer('shop/r9', { ...to, vip: { sharedFrom: { name: 'nobody' } } }), 'Accepted', 'False Pending', /VirtualServer shop\/nobody does not exist/],
    ['a group that is not there', virtualServer('shop/r10', { ...to, vip: { poolRef: { name: 'lost' } } }), 'Accepted', 'False Pending', /DirectorGroup nowhere of VIPPool lost does not exist; create it/],
    ['addresses of two groups', virtualServer('shop/r11', { ...to, vip: { addresses: ['203.0.113.210', '198.51.100.17'] } }), 'Accepted', 'False InvalidSpec', /different director groups/],
    ['no such Service', virtualServer('shop/r20', toService('none')), 'ResolvedRefs', 'False ServiceNotFound', /Service shop\/none does not exist; create it/],
    ['no such port', virtualServer('shop/r21', toService('two', { port: 'c' })), 'ResolvedRefs', 'False PortNotFound', /has no port c \(it has a 1\/TCP, b 2\/TCP\)/],
    ['a Service of another namespace', virtualServer('shop/r22', toService('api', { namespace: 'backend' })), 'ResolvedRefs', 'False RefNotPermitted', /create a ReferenceGrant there/],
    ['a static real server that no pool permits', virtualServer('shop/r23', toStatic('172.16.0.1')), 'ResolvedRefs', 'False EndpointNotPermitted', /VIPPool public does not permit 172\.16\.0\.1 .*allowStaticBackendCIDRs/],
    ['a Pod in DR', virtualServer('shop/r24', { mode: 'DR', ...toService('pods'), ports: [{ port: 8080 }] }), 'ResolvedRefs', 'False UnsupportedBackendForMode', /10\.5\.0\.1 is a pod of its own network, and DR .*use mode NAT/],
  ];
  await bench.post(...cases.map(([, object]) => object));
  for (const [name, { metadata }, type, said, message] of cases) {
    await t.test(name, async () => {
      const key = `${metadata.namespace}/${metadata.name}`;
      await bench.eventually(`${key} is ${said}`, async () => await bench.condition(key, type) === said);
      assert.match(await bench.message(key, type), message);
      assert.equal((await bench.status(key)).observedGeneration, 1);
    });
  }
  await t.test('and ends when its reason does', async () => {
    await bench.post(grant);
    await bench.eventually('the grant permits', async () => await bench.condition('shop/r22', 'ResolvedRefs') === 'True ResolvedRefs');
    await bench.drop('VirtualServer', 'shop/holder');
    await bench.eventually('one of the two that wanted the address has it', async () => (await Promise.all(['other/r5', 'shop/r7'].map((k) => bench.condition(k, 'Accepted')))).filter((c) => c === 'True Accepted').length === 1);
    await bench.drop('VirtualServer', 'shop/tiny');
    await bench.eventually('the last address', async () => await bench.condition('shop/r6', 'Accepted') === 'True Accepted');
    await bench.patch('VirtualServer', 'shop/r8', { spec: { suspend: false } });
    await bench.eventually('not suspended', async () => await bench.condition('shop/r8', 'Accepted') === 'True Accepted');
  });
});

test('kubectl waits for Ready, and shows what one needs', async () => {
  const waiting = bench.cluster.kubectl(['wait', '-n', 'shop', 'ivs/web', '--for=condition=Ready', '--timeout=280s']);
  await bench.eventually('agents report until it is Ready', async () => {
    await bench.report('e1', 'e2', 'w1', 'w2');
    return await bench.condition('shop/web') === 'True Ready';
  });
  // Of stderr nothing is asked: kubectl may complain there that its own watch ended when it was done.
  const waited = await waiting;
  assert.match(`${waited.code} ${waited.stdout}`, /^0 virtualserver\.ipvs-operator\.dev\/web condition met/, waited.stderr);
  const [address] = (await bench.status('shop/web')).addresses!;
  const { stdout } = await bench.cluster.kubectl(['get', 'ivs', '-n', 'shop', 'web']);
  const [head, row] = stdout.trim().split('\n').map((l) => l.split(/\s{2,}/));
  assert.deepEqual([head, row!.slice(0, 7)], [['NAME', 'MODE', 'ADDRESS', 'PORTS', 'BACKENDS', 'NODE', 'READY', 'AGE'], ['web', 'NAT', address!.value, '80/TCP', '1/1', 'e1', 'True']]);
  const wide = await bench.cluster.kubectl(['get', 'ipvs', '-A', '-o', 'wide']);
  assert.equal(wide.code, 0, wide.stderr);
  for (const kind of ['virtualserver', 'virtualserverprogram']) assert.match(wide.stdout, new RegExp(`${kind}\\.ipvs-operator\\.dev/`), kind);
  assert.match((await bench.cluster.kubectl(['get', 'vippool', 'public'])).stdout, /public\s/);
  const group1 = await bench.get<{ status?: { summary?: { members?: string }; conditions?: { type: string; status: string }[] } }>('DirectorGroup', 'edge');
  assert.deepEqual([group1?.status?.summary?.members, group1?.status?.conditions?.map((c) => `${c.type} ${c.status}`)], ['2/2', ['Ready True']]);
});

test('events tell of changes, not of states', async () => {
  const eventsOf = async (name: string): Promise<string[]> => (await bench.list<{ regarding: { name: string }; reason: string; type: string }>('Event', 'shop')).filter((e) => e.regarding.name === name).map((e) => `${e.type} ${e.reason}`);
  await bench.eventually('web became Ready, and lost and found its Service', async () => {
    const events = await eventsOf('web');
    return ['Normal AddressAllocated', 'Normal Ready', 'Warning ServiceNotFound', 'Normal ResolvedRefs'].every((e) => events.includes(e));
  });
  await bench.eventually('a refusal', async () => (await eventsOf('r1')).includes('Warning PoolNotFound'));
});

test('what others spoil is put right, and nothing is written after that', async (t) => {
  const program = async (): Promise<VirtualServerProgram> => (await bench.get<VirtualServerProgram>('VirtualServerProgram', 'shop/web'))!;
  const was = await program();
  const vip = was.spec.addresses[0]!.address;
  const deeds: [string, () => Promise<unknown>, () => Promise<unknown>, unknown][] = [
    ['a program with other real servers', () => bench.patch('VirtualServerProgram', 'shop/web', { spec: { services: [] } }), async () => (await program()).spec.services, was.spec.services],
    ['a program without its labels', () => bench.patch('VirtualServerProgram', 'shop/web', { metadata: { labels: null } }), async () => (await program()).metadata.labels, was.metadata.labels],
    ['no program', () => bench.drop('VirtualServerProgram', 'shop/web'), async () => (await program())?.spec.services, was.spec.services],
    ['no VirtualIP', () => bench.drop('VirtualIP', vip), async () => (await bench.get<VirtualIP>('VirtualIP', vip))?.spec.claims.map((c) => c.name), ['web']],
    ['a VirtualIP of somebody else', () => bench.patch('VirtualIP', vip, { spec: { claims: [] } }), async () => (await bench.get<VirtualIP>('VirtualIP', vip))?.spec.claims.map((c) => c.name), ['web']],
    ['a status that lies', () => bench.patch('VirtualServer', 'shop/web', { status: { conditions: [{ type: 'Ready', status: 'False', reason: 'Edited', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' }] } }, '/status'),
      async () => (await bench.status('shop/web')).conditions?.map((c) => c.type).sort().slice(0, 4), ['Accepted', 'Programmed', 'Ready', 'ResolvedRefs']],
    ['a status with what nobody wrote', () => bench.patch('VirtualServer', 'shop/web', { status: { excluded: [{ backend: 'x', reason: 'y', message: 'z' }], excludedCount: 9 } }, '/status'), async () => (await bench.status('shop/web')).excludedCount ?? 0, 0],
    ['an IPVSNode that directs for nobody', () => bench.patch('IPVSNode', 'e2', { spec: { directorGroups: [] } }), async () => ((await bench.get('IPVSNode', 'e2'))?.spec as { directorGroups: string[] }).directorGroups, ['edge']],
    ['no IPVSNode', () => bench.drop('IPVSNode', 'e2'), async () => ((await bench.get('IPVSNode', 'e2'))?.spec as { directorGroups: string[] } | undefined)?.directorGroups, ['edge']],
    ['a program for nobody, with a hostile address', () => bench.post({ apiVersion: was.apiVersion, kind: was.kind, metadata: { name: 'hostile', namespace: 'shop' }, spec: { ...was.spec, addresses: [{ address: '169.254.169.254', family: 'IPv4' }], virtualServer: { name: 'hostile', uid: 'x' } } }), () => bench.get('VirtualServerProgram', 'shop/hostile'), null],
    ['a VirtualIP for nobody', () => bench.post({ apiVersion: was.apiVersion, kind: 'VirtualIP', metadata: { name: '203.0.113.250' }, spec: { address: '203.0.113.250', family: 'IPv4', poolRef: { name: 'public' }, directorGroup: 'edge', claims: [] } }), () => bench.get('VirtualIP', '203.0.113.250'), null],
  ];
  for (const [name, spoil, look, expected] of deeds) {
    await t.test(name, async () => {
      await spoil();
      await bench.eventually('it is as it was', async () => {
        await bench.report('e1', 'e2');
        return JSON.stringify(await look()) === JSON.stringify(expected);
      });
    });
  }
  await t.test('it comes to rest', async () => {
    await bench.report('e1', 'e2', 'w1', 'w2');
    let writes = -1;
    let since = performance.now();
    await bench.eventually('no write for twelve seconds', async () => {
      const now = await controller.writes();
      if (now !== writes) [writes, since] = [now, performance.now()];
      return performance.now() - since > 12_000;
    });
  });
});

test('it was refused nothing, and failed at nothing that it does not expect', () => {
  const log = controller.log();
  assert.deepEqual(log.filter((l) => /forbidden/i.test(JSON.stringify(l))), []);
  assert.deepEqual(log.filter((l) => l.level >= 50), []);
  // Warnings of a CRD that is not quite there yet, of a kind that is old, and of writes that met somebody else's.
  const expected = /\(re\)initializing|Endpoints is deprecated|Conflict|AlreadyExists|NotFound/;
  assert.deepEqual(log.filter((l) => l.level === 40 && !expected.test(JSON.stringify(l))), []);
});
