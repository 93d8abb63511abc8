// Proves the bench itself: plain ipvsadm and ip in every topology, no product code. When one of these fails, no other
// scenario's result means anything.

import assert from 'node:assert/strict';
import { scenario, type Lab } from '../lab.ts';
import { lan, routed, twoArmed, vip, vip6 } from '../topologies.ts';
import { watchVips } from '../vip-watch.ts';

const servers = ['rs1', 'rs2', 'rs3'] as const;
const even = { rs1: 4, rs2: 4, rs3: 4 };

/** DR by hand: VIP on the director's NIC and on each real server's lo. */
async function directRouting(lab: Lab, arpPolicy: boolean): Promise<void> {
  await Promise.all(servers.map(async (rs) => {
    if (arpPolicy) await lab.host(rs).sh('echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore; echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce');
    await lab.host(rs).sh(`ip addr add ${vip}/32 dev lo; ip addr add ${vip6}/128 dev lo`);
    await lab.serve(rs, { tcp: [80] });
    await lab.serve(rs, { udp: [53], bind: [vip, vip6] });
  }));
  await lab.host('dir1').sh(`ip addr add ${vip}/32 dev e0; ip -6 addr add ${vip6}/128 dev e0 nodad preferred_lft 0`);
  const services = [`-t ${vip}:80`, `-u ${vip}:53`, `-t [${vip6}]:80`, `-u [${vip6}]:53`];
  await lab.host('dir1').sh(services.map((service) => [
    `ipvsadm -A ${service} -s rr`,
    ...[21, 22, 23].map((number) => `ipvsadm -a ${service} -r ${service.includes('[') ? `[fd00:1::${number}]` : `10.0.1.${number}`}:${service.slice(-2)} -g`),
  ].join('\n')).join('\n'));
}

export const dr = scenario({
  name: 'bench-selftest-dr',
  about: 'DR by hand: both clients, TCP and UDP, both families; who answers ARP and ND; held connections; a stream',
  topology: lan,
  tags: ['bench-selftest'],
  run: async (lab) => {
    await directRouting(lab, true);
    for (const client of ['c1', 'lc']) {
      for (const address of [vip, vip6]) {
        const tcp = await lab.get(client, { address, port: 80, count: 12 });
        assert.deepEqual(tcp.by, even, `${client} over TCP to ${address}: ${JSON.stringify(tcp)}`);
        assert.deepEqual((await lab.get(client, { address, port: 53, protocol: 'udp', count: 12 })).by, even);
        const own = { c1: ['10.0.9.100', 'fd00:9::100'], lc: ['10.0.1.50', 'fd00:1::50'] }[client]!;
        assert.deepEqual(tcp.sources, [address.includes(':') ? own[1] : own[0]], 'real servers see the client');
      }
    }
    assert.deepEqual(await lab.arp('lc', vip), [lab.host('dir1').mac()]);
    assert.deepEqual(await lab.nd('lc', vip6), [lab.host('dir1').mac()]);
    assert.deepEqual(await lab.arp('lc', '10.0.1.99'), [], 'nobody has this address');

    const held = await lab.hold('c1', { address: vip, port: 80, count: 30 });
    const stream = await lab.stream('lc', { address: vip, port: 53, protocol: 'udp', everyMs: 50, timeoutMs: 5000 });
    await lab.eventually(async () => (await stream.report()).ok > 10, { withinMs: 20_000, what: 'the stream runs' });
    const { alive, broken, by } = await held.check();
    assert.deepEqual({ alive, broken, by }, { alive: 30, broken: 0, by: { rs1: 10, rs2: 10, rs3: 10 } });
    const report = await stream.stop();
    assert.equal(report.lost, 0, JSON.stringify(report));

    // The probes see an outage: the director's table goes, held connections with it.
    const outage = await lab.stream('c1', { address: vip, port: 80, everyMs: 50 });
    await lab.eventually(async () => (await outage.report()).ok > 0, { withinMs: 20_000, what: 'somebody answers' });
    await lab.host('dir1').sh('ipvsadm -C; ip link set e0 down');
    await lab.eventually(async () => {
      const seen = await outage.report();
      assert.ok(seen.lost > 0 && seen.maxGapMs > 400, JSON.stringify(seen));
    }, { withinMs: 20_000, what: 'the outage is seen' });
    await outage.stop();
    const after = await held.check();
    assert.equal(after.alive, 0);
  },
});

