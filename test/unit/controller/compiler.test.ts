/** The compiler of a folder: what changed and nothing else; what worked goes on working; what cannot be read is not deleted. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { objectKey, type ApiObject } from '../../../src/api/v1alpha1/index.ts';
import type { GroupSettings, Program } from '../../../src/api/v1alpha1/program.ts';
import { NO_CLUSTER, type Cluster } from '../../../src/controller/compile/cluster.ts';
import { NO_MEMORY } from '../../../src/controller/compile/memory.ts';
import { Compiler, type CompileChange, type Unread } from '../../../src/controller/compiler.ts';
import { Serving } from '../../../src/controller/serving.ts';
import { endpoints, group, pin, pool, ports, server } from './compile/setup.ts';

/** A folder that says which objects changed since it was last asked. */
class Folder {
  readonly compiler: Compiler;
  #objects = new Map<string, ApiObject>();

  constructor(before?: Compiler) {
    this.compiler = before
      ? new Compiler(before.memory, new Map([...before.programs]), new Map([...before.groups]))
      : new Compiler(NO_MEMORY);
  }

  /** Tells the compiler that the folder holds exactly these. */
  holds(objects: readonly ApiObject[], incomplete: Unread = false): CompileChange {
    const next = new Map(objects.map((o) => [objectKey(o), o]));
    const changed = new Set([...this.#objects.keys(), ...next.keys()].filter((k) => JSON.stringify(this.#objects.get(k)) !== JSON.stringify(next.get(k))));
    this.#objects = next;
    return this.compiler.update(new Map([...next].map(([k, object]) => [k, { object: object as never }])), changed, incomplete);
  }
}

const names = (c: CompileChange): string[] => [...c.programs].map(([k, p]) => `${k}${p ? '' : ' gone'}`);
const address = (f: Folder, owner: string): string | undefined => f.compiler.programs.get(owner)?.spec.addresses[0]?.address;

test('the first reading gives every program; the next only what changed', () => {
  const f = new Folder();
  const a = server('a');
  const b = server('b');
  assert.deepEqual(names(f.holds([pool(), a, b])), ['default/a', 'default/b']);
  assert.deepEqual(names(f.holds([pool(), a, b])), []);
  const changed = f.holds([pool(), a, server('b', endpoints('10.0.0.9'))]);
  assert.deepEqual([names(changed), changed.groups, changed.memoryChanged], [['default/b'], null, false]);
  assert.deepEqual(names(f.holds([pool(), server('b', endpoints('10.0.0.9'))])), ['default/a gone']);
});

test('what changes in an object without changing its program is no change', () => {
  const f = new Folder();
  f.holds([pool(), server('a', endpoints('10.0.0.1', '10.0.0.2'))]);
  assert.deepEqual(names(f.holds([pool(), server('a', endpoints('10.0.0.2', '10.0.0.1'))])), []);
});

test('a pool or a group that changes reaches everybody whom it concerns', () => {
  const f = new Folder();
  f.holds([pool(), server('a', endpoints('10.0.0.1', '172.16.0.1')), server('b')]);
  assert.deepEqual(names(f.holds([pool('public', { allowStaticBackendCIDRs: ['10.0.0.0/8', '172.16.0.0/12'] }), server('a', endpoints('10.0.0.1', '172.16.0.1')), server('b')])), ['default/a']);
  const withGroup = f.holds([pool('public', { allowStaticBackendCIDRs: ['10.0.0.0/8', '172.16.0.0/12'] }), server('a', endpoints('10.0.0.1', '172.16.0.1')), server('b'), group('edge')]);
  assert.deepEqual([names(withGroup), [...withGroup.groups!.keys()]], [['default/a', 'default/b'], ['edge']]);
});

test('a fault at one VirtualServer is told of it and keeps no other from being compiled; what it was goes on', () => {
  let broken = false;
  const cluster: Cluster = { ...NO_CLUSTER, nodeOf: (address) => { if (broken && address === '10.0.0.7') throw new TypeError('x is undefined'); return null; } };
  const compiler = new Compiler(NO_MEMORY, new Map(), new Map(), cluster);
  const update = (...objects: readonly ApiObject[]): CompileChange => compiler.update(new Map(objects.map((o) => [objectKey(o), { object: o as never }])), new Set(objects.map(objectKey)), false);
  update(pool(), server('a', endpoints('10.0.0.7')), server('b', endpoints('10.0.0.1')));
  broken = true;
  assert.deepEqual(names(update(server('a', endpoints('10.0.0.7', '10.0.0.8')), server('b', endpoints('10.0.0.2')), server('c'))), ['default/b', 'default/c']);
  const { accepted, reason, message } = compiler.verdicts.get('default/a')!;
  assert.deepEqual([accepted, reason], [false, 'InvalidSpec']);
  assert.match(message, /^it could not be compiled \(x is undefined\), which is a defect of ipvs-operator; .*Until then its last accepted form is served$/);
  assert.deepEqual(compiler.programs.get('default/a')?.spec.services[0]?.realServers.map((r) => r.split('|')[0]), ['10.0.0.7']);
  broken = false;
  assert.deepEqual(names(update(server('a', endpoints('10.0.0.7', '10.0.0.8')))), ['default/a']);
});

test('a newcomer in conflict is refused and changes nobody\'s program', () => {
  const f = new Folder();
  f.holds([pool(), server('z', pin('203.0.113.1'))]);
  const change = f.holds([pool(), server('z', pin('203.0.113.1')), server('a', pin('203.0.113.1'))]);
  assert.deepEqual(names(change), []);
  assert.deepEqual([f.compiler.verdicts.get('default/a')?.reason, f.compiler.verdicts.get('default/z')?.reason], ['PortConflict', 'Accepted']);
});

test('a VirtualServer that is refused after it was accepted is served in its last accepted form, and says so', () => {
  const f = new Folder();
  f.holds([pool(), server('a', pin('203.0.113.1'))]);
  const change = f.holds([pool(), server('a', pin('192.0.2.1'))]);
  const verdict = f.compiler.verdicts.get('default/a')!;
  assert.deepEqual([names(change), verdict.accepted, verdict.reason, verdict.addresses], [[], false, 'AddressOutsidePools', ['203.0.113.1']]);
  assert.match(verdict.message, /Until then its last accepted form is served$/);
  // And nobody is let in where it is served.
  f.holds([pool(), server('a', pin('192.0.2.1')), server('b', pin('203.0.113.1')), server('c')]);
  assert.deepEqual([f.compiler.verdicts.get('default/b')?.reason, address(f, 'default/c')], ['PortConflict', '203.0.113.2']);
});

for (const [name, next, reason] of [
  ['its namespace is no longer admitted', pool('public', { allowedNamespaces: {} }), 'NamespaceNotAllowed'],
  ['its pool is gone', pool('other', { blocks: [{ cidr: '198.51.100.0/29' }] }), 'PoolNotFound'],
] as const) {
  test(`the right to an address ends when ${name}: then the program goes`, () => {
    const f = new Folder();
    f.holds([pool(), server('a')]);
    assert.deepEqual(names(f.holds([next, server('a')])), ['default/a gone']);
    assert.equal(f.compiler.verdicts.get('default/a')?.reason, reason);
  });
}

/** A cluster of which one Service, `shop`, has pods at these addresses. */
function withPods(nodes: readonly string[] = []): { cluster: Cluster; pods: string[]; receiving: string[] } {
  const [pods, receiving]: [string[], string[]] = [['10.1.0.1'], []];
  const slice = () => ({ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata: { name: 'shop-1' }, addressType: 'IPv4', ports: [{ name: '', port: 8080 }], endpoints: pods.map((a) => ({ addresses: [a] })) });
  const cluster: Cluster = {
    ...NO_CLUSTER, present: true, service: () => ({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'shop' }, spec: { ports: [{ port: 80 }] } }), slices: () => [slice()],
    nodeOf: (a) => (nodes.includes(a) ? `node-${a}` : null), receives: (node) => receiving.includes(node),
  };
  return { cluster, pods, receiving };
}
const ofShop = { backends: [{ serviceRef: { name: 'shop' } }] };
const realServers = (c: Compiler, owner = 'default/a'): string[] => c.programs.get(owner)!.spec.services[0]!.realServers.map((r) => r.split('|').slice(0, 2).join('|'));
const told = (c: Compiler, objects: readonly ApiObject[], concerned: readonly string[] = []): CompileChange =>
  c.update(new Map(objects.map((o) => [objectKey(o), { object: o as never }])), new Set(objects.map(objectKey)), false, concerned);

for (const [why, refusing] of [
  ['a second DirectorGroup makes its pool ambiguous', [group('edge'), group('core')]],
  ['its address is in no pool any more', [pool('public', { blocks: [{ cidr: '198.51.100.0/24' }] })]],
  ['it was edited, to an address of no pool', [server('a', { ...pin('192.0.2.1'), ...ofShop })]],
  ['it was edited, to ports that another one has and backends of its own', [server('a', { ...pin('203.0.113.1'), ...ports(80, 81), ...endpoints('10.0.0.9') })]],
] as const) {
  test(`a VirtualServer that is refused because ${why} is served on the pods of today, not on those of then`, () => {
    const { cluster, pods } = withPods();
    const compiler = new Compiler(NO_MEMORY, new Map(), new Map(), cluster);
    told(compiler, [pool(), server('a', { ...pin('203.0.113.1'), ...ofShop }), server('b', { ...pin('203.0.113.1'), ...ports(81) })]);
    assert.deepEqual(names(told(compiler, refusing)).filter((n) => n.startsWith('default/a')), []);
    assert.deepEqual([compiler.verdicts.get('default/a')!.accepted, realServers(compiler)], [false, ['10.1.0.1|8080']]);
    pods.splice(0, 1, '10.1.0.2', '10.1.0.3');
    assert.deepEqual(names(told(compiler, [], ['default/a'])), ['default/a']);
    assert.deepEqual(realServers(compiler), ['10.1.0.2|8080', '10.1.0.3|8080']);
    const { accepted, addresses, backends, message } = compiler.verdicts.get('default/a')!;
    assert.deepEqual([accepted, addresses, backends], [false, ['203.0.113.1'], 2]);
    assert.match(message, /Until then its last accepted form is served$/);
  });
}

test('a controller that begins while a VirtualServer is refused follows its pods, as long as its form is that of before', () => {
  const { cluster, pods } = withPods();
  const first = new Compiler(NO_MEMORY, new Map(), new Map(), cluster);
  told(first, [pool(), server('a', { ...pin('203.0.113.1'), ...ofShop })]);
  const begun = (...objects: readonly ApiObject[]): Compiler => {
    const next = new Compiler(first.memory, new Map(first.programs), new Map(), cluster);
    told(next, objects);
    return next;
  };
  pods.splice(0, 1, '10.1.0.2');
  assert.deepEqual(realServers(begun(pool(), group('edge'), group('core'), server('a', { ...pin('203.0.113.1'), ...ofShop }))), ['10.1.0.2|8080']);
  for (const [spec, what] of [
    [{ ...ports(81) }, 'of other ports'], [{ scheduler: { name: 'rr' } }, 'another scheduler'], [endpoints('10.0.0.9'), 'real servers that somebody wrote'],
  ] as const) {
    const compiler = begun(pool(), group('edge'), group('core'), server('a', { ...pin('203.0.113.1'), ...ofShop, ...spec }));
    assert.deepEqual(realServers(compiler), ['10.1.0.1|8080'], `${what}: it may be what it is refused for`);
  }
});

test('a VirtualServer in DR that is refused asks new nodes to receive, and uses them when they do', () => {
  const { cluster, pods, receiving } = withPods(['10.1.0.1', '10.1.0.2']);
  const compiler = new Compiler(NO_MEMORY, new Map(), new Map(), cluster);
  const dr = { ...pin('203.0.113.1'), mode: 'DR', ports: [{ port: 8080 }], ...ofShop };
  receiving.push('node-10.1.0.1');
  told(compiler, [pool(), server('a', dr)]);
  told(compiler, [group('edge'), group('core')]);
  pods.push('10.1.0.2');
  told(compiler, [], ['default/a']);
  const { binds, waiting } = compiler.verdicts.get('default/a')!;
  assert.deepEqual([binds.map((b) => b.node), waiting, realServers(compiler)], [['node-10.1.0.1', 'node-10.1.0.2'], ['node-10.1.0.2'], ['10.1.0.1|8080']]);
  const serving = new Serving(() => []);
  assert.equal(serving.update('default/a', compiler), true);
  assert.deepEqual(serving.bindings.get('default/a')!.binds.map((b) => b.node), ['node-10.1.0.1', 'node-10.1.0.2']);
  receiving.push('node-10.1.0.2');
  told(compiler, [], ['default/a']);
  assert.deepEqual(realServers(compiler), ['10.1.0.1|8080', '10.1.0.2|8080']);
});

test('the old mode, which serves until nodes receive in the new one, follows its pods', () => {
  const { cluster, pods } = withPods(['10.1.0.1', '10.1.0.2']);
  const compiler = new Compiler(NO_MEMORY, new Map(), new Map(), cluster);
  const at8080 = { ...pin('203.0.113.1'), ports: [{ port: 8080 }], ...ofShop };
  told(compiler, [pool(), server('a', at8080)]);
  told(compiler, [server('a', { ...at8080, mode: 'DR' })]);
  pods.splice(0, 1, '10.1.0.2');
  told(compiler, [], ['default/a']);
  assert.deepEqual([compiler.programs.get('default/a')!.spec.mode, realServers(compiler)], ['NAT', ['10.1.0.2|8080']]);
});

test('suspended, a VirtualServer has no program and keeps its address', () => {
  const f = new Folder();
  f.holds([pool(), server('a'), server('b')]);
  assert.deepEqual(names(f.holds([pool(), server('a', { suspend: true }), server('b')])), ['default/a gone']);
  f.holds([pool(), server('a'), server('b')]);
  assert.deepEqual([address(f, 'default/a'), address(f, 'default/b')], ['203.0.113.1', '203.0.113.2']);
});

// ---- a restart while something cannot be read

function restarted(objects: readonly ApiObject[], then: readonly ApiObject[], incomplete: Unread = true): { f: Folder; change: CompileChange } {
  const before = new Folder();
  before.holds(objects);
  const f = new Folder(before.compiler);
  return { f, change: f.holds(then, incomplete) };
}

test('a VirtualServer that cannot be read at the start is served from the snapshot, and its address and ports stay its own', () => {
  const { f, change } = restarted([pool(), server('m'), server('n')], [pool(), server('n'), server('a'), server('b', pin('203.0.113.1'))]);
  assert.deepEqual([change.programs.get('default/m')?.spec.addresses[0]?.address, address(f, 'default/n'), address(f, 'default/a')], ['203.0.113.1', '203.0.113.2', '203.0.113.3']);
  assert.equal(f.compiler.verdicts.get('default/b')?.reason, 'PortConflict');
  // Read at last, it is where it was; and when the folder is whole without it, it was deleted.
  assert.deepEqual(names(f.holds([pool(), server('m'), server('n'), server('a')])), []);
  assert.equal(address(f, 'default/m'), '203.0.113.1');
  const gone = restarted([pool(), server('m')], [pool()]).f;
  assert.deepEqual(names(gone.holds([pool()])), ['default/m gone'], 'nothing in the folder changed but that all of it can be read now');
});

test('a VirtualServer that was read and is missing was deleted, whatever else cannot be read', () => {
  const f = new Folder();
  f.holds([pool(), server('a'), server('b')], true);
  assert.deepEqual(names(f.holds([pool(), server('b')], true)), ['default/a gone']);
});

test('a pool that cannot be read at the start withdraws nothing; gone for good it does', () => {
  const { f, change } = restarted([pool(), server('a')], [server('a')]);
  assert.deepEqual([...change.programs.values()].map((p) => p?.spec.addresses[0]?.address), ['203.0.113.1']);
  assert.equal(f.compiler.verdicts.get('default/a')?.reason, 'PoolNotFound');
  assert.deepEqual(names(f.holds([server('a')])), ['default/a gone']);
});

test('a group that cannot be read at the start goes on selecting its nodes, and survives a second such start', () => {
  const edge = group('edge', { nodeSelector: { matchLabels: { site: 'a' } } });
  const selects = (groups: ReadonlyMap<string, GroupSettings> | null) => [...groups ?? []].map(([k, g]) => [k, g.nodeSelector]);
  const { f, change } = restarted([pool(), edge, server('a')], [pool(), server('a')]);
  assert.deepEqual(selects(change.groups), [['edge', { site: 'a' }]]);
  assert.equal(change.programs.get('default/a')?.spec.directorGroup, 'edge');
  assert.deepEqual(selects(new Folder(f.compiler).holds([pool(), server('a')], true).groups), [['edge', { site: 'a' }]]);
  const read = restarted([pool(), edge, server('a')], [pool(), server('a')]).f;
  read.holds([pool(), server('a'), edge], true);
  assert.deepEqual(selects(read.holds([pool(), server('a')], true).groups), [], 'read and then missing, it was deleted');
  assert.deepEqual(selects(f.holds([pool(), server('a')]).groups), [], 'when all can be read, it is gone');
  assert.deepEqual(selects(f.holds([pool(), server('a')], true).groups), [], 'and does not come back with the next unreadable file');
});

test('an incomplete start with no snapshot makes what it can', () => {
  const f = new Folder();
  assert.deepEqual(names(f.holds([pool(), server('a', ports(80, 81))], true)), ['default/a']);
});

test('programs of a snapshot are only told when they are needed: a program of the manifest wins', () => {
  const { change } = restarted([pool(), server('a')], [pool(), server('a', endpoints('10.0.0.9'))]);
  const program: Program | null | undefined = change.programs.get('default/a');
  assert.deepEqual(program?.spec.services[0]?.realServers, ['10.0.0.9|80|1|']);
});

test('where it is known what cannot be read, only that is kept', () => {
  const unread = new Set(['VirtualServer/default/m', 'DirectorGroup/edge']);
  const { f, change } = restarted([pool(), group('edge'), server('m'), server('n'), server('q', { suspend: true })], [pool(), server('a')], unread);
  assert.deepEqual([change.programs.get('default/m')?.spec.addresses[0]?.address, change.programs.get('default/n'), address(f, 'default/a')], ['203.0.113.1', null, '203.0.113.2'], 'm goes on, n was deleted');
  assert.deepEqual([...f.compiler.groups.keys()], ['edge']);
  assert.deepEqual(names(f.holds([pool(), server('a')], new Set(['DirectorGroup/edge']))), ['default/m gone']);
  assert.deepEqual([...f.holds([pool(), server('a')], new Set()).groups!.keys()], [], 'the group too');
  const withdrawn = restarted([pool(), server('m')], [server('m')], new Set(['VirtualServer/default/x']));
  assert.deepEqual(names(withdrawn.change), ['default/m gone'], 'another kind that cannot be read keeps no pool');
  assert.deepEqual(names(restarted([pool(), server('m')], [server('m')], new Set(['VIPPool/public'])).change), ['default/m']);
  const suspended = restarted([pool(), server('q', { suspend: true })], [pool(), server('a')], new Set(['VirtualServer/default/q']));
  assert.equal(address(suspended.f, 'default/a'), '203.0.113.2', 'a claim without a program is one');
});

test('a decision that could not be carried out is as if it had not been made', () => {
  const f = new Folder();
  f.holds([pool(), server('a', pin('203.0.113.1'))]);
  const was = f.compiler.programs.get('default/a')!;
  f.holds([pool(), server('a', pin('203.0.113.2'))]);
  f.compiler.restore('default/a', was);
  f.compiler.remember({ ...f.compiler.memory, claims: { 'default/a': ['203.0.113.1'], 'other/b': ['203.0.113.2'] } });
  const change = f.holds([pool(), server('a', pin('203.0.113.2')), server('other/b', pin('203.0.113.2'))]);
  assert.deepEqual([names(change), f.compiler.verdicts.get('default/a')?.reason, address(f, 'default/a')], [['other/b'], 'AddressInUse', '203.0.113.1']);
  f.compiler.restore('default/a', null);
  f.holds([pool(), server('a', pin('203.0.113.2')), server('other/b', pin('203.0.113.2'))]);
  assert.equal(address(f, 'default/a'), undefined, 'it never had one');
});

test('an edit of the mode refused clients until nodes received in the new one: the old one serves until half of them do', () => {
  const nodes = ['w1', 'w2', 'w3', 'w4'].map((name, i) => ({ name, labels: {}, addresses: [`192.0.2.${i + 1}`] }));
  const receiving: Record<string, string[]> = { DR: [], TUN: [] };
  const cluster: Cluster = { ...NO_CLUSTER, present: true, nodes: () => nodes, nodeOf: (a) => nodes.find((n) => n.addresses[0] === a)?.name ?? null, receives: (node, _vip, { mode }) => receiving[mode]!.includes(node) };
  const compiler = new Compiler(NO_MEMORY, new Map(), new Map(), cluster);
  const written = (spec: Record<string, unknown>): CompileChange => {
    const objects = [pool(), server('a', { ...pin('203.0.113.1'), backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }], ...spec })];
    return compiler.update(new Map(objects.map((object) => [objectKey(object), { object }])), new Set(objects.map((o) => objectKey(o))), false);
  };
  const heard = (): CompileChange => compiler.update(new Map(), new Set(), false, ['default/a']);
  const served = (): [string, number] => { const { spec } = compiler.programs.get('default/a')!; return [spec.mode, spec.services[0]!.realServers.length]; };

