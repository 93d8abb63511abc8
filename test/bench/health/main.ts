// The health-check benchmark (`npm run bench:health`): checks per CPU second against keepalived's in one guest, lateness, the longest pause
// when ten thousand targets are replaced, and death to weight 0 in the kernel. `-- --page` writes the section of docs/benchmarks.md,
// `-- --samples N` takes more or fewer than 3. Exit code 1 when a bound is missed, 2 when it could not be measured.
// keepalived is the one in PATH, or $KEEPALIVED; without one only ours is measured.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { repositoryRoot, runInGuest, shellQuote } from '../../lab/boot.ts';
import { makeRunFolder } from '../../lab/suite.ts';
import { commit } from '../commit.ts';
import { withSection } from '../page.ts';
import { formatSection, formatTable, rowsOf, type Figures } from './report.ts';

const TIMEOUT_MS = 20 * 60_000;
const page = join(repositoryRoot, 'docs/benchmarks.md');

function keepalived(): string {
  if (process.env.KEEPALIVED !== undefined) return process.env.KEEPALIVED;
  return (process.env.PATH ?? '').split(':').map((folder) => join(folder, 'keepalived')).find((path) => existsSync(path)) ?? '';
}

/** A program in C beside this file. */
function compiled(name: string): string {
  const binary = join(repositoryRoot, `.lab/health-${name}`);
  mkdirSync(join(repositoryRoot, '.lab'), { recursive: true });
  execFileSync('cc', ['-O2', '-Wall', '-o', binary, join(import.meta.dirname, `${name}.c`)], { stdio: 'inherit' });
  return binary;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { samples: { type: 'string', default: '3' }, cpu: { type: 'string' }, page: { type: 'boolean', default: false } } });
  const peer = keepalived();
  if (peer === '') process.stdout.write('bench: no keepalived in PATH, and no $KEEPALIVED: only ours is measured\n');
  const before = loadavg()[0]!;
  const workDirectory = makeRunFolder('bench-health');
  try {
    const result = await runInGuest({
      command: `node test/bench/health/guest.ts ${[compiled('listener'), compiled('dying'), values.samples, peer].map(shellQuote).join(' ')}`,
      workDirectory, name: 'guest', cpu: Number(values.cpu ?? process.env.LAB_CPU ?? availableParallelism() - 1), memoryMegabytes: 1024, timeoutMs: TIMEOUT_MS, signal: new AbortController().signal,
      onOutput: (chunk) => process.stdout.write(chunk), onError: (chunk) => process.stderr.write(chunk),
    });
    if (result.code !== 0) {
      process.stderr.write(`bench: ${result.timedOut ? 'took too long' : `the guest ended with ${result.code}`}\n`);
      return 2;
    }
    const figures = JSON.parse(readFileSync(join(workDirectory, 'health.json'), 'utf8')) as Figures;
    const rows = rowsOf(figures);
    process.stdout.write(`\n${formatTable(rows)}\n`);
    if (values.page) {
      const cpu = `${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${availableParallelism()} CPUs`;
      const section = formatSection(figures, { date: new Date().toISOString().slice(0, 10), cpu, commit: commit(), load: [before, loadavg()[0]!] });
      writeFileSync(page, withSection(readFileSync(page, 'utf8'), '## Health checks', section));
      process.stdout.write('\nwrote docs/benchmarks.md\n');
    }
    return rows.every(({ kept }) => kept) ? 0 : 1;
  } finally {
    rmSync(workDirectory, { recursive: true, force: true });
  }
}

if (import.meta.main) process.exitCode = await main();
