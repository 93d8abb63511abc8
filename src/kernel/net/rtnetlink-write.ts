/**
 * Operations -> rtnetlink messages, and what each refusal means for an idempotent caller. One operation may need two messages.
 * Sending, batching and names of links are the client's.
 */
import { ADDRESS_BITS, toBytes, type Family } from '../../ip/ip.ts';
import { AF } from '../netlink/libc.ts';
import { NLM_F } from '../netlink/constants.ts';
import { ERRNO, KernelError, type KernelErrorCode } from '../netlink/errors.ts';
import { refusalError, type Refusal } from '../netlink/refusal.ts';
import type { MessageWriter } from '../netlink/writer.ts';
import {
  FOREVER, GRE_CSUM, IFA, IFA_F, IFF, IFLA, IFLA_GRE, IFLA_INFO, IFLA_IPTUN, RTA, RTM, RTN_LOCAL, RTPROT_KERNEL, RT_SCOPE, RT_TABLE_LOCAL,
} from './rtnetlink-constants.ts';
import { ADDRESS_PROTOCOL, type Link, type LocalRoute, type Tunnel, type VipAddress } from './types.ts';

// A message is begun only after everything in it was checked: a writer cannot take half a message back.

/** No message of ours is longer (a tunnel with two IPv6 end points is the longest). */
export const LARGEST_MESSAGE = 256;

/** IFNAMSIZ - 1. */
const LONGEST_NAME = 15;
export const TUNNEL_KINDS: readonly string[] = ['ipip', 'sit', 'gre', 'ip6tnl', 'ip6gre'] satisfies Tunnel['kind'][];
/** What to load when the kernel does not know a kind of device. */
const MODULE_OF: Record<Tunnel['kind'], string> = { ipip: 'ipip', sit: 'sit', gre: 'ip_gre', ip6tnl: 'ip6_tunnel', ip6gre: 'ip6_gre' };

function familyNumber(family: Family): number { return family === 'IPv4' ? AF.INET : AF.INET6; }

function linkName(name: string, operation: string): string {
  if (name.length === 0 || Buffer.byteLength(name) > LONGEST_NAME || /[/\s]/.test(name)) {
    throw new KernelError({ code: 'INVALID', operation, object: name, message: `a link name has 1 to ${LONGEST_NAME} bytes` });
  }
  return name;
}

/** Creates a receiving tunnel: local address of ours, any remote. EEXIST when there is a link of that name or with these end points. */
export function encodeAddTunnel(writer: MessageWriter, tunnel: Tunnel): void {
  const v6 = tunnel.kind === 'ip6tnl' || tunnel.kind === 'ip6gre';
  const local = toBytes(tunnel.local);
  if (local.length !== (v6 ? 16 : 4)) {
    const message = `${tunnel.kind} needs an ${v6 ? 'IPv6' : 'IPv4'} address, not ${tunnel.local}`;
    throw new KernelError({ code: 'INVALID', operation: 'RTM_NEWLINK', object: tunnel.name, message });
  }
  const gre = tunnel.kind === 'gre' || tunnel.kind === 'ip6gre';
  const name = linkName(tunnel.name, 'RTM_NEWLINK');
  writer.message(RTM.NEWLINK, NLM_F.REQUEST | NLM_F.CREATE | NLM_F.EXCL).word(0).word(0).word(0).word(0);
  writer.string(IFLA.IFNAME, name);
  writer.begin(IFLA.LINKINFO).string(IFLA_INFO.KIND, tunnel.kind).begin(IFLA_INFO.DATA);
  writer.data(gre ? IFLA_GRE.LOCAL : IFLA_IPTUN.LOCAL, local);
  if (gre) writer.u16be(IFLA_GRE.IFLAGS, tunnel.checksum ? GRE_CSUM : 0).u16be(IFLA_GRE.OFLAGS, tunnel.checksum ? GRE_CSUM : 0);
  // Both IPv4 and IPv6 inside; ip6tnl would otherwise take what the default of its kernel is.
  if (tunnel.kind === 'ip6tnl') writer.u8(IFLA_IPTUN.PROTO, 0);
  writer.end().end();
}

export function encodeDelLink(writer: MessageWriter, name: string): void {
  linkName(name, 'RTM_DELLINK');
  writer.message(RTM.DELLINK, NLM_F.REQUEST).word(0).word(0).word(0).word(0).string(IFLA.IFNAME, name);
}

export function encodeLinkUp(writer: MessageWriter, name: string): void {
  linkName(name, 'RTM_SETLINK');
  writer.message(RTM.SETLINK, NLM_F.REQUEST).word(0).word(0).word(IFF.UP).word(IFF.UP).string(IFLA.IFNAME, name);
}

/**
 * Binds a VIP: host prefix, no duplicate address detection (it would be tentative for a second, and the director's own probe
 * comes before), deprecated from birth so that it is never the source of the node's own packets, valid for ever, marked as ours.
 * Replaces an address that is there, so that its lifetimes become these.
 */
