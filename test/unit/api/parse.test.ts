/** The table of cases against zod and our rules; defaults; messages; speed. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ALL_KINDS, KINDS, endPortOf, formatProblem, parseKind, parseObject, targetPortOf, type DirectorGroup, type MachineKind, type VIPPool, type VirtualServer } from '../../../src/api/v1alpha1/index.ts';
import { PROBLEM_CODES, type Problem } from '../../../src/api/v1alpha1/problems.ts';
import { canonical, classOf } from '../../../src/ip/ip.ts';
import { CASES, backends, directorGroup, virtualServer, vipPool, type Case } from './cases.ts';
import { STATUS_CASES, virtualIP } from './cases-machines.ts';

function problemsOf(value: unknown): readonly Problem[] {
  const result = parseObject(value);
  return result.ok ? [] : result.problems;
}
function accepted<T>(value: unknown): T {
  const result = parseObject(value);
  assert.ok(result.ok, `refused: ${result.ok ? '' : result.problems.map(formatProblem).join('\n')}`);
  return result.object as T;
}

const kindOf = (c: Case) => c.object['kind'] as keyof typeof ALL_KINDS;
/** As the program reads a kind that people write, and a kind that machines write. */
const parseCase = (c: Case, value: unknown = c.object) => (Object.hasOwn(KINDS, kindOf(c)) ? parseObject(value) : parseKind(kindOf(c) as MachineKind, value));

for (const c of [...CASES, ...STATUS_CASES]) {
  const kind = kindOf(c);
  if (c.refused === undefined) {
    test(`${kind}: accepts ${c.name}`, () => {
      const result = parseCase(c);
      assert.ok(result.ok, `refused: ${result.ok ? '' : result.problems.map(formatProblem).join('\n')}`);
    });
  } else {
    const { code, path } = c.refused;
    test(`${kind}: refuses ${c.name}`, () => {
      const result = parseCase(c);
      const problems = result.ok ? [] : result.problems;
      assert.deepEqual(problems.map((p) => [p.code, p.path])[0], [code, path], problems.map(formatProblem).join('\n') || 'it was accepted');
      assert.equal(problems.length, 1, `one fault, one problem: ${problems.map(formatProblem).join('\n')}`);
      assert.ok(problems[0]!.message.length > 5 && problems[0]!.fix.length > 3, 'message and fix are there');
    });
  }
}

test('every rule is broken by a case of its kind, and every code of the table is used', () => {
  for (const [kind, { rules }] of Object.entries(ALL_KINDS)) {
    const broken = new Set(CASES.filter((c) => c.object['kind'] === kind).map((c) => c.refused?.code));
    for (const rule of rules) assert.ok(broken.has(rule.code), `${kind}: no case breaks ${rule.code}`);
  }
  const header = ['NotAnObject', 'ForeignKind', 'UnknownKind', 'MachineKind', 'UnknownApiVersion'];
  const used = new Set<string>([...CASES.flatMap((c) => (c.refused === undefined ? [] : [c.refused.code])), ...header]);
  assert.deepEqual(Object.keys(PROBLEM_CODES).filter((code) => !used.has(code)), []);
});

test('every rule says it in CEL too, or says why not', () => {
  for (const [kind, { rules }] of Object.entries(ALL_KINDS)) {
    for (const rule of rules) assert.ok(rule.cel.length > 0 || rule.why !== undefined, `${kind} ${rule.code}`);
  }
});

