/** The checker by a clock that the test moves: who is asked when, what is told, and what those that do not answer may take from others. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { checkTarget, type CheckTarget, type CheckTiming } from '../../../../src/agent/health/check.ts';
import { latenessBelow } from '../../../../src/agent/health/counts.ts';
import { fractionOf } from '../../../../src/agent/health/schedule.ts';
import { FakeNetwork, checkerOn } from './fake-sockets.ts';

const timing: CheckTiming = { port: 80, periodMs: 2_000, timeoutMs: 1_000, rise: 2, fall: 3 };
const target = (address: string, more: Partial<CheckTiming> = {}): CheckTarget => checkTarget(address, { type: 'TCP', ...timing, ...more });
const addresses = (n: number, net: number): string[] => Array.from({ length: n }, (_, i) => `10.${net}.${i >> 8}.${i & 255}`);

test('equal targets of many services are asked once a period', () => {
  const network = new FakeNetwork();
  const { checker } = checkerOn(network);
  checker.set([...Array.from({ length: 10 }, () => target('10.0.0.1')), target('10.0.0.2')]);
  assert.equal(checker.size, 2);
  network.pass(20_000);
  for (const address of ['10.0.0.1', '10.0.0.2']) {
    const times = network.asked(address);
    assert.ok(times.length === 10 || times.length === 11, `${times.length}`);
    for (let i = 2; i < times.length; i++) assert.ok(Math.abs(times[i]! - times[i - 1]! - 2_000) <= 20, 'on a grid, gathered with others at most');
  }
});

test('death is told after fall failures, a period apart, and recovery after rise passes; in between only the first of each', () => {
  const network = new FakeNetwork();
  const told: string[] = [];
  const { checker } = checkerOn(network, { onChange: (t, health, before) => told.push(`${t.address} ${before.state} ${health.state} ${health.failingSince === null ? 'passing' : 'failing'}`) });
  checker.set([target('10.0.0.1'), target('10.0.0.2')]);
  network.pass(10_000);
  assert.deepEqual(told.splice(0).sort(), ['10.0.0.1 Unknown Up passing', '10.0.0.2 Unknown Up passing']);

  network.hosts.set('10.0.0.1', 'refuses');
  const died = network.now;
  while (checker.health(target('10.0.0.1').key)!.state === 'Up') network.pass(1);
  assert.ok(network.now - died <= 3 * 2_000 + 50, `${network.now - died} ms`);
  assert.deepEqual(told.splice(0), ['10.0.0.1 Up Up failing', '10.0.0.1 Up Down failing']);
  assert.equal(checker.health(target('10.0.0.1').key)!.last!.reason, 'Refused');

  network.hosts.delete('10.0.0.1');
  network.pass(4_100);
  assert.deepEqual(told, ['10.0.0.1 Down Down passing', '10.0.0.1 Down Up passing']);
  assert.equal(checker.counts.turns, 2);
});

test('who failed is asked again at its moment, and is not gathered with the thousand others; when all fail they are gathered', () => {
  const network = new FakeNetwork();
  const { checker } = checkerOn(network);
  const all = addresses(1_000, 1);
  checker.set(all.map((a) => target(a, { fall: 10 })));
  network.pass(10_000);
  const some = all.slice(0, 20);
  for (const address of some) network.hosts.set(address, 'refuses');
  network.pass(12_000);
  for (const address of some) {
    // Its moments are drawn from its key.
    const phase = fractionOf(target(address, { fall: 10 }).key, 'edge-1') * 2_000;
    for (const at of network.asked(address).slice(-4)) assert.ok((at - phase) % 2_000 <= 2, `${address} was asked ${(at - phase) % 2_000} ms late`);
  }
  for (const address of all) network.hosts.set(address, 'refuses');
  network.pass(6_000);
  const moments = new Set(network.log.filter(({ at }) => at > network.now - 2_000).map(({ at }) => Math.floor(at)));
  assert.ok(moments.size < 350, `${moments.size} turns in 2 s`);
});

test('death by silence is told a timeout later', () => {
  const network = new FakeNetwork();
  const { checker } = checkerOn(network);
  checker.set([target('10.0.0.1')]);
  network.pass(10_000);
  network.hosts.set('10.0.0.1', 'silent');
  const died = network.now;
  while (checker.health(target('10.0.0.1').key)!.state === 'Up') network.pass(1);
  assert.ok(network.now - died <= 3 * 2_000 + 1_000 + 50, `${network.now - died} ms`);
});

test('who flaps faster than rise and fall changes nothing', () => {
  const network = new FakeNetwork();
  const { checker } = checkerOn(network);
  checker.set([target('10.0.0.1')]);
  network.pass(4_000);
  for (let i = 0; i < 50; i++) {
    network.hosts.set('10.0.0.1', i % 2 === 0 ? 'refuses' : 'accepts');
    network.pass(2_000);
  }
  assert.equal(checker.health(target('10.0.0.1').key)!.state, 'Up');
  assert.equal(checker.counts.turns, 0);
});

test('another set leaves those that stay alone: their health, their moments, and the check that is under way', () => {
  const network = new FakeNetwork();
  network.hosts.set('10.0.0.1', 'silent');
  const { checker } = checkerOn(network);
  const [stays, goes] = [target('10.0.0.1'), target('10.0.0.2')];
  checker.set([stays, goes]);
  network.pass(30_000);
  while (checker.open === 0) network.pass(1);
  const before = { health: checker.health(stays.key), began: network.asked('10.0.0.1').at(-1)! };
  for (const more of addresses(1_000, 1)) checker.set([stays, target(more)]);
  assert.deepEqual([checker.size, checker.health(goes.key), checker.health(stays.key)], [2, null, before.health]);
  network.pass(1_050);
  assert.equal(checker.health(stays.key)!.last!.at, before.began, 'the check ended by its own timeout');
  network.pass(2_000);
  assert.ok(Math.abs(network.asked('10.0.0.1').at(-1)! - before.began - 2_000) <= 20);
});

test('what is removed is forgotten, socket and all, and never told of', () => {
  const network = new FakeNetwork();
  network.hosts.set('10.0.0.1', 'silent');
  let told = 0;
  const { checker } = checkerOn(network, { onChange: () => told++ });
  checker.set([target('10.0.0.1')]);
  while (network.open$.size === 0) network.pass(1);
  checker.set([]);
  assert.deepEqual([network.open$.size, checker.open, checker.waiting, checker.size], [0, 0, 0, 0]);
  network.pass(60_000);
  assert.equal(told, 0);
  assert.equal(network.timers, 0, 'nothing to do costs nothing');
});

test('it may be told to stop checking while it tells', () => {
  const network = new FakeNetwork();
  const { checker } = checkerOn(network, { onChange: () => { checker.set([]); } });
  checker.set(addresses(100, 0).map((a) => target(a)));
  network.pass(10_000);
  assert.deepEqual([checker.size, checker.open, network.open$.size], [0, 0, 0]);
});

test('stopped, it leaves nothing open and nothing pending', () => {
  const network = new FakeNetwork();
  for (const address of addresses(100, 0)) network.hosts.set(address, 'silent');
  const { checker, stop } = checkerOn(network);
  checker.set(addresses(100, 0).map((a) => target(a)));
  network.pass(900);
  assert.ok(network.open$.size > 10);
  stop();
  assert.deepEqual([network.open$.size, network.timers, network.ended], [0, 0, true]);
  checker.set([target('10.9.9.9')]);
  assert.equal(network.timers, 0);
});

test('whoever changes the set all the time does not keep it from checking', () => {
  const network = new FakeNetwork();
  const { checker } = checkerOn(network);
  for (let i = 0; i < 4_000; i++) {
    checker.set([target('10.0.0.1'), target(`10.1.0.${i % 250}`)]);
    network.pass(5);
  }
  assert.ok(network.asked('10.0.0.1').length >= 9, `${network.asked('10.0.0.1').length} checks in 20 s`);
  assert.equal(checker.health(target('10.0.0.1').key)!.state, 'Up');
});

test('it may be stopped while it tells', () => {
  const network = new FakeNetwork();
  const { checker, stop } = checkerOn(network, { onChange: () => stop() });
  // Refused at once: told of while checks are being begun.
  for (const address of addresses(1_000, 0)) network.hosts.set(address, 111);
  checker.set(addresses(1_000, 0).map((a) => target(a)));
  network.pass(5_000);
  assert.deepEqual([network.open$.size, network.timers, network.ended, network.log.length], [0, 0, true, 1]);
});

test('when nobody can be told, it stops and says why', async () => {
  const network = new FakeNetwork();
  const { checker, ran } = checkerOn(network, { onChange: () => { throw new Error('the loop is gone'); } });
  checker.set(addresses(100, 0).map((a) => target(a)));
  network.pass(5_000);
  await assert.rejects(ran, /the loop is gone/);
  assert.deepEqual([network.open$.size, network.timers, network.ended], [0, 0, true]);
});

test('bad targets are named and the others are checked', () => {
  const network = new FakeNetwork();
  const { checker } = checkerOn(network);
  checker.set([target('10.0.0.1', { port: 0 }), target('10.0.0.2', { timeoutMs: 3_000 }), target('10.0.0.3')]);
  assert.deepEqual(checker.refused.map(({ target: t, problem }) => [t.address, problem]), [['10.0.0.1', 'port 0 is not between 1 and 65535'], ['10.0.0.2', 'timeout 3000 ms is longer than period 2000 ms']]);
  network.pass(10_000);
  assert.deepEqual([network.asked('10.0.0.1').length, network.asked('10.0.0.2').length, network.asked('10.0.0.3').length > 3], [0, 0, true]);
});

test('a node without descriptors says nothing about real servers', () => {
  const network = new FakeNetwork();
  const { checker } = checkerOn(network);
  checker.set([target('10.0.0.1')]);
  network.pass(10_000);
  network.hosts.set('10.0.0.1', 24);
  network.pass(60_000);
  assert.equal(checker.health(target('10.0.0.1').key)!.state, 'Up');
  assert.ok(checker.counts.results.get('TCP')!.get('NotChecked')! > 25);
});

test('a timeout as long as the period does not halve the rate', () => {
  const network = new FakeNetwork();
  network.hosts.set('10.0.0.1', 'silent');
  const { checker } = checkerOn(network);
  checker.set([target('10.0.0.1', { timeoutMs: 2_000 })]);
  network.pass(40_000);
  assert.ok(network.asked('10.0.0.1').length >= 19, `${network.asked('10.0.0.1').length}`);
});

test('ten thousand that do not answer: bounded sockets, nobody is left out, and those that answer are on time', () => {
  const network = new FakeNetwork();
  const [gone, good] = [addresses(10_000, 1), addresses(500, 2)];
  for (const address of gone) network.hosts.set(address, 'silent');
  const { checker } = checkerOn(network, { maxOpen: 1_024 });
  checker.set([...gone, ...good].map((a) => target(a)));
  network.pass(60_000);
  assert.ok(network.mostOpen <= 1_024, `${network.mostOpen} sockets`);
  const asked = Map.groupBy(network.log, ({ to }) => to.address);
  // 768 sockets for a second each are 768 of them a second: all of them in 13 s, each of them 4 times a minute.
  for (const address of gone) assert.ok((asked.get(address)?.length ?? 0) >= 3, `${address} was asked ${asked.get(address)?.length ?? 0} times`);
  for (const address of good) {
    const times = asked.get(address)!.map(({ at }) => at).slice(1);
    assert.ok(times.length >= 20, `${times.length}`);
    for (let i = 1; i < times.length; i++) assert.ok(times[i]! - times[i - 1]! <= 2_250, `${address}: ${times[i]! - times[i - 1]!} ms between two checks`);
  }
  assert.ok(checker.counts.missed > 10_000 && checker.counts.delayed > 10_000, 'what was late or never was is counted');
  for (const address of good) assert.equal(checker.health(target(address).key)!.state, 'Up');
  for (const address of gone) assert.equal(checker.health(target(address).key)!.state, 'Down');
});

test('a newcomer is checked before those that never answer', () => {
  const network = new FakeNetwork();
  const gone = addresses(2_000, 1);
  for (const address of gone) network.hosts.set(address, 'silent');
  const { checker } = checkerOn(network, { maxOpen: 64 });
  checker.set(gone.map((a) => target(a)));
  network.pass(60_000);
  checker.set([...gone, '10.0.0.1'].map((a) => target(a)));
  const came = network.now;
  network.pass(3_000);
  assert.ok(network.asked('10.0.0.1')[0]! - came <= 2_100, 'a second by its schedule and a second for a socket');
});

test('many new targets at once are taken in by turns, and a set that comes in between counts', () => {
  const network = new FakeNetwork();
  // A clock on which everything takes time: each look at it costs a tenth of a millisecond.
  const { checker } = checkerOn(network, { now: () => (network.now += 0.1) });
  const many = addresses(10_000, 1).map((a) => target(a));
  checker.set([...many, ...many]);
  const atOnce = checker.size;
  assert.ok(atOnce > 100 && atOnce < 5_000, `${atOnce} in one turn`);
  const kept = many.slice(0, 200);
  checker.set([...kept, target('10.0.0.1', { port: 0 }), ...many.slice(5_000)]);
  assert.ok(checker.pending > 0);
  network.pass(3_000);
  assert.deepEqual([checker.pending, checker.size, checker.refused.length], [0, 5_200, 1]);
});

test('two thousand every two seconds are begun on time, and none is counted as late', () => {
  const network = new FakeNetwork();
  const { checker } = checkerOn(network);
  checker.set(addresses(2_000, 1).map((a) => target(a)));
  network.pass(30_000);
  assert.ok(checker.counts.begun >= 2_000 * 14, `${checker.counts.begun}`);
  assert.ok(latenessBelow(checker.counts, 1) <= 20);
  assert.deepEqual([checker.counts.missed, checker.counts.delayed], [0, 0]);
  const perTenth = Map.groupBy(network.log.filter(({ at }) => at > network.now - 2_000), ({ at }) => Math.floor(at / 200));
  for (const checks of perTenth.values()) assert.ok(checks.length < 300, 'spread over the period');
});
