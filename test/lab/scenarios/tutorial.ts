// The classic tutorial, from the files under examples/tutorial: after applying them, Debian's ipvsadm shows the tutorial's table and
// clients reach both servers. docs/tutorial.md walks through the same three.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { scenario, type Lab } from '../lab.ts';
import { tutorialDr, tutorialNat, tutorialTun } from '../topologies.ts';

const example = (name: string) => readFileSync(resolve(import.meta.dirname, '../../../examples/tutorial', name), 'utf8');
const even = { rs1: 6, rs2: 6 };

async function apply(lab: Lab, name: string): Promise<void> {
  const agents = await Promise.all(['dir1', 'rs1', 'rs2'].map((host) => lab.agent(host, { manifests: { [name]: example(name) } })));
  for (const agent of agents) {
    const status = await agent.settled();
    assert.equal(status['ok'], true, `${agent.host}: ${JSON.stringify(status)}`);
  }
  for (const rs of ['rs1', 'rs2']) await lab.serve(rs, { tcp: [80] });
}

/** What the tutorial prints in its last step: `ipvsadm -Ln` of Debian's package, spaces folded and connections left out. */
async function shows(lab: Lab, lines: readonly string[]): Promise<void> {
  const table = (await lab.host('dir1').ipvs()).split('\n').slice(3).filter((line) => line !== '');
  assert.deepEqual(table.map((line) => line.trim().split(/ +/).slice(0, 4).join(' ')), lines);
}

async function reached(lab: Lab, vip: string, clients: readonly string[]): Promise<void> {
  for (const client of clients) {
    const answers = await lab.get(client, { address: vip, port: 80, count: 12 });
    assert.deepEqual(answers.by, even, `${client}: ${JSON.stringify(answers)}`);
  }
}

export const nat = scenario({
  name: 'tutorial-nat',
  about: 'the tutorial\'s NAT: VIP 192.168.1.12:80 rr, real servers 192.168.20.15 and .16 behind the director',
  topology: tutorialNat,
  tags: ['tutorial'],
  run: async (lab) => {
    await apply(lab, 'nat.yaml');
    assert.deepEqual(await lab.host('dir1').ipvsSave(), [
      '-A -t 192.168.1.12:80 -s rr',
      '-a -t 192.168.1.12:80 -r 192.168.20.15:80 -m -w 1',
      '-a -t 192.168.1.12:80 -r 192.168.20.16:80 -m -w 1',
    ]);
    await shows(lab, ['TCP 192.168.1.12:80 rr', '-> 192.168.20.15:80 Masq 1', '-> 192.168.20.16:80 Masq 1']);
    await reached(lab, '192.168.1.12', ['c1']);
  },
});

export const dr = scenario({
  name: 'tutorial-dr',
  about: 'the tutorial\'s DR: VIP 192.168.1.10, director 192.168.1.5, real servers 192.168.1.13 and .14',
  topology: tutorialDr,
  tags: ['tutorial'],
  run: async (lab) => {
    await apply(lab, 'dr.yaml');
    assert.deepEqual(await lab.host('dir1').ipvsSave(), [
      '-A -t 192.168.1.10:80 -s rr',
      '-a -t 192.168.1.10:80 -r 192.168.1.13:80 -g -w 1',
      '-a -t 192.168.1.10:80 -r 192.168.1.14:80 -g -w 1',
    ]);
    await shows(lab, ['TCP 192.168.1.10:80 rr', '-> 192.168.1.13:80 Route 1', '-> 192.168.1.14:80 Route 1']);
    await reached(lab, '192.168.1.10', ['c1', 'lc']);
    for (const rs of ['rs1', 'rs2']) await lab.host(rs).flushNeighbours();
    await reached(lab, '192.168.1.10', ['c1', 'lc']);
    assert.deepEqual(await lab.arp('lc', '192.168.1.10'), [lab.host('dir1').mac()]);
  },
});

export const tun = scenario({
  name: 'tutorial-tun',
  about: 'the tutorial\'s TUN: VIP 200.168.10.10, director 200.168.10.1, real servers 200.168.10.2 and .3',
  topology: tutorialTun,
  tags: ['tutorial'],
  run: async (lab) => {
    await apply(lab, 'tun.yaml');
    assert.deepEqual(await lab.host('dir1').ipvsSave(), [
      '-A -t 200.168.10.10:80 -s rr',
      '-a -t 200.168.10.10:80 -r 200.168.10.2:80 -i -w 1 --tun-type ipip',
      '-a -t 200.168.10.10:80 -r 200.168.10.3:80 -i -w 1 --tun-type ipip',
    ]);
    await shows(lab, ['TCP 200.168.10.10:80 rr', '-> 200.168.10.2:80 Tunnel 1', '-> 200.168.10.3:80 Tunnel 1']);
    await reached(lab, '200.168.10.10', ['c1', 'lc']);
    assert.deepEqual(await lab.arp('lc', '200.168.10.10'), [lab.host('dir1').mac()]);
  },
});

/** The variant of such tutorials that swaps the two values for `all`: the lab can see what it does. */
export const swapped = scenario({
  name: 'tutorial-swapped-arp',
  about: 'with arp_announce 1 and arp_ignore 2 on the real servers everything goes to one of them; with the product\'s values it does not',
  topology: tutorialDr,
  tags: ['tutorial', 'negative'],
  run: async (lab) => {
    const agents = await Promise.all(['dir1', 'rs1', 'rs2'].map((host) => lab.agent(host, { manifests: { 'dr.yaml': example('dr.yaml') } })));
    for (const agent of agents) await agent.settled();
    for (const agent of agents) await agent.stop();
    for (const rs of ['rs1', 'rs2']) {
      await lab.serve(rs, { tcp: [80] });
      await lab.host(rs).sysctl('net.ipv4.conf.all.arp_announce', 1);
      await lab.host(rs).sysctl('net.ipv4.conf.all.arp_ignore', 2);
    }
    await lab.get('c1', { address: '192.168.1.10', port: 80, count: 12, timeoutMs: 1500 });
    for (const host of ['rs1', 'rs2', 'gw']) await lab.host(host).flushNeighbours();
    await lab.get('c1', { address: '192.168.1.10', port: 80, count: 12, timeoutMs: 1500 });
    // Whose answer counts is a matter of who is the quicker, and of how old the entry is that it replaces.
    await lab.eventually(async () => {
      for (const rs of ['rs1', 'rs2']) await lab.host(rs).flushNeighbours();
      assert.notDeepEqual((await lab.get('c1', { address: '192.168.1.10', port: 80, count: 12, timeoutMs: 1500 })).by, even);
    }, { withinMs: 30_000, what: 'the fault must show' });
    for (const agent of agents) await agent.start();
    for (const agent of agents) await agent.settled();
    for (const host of ['rs1', 'rs2', 'gw']) await lab.host(host).flushNeighbours();
    await reached(lab, '192.168.1.10', ['c1']);
    for (const rs of ['rs1', 'rs2']) await lab.host(rs).flushNeighbours();
    await reached(lab, '192.168.1.10', ['c1']);
  },
});
