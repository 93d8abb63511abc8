/**
 * A small world for directors: an API server with versions and late watches, a network on which addresses answer, nodes that lose power,
 * agents that die, and time that passes when it is told to. The claimers, their decisions and their memberships are the real ones.
 */
import assert from 'node:assert/strict';
import type { VirtualIP } from '../../../../src/api/v1alpha1/index.ts';
import { Claimer, type Claimable } from '../../../../src/agent/ownership/claimer.ts';
import { annotationsOf, leaseName, Members } from '../../../../src/agent/ownership/membership.ts';
import type { StatusPatch } from '../../../../src/agent/ownership/virtualip-status.ts';
import { ApiError } from '../../../../src/kube/errors.ts';
import type { Lease } from '../../../../src/kube/lease.ts';
import type { ProbeOutcome } from '../../../../src/kernel/net/probe.ts';

export const LEASE_MS = 6_000;
const RENEW_MS = 2_000;
const TICK_MS = 250;
const PROBE_MS = 600;

const silence = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** A look without anything else in between. Returns when the next is due at the latest, if nothing changes. */
export function tick(claimer: Claimer, ...looked: Parameters<Claimer['ticking']>): number {
  const work = claimer.ticking(...looked);
  for (let step = work.next(); ; step = work.next()) {
    if (!step.done) continue;
    assert.equal(step.value.problem, null);
    return step.value.due;
  }
}

/** The clock and everything that waits for it. */
export class Time {
  now = 0;
  #queue: { at: number; n: number; run: () => void }[] = [];
  #n = 0;

