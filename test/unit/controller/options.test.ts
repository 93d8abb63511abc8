/** Options of `controller`: what is not given has a default, what is wrong is named with what to give instead. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { CONTROLLER_USAGE, readControllerOptions } from '../../../src/controller/options.ts';

test('without options it runs in its pod, elects a leader, and listens on itself only', () => {
  const { identity, ...options } = readControllerOptions([], { POD_NAMESPACE: 'mine', POD_NAME: 'controller-1' });
  assert.deepEqual(options, { namespace: 'mine', kubeconfig: null, context: null, listen: '127.0.0.1:9821', leaderElection: true, writesPerSecond: 250, logLevel: 'info' });
  assert.match(identity, /^controller-1_\d+_[0-9a-z]+$/, 'another one for each process of a pod');
  assert.equal(readControllerOptions([], {}).namespace, 'ipvs-system');
});

test('every option counts', () => {
  const { identity: _, ...options } = readControllerOptions(['--namespace', 'x', '--kubeconfig', '/k', '--context', 'c', '--listen', '[::]:9000', '--no-leader-election', '--writes-per-second', '10', '--log-level', 'debug'], { POD_NAMESPACE: 'mine' });
  assert.deepEqual(options, { namespace: 'x', kubeconfig: '/k', context: 'c', listen: '[::]:9000', leaderElection: false, writesPerSecond: 10, logLevel: 'debug' });
});

for (const [args, message] of [
  [['--no-such'], /--no-such/], [['word'], /word/], [['--writes-per-second', '0'], /--writes-per-second 0: must be a number from 1 to 100000/], [['--writes-per-second', 'many'], /many/],
  [['--log-level', 'loud'], /must be one of trace, debug, info/], [['--listen', '9821'], /--listen 9821: must be HOST:PORT/], [['--listen', '[::g]:1'], /--listen \[::g\]:1: must be/], [['--namespace'], /namespace/],
] as const) {
  test(`refuses ${args.join(' ')}`, () => assert.throws(() => readControllerOptions([...args], {}), (e: Error & { code?: string }) => e.code === 'USAGE' && message.test(e.message)));
}

test('the help names every option', () => {
  for (const name of ['namespace', 'kubeconfig', 'context', 'listen', 'no-leader-election', 'writes-per-second', 'log-level']) assert.ok(CONTROLLER_USAGE.includes(`--${name}`), name);
});
