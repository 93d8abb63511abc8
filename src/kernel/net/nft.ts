/**
 * Rules -> one `nft -f` script that replaces our table as one transaction. Constant work a packet however many rules there are:
 * the VIP is looked up in a map, and only that VIP's chain is walked. Nothing is created that no rule needs, because a nat chain
 * alone switches connection tracking on for the whole host.
 * Reading back is nft-read.ts; running `nft` is netfilter.ts.
 */
import type { Family } from '../../ip/ip.ts';
import { isEmpty, isEveryPort } from './rules.ts';
import type { MarkRule, MssRule, NetfilterRules, SourceNatRule } from './types.ts';

/** Family inet: one table for IPv4 and IPv6 (nat in inet: kernel 5.2; ranges in concatenations: 5.6). */
export const TABLE = 'ipvs_operator';
export const TABLE_FAMILY = 'inet';

/** Base chains with hook and priority (linux/netfilter_ipv4.h). */
export const BASE_CHAINS = {
  /** Before IPVS, which works at LOCAL_IN. NF_IP_PRI_MANGLE. */
  marking: { type: 'filter', hook: 'prerouting', priority: -150 },
  /** One before NF_IP_PRI_NAT_SRC (100): the first rule that translates wins, and a CNI's "masquerade all that leaves" sits at 100. */
  source_nat: { type: 'nat', hook: 'postrouting', priority: 99 },
  mss_clamp: { type: 'filter', hook: 'output', priority: -150 },
} as const;

/** Words of nft for a family. */
export const NFT_FAMILY: Record<Family, { readonly name: string; readonly keyword: 'ip' | 'ip6'; readonly type: string }> = {
  IPv4: { name: 'ipv4', keyword: 'ip', type: 'ipv4_addr' },
  IPv6: { name: 'ipv6', keyword: 'ip6', type: 'ipv6_addr' },
};
export const FAMILIES: readonly Family[] = ['IPv4', 'IPv6'];

export function mssChain(mss: number): string { return `mss_${mss}`; }

/** `add` makes `delete` succeed when the table is not there yet. */
const REPLACE = `add table ${TABLE_FAMILY} ${TABLE}\ndelete table ${TABLE_FAMILY} ${TABLE}\n`;

/** The script that makes exactly these rules ours; checked by `checkRules` before. Empty rules remove the table. */
export function nftScript(rules: NetfilterRules): string {
  if (isEmpty(rules)) return REPLACE;
  const blocks: string[] = [];
  const elements: string[] = [];
  markBlocks(rules.marks, blocks);
  sourceNatBlocks(rules.sourceNat, blocks, elements);
  mssBlocks(rules.mss, blocks, elements);
  return `${REPLACE}table ${TABLE_FAMILY} ${TABLE} {\n${blocks.join('')}}\n${elements.join('')}`;
}

function markBlocks(rules: readonly MarkRule[], blocks: string[]): void {
  if (rules.length === 0) return;
  const statements: string[] = [];
  for (const family of FAMILIES) {
    const own = rules.filter((rule) => rule.family === family);
    if (own.length === 0) continue;
    const { name, keyword, type } = NFT_FAMILY[family];
    const list = own.map((rule) => `${rule.vip} . ${rule.protocol.toLowerCase()} . ${ports(rule)} : ${hex(rule.mark)}`);
    const head = `  map mark_${name} {\n    type ${type} . inet_proto . inet_service : mark\n    flags interval\n`;
    blocks.push(`${head}    elements = { ${list.join(',\n      ')} }\n  }\n`);
    statements.push(`meta mark set ${keyword} daddr . meta l4proto . th dport map @mark_${name}`);
  }
  blocks.push(baseChain('marking', statements));
}

/**
 * VIP -> chain of its rules. VIPs with the same rules share a chain, and the address to use comes from a map as well:
 * 10,000 chains would take nft ten times as long as 10,000 elements.
 */
