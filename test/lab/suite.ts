// Runs scenarios in guests, from the host: shares them out, watches for hangs, prints progress, keeps logs.
// What happens inside a guest is labd.ts.

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { missingPrograms } from '../cluster/programs.ts';
import { repositoryRoot, runInGuest, type Backend, type GuestResult } from './boot.ts';
import { loadScenarios } from './load.ts';
import type { Scenario } from './lab.ts';
import type { Job } from './job.ts';
import { defaultTimeoutSeconds, type ScenarioResult } from './run-scenario.ts';

export const labFolder = join(repositoryRoot, '.lab');

const oneFailed = { passed: 0, failed: 1, skipped: 0 };

/** Time a guest gets on top of a scenario's own, for teardown, before it is killed. */
const graceMs = 30_000;

/** The CPU of the first guest: LAB_CPU, for two runs side by side on one machine. */
export const firstCpu = Number(process.env['LAB_CPU'] ?? 0);

export interface SuiteOptions {
  /** `auto`: QEMU for scenarios tagged `nft`, User-Mode Linux for all others. */
  readonly backend: Backend | 'auto';
  readonly signal: AbortSignal;
  readonly print: (line: string) => void;
  /** At most this many guests; the number of CPUs (up to 4) unless told. */
  readonly guests?: number;
}

/** Which scenarios a list of words means: each is a name, or else a tag, or else the beginning of names. No words: all. */
export function select(scenarios: readonly Scenario[], words: readonly string[]): Scenario[] {
  const meant = new Set(words.flatMap((word) => [
    scenarios.filter((one) => one.name === word),
    scenarios.filter((one) => one.tags?.includes(word)),
    scenarios.filter((one) => one.name.startsWith(word)),
  ].find((found) => found.length > 0) ?? []));
  return words.length === 0 ? [...scenarios] : scenarios.filter((one) => meant.has(one));
}

/** A fresh folder that host and guests share. */
export function makeRunFolder(label: string): string {
  const runs = join(labFolder, 'runs');
  mkdirSync(runs, { recursive: true });
  return mkdtempSync(join(runs, `${label}-`));
}

/** Runs scenarios to their end and resolves to one result each, in their order. */
export async function runSuite(scenarios: readonly Scenario[], options: SuiteOptions): Promise<ScenarioResult[]> {
  if (scenarios.some(needsCluster)) provideClusterPrograms();
  const needsQemu = (one: Scenario): boolean => options.backend === 'qemu' || (options.backend === 'auto' && one.tags?.includes('nft') === true);
  const results: ScenarioResult[] = [];
  // One kind of guest after the other: a guest has one size, and QEMU wants all CPUs for itself.
  for (const backend of ['uml', 'qemu'] as const) {
    const those = scenarios.filter((one) => needsQemu(one) === (backend === 'qemu'));
    for (const megabytes of [...new Set(those.map(memoryOf))].sort((a, b) => a - b)) {
      results.push(...await runOn(backend, megabytes, those.filter((one) => memoryOf(one) === megabytes), options));
    }
  }
  return scenarios.map((one) => results.find((result) => result.name === one.name)!);
}

