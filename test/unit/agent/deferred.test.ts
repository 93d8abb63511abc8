/** Writing behind the work: soon, together, and never most of the time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Deferred } from '../../../src/agent/deferred.ts';

test('what is asked for several times in a row is written once, after the work', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let written = 0;
  const deferred = new Deferred(() => { written++; }, () => 0);
  deferred.ask();
  deferred.ask();
  assert.equal(written, 0);
  context.mock.timers.tick(1);
  assert.equal(written, 1);
  deferred.ask();
  context.mock.timers.tick(1);
  assert.equal(written, 2);
});

test('a writing that takes long is followed by a pause twenty times as long', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let now = 0;
  const starts: number[] = [];
  const deferred = new Deferred(() => { starts.push(now); now += 100; }, () => now);
  for (const tick of [0, 0, 1000, 1900]) {
    now += tick;
    deferred.ask();
    context.mock.timers.tick(Math.max(tick, 1));
  }
  assert.deepEqual(starts, [0, 3000]);
});

test('flush writes what was asked for at once, and nothing twice', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let written = 0;
  const deferred = new Deferred(() => { written++; }, () => 0);
  deferred.flush();
  assert.equal(written, 0);
  deferred.ask();
  deferred.flush();
  context.mock.timers.tick(1000);
  assert.equal(written, 1);
});
