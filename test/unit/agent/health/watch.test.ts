/** From a check's result to the weight in the kernel, and back: an agent with its checks on a network and a kernel that tests make up. */
import { test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import type { Agent } from '../../../../src/agent/agent.ts';
import { HealthWatch } from '../../../../src/agent/health/watch.ts';
import type { GroupSettings, Program, ProgramHealthCheck } from '../../../../src/api/v1alpha1/program.ts';
import { SCHEDULER_FLAG } from '../../../../src/kernel/ipvs/types.ts';
import { only, program, silent, TestNode, type ProgramFields } from '../setup.ts';
import { FakeNetwork } from './fake-sockets.ts';

const KEY = 'TCP 10.0.1.200:80';
const check: ProgramHealthCheck = {
  type: 'TCP', port: 0, path: 'Direct', periodSeconds: 2, timeoutSeconds: 1, riseCount: 2, fallCount: 3, onFailure: 'Quiesce', panicThresholdPercent: 0,
};
const checked = (fields: ProgramFields = {}, more: Partial<ProgramHealthCheck> = {}): Program =>
  program({ realServers: ['10.0.1.21|80|10|', '10.0.1.22|80|10|', '10.0.2.23|80|10|'], healthCheck: { ...check, ...more }, ...fields });

/** A node that checks. Time passes in steps, and after each the agent does what it was woken for. */
class Checked {
  readonly node: TestNode;
  readonly network = new FakeNetwork();
  watch!: HealthWatch;
  agent!: Agent;
  #woken = false;
  #stop = new AbortController();

  constructor(t: TestContext) {
    this.node = new TestNode(t);
  }

  async start(...programs: readonly Program[]): Promise<void> {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.watch = new HealthWatch({ sockets: this.network, timers: this.network, now: () => this.network.now, salt: 'n1', log: silent, onChange: () => { this.#woken = true; } });
    void this.watch.run(this.#stop.signal);
    this.node.options = { health: this.watch };
    this.agent = this.node.start(programs);
    await this.agent.reconcile('full');
  }

  async update(p: Program): Promise<void> {
    this.agent.update(only(p));
    await this.agent.reconcile('changes');
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 100) {
      this.network.pass(Math.min(left, 100));
      if (!this.#woken) continue;
      this.#woken = false;
      const { failures } = await this.agent.reconcile('changes');
      assert.deepEqual(failures, []);
    }
  }

  /** Weights in the kernel by the end of the address. */
  weights(key = KEY): Record<string, number> {
    const entries = [...this.node.kernel.ipvs.services.get(key)!.destinations.values()].map(({ destination: d }) => [d.address.slice(-2), d.weight] as const);
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  get flags(): number { return this.node.kernel.ipvs.services.get(KEY)!.service.flags; }
}

const whole = { 21: 10, 22: 10, 23: 10 };

test('a real server whose check fails gets weight 0, and its own again when it is back', async (t) => {
  const node = new Checked(t);
  await node.start(checked());
  await node.pass(10_000);
  assert.deepEqual(node.weights(), whole);

  node.network.hosts.set('10.0.1.21', 'refuses');
  await node.pass(3 * 2_000 + 200);
  assert.deepEqual(node.weights(), { ...whole, 21: 0 });
  assert.deepEqual(node.watch.unhealthy('default/shop').map((u) => [u.address, u.state, u.reason]), [['10.0.1.21', 'Down', 'Refused']]);

  node.network.hosts.delete('10.0.1.21');
  await node.pass(2 * 2_000 + 200);
  assert.deepEqual(node.weights(), whole);
  assert.deepEqual(node.watch.unhealthy('default/shop'), []);
});

test('with onFailure Remove it goes at once, however long a drain may take, and comes back', async (t) => {
  const node = new Checked(t);
  await node.start(checked({ drainTimeoutSeconds: 600 }, { onFailure: 'Remove' }));
  await node.pass(5_000);
  node.network.hosts.set('10.0.1.22', 'refuses');
  await node.pass(6_200);
  assert.deepEqual(node.weights(), { 21: 10, 23: 10 });
  assert.equal(node.agent.draining, false);
  node.network.hosts.delete('10.0.1.22');
  await node.pass(4_200);
  assert.deepEqual(node.weights(), whole);
});

test('slow start: who came back gets its weight in steps; who was never away has it whole', async (t) => {
  const node = new Checked(t);
  await node.start(checked({ slowStartSeconds: 10 }));
  await node.pass(3_000);
  assert.deepEqual(node.weights(), whole);
  node.network.hosts.set('10.0.1.21', 'refuses');
  await node.pass(6_200);
  node.network.hosts.delete('10.0.1.21');
  const seen: number[] = [];
  for (let i = 0; i < 200; i++) {
    await node.pass(100);
    const w = node.weights()[21]!;
    if (seen.at(-1) !== w) seen.push(w);
  }
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test('a restart of the agent leaves a weight as low as it was, until a check says otherwise', async (t) => {
  const node = new Checked(t);
  await node.start(checked());
  await node.pass(3_000);
  node.network.hosts.set('10.0.1.21', 'refuses');
  await node.pass(6_200);
  await node.start(checked());
  assert.deepEqual(node.weights(), { ...whole, 21: 0 }, 'nothing is known of it yet');
  await node.pass(2_000);
  assert.deepEqual(node.weights(), { ...whole, 21: 0 }, 'it is still down');
  node.network.hosts.delete('10.0.1.21');
  await node.start(checked());
  assert.deepEqual(node.weights(), { ...whole, 21: 0 });
  await node.pass(2_000);
  assert.deepEqual(node.weights(), whole, 'the first result decides');
});

test('a process that only plans does not raise what a check lowered', async (t) => {
  const node = new Checked(t);
  await node.start(checked());
  await node.pass(3_000);
  node.network.hosts.set('10.0.1.21', 'refuses');
  await node.pass(6_200);
  node.node.options = {};
  const agent = node.node.start([checked()]);
  assert.deepEqual((await agent.preview()).operations, []);
});

test('panic: with fewer up than the threshold all count as up', async (t) => {
  const node = new Checked(t);
  await node.start(checked({}, { panicThresholdPercent: 50 }));
  await node.pass(3_000);
  node.network.hosts.set('10.0.1.21', 'refuses');
  await node.pass(7_000);
  assert.deepEqual(node.weights(), { ...whole, 21: 0 });
  node.network.hosts.set('10.0.1.22', 'refuses');
  await node.pass(7_000);
  assert.deepEqual(node.weights(), whole, 'one of three is too few');
  node.network.hosts.delete('10.0.1.22');
  await node.pass(5_000);
  assert.deepEqual(node.weights(), { ...whole, 21: 0 });
});

test('mass failure: when everybody behind an interface goes silent at once, they are kept; those behind another are judged as ever', async (t) => {
  const node = new Checked(t);
  await node.start(checked());
  await node.pass(3_000);
  for (const address of ['10.0.1.21', '10.0.1.22']) node.network.hosts.set(address, 'silent');
  node.network.hosts.set('10.0.2.23', 'refuses');
  await node.pass(12_000);
  assert.deepEqual(node.weights(), { ...whole, 23: 0 });
  assert.deepEqual([...node.watch.massFailures.keys()], ['e0']);
  node.network.hosts.delete('10.0.1.21');
  node.network.hosts.set('10.0.1.22', 'refuses');
  await node.pass(12_000);
  assert.deepEqual(node.weights(), { 21: 10, 22: 0, 23: 0 }, 'the network is back, and one of them is not');
  assert.equal(node.watch.massFailures.size, 0);
});

test('mass failure: one that is asked seldom and then passes ends it, although nothing changed about that one', async (t) => {
  const node = new Checked(t);
  const seldom = program({ owner: 'default/seldom', vips: ['10.0.1.201'], realServers: ['10.0.1.23|80|10|'], healthCheck: { ...check, periodSeconds: 60 } });
  await node.start(checked({ realServers: ['10.0.1.21|80|10|', '10.0.1.22|80|10|'] }), seldom);
  await node.pass(100_000);
  // Just after the seldom one was asked.
  const asked = () => node.network.asked('10.0.1.23').length;
  for (const before = asked(); asked() === before; ) await node.pass(100);
  for (const a of ['10.0.1.21', '10.0.1.22']) node.network.hosts.set(a, 'silent');
  await node.pass(20_000);
  assert.deepEqual(node.weights(), { 21: 10, 22: 10 }, 'nobody has been heard since');
  await node.pass(45_000 + 15_000);
  assert.deepEqual(node.weights(), { 21: 0, 22: 0 }, 'the third was heard');
});

test('mh: clients of a real server that is down find another, before its weight becomes 0 and until it has its weight again', async (t) => {
  const node = new Checked(t);
  await node.start(checked({ scheduler: { name: 'mh' } }));
  await node.pass(3_000);
  assert.equal(node.flags & SCHEDULER_FLAG.fallback, 0);
  node.node.kernel.onStep = () => {
    if (Object.values(node.weights()).includes(0)) assert.ok(node.flags & SCHEDULER_FLAG.fallback, 'weight 0 without the fallback flag');
  };
  node.network.hosts.set('10.0.1.21', 'refuses');
  await node.pass(6_200);
  assert.deepEqual(node.weights(), { ...whole, 21: 0 });
  node.network.hosts.delete('10.0.1.21');
  await node.pass(4_200);
  assert.deepEqual(node.weights(), whole);
  assert.equal(node.flags & SCHEDULER_FLAG.fallback, 0);
});

test('two programs with the same real servers are checked once, and both obey', async (t) => {
  const node = new Checked(t);
  const other = checked({ owner: 'default/other', vips: ['10.0.1.201'] });
  await node.start(checked(), other);
  await node.pass(4_000);
  assert.equal(node.watch.targets, 3);
  node.network.hosts.set('10.0.1.21', 'refuses');
  await node.pass(6_200);
  for (const key of [KEY, 'TCP 10.0.1.201:80']) assert.deepEqual(node.weights(key), { ...whole, 21: 0 });
  await node.update({ ...other, spec: { ...other.spec, healthCheck: undefined } });
  assert.deepEqual(node.weights('TCP 10.0.1.201:80'), whole, 'without a check its weight is as written');
  assert.deepEqual(node.weights(), { ...whole, 21: 0 });
});

test('a real server that leaves the program while it is down drains, and is not checked any more', async (t) => {
  const node = new Checked(t);
  await node.start(checked());
  await node.pass(3_000);
  node.network.hosts.set('10.0.1.21', 'refuses');
  await node.pass(6_200);
  node.node.kernel.ipvs.connections(KEY, '10.0.1.21:80', 3);
  await node.update(checked({ realServers: ['10.0.1.22|80|10|', '10.0.2.23|80|10|'] }));
  assert.deepEqual(node.weights(), { ...whole, 21: 0 });
  assert.equal(node.agent.draining, true);
  await node.pass(1_000);
  assert.equal(node.watch.targets, 2);
  const asked = node.network.asked('10.0.1.21').length;
  await node.pass(10_000);
  assert.equal(node.network.asked('10.0.1.21').length, asked);
});

test('slow start: who is new beside others gets its weight in steps; who was there from the start does not, nor anybody after a restart', async (t) => {
  const node = new Checked(t);
  const three = ['10.0.1.21|80|10|', '10.0.1.22|80|10|', '10.0.2.23|80|10|'];
  const warming = (realServers: string[]): Program => checked({ realServers, slowStartSeconds: 10 });
  await node.start(warming(three));
  assert.deepEqual(node.weights(), whole, 'the first load of a service');
  await node.pass(5_000);
  await node.update(warming([...three, '10.0.1.24|80|10|']));
  const seen: number[] = [];
  for (let i = 0; i < 120; i++) {
    const w = node.weights()[24]!;
    if (seen.at(-1) !== w) seen.push(w);
    await node.pass(100);
  }
  assert.ok(seen.length >= 8 && seen[0] === 1 && seen.at(-1) === 10, `${seen}`);
  assert.deepEqual(seen, seen.toSorted((a, b) => a - b));
  // Another weight makes it no other, and another real server is new by itself.
  await node.update(warming([...three.slice(0, 2), '10.0.2.23|80|20|', '10.0.1.24|80|10|', '10.0.1.25|80|10|']));
  assert.deepEqual(node.weights(), { 21: 10, 22: 10, 23: 20, 24: 10, 25: 1 });
  await node.pass(3_000);
  const half = node.weights()[25]!;
  assert.ok(half > 1 && half < 10, `${half}`);
  // A restart in the middle: nobody is new to it.
  await node.start(warming([...three, '10.0.1.25|80|10|']));
  await node.pass(3_000);
  assert.deepEqual(node.weights(), { ...whole, 25: 10 });
  // Who was away and is in the program again is new again.
  await node.update(warming(three));
  await node.pass(1_000);
  await node.update(warming([...three, '10.0.1.25|80|10|']));
  assert.equal(node.weights()[25], 0, 'what drains is not let in before it was checked');
  await node.pass(2_100);
  assert.ok([1, 2, 3].includes(node.weights()[25]!), `${node.weights()[25]}`);
});

test('a program that names loopback, link-local or its VIP as a real server makes nobody check those', async (t) => {
  const node = new Checked(t);
  await node.start(checked({ realServers: ['127.0.0.1|80|1|', '169.254.169.254|80|1|', '10.0.1.200|80|1|', '10.0.1.21|80|1|'] }));
  await node.pass(10_000);
  assert.deepEqual([...new Set(node.network.log.map(({ to }) => to.address))], ['10.0.1.21']);
});

const forwarded = (fields: ProgramFields = {}) => checked({ mode: 'DR', realServers: ['10.0.1.21|80|10|', '10.0.1.22|80|10|'], ...fields }, { path: 'Forwarded' });
const checkServices = (node: Checked) => [...node.node.kernel.ipvs.services.values()].filter((s) => s.service.fwmark !== 0);

test('forwarded checks go to the VIP from an address that is none, each with the mark of a service that has one real server only', async (t) => {
  const node = new Checked(t);
  await node.start(forwarded());
  await node.pass(5_000);
  const services = checkServices(node);
  assert.deepEqual(services.map((s) => [...s.destinations.values()].map(({ destination: d }) => [d.address, d.method, d.port, d.weight])).sort(), [[['10.0.1.21', 'direct', 0, 1]], [['10.0.1.22', 'direct', 0, 1]]]);
  const asked = new Set(node.network.log.map(({ to }) => JSON.stringify([to.address, to.port, to.source, to.mark])));
  assert.deepEqual([...asked].sort(), services.map((s) => JSON.stringify(['10.0.1.200', 80, '10.0.1.11', s.service.fwmark])).sort());
  assert.equal(node.node.kernel.net.readSysctl('net/ipv4/conf/e0/accept_local'), '1');
});

test('when the address that forwarded checks come from is another, they come from that one, and who dies then is seen', async (t) => {
  const node = new Checked(t);
  await node.start(forwarded());
  await node.pass(5_000);
  // A lease of DHCP that became another one. Nobody can be asked from an address that is not there (EADDRNOTAVAIL).
  const { net } = node.node.kernel;
  net.addresses = net.addresses.filter((a) => a.address !== '10.0.1.11');
  net.address('e0', '10.0.1.99', 24);
  await node.agent.reconcile('node');
  const before = node.network.log.length;
  await node.pass(5_000);
  const sources = node.network.log.slice(before).map(({ to }) => to.source);
  assert.ok(sources.length > 2, 'checks go on');
  assert.deepEqual([...new Set(sources)], ['10.0.1.99']);
});

test('a real server that could not be asked for want of an address is asked as soon as there is one', async (t) => {
  const node = new Checked(t);
  const { net } = node.node.kernel;
  net.addresses = net.addresses.filter((a) => a.family !== 'IPv4');
  node.node.options = {};
  const group: GroupSettings = { name: 'edge', nodeSelector: null, interface: { match: 'Name', name: 'e0' }, timeouts: null, connectionSync: null };
  await node.start(forwarded({ directorGroup: 'edge' }));
  node.agent.update(new Map(), new Map([['edge', group]]));
  await node.agent.reconcile('full');
  await node.pass(3_000);
  assert.equal(node.network.log.length, 0, 'there is no address to ask from');
  net.address('e0', '10.0.1.11', 24);
  await node.agent.reconcile('node');
  await node.pass(3_000);
  assert.deepEqual([...new Set(node.network.log.map(({ to }) => to.source))], ['10.0.1.11']);
});

test('a way is there as long as a program wants it, and a restart takes none away', async (t) => {
  const node = new Checked(t);
  const other = forwarded({ owner: 'default/other', vips: ['10.0.1.201'], realServers: ['10.0.1.22|80|10|', '10.0.1.23|80|10|'] });
  await node.start(forwarded(), other);
  const marks = checkServices(node).map((s) => s.service.fwmark).sort();
  assert.equal(marks.length, 3, 'one for each real server, not for each service');
  await node.start(forwarded(), other);
  assert.deepEqual(checkServices(node).map((s) => s.service.fwmark).sort(), marks);
  node.node.options = {};
  assert.deepEqual((await node.node.start([forwarded(), other]).preview()).operations, [], 'nor does who only plans');
  await node.start(forwarded(), other);
  node.agent.update(new Map([['default/other', null]]));
  await node.agent.reconcile('changes');
  assert.equal(checkServices(node).length, 2);
  node.agent.update(new Map([['default/shop', null]]));
  await node.agent.reconcile('changes');
  assert.deepEqual([...node.node.kernel.ipvs.services], []);
});

test('NAT has no way through the VIP: what it says of Forwarded is not obeyed', async (t) => {
  const node = new Checked(t);
  await node.start(forwarded({ mode: 'NAT' }));
  await node.pass(3_000);
  assert.deepEqual(checkServices(node), []);
  assert.deepEqual([...new Set(node.network.log.map(({ to }) => to.address))].sort(), ['10.0.1.21', '10.0.1.22']);
});
