/** Every type of check against real servers that do what servers do: answer, refuse, hang, answer wrong, late, by halves, or elsewhere. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createSecureServer as http2SecureServer, createServer as http2Server, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { createServer as httpsServer } from 'node:https';
import type { Server, Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { createServer as tlsServer } from 'node:tls';
import type { Probe } from '../../../../src/agent/health/check.ts';
import type { Reason } from '../../../../src/agent/health/outcome.ts';
import { MAX_ANSWER } from '../../../../src/agent/health/probes/conversation.ts';
import { RECORD } from '../../../../src/agent/health/probes/dns-message.ts';
import { refusingPort } from '../../ports.ts';
import { blackHole, checkOnce, running, tcp, udp, type Running } from './servers.ts';

const fixture = (name: string) => readFileSync(new URL(`../../kube/fixtures/${name}`, import.meta.url), 'utf8');
const own = { cert: fixture('a.pem'), key: fixture('a.key') };

interface Case {
  readonly name: string;
  readonly probe: Probe;
  readonly server: () => Promise<Running>;
  readonly reason: Reason;
  readonly message: RegExp;
  /** Short where nothing is to come. */
  readonly timeoutMs?: number;
  readonly address?: string;
}

/** A container may have none. */
const hasIPv6 = Object.values(networkInterfaces()).flat().some((a) => a?.address === '::1');
const nobody: () => Promise<Running> = () => refusingPort();
const hang = () => tcp(() => {});
/** Answers `text` to whatever comes first. */
const says = (text: string, then: (socket: Socket) => void = () => {}) => () => tcp((socket) => {
  socket.once('data', () => {
    socket.write(text);
    then(socket);
  });
});

const TCP: Probe = { type: 'TCP' };
const accept: readonly Case[] = [
  { name: 'accepts', probe: TCP, server: hang, reason: 'Answered', message: /^answered$/ },
  { name: 'accepts over IPv6', probe: TCP, server: () => tcp(() => {}, '::1'), address: '::1', reason: 'Answered', message: /^answered$/ },
  { name: 'accepts and closes at once', probe: TCP, server: () => tcp((socket) => socket.end()), reason: 'Answered', message: /^answered$/ },
  { name: 'refuses', probe: TCP, server: nobody, reason: 'Refused', message: /^connection refused$/ },
  { name: 'is gone', probe: TCP, server: blackHole, timeoutMs: 400, reason: 'Timeout', message: /^no connection within 400 ms$/ },
];

