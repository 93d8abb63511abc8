/**
 * The one error type of the kernel room: a stable code, the errno by name, the operation and the object, and the kernel's
 * own words where it has some. Predicates instead of string matching. What to do about an error is decided above.
 */

/** Every code, with its meaning. Codes are stable: they appear in logs, metrics, status and docs/errors.md, which is made from this table. */
export const KERNEL_ERROR_CODES = {
  KERNEL_REFUSED: 'The kernel refused one operation; the errno and what it means here are in the message. Others are not affected; it is tried again.',
  PERMISSION_DENIED: 'CAP_NET_ADMIN (for ARP and ND announcements CAP_NET_RAW) is missing. Run as root, or give the service these capabilities.',
  MODULE_MISSING: 'The kernel has no such family, device kind, scheduler or engine. Load the module that the message names.',
  SERVICE_GONE: 'A virtual service vanished while its real servers were being changed; the next reconcile makes it anew, whole.',
  REPLIES_LOST: 'The kernel dropped answers (ENOBUFS) or the last one never came: what became of the batch is unknown, so it is read back.',
  TRUNCATED: 'An answer was larger than the largest the kernel may send: a defect, please report it.',
  DUMP_INTERRUPTED: 'A list changed while it was being read, each time it was tried; nothing is deleted on its evidence.',
  PROTOCOL: 'An answer of the kernel could not be understood: a defect, please report it with IPVS_NETLINK_DEBUG=1.',
  SYSTEM_CALL: 'A system call failed; its name and errno are in the message.',
  INVALID: 'Refused before the kernel saw it, because the kernel would have accepted nonsense; the message names the field.',
  BACKEND_MISSING: 'Packet-filter rules are needed and neither nft nor iptables works. Install nftables or iptables.',
} as const;

export type KernelErrorCode = keyof typeof KERNEL_ERROR_CODES;

export class KernelError extends Error {
  override readonly name = 'KernelError';
  readonly code: KernelErrorCode;
  /** Positive errno, 0 when the kernel was not involved. */
  readonly errno: number;
  /** What was being done, e.g. 'NEW_DEST', 'RTM_NEWADDR', 'write net/ipv4/ip_forward'. */
  readonly operation: string;
  /** To what, e.g. 'TCP 192.0.2.1:80 -> 10.0.0.1:80'. */
  readonly object: string;

  constructor(fields: { code: KernelErrorCode; errno?: number; operation: string; object?: string; message?: string; cause?: unknown }) {
    const errno = fields.errno ?? 0;
    const why = [errno ? `${errnoName(errno)} (${errno})` : '', fields.message ?? ''].filter(Boolean).join(': ');
    super(`${fields.operation}${fields.object ? ` ${fields.object}` : ''}: ${why || fields.code}`, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = fields.code;
    this.errno = errno;
    this.operation = fields.operation;
    this.object = fields.object ?? '';
  }

  /** 'EEXIST', or '' when errno is 0. */
  get errnoName(): string { return this.errno ? errnoName(this.errno) : ''; }
}

/** No such family, device kind, scheduler or engine in this kernel. */
export function isModuleMissing(error: unknown): boolean {
  return error instanceof KernelError && error.code === 'MODULE_MISSING';
}

/** asm-generic/errno-base.h and errno.h (x86, arm64 and riscv64 share them), as far as netlink and sockets return them. */
export const ERRNO = {
  EPERM: 1, ENOENT: 2, ESRCH: 3, EINTR: 4, EIO: 5, ENXIO: 6, E2BIG: 7, EBADF: 9, EAGAIN: 11, ENOMEM: 12, EACCES: 13, EFAULT: 14,
  EBUSY: 16, EEXIST: 17, ENODEV: 19, EINVAL: 22, ENFILE: 23, EMFILE: 24, ENOSPC: 28, EROFS: 30, ERANGE: 34, ELOOP: 40, ENOPROTOOPT: 92,
  EPROTONOSUPPORT: 93, EOPNOTSUPP: 95, EAFNOSUPPORT: 97, EADDRINUSE: 98, EADDRNOTAVAIL: 99, ENETDOWN: 100, ENETUNREACH: 101,
  EMSGSIZE: 90, ENOBUFS: 105, EALREADY: 114, EHOSTUNREACH: 113,
  EPIPE: 32, ECONNABORTED: 103, ECONNRESET: 104, ETIMEDOUT: 110, ECONNREFUSED: 111, EHOSTDOWN: 112, EINPROGRESS: 115,
} as const;

const NAMES = new Map<number, string>(Object.entries(ERRNO).map(([name, value]) => [value, name]));

export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}
