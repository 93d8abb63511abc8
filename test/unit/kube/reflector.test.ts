/**
 * The reflector against a server that misbehaves on purpose: whatever happens, the store ends up as the server's state, each difference is
 * told once and in order, and nothing but its signal ends it. Waits are recorded, not waited for, except where the watchdog needs real time.
 */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { createClient } from '../../../src/kube/client.ts';
import { Reflector, type Change, type ReflectorOptions } from '../../../src/kube/reflector.ts';
import { Store } from '../../../src/kube/store.ts';
import type { Resource } from '../../../src/kube/types.ts';
import { AbortError } from '../../../src/kube/wait.ts';
import { connect, FakeServer, MemoryLog, refusing, send, startServer, until, type Answer, type Asked } from './fake-server.ts';
import { CHECKED, COLLECTION, GADGETS, WIDGETS, widget, type Widget } from './widgets.ts';

interface TestContext { after(fn: () => void | Promise<void>): void }

const isList = (a: Asked): boolean => a.method === 'GET' && !a.watch && a.name === undefined;
const isWatch = (a: Asked): boolean => a.watch;

/** A reflector of widgets on a fake server, with what it told and how long it waited. */
class Bench {
  readonly changes: Change<Widget>[] = [];
  readonly waits: number[] = [];
  readonly log = new MemoryLog();
  readonly reflector: Reflector<Widget>;
  readonly server: FakeServer;
  now = 0;
  synced = 0;
  ended = false;
  readonly #stop = new AbortController();
  readonly done: Promise<void>;

