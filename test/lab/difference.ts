// What differs between two texts of lines, for assertions that a person can read.

/** Lines that one text has more often than the other, with a sign; or else the first place where their order differs. Empty only for equal texts. */
export function difference(before: string, after: string): string[] {
  const [a, b] = [before.split('\n'), after.split('\n')];
  const found = [...surplus(a, b).map((line) => `- ${line}`), ...surplus(b, a).map((line) => `+ ${line}`)];
  const at = a.findIndex((line, i) => line !== b[i]);
  return found.length > 0 || at < 0 ? found : [`order: ${a[at]} came before ${b[at]}, and not any more`];
}

function surplus(lines: readonly string[], others: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const line of others) left.set(line, (left.get(line) ?? 0) + 1);
  return lines.filter((line) => {
    const n = left.get(line) ?? 0;
    if (n > 0) left.set(line, n - 1);
    return n === 0;
  });
}
