/** The schedule: an even spread, a grid that never drifts, and the heap against a sorted list. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DueQueue, type Due } from '../../../../src/agent/health/due-queue.ts';
import { firstDue, fractionOf, nextDue, secondDue } from '../../../../src/agent/health/schedule.ts';

test('ten thousand keys spread evenly over a period, each director otherwise', () => {
  const keys = Array.from({ length: 10_000 }, (_, i) => `TCP 10.0.${i >> 8}.${i & 255} 80 2000/1000 2/3`);
  for (const salt of ['edge-1', 'edge-2']) {
    const tenths = new Array<number>(10).fill(0);
    for (const key of keys) tenths[Math.floor(fractionOf(key, salt) * 10)]!++;
    // 1000 each, with a standard deviation of 30.
    for (const n of tenths) assert.ok(n > 850 && n < 1_150, tenths.join(' '));
  }
  const together = keys.filter((key) => Math.abs(fractionOf(key, 'edge-1') - fractionOf(key, 'edge-2')) < 0.05);
  assert.ok(together.length < 1_400, `${together.length} of 10000 at nearly the same time on both`);
  assert.equal(fractionOf(keys[0]!, 'edge-1'), fractionOf(keys[0]!, 'edge-1'));
});

const moments = { fraction: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), period: fc.integer({ min: 100, max: 3_600_000 }), now: fc.double({ min: 0, max: 1e10, noNaN: true }) };

test('the next moment is after now, within a period, and on the grid', () => {
  fc.assert(fc.property(moments.fraction, moments.period, moments.now, (fraction, period, now) => {
    const due = nextDue(fraction, period, now);
    assert.ok(due > now && due <= now + period * (1 + 1e-9), `${due} after ${now}`);
    assert.ok(Math.abs((due - fraction * period) / period - Math.round((due - fraction * period) / period)) < 1e-6);
    const following = nextDue(fraction, period, due);
    assert.ok(Math.abs(following - due - period) < 1e-3, 'a whole period on');
  }));
});

test('the first check comes within a second or what so many need, the second half to one and a half periods later', () => {
  fc.assert(fc.property(moments.fraction, moments.period, moments.now, fc.integer({ min: 1, max: 100_000 }), (fraction, period, now, fresh) => {
    const first = firstDue(fraction, period, fresh, now);
    assert.ok(first >= now && first <= now + Math.min(period, Math.max(1_000, fresh)));
    const second = secondDue(fraction, period, first);
    assert.ok(second - first >= period * 0.499 && second - first <= period * 1.501);
  }));
});

test('the queue gives what a sorted list gives, whatever is put, moved and removed', () => {
  const command = fc.oneof(
    fc.record({ op: fc.constant('put' as const), which: fc.nat(30), at: fc.nat(50) }),
    fc.record({ op: fc.constant('remove' as const), which: fc.nat(30), at: fc.constant(0) }),
    fc.record({ op: fc.constant('take' as const), which: fc.constant(0), at: fc.nat(50) }),
  );
  fc.assert(fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
    const queue = new DueQueue<Due>();
    const members = Array.from({ length: 31 }, (): Due => ({ dueAt: 0, place: -1 }));
    const model = new Set<Due>();
    for (const { op, which, at } of commands) {
      const member = members[which]!;
      if (op === 'put') {
        queue.put(member, at);
        model.add(member);
      } else if (op === 'remove') {
        queue.remove(member);
        model.delete(member);
      } else {
        const taken = queue.take(at);
        const least = Math.min(...[...model].map((m) => m.dueAt));
        if (least > at) assert.equal(taken, null);
        else {
          assert.ok(taken !== null && model.has(taken) && taken.dueAt === least);
          model.delete(taken);
        }
      }
      assert.equal(queue.size, model.size);
      assert.equal(queue.next, Math.min(...[...model].map((m) => m.dueAt), Infinity));
      for (const m of members) assert.equal(m.place >= 0, model.has(m));
    }
  }));
});
