/**
 * Duties: what a cluster says of this node beside its programs: which groups it directs for, which VIPs it holds, what it receives for as
 * a real server, which addresses are never VIPs. A host without a cluster has ALONE: it decides by role and labels, and holds all that it
 * directs. Values only; where they come from is cluster/ and ownership/.
 */
import type { Program } from '../api/v1alpha1/program.ts';

export interface Duties {
  /** Names of the groups that this node directs for; null: its role and its labels say. */
  readonly directs: ReadonlySet<string> | null;
  /** VIPs that this node holds as a director; null: all it directs. */
  readonly owned: ReadonlySet<string> | null;
  /** By owner of a program: what this node is to receive for, whether or not the program names it as a real server yet. */
  readonly receives: ReadonlyMap<string, readonly Receiving[]>;
  /** Addresses of nodes and of the API server. */
  readonly reserved: ReadonlySet<string>;
}

/** A VIP, and an address of this node to which directors send what comes for it. */
export interface Receiving {
  readonly vip: string;
  readonly localAddress: string;
}

export const ALONE: Duties = { directs: null, owned: null, receives: new Map(), reserved: new Set() };

/** Whether this node holds a VIP that it directs. */
export function holds({ owned }: Duties, vip: string): boolean {
  return owned === null || owned.has(vip);
}

/** The test whether a program has to be looked at again when duties become others. */
export function concernedBy(before: Duties, after: Duties): (program: Program) => boolean {
  const addresses = new Set([...difference(before.owned, after.owned), ...difference(before.reserved, after.reserved)]);
  const groups = difference(before.directs, after.directs);
  // To hold or to direct everything is no set of anything.
  const all = (before.owned === null) !== (after.owned === null) || (before.directs === null) !== (after.directs === null);
  return ({ owner, spec }) => all || groups.has(spec.directorGroup) || !sameReceiving(before.receives.get(owner), after.receives.get(owner))
    || (addresses.size > 0 && spec.addresses.some((a) => addresses.has(a.address)));
}

function difference(a: ReadonlySet<string> | null, b: ReadonlySet<string> | null): ReadonlySet<string> {
  if (a === null || b === null || a === b) return new Set();
  return new Set([...[...a].filter((x) => !b.has(x)), ...[...b].filter((x) => !a.has(x))]);
}

function sameReceiving(a: readonly Receiving[] = [], b: readonly Receiving[] = []): boolean {
  return a === b || (a.length === b.length && a.every((r, i) => r.vip === b[i]!.vip && r.localAddress === b[i]!.localAddress));
}
