/** Writers: nothing is written that is there already, each write counts, and what is believed follows what the server said. */
import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { Budget } from '../../../../src/controller/reconcile/budget.ts';
import { OwnWrites } from '../../../../src/controller/reconcile/own-writes.ts';
import { StatusWriter, type WithStatus } from '../../../../src/controller/reconcile/status-writer.ts';
import { hasLabels, Writer } from '../../../../src/controller/reconcile/writer.ts';
import { ApiError, isAlreadyExists, isConflict, type ApiErrorCode } from '../../../../src/kube/errors.ts';
import type { KubeObject, Resource } from '../../../../src/kube/types.ts';

interface Thing extends WithStatus<Status> { readonly spec: { readonly size: number } }
interface Status { readonly count: number; readonly state?: string; readonly extra?: string }

const THINGS: Resource<Thing> = { group: 'example.org', version: 'v1', kind: 'Thing', plural: 'things', namespaced: true };
const thing = (size: number, more: Partial<KubeObject['metadata']> = {}, status?: Status): Thing =>
  ({ apiVersion: 'example.org/v1', kind: 'Thing', metadata: { name: 'a', namespace: 'ns', ...more }, spec: { size }, ...(status ? { status } : {}) });
const failure = (code: ApiErrorCode): ApiError => new ApiError({ code, message: 'no', verb: 'PUT', path: '/x' });
const signal = new AbortController().signal;

class Bench {
  now = 0;
  version = 100;
  readonly sent: { verb: string; object: Thing | null; options: object }[] = [];
  readonly counted: string[] = [];
  fails: ApiErrorCode | null = null;
  /** What the server makes of a status. */
  keeps: (status: Status) => Status = (s) => s;
  readonly cache = new Map<string, Thing>();
  readonly budget = new Budget({ perSecond: 1, burst: 1_000, now: () => this.now });
  readonly count = (kind: string, verb: string, ok: boolean): void => { this.counted.push(`${kind} ${verb} ${ok}`); };
  readonly source = { get: (k: string) => this.cache.get(k), keys: () => this.cache.keys(), values: () => this.cache.values() };

  client(): never {
    const answer = (verb: string) => async (_: unknown, object: Thing, options: object): Promise<Thing> => {
      this.sent.push({ verb, object, options });
      if (this.fails) throw failure(this.fails);
      const status = object.status ? { status: verb === 'apply' ? this.keeps(object.status) : object.status } : {};
      return { ...thing(1), ...object, ...status, metadata: { ...object.metadata, uid: 'u', resourceVersion: String(++this.version) } };
    };
    return {
      create: answer('create'), update: answer('update'), apply: answer('apply'),
      delete: async (_: unknown, name: string, namespace: string, options: object) => {
        this.sent.push({ verb: `delete ${namespace}/${name}`, object: null, options });
        if (this.fails) throw failure(this.fails);
      },
    } as never;
  }

  writer(): Writer<Thing> {
    return new Writer({ client: this.client(), resource: THINGS, cache: this.source, same: (a, b) => a.spec.size === b.spec.size && hasLabels(a, b), budget: this.budget, count: this.count, now: () => this.now });
  }

  statusWriter(more: object = {}): StatusWriter<Thing, Status> {
    return new StatusWriter<Thing, Status>({
      client: this.client(), resource: THINGS, objects: new OwnWrites<Thing>(this.source, () => this.now), budget: this.budget, count: this.count, now: () => this.now,
      urgent: (a, b) => a?.state !== b.state, calmMs: 10_000, ...more,
    });
  }
}

describe('a writer', () => {
  it('creates what is not there, once', async () => {
    const b = new Bench();
    const w = b.writer();
    assert.equal(await w.ensure(thing(1), signal), true);
    assert.equal(await w.ensure(thing(1), signal), false, 'before any cache has heard of it');
    assert.deepEqual([b.sent.map((s) => s.verb), b.counted], [['create'], ['Thing create true']]);
  });

  it('updates in the state that it knows, and keeps what others added to metadata', async () => {
    const b = new Bench();
    b.cache.set('ns/a', thing(1, { uid: 'u', resourceVersion: '7', labels: { theirs: 'x' }, annotations: { note: 'y' }, finalizers: ['f'] }));
    const w = b.writer();
    assert.equal(await w.ensure(thing(2, { labels: { ours: 'z' } }), signal), true);
    assert.deepEqual(b.sent[0]?.object?.metadata, { name: 'a', namespace: 'ns', uid: 'u', resourceVersion: '7', labels: { theirs: 'x', ours: 'z' }, annotations: { note: 'y' }, finalizers: ['f'] });
    assert.equal(await w.ensure(thing(2), signal), false);
    assert.equal(await w.ensure(thing(2, { labels: { ours: 'other' } }), signal), true, 'a label too');
  });

  it('removes this very object in this very state; gone already is well', async () => {
    const b = new Bench();
    b.cache.set('ns/a', thing(1, { uid: 'u', resourceVersion: '7' }));
    const w = b.writer();
    assert.equal(await w.remove('ns/a', signal), true);
    assert.deepEqual([b.sent[0]?.verb, b.sent[0]?.options], ['delete ns/a', { signal, uid: 'u', resourceVersion: '7' }]);
    assert.deepEqual([await w.remove('ns/a', signal), b.sent.length], [false, 1], 'nothing more to remove');
    const gone = new Bench();
    gone.cache.set('ns/a', thing(1));
    gone.fails = 'NOT_FOUND';
    assert.equal(await gone.writer().remove('ns/a', signal), true);
  });

  for (const [code, is] of [['ALREADY_EXISTS', isAlreadyExists], ['CONFLICT', isConflict]] as const) {
    it(`that was not quick enough says so: ${code}`, async () => {
      const b = new Bench();
      const w = b.writer();
      await w.ensure(thing(1), signal);
      b.fails = code;
      await assert.rejects(w.ensure(thing(2), signal), is);
      assert.deepEqual([b.counted.at(-1), w.objects.get('ns/a'), w.objects.doubts()], ['Thing update false', undefined, ['ns/a']], 'what it believed is refuted');
    });
  }

  it('believes on when nobody knows what became of a write', async () => {
    const b = new Bench();
    const w = b.writer();
    await w.ensure(thing(1), signal);
    b.fails = 'UNREACHABLE';
    await assert.rejects(w.ensure(thing(2), signal));
    assert.deepEqual([w.objects.get('ns/a')?.spec.size, w.objects.doubts()], [1, []]);
  });

  it('asks before each request whether it may', async () => {
    const b = new Bench();
    const w = new Writer({ client: b.client(), resource: THINGS, cache: b.source, same: () => false, budget: b.budget, count: b.count, now: () => 0, before: () => { throw new Error('not now'); } });
    await assert.rejects(w.ensure(thing(1), signal), /not now/);
    assert.deepEqual([b.sent, b.counted], [[], []]);
  });
});

