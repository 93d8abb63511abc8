// The director of rows 1 and 2, alone in a guest: a NIC with the VIPs' network, an agent, and an eye on the kernel that says over the wire
// when it has what it is asked for. Ends when whoever asks has gone. What is asked, and when, is pipeline.ts's.
//   node test/bench/cluster/director.ts URL

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { release } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { openIpvs } from '../../../src/kernel/ipvs/client.ts';
import type { IpvsClient } from '../../../src/kernel/ipvs/contract.ts';
import type { Service } from '../../../src/kernel/ipvs/types.ts';
import { managementServer } from '../../lab/management.ts';
import { prepareGuest } from '../../lab/prepare-guest.ts';
import { busyMeter } from './bed.ts';
import { kubeconfigFor, startAgent, type Product } from './product.ts';
import { nodeAddress, NETWORK, vipOf } from './workload.ts';

export const NODE = 'alone';
export const EYE_PORT = 6445;

/** The real server that a VirtualServer is to have, with a weight. */
export interface Look { readonly service: number; readonly address: string }
/** What it says first. */
export interface Welcome { readonly kernel: string }

const POLL_MS = 1;
const FOLDER = '/run/bench/director';

async function main(url: string): Promise<void> {
  prepareGuest();
  for (const module of ['ip_vs', 'ip_vs_rr', 'dummy']) execFileSync('modprobe', [module]);
  const lines = [`address add ${managementServer}/24 dev vec0`, 'link set vec0 up', 'link add e0 type dummy', `address add ${nodeAddress(0)}/${NETWORK.prefix} dev e0`, 'link set e0 up'];
  for (const line of lines) execFileSync('ip', line.split(' '));
  const profiles = process.env['LAB_PROF'];
  const agent = await startAgent({ folder: FOLDER, kubeconfig: kubeconfigFor(FOLDER, url), ...(profiles === undefined ? {} : { nodeArguments: ['--cpu-prof', `--cpu-prof-dir=${profiles}`] }) }, null, NODE);
  const ipvs = openIpvs();
  const server = createServer({ noDelay: true }, (socket) => { void answer(socket, ipvs, agent); });
  server.listen(EYE_PORT, managementServer);
}

async function answer(socket: Socket, ipvs: IpvsClient, agent: Product): Promise<never> {
  const busy = busyMeter();
  const welcome: Welcome = { kernel: `${readFileSync('/proc/sys/kernel/ostype', 'utf8').trim()} ${release()}` };
  socket.write(`${JSON.stringify(welcome)}\n`);
  for await (const line of createInterface({ input: socket })) {
    const { service, address } = JSON.parse(line) as Look;
    const wanted: Service = { family: 'IPv4', protocol: 'TCP', address: vipOf(service), port: 80, fwmark: 0, scheduler: 'rr', flags: 0, timeoutSeconds: 0, prefixLength: 32, engine: '' };
    while (!has(ipvs.read([wanted]), address) && !socket.destroyed) await sleep(POLL_MS);
    socket.write('seen\n');
  }
  process.stdout.write(`guest ${(busy() * 100).toFixed(0)} % busy; agent ${agent.memory('VmRSS').toFixed(1)} MB, ${agent.cpuSeconds().toFixed(1)} s CPU\n${agent.tail()}`);
  await agent.kill();
  process.exit(0);
}

function has({ services }: ReturnType<IpvsClient['read']>, address: string): boolean {
  for (const { destinations } of services.values()) {
    for (let d = 0; d < destinations.length; d++) if (destinations.get(d).address === address && destinations.weight(d) > 0) return true;
  }
  return false;
}

if (import.meta.main) await main(process.argv[2]!);
