/** Programs cut into objects and joined again: nothing lost, nothing half, and names that nobody else has. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { MAX_SLICE_REAL_SERVERS, joinSlices, parseKind, sliceName, sliceProgram, formatProblem, type VirtualServerProgram } from '../../../src/api/v1alpha1/index.ts';
import type { Program, ProgramService } from '../../../src/api/v1alpha1/program.ts';

const source = { uid: 'uid-1', generation: 3 };
/** The first of a network, made once: a property has millions of them. */
const made = new Map<number, string[]>();
function servers(n: number, net = 0): string[] {
  const known = made.get(net) ?? [];
  made.set(net, known);
  for (let i = known.length; i < n; i++) known.push(`10.${net}.${i >> 8}.${i & 255}|80|1|node-${i}`);
  return known.slice(0, n);
}
const service = (port: number, realServers: readonly string[], mark = 0): ProgramService => ({ ports: [{ name: `p${port}`, protocol: 'TCP', port, endPort: port }], mark, realServers });

const check = {
  type: 'HTTP', port: 0, path: 'Forwarded', periodSeconds: 5, timeoutSeconds: 2, riseCount: 2, fallCount: 3, onFailure: 'Remove', panicThresholdPercent: 50,
  http: { path: '/healthz', host: 'shop.example', expectedStatuses: [200, 204], caBundle: '' },
} as const;

function program(services: readonly ProgramService[], spec: Partial<Program['spec']> = {}, owner = 'tenant-a/shop'): Program {
  return {
    owner,
    spec: {
      directorGroup: 'edge', contentHash: 'h1', addresses: [{ address: '203.0.113.10', family: 'IPv4' }], mode: 'NAT', sourceAddress: 'Masquerade', tunnel: null,
      scheduler: { name: 'wrr', fallback: false, portAware: false, onePacket: false }, persistence: null, services,
      connectionLimits: { upper: 0, lower: 0 }, drainTimeoutSeconds: 300, ...spec,
    },
  };
}

const joined = (objects: readonly VirtualServerProgram[]) => {
  const result = joinSlices(objects);
  assert.ok('program' in result, 'problem' in result ? result.problem.message : '');
  return result;
};
const problemOf = (objects: readonly VirtualServerProgram[]) => {
  const result = joinSlices(objects);
  return 'problem' in result ? result.problem : null;
};
const sizeOf = (o: VirtualServerProgram) => o.spec.services.reduce((n, s) => n + s.realServers.length, 0);
const large = () => sliceProgram(program([service(80, servers(1500)), service(443, servers(1500, 1))]), source);

test('a small program is one object, named after its VirtualServer and owned by it', () => {
  const [object, ...more] = sliceProgram(program([service(80, servers(2))]), source);
  assert.equal(more.length, 0);
  assert.deepEqual(object!.metadata, {
    name: 'shop', namespace: 'tenant-a', labels: { 'ipvs-operator.dev/director-group': 'edge', 'ipvs-operator.dev/virtual-server': 'shop' },
    ownerReferences: [{ apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'VirtualServer', name: 'shop', uid: 'uid-1', controller: true }],
  });
  assert.deepEqual(object!.spec.slice, { index: 0, count: 1 });
  assert.equal(object!.spec.generation, 3);
  assert.ok(!('tunnel' in object!.spec) && !('persistence' in object!.spec), 'a CRD has no null');
});

test('a program with thousands of real servers becomes slices of a thousand', () => {
  const objects = large();
  assert.deepEqual(objects.map((o) => o.metadata.name), ['shop', 'shop.1', 'shop.2']);
  assert.deepEqual(objects.map(sizeOf), [1000, 1000, 1000]);
  assert.deepEqual(objects.map((o) => o.spec.services.map((s) => [s.ports[0]!.port, s.realServers.length])), [[[80, 1000]], [[80, 500], [443, 500]], [[443, 1000]]]);
  assert.equal(new Set(objects.map((o) => o.spec.contentHash)).size, 1);
});

test('slices are valid objects of the API', () => {
  const whole = program([service(80, servers(1500)), service(443, [])], {
    mode: 'TUN', sourceAddress: 'Preserve', tunnel: { encapsulation: 'GUE', port: 6080, checksum: 'None' },
    persistence: { timeoutSeconds: 300, ipv4PrefixLength: 24, ipv6PrefixLength: 64, engine: '' }, healthCheck: check, slowStartSeconds: 60,
  });
  for (const object of sliceProgram(whole, source)) {
    const result = parseKind<VirtualServerProgram>('VirtualServerProgram', JSON.parse(JSON.stringify(object)));
    assert.ok(result.ok, result.ok ? '' : result.problems.map(formatProblem).join('\n'));
    assert.deepEqual(result.object.spec, object.spec);
  }
});

