/**
 * The way of a Forwarded check: an IPVS service of our own for each real server, by a mark that only checks bear, with that real server as
 * its only destination. A marked packet to any VIP and port then goes to this one, as a client's packet would: forwarding method, tunnel, and
 * the VIP on the real server. Pure; who applies the services is plan's, who marks sockets is flights.ts.
 *
 * What it needs, proved in test/kernel/net/forwarded.test.ts:
 * - A source that is an address of the director and no VIP. On the director that holds the VIP the kernel would choose the VIP itself, and
 *   answers to that never leave the real server.
 * - On the director that holds the VIP, for IPv4: net.ipv4.conf.LINK.accept_local = 1 where the answers come in. They bear the VIP as source,
 *   which is this node's own address, and the kernel drops that as forged. IPv6 does not look, and directors that do not hold it need nothing.
 * - No strict reverse path filter (rp_filter 1) on that link, unless it is the VIP's link.
 * - No rule of ours or of others that sets a mark on what this node itself sends to VIPs.
 */
import { createHash } from 'node:crypto';
import { ADDRESS_BITS, type Family } from '../../ip/ip.ts';
import { SERVICE_FLAG, type Destination, type Service } from '../../kernel/ipvs/types.ts';

/** 0x4a000000 + 20 bits: beside those of port ranges (controller/compile/marks.ts), clear of kube-proxy's and of small numbers. */
export const CHECK_MARK_BASE = 0x4a00_0000;
const CHECK_MARKS = 0x10_0000;

/** A real server as a destination of some service of a VIP of `family`. Port, weight and limits do not matter. */
export interface ForwardedTo {
  readonly family: Family;
  readonly destination: Destination;
}

export interface ForwardedWay {
  readonly mark: number;
  readonly service: Service;
  readonly destination: Destination;
}

/** Names a way: real servers are one for all VIPs, ports and services that reach them alike. */
export function wayName({ family, destination: d }: ForwardedTo): string {
  return d.method === 'tunnel' ? `${family} tunnel ${d.address} ${d.tunnelType} ${d.tunnelPort} ${d.tunnelFlags}` : `${family} ${d.method} ${d.address}`;
}

/**
 * A way for each, by wayName(). Those that `before` knows keep their mark, so that checks go on undisturbed; others get one by a hash of the
 * name, the same after a restart unless two meet. At most 1,048,576; what is beyond has none.
 */
export function forwardedWays(wanted: Iterable<ForwardedTo>, before: ReadonlyMap<string, ForwardedWay> = new Map()): Map<string, ForwardedWay> {
  const byName = new Map<string, ForwardedTo>();
  for (const one of wanted) byName.set(wayName(one), one);
  const ways = new Map<string, ForwardedWay>();
  const used = new Set<number>();
  for (const [name, one] of byName) {
    const known = before.get(name);
    if (known === undefined) continue;
    ways.set(name, wayOf(one, known.mark));
    used.add(known.mark);
  }
  for (const [name, one] of [...byName].filter(([n]) => !ways.has(n)).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (used.size >= CHECK_MARKS) break;
    let slot = createHash('sha256').update(name).digest().readUInt32BE(0) % CHECK_MARKS;
    while (used.has(CHECK_MARK_BASE + slot)) slot = (slot + 1) % CHECK_MARKS;
    ways.set(name, wayOf(one, CHECK_MARK_BASE + slot));
    used.add(CHECK_MARK_BASE + slot);
  }
  return ways;
}

/** Whether a service with this mark is one of ours for checks: no foreign service, and none that anybody counts. */
export function isCheckMark(mark: number): boolean {
  return mark >= CHECK_MARK_BASE && mark < CHECK_MARK_BASE + CHECK_MARKS;
}

function wayOf({ family, destination }: ForwardedTo, mark: number): ForwardedWay {
  return {
    mark,
    service: {
      family, protocol: 'TCP', address: '', port: 0, fwmark: mark, scheduler: 'rr',
      // A UDP check would otherwise leave an entry in the connection table for five minutes; TCP does not look at it.
      flags: SERVICE_FLAG.onePacket, timeoutSeconds: 0, prefixLength: ADDRESS_BITS[family], engine: '',
    },
    destination: { ...destination, port: 0, weight: 1, upper: 0, lower: 0 },
  };
}
