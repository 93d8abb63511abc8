/** The kinds that machines write: names, reports, and objects as a server gives them, also those of a newer version. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  ALL_KINDS, InvalidObject, MAX_APPLIED, RESOURCES, addressOfVirtualIP, fromServer, readApplied, reportApplied, virtualIPName, type ServerObjects,
} from '../../../src/api/v1alpha1/index.ts';
import { DEFINITIONS } from '../../../src/api/crd.kinds.ts';
import { canonical } from '../../../src/ip/ip.ts';
import { CASES, virtualServer } from './cases.ts';
import { ipvsNode, virtualIP, virtualServerProgram } from './cases-machines.ts';

type AnyKind = keyof ServerObjects;
const VALID = CASES.filter((c) => c.refused === undefined);
const kindOf = (object: Record<string, unknown>) => object['kind'] as AnyKind;

test('an address is the name of its VirtualIP, and back', () => {
  const names: [string, string][] = [
    ['203.0.113.10', '203.0.113.10'], ['2001:db8::10', '2001-0db8-0000-0000-0000-0000-0000-0010'], ['::', '0000-0000-0000-0000-0000-0000-0000-0000'],
    ['fd00:1:2:3:4:5:6:abcd', 'fd00-0001-0002-0003-0004-0005-0006-abcd'],
  ];
  for (const [address, name] of names) {
    assert.equal(virtualIPName(address), name);
    assert.equal(addressOfVirtualIP(name), address);
  }
  for (const name of ['shop', '', '2001-db8--10', '2001:0db8:0000:0000:0000:0000:0000:0010', '2001-0DB8-0000-0000-0000-0000-0000-0010', '203-0-113-10', '010.0.0.1', '203.0.113.10 ']) {
    assert.equal(addressOfVirtualIP(name), null, name);
  }
  assert.throws(() => virtualIPName('shop'), RangeError);
});

test('different addresses have different names, each a valid name of an object, and every name leads back', () => {
  const address = fc.oneof(fc.ipV4(), fc.ipV6()).map(canonical).filter((a) => a !== null);
  fc.assert(fc.property(address, address, (a, b) => {
    assert.equal(virtualIPName(a) === virtualIPName(b), a === b);
    assert.match(virtualIPName(a), /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
    assert.equal(addressOfVirtualIP(virtualIPName(a)), a);
  }));
});

test('a report of applied programs is read as it was written', () => {
  const { applied } = reportApplied([['tenant-b/shop', 'h2'], ['tenant-a/shop', 'h1']]);
  assert.deepEqual(applied, ['tenant-a/shop|h1', 'tenant-b/shop|h2']);
  assert.deepEqual(readApplied(applied), new Map([['tenant-a/shop', 'h1'], ['tenant-b/shop', 'h2']]));
  assert.deepEqual(readApplied(['', 'tenant-a/shop', '|h1']), new Map());
});

test('a digest tells programs apart, also those that are too many to report', () => {
  const programs = Array.from({ length: MAX_APPLIED + 1 }, (_, i) => [`tenant-a/s${i}`, 'h'] as const);
  const report = reportApplied(programs);
  assert.equal(report.applied.length, MAX_APPLIED);
  assert.equal(reportApplied(programs.toReversed()).digest, report.digest, 'order does not matter');
  const unreported = programs.find(([name]) => !readApplied(report.applied).has(name))!;
  assert.notEqual(reportApplied(programs.map((p) => (p === unreported ? [p[0], 'other'] : p))).digest, report.digest);
  assert.notEqual(reportApplied([]).digest, report.digest);
});

test('the largest report stays far below what a server stores', () => {
  const name = 'a'.repeat(63);
  const { applied, digest } = reportApplied(Array.from({ length: MAX_APPLIED }, (_, i) => [`${name}/${'b'.repeat(58)}${String(i).padStart(5, '0')}`, '0123456789abcdef']));
  const object = ipvsNode({}, {}, { applied, programs: { applied: MAX_APPLIED, failed: 0, digest } });
  assert.ok(fromServer('IPVSNode', object).ok);
  assert.ok(JSON.stringify(object).length < 800_000, `${JSON.stringify(object).length} bytes`);
});

test('clients find every kind where its CRD has it', () => {
  assert.deepEqual(Object.keys(RESOURCES), Object.keys(ALL_KINDS));
  for (const { kind, plural, scope } of DEFINITIONS) {
    const { parse: _, ...resource } = RESOURCES[kind as AnyKind];
    assert.deepEqual(resource, { group: 'ipvs-operator.dev', version: 'v1alpha1', kind, plural, namespaced: scope === 'Namespaced' });
  }
});

const added = { uid: 'u1', resourceVersion: '7', generation: 3, creationTimestamp: '2026-01-01T00:00:00Z', managedFields: [{ manager: 'x' }], ownerReferences: [], finalizers: ['a/b'] };

test('every valid object can be read from a server, with what the server added', () => {
  for (const c of VALID) {
    const metadata = c.object['metadata'] as object;
    const { managedFields: _, ...kept } = added;
    const result = fromServer(kindOf(c.object), { ...c.object, metadata: { ...metadata, ...added, selfLinkOfTheFuture: 1 } });
    assert.ok(result.ok, c.name);
    const plain = fromServer(kindOf(c.object), { ...c.object, metadata: Object.fromEntries(Object.entries(metadata).filter(([key]) => !(key in added) && key !== 'managedFields')) });
    assert.ok(plain.ok);
    assert.deepEqual(result.object.metadata, { ...plain.object.metadata, ...kept }, c.name);
    assert.deepEqual(result.object.spec, plain.object.spec, c.name);
  }
});

test('items of a list come without apiVersion and kind', () => {
  const { apiVersion: _a, kind: _k, ...item } = virtualServerProgram();
  const object = RESOURCES.VirtualServerProgram.parse(item);
  assert.equal(object.kind, 'VirtualServerProgram');
  assert.equal(object.metadata.namespace, 'tenant-a');
});

/** Every object inside gets a field that no version of ours has. Keys of maps are data, so labels stay as they are. */
function fromTheFuture(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromTheFuture);
  if (typeof value !== 'object' || value === null) return value;
  return { ...Object.fromEntries(Object.entries(value).map(([key, v]) => [key, key === 'labels' ? v : fromTheFuture(v)])), fieldOfTheFuture: { deep: [1] } };
}

