/** Sockets of checks: what the kernel tells of each, and how many a process may have. */
import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { descriptorLimit, openSockets, type SocketAddress, type SocketEvent } from '../../../../src/kernel/net/sockets.ts';
import { ERRNO } from '../../../../src/kernel/netlink/errors.ts';
import { refusingPort } from '../../ports.ts';

const sockets = openSockets();
after(() => sockets.end());
const to = (port: number, more: Partial<SocketAddress> = {}): SocketAddress => ({ kind: 'stream', family: 'IPv4', address: '127.0.0.1', port, mark: 0, source: '', ...more });

/** What this process has open, by what it is: the same number may be another socket. What others of this process close meanwhile is not looked for. */
function openFiles(): Set<string> {
  return new Set(readdirSync('/proc/self/fd').flatMap((fd) => {
    // The descriptor of the folder itself is gone by now.
    try { return [`${fd} ${readlinkSync(`/proc/self/fd/${fd}`)}`]; } catch { return []; }
  }));
}

async function eventOf(fd: number, is: (event: SocketEvent) => boolean): Promise<SocketEvent> {
  for (const end = performance.now() + 60_000; performance.now() < end;) {
    const event = sockets.take().find((e) => e.fd === fd && is(e));
    if (event) return event;
    await new Promise((resolve) => { setTimeout(resolve, 5); });
  }
  throw new Error('no such event in 60 s');
}

test('a connection says when it may be written to, and when there is something to read; the source is the one that was asked for', async () => {
  const sources: string[] = [];
  const server = createServer((s) => { sources.push(s.remoteAddress!); s.on('error', () => {}).once('data', (d) => s.end(`got ${d.toString()}`)); }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const fd = sockets.open(to((server.address() as AddressInfo).port, { source: '127.0.0.9' }));
  assert.deepEqual(await eventOf(fd, (e) => e.writable), { fd, writable: true, readable: false, error: 0 });
  assert.equal(sockets.send(fd, Buffer.from('it')), 2);
  await eventOf(fd, (e) => e.readable);
  const buffer = new Uint8Array(100);
  assert.equal(Buffer.from(buffer.subarray(0, sockets.receive(fd, buffer))).toString(), 'got it');
  assert.ok([0, -ERRNO.EAGAIN].includes(sockets.receive(fd, buffer)), 'the end, or not yet');
  sockets.close(fd);
  server.close();
  await once(server, 'close');
  assert.deepEqual(sources, ['127.0.0.9']);
});

test('what the network or the node refuses is an errno, and leaves no descriptor', async () => {
  await using refusing = await refusingPort();
  const { port } = refusing;
  const before = openFiles();
  const fd = sockets.open(to(port));
  if (fd >= 0) {
    assert.equal((await eventOf(fd, (e) => e.error !== 0)).error, ERRNO.ECONNREFUSED);
    sockets.close(fd);
  } else assert.equal(fd, -ERRNO.ECONNREFUSED);
  assert.equal(sockets.open(to(port, { source: '192.0.2.99' })), -ERRNO.EADDRNOTAVAIL);
  assert.throws(() => sockets.open(to(port, { address: 'shop.example' })), RangeError);
  assert.deepEqual([...openFiles()].filter((file) => !before.has(file)), []);
});

test('the limit of descriptors is read as the kernel writes it', () => {
  const limits = (soft: string) => () => `Limit                     Soft Limit           Hard Limit           Units     \nMax open files            ${soft.padEnd(20)} 524288               files     \nMax locked memory         8388608              8388608              bytes     \n`;
  assert.equal(descriptorLimit(7, limits('4096')), 4_096);
  assert.equal(descriptorLimit(7, limits('unlimited')), Infinity);
  assert.equal(descriptorLimit(7, () => ''), 7);
  assert.equal(descriptorLimit(7, () => { throw new Error('ENOENT'); }), 7);
  assert.ok(descriptorLimit(0) > 100, 'of this process');
});
