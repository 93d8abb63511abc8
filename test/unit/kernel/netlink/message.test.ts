import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { KernelError } from '../../../../src/kernel/netlink/errors.ts';
import { AttributeReader, MessageReader } from '../../../../src/kernel/netlink/reader.ts';
import { MessageWriter } from '../../../../src/kernel/netlink/writer.ts';
import { taken } from './scripted-socket.ts';

const hex = (writer: MessageWriter): string => Buffer.from(taken(writer)).toString('hex');
const isProtocolError = (error: unknown): boolean => error instanceof KernelError && error.code === 'PROTOCOL';

describe('the bytes of each kind of attribute', () => {
  const table: [name: string, write: (w: MessageWriter) => void, expected: string][] = [
    ['u8', (w) => w.u8(13, 1), '05000d00' + '01000000'],
    ['u16', (w) => w.u16(1, 2), '06000100' + '02000000'],
    ['u16 in network order', (w) => w.u16be(4, 80), '06000400' + '00500000'],
    ['u32', (w) => w.u32(5, 0x01020304), '08000500' + '04030201'],
    ['a negative number', (w) => w.u32(4, -1), '08000400' + 'ffffffff'],
    ['u32 in network order', (w) => w.u32be(9, 0xffffff00), '08000900' + 'ffffff00'],
    ['a flag', (w) => w.flag(7), '04000700'],
    ['bytes, padded', (w) => w.data(3, Uint8Array.of(1, 2, 3, 4, 5)), '09000300' + '0102030405000000'],
    ['no bytes', (w) => w.data(3, new Uint8Array(0)), '04000300'],
    ['a string of three letters, which ends a word', (w) => w.string(6, 'wlc'), '08000600' + '776c6300'],
    ['a string of four letters, which needs another', (w) => w.string(6, 'none'), '09000600' + '6e6f6e6500000000'],
    ['a nest', (w) => w.begin(1).u16(1, 2).end(), '0c000100' + '06000100' + '02000000'],
    ['a flagged nest', (w) => w.begin(18, true).end(), '04001280'],
    ['a copy of words', (w) => w.copy(Uint32Array.of(1, 2)), '01000000' + '02000000'],
  ];
  for (const [name, write, expected] of table) {
    test(name, () => {
      // A used buffer shows what padding forgets to clear.
      const writer = new MessageWriter(256);
      writer.bytes.fill(0xee);
      writer.message(0x1c, 5, 7);
      write(writer);
      const length = (16 + expected.length / 2).toString(16).padStart(2, '0');
      assert.equal(hex(writer), `${length}000000` + '1c000500' + '07000000' + '00000000' + expected);
    });
  }

  test('a generic message carries command and version', () => {
    assert.equal(hex(new MessageWriter(64).message(0x1c, 1, 1).generic(5)), '14000000' + '1c000100' + '01000000' + '00000000' + '05010000');
  });
});

describe('a batch', () => {
  test('is numbered without gaps, and only its last message asks for an answer', () => {
    const writer = new MessageWriter(1024);
    for (let i = 0; i < 3; i++) writer.message(0x1c, 1).generic(5).u32(1, i);
    writer.seal(4, 0xfffffffe);
    const seen: number[][] = [];
    for (const r = new MessageReader(writer.bytes, writer.bytesUsed); r.next();) seen.push([r.sequence, r.flags]);
    assert.deepEqual(seen, [[0xfffffffe, 1], [0xffffffff, 1], [0, 5]]);
    assert.equal(writer.messageCount, 3);
    assert.equal(writer.bytesUsed, 3 * 28);
  });

  test('that is reset forgets everything', () => {
    const writer = new MessageWriter(64).message(1, 1).reset();
    assert.deepEqual([writer.bytesUsed, writer.messageCount], [0, 0]);
  });

  const refusals: [string, (w: MessageWriter) => void][] = [
    ['a message beyond the buffer', (w) => { w.message(1, 1).data(1, new Uint8Array(60)); }],
    ['a nest that is not closed', (w) => { w.message(1, 1).begin(1).finish(); }],
    ['an end without a nest', (w) => { w.message(1, 1).end(); }],
    ['nests without end', (w) => { w.message(1, 1); for (let i = 0; i < 9; i++) w.begin(1); }],
  ];
  for (const [name, write] of refusals) {
    test(`refuses ${name}`, () => assert.throws(() => write(new MessageWriter(64)), (e) => e instanceof KernelError && e.code === 'INVALID'));
  }

  test('knows whether one more message fits', () => {
    const writer = new MessageWriter(64).message(1, 1);
    assert.deepEqual([writer.wouldFit(48), writer.wouldFit(49)], [true, false]);
  });
});

