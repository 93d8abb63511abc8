/**
 * Reads the text that `ipvsadm-save -n` (`ipvsadm -Sn`) writes and `ipvsadm -R` reads, into a table. Pure. Stricter than ipvsadm where
 * ipvsadm guesses: names of hosts and ports, octal numbers, netmasks with holes, options without effect. Every line that cannot be
 * read is a problem with its number; none is skipped. Empty lines and lines that begin with # are no commands.
 */
import { ADDRESS_BITS, canonical, type Family } from '../ip/ip.ts';
import {
  destinationKey, serviceKey, SERVICE_FLAG, TUNNEL_FLAG, TUNNEL_TYPES,
  type Destination, type Protocol, type Service, type TunnelType,
} from '../kernel/ipvs/types.ts';
import { familyOfAddress, prefixLengthOf, type TableEntry } from './ipvs-table.ts';
import { LineError, readOptionLine, type OptionLine } from './ipvsadm-options.ts';
import { FLAG_NAMES, PLAIN_FLAG_NAMES } from './ipvsadm-text.ts';

export interface LineProblem {
  /** Counted from 1. */
  readonly line: number;
  readonly text: string;
  /** What is wrong and what to do. */
  readonly message: string;
}

export interface ParsedTable {
  /** In the order of the text. Complete only when there are no problems. */
  readonly entries: readonly TableEntry[];
  readonly problems: readonly LineProblem[];
}

/** ipvsadm.c: the timeout of -p without a value. (Its manual says 300.) */
const DEFAULT_PERSISTENCE_SECONDS = 360;
/** ipvsadm.c DEF_SCHED. */
const DEFAULT_SCHEDULER = 'wlc';
/** uapi/linux/ip_vs.h IP_VS_SCHEDNAME_MAXLEN and IP_VS_PENAME_MAXLEN are 16 with the NUL. */
const NAME = /^[A-Za-z0-9_-]{1,15}$/;
const MAX_U32 = 4_294_967_295;
const MAX_I32 = 2_147_483_647;

const SERVICE_OPTIONS: readonly (readonly [option: string, protocol: Protocol])[] = [['-t', 'TCP'], ['-u', 'UDP'], ['--sctp-service', 'SCTP']];
const ALLOWED: Readonly<Record<string, ReadonlySet<string>>> = {
  '-A': new Set(['-A', '-t', '-u', '--sctp-service', '-f', '-6', '-s', '-p', '-M', '--pe', '-o', '-b']),
  '-a': new Set([
    '-a', '-t', '-u', '--sctp-service', '-f', '-6', '-r', '-g', '-i', '-m', '-w', '-x', '-y',
    '--tun-type', '--tun-port', '--tun-nocsum', '--tun-csum', '--tun-remcsum',
  ]),
  '-C': new Set(['-C']),
};
const SAVE_FIRST = 'it changes a table instead of describing one; run the commands on the host and use what this prints: ipvsadm-save -n';
const NOT_A_TABLE: Readonly<Record<string, string>> = {
  '--set': 'timeouts belong to the host, not to the table: write them to spec.timeouts of a DirectorGroup, and remove this line',
  '--start-daemon': 'the sync daemon belongs to the host, not to the table: write it to spec.connectionSync of a DirectorGroup, and remove this line',
  '--stop-daemon': 'the sync daemon belongs to the host, not to the table: remove this line',
};

/** Reads a text. Never throws. */
export function parseIpvsadm(text: string): ParsedTable {
  const entries = new Map<string, { service: Service; destinations: Map<string, Destination>; line: number }>();
  const problems: LineProblem[] = [];
  for (const [i, raw] of text.split('\n').entries()) {
    const line = i + 1;
    const words = raw.split(/\s+/).filter(Boolean);
    if (/^(\S*\/)?ipvsadm$/.test(words[0] ?? '')) words.shift();
    if (words.length === 0 || words[0]!.startsWith('#')) continue;
    try {
      const read = readOptionLine(words);
      checkOptions(read);
      if (read.command === '-C') entries.clear();
      else if (read.command === '-A') {
        const service = readService(read.options);
        const key = serviceKey(service);
        const other = entries.get(key);
        if (other) throw new LineError(`${key} is there already, on line ${other.line}; remove one of the two`);
        entries.set(key, { service, destinations: new Map(), line });
      } else {
        const at = readServiceKey(read.options);
        const entry = entries.get(serviceKey(at));
        if (!entry) throw new LineError(`no line before this one adds the service ${serviceKey(at)}; add it with -A, or move this line`);
        const destination = readDestination(read.options, entry.service);
        const key = destinationKey(destination);
        if (entry.destinations.has(key)) throw new LineError(`${serviceKey(at)} has the real server ${key} already; remove one of the two`);
        entry.destinations.set(key, destination);
      }
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      problems.push({ line, text: raw.trim(), message: error.message });
    }
  }
  return { entries: [...entries.values()].map((e) => ({ ...e, destinations: [...e.destinations.values()] })), problems };
}

