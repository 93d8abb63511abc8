/** When VIPs are announced again: repeats, the slow round, and a bound on how many at once. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ANNOUNCE_AT_ONCE, Announcements } from '../../../../src/agent/ownership/announce.ts';
import type { VipAddress } from '../../../../src/kernel/net/types.ts';

const vips = (count: number): Map<string, VipAddress> =>
  new Map(Array.from({ length: count }, (_, i) => [`e0 10.0.${i >> 8}.${i & 255}`, { link: 'e0', family: 'IPv4', address: `10.0.${i >> 8}.${i & 255}` }]));

/** Every announcement in `seconds`, as [second, address], with calls as the loop makes them: when one is due, 50 ms apart, and each second. */
function run(held: (second: number) => ReadonlyMap<string, VipAddress>, seconds: number): [number, string][] {
  const announcements = new Announcements();
  const said: [number, string][] = [];
  for (let at = 0; at <= seconds * 1000;) {
    const result = announcements.due(held(Math.floor(at / 1000)), at);
    assert.ok(result.due.length <= ANNOUNCE_AT_ONCE);
    for (const vip of result.due) said.push([at / 1000, vip.address]);
    at = Math.min(Math.max(at + 50, result.next), (Math.floor(at / 1000) + 1) * 1000);
  }
  return said;
}

test('the plan has announced it at second 0: again at 1 and 2, then each minute', () => {
  const held = vips(1);
  assert.deepEqual(run(() => held, 125).map(([s]) => s), [1, 2, 62, 122]);
});

test('a VIP that left and came back begins anew', () => {
  assert.deepEqual(run((s) => (s === 30 ? new Map() : vips(1)), 34).map(([s]) => s), [1, 2, 32, 33]);
});

test('asked to say it again, all are announced in one second and in two, and then each minute', () => {
  const announcements = new Announcements();
  const held = vips(2);
  const at = (now: number) => announcements.due(held, now).due.length;
  assert.deepEqual([0, 1_000, 2_000, 30_000].map(at), [0, 2, 2, 0]);
  announcements.again(30_000);
  assert.deepEqual([30_500, 31_000, 32_000, 62_000, 92_000].map(at), [0, 2, 2, 0, 2]);
});

test('two thousand VIPs are spread over calls, and each of them is announced once a minute', () => {
  const held = vips(2000);
  const said = Map.groupBy(run(() => held, 140), ([, address]) => address);
  assert.equal(said.size, 2000);
  for (const [address, list] of said) {
    const times = list.map(([at]) => at);
    assert.ok(times.length >= 3 && times.every((at, i) => i === 0 || at - times[i - 1]! < 70), `${address} at ${times.join()}`);
  }
});
