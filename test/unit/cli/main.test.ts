/** The program's table of commands, as a person meets it: help, and names that are none. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { asksForHelp } from '../../../src/usage.ts';
import { MAIN, run } from './program.ts';

const COMMANDS = [...run(['--help']).stdout.matchAll(/^  (\w+) /gm)].map(([, name]) => name!);

test('the help names the commands', () => {
  assert.deepEqual(COMMANDS, ['standalone', 'controller', 'agent', 'plan', 'preflight', 'status', 'explain', 'save', 'import']);
});

for (const command of COMMANDS) {
  test(`${command} says what it takes`, () => {
    const { code, stdout, stderr } = run([command, '--help']);
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, new RegExp(`^ipvs-operator ${command} `));
  });
}

test('-h is --help, for every command and beside other options: nothing is looked at before', () => {
  for (const args of [['-h'], ['--help'], ['--wrong', '-h'], ['web', '-o', 'json', '--help']]) assert.equal(asksForHelp(args), true, args.join(' '));
  for (const args of [[], ['help'], ['--manifests', '-help'], ['-o', 'h']]) assert.equal(asksForHelp(args), false, args.join(' '));
  assert.deepEqual(run(['standalone', '--wrong', '-h']), run(['standalone', '--help']));
});

for (const name of ['bogus', 'constructor', 'toString']) {
  test(`${name} is no command: exit code 64, and those that are`, () => {
    const { code, stdout, stderr } = run([name]);
    assert.deepEqual([code, stdout], [64, '']);
    assert.match(stderr, new RegExp(`^unknown command ${name}\n`));
    assert.match(stderr, /standalone/);
  });
}

test('an older Node, as a distribution has it, is refused before it does anything by halves', () => {
  const older = (version: string) => `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'${version}'}})`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', older('20.20.2'), MAIN, 'import'], { input: '-A -t 192.0.2.10:80 -s rr\n', encoding: 'utf8' });
  assert.deepEqual([status, stdout], [69, '']);
  assert.match(stderr, /^ipvs-operator import: this is Node 20\.20\.2, and it needs 24 or later: .*node_modules\/\.bin\/node\n$/);
  assert.equal(spawnSync(process.execPath, ['--import', older('100.0.0'), MAIN, 'import'], { input: '', encoding: 'utf8' }).status, 0, 'a newer one will do');
});

test('plan refuses a format that it has not, by name', () => {
  const { code, stderr } = run(['plan', '--manifests', 'm', '-o', 'yaml']);
  assert.equal(code, 64);
  assert.match(stderr, /-o yaml: must be json/);
});

test('a terminal that is closed, or a signal that reloads other programs, does not end standalone; the one that is to end it does', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'hangup-'));
  t.after(() => { rmSync(folder, { recursive: true, force: true }); });
  // Nothing is asked for, so it changes nothing.
  const child = spawn(process.execPath, [MAIN, 'standalone', '--manifests', folder, '--state', join(folder, 'state')], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => { child.kill('SIGKILL'); });
  const closed = once(child, 'close');
  const messages: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    messages.push((JSON.parse(line) as { msg: string }).msg);
    if (messages.at(-1) === 'started') child.kill('SIGHUP');
    if (messages.at(-1)!.startsWith('SIGHUP')) child.kill('SIGTERM');
  }
  assert.deepEqual([...await closed as unknown[]], [0, null]);
  assert.ok(messages.includes('stopped; the kernel keeps forwarding'), messages.join('; '));
});

for (const [what, ledger] of [['there is no ledger', null], ['the ledger is lost', '{"version":1']] as const) {
  test(`a cleanup of a state folder where ${what} does not say that it cleaned up`, (t) => {
    const state = mkdtempSync(join(tmpdir(), 'cleanup-'));
    t.after(() => { rmSync(state, { recursive: true, force: true }); });
    if (ledger !== null) writeFileSync(join(state, 'ledger.json'), ledger);
    for (const time of ['first', 'second']) {
      const { code, stdout, stderr } = run(['standalone', '--cleanup', '--state', state]);
      assert.equal(code, 1, `${time} time: ${stderr}`);
      assert.match(stderr, /no ledger in .*cleanup-.*: what is ours here is not known, and nothing was removed; .*--state/);
      assert.doesNotMatch(stdout, /cleaned up/);
    }
    assert.ok(!existsSync(join(state, 'ledger.json')), 'nor does it look as if there had been nothing');
  });
}
