/** Services, slices and nodes become real servers by Kubernetes' rules; who may not be one is named. */
import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { NO_CLUSTER, type Cluster } from '../../../../src/controller/compile/cluster.ts';
import { servicesOf } from '../../../../src/controller/compile/sources.ts';
import { toBigInt } from '../../../../src/ip/ip.ts';
import type { Endpoints, EndpointSlice, Service, SliceEndpoint, SlicePort } from '../../../../src/controller/core.ts';
import { compile, pin, pool, ports, server } from './setup.ts';

type Fields = Record<string, unknown>;

const service = (...list: NonNullable<NonNullable<Service['spec']>['ports']>[number][]): Service => ({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'shop', namespace: 'default' }, spec: { ports: list } });
const WEB = service({ name: 'http', port: 80, targetPort: 'web' });

const slice = (endpoints: SliceEndpoint[], slicePorts: SlicePort[] = [{ name: 'http', port: 8080, protocol: 'TCP' }], addressType = 'IPv4'): EndpointSlice =>
  ({ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata: { name: 'shop-1', namespace: 'default' }, addressType, endpoints, ports: slicePorts });

const pod = (address: string, conditions: SliceEndpoint['conditions'] = {}, nodeName = 'n1'): SliceEndpoint => ({ addresses: [address], conditions, nodeName });

interface Picture { service?: Service | null; slices?: EndpointSlice[]; endpoints?: Endpoints | null; nodes?: Record<string, string[]>; permits?: boolean; receives?: string[]; bound?: string[]; reserved?: Record<string, string>; labels?: Record<string, string> }

function clusterOf({ service: s = WEB, slices = [], endpoints = null, nodes = {}, permits = false, receives, bound = [], reserved = {}, labels = {} }: Picture): Cluster {
  return {
    ...NO_CLUSTER, present: true,
    service: () => s, slices: () => slices, endpoints: () => endpoints, permits: () => permits,
    nodes: () => Object.entries(nodes).map(([name, addresses]) => ({ name, labels: {}, addresses })),
    nodeOf: (a) => Object.entries(nodes).find(([, list]) => list.includes(a))?.[0] ?? null,
    weightLabel: (node) => labels[node] ?? null,
    receives: (node) => receives?.includes(node) ?? true,
    bound: (node) => bound.includes(node),
    reserved: (a) => reserved[a] ?? null,
    reservedTo: (a) => (reserved[a] === undefined ? null : toBigInt(a)),
  };
}

const ref = (extra: Fields = {}): Fields => ({ backends: [{ serviceRef: { name: 'shop', ...extra } }] });

/** The real servers of each service of the program, without their nodes. */
function realServers(spec: Fields, picture: Picture): string[][] {
  const { verdicts } = compile({ servers: [server('shop', { ...pin('203.0.113.1'), ...ref(), ...spec })], cluster: clusterOf(picture) });
  return verdicts['default/shop']!.program!.spec.services.map((s) => s.realServers.map((r) => r.split('|').slice(0, 3).join('|')));
}

function verdict(spec: Fields, picture: Picture) {
  return compile({ servers: [server('shop', { ...pin('203.0.113.1'), ...ref(), ...spec })], cluster: clusterOf(picture) }).verdicts['default/shop']!;
}

const ready = { ready: true };
const unready = { ready: false };
const leaving = { ready: false, serving: true, terminating: true };
const gone = { ready: false, serving: false, terminating: true };

