/** Writing behind the work: soon, together, and never most of the time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Deferred } from '../../../src/agent/deferred.ts';

test('what is asked for several times in a row is written once, after the work', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let written = 0;
  const deferred = new Deferred(() => { written++; }, { now: () => 0 });
  deferred.ask();
  deferred.ask();
  assert.equal(written, 0);
  context.mock.timers.tick(1);
  assert.equal(written, 1);
  deferred.ask();
  context.mock.timers.tick(1);
  assert.equal(written, 2);
});

test('a writing that takes long is followed by a pause twenty times as long', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let now = 0;
  const starts: number[] = [];
  const deferred = new Deferred(() => { starts.push(now); now += 100; }, { now: () => now });
  for (const tick of [0, 0, 1000, 1900]) {
    now += tick;
    deferred.ask();
    context.mock.timers.tick(Math.max(tick, 1));
  }
  assert.deepEqual(starts, [0, 3000]);
});

test('a writing that took seconds kept the next one waiting for a minute, and a node that rebooted meanwhile served what it was told before', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let now = 0;
  const starts: number[] = [];
  const deferred = new Deferred(() => { starts.push(now); now += 3_000; }, { now: () => now });
  const pass = (ms: number): void => { now += ms; context.mock.timers.tick(ms); };
  deferred.ask();
  pass(1);
  deferred.ask();
  pass(4_999);
  assert.deepEqual(starts, [1]);
  pass(1);
  assert.deepEqual(starts, [1, 8_001]);
});

test('flush writes what was asked for at once, and nothing twice', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let written = 0;
  const deferred = new Deferred(() => { written++; }, { now: () => 0 });
  deferred.flush();
  assert.equal(written, 0);
  deferred.ask();
  deferred.flush();
  context.mock.timers.tick(1000);
  assert.equal(written, 1);
});

test('what is written in pieces is written again when it is asked for meanwhile, and waits its pause', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let now = 0;
  const starts: number[] = [];
  const ends: (() => void)[] = [];
  const deferred = new Deferred(() => assert.fail('in one piece'), { now: () => now, delayMs: 500, slowly: () => { starts.push(now); return new Promise<void>((done) => { ends.push(done); }); } });
  const pass = (ms: number): void => { now += ms; context.mock.timers.tick(ms); };
  deferred.ask();
  pass(499);
  assert.deepEqual(starts, []);
  pass(1);
  assert.deepEqual(starts, [500]);
  deferred.ask();
  deferred.ask();
  pass(100);
  assert.deepEqual(starts, [500], 'not two at a time');
  ends[0]!();
  await new Promise(setImmediate);
  pass(1_999);
  assert.deepEqual(starts, [500], 'it took 100 ms, and pauses for 2 s');
  pass(1);
  assert.deepEqual(starts, [500, 2_600]);
});

test('flush writes in one piece what is being written in pieces, for the process may end', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let whole = 0;
  const deferred = new Deferred(() => { whole++; }, { now: () => 0, slowly: () => new Promise<void>(() => {}) });
  deferred.ask();
  context.mock.timers.tick(1);
  deferred.flush();
  assert.equal(whole, 1);
});
