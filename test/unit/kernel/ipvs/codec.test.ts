/** What goes over the wire: our bytes by the letter, and replies as Linux 6.1 sent them (captured in a guest). */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { decodeDaemon, decodeDestination, decodeInfo, decodeService, decodeStatistics, decodeTimeouts, decodeTunnelSupport, RowBuffer, skimService } from '../../../../src/kernel/ipvs/decode.ts';
import { DestinationTable, packRow, ROW } from '../../../../src/kernel/ipvs/destinations.ts';
import { DestinationSeries, encodeDaemon, encodeDestination, encodeDestinationKey, encodeService, encodeServiceKey, encodeTimeouts, LARGEST_MESSAGE, maskOf } from '../../../../src/kernel/ipvs/encode.ts';
import { SERVICE_FLAG } from '../../../../src/kernel/ipvs/types.ts';
import { createGenericDebug } from '../../../../src/kernel/netlink/debug.ts';
import { KernelError } from '../../../../src/kernel/netlink/errors.ts';
import { MessageReader } from '../../../../src/kernel/netlink/reader.ts';
import { MessageWriter } from '../../../../src/kernel/netlink/writer.ts';
import { IPVS_VOCABULARY } from '../../../../src/kernel/ipvs/vocabulary.ts';
import { CONTROL } from '../../../../src/kernel/netlink/vocabulary.ts';
import { taken } from '../netlink/scripted-socket.ts';
import { anyDestination, anyService, destination, fwmark, persistent, service } from './values.ts';

function written(write: (writer: MessageWriter) => void): Uint8Array {
  const writer = new MessageWriter(4096).message(0x1c, 1, 1).generic(1);
  write(writer);
  return taken(writer);
}
/** Attributes only, in hex. */
const hex = (write: (writer: MessageWriter) => void): string => Buffer.from(written(write).subarray(20)).toString('hex');
function first(bytes: Uint8Array): MessageReader {
  const reader = new MessageReader(bytes);
  assert.ok(reader.next());
  return reader;
}
const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));

