/**
 * Which pool holds an address, whom it admits, and which address is free: the rules of VIPPool. Pure.
 * Not for who gets it: that is claims.ts.
 */
import type { VIPPool } from '../../api/v1alpha1/index.ts';
import { ADDRESS_BITS, familyOf, fromBigInt, parsePrefix, toBigInt, type Family } from '../../ip/ip.ts';
import type { Cluster } from './cluster.ts';

export interface Range {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}

export interface Pool {
  readonly name: string;
  readonly object: VIPPool;
  readonly ranges: readonly Range[];
  /** What may be allocated: the ranges without their first and last address unless allocateFirstLast. */
  readonly allocatable: readonly Range[];
  readonly excluded: ReadonlySet<string>;
  readonly staticBackends: readonly Range[];
}

export function readPool(object: VIPPool): Pool {
  const ranges: Range[] = [];
  const allocatable: Range[] = [];
  for (const block of object.spec.blocks) {
    const range = block.cidr ? rangeOf(block.cidr) : { family: familyOf(block.start!)!, first: toBigInt(block.start!), last: toBigInt(block.stop!) };
    ranges.push(range);
    // Network and broadcast address of a subnet upset old switches; a single host or a pair (RFC 3021) has none.
    const trim = block.cidr && !object.spec.allocateFirstLast && range.last - range.first > 1n;
    allocatable.push(trim ? { ...range, first: range.first + 1n, last: range.last - 1n } : range);
  }
  return {
    name: object.metadata.name, object, ranges, allocatable, excluded: new Set(object.spec.excluded),
    staticBackends: object.spec.allowStaticBackendCIDRs.map(rangeOf),
  };
}

export function poolHolds(pool: Pool, address: string): boolean {
  return !pool.excluded.has(address) && inRanges(pool.ranges, address);
}

export function inRanges(ranges: readonly Range[], address: string): boolean {
  if (ranges.length === 0) return false;
  const family = familyOf(address);
  const value = toBigInt(address);
  return ranges.some((r) => r.family === family && r.first <= value && value <= r.last);
}

/** Whether the pool admits a namespace. `labels` are the namespace's; a host without a cluster knows none. */
export function admits(pool: Pool, namespace: string, labels: Readonly<Record<string, string>> | null): boolean {
  const { all, names, matchLabels } = pool.object.spec.allowedNamespaces;
  if (all || names?.includes(namespace)) return true;
  if (!matchLabels || !labels) return false;
  return Object.entries(matchLabels).every(([key, value]) => labels[key] === value);
}

/** What a pool says of a namespace of a cluster. Unknown: its labels are not in the cache yet; it is there, but another watch was quicker. */
export function admission(pool: Pool, namespace: string, cluster: Pick<Cluster, 'present' | 'namespaceLabels'>): 'Admitted' | 'Refused' | 'Unknown' {
  const labels = cluster.namespaceLabels(namespace);
  if (admits(pool, namespace, labels)) return 'Admitted';
  return labels === null && cluster.present && pool.object.spec.allowedNamespaces.matchLabels ? 'Unknown' : 'Refused';
}

/** Where the last search in a pool ended: nothing below it is free. Good for one family and as long as nothing is given back. */
export interface Cursor {
  range: number;
  /** null: at the start of the range. */
  value: bigint | null;
}

/**
 * The lowest free address of a family, or null. `takenTo`: null for a free one, or else the last address of what is in its way, as an integer.
 * Moves the cursor.
 */
export function lowestFree(pool: Pool, family: Family, takenTo: (address: string) => bigint | null, cursor: Cursor): string | null {
  for (; cursor.range < pool.allocatable.length; cursor.range++, cursor.value = null) {
    const range = pool.allocatable[cursor.range]!;
    if (range.family !== family) continue;
    // Bounded: one step for each taken or excluded address and each network that is somebody's, once for all searches. A network is passed over
    // whole: of a /64 there would be no end.
    for (let value = cursor.value ?? range.first; value <= range.last; value++) {
      const address = fromBigInt(value, family);
      cursor.value = value;
      if (pool.excluded.has(address)) continue;
      const end = takenTo(address);
      if (end === null) return address;
      value = end;
    }
  }
  return null;
}

export function familiesOf(pool: Pool): Family[] {
  return (['IPv4', 'IPv6'] as const).filter((family) => pool.ranges.some((r) => r.family === family));
}

/** `cidr`: a valid prefix. */
export function rangeOf(cidr: string): Range {
  const { family, address, length } = parsePrefix(cidr)!;
  const first = toBigInt(address);
  return { family, first, last: first | ((1n << BigInt(ADDRESS_BITS[family] - length)) - 1n) };
}
