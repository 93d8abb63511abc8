/** Plans of services and real servers: order, drains, adoption, what is not ours, incomplete read-backs. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { drainStep, type DrainRecords, type Leaving } from '../../../src/agent/drain.ts';
import type { ServiceEntry } from '../../../src/agent/ledger.ts';
import { formatOperation, unfold } from '../../../src/agent/operation.ts';
import { planIpvs, type IpvsPlan, type IpvsPlanInput } from '../../../src/agent/plan-ipvs.ts';
import type { DesiredService } from '../../../src/agent/state.ts';
import { DestinationTable } from '../../../src/kernel/ipvs/destinations.ts';
import { SCHEDULER_FLAG, SERVICE_FLAG, serviceKey, type Destination, type Service } from '../../../src/kernel/ipvs/types.ts';
import { destination, makeKernel, service } from './setup.ts';

const OWNER = 'default/shop';
const KEY = 'TCP 10.0.1.200:80';
const MINUTE = 60_000;

function wanted(s: Service, destinations: readonly Destination[], drainSeconds = 60): DesiredService {
  return { service: s, destinations: DestinationTable.from(destinations), drainSeconds, owner: OWNER };
}

interface Given extends Partial<Omit<IpvsPlanInput, 'desired' | 'observed'>> {
  desired?: readonly DesiredService[];
  /** What stands in the kernel, oldest first. */
  there?: readonly { service: Service; destinations?: readonly Destination[] }[];
  connections?: readonly [service: string, destination: string, active: number, inactive?: number][];
  hideServices?: (key: string) => boolean;
  hideDestinations?: (service: string, destination: string) => boolean;
}

async function planned({ desired = [], there = [], connections = [], hideServices, hideDestinations, ...rest }: Given): Promise<IpvsPlan> {
  const { ipvs } = makeKernel();
  for (const { service: s, destinations } of there) ipvs.put(s, destinations);
  for (const [s, d, active, inactive] of connections) ipvs.connections(s, d, active, inactive);
  ipvs.lies = { ...(hideServices && { services: { hide: hideServices } }), ...(hideDestinations && { destinations: { hide: hideDestinations } }) };
  return planIpvs({
    desired: new Map(desired.map((d) => [serviceKey(d.service), d])), observed: await ipvs.readAll(), ledger: {}, fresh: false, drains: {}, now: 0,
    scope: null, noneScheduler: true, ...rest,
  });
}

function operations(p: IpvsPlan): string[] {
  return [...p.create, ...p.addDestinations, ...p.setServices, ...p.setDestinations, ...p.delDestinations, ...p.setSchedulers, ...p.delServices].flatMap((w) => unfold([w])).map(formatOperation);
}

const ours: Record<string, ServiceEntry> = { [KEY]: { owner: OWNER } };
const rs = (n: number, fields: Partial<Destination> = {}) => destination(`10.0.1.${20 + n}`, fields);

test('a new service is added with its real servers and nothing else is done', async () => {
  const p = await planned({ desired: [wanted(service(), [rs(1), rs(2)])] });
  assert.deepEqual(unfold(p.create).map((o) => o.kind), ['addService', 'addDestination', 'addDestination']);
  assert.equal(operations(p).length, 3);
  assert.deepEqual([...p.entries], [[KEY, { owner: OWNER }]]);
});

for (const [name, scheduler, count, first] of [
  ['mh with two real servers', 'mh', 2, 'none'], ['mh with one real server', 'mh', 1, 'mh'], ['wrr with 33 real servers', 'wrr', 33, 'none'],
  ['wrr with 32 real servers', 'wrr', 32, 'wrr'],
] as const) {
  test(`a new service: ${name} is created with scheduler ${first}`, async () => {
    const p = await planned({ desired: [wanted(service({ scheduler }), Array.from({ length: count }, (_, i) => rs(i)))] });
    const [add] = p.create;
    const last = p.create.at(-1)!;
    assert.equal(add?.kind === 'addService' && add.service.scheduler, first);
    assert.equal(last.kind === 'setService' && last.service.scheduler, first === 'none' ? scheduler : false);
  });
}

test('a kernel without the scheduler none gets every service with its own scheduler at once', async () => {
  const p = await planned({ desired: [wanted(service({ scheduler: 'mh' }), [rs(1), rs(2)])], noneScheduler: false });
  assert.deepEqual(unfold(p.create).map((o) => o.kind), ['addService', 'addDestination', 'addDestination']);
});

