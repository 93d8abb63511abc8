/**
 * Culprit: who on this node may have removed our virtual services, as far as can be seen from here, and what to do about it. Looking is one
 * reading of /proc; the rest is pure. It names suspects: the kernel does not tell who did it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const KNOWN = ['kube-proxy', 'kube-router', 'keepalived', 'ldirectord', 'ipvsadm'] as const;

export interface Culprit {
  readonly name: (typeof KNOWN)[number];
  /** By what it was recognised. */
  readonly by: string;
}

/** The device of a kube-proxy in mode ipvs, seen in every container of the host's network. */
const KUBE_PROXY_DEVICE = 'kube-ipvs0';

const REMEDIES: Readonly<Record<Culprit['name'], string>> = {
  'kube-proxy': 'kube-proxy in mode ipvs removes every service that it does not know: add the networks of all VIPPools to its ipvs.excludeCIDRs (--ipvs-exclude-cidrs) and set ipvs.strictARP (--ipvs-strict-arp), or run it in another mode; if it is gone for good: ip link del kube-ipvs0',
  'kube-router': "kube-router's service proxy removes every service that it does not know: start it with --run-service-proxy=false",
  keepalived: 'keepalived works on the same IPVS table: give no VIP, protocol and port to both',
  ldirectord: 'ldirectord works on the same IPVS table: give no VIP, protocol and port to both',
  ipvsadm: 'ipvsadm is running: somebody works on the IPVS table by hand',
};

/** `links`: names of interfaces. `commands`: of processes, as in /proc/PID/comm, which ends at 15 characters. */
export function suspects(links: Iterable<string>, commands: Iterable<string>): Culprit[] {
  const running = new Set(commands);
  const found: Culprit[] = KNOWN.filter((name) => running.has(name)).map((name) => ({ name, by: `process ${name}` }));
  if (!running.has('kube-proxy') && [...links].includes(KUBE_PROXY_DEVICE)) found.unshift({ name: 'kube-proxy', by: `interface ${KUBE_PROXY_DEVICE}` });
  return found;
}

/** 'kube-proxy, keepalived'; '' for nobody. */
export function namesOf(culprits: readonly Culprit[]): string {
  return culprits.map((c) => c.name).join(', ');
}

/** Who it may have been and what to do, in one line. */
export function remedyFor(culprits: readonly Culprit[]): string {
  if (culprits.length === 0) {
    return 'who did it cannot be seen from here (the agent sees processes only with hostPID); look for ipvsadm -C, kube-proxy in modes ipvs and nftables, keepalived';
  }
  return culprits.map(({ name, by }) => `${by}: ${REMEDIES[name]}`).join('; ');
}

/** Names of the processes that can be seen. */
export function readCommands(proc = '/proc'): string[] {
  return entries(proc).filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      return readFileSync(join(proc, pid, 'comm'), 'utf8').trim();
    } catch {
      // Processes end while we look.
      return [];
    }
  });
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    // No /proc: then nobody can be seen.
    return [];
  }
}
