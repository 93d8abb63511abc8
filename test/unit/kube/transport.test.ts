/** The transport against a server that misbehaves: connections are kept, rotation is followed, deadlines and limits hold, errors have codes. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ApiError, type ApiErrorCode } from '../../../src/kube/errors.ts';
import { isAbort } from '../../../src/kube/wait.ts';
import { accessTo, connect, FakeCredentials, FIXTURES, MemoryLog, refusing, send, startServer, until, type Answer } from './fake-server.ts';
import { refusingPort } from '../ports.ts';
import { COLLECTION, widget } from './widgets.ts';

const PATH = `${COLLECTION.replace('/widgets', '')}/namespaces/ns/widgets`;
const get = { method: 'GET', path: PATH } as const;

const failsWith = (code: ApiErrorCode, message = /./) => (error: unknown): boolean => {
  assert.ok(error instanceof ApiError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, message);
  return true;
};

async function linesOf(stream: AsyncIterable<string>): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of stream) lines.push(line);
  return lines;
}

describe('connections', () => {
  for (const tls of [undefined, 'a'] as const) {
    test(`fifty requests in a row use one or two, ${tls ? 'with' : 'without'} TLS`, async (t) => {
      const server = await startServer(t, tls ? { tls } : {});
      const transport = connect(t, server, { credentials: new FakeCredentials(accessTo(server, undefined, tls)) });
      for (let i = 0; i < 50; i++) await transport.request(get);
      assert.equal(server.asked.length, 50);
      assert.ok(server.connections <= 2, `${server.connections} connections`);
    });
  }

  test('fifty requests at once use no more than allowed, and all are answered', async (t) => {
    const server = await startServer(t);
    const transport = connect(t, server, { maxConnections: 2 });
    await Promise.all(Array.from({ length: 50 }, () => transport.request(get)));
    assert.equal(server.asked.length, 50);
    assert.ok(server.connections <= 2, `${server.connections} connections`);
  });

  test('open streams take nothing from requests', async (t) => {
    const server = await startServer(t);
    const transport = connect(t, server, { maxConnections: 1 });
    await transport.request(get);
    const stop = new AbortController();
    const streams = Array.from({ length: 3 }, () => linesOf(transport.stream({ path: PATH, query: { watch: true, resourceVersion: '100' }, signal: stop.signal })).catch((e: unknown) => e));
    await until('three watches are open', () => server.watchers === 3);
    await transport.request(get);
    stop.abort();
    for (const end of await Promise.all(streams)) assert.ok(isAbort(end));
    await until('the watches are closed', () => server.watchers === 0);
  });

  test('a kept connection that the server closed is replaced without an error for a GET, and reported for a write', async (t) => {
    const server = await startServer(t);
    const transport = connect(t, server);
    await transport.request(get);
    server.fault(() => true, (response) => { response.socket!.destroy(); });
    assert.equal((await transport.request(get)).status, 200);
    server.fault(() => true, (response) => { response.socket!.destroy(); });
    await assert.rejects(transport.request({ method: 'POST', path: PATH, body: widget('a') }), failsWith('UNREACHABLE'));
    assert.equal(server.asked.filter((a) => a.method === 'POST').length, 1, 'a write is not repeated');
  });

  test('after a timeout nothing goes over the connections beside the one that was silent', async (t) => {
    const server = await startServer(t);
    const transport = connect(t, server);
    await Promise.all([transport.request(get), transport.request(get), transport.request(get)]);
    const before = server.connections;
    // All of them: one that ran out of its time before the server saw it is not the POST's to meet.
    server.fault((a) => a.method === 'GET', () => {}, Infinity);
    await assert.rejects(transport.request({ ...get, timeoutMs: 50 }), failsWith('TIMEOUT'));
    await transport.request({ method: 'POST', path: PATH, body: widget('a') });
    assert.equal(server.connections, before + 1);
  });

  test('a server that is not there is UNREACHABLE, and named', async (t) => {
    await using nobody = await refusingPort();
    const transport = connect(t, await startServer(t), { credentials: new FakeCredentials({ server: `http://127.0.0.1:${nobody.port}`, tls: {}, headers: {} }) });
    await assert.rejects(transport.request(get), failsWith('UNREACHABLE', /GET .*widgets: .*ECONNREFUSED/));
  });

  test('a path in the address of the server stands before every path', async (t) => {
    const server = await startServer(t);
    server.fault(() => true, (response, asked) => { send(response, 200, { collection: asked.collection }); });
    const access = accessTo(server);
    const transport = connect(t, server, { credentials: new FakeCredentials({ ...access, server: `${access.server}/k8s/clusters/c-1` }) });
    assert.deepEqual((await transport.request({ method: 'GET', path: '/version' })).json, { collection: '/k8s/clusters/c-1/version' });
  });

  test('nothing works after close, and what was under way fails', async (t) => {
    const server = await startServer(t);
    const transport = connect(t, server, { maxConnections: 1 });
    server.fault(() => true, () => {});
    const running = [transport.request(get), transport.request(get)];
    await until('one request hangs and one waits', () => server.asked.length === 1);
    transport.close();
    for (const request of running) await assert.rejects(request, failsWith('UNREACHABLE', /closed/));
    await assert.rejects(transport.request(get), failsWith('UNREACHABLE', /closed/));
    await assert.rejects(linesOf(transport.stream({ path: PATH })), failsWith('UNREACHABLE', /closed/));
  });
});

describe('rotation', () => {
  test('a token that was refused is read again, and the request repeated once', async (t) => {
    const server = await startServer(t);
    server.token = 'new';
    const credentials = new FakeCredentials(accessTo(server, 'old'));
    credentials.next = accessTo(server, 'new');
    const transport = connect(t, server, { credentials });
    assert.equal((await transport.request({ method: 'POST', path: PATH, body: widget('a') })).status, 201);
    assert.deepEqual(server.asked.map((a) => a.headers.authorization), ['Bearer old', 'Bearer new']);
  });

  test('the same for a stream', async (t) => {
    const server = await startServer(t);
    server.token = 'new';
    const credentials = new FakeCredentials(accessTo(server, 'old'));
    credentials.next = accessTo(server, 'new');
    const transport = connect(t, server, { credentials });
    server.fault((a) => a.headers.authorization === 'Bearer new', (response) => { response.end('{"a":1}\n'); });
    assert.deepEqual(await linesOf(transport.stream({ path: PATH })), ['{"a":1}']);
  });

  test('a token that is still the same is not tried again', async (t) => {
    const server = await startServer(t);
    server.token = 'other';
    const credentials = new FakeCredentials(accessTo(server, 'old'));
    const transport = connect(t, server, { credentials });
    await assert.rejects(transport.request(get), failsWith('UNAUTHORIZED', /Unauthorized/));
    assert.deepEqual([server.asked.length, credentials.refreshes], [1, 1]);
  });

  test('a new token that is refused, too, ends it, although there is a newer one each time', async (t) => {
    const server = await startServer(t);
    server.token = 'other';
    const credentials = new FakeCredentials(accessTo(server, 'old'));
    let n = 0;
    Object.defineProperty(credentials, 'next', { get: () => accessTo(server, `new-${n++}`) });
    await assert.rejects(connect(t, server, { credentials }).request(get), failsWith('UNAUTHORIZED'));
    assert.equal(server.asked.length, 2);
  });

  test('a server certificate of a new authority is accepted as soon as the CA file has it; connections are made anew once', async (t) => {
    const server = await startServer(t, { tls: 'a' });
    const credentials = new FakeCredentials(accessTo(server, undefined, 'a'));
    const transport = connect(t, server, { credentials });
    await transport.request(get);
    server.useCertificate('b');
    await assert.rejects(transport.request(get), failsWith('UNREACHABLE', /self-signed certificate|unable to verify/));
    credentials.next = accessTo(server, undefined, 'b');
    assert.equal((await transport.request({ method: 'POST', path: PATH, body: widget('a') })).status, 201);
    for (let i = 0; i < 3; i++) {
      credentials.current = accessTo(server, undefined, 'b'); // Read again, the same bytes.
      await transport.request(get);
    }
    assert.equal(transport.agents, 2);
  });

  test('other bytes do not break what is under way', async (t) => {
    const server = await startServer(t, { tls: 'a' });
    const credentials = new FakeCredentials(accessTo(server, undefined, 'a'));
    const transport = connect(t, server, { credentials });
    const stop = new AbortController();
    const lines: string[] = [];
    const stream = (async () => { for await (const line of transport.stream({ path: PATH, query: { watch: true, resourceVersion: '100' }, signal: stop.signal })) lines.push(line); })();
    await until('the watch is open', () => server.watchers === 1);
    const { ca } = credentials.current.tls;
    credentials.current = { ...credentials.current, tls: { ca: Buffer.concat([ca!, readFileSync(join(FIXTURES, 'b.pem'))]) } };
    await transport.request(get);
    assert.equal(transport.agents, 2);
    server.bookmark();
    await until('the old watch still brings lines', () => lines.length === 1);
    stop.abort();
    await assert.rejects(stream, isAbort);
  });

  test('a client certificate is shown', async (t) => {
    const server = await startServer(t, { tls: 'a', clientCertificates: true });
    const pem = (name: string): Buffer => readFileSync(join(FIXTURES, name));
    const transport = connect(t, server, { credentials: new FakeCredentials({ server: server.url, headers: {}, tls: { ca: pem('a.pem'), cert: pem('b.pem'), key: pem('b.key') } }) });
    assert.equal((await transport.request(get)).status, 200);
    const nobody = connect(t, server, { credentials: new FakeCredentials(accessTo(server, undefined, 'a')) });
    await assert.rejects(nobody.request(get), failsWith('UNREACHABLE'));
  });
});

describe('a request', () => {
  const text = (status: number, body: string, headers = {}): Answer => (response) => { response.writeHead(status, headers).end(body); };
  const cases: [string, Answer, ApiErrorCode, RegExp][] = [
    ['404 with a Status', refusing(404, 'NotFound'), 'NOT_FOUND', /as told: NotFound/],
    ['404 of a server that does not know the kind', text(404, '404 page not found\n'), 'NOT_FOUND', /404 page not found/],
    ['409 because it is there', refusing(409, 'AlreadyExists'), 'ALREADY_EXISTS', /./],
    ['409 because it changed', refusing(409, 'Conflict'), 'CONFLICT', /./],
    ['410', refusing(410, 'Gone'), 'EXPIRED', /./],
    ['403', refusing(403, 'Forbidden'), 'FORBIDDEN', /./],
    ['422', refusing(422, 'Invalid'), 'INVALID', /./],
    ['400', refusing(400, 'BadRequest'), 'INVALID', /./],
    ['405', refusing(405, 'MethodNotAllowed'), 'REFUSED', /./],
    ['500', refusing(500, 'InternalError'), 'SERVER_ERROR', /./],
    ['503 of a load balancer', text(503, '<html>\n<h1>Service   Unavailable</h1>'), 'SERVER_ERROR', /<html> <h1>Service Unavailable/],
    ['504', refusing(504, 'Timeout'), 'TIMEOUT', /./],
    ['a redirect', text(302, '', { location: 'http://elsewhere/' }), 'BAD_RESPONSE', /redirect/],
    ['200 with garbage', text(200, '<html>login</html>'), 'BAD_RESPONSE', /no JSON: <html>login/],
    ['200 with nothing', text(200, ''), 'BAD_RESPONSE', /no JSON/],
    ['half an answer', (response) => { response.writeHead(200, { 'content-length': 1000 }).write('{"items":[', () => response.socket!.destroy()); }, 'UNREACHABLE', /the connection broke/],
    ['half a chunked answer', (response) => { response.writeHead(200).write('{"items":[', () => response.socket!.destroy()); }, 'UNREACHABLE', /the connection broke/],
    ['an answer that is too large', text(200, JSON.stringify('x'.repeat(2000))), 'BAD_RESPONSE', /larger than 1000 bytes/],
  ];
  for (const [name, answer, code, message] of cases) {
    test(`that gets ${name} fails with ${code}`, async (t) => {
      const server = await startServer(t);
      const transport = connect(t, server, { maxResponseBytes: 1000 });
      server.fault(() => true, answer);
      await assert.rejects(transport.request(get), failsWith(code, message));
      assert.equal((await transport.request(get)).status, 200, 'and the next one works');
    });
  }

  test('that is told to come back later knows when', async (t) => {
    const server = await startServer(t);
    server.fault(() => true, refusing(429, 'TooManyRequests', { 'retry-after': '7' }));
    await assert.rejects(connect(t, server).request(get), (e: ApiError) => e.code === 'TOO_MANY_REQUESTS' && e.retryAfterMs === 7000);
  });

  for (const [name, answer] of [
    ['sends no headers', () => {}],
    ['sends headers and then nothing', (response) => { response.writeHead(200).flushHeaders(); }],
    ['trickles', (response) => { const drip = setInterval(() => response.write(' '), 10); response.once('close', () => clearInterval(drip)); }],
  ] as [string, Answer][]) {
    test(`ends at its deadline when the server ${name}`, async (t) => {
      const server = await startServer(t);
      const transport = connect(t, server, { requestTimeoutMs: 100 });
      server.fault(() => true, answer);
      await assert.rejects(transport.request(get), failsWith('TIMEOUT', /no answer within 100 ms/));
    });
  }

  test('with slow headers is answered when there is time', async (t) => {
    const server = await startServer(t);
    server.fault(() => true, (_response, _asked, proceed) => { setTimeout(proceed, 150); });
    assert.equal((await connect(t, server, { requestTimeoutMs: 1 }).request({ ...get, timeoutMs: 10_000 })).status, 200);
  });

  test('is aborted before, while it waits for a connection, and while it waits for the answer', async (t) => {
    const server = await startServer(t);
    const transport = connect(t, server, { maxConnections: 1 });
    await assert.rejects(transport.request({ ...get, signal: AbortSignal.abort('no') }), isAbort);
    server.fault(() => true, () => {});
    const [first, second] = [new AbortController(), new AbortController()];
    const hanging = transport.request({ ...get, signal: first.signal });
    await until('the first is under way', () => server.asked.length === 1);
    const waiting = transport.request({ ...get, signal: second.signal });
    await new Promise((resolve) => { setTimeout(resolve, 20); });
    second.abort();
    await assert.rejects(waiting, isAbort);
    first.abort();
    await assert.rejects(hanging, isAbort);
    assert.equal((await transport.request(get)).status, 200, 'its connection is free again');
  });

  test('sends query, body, type and who asks', async (t) => {
    const server = await startServer(t);
    server.fault(() => true, (response) => { send(response, 200, {}); });
    await connect(t, server).request({ method: 'PATCH', path: `${PATH}/a`, query: { force: true, fieldManager: 'a b', none: undefined }, body: { ä: 'ö' }, contentType: 'application/merge-patch+json' });
    const [asked] = server.asked;
    assert.deepEqual([...asked!.query], [['force', 'true'], ['fieldManager', 'a b']]);
    assert.deepEqual([asked!.body, asked!.headers['content-type'], asked!.headers['user-agent']], [{ ä: 'ö' }, 'application/merge-patch+json', 'test']);
  });

  test('logs what the server warns of, once', async (t) => {
    const server = await startServer(t);
    const log = new MemoryLog();
    const transport = connect(t, server, { log });
    server.fault(() => true, (response) => { send(response, 200, {}, { warning: '299 - "unknown field spec.sise"' }); }, 2);
    await transport.request(get);
    await transport.request(get);
    assert.deepEqual(log.lines.map((l) => [l.message, l.fields]), [['the API server warns', { warning: '299 - "unknown field spec.sise"' }]]);
  });
});

describe('a stream', () => {
  const answers: [string, Answer, string[]][] = [
    ['lines in pieces, with characters cut in two', (response) => {
      const bytes = Buffer.from('{"ä":1}\n\n{"b":2}\r\nlast');
      const piece = (i: number): void => { if (i < bytes.length) response.write(bytes.subarray(i, i + 1), () => setImmediate(piece, i + 1)); else response.end(); };
      piece(0);
    }, ['{"ä":1}', '{"b":2}\r', 'last']],
    ['nothing', (response) => { response.end(); }, []],
  ];
  for (const [name, answer, lines] of answers) {
    test(`brings ${name}`, async (t) => {
      const server = await startServer(t);
      server.fault(() => true, answer);
      assert.deepEqual(await linesOf(connect(t, server).stream({ path: PATH })), lines);
    });
  }

  test('that is reset in the middle of a line brings the whole lines, and then the error', async (t) => {
    const server = await startServer(t);
    server.fault(() => true, (response) => { response.write('one\ntwo\nthr', () => setTimeout(() => response.socket!.destroy(), 20)); });
    const lines: string[] = [];
    await assert.rejects(async () => { for await (const line of connect(t, server).stream({ path: PATH })) lines.push(line); }, failsWith('UNREACHABLE', /WATCH .*the connection broke/));
    assert.deepEqual(lines, ['one', 'two']);
  });

  test('refuses a line without end', async (t) => {
    const server = await startServer(t);
    server.fault(() => true, (response) => { response.end('x'.repeat(5000)); });
    await assert.rejects(linesOf(connect(t, server, { maxLineBytes: 1000 }).stream({ path: PATH })), failsWith('BAD_RESPONSE', /longer than 1000 bytes/));
  });

  test('has a deadline for its headers, and none for the rest', async (t) => {
    const server = await startServer(t);
    const transport = connect(t, server);
    server.fault(() => true, () => {}, Infinity);
    await assert.rejects(linesOf(transport.stream({ path: PATH, timeoutMs: 100 })), failsWith('TIMEOUT'));
    server.faults.length = 0;
    server.fault(() => true, (response) => { response.writeHead(200).flushHeaders(); setTimeout(() => response.end('late\n'), 2_500); }, Infinity);
    assert.deepEqual(await linesOf(transport.stream({ path: PATH, timeoutMs: 2_000 })), ['late']);
  });

  test('gives no line after its signal aborted, also of those that had come already', async (t) => {
    const server = await startServer(t);
    server.fault(() => true, (response) => { response.end('one\ntwo\n'); });
    const stop = new AbortController();
    const lines: string[] = [];
    await assert.rejects(async () => {
      for await (const line of connect(t, server).stream({ path: PATH, signal: stop.signal })) {
        lines.push(line);
        stop.abort();
      }
    }, isAbort);
    assert.deepEqual(lines, ['one']);
  });

  test('that is left early closes its connection', async (t) => {
    const server = await startServer(t);
    const transport = connect(t, server);
    const stream = transport.stream({ path: PATH, query: { watch: true, resourceVersion: '100' } });
    const first = stream.next();
    await until('the watch is open', () => server.watchers === 1);
    server.bookmark();
    await first;
    await stream.return();
    await until('the server sees it', () => server.watchers === 0);
  });
});
