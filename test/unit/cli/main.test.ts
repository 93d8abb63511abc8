/** The program's table of commands, as a person meets it: help, and names that are none. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { run } from './program.ts';

const COMMANDS = [...run(['--help']).stdout.matchAll(/^  (\w+) /gm)].map(([, name]) => name!);

test('the help names the commands', () => {
  assert.deepEqual(COMMANDS, ['standalone', 'controller', 'agent', 'plan', 'preflight', 'status', 'explain', 'save', 'import']);
});

for (const command of COMMANDS) {
  test(`${command} says what it takes, with --help as with -h`, () => {
    const [long, short] = [run([command, '--help']), run([command, '-h'])];
    assert.deepEqual([long.code, long.stderr], [0, '']);
    assert.match(long.stdout, new RegExp(`^ipvs-operator ${command} `));
    assert.deepEqual(short, long);
  });
}

for (const name of ['bogus', 'constructor', 'toString']) {
  test(`${name} is no command: exit code 64, and those that are`, () => {
    const { code, stdout, stderr } = run([name]);
    assert.deepEqual([code, stdout], [64, '']);
    assert.match(stderr, new RegExp(`^unknown command ${name}\n`));
    assert.match(stderr, /standalone/);
  });
}

test('plan refuses a format that it has not, by name', () => {
  const { code, stderr } = run(['plan', '--manifests', 'm', '-o', 'yaml']);
  assert.equal(code, 64);
  assert.match(stderr, /-o yaml: must be json/);
});
