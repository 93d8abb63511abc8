/** The checker on real sockets: a server that dies and comes back, and ten thousand that do not answer beside some that do. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { getHeapSpaceStatistics } from 'node:v8';
import { checkTarget, type CheckTarget } from '../../../../src/agent/health/check.ts';
import { Checker } from '../../../../src/agent/health/checker.ts';
import type { Health } from '../../../../src/agent/health/verdict.ts';
import { openSockets } from '../../../../src/kernel/net/sockets.ts';
import { refusingPort } from '../../ports.ts';
import { blackHole, tcp } from './servers.ts';

/** Between two looks: some of them read all descriptors and the memory of the process. */
const LOOK_MS = 50;

const descriptors = (): number => readdirSync('/proc/self/fd').length;
/** Bytes, without what is young: V8 lets that grow as large as the tests' runner allows before it looks at it. */
const memory = (): number => process.memoryUsage.rss() - getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')!.physical_space_size;

/** Runs `during` with a checker of these targets; resolves when everything of it is closed. */
async function checking(targets: readonly CheckTarget[], maxOpen: number, during: (checker: Checker, until: (what: string, is: () => boolean) => Promise<void>) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const changes: [string, Health][] = [];
  const checker = new Checker({ sockets: openSockets(), now: () => performance.now(), salt: 'edge-1', maxOpen, onChange: (t, health) => { changes.push([t.address, health]); } });
  const ran = checker.run(controller.signal);
  const until = async (what: string, is: () => boolean): Promise<void> => {
    for (const limit = performance.now() + 60_000; !is(); await new Promise((resolve) => { setTimeout(resolve, LOOK_MS); })) {
      assert.ok(performance.now() < limit, `${what}; changes: ${changes.map(([a, h]) => `${a} ${h.state} ${h.last?.message}`).join(', ')}`);
    }
  };
  try {
    checker.set(targets);
    await during(checker, until);
  } finally {
    controller.abort();
    await ran;
  }
}

test('a server that dies and comes back is down and up again; nothing stays open', async () => {
  await using refusing = await refusingPort();
  const { port } = refusing;
  const target = checkTarget('127.0.0.1', { type: 'HTTP', port, periodMs: 200, timeoutMs: 200, rise: 2, fall: 3, path: '/', host: '', statuses: [200] });
  // What a process opens once, with its first check, is not counted.
  await checking([target], 100, (checker, until) => until('down', () => checker.health(target.key)?.state === 'Down'));
  const before = descriptors();
  await checking([target], 100, async (checker, until) => {
    const state = () => checker.health(target.key)?.state;
    await until('down while nobody listens', () => state() === 'Down');
    for (let i = 0; i < 2; i++) {
      const server = createServer((socket) => { socket.on('error', () => {}).once('data', () => socket.end('HTTP/1.1 200 OK\r\n\r\n')); }).listen(port, '127.0.0.1');
      await once(server, 'listening');
      await until('up when it listens', () => state() === 'Up');
      server.close();
      await once(server, 'close');
      await until('down when it is gone', () => state() === 'Down');
      assert.equal(checker.health(target.key)!.last!.reason, 'Refused');
    }
    assert.equal(checker.counts.turns, 4);
  });
  assert.ok(descriptors() <= before + 1, `${descriptors()} descriptors, ${before} before`);
});

test('HTTPS and gRPC checks of a server that hangs leave nothing open either', async () => {
  await using server = await tcp(() => {});
  const timing = { port: server.port, periodMs: 150, timeoutMs: 100, rise: 2, fall: 2 };
  const targets = [
    checkTarget('127.0.0.1', { ...timing, type: 'HTTPS', path: '/', host: '', statuses: [200], ca: '' }), checkTarget('127.0.0.1', { ...timing, type: 'GRPC', service: '', tls: false }),
  ];
  const before = descriptors();
  await checking(targets, 100, async (checker, until) => {
    await until('ten checks of each', () => targets.every(({ check }) => [...checker.counts.results.get(check.type)?.values() ?? []].reduce((a, b) => a + b, 0) >= 10));
    assert.deepEqual([...checker.counts.results].map(([type, reasons]) => [type, [...reasons.keys()].join()]).sort(), [['GRPC', 'Hangs'], ['HTTPS', 'Hangs']]);
    // The ones under way, and the server's ends of them, which are closed a little later. What is left behind stays: it would be twenty.
    await until('no more than two checks are open', () => descriptors() <= before + 1 + 2 * 2 + 2);
  });
});

test('ten thousand real servers that do not answer: bounded sockets and memory, and those that answer are checked on', { timeout: 300_000 }, async (t) => {
  await using hole = await blackHole();
  const counts = new Map<string, number>();
  const server = createServer((socket) => {
    counts.set(socket.localAddress!, (counts.get(socket.localAddress!) ?? 0) + 1);
    socket.on('error', () => {});
  }).listen({ port: 0, host: '0.0.0.0', backlog: 1_024 });
  await once(server, 'listening');
  const good = Array.from({ length: 100 }, (_, i) => `127.1.0.${i + 1}`);
  const timing = { periodMs: 500, rise: 2, fall: 3 };
  const targets = [
    ...Array.from({ length: 10_000 }, (_, i) => checkTarget(`127.2.${i >> 8}.${i & 255}`, { type: 'TCP', port: hole.port, timeoutMs: 125, ...timing })),
    ...good.map((address) => checkTarget(address, { type: 'TCP', port: (server.address() as { port: number }).port, timeoutMs: 250, ...timing })),
  ];
  const before = { descriptors: descriptors(), memory: memory() };
  await checking(targets, 500, async (checker, until) => {
    await until('all that answer are up', () => targets.slice(10_000).every(({ key }) => checker.health(key)?.state === 'Up'));
    const timedOut = (): number => checker.counts.results.get('TCP')?.get('Timeout') ?? 0;
    const from = timedOut();
    counts.clear();
    let [most, least] = [0, Infinity];
    await until('all that answer are checked three times', () => {
      most = Math.max(most, descriptors() - before.descriptors);
      least = Math.min(least, memory() - before.memory);
      return good.every((address) => (counts.get(address) ?? 0) >= 3);
    });
    // As often as those that do not answer, it would be thirty thousand.
    assert.ok(timedOut() - from < 15_000, `${timedOut() - from} timeouts meanwhile`);
    assert.ok(checker.counts.mostOpen <= 500 && checker.counts.mostOpen >= 375, `${checker.counts.mostOpen} at most, ${checker.open} now`);
    assert.ok(most < 800, `${most} more descriptors`);
    assert.ok(checker.counts.delayed > 500);
    assert.ok(timedOut() > 1_000, `${timedOut()} timeouts`);
    t.diagnostic(`${(least / 2 ** 20).toFixed(0)} MB more`);
    assert.ok(least < 100 * 2 ** 20, `${(least / 2 ** 20).toFixed(0)} MB more`);
  });
  server.close();
});
