// Health checks on real packets: servers that refuse, hang, answer wrong and come back; a real server that lost its VIP; a cut cable;
// a restart in between. What a check finds out is tested in test/unit/agent/health; here: what clients see.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { scenario, type Agent, type Lab } from '../lab.ts';
import { create, pod, service } from '../../cluster/objects.ts';
import { file, pool, server } from '../manifests.ts';
import { basics, edge, startOperator, type NodeSpec } from '../operator.ts';
import { lan, vip } from '../topologies.ts';

const realServers = ['10.0.1.21', '10.0.1.22', '10.0.1.23'];
const check = (more: object = {}) => ({ type: 'TCP', periodSeconds: 1, timeoutSeconds: 1, riseCount: 2, fallCount: 2, ...more });

const everyone = { rs1: 4, rs2: 4, rs3: 4 };
const without = (gone: string) => Object.fromEntries(Object.keys(everyone).filter((name) => name !== gone).map((name) => [name, 6]));

/** Weights in the kernel of dir1 by real server. */
async function weights(lab: Lab): Promise<Record<string, number>> {
  const lines = (await lab.host('dir1').ipvsSave()).map((l) => /^-a -t \S+ -r (\S+):\d+ .*-w (\d+)/.exec(l)).filter((m) => m !== null);
  return Object.fromEntries(lines.map((m) => [m[1]!, Number(m[2])]));
}

async function balanced(lab: Lab, expected: Record<string, number>, what: string): Promise<void> {
  await lab.eventually(async () => {
    const { by, errors } = await lab.get('c1', { address: vip, port: 80, count: 12 });
    return isDeepStrictEqual({ by, errors }, { by: expected, errors: {} });
  }, { withinMs: 30_000, what });
}

/** What status.json says of the VirtualServer. */
function serverStatus(agent: Agent): { backends: Record<string, number>; unhealthy: string[]; conditions: { type: string; status: string; reason: string }[] } {
  return Object.values(agent.status()!['virtualServers'] as Record<string, never>)[0]!;
}

export const tcp = scenario({
  name: 'health-tcp',
  about: 'a real server that refuses or hangs gets no new connection and keeps its old ones; it comes back; a restart changes nothing; a cut cable empties nothing',
  topology: lan,
  tags: ['health'],
  timeoutSeconds: 240,
  run: async (lab) => {
    for (const rs of ['rs1', 'rs2', 'rs3']) await lab.serve(rs, { tcp: [80] });
    const agent = await lab.agent('dir1', { manifests: { 'lab.yaml': file(pool(), server({ mode: 'NAT', endpoints: realServers, more: { scheduler: { name: 'rr' }, healthCheck: check() } })) } });
    await agent.settled();
    await balanced(lab, everyone, 'all three serve');
    const held = await lab.hold('c1', { address: vip, port: 80, count: 6 });
    const rule = (rs: string, action: string, target: string) => lab.host(rs).sh(`iptables-legacy -${action} INPUT -p tcp --dport 80 --syn -j ${target}`);

    // It refuses new connections: reset to each SYN.
    await rule('rs1', 'I', 'REJECT --reject-with tcp-reset');
    await balanced(lab, without('rs1'), 'nobody is sent to rs1');
    await lab.eventually(async () => { assert.deepEqual(await weights(lab), { '10.0.1.21': 0, '10.0.1.22': 1, '10.0.1.23': 1 }); }, { withinMs: 20_000, what: 'the others keep their weight' });
    await lab.eventually(() => { assert.match(serverStatus(agent).unhealthy.join(), /^10\.0\.1\.21 80: down: Refused/); }, { withinMs: 20_000, what: 'status names it' });

    // A restart in between: the weight is never anything but 0.
    await agent.kill();
    await agent.start();
    for (let i = 0; i < 20; i++) {
      assert.equal((await weights(lab))['10.0.1.21'], 0);
      await lab.sleep(100);
    }
    await agent.settled();
    await balanced(lab, without('rs1'), 'still nobody is sent to rs1');
    await rule('rs1', 'D', 'REJECT --reject-with tcp-reset');
    await balanced(lab, everyone, 'rs1 is back');

    // It hangs: silence to each SYN.
    await rule('rs2', 'I', 'DROP');
    await lab.eventually(async () => (await weights(lab))['10.0.1.22'] === 0, { withinMs: 30_000, what: 'rs2 has weight 0' });
    await balanced(lab, without('rs2'), 'nobody is sent to rs2');
    await rule('rs2', 'D', 'DROP');
    await balanced(lab, everyone, 'rs2 is back');

    // The cable of the director's network: all fall silent at once, and nobody is emptied.
    for (const rs of ['rs1', 'rs2', 'rs3']) await rule(rs, 'I', 'DROP');
    await lab.eventually(() => serverStatus(agent).conditions.some((c) => c.type === 'Degraded' && c.reason === 'ChecksIgnored'), { withinMs: 30_000, what: 'the status says that checks are not obeyed' });
    await lab.sleep(3_000);
    await lab.eventually(async () => { assert.deepEqual(await weights(lab), { '10.0.1.21': 1, '10.0.1.22': 1, '10.0.1.23': 1 }); }, { withinMs: 20_000, what: 'nobody is emptied' });
    for (const rs of ['rs1', 'rs2', 'rs3']) await rule(rs, 'D', 'DROP');
    await lab.eventually(() => !serverStatus(agent).conditions.some((c) => c.type === 'Degraded'), { withinMs: 30_000, what: 'and no more when they are heard again' });
    await balanced(lab, everyone, 'all serve');

    const { alive, broken } = await held.check();
    assert.deepEqual({ alive, broken }, { alive: 6, broken: 0 }, 'connections from before all of this');
    await held.close();
  },
});

