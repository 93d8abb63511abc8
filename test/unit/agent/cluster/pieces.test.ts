/** Options, snapshot, heartbeat, status writer, claimables and metrics of the agent, each by itself. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Assignment } from '../../../../src/agent/cluster/assignment.ts';
import { claimables, presentVips } from '../../../../src/agent/cluster/claimables.ts';
import { agentMetrics, serviceNames } from '../../../../src/agent/cluster/metrics.ts';
import { readAgentOptions } from '../../../../src/agent/cluster/options.ts';
import { groupDutyOf } from '../../../../src/agent/cluster/programs.ts';
import { HELD_FILE, heldFile, loadBinds, loadSnapshot, TOLD_FILE, toldText } from '../../../../src/agent/cluster/snapshot.ts';
import { StatusWriter } from '../../../../src/agent/cluster/status-writer.ts';
import { Heartbeat, type Beat } from '../../../../src/agent/ownership/heartbeat.ts';
import { StateFolder } from '../../../../src/agent/state-folder.ts';
import type { DirectorGroup, IPVSNodeStatus, VirtualIP } from '../../../../src/api/v1alpha1/index.ts';
import { ADDRESS_PROTOCOL } from '../../../../src/kernel/net/types.ts';
import { ERRNO } from '../../../../src/kernel/netlink/errors.ts';
import { ApiError } from '../../../../src/kube/errors.ts';
import type { Lease } from '../../../../src/kube/lease.ts';
import type { Edit } from '../../../../src/kube/client.ts';
import type { KubeObject } from '../../../../src/kube/types.ts';
import { createMetrics } from '../../../../src/observe/metrics.ts';
import { refusal } from '../../fake-kernel.ts';
import { facts, makeKernel, program, tempFolder, TestNode } from '../setup.ts';
import { patched } from '../../kube/json-patch.ts';
import { ClusterBench, hashed, until } from './bench.ts';

const silence = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

// ---- options

test('options: the node from --node or NODE_NAME, everything else has a default', () => {
  assert.deepEqual(readAgentOptions(['--node', 'n1'], {}), {
    node: 'n1', kubeconfig: null, state: '/var/lib/ipvs-operator', namespace: 'ipvs-system', resyncSeconds: 10, bindLingerSeconds: 600, listen: '127.0.0.1:9822', logLevel: 'info',
  });
  const other = readAgentOptions(['--resync', '60', '--bind-linger', '0', '--kubeconfig', 'f', '--listen', '[::1]:1', '--state', 's'], { NODE_NAME: 'n2', POD_NAMESPACE: 'lb' });
  assert.deepEqual([other.node, other.namespace, other.resyncSeconds, other.bindLingerSeconds, other.listen], ['n2', 'lb', 60, 0, '[::1]:1']);
});

const WRONG: readonly [string[], RegExp][] = [
  [[], /--node NAME is missing/], [['--node', 'n', '--resync', '0'], /--resync 0/], [['--node', 'n', '--resync', '1.5'], /whole number/], [['--node', 'n', '--bind-linger', ''], /--bind-linger/],
  [['--node', 'n', '--listen', '9822'], /HOST:PORT/], [['--node', 'n', '--listen', ':99999'], /--listen :99999/], [['--node', 'n', '--log-level', 'loud'], /--log-level loud/], [['--node', 'n', '--nonsense'], /nonsense/], [['n'], /positional|Unexpected/],
];
for (const [args, message] of WRONG) test(`options: ${args.join(' ') || 'none'} is refused`, () => { assert.throws(() => readAgentOptions(args, {}), { code: 'USAGE', message }); });

// ---- snapshot

function folderOf(t: { after(fn: () => void): void }): StateFolder {
  const folder = StateFolder.open(tempFolder(t));
  t.after(() => folder.close());
  return folder;
}
const spec = { directorGroups: ['edge'], realServer: { binds: [] }, reservedAddresses: [] };
const edge: DirectorGroup = { apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'DirectorGroup', metadata: { name: 'edge' }, spec: { interface: { match: 'SubnetOf' }, failover: { leaseDurationSeconds: 6, renewSeconds: 2 }, connectionSync: { enabled: false, syncId: 51 } } };

test('a snapshot is what was written; that of another node, of another version, or a broken one is none', (t) => {
  const folder = folderOf(t);
  assert.equal(loadSnapshot(folder, 'n1', silence), null);
  const programs = [hashed(program()), hashed(program({ owner: 'default/other' }))];
  const binds = [{ bind: { address: '10.0.1.200', family: 'IPv4' as const, mode: 'DR' as const, localAddress: '10.0.1.11', virtualServer: 'default/shop' }, until: 5 }];
  folder.writeParts(TOLD_FILE, toldText('n1', 'a', { spec, groups: [groupDutyOf(edge)], programs }));
  folder.write(HELD_FILE, heldFile('n1', new Set(['10.0.1.201', '10.0.1.200']), binds));
  const { state, owned } = loadSnapshot(folder, 'n1', silence)!;
  assert.deepEqual([state.spec, [...state.groups.keys()], [...state.programs.values()], state.binds, [...owned]], [spec, ['edge'], programs, binds, ['10.0.1.200', '10.0.1.201']]);
  const warnings: object[] = [];
  assert.equal(loadSnapshot(folder, 'n2', { ...silence, warn: (fields) => { warnings.push(fields); } }), null);
  assert.match(JSON.stringify(warnings), /it is of node/);
  assert.deepEqual(loadBinds(folder, 'n1', silence), binds, 'deadlines outlive the large file');
  folder.write(TOLD_FILE, { version: 99, node: 'n1' });
  assert.equal(loadSnapshot(folder, 'n1', silence), null);
  writeFileSync(join(folder.path, `${HELD_FILE}.json`), 'x');
  assert.deepEqual(loadBinds(folder, 'n1', silence), []);
});

// ---- heartbeat

/** Runs it against a scripted server; the sleeps are recorded and end at once or when the test says so. */
function heart(answer: () => void = () => {}, onReturn: () => void = () => {}) {
  const state = { now: 0, leases: [] as Lease[], sleeps: [] as number[], go: null as (() => void) | null };
  const store = (lease: Lease): Lease => {
    answer();
    const stored = { ...lease, metadata: { ...lease.metadata, resourceVersion: String(state.leases.length + 1) } };
    state.leases.push(stored);
    return stored;
  };
  const stop = new AbortController();
  const heartbeat = new Heartbeat({
    client: {
      get: async () => { if (state.leases.length === 0) throw new ApiError({ code: 'NOT_FOUND', message: '', verb: 'GET', path: '' }); return state.leases.at(-1) as never; },
      create: async (_: unknown, object: KubeObject) => store(object as Lease) as never, update: async (_: unknown, object: KubeObject) => store(object as Lease) as never,
    },
    namespace: 'ipvs-system', node: 'n1', now: () => state.now, wallClock: () => state.now, random: () => 0, log: silence, onReturn,
    sleep: (ms, signal) => new Promise((resolve, reject) => {
      state.sleeps.push(ms);
      state.go = resolve;
      signal.addEventListener('abort', () => reject(new DOMException('', 'AbortError')), { once: true });
    }),
  });
  const ended = heartbeat.run(stop.signal);
  const settle = async () => { for (let i = 0; i < 20; i++) await new Promise((resolve) => { setImmediate(resolve); }); };
  return { state, heartbeat, settle, pass: async (ms: number) => { state.now += ms; state.go?.(); await settle(); }, stop: async () => { stop.abort(); await ended; } };
}
const beat = (groups: string[], prefixes: string[] = []): Beat => ({ profile: { groups, prefixes }, durationSeconds: 6, renewSeconds: 2 });
const groupsOf = (lease: Lease | undefined) => lease?.metadata.annotations?.['ipvs-operator.dev/groups'];

