/** Journals: what was appended whole is read, in its order; nothing of what was not, whatever is left of it. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Journal, journalFile, readJournal, removeJournals } from '../../../src/agent/journal.ts';
import { StateFolder } from '../../../src/agent/state-folder.ts';
import { turnsDuring, watched } from '../turns.ts';
import { tempFolder } from './setup.ts';

function open(t: { after(fn: () => void): void }): StateFolder {
  const folder = StateFolder.open(join(tempFolder(t), 'state'));
  t.after(() => folder.close());
  return folder;
}
const APPENDS = [[{ a: 1 }, { b: 'größer' }], [{ c: [null, true] }], [{ d: 'x'.repeat(40) }, { e: 2 }, { f: 3 }]];
const texts = (entries: readonly unknown[]): string[] => entries.map((entry) => JSON.stringify(entry));

test('what was appended is read in its order; no file is an empty journal', async (t) => {
  const folder = open(t);
  assert.deepEqual(readJournal(folder, 'x', 'aa'), { appends: [], problem: null });
  const journal = new Journal(folder, 'x', 'aa');
  assert.equal(existsSync(join(folder.path, 'x.aa.journal')), false, 'nothing is made before it is needed');
  await journal.append(texts(APPENDS[0]!));
  journal.appendNow(texts(APPENDS[1]!));
  await journal.append(texts(APPENDS[2]!));
  assert.deepEqual(readJournal(folder, 'x', 'aa'), { appends: APPENDS, problem: null });
  assert.equal(journal.size, readFileSync(join(folder.path, journal.file)).length);
});

test('an append beyond blocks of 64 KiB is read as one, and the event loop has its turns in it', async (t) => {
  const folder = open(t);
  const entries = Array.from({ length: 5_000 }, (_, i) => ({ name: `web-${i}`, note: 'größer als 64 KiB → ok' }));
  const journal = new Journal(folder, 'x', 'aa');
  let between = 0;
  await turnsDuring((turns) => journal.append(watched(texts(entries), turns, (count) => { between = count; })));
  // One after each block that was full by then.
  assert.ok(between >= 4, `${between} turns`);
  assert.deepEqual(readJournal(folder, 'x', 'aa').appends, [entries]);
});

/** A journal with APPENDS in it, its bytes, and where each append ends. */
async function written(t: { after(fn: () => void): void }): Promise<{ folder: StateFolder; file: string; bytes: Buffer; ends: number[] }> {
  const folder = open(t);
  const journal = new Journal(folder, 'x', 'aa');
  const ends: number[] = [];
  for (const entries of APPENDS) {
    await journal.append(texts(entries));
    ends.push(journal.size);
  }
  const file = join(folder.path, journal.file);
  return { folder, file, bytes: readFileSync(file), ends };
}

test('a journal that is cut at any byte has the appends that are whole, and says so unless it is cut between two', async (t) => {
  const { folder, file, bytes, ends } = await written(t);
  for (let length = 0; length <= bytes.length; length++) {
    writeFileSync(file, bytes.subarray(0, length));
    const { appends, problem } = readJournal(folder, 'x', 'aa');
    assert.deepEqual(appends, APPENDS.slice(0, ends.filter((end) => end <= length).length), `${length} bytes`);
    assert.equal(problem === null, length === 0 || ends.includes(length), `${length} bytes: ${problem}`);
  }
});

test('a journal with any byte changed has the appends before it, and nothing after it', async (t) => {
  const { folder, file, bytes, ends } = await written(t);
  for (let at = 0; at < bytes.length; at++) {
    const spoilt = Buffer.from(bytes);
    spoilt[at]! ^= 1;
    writeFileSync(file, spoilt);
    const { appends, problem } = readJournal(folder, 'x', 'aa');
    assert.deepEqual(appends, APPENDS.slice(0, ends.filter((end) => end <= at).length), `byte ${at}`);
    assert.notEqual(problem, null);
  }
});

