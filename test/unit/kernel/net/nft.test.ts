import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { nftScript } from '../../../../src/kernel/net/nft.ts';
import { parseNft } from '../../../../src/kernel/net/nft-read.ts';
import { sameRules } from '../../../../src/kernel/net/rules.ts';
import { KernelError } from '../../../../src/kernel/netlink/errors.ts';
import { NO_RULES } from '../../../../src/kernel/net/types.ts';
import { SAMPLE } from './sample-rules.ts';

/** What nft 1.0.6 on Linux 6.1 printed after SAMPLE was set (test/kernel/net-nft repeats it against the real one). */
const LISTED = readFileSync(new URL('fixtures/nft-1.0.6.json', import.meta.url), 'utf8');

describe('the nft script', () => {
  it('replaces the table of ours in one transaction', () => {
    assert.equal(nftScript({ ...NO_RULES, marks: [SAMPLE.marks[1]!] }), `add table inet ipvs_operator
delete table inet ipvs_operator
table inet ipvs_operator {
  map mark_ipv4 {
    type ipv4_addr . inet_proto . inet_service : mark
    flags interval
    elements = { 10.0.0.1 . tcp . 81-90 : 0x10 }
  }
  chain marking {
    type filter hook prerouting priority -150; policy accept;
    meta mark set ip daddr . meta l4proto . th dport map @mark_ipv4
  }
}
`);
  });

  it('only removes the table when there are no rules', () => {
    assert.equal(nftScript(NO_RULES), 'add table inet ipvs_operator\ndelete table inet ipvs_operator\n');
  });

  it('makes a nat chain only where source NAT is wished, because it switches connection tracking on', () => {
    assert.doesNotMatch(nftScript({ ...SAMPLE, sourceNat: [] }), /type nat/);
    assert.match(nftScript(SAMPLE), /type nat hook postrouting priority 99/);
  });

  it('shares one chain between VIPs with the same rules', () => {
    const vips = ['10.0.0.1', '10.0.0.2', '10.0.0.3'];
    const sourceNat = vips.map((vip) => ({ family: 'IPv4', protocol: 'TCP', vip, firstPort: 80, lastPort: 80, mark: 0, to: vip }) as const);
    const script = nftScript({ ...NO_RULES, sourceNat });
    assert.equal(script.match(/chain snat_/g)?.length, 1);
    assert.match(script, /10\.0\.0\.1 : 10\.0\.0\.1,\s+10\.0\.0\.2 : 10\.0\.0\.2,\s+10\.0\.0\.3 : 10\.0\.0\.3/);
  });

  it('keeps the client\'s port: no random source ports', () => {
    assert.doesNotMatch(nftScript(SAMPLE), /random/);
  });
});

describe('reading the nft table back', () => {
  it('gives exactly the rules that were set', () => {
    assert.deepEqual(parseNft(LISTED), SAMPLE);
  });

  const lines = LISTED.split('\n');
  const without = (pattern: RegExp): string => {
    const kept = lines.filter((line) => !pattern.test(line));
    assert.equal(kept.length, lines.length - 1, `${pattern} should be one line of the fixture`);
    return kept.join('\n').replace(/,\n\]/, '\n]');
  };
  const edited = (from: string, to: string): string => {
    assert.ok(LISTED.includes(from), `${from} is not in the fixture`);
    return LISTED.replace(from, to);
  };
  const added = (object: object): string => LISTED.replace(/\n\]\}\s*$/, `,\n${JSON.stringify(object)}\n]}`);
  const rule = (chain: string, expr: unknown[]): object => ({ rule: { family: 'inet', table: 'ipvs_operator', chain, handle: 999, expr } });

  const drift: Record<string, string> = {
    'the mark rule of a family is gone': without(/"rule".*"marking".*@mark_ipv4/),
    'the source NAT rule of a family is gone': without(/"rule".*"source_nat".*@snat_ipv6/),
    'packets of DR are no longer left alone': without(/"rule".*@direct_ipv4/),
    'packets of DR to one VIP are no longer left alone': edited('["10.0.0.2",{"return":null}]', '["10.0.0.2",{"continue":null}]'),
    'packets of DR are left alone too late': LISTED.replace(/(\{"rule".*@direct_ipv4"\}\}\]\}\},)\n(\{"rule".*@snat_ipv4"\}\}\]\}\},)/, '$2\n$1'),
    'a rule of a VIP is gone': without(/"rule".*"snat_1".*\[53,60\]/),
    'the clamp is gone': without(/"rule".*"chain":"mss_1440"/),
    'an element has another mark': edited('"10.0.0.1","tcp",80]},16]', '"10.0.0.1","tcp",80]},17]'),
    'an element has another port': edited('"10.0.0.1","tcp",80]},16]', '"10.0.0.1","tcp",8080]},16]'),
    'an element has a timeout': edited('[{"concat":["fd00::1","sctp",{"range":[7,9]}]},3]', '[{"elem":{"val":{"concat":["fd00::1","sctp",{"range":[7,9]}]},"timeout":60}},3]'),
    'a VIP is sent to another chain': edited('["10.0.0.2",{"jump":{"target":"snat_2"}}]', '["10.0.0.2",{"jump":{"target":"snat_1"}}]'),
    'a VIP is accepted instead': edited('["10.0.0.2",{"jump":{"target":"snat_2"}}]', '["10.0.0.2",{"accept":null}]'),
    'the source address is another': edited('["10.0.0.1","10.0.0.9"]', '["10.0.0.1","10.0.0.10"]'),
    'masquerade became random': edited('{"masquerade":null}', '{"masquerade":{"flags":"fully-random"}}'),
    'the clamp sets another size': edited('"value":1428', '"value":1400'),
    'a base chain hangs at another priority': edited('"hook":"prerouting","prio":-150', '"hook":"prerouting","prio":0'),
    'a base chain hangs at another hook': edited('"hook":"output"', '"hook":"input"'),
    'a map has another type': edited('"type":"ipv4_addr","handle"', '"type":"ipv6_addr","handle"'),
    'the table is dormant': edited('"name":"ipvs_operator","handle"', '"name":"ipvs_operator","flags":"dormant","handle"'),
    'a rule was added to a base chain': added(rule('marking', [{ drop: null }])),
    'a rule was added to a VIP': added(rule('snat_2', [{ masquerade: null }])),
    'a chain was added': added({ chain: { family: 'inet', table: 'ipvs_operator', name: 'extra', handle: 998 } }),
    'a set was added': added({ set: { family: 'inet', table: 'ipvs_operator', name: 'extra', type: 'ipv4_addr', handle: 998 } }),
  };
  for (const [what, json] of Object.entries(drift)) {
    it(`sees that ${what}`, () => { assert.equal(sameRules(parseNft(json), SAMPLE), false); });
  }

  it('carries the packet filter\'s words for a rule that it cannot read', () => {
    const { marks } = parseNft(added(rule('marking', [{ drop: null }])));
    assert.ok(marks.some((mark) => mark.vip === '? marking [{"drop":null}]'), JSON.stringify(marks));
  });

  it('throws nothing but KernelError PROTOCOL, whatever it is given', () => {
    const check = (text: string): void => {
      try {
        parseNft(text);
      } catch (error) {
        assert.ok(error instanceof KernelError && error.code === 'PROTOCOL', String(error));
      }
    };
    fc.assert(fc.property(fc.string(), check));
    fc.assert(fc.property(fc.json(), (json) => check(`{"nftables":${json}}`)));
    fc.assert(fc.property(fc.nat(LISTED.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (at, c) => check(LISTED.slice(0, at) + c + LISTED.slice(at + 1))));
  });
});
