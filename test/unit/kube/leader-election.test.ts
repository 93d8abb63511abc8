/** Leader election in fake time, over a link that may be silent, broken, or lose answers. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LeaderElection, type ElectionOutcome, type LeaderElectionOptions } from '../../../src/kube/lease.ts';
import { AbortError } from '../../../src/kube/wait.ts';
import { FakeLeases, LEASE_COLLECTION, type Link } from './fake-leases.ts';
import { FakeTime } from './fake-time.ts';
import { MemoryLog } from './fake-server.ts';

const WALL = Date.UTC(2026, 0, 1);

/** Candidates for one Lease, each with its own link and wall clock. */
class Race {
  readonly time = new FakeTime();
  readonly #leases = new FakeLeases();
  /** 'time name started', 'time name stopped' when it was told, 'time name ended: outcome'. */
  readonly story: string[] = [];
  readonly #stops: (() => void)[] = [];

  get spec() { return this.#leases.spec('boss'); }
  drop(): void { this.#leases.cluster.delete(LEASE_COLLECTION, 'ns/boss'); }

  enter(name: string, options: Partial<LeaderElectionOptions> = {}, wallOffset = 0) {
    const leases = new FakeLeases(this.#leases.cluster);
    const stop = new AbortController();
    const log = new MemoryLog();
    const note = (what: string): void => { this.story.push(`${this.time.now()} ${name} ${what}`); };
    const candidate = {
      leases, log, working: false, stop: () => stop.abort(), outcome: null as ElectionOutcome | null, done: Promise.resolve(), election: null as unknown as LeaderElection,
      run: async () => { candidate.outcome = await candidate.election.run(stop.signal); note(`ended: ${candidate.outcome}`); },
    };
    candidate.election = new LeaderElection({
      client: leases.client, namespace: 'ns', name: 'boss', identity: name, now: this.time.now, wallClock: () => WALL + this.time.now() + wallOffset, random: () => 0, sleep: this.time.sleep, log,
      onStartedLeading: async (signal) => {
        note('started');
        candidate.working = true;
        await new Promise<void>((resolve) => { signal.addEventListener('abort', () => resolve()); });
        candidate.working = false;
      },
      onStoppedLeading: () => note('stopped'), ...options,
    });
    candidate.done = candidate.run();
    this.#stops.push(candidate.stop);
    return candidate;
  }

  take(): string[] { return this.story.splice(0); }

  async end(): Promise<void> {
    for (const stop of this.#stops) stop();
    await this.time.pass(60_000);
  }
}

describe('one candidate', () => {
  test('leads at once when there is no Lease, and renews it every two seconds with one request', async () => {
    const race = new Race();
    const a = race.enter('a');
    await race.time.pass(0);
    assert.deepEqual([race.take(), a.leases.take(), a.election.leading], [['0 a started'], ['get boss', 'create boss'], true]);
    await race.time.pass(10_000);
    assert.deepEqual(a.leases.take(), Array(5).fill('update boss'));
    assert.deepEqual(race.spec, { holderIdentity: 'a', leaseDurationSeconds: 15, renewTime: '2026-01-01T00:00:10.000000Z', acquireTime: '2026-01-01T00:00:00.000000Z', leaseTransitions: 0 });
    await race.end();
  });

  test('gives the Lease back when it is stopped, after its work has ended', async () => {
    const race = new Race();
    const work = Promise.withResolvers<void>();
    const a = race.enter('a', { onStartedLeading: () => work.promise });
    await race.time.pass(3_000);
    a.stop();
    await race.time.pass(60_000);
    assert.deepEqual([race.spec!.holderIdentity, race.take(), a.election.leading], ['a', [], true], 'the work goes on, so the lease is kept');
    work.resolve();
    await race.time.idle();
    assert.deepEqual([race.spec!.holderIdentity, race.spec!.leaseDurationSeconds, race.take(), a.election.leading], ['', 1, ['63000 a stopped', '63000 a ended: stopped'], false]);
  });

  test('that is stopped while it waits ends', async () => {
    const race = new Race();
    race.enter('a');
    await race.time.pass(100);
    const b = race.enter('b');
    await race.time.pass(5_000);
    b.stop();
    await b.done;
    assert.equal(b.outcome, 'stopped');
    assert.equal(race.spec!.holderIdentity, 'a');
    await race.end();
  });

  test('leads on when its work returns, and ends when its work fails', async () => {
    const race = new Race();
    const a = race.enter('a', { onStartedLeading: () => {} });
    await race.time.pass(30_000);
    assert.equal(a.election.leading, true);
    a.stop();
    await a.done;
    race.take();
    const b = race.enter('b', { onStartedLeading: async () => { throw new Error('broken'); } });
    await race.time.pass(0);
    assert.deepEqual([race.take(), b.outcome, race.spec!.holderIdentity], [['30000 b stopped', '30000 b ended: failed'], 'failed', '']);
  });

  test('whose work stops with the signal’s own error has not failed', async () => {
    const race = new Race();
    const a = race.enter('a', { onStartedLeading: (signal) => new Promise((_, reject) => { signal.addEventListener('abort', () => reject(new AbortError(signal))); }) });
    await race.time.pass(1_000);
    a.stop();
    await a.done;
    assert.deepEqual([a.outcome, a.log.of('error')], ['stopped', []]);
  });

  test('takes times that fit each other only', () => {
    const race = new Race();
    for (const times of [{ leaseSeconds: 10, renewSeconds: 10 }, { renewSeconds: 2, retrySeconds: 2 }, { retrySeconds: 0 }]) assert.throws(() => race.enter('a', times), TypeError);
    assert.throws(() => race.enter(''), TypeError);
  });
});

describe('losing', () => {
  const links: [Link, string][] = [['silent', 'says nothing'], ['broken', 'cannot be reached'], ['deaf', 'takes what it gets and never answers']];
  for (const [link, what] of links) {
    test(`ten seconds after the last good renewal, when the server ${what}`, async () => {
      const race = new Race();
      const a = race.enter('a');
      await race.time.pass(4_500);
      a.leases.link = link;
      await race.time.pass(9_499);
      assert.deepEqual([race.take(), a.election.leading], [['0 a started'], true]);
      await race.time.pass(1);
      assert.deepEqual([race.take(), a.outcome, a.working, a.election.leading], [['14000 a stopped', '14000 a ended: lost'], 'lost', false, false]);
    });
  }

  test('counts from the moment the last good renewal was sent, not from its answer', async () => {
    const race = new Race();
    const a = race.enter('a');
    await race.time.pass(3_000);
    a.leases.before = () => race.time.sleep(4_000, new AbortController().signal);
    await race.time.pass(5_000);
    a.leases.link = 'broken';
    await race.time.pass(5_999);
    assert.equal(a.election.leading, true);
    await race.time.pass(1);
    assert.deepEqual(race.take(), ['0 a started', '14000 a stopped', '14000 a ended: lost'], 'sent at 4 s, answered at 8 s');
  });

  test('is not undone by an answer that comes too late', async () => {
    const race = new Race();
    const a = race.enter('a');
    await race.time.pass(3_000);
    a.leases.heedless = true;
    a.leases.before = () => race.time.sleep(9_000, new AbortController().signal);
    await race.time.pass(9_500);
    assert.equal(a.outcome, 'lost');
    await race.time.pass(1_000);
    assert.equal(a.election.leading, false);
  });

  test('nothing, when the server comes back in time, and in half that time a dead connection is given up', async () => {
    const race = new Race();
    const a = race.enter('a');
    await race.time.pass(4_500);
    a.leases.link = 'silent';
    await race.time.pass(3_000);
    a.leases.link = 'up';
    await race.time.pass(30_000);
    assert.deepEqual([race.take(), a.election.leading], [['0 a started'], true]);
    await race.end();
  });

  test('nothing, when the answer that made it the leader came late: it renews before the rest of its time is over', async () => {
    const race = new Race();
    const a = race.enter('a');
    a.leases.before = () => race.time.sleep(9_000, new AbortController().signal);
    await race.time.pass(9_000);
    assert.deepEqual([race.take(), a.election.leading], [['9000 a started'], true], 'one second is left');
    a.leases.before = () => race.time.sleep(300, new AbortController().signal);
    await race.time.pass(30_000);
    assert.deepEqual([race.take(), a.election.leading], [[], true]);
    await race.end();
  });

  test('is not put off by asking in vain: of who refuses at once not much is asked', async () => {
    const race = new Race();
    const a = race.enter('a');
    await race.time.pass(4_500);
    a.leases.take();
    a.leases.link = 'broken';
    await race.time.pass(9_500);
    assert.equal(a.outcome, 'lost');
    assert.ok(a.leases.take().length < 30);
  });

  test('is told at once, whatever the work still does; the end waits for the work', async () => {
    const race = new Race();
    const work = Promise.withResolvers<void>();
    const a = race.enter('a', { onStartedLeading: () => work.promise });
    await race.time.pass(1_000);
    a.leases.link = 'broken';
    await race.time.pass(60_000);
    assert.deepEqual([race.take(), a.outcome], [['10000 a stopped'], null]);
    work.resolve();
    await a.done;
    assert.equal(a.outcome, 'lost');
  });

  test('is known to a process that was frozen before it does anything else', async () => {
    const race = new Race();
    const a = race.enter('a');
    await race.time.pass(1_000);
    race.time.jump(60_000);
    assert.equal(a.election.leading, false);
    await race.time.pass(1);
    assert.equal(a.outcome, 'lost');
  });

  test('to another one that wrote itself into the Lease is noticed at the next renewal', async () => {
    const race = new Race();
    const a = race.enter('a');
    await race.time.pass(1_000);
    const { cluster } = a.leases;
    const stored = cluster.get(LEASE_COLLECTION, 'ns/boss');
    cluster.replace(LEASE_COLLECTION, { ...stored, spec: { ...race.spec, holderIdentity: 'thief', renewTime: 'now' } } as never);
    await race.time.pass(1_000);
    assert.deepEqual([a.outcome, race.spec!.holderIdentity], ['lost', 'thief'], 'and nothing of the thief is overwritten');
  });

  test('does not happen because somebody labels or deletes the Lease', async () => {
    const race = new Race();
    const a = race.enter('a');
    await race.time.pass(1_000);
    const stored = a.leases.cluster.get(LEASE_COLLECTION, 'ns/boss');
    a.leases.cluster.replace(LEASE_COLLECTION, { ...stored, metadata: { ...stored.metadata, labels: { x: 'y' } } });
    await race.time.pass(4_000);
    race.drop();
    await race.time.pass(30_000);
    assert.deepEqual([race.take(), race.spec!.holderIdentity], [['0 a started'], 'a']);
    await race.end();
  });
});

describe('two candidates', () => {
  test('the second leads as soon as the first gives the Lease back', async () => {
    const race = new Race();
    const a = race.enter('a');
    await race.time.pass(100);
    race.enter('b');
    await race.time.pass(20_000);
    assert.deepEqual(race.take(), ['0 a started']);
    a.stop();
    await race.time.pass(2_000);
    assert.deepEqual(race.take().map((l) => l.replace(/^\d+ /, '')), ['a stopped', 'a ended: stopped', 'b started']);
    assert.equal(race.spec!.leaseTransitions, 1);
    await race.end();
  });

  test('one whose giving back is done, and whose answer is lost, does not lead beside the next one', async () => {
    const race = new Race();
    const a = race.enter('a');
    await race.time.pass(1);
    const b = race.enter('b');
    await race.time.pass(1);
    a.leases.link = 'deaf';
    a.stop();
    await race.time.pass(1);
    assert.deepEqual([race.spec!.holderIdentity, a.election.leading], ['', false]);
    for (let i = 0; i < 40; i++) {
      await race.time.pass(100);
      assert.ok(!(a.election.leading && b.election.leading), `both at ${race.time.now()}`);
    }
    assert.ok(b.election.leading);
    await race.end();
  });

  test('the second waits fifteen seconds from the last renewal that it saw, by its own clock', async () => {
    const race = new Race();
    const a = race.enter('a');
    await race.time.pass(100);
    race.enter('b');
    await race.time.pass(9_900);
    a.leases.link = 'silent';
    await race.time.pass(30_000);
    const story = race.take();
    // The last renewal is of 10.0 s, or of 8.0 s if the link went silent first; b looks every two seconds and so saw it up to two seconds later.
    const started = Number(story.find((l) => l.endsWith('b started'))!.split(' ')[0]);
    assert.ok(started >= 8_000 + 15_000 && started <= 10_000 + 15_000 + 4_000, story.join());
    assert.ok(Number(story.find((l) => l.endsWith('a stopped'))!.split(' ')[0]) < started);
    await race.end();
  });

  for (const offset of [-86_400_000, 86_400_000]) {
    test(`a wall clock that is a day ${offset < 0 ? 'behind' : 'ahead'} changes nothing`, async () => {
      const race = new Race();
      race.enter('a', {}, offset);
      await race.time.pass(100);
      const b = race.enter('b');
      await race.time.pass(120_000);
      assert.deepEqual(race.take(), ['0 a started']);
      assert.equal(b.election.holder, 'a');
      await race.end();
    });
  }

  test('that start at the same time are told apart by the server', async () => {
    const race = new Race();
    race.enter('a');
    race.enter('b');
    await race.time.pass(5_000);
    assert.equal(race.take().length, 1);
    await race.end();
  });
});

const step = fc.oneof(
  fc.record({ do: fc.constant('link' as const), who: fc.integer({ min: 0, max: 2 }), link: fc.constantFrom<Link>('up', 'up', 'silent', 'broken', 'deaf') }),
  fc.record({ do: fc.constant('slow' as const), who: fc.integer({ min: 0, max: 2 }), ms: fc.integer({ min: 0, max: 12_000 }) }),
  fc.record({ do: fc.constant('stop' as const), who: fc.integer({ min: 0, max: 2 }) }),
  fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 20_000 }) }),
  fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 20_000 }) }),
);

