/**
 * `ipvs-operator status`: what a running (or ended) standalone last said of this host, joined with the kernel's counters of now where
 * that is permitted. Reads only: takes no lock, loads no module. The words are status-text.ts's.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { DrainRecords } from '../agent/drain.ts';
import { StateFolder } from '../agent/state-folder.ts';
import type { Program } from '../api/v1alpha1/program.ts';
import { ADDRESS_BITS } from '../ip/ip.ts';
import { openIpvs } from '../kernel/ipvs/client.ts';
import type { IpvsObservation } from '../kernel/ipvs/contract.ts';
import { DEFAULT_STATE } from '../standalone/options.ts';
import { UsageError, readArguments } from '../usage.ts';
import type { HostStatus } from '../standalone/status.ts';
import { print, readFormat } from './output.ts';
import { connectionsOf, realServersOf, servicesOf, type LiveRealServer } from './status-live.ts';
import { overviewText, serverOk, serverText, type StatusView } from './status-text.ts';

/** There is no status. */
const EXIT_NO_STATUS = 3;
/** There when ip_vs is loaded. */
const PROC_IP_VS = '/proc/net/ip_vs';
/** Clock ticks a second in /proc/PID/stat: USER_HZ, 100 on every architecture that Node runs on (proc(5)). */
const USER_HZ = 100;
/** /proc/stat's btime is whole seconds, and a file's time is the kernel's coarse clock. */
const START_SLACK_MS = 2_000;

export async function statusCommand(args: readonly string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = readArguments({
    args: [...args], strict: true, allowPositionals: true,
    options: { state: { type: 'string' }, output: { type: 'string', short: 'o' } },
  });
  if (positionals.length > 1) throw new UsageError(`status shows one VirtualServer, not ${positionals.length}`);
  const format = readFormat(values.output, ['text', 'json']);
  const state = values.state ?? DEFAULT_STATE;
  const read = readStatus(join(state, 'status.json'));
  if ('problem' in read) {
    const inCluster = existsSync(join(state, 'cluster.json')) ? '; this is the state folder of an agent: for a node of a cluster see kubectl get ivn, and ipvs-operator explain' : '';
    process.stderr.write(`${read.problem}${inCluster}\n`);
    return EXIT_NO_STATUS;
  }
  const { status, written } = read;
  const name = positionals[0] === undefined ? null : findServer(positionals[0], status);
  const now = Date.now();
  const { realServers, missing } = await joinKernel(status, state, name, now, signal);
  const view: StatusView = { status, ageSeconds: Math.max(0, (now - written) / 1000), running: isRunning(status.pid, written), realServers, missing };
  if (name === null) {
    await print(format === 'json' ? `${JSON.stringify(overviewJson(view))}\n` : overviewText(view));
    return status.ok ? 0 : 1;
  }
  await print(format === 'json' ? `${JSON.stringify(serverJson(view, name))}\n` : serverText(view, name));
  return serverOk(status.virtualServers[name]!) ? 0 : 1;
}

/** `written`: milliseconds since the epoch. */
function readStatus(file: string): { status: HostStatus; written: number } | { problem: string } {
  try {
    const written = statSync(file).mtimeMs;
    const status = JSON.parse(readFileSync(file, 'utf8')) as HostStatus;
    if (status.version !== 1) return { problem: `${file} is of another version (${String(status.version)}); use the ipvs-operator that wrote it` };
    return { status, written };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return { problem: `there is no status: ${file} does not exist; start standalone, or name its folder with --state` };
    if (code === 'EACCES' || code === 'EPERM') return { problem: `the status cannot be read: ${message}; run this as root, or as the user of standalone` };
    return { problem: `the status cannot be read: ${file}: ${message}` };
  }
}

