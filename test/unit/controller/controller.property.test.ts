/**
 * Properties of the controller over random histories: whatever happened in whatever order, it comes to rest, what is there is sound, and a
 * second run over it writes nothing. With one controller that is killed and started again, and with two that lead at once.
 * RUNS=2000 makes it look longer than every run of the tests can.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { VirtualIP, VirtualServerProgram } from '../../../src/api/v1alpha1/index.ts';
import { Bench, seeded, type Running } from './bench.ts';
import { begin, claimedFirst, consistent, happen, NODE_NAMES, roughen, soundClaims, step, write, written, type Step, type Written } from './history.ts';

const seed = fc.integer({ min: 1, max: 1_000_000 });
const isWritten = (s: Step): s is Written => ['server', 'pool', 'group', 'node', 'service', 'slice', 'endpoints', 'namespace'].includes(s.do);

/** How late answers and events may be where two lead: what one does is news to the other before, during or after its own next pass. */
const LAGS_MS = [20, 120, 400] as const;

/** Errors of watchers, which must not disappear in what the controller does with them. */
function watched(b: Bench, check: (object: { readonly kind: string }) => void): { readonly faults: unknown[] } {
  const faults: unknown[] = [];
  b.api.changed = ({ type, object }) => {
    if (type === 'DELETED') return;
    try {
      check(object);
    } catch (error) {
      faults.push(error);
    }
  };
  return { faults };
}

/** Agents report until nothing changes any more by it. */
async function rest(b: Bench): Promise<void> {
  for (let i = 0; i < 4; i++) {
    await b.settle();
    const version = b.api.cluster.version;
    b.report(...NODE_NAMES);
    if (b.api.cluster.version === version) return;
  }
  await b.settle();
}

async function secondWritesNothing(b: Bench): Promise<void> {
  await b.stopAll();
  const was = b.picture();
  const { asked } = await b.runOnce('second');
  assert.equal(asked, 0, `the second run asked for ${JSON.stringify(b.api.asked.slice(-asked).map((c) => `${c.verb} ${c.kind} ${c.key}`))}`);
  assert.deepEqual(b.picture(), was);
}

test('whatever happens to one controller and its cluster, in the end all is sound and a second run writes nothing', { timeout: 600_000 }, async () => {
  await fc.assert(fc.asyncProperty(seed, fc.boolean(), fc.array(step, { minLength: 1, maxLength: 40 }), async (n, rough, steps) => {
    const b = new Bench(n, 25);
    begin(b);
    const spoilt = steps.some((s) => s.do === 'spoil' && s.kind === 'VirtualIP');
    const { faults } = watched(b, (object) => {
      if (object.kind === 'VirtualIP') soundClaims(object as unknown as VirtualIP);
      if (object.kind === 'VirtualServerProgram' && !spoilt) claimedFirst(b, object as unknown as VirtualServerProgram);
    });
    const smooth = rough ? roughen(b, seeded(n)) : () => {};
    let running: Running = b.start('first');
    for (const [i, s] of steps.entries()) {
      if (isWritten(s)) write(b, s);
      else if (s.do === 'restart') {
        await running.stop();
        running = b.start(`after ${i}`);
      } else await happen(b, s);
    }
    await b.pass(2_000);
    smooth();
    await rest(b);
    if (faults.length > 0) throw faults[0];
    consistent(b);
    await secondWritesNothing(b);
  }), { numRuns: Number(process.env['RUNS'] ?? 12) });
});

test('two controllers that lead at once give no address twice, and come to rest', { timeout: 600_000 }, async () => {
  await fc.assert(fc.asyncProperty(seed, fc.boolean(), fc.array(step, { minLength: 1, maxLength: 40 }), async (n, rough, steps) => {
    const b = new Bench(n, LAGS_MS[n % LAGS_MS.length]);
    begin(b);
    const { faults } = watched(b, (object) => { if (object.kind === 'VirtualIP') soundClaims(object as unknown as VirtualIP); });
    const smooth = rough ? roughen(b, seeded(n)) : () => {};
    const both: Running[] = [b.start('left'), b.start('right')];
    for (const [i, s] of steps.entries()) {
      if (isWritten(s)) write(b, s);
      else if (s.do === 'restart') {
        await both[i % 2]!.stop();
        both[i % 2] = b.start(`after ${i}`);
      } else await happen(b, s);
    }
    await b.pass(2_000);
    smooth();
    await rest(b);
    if (faults.length > 0) throw faults[0];
    consistent(b);
    await secondWritesNothing(b);
  }), { numRuns: Number(process.env['RUNS'] ?? 10) });
});

