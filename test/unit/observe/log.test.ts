/** The log of a process that runs for ever: what cannot be written is lost and counted, and stops nothing. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { openLog } from '../../../src/observe/log.ts';

const failure = (code: string): Error => Object.assign(new Error(code), { code });

/** A file that takes so many bytes at a time as `room` says, one number a write; then everything. A text there is an error. */
function file(room: (number | string)[]): { readonly text: () => string; readonly write: (bytes: Uint8Array) => number; readonly writes: () => number } {
  let text = '';
  let writes = 0;
  return {
    text: () => text,
    writes: () => writes,
    write: (bytes) => {
      writes++;
      const next = room.shift() ?? bytes.length;
      if (typeof next === 'string') throw failure(next);
      text += Buffer.from(bytes.subarray(0, next)).toString();
      return Math.min(next, bytes.length);
    },
  };
}

const lines = (text: string): Record<string, unknown>[] => text.split('\n').filter(Boolean).map((line) => JSON.parse(line) as Record<string, unknown>);

test('a line is JSON, with what every line says, and no token in it', () => {
  const { text, write } = file([]);
  openLog('info', { node: 'edge-1' }, write).info({ token: 'secret', n: 1 }, 'hello');
  const [line] = lines(text());
  assert.deepEqual([line!['node'], line!['n'], line!['msg'], line!['token']], ['edge-1', 1, 'hello', '[Redacted]']);
});

for (const why of ['ENOSPC', 'EPIPE', 'EIO']) {
  test(`what cannot be written (${why}) is lost, and said as soon as something can be written`, () => {
    const { text, write } = file([why, why, why]);
    const log = openLog('info', { node: 'edge-1' }, write);
    for (const n of [1, 2, 3, 4, 5]) log.info({ n }, 'line');
    const [lost, ...rest] = lines(text());
    assert.deepEqual([lost!['lost'], lost!['err'], lost!['level'], lost!['node']], [3, why, 40, 'edge-1']);
    assert.deepEqual(rest.map(({ n }) => n), [4, 5], 'it is said once');
  });
}

test('a line that was written in part is ended before the next, so that every line can be read', () => {
  const { text, write } = file([7, 'ENOSPC', 'ENOSPC', 3, 'ENOSPC']);
  const log = openLog('info', {}, write);
  for (const n of [1, 2, 3, 4]) log.info({ n }, 'line');
  assert.deepEqual(lines(text()).map(({ n, lost }) => n ?? `${String(lost)} lost`), [1, '2 lost', 4]);
});

test('a pipe that is full for a moment loses nothing, and one that stays full is waited for once', () => {
  const short = file(['EAGAIN', 'EAGAIN', 5, 'EAGAIN']);
  openLog('info', {}, short.write).info({ n: 1 }, 'line');
  assert.deepEqual(lines(short.text()).map(({ n }) => n), [1]);
  const long = file(Array.from({ length: 1000 }, () => 'EAGAIN'));
  const log = openLog('info', {}, long.write);
  for (let n = 0; n < 100; n++) log.info({ n }, 'line');
  assert.ok(long.writes() < 150, `${long.writes()} writes for 100 lines`);
});

test('a process whose log is on a full disk goes on, and ends when it is told to', () => {
  const full = openSync('/dev/full', 'w');
  const code = `import { openLog } from ${JSON.stringify(new URL('../../../src/observe/log.ts', import.meta.url).href)};
    const log = openLog('info', {}); log.info('a'); await new Promise((r) => setTimeout(r, 10)); log.info('b'); console.error('went on'); process.exit(7);`;
  const { status, signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', full, 'pipe'], encoding: 'utf8', timeout: 60_000, killSignal: 'SIGKILL' });
  closeSync(full);
  assert.deepEqual([status, signal], [7, null], stderr);
  assert.match(stderr, /went on/);
});
