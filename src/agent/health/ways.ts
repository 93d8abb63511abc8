/**
 * Ways: the services by which Forwarded checks reach one real server each, kept over time so that a way in use keeps its mark. State of
 * fragments.ts, which knows all programs; what a way is, is forwarded.ts's.
 */
import { DestinationTable } from '../../kernel/ipvs/destinations.ts';
import { serviceKey } from '../../kernel/ipvs/types.ts';
import type { DesiredService, Fragment } from '../state.ts';
import { forwardedWays, wayName, type ForwardedTo, type ForwardedWay } from './forwarded.ts';

export class Ways {
  readonly #byOwner = new Map<string, readonly ForwardedTo[]>();
  #byName: ReadonlyMap<string, ForwardedWay> = new Map();
  #services: ReadonlyMap<string, DesiredService> = new Map();
  #changed = new Set<string>();

  /** By wayName(). */
  get byName(): ReadonlyMap<string, ForwardedWay> { return this.#byName; }
  /** What is to be in the kernel for them, by serviceKey(). */
  get services(): ReadonlyMap<string, DesiredService> { return this.#services; }

  /** Takes the fragments of these owners as they are now. */
  update(owners: Iterable<string>, fragments: ReadonlyMap<string, Fragment>): void {
    let news = false;
    for (const owner of owners) {
      const checks = fragments.get(owner)?.checks;
      news ||= checks !== undefined || this.#byOwner.has(owner);
      if (checks) this.#byOwner.set(owner, checks);
      else this.#byOwner.delete(owner);
    }
    if (news) this.#refresh();
  }

  /** Keys of services that came, went or became others since this was asked last. */
  takeChanged(): ReadonlySet<string> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  #refresh(): void {
    const owners = new Map<string, string>();
    for (const [owner, checks] of this.#byOwner) for (const one of checks) if (!owners.has(wayName(one))) owners.set(wayName(one), owner);
    const before = this.#services;
    const ways = forwardedWays([...this.#byOwner.values()].flat(), this.#byName);
    const services = new Map<string, DesiredService>();
    for (const [name, way] of ways) {
      const key = serviceKey(way.service);
      const known = this.#byName.get(name) && before.get(key);
      const owner = owners.get(name)!;
      services.set(key, known && known.owner === owner ? known : {
        service: way.service, destinations: DestinationTable.from([way.destination]), drainSeconds: 0, owner,
      });
    }
    for (const [key, service] of services) if (before.get(key) !== service) this.#changed.add(key);
    for (const key of before.keys()) if (!services.has(key)) this.#changed.add(key);
    this.#byName = ways;
    this.#services = services;
  }
}