const HTTP: Probe = { type: 'HTTP', path: '/healthz', host: '', statuses: [200] };
const http: readonly Case[] = [
  { name: 'answers 200', probe: HTTP, server: says('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'), reason: 'Answered', message: /^status 200$/ },
  { name: 'answers 200 without a word of reason', probe: HTTP, server: says('HTTP/1.0 200\r\n\r\n'), reason: 'Answered', message: /^status 200$/ },
  { name: 'answers 200 and never ends', probe: HTTP, server: says('HTTP/1.1 200 OK\r\n'), reason: 'Answered', message: /^status 200$/ },
  { name: 'answers byte by byte', probe: HTTP, server: () => tcp(drip('HTTP/1.1 200 OK\r\n')), reason: 'Answered', message: /^status 200$/ },
  { name: 'answers 204 where 200 or 204 will do', probe: { ...HTTP, statuses: [200, 204] } as Probe, server: says('HTTP/1.1 204 No Content\r\n\r\n'), reason: 'Answered', message: /^status 204$/ },
  { name: 'answers after interim answers', probe: HTTP, server: says('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'), reason: 'Answered', message: /^status 200$/ },
  { name: 'answers 503', probe: HTTP, server: says('HTTP/1.1 503 Service Unavailable\r\n\r\n'), reason: 'WrongAnswer', message: /^status 503, expected 200$/ },
  { name: 'refuses', probe: HTTP, server: nobody, reason: 'Refused', message: /refused/ },
  { name: 'is gone', probe: HTTP, server: blackHole, timeoutMs: 400, reason: 'Timeout', message: /^no connection within 400 ms$/ },
  { name: 'accepts and hangs', probe: HTTP, server: hang, timeoutMs: 400, reason: 'Hangs', message: /^accepted, and no answer within 400 ms$/ },
  { name: 'answers late', probe: HTTP, server: () => tcp((s) => { setTimeout(() => s.end('HTTP/1.1 200 OK\r\n\r\n'), 3_000).unref(); }), timeoutMs: 400, reason: 'Hangs', message: /no answer within 400 ms/ },
  { name: 'stops in the middle of the line', probe: HTTP, server: says('HTTP/1.1 20'), timeoutMs: 400, reason: 'Hangs', message: /no answer within 400 ms/ },
  { name: 'closes its half without an answer', probe: HTTP, server: () => tcp((socket) => socket.end()), reason: 'Closed', message: /closed before/ },
  { name: 'closes in the middle of the line', probe: HTTP, server: says('HTTP/1.1 20', (s) => s.end()), reason: 'Closed', message: /closed before/ },
  { name: 'closes after an interim answer', probe: HTTP, server: says('HTTP/1.1 100 Continue\r\n\r\n', (s) => s.end()), reason: 'Closed', message: /closed before/ },
  { name: 'resets', probe: HTTP, server: () => tcp((socket) => { socket.once('data', () => socket.resetAndDestroy()); }), reason: 'Reset', message: /reset/ },
  { name: 'speaks SSH', probe: HTTP, server: () => tcp((socket) => { socket.write('SSH-2.0-OpenSSH_9.2\r\n'); }), reason: 'BadAnswer', message: /not HTTP/ },
  { name: 'speaks HTTP/2', probe: HTTP, server: () => tcp((socket) => { socket.write(Buffer.of(0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100)); }), reason: 'BadAnswer', message: /not HTTP/ },
  { name: 'sends a status of four digits', probe: HTTP, server: says('HTTP/1.1 2000 OK\r\n\r\n'), reason: 'BadAnswer', message: /not HTTP/ },
  { name: 'sends a line without an end', probe: HTTP, server: says(`HTTP/1.1 ${'2'.repeat(4_000)}`), reason: 'BadAnswer', message: /not HTTP/ },
  { name: 'sends interim headers without an end', probe: HTTP, server: says(`HTTP/1.1 103 Early Hints\r\nX: ${'y'.repeat(2 * MAX_ANSWER)}`), reason: 'BadAnswer', message: /nothing after the interim status 103/ },
];

const HTTPS: Probe = { type: 'HTTPS', path: '/healthz', host: '', statuses: [200], ca: '' };
const secure = (status: number) => () => running(httpsServer(own, (_, answer) => { answer.writeHead(status).end(); }));
const tls = (serve: (socket: Socket) => void) => () => running(tlsServer(own, (socket) => {
  socket.on('error', () => {});
  serve(socket);
}));
const https: readonly Case[] = [
  { name: 'answers 200 with a certificate that nobody knows', probe: HTTPS, server: secure(200), reason: 'Answered', message: /^status 200$/ },
  { name: 'answers 500', probe: HTTPS, server: secure(500), reason: 'WrongAnswer', message: /^status 500, expected 200$/ },
  { name: 'has a certificate of the CA', probe: { ...HTTPS, ca: own.cert } as Probe, server: secure(200), reason: 'Answered', message: /^status 200$/ },
  { name: 'has a certificate of the CA for the host', probe: { ...HTTPS, ca: own.cert, host: 'localhost' } as Probe, server: secure(200), reason: 'Answered', message: /^status 200$/ },
  { name: 'has a certificate of the CA for another host', probe: { ...HTTPS, ca: own.cert, host: 'shop.example' } as Probe, server: secure(200), reason: 'TLSFailed', message: /ERR_TLS_CERT_ALTNAME_INVALID/ },
  { name: 'has another certificate than the CA\'s', probe: { ...HTTPS, ca: fixture('b.pem') } as Probe, server: secure(200), reason: 'TLSFailed', message: /DEPTH_ZERO_SELF_SIGNED_CERT/ },
  { name: 'is asked with a CA that is none', probe: { ...HTTPS, ca: 'no PEM' } as Probe, server: secure(200), reason: 'NotChecked', message: /^the CA cannot be read/ },
  { name: 'speaks plain HTTP', probe: HTTPS, server: says('HTTP/1.1 400 Bad Request\r\n\r\n'), reason: 'TLSFailed', message: /SSL/ },
  { name: 'hangs in the handshake', probe: HTTPS, server: hang, timeoutMs: 400, reason: 'Hangs', message: /no answer within 400 ms/ },
  { name: 'hangs after the handshake', probe: HTTPS, server: tls(() => {}), timeoutMs: 1_500, reason: 'Hangs', message: /no answer within 1500 ms/ },
  { name: 'closes after the handshake', probe: HTTPS, server: tls((socket) => socket.end()), reason: 'Closed', message: /closed before/ },
  { name: 'closes in the handshake', probe: HTTPS, server: () => tcp((socket) => { socket.once('data', () => socket.end()); }), reason: 'Closed', message: /handshake/ },
  { name: 'resets in the handshake', probe: HTTPS, server: () => tcp((socket) => { socket.once('data', () => socket.resetAndDestroy()); }), reason: 'Closed', message: /handshake/ },
  { name: 'says something else inside', probe: HTTPS, server: tls((socket) => { socket.write('hello\r\n'); }), reason: 'BadAnswer', message: /not HTTP/ },
  { name: 'refuses', probe: HTTPS, server: nobody, reason: 'Refused', message: /refused/ },
];

