/** The lines of a report, kept from one to the next, are those that would be made anew. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { reportApplied } from '../../../../src/api/v1alpha1/index.ts';
import { AppliedLines } from '../../../../src/agent/cluster/applied.ts';

/** Few owners, so that the same ones come again with other hashes; some of them begin alike. */
const OWNERS = ['shop/a', 'shop/a-b', 'shop/a.1', 'zoo/a'] as const;
const running = fc.array(fc.constantFrom('1', '2', null), { minLength: OWNERS.length, maxLength: OWNERS.length })
  .map((hashes) => hashes.flatMap((contentHash, i) => (contentHash === null ? [] : [{ owner: OWNERS[i]!, contentHash }])));

test('whatever came, went or changed, the lines are those of a report that knows nothing of before', () => {
  fc.assert(fc.property(fc.array(running, { minLength: 1, maxLength: 8 }), (reports) => {
    const lines = new AppliedLines();
    for (const programs of reports) assert.deepEqual(lines.of(programs), reportApplied(programs.map((p) => [p.owner, p.contentHash] as const)));
  }));
});

test('while nothing changed, the report is the same object, so that nobody compares thousands of lines', () => {
  const lines = new AppliedLines();
  const programs = [{ owner: 'a/b', contentHash: '1' }, { owner: 'a/a', contentHash: '1' }];
  const first = lines.of(programs);
  assert.equal(lines.of([...programs].reverse()), first);
  assert.notEqual(lines.of([{ owner: 'a/b', contentHash: '2' }, programs[1]!]), first);
});
