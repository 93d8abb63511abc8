// The terminal: lines that stay, and below them a few that are drawn again and again. Without a terminal only lines that stay.
// What the lines say is not its business.

import { fit } from './text.ts';

export interface Screen {
  /** Prints a line that stays. */
  line(text?: string): void;
  /** Replaces the moving lines; [] takes them away. Nothing happens without a terminal. */
  moving(lines: readonly string[]): void;
  /** Gives the cursor back. */
  close(): void;
}

export interface ScreenOptions {
  readonly terminal: boolean;
  readonly columns: () => number;
  readonly write: (text: string) => void;
}

/** ECMA-48: n lines up, then everything below away. */
export function above(lines: number): string {
  return lines === 0 ? '' : `\x1b[${lines}A\x1b[J`;
}

const hideCursor = '\x1b[?25l';
const showCursor = '\x1b[?25h';

export function createScreen({ terminal, columns, write }: ScreenOptions): Screen {
  let standing = 0;
  let hidden = false;
  return {
    line: (text = '') => {
      // One write, so that nothing flickers.
      write(`${above(standing)}${text}\n`);
      standing = 0;
    },
    moving: (lines) => {
      if (!terminal || (lines.length === 0 && standing === 0)) return;
      // A line that the terminal breaks in two would be two lines to go up.
      const text = lines.map((line) => `${fit(line, columns() - 1)}\n`).join('');
      write(`${hidden ? '' : hideCursor}${above(standing)}${text}`);
      hidden = true;
      standing = lines.length;
    },
    close: () => {
      if (hidden) write(`${above(standing)}${showCursor}`);
      hidden = false;
      standing = 0;
    },
  };
}
