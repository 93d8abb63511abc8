/**
 * Random histories of directors that die, reboot, lose the API server and come back: no two ever have an address at the same time, and
 * once all is quiet every address has exactly one owner.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LEASE_MS, World } from './world.ts';

const NODES = ['edge-01', 'edge-02', 'edge-03'];
const VIPS = ['10.0.1.200', '10.0.1.201'];

const fault = fc.record({
  node: fc.constantFrom(...NODES),
  what: fc.constantFrom('kill', 'start', 'powerOff', 'powerOn', 'offline', 'online', 'isolate', 'join', 'blackout', 'light'),
  after: fc.integer({ min: 0, max: 12_000 }),
});

function strike(world: World, { node, what }: { readonly node: string; readonly what: string }): void {
  const n = world.nodes.get(node)!;
  switch (what) {
    // As with 'offline': an agent that dies before it heard what it lost leaves a kernel that does not know.
    case 'kill': return world.time.now < n.newsUntil ? undefined : n.kill();
    case 'start': return n.start();
    case 'powerOff': return world.powerOff(n);
    case 'powerOn': return world.powerOn(n);
    case 'offline': return n.setOnline(false);
    case 'online': return n.setOnline(true);
    case 'isolate': return world.isolate(n);
    case 'join': return world.join(n);
    case 'blackout': for (const other of world.nodes.values()) other.setOnline(false); return;
    case 'light': for (const other of world.nodes.values()) other.setOnline(true); return;
  }
}

/** Numbers that look random and are the same each time. */
function randoms(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

test('no two directors ever have an address, and every address ends with one owner', async () => {
  await fc.assert(fc.asyncProperty(fc.array(fault, { maxLength: 14 }), fc.integer(), fc.constantFrom(20, 400), async (faults, seed, slowMs) => {
    const world = new World({ random: randoms(seed), watchMs: slowMs, writeMs: slowMs / 2, kernelMs: 100 }, NODES, VIPS);
    for (const f of faults) {
      await world.time.pass(f.after);
      strike(world, f);
    }
    for (const node of world.nodes.values()) {
      if (!node.power) world.powerOn(node);
      node.start();
      world.join(node);
      node.setOnline(true);
    }
    await world.time.pass(8 * LEASE_MS);
    for (const vip of VIPS) {
      const [owner, ...others] = world.holders(vip);
      assert.ok(owner !== undefined && others.length === 0, `${vip} has ${owner ?? 'nobody'} ${others.join(' ')}`);
      const status = world.vips.get(vip)!.status!;
      assert.equal(status.activeNode, owner);
      assert.deepEqual(status.conditions?.map((c) => [c.type, c.status]), [['Owned', 'True']]);
    }
    for (const node of world.nodes.values()) node.kill();
  }), { numRuns: 80, endOnFailure: true });
});

test('the owner keeps its addresses while its agent is dead, and is followed once its kernel is, too', async () => {
  const world = new World({ random: randoms(1), watchMs: 50, writeMs: 20, kernelMs: 20 }, NODES, VIPS);
  await world.time.pass(LEASE_MS);
  const [owner] = world.holders(VIPS[0]!);
  world.nodes.get(owner!)!.kill();
  await world.time.pass(5 * LEASE_MS);
  assert.deepEqual(world.holders(VIPS[0]!), [owner], 'its kernel answers, so nobody takes it');
  const owned = world.vips.get(VIPS[0]!)!.status!.conditions!.find((c) => c.type === 'Owned')!;
  assert.deepEqual([owned.status, owned.reason], ['Unknown', 'OwnerLost']);
  assert.match(owned.message, new RegExp(`${owner} does not renew .* still answers .*02:00:00:00:00:${owner!.slice(-2)}`));
  world.powerOff(world.nodes.get(owner!)!);
  await world.time.pass(3_000);
  const [next, ...rest] = world.holders(VIPS[0]!);
  assert.ok(next !== undefined && next !== owner && rest.length === 0);
  for (const node of world.nodes.values()) node.kill();
});

test('a director that lost its power is followed within one Lease, a second of asking and a tick', async () => {
  const world = new World({ random: randoms(7), watchMs: 50, writeMs: 20, kernelMs: 20 }, NODES, VIPS);
  await world.time.pass(3 * LEASE_MS);
  const [owner] = world.holders(VIPS[0]!);
  world.powerOff(world.nodes.get(owner!)!);
  await world.time.pass(LEASE_MS + 1_500);
  assert.equal(world.holders(VIPS[0]!).length, 1);
  for (const node of world.nodes.values()) node.kill();
});

test('a restart of the agent, or of the API server, moves nothing', async () => {
  const world = new World({ random: randoms(3), watchMs: 50, writeMs: 20, kernelMs: 20 }, NODES, VIPS);
  await world.time.pass(3 * LEASE_MS);
  const before = VIPS.map((v) => world.holders(v));
  const epochs = () => VIPS.map((v) => world.vips.get(v)!.status!.epoch);
  const old = epochs();
  for (const node of world.nodes.values()) {
    node.kill();
    await world.time.pass(1_000);
    node.start();
    await world.time.pass(3_000);
  }
  for (const node of world.nodes.values()) node.setOnline(false);
  await world.time.pass(10 * LEASE_MS);
  assert.deepEqual(VIPS.map((v) => world.holders(v)), before, 'away: everybody keeps what it has');
  for (const node of world.nodes.values()) node.setOnline(true);
  await world.time.pass(5 * LEASE_MS);
  assert.deepEqual([VIPS.map((v) => world.holders(v)), epochs()], [before, old]);
  for (const node of world.nodes.values()) node.kill();
});
