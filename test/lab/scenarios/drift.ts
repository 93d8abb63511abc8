// Drift: what somebody changes behind the product's back is put right. One mutation at a time, each seen to have taken effect first,
// so that a mutation which does nothing cannot pass.

import assert from 'node:assert/strict';
import { scenario, type Agent, type Lab } from '../lab.ts';
import { difference } from '../difference.ts';
import { file, group, pool, server } from '../manifests.ts';
import { lan } from '../topologies.ts';

interface Mutation {
  readonly what: string;
  readonly on?: 'dir1' | 'rs1';
  readonly command: string;
  /** What differs from before in the end, by design, and a command after which all is as before. Absent: nothing. */
  readonly leaves?: { readonly difference: readonly string[]; readonly until: string };
}

const manifests = file(
  pool({ directorGroupRef: { name: 'edge' } }),
  group({ nodeSelector: { matchLabels: { 'kubernetes.io/hostname': 'dir1' } }, timeouts: { tcpSeconds: 800, tcpFinSeconds: 100, udpSeconds: 200 }, connectionSync: { enabled: true, interface: 'e0', syncId: 7 } }),
  server({ name: 'nat', mode: 'NAT', vips: ['10.0.1.200', 'fd00:1::200'], ports: [{ port: 80 }, { port: 53, protocol: 'UDP' }, { port: 132, protocol: 'SCTP' }], endpoints: ['10.0.1.21', '10.0.1.22', 'fd00:1::21'], more: { connectionLimits: { upper: 100, lower: 50 }, scheduler: { name: 'wlc' } } }),
  server({ name: 'sticky', mode: 'NAT', vips: ['10.0.1.201'], endpoints: ['10.0.1.21', '10.0.1.22'], more: { scheduler: { name: 'sh', fallback: true, portAware: true }, persistence: { timeoutSeconds: 240, ipv4PrefixLength: 24 } } }),
  server({ name: 'sip', mode: 'NAT', vips: ['10.0.1.202'], ports: [{ port: 5060, protocol: 'UDP' }], endpoints: ['10.0.1.21'], more: { persistence: { engine: 'sip' } } }),
  server({ name: 'dr', mode: 'DR', vips: ['10.0.1.203', 'fd00:1::203'], endpoints: ['10.0.1.21', '10.0.1.22', 'fd00:1::21'] }),
  server({ name: 'gue', mode: 'TUN', vips: ['10.0.1.204'], endpoints: ['10.0.1.21', '10.0.1.22'], more: { tun: { encapsulation: 'GUE', port: 6080 } } }),
  server({ name: 'range', mode: 'NAT', vips: ['10.0.1.205'], ports: [{ port: 30_000, endPort: 30_010, protocol: 'UDP' }], endpoints: ['10.0.1.21', '10.0.1.22'] }),
);

