/** A claim whose VirtualServer the cache does not have is nobody's only when the server says so. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { VirtualIP } from '../../../../src/api/v1alpha1/index.ts';
import { Absent } from '../../../../src/controller/reconcile/absent.ts';
import { ApiError, type ApiErrorCode } from '../../../../src/kube/errors.ts';
import { MemoryLog } from '../../kube/fake-server.ts';

const vip = (...owners: [string, string][]): VirtualIP => ({ spec: { claims: owners.map(([owner, uid]) => ({ namespace: owner.split('/')[0], name: owner.split('/')[1], uid, ports: [] })) } }) as unknown as VirtualIP;
const signal = new AbortController().signal;

function bench(answers: Record<string, ApiErrorCode | 'there'>, known: string[] = []) {
  const asked: string[] = [];
  const log = new MemoryLog();
  const client = {
    get: async (_: unknown, name: string, namespace: string) => {
      asked.push(`${namespace}/${name}`);
      const answer = answers[`${namespace}/${name}`]!;
      if (answer !== 'there') throw new ApiError({ code: answer, message: 'no', verb: 'GET', path: '/' });
      return {};
    },
  };
  return { asked, log, answers, known, absent: new Absent({ client: client as never, known: (o) => known.includes(o), log }) };
}

test('who is known is asked about by nobody', async () => {
  const b = bench({}, ['ns/a']);
  await b.absent.ask([vip(['ns/a', 'u1'])], signal);
  assert.deepEqual([b.asked, b.absent.complete, b.absent.unconfirmed([vip(['ns/a', 'u1'])]), b.absent.complete], [[], false, [], true]);
});

test('who is not known may exist, until the server says that there is none; that is asked once', async () => {
  const b = bench({ 'ns/gone': 'NOT_FOUND', 'ns/late': 'there', 'ns/dark': 'UNREACHABLE' });
  const vips = [vip(['ns/gone', 'u1']), vip(['ns/late', 'u2'], ['ns/dark', 'u3'])];
  assert.deepEqual(b.absent.unconfirmed(vips), ['ns/gone', 'ns/late', 'ns/dark'], 'before anybody asked');
  await b.absent.ask(vips, signal);
  assert.deepEqual([b.asked.splice(0).sort(), b.absent.unconfirmed(vips)], [['ns/dark', 'ns/gone', 'ns/late'], ['ns/late', 'ns/dark']]);
  assert.deepEqual(b.log.of('warn'), ['whether it exists is not known; its addresses stay its own']);
  await b.absent.ask(vips, signal);
  assert.deepEqual(b.asked.splice(0).sort(), ['ns/dark', 'ns/late'], 'the one that is gone is not asked about again');
  b.known.push('ns/late');
  assert.deepEqual([b.absent.unconfirmed(vips), b.absent.complete], [['ns/dark'], false]);
  b.known.push('ns/dark');
  assert.deepEqual([b.absent.unconfirmed(vips), b.absent.complete], [[], false], 'one that is gone may come back with nothing but its name');
});

test('another claim of the same name is another question, and what is answered is forgotten with its claim', async () => {
  const b = bench({ 'ns/a': 'NOT_FOUND' });
  await b.absent.ask([vip(['ns/a', 'u1'])], signal);
  assert.deepEqual(b.absent.unconfirmed([vip(['ns/a', 'u2'])]), ['ns/a']);
  await b.absent.ask([], signal);
  assert.deepEqual(b.absent.unconfirmed([vip(['ns/a', 'u1'])]), ['ns/a']);
});

test('told to stop, it stops', async () => {
  const b = bench({ 'ns/a': 'UNREACHABLE' });
  await assert.rejects(b.absent.ask([vip(['ns/a', 'u1'])], AbortSignal.abort()), { name: 'AbortError' });
});
