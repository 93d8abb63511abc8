// What is drawn from a seed: the same each time, every kind of victim within a few seeds, seeds that are told apart.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { between, random, shuffled } from '../../lab/random.ts';
import { drawKills, seedsOf, SEEDS_PER_ROUND, victimKinds } from '../../lab/rollout/kills.ts';
import { rollout, servers } from '../../lab/rollout/fleet-services.ts';
import { STEPS } from '../../lab/rollout/rollout.ts';

test('a seed draws the same each time, and its neighbour something else from the first draw on', () => {
  const draw = (seed: number): number[] => { const next = random(seed); return Array.from({ length: 5 }, next); };
  assert.deepEqual(draw(7), draw(7));
  for (let seed = 0; seed < 100; seed++) assert.ok(Math.abs(draw(seed)[0]! - draw(seed + 1)[0]!) > 0.0001, `seeds ${seed} and ${seed + 1}`);
});

test('whole numbers come from the whole range and from nowhere else, and a shuffle keeps every element', () => {
  const next = random(1);
  assert.deepEqual([...new Set(Array.from({ length: 200 }, () => between(next, 3, 6)))].sort(), [3, 4, 5, 6]);
  const list = Array.from({ length: 10 }, (_, i) => i);
  const mixed = shuffled(next, list);
  assert.notDeepEqual(mixed, list);
  assert.deepEqual([...mixed].sort(), list);
});

test('every round of seeds kills one of each kind, within the rollout', () => {
  for (let first = 1; first < 60; first += SEEDS_PER_ROUND) {
    const kills = Array.from({ length: SEEDS_PER_ROUND }, (_, i) => drawKills(first + i, STEPS)).flat();
    assert.deepEqual(kills.map((k) => k.victim).sort(), [...victimKinds].sort(), `from seed ${first}`);
    for (const k of kills) assert.ok(k.afterStep >= 0 && k.afterStep < STEPS && k.downMs >= 0 && k.downMs <= 9_000);
  }
  const downs = Array.from({ length: 60 }, (_, i) => drawKills(i + 1, STEPS)).flat().map((k) => k.downMs);
  assert.ok(downs.some((ms) => ms > 6_000) && downs.some((ms) => ms < 2_500), 'shorter and longer than a Lease');
});

for (const [environment, seeds] of [
  [{}, [1, 2, 3]], [{ LAB_SEEDS: '' }, [1, 2, 3]], [{ LAB_SEEDS: '5' }, [1, 2, 3, 4, 5]], [{ LAB_SEED: '7' }, [7]], [{ LAB_SEED: '7', LAB_SEEDS: '20' }, [7]],
] as const) {
  test(`${JSON.stringify(environment)} means seeds ${seeds.join(' ')}`, () => assert.deepEqual(seedsOf(environment), seeds));
}

for (const environment of [{ LAB_SEEDS: '0' }, { LAB_SEEDS: 'all' }, { LAB_SEED: '-1' }, { LAB_SEED: '1.5' }, { LAB_SEED: '12345678' }]) {
  test(`${JSON.stringify(environment)} is refused by name`, () => assert.throws(() => seedsOf(environment), /^Error: LAB_SEEDS?=.*: must be a whole number/));
}

test('both ways of the rollout have as many steps, and the variants differ in who serves', () => {
  assert.equal(rollout('A', 1).flat().length, rollout('B', 2).flat().length);
  assert.notDeepEqual(servers.A, servers.B);
});
