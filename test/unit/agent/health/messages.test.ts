/** The decoders of what servers send: literal bytes, and no bytes make them throw or read on for ever. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { decodeAnswer, encodeQuery } from '../../../../src/agent/health/probes/dns-message.ts';
import { decodeHealthResponse, encodeHealthRequest } from '../../../../src/agent/health/probes/grpc-message.ts';
import { judgeHttp } from '../../../../src/agent/health/probes/http.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const bytes = fc.uint8Array({ maxLength: 600 });

test('a DNS query is these bytes', () => {
  assert.deepEqual(Buffer.from(encodeQuery(0x1234, 'ab.example.', 'AAAA')), hex('1234 0100 0001 0000 0000 0000 02 6162 07 6578616d706c65 00 001c 0001'));
  assert.deepEqual(Buffer.from(encodeQuery(1, '.', 'A')), hex('0001 0100 0001 0000 0000 0000 00 0001 0001'));
});

const query = encodeQuery(0x1234, 'ab.example', 'A');
const question = '02 6162 07 6578616d706c65 00 0001 0001';
const dns: readonly { name: string; message: string; answer: ReturnType<typeof decodeAnswer> }[] = [
  { name: 'an alias and two addresses', message: `1234 8180 0001 0003 0000 0000 ${question} c00c 0005 0001 00000001 0002 c00c  c00c 0001 0001 00000001 0004 c0000201  0161 00 0001 0001 00000001 0004 c0000202`, answer: { rcode: 'NOERROR', truncated: false, addresses: ['192.0.2.1', '192.0.2.2'] } },
  { name: 'letters of another size', message: `1234 8180 0001 0000 0000 0000 02 4162 07 4578616d706c65 00 0001 0001`, answer: { rcode: 'NOERROR', truncated: false, addresses: [] } },
  { name: 'cut in the middle of an answer, and saying so', message: `1234 8380 0001 0001 0000 0000 ${question} c00c 0001 0001`, answer: { rcode: 'NOERROR', truncated: true, addresses: [] } },
  { name: 'cut, and not saying so', message: `1234 8180 0001 0001 0000 0000 ${question} c00c 0001 0001`, answer: null },
  { name: 'more data than there is', message: `1234 8180 0001 0001 0000 0000 ${question} c00c 0001 0001 00000001 ffff c0000201`, answer: null },
  { name: 'a name of pointers to itself is skipped, not followed', message: `1234 8180 0001 0001 0000 0000 ${question} c01c 0001 0001 00000001 0004 c0000201`, answer: { rcode: 'NOERROR', truncated: false, addresses: ['192.0.2.1'] } },
  { name: 'another id', message: `1235 8180 0001 0000 0000 0000 ${question}`, answer: 'other' },
  { name: 'a query', message: `1234 0100 0001 0000 0000 0000 ${question}`, answer: null },
];
for (const { name, message, answer } of dns) test(`DNS answer: ${name}`, () => { assert.deepEqual(decodeAnswer(hex(message), query, 'A'), answer); });

test('a health request is these bytes', () => {
  assert.deepEqual(Buffer.from(encodeHealthRequest('')), hex('00 00000000'));
  assert.deepEqual(Buffer.from(encodeHealthRequest('ab')), hex('00 00000004 0a 02 6162'));
  assert.deepEqual(Buffer.from(encodeHealthRequest('x'.repeat(300))).subarray(0, 8), hex('00 0000012f 0a ac02'));
});

const health: readonly { name: string; message: string; status: number | null }[] = [
  { name: 'SERVING', message: '00 00000002 0801', status: 1 },
  { name: 'nothing is UNKNOWN', message: '00 00000000', status: 0 },
  { name: 'fields of a later version are read over', message: '00 00000015 1203 616263 0802 19 0000000000000000 25 00000000', status: 2 },
  { name: 'compressed', message: '01 00000002 0801', status: null },
  { name: 'shorter than it says', message: '00 00000003 0801', status: null },
  { name: 'longer than it says', message: '00 00000001 0801', status: null },
  { name: 'a field that ends behind the message', message: '00 00000003 12 7f 61', status: null },
  { name: 'a number without an end', message: '00 00000002 08 ff', status: null },
  { name: 'groups, which nobody uses', message: '00 00000001 0b', status: null },
];
for (const { name, message, status } of health) test(`health response: ${name}`, () => { assert.equal(decodeHealthResponse(hex(message)), status); });

test('no bytes make a decoder throw', () => {
  fc.assert(fc.property(bytes, fc.boolean(), (noise, ended) => {
    decodeAnswer(noise, query, 'A');
    // The same behind a header that is believed.
    decodeAnswer(Buffer.concat([hex('1234 8180 0001 ffff 0000 0000'), query.subarray(12), noise]), query, 'A');
    decodeHealthResponse(noise);
    const framed = Buffer.concat([Buffer.alloc(5), noise]);
    framed.writeUInt32BE(noise.length, 1);
    decodeHealthResponse(framed);
    judgeHttp(noise, ended, [200]);
    judgeHttp(Buffer.concat([Buffer.from('HTTP/1.1 103 x\r\n'), noise]), ended, [200]);
  }), { numRuns: 2_000 });
});

test('an answer that is cut anywhere says the same or waits', () => {
  const whole = Buffer.from('HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 503 No\r\n');
  for (let cut = 0; cut < whole.length; cut++) assert.equal(judgeHttp(whole.subarray(0, cut), false, [200]), null, `cut at ${cut}`);
  assert.equal(judgeHttp(whole, false, [200])?.message, 'status 503, expected 200');
});
