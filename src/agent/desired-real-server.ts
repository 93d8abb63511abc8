/**
 * The real server's part of a program in DR and TUN mode: the VIP where only this host can see it, silence on ARP about it, and for
 * TUN the device that unpacks what directors send. NAT asks nothing of a real server that we may change (its default route is not ours).
 */
import { createHash } from 'node:crypto';
import { realServersFor, parseRealServer, type Program, type ProgramAddress, type ProgramTunnel, type RealServer } from '../api/v1alpha1/program.ts';
import { familyOf, type Family } from '../ip/ip.ts';
import type { FouPort, MssRule, Tunnel } from '../kernel/net/types.ts';
import type { Receiving } from './duties.ts';
import type { NodeIndex } from './facts.ts';
import { NO_NEEDS, type NodeNeeds, type SysctlWant, type VipBinding } from './state.ts';

/**
 * Bytes that a tunnel adds, outer IPv4; an outer IPv6 header is 20 longer. RFC 2003, RFC 2784 (+4 with checksum), draft-ietf-intarea-gue
 * (UDP 8 + GUE 4, private data 4 + 4 for remote checksum).
 */
const OVERHEAD = { IPIP: 20, GRE: 24, GUE: 32 } as const;
const IPV6_OUTER_EXTRA = 20;
/** IP and TCP headers without options. */
const TCP_HEADERS: Record<Family, number> = { IPv4: 40, IPv6: 60 };

/** `local`: real-server addresses of this node. `asked`: what it is to receive for besides what the program says. */
export function desiredRealServer(
  program: Program,
  vips: readonly ProgramAddress[],
  local: ReadonlySet<string>,
  asked: readonly Receiving[],
  index: NodeIndex,
): NodeNeeds {
  const { mode, tunnel } = program.spec;
  const bindings: VipBinding[] = [];
  const tunnels = new Map<string, Tunnel>();
  const fou = new Map<string, FouPort>();
  const sysctls = new Map<string, SysctlWant>();
  const want = (path: string, value: string) => sysctls.set(path, { path, value });
  const mss: MssRule[] = [];
  for (const { address, family } of vips) {
    const mine = receiving(program, { address, family }, local, asked);
    if (mine.length === 0) continue;
    if (family === 'IPv4') {
      // The maximum of all and the interface counts: `all` also covers NICs that come later. lo has no effect (RFC 826 is answered per NIC).
      want('net/ipv4/conf/all/arp_ignore', '1');
      want('net/ipv4/conf/all/arp_announce', '2');
    }
    if (mode === 'DR') {
      bindings.push({ vip: { link: loopback(index), family, address }, announce: false });
      continue;
    }
    for (const [i, rip] of mine.entries()) {
      const device = tunnelFor(tunnel!, rip, family);
      tunnels.set(device.name, device);
      if (family === 'IPv4') {
        // Only 0 is always right on a tunnel: 2 rejects everything on a device without an address of the packet's kind. IPv6 has no such filter.
        want('net/ipv4/conf/all/rp_filter', '0');
        want(`net/ipv4/conf/${device.name}/rp_filter`, '0');
      }
      if (tunnel!.encapsulation === 'GUE') {
        const outer = familyOf(rip)!;
        fou.set(`${outer} ${tunnel!.port}`, { family: outer, port: tunnel!.port });
      }
      // One device holds the VIP, whichever others receive for it.
      if (i === 0) bindings.push({ vip: { link: device.name, family, address }, announce: false });
      const nic = index.links.get(index.endpoints.get(rip)?.link ?? '');
      if (nic && !nic.loopback) mss.push({ family, vip: address, mss: nic.mtu - overhead(tunnel!, familyOf(rip)!) - TCP_HEADERS[family] });
    }
  }
  if (bindings.length === 0) return NO_NEEDS;
  return {
    vips: bindings, tunnels: [...tunnels.values()], fou: [...fou.values()], sysctls: [...sysctls.values()],
    sourceNat: [], marks: [], mss: index.facts.netfilter ? mss : [],
  };
}

/** This node's real-server addresses at which it receives what comes for a VIP. */
export function receiving({ spec }: Program, vip: ProgramAddress, local: ReadonlySet<string>, asked: readonly Receiving[]): string[] {
  const found = new Set<string>();
  const here = asked.filter((r) => r.vip === vip.address && local.has(r.localAddress)).map((r) => r.localAddress);
  const more = here.map((address): RealServer => ({ address, port: 0, weight: 0, node: '' }));
  for (const service of spec.services) {
    const all = service.realServers.flatMap((text) => parseRealServer(text) ?? []);
    for (const r of realServersFor(spec.mode, [...all, ...more], vip.family)) if (local.has(r.address)) found.add(r.address);
  }
  // DR does not cross families, but whoever asks waits until the VIP is there, whichever packets come.
  if (found.size === 0 && here.length > 0 && spec.mode === 'DR') return here.sort();
  return [...found].sort();
}

/** A device of our own, not the module's tunl0: others use that one, and a named device can be told from theirs and removed. */
function tunnelFor(tunnel: ProgramTunnel, rip: string, inner: Family): Tunnel {
  const outer = familyOf(rip)!;
  const kind: Tunnel['kind'] = tunnel.encapsulation === 'GRE' ? (outer === 'IPv4' ? 'gre' : 'ip6gre')
    : outer === 'IPv6' ? 'ip6tnl'
    : inner === 'IPv4' ? 'ipip' : 'sit';
  const checksum = kind === 'gre' && tunnel.checksum === 'Checksum';
  const code = { ipip: 'ip', sit: 'si', gre: 'gr', ip6tnl: '6t', ip6gre: '6g' }[kind];
  const hash = createHash('sha256').update(`${kind} ${rip} ${checksum}`).digest('hex').slice(0, 8);
  return { name: `ivs${code}${hash}`, kind, local: rip, checksum };
}

function overhead(tunnel: ProgramTunnel, outer: Family): number {
  const gre = tunnel.encapsulation === 'GRE' && tunnel.checksum === 'Checksum' ? 4 : 0;
  const gue = tunnel.encapsulation === 'GUE' && tunnel.checksum === 'RemoteChecksum' ? 8 : 0;
  return OVERHEAD[tunnel.encapsulation] + gre + gue + (outer === 'IPv6' ? IPV6_OUTER_EXTRA : 0);
}

function loopback(index: NodeIndex): string {
  return index.facts.links.find((l) => l.loopback)?.name ?? 'lo';
}
