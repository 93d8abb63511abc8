import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { DUMP_ATTEMPTS, NetlinkConnection } from '../../../../src/kernel/netlink/connection.ts';
import { NETLINK } from '../../../../src/kernel/netlink/constants.ts';
import { KernelError, type KernelErrorCode } from '../../../../src/kernel/netlink/errors.ts';
import { GenericFamily } from '../../../../src/kernel/netlink/genl.ts';
import { NetlinkSubscription } from '../../../../src/kernel/netlink/subscription.ts';
import { MessageWriter } from '../../../../src/kernel/netlink/writer.ts';
import { dataReply, doneReply, errorReply, joined, scriptedSocket, taken, type Sent } from './scripted-socket.ts';

const failsWith = (code: KernelErrorCode, text = /./) => (error: unknown): boolean =>
  error instanceof KernelError && error.code === code && text.test(error.message);

function connect(answer: (messages: readonly Sent[], round: number) => (Uint8Array | number)[]) {
  let round = 0;
  const socket = scriptedSocket((messages) => answer(messages, round++));
  return { socket, connection: new NetlinkConnection(NETLINK.GENERIC, { socket }) };
}

function batch(connection: NetlinkConnection, size: number): MessageWriter {
  const writer = connection.writer.reset();
  for (let i = 0; i < size; i++) writer.message(0x1c, 1).generic(5).u32(1, i);
  return writer;
}

describe('a batch', () => {
  test('reports who was refused, by position, and nothing of those that succeeded', () => {
    const { connection, socket } = connect(([, b, c, d]) => [errorReply(b!.sequence, 22), errorReply(c!.sequence, 17), errorReply(d!.sequence, 0)]);
    const outcome = connection.transact(batch(connection, 4));
    assert.deepEqual([...outcome.refused].map(([i, r]) => [i, r.errno]), [[1, 22], [2, 17]]);
    assert.deepEqual(socket.sent[0]!.map((m) => m.flags), [1, 1, 1, 5], 'only the last asks for an ACK');
  });

  test('ends when its last message itself is refused', () => {
    const { connection } = connect((m) => [errorReply(m.at(-1)!.sequence, 1)]);
    assert.deepEqual([...connection.transact(batch(connection, 2)).refused.keys()], [1]);
  });

  test('ignores answers to an earlier request', () => {
    const { connection } = connect((m, round) => round === 0 ? [] : [errorReply(1, 22), errorReply(m[0]!.sequence, 0)]);
    assert.throws(() => connection.transact(batch(connection, 1)), failsWith('REPLIES_LOST'));
    assert.equal(connection.transact(batch(connection, 1)).refused.size, 0);
  });

  test('that is empty sends nothing', () => {
    const { connection, socket } = connect(() => []);
    assert.equal(connection.transact(connection.writer.reset()).messages, 0);
    assert.equal(socket.sent.length, 0);
  });

  test('numbers across sends never repeat', () => {
    const { connection, socket } = connect((m) => [errorReply(m.at(-1)!.sequence, 0)]);
    connection.transact(batch(connection, 3));
    connection.transact(batch(connection, 2));
    assert.deepEqual(socket.sent.flat().map((m) => m.sequence), [1, 2, 3, 4, 5]);
  });

  test('keeps the words of an extended ACK', () => {
    const { connection } = connect((m) => [errorReply(m[0]!.sequence, 95, 'Unknown device type')]);
    assert.deepEqual(connection.transact(batch(connection, 1)).refused.get(0), { errno: 95, message: 'Unknown device type', offset: 20 });
  });

  const losses: [string, (m: readonly Sent[]) => (Uint8Array | number)[], KernelErrorCode][] = [
    ['the final ACK never comes', (m) => [errorReply(m[0]!.sequence, 17)], 'REPLIES_LOST'],
    ['the receive buffer overflowed', (m) => [errorReply(m[0]!.sequence, 17), -105, errorReply(m[1]!.sequence, 0)], 'REPLIES_LOST'],
    ['a datagram is larger than the buffer', () => [new Uint8Array(70000)], 'TRUNCATED'],
    ['an answer is garbage', () => [Uint8Array.of(1, 2, 3, 4, 5)], 'PROTOCOL'],
  ];
  for (const [name, answer, code] of losses) {
    test(`throws ${code} when ${name}`, () => {
      const { connection } = connect(answer);
      assert.throws(() => connection.transact(batch(connection, 2)), failsWith(code));
    });
  }

  test('continues after an interrupted read', () => {
    const { connection } = connect((m) => [-4, errorReply(m[0]!.sequence, 0)]);
    assert.equal(connection.transact(batch(connection, 1)).refused.size, 0);
  });
});

