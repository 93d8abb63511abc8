/** What VirtualIPs, programs and IPVSNodes there should be: pure, from decisions and from what is there. */
import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { parseKind, type IPVSNode, type IPVSNodeBind, type ServerObjects, type VirtualIP } from '../../../../src/api/v1alpha1/index.ts';
import type { GroupSettings, Program } from '../../../../src/api/v1alpha1/program.ts';
import { MAX_BINDS } from '../../../../src/api/v1alpha1/vocabulary.ts';
import type { Verdict } from '../../../../src/controller/compile/compile.ts';
import { desiredNodes, groupsOf, sameNode, type Binding, type NodesInput } from '../../../../src/controller/reconcile/nodes.ts';
import { desiredPrograms, sameProgram, urgency } from '../../../../src/controller/reconcile/programs.ts';
import { desiredVirtualIPs, sameVirtualIP, type ClaimedInput } from '../../../../src/controller/reconcile/virtualips.ts';
import { node } from '../bench.ts';
import { compile, endpoints, pin, pool, ports, server } from '../compile/setup.ts';

const server1 = (name: string, uid = `uid-${name}`): Pick<ServerObjects['VirtualServer'], 'metadata'> => ({ metadata: { namespace: 'ns', name, uid, resourceVersion: '1', generation: 4 } });
const accepted = (group = 'edge', from = 'public'): Pick<Verdict, 'accepted' | 'pool' | 'group'> => ({ accepted: true, pool: from, group });
const REFUSED = { accepted: false, pool: '', group: '' };

describe('VirtualIPs', () => {
  const input = (more: Partial<ClaimedInput>): ClaimedInput => ({ memory: { claims: {}, ports: {} }, servers: new Map(), verdicts: new Map(), present: new Map(), poolOf: () => '', unread: () => false, ...more });
  const valid = (vips: ReadonlyMap<string, VirtualIP>): VirtualIP[] => [...vips.values()].map((v) => {
    assert.ok(parseKind('VirtualIP', v).ok, JSON.stringify(v));
    return v;
  });

  it('are one for each address, with everybody who has it', () => {
    const vips = desiredVirtualIPs(input({
      memory: { claims: { 'ns/b': ['203.0.113.1'], 'ns/a': ['203.0.113.1', '2001:db8::1'], 'ns/gone': ['203.0.113.9'] }, ports: { 'ns/a': ['TCP/80-80'], 'ns/b': ['TCP/81-81'] } },
      servers: new Map([['ns/a', server1('a')], ['ns/b', server1('b')]]), verdicts: new Map([['ns/a', accepted()], ['ns/b', accepted()]]),
    }));
    assert.deepEqual(valid(vips).map((v) => [v.metadata.name, v.spec.family, v.spec.poolRef.name, v.spec.directorGroup, v.metadata.labels, v.spec.claims.map((c) => `${c.name} ${c.uid} ${c.ports.join()}`)]), [
      ['203.0.113.1', 'IPv4', 'public', 'edge', { 'ipvs-operator.dev/director-group': 'edge' }, ['a uid-a TCP/80-80', 'b uid-b TCP/81-81']],
      ['2001-0db8-0000-0000-0000-0000-0000-0001', 'IPv6', 'public', 'edge', { 'ipvs-operator.dev/director-group': 'edge' }, ['a uid-a TCP/80-80']],
    ]);
  });

  const there = (more: Partial<VirtualIP['spec']> = {}): ReadonlyMap<string, VirtualIP> => new Map([['203.0.113.1', {
    apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'VirtualIP', metadata: { name: '203.0.113.1' },
    spec: { address: '203.0.113.1', family: 'IPv4', poolRef: { name: 'old' }, directorGroup: 'core', claims: [{ namespace: 'ns', name: 'z', uid: 'uid-z', ports: ['TCP/9-9'] }], ...more },
  }]]);
  const refused = { memory: { claims: { 'ns/a': ['203.0.113.1'] }, ports: {} }, servers: new Map([['ns/a', server1('a')]]), verdicts: new Map([['ns/a', REFUSED]]) };

  it('of those who are refused now stay in their pool and their group', () => {
    const [v] = valid(desiredVirtualIPs(input({ ...refused, present: there() })));
    assert.deepEqual([v!.spec.poolRef.name, v!.spec.directorGroup], ['old', 'core']);
  });

  it('of which nothing else tells the pool are of the one that has the address', () => {
    assert.equal(valid(desiredVirtualIPs(input({ ...refused, poolOf: () => 'has-it' })))[0]!.spec.poolRef.name, 'has-it');
    assert.equal(valid(desiredVirtualIPs(input(refused)))[0]!.spec.poolRef.name, 'unknown');
  });

  it('keep the claims of those who cannot be read, as they are written', () => {
    const [v] = valid(desiredVirtualIPs(input({ ...refused, present: there(), unread: (o) => o === 'ns/z' })));
    assert.deepEqual(v!.spec.claims.map((c) => `${c.name} ${c.ports.join()}`), ['a ', 'z TCP/9-9']);
    // But never twice.
    const known = desiredVirtualIPs(input({ memory: { claims: { 'ns/z': ['203.0.113.1'] }, ports: {} }, servers: new Map([['ns/z', server1('z', 'new')]]), verdicts: new Map([['ns/z', accepted()]]), present: there(), unread: () => true }));
    assert.deepEqual(valid(known)[0]!.spec.claims.map((c) => c.uid), ['new']);
  });

  it('are the same when spec and our labels are, whatever else there is', () => {
    const [wanted] = [...desiredVirtualIPs(input({ ...refused, present: there() })).values()];
    const present = { ...wanted!, metadata: { ...wanted!.metadata, uid: 'u', labels: { ...wanted!.metadata.labels, theirs: 'x' } }, status: { claims: 3 } };
    assert.equal(sameVirtualIP(present, wanted!), true);
    assert.equal(sameVirtualIP({ ...present, metadata: { name: present.metadata.name } }, wanted!), false);
    assert.equal(sameVirtualIP({ ...present, spec: { ...present.spec, claims: [] } }, wanted!), false);
  });
});

