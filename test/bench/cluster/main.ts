// The command line of the cluster bench (`npm run bench:cluster`): boots guests, has everything measured there, prints the table, writes the
// section of docs/benchmarks.md. Exit code 1 when a "must" is missed, 2 when it could not be measured.

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { repositoryRoot, runInGuest } from '../../lab/boot.ts';
import { makeRunFolder, requireMemory } from '../../lab/suite.ts';
import { commit } from '../commit.ts';
import { withSection } from '../page.ts';
import { withCluster } from './beside.ts';
import { MEASURES, REALS, SIZES, type Results } from './measures.ts';
import { pipelineSamples } from './pipeline.ts';
import { SECTION, formatSection, formatTable, rowsOf, sampleLines, verdictOf } from './report.ts';
import { withWire } from './wire.ts';

const usage = `usage: npm run bench:cluster -- [options]
  --only 1,3         these rows only (1 to 7); docs/benchmarks.md stays as it is
  --quick            fewer samples and three directors, to see whether it works; the page stays as it is
  --page             with --only: writes the page all the same, with what earlier runs here measured of the other rows
  --minutes N        guests are ended then; what they have measured by then counts (default 40)
  --cpu N            one guest, on this CPU, for everything`;

/** What a guest measures, one guest a CPU. The rows of one guest never run at the same time. */
const SHARES: readonly (readonly number[])[] = [[7], [5, 6]];
/** Afterwards, with a stand-in and a controller beside the guest, which want a CPU themselves. */
const PIPELINE: readonly number[] = [1, 2];
/** And with an API server and a controller beside it. */
const BESIDE: readonly number[] = [3, 4];
const GUEST_MEMORY_MB = 6144;
const MINUTES = 40;
const page = join(repositoryRoot, 'docs/benchmarks.md');
/** What was measured here last, of each row. */
const lastFile = join(repositoryRoot, '.lab/bench-cluster.json');

interface Options { readonly quick: boolean; readonly minutes: number; readonly workDirectory: string; readonly signal: AbortSignal }

async function measure(rows: readonly number[], name: string, cpu: number, { quick, minutes, workDirectory, signal }: Options, beside = '', kernelArguments: readonly string[] = []): Promise<Results> {
  const result = await runInGuest({
    command: `node test/bench/cluster/guest.ts ${quick} ${rows.join(' ')}`, workDirectory, name, cpu, memoryMegabytes: GUEST_MEMORY_MB, timeoutMs: minutes * 60_000, kernelArguments, signal,
    environment: { ...(process.env['LAB_PROF'] ? { LAB_PROF: process.env['LAB_PROF'] } : {}), ...(beside === '' ? {} : { LAB_BESIDE: beside }) },
    onOutput: (chunk) => process.stdout.write(chunk), onError: (chunk) => process.stderr.write(chunk),
  });
  const file = join(workDirectory, name, 'results.json');
  if (result.code !== 0) process.stderr.write(`bench: ${name}: ${result.timedOut ? 'took too long' : `the guest ended with ${result.code}`}\n${result.code === null ? result.console : ''}\n`);
  if (!existsSync(file)) throw new Error(`rows ${rows.join(', ')} could not be measured`);
  return JSON.parse(readFileSync(file, 'utf8')) as Results;
}

/** Rows 1 and 2: a guest for each number of services, with a director alone. */
async function measurePipeline(rows: readonly number[], cpu: number, { quick, minutes, workDirectory, signal }: Options): Promise<Results> {
  const sizes = [...(rows.includes(1) ? [SIZES.usual] : []), ...(rows.includes(2) ? [SIZES.least, SIZES.most] : [])];
  const say = (text: string | Buffer): void => { process.stdout.write(text); };
  const prof = process.env['LAB_PROF'];
  let results: Results = { kernel: '', node: process.version, pipeline: {} };
  for (const services of sizes) {
    const profiled = prof === String(services);
    const profiles = join(workDirectory, 'profiles');
    const { samples, welcome } = await withWire((kernelArguments) => pipelineSamples({
      log: (line) => say(`${line}\n`), folder: workDirectory, services, reals: REALS, changes: quick ? 60 : 200, nodeArguments: profiled ? ['--cpu-prof', `--cpu-prof-dir=${profiles}`] : [],
      boot: (url, failed) => runInGuest({
        command: `node test/bench/cluster/director.ts ${url}`, workDirectory, name: `director-${services}`, cpu, memoryMegabytes: GUEST_MEMORY_MB, timeoutMs: minutes * 60_000, kernelArguments, signal: AbortSignal.any([signal, failed]),
        ...(profiled && { environment: { LAB_PROF: profiles } }), onOutput: say, onError: (chunk) => process.stderr.write(chunk),
      }),
    }));
    results = { ...results, kernel: welcome.kernel, pipeline: { ...results.pipeline, [services]: samples } };
  }
  return results;
}

