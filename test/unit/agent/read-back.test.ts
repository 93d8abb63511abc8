/** Everything compared in pieces: what it finds, what it leaves alone, and that changes between two pieces make nothing wrong. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import type { Agent, Report } from '../../../src/agent/agent.ts';
import type { Program } from '../../../src/api/v1alpha1/program.ts';
import { formatOperation, unfold, type Operation } from '../../../src/agent/operation.ts';
import type { FakeKernel } from '../fake-kernel.ts';
import { change, groups, node, programs, role, strangeNode } from './properties.ts';
import { destination, only, program, service, TestNode } from './setup.ts';

const RUNS = { numRuns: 40, endOnFailure: true } as const;
const HOUR = 3_600_000;
const never = new AbortController().signal;

/** Takes a comparison to its end, with a stop after each piece. */
async function compare(agent: Agent, between: (step: number) => Promise<void> = async () => {}): Promise<Report> {
  const readBack = agent.readBack(() => {}, never, 0);
  assert.ok(readBack, 'nothing is known to be wrong');
  for (let i = 0; readBack.step() !== 'done'; i++) {
    assert.ok(i < 500, 'it never ends');
    await between(i);
    await turn();
  }
  return agent.conclude(readBack);
}

/** What was done since `from`. */
const lines = ({ kernel }: TestNode, from = 0) => kernel.log.slice(from).map(formatOperation);
const shop = program({ vips: ['10.0.1.200', 'fd00:1::200'], realServers: ['10.0.1.21', '10.0.1.22', 'fd00:1::21'], sourceAddress: 'Masquerade' });
const others = Array.from({ length: 20 }, (_, i) => program({ owner: `default/s${i}`, vips: [`10.0.1.${100 + i}`] }));

test('where all is well it changes nothing, reads everything nowhere at once, and reports what a reconcile of everything does', async (t) => {
  const host = new TestNode(t);
  const { ipvs } = host.kernel;
  ipvs.put(service({ address: '10.0.1.99' }), [destination('10.0.1.98')]);
  await host.start([]).reconcile('full');
  const agent = host.start([shop, ...others]);
  await agent.reconcile('full');
  const full = await agent.reconcile('full');
  const { foreign, notes, refusals } = agent.view;
  const [before, reads] = [host.kernel.log.length, ipvs.reads.all];
  assert.deepEqual(await compare(agent), full);
  assert.deepEqual(lines(host, before), []);
  assert.equal(ipvs.reads.all, reads);
  assert.deepEqual({ foreign: agent.view.foreign, notes: agent.view.notes, refusals: agent.view.refusals }, { foreign, notes, refusals });
  assert.deepEqual(foreign.services, ['TCP 10.0.1.99:80']);
});

test('where real servers of all services are through with leaving, the records are gone through once, and not for each service', async (t) => {
  const host = new TestNode(t);
  const agent = host.start([shop, ...others]);
  await agent.reconcile('full');
  const with22 = (list: readonly Program[]): ReadonlyMap<string, Program> => new Map(list.map((p) => [p.owner, { ...p, spec: { ...p.spec, services: p.spec.services.map((s) => ({ ...s, realServers: s.realServers.slice(1) })) } }]));
  agent.update(with22(others));
  await agent.reconcile('changes');
  const drains = Object.keys(agent.view.drains).length;
  assert.ok(drains >= others.length, `${drains} drain`);
  const { keys, entries } = Object;
  let walks = 0;
  t.mock.method(Object, 'keys', (o: object) => { if (o === agent.view.drains) walks += 1; return keys(o); });
  t.mock.method(Object, 'entries', (o: object) => { if (o === agent.view.drains) walks += 1; return entries(o); });
  const readBack = agent.readBack(() => {}, never, 0)!;
  let pieces = 1;
  for (; readBack.step() !== 'done'; pieces++) await turn();
  t.mock.restoreAll();
  assert.equal(readBack.findings.services.size, drains, 'each of them is to be deleted');
  assert.ok(walks <= 2 * pieces, `${walks} walks over all records in ${pieces} pieces`);
  await agent.conclude(readBack);
  assert.deepEqual(agent.view.drains, {});
});