async function runOn(backend: Backend, megabytes: number, scenarios: readonly Scenario[], options: SuiteOptions): Promise<ScenarioResult[]> {
  // QEMU has all CPUs to itself, User-Mode Linux has one.
  const wanted = backend === 'qemu' ? 1 : Math.min(options.guests ?? Math.min(availableParallelism(), 4), scenarios.length);
  // Large guests side by side are a luxury; where there is room for one only, one does it all.
  const count = backend === 'qemu' || megabytes === guestMegabytes ? wanted : Math.max(1, Math.min(wanted, Math.floor(freeMemory() / megabytes)));
  if (backend === 'uml') requireMemory(count * megabytes);
  const slowness = backend === 'qemu' ? 3 : 1;
  const shared = makeRunFolder('suite');
  for (const folder of ['claims', 'results']) mkdirSync(join(shared, folder));
  // The longest first, so that the guests end together.
  const order = [...scenarios].sort((a, b) => (b.timeoutSeconds ?? 0) - (a.timeoutSeconds ?? 0)).map((one) => one.name);
  writeFileSync(join(shared, 'job.json'), JSON.stringify({ scenarios: order, slowness } satisfies Job));
  const results = new Map<string, ScenarioResult>();

  const finish = (result: ScenarioResult): void => {
    if (results.has(result.name)) return;
    results.set(result.name, result);
    const log = join(shared, `${result.name}.log`);
    if (existsSync(log)) copyFileSync(log, join(labFolder, `${result.name}.log`));
    const seconds = (result.milliseconds / 1000).toFixed(1).padStart(6);
    const { passed, failed, skipped } = result.count;
    const inside = passed + failed + skipped > 1 ? `  (${passed} tests passed${failed > 0 ? `, ${failed} failed` : ''}${skipped > 0 ? `, ${skipped} SKIPPED` : ''})` : '';
    options.print(`${result.passed ? 'ok    ' : 'FAILED'} ${seconds} s  ${result.name}${inside}${backend === 'qemu' ? '  [qemu]' : ''}`);
    if (result.error !== null) options.print(`${result.error.split('\n').slice(0, 40).map((line) => `          ${line}`).join('\n')}\n          whole log: .lab/${result.name}.log`);
  };

  const oneGuest = async (index: number): Promise<void> => {
    // A guest that dies takes one scenario with it; another one goes on with the rest.
    while (!options.signal.aborted && order.some((name) => !existsSync(join(shared, 'claims', name)))) {
      const { current, guest } = await superviseGuest(index);
      if (current === null && guest.code === 0) return;
      if (current === null) throw new Error(`a lab guest did not come up (${guest.code}):\n${guest.console}`);
      const why = guest.code === null ? (guest.timedOut ? 'the guest hung and was killed' : 'the guest died') : `labd ended with ${guest.code}`;
      if (!options.signal.aborted) finish({ name: current, passed: false, milliseconds: guest.milliseconds, error: `${why}\n${guest.console.slice(-3000)}`, count: oneFailed });
    }
  };

  const superviseGuest = async (index: number): Promise<{ current: string | null; guest: GuestResult }> => {
    let current: string | null = null;
    let stderr = '';
    const hung = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const output = new PassThrough();
    createInterface({ input: output }).on('line', (line) => {
      let event: { started?: string; ended?: string };
      try {
        event = JSON.parse(line) as typeof event;
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
        options.print(line); // Something in the guest printed; worth seeing.
        return;
      }
      clearTimeout(timer);
      if (event.started !== undefined) {
        current = event.started;
        const seconds = scenarios.find((one) => one.name === current)?.timeoutSeconds ?? defaultTimeoutSeconds;
        timer = setTimeout(() => hung.abort(), seconds * 1000 * slowness + graceMs);
      } else if (event.ended !== undefined) {
        current = null;
        finish(JSON.parse(readFileSync(join(shared, 'results', `${event.ended}.json`), 'utf8')) as ScenarioResult);
      }
    });
    const guest = await runInGuest({
      backend,
      command: `exec node test/lab/labd.ts run ${shared}`,
      workDirectory: shared,
      name: `guest-${index}`,
      cpu: (firstCpu + index) % availableParallelism(),
      ...memoryFor(megabytes),
      timeoutMs: 3_600_000,
      environment: passedOn(),
      signal: AbortSignal.any([options.signal, hung.signal]),
      onOutput: (chunk) => output.write(chunk),
      onError: (chunk) => { stderr = (stderr + chunk.toString()).slice(-5000); },
    });
    clearTimeout(timer);
    // What was still in the pipe belongs to the events above.
    await new Promise<void>((done) => output.end(() => setImmediate(done)));
    return { current, guest: { ...guest, timedOut: guest.timedOut || hung.signal.aborted, console: `${stderr}${guest.console}` } };
  };

  const ended = await Promise.allSettled(Array.from({ length: count }, (_, index) => oneGuest(index)));
  for (const one of ended) if (one.status === 'rejected') options.print(String(one.reason));
  for (const scenario of scenarios) {
    finish({ name: scenario.name, passed: false, milliseconds: 0, error: options.signal.aborted ? 'interrupted' : 'never ran', count: oneFailed });
  }
  rmSync(shared, { recursive: true, force: true });
  return scenarios.map((one) => results.get(one.name)!);
}

