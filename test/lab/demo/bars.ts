// Bars: how many connections each real server got. Pure.

import type { Bar } from './story.ts';
import type { Paint } from './text.ts';

/** Columns of a full bar. */
export const barColumns = 32;

/** Left eighths of a character cell, from none to seven: U+258F to U+2589. */
const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** One bar of at most `columns`; `value` above `scale` is drawn full, and anything above 0 can be seen. */
export function barOf(value: number, scale: number, columns = barColumns): string {
  if (value <= 0 || scale <= 0) return '';
  const parts = Math.max(1, Math.min(columns * 8, Math.round((value / scale) * columns * 8)));
  return `${'█'.repeat(Math.floor(parts / 8))}${eighths[parts % 8]}`;
}

/** A line for each real server, and the caption. */
export function barLines(bars: readonly Bar[], scale: number, caption: string, paint: Paint): string[] {
  const nameWidth = Math.max(...bars.map(({ name }) => name.length));
  const valueWidth = Math.max(...bars.map(({ value }) => String(value).length));
  return [
    ...bars.map(({ name, value, note }) => {
      const bar = barOf(value, scale);
      const line = `${name.padEnd(nameWidth)}  ${paint.cyan(bar)}${' '.repeat(barColumns - bar.length)} ${String(value).padStart(valueWidth)}`;
      return note === undefined || note === '' ? line : `${line}  ${paint.dim(note)}`;
    }),
    `${' '.repeat(nameWidth)}  ${paint.dim(caption)}`,
  ];
}
