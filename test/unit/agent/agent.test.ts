/** The agent over the fake kernel: how little it does, what it reports, and what it leaves alone. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { failuresByOwner } from '../../../src/agent/failures.ts';
import { formatOperation } from '../../../src/agent/operation.ts';
import type { Program } from '../../../src/api/v1alpha1/program.ts';
import { ERRNO, KernelError } from '../../../src/kernel/netlink/errors.ts';
import { Killed, refusal } from '../fake-kernel.ts';
import { destination, group, only, program, service, TestNode } from './setup.ts';

const many = (n: number): Program[] => Array.from({ length: n }, (_, i) => program({ owner: `default/s${i}`, vips: [`10.0.1.${100 + (i % 100)}`], port: 1000 + Math.floor(i / 100) }));
const lines = (host: TestNode, from = 0) => host.kernel.log.slice(from).map(formatOperation);

test('one changed weight among 1,000 services is one operation, and only its service is read', async (t) => {
  const host = new TestNode(t);
  const programs = many(1000);
  const agent = host.start(programs);
  assert.equal((await agent.reconcile('full')).settled, true);
  const { kernel } = host;
  const before = kernel.log.length;
  kernel.ipvs.reads.keys.length = 0;
  const reads = { all: kernel.ipvs.reads.all, fingerprint: kernel.ipvs.reads.fingerprint, observe: kernel.net.reads.observe };
  agent.update(only(program({ ...fieldsOf(programs[517]!), realServers: ['10.0.1.21|1005|1|', '10.0.1.22|1005|9|'], port: 1005 })));
  const report = await agent.reconcile('changes');
  assert.deepEqual(lines(host, before), ['set real server TCP 10.0.1.117:1005 -> 10.0.1.22:1005 masq weight 9 (weight)']);
  assert.deepEqual([report.operations, report.settled], [1, true]);
  assert.deepEqual(kernel.ipvs.reads.keys, ['TCP 10.0.1.117:1005']);
  assert.deepEqual({ all: kernel.ipvs.reads.all, fingerprint: kernel.ipvs.reads.fingerprint, observe: kernel.net.reads.observe }, reads);
  assert.equal(agent.drifted(), false, 'our own change is no drift');
});

function fieldsOf(p: Program) { return { owner: p.owner, vips: p.spec.addresses.map((a) => a.address) }; }

test('a restart with nothing to do sends nothing and changes no file that says what is ours', async (t) => {
  const host = new TestNode(t);
  const programs = [...many(30), program({ owner: 'default/x', vips: ['10.0.1.9', 'fd00:1::9'], port: 443, sourceAddress: 'Masquerade' })];
  await host.start(programs).reconcile('full');
  const before = host.kernel.log.length;
  const ledger = host.folder.read('ledger');
  const report = await host.start(programs).reconcile('full');
  assert.deepEqual([report.operations, report.settled, lines(host, before)], [0, true, []]);
  assert.deepEqual(host.folder.read('ledger'), ledger);
});

test('services come before the VIP, and the VIP goes before what hid it', async (t) => {
  const host = new TestNode(t, { role: 'real-server' });
  const agent = host.start([program({ mode: 'DR', realServers: ['10.0.1.11'] })]);
  await agent.reconcile('full');
  assert.deepEqual(lines(host).map((l) => l.split(' ').slice(0, 3).join(' ')), ['set sysctl net/ipv4/conf/all/arp_announce', 'set sysctl net/ipv4/conf/all/arp_ignore', 'add address 10.0.1.200']);
  agent.update(new Map([['default/shop', null]]));
  const before = host.kernel.log.length;
  await agent.reconcile('changes');
  assert.deepEqual(lines(host, before).map((l) => l.split(' ').slice(0, 3).join(' ')), ['delete address 10.0.1.200', 'set sysctl net/ipv4/conf/all/arp_announce', 'set sysctl net/ipv4/conf/all/arp_ignore']);
});

test('a failure is reported, does not stop the others, and is tried again', async (t) => {
  const host = new TestNode(t);
  const agent = host.start([program(), program({ owner: 'default/other', vips: ['10.0.1.201'], port: 81 })]);
  host.kernel.refuse((o) => (o.kind === 'addDestination' && o.destination.address === '10.0.1.21' && o.service.port === 80 ? refusal('NEW_DEST', ERRNO.EINVAL) : null));
  const first = await agent.reconcile('full');
  assert.deepEqual(first.failures.map((f) => [f.operation.kind, f.error.errnoName]), [['addDestination', 'EINVAL']]);
  assert.equal(first.settled, false);
  assert.equal(agent.view.failures.length, 1);
  assert.equal(host.kernel.ipvs.services.get('TCP 10.0.1.201:81')?.destinations.size, 2);
  const second = await agent.reconcile('full');
  assert.equal(second.operations, 1, 'only what failed');
  host.kernel.refuse(null);
  const third = await agent.reconcile('full');
  assert.deepEqual([third.operations, third.failures.length, third.settled], [1, 0, true]);
  assert.equal((await agent.reconcile('full')).operations, 0);
});

test('a reconcile that could not be done at all is done whole by the next one, however narrow', async (t) => {
  const host = new TestNode(t);
  const agent = host.start([program()]);
  host.kernel.killAfter(2);
  await assert.rejects(agent.reconcile('full'), Killed);
  host.kernel.revive();
  assert.equal(agent.pending, true);
  assert.equal((await agent.reconcile('changes')).failures.length, 0);
  assert.equal((await agent.reconcile('full')).operations, 0);
});

test('an entry of the ledger for what vanished does not outlive a pass that fails elsewhere', async (t) => {
  const host = new TestNode(t);
  const shop = program();
  const agent = host.start([shop, program({ owner: 'default/b', vips: ['10.0.1.201'] })]);
  await agent.reconcile('full');
  host.kernel.refuse((o) => (o.kind === 'addDestination' ? refusal('NEW_DEST', ERRNO.EINVAL) : null));
  host.kernel.ipvs.services.get('TCP 10.0.1.201:80')!.destinations.clear();
  agent.update(new Map([[shop.owner, null]]));
  assert.equal((await agent.reconcile('full')).failures.length, 2);
  await agent.reconcile('full');
  // Somebody else takes the key and the address.
  host.kernel.ipvs.put(service({ scheduler: 'lc' }), [destination('10.9.9.9')]);
  host.kernel.net.address('e0', '10.0.1.200', 32);
  const before = JSON.stringify(host.kernel.snapshot());
  await agent.reconcile('full');
  assert.equal(JSON.stringify(host.kernel.snapshot()), before);
});

test("somebody else's service where ours should be is a ForeignConflict, stays, and disturbs no other VirtualServer, in narrow passes too", async (t) => {
  const host = new TestNode(t);
  const foreign = host.kernel.ipvs.put(service({ scheduler: 'lc' }), [destination('10.9.9.9')]);
  const untouched = JSON.stringify([foreign.service, [...foreign.destinations]]);
  await host.start([]).reconcile('full');
  const other = program({ owner: 'default/other', vips: ['10.0.1.201'] });
  const agent = host.start([program({ sourceAddress: 'Masquerade' }), other]);
  const report = await agent.reconcile('full');
  assert.deepEqual([report.failures, report.settled], [[], false]);
  const conflict = () => agent.view.refusals.map((r) => [r.owner, r.code]);
  assert.deepEqual(conflict(), [['default/shop', 'ForeignConflict']]);
  assert.match(agent.view.refusals[0]!.message, /ipvsadm -D -t 10\.0\.1\.200:80/);
  assert.deepEqual(agent.view.foreign.services, [], 'it is in the way, not merely there');
  assert.ok(host.kernel.ipvs.services.has('TCP 10.0.1.201:80'));
  assert.equal(JSON.stringify([foreign.service, [...foreign.destinations]]), untouched);
  // The other may be a keepalived backup: its VIP is not announced here, and its traffic is not masqueraded.
  assert.deepEqual(host.kernel.net.addresses.filter((a) => a.address === '10.0.1.200'), []);
  assert.equal(host.kernel.net.rules, null);

  agent.update(only(program({ ...fieldsOf(other), realServers: ['10.0.1.23'] })));
  await agent.reconcile('changes');
  assert.deepEqual(conflict(), [['default/shop', 'ForeignConflict']], 'a pass that does not look at it does not forget it');
  await agent.reconcile('node');
  assert.deepEqual(host.kernel.net.addresses.filter((a) => a.address === '10.0.1.200'), []);

  host.kernel.ipvs.services.delete('TCP 10.0.1.200:80');
  const freed = await agent.reconcile('full');
  assert.deepEqual([conflict(), freed.settled], [[], true]);
  assert.equal(host.kernel.net.addresses.filter((a) => a.address === '10.0.1.200').length, 1);
});

test('a VIP that is bound stays when all that is asked for on it turns out to be taken', async (t) => {
  const host = new TestNode(t);
  await host.start([program()]).reconcile('full');
  host.kernel.ipvs.put(service({ port: 81, scheduler: 'lc' }), [destination('10.9.9.9')]);
  const agent = host.start([program({ port: 81 })]);
  await agent.reconcile('full');
  assert.deepEqual(agent.view.refusals.map((r) => r.code), ['ForeignConflict']);
  assert.equal(host.kernel.net.addresses.filter((a) => a.address === '10.0.1.200').length, 1);
});

test('drift is seen by the cheap look and repaired', async (t) => {
  const host = new TestNode(t);
  const agent = host.start([program({ vips: ['10.0.1.200', 'fd00:1::200'], realServers: ['10.0.1.21', 'fd00:1::21'], sourceAddress: 'Masquerade' })]);
  await agent.reconcile('full');
  const { ipvs, net } = host.kernel;
  const good = JSON.stringify(host.kernel.snapshot());
  const seen: [string, () => void][] = [
    ['service deleted', () => ipvs.services.delete('TCP 10.0.1.200:80')],
    ['scheduler changed', () => ipvs.put(service({ scheduler: 'lc' }), [...ipvs.services.get('TCP 10.0.1.200:80')!.destinations.values()].map((d) => d.destination))],
    ['real server deleted', () => ipvs.services.get('TCP 10.0.1.200:80')!.destinations.clear()],
    ['sysctl', () => net.write('net/ipv4/ip_forward', '0')],
    ['sysctl of IPVS', () => net.write('net/ipv4/vs/conntrack', '0')],
  ];
  const unseen: [string, () => void][] = [
    ['weight changed', () => { ipvs.services.get('TCP 10.0.1.200:80')!.destinations.get('10.0.1.21:80')!.destination = destination('10.0.1.21', { weight: 9 }); }],
    ['VIP deleted', () => net.removeAddress('e0', '10.0.1.200')],
    ['VIP of IPv6 no longer deprecated', () => { net.addresses = net.addresses.map((a) => (a.address === 'fd00:1::200' ? { ...a, deprecated: false } : a)); }],
    ['local route deleted', () => { net.localRoutes = net.localRoutes.filter((r) => r.address !== '10.0.1.200'); }],
    ['rules flushed', () => { net.rules = null; }],
  ];
  for (const [name, break_] of [...seen, ...unseen]) {
    assert.equal(agent.drifted(), false, name);
    break_();
    assert.equal(agent.drifted(), seen.some(([n]) => n === name), name);
    const report = await agent.reconcile('full');
    assert.ok(report.operations > 0 && report.settled, name);
    assert.equal(JSON.stringify(host.kernel.snapshot()), good, name);
  }
});

test('drift is still seen after a narrow pass over something else', async (t) => {
  const host = new TestNode(t);
  const agent = host.start([program(), program({ owner: 'default/other', vips: ['10.0.1.201'] })]);
  await agent.reconcile('full');
  host.kernel.ipvs.services.delete('TCP 10.0.1.200:80');
  agent.update(only(program({ owner: 'default/other', vips: ['10.0.1.201'], realServers: ['10.0.1.21|80|5|', '10.0.1.22'] })));
  await agent.reconcile('changes');
  assert.equal(agent.drifted(), true);
});

test('a preview changes neither kernel nor files, and takes nothing from the reconcile after it', async (t) => {
  const host = new TestNode(t);
  const agent = host.start([program()]);
  // Asking what the kernel can do loads modules, and with ip_vs come its sysctls.
  host.kernel.ipvs.capabilities();
  const before = JSON.stringify(host.kernel.snapshot());
  const plan = await agent.preview();
  assert.ok(plan.operations.length > 0);
  assert.ok(JSON.stringify(host.kernel.snapshot()) === before);
  assert.deepEqual(host.folder.read('ledger'), { state: 'missing' });
  assert.equal((await agent.reconcile('changes')).operations, plan.operations.length);
});

// ---- what is served goes on being served

test('an interrupted read of the node is no reason to stop directing', async (t) => {
  const host = new TestNode(t);
  const agent = host.start([program()]);
  await agent.reconcile('full');
  const before = host.kernel.log.length;
  host.kernel.net.hide = (x) => ('address' in x ? x.address === '10.0.1.11' : x.name === 'e0');
  const report = await agent.reconcile('full');
  assert.deepEqual([lines(host, before), report.settled, agent.view.refusals], [[], false, []], 'the last whole facts count');
  const reborn = await host.start([program()]).reconcile('full');
  assert.deepEqual([lines(host, before), reborn.settled], [[], false], 'not even at the start, with no older facts');
  host.kernel.net.hide = null;
});

for (const [name, hurt, code] of [
  ['its NIC loses its subnet', (h: TestNode) => { h.kernel.net.removeAddress('e0', '10.0.1.11'); }, 'NoInterface'],
  ['no packet filter works any more', (h: TestNode) => { h.kernel.net.backend = null; }, 'KernelFeatureMissing'],
  ['the VIP becomes an address of the node', (h: TestNode) => { h.kernel.net.address('e1', '10.0.1.200', 24); }, 'AddressReserved'],
] as const) {
  test(`a node that refuses a program it serves because ${name} says so, and breaks no connection, across a restart`, async (t) => {
    const host = new TestNode(t);
    const shop = program({ sourceAddress: 'Masquerade' });
    await host.start([shop]).reconcile('full');
    const before = host.kernel.log.length;
    hurt(host);
    for (let i = 0; i < 2; i++) {
      const agent = host.start([shop]);
      const report = await agent.reconcile('full');
      assert.deepEqual(lines(host, before), []);
      assert.equal(report.settled, false);
      assert.deepEqual(agent.view.refusals.map((r) => r.code), [code]);
    }
    const agent = host.start([]);
    await agent.reconcile('full');
    assert.equal(host.kernel.ipvs.services.size, 0, 'deleted by the user, it goes all the same');
  });
}

test('a scheduler that the kernel lacks refuses the change and keeps the service; installed later, it is used', async (t) => {
  const host = new TestNode(t);
  host.kernel.ipvs.schedulers.delete('mh');
  const agent = host.start([program()]);
  await agent.reconcile('full');
  agent.update(only(program({ scheduler: { name: 'mh' } })));
  const before = host.kernel.log.length;
  const report = await agent.reconcile('changes');
  assert.deepEqual([report.settled, lines(host, before)], [false, []]);
  assert.match(agent.view.refusals[0]!.message, /no scheduler mh; run: modprobe ip_vs_mh/);
  host.kernel.ipvs.schedulers.add('mh');
  const fixed = await agent.reconcile('full');
  assert.deepEqual([fixed.settled, lines(host, before)], [true, ['set service TCP 10.0.1.200:80 mh (scheduler)']]);
});

test('a service that is kept because the kernel lacks what its new form needs has the real servers of the new form', async (t) => {
  const host = new TestNode(t);
  host.kernel.ipvs.schedulers.delete('mh');
  const agent = host.start([program()]);
  await agent.reconcile('full');
  const KEY = 'TCP 10.0.1.200:80';
  const served = () => [...host.kernel.ipvs.services.get(KEY)!.destinations.values()].map(({ destination: d }) => `${d.address} ${d.weight}`).sort();
  const told = async (...fields: Parameters<typeof program>) => {
    agent.update(only(program(...fields)));
    const { settled } = await agent.reconcile('changes');
    return [settled, host.kernel.ipvs.services.get(KEY)!.service.scheduler, agent.view.refusals.map((r) => r.code)];
  };
  const old = host.kernel.ipvs.services.get(KEY)!.service.scheduler;
  assert.deepEqual(await told({ scheduler: { name: 'mh' } }), [false, old, ['KernelFeatureMissing']]);
  assert.deepEqual(await told({ scheduler: { name: 'mh' }, realServers: ['10.0.1.22', '10.0.1.23'] }), [false, old, ['KernelFeatureMissing']]);
  assert.deepEqual(served(), ['10.0.1.21 0', '10.0.1.22 1', '10.0.1.23 1'], 'pods do not wait for modprobe');
  // Of another shape nothing can be said: it stays as it was.
  await told({ scheduler: { name: 'mh' }, mode: 'DR', realServers: ['10.0.1.24'] });
  assert.ok(!served().some((text) => text.startsWith('10.0.1.24')));
  host.kernel.ipvs.schedulers.add('mh');
  assert.deepEqual([await told({ scheduler: { name: 'mh' }, realServers: ['10.0.1.23'] }), (await agent.reconcile('full')).settled], [[true, 'mh', []], true]);
});

test('a persistence engine that the kernel lacks is said; installed later, it is used', async (t) => {
  const host = new TestNode(t);
  host.kernel.ipvs.engines.delete('sip');
  const sip = { timeoutSeconds: 300, ipv4PrefixLength: 32, ipv6PrefixLength: 128, engine: 'sip' };
  const agent = host.start([program({ protocol: 'UDP', persistence: sip })]);
  assert.equal((await agent.reconcile('full')).settled, false);
  assert.match(agent.view.refusals[0]!.message, /no persistence engine sip; run: modprobe ip_vs_pe_sip/);
  host.kernel.ipvs.engines.add('sip');
  assert.equal((await agent.reconcile('full')).settled, true);
});

test('asking for one more scheduler does not forget the others', async (t) => {
  const host = new TestNode(t);
  const agent = host.start([program()]);
  await agent.reconcile('full');
  agent.update(only(program({ owner: 'default/other', vips: ['10.0.1.201'], scheduler: { name: 'mh' } })));
  await agent.reconcile('changes');
  agent.update(only(program({ realServers: ['10.0.1.23'] })));
  await agent.reconcile('full');
  assert.deepEqual(agent.view.refusals, []);
});

test('a program that makes no sense is refused by itself', async (t) => {
  const host = new TestNode(t);
  const bad = [
    program({ owner: 'default/a', services: [{ ports: [], mark: 0, realServers: [] }] }),
    program({ owner: 'default/b', mode: 'TUN', tunnel: null }),
    program({ owner: 'default/c', vips: [] }),
    program({ owner: 'default/d', services: [{ ports: [{ name: '', protocol: 'TCP', port: 1, endPort: 9 }], mark: 0, realServers: [] }] }),
  ];
  const agent = host.start([...bad, program()]);
  await agent.reconcile('full');
  assert.deepEqual(agent.view.refusals.map((r) => [r.owner, r.code]), bad.map((p) => [p.owner, 'InvalidProgram']));
  assert.deepEqual([...host.kernel.ipvs.services.keys()], ['TCP 10.0.1.200:80']);
});

const EDGE = group({ timeouts: { tcp: 60, tcpFin: 10, udp: 10 }, connectionSync: { interface: 'e1', syncId: 9 } });
for (const [how, groups] of [['', []], [', nor a group that sets its timeouts and sync daemons', [EDGE]]] as const) {
  for (const served of [false, true]) {
    test(`a node ${served ? 'that lost' : 'without'} ip_vs says so and does everything else: no program stands in its way${how}`, async (t) => {
      const host = new TestNode(t, { role: 'auto' });
      const programs = [program({ directorGroup: 'edge' }), program({ owner: 'default/dr', mode: 'DR', vips: ['10.0.1.201'], realServers: ['10.0.1.11'] })];
      if (served) await host.start([programs[0]!], groups).reconcile('full');
      host.kernel.ipvs.unload();
      const agent = host.start(programs, groups);
      for (let i = 0; i < 2; i++) {
        const report = await agent.reconcile('full');
        assert.deepEqual([report.failures, report.settled, agent.drifted()], [[], false, false]);
      }
      assert.match(agent.view.refusals[0]!.message, /modprobe ip_vs/);
      assert.deepEqual(host.kernel.net.addresses.filter((a) => a.protocol !== 0 && a.link === 'lo').map((a) => `${a.address} on ${a.link}`), ['10.0.1.201 on lo']);
      host.kernel.ipvs.module = true;
      assert.equal((await agent.reconcile('full')).settled, true);
      assert.deepEqual([...host.kernel.ipvs.services.keys()], ['TCP 10.0.1.200:80']);
      assert.deepEqual([host.kernel.ipvs.timeoutsNow.tcp, host.kernel.ipvs.daemons.length], groups.length > 0 ? [60, 2] : [900, 0]);
    });
  }
}

test('what a cleanup removes does not depend on a module that is gone', async (t) => {
  const host = new TestNode(t);
  const before = JSON.stringify(host.kernel.net.addresses);
  await host.start([program({ directorGroup: 'edge', sourceAddress: 'Masquerade' })], [EDGE]).reconcile('full');
  host.kernel.ipvs.unload();
  const report = await host.start([]).cleanup();
  assert.deepEqual([report.failures, report.settled], [[], true]);
  assert.equal(JSON.stringify(host.kernel.net.addresses), before);
  assert.equal(host.kernel.net.readSysctl('net/ipv4/ip_forward'), '0');
});

test('a real server behind tunnels that has no packet filter serves, and says what it goes without; installed later, it is used', async (t) => {
  const host = new TestNode(t, { role: 'real-server' });
  host.kernel.net.backend = null;
  const agent = host.start([program({ mode: 'TUN', realServers: ['10.0.1.11'] })]);
  assert.equal((await agent.reconcile('full')).settled, true);
  assert.match(agent.view.notes.join(), /MSS.*install nftables or iptables/);
  host.kernel.net.backend = 'nft';
  assert.equal((await agent.reconcile('full')).settled, true);
  assert.deepEqual([agent.view.notes, host.kernel.net.rules?.mss.map((r) => r.mss)], [[], [1440]]);
  host.kernel.net.backend = null;
  const direct = host.start([program({ mode: 'DR', realServers: ['10.0.1.11'] })]);
  await direct.reconcile('full');
  assert.deepEqual(direct.view.notes, [], 'DR needs none');
});

// ---- state that is lost

for (const [name, spoil] of [
  ['lost', (h: TestNode) => { writeFileSync(join(h.path, 'ledger.json'), ''); }],
  ['corrupt', (h: TestNode) => { writeFileSync(join(h.path, 'ledger.json'), '{"version":1,"sha256":"00"}\n{}'); }],
  ['of another version', (h: TestNode) => { h.folder.write('ledger', { version: 99 }); }],
  ['unreadable', (h: TestNode) => { mkdirSync(join(h.path, 'x')); writeFileSync(join(h.path, 'ledger.json'), '\0\0'); }],
] as const) {
  test(`a ledger that is ${name}: what stands is adopted and nothing is deleted; afterwards removals work again`, async (t) => {
    const host = new TestNode(t);
    const two = [program(), program({ owner: 'default/old', vips: ['10.0.1.201'] })];
    await host.start(two).reconcile('full');
    spoil(host);
    const before = host.kernel.log.length;
    const agent = host.start([two[0]!]);
    await agent.reconcile('full');
    assert.deepEqual(lines(host, before), []);
    assert.deepEqual(agent.view.foreign.services, ['TCP 10.0.1.201:80'], 'what nobody asks for is a stranger now');
    agent.update(new Map([['default/shop', null]]));
    await agent.reconcile('changes');
    assert.deepEqual([...host.kernel.ipvs.services.keys()], ['TCP 10.0.1.201:80']);
  });
}

test('a packet filter that cannot be read keeps nothing else from being done, and is said', async (t) => {
  const host = new TestNode(t);
  const KEY = 'TCP 10.0.1.200:80';
  const shop = program({ sourceAddress: 'Masquerade' });
  const agent = host.start([shop, program({ owner: 'default/dr', mode: 'DR', vips: ['10.0.1.201'] })]);
  await agent.reconcile('full');
  const { net } = host.kernel;
  const { rules } = net;
  const read = net.readRules.bind(net);
  net.readRules = () => { throw refusal('nft list table', 0); };
  agent.update(new Map([[shop.owner, program({ sourceAddress: 'Masquerade', realServers: ['10.0.1.23'] })], ['default/new', program({ owner: 'default/new', mode: 'DR', vips: ['10.0.1.202'] })]]));
  const { failures, settled } = await agent.reconcile('full');
  assert.deepEqual([failures.map((f) => [f.operation.kind, f.error.operation]), settled], [[['setRules', 'nft list table']], false]);
  const weights = [...host.kernel.ipvs.services.get(KEY)!.destinations.values()].map(({ destination: d }) => `${d.address} ${d.weight}`).sort();
  assert.deepEqual(weights, ['10.0.1.21 0', '10.0.1.22 0', '10.0.1.23 1']);
  assert.ok(net.addresses.some((a) => a.address === '10.0.1.202'));
  assert.deepEqual(net.rules, rules, 'what cannot be read is not written');
  assert.deepEqual([...failuresByOwner(agent.view).keys()], [shop.owner]);
  assert.match((await agent.preview()).notes.join(), /packet-filter rules cannot be read/);
  net.readRules = read;
  net.rules = null;
  assert.equal((await agent.reconcile('full')).failures.length, 0);
  assert.deepEqual(net.rules, rules);
  assert.equal(agent.tally.operations.get('setRules'), 2);
});

// ---- drains

test('a real server that leaves drains: weight 0, connections kept, gone when idle; a restart does not prolong it', async (t) => {
  const host = new TestNode(t);
  const KEY = 'TCP 10.0.1.200:80';
  const agent = host.start([program()]);
  await agent.reconcile('full');
  host.kernel.ipvs.connections(KEY, '10.0.1.22:80', 2);
  const left = program({ realServers: ['10.0.1.21'] });
  agent.update(only(left));
  assert.equal((await agent.reconcile('changes')).settled, true, 'a drain that goes its way is no trouble');
  const weight = () => host.kernel.ipvs.services.get(KEY)?.destinations.get('10.0.1.22:80')?.destination.weight;
  assert.deepEqual([weight(), agent.draining], [0, true]);
  host.now += 59_000;
  const reborn = host.start([left]);
  await reborn.reconcile('full');
  assert.equal(weight(), 0);
  host.now += 1_000;
  await reborn.reconcile('changes');
  assert.deepEqual([weight(), reborn.draining], [undefined, false]);
  assert.deepEqual(host.folder.read('drains'), { state: 'ok', value: {} });
});

test('a real server that comes back while it drains keeps its place and its connections', async (t) => {
  const host = new TestNode(t);
  const agent = host.start([program()]);
  await agent.reconcile('full');
  host.kernel.ipvs.connections('TCP 10.0.1.200:80', '10.0.1.22:80', 2);
  agent.update(only(program({ realServers: ['10.0.1.21'] })));
  await agent.reconcile('changes');
  agent.update(only(program()));
  const before = host.kernel.log.length;
  await agent.reconcile('changes');
  assert.deepEqual(lines(host, before), ['set real server TCP 10.0.1.200:80 -> 10.0.1.22:80 masq weight 1 (weight)']);
  assert.equal(agent.draining, false);
});

for (const [what, files] of [['drains cannot', ['drains']], ['nothing can', ['drains', 'ledger']]] as const) {
  test(`while the disk is full and ${what} be written, who died gets no clients and who came does; what is new waits`, async (t) => {
    const host = new TestNode(t);
    const KEY = 'TCP 10.0.1.200:80';
    const agent = host.start([program()]);
    await agent.reconcile('full');
    host.kernel.ipvs.connections(KEY, '10.0.1.22:80', 2);
    // A write begins with a file of this name.
    for (const file of files) mkdirSync(join(host.path, `${file}.json.tmp`));
    const pass = async () => { try { await agent.reconcile('changes'); } catch (error) { assert.equal((error as { code?: string }).code, 'STATE_UNUSABLE'); } };
    const weights = () => [...host.kernel.ipvs.services.get(KEY)!.destinations.values()].map(({ destination: d }) => `${d.address} ${d.weight}`).sort();
    agent.update(new Map([['default/shop', program({ realServers: ['10.0.1.21', '10.0.1.23'] })], ['default/new', program({ owner: 'default/new', vips: ['10.0.1.201'] })]]));
    await pass();
    await pass();
    assert.deepEqual(weights(), ['10.0.1.21 1', '10.0.1.22 0', '10.0.1.23 1']);
    assert.equal(host.kernel.ipvs.services.has('TCP 10.0.1.201:80'), files.length === 1, 'what no ledger remembers would be a stranger after a restart');
    assert.equal(agent.draining, true);
    host.now += 60_000;
    await pass();
    assert.deepEqual(weights(), ['10.0.1.21 1', '10.0.1.23 1'], 'a drain ends in its time');
    for (const file of files) rmSync(join(host.path, `${file}.json.tmp`), { recursive: true });
    agent.update(only(program({ realServers: ['10.0.1.21'] })));
    assert.equal((await agent.reconcile('changes')).settled, true);
    assert.ok(host.kernel.ipvs.services.has('TCP 10.0.1.201:80'));
    assert.deepEqual(Object.keys((host.folder.read('drains') as { value: object }).value), [`${KEY} -> 10.0.1.23:80`]);
  });
}

// ---- cleanup

test('cleanup removes what is ours, restores what stood, leaves the rest, and empties ledger and drains', async (t) => {
  const host = new TestNode(t);
  host.kernel.ipvs.put(service({ address: '10.0.1.99' }), [destination('10.9.9.9')]);
  host.kernel.ipvs.capabilities();
  const before = JSON.stringify(host.kernel.snapshot());
  const agent = host.start([program({ sourceAddress: 'VirtualIP', directorGroup: 'edge' })], [group({ timeouts: { tcp: 60, tcpFin: 10, udp: 10 }, connectionSync: { interface: 'e1', syncId: 9 } })]);
  await agent.reconcile('full');
  agent.update(only(program({ sourceAddress: 'VirtualIP', directorGroup: 'edge', realServers: ['10.0.1.21'] })));
  await agent.reconcile('changes');
  const report = await host.start([]).cleanup();
  assert.deepEqual([report.failures, report.settled], [[], true]);
  assert.equal(JSON.stringify(host.kernel.snapshot()), before);
  assert.deepEqual(host.folder.read('drains'), { state: 'ok', value: {} });
  assert.equal(host.start([]).draining, false);
});

test('a cleanup that reads an interrupted list tries again, and says so when it never gets a whole one', async (t) => {
  const host = new TestNode(t);
  await host.start([program()]).reconcile('full');
  host.kernel.ipvs.lies = { services: { hide: () => false } };
  const report = await host.start([]).cleanup();
  assert.deepEqual([report.settled, host.kernel.ipvs.services.size], [false, 1]);
  host.kernel.ipvs.lies = {};
  assert.equal((await host.start([]).cleanup()).settled, true);
});

test('timeouts and daemons are those of the groups that this node directs, and end with them', async (t) => {
  const host = new TestNode(t, { role: 'auto', labels: { site: 'b' } });
  const groups = [
    group({ name: 'a', nodeSelector: { site: 'a' }, timeouts: { tcp: 1, tcpFin: 1, udp: 1 }, connectionSync: { interface: 'e0', syncId: 1 } }),
    group({ name: 'b', nodeSelector: { site: 'b' }, timeouts: { tcp: 2, tcpFin: 2, udp: 2 } }),
  ];
  const agent = host.start([program({ directorGroup: 'a' }), program({ owner: 'default/b', vips: ['10.0.1.201'], directorGroup: 'b' })], groups);
  await agent.reconcile('full');
  assert.deepEqual([host.kernel.ipvs.timeoutsNow.tcp, host.kernel.ipvs.daemons], [2, []]);
  host.kernel.ipvs.timeoutsNow = { tcp: 77, tcpFin: 2, udp: 2 };
  agent.update(new Map([['default/b', null]]));
  await agent.reconcile('full');
  assert.equal(host.kernel.ipvs.timeoutsNow.tcp, 77, 'changed by somebody else meanwhile: theirs');
});

test('a sync daemon of somebody else is left alone, at the start and at the end', async (t) => {
  const host = new TestNode(t);
  const theirs = { role: 'backup' as const, interface: 'e0', syncId: 3, maxLength: 0, group: '', port: 0, ttl: 0 };
  host.kernel.ipvs.daemons.push(theirs);
  const agent = host.start([program({ directorGroup: 'edge' })], [group({ connectionSync: { interface: 'e1', syncId: 7 } })]);
  await agent.reconcile('full');
  assert.deepEqual(host.kernel.ipvs.daemons.map((d) => `${d.role} ${d.interface}`), ['backup e0', 'master e1']);
  assert.match(agent.view.notes[0]!, /ipvsadm --stop-daemon backup/);
  // And one that takes the place of ours meanwhile.
  host.kernel.ipvs.daemons.splice(1, 1, { ...theirs, role: 'master' });
  agent.update(new Map([['default/shop', null]]));
  await agent.reconcile('full');
  assert.deepEqual(host.kernel.ipvs.daemons.map((d) => `${d.role} ${d.interface}`), ['backup e0', 'master e0']);
});

test('aborted, a reconcile stops between operations and rejects with the reason', async (t) => {
  const host = new TestNode(t);
  const agent = host.start([program()]);
  await assert.rejects(agent.reconcile('full', AbortSignal.abort(new KernelError({ code: 'INVALID', operation: 'stop' }))), /stop/);
  assert.equal(host.kernel.log.length, 0);
});
