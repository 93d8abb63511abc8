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
  readonly untaken = new Map<string, Heard<Thing>>();
  readonly own = new OwnWrites<Thing>({ get: (k) => this.cache.get(k), keys: () => this.cache.keys(), values: () => this.cache.values() }, () => this.now, () => this.untaken);
  /** The cache hears of these states, one after the other, and nobody takes notice yet. */
  gets(...states: readonly (Thing | null)[]): void {
    for (const s of states) {
      const before = this.cache.get('a');
      if (s === null) this.cache.delete('a');
      else this.cache.set('a', s);
      const heard = this.untaken.get('a');
      this.untaken.set('a', { old: heard ? heard.old : before, object: s ?? undefined, last: s ?? before! });
    }
  }
  /** What the cache heard is taken notice of. */
  takes(): News | undefined {
    const heard = this.untaken.get('a');
    this.untaken.clear();
    return heard && this.own.heard('a', heard);
  }
  hears(...states: readonly (Thing | null)[]): News {
    this.gets(...states);
    return this.takes()!;
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

test('what somebody else wrote and came in with the answer to our write of status is looked at, once, although its event is none any more', () => {
  const table: [string, Thing | null, Thing, string[]][] = [
    ['nothing of somebody else\'s', thing('10'), thing('12'), []],
    ['a spec', thing('10'), thing('12', { generation: 2 }), ['a']],
    ['a label', thing('10'), thing('12', { labels: { a: 'b' } }), ['a']],
    ['another object of the name', thing('10'), thing('12', { uid: 'u2' }), ['a']],
    ['an object that was believed gone', null, thing('12'), ['a']],
  ];
  for (const [name, was, answer, doubts] of table) {
    for (const before of [true, false]) {
      const c = new Case();
      if (was) c.hears(was);
      // The events may be in the cache before the answer, or come after it.
      if (before) c.gets(answer);
      c.own.wroteStatus('a', answer);
      if (!before) c.gets(answer);
      assert.deepEqual([c.takes(), c.version, c.own.doubts(), c.own.doubts()], ['none', '12', doubts, []], `${name}, heard of ${before ? 'before' : 'after'} the answer`);
    }
  }
});

test('what somebody else wrote is not known before notice was taken of it: nothing is written over it, in its own version', () => {
  const table: [string, Thing | null, (Thing | null)[], string | undefined, string | undefined][] = [
    ['a spec', thing('10'), [thing('11', { generation: 2 })], '10', '11'],
    ['a label, and then a status', thing('10'), [thing('11', { labels: { a: 'b' } }), thing('12', { labels: { a: 'b' } })], '10', '12'],
    ['one that is new', null, [thing('11')], undefined, '11'],
    ['one that is gone', thing('10'), [null], '10', undefined],
    ['one that was made anew', thing('10'), [null, thing('12', { uid: 'u2' })], '10', '12'],
    ['one that came and went', null, [thing('11'), null], undefined, undefined],
    ['a status: its version is the one to write upon', thing('10'), [thing('11')], '11', '11'],
  ];
  for (const [name, was, states, before, after] of table) {
    const c = new Case();
    if (was) c.hears(was);
    c.gets(...states);
    const there = (version: string | undefined) => (version === undefined ? [] : ['a']);
    assert.deepEqual([c.version, [...c.own.keys()], [...c.own.values()].map((o) => o.metadata.resourceVersion)], [before, there(before), before === undefined ? [] : [before]], name);
    assert.equal(c.own.latest('a')?.metadata.resourceVersion, after, name);
    c.takes();
    assert.deepEqual([c.version, [...c.own.keys()]], [after, there(after)], `${name}, afterwards`);
  }
});

/** All ways to put the second list into the first, each in its order. */
function interleaved<T>(a: readonly T[], b: readonly T[]): T[][] {
  if (a.length === 0 || b.length === 0) return [[...a, ...b]];
  return [...interleaved(a.slice(1), b).map((rest) => [a[0]!, ...rest]), ...interleaved(a, b.slice(1)).map((rest) => [b[0]!, ...rest])];
}

test('in every order of answers, events and notices, what others wrote is news or doubted, and in the end the cache is believed', () => {
  // What the server went through after version 10; `ours`: written by us, and how.
  const histories: { readonly name: string; readonly states: readonly (Thing | null)[]; readonly ours: number; readonly by: 'spec' | 'status' | 'delete'; readonly others: boolean }[] = [
    { name: 'our spec', states: [thing('11', { generation: 2 })], ours: 0, by: 'spec', others: false },
    { name: 'our spec, somebody\'s spec', states: [thing('11', { generation: 2 }), thing('12', { generation: 3 })], ours: 0, by: 'spec', others: true },
    { name: 'our spec, a deletion', states: [thing('11', { generation: 2 }), null], ours: 0, by: 'spec', others: true },
    { name: 'our spec, a deletion, another one', states: [thing('11', { generation: 2 }), null, thing('13', { uid: 'u2' })], ours: 0, by: 'spec', others: true },
    { name: 'our status', states: [thing('11')], ours: 0, by: 'status', others: false },
    { name: 'somebody\'s spec, our status', states: [thing('11', { generation: 2 }), thing('12', { generation: 2 })], ours: 1, by: 'status', others: true },
    { name: 'our status, somebody\'s spec', states: [thing('11'), thing('12', { generation: 2 })], ours: 0, by: 'status', others: true },
    { name: 'somebody\'s spec, our status, somebody\'s spec', states: [thing('11', { generation: 2 }), thing('12', { generation: 2 }), thing('13', { generation: 3 })], ours: 1, by: 'status', others: true },
    { name: 'made anew, our status', states: [null, thing('12', { uid: 'u2' }), thing('13', { uid: 'u2' })], ours: 2, by: 'status', others: true },
    { name: 'our deletion', states: [null], ours: 0, by: 'delete', others: false },
    { name: 'our deletion, another one', states: [null, thing('12', { uid: 'u2' })], ours: 0, by: 'delete', others: true },
  ];
  let orders = 0;
  for (const { name, states, ours, by, others } of histories) {
    // The cache gets the states one by one; a notice may be taken after our answer, never between our request and its answer: passes are one after the other.
    for (const order of interleaved<'get' | 'answer' | 'take'>(states.map(() => 'get' as const), ['answer', 'take', 'take'])) {
      const c = new Case();
      c.hears(thing('10'));
      let [told, i] = [false, 0];
      const take = (): void => { if (c.takes() === 'spec' || c.own.doubts().length > 0) told = true; };
      for (const step of order) {
        if (step === 'get') c.gets(states[i++]!);
        else if (step === 'take') take();
        else if (by === 'status') c.own.wroteStatus('a', states[ours]!);
        else c.own.wrote('a', states[ours]!);
      }
      take();
      const last = states.at(-1);
      const where = `${name}: ${order.join(' ')}`;
      assert.equal(told, others, where);
      assert.equal(c.version, last?.metadata.resourceVersion, where);
      orders++;
    }
  }
  assert.ok(orders > 100, `${orders} orders`);
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
