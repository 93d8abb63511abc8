/** Everything a node is told: what changes for the agent, what stays when something is missing or wrong, and what a snapshot is worth. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Assignment, NOTHING } from '../../../../src/agent/cluster/assignment.ts';
import { groupDutyOf } from '../../../../src/agent/cluster/programs.ts';
import { sliceProgram, type DirectorGroup, type IPVSNodeBind, type IPVSNodeSpec, type VirtualServerProgram } from '../../../../src/api/v1alpha1/index.ts';
import { program, type ProgramFields } from '../setup.ts';
import { hashed } from './bench.ts';

const spec = (directorGroups: string[], binds: IPVSNodeBind[] = [], reservedAddresses: string[] = []): IPVSNodeSpec => ({ directorGroups, realServer: { binds }, reservedAddresses });
const make = (fields: ProgramFields = {}) => hashed(program({ directorGroup: 'edge', ...fields }));
const slices = (fields: ProgramFields = {}): VirtualServerProgram[] => sliceProgram(make(fields), { uid: 'u', generation: 1 });
const directorGroup = (name: string, fields: Partial<DirectorGroup['spec']> = {}): DirectorGroup => ({
  apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'DirectorGroup', metadata: { name },
  spec: { interface: { match: 'SubnetOf' }, failover: { leaseDurationSeconds: 6, renewSeconds: 2 }, connectionSync: { enabled: false, syncId: 51 }, ...fields },
});
const bind: IPVSNodeBind = { address: '10.0.1.200', family: 'IPv4', mode: 'DR', localAddress: '10.0.1.11', virtualServer: 'default/shop' };
const owners = (a: Assignment) => { const c = a.take(); return c ? [...c.programs].map(([owner, p]) => `${owner} ${p ? p.spec.mode : 'gone'}`).sort() : null; };

test('programs come, change and go; what did not change is not told', () => {
  const a = new Assignment({ node: 'n1' });
  a.setSpec(spec(['edge']), 0);
  a.setGroup('edge', directorGroup('edge'));
  a.setGroup('other', directorGroup('other'));
  a.setProgram('default/shop', slices());
  const change = a.take()!;
  assert.deepEqual([[...change.programs.keys()], [...change.groups!.keys()]], [['default/shop'], ['edge']]);
  assert.equal(a.take(), null);
  a.setProgram('default/shop', slices());
  a.setGroup('edge', directorGroup('edge'));
  a.setSpec(spec(['edge']), 1);
  assert.equal(a.take(), null);
  a.setGroup('edge', directorGroup('edge', { failover: { leaseDurationSeconds: 3, renewSeconds: 1 } }));
  assert.equal(a.take(), null, 'a Lease is nothing to the kernel');
  assert.equal(a.groups.get('edge')!.leaseDurationSeconds, 3);
  a.setProgram('default/shop', slices({ mode: 'DR' }));
  assert.deepEqual(owners(a), ['default/shop DR']);
  a.setProgram('default/shop', []);
  assert.deepEqual(owners(a), ['default/shop gone']);
});

test('what is incomplete or forged is told once, and the last good form stays', () => {
  const a = new Assignment({ node: 'n1' });
  a.setSpec(spec(['edge']), 0);
  a.setProgram('default/shop', slices());
  a.take();
  const big = slices({ realServers: Array.from({ length: 1_100 }, (_, i) => `10.0.3.${i % 250}|${i + 1}|1|`) });
  assert.equal(big.length, 2);
  assert.equal(a.setProgram('default/shop', big.slice(0, 1))!.code, 'SlicesMissing');
  assert.equal(a.setProgram('default/shop', big.slice(0, 1)), null, 'not twice');
  assert.deepEqual([owners(a), a.problems.get('default/shop')!.code, a.programs.get('default/shop')!.spec.mode], [null, 'SlicesMissing', 'NAT']);
  assert.equal(a.setProgram('default/shop', slices({ realServers: ['127.0.0.1'] }))!.code, 'InvalidProgram');
  assert.equal(owners(a), null);
  assert.equal(a.setProgram('default/shop', big), null);
  assert.deepEqual([owners(a), a.problems.size], [['default/shop NAT'], 0]);
});

const FORGED: readonly [string, ProgramFields][] = [
  ['a loopback VIP', { vips: ['127.0.0.1'] }], ['a link-local VIP', { vips: ['169.254.0.1'] }], ['a multicast VIP', { vips: ['224.0.0.1'] }], ['everything as VIP', { vips: ['0.0.0.0'] }],
  ['a real server that is the VIP', { realServers: ['10.0.1.200'] }], ['a loopback real server', { realServers: ['127.0.0.1'] }], ['the address of cloud metadata', { realServers: ['169.254.169.254'] }], ['a real server in no form', { realServers: ['10.0.1.21|80|1'] }],
];
for (const [name, fields] of FORGED) {
  test(`refused whole: ${name}`, () => {
    const a = new Assignment({ node: 'n1' });
    a.setSpec(spec(['edge']), 0);
    const problem = a.setProgram('default/shop', slices(fields));
    assert.equal(problem?.code, 'InvalidProgram');
    assert.deepEqual([...a.take()!.programs], []);
  });
}

test('a director runs the real program, a real server that of its binds; either way it is one program', () => {
  const a = new Assignment({ node: 'n1', lingerMs: 1_000 });
  a.setSpec(spec(['edge'], [bind]), 0);
  assert.deepEqual(owners(a), ['default/shop DR']);
  assert.deepEqual(a.programs.size, 0, 'no program of a director');
  a.setProgram('default/shop', slices({ mode: 'DR' }));
  assert.deepEqual(owners(a), ['default/shop DR']);
  assert.deepEqual(a.duties(new Set()).receives, new Map([['default/shop', [{ vip: '10.0.1.200', localAddress: '10.0.1.11' }]]]));
  a.setSpec(spec([], [bind]), 0);
  const change = a.take()!;
  assert.equal(change.programs.get('default/shop')!.spec.directorGroup, '', 'the group is left, the bind is not');
  a.setSpec(spec([], []), 10);
  assert.equal(owners(a), null, 'it lingers');
  assert.equal(a.setTime(500), 1_010);
  a.setTime(1_010);
  assert.deepEqual([owners(a), a.binds], [['default/shop gone'], []]);
});

test('a bind lingers at least as long as connections may drain', () => {
  const a = new Assignment({ node: 'n1', lingerMs: 1_000 });
  a.setSpec(spec(['edge'], [bind]), 0);
  a.setProgram('default/shop', slices({ mode: 'DR', drainTimeoutSeconds: 60 }));
  a.setSpec(spec(['edge']), 0);
  assert.equal(a.binds[0]!.until, 60_000);
});

test('a snapshot serves until the caches say otherwise: for each group by itself', () => {
  const state = {
    spec: spec(['edge', 'inner']), binds: [], groups: new Map([['edge', groupDutyOf(directorGroup('edge'))]]),
    programs: new Map([make(), make({ owner: 'default/old' }), make({ owner: 'default/inner', directorGroup: 'inner', vips: ['10.0.1.202'] })].map((p) => [p.owner, p])),
  };
  const a = new Assignment({ node: 'n1' }, state);
  assert.deepEqual(owners(a), ['default/inner NAT', 'default/old NAT', 'default/shop NAT']);
  a.setProgram('default/shop', slices());
  a.complete('edge', new Set(['default/shop']));
  assert.deepEqual(owners(a), ['default/old gone'], 'what the complete cache does not have is gone; of the other group nothing is known');
  a.setSpec(spec(['inner']), 0);
  assert.deepEqual(owners(a), ['default/shop gone']);
});

test('a DirectorGroup that is gone leaves its last settings', () => {
  const a = new Assignment({ node: 'n1' }, NOTHING);
  a.setSpec(spec(['edge']), 0);
  a.setGroup('edge', directorGroup('edge', { interface: { match: 'Name', name: 'e1' } }));
  a.take();
  a.setGroup('edge', null);
  assert.equal(a.take(), null);
  assert.deepEqual(a.groups.get('edge')!.settings.interface, { match: 'Name', name: 'e1' });
});

test('for a VIP it is known who wants it, and where its real servers are', () => {
  const a = new Assignment({ node: 'n1' });
  a.setSpec(spec(['edge'], [], ['10.0.1.1']), 0);
  a.setProgram('default/shop', slices());
  a.setProgram('default/tls', slices({ owner: 'default/tls', port: 443, localOnly: true, realServers: ['10.0.1.21|443|1|n1', '10.0.1.22|443|1|n2', '10.0.1.23|443|0|n3'] }));
  assert.deepEqual([...a.ownersOf('10.0.1.200')].sort(), ['default/shop', 'default/tls']);
  assert.deepEqual([...a.preferredOf('10.0.1.200')!].sort(), ['n1', 'n2'], 'a drained one is no reason to be there');
  a.setProgram('default/tls', []);
  assert.deepEqual([[...a.ownersOf('10.0.1.200')], a.preferredOf('10.0.1.200')], [['default/shop'], null]);
  a.setProgram('default/shop', slices({ vips: ['10.0.1.201'] }));
  assert.deepEqual([a.ownersOf('10.0.1.200').size, a.ownersOf('10.0.1.201').size], [0, 1]);
  const { directs, owned, reserved } = a.duties(new Set(['10.0.1.201']));
  assert.deepEqual([[...directs!], [...owned!], [...reserved]], [['edge'], ['10.0.1.201'], ['10.0.1.1']]);
});

test('who holds which VIP is looked at when a program comes, goes or wants others, or wants to be where its real servers are; not for each endpoint', () => {
  const a = new Assignment({ node: 'n1' });
  const moves = (fields: ProgramFields | null) => {
    a.setProgram('default/shop', fields ? slices(fields) : []);
    return a.take()?.moves;
  };
  a.setSpec(spec(['edge']), 0);
  a.setGroup('edge', directorGroup('edge'));
  assert.equal(moves({}), true, 'it comes');
  assert.equal(moves({ realServers: ['10.0.3.1', '10.0.3.2'] }), false, 'an endpoint more');
  assert.equal(moves({ vips: ['10.0.1.201'] }), true, 'another VIP');
  const local: ProgramFields = { vips: ['10.0.1.201'], localOnly: true };
  assert.equal(moves(local), true, 'its real servers are to be local');
  assert.equal(moves({ ...local, realServers: ['10.0.3.9'] }), true, 'they are elsewhere');
  assert.equal(moves({ vips: ['10.0.1.201'] }), true, 'anywhere again');
  assert.equal(moves(null), true, 'it goes');
});
