/**
 * Runs the packet filter's programs: no shell, C locale, input by pipe, a deadline, and a result that tells "not installed" from
 * "refused". The only programs this product runs are `nft` and `iptables-*`; everything else is system calls.
 */
import { spawn, spawnSync } from 'node:child_process';
import { KernelError, ERRNO } from '../netlink/errors.ts';

export interface CommandResult {
  /** Exit code; -1 when it could not be started or was killed at the deadline. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The program does not exist. */
  readonly missing: boolean;
}

/** Starts programs; replaced in unit tests. */
export interface CommandRunner {
  run(program: string, args: readonly string[], input?: string): Promise<CommandResult>;
  runSync(program: string, args: readonly string[], input?: string): CommandResult;
}

/** A ruleset of 10,000 rules takes about a second on a slow machine; a lock held by another program at most five. */
const DEADLINE_MS = 30_000;
/** `nft -j list` of 10,000 rules is about 5 MB. */
const MAXIMUM_OUTPUT = 256 << 20;

function environment(): NodeJS.ProcessEnv {
  // sbin is not in the PATH of services started without a login; messages are compared, so they must not be translated.
  return { PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`, LC_ALL: 'C' };
}

/** Real programs. */
export const systemCommands: CommandRunner = {
  run(program, args, input = '') {
    return new Promise((resolve) => {
      const child = spawn(program, args, { env: environment(), timeout: DEADLINE_MS, killSignal: 'SIGKILL' });
      const out: Buffer[] = [];
      const err: Buffer[] = [];
      child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
      child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
      // EPIPE: the program ended without reading all; its exit code tells why.
      child.stdin.on('error', () => {});
      child.on('error', (error: NodeJS.ErrnoException) => resolve({ code: -1, stdout: '', stderr: error.message, missing: error.code === 'ENOENT' }));
      child.on('close', (code, signal) => {
        const stdout = Buffer.concat(out).toString();
        const said = Buffer.concat(err).toString();
        const stderr = signal === null ? said : `${said}killed by ${signal} after ${DEADLINE_MS} ms`;
        resolve({ code: code ?? -1, stdout, stderr, missing: false });
      });
      child.stdin.end(input);
    });
  },
  runSync(program, args, input = '') {
    const done = spawnSync(program, args, { input, env: environment(), timeout: DEADLINE_MS, killSignal: 'SIGKILL', maxBuffer: MAXIMUM_OUTPUT, encoding: 'utf8' });
    const failure = done.error as NodeJS.ErrnoException | undefined;
    return { code: done.status ?? -1, stdout: done.stdout ?? '', stderr: done.stderr || (failure?.message ?? ''), missing: failure?.code === 'ENOENT' };
  },
};

/** The exception for a program that failed: its own first words, and PERMISSION_DENIED where those say so. */
export function commandError(operation: string, object: string, result: CommandResult): KernelError {
  const words = result.stderr.split('\n').filter((line) => line.trim() !== '').slice(0, 3).join(' | ').slice(0, 500);
  const permission = /Operation not permitted|Permission denied|you must be root/i.test(result.stderr);
  return new KernelError({
    code: permission ? 'PERMISSION_DENIED' : 'KERNEL_REFUSED', errno: permission ? ERRNO.EPERM : 0, operation, object,
    message: [words || `exit code ${result.code}`, permission ? 'CAP_NET_ADMIN is needed' : ''].filter(Boolean).join('; '),
  });
}
