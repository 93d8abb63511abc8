/** The work queue: one worker a key, nothing lost, backoff. Time is fake. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { WorkQueue, type Handler } from '../../../src/kube/queue.ts';
import { AbortError } from '../../../src/kube/wait.ts';
import { MemoryLog } from './fake-server.ts';
import { FakeTime } from './fake-time.ts';

/** A queue whose handlers end when they are told to. */
class Bench {
  readonly time = new FakeTime();
  readonly queue = new WorkQueue({ now: this.time.now, sleep: this.time.sleep });
  readonly log = new MemoryLog();
  /** Keys in the order their handlers started, with the time. */
  readonly started: string[] = [];
  readonly open = new Map<string, { readonly end: () => void; readonly fail: (error: Error) => void }>();
  readonly #stop = new AbortController();
  readonly done: Promise<void>;
  ended = false;

  constructor(t: { after(fn: () => Promise<void>): void }, workers = 1, handler?: Handler) {
    const slow: Handler = (key) => new Promise((end, fail) => {
      this.started.push(`${this.time.now()} ${key}`);
      const close = (then: () => void): void => { this.open.delete(key); then(); };
      this.open.set(key, { end: () => close(end), fail: (error) => close(() => fail(error)) });
    });
    this.done = this.queue.run(async (key, signal) => {
      if (!handler) return await slow(key, signal);
      this.started.push(`${this.time.now()} ${key}`);
      await handler(key, signal);
    }, { workers, signal: this.#stop.signal, log: this.log }).then(() => { this.ended = true; });
    t.after(async () => {
      this.stop();
      for (const { end } of this.open.values()) end();
      await this.done;
    });
  }

  stop(): void { this.#stop.abort(); }
  async end(key: string): Promise<void> { this.open.get(key)!.end(); await this.time.idle(); }
  async fail(key: string): Promise<void> { this.open.get(key)!.fail(new Error(`no ${key}`)); await this.time.idle(); }
  take(): string[] { return this.started.splice(0); }
}

describe('keys', () => {
  test('are worked on in order of arrival, each once however often it was added', async (t) => {
    const b = new Bench(t);
    for (const key of ['a', 'b', 'a', 'c', 'b', 'a']) b.queue.add(key);
    await b.time.idle();
    for (const key of ['a', 'b', 'c']) await b.end(key);
    assert.deepEqual(b.take(), ['0 a', '0 b', '0 c']);
    assert.deepEqual([b.queue.stats.added, b.queue.stats.started, b.queue.stats.succeeded], [6, 3, 3]);
  });

  test('that are added while they are worked on are worked on once more, after that', async (t) => {
    const b = new Bench(t, 3);
    b.queue.add('a');
    await b.time.idle();
    b.queue.add('a');
    b.queue.add('a');
    b.queue.add('b');
    await b.time.idle();
    assert.deepEqual(b.take(), ['0 a', '0 b'], 'not beside each other, although there are workers');
    await b.end('a');
    assert.deepEqual(b.take(), ['0 a']);
    await b.end('a');
    assert.deepEqual(b.take(), []);
  });

  test('are worked on side by side, but not by more than the workers', async (t) => {
    const b = new Bench(t, 2);
    for (const key of ['a', 'b', 'c']) b.queue.add(key);
    await b.time.idle();
    assert.deepEqual([b.take(), b.queue.stats.active, b.queue.stats.ready], [['0 a', '0 b'], 2, 1]);
    await b.end('b');
    assert.deepEqual(b.take(), ['0 c']);
  });

  test('that are added for later come when it is time, and at the earlier of two times', async (t) => {
    const b = new Bench(t, 9, async () => {});
    b.queue.addAfter('a', 1000);
    b.queue.addAfter('a', 500);
    b.queue.addAfter('a', 700);
    b.queue.addAfter('b', 200);
    b.queue.addAfter('now', 0);
    await b.time.pass(5000);
    assert.deepEqual(b.take(), ['0 now', '200 b', '500 a']);
    assert.equal(b.queue.stats.delayed, 0);
  });

  test('that are due while they are worked on come after that', async (t) => {
    const b = new Bench(t, 2);
    b.queue.add('a');
    b.queue.addAfter('a', 100);
    await b.time.pass(1000);
    assert.deepEqual(b.take(), ['0 a']);
    await b.end('a');
    assert.deepEqual(b.take(), ['1000 a']);
  });

  test('for a time beyond the timers of Node wait for it', async (t) => {
    const b = new Bench(t, 1, async () => {});
    b.queue.addAfter('a', 40 * 86_400_000);
    await b.time.pass(39.9 * 86_400_000);
    assert.deepEqual(b.take(), []);
    await b.time.pass(0.2 * 86_400_000);
    assert.equal(b.take().length, 1);
  });
});

describe('failures', () => {
  test('are tried again after 5 ms, then twice as long each time, at most five minutes', async (t) => {
    const b = new Bench(t, 1, async () => { throw new Error('no'); });
    b.queue.add('a');
    await b.time.pass(1_500_000);
    const times = b.take().map((l) => Number(l.split(' ')[0]));
    const waits = times.slice(1).map((at, i) => at - times[i]!);
    assert.deepEqual(waits.slice(0, 17), [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_240, 20_480, 40_960, 81_920, 163_840, 300_000]);
    assert.ok(waits.slice(17).every((w) => w === 300_000));
    assert.equal(b.log.of('warn').length, times.length);
  });

  test('are forgotten by a success, or when told', async (t) => {
    const b = new Bench(t);
    b.queue.add('a');
    await b.time.idle();
    for (const [i, wait] of [5, 10, 20].entries()) {
      await b.fail('a');
      await b.time.pass(wait);
      assert.equal(b.take().length, i === 0 ? 2 : 1);
    }
    await b.end('a');
    b.queue.add('a');
    await b.time.idle();
    await b.fail('a');
    b.take();
    await b.time.pass(5);
    assert.equal(b.take().length, 1, '5 ms again after a success');
    b.queue.forget('a');
    await b.fail('a');
    await b.time.pass(5);
    assert.equal(b.take().length, 1, '5 ms again when told to forget');
  });

  test('that the handler itself asks to retry count, too', async (t) => {
    const bench: { b?: Bench } = {};
    const b = bench.b = new Bench(t, 1, async (key) => { bench.b!.queue.retry(key); });
    b.queue.add('a');
    await b.time.pass(34);
    assert.deepEqual(b.take(), ['0 a', '5 a', '15 a']);
    assert.deepEqual([b.queue.stats.failed, b.queue.stats.retries], [0, 3]);
  });

  test('wait for nothing when the key is added anew', async (t) => {
    const b = new Bench(t, 1);
    b.queue.add('a');
    await b.time.idle();
    for (let i = 0; i < 10; i++) {
      await b.fail('a');
      b.queue.add('a');
      await b.time.idle();
    }
    assert.ok(b.take().every((l) => l === '0 a'));
  });

  test('of one key leave the others alone, also when the handler throws at once', async (t) => {
    const b = new Bench(t, 1, ((key: string) => { if (key === 'bad') throw new Error('at once'); return Promise.resolve(); }) as Handler);
    for (const key of ['bad', 'a', 'b']) b.queue.add(key);
    await b.time.pass(4);
    assert.deepEqual(b.take(), ['0 bad', '0 a', '0 b']);
  });
});

describe('the end', () => {
  test('waits for the handlers that run, starts no other, and keeps what is left for another run', async (t) => {
    const b = new Bench(t, 1);
    for (const key of ['a', 'b']) b.queue.add(key);
    b.queue.addAfter('c', 10);
    await b.time.idle();
    b.stop();
    await b.time.pass(100);
    assert.equal(b.ended, false);
    await b.end('a');
    await b.done;
    assert.deepEqual(b.take(), ['0 a']);
    const again = new AbortController();
    const seen: string[] = [];
    const second = b.queue.run(async (key) => { seen.push(key); }, { workers: 1, signal: again.signal, log: b.log });
    await b.time.idle();
    assert.deepEqual(seen, ['b', 'c']);
    again.abort();
    await second;
  });

  test('tells the handlers; one that stops because of it is no failure, and its key stays', async (t) => {
    const b = new Bench(t, 1, (_key, signal) => new Promise((_, reject) => { signal.addEventListener('abort', () => reject(new AbortError(signal))); }));
    b.queue.add('a');
    await b.time.idle();
    b.stop();
    await b.done;
    assert.deepEqual([b.queue.stats.failed, b.queue.stats.ready, b.log.lines], [0, 1, []]);
  });

  test('is there at once when nothing runs, also with a key far in the future', async (t) => {
    const b = new Bench(t);
    b.queue.addAfter('a', 1e9);
    await b.time.idle();
    b.stop();
    await b.done;
    assert.equal(b.time.sleeping, 0);
  });
});

test('handlers that never wait do not keep the event loop for themselves', async (t) => {
  const b = new Bench(t, 1, async () => {});
  for (let i = 0; i < 10_000; i++) b.queue.add(`k${i}`);
  await new Promise((resolve) => { setImmediate(resolve); });
  const early = b.started.length;
  assert.ok(early < 5_000, `${early} of 10000 before anybody else`);
  while (b.started.length < 10_000) await new Promise((resolve) => { setImmediate(resolve); });
});

test('a queue runs once at a time, and with a worker', async (t) => {
  const b = new Bench(t);
  const options = { signal: new AbortController().signal, log: b.log };
  await assert.rejects(b.queue.run(async () => {}, { workers: 1, ...options }), /running already/);
  await assert.rejects(new WorkQueue({ now: b.time.now }).run(async () => {}, { workers: 0, ...options }), /needs a worker/);
});

test('with the clock and timers of the machine it does the same', async () => {
  const queue = new WorkQueue({ now: () => performance.now() });
  const stop = new AbortController();
  const seen: string[] = [];
  queue.addAfter('later', 30);
  queue.add('now');
  await queue.run(async (key) => {
    seen.push(key);
    if (seen.length === 2) throw new Error('once');
    if (seen.length === 3) stop.abort();
  }, { workers: 2, signal: stop.signal, log: new MemoryLog() });
  assert.deepEqual(seen, ['now', 'later', 'later']);
});

const key = fc.constantFrom('a', 'b', 'c');
const action = fc.oneof(
  fc.record({ do: fc.constant('add' as const), key }),
  fc.record({ do: fc.constant('after' as const), key, ms: fc.integer({ min: -1, max: 50 }) }),
  fc.record({ do: fc.constant('retry' as const), key }),
  fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 60 }) }),
  fc.record({ do: fc.constant('end' as const), ok: fc.boolean(), which: fc.integer({ min: 0, max: 2 }) }),
);

