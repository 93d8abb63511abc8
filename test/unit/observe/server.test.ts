/** The health port answers three paths, fails loudly where it should and never brings its process down. Real sockets. */
import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { createServer, request, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseListen } from '../../../src/observe/listen.ts';
import { createMetrics, type Metrics } from '../../../src/observe/metrics.ts';
import { serveHealth, type HealthOptions, type HealthServer } from '../../../src/observe/server.ts';
import { refusingPort } from '../ports.ts';
import { parseText } from './text.ts';

const stop = new AbortController();
after(() => stop.abort());

interface Lines { readonly level: string; readonly fields: Record<string, unknown>; readonly message: string }

function recorder(): { log: HealthOptions['log']; lines: Lines[] } {
  const lines: Lines[] = [];
  const at = (level: string) => (fields: object, message: string): void => { lines.push({ level, fields: fields as Record<string, unknown>, message }); };
  return { lines, log: { info: at('info'), error: at('error') } };
}

const serve = (options: Partial<HealthOptions> = {}): Promise<HealthServer> => serveHealth({
  listen: '127.0.0.1:0', metrics: createMetrics({ process: false }), live: () => null, ready: () => null, log: recorder().log, signal: stop.signal, ...options,
});

interface Answer { readonly status: number; readonly text: string; readonly headers: IncomingHttpHeaders }

function ask(port: number, path: string, method = 'GET', body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asking = request({ host: '127.0.0.1', port, path, method, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk; });
      response.once('end', () => resolve({ status: response.statusCode!, text, headers: response.headers }));
      response.once('error', reject);
    });
    asking.once('error', reject);
    asking.end(body);
  });
}

/** Far longer than it ever takes. */
async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + 60_000; !await holds();) {
    assert.ok(performance.now() < deadline, `not within 60 s: ${what}`);
    await sleep(10);
  }
}

test('/metrics is text that Prometheus reads', async () => {
  const metrics = createMetrics();
  metrics.counter('events_total', 'Events.').inc(3);
  const { port } = await serve({ metrics });
  const { status, text, headers } = await ask(port!, '/metrics?x=1');
  assert.equal(status, 200);
  assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  const { samples } = parseText(text);
  assert.equal(samples.get('events_total'), 3);
  assert.ok(samples.has('process_resident_memory_bytes'));
});

test('/livez and /readyz say ok, or 503 and why; each by its own check', async () => {
  let [live, ready]: (string | null)[] = [null, 'the caches are not read yet'];
  const { port } = await serve({ live: () => live!, ready: () => ready! });
  assert.deepEqual(await ask(port!, '/livez').then(({ status, text }) => [status, text]), [200, 'ok\n']);
  assert.deepEqual(await ask(port!, '/readyz').then(({ status, text }) => [status, text]), [503, 'the caches are not read yet\n']);
  [live, ready] = ['the loop hangs', null];
  assert.deepEqual(await ask(port!, '/livez').then(({ status, text }) => [status, text]), [503, 'the loop hangs\n']);
  assert.equal((await ask(port!, '/readyz')).status, 200);
});

test('a check that throws has failed, and the server lives on', async () => {
  const { port } = await serve({ ready: () => { throw new Error('no such map'); } });
  assert.deepEqual(await ask(port!, '/readyz').then(({ status, text }) => [status, text]), [503, 'the check itself failed: no such map\n']);
  assert.equal((await ask(port!, '/livez')).status, 200);
});

for (const [method, path, status] of [
  ['GET', '/', 404], ['GET', '/metrics/', 404], ['GET', '/healthz', 404], ['GET', '/../metrics', 404], ['GET', '//metrics', 404], ['GET', '/%2e%2e', 404],
  ['POST', '/metrics', 405], ['DELETE', '/livez', 405], ['PUT', '/readyz', 405], ['POST', '/x', 404],
] as const) {
  test(`${method} ${path} is answered with ${status}`, async () => {
    const { port } = await serve();
    const answer = await ask(port!, path, method, method === 'GET' ? undefined : 'x'.repeat(100_000));
    assert.equal(answer.status, status);
    if (status === 405) assert.equal(answer.headers.allow, 'GET, HEAD');
  });
}

test('HEAD is answered as GET without a body', async () => {
  const { port } = await serve({ ready: () => 'no' });
  for (const [path, status] of [['/metrics', 200], ['/livez', 200], ['/readyz', 503]] as const) {
    assert.deepEqual(await ask(port!, path, 'HEAD').then((a) => [a.status, a.text]), [status, '']);
  }
});

