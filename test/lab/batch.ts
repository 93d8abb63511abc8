// Runs the scenarios of one batch (lanes.ts) in guests that share them out among each other: watches for hangs, prints progress, keeps
// logs. How many guests work on it, and where, is for suite.ts; what happens inside a guest is labd.ts.

import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { runInGuest, type GuestResult } from './boot.ts';
import { cpuSecondsOf } from './cpu-time.ts';
import type { Job } from './job.ts';
import type { Batch, Lane } from './lanes.ts';
import { defaultTimeoutSeconds, type ScenarioResult } from './run-scenario.ts';

const oneFailed = { passed: 0, failed: 1, skipped: 0 };

/** Time a guest gets on top of a scenario's own, for teardown, before it is killed. */
const graceMs = 30_000;

export interface BatchOptions {
  /** A fresh folder that host and guests share; gone after `close`. */
  readonly shared: string;
  /** Where logs are kept: FOLDER/NAME.log. */
  readonly logFolder: string;
  /** Multiplies the scenarios' time limits. */
  readonly slowness: number;
  /** The size of the machine that a guest sees; absent: its backend's default. */
  readonly memoryMegabytes?: number;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly print: (line: string) => void;
}

export interface RunningBatch {
  /** Works in one guest after the other, on a lane's CPU, until no scenario is left that nobody has. Rejects when a guest does not come up. */
  work(name: string, lane: Pick<Lane, 'cpu' | 'yields'>): Promise<void>;
  /** One result for each scenario; those that never ran have failed. */
  close(): ScenarioResult[];
}

/** Starts nothing yet. */
export function openBatch({ backend, scenarios }: Batch, options: BatchOptions): RunningBatch {
  const { shared, signal, slowness, print } = options;
  for (const folder of ['claims', 'results']) mkdirSync(join(shared, folder));
  const order = scenarios.map((one) => one.name);
  writeFileSync(join(shared, 'job.json'), JSON.stringify({ scenarios: order, slowness } satisfies Job));
  const results = new Map<string, ScenarioResult>();

  const finish = (result: ScenarioResult, cpuSeconds: number | null): void => {
    if (results.has(result.name)) return;
    results.set(result.name, result);
    const log = join(shared, `${result.name}.log`);
    if (existsSync(log)) copyFileSync(log, join(options.logFolder, `${result.name}.log`));
    const seconds = (result.milliseconds / 1000).toFixed(1).padStart(6);
    const cpu = cpuSeconds === null ? '      ' : `${cpuSeconds.toFixed(1).padStart(6)}`;
    const { passed, failed, skipped } = result.count;
    const inside = passed + failed + skipped > 1 ? `  (${passed} tests passed${failed > 0 ? `, ${failed} failed` : ''}${skipped > 0 ? `, ${skipped} SKIPPED` : ''})` : '';
    print(`${result.passed ? 'ok    ' : 'FAILED'} ${seconds} s ${cpu} cpu  ${result.name}${inside}${backend === 'qemu' ? '  [qemu]' : ''}`);
    if (result.error !== null) print(`${result.error.split('\n').slice(0, 40).map((line) => `          ${line}`).join('\n')}\n          whole log: .lab/${result.name}.log`);
  };

  const superviseGuest = async (name: string, { cpu, yields }: Pick<Lane, 'cpu' | 'yields'>): Promise<{ current: string | null; guest: GuestResult }> => {
    let current: string | null = null;
    let stderr = '';
    let group: number | null = null;
    let cpuBefore = 0;
    const hung = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const output = new PassThrough();
    createInterface({ input: output }).on('line', (line) => {
      let event: { started?: string; ended?: string };
      try {
        event = JSON.parse(line) as typeof event;
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
        print(line); // Something in the guest printed; worth seeing.
        return;
      }
      clearTimeout(timer);
      if (event.started !== undefined) {
        current = event.started;
        cpuBefore = group === null ? 0 : cpuSecondsOf(group);
        const seconds = scenarios.find((one) => one.name === current)?.timeoutSeconds ?? defaultTimeoutSeconds;
        timer = setTimeout(() => hung.abort(), seconds * 1000 * slowness + graceMs);
      } else if (event.ended !== undefined) {
        current = null;
        const result = JSON.parse(readFileSync(join(shared, 'results', `${event.ended}.json`), 'utf8')) as ScenarioResult;
        finish(result, group === null ? null : cpuSecondsOf(group) - cpuBefore);
      }
    });
    const guest = await runInGuest({
      backend,
      command: `exec node test/lab/labd.ts run ${shared}`,
      workDirectory: shared,
      name,
      cpu,
      // QEMU emulates every instruction: with less than its share clients in it run into their timeouts.
      yields: yields && backend === 'uml',
      ...(options.memoryMegabytes === undefined ? {} : { memoryMegabytes: options.memoryMegabytes }),
      timeoutMs: 3_600_000,
      environment: options.environment,
      signal: AbortSignal.any([signal, hung.signal]),
      onStart: (pid) => { group = pid; },
      onOutput: (chunk) => output.write(chunk),
      onError: (chunk) => { stderr = (stderr + chunk.toString()).slice(-5000); },
    });
    clearTimeout(timer);
    // What was still in the pipe belongs to the events above.
    await new Promise<void>((done) => output.end(() => setImmediate(done)));
    return { current, guest: { ...guest, timedOut: guest.timedOut || hung.signal.aborted, console: `${stderr}${guest.console}` } };
  };

  return {
    work: async (name, lane) => {
      // A guest that dies takes one scenario with it; another one goes on with the rest.
      while (!signal.aborted && order.some((scenario) => !existsSync(join(shared, 'claims', scenario)))) {
        const { current, guest } = await superviseGuest(name, lane);
        if (current === null && guest.code === 0) return;
        if (current === null) throw new Error(`a lab guest did not come up (${guest.code}):\n${guest.console}`);
        const why = guest.code === null ? (guest.timedOut ? 'the guest hung and was killed' : 'the guest died') : `labd ended with ${guest.code}`;
        if (!signal.aborted) finish({ name: current, passed: false, milliseconds: guest.milliseconds, error: `${why}\n${guest.console.slice(-3000)}`, count: oneFailed }, null);
      }
    },
    close: () => {
      for (const { name } of scenarios) finish({ name, passed: false, milliseconds: 0, error: signal.aborted ? 'interrupted' : 'never ran', count: oneFailed }, null);
      rmSync(shared, { recursive: true, force: true });
      return order.map((name) => results.get(name)!);
    },
  };
}