test('a load that was interrupted is completed: the missing real servers, then the scheduler', async () => {
  const p = await planned({ desired: [wanted(service({ scheduler: 'mh' }), [rs(1), rs(2)])], there: [{ service: service({ scheduler: 'none' }), destinations: [rs(1)] }], ledger: ours });
  assert.deepEqual(operations(p).map((o) => o.split(' ').slice(0, 2).join(' ')), ['add real', 'set service']);
});

test('every field of a service and of a real server that differs is set, and only those are', async () => {
  const changes: [string, Partial<Service>, string][] = [
    ['scheduler', { scheduler: 'wlc' }, 'scheduler'], ['flags', { flags: SERVICE_FLAG.onePacket }, 'flags'],
    ['persistence', { flags: SERVICE_FLAG.persistent, timeoutSeconds: 300 }, 'flags, persistence timeout'],
    ['prefix', { prefixLength: 24 }, 'persistence prefix length'], ['engine', { engine: 'sip' }, 'persistence engine'],
  ];
  for (const [name, fields, changed] of changes) {
    const p = await planned({ desired: [wanted(service(fields), [rs(1)])], there: [{ service: service(), destinations: [rs(1)] }], ledger: ours });
    assert.deepEqual(operations(p).map((o) => /\((.*)\)$/.exec(o)?.[1]), [changed], name);
  }
  const destinationChanges: Partial<Destination>[] = [{ method: 'tunnel' }, { weight: 5 }, { upper: 10 }, { lower: 3 }, { tunnelType: 'gue' }, { tunnelPort: 6080 }, { tunnelFlags: 1 }];
  for (const fields of destinationChanges) {
    const p = await planned({ desired: [wanted(service(), [rs(1, fields), rs(2)])], there: [{ service: service(), destinations: [rs(1), rs(2)] }], ledger: ours });
    const [o, ...others] = [...p.setDestinations];
    assert.deepEqual(others, []);
    assert.deepEqual(o?.kind === 'setDestination' && [o.destination.address, o.changed], ['10.0.1.21', Object.keys(fields)]);
    assert.equal(operations(p).length, 1);
  }
});

test('the scheduler of a live service changes alone and after everything else; from none it changes at once', async () => {
  const p = await planned({
    desired: [wanted(service({ scheduler: 'mh' }), [rs(1), rs(3)])], there: [{ service: service(), destinations: [rs(1), rs(2)] }],
    ledger: ours, drains: { [`${KEY} -> 10.0.1.22:80`]: { since: 0, deadline: 1 } }, now: 2,
  });
  // rs2 still has weight 1 here, so it is quiesced and not deleted.
  assert.deepEqual([p.setSchedulers.length, p.setServices.length, p.addDestinations.length, p.setDestinations.length, p.delDestinations.length], [1, 0, 1, 1, 0]);
  assert.equal(operations(p).at(-1)!.startsWith('set service'), true);
});

// ---- drains

test('drainStep: weight 0 before anything else, then patience until idle or the deadline', () => {
  const leaving: Leaving = { protocol: 'TCP', fwmark: false, weight: 0, active: 0, inactive: 0 };
  const record = { since: 0, deadline: MINUTE };
  const table: [string, Partial<Leaving>, typeof record | undefined, number, number, string][] = [
    ['first sight, idle', {}, undefined, 60, 0, 'quiesce'],
    ['first sight, weight 1', { weight: 1 }, undefined, 60, 0, 'quiesce'],
    ['drain 0', { weight: 1, active: 9 }, undefined, 0, 0, 'delete'],
    ['active connections', { active: 1 }, record, 60, MINUTE - 1, 'wait'],
    ['time is up', { active: 1 }, record, 60, MINUTE, 'delete'],
    ['time is up but the weight was never set: killed in between', { active: 1, weight: 1 }, record, 60, MINUTE * 9, 'quiesce'],
    ['somebody gave it weight again', { weight: 3 }, record, 60, 1, 'quiesce'],
    ['idle', {}, record, 60, 1, 'delete'],
    ['TCP with finished connections only', { inactive: 4 }, record, 60, 1, 'delete'],
    ['UDP flows count as inactive', { protocol: 'UDP', inactive: 4 }, record, 60, 1, 'wait'],
    ['a fwmark service may carry UDP', { fwmark: true, inactive: 4 }, record, 60, 1, 'wait'],
  ];
  for (const [name, fields, r, seconds, now, step] of table) assert.equal(drainStep({ ...leaving, ...fields }, r, seconds, now), step, name);
});

