/** A VIP that nobody wants any more: connections to it are reset for a moment, instead of waiting for answers that never come. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Program } from '../../../src/api/v1alpha1/program.ts';
import type { Duties } from '../../../src/agent/duties.ts';
import { only, program, TestNode } from './setup.ts';

const VIP = '10.0.1.200';
const shop = (fields: Parameters<typeof program>[0] = {}): Program => program({ directorGroup: 'edge', ...fields });
const duties = (owned: readonly string[], groups = ['edge']): Duties => ({ directs: new Set(groups), owned: new Set(owned), receives: new Map(), reserved: new Set() });

for (const [name, changed, told, stays] of [
  ['a VIP of a VirtualServer that is deleted', null, duties([]), true],
  ['a VIP that was changed for another', shop({ vips: ['10.0.1.201'] }), duties(['10.0.1.201']), true],
  ['a VIP that another director takes', shop(), duties([]), false],
  ['a VIP of a group that this node does not direct for any more', null, duties([], ['other']), false],
] as const) {
  test(`${name} ${stays ? 'stays for three seconds after its services, then goes' : 'goes at once'}`, async (t) => {
    const node = new TestNode(t, { partingMs: 3_000 });
    const agent = node.start([]);
    agent.update(only(shop()), undefined, duties([VIP]));
    const has = (): boolean => node.kernel.net.addresses.some((a) => a.address === VIP);
    const pass = async (seconds: number): Promise<readonly [boolean, boolean]> => {
      node.now += seconds * 1000;
      await agent.reconcile('changes');
      return [has(), agent.draining];
    };
    await pass(0);
    assert.ok(has());
    agent.update(new Map([['default/shop', changed]]), undefined, told);
    assert.deepEqual(await pass(0), [stays, stays]);
    if (stays) assert.equal(node.kernel.ipvs.services.has(`TCP ${VIP}:80`), false, 'its services are gone');
    assert.deepEqual(await pass(2), [stays, stays]);
    assert.deepEqual(await pass(1), [false, false]);
  });
}

test('a VIP that nobody wants does not stay until the old time comes again, when the clock is set back', async (t) => {
  const node = new TestNode(t, { partingMs: 3_000 });
  const agent = node.start([]);
  agent.update(only(shop()), undefined, duties([VIP]));
  await agent.reconcile('changes');
  agent.update(new Map([['default/shop', null]]), undefined, duties([]));
  await agent.reconcile('changes');
  assert.ok(node.kernel.net.addresses.some((a) => a.address === VIP));
  node.now -= 600_000;
  await agent.reconcile('changes');
  assert.deepEqual([node.kernel.net.addresses.some((a) => a.address === VIP), agent.draining], [false, false]);
});

test('a VIP that is wanted again meanwhile is not taken away', async (t) => {
  const node = new TestNode(t, { partingMs: 3_000 });
  const agent = node.start([shop()]);
  agent.update(only(shop()), undefined, duties([VIP]));
  await agent.reconcile('full');
  agent.update(new Map([['default/shop', null]]), undefined, duties([]));
  await agent.reconcile('changes');
  agent.update(only(shop()), undefined, duties([VIP]));
  const from = node.kernel.log.length;
  for (let i = 0; i < 4; i++) {
    node.now += 1000;
    await agent.reconcile('changes');
  }
  assert.ok(!JSON.stringify(node.kernel.log.slice(from)).includes('delAddress'));
});

test('a cleanup waits for nobody', async (t) => {
  const node = new TestNode(t, { partingMs: 3_000 });
  const agent = node.start([program()]);
  await agent.reconcile('full');
  agent.update(new Map([['default/shop', null]]));
  await agent.cleanup();
  assert.ok(!node.kernel.net.addresses.some((a) => a.address === VIP));
});
