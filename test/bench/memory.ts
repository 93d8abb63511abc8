// Resident memory of `ipvs-operator standalone` as it ships (dist/main.js): started on a folder of manifests, left alone until
// it has settled and some time more, then read from /proc/PID/status. Inside a guest only.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Samples } from './measures.ts';
import { addNamespace, dropNamespace } from './namespace.ts';
import { POOL, virtualServer } from './workload.ts';

const program = resolve(import.meta.dirname, '../../dist/main.js');
const SERVICES = 10_000;
const REALS = 10;
/** VirtualServers a file: 1.5 MB. */
const PER_FILE = 2_000;
/** From settled to the reading: several periodic read-backs of everything. */
const LEFT_ALONE_MS = 35_000;
const SETTLED_WITHIN_MS = 240_000;

/** Megabytes: 10^6 bytes, as the bound is meant. */
const toMegabytes = (kibibytes: number): number => kibibytes * 1024 / 1e6;

interface Running { readonly name: string; readonly state: string; readonly child: ChildProcess; readonly log: string }

/** `n` processes of each size, each in a namespace and with a state folder of its own, side by side: memory does not mind. */
export async function memorySamples(n: number): Promise<Record<string, Samples>> {
  return { 'memory-idle': await memoryOf('idle', n, 1), 'memory-100k': await memoryOf('100k', n, SERVICES) };
}

async function memoryOf(label: string, n: number, services: number): Promise<Samples> {
  const folder = `/run/bench-${label}`;
  const manifests = join(folder, 'manifests');
  mkdirSync(manifests, { recursive: true });
  writeFileSync(join(manifests, 'pool.yaml'), JSON.stringify(POOL));
  for (let from = 0; from < services; from += PER_FILE) {
    const items = Array.from({ length: Math.min(PER_FILE, services - from) }, (_, i) => JSON.stringify(virtualServer(from + i, REALS)));
    writeFileSync(join(manifests, `web-${from}.yaml`), items.join('\n---\n'));
  }
  const running: Running[] = [];
  try {
    // One after the other: loading side by side would only take turns on the guest's one CPU.
    for (let i = 0; i < n; i++) {
      running.push(start(folder, manifests, i));
      await settled(running.at(-1)!, services);
      process.stdout.write(`memory, ${label} ${i + 1}/${n}: settled at ${statusOf(running.at(-1)!, 'VmRSS').toFixed(1)} MB\n`);
    }
    await sleep(LEFT_ALONE_MS);
    const ours = running.map((one) => statusOf(one, 'VmRSS'));
    const info = {
      'peak (VmHWM)': running.map((one) => statusOf(one, 'VmHWM')),
      'of it mapped files (RssFile)': running.map((one) => statusOf(one, 'RssFile')),
    };
    process.stdout.write(`memory, ${label}: ${ours.map((mb) => mb.toFixed(1)).join(' ')} MB\n`);
    return { ours, peer: [], info };
  } finally {
    for (const one of running) one.child.kill('SIGKILL');
    await sleep(500);
    for (const [i, one] of running.entries()) await dropNamespace(one.name, i === running.length - 1);
    rmSync(folder, { recursive: true });
  }
}

function start(folder: string, manifests: string, i: number): Running {
  const name = addNamespace();
  const state = join(folder, `state-${i}`);
  const log = join(folder, `log-${i}`);
  for (const command of ['link add e0 type dummy', 'address add 10.99.255.254/14 dev e0', 'link set e0 up']) execFileSync('ip', ['-n', name, ...command.split(' ')]);
  const out = openSync(log, 'w');
  const child = spawn('nsenter', [`--net=/run/netns/${name}`, 'node', program, 'standalone', '--manifests', manifests, '--state', state, '--node', 'bench', '--role', 'director'], { stdio: ['ignore', out, out] });
  return { name, state, child, log };
}

async function settled({ state, child, log }: Running, services: number): Promise<void> {
  const deadline = performance.now() + SETTLED_WITHIN_MS;
  for (;;) {
    await sleep(500);
    const status = readStatus(state);
    if (status?.ok === true && Object.keys(status.virtualServers).length === services) return;
    const over = child.exitCode !== null || performance.now() > deadline;
    if (over) throw new Error(`standalone did not settle (exit ${child.exitCode}); ok: ${status?.ok}\n${readFileSync(log, 'utf8').slice(-3000)}`);
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

/** A line of /proc/PID/status, in megabytes. nsenter replaces itself, so the process id is the program's. */
function statusOf({ child }: Running, field: string): number {
  const kibibytes = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
  if (kibibytes === undefined) throw new Error(`no ${field} of process ${child.pid}`);
  return toMegabytes(Number(kibibytes));
}
