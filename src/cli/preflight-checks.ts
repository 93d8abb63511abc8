/**
 * Whether a host can do what is asked of it: facts in, findings out. Pure. A finding that is no `ok` says what to do.
 * Who else is at work on the host is preflight-conflicts.ts's.
 */
import { SCHEDULERS } from '../api/v1alpha1/index.ts';
import { conflictFindings } from './preflight-conflicts.ts';
import type { HostFacts, ModuleState } from './preflight-facts.ts';
import { fail, ok, warn, type Finding } from './preflight-finding.ts';

/** linux/capability.h. */
const CAPABILITIES = { CAP_NET_ADMIN: 12n, CAP_NET_RAW: 13n } as const;
/** Default of ip_vs's conn_tab_bits (12), up to Linux 7.0, where the table cannot grow. */
const DEFAULT_BUCKETS = 4096;
/** First kernels whose IPVS sends these tunnels. */
const TUNNEL_SINCE: Readonly<Record<string, readonly [major: number, minor: number]>> = { gue: [5, 2], gre: [5, 3] };
/** Everything that mode TUN may need on a real server. */
export const TUNNEL_MODULES = ['ipip', 'sit', 'ip6_tunnel', 'ip_gre', 'ip6_gre', 'fou', 'fou6'];

/** Every finding, in the order in which a person would fix them. */
export function preflightFindings(facts: HostFacts): Finding[] {
  return [
    ...permissions(facts), ...ipvsModule(facts), ...schedulers(facts), ...engines(facts), ...tunnels(facts), ...connectionTable(facts),
    ...packetFilter(facts), ...network(facts), ...sysctls(facts), ...conflictFindings(facts), ...manifests(facts),
  ];
}

/** `fail` when somebody needs it, otherwise `warn`. */
function missing(needed: boolean, check: string, message: string, fix: string): Finding { return (needed ? fail : warn)(check, message, fix); }

function permissions({ capabilities, initialUserNamespace }: HostFacts): Finding[] {
  if (!initialUserNamespace) {
    return [fail('permissions',
      'this is a user namespace: IPVS takes orders from the initial one only',
      'run outside of it (no rootless container, no userns-remap)')];
  }
  const lacking = Object.entries(CAPABILITIES).filter(([, bit]) => !(capabilities & (1n << bit))).map(([name]) => name);
  if (lacking.length === 0) return [ok('permissions', 'CAP_NET_ADMIN and CAP_NET_RAW')];
  return [fail('permissions',
    `${lacking.join(' and ')} ${lacking.length > 1 ? 'are' : 'is'} missing`,
    'run as root, or give them to the service (AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW) or container (capabilities.add)')];
}

function directs({ wants }: HostFacts): boolean { return wants === null || wants.director; }

function stateOf({ modules }: HostFacts, name: string): ModuleState { return modules.get(name) ?? 'unknown'; }

interface ModuleProblem {
  readonly message: string;
  readonly fix: string;
  /** It may be there all the same. */
  readonly unknown: boolean;
}

/** Why modules cannot be had, and what to do: one problem for all that share it. */
function moduleProblems(facts: HostFacts, names: readonly string[]): ModuleProblem[] {
  const of = (wanted: ModuleState) => names.filter((name) => stateOf(facts, name) === wanted);
  const [absent, available, unknown] = [of('absent'), of('available'), of('unknown')];
  const are = (list: readonly string[]) => `${list.join(', ')} ${list.length > 1 ? 'are' : 'is'} not`;
  const modprobe = (list: readonly string[]) => `modprobe ${list.length > 1 ? '-a ' : ''}${list.join(' ')}`;
  const problems: ModuleProblem[] = [];
  if (absent.length > 0) {
    problems.push({
      unknown: false, message: `${are(absent)} in this kernel (${facts.kernel})`,
      fix: 'install the package with the extra modules of this kernel (Ubuntu: linux-modules-extra, Fedora and RHEL: kernel-modules-extra), or boot another kernel',
    });
  }
  if (facts.modulesDisabled && available.length > 0) {
    problems.push({
      unknown: false, message: `${are(available)} loaded, and kernel.modules_disabled is 1`,
      fix: `add ${available.join(' ')} to /etc/modules-load.d/ipvs-operator.conf, one a line, and reboot; until the setting is 1: ${modprobe(available)}`,
    });
  }
  if (unknown.length > 0) {
    const exist = unknown.length > 1 ? 'they exist' : 'it exists';
    problems.push({
      unknown: true,
      message: `${are(unknown)} loaded, and there is no /lib/modules/${facts.kernel} to tell whether ${exist}`,
      fix: `run on the host: ${modprobe(unknown)}`,
    });
  }
  return problems;
}

/** Of these, what the kernel has, and what it lacks. `needed`: somebody asked for them. */
function moduleFindings(facts: HostFacts, check: string, names: readonly string[], needed: boolean, also = ''): Finding[] {
  const good = names.filter((name) => stateOf(facts, name) === 'loaded' || (stateOf(facts, name) === 'available' && !facts.modulesDisabled));
  return [
    ...(good.length > 0 ? [ok(check, good.join(' '))] : []),
    ...moduleProblems(facts, names).map(({ message, fix, unknown }) => missing(needed && !unknown, check, message, `${fix}${also}`)),
  ];
}

function ipvsModule(facts: HostFacts): Finding[] {
  if (facts.ipvs) return [ok('ip_vs', `version ${facts.ipvs.version}, Linux ${facts.kernel}`)];
  const [problem] = moduleProblems(facts, ['ip_vs']);
  if (!problem) return [ok('ip_vs', `available, loaded when it is first used; Linux ${facts.kernel}`)];
  return [missing(directs(facts) && !problem.unknown, 'ip_vs', problem.message, problem.fix)];
}

