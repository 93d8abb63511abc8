import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { ARP_OPERATION, arpAnnouncement, macBytes, neighbourAdvertisement } from '../../../../src/kernel/net/announcement.ts';
import { ipv6Address, packetAddress } from '../../../../src/kernel/net/announce.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const MAC = macBytes('02:00:00:00:00:aa')!;

describe('announcements', () => {
  it('ask for the VIP with the VIP as sender (RFC 5227)', () => {
    assert.equal(hex(arpAnnouncement(ARP_OPERATION.request, MAC, '192.0.2.10')), ['0001', '0800', '06', '04', '0001', '0200000000aa', 'c000020a', '000000000000', 'c000020a'].join(''));
  });

  it('answer to nobody\'s question, for neighbours that only believe replies', () => {
    assert.equal(hex(arpAnnouncement(ARP_OPERATION.reply, MAC, '192.0.2.10')), ['0001', '0800', '06', '04', '0002', '0200000000aa', 'c000020a', '0200000000aa', 'c000020a'].join(''));
  });

  it('advertise an IPv6 VIP with the override flag (RFC 4861)', () => {
    assert.equal(hex(neighbourAdvertisement(MAC, '2001:db8::10')), ['88', '00', '0000', '20000000', '20010db8000000000000000000000010', '02', '01', '0200000000aa'].join(''));
  });

  it('go to everybody on one link', () => {
    // linux/if_packet.h struct sockaddr_ll and linux/in6.h struct sockaddr_in6.
    assert.equal(hex(packetAddress(7)), ['1100', '0806', '07000000', '0000', '00', '06', 'ffffffffffff', '0000'].join(''));
    assert.equal(hex(ipv6Address('ff02::1', 7)), ['0a00', '0000', '00000000', 'ff020000000000000000000000000001', '07000000'].join(''));
  });

  for (const text of ['', '02:00:00:00:00', '02:00:00:00:00:0A', '02-00-00-00-00-aa', '02:00:00:00:00:aa:bb', '10.0.0.1']) {
    it(`take no MAC from ${JSON.stringify(text)}`, () => { assert.equal(macBytes(text), null); });
  }
});
