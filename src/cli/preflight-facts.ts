/**
 * What preflight knows of a host, as plain values, and the readers of the texts that it comes from. Pure: fetching is
 * preflight-read.ts's, judging preflight-checks.ts's and preflight-conflicts.ts's.
 */
import { load } from 'js-yaml';
import type { Family } from '../ip/ip.ts';
import { canonical } from '../ip/ip.ts';
import { serviceKey, type Protocol } from '../kernel/ipvs/types.ts';

/** 'unknown': neither loaded nor is there a list of modules to look in (containers). */
export type ModuleState = 'loaded' | 'available' | 'absent' | 'unknown';

/** Programs that share IPVS, addresses or routes with us. */
export const NEIGHBOURS = ['kube-proxy', 'kube-router', 'keepalived', 'ldirectord', 'kube-vip', 'systemd-networkd'] as const;
export type Neighbour = (typeof NEIGHBOURS)[number];

export interface NeighbourProcess {
  readonly name: Neighbour;
  readonly pid: number;
  readonly args: readonly string[];
}

export interface KubeProxy {
  /** 'ipvs', 'iptables', 'nftables'; '' when it cannot be told. */
  readonly mode: string;
  readonly excludeCIDRs: readonly string[];
}

export interface LoadedIpvs {
  readonly version: string;
  /** Buckets. */
  readonly connectionTableSize: number;
  /** serviceKey() without the family of fwmarks, which /proc does not tell: `FWM 5`. */
  readonly services: readonly string[];
}

export interface SysctlFact {
  readonly path: string;
  readonly value: string;
  /** Null: there is no such setting now. */
  readonly current: string | null;
}

/** What the manifests ask of this host. */
export interface Wants {
  readonly virtualServers: number;
  /** What is wrong with files and objects. */
  readonly problems: readonly string[];
  readonly director: boolean;
  readonly realServer: boolean;
  readonly vips: readonly string[];
  readonly families: ReadonlySet<Family>;
  /** serviceKey()s that would be ours. */
  readonly services: readonly string[];
  readonly schedulers: readonly string[];
  readonly engines: readonly string[];
  /** Tunnels that IPVS sends, as kernel/ipvs says: ipip, gue, gre. */
  readonly tunnelTypes: readonly string[];
  /** Modules of the tunnel devices that this host receives by. */
  readonly tunnelModules: readonly string[];
  /** Source NAT, marks or MSS rules. */
  readonly rules: boolean;
  /** Settings that would be changed: those that differ. */
  readonly sysctls: readonly SysctlFact[];
}

export interface HostFacts {
  /** uname -r. */
  readonly kernel: string;
  /** CapEff. */
  readonly capabilities: bigint;
  /** False in a user namespace of its own, where CAP_NET_ADMIN says nothing to IPVS. */
  readonly initialUserNamespace: boolean;
  /** kernel.modules_disabled. */
  readonly modulesDisabled: boolean;
  readonly modules: ReadonlyMap<string, ModuleState>;
  /** Null: not loaded. */
  readonly ipvs: LoadedIpvs | null;
  /** Why /proc/sys/net cannot be written; '' when it can. */
  readonly sysctlProblem: string;
  readonly loopbackUp: boolean;
  readonly ipv6: boolean;
  readonly links: readonly string[];
  /** 'unknown': it takes privileges to try. */
  readonly netfilter: 'nft' | 'iptables' | null | 'unknown';
  /** In this network namespace, as far as can be seen. */
  readonly neighbours: readonly NeighbourProcess[];
  /** Null: none to be seen. */
  readonly kubeProxy: KubeProxy | null;
  /** keepalived's configuration has virtual_server blocks. */
  readonly keepalivedServes: boolean;
  readonly swarmIngress: boolean;
  /** systemd-networkd removes routes that are not its own. */
  readonly networkdManagesForeign: boolean;
  /** serviceKey()s of the ledger; null when there is no ledger. */
  readonly ledger: ReadonlySet<string> | null;
  /** Null without --manifests. */
  readonly wants: Wants | null;
}

/** `CapEff:\t000001ffffffffff` of /proc/PID/status. */
export function parseCapabilities(status: string): bigint {
  const found = /^CapEff:\s*([0-9a-f]+)$/m.exec(status);
  return found ? BigInt(`0x${found[1]}`) : 0n;
}

