/** What spec.healthCheck and spec.slowStart become in a program, and in its hash; and that the checker takes whatever the API takes. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { checkTarget, DIRECT, type HealthCheck } from '../../../../src/agent/health/check.ts';
import { problemOf } from '../../../../src/agent/health/problems.ts';
import { parseObject, type VirtualServer } from '../../../../src/api/v1alpha1/index.ts';
import type { ProgramHealthCheck, ProgramSpec } from '../../../../src/api/v1alpha1/program.ts';
import { programCheck } from '../../../../src/controller/compile/checks.ts';
import { hashOf } from '../../../../src/controller/compile/compile.ts';
import { CASES, virtualServer } from '../../api/cases.ts';
import { CERTIFICATE } from '../../api/certificate.ts';
import { compile, ports, server } from './setup.ts';

function spec(fields: Record<string, unknown>): ProgramSpec {
  return compile({ servers: [server('shop', fields)] }).verdicts['default/shop']!.program!.spec;
}

const common = { port: 0, path: 'Direct', periodSeconds: 5, timeoutSeconds: 2, riseCount: 2, fallCount: 3, onFailure: 'Quiesce', panicThresholdPercent: 0 };
const written = {
  TCP: {}, HTTP: { http: { host: 'shop.example', expectedStatuses: [204, 200] } }, HTTPS: {}, GRPC: {}, UDP: { udp: { payload: 'cGluZw==' } }, DNS: { dns: { name: 'shop.example' } },
};
const compiled = {
  TCP: {},
  HTTP: { http: { path: '/', host: 'shop.example', expectedStatuses: [200, 204], caBundle: '' } },
  HTTPS: { http: { path: '/', host: '', expectedStatuses: [200], caBundle: '' } },
  GRPC: { grpc: { service: '' } },
  UDP: { udp: { payload: 'cGluZw==', expectReply: false } },
  DNS: { dns: { name: 'shop.example', record: 'A', expectedAddress: '' } },
};
test('gRPC inside TLS is said in the program, and without TLS the program is as it was before there was the field', () => {
  assert.deepEqual(spec({ healthCheck: { type: 'GRPC', grpc: { service: 'a', transport: 'TLS' } } }).healthCheck!.grpc, { service: 'a', transport: 'TLS' });
  assert.deepEqual(spec({ healthCheck: { type: 'GRPC', grpc: { service: 'a', transport: 'Plaintext' } } }).healthCheck!.grpc, { service: 'a' });
});
for (const type of Object.keys(written) as (keyof typeof written)[]) {
  test(`a check of type ${type} is complete in the program, with its own part and no other`, () => {
    assert.deepEqual(spec({ healthCheck: { type, ...written[type] } }).healthCheck, { type, ...common, ...compiled[type] });
  });
}

test('what is said of a check is what the program says', () => {
  const said = { type: 'HTTPS', port: 8443, path: 'Forwarded', periodSeconds: 9, timeoutSeconds: 8, riseCount: 7, fallCount: 6, onFailure: 'Remove', panicThresholdPercent: 55, http: { path: '/x', host: 'h', expectedStatuses: [201], caBundle: CERTIFICATE } };
  const { healthCheck, slowStartSeconds } = spec({ mode: 'DR', healthCheck: said, slowStart: { windowSeconds: 30 } });
  assert.deepEqual([healthCheck, slowStartSeconds], [said, 30]);
});

test('programs without checks and slow start have the hash that they had before there were any', () => {
  const nothing = [{}, { healthCheck: { type: 'None' } }, { slowStart: {} }, { healthCheck: { type: 'None', port: 1 }, slowStart: { windowSeconds: 0 } }];
  // Of the commit before these fields: a new controller must not give all directors all programs anew.
  const hashes: [Record<string, unknown>, string][] = [
    [{}, '4e476ed4bdf81209'], [{ mode: 'TUN', tun: { encapsulation: 'GUE' } }, '20946da32c231926'], [{ persistence: { timeoutSeconds: 60 } }, 'd9352240a59e10de'],
    [{ ...ports([3000, 3010]), trafficPolicy: 'Local' }, '222d9426af295f34'],
  ];
  for (const [fields, hash] of hashes) {
    for (const more of nothing) {
      const program = spec({ ...fields, ...more });
      assert.equal(program.contentHash, hash);
      assert.ok(!('healthCheck' in program) && !('slowStartSeconds' in program));
    }
  }
});

/** Every check that differs from another in one field. */
function variants(check: Record<string, unknown>): Record<string, unknown>[] {
  return Object.entries(check).flatMap(([key, value]) => {
    if (Array.isArray(value)) return [{ ...check, [key]: [...value, 599] }];
    if (typeof value === 'object' && value !== null) return variants(value as Record<string, unknown>).map((part) => ({ ...check, [key]: part }));
    return [{ ...check, [key]: typeof value === 'number' ? value + 1 : typeof value === 'boolean' ? !value : `${String(value)}x` }];
  });
}

