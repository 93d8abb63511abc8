/** Plans of everything beside IPVS: the sysctl guard, addresses, tunnels, ports, rules. Whole histories are plan.property.test.ts's. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { apply } from '../../../src/agent/apply.ts';
import { emptyLedger, ownsNothing, readLedger, type Ledger } from '../../../src/agent/ledger.ts';
import { formatOperation, unfold } from '../../../src/agent/operation.ts';
import type { Plan } from '../../../src/agent/plan.ts';
import type { NodeState } from '../../../src/agent/state.ts';
import type { Program } from '../../../src/api/v1alpha1/program.ts';
import { ADDRESS_PROTOCOL } from '../../../src/kernel/net/types.ts';
import type { FakeKernel } from '../fake-kernel.ts';
import { fragments, fullPlan, makeKernel, program, state, type PlanFields } from './setup.ts';

const lines = (p: Plan) => unfold(p.operations).map(formatOperation);
const wish = (kernel: FakeKernel, programs: readonly Program[]): NodeState => state(fragments(kernel, programs, { role: 'auto' }));

/** Plans and applies, with the ledger of the plan before. */
class History {
  readonly kernel: FakeKernel;
  ledger: Ledger = emptyLedger(false);
  constructor(kernel: FakeKernel = makeKernel()) { this.kernel = kernel; }

  async reach(wanted: NodeState, fields: PlanFields = {}): Promise<string[]> {
    const p = await fullPlan(this.kernel, wanted, { ledger: this.ledger, ...fields });
    assert.deepEqual(await apply(p.operations, this.kernel), []);
    this.ledger = p.ledgerAfter;
    return lines(p);
  }
}

const NOTHING = state([]);
const NAT = program();
const NAT2 = program({ owner: 'default/second', vips: ['10.0.1.201'] });
const DR = program({ owner: 'default/dr', mode: 'DR', realServers: ['10.0.1.11'] });
const TUN = program({ owner: 'default/tun', mode: 'TUN', realServers: ['10.0.1.11'] });
const FORWARD = 'net/ipv4/ip_forward';

test('rules that stand as wished are no difference, whatever the order of their members', async () => {
  const h = new History();
  const wanted = wish(h.kernel, [program({ sourceAddress: 'Masquerade' }), program({ owner: 'a/b', vips: ['10.0.1.9', 'fd00:1::9'], port: 443, sourceAddress: 'VirtualIP' })]);
  assert.ok((await h.reach(wanted)).length > 0);
  assert.deepEqual(await h.reach(wanted), []);
});

// ---- sysctls

test('the original is remembered once, drift is repaired, and the last user restores it', async () => {
  const h = new History();
  const { net } = h.kernel;
  await h.reach(wish(h.kernel, [NAT, NAT2]));
  assert.deepEqual([net.sysctls.get(FORWARD), h.ledger.sysctls[FORWARD]], ['1', { original: '0', value: '1', owner: 'default/second' }]);
  net.write(FORWARD, '0');
  const drift = await h.reach(wish(h.kernel, [NAT, NAT2]));
  assert.deepEqual(drift.filter((l) => l.includes(FORWARD)), [`set sysctl ${FORWARD} = 1 (was 0)`]);
  assert.deepEqual(h.ledger.sysctls[FORWARD], { original: '0', value: '1', owner: 'default/second' });
  assert.deepEqual((await h.reach(wish(h.kernel, [NAT]))).filter((l) => l.includes(FORWARD)), [], 'one user is left');
  await h.reach(NOTHING);
  assert.equal(net.sysctls.get(FORWARD), '0');
  assert.ok(ownsNothing(h.ledger));
});

