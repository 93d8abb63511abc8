/**
 * Fragments: what every program wants of this node, kept between reconciles and recomputed only for what changed, with the joined
 * services and needs of all of them. State, no effects: the facts come as arguments, deciding is desired.ts's.
 */
import { exact, Sharer } from '../api/share.ts';
import type { GroupSettings, Program } from '../api/v1alpha1/program.ts';
import { serviceKey } from '../kernel/ipvs/types.ts';
import { desired } from './desired.ts';
import { ALONE, concernedBy, type Duties } from './duties.ts';
import type { NodeIndex } from './facts.ts';
import { UNWATCHED, type HealthSource } from './health/source.ts';
import { Ways } from './health/ways.ts';
import { joinNeeds, joinServices, NO_NEEDS, sameNeeds, type DesiredService, type Fragment, type Refusal, type SharedState } from './state.ts';

export class Fragments {
  readonly #programs = new Map<string, Program>();
  /** Of those that cannot be had here for want of a kernel feature, the form before, in this process. */
  readonly #able = new Map<string, Program>();
  readonly #sharer = new Sharer();
  #groups: ReadonlyMap<string, GroupSettings> = new Map();
  #duties: Duties = ALONE;
  readonly #byOwner = new Map<string, Fragment>();
  /** Those of them that refuse something: few, and asked for after every change. */
  readonly #refusing = new Map<string, Fragment>();
  #services = new Map<string, DesiredService>();
  /** Who wants a service that more than one program wants. */
  #contested = new Map<string, Set<string>>();
  #shared: SharedState = joinNeeds([], []);
  #dirty = new Set<string>();
  #allDirty = true;
  readonly #health: HealthSource;
  readonly #ways = new Ways();

  constructor(health: HealthSource = UNWATCHED) {
    this.#health = health;
  }

