/**
 * Leader election: at most one of several processes leads, by a Lease that is written with its resourceVersion. Whether the holder is gone is
 * judged by when its record was last seen to change here, on a monotonic clock (client-go's rule); clocks of different machines are never
 * compared. Leading ends renewSeconds after the last renewal that is known to have worked, whether the API server answers or is silent; others
 * wait leaseSeconds. It cannot stop a process that was frozen for longer than that from finishing a write: writes that matter carry a
 * resourceVersion or are creates.
 */
import type { KubeClient } from './client.ts';
import { isAlreadyExists, isConflict, isNotFound } from './errors.ts';
import { LEASES, renewalTime, sameRecord, type Lease, type LeaseSpec } from './lease-record.ts';
import type { Log } from './types.ts';
import { childOf, isAbort, sleep as realSleep, type Sleep } from './wait.ts';

export interface LeaderElectionOptions {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'update'>;
  readonly namespace: string;
  readonly name: string;
  /** Unlike that of every other candidate, also of an earlier process of the same pod name. */
  readonly identity: string;
  /** Others may take over when they saw no renewal for so long. */
  readonly leaseSeconds?: number;
  /** We stop leading when no renewal worked for so long. Less than leaseSeconds. */
  readonly renewSeconds?: number;
  /** Between tries to acquire, and between renewals. Less than renewSeconds. */
  readonly retrySeconds?: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Milliseconds since the epoch; only for the times that people read in the Lease. */
  readonly wallClock: () => number;
  readonly random?: () => number;
  readonly sleep?: Sleep;
  readonly log: Log;
  /**
   * The work of the leader, until its signal aborts. Returning early does not end the leading; a rejection does. The Lease is not given back
   * before the promise settles.
   */
  readonly onStartedLeading: (signal: AbortSignal) => Promise<void> | void;
  /**
   * Leading has ended: called at once when it was lost, whatever the work still does; otherwise when the work has ended and the Lease
   * was given back.
   */
  readonly onStoppedLeading: () => void;
}

/** 'stopped': the signal aborted. 'lost': the lease could not be kept. 'failed': the work of the leader rejected. */
export type ElectionOutcome = 'stopped' | 'lost' | 'failed';

/** Jitter of the tries to acquire, as a part of retrySeconds: candidates that wait for the same moment must not all come at once. */
const JITTER = 0.2;
/** Between two renewals, however little time is left: a server that refuses at once is not asked without end. Milliseconds. */
const LEAST_PAUSE_MS = 100;
/** The Lease that was given back, for whoever reads it without looking at the holder. Seconds. */
const RELEASED_SECONDS = 1;