const GRPC: Probe = { type: 'GRPC', service: 'shop', tls: false };
const GRPCS: Probe = { type: 'GRPC', service: '', tls: true };
/** A health server whose answer to "shop" is `body`, with this grpc-status. */
const grpcServer = (body: readonly number[], grpcStatus: string, asked = 'shop', server = http2Server() as Pick<Http2Server, 'on'> & Server) => () => {
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    const request: Buffer[] = [];
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => request.push(chunk));
    stream.on('end', () => {
      const message = Buffer.concat(request);
      const known = headers[':path'] === '/grpc.health.v1.Health/Check' && headers['content-type'] === 'application/grpc' && message.equals(asked === '' ? Buffer.alloc(5) : Buffer.of(0, 0, 0, 0, asked.length + 2, 0x0a, asked.length, ...Buffer.from(asked)));
      if (!known || body.length === 0) {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': known ? grpcStatus : '3' }, { endStream: true });
        return;
      }
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': grpcStatus }));
      stream.end(Buffer.from(body));
    });
  });
  return running(server);
};
const plainHttp2 = () => running(http2Server((_, answer) => { answer.writeHead(404).end(); }));
const grpc: readonly Case[] = [
  { name: 'serves', probe: GRPC, server: grpcServer([0, 0, 0, 0, 2, 8, 1], '0'), reason: 'Answered', message: /^SERVING$/ },
  { name: 'serves as a whole', probe: { ...GRPC, service: '' } as Probe, server: grpcServer([0, 0, 0, 0, 2, 8, 1], '0', ''), reason: 'Answered', message: /^SERVING$/ },
  { name: 'does not serve', probe: GRPC, server: grpcServer([0, 0, 0, 0, 2, 8, 2], '0'), reason: 'WrongAnswer', message: /^NOT_SERVING$/ },
  { name: 'says nothing in its message, which is UNKNOWN', probe: GRPC, server: grpcServer([0, 0, 0, 0, 0], '0'), reason: 'WrongAnswer', message: /^UNKNOWN$/ },
  { name: 'has no health service', probe: GRPC, server: grpcServer([], '12'), reason: 'WrongAnswer', message: /no health service/ },
  { name: 'does not know the service', probe: GRPC, server: grpcServer([], '5'), reason: 'WrongAnswer', message: /does not know the service/ },
  { name: 'answers with another error', probe: GRPC, server: grpcServer([], '14'), reason: 'WrongAnswer', message: /^grpc-status 14$/ },
  { name: 'sends half a message', probe: GRPC, server: grpcServer([0, 0, 0, 0, 9, 8, 1], '0'), reason: 'BadAnswer', message: /no HealthCheckResponse/ },
  { name: 'is another HTTP/2 server', probe: GRPC, server: plainHttp2, reason: 'BadAnswer', message: /not gRPC: HTTP status 404/ },
  { name: 'speaks HTTP/1', probe: GRPC, server: says('HTTP/1.1 400 Bad Request\r\n\r\n'), reason: 'BadAnswer', message: /no HTTP\/2/ },
  { name: 'hangs', probe: GRPC, server: hang, timeoutMs: 400, reason: 'Hangs', message: /no answer within 400 ms/ },
  { name: 'closes without an answer', probe: GRPC, server: () => tcp((socket) => socket.end()), reason: 'Closed', message: /closed before/ },
  { name: 'refuses', probe: GRPC, server: nobody, reason: 'Refused', message: /refused/ },
  { name: 'serves inside TLS with a certificate that nobody knows', probe: GRPCS, server: () => grpcServer([0, 0, 0, 0, 2, 8, 1], '0', '', http2SecureServer(own) as never)(), reason: 'Answered', message: /^SERVING$/ },
  { name: 'does not serve inside TLS', probe: GRPCS, server: () => grpcServer([0, 0, 0, 0, 2, 8, 2], '0', '', http2SecureServer(own) as never)(), reason: 'WrongAnswer', message: /^NOT_SERVING$/ },
  { name: 'serves without TLS where TLS is asked for', probe: GRPCS, server: grpcServer([0, 0, 0, 0, 2, 8, 1], '0', ''), reason: 'TLSFailed', message: /SSL|EPROTO/ },
  { name: 'hangs in the TLS handshake', probe: GRPCS, server: hang, timeoutMs: 400, reason: 'Hangs', message: /no answer within 400 ms/ },
  { name: 'closes in the TLS handshake', probe: GRPCS, server: () => tcp((socket) => { socket.once('data', () => socket.end()); }), reason: 'Closed', message: /closed/ },
  { name: 'speaks HTTP/1 inside TLS', probe: GRPCS, server: secure(200), reason: 'TLSFailed', message: /ALPN|alert|SSL/ },
];

