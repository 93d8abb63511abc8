/**
 * Claimer: does what claims.ts decides, for all VIPs of this node's groups: asks the network, writes names, and says which VIPs this node
 * holds. State and order; every effect is an argument. It never throws because of the API server or the network: what failed is tried again.
 */
import type { VirtualIP } from '../../api/v1alpha1/index.ts';
import { isConflict, isNotFound } from '../../kube/errors.ts';
import { isAbort } from '../../kube/wait.ts';
import type { Log } from '../../kube/types.ts';
import type { ProbeOutcome } from '../../kernel/net/probe.ts';
import type { VipAddress } from '../../kernel/net/types.ts';
import { decide, type ClaimedVip, type Situation, type Standing, type Step } from './claims.ts';
import { blockedPatch, ownedPatch, releasedPatch, saysOwned, type StatusPatch } from './virtualip-status.ts';

/** A VIP as it is decided upon, with its place on this node. */
export interface Claimable extends ClaimedVip {
  /** Null until it was seen. */
  readonly object: VirtualIP | null;
  /** Where its address would be; null when there is no place for it. */
  readonly place: { readonly vip: VipAddress; readonly mac: string } | null;
  /** The address is on one of this node's NICs. */
  readonly present: boolean;
}

/** An address, and what is known of it when it is looked at; may throw. */
export interface ClaimableSource {
  readonly address: string;
  readonly look: () => Claimable;
}

/** What deciding on all VIPs came to. */
export interface Decided {
  /**
   * When something is to be decided again although nobody says that anything changed; monotonic milliseconds, Infinity when all are as they
   * should be.
   */
  readonly due: number;
  /** What kept one of them from being looked at; null: nothing did. */
  readonly problem: unknown;
}

export interface ClaimerOptions {
  readonly node: string;
  readonly probe: (vips: readonly VipAddress[], signal: AbortSignal) => Promise<ReadonlyMap<string, ProbeOutcome>>;
  /** Writes the status of one VirtualIP and returns it as it is then. Rejects with CONFLICT when it is not in that state any more. */
  readonly write: (name: string, patch: StatusPatch, signal: AbortSignal) => Promise<VirtualIP>;
  /** Called whenever the VIPs that this node holds are others. */
  readonly onOwned: () => void;
  /** Whether our own Lease was renewed so lately that nobody will take us for dead before the address is in the kernel. */
  readonly fresh: () => boolean;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Milliseconds since the epoch. */
  readonly wallClock: () => number;
  /** 0 <= x < 1. */
  readonly random: () => number;
  readonly log: Log;
}

/** VIPs that are asked for together: one wait for all of them. */
const ROUND = 512;
/** VIPs that are decided upon between two stops. */
const AT_ONCE = 64;
/** Writes under way at the same time. */
const WRITES = 16;
/** Between two tries for an address that somebody answers for, or that could not be asked for. Milliseconds. */
const RETRY_MS = 1_000;
/** After this many probes in a row that could not be made, others are let try, for so long. */
const MAX_FAILURES = 3;
const UNABLE_MS = 30_000;
/** Our own write comes back by the watch at once; after this long it counts as seen, whatever was. Milliseconds. */
const UNSEEN_MS = 10_000;

/** Who keeps a VIP from being taken. */
export interface Blocked {
  readonly mac: string;
}

interface Memory {
  orphanSince: number | null;
  /** Not tried again before. */
  notBefore: number;
  failures: number;
  /** Probes in a row in which another wanted it, too. */
  contests: number;
  unableUntil: number;
  busy: boolean;
  blocked: Blocked | null;
}

interface Try {
  readonly vip: Claimable;
  /** No candidate comes before this node. Two who think so are told apart by who writes its name. */
  readonly first: boolean;
}

interface Held {
  /** What we wrote, until the watch brings it back: its epoch, and until when we wait for it. Null: seen. */
  unseen: { readonly epoch: number; readonly until: number } | null;
}

export class Claimer {
  readonly #options: ClaimerOptions;
  readonly #held = new Map<string, Held>();
  #owned: ReadonlySet<string> | null = null;
  /** How often a VIP was taken, adopted or dropped. */
  #changes = 0;
  readonly #memory = new Map<string, Memory>();
  /** Rounds and writes under way. */
  readonly #running = new Set<Promise<void>>();
  #probing = false;
  readonly counts = { claimed: 0, lost: 0, conflicts: 0 };

