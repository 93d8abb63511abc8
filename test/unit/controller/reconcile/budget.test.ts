/** The budget of writes. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Budget } from '../../../../src/controller/reconcile/budget.ts';
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
