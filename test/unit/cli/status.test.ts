/** `ipvs-operator status`: what people see, what programs see, what the exit code says. */
import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Program, ProgramSpec } from '../../../src/api/v1alpha1/program.ts';
import { statusCommand } from '../../../src/cli/status.ts';
import { connectionsOf, realServersOf } from '../../../src/cli/status-live.ts';
import { overviewText, serverOk, serverText, type StatusView } from '../../../src/cli/status-text.ts';
import { formatSeconds, formatTable } from '../../../src/cli/table.ts';
import { DestinationTable, ROW } from '../../../src/kernel/ipvs/destinations.ts';
import type { IpvsObservation } from '../../../src/kernel/ipvs/contract.ts';
import { serviceKey, type Destination, type Service } from '../../../src/kernel/ipvs/types.ts';
import type { HostStatus, ServerStatus } from '../../../src/standalone/status.ts';
import { run } from './program.ts';
import { destination, service } from './tables.ts';

const yes = (type: string) => ({ type, status: 'True' as const, reason: type, message: '' });
const no = (type: string, reason: string, message: string) => ({ type, status: 'False' as const, reason, message });
const conditions = [yes('Accepted'), yes('ResolvedRefs'), yes('Programmed'), yes('Ready')];

const server = (over: Partial<ServerStatus> = {}): ServerStatus => ({
  mode: 'DR', addresses: ['192.0.2.10'], ports: '80/TCP', scheduler: 'wrr', role: 'director', backends: { total: 2, ready: 2, draining: 0, unhealthy: 0, ignored: 0 }, unhealthy: [], excluded: [], excludedCount: 0, conditions, ...over,
});
const host = (over: Partial<HostStatus> = {}): HostStatus => ({
  version: 1, node: 'lb1', pid: process.pid, settled: true, ok: true, sequence: 1, lastChange: 1, manifestsHash: '', virtualServers: { 'default/shop': server() }, problems: [], failures: [], drains: {},
  foreign: { services: [], destinations: [], addresses: [] }, notes: [], kernel: { release: '6.1.0', ipvs: '1.2.1', netfilter: 'nft' }, operations: 3, drifts: 0, error: '', ...over,
});
const view = (over: Partial<StatusView> = {}): StatusView => ({ status: host(), ageSeconds: 3, running: true, realServers: new Map(), missing: [], ...over });

const program = (over: Partial<ProgramSpec> = {}): Program => ({
  owner: 'default/shop',
  spec: {
    directorGroup: '', contentHash: '', addresses: [{ address: '192.0.2.10', family: 'IPv4' }], mode: 'DR', sourceAddress: 'Preserve', tunnel: null,
    scheduler: { name: 'wrr', fallback: false, portAware: false, onePacket: false }, persistence: null,
    services: [{ ports: [{ name: '', protocol: 'TCP', port: 80, endPort: 80 }], mark: 0, realServers: ['10.0.0.1|80|3|', '10.0.0.2|80|0|', '10.0.0.3|80|1|'] }],
    connectionLimits: { upper: 0, lower: 0 }, drainTimeoutSeconds: 300, ...over,
  },
});

function observed(s: Service, ...destinations: readonly (Destination & { active?: number; inactive?: number })[]): IpvsObservation {
  const table = DestinationTable.from(destinations);
  for (let i = 0; i < table.length; i++) {
    const d = destinations.find((o) => o.address === table.get(i).address)!;
    table.words[i * ROW + 10] = d.active ?? 0;
    table.words[i * ROW + 11] = d.inactive ?? 0;
  }
  return { services: new Map([[serviceKey(s), { service: s, destinations: table, complete: true }]]), complete: true };
}

