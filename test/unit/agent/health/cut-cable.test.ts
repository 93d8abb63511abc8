/** Checker, guard and weights together: a director whose own cable is cut, and one whose real servers really die. By a clock that the test moves. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { checkTarget } from '../../../../src/agent/health/check.ts';
import { massFailures, panics, type GuardMember, type MassFailure } from '../../../../src/agent/health/guard.ts';
import { effectiveWeight } from '../../../../src/agent/health/weights.ts';
import { FakeNetwork, checkerOn, type Behaviour } from './fake-sockets.ts';

const ADDRESSES = Array.from({ length: 20 }, (_, i) => `10.0.0.${i + 1}`);

/** A director with twenty real servers behind one link, and the weights that it would have at each moment. */
class Director {
  readonly network = new FakeNetwork();
  readonly #checker;
  readonly #targets;
  #guard: ReadonlyMap<string, MassFailure> = new Map();
  #weights = new Map<string, number>();

  readonly #panicPercent: number;

  constructor(rise: number, fall: number, panicPercent = 0) {
    this.#panicPercent = panicPercent;
    this.#targets = ADDRESSES.map((address, i) => checkTarget(address, { type: 'TCP', port: 80, periodMs: i % 2 === 0 ? 2_000 : 3_000, timeoutMs: 1_000, rise, fall }));
    this.#checker = checkerOn(this.network, { onChange: () => this.#weigh() }).checker;
    this.#checker.set(this.#targets);
    this.pass(20_000);
    assert.equal(this.inService, 20);
  }

  /** Moves on, and gives the fewest real servers that were in service at any moment of it. */
  pass(ms: number): number {
    let fewest = 20;
    for (let i = 0; i < ms; i += 10) {
      this.network.pass(10);
      // Every second without any cause, as the agent's loop does.
      if (i % 1_000 === 0) this.#weigh();
      fewest = Math.min(fewest, this.inService);
    }
    return fewest;
  }

  all(behaviour: Behaviour, addresses = ADDRESSES): void {
    for (const address of addresses) this.network.hosts.set(address, behaviour);
  }

  get inService(): number { return [...this.#weights.values()].filter((w) => w > 0).length; }
  get degraded(): boolean { return this.#guard.size > 0; }

  #weigh(): void {
    const members: GuardMember[] = this.#targets.map(({ key, address, check }) => ({ key, address, check, link: 'e0', health: this.#checker.health(key)! }));
    this.#guard = massFailures(members, this.#guard, this.network.now);
    const held = this.#guard.get('e0')?.held ?? new Set();
    const up = members.filter((m) => m.health.state !== 'Down' || held.has(m.key)).length;
    for (const { key, health } of members) {
      const { weight } = effectiveWeight({
        written: 10, health, held: held.has(key), panic: panics(up, members.length, this.#panicPercent), onDown: 'Quiesce', appearedAt: null, slowStartMs: 0, scheduler: 'wrr',
      }, this.network.now);
      this.#weights.set(key, weight ?? 0);
    }
  }
}

for (const [rise, fall] of [[1, 2], [2, 3], [5, 2]] as const) {
  test(`a cut cable takes nobody out with rise ${rise} and fall ${fall}, nor does mending it`, () => {
    const director = new Director(rise, fall);
    director.all('silent');
    assert.equal(director.pass(60_000), 20, 'while it is cut');
    assert.equal(director.degraded, true);
    director.all('accepts');
    assert.equal(director.pass(30_000), 20, 'after it was mended');
    assert.equal(director.degraded, false);
  });
}

test('with fall 1 the first to fail are out until the last fails: then all are back', () => {
  const director = new Director(1, 1);
  director.all('silent');
  assert.ok(director.pass(10_000) >= 1, 'never nobody');
  assert.equal(director.pass(60_000), 20);
});

test('who really died while the cable was cut is out when the others are back', () => {
  const director = new Director(2, 3);
  director.all('silent');
  director.pass(30_000);
  director.all('accepts', ADDRESSES.slice(3));
  director.pass(30_000);
  assert.equal(director.inService, 17);
  assert.equal(director.degraded, false);
});

test('servers that die one after the other are all out, and so are those that all refuse', () => {
  const director = new Director(2, 3);
  for (const address of ADDRESSES) {
    director.all('silent', [address]);
    director.pass(10_000);
  }
  // The last one is alone: it proves nothing about a network.
  director.pass(20_000);
  assert.equal(director.inService, 0);
  const other = new Director(2, 3);
  other.all('refuses');
  other.pass(20_000);
  assert.equal(other.inService, 0, 'refusals come over the network');
  const panicking = new Director(2, 3, 30);
  panicking.all('refuses', ADDRESSES.slice(0, 14));
  assert.equal(panicking.pass(20_000), 6);
  panicking.all('refuses', ADDRESSES.slice(0, 15));
  panicking.pass(20_000);
  assert.equal(panicking.inService, 20, 'a quarter is fewer than 30 %');
});
