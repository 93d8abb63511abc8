/** What a cluster says of a node beside its programs: who holds which VIP, who receives for it, what is never a VIP; and how roles change. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { desired } from '../../../src/agent/desired.ts';
import { ALONE, concernedBy, type Duties, type Receiving } from '../../../src/agent/duties.ts';
import { formatOperation } from '../../../src/agent/operation.ts';
import type { Fragment } from '../../../src/agent/state.ts';
import { serviceKey } from '../../../src/kernel/ipvs/types.ts';
import { ERRNO } from '../../../src/kernel/netlink/errors.ts';
import { ADDRESS_PROTOCOL } from '../../../src/kernel/net/types.ts';
import { refusal } from '../fake-kernel.ts';
import { facts, group, makeKernel, only, program, TestNode, type ProgramFields } from './setup.ts';

const VIP = '10.0.1.200';
const VIP6 = 'fd00:1::200';
const director = (owned: readonly string[], rest: Partial<Duties> = {}): Duties => ({ directs: new Set(['edge']), owned: new Set(owned), receives: new Map(), reserved: new Set(), ...rest });
const receives = (...list: Receiving[]): Pick<Duties, 'receives'> => ({ receives: new Map([['default/shop', list]]) });

function fragment(fields: ProgramFields, duties: Duties): Fragment {
  const kernel = makeKernel();
  return desired(program({ directorGroup: 'edge', ...fields }), group(), facts(kernel, { role: 'auto' }), duties);
}
const seen = (f: Fragment) => ({
  role: f.role,
  services: f.services.map((s) => serviceKey(s.service)),
  vips: f.needs.vips.map((v) => `${v.vip.address} on ${v.vip.link}${v.announce ? ', announced' : ''}`),
});

const mine = ['10.0.1.11', '10.0.1.22'];
const others = ['10.0.1.21', '10.0.1.22'];
const CASES: readonly [string, ProgramFields, Duties, ReturnType<typeof seen>][] = [
  ['who holds the VIP has services and address', {}, director([VIP]), { role: 'director', services: [`TCP ${VIP}:80`], vips: [`${VIP} on e0, announced`] }],
  ['who does not hold it has the services, and not the address', {}, director([]), { role: 'director', services: [`TCP ${VIP}:80`], vips: [] }],
  ['a node that directs for another group has no part', {}, director([VIP], { directs: new Set(['inner']) }), { role: 'none', services: [], vips: [] }],
  ['NAT with a real server here, VIP elsewhere: services stand ready', { realServers: mine }, director([]), { role: 'both', services: [`TCP ${VIP}:80`], vips: [] }],
  ['DR with a real server here and the VIP: both', { mode: 'DR', realServers: mine }, director([VIP]), { role: 'both', services: [`TCP ${VIP}:80`], vips: [`${VIP} on e0, announced`] }],
  ['DR with a real server here, VIP elsewhere: real server only', { mode: 'DR', realServers: mine }, director([]), { role: 'both', services: [], vips: [`${VIP} on lo`] }],
  ['DR without a real server here, VIP elsewhere: services stand ready', { mode: 'DR', realServers: others }, director([]), { role: 'director', services: [`TCP ${VIP}:80`], vips: [] }],
  [
    'DR, asked to receive before the program names it: real server only', { mode: 'DR', realServers: others }, director([], receives({ vip: VIP, localAddress: '10.0.1.11' })),
    { role: 'both', services: [], vips: [`${VIP} on lo`] },
  ],
  [
    'asked to receive at an address that is not here: nothing to receive', { mode: 'DR', realServers: others }, director([], receives({ vip: VIP, localAddress: '10.0.1.99' })),
    { role: 'director', services: [`TCP ${VIP}:80`], vips: [] },
  ],
  [
    'each VIP by itself: one held, the other received for', { mode: 'DR', vips: [VIP, VIP6], realServers: ['10.0.1.11', 'fd00:1::11'] }, director([VIP]),
    { role: 'both', services: [`TCP ${VIP}:80`], vips: [`${VIP} on e0, announced`, `${VIP6} on lo`] },
  ],
  [
    'a real server that is no director binds what it is asked to, whatever family its address has', { mode: 'DR', directorGroup: '', vips: [VIP, VIP6], realServers: ['10.0.1.11'] },
    director([], receives({ vip: VIP, localAddress: '10.0.1.11' }, { vip: VIP6, localAddress: '10.0.1.11' })), { role: 'realServer', services: [], vips: [`${VIP} on lo`, `${VIP6} on lo`] },
  ],
  ['a VIP of no network of this node, held by another: nothing, and nothing refused', { vips: ['192.0.2.1'] }, director([]), { role: 'director', services: [], vips: [] }],
];
for (const [name, fields, duties, expected] of CASES) {
  test(`duties: ${name}`, () => {
    const f = fragment(fields, duties);
    assert.deepEqual(seen(f), expected);
    assert.deepEqual([f.refusals, f.refusedVips], [[], []]);
  });
}

test('TUN with a real server here, VIP elsewhere: the tunnel and the VIP on it, no service', () => {
  const f = fragment({ mode: 'TUN', realServers: mine }, director([]));
  assert.deepEqual([f.services, f.needs.tunnels.length, f.needs.vips.map((v) => v.vip.link)], [[], 1, [f.needs.tunnels[0]!.name]]);
});

test('a VIP that is refused is kept only by who holds it: nobody else may go on answering for it', () => {
  const own = { vips: ['10.0.1.11'] };
  const refused = (fields: ProgramFields, owned: readonly string[], rest: Partial<Duties> = {}) => {
    const f = fragment(fields, director(owned, rest));
    return [f.refusals.map((r) => r.code), f.refusedVips];
  };
  assert.deepEqual(refused(own, ['10.0.1.11']), [['AddressReserved'], ['10.0.1.11']]);
  assert.deepEqual(refused(own, []), [['AddressReserved'], []]);
  assert.deepEqual(refused({}, [VIP], { reserved: new Set([VIP]) }), [['AddressReserved'], [VIP]]);
  assert.deepEqual(refused({}, [], { reserved: new Set([VIP]) }), [['AddressReserved'], []]);
  assert.deepEqual(refused({ vips: ['192.0.2.1'] }, ['192.0.2.1']), [['NoInterface'], ['192.0.2.1']]);
  assert.deepEqual(refused({ services: [] }, []), [['InvalidProgram'], []]);
  assert.deepEqual(refused({ scheduler: { name: 'nonsense' } }, []), [['KernelFeatureMissing'], []]);
});

test('trafficPolicy Local: a director uses the real servers on its own node', () => {
  const realServers = ['10.0.1.21|80|1|n1', '10.0.1.22|80|1|n2', '10.0.1.23|80|1|'];
  const used = (fields: ProgramFields) => fragment({ realServers, ...fields }, director([VIP])).services[0]!.destinations.toArray().map((d) => d.address);
  assert.deepEqual(used({ localOnly: true }), ['10.0.1.21']);
  assert.deepEqual(used({}), ['10.0.1.21', '10.0.1.22', '10.0.1.23']);
});

test('of changed duties only the programs are concerned whose VIP, group or part changed', () => {
  const shop = program({ directorGroup: 'edge' });
  const before = director([VIP]);
  const CHANGES: readonly [Duties, boolean][] = [
    [director([VIP]), false], [director([]), true], [director([VIP, '10.0.1.201']), false], [director([VIP], { reserved: new Set([VIP]) }), true], [director([VIP], { reserved: new Set(['10.9.9.9']) }), false],
    [director([VIP], { directs: new Set(['edge', 'more']) }), false], [director([VIP], { directs: new Set([]) }), true], [ALONE, true],
    [director([VIP], receives({ vip: VIP, localAddress: '10.0.1.11' })), true],
  ];
  for (const [after, expected] of CHANGES) {
    assert.equal(concernedBy(before, after)(shop), expected);
    assert.equal(concernedBy(after, before)(shop), expected, 'and back');
  }
});

const lines = (host: TestNode, from: number) => host.kernel.log.slice(from).map(formatOperation).filter((l) => !l.includes('sysctl'));

test('a role change adds before it deletes, and a VIP that is lost goes at once', async (t) => {
  const host = new TestNode(t, { role: 'auto' });
  const agent = host.start([]);
  agent.update(only(program({ mode: 'DR', directorGroup: 'edge', realServers: mine })), new Map([['edge', group()]]), director([]));
  await agent.reconcile('full');
  assert.deepEqual(lines(host, 0), [`add address ${VIP} on lo`]);
  assert.equal(agent.announced.size, 0);
  let from = host.kernel.log.length;
  agent.update(new Map(), undefined, director([VIP]));
  assert.equal((await agent.reconcile('changes')).settled, true);
  assert.deepEqual(lines(host, from).map((l) => l.split(' ').slice(0, 5).join(' ')), [
    `add service TCP ${VIP}:80 rr`, `add real server TCP ${VIP}:80`, `add real server TCP ${VIP}:80`, `add address ${VIP} on e0`, `announce ${VIP} on e0`, `delete address ${VIP} on lo`,
  ]);
  from = host.kernel.log.length;
  agent.update(new Map(), undefined, director([]));
  assert.equal((await agent.reconcile('changes')).settled, true);
  assert.deepEqual(lines(host, from), [`add address ${VIP} on lo`, `delete service TCP ${VIP}:80`, `delete address ${VIP} on e0`]);
});

test('a standby takes a VIP over by its address alone, and gives it up the same way', async (t) => {
  const host = new TestNode(t, { role: 'auto' });
  const agent = host.start([]);
  agent.update(only(program({ directorGroup: 'edge', sourceAddress: 'Masquerade' })), new Map([['edge', group()]]), director([]));
  await agent.reconcile('full');
  let from = host.kernel.log.length;
  agent.update(new Map(), undefined, director([VIP]));
  await agent.reconcile('changes');
  assert.deepEqual(lines(host, from), [`add address ${VIP} on e0`, `announce ${VIP} on e0`]);
  from = host.kernel.log.length;
  agent.update(new Map(), undefined, director([]));
  await agent.reconcile('changes');
  assert.deepEqual(lines(host, from), [`delete address ${VIP} on e0`]);
});

test('after the ledger was lost, a marked address that another director holds by now goes; elsewhere it is only reported', async (t) => {
  for (const adoptMarked of [true, false]) {
    const host = new TestNode(t, { role: 'auto', adoptMarked });
    host.kernel.net.address('e0', VIP, 32, { protocol: ADDRESS_PROTOCOL, deprecated: true });
    host.kernel.net.address('e0', '10.0.1.201', 32, { deprecated: true });
    const agent = host.start([]);
    agent.update(only(program({ directorGroup: 'edge' })), new Map([['edge', group()]]), director([]));
    await agent.reconcile('full');
    assert.ok(host.kernel.net.addresses.some((a) => a.address === VIP), 'the first reconcile deletes nothing');
    await agent.reconcile('full');
    assert.equal(host.kernel.net.addresses.some((a) => a.address === VIP), !adoptMarked);
    assert.ok(host.kernel.net.addresses.some((a) => a.address === '10.0.1.201'), 'without the mark it is not ours');
    assert.deepEqual(agent.view.foreign.addresses, adoptMarked ? [] : [`${VIP} on e0`]);
  }
});

test('services that somebody removed are counted; those that a reboot took, or that failed, are not', async (t) => {
  const host = new TestNode(t);
  const two = [program(), program({ owner: 'default/other', port: 81 })];
  const agent = host.start(two);
  await agent.reconcile('full');
  assert.equal(agent.tally.flushes.times, 0);
  host.kernel.ipvs.services.clear();
  host.now += 5000;
  await agent.reconcile('full');
  assert.deepEqual(agent.tally.flushes, { times: 1, services: 2, lastAt: host.now });
  await agent.reconcile('full');
  assert.equal(agent.tally.flushes.times, 1);
  assert.equal(agent.tally.operations.get('addService'), 4);
  host.kernel.refuse((o) => (o.kind === 'addService' ? refusal('NEW_SERVICE', ERRNO.EINVAL) : null));
  agent.update(only(program({ owner: 'default/third', port: 82 })));
  for (let i = 0; i < 3; i++) assert.ok((await agent.reconcile('full')).failures.length > 0);
  assert.equal(agent.tally.flushes.times, 1, 'it never stood');
  assert.ok(agent.tally.failures.get('KERNEL_REFUSED')! >= 3);
  assert.equal(agent.tally.operations.get('addService'), 4, 'what the kernel refuses is no change made to it');
  host.kernel.refuse(null);
  const rebooted = host.start(two);
  host.kernel.ipvs.services.clear();
  await rebooted.reconcile('full');
  assert.equal(rebooted.tally.flushes.times, 0);
});

const [NAT, DR, TUN] = ['NAT', 'DR', 'TUN'] as const;
const MANY = [
  program({ owner: 'p/nat', directorGroup: 'edge', vips: ['10.0.1.101'] }), program({ owner: 'p/dr', directorGroup: 'edge', mode: DR, vips: ['10.0.1.102'], realServers: mine }),
  program({ owner: 'p/tun', directorGroup: 'edge', mode: TUN, vips: ['10.0.1.103', 'fd00:1::103'], realServers: mine }), program({ owner: 'p/far', directorGroup: 'edge', mode: DR, vips: ['10.0.1.104'], realServers: others }),
  program({ owner: 'p/shared', directorGroup: 'edge', mode: NAT, vips: ['10.0.1.102'], port: 81, sourceAddress: 'Masquerade' }),
];
const VIPS = [...new Set(MANY.flatMap((p) => p.spec.addresses.map((a) => a.address)))];
/** Modes in which this node has a real server of its own for a VIP: then it is never without the address. */
const receiving = ['10.0.1.102', '10.0.1.103', 'fd00:1::103'];

