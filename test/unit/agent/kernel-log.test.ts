/** What the log says of changes of the kernel: each with its operation, why, and for whom; and of very many one line. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { pino } from 'pino';
import { refusal } from '../fake-kernel.ts';
import { only, program, TestNode } from './setup.ts';

interface Line { readonly msg: string; readonly operation?: string; readonly operations?: number; readonly cause?: string; readonly virtualServer?: string }

/** A node, and what its agent logged since it was last asked, as `cause virtualServer: operation`. */
function logging(t: { after(fn: () => void): void }, level = 'info'): { node: TestNode; said: () => string[]; lines: () => Line[] } {
  let lines: Line[] = [];
  const log = pino({ level }, { write: (text: string) => { lines.push(JSON.parse(text) as Line); } });
  const taken = (): Line[] => {
    const all = lines;
    lines = [];
    return all;
  };
  return { node: new TestNode(t, { log }), lines: taken, said: () => taken().flatMap((l) => (l.msg === 'kernel' ? [`${l.cause} ${l.virtualServer}: ${l.operation}`] : [])) };
}

test('each change says why and for whom: a program comes, changes, is spoilt by somebody, and goes', async (t) => {
  const { node, said } = logging(t);
  const agent = node.start([program({ owner: 'shop/web' })]);
  await agent.reconcile('full');
  const first = said();
  for (const line of [
    'wanted shop/web: add service TCP 10.0.1.200:80 rr', 'wanted shop/web: add real server TCP 10.0.1.200:80 -> 10.0.1.21:80 masq weight 1', 'wanted shop/web: add address 10.0.1.200 on e0',
    'wanted shop/web: set sysctl net/ipv4/ip_forward = 1 (was 0)',
  ]) assert.ok(first.includes(line), `${line} in\n${first.join('\n')}`);
  assert.ok(first.every((line) => line.startsWith('wanted ')), first.join('\n'));

  await agent.reconcile('full');
  assert.deepEqual(said(), [], 'nothing changed, nothing is said');

  agent.update(only(program({ owner: 'shop/web', realServers: ['10.0.1.21'], drainTimeoutSeconds: 60 })));
  await agent.reconcile('changes');
  assert.deepEqual(said(), ['wanted shop/web: set real server TCP 10.0.1.200:80 -> 10.0.1.22:80 masq weight 0 (weight)']);
  node.now += 61_000;
  await agent.reconcile('changes');
  assert.deepEqual(said(), ['drained shop/web: delete real server TCP 10.0.1.200:80 -> 10.0.1.22:80']);

  node.kernel.ipvs.services.clear();
  node.kernel.net.write('net/ipv4/ip_forward', '0');
  await agent.reconcile('full');
  const drift = said();
  assert.deepEqual(drift.filter((line) => !line.startsWith('drift ')), []);
  assert.ok(drift.includes('drift shop/web: add service TCP 10.0.1.200:80 rr') && drift.some((line) => line.startsWith('drift shop/web: set sysctl net/ipv4/ip_forward = 1')), drift.join('\n'));

  agent.update(new Map([['shop/web', null]]));
  await agent.reconcile('changes');
  const gone = said();
  for (const line of ['wanted shop/web: delete service TCP 10.0.1.200:80', 'wanted shop/web: delete address 10.0.1.200 on e0', 'wanted shop/web: set sysctl net/ipv4/ip_forward = 0 (was 1)']) {
    assert.ok(gone.includes(line), `${line} in\n${gone.join('\n')}`);
  }
});

test('what failed is tried again, and says so', async (t) => {
  const { node, said } = logging(t);
  node.kernel.refuse((o) => (o.kind === 'addDestination' && o.destination.address === '10.0.1.22' ? refusal('NEW_DEST', 12) : null));
  const agent = node.start([program({ owner: 'shop/web' })]);
  await agent.reconcile('full');
  said();
  node.kernel.refuse(null);
  await agent.reconcile('full');
  assert.deepEqual(said(), ['retry shop/web: add real server TCP 10.0.1.200:80 -> 10.0.1.22:80 masq weight 1']);
});

test('of very many there is one line, and each at level debug', async (t) => {
  const many = program({ owner: 'shop/many', realServers: Array.from({ length: 300 }, (_, i) => `10.0.1.${20 + (i % 200)}|${80 + Math.floor(i / 200)}|1|`) });
  for (const [level, single] of [['info', 0], ['debug', 301]] as const) {
    const { node, lines } = logging(t, level);
    await node.start([many]).reconcile('full');
    const all = lines();
    assert.ok((all.find((l) => l.msg === 'applying')?.operations ?? 0) >= 301);
    assert.ok(single === 0 ? all.every((l) => l.msg !== 'kernel') : all.filter((l) => l.msg === 'kernel' && l.virtualServer === 'shop/many').length >= single);
  }
});