/** /proc/net/ip_vs: version and size in the first line, then services and destinations (`  -> ...`), addresses in hexadecimal. */
export function parseProcIpvs(text: string): LoadedIpvs | null {
  const head = /^IP Virtual Server version (\S+) \(size=(\d+)\)/.exec(text);
  if (!head) return null;
  const services = text.split('\n').flatMap((line) => {
    const [kind, at = ''] = line.split(/\s+/, 2);
    if (kind === 'FWM') return [`FWM ${Number.parseInt(at, 16)}`];
    if (kind !== 'TCP' && kind !== 'UDP' && kind !== 'SCTP') return [];
    const port = Number.parseInt(at.slice(at.lastIndexOf(':') + 1), 16);
    const host = at.slice(0, at.lastIndexOf(':'));
    const address = host.startsWith('[') ? canonical(host.slice(1, -1)) : [0, 2, 4, 6].map((i) => Number.parseInt(host.slice(i, i + 2), 16)).join('.');
    if (address === null) return [];
    return [serviceKey({ family: address.includes(':') ? 'IPv6' : 'IPv4', protocol: kind as Protocol, address, port, fwmark: 0 })];
  });
  return { version: head[1]!, connectionTableSize: Number(head[2]), services };
}

/** Names of the modules in modules.dep or modules.builtin, with '_' for '-'. */
export function parseModuleList(text: string): Set<string> {
  return new Set([...text.matchAll(/([^/\s]+)\.ko(?:\.\w+)?(?::|$)/gm)].map(([, name]) => moduleName(name!)));
}

export function moduleName(name: string): string {
  return name.replaceAll('-', '_');
}

/** Which neighbour a command line is: by the program's name, also behind an interpreter (`/usr/bin/perl -w /usr/sbin/ldirectord`). */
export function neighbourOf(args: readonly string[]): Neighbour | null {
  const base = (path: string) => path.slice(path.lastIndexOf('/') + 1);
  const program = base(args[0] ?? '');
  const script = /^(perl|python|sh|bash|dash)[\d.]*$/.test(program) ? base(args.slice(1).find((a) => !a.startsWith('-')) ?? '') : '';
  return NEIGHBOURS.find((n) => n === program || n === script) ?? null;
}

/** Value of `--name=value` or `--name value`; undefined when it is not there. */
export function flagOf(args: readonly string[], name: string): string | undefined {
  for (const [i, arg] of args.entries()) {
    if (arg.startsWith(`--${name}=`)) return arg.slice(name.length + 3);
    if (arg === `--${name}`) return args[i + 1];
  }
  return undefined;
}

/** What kube-proxy was told: its configuration file where it has one, as it ignores most flags then. `config` null: none, or unreadable. */
export function kubeProxySettings(args: readonly string[], config: string | null): KubeProxy {
  if (config !== null) {
    const value = readYaml(config) as { mode?: unknown; ipvs?: { excludeCIDRs?: unknown } | null } | null;
    const cidrs = value?.ipvs?.excludeCIDRs;
    return { mode: typeof value?.mode === 'string' ? value.mode : '', excludeCIDRs: Array.isArray(cidrs) ? cidrs.filter((c) => typeof c === 'string') : [] };
  }
  return { mode: flagOf(args, 'proxy-mode') ?? '', excludeCIDRs: (flagOf(args, 'ipvs-exclude-cidrs') ?? '').split(',').filter(Boolean) };
}

function readYaml(text: string): unknown {
  try {
    return load(text);
  } catch {
    // Somebody else's file: what cannot be read tells nothing, and the mode is then unknown.
    return null;
  }
}

/** ManageForeignRoutes of networkd.conf and its drop-ins, in the order in which systemd reads them; the last one counts. Default: yes. */
export function managesForeignRoutes(texts: readonly string[]): boolean {
  let manages = true;
  for (const text of texts) {
    for (const [, value] of text.matchAll(/^[ \t]*ManageForeignRoutes[ \t]*=[ \t]*(\S+)[ \t]*$/gm)) manages = !/^(no|n|false|f|off|0)$/i.test(value!);
  }
  return manages;
}
