/** What an errno of a socket says about a real server. A closed list: what is not in it says something about this node only. */
import { ERRNO, errnoName } from '../../kernel/netlink/errors.ts';
import type { Outcome } from './outcome.ts';

const MEANING: ReadonlyMap<number, Outcome> = new Map<number, Outcome>([
  [ERRNO.ECONNREFUSED, { reason: 'Refused', message: 'connection refused' }],
  [ERRNO.ECONNRESET, { reason: 'Reset', message: 'connection reset' }],
  [ERRNO.EPIPE, { reason: 'Closed', message: 'closed before the request' }],
  [ERRNO.ETIMEDOUT, { reason: 'Timeout', message: 'the kernel gave the connection up' }],
  [ERRNO.EHOSTUNREACH, { reason: 'Unreachable', message: 'no route to host, or nobody answers for its address' }],
  [ERRNO.EHOSTDOWN, { reason: 'Unreachable', message: 'host is down' }],
  [ERRNO.ENETUNREACH, { reason: 'Unreachable', message: 'network is unreachable' }],
  [ERRNO.ENETDOWN, { reason: 'Unreachable', message: 'network is down' }],
]);

const WHY: ReadonlyMap<number, string> = new Map<number, string>([
  [ERRNO.EMFILE, 'this process has no file descriptors left'],
  [ERRNO.ENFILE, 'this node has no file descriptors left'],
  [ERRNO.EADDRNOTAVAIL, 'this node has no free port, or not the source address'],
  [ERRNO.EPERM, 'CAP_NET_ADMIN is missing for a mark, or a packet filter of this node drops it'],
  [ERRNO.EACCES, 'a route of this node prohibits it'],
]);

/** `errno` is positive. */
export function outcomeOf(errno: number): Outcome {
  const known = MEANING.get(errno);
  if (known !== undefined) return known;
  const why = WHY.get(errno);
  return { reason: 'NotChecked', message: why === undefined ? errnoName(errno) : `${errnoName(errno)}: ${why}` };
}
