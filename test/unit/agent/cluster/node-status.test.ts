/** What the agent says of its node: counts, failures, bound VIPs, and the conditions with their reasons. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { joinNeeds, joinServices } from '../../../../src/agent/state.ts';
import type { AgentView } from '../../../../src/agent/agent.ts';
import { AppliedLines } from '../../../../src/agent/cluster/applied.ts';
import { FLUSH_SHOWN_MS, nodeStatus, type NodeStatusInput } from '../../../../src/agent/cluster/node-status.ts';
import { readCommands, suspects } from '../../../../src/agent/cluster/culprit.ts';
import { CONDITIONS_OF, fromServer } from '../../../../src/api/v1alpha1/index.ts';
import { KernelError, type KernelErrorCode } from '../../../../src/kernel/netlink/errors.ts';
import { desired } from '../../../../src/agent/desired.ts';
import type { Duties } from '../../../../src/agent/duties.ts';
import type { Operation } from '../../../../src/agent/operation.ts';
import { destination, facts, group, makeKernel, program, service } from '../setup.ts';
import { hashed } from './bench.ts';

const VIP = '10.0.1.200';
const kernel = makeKernel();
const index = facts(kernel, { role: 'auto' });
const duties: Duties = { directs: new Set(['edge']), owned: new Set([VIP]), receives: new Map([['default/rs', [{ vip: '10.0.1.202', localAddress: '10.0.1.11' }]]]), reserved: new Set() };
const shop = hashed(program({ directorGroup: 'edge' }));
const other = hashed(program({ directorGroup: 'edge', owner: 'default/other', vips: ['10.0.1.201'], port: 81 }));
const rs = program({ owner: 'default/rs', mode: 'DR', vips: ['10.0.1.202'], realServers: ['10.0.1.11'] });
const fragments = new Map([shop, other, rs].map((p) => [p.owner, desired(p, group(), index, duties)]));
const refusal = (owner: string, code: AgentView['refusals'][number]['code'], message = 'no') => ({ owner, code, message });
const failure = (operation: Operation, code: KernelErrorCode = 'KERNEL_REFUSED') => ({ operation, error: new KernelError({ code, errno: code === 'PERMISSION_DENIED' ? 1 : 22, operation: 'x' }) });

function status(fields: Partial<Omit<NodeStatusInput, 'view'>> & { view?: Partial<AgentView> } = {}) {
  const { view, ...rest } = fields;
  const made = nodeStatus({
    version: '1.0.0', kernel: '6.1.0', generation: 7, directs: new Set(['edge']), programs: new Map([shop, other].map((p) => [p.owner, p])), problems: new Map(), index, reconciled: true, error: null,
    view: {
      fragments, services: joinServices(fragments.values()).services, refusals: [], failures: [], drains: {}, remaining: new Map(), foreign: { services: [], destinations: [], addresses: [] }, notes: [], shared: joinNeeds([], []), capabilities: kernel.ipvs.capabilities(), netfilter: 'nft', operations: 0, drifts: 3, ...view,
    },
    owned: new Set([VIP]), blocked: new Map(), usingSnapshot: false, flushes: { times: 0, services: 0, lastAt: null }, health: null, culprits: [], conditions: [], now: 1_000_000, applied: (programs) => new AppliedLines().of(programs), ...rest,
  });
  const object = { apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'IPVSNode', metadata: { name: 'n1' }, spec: { directorGroups: [], realServer: { binds: [] }, reservedAddresses: [] }, status: made };
  const read = fromServer('IPVSNode', object);
  assert.ok(read.ok, JSON.stringify(read));
  assert.deepEqual((read.object as { status?: unknown }).status, JSON.parse(JSON.stringify(made)), 'it keeps to its schema');
  return made;
}
const said = (s: ReturnType<typeof status>) => s.conditions!.map((c) => `${c.type}=${c.status}/${c.reason}`).join(' ');
const message = (s: ReturnType<typeof status>, type: string) => s.conditions!.find((c) => c.type === type)!.message;

test('all is well: what is applied, held and bound', () => {
  const s = status();
  assert.deepEqual(s.applied, [`default/other|${other.spec.contentHash}`, `default/shop|${shop.spec.contentHash}`]);
  assert.deepEqual([s.programs!.applied, s.programs!.failed, s.failures, s.ownedVIPs, s.boundVIPs, s.observedGeneration, s.drifts], [2, 0, [], [VIP], [VIP, '10.0.1.202'], 7, 3]);
  assert.equal(said(s), 'Ready=True/Ready');
  assert.ok(s.capabilities!.schedulers.includes('rr') && !s.capabilities!.schedulers.includes('none'));
});

test('the same state gives the same text, and a condition keeps its time while it stays', () => {
  assert.equal(JSON.stringify(status()), JSON.stringify(status()));
  const first = status();
  const later = status({ now: 2_000_000, conditions: first.conditions as never });
  assert.equal(JSON.stringify(later), JSON.stringify(first));
  const changed = status({ now: 3_000_000, conditions: first.conditions as never, view: { refusals: [refusal('default/shop', 'NoInterface')] } });
  assert.equal(changed.conditions![0]!.lastTransitionTime, '1970-01-01T00:50:00.000Z');
});

const addAddress: Operation = { kind: 'addAddress', vip: { link: 'lo', family: 'IPv4', address: '10.0.1.202' } };
const addService: Operation = { kind: 'addDestination', service: service(), destination: destination('10.0.1.21') };
const READY: readonly [string, Parameters<typeof status>[0], string][] = [
  ['the agent has just begun', { reconciled: false }, 'Ready=Unknown/Pending'],
  ['a program is refused', { view: { refusals: [refusal('default/shop', 'NoInterface')] } }, 'Ready=False/ProgramsFailed'],
  ['an operation failed', { view: { failures: [failure(addService)] } }, 'Ready=False/ProgramsFailed'],
  ['a program is incomplete', { problems: new Map([['default/new', { code: 'SlicesMissing', message: 'slice 1' }]]) }, 'Ready=False/ProgramsFailed'],
  ['the kernel refuses everything', { view: { failures: [failure(addService, 'PERMISSION_DENIED')] } }, 'Ready=False/PermissionDenied'],
  ['nothing could be done at all', { error: { code: 'SYSTEM_CALL', message: 'socket' } }, 'Ready=False/ProgramsFailed'],
  ['nothing could be done, for want of rights', { error: { code: 'PERMISSION_DENIED', message: 'socket' } }, 'Ready=False/PermissionDenied'],
  ['a director without ip_vs', { view: { capabilities: { ...kernel.ipvs.capabilities(), version: null }, refusals: [refusal('default/shop', 'KernelFeatureMissing')] } }, 'Ready=False/KernelModuleMissing'],
];
for (const [name, fields, expected] of READY) test(`Ready: ${name}`, () => { assert.equal(said(status(fields)), expected); });

const flushed = { times: 2, services: 9, lastAt: 1_000_000 - 1_000 };
const DEGRADED: readonly [string, Parameters<typeof status>[0], string, RegExp][] = [
  ['somebody flushed', { flushes: flushed }, 'ForeignFlush', /removed 9 of our virtual services.*2 times.*cannot be seen.*hostPID/],
  ['kube-proxy flushed', { flushes: flushed, culprits: suspects(['kube-ipvs0'], []) }, 'KubeProxyConflict', /interface kube-ipvs0: .*excludeCIDRs.*--ipvs-strict-arp/],
  ['keepalived may have', { flushes: flushed, culprits: suspects([], ['keepalived']) }, 'ForeignFlush', /process keepalived: /],
  ['kube-router, too', { flushes: flushed, culprits: suspects([], ['kube-router']) }, 'ForeignFlush', /--run-service-proxy=false/],
  ['served from the snapshot', { usingSnapshot: true }, 'UsingSnapshot', /as it was before/],
  ['a foreign host has an address', { blocked: new Map([[VIP, { mac: '02:00:00:00:00:99' }]]) }, 'ForeignConflict', /10\.0\.1\.200 is not taken, because 02:00:00:00:00:99 answers/],
  ['a foreign service', { view: { refusals: [refusal('default/shop', 'ForeignConflict', 'ipvsadm -D')] } }, 'ForeignConflict', /ipvsadm -D/],
  ['a scheduler is missing', { view: { refusals: [refusal('default/shop', 'KernelFeatureMissing', 'modprobe ip_vs_mh')] } }, 'KernelModuleMissing', /modprobe ip_vs_mh/],
  ['everything behind an interface is silent', { health: { massFailures: new Map([['e1', { link: 'e1', held: new Set(['a', 'b']) }]]), unhealthy: () => [] } as never }, 'MassFailure', /behind e1 stopped answering at once; 2 are kept/],
  ['two of them: the worse names it, both are told', { flushes: flushed, usingSnapshot: true }, 'ForeignFlush', /removed 9.*as it was before/],
];
for (const [name, fields, reason, text] of DEGRADED) {
  test(`Degraded: ${name}`, () => {
    const s = status(fields);
    assert.match(said(s), new RegExp(`Degraded=True/${reason}$`));
    assert.match(message(s, 'Degraded'), text);
  });
}

test('every reason of an IPVSNode is given', () => {
  const reached = new Set([...READY.map(([, , text]) => text.replace(/=\w+\//, ' ')), ...DEGRADED.map(([, , reason]) => `Degraded ${reason}`), 'Ready Ready']);
  const all = Object.entries(CONDITIONS_OF.IPVSNode).flatMap(([type, { reasons }]) => Object.keys(reasons).map((reason) => `${type} ${reason}`));
  assert.deepEqual([...reached].sort(), all.sort());
});

test('a flush is held against somebody for a while, not for ever', () => {
  assert.equal(said(status({ flushes: { ...flushed, lastAt: 1_000_000 - FLUSH_SHOWN_MS } })), 'Ready=True/Ready');
  const s = status({ flushes: flushed, culprits: suspects(['kube-ipvs0'], ['keepalived']) });
  assert.equal(s.foreign!.culprit, 'kube-proxy, keepalived');
  assert.equal(status({ culprits: suspects(['kube-ipvs0'], []) }).foreign!.culprit, undefined, 'nobody is accused of nothing');
});

test('who fails is named once, by its VirtualServer, and is not among the applied', () => {
  const s = status({ view: { refusals: [refusal('default/shop', 'NoInterface', 'first'), refusal('default/shop', 'EndpointNotPermitted', 'second'), refusal('default/rs (DR)', 'AddressReserved', 'third')], failures: [failure(addService)] } });
  assert.deepEqual(s.failures!.map((f) => `${f.virtualServer} ${f.code} ${f.message}`), ['default/rs AddressReserved third', 'default/shop NoInterface first']);
  assert.deepEqual([s.programs!.applied, s.programs!.failed, s.applied!.length], [1, 2, 1]);
});

test('a VIP whose binding failed is not bound: nobody may send packets here for it', () => {
  assert.deepEqual(status({ view: { failures: [failure(addAddress)] } }).boundVIPs, [VIP]);
  assert.deepEqual(status({ reconciled: false }).boundVIPs, []);
  assert.deepEqual(status({ owned: new Set() }).boundVIPs, ['10.0.1.202'], 'what is on its way to another director is not bound here');
  const old = new Map([...fragments].map(([owner, f]) => (owner === 'default/rs' ? ['default/rs (DR)', { ...f, owner: 'default/rs (DR)' }] as const : [owner, f] as const)));
  assert.deepEqual(status({ view: { fragments: old } }).boundVIPs, [VIP], 'the old way of one that changed its mode says nothing of the new one');
});

test('lists are cut to what the schema takes', () => {
  const refusals = Array.from({ length: 200 }, (_, i) => refusal(`default/s${i}`, 'NoInterface', 'x'.repeat(5_000)));
  const s = status({ view: { refusals, foreign: { services: Array.from({ length: 50 }, (_, i) => `TCP 10.9.9.9:${i}`), destinations: [], addresses: [] } } });
  assert.deepEqual([s.failures!.length, s.programs!.failed, s.foreign!.services, s.foreign!.examples.length], [64, 200, 50, 8]);
});

test('processes are read from /proc, and a folder that is none tells nothing', () => {
  assert.ok(readCommands().length > 0);
  assert.deepEqual(readCommands('/nonexistent'), []);
});

test('what is remembered of bound VIPs is of these needs and these held VIPs alone', () => {
  const shared = joinNeeds(fragments.values(), []);
  const owned = new Set([VIP]);
  assert.deepEqual(status({ view: { shared }, owned }).boundVIPs, ['10.0.1.200', '10.0.1.202']);
  assert.deepEqual(status({ view: { shared }, owned }).boundVIPs, ['10.0.1.200', '10.0.1.202']);
  assert.deepEqual(status({ view: { shared }, owned: new Set() }).boundVIPs, ['10.0.1.202'], 'held no more');
  const failures = [failure({ kind: 'addAddress', vip: { link: 'lo', family: 'IPv4', address: '10.0.1.202' } })];
  assert.deepEqual(status({ view: { shared, failures }, owned }).boundVIPs, ['10.0.1.200'], 'what fails is not bound');
  assert.deepEqual(status({ view: { shared: joinNeeds([], []), fragments: new Map() }, owned }).boundVIPs, []);
});