test('an edit from NAT to DR took forwarding away, and connections that had begun in NAT hung: it stays while the VirtualServer is served, over restarts too', async () => {
  const h = new History();
  await h.reach(wish(h.kernel, [NAT, DR]));
  const direct = program({ mode: 'DR' });
  for (let pass = 0; pass < 2; pass++) {
    assert.deepEqual((await h.reach(wish(h.kernel, [direct, DR]))).filter((l) => l.includes('sysctl')), []);
    assert.equal(h.kernel.net.sysctls.get(FORWARD), '1');
    h.ledger = readLedger(JSON.parse(JSON.stringify(h.ledger)))!;
  }
  await h.reach(wish(h.kernel, [DR]));
  assert.equal(h.kernel.net.sysctls.get(FORWARD), '0', 'given back with the VirtualServer that wanted it, whoever else is served');
});

test('an edit from NAT to DR took the last source NAT away, and with it the tracking of connections that had begun in NAT: it stays while they may be there', async () => {
  const h = new History();
  const nat = program({ sourceAddress: 'Masquerade' });
  await h.reach(wish(h.kernel, [nat]));
  const before = h.kernel.net.readRules();
  assert.equal(before?.sourceNat.length, 1);
  for (const mode of ['DR', 'TUN', 'DR'] as const) {
    await h.reach(wish(h.kernel, [program({ mode })]));
    assert.deepEqual(h.kernel.net.readRules(), before, mode);
  }
  await h.reach(wish(h.kernel, [program({ sourceAddress: 'Preserve' })]));
  assert.deepEqual(h.kernel.net.readRules()?.sourceNat ?? [], [], 'in NAT it would translate new ones');
  await h.reach(wish(h.kernel, [nat]));
  await h.reach(wish(h.kernel, [program({ mode: 'DR' })]));
  await h.reach(wish(h.kernel, [program({ mode: 'DR', port: 81 })]));
  assert.deepEqual(h.kernel.net.readRules()?.sourceNat ?? [], [], 'its service is gone');
  await h.reach(NOTHING);
  assert.ok(ownsNothing(h.ledger));
});

test('a value that stood as we want it is guarded too: what somebody puts there meanwhile does not become the original', async () => {
  const h = new History();
  const path = 'net/ipv4/conf/all/arp_ignore';
  h.kernel.net.write(path, '1');
  await h.reach(wish(h.kernel, [DR]));
  h.kernel.net.write(path, '0');
  await h.reach(wish(h.kernel, [DR]));
  await h.reach(NOTHING);
  assert.equal(h.kernel.net.sysctls.get(path), '1');
});

test('a sysctl that somebody changed after us is theirs: it is not restored', async () => {
  const h = new History();
  await h.reach(wish(h.kernel, [DR]));
  h.kernel.net.write('net/ipv4/conf/all/arp_ignore', '2');
  assert.deepEqual((await h.reach(NOTHING)).filter((l) => l.includes('arp_ignore')), []);
  assert.equal(h.kernel.net.sysctls.get('net/ipv4/conf/all/arp_ignore'), '2');
  assert.ok(ownsNothing(h.ledger));
});

test('accept_ra goes from 1 to 2 and back, and never from 0', async () => {
  for (const [before, during] of [['1', '2'], ['0', '0'], ['2', '2']] as const) {
    const h = new History();
    h.kernel.net.write('net/ipv6/conf/e0/accept_ra', before);
    await h.reach(wish(h.kernel, [program({ vips: ['fd00:1::200'], realServers: ['fd00:1::21'] })]));
    assert.equal(h.kernel.net.sysctls.get('net/ipv6/conf/e0/accept_ra'), during);
    if (before === '1') {
      h.kernel.net.write('net/ipv6/conf/e0/accept_ra', '0');
      assert.deepEqual(await h.reach(wish(h.kernel, [program({ vips: ['fd00:1::200'], realServers: ['fd00:1::21'] })])), [], 'switched off by somebody: not ours to switch on');
      h.kernel.net.write('net/ipv6/conf/e0/accept_ra', '2');
    }
    await h.reach(NOTHING);
    assert.equal(h.kernel.net.sysctls.get('net/ipv6/conf/e0/accept_ra'), before);
  }
});

