/**
 * Two controllers that lead at once, sixty VirtualServers at the same time: at no moment is one address in the programs of two, and nobody
 * loses the only address that it has. What random histories do to two controllers is controller.property.test.ts's.
 */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { VirtualIP, VirtualServerProgram } from '../../../src/api/v1alpha1/index.ts';
import { Bench, lease, node, seeded } from './bench.ts';
import { group, pin, pool, server } from './compile/setup.ts';

const COUNT = 60;

/** What each of them was red with. */
const SEEDS: readonly (readonly [seed: number, lagMs: number, red: string])[] = [
  [1, 120, 'what the caches had heard while a pass ran was given back at its end'],
  [25, 60, 'the program of another controller was written over, in its own version'],
  [33, 120, 'an address was given back while the program of another controller led there, which no cache had heard of'],
];

for (const [seed, lagMs] of SEEDS) {
  test(`two controllers with caches that lag: no address twice, and none given back that is somebody's only one; seed ${seed}`, { timeout: 120_000 }, async () => {
    const b = new Bench(seed, lagMs);
    const random = seeded(seed);
    b.put(pool('public', { blocks: [{ cidr: '198.18.0.0/16' }] }), group('edge'), node('e1', ['192.0.2.1']), lease('e1'));
    const wrong: string[] = [];
    b.api.changed = ({ type, object }) => {
      if (object.kind === 'VirtualIP' && type === 'DELETED') {
        const { address, claims } = (object as unknown as VirtualIP).spec;
        for (const { name } of claims) if (!b.all('VirtualIP').some((v) => v.spec.claims.some((c) => c.name === name))) wrong.push(`${address}, the only address of ${name}, was given back`);
      }
      if (object.kind !== 'VirtualServerProgram' || type === 'DELETED') return;
      const { metadata: { name }, spec: { addresses: [mine] } } = object as unknown as VirtualServerProgram;
      for (const p of b.all('VirtualServerProgram')) if (p.metadata.name !== name && p.spec.addresses[0]!.address === mine!.address) wrong.push(`${mine!.address} is in the programs of ${name} and ${p.metadata.name}`);
    };
    b.start('left');
    b.start('right');
    for (let i = 0; i < COUNT; i++) {
      b.put(server(`default/s${i}`));
      if (i % 8 === 7) await b.pass(Math.floor(random() * 150));
    }
    await b.settle(3_000);
    assert.deepEqual(wrong, []);
    const vips = b.all('VirtualIP');
    assert.deepEqual([vips.length, new Set(vips.map((v) => v.spec.address)).size, new Set(vips.flatMap((v) => v.spec.claims.map((c) => c.name))).size, b.all('VirtualServerProgram').length], [COUNT, COUNT, COUNT, COUNT]);
    assert.deepEqual(new Set(b.api.writes.filter((w) => w.kind === 'VirtualIP').map((w) => w.who)), new Set(['left', 'right']), 'it was a contest');
    await b.stopAll();
  });
}

test('an address to which the program of another leads is given to nobody before that program is another', async () => {
  const b = new Bench();
  b.put(pool(), group('edge'), node('e1', ['192.0.2.1']), lease('e1'), server('first', pin('203.0.113.2')));
  b.start();
  await b.settle();
  const claimed: string[][] = [];
  b.api.changed = ({ type, object }) => {
    if (type !== 'ADDED' || object.kind !== 'VirtualIP') return;
    const { address } = (object as unknown as VirtualIP).spec;
    claimed.push([address, ...b.all('VirtualServerProgram').filter((p) => p.spec.addresses.some((a) => a.address === address)).map((p) => p.metadata.name)]);
  };
  // Another controller moved the first one, and somebody wants the place at the same moment.
  const program = b.get('VirtualServerProgram', 'default/first')!;
  b.put({ ...program, spec: { ...program.spec, addresses: [{ address: '203.0.113.3', family: 'IPv4' }] } }, server('second', pin('203.0.113.3')));
  await b.settle();
  assert.deepEqual(claimed, [['203.0.113.3']]);
  assert.deepEqual(['first', 'second'].map((name) => b.get('VirtualServerProgram', `default/${name}`)?.spec.addresses[0]?.address), ['203.0.113.2', '203.0.113.3']);
  assert.equal(b.condition('default/second', 'Accepted'), 'True Accepted');
  await b.stopAll();
});

test('an address to which a program leads that no cache has heard of is not given back', async () => {
  const b = new Bench();
  b.put(pool(), group('edge'), node('e1', ['192.0.2.1']), lease('e1'), server('first', pin('203.0.113.2')));
  b.start();
  await b.settle();
  const program = b.get('VirtualServerProgram', 'default/first')!;
  const moved = (address: string): object => ({ ...program, spec: { ...program.spec, addresses: [{ address, family: 'IPv4' }] } });
  // While the first one moves, another controller moves it back, in the moment before its old address is given back.
  let asked = 0;
  b.api.arrives = ({ verb, kind }) => {
    if (verb !== 'get' || kind !== 'VirtualServerProgram' || asked++ > 0) return;
    b.put(moved('203.0.113.2'));
  };
  const gone: string[][] = [];
  b.api.changed = ({ type, object }) => {
    if (type !== 'DELETED' || object.kind !== 'VirtualIP') return;
    gone.push([object.metadata.name, ...b.get('VirtualServerProgram', 'default/first')!.spec.addresses.map((a) => a.address)]);
  };
  b.put(server('first', pin('203.0.113.3')));
  await b.settle();
  assert.ok(asked > 0);
  assert.deepEqual(gone, [['203.0.113.2', '203.0.113.3']]);
  assert.deepEqual(b.all('VirtualIP').map((v) => v.spec.address), ['203.0.113.3']);
  await b.stopAll();
});