export const remove = scenario({
  name: 'health-remove',
  about: 'with onFailure Remove the connections of a dead real server are reset at once; HTTP looks at the status, follows no redirect, and slow start brings it back in steps',
  topology: lan,
  tags: ['health'],
  timeoutSeconds: 240,
  run: async (lab) => {
    for (const rs of ['rs1', 'rs2', 'rs3']) {
      await lab.serve(rs, { tcp: [80] });
      // What a check asks is apart from what clients ask: busybox serves a file for it.
      await lab.host(rs).sh(`mkdir -p ${lab.host(rs).path('www')} && echo ok > ${lab.host(rs).path('www')}/healthz && busybox httpd -p 8081 -h ${lab.host(rs).path('www')}`);
    }
    const text = file(pool(), server({
      mode: 'NAT', endpoints: realServers.map((address) => ({ address, weight: 100 })),
      more: { scheduler: { name: 'rr' }, slowStart: { windowSeconds: 6 }, // A check that comes late on a busy machine must not cost the others their connections.
        healthCheck: check({ periodSeconds: 3, timeoutSeconds: 3, type: 'HTTP', port: 8081, http: { path: '/healthz' }, onFailure: 'Remove' }), drain: { timeoutSeconds: 600 } },
    }));
    const agent = await lab.agent('dir1', { manifests: { 'lab.yaml': text } });
    await agent.settled();
    const first = 100;
    const held = await lab.hold('c1', { address: vip, port: 80, count: 6 });
    const gone = async (): Promise<boolean> => !('10.0.1.21' in await weights(lab));
    await lab.host('rs1').sh(`mv ${lab.host('rs1').path('www')}/healthz ${lab.host('rs1').path('www')}/away`);
    await lab.eventually(gone, { withinMs: 30_000, what: 'rs1 is removed: 404' });
    await lab.eventually(async () => { assert.deepEqual(await held.check().then(({ alive, broken }) => ({ alive, broken })), { alive: 4, broken: 2 }); }, { withinMs: 15_000, what: 'its connections are reset, the others go on' });
    await held.close();
    await balanced(lab, without('rs1'), 'nobody is sent to rs1');
    await lab.eventually(() => { assert.match(serverStatus(agent).unhealthy.join(), /^10\.0\.1\.21 80: down: WrongAnswer: .*404/); }, { withinMs: 20_000, what: 'the status says why' });

    // A redirect to somebody who is healthy is a status like any other.
    await lab.host('rs1').sh(`mkdir ${lab.host('rs1').path('www')}/healthz`);
    await lab.sleep(8_000);
    assert.equal(await gone(), true, 'a redirect is not followed');
    const mark = agent.log.length;
    await lab.host('rs1').sh(`cd ${lab.host('rs1').path('www')} && rmdir healthz && mv away healthz`);
    await lab.eventually(async () => (await weights(lab))['10.0.1.21'] === first, { withinMs: 40_000, what: 'rs1 has its weight again' });
    // By the agent's own word: looking takes longer than a step where the machine is busy.
    const steps = (): number[] => [...agent.log.slice(mark).matchAll(/10\.0\.1\.21:80 masq weight (\d+)/g)].map(([, weight]) => Number(weight));
    await lab.eventually(() => steps().at(-1) === first, { withinMs: 20_000, what: 'the log has it' });
    const seen = steps();
    assert.ok(seen.length >= 3, `in steps: ${seen}`);
    assert.deepEqual(seen, seen.toSorted((a, b) => a - b), 'and never back');
    await balanced(lab, everyone, 'all serve');
  },
});

