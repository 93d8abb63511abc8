/**
 * Election: which director is to hold a VIP, from who is live and what each says of itself. Pure, and the same on every node that sees the
 * same. It only says who may try: nobody holds a VIP before the network was silent about it and the API server took its name (claims.ts).
 */
import { toBytes } from '../../ip/ip.ts';
import { covers, type Network } from '../network.ts';
import { ranked } from './rendezvous.ts';

/** A live director, as its Lease says. */
export interface Member {
  readonly node: string;
  readonly groups: ReadonlySet<string>;
  /** Networks of its NICs that have a carrier. */
  readonly networks: readonly Network[];
}

export interface Electable {
  readonly address: string;
  readonly group: string;
  /** The group takes the NIC whose subnet holds the VIP: then only those who have one can hold it. */
  readonly bySubnet: boolean;
  /**
   * With trafficPolicy Local, the nodes that have a real server: while one of them is a candidate, the others are none. Null: whoever.
   * A VIP of several VirtualServers is where one of them has a real server.
   */
  readonly preferred: ReadonlySet<string> | null;
}

/** Nodes that can hold a VIP, in no order. */
export function candidatesFor(vip: Electable, members: Iterable<Member>): string[] {
  const bytes = vip.bySubnet ? toBytes(vip.address) : null;
  const able: string[] = [];
  for (const m of members) if (m.groups.has(vip.group) && (bytes === null || m.networks.some((n) => covers(n, bytes)))) able.push(m.node);
  const local = vip.preferred === null ? [] : able.filter((node) => vip.preferred!.has(node));
  return local.length > 0 ? local : able;
}

export interface Election {
  /** Candidates, the one that should hold it first: the present owner while it is one, then by rank. */
  readonly order: readonly string[];
  /** Whether the present owner is a candidate: then nobody else tries. */
  readonly settled: boolean;
}

/** `activeNode` is the present owner as the API server knows it; '' for none. An owner keeps a VIP while it can: each move costs connections. */
export function elect(vip: Electable, activeNode: string, members: Iterable<Member>): Election {
  const candidates = candidatesFor(vip, members);
  if (candidates.includes(activeNode)) return { order: [activeNode], settled: true };
  return { order: ranked(candidates, vip.address), settled: false };
}
