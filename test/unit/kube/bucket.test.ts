/** Bucket: a property over whole histories, and the wait that it names. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Bucket } from '../../../src/kube/bucket.ts';

const STEPS = fc.array(fc.record({ passed: fc.integer({ min: 0, max: 3_000 }), asks: fc.integer({ min: 0, max: 12 }) }), { maxLength: 40 });

test('never more than at once and a second together, whatever the history', () => {
  fc.assert(fc.property(STEPS, fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 }), (steps, atOnce, perSecond) => {
    const bucket = new Bucket({ atOnce, perSecond });
    let [now, given] = [0, 0];
    for (const { passed, asks } of steps) {
      now += passed;
      for (let i = 0; i < asks; i++) if (bucket.take(now) === 0) given++;
      assert.ok(given <= atOnce + now * perSecond / 1000 + 1e-6);
    }
  }));
});

test('who waits as long as it was told gets leave, and no sooner', () => {
  const bucket = new Bucket({ atOnce: 2, perSecond: 4 });
  assert.deepEqual([bucket.take(1_000), bucket.take(1_000), bucket.take(1_000)], [0, 0, 250]);
  assert.notEqual(bucket.take(1_249), 0);
  assert.equal(bucket.take(1_250), 0);
});

test('a clock that is set back gives nothing and takes nothing', () => {
  const bucket = new Bucket({ atOnce: 1, perSecond: 1 });
  assert.deepEqual([bucket.take(5_000), bucket.take(1_000), bucket.take(2_000)], [0, 1_000, 0]);
});

test('who reserves has a place in the queue, each after the one before', () => {
  const bucket = new Bucket({ atOnce: 2, perSecond: 4 });
  assert.deepEqual([1, 2, 3, 4].map(() => bucket.reserve(0)), [0, 0, 250, 500]);
  assert.equal(bucket.reserve(750), 0);
});
