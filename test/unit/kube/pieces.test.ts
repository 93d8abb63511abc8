/** The small pure pieces: lines, backoff, waiting, errors. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Backoff } from '../../../src/kube/backoff.ts';
import { API_ERROR_CODES, errorFromStatus, isAlreadyExists, isConflict, isExpired, isForbidden, isFutureVersion, isInvalid, isNotFound, isTooManyRequests, isTransient, isUnauthorized, ApiError, type ApiErrorCode } from '../../../src/kube/errors.ts';
import { splitLines } from '../../../src/kube/lines.ts';
import { AbortError, childOf, isAbort, onAbort, sleep, throwIfAborted } from '../../../src/kube/wait.ts';

async function* chunked(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Buffer> {
  let at = 0;
  for (const size of [...cuts, bytes.length]) {
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

test('lines are the same wherever the bytes are cut', async () => {
  const text = fc.array(fc.string({ unit: fc.constantFrom('a', 'ä', '\u{1f600}', ' ', '\r') })).map((lines) => lines.join('\n'));
  await fc.assert(fc.asyncProperty(text, fc.array(fc.integer({ min: 0, max: 7 })), async (whole, cuts) => {
    const lines: string[] = [];
    for await (const line of splitLines(chunked(Buffer.from(whole), cuts), 1_000_000, (m) => new Error(m))) lines.push(line);
    assert.deepEqual(lines, whole.split('\n').filter((l) => l.trim() !== ''));
  }), { numRuns: 300 });
});

test('a line may be as long as allowed, and not longer, wherever it is cut', async () => {
  const take = async (length: number, cuts: readonly number[]): Promise<number> => {
    let n = 0;
    for await (const line of splitLines(chunked(Buffer.from(`${'x'.repeat(length)}\ny`), cuts), 10, (m) => new Error(m))) n += line.length;
    return n;
  };
  for (const cuts of [[], [3], [3, 3], [10], [11]]) {
    assert.equal(await take(10, cuts), 11);
    await assert.rejects(take(11, cuts), /longer than 10 bytes/);
  }
});

test('a backoff stays between its ends, grows, and starts anew after its time of health', () => {
  fc.assert(fc.property(fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 12, maxLength: 30 }), (chances) => {
    let i = 0;
    const backoff = new Backoff({ minMs: 800, maxMs: 30_000, resetMs: 120_000, random: () => chances[i++ % chances.length]! });
    let now = 0;
    let last = 0;
    for (const _ of chances) {
      last = backoff.next(now);
      assert.ok(last >= 800 && last <= 30_000, String(last));
      now += last;
    }
    assert.ok(last >= 15_000);
    assert.ok(backoff.next(now + 119_999) >= 15_000);
    assert.ok(backoff.next(now + 1_000_000) <= 1_600);
  }));
});

test('an abort is an AbortError whatever its reason is, and listeners are forgotten', async () => {
  const controller = new AbortController();
  const calls: string[] = [];
  const forget = onAbort(controller.signal, () => calls.push('forgotten'));
  onAbort(controller.signal, () => calls.push('kept'));
  onAbort(undefined, () => calls.push('never'));
  forget();
  const { controller: child, detach } = childOf(controller.signal);
  const { controller: free, detach: detachFree } = childOf(controller.signal);
  detachFree();
  const sleeping = sleep(60_000, controller.signal);
  throwIfAborted(controller.signal);
  controller.abort('SIGTERM');
  await assert.rejects(sleeping, isAbort);
  assert.throws(() => throwIfAborted(controller.signal), (e: AbortError) => isAbort(e) && e.code === 'ABORT_ERR' && e.cause === 'SIGTERM');
  onAbort(controller.signal, () => calls.push('at once'));
  assert.deepEqual([calls, child.signal.aborted, free.signal.aborted], [['kept', 'at once'], true, false]);
  detach();
  assert.equal(isAbort('SIGTERM'), false);
});

const predicates: Readonly<Partial<Record<ApiErrorCode, (error: unknown) => boolean>>> = {
  NOT_FOUND: isNotFound, ALREADY_EXISTS: isAlreadyExists, CONFLICT: isConflict, EXPIRED: isExpired, TOO_MANY_REQUESTS: isTooManyRequests, FORBIDDEN: isForbidden, UNAUTHORIZED: isUnauthorized, INVALID: isInvalid,
};
const TRANSIENT: readonly ApiErrorCode[] = ['TOO_MANY_REQUESTS', 'TIMEOUT', 'UNREACHABLE', 'BAD_RESPONSE', 'SERVER_ERROR'];

test('each predicate is true for its code and for no other, nor for what is no ApiError', () => {
  for (const code of Object.keys(API_ERROR_CODES) as ApiErrorCode[]) {
    const error = new ApiError({ code, message: 'm', verb: 'GET', path: '/p' });
    for (const [of, is] of Object.entries(predicates)) assert.equal(is(error), of === code, `${of} of ${code}`);
    assert.equal(isTransient(error), TRANSIENT.includes(code), code);
  }
  for (const is of [...Object.values(predicates), isTransient, isFutureVersion]) assert.equal(is({ code: 'NOT_FOUND' }), false);
});

test('an error says what was asked, and what the server says, with all it says', () => {
  const error = errorFromStatus('PUT', '/p', 429, { code: 429, reason: 'TooManyRequests', message: 'slow down', details: { retryAfterSeconds: 3, name: 'x' } });
  assert.deepEqual([error.message, error.code, error.status, error.reason, error.retryAfterMs, error.details?.name], ['PUT /p: slow down', 'TOO_MANY_REQUESTS', 429, 'TooManyRequests', 3000, 'x']);
  assert.equal(errorFromStatus('GET', '/p', 500, null).message, 'GET /p: HTTP 500');
  assert.equal(errorFromStatus('GET', '/p', 500, null, 'x'.repeat(400)).message.length, 'GET /p: '.length + 303);
});
