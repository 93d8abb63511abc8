/**
 * What a VirtualServer's status says: every condition and reason by a case, with a message that says what to do; when something is no
 * news; what an object that no schema accepts is told.
 */
import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { CONDITIONS, type ServerObjects, type VirtualServerStatus } from '../../../../src/api/v1alpha1/index.ts';
import { readShape } from '../../../../src/api/shape.ts';
import { STATUS_SHAPES } from '../../../../src/api/shapes.generated.ts';
import type { Program } from '../../../../src/api/v1alpha1/program.ts';
import type { Verdict } from '../../../../src/controller/compile/compile.ts';
import { flips, invalidStatus, virtualServerStatus, type DirectorReport, type Holder, type ServerStatusInput } from '../../../../src/controller/status/virtualserver.ts';
import { compile, endpoints, group, pin, ports, server } from '../compile/setup.ts';

const NOW = '2026-05-01T12:00:00Z';
const VIP = '203.0.113.1';

const compiled = (spec: Record<string, unknown> = {}, groups = [group('edge')]) => compile({ servers: [server('shop', { ...pin(VIP), ...spec })], groups }).verdicts['default/shop']!;
const SERVED = compiled(endpoints('10.0.0.1', '10.0.0.2'));
const PROGRAM = SERVED.program!;
const HASH = PROGRAM.spec.contentHash;

const shop = (spec: Record<string, unknown> = {}, status?: VirtualServerStatus, generation = 3): ServerObjects['VirtualServer'] =>
  ({ ...server('shop', { ...pin(VIP), ...spec }), metadata: { name: 'shop', namespace: 'default', uid: 'u', resourceVersion: '7', generation }, ...(status === undefined ? {} : { status }) });

/** `hash` '': it runs nothing. */
const runs = (node: string, hash = HASH): DirectorReport => ({ node, live: true, hash: hash === '' ? undefined : hash });
const fails = (node: string, code: string, message = `${code} here`): DirectorReport => ({ node, live: true, failure: { code, message } });
const held = (node = 'e1', more: Partial<Holder> = {}): ReadonlyMap<string, Holder> => new Map([[VIP, { node, live: true, duplicate: '', why: '', ...more }]]);
const refused = (reason: string, message = `${reason}: do something`): Verdict => ({ ...SERVED, accepted: false, reason, message, addresses: [], pool: '', group: '', backends: 0, program: null });

function statusOf(input: Partial<ServerStatusInput> = {}): VirtualServerStatus {
  const status = virtualServerStatus({ server: shop(), verdict: SERVED, program: PROGRAM, unwritten: '', refused: '', directors: [runs('e1'), runs('e2')], holders: held(), settling: false, now: NOW, ...input });
  assert.deepEqual(readShape(STATUS_SHAPES.VirtualServer, status).problems, [], 'the CRD takes it');
  return status;
}

/** `True Ready` by type. */
const said = (s: VirtualServerStatus): Record<string, string> => Object.fromEntries((s.conditions ?? []).map((c) => [c.type, `${c.status} ${c.reason}`]));
const messageOf = (s: VirtualServerStatus, type: string): string => s.conditions?.find((c) => c.type === type)?.message ?? '';

interface Case { name: string; input: Partial<ServerStatusInput>; says: Record<string, string>; message?: readonly [type: string, pattern: RegExp] }

const withProblem = (reason: 'ServiceNotFound' | 'PortNotFound' | 'RefNotPermitted'): Verdict => ({ ...SERVED, problems: [{ reason, message: `${reason}: create it` }] });
const allExcluded = (reason: 'EndpointNotPermitted' | 'UnsupportedBackendForMode' | 'PortRemapInDR'): Verdict => ({ ...SERVED, backends: 0, excludedCount: 2, excluded: [{ backend: '10.9.9.9', reason, message: `${reason}: choose another` }] });
const EMPTY: Program = { ...PROGRAM, spec: { ...PROGRAM.spec, services: PROGRAM.spec.services.map((s) => ({ ...s, realServers: [] })) } };
const SUSPENDED = compiled({ suspend: true });
const THREE_PORTS = compiled({ ...ports(80, [3000, 3010], { port: 53, protocol: 'UDP' }) });