const DRIFTS: readonly (readonly [string, (kernel: FakeKernel) => void])[] = [
  ['a weight', ({ ipvs }) => { const d = ipvs.services.get('TCP 10.0.1.200:80')!.destinations.get('10.0.1.21:80')!; d.destination = { ...d.destination, weight: 9 }; }],
  ['a real server that is gone', ({ ipvs }) => { ipvs.services.get('TCP 10.0.1.200:80')!.destinations.delete('10.0.1.21:80'); }],
  ['a real server too many', ({ ipvs }) => { ipvs.services.get('TCP 10.0.1.200:80')!.destinations.set('10.0.1.66:80', { destination: destination('10.0.1.66'), active: 0, inactive: 0 }); }],
  ['a service that is gone', ({ ipvs }) => { ipvs.services.delete('TCP 10.0.1.117:80'); }],
  ['an IPv6 service that is gone', ({ ipvs }) => { ipvs.services.delete('TCP [fd00:1::200]:80'); }],
  ['a scheduler', ({ ipvs }) => { const s = ipvs.services.get('TCP 10.0.1.103:80')!; s.service = { ...s.service, scheduler: 'wlc' }; }],
  ['a VIP that is gone', ({ net }) => { net.addresses.splice(net.addresses.findIndex((a) => a.address === '10.0.1.200'), 1); }],
  ['the route of a VIP', ({ net }) => { net.localRoutes.splice(net.localRoutes.findIndex((r) => r.address === '10.0.1.105'), 1); }],
  ['a sysctl', ({ net }) => { net.write('net/ipv4/vs/conntrack', '0'); }],
  ['the rules', ({ net }) => { net.rules = null; }],
  ['all services', ({ ipvs }) => { ipvs.services.clear(); }],
];

for (const [what, drift] of DRIFTS) {
  test(`drift is found and put right: ${what}`, async (t) => {
    const host = new TestNode(t);
    const agent = host.start([shop, ...others]);
    await agent.reconcile('full');
    const good = host.kernel.snapshot();
    drift(host.kernel);
    assert.notDeepEqual(host.kernel.snapshot(), good, 'it is a drift');
    const report = await compare(agent);
    assert.deepEqual([report.failures, report.operations > 0], [[], true]);
    for (let i = 0; i < 3 && agent.draining; i++) {
      host.now += HOUR;
      await agent.reconcile('changes');
    }
    assert.deepEqual(host.kernel.snapshot(), good);
    assert.equal((await compare(agent)).operations, 0);
  });
}

test('somebody else\'s service that comes where ours was is reported and left alone, and its going is seen, too', async (t) => {
  const host = new TestNode(t);
  const agent = host.start([program(), ...others]);
  await agent.reconcile('full');
  agent.update(new Map([['default/shop', null]]));
  await agent.reconcile('changes');
  const stranger = host.kernel.ipvs.put(service({ scheduler: 'lc' }), [destination('10.9.9.9')]);
  agent.update(only(program()));
  await agent.reconcile('changes');
  assert.deepEqual((await compare(agent)).operations, 0);
  assert.deepEqual(agent.view.refusals.map((r) => r.code), ['ForeignConflict']);
  assert.equal(host.kernel.ipvs.services.get('TCP 10.0.1.200:80'), stranger);
  host.kernel.ipvs.services.delete('TCP 10.0.1.200:80');
  assert.deepEqual([(await compare(agent)).settled, agent.view.refusals], [true, []]);
  assert.equal(host.kernel.ipvs.services.get('TCP 10.0.1.200:80')?.service.scheduler, 'rr');
  assert.ok(host.kernel.net.addresses.some((a) => a.address === '10.0.1.200'), 'and its VIP is back');
});

test('what only a look at everything can settle is not looked at in pieces', async (t) => {
  const host = new TestNode(t);
  const agent = host.start([program()]);
  assert.equal(agent.readBack(() => {}, never), null, 'before the first reconcile');
  await agent.reconcile('full');
  assert.ok(agent.readBack(() => {}, never));
  host.kernel.refuse((o) => (o.kind === 'addDestination' ? { code: 'KERNEL_REFUSED' } as never : null));
  agent.update(only(program({ realServers: ['10.0.1.25'] })));
  await agent.reconcile('changes');
  assert.equal(agent.readBack(() => {}, never), null, 'while something fails');
});

test('a reading that breaks off is followed by a reconcile of everything', async (t) => {
  const host = new TestNode(t);
  const agent = host.start([program(), ...others]);
  await agent.reconcile('full');
  const { ipvs } = host.kernel;
  const reads = ipvs.reads.all;
  const readBack = agent.readBack(() => {}, never, 0)!;
  readBack.step();
  ipvs.services.delete('TCP 10.0.1.200:80');
  const [walk, readRules] = [ipvs.walk, host.kernel.net.observeSlowly];
  host.kernel.net.observeSlowly = () => Promise.reject(new Error('EIO'));
  while (readBack.step() !== 'done') await turn();
  assert.equal(readBack.findings.broken, true);
  assert.equal((await agent.conclude(readBack)).failures.length, 0);
  assert.equal(ipvs.reads.all, reads + 1);
  assert.ok(ipvs.services.has('TCP 10.0.1.200:80'));
  Object.assign(ipvs, { walk });
  host.kernel.net.observeSlowly = readRules;
});

