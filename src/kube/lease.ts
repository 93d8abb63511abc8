/**
 * Leases as heartbeats: the renewal of one's own, and who is alive by what was observed here. Being the one that leads is
 * leader-election.ts; all that is about Leases is exported from here.
 */
import type { KubeClient } from './client.ts';
import { isConflict, isNotFound } from './errors.ts';
import { LEASES, renewalTime, sameRecord, type Lease, type LeaseSpec } from './lease-record.ts';
import { keyOf, type ObjectMeta } from './types.ts';

export { LEASES, microTime, type Lease, type LeaseSpec } from './lease-record.ts';
export { LeaderElection, type ElectionOutcome, type LeaderElectionOptions } from './leader-election.ts';

export interface RenewOptions {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'update'>;
  readonly namespace: string;
  readonly name: string;
  readonly identity: string;
  readonly durationSeconds: number;
  /** Set on the Lease, beside whatever labels and annotations it has. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** What the last renewal returned: then one request is enough. */
  readonly last?: Lease | undefined;
  /** Milliseconds since the epoch. */
  readonly wallClock?: () => number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * One renewal of a Lease that is ours alone, made when it is missing: a heartbeat. Whoever else holds it loses it. Returns the Lease, for
 * `last`. Rejects with what the client rejects with; after that the next renewal should go without `last`.
 */
export async function renewLease(options: RenewOptions): Promise<Lease> {
  const { client, namespace, name, identity, durationSeconds, labels, annotations, last, wallClock = Date.now, signal } = options;
  const renewed = (lease: Lease | null): Lease => {
    const time = renewalTime(wallClock(), lease?.spec?.renewTime);
    const mine = lease?.spec?.holderIdentity === identity;
    const metadata: ObjectMeta = {
      ...(lease?.metadata ?? { name, namespace }),
      ...(labels && { labels: { ...lease?.metadata.labels, ...labels } }), ...(annotations && { annotations: { ...lease?.metadata.annotations, ...annotations } }),
    };
    return {
      apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata,
      spec: {
        ...lease?.spec, holderIdentity: identity, leaseDurationSeconds: durationSeconds, renewTime: time,
        ...(!mine && { acquireTime: time, leaseTransitions: lease ? (lease.spec?.leaseTransitions ?? 0) + 1 : 0 }),
      },
    };
  };
  if (last) {
    try {
      return await client.update(LEASES, renewed(last), { signal });
    } catch (error) {
      // Somebody changed or deleted it; look what is there.
      if (!isConflict(error) && !isNotFound(error)) throw error;
    }
  }
  try {
    return await client.update(LEASES, renewed(await client.get(LEASES, name, namespace, { signal })), { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    return await client.create(LEASES, renewed(null), { signal });
  }
}

interface Observed {
  readonly spec: LeaseSpec | undefined;
  readonly holder: string;
  /** When the holder counts as gone, unless it renews. */
  readonly until: number;
}

/**
 * Who is alive, judged by when Leases were seen to change here, on a monotonic clock. A Lease seen for the first time counts as renewed then:
 * nobody can know better, and a dead holder is found out one duration later. Pure but for what it remembers.
 */
export class LeaseObserver {
  readonly #observed = new Map<string, Observed>();

  /** Feed it each version of each Lease. `now`: monotonic milliseconds, the same clock everywhere. */
  observe(lease: Lease, now: number): void {
    const key = keyOf(lease);
    const { spec } = lease;
    const old = this.#observed.get(key);
    // A label that changed, or a relist, is no sign of life.
    if (old && sameRecord(old.spec, spec)) return;
    const seconds = spec?.leaseDurationSeconds ?? 0;
    this.#observed.set(key, { spec, holder: spec?.holderIdentity ?? '', until: seconds > 0 ? now + seconds * 1000 : -Infinity });
  }

  /** The Lease was deleted: its holder is gone at once. `key`: namespace/name. */
  forget(key: string): void {
    this.#observed.delete(key);
  }

  /** The identities of all whose time has not run out. */
  live(now: number): Set<string> {
    const live = new Set<string>();
    for (const { holder, until } of this.#observed.values()) if (holder !== '' && until > now) live.add(holder);
    return live;
  }

  /** When the next of those who live now runs out, on the same clock; null when none lives. */
  nextExpiry(now: number): number | null {
    let next = Infinity;
    for (const { holder, until } of this.#observed.values()) if (holder !== '' && until > now && until < next) next = until;
    return next === Infinity ? null : next;
  }
}
