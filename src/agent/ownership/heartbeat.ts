/**
 * Heartbeat: renews this director's Lease, with what it says of itself. One Lease for all its groups and VIPs. It fails silently for as long as
 * the API server is away: others then see the Lease run out, ask the network, and are answered by this node's kernel.
 */
import type { KubeClient } from '../../kube/client.ts';
import { renewLease, type Lease } from '../../kube/lease.ts';
import type { Log } from '../../kube/types.ts';
import { isAbort, sleep as realSleep, type Sleep } from '../../kube/wait.ts';
import { annotationsOf, DIRECTOR_LEASE_LABEL, leaseName, type Profile } from './membership.ts';

export interface HeartbeatOptions {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'update'>;
  readonly namespace: string;
  readonly node: string;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Milliseconds since the epoch; for people who read the Lease. */
  readonly wallClock: () => number;
  /** 0 <= x < 1. */
  readonly random: () => number;
  readonly log: Log;
  /** Called when a renewal worked after a silence so long that others may have taken this director for dead. */
  readonly onReturn?: () => void;
  readonly sleep?: Sleep;
}

export interface Beat {
  readonly profile: Profile;
  readonly durationSeconds: number;
  readonly renewSeconds: number;
  /** It is said once, and then nothing more. */
  readonly last?: true;
}

/** A renewal that has not been answered by then is given up, and tried again. Milliseconds. */
const MIN_TIMEOUT_MS = 1_000;
/** Part of the interval that is left to chance: a hundred directors must not renew at the same moment. */
const JITTER = 0.1;

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #beat: Beat | null = null;
  #last: Lease | undefined;
  #renewedAt = -Infinity;
  #wake: (() => void) | null = null;
  #failing = false;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  /** When the last renewal that worked was begun; monotonic milliseconds. */
  get renewedAt(): number { return this.#renewedAt; }

  /** What to say, from now on; null: nothing, this node is no director. News are told at once. */
  set(beat: Beat | null): void {
    const before = this.#beat;
    if (JSON.stringify(before) === JSON.stringify(beat)) return;
    // Who ceases to be a director says so once: nobody should wait for it to run out.
    this.#beat = beat ?? (before && before.profile.groups.length > 0 ? { ...before, profile: { groups: [], prefixes: [] }, last: true } : null);
    this.#wake?.();
  }

  /** Resolves when the signal aborts. The Lease is left as it is: an agent that comes back in time keeps everything. */
  async run(signal: AbortSignal): Promise<void> {
    const { random, sleep = realSleep } = this.#options;
    while (!signal.aborted) {
      const beat = this.#beat;
      const told = beat !== null && await this.#renew(beat, signal);
      if (told && beat.last && this.#beat === beat) this.#beat = null;
      if (this.#beat !== beat && this.#beat !== null) continue;
      const interval = (this.#beat?.renewSeconds ?? 60) * 1000 * (1 - JITTER * random());
      const wake = new AbortController();
      this.#wake = () => wake.abort();
      try {
        await sleep(beat !== null && !told ? Math.min(interval, 1_000) : interval, AbortSignal.any([signal, wake.signal]));
      } catch (error) {
        if (!isAbort(error)) throw error;
      } finally {
        this.#wake = null;
      }
    }
  }

  async #renew({ profile, durationSeconds, renewSeconds }: Beat, signal: AbortSignal): Promise<boolean> {
    const { client, namespace, node, now, wallClock, log } = this.#options;
    const began = now();
    const last = this.#last;
    this.#last = undefined;
    try {
      this.#last = await renewLease({
        client, namespace, name: leaseName(node), identity: node, durationSeconds, wallClock,
        labels: { [DIRECTOR_LEASE_LABEL.name]: DIRECTOR_LEASE_LABEL.value },
        annotations: annotationsOf(profile),
        ...(last && { last }),
        signal: AbortSignal.any([signal, AbortSignal.timeout(Math.max(MIN_TIMEOUT_MS, renewSeconds * 1000))]),
      });
      const silentMs = began - this.#renewedAt;
      this.#renewedAt = began;
      if (this.#failing) log.info({ lease: leaseName(node) }, 'Lease renewed again');
      this.#failing = false;
      if (silentMs > durationSeconds * 1000 && silentMs < Infinity) this.#options.onReturn?.();
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      if (!this.#failing) log.warn({ lease: leaseName(node), err: error }, 'Lease not renewed; trying on');
      this.#failing = true;
      return false;
    }
  }
}
