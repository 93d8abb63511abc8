/** `ipvs-operator explain`: a table of broken worlds and where each stops; what is read and what is not; the words and the exit codes. */
import { describe, it, test } from 'node:test';
import assert from 'node:assert/strict';
import { MAX_APPLIED } from '../../../src/api/v1alpha1/index.ts';
import { caseOf } from '../../../src/cli/explain-case.ts';
import { valueOf, type Facts } from '../../../src/cli/explain-facts.ts';
import { exitOf, explainCommand, readTarget, systemNamespace } from '../../../src/cli/explain.ts';
import { explain } from '../../../src/cli/explain-judge.ts';
import { seeLeases } from '../../../src/cli/explain-leases.ts';
import { readFacts } from '../../../src/cli/explain-read.ts';
import { STEPS, type StepName } from '../../../src/cli/explain-step.ts';
import { conclusion, explanationText } from '../../../src/cli/explain-text.ts';
import { EXPLAIN_USAGE } from '../../../src/cli/usages.ts';
import { ApiError } from '../../../src/kube/errors.ts';
import type { Lease } from '../../../src/kube/lease.ts';
import { UsageError } from '../../../src/usage.ts';
import { BROKEN, dr, noServers, refused } from './explain-broken.ts';
import { clientOf, clock, condition, factsOf, healthy, HASH, NOW, unread, type World } from './explain-world.ts';
import { run } from './program.ts';

describe('a broken world stops', () => {
  for (const { what, world, step, about, served = false, text, fix } of BROKEN) {
    it(`at ${step}: ${what}`, () => {
      const w = healthy();
      world(w);
      const e = explain(factsOf(w));
      const shown = explanationText(e);
      assert.equal(e.stopsAt?.step, step, shown);
      if (about !== undefined) assert.equal(e.stopsAt.about, about, shown);
      assert.equal(e.served, served, shown);
      assert.match(e.stopsAt.text, text, shown);
      assert.match(e.stopsAt.fix, fix, shown);
      assert.ok(shown.trimEnd().split('\n').at(-1)!.endsWith(`Run: ${e.stopsAt.fix}`), 'the last line says what to run');
    });
  }

  it('at every step that there is', () => {
    assert.deepEqual(Object.keys(STEPS).filter((s) => !BROKEN.some((b) => b.step === s)), ['reading'], 'reading is a matter of the next table');
  });
});

test('a healthy world is served, step by step, and says so', () => {
  const e = explain(factsOf(healthy()));
  assert.equal(e.served, true);
  assert.equal(e.stopsAt, null);
  assert.equal(explanationText(e), `VirtualServer tenant-a/shop

  ok     spec                          valid: NAT, 80/TCP, scheduler wrr
  ok     controller                    has looked at generation 3; ctl-1 leads
  ok     accepted                      namespace tenant-a has 203.0.113.10 from VIPPool public for shop
  ok     backend Service tenant-a/web  2 of 3 endpoints ready, 1 terminating, in 1 EndpointSlice
  ok     address 203.0.113.10          claimed; edge-1 holds it since 2026-01-01T00:00:00Z (3 h) and is live
  ok     program                       0123456789abcdef for DirectorGroup edge: 2 real servers
  ok     director edge-1               live, runs 0123456789abcdef and holds 203.0.113.10
  ok     director edge-2               live, runs 0123456789abcdef
  ok     realServers                   2 of 2 take new connections
  ok     ready                         the controller says that clients are served

Served.
`);
});

test('a healthy world of nodes in mode DR is served', () => {
  const w = healthy();
  dr(w);
  const e = explain(factsOf(w));
  assert.deepEqual(e.steps.filter((s) => s.ok !== true), []);
  assert.deepEqual(e.steps.filter((s) => s.step === 'node').map((s) => [s.about, s.text]), [['node-1', 'receives for 203.0.113.10']]);
});

const PROGRAMS = unread('forbidden', 'list virtualserverprograms.ipvs-operator.dev -n tenant-a');
const NODES = unread('forbidden', 'list ipvsnodes.ipvs-operator.dev');
const LEASES = unread('forbidden', 'list leases.coordination.k8s.io -n ipvs-system');
const VIPS = unread('forbidden', 'get virtualips.ipvs-operator.dev/203.0.113.10');
const SERVICES = unread('forbidden', 'get services/web -n tenant-a');

