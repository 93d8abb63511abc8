/**
 * What the kernel's errnos mean for each operation: IPVS tells nothing else, and several of them have more than one meaning.
 * Tables and texts; apply.ts acts on them.
 */
import type { Refusal } from '../netlink/refusal.ts';
import { ERRNO, KernelError, type KernelErrorCode } from '../netlink/errors.ts';
import type { IpvsOperation } from './contract.ts';
import { NO_SCHEDULER } from './types.ts';
import { OPERATION_NAMES, operationObject } from './validate.ts';

type Kind = IpvsOperation['kind'];
/** 'done': what was wanted is so already. A kind: try that instead. A code: a failure of that name. */
export type Conversion = 'done' | 'setService' | 'setDestination' | 'addDestination' | 'restartSync' | KernelErrorCode;

/** By operation and errno. What is not here is KERNEL_REFUSED. */
export const CONVERSIONS: Record<Kind, Readonly<Record<number, Conversion>>> = {
  addService: { [ERRNO.EEXIST]: 'setService', [ERRNO.ENOENT]: 'MODULE_MISSING' },
  setService: { [ERRNO.ESRCH]: 'SERVICE_GONE', [ERRNO.ENOENT]: 'MODULE_MISSING' },
  delService: { [ERRNO.ESRCH]: 'done' },
  addDestination: { [ERRNO.EEXIST]: 'setDestination', [ERRNO.ESRCH]: 'SERVICE_GONE' },
  setDestination: { [ERRNO.ENOENT]: 'addDestination', [ERRNO.ESRCH]: 'SERVICE_GONE' },
  delDestination: { [ERRNO.ENOENT]: 'done', [ERRNO.ESRCH]: 'done' },
  setTimeouts: {},
  startSync: { [ERRNO.EEXIST]: 'restartSync' },
  stopSync: { [ERRNO.ESRCH]: 'done' },
};

/** The error of one operation, with what a person should look at. */
export function refusalOf(operation: IpvsOperation, refusal: Refusal, code: KernelErrorCode = 'KERNEL_REFUSED'): KernelError {
  return new KernelError({
    code, errno: refusal.errno, operation: OPERATION_NAMES[operation.kind], object: operationObject(operation),
    message: [refusal.message, hint(operation, refusal.errno, code)].filter(Boolean).join('; '),
  });
}

/** EPERM fails every operation, so it is thrown instead of being listed. */
export function permissionDenied(operation: IpvsOperation): KernelError {
  return new KernelError({
    code: 'PERMISSION_DENIED', errno: ERRNO.EPERM, operation: OPERATION_NAMES[operation.kind], object: operationObject(operation),
    message: 'IPVS needs CAP_NET_ADMIN in the initial user namespace',
  });
}

/** A scheduler that the kernel must not load by itself (scheduler-module.ts) and that could not be loaded before. */
export function schedulerMissing(operation: Extract<IpvsOperation, { kind: 'addService' | 'setService' }>): KernelError {
  const { scheduler } = operation.service;
  return new KernelError({
    code: 'MODULE_MISSING', operation: OPERATION_NAMES[operation.kind], object: operationObject(operation),
    message: `scheduler ${scheduler} must be loaded before it is used, or the kernel can deadlock: \`modprobe ip_vs_${scheduler}\``,
  });
}

function hint(operation: IpvsOperation, errno: number, code: KernelErrorCode): string {
  if (code === 'SERVICE_GONE') return 'somebody removed the service meanwhile';
  if (code === 'MODULE_MISSING' && 'service' in operation) {
    const { scheduler, engine } = operation.service;
    const modules = [...(scheduler === NO_SCHEDULER ? [] : [`ip_vs_${scheduler}`]), ...(engine === '' ? [] : [`ip_vs_pe_${engine}`])];
    return `this kernel does not know scheduler ${scheduler}${engine === '' ? '' : ` or engine ${engine}`}: \`modprobe ${modules.join(' ') || 'ip_vs'}\``;
  }
  if (errno === ERRNO.EAFNOSUPPORT) return 'this kernel\'s IPVS has no IPv6';
  if (operation.kind === 'startSync' && errno === ERRNO.ENODEV) return `no interface ${operation.daemon.interface}`;
  if (errno !== ERRNO.EINVAL) return '';
  if ('destination' in operation) {
    if (operation.destination.family !== operation.service.family) return 'destinations of another family exclude the sync daemon';
    return operation.destination.family === 'IPv4' ? 'every IPv4 destination is refused while lo was never up: `ip link set lo up`' : '';
  }
  if (operation.kind === 'startSync') return 'destinations of another family exclude the sync daemon';
  return operation.kind === 'setService' && operation.service.scheduler === 'mh' ? 'mh takes at most 4093 destinations' : '';
}