describe('the bytes of', () => {
  const table: [what: string, actual: string, expected: string][] = [
    ['the key of an IPv4 service', hex((w) => encodeServiceKey(w, service())),
      '24000100' + '0600010002000000' + '0600020006000000' + '08000300c0000201' + '0600040000500000'],
    ['the key of an IPv6 service', hex((w) => encodeServiceKey(w, service({ family: 'IPv6', address: '2001:db8::1', protocol: 'SCTP' }))),
      '30000100' + '060001000a000000' + '0600020084000000' + '1400030020010db8000000000000000000000001' + '0600040000500000'],
    ['the key of a fwmark service', hex((w) => encodeServiceKey(w, fwmark(0x1234))), '14000100' + '0600010002000000' + '0800050034120000'],
    ['a service', hex((w) => encodeService(w, service())),
      '48000100' + '0600010002000000' + '0600020006000000' + '08000300c0000201' + '0600040000500000' + '08000600776c6300'
      + '0c000700000000003d000000' + '0800080000000000' + '08000900ffffffff'],
    ['a persistent service of a /24, with SIP', hex((w) => encodeService(w, persistent({ protocol: 'UDP', prefixLength: 24, engine: 'sip', scheduler: 'sh', flags: 0x15 }))),
      '50000100' + '0600010002000000' + '0600020011000000' + '08000300c0000201' + '0600040000500000' + '0700060073680000'
      + '0c000700150000003d000000' + '080008002c010000' + '08000900ffffff00' + '08000b0073697000'],
    ['the mask of an IPv6 service, which is a length', hex((w) => encodeService(w, fwmark(1, { family: 'IPv6', prefixLength: 128 }))).slice(-16), '0800090080000000'],
    ['a destination', hex((w) => encodeDestination(w, destination({ weight: 7, upper: 9, lower: 8 }))),
      '3c000200' + '080001000a000001' + '0600020000500000' + '0800030000000000' + '0800040007000000' + '0800050009000000' + '0800060008000000' + '06000b0002000000'],
    ['a GUE tunnel of the other family', hex((w) => encodeDestination(w, destination({
      family: 'IPv6', address: '2001:db8::2', method: 'tunnel', tunnelType: 'gue', tunnelPort: 6080, tunnelFlags: 1 }))),
      '60000200' + '1400010020010db8000000000000000000000002' + '0600020000500000' + '0800030002000000' + '0800040001000000' + '0800050000000000' + '0800060000000000'
      + '06000b000a000000' + '05000d0001000000' + '06000e0017c00000' + '06000f0001000000'],
    ['the key of a destination', hex((w) => encodeDestinationKey(w, destination())),
      '1c000200' + '080001000a000001' + '0600020000500000' + '06000b0002000000'],
    ['timeouts', hex((w) => encodeTimeouts(w, { tcp: 900, tcpFin: 120, udp: 300 })), '0800040084030000' + '0800050078000000' + '080006002c010000'],
    ['a sync daemon: its port in host order', hex((w) => encodeDaemon(w, { role: 'backup', interface: 'd0', syncId: 9, maxLength: 1472, group: '224.0.0.81', port: 8848, ttl: 1 })),
      '3c000300' + '0800010002000000' + '0700020064300000' + '0800030009000000' + '06000400c0050000' + '08000500e0000051' + '0600070090220000' + '0500080001000000'],
    ['a sync daemon of defaults', hex((w) => encodeDaemon(w, { role: 'master', interface: 'd0', syncId: 0, maxLength: 0, group: '', port: 0, ttl: 0 })),
      '1c000300' + '0800010001000000' + '0700020064300000' + '0800030000000000'],
  ];
  for (const [what, actual, expected] of table) test(what, () => assert.equal(actual, expected));

  test('many destinations: a series writes what the long way does, whatever came before', () => {
    const steps = anyService.chain((s) => fc.array(fc.tuple(fc.constantFrom(s, { ...s }), anyDestination(s), fc.constantFrom(5, 6), fc.constantFrom(28, 29), fc.constantFrom('next', 'next', 'another', 'reset')), { maxLength: 12 }));
    fc.assert(fc.property(steps, (messages) => {
      const short = new MessageWriter();
      const long = new MessageWriter();
      const series = new DestinationSeries();
      for (const [s, d, command, type, before] of messages) {
        for (const writer of [short, long]) {
          if (before === 'reset') writer.reset();
          if (before === 'another') encodeServiceKey(writer.message(type, 1).generic(3), s);
        }
        series.write(short, type, command, s, d);
        encodeServiceKey(long.message(type, 1).generic(command), s);
        encodeDestination(long, d);
      }
      assert.deepEqual(short.seal(4, 9).bytes.subarray(0, short.bytesUsed), long.seal(4, 9).bytes.subarray(0, long.bytesUsed));
      assert.equal(short.messageCount, long.messageCount);
    }));
  });

  test('masks', () => assert.deepEqual([0, 1, 24, 32].map(maskOf), [0, 0x80000000, 0xffffff00, 0xffffffff]));
});

test('what is written as a service or a destination reads back the same, and never exceeds the room that is reckoned for it', () => {
  const rows = new RowBuffer();
  fc.assert(fc.property(anyService.chain((s) => fc.tuple(fc.constant(s), anyDestination(s))), ([s, d]) => {
    const service = written((w) => encodeService(w, s));
    assert.deepEqual(decodeService(first(service)), s);
    assert.deepEqual(skimService(first(service)), { family: s.family === 'IPv4' ? 2 : 10, persistent: s.timeoutSeconds > 0 });
    const bytes = written((w) => { encodeServiceKey(w, s); encodeDestination(w, d); });
    rows.reset();
    decodeDestination(first(bytes), s.family === 'IPv4' ? 2 : 10, rows);
    const packed = new Uint32Array(ROW);
    packRow(packed, 0, d);
    assert.deepEqual(rows.take(), packed);
    assert.deepEqual(new DestinationTable(rows.take()).get(0), d);
    assert.ok(service.length <= LARGEST_MESSAGE && bytes.length <= LARGEST_MESSAGE);
  }));
});

