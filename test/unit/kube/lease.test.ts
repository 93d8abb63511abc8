/** Heartbeats: one's own Lease renewed, and who lives by what was observed here. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LeaseObserver, microTime, renewLease, type Lease } from '../../../src/kube/lease.ts';
import { isForbidden } from '../../../src/kube/errors.ts';
import { Refusal } from './fake-cluster.ts';
import { FakeLeases, LEASE_COLLECTION, lease } from './fake-leases.ts';

const START = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

test('a MicroTime has six digits', () => {
  assert.equal(microTime(START), '2026-01-02T03:04:05.678000Z');
});

describe('renewing', () => {
  const open = () => {
    const leases = new FakeLeases();
    const clock = { ms: START };
    const renew = (fields: Partial<Parameters<typeof renewLease>[0]> = {}): Promise<Lease> =>
      renewLease({ client: leases.client, namespace: 'ns', name: 'node-a', identity: 'agent-1', durationSeconds: 6, wallClock: () => clock.ms, ...fields });
    return { leases, clock, renew };
  };

  test('makes the Lease when it is missing, then takes one request each', async () => {
    const { leases, clock, renew } = open();
    let last = await renew({ labels: { role: 'director' } });
    assert.deepEqual(leases.take(), ['get node-a', 'create node-a']);
    assert.deepEqual(leases.spec('node-a'), { holderIdentity: 'agent-1', leaseDurationSeconds: 6, acquireTime: microTime(START), renewTime: microTime(START), leaseTransitions: 0 });
    for (let i = 1; i <= 3; i++) {
      clock.ms += 2_000;
      last = await renew({ last });
      assert.deepEqual(leases.take(), ['update node-a']);
    }
    assert.deepEqual(leases.spec('node-a'), { holderIdentity: 'agent-1', leaseDurationSeconds: 6, acquireTime: microTime(START), renewTime: microTime(START + 6_000), leaseTransitions: 0 });
    assert.deepEqual(last.metadata.labels, { role: 'director' });
  });

  test('is one also within the same millisecond, and with a clock that stands still', async () => {
    const { leases, renew } = open();
    let last: Lease | undefined;
    const times = new Set<string | undefined>();
    for (let i = 0; i < 3; i++) {
      last = await renew({ last });
      times.add(leases.spec('node-a')!.renewTime);
    }
    assert.equal(times.size, 2, 'each is another than the one before it');
  });

  test('goes on when somebody changed or deleted it meanwhile', async () => {
    const { leases, renew } = open();
    const last = await renew();
    leases.cluster.replace(LEASE_COLLECTION, { ...leases.cluster.get(LEASE_COLLECTION, 'ns/node-a'), metadata: { name: 'node-a', namespace: 'ns', labels: { x: 'y' } } });
    leases.take();
    const next = await renew({ last });
    assert.deepEqual([leases.take(), next.metadata.labels], [['update node-a', 'get node-a', 'update node-a'], { x: 'y' }]);
    leases.cluster.delete(LEASE_COLLECTION, 'ns/node-a');
    await renew({ last: next });
    assert.deepEqual(leases.take(), ['update node-a', 'get node-a', 'create node-a']);
  });

  test('takes over from an earlier process, and counts that', async () => {
    const { leases, clock, renew } = open();
    await renew({ identity: 'agent-0' });
    clock.ms += 1_000;
    await renew();
    const { holderIdentity, leaseTransitions, acquireTime } = leases.spec('node-a')!;
    assert.deepEqual([holderIdentity, leaseTransitions, acquireTime], ['agent-1', 1, microTime(START + 1_000)]);
  });

  test('fails with what the server says', async () => {
    const { leases, renew } = open();
    leases.cluster.get = () => { throw new Refusal(403, 'Forbidden', 'no'); };
    await assert.rejects(renew(), isForbidden);
  });
});

describe('the observer', () => {
  const beat = (holder: string, renewTime: string, seconds: number | undefined = 6, name = `lease-of-${holder}`): Lease => lease(name, { holderIdentity: holder, renewTime, leaseDurationSeconds: seconds });
  const live = (o: LeaseObserver, now: number): string[] => [...o.live(now)].sort();

  test('takes a Lease that it sees for the first time for renewed just now, whatever its times say', () => {
    const o = new LeaseObserver();
    o.observe(beat('a', '1999-01-01T00:00:00.000000Z'), 1_000);
    assert.deepEqual([live(o, 1_000), live(o, 6_999), live(o, 7_000)], [['a'], ['a'], []]);
  });

  test('counts from the last change that it saw, and takes a relist or a label for no sign of life', () => {
    const o = new LeaseObserver();
    o.observe(beat('a', '1'), 0);
    o.observe(beat('a', '2'), 4_000);
    const labelled = beat('a', '2');
    o.observe({ ...labelled, metadata: { ...labelled.metadata, resourceVersion: '9', labels: { x: 'y' } } }, 8_000);
    assert.deepEqual([live(o, 9_999), live(o, 10_000)], [['a'], []]);
    o.observe(beat('a', '3'), 60_000);
    assert.deepEqual(live(o, 60_000), ['a'], 'and it may come back');
  });

  test('knows nobody whose Lease was deleted, given back, or has no duration', () => {
    const o = new LeaseObserver();
    for (const name of ['a', 'b']) o.observe(beat(name, '1'), 0);
    o.observe(lease('no-duration', { holderIdentity: 'c', renewTime: '1' }), 0);
    o.observe(lease('zero', { holderIdentity: 'd', renewTime: '1', leaseDurationSeconds: 0 }), 0);
    o.observe(lease('no-holder', { renewTime: '1', leaseDurationSeconds: 6 }), 0);
    o.observe(lease('no-spec', undefined), 0);
    assert.deepEqual(live(o, 0), ['a', 'b']);
    o.forget('ns/lease-of-a');
    o.observe(lease('lease-of-b', { holderIdentity: '', renewTime: '2', leaseDurationSeconds: 1 }), 10);
    assert.deepEqual(live(o, 10), []);
  });

  test('tells when the next one runs out', () => {
    const o = new LeaseObserver();
    assert.equal(o.nextExpiry(0), null);
    o.observe(beat('a', '1', 6), 0);
    o.observe(beat('b', '1', 3), 1_000);
    assert.deepEqual([0, 3_999, 4_000, 6_000].map((now) => o.nextExpiry(now)), [4_000, 4_000, 6_000, null]);
  });

  test('between now and nextExpiry nobody dies, and then somebody does', () => {
    const event = fc.record({ holder: fc.constantFrom('a', 'b', 'c'), renewTime: fc.constantFrom('1', '2', '3'), seconds: fc.integer({ min: 0, max: 5 }), after: fc.integer({ min: 0, max: 4_000 }) });
    fc.assert(fc.property(fc.array(event), (events) => {
      const o = new LeaseObserver();
      let now = 0;
      for (const { holder, renewTime, seconds, after } of events) {
        now += after;
        o.observe(beat(holder, renewTime, seconds), now);
        const next = o.nextExpiry(now);
        const alive = live(o, now);
        if (next === null) assert.deepEqual(alive, []);
        else {
          assert.deepEqual(live(o, next - 1), alive);
          assert.ok(live(o, next).length < alive.length);
        }
      }
    }), { numRuns: 200 });
  });
});
