/**
 * Directing: this node as one of the directors of its groups: its own Lease, who else is live, and which VIPs it holds. It joins what
 * ownership/ decides and does with the caches and the agent; it is asked to look again and looks by itself once a second.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { RESOURCES, virtualIPName, type VirtualIP } from '../../api/v1alpha1/index.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Lease } from '../../kube/lease.ts';
import type { Change } from '../../kube/reflector.ts';
import type { Log } from '../../kube/types.ts';
import type { probe, ProbeOutcome } from '../../kernel/net/probe.ts';
import type { NetClient, VipAddress } from '../../kernel/net/types.ts';
import type { Agent } from '../agent.ts';
import { Claimer, type Blocked, type ClaimableSource } from '../ownership/claimer.ts';
import { Heartbeat } from '../ownership/heartbeat.ts';
import type { Member } from '../ownership/election.ts';
import { Members, profileOf, withPlace } from '../ownership/membership.ts';
import type { Assignment } from './assignment.ts';
import { claimables, presentVips } from './claimables.ts';
import type { Inputs } from './inputs.ts';

export interface DirectingOptions {
  readonly node: string;
  readonly namespace: string;
  readonly client: KubeClient;
  readonly agent: Agent;
  readonly net: Pick<NetClient, 'observe'>;
  readonly probe: typeof probe;
  readonly assignment: Assignment;
  readonly inputs: Inputs;
  /** VIPs that this node held before. */
  readonly before: ReadonlySet<string>;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** 0 <= x < 1. */
  readonly random: () => number;
  /** Called when the VIPs that this node holds are others. */
  readonly onOwned: () => void;
  /** Called when another director lives again that was taken for dead: it may have answered for VIPs that are this node's by now. */
  readonly onReturned?: () => void;
}

/** Claims are looked at no more often, and no less while something is under way or the directors that live are others than before. Milliseconds. */
const LOOK_MS = { least: 50, most: 1_000 };
/** And no less whatever is known: with thousands of VIPs a look is the work of ten changes of endpoints. Milliseconds. */
const CALM_MS = 10_000;
/**
 * Pause after a look, in multiples of the time it took, within these bounds: 5,000 VIPs take 10 ms, and a process that had to wait for
 * its turn seems to take long.
 */
const PAUSE = 10;
/** As if a DirectorGroup said nothing. */
const FAILOVER = { durationSeconds: 6, renewSeconds: 2 };

export class Directing {
  readonly #options: DirectingOptions;
  readonly #members: Members;
  readonly #heartbeat: Heartbeat;
  readonly #claimer: Claimer;
  #signal: AbortSignal | null = null;
  #timer: NodeJS.Timeout | null = null;
  /** When it is due. Monotonic milliseconds. */
  #timerAt = 0;
  #notBefore = -Infinity;
  /** Somebody asked for it, and not only the time. */
  #asked = false;
  /** When a look is due whoever asks, and which directors lived at the last one. */
  #due = -Infinity;
  #lived = '';
  #recovering = false;
  /** Whether the claims are being looked at, and what was asked for meanwhile. Milliseconds. */
  #looking = false;
  #again: number | null = null;
  /** Why the last look failed; null: it did not. */
  #problem: string | null = null;
  /** Whether the kernel was made what this node is told, and the API server is so far away that a silent network is enough. */
  #ready = false;
  #alone = false;