  written({ mode: 'NAT' });
  assert.deepEqual(served(), ['NAT', 4]);
  assert.deepEqual(names(written({ mode: 'DR' })), [], 'nothing changes for directors');
  const verdict = compiler.verdicts.get('default/a')!;
  assert.deepEqual([verdict.accepted, verdict.program?.spec.mode, verdict.binds.length, verdict.waiting.length], [true, 'DR', 4, 4], 'and nodes are told');
  receiving['DR'] = ['w1'];
  heard();
  assert.deepEqual(served(), ['NAT', 4], 'one would get everything');
  receiving['DR'] = ['w1', 'w2'];
  assert.deepEqual([names(heard()), served()], [['default/a'], ['DR', 2]]);
  receiving['DR'] = ['w1', 'w2', 'w3', 'w4'];
  heard();
  assert.deepEqual([names(written({ mode: 'TUN' })), served()], [[], ['DR', 4]], 'who receives in DR does not receive out of a tunnel');
  receiving['TUN'] = ['w1', 'w2', 'w3', 'w4'];
  heard();
  assert.deepEqual(served(), ['TUN', 4]);
  written({ mode: 'NAT' });
  assert.deepEqual(served(), ['NAT', 4], 'NAT asks nothing of nodes');
  receiving['DR'] = [];
  written({ mode: 'DR', ...pin('203.0.113.2') });
  assert.deepEqual(served(), ['DR', 0], 'with another VIP there is no old way to it');
});