  get byOwner(): ReadonlyMap<string, Fragment> { return this.#byOwner; }
  /** What programs want and this node refuses. */
  get refusals(): readonly Refusal[] { return [...[...this.#refusing.values()].flatMap((f) => f.refusals), ...this.#losers()]; }
  /** By serviceKey(). */
  get services(): ReadonlyMap<string, DesiredService> { return this.#services; }
  get shared(): SharedState { return this.#shared; }
  /** Whether something was updated and not recomputed. */
  get dirty(): boolean { return this.#allDirty || this.#dirty.size > 0; }
  get allDirty(): boolean { return this.#allDirty; }

  get duties(): Duties { return this.#duties; }

  /** Takes changed programs (null: gone) and, where they changed, the groups and the duties. */
  update(changed: ReadonlyMap<string, Program | null>, groups?: ReadonlyMap<string, GroupSettings>, duties?: Duties): void {
    for (const [owner, program] of changed) {
      if (program) this.#programs.set(owner, program);
      else {
        this.#programs.delete(owner);
        this.#able.delete(owner);
      }
      this.#dirty.add(owner);
    }
    if (groups) {
      this.#groups = groups;
      this.#allDirty = true;
    }
    if (duties && duties !== this.#duties) {
      const concerned = concernedBy(this.#duties, duties);
      this.#duties = duties;
      for (const program of this.#programs.values()) if (concerned(program)) this.#dirty.add(program.owner);
    }
  }

  /** Everything is to be recomputed: the facts changed, or what was recomputed did not come to anything. */
  touchAll(): void { this.#allDirty = true; }

  /** No program wants anything any more. */
  clear(): void {
    this.#programs.clear();
    this.#able.clear();
    this.#byOwner.clear();
    this.#refusing.clear();
    this.#contested.clear();
    this.#groups = new Map();
    this.#allDirty = true;
  }

  /** Whether something is refused for want of a kernel feature. */
  get lacksFeatures(): boolean { return this.#lacking().length > 0; }

  /**
   * What was refused for want of a kernel feature is looked at anew: a module may have been loaded, a tool may work again. Returns whether
   * there is any.
   */
  retryMissingFeatures(): boolean {
    const owners = this.#lacking();
    for (const owner of owners) this.#dirty.add(owner);
    return owners.length > 0;
  }

  #lacking(): string[] {
    return [...this.#refusing.values()].flatMap(({ owner, refusals }) => (refusals.some((r) => r.code === 'KernelFeatureMissing') ? [owner] : []));
  }

  /** VIPs that this node refuses, by owner. */
  refused(): Map<string, ReadonlySet<string>> {
    const refused = new Map<string, ReadonlySet<string>>();
    for (const { owner, refusedVips } of this.#refusing.values()) if (refusedVips.length > 0) refused.set(owner, new Set(refusedVips));
    return refused;
  }

  /** Schedulers that programs to be recomputed want of this node as a director and that `known` does not hold. */
  unknownSchedulers(known: ReadonlySet<string>, index: NodeIndex): Set<string> {
    const wanted = new Set<string>();
    for (const owner of this.#owners()) {
      const program = this.#programs.get(owner);
      if (!program || known.has(program.spec.scheduler.name)) continue;
      const { role } = this.#desired(program, index);
      if (role === 'director' || role === 'both') wanted.add(program.spec.scheduler.name);
    }
    return wanted;
  }

  /** Recomputes what changed. Returns the service keys that are concerned, and whether the node's needs are. */
  refresh(index: NodeIndex): { keys: Set<string>; needsChanged: boolean } {
    for (const owner of this.#health.changed()) if (this.#programs.has(owner)) this.#dirty.add(owner);
    const owners = this.#owners();
    const keys = new Set<string>();
    let needsChanged = this.#allDirty;
    for (const owner of owners) {
      const old = this.#byOwner.get(owner);
      const program = this.#programs.get(owner);
      const next = program ? this.#desired(program, index) : undefined;
      for (const s of old?.services ?? []) keys.add(serviceKey(s.service));
      for (const s of next?.services ?? []) keys.add(serviceKey(s.service));
      if (!old || !next || old.role !== next.role || !sameNeeds(old.needs, next.needs)) needsChanged = true;
      if (next) this.#byOwner.set(owner, next);
      else this.#byOwner.delete(owner);
      if (next && next.refusals.length + next.refusedVips.length > 0) this.#refusing.set(owner, next);
      else this.#refusing.delete(owner);
    }
    if (this.#allDirty) ({ services: this.#services, contested: this.#contested } = joinServices(this.#byOwner.values(), this.#services));
    else this.#rejoin(owners, keys);
    this.#ways.update(owners, this.#byOwner);
    for (const key of this.#ways.takeChanged()) {
      keys.add(key);
      this.#services.delete(key);
    }
    for (const [key, service] of this.#ways.services) this.#services.set(key, service);
    for (const owner of owners) {
      const program = this.#programs.get(owner);
      this.#health.follow(owner, program && (this.#byOwner.get(owner)?.services.length ?? 0) > 0 ? program : null, index, this.#ways.byName);
    }
    if (needsChanged) this.#shared = joinNeeds(this.#byOwner.values(), this.#groups.values());
    this.#dirty = new Set();
    this.#allDirty = false;
    return { keys, needsChanged };
  }

  /** The services of these keys anew. Beside those whose programs changed, whoever has or wanted one may have it now. */
  #rejoin(owners: ReadonlySet<string>, keys: ReadonlySet<string>): void {
    const concerned = new Set(owners);
    for (const key of keys) for (const owner of [this.#services.get(key)?.owner, ...this.#contested.get(key) ?? []]) if (owner !== undefined) concerned.add(owner);
    const { services, contested } = joinServices([...concerned].flatMap((owner) => this.#byOwner.get(owner) ?? []), this.#services);
    for (const key of keys) {
      this.#services.delete(key);
      this.#contested.delete(key);
      const [service, rivals] = [services.get(key), contested.get(key)];
      if (service) this.#services.set(key, service);
      if (rivals) this.#contested.set(key, rivals);
    }
  }

  /** Programs that want a service which another has. */
  #losers(): Refusal[] {
    return [...this.#contested].flatMap(([key, rivals]) => {
      const { owner: winner } = this.#services.get(key)!;
      const message = `${key} is served for ${winner} already; choose another port, or another VIP`;
      return [...rivals].filter((owner) => owner !== winner).map((owner): Refusal => ({ owner, code: 'PortConflict', message }));
    });
  }

  #owners(): ReadonlySet<string> {
    return this.#allDirty ? new Set([...this.#programs.keys(), ...this.#byOwner.keys()]) : this.#dirty;
  }

  /** What needs a feature that the kernel lacks is served on in its form before, but with its real servers: pods do not wait for a module. */
  #desired(program: Program, index: NodeIndex): Fragment {
    const fragment = this.#asItIs(program, index);
    const refused = fragment.refusals.some((r) => r.code === 'KernelFeatureMissing' && r.vip === undefined);
    if (!refused) this.#able.set(program.owner, program);
    const before = refused ? withServicesOf(this.#able.get(program.owner), program) : null;
    if (before === null) return fragment;
    const old = this.#asItIs(before, index);
    return old.refusals.length > 0 ? fragment : { ...old, contentHash: fragment.contentHash, refusals: fragment.refusals };
  }

  #asItIs(program: Program, index: NodeIndex): Fragment {
    return this.#lean(desired(program, this.#groups.get(program.spec.directorGroup) ?? null, index, this.#duties,
      program.spec.healthCheck === undefined ? null : this.#health.weights(program, index)));
  }

  /** The same with less memory: most programs of a node want the same sysctls, and nothing of most kinds. */
  #lean({ services, needs, refusals, refusedVips, ...rest }: Fragment): Fragment {
    return {
      ...rest,
      services: exact(services),
      needs: needs === NO_NEEDS ? needs : {
        vips: exact(needs.vips), tunnels: exact(needs.tunnels), fou: this.#sharer.share(exact(needs.fou)), sysctls: this.#sharer.share(exact(needs.sysctls)),
        sourceNat: exact(needs.sourceNat), marks: exact(needs.marks), mss: exact(needs.mss),
      },
      refusals: exact(refusals),
      refusedVips: exact(refusedVips),
    };
  }
}

/** A form of before with the real servers of today; null where the two are not of one shape. */
function withServicesOf(before: Program | undefined, now: Program): Program | null {
  const shape = ({ spec }: Program) => JSON.stringify([
    spec.directorGroup, spec.addresses, spec.mode, spec.tunnel, spec.healthCheck ?? null, spec.services.map((s) => [s.mark, s.ports.map((p) => [p.protocol, p.port, p.endPort])]),
  ]);
  if (before === undefined || shape(before) !== shape(now)) return null;
  return { ...before, spec: { ...before.spec, services: now.spec.services } };
}
