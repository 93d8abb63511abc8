/**
 * DirectorGroup: which nodes direct, on which interface, with which timeouts, and whether they share their connections.
 * Fields, defaults and bounds; rules that look at more than one field are in directorgroup.rules.ts.
 */
import { z } from 'zod';
import { directorGroupMetadata, integer, matchLabels } from './fields.ts';
import { API_VERSION, type ObjectMetadata } from './metadata.ts';
import { MAX_KERNEL_SECONDS } from './vocabulary.ts';

/** Names of network interfaces: at most IFNAMSIZ - 1 = 15 bytes (linux/if.h), no '/' and no white space (net/core/dev.c dev_valid_name). */
const interfaceName = () => z.string().min(1).max(15).regex(/^[^\s/:]+$/);

const nodeSelector = z.strictObject({
  matchLabels: matchLabels(),
});

const networkInterface = z.strictObject({
  match: z.enum(['SubnetOf', 'Name', 'Regex']).default('SubnetOf')
    .describe('SubnetOf: the interface whose subnet holds the VIP. Name, Regex: the interface with that name.'),
  name: interfaceName().optional().describe('Name of the interface. Only with match Name.'),
  regex: z.string().min(1).max(128).optional().describe('Regular expression that the whole name of the interface matches. Only with match Regex.'),
});

const connectionSync = z.strictObject({
  enabled: z.boolean().default(false).describe('Send connections to the other directors of this group, so that they survive a failover.'),
  interface: interfaceName().optional().describe('Interface the directors reach each other on. Needed when enabled.'),
  syncId: integer(1, 255).default(51).describe('Number of this group on that network. Two groups on one network need two numbers.'),
});

/** Defaults are the kernel's own: net/netfilter/ipvs/ip_vs_proto_tcp.c and ip_vs_proto_udp.c. */
const timeouts = z.strictObject({
  tcpSeconds: integer(1, MAX_KERNEL_SECONDS).default(900).describe('Idle time of established TCP connections.'),
  tcpFinSeconds: integer(1, MAX_KERNEL_SECONDS).default(120).describe('Time of TCP connections that are being closed.'),
  udpSeconds: integer(1, MAX_KERNEL_SECONDS).default(300).describe('Idle time of UDP flows.'),
});

const failover = z.strictObject({
  leaseDurationSeconds: integer(3, 60).default(6).describe('A director that was silent for this long has lost its VIPs to another.'),
  renewSeconds: integer(1, 20).default(2).describe('How often a director says that it is live. At most half of leaseDurationSeconds.'),
});

export const directorGroupSpec = z.strictObject({
  nodeSelector: nodeSelector.optional().describe('Nodes of this group. Absent: every node.'),
  interface: networkInterface.prefault({}).describe('Where the VIPs are.'),
  failover: failover.prefault({}).describe('How soon another director takes over. A host without a cluster has no other and ignores it.'),
  connectionSync: connectionSync.prefault({}).describe('Connection synchronisation between directors.'),
  timeouts: timeouts.optional().describe("Connection timeouts, per director. Absent: the kernel's values are left as they are."),
});

export const directorGroup = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('DirectorGroup'),
  metadata: directorGroupMetadata,
  spec: directorGroupSpec.prefault({}),
  status: z.unknown().optional(),
});

export type DirectorGroupSpec = z.output<typeof directorGroupSpec>;

/** A DirectorGroup with every default applied. */
export interface DirectorGroup {
  apiVersion: typeof API_VERSION;
  kind: 'DirectorGroup';
  metadata: ObjectMetadata;
  spec: DirectorGroupSpec;
}
