/** The guards: when silence of all is believed, when not, and how it ends. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { massFailures, panics, type GuardMember, type MassFailure } from '../../../../src/agent/health/guard.ts';
import type { Reason } from '../../../../src/agent/health/outcome.ts';
import { UNKNOWN, advance } from '../../../../src/agent/health/verdict.ts';

const check = { periodMs: 5_000, timeoutMs: 1_000, rise: 2, fall: 3 };
const NONE: ReadonlyMap<string, MassFailure> = new Map();

/** A target after these results, given as [milliseconds, reason]. Key: `address` or `address#n`. */
function member(key: string, results: readonly (readonly [number, Reason])[], link = 'e0'): GuardMember {
  const health = results.reduce((h, [at, reason]) => advance(h, { at, reason, message: '', tookMs: 0 }, check), UNKNOWN);
  return { key, link, address: key.split('#')[0]!, check, health };
}
const failing = (key: string, from: number, reason: Reason = 'Timeout', link = 'e0') => member(key, [[0, 'Answered'], [from, reason], [from + 5_000, reason], [from + 10_000, reason]], link);
const good = (key: string, link = 'e0') => member(key, [[0, 'Answered'], [60_000, 'Answered']], link);
const heldOf = (members: readonly GuardMember[], previous = NONE, now = 100_000) => Object.fromEntries([...massFailures(members, previous, now)].map(([link, f]) => [link, [...f.held].sort()]));

const cases: readonly { name: string; members: readonly GuardMember[]; held: Readonly<Record<string, readonly string[]>> }[] = [
  { name: 'all silent within one period: all are held', members: [failing('a', 50_000), failing('b', 54_000)], held: { e0: ['a', 'b'] } },
  { name: 'no way to them is silence too', members: [failing('a', 50_000, 'Unreachable'), failing('b', 50_000)], held: { e0: ['a', 'b'] } },
  { name: 'one that is up is enough to believe the others', members: [failing('a', 50_000), failing('b', 50_000), good('c')], held: {} },
  { name: 'one that refuses is enough: it was reached', members: [failing('a', 50_000), failing('b', 50_000), failing('c', 50_000, 'Refused')], held: {} },
  { name: 'one that accepts and hangs was reached as well', members: [failing('a', 50_000), failing('b', 50_000, 'Hangs')], held: {} },
  { name: 'a single target proves nothing about a network', members: [failing('a', 50_000)], held: {} },
  { name: 'nor do two ports of one host', members: [failing('a#1', 50_000), failing('a#2', 50_000)], held: {} },
  { name: 'one after the other is not at once', members: [failing('a', 20_000), failing('b', 50_000)], held: {} },
  { name: 'who was dead long before stays dead', members: [failing('a', 10_000), failing('b', 50_000), failing('c', 51_000)], held: { e0: ['b', 'c'] } },
  { name: 'each interface for itself', members: [failing('a', 50_000), failing('b', 50_000), good('c', 'e1'), failing('d', 50_000, 'Timeout', 'e1')], held: { e0: ['a', 'b'] } },
  { name: 'before anything is down there is nothing to hold', members: [member('a', [[0, 'Answered'], [50_000, 'Timeout']]), member('b', [[0, 'Answered'], [51_000, 'Timeout']])], held: {} },
  { name: 'the first that is down is held when the others only fail', members: [failing('a', 50_000), member('b', [[0, 'Answered'], [54_000, 'Timeout']])], held: { e0: ['a', 'b'] } },
  { name: 'who was heard last before all that is not asked again so far', members: [failing('a', 50_000), failing('b', 50_000), member('c', [[49_999, 'Answered']])], held: { e0: ['a', 'b'] } },
  { name: 'who was heard since is enough', members: [failing('a', 50_000), failing('b', 50_000), member('c', [[50_000, 'Answered']])], held: {} },
  { name: 'a restart with the cable out', members: [member('a', [[50_000, 'Timeout']]), member('b', [[50_100, 'Timeout']])], held: { e0: ['a', 'b'] } },
  { name: 'no result yet is no evidence', members: [failing('a', 50_000), failing('b', 50_000), member('c', [])], held: { e0: ['a', 'b'] } },
  { name: 'a UDP port that never answers is no evidence', members: [failing('a', 50_000), failing('b', 50_000), member('c', [[60_000, 'NotRefused']])], held: { e0: ['a', 'b'] } },
  { name: 'a newcomer in the middle of it ends nothing, and is held', members: [failing('a', 50_000), failing('b', 50_000), member('c', [[90_000, 'Timeout']])], held: { e0: ['a', 'b', 'c'] } },
];
for (const { name, members, held } of cases) test(name, () => { assert.deepEqual(heldOf(members), held); });

test('when the network is back everybody has time to pass; who refuses is let go of at once', () => {
  const out = [failing('a', 50_000), failing('b', 50_000), failing('c', 50_000), failing('d', 50_000)];
  const during = massFailures(out, NONE, 70_000);
  assert.deepEqual([...during.get('e0')!.held], ['a', 'b', 'c', 'd']);

  const heard = (m: GuardMember, reason: Reason, at = 72_000): GuardMember => ({ ...m, health: advance(m.health, { at, reason, message: '', tookMs: 0 }, check) });
  const first = [heard(out[0]!, 'Answered'), heard(out[1]!, 'Refused'), out[2]!, out[3]!];
  const ending = massFailures(first, during, 72_000);
  assert.deepEqual([...ending.get('e0')!.held], ['a', 'c', 'd'], 'a has passed once of twice, b is known to be dead');
  assert.equal(ending.get('e0')!.until, 72_000 + 1_000 + 11_000);

  const second = [heard(first[0]!, 'Answered', 77_000), first[1]!, heard(out[2]!, 'Answered', 74_000), out[3]!];
  assert.deepEqual([...massFailures(second, ending, 77_000).get('e0')!.held], ['c', 'd']);
  assert.equal(massFailures(second, ending, 84_000).size, 0, 'who is still silent after the grace is down');
});

test('a failure that lasts is not forgotten when a newcomer shifts the window', () => {
  const out = [failing('a', 50_000), failing('b', 50_000)];
  const during = massFailures(out, NONE, 70_000);
  const flapped = member('c', [[0, 'Answered'], [3_000_000, 'Timeout']]);
  assert.deepEqual([...massFailures([...out, flapped], during, 3_001_000).get('e0')!.held], ['a', 'b', 'c']);
});

test('panic: fewer than the share are up', () => {
  assert.deepEqual([[0, 10, 0], [0, 0, 50], [4, 10, 50], [5, 10, 50], [0, 2, 1], [99, 100, 100], [100, 100, 100]].map(([up, total, share]) => panics(up!, total!, share!)), [false, false, true, false, true, true, false]);
});