export const arpFault = scenario({
  name: 'bench-selftest-arp-fault',
  about: 'without the ARP policy on the real servers all four hosts answer, and the bench sees it',
  topology: lan,
  tags: ['bench-selftest'],
  run: async (lab) => {
    await directRouting(lab, false);
    const everyone = ['dir1', ...servers].map((host) => lab.host(host).mac()).sort();
    assert.deepEqual(await lab.arp('lc', vip), everyone);
    assert.deepEqual(await lab.nd('lc', vip6), [lab.host('dir1').mac()], 'IPv6 needs no policy');
  },
});

export const nat = scenario({
  name: 'bench-selftest-nat',
  about: 'NAT by hand with the director as gateway, port 8080 to 80, both families',
  topology: twoArmed,
  tags: ['bench-selftest'],
  run: async (lab) => {
    await Promise.all(servers.map((rs) => lab.serve(rs, { tcp: [80], udp: [53] })));
    await lab.host('dir1').sh(`
      echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
      ip addr add ${vip}/32 dev e0; ip -6 addr add ${vip6}/128 dev e0 nodad preferred_lft 0
      for n in 21 22 23; do [ $n = 21 ] && { ipvsadm -A -t ${vip}:8080 -s rr; ipvsadm -A -t [${vip6}]:8080 -s rr; }
        ipvsadm -a -t ${vip}:8080 -r 10.0.5.$n:80 -m; ipvsadm -a -t [${vip6}]:8080 -r [fd00:5::$n]:80 -m; done`);
    for (const client of ['c1', 'lc']) {
      for (const address of [vip, vip6]) {
        const answers = await lab.get(client, { address, port: 8080, count: 12 });
        assert.deepEqual(answers.by, even, JSON.stringify(answers));
      }
    }
    assert.deepEqual((await lab.get('c1', { address: vip, port: 81 })).errors, { ECONNREFUSED: 1 });
    assert.equal((await lab.host('dir1').ipvsSave()).length, 8);
  },
});

export const tun = scenario({
  name: 'bench-selftest-tun',
  about: 'TUN by hand over routers: distribution, and an upload that stalls until the real server clamps its MSS',
  topology: routed,
  tags: ['bench-selftest'],
  run: async (lab) => {
    await Promise.all(servers.map(async (rs) => {
      await lab.host(rs).sh(`modprobe ipip; ip link set tunl0 up; ip addr add ${vip}/32 dev tunl0
        echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/tunl0/rp_filter`);
      await lab.serve(rs, { tcp: [80] });
    }));
    await lab.host('dir1').sh(`ip addr add ${vip}/32 dev e0; ipvsadm -A -t ${vip}:80 -s rr
      for rs in 10.0.2.21 10.0.2.22 10.0.3.23; do ipvsadm -a -t ${vip}:80 -r $rs -i; done`);
    for (const client of ['c1', 'lc']) {
      assert.deepEqual((await lab.get(client, { address: vip, port: 80, count: 12 })).by, even);
    }
    const down = await lab.big('c1', { address: vip, port: 80, bytes: 300_000, direction: 'download' });
    assert.deepEqual([down.stalled, down.bytes], [false, 300_000]);
    // ICMP "fragmentation needed" must not reach the client for the stall to show.
    await lab.host('gw').sh('iptables-legacy -A FORWARD -p icmp --icmp-type fragmentation-needed -j DROP; iptables-legacy -A OUTPUT -p icmp -j DROP');
    await lab.host('c1').sh('ip route flush cache');
    const stuck = await lab.big('c1', { address: vip, port: 80, bytes: 300_000, direction: 'upload', stallMs: 1500 });
    assert.equal(stuck.stalled, true);
    await Promise.all(servers.map((rs) => lab.host(rs).sh(`iptables-legacy -t mangle -A OUTPUT -s ${vip} -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1440`)));
    const clamped = await lab.big('c1', { address: vip, port: 80, bytes: 300_000, direction: 'upload' });
    assert.equal(clamped.stalled, false);
  },
});