  constructor(t: TestContext, server: FakeServer, resource: Resource<Widget>, options: Partial<ReflectorOptions<Widget>>) {
    this.server = server;
    this.reflector = new Reflector({
      client: createClient(connect(t, server)), resource, onChange: (change) => { this.changes.push(change); }, onSynced: () => { this.synced += 1; },
      log: this.log, now: () => this.now, random: () => 0.5, freeze: true,
      // A wait takes no time, but the loop goes on only after everything else.
      sleep: async (ms, signal) => {
        this.waits.push(ms);
        this.now += ms;
        await new Promise((resolve) => { setTimeout(resolve, 1); });
        if (signal.aborted) throw new AbortError(signal);
      },
      ...options,
    });
    this.done = this.reflector.run(this.#stop.signal).then(() => { this.ended = true; });
    t.after(async () => {
      this.#stop.abort();
      await this.done;
    });
  }

  stop(): void { this.#stop.abort(); }

  /** As a server does when the time of a watch is over. */
  endWatches(): void {
    this.now += 300_000;
    this.server.endWatches();
  }

  /** What was told since the last look: 'added a 1', 'updated a 1>2', 'deleted b 1'. */
  told(): string[] {
    return this.changes.splice(0).map((c) => `${c.type} ${c.object.metadata.name} ${c.type === 'updated' ? `${c.old.spec.size}>` : ''}${c.object.spec.size}`);
  }

  /** Whether the store is what the server has. */
  same(): boolean {
    const versions = (objects: Iterable<Widget>): string => [...objects].map((o) => `${o.metadata.name}@${o.metadata.resourceVersion}`).sort().join();
    return versions(this.reflector.store.values()) === versions(this.server.cluster.all(COLLECTION) as unknown as Widget[]);
  }

  /** Waits until a watch is open, nothing is under way and the store is what the server has. */
  async settled(): Promise<void> {
    await until('a watch is open and the store is what the server has', () => this.server.watchers === 1 && this.same());
  }

  put(name: string, size: number | string, labels = {}): void {
    const { cluster } = this.server;
    const exists = cluster.all(COLLECTION).some((o) => o.metadata.name === name);
    if (exists) cluster.replace(COLLECTION, widget(name, size, labels));
    else cluster.create(COLLECTION, widget(name, size, labels));
  }

  drop(name: string): void { this.server.cluster.delete(COLLECTION, `ns/${name}`); }
}

async function open(t: TestContext, prepare: (server: FakeServer) => void = () => {}, options: Partial<ReflectorOptions<Widget>> = {}, resource = WIDGETS): Promise<Bench> {
  const server = await startServer(t);
  for (const name of ['a', 'b', 'c']) server.cluster.create(COLLECTION, widget(name));
  prepare(server);
  return new Bench(t, server, resource, options);
}

describe('on a good day', () => {
  test('everything is told once, then each change', async (t) => {
    const b = await open(t);
    await b.settled();
    assert.deepEqual(b.told(), ['added a 1', 'added b 1', 'added c 1']);
    assert.deepEqual([b.reflector.synced, b.synced], [true, 1]);
    b.put('a', 2);
    b.put('d', 1);
    b.drop('b');
    await b.settled();
    assert.deepEqual(b.told(), ['updated a 1>2', 'added d 1', 'deleted b 1']);
    const { lists, watches, events, errors, lastEventAt, badObjects } = b.reflector.stats;
    assert.deepEqual({ lists, watches, events, errors, lastEventAt, badObjects }, { lists: 1, watches: 1, events: 3, errors: 0, lastEventAt: 0, badObjects: 0 });
  });

  test('the list comes in pages, of the newest state; the watch asks for bookmarks and an end in five to ten minutes', async (t) => {
    const b = await open(t, () => {}, { pageSize: 2 });
    await b.settled();
    const [first, second, watch] = b.server.asked;
    assert.deepEqual([[...first!.query], [...second!.query]], [[['limit', '2']], [['limit', '2'], ['continue', 'page-0']]]);
    assert.deepEqual(Object.fromEntries(watch!.query), { watch: 'true', resourceVersion: '103', timeoutSeconds: '450', allowWatchBookmarks: 'true' });
  });

  test('selectors go with every request, and what no longer matches is deleted', async (t) => {
    const b = await open(t, (s) => { s.cluster.create(COLLECTION, widget('x', 1, { team: 'red' })); }, { namespace: 'ns', labelSelector: 'team=red' });
    await until('x is there', () => b.reflector.store.size === 1 && b.server.watchers === 1);
    b.put('x', 2, { team: 'blue' });
    await until('x is gone', () => b.reflector.store.size === 0);
    assert.deepEqual(b.told(), ['added x 1', 'deleted x 1'], 'as it was last known');
    assert.ok(b.server.asked.every((a) => a.namespace === 'ns' && a.query.get('labelSelector') === 'team=red'));
  });

  test('a store made beforehand is filled, with its indexes', async (t) => {
    const store = new Store<Widget>({ indexes: { bySize: (w) => [String(w.spec.size)] } });
    const b = await open(t, () => {}, { store });
    await b.settled();
    assert.equal(b.reflector.store, store);
    assert.equal(store.by('bySize', '1').length, 3);
    assert.ok([...store.values()].every((w) => !('managedFields' in w.metadata)));
  });

  test('a clean end is followed by a watch from the last version, at once and without a list', async (t) => {
    const b = await open(t);
    await b.settled();
    b.put('a', 2);
    await b.settled();
    b.endWatches();
    await until('the second watch', () => b.reflector.stats.watches === 2);
    b.put('b', 2);
    await b.settled();
    assert.deepEqual([b.reflector.stats.lists, b.waits, b.server.asked.at(-1)!.query.get('resourceVersion')], [1, [], '104']);
    assert.deepEqual(b.told().slice(3), ['updated a 1>2', 'updated b 1>2']);
  });

  test('a bookmark moves the version of the next watch, and is told to nobody', async (t) => {
    const b = await open(t);
    await b.settled();
    b.server.cluster.create('/apis/example.org/v1/others', widget('noise'));
    b.server.bookmark();
    b.put('a', 2);
    await b.settled();
    b.drop('a');
    b.server.cluster.create('/apis/example.org/v1/others', widget('more'));
    b.server.bookmark();
    await until('the bookmark came', () => b.same());
    b.endWatches();
    await until('another watch', () => b.reflector.stats.watches === 2 && b.server.watchers === 1);
    assert.equal(b.server.asked.at(-1)!.query.get('resourceVersion'), String(b.server.cluster.version));
    assert.deepEqual(b.told().slice(3), ['updated a 1>2', 'deleted a 2']);
  });

  test('an event that comes twice is told once', async (t) => {
    const b = await open(t);
    await b.settled();
    b.put('a', 2);
    await b.settled();
    b.server.event('MODIFIED', b.server.cluster.get(COLLECTION, 'ns/a'));
    b.put('b', 2);
    await b.settled();
    assert.deepEqual(b.told().slice(3), ['updated a 1>2', 'updated b 1>2']);
  });
});

describe('when the server refuses', () => {
  const refusals: [string, Answer][] = [
    ['500', refusing(500, 'InternalError')],
    ['503 of a load balancer', (response) => { response.writeHead(503).end('<html>'); }],
    ['403', refusing(403, 'Forbidden')],
    ['404, because the CRD is not installed', (response) => { response.writeHead(404).end('404 page not found'); }],
    ['a reset', (response) => { response.socket!.destroy(); }],
    ['garbage', (response) => { response.end('{"items":['); }],
    ['no list', (response) => { send(response, 200, { kind: 'Status' }); }],
  ];
  for (const [name, answer] of refusals) {
    test(`a list that gets ${name} is tried again, later each time`, async (t) => {
      const b = await open(t, (s) => s.fault(isList, answer, 4));
      await b.settled();
      // A reset of a kept connection is repeated once at once by the transport.
      if (name === 'a reset') assert.ok(b.waits.length >= 2);
      else assert.deepEqual(b.waits, [1200, 2400, 4800, 9600]);
      assert.equal(b.reflector.stats.errors, b.waits.length);
      assert.equal(b.log.of('warn')[0], 'cannot list');
    });
  }

  test('a kind that the server has no more is said so once, and until it is there again; the store stays as it is', async (t) => {
    let told = 0;
    const b = await open(t, () => {}, { onKindMissing: () => { told += 1; } });
    await b.settled();
    assert.equal(b.reflector.kindMissing, false);
    const missing: Answer = (response) => { response.writeHead(404).end('404 page not found'); };
    b.server.fault(isWatch, missing);
    b.server.fault(isList, missing, Infinity);
    b.endWatches();
    await until('it is missing, and was asked for again', () => b.reflector.kindMissing && b.reflector.stats.errors >= 4);
    assert.deepEqual([b.reflector.store.size, told], [3, 1]);
    b.put('a', 2);
    b.server.faults.length = 0;
    await b.settled();
    assert.deepEqual([b.reflector.kindMissing, told, b.told().slice(3)], [false, 1, ['updated a 1>2']]);
  });

  test('the waits end at thirty seconds, and begin anew after two minutes of health', async (t) => {
    const b = await open(t, (s) => s.fault(isList, refusing(500, 'InternalError'), 9));
    await b.settled();
    assert.deepEqual(b.waits, [1200, 2400, 4800, 9600, 19_200, 22_500, 22_500, 22_500, 22_500]);
    b.waits.length = 0;
    b.server.fault(isWatch, refusing(500, 'InternalError'));
    b.now += 119_000;
    b.server.breakConnections();
    await until('two waits', () => b.waits.length === 2);
    await b.settled();
    assert.deepEqual(b.waits, [22_500, 22_500], 'not healthy for long enough');
    b.now += 120_000;
    b.server.breakConnections();
    await until('a third wait', () => b.waits.length === 3);
    assert.equal(b.waits[2], 1200);
  });

  test('429 is obeyed: not before it says, on a list and on a watch', async (t) => {
    const later = refusing(429, 'TooManyRequests', { 'retry-after': '17' });
    const b = await open(t, (s) => { s.fault(isList, later); s.fault(isWatch, later); });
    await b.settled();
    assert.deepEqual([b.waits, b.reflector.stats.lists], [[17_000, 17_000], 1]);
  });

  test('what somebody between us and the server asks for is obeyed for a minute and no longer: an hour, or a time that no timer knows', async (t) => {
    const b = await open(t, (s) => {
      s.fault(isList, refusing(503, 'ServiceUnavailable', { 'retry-after': '3600' }));
      s.fault(isWatch, refusing(503, 'ServiceUnavailable', { 'retry-after': '99999999' }));
    });
    await b.settled();
    assert.deepEqual([b.waits, b.reflector.stats.lists], [[60_000, 60_000], 1]);
  });

  test('a watch that is refused goes on at its version, and misses nothing', async (t) => {
    const b = await open(t);
    await b.settled();
    // Both happen between two refusals: nothing here may hang on when the test looks.
    const meanwhile = [() => {}, () => b.put('a', 2), () => b.drop('b'), () => {}, () => {}];
    b.server.fault(isWatch, (response) => { meanwhile.shift()!(); response.writeHead(503).end('<html>'); }, meanwhile.length);
    b.endWatches();
    await until('all refusals were heard', () => b.waits.length === 5);
    await b.settled();
    assert.equal(b.reflector.stats.lists, 1, 'an outage is no reason to read everything');
    assert.deepEqual(b.told().slice(3), ['updated a 1>2', 'deleted b 1']);
  });

  const expiries: [string, Answer][] = [
    ['410 as the answer', refusing(410, 'Expired')],
    ['410 in the stream', (response) => { response.end(`${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' } })}\n`); }],
    ['a Gone without a code', (response) => { response.end(`${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', reason: 'Gone' } })}\n`); }],
    ['400, because the version is none', refusing(400, 'BadRequest')],
    ['404, because the kind is gone', refusing(404, 'NotFound')],
  ];
  for (const [name, answer] of expiries) {
    test(`a watch that gets ${name} is followed by a list, whose differences are told`, async (t) => {
      const b = await open(t);
      await b.settled();
      b.server.fault(isWatch, (response, asked, proceed) => {
        b.put('a', 2);
        b.drop('b');
        b.put('d', 1);
        b.server.cluster.compact();
        answer(response, asked, proceed);
      });
      b.endWatches();
      await b.settled();
      assert.deepEqual([b.reflector.stats.lists, b.waits], [2, [1200]]);
      assert.deepEqual(b.told().slice(3).sort(), ['added d 1', 'deleted b 1', 'updated a 1>2'], 'and nothing of what did not change');
    });
  }

  test('a version that is too old after an outage is followed by a list soon, not after the long wait of the outage', async (t) => {
    const b = await open(t);
    await b.settled();
    b.server.fault(isWatch, refusing(410, 'Expired'));
    b.server.fault(isWatch, (response) => { response.writeHead(503).end(); }, 6);
    b.server.faults.reverse();
    b.endWatches();
    await until('it listed', () => b.reflector.stats.lists === 2);
    await b.settled();
    assert.deepEqual(b.waits, [1200, 2400, 4800, 9600, 19_200, 22_500, 1200]);
  });

  test('an error in the stream that is no 410 is reported, and the watch goes on at its version', async (t) => {
    const b = await open(t);
    await b.settled();
    b.server.event('ERROR', { kind: 'Status', code: 500, reason: 'InternalError', message: 'etcd is away' });
    await until('it is opened anew', () => b.waits.length === 1 && b.server.watchers === 1);
    assert.equal(b.reflector.stats.lists, 1);
    assert.match(String(b.log.lines.find((l) => l.message === 'cannot watch')!.fields['err']), /etcd is away/);
  });

  test('a version that is refused three times with a 500 is suspected, and everything is listed', async (t) => {
    const b = await open(t);
    await b.settled();
    b.server.fault(isWatch, refusing(500, 'InternalError'), 3);
    b.endWatches();
    await until('it lists', () => b.reflector.stats.lists === 2);
    await b.settled();
    assert.equal(b.reflector.stats.errors, 3);
  });

  test('a version is suspected only when nothing good came in between', async (t) => {
    const b = await open(t);
    for (let i = 1; i <= 3; i++) {
      await b.settled();
      b.server.fault(isWatch, refusing(500, 'InternalError'), 2);
      b.endWatches();
      await until('it was refused twice', () => b.reflector.stats.errors === 2 * i);
      b.put('a', 1 + i);
    }
    await b.settled();
    assert.equal(b.reflector.stats.lists, 1);
  });
});

describe('when the connection breaks', () => {
  test('in the middle of a line, the line is asked for again', async (t) => {
    const b = await open(t);
    await b.settled();
    const line = JSON.stringify({ type: 'MODIFIED', object: { ...b.server.cluster.get(COLLECTION, 'ns/a'), spec: { size: 99 } } });
    b.server.write(line.slice(0, 60));
    await new Promise((resolve) => { setTimeout(resolve, 20); });
    b.server.breakConnections();
    b.put('a', 2);
    await b.settled();
    assert.deepEqual([b.told().slice(3), b.reflector.stats.lists, b.waits], [['updated a 1>2'], 1, [1200]]);
  });

  test('garbage in the stream is reported with its place, and the rest is asked for again', async (t) => {
    const b = await open(t);
    await b.settled();
    b.put('a', 2);
    b.server.write('{"type":"MODIFIED","object":{]\n');
    b.put('b', 2);
    await b.settled();
    assert.match(String(b.log.lines.find((l) => l.message === 'cannot watch')!.fields['err']), /event 2 of the watch, 30 characters: .*position 29/);
    assert.deepEqual([b.told().slice(3), b.reflector.stats.lists], [['updated a 1>2', 'updated b 1>2'], 1]);
  });

  test('an event that is garbage each time it is asked for is got over by a list; it was asked for for ever, and nothing after it was heard', async (t) => {
    const b = await open(t);
    await b.settled();
    const garbage: Answer = (response) => {
      if (b.reflector.stats.errors === 0) b.put('a', 2);
      response.writeHead(200).write('{"type":"MODIFIED","object":{]\n');
    };
    b.server.fault((a) => isWatch(a) && a.query.get('resourceVersion') === '103', garbage, Infinity);
    b.endWatches();
    await until('it lists', () => b.reflector.stats.lists === 2);
    await b.settled();
    assert.deepEqual([b.told().slice(-1), b.reflector.stats.errors, b.waits], [['updated a 1>2'], 3, [1200, 2400, 4800]]);
  });

  test('an event of an object without a name is no event, and does not move the version', async (t) => {
    const b = await open(t);
    await b.settled();
    b.server.event('ADDED', { metadata: { resourceVersion: '999' } });
    await until('it is refused', () => b.waits.length === 1);
    b.put('a', 2);
    await b.settled();
    assert.equal(b.server.asked.at(-1)!.query.get('resourceVersion'), '103');
  });

  for (const [name, answer] of [
    ['resets in the middle of it', (response) => { response.writeHead(200).write('{"metadata":{"resourceVersion":"500"},"items":[{"metadata":{"name":"c"}}', () => response.socket!.destroy()); }],
    ['fails', refusing(500, 'InternalError')],
    ['says that the token ran out, and then that it is busy', refusing(410, 'Expired')],
  ] as [string, Answer][]) {
    test(`half a list changes nothing: the second page ${name}`, async (t) => {
      const b = await open(t, () => {}, { pageSize: 2 });
      await b.settled();
      b.told();
      b.server.fault(isWatch, refusing(410, 'Expired'));
      b.server.fault((a) => a.query.has('continue'), (response, asked, proceed) => {
        assert.deepEqual(b.told(), [], 'nothing is told before the list is whole');
        assert.equal(b.reflector.store.size, 3);
        b.server.fault((a) => isList(a), refusing(503, 'ServiceUnavailable'));
        answer(response, asked, proceed);
      });
      b.endWatches();
      await until('the list failed', () => b.waits.length >= 2);
      assert.equal(b.reflector.store.size, 3);
      b.drop('a');
      b.server.cluster.compact();
      await b.settled();
      assert.deepEqual(b.told(), ['deleted a 1']);
    });
  }

  test('a token that runs out in the middle of a list brings everything in one piece', async (t) => {
    const b = await open(t, (s) => s.fault((a) => a.query.has('continue'), (_r, _a, proceed) => { s.cluster.create(COLLECTION, widget('d')); s.cluster.delete(COLLECTION, 'ns/a'); s.cluster.compact(); proceed(); }), { pageSize: 2 });
    await b.settled();
    assert.deepEqual([b.waits, b.told()], [[], ['added b 1', 'added c 1', 'added d 1']]);
  });

  test('a watch that is silent is given up by the watchdog, and nothing is missed; that is no error', async (t) => {
    const b = await open(t, (s) => s.fault(isWatch, (response) => { response.writeHead(200).flushHeaders(); }), { idleMs: 150 });
    await until('the silent watch is open', () => b.reflector.stats.watches >= 1);
    b.put('a', 2);
    await until('the change came by another watch', () => b.same());
    assert.deepEqual([b.told().slice(3), b.reflector.stats.lists, b.waits, b.reflector.stats.errors], [['updated a 1>2'], 1, [], 0]);
    assert.deepEqual(b.server.asked.slice(1, 4).map((a) => [a.watch, a.query.get('limit')]), [[true, null], [false, '1'], [true, null]], 'after a small look at where the server is');
  });

  for (const [name, answer] of [
    ['is silent', (response) => { response.writeHead(200).flushHeaders(); }],
    ['says so', (_response, _asked, proceed) => { proceed(); }],
  ] as [string, Answer][]) {
    test(`a server that was restored from a backup is noticed when it ${name}; no version is trusted then, and all are afterwards`, async (t) => {
      const b = await open(t, () => {}, { idleMs: 150 });
      const { cluster } = b.server;
      await b.settled();
      cluster.version = 998;
      b.put('a', 2); // 999, which the restored server gives out again.
      b.drop('b');
      b.put('c', 2); // 1001
      await b.settled();
      b.told();
      let restored = false;
      b.server.fault((asked) => asked.watch && (!restored || Number(asked.query.get('resourceVersion')) > cluster.version), (response, asked, proceed) => {
        if (!restored) cluster.restore(995, COLLECTION, [widget('c', 1), widget('d', 1), widget('e', 1), widget('a', 7)]);
        restored = true;
        answer(response, asked, proceed);
      }, Infinity);
      b.endWatches();
      await until('it listed', () => b.reflector.stats.lists === 2);
      await b.settled();
      assert.equal(b.reflector.store.get('ns/a')!.metadata.resourceVersion, '999');
      assert.deepEqual(b.told().sort(), ['added a 7', 'added c 1', 'added d 1', 'added e 1', 'deleted a 2', 'deleted c 2']);
      b.server.fault(isWatch, refusing(410, 'Expired'));
      b.endWatches();
      await until('it listed again', () => b.reflector.stats.lists === 3);
      assert.deepEqual(b.told(), []);
    });
  }

  test('who is told to ask again waits neither for a watch that is silent nor for the end of a pause, and misses nothing', async (t) => {
    const b = await open(t, (s) => s.fault(isWatch, (response) => { response.writeHead(200).flushHeaders(); }), {
      sleep: (_, signal) => new Promise((_resolve, reject) => { signal.addEventListener('abort', () => reject(new AbortError(signal)), { once: true }); }),
    });
    await until('the silent watch is open', () => b.server.asked.some(isWatch));
    b.put('a', 2);
    b.reflector.reopen();
    await b.settled();
    assert.deepEqual([b.told().slice(3), b.reflector.stats.lists, b.reflector.stats.errors], [['updated a 1>2'], 1, 0]);
    b.server.fault(isWatch, refusing(503, 'ServiceUnavailable'));
    b.endWatches();
    await until('it waits after an error', () => b.reflector.stats.errors === 1);
    b.drop('b');
    b.reflector.reopen();
    await b.settled();
    assert.deepEqual(b.told(), ['deleted b 1']);
  });

  test('a watch that says something now and then is not given up', async (t) => {
    const b = await open(t, () => {}, { idleMs: 1_000 });
    await b.settled();
    const beat = setInterval(() => b.server.bookmark(), 50);
    await new Promise((resolve) => { setTimeout(resolve, 2_000); });
    clearInterval(beat);
    assert.equal(b.reflector.stats.watches, 1);
  });

  test('a watch that always ends at once is not opened a thousand times a second', async (t) => {
    const b = await open(t, (s) => s.fault(isWatch, (response) => { response.end(); }, 4));
    await b.settled();
    assert.deepEqual(b.waits, [1200, 2400, 4800, 9600]);
  });
});

describe('objects that fail their schema', () => {
  test('are named, leave the others alone, and keep their last good version until they are mended', async (t) => {
    const b = await open(t, (s) => { s.cluster.create(COLLECTION, widget('bad', 'large')); }, {}, CHECKED);
    await until('the good ones are there', () => b.reflector.synced && b.server.watchers === 1);
    assert.deepEqual([b.told(), [...b.reflector.badObjects], b.reflector.store.has('ns/bad')], [['added a 1', 'added b 1', 'added c 1'], [['ns/bad', 'spec.size is no number']], false]);
    assert.equal(b.reflector.store.get('ns/a')!.spec.colour, 'grey', 'parse completes what it takes');
    b.put('a', 'large');
    b.put('b', 2);
    await until('b came', () => b.reflector.store.get('ns/b')!.spec.size === 2);
    assert.deepEqual([b.reflector.store.get('ns/a')!.spec.size, b.reflector.stats.badObjects], [1, 2]);
    b.put('a', 3);
    b.put('bad', 4);
    await until('both are good', () => b.reflector.stats.badObjects === 0);
    assert.deepEqual(b.told(), ['updated b 1>2', 'updated a 1>3', 'added bad 4']);
    assert.deepEqual(b.log.lines.filter((l) => l.message === 'an object fails its schema').map((l) => [l.fields['object'], l.fields['lastGood']]), [['ns/bad', false], ['ns/a', true]]);
  });

  test('are kept and not named again by a relist that finds them unchanged, and deleted when they are gone', async (t) => {
    const b = await open(t, () => {}, {}, CHECKED);
    await b.settled();
    b.put('a', 'large');
    b.put('never', 'large');
    await until('both are bad', () => b.reflector.stats.badObjects === 2);
    const relist = async (meanwhile = (): void => {}): Promise<void> => {
      const { lists } = b.reflector.stats;
      b.server.fault(isWatch, (response, asked, proceed) => {
        meanwhile();
        b.server.cluster.compact();
        refusing(410, 'Expired')(response, asked, proceed);
      });
      b.endWatches();
      await until('it listed', () => b.reflector.stats.lists > lists && b.server.watchers === 1);
    };
    await relist();
    assert.deepEqual([b.reflector.store.get('ns/a')!.spec.size, b.reflector.stats.badObjects], [1, 2]);
    assert.equal(b.log.lines.filter((l) => l.message === 'an object fails its schema').length, 2);
    b.told();
    await relist(() => { b.drop('a'); b.drop('never'); });
    assert.deepEqual([b.told(), b.reflector.stats.badObjects], [['deleted a 1'], 0]);
  });

  test('have no last good version from another object of the same name', async (t) => {
    const b = await open(t, () => {}, {}, CHECKED);
    await b.settled();
    b.told();
    b.server.fault(isWatch, (_r, _a, proceed) => { b.drop('a'); b.put('a', 'large'); b.drop('b'); b.put('b', 5); b.server.cluster.compact(); proceed(); });
    b.endWatches();
    await until('it listed', () => b.reflector.stats.lists === 2);
    assert.deepEqual(b.told(), ['deleted a 1', 'deleted b 1', 'added b 5']);
    assert.equal(b.reflector.store.has('ns/a'), false);
  });

  test('the same goes for an index function that throws', async (t) => {
    const b = await open(t, () => {}, { indexes: { bySize: (w) => { if (w.spec.size === 7) throw new Error('seven'); return []; } } });
    await b.settled();
    b.put('a', 7);
    await until('a is bad', () => b.reflector.stats.badObjects === 1);
    assert.equal(b.reflector.badObjects.get('ns/a'), 'seven');
    assert.equal(b.reflector.store.get('ns/a')!.spec.size, 1);
  });
});

describe('the listener', () => {
  test('that throws is logged, and neither ends anything nor loses the order', async (t) => {
    const seen: string[] = [];
    const b = await open(t, () => {}, { onChange: (c) => { seen.push(`${c.type} ${c.key}`); if (c.key === 'ns/b') throw new Error('no b'); }, onSynced: () => { throw new Error('not ready'); } });
    await b.settled();
    b.put('b', 2);
    b.put('c', 2);
    await b.settled();
    assert.deepEqual(seen, ['added ns/a', 'added ns/b', 'added ns/c', 'updated ns/b', 'updated ns/c']);
    assert.deepEqual(b.log.lines.filter((l) => l.level === 'error').map((l) => [l.message, l.fields['object']]), [['a listener failed', 'ns/b'], ['a listener failed', 'synced'], ['a listener failed', 'ns/b']]);
    assert.equal(b.reflector.stats.errors, 0);
  });

  test('that rejects is logged, too', async (t) => {
    const b = await open(t, () => {}, { onChange: (async () => { throw new Error('late'); }) });
    await b.settled();
    assert.deepEqual(b.log.of('error'), ['a listener failed', 'a listener failed', 'a listener failed']);
  });

  test('sees in the store all changes of a list when it is told of the first', async (t) => {
    const sizes: number[] = [];
    const bench: { b?: Bench } = {};
    const b = bench.b = await open(t, () => {}, { onChange: () => { sizes.push(bench.b?.reflector.store.size ?? -1); } });
    await b.settled();
    assert.deepEqual(sizes, [3, 3, 3]);
  });
});

describe('the end', () => {
  test('comes with the signal, in a watch', async (t) => {
    const b = await open(t);
    await b.settled();
    b.stop();
    await b.done;
    await until('the watch is closed', () => b.server.watchers === 0);
    assert.deepEqual([b.waits, b.log.of('warn')], [[], []]);
  });

  test('comes with the signal, in a list that hangs, which then opens no watch', async (t) => {
    const b = await open(t, (s) => s.fault(isList, () => {}));
    await until('the list hangs', () => b.server.asked.length === 1);
    b.stop();
    await b.done;
    assert.deepEqual([b.server.asked.length, b.told(), b.reflector.synced], [1, [], false]);
  });

  test('comes with the signal, in a wait', async (t) => {
    const waits: AbortSignal[] = [];
    const b = await open(t, (s) => s.fault(isList, refusing(500, 'InternalError')), { sleep: (_ms, signal) => new Promise((_, reject) => { waits.push(signal); signal.addEventListener('abort', () => reject(new AbortError(signal))); }) });
    await until('it waits', () => waits.length === 1);
    b.stop();
    await b.done;
    assert.equal(b.server.asked.length, 1);
  });

  test('a second run goes on from where the first ended', async (t) => {
    const b = await open(t);
    await b.settled();
    await assert.rejects(b.reflector.run(new AbortController().signal), /running already/);
    b.stop();
    await b.done;
    b.put('a', 2);
    const again = new AbortController();
    const running = b.reflector.run(again.signal);
    await b.settled();
    assert.deepEqual([b.told().slice(3), b.reflector.stats.lists, b.synced], [['updated a 1>2'], 1, 1]);
    again.abort();
    await running;
  });
});

test('a namespace for a kind without one is a TypeError at once', () => {
  const options = { client: {} as never, resource: GADGETS, namespace: 'ns', onChange: () => {}, log: new MemoryLog(), now: () => 0, random: () => 0 };
  assert.throws(() => new Reflector(options), TypeError);
});
