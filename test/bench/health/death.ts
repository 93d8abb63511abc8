// From the death of a real server to weight 0 in the kernel, with the product as it ships (dist/main.js standalone) and thousands of others
// that are checked meanwhile. Each victim dies right after a check of it has passed: the worst moment there is. Inside a guest only.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { API_VERSION } from '../../../src/api/v1alpha1/index.ts';
import { fromBigInt } from '../../../src/ip/ip.ts';
import { openIpvs } from '../../../src/kernel/ipvs/client.ts';
import type { Service } from '../../../src/kernel/ipvs/types.ts';

const program = resolve(import.meta.dirname, '../../../dist/main.js');
/** Real servers in all, checked every two seconds. */
const TARGETS = 2_000;
const VICTIMS = 100;
const PER_SERVICE = 100;
const PERIOD_SECONDS = 2;
const FALL = 3;
const KILL_EVERY_MS = 200;
/** Between two readings of the victims' service: what is measured is that much too long at worst. */
const POLL_MS = 4;
const LOST_MS = 60_000;
const SETTLED_WITHIN_MS = 60_000;
/** 10.3.0.0 are the victims, 10.2.0.0 the others: `listener` answers for those. */
const FIRST = { victim: 0x0a03_0001n, other: 0x0a02_0001n } as const;
const PORT = { victim: 8081, other: 8080 } as const;

const address = (first: bigint, i: number): string => fromBigInt(first + BigInt(i), 'IPv4');
const vipOf = (s: number): string => `10.96.0.${s + 1}`;

function manifests(): string {
  const pool = {
    apiVersion: API_VERSION, kind: 'VIPPool', metadata: { name: 'bench' },
    spec: { blocks: [{ cidr: '10.96.0.0/24' }], default: true, allowedNamespaces: { all: true }, allowStaticBackendCIDRs: ['10.2.0.0/15'] },
  };
  const servers = Array.from({ length: TARGETS / PER_SERVICE }, (_, s) => {
    const [first, port] = s === 0 ? [FIRST.victim, PORT.victim] : [FIRST.other + BigInt((s - 1) * PER_SERVICE), PORT.other];
    return {
      apiVersion: API_VERSION, kind: 'VirtualServer', metadata: { name: `web-${s}`, namespace: 'bench' },
      spec: {
        vip: { addresses: [vipOf(s)] }, mode: 'NAT', nat: { sourceAddress: 'Preserve' }, scheduler: { name: 'rr' }, ports: [{ port: 80, targetPort: port }],
        healthCheck: { type: 'TCP', periodSeconds: PERIOD_SECONDS, timeoutSeconds: 1, riseCount: 2, fallCount: FALL },
        backends: [{ static: { endpoints: Array.from({ length: PER_SERVICE }, (_, i) => ({ address: address(first, i) })) } }],
      },
    };
  });
  return [pool, ...servers].map((one) => JSON.stringify(one)).join('\n---\n');
}

const SERVICE: Service = {
  family: 'IPv4', protocol: 'TCP', address: vipOf(0), port: 80, fwmark: 0, scheduler: 'rr', flags: 0, timeoutSeconds: 0, prefixLength: 32, engine: '',
};

/** CLOCK_MONOTONIC, in milliseconds. */
const monotonic = (): number => Number(process.hrtime.bigint()) / 1e6;

/** Milliseconds of each death to weight 0 beyond fallCount × period: lateness, the last check, the decision and the kernel. `dying` is the program of dying.c. */
export async function deaths(dying: string): Promise<number[]> {
  const folder = '/run/bench-death';
  mkdirSync(join(folder, 'manifests'), { recursive: true });
  writeFileSync(join(folder, 'manifests/all.yaml'), manifests());
  execFileSync('sh', ['-c', 'ip link add e0 type dummy; ip address add 10.96.255.254/16 dev e0; ip link set e0 up; ip route add local 10.2.0.0/15 dev lo']);
  const victims = spawn(dying, [address(FIRST.victim, 0), PORT.victim, VICTIMS].map(String), { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface(victims.stdout);
  await once(lines, 'line');
  const died = new Map<number, number>();
  lines.on('line', (line) => { const [i, at] = line.split(' ').map(Number); died.set(i!, at! / 1e6); });
  const log = join(folder, 'log');
  const out = openSync(log, 'w');
  const state = join(folder, 'state');
  const product = spawn('node', [program, 'standalone', '--manifests', join(folder, 'manifests'), '--state', state, '--node', 'bench', '--role', 'director'], { stdio: ['ignore', out, out] });
  const ipvs = openIpvs();
  try {
    await settled(state, () => readFileSync(log, 'utf8').slice(-3_000));
    // Every first check, and the second, which are not on the schedule yet.
    await sleep(3 * PERIOD_SECONDS * 1_000);
    const zero = new Map<number, number>();
    const began = monotonic();
    for (let sentenced = 0; zero.size < VICTIMS;) {
      for (; sentenced < VICTIMS && monotonic() >= began + sentenced * KILL_EVERY_MS; sentenced++) victims.stdin.write(`${sentenced}\n`);
      await sleep(POLL_MS);
      const [read] = [...ipvs.read([SERVICE]).services.values()];
      const at = monotonic();
      for (let d = 0; d < (read?.destinations.length ?? 0); d++) {
        const victim = Number(BigInt(numberOf(read!.destinations.get(d).address)) - FIRST.victim);
        if (read!.destinations.weight(d) === 0 && !zero.has(victim)) zero.set(victim, at);
      }
      if (at > began + VICTIMS * KILL_EVERY_MS + LOST_MS) throw new Error(`of ${VICTIMS} real servers ${died.size} died and ${zero.size} have weight 0\n${readFileSync(log, 'utf8').slice(-3_000)}`);
    }
    return [...zero].map(([victim, at]) => {
      const death = died.get(victim);
      if (death === undefined) throw new Error(`real server ${victim} has weight 0 and lives`);
      return at - death - FALL * PERIOD_SECONDS * 1_000;
    });
  } finally {
    ipvs.close();
    const exits = [product, victims].map((one) => once(one, 'exit'));
    product.kill('SIGKILL');
    victims.kill('SIGKILL');
    await Promise.all(exits);
    execFileSync('sh', ['-c', 'ipvsadm -C; ip route del local 10.2.0.0/15 dev lo; ip link del e0']);
    rmSync(folder, { recursive: true });
  }
}

function numberOf(text: string): number {
  return text.split('.').reduce((n, part) => n * 256 + Number(part), 0);
}

/** Until every VirtualServer is served. */
async function settled(state: string, log: () => string): Promise<void> {
  for (const deadline = performance.now() + SETTLED_WITHIN_MS; ; await sleep(500)) {
    const status = readStatus(state);
    if (status?.ok === true && Object.keys(status.virtualServers).length === TARGETS / PER_SERVICE) return;
    if (performance.now() > deadline) throw new Error(`standalone did not settle\n${log()}`);
  }
}

function readStatus(state: string): { ok: boolean; virtualServers: Record<string, unknown> } | null {
  try {
    return JSON.parse(readFileSync(join(state, 'status.json'), 'utf8')) as { ok: boolean; virtualServers: Record<string, unknown> };
  } catch (error) {
    // Not there yet. It is replaced whole, so it is never half there.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
