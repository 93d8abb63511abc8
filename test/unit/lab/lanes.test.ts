// How scenarios are shared out to guests: batches by size, lanes by CPUs and memory.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scenario, type Scenario } from '../../lab/lab.ts';
import { batchesOf, planLanes, type Machine } from '../../lab/lanes.ts';
import { lan } from '../../lab/topologies.ts';

const make = (tag: string, count: number): Scenario[] => Array.from({ length: count }, (_, i) =>
  scenario({ name: `${tag}-${i}`, about: '', topology: lan, tags: [tag], timeoutSeconds: 60 + i, run: async () => {} }));
const batches = (small: number, large: number, qemu: number) => batchesOf([...make('small', small), ...make('large', large), ...make('nft', qemu)],
  (one) => (one.tags![0] === 'nft' ? 'qemu' : 'uml'), (one) => (one.tags![0] === 'large' ? 1536 : 512));

/** Each lane as `CPU: batches`, and whether it gives way, or waits. */
function lanes(of: ReturnType<typeof batches>, machine: Machine): string[] {
  return planLanes(of, machine).map(({ cpu, yields, waits, batches: its }) => `${cpu}${yields ? ' yields' : ''}${waits ? ' waits' : ''}: ${its.map(({ scenarios }) => scenarios[0]!.tags![0]).join(' ')}`);
}

test('a batch is of one kind and size, and begins with what may take longest', () => {
  assert.deepEqual(batches(2, 1, 1).map(({ backend, megabytes, scenarios }) => [backend, megabytes, scenarios.map((one) => one.name)]),
    [['uml', 1536, ['large-0']], ['uml', 512, ['small-1', 'small-0']], ['qemu', 512, ['nft-0']]]);
});

const two = [0, 1];
for (const [what, of, machine, expected] of [
  ['one scenario: one guest', batches(1, 0, 0), { cpus: two, freeMegabytes: 24_000 }, ['0: small']],
  ['two: a CPU each', batches(2, 0, 0), { cpus: two, freeMegabytes: 24_000 }, ['0: small', '1: small']],
  ['many: two on each CPU', batches(9, 0, 0), { cpus: two, freeMegabytes: 24_000 }, ['0: small', '1: small', '0 yields: small', '1 yields: small']],
  ['large ones: one a CPU', batches(0, 9, 0), { cpus: two, freeMegabytes: 24_000 }, ['0: large', '1: large']],
  ['everything', batches(9, 9, 3), { cpus: two, freeMegabytes: 24_000 }, ['0: large small', '1: large small', '0 yields: nft small', '1 yields: small']],
  ['another first CPU', batches(9, 0, 0), { cpus: [1, 0], freeMegabytes: 24_000 }, ['1: small', '0: small', '1 yields: small', '0 yields: small']],
  ['no room beside large guests', batches(9, 9, 3), { cpus: two, freeMegabytes: 3100 }, ['0: large small', '1: large small', '0 yields waits: nft small', '1 yields waits: small']],
  ['room for one small guest more', batches(9, 9, 0), { cpus: two, freeMegabytes: 3600 }, ['0: large small', '1: large small', '0 yields: small', '1 yields waits: small']],
  ['room for one large guest and one small one', batches(9, 9, 0), { cpus: two, freeMegabytes: 2100 }, ['0: large small', '1: small', '0 yields waits: small']],
  ['room for two small guests', batches(9, 0, 3), { cpus: two, freeMegabytes: 1100 }, ['0: small', '1: small', '0 yields: nft']],
  ['no memory to speak of: one all the same', batches(9, 9, 0), { cpus: two, freeMegabytes: 600 }, ['0: large small']],
  ['one guest, a person says', batches(9, 9, 3), { cpus: two, freeMegabytes: 24_000, most: 1 }, ['0: large small nft']],
  ['three guests, a person says', batches(9, 0, 3), { cpus: two, freeMegabytes: 24_000, most: 3 }, ['0: small', '1: small', '0 yields: nft small']],
  ['QEMU alone', batches(0, 0, 3), { cpus: two, freeMegabytes: 600 }, ['0: nft']],
] as const) {
  test(what, () => { assert.deepEqual(lanes(of, machine), expected); });
}

test('every scenario has a lane', () => {
  for (const free of [100, 700, 1600, 2100, 3100, 4000, 24_000]) for (const most of [1, 2, 3, 4]) {
    const all = batches(5, 3, 2);
    const taken = new Set(planLanes(all, { cpus: two, freeMegabytes: free, most }).flatMap((lane) => lane.batches));
    assert.equal(taken.size, all.length, `${free} MB, ${most} guests`);
  }
});
