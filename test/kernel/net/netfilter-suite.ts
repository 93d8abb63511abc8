/** The same proofs for both packet-filter backends: what rules do to packets, and that every edit of them is seen. */
import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { findNetfilter, type Netfilter } from '../../../src/kernel/net/netfilter.ts';
import { sameRules } from '../../../src/kernel/net/rules.ts';
import { NO_RULES, type NetfilterRules, type SourceNatRule } from '../../../src/kernel/net/types.ts';
import { SAMPLE } from '../../unit/kernel/net/sample-rules.ts';
import { Bench, DIRECTOR, FLOATING, enterFreshNamespace, sh } from './traffic.ts';

const VIP4 = '10.1.0.100';
const VIP6 = 'fd01::100';
const MARK = 0x77;

/** Everything the traffic below needs. */
const RULES: NetfilterRules = {
  sourceNat: [VIP4, VIP6].flatMap((vip): SourceNatRule[] => {
    const family = vip === VIP4 ? 'IPv4' : 'IPv6';
    const floating = family === 'IPv4' ? FLOATING.v4 : FLOATING.v6;
    return [
      { family, protocol: 'TCP', vip, firstPort: 80, lastPort: 80, mark: 0, to: '' },
      { family, protocol: 'TCP', vip, firstPort: 81, lastPort: 81, mark: 0, to: floating },
      { family, protocol: 'UDP', vip, firstPort: 53, lastPort: 53, mark: 0, to: floating },
      { family, protocol: 'TCP', vip, firstPort: 9000, lastPort: 9009, mark: MARK, to: floating },
      { family, protocol: 'UDP', vip, firstPort: 9000, lastPort: 9009, mark: MARK, to: floating },
    ];
  }),
  marks: [VIP4, VIP6].flatMap((vip) => (['TCP', 'UDP'] as const).map((protocol) => ({ family: vip === VIP4 ? 'IPv4' : 'IPv6', protocol, vip, firstPort: 9000, lastPort: 9009, mark: MARK }) as const)),
  mss: [{ family: 'IPv4', vip: '10.1.0.101', mss: 1300 }, { family: 'IPv6', vip: 'fd01::101', mss: 1250 }],
};

