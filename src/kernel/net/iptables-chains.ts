/**
 * Our chains of iptables: their names, where they hang, and how they are told from other people's. What stands in them is
 * iptables.ts's to write and iptables-read.ts's to read.
 */
import type { Family } from '../../ip/ip.ts';

export type IptablesTable = 'mangle' | 'nat';

export interface OwnChain {
  readonly table: IptablesTable;
  /** At most 28 characters (XT_EXTENSION_MAXNAMELEN - 1); bucket names are built from `bucket`. */
  readonly name: string;
  readonly bucket: string;
  /** Where the jump hangs. */
  readonly hook: string;
  /** Match that sends a network to its bucket, without the network. */
  readonly match: string;
  /** Option of a rule that holds the VIP. */
  readonly vipOption: string;
}

export const OWN_CHAINS = {
  marks: { table: 'mangle', name: 'IPVS-OPERATOR-MARK', bucket: 'IVO-M-', hook: 'PREROUTING', match: '-d', vipOption: '-d' },
  mss: { table: 'mangle', name: 'IPVS-OPERATOR-MSS', bucket: 'IVO-C-', hook: 'OUTPUT', match: '-s', vipOption: '-s' },
  // In POSTROUTING the packet no longer tells the VIP; connection tracking remembers it.
  sourceNat: { table: 'nat', name: 'IPVS-OPERATOR-SNAT', bucket: 'IVO-S-', hook: 'POSTROUTING', match: '-m conntrack --ctorigdst', vipOption: '--vaddr' },
} as const satisfies Record<string, OwnChain>;

/** Whether a chain is ours, a bucket included. */
export function isOwnChain(name: string): boolean {
  return Object.values(OWN_CHAINS).some((chain) => chain.name === name || name.startsWith(chain.bucket));
}

/** The rule of the hook, without its command. */
export function jumpTo(chain: OwnChain): string { return `${chain.hook} -j ${chain.name}`; }

/** Networks of the buckets: a /24 and a /120 hold 256 VIPs. */
export const BUCKET_PREFIX: Record<Family, number> = { IPv4: 24, IPv6: 120 };
