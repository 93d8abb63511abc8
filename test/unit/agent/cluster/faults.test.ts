/**
 * Faults of our own in an agent of the cluster: something throws where nothing should. The process goes on, says so, loses nothing that it has,
 * and is as it should be when the fault is over. Each of these ended the process before, or a part of its work without a word.
 */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { RESOURCES } from '../../../../src/api/v1alpha1/index.ts';
import type { Inputs } from '../../../../src/agent/cluster/inputs.ts';
import { ClusterBench, quiet, until, type BenchNode } from './bench.ts';

const VIP = '10.0.1.200';
const SECOND = '10.0.1.201';
const broken = (): never => { throw new Error('out of order'); };

/** One director with one VIP. */
async function director(t: { after(fn: () => void | Promise<void>): void }): Promise<{ bench: ClusterBench; n1: BenchNode }> {
  const { bench, n1 } = await ClusterBench.startDirector(t);
  await until('the VIP is held', () => n1.has(VIP, 'e0') && n1.host.notReady() === null);
  return { bench, n1 };
}

describe('faults of our own', { concurrency: 4 }, () => {
  test('claims that cannot be looked at and a status that cannot be made are tried again', async (t) => {
    const { bench, n1 } = await director(t);
    Object.defineProperty(n1.agent, 'view', { configurable: true, get: broken });
    bench.program({ owner: 'default/second', vips: [SECOND] });
    await until('the node is not ready', () => n1.host.notReady() === 'who holds which VIP could not be decided: out of order');
    await until('both are told', () => ['the claims could not be looked at', 'the status could not be made'].every((text) => bench.warnings.some((w) => w.startsWith(text))));
    await quiet(1_500);
    assert.ok(n1.has(VIP), 'what it has it keeps');
    delete (n1.agent as { view?: unknown }).view;
    await until('the other is taken', () => n1.has(SECOND, 'e0'));
    await until('and reported', () => bench.nodeStatus('n1').ownedVIPs?.includes(SECOND) === true);
    assert.equal(n1.host.notReady(), null);
  });

  test('a program that cannot be taken up keeps no other from being served, and is tried again', async (t) => {
    const { bench, n1 } = await director(t);
    const inputs = n1.host.inputs as Inputs;
    const slicesOf = inputs.slicesOf.bind(inputs);
    inputs.slicesOf = (owner) => (owner === 'default/aaa' ? broken() : slicesOf(owner));
    bench.program({ owner: 'default/aaa', vips: [SECOND] });
    bench.program({ owner: 'default/zzz', vips: ['10.0.1.202'] });
    await until('the other is served', () => n1.has('10.0.1.202'));
    assert.deepEqual([n1.has(SECOND), n1.host.notReady()], [false, 'the program of default/aaa could not be taken up: out of order']);
    inputs.slicesOf = slicesOf;
    await until('it is served, too', () => n1.has(SECOND));
    assert.equal(n1.host.notReady(), null);
  });

  test('what the agent did not take is told it again, and nothing of it gets lost', async (t) => {
    const { bench, n1 } = await director(t);
    const update = n1.agent.update.bind(n1.agent);
    n1.agent.update = broken;
    bench.program({ owner: 'default/second', vips: [SECOND] });
    bench.drop(RESOURCES.VirtualServerProgram, 'default/shop');
    await until('it is said', () => n1.host.notReady() === 'what this node is told could not be taken up: out of order');
    await quiet(1_500);
    assert.ok(n1.has(VIP) && !n1.has(SECOND));
    n1.agent.update = update;
    await until('one comes and the other goes', () => n1.has(SECOND) && !n1.has(VIP) && n1.services().join() === `TCP ${SECOND}:80`);
    await until('all is well', () => n1.host.notReady() === null);
  });

  test('a look at the claims in which the process lost two seconds was followed by twenty without one: nothing was taken, and nothing given up', async (t) => {
    const { bench, n1 } = await director(t);
    const view = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(n1.agent) as object, 'view')!.get!;
    let looks = 0;
    Object.defineProperty(n1.agent, 'view', { configurable: true, get: () => {
      looks += 1;
      n1.lost += 2_000;
      delete (n1.agent as { view?: unknown }).view;
      return view.call(n1.agent) as unknown;
    } });
    await until('it lost its turn', () => looks === 1);
    bench.program({ owner: 'default/second', vips: [SECOND] });
    // It took twenty seconds.
    await until('it takes the next one all the same', () => n1.has(SECOND), 18_000);
  });

  test('a look at the kernel that never ends is a reason for a restart, also the first one, of which nothing was said', async (t) => {
    const { bench, n1 } = await director(t);
    assert.equal(n1.host.notLive(120_000), null);
    n1.lost += 130_000;
    assert.match(n1.host.notLive(120_000) ?? '', /^the kernel was not looked at for 1[34]\d s$/);
    await until('it is looked at again', () => n1.host.notLive(120_000) === null);
    await n1.stop();
    const readAll = n1.kernel.ipvs.readAll.bind(n1.kernel.ipvs);
    let reading = false;
    n1.kernel.ipvs.readAll = (signal?: AbortSignal) => new Promise<never>((_, reject) => {
      reading = true;
      signal!.addEventListener('abort', () => reject(signal!.reason as Error));
    });
    n1.start();
    await until('it reads', () => reading);
    assert.equal(n1.host.notLive(120_000), null, 'not at once');
    n1.lost += 130_000;
    assert.match(n1.host.notLive(120_000) ?? '', /^the kernel was not looked at for 1[34]\d s$/);
    await n1.stop();
    n1.kernel.ipvs.readAll = readAll;
    bench.away();
    n1.start({ patienceMs: 600_000 });
    n1.lost += 130_000;
    assert.equal(n1.host.notLive(120_000), null, 'who waits for the API server has nothing to look for');
  });

  for (const [what, away] of [['told by the API server', false], ['from its snapshot', true]] as const) {
    test(`a kernel that cannot be asked at the start is asked again: ${what}`, async (t) => {
      const { bench, n1 } = await director(t);
      await n1.stop();
      if (away) bench.away();
      const observe = n1.kernel.net.observe.bind(n1.kernel.net);
      n1.kernel.net.observe = broken;
      n1.start({ patienceMs: 300 });
      await until('it is not ready', () => /could not be taken up: out of order$/.test(n1.host.notReady() ?? ''));
      n1.kernel.net.observe = observe;
      n1.kernel.ipvs.services.clear();
      await until('it serves', () => n1.host.notReady() === null && n1.services().length === 1);
      assert.ok(n1.has(VIP));
    });
  }
});