test('messages say what is wrong and what to do', () => {
  const messages: [unknown, string][] = [
    [virtualServer({ mode: 'DR', ports: [{ port: 80, targetPort: 8080 }] }),
      'spec.ports[0].targetPort: 8080 differs from port 80, but mode DR cannot rewrite ports; set targetPort to 80, or use mode NAT'],
    [virtualServer({ backends: backends('010.0.0.1') }),
      'spec.backends[0].static.endpoints[0].address: "010.0.0.1" is not an IP address: a number with a leading zero is octal to some programs and decimal to others; write every number without leading zeros, as 10.0.0.1'],
    [virtualServer({ vip: { addresses: ['2001:DB8::10'] }, backends: backends('2001:db8::15') }),
      'spec.vip.addresses[0]: "2001:DB8::10" is not the canonical form of this address; write 2001:db8::10'],
    [virtualServer({ shceduler: {} }), 'spec.shceduler: there is no field "shceduler"; did you mean scheduler?'],
    [virtualServer({ colour: 'red', vip: {} }), 'spec.colour: there is no field "colour"; remove it; known here: vip, mode, nat, tun, ports, scheduler, persistence, backends, trafficPolicy, connectionLimits, healthCheck, slowStart, drain, suspend'],
    [virtualServer({ backends: [{ serviceRef: { name: 'shop', port: [80] } }] }), 'spec.backends[0].serviceRef.port: a list is not a whole number or a text; write a whole number or a text'],
    [virtualServer({ backends: [{ serviceRef: { name: 'shop' }, nodes: { selector: { matchLabels: { a: 'b' } } } }] }), 'spec.backends[0]: the backend has serviceRef and nodes; it can have one source only; make a backend of each'],
    [virtualIP(), 'VirtualIP is written by the operator in a cluster, not by people; it is left alone; write a VirtualServer'],
    [directorGroup({ failover: { renewSeconds: 4 } }), 'spec.failover.renewSeconds: 4 is more than half of leaseDurationSeconds, which is 6: one lost message would cost the VIPs; set renewSeconds to 3 or less, or leaseDurationSeconds to 8 or more'],
    [virtualServer({ allowedSourceRanges: [] }), 'spec.allowedSourceRanges: this version has no source ranges yet; remove allowedSourceRanges'],
    [virtualServer({ healthCheck: { periodSeconds: 1 } }), 'spec.healthCheck.timeoutSeconds: a check may take 2 s, and the next one begins after 1 s: checks of one real server must not overlap; set timeoutSeconds to 1 or less, or periodSeconds to 2 or more'],
    [virtualServer({ healthCheck: { http: {} } }), 'spec.healthCheck.http: http is only for types HTTP and HTTPS, and the type is TCP; set type to HTTP or HTTPS, or remove http'],
    [virtualServer({ healthCheck: { type: 'HTTP', http: { path: '/a b' } } }),
      'spec.healthCheck.http.path: "/a b" does not begin with \'/\', or holds a space, a control character or something that is not ASCII: it stands in the first line of a request; begin it with \'/\', and write other characters as %20'],
    [virtualServer({ healthCheck: {}, ports: [{ port: 10, endPort: 20 }] }), 'spec.healthCheck.port: with the range 10-20 a packet keeps its port, so the real servers have none that could be checked; add healthCheck.port'],
    [virtualServer({ scheduler: { name: 'wlcc' } }), 'spec.scheduler.name: "wlcc" is not one of rr, wrr, lc, wlc, sh, dh, sed, nq, lblc, lblcr, mh, fo, ovf; did you mean wlc?'],
    [virtualServer({ ports: [{ port: '80' }] }), 'spec.ports[0].port: "80" is not a whole number; write it without quotes: 80'],
    [virtualServer({ tun: null }), 'spec.tun: nothing (null) is not a mapping; give it a value (a mapping), or remove the field'],
    [virtualServer({}, { labels: { 'a/b': 1 } }), 'metadata.labels["a/b"]: 1 is not a text; write it in quotes: "1"'],
    [virtualServer({ ports: [{ port: 70000 }] }), 'spec.ports[0].port: 70000 is above 65535; write a number of at most 65535'],
    [virtualServer({ mode: undefined }), 'spec.mode: mode is required; add it: one of NAT, DR, TUN'],
    [vipPool({ blocks: [{ cidr: '160.0.0.0/3' }] }), 'spec.blocks[0]: the block contains link-local addresses (169.254.0.0 is in 169.254.0.0/16), which can be no VIP; use a block of unicast addresses'],
    [vipPool({}, { namespace: 'x' }), 'metadata.namespace: this kind belongs to no namespace; remove namespace'],
    [{ ...virtualServer(), kind: 'VirtualSever' }, 'kind: ipvs-operator.dev/v1alpha1 has no kind "VirtualSever"; did you mean VirtualServer?'],
    [{ ...virtualServer(), apiVersion: 'ipvs-operator.dev/v1' }, 'apiVersion: "ipvs-operator.dev/v1" is not known for kind VirtualServer; write ipvs-operator.dev/v1alpha1'],
  ];
  for (const [value, expected] of messages) assert.equal(problemsOf(value).map(formatProblem).join('\n'), expected);
});

