import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { iptablesScript } from '../../../../src/kernel/net/iptables.ts';
import { hasOwn, iptablesRules, parseIptables } from '../../../../src/kernel/net/iptables-read.ts';
import { sameRules, sortRules } from '../../../../src/kernel/net/rules.ts';
import { NO_RULES, type NetfilterRules } from '../../../../src/kernel/net/types.ts';
import { SAMPLE } from './sample-rules.ts';

const NOTHING = parseIptables('');
const ofFamily = (rules: NetfilterRules, family: string): NetfilterRules => sortRules({
  sourceNat: rules.sourceNat.filter((rule) => rule.family === family), marks: rules.marks.filter((rule) => rule.family === family), mss: rules.mss.filter((rule) => rule.family === family),
});

/** As much of `iptables-restore --noflush` and `iptables-save` as our scripts use: chains, -A, -I, -D, -X. */
function restore(before: string, script: string): string {
  const tables = new Map<string, Map<string, string[]>>();
  let chains = new Map<string, string[]>();
  const load = (text: string, saved: boolean): void => {
    for (const line of text.split('\n')) {
      const [word = '', chain = '', ...rest] = line.split(' ');
      // iptables-save prints host addresses of -m ipvs without their length.
      const rule = rest.join(' ').replace(/(--vaddr \S+)\/(32|128)\b/, '$1');
      if (word.startsWith('*')) {
        const name = word.slice(1);
        if (!tables.has(name)) tables.set(name, new Map([['PREROUTING', []], ['OUTPUT', []], ['POSTROUTING', []]]));
        chains = tables.get(name)!;
      } else if (word.startsWith(':')) {
        if (!saved || !chains.has(word.slice(1))) chains.set(word.slice(1), []);
      } else if (word === '-A' || word === '-I') {
        const target = / -j (IV\S+)/.exec(line)?.[1];
        assert.ok(chains.has(chain), `${line}: no such chain`);
        assert.ok(target === undefined || chains.has(target), `${line}: no such target`);
        if (word === '-A') chains.get(chain)!.push(rule);
        else chains.get(chain)!.unshift(rule);
      } else if (word === '-D') {
        const at = chains.get(chain)!.indexOf(rule);
        assert.ok(at >= 0, `${line}: no such rule`);
        chains.get(chain)!.splice(at, 1);
      } else if (word === '-X') {
        assert.deepEqual(chains.get(chain), [], `${line}: not empty`);
        assert.ok(![...chains.values()].flat().some((other) => other.endsWith(`-j ${chain}`)), `${line}: in use`);
        chains.delete(chain);
      }
    }
  };
  load(before, true);
  load(script, false);
  return [...tables].map(([name, all]) => `*${name}\n${[...all.keys()].map((chain) => `:${chain} - [0:0]\n`).join('')}${
    [...all].flatMap(([chain, rules]) => rules.map((rule) => `-A ${chain} ${rule}\n`)).join('')}COMMIT\n`).join('');
}

function set(before: string, rules: NetfilterRules, family: 'IPv4' | 'IPv6'): string {
  const script = iptablesScript(rules, family, parseIptables(before));
  return script === null ? before : restore(before, script);
}

const SAVED = set('', SAMPLE, 'IPv4');
const read = (text: string, family: 'IPv4' | 'IPv6' = 'IPv4'): NetfilterRules => iptablesRules(parseIptables(text), family);

