// The health-check benchmark inside the guest: ours and keepalived in turns, against the same listener; leaves numbers in
// $LAB_WORK/health.json. It judges nothing.
//   node test/bench/health/guest.ts LISTENER DYING SAMPLES KEEPALIVED   (KEEPALIVED may be empty)

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { deaths } from './death.ts';
import type { Figures } from './report.ts';

const [listener = '', dying = '', samples = '3', keepalived = ''] = process.argv.slice(2);
const TARGETS = 2_000;
const SERVICES = 10;
const PERIOD_MS = 2_000;
const WARM_UP_MS = 8_000;
const MEASURED_MS = 12_000;
const TICKS_PER_SECOND = 100;

interface Sample { readonly checks: number; readonly cpuSeconds: number }
interface OurSample extends Sample { readonly latenessP99: number; readonly missed: number; readonly failed: number; readonly pauseMs: number }

function ours(targets: number): OurSample {
  const out = execFileSync('node', [join(import.meta.dirname, 'checking.ts'), targets, PERIOD_MS, WARM_UP_MS, MEASURED_MS].map(String), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  return JSON.parse(out.trim().split('\n').at(-1)!) as OurSample;
}

/** Real servers `targets` in each of `services`, as keepalived's own documentation writes them. */
function configuration(targets: number, services: number): string {
  const lines: string[] = [];
  for (let s = 0; s < services; s++) {
    lines.push(`virtual_server 10.99.0.${s + 1} 8080 {`, `delay_loop ${PERIOD_MS / 1_000}`, 'lb_algo rr', 'lb_kind DR', 'protocol TCP');
    for (let i = 0; i < targets; i++) lines.push(`real_server 127.1.${i >> 8}.${i & 255} 8080 {`, 'weight 1', 'TCP_CHECK {', 'connect_timeout 1', '}', '}');
    lines.push('}');
  }
  return `${lines.join('\n')}\n`;
}

/** Connections that were begun in this guest so far: /proc/net/snmp, ActiveOpens. */
function activeOpens(): number {
  const [names, values] = readFileSync('/proc/net/snmp', 'utf8').split('\n').filter((line) => line.startsWith('Tcp:')).map((line) => line.split(' '));
  return Number(values![names!.indexOf('ActiveOpens')]);
}

/** utime and stime of a process, in seconds. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function childOf(parent: number): number {
  const child = readdirSync('/proc').find((name) => /^\d+$/.test(name) && readFileSync(`/proc/${name}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')[1] === String(parent));
  if (child === undefined) throw new Error('keepalived has no checker process');
  return Number(child);
}

async function peers(targets: number, services: number): Promise<Sample> {
  const file = '/run/keepalived.conf';
  writeFileSync(file, configuration(targets, services));
  const process_ = spawn(keepalived, ['--check', '--dont-fork', '--use-file', file, '--pid', '/run/keepalived.pid', '--checkers_pid', '/run/checkers.pid'], { stdio: ['ignore', 'ignore', 'inherit'] });
  let checker = 0;
  try {
    // Its checks begin within a first delay_loop, and reading thousands of real servers takes it seconds.
    await sleep(WARM_UP_MS * 2);
    checker = childOf(process_.pid!);
    const before = { checks: activeOpens(), cpu: cpuOf(checker) };
    await sleep(MEASURED_MS);
    return { checks: activeOpens() - before.checks, cpuSeconds: cpuOf(checker) - before.cpu };
  } finally {
    // The parent first, or it would begin another checker. What they leave in the table is this guest's.
    const exit = once(process_, 'exit');
    process_.kill('SIGKILL');
    await exit;
    if (checker !== 0) process.kill(checker, 'SIGKILL');
    execFileSync('ipvsadm', ['-C']);
  }
}

/** "Keepalived v2.2.7 (01/16,2022)" on standard error. */
function versionOf(program: string): string {
  return program === '' ? '' : /v([0-9.]+)/.exec(execFileSync('sh', ['-c', `'${program}' --version 2>&1`], { encoding: 'utf8' }))?.[1] ?? '?';
}

const rate = ({ checks, cpuSeconds }: Sample, each = 1): number => (checks * each) / cpuSeconds;

execFileSync('sh', ['-c', 'ip link set lo up; modprobe -a ip_vs ip_vs_rr']);
const server = spawn(listener, { stdio: ['ignore', 'pipe', 'inherit'] });
await once(server.stdout, 'data');
const figures: Figures = {
  kernel: execFileSync('uname', ['-sr'], { encoding: 'utf8' }).trim(), keepalived: versionOf(keepalived), distinct: { ours: [], peer: [] }, shared: { ours: [], peer: [] }, latenessP99: [], pauseMs: [],
  beyondMs: [], missed: 0, failed: 0,
};
for (let i = 0; i < Number(samples); i++) {
  const all = ours(TARGETS);
  figures.distinct.ours.push(rate(all));
  figures.latenessP99.push(all.latenessP99);
  figures.pauseMs.push(all.pauseMs);
  figures.missed += all.missed;
  figures.failed += all.failed;
  process.stdout.write(`ours ${JSON.stringify(all)}\n`);
  // One check serves ten services: it counts ten times.
  const shared = ours(TARGETS / SERVICES);
  figures.shared.ours.push(rate(shared, SERVICES));
  process.stdout.write(`ours, shared ${JSON.stringify(shared)}\n`);
  figures.beyondMs.push(await deaths(dying));
  process.stdout.write(`deaths, ms beyond ${JSON.stringify(figures.beyondMs.at(-1)!.map(Math.round).sort((a, b) => a - b))}\n`);
  if (keepalived === '') continue;
  for (const [name, sample] of [['distinct', await peers(TARGETS, 1)], ['shared', await peers(TARGETS / SERVICES, SERVICES)]] as const) {
    figures[name].peer.push(rate(sample));
    process.stdout.write(`keepalived, ${name} ${JSON.stringify(sample)}\n`);
  }
}
server.kill();
writeFileSync(join(process.env.LAB_WORK!, 'health.json'), JSON.stringify(figures));