/** What may not be read, what that leaves of the verdict, and the step that names the permission. */
const BLIND: readonly [what: string, world: (w: World) => void, served: boolean | null, step: StepName, permission: RegExp][] = [
  ['Leases', (w) => { w.unread.leases = LEASES; }, null, 'address', /list leases.coordination.k8s.io -n ipvs-system/],
  ['IPVSNodes', (w) => { w.unread.ipvsNodes = NODES; }, null, 'director', /list ipvsnodes.ipvs-operator.dev/],
  ['VirtualIPs', (w) => { w.unread.vips = VIPS; }, null, 'address', /get virtualips.ipvs-operator.dev\/203.0.113.10; the controller says that edge-1 holds it/],
  ['programs', (w) => { w.unread.programs = PROGRAMS; }, null, 'program', /list virtualserverprograms.ipvs-operator.dev -n tenant-a/],
  ['the VirtualServer', (w) => { w.unread.server = unread('forbidden', 'get virtualservers.ipvs-operator.dev/shop -n tenant-a'); }, null, 'spec', /get virtualservers/],
  ['Services, which the program makes up for', (w) => { w.unread.services = SERVICES; }, true, 'backend', /get services\/web -n tenant-a/],
  ['Services, when there are no real servers either', (w) => { w.unread.services = SERVICES; noServers(w); }, false, 'backend', /get services\/web/],
  ['IPVSNodes, of nodes in DR', (w) => { dr(w); w.unread.ipvsNodes = NODES; }, null, 'node', /list ipvsnodes/],
  ['Leases, when the owner runs nothing', (w) => { w.unread.leases = LEASES; w.ipvsNodes['edge-1']!.status!.applied = []; }, false, 'address', /list leases/],
];

describe('what may not be read', () => {
  for (const [what, world, served, step, permission] of BLIND) {
    it(`is named, and the rest is looked at: ${what}`, () => {
      const w = healthy();
      world(w);
      const e = explain(factsOf(w));
      const blind = e.steps.find((s) => s.step === step && s.ok === null);
      assert.match(blind?.text ?? '', permission, explanationText(e));
      assert.match(blind!.fix, /^kubectl auth can-i (get|list) /);
      assert.equal(e.served, served, explanationText(e));
      assert.ok(e.steps.length > 5, 'it went on');
    });
  }

  it('leaves the word of the controller: yes is said and proves nothing, no is a no', () => {
    const w = healthy();
    w.unread.ipvsNodes = NODES;
    const open = explain(factsOf(w));
    assert.match(conclusion(open), /^Cannot tell whether it is served: director: .*list ipvsnodes.*\(the controller says that it is\)\. Run: kubectl auth can-i/);
    w.server.status.conditions = [condition('Accepted', 'True', 'Accepted', ''), condition('Ready', 'False', 'NotProgrammed', 'edge-1: no scheduler mh')];
    const closed = explain(factsOf(w));
    assert.equal(closed.served, false);
    assert.match(conclusion(closed), /^Not served: it stops at ready: the controller says NotProgrammed: edge-1: no scheduler mh\. Run: kubectl -n tenant-a describe ivs shop$/);
  });

  it('does not count when the director only names some of its programs', () => {
    const w = healthy();
    w.ipvsNodes['edge-1']!.status = { ...w.ipvsNodes['edge-1']!.status, applied: Array.from({ length: MAX_APPLIED }, (_, i) => `a/s${i}|c`), programs: { applied: 5001, failed: 0, digest: '' } };
    const e = explain(factsOf(w));
    assert.equal(e.served, null);
    assert.match(e.stopsAt!.text, /names only 5000 of its 5001 programs/);
  });
});

