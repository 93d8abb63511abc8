// Others on the same IPVS table in a cluster: a flush by hand, a kube-proxy in mode ipvs, services of others beside ours and in our place. What
// of ours was removed is back at once and somebody is named for it; what is theirs stays to the byte.
//
// No kube-proxy runs here: a shell of that name does to the table what kube-proxy does in mode ipvs. It deletes each service that it does not
// know, unless its address is in excludeCIDRs, and has the device kube-ipvs0.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { API, balances, directors, nodes, post, realServers, serverOf, serviceOf, undisturbed } from '../fleet.ts';
import { scenario, type Lab } from '../lab.ts';
import { basics, startOperator, type Operator } from '../operator.ts';
import { fleet, vip } from '../topologies.ts';

const THEIRS = `
ipvsadm -A -t 10.0.1.240:80 -s rr
ipvsadm -a -t 10.0.1.240:80 -r 10.0.1.22:80 -g -w 5 -x 50 -y 40
ipvsadm -A -u [fd00:1::240]:53 -s wlc
ipvsadm -A -f 77 -s rr -p 60
ipvsadm -a -f 77 -r 10.0.1.23 -m
`;
/** In our pool, where a VirtualServer comes later. */
const LATE = '10.0.1.210';
const IN_OUR_PLACE = `ipvsadm -A -t ${LATE}:80 -s mh; ipvsadm -a -t ${LATE}:80 -r 10.0.1.23:8080 -m -w 9`;

interface NodeReport { readonly status: { readonly conditions: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[]; readonly foreign: { readonly services: number; readonly examples: readonly string[]; readonly culprit?: string }; readonly drifts: number } }

/** A process named kube-proxy on a host; its sync is every two seconds here, and on every change there. `exclude`: addresses that it leaves alone, as a shell pattern. */
function kubeProxy(lab: Lab, host: string, exclude: string): { end(): Promise<void> } {
  const [program, stop] = [lab.host(host).path('kube-proxy'), lab.host(host).path(`stop-${exclude === '' ? 'all' : 'some'}`)];
  const sync = `ipvsadm -Sn | while read -r what kind key rest; do case "$what $key" in "-A 10.96."*${exclude === '' ? '' : `|"-A "${exclude}`}) ;; "-A "*) ipvsadm -D "$kind" "$key";; esac; done`;
  const running = lab.host(host).run(`[ -e ${program} ] || cp "$(command -v bash)" ${program}; ip link add kube-ipvs0 type dummy 2>/dev/null; ipvsadm -A -t 10.96.0.1:443 -s rr 2>/dev/null
    ${program} -c 'while [ ! -e ${stop} ]; do ${sync}; sleep 2; done'`, { timeoutMs: 200_000 });
  running.catch(() => {}); // It ends with the scenario at the latest.
  return { end: async () => { writeFileSync(stop, ''); await running; } };
}

async function eventsOf(operator: Operator, node: string): Promise<{ reason: string; note: string }[]> {
  const { body } = await operator.cluster.request<{ items: { reason: string; note: string; regarding: { kind: string; name: string } }[] }>('GET', '/apis/events.k8s.io/v1/events');
  return body.items.filter((e) => e.regarding.kind === 'IPVSNode' && e.regarding.name === node);
}