const UDP: Probe = { type: 'UDP', payload: '', reply: false };
const WANT_REPLY: Probe = { type: 'UDP', payload: Buffer.from('ping').toString('base64'), reply: true };
const datagram: readonly Case[] = [
  { name: 'says nothing, and that is enough', probe: UDP, server: () => udp(() => []), timeoutMs: 400, reason: 'NotRefused', message: /^not refused$/ },
  { name: 'answers without being asked to', probe: UDP, server: () => udp((d) => [d]), reason: 'Answered', message: /^answered$/ },
  { name: 'answers to the payload', probe: WANT_REPLY, server: () => udp((d) => (d.toString() === 'ping' ? [Buffer.from('pong')] : [])), reason: 'Answered', message: /^answered$/ },
  { name: 'does not answer and should', probe: WANT_REPLY, server: () => udp(() => []), timeoutMs: 400, reason: 'Timeout', message: /^no answer within 400 ms$/ },
  { name: 'refuses', probe: UDP, server: () => refusingPort('udp'), reason: 'Refused', message: /refused/ },
];

const DNS: Probe = { type: 'DNS', name: 'shop.example', record: 'A', expected: '' };
const EXPECT: Probe = { ...DNS, expected: '192.0.2.7' } as Probe;
/** An answer to `query`: its flags, and A records with these last bytes. */
function answer(query: Buffer, flags: number, hosts: readonly number[], change: (message: Buffer) => void = () => {}): Buffer {
  const records = hosts.map((host) => Buffer.of(0xc0, 12, 0, RECORD.A, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, host));
  const message = Buffer.concat([query, ...records]);
  message.writeUInt16BE(flags, 2);
  message.writeUInt16BE(hosts.length, 6);
  change(message);
  return message;
}
const another = (m: Buffer): void => { m[0]! ^= 0xff; };
const dns: readonly Case[] = [
  { name: 'says NOERROR', probe: DNS, server: () => udp((q) => [answer(q, 0x8180, [])]), reason: 'Answered', message: /^NOERROR$/ },
  { name: 'has the address among others', probe: EXPECT, server: () => udp((q) => [answer(q, 0x8180, [1, 7])]), reason: 'Answered', message: /^NOERROR$/ },
  { name: 'has another address', probe: EXPECT, server: () => udp((q) => [answer(q, 0x8180, [8])]), reason: 'WrongAnswer', message: /^expected 192.0.2.7, got 192.0.2.8$/ },
  { name: 'has no address', probe: EXPECT, server: () => udp((q) => [answer(q, 0x8180, [])]), reason: 'WrongAnswer', message: /got no address/ },
  { name: 'says NXDOMAIN', probe: DNS, server: () => udp((q) => [answer(q, 0x8183, [])]), reason: 'WrongAnswer', message: /^NXDOMAIN$/ },
  { name: 'says SERVFAIL without the question', probe: DNS, server: () => udp((q) => { const m = answer(q.subarray(0, 12), 0x8182, []); m.writeUInt16BE(0, 4); return [m]; }), reason: 'WrongAnswer', message: /^SERVFAIL$/ },
  { name: 'answers something else first', probe: DNS, server: () => udp((q) => [answer(q, 0x8183, [], another), answer(q, 0x8180, [])]), reason: 'Answered', message: /^NOERROR$/ },
  { name: 'answers only something else', probe: DNS, server: () => udp((q) => [answer(q, 0x8180, [], another)]), timeoutMs: 400, reason: 'Timeout', message: /no answer within/ },
  { name: 'answers another question', probe: DNS, server: () => udp((q) => [answer(q, 0x8180, [], (m) => { m[13]! ^= 1; })]), timeoutMs: 400, reason: 'Timeout', message: /no answer within/ },
  { name: 'sends the question back', probe: DNS, server: () => udp((q) => [q]), reason: 'BadAnswer', message: /not DNS/ },
  { name: 'sends rubbish', probe: DNS, server: () => udp(() => [Buffer.from('hello')]), reason: 'BadAnswer', message: /not DNS/ },
  { name: 'says nothing', probe: DNS, server: () => udp(() => []), timeoutMs: 400, reason: 'Timeout', message: /no answer within 400 ms/ },
  { name: 'refuses', probe: DNS, server: () => refusingPort('udp'), reason: 'Refused', message: /refused/ },
];

