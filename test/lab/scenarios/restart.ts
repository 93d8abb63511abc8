// The process may die at any moment: the kernel forwards on, and the next one goes on from where it was.

import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { difference } from '../difference.ts';
import { scenario, type Agent, type Lab } from '../lab.ts';
import { file, pool, server } from '../manifests.ts';
import { lan, vip } from '../topologies.ts';

/** Services beside the one with traffic, with ten real servers each. */
const BULK = 400;
const bulk = Array.from({ length: BULK }, (_, i) => ({ i, vip: `10.0.1.${201 + (i % 40)}`, port: 1000 + Math.floor(i / 40) }));
const bulkServers = (i: number, variant: number) => Array.from({ length: 10 }, (_, k) => ({ address: `172.16.${(i + variant) % 250}.${k + 1}`, weight: variant + 1 }));
const traffic = ['10.0.1.21', '10.0.1.22', '10.0.1.23'];

/** A service with traffic, and many beside it whose programming the kills interrupt. From one variant to the next every real server of theirs changes. */
function many(variant: number): string {
  const others = bulk.map(({ i, vip: address, port }) => server({ name: `bulk-${i}`, mode: 'NAT', vips: [address], ports: [{ port }], endpoints: bulkServers(i, variant) }));
  return file(pool(), server({ mode: 'NAT', endpoints: traffic, more: { scheduler: { name: 'rr' } } }), ...others);
}

/** The table of a variant as `ipvsadm -Sn` prints it, sorted. */
function tableOf(variant: number): string[] {
  return [
    `-A -t ${vip}:80 -s rr`, ...traffic.map((address) => `-a -t ${vip}:80 -r ${address}:80 -m -w 1`),
    ...bulk.flatMap(({ i, vip: address, port }) => [
      `-A -t ${address}:${port} -s wrr`, ...bulkServers(i, variant).map((r) => `-a -t ${address}:${port} -r ${r.address}:${port} -m -w ${r.weight}`),
    ]),
  ].sort();
}

/** A small generator with a seed, so that a failing run can be repeated (Numerical Recipes' LCG). */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** One kill in so many comes at any moment, the others while operations are being sent. */
const BLIND = 5;
/** About what sending 8,000 operations takes; longer, and the kill falls into what comes after. */
const APPLY_MS = 150;

/** Reading and compiling all of it takes 4 s on a free CPU, and took 58 s on one with sixteen others. */
const APPLIES_MS = 300_000;

function kills(name: string, seed: number, times: number, more: readonly string[] = []) {
  return scenario({
    name, about: `${times} times kill -9, most of them in the middle of a large apply, with 200 held connections: none breaks, and the end state is right`,
    topology: lan, tags: ['restart', ...more], timeoutSeconds: 600,
    run: async (lab) => {
      const next = random(seed);
      const agent = await lab.agent('dir1', { manifests: { 'a.yaml': many(0) } });
      await agent.settled();
      for (const rs of ['rs1', 'rs2', 'rs3']) await lab.serve(rs, { tcp: [80] });
      const held = await lab.hold('c1', { address: vip, port: 80, count: 200, everyMs: 2000 });
      let inside = 0;
      for (let i = 1; i <= times; i++) {
        const mark = agent.log.length;
        // Never one that stood before: a kill that comes early leaves the table of the last but one, and then nothing would be applied.
        agent.write('a.yaml', many(i));
        if (i % BLIND === 0) {
          // Reading, compiling, writing the ledger, or a start that has hardly begun.
          await lab.sleep(next() * 1500);
        } else {
          // The process says so right before it sends.
          for (const deadline = performance.now() + APPLIES_MS; agent.log.indexOf('"applying"', mark) < 0; await lab.sleep(2)) {
            if (performance.now() > deadline) throw new Error(`after ${i - 1} kills nothing is applied within ${APPLIES_MS / 1000} s (seed ${seed}):\n${await processesOf(lab, agent.pid)}`);
          }
          await lab.sleep(next() * APPLY_MS);
        }
        await agent.kill();
        if (await halfway(lab)) inside++;
        await agent.start();
        if (i % 5 === 0) {
          await agent.settled();
          const { broken } = await held.check();
          assert.equal(broken, 0, `after ${i} kills (seed ${seed})`);
        }
      }
      lab.log(`${inside} of ${times} kills left a table that is neither the old nor the new one`);
      assert.ok(inside >= times / 5, `only ${inside} of ${times} kills came in the middle of an apply: they prove nothing`);
      await agent.settled();
      const { alive, broken } = await held.check();
      assert.deepEqual({ alive, broken }, { alive: 200, broken: 0 }, `seed ${seed}`);
      // Nothing is lost and nothing too much, once what drains has gone (nothing has connections there).
      const wrong = async (): Promise<string[]> => difference(tableOf(times).join('\n'), (await lab.host('dir1').ipvsSave()).sort().join('\n'));
      try {
        // Not by deepEqual: to show how ten thousand lines differ from none, node:assert takes the square of that in memory, and the guest has 2 GB.
        await lab.eventually(async () => (await wrong()).length === 0, { withinMs: 30_000, what: 'the table of the last variant, and nothing else' });
      } catch (cause) {
        throw new Error(`seed ${seed}: ${await howItStands(lab, agent, await wrong())}`, { cause });
      }
    },
  });
}

