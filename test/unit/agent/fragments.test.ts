/** Fragments: what all programs together want of a node, however they come and go. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Program } from '../../../src/api/v1alpha1/program.ts';
import { Fragments } from '../../../src/agent/fragments.ts';
import { facts, makeKernel, program } from './setup.ts';

const index = facts(makeKernel());
const owners = (f: Fragments) => Object.fromEntries([...f.services].map(([key, { owner }]) => [key, owner]));
const refused = (f: Fragments) => f.refusals.map((r) => `${r.owner} ${r.code} ${r.message}`);

function take(f: Fragments, changed: Readonly<Record<string, Program | null>>): string[] {
  f.update(new Map(Object.entries(changed)));
  return [...f.refresh(index).keys].sort();
}
const KEY = 'TCP 10.0.1.200:80';
const [web, api] = ['shop/web', 'shop/api'].map((owner) => program({ owner })) as [Program, Program];
const elsewhere = (owner: string) => program({ owner, port: 81 });

test('a port that moves from one VirtualServer to another is served all the time, whichever program comes first', () => {
  const f = new Fragments();
  take(f, { 'shop/web': web, 'shop/api': elsewhere('shop/api') });
  take(f, { 'shop/api': api });
  assert.deepEqual([owners(f), refused(f)], [{ [KEY]: 'shop/web' }, [`shop/api PortConflict ${KEY} is served for shop/web already; choose another port, or another VIP`]]);
  assert.deepEqual(take(f, { 'shop/web': elsewhere('shop/web') }), [KEY, 'TCP 10.0.1.200:81']);
  assert.deepEqual([owners(f), refused(f)], [{ [KEY]: 'shop/api', 'TCP 10.0.1.200:81': 'shop/web' }, []]);
});

test('a program that wants what another has gets nothing, and takes nothing with it when it goes', () => {
  const f = new Fragments();
  take(f, { 'shop/web': web });
  take(f, { 'aaa/evil': program({ owner: 'aaa/evil', realServers: ['10.0.1.66'] }) });
  assert.deepEqual(owners(f), { [KEY]: 'shop/web' });
  f.touchAll();
  take(f, {});
  assert.deepEqual(owners(f), { [KEY]: 'shop/web' }, 'who is in place stays, although the other comes first by name');
  take(f, { 'aaa/evil': null });
  assert.deepEqual([owners(f), refused(f)], [{ [KEY]: 'shop/web' }, []]);
});

test('whatever comes and goes in whatever order, each service that is wanted has one owner that wants it, and the others are refused', () => {
  const names = ['a', 'b', 'c'].map((n) => `ns/${n}`);
  const step = fc.record({ owner: fc.constantFrom(...names), port: fc.option(fc.constantFrom(80, 81)), all: fc.boolean() });
  fc.assert(fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
    const f = new Fragments();
    const wanted = new Map<string, string>();
    for (const { owner, port, all } of steps) {
      const before = owners(f);
      if (all) f.touchAll();
      take(f, { [owner]: port === null ? null : program({ owner, port }) });
      if (port === null) wanted.delete(owner);
      else wanted.set(owner, `TCP 10.0.1.200:${port}`);
      const now = owners(f);
      assert.deepEqual(Object.keys(now).sort(), [...new Set(wanted.values())].sort());
      for (const [key, holder] of Object.entries(now)) {
        assert.equal(wanted.get(holder), key);
        const old = before[key];
        if (old !== undefined && wanted.get(old) === key) assert.equal(holder, old, 'who has it and wants it keeps it');
      }
      assert.equal(f.refusals.length, wanted.size - Object.keys(now).length);
    }
  }));
});
