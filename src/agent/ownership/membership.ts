/**
 * Membership: what a director says of itself in its Lease, and who of the others is live, by when their Leases were seen to change here.
 * Texts and judgements; renewing is heartbeat.ts.
 */
import { networkOf as networkAddress, parsePrefix } from '../../ip/ip.ts';
import { LeaseObserver, type Lease } from '../../kube/lease.ts';
import type { GroupSettings } from '../../api/v1alpha1/program.ts';
import { interfaceFor, isUsable, type NodeIndex } from '../facts.ts';
import { networkOf, type Network } from '../network.ts';
import type { Member } from './election.ts';

/** On every Lease of a director. */
export const DIRECTOR_LEASE_LABEL = { name: 'ipvs-operator.dev/lease', value: 'director' } as const;
const GROUPS = 'ipvs-operator.dev/groups';
const PREFIXES = 'ipvs-operator.dev/prefixes';

/** What a director says of itself. */
export interface Profile {
  /** DirectorGroups that it directs for, and whose VIPs it could have, sorted. */
  readonly groups: readonly string[];
  /** Networks of its NICs that have a carrier, as `10.0.1.0/24`, sorted. */
  readonly prefixes: readonly string[];
}

export function profileOf(groups: Iterable<string>, index: NodeIndex | null): Profile {
  const prefixes = new Set<string>();
  for (const { link, address, prefixLength } of index?.subnets ?? []) {
    const nic = index!.links.get(link);
    if (nic?.up && nic.carrier) prefixes.add(`${networkAddress(address, prefixLength)}/${prefixLength}`);
  }
  return { groups: [...groups].sort(), prefixes: [...prefixes].sort() };
}

/**
 * Groups for whose VIPs there is a NIC with a carrier, as far as that does not depend on the VIP: of those that take the NIC by its subnet the
 * prefixes tell. Who is in none of them is no candidate; an owner gives its VIPs to those who are, and keeps them where nobody is.
 */
export function withPlace(groups: Iterable<string>, settingsOf: (group: string) => GroupSettings | null, index: NodeIndex | null): string[] {
  return [...groups].filter((name) => {
    const settings = settingsOf(name);
    if (index === null || settings === null || settings.interface.match === 'SubnetOf') return true;
    const nic = interfaceFor('', settings, index);
    return 'link' in nic && isUsable(index.links.get(nic.link));
  });
}

/** The profile as annotations. */
export function annotationsOf({ groups, prefixes }: Profile): Record<string, string> {
  return { [GROUPS]: groups.join(','), [PREFIXES]: prefixes.join(',') };
}

/** Null when the Lease is no director's: no holder, or not that of its name. What cannot be read of it counts as not said. */
export function memberOf(lease: Lease): Member | null {
  const node = lease.spec?.holderIdentity ?? '';
  if (node === '' || lease.metadata.name !== leaseName(node)) return null;
  const list = (annotation: string) => (lease.metadata.annotations?.[annotation] ?? '').split(',').filter(Boolean);
  const networks = list(PREFIXES).flatMap((text): Network[] => {
    const prefix = parsePrefix(text);
    return prefix ? [networkOf(prefix.address, prefix.length)] : [];
  });
  return { node, groups: new Set(list(GROUPS)), networks };
}

/** Names of Leases end at 253 characters, and so do names of nodes. */
export function leaseName(node: string): string {
  return `director-${node}`.slice(0, 253);
}

/**
 * The directors as they are seen here. Nobody is taken for dead on the word of a watch that is behind: that our own renewals come back by
 * it proves that it is not, and after a silence the others have the time of one Lease to show themselves.
 */
export class Members {
  readonly #node: string;
  readonly #observer = new LeaseObserver();
  readonly #members = new Map<string, Member>();
  /** Since when our own renewals have been coming back; null: they do not. Monotonic milliseconds. */
  #hearing: number | null = null;
  #durationMs = 0;

  constructor(node: string) {
    this.#node = node;
  }

  observe(lease: Lease, now: number): void {
    const member = memberOf(lease);
    // A director's Lease is known by its holder; anybody else's object in its place says nothing of the director.
    if (!member) return;
    this.#hear(now);
    this.#observer.observe(lease, now);
    this.#members.set(member.node, member);
    if (member.node !== this.#node) return;
    this.#durationMs = (lease.spec?.leaseDurationSeconds ?? 0) * 1000;
    this.#hear(now);
  }

  forget(lease: Lease): void {
    this.#observer.forget(`${lease.metadata.namespace ?? ''}/${lease.metadata.name}`);
    const member = memberOf(lease);
    if (member) this.#members.delete(member.node);
  }

  /** Those who count as live; nobody when we cannot hear ourselves. */
  live(now: number): readonly Member[] {
    this.#hear(now);
    if (this.#hearing === null) return [];
    if (now - this.#hearing < this.#durationMs) return [...this.#members.values()];
    const live = this.#observer.live(now);
    return [...this.#members.values()].filter((m) => live.has(m.node));
  }

  /** When `live` may say something else without a Lease having changed; null: never. */
  nextChange(now: number): number | null {
    const grace = this.#hearing === null ? null : this.#hearing + this.#durationMs;
    const expiry = this.#observer.nextExpiry(now);
    return grace !== null && grace > now && (expiry === null || grace < expiry) ? grace : expiry;
  }

  #hear(now: number): void {
    if (!this.#observer.live(now).has(this.#node)) this.#hearing = null;
    else this.#hearing ??= now;
  }
}