test('a weight that the label of a node changed is shown with the written one', () => {
  const w = healthy();
  w.server.spec['backends'] = [{ weight: 100, serviceRef: { name: 'web' } }];
  w.programs[0]!.spec.services[0]!.realServers = ['10.1.0.1|8080|50|node-1', '10.1.0.2|8080|100|node-2'];
  const e = explain(factsOf(w));
  const step = e.steps.find((s) => s.step === 'weights');
  assert.equal(step?.text, 'by the label ipvs-operator.dev/weight of their nodes (percent), 1 real server: 10.1.0.1 on node-1 has 50 instead of 100');
  assert.deepEqual([step.ok, e.served, e.stopsAt], [true, true, null]);
  w.server.metadata.generation = 4;
  assert.equal(explain(factsOf(w)).steps.some((s) => s.step === 'weights'), false, 'the program may be that of an older spec, with other weights');
});

test('a weight that the annotation of a Pod changed is shown with the Pod', () => {
  const w = healthy();
  w.server.spec['backends'] = [{ weight: 100, serviceRef: { name: 'web', podWeights: 'Annotation' } }];
  w.slices['tenant-a/web']![0]!.endpoints = w.slices['tenant-a/web']![0]!.endpoints!.map((e, i) => ({ ...e, targetRef: { kind: 'Pod', name: `web-${i}` } }));
  w.programs[0]!.spec.services[0]!.realServers = ['10.1.0.1|8080|50|node-1', '10.1.0.2|8080|100|node-2'];
  const step = explain(factsOf(w)).steps.find((s) => s.step === 'weights');
  assert.equal(step?.text, 'by the label ipvs-operator.dev/weight of their nodes and the annotation of their Pods (percent), 1 real server: 10.1.0.1 on node-1 (Pod tenant-a/web-0) has 50 instead of 100');
});

test('real servers that are down are not counted among those that take connections', () => {
  const w = healthy();
  w.ipvsNodes['edge-1']!.status!.backends = [{ virtualServer: 'tenant-a/shop', unhealthy: 1, ignored: 0, draining: 1, message: 'x' }];
  const said = () => explain(factsOf(w)).steps.filter((s) => s.step === 'realServers').map((s) => s.text);
  assert.deepEqual(said(), ['1 of 2 take new connections']);
  w.ipvsNodes['edge-1']!.status!.backends = [{ virtualServer: 'tenant-a/shop', unhealthy: 2, ignored: 0, draining: 0, message: 'x' }];
  assert.deepEqual(said(), [], 'none does, and the step about health says so');
  w.ipvsNodes['edge-1']!.status!.backends = [{ virtualServer: 'tenant-a/shop', unhealthy: 0, ignored: 0, draining: 1, message: 'x' }];
  assert.deepEqual([said(), explain(factsOf(w)).stopsAt], [['2 of 2 take new connections'], null], 'one that drains is not in the program any more');
});

test('an address that a stranger has is one step, not two', () => {
  const w = healthy();
  w.vips['203.0.113.10']!.status = { activeNode: '', conditions: [condition('Owned', 'False', 'AddressInUse', 'x'), condition('DuplicateAddress', 'True', 'ForeignHost', 'x')] };
  assert.equal(explain(factsOf(w)).steps.filter((s) => s.step === 'address').length, 1);
});

test('texts that others wrote stay on one line', () => {
  const w = healthy();
  refused('PoolNotFound', 'a\nb\u001b[2Jc')(w);
  const text = explanationText(explain(factsOf(w)));
  assert.ok(!text.includes('\u001b') && text.includes('a b [2Jc'), text);
});

test('the exit code is 0, 1 or 2', () => {
  const e = explain(factsOf(healthy()));
  assert.deepEqual([true, false, null].map((served) => exitOf({ ...e, served })), [0, 1, 2]);
});