/** Declares the suite for the backend that must be found here. `edits`: shell commands that change SAMPLE's rules by hand. */
export function netfilterSuite(backend: 'nft' | 'iptables', edits: Record<string, string>): void {
  describe(`packet filter by ${backend}`, () => {
    let filter: Netfilter;
    const bench = new Bench();
    before(async () => {
      enterFreshNamespace();
      await bench.open([8080, 9005], [5353, 9005]);
      const found = findNetfilter();
      assert.equal(found?.name, backend);
      filter = found;
      for (const [vip, option] of [[VIP4, ''], [`[${VIP6}]`, '-6 ']] as const) {
        const rip = vip === VIP4 ? '10.2.0.2' : '[fd02::2]';
        sh(`ip addr add ${vip.replace(/[[\]]/g, '')}/${vip === VIP4 ? 32 : '128 nodad preferred_lft 0'} dev d1`);
        for (const [kind, port, real] of [['t', 80, 8080], ['t', 81, 8080], ['u', 53, 5353]] as const) {
          sh(`ipvsadm -A -${kind} ${vip}:${port} -s rr; ipvsadm -a -${kind} ${vip}:${port} -r ${rip}:${real} -m`);
        }
        sh(`ipvsadm -A -f ${MARK} ${option}-s rr; ipvsadm -a -f ${MARK} ${option}-r ${rip}:0 -m`);
      }
    });
    after(() => { bench.close(); });

    it('finds nothing of ours on a fresh host, and leaves nothing by looking', () => {
      assert.equal(filter.read(), null);
      assert.equal(sh('nft list tables 2>/dev/null; cat /proc/net/ip_tables_names 2>/dev/null | grep nat; true').trim(), '');
    });

    it('makes no connection work before there are rules, so that the next test can fail', () => {
      assert.deepEqual(bench.ask(['tcp', VIP4, 80], ['udp', VIP4, 53], ['tcp', VIP6, 80]), ['timeout', 'timeout', 'timeout']);
    });

    it('lets replies come back: to the director\'s own address, to a floating one, over a port range, TCP and UDP, IPv4 and IPv6', async () => {
      await filter.set(RULES);
      assert.ok(sameRules(filter.read(), RULES));
      assert.deepEqual(
        bench.ask(
          ['tcp', VIP4, 80], ['tcp', VIP4, 81], ['udp', VIP4, 53], ['tcp', VIP4, 9005], ['udp', VIP4, 9005],
          ['tcp', VIP6, 80], ['tcp', VIP6, 81], ['udp', VIP6, 53], ['tcp', VIP6, 9005], ['udp', VIP6, 9005],
        ),
        [DIRECTOR.v4, FLOATING.v4, FLOATING.v4, FLOATING.v4, FLOATING.v4, DIRECTOR.v6, FLOATING.v6, FLOATING.v6, FLOATING.v6, FLOATING.v6],
      );
    });

    it('marks only its own range', () => {
      assert.equal(bench.ask(['tcp', VIP4, 9010])[0], 'ECONNREFUSED');
    });

    it('lowers the MSS that a VIP announces, and no other', async () => {
      const cases = [['10.1.0.101', '1300'], ['fd01::101', '1250'], ['10.1.0.1', '1460'], ['fd01::1', '1440']] as const;
      sh('ip addr add 10.1.0.101/32 dev d1; ip addr add fd01::101/128 dev d1 nodad');
      const dump = spawn('ip', ['netns', 'exec', 'cl', 'tcpdump', '-Z', 'root', '-l', '-n', '-i', 'e0', 'src port 7000'], { stdio: ['ignore', 'pipe', 'pipe'] });
      let text = '';
      dump.stdout.on('data', (chunk: Buffer) => { text += chunk.toString(); });
      const server = spawn(process.execPath, ['-e', 'require("net").createServer((s) => s.end("x")).listen(7000, "::", () => console.log("ready"))'], { stdio: ['ignore', 'pipe', 'inherit'] });
      await Promise.all([once(server.stdout, 'data'), once(dump.stderr, 'data')]);
      const seen = (address: string): string | undefined => text.split('\n').find((line) => line.includes(` ${address}.7000 >`) && line.includes('Flags [S.]'))?.match(/mss (\d+)/)?.[1];
      // tcpdump says that it listens a moment before it does, and prints a moment after: asked again until it has seen an answer of each.
      for (let i = 0; i < 20 && cases.some(([address]) => seen(address) === undefined); i++) {
        assert.deepEqual(bench.ask(...cases.map(([address]) => ['tcp', address, 7000] as const)), ['x', 'x', 'x', 'x']);
        await new Promise((resolve) => { setTimeout(resolve, 500); });
      }
      server.kill('SIGKILL');
      dump.kill('SIGINT');
      await once(dump, 'close');
      assert.deepEqual(cases.map(([address]) => [address, seen(address)]), cases, text);
    });

    it('reads back every form of rule, whatever was set before', async () => {
      for (const rules of [SAMPLE, RULES, { ...NO_RULES, marks: SAMPLE.marks }, { ...NO_RULES, sourceNat: SAMPLE.sourceNat }, { ...NO_RULES, mss: SAMPLE.mss }, SAMPLE]) {
        await filter.set(rules);
        assert.ok(sameRules(filter.read(), rules), JSON.stringify(filter.read(), null, 1));
      }
    });

    for (const [what, command] of Object.entries(edits)) {
      it(`sees and repairs: ${what}`, async () => {
        // The test before has left SAMPLE in force.
        sh(command);
        assert.equal(sameRules(filter.read(), SAMPLE), false, 'the edit must be seen');
        await filter.set(SAMPLE);
        assert.ok(sameRules(filter.read(), SAMPLE), JSON.stringify(filter.read(), null, 1));
      });
    }

    it('stays usable with 3000 rules, and goes back to few', async () => {
      const vips = Array.from({ length: 1000 }, (_, i) => `10.${20 + (i >> 8)}.7.${i & 255}`);
      const many: NetfilterRules = {
        sourceNat: vips.map((vip) => ({ family: 'IPv4', protocol: 'TCP', vip, firstPort: 80, lastPort: 80, mark: 0, to: vip })),
        marks: vips.map((vip, i) => ({ family: 'IPv4', protocol: 'TCP', vip, firstPort: 90, lastPort: 99, mark: i + 1 })),
        mss: vips.map((vip) => ({ family: 'IPv4', vip, mss: 1400 })),
      };
      await filter.set(many);
      assert.ok(sameRules(filter.read(), many));
      await filter.set(SAMPLE);
      assert.ok(sameRules(filter.read(), SAMPLE));
    });

    it('leaves nothing behind, and touches nobody else\'s rules', async () => {
      // Without the counters of chains, which every packet changes: IPv6 neighbours talk all the time.
      const foreign = backend === 'nft'
        ? { add: 'nft add table inet other; nft add chain inet other c "{ type nat hook postrouting priority 100; }"; nft add rule inet other c masquerade', show: 'nft -s list ruleset' }
        : { add: 'iptables-legacy -t nat -N OTHER; iptables-legacy -t nat -A POSTROUTING -j OTHER; iptables-legacy -t mangle -A PREROUTING -j ACCEPT', show: '{ iptables-legacy-save; ip6tables-legacy-save; } | sed "/^#/d; s/ \\[[0-9:]*\\]$//"' };
      await filter.set(NO_RULES);
      sh(foreign.add);
      const before = sh(foreign.show);
      await filter.set(SAMPLE);
      assert.notEqual(sh(foreign.show), before);
      await filter.set(NO_RULES);
      assert.equal(sh(foreign.show), before);
      assert.equal(filter.read(), null);
    });
  });
}
