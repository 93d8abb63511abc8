// The demo's drawing: bars, the picture of a network, happenings as lines, widths on a terminal.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { barColumns, barLines, barOf } from '../../../lab/demo/bars.ts';
import { clusterPicture, topology } from '../../../lab/demo/cluster-network.ts';
import { drawHappening, drawSummary, pageColumns, readingTime } from '../../../lab/demo/draw.ts';
import { networkPicture } from '../../../lab/demo/network-picture.ts';
import { chapterCount, stories, type Happening, type StoryName } from '../../../lab/demo/story.ts';
import { createPaint, fit, widthOf, wrap } from '../../../lab/demo/text.ts';
import * as topologies from '../../../lab/topologies.ts';

const plain = createPaint(false);
const coloured = createPaint(true);

for (const [value, scale, expected] of [
  [0, 60, ''], [60, 60, '████'], [30, 60, '██'], [15, 60, '█'], [120, 60, '████'], [1, 1000, '▏'], [20, 64, '█▎'], [5, 0, ''],
] as const) {
  test(`a bar of ${value} at a scale of ${scale} is "${expected}"`, () => assert.equal(barOf(value, scale, 4), expected));
}

test('a bar is never wider than its columns and never shrinks when the value grows', () => {
  fc.assert(fc.property(fc.nat(500), fc.nat(500), fc.integer({ min: 1, max: 300 }), (a, b, scale) => {
    const [low, high] = [barOf(Math.min(a, b), scale), barOf(Math.max(a, b), scale)];
    assert.ok(low.length <= high.length && high.length <= barColumns);
  }));
});

test('bars stand under each other, with notes and a caption', () => {
  const lines = barLines([{ name: 'rs1', value: 60 }, { name: 'rs10', value: 6, note: 'leaving' }], 60, '66 connections', plain);
  assert.deepEqual(lines, [
    `rs1   ${'█'.repeat(barColumns)} 60`,
    `rs10  ███▎${' '.repeat(barColumns - 4)}  6  leaving`,
    '      66 connections',
  ]);
  const same = barLines([{ name: 'rs1', value: 60 }, { name: 'rs10', value: 6, note: 'leaving' }], 60, '66 connections', coloured);
  assert.deepEqual(same.map(widthOf), lines.map(widthOf), 'colours take no columns');
});

test('a network is drawn from its topology, with a joint under each host', () => {
  assert.deepEqual(networkPicture(topologies.tutorialNat), [
    'front  c1 .100   dir1 .5',
    '       ───┴─────────┴─── 192.168.1.0/24',
    'back   dir1 .14   rs1 .15   rs2 .16',
    '       ───┴──────────┴─────────┴─── 192.168.20.0/24',
  ]);
});

test('the pictures of the demo fit on the page', () => {
  for (const topology of [topologies.tutorialDr, topologies.tutorialNat]) {
    for (const line of networkPicture(topology)) assert.ok(widthOf(line) + 2 <= pageColumns, line);
  }
});

test('so does that of the cluster, with every host in it', () => {
  const lines = clusterPicture();
  for (const line of lines) assert.ok(widthOf(line) + 2 <= pageColumns, line);
  for (const host of Object.keys(topology.hosts)) assert.ok(lines.some((line) => new RegExp(`\\b${host}\\b`).test(line)), host);
});

test('without colours nothing but text is drawn, and with colours the same text', () => {
  const happenings: Happening[] = [
    { kind: 'chapter', title: 'DR', sentence: 'One sentence.' },
    { kind: 'command', host: 'dir1', command: 'ipvsadm -Ln' },
    { kind: 'output', text: 'a Route b  \n\n  c\n', mark: 'Route' },
    { kind: 'claim', holds: true, text: 'it holds', found: '' },
    { kind: 'claim', holds: false, text: 'it holds', found: 'expected 1, found 2' },
    { kind: 'failed', error: 'two\nlines', log: 'demo-dr.log' },
  ];
  const lines = happenings.flatMap((what) => drawHappening(what, 2, 7, plain));
  assert.deepEqual(lines.slice(1), [
    `2/7  DR ${'─'.repeat(pageColumns - 8)}`, 'One sentence.',
    '', '  dir1$ ipvsadm -Ln', '  a Route b', '  ', '    c', '  ✓ it holds', '  ✗ does not hold: it holds', '    expected 1, found 2',
    '', 'two', 'lines', 'whole log: .lab/demo-dr.log',
  ]);
  const painted = happenings.flatMap((what) => drawHappening(what, 2, 7, coloured));
  assert.deepEqual(painted.map((line) => line.replace(/\x1b\[\d+m/g, '')), lines);
  assert.ok(painted.some((line) => line.includes('\x1b[')));
});

test('what only moves or informs leaves nothing on the screen and takes no time to read', () => {
  for (const what of [{ kind: 'doing', text: 'x' }, { kind: 'counted', connections: 1, lost: 0 }, { kind: 'turn', name: '1-1' }, { kind: 'end' }] as const) {
    assert.deepEqual(drawHappening(what, 1, 7, plain), []);
    assert.equal(readingTime(what), 0);
  }
  assert.ok(readingTime({ kind: 'output', text: 'long\n'.repeat(1000) }) <= 2000, 'nobody waits for ever');
});

test('the summary adds up', () => {
  const tally = { chapter: 1, title: 'DR', connections: 120, lost: 0, claims: 4, held: 4, seconds: 9.96 };
  assert.deepEqual(drawSummary([tally, { ...tally, chapter: 2, title: 'NAT', lost: 3, held: 3 }], plain), [
    '',
    '  CHAPTER  CONNECTIONS  LOST  CLAIMS TRUE  SECONDS',
    '  1 DR             120     0  4 of 4       10.0',
    '  2 NAT            120     3  3 of 4       10.0',
    '  all              240     3  7 of 8       19.9',
  ]);
});

for (const [text, columns, expected] of [
  ['abc', 3, 'abc'], ['abcd', 3, 'ab…'], ['\x1b[1mabcd\x1b[22m', 3, '\x1b[1mab…\x1b[22m'], ['\x1b[1ma\x1b[22mbcd', 3, '\x1b[1ma\x1b[22mb…'], ['██', 1, '…'],
] as const) {
  test(`${JSON.stringify(text)} in ${columns} columns is ${JSON.stringify(expected)}`, () => assert.equal(fit(text, columns), expected));
}

test('a fitted line is never wider than the terminal', () => {
  const part = fc.constantFrom('a', '█ ', '\x1b[1m', '\x1b[22m', 'word');
  fc.assert(fc.property(fc.array(part).map((parts) => parts.join('')), fc.integer({ min: 1, max: 20 }), (text, columns) => {
    assert.ok(widthOf(fit(text, columns)) <= columns);
  }));
});

test('wrapping keeps every word and breaks at spaces', () => {
  assert.deepEqual(wrap('one two three', 7), ['one two', 'three']);
  assert.deepEqual(wrap('unbreakable x', 4), ['unbreakable', 'x']);
});

for (const story of Object.keys(stories) as StoryName[]) {
  test(`every chapter of the ${story}'s story is told by one act`, () => {
    assert.deepEqual(Object.values<readonly number[]>(stories[story]).flat().toSorted((a, b) => a - b), Array.from({ length: chapterCount(story) }, (_, i) => i + 1));
  });
}
