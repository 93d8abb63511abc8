/** Columns of text for people. Pure. Not for machines: those have -o json. */

/** Between two columns. */
const GAP = '  ';

/** A header and rows, each column as wide as its widest cell; numbers to the right. No space at the end of a line; ends with a newline. */
export function formatTable(header: readonly string[], rows: readonly (readonly (string | number | null)[])[]): string {
  const numeric = header.map((_, column) => rows.some((row) => typeof row[column] === 'number')
    && rows.every((row) => row[column] === null || typeof row[column] === 'number'));
  const cells = [header, ...rows.map((row) => row.map((cell) => (cell === null ? '-' : oneLine(String(cell)))))];
  const widths = header.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const padded = (cell: string, column: number): string => (numeric[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!));
  return cells.map((row) => `${row.map(padded).join(GAP).trimEnd()}\n`).join('');
}

/** `12 s`, `3 min`, `5 h`, `2 d`: one unit, as coarse as a person wants it. */
export function formatSeconds(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** Control characters in what others wrote must not move the cursor. */
export function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
}
