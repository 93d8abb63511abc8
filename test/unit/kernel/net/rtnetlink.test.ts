import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { MessageReader } from '../../../../src/kernel/netlink/reader.ts';
import { MessageWriter } from '../../../../src/kernel/netlink/writer.ts';
import { KernelError } from '../../../../src/kernel/netlink/errors.ts';
import { decodeAddress, decodeLink, decodeLocalRoute } from '../../../../src/kernel/net/rtnetlink-read.ts';
import {
  LARGEST_MESSAGE, encodeAddAddress, encodeAddLocalRoute, encodeAddTunnel, encodeDelAddress, encodeDelLink, encodeLinkUp,
} from '../../../../src/kernel/net/rtnetlink-write.ts';
import { taken } from '../netlink/scripted-socket.ts';

/**
 * Datagrams of Linux 6.1: links, addresses and (filtered) local routes of a namespace with a dummy, an ipip, a gre, an ip6tnl
 * and an ip6gre device made by iproute2, VIPs of ours, a point-to-point address, and a local route in another table.
 */
const RECORDED = JSON.parse(readFileSync(new URL('fixtures/rtnetlink-6.1.json', import.meta.url), 'utf8')) as Record<'links' | 'addresses' | 'localRoutes', string[][]>;
const datagrams = (name: keyof typeof RECORDED): Uint8Array[] => RECORDED[name].map((lines) => new Uint8Array(Buffer.from(lines.join(''), 'hex')));

function decodeAll<T>(name: keyof typeof RECORDED, decode: (message: MessageReader) => T | null): T[] {
  const items: T[] = [];
  for (const bytes of datagrams(name)) {
    for (const reader = new MessageReader(bytes); reader.next();) {
      const item = decode(reader);
      if (item !== null) items.push(item);
    }
  }
  return items;
}

const LINKS = decodeAll('links', decodeLink);
const NAMES = new Map(LINKS.map((link) => [link.index, link.name]));

describe('reading rtnetlink', () => {
  it('tells links with their kind, state and end points', () => {
    const plain = { carrier: false, up: false, loopback: false, mac: '', tunnelRemote: '' };
    const found = new Map(LINKS.map((link) => [link.name, link]));
    assert.deepEqual(found.get('lo'), { name: 'lo', index: 1, kind: '', mtu: 65536, tunnelLocal: '', ...plain, up: true, carrier: true, loopback: true });
    assert.deepEqual(found.get('e0'), { name: 'e0', index: 105, kind: 'dummy', mtu: 1500, tunnelLocal: '', ...plain, up: true, carrier: true, mac: '02:00:00:00:00:0a' });
    assert.deepEqual(found.get('t4'), { name: 't4', index: 106, kind: 'ipip', mtu: 1480, ...plain, up: true, carrier: true, tunnelLocal: '10.0.0.1' });
    assert.deepEqual(found.get('g4'), { name: 'g4', index: 107, kind: 'gre', mtu: 1400, ...plain, tunnelLocal: '10.0.0.1', tunnelRemote: '10.0.0.2' });
    assert.deepEqual(found.get('t6'), { name: 't6', index: 108, kind: 'ip6tnl', mtu: 1452, ...plain, tunnelLocal: 'fd00::1' });
    assert.deepEqual(found.get('g6'), { name: 'g6', index: 109, kind: 'ip6gre', mtu: 1448, ...plain, tunnelLocal: 'fd00::1', tunnelRemote: 'fd00::2' });
    assert.deepEqual(found.get('tunl0'), { name: 'tunl0', index: 2, kind: 'ipip', mtu: 1480, ...plain, tunnelLocal: '' });
  });

  it('tells addresses, ours by their protocol, and our end of point-to-point ones', () => {
    assert.deepEqual(decodeAll('addresses', (message) => decodeAddress(message, NAMES)).map((a) => `${a.link} ${a.address}/${a.prefixLength}${a.deprecated ? ' deprecated' : ''}${a.dadFailed ? ' failed' : ''} ${a.protocol}`), [
      'lo 127.0.0.1/8 0', 'e0 10.0.0.1/24 0', 'e0 10.0.0.200/32 deprecated 73', 't4 10.0.0.7/32 0',
      'lo fd00::200/128 deprecated 73', 'lo ::1/128 1', 'e0 fd00::1/64 0',
    ]);
  });

  it('tells local routes of table local', () => {
    assert.deepEqual(decodeAll('localRoutes', (message) => decodeLocalRoute(message, NAMES)).map((r) => `${r.link} ${r.address}`).toSorted(), [
      'e0 10.0.0.1', 'e0 10.0.0.200', 'e0 fd00::1', 'lo 127.0.0.1', 'lo ::1', 'lo fd00::200', 't4 10.0.0.7',
    ]);
  });

  it('skips what is on links that have gone meanwhile', () => {
    assert.deepEqual(decodeAll('addresses', (message) => decodeAddress(message, new Map())), []);
    assert.deepEqual(decodeAll('localRoutes', (message) => decodeLocalRoute(message, new Map())), []);
  });

  for (const [name, decode] of [['links', decodeLink], ['addresses', (m: MessageReader) => decodeAddress(m, NAMES)], ['localRoutes', (m: MessageReader) => decodeLocalRoute(m, NAMES)]] as const) {
    it(`survives ${name} with any byte changed, or cut anywhere`, () => {
      const [bytes] = datagrams(name);
      fc.assert(fc.property(fc.nat(bytes!.length - 1), fc.nat(255), fc.nat(bytes!.length), (at, value, length) => {
        const broken = bytes!.slice(0, length);
        if (at < length) broken[at] = value;
        try {
          for (const reader = new MessageReader(broken); reader.next();) decode(reader);
        } catch (error) {
          assert.ok(error instanceof KernelError && error.code === 'PROTOCOL', String(error));
        }
      }));
    });
  }
});