export const vipMoves = scenario({
  name: 'bench-selftest-vip-watch',
  about: 'a VIP that goes from one host to the other was never on both, and one that is on both is seen',
  topology: lan,
  tags: ['bench-selftest'],
  run: async (lab) => {
    const watch = await watchVips(lab, ['dir1', 'dir2']);
    const move = (host: string, verb: 'add' | 'del', dev = 'e0') => lab.host(host).sh(`ip addr ${verb} ${vip}/32 dev ${dev}`);
    for (let i = 0; i < 10; i++) {
      await move('dir1', 'add');
      await move('dir1', 'del');
      await move('dir2', 'add');
      await move('dir2', 'del');
    }
    await move('dir1', 'add', 'lo');
    await move('rs1', 'add');
    await watch.caughtUp();
    assert.deepEqual(watch.moves.map(({ host, kind }) => `${host} ${kind}`), Array.from({ length: 10 }, () => ['dir1 came', 'dir1 went', 'dir2 came', 'dir2 went']).flat());
    assert.deepEqual([watch.overlaps, watch.holders(vip)], [[], []]);
    await move('dir2', 'add');
    await move('dir1', 'del', 'lo');
    await move('dir1', 'add');
    await watch.caughtUp();
    assert.deepEqual([watch.overlaps, watch.holders(vip)], [[`${vip} on dir2 and dir1`], ['dir2', 'dir1']]);
  },
});

export const snapshots = scenario({
  name: 'bench-selftest-snapshot',
  about: 'two snapshots of an idle host are equal, and each kind of change shows',
  topology: lan,
  tags: ['bench-selftest'],
  run: async (lab) => {
    const dir1 = lab.host('dir1');
    await dir1.sh(`ipvsadm -A -t ${vip}:80; iptables-legacy -t mangle -A OUTPUT -j MARK --set-mark 1`);
    let before = await lab.snapshot('dir1');
    assert.equal(await lab.snapshot('dir1'), before);
    const changes = [
      'ip addr add 10.0.1.77/32 dev lo', 'ip link set e0 mtu 1400', 'ip route add 10.9.9.0/24 via 10.0.1.1', 'ip -6 route add fd09::/64 via fd00:1::1',
      'ip rule add fwmark 7 lookup 77', 'echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore', `ipvsadm -a -t ${vip}:80 -r 10.0.1.21`,
      'iptables-legacy -t mangle -A OUTPUT -j MARK --set-mark 2', 'ip6tables-legacy -A INPUT -p udp -j ACCEPT', 'ipvsadm --set 901 0 0',
    ];
    for (const change of changes) {
      await dir1.sh(change);
      const after = await lab.snapshot('dir1');
      assert.notEqual(after, before, change);
      before = after;
    }
    assert.equal(await dir1.sysctl('net.ipv4.conf.all.arp_ignore'), '1');
    assert.equal(await dir1.sysctl('net.ipv4.no_such_thing'), null);
    assert.deepEqual(await dir1.addresses(), ['lo 127.0.0.1/8', 'lo 10.0.1.77/32', 'lo ::1/128', 'e0 10.0.1.11/24', 'e0 fd00:1::11/64']);
    await lab.eventually(async () => assert.notEqual(await dir1.sysctl('net.ipv4.vs.conntrack'), null), { withinMs: 1000, what: 'IPVS sysctls exist' });
    await assert.rejects(lab.eventually(() => false, { withinMs: 200, what: 'never' }), /not within \d+00 ms: never/);
  },
});
