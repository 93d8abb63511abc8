/** Targets: which are the same, and which are refused in what words. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { checkTarget, destinationOf, type CheckPath, type HealthCheck } from '../../../../src/agent/health/check.ts';
import { problemOf } from '../../../../src/agent/health/problems.ts';

const timing = { port: 80, periodMs: 5_000, timeoutMs: 1_000, rise: 2, fall: 3 };
const http: HealthCheck = { ...timing, type: 'HTTP', path: '/healthz', host: '', statuses: [200] };
const https: HealthCheck = { ...timing, type: 'HTTPS', path: '/', host: 'shop.example', statuses: [200, 204], ca: '' };
const dns: HealthCheck = { ...timing, port: 53, type: 'DNS', name: 'example.org', record: 'A', expected: '192.0.2.1' };
const udp: HealthCheck = { ...timing, type: 'UDP', payload: '', reply: false };
const forwarded: CheckPath = { kind: 'Forwarded', vip: '192.0.2.10', mark: 0x4a00_0001, source: '192.0.2.2' };

test('equal targets have one key, and every field makes another one', () => {
  const targets = [
    checkTarget('10.0.0.1', { ...timing, type: 'TCP' }), checkTarget('10.0.0.2', { ...timing, type: 'TCP' }), checkTarget('10.0.0.1', { ...timing, type: 'TCP', port: 81 }),
    checkTarget('10.0.0.1', { ...timing, type: 'TCP', periodMs: 6_000 }), checkTarget('10.0.0.1', { ...timing, type: 'TCP', timeoutMs: 900 }),
    checkTarget('10.0.0.1', { ...timing, type: 'TCP', rise: 3 }), checkTarget('10.0.0.1', { ...timing, type: 'TCP', fall: 2 }),
    checkTarget('10.0.0.1', { ...timing, type: 'TCP' }, forwarded), checkTarget('10.0.0.1', { ...timing, type: 'TCP' }, { ...forwarded, mark: 7 }),
    checkTarget('10.0.0.1', http), checkTarget('10.0.0.1', { ...http, path: '/' }), checkTarget('10.0.0.1', { ...http, host: 'a' }), checkTarget('10.0.0.1', { ...http, statuses: [200, 204] }),
    checkTarget('10.0.0.1', https), checkTarget('10.0.0.1', { ...https, ca: 'a' }), checkTarget('10.0.0.1', { ...https, ca: 'b' }),
    checkTarget('10.0.0.1', { ...timing, type: 'GRPC', service: '', tls: false }), checkTarget('10.0.0.1', { ...timing, type: 'GRPC', service: 'shop', tls: false }), checkTarget('10.0.0.1', { ...timing, type: 'GRPC', service: 'shop', tls: true }),
    checkTarget('10.0.0.1', udp), checkTarget('10.0.0.1', { ...udp, reply: true }), checkTarget('10.0.0.1', { ...udp, payload: 'AA==' }),
    checkTarget('10.0.0.1', dns), checkTarget('10.0.0.1', { ...dns, expected: '' }), checkTarget('10.0.0.1', { ...dns, name: 'example.com' }),
  ];
  assert.equal(new Set(targets.map((t) => t.key)).size, targets.length);
  for (const t of targets) {
    assert.equal(problemOf(t), null, t.key);
    assert.equal(checkTarget(t.address, structuredClone(t.check), structuredClone(t.path)).key, t.key);
    assert.match(t.key, /^[\x20-\x7e]{1,2000}$/);
  }
});

test('a forwarded check goes to the VIP and is about the real server', () => {
  const target = checkTarget('fd00::1', { ...timing, type: 'TCP' }, forwarded);
  assert.deepEqual([destinationOf(target), target.address, target.family], ['192.0.2.10', 'fd00::1', 'IPv4']);
});

const bad: readonly { name: string; check: unknown; path?: unknown; problem: RegExp }[] = [
  { name: 'a timeout that is longer than the period', check: { ...timing, type: 'TCP', timeoutMs: 5_001 }, problem: /timeout 5001 ms is longer than period 5000 ms/ },
  { name: 'port 0', check: { ...timing, type: 'TCP', port: 0 }, problem: /port 0/ },
  { name: 'port 65536', check: { ...timing, type: 'TCP', port: 65_536 }, problem: /port 65536/ },
  { name: 'a port that is no number', check: { ...timing, type: 'TCP', port: '80' }, problem: /port 80/ },
  { name: 'an unknown type', check: { ...timing, type: 'EXEC', command: 'id' }, problem: /type "EXEC" is not one of TCP, HTTP/ },
  { name: 'no period', check: { ...timing, type: 'TCP', periodMs: 0 }, problem: /period 0 ms/ },
  { name: 'a period that is NaN', check: { ...timing, type: 'TCP', periodMs: NaN }, problem: /period NaN/ },
  { name: 'rise 0', check: { ...timing, type: 'TCP', rise: 0 }, problem: /rise 0/ },
  { name: 'a path that ends the line', check: { ...http, path: '/\r\nX: y' }, problem: /path/ },
  { name: 'a path with a space', check: { ...http, path: '/ HTTP/1.1' }, problem: /path/ },
  { name: 'a path with a NUL', check: { ...http, path: '/\0' }, problem: /path/ },
  { name: 'a path with letters beyond ASCII', check: { ...http, path: '/\u00e9' }, problem: /path/ },
  { name: 'a whole URL as path', check: { ...http, path: 'http://169.254.169.254/' }, problem: /path/ },
  { name: 'a path of 2 KB', check: { ...http, path: `/${'a'.repeat(2_048)}` }, problem: /path/ },
  { name: 'a host that ends the line', check: { ...http, host: 'a\r\nb' }, problem: /host/ },
  { name: 'no statuses', check: { ...http, statuses: [] }, problem: /statuses/ },
  { name: 'an interim status', check: { ...http, statuses: [100] }, problem: /statuses/ },
  { name: 'a service with a newline', check: { ...timing, type: 'GRPC', service: 'a\n', tls: false }, problem: /service/ },
  { name: 'a payload that is not base64', check: { ...udp, payload: '?' }, problem: /payload/ },
  { name: 'a payload of 2 KB', check: { ...udp, payload: 'AAAA'.repeat(700) }, problem: /payload/ },
  { name: 'a name with an empty label', check: { ...dns, name: 'a..b' }, problem: /name/ },
  { name: 'a label of 64 characters', check: { ...dns, name: 'a'.repeat(64) }, problem: /name/ },
  { name: 'an IPv6 address in an A record', check: { ...dns, expected: '::1' }, problem: /expected/ },
  { name: 'mark 0', check: { ...timing, type: 'TCP' }, path: { ...forwarded, mark: 0 }, problem: /mark/ },
  { name: 'a source of the other family', check: { ...timing, type: 'TCP' }, path: { ...forwarded, source: '::1' }, problem: /source/ },
  { name: 'an unknown path', check: { ...timing, type: 'TCP' }, path: { kind: 'Tunnel' }, problem: /path "Tunnel"/ },
];
for (const { name, check, path, problem } of bad) {
  test(`refused: ${name}`, () => { assert.match(problemOf({ key: 'k', address: '10.0.0.1', family: 'IPv4', check: check as HealthCheck, path: (path ?? { kind: 'Direct' }) as CheckPath }) ?? 'no problem', problem); });
}
