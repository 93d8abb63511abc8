/** Marks of Forwarded checks: one for each way to a real server, the same for as long as it is wanted. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { CHECK_MARK_BASE, forwardedWays, isCheckMark, wayName, type ForwardedTo } from '../../../../src/agent/health/forwarded.ts';
import { MARK_BASE } from '../../../../src/controller/compile/marks.ts';
import type { Destination } from '../../../../src/kernel/ipvs/types.ts';

const direct = (address: string, more: Partial<Destination> = {}): ForwardedTo => ({
  family: 'IPv4', destination: { family: 'IPv4', address, port: 80, method: 'direct', weight: 7, upper: 3, lower: 2, tunnelType: 'ipip', tunnelPort: 0, tunnelFlags: 0, ...more },
});

test('a real server has one way however many services share it, and another one by another method', () => {
  const ways = forwardedWays([
    direct('10.0.0.1'), direct('10.0.0.1', { port: 443, weight: 0 }), direct('10.0.0.2'), direct('10.0.0.1', { method: 'tunnel' }), direct('10.0.0.1', { method: 'tunnel', tunnelType: 'gue', tunnelPort: 6080 }),
    { ...direct('10.0.0.1'), family: 'IPv6' },
  ]);
  assert.equal(ways.size, 5);
  assert.equal(new Set([...ways.values()].map((w) => w.mark)).size, 5);
  const { service, destination, mark } = ways.get(wayName(direct('10.0.0.1')))!;
  assert.deepEqual([service.fwmark, service.family, destination.weight, destination.port, destination.upper], [mark, 'IPv4', 1, 0, 0]);
});

test('marks stay while a way is wanted, come back after a restart, and are nobody else\'s', () => {
  const many = Array.from({ length: 5_000 }, (_, i) => direct(`10.0.${i >> 8}.${i & 255}`));
  const first = forwardedWays(many);
  assert.equal(new Set([...first.values()].map((w) => w.mark)).size, 5_000);
  for (const { mark } of first.values()) assert.ok(isCheckMark(mark));
  assert.deepEqual([...forwardedWays(many.toReversed())].sort(), [...first].sort(), 'a restart with the same real servers');
  const later = forwardedWays([...many.slice(2_500), direct('10.9.9.9')], first);
  for (const one of many.slice(2_500)) assert.equal(later.get(wayName(one))!.mark, first.get(wayName(one))!.mark);
  assert.deepEqual([isCheckMark(MARK_BASE), isCheckMark(MARK_BASE + 0x3fff), isCheckMark(CHECK_MARK_BASE - 1), isCheckMark(0x4000)], [false, false, false, false]);
});
