/** The bytes of probes, and what the packets of others say about an address. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ARP_OPERATION, arpAnnouncement, macBytes, neighbourAdvertisement } from '../../../../src/kernel/net/announcement.ts';
import { arpProbe, neighbourProbe, readArp, readNeighbour, solicitedNode } from '../../../../src/kernel/net/probe-packets.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytes = (...parts: string[]): Uint8Array => Uint8Array.from(Buffer.from(parts.join(''), 'hex'));
const mac = '02:00:00:00:00:aa';
const MAC = macBytes(mac)!;
const NONCE = bytes('010203040506');

test('an ARP probe asks from 0.0.0.0, so that no cache learns anything (RFC 5227)', () => {
  assert.equal(hex(arpProbe(MAC, '192.0.2.10')), ['0001', '0800', '06', '04', '0001', '0200000000aa', '00000000', '000000000000', 'c000020a'].join(''));
});

test('a neighbour solicitation has our MAC to answer to, and a nonce (RFC 4861, RFC 7527), and goes to the group of the address', () => {
  assert.equal(hex(neighbourProbe(MAC, '2001:db8::10', NONCE)), ['87', '00', '0000', '00000000', '20010db8000000000000000000000010', '01', '01', '0200000000aa', '0e', '01', '010203040506'].join(''));
  assert.equal(solicitedNode('2001:db8::1:2345:6789'), 'ff02::1:ff45:6789');
});

const ARP: readonly [string, Uint8Array, ReturnType<typeof readArp>][] = [
  ['a reply says who holds the address', bytes('0001', '0800', '06', '04', '0002', '0200000000bb', 'c000020a', '0200000000aa', '00000000'), { address: '192.0.2.10', says: 'holds', mac: '02:00:00:00:00:bb' }],
  ['an announcement does, too', arpAnnouncement(ARP_OPERATION.request, MAC, '192.0.2.10'), { address: '192.0.2.10', says: 'holds', mac }],
  ['a question says who holds the address it comes from', bytes('0001', '0800', '06', '04', '0001', '0200000000bb', 'c0000201', '000000000000', 'c000020a'), { address: '192.0.2.1', says: 'holds', mac: '02:00:00:00:00:bb' }],
  ['a probe says who wants one', arpProbe(MAC, '192.0.2.10'), { address: '192.0.2.10', says: 'wants', mac }],
  ['a reply from 0.0.0.0 says nothing', bytes('0001', '0800', '06', '04', '0002', '0200000000bb', '00000000', '0200000000aa', 'c000020a'), null],
  ['another protocol says nothing', bytes('0001', '86dd', '06', '04', '0002', '0200000000bb', 'c000020a', '0200000000aa', '00000000'), null],
];
for (const [name, packet, expected] of ARP) test(`ARP: ${name}`, () => { assert.deepEqual(readArp(packet), expected); });

const target = '20010db8000000000000000000000010';
const ND: readonly [string, Uint8Array, ReturnType<typeof readNeighbour>][] = [
  ['an advertisement says who holds the address', neighbourAdvertisement(MAC, '2001:db8::10'), { address: '2001:db8::10', says: 'holds', mac }],
  ['also without an option', bytes('88', '00', '0000', '60000000', target), { address: '2001:db8::10', says: 'holds', mac: '' }],
  ['a probe of ours says who wants it', neighbourProbe(MAC, '2001:db8::10', NONCE), { address: '2001:db8::10', says: 'wants', mac }],
  ['a host that detects duplicates asks from no address, and gives no MAC', bytes('87', '00', '0000', '00000000', target), { address: '2001:db8::10', says: 'wants', mac: '' }],
  ['also one that knows of nonces', bytes('87', '00', '0000', '00000000', target, '0e', '01', 'ffffffffffff'), { address: '2001:db8::10', says: 'wants', mac: '' }],
  ['a router that wants to reach the address does not want to have it', bytes('87', '00', '0000', '00000000', target, '01', '01', '0200000000bb'), null],
  ['a router advertisement says nothing', bytes('86', '00', '0000', '00000000', target), null],
  ['an option of no length ends the list', bytes('88', '00', '0000', '60000000', target, '02', '00', '0200000000bb'), { address: '2001:db8::10', says: 'holds', mac: '' }],
];
for (const [name, packet, expected] of ND) test(`ND: ${name}`, () => { assert.deepEqual(readNeighbour(packet), expected); });

test('no bytes from a network make the readers throw or loop', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(0, 0x87, 0x88), (raw, type) => {
    if (type !== 0 && raw.length > 0) raw[0] = type;
    readArp(raw);
    readNeighbour(raw);
  }));
});