/** In few lines, for whoever sees nothing but them. */
async function howItStands(lab: Lab, agent: Agent, wrong: readonly string[]): Promise<string> {
  const kinds = Map.groupBy(wrong, (line) => `${line[0]} with ${/-[sw] \S+$/.exec(line)?.[0] ?? '?'}`);
  const lines = agent.log.trimEnd().split('\n');
  return [
    `${wrong.length} lines differ (${[...kinds].map(([kind, list]) => `${list.length} ${kind}`).join(', ')}), as ${wrong.slice(0, 3).join(' | ')}`,
    `process ${agent.pid ?? 'none'}, status ${JSON.stringify(agent.status()).slice(0, 600)}`, `last lines of its log, of ${lines.length}:`, ...lines.slice(-12).map((line) => line.slice(0, 400)),
    await lab.host('dir1').sh(`ls -l ${agent.state}; head -c 300 ${agent.state}/drains.json`), agent.pid === null ? '' : await lab.host('dir1').sh(`cat /proc/${agent.pid}/wchan; cat /proc/${agent.pid}/stat`),
  ].join('\n');
}

/** What a process and its children do, for one that hangs. */
async function processesOf(lab: Lab, pid: number | null): Promise<string> {
  return lab.host('dir1').sh(`ps -e -o pid,ppid,stat,wchan:24,time,args --forest | tail -40; cat /proc/${pid}/stack; for t in /proc/${pid}/task/*; do cat $t/comm $t/wchan; echo; done; ls -l /proc/${pid}/fd | tail -40`);
}

/** Whether the bulk services are between two variants: some of their real servers are of one and serve, others of another, or only some have been told to leave. */
async function halfway(lab: Lab): Promise<boolean> {
  // Weights of 172.16.0.0/16's real servers, and how many have each.
  const weights = (await lab.host('dir1').sh("sed -n 's/^  -> AC10[0-9A-F]*:[0-9A-F]* *Masq *\\([0-9]*\\) .*/\\1/p' /proc/net/ip_vs | sort | uniq -c")).trim().split('\n').map((line) => line.trim().split(' ').map(Number) as [number, number]);
  return weights.some(([count]) => count !== BULK * 10);
}

export const kill1 = kills('restart-kill-1', 20_261_123, 15);
export const kill2 = kills('restart-kill-2', 4_711, 15);
export const kill3 = kills('restart-kill-3', 815, 50, ['long']);

