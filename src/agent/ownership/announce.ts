/**
 * When a VIP is announced again. The plan announces it once, at the moment it is bound; neighbours ignore an update within a second of
 * another (locktime of their ARP table), and a switch that relearns or a router that was away has heard nothing. So: again after one
 * and two seconds, then once a minute. No clock of its own: times are arguments, sending is the caller's.
 */
import type { VipAddress } from '../../kernel/net/types.ts';

/** Milliseconds after the first announcement; Linux' locktime is one second (net.ipv4.neigh.*.locktime). */
const REPEATS_MS = [1_000, 2_000] as const;
/** Longest silence: far below the minutes after which switches and routers forget. */
const EVERY_MS = 60_000;
/** At most this many a call: each is two packets and 0.2 ms, and changes wait for them. What is due and does not fit is due at the next call. */
export const ANNOUNCE_AT_ONCE = 16;

/** What is waited for after each announcement; the last of them again and again. */
const WAITS_MS = [REPEATS_MS[0], REPEATS_MS[1] - REPEATS_MS[0], EVERY_MS] as const;

/** Who is announced when. It looks at all VIPs only when they are others, and else at those that are due: there are thousands. */
export class Announcements {
  #vips: ReadonlyMap<string, VipAddress> = new Map();
  /** By wait: keys with when they are due, monotonic milliseconds. All of one queue wait equally long, so the first to come is the first due. */
  readonly #queues: readonly Map<string, number>[] = WAITS_MS.map(() => new Map());

  /**
   * Which of the VIPs that this node holds (by `link address`; the same object until they are others) are to be announced now. One that was not
   * among them was just bound (and announced by the plan) or was held before this process began; either way its repeats begin now. `next`: when
   * the next of them is due. `now` never goes back.
   */
  due(vips: ReadonlyMap<string, VipAddress>, now: number): { readonly due: VipAddress[]; readonly next: number } {
    if (vips !== this.#vips) this.#take(vips, now);
    const due: VipAddress[] = [];
    for (const [i, queue] of this.#queues.entries()) {
      const then = Math.min(i + 1, WAITS_MS.length - 1);
      for (const [key, at] of queue) {
        if (at > now || due.length >= ANNOUNCE_AT_ONCE) break;
        due.push(vips.get(key)!);
        queue.delete(key);
        this.#queues[then]!.set(key, now + WAITS_MS[then]!);
      }
    }
    return { due, next: Math.min(...this.#queues.map((queue) => queue.values().next().value ?? Infinity)) };
  }

  /** Somebody else may have been believed meanwhile: all of them as if they were just bound. */
  again(now: number): void {
    const vips = this.#vips;
    this.#take(new Map(), now);
    this.#take(vips, now);
  }

  #take(vips: ReadonlyMap<string, VipAddress>, now: number): void {
    for (const queue of this.#queues) for (const key of queue.keys()) if (!vips.has(key)) queue.delete(key);
    for (const key of vips.keys()) if (!this.#vips.has(key)) this.#queues[0]!.set(key, now + WAITS_MS[0]);
    this.#vips = vips;
  }
}
