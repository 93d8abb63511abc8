/** Verdicts: what rise, fall and the first result decide, by table and by random histories against a slow and obvious model. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { REASONS, passes, printable, type Reason } from '../../../../src/agent/health/outcome.ts';
import { UNKNOWN, advance, type Health } from '../../../../src/agent/health/verdict.ts';

/** One letter a result: `+` passes, `-` fails, `0` says nothing. A second apart, 10 ms long. */
const LETTERS: Readonly<Record<string, Reason>> = { '+': 'Answered', '-': 'Timeout', 0: 'NotChecked' };

function after(history: string, rise: number, fall: number): Health {
  return [...history].reduce((health, letter, i) => advance(health, { reason: LETTERS[letter]!, message: '', at: i * 1_000, tookMs: 10 }, { rise, fall }), UNKNOWN);
}

const cases: readonly { history: string; rise?: number; fall?: number; state: Health['state']; why: string }[] = [
  { history: '', state: 'Unknown', why: 'without a result nothing is known' },
  { history: '0', state: 'Unknown', why: 'a check that could not be made says nothing' },
  { history: '+', state: 'Up', why: 'the first result decides' },
  { history: '-', state: 'Down', why: 'the first result decides, this way too' },
  { history: '+--', state: 'Up', why: 'two failures are not three' },
  { history: '+---', state: 'Down', why: 'three failures are' },
  { history: '+--+--', state: 'Up', why: 'a pass begins the count anew' },
  { history: '+--0-', state: 'Down', why: 'a check that could not be made does not begin the count anew' },
  { history: '+--00', state: 'Up', why: 'and is no failure' },
  { history: '+---+', state: 'Down', why: 'one pass is not two' },
  { history: '+---++', state: 'Up', why: 'two passes are' },
  { history: '+---+-+-+', state: 'Down', why: 'who flaps stays down' },
  { history: '-+', state: 'Down', why: 'after a first failure it takes the passes that it always takes' },
  { history: '+-', fall: 1, state: 'Down', why: 'with fall 1 each failure counts' },
  { history: '-+', rise: 1, state: 'Up', why: 'with rise 1 each pass counts' },
];
for (const { history, rise = 2, fall = 3, state, why } of cases) {
  test(`${history || 'nothing'} with rise ${rise} and fall ${fall} is ${state}: ${why}`, () => { assert.equal(after(history, rise, fall).state, state); });
}

test('it is told since when, since when it fails, and whether it came back', () => {
  const down = after('++---', 2, 3);
  assert.deepEqual({ since: down.since, failingSince: down.failingSince, streak: down.streak, recovered: down.recovered }, { since: 4_010, failingSince: 2_000, streak: 3, recovered: false });
  const back = after('++---++', 2, 3);
  assert.deepEqual({ since: back.since, failingSince: back.failingSince, streak: back.streak, recovered: back.recovered, turns: back.turns }, { since: 6_010, failingSince: null, streak: 2, recovered: true, turns: 2 });
  assert.equal(after('+', 2, 3).recovered, false, 'who is up from the start came back from nowhere');
});

test('any history gives what counting backwards gives', () => {
  fc.assert(fc.property(fc.array(fc.constantFrom('+', '-', '0'), { maxLength: 40 }), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 }), (letters, rise, fall) => {
    const telling = letters.filter((l) => l !== '0');
    // The state is that of the last run of equal results that was long enough; the first result is always long enough.
    let state: Health['state'] = 'Unknown';
    for (let end = 1; end <= telling.length; end++) {
      const run = /(\++|-+)$/.exec(telling.slice(0, end).join(''))![0];
      if (end === 1 || run.length >= (run[0] === '+' ? rise : fall)) state = run[0] === '+' ? 'Up' : 'Down';
    }
    const health = after(letters.join(''), rise, fall);
    assert.equal(health.state, state);
    assert.equal(health.everUp, telling.includes('+'));
    assert.equal(health.failingSince === null, telling.length === 0 || telling.at(-1) === '+');
  }));
});

test('every reason passes, fails or says nothing, and only what was heard fails loudly', () => {
  const of = (verdict: boolean | null) => (Object.keys(REASONS) as Reason[]).filter((r) => passes(r) === verdict);
  assert.deepEqual(of(true), ['Answered', 'NotRefused']);
  assert.deepEqual(of(null), ['NotChecked']);
});

test('text of a server cannot break a line or grow', () => {
  assert.equal(printable('bad\r\nX-Evil: \u001b[31m1\u202e '), 'bad X-Evil: [31m1');
  assert.equal(printable('x'.repeat(5_000)).length, 200);
});
