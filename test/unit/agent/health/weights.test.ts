/** Weights: who decides, in which order, and slow start as a property of all weights, windows and moments. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { stepsOf, warmWeight } from '../../../../src/agent/health/slowstart.ts';
import { UNKNOWN, type Health } from '../../../../src/agent/health/verdict.ts';
import { effectiveWeight, type WeightCase } from '../../../../src/agent/health/weights.ts';

const up: Health = { ...UNKNOWN, state: 'Up', since: 1_000, everUp: true };
const back: Health = { ...up, recovered: true };
const down: Health = { ...UNKNOWN, state: 'Down', since: 1_000, everUp: true };
const usual: WeightCase = { written: 100, health: up, held: false, panic: false, onDown: 'Quiesce', appearedAt: null, slowStartMs: 0, scheduler: 'wrr' };

const cases: readonly { name: string; one: Partial<WeightCase>; weight: number | null; reason: string }[] = [
  { name: 'what is up has its written weight', one: {}, weight: 100, reason: 'Written' },
  { name: 'what is not checked too', one: { health: null }, weight: 100, reason: 'Written' },
  { name: 'what is down gets nothing new', one: { health: down }, weight: 0, reason: 'Down' },
  { name: 'with Remove it is no destination', one: { health: down, onDown: 'Remove' }, weight: null, reason: 'Down' },
  { name: 'held with all others it counts as up', one: { health: down, held: true, onDown: 'Remove' }, weight: 100, reason: 'Held' },
  { name: 'in a panic it counts as up', one: { health: down, panic: true }, weight: 100, reason: 'Panic' },
  { name: 'written 0 stays 0 whatever the check says', one: { written: 0, health: back, slowStartMs: 10_000 }, weight: 0, reason: 'Zero' },
  { name: 'unknown and never seen is given the benefit of the doubt', one: { health: UNKNOWN }, weight: 100, reason: 'AsBefore' },
  { name: 'who came back starts low', one: { health: back, slowStartMs: 10_000 }, weight: 9, reason: 'SlowStart' },
  { name: 'who appeared beside others starts low, before its first check already', one: { health: UNKNOWN, appearedAt: 1_000, slowStartMs: 10_000 }, weight: 9, reason: 'AsBefore' },
  { name: 'and after it', one: { appearedAt: 900, slowStartMs: 10_000 }, weight: 9, reason: 'SlowStart' },
  { name: 'who appeared and came back starts when it came back', one: { health: back, appearedAt: -9_000, slowStartMs: 10_000 }, weight: 9, reason: 'SlowStart' },
  { name: 'who appeared long ago has all of it', one: { appearedAt: -9_000, slowStartMs: 10_000 }, weight: 100, reason: 'Written' },
  { name: 'without slow start it is nothing to be new', one: { appearedAt: 1_000 }, weight: 100, reason: 'Written' },
  { name: 'who appeared and is down gets nothing', one: { health: down, appearedAt: 1_000, slowStartMs: 10_000 }, weight: 0, reason: 'Down' },
  { name: 'who was up from the start does not', one: { health: up, slowStartMs: 10_000 }, weight: 100, reason: 'Written' },
];
for (const { name, one, weight, reason } of cases) {
  test(name, () => {
    const got = effectiveWeight({ ...usual, ...one }, 1_000);
    assert.deepEqual({ weight: got.weight, reason: got.reason }, { weight, reason });
  });
}

test('slow start rises from the step to the whole, in the steps that it announces, and to nothing else', () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 65_535 }), fc.integer({ min: 1, max: 600_000 }), fc.constantFrom('wrr', 'mh', 'lc'), fc.integer({ min: 0, max: 1_000_000 }),
    (full, windowMs, scheduler, from) => {
      const start = { from, windowMs, steps: stepsOf(scheduler) };
      let at = from;
      let last = 0;
      let changes = 0;
      for (;;) {
        const { weight, nextChangeAt } = warmWeight(full, start, at);
        assert.ok(weight >= 1 && weight <= full && weight > last, `${weight} after ${last} of ${full}`);
        last = weight;
        if (nextChangeAt === null) break;
        assert.ok(nextChangeAt > at && nextChangeAt <= from + windowMs);
        for (const short of [1, 0.01]) assert.equal(warmWeight(full, start, Math.max(nextChangeAt - short, at)).weight, weight, 'it changes when it says, not before');
        at = nextChangeAt;
        assert.ok(++changes <= (scheduler === 'mh' ? 2 : 10));
      }
      assert.equal(last, full);
      assert.equal(warmWeight(full, start, from + windowMs).weight, full);
      assert.deepEqual(warmWeight(full, start, from - 5_000), warmWeight(full, start, from), 'a moment before it began is its beginning');
    },
  ));
});
