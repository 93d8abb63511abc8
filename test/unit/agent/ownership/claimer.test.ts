/** How VIPs are taken, given up and complained about: one director against a scripted network and API server. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { VirtualIP } from '../../../../src/api/v1alpha1/index.ts';
import { Claimer, type Claimable, type ClaimableSource } from '../../../../src/agent/ownership/claimer.ts';
import type { Member } from '../../../../src/agent/ownership/election.ts';
import { ranked } from '../../../../src/agent/ownership/rendezvous.ts';
import { ownedPatch, type StatusPatch } from '../../../../src/agent/ownership/virtualip-status.ts';
import { ApiError } from '../../../../src/kube/errors.ts';
import { KernelError } from '../../../../src/kernel/netlink/errors.ts';
import type { ProbeOutcome } from '../../../../src/kernel/net/probe.ts';
import { tick } from './world.ts';

const member = (node: string): Member => ({ node, groups: new Set(['edge']), networks: [] });
const MAC = '02:00:00:00:00:01';
const FOREIGN: ProbeOutcome = { state: 'answered', mac: '02:00:00:00:00:99', says: 'holds' };

/** Node `a` and its world. */
class Bench {
  now = 0;
  members: readonly Member[] = [member('a'), member('b')];
  readonly vips = new Map<string, VirtualIP>();
  readonly held: string[][] = [];
  readonly probed: string[][] = [];
  readonly writes: string[] = [];
  answer: (address: string) => ProbeOutcome = () => ({ state: 'silent' });
  beforeWrite: (name: string) => void = () => {};
  probeMs = 600;
  fresh = true;
  change: (address: string) => Partial<Claimable> = () => ({});
  readonly claimer: Claimer;
  readonly signal = new AbortController().signal;

  constructor(addresses: readonly string[], status: VirtualIP['status'] = undefined, initial: readonly string[] = []) {
    for (const address of addresses) {
      this.vips.set(address, {
        apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'VirtualIP', metadata: { name: address, resourceVersion: '1', generation: 4 },
        spec: { address, family: 'IPv4', poolRef: { name: 'p' }, directorGroup: 'edge', claims: [] }, ...(status && { status }),
      });
    }
    const log = { debug: () => {}, info: () => {}, warn: () => {}, error: (_: object, message: string) => { assert.fail(message); } };
    this.claimer = new Claimer({
      node: 'a', log, now: () => this.now, wallClock: () => this.now, random: () => 0.5, fresh: () => this.fresh,
      onOwned: () => { this.held.push([...this.claimer.owned]); },
      probe: async (vips) => {
        this.probed.push(vips.map((v) => v.address));
        this.now += this.probeMs;
        return new Map(vips.map((v) => [v.address, this.answer(v.address)]));
      },
      write: async (name, patch) => {
        this.beforeWrite(name);
        return this.write(name, patch);
      },
    }, initial);
  }

  write(name: string, patch: StatusPatch): VirtualIP {
    const before = this.vips.get(name)!;
    if (before.metadata.resourceVersion !== patch.metadata.resourceVersion) throw new ApiError({ code: 'CONFLICT', status: 409, message: 'changed', verb: 'PATCH', path: name });
    const after: VirtualIP = { ...before, metadata: { ...before.metadata, resourceVersion: String(Number(before.metadata.resourceVersion) + 1) }, status: { ...before.status, ...patch.status } };
    this.vips.set(name, after);
    this.writes.push(`${name} ${after.status!.activeNode || '-'} ${after.status!.epoch} ${this.conditions(name)}`);
    return after;
  }

  conditions(name: string): string {
    return (this.vips.get(name)!.status?.conditions ?? []).map((c) => `${c.type}=${c.status}/${c.reason}`).join(' ');
  }