test('a heartbeat renews one Lease, tells news at once, and says goodbye once', async () => {
  const { state, heartbeat, settle, pass, stop } = heart();
  await settle();
  assert.deepEqual([state.leases.length, heartbeat.renewedAt], [0, -Infinity], 'nothing to say');
  heartbeat.set(beat(['edge']));
  await settle();
  assert.deepEqual([state.leases.length, groupsOf(state.leases[0]), state.leases[0]!.spec!.leaseDurationSeconds, heartbeat.renewedAt, state.sleeps.at(-1)], [1, 'edge', 6, 0, 2_000]);
  await pass(2_000);
  assert.deepEqual([state.leases.length, heartbeat.renewedAt], [2, 2_000]);
  assert.notEqual(state.leases[1]!.spec!.renewTime, state.leases[0]!.spec!.renewTime);
  heartbeat.set(beat(['edge']));
  await settle();
  assert.equal(state.leases.length, 2, 'the same is no news');
  heartbeat.set(beat(['edge', 'inner']));
  await settle();
  assert.equal(groupsOf(state.leases.at(-1)), 'edge,inner');
  heartbeat.set(null);
  await settle();
  assert.deepEqual([state.leases.length, groupsOf(state.leases.at(-1))], [4, '']);
  await pass(60_000);
  assert.equal(state.leases.length, 4);
  await stop();
});

