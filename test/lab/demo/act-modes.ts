// Chapters 1 to 4: the network, then DR, NAT and TUN from examples/tutorial, each from the plan to connections that arrive.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { scenario, type Agent, type Lab, type Scenario } from '../lab.ts';
import { macAddress, type Topology } from '../topology.ts';
import { tutorialDr, tutorialNat, tutorialTun } from '../topologies.ts';
import { networkPicture } from './network-picture.ts';
import { installCommand, logged, manifestFolder, standalone, type Stage } from './stage.ts';
import { watch } from './traffic.ts';

const realServers = ['rs1', 'rs2'];
const everyone = ['dir1', ...realServers];
/** Connections in a chapter: even over two real servers. */
const connections = 120;
/** Time of an act, in seconds: it waits for the person too. */
export const actSeconds = 150;

function example(name: string): string {
  return readFileSync(resolve(import.meta.dirname, '../../../examples/tutorial', name), 'utf8');
}

/** Folders with the example on each host, and servers on port 80; the product is not started yet. */
async function prepare(lab: Lab, file: string): Promise<{ agents: Agent[]; serving: Promise<unknown> }> {
  const agents = await Promise.all(everyone.map((host) => lab.agent(host, { manifests: { [file]: example(file) }, start: false })));
  installCommand(agents[0]!);
  return { agents, serving: Promise.all(realServers.map((host) => lab.serve(host, { tcp: [80] }))) };
}

/** The plan on the director, then the product on every host; holds the one to the other. */
async function planAndApply(lab: Lab, stage: Stage, agents: readonly Agent[]): Promise<void> {
  const plan = await stage.type(lab, 'dir1', `ipvs-operator plan --manifests ${manifestFolder}`);
  const planned = plan.stdout.split('\n').filter((line) => line !== '');
  stage.tell({ kind: 'command', host: agents.map((agent) => agent.host).join(','), command: standalone });
  stage.doing('it starts and applies');
  await Promise.all(agents.map((agent) => agent.start()));
  for (const agent of agents) {
    const status = await agent.settled();
    assert.equal(status['ok'], true, `${agent.host}: ${JSON.stringify(status)}`);
  }
  stage.claim(`the plan's ${planned.length} operations were applied, and no other`, (await logged(lab, agents[0]!, 0, planned.length)).toSorted(), planned.toSorted());
}

/** Debian's ipvsadm shows both real servers with this method, and no third. */
async function table(lab: Lab, stage: Stage, method: string): Promise<void> {
  const shown = await stage.type(lab, 'dir1', 'ipvsadm -Ln', method);
  const methods = shown.stdout.split('\n').filter((line) => /^ {2}-> \d/.test(line)).map((line) => line.trim().split(/ +/)[2]);
  stage.claim(`Debian's ipvsadm sees two real servers by ${method}`, methods, [method, method]);
}

/** Who answers a broadcast for an address, by host name. */
async function whoHas(lab: Lab, asker: string, address: string): Promise<string[]> {
  const names = new Map(Object.keys(lab.topology.hosts).map((host) => [macAddress(lab.topology, host, 'e0'), host]));
  return (await lab.arp(asker, address)).map((mac) => names.get(mac) ?? mac);
}

/** Connections under the reader's eyes, even over both real servers, none lost. */
async function balance(lab: Lab, stage: Stage, vip: string, serving: Promise<unknown>): Promise<readonly string[]> {
  await serving;
  // The client's process and the neighbours' addresses are found before anybody looks; counted like the others.
  const first = await lab.get('c1', { address: vip, port: 80, count: 2 });
  stage.counted(2, 2 - Object.values(first.by).reduce((sum, n) => sum + n, 0));
  await stage.turn(lab);
  const { by, opened, lost, sources } = await watch(lab, stage, { client: 'c1', address: vip, servers: realServers, count: connections });
  stage.claim(`${opened} connections, spread evenly by rr, none lost`, { by, lost }, { by: { rs1: connections / 2, rs2: connections / 2 }, lost: 0 });
  return sources;
}