const mutations: readonly Mutation[] = [
  { what: 'scheduler', command: 'ipvsadm -E -t 10.0.1.200:80 -s rr' },
  { what: 'scheduler flag', command: 'ipvsadm -E -t 10.0.1.201:80 -s sh -b sh-port -p 240 -M 255.255.255.0' },
  { what: 'both scheduler flags', command: 'ipvsadm -E -t 10.0.1.201:80 -s sh -p 240 -M 255.255.255.0' },
  { what: 'persistence timeout', command: 'ipvsadm -E -t 10.0.1.201:80 -s sh -b sh-port,sh-fallback -p 60 -M 255.255.255.0' },
  { what: 'persistence netmask', command: 'ipvsadm -E -t 10.0.1.201:80 -s sh -b sh-port,sh-fallback -p 240 -M 255.255.0.0' },
  { what: 'persistence off', command: 'ipvsadm -E -t 10.0.1.201:80 -s sh -b sh-port,sh-fallback' },
  { what: 'persistence on', command: 'ipvsadm -E -t 10.0.1.200:80 -s wlc -p 300' },
  { what: 'persistence engine', command: 'ipvsadm -E -u 10.0.1.202:5060 -s wrr -p 300' },
  { what: 'one-packet flag', command: 'ipvsadm -E -u 10.0.1.200:53 -s wlc -o' },
  { what: 'weight', command: 'ipvsadm -e -t 10.0.1.200:80 -r 10.0.1.21:80 -m -w 7 -x 100 -y 50' },
  { what: 'weight 0', command: 'ipvsadm -e -t 10.0.1.200:80 -r 10.0.1.21:80 -m -w 0 -x 100 -y 50' },
  { what: 'upper threshold', command: 'ipvsadm -e -t 10.0.1.200:80 -r 10.0.1.21:80 -m -w 1 -x 200 -y 50' },
  { what: 'lower threshold', command: 'ipvsadm -e -t 10.0.1.200:80 -r 10.0.1.21:80 -m -w 1 -x 100 -y 10' },
  {
    what: 'forwarding method', command: 'ipvsadm -e -t 10.0.1.203:80 -r 10.0.1.21:80 -m -w 1',
    // DR shares no destination with connections of NAT, and some may have begun: the real server is back under its second key, until the service is made anew.
    leaves: { until: 'ipvsadm -D -t 10.0.1.203:80', difference: ['- -a -t 10.0.1.203:80 -r 10.0.1.21:80 -g -w 1', '- -> 10.0.1.21:80 0 0', '+ -a -t 10.0.1.203:80 -r 10.0.1.21:0 -g -w 1', '+ -> 10.0.1.21:0 0 0'] },
  },
  { what: 'tunnel type', command: 'ipvsadm -e -t 10.0.1.204:80 -r 10.0.1.21:80 -i -w 1' },
  { what: 'tunnel port', command: 'ipvsadm -e -t 10.0.1.204:80 -r 10.0.1.21:80 -i -w 1 --tun-type gue --tun-port 7000' },
  { what: 'tunnel checksum', command: 'ipvsadm -e -t 10.0.1.204:80 -r 10.0.1.21:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum' },
  { what: 'real server deleted', command: 'ipvsadm -d -t 10.0.1.200:80 -r 10.0.1.22:80' },
  { what: 'real server deleted, IPv6', command: 'ipvsadm -d -t [fd00:1::200]:80 -r [fd00:1::21]:80' },
  { what: 'real server added', command: 'ipvsadm -a -t 10.0.1.200:80 -r 10.0.1.99:80 -m -w 1' },
  { what: 'service deleted', command: 'ipvsadm -D -t 10.0.1.200:80' },
  { what: 'service deleted, UDP', command: 'ipvsadm -D -u 10.0.1.200:53' },
  { what: 'service deleted, SCTP', command: 'ipvsadm -D --sctp-service 10.0.1.200:132' },
  { what: 'service deleted, IPv6', command: 'ipvsadm -D -t [fd00:1::203]:80' },
  { what: 'fwmark service deleted', command: 'ipvsadm -D -f $(ipvsadm -Sn | sed -n "s/^-A -f \\([0-9]*\\) .*/\\1/p")' },
  { what: 'everything flushed', command: 'ipvsadm -C' },
  { what: 'timeouts', command: 'ipvsadm --set 11 12 13' },
  { what: 'sync daemon stopped', command: 'ipvsadm --stop-daemon master' },
  { what: 'VIP deleted', command: 'ip addr del 10.0.1.200/32 dev e0' },
  { what: 'IPv6 VIP deleted', command: 'ip addr del fd00:1::200/128 dev e0' },
  { what: 'IPv6 VIP preferred as a source', command: 'ip addr change fd00:1::200/128 dev e0 preferred_lft forever valid_lft forever' },
  { what: 'local route of a VIP deleted', command: 'ip route del local 10.0.1.200 table local' },
  { what: 'local route of an IPv6 VIP deleted', command: 'ip -6 route del local fd00:1::200 table local' },
  // With the link go its IPv6 addresses: the administrator brings the host's own back, and nobody the VIPs.
  { what: 'NIC down and up', command: 'own=$(ip -6 -o addr show dev e0 scope link | sed "s/.*inet6 \\([^ ]*\\) .*/\\1/"); ip link set e0 down; ip link set e0 up; for a in $own fd00:1::11/64; do ip addr add $a dev e0 nodad; done; ip route add default via 10.0.1.1; ip -6 route add default via fd00:1::1' },
  { what: 'ip_forward', command: 'echo 0 > /proc/sys/net/ipv4/ip_forward' },
  { what: 'IPv6 forwarding', command: 'echo 0 > /proc/sys/net/ipv6/conf/all/forwarding' },
  { what: 'send_redirects on all', command: 'echo 1 > /proc/sys/net/ipv4/conf/all/send_redirects' },
  { what: 'send_redirects on the NIC', command: 'echo 1 > /proc/sys/net/ipv4/conf/e0/send_redirects' },
  { what: 'vs.conntrack', command: 'echo 0 > /proc/sys/net/ipv4/vs/conntrack' },
  { what: 'expire_nodest_conn', command: 'echo 0 > /proc/sys/net/ipv4/vs/expire_nodest_conn' },
  { what: 'expire_quiescent_template', command: 'echo 0 > /proc/sys/net/ipv4/vs/expire_quiescent_template' },
  { what: 'source NAT rules flushed', command: 'iptables-legacy -t nat -F' },
  { what: 'mark rules flushed', command: 'iptables-legacy -t mangle -F' },
  { what: 'IPv6 source NAT rules flushed', command: 'ip6tables-legacy -t nat -F' },
  { on: 'rs1', what: 'VIP on lo deleted', command: 'ip addr del 10.0.1.203/32 dev lo' },
  { on: 'rs1', what: 'IPv6 VIP on lo deleted', command: 'ip addr del fd00:1::203/128 dev lo' },
  { on: 'rs1', what: 'arp_ignore', command: 'echo 0 > /proc/sys/net/ipv4/conf/all/arp_ignore' },
  { on: 'rs1', what: 'arp_announce', command: 'echo 0 > /proc/sys/net/ipv4/conf/all/arp_announce' },
  { on: 'rs1', what: 'rp_filter on all', command: 'echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter' },
  { on: 'rs1', what: 'rp_filter on the tunnel', command: 'echo 2 > /proc/sys/net/ipv4/conf/$(ip -br link | sed -n "s/^\\(ivs[^@ ]*\\).*/\\1/p" | head -1)/rp_filter' },
  { on: 'rs1', what: 'tunnel down', command: 'ip link set $(ip -br link | sed -n "s/^\\(ivs[^@ ]*\\).*/\\1/p" | head -1) down' },
  { on: 'rs1', what: 'tunnel deleted', command: 'ip link del $(ip -br link | sed -n "s/^\\(ivs[^@ ]*\\).*/\\1/p" | head -1)' },
  { on: 'rs1', what: 'VIP on the tunnel deleted', command: 'ip addr del 10.0.1.204/32 dev $(ip -br link | sed -n "s/^\\(ivs[^@ ]*\\).*/\\1/p" | head -1)' },
  { on: 'rs1', what: 'GUE port closed', command: 'ip fou del port 6080' },
  { on: 'rs1', what: 'MSS rule flushed', command: 'iptables-legacy -t mangle -F' },
];

