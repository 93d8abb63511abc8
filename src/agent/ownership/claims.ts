/**
 * Claims: what a director does about one VIP now, from what the API server says, who is live, and what it has. Pure; doing it is claimer.ts.
 *
 *            elected, nobody holds it                    probe silent, name written
 *     free ─────────────────────────────> claiming ────────────────────────────────> held
 *       ▲                                     │ answered, or another was quicker        │
 *       │<────────────────────────────────────┘  (again in a second)                    │
 *       │<── released: name taken off, after the address is gone ──── withdrawn <───────┘ another's name stands there,
 *                                                                                         or it is not ours to serve any more
 *
 * Two directors never hold an address at the same time: the network is asked first, the name is written only in the state that was seen
 * (resourceVersion), and whoever sees another's name lets go. An owner that cannot be heard but whose kernel still answers keeps it.
 * Not promised: an owner that was cut off from the network and the API server, lost its VIPs to others, and comes back to the network without
 * the API server (or without its agent) has them still, beside the others, until it hears.
 */
import { elect, type Electable, type Member } from './election.ts';

/** A VIP of a group that this node directs for. */
export interface ClaimedVip extends Electable {
  /** From its VirtualIP; null while that was never seen, or is gone. */
  readonly status: { readonly activeNode: string; readonly epoch: number } | null;
  /** A program in force here wants it. */
  readonly wanted: boolean;
  /** This node could serve it now: a NIC with a carrier, and nothing of its programs refused. */
  readonly fit: boolean;
}

/** What this node knows of itself about a VIP. */
export interface Standing {
  /** It may have the address. */
  readonly held: boolean;
  /** Our own name is written there, and the watch has not brought it back yet. */
  readonly unseen: boolean;
  /** The address is on one of its NICs. */
  readonly present: boolean;
  /** Since when it has had no live owner; null: it has one, or this was not looked at yet. Monotonic milliseconds. */
  readonly orphanSince: number | null;
}

export type Step =
  | { readonly kind: 'none' | 'keep' }
  /** Nobody live holds it, but others are to try first. */
  | { readonly kind: 'wait' }
  /** It is ours by name and by kernel: go on with it. */
  | { readonly kind: 'adopt' }
  /** Ask the network, write our name, have it. `first`: no candidate comes before us, so whoever else wants it is to let us. */
  | { readonly kind: 'claim'; readonly first: boolean }
  /** We have it and nobody's name is there: write ours. */
  | { readonly kind: 'assert' }
  /** Let go of the address at once. */
  | { readonly kind: 'withdraw'; readonly reason: 'lost' | 'unwanted' | 'yielded' }
  /** The address is gone: take our name off. */
  | { readonly kind: 'release' };

export interface Situation {
  readonly node: string;
  /** Live directors, with this node when it is live. Empty: the API server is not heard, and nothing new is begun. */
  readonly members: readonly Member[];
  readonly now: number;
  /** How long each candidate has before the next one may try, in milliseconds: one that is elected and stuck must not leave a VIP without owner. */
  readonly patienceMs: number;
}

/** `orphan`: whether it has no live owner, for Standing.orphanSince of the next time. */
export function decide(vip: ClaimedVip, standing: Standing, situation: Situation): { readonly step: Step; readonly orphan: boolean } {
  const { node, members } = situation;
  const activeNode = vip.status?.activeNode ?? '';
  if (standing.held) return { step: whileHeld(vip, standing, activeNode, situation), orphan: false };
  const none = { step: { kind: 'none' }, orphan: false } as const;
  if (vip.status === null || members.length === 0) return none;
  const ours = activeNode === node;
  if (!vip.wanted || !vip.fit) return ours && !standing.present ? { step: { kind: 'release' }, orphan: true } : none;
  const { order, settled } = elect(vip, activeNode, members);
  const rank = order.indexOf(node);
  if (settled) return rank < 0 ? none : { step: standing.present ? { kind: 'adopt' } : { kind: 'claim', first: true }, orphan: true };
  // Still there from before: it has to go before anything else.
  if (ours) return standing.present ? none : { step: { kind: 'release' }, orphan: true };
  if (rank < 0) return { ...none, orphan: true };
  const waited = standing.orphanSince === null ? 0 : situation.now - standing.orphanSince;
  return { step: waited >= rank * situation.patienceMs ? { kind: 'claim', first: rank === 0 } : { kind: 'wait' }, orphan: true };
}

function whileHeld(vip: ClaimedVip, { unseen }: Standing, activeNode: string, { node, members }: Situation): Step {
  if (!vip.wanted) return { kind: 'withdraw', reason: 'unwanted' };
  // A VirtualIP that is gone will be made again; until then the address serves.
  if (vip.status === null || unseen) return { kind: 'keep' };
  if (activeNode !== '' && activeNode !== node) return { kind: 'withdraw', reason: 'lost' };
  if (members.length === 0) return { kind: 'keep' };
  const { order } = elect(vip, node, members);
  // Others can have it and we should not: a NIC that lost its network, or a VIP whose real servers are elsewhere.
  if (order.length > 0 && !order.includes(node)) return { kind: 'withdraw', reason: 'yielded' };
  return activeNode === '' ? { kind: 'assert' } : { kind: 'keep' };
}