const lost = (mode: 'DR' | 'TUN') => scenario({
  name: `health-forwarded-${mode.toLowerCase()}`,
  about: `${mode}: a real server that answers at its own address and lost its VIP, or the way back from it, is found by a forwarded check, not by a direct one; the table of checks is nobody's business`,
  topology: lan,
  tags: ['health'],
  timeoutSeconds: 240,
  run: async (lab) => {
    const text = (path: string) => file(pool(), server({ mode, endpoints: realServers, more: { scheduler: { name: 'rr' }, healthCheck: check({ path }) } }));
    const agents: Agent[] = [];
    for (const rs of ['rs1', 'rs2', 'rs3']) {
      await lab.serve(rs, { tcp: [80] });
      agents.push(await lab.agent(rs, { manifests: { 'lab.yaml': text('Direct') }, role: 'real-server' }));
      await agents.at(-1)!.settled();
    }
    const director = await lab.agent('dir1', { manifests: { 'lab.yaml': text('Direct') }, role: 'director' });
    await director.settled();
    await balanced(lab, everyone, 'all three serve');

    // Its agent is gone, and somebody took the VIP off.
    const before = await weights(lab);
    await agents[0]!.kill();
    const device = (await lab.host('rs1').addresses()).find((line) => line.endsWith(` ${vip}/32`))!.split(' ')[0]!;
    await lab.host('rs1').sh(`ip addr del ${vip}/32 dev ${device}`);
    await lab.sleep(4_000);
    // One that comes late on a busy machine says nothing for a while; a real server that is found stays without new connections.
    await lab.eventually(async () => { assert.deepEqual(await weights(lab), before); }, { withinMs: 20_000, what: 'a direct check sees nothing' });
    director.write('lab.yaml', text('Forwarded'));
    await director.settled();
    await lab.eventually(async () => (await weights(lab))['10.0.1.21'] === 0, { withinMs: 30_000, what: 'rs1 has weight 0' });
    await balanced(lab, without('rs1'), 'nobody is sent to rs1');
    await lab.host('rs1').sh(`ip addr add ${vip}/32 dev ${device}`);
    await balanced(lab, everyone, 'rs1 is back');

    // What comes from the VIP does not get out any more: requests arrive, answers are lost.
    const lose = (action: string): Promise<string> => lab.host('rs2').sh(`iptables-legacy -${action} OUTPUT -s ${vip} -j DROP`);
    await lose('I');
    await lab.eventually(async () => { assert.match(serverStatus(director).unhealthy.join(), /^10\.0\.1\.22 80: down: Timeout/); }, { withinMs: 30_000, what: 'its way back is found to be lost' });
    await balanced(lab, without('rs2'), 'nobody is sent to rs2');
    await lose('D');
    await balanced(lab, everyone, 'rs2 is back');
    director.write('lab.yaml', text('Direct'));
    await director.settled();
    assert.deepEqual((await lab.host('dir1').ipvsSave()).filter((l) => l.includes(' -f ')), [], 'the services of the checks are gone');
  },
});

export const forwardedDr = lost('DR');
export const forwardedTun = lost('TUN');

const directors: NodeSpec[] = [{ name: 'dir1', addresses: ['10.0.1.11'], labels: edge }, { name: 'dir2', addresses: ['10.0.1.12'], labels: edge }];