test('a real server that leaves gets weight 0 and a deadline, and is deleted only when idle or late', async () => {
  const there = [{ service: service(), destinations: [rs(1), rs(2)] }];
  const desired = [wanted(service(), [rs(1)])];
  const id = `${KEY} -> 10.0.1.22:80`;
  const first = await planned({ desired, there, ledger: ours, now: 5, connections: [[KEY, '10.0.1.22:80', 3]] });
  assert.deepEqual(operations(first), [`set real server ${id} masq weight 0 (weight)`]);
  assert.deepEqual([...first.drains], [[id, { since: 5, deadline: 5 + MINUTE }]]);

  const quiet = [{ service: service(), destinations: [rs(1), rs(2, { weight: 0 })] }];
  const drains: DrainRecords = { [id]: { since: 5, deadline: 5 + MINUTE } };
  assert.deepEqual(operations(await planned({ desired, there: quiet, ledger: ours, drains, now: 6, connections: [[KEY, '10.0.1.22:80', 1]] })), []);
  for (const [now, active] of [[6, 0], [5 + MINUTE, 1]] as const) {
    const p = await planned({ desired, there: quiet, ledger: ours, drains, now, connections: [[KEY, '10.0.1.22:80', active]] });
    assert.deepEqual(operations(p), [`delete real server ${id}`]);
    assert.deepEqual([[...p.drains], [...p.drained]], [[], [id]], 'the record stays until the deletion is done');
  }
});

test('no weight becomes 0 before those that are raised: in between nobody would take clients', async () => {
  const there = [{ service: service(), destinations: [rs(1), rs(2), rs(3, { weight: 0 }), rs(4)] }];
  const leaves = await planned({ desired: [wanted(service(), [rs(3)])], there, ledger: ours });
  assert.deepEqual(operations(leaves).map((o) => /10\.0\.1\.(\d+):80 masq weight (\d)/.exec(o)?.slice(1)), [['23', '1'], ['21', '0'], ['22', '0'], ['24', '0']], 'one that drained comes back');
  const quiesced = await planned({ desired: [wanted(service(), [rs(1, { weight: 0 }), rs(2, { weight: 0 }), rs(3), rs(4, { weight: 0 })])], there, ledger: ours });
  assert.deepEqual(operations(quiesced), operations(leaves), 'the same by weights that people write');
});

test('the record of a drain goes when its real server is wanted again, vanished, or its service did', async () => {
  const id = `${KEY} -> 10.0.1.22:80`;
  const drains: DrainRecords = { [id]: { since: 0, deadline: 1 } };
  const again = await planned({ desired: [wanted(service(), [rs(2, { weight: 0 })])], there: [{ service: service(), destinations: [rs(2, { weight: 0 })] }], ledger: ours, drains });
  assert.deepEqual([operations(again), [...again.drains]], [[], [[id, null]]]);
  const vanished = await planned({ desired: [wanted(service(), [rs(1)])], there: [{ service: service(), destinations: [rs(1)] }], ledger: ours, drains });
  assert.deepEqual([...vanished.drains], [[id, null]]);
  const recreated = await planned({ desired: [wanted(service(), [rs(1)])], ledger: ours, drains });
  assert.deepEqual([...recreated.drains], [[id, null]]);
  const nobodys = await planned({ drains });
  assert.deepEqual([...nobodys.drains], [[id, null]], 'nothing wants or owns the service');
  const scoped = await planned({ drains, scope: new Set([KEY]) });
  assert.deepEqual([...scoped.drains], [[id, null]]);
});

test('sh and mh get the fallback flag before a real server drains, and lose it only behind its deletion', async () => {
  for (const scheduler of ['sh', 'mh']) {
    const id = `${KEY} -> 10.0.1.22:80`;
    const s = service({ scheduler });
    const flagged = service({ scheduler, flags: SCHEDULER_FLAG.fallback });
    const desired = [wanted(s, [rs(1)])];
    const start = await planned({ desired, there: [{ service: s, destinations: [rs(1), rs(2)] }], ledger: ours });
    assert.deepEqual(operations(start).map((o) => o.split(' ').slice(0, 3).join(' ')), [`set service TCP`, 'set real server']);
    assert.equal(start.setServices[0]!.kind === 'setService' && start.setServices[0]!.service.flags, SCHEDULER_FLAG.fallback);

    const drains = { [id]: { since: 0, deadline: MINUTE } };
    const busy = [{ service: flagged, destinations: [rs(1), rs(2, { weight: 0 })] }];
    assert.deepEqual(operations(await planned({ desired, there: busy, ledger: ours, drains, connections: [[KEY, '10.0.1.22:80', 1]] })), []);
    const end = await planned({ desired, there: busy, ledger: ours, drains });
    assert.deepEqual(operations(end).map((o) => o.split(' ').slice(0, 3).join(' ')), ['delete real server', 'set service TCP']);
    assert.deepEqual(operations(await planned({ desired, there: [{ service: s, destinations: [rs(1)] }], ledger: ours })), []);
  }
  const rr = await planned({ desired: [wanted(service(), [rs(1)])], there: [{ service: service(), destinations: [rs(1), rs(2)] }], ledger: ours });
  assert.equal(rr.setServices.length, 0, 'rr needs no flag');
});

