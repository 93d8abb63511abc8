// `npm run demo`: the main job, shown to a person in seven short chapters on a real kernel. Boots two guests, of which one
// prepares a network while the other's is shown. `npm run demo:cluster`: the same in a Kubernetes cluster, in one guest.
// Exit code 0 only when everything that the story says was found to be true.

import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { parseArgs } from 'node:util';
import { programPath } from '../cluster/programs.ts';
import { repositoryRoot, runInGuest } from './boot.ts';
import { renderArguments } from './demo/cluster-network.ts';
import { createScreen } from './demo/screen.ts';
import { show } from './demo/show.ts';
import { acts, chapterCount, chartName, turnsFolder, type ActName } from './demo/story.ts';
import { createTelling, type Telling } from './demo/telling.ts';
import { createPaint } from './demo/text.ts';
import { guestMegabytes } from './lanes.ts';
import { clusterMegabytes, firstCpu, freeMemory, labFolder, makeRunFolder, requireMemory } from './suite.ts';

const usage = `usage: npm run demo -- [--fast], npm run demo:cluster -- [--fast]
  --fast   no pauses for reading`;

/** Which guest plays which acts: while one shows its network, the other builds the next. */
const twoGuests: readonly (readonly ActName[])[] = [['dr', 'tun'], ['nat', 'life']];
const oneGuest: readonly (readonly ActName[])[] = [['dr', 'nat', 'tun', 'life']];
interface Show {
  readonly guests: readonly (readonly ActName[])[];
  /** Puts into the shared folder what the guests cannot make themselves. Throws when it cannot. */
  readonly prepare?: (shared: string) => void;
  readonly chapters: number;
  /** What a guest needs in /dev/shm, and the size of the machine that it sees; absent: the usual. */
  readonly megabytes: number;
  readonly memoryMegabytes?: number;
  /** A guest that takes longer is killed. */
  readonly guestTimeoutMs: number;
  readonly introduction: string;
  readonly opening: string;
  /** Where to go on: a command, and a page. */
  readonly lookAround: string;
  readonly page: string;
}

function machineShow(): Show {
  const guests = availableParallelism() > 1 && freeMemory() >= 2 * guestMegabytes ? twoGuests : oneGuest;
  return {
    guests, chapters: chapterCount('machine'), megabytes: guestMegabytes, guestTimeoutMs: 600_000,
    introduction: 'layer-4 load balancing with Linux IPVS, in seven short chapters, about a minute.',
    opening: guests.length > 1 ? 'booting two Linux kernels' : 'booting a Linux kernel',
    lookAround: 'npm run lab -- --shell dr', page: 'What was done, step by step: docs/tutorial.md',
  };
}

function renderChart(shared: string): void {
  writeFileSync(join(shared, chartName), execFileSync(programPath('helm'), renderArguments, { cwd: repositoryRoot, encoding: 'utf8' }));
}

const clusterShow: Show = {
  guests: [['cluster']], prepare: renderChart, chapters: chapterCount('cluster'), megabytes: clusterMegabytes, memoryMegabytes: 2 * clusterMegabytes, guestTimeoutMs: 1_290_000,
  introduction: 'Linux IPVS in a Kubernetes cluster, in six short chapters, about two minutes.',
  opening: 'booting a Linux kernel',
  lookAround: 'npm run lab -- --shell demo-cluster-story --run', page: 'Your own: docs/install.md',
};