test('a journal of another base is not read, whatever it is called, nor one with a line left out', async (t) => {
  const { folder, file, bytes } = await written(t);
  assert.deepEqual(readJournal(folder, 'x', 'bb'), { appends: [], problem: null });
  renameSync(file, join(folder.path, journalFile('x', 'bb')));
  assert.deepEqual(readJournal(folder, 'x', 'bb'), { appends: [], problem: 'line 1: the checksum does not match' });
  const lines = bytes.toString().split('\n');
  writeFileSync(file, [...lines.slice(0, 3), ...lines.slice(5)].join('\n'));
  assert.deepEqual(readJournal(folder, 'x', 'aa'), { appends: APPENDS.slice(0, 1), problem: 'line 4: the checksum does not match' });
});

test('what cannot be read at all is a problem, and no exception', (t) => {
  const folder = open(t);
  StateFolder.open(join(folder.path, journalFile('x', 'aa'))).close();
  assert.match(readJournal(folder, 'x', 'aa').problem ?? '', /EISDIR/);
});

for (const [how, append] of [['slowly', async (j: Journal, e: Iterable<string>) => j.append(e)], ['at once', async (j: Journal, e: Iterable<string>) => { j.appendNow(e); }]] as const) {
  test(`after an append that failed ${how} nothing more is taken: it would stand behind a torn place`, async (t) => {
    const folder = open(t);
    const journal = new Journal(folder, 'x', 'aa');
    await append(journal, ['{"a":1}']);
    const failing = function* (): Iterable<string> {
      yield '"x"';
      throw new Error('out of entries');
    };
    await assert.rejects(append(journal, failing()), { code: 'STATE_UNUSABLE', message: /x\.aa\.journal cannot be written: out of entries/ });
    await assert.rejects(append(journal, ['{"b":1}']), { code: 'STATE_UNUSABLE' });
    assert.deepEqual(readJournal(folder, 'x', 'aa').appends, [[{ a: 1 }]]);
  });
}

test('two appends at once are refused, and the first comes to its end, also when the journal is closed meanwhile', async (t) => {
  const folder = open(t);
  const journal = new Journal(folder, 'x', 'aa');
  const first = journal.append(['1']);
  await assert.rejects(journal.append(['2']), { code: 'STATE_UNUSABLE' });
  assert.throws(() => journal.appendNow(['3']), { code: 'STATE_UNUSABLE' });
  journal.close();
  await first;
  await assert.rejects(journal.append(['4']), { code: 'STATE_UNUSABLE' });
  assert.deepEqual(readJournal(folder, 'x', 'aa'), { appends: [[1]], problem: null });
});

test('who only looks, or has let go of the folder, may not append or remove', async (t) => {
  const { folder } = await written(t);
  const before = readdirSync(folder.path);
  await assert.rejects(new Journal(StateFolder.view(folder.path), 'x', 'aa').append(['1']), { code: 'STATE_UNUSABLE' });
  assert.throws(() => removeJournals(StateFolder.view(folder.path), 'x', null), { code: 'STATE_UNUSABLE' });
  const journal = new Journal(folder, 'x', 'bb');
  await journal.append(['1']);
  folder.close();
  await assert.rejects(journal.append(['2']), { code: 'STATE_UNUSABLE' });
  assert.deepEqual(readdirSync(folder.path).sort(), [...before, 'x.bb.journal'].sort());
});

test('journals of the past are removed, and nothing else', async (t) => {
  const { folder } = await written(t);
  for (const name of ['x.bb.journal', 'xy.aa.journal', 'x.json', 'x.json.tmp']) writeFileSync(join(folder.path, name), '');
  removeJournals(folder, 'x', 'aa');
  assert.deepEqual(readdirSync(folder.path).sort(), ['lock', 'x.aa.journal', 'x.json', 'x.json.tmp', 'xy.aa.journal']);
  removeJournals(folder, 'x', null);
  assert.deepEqual(readdirSync(folder.path).sort(), ['lock', 'x.json', 'x.json.tmp', 'xy.aa.journal']);
  rmSync(folder.path, { recursive: true });
  assert.throws(() => removeJournals(folder, 'x', null), { code: 'ENOENT' });
});