test('a heartbeat that fails tries again soon, and does not count as renewed', async () => {
  let away = false;
  const { state, heartbeat, settle, pass, stop } = heart(() => { if (away) throw new ApiError({ code: 'UNREACHABLE', message: '', verb: 'PUT', path: '' }); });
  heartbeat.set(beat(['edge']));
  await settle();
  away = true;
  await pass(2_000);
  await pass(1_000);
  assert.deepEqual([state.leases.length, heartbeat.renewedAt, state.sleeps.slice(-2)], [1, 0, [1_000, 1_000]]);
  away = false;
  await pass(1_000);
  assert.deepEqual([state.leases.length, heartbeat.renewedAt], [2, 4_000]);
  await stop();
});

test('a heartbeat that was silent for longer than its Lease lasts says that it is back, once', async () => {
  let away = false;
  const returns: number[] = [];
  const { state, heartbeat, settle, pass, stop } = heart(() => { if (away) throw new ApiError({ code: 'UNREACHABLE', message: '', verb: 'PUT', path: '' }); }, () => { returns.push(state.now); });
  heartbeat.set(beat(['edge']));
  await settle();
  away = true;
  await pass(2_000);
  away = false;
  await pass(1_000);
  assert.deepEqual(returns, [], 'nobody has missed it, and its first renewal was no return');
  away = true;
  for (let i = 0; i < 7; i++) await pass(1_000);
  away = false;
  await pass(1_000);
  await pass(2_000);
  assert.deepEqual(returns, [11_000]);
  await stop();
});

// ---- status writer

const never = (): never => { throw new Error('not to be called'); };

test('a status over which somebody wrote is written again, and what was added to it taken away', async () => {
  const [stop, status] = [new AbortController(), { drifts: 7, conditions: [] as { type: string }[] }];
  const calls: string[] = [];
  const extra = { ...status, conditions: [{ type: 'Stranger' }] };
  const writer = new StatusWriter({
    client: {
      // Server-side apply leaves what others own.
      apply: async () => { calls.push('apply'); return { metadata: {}, status: calls.length === 1 ? status : extra } as never; },
      editStatus: never,
      update: async (_resource: unknown, object: KubeObject) => { calls.push(`update ${JSON.stringify((object as { status?: unknown }).status)}`); return object as never; },
    },
    writing: () => {}, wrote: () => {}, node: 'n1', status: () => status as never, known: () => [], now: () => 0, random: () => 0, log: silence, sleep: async () => { await new Promise((resolve) => { setImmediate(resolve); }); },
  });
  const ended = writer.run(stop.signal);
  const settle = async () => { for (let i = 0; i < 20; i++) await new Promise((resolve) => { setImmediate(resolve); }); };
  writer.ask();
  await settle();
  assert.ok(writer.recognises({ conditions: [], drifts: 7 }));
  assert.deepEqual(calls, ['apply'], 'our own, come back with its keys in another order');
  assert.ok(!writer.recognises(extra as never));
  writer.spoiled();
  await settle();
  assert.deepEqual(calls, ['apply', 'apply', `update ${JSON.stringify(status)}`]);
  stop.abort();
  await ended;
});