test('what is no HTTP at all is closed, and the next one is answered', async () => {
  const { port } = await serve();
  const socket = connect(port!, '127.0.0.1');
  socket.write('\x16\x03\x01\x00\xa5 not http\r\n\r\n');
  await new Promise((done) => { socket.once('close', done); socket.resume(); });
  assert.equal((await ask(port!, '/livez')).status, 200);
});

test('a scrape that fails half way breaks off, so that nobody takes a part for the whole', async () => {
  const { log, lines } = recorder();
  const broken: Pick<Metrics, 'scrape'> = { async* scrape() { yield 'a 1\n'; await sleep(1); throw new Error('out of numbers'); } };
  const { port } = await serve({ metrics: broken, log });
  await assert.rejects(ask(port!, '/metrics'), /aborted|hang up|ECONNRESET|terminated/);
  await eventually('it is in the log', () => lines.some(({ level, message }) => level === 'error' && message === 'scrape failed'));
  assert.equal((await ask(port!, '/livez')).status, 200);
});

test('a client that goes away in the middle of a scrape is no error and ends the scrape', async () => {
  const { log, lines } = recorder();
  let ended = false;
  const endless: Pick<Metrics, 'scrape'> = {
    async* scrape() { try { for (;;) { yield 'x'.repeat(100_000); await sleep(1); } } finally { ended = true; } },
  };
  const { port } = await serve({ metrics: endless, log });
  const asking = request({ host: '127.0.0.1', port, path: '/metrics', agent: false });
  asking.once('error', () => {}); // Its own end.
  asking.end();
  await new Promise((done) => asking.once('response', (response) => response.once('data', done)));
  asking.destroy();
  await eventually('the scrape ends', () => ended);
  assert.deepEqual(lines.filter(({ level }) => level === 'error'), []);
});

test('a port that somebody else has is said with its code, does no harm, and is taken when it is free', async () => {
  await using kept = await refusingPort();
  const { port } = kept;
  const other = createServer().listen(port, '127.0.0.1');
  await new Promise((done) => other.once('listening', done));
  const { log, lines } = recorder();
  const server = await serve({ listen: `127.0.0.1:${port}`, log, retryMs: 20 });
  assert.equal(server.port, null);
  assert.equal(server.problem?.code, 'LISTEN_TAKEN');
  assert.match(server.problem!.message, new RegExp(`127\\.0\\.0\\.1:${port}.*another program`));
  await sleep(200);
  assert.equal(lines.filter(({ fields }) => fields['code'] === 'LISTEN_TAKEN').length, 1, 'said once, not at every attempt');
  await new Promise((done) => other.close(done));
  await eventually('it listens', () => server.port === port);
  assert.equal(server.problem, null);
  assert.equal((await ask(port, '/livez')).status, 200);
});

test('an address that this host does not have is refused with the reason of the system', async () => {
  const server = await serve({ listen: '192.0.2.1:0' });
  assert.equal(server.problem?.code, 'LISTEN_REFUSED');
  assert.match(server.problem!.message, /EADDRNOTAVAIL/);
});

test('an abort closes everything, idle connections too, and also while no port could be had', async () => {
  const ending = new AbortController();
  const server = await serve({ signal: ending.signal });
  const socket = connect(server.port!, '127.0.0.1');
  await new Promise((done) => socket.once('connect', done));
  const closed = new Promise((done) => { socket.once('close', done); socket.resume(); socket.once('error', () => {}); });
  const waiting = await serve({ listen: '192.0.2.1:0', signal: ending.signal });
  ending.abort();
  await Promise.all([closed, server.closed, waiting.closed]);
  assert.equal(server.port, null);
  const late = await serve({ signal: ending.signal });
  await late.closed;
  assert.equal(late.port, null);
});

test('addresses: what is one, and what is not', async () => {
  const good: [string, object][] = [
    ['127.0.0.1:9822', { host: '127.0.0.1', port: 9822 }], [':8080', { port: 8080 }], ['[::1]:80', { host: '::1', port: 80 }], ['[::]:0', { host: '::', port: 0 }], ['localhost:65535', { host: 'localhost', port: 65535 }],
  ];
  for (const [text, address] of good) assert.deepEqual(parseListen(text), address);
  for (const text of ['', '8080', '127.0.0.1', '127.0.0.1:', '::1:80', '[::1]', '[127.0.0.1]:80', 'a:70000', 'a:-1', 'a:8o', ' :80', 'a b:80', 'http://a:80']) {
    assert.throws(() => parseListen(text), { code: 'LISTEN_INVALID' }, text);
  }
  await assert.rejects(serve({ listen: 'nonsense' }), { code: 'LISTEN_INVALID', message: /--listen nonsense/ });
});
