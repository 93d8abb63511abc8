/** The probe's servers and its stream, against each other on the loopback: what scenarios of rollouts rest on. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { get } from '../../lab/probe/get.ts';
import { checkHeld, closeHeld, hold } from '../../lab/probe/hold.ts';
import { serve, stopServing } from '../../lab/probe/serve.ts';
import { startStream, stopStream } from '../../lab/probe/stream.ts';
import { refusingPort } from '../ports.ts';

const address = '127.0.0.1';
/** Far longer than it ever takes: these tests are of what is answered, not of when. */
const timeoutMs = 20_000;

test('a server that is stopped refuses new connections and closes those it has', async () => {
  await using kept = await refusingPort();
  const { port } = kept;
  const server = await serve({ name: 'one', tcp: [port], udp: [], bind: [address] });
  assert.deepEqual((await get({ address, port, timeoutMs })).by, { one: 1 });
  const set = await hold({ address, port, count: 3 });
  assert.equal((await checkHeld({ set })).alive, 3);
  stopServing({ server });
  assert.deepEqual((await get({ address, port, timeoutMs })).errors, { ECONNREFUSED: 1 });
  const { alive, broken } = await checkHeld({ set });
  assert.deepEqual([alive, broken], [0, 3]);
  await closeHeld({ set });
});

test('of servers that were started at once each is stopped alone', async () => {
  await using one = await refusingPort();
  await using two = await refusingPort();
  await using three = await refusingPort();
  const ports = [one.port, two.port, three.port];
  const servers = await Promise.all(ports.map((port) => serve({ name: `of ${port}`, tcp: [port], udp: [], bind: [address] })));
  stopServing({ server: servers[1]! });
  assert.deepEqual(await Promise.all(ports.map(async (port) => (await get({ address, port, timeoutMs })).sequence[0])), [`of ${ports[0]}`, 'ECONNREFUSED', `of ${ports[2]}`]);
  for (const server of servers) stopServing({ server });
});

test('a server that is called by its address tells which one was reached', async () => {
  await using kept = await refusingPort();
  const { port } = kept;
  const server = await serve({ name: 'many', byAddress: true, tcp: [port], udp: [], bind: [] });
  for (const each of ['127.0.0.1', '127.0.0.9']) assert.deepEqual((await get({ address: each, port, timeoutMs })).by, { [each]: 1 });
  stopServing({ server });
});

test('a stream starts as many probes as its time means, however late its timer is, and tells a refusal from an answer', async () => {
  await using kept = await refusingPort();
  const { port } = kept;
  const server = await serve({ name: 'one', tcp: [port], udp: [], bind: [address] });
  const stream = startStream({ address, port, everyMs: 5, timeoutMs });
  const before = Date.now();
  await sleep(400);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200); // Nothing runs meanwhile: 40 are made up for.
  await sleep(400);
  const answered = await stopStream({ stream });
  assert.deepEqual([answered.ok, answered.errors], [answered.sent, {}]);
  // Of a stall half a second is made up for, and none of these three times is longer: they mean 200 probes, less what the last tick left, on any
  // machine. Without making up they would be 160. A machine that stalls longer makes fewer a second; never more.
  assert.ok(answered.perSecond <= 201 && answered.sent >= 180, `${answered.sent} probes, ${answered.perSecond} a second`);
  assert.ok(answered.lastBy['one']! >= before);
  stopServing({ server });
  const refused = startStream({ address, port, everyMs: 5, timeoutMs });
  await sleep(200);
  const report = await stopStream({ stream: refused });
  assert.deepEqual([report.ok, Object.keys(report.errors)], [0, ['ECONNREFUSED']]);
});