test('programs in another form are reported within five seconds, together; one more or less, or one that failed, within one', async () => {
  let now = 0;
  const form = (hashes: string, more: Partial<IPVSNodeStatus> = {}): IPVSNodeStatus =>
    ({ applied: [...hashes].map((hash, i) => `default/web-${i}|${hash}`), programs: { applied: hashes.length, failed: 0, digest: hashes }, ...more });
  let current = form('ab');
  const written: [at: number, digest: string | undefined, how?: 'edited'][] = [];
  const stop = new AbortController();
  const writer: StatusWriter = new StatusWriter({
    client: {
      update: never, apply: async (_: unknown, object: KubeObject) => { written.push([now, (object as { status?: IPVSNodeStatus }).status?.programs?.digest]); return object as never; },
      editStatus: async (_: unknown, __: unknown, ___: unknown, edits: readonly Edit[]) => {
        const before = written.at(-1)![1];
        const status: IPVSNodeStatus = patched({ status: { ...current, ...form(before!) } }, edits)!.status;
        assert.deepEqual(status, current, 'the edits of what was written before make it what is to be said');
        written.push([now, status.programs?.digest, 'edited']);
        return { metadata: {} } as never;
      },
    },
    writing: () => {}, wrote: () => {}, node: 'n1', status: () => current, known: () => [], now: () => now, random: () => 0, log: silence,
    sleep: async (ms) => { now += ms; await new Promise((resolve) => { setImmediate(resolve); }); },
  });
  const settle = async () => { for (let i = 0; i < 40; i++) await new Promise((resolve) => { setImmediate(resolve); }); };
  const say = async (status: IPVSNodeStatus) => {
    current = status;
    writer.ask();
    await settle();
  };
  const ended = writer.run(stop.signal);
  await say(form('ab'));
  await say(form('ac'));
  assert.deepEqual(written, [[0, 'ab'], [5_000, 'ac', 'edited']], 'another form');
  await say(form('acd'));
  assert.deepEqual(written.at(-1), [6_000, 'acd'], 'one more');
  await say(form('ac', { failures: [{ virtualServer: 'default/web-2', code: 'X', message: '' }] }));
  assert.deepEqual(written.at(-1), [7_000, 'ac'], 'one that failed');
  now += 60_000;
  await say(form('ad', { failures: [{ virtualServer: 'default/web-2', code: 'X', message: '' }] }));
  assert.deepEqual(written.at(-1), [68_000, 'ad', 'edited'], 'a change alone waits for nothing');
  stop.abort();
  writer.ask();
  await ended;
});

test('where the server has not what was written before, edits are refused and everything is written; every write says what it made', async (t) => {
  let current: IPVSNodeStatus = { applied: ['default/web|a'], programs: { applied: 1, failed: 0, digest: 'a' } };
  const calls: string[] = [];
  let now = 0;
  const stop = new AbortController();
  t.after(() => stop.abort());
  let failure: ApiError | null = null;
  const writer = new StatusWriter({
    client: {
      update: never, apply: async () => { calls.push('apply'); return { metadata: { resourceVersion: String(calls.length) } } as never; },
      editStatus: async () => { calls.push('edit'); if (failure) throw failure; return { metadata: { resourceVersion: String(calls.length) } } as never; },
    },
    writing: () => { calls.push('('); }, wrote: (version) => { calls.push(`${version})`); }, node: 'n1', status: () => current, known: () => [], now: () => now, random: () => 0, log: silence,
    sleep: async (ms) => { now += ms; await new Promise((resolve) => { setImmediate(resolve); }); },
  });
  const say = async (hash: string): Promise<string> => {
    calls.length = 0;
    current = { applied: [`default/web|${hash}`], programs: { applied: 1, failed: 0, digest: hash } };
    writer.ask();
    for (let i = 0; i < 40; i++) await new Promise((resolve) => { setImmediate(resolve); });
    return calls.join(' ');
  };
  const ended = writer.run(stop.signal);
  assert.equal(await say('a'), '( apply 2)');
  assert.equal(await say('b'), '( edit 2)');
  failure = new ApiError({ code: 'INVALID', message: 'a test in it does not hold', verb: 'PATCH', path: '' });
  assert.equal(await say('c'), '( edit apply 3)');
  failure = new ApiError({ code: 'UNREACHABLE', message: '', verb: 'PATCH', path: '' });
  assert.match(await say('d'), /^\( edit null\) \( edit null\)/, 'not sent as a whole to a server that is away');
  stop.abort();
  await ended;
});