/** Gives a person a shell in a guest with one scenario's topology standing. Resolves to the guest's exit code. */
export async function openShell(scenario: Scenario, runFirst: boolean, backend: Backend): Promise<number> {
  if (needsCluster(scenario)) provideClusterPrograms();
  const shared = makeRunFolder('shell');
  writeFileSync(join(shared, 'job.json'), JSON.stringify({ scenarios: [scenario.name], runFirst, slowness: 1 } satisfies Job));
  const guest = await runInGuest({
    backend,
    command: `stty rows ${process.stdout.rows ?? 24} cols ${process.stdout.columns ?? 80}; node test/lab/labd.ts shell ${shared}`,
    workDirectory: shared,
    name: 'shell',
    cpu: 0,
    ...memoryFor(memoryOf(scenario)),
    timeoutMs: 24 * 3_600_000,
    interactive: true,
    environment: { TERM: process.env['TERM'] ?? 'vt100' },
  });
  rmSync(shared, { recursive: true, force: true });
  return guest.code ?? 1;
}

/** What a guest with one network and the product on its hosts needs at most, in /dev/shm. */
export const guestMegabytes = 512;

/** The same with an API server in it: 860 MB measured, and room for ten agents and kube-controller-manager. */
export const clusterMegabytes = 1536;

function needsCluster(scenario: Scenario): boolean {
  return scenario.tags?.includes('cluster') === true;
}

function memoryOf(scenario: Scenario): number {
  return scenario.memoryMegabytes ?? (needsCluster(scenario) ? clusterMegabytes : guestMegabytes);
}

/** The size of the machine that a guest sees: twice what it needs, since its tmpfs folders are a share of it. The usual guest has its backend's default. */
function memoryFor(megabytes: number): { memoryMegabytes?: number } {
  return megabytes === guestMegabytes ? {} : { memoryMegabytes: 2 * megabytes };
}

/** A guest cannot install anything, so what its cluster runs must be there before. Throws when it cannot be had. */
function provideClusterPrograms(): void {
  if (missingPrograms().length === 0) return;
  const { status } = spawnSync('sh', ['tools/bootstrap.sh', 'cluster'], { cwd: repositoryRoot, stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) throw new Error('the programs of the cluster bench are missing; type: sh tools/bootstrap.sh cluster');
}

/** Free megabytes in /dev/shm. */
export function freeMemory(): number {
  const { bavail, bsize } = statfsSync('/dev/shm');
  return Math.floor(bavail * bsize / 1_048_576);
}

/** A container's /dev/shm has 64 MB, and a guest that outgrows it dies without a word; so say it before. */
export function requireMemory(megabytes: number): void {
  const free = freeMemory();
  if (free < megabytes) {
    throw new Error(`the guests keep their memory in /dev/shm and need ${megabytes} MB there, ${free} MB are free; as root, type: mount -o remount,size=4G /dev/shm`);
  }
}

/** Variables of the host that mean something to scenarios and to the product. */
function passedOn(): Record<string, string> {
  return Object.fromEntries(Object.entries(process.env)
    .filter((entry): entry is [string, string] => entry[1] !== undefined && /^(LAB_|IPVS_|NODE_V8_COVERAGE$)/.test(entry[0])));
}

/** All scenarios, or those that the words mean. Throws when a word means none. */
export async function chooseScenarios(words: readonly string[]): Promise<{ chosen: Scenario[]; broken: readonly { file: string; error: string }[] }> {
  const { scenarios, broken } = await loadScenarios();
  for (const word of words) {
    if (select(scenarios, [word]).length === 0) throw new Error(`no scenario is named or tagged ${word}; see: npm run lab -- --list`);
  }
  return { chosen: select(scenarios, words), broken };
}