describe('a single request', () => {
  const name = { operation: 'GET_THING', object: 'thing 1' };
  const value = (m: Parameters<Parameters<NetlinkConnection['request']>[2] & object>[0]): number => { const a = m.genericAttributes(); a.next(); return a.u32(); };

  test('returns what its answers decode to, and waits for the ACK', () => {
    const { connection, socket } = connect(([m]) => [dataReply(m!.sequence, 0x1c, 42, 0), errorReply(m!.sequence, 0)]);
    assert.deepEqual(connection.request(batch(connection, 1), name, value), [42]);
    assert.equal(socket.queue.length, 0);
  });

  const refusals: [number, KernelErrorCode, RegExp][] = [
    [3, 'KERNEL_REFUSED', /^GET_THING thing 1: ESRCH/],
    [1, 'PERMISSION_DENIED', /CAP_NET_ADMIN/],
  ];
  for (const [errno, code, text] of refusals) {
    test(`throws ${code} for errno ${errno}`, () => {
      const { connection } = connect(([m]) => [errorReply(m!.sequence, errno)]);
      assert.throws(() => connection.request(batch(connection, 1), name), failsWith(code, text));
    });
  }
});

for (const slowly of [false, true]) describe(slowly ? 'a dump with turns of the event loop' : 'a dump', () => {
  const name = { operation: 'GET_THINGS' };
  const value = (m: Parameters<Parameters<NetlinkConnection['dump']>[2]>[0]): number => { const a = m.genericAttributes(); a.next(); return a.u32(); };
  const signal = new AbortController().signal;
  const dump = async (connection: NetlinkConnection, decode = value) => slowly ? connection.dumpSlowly(batch(connection, 1), name, decode, signal) : connection.dump(batch(connection, 1), name, decode);

  test('collects the entries of all datagrams until DONE', async () => {
    const { connection, socket } = connect(([m]) => {
      const s = m!.sequence;
      return [joined(dataReply(s, 0x1c, 1), dataReply(s, 0x1c, 2)), dataReply(s, 0x1c, 3), doneReply(s)];
    });
    assert.deepEqual(await dump(connection), { items: [1, 2, 3], complete: true, datagrams: 2 });
    assert.equal(socket.sent[0]![0]!.flags, 0x301, 'NLM_F_DUMP, no ACK');
  });

  test('that is empty is empty', async () => {
    const { connection } = connect(([m]) => [doneReply(m!.sequence)]);
    assert.deepEqual(await dump(connection), { items: [], complete: true, datagrams: 0 });
  });

  test('that ends with an error is a failure, not a short list', async () => {
    const { connection } = connect(([m]) => [dataReply(m!.sequence, 0x1c, 1), doneReply(m!.sequence, 12)]);
    await assert.rejects(dump(connection), failsWith('KERNEL_REFUSED', /ENOMEM/));
  });

  test('that is refused throws the errno', async () => {
    const { connection } = connect(([m]) => [errorReply(m!.sequence, 95)]);
    await assert.rejects(dump(connection), failsWith('KERNEL_REFUSED', /EOPNOTSUPP/));
  });

  test('that was interrupted is started again, without the entries of the first attempt', async () => {
    const { connection } = connect(([m], round) => round === 0
      ? [dataReply(m!.sequence, 0x1c, 1, 0x12), doneReply(m!.sequence)]
      : [dataReply(m!.sequence, 0x1c, 2), doneReply(m!.sequence)]);
    assert.deepEqual(await dump(connection), { items: [2], complete: true, datagrams: 1 });
  });

  test('that is always interrupted comes back as incomplete after a bounded number of attempts', async () => {
    const { connection, socket } = connect(([m]) => [dataReply(m!.sequence, 0x1c, 1), doneReply(m!.sequence, 0, 0x12)]);
    assert.deepEqual(await dump(connection), { items: [1], complete: false, datagrams: 1 });
    assert.equal(socket.sent.length, DUMP_ATTEMPTS);
  });

  test('whose entry cannot be decoded is read to its end, so that the next request is not EBUSY', async () => {
    const { connection, socket } = connect(([m]) => [dataReply(m!.sequence, 0x1c, 1), dataReply(m!.sequence, 0x1c, 2), doneReply(m!.sequence)]);
    await assert.rejects(dump(connection, (m) => m.word(400)), failsWith('PROTOCOL'));
    assert.equal(socket.queue.length, 0);
  });

  test('cut by a lost datagram throws by name', async () => {
    const { connection } = connect(([m]) => [dataReply(m!.sequence, 0x1c, 1), -105]);
    await assert.rejects(dump(connection), failsWith('REPLIES_LOST'));
  });
});

