// The health-check benchmark (`npm run bench:health`): checks per CPU second against keepalived's in one guest, lateness, and the longest
// pause when ten thousand targets are replaced. Exit code 1 when a bound is missed, 2 when it could not be measured.
// keepalived is the one in PATH, or $KEEPALIVED; without one only ours is measured.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { repositoryRoot, runInGuest, shellQuote } from '../../lab/boot.ts';
import { makeRunFolder } from '../../lab/suite.ts';

/** Checks per CPU second of the checking process, a sample each; one check that serves ten services counts ten times. */
interface Rates { readonly ours: number[]; readonly peer: number[] }

export interface Figures {
  readonly distinct: Rates;
  readonly shared: Rates;
  readonly latenessP99: number[];
  readonly pauseMs: number[];
  missed: number;
  failed: number;
}

const TIMEOUT_MS = 20 * 60_000;

function keepalived(): string {
  if (process.env.KEEPALIVED !== undefined) return process.env.KEEPALIVED;
  return (process.env.PATH ?? '').split(':').map((folder) => join(folder, 'keepalived')).find((path) => existsSync(path)) ?? '';
}

function listener(): string {
  const binary = join(repositoryRoot, '.lab/health-listener');
  mkdirSync(join(repositoryRoot, '.lab'), { recursive: true });
  execFileSync('cc', ['-O2', '-Wall', '-o', binary, join(import.meta.dirname, 'listener.c')], { stdio: 'inherit' });
  return binary;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** Samples were taken in turns: the ratio of each pair, and the median of those. */
function ratio({ ours, peer }: Rates): number {
  return median(peer.map((p, i) => ours[i]! / p));
}

function judge(figures: Figures): { what: string; value: number; bound: string; kept: boolean }[] {
  const rows = [
    { what: 'lateness p99 at 2,000 targets every 2 s, ms at most', value: median(figures.latenessP99), bound: '<= 250', kept: median(figures.latenessP99) <= 250 },
    { what: 'longest pause while 10,000 targets are replaced, ms', value: median(figures.pauseMs), bound: '<= 100', kept: median(figures.pauseMs) <= 100 },
    { what: 'checks that never were, or failed', value: figures.missed + figures.failed, bound: '= 0', kept: figures.missed + figures.failed === 0 },
    { what: 'checks per CPU second, distinct targets', value: median(figures.distinct.ours), bound: '', kept: true },
  ];
  if (figures.distinct.peer.length === 0) return rows;
  return [
    ...rows,
    { what: 'the same, keepalived', value: median(figures.distinct.peer), bound: '', kept: true },
    { what: 'ratio, distinct targets', value: ratio(figures.distinct), bound: '>= 1.5', kept: ratio(figures.distinct) >= 1.5 },
    { what: 'ratio, each target in 10 services', value: ratio(figures.shared), bound: '>= 5', kept: ratio(figures.shared) >= 5 },
  ];
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { samples: { type: 'string', default: '3' }, cpu: { type: 'string' } } });
  const peer = keepalived();
  if (peer === '') process.stdout.write('bench: no keepalived in PATH, and no $KEEPALIVED: only ours is measured\n');
  const workDirectory = makeRunFolder('bench-health');
  try {
    const result = await runInGuest({
      command: `node test/bench/health/guest.ts ${shellQuote(listener())} ${shellQuote(values.samples)} ${shellQuote(peer)}`,
      workDirectory, name: 'guest', cpu: Number(values.cpu ?? process.env.LAB_CPU ?? availableParallelism() - 1), memoryMegabytes: 1024, timeoutMs: TIMEOUT_MS, signal: new AbortController().signal,
      onOutput: (chunk) => process.stdout.write(chunk), onError: (chunk) => process.stderr.write(chunk),
    });
    if (result.code !== 0) {
      process.stderr.write(`bench: ${result.timedOut ? 'took too long' : `the guest ended with ${result.code}`}\n`);
      return 2;
    }
    const rows = judge(JSON.parse(readFileSync(join(workDirectory, 'health.json'), 'utf8')) as Figures);
    for (const { what, value, bound, kept } of rows) process.stdout.write(`${what.padEnd(56)} ${value.toFixed(value < 100 ? 1 : 0).padStart(8)} ${bound.padStart(8)}${kept ? '' : '  MISSED'}\n`);
    return rows.every(({ kept }) => kept) ? 0 : 1;
  } finally {
    rmSync(workDirectory, { recursive: true, force: true });
  }
}

if (import.meta.main) process.exitCode = await main();