  /** `initial`: VIPs that this node has and that are its own: they are held without interruption. */
  constructor(options: ClaimerOptions, initial: Iterable<string> = []) {
    this.#options = options;
    for (const address of initial) this.#held.set(address, { unseen: null });
  }

  /** The same object until they are others. */
  get owned(): ReadonlySet<string> { return this.#owned ??= new Set(this.#held.keys()); }

  /** By address. */
  get blocked(): ReadonlyMap<string, Blocked> {
    return new Map([...this.#memory].flatMap(([address, { blocked }]) => (blocked ? [[address, blocked] as const] : [])));
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** Holds VIPs that are this node's by what stands in its kernel and its snapshot. */
  adopt(addresses: Iterable<string>): void {
    for (const address of addresses) if (!this.#held.has(address)) this.#hold(address, null);
    this.#told();
  }

  /**
   * Decides on all of them and begins what is to be done, with a stop after every few. What of a VIP is known may change meanwhile: it is looked at
   * when its turn comes. One at a time. One that cannot be looked at stays as it is, and keeps no other from being decided upon.
   */
  *ticking(vips: Iterable<ClaimableSource>, situation: Omit<Situation, 'node' | 'now'>, signal: AbortSignal): Generator<void, Decided> {
    const { node, now: clock, log } = this.#options;
    const now = clock();
    const here: Situation = { ...situation, node, now };
    const claims: Try[] = [];
    const seen = new Set<string>();
    const before = this.#changes;
    let due = Infinity;
    let problem: unknown = null;
    for (const { address, look } of vips) {
      seen.add(address);
      if (seen.size % AT_ONCE === 0) yield;
      try {
        due = Math.min(due, this.#consider(look(), here, claims, signal));
      } catch (error) {
        problem ??= error;
        due = Math.min(due, now + RETRY_MS);
      }
    }
    // A VIP of a group that this node does not direct for any more.
    for (const address of [...this.#held.keys()]) {
      if (seen.has(address)) continue;
      log.info({ address }, 'VIP given up: its group is not this node\'s any more');
      this.#drop(address);
    }
    for (const address of this.#memory.keys()) if (!seen.has(address) && !this.#memory.get(address)!.busy) this.#memory.delete(address);
    if (this.#changes !== before) this.#told();
    if (claims.length > 0 && !this.#probing) this.#run(this.#round(claims.slice(0, ROUND), situation, signal));
    return { due, problem };
  }

  /** Decides on one; adds to `claims` if it is to be claimed. Returns as of Decided.due. */
  #consider(vip: Claimable, here: Situation, claims: Try[], signal: AbortSignal): number {
    const { now } = here;
    const memory = this.#of(vip.address);
    // Letting go waits for nothing.
    if (memory.busy && !this.#held.has(vip.address)) return now + RETRY_MS;
    const able = vip.place !== null && memory.unableUntil <= now;
    const standing = this.#standing(vip, memory, now);
    const { step, orphan } = decide(vip.fit && !able ? { ...vip, fit: false } : vip, standing, here);
    memory.orphanSince = orphan ? memory.orphanSince ?? now : null;
    if (step.kind !== 'claim') memory.blocked = null;
    if (step.kind === 'withdraw') {
      this.#options.log.info({ address: vip.address, reason: step.reason, activeNode: vip.status?.activeNode }, 'VIP given up');
      this.#drop(vip.address);
    } else if (step.kind === 'adopt') {
      this.#hold(vip.address, null);
    } else if (memory.notBefore > now) {
      // Until then nothing of it is done.
    } else if (step.kind === 'claim') {
      claims.push({ vip, first: step.first });
    } else if (!memory.busy) {
      this.#put(vip, memory, step, signal);
    }
    const calm = (step.kind === 'none' || step.kind === 'keep') && !orphan && !standing.unseen && !memory.busy;
    return Math.min(calm ? Infinity : now + RETRY_MS, ...[memory.notBefore, memory.unableUntil].filter((at) => at > now));
  }

  /**
   * While the API server is away after a reboot: takes VIPs that this node held before, by the silence of the network alone. What became of
   * them meanwhile is seen when the server is back, and then another's name there ends it. `away`: whether it still is.
   */
  async recover(vips: readonly Claimable[], signal: AbortSignal, away: () => boolean = () => true): Promise<void> {
    const due = vips.filter((v) => v.place !== null && !this.#held.has(v.address) && this.#of(v.address).notBefore <= this.#options.now());
    const outcomes = due.length === 0 ? null : await this.#ask(due, signal);
    if (!outcomes || signal.aborted || !away()) return;
    for (const vip of due) if (this.#silent({ vip, first: false }, outcomes)) this.#hold(vip.address, null);
    this.#told();
  }

  /** Asks for all of them at once, then writes our name where nobody answered. */
  async #round(tries: readonly Try[], situation: Omit<Situation, 'node' | 'now'>, signal: AbortSignal): Promise<void> {
    const vips = tries.map((t) => t.vip);
    const memories = vips.map((v) => this.#of(v.address));
    for (const m of memories) m.busy = true;
    this.#probing = true;
    try {
      const outcomes = await this.#ask(vips, signal).finally(() => { this.#probing = false; });
      if (!outcomes || signal.aborted) return;
      const askedAt = this.#options.now();
      const free = tries.filter((t) => this.#silent(t, outcomes));
      const blocked = vips.flatMap((v) => (this.#of(v.address).blocked ? [v] : []));
      const claims = free.map((t) => () => this.#claim(t.vip, askedAt, situation.patienceMs, signal));
      await fewAtATime([...claims, ...blocked.map((v) => () => this.#complain(v, signal))]);
    } finally {
      for (const m of memories) m.busy = false;
    }
  }

  /** Null when it could not be asked at all. */
  async #ask(vips: readonly Claimable[], signal: AbortSignal): Promise<ReadonlyMap<string, ProbeOutcome> | null> {
    const { probe, log, now } = this.#options;
    try {
      return await probe(vips.map((v) => v.place!.vip), signal);
    } catch (error) {
      if (!isAbort(error)) log.error({ err: error }, 'the network could not be asked');
      for (const v of vips) this.#of(v.address).notBefore = now() + RETRY_MS;
      return null;
    }
  }

  /** Whether it may be taken; what else is remembered for the next try. */
  #silent({ vip: { address, place }, first }: Try, outcomes: ReadonlyMap<string, ProbeOutcome>): boolean {
    const { now, random, log } = this.#options;
    const memory = this.#of(address);
    const outcome = outcomes.get(address) ?? null;
    if (outcome?.state === 'silent' || (first && outcome?.state === 'answered' && outcome.says === 'wants')) {
      Object.assign(memory, { failures: 0, contests: 0, blocked: null });
      return true;
    }
    if (outcome?.state === 'answered') {
      this.counts.conflicts += 1;
      const told = memory.blocked?.mac;
      const contests = outcome.says === 'wants' ? memory.contests + 1 : 0;
      Object.assign(memory, { failures: 0, contests, blocked: outcome.says === 'holds' ? { mac: outcome.mac } : null });
      // Two who want it at the same time must not meet again at the same time.
      memory.notBefore = now() + RETRY_MS * (contests > 0 ? random() * 2 ** Math.min(contests, 4) : 1 + random() / 4);
      if (outcome.says === 'holds' && told !== outcome.mac) log.warn({ address, mac: outcome.mac }, 'VIP not taken: somebody answers for it');
      return false;
    }
    memory.failures += 1;
    memory.notBefore = now() + RETRY_MS;
    log.warn({ address, link: place?.vip.link, err: outcome?.error }, 'VIP not taken: the network could not be asked');
    if (memory.failures >= MAX_FAILURES) Object.assign(memory, { failures: 0, unableUntil: now() + UNABLE_MS });
    return false;
  }

  async #claim(vip: Claimable, askedAt: number, patienceMs: number, signal: AbortSignal): Promise<void> {
    const { node, now, fresh, log } = this.#options;
    // Of a long round those that come late are asked about once more, with the next one.
    if (now() - askedAt > patienceMs / 2) return;
    const written = await this.#write(vip, (object, at) => ownedPatch(object, node, vip.place!.mac, at), signal);
    if (!written) return;
    // The silence is of then. Whoever took long for the rest, or cannot renew its Lease, may be taken for dead soon.
    if (now() - askedAt > patienceMs / 2 || !fresh()) {
      log.warn({ address: vip.address, tookMs: Math.round(now() - askedAt) }, 'VIP not taken yet: it took too long; once more');
      return;
    }
    this.counts.claimed += 1;
    log.info({ address: vip.address, link: vip.place!.vip.link, before: vip.status?.activeNode, epoch: written.status?.epoch }, 'VIP taken');
    this.#hold(vip.address, written.status?.epoch ?? 0);
    this.#told();
  }

  /** Puts right what the API server says of a VIP that this node has, or has no more. */
  #put(vip: Claimable, memory: Memory, { kind }: Step, signal: AbortSignal): void {
    const { node, now } = this.#options;
    const { object, place } = vip;
    if (object === null) return;
    const name = kind === 'assert' || (kind === 'keep' && object.status?.activeNode === node && !saysOwned(object));
    if (!name && kind !== 'release') return;
    memory.busy = true;
    // Not twice for what the watch has not brought back.
    memory.notBefore = now() + RETRY_MS;
    const write = async (): Promise<void> => {
      const written = await this.#write(vip, (o, at) => (name ? ownedPatch(o, node, place?.mac ?? o.status?.mac ?? '', at) : releasedPatch(o, at)), signal);
      if (written && name && this.#held.has(vip.address)) this.#hold(vip.address, written.status?.epoch ?? 0);
    };
    this.#run(write().finally(() => { memory.busy = false; }));
  }

  async #complain(vip: Claimable, signal: AbortSignal): Promise<void> {
    const { blocked } = this.#of(vip.address);
    if (blocked) await this.#write(vip, (object, at) => blockedPatch(object, blocked.mac, at), signal);
  }

  /** Null when it was not written: another was quicker, the server is away, or there was nothing to write. */
  async #write(vip: Claimable, patchOf: (object: VirtualIP, at: string) => StatusPatch | null, signal: AbortSignal): Promise<VirtualIP | null> {
    const { write, wallClock, log, now, random } = this.#options;
    const patch = vip.object && patchOf(vip.object, new Date(wallClock()).toISOString());
    if (!patch) return null;
    try {
      return await write(vip.object!.metadata.name, patch, signal);
    } catch (error) {
      if (isAbort(error)) return null;
      // Another was quicker, or the controller wrote: look again as soon as that is here.
      const quicker = isConflict(error) || isNotFound(error);
      if (!quicker) log.warn({ address: vip.address, err: error }, 'VirtualIP not written');
      this.#of(vip.address).notBefore = now() + (quicker ? 50 + 100 * random() : RETRY_MS);
      return null;
    }
  }

  #standing({ address, present, status }: Claimable, { orphanSince }: Memory, now: number): Standing {
    const held = this.#held.get(address);
    if (held?.unseen && (now >= held.unseen.until || (status !== null && status.epoch >= held.unseen.epoch))) held.unseen = null;
    return { held: held !== undefined, unseen: held?.unseen != null, present, orphanSince };
  }

  #hold(address: string, epoch: number | null): void {
    if (!this.#held.has(address)) {
      this.#owned = null;
      this.#changes += 1;
    }
    this.#held.set(address, { unseen: epoch === null ? null : { epoch, until: this.#options.now() + UNSEEN_MS } });
  }

  #drop(address: string): void {
    if (!this.#held.delete(address)) return;
    this.#owned = null;
    this.#changes += 1;
    this.counts.lost += 1;
  }

  #told(): void { this.#options.onOwned(); }

  #of(address: string): Memory {
    let memory = this.#memory.get(address);
    if (!memory) this.#memory.set(address, memory = { orphanSince: null, notBefore: 0, failures: 0, contests: 0, unableUntil: 0, busy: false, blocked: null });
    return memory;
  }

  #run(work: Promise<void>): void {
    const done = work.catch((err: unknown) => { this.#options.log.error({ err }, 'a claim failed'); }).finally(() => { this.#running.delete(done); });
    this.#running.add(done);
  }
}

/** At most WRITES of them at a time. */
async function fewAtATime(work: readonly (() => Promise<void>)[]): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => { while (next < work.length) await work[next++]!(); };
  await Promise.all(Array.from({ length: Math.min(WRITES, work.length) }, worker));
}