describe('reading', () => {
  const asked = { namespace: 'tenant-a', name: 'shop', systemNamespace: 'ipvs-system' };

  it('a healthy cluster gives the facts of a healthy world', async () => {
    const facts = await readFacts(clientOf(healthy()), asked, clock());
    const e = explain(facts);
    assert.deepEqual(e.steps.filter((s) => s.ok !== true), [], explanationText(e));
    assert.deepEqual(e, explain(factsOf(healthy())));
  });

  it('reads only what this VirtualServer touches', async () => {
    const client = clientOf(healthy());
    await readFacts(client, asked, clock());
    assert.deepEqual(client.requests.sort(), [
      'get directorgroups edge', 'get services tenant-a/web', 'get virtualips 203.0.113.10', 'get virtualservers tenant-a/shop', 'list endpointslices tenant-a', 'list ipvsnodes',
      'list leases ipvs-system', 'list virtualserverprograms tenant-a',
    ]);
  });

  it('tells a missing object from a missing kind, and names what is forbidden', async () => {
    const gone = await readFacts(clientOf({ ...healthy(), absent: true }), asked, clock());
    assert.deepEqual(gone.server, { value: null });
    const bare = await readFacts(clientOf(healthy(), { virtualservers: 'NOT_FOUND' }), asked, clock());
    assert.equal('unread' in bare.server && bare.server.unread.why, 'noKind');
    const client = clientOf(healthy(), { ipvsnodes: 'FORBIDDEN', virtualserverprograms: 'NOT_FOUND', leases: 'SERVER_ERROR' });
    const { ipvsNodes, programs, leases } = await readFacts(client, asked, clock());
    assert.deepEqual('unread' in ipvsNodes && [ipvsNodes.unread.why, ipvsNodes.unread.permission], ['forbidden', 'list ipvsnodes.ipvs-operator.dev']);
    assert.deepEqual('unread' in programs && [programs.unread.why, programs.unread.permission], ['noKind', 'list virtualserverprograms.ipvs-operator.dev -n tenant-a']);
    assert.deepEqual('unread' in leases && [leases.unread.why, leases.unread.permission], ['failed', 'list leases.coordination.k8s.io -n ipvs-system']);
  });

  it('fails when the server answers nobody', async () => {
    for (const code of ['UNAUTHORIZED', 'UNREACHABLE'] as const) {
      await assert.rejects(readFacts(clientOf(healthy(), { virtualservers: code }), asked, clock()), (e) => e instanceof ApiError && e.code === code);
    }
  });

  it('names an object that breaks its schema, and goes on without it', async () => {
    const w = healthy();
    (w.ipvsNodes['edge-2'] as { spec: unknown }).spec = { directorGroups: 'edge' };
    const e = explain(await readFacts(clientOf(w), asked, clock()));
    assert.equal(e.served, true);
    assert.match(e.steps.find((s) => s.step === 'reading')!.text, /IPVSNode\/edge-2: spec\.directorGroups/);
  });

  it('finds Endpoints where there are no slices, and grants in other namespaces', async () => {
    const w = healthy();
    w.slices = {};
    w.endpoints = { 'tenant-a/web': { apiVersion: 'v1', kind: 'Endpoints', metadata: { name: 'web', namespace: 'tenant-a' }, subsets: [{ addresses: [{ ip: '10.1.0.1' }], notReadyAddresses: [{ ip: '10.1.0.2' }], ports: [{ name: 'http', port: 8080 }] }] } };
    const own = explain(await readFacts(clientOf(w), asked, clock()));
    assert.match(own.steps.find((s) => s.step === 'backend')!.text, /1 of 2 endpoints ready, in an Endpoints object/);
    const other = healthy();
    other.server.spec['backends'] = [{ serviceRef: { name: 'web', namespace: 'tenant-b' } }];
    other.services = { 'tenant-b/web': { ...other.services['tenant-a/web']!, metadata: { name: 'web', namespace: 'tenant-b' } } };
    other.slices = { 'tenant-b/web': other.slices['tenant-a/web']! };
    other.grants = [{ apiVersion: 'gateway.networking.k8s.io/v1beta1', kind: 'ReferenceGrant', metadata: { name: 'g', namespace: 'tenant-b' }, spec: { from: [{ group: 'ipvs-operator.dev', kind: 'VirtualServer', namespace: 'tenant-a' }], to: [{ group: '', kind: 'Service' }] } }];
    const granted = explain(await readFacts(clientOf(other), asked, clock()));
    assert.deepEqual(granted.steps.filter((s) => s.step === 'backend').map((s) => [s.about, s.ok]), [['Service tenant-b/web', true]]);
  });
});