describe('endpoints of a Service', () => {
  const conditions: [string, SliceEndpoint[], string[]][] = [
    ['ready ones serve, on the port of their slice', [pod('10.1.0.1', ready)], ['10.1.0.1|8080|1']],
    ['one without conditions is ready', [pod('10.1.0.1')], ['10.1.0.1|8080|1']],
    ['an unready one does not', [pod('10.1.0.1', unready), pod('10.1.0.2', ready)], ['10.1.0.2|8080|1']],
    ['one that is terminating does not, as long as another is ready', [pod('10.1.0.1', leaving), pod('10.1.0.2', ready)], ['10.1.0.2|8080|1']],
    ['when all are terminating, those that still answer serve on', [pod('10.1.0.1', leaving), pod('10.1.0.2', gone)], ['10.1.0.1|8080|1']],
    ['of a Service that publishes all of them (publishNotReadyAddresses) every one is called ready, and serves', [pod('10.1.0.1', { ready: true, serving: false }), pod('10.1.0.2', { ready: true, serving: false, terminating: true })], ['10.1.0.1|8080|1', '10.1.0.2|8080|1']],
    ['hints for zones are none of ours: every director sends to all', [{ ...pod('10.1.0.1', ready), hints: { forZones: [{ name: 'a' }] } } as SliceEndpoint, { ...pod('10.1.0.2', ready), hints: { forZones: [{ name: 'b' }] } } as SliceEndpoint], ['10.1.0.1|8080|1', '10.1.0.2|8080|1']],
    ['none at all is an empty service', [pod('10.1.0.1', unready)], []],
    ['only the first address of an endpoint counts', [{ addresses: ['10.1.0.1', '10.1.0.9'], conditions: ready }], ['10.1.0.1|8080|1']],
  ];
  for (const [name, endpoints, expected] of conditions) it(name, () => assert.deepEqual(realServers({}, { slices: [slice(endpoints)] }), [expected]));

  it('come from several slices, each with its own number for a named port, each address once', () => {
    const slices = [slice([pod('10.1.0.1', unready), pod('10.1.0.2')]), slice([pod('10.1.0.1'), pod('10.1.0.3')]), slice([pod('10.1.0.4')], [{ name: 'http', port: 9090 }])];
    assert.deepEqual(realServers({}, { slices }), [['10.1.0.1|8080|1', '10.1.0.2|8080|1', '10.1.0.3|8080|1', '10.1.0.4|9090|1']]);
  });

  it('at an address that two pods have, an old one that goes and its successor: on the port of the one that serves', () => {
    const old = (conditions: SliceEndpoint['conditions']) => slice([pod('10.0.1.21', conditions)], [{ name: 'http', port: 8080 }]);
    const next = (conditions: SliceEndpoint['conditions']) => slice([pod('10.0.1.21', conditions)], [{ name: 'http', port: 9090 }]);
    for (const [before, after, expected] of [
      [gone, ready, '9090'], [unready, ready, '9090'], [leaving, ready, '9090'], [ready, unready, '8080'], [leaving, unready, '8080'], [gone, leaving, '9090'],
    ] as const) {
      for (const slices of [[old(before), next(after)], [next(after), old(before)]]) {
        assert.deepEqual(realServers({}, { slices }), [[`10.0.1.21|${expected}|1`]], JSON.stringify([before, after]));
      }
    }
  });

  it('of a Service without slices come from its Endpoints object', () => {
    const endpoints: Endpoints = {
      apiVersion: 'v1', kind: 'Endpoints', metadata: { name: 'shop', namespace: 'default' },
      subsets: [{ addresses: [{ ip: '10.1.0.1' }, { ip: 'fd00::1' }], notReadyAddresses: [{ ip: '10.1.0.2' }], ports: [{ name: 'http', port: 8080 }] }],
    };
    assert.deepEqual(realServers({}, { endpoints }), [['10.1.0.1|8080|1']]);
    assert.deepEqual(realServers({}, { endpoints, slices: [slice([pod('10.1.0.7')])] }), [['10.1.0.7|8080|1']], 'slices win');
  });

  it('of a dual-stack Service: those of the families that the VIPs have', () => {
    const slices = [slice([pod('10.1.0.1')]), slice([pod('fd00:1::1')], undefined, 'IPv6'), slice([pod('web.example')], undefined, 'FQDN')];
    assert.deepEqual(realServers({}, { slices }), [['10.1.0.1|8080|1']]);
    assert.deepEqual(verdict({}, { slices }).excluded, []);
    assert.deepEqual(verdict({}, { slices: slices.slice(1) }).excluded.map((e) => [e.backend, e.reason]), [['fd00:1::1', 'UnsupportedBackendForMode']]);
  });

  it('have the weight of their backend, and the node they are on', () => {
    const v = verdict({ backends: [{ weight: 7, serviceRef: { name: 'shop' } }] }, { slices: [slice([pod('10.1.0.1')])] });
    assert.deepEqual(v.program!.spec.services[0]!.realServers, ['10.1.0.1|8080|7|n1']);
  });

  it('are never loopback, link-local or a VIP, whoever wrote the slice', () => {
    const v = verdict({}, { slices: [slice(['169.254.169.254', '127.0.0.1', '203.0.113.1', '224.0.0.1', 'junk', '10.1.0.1'].map((a) => pod(a)))] });
    assert.deepEqual(v.program!.spec.services[0]!.realServers, ['10.1.0.1|8080|1|n1']);
    assert.equal(v.excludedCount, 5);
    assert.ok(v.excluded.every((e) => e.reason === 'EndpointNotPermitted' && e.message.length > 20));
  });
});

