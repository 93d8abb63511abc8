// Makes a scenario of each file test/kernel/**/*.test.ts: `node --test` in a fresh network namespace with `lo` up.
// Files in a folder whose name ends in `-nft` carry the tag `nft` and so run on Debian's kernel.

import { globSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryRoot } from './boot.ts';
import { scenario, type Scenario, type TestCount } from './lab.ts';
import { compiledOnce } from './process.ts';
import type { Topology } from './topology.ts';

const folder = 'test/kernel';
const alone: Topology = { name: 'alone', bridges: [], hosts: { box: { links: {} } } };

/** One scenario a file, tagged `kernel`, named after its path: kernel-net-sysctl. */
export function kernelTestScenarios(): Scenario[] {
  return globSync(`${folder}/**/*.test.ts`, { cwd: repositoryRoot }).sort().map((file) => {
    const path = file.slice(folder.length + 1).replace(/\.test\.ts$/, '');
    return scenario({
      name: `kernel-${path.replaceAll('/', '-')}`,
      about: `the tests of ${file}`,
      topology: alone,
      tags: ['kernel', ...(/-nft(\/|$)/.test(path) ? ['nft'] : [])],
      timeoutSeconds: 240,
      run: (lab) => runFile(file, lab.log, (command) => lab.host('box').run(command, { timeoutMs: 235_000, environment: compiledOnce })),
    });
  });
}

async function runFile(file: string, log: (line: string) => void, run: (command: string) => Promise<{ code: number; stdout: string; stderr: string }>): Promise<TestCount> {
  const { code, stdout, stderr } = await run(`cd ${join(repositoryRoot)} && exec node --test --test-isolation=none --test-reporter=tap ${file}`);
  const count = (what: string): number => Number(new RegExp(`^# ${what} (\\d+)$`, 'm').exec(stdout)?.[1] ?? 0);
  const passed = count('pass');
  const failed = count('fail') + count('cancelled');
  const skipped = count('skipped') + count('todo');
  if (skipped > 0) log(`${skipped} tests were skipped`);
  if (code !== 0 || failed > 0 || passed === 0) {
    const failures = [...stdout.matchAll(/^ *not ok \d+ - (.*)$(?:(?!^ *(?:not )?ok )[^])*?^ *error: (.*(?:\n.*){3})/gm)]
      .map(([, name, error]) => `${name}\n    ${error!.replace(/\s*\n\s*/g, ' ')}`);
    throw Object.assign(new Error(`${failed} failed, ${passed} passed in ${file} (exit ${code})\n${failures.join('\n')}\n${stderr.slice(-3000)}`), { count: { passed, failed: Math.max(failed, 1), skipped } });
  }
  return { passed, failed, skipped };
}
