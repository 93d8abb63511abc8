/**
 * The packet filter behind one small interface: which backend works here (found by trying, once), the rules of ours that are in
 * force, and the replacement of all of them. What rules look like in each language is nft.ts and iptables.ts.
 */
import { existsSync, readFileSync } from 'node:fs';
import type { Family } from '../../ip/ip.ts';
import { KernelError } from '../netlink/errors.ts';
import { commandError, systemCommands, type CommandResult, type CommandRunner } from './command.ts';
import { iptablesScript } from './iptables.ts';
import { hasOwn, iptablesRules, parseIptables, type IptablesState } from './iptables-read.ts';
import { FAMILIES, NFT_PROBE, TABLE, TABLE_FAMILY, nftScript } from './nft.ts';
import { parseNft, unreadable } from './nft-read.ts';
import { checkRules, isEmpty, sortRules } from './rules.ts';
import { NO_RULES, type NetfilterRules } from './types.ts';

export interface Netfilter {
  readonly name: 'nft' | 'iptables';
  /** null: nothing of ours. Throws KernelError. */
  read(): NetfilterRules | null;
  /** The same while the event loop goes on. */
  readSlowly(): Promise<NetfilterRules | null>;
  /** Replaces all of ours. Throws KernelError; then nft has changed nothing, and iptables a table (mangle, nat) whole or not at all. */
  set(rules: NetfilterRules): Promise<void>;
}

const NFT_LIST: readonly string[] = ['-j', 'list', 'table', TABLE_FAMILY, TABLE];

/** iptables programs by family, without `-save` and `-restore`. */
type IptablesPrograms = Record<Family, string>;
const VARIANTS: readonly IptablesPrograms[] = [
  { IPv4: 'iptables-legacy', IPv6: 'ip6tables-legacy' },
  { IPv4: 'iptables', IPv6: 'ip6tables' },
];
/** Harmless: makes a chain and deletes it, in one transaction. */
const IPTABLES_PROBE = '*mangle\n:IPVS-OPERATOR-PROBE - [0:0]\n-X IPVS-OPERATOR-PROBE\nCOMMIT\n';
/** Seconds to wait for the lock that iptables programs share. */
const LOCK_SECONDS = '5';
/** Tables that iptables-legacy has in this network namespace. */
const TABLE_NAMES: Record<Family, string> = { IPv4: '/proc/net/ip_tables_names', IPv6: '/proc/net/ip6_tables_names' };

/** Finds a backend by trying: nft, then iptables-legacy, then iptables. null when none works. */
export function findNetfilter(commands: CommandRunner = systemCommands): Netfilter | null {
  if (commands.runSync('nft', ['-f', '-'], NFT_PROBE).code === 0) return nftBackend(commands);
  for (const programs of VARIANTS) {
    if (commands.runSync(`${programs.IPv4}-restore`, ['--noflush', '-w', LOCK_SECONDS], IPTABLES_PROBE).code === 0) return iptablesBackend(commands, programs);
  }
  return null;
}

function nftBackend(commands: CommandRunner): Netfilter {
  return {
    name: 'nft',
    read: () => rulesListed(commands.runSync('nft', NFT_LIST)),
    readSlowly: async () => rulesListed(await commands.run('nft', NFT_LIST)),
    async set(rules) {
      const done = await commands.run('nft', ['-f', '-'], nftScript(checkRules(rules)));
      if (done.code !== 0) throw commandError('nft -f', TABLE, done);
    },
  };
}

function rulesListed(listed: CommandResult): NetfilterRules | null {
  if (listed.code === 0) return readNft(listed.stdout);
  if (listed.stderr.includes('No such file or directory')) return null;
  throw commandError('nft list table', TABLE, listed);
}

/** nft 1.0.6 prints garbage or nothing for a table with flags (somebody made it dormant): that is drift, and replacing the table repairs it. */
function readNft(json: string): NetfilterRules {
  try {
    return parseNft(json);
  } catch (error) {
    if (!(error instanceof KernelError) || error.code !== 'PROTOCOL') throw error;
    return { ...NO_RULES, marks: [unreadable(`table ${TABLE}, which nft cannot print`)] };
  }
}

