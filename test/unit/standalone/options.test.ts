/** The options of standalone: what they are when nobody says, and that wrong ones are refused by name. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { DEFAULT_STATE, readLookOptions, readOptions, STANDALONE_USAGE } from '../../../src/standalone/options.ts';
import { UsageError } from '../../../src/usage.ts';

test('a folder is enough: this host, its name as a label, both roles as they come', () => {
  assert.deepEqual(readOptions(['--manifests', 'm']), {
    manifests: 'm', state: DEFAULT_STATE, node: hostname(), role: 'auto', labels: { 'kubernetes.io/hostname': hostname() }, once: false, cleanup: false, resyncSeconds: 10, logLevel: 'info',
  });
});

test('every option is taken as given, and a label may be given again and hold an =', () => {
  const args = ['--manifests', 'm', '--state', 's', '--node', 'n', '--role', 'both', '--label', 'a=b', '--label', 'c=d=e', '--label', 'f=', '--once', '--resync', '3600', '--log-level', 'debug'];
  assert.deepEqual(readOptions(args), {
    manifests: 'm', state: 's', node: 'n', role: 'both', labels: { 'kubernetes.io/hostname': 'n', a: 'b', 'c': 'd=e', f: '' }, once: true, cleanup: false, resyncSeconds: 3600, logLevel: 'debug',
  });
});

test('a cleanup needs no manifests, nor does a command that says so', () => {
  assert.equal(readOptions(['--cleanup']).cleanup, true);
  assert.equal(readOptions([], false).manifests, '');
});

const wrong: readonly [string[], RegExp][] = [
  [[], /--manifests DIR is missing/],
  [['--manifest', 'm'], /--manifest/],
  [['--manifests'], /--manifests/],
  [['--manifests', 'm', 'n'], /n/],
  [['--manifests', 'm', '--role', 'master'], /--role master: must be one of director, real-server, both, auto/],
  ...['0', '3601', '1.5', 'soon', ''].map((seconds): [string[], RegExp] => [['--manifests', 'm', '--resync', seconds], /--resync .*from 1 to 3600/]),
  [['--manifests', 'm', '--label', 'site'], /--label site: must be KEY=VALUE/],
  [['--manifests', 'm', '--label', '=a'], /--label =a: must be KEY=VALUE/],
  [['--manifests', 'm', '--log-level', 'loud'], /--log-level loud: must be one of/],
];
for (const [args, message] of wrong) {
  test(`refused: ${args.join(' ') || '(nothing)'}`, () => {
    assert.throws(() => readOptions(args), (error) => error instanceof UsageError && error.code === 'USAGE' && message.test(error.message));
  });
}

test('the usage names every option', () => {
  for (const option of ['manifests', 'state', 'node', 'label', 'role', 'once', 'cleanup', 'resync', 'log-level']) assert.match(STANDALONE_USAGE, new RegExp(`--${option}\\b`));
});

test('what only looks refuses what would do something', () => {
  for (const option of ['--once', '--cleanup']) assert.throws(() => readLookOptions('plan', ['--manifests', 'm', option]), { code: 'USAGE', message: new RegExp(`^${option}: plan only looks`) });
  assert.throws(() => readLookOptions('preflight', ['--cleanup'], false), { code: 'USAGE' });
  assert.equal(readLookOptions('preflight', [], false).manifests, '');
});
