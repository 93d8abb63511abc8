/**
 * Rules -> input of `iptables-restore --noflush`, one per family: chains of ours, filled anew, and the jumps to them. Each table
 * is replaced by the kernel as a whole. Other chains are neither read for meaning nor changed.
 * Where there are many rules they are spread over chains by network, so that a packet meets a few hundred and not all.
 * Reading back is iptables-read.ts; running the programs is netfilter.ts.
 */
import type { Family } from '../../ip/ip.ts';
import { networkOf, toBytes } from '../../ip/ip.ts';
import { BUCKET_PREFIX, OWN_CHAINS, jumpTo, type IptablesTable, type OwnChain } from './iptables-chains.ts';
import type { IptablesState } from './iptables-read.ts';
import { PROTOCOL_NUMBER, isEveryPort } from './rules.ts';
import type { MarkRule, MssRule, NetfilterRules, SourceNatRule } from './types.ts';

/** More rules than this in one chain are spread over buckets. */
const FLAT_LIMIT = 64;
/** `-m multiport` takes 15 ports, a range counts twice (xt_multiport.h XT_MULTI_PORTS). */
const MULTIPORT_SLOTS = 15;

/** What to feed to `iptables-restore --noflush` and in which state the kernel was when it was made; null when nothing has to change. */
export function iptablesScript(rules: NetfilterRules, family: Family, state: IptablesState): string | null {
  const lines: Record<IptablesTable, string[]> = { mangle: [], nat: [] };
  const marks = rules.marks.filter((rule) => rule.family === family);
  const mss = rules.mss.filter((rule) => rule.family === family);
  const sourceNat = rules.sourceNat.filter((rule) => rule.family === family);
  chainLines(OWN_CHAINS.marks, family, groupPorts(marks).map((group) => ({ vip: group[0]!.vip, text: markRule(group) })), state, lines.mangle);
  chainLines(OWN_CHAINS.mss, family, mss.map((rule) => ({ vip: rule.vip, text: mssRule(rule) })), state, lines.mangle);
  chainLines(OWN_CHAINS.sourceNat, family, sourceNat.map((rule) => ({ vip: rule.vip, text: sourceNatRule(rule) })), state, lines.nat);
  const tables = (['mangle', 'nat'] as const).filter((table) => lines[table].length > 0);
  if (tables.length === 0) return null;
  return tables.map((table) => `*${table}\n${inOrder(lines[table]).join('\n')}\nCOMMIT\n`).join('');
}

/** iptables-restore wants a table's chains declared before rules that jump to them, and chains deleted last. */
function inOrder(lines: readonly string[]): string[] {
  const rank = (line: string): number => (line.startsWith(':') ? 0 : line.startsWith('-X') ? 2 : 1);
  return [...lines].sort((a, b) => rank(a) - rank(b));
}

interface ChainRule { readonly vip: string; readonly text: string }

/** Declares (which empties) and fills a chain, its buckets and its jump; or removes all of them when there are no rules. */
function chainLines(chain: OwnChain, family: Family, rules: readonly ChainRule[], state: IptablesState, lines: string[]): void {
  const present = state.chains(chain.table).filter((name) => name === chain.name || name.startsWith(chain.bucket));
  const jumps = state.jumps(chain);
  // Without rules, and on repair of doubled jumps, each jump is deleted as often as it stands there.
  for (const jump of rules.length === 0 ? jumps : jumps.filter((text, i) => text !== jumpTo(chain) || i > jumps.indexOf(text))) lines.push(`-D ${jump}`);
  const wanted = new Map<string, string[]>();
  if (rules.length > 0) {
    wanted.set(chain.name, []);
    if (rules.length <= FLAT_LIMIT) wanted.set(chain.name, rules.map((rule) => rule.text));
    else {
      for (const [network, own] of Map.groupBy(rules, (rule) => networkOf(rule.vip, BUCKET_PREFIX[family]))) {
        const bucket = bucketName(chain, network);
        wanted.get(chain.name)!.push(`${chain.match} ${network}/${BUCKET_PREFIX[family]} -j ${bucket}`);
        wanted.set(bucket, own.map((rule) => rule.text));
      }
    }
    // First in the hook: the first rule that translates wins, and a CNI may masquerade all that leaves the node.
    if (!jumps.includes(jumpTo(chain))) lines.push(`-I ${jumpTo(chain)}`);
  }
  for (const [name, texts] of wanted) {
    lines.push(`:${name} - [0:0]`);
    for (const text of texts) lines.push(`-A ${name} ${text}`);
  }
  for (const name of present.filter((old) => !wanted.has(old))) {
    // Declared to empty it: only an empty chain can be deleted.
    lines.push(`:${name} - [0:0]`, `-X ${name}`);
  }
}

