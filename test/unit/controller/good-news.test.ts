/** Whose turn it is to be told that it is Ready, in a rush and after it. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { GoodNews } from '../../../src/controller/good-news.ts';

const keys = (count: number): string[] => Array.from({ length: count }, (_, i) => `s${i}`);

test('without a rush nobody waits', () => {
  const news = new GoodNews();
  assert.deepEqual(keys(50).filter((key) => news.waits(key, true, false)), []);
  assert.deepEqual([...news.turn(false, 0)], []);
});

test('in a rush it is the turn of some, in order, and of all the others when it is over; each is asked for once', () => {
  const news = new GoodNews();
  assert.ok(keys(50).every((key) => news.waits(key, true, true)));
  assert.deepEqual([...news.turn(true, 0)], keys(10));
  assert.deepEqual([...news.turn(true, 0)], []);
  assert.deepEqual([...news.turn(true, 500)], keys(15).slice(10));
  assert.equal(news.waits('s12', true, true), false, 'its turn has come');
  assert.equal(news.waits('s12', true, true), true, 'once');
  assert.deepEqual([...news.turn(false, 500)], [...keys(50).slice(15), 's12']);
});

test('what is not good, or is gone, waits for nothing', () => {
  const news = new GoodNews();
  for (const key of ['good', 'turned', 'gone']) news.waits(key, true, true);
  assert.equal(news.waits('bad', false, true), false);
  assert.equal(news.waits('turned', false, true), false);
  news.forget('gone');
  assert.deepEqual([...news.turn(true, 0)], ['good']);
});
