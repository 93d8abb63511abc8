/** When VIPs are announced again: repeats, the slow round, and a bound on how many at once. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ANNOUNCE_AT_ONCE, dueAnnouncements, type AnnounceStates } from '../../../../src/agent/ownership/announce.ts';
import type { VipAddress } from '../../../../src/kernel/net/types.ts';

const vips = (count: number): Map<string, VipAddress> =>
  new Map(Array.from({ length: count }, (_, i) => [`e0 10.0.${i >> 8}.${i & 255}`, { link: 'e0', family: 'IPv4', address: `10.0.${i >> 8}.${i & 255}` }]));

/** Every announcement in `seconds`, as [second, address], with a call each second. */
function run(held: (second: number) => Map<string, VipAddress>, seconds: number): [number, string][] {
  let states: AnnounceStates = new Map();
  const said: [number, string][] = [];
  for (let s = 0; s <= seconds; s++) {
    const result = dueAnnouncements(states, held(s), s * 1000);
    states = result.states;
    assert.ok(result.due.length <= ANNOUNCE_AT_ONCE);
    for (const vip of result.due) said.push([s, vip.address]);
  }
  return said;
}

test('the plan has announced it at second 0: again at 1 and 2, then each minute', () => {
  assert.deepEqual(run(() => vips(1), 125).map(([s]) => s), [1, 2, 62, 122]);
});

test('a VIP that left and came back begins anew', () => {
  assert.deepEqual(run((s) => (s === 30 ? new Map() : vips(1)), 34).map(([s]) => s), [1, 2, 32, 33]);
});

test('a thousand VIPs are spread over calls, and none is forgotten', () => {
  const said = run(() => vips(1000), 200);
  for (const address of new Set([...vips(1000).values()].map((v) => v.address))) assert.ok(said.filter(([, a]) => a === address).length >= 3, address);
});