test('what a newer controller or agent wrote is read without what this version does not know', () => {
  for (const c of VALID.filter((v) => !['VirtualServer', 'VIPPool', 'DirectorGroup'].includes(kindOf(v.object)))) {
    const now = fromServer(kindOf(c.object), c.object);
    assert.deepEqual(fromServer(kindOf(c.object), fromTheFuture(c.object)), now, c.name);
    assert.ok(now.ok);
  }
});

test('a field that this version does not know in what a person wrote is refused from a server too', () => {
  const result = fromServer('VirtualServer', virtualServer({ allowedSourceRanges: ['10.0.0.0/8'] }));
  assert.deepEqual(!result.ok && result.problems.map((p) => [p.code, p.path]), [['UnknownField', 'spec.allowedSourceRanges']]);
  assert.equal(!result.ok && result.identity.key, 'VirtualServer/tenant-a/shop');
});

test('a status is read, a newer one as far as it is known, and a broken one is none', () => {
  const status = { observedGeneration: 3, addresses: [{ value: '203.0.113.10', family: 'IPv4', activeNode: 'edge-1' }], summary: { ports: '80/TCP' } };
  const statusOf = (kind: AnyKind, object: Record<string, unknown>) => { const r = fromServer(kind, object); assert.ok(r.ok); return 'status' in r.object ? r.object.status : undefined; };
  assert.deepEqual(statusOf('VirtualServer', { ...virtualServer(), status }), status);
  assert.deepEqual(statusOf('VirtualServer', { ...virtualServer(), status: fromTheFuture(status) }), status);
  assert.equal(statusOf('VirtualServer', { ...virtualServer(), status: { observedGeneration: 'three' } }), undefined);
  assert.equal(statusOf('VirtualServer', virtualServer()), undefined);
  assert.deepEqual(statusOf('VirtualIP', virtualIP({}, {}, { epoch: 3, activeNode: 'edge-1' })), { epoch: 3, activeNode: 'edge-1' });
  assert.equal(statusOf('VirtualIP', virtualIP({}, {}, { epoch: 'three' })), undefined);
  assert.equal(statusOf('IPVSNode', ipvsNode({}, {}, { failures: 'many' })), undefined);
});

test('an object that cannot be read throws its name and every problem, in words and as data', () => {
  assert.throws(() => RESOURCES.VirtualIP.parse(virtualIP({ family: 'IPv7' })), (error: unknown) => {
    assert.ok(error instanceof InvalidObject);
    assert.equal(error.code, 'INVALID_OBJECT');
    assert.deepEqual(error.problems.map((p) => p.code), ['UnknownValue']);
    assert.match(error.message, /^VirtualIP\/203\.0\.113\.10: spec\.family: "IPv7" is not one of IPv4, IPv6/);
    return true;
  });
});

test('whatever a server says, reading it does not throw', () => {
  const kinds = Object.keys(RESOURCES) as AnyKind[];
  fc.assert(fc.property(fc.constantFrom(...kinds), fc.oneof(fc.anything(), fc.record({ metadata: fc.anything(), spec: fc.anything(), status: fc.anything() })), (kind, value) => {
    const result = fromServer(kind, value);
    assert.ok(result.ok || result.problems.length > 0);
  }), { numRuns: 1000 });
});

test('the table has valid objects of every kind', () => {
  assert.deepEqual([...new Set(VALID.map((c) => kindOf(c.object)))].sort(), Object.keys(ALL_KINDS).sort());
});
