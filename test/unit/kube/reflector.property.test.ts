/**
 * Random histories of a server and of its faults, over real sockets: in the end the store is what the server has, and what was told adds
 * up to exactly that, with no change that could not have been.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { createClient } from '../../../src/kube/client.ts';
import { Reflector, type Change } from '../../../src/kube/reflector.ts';
import { AbortError } from '../../../src/kube/wait.ts';
import { FakeCredentials, FakeServer, MemoryLog, accessTo, refusing, until, type Answer, type Asked } from './fake-server.ts';
import { Transport } from '../../../src/kube/transport.ts';
import { CHECKED, COLLECTION, widget, type Widget } from './widgets.ts';

const isList = (a: Asked): boolean => a.method === 'GET' && !a.watch;
const isWatch = (a: Asked): boolean => a.watch;
const any = (): boolean => true;

const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
/** 'large' fails the schema. */
const size = fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 0, max: 3 }) }, { weight: 1, arbitrary: fc.constant('large') });
const colour = fc.constantFrom('red', 'blue');

const halfPage: Answer = (response) => { response.writeHead(200).write('{"metadata":{"resourceVersion":"9999"},"items":[', () => response.socket!.destroy()); };
const halfLine: Answer = (response) => { response.writeHead(200).write('{"type":"ADDED","object":{"metadata":{"name":"ghost","resourceVersion":"9999"', () => response.socket!.destroy()); };
const silence: Answer = (response) => { response.writeHead(200).flushHeaders(); };
const faults: readonly [string, (a: Asked) => boolean, Answer][] = [
  ['list 500', isList, refusing(500, 'InternalError')], ['list reset', isList, halfPage], ['list 410', isList, refusing(410, 'Expired')], ['list garbage', isList, (r) => { r.end('{'); }],
  ['watch 500', isWatch, refusing(500, 'InternalError')], ['watch 410', isWatch, refusing(410, 'Expired')], ['watch reset', isWatch, halfLine], ['watch garbage', isWatch, (r) => { r.end('{]\n'); }],
  ['watch silent', isWatch, silence], ['watch 403', isWatch, refusing(403, 'Forbidden')], ['any 429', any, refusing(429, 'TooManyRequests', { 'retry-after': '1' })], ['any reset', any, (r) => { r.socket!.destroy(); }],
];

type Step =
  | { readonly do: 'put'; readonly name: string; readonly size: number | string; readonly colour: string }
  | { readonly do: 'drop' | 'renew'; readonly name: string }
  | { readonly do: 'fault'; readonly fault: number; readonly times: number }
  | { readonly do: 'end' | 'break' | 'compact' | 'bookmark' | 'expire' | 'garbage' | 'half' | 'breathe' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('put' as const), name, size, colour }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('drop' as const, 'renew' as const), name }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('fault' as const), fault: fc.integer({ min: 0, max: faults.length - 1 }), times: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constantFrom('end' as const, 'break' as const, 'compact' as const, 'bookmark' as const, 'expire' as const, 'garbage' as const, 'half' as const, 'breathe' as const) }) },
);

function take(server: FakeServer, s: Step): void {
  const { cluster } = server;
  const exists = (n: string): boolean => cluster.all(COLLECTION).some((o) => o.metadata.name === n);
  switch (s.do) {
    case 'put': {
      const object = widget(s.name, s.size, { colour: s.colour });
      if (exists(s.name)) cluster.replace(COLLECTION, object);
      else cluster.create(COLLECTION, object);
      return;
    }
    case 'drop': if (exists(s.name)) cluster.delete(COLLECTION, `ns/${s.name}`); return;
    case 'renew':
      if (exists(s.name)) cluster.delete(COLLECTION, `ns/${s.name}`);
      cluster.create(COLLECTION, widget(s.name, 1, { colour: 'red' }));
      return;
    case 'fault': server.fault(faults[s.fault]![1], faults[s.fault]![2], s.times); return;
    case 'end': server.endWatches(); return;
    case 'break': server.breakConnections(); return;
    case 'compact': cluster.compact(); return;
    case 'bookmark': server.bookmark(); return;
    case 'expire': server.event('ERROR', { kind: 'Status', code: 410, reason: 'Expired' }); server.endWatches(); return;
    case 'garbage': server.write('{]\n'); return;
    case 'half': server.write('{"type":"DELETED","object":{"metadata":{"name":"a"'); server.breakConnections(); return;
    case 'breathe': return;
  }
}