/** An attribute tree: what a message can say. */
type Value =
  | { kind: 'u8' | 'u16' | 'u16be' | 'u32' | 'u32be'; type: number; value: number }
  | { kind: 'string'; type: number; value: string }
  | { kind: 'data'; type: number; value: number[] }
  | { kind: 'nest'; type: number; value: Value[] };

const attributeType = fc.integer({ min: 1, max: 0x3fff });
/** One code point of each length in UTF-8, at both ends, controls among them. fast-check's own table of all of Unicode takes half a second to build. */
const codePoint = fc.oneof(
  fc.integer({ min: 1, max: 0x7f }), fc.integer({ min: 0x80, max: 0x7ff }), fc.integer({ min: 0x800, max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0xffff }), fc.integer({ min: 0x1_0000, max: 0x10_ffff }),
).map((code) => String.fromCodePoint(code));
const { tree } = fc.letrec<{ tree: Value[] }>((tie) => ({
  tree: fc.array(fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.record({ kind: fc.constant('u8' as const), type: attributeType, value: fc.nat(0xff) }, { noNullPrototype: true }),
    fc.record({ kind: fc.constantFrom('u16' as const, 'u16be' as const), type: attributeType, value: fc.nat(0xffff) }, { noNullPrototype: true }),
    fc.record({ kind: fc.constantFrom('u32' as const, 'u32be' as const), type: attributeType, value: fc.nat(0xffffffff) }, { noNullPrototype: true }),
    fc.record({ kind: fc.constant('string' as const), type: attributeType, value: fc.string({ unit: codePoint, maxLength: 20 }) }, { noNullPrototype: true }),
    fc.record({ kind: fc.constant('data' as const), type: attributeType, value: fc.array(fc.nat(255), { maxLength: 20 }) }, { noNullPrototype: true }),
    fc.record({ kind: fc.constant('nest' as const), type: attributeType, value: tie('tree') }, { noNullPrototype: true }),
  ), { maxLength: 5 }) as fc.Arbitrary<Value[]>,
}));

const depthOf = (values: readonly Value[]): number => 1 + Math.max(0, ...values.map((v) => v.kind === 'nest' ? depthOf(v.value) : 0));

function write(writer: MessageWriter, values: readonly Value[]): void {
  for (const v of values) {
    if (v.kind === 'nest') { writer.begin(v.type); write(writer, v.value); writer.end(); }
    else if (v.kind === 'string') writer.string(v.type, v.value);
    else if (v.kind === 'data') writer.data(v.type, Uint8Array.from(v.value));
    else writer[v.kind](v.type, v.value);
  }
}

/** Reads with the kinds that were written: netlink itself does not say them. */
function read(reader: AttributeReader, like: readonly Value[]): Value[] {
  return like.map((v): Value => {
    assert.ok(reader.next());
    const type = reader.type;
    if (v.kind === 'nest') return { kind: v.kind, type, value: read(reader.nested(), v.value) };
    if (v.kind === 'string') return { kind: v.kind, type, value: reader.string() };
    if (v.kind === 'data') return { kind: v.kind, type, value: [...reader.data()] };
    return { kind: v.kind, type, value: reader[v.kind]() };
  });
}

