/**
 * VirtualServerProgram: what directors and real servers are told about one VirtualServer. Compiled, complete, free of policy:
 * an agent needs nothing else to serve it. In a cluster it is a custom resource; in standalone, the result of a function call.
 * Not for people to write, so it is an interface and not a schema yet.
 */
import type { Family } from '../../ip/ip.ts';
import type { Protocol } from '../../kernel/ipvs/types.ts';
import type { DirectorGroup } from './directorgroup.ts';

export type Mode = 'NAT' | 'DR' | 'TUN';

export interface Program {
  /** `namespace/name` of the VirtualServer: cause of every operation, label of every log line. */
  readonly owner: string;
  readonly spec: ProgramSpec;
}

export interface ProgramSpec {
  readonly directorGroup: string;
  /** Hash of everything else in the spec: equal hashes, equal programs. */
  readonly contentHash: string;
  readonly addresses: readonly ProgramAddress[];
  readonly mode: Mode;
  /**
   * NAT only: what the real server sees as the source. 'VirtualIP' survives failover, 'Masquerade' works everywhere, 'Preserve' keeps
   * the client's.
   */
  readonly sourceAddress: 'Preserve' | 'Masquerade' | 'VirtualIP';
  /** TUN only; null otherwise. */
  readonly tunnel: ProgramTunnel | null;
  readonly scheduler: { readonly name: string; readonly fallback: boolean; readonly portAware: boolean; readonly onePacket: boolean };
  readonly persistence: ProgramPersistence | null;
  readonly services: readonly ProgramService[];
  readonly connectionLimits: { readonly upper: number; readonly lower: number };
  readonly drainTimeoutSeconds: number;
  /** A director uses only the real servers on its own node. Absent: all of them. */
  readonly localOnly?: true | undefined;
  /** How directors check the real servers. Absent: they do not. */
  readonly healthCheck?: ProgramHealthCheck | undefined;
  /** How long the weight of a real server rises that came back. Absent: not at all. */
  readonly slowStartSeconds?: number | undefined;
}

/**
 * One check for all real servers of a program, complete: defaults are applied. Exactly the part named by its type is there
 * (HTTPS has `http`, TCP has none).
 */
export interface ProgramHealthCheck {
  readonly type: 'TCP' | 'HTTP' | 'HTTPS' | 'GRPC' | 'UDP' | 'DNS';
  /** 0: the port of the real server. */
  readonly port: number;
  /** Forwarded: to the VIP, through the forwarding method, as clients' packets go; DR and TUN only. */
  readonly path: 'Direct' | 'Forwarded';
  readonly periodSeconds: number;
  readonly timeoutSeconds: number;
  readonly riseCount: number;
  readonly fallCount: number;
  readonly onFailure: 'Quiesce' | 'Remove';
  /** 0: never. */
  readonly panicThresholdPercent: number;
  /** `host` and `caBundle` (PEM, HTTPS only) may be empty. */
  readonly http?: { readonly path: string; readonly host: string; readonly expectedStatuses: readonly number[]; readonly caBundle: string } | undefined;
  readonly grpc?: { readonly service: string; readonly transport?: 'Plaintext' | 'TLS' | undefined } | undefined;
  /** `payload` is base64. */
  readonly udp?: { readonly payload: string; readonly expectReply: boolean } | undefined;
  /** `expectedAddress` may be empty. */
  readonly dns?: { readonly name: string; readonly record: 'A' | 'AAAA'; readonly expectedAddress: string } | undefined;
}

export interface ProgramAddress {
  readonly address: string;
  readonly family: Family;
}

export interface ProgramTunnel {
  readonly encapsulation: 'IPIP' | 'GUE' | 'GRE';
  /** GUE only; 0 otherwise. */
  readonly port: number;
  readonly checksum: 'None' | 'Checksum' | 'RemoteChecksum';
}

export interface ProgramPersistence {
  readonly timeoutSeconds: number;
  readonly ipv4PrefixLength: number;
  readonly ipv6PrefixLength: number;
  /** 'sip' or ''. */
  readonly engine: string;
}

/** One IPVS service per address. With `mark` 0 it has exactly one port; otherwise every listed range is marked into one fwmark service. */
export interface ProgramService {
  readonly ports: readonly ProgramPort[];
  /** The fwmark, the same on every director; 0: an ordinary service. IPv4 and IPv6 services may share a mark. */
  readonly mark: number;
  /** `ip|port|weight|node`; port 0 where a fwmark service keeps the packet's port; node is '' outside a cluster. Sorted. */
  readonly realServers: readonly string[];
}

export interface ProgramPort {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
  /** Equal to port unless a range. */
  readonly endPort: number;
}

/** Director-group wide settings that reach every director: from DirectorGroup, not from VirtualServer. */
export interface GroupSettings {
  readonly name: string;
  readonly nodeSelector: Readonly<Record<string, string>> | null;
  readonly interface: { readonly match: 'SubnetOf' } | { readonly match: 'Name'; readonly name: string } | { readonly match: 'Regex'; readonly regex: string };
  /** null: the kernel's values are left alone. */
  readonly timeouts: { readonly tcp: number; readonly tcpFin: number; readonly udp: number } | null;
  readonly connectionSync: { readonly interface: string; readonly syncId: number } | null;
}

/** What of a DirectorGroup reaches every director. */
export function groupSettings(group: DirectorGroup): GroupSettings {
  const { interface: nic, timeouts, connectionSync, nodeSelector } = group.spec;
  return {
    name: group.metadata.name,
    nodeSelector: nodeSelector?.matchLabels ?? null,
    interface: nic.match === 'Name' ? { match: 'Name', name: nic.name! } : nic.match === 'Regex' ? { match: 'Regex', regex: nic.regex! } : { match: 'SubnetOf' },
    timeouts: timeouts ? { tcp: timeouts.tcpSeconds, tcpFin: timeouts.tcpFinSeconds, udp: timeouts.udpSeconds } : null,
    connectionSync: connectionSync.enabled ? { interface: connectionSync.interface!, syncId: connectionSync.syncId } : null,
  };
}

export interface RealServer {
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  readonly node: string;
}

export function formatRealServer(r: RealServer): string {
  return `${r.address}|${r.port}|${r.weight}|${r.node}`;
}

/** Reads `ip|port|weight|node`. Returns null when the text is not of that form: programs come over a network and are not trusted. */
export function parseRealServer(text: string): RealServer | null {
  const parts = text.split('|');
  if (parts.length !== 4) return null;
  const port = Number(parts[1]);
  const weight = Number(parts[2]);
  if (!Number.isInteger(port) || port < 0 || port > 65535 || !Number.isInteger(weight) || weight < 0 || weight > 65535) return null;
  return { address: parts[0]!, port, weight, node: parts[3]! };
}

/**
 * The real servers that serve a VIP of `family`: those of its own family. TUN may cross families (the kernel carries either in
 * either), and does so where the VIP has no real server of its own family.
 */
export function realServersFor(mode: Mode, realServers: readonly RealServer[], family: Family): readonly RealServer[] {
  const same = realServers.filter((r) => (r.address.includes(':') ? 'IPv6' : 'IPv4') === family);
  return mode === 'TUN' && same.length === 0 ? realServers : same;
}
