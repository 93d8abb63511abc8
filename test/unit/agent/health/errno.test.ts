/** What each errno of a socket says about a real server: the network's say something, the node's own nothing. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { outcomeOf } from '../../../../src/agent/health/errno.ts';
import { ERRNO } from '../../../../src/kernel/netlink/errors.ts';

test('every errno has its reason', () => {
  const reasons = Map.groupBy(Object.entries(ERRNO), ([, errno]) => outcomeOf(errno).reason);
  const names = (reason: string) => (reasons.get(reason as never) ?? []).map(([name]) => name).sort();
  assert.deepEqual(names('Refused'), ['ECONNREFUSED']);
  assert.deepEqual(names('Reset'), ['ECONNRESET']);
  assert.deepEqual(names('Closed'), ['EPIPE']);
  assert.deepEqual(names('Timeout'), ['ETIMEDOUT']);
  assert.deepEqual(names('Unreachable'), ['EHOSTDOWN', 'EHOSTUNREACH', 'ENETDOWN', 'ENETUNREACH']);
  for (const name of ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL', 'EPERM', 'EACCES', 'EINVAL']) assert.ok(names('NotChecked').includes(name), name);
  assert.match(outcomeOf(ERRNO.EMFILE).message, /^EMFILE: this process has no file descriptors left$/);
  assert.equal(outcomeOf(9_999).message, 'errno 9999');
});