/** One line for a person. */
export function formatLineProblem(p: LineProblem): string {
  const text = p.text.length <= 100 ? p.text : `${p.text.slice(0, 97)}...`;
  return `line ${p.line}: ${p.message}\n    ${text}`;
}

function checkOptions({ command, options, rest }: OptionLine): void {
  const instead = NOT_A_TABLE[command];
  if (instead !== undefined) throw new LineError(instead);
  const allowed = ALLOWED[command];
  if (!allowed) throw new LineError(`${command} is not read here: ${SAVE_FIRST}`);
  const [first] = rest;
  if (first !== undefined) {
    const hint = first.startsWith('#') ? ' (a comment needs a line of its own)' : '';
    throw new LineError(`${JSON.stringify(first)} belongs to no option; remove it${hint}`);
  }
  for (const name of options.keys()) if (!allowed.has(name)) throw new LineError(`${name} does not go with ${command}; remove it`);
}

type ServiceKey = Pick<Service, 'family' | 'protocol' | 'address' | 'port' | 'fwmark'>;

function readServiceKey(options: ReadonlyMap<string, string>): ServiceKey {
  const given = [...SERVICE_OPTIONS.map(([option]) => option), '-f'].filter((option) => options.has(option));
  if (given.length !== 1) {
    const what = given.length === 0 ? 'there is no service' : `${given.join(' and ')} are ${given.length} services`;
    throw new LineError(`${what}; give one of -t, -u, --sctp-service and -f`);
  }
  if (given[0] === '-f') {
    return { family: options.has('-6') ? 'IPv6' : 'IPv4', protocol: 'TCP', address: '', port: 0, fwmark: readMark(options.get('-f')!) };
  }
  if (options.has('-6')) throw new LineError('-6 goes with -f only; elsewhere the address tells the family; remove it');
  const { address, port } = readAddressPort(given[0]!, options.get(given[0]!)!);
  return { family: familyOfAddress(address), protocol: SERVICE_OPTIONS.find(([option]) => option === given[0])![1], address, port: port ?? 0, fwmark: 0 };
}

/** ipvsadm prints marks from 2^31 on as negative numbers. */
function readMark(text: string): number {
  if (/^-\d+$/.test(text) && Number(text) >= -MAX_I32 - 1 && Number(text) < 0) return Number(text) + MAX_U32 + 1;
  return readNumber('-f', text, 1, MAX_U32);
}

function readService(options: ReadonlyMap<string, string>): Service {
  const key = readServiceKey(options);
  const scheduler = readName('-s', options.get('-s') ?? DEFAULT_SCHEDULER);
  const persistent = options.has('-p');
  if (options.has('-M') && !persistent) throw new LineError('-M has no effect without -p; add -p, or remove -M');
  if (key.fwmark === 0 && key.port === 0 && !persistent) throw new LineError('a service for every port (port 0) must be persistent; add a port, or -p');
  const timeout = options.get('-p') || String(DEFAULT_PERSISTENCE_SECONDS);
  return {
    ...key, scheduler,
    flags: (persistent ? SERVICE_FLAG.persistent : 0) | (options.has('-o') ? SERVICE_FLAG.onePacket : 0) | readFlags(scheduler, options.get('-b')),
    timeoutSeconds: persistent ? readNumber('-p', timeout, 1, MAX_U32) : 0,
    prefixLength: options.has('-M') ? readNetmask(key.family, options.get('-M')!) : ADDRESS_BITS[key.family],
    engine: options.has('--pe') ? readName('--pe', options.get('--pe')!) : '',
  };
}

function readNetmask(family: Family, text: string): number {
  if (family === 'IPv6') return readNumber('-M', text, 1, ADDRESS_BITS.IPv6);
  const length = prefixLengthOf(text);
  if (length !== null) return length;
  throw new LineError(`-M ${text} is not a netmask; write it with four numbers, ones first, as 255.255.255.0`);
}

function readFlags(scheduler: string, text: string | undefined): number {
  if (text === undefined) return 0;
  const known = [...PLAIN_FLAG_NAMES, ...(FLAG_NAMES[scheduler] ?? [])];
  let flags = 0;
  for (const name of text.split(',')) {
    const found = known.find(([, n]) => n === name);
    if (!found) throw new LineError(`-b ${name} is not a flag of scheduler ${scheduler}; known: ${[...new Set(known.map(([, n]) => n))].join(', ')}`);
    flags |= found[0];
  }
  return flags;
}

