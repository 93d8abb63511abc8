// Runs one scenario inside a guest: builds its topology, gives it a `lab`, holds it to its time, takes all down again.

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createAgent, runProduct } from './agent.ts';
import { buildTopology, removeTopology } from './build.ts';
import { createClusterHolder, type ClusterHolder } from './cluster.ts';
import { startDaemon } from './daemon.ts';
import { createHost, type HostContext } from './host.ts';
import type { Host, Lab, Scenario, TestCount } from './lab.ts';
import { createTraffic } from './probes.ts';
import { killAll, runCommand, inHost } from './process.ts';
import { snapshot } from './snapshot.ts';

export interface ScenarioResult {
  readonly name: string;
  readonly passed: boolean;
  readonly milliseconds: number;
  /** Message and stack of what failed; null when it passed. */
  readonly error: string | null;
  /** The tests inside; one, itself, for an ordinary scenario. */
  readonly count: TestCount;
}

/** Default time of a scenario, in seconds. */
export const defaultTimeoutSeconds = 120;

/** A guest that has no CPU for as long as `eventually` may take has tried once and is not done. */
const LEAST_TRIES = 3;

/** A scenario's folder in its guest, in RAM. */
export function scenarioFolder(name: string): string {
  return join('/run/lab', name);
}

/**
 * Never rejects because of the scenario. `slowness` multiplies its time limit. `between` runs with the topology standing,
 * after the scenario (for a shell).
 */
export async function runScenario(scenario: Scenario, log: (line: string) => void, slowness: number, between?: () => Promise<void>): Promise<ScenarioResult> {
  const started = performance.now();
  const ended = new AbortController();
  const folder = scenarioFolder(scenario.name);
  mkdirSync(folder, { recursive: true });
  let error: string | null = null;
  let count: TestCount = { passed: 1, failed: 0, skipped: 0 };
  const seconds = (scenario.timeoutSeconds ?? defaultTimeoutSeconds) * slowness;
  let timer: NodeJS.Timeout | undefined;
  const context: HostContext = { topology: scenario.topology, signal: ended.signal, log, folder, slowness };
  const holder = createClusterHolder(context);
  // A promise that a scenario forgot to await is that scenario's failure.
  let stray: (reason: unknown) => void = () => {};
  try {
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`timed out after ${seconds} s`)), seconds * 1000);
      stray = (reason) => reject(new Error('a promise was rejected that nobody awaited', { cause: reason }));
      process.on('unhandledRejection', stray);
    });
    const work = async (): Promise<void> => {
      await buildTopology(scenario.topology, ended.signal);
      log(`topology ${scenario.topology.name} stands after ${Math.round(performance.now() - started)} ms`);
      count = await scenario.run(createLab(scenario, context, holder)) ?? count;
    };
    await Promise.race([work(), limit]);
  } catch (reason) {
    error = describe(reason);
    count = (reason as { count?: TestCount }).count ?? { passed: 0, failed: 1, skipped: 0 };
    log(`FAILED: ${error}`);
    await logState(scenario, log);
    const logs = holder.logs();
    if (logs !== '') log(logs);
  } finally {
    clearTimeout(timer);
  }
  const milliseconds = Math.round(performance.now() - started);
  if (between !== undefined) await between();
  ended.abort(new Error('the scenario is over'));
  await Promise.all([killAll(), holder.stop()]);
  // Rejections of work that was cut off by the abort still belong to this scenario.
  await new Promise((tick) => setImmediate(tick));
  process.off('unhandledRejection', stray);
  await removeTopology(scenario.topology);
  rmSync(folder, { recursive: true, force: true });
  return { name: scenario.name, passed: error === null, milliseconds, error, count };
}

function createLab(scenario: Scenario, context: HostContext, { cluster }: ClusterHolder): Lab {
  const hosts = new Map<string, Host>();
  const traffic = createTraffic(context.log);
  const sleep = (milliseconds: number): Promise<void> => new Promise((done, failed) => {
    const timer = setTimeout(done, milliseconds);
    context.signal.addEventListener('abort', () => { clearTimeout(timer); failed(context.signal.reason as Error); }, { once: true });
  });
  return {
    topology: scenario.topology,
    signal: context.signal,
    ...traffic,
    log: context.log,
    sleep,
    host: (name) => {
      let host = hosts.get(name);
      if (host === undefined) hosts.set(name, host = createHost(context, name));
      return host;
    },
    agent: (host, options) => createAgent(context, host, options),
    cli: (host, args, options) => runProduct(context, host, args, options),
    daemon: (host, args, options) => startDaemon(context, host, args, options),
    cluster: (options) => {
      if (scenario.tags?.includes('cluster') !== true) throw new Error(`${scenario.name} is not tagged cluster: its guest is too small for an API server`);
      return cluster(options);
    },
    snapshot: (host, options = {}) => snapshot(host, options, context.signal),
    eventually: async (fn, { withinMs, what }) => {
      const deadline = performance.now() + withinMs * context.slowness;
      for (let tries = 1; ; tries++) {
        context.signal.throwIfAborted();
        const asked = performance.now();
        let last: unknown = 'it returned false';
        try {
          const value = await fn();
          if (value !== false) return value;
        } catch (error) {
          last = error;
        }
        if (performance.now() > deadline && tries >= LEAST_TRIES) throw new Error(`not within ${withinMs * context.slowness} ms: ${what}`, { cause: last });
        // Asking takes the one CPU away from who is asked.
        await sleep(Math.min(500, Math.max(100, 1.5 * (performance.now() - asked))));
      }
    },
  };
}

function describe(reason: unknown): string {
  if (!(reason instanceof Error)) return String(reason);
  const cause = reason.cause === undefined ? '' : `\ncaused by: ${describe(reason.cause)}`;
  return `${reason.stack ?? reason.message}${cause}`;
}

/** What one wants to see first after a failure. */
async function logState(scenario: Scenario, log: (line: string) => void): Promise<void> {
  for (const host of Object.keys(scenario.topology.hosts)) {
    try {
      const state = await runCommand(inHost(host, ['sh', '-c', 'ip -br addr; ip neigh; ip -4 route; [ ! -e /proc/net/ip_vs ] || ipvsadm -Ln --stats']), { timeoutMs: 5000 });
      log(`state of ${host}:\n${state.stdout}${state.stderr}`.trimEnd());
    } catch (error) {
      log(`state of ${host}: ${String(error)}`);
    }
  }
}