const programOf = (spec: Record<string, unknown>): Program => compile({ servers: [server('shop', { ...pin('203.0.113.1'), ...spec })], pools: [pool('public', { allowStaticBackendCIDRs: ['10.0.0.0/8'] })] }).verdicts['default/shop']!.program!;
const objects = (program: Program | null, uid = 'u1', generation = 4) => desiredPrograms(program, { metadata: { namespace: 'default', name: 'shop', uid, resourceVersion: '1', generation } });

describe('programs', () => {
  const big = programOf({ backends: Array.from({ length: 3 }, (_, i) => ({ static: { endpoints: Array.from({ length: 700 }, (_, n) => ({ address: `10.${i}.${n >> 8}.${n & 255}` })) } })) });

  it('are slices, the first one last', () => {
    assert.deepEqual([...objects(big).keys()], ['default/shop.2', 'default/shop.1', 'default/shop']);
    assert.deepEqual([...objects(null).keys()], []);
  });

  it('belong to their VirtualServer', () => {
    const [only] = [...objects(programOf({})).values()];
    assert.deepEqual([only!.metadata.ownerReferences, only!.spec.virtualServer, only!.spec.generation], [
      [{ apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'VirtualServer', name: 'shop', uid: 'u1', controller: true }], { name: 'shop', uid: 'u1' }, 4,
    ]);
  });

  it('are the same whatever the generation is they were compiled from', () => {
    const [a, b, c] = [objects(programOf({})), objects(programOf({}), 'u1', 9), objects(programOf({}), 'u2')].map((m) => m.get('default/shop')!);
    assert.deepEqual([sameProgram(a!, b!), sameProgram(a!, c!), sameProgram({ ...a!, metadata: { ...a!.metadata, labels: {} } }, a!)], [true, false, false]);
  });

  const cases: [string, Record<string, unknown> | null, Record<string, unknown> | null, 0 | 1 | 2][] = [
    ['a real server less comes first', endpoints('10.0.0.1', '10.0.0.2'), endpoints('10.0.0.1'), 0],
    ['also when another one comes', endpoints('10.0.0.1'), endpoints('10.0.0.2'), 0],
    ['one on another port too', { ...ports({ port: 80, targetPort: 8080 }) }, { ...ports({ port: 80, targetPort: 8081 }) }, 0],
    ['an address that is left', pin('203.0.113.2'), pin('203.0.113.3'), 0],
    ['a port that is left', ports(80, 443), ports(80), 0],
    ['the whole program', {}, null, 0],
    ['a real server more comes second', endpoints('10.0.0.1'), endpoints('10.0.0.1', '10.0.0.2'), 1],
    ['a new program too', null, {}, 1],
    ['a port more', ports(80), ports(80, 443), 1],
    ['a weight comes last', endpoints('10.0.0.1'), endpoints({ address: '10.0.0.1', weight: 9 }), 2],
    ['a scheduler too', {}, { scheduler: { name: 'rr' } }, 2],
  ];
  for (const [name, before, after, rank] of cases) it(`in this order: ${name}`, () => assert.equal(urgency(before ? [...objects(programOf(before)).values()] : [], after ? programOf(after) : null), rank));
});

