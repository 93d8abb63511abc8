import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { createDebug, createGenericDebug, debugPrinter, type FamilyVocabulary } from '../../../../src/kernel/netlink/debug.ts';
import { CONTROL, routeVocabulary } from '../../../../src/kernel/netlink/vocabulary.ts';
import { MessageWriter } from '../../../../src/kernel/netlink/writer.ts';
import { doneReply, errorReply, taken } from './scripted-socket.ts';

const THING: FamilyVocabulary = {
  name: 'THING', commands: { 1: 'NEW' },
  attributes: { 1: ['BOX', { 1: ['ADDR', 'address'], 2: ['PORT', 'u16be'], 3: ['NAME', 'string'], 4: ['MASK', 'u32be'], 5: ['ON', 'flag'] }] },
};

function generic() {
  const lines: string[] = [];
  const debug = createGenericDebug([THING], CONTROL, (line) => lines.push(line));
  const feed = (direction: 'sent' | 'received', bytes: Uint8Array): string[] => {
    lines.length = 0;
    debug[direction](bytes, bytes.length);
    return [...lines];
  };
  return feed;
}

describe('the debug printer', () => {
  test('learns a family from the answer to its lookup, then prints its messages in words', () => {
    const feed = generic();
    const message = taken(new MessageWriter(256).message(0x1d, 5, 9).generic(1).begin(1)
      .data(1, Uint8Array.of(192, 0, 2, 1)).u16be(2, 80).string(3, 'x').u32be(4, 0xffffff00).flag(5).u8(9, 7).end());
    assert.match(feed('sent', message)[0]!, /^netlink > type 29 seq 9 flags 0x5 /, 'unknown before');
    const lookup = taken(new MessageWriter(256).message(0x10, 0, 1).generic(1, 2).string(2, 'THING').u16(1, 0x1d));
    assert.deepEqual(feed('received', lookup), ['netlink < CTRL NEWFAMILY seq 1 FAMILY_NAME="THING" FAMILY_ID=29']);
    assert.deepEqual(feed('sent', message), ['netlink > THING NEW seq 9 ACK BOX{ADDR=192.0.2.1 PORT=80 NAME="x" MASK=0xffffff00 ON attribute 9=07}']);
  });

  test('prints acknowledgements, errnos by name, the words of the kernel, and the end of a dump', () => {
    const feed = generic();
    assert.deepEqual(feed('received', errorReply(3, 0)), ['netlink < ACK seq 3']);
    assert.deepEqual(feed('received', errorReply(3, 17)), ['netlink < ERROR seq 3 EEXIST']);
    assert.deepEqual(feed('received', errorReply(3, 95, 'no')), ['netlink < ERROR seq 3 EOPNOTSUPP "no"']);
    assert.deepEqual(feed('received', doneReply(3, 12, 0x12)), ['netlink < DONE seq 3 ENOMEM DUMP_INTR']);
  });

  test('prints rtnetlink', () => {
    const lines: string[] = [];
    const debug = createDebug(routeVocabulary, (line) => lines.push(line));
    const writer = new MessageWriter(256).message(20, 0x505, 2).word(2 | (32 << 8)).word(7).data(2, Uint8Array.of(192, 0, 2, 1)).u32(8, 0x80);
    const bytes = taken(writer);
    debug.sent(bytes, bytes.length);
    assert.deepEqual(lines, ['netlink > RTM_NEWADDR seq 2 ACK|REPLACE|CREATE inet index 7 /32 scope 0 LOCAL=192.0.2.1 FLAGS=0x80']);
  });

  test('says of malformed bytes that they are, and never throws', () => {
    const feed = generic();
    assert.match(feed('received', Uint8Array.of(1, 2, 3))[0]!, /^netlink < malformed: .*: 010203$/);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => { feed('received', bytes); }));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), fc.constantFrom(2, 3, 0x10), (body, type) => {
      const writer = new MessageWriter(512).message(type, 0x300, 1);
      for (const byte of body) writer.word(byte);
      feed('received', taken(writer));
    }));
  });

  test('is on only when the environment says so', () => {
    assert.equal(debugPrinter({}), undefined);
    assert.equal(debugPrinter({ IPVS_NETLINK_DEBUG: '0' }), undefined);
    assert.equal(typeof debugPrinter({ IPVS_NETLINK_DEBUG: '1' }), 'function');
  });
});
