/**
 * Links, addresses, routes, sysctls and packet-filter rules as plain values: what agent/desired asks of a node beyond IPVS,
 * and what the node reports. No netlink and no policy here.
 */
import type { Family } from '../../ip/ip.ts';
import type { Protocol } from '../ipvs/types.ts';
import type { KernelError } from '../netlink/errors.ts';

export interface Link {
  readonly name: string;
  readonly index: number;
  /** IFLA_INFO_KIND: 'ipip', 'gre', 'sit', 'ip6tnl', 'ip6gre', 'veth', 'dummy', ...; '' for physical NICs and lo. */
  readonly kind: string;
  /** Administrative state (IFF_UP). */
  readonly up: boolean;
  /** Carrier (IFF_LOWER_UP). */
  readonly carrier: boolean;
  readonly loopback: boolean;
  readonly mtu: number;
  /** Lower-case, colons; '' when the link has none. */
  readonly mac: string;
  /** Local address of a tunnel, canonical; '' otherwise. */
  readonly tunnelLocal: string;
  /** Remote address of a tunnel; '' for any. */
  readonly tunnelRemote: string;
}

/** A tunnel device of ours on a real server: decapsulates what any director sends to `local`. */
export interface Tunnel {
  /** At most 15 bytes (IFNAMSIZ - 1). */
  readonly name: string;
  readonly kind: 'ipip' | 'sit' | 'gre' | 'ip6tnl' | 'ip6gre';
  readonly local: string;
  /** GRE with checksums needs a device that expects them (icsum). */
  readonly checksum: boolean;
}

export interface Address {
  readonly link: string;
  readonly family: Family;
  readonly address: string;
  readonly prefixLength: number;
  /** IFA_F_DEPRECATED: preferred_lft 0, never chosen as a source address. */
  readonly deprecated: boolean;
  /** DAD found another owner (IPv6). */
  readonly dadFailed: boolean;
  /** IFA_PROTO (kernel >= 5.18): ADDRESS_PROTOCOL marks ours; 0 when the kernel does not say. */
  readonly protocol: number;
}

/** IFA_PROTO value of addresses that we add, so that a lost ledger can still tell ours from others (ip -d addr shows it). */
export const ADDRESS_PROTOCOL = 0x49;

/** A VIP to bind. Always a host prefix (/32, /128), `nodad`, `preferred_lft 0`. */
export interface VipAddress {
  readonly link: string;
  readonly family: Family;
  readonly address: string;
}

/** The kernel's own route that makes an address local; adding the address makes it, somebody may delete it. */
export interface LocalRoute {
  readonly link: string;
  readonly family: Family;
  readonly address: string;
}

/** `ip fou add port PORT gue`: the receiver of GUE tunnels. */
export interface FouPort {
  readonly family: Family;
  readonly port: number;
}

/** Path below /proc/sys, with '/' as separator: 'net/ipv4/conf/all/arp_ignore'. */
export interface Sysctl {
  readonly path: string;
  readonly value: string;
}

/**
 * Packet-filter rules, as facts; two renderers (nft, iptables) make them real. Compare with `sameRules` of rules.ts, which knows
 * the one order; never by text, where the order of members counts.
 */
export interface NetfilterRules {
  readonly sourceNat: readonly SourceNatRule[];
  readonly marks: readonly MarkRule[];
  readonly mss: readonly MssRule[];
}

/** Rewrites the source of what IPVS forwards by NAT, so that replies return to the director from any network. */
export interface SourceNatRule {
  readonly family: Family;
  readonly protocol: Protocol;
  readonly vip: string;
  /** Inclusive; equal for one port; 0..65535 for every port. */
  readonly firstPort: number;
  readonly lastPort: number;
  /** Mark of a fwmark service, 0 for an ordinary one. */
  readonly mark: number;
  /** '' masquerades (address of the outgoing NIC); otherwise the address to use. */
  readonly to: string;
}

/** Marks what arrives for a range of ports, so that one fwmark service serves it. */
export interface MarkRule {
  readonly family: Family;
  readonly protocol: Protocol;
  readonly vip: string;
  readonly firstPort: number;
  readonly lastPort: number;
  readonly mark: number;
}

/** Limits the MSS that a real server announces in answers from the VIP, by the overhead of the tunnel the requests came through. */
export interface MssRule {
  readonly family: Family;
  readonly vip: string;
  readonly mss: number;
}

export const NO_RULES: NetfilterRules = { sourceNat: [], marks: [], mss: [] };

export type NetOperation =
  | { readonly kind: 'addTunnel'; readonly tunnel: Tunnel }
  | { readonly kind: 'delTunnel'; readonly name: string }
  | { readonly kind: 'linkUp'; readonly name: string }
  | { readonly kind: 'addAddress'; readonly vip: VipAddress }
  | { readonly kind: 'delAddress'; readonly vip: VipAddress }
  | { readonly kind: 'addLocalRoute'; readonly route: LocalRoute }
  | { readonly kind: 'addFou'; readonly fou: FouPort }
  | { readonly kind: 'delFou'; readonly fou: FouPort }
  | { readonly kind: 'setSysctl'; readonly sysctl: Sysctl; readonly from: string }
  | { readonly kind: 'setRules'; readonly rules: NetfilterRules }
  | { readonly kind: 'announce'; readonly vip: VipAddress };

export interface NetFailure {
  readonly index: number;
  readonly operation: NetOperation;
  readonly error: KernelError;
}

/** What a node reports. Lists are whole or `complete` is false. */
export interface NetObservation {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  readonly localRoutes: readonly LocalRoute[];
  readonly fou: readonly FouPort[];
  readonly complete: boolean;
}

export interface NetClient {
  /** One dump each of links, addresses, local routes (table local only, by the kernel's filter), FOU ports (empty where the module is not loaded). */
  observe(): NetObservation;
  /**
   * The same with turns of the event loop in between: with thousands of addresses it takes many milliseconds. Rejects with the signal's
   * reason, and KernelError.
   */
  observeSlowly(signal: AbortSignal): Promise<NetObservation>;
  /** Trimmed content, tabs as single spaces; null when the file does not exist (module not loaded). Throws KernelError when it cannot be read. */
  readSysctl(path: string): string | null;
  /**
   * The rules of ours that are in force, read back from the kernel; null when the backend has none of ours.
   * A rule that somebody edited or removed, or added to our chains, makes the result differ from what was set: what is not of a
   * form that we write appears as a mark rule whose `vip` is `? ` and the packet filter's own words.
   */
  readRules(): NetfilterRules | null;
  /** The same while the event loop goes on: the packet filter's programs take as long as they take. */
  readRulesSlowly(): Promise<NetfilterRules | null>;
  /**
   * 'nft' or 'iptables', found by trying, once; null when neither works (then `setRules` with any rule fails with BACKEND_MISSING), which
   * is tried again after a while if one is `missed` (default true).
   */
  netfilterBackend(missed?: boolean): 'nft' | 'iptables' | null;
  /**
   * Executes one operation after the other, each idempotent: adding what is there and deleting what is gone succeed.
   * `setRules` replaces our table or chains as one transaction and touches nothing else; empty rules remove them.
   * `announce` sends gratuitous ARP (request and reply form) or unsolicited NA at once; repeats are the caller's (agent/ownership).
   */
  apply(operations: readonly NetOperation[]): Promise<NetFailure[]>;
  /** Calls back (coalesced, at most once per 50 ms) after addresses, links or routes changed, or events were lost. Stops with the signal. */
  watch(onChange: () => void, signal: AbortSignal): void;
  close(): void;
}
