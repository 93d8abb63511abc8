/** What failed waits, longer each time; what is new never waits for it. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Dirty } from '../../../../src/controller/reconcile/dirty.ts';

const begun = (): Dirty => {
  const d = new Dirty();
  for (const part of ['claims', 'virtualIPs', 'nodes', 'release'] as const) d.take(part);
  return d;
};

test('at the start everything is to be written, but claims are as they were read', () => {
  const d = new Dirty();
  assert.deepEqual((['claims', 'virtualIPs', 'nodes', 'release'] as const).map((p) => [p, d.take(p), d.has(p)]), [['claims', false, false], ['virtualIPs', true, false], ['nodes', true, false], ['release', true, false]]);
});

test('what failed is dirty again in its time: 200 ms, doubled up to 10 s, and from the start after it worked', () => {
  const d = begun();
  let now = 1_000;
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    d.begin(now);
    d.programs.clear();
    d.failedProgram('ns/a');
    assert.equal(d.end(now), false);
    waits.push(d.nextDue(now));
    d.begin(now + d.nextDue(now) - 1);
    assert.equal(d.programs.has('ns/a'), false, 'not before');
    assert.equal(d.end(now), true);
    now += d.nextDue(now);
    d.begin(now);
    assert.ok(d.programs.delete('ns/a'));
    d.failedProgram('ns/a');
    d.end(now);
    waits.push(d.nextDue(now));
    now += d.nextDue(now);
  }
  assert.deepEqual([waits[0], waits[1], Math.max(...waits), waits.at(-1)], [200, 400, 10_000, 10_000]);
  d.begin(now);
  d.programs.clear();
  assert.deepEqual([d.end(now), d.nextDue(now)], [true, Infinity]);
  d.begin(now);
  d.failed('nodes');
  d.end(now);
  assert.equal(d.nextDue(now), 200);
});

test('something new that fails comes with what failed before, not sooner and not later', () => {
  const d = begun();
  d.begin(0);
  d.failed('virtualIPs', 'claims');
  d.end(0);
  d.begin(150);
  d.failedProgram('ns/new');
  d.end(150);
  assert.equal(d.nextDue(150), 50);
  d.begin(200);
  assert.deepEqual([d.take('virtualIPs'), d.take('claims'), d.take('nodes'), [...d.programs]], [true, true, false, ['ns/new']]);
});

test('what is marked is dirty at once, whatever waits', () => {
  const d = begun();
  d.begin(0);
  d.failed('nodes');
  d.end(0);
  d.mark('nodes', 'release');
  assert.deepEqual([d.has('nodes'), d.has('release'), d.has('claims')], [true, true, false]);
});