/** Prefix and the network in hex without its host part: `IVO-M-0a0001`, `IVO-M-` and 30 digits are too long, so IPv6 hashes. */
export function bucketName(chain: OwnChain, network: string): string {
  const bytes = toBytes(network);
  if (bytes.length === 4) return `${chain.bucket}${Buffer.from(bytes.subarray(0, 3)).toString('hex')}`;
  // FNV-1a, 64 bits: names need only differ within one ruleset, and the full network stands in the rule that jumps there.
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  return `${chain.bucket}${hash.toString(16).padStart(16, '0')}`;
}

/** Neighbouring rules of one VIP, protocol and mark, as many as one multiport match holds. */
function groupPorts(rules: readonly MarkRule[]): MarkRule[][] {
  const groups: MarkRule[][] = [];
  let slots = 0;
  for (const rule of rules) {
    const group = groups.at(-1);
    const first = group?.[0];
    const cost = rule.firstPort === rule.lastPort ? 1 : 2;
    const joins = first !== undefined && first.vip === rule.vip && first.protocol === rule.protocol && first.mark === rule.mark && slots + cost <= MULTIPORT_SLOTS;
    if (joins) group!.push(rule);
    else groups.push([rule]);
    slots = joins ? slots + cost : cost;
  }
  return groups;
}

function markRule(group: readonly MarkRule[]): string {
  const rule = group[0]!;
  const protocol = rule.protocol.toLowerCase();
  const match = group.length > 1 ? ` -m multiport --dports ${group.map(ports).join(',')}` : isEveryPort(rule) ? '' : ` -m ${protocol} --dport ${ports(rule)}`;
  return `-d ${host(rule)} -p ${protocol}${match} -j MARK --set-xmark ${hex(rule.mark)}/0xffffffff`;
}

function mssRule(rule: MssRule): string {
  // The match makes it only ever lower the peer's value.
  return `-s ${host(rule)} -p tcp -m tcp --tcp-flags SYN,RST SYN -m tcpmss --mss ${rule.mss + 1}:65535 -j TCPMSS --set-mss ${rule.mss}`;
}

function sourceNatRule(rule: SourceNatRule): string {
  const single = rule.firstPort === rule.lastPort;
  return [
    rule.mark === 0 ? '' : `-m mark --mark ${hex(rule.mark)}`,
    // The VIP as the client wrote it: IPVS has replaced the destination by the time the packet leaves. --vport takes one port only.
    // Only NAT: connections of DR and TUN to the same VIP outlive an edit of the mode, and their packets must reach the real server as they are.
    `-m ipvs --vproto ${PROTOCOL_NUMBER[rule.protocol]} --vaddr ${host(rule)}${single ? ` --vport ${rule.firstPort}` : ''} --vmethod MASQ`,
    single || isEveryPort(rule) ? '' : `-m conntrack --ctorigdstport ${ports(rule)}`,
    // No --random-fully: the client's port is kept where it can be, which is what lets another director continue the connection.
    rule.to === '' ? '-j MASQUERADE' : `-j SNAT --to-source ${rule.to}`,
  ].filter(Boolean).join(' ');
}

function host(rule: { family: Family; vip: string }): string { return `${rule.vip}/${rule.family === 'IPv4' ? 32 : 128}`; }

function ports(rule: { firstPort: number; lastPort: number }): string {
  return rule.firstPort === rule.lastPort ? String(rule.firstPort) : `${rule.firstPort}:${rule.lastPort}`;
}

function hex(mark: number): string { return `0x${mark.toString(16)}`; }