describe('reading', () => {
  test('gives back whatever was written', () => {
    fc.assert(fc.property(fc.array(tree.filter((t) => depthOf(t) <= 8), { minLength: 1, maxLength: 4 }), (messages) => {
      const writer = new MessageWriter();
      for (const [i, values] of messages.entries()) write(writer.message(0x20 + i, 1, i).generic(i), values);
      writer.finish();
      const reader = new MessageReader(writer.bytes, writer.bytesUsed);
      for (const [i, values] of messages.entries()) {
        assert.ok(reader.next());
        assert.deepEqual([reader.type, reader.sequence, reader.command], [0x20 + i, i, i]);
        const attributes = reader.genericAttributes();
        assert.deepEqual(read(attributes, values), values);
        assert.equal(attributes.next(), false);
      }
      assert.equal(reader.next(), false);
    }));
  });

  /** Touches everything that can be read. */
  function devour(attributes: AttributeReader, depth: number): void {
    while (attributes.next()) {
      for (const get of ['u8', 'u16', 'u16be', 'u32', 'i32', 'u32be', 'u64'] as const) {
        if (attributes.length >= 8) attributes[get]();
      }
      attributes.string();
      attributes.data();
      if (depth > 0 && (attributes.type & 1)) devour(attributes.nested(), depth - 1);
    }
  }

  test('random bytes throws nothing but a protocol error', () => {
    const length = fc.oneof(fc.constantFrom(0, 1, 4, 15, 16, 17, 20, 24, 0xffffffff), fc.nat(80));
    const header = fc.tuple(length, fc.nat(0xffffffff));
    fc.assert(fc.property(fc.array(fc.oneof(fc.nat(0xffffffff), header, fc.tuple(fc.nat(40), fc.nat(9)).map(([n, t]) => n | (t << 16))), { maxLength: 40 }),
      fc.nat(3), fc.nat(3), (words, cut, shift) => {
        const flat = words.flat();
        const whole = new Uint8Array(flat.length * 4 + shift);
        new Uint8Array(whole.buffer).set(new Uint8Array(Uint32Array.from(flat).buffer), shift);
        const bytes = whole.subarray(shift, Math.max(shift, whole.length - cut));
        try {
          for (const r = new MessageReader(bytes); r.next();) {
            r.command;
            devour(r.genericAttributes(), 6);
          }
        } catch (error) {
          assert.ok(isProtocolError(error), String(error));
        }
      }), { numRuns: 2000 });
  });

  const malformed: [string, number[]][] = [
    ['a length below the header', [15, 0, 0, 0]],
    ['a length of zero, which would loop for ever', [0, 0, 0, 0]],
    ['a length beyond the datagram', [24, 0, 0, 0, 0]],
    ['an attribute shorter than its header', [20, 0, 0, 0, 3]],
    ['an attribute beyond its message', [24, 0, 0, 0, 12, 0]],
    ['a rest too short for a message', [16, 0, 0, 0, 0]],
  ];
  for (const [name, words] of malformed) {
    test(`refuses ${name}`, () => assert.throws(() => {
      for (const r = new MessageReader(new Uint8Array(Uint32Array.from(words).buffer)); r.next();) devour(r.attributes(0), 1);
    }, isProtocolError));
  }

  test('refuses a value that is shorter than its type', () => {
    const writer = new MessageWriter(64).message(0x20, 1).u16(1, 7);
    const reader = new MessageReader(taken(writer));
    reader.next();
    const attributes = reader.attributes(0);
    attributes.next();
    assert.equal(attributes.u16(), 7);
    assert.throws(() => attributes.u32(), isProtocolError);
    assert.throws(() => attributes.u64(), isProtocolError);
  });

  test('masks the flag bits of an attribute type, and says that the nest was flagged', () => {
    const reader = new MessageReader(taken(new MessageWriter(64).message(0x20, 1).begin(18, true).u8(1, 1).end()));
    reader.next();
    const attributes = reader.attributes(0);
    attributes.next();
    assert.deepEqual([attributes.type, attributes.flaggedNested], [18, true]);
  });

  test('reads 64 bits exactly', () => {
    const value = 0xfedcba9876543210n;
    const writer = new MessageWriter(64).message(0x20, 1).data(3, new Uint8Array(BigUint64Array.of(value).buffer));
    const reader = new MessageReader(taken(writer));
    reader.next();
    const attributes = reader.attributes(0);
    attributes.next();
    assert.equal(attributes.u64(), value);
  });
});
