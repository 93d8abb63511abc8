// The API server is away, and nodes are alone with what they were told: connections go on, what somebody removes comes back, and who loses
// everything, as in a reboot, serves again from the snapshot on its disk. When the server is back, nothing moves. What kills in the middle of
// a rollout do is cluster-kill.ts.

import assert from 'node:assert/strict';
import { difference } from '../difference.ts';
import { allServe, balances, directors, nodes, post, realServers, serverOf, serviceOf, snapshots, type Snapshots } from '../fleet.ts';
import { scenario, type Lab } from '../lab.ts';
import { basics, startOperator, type Operator } from '../operator.ts';
import { LOAD } from '../theirs.ts';
import { fleet, vip } from '../topologies.ts';
import { watchVips } from '../vip-watch.ts';

/** Longer than usual: when the server is back all of them renew at once, on a CPU that is busy with starting it. */
const LEASE_SECONDS = 15;
const [DIRECT, TUNNEL] = ['10.0.1.201', '10.0.1.202'];
const targets = [`${vip}:80`, `${DIRECT}:81`, `${TUNNEL}:82`];
const toNodes = [{ nodes: { selector: { matchLabels: { role: 'web' } } } }];

/** Lines that are there and were not, and the other way round. What order addresses came in is nobody's business. */
const changes = (before: string, after: string): string[] => difference(before, after).filter((line) => !line.startsWith('order:'));

/** A host loses what no disk has: its agent, tables, addresses, links, rules and sysctls are as when it was new. */
async function reboot(lab: Lab, operator: Operator, name: string, empty: string): Promise<void> {
  await operator.agents[name]!.kill();
  const host = lab.host(name);
  await host.sh('ipvsadm -C; for t in nat mangle; do iptables-legacy -t $t -F; iptables-legacy -t $t -X; ip6tables-legacy -t $t -F; ip6tables-legacy -t $t -X; done');
  for (const line of changes(empty, await lab.snapshot(name))) {
    const [, link] = /^\+ link ([^:@ ]+)/.exec(line) ?? [];
    if (link !== undefined && !new RegExp(`^link ${link}[:@]`, 'm').test(empty)) await host.run(`ip link del ${link}`);
    const [, on, address] = /^\+ address (\S+) inet6? (\S+)/.exec(line) ?? [];
    if (on !== undefined) await host.run(`ip addr del ${address} dev ${on}`);
  }
  for (const line of changes(empty, await lab.snapshot(name))) {
    const [, path, value] = /^- sysctl (\S+?):(.*)$/.exec(line) ?? [];
    if (path !== undefined) await host.sh(`echo '${value}' > /proc/sys/${path.replaceAll('.', '/')}`);
  }
  assert.deepEqual(changes(empty, await lab.snapshot(name)), [], `${name} is as after a boot`);
}

export const away = scenario({
  name: 'cluster-away',
  about: 'the API server is away: connections go on, drift is repaired, directors and a real server that reboot serve again from what they were told, nothing moves when it is back, and nobody is told that he was not served',
  topology: fleet,
  tags: ['cluster', 'long'],
  timeoutSeconds: 600,
  run: async (lab) => {
    for (const { name } of realServers) await lab.serve(name, { tcp: [8080, 81, 82] });
    const watch = await watchVips(lab, directors.map((d) => d.name));
    let empty: Snapshots = {};
    const operator = await startOperator(lab, nodes, basics('10.0.1.192/27', `, failover: { leaseDurationSeconds: ${LEASE_SECONDS}, renewSeconds: 3 }`), {
      before: async () => {
        for (const { name } of nodes) await lab.host(name).sh(LOAD);
        empty = await snapshots(lab);
      },
    });
    const { cluster, agents } = operator;
    await post(operator, ...serviceOf('shop/web', realServers.map((r) => r.addresses[0]!)),
      serverOf('shop/web', { vip: { addresses: [vip] }, mode: 'NAT', ports: [{ port: 80 }], backends: [{ serviceRef: { name: 'web' } }] }),
      serverOf('shop/direct', { vip: { addresses: [DIRECT] }, mode: 'DR', ports: [{ port: 81 }], backends: toNodes }),
      serverOf('shop/tunnel', { vip: { addresses: [TUNNEL] }, mode: 'TUN', ports: [{ port: 82 }], backends: toNodes }));
    await allServe(lab, operator, targets);
    const owners = async (): Promise<string[]> => await Promise.all([vip, DIRECT, TUNNEL].map((address) => operator.owner(address)));
    /** When clients were last told something else of each. */
    const told = async (): Promise<unknown> => await Promise.all(['web', 'direct', 'tunnel'].map(async (name) => (await operator.get<{ status: { conditions: { type: string; lastTransitionTime: string }[] } }>('virtualservers', `shop/${name}`))!.status.conditions.find((c) => c.type === 'Ready')));
    const before = { owners: await owners(), nodes: await snapshots(lab), moves: watch.moves.length, told: await told() };
    const owner = before.owners[0]!;
    const standby = directors.find((d) => !before.owners.includes(d.name))?.name ?? directors.find((d) => d.name !== owner)!.name;
    const held = await Promise.all(targets.map((target) => lab.hold('c1', { address: target.split(':')[0]!, port: Number(target.split(':')[1]), count: 4 })));

    await cluster.kill('apiserver');
    await lab.sleep(2_000 * LEASE_SECONDS);
    for (const connections of held) {
      const { alive, broken, reasons } = await connections.check();
      assert.deepEqual([alive, broken], [4, 0], `held connections: ${JSON.stringify(reasons)}`);
      await connections.close();
    }
    await balances(lab, targets, 'all are served without the API server');
    await watch.caughtUp();
    assert.deepEqual(watch.moves.slice(before.moves), [], 'no VIP moved');

    await lab.host(owner).sh('ipvsadm -C');
    await balances(lab, targets, 'what somebody removed is back');

    const asItWas = async (name: string): Promise<void> => {
      await lab.eventually(async () => assert.deepEqual(changes(before.nodes[name]!, await lab.snapshot(name)), []), { withinMs: 60_000, what: `${name} is as before its reboot` })
        .catch((error: Error) => { throw new Error(`${error.message}\n${agents[name]!.log.slice(-4000)}`, { cause: error }); });
    };
    for (const name of [standby, owner, 'rs1']) {
      await reboot(lab, operator, name, empty[name]!);
      await agents[name]!.start();
      await asItWas(name);
      await balances(lab, targets, `all are served after the reboot of ${name}`);
      assert.match(agents[name]!.log, /"by":"snapshot"/, `${name} began with its snapshot`);
    }

    await cluster.start('apiserver');
    for (const name of ['web', 'direct', 'tunnel']) await operator.ready(`shop/${name}`);
    // As long as an agent takes for a look at everything.
    await lab.sleep(11_000);
    assert.deepEqual(await owners(), before.owners, 'the same directors hold the VIPs');
    assert.deepEqual(await told(), before.told, 'nobody was told that he is not served');
    for (const { name } of nodes) await asItWas(name);
    await balances(lab, targets, 'all are served');
    await watch.caughtUp();
    assert.deepEqual(watch.overlaps, [], 'a VIP on two directors');
    // A server that has just come back refuses what it will allow in a second: it reads its roles. So what was refused is no matter here.
    for (const [name, { running }] of Object.entries(agents)) assert.ok(running, name);
    assert.ok(operator.controller.running);
  },
});
