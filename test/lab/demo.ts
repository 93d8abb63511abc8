// `npm run demo`: the main job, shown to a person in seven short chapters on a real kernel. Boots two guests, of which one
// prepares a network while the other's is shown. Exit code 0 only when everything that the story says was found to be true.

import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { parseArgs } from 'node:util';
import { runInGuest } from './boot.ts';
import { createScreen } from './demo/screen.ts';
import { show } from './demo/show.ts';
import { acts, turnsFolder, type ActName } from './demo/story.ts';
import { createTelling, type Telling } from './demo/telling.ts';
import { createPaint } from './demo/text.ts';
import { freeMemory, guestMegabytes, labFolder, makeRunFolder, requireMemory } from './suite.ts';

const usage = `usage: npm run demo -- [--fast]
  --fast   no pauses for reading`;

/** Which guest plays which acts: while one shows its network, the other builds the next. */
const twoGuests: readonly (readonly ActName[])[] = [['dr', 'tun'], ['nat', 'life']];
const oneGuest: readonly (readonly ActName[])[] = [['dr', 'nat', 'tun', 'life']];
/** A guest that takes longer is killed. Milliseconds. */
const guestTimeoutMs = 200_000;

async function demo(fast: boolean): Promise<number> {
  const interrupted = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => interrupted.abort(new Error('interrupted')));
  const terminal = process.stdout.isTTY === true && process.env['TERM'] !== 'dumb';
  const paint = createPaint(terminal && !process.env['NO_COLOR']);
  const screen = createScreen({ terminal, columns: () => process.stdout.columns ?? 80, write: (text) => { process.stdout.write(text); } });
  const shared = makeRunFolder('demo');
  mkdirSync(join(shared, turnsFolder));
  const guests = availableParallelism() > 1 && freeMemory() >= 2 * guestMegabytes ? twoGuests : oneGuest;
  requireMemory(guests.length * guestMegabytes);
  const telling = createTelling();
  const started = performance.now();

  screen.line(`${paint.bold('ipvs-operator')}: layer-4 load balancing with Linux IPVS, in seven short chapters, about a minute.`);
  screen.line('Everything happens in kernels of its own (User-Mode Linux): this machine\'s network is not touched.');
  screen.line('What you see is what was typed, printed and counted there.');
  const running = guests.map((names, index) => runGuest(shared, names, index, telling, interrupted.signal));
  try {
    const tallies = await show({
      telling, screen, paint, pace: terminal && !fast ? 1 : 0, signal: interrupted.signal, opening: guests.length > 1 ? 'booting two Linux kernels' : 'booting a Linux kernel', now: () => performance.now(),
      grant: (turn) => writeFileSync(join(shared, turnsFolder, turn), ''),
    });
    const holds = tallies.every((tally) => tally.held === tally.claims && tally.lost === 0);
    const seconds = Math.round((performance.now() - started) / 1000);
    screen.line();
    screen.line(holds ? paint.green(`All of it holds, after ${seconds} s.`) : paint.red(`Not all of it holds; the logs are .lab/demo-*.log.`));
    screen.line(`Look around in such a network: ${paint.cyan('npm run lab -- --shell dr')}   What was done, step by step: docs/tutorial.md`);
    return holds ? 0 : 1;
  } finally {
    // What is left of the guests has nothing more to show.
    interrupted.abort(new Error('the demo is over'));
    await Promise.allSettled(running);
    for (const name of Object.keys(acts)) if (existsSync(join(shared, `demo-${name}.log`))) copyFileSync(join(shared, `demo-${name}.log`), join(labFolder, `demo-${name}.log`));
    rmSync(shared, { recursive: true, force: true });
  }
}

/** One guest from boot to end. Whatever ends it early fails the chapters that it still owed. */
async function runGuest(shared: string, names: readonly ActName[], index: number, telling: Telling, signal: AbortSignal): Promise<void> {
  const chapters = names.flatMap((name) => acts[name]);
  const log = `demo-${names.at(-1)!}.log`;
  let printed = '';
  const output = new PassThrough();
  // What is not of the story is a warning of Node or a program's last words: worth keeping for a failure.
  createInterface({ input: output }).on('line', (line) => { if (!telling.take(line)) printed = `${printed}${line}\n`.slice(-3000); });
  try {
    const guest = await runInGuest({
      command: `exec node test/lab/demo/guest.ts ${shared} ${names.join(' ')}`,
      workDirectory: shared, name: `guest-${index}`, cpu: index % availableParallelism(), timeoutMs: guestTimeoutMs, signal,
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
  const { values } = parseArgs({ options: { fast: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } });
  if (values.help) process.stdout.write(`${usage}\n`);
  else process.exitCode = await demo(values.fast === true);
} catch (error) {
  process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof Error && error.message === 'interrupted' ? 130 : 2;
}
