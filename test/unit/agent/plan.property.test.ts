/**
 * Random histories through plan, apply and the fake kernel: what was wished is reached, then nothing is left to do; strangers are
 * untouched at every step; order and drains hold; a kill anywhere changes nothing about the end; a cleanup gives the node back.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Agent, Report } from '../../../src/agent/agent.ts';
import { desired } from '../../../src/agent/desired.ts';
import { emptyLedger } from '../../../src/agent/ledger.ts';
import { formatOperation, isIpvs, unfold, type Operation } from '../../../src/agent/operation.ts';
import type { GroupSettings, Program } from '../../../src/api/v1alpha1/program.ts';
import { destinationKey, serviceKey, type Destination, type Service } from '../../../src/kernel/ipvs/types.ts';
import { Killed, type FakeKernel } from '../fake-kernel.ts';
import { assertReached, change, groups, node, programs, role, strangeNode } from './properties.ts';
import { facts, fullPlan, state, TestNode } from './setup.ts';

const RUNS = { numRuns: 40, endOnFailure: true } as const;
const HOUR = 3_600_000;

/** Reconciles until nothing is left to do, with the clock moved on so that drains end. Returns how often something was done. */
async function settle(agent: Agent, host: TestNode): Promise<Report> {
  let report = await agent.reconcile('full');
  for (let i = 0; report.operations > 0 || agent.draining; i++) {
    assert.ok(i < 12, 'it never settles');
    assert.deepEqual(report.failures, []);
    host.now += HOUR;
    report = await agent.reconcile('full');
  }
  return report;
}

function wish(kernel: FakeKernel, agent: Agent, list: readonly Program[], group: GroupSettings, choice: 'director' | 'real-server' | 'both') {
  // The node's own facts, with our VIPs left out as the agent does.
  const ours = new Set(kernel.net.addresses.filter((a) => a.protocol !== 0).map((a) => `${a.link} ${a.address}`));
  const index = facts(kernel, { role: choice, ours });
  void agent;
  return state(list.map((p) => desired(p, group, index)), [group]);
}

const conflictsOf = (agent: Agent) => new Set(agent.view.refusals.filter((r) => r.code === 'ForeignConflict').map((r) => /a service (.*) of somebody else/.exec(r.message)![1]!));

/** Throws when an operation comes at the wrong time. */
function watchOrder(kernel: FakeKernel, drainOf: (key: string) => number | undefined): void {
  const weights = new Map<string, number>();
  const before = new Map<string, number>();
  for (const [key, s] of kernel.ipvs.services) for (const [d, { destination }] of s.destinations) before.set(`${key} -> ${d}`, destination.weight);
  kernel.onStep = (o) => {
    if (!('destination' in o)) return;
    const key = serviceKey(o.service);
    const id = `${key} -> ${destinationKey(o.destination)}`;
    if (o.kind !== 'delDestination') weights.set(id, o.destination.weight);
    else if (drainOf(key) !== 0) assert.equal(weights.get(id) ?? before.get(id), 0, `${id} was deleted with a weight`);
  };
}

const ADDS = new Set(['addService', 'addDestination', 'addTunnel', 'addAddress', 'addFou', 'addLocalRoute']);
const DELETES = new Set(['delService', 'delDestination', 'delAddress', 'delFou']);

