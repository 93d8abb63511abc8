/** Events: what is written, what is counted instead, and that nothing ever waits or fails because of them. Time is fake. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import type { KubeClient } from '../../../src/kube/client.ts';
import { ApiError, type ApiErrorCode } from '../../../src/kube/errors.ts';
import { EventRecorder, referenceTo, type Happening, type KubeEvent } from '../../../src/kube/events.ts';
import { createClient } from '../../../src/kube/client.ts';
import { AbortError } from '../../../src/kube/wait.ts';
import { FakeTime } from './fake-time.ts';
import { connect, MemoryLog, startServer } from './fake-server.ts';
import { widget } from './widgets.ts';

const START = Date.UTC(2026, 0, 1);

class Bench {
  readonly time = new FakeTime();
  readonly log = new MemoryLog();
  /** What was sent: 'create 1', 'update 5': the count. */
  readonly sent: string[] = [];
  readonly events: KubeEvent[] = [];
  /** Codes that the next requests fail with. */
  readonly failures: ApiErrorCode[] = [];
  silent = false;
  readonly recorder: EventRecorder;

  constructor() {
    const ask = async (verb: string, event: KubeEvent, signal?: AbortSignal): Promise<KubeEvent> => {
      this.sent.push(`${verb} ${event.series?.count ?? 1}`);
      this.events.push(event);
      if (this.silent) await new Promise((_, reject) => { signal?.addEventListener('abort', () => reject(new AbortError(signal))); });
      const code = this.failures.shift();
      if (code) throw new ApiError({ code, message: 'as told', verb, path: 'events' });
      return { ...event, metadata: { ...event.metadata, resourceVersion: String(this.sent.length) } };
    };
    const client = {
      create: (_r: unknown, e: KubeEvent, o?: { signal?: AbortSignal }) => ask('create', e, o?.signal), update: (_r: unknown, e: KubeEvent, o?: { signal?: AbortSignal }) => ask('update', e, o?.signal),
    } as unknown as Pick<KubeClient, 'create' | 'update'>;
    this.recorder = new EventRecorder({
      client, reportingController: 'example.org/controller', reportingInstance: 'pod-1', clock: () => START + this.time.now(), log: this.log, random: () => 0.5,
      later: (ms, run) => {
        const stop = new AbortController();
        this.time.sleep(ms, stop.signal).then(run, () => {});
        return () => stop.abort();
      },
    });
  }

  record(fields: Partial<Happening> = {}): void {
    this.recorder.record({ regarding: widget('a'), type: 'Normal', reason: 'Programmed', action: 'Program', note: 'two directors run it', ...fields });
  }

  take(): string[] { return this.sent.splice(0); }
}

test('an event has all that the API asks for, in the namespace of its object', async () => {
  const b = new Bench();
  b.record({ related: { apiVersion: 'v1', kind: 'Node', name: 'n' } });
  b.record({ regarding: { apiVersion: 'v1', kind: 'Node', name: 'n', uid: 'u' } });
  await b.time.pass(0);
  const [first, second] = b.events;
  assert.deepEqual({ ...first, metadata: null }, {
    apiVersion: 'events.k8s.io/v1', kind: 'Event', metadata: null, eventTime: '2026-01-01T00:00:00.000000Z', type: 'Normal', reason: 'Programmed', action: 'Program', note: 'two directors run it',
    regarding: { apiVersion: 'example.org/v1', kind: 'Widget', name: 'a', namespace: 'ns' }, related: { apiVersion: 'v1', kind: 'Node', name: 'n' },
    reportingController: 'example.org/controller', reportingInstance: 'pod-1',
  });
  assert.match(first!.metadata.name, /^a\.[0-9a-f]+$/);
  assert.deepEqual([first!.metadata.namespace, second!.metadata.namespace], ['ns', 'default'], 'of a cluster-scoped object: default');
});

test('a reference keeps what tells objects apart', () => {
  const object = { ...widget('a'), metadata: { ...widget('a').metadata, uid: 'u', resourceVersion: '7' } };
  assert.deepEqual(referenceTo(object), { apiVersion: 'example.org/v1', kind: 'Widget', name: 'a', namespace: 'ns', uid: 'u', resourceVersion: '7' });
});