/** Header of an answer of family 28. */
const reply = (attributes: string, command: string): Uint8Array => {
  const body = fromHex(attributes);
  const bytes = new Uint8Array(20 + body.length);
  bytes.set(body, 20);
  new DataView(bytes.buffer).setUint32(0, bytes.length, true);
  bytes.set([0x1c, 0, 2, 0], 4);
  bytes.set([Number.parseInt(command, 16), 1, 0, 0], 16);
  return bytes;
};
// `ipvsadm -A -u 192.0.2.1:5060 -s sh -b sh-port -p 90 -M 255.255.255.0 --pe sip`; some statistics were made non-zero.
const STATS64 = 'a0000c00' + '0c0001000500000001000000' + '04000b00' + '0c0002000700000000000000' + '04000b00' + '0c0003000800000000000000' + '04000b00'
  + '0c0004000900000000000000' + '04000b00' + '0c0005000a00000000000000' + '04000b00' + '0c0006000000000000000000' + '04000b00' + '0c0007000000000000000000' + '04000b00'
  + '0c0008000000000000000000' + '04000b00' + '0c0009000000000000000000' + '04000b00' + '0c000a000000000000000000';
const STATS32 = '60000a00' + '0800010001000000' + '0800020002000000' + '0800030003000000' + '0c0004000400000000000000' + '04000b00' + '0c0005000500000001000000'
  + '0800060000000000' + '0800070000000000' + '0800080000000000' + '0800090000000000' + '08000a0000000000';
const SIP = '0600010002000000' + '0600020011000000' + '14000300c0000201000000000000000000000000' + '0600040013c40000' + '0700060073680000' + '08000b0073697000'
  + '0c00070013000000ffffffff' + '080008005a000000' + '08000900ffffff00';
const serviceReply = (...parts: string[]): Uint8Array => {
  const body = parts.join('');
  return reply(Buffer.from(Uint16Array.of(4 + body.length / 2, 1).buffer).toString('hex') + body, '01');
};
const DESTS = ['7c0102001400010020010db80000000000000000000000070600020013c400000800030002000000080004000300000005000d000000000006000e000000000006000f00000000000800050000000000080006000000000008000700040000000800080005000000080009000000000006000b000a000000',
  '7c010200140001000a0000070000000000000000000000000600020013c400000800030002000000080004000700000005000d000100000006000e0017c0000006000f00010000000800050064000000080006003200000008000700000000000800080000000000080009000000000006000b0002000000']
  .map((attributes) => reply(Buffer.from(Uint16Array.of(attributes.length / 2, 2).buffer).toString('hex') + attributes.slice(8), '05'));

