// What the kernel does when a real server's forwarding mode is changed in place, with ipvsadm alone: why the product does it otherwise
// (src/agent/way.ts), and why it waits where it deletes and adds. What the product does is edit-mode.ts.

import assert from 'node:assert/strict';
import { realServersByHand } from '../by-hand.ts';
import { scenario } from '../lab.ts';
import { lan, vip } from '../topologies.ts';

const held = 4;

export const editInPlace = scenario({
  name: 'edit-in-place',
  about: 'the kernel, from NAT to DR: changed in place under held connections new ones are lost, since both share one cached route; without held ones they are not',
  topology: lan,
  tags: ['dr', 'nat', 'modes'],
  run: async (lab) => {
    const dir1 = lab.host('dir1');
    await realServersByHand(lab, ['rs1', 'rs2'], vip);
    await dir1.sh(`modprobe ip_vs; echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv4/vs/conntrack; ip addr add ${vip}/32 dev e0`);
    // Answers in NAT come back to the director's own address; those of DR go straight to the client.
    await dir1.sh('iptables-legacy -t nat -A POSTROUTING -m ipvs --ipvs --vmethod MASQ -j MASQUERADE');
    await dir1.sh(`ipvsadm -A -t ${vip}:80 -s rr; for rs in 21 22; do ipvsadm -a -t ${vip}:80 -r 10.0.1.$rs:80 -m; done`);
    const nat = await lab.hold('c1', { address: vip, port: 80, count: held });

    // In place: what is held in NAT fills the cached route, and packets of DR take it for a route to the VIP.
    await dir1.sh(`for rs in 21 22; do ipvsadm -e -t ${vip}:80 -r 10.0.1.$rs:80 -g; done`);
    assert.equal((await nat.check()).alive, held);
    const inPlace = await lab.get('c1', { address: vip, port: 80, count: 4, parallel: 4, timeoutMs: 2000 });
    assert.deepEqual(inPlace.by, {}, JSON.stringify(inPlace));
    assert.match(await dir1.sh('ip neigh show dev e0'), new RegExp(`^${vip} .*(INCOMPLETE|FAILED)`, 'm'), 'the director asks who has the VIP that it has itself');

    // The same entries without connections of NAT on them: set anew, which forgets the route, DR works.
    await nat.close();
    await dir1.sh(`for rs in 21 22; do ipvsadm -e -t ${vip}:80 -r 10.0.1.$rs:80 -g; done`);
    for (const client of ['c1', 'lc']) assert.deepEqual((await lab.get(client, { address: vip, port: 80, count: 8 })).by, { rs1: 4, rs2: 4 }, client);
  },
});

export const editRemade = scenario({
  name: 'edit-remade',
  about: 'the kernel, from DR to NAT: a real server that is deleted and at once back as NAT has its connections again, in DR; one that is away for a moment has its connections reset',
  topology: lan,
  tags: ['dr', 'nat', 'modes'],
  run: async (lab) => {
    const dir1 = lab.host('dir1');
    await realServersByHand(lab, ['rs1', 'rs2'], vip);
    await dir1.sh(`modprobe ip_vs; echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv4/vs/expire_nodest_conn; ip addr add ${vip}/32 dev e0`);
    await dir1.sh(`ipvsadm -A -t ${vip}:80 -s rr; for rs in 21 22; do ipvsadm -a -t ${vip}:80 -r 10.0.1.$rs:80 -g; done`);
    // Silent but when they are asked: what is on its way between a deletion and an addition decides what becomes of them.
    const connections = await lab.hold('c1', { address: vip, port: 80, count: held, everyMs: 3_600_000 });
    assert.equal((await connections.check()).alive, held);

    // One process sends both, one right after the other.
    await dir1.sh(`printf '%s\\n' '-d -t ${vip}:80 -r 10.0.1.21:80' '-a -t ${vip}:80 -r 10.0.1.21:80 -m' | ipvsadm -R`);
    assert.equal((await connections.check()).alive, held, 'those of DR go on, on a destination of NAT');

    await dir1.sh(`ipvsadm -d -t ${vip}:80 -r 10.0.1.22:80`);
    const { alive, reasons } = await connections.check();
    await dir1.sh(`ipvsadm -a -t ${vip}:80 -r 10.0.1.22:80 -m`);
    assert.deepEqual([alive, reasons], [held / 2, { ECONNRESET: held / 2 }]);
  },
});
