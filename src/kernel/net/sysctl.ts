/**
 * Reads and writes below /proc/sys. Paths have '/' between their parts, so a link named `eth0.100` needs no escaping. Which
 * values a node needs is decided in agent/desired; remembering the original is the ledger's.
 */
import { closeSync, constants, openSync, readFileSync, writeSync } from 'node:fs';
import { ERRNO, KernelError } from '../netlink/errors.ts';
import type { Sysctl } from './types.ts';

/** In a container it is read-only, and nothing may be mounted over it: there the host's is mounted elsewhere and named by this variable. */
export const PROC_SYS = process.env['IPVS_OPERATOR_PROC_SYS'] ?? '/proc/sys';

/** Trimmed, tabs as single spaces; null when there is no such file. Throws KernelError INVALID, PERMISSION_DENIED, KERNEL_REFUSED. */
export function readSysctl(path: string, root = PROC_SYS): string | null {
  check(path, 'read');
  try {
    return readFileSync(`${root}/${path}`, 'utf8').trim().replaceAll(/[\t ]+/g, ' ');
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return null;
    throw failure(error, 'read', path, '');
  }
}

/** Throws KernelError: MODULE_MISSING (no such file), PERMISSION_DENIED, KERNEL_REFUSED (a value the kernel does not take), INVALID. */
export function writeSysctl({ path, value }: Sysctl, root = PROC_SYS): void {
  check(path, 'write');
  try {
    // Neither O_CREAT nor O_TRUNC: a missing name must be ENOENT, and nothing else than this value is written.
    const fd = openSync(`${root}/${path}`, constants.O_WRONLY);
    try {
      writeSync(fd, `${value}\n`);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw failure(error, 'write', path, value);
  }
}

function check(path: string, verb: string): void {
  const parts = path.split('/');
  if (parts[0] !== 'net' || parts.some((part) => part === '' || part === '.' || part === '..')) {
    throw new KernelError({ code: 'INVALID', operation: `${verb} ${path}`, message: 'not a path below /proc/sys/net' });
  }
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === code;
}

function failure(error: unknown, verb: string, path: string, value: string): KernelError {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const errno = Math.abs((error as NodeJS.ErrnoException).errno ?? 0);
  const operation = `${verb} ${path}`;
  switch (code) {
    case 'ENOENT': case 'ENOTDIR':
      return new KernelError({
        code: 'MODULE_MISSING', errno: ERRNO.ENOENT, operation, cause: error,
        message: 'no such setting: its module is not loaded, or the interface is gone',
      });
    case 'EROFS':
      return new KernelError({
        code: 'PERMISSION_DENIED', errno, operation, cause: error,
        message: 'read-only: in a container mount the host\'s /proc/sys/net elsewhere, writable, and name its /proc/sys in IPVS_OPERATOR_PROC_SYS',
      });
    case 'EACCES': case 'EPERM':
      return new KernelError({ code: 'PERMISSION_DENIED', errno, operation, cause: error, message: 'CAP_NET_ADMIN (and root, for files of root) is needed' });
    case 'EINVAL':
      return new KernelError({ code: 'KERNEL_REFUSED', errno, operation, cause: error, message: `the kernel does not take ${JSON.stringify(value)}` });
    default:
      return new KernelError({ code: 'KERNEL_REFUSED', errno, operation, cause: error, message: error instanceof Error ? error.message : String(error) });
  }
}