const good = (o: Widget): boolean => typeof o.spec.size === 'number';
const picture = (objects: Iterable<Widget>): string[] => [...objects].map((o) => `${o.metadata.name}@${o.metadata.resourceVersion}`).sort();

/** Follows what is told, and fails at what could not have been. */
class Follower {
  readonly state = new Map<string, Widget>();
  take(change: Change<Widget>): void {
    const before = this.state.get(change.key);
    if (change.type === 'added') assert.equal(before, undefined, `${change.key} was added twice`);
    else if (change.type === 'updated') {
      assert.equal(change.old, before, `${change.key}: old is not what was told before`);
      assert.notEqual(change.object.metadata.resourceVersion, change.old.metadata.resourceVersion);
      assert.equal(change.object.metadata.uid, change.old.metadata.uid);
    } else assert.equal(change.object, before, `${change.key} was deleted as something else`);
    if (change.type === 'deleted') this.state.delete(change.key);
    else this.state.set(change.key, change.object);
  }
}

async function history(steps: readonly Step[], selector: string | undefined): Promise<void> {
  const server = await new FakeServer().start();
  const transport = new Transport(new FakeCredentials(accessTo(server)), { userAgent: 'test' });
  const stop = new AbortController();
  const follower = new Follower();
  const wrong: unknown[] = [];
  const log = new MemoryLog();
  const reflector = new Reflector<Widget>({
    client: createClient(transport), resource: CHECKED, labelSelector: selector, pageSize: 2, idleMs: 250, freeze: true, log, now: () => performance.now(), random: Math.random,
    onChange: (change) => { try { follower.take(change); } catch (error) { wrong.push(error); } },
    sleep: async (_ms, signal) => {
      await new Promise((resolve) => { setTimeout(resolve, 1); });
      if (signal.aborted) throw new AbortError(signal);
    },
  });
  const running = reflector.run(stop.signal);
  try {
    for (const s of steps) {
      take(server, s);
      await new Promise((resolve) => { setTimeout(resolve, s.do === 'breathe' ? 15 : 0); });
    }
    server.faults.length = 0;
    const wanted = (): Widget[] => (server.cluster.all(COLLECTION) as unknown as Widget[]).filter((o) => selector === undefined || o.metadata.labels?.['colour'] === 'red');
    // Of an object that fails the schema the last good version stays, or none; everything else is as on the server.
    const same = (): boolean => {
      const bad = new Set(wanted().filter((o) => !good(o)).map((o) => o.metadata.name));
      const mine = [...reflector.store.values()].filter((o) => !bad.has(o.metadata.name));
      return reflector.synced && reflector.stats.badObjects === bad.size && picture(mine).join() === picture(wanted().filter(good)).join();
    };
    await until(`the store is what the server has: ${picture(wanted()).join()}`, same);
    assert.deepEqual(wrong, []);
    assert.deepEqual(picture(follower.state.values()), picture(reflector.store.values()), 'what was told is what is there');
    assert.deepEqual(log.of('error'), []);
  } finally {
    stop.abort();
    await running;
    transport.close();
    await server.close();
  }
}

test('whatever the server does, in the end the store is what it has, and what was told adds up to it', async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), fc.constantFrom(undefined, 'colour=red'), history), { numRuns: 40, endOnFailure: true });
});