export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #sleep: Sleep;
  readonly #leaseMs: number;
  readonly #renewMs: number;
  readonly #retryMs: number;
  /** The newest state of the Lease we know, and when its record was first seen. */
  #lease: Lease | null = null;
  #observedAt = 0;
  /** Until when we lead unless a renewal works. */
  #leadingUntil = -Infinity;

  /** Throws TypeError when the times do not fit each other. */
  constructor(options: LeaderElectionOptions) {
    const { leaseSeconds = 15, renewSeconds = 10, retrySeconds = 2 } = options;
    if (!(leaseSeconds > renewSeconds && renewSeconds > retrySeconds * (1 + JITTER) && retrySeconds > 0)) {
      throw new TypeError(`lease ${leaseSeconds} s > renew ${renewSeconds} s > retry ${retrySeconds} s with jitter: they must be in this order`);
    }
    if (options.identity === '') throw new TypeError('a candidate needs an identity');
    this.#options = options;
    this.#sleep = options.sleep ?? realSleep;
    [this.#leaseMs, this.#renewMs, this.#retryMs] = [leaseSeconds * 1000, renewSeconds * 1000, retrySeconds * 1000];
  }

  /** Whether we lead at this moment, by the clock: for a look just before a write. */
  get leading(): boolean { return this.#options.now() < this.#leadingUntil; }

  /** Who holds the Lease as far as is known; '' when nobody does. */
  get holder(): string { return this.#lease?.spec?.holderIdentity ?? ''; }

  /** Waits to be the leader, leads, and resolves when that has ended, the work included; never rejects. Run it again to be a candidate again. */
  async run(signal: AbortSignal): Promise<ElectionOutcome> {
    if (await this.#acquire(signal)) return await this.#lead(signal);
    // The signal may abort while the answer is on its way.
    if (this.leading) await this.#release();
    return 'stopped';
  }

  async #acquire(signal: AbortSignal): Promise<boolean> {
    const { log, identity, name, random = Math.random } = this.#options;
    let told: string | null = null;
    while (!signal.aborted) {
      try {
        if (await this.#within(this.#renewMs, signal, (stop) => this.#tryOnce(stop))) {
          log.info({ lease: name, identity }, 'leading');
          return true;
        }
        if (this.holder !== told) log.info({ lease: name, holder: this.holder }, 'another one leads');
        told = this.holder;
      } catch (error) {
        if (!signal.aborted) log.warn({ lease: name, err: error }, 'cannot acquire the lease');
      }
      await this.#wait(this.#retryMs * (1 + JITTER * random()), signal);
    }
    return false;
  }

  async #lead(signal: AbortSignal): Promise<ElectionOutcome> {
    const { log, name, onStartedLeading } = this.#options;
    const { controller, detach } = childOf(signal);
    let [working, failed] = [true, false];
    const work = (async () => { await onStartedLeading(controller.signal); })()
      .catch((error: unknown) => {
        if (controller.signal.aborted && isAbort(error)) return;
        log.error({ lease: name, err: error }, 'the work of the leader failed');
        failed = true;
        controller.abort();
      })
      .finally(() => { working = false; });
    await this.#keep(controller.signal);
    detach();
    controller.abort();
    // Until the work has ended the lease is needed, so it is kept if it can be.
    const ended = new AbortController();
    void work.then(() => ended.abort());
    while (working && this.leading) await this.#renewLater(ended.signal);
    const lost = !this.leading;
    if (lost) this.#tellStopped();
    await work;
    if (lost) {
      this.#leadingUntil = -Infinity;
    } else {
      await this.#release();
      this.#tellStopped();
    }
    if (failed) return 'failed';
    return signal.aborted ? 'stopped' : 'lost';
  }

  /** Renews until the leading is lost, or the signal aborts. */
  async #keep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.leading) await this.#renewLater(signal);
  }

  /** Waits for the time of the next renewal, and renews. Afterwards `leading` says how it went. */
  async #renewLater(signal: AbortSignal): Promise<void> {
    const { log, name, identity, now } = this.#options;
    const remaining = this.#leadingUntil - now();
    // Not up to the last moment: a renewal takes its time, too, and the answer to the one before may have come late.
    await this.#wait(Math.min(this.#retryMs, remaining, Math.max(remaining / 2, LEAST_PAUSE_MS)), signal);
    if (signal.aborted) return;
    try {
      // Half of the time for one try: a connection that is dead must not cost the lease.
      const left = Math.min(this.#leadingUntil - now(), this.#renewMs / 2);
      if (left > 0 && !await this.#within(left, signal, (stop) => this.#tryOnce(stop)) && this.holder !== identity) this.#leadingUntil = -Infinity;
    } catch (error) {
      if (!signal.aborted) log.warn({ lease: name, err: error }, 'cannot renew the lease');
    }
    if (!this.leading) {
      log.error({ lease: name, holder: this.holder }, this.holder === identity
        ? 'the lease could not be renewed in time; no longer leading'
        : 'another one took the lease; no longer leading');
    }
  }

  #tellStopped(): void {
    try {
      this.#options.onStoppedLeading();
    } catch (error) {
      this.#options.log.error({ lease: this.#options.name, err: error }, 'a listener failed');
    }
  }

  /** One try to be, or stay, the holder. Resolves whether we are. */
  async #tryOnce(signal: AbortSignal): Promise<boolean> {
    const { client, namespace, name, identity, now } = this.#options;
    // The time before the request counts: when it is answered, others may have seen the renewal long ago.
    const startedAt = now();
    const write = async (base: Lease | null): Promise<boolean> => {
      try {
        const lease = this.#claimed(base);
        const written = await (base ? client.update(LEASES, lease, { signal }) : client.create(LEASES, lease, { signal }));
        // Too late: by now the leading may have been given up, and must not come back by itself.
        if (signal.aborted) return false;
        this.#see(written);
        this.#leadingUntil = startedAt + this.#renewMs;
        return true;
      } catch (error) {
        if (!isConflict(error) && !isAlreadyExists(error) && !(base && isNotFound(error))) throw error;
        return false;
      }
    };
    // Usually nobody else has touched our Lease: one request.
    if (this.leading && this.#lease && this.holder === identity && await write(this.#lease)) return true;
    let lease: Lease;
    try {
      lease = await client.get(LEASES, name, namespace, { signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      return await write(null);
    }
    this.#see(lease);
    const { holderIdentity = '', leaseDurationSeconds } = lease.spec ?? {};
    const validMs = leaseDurationSeconds === undefined ? this.#leaseMs : leaseDurationSeconds * 1000;
    if (holderIdentity !== '' && holderIdentity !== identity && now() < this.#observedAt + validMs) return false;
    return await write(lease);
  }

  #see(lease: Lease): void {
    if (!this.#lease || !sameRecord(this.#lease.spec, lease.spec)) this.#observedAt = this.#options.now();
    this.#lease = lease;
  }

  #claimed(base: Lease | null): Lease {
    const { namespace, name, identity, wallClock } = this.#options;
    const old = base?.spec;
    const time = renewalTime(wallClock(), old?.renewTime);
    const held = old?.holderIdentity === identity;
    const spec: LeaseSpec = {
      holderIdentity: identity, leaseDurationSeconds: Math.ceil(this.#leaseMs / 1000), renewTime: time,
      acquireTime: held ? old.acquireTime ?? time : time, leaseTransitions: (old?.leaseTransitions ?? 0) + (base && !held ? 1 : 0),
    };
    return { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: base?.metadata ?? { name, namespace }, spec };
  }

  /** Gives the Lease back, so that the next one need not wait. What fails only makes it wait. */
  async #release(): Promise<void> {
    const { client, log, name, now, wallClock } = this.#options;
    const lease = this.#lease!;
    const left = Math.min(this.#retryMs, this.#leadingUntil - now());
    // From the moment it is sent another may lead, whether or not we hear that it arrived.
    this.#leadingUntil = -Infinity;
    try {
      const spec: LeaseSpec = {
        ...lease.spec,
        holderIdentity: '', leaseDurationSeconds: RELEASED_SECONDS, renewTime: renewalTime(wallClock(), lease.spec?.renewTime),
      };
      this.#lease = await this.#within(left, undefined, (signal) => client.update(LEASES, { ...lease, spec }, { signal }));
      log.info({ lease: name }, 'the lease was given back');
    } catch (error) {
      log.warn({ lease: name, err: error }, 'the lease could not be given back');
    }
  }

  /** Runs `work`, and gives up on it after `ms` whether it takes notice or not. */
  async #within<R>(ms: number, signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<R>): Promise<R> {
    const { controller, detach } = childOf(signal);
    const alarm = new AbortController();
    const given = work(controller.signal);
    // Nobody waits for it any more when the time is up.
    given.catch(() => {});
    try {
      const late = this.#wait(ms, alarm.signal).then(() => {
        if (!alarm.signal.aborted) throw new Error(`no answer within ${Math.round(ms)} ms`);
        return given;
      });
      return await Promise.race([given, late]);
    } finally {
      alarm.abort();
      controller.abort();
      detach();
    }
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#sleep(Math.max(0, ms), signal);
    } catch (error) {
      // Stopped: the caller looks at its signal next.
      if (!isAbort(error)) throw error;
    }
  }
}
