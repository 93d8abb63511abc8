/**
 * Reads the facts of this host: /proc, /sys, /etc, a few netlink dumps. Changes nothing; loads no module except what trying the
 * packet filter loads. What is unreadable is unknown, not an error: preflight is for hosts where things are missing.
 */
import { accessSync, constants, existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { release } from 'node:os';
import { basename, join } from 'node:path';
import { SCHEDULERS } from '../api/v1alpha1/index.ts';
import { PROC_SYS } from '../kernel/net/sysctl.ts';
import type { NetClient, NetObservation } from '../kernel/net/types.ts';
import { TUNNEL_MODULES } from './preflight-checks.ts';
import {
  flagOf, kubeProxySettings, managesForeignRoutes, moduleName, neighbourOf, parseCapabilities, parseModuleList, parseProcIpvs,
  type HostFacts, type KubeProxy, type ModuleState, type NeighbourProcess,
} from './preflight-facts.ts';

/** linux/capability.h. */
const CAP_NET_ADMIN = 12n;
/** /proc/self/uid_map of the initial user namespace: all 2^32 - 1 ids. */
const WHOLE_UID_MAP = /^\s*0\s+0\s+4294967295\s*$/;
/** kube-proxy's own address for the question (its --metrics-bind-address). */
const PROXY_MODE_URL = 'http://127.0.0.1:10249/proxyMode';
const PROXY_MODE_TIMEOUT_MS = 500;
const MODULES = ['ip_vs', ...SCHEDULERS.map((s) => `ip_vs_${s}`), 'ip_vs_pe_sip', 'nf_conntrack', ...TUNNEL_MODULES];
/** Where systemd looks for drop-ins; a file of the same name in a later folder replaces one of an earlier. */
const NETWORKD_FOLDERS = ['/usr/lib/systemd', '/usr/local/lib/systemd', '/run/systemd', '/etc/systemd'];

/** `procSys`: where the host's /proc/sys/net is below; in a container elsewhere, and the one of its own says nothing. */
export async function readHost(net: NetClient, observation: NetObservation, signal: AbortSignal, procSys = PROC_SYS): Promise<Omit<HostFacts, 'ledger' | 'wants'>> {
  const capabilities = parseCapabilities(textOf('/proc/self/status') ?? '');
  const neighbours = readNeighbours();
  const lo = observation.links.find((l) => l.loopback);
  return {
    kernel: release(), capabilities, initialUserNamespace: WHOLE_UID_MAP.test(textOf('/proc/self/uid_map') ?? ''),
    modulesDisabled: textOf('/proc/sys/kernel/modules_disabled')?.trim() === '1',
    modules: readModules(), ipvs: parseProcIpvs(textOf('/proc/net/ip_vs') ?? ''),
    sysctlProblem: sysctlProblem(procSys), loopbackUp: lo?.up ?? false,
    ipv6: existsSync('/proc/net/if_inet6') && textOf(`${procSys}/net/ipv6/conf/all/disable_ipv6`)?.trim() === '0',
    links: observation.links.map((l) => l.name),
    netfilter: capabilities & (1n << CAP_NET_ADMIN) ? net.netfilterBackend() : 'unknown',
    neighbours, kubeProxy: await readKubeProxy(neighbours, signal), keepalivedServes: keepalivedServes(neighbours),
    swarmIngress: existsSync('/run/docker/netns/ingress_sbox'), networkdManagesForeign: managesForeignRoutes(networkdTexts()),
  };
}

function readModules(): Map<string, ModuleState> {
  const folder = `/lib/modules/${release()}`;
  const dependencies = textOf(join(folder, 'modules.dep'));
  const available = parseModuleList(dependencies ?? '');
  const builtin = parseModuleList(textOf(join(folder, 'modules.builtin')) ?? '');
  return new Map(MODULES.map((name): [string, ModuleState] => {
    const key = moduleName(name);
    if (builtin.has(key) || existsSync(`/sys/module/${key}`)) return [name, 'loaded'];
    if (available.has(key)) return [name, 'available'];
    return [name, dependencies === null ? 'unknown' : 'absent'];
  }));
}

function sysctlProblem(procSys: string): string {
  try {
    accessSync(`${procSys}/net/ipv4/ip_forward`, constants.W_OK);
    return '';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EROFS' ? 'mounted read-only' : `cannot be written (${code})`;
  }
}

/** Processes of this network namespace; one whose namespace cannot be seen counts as one of it. */
function readNeighbours(): NeighbourProcess[] {
  const home = linkOf('/proc/self/ns/net');
  return readdirSync('/proc').filter((n) => /^\d+$/.test(n)).flatMap((pid): NeighbourProcess[] => {
    const args = (textOf(`/proc/${pid}/cmdline`) ?? '').split('\0').slice(0, -1);
    const name = neighbourOf(args);
    const where = name === null ? null : linkOf(`/proc/${pid}/ns/net`);
    return name === null || (where !== null && where !== home) ? [] : [{ name, pid: Number(pid), args }];
  });
}

async function readKubeProxy(neighbours: readonly NeighbourProcess[], signal: AbortSignal): Promise<KubeProxy | null> {
  const process = neighbours.find((n) => n.name === 'kube-proxy');
  const told = await askProxyMode(signal);
  if (!process) return told === null ? null : { mode: told, excludeCIDRs: [] };
  const file = flagOf(process.args, 'config');
  const settings = kubeProxySettings(process.args, file === undefined ? null : textOf(join(`/proc/${process.pid}/root`, file)));
  return told === null ? settings : { ...settings, mode: told };
}

/** Null when nobody answers. */
async function askProxyMode(signal: AbortSignal): Promise<string | null> {
  try {
    const response = await fetch(PROXY_MODE_URL, { signal: AbortSignal.any([signal, AbortSignal.timeout(PROXY_MODE_TIMEOUT_MS)]) });
    const text = (await response.text()).trim();
    return response.ok && /^[a-z]{1,16}$/.test(text) ? text : null;
  } catch {
    // Refused or too late: no kube-proxy that would say. Its process and its device are looked for as well.
    return null;
  }
}

function keepalivedServes(neighbours: readonly NeighbourProcess[]): boolean {
  const process = neighbours.find((n) => n.name === 'keepalived');
  if (!process) return false;
  const root = `/proc/${process.pid}/root`;
  const short = process.args.indexOf('-f');
  const main = flagOf(process.args, 'use-file') ?? (short > 0 ? process.args[short + 1] : undefined) ?? '/etc/keepalived/keepalived.conf';
  const files = [main, ...filesOf(join(root, '/etc/keepalived'), '.conf'), ...filesOf(join(root, '/etc/keepalived/conf.d'), '.conf')];
  return files.some((file, i) => /^\s*virtual_server\b/m.test(textOf(i === 0 ? join(root, file) : file) ?? ''));
}

function networkdTexts(): string[] {
  const dropIns = new Map(NETWORKD_FOLDERS.flatMap((folder) => filesOf(join(folder, 'networkd.conf.d'), '.conf')).map((file) => [basename(file), file]));
  const main = NETWORKD_FOLDERS.map((folder) => join(folder, 'networkd.conf')).findLast((file) => existsSync(file));
  const sorted = [...dropIns.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, file]) => file);
  return [...(main === undefined ? [] : [main]), ...sorted].map((file) => textOf(file) ?? '');
}

function filesOf(folder: string, extension: string): string[] {
  try {
    return readdirSync(folder).filter((n) => n.endsWith(extension)).map((n) => join(folder, n));
  } catch {
    // No such folder, or not ours to read: nothing is known of it.
    return [];
  }
}

/** Null when it does not exist or cannot be read. */
function textOf(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // Processes end while we look, and much of /proc is root's: unknown is an answer here.
    return null;
  }
}

function linkOf(file: string): string | null {
  try {
    return readlinkSync(file);
  } catch {
    // As above.
    return null;
  }
}
