// The benchmark's command line (`npm run bench`): boots one guest, has everything measured there, prints the table, writes
// docs/benchmarks.md. Exit code 1 when a "must" is missed, 2 when it could not be measured.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { repositoryRoot, runInGuest, shellQuote } from '../lab/boot.ts';
import { makeRunFolder } from '../lab/suite.ts';
import { commit } from './commit.ts';
import { MEASURES, type Results } from './measures.ts';
import { withFirstPart } from './page.ts';
import { formatDocument, formatTable, rowsOf } from './report.ts';

const usage = `usage: npm run bench -- [options]
  --only 1,6         these rows only (1 to 8); docs/benchmarks.md stays as it is
  --samples N        samples of each row, at least 5 for the page (default 5)
  --cpu N            CPU to pin the guest to`;

const GUEST_MEMORY_MB = 6144;
const TIMEOUT_MS = 30 * 60_000;
const LEAST_SAMPLES = 5;
const page = join(repositoryRoot, 'docs/benchmarks.md');

/** Compiles the C peer, once for each version of it. */
function perAck(): string {
  const source = join(import.meta.dirname, 'per-ack.c');
  const binary = join(repositoryRoot, '.lab/per-ack');
  if (existsSync(binary) && statSync(binary).mtimeMs > statSync(source).mtimeMs) return binary;
  mkdirSync(join(repositoryRoot, '.lab'), { recursive: true });
  if (!has('cc')) installCompiler();
  execFileSync('cc', ['-O2', '-Wall', '-o', binary, source], { stdio: 'inherit' });
  return binary;
}

function has(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, program)));
}

function installCompiler(): void {
  process.stdout.write('bench: installing gcc for the C peer\n');
  const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  const [command = '', ...args] = [...asRoot, 'apt-get', 'install', '-y', '--no-install-recommends', 'gcc', 'libc6-dev'];
  try {
    execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
  } catch (cause) {
    throw new Error('the C peer needs a compiler; as root, type: apt-get install -y --no-install-recommends gcc libc6-dev', { cause });
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: 'string' }, samples: { type: 'string' }, cpu: { type: 'string' }, help: { type: 'boolean', short: 'h' } } });
  if (values.help) {
    process.stdout.write(`${usage}\n`);
    return 0;
  }
  const all = [...new Set(MEASURES.map(({ number }) => number))];
  const only = values.only === undefined ? all : values.only.split(',').map(Number);
  const samples = Number(values.samples ?? LEAST_SAMPLES);
  if (only.some((number) => !all.includes(number)) || !Number.isInteger(samples) || samples < 1) throw new Error(`no such row or number of samples\n${usage}`);
  const before = loadavg()[0]!;
  if (before > availableParallelism()) process.stdout.write(`bench: the machine is busy (load ${before.toFixed(1)}); ratios hold, times and memory of CPU-bound rows suffer\n`);

  const interrupted = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => interrupted.abort());
  const workDirectory = makeRunFolder('bench');
  try {
    const result = await runInGuest({
      command: `node test/bench/guest.ts ${shellQuote(perAck())} ${samples} ${only.join(' ')}`,
      workDirectory, name: 'guest', cpu: Number(values.cpu ?? availableParallelism() - 1), memoryMegabytes: GUEST_MEMORY_MB, timeoutMs: TIMEOUT_MS, signal: interrupted.signal,
      onOutput: (chunk) => process.stdout.write(chunk), onError: (chunk) => process.stderr.write(chunk),
    });
    if (interrupted.signal.aborted) return 130;
    if (result.code !== 0) {
      process.stderr.write(`bench: ${result.timedOut ? 'took too long' : `the guest ended with ${result.code}`}\n${result.code === null ? result.console : ''}\n`);
      return 2;
    }
    const results = JSON.parse(readFileSync(join(workDirectory, 'results.json'), 'utf8')) as Results;
    const rows = rowsOf(results);
    process.stdout.write(`\n${formatTable(rows)}\n`);
    if (values.only === undefined && samples >= LEAST_SAMPLES) {
      const cpu = `${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${availableParallelism()} CPUs`;
      const document = formatDocument(rows, results, { date: new Date().toISOString().slice(0, 10), cpu, commit: commit(), load: [before, loadavg()[0]!] });
      writeFileSync(page, withFirstPart(readFileSync(page, 'utf8'), document));
      process.stdout.write('\nwrote docs/benchmarks.md\n');
    }
    return rows.some((row) => row.verdict === 'MISSED') ? 1 : 0;
  } finally {
    rmSync(workDirectory, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
