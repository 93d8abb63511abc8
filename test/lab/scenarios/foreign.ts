// What belongs to others stays byte-identical: before, during and after every operation, cleanup included.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { scenario, type Lab } from '../lab.ts';
import { difference } from '../difference.ts';
import { file, group, pool, server } from '../manifests.ts';
import { THEIRS } from '../theirs.ts';
import { lan, vip } from '../topologies.ts';

const everything = file(
  pool(), group({ timeouts: { tcpSeconds: 800, tcpFinSeconds: 100, udpSeconds: 200 } }),
  server({ name: 'nat', mode: 'NAT', vips: [vip, 'fd00:1::200'], ports: [{ port: 80 }, { port: 53, protocol: 'UDP' }], endpoints: ['10.0.1.21', '10.0.1.22', 'fd00:1::21'] }),
  server({ name: 'dr', mode: 'DR', vips: ['10.0.1.203'], endpoints: ['10.0.1.21', '10.0.1.22'] }),
  server({ name: 'tun', mode: 'TUN', vips: ['10.0.1.204'], endpoints: ['10.0.1.21', '10.0.1.22'], more: { tun: { encapsulation: 'GUE' } } }),
  server({ name: 'range', mode: 'NAT', vips: ['10.0.1.205'], ports: [{ port: 30_000, endPort: 30_010, protocol: 'UDP' }], endpoints: ['10.0.1.21'] }),
);

/** Lines of a snapshot that change because of what the manifests ask for; IPv6 forwarding brings anycast routes of the kernel. */
const OURS = /route (anycast|multicast)|^ipvs Timeout|10\.0\.1\.20[0-9]|fd00:1::20[0-9]|ivs|IPVS-OPERATOR|^sysctl net[./]ipv[46][./](ip_forward|vs[./]|conf[./](all|default|e0|e1|lo|mine|tunl0|gre0|gretap0|erspan0|sit0|ip6tnl0|ip6gre0)[./](forwarding|mc_forwarding|send_redirects|arp_ignore|arp_announce|rp_filter|accept_redirects|accept_ra))|conf[./]ivs|neigh[./]ivs|-f 12[0-9]{8}|6080/;

/** Events of rtnetlink that speak of others' things; the kernel itself adds and removes anycast routes when forwarding changes. */
const OTHERS = /10\.0\.1\.24[01]|fd00:1::240|\bmine\b|10\.7[78]\.|fwmark 0x4d/;

/**
 * Looks at what is others' all the time, not only when an operation is over: every event of addresses, links, routes and rules, and twice
 * a second the services and sysctls. `end` resolves to what moved: nothing, if all is well.
 */
function watchOthers(lab: Lab, host: string): { end(): Promise<string[]> } {
  const stop = lab.host(host).path('stop-watching');
  // One process a look, for each costs 25 ms: the kernel's own table, in hexadecimal.
  const script = `ip -o monitor address link route rule > ${stop}.events & monitor=$!
    while [ ! -e ${stop} ]; do
      read ignore < /proc/sys/net/ipv4/conf/mine/arp_ignore; read filter < /proc/sys/net/ipv4/conf/e0/rp_filter
      now="$(awk '/^[A-Z]/ {theirs = /0A0001F0:0050|:0240]:0035|FWM *0000004D/} theirs' /proc/net/ip_vs) $ignore $filter"
      [ "$now" = "$last" ] || { echo "$now"; echo ==; last=$now; }
      sleep 0.5
    done
    kill $monitor; cat ${stop}.events`;
  const running = lab.host(host).run(script, { timeoutMs: 290_000 });
  running.catch(() => {}); // It ends with the scenario at the latest, and end() tells.
  return {
    end: async () => {
      writeFileSync(stop, '');
      const parts = (await running).stdout.split('==\n');
      const events = parts.pop()!.split('\n').filter((line) => OTHERS.test(line) && !line.includes('anycast'));
      for (const seen of ['0A0001F0:0050', '0A000116:0050 +Route +5', 'FWM', '0035', ' 1 2\n$']) assert.match(parts[0]!, new RegExp(seen), 'it has looked');
      return [...parts.slice(1), ...events];
    },
  };
}

async function snapshots(lab: Lab, filter: (line: string) => boolean): Promise<Record<string, string>> {
  const result: Record<string, string> = {};
  for (const host of ['dir1', 'rs1']) result[host] = await lab.snapshot(host, { filter });
  return result;
}

