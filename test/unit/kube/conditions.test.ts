/** Conditions in a list. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { dropCondition, findCondition, setCondition, type Condition, type WantedCondition } from '../../../src/kube/conditions.ts';

const [THEN, NOW] = ['2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z'];
const ready = (fields: Partial<WantedCondition> = {}): WantedCondition => ({ type: 'Ready', status: 'True', reason: 'Ready', message: 'all is well', observedGeneration: 1, ...fields });
const list: readonly Condition[] = [{ ...ready({ type: 'Accepted' }), lastTransitionTime: THEN }, { ...ready(), lastTransitionTime: THEN }, { ...ready({ type: 'Other' }), lastTransitionTime: THEN }];

const cases: [string, WantedCondition, string | null, number][] = [
  ['another message keeps the time', ready({ message: 'still' }), THEN, 1],
  ['another reason keeps the time', ready({ reason: 'Other' }), THEN, 1],
  ['another generation keeps the time', ready({ observedGeneration: 2 }), THEN, 1],
  ['another status takes the new time', ready({ status: 'False' }), NOW, 1],
  ['a new type comes last with the new time', ready({ type: 'Stalled' }), NOW, 3],
];
for (const [name, wanted, time, index] of cases) {
  test(`${name}, and the others are as they were`, () => {
    const set = setCondition(list, wanted, NOW);
    assert.deepEqual(set[index], { ...wanted, lastTransitionTime: time });
    assert.deepEqual(set.filter((c) => c.type !== wanted.type), list.filter((c) => c.type !== wanted.type));
  });
}

test('the same again is the very same list, and so is dropping what is not there', () => {
  assert.equal(setCondition(list, ready(), NOW), list);
  assert.equal(dropCondition(list, 'Nope'), list);
});

test('a condition is dropped and found by its type', () => {
  assert.deepEqual(dropCondition(list, 'Ready').map((c) => c.type), ['Accepted', 'Other']);
  assert.equal(findCondition(list, 'Ready'), list[1]);
  assert.equal(findCondition(undefined, 'Ready'), undefined);
});
