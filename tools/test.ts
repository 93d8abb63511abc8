// What `npm test` runs after tools/bootstrap.sh: type check, unit tests, then side by side tests against a real API server on the host, and
// kernel tests and scenarios in lab guests (User-Mode Linux, QEMU with Debian's kernel for those tagged nft).
// `npm run test:unit` and `npm run test:cluster` run a part of it, `npm run test:long` what takes too long for every change. Each ends with one line: N passed, N failed.
// Nothing is skipped without a word: a test that was skipped is printed and counted in that line's neighbour.

import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { countTap, runClusterTests } from '../test/cluster/run.ts';
import type { Scenario } from '../test/lab/lab.ts';
import { chooseScenarios, labFolder, runSuite } from '../test/lab/suite.ts';

const root = resolve(import.meta.dirname, '..');
const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => interrupted.abort());
mkdirSync(labFolder, { recursive: true });

interface Count { passed: number; failed: number; skipped: number }
const total: Count = { passed: 0, failed: 0, skipped: 0 };

function add(count: Count): void {
  total.passed += count.passed;
  total.failed += count.failed;
  total.skipped += count.skipped;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Runs a program with its output on ours; resolves to its exit code. */
function run(program: string, args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<number> {
  const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], signal: interrupted.signal, env: { ...process.env, ...environment } });
  return new Promise((done, failed) => {
    child.once('error', (error) => { if (interrupted.signal.aborted) done(130); else failed(error); });
    child.once('close', (code) => done(code ?? 1));
  });
}

async function phase(name: string, work: () => Promise<Count>): Promise<void> {
  print(`\n== ${name}`);
  const started = performance.now();
  const count = await work();
  add(count);
  print(`== ${name}: ${count.passed} passed, ${count.failed} failed in ${((performance.now() - started) / 1000).toFixed(0)} s`);
}

