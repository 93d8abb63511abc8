import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { checkRules, sameRules, sortRules } from '../../../../src/kernel/net/rules.ts';
import { KernelError } from '../../../../src/kernel/netlink/errors.ts';
import { NO_RULES, type NetfilterRules } from '../../../../src/kernel/net/types.ts';
import { SAMPLE } from './sample-rules.ts';

const mark = SAMPLE.marks[1]!;
const nat = SAMPLE.sourceNat[0]!;

describe('rules', () => {
  it('are equal whatever their order', () => {
    assert.ok(sameRules(SAMPLE, { sourceNat: SAMPLE.sourceNat.toReversed(), marks: SAMPLE.marks.toReversed(), mss: SAMPLE.mss.toReversed() }));
  });

  it('of nothing equal no rules at all', () => {
    assert.ok(sameRules(null, NO_RULES));
    assert.ok(!sameRules(null, SAMPLE));
  });

  it('keep the smaller of two MSS for one VIP', () => {
    assert.deepEqual(sortRules({ ...NO_RULES, mss: [{ family: 'IPv4', vip: '10.0.0.1', mss: 1440 }, { family: 'IPv4', vip: '10.0.0.1', mss: 1428 }] }).mss, [{ family: 'IPv4', vip: '10.0.0.1', mss: 1428 }]);
  });

  const refused: [string, Partial<NetfilterRules>, RegExp][] = [
    ['a VIP that is no address', { marks: [{ ...mark, vip: '10.0.0.1 } ; flush ruleset ; {' }] }, /no canonical IPv4 address/],
    ['a VIP that is not canonical', { marks: [{ ...mark, family: 'IPv6', vip: 'FD00::1' }] }, /no canonical IPv6 address/],
    ['a VIP of the other family', { marks: [{ ...mark, family: 'IPv6' }] }, /no canonical IPv6 address/],
    ['ports the wrong way round', { marks: [{ ...mark, firstPort: 90, lastPort: 80 }] }, /ports 90-80/],
    ['a port beyond 65535', { sourceNat: [{ ...nat, lastPort: 65536 }] }, /ports 80-65536/],
    ['a protocol that has no ports', { marks: [{ ...mark, protocol: 'ICMP' as never }] }, /protocol ICMP/],
    ['mark 0', { marks: [{ ...mark, mark: 0 }] }, /mark 0/],
    ['a mark of 33 bits', { sourceNat: [{ ...nat, mark: 2 ** 32 }] }, /mark 4294967296/],
    ['a source address of the other family', { sourceNat: [{ ...nat, to: 'fd00::1' }] }, /"fd00::1" is no IPv4 address/],
    ['a port that two marks claim', { marks: [mark, { ...mark, firstPort: 90, lastPort: 99, mark: 99 }] }, /overlap those of mark 16/],
    ['an MSS that no link has', { mss: [{ family: 'IPv4', vip: '10.0.0.1', mss: 100 }] }, /536/],
  ];
  for (const [what, rules, message] of refused) {
    it(`refuse ${what}`, () => {
      assert.throws(() => checkRules({ ...NO_RULES, ...rules }), (error: unknown) => error instanceof KernelError && error.code === 'INVALID' && message.test(error.message));
    });
  }

  it('accept one port under two protocols and two VIPs', () => {
    const marks = [mark, { ...mark, protocol: 'UDP', mark: 2 } as const, { ...mark, vip: '10.0.0.2', mark: 3 }];
    assert.equal(checkRules({ ...NO_RULES, marks }).marks.length, 3);
  });
});