for (const redirects of ['0', '1']) {
  for (const device of ['0', '1']) {
    test(`forwarding taken and given back leaves accept_redirects ${redirects} and a device's own forwarding ${device} as they stood`, async () => {
      const h = new History();
      const { net } = h.kernel;
      net.write('net/ipv4/conf/all/accept_redirects', redirects);
      net.write('net/ipv4/conf/e1/forwarding', device);
      net.write('net/ipv6/conf/e1/forwarding', device);
      h.kernel.ipvs.capabilities();
      const before = h.kernel.snapshot();
      await h.reach(wish(h.kernel, [program({ vips: ['10.0.1.200', 'fd00:1::200'], realServers: ['10.0.1.21', 'fd00:1::21'] })]));
      assert.equal(net.sysctls.get('net/ipv4/conf/all/accept_redirects'), redirects);
      assert.deepEqual(['ipv4', 'ipv6'].map((f) => net.sysctls.get(`net/${f}/conf/e1/forwarding`)), ['1', '1']);
      assert.deepEqual(await h.reach(wish(h.kernel, [program({ vips: ['10.0.1.200', 'fd00:1::200'], realServers: ['10.0.1.21', 'fd00:1::21'] })])), []);
      await h.reach(NOTHING);
      assert.deepEqual(h.kernel.snapshot(), before);
      assert.ok(ownsNothing(h.ledger));
    });
  }
}

test('a sysctl that does not exist is a note, not an operation', async () => {
  const kernel = makeKernel();
  kernel.net.sysctls.delete('net/ipv4/conf/e0/send_redirects');
  const p = await fullPlan(kernel, wish(kernel, [NAT]));
  assert.deepEqual(lines(p).filter((l) => l.includes('e0/send_redirects')), []);
  assert.deepEqual(p.notes, ['sysctl net/ipv4/conf/e0/send_redirects does not exist: is its module loaded?']);
});

// ---- tunnels

test('a tunnel of ours that somebody rebuilt otherwise is made anew, with its address and sysctls, in one pass', async () => {
  const h = new History();
  const wanted = wish(h.kernel, [TUN]);
  await h.reach(wanted);
  const [name] = [...wanted.shared.tunnels.keys()];
  h.kernel.net.links = h.kernel.net.links.map((l) => (l.name === name ? { ...l, tunnelLocal: '10.0.9.9' } : l));
  const done = await h.reach(wanted);
  assert.deepEqual(done.map((l) => l.split(' ').slice(0, 2).join(' ')), ['delete tunnel', 'add tunnel', 'set link', 'set sysctl', 'add address']);
  assert.deepEqual(await h.reach(wanted), []);
});

test('a tunnel that is down is set up', async () => {
  const h = new History();
  const wanted = wish(h.kernel, [TUN]);
  await h.reach(wanted);
  h.kernel.net.links = h.kernel.net.links.map((l) => ({ ...l, up: l.kind === '' }));
  assert.deepEqual((await h.reach(wanted)).map((l) => l.split(' ')[1]), ['link']);
});

test('a device with the name of ours that the ledger does not know is left as it is', async () => {
  const h = new History();
  const wanted = wish(h.kernel, [TUN]);
  const [name] = [...wanted.shared.tunnels.keys()];
  h.kernel.net.addLink({ name: name!, kind: 'gre', tunnelLocal: '10.0.9.9' });
  assert.deepEqual((await h.reach(wanted)).filter((l) => l.includes('tunnel')), []);
});

// ---- addresses

test("a VIP that is there already serves as it is; it stays somebody else's", async () => {
  const h = new History();
  h.kernel.net.address('lo', '10.0.1.200', 32);
  const first = await h.reach(wish(h.kernel, [DR]));
  assert.deepEqual(first.filter((l) => l.includes('address')), []);
  assert.deepEqual(await h.reach(NOTHING).then((l) => l.filter((x) => x.includes('address'))), []);
  assert.ok(h.kernel.net.addresses.some((a) => a.address === '10.0.1.200'));
});

