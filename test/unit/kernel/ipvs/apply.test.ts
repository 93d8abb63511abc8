import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { openIpvs } from '../../../../src/kernel/ipvs/client.ts';
import type { IpvsFailure, IpvsOperation } from '../../../../src/kernel/ipvs/contract.ts';
import { CHUNK_WEIGHT, MH_WEIGHT } from '../../../../src/kernel/ipvs/chunk.ts';
import { DestinationTable } from '../../../../src/kernel/ipvs/destinations.ts';
import { destinationKey, serviceKey, type Destination, type Service } from '../../../../src/kernel/ipvs/types.ts';
import { KernelError } from '../../../../src/kernel/netlink/errors.ts';
import { FakeKernel } from './fake-kernel.ts';
import { anyDestination, anyService, destination, service } from './values.ts';

const add = (s: Service): IpvsOperation => ({ kind: 'addService', service: s });
const set = (s: Service, ...changed: string[]): IpvsOperation => ({ kind: 'setService', service: s, changed });
const del = (s: Service): IpvsOperation => ({ kind: 'delService', service: s });
const addDest = (s: Service, d: Destination): IpvsOperation => ({ kind: 'addDestination', service: s, destination: d });
const setDest = (s: Service, d: Destination): IpvsOperation => ({ kind: 'setDestination', service: s, destination: d, changed: [] });
const delDest = (s: Service, d: Destination): IpvsOperation => ({ kind: 'delDestination', service: s, destination: d });