  /** Each VIP as it is when its turn comes. */
  sources(): ClaimableSource[] { return [...this.vips.keys()].map((name) => ({ address: this.vips.get(name)!.spec.address, look: () => this.#claimable(name) })); }

  claimables(): Claimable[] { return [...this.vips.keys()].map((name) => this.#claimable(name)); }

  #claimable(name: string): Claimable {
    const object = this.vips.get(name)!;
    const { address } = object.spec;
    return {
      address, group: 'edge', bySubnet: false, preferred: null, wanted: true, fit: true, object, present: this.claimer.owned.has(address),
      status: { activeNode: object.status?.activeNode ?? '', epoch: object.status?.epoch ?? 0 }, place: { vip: { link: 'e0', family: 'IPv4', address }, mac: MAC }, ...this.change(address),
    };
  }

  async tick(ms = 0): Promise<void> {
    this.now += ms;
    tick(this.claimer, this.sources(), { members: this.members, patienceMs: 6_000 }, this.signal);
    await this.claimer.idle();
  }

  get owned(): string { return [...this.claimer.owned].sort().join(); }
}

const VIP = '10.0.1.200';

test('a VIP is taken: asked for, written, and only then had', async () => {
  const bench = new Bench([VIP]);
  bench.members = [member('a')];
  await bench.tick();
  assert.deepEqual([bench.probed, bench.writes, bench.held], [[[VIP]], [`${VIP} a 1 Owned=True/Owned`], [[VIP]]]);
  const status = bench.vips.get(VIP)!.status!;
  assert.deepEqual([status.mac, status.since, status.conditions![0]!.observedGeneration], [MAC, '1970-01-01T00:00:00.600Z', 4]);
  await bench.tick(1_000);
  await bench.tick(60_000);
  assert.deepEqual([bench.writes.length, bench.probed.length, bench.claimer.counts], [1, 1, { claimed: 1, lost: 0, conflicts: 0 }]);
});

test('a thousand VIPs are asked for in two rounds', async () => {
  const many = Array.from({ length: 1_000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`);
  const bench = new Bench(many);
  bench.members = [member('a')];
  await bench.tick();
  await bench.tick();
  assert.deepEqual(bench.probed.map((p) => p.length), [512, 488]);
  assert.equal(bench.claimer.owned.size, 1_000);
});

test('whoever answers keeps the address; it is said once, tried again each second, and mended when it goes', async () => {
  const bench = new Bench([VIP]);
  bench.members = [member('a')];
  bench.answer = () => FOREIGN;
  await bench.tick();
  assert.equal(bench.owned, '');
  assert.deepEqual(bench.writes, [`${VIP} - undefined Owned=False/AddressInUse DuplicateAddress=True/ForeignHost`]);
  assert.match(bench.vips.get(VIP)!.status!.conditions![1]!.message, /02:00:00:00:00:99 answers for the address; find the host/);
  assert.deepEqual([...bench.claimer.blocked], [[VIP, { mac: FOREIGN.mac }]]);
  await bench.tick(100);
  assert.equal(bench.probed.length, 1, 'not at once');
  for (let i = 0; i < 5; i++) await bench.tick(1_300);
  assert.deepEqual([bench.probed.length, bench.writes.length, bench.claimer.counts.conflicts], [6, 1, 6]);
  bench.answer = () => ({ state: 'silent' });
  await bench.tick(1_300);
  assert.deepEqual([bench.owned, bench.conditions(VIP), [...bench.claimer.blocked]], [VIP, 'Owned=True/Owned', []]);
});

test('an owner whose agent is gone and whose kernel answers is no foreign host', async () => {
  const bench = new Bench([VIP], { activeNode: 'dead', epoch: 7, mac: FOREIGN.mac });
  bench.members = [member('a')];
  bench.answer = () => FOREIGN;
  await bench.tick();
  assert.deepEqual([bench.owned, bench.writes], ['', [`${VIP} dead 7 Owned=Unknown/OwnerLost`]]);
  bench.answer = () => ({ state: 'silent' });
  await bench.tick(1_300);
  assert.deepEqual([bench.owned, bench.writes[1]], [VIP, `${VIP} a 8 Owned=True/Owned`]);
});

test('of two who ask at the same time the first in order goes on, the other waits its turn', async () => {
  const first = (node: string) => Array.from({ length: 50 }, (_, i) => `10.0.1.${i}`).find((address) => ranked(['a', 'b'], address)[0] === node)!;
  for (const [address, expected] of [[first('a'), first('a')], [first('b'), '']] as const) {
    const bench = new Bench([address]);
    bench.answer = () => ({ state: 'answered', mac: '02:00:00:00:00:02', says: 'wants' });
    await bench.tick();
    // The second in order tries only when the first let its time go by.
    await bench.tick(10_000);
    assert.deepEqual([bench.owned, bench.probed.length], [expected, 1]);
    assert.equal(bench.conditions(address).includes('DuplicateAddress'), false, 'a rival is no duplicate');
  }
});

test('another was quicker: nothing is had, and its name is respected', async () => {
  const bench = new Bench([VIP]);
  bench.members = [member('a')];
  let other = true;
  bench.beforeWrite = (name) => {
    if (!other) return;
    other = false;
    bench.write(name, ownedPatch(bench.vips.get(name)!, 'b', '02:00:00:00:00:02', '2026-01-01T00:00:00Z'));
  };
  await bench.tick();
  assert.equal(bench.owned, '');
  bench.members = [member('a'), member('b')];
  await bench.tick(2_000);
  assert.deepEqual([bench.owned, bench.vips.get(VIP)!.status!.activeNode], ['', 'b']);
});

test('the server away: nothing is taken, and it is tried again', async () => {
  const bench = new Bench([VIP]);
  bench.members = [member('a')];
  bench.beforeWrite = () => { throw new ApiError({ code: 'UNREACHABLE', message: 'away', verb: 'PATCH', path: '' }); };
  await bench.tick();
  await bench.tick(2_000);
  assert.deepEqual([bench.owned, bench.probed.length], ['', 2]);
  bench.beforeWrite = () => {};
  await bench.tick(2_000);
  assert.equal(bench.owned, VIP);
});

test('a silence that is too old, or a Lease that is, is not acted upon', async () => {
  const slow = new Bench([VIP]);
  slow.members = [member('a')];
  slow.beforeWrite = () => { slow.now += 3_100; };
  await slow.tick();
  assert.deepEqual([slow.owned, slow.vips.get(VIP)!.status!.activeNode], ['', 'a'], 'the name is ours, the address is not had');
  slow.beforeWrite = () => {};
  await slow.tick();
  assert.deepEqual([slow.owned, slow.probed.length], [VIP, 2], 'asked again');
  const stale = new Bench([VIP]);
  stale.members = [member('a')];
  stale.fresh = false;
  await stale.tick();
  assert.equal(stale.owned, '');
});

test('another name there: let go in the same tick, and not taken back while that one lives', async () => {
  const bench = new Bench([VIP], { activeNode: 'a', epoch: 1 }, [VIP]);
  await bench.tick();
  assert.equal(bench.owned, VIP);
  bench.write(VIP, ownedPatch(bench.vips.get(VIP)!, 'b', '02:00:00:00:00:02', '2026-01-01T00:00:00Z'));
  await bench.tick(10);
  assert.deepEqual([bench.owned, bench.held.at(-1), bench.claimer.counts.lost], ['', [], 1]);
  await bench.tick(10_000);
  assert.equal(bench.probed.length, 0);
});

test('what is not wanted any more is let go first, and given back when the address is gone', async () => {
  const bench = new Bench([VIP], { activeNode: 'a', epoch: 1, mac: MAC }, [VIP]);
  bench.change = () => ({ wanted: false, present: true });
  await bench.tick();
  assert.equal(bench.owned, '');
  await bench.tick(2_000);
  assert.equal(bench.vips.get(VIP)!.status!.activeNode, 'a', 'the kernel still has it');
  bench.change = () => ({ wanted: false, present: false });
  await bench.tick(2_000);
  assert.deepEqual([bench.vips.get(VIP)!.status!.activeNode, bench.vips.get(VIP)!.status!.epoch, bench.conditions(VIP)], ['', 2, 'Owned=False/Pending']);
  bench.vips.clear();
  await bench.tick(2_000);
});

test('a VIP that left our groups is let go', async () => {
  const bench = new Bench([VIP], { activeNode: 'a', epoch: 1 }, [VIP, '10.0.1.201']);
  await bench.tick();
  assert.equal(bench.owned, VIP);
});

test('a name that was wiped away is written again, without asking: we have the address', async () => {
  const bench = new Bench([VIP], { activeNode: '', epoch: 4 }, [VIP]);
  await bench.tick();
  assert.deepEqual([bench.probed, bench.writes], [[], [`${VIP} a 5 Owned=True/Owned`]]);
});

test('an owner puts right what was said of it while its agent was away', async () => {
  const bench = new Bench([VIP], { activeNode: 'a', epoch: 4, since: '2026-01-01T00:00:00Z', conditions: [{ type: 'Owned', status: 'Unknown', reason: 'OwnerLost', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' }] }, [VIP]);
  await bench.tick();
  assert.deepEqual(bench.writes, [`${VIP} a 4 Owned=True/Owned`], 'no new epoch: it is no new owner');
  assert.equal(bench.vips.get(VIP)!.status!.since, '2026-01-01T00:00:00Z');
  await bench.tick(10_000);
  assert.equal(bench.writes.length, 1);
});

test('who cannot ask the network gives way to others for a while', async () => {
  const bench = new Bench([VIP], { activeNode: 'a', epoch: 1 });
  bench.answer = () => ({ state: 'failed', error: new KernelError({ code: 'SYSTEM_CALL', operation: 'sendto' }) });
  for (let i = 0; i < 3; i++) await bench.tick(1_100);
  assert.deepEqual([bench.probed.length, bench.owned], [3, '']);
  await bench.tick(1_100);
  assert.equal(bench.vips.get(VIP)!.status!.activeNode, '', 'given back');
  await bench.tick(5_000);
  assert.equal(bench.probed.length, 3);
});

test('without the API server a rebooted director takes back what it had, after silence, and lets go when it hears of another', async () => {
  const bench = new Bench([VIP, '10.0.1.201'], { activeNode: 'b', epoch: 9 });
  bench.answer = (address) => (address === VIP ? { state: 'silent' } : FOREIGN);
  const had = [VIP, '10.0.1.201'].map((address): Claimable => ({
    address, group: 'edge', bySubnet: false, preferred: null, wanted: true, fit: true, object: null, status: null, present: false, place: { vip: { link: 'e0', family: 'IPv4', address }, mac: MAC },
  }));
  await bench.claimer.recover(had, bench.signal);
  assert.equal(bench.owned, VIP);
  await bench.claimer.recover(had, bench.signal);
  assert.equal(bench.probed.length, 1, 'not at once again');
  bench.now += 1_300;
  await bench.claimer.recover(had, bench.signal);
  assert.deepEqual(bench.probed[1], ['10.0.1.201'], 'what it has it does not ask for');
  await bench.tick();
  assert.equal(bench.owned, '');
  bench.now += 10_000;
  await bench.claimer.recover(had, bench.signal, () => false);
  assert.equal(bench.owned, '', 'the server came back while the network was asked');
});

const OURS = { activeNode: 'a', epoch: 1 };
const DUE: readonly (readonly [what: string, status: VirtualIP['status'], initial: readonly string[], arrange: (b: Bench) => void, due: 'when something changes' | 'within a second'])[] = [
  ['it is held, and says so', { ...OURS, mac: MAC, conditions: [{ type: 'Owned', status: 'True', reason: 'Owned', message: 'held by a', lastTransitionTime: '1970-01-01T00:00:00.000Z' }] }, ['10.0.1.200'], () => {}, 'when something changes'],
  ['another holds it', { activeNode: 'b', epoch: 1 }, [], () => {}, 'when something changes'],
  ['the API server is not heard', undefined, [], (b) => { b.members = []; }, 'when something changes'],
  ['nobody holds it, and it is claimed', undefined, [], () => {}, 'within a second'],
  ['nobody holds it, and others are to try first', undefined, [], (b) => { b.change = () => ({ preferred: new Set(['b']) }); }, 'within a second'],
  ['it is held, and our name is still to be written', { activeNode: '', epoch: 1 }, ['10.0.1.200'], () => {}, 'within a second'],
  ['it is given up', { activeNode: 'b', epoch: 2 }, ['10.0.1.200'], () => {}, 'within a second'],
];
for (const [what, status, initial, arrange, due] of DUE) {
  test(`of a VIP is to be decided again ${due}: ${what}`, () => {
    const b = new Bench(['10.0.1.200'], status, initial);
    arrange(b);
    const at = tick(b.claimer, b.sources(), { members: b.members, patienceMs: 6_000 }, b.signal);
    if (due === 'within a second') assert.ok(at <= 1_000, String(at));
    else assert.equal(at, Infinity);
  });
}

test('one VIP that cannot be looked at stays as it is and is told; those behind it are decided upon', async () => {
  const [broken, lost, free] = ['10.0.1.200', '10.0.1.201', '10.0.1.202'];
  const b = new Bench([broken, lost, free], undefined, [broken, lost]);
  b.vips.set(lost, { ...b.vips.get(lost)!, status: { activeNode: 'b', epoch: 3 } });
  const work = b.claimer.ticking(b.sources().map((s) => (s.address === broken ? { ...s, look: () => { throw new Error('of no sense'); } } : s)), { members: b.members, patienceMs: 6_000 }, b.signal);
  const { value, done } = work.next();
  assert.ok(done && value.due <= 1_000 && value.problem instanceof Error && value.problem.message === 'of no sense');
  await b.claimer.idle();
  assert.deepEqual([...b.claimer.owned].sort(), [broken, free]);
});

test('with many VIPs what happens between two stops is seen when its turn comes, and what is held by then is kept', () => {
  const all = Array.from({ length: 200 }, (_, i) => `192.0.2.${i + 1}`);
  const b = new Bench(all, { activeNode: 'a', epoch: 1 }, all.filter((address) => address !== '192.0.2.180'));
  const work = b.claimer.ticking(b.sources(), { members: b.members, patienceMs: 6_000 }, b.signal);
  let stops = 0;
  for (let step = work.next(); !step.done; step = work.next()) {
    if (stops++ > 0) continue;
    const other = b.vips.get('192.0.2.150')!;
    b.vips.set('192.0.2.150', { ...other, status: { activeNode: 'b', epoch: 2 } });
    b.claimer.adopt(['192.0.2.180']);
  }
  assert.ok(stops >= 2, `${stops} stops`);
  assert.deepEqual([...b.claimer.owned].sort(), all.filter((address) => address !== '192.0.2.150').sort());
});