function readDestination(options: ReadonlyMap<string, string>, service: Service): Destination {
  const server = options.get('-r');
  if (server === undefined) throw new LineError('there is no real server; add -r ADDRESS:PORT');
  const { address, port } = readAddressPort('-r', server);
  const family = familyOfAddress(address);
  const methods = ['-g', '-i', '-m'].filter((option) => options.has(option));
  if (methods.length > 1) throw new LineError(`${methods.join(' and ')} exclude each other; give one of -g (direct), -i (tunnel) and -m (NAT)`);
  const method = methods[0] === '-m' ? 'masq' : methods[0] === '-i' ? 'tunnel' : 'direct';
  if (family !== service.family && method !== 'tunnel') {
    throw new LineError(
      `${address} is ${family} and the service is ${service.family}: only tunnels (-i) cross families; use -i, or an ${service.family} address`);
  }
  return {
    family, address, method,
    // As ipvsadm does: no port, or port 0, is the service's; a fwmark service keeps what the packet has.
    port: port || service.port,
    weight: readNumber('-w', options.get('-w') ?? '1', 0, MAX_I32),
    upper: readNumber('-x', options.get('-x') ?? '0', 0, MAX_U32),
    lower: readNumber('-y', options.get('-y') ?? '0', 0, MAX_U32),
    ...readTunnel(options, method === 'tunnel'),
  };
}

function readTunnel(options: ReadonlyMap<string, string>, tunnel: boolean): Pick<Destination, 'tunnelType' | 'tunnelPort' | 'tunnelFlags'> {
  const given = ['--tun-type', '--tun-port', '--tun-nocsum', '--tun-csum', '--tun-remcsum'].filter((option) => options.has(option));
  if (!tunnel) {
    if (given.length > 0) throw new LineError(`${given[0]} goes with -i only; add -i, or remove it`);
    return { tunnelType: 'ipip', tunnelPort: 0, tunnelFlags: 0 };
  }
  const tunnelType = (options.get('--tun-type') ?? 'ipip') as TunnelType;
  if (!TUNNEL_TYPES.includes(tunnelType)) throw new LineError(`--tun-type ${tunnelType} is unknown; known: ${TUNNEL_TYPES.join(', ')}`);
  if (options.has('--tun-port') !== (tunnelType === 'gue')) {
    throw new LineError(tunnelType === 'gue'
      ? '--tun-type gue needs --tun-port'
      : `--tun-port goes with gue only, not with ${tunnelType}; remove it`);
  }
  const checksums = given.filter((option) => option.endsWith('csum'));
  if (checksums.length > 1) throw new LineError(`${checksums.join(' and ')} exclude each other; give one`);
  if (checksums.length > 0 && (tunnelType === 'ipip' || (tunnelType === 'gre' && checksums[0] === '--tun-remcsum'))) {
    throw new LineError(`${checksums[0]} does not go with ${tunnelType}; remove it`);
  }
  return {
    tunnelType, tunnelPort: tunnelType === 'gue' ? readNumber('--tun-port', options.get('--tun-port')!, 1, 65_535) : 0,
    tunnelFlags: options.has('--tun-csum') ? TUNNEL_FLAG.checksum : options.has('--tun-remcsum') ? TUNNEL_FLAG.remoteChecksum : TUNNEL_FLAG.none,
  };
}

/** `10.0.0.1:80`, `10.0.0.1`, `[fd00::1]:80`, `[fd00::1]`, `fd00::1`. */
function readAddressPort(option: string, text: string): { address: string; port: number | null } {
  const parts = /^\[([^\]]*)\](?::(.*))?$/.exec(text) ?? (text.split(':').length > 2 ? [text, text] : /^([^:]*)(?::(.*))?$/.exec(text)!);
  const [, host = '', port] = parts;
  const address = canonical(host);
  if (address === null) {
    const why = /^\d[\d.]*$/.test(host) ? 'is not an IP address; write four numbers from 0 to 255 without leading zeros'
      : /[:%\[\]]/.test(host) ? 'is not an IP address; write IPv6 as [2001:db8::1]:80'
      : 'is not an IP address, and names are not looked up; save the table with numbers: ipvsadm-save -n';
    throw new LineError(`${option} ${text}: ${JSON.stringify(host)} ${why}`);
  }
  if (text.startsWith('[') && !address.includes(':')) {
    const plain = port === undefined ? address : `${address}:${port}`;
    throw new LineError(`${option} ${text}: only IPv6 stands in brackets; write ${plain}`);
  }
  if (port === undefined) return { address, port: null };
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    const hint = /[a-z]/i.test(port) ? '; save the table with numbers: ipvsadm-save -n' : '';
    throw new LineError(`${option} ${text}: ${JSON.stringify(port)} is not a port from 0 to 65535${hint}`);
  }
  return { address, port: Number(port) };
}

function readNumber(option: string, text: string, min: number, max: number): number {
  if (/^\d{1,10}$/.test(text) && Number(text) >= min && Number(text) <= max) return Number(text);
  throw new LineError(`${option} ${text}: give a whole number from ${min} to ${max}`);
}

function readName(option: string, text: string): string {
  if (NAME.test(text)) return text;
  throw new LineError(`${option} ${JSON.stringify(text)} is not a name that the kernel takes (1 to 15 letters and digits); correct it`);
}
