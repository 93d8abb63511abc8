// One happening of the story as the lines that stay on the screen. Pure.

import { formatTable } from '../../../src/cli/table.ts';
import { barLines } from './bars.ts';
import type { Happening } from './story.ts';
import { wrap, type Paint } from './text.ts';

/** Columns that the story's own sentences use; outputs of programs are as wide as they are. */
export const pageColumns = 80;
const indent = '  ';

/** What a happening of one of so many chapters leaves on the screen; nothing for those that only move, or only tell the host something. */
export function drawHappening(what: Happening, chapter: number, chapters: number, paint: Paint): string[] {
  switch (what.kind) {
    case 'chapter': {
      const head = `${chapter}/${chapters}  ${what.title} `;
      return ['', `${paint.bold(head)}${paint.dim('─'.repeat(Math.max(0, pageColumns - head.length)))}`, ...wrap(what.sentence, pageColumns)];
    }
    case 'say': return ['', ...wrap(what.text, pageColumns - indent.length).map((line) => indent + line)];
    case 'picture': return ['', ...what.lines.map((line) => indent + line)];
    case 'command': return ['', `${indent}${paint.dim(`${what.host}$`)} ${paint.cyan(what.command)}`];
    case 'output': return what.text.trimEnd() === '' ? [] : what.text.trimEnd().split('\n')
      .map((line) => indent + (what.mark ? line.trimEnd().replaceAll(what.mark, paint.yellow) : line.trimEnd()));
    case 'bars': return ['', ...barLines(what.bars, what.scale, what.caption, paint).map((line) => indent + line)];
    case 'claim': return what.holds
      ? [`${indent}${paint.green('✓')} ${what.text}`]
      : [`${indent}${paint.red(`✗ does not hold: ${what.text}`)}`, `${indent}  ${what.found}`];
    case 'failed': return ['', ...what.error.split('\n').map((line) => paint.red(line)), `whole log: .lab/${what.log}`];
    case 'doing': case 'counted': case 'turn': case 'end': return [];
  }
}

/** Milliseconds that a person gets for reading a happening, at an unhurried pace. */
export function readingTime(what: Happening): number {
  switch (what.kind) {
    case 'chapter': return 1200;
    case 'say': return 500;
    case 'picture': return 1200;
    case 'command': return 500;
    case 'output': return Math.min(2000, 250 + 100 * what.text.split('\n').length);
    case 'bars': return what.last ? 500 : 0;
    case 'claim': return 500;
    case 'failed': case 'doing': case 'counted': case 'turn': case 'end': return 0;
  }
}

/** What a chapter came to. */
export interface Tally {
  readonly chapter: number;
  readonly title: string;
  readonly connections: number;
  readonly lost: number;
  readonly claims: number;
  readonly held: number;
  readonly seconds: number;
}

/** The table at the end. */
export function drawSummary(tallies: readonly Tally[], paint: Paint): string[] {
  const sum = (of: (tally: Tally) => number): number => tallies.reduce((total, tally) => total + of(tally), 0);
  const rows = tallies.map((t) => [`${t.chapter} ${t.title}`, t.connections, t.lost, `${t.held} of ${t.claims}`, t.seconds.toFixed(1)]);
  const total = ['all', sum((t) => t.connections), sum((t) => t.lost), `${sum((t) => t.held)} of ${sum((t) => t.claims)}`, sum((t) => t.seconds).toFixed(1)];
  const [head = '', ...lines] = formatTable(['CHAPTER', 'CONNECTIONS', 'LOST', 'CLAIMS TRUE', 'SECONDS'], [...rows, total]).trimEnd().split('\n');
  return ['', paint.bold(head), ...lines.slice(0, -1), paint.bold(lines.at(-1)!)].map((line) => (line === '' ? line : indent + line));
}
