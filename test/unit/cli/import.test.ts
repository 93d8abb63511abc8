/** `ipvs-operator import` and `save` as processes: pipes, exit codes, help. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { importCommand } from '../../../src/cli/import.ts';
import { saveCommand } from '../../../src/cli/save.ts';
import { IMPORT_USAGE, SAVE_USAGE } from '../../../src/cli/usages.ts';
import { tableFrom } from './pipeline.ts';
import { run, runIntoClosedPipe } from './program.ts';

const TEXT = '-A -t 192.0.2.10:80 -s rr\n-a -t 192.0.2.10:80 -r 10.0.0.1:8080 -m -w 3\n';

test('a saved table on stdin becomes manifests on stdout', () => {
  const { code, stdout, stderr } = run(['import', '--namespace', 'shop', '--pool', 'old'], TEXT);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^# Made by ipvs-operator from 1 service of stdin\.\n/);
  assert.match(stdout, /namespace: shop/);
  assert.match(stdout, /name: old\n/);
  assert.equal(tableFrom(stdout)[0]!.destinations[0]!.port, 8080);
});

test('what is left out is said on top, on stderr and by exit code 1', () => {
  const { code, stdout, stderr } = run(['import'], `${TEXT}-A -f 5 -s rr\n`);
  assert.equal(code, 1);
  assert.match(stdout, /^# Left out, .*\n# {3}line 3: FWM 5 IPv4: a fwmark service/m);
  assert.match(stderr, /^left out: line 3: FWM 5 IPv4: a fwmark service/);
  assert.equal(tableFrom(stdout).length, 1);
});

test('a text that cannot be read gives nothing but its problems, and exit code 2', () => {
  const { code, stdout, stderr } = run(['import'], `${TEXT}-A -t web:80\n`);
  assert.deepEqual([code, stdout], [2, '']);
  assert.match(stderr, /^line 3: .*names are not looked up/);
});

test('a reader that has had enough is no error', async () => {
  // Half a megabyte comes of it: twice what a pipe holds.
  const text = Array.from({ length: 1500 }, (_, i) => `-A -t 10.1.${i >> 8}.${i & 255}:80 -s rr\n-a -t 10.1.${i >> 8}.${i & 255}:80 -r 10.2.0.1\n`).join('');
  const { code, stderr } = await runIntoClosedPipe(['import'], text);
  assert.deepEqual([code, stderr], [0, '']);
});

const never = new AbortController().signal;
const WRONG: readonly (readonly [args: string[], message: RegExp])[] = [
  [['import', 'a', 'b'], /reads one file, not 2/],
  [['import', '--wrong'], /--wrong/],
  [['import', '--namespace', 'A B'], /--namespace/],
  [['save', '-o', 'xml'], /-o xml: must be one of ipvsadm, yaml/],
];
for (const [[command, ...args], message] of WRONG) {
  test(`refuses: ${command} ${args.join(' ')}`, async () => {
    await assert.rejects((command === 'import' ? importCommand : saveCommand)(args, never), { code: 'USAGE', message });
  });
}

test('a file that is not there is named, and is not taken for one of which something was left out', () => {
  const { code, stdout, stderr } = run(['import', '/nowhere/at/all']);
  assert.deepEqual([code, stdout], [2, '']);
  assert.match(stderr, /^\/nowhere\/at\/all cannot be read: ENOENT: no such file or directory; nothing is printed\n$/);
});

test('who ends it before the text has come gets 2 too', async () => {
  assert.equal(await importCommand([], AbortSignal.abort()), 2);
});

test('--help says what it prints and what its exit codes mean', () => {
  const { code, stdout } = run(['import', '--help']);
  assert.deepEqual([code, stdout], [0, `${IMPORT_USAGE}\n`]);
  for (const usage of [IMPORT_USAGE, SAVE_USAGE]) assert.match(usage, /Exit code: 0/);
});
