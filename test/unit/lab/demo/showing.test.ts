// How the demo is shown: order of chapters, turns, moving lines with and without a terminal, and what a failure looks like.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createScreen } from '../../../lab/demo/screen.ts';
import { show } from '../../../lab/demo/show.ts';
import { chapterCount as chaptersOf, type Happening } from '../../../lab/demo/story.ts';
import { createTelling, type Telling } from '../../../lab/demo/telling.ts';
import { createPaint } from '../../../lab/demo/text.ts';

const chapterCount = chaptersOf('machine');

function tell(telling: Telling, chapter: number, ...happenings: readonly Happening[]): void {
  for (const what of happenings) assert.ok(telling.take(JSON.stringify({ chapter, what })));
}

function watch(telling: Telling, terminal: boolean) {
  let text = '';
  const granted: string[] = [];
  const screen = createScreen({ terminal, columns: () => 40, write: (more) => { text += more; } });
  const tallies = show({ telling, chapters: chapterCount, screen, paint: createPaint(false), pace: 0, grant: (turn) => granted.push(turn), signal: new AbortController().signal, opening: 'booting', now: () => 0 });
  return { tallies, granted, text: () => text };
}

const begin = (title: string): Happening => ({ kind: 'chapter', title, sentence: 'So it is.' });
const bars = (value: number, last: boolean): Happening => ({ kind: 'bars', bars: [{ name: 'rs1', value }], scale: 10, caption: `${value} connections`, last });

test('chapters come in their order, whichever guest is faster, and are counted', async () => {
  const telling = createTelling(chapterCount);
  for (let chapter = chapterCount; chapter >= 1; chapter--) {
    tell(telling, chapter, begin(`title ${chapter}`), { kind: 'claim', holds: true, text: 'yes', found: '' }, { kind: 'counted', connections: 10, lost: 0 }, { kind: 'turn', name: `${chapter}-1` }, { kind: 'end' });
  }
  const seen = watch(telling, false);
  const tallies = await seen.tallies;
  assert.deepEqual(tallies.map(({ chapter, title, connections, claims, held }) => [chapter, title, connections, claims, held]),
    Array.from({ length: chapterCount }, (_, i) => [i + 1, `title ${i + 1}`, 10, 1, 1]));
  assert.deepEqual(seen.granted, Array.from({ length: chapterCount }, (_, i) => `${i + 1}-1`));
});

test('without a terminal only the last bars are printed, and no escape', async () => {
  const telling = createTelling(chapterCount);
  tell(telling, 1, begin('bars'), bars(1, false), bars(5, false), bars(10, true), { kind: 'end' });
  telling.over([2, 3, 4, 5, 6, 7], 'x', 'x.log');
  const seen = watch(telling, false);
  await seen.tallies;
  assert.ok(!seen.text().includes('\x1b'));
  assert.ok(seen.text().includes('10 connections') && !seen.text().includes('5 connections'));
});

test('on a terminal moving bars are drawn over each other, and the cursor comes back', async () => {
  const telling = createTelling(chapterCount);
  tell(telling, 1, begin('bars'), bars(1, false), bars(5, false), bars(10, true), { kind: 'end' });
  telling.over([2, 3, 4, 5, 6, 7], 'x', 'x.log');
  const seen = watch(telling, true);
  await seen.tallies;
  // Three lines stand (an empty one, the bar, the caption): the second bars and the last ones go up by as many.
  assert.equal(seen.text().split('\x1b[3A\x1b[J').length - 1, 2);
  assert.ok(seen.text().lastIndexOf('\x1b[?25h') > seen.text().lastIndexOf('\x1b[?25l'));
});

test('a guest that dies fails the chapters that it owed, and only those; the reason is told once', async () => {
  const telling = createTelling(chapterCount);
  tell(telling, 1, begin('whole'), { kind: 'claim', holds: true, text: 'yes', found: '' }, { kind: 'end' });
  telling.over([1, 2, 3, 4, 5, 6, 7], 'the guest died', 'demo-dr.log');
  const seen = watch(telling, false);
  const tallies = await seen.tallies;
  assert.deepEqual(tallies.map(({ claims, held }) => claims === held), [true, ...Array<boolean>(chapterCount - 1).fill(false)]);
  assert.equal(seen.text().split('the guest died').length - 1, 1);
});

test('a claim that does not hold is shown with what was found', async () => {
  const telling = createTelling(chapterCount);
  tell(telling, 1, begin('false'), { kind: 'claim', holds: false, text: 'none lost', found: 'expected 0, found 2' }, { kind: 'end' });
  telling.over([2, 3, 4, 5, 6, 7], 'x', 'x.log');
  const seen = watch(telling, false);
  const [first] = await seen.tallies;
  assert.deepEqual([first!.claims, first!.held], [1, 0]);
  assert.match(seen.text(), /✗ does not hold: none lost\n.*expected 0, found 2/);
});

test('a line that is not of the story is refused, and one of an unknown chapter does no harm', () => {
  const telling = createTelling(chapterCount);
  for (const line of ['(node:1) Warning: something', '5', 'null', '{}', '']) assert.equal(telling.take(line), false, line);
  assert.equal(telling.take(JSON.stringify({ chapter: 99, what: { kind: 'end' } })), true);
});
