// Chapters 5 to 7, in one running network from examples/web: a real server drains, the director's process is killed, and hands
// that are not ours change the kernel. Connections are held all the time; the story claims what they saw.

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { scenario, type Agent, type Lab, type Scenario } from '../lab.ts';
import type { Topology } from '../topology.ts';
import { lan, vip } from '../topologies.ts';
import { actSeconds } from './act-modes.ts';
import { networkPicture } from './network-picture.ts';
import { installCommand, logged, manifestFolder, standalone, type Stage } from './stage.ts';
import { watch, watchStream } from './traffic.ts';

const { dir2: _, ...hosts } = lan.hosts;
/** The shared LAN without the second director. */
const topology: Topology = { ...lan, name: 'demo-lan', hosts };
const realServers = ['rs1', 'rs2', 'rs3'];
/** Connections that stay open. */
const held = 30;

const manifest = readFileSync(resolve(import.meta.dirname, '../../../examples/web/web.yaml'), 'utf8');

export function life(stage: Stage): Scenario {
  return scenario({
    name: 'demo-life', about: 'the demo: drain, kill -9, drift', topology, timeoutSeconds: actSeconds,
    run: async (lab) => {
      stage.chapter(5, 'A real server leaves', 'Three real servers behind one director (NAT, nothing to set up on them). rs3 is taken out while clients hold connections to it.');
      stage.tell({ kind: 'picture', lines: networkPicture(lab.topology) });
      const serving = Promise.all(realServers.map((host) => lab.serve(host, { tcp: [80] })));
      const agent = await lab.agent('dir1', { manifests: { 'web.yaml': manifest }, start: false });
      installCommand(agent);
      stage.tell({ kind: 'command', host: 'dir1', command: standalone });
      await agent.start();
      await agent.settled();
      await serving;
      await drain(lab, stage, agent);
      stage.end();

      stage.chapter(6, 'kill -9', 'The process is killed under traffic. Forwarding is the kernel\'s, so clients notice nothing; the next process finds everything in place.');
      await kill(lab, stage, agent);
      stage.end();

      stage.chapter(7, 'Drift', 'Somebody types commands on the director. What was ours is put back; what was not ours would stay.');
      await drift(lab, stage, agent);
      stage.end();
    },
  });
}

async function drain(lab: Lab, stage: Stage, agent: Agent): Promise<void> {
  const connections = await lab.hold('lc', { address: vip, port: 80, count: held, everyMs: 500 });
  await stage.turn(lab);
  const share = held / realServers.length;
  const options = { client: 'c1', address: vip, servers: realServers, scale: 50 };
  const before = await watch(lab, stage, { ...options, count: 60, note: () => `+ ${share} held by lc` });
  stage.claim('20 new connections each', before.by, { rs1: 20, rs2: 20, rs3: 20 });

  await stage.type(lab, 'dir1', `sed -i '/10.0.1.23/d' ${manifestFolder}/web.yaml`);
  await agent.settled();
  const after = await watch(lab, stage, { ...options, count: 60, from: before.by, note: (server) => (server === 'rs3' ? `+ ${share} held, leaving` : `+ ${share} held by lc`) });
  stage.claim('rs3 gets no new connection', after.by, { rs1: 50, rs2: 50, rs3: 20 });
  stage.claim('none was lost on the way', before.lost + after.lost, 0);
  const { alive, broken, by } = await connections.check();
  stage.claim(`all ${held} held connections go on, ${share} of them on rs3`, { alive, broken, rs3: by['rs3'] }, { alive: held, broken: 0, rs3: share });
  const status = await stage.type(lab, 'dir1', 'ipvs-operator status shop/web | grep -A 9 REAL', 'draining');
  stage.claim('the status says who is draining', /10\.0\.1\.23.*draining/.test(status.stdout), true);
  stage.counted(held, broken);

  stage.say('lc ends its connections:');
  stage.doing('the last connection of rs3 ends');
  await connections.close();
  const closed = performance.now();
  await lab.eventually(async () => !(await lab.host('dir1').ipvsSave()).some((line) => line.includes('10.0.1.23')), { withinMs: 20_000, what: 'the drained real server is deleted' });
  const seconds = ((performance.now() - closed) / 1000).toFixed(1);
  const shown = await stage.type(lab, 'dir1', 'ipvsadm -Ln');
  stage.claim(`rs3 left the table ${seconds} s after its last connection`, shown.stdout.includes('10.0.1.23'), false);
}