describe('the iptables-restore input', () => {
  it('declares, fills and hooks our chains', () => {
    assert.equal(iptablesScript({ ...NO_RULES, marks: [SAMPLE.marks[0]!, SAMPLE.marks[1]!] }, 'IPv4', NOTHING), `*mangle
:IPVS-OPERATOR-MARK - [0:0]
-I PREROUTING -j IPVS-OPERATOR-MARK
-A IPVS-OPERATOR-MARK -d 10.0.0.1/32 -p tcp -m multiport --dports 80,81:90 -j MARK --set-xmark 0x10/0xffffffff
COMMIT
`);
  });

  const forms: [string, Partial<NetfilterRules>, 'IPv4' | 'IPv6', string][] = [
    ['one port', { sourceNat: [SAMPLE.sourceNat[0]!] }, 'IPv4', '-m ipvs --vproto 6 --vaddr 10.0.0.1/32 --vport 80 --vmethod MASQ -j SNAT --to-source 10.0.0.9'],
    ['a range of a fwmark service', { sourceNat: [SAMPLE.sourceNat[1]!] }, 'IPv4', '-m mark --mark 0x10 -m ipvs --vproto 17 --vaddr 10.0.0.1/32 --vmethod MASQ -m conntrack --ctorigdstport 53:60 -j MASQUERADE'],
    ['every port', { sourceNat: [SAMPLE.sourceNat[3]!] }, 'IPv4', '-m mark --mark 0x11 -m ipvs --vproto 132 --vaddr 10.0.0.2/32 --vmethod MASQ -j MASQUERADE'],
    ['IPv6', { sourceNat: [SAMPLE.sourceNat[6]!] }, 'IPv6', '-m ipvs --vproto 6 --vaddr fd00::1/128 --vport 80 --vmethod MASQ -j SNAT --to-source fd00::1'],
    ['a mark for every port', { marks: [SAMPLE.marks[2]!] }, 'IPv4', '-d 10.0.0.1/32 -p udp -j MARK --set-xmark 0xffffffff/0xffffffff'],
    ['an MSS that is only lowered', { mss: [SAMPLE.mss[0]!] }, 'IPv4', '-s 10.0.0.1/32 -p tcp -m tcp --tcp-flags SYN,RST SYN -m tcpmss --mss 1441:65535 -j TCPMSS --set-mss 1440'],
  ];
  for (const [what, rules, family, text] of forms) {
    it(`writes ${what}`, () => {
      const script = iptablesScript({ ...NO_RULES, ...rules }, family, NOTHING) ?? '';
      assert.ok(script.includes(` ${text}\n`), script);
    });
  }

  it('changes nothing where nothing is wished and nothing is ours', () => {
    assert.equal(iptablesScript(NO_RULES, 'IPv6', NOTHING), null);
  });

  it('does not touch nat when there is no source NAT and never was', () => {
    assert.doesNotMatch(iptablesScript({ ...SAMPLE, sourceNat: [] }, 'IPv4', NOTHING)!, /\*nat/);
  });

  it('adds the jump once', () => {
    assert.doesNotMatch(iptablesScript(SAMPLE, 'IPv4', parseIptables(SAVED))!, /-I /);
  });

  it('removes chains and jumps, and nothing foreign, when there are no rules any more', () => {
    const foreign = '*nat\n:KUBE-POSTROUTING - [0:0]\n-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING\nCOMMIT\n';
    const before = restore(foreign, '');
    assert.equal(set(set(before, SAMPLE, 'IPv4'), NO_RULES, 'IPv4').replace(/\*mangle[^]*?COMMIT\n/, ''), before);
  });

  it('deletes every jump when somebody has doubled or narrowed it', () => {
    const broken = SAVED.replace('-A PREROUTING -j IPVS-OPERATOR-MARK\n', '-A PREROUTING -i eth9 -j IPVS-OPERATOR-MARK\n-A PREROUTING -j IPVS-OPERATOR-MARK\n-A PREROUTING -j IPVS-OPERATOR-MARK\n');
    assert.equal(sameRules(read(broken), ofFamily(SAMPLE, 'IPv4')), false);
    const repaired = set(broken, SAMPLE, 'IPv4');
    assert.equal(repaired.match(/-A PREROUTING .*IPVS-OPERATOR-MARK/g)?.length, 1);
    assert.deepEqual(read(repaired), ofFamily(SAMPLE, 'IPv4'));
    assert.equal(hasOwn(parseIptables(set(broken, NO_RULES, 'IPv4'))), false);
  });

  it('spreads many rules over networks, so that a packet meets few of them', () => {
    const many = Array.from({ length: 5000 }, (_, i) => ({ family: 'IPv4', protocol: 'TCP', vip: `10.0.${i >> 8}.${i & 255}`, firstPort: 80, lastPort: 90, mark: i + 1 }) as const);
    const rules = sortRules({ ...NO_RULES, marks: many, sourceNat: many.map((rule) => ({ ...rule, mark: 0, to: rule.vip })) });
    const saved = set(SAVED, rules, 'IPv4');
    const state = parseIptables(saved);
    assert.ok(state.rules('mangle', 'IPVS-OPERATOR-MARK').length <= 20);
    assert.ok(state.rules('nat', 'IPVS-OPERATOR-SNAT').length <= 20);
    assert.deepEqual(read(saved), rules);
    const few = set(saved, SAMPLE, 'IPv4');
    assert.deepEqual(read(few), ofFamily(SAMPLE, 'IPv4'), 'buckets disappear again');
    assert.equal(parseIptables(few).chains('mangle').length, 2);
  });
});