/**
 * Everything of a host that the product keeps: what prints it, and what of a line counts, '' for nothing. Counters, lifetimes and indexes
 * are left out. Lines are picked and sorted here, because thirty processes for it take a second in a guest.
 */
const STATE: readonly { readonly command: string; readonly counts?: (line: string, words: readonly string[]) => string; readonly ordered?: true }[] = [
  { command: 'ipvsadm -Sn' },
  { command: 'ipvsadm -ln --thresholds', counts: (_, words) => words.slice(0, 4).join(' ') },
  { command: 'ipvsadm -ln --timeout' },
  { command: 'ipvsadm -ln --daemon', counts: (line) => line.split('(')[0]! },
  { command: 'ip -o addr show', counts: (line, [, link, family, address]) => `${link} ${family} ${address} ${line.includes('deprecated') ? 'deprecated' : ''}` },
  { command: 'ip -o link show', counts: (_, [, link, flags]) => `${link} ${flags}` },
  { command: 'ip route show table local', counts: (line) => (line.includes('10.0.1.2') ? line : '') },
  { command: 'ip -6 route show table local', counts: (line) => (line.includes('local fd00:1::20') ? line : '') },
  { command: 'ip fou show' },
  { command: `cd /proc/sys/net; grep -Hs '' ipv4/ip_forward ipv6/conf/all/forwarding ipv4/conf/all/send_redirects ipv4/conf/e0/send_redirects ipv4/vs/conntrack ipv4/vs/expire_nodest_conn ipv4/vs/expire_quiescent_template ipv4/conf/all/arp_ignore ipv4/conf/all/arp_announce ipv4/conf/all/rp_filter ipv4/conf/ivs*/rp_filter` },
  ...['iptables', 'ip6tables'].flatMap((program) => ['nat', 'mangle'].map((table) => (
    { command: `${program}-legacy-save -t ${table}`, counts: (line: string) => (line.startsWith('#') ? '' : line.replace(/\[\d+:\d+\]/, '')), ordered: true } as const))),
];
const MARK = '-- ';

