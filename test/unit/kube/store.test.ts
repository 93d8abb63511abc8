/** The store and its indexes: always what was put in last, whatever came before. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Store, storeOf, writerOf } from '../../../src/kube/store.ts';
import { keyOf } from '../../../src/kube/types.ts';
import { widget, type Widget } from './widgets.ts';

const indexes = { bySize: (w: Widget) => [String(w.spec.size)], byLabel: (w: Widget) => Object.entries(w.metadata.labels ?? {}).flatMap(([k, v]) => [k, `${k}=${v}`]) };
const names = (list: readonly Widget[]): string[] => list.map((w) => w.metadata.name).sort();

test('objects are found by key and by index, and moved when they change', () => {
  const store = new Store<Widget>({ indexes });
  const writer = writerOf(store);
  const put = (w: Widget): void => writer.put(writer.prepare(w));
  put(widget('a', 1, { x: '1' }));
  put(widget('b', 1));
  put(widget('a', 2, { y: '1' }));
  assert.equal(store.size, 2);
  assert.equal(store.get('ns/a')!.spec.size, 2);
  assert.deepEqual([names(store.by('bySize', '1')), names(store.by('bySize', '2')), names(store.by('byLabel', 'x')), names(store.by('byLabel', 'y=1'))], [['b'], ['a'], [], ['a']]);
  assert.deepEqual([store.count('bySize', '1'), store.count('bySize', '2'), store.count('byLabel', 'x')], [1, 1, 0]);
  writer.delete('ns/a');
  assert.deepEqual([store.get('ns/a'), store.has('ns/a'), store.by('byLabel', 'y'), names([...store.values()])], [undefined, false, [], ['b']]);
});

test('an index that does not exist is a TypeError, not an empty list', () => {
  assert.throws(() => new Store<Widget>({ indexes }).by('bySise', '1'), /no index bySise/);
  assert.throws(() => new Store<Widget>({ indexes }).count('bySise', '1'), /no index bySise/);
});

test('managedFields are not stored, what nobody needs is trimmed, and the original stays as it was', () => {
  const original = { ...widget('a'), metadata: { ...widget('a').metadata, managedFields: [{ manager: 'x' }] }, status: { ready: 1 } };
  const before = structuredClone(original);
  const store = storeOf<Widget>([original], { trim: ({ status: _, ...rest }) => rest });
  assert.deepEqual(store.get('ns/a'), widget('a'));
  assert.deepEqual(original, before);
});

test('an index function that throws leaves everything as it was', () => {
  const store = new Store<Widget>({ indexes: { ...indexes, bad: (w) => { if (w.spec.size > 5) throw new Error('too large'); return []; } } });
  const writer = writerOf(store);
  writer.put(writer.prepare(widget('a', 1)));
  assert.throws(() => writer.prepare(widget('a', 9)), /too large/);
  assert.deepEqual([store.get('ns/a')!.spec.size, names(store.by('bySize', '1')), store.by('bySize', '9')], [1, ['a'], []]);
});

test('frozen objects show who changes them', () => {
  const store = storeOf([widget('a')], { freeze: true });
  assert.throws(() => { (store.get('ns/a')!.spec as { size: number }).size = 2; }, TypeError);
});

test('after any history each index is what it would be if it were made anew', () => {
  const object = fc.record({ name: fc.constantFrom('a', 'b', 'c'), size: fc.integer({ min: 0, max: 2 }), labels: fc.dictionary(fc.constantFrom('x', 'y'), fc.constantFrom('1', '2')) });
  fc.assert(fc.property(fc.array(fc.oneof(object, fc.constantFrom('ns/a', 'ns/b', 'ns/c'))), (history) => {
    const store = new Store<Widget>({ indexes });
    const writer = writerOf(store);
    const model = new Map<string, Widget>();
    for (const step of history) {
      if (typeof step === 'string') {
        writer.delete(step);
        model.delete(step);
      } else {
        const made = widget(step.name, step.size, step.labels);
        writer.put(writer.prepare(made));
        model.set(keyOf(made), made);
      }
    }
    assert.deepEqual(new Map([...store.values()].map((w) => [keyOf(w), w])), model);
    for (const [index, of] of Object.entries(indexes)) {
      for (const value of ['0', '1', '2', 'x', 'y', 'x=1', 'x=2', 'y=1', 'y=2']) assert.deepEqual(names(store.by(index, value)), names([...model.values()].filter((w) => of(w).includes(value))));
    }
  }), { numRuns: 200 });
});