function findServer(text: string, status: HostStatus): string {
  const names = Object.keys(status.virtualServers).sort();
  const found = text.includes('/') ? names.filter((n) => n === text) : names.filter((n) => n.endsWith(`/${text}`));
  if (found.length === 1) return found[0]!;
  if (found.length > 1) throw new UsageError(`${text} is ambiguous: ${found.join(', ')}`);
  const shown = `${names.slice(0, 20).join(', ') || 'none'}${names.length > 20 ? ', ...' : ''}`;
  throw new UsageError(`there is no VirtualServer ${text}; there ${names.length === 1 ? 'is' : 'are'}: ${shown}`);
}

type Seen = Pick<StatusView, 'realServers' | 'missing'>;

async function joinKernel(status: HostStatus, state: string, name: string | null, now: number, signal: AbortSignal): Promise<Seen> {
  const missing: string[] = [];
  const snapshot = StateFolder.view(state).read('snapshot');
  if (snapshot.state === 'corrupt') missing.push(`real servers: ${snapshot.problem}`);
  if (snapshot.state === 'missing' && Object.keys(status.virtualServers).length > 0) missing.push('real servers: there is no snapshot in the state folder');
  const all = snapshot.state === 'ok' ? (snapshot.value as { programs?: readonly Program[] }).programs ?? [] : [];
  const programs = all.filter((p) => name === null || p.owner === name);
  const directed = programs.filter((p) => ['director', 'both'].includes(status.virtualServers[p.owner]?.role ?? ''));
  const observation = directed.length > 0 ? await observe(directed, name !== null, missing, signal) : null;
  const realServers = new Map<string, readonly LiveRealServer[]>();
  const drains: DrainRecords = status.drains;
  for (const p of programs) realServers.set(p.owner, realServersOf(p, directed.includes(p) ? observation : null, drains, now));
  return { realServers, missing };
}

/** Null when the kernel cannot be read; then `missing` says why. */
async function observe(programs: readonly Program[], few: boolean, missing: string[], signal: AbortSignal): Promise<IpvsObservation | null> {
  const why = (text: string) => { missing.push(`connections: ${text}`); return null; };
  if (!existsSync(PROC_IP_VS)) return why('ip_vs is not loaded');
  try {
    const ipvs = openIpvs();
    try {
      const keys = programs.flatMap((p) => servicesOf(p).map(({ key }) => key));
      // Only the key of a service is looked at.
      const serviceOf = (key: (typeof keys)[number]) =>
        ({ ...key, scheduler: '', flags: 0, timeoutSeconds: 0, prefixLength: ADDRESS_BITS[key.family], engine: '' });
      const observation = few ? ipvs.read(keys.map(serviceOf)) : await ipvs.readAll(signal);
      if (!observation.complete) missing.push('connections: the table changed while it was read; some may be missing');
      return observation;
    } finally {
      ipvs.close();
    }
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return why(code === 'PERMISSION_DENIED' ? 'reading IPVS needs CAP_NET_ADMIN; run this as root' : message);
  }
}

/** Whether a process with this pid has been running since before the status was written: pids are used again. */
function isRunning(pid: number, written: number): boolean {
  try {
    // The second field is the program's name in parentheses, in which anything may stand.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
    const boot = Number(/^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))![1]);
    // Field 22 of proc(5); the first two are cut off.
    const started = (boot + Number(fields[22 - 3]) / USER_HZ) * 1000;
    return fields[0] !== 'Z' && started <= written + START_SLACK_MS;
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}

function overviewJson({ status, ageSeconds, running, realServers, missing }: StatusView): object {
  const virtualServers = Object.fromEntries(Object.entries(status.virtualServers)
    .map(([name, s]) => [name, { ...s, connections: connectionsOf(realServers.get(name) ?? []) }]));
  return { ...status, virtualServers, ageSeconds: Math.round(ageSeconds), running, missing };
}

function serverJson({ status, ageSeconds, running, realServers, missing }: StatusView, name: string): object {
  const server = status.virtualServers[name]!;
  return {
    name, ...server, ok: serverOk(server), realServers: realServers.get(name) ?? [], ageSeconds: Math.round(ageSeconds), running, missing,
  };
}
