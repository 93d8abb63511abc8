/** A real server changes its forwarding mode under connections: under which keys, in which order, and when connections are cut. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { only, program, TestNode } from './setup.ts';

type Mode = 'NAT' | 'DR' | 'TUN';
const SERVICE = 'TCP 10.0.1.200:80';

/** A director with one service of two real servers. Passes come a second after one another; connections stay where they are until their destination is deleted. */
class Director {
  readonly #node: TestNode;
  readonly #agent: ReturnType<TestNode['start']>;
  constructor(t: { after(fn: () => void): void }, mode: Mode) {
    // While it waits, the kernel's table is what the next pass finds.
    this.#node = new TestNode(t, { wait: async (ms) => { this.waited.push([ms, this.table]); } });
    this.#agent = this.#node.start([program({ mode })]);
  }

  /** The spec says another mode, and one pass follows. */
  async become(mode: Mode): Promise<string[]> {
    this.#agent.update(only(program({ mode })));
    return this.pass();
  }

  /** What the kernel has after one more pass, without what each real server's address begins with. */
  async pass(seconds = 1): Promise<string[]> {
    this.#node.now += seconds * 1000;
    this.settled = (await this.#agent.reconcile('changes')).settled;
    return this.table;
  }

  /** Where a pass waited: for how many milliseconds, and what the kernel had then. */
  readonly waited: (readonly [number, readonly string[]])[] = [];

  /** What the last pass said of itself. */
  settled = false;

  /** Opens connections on every real server that takes them. */
  load(): void {
    for (const [key, { destination }] of this.#node.kernel.ipvs.services.get(SERVICE)!.destinations) if (destination.weight > 0) this.#node.kernel.ipvs.connections(SERVICE, key, 3);
  }

  get draining(): boolean { return this.#agent.draining; }

  get table(): string[] {
    return [...this.#node.kernel.ipvs.services.get(SERVICE)!.destinations.values()].map(({ destination: d }) => `${d.address.slice(-2)}:${d.port} ${d.method} ${d.weight}`).sort();
  }
}

test('without connections DR becomes NAT in place', async (t) => {
  const d = new Director(t, 'DR');
  await d.pass();
  assert.deepEqual(await d.become('NAT'), ['21:80 masq 1', '22:80 masq 1']);
});

test('a connection that begins while NAT becomes DR cost every new one: DR gets destinations of its own even where there are none', async (t) => {
  const d = new Director(t, 'NAT');
  await d.pass();
  assert.deepEqual(await d.become('DR'), ['21:0 direct 1', '21:80 masq 0', '22:0 direct 1', '22:80 masq 0']);
  assert.deepEqual(await d.pass(), ['21:0 direct 1', '22:0 direct 1'], 'nobody had to be waited for');
  assert.deepEqual(await d.become('NAT'), ['21:0 direct 0', '21:80 masq 1', '22:0 direct 0', '22:80 masq 1']);
  assert.deepEqual(await d.pass(), ['21:80 masq 1', '22:80 masq 1']);
});

test('NAT to DR under connections lost every new one: DR gets destinations of its own, and those of NAT drain', async (t) => {
  const d = new Director(t, 'NAT');
  await d.pass();
  d.load();
  const both = ['21:0 direct 1', '21:80 masq 0', '22:0 direct 1', '22:80 masq 0'];
  assert.deepEqual(await d.become('DR'), both);
  d.load();
  assert.deepEqual(await d.pass(), both);
  assert.deepEqual(await d.pass(61), ['21:0 direct 1', '22:0 direct 1'], 'cut when the drain is over; what began in DR stays where it is');
  assert.deepEqual(await d.pass(), ['21:0 direct 1', '22:0 direct 1']);
  assert.deepEqual(await d.become('NAT'), ['21:0 direct 0', '21:80 masq 1', '22:0 direct 0', '22:80 masq 1']);
});

test('NAT and TUN share a destination', async (t) => {
  const d = new Director(t, 'NAT');
  await d.pass();
  d.load();
  assert.deepEqual(await d.become('TUN'), ['21:80 tunnel 1', '22:80 tunnel 1']);
  assert.deepEqual(await d.become('NAT'), ['21:80 masq 1', '22:80 masq 1']);
});

test('DR to TUN and back under connections: each has its own destinations, and the way back takes up the first ones again', async (t) => {
  const d = new Director(t, 'DR');
  await d.pass();
  d.load();
  assert.deepEqual(await d.become('TUN'), ['21:0 tunnel 1', '21:80 direct 0', '22:0 tunnel 1', '22:80 direct 0']);
  d.load();
  assert.deepEqual(await d.become('DR'), ['21:0 tunnel 0', '21:80 direct 1', '22:0 tunnel 0', '22:80 direct 1']);
});

test('DR to NAT under connections: deleted and made anew, one half after the other, so that somebody always takes new connections', async (t) => {
  const d = new Director(t, 'DR');
  await d.pass();
  d.load();
  assert.deepEqual(await d.become('NAT'), ['22:80 direct 1']);
  assert.ok(d.draining, 'the next pass comes soon');
  assert.equal(d.settled, false);
  assert.deepEqual(await d.pass(), ['21:80 masq 1']);
  assert.equal(d.settled, false);
  assert.deepEqual(await d.pass(), ['21:80 masq 1', '22:80 masq 1']);
  assert.equal(d.settled, true);
  await d.pass();
  assert.equal(d.draining, false);
});

test('who is made anew is away until the kernel has cut its connections, however soon the next pass comes: they lived on in DR, on destinations of NAT', async (t) => {
  const d = new Director(t, 'DR');
  await d.pass();
  d.load();
  await d.become('NAT');
  await d.pass(0);
  await d.pass(0);
  assert.deepEqual(d.waited, [[300, ['22:80 direct 1']], [300, ['21:80 masq 1']]]);
  d.load();
  await d.become('TUN');
  await d.become('DR');
  assert.equal(d.waited.length, 2, 'nobody else waits');
});

test('NAT, DR, TUN, DR, NAT under connections: nothing is cut before its drain is over', async (t) => {
  const d = new Director(t, 'NAT');
  await d.pass();
  const seen = [];
  for (const mode of ['DR', 'TUN', 'DR', 'NAT'] as const) {
    d.load();
    seen.push((await d.become(mode)).filter((line) => line.startsWith('21')));
  }
  assert.deepEqual(seen, [
    ['21:0 direct 1', '21:80 masq 0'], ['21:0 direct 0', '21:80 tunnel 1'], ['21:0 direct 1', '21:80 tunnel 0'], ['21:0 direct 0', '21:80 masq 1'],
  ]);
});