async function demo({ guests, prepare, chapters, megabytes, memoryMegabytes, guestTimeoutMs, introduction, opening, lookAround, page }: Show, fast: boolean): Promise<number> {
  const interrupted = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => interrupted.abort(new Error('interrupted')));
  const terminal = process.stdout.isTTY === true && process.env['TERM'] !== 'dumb';
  const paint = createPaint(terminal && !process.env['NO_COLOR']);
  const screen = createScreen({ terminal, columns: () => process.stdout.columns ?? 80, write: (text) => { process.stdout.write(text); } });
  const shared = makeRunFolder('demo');
  mkdirSync(join(shared, turnsFolder));
  prepare?.(shared);
  requireMemory(guests.length * megabytes);
  const telling = createTelling(chapters);
  const started = performance.now();

  screen.line(`${paint.bold('ipvs-operator')}: ${introduction}`);
  screen.line('Everything happens in kernels of its own (User-Mode Linux): this machine\'s network is not touched.');
  screen.line('What you see is what was typed, printed and counted there.');
  const running = guests.map((names, index) => runGuest({ shared, names, index, telling, guestTimeoutMs, memoryMegabytes, signal: interrupted.signal }));
  try {
    const tallies = await show({
      telling, chapters, screen, paint, pace: terminal && !fast ? 1 : 0, signal: interrupted.signal, opening, now: () => performance.now(),
      grant: (turn) => writeFileSync(join(shared, turnsFolder, turn), ''),
    });
    const holds = tallies.every((tally) => tally.held === tally.claims && tally.lost === 0);
    const seconds = Math.round((performance.now() - started) / 1000);
    screen.line();
    screen.line(holds ? paint.green(`All of it holds, after ${seconds} s.`) : paint.red(`Not all of it holds; the logs are .lab/demo-*.log.`));
    screen.line(`Look around in such a network: ${paint.cyan(lookAround)}   ${page}`);
    return holds ? 0 : 1;
  } finally {
    // What is left of the guests has nothing more to show.
    interrupted.abort(new Error('the demo is over'));
    await Promise.allSettled(running);
    for (const name of Object.keys(acts)) if (existsSync(join(shared, `demo-${name}.log`))) copyFileSync(join(shared, `demo-${name}.log`), join(labFolder, `demo-${name}.log`));
    rmSync(shared, { recursive: true, force: true });
  }
}

interface GuestRun extends Pick<Show, 'guestTimeoutMs'> {
  readonly shared: string;
  readonly names: readonly ActName[];
  readonly index: number;
  readonly memoryMegabytes: number | undefined;
  readonly telling: Telling;
  readonly signal: AbortSignal;
}

/** One guest from boot to end. Whatever ends it early fails the chapters that it still owed. */
async function runGuest({ shared, names, index, memoryMegabytes, guestTimeoutMs, telling, signal }: GuestRun): Promise<void> {
  const chapters = names.flatMap((name) => acts[name]);
  const log = `demo-${names.at(-1)!}.log`;
  let printed = '';
  const output = new PassThrough();
  // What is not of the story is a warning of Node or a program's last words: worth keeping for a failure.
  createInterface({ input: output }).on('line', (line) => { if (!telling.take(line)) printed = `${printed}${line}\n`.slice(-3000); });
  try {
    const guest = await runInGuest({
      command: `exec node test/lab/demo/guest.ts ${shared} ${names.join(' ')}`,
      workDirectory: shared, name: `guest-${index}`, cpu: (firstCpu + index) % availableParallelism(), timeoutMs: guestTimeoutMs, signal,
      ...(memoryMegabytes === undefined ? {} : { memoryMegabytes }),
      onOutput: (chunk) => output.write(chunk),
      onError: (chunk) => { printed = `${printed}${chunk.toString()}`.slice(-3000); },
    });
    await new Promise<void>((done) => output.end(() => setImmediate(done)));
    telling.over(chapters, `the guest ${guest.timedOut ? 'took too long' : guest.code === null ? 'died' : `ended with ${guest.code}`}\n${printed}${guest.console}`, log);
  } catch (error) {
    telling.over(chapters, String(error), log);
  }
}

try {
  const { values } = parseArgs({ options: { cluster: { type: 'boolean' }, fast: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } });
  if (values.help) process.stdout.write(`${usage}\n`);
  else process.exitCode = await demo(values.cluster ? clusterShow : machineShow(), values.fast === true);
} catch (error) {
  process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof Error && error.message === 'interrupted' ? 130 : 2;
}