/** Modules are loaded when they are first used; so `available` is as good as `loaded`. */
function schedulers(facts: HostFacts): Finding[] {
  if (!directs(facts)) return [];
  const wanted = facts.wants ? facts.wants.schedulers : SCHEDULERS;
  return moduleFindings(facts, 'schedulers', wanted.map((name) => `ip_vs_${name}`), facts.wants !== null, facts.wants ? '; or choose another scheduler' : '');
}

function engines(facts: HostFacts): Finding[] {
  if (!directs(facts)) return [];
  return moduleFindings(facts, 'persistence engines', (facts.wants ? facts.wants.engines : ['sip']).map((name) => `ip_vs_pe_${name}`), facts.wants !== null);
}

function tunnels(facts: HostFacts): Finding[] {
  const findings: Finding[] = [];
  const [major = 0, minor = 0] = facts.kernel.split(/[.-]/).map(Number);
  for (const [type, [needMajor, needMinor]] of Object.entries(TUNNEL_SINCE)) {
    const wanted = facts.wants?.tunnelTypes.includes(type) ?? false;
    const has = major > needMajor || (major === needMajor && minor >= needMinor);
    if (!has && (wanted || !facts.wants)) {
      findings.push(missing(wanted, `tunnel ${type}`,
        `IPVS of Linux ${facts.kernel} cannot send ${type.toUpperCase()}`,
        `use encapsulation IPIP, or Linux ${needMajor}.${needMinor} or newer`));
    }
  }
  const modules = facts.wants ? facts.wants.tunnelModules : TUNNEL_MODULES;
  return [...findings, ...moduleFindings(facts, 'tunnel devices', modules, facts.wants !== null, facts.wants ? '' : ' (only real servers of mode TUN need them)')];
}

function connectionTable({ ipvs }: HostFacts): Finding[] {
  if (!ipvs) return [];
  const buckets = `${ipvs.connectionTableSize} buckets`;
  if (ipvs.connectionTableSize > DEFAULT_BUCKETS) return [ok('connection table', buckets)];
  return [warn('connection table',
    `${buckets}: lookups get slow beyond some ten thousand connections`,
    'echo "options ip_vs conn_tab_bits=20" > /etc/modprobe.d/ip_vs.conf and load ip_vs anew, best at boot (2^20 buckets take 8 MiB)')];
}

function packetFilter(facts: HostFacts): Finding[] {
  const rules = facts.wants?.rules ?? false;
  const findings: Finding[] = [];
  findings.push(...moduleFindings(facts, 'connection tracking', ['nf_conntrack'], rules, '; source NAT needs it'));
  if (facts.netfilter === 'unknown') {
    findings.push(missing(rules, 'packet filter', 'not tried: it takes CAP_NET_ADMIN', 'run this as root'));
  } else if (facts.netfilter === null) {
    findings.push(missing(rules, 'packet filter',
      'neither nft nor iptables works here; source NAT, port ranges and MSS limits need one',
      'install nftables, or iptables'));
  } else {
    findings.push(ok('packet filter', facts.netfilter));
  }
  return findings;
}

function network({ loopbackUp, ipv6, wants, sysctlProblem }: HostFacts): Finding[] {
  return [
    loopbackUp ? ok('lo', 'up') : fail('lo', 'down: the kernel then refuses every real server (EINVAL)', 'ip link set lo up'),
    ipv6 ? ok('IPv6', 'enabled') : withoutIPv6(wants),
    sysctlProblem === '' ? ok('/proc/sys/net', 'writable') : fail('/proc/sys/net', sysctlProblem,
      'in a container: privileged, or mount the host\'s /proc/sys/net elsewhere, writable, and name its /proc/sys in IPVS_OPERATOR_PROC_SYS; elsewhere: run as root'),
  ];
}

function withoutIPv6(wants: HostFacts['wants']): Finding {
  const needed = wants?.families.has('IPv6') ?? false;
  if (wants && !needed) return ok('IPv6', 'disabled, and not needed');
  return missing(needed, 'IPv6',
    `disabled${needed ? ', and manifests ask for IPv6' : ''}`,
    'sysctl -w net.ipv6.conf.all.disable_ipv6=0 (and no ipv6.disable=1 on the kernel command line)');
}

function sysctls({ wants }: HostFacts): Finding[] {
  if (!wants) return [];
  if (wants.sysctls.length === 0) return [ok('sysctls', 'all stand as they are needed')];
  return wants.sysctls.map(({ path, value, current }) => ok(`sysctl ${path}`, current === null
    ? `would be set to ${value} once it exists (its module or device is not there yet)`
    : `would be changed from ${current} to ${value}, and back when nobody needs it`));
}

/** More is for `plan`. */
const PROBLEMS_SHOWN = 20;

function manifests({ wants }: HostFacts): Finding[] {
  if (!wants) return [];
  const { problems, virtualServers: n } = wants;
  if (problems.length === 0) return [ok('manifests', `${n} VirtualServer${n === 1 ? '' : 's'}; this host is ${role(wants)}`)];
  const shown = problems.slice(0, PROBLEMS_SHOWN)
    .map((message) => fail('manifests', message, 'correct the manifest; ipvs-operator plan tells the whole story'));
  if (problems.length <= PROBLEMS_SHOWN) return shown;
  return [...shown, fail('manifests', `and ${problems.length - PROBLEMS_SHOWN} problems more`, 'ipvs-operator plan lists all of them')];
}

function role({ director, realServer }: { readonly director: boolean; readonly realServer: boolean }): string {
  if (director && realServer) return 'director and real server';
  return director ? 'a director' : realServer ? 'a real server' : 'neither director nor real server of any of them';
}
