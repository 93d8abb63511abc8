// A sub-command of the product that runs until it is stopped: a controller in the guest's root namespace, an agent on a host.
// It is not for `standalone`, which has its own wrapper (agent.ts), nor for commands that end by themselves (runProduct there).

import type { ChildProcess } from 'node:child_process';
import { resolve } from 'node:path';
import type { HostContext } from './host.ts';
import type { Daemon, DaemonOptions } from './lab.ts';
import { inHost, killProcess, startProcess } from './process.ts';

const program = resolve(import.meta.dirname, '../../dist/main.js');

/** `host` null: in the root namespace, beside the API server. Resolves when the process is spawned, not when it is ready. */
export async function startDaemon(context: HostContext, host: string | null, args: readonly string[], { command = ['node', program], environment = {} }: DaemonOptions = {}): Promise<Daemon> {
  const name = `${host ?? 'root'} ${args[0]}`;
  let child: ChildProcess | null = null;
  let log = '';
  const ended = (running: ChildProcess): Promise<number | null> => new Promise((done) => {
    if (running.exitCode !== null || running.signalCode !== null) done(running.exitCode);
    else running.once('close', (code) => done(code));
  });
  const daemon: Daemon = {
    get running() { return child !== null; },
    get pid() { return child?.pid ?? null; },
    get log() { return log; },
    start: async () => {
      if (child !== null) throw new Error(`${name} runs already`);
      context.log(`${name} starts: ipvs-operator ${args.join(' ')}`);
      const argv = [...command, ...args];
      const started = startProcess(host === null ? argv : inHost(host, argv), environment);
      child = started;
      for (const stream of [started.stdout!, started.stderr!]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          log += text;
          context.log(text.trimEnd().split('\n').map((line) => `${name}| ${line}`).join('\n'));
        });
      }
      started.once('close', (code, signal) => {
        context.log(`${name} ended: ${code ?? signal}`);
        child = null;
      });
      await new Promise<void>((done, failed) => { started.once('spawn', done); started.once('error', failed); });
    },
    stop: async () => {
      if (child === null) return null;
      const ending = ended(child);
      child.kill('SIGTERM');
      return ending;
    },
    kill: async () => {
      if (child === null) return;
      const ending = ended(child);
      killProcess(child);
      await ending;
    },
  };
  await daemon.start();
  return daemon;
}