function sourceNatBlocks(rules: readonly SourceNatRule[], blocks: string[], elements: string[]): void {
  if (rules.length === 0) return;
  const statements: string[] = [];
  const chains = new Map<string, string>();
  for (const family of FAMILIES) {
    const byVip = Map.groupBy(rules.filter((rule) => rule.family === family), (rule) => rule.vip);
    if (byVip.size === 0) continue;
    const { name, keyword, type } = NFT_FAMILY[family];
    const targets: string[] = [];
    const jumps: string[] = [];
    for (const [vip, own] of byVip) {
      const addresses = new Set(own.map((rule) => rule.to).filter((to) => to !== ''));
      const [only] = addresses;
      if (addresses.size === 1) targets.push(`${vip} : ${only}`);
      const body = own.map((rule) => sourceNatStatement(rule, family, addresses.size === 1));
      const key = body.join('\n');
      const target = chains.get(key) ?? `snat_${chains.size + 1}`;
      if (!chains.has(key)) blocks.push(chain(target, body));
      chains.set(key, target);
      jumps.push(`${vip} : jump ${target}`);
    }
    // Maps go first: the chains' rules refer to them.
    if (targets.length > 0) blocks.unshift(`  map to_${name} {\n    type ${type} : ${type}\n    elements = { ${targets.join(',\n      ')} }\n  }\n`);
    blocks.push(`  map snat_${name} {\n    type ${type} : verdict\n  }\n`);
    const returns = [...byVip.keys()].map((vip) => `${vip} : return`);
    blocks.push(`  map direct_${name} {\n    type ${type} : verdict\n    elements = { ${returns.join(',\n      ')} }\n  }\n`);
    elements.push(`add element ${TABLE_FAMILY} ${TABLE} snat_${name} { ${jumps.join(',\n  ')} }\n`);
    // A packet that leaves for the VIP is one of DR, whose connections outlive an edit of the mode: it must reach the real server as it is.
    statements.push(`${keyword} daddr vmap @direct_${name}`);
    // The VIP as the client wrote it: IPVS has replaced the destination by the time the packet leaves.
    statements.push(`ct original ${keyword} daddr vmap @snat_${name}`);
  }
  blocks.push(baseChain('source_nat', statements));
}

function sourceNatStatement(rule: SourceNatRule, family: Family, byMap: boolean): string {
  const { keyword, name } = NFT_FAMILY[family];
  return [
    rule.mark === 0 ? '' : `meta mark ${hex(rule.mark)}`,
    `meta l4proto ${rule.protocol.toLowerCase()}`,
    isEveryPort(rule) ? '' : `ct original proto-dst ${ports(rule)}`,
    // No `fully-random`: the client's port is kept where it can be, which is what lets another director continue the connection.
    rule.to === '' ? 'masquerade' : `snat ${keyword} to ${byMap ? `ct original ${keyword} daddr map @to_${name}` : rule.to}`,
  ].filter(Boolean).join(' ');
}

function mssBlocks(rules: readonly MssRule[], blocks: string[], elements: string[]): void {
  if (rules.length === 0) return;
  // Only ever lowers: a peer behind a smaller tunnel may have asked for less.
  for (const mss of new Set(rules.map((rule) => rule.mss))) blocks.push(chain(mssChain(mss), [`tcp option maxseg size > ${mss} tcp option maxseg size set ${mss}`]));
  const statements: string[] = [];
  for (const family of FAMILIES) {
    const own = rules.filter((rule) => rule.family === family);
    if (own.length === 0) continue;
    const { name, keyword, type } = NFT_FAMILY[family];
    blocks.push(`  map mss_${name} {\n    type ${type} : verdict\n  }\n`);
    elements.push(`add element ${TABLE_FAMILY} ${TABLE} mss_${name} { ${own.map((rule) => `${rule.vip} : jump ${mssChain(rule.mss)}`).join(',\n  ')} }\n`);
    statements.push(`tcp flags & (syn|rst) == syn ${keyword} saddr vmap @mss_${name}`);
  }
  blocks.push(baseChain('mss_clamp', statements));
}

function chain(name: string, statements: readonly string[]): string {
  return `  chain ${name} {\n${statements.map((s) => `    ${s}\n`).join('')}  }\n`;
}

function baseChain(name: keyof typeof BASE_CHAINS, statements: readonly string[]): string {
  const { type, hook, priority } = BASE_CHAINS[name];
  return chain(name, [`type ${type} hook ${hook} priority ${priority}; policy accept;`, ...statements]);
}

function ports(rule: { firstPort: number; lastPort: number }): string {
  return rule.firstPort === rule.lastPort ? String(rule.firstPort) : `${rule.firstPort}-${rule.lastPort}`;
}

function hex(mark: number): string { return `0x${mark.toString(16)}`; }

/**
 * A transaction that changes nothing but uses everything nft.ts needs of the kernel: family inet, a nat chain in it, and a
 * map of concatenated ranges. `nft -c` would not do: it does not ask the kernel for all of them.
 */
export const NFT_PROBE = `add table inet ipvs_operator_probe
delete table inet ipvs_operator_probe
table inet ipvs_operator_probe {
  map probe {
    type ipv4_addr . inet_proto . inet_service : mark
    flags interval
    elements = { 192.0.2.1 . tcp . 1-2 : 0x1 }
  }
  chain probing {
    type nat hook postrouting priority 99; policy accept;
    ct original ip daddr 192.0.2.1 masquerade
  }
}
delete table inet ipvs_operator_probe
`;
