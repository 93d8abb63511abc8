/** A line gives out who came first, whoever leaves it meanwhile, as a list would. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Line } from '../../../../src/agent/health/line.ts';

test('whoever comes, leaves, comes again or is taken: the first is the one who waits longest', () => {
  fc.assert(fc.property(fc.array(fc.record({ what: fc.constantFrom('add', 'delete', 'take', 'look'), who: fc.nat(5) }), { maxLength: 60 }), (doings) => {
    const line = new Line<number>();
    let list: number[] = [];
    for (const { what, who } of doings) {
      if (what === 'add') {
        line.add(who);
        if (!list.includes(who)) list.push(who);
      } else if (what !== 'look') {
        const leaving = what === 'take' ? list[0] ?? who : who;
        line.delete(leaving);
        list = list.filter((other) => other !== leaving);
      }
      if (what === 'look' || what === 'take') assert.equal(line.first, list[0] ?? null);
      assert.equal(line.size, list.length);
    }
  }));
});