test('whatever the links do, at no moment two lead; and when they work again, one does', async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
    const race = new Race();
    const candidates = ['a', 'b', 'c'].map((name, i) => race.enter(name, {}, (i - 1) * 3_600_000));
    const leaders: string[] = [];
    // Looked at whenever anybody does anything: each request and each waking is such a moment.
    const look = (): void => {
      const leading = candidates.filter((c) => c.election.leading).length;
      if (leading > 1) leaders.push(`${leading} lead at ${race.time.now()}`);
    };
    const delays = [0, 0, 0];
    candidates.forEach((c, i) => {
      c.leases.before = async () => {
        look();
        if (delays[i]! > 0) await race.time.sleep(delays[i]!, new AbortController().signal);
        look();
      };
    });
    // Who has lost comes back, as a process does that is started anew.
    const restart = (): void => candidates.forEach((c) => {
      if (c.outcome === null || c.outcome === 'stopped') return;
      c.outcome = null;
      c.done = c.run();
    });
    for (const s of steps) {
      if (s.do === 'link') candidates[s.who]!.leases.link = s.link;
      else if (s.do === 'slow') delays[s.who] = s.ms;
      else if (s.do === 'stop') candidates[s.who]!.stop();
      else for (let left = s.ms; left > 0; left -= 500) {
        await race.time.pass(Math.min(500, left));
        look();
        restart();
      }
    }
    assert.deepEqual(leaders, []);
    for (const [i, c] of candidates.entries()) {
      c.leases.link = 'up';
      delays[i] = 0;
    }
    for (let i = 0; i < 120; i++) {
      await race.time.pass(500);
      look();
      restart();
    }
    assert.deepEqual(leaders, []);
    const alive = candidates.filter((c) => c.outcome === null);
    if (alive.length > 0) assert.equal(candidates.filter((c) => c.election.leading && c.working).length, 1);
    await race.end();
  }), { numRuns: 25 });
});