export const idle = scenario({
  name: 'restart-idle',
  about: 'a restart with nothing to do sends no changing message; SIGTERM leaves the kernel forwarding',
  topology: lan,
  tags: ['restart'],
  run: async (lab) => {
    const text = file(pool(),
      server({ name: 'nat', mode: 'NAT', vips: [vip, 'fd00:1::200'], ports: [{ port: 80 }, { port: 53, protocol: 'UDP' }], endpoints: ['10.0.1.21', '10.0.1.22', 'fd00:1::21'] }),
      server({ name: 'gue', mode: 'TUN', vips: ['10.0.1.204'], endpoints: ['10.0.1.21', '10.0.1.22'], more: { tun: { encapsulation: 'GUE' } } }),
      server({ name: 'mh', mode: 'DR', vips: ['10.0.1.205'], endpoints: ['10.0.1.21', '10.0.1.22'], more: { scheduler: { name: 'mh', fallback: true, portAware: true }, persistence: { timeoutSeconds: 60, ipv4PrefixLength: 24 } } }),
      server({ name: 'range', mode: 'NAT', vips: ['10.0.1.206'], ports: [{ port: 3000, endPort: 3010 }], endpoints: ['10.0.1.21'] }));
    const agents: Agent[] = [];
    for (const host of ['dir1', 'rs1']) agents.push(await lab.agent(host, { manifests: { 'lab.yaml': text }, environment: { IPVS_NETLINK_DEBUG: '1' } }));
    for (const agent of agents) assert.equal((await agent.settled())['ok'], true, agent.log.slice(-3000));
    for (const rs of ['rs1', 'rs2']) await lab.serve(rs, { tcp: [80] });
    for (const agent of agents) {
      assert.equal(await agent.stop(), 0);
      const mark = agent.log.length;
      const answers = await lab.get('c1', { address: vip, port: 80, count: 4 });
      assert.deepEqual(answers.by, { rs1: 2, rs2: 2 }, 'forwarding goes on without us');
      await agent.start();
      const status = await agent.settled();
      assert.equal(status['operations'], 0, JSON.stringify(status));
      // Not only by its own word: no changing message was sent, except to the scratch namespace of the capability probe, which
      // uses a mark of its own ('IPVS' as a number).
      const changing = /netlink > .*\b(NEW_|SET_|DEL_|FLUSH|ZERO|RTM_NEW|RTM_DEL|RTM_SET)/;
      assert.match(agent.log.slice(0, mark), changing, 'what the first start changed can be seen, so the next line can fail');
      const sent = agent.log.slice(mark).split('\n').filter((line) => changing.test(line) && !line.includes('FWMARK=1230001747'));
      assert.deepEqual(sent, [], `${agent.host} sent changes`);
    }
  },
});

export const lostState = scenario({
  name: 'restart-lost-state',
  about: 'a lost or corrupt state folder means observe and adopt: nothing is deleted, no connection breaks, and changes work again afterwards',
  topology: lan,
  tags: ['restart'],
  run: async (lab) => {
    const one = server({ name: 'one', mode: 'NAT', endpoints: ['10.0.1.21', '10.0.1.22', '10.0.1.23'] });
    const two = server({ name: 'two', mode: 'NAT', vips: ['10.0.1.201'], endpoints: ['10.0.1.21'] });
    const agent = await lab.agent('dir1', { manifests: { 'a.yaml': file(pool(), one), 'b.yaml': two } });
    await agent.settled();
    for (const rs of ['rs1', 'rs2', 'rs3']) await lab.serve(rs, { tcp: [80] });
    const held = await lab.hold('c1', { address: vip, port: 80, count: 30 });
    const before = await lab.host('dir1').ipvsSave();
    for (const how of ['lost', 'corrupt', 'truncated'] as const) {
      await agent.kill();
      for (const name of ['ledger.json', 'snapshot.json', 'drains.json']) {
        const path = join(agent.state, name);
        if (how === 'lost') rmSync(path, { force: true });
        else writeFileSync(path, how === 'corrupt' ? '{"version":1,"sha256":"0"}\n{"services":{}}' : '{"ver');
      }
      // A manifest went away together with the state: what it made must stay, since nothing proves that it is ours.
      if (how === 'lost') agent.remove('b.yaml');
      await agent.start();
      await agent.settled();
      assert.deepEqual(await lab.host('dir1').ipvsSave(), before, how);
      assert.equal((await held.check()).broken, 0, how);
    }
    agent.write('a.yaml', file(pool(), server({ name: 'one', mode: 'NAT', endpoints: ['10.0.1.21', '10.0.1.22'], more: { drain: { timeoutSeconds: 0 } } })));
    await agent.settled();
    const after = await lab.host('dir1').ipvsSave();
    assert.ok(!after.some((l) => l.includes('10.0.1.23')), 'after one clean pass the ledger is trusted again');
    await held.close();
  },
});

export const secondInstance = scenario({
  name: 'restart-second-instance',
  about: 'a second instance on the same state folder is refused by name and disturbs nothing',
  topology: lan,
  tags: ['restart', 'bad-input'],
  run: async (lab) => {
    const agent = await lab.agent('dir1', { manifests: { 'a.yaml': file(pool(), server({ mode: 'NAT', endpoints: ['10.0.1.21'] })) } });
    await agent.settled();
    const before = await lab.host('dir1').ipvsSave();
    const second = await lab.cli('dir1', ['standalone', '--manifests', agent.manifests, '--state', agent.state, '--node', 'dir1']);
    assert.equal(second.code, 1);
    assert.match(second.stderr, /STATE_LOCKED.*in use by another ipvs-operator/);
    assert.deepEqual(await lab.host('dir1').ipvsSave(), before);
    assert.ok(agent.running);
  },
});