test('the overview is one line a VirtualServer', () => {
  const status = host({
    ok: false,
    virtualServers: {
      'default/shop': server({ backends: { total: 3, ready: 2, draining: 1, unhealthy: 0, ignored: 0 } }),
      'default/mail': server({ mode: 'NAT', addresses: [], role: 'none', conditions: [no('Accepted', 'AddressOutsidePools', 'no pool'), yes('ResolvedRefs'), no('Programmed', 'Pending', ''), no('Ready', 'NotAccepted', 'no pool')] }),
      'default/dns': server({ ports: '53/UDP', conditions: [yes('Accepted'), yes('ResolvedRefs'), no('Programmed', 'NoDirector', ''), no('Ready', 'NotProgrammed', '')] }),
    },
  });
  assert.equal(overviewText(view({ status })), `host lb1: not ok, as of 3 s ago
kernel 6.1.0, IPVS 1.2.1, packet filter nft; 3 operations, 0 drifts repaired

VIRTUAL SERVER  MODE  ADDRESS     PORTS   BACKENDS          ROLE      READY  REASON
default/dns     DR    192.0.2.10  53/UDP  2/2               director  False  NoDirector
default/mail    NAT   -           80/TCP  2/2               none      False  AddressOutsidePools
default/shop    DR    192.0.2.10  80/TCP  2/3 (1 draining)  director  True   Ready
`);
});