async function state(lab: Lab, host: string): Promise<string> {
  const { stdout } = await lab.host(host).run(STATE.map(({ command }, i) => `echo '${MARK}${i}'; ${command}`).join('\n'));
  return stdout.split(new RegExp(`^${MARK}\\d+\\n`, 'm')).slice(1).map((text, i) => {
    const { counts, ordered } = STATE[i]!;
    const lines = text.split('\n').map((line) => counts?.(line, line.trim().split(/\s+/)) ?? line).filter((line) => line.trim() !== '');
    return `${(ordered ? lines : lines.sort()).join('\n')}\n`;
  }).join('');
}

/**
 * Waits until a reconcile has changed something, by the agent's own word, for at most five seconds: looking at a kernel takes half a second
 * of the one CPU away from who is to repair it. It proves nothing.
 */
async function repairing(lab: Lab, agent: Agent, since: number): Promise<void> {
  for (const deadline = performance.now() + 5_000; performance.now() < deadline && (agent.status()?.lastChange ?? 0) <= since;) await lab.sleep(50);
}

/** Splits the table over several scenarios, so that two guests share it and none runs for minutes. */
function part(index: number, of: number) {
  return scenario({
    name: `drift-${index + 1}`,
    about: `single mutations of the kernel are repaired (part ${index + 1} of ${of})`,
    topology: lan,
    tags: ['drift'],
    timeoutSeconds: 400,
    run: async (lab) => {
      const agents: Record<string, Agent> = {};
      for (const host of ['dir1', 'rs1'] as const) agents[host] = await lab.agent(host, { manifests: { 'lab.yaml': manifests }, args: ['--resync', '1'] });
      for (const agent of Object.values(agents)) {
        const status = await agent.settled();
        assert.equal(status['ok'], true, JSON.stringify(status));
      }
      const baseline: Record<string, string> = { dir1: await state(lab, 'dir1'), rs1: await state(lab, 'rs1') };
      for (const [i, { what, on = 'dir1', command, leaves }] of mutations.entries()) {
        if (i % of !== index) continue;
        const agent = agents[on]!;
        const { lastChange } = await agent.settled();
        // Stopped for the moment of the mutation, so that its effect can be seen before it is repaired.
        process.kill(agent.pid!, 'SIGSTOP');
        try {
          await lab.host(on).sh(command);
          assert.notEqual(await state(lab, on), baseline[on], `${what}: the mutation has no effect`);
        } finally {
          process.kill(agent.pid!, 'SIGCONT');
        }
        await repairing(lab, agent, lastChange);
        await lab.eventually(async () => assert.deepEqual(difference(baseline[on]!, await state(lab, on)), leaves?.difference ?? []), { withinMs: 45_000, what });
        if (leaves) {
          await lab.host(on).sh(leaves.until);
          await lab.eventually(async () => assert.deepEqual(difference(baseline[on]!, await state(lab, on)), []), { withinMs: 45_000, what: `${what}, and ${leaves.until}` });
        }
        lab.log(`repaired: ${what}`);
      }
    },
  });
}

export const drift1 = part(0, 2);
export const drift2 = part(1, 2);