test('of a VirtualServer that waits for nodes to receive in its new mode two controllers kept two forms of before, and wrote them over each other for ever', async () => {
  const web = { drop: false, anew: true, spec: { vip: { addresses: ['203.0.113.1'] }, ports: [{ port: 80 }], backends: [{ serviceRef: { name: 'web' } }], suspend: false } };
  const steps: readonly Step[] = [
    { do: 'node', n: 1, labels: { role: 'web' }, drop: false }, { do: 'server', key: 'a/two', ...web }, { do: 'wait', ms: 5 }, { do: 'wait', ms: 5 },
    { do: 'group', name: 'edge', spec: {}, drop: true }, { do: 'wait', ms: 5 }, { do: 'wait', ms: 5 }, { do: 'report' }, { do: 'wait', ms: 5 },
    { do: 'server', key: 'a/two', drop: false, anew: true, spec: { ports: [{ port: 80 }], mode: 'DR', backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }], suspend: false } },
    { do: 'wait', ms: 300 }, { do: 'break' },
  ];
  for (const [n, lag] of [[26_337, 120], [1, 120], [2, 120], [3, 120], [4, 20], [5, 400]] as const) {
    const b = new Bench(n, lag);
    begin(b);
    b.start('left');
    b.start('right');
    for (const s of steps) await (isWritten(s) ? write(b, s) : happen(b, s as Exclude<Step, Written>));
    await b.pass(2_000);
    await rest(b);
    consistent(b);
    await b.stopAll();
  }
});

test('of a range that became AllPorts two controllers, one begun anew meanwhile, had two marks, and wrote them over each other for ever', async () => {
  const shop = (spec: Record<string, unknown>, anew: boolean): Written => ({ do: 'server', key: 'a/three', drop: false, anew, spec: { suspend: false, ...spec } });
  const b = new Bench(10, 120);
  begin(b);
  b.start('left');
  const right = b.start('right');
  await b.pass(2_000);
  await right.stop();
  b.start('after 1');
  write(b, shop({ ports: [{ port: 3000, endPort: 3010 }], backends: [{ static: { endpoints: [{ address: '10.0.0.3' }] } }] }, true));
  b.report(...NODE_NAMES);
  write(b, shop({ ports: [{ port: 80 }, { port: 81 }], persistence: { timeoutSeconds: 60, scope: 'AllPorts' }, backends: [{ serviceRef: { name: 'web' } }] }, false));
  await b.pass(2_000);
  await rest(b);
  consistent(b);
  await b.stopAll();
});

test('the same objects give the same result, in whatever order they were written and heard of', { timeout: 600_000 }, async () => {
  await fc.assert(fc.asyncProperty(seed, seed, fc.array(written, { minLength: 1, maxLength: 20 }), async (n, m, objects) => {
    const last = [...new Map(objects.map((o) => [JSON.stringify([o.do, 'key' in o ? o.key : 'name' in o ? o.name : o.n, 'hosts' in o && 'n' in o ? o.n : 0]), o])).values()];
    const pictures: unknown[] = [];
    for (const s of [n, m]) {
      const b = new Bench(s, 25);
      const random = seeded(s);
      begin(b);
      for (const o of last.map((one) => ({ one, at: random() })).sort((x, y) => x.at - y.at)) write(b, o.one);
      b.start();
      await rest(b);
      await b.stopAll();
      pictures.push(b.picture());
    }
    assert.deepEqual(pictures[0], pictures[1]);
  }), { numRuns: Number(process.env['RUNS'] ?? 12) });
});

test('of a VirtualServer that is refused two controllers, one of which had never seen the form that is served, said other things about its references, for ever; and so did a restart', async () => {
  const b = new Bench(567_137, 400);
  begin(b);
  b.start('left');
  b.start('right');
  const server = (key: string, anew: boolean, spec: Record<string, unknown>): Written => ({ do: 'server', key, drop: false, anew, spec: { ports: [{ port: 80 }], suspend: false, ...spec } });
  const backends = [{ serviceRef: { name: 'web' } }];
  const steps: readonly Step[] = [
    { do: 'wait', ms: 300 }, { do: 'wait', ms: 60 }, server('a/one', true, { backends }), { do: 'slice', key: 'a/web', n: 1, hosts: [], drop: false }, server('a/two', true, { vip: { poolRef: { name: 'second' } }, backends }),
    server('a/two', false, { vip: { addresses: ['203.0.113.1'] }, mode: 'DR', backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }] }),
  ];
  for (const s of steps) await (isWritten(s) ? write(b, s) : happen(b, s as Exclude<Step, Written>));
  await b.pass(2_000);
  await rest(b);
  consistent(b);
  // Of spec.backends[0].serviceRef, which the spec of this generation does not have, nothing is said.
  assert.deepEqual([b.condition('a/two', 'Accepted'), b.condition('a/two', 'ResolvedRefs')], ['False PortConflict', 'True ResolvedRefs']);
  await secondWritesNothing(b);
});