const SECTIONS: readonly (readonly [what: string, over: Partial<StatusView>, expected: RegExp])[] = [
  ['that the writer has ended', { running: false }, /\(pid \d+\) has ended: nobody applies changes or repairs drift; the kernel goes on forwarding/],
  ['how old the status is', { ageSeconds: 7300 }, /as of 2 h ago/],
  ['the error of the last reconcile', { status: host({ ok: false, error: 'EPERM' }) }, /lb1: failing[^]*last reconcile: EPERM/],
  ['problems in files', { status: host({ problems: [{ file: 'a.yaml', object: 'VirtualServer/default/x', code: 'UnknownField', severity: 'error', message: 'no such field' }] }) }, /Problems in manifests:\n {2}error: a.yaml: VirtualServer\/default\/x: no such field\n/],
  ['failed operations', { status: host({ failures: [{ operation: 'add service X', code: 'KERNEL_REFUSED', errno: 22, message: 'EINVAL' }] }) }, /Failed operations:\n {2}add service X: EINVAL\n/],
  ['foreign things', { status: host({ foreign: { services: ['TCP 192.0.2.99:80'], destinations: ['a -> b'], addresses: ['e0 192.0.2.9'] } }) }, /Not ours, not touched:\n {2}service TCP 192.0.2.99:80\n {2}real server a -> b\n {2}address e0 192.0.2.9\n/],
  ['notes', { status: host({ notes: ['look here'] }) }, /Notes:\n {2}look here\n/],
  ['what could not be looked at', { missing: ['connections: run this as root'] }, /Not shown:\n {2}connections: run this as root\n/],
  ['the connections of all', { realServers: new Map([['default/shop', [{ service: 's', realServer: 'r', weight: 1, active: 2, inactive: 3, drainSecondsLeft: null, state: 'serving' }]]]) }, /connections: 2 active, 3 inactive/],
  ['no escape sequences of others', { status: host({ notes: ['a\u001b[2Jb\nc'] }) }, /a \[2Jb c\n/],
];
for (const [what, over, expected] of SECTIONS) {
  test(`the overview tells ${what}`, () => assert.match(overviewText(view(over)), expected));
}

test('one VirtualServer is told in full', () => {
  const now = 1_000_000;
  const status = host({
    virtualServers: {
      'default/shop': server({
        backends: { total: 3, ready: 2, draining: 1, unhealthy: 0, ignored: 0 }, excluded: [{ backend: '10.9.9.9', reason: 'EndpointNotPermitted', message: 'the pool does not permit it' }], excludedCount: 5,
        conditions: [yes('Accepted'), no('ResolvedRefs', 'EndpointNotPermitted', '5 real servers left out'), yes('Programmed'), yes('Ready')],
      }),
    },
    drains: { 'TCP 192.0.2.10:80 -> 10.0.0.4:80': { since: 0, deadline: now + 250_000 } },
  });
  const kernel = observed(service({ scheduler: 'wrr' }),
    { ...destination({ weight: 3 }), active: 7, inactive: 11 }, destination({ address: '10.0.0.2', weight: 0 }), { ...destination({ address: '10.0.0.4', weight: 0 }), active: 1 }, destination({ address: '10.0.0.5' }));
  const realServers = new Map([['default/shop', realServersOf(program(), kernel, status.drains, now)]]);
  assert.equal(serverText(view({ status, realServers }), 'default/shop').split('\n').slice(3).join('\n'), `VirtualServer default/shop
  mode      DR
  addresses 192.0.2.10
  ports     80/TCP
  scheduler wrr
  role      director
  backends  2/3 (1 draining)

CONDITION     STATUS  REASON                MESSAGE
Accepted      True    Accepted
ResolvedRefs  False   EndpointNotPermitted  5 real servers left out
Programmed    True    Programmed
Ready         True    Ready

REAL SERVER  SERVICE            WEIGHT  ACTIVE  INACTIVE  STATE
10.0.0.1:80  TCP 192.0.2.10:80       3       7        11  serving
10.0.0.2:80  TCP 192.0.2.10:80       0       0         0  no new connections (weight 0)
10.0.0.4:80  TCP 192.0.2.10:80       0       1         0  draining, 4 min left
10.0.0.5:80  TCP 192.0.2.10:80       1       0         0  in the kernel, not in the manifest
10.0.0.3     TCP 192.0.2.10:80       1       -         -  not in the kernel

EXCLUDED  REASON                MESSAGE
10.9.9.9  EndpointNotPermitted  the pool does not permit it
and 4 more
`);
  assert.deepEqual(connectionsOf(realServers.get('default/shop')!), { active: 8, inactive: 11 });
});

test('without the kernel the real servers are those of the program', () => {
  const rows = realServersOf(program(), null, {}, 0);
  assert.deepEqual(rows.map((r) => [r.realServer, r.weight, r.active, r.state]), [['10.0.0.1', 3, null, 'unknown'], ['10.0.0.2', 0, null, 'unknown'], ['10.0.0.3', 1, null, 'unknown']]);
  assert.equal(connectionsOf(rows), null);
});

test('a range is looked up by its mark, in every family of its VIPs', () => {
  const spec = {
    addresses: [{ address: '192.0.2.10', family: 'IPv4' as const }, { address: '2001:db8::10', family: 'IPv6' as const }],
    services: [{ ports: [{ name: '', protocol: 'UDP' as const, port: 1000, endPort: 2000 }], mark: 77, realServers: ['10.0.0.1|0|1|', 'fd00::1|0|1|'] }],
  };
  const mark = service({ fwmark: 77, address: '', port: 0 });
  const rows = realServersOf(program(spec), observed(mark, destination({ port: 0 })), {}, 0);
  assert.deepEqual(rows.map((r) => [r.service, r.realServer, r.state]), [['FWM 77 IPv4', '10.0.0.1:0', 'serving'], ['FWM 77 IPv6', 'fd00::1', 'missing']]);
});

test('a suspended VirtualServer is as its manifest asks', () => {
  assert.ok(serverOk(server({ conditions: [no('Accepted', 'Suspended', ''), no('Ready', 'Suspended', '')] })));
  assert.ok(!serverOk(server({ conditions: [no('Accepted', 'PortConflict', '')] })));
});

test('a VirtualServer whose newest manifest is wrong is not as its manifest asks, although its last good form is served', () => {
  const lastGood = { type: 'Degraded', status: 'True' as const, reason: 'UsingLastGood', message: 'the last good form is served' };
  assert.ok(!serverOk(server({ conditions: [...conditions, lastGood] })));
  assert.ok(serverOk(server({ conditions: [...conditions, { ...lastGood, reason: 'ChecksIgnored' }] })), 'that is about real servers, not about the manifest');
});

test('tables align text left and numbers right, and say - for nothing', () => {
  assert.equal(formatTable(['A', 'LONGER', 'N'], [['aaa', 'b', 5], ['c', '', null], ['d', 'e\nf', 100]]), 'A    LONGER    N\naaa  b         5\nc              -\nd    e f     100\n');
});

test('times are told in one unit', () => {
  assert.deepEqual([0, 59.6, 119, 120, 7199, 7200, 172_800].map(formatSeconds), ['0 s', '60 s', '119 s', '2 min', '120 min', '2 h', '2 d']);
});

const folder = mkdtempSync(join(tmpdir(), 'status-'));
after(() => rmSync(folder, { recursive: true, force: true }));
function stateFolder(name: string, status: HostStatus | string, programs: readonly Program[] = []): string {
  const path = join(folder, name);
  mkdirSync(path);
  writeFileSync(join(path, 'status.json'), typeof status === 'string' ? status : JSON.stringify(status));
  const body = JSON.stringify({ version: 1, memory: { claims: {}, marks: {} }, groups: [], programs });
  writeFileSync(join(path, 'snapshot.json'), `${JSON.stringify({ version: 1, sha256: createHash('sha256').update(body).digest('hex') })}\n${body}`);
  return path;
}

test('as a process: text, exit code 0', () => {
  const { code, stdout, stderr } = run(['status', '--state', stateFolder('ok', host(), [program()])]);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^host lb1: ok, as of \d+ s ago\n/);
  assert.doesNotMatch(stdout, /has ended/);
  assert.match(stdout, /default\/shop/);
});

