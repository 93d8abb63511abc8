/** State written in parts reads as if it had been written whole. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { StateFolder } from '../../../src/agent/state-folder.ts';
import { turnsDuring, watched } from '../turns.ts';

let path: string;
before(() => { path = mkdtempSync(join(tmpdir(), 'ipvs-operator-test-')); });
after(() => rmSync(path, { recursive: true }));

test('a value written in parts is byte for byte the value written whole, beyond a block of 64 KiB and beyond ASCII', () => {
  const folder = StateFolder.open(join(path, 'parts'));
  const value = Array.from({ length: 5_000 }, (_, i) => ({ name: `web-${i}`, note: 'größer als 64 KiB → ok' }));
  folder.write('whole', value);
  folder.writeParts('parts', ['[', ...value.map((v, i) => `${i > 0 ? ',' : ''}${JSON.stringify(v)}`), ']']);
  assert.deepEqual(readFileSync(join(path, 'parts/parts.json')), readFileSync(join(path, 'parts/whole.json')));
  assert.deepEqual(folder.read('parts'), { state: 'ok', value });
  folder.close();
});

test('parts that fail halfway leave the old file as it was', () => {
  const folder = StateFolder.open(join(path, 'halfway'));
  folder.write('x', 1);
  const failing = function* (): Iterable<string> {
    yield '[1,';
    throw new Error('out of parts');
  };
  assert.throws(() => folder.writeParts('x', failing()), { code: 'STATE_UNUSABLE' });
  assert.deepEqual(folder.read('x'), { state: 'ok', value: 1 });
  folder.close();
});

test('what is written slowly reads as if it had been written whole, and the event loop has its turns', async () => {
  const folder = StateFolder.open(join(path, 'slowly'));
  const value = Array.from({ length: 5_000 }, (_, i) => ({ name: `web-${i}`, note: 'größer als 64 KiB → ok' }));
  const parts = ['[', ...value.map((v, i) => `${i > 0 ? ',' : ''}${JSON.stringify(v)}`), ']'];
  let between = 0;
  await turnsDuring((turns) => folder.writePartsSlowly('x', watched(parts, turns, (count) => { between = count; })));
  assert.deepEqual(folder.read('x'), { state: 'ok', value });
  // One after each block that was full by then.
  assert.ok(between >= 3, `${between} turns`);
  folder.close();
});

test('a newer write overtakes one that is slow, and what fails halfway leaves the old file as it was', async () => {
  const folder = StateFolder.open(join(path, 'overtaken'));
  const slow = folder.writePartsSlowly('x', ['"old"']);
  folder.write('x', 'new');
  await slow;
  assert.deepEqual(folder.read('x'), { state: 'ok', value: 'new' });
  const failing = function* (): Iterable<string> {
    yield '[1,';
    throw new Error('out of parts');
  };
  await assert.rejects(folder.writePartsSlowly('x', failing()), { code: 'STATE_UNUSABLE' });
  assert.deepEqual(folder.read('x'), { state: 'ok', value: 'new' });
  folder.close();
});
