/**
 * Pools that admit exactly the VIPs of a table and the real servers behind them: blocks without a gap, networks without a stranger.
 * A pool has at most 64 of each, so there may be several; only where the real servers of one VIP lie in more than 64 places do its
 * networks become wider than needed. Pure.
 */
import { VIPPoolModel, type IVIPPool } from '../api/v1alpha1/models.ts';
import { MAX_BLOCKS, MAX_STATIC_CIDRS } from '../api/v1alpha1/vocabulary.ts';
import { ADDRESS_BITS, fromBigInt, toBigInt, type Family } from '../ip/ip.ts';
import { familyOfAddress, type TableEntry } from './ipvs-table.ts';

/** Addresses from first to last, both included. */
interface Interval {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}

export interface Pools {
  readonly pools: IVIPPool[];
  /** VIPs whose real servers are allowed by networks wider than needed. */
  readonly coarse: string[];
}

/** `entries` sorted by address; `namespace` of the VirtualServers that take from the pools, `pool` the name of the one pool or of all, numbered. */
export function poolsFor(entries: readonly TableEntry[], { namespace, pool }: { readonly namespace: string; readonly pool: string }): Pools {
  const byVip = Map.groupBy(entries, ({ service }) => service.address);
  const drafts: { blocks: Interval[]; servers: Interval[] }[] = [];
  const coarse: string[] = [];
  for (const [vip, own] of byVip) {
    const exact = join(own.flatMap(({ destinations }) => destinations.map((d) => single(d.address))));
    const servers = cidrsOf(exact).length <= MAX_STATIC_CIDRS ? exact : widen(exact);
    if (servers !== exact) coarse.push(vip);
    const last = drafts.at(-1);
    const blocks = join([...(last?.blocks ?? []), single(vip)]);
    const all = join([...(last?.servers ?? []), ...servers]);
    if (last && blocks.length <= MAX_BLOCKS && cidrsOf(all).length <= MAX_STATIC_CIDRS) Object.assign(last, { blocks, servers: all });
    else drafts.push({ blocks: [single(vip)], servers: [...servers] });
  }
  const pools = drafts.map(({ blocks, servers }, i) => new VIPPoolModel({
    metadata: { name: drafts.length === 1 ? pool : `${pool}-${i + 1}` },
    spec: {
      blocks: blocks.map(({ family, first, last }) => (first === last
        ? { cidr: `${fromBigInt(first, family)}/${ADDRESS_BITS[family]}` }
        : { start: fromBigInt(first, family), stop: fromBigInt(last, family) })),
      // Addresses are pinned; nothing of a table that was imported is for others to be allocated.
      autoAssign: false,
      allowedNamespaces: { names: [namespace] },
      ...(servers.length > 0 ? { allowStaticBackendCIDRs: cidrsOf(servers) } : {}),
    },
  }).toJSON() as IVIPPool);
  return { pools, coarse };
}

function single(address: string): Interval {
  const value = toBigInt(address);
  return { family: familyOfAddress(address), first: value, last: value };
}

/** Sorted, with neighbours joined. */
function join(intervals: readonly Interval[]): Interval[] {
  const joined: Interval[] = [];
  for (const i of intervals.toSorted((a, b) => (a.family !== b.family ? (a.family < b.family ? -1 : 1) : a.first < b.first ? -1 : a.first > b.first ? 1 : 0))) {
    const before = joined.at(-1);
    if (before?.family === i.family && i.first <= before.last + 1n) joined[joined.length - 1] = { ...before, last: i.last > before.last ? i.last : before.last };
    else joined.push(i);
  }
  return joined;
}

/** The fewest prefixes that hold exactly these addresses. */
function cidrsOf(intervals: readonly Interval[]): string[] {
  const cidrs: string[] = [];
  for (const { family, first, last } of intervals) {
    for (let at = first; at <= last;) {
      let hostBits = 0;
      // As large as its alignment and what is left allow.
      while (hostBits < ADDRESS_BITS[family] && at % (1n << BigInt(hostBits + 1)) === 0n && at + (1n << BigInt(hostBits + 1)) - 1n <= last) hostBits++;
      cidrs.push(`${fromBigInt(at, family)}/${ADDRESS_BITS[family] - hostBits}`);
      at += 1n << BigInt(hostBits);
    }
  }
  return cidrs;
}

/** Grows every interval to whole networks, bit by bit, until a pool can list them. */
function widen(intervals: readonly Interval[]): Interval[] {
  for (let hostBits = 1n; ; hostBits++) {
    const wide = join(intervals.map(({ family, first, last }) => {
      const bits = hostBits < ADDRESS_BITS[family] ? hostBits : BigInt(ADDRESS_BITS[family]);
      return { family, first: (first >> bits) << bits, last: (((last >> bits) + 1n) << bits) - 1n };
    }));
    if (cidrsOf(wide).length <= MAX_STATIC_CIDRS) return wide;
  }
}
