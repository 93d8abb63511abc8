/** What is known of objects between a write and the cache hearing of it: own writes are no news, and never believed for ever. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { OwnWrites, type Heard, type News } from '../../../../src/controller/reconcile/own-writes.ts';
import type { KubeObject } from '../../../../src/kube/types.ts';

interface Thing extends KubeObject { readonly spec: number }

const thing = (version: string, more: { uid?: string; generation?: number; labels?: Record<string, string>; spec?: number } = {}): Thing =>
  ({ apiVersion: 'v1', kind: 'Thing', metadata: { name: 'a', uid: more.uid ?? 'u1', resourceVersion: version, generation: more.generation ?? 1, ...(more.labels ? { labels: more.labels } : {}) }, spec: more.spec ?? 1 });

class Case {
  now = 0;
  readonly cache = new Map<string, Thing>();
  readonly own = new OwnWrites<Thing>({ get: (k) => this.cache.get(k), keys: () => this.cache.keys(), values: () => this.cache.values() }, () => this.now);
  /** The cache hears of these states, one after the other, before anybody asks. */
  hears(...states: readonly (Thing | null)[]): News {
    const old = this.cache.get('a');
    let last = old;
    for (const s of states) {
      if (s === null) this.cache.delete('a');
      else this.cache.set('a', last = s);
    }
    const heard: Heard<Thing> = { old, object: this.cache.get('a'), last: last! };
    return this.own.heard('a', heard);
  }
  get version(): string | undefined { return this.own.get('a')?.metadata.resourceVersion; }
}

test('what was written counts at once, and its coming back is no news', () => {
  const c = new Case();
  c.own.wrote('a', thing('10'));
  assert.deepEqual([c.version, [...c.own.keys()], [...c.own.values()].length], ['10', ['a'], 1]);
  assert.deepEqual([c.hears(thing('10')), c.version], ['none', '10']);
  assert.equal(c.hears(thing('11', { generation: 2 })), 'spec', 'from then on the cache speaks');
});

test('what is older than the own write is no news either, and not believed', () => {
  const c = new Case();
  c.hears(thing('5'));
  c.own.wrote('a', thing('10', { generation: 2, spec: 2 }));
  assert.deepEqual([c.hears(thing('7')), c.version, c.own.get('a')?.spec], ['none', '10', 2]);
  assert.deepEqual([c.hears(thing('9'), thing('10', { generation: 2, spec: 2 })), c.version], ['none', '10']);
  // Versions are numbers, and longer ones greater.
  c.own.wrote('a', thing('100'));
  assert.equal(c.hears(thing('99')), 'none');
  assert.equal(c.version, '100');
});

test('others\' changes are told apart: of status, or of what is ours to write', () => {
  const table: [string, Thing, Thing, News][] = [
    ['a status', thing('10'), thing('11'), 'status'],
    ['a spec', thing('10'), thing('11', { generation: 2 }), 'spec'],
    ['a label', thing('10', { labels: { a: 'b' } }), thing('11'), 'spec'],
    ['no labels and empty labels are the same', thing('10', { labels: {} }), thing('11'), 'status'],
    ['another object of the name', thing('10'), thing('11', { uid: 'u2' }), 'spec'],
  ];
  for (const [name, was, is, news] of table) {
    const fromCache = new Case();
    fromCache.hears(was);
    assert.equal(fromCache.hears(is), news, name);
    const own = new Case();
    own.own.wrote('a', was);
    assert.equal(own.hears(was, is), news, `${name}, on top of an own write`);
    assert.equal(own.version, '11');
  }
});

test('a deletion of one\'s own is believed at once; what went before it changes nothing', () => {
  const c = new Case();
  c.hears(thing('10'));
  c.own.wrote('a', null);
  assert.deepEqual([c.version, [...c.own.keys()]], [undefined, []]);
  assert.deepEqual([c.hears(thing('10')), c.version], ['none', undefined], 'an event from before it');
  assert.deepEqual([c.hears(null), c.version], ['none', undefined]);
  assert.equal(c.hears(thing('20', { uid: 'u2' })), 'spec');
});

test('somebody makes it again after our deletion', () => {
  const c = new Case();
  c.hears(thing('10'));
  c.own.wrote('a', null);
  assert.deepEqual([c.hears(null, thing('20', { uid: 'u2' })), c.version], ['spec', '20']);
  const gone = new Case();
  gone.hears(thing('10'));
  gone.own.wrote('a', null);
  assert.equal(gone.hears(null, thing('20', { uid: 'u2' }), null), 'none', 'and it is gone again');
  assert.equal(gone.version, undefined);
});

test('a deletion that came before our create is not one of ours', () => {
  const c = new Case();
  c.hears(thing('10'));
  c.own.wrote('a', thing('20', { uid: 'u2' }));
  assert.deepEqual([c.hears(null), c.version], ['none', '20']);
});

test('a deletion after our write is news, also when both are heard of at once', () => {
  const c = new Case();
  c.hears(thing('10'));
  c.own.wrote('a', thing('20'));
  assert.deepEqual([c.hears(thing('20'), null), c.version], ['spec', undefined]);
  const created = new Case();
  created.own.wrote('a', thing('20'));
  assert.deepEqual([created.hears(thing('20'), null), created.version], ['spec', undefined]);
});

test('a write of which no cache hears within half a minute is not believed any longer, and looked at', () => {
  const c = new Case();
  c.own.wrote('a', thing('10'));
  c.now = 29_000;
  assert.deepEqual([c.own.doubts(), c.version], [[], '10']);
  c.now = 31_000;
  assert.deepEqual([c.own.doubts(), c.version, c.own.doubts()], [['a'], undefined, []]);
});

test('a server that was restored from a backup is believed after that time, although its versions are older', () => {
  const c = new Case();
  c.own.wrote('a', thing('1000'));
  assert.deepEqual([c.hears(thing('500', { generation: 7 })), c.version], ['none', '1000']);
  c.now = 31_000;
  assert.deepEqual([c.own.doubts(), c.version], [['a'], '500']);
});

test('what the server refutes is forgotten and looked at, once', () => {
  const c = new Case();
  c.hears(thing('5'));
  c.own.wrote('a', thing('10'));
  c.own.refuted('a');
  assert.deepEqual([c.version, c.own.doubts(), c.own.doubts()], ['5', ['a'], []]);
  c.own.refuted('a');
  assert.deepEqual(c.own.doubts(), [], 'nothing was believed');
});

test('versions that are no numbers are only compared for being the same', () => {
  const c = new Case();
  c.own.wrote('a', thing('x9'));
  assert.equal(c.hears(thing('x9')), 'none');
  assert.equal(c.hears(thing('x1', { generation: 2 })), 'spec');
});