  constructor(options: DirectingOptions) {
    const { node, namespace, client, now, clock, random, log, onOwned } = options;
    this.#options = options;
    this.#members = new Members(node);
    this.#heartbeat = new Heartbeat({ client, namespace, node, now, wallClock: clock, random, log, onReturn: () => options.inputs.reopen() });
    this.#claimer = new Claimer({
      node, now, wallClock: clock, random, log, onOwned,
      probe: (vips, signal) => this.#probe(vips, signal),
      write: (name, patch, signal) => client.patchStatus<VirtualIP>(RESOURCES.VirtualIP, name, undefined, patch, { signal, fieldManager: 'ipvs-agent' }),
      fresh: () => now() - this.#heartbeat.renewedAt <= this.#leaseMs() / 2,
    });
  }

  get owned(): ReadonlySet<string> { return this.#claimer.owned; }
  get blocked(): ReadonlyMap<string, Blocked> { return this.#claimer.blocked; }
  get counts(): Claimer['counts'] { return this.#claimer.counts; }
  /** Why it cannot be decided who holds which VIP; null: it was. */
  get problem(): string | null { return this.#problem; }

  /** Holds what stands in the kernel, is wanted, and bears nobody else's name: so a restart interrupts nothing. Before the first reconcile. */
  adopt(): number {
    const { agent, net, assignment, inputs, node } = this.#options;
    const here = presentVips(net.observe(), agent.addresses).filter((address) => {
      if (assignment.ownersOf(address).size === 0) return false;
      const owner = inputs.virtualIPs.store.get(virtualIPName(address))?.status?.activeNode ?? '';
      return owner === '' || owner === node;
    });
    this.#claimer.adopt(here);
    return here.length;
  }

  /** Resolves when the signal aborts and nothing is under way. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    await this.#heartbeat.run(signal);
    if (this.#timer) clearTimeout(this.#timer);
    await this.#claimer.idle();
  }

  lease(change: Change<Lease>): void {
    const now = this.#options.now();
    const before = new Set(this.#members.live(now).map((m) => m.node));
    if (change.type === 'deleted') this.#members.forget(change.object);
    else this.#members.observe(change.object, now);
    // A renewal alone is no news.
    const news = change.type !== 'updated' || JSON.stringify(change.old.metadata.annotations) !== JSON.stringify(change.object.metadata.annotations);
    const live = this.#members.live(now);
    if (news || live.length !== before.size) this.look();
    if (before.size > 0 && live.some((m) => !before.has(m.node))) this.#options.onReturned?.();
  }

  /**
   * The kernel was made what this node is told. `alone`: the API server has been away since the start. `news`: it may matter for who holds
   * which VIP.
   */
  reconciled(alone: boolean, news: boolean): void {
    const first = !this.#ready;
    this.#ready = true;
    this.#alone = alone;
    this.#beat();
    if (news || first) this.look();
    else this.#arm(LOOK_MS.most);
  }

  /** Looks at the claims soon, or sooner, if somebody asked before; once more, if that is being done. */
  look(delayMs: number = LOOK_MS.least): void {
    if (this.#looking) {
      this.#again = Math.min(this.#again ?? Infinity, delayMs);
      return;
    }
    this.#asked = true;
    this.#arm(delayMs);
  }

  #arm(delayMs: number): void {
    const now = this.#options.now();
    const at = Math.max(now + delayMs, this.#notBefore);
    if (this.#looking || (this.#timer && this.#timerAt <= at)) return;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (this.#asked || this.#options.now() >= this.#due || this.#alive() !== this.#lived) void this.#attempt();
      else this.#arm(LOOK_MS.most);
    }, at - now).unref();
  }

  /** Who cannot renew its Lease begins nothing new. */
  #live(now: number): readonly Member[] { return now - this.#heartbeat.renewedAt <= this.#leaseMs() ? this.#members.live(now) : []; }

  #alive(): string { return this.#live(this.#options.now()).map((m) => m.node).join(' '); }

  /** Groups all of whose programs are known. */
  get #known(): Set<string> {
    const { assignment, inputs } = this.#options;
    return new Set([...assignment.directs].filter((g) => inputs.programsSynced(g)));
  }

  #failover(): typeof FAILOVER {
    const { directs, groups } = this.#options.assignment;
    const all = [...directs].flatMap((name) => groups.get(name) ?? []);
    if (all.length === 0) return FAILOVER;
    return { durationSeconds: Math.min(...all.map((g) => g.leaseDurationSeconds)), renewSeconds: Math.min(...all.map((g) => g.renewSeconds)) };
  }

  #leaseMs(): number { return this.#failover().durationSeconds * 1000; }

  /** Only who has the programs in its kernel offers itself. */
  #beat(): void {
    if (!this.#ready) return;
    const known = this.#known;
    const { agent: { index }, assignment } = this.#options;
    const groups = withPlace(known, (name) => assignment.groups.get(name)?.settings ?? null, index);
    if (known.size > 0) this.#heartbeat.set({ profile: profileOf(groups, index), ...this.#failover() });
    else if (this.#options.assignment.directs.size === 0) this.#heartbeat.set(null);
  }

  /** A look that fails, whatever with, is repeated: who does not look gives up no VIP that is another's by now, and takes none that is nobody's. */
  async #attempt(): Promise<void> {
    try {
      await this.#look();
      this.#problem = null;
    } catch (error) {
      this.#options.log.error({ err: error, retryMs: LOOK_MS.most }, 'the claims could not be looked at; trying on');
      this.#problem = `who holds which VIP could not be decided: ${(error as Error).message}`;
      this.look(LOOK_MS.most);
    }
  }

  /** Looks at all claims, a few at a time: with thousands of VIPs a change of an endpoint would wait for it. */
  async #look(): Promise<void> {
    const { now, agent, assignment, inputs } = this.#options;
    const signal = this.#signal;
    if (!signal || signal.aborted || !this.#ready || !agent.index) return;
    const { virtualIPs, leases } = inputs;
    if (!virtualIPs.synced || !leases.synced) {
      void this.#recover(signal);
      return this.look(LOOK_MS.most);
    }
    let began = now();
    let took = 0;
    this.#looking = true;
    this.#again = null;
    this.#asked = false;
    this.#lived = this.#alive();
    try {
      const make = claimables({ assignment, index: agent.index, view: agent.view, addresses: agent.addresses, known: this.#known });
      const work = this.#claimer.ticking(this.#claimable(make), { members: this.#live(now()), patienceMs: this.#leaseMs() }, signal);
      for (let step = work.next(); ; step = work.next()) {
        took += now() - began;
        if (step.done) {
          this.#notBefore = now() + Math.min(LOOK_MS.most, Math.max(LOOK_MS.least, PAUSE * took));
          this.#looking = false;
          const { due, problem } = step.value;
          if (problem !== null) throw problem;
          this.#due = Math.min(due, now() + CALM_MS);
          if (this.#again !== null) return this.look(this.#again);
          return this.#arm(Math.min(LOOK_MS.most, this.#due - now(), (this.#members.nextChange(now()) ?? Infinity) - now()));
        }
        await turn();
        if (signal.aborted) return;
        began = now();
      }
    } finally {
      this.#looking = false;
    }
  }

  /** Every VIP of this node's groups, as it is when its turn comes. */
  *#claimable(make: ReturnType<typeof claimables>): Generator<ClaimableSource> {
    const { assignment, inputs } = this.#options;
    const { virtualIPs } = inputs;
    const seen = new Set<string>();
    for (const group of assignment.directs) {
      for (const { metadata: { name }, spec: { address } } of [...inputs.virtualIPsOf(group)]) {
        const object = virtualIPs.store.get(name) ?? null;
        seen.add(address);
        if (object !== null || this.#claimer.owned.has(address)) yield { address, look: () => make(address, group, object, this.#claimer.owned.has(address)) };
      }
    }
    // Held, wanted, and its VirtualIP is gone; not one of another group by now. Any other that was not seen is given up.
    for (const address of this.#claimer.owned) {
      const group = this.#groupOf(address);
      if (group !== '' && !seen.has(address) && !virtualIPs.store.has(virtualIPName(address))) yield { address, look: () => make(address, group, null, true) };
    }
  }

  /** After a reboot without the API server: what was held before, after silence. */
  async #recover(signal: AbortSignal): Promise<void> {
    const { agent, assignment, before, inputs } = this.#options;
    if (this.#recovering || !this.#alone) return;
    this.#recovering = true;
    try {
      const make = claimables({ assignment, index: agent.index!, view: agent.view, addresses: agent.addresses, known: assignment.directs });
      const had = [...before].filter((a) => !this.owned.has(a)).map((a) => make(a, this.#groupOf(a), null, false));
      await this.#claimer.recover(had.filter((v) => v.wanted && v.fit), signal, () => !inputs.virtualIPs.synced);
    } catch (error) {
      // With the next look.
      this.#options.log.error({ err: error }, 'what this node held before could not be taken again; trying on');
    } finally {
      this.#recovering = false;
    }
  }

  #groupOf(vip: string): string {
    const { assignment } = this.#options;
    const [owner] = assignment.ownersOf(vip);
    return owner === undefined ? '' : assignment.programs.get(owner)?.spec.directorGroup ?? '';
  }

  /** On a link without a MAC nobody resolves addresses, so nobody can be asked. */
  async #probe(vips: readonly VipAddress[], signal: AbortSignal): Promise<Map<string, ProbeOutcome>> {
    const { links } = this.#options.net.observe();
    const mute = new Set(links.flatMap((l) => (l.mac === '' || l.loopback ? [l.name] : [])));
    const outcomes = await this.#options.probe(vips.filter((v) => !mute.has(v.link)), links, { signal });
    for (const v of vips) if (mute.has(v.link)) outcomes.set(v.address, { state: 'silent' });
    return outcomes;
  }
}
