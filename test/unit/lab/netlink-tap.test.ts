// What counts as a change in a capture of netlink, with messages made by hand: a tap that overlooks one proves nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readChanges } from '../../lab/netlink-tap.ts';

const [ROUTE, GENERIC, NETFILTER] = [0, 16, 12];
/** Of a packet to the kernel, and of one from it. */
const [TO_KERNEL, TO_USER] = [7, 6];
/** Whatever the kernel gave to IPVS. */
const IPVS = 28;

const message = (type: number, command = 0, length = 20): Buffer => {
  const bytes = Buffer.alloc((length + 3) & ~3);
  bytes.writeUInt32LE(length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt8(command, 16);
  return bytes;
};

const packet = (direction: number, protocol: number, ...messages: readonly Buffer[]): Buffer => {
  const cooked = Buffer.alloc(16);
  cooked.writeUInt16BE(direction, 0);
  cooked.writeUInt16BE(protocol, 14);
  const data = Buffer.concat([cooked, ...messages]);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(data.length, 8);
  header.writeUInt32LE(data.length, 12);
  return Buffer.concat([header, data]);
};

const capture = (...packets: readonly Buffer[]): Buffer => {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2_c3d4, 0);
  header.writeUInt32LE(253, 20);
  return Buffer.concat([header, ...packets]);
};

const cases: readonly [what: string, packets: readonly Buffer[], changes: readonly string[]][] = [
  ['a new address and a deleted one are changes', [packet(TO_KERNEL, ROUTE, message(20)), packet(TO_KERNEL, ROUTE, message(21))], ['route 20', 'route 21']],
  ['lists of links, addresses, routes, neighbours and rules are none', [18, 22, 26, 30, 34].map((type) => packet(TO_KERNEL, ROUTE, message(type))), []],
  ['all that IPVS can be told are changes: new, set and delete of services and destinations, daemons, timeouts, zero, flush',
    [1, 2, 3, 5, 6, 7, 9, 10, 12, 14, 16, 17].map((command) => packet(TO_KERNEL, GENERIC, message(IPVS, command))), [1, 2, 3, 5, 6, 7, 9, 10, 12, 14, 16, 17].map((c) => `generic ${c} of family ${IPVS}`)],
  ['all that IPVS can be asked are none', [4, 8, 11, 13, 15].map((command) => packet(TO_KERNEL, GENERIC, message(IPVS, command))), []],
  ['to ask for the number of a family is none', [packet(TO_KERNEL, GENERIC, message(16, 3))], []],
  ['what the kernel answers and tells is none', [packet(TO_USER, ROUTE, message(20)), packet(TO_USER, GENERIC, message(IPVS, 1))], []],
  ['many messages of one send are looked at one by one', [packet(TO_KERNEL, GENERIC, message(IPVS, 5, 33), message(IPVS, 8), message(IPVS, 6))], [`generic 5 of family ${IPVS}`, `generic 6 of family ${IPVS}`]],
  ['what nobody here knows is a change', [packet(TO_KERNEL, NETFILTER, message(0x0a00))], [`${0x0a00} of protocol ${NETFILTER}`]],
];

for (const [what, packets, changes] of cases) test(what, () => assert.deepEqual(readChanges(capture(...packets)), changes));

test('a capture that is still being written is read as far as it goes', () => {
  const whole = capture(packet(TO_KERNEL, ROUTE, message(20)), packet(TO_KERNEL, ROUTE, message(21)));
  for (let length = 0; length < whole.length; length++) assert.ok(readChanges(whole.subarray(0, length)).length < 2);
  assert.deepEqual(readChanges(whole.subarray(0, whole.length - 1)), ['route 20']);
});

test('another kind of capture is refused', () => assert.throws(() => readChanges(Buffer.alloc(24)), /not a capture of netlink/));
