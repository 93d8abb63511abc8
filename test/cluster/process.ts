// One long-running program of the cluster bench: started in a process group of its own, its output in a file, and dead
// at the latest when this process is, however that dies. It knows nothing of Kubernetes.
//
//     this process --(pipe)--> sh: reads to the end of the pipe, then kills the group
//          |
//          +-----(spawn)-----> the program, whose output goes to a file
//
// Neither of the two keeps this process alive: a test that forgets to stop a server ends all the same.

import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';

export interface ServerProcess {
  readonly pid: number;
  readonly running: boolean;
  /** Resolves when the program has ended: its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** Sends a signal to the program's whole group; nothing when it has ended. */
  signal(name: NodeJS.Signals): void;
  /** Asks it to end (SIGTERM), or kills it when it takes longer than `graceMs`; resolves when it is gone. 0 kills at once. */
  end(graceMs: number): Promise<void>;
}

/** Starts a program; its output is appended to `logFile`. Rejects when it cannot be started. */
export async function startServerProcess(argv: readonly string[], logFile: string, environment: Readonly<Record<string, string>> = {}): Promise<ServerProcess> {
  const output = openSync(logFile, 'a');
  const child = spawn(argv[0]!, argv.slice(1), { detached: true, stdio: ['ignore', output, output], env: { ...process.env, ...environment } });
  closeSync(output);
  const ended = new Promise<number | NodeJS.Signals>((done) => child.once('exit', (code, signal) => done(code ?? signal!)));
  await new Promise<void>((done, failed) => { child.once('spawn', done); child.once('error', failed); });
  const pid = child.pid!;
  const watchdog = startWatchdog(pid);
  child.once('exit', () => watchdog.kill('SIGKILL'));
  child.unref();

  const signal = (name: NodeJS.Signals): void => {
    if (!isRunning(child)) return;
    try {
      process.kill(-pid, name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // ESRCH: it ended this moment.
    }
  };
  return {
    pid,
    get running() { return isRunning(child); },
    ended,
    signal,
    end: async (graceMs) => {
      if (!isRunning(child)) return;
      child.ref(); // Waiting for it is a reason to stay alive.
      signal('SIGCONT'); // A stopped process does not see SIGTERM.
      if (graceMs > 0) signal('SIGTERM');
      const timer = setTimeout(() => signal('SIGKILL'), graceMs);
      await ended;
      clearTimeout(timer);
    },
  };
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

function startWatchdog(pid: number): ChildProcess {
  const watchdog = spawn('sh', ['-c', `read -r _; kill -s KILL -- -${pid}`], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
  watchdog.unref();
  (watchdog.stdin as Socket).unref();
  return watchdog;
}

/** The last lines of a log, for error messages; empty when there is none. */
export function lastLines(logFile: string, count = 25): string {
  return existsSync(logFile) ? readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-count).join('\n') : '';
}
