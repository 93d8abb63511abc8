/** Who waits is woken once for all that rang meanwhile, and told since when. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Alarm } from '../../../src/controller/alarm.ts';
import { FakeTime } from '../kube/fake-time.ts';

const forever = new AbortController().signal;

/** Waits, while so long passes. */
async function wait(alarm: Alarm, time: FakeTime, ms: number, passes: number): Promise<number | null> {
  let since: number | null = null;
  void alarm.wait(ms, forever).then((at) => { since = at; });
  await time.pass(passes);
  return since;
}

test('it begins rung; cleared, it wakes at the first ring, and says when that was however many follow', async () => {
  const time = new FakeTime();
  const alarm = new Alarm(time.now, time.sleep);
  assert.equal(await wait(alarm, time, 1_000, 10), 0);
  alarm.clear();
  const waiting = alarm.wait(1_000, forever);
  await time.pass(100);
  alarm.ring();
  await time.pass(50);
  alarm.ring();
  assert.equal(await waiting, 110);
});

test('of rings that nobody waited for none is lost, and the first one counts', async () => {
  const time = new FakeTime();
  const alarm = new Alarm(time.now, time.sleep);
  alarm.clear();
  await time.pass(40);
  alarm.ring();
  await time.pass(500);
  alarm.ring();
  assert.equal(await wait(alarm, time, 1_000, 0), 40);
});

test('without a ring it wakes when its time is over', async () => {
  const time = new FakeTime();
  const alarm = new Alarm(time.now, time.sleep);
  alarm.clear();
  assert.equal(await wait(alarm, time, 1_000, 999), null);
  await time.pass(1);
  assert.equal(time.now(), 1_000);
});

test('it ends with its signal', async () => {
  const time = new FakeTime();
  const alarm = new Alarm(time.now, time.sleep);
  alarm.clear();
  const end = new AbortController();
  const waiting = alarm.wait(1_000, end.signal);
  end.abort();
  await assert.rejects(waiting, { name: 'AbortError' });
});