test('a status is written when it changed, once a second at most, and until it is written', async () => {
  let [now, away] = [0, false];
  let current: IPVSNodeStatus | null = { drifts: 0 };
  const written: unknown[] = [];
  const sleeps: { ms: number; go: () => void }[] = [];
  const stop = new AbortController();
  const writer = new StatusWriter({
    writing: () => {}, wrote: () => {},
    client: { update: never, editStatus: never, apply: async (_: unknown, object: KubeObject) => { if (away) throw new ApiError({ code: 'UNREACHABLE', message: '', verb: 'PATCH', path: '' }); written.push((object as { status?: unknown }).status); return object as never; } },
    node: 'n1', status: () => current, known: () => [], now: () => now, random: () => 0, log: silence,
    sleep: (ms, signal) => new Promise((resolve, reject) => { sleeps.push({ ms, go: resolve }); signal.addEventListener('abort', () => reject(new DOMException('', 'AbortError')), { once: true }); }),
  });
  const ended = writer.run(stop.signal);
  const settle = async () => { for (let i = 0; i < 10; i++) await new Promise((resolve) => { setImmediate(resolve); }); };
  const wait = async () => { const s = sleeps.shift()!; now += s.ms; s.go(); await settle(); return s.ms; };
  writer.ask();
  await settle();
  current = { drifts: 1 };
  writer.ask();
  await settle();
  assert.deepEqual(written, [{ drifts: 0 }], 'not twice in a second');
  assert.equal(await wait(), 1_000);
  assert.deepEqual(written.length, 2);
  await wait();
  writer.ask();
  await settle();
  assert.deepEqual([written.length, sleeps.length], [2, 0], 'the same is not written');
  current = null;
  writer.ask();
  await settle();
  away = true;
  current = { drifts: 2 };
  writer.ask();
  await settle();
  const waits = [await wait(), await wait(), await wait()];
  assert.ok(waits.every((ms, i) => ms >= 1_000 && (i === 0 || ms > waits[i - 1]!)), waits.join());
  away = false;
  await wait();
  assert.deepEqual([written.at(-1), writer.counts.written, writer.counts.failed], [{ drifts: 2 }, 3, 4]);
  await wait();
  writer.forget();
  await settle();
  assert.equal(written.length, 4, 'another object is told everything');
  stop.abort();
  await ended;
});

// ---- claimables

test('what can be claimed: by whom it is wanted, where it would be, and whether this node could serve it', async (t) => {
  const host = new TestNode(t, { role: 'auto' });
  const agent = host.start([]);
  const state = { spec, groups: new Map([['edge', groupDutyOf(edge)]]), binds: [], programs: new Map([program({ directorGroup: 'edge' }), program({ directorGroup: 'edge', owner: 'default/bad', vips: ['10.0.1.201'], scheduler: { name: 'nonsense' } })].map((p) => [p.owner, p])) };
  const full = new Assignment({ node: 'n1' }, state);
  const change = full.take()!;
  agent.update(change.programs, change.groups!, full.duties(new Set()));
  await agent.reconcile('full');
  const input = { assignment: full, index: agent.index!, view: agent.view, addresses: agent.addresses, known: new Set(['edge']) };
  const object = { spec: { address: '10.0.1.200' }, status: { activeNode: 'n2', epoch: 4 } } as VirtualIP;
  const good = claimables(input)('10.0.1.200', 'edge', object, false);
  assert.deepEqual([good.wanted, good.fit, good.present, good.place, good.status, good.bySubnet], [true, true, false, { vip: { link: 'e0', family: 'IPv4', address: '10.0.1.200' }, mac: '02:00:00:00:01:11' }, { activeNode: 'n2', epoch: 4 }, true]);
  const refused = claimables(input)('10.0.1.201', 'edge', object, false);
  assert.deepEqual([refused.wanted, refused.fit], [true, false], 'its program is refused');
  const unwanted = claimables(input)('10.0.1.202', 'edge', object, true);
  assert.deepEqual([unwanted.wanted, unwanted.fit], [false, false]);
  const unknown = claimables({ ...input, known: new Set() })('10.0.1.202', 'edge', object, true);
  assert.deepEqual([unknown.wanted, unknown.fit], [true, false], 'while programs are unknown nothing is unwanted, and nothing is taken');
  assert.equal(claimables(input)('192.0.2.1', 'edge', object, false).place, null);
  const dark = facts(host.kernel, { role: 'auto', links: host.kernel.net.links.map((l) => ({ ...l, carrier: false })) });
  assert.equal(claimables({ ...input, index: dark })('10.0.1.200', 'edge', object, false).place, null, 'no carrier, no place');
  agent.update(new Map(), undefined, full.duties(new Set(['10.0.1.200'])));
  await agent.reconcile('changes');
  assert.equal(claimables({ ...input, addresses: agent.addresses })('10.0.1.200', 'edge', object, true).present, true);
});

