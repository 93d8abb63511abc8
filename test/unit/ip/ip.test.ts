/** Addresses mean one thing only: what is accepted, what bytes they are, what class; our own fast paths against ipaddr.js. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { canonical, classOf, contains, familyOf, fromBigInt, fromBytes, networkOf, parsePrefix, toBigInt, toBytes } from '../../../src/ip/ip.ts';

const octet = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 10, 100, 127, 169, 192, 198, 203, 223, 224, 239, 240, 254, 255));
const v4 = fc.tuple(octet, octet, octet, octet).map((o) => o.join('.'));
const v6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((b) => new ipaddr.IPv6([...b]).toRFC5952String()).filter((a) => familyOf(a) !== null);

test('bytes and class of an IPv4 address are those of ipaddr.js', () => {
  const expected = (address: string): string => {
    const range = ipaddr.IPv4.parse(address).range();
    if (['unspecified', 'loopback', 'linkLocal', 'multicast', 'broadcast'].includes(range)) return range;
    return Number(address.split('.')[0]) >= 240 ? 'reserved' : 'unicast';
  };
  fc.assert(fc.property(v4, (address) => {
    assert.deepEqual([...toBytes(address)], ipaddr.IPv4.parse(address).toByteArray());
    assert.equal(classOf(address), expected(address), address);
  }), { numRuns: 2000 });
});

test('text to bytes and integer and back is the same address', () => {
  fc.assert(fc.property(fc.oneof(v4, v6), (address) => {
    assert.equal(fromBytes(toBytes(address)), address);
    assert.equal(fromBigInt(toBigInt(address), familyOf(address)!), address);
    assert.equal(canonical(address), address);
  }), { numRuns: 500 });
});

test('an address is accepted in one form only', () => {
  for (const text of ['010.0.0.1', '127.1', '0x7f.0.0.1', '1.2.3.4.5', '1.2.3', '256.1.1.1', ' 1.2.3.4', '1.2.3.4 ', '', 'fe80::1%e0', '::ffff:1.2.3.4', '::ffff:102:304', '0:0:0:0:0:FFFF:102:304', '0000::ffff:1.2.3.4', '1::2::3', 'localhost']) {
    assert.deepEqual([familyOf(text), canonical(text)], [null, null], text);
    assert.throws(() => toBytes(text), RangeError, text);
  }
  assert.equal(canonical('2001:DB8:0:0:0:0:0:1'), '2001:db8::1');
});

test('classes of IPv6', () => {
  for (const [address, kind] of [['::', 'unspecified'], ['::1', 'loopback'], ['fe80::1', 'linkLocal'], ['ff02::1', 'multicast'], ['fd00::1', 'unicast'], ['2001:db8::1', 'unicast'], ['2606:4700::1', 'unicast']] as const) {
    assert.equal(classOf(address), kind, address);
  }
});

test('prefixes: whole networks only', () => {
  assert.deepEqual(parsePrefix('10.1.0.0/16'), { family: 'IPv4', address: '10.1.0.0', length: 16 });
  for (const text of ['10.1.0.1/16', '10.1.0.0/33', '10.1.0.0/016', '10.1.0.0', '10.1.0.0/', 'fd00::1/64']) assert.equal(parsePrefix(text), null, text);
  assert.equal(networkOf('10.1.2.3', 20), '10.1.0.0');
  assert.deepEqual([contains('10.1.0.0', 16, '10.1.9.9'), contains('10.1.0.0', 16, '10.2.0.1'), contains('10.1.0.0', 16, 'fd00::1')], [true, false, false]);
});
