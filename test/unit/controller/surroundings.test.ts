/** The cluster around VirtualServers, as compile asks for it: whose an address is, who permits what, who receives already. */
import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import type { EndpointSlice, ReferenceGrant, ServiceCIDR } from '../../../src/controller/core.ts';
import { NO_CLUSTER, type Cluster, type Way } from '../../../src/controller/compile/cluster.ts';
import { nodeAddresses, serviceIPs, sliceService, Surroundings, type Caches } from '../../../src/controller/surroundings.ts';
import { readPool } from '../../../src/controller/compile/pools.ts';
import { toBigInt } from '../../../src/ip/ip.ts';
import { storeOf } from '../../../src/kube/store.ts';
import type { KubeObject } from '../../../src/kube/types.ts';
import { coreEndpoints, namespace, node, service, slice } from './bench.ts';
import { compile, pool, server } from './compile/setup.ts';

interface Picture { nodes?: ReturnType<typeof node>[]; slices?: EndpointSlice[]; grants?: ReferenceGrant[]; cidrs?: string[][]; bound?: Record<string, string[]>; generation?: number; namespaces?: ReturnType<typeof namespace>[]; sends?: (node: string, vip: string) => boolean }

const DR: Way = { mode: 'DR', tunnel: null };
const cidr = (name: string, cidrs: string[]): ServiceCIDR => ({ apiVersion: 'networking.k8s.io/v1', kind: 'ServiceCIDR', metadata: { name }, spec: { cidrs } });

function surroundings({ nodes = [], slices = [], grants = [], cidrs = [], bound = {}, generation = 1, namespaces = [], sends = () => false }: Picture): { s: Surroundings; nodes: Map<string, KubeObject> } {
  const nodeMap = new Map<string, KubeObject>(nodes.map((n) => [n.metadata.name, n]));
  const reader = (map: Map<string, KubeObject>) => ({ get: (k: string) => map.get(k), values: () => map.values(), by: () => [] });
  const caches = {
    services: storeOf([{ ...service('ns/web'), spec: { clusterIPs: ['10.97.0.9', 'FD00:97::9', 'None'] } }], { indexes: { clusterIP: serviceIPs } }), slices: storeOf(slices, { indexes: { service: sliceService } }), endpoints: storeOf([coreEndpoints('ns/web', '10.0.0.1')]), nodes: reader(nodeMap),
    namespaces: storeOf(namespaces), serviceCIDRs: storeOf(cidrs.map((c, i) => cidr(`c${i}`, c))), grants: storeOf(grants),
    ipvsNodes: storeOf(Object.entries(bound).map(([name, boundVIPs]) => ({ apiVersion: 'v1', kind: 'IPVSNode', metadata: { name, generation }, spec: { realServer: { binds: boundVIPs.map((address) => ({ address, mode: 'DR' })) } }, status: { observedGeneration: 1, boundVIPs } }) as never)),
  } as unknown as Caches;
  return { s: new Surroundings(caches, sends), nodes: nodeMap };
}

