// The management network of a lab: a switch in the guest's root namespace with the API server on it, and a NIC `m0` in
// every host. Scenarios cut a LAN without cutting this one, and the other way round. Runs inside a guest only.
//
//     API server 192.168.250.254 -- mgmt 192.168.250.0/24 --+-- m0 of each host, .1 .2 ... in the order of the topology

import { runCommand } from './process.ts';
import type { Topology } from './topology.ts';

/** The address of the guest's root namespace on it. */
export const managementServer = '192.168.250.254';

/** A host's address on it. Throws when the topology has no such host. */
export function managementAddress(topology: Topology, host: string): string {
  const index = Object.keys(topology.hosts).indexOf(host);
  if (index < 0) throw new Error(`topology ${topology.name} has no host ${host}`);
  return `192.168.250.${index + 1}`;
}

/** Builds it beside the networks of a topology that stands. */
export async function buildManagement(topology: Topology, signal: AbortSignal): Promise<void> {
  const hosts = Object.keys(topology.hosts);
  await ip([], [
    'link add mgmt type bridge forward_delay 0 mcast_snooping 0',
    'link set mgmt up',
    `addr add ${managementServer}/24 dev mgmt`,
    ...hosts.flatMap((host, index) => [
      `link add m0 netns ${host} address 02:00:00:fa:00:${(index + 1).toString(16).padStart(2, '0')} type veth peer name ${host}-m0`,
      `link set ${host}-m0 master mgmt up`,
    ]),
  ], signal);
  await Promise.all(hosts.map((host) => ip(['-n', host], [
    'link set m0 addrgenmode none', 'link set m0 up', `addr add ${managementAddress(topology, host)}/24 dev m0`,
  ], signal)));
}

/** Pulls a host's plug, or puts it in again. The host sees a NIC without carrier and keeps its address. */
export async function setPlugged(topology: Topology, host: string, plugged: boolean, signal: AbortSignal): Promise<void> {
  managementAddress(topology, host);
  await ip([], [`link set ${host}-m0 ${plugged ? 'up' : 'down'}`], signal);
}

/** Takes away what there is of it. */
export async function removeManagement(topology: Topology): Promise<void> {
  const lines = [...Object.keys(topology.hosts).map((host) => `link del ${host}-m0`), 'link del mgmt'];
  await runCommand(['ip', '-force', '-batch', '-'], { stdin: `${lines.join('\n')}\n` }); // -force: it may be half built.
}

async function ip(options: readonly string[], lines: readonly string[], signal: AbortSignal): Promise<void> {
  const result = await runCommand(['ip', ...options, '-batch', '-'], { stdin: `${lines.join('\n')}\n`, signal });
  if (result.code !== 0) throw new Error(`management network: ${result.stderr.trim()}`);
}
