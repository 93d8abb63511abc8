// Starts processes inside a guest so that none outlives its scenario: each is a process group of its own and is known
// here until it ends. It is not for the host side (boot.ts kills whole guests).

import { spawn, type ChildProcess } from 'node:child_process';
import type { RunResult } from './lab.ts';

const running = new Set<ChildProcess>();

/**
 * For processes whose sources are TypeScript: the first of a guest takes the types out and compiles, the next read what it left. A probe
 * starts in 0.4 s of CPU instead of 1 s. Not for the product, which runs as it is built.
 */
export const compiledOnce = { NODE_COMPILE_CACHE: '/run/compiled' } as const;

export interface CommandOptions {
  readonly stdin?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Runs a command to its end. Rejects when it cannot start, takes longer than the timeout (two minutes), or is aborted. */
export async function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<RunResult> {
  options.signal?.throwIfAborted();
  const child = startProcess(argv, options.environment);
  let stdout = '';
  let stderr = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => { stdout += text; });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => { stderr += text; });
  child.stdin!.on('error', () => {}); // EPIPE: the command ended without reading its input, its exit code tells.
  child.stdin!.end(options.stdin ?? '');
  const timeoutMs = options.timeoutMs ?? 120_000;
  return new Promise((resolve, reject) => {
    const fail = (why: string) => (): void => {
      killProcess(child);
      reject(new Error(`${why}: ${argv.join(' ')}\n${stdout}${stderr}`));
    };
    const timer = setTimeout(fail(`took longer than ${timeoutMs} ms`), timeoutMs);
    const aborted = fail('aborted');
    options.signal?.addEventListener('abort', aborted, { once: true });
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', aborted);
      resolve({ code: code ?? (signal === null ? 1 : 128), stdout, stderr });
    });
  });
}

/** Starts a process with pipes for stdin, stdout and stderr; it is killed by `killAll` at the latest. */
export function startProcess(argv: readonly string[], environment: Readonly<Record<string, string>> = {}): ChildProcess {
  const child = spawn(argv[0]!, argv.slice(1), { detached: true, stdio: 'pipe', env: { ...process.env, ...environment } });
  running.add(child);
  child.once('close', () => running.delete(child));
  child.once('error', () => running.delete(child));
  return child;
}

/** The same in a host's network namespace. The process id is the command's own: nsenter replaces itself. */
export function inHost(host: string, argv: readonly string[]): string[] {
  return ['nsenter', `--net=/run/netns/${host}`, ...argv];
}

/** SIGKILL for a process and what it started. */
export function killProcess(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // ESRCH: it ended by itself.
  }
}

/** Kills everything that was started here and waits until it is gone. */
export async function killAll(): Promise<void> {
  await Promise.all([...running].map((child) => new Promise<void>((done) => {
    child.once('close', () => done());
    killProcess(child);
  })));
}