/** The later of two counts. */
function merged(list: readonly Results[]): Results {
  return Object.assign({}, ...list, { pipeline: Object.assign({}, ...list.map((one) => one.pipeline)) as Results['pipeline'] }) as Results;
}

/** Out of what was measured here last, of each row. */
function writePage(loadBefore: number): void {
  const results = JSON.parse(readFileSync(lastFile, 'utf8')) as Results;
  const cpu = `${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${availableParallelism()} CPUs`;
  const section = formatSection(results, { date: new Date().toISOString().slice(0, 10), cpu, commit: commit(), load: [loadBefore, loadavg()[0]!] });
  writeFileSync(page, withSection(readFileSync(page, 'utf8'), SECTION, section));
  process.stdout.write('\nwrote docs/benchmarks.md\n');
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: 'string' }, quick: { type: 'boolean', default: false }, cpu: { type: 'string' }, page: { type: 'boolean', default: false }, minutes: { type: 'string' }, help: { type: 'boolean', short: 'h' } } });
  if (values.help) {
    process.stdout.write(`${usage}\n`);
    return 0;
  }
  const all = [...SHARES.flat(), ...PIPELINE, ...BESIDE];
  const only = values.only === undefined ? all : values.only.split(',').map(Number);
  if (only.some((number) => !all.includes(number))) throw new Error(`no such row\n${usage}`);
  const before = loadavg()[0]!;
  const interrupted = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => interrupted.abort());
  const alone = values.cpu !== undefined || availableParallelism() < SHARES.length;
  const shares = (alone ? [SHARES.flat()] : SHARES).map((share) => share.filter((row) => only.includes(row))).filter((share) => share.length > 0);
  requireMemory(shares.length * GUEST_MEMORY_MB / 2);
  const workDirectory = makeRunFolder('bench-cluster');
  try {
    const options: Options = { quick: values.quick, minutes: Number(values.minutes ?? MINUTES), workDirectory, signal: interrupted.signal };
    const taken = await Promise.all(shares.map((rows, i) => measure(rows, `guest-${i}`, values.cpu === undefined ? i : Number(values.cpu), options)));
    const cpu = Number(values.cpu ?? availableParallelism() - 1);
    const pipeline = PIPELINE.filter((row) => only.includes(row));
    if (pipeline.length > 0) taken.push(await measurePipeline(pipeline, cpu, options));
    const last = BESIDE.filter((row) => only.includes(row));
    if (last.length > 0) {
      taken.push(await withCluster(workDirectory, interrupted.signal, (file, kernelArguments) => measure(last, 'guest-beside', cpu, options, file, kernelArguments)));
    }
    if (interrupted.signal.aborted) return 130;
    const results = merged(taken);
    const rows = rowsOf(results);
    process.stdout.write(`\n${sampleLines(results).map((line) => line.join('  ')).join('\n')}\n\n${formatTable(rows)}\n`);
    const missing = MEASURES.flatMap(({ number, value }) => (only.includes(number) && value(results) === null ? [number] : []));
    if (!values.quick) {
      const last = existsSync(lastFile) ? [JSON.parse(readFileSync(lastFile, 'utf8')) as Results] : [];
      writeFileSync(lastFile, JSON.stringify(merged([...last, results])));
      // Not with what an earlier run measured of a row that failed in this one: it would look like today's.
      if (missing.length > 0) process.stdout.write(`\nrow ${missing.join(', ')} could not be measured: docs/benchmarks.md stays as it is\n`);
      else if (values.page || values.only === undefined) writePage(before);
    }
    if (missing.length > 0) return 2;
    return rows.some((row) => verdictOf(row) === 'MISSED') ? 1 : 0;
  } finally {
    if (!process.env['LAB_PROF']) rmSync(workDirectory, { recursive: true, force: true });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
