/** Shared parts are equal to what they replace, and do not grow without bound. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { exact, Sharer } from '../../../src/api/share.ts';

test('what is shared is equal, and equal values become one', () => {
  const sharer = new Sharer();
  fc.assert(fc.property(fc.jsonValue().map((v) => JSON.parse(JSON.stringify(v)) as unknown), (value) => {
    const shared = sharer.share(value);
    assert.deepEqual(shared, value);
    assert.equal(sharer.share(structuredClone(value)), shared);
  }), { numRuns: 500 });
});

test('undefined stays undefined', () => assert.equal(new Sharer().share(undefined), undefined));

test('an exact list has the same elements, and every empty list is the same one', () => {
  fc.assert(fc.property(fc.array(fc.integer()), (list) => assert.deepEqual(exact(list), list)));
  assert.equal(exact([]), exact([]));
});
