// A topology as a small picture: one line for each bridge, with the hosts on it. Pure.

import type { Topology } from '../topology.ts';

/**
 * Two lines a bridge, from the topology itself, IPv4 only:
 *
 *     out  c1 .100   gw .1
 *          ───┴────────┴─── 10.0.9.0/24
 */
export function networkPicture(topology: Topology): string[] {
  const nameWidth = Math.max(...topology.bridges.map((bridge) => bridge.length));
  return topology.bridges.flatMap((bridge) => {
    const ends = endsOn(topology, bridge);
    const labels = ends.map(({ host, address }) => `${host} .${address.replace(/\/.*$/, '').split('.').at(-1)}`);
    const wire = labels.map((label) => {
      const middle = Math.floor((label.length - 1) / 2);
      return `${'─'.repeat(middle)}┴${'─'.repeat(label.length - 1 - middle)}`;
    });
    return [
      `${bridge.padEnd(nameWidth)}  ${labels.join('   ')}`,
      `${' '.repeat(nameWidth)}  ${wire.join('───')} ${networkOf(ends[0]?.address ?? '')}`,
    ];
  });
}

/** Hosts with an IPv4 address on a bridge: routers first, then as in the topology. */
function endsOn(topology: Topology, bridge: string): { host: string; address: string }[] {
  const ends = Object.entries(topology.hosts).flatMap(([host, spec]) => Object.values(spec.links)
    .filter((link) => link.bridge === bridge)
    .flatMap((link) => link.addresses.filter((address) => !address.includes(':')).slice(0, 1).map((address) => ({ host, address, router: spec.router === true }))));
  return ends.sort((a, b) => Number(b.router) - Number(a.router));
}

/** `10.0.9.0/24` of `10.0.9.100/24`; the labs use whole octets only. */
function networkOf(address: string): string {
  const [ip = '', length = ''] = address.split('/');
  const kept = Number(length) / 8;
  return `${ip.split('.').map((octet, i) => (i < kept ? octet : '0')).join('.')}/${length}`;
}
