// The product's processes as the cluster bench runs them, out of dist/: started in a guest, on a host of the topology or beside the
// API server, with what is needed to look at them from outside. It judges nothing.

import type { ChildProcess } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { inHost, killProcess, startProcess } from '../../lab/process.ts';
import { SYSTEM } from './workload.ts';

const program = resolve(import.meta.dirname, '../../../dist/main.js');

export interface Product {
  readonly name: string;
  readonly pid: number;
  readonly running: boolean;
  /** The end of what it printed. */
  tail(): string;
  /** A line of /proc/PID/status in MB of 10^6 bytes, as VmRSS. */
  memory(field: string): number;
  /** Seconds of CPU that it took so far. */
  cpuSeconds(): number;
  kill(): Promise<void>;
}

export interface Where {
  /** For kubeconfigs, states and logs. */
  readonly folder: string;
  readonly kubeconfig: string;
  /** More arguments for node, as --cpu-prof. */
  readonly nodeArguments?: readonly string[];
}

/** A kubeconfig for the stand-in, which asks nobody who he is. */
export function kubeconfigFor(folder: string, url: string): string {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'kubeconfig');
  writeFileSync(file, JSON.stringify({
    apiVersion: 'v1', kind: 'Config', clusters: [{ name: 'bench', cluster: { server: url } }], users: [{ name: 'bench', user: { token: 'bench' } }],
    contexts: [{ name: 'bench', context: { cluster: 'bench', user: 'bench' } }], 'current-context': 'bench',
  }));
  return file;
}

/** With leader election, as it is deployed. */
export function startController(where: Where, args: readonly string[] = []): Promise<Product> {
  return start(where, null, 'controller', ['controller', '--listen', '127.0.0.1:0', ...args]);
}

/** `host` null: in the root namespace. */
export function startAgent(where: Where, host: string | null, node: string): Promise<Product> {
  return start(where, host, `agent-${node}`, ['agent', '--node', node, '--state', join(where.folder, `state-${node}`), '--listen', '127.0.0.1:0']);
}

async function start({ folder, kubeconfig, nodeArguments = [] }: Where, host: string | null, name: string, args: readonly string[]): Promise<Product> {
  const log = join(folder, `${name}.log`);
  const argv = ['node', ...nodeArguments, program, ...args, '--kubeconfig', kubeconfig, '--namespace', SYSTEM, '--log-level', process.env['LAB_LOG'] ?? 'warn'];
  const child = startProcess(host === null ? argv : inHost(host, argv));
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk: Buffer) => appendFileSync(log, chunk));
  await new Promise<void>((done, failed) => { child.once('spawn', done); child.once('error', failed); });
  writeFileSync(log, '', { flag: 'a' });
  return {
    name, pid: child.pid!,
    get running() { return running(child); },
    tail: () => readFileSync(log, 'utf8').slice(-3000),
    memory: (field) => memoryOf(child.pid!, field),
    cpuSeconds: () => cpuSecondsOf(child.pid!),
    kill: async () => {
      if (!running(child)) return;
      const ended = new Promise<void>((done) => { child.once('close', () => done()); });
      // A profile is written by a process that ends in good order.
      if (nodeArguments.length > 0) child.kill('SIGTERM');
      else killProcess(child);
      await ended;
    },
  };
}

function running(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

function memoryOf(pid: number, field: string): number {
  const kibibytes = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kibibytes === undefined) throw new Error(`no ${field} of process ${pid}`);
  return Number(kibibytes) * 1024 / 1e6;
}

/** utime and stime of /proc/PID/stat, in ticks of 10 ms, behind the name in brackets. */
export function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
