/**
 * Who is live, by Leases, in one look: whose renewal is recent by our clock is; for the others we wait whether they renew while we look,
 * because two clocks may differ. So a dead director costs its Lease's duration once, and nobody is called dead for a wrong clock.
 */
import type { Lease } from '../kube/lease.ts';
import type { Sleep } from '../kube/wait.ts';
import type { SeenLease } from './explain-facts.ts';

export interface LeaseClock {
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Milliseconds since the epoch. */
  readonly wallClock: () => number;
  readonly sleep: Sleep;
  readonly signal: AbortSignal;
  /** Told of what is waited for. */
  readonly onWait: (leases: readonly string[], seconds: number) => void;
}

/** A renewal from further in the future than this is of another clock. Milliseconds. */
const SKEW_MS = 2_000;
/** Between two looks. Milliseconds. */
const LOOK_MS = 1_000;
/** Longest duration of a director's Lease (DirectorGroup.spec.failover); nobody is waited for longer. Milliseconds. */
const MAX_WAIT_MS = 60_000;

/** By name. `again` lists the same Leases as they are then. `concerns`: only these are waited for. */
export async function seeLeases(
  first: readonly Lease[],
  again: () => Promise<readonly Lease[]>,
  concerns: (lease: Lease) => boolean,
  clock: LeaseClock,
): Promise<Map<string, SeenLease>> {
  const { now, wallClock, sleep, signal, onWait } = clock;
  const seen = new Map<string, SeenLease>();
  const doubtful = new Map<string, { readonly renewTime: string | undefined; readonly until: number }>();
  const start = now();
  for (const lease of first) {
    const { holderIdentity, renewTime, leaseDurationSeconds = 0 } = lease.spec ?? {};
    const age = wallClock() - Date.parse(renewTime ?? '');
    const durationMs = leaseDurationSeconds * 1000;
    const live = Boolean(holderIdentity) && age >= -SKEW_MS && age <= durationMs;
    seen.set(lease.metadata.name, { lease, live });
    // Nobody holds it, or nobody ever did: there is no doubt.
    if (!live && holderIdentity && durationMs > 0 && concerns(lease)) {
      doubtful.set(lease.metadata.name, { renewTime, until: start + Math.min(durationMs, MAX_WAIT_MS) });
    }
  }
  if (doubtful.size > 0) onWait([...doubtful.keys()], Math.ceil((Math.max(...[...doubtful.values()].map((d) => d.until)) - start) / 1000));
  while (doubtful.size > 0) {
    await sleep(LOOK_MS, signal);
    for (const lease of await again()) {
      const doubt = doubtful.get(lease.metadata.name);
      if (!doubt || lease.spec?.renewTime === doubt.renewTime) continue;
      seen.set(lease.metadata.name, { lease, live: Boolean(lease.spec?.holderIdentity) });
      doubtful.delete(lease.metadata.name);
    }
    for (const [name, { until }] of doubtful) if (now() >= until) doubtful.delete(name);
  }
  return seen;
}