test('whatever changes between two pieces, nothing is done that was not wanted, and nothing is left undone', async (t) => {
  const actions = fc.array(fc.record({ at: fc.nat(12), change }), { maxLength: 6 });
  await fc.assert(fc.asyncProperty(node, role, groups, programs, actions, async (r, choice, group, start, list) => {
    const { kernel, foreign } = strangeNode(r);
    const strangers = foreign();
    const host = new TestNode(t, { role: choice }, kernel);
    await host.start([], []).reconcile('full');
    const agent = host.start(start, [group]);
    await settle(agent, host);
    if (!agent.readBack(() => {}, never)) return;
    let passes = 0;
    const operations = { pieces: 0, changes: 0 };
    const count = (o: Operation): void => { operations[passes > 0 ? 'changes' : 'pieces']++; assert.equal(foreign(), strangers, formatOperation(o)); };
    kernel.onStep = count;
    const report = await compare(agent, async (step) => {
      for (const { at, change: { owner, program: p } } of list) {
        if (at !== step) continue;
        passes++;
        agent.update(new Map([[owner, p]]));
        assert.deepEqual((await agent.reconcile('changes')).failures, []);
        passes--;
      }
    });
    // Where nobody but us changed the kernel, the comparison finds nothing.
    assert.deepEqual([report.failures, operations.pieces], [[], 0]);
    await settle(agent, host);
    assert.deepEqual(unfold((await agent.preview()).operations).map(formatOperation), []);
    assert.equal(foreign(), strangers);
  }), RUNS);
});

test('drift that comes between two pieces is put right by this comparison or by the next one', async (t) => {
  await fc.assert(fc.asyncProperty(fc.nat(30), fc.nat(DRIFTS.length - 1), fc.nat(30), fc.nat(19), async (at, which, changeAt, changed) => {
    const host = new TestNode(t);
    const agent = host.start([shop, ...others]);
    await agent.reconcile('full');
    const next = program({ owner: `default/s${changed}`, vips: [`10.0.1.${100 + changed}`], realServers: ['10.0.1.21', '10.0.1.29'], drainTimeoutSeconds: 0 });
    await compare(agent, async (step) => {
      if (step === at) DRIFTS[which]![1](host.kernel);
      if (step !== changeAt) return;
      agent.update(only(next));
      await agent.reconcile('changes');
    });
    agent.update(only(next));
    await agent.reconcile('changes');
    await compare(agent);
    await settle(agent, host);
    const twin = new TestNode(t);
    const other = twin.start([shop, ...others.map((p) => (p.owner === next.owner ? next : p))]);
    await other.reconcile('full');
    assert.deepEqual(host.kernel.snapshot(), twin.kernel.snapshot());
  }), RUNS);
});

test('lists that miss something never lead to a deletion', async (t) => {
  await fc.assert(fc.asyncProperty(node, programs, fc.nat(7), fc.constantFrom('services', 'destinations', 'net'), async (r, list, salt, lie) => {
    const { kernel } = strangeNode(r);
    const host = new TestNode(t, {}, kernel);
    await host.start([], []).reconcile('full');
    const agent = host.start(list);
    await settle(agent, host);
    if (!agent.readBack(() => {}, never)) return;
    const hides = (text: string) => [...text].reduce((n, c) => n * 31 + c.charCodeAt(0), salt) % 3 === 0;
    const before = kernel.log.length;
    if (lie === 'services') kernel.ipvs.lies = { services: { hide: hides } };
    if (lie === 'destinations') kernel.ipvs.lies = { destinations: { hide: (_, d) => hides(d) } };
    if (lie === 'net') kernel.net.hide = (x) => hides('address' in x ? x.address : x.name);
    await compare(agent);
    assert.deepEqual(lines(host, before).filter((l) => l.startsWith('delete') || l.startsWith('stop')), []);
  }), RUNS);
});

/** By reconciles of everything, until nothing is left to do. */
async function settle(agent: Agent, host: TestNode): Promise<void> {
  for (let i = 0; (await agent.reconcile('full')).operations > 0 || agent.draining; i++) {
    assert.ok(i < 12, 'it never settles');
    host.now += HOUR;
  }
}