function act(name: string, topology: Topology, run: (lab: Lab, stage: Stage) => Promise<void>): (stage: Stage) => Scenario {
  return (stage) => scenario({ name: `demo-${name}`, about: `the demo: ${name}`, topology, timeoutSeconds: actSeconds, run: (lab) => run(lab, stage) });
}

export const dr = act('dr', tutorialDr, async (lab, stage) => {
  const vip = '192.168.1.10';
  stage.chapter(1, 'The network', 'A LAN with a director and two real servers, a client on it and one behind a router, built in a Linux kernel of their own.');
  stage.tell({ kind: 'picture', lines: networkPicture(lab.topology) });
  const { agents, serving } = await prepare(lab, 'dr.yaml');
  stage.say(`Clients will use the VIP ${vip}. lc asks the LAN who has it:`);
  stage.doing('waiting for answers');
  stage.claim('nobody answers yet', await whoHas(lab, 'lc', vip), []);
  stage.end();

  stage.chapter(2, 'DR', 'The director changes only the MAC address; answers go past it. So the VIP is on every real server too, and those must be quiet about it.');
  await stage.type(lab, 'dir1', `sed -n '/^kind: VirtualServer/,$p' ${manifestFolder}/dr.yaml`);
  await planAndApply(lab, stage, agents);
  stage.say('On rs1 the same folder means something else; its log says:');
  const onRealServer = await logged(lab, agents[1]!, 0, 3);
  stage.tell({ kind: 'output', text: onRealServer.join('\n') });
  stage.claim('quiet first, then the VIP', onRealServer.map((line) => line.replace(/ \(.*/, '')), [
    'set sysctl net/ipv4/conf/all/arp_announce = 2', 'set sysctl net/ipv4/conf/all/arp_ignore = 1', `add address ${vip} on lo`,
  ]);
  await table(lab, stage, 'Route');
  stage.say(`lc asks the LAN again: who has ${vip}?`);
  const owners = await whoHas(lab, 'lc', vip);
  stage.tell({
    kind: 'output', mark: 'answers',
    text: [...new Set([...everyone, ...owners])].map((host) => `${host.padEnd(4)}  ${everyone.includes(host) ? macAddress(lab.topology, host, 'e0') : ''}  ${owners.includes(host) ? 'answers' : 'silent'}`).join('\n'),
  });
  const holders = (await Promise.all(everyone.map(async (host) => ((await lab.host(host).addresses()).some((line) => line.endsWith(` ${vip}/32`)) ? host : [])))).flat();
  stage.claim('all three hosts have the VIP, only the director answers for it', { holders, owners }, { holders: everyone, owners: ['dir1'] });
  await balance(lab, stage, vip, serving);
  stage.end();
});

export const nat = act('nat', tutorialNat, async (lab, stage) => {
  stage.chapter(3, 'NAT', 'The director rewrites packets both ways and is the gateway of the real servers, which need nothing of ours.');
  stage.tell({ kind: 'picture', lines: networkPicture(lab.topology) });
  const { agents: [director], serving } = await prepare(lab, 'nat.yaml');
  await planAndApply(lab, stage, [director!]);
  await table(lab, stage, 'Masq');
  const sources = await balance(lab, stage, '192.168.1.12', serving);
  stage.claim('the real servers see the client\'s own address', sources, ['192.168.1.100']);
  stage.end();
});

export const tun = act('tun', tutorialTun, async (lab, stage) => {
  const vip = '200.168.10.10';
  stage.chapter(4, 'TUN', 'The director wraps packets in a tunnel (IPIP here, GRE and GUE too): real servers may be anywhere, and answer clients themselves.');
  const { agents, serving } = await prepare(lab, 'tun.yaml');
  await planAndApply(lab, stage, agents);
  await table(lab, stage, 'Tunnel');
  const addresses = await stage.type(lab, 'rs1', 'ip -4 -brief address', vip);
  stage.claim('rs1 has the VIP on a tunnel device of its own', addresses.stdout.split('\n').filter((line) => line.includes(vip)).map((line) => /^ivs/.test(line)), [true]);
  await balance(lab, stage, vip, serving);
  stage.end();
});
