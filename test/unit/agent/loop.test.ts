/** When the agent reconciles: at once, on drift, when due, and after failures slower each time. Time is fake. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Agent, Extent, Report } from '../../../src/agent/agent.ts';
import { Loop } from '../../../src/agent/loop.ts';
import { formatOperation } from '../../../src/agent/operation.ts';
import type { VipAddress } from '../../../src/kernel/net/types.ts';
import { silent } from './setup.ts';

/** A loop over an agent that only takes notes. Time passes when it is told to. */
class Bench {
  readonly done: string[] = [];
  readonly reports: (Report | unknown)[] = [];
  drifted: () => boolean = () => false;
  draining = false;
  lookedAtNode = false;
  outcome: () => Report = () => ({ operations: 0, failures: [], settled: true });
  change: () => void = () => {};
  drifts = 0;
  /** Null: everything is looked at in one pass. */
  readBack: () => { step(): string; tookMs: number } | null = () => null;
  now = 0;
  announced: ReadonlyMap<string, VipAddress> = new Map();
  readonly announcements: string[] = [];
  readonly loop: Loop;
  readonly #stop = new AbortController();
  readonly ended: Promise<void>;

  constructor(t: { after(fn: () => void | Promise<void>): void }, outcome?: () => Report) {
    if (outcome) this.outcome = outcome;
    const bench = this;
    const agent = {
      reconcile: async (extent: Extent) => { bench.done.push(`${bench.now} ${extent}`); return bench.outcome(); },
      readBack: () => bench.readBack(), conclude: async () => { bench.done.push(`${bench.now} conclude`); return bench.outcome(); },
      drifted: () => bench.drifted(), countDrift: () => { bench.drifts++; }, get draining() { return bench.draining; }, get pending() { return false; }, get announced() { return bench.announced; }, get lookedAtNode() { return bench.lookedAtNode; },
    } as unknown as Agent;
    this.loop = new Loop({ agent, net: { watch: (f) => { this.change = f; }, apply: async (operations) => { for (const o of operations) this.announcements.push(`${this.now} ${formatOperation(o)}`); return []; } }, log: silent, now: () => this.now, sleep: (ms, signal) => this.#sleep(ms, signal), onReport: (report, error) => this.reports.push(error ?? report) });
    this.ended = this.loop.run(this.#stop.signal);
    t.after(async () => {
      this.#stop.abort();
      await this.ended;
    });
  }

  stop(): void { this.#stop.abort(); }

  #alarm: { readonly at: number; readonly ring: () => void } | null = null;

  #sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      signal.addEventListener('abort', () => { this.#alarm = null; reject(new DOMException('woken', 'AbortError')); }, { once: true });
      this.#alarm = { at: this.now + ms, ring: resolve };
    });
  }

  async pass(ms: number): Promise<void> {
    const idle = async (): Promise<void> => { for (let k = 0; k < 5; k++) await new Promise((resolve) => { setImmediate(resolve); }); };
    const until = this.now + ms;
    for (await idle(); this.#alarm && this.#alarm.at <= until; await idle()) {
      const { at, ring } = this.#alarm;
      this.#alarm = null;
      this.now = at;
      ring();
    }
    this.now = until;
  }
}

test('everything at the start and every ten seconds; nothing in between while nothing happens', async (t) => {
  const b = new Bench(t);
  await b.pass(21_000);
  assert.deepEqual(b.done, ['0 full', '10000 full', '20000 full']);
});

test('a trigger is obeyed at once, the widest of several, once', async (t) => {
  const b = new Bench(t);
  await b.pass(200);
  b.loop.trigger('changes');
  b.loop.trigger('node');
  b.loop.trigger('changes');
  await b.pass(100);
  b.change();
  await b.pass(100);
  assert.deepEqual(b.done, ['0 full', '200 node', '300 node']);
});

test('the look of every second finds drift, and then everything is read', async (t) => {
  const b = new Bench(t);
  await b.pass(100);
  b.drifted = () => b.done.length === 1;
  await b.pass(3_000);
  assert.deepEqual([b.done, b.drifts], [['0 full', '1000 full'], 1]);
});

test('a look that fails reads everything instead of failing the loop', async (t) => {
  const b = new Bench(t);
  await b.pass(100);
  b.drifted = () => { if (b.done.length === 1) throw new Error('EIO'); return false; };
  await b.pass(1_500);
  assert.deepEqual(b.done, ['0 full', '1000 full']);
});

test('while something drains, its services are looked at each second', async (t) => {
  const b = new Bench(t);
  b.draining = true;
  await b.pass(2_500);
  assert.deepEqual(b.done.map((l) => l.split(' ')[1]), ['full', 'changes', 'changes']);
});

test('failures are tried again after 1, 2, 4 ... seconds, at most 30, and at once when something changes', async (t) => {
  let fail = true;
  const b = new Bench(t, () => { if (fail) throw new Error('no'); return { operations: 1, failures: [], settled: true }; });
  await b.pass(15_000);
  assert.deepEqual(b.done.map((l) => Number(l.split(' ')[0])), [0, 1000, 3000, 7000, 15_000]);
  assert.ok(b.reports.every((r) => r instanceof Error));
  await b.pass(90_000);
  const times = b.done.map((l) => Number(l.split(' ')[0]));
  assert.equal(times.at(-1)! - times.at(-2)!, 30_000);
  fail = false;
  b.loop.trigger('changes');
  await b.pass(50);
  assert.equal(b.done.length, times.length + 1);
  await b.pass(9_000);
  assert.equal(b.done.length, times.length + 1, 'all is well: no more haste');
});

test('whoever takes reports and fails keeps nothing from being reconciled', async (t) => {
  const b = new Bench(t);
  b.reports.push = () => { throw new Error('no'); };
  await b.pass(21_000);
  assert.deepEqual(b.done, ['0 full', '10000 full', '20000 full']);
});

test('an operation that failed is a reason to try again, too', async (t) => {
  let tries = 0;
  const b = new Bench(t, () => ({ operations: 1, failures: ++tries < 3 ? [{} as never] : [], settled: false }));
  await b.pass(8_000);
  assert.deepEqual(b.done, ['0 full', '1000 full', '3000 full']);
});

test('an operation that goes on failing does not slow the comparison of everything else', async (t) => {
  const b = new Bench(t, () => ({ operations: 1, failures: [{} as never], settled: false }));
  await b.pass(60_000);
  const times = b.done.map((l) => Number(l.split(' ')[0]));
  for (let i = 1; i < times.length; i++) assert.ok(times[i]! - times[i - 1]! <= 10_000, times.join());
});

test('a VIP that is held is announced again after one and two seconds, then once a minute, and no more when it is gone', async (t) => {
  const b = new Bench(t);
  b.announced = new Map([['e0 192.0.2.1', { link: 'e0', family: 'IPv4', address: '192.0.2.1' }]]);
  await b.pass(125_500);
  const times = b.announcements.map((l) => Math.round(Number(l.split(' ')[0]) / 1000));
  assert.deepEqual(times, [1, 2, 62, 122]);
  assert.match(b.announcements[0]!, /announce 192\.0\.2\.1 on e0/);
  b.announced = new Map();
  await b.pass(120_000);
  assert.equal(b.announcements.length, 4);
});

test('after a long pass that looked at the node changes are gathered for a moment; after one over an endpoint they are not', async (t) => {
  const b = new Bench(t);
  await b.pass(100);
  // Each pass takes 10 ms.
  b.outcome = () => { b.now += 10; return { operations: 1, failures: [], settled: true }; };
  for (const looked of [true, false]) {
    b.lookedAtNode = looked;
    b.loop.trigger('changes');
    await b.pass(11);
    b.loop.trigger('changes');
    await b.pass(89);
  }
  assert.deepEqual(b.done, ['0 full', '100 changes', '140 changes', '200 changes', '211 changes']);
});

/** A comparison of so many pieces. `before`: called before each. */
function pieces(b: Bench, n: number, before: (left: number) => void = () => {}): Bench['readBack'] {
  return () => {
    let left = n;
    return { tookMs: 0, step: () => { before(left); b.done.push(`${b.now} piece`); return --left > 0 ? 'more' : 'done'; } };
  };
}

test('every ten seconds everything is compared in pieces, and what comes meanwhile is done before the next piece', async (t) => {
  const b = new Bench(t);
  await b.pass(9_000);
  b.readBack = pieces(b, 4, (left) => { if (left === 3) b.loop.trigger('changes'); });
  await b.pass(11_500);
  assert.deepEqual(b.done, [
    '0 full', '10000 piece', '10000 piece', '10000 changes', '10000 piece', '10000 piece', '10000 conclude',
    '20000 piece', '20000 piece', '20000 changes', '20000 piece', '20000 piece', '20000 conclude',
  ]);
});

test('changes that never end do not keep the comparison from its end', async (t) => {
  const b = new Bench(t);
  await b.pass(9_000);
  b.readBack = pieces(b, 20);
  b.outcome = () => { b.now += 7; if (b.done.at(-1)!.endsWith('changes') && b.done.length < 500) b.loop.trigger('changes'); return { operations: 1, failures: [], settled: true }; };
  b.loop.trigger('changes');
  for (let i = 0; i < 40 && !b.done.some((l) => l.endsWith('conclude')); i++) await b.pass(100);
  assert.ok(b.done.some((l) => l.endsWith('conclude')), 'it came to its end');
  const from = b.done.findIndex((l) => l.endsWith('piece'));
  const until = b.done.findIndex((l) => l.endsWith('conclude'));
  assert.equal(b.done.slice(from, until).filter((l) => l.endsWith('changes')).length >= 19, true, 'and changes were done all the time');
});

test('what drains is looked at each second also while everything is compared, however long that takes', async (t) => {
  const b = new Bench(t);
  await b.pass(100);
  b.draining = true;
  let steps = 0;
  b.readBack = () => ({ step: () => { steps += 1; return 'more'; }, tookMs: 0 });
  await b.pass(9_900);
  // Some steps for each moment that passes.
  for (let i = 0; i < 40; i++) await b.pass(100);
  assert.ok(steps > 40, `${steps} steps`);
  assert.deepEqual(b.done.filter((line) => Number(line.split(' ')[0]) >= 11_000).map((line) => line.replace(/\d+ /, '')), ['changes', 'changes', 'changes'], b.done.join(', '));
});

test('drift leaves a comparison where it is: everything is looked at in one pass, and the next comparison comes ten seconds later', async (t) => {
  const b = new Bench(t);
  await b.pass(9_000);
  b.readBack = pieces(b, 4, (left) => { if (left === 2) b.loop.trigger('full'); });
  await b.pass(5_000);
  assert.deepEqual(b.done, ['0 full', '10000 piece', '10000 piece', '10000 piece', '10000 full']);
});

test('a comparison that waits for something keeps nobody waiting, and goes on when it is there', async (t) => {
  const b = new Bench(t);
  await b.pass(9_500);
  let [ready, steps] = [false, 0];
  b.readBack = () => ({ tookMs: 0, step: () => (ready ? 'done' : (steps++, 'waiting')) });
  b.draining = true;
  await b.pass(3_000);
  assert.deepEqual(b.done.filter((l) => l.endsWith('changes')).map((l) => l.split(' ')[0]), ['11000', '12000']);
  assert.ok(steps <= 4, 'and it does not turn in circles');
  ready = true;
  await b.pass(1_000);
  assert.ok(b.done.some((l) => l.endsWith('conclude')));
});

test('the signal ends it, also in the middle of a wait', async (t) => {
  const b = new Bench(t);
  await b.pass(100);
  b.stop();
  await b.ended;
  assert.deepEqual(b.done, ['0 full']);
});

test('a pass over changes that took long is followed by a pause, in which what comes is collected; a short one is not', async (t) => {
  const b = new Bench(t);
  await b.pass(100);
  let took = 20;
  b.lookedAtNode = true;
  // As if each VIP that is taken asked for a pass of its own.
  b.outcome = () => { b.now += took; b.loop.trigger('changes'); b.loop.trigger('changes'); return { operations: 1, failures: [], settled: true }; };
  b.loop.trigger('changes');
  await b.pass(200);
  assert.deepEqual(b.done.slice(1), ['100 changes', '170 changes', '240 changes']);
  took = 2;
  b.outcome = () => { b.now += took; if (b.done.length < 8) b.loop.trigger('changes'); return { operations: 1, failures: [], settled: true }; };
  await b.pass(100);
  assert.deepEqual(b.done.slice(4).map((line) => Number(line.split(' ')[0]) - Number(b.done[4]!.split(' ')[0])), [0, 2, 4, 6], 'one after the other');
});

test('when such passes come in a row for some time, the pauses are longer, until there was a second without one', async (t) => {
  const b = new Bench(t);
  await b.pass(100);
  b.lookedAtNode = true;
  let more = true;
  b.outcome = () => { b.now += 20; if (more) b.loop.trigger('changes'); return { operations: 1, failures: [], settled: true }; };
  b.loop.trigger('changes');
  await b.pass(1_500);
  const starts = (): number[] => b.done.filter((line) => line.endsWith(' changes')).map((line) => Number(line.split(' ')[0]));
  const between = starts().slice(1).map((at, i) => at - starts()[i]!);
  assert.deepEqual(between.slice(0, 8), Array(8).fill(70), 'eight of them: 20 ms, and three times as long, at most 50 ms');
  assert.deepEqual(between.slice(8, 11), Array(3).fill(220), 'then ten times as long');
  more = false;
  await b.pass(2_000);
  const [before] = [starts().length];
  more = true;
  b.loop.trigger('changes');
  await b.pass(200);
  assert.equal(starts()[before + 1]! - starts()[before]!, 70, 'as in the beginning');
});