test('all faults of one object are reported together', () => {
  const problems = problemsOf(virtualServer({ mode: 'DR', nat: {}, ports: [{ port: 80, targetPort: 81 }, { port: 80 }], connectionLimits: { lower: 1 } }));
  assert.deepEqual(problems.map((p) => p.code).sort(), ['ModeMismatch', 'PortOverlap', 'TargetPortFixed', 'ThresholdsInverted']);
});

test('what is no object of ours is told apart', () => {
  const codes: [unknown, string][] = [
    [null, 'NotAnObject'], ['text', 'NotAnObject'], [[virtualServer()], 'NotAnObject'], [{}, 'MissingField'], [{ apiVersion: 1 }, 'WrongType'],
    [{ apiVersion: 'v1' }, 'MissingField'], [{ apiVersion: 'v1', kind: 'ConfigMap' }, 'ForeignKind'], [{ apiVersion: 'apps/v1', kind: 'Deployment' }, 'ForeignKind'],
    [{ apiVersion: 'k8s.nginx.org/v1', kind: 'VirtualServer' }, 'UnknownApiVersion'], [{ apiVersion: 'ipvs-operator.dev/v2', kind: 'Other' }, 'UnknownApiVersion'],
    [{ apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'toString' }, 'UnknownKind'],
    [virtualIP(), 'MachineKind'], [{ apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'IPVSNode' }, 'MachineKind'],
  ];
  for (const [value, code] of codes) assert.deepEqual(problemsOf(value).map((p) => p.code), [code], JSON.stringify(value));
});

test('a refused object still says who it is', () => {
  const identity = (value: unknown) => { const r = parseObject(value); assert.ok(!r.ok); return r.identity.key; };
  assert.equal(identity(virtualServer({ mode: 'X' })), 'VirtualServer/tenant-a/shop');
  assert.equal(identity(virtualServer({ mode: 'X' }, { namespace: undefined })), 'VirtualServer/default/shop');
  assert.equal(identity(vipPool({ blocks: 7 })), 'VIPPool/public');
  assert.equal(identity(virtualServer({}, { name: undefined })), null);
});

test('defaults are applied, and what the server set is dropped', () => {
  const vs = accepted<VirtualServer>({ ...virtualServer({}, { namespace: undefined, uid: 'x', labels: { a: 'b' } }), status: {} });
  assert.deepEqual(vs, {
    apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'VirtualServer', metadata: { name: 'shop', namespace: 'default', labels: { a: 'b' } },
    spec: {
      mode: 'NAT', ports: [{ port: 80, protocol: 'TCP' }], scheduler: { name: 'wrr', fallback: false, portAware: false, onePacket: false },
      backends: [{ weight: 1, static: { endpoints: [{ address: '192.168.20.15' }, { address: '192.168.20.16' }] } }],
      connectionLimits: { upper: 0, lower: 0 }, trafficPolicy: 'Cluster', drain: { timeoutSeconds: 300 }, suspend: false,
    },
  });
  const { healthCheck, slowStart } = accepted<VirtualServer>(virtualServer({ healthCheck: { type: 'HTTP', http: {} }, slowStart: {} })).spec;
  assert.deepEqual([healthCheck, slowStart], [{
    type: 'HTTP', path: 'Direct', periodSeconds: 5, timeoutSeconds: 2, riseCount: 2, fallCount: 3, onFailure: 'Quiesce', panicThresholdPercent: 0,
    http: { path: '/', host: '', expectedStatuses: [200], caBundle: '' },
  }, { windowSeconds: 0 }]);
  assert.equal(targetPortOf(vs.spec.ports[0]!), 80);
  assert.equal(endPortOf(vs.spec.ports[0]!), 80);
  assert.deepEqual(accepted<VIPPool>({ ...vipPool(), spec: { blocks: [{ cidr: '203.0.113.0/28' }] } }).spec, {
    blocks: [{ cidr: '203.0.113.0/28' }], excluded: [], allocateFirstLast: false, autoAssign: true, default: false,
    allowedNamespaces: { all: false }, allowStaticBackendCIDRs: [], disabled: false,
  });
  const { spec: _, ...bare } = directorGroup();
  assert.deepEqual(accepted<DirectorGroup>(bare).spec, { interface: { match: 'SubnetOf' }, failover: { leaseDurationSeconds: 6, renewSeconds: 2 }, connectionSync: { enabled: false, syncId: 51 } });
  assert.deepEqual(accepted<DirectorGroup>(directorGroup({ timeouts: { tcpSeconds: 1800 } })).spec.timeouts, { tcpSeconds: 1800, tcpFinSeconds: 120, udpSeconds: 300 });
});

