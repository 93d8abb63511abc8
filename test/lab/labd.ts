// The lab's process inside a guest: takes scenarios from the shared list until none is left, and writes each result at
// once, so that a hang still reports the earlier ones. Several guests work on one list.
//   node test/lab/labd.ts run SHARED       SHARED/job.json names the scenarios, in order
//   node test/lab/labd.ts shell SHARED     one scenario's topology and a shell in it

import { spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Job } from './job.ts';
import { folderOf } from './cluster.ts';
import { loadScenarios } from './load.ts';
import type { Scenario } from './lab.ts';
import { prepareGuest } from './prepare-guest.ts';
import { runScenario, scenarioFolder } from './run-scenario.ts';

prepareGuest();
const [mode, shared] = process.argv.slice(2) as [string, string];
const job = JSON.parse(readFileSync(join(shared, 'job.json'), 'utf8')) as Job;
const known = (await loadScenarios()).scenarios;

function find(name: string): Scenario {
  const found = known.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no scenario ${name}`);
  return found;
}

/** Claims a scenario for this guest; false when another guest has it. Making a folder is atomic on the host. */
function claim(name: string): boolean {
  try {
    mkdirSync(join(shared, 'claims', name));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** A log that the host sees line by line: each append opens and closes the file, which is what flushes it. */
function logTo(file: string): (line: string) => void {
  const started = performance.now();
  writeFileSync(file, '');
  return (line) => appendFileSync(file, `${((performance.now() - started) / 1000).toFixed(2).padStart(7)}  ${line}\n`);
}

async function run(): Promise<void> {
  for (const name of job.scenarios) {
    if (!claim(name)) continue;
    process.stdout.write(`${JSON.stringify({ started: name })}\n`);
    const scenario = find(name);
    const log = logTo(join(shared, `${name}.log`));
    log(`${scenario.name}: ${scenario.about}`);
    const result = await runScenario(scenario, log, job.slowness);
    log(result.passed ? `passed after ${result.milliseconds} ms` : 'failed');
    const file = join(shared, 'results', `${name}.json`);
    writeFileSync(`${file}.tmp`, JSON.stringify(result));
    renameSync(`${file}.tmp`, file);
    process.stdout.write(`${JSON.stringify({ ended: name })}\n`);
  }
}

async function shell(): Promise<void> {
  const scenario = find(job.scenarios[0]!);
  const hosts = Object.keys(scenario.topology.hosts);
  const log = (line: string): void => { if (job.runFirst) process.stdout.write(`${line}\n`); };
  const open = async (): Promise<void> => {
    const rc = join('/run', 'lab-shell.rc');
    writeFileSync(rc, [
      'on() { local host=$1; shift; if [ $# -eq 0 ]; then set -- bash --norc; fi; PS1="$host# " nsenter --net=/run/netns/$host "$@"; }',
      'ipvs-operator() { node dist/main.js "$@"; }',
      // Where a scenario with an API server has run before.
      `kubectl() { .lab/bin/kubectl --kubeconfig ${folderOf(scenarioFolder(scenario.name))}/admin.kubeconfig "$@"; }`,
      `complete -W '${hosts.join(' ')}' on`,
      'PS1="lab# "',
      `echo "topology ${scenario.topology.name}; hosts: ${hosts.join(' ')}"`,
      'echo "  on HOST COMMAND   run a command in a host      on HOST   a shell in a host      exit   the end"',
    ].join('\n'));
    await new Promise((done) => spawn('bash', ['--rcfile', rc, '-i'], { stdio: 'inherit' }).once('close', done));
  };
  // The shell takes as long as the person wants; only the scenario in front of it has a time limit.
  await runScenario(job.runFirst ? scenario : { ...scenario, run: async () => {} }, log, job.slowness, open);
}

await (mode === 'shell' ? shell() : run());
process.exit(0);