test('from any state to any other: reached, nothing left to do, strangers untouched at every step, adds before deletes', async (t) => {
  await fc.assert(fc.asyncProperty(node, role, groups, groups, programs, programs, async (r, choice, g1, g2, old, next) => {
    const { kernel, foreign } = strangeNode(r);
    const host = new TestNode(t, { role: choice }, kernel);
    const strangers = foreign();
    const agent = host.start([], []);
    await agent.reconcile('full');
    for (const [list, group] of [[old, g1], [next, g2]] as const) {
      const gone = old.filter((p) => !list.includes(p)).map((p) => [p.owner, null] as const);
      agent.update(new Map<string, Program | null>([...gone, ...list.map((p) => [p.owner, p] as const)]), new Map([[group.name, group]]));
      const drains = new Map([...agent.view.fragments.values(), ...list.map((p) => desired(p, group, facts(kernel, { role: choice })))].flatMap((f) => f.services.map((s) => [serviceKey(s.service), s.drainSeconds])));
      watchOrder(kernel, (key) => drains.get(key));
      const watch = kernel.onStep;
      kernel.onStep = (o) => {
        watch(o);
        assert.equal(foreign(), strangers, `after ${formatOperation(o)}`);
      };
      const planned = (await agent.preview()).operations;
      const lastAdd = planned.findLastIndex((o) => ADDS.has(o.kind));
      const firstDelete = planned.findIndex((o) => DELETES.has(o.kind));
      assert.ok(firstDelete < 0 || firstDelete > lastAdd, planned.map(formatOperation).join('\n'));
      await settle(agent, host);
      assertReached(kernel, wish(kernel, agent, list, group, choice), conflictsOf(agent));
    }
    const again = await agent.reconcile('full');
    assert.equal(again.operations, 0);
    const reborn = host.start(next, [g2]);
    assert.equal((await reborn.reconcile('full')).operations, 0, 'a restart changes nothing');
  }), RUNS);
});

test('a kill after any operation, then a restart: the same end, and a cleanup gives back the node as it was', async (t) => {
  await fc.assert(fc.asyncProperty(node, role, groups, programs, programs, fc.array(fc.nat(40), { minLength: 1, maxLength: 4 }), async (r, choice, group, old, next, kills) => {
    const { kernel, foreign } = strangeNode(r);
    const before = kernel.snapshot();
    const strangers = foreign();
    const host = new TestNode(t, { role: choice }, kernel);
    const empty = host.start([], []);
    await empty.reconcile('full');
    for (const n of kills) {
      for (const list of [old, next]) {
        const agent = host.start(list, [group]);
        kernel.killAfter(n);
        await agent.reconcile('full').catch((error: unknown) => { if (!(error instanceof Killed)) throw error; });
        assert.equal(foreign(), strangers);
        host.now += 1000;
      }
    }
    const agent = host.start(next, [group]);
    await settle(agent, host);
    assertReached(kernel, wish(kernel, agent, next, group, choice), conflictsOf(agent));
    assert.equal(foreign(), strangers);

    const cleaner = host.start([], []);
    kernel.killAfter(kills[0]!);
    await cleaner.cleanup().catch((error: unknown) => { if (!(error instanceof Killed)) throw error; });
    const report = await host.start([], []).cleanup();
    assert.deepEqual(report.failures, []);
    assert.deepEqual(kernel.snapshot(), before);
  }), RUNS);
});

test('a real server that stood in a service when it was adopted is never touched, cleanup included', async (t) => {
  await fc.assert(fc.asyncProperty(node, programs, programs, async (r, old, next) => {
    const { kernel } = strangeNode({ ...r, conflict: true });
    const theirs = () => JSON.stringify(kernel.ipvs.services.get('TCP 10.0.1.200:81')?.destinations.get('10.0.1.96:8080'));
    const before = theirs();
    const host = new TestNode(t, {}, kernel);
    kernel.onStep = (o) => assert.equal(theirs(), before, `after ${formatOperation(o)}`);
    // Without a ledger: what stands where ours should is adopted, the rest is not ours for ever.
    await settle(host.start(old, []), host);
    await settle(host.start(next, []), host);
    await host.start([], []).cleanup();
    assert.equal(theirs(), before);
  }), RUNS);
});

