/**
 * `iptables-save` -> the rules of ours that are in force: followed from the hook through our chains, so that a rule whose jump
 * is gone does not count. Whatever iptables.ts would not have written becomes an unreadable rule. Other people's chains are skipped.
 */
import type { Family } from '../../ip/ip.ts';
import { canonical, contains, familyOf } from '../../ip/ip.ts';
import { BUCKET_PREFIX, OWN_CHAINS, isOwnChain, jumpTo, type IptablesTable, type OwnChain } from './iptables-chains.ts';
import { unreadable } from './nft-read.ts';
import { EVERY_PORT, protocolOf, sortRules } from './rules.ts';
import type { MarkRule, MssRule, NetfilterRules, SourceNatRule } from './types.ts';

/** What concerns us in the tables of one family. */
export interface IptablesState {
  /** Names of our chains that exist. */
  chains(table: IptablesTable): string[];
  /** Every rule outside our chains that jumps to this chain, without its command: `PREROUTING -j IPVS-OPERATOR-MARK`. */
  jumps(chain: OwnChain): string[];
  /** Rules of one of our chains, without `-A CHAIN`. */
  rules(table: IptablesTable, chain: string): string[];
}

/** Reads the output of iptables-save (any number of tables; '' for none). */
export function parseIptables(text: string): IptablesState {
  const chains = new Map<string, string[]>();
  const jumps: { table: string; text: string }[] = [];
  let table = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1).trim();
    else if (line.startsWith(':')) {
      const [chain] = cut(line.slice(1));
      if (isOwnChain(chain)) chains.set(`${table} ${chain}`, []);
    } else if (line.startsWith('-A ')) {
      const [chain, rule] = cut(line.slice('-A '.length));
      if (isOwnChain(chain)) chains.get(`${table} ${chain}`)?.push(rule);
      else if (/-[jg] (IPVS-OPERATOR|IVO)-/.test(line)) jumps.push({ table, text: `${chain} ${rule}` });
    }
  }
  return {
    chains: (own) => [...chains.keys()].filter((key) => key.startsWith(`${own} `)).map((key) => key.slice(own.length + 1)),
    jumps: (chain) => jumps.filter((jump) => jump.table === chain.table && jump.text.endsWith(` ${chain.name}`)).map((jump) => jump.text),
    rules: (own, chain) => chains.get(`${own} ${chain}`) ?? [],
  };
}

/** The first word, and what follows it. */
function cut(text: string): [first: string, rest: string] {
  const end = text.indexOf(' ');
  return end < 0 ? [text, ''] : [text.slice(0, end), text.slice(end + 1).trim()];
}

/** Whether anything of ours is in this state. */
export function hasOwn(state: IptablesState): boolean {
  return Object.values(OWN_CHAINS).some((chain) => state.chains(chain.table).length > 0 || state.jumps(chain).length > 0);
}

/** The rules of one family that packets really meet. */
export function iptablesRules(state: IptablesState, family: Family): NetfilterRules {
  const sourceNat: SourceNatRule[] = [];
  const marks: MarkRule[] = [];
  const mss: MssRule[] = [];
  const follow = (chain: OwnChain, read: (options: Options, family: Family) => boolean): void => {
    const jumps = state.jumps(chain);
    for (const jump of jumps) if (jump !== jumpTo(chain)) marks.push(unreadable(`-A ${jump}`));
    if (!jumps.includes(jumpTo(chain))) return;
    const visit = (name: string, network: string | null): void => {
      for (const text of state.rules(chain.table, name)) {
        const options = readArguments(text);
        const target = options?.get('-j') ?? '';
        if (options !== null && network === null && target.startsWith(chain.bucket)) {
          const bucket = bucketOf(options, chain, family);
          if (bucket !== null && state.chains(chain.table).includes(target)) { visit(target, bucket); continue; }
        }
        const vip = options?.get(chain.vipOption)?.split('/')[0] ?? '';
        const reachable = network === null || contains(network, BUCKET_PREFIX[family], canonical(vip) ?? '');
        if (options === null || !reachable || !read(options, family)) marks.push(unreadable(`-A ${name} ${text}`));
      }
    };
    visit(chain.name, null);
  };
  follow(OWN_CHAINS.marks, (options, f) => pushAll(marks, readMarks(options, f)));
  follow(OWN_CHAINS.mss, (options, f) => pushAll(mss, readMss(options, f)));
  follow(OWN_CHAINS.sourceNat, (options, f) => pushAll(sourceNat, readSourceNat(options, f)));
  return sortRules({ sourceNat, marks, mss });
}

function pushAll<T>(list: T[], rules: T[] | null): boolean {
  if (rules === null) return false;
  list.push(...rules);
  return true;
}

/** A rule's options by name, each at most once. `-m` is told by the options of the match. */
type Options = Map<string, string>;

/** Matches we use; one without any of its options would match everything, which no rule of ours does. */
const MATCHES: Record<string, readonly string[]> = {
  tcp: ['--dport', '--tcp-flags'], udp: ['--dport'], sctp: ['--dport'], multiport: ['--dports'], mark: ['--mark'],
  ipvs: ['--vaddr'], conntrack: ['--ctorigdstport', '--ctorigdst'], tcpmss: ['--mss'],
};

