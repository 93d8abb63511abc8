/** The budget of writes, and work in parallel that one failure does not stop. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Budget, inParallel } from '../../../../src/controller/reconcile/budget.ts';
import { isAbort } from '../../../../src/kube/wait.ts';
import { FakeTime } from '../../kube/fake-time.ts';

const never = new AbortController().signal;

test('a burst goes at once, the rest at the rate, in order', async () => {
  const time = new FakeTime();
  const budget = new Budget({ perSecond: 10, burst: 3, now: time.now, sleep: time.sleep });
  const at: [number, number][] = [];
  for (let i = 0; i < 6; i++) void budget.take(never).then(() => at.push([i, time.now()]));
  await time.pass(1_000);
  assert.deepEqual(at, [[0, 0], [1, 0], [2, 0], [3, 100], [4, 200], [5, 300]]);
});

test('what is not used is saved, up to one burst', async () => {
  const time = new FakeTime();
  const budget = new Budget({ perSecond: 10, burst: 2, now: time.now, sleep: time.sleep });
  await time.pass(60_000);
  const at: number[] = [];
  for (let i = 0; i < 3; i++) void budget.take(never).then(() => at.push(time.now()));
  await time.pass(1_000);
  assert.deepEqual(at, [60_000, 60_000, 60_100]);
});

test('who waits for the budget can be told to stop', async () => {
  const time = new FakeTime();
  const budget = new Budget({ perSecond: 1, burst: 1, now: time.now, sleep: time.sleep });
  await budget.take(never);
  const stop = new AbortController();
  const waiting = budget.take(stop.signal);
  stop.abort();
  await assert.rejects(waiting, isAbort);
});

test('never more than so many at a time, and a failure is told and stops nothing', async () => {
  let [running, most] = [0, 0];
  const failed: string[] = [];
  const done: number[] = [];
  await inParallel(Array.from({ length: 20 }, (_, i) => i), 4, never, async (i) => {
    most = Math.max(most, ++running);
    await new Promise(setImmediate);
    running--;
    if (i % 7 === 0) throw new Error(`no ${i}`);
    done.push(i);
  }, (i, error) => failed.push(`${i}: ${(error as Error).message}`));
  assert.deepEqual([most, failed, done.length], [4, ['0: no 0', '7: no 7', '14: no 14'], 17]);
});

test('an abort ends it, and is no failure of an item', async () => {
  const stop = new AbortController();
  const failed: unknown[] = [];
  let begun = 0;
  await assert.rejects(inParallel([1, 2, 3, 4, 5], 1, stop.signal, async () => {
    if (++begun === 2) { stop.abort(); throw new Error('because of it'); }
  }, (_, e) => failed.push(e)));
  assert.deepEqual([begun, failed], [2, []]);
});