describe('writing rtnetlink', () => {
  const bytes = (encode: (writer: MessageWriter) => void): string => {
    const writer = new MessageWriter(1024);
    encode(writer);
    const message = taken(writer);
    assert.ok(message.length <= LARGEST_MESSAGE);
    return Buffer.from(message).toString('hex').replaceAll(/(.{8})(?!$)/g, '$1 ');
  };

  it('binds an IPv4 VIP: /32, nodad, preferred 0, for ever, ours', () => {
    assert.equal(bytes((w) => encodeAddAddress(w, { link: 'e0', family: 'IPv4', address: '10.0.0.200' }, { index: 5, loopback: false })), [
      '4c000000 14000105 00000000 00000000', // 76 bytes, RTM_NEWADDR, REQUEST|CREATE|REPLACE
      '02200000 05000000', // AF_INET, /32, flags in IFA_FLAGS, scope global, index 5
      '08000200 0a0000c8', '08000100 0a0000c8', // IFA_LOCAL, IFA_ADDRESS
      '08000800 02000000', // IFA_FLAGS: NODAD
      '14000600 00000000 ffffffff 00000000 00000000', // IFA_CACHEINFO: preferred 0, valid for ever
      '05000b00 49000000', // IFA_PROTO
    ].join(' '));
  });

  it('gives an IPv4 VIP on lo scope host', () => {
    assert.match(bytes((w) => encodeAddAddress(w, { link: 'lo', family: 'IPv4', address: '10.0.0.200' }, { index: 1, loopback: true })), /022000fe 01000000/);
    assert.match(bytes((w) => encodeAddAddress(w, { link: 'lo', family: 'IPv6', address: 'fd00::200' }, { index: 1, loopback: true })), /0a800000 01000000/);
  });

  it('unbinds a VIP as a host prefix', () => {
    assert.equal(bytes((w) => encodeDelAddress(w, { link: 'e0', family: 'IPv6', address: 'fd00::200' }, 5)), [
      '40000000 15000100 00000000 00000000', '0a800000 05000000',
      '14000200 fd000000 00000000 00000000 00000200', '14000100 fd000000 00000000 00000000 00000200',
    ].join(' '));
  });

  it('makes an address local as the kernel does', () => {
    assert.equal(bytes((w) => encodeAddLocalRoute(w, { link: 'e0', family: 'IPv4', address: '10.0.0.200' }, 5)), [
      '34000000 1800010c 00000000 00000000', // RTM_NEWROUTE, REQUEST|CREATE|APPEND
      '02200000 ff02fe02 00000000', // /32, table local, protocol kernel, scope host, type local
      '08000100 0a0000c8', '08000400 05000000', '08000700 0a0000c8',
    ].join(' '));
  });

  it('makes a GRE device that expects checksums', () => {
    assert.equal(bytes((w) => encodeAddTunnel(w, { name: 'g0', kind: 'gre', local: '10.0.0.1', checksum: true })), [
      '50000000 10000106 00000000 00000000', '00000000 00000000 00000000 00000000', // RTM_NEWLINK, REQUEST|CREATE|EXCL
      '07000300 67300000', // IFLA_IFNAME
      '28001200', '08000100 67726500', // IFLA_LINKINFO, IFLA_INFO_KIND
      '1c000200', '08000600 0a000001', '06000200 80000000', '06000300 80000000', // IFLA_GRE_LOCAL, IFLAGS, OFLAGS
    ].join(' '));
  });

  it('makes an ip6tnl device that takes IPv4 and IPv6', () => {
    assert.match(bytes((w) => encodeAddTunnel(w, { name: 't0', kind: 'ip6tnl', local: 'fd00::1', checksum: false })), /05000900 00000000$/);
  });

  it('brings a link up and deletes it by name', () => {
    assert.equal(bytes((w) => encodeLinkUp(w, 't0')), '28000000 13000100 00000000 00000000 00000000 00000000 01000000 01000000 07000300 74300000');
    assert.equal(bytes((w) => encodeDelLink(w, 't0')), '28000000 11000100 00000000 00000000 00000000 00000000 00000000 00000000 07000300 74300000');
  });

  const refused: [string, (writer: MessageWriter) => void][] = [
    ['an address of the other family', (w) => encodeAddAddress(w, { link: 'e0', family: 'IPv4', address: 'fd00::1' }, { index: 5, loopback: false })],
    ['an address that is none', (w) => encodeDelAddress(w, { link: 'e0', family: 'IPv4', address: '010.0.0.1' }, 5)],
    ['a tunnel end of the other family', (w) => encodeAddTunnel(w, { name: 't', kind: 'ipip', local: 'fd00::1', checksum: false })],
    ['a name of 16 bytes', (w) => encodeLinkUp(w, 'sixteen-bytes-ab')],
    ['an empty name', (w) => encodeDelLink(w, '')],
    ['a name with a slash', (w) => encodeAddTunnel(w, { name: 'a/b', kind: 'ipip', local: '10.0.0.1', checksum: false })],
  ];
  for (const [what, encode] of refused) {
    it(`refuses ${what} and leaves no half message`, () => {
      const writer = new MessageWriter(1024);
      assert.throws(() => encode(writer));
      assert.equal(writer.messageCount, 0);
    });
  }
});
