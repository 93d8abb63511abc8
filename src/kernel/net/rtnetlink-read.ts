/**
 * Links, addresses and local routes out of rtnetlink: requests of the dumps and the decoding of their answers into plain values.
 * Nothing is changed here (rtnetlink-write.ts), and nothing is concluded: a dump that was interrupted says so.
 */
import { fromBytes, type Family } from '../../ip/ip.ts';
import { AF } from '../netlink/libc.ts';
import { NLM_F } from '../netlink/constants.ts';
import type { NetlinkConnection } from '../netlink/connection.ts';
import { ERRNO, KernelError } from '../netlink/errors.ts';
import type { AttributeReader, MessageReader } from '../netlink/reader.ts';
import type { RequestName } from '../netlink/refusal.ts';
import type { MessageWriter } from '../netlink/writer.ts';
import {
  IFA, IFADDRMSG, IFA_F, IFF, IFINFOMSG, IFLA, IFLA_GRE, IFLA_INFO, IFLA_IPTUN, RTA, RTEXT_FILTER_SKIP_STATS, RTM, RTMSG, RTN_LOCAL, RT_TABLE_LOCAL,
} from './rtnetlink-constants.ts';
import type { Address, Link, LocalRoute } from './types.ts';

/** Kinds of tunnels with their attribute numbers for the two end points. */
const TUNNEL_ENDPOINTS: Readonly<Record<string, { readonly local: number; readonly remote: number }>> = {
  ipip: { local: IFLA_IPTUN.LOCAL, remote: IFLA_IPTUN.REMOTE }, sit: { local: IFLA_IPTUN.LOCAL, remote: IFLA_IPTUN.REMOTE },
  ip6tnl: { local: IFLA_IPTUN.LOCAL, remote: IFLA_IPTUN.REMOTE },
  gre: { local: IFLA_GRE.LOCAL, remote: IFLA_GRE.REMOTE }, ip6gre: { local: IFLA_GRE.LOCAL, remote: IFLA_GRE.REMOTE },
};

export interface Listing<T> {
  readonly items: readonly T[];
  /** False when the kernel's table changed under every attempt to read it: items may be missing. */
  readonly complete: boolean;
}

/** One list of the kernel's: how it is asked for, and what its entries are. */
interface Question<T> {
  readonly request: (writer: MessageWriter) => MessageWriter;
  readonly name: RequestName;
  readonly decode: (message: MessageReader) => T | null;
}

const LINKS: Question<Link> = {
  request: (writer) => writer.message(RTM.GETLINK, NLM_F.REQUEST).word(AF_UNSPEC).word(0).word(0).word(0).u32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS),
  name: { operation: 'RTM_GETLINK' }, decode: decodeLink,
};

type LinkNames = ReadonlyMap<number, string>;

const addressesOn = (names: LinkNames): Question<Address> => ({
  request: (writer) => writer.message(RTM.GETADDR, NLM_F.REQUEST).word(AF_UNSPEC).word(0),
  name: { operation: 'RTM_GETADDR' }, decode: (message) => decodeAddress(message, names),
});

const localRoutesOf = (family: Family, names: LinkNames): Question<LocalRoute> => ({
  request: (writer) => writer.message(RTM.GETROUTE, NLM_F.REQUEST).word(family === 'IPv4' ? AF.INET : AF.INET6).word(RT_TABLE_LOCAL | (RTN_LOCAL << 24)).word(0),
  name: { operation: 'RTM_GETROUTE', object: `local ${family}` }, decode: (message) => decodeLocalRoute(message, names),
});

const FAMILIES: readonly Family[] = ['IPv4', 'IPv6'];

/** Every link of the network namespace. */
export function readLinks(connection: NetlinkConnection): Listing<Link> { return ask(connection, LINKS); }

/** Every address, of both families. `names` gives the links by index. */
export function readAddresses(connection: NetlinkConnection, names: LinkNames): Listing<Address> { return ask(connection, addressesOn(names)); }

