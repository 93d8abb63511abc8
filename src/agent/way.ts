/**
 * Ways: how a real server changes its forwarding mode without a gap. A connection keeps the mode in which it began, but all connections of a
 * destination share its one cached route; DR needs it with the real server as the next hop, NAT and TUN fill it without (ip_vs_xmit.c,
 * IP_VS_RT_MODE_KNOWN_NH), and packets of DR then go to the VIP as their next hop: to nobody. So DR never shares a destination with
 * connections of another mode. Pure; when what leaves is deleted is drain.ts's.
 *
 *   to DR, or from DR to TUN   a second destination, told apart by a port that these modes do not use; the first one drains
 *   from DR to NAT             the port is NAT's, so there is no second one: deleted, which resets its connections, and made anew in the next
 *                              pass, when the kernel has had its time for that, one half after the other. Without connections in place.
 *                              Not needed where NAT goes to another port than the VIP's
 *   between NAT and TUN        in place
 */
import { compareKeys, DestinationTable } from '../kernel/ipvs/destinations.ts';
import { destinationKey, type Destination, type ForwardingMethod, type Service } from '../kernel/ipvs/types.ts';

export interface Ways {
  /** What is wanted, under the keys that it is to have now. */
  readonly wanted: DestinationTable;
  /** Keys of destinations that stand in the way of themselves: to be deleted first, now, or after others were made anew. */
  readonly remade: ReadonlyMap<string, 'now' | 'later'>;
}

const NONE: Ways['remade'] = new Map();

/** The very table where nothing changes its mode, which is nearly always. */
export function waysOf(wanted: DestinationTable, observed: DestinationTable): Ways {
  if (!mayCollide(wanted, observed)) return { wanted, remade: NONE };
  const present = new Map(observed.toArray().map((d, i) => [destinationKey(d), { method: d.method, idle: observed.active(i) + observed.inactive(i) === 0 }]));
  const at = (d: Destination) => present.get(destinationKey(d));
  const remade: string[] = [];
  const own = wanted.toArray().map((d) => {
    const first = at(d);
    const other = { ...d, port: otherPort(d.port) };
    const second = d.method === 'masq' ? undefined : at(other);
    if (second?.method === d.method && first?.method !== d.method) return other;
    if (!first || together(first.method, d.method)) return d;
    // Even without connections: one may begin before the kernel hears of it, and DR would lose all that follow.
    if (d.method !== 'masq' && !second) return other;
    if (first.idle) return d;
    remade.push(destinationKey(d));
    return d;
  });
  // Somebody has to take new connections meanwhile: whoever is added now or stays, else one half.
  const now = remade.length === own.length ? Math.ceil(remade.length / 2) : remade.length;
  return { wanted: DestinationTable.from(own), remade: new Map(remade.map((key, i) => [key, i < now ? 'now' : 'later'])) };
}

/** The key of a destination's real server as it is wanted, whichever of its two this is. */
export function wantedKey(service: Service, destination: Destination): string {
  return destinationKey(destination.method === 'masq' ? destination : { ...destination, port: service.port });
}

/** A port of a second destination for the same real server: of no meaning but to tell them apart. */
function otherPort(port: number): number { return port === 0 ? 1 : 0; }

/** Whether connections of both modes may be on one destination. */
function together(a: ForwardingMethod, b: ForwardingMethod): boolean {
  return a === b || (a !== 'direct' && b !== 'direct');
}

/** Whether some key has another mode than is wanted, or some real server a second destination. Allocates nothing. */
function mayCollide(a: DestinationTable, b: DestinationTable): boolean {
  for (let i = 0, k = 0; k < b.length;) {
    const order = i >= a.length ? 1 : compareKeys(a.words, i, b.words, k);
    if (order < 0) i++;
    else if (order > 0) {
      if (b.method(k) !== 'masq' && b.port(k) < 2) return true;
      k++;
    } else {
      if (!together(a.method(i), b.method(k))) return true;
      i++;
      k++;
    }
  }
  return false;
}