// ---- ours and not ours

test("somebody else's service is never in a plan: neither when nobody wants it nor when we want its key", async () => {
  const foreign = service({ address: '10.0.1.99' });
  const p = await planned({ desired: [wanted(service(), [rs(1)])], there: [{ service: service({ scheduler: 'wlc' }), destinations: [rs(9)] }, { service: foreign }] });
  assert.deepEqual(operations(p), []);
  assert.deepEqual(p.conflicts, [{ key: KEY, owner: OWNER }]);
  assert.deepEqual(p.foreign, [serviceKey(foreign)]);
  assert.equal(p.entries.size, 0);
});

test('without a trustworthy ledger a service that stands is adopted, its other real servers are kept for ever, and nothing is deleted', async () => {
  const there = [{ service: service({ scheduler: 'wlc' }), destinations: [rs(1), rs(9, { weight: 7 })] }, { service: service({ port: 81 }) }];
  const p = await planned({ desired: [wanted(service(), [rs(1), rs(2)])], there, fresh: true });
  assert.deepEqual(operations(p).map((o) => o.split(' ').slice(0, 2).join(' ')), ['add real', 'set service']);
  const entry = { owner: OWNER, kept: ['10.0.1.29:80'] };
  assert.deepEqual([...p.entries], [[KEY, entry]]);

  const later = await planned({ desired: [wanted(service({ scheduler: 'wlc' }), [rs(2)])], there, ledger: { [KEY]: entry } });
  assert.deepEqual(operations(later).filter((o) => o.includes('10.0.1.29')), []);
  assert.deepEqual(later.kept, [`${KEY} -> 10.0.1.29:80`]);
  const removed = await planned({ there, ledger: { [KEY]: entry } });
  assert.deepEqual(operations(removed), [`delete real server ${KEY} -> 10.0.1.21:80`], 'the service stays for the one that is not ours');
});

test('a service of ours that nobody wants goes; without a trustworthy ledger it stays', async () => {
  const there = [{ service: service(), destinations: [rs(1)] }];
  assert.deepEqual(operations(await planned({ there, ledger: ours })), [`delete service ${KEY}`]);
  assert.deepEqual(operations(await planned({ there, ledger: ours, fresh: true })), []);
});

test('a service of ours that vanished is forgotten before anything else is done, so that its successor is not ours', async () => {
  const p = await planned({ ledger: ours });
  assert.deepEqual([[...p.entries], p.gone], [[[KEY, null]], []]);
});

test('what this node refuses for the moment is left as it is, drains included', async () => {
  const p = await planned({ there: [{ service: service(), destinations: [rs(1)] }], ledger: ours, held: (key, entry) => key === KEY && entry.owner === OWNER });
  assert.deepEqual([operations(p), p.entries.size, p.gone], [[], 0, []]);
});

// ---- incomplete reads

test('an incomplete list of services deletes nothing, overwrites nothing, and takes no scheduler from a service it does not show', async () => {
  const drains = { [`${KEY} -> 10.0.1.22:80`]: { since: 0, deadline: 1 } };
  const others = { service: service({ port: 81 }) };
  const removal = await planned({ there: [{ service: service() }, others], ledger: { ...ours, 'TCP 10.0.1.200:81': { owner: OWNER } }, hideServices: (key) => key === KEY });
  assert.deepEqual([operations(removal), removal.entries.size, removal.gone], [[], 0, []]);

  const leaving = await planned({
    desired: [wanted(service(), [rs(1)])], there: [{ service: service(), destinations: [rs(1), rs(2, { weight: 0 })] }], ledger: ours, drains, now: 9, hideServices: () => false,
  });
  assert.deepEqual(operations(leaving), []);

  const unknown = await planned({ desired: [wanted(service(), [rs(1)])], there: [{ service: service() }], hideServices: (key) => key === KEY });
  assert.deepEqual([operations(unknown), unknown.entries.size], [[], 0], "it may be somebody else's");

  const hidden = await planned({ desired: [wanted(service({ scheduler: 'mh' }), [rs(1), rs(2)])], ledger: ours, hideServices: (key) => key === KEY });
  assert.deepEqual(unfold(hidden.create).map((o) => o.kind), ['addService', 'addDestination', 'addDestination']);
});

