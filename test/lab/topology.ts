// What a lab network is made of, as data: bridges (switches) and hosts with links, addresses, routes and sysctls.
// It is not the code that builds one (build.ts) and not the topologies that scenarios share (topologies.ts).

export interface Topology {
  readonly name: string;
  /** Switches, by name (at most 11 characters). Each is a Linux bridge outside of every host. */
  readonly bridges: readonly string[];
  /** Hosts by name (at most 8 characters). Each is a network namespace. */
  readonly hosts: Readonly<Record<string, HostSpec>>;
}

export interface HostSpec {
  /** NICs by name, in the order they are made. */
  readonly links: Readonly<Record<string, LinkSpec>>;
  /** What follows `ip route add`, for example `default via 10.0.1.1`; IPv6 is told by its colons. */
  readonly routes?: readonly string[];
  /** Paths below /proc/sys with dots or slashes, set after the links exist. */
  readonly sysctls?: Readonly<Record<string, string | number>>;
  /** Routes packets between its links, both families. */
  readonly router?: boolean;
}

export interface LinkSpec {
  readonly bridge: string;
  /** Addresses with prefix length, both families. IPv6 ones are added without duplicate address detection. */
  readonly addresses: readonly string[];
  readonly mtu?: number;
}

/**
 * The MAC address of a host's link: 02:00:00:00:HH:LL, HH the host's place in the topology from 1, LL the link's from 0.
 * Throws when the topology has no such host or link.
 */
export function macAddress(topology: Topology, host: string, link: string): string {
  const hostIndex = Object.keys(topology.hosts).indexOf(host);
  const linkIndex = Object.keys(topology.hosts[host]?.links ?? {}).indexOf(link);
  if (hostIndex < 0 || linkIndex < 0) throw new Error(`topology ${topology.name} has no link ${link} of host ${host}`);
  const hex = (value: number): string => value.toString(16).padStart(2, '0');
  return `02:00:00:00:${hex(hostIndex + 1)}:${hex(linkIndex)}`;
}