function iptablesBackend(commands: CommandRunner, programs: IptablesPrograms): Netfilter {
  const legacy = !commands.runSync(programs.IPv4, ['--version']).stdout.includes('nf_tables');

  // Without -t only tables that exist are read; naming one would create it and, for nat, switch connection tracking on.
  const isEmptyFamily = (family: Family): boolean => legacy && !hasTables(family);
  const parse = (family: Family, saved: CommandResult): IptablesState => {
    // A host without IPv6 has no ip6tables; then nothing of ours can be there either.
    if (saved.missing && family === 'IPv6') return parseIptables('');
    if (saved.code !== 0) throw commandError(`${programs[family]}-save`, family, saved);
    return parseIptables(saved.stdout);
  };
  const stateOf = (family: Family): IptablesState => (isEmptyFamily(family) ? parseIptables('') : parse(family, commands.runSync(`${programs[family]}-save`, [])));
  const rulesIn = (states: readonly { readonly family: Family; readonly state: IptablesState }[]): NetfilterRules | null => {
    if (!states.some(({ state }) => hasOwn(state))) return null;
    const parts = states.map(({ family, state }) => iptablesRules(state, family));
    return sortRules({
      sourceNat: parts.flatMap((part) => part.sourceNat), marks: parts.flatMap((part) => part.marks), mss: parts.flatMap((part) => part.mss),
    });
  };

  return {
    name: 'iptables',
    read: () => rulesIn(FAMILIES.map((family) => ({ family, state: stateOf(family) }))),
    async readSlowly() {
      const states = [];
      for (const family of FAMILIES) {
        const state = isEmptyFamily(family) ? parseIptables('') : parse(family, await commands.run(`${programs[family]}-save`, []));
        states.push({ family, state });
      }
      return rulesIn(states);
    },
    async set(rules) {
      const checked = checkRules(rules);
      for (const family of FAMILIES) {
        const script = iptablesScript(checked, family, stateOf(family));
        if (script === null) continue;
        const done = await commands.run(`${programs[family]}-restore`, ['--noflush', '-w', LOCK_SECONDS], script);
        if (done.code !== 0) throw commandError(`${programs[family]}-restore`, family, done);
      }
    },
  };
}

function hasTables(family: Family): boolean {
  return existsSync(TABLE_NAMES[family]) && /^(mangle|nat)$/m.test(readFileSync(TABLE_NAMES[family], 'utf8'));
}

/**
 * Where no backend worked, and one is missed, it is looked for again after so many milliseconds: somebody may have installed one, as
 * the error says.
 */
const LOOK_AGAIN_MS = 30_000;

export interface LazyNetfilter {
  backend(missed?: boolean): Netfilter | null;
  set(rules: NetfilterRules): Promise<void>;
}

/**
 * Finds the backend when it is first needed and remembers it: trying loads kernel modules and runs up to five programs, so it is not done for
 * nothing. `missed`: default true. `now`: monotonic milliseconds.
 */
export function lazyNetfilter(commands: CommandRunner = systemCommands, now: () => number = () => performance.now()): LazyNetfilter {
  let found: Netfilter | null = null;
  let lookAt: number | null = null;
  const backend = (missed = true): Netfilter | null => {
    if (found === null && (lookAt === null || (missed && now() >= lookAt))) {
      found = findNetfilter(commands);
      lookAt = now() + LOOK_AGAIN_MS;
    }
    return found;
  };
  return {
    backend,
    async set(rules) {
      const filter = backend();
      if (filter !== null) return filter.set(rules);
      checkRules(rules);
      if (isEmpty(rules)) return;
      const message = 'neither nft (kernel 5.6 with nf_tables) nor iptables works on this host: install nftables or iptables';
      throw new KernelError({ code: 'BACKEND_MISSING', operation: 'setRules', message });
    },
  };
}