test('whatever comes in whatever order: never two workers for one key, never more than the workers, and nothing that was wished is lost', async () => {
  await fc.assert(fc.asyncProperty(fc.array(action, { maxLength: 40 }), fc.integer({ min: 1, max: 3 }), async (actions, workers) => {
    const time = new FakeTime();
    const queue = new WorkQueue({ now: time.now, sleep: time.sleep });
    const stop = new AbortController();
    const running = new Map<string, { readonly end: () => void; readonly fail: (e: Error) => void }>();
    /** For each key how many wishes there were, and how many had been made when its last good run began. */
    const wishes = new Map<string, number>();
    const served = new Map<string, number>();
    const begun = new Map<string, number>();
    const wish = (k: string): void => { wishes.set(k, (wishes.get(k) ?? 0) + 1); };
    const faults: string[] = [];
    const done = queue.run((k) => new Promise((end, fail) => {
      if (running.has(k)) faults.push(`two workers for ${k}`);
      begun.set(k, wishes.get(k) ?? 0);
      running.set(k, { end, fail });
      if (running.size > workers) faults.push(`${running.size} workers`);
    }), { workers, signal: stop.signal, log: new MemoryLog() });
    const finish = async (k: string, ok: boolean): Promise<void> => {
      const { end, fail } = running.get(k)!;
      running.delete(k);
      if (ok) served.set(k, begun.get(k)!);
      if (ok) end(); else fail(new Error('no'));
      await time.idle();
    };
    for (const a of actions) {
      if (a.do === 'pass') await time.pass(a.ms);
      else if (a.do === 'end') {
        const k = [...running.keys()][a.which % Math.max(1, running.size)];
        if (k !== undefined) await finish(k, a.ok);
      } else {
        wish(a.key);
        if (a.do === 'add') queue.add(a.key);
        else if (a.do === 'after') queue.addAfter(a.key, a.ms);
        else queue.retry(a.key);
      }
    }
    // Now all goes well: in the end every wish is served by a good run that began after it.
    for (let i = 0; i < 500 && (running.size > 0 || queue.stats.ready + queue.stats.delayed > 0); i++) {
      await time.pass(400_000);
      for (const k of [...running.keys()]) await finish(k, true);
    }
    stop.abort();
    await done;
    assert.deepEqual(faults, []);
    assert.deepEqual(served, wishes);
    const { ready, active, delayed } = queue.stats;
    assert.deepEqual([ready, active, delayed, time.sleeping], [0, 0, 0, 0]);
  }), { numRuns: 150 });
});