test('an incomplete list of real servers permits additions and changes, and no deletion, now or later', async () => {
  const there = [{ service: service(), destinations: [rs(1), rs(2)] }];
  const hide = (_: string, d: string) => d === '10.0.1.21:80';
  const p = await planned({ desired: [wanted(service(), [rs(1), rs(3)])], there, ledger: ours, hideDestinations: hide });
  assert.deepEqual(operations(p).map((o) => o.split(' ')[0]), ['add', 'add']);
  const removal = await planned({ there, ledger: ours, hideDestinations: hide });
  assert.deepEqual(operations(removal), []);
  const adopted = await planned({ desired: [wanted(service(), [rs(2)])], there, fresh: true, hideDestinations: hide });
  assert.equal(adopted.entries.size, 0, 'adopting it now would make a stranger that was not seen look like ours');
});

test('decided on partial facts about the node, a plan deletes nothing', async () => {
  const there = [{ service: service(), destinations: [rs(1), rs(2, { weight: 0 })] }, { service: service({ port: 81 }) }];
  const ledger = { ...ours, 'TCP 10.0.1.200:81': { owner: OWNER } };
  const drains = { [`${KEY} -> 10.0.1.22:80`]: { since: 0, deadline: 1 } };
  const p = await planned({ desired: [wanted(service(), [rs(1)])], there, ledger, drains, now: 9, additive: true });
  assert.deepEqual(operations(p), []);
});

test('a real server under the second key that a mode gave it is cut, and keeps its weight, like under the first', async () => {
  const there = { service: service(), destinations: [rs(1, { method: 'direct', port: 0 }), rs(2, { method: 'direct', port: 0, weight: 0 })] };
  const form = (fields: Partial<DesiredService>) => ({ ...wanted(service(), [rs(2, { method: 'direct' })]), ...fields });
  const plain = await planned({ desired: [form({})], there: [there], ledger: ours });
  assert.deepEqual(operations(plain).map((o) => o.split(' ').slice(0, 2).join(' ')), ['set real', 'set real'], 'one drains, the other is raised');
  const p = await planned({ desired: [form({ cut: new Set(['10.0.1.21:80']), undecided: new Set(['10.0.1.22:80']) })], there: [there], ledger: ours });
  assert.deepEqual(operations(p), [`delete real server ${KEY} -> 10.0.1.21:0`]);
});

test('a drain that began at a time that is to come, before the clock was set back, begins now, and takes no longer than it may', async () => {
  const HOUR = 3_600_000;
  const there = [{ service: service(), destinations: [rs(1), rs(2, { weight: 0 })] }];
  const id = `${KEY} -> 10.0.1.22:80`;
  const given: Given = { desired: [wanted(service(), [rs(1)])], there, ledger: ours, connections: [[KEY, '10.0.1.22:80', 1]] };
  const p = await planned({ ...given, drains: { [id]: { since: HOUR, deadline: HOUR + MINUTE } }, now: 9 });
  assert.deepEqual([operations(p), [...p.drains]], [[], [[id, { since: 9, deadline: 9 + MINUTE }]]]);
  const q = await planned({ ...given, drains: Object.fromEntries(p.drains) as DrainRecords, now: 9 + MINUTE });
  assert.deepEqual(operations(q), [`delete real server ${id}`]);
});

test('a second key that a mode gave is no stranger to an agent that lost its ledger', async () => {
  const there = { service: service(), destinations: [rs(1, { method: 'direct', port: 0 }), rs(3, { method: 'direct', port: 0 })] };
  const p = await planned({ desired: [wanted(service(), [rs(1, { method: 'direct' }), rs(2, { method: 'direct' })])], there: [there], fresh: true });
  assert.deepEqual(p.kept, [`${KEY} -> 10.0.1.23:0`]);
  assert.deepEqual(operations(p), [`add real server ${KEY} -> 10.0.1.22:80 direct weight 1`]);
  const draining = { service: service(), destinations: [rs(1, { method: 'direct', port: 0 }), rs(1, { weight: 0 })] };
  assert.deepEqual((await planned({ desired: [wanted(service(), [rs(1, { method: 'direct' })])], there: [draining], fresh: true })).kept, [], 'nor is the first one, that drains');
});