describe('addresses of endpoints', () => {
  it('are compared with VIPs and nodes by what they mean, not by how somebody wrote them', () => {
    const spec = { vip: { addresses: ['2001:db8::10'] } };
    const pools = [pool('public', { blocks: [{ cidr: '2001:db8::/64' }] })];
    const cluster = clusterOf({ nodes: { n7: ['fd00::7'] }, slices: [slice([pod('2001:0DB8:0:0::10', {}, ''), pod('FD00:0::7', {}, ''), pod('fd00::0007', {}, '')], undefined, 'IPv6')] });
    const v = compile({ servers: [server('shop', { ...spec, ...ref() })], pools, cluster }).verdicts['default/shop']!;
    assert.deepEqual(v.program!.spec.services[0]!.realServers, ['fd00::7|8080|1|n7']);
    assert.deepEqual(v.excluded.map((e) => [e.backend, e.message]), [['2001:db8::10', '2001:db8::10 is the VIP of default/shop: a VIP is never a real server']]);
  });
});

describe('ports of a Service', () => {
  const TWO = service({ name: 'http', port: 80 }, { name: 'admin', port: 9000 }, { name: 'dns', port: 53, protocol: 'UDP' });
  const both = [slice([pod('10.1.0.1')], [{ name: 'http', port: 8080 }, { name: 'admin', port: 9001 }, { name: 'dns', port: 5353, protocol: 'UDP' }])];
  const cases: [string, Fields, Service, string[][]][] = [
    ['a port goes to the Service port of its number', ports(80, 9000), TWO, [['10.1.0.1|8080|1'], ['10.1.0.1|9001|1']]],
    ['or of its name', ports({ name: 'admin', port: 443 }), TWO, [['10.1.0.1|9001|1']]],
    ['or to the only one of its protocol', ports({ port: 5300, protocol: 'UDP' }), TWO, [['10.1.0.1|5353|1']]],
    ['a named one serves every port', { ...ports(80, 81), ...ref({ port: 'admin' }) }, TWO, [['10.1.0.1|9001|1'], ['10.1.0.1|9001|1']]],
    ['a numbered one too', { ...ports(443), ...ref({ port: 9000 }) }, TWO, [['10.1.0.1|9001|1']]],
    ['a named one serves the port that has its name, and no other', { ...ports({ name: 'http', port: 80 }, { name: 'other', port: 81 }), ...ref({ port: 'http' }) }, TWO, [['10.1.0.1|8080|1'], []]],
    [
      'a target port is for the backends that are no Service', { ...ports({ port: 80, targetPort: 7000 }), backends: [{ serviceRef: { name: 'shop' } }, { static: { endpoints: [{ address: '10.0.0.21' }] } }] }, TWO,
      [['10.0.0.21|7000|1', '10.1.0.1|8080|1']],
    ],
    ['a range keeps the port of the packet', ports([30000, 30100]), TWO, [['10.1.0.1|0|1']]],
    ['AllPorts keeps it too', { ...ports(80, 9000), persistence: { scope: 'AllPorts' } }, TWO, [['10.1.0.1|0|1']]],
  ];
  for (const [name, spec, s, expected] of cases) it(name, () => assert.deepEqual(realServers(spec, { service: s, slices: both }), expected));

  it('two backends of one Service serve a port each', () => {
    const spec = { ...ports({ name: 'http', port: 80 }, { name: 'admin', port: 81 }), backends: [{ serviceRef: { name: 'shop', port: 'http' } }, { serviceRef: { name: 'shop', port: 'admin' } }] };
    assert.deepEqual(realServers(spec, { service: TWO, slices: both }), [['10.1.0.1|8080|1'], ['10.1.0.1|9001|1']]);
  });
});

