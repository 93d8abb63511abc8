/** The status of a host: every reason that a condition can have here, and what `ok` and `settled` promise. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Failure } from '../../../src/agent/apply.ts';
import type { AgentView } from '../../../src/agent/agent.ts';
import type { Operation } from '../../../src/agent/operation.ts';
import { joinNeeds, joinServices, type Fragment, type RefusalCode } from '../../../src/agent/state.ts';
import { CONDITIONS, type VirtualServer } from '../../../src/api/v1alpha1/index.ts';
import { KernelError } from '../../../src/kernel/netlink/errors.ts';
import { hostStatus, type HostStatus, type StatusInput } from '../../../src/standalone/status.ts';
import { destination, fragments, makeKernel, program, service } from '../agent/setup.ts';
import { compile, endpoints, group, pin, pool, server, type World } from '../controller/compile/setup.ts';

const SHOP = 'default/shop';

interface Given extends World {
  shop?: VirtualServer;
  role?: Fragment['role'];
  refusals?: readonly RefusalCode[];
  failures?: readonly Operation[];
  view?: Partial<AgentView>;
  input?: Partial<StatusInput>;
}

function status({ shop = server('shop'), role = 'director', refusals = [], failures = [], view = {}, input = {}, ...world }: Given = {}): HostStatus {
  const servers = [shop, ...world.servers ?? []];
  const { verdicts } = compile({ ...world, servers });
  const kernel = makeKernel();
  const list = servers.map((s) => {
    const owner = `${s.metadata.namespace}/${s.metadata.name}`;
    const f = fragments(kernel, [program({ owner, vips: ['10.0.1.200'], sourceAddress: 'Masquerade', ...(owner !== SHOP && { port: 81 }) })])[0]!;
    return { ...f, role };
  });
  const error = new KernelError({ code: 'KERNEL_REFUSED', errno: 22, operation: 'NEW_DEST' });
  return hostStatus({
    node: 'n1', pid: 1, sequence: 3, lastChange: 2, pending: false, manifestsHash: 'h', servers: new Map(servers.map((s) => [`${s.metadata.namespace}/${s.metadata.name}`, s])),
    verdicts: new Map(Object.entries(verdicts)), programs: new Map(), problems: [], error: '',
    view: {
      fragments: new Map(list.map((f) => [f.owner, f])), services: joinServices(list).services, refusals: refusals.map((code) => ({ owner: SHOP, code, message: `because ${code}` })),
      failures: failures.map((operation): Failure => ({ operation, error })), drains: {}, remaining: new Map(), foreign: { services: [], destinations: [], addresses: [] }, notes: [], shared: joinNeeds([], []), capabilities: null, netfilter: 'nft',
      operations: 7, drifts: 1, ...view,
    },
    ...input,
  });
}

const conditions = (s: HostStatus, name = SHOP) => Object.fromEntries(s.virtualServers[name]!.conditions.map((c) => [c.type, `${c.status} ${c.reason}`]));
const op = service({ port: 80 });

const OK = { Accepted: 'True Accepted', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Ready: 'True Ready' };
const refused = (reason: string) => ({ ...OK, Accepted: `False ${reason}`, Programmed: 'False Pending', Ready: 'False NotAccepted' });
const notProgrammed = (reason: string) => ({ ...OK, Programmed: `False ${reason}`, Ready: 'False NotProgrammed' });

const sick = { address: '10.0.0.1', port: 80, reason: 'Refused', message: 'connection refused' };
const TABLE: readonly [string, Given, Record<string, string>, ok: boolean][] = [
  ['all is well', {}, OK, true],
  ['PoolNotFound', { pools: [] }, refused('PoolNotFound'), false],
  ['NamespaceNotAllowed', { pools: [pool('public', { allowedNamespaces: {} })] }, refused('NamespaceNotAllowed'), false],
  ['AddressOutsidePools', { shop: server('shop', pin('192.0.2.1')) }, refused('AddressOutsidePools'), false],
  ['AddressInUse', { shop: server('shop', pin('203.0.113.1')), servers: [server('aa/first', pin('203.0.113.1'))] }, refused('AddressInUse'), false],
  ['PoolExhausted', { pools: [pool('public', { disabled: true })] }, refused('PoolExhausted'), false],
  ['PortConflict', { shop: server('shop', pin('203.0.113.1')), servers: [server('first', pin('203.0.113.1'))] }, refused('PortConflict'), false],
  ['InvalidSpec', { shop: server('shop', pin('203.0.113.1', '198.51.100.1')), pools: [pool('public', { directorGroupRef: { name: 'g' } }), pool('x', { blocks: [{ cidr: '198.51.100.0/29' }] })] }, refused('InvalidSpec'), false],
  ['Pending: which group?', { groups: [group('a'), group('b')] }, refused('Pending'), false],
  ['Suspended', { shop: server('shop', { suspend: true }), role: 'none' }, { ...OK, Accepted: 'False Suspended', Programmed: 'False Suspended', Ready: 'False Suspended' }, true],
  ['EndpointNotPermitted', { shop: server('shop', endpoints('10.0.0.1', '192.0.2.1')) }, { ...OK, ResolvedRefs: 'False EndpointNotPermitted', Degraded: 'True EndpointsExcluded' }, false],
  ['UnsupportedBackendForMode', { shop: server('shop', endpoints('10.0.0.1', 'fd00::1')) }, { ...OK, ResolvedRefs: 'False UnsupportedBackendForMode', Degraded: 'True EndpointsExcluded' }, false],
  ['NoReadyBackends', { shop: server('shop', endpoints({ address: '10.0.0.1', weight: 0 })) }, { ...OK, Ready: 'False NoReadyBackends' }, true],
  ['NoReadyBackends: all are down', { input: { unhealthy: () => [{ ...sick, state: 'Down' }] } }, { ...OK, Ready: 'False NoReadyBackends' }, true],
  ['ChecksIgnored', { input: { unhealthy: () => [{ ...sick, state: 'Held' }] } }, { ...OK, Degraded: 'True ChecksIgnored' }, true],
  ['NoDirector: no part of this host', { role: 'none' }, notProgrammed('NoDirector'), false],
  ['NoDirector: no NIC', { refusals: ['NoInterface'] }, notProgrammed('NoDirector'), false],
  ['KernelFeatureMissing', { refusals: ['KernelFeatureMissing'] }, notProgrammed('KernelFeatureMissing'), false],
  ['ForeignConflict', { refusals: ['ForeignConflict'] }, notProgrammed('ForeignConflict'), false],
  ['ForeignConflict: the address is the node\'s', { refusals: ['AddressReserved'] }, notProgrammed('ForeignConflict'), false],
  ['PartiallyProgrammed: a program that makes no sense', { refusals: ['InvalidProgram'] }, notProgrammed('PartiallyProgrammed'), false],
  ['PartiallyProgrammed: an operation failed', { failures: [{ kind: 'addDestination', service: op, destination: destination('10.0.1.21') }] }, notProgrammed('PartiallyProgrammed'), false],
  ['a real server that the node refuses is served around, but not everything asked for is there', { refusals: ['EndpointNotPermitted'] }, OK, false],
  ['Pending: the kernel cannot be asked', { input: { error: 'PERMISSION_DENIED: CAP_NET_ADMIN is missing' } }, notProgrammed('Pending'), false],
];
for (const [name, given, expected, ok] of TABLE) {
  test(`status: ${name}`, () => {
    const s = status(given);
    assert.deepEqual(conditions(s), expected);
    assert.equal(s.ok, ok);
    for (const c of s.virtualServers[SHOP]!.conditions) {
      const known = CONDITIONS[c.type as keyof typeof CONDITIONS].reasons as Record<string, string>;
      assert.ok(c.reason in known, `${c.type} has no reason ${c.reason}`);
      assert.ok(c.status === 'True' || c.message !== '', `${c.type} False says nothing`);
    }
  });
}

const vip = { link: 'e0', family: 'IPv4' as const, address: '10.0.1.200' };
const FAILURES: readonly [string, Operation, concerned: readonly string[]][] = [
  ['a service', { kind: 'addService', service: service() }, [SHOP]],
  ['a real server of the other', { kind: 'delDestination', service: service({ port: 81 }), destination: destination('10.0.1.21') }, ['default/other']],
  ['an address that both use', { kind: 'addAddress', vip }, [SHOP, 'default/other']],
  ['its announcement', { kind: 'announce', vip }, [SHOP, 'default/other']],
  ['its local route', { kind: 'addLocalRoute', route: vip }, [SHOP, 'default/other']],
  ['a sysctl that both need', { kind: 'setSysctl', sysctl: { path: 'net/ipv4/ip_forward', value: '1' }, from: '0' }, [SHOP, 'default/other']],
  ['rules that both have', { kind: 'setRules', rules: { sourceNat: [], marks: [], mss: [] } }, [SHOP, 'default/other']],
  ['timeouts, which are nobody\'s', { kind: 'setTimeouts', timeouts: { tcp: 1, tcpFin: 1, udp: 1 } }, []],
  ['a tunnel of nobody here', { kind: 'delTunnel', name: 'x' }, []],
];
for (const [name, operation, concerned] of FAILURES) {
  test(`a failure of ${name} is told to those whom it concerns`, () => {
    const s = status({ servers: [server('other')], failures: [operation] });
    const told = [SHOP, 'default/other'].filter((n) => conditions(s, n)['Programmed'] === 'False PartiallyProgrammed');
    assert.deepEqual(told, concerned);
    assert.deepEqual([s.settled, s.ok, s.failures.length, s.failures[0]!.code, s.failures[0]!.errno], [false, false, 1, 'KERNEL_REFUSED', 22]);
  });
}

test('settled: nothing pending, nothing failed, no error; a refusal is settled, for it waits for somebody', () => {
  assert.equal(status().settled, true);
  assert.equal(status({ input: { pending: true } }).settled, false);
  assert.equal(status({ input: { error: 'x' } }).settled, false);
  assert.deepEqual([status({ refusals: ['ForeignConflict'] }).settled, status({ refusals: ['ForeignConflict'] }).ok], [true, false]);
});

test('a file that cannot be read is not ok; a hint about one is', () => {
  const problem = { file: 'a.yaml', object: '', code: 'InvalidYaml', severity: 'error', message: 'x' };
  assert.deepEqual([status({ input: { problems: [problem] } }).ok, status({ input: { problems: [{ ...problem, severity: 'info' }] } }).ok], [false, true]);
});

test('the summary says mode, address, ports, scheduler, role and real servers', () => {
  const shop = server('shop', { ports: [{ port: 80 }, { port: 30_000, endPort: 30_010, protocol: 'UDP' }], ...endpoints('10.0.0.1', { address: '10.0.0.2', weight: 0 }, '192.0.2.1') });
  const { conditions: _, excluded, ...rest } = status({ shop, view: { drains: { 'TCP 10.0.1.200:80 -> 10.0.1.21:80': { since: 1, deadline: 2 }, 'TCP 10.0.1.9:80 -> 10.0.1.21:80': { since: 1, deadline: 2 } } } }).virtualServers[SHOP]!;
  assert.deepEqual(rest, { mode: 'NAT', addresses: ['203.0.113.1'], ports: '80/TCP,30000-30010/UDP', scheduler: 'wrr', role: 'director', backends: { total: 2, ready: 1, draining: 1, unhealthy: 0, ignored: 0 }, unhealthy: [], excludedCount: 1 });
  assert.equal(excluded.length, 1);
});

test('a port whose end is itself reads as one port', () => {
  assert.equal(status({ shop: server('shop', { ports: [{ port: 80, endPort: 80 }] }) }).virtualServers[SHOP]!.ports, '80/TCP');
});

test('lists of strangers are cut, so that a status stays readable', () => {
  const services = Array.from({ length: 200 }, (_, i) => `TCP 10.0.0.1:${i}`);
  assert.equal(status({ view: { foreign: { services, destinations: [], addresses: [] } } }).foreign.services.length, 64);
});

test('a thousand failures over a thousand VirtualServers take no quadratic time', () => {
  const servers = Array.from({ length: 1000 }, (_, i) => server(`s${i}`, { suspend: true }));
  const failures = Array.from({ length: 1000 }, (): Operation => ({ kind: 'addService', service: service() }));
  // Of this thread: others want the CPU, too.
  const start = process.threadCpuUsage();
  status({ servers, failures });
  assert.ok(process.threadCpuUsage(start).user < 5_000_000);
});

test('a VirtualServer whose newest manifest is wrong is Degraded: its last good form is served, and the problem is in the message', () => {
  const problem = { file: 'a.yaml', object: 'VirtualServer/default/shop', code: 'UnknownField', severity: 'error', message: 'spec.mood is no field' };
  const s = status({ input: { problems: [problem] } });
  assert.deepEqual(conditions(s), { ...OK, Degraded: 'True UsingLastGood' });
  assert.match(s.virtualServers[SHOP]!.conditions.at(-1)!.message, /spec\.mood is no field/);
});

test('what is served from the snapshot alone is shown, with the reason', () => {
  const served = program({ owner: 'default/gone', vips: ['10.0.1.222'] });
  const s = status({ input: { programs: new Map([['default/gone', served]]) } });
  assert.deepEqual(conditions(s, 'default/gone'), { Accepted: 'Unknown Pending', Programmed: 'False NoDirector', Degraded: 'True UsingSnapshot' });
  assert.deepEqual(s.virtualServers['default/gone']!.addresses, ['10.0.1.222']);
  assert.equal(s.ok, false);
});
