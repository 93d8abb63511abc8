/** What of a process's memory can be let go of without loss, and that it is. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cleanSpans, ownMemory } from '../../../src/agent/resident.ts';

const entry = (head: string, anonymous: number): string => `${head}\nSize:               3364 kB\nRss:                3000 kB\nPrivate_Dirty:         0 kB\nAnonymous:      ${String(anonymous).padStart(8)} kB\nLazyFree:              0 kB\nVmFlags: rd mr mw me\n`;

const CASES: readonly (readonly [string, string, number, boolean])[] = [
  ['code of a program', '00400000-00800000 r-xp 00346000 fe:00 53094 /usr/bin/node', 0, true],
  ['constants of a program', '7f9091cd5000-7f9091d3b000 r--p 02e01000 fe:00 53094 /usr/bin/node', 0, true],
  ['relocations: pages of a file that were written to before they were sealed', '00400000-00800000 r--p 06751000 fe:00 53094 /usr/bin/node', 16, false],
  ['variables of a program', '00400000-00800000 rw-p 06755000 fe:00 53094 /usr/bin/node', 0, false],
  ['code that was made at run time', '7f9054000000-7f9073dc0000 rwxp 00000000 00:00 0', 0, false],
  ['a heap that is sealed for now', '00400000-00800000 r--p 00000000 00:00 0 [heap]', 0, false],
  ['memory that is shared', '00400000-00800000 r--s 00000000 00:01 17 /dev/shm/x', 0, false],
  ['what is too small', '00400000-00401000 r-xp 00000000 fe:00 53094 /usr/bin/node', 0, false],
];

for (const [what, head, anonymous, goes] of CASES) {
  test(`${what} ${goes ? 'can go' : 'stays'}`, () => {
    const [start, end] = head.split(' ')[0]!.split('-').map((text) => parseInt(text, 16)) as [number, number];
    const other = entry('7ffc00000000-7ffc00400000 rw-p 00000000 00:00 0 [stack]', 40);
    assert.deepEqual(cleanSpans(other + entry(head, anonymous) + other), goes ? [{ start, end }] : []);
  });
}

test('a process lets go of ten megabytes of its program, keeps what is its own, and goes on', () => {
  const script = `
    import { readFileSync } from 'node:fs';
    import { forgetFiles, ownMemory } from ${JSON.stringify(new URL('../../../src/agent/resident.ts', import.meta.url).href)};
    const kept = Array.from({ length: 50_000 }, (_, i) => ({ i, text: 'x' + i }));
    const file = () => Number(/^RssFile:\\s+(\\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
    const before = [file(), ownMemory()];
    for (let i = 0; i < 3; i++) forgetFiles();
    const after = [file(), ownMemory()];
    const whole = kept.every(({ i, text }) => text === 'x' + i) && JSON.stringify(kept).length > 1e6 && new Intl.NumberFormat('de').format(1e6) === '1.000.000';
    console.log(JSON.stringify({ before, after, whole }));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  assert.notEqual(stdout, '', stderr);
  const { before, after, whole } = JSON.parse(stdout) as { before: [number, number]; after: [number, number]; whole: boolean };
  assert.ok(after[0] < before[0] - 10e6, `${before[0]} ${after[0]}`);
  assert.ok(after[1] > before[1] / 2, `${before[1]} ${after[1]}`);
  assert.equal(whole, true);
});

test('own memory is a part of the resident memory', () => {
  const own = ownMemory();
  assert.ok(own > 5e6 && own < process.memoryUsage.rss(), String(own));
});
