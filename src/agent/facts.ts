/**
 * What desired.ts must know about the node it decides for, read once and indexed. Observed facts, not wishes; the reading is
 * known-node.ts's.
 */
import type { GroupSettings } from '../api/v1alpha1/program.ts';
import { ADDRESS_BITS, contains, toBytes, type Family } from '../ip/ip.ts';
import type { IpvsCapabilities } from '../kernel/ipvs/contract.ts';
import { ADDRESS_PROTOCOL, type Address, type Link } from '../kernel/net/types.ts';
import { covers, networkOf, type Network } from './network.ts';

/** What the operator of a host says it may be. 'auto': director as the group's selector says, real server where it has an endpoint's address. */
export type RoleChoice = 'director' | 'real-server' | 'both' | 'auto';

export interface NodeFacts {
  readonly name: string;
  readonly role: RoleChoice;
  /** Node labels; standalone has `kubernetes.io/hostname` and what --label adds. */
  readonly labels: Readonly<Record<string, string>>;
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  /** `link address` of what the ledger says we added. */
  readonly ours: Pick<ReadonlySet<string>, 'has'>;
  readonly capabilities: IpvsCapabilities | null;
  readonly netfilter: 'nft' | 'iptables' | null;
}

export interface NodeIndex {
  readonly facts: NodeFacts;
  readonly links: ReadonlyMap<string, Link>;
  /** Addresses with their subnets (no host prefixes), not on loopback: where a VIP may belong. */
  readonly subnets: readonly { readonly link: string; readonly address: string; readonly family: Family; readonly prefixLength: number }[];
  /** The same, the narrowest first: the order in which a route lookup would find them; of equal ones those first whose NIC has a carrier. */
  readonly networks: readonly (Network & { readonly link: string })[];
  /** The node's own addresses by text: never VIPs. */
  readonly own: ReadonlyMap<string, Address>;
  /** Those and host prefixes that we did not add, as routed hosts have them on lo: where a real server may be. A VIP is never one. */
  readonly endpoints: ReadonlyMap<string, Address>;
}

export function indexFacts(facts: NodeFacts): NodeIndex {
  const links = new Map(facts.links.map((l) => [l.name, l]));
  const hostPrefix = (a: Address) => a.prefixLength === ADDRESS_BITS[a.family];
  const subnets = facts.addresses.filter((a) => !hostPrefix(a) && !links.get(a.link)?.loopback && !isLinkLocal(a));
  // With thousands of VIPs no text is made for each.
  const perLink = { IPv4: new Map<string, number>(), IPv6: new Map<string, number>() };
  for (const a of facts.addresses) {
    if (isLinkLocal(a)) continue;
    const counts = perLink[a.family];
    counts.set(a.link, (counts.get(a.link) ?? 0) + 1);
  }
  const own = new Map<string, Address>();
  const endpoints = new Map<string, Address>();
  for (const a of facts.addresses) {
    if (a.protocol === ADDRESS_PROTOCOL || facts.ours.has(`${a.link} ${a.address}`)) continue;
    // A host prefix beside other addresses is how VIPs are bound, by us in an earlier life or by the scripts we replace.
    // A host prefix that is all a NIC has is the node itself (clouds, routed hosts).
    const alone = perLink[a.family].get(a.link) === 1 && !links.get(a.link)?.loopback && links.get(a.link)?.tunnelLocal === '';
    endpoints.set(a.address, a);
    if (!hostPrefix(a) || alone) own.set(a.address, a);
  }
  const rank = (link: string) => (isUsable(links.get(link)) ? 0 : 1);
  const networks = subnets.map((s) => ({ ...networkOf(s.address, s.prefixLength), link: s.link }))
    .sort((a, b) => b.length - a.length || rank(a.link) - rank(b.link));
  return { facts, links, subnets, networks, own, endpoints };
}

/** Whether a director can have VIPs on a link: nobody resolves addresses on loopback, where routes lead. */
export function isUsable(link: Link | undefined): boolean { return link !== undefined && (link.loopback || (link.up && link.carrier)); }

/** The NIC that holds a VIP, by the group's rule, one with a carrier before others; or why there is none. */
export function interfaceFor(vip: string, group: GroupSettings | null, index: NodeIndex): { link: string } | { problem: string } {
  const rule = group?.interface ?? { match: 'SubnetOf' as const };
  if (rule.match === 'Name') {
    if (index.links.has(rule.name)) return { link: rule.name };
    return { problem: `DirectorGroup ${group!.name} names interface ${rule.name}, which this node does not have` };
  }
  if (rule.match === 'Regex') {
    const matching = [...index.links.keys()].filter((name) => new RegExp(`^(?:${rule.regex})$`).test(name)).sort();
    const found = matching.find((name) => isUsable(index.links.get(name))) ?? matching[0];
    return found !== undefined ? { link: found } : { problem: `no interface of this node matches ${rule.regex} of DirectorGroup ${group!.name}` };
  }
  const bytes = toBytes(vip);
  const network = index.networks.find((n) => covers(n, bytes));
  if (network) return { link: network.link };
  const have = index.subnets.map((s) => `${s.address}/${s.prefixLength} on ${s.link}`).join(', ') || 'none';
  return {
    problem: `no interface of this node has a subnet that holds ${vip} (subnets: ${have}); give the node an address there, or set spec.interface of the DirectorGroup to {match: Name, name: ...}`,
  };
}

/** Links whose subnets hold any of these addresses: where NATed replies come in. */
export function linksToward(addresses: Iterable<string>, index: NodeIndex): Set<string> {
  const found = new Set<string>();
  for (const address of addresses) {
    for (const s of index.subnets) {
      if (!found.has(s.link) && contains(s.address, s.prefixLength, address)) found.add(s.link);
    }
    if (found.size === index.subnets.length) break;
  }
  return found;
}

/** The link by whose subnet an address is reached; '' where only a route leads there. */
export function linkToward(address: string, index: NodeIndex): string {
  const bytes = toBytes(address);
  for (const n of index.networks) if (covers(n, bytes)) return n.link;
  return '';
}

function isLinkLocal(a: Address): boolean {
  return a.address.startsWith('fe80:') || a.address.startsWith('169.254.');
}