export const cluster = scenario({
  name: 'cluster-health',
  about: 'an endpoint that Kubernetes calls ready and that does not answer gets no connection; status and IPVSNode say which, why and since when it drains; readiness counts as well',
  topology: lan,
  tags: ['cluster', 'health'],
  timeoutSeconds: 400,
  run: async (lab) => {
    for (const rs of ['rs1', 'rs2', 'rs3']) await lab.serve(rs, { tcp: [8080] });
    const operator = await startOperator(lab, [...directors, ...realServers.map((address, i): NodeSpec => ({ name: `rs${i + 1}`, addresses: [address] }))], basics('10.0.1.192/27'));
    const { cluster: api } = operator;
    await create(api, service('shop', 'web', { app: 'web' }, [{ port: 80, targetPort: 8080 }]),
      ...realServers.map((address, i) => pod({ namespace: 'shop', name: `web-rs${i + 1}`, labels: { app: 'web' }, node: `rs${i + 1}`, addresses: [address] })));
    await api.apply(`
apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: { name: web, namespace: shop }
spec: { vip: { addresses: [ ${vip} ] }, mode: NAT, scheduler: { name: rr }, ports: [ { port: 80 } ], backends: [ { serviceRef: { name: web } } ], drain: { timeoutSeconds: 3600 }, healthCheck: ${JSON.stringify(check())} }
`);
    await operator.ready('shop/web');
    await balanced(lab, everyone, 'all three serve');
    const held = await lab.hold('c1', { address: vip, port: 80, count: 6 });
    type Status = { status: { backends: Record<string, number>; summary: { backends: string }; conditions: { type: string; status: string; reason: string; message: string }[] } };
    const status = async (): Promise<Status['status']> => (await operator.get<Status>('virtualservers', 'shop/web'))!.status;

    const rule = (rs: string, action: string) => lab.host(rs).sh(`iptables-legacy -${action} INPUT -p tcp --dport 8080 --syn -j REJECT --reject-with tcp-reset`);
    await rule('rs1', 'I');
    await balanced(lab, without('rs1'), 'nobody is sent to rs1');
    await lab.eventually(async () => {
      const { backends, summary } = await status();
      assert.deepEqual([backends, summary.backends], [{ total: 3, ready: 2, unhealthy: 1 }, '2/3']);
    }, { withinMs: 60_000, what: 'the status counts it' });
    const owner = await operator.owner(vip);
    await lab.eventually(async () => {
      const node = await operator.get<{ status: { backends: { virtualServer: string; message: string }[] } }>('ipvsnodes', owner);
      assert.match(node!.status.backends.find((b) => b.virtualServer === 'shop/web')!.message, /^10\.0\.1\.21:8080 is down: Refused/);
    }, { withinMs: 30_000, what: 'the node says why' });

    // What Kubernetes says counts as well: rs2 is healthy and deleted.
    await api.request('DELETE', '/api/v1/namespaces/shop/pods/web-rs2?gracePeriodSeconds=0');
    await lab.eventually(async () => { assert.deepEqual((await lab.get('c1', { address: vip, port: 80, count: 6 })).by, { rs3: 6 }); }, { withinMs: 60_000, what: 'only rs3 is left' });
    await lab.eventually(async () => { assert.deepEqual((await status()).backends, { total: 2, ready: 1, draining: 1, unhealthy: 1 }); }, { withinMs: 60_000, what: 'rs2 drains' });
    await rule('rs3', 'I');
    await lab.eventually(async () => {
      const ready = (await status()).conditions.find((c) => c.type === 'Ready')!;
      assert.deepEqual([ready.status, ready.reason], ['False', 'NoReadyBackends']);
      assert.match(ready.message, /every real server fails its health check/);
    }, { withinMs: 60_000, what: 'nobody is left, and it says why' });
    await rule('rs3', 'D');
    await rule('rs1', 'D');
    await operator.ready('shop/web');
    await lab.eventually(async () => { assert.deepEqual((await lab.get('c1', { address: vip, port: 80, count: 6 })).by, { rs1: 3, rs3: 3 }); }, { withinMs: 60_000, what: 'both serve again' });
    const { alive, broken } = await held.check();
    assert.deepEqual({ alive, broken }, { alive: 6, broken: 0 }, 'connections from before all of this');
    await held.close();
  },
});
