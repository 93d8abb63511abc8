// The probe: one long-lived process in a host's network namespace that serves, connects, holds and listens on command.
// It speaks JSON lines on stdin and stdout: {id, operation, options} -> {id, result} or {id, error}.
// It knows no topology and asserts nothing; that is the scenario's part (see ../probes.ts for its other end).

import { flushCompileCache } from 'node:module';
import { createInterface } from 'node:readline';
import { big } from './big.ts';
import { get } from './get.ts';
import { checkHeld, closeHeld, hold } from './hold.ts';
import { serve, stopServing } from './serve.ts';
import { reportStream, startStream, stopStream } from './stream.ts';

/** Modules that few scenarios want. A probe is killed in the end, so what was compiled is kept at once, for the next one. */
async function later<T>(load: Promise<T>): Promise<T> {
  const module = await load;
  flushCompileCache();
  return module;
}

const operations: Record<string, (options: never) => unknown> = {
  serve, stopServing, get, hold, checkHeld, closeHeld, startStream, reportStream, stopStream, big,
  // Loaded on first use, as few scenarios want it: TLS and HTTP/2.
  faulty: async (options: never) => (await later(import('./faulty.ts'))).faulty(options),
  setMood: async (options: never) => (await later(import('./faulty.ts'))).setMood(options),
  askedSince: async (options: never) => (await later(import('./faulty.ts'))).askedSince(options),
  // The foreign function library costs a quarter of a second in a guest.
  solicit: async (options: never) => (await later(import('./neighbours.ts'))).solicit(options),
};

function reply(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

async function handle(line: string): Promise<void> {
  const { id, operation, options } = JSON.parse(line) as { id: number; operation: string; options: unknown };
  try {
    const run = operations[operation];
    if (run === undefined) throw new Error(`no operation ${operation}`);
    reply({ id, result: (await run(options as never)) ?? null });
  } catch (error) {
    reply({ id, error: error instanceof Error ? error.message : String(error) });
  }
}

createInterface({ input: process.stdin }).on('line', (line) => { void handle(line); }).on('close', () => process.exit(0));
reply({ id: 0, result: 'ready' });
flushCompileCache();