describe('addresses', () => {
  const { s, nodes } = surroundings({
    nodes: [node('n2', ['192.0.2.2', '2001:DB8::2'], { role: 'web' }, ['10.1.2.0/24', 'junk', 'fd00:2::/64']), { ...node('n1', ['192.0.2.1']), status: { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }, { type: 'ExternalIP', address: '198.51.100.1' }, { type: 'Hostname', address: 'n1' }, { type: 'InternalIP', address: '010.0.0.1' }] } }],
    cidrs: [['10.96.0.0/16', 'fd00:96::/112']], slices: [slice('default/kubernetes', 'kubernetes', ['192.0.2.100', '192.0.2.1'], [{ port: 6443 }]), slice('ns/other', 'kubernetes', ['192.0.2.101'])],
  });
  const cases: [string, string | null][] = [
    ['192.0.2.1', 'an address of node n1'], ['198.51.100.1', 'an address of node n1'], ['2001:db8::2', 'an address of node n2'], ['192.0.2.100', 'the address of an API server'], ['192.0.2.101', null],
    ['10.1.2.7', 'in the Pod network of node n2 (10.1.2.0/24)'], ['fd00:2::7', 'in the Pod network of node n2 (fd00:2::/64)'], ['10.1.3.7', null],
    ['10.96.3.4', 'in the Service network (10.96.0.0/16, ServiceCIDR c0)'], ['fd00:96::1', 'in the Service network (fd00:96::/112, ServiceCIDR c0)'], ['203.0.113.1', null],
    ['10.97.0.9', 'the address of Service ns/web'], ['fd00:97::9', 'the address of Service ns/web'], ['10.97.0.10', null],
  ];
  for (const [address, whose] of cases) it(`${address} is ${whose ?? 'free'}`, () => assert.equal(s.reserved(address), whose));

  it('of a Pod network are reserved however that is written: the API server takes one with host bits', () => {
    const { s: other } = surroundings({ nodes: [node('n1', ['192.0.2.1'], {}, ['10.1.2.1/24', 'FD00:2::1/64', '10.1.3.0/99', '10.1.4.0/'])] });
    assert.deepEqual(['10.1.2.200', 'fd00:2::7', '10.1.3.7', '10.1.4.0'].map((a) => other.reserved(a)), ['in the Pod network of node n1 (10.1.2.1/24)', 'in the Pod network of node n1 (FD00:2::1/64)', null, null]);
  });

  it('of nodes are known, internal ones as those of real servers', () => {
    assert.deepEqual(['192.0.2.1', '2001:db8::2', '198.51.100.1', '192.0.2.100'].map((a) => s.nodeOf(a)), ['n1', 'n2', null, null]);
    assert.deepEqual(s.nodes({}).map((n) => [n.name, n.addresses]), [['n1', ['192.0.2.1']], ['n2', ['192.0.2.2', '2001:db8::2']]]);
    assert.deepEqual([s.nodes({ role: 'web' }).map((n) => n.name), s.nodes({ role: 'web', edge: '' })], [['n2'], []]);
    assert.deepEqual(s.ownAddresses, ['192.0.2.1', '192.0.2.100', '192.0.2.2', '198.51.100.1', '2001:db8::2'], 'what agents are told, sorted');
  });

  it('of a node say nothing of its weight; its label does, as it is written', () => {
    const labelled = surroundings({ nodes: [node('n1', ['192.0.2.1'], { 'ipvs-operator.dev/weight': 'heavy' }), node('n2', ['192.0.2.2'], { weight: '5' })] }).s;
    assert.deepEqual(['n1', 'n2', 'n3'].map((n) => labelled.weightLabel(n)), ['heavy', null, null]);
  });

  it('in the ranges of a pool that are somebody\'s are found', () => {
    const inPool = (...blocks: object[]) => s.reservedIn(readPool(pool('public', { blocks })).ranges);
    assert.equal(inPool({ cidr: '203.0.113.0/24' }), null);
    assert.equal(inPool({ cidr: '203.0.113.0/24' }, { cidr: '192.0.2.0/28' }), '192.0.2.1 is an address of node n1');
    assert.equal(inPool({ start: '10.1.1.250', stop: '10.1.2.3' }), '10.1.2.0 is in the Pod network of node n2 (10.1.2.0/24)');
    assert.equal(inPool({ start: '10.96.255.250', stop: '10.97.0.3' }), '10.96.255.250 is in the Service network (10.96.0.0/16, ServiceCIDR c0)');
    assert.equal(inPool({ cidr: 'fd00:2::/96' }), 'fd00:2:: is in the Pod network of node n2 (fd00:2::/64)');
  });

  it('of a Pod network in a pool are passed over at once: of a /64 each was looked at, and the controller did nothing else for ever', () => {
    const networks = surroundings({ nodes: [node('n1', ['192.0.2.1'], {}, ['2001:db8:0:1::/64', '10.8.0.0/14']), node('n2', ['192.0.2.2'], {}, ['2001:db8:0:2::/64'])], cidrs: [['10.12.0.0/15']] }).s;
    let looks = 0;
    const cluster: Cluster = { ...NO_CLUSTER, present: true, reserved: (a) => networks.reserved(a), reservedTo: (a) => { assert.ok(++looks < 100, `${a} is looked at, too`); return networks.reservedTo(a); } };
    const outcomeOf = (cidr: string, ...names: string[]) => compile({ servers: names.map((n) => server(n)), pools: [pool('public', { blocks: [{ cidr }] })], cluster }).outcome;
    assert.deepEqual(outcomeOf('2001:db8:0:1::/64', 'a', 'b'), { a: 'PoolExhausted', b: 'PoolExhausted' });
    assert.deepEqual(outcomeOf('2001:db8::/62', 'a', 'b'), { a: '2001:db8::1', b: '2001:db8::2' });
    assert.deepEqual(outcomeOf('10.8.0.0/13', 'a', 'b'), { a: '10.14.0.0', b: '10.14.0.1' });
    assert.deepEqual(['10.8.0.1', '10.12.0.1', '10.14.0.0', '192.0.2.1', '10.97.0.9'].map((a) => networks.reservedTo(a)), ['10.11.255.255', '10.13.255.255', null, '192.0.2.1', '10.97.0.9'].map((a) => (a === null ? null : toBigInt(a))));
  });

  it('are looked at again when a node has changed, and not before', () => {
    nodes.set('n9', node('n9', ['192.0.2.9']));
    assert.equal(s.reserved('192.0.2.9'), null);
    s.invalidate();
    assert.deepEqual([s.reserved('192.0.2.9'), s.nodeOf('192.0.2.9')], ['an address of node n9', 'n9']);
  });

  it('that are no strict addresses are nobody\'s', () => assert.deepEqual(nodeAddresses(node('n', ['1.2.3', '::ffff:1.2.3.4', 'fe80::1%eth0', '192.0.2.7']), true), ['192.0.2.7']));
});

