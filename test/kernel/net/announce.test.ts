/** Announcements on a real link: a neighbour's cache follows, and tcpdump agrees about what was sent. */
import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openNet } from '../../../src/kernel/net/client.ts';
import type { NetClient, VipAddress } from '../../../src/kernel/net/types.ts';

/** An ARP entry that changed less than a second ago (net.ipv4.neigh.*.locktime) believes no gratuitous answer. */
const LOCKTIME_MS = 1500;

const sh = (command: string): string => execFileSync('sh', ['-c', command], { encoding: 'utf8' });

describe('announce', () => {
  let net: NetClient;
  before(() => {
    sh('ip netns add peer; ip link add a0 type veth peer name a1 netns peer; ip link set a0 address 02:00:00:00:00:aa; ip link set a0 up; ip -n peer link set a1 up');
    sh('ip addr add 10.8.0.1/24 dev a0; ip -n peer addr add 10.8.0.2/24 dev a1; ip addr add fd08::1/64 dev a0 nodad; ip -n peer addr add fd08::2/64 dev a1 nodad');
    net = openNet();
  });
  after(() => {
    net.close();
    sh('ip link del a0; ip netns del peer');
  });

  /** What tcpdump on the peer prints from `act` on, until all packets are in it or ten seconds have passed. */
  const captured = async (filter: string, packets: readonly RegExp[], act: () => Promise<void>): Promise<string> => {
    const dump = spawn('ip', ['netns', 'exec', 'peer', 'tcpdump', '-Z', 'root', '-l', '-n', '-e', '-vv', '-i', 'a1', filter], { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    let started = '';
    dump.stdout.on('data', (chunk: Buffer) => { text += chunk.toString(); });
    dump.stderr.on('data', (chunk: Buffer) => { started += chunk.toString(); });
    for (let i = 0; i < 100 && !started.includes('listening'); i++) await new Promise((resolve) => { setTimeout(resolve, 100); });
    await new Promise((resolve) => { setTimeout(resolve, LOCKTIME_MS); });
    await act();
    for (let i = 0; i < 100 && !packets.every((packet) => packet.test(text)); i++) await new Promise((resolve) => { setTimeout(resolve, 100); });
    dump.kill('SIGINT');
    await once(dump, 'close');
    return text;
  };

  const cases: { readonly vip: VipAddress; readonly filter: string; readonly packets: readonly RegExp[] }[] = [
    {
      vip: { link: 'a0', family: 'IPv4', address: '10.8.0.200' }, filter: 'arp host 10.8.0.200',
      packets: [
        /02:00:00:00:00:aa > ff:ff:ff:ff:ff:ff, ethertype ARP.*Request who-has 10\.8\.0\.200.*tell 10\.8\.0\.200, length 28/,
        /02:00:00:00:00:aa > ff:ff:ff:ff:ff:ff, ethertype ARP.*Reply 10\.8\.0\.200 is-at 02:00:00:00:00:aa, length 28/,
      ],
    },
    {
      vip: { link: 'a0', family: 'IPv6', address: 'fd08::200' }, filter: 'icmp6 and ip6[40] == 136',
      packets: [/02:00:00:00:00:aa > 33:33:00:00:00:01.*hlim 255.*fd08::200 > ff02::1: \[icmp6 sum ok\] ICMP6, neighbor advertisement, length 32, tgt is fd08::200, Flags \[override\].*02:00:00:00:00:aa/s],
    },
  ];
  for (const { vip, filter, packets } of cases) {
    it(`tells the neighbours of an ${vip.family} VIP`, async () => {
      assert.deepEqual(await net.apply([{ kind: 'addAddress', vip }]), []);
      sh(`ip -n peer neigh replace ${vip.address} lladdr 02:00:00:00:00:bb dev a1 nud stale`);
      const text = await captured(filter, packets, async () => { assert.deepEqual(await net.apply([{ kind: 'announce', vip }]), []); });
      for (const packet of packets) assert.match(text, packet);
      assert.match(sh(`ip -n peer neigh show ${vip.address}`), /02:00:00:00:00:aa/, 'the neighbour\'s cache follows');
      assert.deepEqual(await net.apply([{ kind: 'delAddress', vip }]), []);
    });
  }

  it('refuses a link on which nobody resolves addresses, and names a link that is down', async () => {
    const [onLo] = await net.apply([{ kind: 'announce', vip: { link: 'lo', family: 'IPv4', address: '10.8.0.200' } }]);
    assert.equal(onLo?.error.code, 'INVALID');
    sh('ip link add a9 type dummy');
    const [down] = await net.apply([{ kind: 'announce', vip: { link: 'a9', family: 'IPv4', address: '10.8.0.200' } }]);
    assert.equal(down?.error.errnoName, 'ENETDOWN');
    sh('ip link del a9');
  });
});