describe('a writer of status', () => {
  const OLD: Status = { count: 1, state: 'on' };
  const there = (b: Bench, status?: Status): void => { b.cache.set('ns/a', thing(1, { uid: 'u', resourceVersion: '7' }, status)); };

  it('applies only what differs, by force and with nothing but the status', async () => {
    const b = new Bench();
    there(b, OLD);
    const w = b.statusWriter();
    assert.deepEqual([await w.write('ns/a', OLD, signal), b.sent], [0, []]);
    assert.equal(await w.write('ns/a', { count: 2, state: 'off' }, signal), 0);
    assert.deepEqual(b.sent[0]?.object, { apiVersion: 'example.org/v1', kind: 'Thing', metadata: { name: 'a', namespace: 'ns' }, status: { count: 2, state: 'off' } });
    assert.deepEqual(b.sent[0]?.options, { fieldManager: 'ipvs-controller', force: true, subresource: 'status', signal });
    assert.deepEqual([await w.write('ns/a', { count: 2, state: 'off' }, signal), b.sent.length, b.counted], [0, 1, ['Thing status true']]);
  });

  it('lets counts wait, conditions never', async () => {
    const b = new Bench();
    there(b, OLD);
    const w = b.statusWriter();
    await w.write('ns/a', { count: 2, state: 'on' }, signal);
    b.now = 3_000;
    assert.deepEqual([await w.write('ns/a', { count: 3, state: 'on' }, signal), b.sent.length], [7_000, 1]);
    assert.deepEqual([await w.write('ns/a', { count: 3, state: 'off' }, signal), b.sent.length], [0, 2]);
    b.now = 14_000;
    assert.deepEqual([await w.write('ns/a', { count: 4, state: 'off' }, signal), b.sent.length], [0, 3], '10 s after the last write');
    w.forget('ns/a');
    assert.equal(await w.write('ns/a', { count: 5, state: 'off' }, signal), 0);
  });

  it('takes away what others left in a status that is ours alone', async () => {
    const b = new Bench();
    there(b, { ...OLD, extra: 'edited' });
    b.keeps = (s) => ({ ...s, extra: 'edited' });
    const w = b.statusWriter();
    await w.write('ns/a', OLD, signal);
    assert.deepEqual(b.sent.map((s) => [s.verb, s.object?.status]), [['apply', OLD], ['update', OLD]]);
    assert.equal(b.sent[1]?.object?.metadata.resourceVersion, '101', 'in the state that the first one left');
  });

  it('and tells a server that keeps it all the same only once', async () => {
    const b = new Bench();
    there(b, OLD);
    const stubborn = b.statusWriter({ client: { apply: async () => thing(1, { resourceVersion: '8' }, { count: 9 }), update: async () => { b.sent.push({ verb: 'update', object: null, options: {} }); return thing(1, { resourceVersion: '8' }, { count: 9 }); } } });
    await stubborn.write('ns/a', { count: 2, state: 'off' }, signal);
    for (const now of [20_000, 40_000]) {
      b.now = now;
      await stubborn.write('ns/a', { count: 2, state: 'off' }, signal);
    }
    assert.equal(b.sent.length, 1);
    await stubborn.write('ns/a', { count: 3, state: 'off' }, signal);
    assert.equal(b.sent.length, 2, 'something new is told');
  });

  it('leaves to others what is theirs', async () => {
    const b = new Bench();
    there(b, { count: 1, extra: 'theirs' });
    b.keeps = (s) => ({ ...s, extra: 'theirs' });
    const w = b.statusWriter({ part: (s: Status | undefined) => (s ? { count: s.count } : undefined) });
    await w.write('ns/a', { count: 1 }, signal);
    assert.equal(b.sent.length, 0, 'our part is as it should be');
    await w.write('ns/a', { count: 2 }, signal);
    assert.equal(b.sent.map((s) => s.verb).join(), 'apply', 'and nothing is replaced');
  });

  it('has nothing to do for an object that is gone', async () => {
    const b = new Bench();
    const w = b.statusWriter();
    assert.deepEqual([await w.write('ns/a', OLD, signal), b.sent], [0, []]);
    there(b, OLD);
    b.fails = 'NOT_FOUND';
    assert.equal(await w.write('ns/a', { count: 2, state: 'off' }, signal), 0);
    b.fails = 'SERVER_ERROR';
    await assert.rejects(w.write('ns/a', { count: 2, state: 'off' }, signal), { code: 'SERVER_ERROR' });
  });
});