describe('references', () => {
  it('that lead nowhere are named, and the others serve', () => {
    const spec = { backends: [{ serviceRef: { name: 'shop' } }, { static: { endpoints: [{ address: '10.0.0.21' }] } }] };
    const v = verdict(spec, { service: null });
    assert.deepEqual(v.problems.map((p) => p.reason), ['ServiceNotFound']);
    assert.match(v.problems[0]!.message, /spec\.backends\[0\]\.serviceRef: Service default\/shop does not exist/);
    assert.deepEqual(v.program!.spec.services[0]!.realServers, ['10.0.0.21|80|1|']);
  });

  it('to a port that the Service does not have say which it has', () => {
    const [p] = verdict(ref({ port: 'https' }), { slices: [slice([pod('10.1.0.1')])] }).problems;
    assert.equal(p!.reason, 'PortNotFound');
    assert.match(p!.message, /has no port https \(it has http 80\/TCP\)/);
  });

  it('that serve one port and not another: the other is named; it was refused to clients while all was said to be well', () => {
    const slices = [slice([pod('10.1.0.1')])];
    const found = (spec: Fields, s = WEB) => verdict(spec, { service: s, slices }).problems.map((p) => `${p.reason} ${p.message}`);
    const two = service({ name: 'http', port: 80 }, { name: 'admin', port: 9000 });
    const [missing, ...more] = found(ports(80, { name: 'dns', port: 53, protocol: 'UDP' }));
    assert.match(missing!, /^PortNotFound spec\.ports\[1\]: nobody serves dns 53\/UDP, for Service default\/shop has no port of that name, number or protocol; give/);
    assert.deepEqual(more, []);
    assert.deepEqual(verdict(ports(80, 8443), { service: two, slices }).program!.spec.services.map((s) => s.realServers.length), [1, 0], 'the first port is served');
    assert.equal(found(ports(80, 8443), two).length, 1);
    assert.equal(found({ ...ports({ name: 'http', port: 80 }, { name: 'other', port: 81 }), ...ref({ port: 'http' }) }, two).length, 1, 'a named port is for the port of its name');
    // Another backend has it, or may have it.
    const both = (...backends: Fields[]): Fields => ({ ...ports({ name: 'http', port: 80 }, { name: 'admin', port: 81 }), backends: [{ serviceRef: { name: 'shop', port: 'http' } }, ...backends] });
    assert.deepEqual(found(both({ serviceRef: { name: 'shop', port: 'admin' } }), two), []);
    assert.deepEqual(found(both({ static: { endpoints: [{ address: '10.0.0.21' }] } }), two), []);
    assert.deepEqual(found(both({ nodes: { selector: { matchLabels: { role: 'web' } } } }), two), []);
    assert.deepEqual(found(both({ serviceRef: { name: 'shop', port: 'admn' } }), two).map((p) => p.slice(0, 41)), ['PortNotFound spec.backends[1].serviceRef:'], 'what is wrong with the reference is said, and no more');
    assert.deepEqual(found({ ...ports(80, [3000, 3010]) }), [], 'a range asks for no port of the Service');
  });

  it('to another namespace need its permission', () => {
    const other = ref({ namespace: 'other' });
    assert.deepEqual(verdict(other, { slices: [slice([pod('10.1.0.1')])] }).problems.map((p) => p.reason), ['RefNotPermitted']);
    assert.deepEqual(verdict(other, { slices: [slice([pod('10.1.0.1')])], permits: true }).problems, []);
    assert.deepEqual(servicesOf(server('shop', other)), ['other/shop']);
  });

  it('on a host without a cluster lead nowhere', () => {
    const { verdicts } = compile({ servers: [server('shop', { ...pin('203.0.113.1'), ...ref() })] });
    assert.deepEqual(verdicts['default/shop']!.problems.map((p) => p.reason), ['ServiceNotFound']);
  });
});