export function encodeAddAddress(writer: MessageWriter, vip: VipAddress, link: Pick<Link, 'index' | 'loopback'>): void {
  const bytes = bytesOf(vip);
  const scope = link.loopback && vip.family === 'IPv4' ? RT_SCOPE.HOST : RT_SCOPE.UNIVERSE;
  writer.message(RTM.NEWADDR, NLM_F.REQUEST | NLM_F.CREATE | NLM_F.REPLACE);
  ifaddrmsg(writer, vip, scope, link.index);
  writer.data(IFA.LOCAL, bytes).data(IFA.ADDRESS, bytes).u32(IFA.FLAGS, IFA_F.NODAD);
  writer.data(IFA.CACHEINFO, new Uint8Array(Uint32Array.of(0, FOREVER, 0, 0).buffer));
  writer.u8(IFA.PROTO, ADDRESS_PROTOCOL);
}

/** Unbinds a VIP; only a host prefix, so an administrator's own `VIP/24` stays. */
export function encodeDelAddress(writer: MessageWriter, vip: VipAddress, index: number): void {
  const bytes = bytesOf(vip);
  writer.message(RTM.DELADDR, NLM_F.REQUEST);
  ifaddrmsg(writer, vip, 0, index);
  writer.data(IFA.LOCAL, bytes).data(IFA.ADDRESS, bytes);
}

/** The address in bytes. Throws RangeError when it is none, or of the other family. */
function bytesOf(vip: { readonly family: Family; readonly address: string }): Uint8Array {
  const bytes = toBytes(vip.address);
  if (bytes.length * 8 !== ADDRESS_BITS[vip.family]) throw new RangeError(`${vip.address} is no ${vip.family} address`);
  return bytes;
}

function ifaddrmsg(writer: MessageWriter, vip: VipAddress, scope: number, index: number): void {
  writer.word(familyNumber(vip.family) | (ADDRESS_BITS[vip.family] << 8) | (scope << 24)).word(index);
}

/**
 * Makes an IPv4 address local again, exactly as the kernel did when it was bound, so that unbinding it removes this route too.
 * APPEND: the same VIP may be local on another link as well, and EXCL would refuse that.
 */
export function encodeAddLocalRoute(writer: MessageWriter, route: LocalRoute, index: number): void {
  const bytes = bytesOf(route);
  writer.message(RTM.NEWROUTE, NLM_F.REQUEST | NLM_F.CREATE | NLM_F.APPEND);
  writer.word(AF.INET | (32 << 8)).word((RT_TABLE_LOCAL | (RTPROT_KERNEL << 8) | (RT_SCOPE.HOST << 16) | (RTN_LOCAL << 24)) >>> 0).word(0);
  writer.data(RTA.DST, bytes).u32(RTA.OIF, index).data(RTA.PREFSRC, bytes);
}

/** Errnos that mean "it is already as you wish", by kind of operation. */
export const ALREADY: Readonly<Record<string, readonly number[]>> = {
  delTunnel: [ERRNO.ENODEV],
  addAddress: [ERRNO.EEXIST],
  // The link went away, and its addresses with it.
  delAddress: [ERRNO.EADDRNOTAVAIL, ERRNO.ENODEV],
  addLocalRoute: [ERRNO.EEXIST],
};

/** What only the operation can tell of an errno: the module or setting that is behind it. */
export interface RefusedContext {
  /** Of an operation that makes a tunnel. */
  readonly tunnel?: Tunnel;
  /** Of an operation that binds an address. */
  readonly address?: { readonly link: string; readonly family: Family };
}

/** The error of a refused operation, with the remedy where a module is missing or IPv6 is switched off. */
export function refusedOperation(refusal: Refusal, operation: string, object: string, { tunnel, address }: RefusedContext): KernelError {
  const error = (code: KernelErrorCode, why: string): KernelError =>
    new KernelError({ code, errno: refusal.errno, operation, object, message: [refusal.message, why].filter(Boolean).join('; ') });
  const unknown = refusal.errno === ERRNO.EOPNOTSUPP || refusal.errno === ERRNO.EAFNOSUPPORT;
  if (tunnel && unknown) return error('MODULE_MISSING', `this kernel has no ${tunnel.kind} devices: \`modprobe ${MODULE_OF[tunnel.kind]}\``);
  if (address?.family === 'IPv6' && unknown) {
    return error('MODULE_MISSING', 'this host has no IPv6: `modprobe ipv6`, and no ipv6.disable=1 on the kernel command line');
  }
  // inet6_rtm_newaddr says EACCES for this and nothing else; without CAP_NET_ADMIN it is EPERM.
  if (address?.family === 'IPv6' && refusal.errno === ERRNO.EACCES) {
    return error('KERNEL_REFUSED', `IPv6 is switched off on this link: net.ipv6.conf.${address.link}.disable_ipv6`);
  }
  return refusalError(refusal, { operation, object });
}