const CASES: Case[] = [
  { name: 'all is well', input: {}, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'True Ready' } },
  ...['PoolNotFound', 'NamespaceNotAllowed', 'AddressOutsidePools', 'AddressReserved', 'AddressInUse', 'PoolExhausted', 'PortConflict'].map((reason): Case => ({
    name: `refused: ${reason}`, input: { verdict: refused(reason), program: null, holders: new Map(), directors: [] },
    says: { Accepted: `False ${reason}`, ResolvedRefs: 'True ResolvedRefs', Programmed: 'False Pending', Ready: 'False NotAccepted', Stalled: 'True AddressUnavailable' }, message: ['Ready', new RegExp(`${reason}: do something`)],
  })),
  { name: 'refused: it contradicts itself', input: { verdict: refused('InvalidSpec'), program: null, directors: [] }, says: { Accepted: 'False InvalidSpec', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False Pending', Ready: 'False NotAccepted', Stalled: 'True InvalidSpec' } },
  { name: 'refused for a reason that the API does not know', input: { verdict: refused('Whatever'), program: null }, says: { Accepted: 'False InvalidSpec', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False Pending', Ready: 'False NotAccepted', Stalled: 'True InvalidSpec' } },
  { name: 'waiting for its group: nobody has to be told to act', input: { verdict: refused('Pending', 'DirectorGroup edge does not exist; create it'), program: null }, says: { Accepted: 'False Pending', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False Pending', Ready: 'False NotAccepted' } },
  {
    name: 'the claim is not written yet', input: { unwritten: '203.0.113.1 is not claimed yet: conflict' },
    says: { Accepted: 'Unknown Pending', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'False NotAccepted' }, message: ['Accepted', /not claimed yet/],
  },
  {
    name: 'suspended', input: { verdict: SUSPENDED, program: null, server: shop({ suspend: true }), directors: [] },
    says: { Accepted: 'False Suspended', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False Suspended', Ready: 'False Suspended' }, message: ['Ready', /spec\.suspend is true/],
  },
  { name: 'refused and served on in its last form', input: { verdict: { ...refused('AddressOutsidePools'), addresses: [VIP] } }, says: { Accepted: 'False AddressOutsidePools', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'False NotAccepted', Stalled: 'True AddressUnavailable', Degraded: 'True UsingLastGood' } },
  ...(['ServiceNotFound', 'PortNotFound', 'RefNotPermitted'] as const).map((reason): Case => ({
    name: `a reference leads nowhere: ${reason}`, input: { verdict: withProblem(reason) }, says: { Accepted: 'True Accepted', ResolvedRefs: `False ${reason}`, Programmed: 'True Programmed', Ready: 'True Ready' }, message: ['ResolvedRefs', /create it/],
  })),
  {
    name: 'a reference leads nowhere and nothing else serves', input: { verdict: { ...withProblem('ServiceNotFound'), backends: 0 }, program: EMPTY, directors: [runs('e1', EMPTY.spec.contentHash)] },
    says: { Accepted: 'True Accepted', ResolvedRefs: 'False ServiceNotFound', Programmed: 'True Programmed', Ready: 'False NoReadyBackends' }, message: ['Ready', /ServiceNotFound: create it/],
  },
  ...(['EndpointNotPermitted', 'UnsupportedBackendForMode', 'PortRemapInDR'] as const).map((reason): Case => ({
    name: `no real server can be used: ${reason}`, input: { verdict: allExcluded(reason), program: EMPTY },
    says: { Accepted: 'True Accepted', ResolvedRefs: `False ${reason === 'PortRemapInDR' ? 'UnsupportedBackendForMode' : reason}`, Programmed: 'True Programmed', Ready: 'False NoReadyBackends', Degraded: 'True EndpointsExcluded' },
    message: ['ResolvedRefs', /none of 2 real servers can be used: .*choose another/],
  })),
  {
    name: 'some real servers cannot be used', input: { verdict: { ...allExcluded('EndpointNotPermitted'), backends: 2 } },
    says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'True Ready', Degraded: 'True EndpointsExcluded' }, message: ['Degraded', /2 of its real servers cannot be used; status\.excluded names them/],
  },
  {
    name: 'some of its ports have nobody who serves', input: { program: { ...THREE_PORTS.program!, spec: { ...THREE_PORTS.program!.spec, services: THREE_PORTS.program!.spec.services.map((s, i) => ({ ...s, realServers: i === 0 ? s.realServers : i === 1 ? [] : ['10.0.0.1|53|0|'] })) } }, directors: [runs('e1', THREE_PORTS.program!.spec.contentHash)] },
    says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'True Ready', Degraded: 'True PortsUnserved' }, message: ['Degraded', /nobody serves 3000-3010\/TCP, 53\/UDP: no real server/],
  },
  {
    name: 'labels of nodes are no weights', input: { verdict: { ...SERVED, badWeights: ['n6', 'n5', 'n4', 'n3', 'n2', 'n1'].map((n) => ({ kind: 'Node' as const, name: n, text: 'heavy' })) } },
    says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'True Ready', Degraded: 'True InvalidNodeWeight' },
    message: ['Degraded', /label ipvs-operator\.dev\/weight of node n1 \("heavy"\), n2 .*, n5 \("heavy"\) and 1 more is no whole number from 0 to 65535, and does not count/],
  },
  {
    name: 'annotations of Pods are no weights', input: { verdict: { ...SERVED, badWeights: [{ kind: 'Pod', name: 'default/web-1', text: '1.5' }], podsUnknown: true } },
    says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'True Ready', Degraded: 'True InvalidPodWeight' }, message: ['Degraded', /annotation ipvs-operator\.dev\/weight of Pod default\/web-1 \("1\.5"\) is no whole number/],
  },
  {
    name: 'Pods cannot be read', input: { verdict: { ...SERVED, podsUnknown: true } },
    says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'True Ready', Degraded: 'True PodsUnknown' }, message: ['Degraded', /cannot list Pods \(chart: rbac\.readPods\)/],
  },
  { name: 'every real server has weight 0', input: { program: compiled({ ...endpoints({ address: '10.0.0.1', weight: 0 }) }).program!, directors: [runs('e1', compiled({ ...endpoints({ address: '10.0.0.1', weight: 0 }) }).program!.spec.contentHash)] }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'False NoReadyBackends' }, message: ['Ready', /weight above 0/] },
  ...([
    [{ backends: [{ serviceRef: { name: 'web' } }, { serviceRef: { name: 'web', port: 'http' } }] }, /refused: Service default\/web has no endpoint that is ready for this: look at its Pods.*selector$/],
    [{ backends: [{ nodes: { selector: { matchLabels: { role: 'web', zone: 'a' } } } }, { static: { endpoints: [] } }] }, /refused: no node has the labels role=web,zone=a; a static backend has no endpoints$/],
  ] as const).map(([spec, message]): Case => ({
    name: `there is no real server: ${message.source.slice(9, 30)}`, input: { server: shop(spec), program: EMPTY, directors: [runs('e1', EMPTY.spec.contentHash)] },
    says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'False NoReadyBackends' }, message: ['Ready', message],
  })),
  { name: 'nodes do not receive yet', input: { verdict: { ...SERVED, waiting: ['n1', 'n2', 'n3', 'n4', 'n5', 'n6'] }, program: EMPTY }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'False NoReadyBackends' }, message: ['Ready', /waiting for n1, n2, n3, n4, n5 to receive for the VIP/] },
  { name: 'nodes do not receive in a new mode yet', input: { verdict: { ...SERVED, waiting: ['n1'], program: { ...SERVED.program!, spec: { ...SERVED.program!.spec, mode: 'DR' } } } }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False Pending', Ready: 'False NotProgrammed' }, message: ['Ready', /served in mode NAT until nodes receive in mode DR; waiting for n1: is an agent running there/] },
  { name: 'no group at all', input: { program: compiled({}, []).program!, directors: [] }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False NoDirector', Ready: 'False NotProgrammed' }, message: ['Ready', /create one whose nodeSelector selects/] },
  { name: 'a group without nodes', input: { directors: [] }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False NoDirector', Ready: 'False NotProgrammed' }, message: ['Programmed', /DirectorGroup edge selects no node; give nodes its labels/] },
  { name: 'a group without a live agent', input: { directors: [{ node: 'e1', live: false, hash: HASH }] }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False NoDirector', Ready: 'False NotProgrammed' }, message: ['Programmed', /no agent of DirectorGroup edge is live \(e1\)/] },
  { name: 'no NIC has a subnet for the VIP', input: { directors: [fails('e1', 'NoInterface'), fails('e2', 'NoInterface')] }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False NoDirector', Ready: 'False NotProgrammed' }, message: ['Programmed', /e1: NoInterface here \(and 1 more of 2 directors\)/] },
  { name: 'one of two has no NIC for it', input: { directors: [fails('e2', 'NoInterface'), runs('e1')] }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False PartiallyProgrammed', Ready: 'True Ready' } },
  { name: 'the kernel cannot do it', input: { directors: [fails('e1', 'KernelFeatureMissing')] }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False KernelFeatureMissing', Ready: 'False NotProgrammed', Stalled: 'True KernelFeatureMissing' }, message: ['Stalled', /e1: KernelFeatureMissing here/] },
  { name: 'something of somebody else is in the way', input: { directors: [fails('e1', 'ForeignConflict')] }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False ForeignConflict', Ready: 'False NotProgrammed', Stalled: 'True ForeignConflict' } },
  ...['KernelFeatureMissing', 'ForeignConflict'].map((reason): Case => ({
    name: `a director that only stands by cannot have it (${reason}): clients are served all the same`, input: { directors: [runs('e1'), fails('e2', reason)] },
    says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: `False ${reason}`, Ready: 'True Ready', Stalled: `True ${reason}` }, message: ['Stalled', /^e2: /],
  })),
  { name: 'nobody runs it yet', input: { directors: [runs('e1', ''), runs('e2', 'old')] }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False Pending', Ready: 'False NotProgrammed' }, message: ['Programmed', /0 of 2 directors run it; waiting for e1, e2/] },
  {
    name: 'the API server does not take its program', input: { directors: [runs('e1', ''), runs('e2', 'old')], refused: 'POST /apis/x: exceeded quota: few' },
    says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False Pending', Ready: 'False NotProgrammed' }, message: ['Ready', /the API server does not take its program, so no director knows of it: POST .*exceeded quota/],
  },
  { name: 'the owner runs it, another does not', input: { directors: [runs('e1'), runs('e2', 'old')] }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False PartiallyProgrammed', Ready: 'True Ready' }, message: ['Programmed', /1 of 2 directors run it; waiting for e2/] },
  { name: 'another runs it, the owner does not', input: { directors: [runs('e1', 'old'), runs('e2')] }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'False PartiallyProgrammed', Ready: 'False NotProgrammed' } },
  { name: 'nobody holds the address', input: { holders: held('', { live: false }) }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'False NoOwner' }, message: ['Ready', /no director holds 203\.0\.113\.1; look at kubectl get vip/] },
  {
    name: 'who holds the address is dead, and its kernel still answers: nobody takes over, which nobody is to wait for',
    input: { holders: held('e1', { live: false, why: 'e1 does not renew its Lease and still answers for the address, so it is left alone; start its agent again' }), directors: [{ node: 'e1', live: false, hash: HASH }, runs('e2')] },
    says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'False NoOwner' }, message: ['Ready', /^203\.0\.113\.1: e1 does not renew its Lease and still answers .*; start its agent again$/],
  },
  { name: 'who holds the address is not live', input: { holders: held('e1', { live: false }), directors: [{ node: 'e1', live: false, hash: HASH }, runs('e2')] }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'False NoOwner' }, message: ['Ready', /e1, which held 203\.0\.113\.1, is not live any more/] },
  {
    name: 'every real server fails its check', input: { directors: [{ ...runs('e1'), backends: { unhealthy: 2, ignored: 0, draining: 0, message: '10.0.0.1:80 is down: Refused: connection refused' } }, runs('e2')] },
    says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'False NoReadyBackends' }, message: ['Ready', /every real server fails its health check: 10\.0\.0\.1:80 is down/],
  },
  {
    name: 'checks that are not obeyed', input: { directors: [{ ...runs('e1'), backends: { unhealthy: 0, ignored: 2, draining: 0, message: '10.0.0.1:80 fails' } }, runs('e2')] },
    says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'True Ready', Degraded: 'True ChecksIgnored' }, message: ['Degraded', /2 real servers fail their health check and are kept/],
  },
  { name: 'somebody else answers for it', input: { holders: held('e1', { duplicate: '00:11:22:33:44:55 answers for it' }) }, says: { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'True Ready', Degraded: 'True DuplicateAddress' }, message: ['Degraded', /00:11:22/] },
];

describe('the conditions of a VirtualServer', () => {
  for (const { name, input, says, message } of CASES) {
    it(`say of ${name}`, () => {
      const status = statusOf(input);
      assert.deepEqual(said(status), says);
      if (message) assert.match(messageOf(status, message[0]), message[1]);
      // What is not as it should be says why.
      for (const c of status.conditions!) if (c.status !== 'True' || c.type === 'Degraded' || c.type === 'Stalled') assert.ok(c.message.length >= 10, `${c.type} ${c.reason}`);
    });
  }

  /** Reasons that the controller never gives, and who does. */
  const ELSEWHERE: Readonly<Record<string, string>> = {
    'Degraded UsingSnapshot': 'a host without a cluster says it (standalone/status.ts); in a cluster the agent says it of its node',
  };

  it('are all reached, but those that others give', () => {
    const reached = new Set(CASES.flatMap(({ says }) => Object.entries(says).map(([type, text]) => `${type} ${text.split(' ')[1]}`)));
    const all = Object.entries(CONDITIONS).flatMap(([type, { reasons }]) => Object.keys(reasons).map((reason) => `${type} ${reason}`));
    assert.deepEqual(all.filter((r) => !reached.has(r)), Object.keys(ELSEWHERE));
    assert.deepEqual([...reached].filter((r) => !all.includes(r)), [], 'none that the API does not know');
  });

  it('carry the generation they are about, and the time of the change only when the status is another', () => {
    const first = statusOf();
    const next = statusOf({ server: shop({}, first, 4), directors: [runs('e1'), runs('e2', 'old')], holders: held(), now: '2026-05-01T13:00:00Z' });
    assert.deepEqual(next.conditions!.map((c) => [c.type, c.observedGeneration, c.lastTransitionTime.slice(11, 13)]), [['Accepted', 4, '12'], ['ResolvedRefs', 4, '12'], ['Programmed', 4, '13'], ['Ready', 4, '12']]);
    assert.equal(next.observedGeneration, 4);
  });

  it('that are there only when they are True go when they are not', () => {
    const before = statusOf({ verdict: refused('AddressInUse'), program: null });
    assert.deepEqual(Object.keys(said(statusOf({ server: shop({}, before) }))).sort(), ['Accepted', 'Programmed', 'Ready', 'ResolvedRefs']);
  });

  it('of somebody else stay', () => {
    const foreign = { type: 'example.org/Checked', status: 'True', reason: 'Yes', message: '', lastTransitionTime: NOW } as const;
    assert.equal(said(statusOf({ server: shop({}, { conditions: [foreign] }) }))['example.org/Checked'], 'True Yes');
  });
});

describe('the rest of the status', () => {
  it('counts real servers over all ports once, and those that take new connections', () => {
    const spec = { ...ports(80, 443), ...endpoints('10.0.0.1', { address: '10.0.0.2', weight: 0 }, '10.0.0.3') };
    const verdict = compiled(spec);
    const status = statusOf({ server: shop(spec), verdict, program: verdict.program });
    assert.deepEqual([status.backends, status.summary?.backends, status.summary?.ports], [{ total: 3, ready: 2 }, '2/3', '80/TCP,443/TCP']);
  });

  it('counts those that are down or drain as the director sees them whom clients reach', () => {
    const seen = (unhealthy: number, draining: number) => ({ unhealthy, ignored: 0, draining, message: 'm' });
    const of = (...directors: DirectorReport[]) => { const s = statusOf({ directors }); return [s.backends, s.summary?.backends]; };
    assert.deepEqual(of({ ...runs('e1'), backends: seen(1, 3) }, { ...runs('e2'), backends: seen(2, 0) }), [{ total: 2, ready: 1, draining: 3, unhealthy: 1 }, '1/2']);
    assert.deepEqual(of(runs('e1'), { ...runs('e2'), backends: seen(2, 0) }), [{ total: 2, ready: 2 }, '2/2']);
  });

  it('names addresses with their holders, ranges, and directors', () => {
    const spec = { ...pin('203.0.113.1', '203.0.113.2'), ...ports([3000, 3010], { port: 53, protocol: 'UDP' }) };
    const verdict = compiled(spec);
    const status = statusOf({ server: shop(spec), verdict, program: verdict.program, directors: [runs('e1', verdict.program!.spec.contentHash), { node: 'e3', live: false }], holders: new Map([...held(), ['203.0.113.2', { node: 'e2', live: true, duplicate: '', why: '' }]]) });
    assert.deepEqual([status.addresses, status.summary, status.directors], [
      [{ value: '203.0.113.1', family: 'IPv4', activeNode: 'e1' }, { value: '203.0.113.2', family: 'IPv4', activeNode: 'e2' }],
      { addresses: '203.0.113.1,203.0.113.2', ports: '3000-3010/TCP,53/UDP', backends: '1/1', activeNode: 'e1,e2' }, { desired: 1, programmed: 1 },
    ]);
  });

  it('shows exclusions, cut to what the CRD takes', () => {
    const long = 'x'.repeat(2_000);
    const { excluded, excludedCount } = statusOf({ verdict: { ...SERVED, excludedCount: 40, excluded: [{ backend: long, reason: 'EndpointNotPermitted', message: long }] } });
    assert.deepEqual([excluded?.[0]?.backend.length, excluded?.[0]?.message.length, excludedCount], [64, 1024, 40]);
  });
});

describe('what is said to people', () => {
  it('is no longer than the CRD takes, whoever wrote what is quoted: a status that is refused would never be written', () => {
    // An annotation may have 256 KiB, and a tenant writes it.
    const badWeights = [{ kind: 'Pod' as const, name: 'default/p', text: 'y'.repeat(200_000) }];
    const status = statusOf({ verdict: { ...SERVED, badWeights } });
    assert.match(messageOf(status, 'Degraded'), /^the annotation ipvs-operator\.dev\/weight of Pod default\/p \("yyy.*\) is no whole number from 0 to 65535/);
    assert.ok(messageOf(status, 'Degraded').length < 400);
    statusOf({ verdict: { ...SERVED, problems: Array.from({ length: 64 }, (_, i) => ({ reason: 'PortNotFound' as const, message: `spec.ports[${i}]: ${'z'.repeat(1_000)}` })) } });
    statusOf({ unwritten: 'w'.repeat(100_000) });
  });
});

describe('what is no news', () => {
  const before = statusOf();
  it('directors that are about to follow a changed program', () => {
    for (const directors of [[runs('e1', 'old'), runs('e2', 'old')], [runs('e1', 'old'), runs('e2')], [runs('e1'), runs('e2', 'old')]]) {
      const status = statusOf({ server: shop({}, before), directors, settling: true });
      assert.deepEqual([said(status), status.directors, flips(before, status)], [said(before), before.directors, false]);
    }
  });
  it('but that they still do not, or cannot, is', () => {
    assert.equal(said(statusOf({ server: shop({}, before), directors: [runs('e1', 'old'), runs('e2')] }))['Programmed'], 'False PartiallyProgrammed');
    assert.equal(said(statusOf({ server: shop({}, before), directors: [fails('e1', 'KernelFeatureMissing'), runs('e2')], settling: true }))['Programmed'], 'False KernelFeatureMissing');
    assert.equal(said(statusOf({ server: shop({}, before), directors: [], settling: true }))['Programmed'], 'False NoDirector');
  });
  it('and a new generation is, once: who waits for it must not be told of the old one', () => {
    const one = statusOf({ server: shop({}, before, 4), directors: [runs('e1', 'old'), runs('e2', 'old')], settling: true });
    const two = statusOf({ server: shop({}, one, 4), directors: [runs('e1', 'old'), runs('e2')], settling: true });
    const three = statusOf({ server: shop({}, two, 4), directors: [runs('e1'), runs('e2')], settling: true });
    assert.deepEqual([said(one)['Programmed'], said(one)['Ready'], flips(one, two), said(three)['Ready']], ['False Pending', 'False NotProgrammed', false, 'True Ready']);
  });
  it('counts and messages', () => {
    const status = { ...before, backends: { total: 9, ready: 9 }, conditions: before.conditions!.map((c) => ({ ...c, message: 'other' })) };
    assert.equal(flips(before, status), false);
    assert.deepEqual([flips(before, { ...before, observedGeneration: 4 }), flips(before, { ...before, addresses: [] }), flips(undefined, before), flips(before, { ...before, conditions: before.conditions!.slice(1) })], [true, true, true, true]);
    assert.equal(flips(before, { ...before, conditions: [...before.conditions!].reverse() }), false, 'in whatever order');
  });
});

describe('an object that no schema accepts', () => {
  const PROBLEM = 'spec.mode: "WRONG" is none of NAT, DR, TUN';
  it('is told what is wrong', () => {
    const status = invalidStatus(undefined, 5, PROBLEM, NOW);
    assert.deepEqual([said(status), messageOf(status, 'Accepted'), status.observedGeneration], [{ Accepted: 'False InvalidSpec', Stalled: 'True InvalidSpec', Ready: 'False NotAccepted' }, PROBLEM, 5]);
    assert.deepEqual(readShape(STATUS_SHAPES.VirtualServer, status).problems, []);
  });
  it('is Ready as long as its last good form is', () => {
    const status = invalidStatus(statusOf(), 5, PROBLEM, NOW);
    assert.deepEqual(said(status), { Accepted: 'False InvalidSpec', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'True Ready', Stalled: 'True InvalidSpec', Degraded: 'True UsingLastGood' });
    assert.deepEqual(status.addresses, statusOf().addresses);
  });
  it('is told in a message that the CRD takes', () => {
    assert.deepEqual(readShape(STATUS_SHAPES.VirtualServer, invalidStatus(undefined, 1, 'x'.repeat(100_000), NOW)).problems, []);
  });
});