test('texts are cut to what the API takes, in bytes and between characters', async () => {
  const b = new Bench();
  b.record({ note: 'ä'.repeat(1000), reason: 'R'.repeat(200), regarding: widget('n'.repeat(253)) });
  await b.time.pass(0);
  const [{ note, reason, metadata }] = b.events as [KubeEvent];
  assert.ok(Buffer.byteLength(note) <= 1024 && Buffer.byteLength(note) > 1000 && /^ä+\.\.\.$/.test(note), note);
  assert.equal(reason.length, 128);
  assert.ok(metadata.name.length <= 253);
});

describe('the same again', () => {
  test('is counted, and written at most once a minute', async () => {
    const b = new Bench();
    for (let i = 0; i < 290; i++) {
      b.record();
      await b.time.pass(1_000);
    }
    assert.deepEqual(b.take(), ['create 1', 'update 60', 'update 120', 'update 180', 'update 240']);
    assert.deepEqual(b.events.at(-1)!.series, { count: 240, lastObservedTime: '2026-01-01T00:03:59.000000Z' });
    assert.equal('resourceVersion' in b.events.at(-1)!.metadata, false);
    await b.time.pass(60_000);
    assert.deepEqual(b.take(), ['update 290'], 'the last count is written, too');
    await b.time.pass(600_000);
    assert.deepEqual([b.take(), b.time.sleeping], [[], 0]);
  });

  test('after ten minutes of silence is a new event', async () => {
    const b = new Bench();
    b.record();
    await b.time.pass(599_000);
    b.record();
    await b.time.pass(599_000);
    b.record();
    await b.time.pass(600_000);
    b.record();
    await b.time.pass(0);
    assert.deepEqual(b.take(), ['create 1', 'update 2', 'update 3', 'create 1']);
  });

  test('about another object, or in other words, is something else', async () => {
    const b = new Bench();
    b.record();
    for (const other of [{ regarding: widget('b') }, { note: 'x' }, { reason: 'X' }, { type: 'Warning' as const }, { regarding: { ...widget('a'), metadata: { name: 'a', namespace: 'ns', uid: 'u' } } }]) b.record(other);
    await b.time.pass(0);
    assert.deepEqual(b.take(), Array(6).fill('create 1'));
    assert.equal(new Set(b.events.map((e) => JSON.stringify(e))).size, 6);
  });

  test('before the first was written is one event with a count', async () => {
    const b = new Bench();
    for (let i = 0; i < 5; i++) b.record();
    await b.time.pass(0);
    assert.deepEqual([b.take(), b.events[0]!.series!.count], [['create 5'], 5]);
  });

  test('when the server has forgotten the event is a new one that goes on counting', async () => {
    const b = new Bench();
    b.record();
    await b.time.pass(60_000);
    b.failures.push('NOT_FOUND');
    b.record();
    await b.time.pass(0);
    assert.deepEqual(b.take(), ['create 1', 'update 2', 'create 2']);
    assert.notEqual(b.events[2]!.metadata.name, b.events[0]!.metadata.name);
  });
});

describe('many at a time', () => {
  test('are written one by one: twenty at once, then ten a second, and none is lost', async () => {
    const b = new Bench();
    for (let i = 0; i < 100; i++) b.record({ note: `note ${i}` });
    await b.time.pass(0);
    assert.equal(b.take().length, 20);
    await b.time.pass(1_000);
    assert.equal(b.take().length, 10);
    await b.time.pass(7_000);
    assert.deepEqual([b.take().length, b.recorder.dropped, new Set(b.events.map((e) => e.note)).size], [70, 0, 100]);
    await b.time.pass(2_000);
    for (let i = 0; i < 30; i++) b.record({ note: `later ${i}` });
    await b.time.pass(0);
    assert.equal(b.take().length, 20, 'who was silent may say as much at once as in the beginning');
  });

  test('so many that some would be forgotten are not waited with', async () => {
    const b = new Bench();
    for (let i = 0; i < 1_500; i++) b.record({ note: `note ${i}` });
    await b.time.pass(0);
    assert.equal(b.take().length, 501 + 20);
    await b.recorder.flush(new AbortController().signal);
    assert.deepEqual([b.take().length, b.recorder.dropped], [1_500 - 521, 0], 'and at the end of the process all of them are written');
  });
});