test('a VIP that is refused does not keep this node from taking another one of the same VirtualServer', async (t) => {
  const host = new TestNode(t, { role: 'auto' });
  const agent = host.start([]);
  const dual = program({ directorGroup: 'edge', vips: ['10.0.1.200', 'fd00:1::200', 'fd00:1::201'] });
  const full = new Assignment({ node: 'n1' }, { spec: { ...spec, reservedAddresses: ['fd00:1::200'] }, groups: new Map([['edge', groupDutyOf(edge)]]), binds: [], programs: new Map([[dual.owner, dual]]) });
  const change = full.take()!;
  agent.update(change.programs, change.groups!, full.duties(new Set()));
  const fits = async () => {
    await agent.reconcile('full');
    const make = claimables({ assignment: full, index: agent.index!, view: agent.view, addresses: agent.addresses, known: new Set(['edge']) });
    return dual.spec.addresses.map(({ address }) => make(address, 'edge', null, false).fit);
  };
  assert.deepEqual(await fits(), [true, false, true], 'one became the address of a node');
  host.kernel.ipvs.ipv6 = false;
  const again = host.start([]);
  again.update(change.programs, change.groups!, full.duties(new Set()));
  await again.reconcile('full');
  const make = claimables({ assignment: full, index: again.index!, view: again.view, addresses: again.addresses, known: new Set(['edge']) });
  assert.deepEqual(dual.spec.addresses.map(({ address }) => make(address, 'edge', null, false).fit), [true, false, false]);
});

test('one real server that the kernel refuses keeps no director from taking the VIP; all of them do', async (t) => {
  const fits = async (refused: (address: string) => boolean, kind: string) => {
    const host = new TestNode(t, { role: 'auto' });
    const agent = host.start([]);
    // The broadcast address of the network, as somebody mistyped it: ip_vs says EINVAL.
    const shop = program({ directorGroup: 'edge', realServers: ['10.0.1.21', '10.0.1.255'] });
    const full = new Assignment({ node: 'n1' }, { spec, groups: new Map([['edge', groupDutyOf(edge)]]), binds: [], programs: new Map([[shop.owner, shop]]) });
    const change = full.take()!;
    host.kernel.refuse((o) => (o.kind === kind && (o.kind !== 'addDestination' || refused(o.destination.address)) ? refusal('NEW_DEST', ERRNO.EINVAL) : null));
    agent.update(change.programs, change.groups!, full.duties(new Set()));
    await agent.reconcile('full');
    assert.ok(agent.view.failures.length > 0);
    const make = claimables({ assignment: full, index: agent.index!, view: agent.view, addresses: agent.addresses, known: new Set(['edge']) });
    return make('10.0.1.200', 'edge', null, false).fit;
  };
  assert.deepEqual([await fits((a) => a === '10.0.1.255', 'addDestination'), await fits(() => true, 'addDestination'), await fits(() => false, 'setSysctl')], [true, false, false]);
});

test('VIPs that stand on NICs are ours by ledger or mark; those on lo and tunnels are a real server\'s', () => {
  const { net } = makeKernel();
  net.addLink({ name: 't0', kind: 'ipip', tunnelLocal: '10.0.1.11' });
  net.address('e0', '10.0.1.200', 32, { protocol: ADDRESS_PROTOCOL });
  net.address('e0', '10.0.1.201', 32);
  net.address('e0', '10.0.1.202', 32);
  net.address('lo', '10.0.1.203', 32, { protocol: ADDRESS_PROTOCOL });
  net.address('t0', '10.0.1.204', 32, { protocol: ADDRESS_PROTOCOL });
  net.address('e0', '10.0.9.9', 24, { protocol: ADDRESS_PROTOCOL });
  assert.deepEqual(presentVips(net.observe(), { 'e0 10.0.1.201': { link: 'e0', family: 'IPv4', address: '10.0.1.201' } }), ['10.0.1.200', '10.0.1.201']);
});

// ---- metrics

test('services of the kernel have the names that people gave them', () => {
  const marked = program({ owner: 'b/range', vips: ['10.0.1.201', '10.0.1.202'], services: [{ ports: [{ name: '', protocol: 'UDP', port: 100, endPort: 200 }, { name: '', protocol: 'TCP', port: 80, endPort: 80 }], mark: 7, realServers: [] }] });
  const names = serviceNames(new Map([program(), marked].map((p) => [p.owner, p])));
  assert.deepEqual([...names], [
    ['TCP 10.0.1.200:80', { namespace: 'default', name: 'shop', address: '10.0.1.200', port: '80', protocol: 'TCP' }],
    ['FWM 7 IPv4', { namespace: 'b', name: 'range', address: '10.0.1.201', port: '100-200,80', protocol: 'UDP,TCP' }],
  ]);
});