async function types(): Promise<Count> {
  const code = await run(join(root, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.json']);
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 };
}

/**
 * The unit tests as processes side by side: two that compute, about equally long, and four that mostly wait (for real Leases, for real servers
 * that do not answer), which cost the others next to nothing. All files of one share a process: most of the time of a small
 * test file is the start of a process that reads half of the sources.
 */
const UNIT_TESTS: readonly (readonly string[])[] = [
  ['test/unit/controller/**/*.test.ts'],
  ['test/unit/{api,bench,cli,deploy,ip,kernel,lab,tools}/**/*.test.ts', 'test/unit/*.test.ts'],
  ['test/unit/{kube,observe}/**/*.test.ts', 'test/unit/agent/cluster/{faults,hostile.property}.test.ts'],
  ['test/unit/agent/cluster/!(faults|hostile.property|told-file.property).test.ts', 'test/unit/agent/ownership/**/*.test.ts'],
  ['test/unit/agent/*.test.ts', 'test/unit/agent/health/!(checker-sockets).test.ts', 'test/unit/agent/cluster/told-file.property.test.ts'],
  // In this order: the first counts what is open.
  ['test/unit/agent/health/checker-sockets.test.ts', 'test/unit/standalone/**/*.test.ts'],
];

/**
 * Six processes read much the same sources, and a third of their time went into taking the types out of them. What tests make is soon garbage:
 * with the usual young generation (16 MB) a twelfth of their time is collecting it.
 */
const COMPILED_ONCE = { NODE_COMPILE_CACHE: join(labFolder, 'compiled') };

/** Many tests keep files of which each write has to be on the disk (fsync): in memory where that has room, which costs a test nothing that it tests. */
const MEMORY = '/dev/shm';
const SCRATCH_MB = 512;

function scratchFolder(): { readonly path: string; [Symbol.dispose](): void } {
  const room = existsSync(MEMORY) ? statfsSync(MEMORY) : { bavail: 0, bsize: 0 };
  const path = mkdtempSync(join((room.bavail * room.bsize) / 2 ** 20 > SCRATCH_MB ? MEMORY : tmpdir(), 'unit-tests-'));
  return { path, [Symbol.dispose]: () => { rmSync(path, { recursive: true, force: true }); } };
}

async function units(): Promise<Count> {
  using scratch = scratchFolder();
  const seed = process.env['PROPERTY_SEED'] ?? String(randomInt(2 ** 31));
  print(`property tests: PROPERTY_SEED=${seed}`);
  const counts = await Promise.all(UNIT_TESTS.map(async (patterns, i) => {
    const report = join(labFolder, `unit-tests-${i + 1}.tap`);
    rmSync(report, { force: true });
    const code = await run(process.execPath, [
      '--max-semi-space-size=64', '--always-sparkplug',
      '--test-reporter=dot', '--test-reporter-destination=stdout', '--test-reporter=tap', `--test-reporter-destination=${report}`, './test/unit/run.ts', ...patterns,
    ], { ...COMPILED_ONCE, TMPDIR: scratch.path, PROPERTY_SEED: seed });
    const text = existsSync(report) ? readFileSync(report, 'utf8') : '';
    const count = countTap(text, code);
    for (const line of text.split('\n')) if (/^\s*(not )?ok .*# (SKIP|TODO)/.test(line)) print(`SKIPPED ${line.trim()}`);
    if (count.failed > 0) print(`\nwhole report: ${report}\n${text.split('\n').filter((line) => /^\s*not ok |^# (Error|Warning): |\{ seed: -?\d+, path: /.test(line)).join('\n')}`);
    return count;
  }));
  // A folder that no pattern meets would be tested by nobody.
  const met = new Set(UNIT_TESTS.flat().flatMap((pattern) => globSync(pattern, { cwd: root })));
  const missed = globSync('test/unit/**/*.test.ts', { cwd: root }).filter((file) => !met.has(file));
  for (const file of missed) print(`FAILED ${file} is in no group of tools/test.ts`);
  const sum = (of: keyof Count): number => counts.reduce((n, count) => n + count[of], 0);
  return { passed: sum('passed'), failed: sum('failed') + missed.length, skipped: sum('skipped') };
}

async function guests(wanted: (scenario: Scenario) => boolean, first?: () => Promise<unknown>): Promise<Count> {
  const { chosen: all, broken } = await chooseScenarios([]);
  const chosen = all.filter(wanted);
  const results = await runSuite(chosen, { backend: 'auto', signal: interrupted.signal, print, ...(first === undefined ? {} : { first }) });
  for (const { file, error } of broken) print(`FAILED cannot load test/lab/scenarios/${file}: ${error}`);
  const count: Count = { passed: 0, failed: broken.length, skipped: 0 };
  for (const result of results) {
    count.passed += result.count.passed;
    count.failed += result.passed ? 0 : Math.max(1, result.count.failed);
    count.skipped += result.count.skipped;
  }
  return count;
}

/** Tests on the host wait for half of their time, as guests do; beside each other they fill the CPUs. */
async function clusterTestsAndGuests(wanted: (scenario: Scenario) => boolean): Promise<Count> {
  let host: Count = { passed: 0, failed: 1, skipped: 0 };
  const inGuests = await guests(wanted, async () => {
    const started = performance.now();
    host = await clusterTests(false, { dots: false })();
    const seconds = ((performance.now() - started) / 1000).toFixed(1).padStart(6);
    print(`${host.failed > 0 ? 'FAILED' : 'ok    '} ${seconds} s             cluster tests against a real API server, on the host  (${host.passed} tests passed${host.failed > 0 ? `, ${host.failed} failed` : ''})`);
  });
  return { passed: host.passed + inGuests.passed, failed: host.failed + inGuests.failed, skipped: host.skipped + inGuests.skipped };
}

const isLong = (file: string): boolean => file.endsWith('.long.test.ts');
const clusterTests = (long: boolean, more: { readonly dots?: boolean } = {}) => (): Promise<Count> =>
  runClusterTests({ ...more, signal: interrupted.signal, print, files: globSync('test/cluster/*.test.ts', { cwd: root }).filter((file) => isLong(file) === long).sort() });
const takesLong = (scenario: Scenario): boolean => scenario.tags?.includes('long') === true;
const needsCluster = (scenario: Scenario): boolean => scenario.tags?.includes('cluster') === true;

/**
 * Without a word: everything but what is long. `unit`: what needs neither lab nor server. `cluster`: what needs an API server, whose programs are built
 * once, in six to ten minutes. `long`: the rest.
 */
const phases: Readonly<Record<string, readonly (readonly [name: string, work: () => Promise<Count>])[]>> = {
  '': [
    ['types', types],
    ['unit tests', units],
    ['kernel tests and scenarios in lab guests, cluster tests on the host', () => clusterTestsAndGuests((scenario) => !takesLong(scenario))],
  ],
  unit: [['unit tests', units]],
  cluster: [
    ['scenarios with an API server in lab guests, cluster tests on the host', () => clusterTestsAndGuests((scenario) => needsCluster(scenario) && !takesLong(scenario))],
  ],
  long: [
    ['long cluster tests against a real API server', clusterTests(true)],
    ['long scenarios, and twenty seeds of kill -9', () => {
      process.env['LAB_SEEDS'] ??= '20';
      return guests(takesLong);
    }],
  ],
};
const chosen = phases[process.argv[2] ?? ''];
if (chosen === undefined) throw new Error(`usage: node tools/test.ts [${Object.keys(phases).filter(Boolean).join(' | ')}]`);
for (const [name, work] of chosen) if (!interrupted.signal.aborted) await phase(name, work);
if (interrupted.signal.aborted) {
  print('\ninterrupted');
  total.failed += 1;
}
print(total.skipped > 0 ? `\n${total.skipped} SKIPPED, see above` : '');
print(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed > 0 ? 1 : 0;