test('with the ledger lost, an address with our mark is adopted when wanted and reported when not', async () => {
  const h = new History();
  h.kernel.net.address('lo', '10.0.1.200', 32, { protocol: ADDRESS_PROTOCOL, deprecated: true });
  h.kernel.net.address('lo', '10.0.1.250', 32, { protocol: ADDRESS_PROTOCOL, deprecated: true });
  h.ledger = emptyLedger(true);
  const p = await fullPlan(h.kernel, wish(h.kernel, [DR]), { ledger: h.ledger });
  assert.deepEqual(p.foreign.addresses, ['10.0.1.250 on lo']);
  assert.deepEqual(Object.keys(p.ledgerAfter.addresses), ['lo 10.0.1.200']);
  assert.deepEqual(lines(p).filter((l) => l.includes('address')), []);
});

test('an interrupted list of addresses adds nothing that could turn out to be somebody else\'s, and forgets nothing that is ours', async () => {
  const h = new History();
  h.kernel.net.address('lo', '10.0.1.200', 32);
  h.kernel.net.hide = (x) => 'address' in x && x.address === '10.0.1.200';
  const wanted = wish(h.kernel, [DR]);
  const p = await fullPlan(h.kernel, wanted, { ledger: h.ledger });
  assert.deepEqual([lines(p).filter((l) => l.includes('address')), p.ledgerAfter.addresses], [[], {}]);
  const vip = { link: 'lo', family: 'IPv4' as const, address: '10.0.1.201' };
  const ledger = { ...h.ledger, addresses: { 'lo 10.0.1.201': vip } };
  const q = await fullPlan(h.kernel, NOTHING, { ledger });
  assert.deepEqual(q.ledgerAfter.addresses, { 'lo 10.0.1.201': vip });
});

test('a GUE port that somebody else opened stays open', async () => {
  const h = new History();
  h.kernel.net.fou.push({ family: 'IPv4', port: 6080 });
  const gue = program({ mode: 'TUN', realServers: ['10.0.1.11'], tunnel: { encapsulation: 'GUE', port: 6080, checksum: 'None' } });
  await h.reach(wish(h.kernel, [gue]));
  await h.reach(NOTHING);
  assert.deepEqual(h.kernel.net.fou, [{ family: 'IPv4', port: 6080 }]);
});

// ---- what is held

test('while a refused VIP is served, nothing that it may need is given back; others still come', async () => {
  const h = new History();
  const masqueraded = program({ sourceAddress: 'Masquerade' });
  await h.reach(wish(h.kernel, [masqueraded]));
  const refused = new Map([[masqueraded.owner, new Set(['10.0.1.200'])]]);
  assert.deepEqual(await h.reach(NOTHING, { refused }), []);
  const other = wish(h.kernel, [program({ owner: 'default/other', vips: ['10.0.1.201'], sourceAddress: 'Masquerade' })]);
  const done = await h.reach(other, { refused });
  assert.ok(done.some((l) => l.startsWith('add service TCP 10.0.1.201:80')));
  assert.deepEqual(h.kernel.net.rules?.sourceNat.map((r) => r.vip), ['10.0.1.200', '10.0.1.201']);
  await h.reach(NOTHING);
  assert.ok(ownsNothing(h.ledger));
});

test('readLedger takes what we write and nothing else', () => {
  const ledger: Ledger = { ...emptyLedger(true), services: { 'TCP 10.0.1.200:80': { owner: 'a/b' } } };
  assert.deepEqual(readLedger(JSON.parse(JSON.stringify(ledger))), ledger);
  for (const wrong of [null, 1, 'x', [], {}, { ...ledger, version: 2 }, { ...ledger, services: null }, { ...ledger, syncDaemons: {} }, { ...ledger, addresses: 3 }]) {
    assert.equal(readLedger(wrong), null, JSON.stringify(wrong));
  }
});
