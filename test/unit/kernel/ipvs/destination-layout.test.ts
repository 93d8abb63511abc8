/** A destination read where the last one had its values is what decode.ts reads attribute by attribute; whatever lies otherwise is left to it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ATTR, COMMAND, DEST } from '../../../../src/kernel/ipvs/constants.ts';
import { decodeDestination, RowBuffer } from '../../../../src/kernel/ipvs/decode.ts';
import { DestinationLayout } from '../../../../src/kernel/ipvs/destination-layout.ts';
import { MessageReader } from '../../../../src/kernel/netlink/reader.ts';
import { MessageWriter } from '../../../../src/kernel/netlink/writer.ts';

type Attribute = (w: MessageWriter) => void;
const u32 = fc.nat(0xffff_ffff);
const u16 = fc.nat(0xffff);

/** The attributes as Linux 6.1 writes them, in its order. */
const attributes: fc.Arbitrary<Attribute[]> = fc.tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), u16, fc.tuple(u32, u32, u32, u32, u32, u32, u32), fc.constantFrom(2, 10), fc.nat(2), u16, u16)
  .map(([address, port, [method, weight, upper, lower, active, inactive, persistent], family, type, tunnelPort, flags]) => [
    (w) => w.data(DEST.ADDR, address), (w) => w.u16be(DEST.PORT, port), (w) => w.u32(DEST.FWD_METHOD, method), (w) => w.u32(DEST.WEIGHT, weight),
    (w) => w.u32(DEST.U_THRESH, upper), (w) => w.u32(DEST.L_THRESH, lower), (w) => w.u32(DEST.ACTIVE_CONNS, active), (w) => w.u32(DEST.INACT_CONNS, inactive),
    (w) => w.u32(DEST.PERSIST_CONNS, persistent), (w) => w.u16(DEST.ADDR_FAMILY, family), (w) => w.u8(DEST.TUN_TYPE, type), (w) => w.u16be(DEST.TUN_PORT, tunnelPort), (w) => w.u16(DEST.TUN_FLAGS, flags),
    (w) => w.begin(DEST.STATS).u32(1, active).u32(2, weight).end(),
  ]);

/** Words of a dump: one message a list of attributes. */
function dump(...messages: Attribute[][]): Uint32Array {
  const writer = new MessageWriter();
  for (const attributes of messages) {
    writer.message(0x1c, 2, 1).generic(COMMAND.NEW_DEST).begin(ATTR.DEST);
    for (const write of attributes) write(writer);
    writer.end();
  }
  writer.finish();
  return writer.words.slice(0, writer.position);
}

function decoded(words: Uint32Array): number[] {
  const rows = new RowBuffer();
  const reader = new MessageReader(new Uint8Array(words.buffer, 0, words.byteLength));
  while (reader.next()) decodeDestination(reader, 2, rows);
  return [...rows.take()];
}

test('what lies as the last one did is read as decode.ts reads it', () => {
  fc.assert(fc.property(attributes, attributes, (one, other) => {
    const words = dump(one, other);
    const second = words[0]! >>> 2;
    const [layout, rows] = [new DestinationLayout(), new RowBuffer()];
    assert.ok(!layout.read(words, 0, rows), 'read before anything was learnt');
    layout.learn(words, 0);
    assert.ok(layout.read(words, 0, rows) && layout.read(words, second, rows));
    assert.deepEqual([...rows.take()], decoded(words));
  }));
});

test('a message without an attribute, with two of them exchanged, or with one more of another length is left to decode.ts', () => {
  fc.assert(fc.property(attributes, attributes, fc.nat(12), fc.nat(12), (one, other, a, b) => {
    const without = other.filter((_, i) => i !== a);
    const longer = [...other, (w: MessageWriter) => { w.u32(99, 0); }];
    const exchanged = other.map((attribute, i) => i === a ? other[b]! : i === b ? other[a]! : attribute);
    for (const changed of [without, longer, ...(a === b ? [] : [exchanged])]) {
      const words = dump(one, changed);
      const [layout, rows] = [new DestinationLayout(), new RowBuffer()];
      layout.learn(words, 0);
      // PERSIST_CONNS is not looked at, and looks like its neighbours: what is read in spite of it must be right.
      if (layout.read(words, words[0]! >>> 2, rows)) assert.deepEqual([...rows.take()], decoded(words).slice(12));
      else assert.equal(rows.rows, 0);
    }
  }));
});

test('what lacks an attribute is not learnt', () => {
  fc.assert(fc.property(attributes, fc.nat(12).filter((i) => i !== 8), (one, missing) => {
    const words = dump(one.filter((_, i) => i !== missing));
    const layout = new DestinationLayout();
    layout.learn(words, 0);
    assert.ok(!layout.read(words, 0, new RowBuffer()));
  }));
});