const settings = (name: string, nodeSelector: Record<string, string> | null = null): GroupSettings => ({ name, nodeSelector, interface: { match: 'SubnetOf' }, timeouts: null, connectionSync: null });
const binding = (nodes: Record<string, string>, addresses: string[], more: Partial<Binding> = {}): Binding => ({ addresses, binds: Object.entries(nodes).map(([n, localAddress]) => ({ node: n, localAddress })), mode: 'DR', tunnel: null, ...more });

describe('IPVSNodes', () => {
  const nodes = [node('n1', ['192.0.2.1'], { edge: '' }), node('n2', ['192.0.2.2'], { role: 'web' }), node('n3', ['192.0.2.3'])];
  const present = new Map<string, IPVSNode>();
  const input = (more: Partial<NodesInput> = {}): NodesInput => ({ nodes, groups: [], keptGroups: new Set(), bindings: [], reserved: [], present: (n) => present.get(n), kept: () => false, sends: () => false, ...more });
  const bind = (address: string, localAddress = '192.0.2.2', virtualServer = 'ns/a', mode: 'DR' | 'TUN' = 'DR'): IPVSNodeBind => ({ address, family: 'IPv4', mode, localAddress, virtualServer });
  const existing = (name: string, binds: IPVSNodeBind[], directorGroups: string[] = []): ((n: string) => IPVSNode | undefined) => (n) =>
    (n === name ? { apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'IPVSNode', metadata: { name }, spec: { directorGroups, realServer: { binds }, reservedAddresses: [] } } : undefined);
  const bindsOf = (i: Partial<NodesInput>, name = 'n2') => desiredNodes(input(i)).byName.get(name)?.spec.realServer.binds.map((b) => `${b.address} ${b.mode} ${b.virtualServer}`);

  it('are there for nodes that have a part, and only for those', () => {
    const { byName } = desiredNodes(input({ groups: [settings('edge', { edge: '' })], bindings: [['ns/a', binding({ n2: '192.0.2.2' }, ['203.0.113.1'])]], reserved: ['192.0.2.1'] }));
    assert.deepEqual([...byName.keys()], ['n1', 'n2']);
    for (const n of byName.values()) assert.ok(parseKind('IPVSNode', n).ok, JSON.stringify(n));
    assert.deepEqual([byName.get('n1')?.spec.directorGroups, byName.get('n2')?.spec.realServer.binds, byName.get('n2')?.spec.reservedAddresses], [['edge'], [bind('203.0.113.1')], ['192.0.2.1']]);
  });

  it('stay, empty, for nodes that had a part, and go with their node', () => {
    const { byName } = desiredNodes(input({ present: existing('n3', [bind('203.0.113.9')], ['old']) }));
    assert.deepEqual([...byName].map(([n, o]) => [n, o.spec.directorGroups, o.spec.realServer.binds]), [['n3', [], []]]);
    assert.deepEqual([...desiredNodes(input({ nodes: [], present: existing('n3', []) })).byName.keys()], []);
  });

  it('belong to their Node', () => {
    const own = { ...node('n1', []), metadata: { name: 'n1', uid: 'node-uid', labels: {} } };
    const { byName } = desiredNodes(input({ nodes: [own], groups: [settings('all')] }));
    assert.deepEqual(byName.get('n1')?.metadata.ownerReferences, [{ apiVersion: 'v1', kind: 'Node', name: 'n1', uid: 'node-uid' }]);
  });

  it('are in every group that selects them, and in one without a selector all are', () => {
    const groups = [settings('web', { role: 'web' }), settings('all'), settings('edge', { edge: '' }), settings('both', { edge: '', role: 'web' })];
    assert.deepEqual(nodes.map((n) => groupsOf(n, groups)), [['all', 'edge'], ['all', 'web'], ['all']]);
  });

  it('stay in groups that cannot be read, and no other node comes in', () => {
    const { byName } = desiredNodes(input({ groups: [settings('edge'), settings('all')], keptGroups: new Set(['edge']), present: existing('n2', [], ['edge', 'gone']) }));
    assert.deepEqual([...byName].map(([n, o]) => [n, o.spec.directorGroups]), [['n1', ['all']], ['n2', ['all', 'edge']], ['n3', ['all']]]);
  });

  it('receive for every address of everybody who needs them, in one order', () => {
    const tunnel = { encapsulation: 'GUE', port: 6080, checksum: 'None' } as const;
    const { byName } = desiredNodes(input({ bindings: [['ns/b', binding({ n2: '192.0.2.2' }, ['203.0.113.2'], { mode: 'TUN', tunnel })], ['ns/a', binding({ n2: '192.0.2.2' }, ['203.0.113.2', '203.0.113.1'])]] }));
    assert.deepEqual(byName.get('n2')?.spec.realServer.binds.map((b) => [b.address, b.virtualServer, b.mode, b.tunnel]), [['203.0.113.1', 'ns/a', 'DR', undefined], ['203.0.113.2', 'ns/a', 'DR', undefined], ['203.0.113.2', 'ns/b', 'TUN', tunnel]]);
  });

  it('go on receiving as long as directors send, and that is to be looked at again', () => {
    const there = existing('n2', [bind('203.0.113.1'), bind('203.0.113.2', '192.0.2.2', 'ns/b')]);
    const still = input({ present: there, sends: (owner, on) => owner === 'ns/b' && on === 'n2' });
    assert.deepEqual([bindsOf(still), desiredNodes(still).waiting], [['203.0.113.2 DR ns/b'], true]);
    assert.deepEqual([bindsOf({ present: there }), desiredNodes(input({ present: there })).waiting], [[], false]);
  });

  it('go on receiving for who is served in a form that cannot be decided about, and nobody waits for that', () => {
    const kept = input({ present: existing('n2', [bind('203.0.113.1')]), kept: (owner) => owner === 'ns/a' });
    assert.deepEqual([bindsOf(kept), desiredNodes(kept).waiting], [['203.0.113.1 DR ns/a'], false]);
  });

  it('are told once of a bind whose mode changes', () => {
    assert.deepEqual(bindsOf({ present: existing('n2', [bind('203.0.113.1')]), sends: () => true, bindings: [['ns/a', binding({ n2: '192.0.2.2' }, ['203.0.113.1'], { mode: 'TUN' })]] }), ['203.0.113.1 TUN ns/a']);
  });

  it('are told as much as an object may hold: what is new does not take the place of what they have, and how much is left out is said', () => {
    const addresses = Array.from({ length: MAX_BINDS + 10 }, (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
    const had = addresses.slice(20);
    const wanted = desiredNodes(input({ present: existing('n2', had.map((a) => bind(a))), bindings: [['ns/a', binding({ n2: '192.0.2.2' }, addresses)]] }));
    const told = wanted.byName.get('n2')!.spec.realServer.binds.map((b) => b.address);
    assert.deepEqual([told.length, had.filter((a) => !told.includes(a)), wanted.overfull], [MAX_BINDS, [], new Map([['n2', 10]])]);
    assert.deepEqual(told, told.toSorted(), 'in one order');
    assert.equal(desiredNodes(input({ bindings: [['ns/a', binding({ n2: '192.0.2.2' }, addresses.slice(10))]] })).overfull.size, 0);
  });

  it('direct for as many groups as an object may hold: one group more than that must not freeze every node', () => {
    const groups = Array.from({ length: 70 }, (_, i) => settings(`g${String(i).padStart(2, '0')}`));
    const had = groups.slice(3, 67).map((g) => g.name);
    const { byName } = desiredNodes(input({ groups, present: existing('n2', [], had) }));
    for (const n of byName.values()) assert.ok(parseKind('IPVSNode', n).ok, 'the CRD takes it');
    assert.deepEqual([byName.get('n2')?.spec.directorGroups, byName.get('n1')?.spec.directorGroups.at(-1)], [had, 'g63']);
  });

  it('are the same when their spec is', () => {
    const [a] = [...desiredNodes(input({ groups: [settings('all')] })).byName.values()];
    assert.deepEqual([sameNode({ ...a!, status: { drifts: 3 } }, a!), sameNode({ ...a!, spec: { ...a!.spec, reservedAddresses: ['192.0.2.9'] } }, a!)], [true, false]);
  });
});