describe('reading iptables-save', () => {
  it('gives exactly the rules that were set', () => {
    assert.deepEqual(read(SAVED), ofFamily(SAMPLE, 'IPv4'));
    assert.deepEqual(read(set('', SAMPLE, 'IPv6'), 'IPv6'), ofFamily(SAMPLE, 'IPv6'));
  });

  it('finds nothing of ours in other people\'s rules', () => {
    assert.equal(hasOwn(parseIptables('*nat\n:POSTROUTING ACCEPT [0:0]\n:KUBE-POSTROUTING - [0:0]\n-A POSTROUTING -j KUBE-POSTROUTING\nCOMMIT\n')), false);
  });

  const edits: [string, string | RegExp, string][] = [
    ['a rule is gone', /-A IPVS-OPERATOR-SNAT .*--vproto 132.*\n/, ''],
    ['a jump is gone', '-A OUTPUT -j IPVS-OPERATOR-MSS\n', ''],
    ['a jump is narrowed', '-A OUTPUT -j', '-A OUTPUT -o eth0 -j'],
    ['a mark is another', '0x10/0xffffffff', '0x11/0xffffffff'],
    ['a mark has another mask', '0x10/0xffffffff', '0x10/0xff'],
    ['a port is another', '--vport 80', '--vport 81'],
    ['an address is negated', '-A IPVS-OPERATOR-MARK -d', '-A IPVS-OPERATOR-MARK ! -d'],
    ['an address became a network', '-d 10.0.0.1/32', '-d 10.0.0.0/24'],
    ['a rule was limited to a device', '-p udp -j MARK', '-i eth0 -p udp -j MARK'],
    ['masquerade became random', '-j MASQUERADE', '-j MASQUERADE --random-fully'],
    ['the source address is another', '--to-source 10.0.0.9', '--to-source 10.0.0.10'],
    ['the source address became a range', '--to-source 10.0.0.9', '--to-source 10.0.0.9-10.0.0.10'],
    ['the clamp is another', '--set-mss 1440', '--set-mss 1400'],
    ['a rule was added', '-A IPVS-OPERATOR-MSS -s', '-A IPVS-OPERATOR-MSS -j ACCEPT\n-A IPVS-OPERATOR-MSS -s'],
    ['a match was added', '-m ipvs --vproto 6', '-m statistic --mode random -m ipvs --vproto 6'],
  ];
  for (const [what, from, to] of edits) {
    it(`sees that ${what}`, () => {
      const text = SAVED.replace(from, to);
      assert.notEqual(text, SAVED);
      assert.equal(sameRules(read(text), ofFamily(SAMPLE, 'IPv4')), false);
    });
  }

  it('reads what any rules become, and repairs to the same from any state', () => {
    const port = fc.nat(65535);
    const vip = fc.nat(3).map((n) => `192.0.2.${n}`);
    const ports = fc.tuple(port, port).map(([a, b]) => ({ firstPort: Math.min(a, b), lastPort: Math.max(a, b) }));
    const protocol = fc.constantFrom('TCP', 'UDP', 'SCTP' as const);
    const sourceNat = fc.array(fc.record({ vip, ports, protocol, mark: fc.constantFrom(0, 5), to: fc.constantFrom('', '192.0.2.9') })
      .map(({ ports: p, ...rest }) => ({ family: 'IPv4' as const, ...rest, ...p })), { maxLength: 80 });
    const marks = fc.array(fc.record({ vip, port, protocol, mark: fc.integer({ min: 1, max: 3 }) })
      .map(({ port: p, ...rest }) => ({ family: 'IPv4' as const, ...rest, firstPort: p, lastPort: p })), { maxLength: 80 });
    const mss = fc.array(fc.record({ vip, mss: fc.integer({ min: 536, max: 1460 }) }).map((rule) => ({ family: 'IPv4' as const, ...rule })), { maxLength: 5 });
    const rules = fc.record({ sourceNat, marks, mss }).map((r) => sortRules(r as NetfilterRules));
    fc.assert(fc.property(rules, rules, (first, second) => {
      const saved = set('', first, 'IPv4');
      assert.deepEqual(read(saved), first);
      assert.deepEqual(read(set(saved, second, 'IPv4')), second);
    }), { numRuns: 50 });
  });
});