function check({ name, probe, server, reason, message, timeoutMs, address }: Case): void {
  test(`${probe.type}: a server that ${name} is ${reason}`, { skip: address === '::1' && !hasIPv6 && 'this host has no ::1' }, async () => {
    await using one = await server();
    const result = await checkOnce(probe, one.port, { ...(timeoutMs === undefined ? {} : { timeoutMs }), ...(address === undefined ? {} : { address }) });
    assert.equal(result.reason, reason, result.message);
    assert.match(result.message, message);
  });
}

const all = [...accept, ...http, ...https, ...grpc, ...datagram, ...dns];
for (const one of all) if (one.timeoutMs === undefined) check(one);
describe('what takes all its time is waited for together', { concurrency: true }, () => { for (const one of all) if (one.timeoutMs !== undefined) check(one); });

test('what is asked is a GET of the path at the host, and nothing that anybody could add to', async () => {
  let request = '';
  await using server = await tcp((socket) => { socket.once('data', (data: Buffer) => { request = data.toString(); socket.end('HTTP/1.1 200 OK\r\n\r\n'); }); });
  await checkOnce({ type: 'HTTP', path: '/a?b=c', host: 'shop.example', statuses: [200] }, server.port);
  assert.equal(request, 'GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: ipvs-operator\r\nAccept: */*\r\nConnection: close\r\n\r\n');
  await checkOnce({ type: 'HTTP', path: '/', host: '', statuses: [200] }, server.port);
  assert.match(request, new RegExp(`\r\nHost: 127\\.0\\.0\\.1:${server.port}\r\n`));
});

test('a redirect is a status, and is not followed', async () => {
  let visits = 0;
  await using elsewhere = await tcp(() => { visits++; });
  await using server = await says(`HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:${elsewhere.port}/\r\n\r\n`)();
  const refused = await checkOnce(HTTP, server.port);
  assert.deepEqual([refused.reason, refused.message], ['WrongAnswer', 'status 302, expected 200']);
  const wanted = await checkOnce({ ...HTTP, statuses: [302] } as Probe, server.port);
  assert.equal(wanted.reason, 'Answered');
  await new Promise((resolve) => { setTimeout(resolve, 100); });
  assert.equal(visits, 0);
});

/** Writes one byte at a time. */
function drip(text: string): (socket: Socket) => void {
  return (socket) => {
    let at = 0;
    const next = (): void => { if (at < text.length && !socket.destroyed) socket.write(text[at++]!, () => { setTimeout(next, 5); }); };
    socket.setNoDelay(true);
    next();
  };
}