async function kill(lab: Lab, stage: Stage, agent: Agent): Promise<void> {
  const servers = ['rs1', 'rs2'];
  const connections = await lab.hold('lc', { address: vip, port: 80, count: held, everyMs: 500 });
  await lab.host('dir1').run('ipvsadm -Sn > /tmp/before');
  const first = agent.pid;
  await stage.turn(lab);
  const stream = await lab.stream('c1', { address: vip, port: 80, everyMs: 50, timeoutMs: 10_000 });
  const scale = 60;
  await watchStream(lab, stage, stream, { milliseconds: 1000, servers, scale, caption: `process ${first} runs, ${held} connections held` });
  await stage.type(lab, 'dir1', `kill -9 ${first}`);
  await lab.eventually(() => !agent.running, { withinMs: 5000, what: 'the killed process is gone' });
  await watchStream(lab, stage, stream, { milliseconds: 2500, servers, scale, caption: `no process, ${held} connections held` });
  await stage.type(lab, 'dir1', 'ipvs-operator status | head -n 2', 'has ended');
  const same = await stage.type(lab, 'dir1', 'ipvsadm -Sn | diff - /tmp/before && echo same table');
  stage.claim('the table is unchanged', same.stdout, 'same table\n');

  stage.tell({ kind: 'command', host: 'dir1', command: standalone });
  stage.doing('it starts again');
  const mark = agent.log.length;
  await agent.start();
  const settled = await agent.settled();
  await stage.type(lab, 'dir1', 'ipvs-operator status | head -n 2', '0 operations');
  stage.claim('the new process had nothing to change', { operations: settled['operations'], logged: await logged(lab, agent, mark, 0) }, { operations: 0, logged: [] });
  const { alive, broken, maxGapMs } = await connections.check();
  const report = await stream.stop();
  stage.claim(`${alive} of ${held} held connections never broke (a line each 500 ms, at most ${maxGapMs} between two answers)`, { alive, broken }, { alive: held, broken: 0 });
  stage.claim(`${report.sent} new connections meanwhile, none lost (one each 50 ms, at most ${report.maxGapMs} between two answers)`, report.lost, 0);
  stage.counted(held + report.sent, broken + report.lost);
  await connections.close();
}

async function drift(lab: Lab, stage: Stage, agent: Agent): Promise<void> {
  const director = lab.host('dir1');
  const before = { table: await director.ipvsSave(), addresses: await director.addresses() };
  const drifts = Number(agent.status()?.['drifts'] ?? 0);
  const mark = agent.log.length;
  await stage.turn(lab);
  await stage.type(lab, 'dir1', `ip addr del ${vip}/32 dev e0`);
  await stage.type(lab, 'dir1', `ipvsadm -e -t ${vip}:80 -r 10.0.1.21:80 -m -w 9`);
  await stage.type(lab, 'dir1', `ipvsadm -d -t ${vip}:80 -r 10.0.1.22:80`);
  const started = performance.now();
  stage.doing('addresses are watched, the table is looked at each second');
  const now = async (): Promise<unknown> => ({ table: await director.ipvsSave(), addresses: await director.addresses() });
  const wanted = JSON.stringify(before);
  await lab.eventually(async () => JSON.stringify(await now()) === wanted, { withinMs: 20_000, what: 'the table and the address are as before' });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  stage.say('The log says:');
  stage.tell({ kind: 'output', text: (await logged(lab, agent, mark, 4)).join('\n') });
  await agent.settled();
  stage.claim(`all as before after ${seconds} s`, await now(), before);
  stage.claim('the status counts the drift', Number(agent.status()?.['drifts'] ?? 0) > drifts, true);
  const { by, lost } = await watch(lab, stage, { client: 'c1', address: vip, servers: ['rs1', 'rs2'], count: 60 });
  stage.claim('clients are served as before', { by, lost }, { by: { rs1: 30, rs2: 30 }, lost: 0 });
}