describe('a Lease', () => {
  const at = (seconds: number, more: object = {}): Lease => ({
    apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'l', namespace: 'ipvs-system' },
    spec: { holderIdentity: 'edge-1', leaseDurationSeconds: 6, renewTime: new Date(NOW + seconds * 1000).toISOString(), ...more },
  });
  const CASES: readonly [what: string, first: Lease, later: Lease, live: boolean, waits: boolean][] = [
    ['renewed a second ago is live at once', at(-1), at(-1), true, false],
    ['that ran out is dead, when nobody renews it', at(-60), at(-60), false, true],
    ['that ran out by our clock and is renewed all the same is live', at(-60), at(-58), true, true],
    ['from the future is live when it is renewed', at(40), at(42), true, true],
    ['from the future is dead when it is not', at(40), at(40), false, true],
    ['without a holder is nobody\'s, at once', at(-1, { holderIdentity: '' }), at(-1, { holderIdentity: '' }), false, false],
    ['without a time is dead, when nobody renews it', at(0, { renewTime: undefined }), at(0, { renewTime: undefined }), false, true],
    ['that was given back while we looked is nobody\'s', at(-60), at(-1, { holderIdentity: '' }), false, true],
  ];
  for (const [what, first, later, live, waits] of CASES) {
    it(what, async () => {
      const c = clock();
      const seen = await seeLeases([first], () => Promise.resolve([later]), () => true, c);
      assert.equal(seen.get('l')!.live, live);
      assert.equal(c.slept > 0, waits);
      assert.ok(c.slept <= 6_000, `waited ${c.slept} ms for a Lease of 6 s`);
      assert.deepEqual(c.told, waits ? [['l', 6]] : []);
    });
  }

  it('of nobody that concerns us is not waited for', async () => {
    const c = clock();
    assert.equal((await seeLeases([at(-60)], () => Promise.reject(new Error('not asked')), () => false, c)).get('l')!.live, false);
    assert.equal(c.slept, 0);
  });
});

describe('the command line', () => {
  it('takes NAMESPACE/NAME, or a NAME', () => {
    assert.deepEqual(readTarget(['a/b'], undefined), { namespace: 'a', name: 'b' });
    assert.deepEqual(readTarget(['b'], 'a'), { namespace: 'a', name: 'b' });
    assert.deepEqual(readTarget(['b'], undefined), { namespace: undefined, name: 'b' });
    for (const [positionals, namespace] of [[[], undefined], [['a', 'b'], undefined], [['a/b/c'], undefined], [['/b'], undefined], [['a/'], undefined], [['a/b'], 'c']] as const) {
      assert.throws(() => readTarget(positionals, namespace), UsageError, positionals.join(' '));
    }
  });

  it('looks for the operator where it is told, else in the namespace of its pod, which a controller may have anywhere', () => {
    assert.equal(systemNamespace('told', { POD_NAMESPACE: 'elsewhere' }), 'told');
    assert.equal(systemNamespace(undefined, { POD_NAMESPACE: 'elsewhere' }), 'elsewhere');
    assert.deepEqual([systemNamespace(undefined, {}), systemNamespace(undefined, { POD_NAMESPACE: '' })], ['ipvs-system', 'ipvs-system']);
  });

  it('says what it is for, what is wrong with an option, and that it cannot tell without a server', async () => {
    assert.match(EXPLAIN_USAGE, /Exit code: 0 clients are served, 1 they are not, 2 it cannot be told/);
    const never = new AbortController().signal;
    await assert.rejects(explainCommand([], never), { code: 'USAGE' });
    await assert.rejects(explainCommand(['a/b', '-o', 'yaml'], never), { code: 'USAGE', message: /-o yaml/ });
    const lost = run(['explain', 'a/b', '--kubeconfig', '/nowhere']);
    assert.equal(lost.code, 2);
    assert.match(lost.stderr, /^ipvs-operator explain: KUBECONFIG_INVALID: /);
  });
});

test('the facts of the healthy world are those of a real program: nothing in it is invented', () => {
  const facts: Facts = factsOf(healthy());
  const c = caseOf(facts);
  assert.equal(c.problems.length, 0);
  assert.equal(c.program?.program.spec.contentHash, HASH);
  assert.equal(valueOf(facts.ipvsNodes)?.length, 2);
});