/**
 * Routes of type local in table local. The kernel filters (NETLINK_GET_STRICT_CHK): a node may carry a million routes. A
 * family without that table (no IPv6) has none.
 */
export function readLocalRoutes(connection: NetlinkConnection, names: LinkNames): Listing<LocalRoute> {
  return joined(FAMILIES.map((family) => {
    try {
      return ofFamily(family, ask(connection, localRoutesOf(family, names)));
    } catch (error) {
      return noneWithout(error);
    }
  }));
}

interface Listings {
  links: Listing<Link>;
  addresses: Listing<Address>;
  localRoutes: Listing<LocalRoute>;
}

/** All three, with turns of the event loop in between; see NetlinkConnection.dumpSlowly. */
export async function readSlowly(connection: NetlinkConnection, signal: AbortSignal): Promise<Listings> {
  const links = await askSlowly(connection, LINKS, signal);
  const names = linkNames(links.items);
  const addresses = await askSlowly(connection, addressesOn(names), signal);
  const routes: Listing<LocalRoute>[] = [];
  for (const family of FAMILIES) routes.push(await askSlowly(connection, localRoutesOf(family, names), signal).then((list) => ofFamily(family, list), noneWithout));
  return { links, addresses, localRoutes: joined(routes) };
}

export function linkNames(links: readonly Link[]): LinkNames { return new Map(links.map((link) => [link.index, link.name])); }

/** A kernel without IPv6 answers its request with what it has: IPv4. */
function ofFamily(family: Family, { items, complete }: Listing<LocalRoute>): Listing<LocalRoute> {
  return { items: items.filter((route) => route.family === family), complete };
}

/** What a family that this kernel has no routes of has; throws any other error. */
function noneWithout(error: unknown): Listing<LocalRoute> {
  const absent = error instanceof KernelError && (error.errno === ERRNO.ENOENT || error.errno === ERRNO.EAFNOSUPPORT || error.errno === ERRNO.EOPNOTSUPP);
  if (!absent) throw error;
  return { items: [], complete: true };
}

function joined<T>(lists: readonly Listing<T>[]): Listing<T> {
  return { items: lists.flatMap((list) => list.items), complete: lists.every((list) => list.complete) };
}

function ask<T>(connection: NetlinkConnection, { request, name, decode }: Question<T>): Listing<T> {
  return present(connection.dump(request(connection.scratch.reset()), name, decode));
}

async function askSlowly<T>(connection: NetlinkConnection, { request, name, decode }: Question<T>, signal: AbortSignal): Promise<Listing<T>> {
  return present(await connection.dumpSlowly(request(connection.scratch.reset()), name, decode, signal));
}

const AF_UNSPEC = 0;

function present<T>(outcome: Listing<T | null>): Listing<T> {
  return { items: outcome.items.filter((item) => item !== null), complete: outcome.complete };
}

/** RTM_NEWLINK to a Link; null for a message of another type. Throws KernelError PROTOCOL on impossible lengths. */
export function decodeLink(message: MessageReader): Link | null {
  if (message.type !== RTM.NEWLINK) return null;
  const index = message.word(4) | 0;
  const flags = message.word(8);
  let name = '';
  let mac = '';
  let mtu = 0;
  let info = { kind: '', tunnelLocal: '', tunnelRemote: '' };
  for (const a = message.attributes(IFINFOMSG); a.next();) {
    switch (a.type) {
      case IFLA.IFNAME: name = a.string(); break;
      case IFLA.MTU: mtu = a.u32(); break;
      // Tunnels put their local end point here; only six bytes are a MAC.
      case IFLA.ADDRESS: if (a.length === 6) mac = [...a.data()].map((byte) => byte.toString(16).padStart(2, '0')).join(':'); break;
      case IFLA.LINKINFO: info = decodeLinkInfo(a.nested()); break;
    }
  }
  const loopback = (flags & IFF.LOOPBACK) !== 0;
  return { name, index, ...info, up: (flags & IFF.UP) !== 0, carrier: (flags & IFF.LOWER_UP) !== 0, loopback, mtu, mac: loopback ? '' : mac };
}

