/**
 * What the IPVS tests share inside a lab guest: a network namespace for each test, and Debian's ipvsadm as the second opinion.
 * It refuses to run anywhere else: these tests change the kernel that they run on.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { NetlinkConnection } from '../../../src/kernel/netlink/connection.ts';
import { NETLINK, NLM_F } from '../../../src/kernel/netlink/constants.ts';
import { CLONE_NEWNET, unshare } from '../../../src/kernel/netlink/libc.ts';
import { openIpvs, type IpvsOptions } from '../../../src/kernel/ipvs/client.ts';
import type { IpvsClient, IpvsObservation, IpvsOperation } from '../../../src/kernel/ipvs/contract.ts';
import { DestinationTable } from '../../../src/kernel/ipvs/destinations.ts';
import { serviceKey, type Destination, type Service } from '../../../src/kernel/ipvs/types.ts';

if (!readFileSync('/proc/cmdline', 'utf8').includes('lab.work=')) throw new Error('this test changes the kernel it runs on: `npm run lab -- --exec "node --test FILE"`');

// ipvsadm lets the kernel load these while the namespaces of earlier tests are torn down, which deadlocks (scheduler-module.ts).
spawnSync('modprobe', ['-a', 'ip_vs_lblc', 'ip_vs_lblcr']);

/** Moves this process into a new network namespace with lo up; the last one ends with its last user. */
export function freshNamespace(options: { lo?: boolean } = {}): void {
  unshare(CLONE_NEWNET);
  if (options.lo === false) return;
  const route = new NetlinkConnection(NETLINK.ROUTE);
  // RTM_NEWLINK, struct ifinfomsg: interface 1, IFF_UP. A process for it would take longer than the test.
  route.request(route.writer.reset().message(16, NLM_F.REQUEST).word(0).word(1).word(1).word(1), { operation: 'RTM_NEWLINK', object: 'lo' });
  route.close();
}

export function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Lines of `ipvsadm -Sn`, sorted. */
export function saved(): string[] {
  return run('ipvsadm', '-S', '-n').split('\n').map((line) => line.trim()).filter(Boolean).sort();
}

/** Loads lines into the table, in their order. */
export function restore(lines: readonly string[]): void {
  const { status, stderr } = spawnSync('ipvsadm', ['-R'], { input: lines.map((line) => `${line}\n`).join(''), encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}

const clients: IpvsClient[] = [];
/** A client of the current namespace; `closeClients` in afterEach. */
export function client(options: IpvsOptions = {}): IpvsClient {
  const opened = openIpvs(options);
  clients.push(opened);
  return opened;
}
export function closeClients(): void {
  for (const opened of clients.splice(0)) opened.close();
}

/** Applies and expects no failure. */
export async function applied(to: IpvsClient, operations: readonly IpvsOperation[]): Promise<void> {
  const failures = await to.apply(operations);
  assert.deepEqual(failures.slice(0, 5).map((f) => f.error.message), [], `${failures.length} failures`);
}

export const adding = (service: Service, destinations: readonly Destination[] = []): IpvsOperation[] =>
  [{ kind: 'addService', service }, ...destinations.map((destination): IpvsOperation => ({ kind: 'addDestination', service, destination }))];

/** What was observed, as values without counters, for comparison. */
export function plain(observation: IpvsObservation): Record<string, { service: Service; destinations: Destination[] }> {
  assert.ok(observation.complete);
  return Object.fromEntries([...observation.services].sort(([a], [b]) => a < b ? -1 : 1).map(([key, { service, destinations, complete }]) => {
    assert.ok(complete, key);
    return [key, { service, destinations: destinations.toArray() }];
  }));
}

/** The same shape from what was applied. */
export function wanted(...table: [Service, Destination[]][]): Record<string, { service: Service; destinations: Destination[] }> {
  return plain({
    complete: true,
    services: new Map(table.map(([service, destinations]) => [serviceKey(service), { service, destinations: DestinationTable.from(destinations), complete: true }])),
  });
}
