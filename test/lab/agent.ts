// The product on one host of a scenario: folders, start, stop, kill, and waiting until it has settled.
// It knows the product only by its command line and by the state folder's status.json.

import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ChildProcess } from 'node:child_process';
import type { Agent, AgentOptions, AgentStatus, RunOptions, RunResult } from './lab.ts';
import type { HostContext } from './host.ts';
import { contentName, folderName } from '../../src/standalone/fingerprint.ts';
import { inHost, killProcess, runCommand, startProcess } from './process.ts';

const program = resolve(import.meta.dirname, '../../dist/main.js');

/** Runs a sub-command of the product to its end. */
export async function runProduct(context: HostContext, host: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const result = await runCommand(inHost(host, ['node', program, ...args]), { signal: context.signal, ...options, timeoutMs: (options.timeoutMs ?? 120_000) * context.slowness });
  context.log(`${host}$ ipvs-operator ${args.join(' ')}   [exit ${result.code}]\n${result.stdout}${result.stderr}`.trimEnd());
  return result;
}

/** Prepares the folders and, unless told otherwise, starts the product. */
export async function createAgent(context: HostContext, host: string, options: AgentOptions): Promise<Agent> {
  if (!existsSync(program)) throw new Error(`${program} is missing: run sh tools/bootstrap.sh`);
  const folder = join(context.folder, host, 'ipvs-operator');
  const manifests = join(folder, 'manifests');
  const state = join(folder, 'state');
  for (const path of [manifests, state]) mkdirSync(path, { recursive: true });
  const arguments_ = [
    '--manifests', manifests, '--state', state, '--node', options.node ?? host,
    ...(options.role === undefined ? [] : ['--role', options.role]), ...(options.args ?? []),
  ];
  let child: ChildProcess | null = null;
  let log = '';

  const status = (): AgentStatus | null => {
    const file = join(state, 'status.json');
    if (!existsSync(file)) return null;
    try {
      return JSON.parse(readFileSync(file, 'utf8')) as AgentStatus;
    } catch (error) {
      if (error instanceof SyntaxError) return null; // Caught in the middle of a write; the next poll sees it whole.
      throw error;
    }
  };
  const exited = (process: ChildProcess): Promise<number | null> => new Promise((done) => {
    if (process.exitCode !== null || process.signalCode !== null) done(process.exitCode);
    else process.once('close', (code) => done(code));
  });

  const agent: Agent = {
    host,
    manifests,
    state,
    get running() { return child !== null; },
    get pid() { return child?.pid ?? null; },
    get log() { return log; },
    status,
    write: (file, text) => {
      writeFileSync(join(folder, file), text);
      renameSync(join(folder, file), join(manifests, file));
      context.log(`${host} wrote ${file} (${text.length} characters)`);
    },
    remove: (file) => {
      rmSync(join(manifests, file));
      context.log(`${host} removed ${file}`);
    },
    start: async () => {
      if (child !== null) throw new Error(`the product runs already on ${host}`);
      // What an earlier process left says nothing about this one.
      rmSync(join(state, 'status.json'), { force: true });
      context.log(`${host} starts ipvs-operator standalone ${arguments_.join(' ')}`);
      const process = startProcess(inHost(host, ['node', program, 'standalone', ...arguments_]), options.environment);
      child = process;
      for (const stream of [process.stdout!, process.stderr!]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          log += text;
          context.log(text.trimEnd().split('\n').map((line) => `${host}| ${line}`).join('\n'));
        });
      }
      process.once('close', (code, signal) => {
        context.log(`${host} ipvs-operator ended: ${code ?? signal}`);
        child = null;
      });
      await new Promise<void>((done, failed) => { process.once('spawn', done); process.once('error', failed); });
    },
    stop: async () => {
      if (child === null) return null;
      const ending = exited(child);
      child.kill('SIGTERM');
      return ending;
    },
    kill: async () => {
      if (child === null) return;
      const ending = exited(child);
      killProcess(child);
      await ending;
    },
    cleanup: () => runProduct(context, host, ['standalone', '--cleanup', ...arguments_]),
    settled: async (timeoutMs = 120_000) => {
      const deadline = performance.now() + timeoutMs * context.slowness;
      for (;;) {
        context.signal.throwIfAborted();
        const now = status();
        if (now !== null && now.settled && now['manifestsHash'] === hashOf(manifests)) return now;
        if (child === null && now === null) throw new Error(`the product on ${host} ended before it settled:\n${log.slice(-4000)}`);
        if (performance.now() > deadline) {
          throw new Error(`the product on ${host} did not settle within ${timeoutMs * context.slowness} ms; status.json: ${JSON.stringify(now)}\n${log.slice(-4000)}`);
        }
        await new Promise((tick) => setTimeout(tick, 50));
      }
    },
  };
  for (const [file, text] of Object.entries(options.manifests)) agent.write(file, text);
  if (options.start !== false) await agent.start();
  return agent;
}

/** What status.json calls manifestsHash when the product has read the folder as it is now. */
function hashOf(folder: string): string {
  return folderName(readdirSync(folder).map((file) => [file, contentName(readFileSync(join(folder, file)))] as const));
}