test('whoever holds what in whatever order: on the NIC is what is held and nothing else, and local delivery never stops', async (t) => {
  await fc.assert(fc.asyncProperty(fc.array(fc.subarray(VIPS), { minLength: 1, maxLength: 8 }), async (history) => {
    const host = new TestNode(t, { role: 'auto' });
    const agent = host.start([]);
    agent.update(new Map(MANY.map((p) => [p.owner, p])), new Map([['edge', group()]]), director([]));
    await agent.reconcile('full');
    const { net, ipvs } = host.kernel;
    const links = (vip: string) => net.addresses.filter((a) => a.address === vip).map((a) => a.link);
    host.kernel.onStep = (o) => { for (const vip of receiving) assert.ok(links(vip).length > 0, `${vip} is nowhere after ${formatOperation(o)}`); };
    for (const owned of history) {
      agent.update(new Map(), undefined, director(owned));
      const report = await agent.reconcile('changes');
      assert.deepEqual([report.failures, report.settled], [[], true]);
      for (const vip of VIPS) {
        assert.equal(links(vip).includes('e0'), owned.includes(vip), `${vip} with ${owned.join(' ')}`);
        assert.equal(links(vip).some((l) => l !== 'e0'), receiving.includes(vip) && !owned.includes(vip), `${vip} on ${links(vip).join(' ')}`);
      }
      assert.equal(ipvs.services.has('TCP 10.0.1.102:80'), owned.includes('10.0.1.102'), 'no service of a VIP that is only received for');
      assert.ok(ipvs.services.has('TCP 10.0.1.101:80') && ipvs.services.has('TCP 10.0.1.104:80') && ipvs.services.has('TCP 10.0.1.102:81'), 'the others stand ready');
      assert.equal((await agent.reconcile('full')).operations, 0, 'and nothing is left to do');
    }
  }), { numRuns: 25, endOnFailure: true });
});