function decodeLinkInfo(attributes: AttributeReader): { kind: string; tunnelLocal: string; tunnelRemote: string } {
  let kind = '';
  let tunnelLocal = '';
  let tunnelRemote = '';
  while (attributes.next()) {
    if (attributes.type === IFLA_INFO.KIND) kind = attributes.string();
    else if (attributes.type === IFLA_INFO.DATA) {
      // The kernel writes KIND before DATA (rtnl_link_fill); without it DATA has no meaning.
      const endpoints = TUNNEL_ENDPOINTS[kind];
      if (endpoints === undefined) continue;
      for (const data = attributes.nested(); data.next();) {
        if (data.type === endpoints.local) tunnelLocal = endpoint(data);
        else if (data.type === endpoints.remote) tunnelRemote = endpoint(data);
      }
    }
  }
  return { kind, tunnelLocal, tunnelRemote };
}

/** '' for the unspecified address, which means "any". */
function endpoint(attribute: AttributeReader): string {
  const bytes = attribute.data();
  return (bytes.length === 4 || bytes.length === 16) && bytes.some((byte) => byte !== 0) ? fromBytes(bytes) : '';
}

/** RTM_NEWADDR to an Address; null for another type, another family, or a link that `names` does not know. */
export function decodeAddress(message: MessageReader, names: ReadonlyMap<number, string>): Address | null {
  if (message.type !== RTM.NEWADDR) return null;
  const header = message.word(0);
  const family = familyOf(header & 0xff);
  const link = names.get(message.word(4));
  let flags = (header >>> 16) & 0xff;
  let protocol = 0;
  let address = '';
  let local = '';
  for (const a = message.attributes(IFADDRMSG); a.next();) {
    switch (a.type) {
      // On point-to-point links ADDRESS is the peer's and LOCAL is ours; IPv6 has LOCAL only there.
      case IFA.ADDRESS: address = text(a); break;
      case IFA.LOCAL: local = text(a); break;
      case IFA.FLAGS: flags = a.u32(); break;
      case IFA.PROTO: protocol = a.u8(); break;
    }
  }
  if (family === null || link === undefined || (local || address) === '') return null;
  return {
    link, family, address: local || address, prefixLength: (header >>> 8) & 0xff,
    deprecated: (flags & IFA_F.DEPRECATED) !== 0, dadFailed: (flags & IFA_F.DADFAILED) !== 0, protocol,
  };
}

/** RTM_NEWROUTE to a LocalRoute; null for anything that is no host route of type local on a known link. */
export function decodeLocalRoute(message: MessageReader, names: ReadonlyMap<number, string>): LocalRoute | null {
  if (message.type !== RTM.NEWROUTE) return null;
  const header = message.word(0);
  const family = familyOf(header & 0xff);
  const prefixLength = (header >>> 8) & 0xff;
  if (family === null || message.word(4) >>> 24 !== RTN_LOCAL || prefixLength !== (family === 'IPv4' ? 32 : 128)) return null;
  let table = message.word(4) & 0xff;
  let address = '';
  let link: string | undefined;
  for (const a = message.attributes(RTMSG); a.next();) {
    switch (a.type) {
      case RTA.DST: address = text(a); break;
      case RTA.OIF: link = names.get(a.u32()); break;
      case RTA.TABLE: table = a.u32(); break;
    }
  }
  return table === RT_TABLE_LOCAL && address !== '' && link !== undefined ? { link, family, address } : null;
}

function text(attribute: AttributeReader): string {
  const bytes = attribute.data();
  return bytes.length === 4 || bytes.length === 16 ? fromBytes(bytes) : '';
}

function familyOf(number: number): Family | null {
  return number === AF.INET ? 'IPv4' : number === AF.INET6 ? 'IPv6' : null;
}
