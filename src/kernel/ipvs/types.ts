/**
 * What an IPVS table is made of: services, destinations, timeouts, sync daemons. Plain values in the kernel's own words
 * (uapi/linux/ip_vs.h), with addresses as canonical text. Destinations exist in two forms: `Destination`, one value to
 * print or send; and `DestinationTable` (destinations.ts), packed rows to hold and compare 100,000 of them.
 * No encoding here, and no wish: what a table should look like is decided in agent/desired.
 */
import type { Family } from '../../ip/ip.ts';

export type { Family };
export type Protocol = 'TCP' | 'UDP' | 'SCTP';

/** uapi/linux/ip_vs.h IP_VS_SVC_F_*. HASHED (2) is the kernel's own and never part of a Service here. */
export const SERVICE_FLAG = { persistent: 0x1, onePacket: 0x4, sched1: 0x8, sched2: 0x10, sched3: 0x20 } as const;
/** Every flag we own; the rest is masked off on read. */
export const SERVICE_FLAGS_MASK = 0x3d;
/** sh and mh read the scheduler flags as these. */
export const SCHEDULER_FLAG = { fallback: SERVICE_FLAG.sched1, portAware: SERVICE_FLAG.sched2 } as const;

/** The scheduler name that means "no scheduler": the service exists and refuses new connections. */
export const NO_SCHEDULER = 'none';

/** A virtual service. Key: (family, protocol, address, port), or (family, fwmark) when fwmark is not 0. */
export interface Service {
  readonly family: Family;
  /** 'TCP' for fwmark services (the kernel forces it; they match every protocol). */
  readonly protocol: Protocol;
  /** Canonical; '' for fwmark services. */
  readonly address: string;
  /** 0 for fwmark services, or for "every port" (persistent services only). */
  readonly port: number;
  /** 0: not a fwmark service. */
  readonly fwmark: number;
  readonly scheduler: string;
  /** SERVICE_FLAG bits. */
  readonly flags: number;
  /** Persistence timeout in seconds; 0 unless flags has persistent. */
  readonly timeoutSeconds: number;
  /** Persistence granularity as prefix length: 1..32 or 1..128. Full length when not persistent. */
  readonly prefixLength: number;
  /** Persistence engine ('sip'), '' for none. */
  readonly engine: string;
}

/** How packets reach the destination: IP_VS_CONN_F_MASQ 0, LOCALNODE 1, TUNNEL 2, DROUTE 3. */
export type ForwardingMethod = 'masq' | 'local' | 'tunnel' | 'direct';
export const FORWARDING_METHODS: readonly ForwardingMethod[] = ['masq', 'local', 'tunnel', 'direct'];

/** IP_VS_CONN_F_TUNNEL_TYPE_*: ipip 0, gue 1, gre 2. */
export type TunnelType = 'ipip' | 'gue' | 'gre';
export const TUNNEL_TYPES: readonly TunnelType[] = ['ipip', 'gue', 'gre'];
/** IP_VS_TUNNEL_ENCAP_FLAG_*. */
export const TUNNEL_FLAG = { none: 0, checksum: 1, remoteChecksum: 2 } as const;

/** A real server in a service. Key within its service: (family, address, port). */
export interface Destination {
  readonly family: Family;
  readonly address: string;
  readonly port: number;
  readonly method: ForwardingMethod;
  /** 0..65535 by our validation; 0 quiesces. */
  readonly weight: number;
  /** Connection thresholds; 0 is off. */
  readonly upper: number;
  readonly lower: number;
  /** Only with method 'tunnel'; otherwise ipip/0/0. */
  readonly tunnelType: TunnelType;
  readonly tunnelPort: number;
  readonly tunnelFlags: number;
}

export interface Timeouts {
  /** Seconds. */
  readonly tcp: number;
  readonly tcpFin: number;
  readonly udp: number;
}

export interface SyncDaemon {
  readonly role: 'master' | 'backup';
  readonly interface: string;
  readonly syncId: number;
  /** 0: the kernel's default. */
  readonly maxLength: number;
  /** Multicast group as text; '' for the kernel's default 224.0.0.81. */
  readonly group: string;
  readonly port: number;
  readonly ttl: number;
}

/** Unique text of a service's key: `TCP 192.0.2.1:80`, `UDP [fd00::1]:53`, `FWM 4660 IPv6`. Also how a person sees it. */
export function serviceKey(s: Pick<Service, 'family' | 'protocol' | 'address' | 'port' | 'fwmark'>): string {
  if (s.fwmark !== 0) return `FWM ${s.fwmark} ${s.family}`;
  return s.family === 'IPv4' ? `${s.protocol} ${s.address}:${s.port}` : `${s.protocol} [${s.address}]:${s.port}`;
}

/** The key part of a service, from its text; enough to read it. Null when the text is no key. */
export function parseServiceKey(key: string): Service | null {
  const base = { scheduler: '', flags: 0, timeoutSeconds: 0, prefixLength: 0, engine: '' };
  const mark = /^FWM (\d+) (IPv4|IPv6)$/.exec(key);
  if (mark) return { ...base, family: mark[2] as Family, protocol: 'TCP', address: '', port: 0, fwmark: Number(mark[1]) };
  const plain = /^(TCP|UDP|SCTP) (?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(key);
  if (!plain) return null;
  return { ...base, family: plain[2] ? 'IPv6' : 'IPv4', protocol: plain[1] as Protocol, address: (plain[2] ?? plain[3])!, port: Number(plain[4]), fwmark: 0 };
}

/** Unique text of a destination within its service: `10.0.0.1:80`, `[fd00::1]:80`. */
export function destinationKey(d: Pick<Destination, 'family' | 'address' | 'port'>): string {
  return d.family === 'IPv4' ? `${d.address}:${d.port}` : `[${d.address}]:${d.port}`;
}