test('the agent measures what it does', async (t) => {
  const { bench, n1 } = await ClusterBench.startDirector(t);
  await until('the VIP is held and reported', () => bench.nodeStatus('n1').ownedVIPs?.length === 1 && bench.nodeStatus('n1').boundVIPs?.length === 1);
  n1.kernel.ipvs.statistics = async () => new Map([['TCP 10.0.1.200:80', { connections: 5n, inPackets: 6n, outPackets: 7n, inBytes: 8n, outBytes: 9n }], ['TCP 10.9.9.9:1', { connections: 1n, inPackets: 1n, outPackets: 1n, inBytes: 1n, outBytes: 1n }]]);
  const metrics = createMetrics({ process: false, onError: (error) => { throw error; } });
  const own = agentMetrics(metrics, '1.2.3');
  own.pass({ operations: 1, failures: [], settled: true }, { extent: 'full', tookMs: 12 });
  own.pass(null, { extent: 'changes', tookMs: 1 });
  own.watch(n1.host, n1.agent, () => null, () => null, n1.kernel.ipvs, () => performance.now(), new AbortController().signal);
  let text = '';
  for await (const part of metrics.scrape()) text += part;
  for (const line of [
    'ipvs_operator_build_info{version="1.2.3",role="agent"} 1', 'ipvs_operator_agent_reconciles_total{extent="full",result="success"} 1', 'ipvs_operator_agent_reconciles_total{extent="changes",result="error"} 1',
    'ipvs_operator_agent_operations_total{kind="addService"} 1', 'ipvs_operator_agent_owned_vips 1', 'ipvs_operator_agent_bound_vips 1', 'ipvs_operator_agent_programs{state="applied"} 1',
    'ipvs_operator_agent_vip_changes_total{change="claimed"} 1', 'ipvs_operator_agent_snapshot_in_use 0', 'ipvs_operator_reflector_objects{resource="virtualips.ipvs-operator.dev"} 1',
    'ipvs_operator_reflector_synced{resource="virtualserverprograms.ipvs-operator.dev"} 1', 'ipvs_operator_service_connections_total{namespace="default",name="shop",address="10.0.1.200",port="80",protocol="TCP"} 5',
    'ipvs_operator_service_bytes_total{namespace="default",name="shop",address="10.0.1.200",port="80",protocol="TCP",direction="out"} 9',
  ]) assert.ok(text.split('\n').includes(line), `${line}\nis not in\n${text.split('\n').filter((l) => l.startsWith(line.split(/[{ ]/, 1)[0]!)).join('\n')}`);
  assert.doesNotMatch(text, /10\.9\.9\.9/, 'what is not ours is not counted');
});

// ---- what it loads

test('the agent loads neither client-node nor zod nor undici, which an import of node:http would bring, and a YAML parser only for a kubeconfig', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'agent-loads-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const script = join(folder, 'load.mjs');
  writeFileSync(script, `
    import { registerHooks } from 'node:module';
    const seen = new Set();
    registerHooks({ load(url, context, next) { const m = /node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(url); if (m) seen.add(m[1]); return next(url, context); } });
    await import(${JSON.stringify(join(import.meta.dirname, '../../../../src/agent/cluster/run.ts'))});
    process.stdout.write(JSON.stringify({ loaded: [...seen], builtin: process.moduleLoadList }));`);
  const { loaded, builtin } = JSON.parse(execFileSync(process.execPath, [script], { encoding: 'utf8' })) as { loaded: string[]; builtin: string[] };
  assert.ok(loaded.includes('pino'), 'or this test would see nothing');
  for (const name of ['@kubernetes/client-node', 'zod', 'js-yaml', '@kubernetes-models/base']) assert.ok(!loaded.includes(name), `${name} is loaded`);
  // Three megabytes.
  assert.deepEqual([builtin.some((name) => name.endsWith(' http')), builtin.filter((name) => name.includes('undici'))], [true, []]);
  assert.match(readFileSync(join(import.meta.dirname, '../../../../src/agent/cluster/run.ts'), 'utf8'), /await import\('\.\.\/\.\.\/kube\/kubeconfig-file\.ts'\)/);
});