describe('a server that is away', () => {
  test('gets the events when it is back, later each time', async () => {
    const b = new Bench();
    b.failures.push('UNREACHABLE', 'SERVER_ERROR', 'TOO_MANY_REQUESTS');
    b.record();
    b.record({ note: 'another' });
    await b.time.pass(0);
    assert.deepEqual(b.take(), ['create 1'], 'the others wait, too');
    await b.time.pass(12_000);
    assert.deepEqual(b.take(), ['create 1', 'create 1', 'create 1', 'create 1']);
    assert.deepEqual([b.recorder.dropped, b.log.of('warn')], [0, []]);
  });

  test('and had taken one before it went away is not asked for another: what comes is counted in that one', async () => {
    const b = new Bench();
    b.failures.push('UNREACHABLE', 'ALREADY_EXISTS');
    b.record();
    await b.time.pass(60_000);
    assert.deepEqual([b.take(), b.recorder.dropped], [['create 1', 'create 1'], 0]);
    b.record();
    await b.time.pass(120_000);
    assert.deepEqual([b.take(), new Set(b.events.map((e) => e.metadata.name)).size], [['update 2'], 1]);
  });

  test('costs an event after twelve tries, and never more memory than for two thousand', async () => {
    const b = new Bench();
    b.failures.push(...Array(1_000).fill('UNREACHABLE') as ApiErrorCode[]);
    b.record();
    await b.time.pass(600_000);
    assert.deepEqual([b.take().length, b.recorder.dropped], [12, 1]);
    for (let i = 0; i < 2_500; i++) b.record({ note: `note ${i}` });
    assert.equal(b.recorder.dropped, 501);
    await b.recorder.flush(AbortSignal.abort());
  });

  for (const code of ['FORBIDDEN', 'INVALID', 'NOT_FOUND'] as const) {
    test(`that answers ${code} is not asked again, and the next event is written`, async () => {
      const b = new Bench();
      b.failures.push(code);
      b.record();
      b.record({ note: 'another' });
      await b.time.pass(120_000);
      assert.deepEqual([b.take(), b.recorder.dropped, b.log.of('warn')], [['create 1', 'create 1'], 1, ['an event was not written']]);
    });
  }
});

describe('flush', () => {
  test('writes all that is left at once, counts included', async () => {
    const b = new Bench();
    b.record();
    await b.time.pass(0);
    b.record();
    b.record({ note: 'another' });
    await b.recorder.flush(new AbortController().signal);
    assert.deepEqual(b.take(), ['create 1', 'update 2', 'create 1']);
    await b.recorder.flush(new AbortController().signal);
    assert.deepEqual(b.take(), []);
  });

  test('ends with its signal when the server says nothing, also to what was being written before', async () => {
    const b = new Bench();
    b.silent = true;
    b.record();
    await b.time.pass(0);
    b.record({ note: 'another' });
    for (let i = 0; i < 2; i++) {
      const stop = new AbortController();
      const flushed = b.recorder.flush(stop.signal);
      await b.time.idle();
      stop.abort();
      await flushed;
    }
  });
});

test('recording never throws, whatever it is given', () => {
  const b = new Bench();
  b.recorder.record(null as never);
  b.recorder.record({ regarding: { metadata: null } } as never);
  b.record({ note: undefined as never });
  assert.ok(b.log.of('error').length >= 2);
});

test('on the wire it is the events of events.k8s.io, and a server takes them', async (t) => {
  const server = await startServer(t);
  const recorder = new EventRecorder({ client: createClient(connect(t, server)), reportingController: 'example.org/c', reportingInstance: 'p', clock: Date.now, log: new MemoryLog() });
  const happening: Happening = { regarding: widget('a'), type: 'Warning', reason: 'Broken', action: 'Look', note: 'n' };
  recorder.record(happening);
  await recorder.flush(new AbortController().signal);
  recorder.record(happening);
  await recorder.flush(new AbortController().signal);
  const stored = server.cluster.all('/apis/events.k8s.io/v1/events') as unknown as KubeEvent[];
  assert.deepEqual(stored.map((e) => [e.reason, e.series?.count, e.metadata.namespace]), [['Broken', 2, 'ns']]);
});