const anyService = fc.record({ mark: fc.nat(3), count: fc.oneof(fc.nat(3), fc.constantFrom(0, 999, 1000, 1001), fc.nat(2500)) });
const anyProgram = fc.record({
  services: fc.array(anyService, { maxLength: 5 }), tunnel: fc.boolean(), persistence: fc.boolean(), checked: fc.boolean(), slow: fc.boolean(),
}).map(({ services, tunnel, persistence, checked, slow }) => program(services.map((s, i) => service(80 + i, servers(s.count, i), s.mark)), {
  ...(tunnel ? { mode: 'TUN', tunnel: { encapsulation: 'IPIP', port: 0, checksum: 'None' } } : {}),
  ...(persistence ? { persistence: { timeoutSeconds: 5, ipv4PrefixLength: 32, ipv6PrefixLength: 128, engine: 'sip' } } : {}),
  ...(checked ? { healthCheck: check } : {}), ...(slow ? { slowStartSeconds: 60 } : {}),
}));

test('what is cut and joined, in any order and by way of JSON, is the same program', () => {
  fc.assert(fc.property(anyProgram, fc.nat(), (whole, turn) => {
    const objects = JSON.parse(JSON.stringify(sliceProgram(whole, source))) as VirtualServerProgram[];
    assert.ok(objects.every((o) => sizeOf(o) <= MAX_SLICE_REAL_SERVERS));
    const at = turn % objects.length;
    assert.deepEqual(joined([...objects.slice(at), ...objects.slice(0, at)]), { program: whole, generation: 3, uid: 'uid-1' });
  }), { numRuns: 200 });
});

test('the same program gives the same objects', () => {
  assert.deepEqual(large(), large());
});

test('a set with a gap is no program', () => {
  const objects = large();
  for (const gone of [0, 1, 2]) {
    const problem = problemOf(objects.filter((_, i) => i !== gone));
    assert.equal(problem?.code, 'SlicesMissing');
    assert.match(problem!.message, gone === 0 ? /^slice 0 of the program of tenant-a\/shop/ : new RegExp(`^1 of 3 slices, the first is ${gone},`));
  }
  assert.equal(problemOf([])?.code, 'SlicesMissing');
});

test('slices that are left from a longer program are ignored', () => {
  const old = large();
  const now = sliceProgram(program([service(80, servers(2))], { contentHash: 'h2' }), { ...source, generation: 4 });
  assert.deepEqual(joined([...now, old[1]!, old[2]!]).program.spec.services[0]!.realServers.length, 2);
});

test('while slices are being replaced there is no program, and never a mixed one', () => {
  const old = large();
  const now = sliceProgram(program([service(80, servers(1500)), service(443, servers(1400, 1))], { contentHash: 'h2' }), { ...source, generation: 4 });
  for (let written = 1; written < now.length; written++) {
    assert.equal(problemOf([...now.slice(0, written), ...old.slice(written)])?.code, 'SlicesMissing', `${written} written, slice 0 first`);
    assert.equal(problemOf([...old.slice(0, -written), ...now.slice(-written)])?.code, 'SlicesMissing', `${written} written, slice 0 last`);
  }
  assert.equal(joined(now).generation, 4);
});

test('slices that disagree are no program', () => {
  const [first, second, third] = large() as [VirtualServerProgram, VirtualServerProgram, VirtualServerProgram];
  const other = (o: VirtualServerProgram, spec: Partial<VirtualServerProgram['spec']>): VirtualServerProgram => ({ ...o, spec: { ...o.spec, ...spec } });
  const sets: [string, VirtualServerProgram[]][] = [
    ['two for one place', [first, second, { ...second, metadata: { ...second.metadata, name: 'shop.7' } }, third]],
    ['another count', [first, other(second, { slice: { index: 1, count: 2 } }), third]],
    ['another VirtualServer of that name', [first, other(second, { virtualServer: { name: 'shop', uid: 'uid-2' } }), third]],
    ['another VirtualServer', [first, other(second, { virtualServer: { name: 'media', uid: 'uid-1' } }), third]],
    ['another namespace', [first, { ...second, metadata: { ...second.metadata, namespace: 'tenant-b' } }, third]],
  ];
  for (const [name, set] of sets) assert.equal(problemOf(set)?.code, 'SlicesContradict', name);
});

test('another generation of the same content is the same program', () => {
  const [first, ...rest] = large();
  assert.equal(joined([{ ...first!, spec: { ...first!.spec, generation: 9 } }, ...rest]).generation, 9);
});

test('no slice has the name of the program of another VirtualServer', () => {
  const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
  fc.assert(fc.property(label, label, fc.integer({ min: 0, max: 2047 }), fc.integer({ min: 0, max: 2047 }), (a, b, i, k) => {
    assert.equal(sliceName(a, i) === sliceName(b, k), a === b && i === k);
  }));
});

test('a program of more real servers than can be cut is refused by name', () => {
  const many = servers(32_000);
  const whole = program(Array.from({ length: 65 }, (_, i) => service(i + 1, many)));
  assert.throws(() => sliceProgram(whole, source), /tenant-a\/shop has 2080 slices .* at most 2048/);
});