test('a dump that is started again says so before', () => {
  let restarts = 0;
  const { connection } = connect(([m], round) => [dataReply(m!.sequence, 0x1c, round, round === 0 ? 0x12 : 2), doneReply(m!.sequence)]);
  connection.dump(batch(connection, 1), { operation: 'GET_THINGS' }, () => 0, () => { restarts++; });
  assert.equal(restarts, 1);
});

test('a dump that is left in the middle leaves nothing in the socket, and lets others have their turn before', async () => {
  const { connection, socket } = connect(([m]) => [1, 2, 3].map((n) => dataReply(m!.sequence, 0x1c, n)).concat(doneReply(m!.sequence)));
  const leave = new AbortController();
  setImmediate(() => leave.abort());
  await assert.rejects(connection.dumpSlowly(batch(connection, 1), { operation: 'GET_THINGS' }, () => 0, leave.signal), { name: 'AbortError' });
  assert.equal(socket.queue.length, 0);
});

describe('a generic family', () => {
  const familyReply = (m: Sent, id: number): Uint8Array[] => [
    taken(new MessageWriter(128).message(0x10, 0, m.sequence).generic(1, 2).string(2, 'IPVS').u16(1, id)), errorReply(m.sequence, 0),
  ];

  test('is asked for once, and again when told', () => {
    const { connection, socket } = connect(([m], round) => familyReply(m!, 28 + round));
    const family = new GenericFamily(connection, 'IPVS', 'ip_vs');
    assert.deepEqual([family.id, family.id, socket.sent.length], [28, 28, 1]);
    assert.equal(family.refresh(), true);
    assert.equal(family.id, 29);
  });

  test('does not disturb a batch that is being written', () => {
    const { connection } = connect(([m]) => familyReply(m!, 28));
    const family = new GenericFamily(connection, 'IPVS', 'ip_vs');
    const writer = family.message(connection.writer.reset(), 5, 0);
    assert.equal(writer.messageCount, 1);
  });

  test('that does not exist says which module to load', () => {
    const { connection } = connect(([m]) => [errorReply(m!.sequence, 2)]);
    assert.throws(() => new GenericFamily(connection, 'IPVS', 'ip_vs').id, failsWith('MODULE_MISSING', /modprobe ip_vs/));
  });
});

describe('a subscription', () => {
  test('hands over everything queued and tells that events were lost', () => {
    const socket = scriptedSocket(() => []);
    const subscription = new NetlinkSubscription(NETLINK.ROUTE, { groups: [1], socket });
    socket.queue.push(joined(dataReply(0, 20, 1), dataReply(0, 21, 2)), -105, -4, dataReply(0, 20, 3));
    const types: number[] = [];
    assert.deepEqual(subscription.drain((m) => types.push(m.type)), { messages: 3, lost: true });
    assert.deepEqual(types, [20, 21, 20]);
    assert.deepEqual(subscription.drain(), { messages: 0, lost: false });
  });

  test('counts a cut datagram as a loss', () => {
    const socket = scriptedSocket(() => []);
    socket.queue.push(new Uint8Array(70000));
    assert.deepEqual(new NetlinkSubscription(NETLINK.ROUTE, { groups: [1], socket }).drain(), { messages: 0, lost: true });
  });

  test('closes its socket once', () => {
    const socket = scriptedSocket(() => []);
    const subscription = new NetlinkSubscription(NETLINK.ROUTE, { groups: [1], socket });
    subscription.close();
    subscription.close();
    assert.ok(socket.closed);
  });
});

test('pure code loads no native library', async () => {
  const { execFileSync } = await import('node:child_process');
  const script = `await import(${JSON.stringify(new URL('../../../../src/kernel/netlink/connection.ts', import.meta.url).href)});
    const { createRequire } = await import('node:module');
    const loaded = Object.keys(createRequire(process.argv[1] ?? import.meta.url).cache ?? {}).filter((f) => f.includes('koffi'));
    console.log(loaded.length, process.report.getReport().sharedObjects.some((o) => o.includes('koffi')));`;
  assert.equal(execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' }).trim(), '0 false');
});