const S = service();
const D = destination();
const numbered = (n: number): Destination => destination({ address: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}` });

function setUp() {
  const kernel = new FakeKernel();
  return { kernel, client: openIpvs({ socket: kernel.socket }) };
}
const codes = (failures: readonly IpvsFailure[]): [number, string, string][] => failures.map((f) => [f.index, f.error.code, f.error.errnoName]);

describe('an apply', () => {
  test('sends everything in order in one batch', async () => {
    const { kernel, client } = setUp();
    assert.deepEqual(await client.apply([add(S), addDest(S, D), setDest(S, { ...D, weight: 9 }), delDest(S, D), del(S)]), []);
    assert.deepEqual(kernel.batches, [['NEW_SERVICE', 'NEW_DEST', 'SET_DEST', 'DEL_DEST', 'DEL_SERVICE']]);
  });

  test('of nothing sends nothing, not even a lookup', async () => {
    const { kernel, client } = setUp();
    assert.deepEqual(await client.apply([]), []);
    assert.equal(kernel.socket.sent.length, 0);
  });

  const conversions: [what: string, prepare: IpvsOperation[], operation: IpvsOperation, sent: string[][]][] = [
    ['a service that exists gets its settings', [add({ ...S, scheduler: 'rr' })], add(S), [['NEW_SERVICE'], ['SET_SERVICE']]],
    ['a destination that exists gets its settings', [add(S), addDest(S, D)], addDest(S, { ...D, weight: 5 }), [['NEW_DEST'], ['SET_DEST']]],
    ['a destination that is missing is added', [add(S)], setDest(S, D), [['SET_DEST'], ['NEW_DEST']]],
    ['a service that is gone was to be deleted', [], del(S), [['DEL_SERVICE']]],
    ['a destination that is gone was to be deleted', [add(S)], delDest(S, D), [['DEL_DEST']]],
    ['a destination whose service is gone was to be deleted', [], delDest(S, D), [['DEL_DEST']]],
  ];
  for (const [what, prepare, operation, sent] of conversions) {
    test(`succeeds where ${what}`, async () => {
      const { kernel, client } = setUp();
      await client.apply(prepare);
      kernel.batches.length = 0;
      assert.deepEqual(await client.apply([operation]), []);
      assert.deepEqual(kernel.batches, sent);
      if (operation.kind === 'addService') assert.deepEqual(kernel.services.get(serviceKey(S))!.service, S);
      if ('destination' in operation && operation.kind !== 'delDestination') assert.deepEqual(kernel.destinationsOf(S).get(destinationKey(D)), operation.destination);
    });
  }

  test('reports the failures of a batch and keeps the rest', async () => {
    const { kernel, client } = setUp();
    const other = service({ port: 81 });
    const failures = await client.apply([
      add(S), addDest(S, D), addDest(other, D), set(other), add(service({ port: 82, scheduler: 'nosuch' })), addDest(S, { ...D, weight: 70000 }), addDest(S, numbered(2)),
    ]);
    assert.deepEqual(codes(failures), [[2, 'SERVICE_GONE', 'ESRCH'], [3, 'SERVICE_GONE', 'ESRCH'], [4, 'MODULE_MISSING', 'ENOENT'], [5, 'INVALID', '']]);
    assert.match(failures[2]!.error.message, /modprobe ip_vs_nosuch/);
    assert.equal(kernel.destinationsOf(S).size, 2);
    assert.equal(failures[0]!.operation.kind, 'addDestination');
  });

  test('does not repeat an add for a service that a later operation completes: a live one must not end without a scheduler', async () => {
    const { kernel, client } = setUp();
    const mh = service({ scheduler: 'mh' });
    await client.apply([add(mh)]);
    assert.deepEqual(await client.apply([add({ ...mh, scheduler: 'none' }), addDest(mh, D), set(mh, 'scheduler')]), []);
    assert.equal(kernel.services.get(serviceKey(mh))!.service.scheduler, 'mh');
    assert.ok(!kernel.batches.flat().slice(1).join().includes('SET_SERVICE,SET_SERVICE'));
  });

  test('does not repeat a change that a later one in the batch overtook', async () => {
    const { kernel, client } = setUp();
    await client.apply([add(S), addDest(S, D)]);
    await client.apply([addDest(S, { ...D, weight: 1 }), setDest(S, { ...D, weight: 9 })]);
    assert.equal(kernel.destinationsOf(S).get(destinationKey(D))!.weight, 9);
  });

  test('a row of a long table that is there already is set, each to its own weight, in whichever batch it comes', async () => {
    const { kernel, client } = setUp();
    const rows = Array.from({ length: 1_300 }, (_, i) => ({ ...numbered(0x0a0000 + i), weight: 1 + (i % 50) }));
    const early = rows.filter((_, i) => i % 97 === 5);
    await client.apply([add(S), ...early.map((d) => addDest(S, { ...d, weight: 99 }))]);
    assert.deepEqual(await client.apply([{ kind: 'addTable', service: S, destinations: DestinationTable.from(rows) }]), []);
    assert.ok(kernel.batches.length > 4, 'the table takes several batches');
    assert.deepEqual([...kernel.destinationsOf(S).values()].map((d) => [d.address, d.weight]).sort(), rows.map((d) => [d.address, d.weight]).sort());
  });

  test('reports a converted operation that fails again', async () => {
    const { kernel, client } = setUp();
    await client.apply([add(S), addDest(S, D)]);
    let batch = 0;
    kernel.meanwhile = () => { if (++batch === 2) kernel.services.clear(); };
    assert.deepEqual(codes(await client.apply([addDest(S, D)])), [[0, 'SERVICE_GONE', 'ESRCH']]);
  });

  test('throws when nothing is permitted', async () => {
    const { kernel, client } = setUp();
    kernel.permitted = false;
    await assert.rejects(client.apply([add(S)]), (e) => e instanceof KernelError && e.code === 'PERMISSION_DENIED' && /CAP_NET_ADMIN/.test(e.message));
  });

  test('throws when there is no module', async () => {
    const { kernel, client } = setUp();
    kernel.familyId = 0;
    await assert.rejects(client.apply([add(S)]), (e) => e instanceof KernelError && e.code === 'MODULE_MISSING' && /modprobe ip_vs/.test(e.message));
  });

  test('finds the family again when the module was reloaded', async () => {
    const { kernel, client } = setUp();
    await client.apply([add(S)]);
    kernel.familyId = 29;
    kernel.services.clear();
    kernel.batches.length = 0;
    assert.deepEqual(await client.apply([add(S), addDest(S, D)]), []);
    assert.deepEqual(kernel.batches, [['stale', 'stale'], ['NEW_SERVICE', 'NEW_DEST']]);
  });

  test('repeats a batch whose answers were lost, and so knows what became of it', async () => {
    const { kernel, client } = setUp();
    kernel.dropAnswers = 1;
    assert.deepEqual(await client.apply([add(S), addDest(S, D)]), []);
    assert.equal(kernel.destinationsOf(S).size, 1);
  });

  test('fails every operation of a batch whose answers are lost twice, and goes on with the next', async () => {
    const { kernel, client } = setUp();
    await client.apply([add(S)]);
    kernel.dropAnswers = 2;
    const operations = Array.from({ length: 150 }, (_, i) => addDest(S, numbered(i)));
    const failures = await client.apply(operations); // the socket's answersThatFit is 100
    assert.equal(failures.length, 100);
    assert.ok(failures.every((f, i) => f.index === i && f.error.code === 'REPLIES_LOST'));
    assert.equal(kernel.destinationsOf(S).size, 150, 'the kernel did the work');
  });

  test('stops between batches when it is aborted', async () => {
    const { kernel, client } = setUp();
    await client.apply([add(S)]);
    const abort = new AbortController();
    kernel.meanwhile = () => abort.abort(new Error('enough'));
    await assert.rejects(client.apply(Array.from({ length: 150 }, (_, i) => addDest(S, numbered(i))), abort.signal), /enough/);
    assert.equal(kernel.destinationsOf(S).size, 100);
  });

  test('lets the event loop run between batches', async () => {
    const { client } = setUp();
    let turns = 0;
    const count = (): void => { turns++; if (turns < 1000) setImmediate(count); };
    setImmediate(count);
    const work = Array.from({ length: 30_000 }, (_, i) => addDest(S, numbered(i)));
    const started = performance.now();
    await client.apply([add(S), ...work]);
    // A turn every 3 ms, or every batch where that takes longer.
    const due = Math.min((performance.now() - started) / 100, 4);
    assert.ok(turns >= Math.max(due, 1), `${turns} turns`);
  });
});

describe('schedulers that the kernel must not load by itself', () => {
  const using = (access: { exists: (path: string) => boolean; modprobe: (module: string) => void }) => {
    const kernel = new FakeKernel();
    kernel.schedulers.add('lblc').add('lblcr');
    return { kernel, client: openIpvs({ socket: kernel.socket, modules: access }) };
  };
  const lblc = service({ scheduler: 'lblc' });

  test('are loaded once, before the first service that names them', async () => {
    const loaded: string[] = [];
    const { kernel, client } = using({ exists: (path) => loaded.some((m) => path.endsWith(`/${m.slice(6)}_expiration`)), modprobe: (m) => { assert.equal(kernel.batches.length, 0); loaded.push(m); } });
    assert.deepEqual(await client.apply([add(S), add(service({ port: 81, scheduler: 'lblc' })), add(service({ port: 82, scheduler: 'lblcr' })), set(lblc)]), []);
    assert.deepEqual(loaded, ['ip_vs_lblc', 'ip_vs_lblcr']);
  });

  test('are not loaded when they are there, and the others never', async () => {
    const { client } = using({ exists: () => true, modprobe: (m) => assert.fail(m) });
    assert.deepEqual(await client.apply([add(lblc), add(service({ port: 81 }))]), []);
  });

  test('are refused when they cannot be loaded, and nothing is sent about them', async () => {
    const { kernel, client } = using({ exists: () => false, modprobe: () => { throw new Error('no modprobe'); } });
    const failures = await client.apply([add(lblc)]);
    assert.deepEqual(codes(failures), [[0, 'MODULE_MISSING', '']]);
    assert.match(failures[0]!.error.message, /`modprobe ip_vs_lblc`/);
    assert.equal(kernel.batches.length, 0);
    assert.deepEqual(codes(await client.apply([add(S), set(lblc, 'scheduler')])), [[1, 'MODULE_MISSING', '']]);
  });
});

describe('batches', () => {
  const sizes = async (operations: IpvsOperation[], prepare: IpvsOperation[] = []): Promise<number[]> => {
    const { kernel, client } = setUp();
    (kernel.socket as { answersThatFit: number }).answersThatFit = 5461;
    await client.apply(prepare);
    kernel.batches.length = 0;
    assert.deepEqual(await client.apply(operations), []);
    return kernel.batches.map((b) => b.length);
  };
  const many = (s: Service, n: number, make: typeof addDest = addDest): IpvsOperation[] => Array.from({ length: n }, (_, i) => make(s, numbered(i)));
  const mh = service({ scheduler: 'mh' });
  const idle = { ...mh, scheduler: 'none' };

  test('hold 512 destinations', async () => assert.deepEqual(await sizes(many(S, 1200), [add(S)]), [512, 512, 176]));
  test('of larger messages are cut by bytes', async () => {
    const s = service({ family: 'IPv6', address: '2001:db8::1' });
    const [first] = await sizes(many(s, 600, (of, d) => addDest(of, { ...d, family: 'IPv6', address: `2001:db8::${d.address.replaceAll('.', ':').replace(/^10:/, '')}`, method: 'tunnel' })), [add(s)]);
    assert.ok(first! > 300 && first! < 512, String(first));
  });
  test(`hold ${CHUNK_WEIGHT / MH_WEIGHT} changes of a live mh service`, async () => assert.deepEqual(await sizes(many(mh, 70), [add(mh)]), [32, 32, 6]));
  test('hold 512 for an mh service that has no scheduler yet', async () => assert.deepEqual(await sizes([add(idle), ...many(mh, 300), set(mh, 'scheduler')]), [302]));
  test('hold a live scheduler change alone', async () => {
    assert.deepEqual(await sizes([addDest(S, D), set({ ...S, scheduler: 'rr' }, 'scheduler'), set(service({ port: 81, scheduler: 'rr' }), 'scheduler'), addDest(S, numbered(7))], [add(S), add(service({ port: 81 }))]), [1, 1, 1, 1]);
  });
  test('hold other changes of live services together', async () => assert.deepEqual(await sizes([set(S, 'flags'), addDest(S, D), del(S)], [add(S)]), [3]));
});

test('whatever is applied to whatever was there, the kernel ends as a plain model does', async () => {
  const world = fc.array(anyService, { minLength: 1, maxLength: 4 }).chain((services) => {
    const one = fc.constantFrom(...services).chain((s) => fc.tuple(fc.constant(s), anyDestination(s), fc.constantFrom<IpvsOperation['kind']>('addService', 'setService', 'delService', 'addDestination', 'setDestination', 'delDestination')));
    // Few destinations, so that they meet.
    return fc.array(one.map(([s, d, kind]) => ({ kind, service: s, destination: d, changed: [] }) as unknown as IpvsOperation), { maxLength: 40 });
  });
  await fc.assert(fc.asyncProperty(world, fc.integer({ min: 1, max: 50 }), async (operations, room) => {
    const { kernel, client } = setUp();
    (kernel.socket as { answersThatFit: number }).answersThatFit = room;
    // One at a time is the meaning; batches must not change it.
    const slow = setUp();
    const expected: IpvsFailure[] = [];
    for (const [i, operation] of operations.entries()) expected.push(...(await slow.client.apply([operation])).map((f) => ({ ...f, index: i })));
    const failures = await client.apply(operations);
    assert.deepEqual(codes(failures), codes(expected));
    assert.deepEqual(kernel.services, slow.kernel.services);
  }), { numRuns: 200 });
});