describe('modes', () => {
  const nodes = { n1: ['10.0.0.11'], n2: ['10.0.0.12'] };
  const dr = { mode: 'DR', ports: [{ port: 8080 }] };

  it('DR reaches the network of nodes, not that of pods', () => {
    const v = verdict(dr, { nodes, slices: [slice([pod('10.1.0.1'), pod('10.0.0.11')])] });
    assert.deepEqual(v.program!.spec.services[0]!.realServers, ['10.0.0.11|8080|1|n1']);
    assert.deepEqual(v.excluded.map((e) => [e.backend, e.reason]), [['10.1.0.1', 'UnsupportedBackendForMode']]);
    assert.deepEqual(v.binds, [{ node: 'n1', localAddress: '10.0.0.11' }]);
  });

  it('DR cannot rewrite a port', () => {
    const v = verdict({ mode: 'DR', ports: [{ port: 80 }] }, { nodes, slices: [slice([pod('10.0.0.11')])] });
    assert.deepEqual(v.program!.spec.services[0]!.realServers, []);
    assert.deepEqual(v.excluded.map((e) => [e.backend, e.reason]), [['10.0.0.11:8080', 'PortRemapInDR']]);
  });

  it('a ready Pod on a node that did not receive yet took the place of those that go: clients were refused until it did', () => {
    const slices = [slice([pod('10.0.0.1', leaving, 'n1'), pod('10.0.0.2', ready, 'n2')])];
    const picture = { slices, nodes: { n1: ['10.0.0.1'], n2: ['10.0.0.2'] } };
    const v = verdict(dr, { ...picture, receives: ['n1'] });
    assert.deepEqual([v.program!.spec.services[0]!.realServers, v.waiting], [['10.0.0.1|8080|1|n1'], ['n2']]);
    assert.deepEqual(v.binds.map((b) => b.node).sort(), ['n1', 'n2']);
    const later = verdict(dr, { ...picture, receives: ['n1', 'n2'] });
    assert.deepEqual([later.program!.spec.services[0]!.realServers, later.binds.map((b) => b.node)], [['10.0.0.2|8080|1|n2'], ['n2']]);
    const two = { ...dr, backends: [{ serviceRef: { name: 'shop' } }, { static: { endpoints: [{ address: '10.0.0.99' }] } }] };
    assert.deepEqual(verdict(two, { ...picture, receives: ['n1'] }).program!.spec.services[0]!.realServers, ['10.0.0.1|8080|1|n1', '10.0.0.99|8080|1|'], 'for its own Service, whatever others have');
  });

  it('a node gets no packets before it receives for the VIP', () => {
    const v = verdict({ ...dr, backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }] }, { nodes, receives: ['n2'] });
    assert.deepEqual(v.program!.spec.services[0]!.realServers, ['10.0.0.12|8080|1|n2']);
    assert.deepEqual(v.waiting, ['n1']);
    assert.deepEqual(v.binds.map((b) => b.node), ['n1', 'n2'], 'and is told to');
  });

  it('in NAT nobody has to', () => {
    const v = verdict({ backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }] }, { nodes, receives: [] });
    assert.equal(v.backends, 2);
    assert.deepEqual(v.binds, []);
  });

  it('in NAT the VIP is no source for a node that has it too, as after an edit from DR: the director\'s own address is, until it has not', () => {
    const spec = { nat: { sourceAddress: 'VirtualIP' }, backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }] };
    assert.deepEqual([['n2'], ['n9'], []].map((bound) => verdict(spec, { nodes, bound }).program!.spec.sourceAddress), ['Masquerade', 'VirtualIP', 'VirtualIP']);
    assert.equal(verdict({ ...spec, nat: { sourceAddress: 'Preserve' } }, { nodes, bound: ['n2'] }).program!.spec.sourceAddress, 'Preserve');
  });

  it('a static real server outside the cluster is its owner\'s to prepare, one on a node is the agent\'s', () => {
    const spec = { ...dr, backends: [{ static: { endpoints: [{ address: '10.0.0.11' }, { address: '10.0.0.99' }] } }] };
    const v = verdict(spec, { nodes, receives: [] });
    assert.deepEqual([v.waiting, v.program!.spec.services[0]!.realServers], [['n1'], ['10.0.0.99|8080|1|']]);
  });
});

describe('reserved addresses', () => {
  const cluster = clusterOf({ reserved: { '203.0.113.1': 'an address of node n1', '203.0.113.2': 'in the Pod network of node n1 (203.0.113.2/32)' } });
  it('are not given, and not taken', () => {
    const { outcome, verdicts } = compile({ servers: [server('pinned', pin('203.0.113.2')), server('any')], cluster });
    assert.deepEqual(outcome, { pinned: 'AddressReserved', any: '203.0.113.3' });
    assert.match(verdicts['default/pinned']!.message, /203\.0\.113\.2 is in the Pod network of node n1/);
  });
  it('stay where they were claimed before', () => {
    const { outcome } = compile({ servers: [server('pinned', pin('203.0.113.2'))], pools: [pool()], cluster, memory: { claims: { 'default/pinned': ['203.0.113.2'] }, ports: {}, marks: {} } });
    assert.deepEqual(outcome, { pinned: '203.0.113.2' });
  });
});