test('one changed program at a time, seen by the narrow reconcile, ends where a full one ends', async (t) => {
  await fc.assert(fc.asyncProperty(node, role, groups, programs, fc.array(change, { minLength: 1, maxLength: 5 }), async (r, choice, group, start, changes) => {
    const { kernel, foreign } = strangeNode(r);
    const strangers = foreign();
    const host = new TestNode(t, { role: choice }, kernel);
    await host.start([], []).reconcile('full');
    const agent = host.start(start, [group]);
    await settle(agent, host);
    const now = new Map(start.map((p) => [p.owner, p]));
    for (const { owner, program } of changes) {
      if (program) now.set(owner, program);
      else now.delete(owner);
      agent.update(new Map([[owner, program]]));
      for (let i = 0; i < 4; i++) {
        const { failures } = await agent.reconcile('changes');
        assert.deepEqual(failures, []);
        host.now += HOUR;
      }
      assert.equal(agent.draining, false, 'a drain that is over is forgotten');
      assert.equal(foreign(), strangers);
    }
    const left = (await agent.preview()).operations;
    // A conflict of a narrow pass may have been cleared or made by a program that was not looked at.
    assert.deepEqual(left.map(formatOperation), []);
    assertReached(kernel, wish(kernel, agent, [...now.values()], group, choice), conflictsOf(agent));
  }), RUNS);
});

test('an incomplete observation never yields a deletion, whatever it misses', async () => {
  await fc.assert(fc.asyncProperty(node, role, programs, programs, fc.nat(7), fc.constantFrom('services', 'destinations', 'net', 'facts'), async (r, choice, old, next, salt, lie) => {
    const { kernel } = strangeNode(r);
    const hides = (text: string) => [...text].reduce((n, c) => n * 31 + c.charCodeAt(0), salt) % 3 === 0;
    const index = facts(kernel, { role: choice });
    const from = state(old.map((p) => desired(p, null, index)));
    const first = await fullPlan(kernel, from);
    const { apply } = await import('../../../src/agent/apply.ts');
    await apply(first.operations, kernel);
    if (lie === 'services') kernel.ipvs.lies = { services: { hide: hides } };
    if (lie === 'destinations') kernel.ipvs.lies = { destinations: { hide: (_, d) => hides(d) } };
    if (lie === 'net') kernel.net.hide = (x) => hides('address' in x ? x.address : x.name);
    const to = state(next.map((p) => desired(p, null, index)));
    const second = await fullPlan(kernel, to, { ledger: first.ledgerAfter, additive: lie === 'facts', now: HOUR });
    const gone = unfold(second.operations).filter((o) => deletes(o, lie));
    assert.deepEqual(gone.map(formatOperation), []);
  }), RUNS);
});

function deletes(o: Operation, lie: string): boolean {
  const kind = o.kind.startsWith('del') || o.kind === 'stopSync';
  if (lie === 'services') return kind && isIpvs(o);
  if (lie === 'destinations') return o.kind === 'delDestination';
  if (lie === 'net') return kind && !isIpvs(o);
  return kind;
}

test('a lost ledger never yields a deletion', async () => {
  await fc.assert(fc.asyncProperty(node, role, programs, programs, async (r, choice, old, next) => {
    const { kernel } = strangeNode(r);
    const index = facts(kernel, { role: choice });
    const { apply } = await import('../../../src/agent/apply.ts');
    await apply((await fullPlan(kernel, state(old.map((p) => desired(p, null, index))))).operations, kernel);
    const ledger = emptyLedger(true);
    const to = state(next.map((p) => desired(p, null, facts(kernel, { role: choice }))));
    const p = await fullPlan(kernel, to, { ledger });
    assert.deepEqual(unfold(p.operations).filter((o) => deletes(o, 'all')).map(formatOperation), []);
    const destinationsBefore = [...kernel.ipvs.services].flatMap(([k, s]) => [...s.destinations.keys()].map((d) => `${k} -> ${d}`));
    await apply(p.operations, kernel);
    const second = await fullPlan(kernel, to, { ledger: { ...p.ledgerAfter, fresh: false }, now: HOUR });
    // A real server that is wanted, and only in another mode, is ours.
    const isOurs = ({ service, destination }: { service: Service; destination: Destination }) => to.services.get(serviceKey(service))?.destinations.toArray().some((d) => d.address === destination.address);
    const touched = unfold(second.operations).filter((o) => o.kind === 'delDestination' && destinationsBefore.includes(`${serviceKey(o.service)} -> ${destinationKey(o.destination)}`) && !isOurs(o));
    assert.deepEqual(touched.map(formatOperation), [], 'what was found then is kept later, too');
  }), RUNS);
});
