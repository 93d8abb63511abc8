/** The look of every second: what of the table others changed it sees, also in the same second as a change of our own, which is none. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { FakeKernel } from '../fake-kernel.ts';
import { destination, only, program, service, TestNode } from './setup.ts';

const SHOP = 'TCP 10.0.1.200:80';
const OTHER = { owner: 'default/other', vips: ['10.0.1.201'] };

/** What the agent is told, in the second in which others do theirs. */
const OURS: Readonly<Record<string, Map<string, ReturnType<typeof program> | null>>> = {
  'a real server more': only(program({ ...OTHER, realServers: ['10.0.1.21', '10.0.1.22', '10.0.1.23'] })),
  'a real server less': only(program({ ...OTHER, realServers: ['10.0.1.21'] })),
  'another weight': only(program({ ...OTHER, realServers: ['10.0.1.21|80|5|', '10.0.1.22'] })),
  'another scheduler': only(program({ ...OTHER, scheduler: { name: 'lc' } })),
  'a service more': only(program({ owner: 'default/third', vips: ['10.0.1.202'] })),
  'a service less': new Map([[OTHER.owner, null]]),
};
const THEIRS: Readonly<Record<string, (ipvs: FakeKernel['ipvs']) => void>> = {
  'a service of ours is deleted': (ipvs) => { ipvs.services.delete(SHOP); },
  'everything is flushed': (ipvs) => { ipvs.services.clear(); },
  'two services of others come and one of ours goes': (ipvs) => {
    ipvs.services.delete(SHOP);
    for (const port of [1, 2]) ipvs.put(service({ address: '10.96.0.1', port }), [destination('10.0.1.21')]);
  },
};

for (const [ours, told] of Object.entries(OURS)) {
  for (const [theirs, disturb] of Object.entries(THEIRS)) {
    test(`${theirs} right after ${ours}: seen by the next look, not only when everything is compared`, async (t) => {
      const host = new TestNode(t);
      const agent = host.start([program(), program(OTHER)]);
      await agent.reconcile('full');
      assert.equal(agent.drifted(), false);
      agent.update(told);
      assert.ok((await agent.reconcile('changes')).operations > 0);
      disturb(host.kernel.ipvs);
      assert.equal(agent.drifted(), true);
      assert.equal((await agent.reconcile('full')).settled, true);
      assert.ok(host.kernel.ipvs.services.has(SHOP));
      assert.equal(agent.drifted(), false);
    });
  }

  test(`${ours} is no drift, nor is the next one`, async (t) => {
    const host = new TestNode(t);
    const agent = host.start([program(), program(OTHER)]);
    await agent.reconcile('full');
    agent.update(told);
    await agent.reconcile('changes');
    assert.equal(agent.drifted(), false);
    agent.update(only(program({ owner: 'default/fourth', vips: ['10.0.1.203'] })));
    await agent.reconcile('changes');
    agent.update(new Map([['default/fourth', null]]));
    await agent.reconcile('changes');
    assert.equal(agent.drifted(), false);
    host.kernel.ipvs.services.delete(SHOP);
    assert.equal(agent.drifted(), true);
  });
}

test('with a change of our own in each second, who removes services is seen in the next one', async (t) => {
  const host = new TestNode(t);
  const agent = host.start([program(), program(OTHER)]);
  await agent.reconcile('full');
  for (let i = 23; i < 30; i++) {
    agent.update(only(program({ ...OTHER, realServers: ['10.0.1.21', `10.0.1.${i}`] })));
    await agent.reconcile('changes');
    if (i === 27) host.kernel.ipvs.services.delete(SHOP);
    assert.equal(agent.drifted(), i >= 27, String(i));
  }
});