export const foreign = scenario({
  name: 'foreign',
  about: 'services, addresses, links, routes, rules and sysctls of others stay byte-identical through apply, change, restart, removal and cleanup',
  topology: lan,
  tags: ['foreign'],
  timeoutSeconds: 300,
  run: async (lab) => {
    const agents = await Promise.all(['dir1', 'rs1'].map((host) => lab.agent(host, { manifests: {}, start: false })));
    for (const host of ['dir1', 'rs1']) await lab.host(host).sh(THEIRS);
    const before = await snapshots(lab, () => true);
    const others = await snapshots(lab, (line) => !OURS.test(line));
    const watching = ['dir1', 'rs1'].map((host) => watchOthers(lab, host));
    const intact = async (when: string) => {
      const now = await snapshots(lab, (line) => !OURS.test(line));
      for (const host of ['dir1', 'rs1']) assert.deepEqual(difference(others[host]!, now[host]!), [], `${host} ${when}`);
    };
    for (const agent of agents) {
      agent.write('lab.yaml', everything);
      await agent.start();
    }
    for (const agent of agents) assert.equal((await agent.settled())['ok'], true, agent.log.slice(-3000));
    await intact('after apply');
    const [director] = agents;
    const foreignSeen = JSON.stringify(director!.status()!['foreign']);
    for (const key of ['TCP 10.0.1.240:80', 'UDP [fd00:1::240]:53', 'FWM 77 IPv4']) assert.ok(foreignSeen.includes(key), `${key} is reported: ${foreignSeen}`);

    for (const agent of agents) agent.write('lab.yaml', everything.replaceAll('10.0.1.203', '10.0.1.206').replaceAll('"wlc"', '"rr"'));
    for (const agent of agents) await agent.settled();
    await intact('after a change');
    for (const agent of agents) {
      await agent.kill();
      await agent.start();
      await agent.settled();
    }
    await intact('after kill and restart');
    for (const agent of agents) agent.write('lab.yaml', pool());
    for (const agent of agents) await agent.settled();
    await intact('after removal of all VirtualServers');
    for (const agent of agents) {
      agent.write('lab.yaml', everything);
      await agent.settled();
      await agent.stop();
      await intact('after stop');
      assert.equal((await agent.cleanup()).code, 0);
    }
    for (const [i, watch] of watching.entries()) assert.deepEqual(await watch.end(), [], `on ${['dir1', 'rs1'][i]}, at some moment in between`);
    const after = await snapshots(lab, () => true);
    for (const host of ['dir1', 'rs1']) assert.deepEqual(difference(before[host]!, after[host]!), [], `${host} after cleanup: as before we came`);
  },
});

export const conflict = scenario({
  name: 'foreign-conflict',
  about: 'a service of somebody else where ours should be is left alone and reported, and others are served; removed by its owner, ours takes its place',
  topology: lan,
  tags: ['foreign'],
  run: async (lab) => {
    const one = server({ name: 'one', mode: 'NAT', endpoints: ['10.0.1.21'] });
    const two = server({ name: 'two', mode: 'NAT', ports: [{ port: 81 }], endpoints: ['10.0.1.21'] });
    const agent = await lab.agent('dir1', { manifests: { 'lab.yaml': file(pool(), one) }, args: ['--resync', '1'] });
    await agent.settled();
    await lab.host('dir1').sh(`ipvsadm -A -t ${vip}:81 -s mh; ipvsadm -a -t ${vip}:81 -r 10.0.1.23:81 -m -w 9`);
    const theirs = (await lab.host('dir1').ipvsSave()).filter((line) => line.includes(':81'));
    agent.write('lab.yaml', file(pool(), one, two));
    await lab.eventually(() => {
      const text = JSON.stringify(agent.status());
      assert.ok(text.includes('ForeignConflict') && text.includes('ipvsadm -D -t 10.0.1.200:81'), text);
    }, { withinMs: 10_000, what: 'the conflict is reported, with the command that ends it' });
    await lab.sleep(2500);
    assert.deepEqual((await lab.host('dir1').ipvsSave()).filter((line) => line.includes(':81')), theirs);
    await lab.host('dir1').sh(`ipvsadm -D -t ${vip}:81`);
    await lab.eventually(async () => assert.ok((await lab.host('dir1').ipvsSave()).includes(`-a -t ${vip}:81 -r 10.0.1.21:81 -m -w 1`)), { withinMs: 10_000, what: 'ours takes its place' });
    // No manifest changed, so settled() may still mean the status of before.
    await lab.eventually(() => agent.status()!['ok'] === true, { withinMs: 20_000, what: 'and the status says so' });
  },
});

export const adoption = scenario({
  name: 'foreign-adoption',
  about: 'with no ledger, what stands where ours should stand is adopted without breaking a connection, and real servers of others in it stay',
  topology: lan,
  tags: ['foreign'],
  run: async (lab) => {
    await lab.host('dir1').sh(`set -e; modprobe ip_vs
      echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv4/vs/conntrack
      ip addr add ${vip}/32 dev e0
      iptables-legacy -t nat -A POSTROUTING -m ipvs --vaddr ${vip}/32 -j MASQUERADE
      ipvsadm -A -t ${vip}:80 -s rr
      ipvsadm -a -t ${vip}:80 -r 10.0.1.21:80 -m -w 5
      ipvsadm -a -t ${vip}:80 -r 10.0.1.23:80 -m -w 5`);
    for (const rs of ['rs1', 'rs2', 'rs3']) await lab.serve(rs, { tcp: [80] });
    const held = await lab.hold('c1', { address: vip, port: 80, count: 20 });
    const text = file(pool(), server({ mode: 'NAT', endpoints: ['10.0.1.21', '10.0.1.22'] }));
    const agent = await lab.agent('dir1', { manifests: { 'lab.yaml': text } });
    const status = await agent.settled();
    assert.deepEqual(await lab.host('dir1').ipvsSave(), [
      `-A -t ${vip}:80 -s wrr`,
      `-a -t ${vip}:80 -r 10.0.1.21:80 -m -w 1`, `-a -t ${vip}:80 -r 10.0.1.22:80 -m -w 1`, `-a -t ${vip}:80 -r 10.0.1.23:80 -m -w 5`,
    ]);
    assert.ok(JSON.stringify(status['foreign']).includes('10.0.1.23:80'), JSON.stringify(status['foreign']));
    assert.deepEqual({ broken: (await held.check()).broken }, { broken: 0 });
    await held.close();
  },
});
