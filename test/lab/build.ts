// Turns a topology into network namespaces, bridges, links and routes, and back into nothing. Runs inside a guest only.
// Few processes do it all, because one costs 25 ms here: an `ip -batch` for the links, one for each host, and a shell where there are sysctls.

import { runCommand } from './process.ts';
import { macAddress, type HostSpec, type Topology } from './topology.ts';

/** Builds every bridge and host of a topology. Rejects when one address or route is refused. */
export async function buildTopology(topology: Topology, signal: AbortSignal): Promise<void> {
  const names = Object.keys(topology.hosts);
  const lines = [
    ...names.map((host) => `netns add ${host}`),
    ...topology.bridges.flatMap((bridge) => [
      `link add ${bridge} type bridge forward_delay 0 mcast_snooping 0`,
      `link set ${bridge} up`,
    ]),
  ];
  for (const [host, spec] of Object.entries(topology.hosts)) {
    for (const [link, { bridge, mtu = 1500 }] of Object.entries(spec.links)) {
      lines.push(
        `link add ${link} netns ${host} address ${macAddress(topology, host, link)} mtu ${mtu} type veth peer name ${host}-${link} mtu ${mtu}`,
        `link set ${host}-${link} master ${bridge} up`,
      );
    }
  }
  await batch(['ip', '-batch', '-'], lines.join('\n'), topology.name, signal);
  const built = await Promise.allSettled(Object.entries(topology.hosts).map(([host, spec]) => buildHost(host, spec, signal)));
  for (const result of built) if (result.status === 'rejected') throw result.reason;
}

async function buildHost(host: string, spec: HostSpec, signal: AbortSignal): Promise<void> {
  const lines = ['link set lo up'];
  for (const [link, { addresses }] of Object.entries(spec.links)) {
    // A link-local address of our own making, so that nothing waits for duplicate address detection.
    lines.push(`link set ${link} addrgenmode none`, `link set ${link} up`);
    for (const address of [...addresses, linkLocal(host, link, spec)]) {
      lines.push(`addr add ${address} dev ${link}${address.includes(':') ? ' nodad' : ''}`);
    }
  }
  for (const route of spec.routes ?? []) lines.push(`route add ${route}`); // An address says which family it is of.
  await batch(['ip', '-n', host, '-batch', '-'], lines.join('\n'), host, signal);
  const sysctls = Object.entries({
    ...(spec.router ? { 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 } : {}),
    ...spec.sysctls,
  });
  if (sysctls.length === 0) return;
  const script = ['set -e', ...sysctls.map(([path, value]) => `echo '${value}' > ${sysctlFile(path)}`)].join('\n');
  await batch(['nsenter', `--net=/run/netns/${host}`, 'sh'], script, host, signal);
}

function linkLocal(host: string, link: string, spec: HostSpec): string {
  // Unique on a bridge when the host part of an address is; taken from the host's name, which is unique for sure.
  const index = Object.keys(spec.links).indexOf(link);
  const suffix = Buffer.from(host.padEnd(6, '-').slice(0, 6)).toString('hex').match(/.{4}/g)!.join(':');
  return `fe80::${suffix}:${index}/64`;
}

/** Takes a topology away: links first, so that their names are free at once. The hosts' processes must be gone. */
export async function removeTopology(topology: Topology): Promise<void> {
  const lines = [
    ...Object.entries(topology.hosts).flatMap(([host, spec]) => Object.keys(spec.links).map((link) => `link del ${host}-${link}`)),
    ...topology.bridges.map((bridge) => `link del ${bridge}`),
    ...Object.keys(topology.hosts).map((host) => `netns del ${host}`),
  ];
  // -force: a half-built topology lacks some of these, and a scenario may have deleted a link.
  await runCommand(['ip', '-force', '-batch', '-'], { stdin: `${lines.join('\n')}\n` });
}

async function batch(argv: readonly string[], stdin: string, what: string, signal: AbortSignal): Promise<void> {
  const result = await runCommand(argv, { stdin: `${stdin}\n`, signal });
  if (result.code !== 0) throw new Error(`cannot build ${what}: ${result.stderr.trim()}`);
}

/** The file of a sysctl: `net.ipv4.ip_forward`, or with slashes where an interface name contains a dot. */
export function sysctlFile(path: string): string {
  return `/proc/sys/${path.includes('/') ? path : path.replaceAll('.', '/')}`;
}
