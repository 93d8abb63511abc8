// Which scenarios the words of `npm run lab -- WORD ...` mean.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scenario } from '../../lab/lab.ts';
import { select } from '../../lab/suite.ts';
import { lan } from '../../lab/topologies.ts';

const scenarios = [['dr', ['modes']], ['drift-1', ['slow']], ['drift-2', ['slow']], ['nat', []], ['nat-slow', []]]
  .map(([name, tags]) => scenario({ name: name as string, about: '', topology: lan, tags: tags as string[], run: async () => {} }));

for (const [words, expected] of [
  [[], ['dr', 'drift-1', 'drift-2', 'nat', 'nat-slow']],
  [['dr'], ['dr']],
  [['drift'], ['drift-1', 'drift-2']],
  [['slow'], ['drift-1', 'drift-2']],
  [['nat-', 'dr'], ['dr', 'nat-slow']],
  [['drift-1', 'drift'], ['drift-1', 'drift-2']],
  [['nothing'], []],
] as const) {
  test(`${words.length === 0 ? 'no word' : words.join(' ')} means ${expected.join(' ') || 'none'}`, () => {
    assert.deepEqual(select(scenarios, words).map((one) => one.name), expected);
  });
}
