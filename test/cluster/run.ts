// Runs the tests against a real API server, test/cluster/*.test.ts, on the host, one file after the other: each has a
// cluster of its own, and two at once only make each other slow. `npm test` calls `runClusterTests` beside guests; alone:
//   node test/cluster/run.ts [FILE ...]
// It starts no server (the tests do) and builds nothing (tools/bootstrap.sh cluster does).

import { spawn } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { labFolder, missingPrograms } from './programs.ts';

const root = resolve(import.meta.dirname, '../..');
const report = join(labFolder, 'cluster-tests.tap');

export interface Count { passed: number; failed: number; skipped: number }

export interface RunOptions {
  readonly signal: AbortSignal;
  readonly print: (line: string) => void;
  /** Paths below the repository's root; default all. */
  readonly files?: readonly string[];
  /** A dot on stdout for each test. Default true; false beside others who print. */
  readonly dots?: boolean;
}

/** Resolves to what passed and failed; the whole report goes to .lab/cluster-tests.tap. */
export async function runClusterTests({ signal, print, dots = true, files = globSync('test/cluster/*.test.ts', { cwd: root }).sort() }: RunOptions): Promise<Count> {
  const missing = missingPrograms();
  if (missing.length > 0) {
    print(`FAILED ${missing.join(', ')} missing; type: sh tools/bootstrap.sh cluster`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
  mkdirSync(labFolder, { recursive: true });
  rmSync(report, { force: true });
  const code = await runNode([
    '--test', '--test-concurrency=1', '--test-timeout=1800000',
    ...(dots ? ['--test-reporter=dot', '--test-reporter-destination=stdout'] : []), '--test-reporter=tap', `--test-reporter-destination=${report}`, ...files,
  ], signal);
  const text = existsSync(report) ? readFileSync(report, 'utf8') : ''; // Interrupted before it began.
  const count = countTap(text, code);
  for (const line of text.split('\n')) if (/^\s*(not )?ok .*# (SKIP|TODO)/.test(line)) print(`SKIPPED ${line.trim()}`);
  if (count.failed > 0) print([...(dots ? [] : text.split('\n').filter((line) => /^\s*not ok /.test(line))), `whole report: ${report}`].join('\n'));
  return count;
}

/** Counts out of a TAP report of `node --test`; a run that failed, or in which nothing passed, has at least one failure. */
export function countTap(text: string, code: number): Count {
  const of = (what: string): number => Number(new RegExp(`^# ${what} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  const count = { passed: of('pass'), failed: of('fail') + of('cancelled'), skipped: of('skipped') + of('todo') };
  if (count.failed === 0 && (code !== 0 || count.passed === 0)) count.failed = 1;
  return count;
}

function runNode(args: readonly string[], signal: AbortSignal): Promise<number> {
  const child = spawn(process.execPath, args, {
    cwd: root, stdio: ['ignore', 'inherit', 'inherit'], signal, env: { ...process.env, NODE_COMPILE_CACHE: join(labFolder, 'compiled') },
  });
  return new Promise((done, failed) => {
    child.once('error', (error) => { if (signal.aborted) done(130); else failed(error); });
    child.once('close', (code) => done(code ?? 1));
  });
}

if (import.meta.main) {
  const interrupted = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => interrupted.abort());
  const print = (line: string): void => { process.stdout.write(`${line}\n`); };
  const files = process.argv.slice(2);
  const { passed, failed, skipped } = await runClusterTests({ signal: interrupted.signal, print, ...(files.length > 0 ? { files } : {}) });
  if (skipped > 0) print(`\n${skipped} SKIPPED, see above`);
  print(`\n${passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
}
