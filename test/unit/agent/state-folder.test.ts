/** The state folder: whole files or none, one process at a time, and nothing believed that fails a check. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { StateFolder, StateFolderError } from '../../../src/agent/state-folder.ts';
import { tempFolder } from './setup.ts';

const code = (c: string) => (error: unknown) => error instanceof StateFolderError && error.code === c;

function open(t: { after(fn: () => void): void }, path = join(tempFolder(t), 'state')): StateFolder {
  const folder = StateFolder.open(path);
  t.after(() => folder.close());
  return folder;
}

test('what was written is read back, by this process and by the next one', (t) => {
  const folder = open(t);
  const value = { a: [1, 'ü', null], b: { c: true } };
  folder.write('ledger', value);
  assert.deepEqual(folder.read('ledger'), { state: 'ok', value });
  assert.deepEqual(StateFolder.view(folder.path).read('ledger'), { state: 'ok', value });
  assert.deepEqual(folder.read('drains'), { state: 'missing' });
});

const SPOILT: readonly [string, (text: string) => string, RegExp][] = [
  ['empty', () => '', /no header line/], ['cut off', (s) => s.slice(0, -1), /checksum/], ['changed by one character', (s) => s.replace('41', '42'), /checksum/],
  ['of another version', (s) => s.replace('"version":1', '"version":2'), /version 2 is not 1/], ['without a header', (s) => s.slice(s.indexOf('\n') + 1), /no header line/],
  ['binary', () => '\0\u0001\n\0', /no header line/],
];
for (const [name, spoil, problem] of SPOILT) {
  test(`a file that is ${name} is reported, set aside and lost`, (t) => {
    const folder = open(t);
    folder.write('ledger', { x: 41 });
    const file = join(folder.path, 'ledger.json');
    const text = spoil(readFileSync(file, 'utf8'));
    writeFileSync(file, text);
    const looked = StateFolder.view(folder.path).read('ledger');
    assert.equal(looked.state, 'corrupt');
    assert.ok(existsSync(file), 'who only looks moves nothing');
    const read = folder.read('ledger');
    assert.match(read.state === 'corrupt' ? read.problem : '', problem);
    assert.equal(readFileSync(`${file}.corrupt`, 'utf8'), text);
    assert.deepEqual(folder.read('ledger'), { state: 'missing' });
  });
}

test('a write replaces the whole file at once: a half-written one never has its name', (t) => {
  const folder = open(t);
  folder.write('ledger', { x: 1 });
  // What a kill in the middle of a write leaves behind.
  writeFileSync(join(folder.path, 'ledger.json.tmp'), '{"version":1,"sha');
  assert.deepEqual(folder.read('ledger'), { state: 'ok', value: { x: 1 } });
  folder.write('ledger', { x: 2 });
  assert.deepEqual(folder.read('ledger'), { state: 'ok', value: { x: 2 } });
  assert.deepEqual(readdirSync(folder.path).sort(), ['ledger.json', 'lock']);
});

test('a second opener is refused while the first has it, and let in afterwards', (t) => {
  const first = open(t);
  assert.throws(() => StateFolder.open(first.path), code('STATE_LOCKED'));
  first.write('ledger', { x: 1 });
  first.close();
  const second = StateFolder.open(first.path);
  t.after(() => second.close());
  assert.deepEqual(second.read('ledger'), { state: 'ok', value: { x: 1 } });
});

test('a process that is killed lets go of the folder', async (t) => {
  const path = join(tempFolder(t), 'state');
  const module = new URL('../../../src/agent/state-folder.ts', import.meta.url).href;
  const child = spawn(process.execPath, ['--input-type=module', '-e', `import { StateFolder } from ${JSON.stringify(module)}; StateFolder.open(${JSON.stringify(path)}); console.log('open'); setInterval(() => {}, 1000);`], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  assert.throws(() => StateFolder.open(path), code('STATE_LOCKED'));
  child.kill('SIGKILL');
  await once(child, 'exit');
  StateFolder.open(path).close();
});

test('a folder that cannot be made or written says so and what to do', (t) => {
  const path = join(tempFolder(t), 'file');
  writeFileSync(path, '');
  assert.throws(() => StateFolder.open(path), (e: unknown) => code('STATE_UNUSABLE')(e) && /name another with --state/.test((e as Error).message));
  assert.throws(() => StateFolder.open(join(path, 'below')), code('STATE_UNUSABLE'));
  assert.throws(() => StateFolder.open('/proc/ipvs-operator'), code('STATE_UNUSABLE'));
});

test('a folder that disappears fails the write and leaves what was there', (t) => {
  const folder = open(t);
  folder.write('ledger', { x: 1 });
  renameSync(folder.path, `${folder.path}.gone`);
  assert.throws(() => folder.write('ledger', { x: 2 }), code('STATE_UNUSABLE'));
  renameSync(`${folder.path}.gone`, folder.path);
  assert.deepEqual(folder.read('ledger'), { state: 'ok', value: { x: 1 } });
  rmSync(join(folder.path, 'ledger.json'));
  mkdirSync(join(folder.path, 'ledger.json'));
  assert.equal(folder.read('ledger').state, 'corrupt', 'a directory of that name is no ledger');
});

test('who only looks may not write', (t) => {
  const folder = open(t);
  assert.throws(() => StateFolder.view(folder.path).write('ledger', {}), code('STATE_UNUSABLE'));
  assert.throws(() => StateFolder.view(folder.path).writeText('status.json', ''), code('STATE_UNUSABLE'));
});