describe('a ReferenceGrant', () => {
  const grant = (to: { group?: string; kind?: string; name?: string }[], from = { group: 'ipvs-operator.dev', kind: 'VirtualServer', namespace: 'shop' }): ReferenceGrant =>
    ({ apiVersion: 'gateway.networking.k8s.io/v1beta1', kind: 'ReferenceGrant', metadata: { name: 'g', namespace: 'backend' }, spec: { from: [from], to: to.map((t) => ({ group: '', kind: 'Service', ...t })) } });
  const cases: [string, ReferenceGrant, string, string, boolean][] = [
    ['to every Service of its namespace', grant([{}]), 'shop', 'backend/web', true],
    ['to one Service', grant([{ name: 'web' }]), 'shop', 'backend/web', true],
    ['an empty name is every one', grant([{ name: '' }]), 'shop', 'backend/web', true],
    ['not to another Service', grant([{ name: 'api' }]), 'shop', 'backend/web', false],
    ['one of several', grant([{ name: 'api' }, { name: 'web' }]), 'shop', 'backend/web', true],
    ['not from another namespace', grant([{}]), 'other', 'backend/web', false],
    ['not into another namespace', grant([{}]), 'shop', 'elsewhere/web', false],
    ['not to another kind', grant([{ kind: 'Secret' }]), 'shop', 'backend/web', false],
    ['not from another kind', grant([{}], { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'shop' }), 'shop', 'backend/web', false],
    ['that says nothing', { ...grant([{}]), spec: {} }, 'shop', 'backend/web', false],
  ];
  for (const [name, g, from, to, allowed] of cases) it(`${allowed ? 'permits' : 'does not permit'}: ${name}`, () => assert.equal(surroundings({ grants: [g] }).s.permits(from, to), allowed));
});

describe('the rest', () => {
  it('a node receives for a VIP when it says so of what it was told last, or when directors send to it already', () => {
    const { s } = surroundings({ bound: { n1: ['203.0.113.1'] }, sends: (n, vip) => n === 'n2' && vip === '203.0.113.2' });
    const received = (node: string, vip: string, way: Way = DR) => s.receives(node, vip, way);
    assert.deepEqual([received('n1', '203.0.113.1'), received('n1', '203.0.113.2'), received('n2', '203.0.113.2'), received('n3', '203.0.113.1')], [true, false, true, false]);
    assert.equal(received('n1', '203.0.113.1', { mode: 'TUN', tunnel: { encapsulation: 'IPIP', port: 0, checksum: 'None' } }), false, 'told to receive in DR, it says nothing of tunnels');
    assert.equal(surroundings({ bound: { n1: ['203.0.113.1'] }, generation: 2 }).s.receives('n1', '203.0.113.1', DR), false, 'what it says is of what it was told before');
  });
  it('Services, their slices in one order, Endpoints and namespaces are what the caches have', () => {
    const { s } = surroundings({ slices: [slice('ns/web-b', 'web', ['10.0.0.2']), slice('ns/web-a', 'web', ['10.0.0.1']), slice('other/web-a', 'web', ['10.0.0.9'])], namespaces: [namespace('ns', { team: 'a' })] });
    assert.deepEqual([s.service('ns/web')?.metadata.name, s.service('ns/no'), s.slices('ns/web').map((x) => x.metadata.name), s.endpoints('ns/web')?.subsets?.length, s.endpoints('ns/no')], ['web', null, ['web-a', 'web-b'], 1, null]);
    assert.deepEqual([s.namespaceLabels('ns'), s.namespaceLabels('unknown')], [{ team: 'a' }, null], 'of a namespace that is not heard of yet nothing is known');
    assert.deepEqual(sliceService({ ...slice('ns/x', 'web', []), metadata: { name: 'x', namespace: 'ns' } }), [], 'a slice of nobody');
  });
});
