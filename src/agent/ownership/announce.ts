/**
 * When a VIP is announced again. The plan announces it once, at the moment it is bound; neighbours ignore an update within a second of
 * another (locktime of their ARP table), and a switch that relearns or a router that was away has heard nothing. So: again after one
 * and two seconds, then once a minute. Pure: times are arguments, sending is the caller's.
 */
import type { VipAddress } from '../../kernel/net/types.ts';

/** Milliseconds after the first announcement; Linux' locktime is one second (net.ipv4.neigh.*.locktime). */
const REPEATS_MS = [1_000, 2_000] as const;
/** Longest silence: far below the minutes after which switches and routers forget. */
const EVERY_MS = 60_000;
/** At most this many a call: each is two packets and 0.2 ms, and changes wait for them. What is due and does not fit is due at the next call. */
export const ANNOUNCE_AT_ONCE = 16;

export interface AnnounceState {
  /** How many of REPEATS_MS are done. */
  readonly done: number;
  /** Monotonic milliseconds. */
  readonly next: number;
}

/** By `link address`. */
export type AnnounceStates = ReadonlyMap<string, AnnounceState>;

/**
 * Which of the VIPs that this node holds are to be announced now. A VIP that was not in `states` was just bound (and announced by the
 * plan) or was held before this process began; either way its repeats begin now. `next`: when the next of them is due.
 */
export function dueAnnouncements(states: AnnounceStates, vips: ReadonlyMap<string, VipAddress>, now: number): { due: VipAddress[]; states: AnnounceStates; next: number } {
  const due: VipAddress[] = [];
  const next = new Map<string, AnnounceState>();
  let first = Infinity;
  for (const [key, vip] of vips) {
    const state = states.get(key) ?? { done: 0, next: now + REPEATS_MS[0] };
    if (state.next > now || due.length >= ANNOUNCE_AT_ONCE) {
      next.set(key, state);
      first = Math.min(first, state.next);
      continue;
    }
    due.push(vip);
    const done = Math.min(state.done + 1, REPEATS_MS.length);
    const wait = done < REPEATS_MS.length ? REPEATS_MS[done]! - REPEATS_MS[done - 1]! : EVERY_MS;
    next.set(key, { done, next: now + wait });
    first = Math.min(first, now + wait);
  }
  return { due, states: next, next: first };
}