test('every field of a check is in the hash, and the order in which they were written is not', () => {
  for (const type of Object.keys(written) as (keyof typeof written)[]) {
    const program = spec({ healthCheck: { type, ...written[type] }, slowStart: { windowSeconds: 10 } });
    const changed = variants(program.healthCheck as unknown as Record<string, unknown>).map((healthCheck) => hashOf({ ...program, healthCheck: healthCheck as unknown as ProgramHealthCheck }));
    const hashes = [...changed, hashOf({ ...program, slowStartSeconds: 11 }), program.contentHash];
    assert.equal(new Set(hashes).size, hashes.length, type);
    assert.ok(changed.length >= Object.keys(common).length + Object.values(compiled[type]).length, type);
    const turned = JSON.parse(JSON.stringify(program.healthCheck), (_, v: unknown) => (typeof v === 'object' && v !== null && !Array.isArray(v) ? Object.fromEntries(Object.entries(v).reverse()) : v)) as ProgramHealthCheck;
    assert.equal(hashOf({ ...program, healthCheck: turned }), program.contentHash, type);
  }
  const statuses = (...expectedStatuses: number[]) => spec({ healthCheck: { type: 'HTTP', http: { expectedStatuses } } }).contentHash;
  assert.equal(statuses(204, 200), statuses(200, 204));
});

/** The check of a program in the words of the checker. */
function engineCheck(c: ProgramHealthCheck): HealthCheck {
  const timing = { port: c.port || 80, periodMs: c.periodSeconds * 1000, timeoutMs: c.timeoutSeconds * 1000, rise: c.riseCount, fall: c.fallCount };
  const http = () => ({ path: c.http!.path, host: c.http!.host, statuses: c.http!.expectedStatuses });
  switch (c.type) {
    case 'TCP': return { type: 'TCP', ...timing };
    case 'HTTP': return { type: 'HTTP', ...timing, ...http() };
    case 'HTTPS': return { type: 'HTTPS', ...timing, ...http(), ca: c.http!.caBundle };
    case 'GRPC': return { type: 'GRPC', ...timing, service: c.grpc!.service, tls: c.grpc!.transport === 'TLS' };
    case 'UDP': return { type: 'UDP', ...timing, payload: c.udp!.payload, reply: c.udp!.expectReply };
    case 'DNS': return { type: 'DNS', ...timing, name: c.dns!.name, record: c.dns!.record, expected: c.dns!.expectedAddress };
  }
}

test('whatever check the API takes, the checker takes', () => {
  const types = new Set<string>();
  for (const c of CASES.filter((one) => one.refused === undefined && one.object['kind'] === 'VirtualServer')) {
    const result = parseObject(c.object);
    const check = result.ok ? programCheck((result.object as VirtualServer).spec) : null;
    if (check === null) continue;
    types.add(check.type);
    assert.equal(problemOf(checkTarget('10.0.0.21', engineCheck(check), DIRECT)), null, c.name);
  }
  assert.deepEqual([...types].sort(), ['DNS', 'GRPC', 'HTTP', 'HTTPS', 'TCP', 'UDP']);
});

/** Texts of parts that are allowed, and of those that are not quite. */
const textLike = fc.oneof(
  fc.array(fc.constantFrom('/', 'a', 'Z9', '-', '_', '.', '..', ':', '[', ']', '=', '==', '+', ' ', '\n', '\r\n', '\u0000', '\u007f', '\u00e9', '\u{1f600}', '%20', '#', 'a'.repeat(63), 'QUJD'), { maxLength: 6 }).map((parts) => parts.join('')),
  fc.string({ maxLength: 70 }), fc.domain(), fc.base64String({ maxLength: 40 }),
  // A path as a URL may have it (RFC 3986, 3.3).
  fc.array(fc.string({ unit: fc.constantFrom(...'azAZ09-._~!$&\'()*+,;=:@', '%2F', '%C3%A9'), maxLength: 12 }), { maxLength: 6 }).map((segments) => segments.map((s) => `/${s}`).join('')),
);

test('of any text the API and the checker think the same: nothing is taken that is then not checked', () => {
  const parts: Record<string, (text: string) => Record<string, unknown>> = {
    path: (text) => ({ type: 'HTTP', http: { path: text } }), host: (text) => ({ type: 'HTTP', http: { host: text } }), service: (text) => ({ type: 'GRPC', grpc: { service: text } }),
    payload: (text) => ({ type: 'UDP', udp: { payload: text } }), name: (text) => ({ type: 'DNS', dns: { name: text } }), expected: (text) => ({ type: 'DNS', dns: { name: 'a', expectedAddress: text } }),
  };
  const taken = new Map<string, number>();
  fc.assert(fc.property(fc.constantFrom(...Object.keys(parts)), textLike, (part, text) => {
    const written = parts[part]!(text);
    const result = parseObject(virtualServer({ healthCheck: written }));
    const raw = { ...common, ...compiled[written['type'] as 'HTTP'], type: written['type'] } as unknown as ProgramHealthCheck;
    const given = Object.fromEntries(Object.entries(written).map(([key, value]) => (typeof value === 'object' ? [key, { ...raw[key as 'http'], ...value }] : [key, value])));
    const problem = problemOf(checkTarget('10.0.0.21', engineCheck({ ...raw, ...given } as ProgramHealthCheck), DIRECT));
    assert.equal(result.ok, problem === null, `${part} ${JSON.stringify(text)}: ${problem ?? 'the checker takes it'}`);
    if (result.ok) taken.set(part, (taken.get(part) ?? 0) + 1);
  }), { numRuns: 3_000 });
  for (const part of ['path', 'host', 'service', 'payload', 'name']) assert.ok((taken.get(part) ?? 0) > 5, `${part} was taken ${taken.get(part) ?? 0} times: texts like these prove nothing`);
});