/** null for negations, repeated options, and matches that we never use. */
function readArguments(text: string): Options | null {
  const options: Options = new Map();
  const words = text.split(' ');
  const matches: string[] = [];
  for (let i = 0; i < words.length; i += 2) {
    const name = words[i]!;
    if (!name.startsWith('-')) return null;
    if (name === '-m') { matches.push(words[i + 1] ?? ''); continue; }
    let value = words[i + 1];
    if (name === '--tcp-flags') { value = `${value} ${words[i + 2]}`; i++; }
    // MASQUERADE takes no options, and every option of ours takes one value.
    if (value === undefined || options.has(name)) return null;
    options.set(name, value);
  }
  return matches.every((match) => MATCHES[match]?.some((option) => options.has(option))) ? options : null;
}

/** Takes the options that a form needs and refuses any beyond them. */
function exactly(options: Options, required: readonly string[], optional: readonly string[] = []): boolean {
  return required.every((name) => options.has(name)) && [...options.keys()].every((name) => required.includes(name) || optional.includes(name));
}

/** The network that a rule sends to a bucket; null when it is no such rule. */
function bucketOf(options: Options, chain: OwnChain, family: Family): string | null {
  const option = chain.match.split(' ').at(-1)!;
  if (!exactly(options, [option, '-j'])) return null;
  const [address = '', length] = options.get(option)!.split('/');
  return Number(length) === BUCKET_PREFIX[family] && familyOf(address) === family ? canonical(address) : null;
}

function hostOf(text: string | undefined, family: Family): string | null {
  const [address = '', length] = (text ?? '').split('/');
  const full = family === 'IPv4' ? '32' : '128';
  return familyOf(address) === family && (length === undefined || length === full) ? canonical(address) : null;
}

function portsOf(text: string): { firstPort: number; lastPort: number } | null {
  const match = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(text);
  return match === null ? null : { firstPort: Number(match[1]), lastPort: Number(match[2] ?? match[1]) };
}

function markOf(text: string): number | null {
  const match = /^(0x[0-9a-f]+)(\/0xffffffff)?$/.exec(text);
  return match === null ? null : Number(match[1]);
}

function readMarks(options: Options, family: Family): MarkRule[] | null {
  if (!exactly(options, ['-d', '-p', '-j', '--set-xmark'], ['--dport', '--dports']) || options.get('-j') !== 'MARK') return null;
  const vip = hostOf(options.get('-d'), family);
  const protocol = protocolOf(options.get('-p')!);
  const mark = options.get('--set-xmark')!.includes('/0xffffffff') ? markOf(options.get('--set-xmark')!) : null;
  const list = options.get('--dport') ?? options.get('--dports');
  const ranges = list === undefined ? [EVERY_PORT] : list.split(',').map(portsOf);
  if (vip === null || protocol === null || mark === null) return null;
  const rules: MarkRule[] = [];
  for (const ports of ranges) {
    if (ports === null) return null;
    rules.push({ family, protocol, vip, ...ports, mark });
  }
  return rules;
}

function readMss(options: Options, family: Family): MssRule[] | null {
  if (!exactly(options, ['-s', '-p', '--tcp-flags', '--mss', '-j', '--set-mss'])) return null;
  const vip = hostOf(options.get('-s'), family);
  const mss = Number(options.get('--set-mss'));
  const asWritten = options.get('-j') === 'TCPMSS' && options.get('-p') === 'tcp'
    && options.get('--tcp-flags') === 'SYN,RST SYN' && options.get('--mss') === `${mss + 1}:65535`;
  return vip === null || !asWritten ? null : [{ family, vip, mss }];
}

function readSourceNat(options: Options, family: Family): SourceNatRule[] | null {
  const hasForm = exactly(options, ['--vproto', '--vaddr', '--vmethod', '-j'], ['--mark', '--vport', '--ctorigdstport', '--to-source']);
  if (!hasForm || options.get('--vmethod') !== 'MASQ') return null;
  const vip = hostOf(options.get('--vaddr'), family);
  const protocol = protocolOf(options.get('--vproto')!);
  const port = options.get('--vport');
  const range = options.get('--ctorigdstport');
  const ports = port !== undefined && range !== undefined ? null : port === undefined && range === undefined ? EVERY_PORT : portsOf(port ?? range!);
  const mark = options.has('--mark') ? markOf(options.get('--mark')!) : 0;
  const to = targetOf(options, family);
  return vip === null || protocol === null || ports === null || mark === null || to === null ? null : [{ family, protocol, vip, ...ports, mark, to }];
}

/** '' for MASQUERADE, the address of SNAT, null for anything else. */
function targetOf(options: Options, family: Family): string | null {
  const to = options.get('--to-source');
  if (options.get('-j') === 'MASQUERADE') return to === undefined ? '' : null;
  return options.get('-j') === 'SNAT' && familyOf(to ?? '') === family ? canonical(to!) : null;
}
