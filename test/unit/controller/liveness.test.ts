/** Who counts as live for the controller: directors that are gone, and an API server that is, which is no director's death. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '../../../src/kube/errors.ts';
import { Bench, lease, node, type Running } from './bench.ts';
import { group, pool, server } from './compile/setup.ts';

/** Directors e1 and e2 with Leases of six seconds; e1 holds the VIP, and all is Ready. */
class Fleet {
  readonly b = new Bench();
  readonly alive = new Set(['e1', 'e2']);
  running!: Running;
  away = false;
  #beats = 0;

  async start(): Promise<this> {
    const { b } = this;
    b.put(pool(), group('edge'), node('e1', ['192.0.2.1']), node('e2', ['192.0.2.2']), server('one'), server('two'));
    this.#beat('e1', 'e2');
    this.running = b.start();
    b.api.arrives = () => { if (this.away) throw new ApiError({ code: 'UNREACHABLE', message: 'connect ECONNREFUSED', verb: 'GET', path: '/' }); };
    await this.pass(4_000);
    b.report('e1', 'e2');
    await this.pass(16_000);
    assert.deepEqual([b.condition('default/one'), b.condition('default/two')], ['True Ready', 'True Ready']);
    return this;
  }

  #beat(...names: string[]): void {
    if (this.away) return;
    for (const name of names) if (this.alive.has(name)) this.b.put({ ...lease(name, 6), spec: { ...lease(name, 6).spec, renewTime: String(++this.#beats) } });
  }

  /** Time passes, and who lives renews every two seconds, each at moments of its own. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 1_000) {
      this.#beat(left % 2_000 === 0 ? 'e1' : 'e2');
      await this.b.pass(Math.min(left, 1_000));
    }
  }

  /** The API server is away: nothing can be read or written, and watches end. */
  async outage(ms: number): Promise<void> {
    this.away = true;
    this.b.api.breakWatches();
    await this.pass(ms);
    this.away = false;
  }

  told(): string[] { return this.running.transitions.map(({ key, after }) => `${key} ${after.conditions?.find((c) => c.type === 'Ready')?.status}`); }
}

test('after an API server that was away for longer than a Lease every VirtualServer was told that nobody serves it', async () => {
  for (const ms of [1_000, 3_000, 5_000, 7_000, 8_000, 13_000, 30_000, 300_000]) {
    const f = await new Fleet().start();
    const [told, writes] = [f.told().length, f.b.api.writes.length];
    await f.outage(ms);
    // A watch that was broken for long is opened anew after up to half a minute.
    await f.b.pass(1_000);
    await f.pass(60_000);
    assert.deepEqual(f.told().slice(told), [], `${ms} ms`);
    assert.deepEqual(f.b.api.writes.slice(writes).filter((w) => w.who === 'one').map((w) => `${w.verb} ${w.kind}`), [], `${ms} ms`);
    await f.b.stopAll();
  }
});

test('a director that dies is noticed while others live, and so are all that die at once, and those that died while the server was away', async () => {
  const f = await new Fleet().start();
  f.alive.delete('e1');
  await f.pass(10_000);
  assert.equal(f.b.condition('default/one'), 'False NoOwner');
  f.alive.add('e1');
  await f.pass(10_000);
  assert.equal(f.b.condition('default/one'), 'True Ready');
  f.alive.clear();
  await f.pass(30_000);
  assert.equal(f.b.condition('default/one', 'Programmed'), 'False NoDirector');
  f.alive.add('e1').add('e2');
  await f.pass(10_000);
  assert.equal(f.b.condition('default/one'), 'True Ready');
  f.alive.delete('e1');
  await f.outage(30_000);
  await f.pass(60_000);
  assert.equal(f.b.condition('default/one'), 'False NoOwner');
  await f.b.stopAll();
});

test('a controller that starts while the server fails now and then takes nobody for dead', async () => {
  const f = await new Fleet().start();
  await f.running.stop();
  const writes = f.b.api.writes.length;
  let n = 0;
  f.b.api.arrives = ({ verb, kind }) => { if (verb === 'list' && kind === 'Lease' && n++ < 3) throw new ApiError({ code: 'UNREACHABLE', message: 'connect ECONNREFUSED', verb: 'GET', path: '/' }); };
  f.running = f.b.start('two');
  await f.pass(40_000);
  assert.equal(n > 3, true);
  assert.deepEqual([f.told(), f.b.api.writes.slice(writes).filter((w) => w.who === 'two').map((w) => `${w.verb} ${w.kind}`)], [[], []]);
  await f.b.stopAll();
});

test('a watch that breaks before anybody asked who lives leaves nobody for dead', async () => {
  const f = await new Fleet().start();
  await f.running.stop();
  const writes = f.b.api.writes.length;
  f.running = f.b.start('two');
  // Nobody renews meanwhile, and nobody has to: they have just done so.
  for (let i = 0; i < 40 && !f.running.world.synced; i++) await f.b.pass(5);
  f.b.api.breakWatches();
  await f.b.pass(500);
  await f.pass(30_000);
  assert.deepEqual([f.told(), f.b.api.writes.slice(writes).filter((w) => w.who === 'two').map((w) => `${w.verb} ${w.kind}`)], [[], []]);
  await f.b.stopAll();
});
