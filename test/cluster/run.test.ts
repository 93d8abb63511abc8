// How a TAP report becomes the counts that `npm test` adds up: no failure may get lost.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { countTap } from './run.ts';

const report = (pass: number, fail: number, cancelled: number, skipped: number, todo: number): string =>
  `TAP version 13\nok 1 - one\n# tests ${pass}\n# suites 0\n# pass ${pass}\n# fail ${fail}\n# cancelled ${cancelled}\n# skipped ${skipped}\n# todo ${todo}\n`;

for (const [what, text, code, expected] of [
  ['all passed', report(3, 0, 0, 0, 0), 0, { passed: 3, failed: 0, skipped: 0 }],
  ['failed and cancelled tests are failures', report(3, 1, 2, 0, 0), 1, { passed: 3, failed: 3, skipped: 0 }],
  ['skipped and todo are told apart', report(3, 0, 0, 1, 2), 0, { passed: 3, failed: 0, skipped: 3 }],
  ['an exit code without a failed test is a failure', report(3, 0, 0, 0, 0), 7, { passed: 3, failed: 1, skipped: 0 }],
  ['a run in which nothing passed is a failure', report(0, 0, 0, 0, 0), 0, { passed: 0, failed: 1, skipped: 0 }],
  ['no report at all is a failure', '', 1, { passed: 0, failed: 1, skipped: 0 }],
] as const) {
  test(what, () => assert.deepEqual(countTap(text, code), expected));
}