  at(ms: number, run: () => void): void { this.#queue.push({ at: this.now + Math.max(0, ms), n: this.#n++, run }); }
  sleep(ms: number): Promise<void> { return new Promise((resolve) => { this.at(ms, resolve); }); }

  /** Runs all that is due within `ms`, in order, and lets promises settle in between. */
  async pass(ms: number): Promise<void> {
    const until = this.now + ms;
    for (;;) {
      await new Promise((resolve) => { setImmediate(resolve); });
      this.#queue.sort((a, b) => a.at - b.at || a.n - b.n);
      if (!this.#queue[0] || this.#queue[0].at > until) break;
      const { at, run } = this.#queue.shift()!;
      this.now = at;
      run();
    }
    this.now = until;
  }
}

export interface Script {
  /** 0 <= x < 1: delays of everything. */
  readonly random: () => number;
  /** Largest delay of a watch, of a write, and between holding a VIP and having its address, in milliseconds. */
  readonly watchMs: number;
  readonly writeMs: number;
  readonly kernelMs: number;
}

class Node {
  readonly name: string;
  readonly world: World;
  /** Addresses in its kernel. */
  readonly kernel = new Set<string>();
  power = true;
  /** Whether it reaches the API server. */
  online = true;
  /** Whether it is on the network of the VIPs. */
  plugged = true;
  /** Until when, after it came back, it may not have heard what became of what it has. */
  newsUntil = 0;
  agent: { readonly claimer: Claimer; readonly members: Members; readonly stop: AbortController; renewedAt: number } | null = null;
  /** What a snapshot on its disk says it holds. */
  snapshot: ReadonlySet<string> = new Set();
  /** What its watch has brought. */
  readonly vips = new Map<string, VirtualIP>();
  /** Something else than time: then the claims are looked at, else when that was asked for, or other directors live (directing.ts). */
  news = true;
  #due = -Infinity;
  #lived = '';
  #synced = false;
  /** Not before the one before: a watch keeps the order. */
  #watchAt = 0;

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
  }

  start(): void {
    const { world, name } = this;
    if (!this.power || this.agent) return;
    const stop = new AbortController();
    const members = new Members(name);
    const alive = () => !stop.signal.aborted;
    const claimer: Claimer = new Claimer({
      node: name, log: silence, now: () => world.time.now, wallClock: () => world.time.now, random: world.script.random,
      fresh: () => world.time.now - (this.agent?.renewedAt ?? -Infinity) <= LEASE_MS / 2,
      probe: (vips) => world.probe(this, vips.map((v) => v.address)),
      write: (object, patch) => world.write(this, object, patch),
      onOwned: () => {
        if (!alive()) return;
        this.snapshot = claimer.owned;
        world.time.at(world.delay(world.script.kernelMs), () => { if (alive()) world.setKernel(this, claimer.owned); });
      },
    });
    this.agent = { claimer, members, stop, renewedAt: -Infinity };
    this.#synced = false;
    this.news = true;
    this.vips.clear();
    const every = (ms: number, run: () => void): void => { if (alive()) world.time.at(ms * (0.9 + 0.2 * world.script.random()), () => { if (alive()) { run(); every(ms, run); } }); };
    if (this.online) this.#sync();
    else claimer.adopt([...this.snapshot].filter((a) => this.kernel.has(a)));
    every(TICK_MS, () => this.#tick());
    const renew = (): void => { void world.renew(this); };
    renew();
    every(RENEW_MS, renew);
  }

  kill(): void {
    this.agent?.stop.abort();
    this.agent = null;
  }

  /** A list and a watch after it: what was missed comes at once. */
  #sync(): void {
    if (!this.agent || this.#synced) return;
    this.#synced = true;
    for (const vip of this.world.vips.values()) this.vips.set(vip.spec.address, vip);
    for (const lease of this.world.leases.values()) this.agent.members.observe(lease, this.world.time.now);
    this.agent.claimer.adopt([...this.kernel].filter((a) => this.vips.get(a)?.status?.activeNode === this.name));
    this.world.setKernel(this, this.agent.claimer.owned);
  }

  setOnline(online: boolean): void {
    // Whoever comes back to the network without hearing from the API server cannot know that it lost anything: that is not promised.
    if (!online && this.plugged && this.world.time.now < this.newsUntil) return;
    this.online = online && this.plugged;
    if (!this.online || !this.agent) return;
    if (!this.#synced) return this.#sync();
    for (const vip of this.world.vips.values()) this.deliver(() => this.see(vip));
    for (const lease of this.world.leases.values()) this.deliver(() => this.agent?.members.observe(lease, this.world.time.now));
  }

  see(vip: VirtualIP): void {
    this.vips.set(vip.spec.address, vip);
    this.news = true;
  }

  /** Something comes by the watch, late. */
  deliver(take: () => void): void {
    const { world, agent } = this;
    if (!this.online || !agent) return;
    this.#watchAt = Math.max(this.#watchAt, world.time.now + world.delay(world.script.watchMs));
    world.time.at(this.#watchAt - world.time.now, () => { if (this.online && this.agent === agent) take(); });
  }

  #tick(): void {
    const { claimer, members, stop } = this.agent!;
    const { world } = this;
    if (!this.#synced) {
      void claimer.recover([...this.snapshot].map((address) => this.#claimable(address, null)), stop.signal);
      return;
    }
    const live = members.live(world.time.now);
    const lived = live.map((m) => m.node).join(' ');
    if (!this.news && world.time.now < this.#due && lived === this.#lived) return;
    this.news = false;
    this.#lived = lived;
    this.#due = tick(claimer, [...this.vips.values()].map((o) => ({ address: o.spec.address, look: () => this.#claimable(o.spec.address, o) })), { members: live, patienceMs: LEASE_MS }, stop.signal);
  }

  #claimable(address: string, object: VirtualIP | null): Claimable {
    return {
      address, group: 'edge', bySubnet: false, preferred: null, wanted: true, fit: true, object, present: this.kernel.has(address),
      status: object ? { activeNode: object.status?.activeNode ?? '', epoch: object.status?.epoch ?? 0 } : null,
      place: { vip: { link: 'e0', family: 'IPv4', address }, mac: `02:00:00:00:00:${this.name.slice(-2)}` },
    };
  }
}

export class World {
  readonly time = new Time();
  readonly script: Script;
  readonly nodes = new Map<string, Node>();
  readonly vips = new Map<string, VirtualIP>();
  readonly leases = new Map<string, Lease>();
  readonly #asking = new Map<string, Set<Node>>();
  /** Until when two may have an address: one of them was cut off from everything and has not heard the news. */
  #newsUntil = 0;
  #version = 1;

  constructor(script: Script, nodes: readonly string[], vips: readonly string[]) {
    this.script = script;
    for (const address of vips) {
      this.vips.set(address, {
        apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'VirtualIP', metadata: { name: address, resourceVersion: String(this.#version++) },
        spec: { address, family: 'IPv4', poolRef: { name: 'p' }, directorGroup: 'edge', claims: [] },
      });
    }
    for (const name of nodes) this.nodes.set(name, new Node(this, name));
    for (const node of this.nodes.values()) node.start();
  }

  delay(ms: number): number { return this.script.random() * ms; }

  /** Who answers for an address on the network. */
  holders(address: string): string[] {
    return [...this.nodes.values()].filter((n) => n.power && n.plugged && n.kernel.has(address)).map((n) => n.name);
  }

  powerOff(node: Node): void {
    node.kill();
    node.power = false;
    node.kernel.clear();
  }

  powerOn(node: Node): void {
    node.power = true;
    node.start();
  }

  setKernel(node: Node, owned: ReadonlySet<string>): void {
    node.kernel.clear();
    for (const address of owned) node.kernel.add(address);
    node.news = true;
    this.#check();
  }

  /** Cut off from everything: no API server, and nobody hears what it answers. */
  isolate(node: Node): void {
    node.newsUntil = 0;
    node.setOnline(false);
    node.plugged = false;
  }

  /**
   * Back on the network, with its agent. Meanwhile another may have taken what it has: for as long as the news takes there are two. (Without
   * its agent nobody would take the address off it.)
   */
  join(node: Node): void {
    if (node.plugged) return;
    this.#newsUntil = this.time.now + this.script.watchMs + 2 * TICK_MS + this.script.kernelMs;
    node.newsUntil = this.#newsUntil;
    node.plugged = true;
    node.start();
    node.setOnline(true);
    this.time.at(this.#newsUntil - this.time.now, () => this.#check());
  }

  #check(): void {
    if (this.time.now < this.#newsUntil) return;
    for (const address of this.vips.keys()) assert.ok(this.holders(address).length <= 1, `${this.time.now} ms: ${this.holders(address).join(' and ')} have ${address}`);
  }

  async probe(asker: Node, addresses: readonly string[]): Promise<Map<string, ProbeOutcome>> {
    const outcomes = new Map<string, ProbeOutcome>(addresses.map((a) => [a, { state: 'silent' }]));
    const ask = (): void => {
      if (!asker.plugged) return;
      for (const a of addresses) {
        const other = this.holders(a).find((n) => n !== asker.name);
        const rival = [...this.#asking.get(a) ?? []].find((n) => n !== asker && n.power && n.plugged);
        if (other) outcomes.set(a, { state: 'answered', mac: `02:00:00:00:00:${other.slice(-2)}`, says: 'holds' });
        else if (rival && outcomes.get(a)!.state === 'silent') outcomes.set(a, { state: 'answered', mac: `02:00:00:00:00:${rival.name.slice(-2)}`, says: 'wants' });
      }
    };
    for (const a of addresses) this.#asking.set(a, (this.#asking.get(a) ?? new Set()).add(asker));
    for (let i = 0; i < 3; i++) {
      ask();
      await this.time.sleep(PROBE_MS / 3);
    }
    ask();
    for (const a of addresses) this.#asking.get(a)!.delete(asker);
    return outcomes;
  }

  async write(node: Node, name: string, patch: StatusPatch): Promise<VirtualIP> {
    await this.time.sleep(this.delay(this.script.writeMs));
    if (!node.online || !node.power) throw new ApiError({ code: 'UNREACHABLE', message: 'away', verb: 'PATCH', path: name });
    const before = this.vips.get(name)!;
    if (before.metadata.resourceVersion !== patch.metadata.resourceVersion) throw new ApiError({ code: 'CONFLICT', status: 409, message: 'changed', verb: 'PATCH', path: name });
    const after: VirtualIP = { ...before, metadata: { ...before.metadata, resourceVersion: String(this.#version++) }, status: { ...before.status, ...patch.status } };
    this.vips.set(name, after);
    for (const n of this.nodes.values()) n.deliver(() => n.see(after));
    await this.time.sleep(this.delay(this.script.writeMs));
    return after;
  }

  async renew(node: Node): Promise<void> {
    const agent = node.agent!;
    const startedAt = this.time.now;
    await this.time.sleep(this.delay(this.script.writeMs));
    if (!node.online || node.agent !== agent) return;
    agent.renewedAt = startedAt;
    const lease: Lease = {
      apiVersion: 'coordination.k8s.io/v1', kind: 'Lease',
      metadata: { name: leaseName(node.name), namespace: 'ipvs-system', annotations: annotationsOf({ groups: ['edge'], prefixes: [] }) },
      spec: { holderIdentity: node.name, leaseDurationSeconds: LEASE_MS / 1000, renewTime: String(this.time.now) },
    };
    this.leases.set(node.name, lease);
    for (const n of this.nodes.values()) n.deliver(() => n.agent?.members.observe(lease, this.time.now));
  }
}