test('as a process: one VirtualServer as JSON, exit code 1 when it is not as asked for', () => {
  const status = host({ ok: false, virtualServers: { 'default/shop': server({ conditions: [no('Accepted', 'PortConflict', 'taken')] }) } });
  const { code, stdout } = run(['status', '--state', stateFolder('json', status, [program()]), '-o', 'json', 'shop']);
  assert.equal(code, 1);
  const value = JSON.parse(stdout) as { name: string; ok: boolean; running: boolean; realServers: unknown[]; missing: string[] };
  assert.deepEqual([value.name, value.ok, value.running, value.realServers.length], ['default/shop', false, true, 3]);
});

test('as a process: the writer is gone when its pid is, and when its pid belongs to a younger process', async () => {
  const child = spawn('sleep', ['600']);
  try {
    const old = stateFolder('young', host({ pid: child.pid! }));
    const past = Date.now() / 1000 - 3600;
    utimesSync(join(old, 'status.json'), past, past);
    assert.equal((JSON.parse(run(['status', '--state', old, '-o', 'json']).stdout) as { running: boolean }).running, false);
  } finally {
    child.kill();
  }
  // Larger than any pid (PID_MAX_LIMIT is 2^22).
  assert.match(run(['status', '--state', stateFolder('gone', host({ pid: 2 ** 22 + 1 }))]).stdout, /has ended/);
});

const NO_STATUS: readonly (readonly [what: string, make: () => string, message: RegExp])[] = [
  ['there is no folder', () => join(folder, 'nowhere'), /there is no status: .*start standalone, or name its folder with --state/],
  ['the folder is that of an agent in a cluster', () => { const path = join(folder, 'agent'); mkdirSync(path); writeFileSync(join(path, 'cluster.json'), ''); return path; }, /there is no status: .*kubectl get ivn, and ipvs-operator explain/],
  ['the file is broken', () => stateFolder('broken', '{'), /cannot be read/],
  ['the file is of another version', () => stateFolder('future', JSON.stringify({ version: 9 })), /of another version \(9\)/],
];
for (const [what, make, message] of NO_STATUS) {
  test(`exit code 3 when ${what}`, async (t) => {
    const written: string[] = [];
    t.mock.method(process.stderr, 'write', (text: string) => written.push(text) > 0);
    assert.equal(await statusCommand(['--state', make()], new AbortController().signal), 3);
    assert.match(written.join(''), message);
  });
}

test('a name that does not exist is answered with those that do', async () => {
  const state = stateFolder('names', host());
  await assert.rejects(statusCommand(['--state', state, 'shpo'], new AbortController().signal), { code: 'USAGE', message: /there is no VirtualServer shpo; there is: default\/shop/ });
});
