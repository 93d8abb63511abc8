/** Reads Prometheus' text format 0.0.4 by its grammar, strictly, and independently of whatever wrote it. For tests. */
import assert from 'node:assert/strict';

export interface Sample { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly value: number }

export interface Exposition {
  readonly labelled: readonly Sample[];
  /** By `name{label="value"}` as it stands in the text. */
  readonly samples: ReadonlyMap<string, number>;
  readonly types: ReadonlyMap<string, string>;
  readonly help: ReadonlyMap<string, string>;
}

/** Throws AssertionError at the first line that is not of the format, a series that stands twice, or a sample before its TYPE. */
export function parseText(text: string): Exposition {
  const [samples, types, help] = [new Map<string, number>(), new Map<string, string>(), new Map<string, string>()];
  const labelled: Sample[] = [];
  assert.ok(text.endsWith('\n'), 'the last line ends');
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const [, what, name, rest] = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/.exec(line) ?? [];
    if (what !== undefined) {
      const into = what === 'HELP' ? help : types;
      assert.ok(!into.has(name!), `${line}: twice`);
      into.set(name!, rest!);
      continue;
    }
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?\d[\d.e+-]*|[+-]Inf|NaN)$/.exec(line);
    assert.ok(sample, `not a line of the format: ${line}`);
    const key = line.slice(0, line.lastIndexOf(' '));
    assert.ok(!samples.has(key), `${key}: twice`);
    assert.ok(types.has(sample[1]!) || types.get(sample[1]!.replace(/_(bucket|sum|count)$/, '')) === 'histogram', `${line}: before its TYPE`);
    samples.set(key, Number(sample[3]));
    labelled.push({ name: sample[1]!, labels: parseLabels(sample[2] ?? ''), value: Number(sample[3]) });
  }
  return { labelled, samples, types, help };
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let rest = text;
  while (rest !== '') {
    const one = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/.exec(rest);
    assert.ok(one, `not labels: ${rest}`);
    labels[one[1]!] = one[2]!.replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c));
    rest = rest.slice(one[0].length);
  }
  return labels;
}