describe('a reply of the kernel', () => {
  test('about a SIP service: its own flag is not ours, 16 bytes of address are 4', () => {
    assert.deepEqual(decodeService(first(serviceReply(SIP, STATS32, STATS64))),
      { ...persistent({ protocol: 'UDP', port: 5060, scheduler: 'sh', timeoutSeconds: 90, prefixLength: 24, engine: 'sip' }), flags: SERVICE_FLAG.persistent | SERVICE_FLAG.sched2 });
  });

  test('with statistics: the wide ones win, whatever comes first', () => {
    const wide = { connections: 0x100000005n, inPackets: 7n, outPackets: 8n, inBytes: 9n, outBytes: 10n, wide: true };
    assert.deepEqual(decodeStatistics(first(serviceReply(SIP, STATS32, STATS64))), wide);
    assert.deepEqual(decodeStatistics(first(serviceReply(SIP, STATS64, STATS32))), wide);
    assert.deepEqual(decodeStatistics(first(serviceReply(SIP, STATS32))), { connections: 1n, inPackets: 2n, outPackets: 3n, inBytes: 4n, outBytes: 0x100000005n, wide: false });
  });

  test('about destinations of both families, with tunnel attributes', () => {
    const rows = new RowBuffer();
    for (const bytes of DESTS) decodeDestination(first(bytes), 2, rows);
    const table = new DestinationTable(rows.take());
    assert.deepEqual(table.toArray(), [
      destination({ address: '10.0.0.7', port: 5060, method: 'tunnel', weight: 7, upper: 100, lower: 50, tunnelType: 'gue', tunnelPort: 6080, tunnelFlags: 1 }),
      destination({ family: 'IPv6', address: '2001:db8::7', port: 5060, method: 'tunnel', weight: 3 }),
    ]);
    assert.deepEqual([table.active(1), table.inactive(1)], [4, 5]);
    assert.deepEqual(decodeTunnelSupport(first(DESTS[0]!)), { type: true, flags: true });
  });

  test('about a service of a protocol without a name: it is told, not guessed', () => {
    const gre = serviceReply('0600010002000000' + '060002002f000000' + '14000300c0000201000000000000000000000000' + '0600040000500000' + '0700060072720000');
    assert.deepEqual(decodeService(first(gre)), { unknown: 'protocol 47 192.0.2.1 port 80', family: 'IPv4' });
  });

  test('with a mask that has holes: a length that nobody can want', () => {
    const holes = serviceReply(SIP.replace('08000900ffffff00', '08000900ff00ff00'));
    assert.equal((decodeService(first(holes)) as { prefixLength: number }).prefixLength, 0);
  });

  test('about timeouts, version and a daemon', () => {
    assert.deepEqual(decodeTimeouts(first(reply('08000400840300000800050078000000080006002c010000', '0c'))), { tcp: 900, tcpFin: 120, udp: 300 });
    assert.deepEqual(decodeInfo(first(reply('08000100010201000800020000100000', '0e'))), { version: '1.2.1', connectionTableSize: 4096 });
    assert.deepEqual(decodeDaemon(first(reply('3c00030008000100020000000700020064300000080003000900000006000400c00500000600070090220000050008000100000008000500e0000051', '09'))),
      { role: 'backup', interface: 'd0', syncId: 9, maxLength: 1472, group: '', port: 8848, ttl: 1 });
  });

  test('without its nest or with an impossible family is a protocol error', () => {
    const isProtocol = (error: unknown): boolean => error instanceof KernelError && error.code === 'PROTOCOL';
    assert.throws(() => decodeService(first(reply('0800040084030000', '01'))), isProtocol);
    assert.throws(() => decodeService(first(serviceReply('0600010003000000'))), isProtocol);
  });

  test('that is garbage throws nothing but KernelError', () => {
    const decoders = [decodeService, decodeStatistics, decodeTimeouts, decodeDaemon, decodeInfo, skimService, decodeTunnelSupport, (m: MessageReader) => decodeDestination(m, 2, new RowBuffer())];
    const samples = [serviceReply(SIP, STATS32, STATS64), ...DESTS];
    fc.assert(fc.property(fc.constantFrom(...samples), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 }), (sample, edits) => {
      const bytes = sample.slice();
      for (const [at, value] of edits) bytes[16 + at % (bytes.length - 16)] = value;
      for (const decode of decoders) {
        try {
          decode(first(bytes));
        } catch (error) {
          assert.ok(error instanceof KernelError, String(error));
        }
      }
    }), { numRuns: 500 });
  });
});

test('the debug printer knows the family', () => {
  const lines: string[] = [];
  const debug = createGenericDebug([IPVS_VOCABULARY], CONTROL, (line) => lines.push(line));
  const lookup = taken(new MessageWriter(128).message(0x10, 0, 1).generic(1, 2).string(2, 'IPVS').u16(1, 0x1c));
  debug.received(lookup, lookup.length);
  const request = taken(new MessageWriter(512).message(0x1c, 5, 2).generic(5));
  debug.sent(request, request.length);
  const full = written((w) => { encodeServiceKey(w, service()); encodeDestination(w, destination({ method: 'tunnel', tunnelType: 'gue', tunnelPort: 6080 })); });
  debug.sent(full, full.length);
  assert.deepEqual(lines.slice(1), [
    'netlink > IPVS NEW_DEST seq 2 ACK',
    'netlink > IPVS NEW_SERVICE seq 1 SERVICE{AF=2 PROTOCOL=6 ADDR=192.0.2.1 PORT=80} '
      + 'DEST{ADDR=10.0.0.1 PORT=80 FWD_METHOD=2 WEIGHT=1 U_THRESH=0 L_THRESH=0 ADDR_FAMILY=2 TUN_TYPE=1 TUN_PORT=6080 TUN_FLAGS=0}',
  ]);
});
