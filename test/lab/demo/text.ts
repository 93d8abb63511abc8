// Text for a terminal: colours, widths, wrapping. Pure. It writes nothing (screen.ts does).

/** Puts a style around a text, or nothing where colours are not wanted. */
export type Style = (text: string) => string;

export interface Paint {
  readonly bold: Style;
  readonly dim: Style;
  readonly red: Style;
  readonly green: Style;
  readonly yellow: Style;
  readonly cyan: Style;
}

/** SGR codes of ECMA-48: on, off. */
const codes = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39], cyan: [36, 39] } as const;

export function createPaint(colours: boolean): Paint {
  const style = ([on, off]: readonly [number, number]): Style => (text) => (colours && text !== '' ? `\x1b[${on}m${text}\x1b[${off}m` : text);
  return { bold: style(codes.bold), dim: style(codes.dim), red: style(codes.red), green: style(codes.green), yellow: style(codes.yellow), cyan: style(codes.cyan) };
}

const escape = /\x1b\[[0-9;]*m/g;

/** Columns of a text without its styles; every character of the demo is one column wide. */
export function widthOf(text: string): number {
  return [...text.replace(escape, '')].length;
}

/** Cuts a text to so many columns; styles are kept, so that none stays open. */
export function fit(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  let left = Math.max(0, columns - 1);
  let cut = false;
  // Split keeps the escapes at odd places.
  return text.split(/(\x1b\[[0-9;]*m)/).map((part, index) => {
    if (index % 2 === 1 || cut) return index % 2 === 1 ? part : '';
    const characters = [...part];
    if (characters.length <= left) {
      left -= characters.length;
      return part;
    }
    cut = true;
    return `${characters.slice(0, left).join('')}…`;
  }).join('');
}

/** Breaks plain text at spaces into lines of at most so many columns; a longer word has its own line. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
