// Runs scenarios in guests, from the host: chooses them, sees to memory and programs, and lets lanes go through batches (lanes.ts, batch.ts).
// What happens inside a guest is labd.ts.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { missingPrograms } from '../cluster/programs.ts';
import { openBatch } from './batch.ts';
import { repositoryRoot, runInGuest, type Backend } from './boot.ts';
import { batchesOf, guestMegabytes, planLanes, type Batch } from './lanes.ts';
import { loadScenarios } from './load.ts';
import type { Scenario } from './lab.ts';
import type { Job } from './job.ts';
import type { ScenarioResult } from './run-scenario.ts';

export const labFolder = join(repositoryRoot, '.lab');

/** The CPU of the first guest: LAB_CPU, for two runs side by side on one machine. */
export const firstCpu = Number(process.env['LAB_CPU'] ?? 0);

/** At most so many guests, where nobody says it otherwise: LAB_GUESTS, for a machine that has other work. */
const mostGuests = process.env['LAB_GUESTS'] === undefined ? undefined : Number(process.env['LAB_GUESTS']);

/** Multiplies every time limit, which is what a thing takes at most on a free CPU: guests share theirs, with each other and with who knows what. */
const SLOWNESS: Readonly<Record<Backend, number>> = { uml: 3, qemu: 9 };

export interface SuiteOptions {
  /** `auto`: QEMU for scenarios tagged `nft`, User-Mode Linux for all others. */
  readonly backend: Backend | 'auto';
  readonly signal: AbortSignal;
  readonly print: (line: string) => void;
  /** At most this many guests; unless told, one a CPU (up to 4), and two where guests are small. */
  readonly guests?: number;
  /** What one lane does before it takes scenarios of User-Mode Linux: work that is no guest's and waits much. */
  readonly first?: () => Promise<unknown>;
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
  const { signal, print, first } = options;
  const needsQemu = (one: Scenario): boolean => options.backend === 'qemu' || (options.backend === 'auto' && one.tags?.includes('nft') === true);
  const batches = batchesOf(scenarios, (one) => (needsQemu(one) ? 'qemu' : 'uml'), memoryOf);
  requireMemory(Math.max(0, ...batches.filter(({ backend }) => backend === 'uml').map(({ megabytes }) => megabytes)));
  const machine = cpus().length;
  const pinned = Array.from({ length: Math.min(availableParallelism(), 4) }, (_, i) => (firstCpu + i) % machine);
  const lanes = planLanes(batches, { cpus: pinned, freeMegabytes: freeMemory(), most: options.guests ?? mostGuests });
  const running = new Map(batches.map((batch) => [batch, openBatch(batch, {
    shared: makeRunFolder('suite'), logFolder: labFolder, environment: passedOn(), signal, print,
    slowness: SLOWNESS[batch.backend], ...memoryFor(batch.megabytes),
  })]));
  const isLarge = ({ backend, megabytes }: Batch): boolean => backend === 'uml' && megabytes > guestMegabytes;
  // Not beside QEMU, which is slow enough without it.
  const bearer = lanes.find(({ batches: [one] }) => one?.backend === 'qemu') ?? lanes.at(-1);
  let begun = false;
  const atFirst = async (): Promise<void> => {
    if (begun) return;
    begun = true;
    await first?.();
  };
  const largeGone = lanes.map(() => Promise.withResolvers<void>());
  const ended = await Promise.allSettled(lanes.map(async (lane, i) => {
    try {
      for (const [at, batch] of lane.batches.entries()) {
        if (lane === bearer && batch.backend === 'uml') await atFirst();
        if (!lane.batches.slice(at).some(isLarge)) largeGone[i]!.resolve();
        if (lane.waits && batch.backend === 'uml') await Promise.all(largeGone.map(({ promise }) => promise));
        await running.get(batch)!.work(`guest-${i}`, lane);
      }
      if (lane === bearer) await atFirst();
    } finally {
      largeGone[i]!.resolve();
    }
  }));
  for (const one of ended) if (one.status === 'rejected') print(String(one.reason));
  const results = [...running.values()].flatMap((batch) => batch.close());
  return scenarios.map((one) => results.find((result) => result.name === one.name)!);
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

/** What a guest with an API server in it needs, in /dev/shm: 860 MB measured, and room for ten agents and kube-controller-manager. */
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
