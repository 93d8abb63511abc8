/**
 * NetClient against a real kernel, in a lab guest; iproute2 is the independent oracle. Each test has the network namespace to
 * itself as far as it matters: links of its own, removed afterwards.
 */
import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { openNet } from '../../../src/kernel/net/client.ts';
import type { LocalRoute, NetClient, NetFailure, NetOperation, Tunnel, VipAddress } from '../../../src/kernel/net/types.ts';

const sh = (command: string): string => execFileSync('sh', ['-c', command], { encoding: 'utf8' });

describe('NetClient', () => {
  let net: NetClient;
  before(() => {
    sh('ip link add t0 type veth peer name t1; ip link set t0 address 02:00:00:00:00:0a; ip link set t0 up; ip link set t1 up; ip link set lo up; ip addr add 10.9.0.1/24 dev t0; ip addr add fd09::1/64 dev t0 nodad');
    net = openNet();
  });
  after(() => {
    net.close();
    sh('ip link del t0');
  });

  const ok = async (...operations: NetOperation[]): Promise<void> => { assert.deepEqual(await net.apply(operations), []); };
  const failures = async (...operations: NetOperation[]): Promise<string[]> =>
    (await net.apply(operations)).map((f: NetFailure) => `${f.index} ${f.error.code} ${f.error.errnoName} ${f.error.message}`);
  const vip4 = (address = '10.9.0.200', link = 't0'): VipAddress => ({ link, family: 'IPv4', address });
  const vip6 = (address = 'fd09::200', link = 't0'): VipAddress => ({ link, family: 'IPv6', address });

  /** The kernel inserts the local route of an IPv6 address from a work queue, milliseconds after the answer. */
  const localRouteOf = async (address: string): Promise<LocalRoute | undefined> => {
    for (let i = 0; i < 100; i++) {
      const route = net.observe().localRoutes.find((r) => r.address === address);
      if (route !== undefined) return route;
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
    return undefined;
  };

  it('sees links as ip does', () => {
    const expected = (JSON.parse(sh('ip -j -d link')) as Record<string, unknown>[]).map((link) => ({
      name: link['ifname'], index: link['ifindex'], mtu: link['mtu'], up: (link['flags'] as string[]).includes('UP'),
    }));
    const { links, complete } = net.observe();
    assert.equal(complete, true);
    assert.deepEqual(links.map(({ name, index, mtu, up }) => ({ name, index, mtu, up })).toSorted((a, b) => a.index - b.index), expected.toSorted((a, b) => Number(a.index) - Number(b.index)));
    const veth = links.find((link) => link.name === 't0')!;
    assert.deepEqual({ kind: veth.kind, carrier: veth.carrier, mac: veth.mac, loopback: veth.loopback }, { kind: 'veth', carrier: true, mac: '02:00:00:00:00:0a', loopback: false });
    assert.deepEqual(links.filter((link) => link.loopback).map((link) => link.name), ['lo']);
  });

  for (const vip of [vip4(), vip6()]) {
    it(`binds and unbinds a VIP of ${vip.family} as a host that the node never uses as its own`, async () => {
      await ok({ kind: 'addAddress', vip });
      const shown = sh(`ip -d addr show dev t0 to ${vip.address}`);
      // The kernel shows no lifetimes of a permanent IPv4 address, only that it is deprecated.
      assert.match(shown, vip.family === 'IPv4' ? /10\.9\.0\.200\/32 scope global deprecated t0\s+valid_lft forever/ : /fd09::200\/128 scope global nodad deprecated\s+valid_lft forever preferred_lft 0sec/);
      assert.doesNotMatch(shown, /tentative/);
      const seen = net.observe();
      assert.deepEqual(seen.addresses.find((a) => a.address === vip.address), { ...vip, prefixLength: vip.family === 'IPv4' ? 32 : 128, deprecated: true, dadFailed: false, protocol: 0x49 });
      assert.deepEqual(await localRouteOf(vip.address), vip);
      await ok({ kind: 'addAddress', vip });
      await ok({ kind: 'delAddress', vip });
      assert.equal(net.observe().addresses.find((a) => a.address === vip.address), undefined);
      await ok({ kind: 'delAddress', vip });
    });

    it(`gives an ${vip.family} address that somebody changed its lifetimes back`, async () => {
      sh(`ip addr add ${vip.address}/${vip.family === 'IPv4' ? 32 : '128 nodad'} dev t0`);
      assert.equal(net.observe().addresses.find((a) => a.address === vip.address)?.deprecated, false);
      await ok({ kind: 'addAddress', vip });
      assert.equal(net.observe().addresses.find((a) => a.address === vip.address)?.deprecated, true);
      await ok({ kind: 'delAddress', vip });
    });

    it(`repairs the local route of an ${vip.family} VIP, and leaves none behind`, async () => {
      const route = vip;
      await ok({ kind: 'addAddress', vip }, { kind: 'addAddress', vip });
      assert.deepEqual(await localRouteOf(vip.address), route);
      sh(`ip ${vip.family === 'IPv4' ? '-4' : '-6'} route del local ${vip.address} table local`);
      assert.equal(net.observe().localRoutes.find((r) => r.address === vip.address), undefined);
      await ok({ kind: 'addLocalRoute', route });
      assert.deepEqual(await localRouteOf(vip.address), route);
      await ok({ kind: 'addLocalRoute', route });
      await ok({ kind: 'delAddress', vip });
      assert.equal(net.observe().localRoutes.find((r) => r.address === vip.address), undefined);
      assert.doesNotMatch(sh('ip route show table local; ip -6 route show table local'), new RegExp(vip.address));
    });
  }

  it('makes an IPv4 address local on two links and repairs each', async () => {
    await ok({ kind: 'addAddress', vip: vip4() }, { kind: 'addAddress', vip: vip4('10.9.0.200', 'lo') });
    assert.match(sh('ip -d addr show dev lo to 10.9.0.200'), /10\.9\.0\.200\/32 scope host deprecated/);
    sh('ip route del local 10.9.0.200 table local dev lo');
    await ok({ kind: 'addLocalRoute', route: vip4('10.9.0.200', 'lo') });
    assert.equal(sh('ip route show table local 10.9.0.200').trim().split('\n').length, 2);
    await ok({ kind: 'delAddress', vip: vip4() }, { kind: 'delAddress', vip: vip4('10.9.0.200', 'lo') });
    assert.equal(sh('ip route show table local 10.9.0.200'), '');
  });

  it('does not take away an administrator\'s address with its network', async () => {
    sh('ip addr add 10.9.0.201/24 dev t0');
    await ok({ kind: 'delAddress', vip: vip4('10.9.0.201') });
    assert.match(sh('ip addr show dev t0'), /10\.9\.0\.201\/24/);
    sh('ip addr del 10.9.0.201/24 dev t0');
  });

  it('binds an address anew that lost duplicate address detection', async () => {
    // The peer defends the address, so the kernel finds it taken.
    sh('ip netns add dad; ip link add d0 type veth peer name d1 netns dad; ip link set d0 up; ip -n dad link set d1 up; ip -n dad addr add fd0a::5/64 dev d1 nodad; sleep 1');
    try {
      sh('ip addr add fd0a::5/128 dev d0');
      for (let i = 0; i < 100 && sh('ip addr show dev d0 to fd0a::5').includes('tentative') && !sh('ip addr show dev d0 to fd0a::5').includes('dadfailed'); i++) await new Promise((resolve) => { setTimeout(resolve, 100); });
      assert.equal(net.observe().addresses.find((a) => a.address === 'fd0a::5')?.dadFailed, true, sh('ip addr show dev d0'));
      await ok({ kind: 'addAddress', vip: vip6('fd0a::5', 'd0') });
      assert.deepEqual(net.observe().addresses.find((a) => a.address === 'fd0a::5'), { ...vip6('fd0a::5', 'd0'), prefixLength: 128, deprecated: true, dadFailed: false, protocol: 0x49 });
    } finally {
      sh('ip link del d0; ip netns del dad');
    }
  });

  it('says ENODEV for a link that is not there, and needs none to be gone to delete from it', async () => {
    const [failure] = await net.apply([{ kind: 'addAddress', vip: vip4('10.9.0.202', 'nowhere') }]);
    assert.deepEqual([failure?.error.code, failure?.error.errnoName, failure?.error.object], ['KERNEL_REFUSED', 'ENODEV', 'nowhere']);
    await ok({ kind: 'delAddress', vip: vip4('10.9.0.202', 'nowhere') }, { kind: 'delTunnel', name: 'nowhere' });
  });

  it('names IPv6 that is switched off', async () => {
    sh('ip link add v0 type dummy; ip link set v0 up; echo 1 > /proc/sys/net/ipv6/conf/v0/disable_ipv6');
    assert.match((await failures({ kind: 'addAddress', vip: vip6('fd0b::1', 'v0') }))[0] ?? '', /KERNEL_REFUSED EACCES .*net\.ipv6\.conf\.v0\.disable_ipv6/);
    sh('ip link del v0');
  });

  it('carries on after an operation that fails, and names it', async () => {
    const found = await failures(
      { kind: 'addAddress', vip: vip4('10.9.0.203') },
      { kind: 'addAddress', vip: vip4('not an address') },
      { kind: 'linkUp', name: 'nowhere' },
      { kind: 'setSysctl', sysctl: { path: 'net/ipv4/conf/nowhere/rp_filter', value: '0' }, from: '' },
      { kind: 'addAddress', vip: vip4('10.9.0.204') },
    );
    assert.equal(found.length, 3, found.join('\n'));
    assert.match(found[0]!, /^1 INVALID/);
    assert.match(found[1]!, /^2 KERNEL_REFUSED ENODEV RTM_SETLINK nowhere/);
    assert.match(found[2]!, /^3 MODULE_MISSING ENOENT write net\/ipv4\/conf\/nowhere\/rp_filter/);
    const there = net.observe().addresses.map((a) => a.address);
    assert.ok(there.includes('10.9.0.203') && there.includes('10.9.0.204'));
    await ok({ kind: 'delAddress', vip: vip4('10.9.0.203') }, { kind: 'delAddress', vip: vip4('10.9.0.204') });
  });

  it('binds 1000 VIPs at once, and reads them without holding the event loop', async () => {
    const operations = Array.from({ length: 1000 }, (_, i): NetOperation => ({ kind: 'addAddress', vip: vip4(`10.77.${i >> 8}.${i & 255}`) }));
    await ok(...operations);
    const seen = net.observe();
    assert.equal(seen.addresses.filter((a) => a.address.startsWith('10.77.')).length, 1000);
    assert.equal(seen.localRoutes.filter((r) => r.address.startsWith('10.77.')).length, 1000);
    let turns = 0;
    const signal = new AbortController().signal;
    const count = (): void => {
      turns++;
      counting = setImmediate(count);
    };
    let counting = setImmediate(count);
    // Twice at a time: they share a socket.
    assert.deepEqual(await Promise.all([net.observeSlowly(signal), net.observeSlowly(signal)]), [seen, seen]);
    clearImmediate(counting);
    assert.ok(turns > 2, `${turns} turns of the event loop`);
    const left = new AbortController();
    const leaving = net.observeSlowly(left.signal);
    left.abort();
    await assert.rejects(leaving, { name: 'AbortError' });
    assert.deepEqual(await net.observeSlowly(signal), seen, 'after one that was left');
    await ok(...operations.map((o): NetOperation => ({ ...o, kind: 'delAddress' }) as NetOperation));
    assert.equal(net.observe().addresses.filter((a) => a.address.startsWith('10.77.')).length, 0);
  });

  const tunnels: (Tunnel & { readonly shows: RegExp })[] = [
    { name: 'ivo-ipip', kind: 'ipip', local: '10.9.0.1', checksum: false, shows: /ipip (any )?remote any local 10\.9\.0\.1/ },
    { name: 'ivo-sit', kind: 'sit', local: '10.9.0.1', checksum: false, shows: /sit (any |ip6ip )?remote any local 10\.9\.0\.1/ },
    { name: 'ivo-gre', kind: 'gre', local: '10.9.0.1', checksum: false, shows: /gre remote any local 10\.9\.0\.1/ },
    { name: 'ivo-grec', kind: 'gre', local: '10.9.0.1', checksum: true, shows: /gre remote any local 10\.9\.0\.1.*icsum.*ocsum/ },
    { name: 'ivo-ip6tnl', kind: 'ip6tnl', local: 'fd09::1', checksum: false, shows: /ip6tnl any remote any local fd09::1/ },
    { name: 'ivo-ip6gre', kind: 'ip6gre', local: 'fd09::1', checksum: false, shows: /ip6gre remote any local fd09::1/ },
  ];
  for (const { shows, ...tunnel } of tunnels) {
    it(`makes a receiving ${tunnel.kind} device${tunnel.checksum ? ' with checksums' : ''}, with a VIP on it in the same call`, async () => {
      const vip = vip4('10.9.0.210', tunnel.name);
      await ok({ kind: 'addTunnel', tunnel }, { kind: 'linkUp', name: tunnel.name }, { kind: 'addAddress', vip },
        { kind: 'setSysctl', sysctl: { path: `net/ipv4/conf/${tunnel.name}/rp_filter`, value: '0' }, from: '' });
      assert.match(sh(`ip -d link show dev ${tunnel.name}`).replaceAll('\n', ' '), shows);
      const seen = net.observe().links.find((link) => link.name === tunnel.name)!;
      assert.deepEqual([seen.kind, seen.up, seen.tunnelLocal, seen.tunnelRemote, seen.mac], [tunnel.kind, true, tunnel.local, '', '']);
      assert.equal(net.readSysctl(`net/ipv4/conf/${tunnel.name}/rp_filter`), '0');
      await ok({ kind: 'addTunnel', tunnel });
      await ok({ kind: 'delTunnel', name: tunnel.name }, { kind: 'delAddress', vip });
      assert.notEqual(spawnSync('ip', ['link', 'show', 'dev', tunnel.name]).status, 0);
    });
  }

  it('tells a tunnel of ours from another with the same end points or the same name', async () => {
    await ok({ kind: 'addTunnel', tunnel: tunnels[0]! });
    assert.match((await failures({ kind: 'addTunnel', tunnel: { ...tunnels[0]!, name: 'ivo-other' } }))[0] ?? '', /KERNEL_REFUSED EEXIST RTM_NEWLINK ivo-other ipip local 10\.9\.0\.1/);
    assert.match((await failures({ kind: 'addTunnel', tunnel: { ...tunnels[0]!, local: '10.9.0.2' } }))[0] ?? '', /EEXIST/);
    await ok({ kind: 'delTunnel', name: 'ivo-ipip' });
  });

  it('refuses to delete a link that is no tunnel, and a name that no link can have', async () => {
    assert.match((await failures({ kind: 'delTunnel', name: 't0' }))[0] ?? '', /^0 INVALID .*no tunnel \(kind veth\)/);
    assert.match((await failures({ kind: 'linkUp', name: 'a-name-of-16-char' }))[0] ?? '', /^0 INVALID/);
  });

  it('opens and closes GUE ports for both families', async () => {
    for (const family of ['IPv4', 'IPv6'] as const) {
      const fou = { family, port: 6080 };
      await ok({ kind: 'addFou', fou });
      assert.match(sh(`ip ${family === 'IPv4' ? '-4' : '-6'} fou show`), /port 6080 gue/);
      assert.deepEqual(net.observe().fou, [fou]);
      await ok({ kind: 'addFou', fou });
      await ok({ kind: 'delFou', fou });
      assert.deepEqual(net.observe().fou, []);
      await ok({ kind: 'delFou', fou });
    }
  });

  it('names the reason when another program has the GUE port', async () => {
    const holder = createSocket('udp4').bind(6081, '0.0.0.0');
    await once(holder, 'listening');
    try {
      assert.match((await failures({ kind: 'addFou', fou: { family: 'IPv4', port: 6081 } }))[0] ?? '', /EADDRINUSE.*another program has this UDP port/);
    } finally {
      holder.close();
    }
  });

  it('reads and writes sysctls, of links with dots in their names as well', async () => {
    sh('ip link add link t0 name t0.100 type vlan id 100 2>/dev/null || ip link add t0.100 type dummy');
    const path = 'net/ipv4/conf/t0.100/arp_ignore';
    await ok({ kind: 'setSysctl', sysctl: { path, value: '1' }, from: '0' });
    assert.equal(net.readSysctl(path), '1');
    assert.equal(sh('cat /proc/sys/net/ipv4/conf/t0.100/arp_ignore').trim(), '1');
    sh('ip link del t0.100');
    assert.equal(net.readSysctl(path), null);
    assert.match(net.readSysctl('net/ipv4/tcp_rmem') ?? '', /^\d+ \d+ \d+$/);
    assert.match((await failures({ kind: 'setSysctl', sysctl: { path: 'net/ipv4/ip_forward', value: 'many' }, from: '0' }))[0] ?? '', /KERNEL_REFUSED EINVAL .*"many"/);
  });

  it('sees changes of others, and lets the process end', async () => {
    const stop = new AbortController();
    let calls = 0;
    net.watch(() => { calls++; }, stop.signal);
    const until = async (wanted: number): Promise<void> => {
      for (let i = 0; i < 200 && calls < wanted; i++) await new Promise((resolve) => { setTimeout(resolve, 100); });
      assert.ok(calls >= wanted, `${calls} calls`);
    };
    sh('ip addr add 10.9.0.220/32 dev t0');
    await until(1);
    sh('ip addr del 10.9.0.220/32 dev t0');
    await until(2);
    // Late events of links that earlier tests made and deleted must not count.
    for (let i = 0, quiet = 0; i < 60 && quiet < 4; i++) {
      calls = 0;
      await new Promise((resolve) => { setTimeout(resolve, 500); });
      quiet = calls === 0 ? quiet + 1 : 0;
    }
    calls = 0;
    sh('ip route add 10.99.0.0/16 via 10.9.0.7 dev t0; ip route del 10.99.0.0/16');
    await new Promise((resolve) => { setTimeout(resolve, 500); });
    assert.equal(calls, 0, 'routes that are not local do not concern us');
    sh('ip route add local 10.9.0.222 dev t0 table local');
    await until(1);
    stop.abort();
    calls = 0;
    sh('ip route del local 10.9.0.222 dev t0 table local; ip addr add 10.9.0.221/32 dev t0; ip addr del 10.9.0.221/32 dev t0');
    await new Promise((resolve) => { setTimeout(resolve, 500); });
    assert.equal(calls, 0);
  });
});