export const foreign = scenario({
  name: 'cluster-foreign',
  about: 'a flush by hand and a kube-proxy in mode ipvs are repaired within seconds and named with the fix; services of others stay untouched and are reported, also in our place',
  topology: fleet,
  tags: ['cluster'],
  timeoutSeconds: 600,
  run: async (lab) => {
    for (const { name } of directors) await lab.host(name).sh(`modprobe -a ip_vs ip_vs_rr ip_vs_wlc ip_vs_mh; ${THEIRS} ${IN_OUR_PLACE}`);
    for (const { name } of realServers) await lab.serve(name, { tcp: [8080] });
    const operator = await startOperator(lab, nodes, basics('10.0.1.192/27'), { agentArgs: ['--resync', '30'] });
    const { cluster } = operator;
    await post(operator, ...serviceOf('shop/web', realServers.map((r) => r.addresses[0]!)), serverOf('shop/web', { vip: { addresses: [vip] }, mode: 'NAT', ports: [{ port: 80 }], backends: [{ serviceRef: { name: 'web' } }] }));
    await operator.ready('shop/web');
    await balances(lab, [`${vip}:80`], 'it is served');
    const owner = await operator.owner(vip);
    const standby = directors.find((d) => d.name !== owner)!.name;

    const tableOf = async (host: string): Promise<string[]> => await lab.host(host).ipvsSave();
    const ours = (table: readonly string[]): string[] => table.filter((line) => line.includes(`-t ${vip}:80`));
    const theirs = (table: readonly string[]): string[] => table.filter((line) => !line.includes(`-t ${vip}:80`));
    const before = await tableOf(owner);
    assert.deepEqual([ours(before).length, theirs(before).length], [5, 7]);
    const report = async (node: string) => (await operator.get<NodeReport>('ipvsnodes', node))!.status;
    const degraded = async (node: string): Promise<string> => {
      const c = (await report(node)).conditions.find((one) => one.type === 'Degraded');
      return c ? `${c.status} ${c.reason}: ${c.message}` : 'none';
    };
    const repaired = async (host: string, after: string): Promise<void> => {
      const began = performance.now();
      await lab.eventually(async () => assert.deepEqual(ours(await tableOf(host)), ours(before)), { withinMs: 10_000, what: `what is ours is back on ${host} after ${after}` });
      lab.log(`${after} on ${host}: repaired after ${Math.round(performance.now() - began)} ms`);
    };
    const REMOVED = '"msg":"somebody removed our virtual services';
    /** Of each removal by hand: whether the look of every second found it, by the agent's own word, and not the comparison of every thirty. */
    const byLook: boolean[] = [];
    const remove = async (host: string, command: string): Promise<void> => {
      const agent = operator.agents[host]!;
      const mark = agent.log.length;
      await lab.host(host).sh(command);
      await repaired(host, command);
      await lab.eventually(() => agent.log.includes(REMOVED, mark), { withinMs: 10_000, what: `the agent of ${host} says so` });
      byLook.push(agent.log.slice(mark, agent.log.indexOf(REMOVED, mark)).includes('"msg":"drift: '));
    };

    // Reported, and left alone by everything so far.
    for (const { name } of directors) {
      await lab.eventually(async () => {
        const { services, examples } = (await report(name)).foreign;
        assert.deepEqual([services, ['TCP 10.0.1.240:80', 'UDP [fd00:1::240]:53', 'FWM 77 IPv4', `TCP ${LATE}:80`].filter((key) => !examples.join().includes(key))], [4, []], examples.join());
      }, { withinMs: 30_000, what: `${name} reports the four services of others` });
      assert.deepEqual(theirs(await tableOf(name)), theirs(before), name);
    }

    // One of ours removed by hand, and all of the table, on who has the VIP and on who stands by.
    const stream = await lab.stream('c1', { address: vip, port: 80, everyMs: 100, timeoutMs: 10_000 });
    await remove(owner, `ipvsadm -D -t ${vip}:80`);
    await lab.eventually(async () => assert.match(await degraded(owner), /^True ForeignFlush: somebody removed 1 of our virtual services, and they were made again .*ipvsadm/), { withinMs: 30_000, what: 'the node says so' });
    assert.deepEqual(theirs(await tableOf(owner)), theirs(before), 'nothing of theirs was touched by the repair');
    for (const host of [owner, standby]) {
      await remove(host, 'ipvsadm -C');
      assert.deepEqual(theirs(await tableOf(host)), [], 'what others had is others\' to make again');
      await lab.host(host).sh(`${THEIRS} ${IN_OUR_PLACE}`);
    }
    await lab.eventually(async () => assert.match(await degraded(standby), /^True ForeignFlush: /), { withinMs: 30_000, what: 'so does the one that stands by' });
    await lab.eventually(async () => assert.ok((await eventsOf(operator, owner)).some((e) => e.reason === 'ForeignFlush' && /made again/.test(e.note))), { withinMs: 30_000, what: 'an Event on the IPVSNode' });
    assert.doesNotMatch((await report(owner)).foreign.culprit ?? '', /kube-proxy/, 'who is not there is not accused; ipvsadm may be, for this scenario asks by it');

    // kube-proxy in mode ipvs.
    const proxy = kubeProxy(lab, owner, '');
    await lab.eventually(async () => assert.match(await degraded(owner), /^True KubeProxyConflict: .*kube-proxy.*excludeCIDRs.*--ipvs-strict-arp/), { withinMs: 40_000, what: 'kube-proxy is named, with the fix' });
    assert.match((await report(owner)).foreign.culprit ?? '', /^kube-proxy/);
    await lab.eventually(async () => assert.ok((await eventsOf(operator, owner)).some((e) => e.reason === 'KubeProxyConflict' && /excludeCIDRs/.test(e.note) && /--ipvs-strict-arp/.test(e.note))), { withinMs: 30_000, what: 'an Event that names it' });
    await proxy.end();
    await repaired(owner, 'kube-proxy');
    // The fix that the message asks for.
    await lab.host(owner).sh(`${THEIRS} ${IN_OUR_PLACE}`);
    const fixed = kubeProxy(lab, owner, '10.0.1.*');
    // It has looked at all of them when what is theirs and not excluded is gone.
    await lab.eventually(async () => assert.deepEqual(theirs(await tableOf(owner)).filter((line) => line.includes('-f 77')), []), { withinMs: 20_000, what: 'kube-proxy removes what it does not know' });
    // By the log: a report may come seconds later.
    const flushes = (): number => operator.agents[owner]!.log.split(REMOVED).length - 1;
    const counted = flushes();
    assert.ok(counted >= 3, String(counted));
    await lab.sleep(6_000);
    assert.equal(flushes(), counted, 'with excludeCIDRs nothing of ours is removed any more');
    assert.deepEqual(ours(await tableOf(owner)), ours(before));
    await fixed.end();
    const gaps = await stream.stop();
    lab.log(`clients: ${JSON.stringify(gaps)}`);
    // About a second, on a free CPU.
    assert.ok(gaps.maxGapMs < 60_000, `clients waited ${gaps.maxGapMs} ms at most`);
    await balances(lab, [`${vip}:80`], 'it is served as before');

    // A service of others where one of ours should be.
    await remove(owner, `ipvsadm -C; ${THEIRS} ${IN_OUR_PLACE}`);
    // Not all: the comparison may have come just then.
    assert.ok(byLook.filter(Boolean).length >= byLook.length / 2, `found by the look of every second: ${byLook.join()}`);
    await post(operator, serverOf('shop/late', { vip: { addresses: [LATE] }, mode: 'NAT', ports: [{ port: 80 }], backends: [{ serviceRef: { name: 'web' } }] }));
    await lab.eventually(async () => {
      const server = await operator.get<{ status?: NodeReport['status'] }>('virtualservers', 'shop/late');
      const c = server?.status?.conditions.find((one) => one.type === 'Programmed');
      assert.match(`${c?.status} ${c?.reason}: ${c?.message}`, new RegExp(`^False ForeignConflict: .*ipvsadm -D -t ${LATE}:80`));
    }, { withinMs: 60_000, what: 'the conflict is on the VirtualServer, with the command that ends it' });
    for (const { name } of directors) assert.deepEqual(theirs(await tableOf(name)), theirs(before), `${name} leaves it alone`);
    for (const { name } of directors) await lab.host(name).sh(`ipvsadm -D -t ${LATE}:80`);
    await operator.ready('shop/late');
    await balances(lab, [`${vip}:80`, `${LATE}:80`], 'ours takes its place');
    await cluster.request('DELETE', `${API}/namespaces/shop/virtualservers/late`);
    undisturbed(operator);
  },
});