test('parsing what parsing returned changes nothing', () => {
  for (const c of CASES.filter((c) => c.refused === undefined)) {
    const once = parseCase(c);
    const twice = parseCase(c, once.ok ? once.object : null);
    assert.deepEqual(once.ok && twice.ok && twice.object, once.ok && once.object, c.name);
  }
});

/** Texts near the border of what is an address. */
const addressLike = fc.oneof(
  fc.ipV4(), fc.ipV6(), fc.string({ maxLength: 45 }),
  fc.array(fc.constantFrom('0', '1', 'db8', '2001', 'fd00', '00ff', 'ABC', 'fe80', 'ff02', ''), { minLength: 2, maxLength: 9 }).map((g) => g.join(':')),
  fc.array(fc.integer({ min: 0, max: 260 }), { minLength: 3, maxLength: 5 }).map((n) => n.join('.')),
);

test('an accepted address is canonical and unicast, and no canonical unicast address is refused', () => {
  fc.assert(fc.property(addressLike, (text) => {
    const good = canonical(text) === text && classOf(text) === 'unicast';
    assert.equal(problemsOf(virtualServer({ backends: backends(text) })).length === 0, good, text);
    assert.equal(problemsOf(virtualServer({ mode: 'TUN', vip: { addresses: [text] } })).length === 0, good || text === '192.168.20.15', text);
  }), { numRuns: 2000 });
});

test('whatever is given, parsing does not throw and names at least one problem', () => {
  const anything = fc.oneof(
    fc.anything(),
    fc.record({ apiVersion: fc.constant('ipvs-operator.dev/v1alpha1'), kind: fc.constantFrom('VirtualServer', 'VIPPool', 'DirectorGroup'), metadata: fc.anything(), spec: fc.anything() }),
    fc.dictionary(fc.constantFrom('vip', 'mode', 'ports', 'backends', 'scheduler', 'persistence', 'tun', '__proto__', 'x'), fc.anything()).map((spec) => virtualServer(spec)),
  );
  fc.assert(fc.property(anything, (value) => {
    const result = parseObject(value);
    assert.ok(result.ok || result.problems.length > 0);
  }), { numRuns: 1000 });
});

test('5,000 VirtualServers with 10 real servers each are parsed in well under a second', (t) => {
  const objects = Array.from({ length: 5_000 }, (_, i) => virtualServer(
    { vip: { addresses: [`10.1.${i >> 8}.${i & 255}`] }, backends: backends(...Array.from({ length: 10 }, (_, k) => `10.2.${i >> 8}.${(i + k) & 255}`)) }, { name: `s${i}` }));
  // CPU time, because other tests may run at the same time.
  const start = process.threadCpuUsage();
  for (const o of objects) assert.ok(parseObject(o).ok);
  const took = process.threadCpuUsage(start).user / 1000;
  t.diagnostic(`took ${Math.round(took)} ms`);
  assert.ok(took < 750, `took ${Math.round(took)} ms`);
});
