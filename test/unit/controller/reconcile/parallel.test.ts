/** Work in parallel that one failure does not stop. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { inParallel } from '../../../../src/controller/reconcile/parallel.ts';

const never = new AbortController().signal;

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
