/**
 * IPVSNode: what one node is told as a real server and what it must never take for a VIP (spec, by the controller), and what its agent
 * observed and did (status, by the agent). Named after the node. Fields and bounds; the texts in status.applied are ipvsnode.report.ts's.
 */
import { z } from 'zod';
import { address, clusterMetadata, count, groupName, integer, text, time } from './fields.ts';
import { API_VERSION, type ObjectMetadata, type ServerMetadata } from './metadata.ts';
import { conditionsOf } from './status.ts';
import { programTunnel } from './virtualserverprogram.ts';
import { FAMILIES, MAX_APPLIED, MAX_BACKEND_REPORTS, MAX_BINDS, MAX_FAILURES, MAX_GROUPS, MAX_OWNED_VIPS, MAX_RESERVED } from './vocabulary.ts';

/** `namespace/name`: two labels of 63 characters and a slash. */
const virtualServerKey = () => text(127);

const bind = z.strictObject({
  address: address().describe('The VIP to receive for.'),
  family: z.enum(FAMILIES).describe('Its family.'),
  mode: z.enum(['DR', 'TUN']).describe('How packets for it arrive.'),
  tunnel: programTunnel.optional().describe('Only with mode TUN.'),
  localAddress: address().describe('Address of this node under which directors know the real server.'),
  virtualServer: virtualServerKey().describe('The VirtualServer, as namespace/name.'),
});

export const ipvsNodeSpec = z.strictObject({
  directorGroups: z.array(groupName()).max(MAX_GROUPS).describe('DirectorGroups that this node directs for.'),
  realServer: z.strictObject({
    binds: z.array(bind).max(MAX_BINDS).describe('VIPs that this node receives for, in modes DR and TUN.'),
  }).describe('What this node is told as a real server.'),
  reservedAddresses: z.array(address()).max(MAX_RESERVED).describe('Addresses of nodes and of the API server: never VIPs, whatever a program says.'),
});

const capabilities = z.strictObject({
  schedulers: z.array(text(16)).max(64).describe('Schedulers of this kernel.'),
  tunnels: z.array(text(16)).max(16).describe('Kinds of tunnel of this kernel.'),
  netfilter: text(16).describe('Packet filter in use: nft, iptables, or empty.'),
});

const foreign = z.strictObject({
  services: count().describe('Virtual services of somebody else.'),
  destinations: count().describe('Real servers of these.'),
  addresses: count().describe('Addresses of somebody else that are VIPs of ours.'),
  examples: z.array(text(256)).max(8).describe('Some of them.'),
  culprit: text(64).optional().describe('Whose they seem to be, as kube-proxy.'),
});

export const ipvsNodeStatus = z.strictObject({
  observedGeneration: z.int().min(0).optional().describe('Generation of the spec that this status is about.'),
  agentVersion: text(64).optional().describe('Version of the agent.'),
  kernel: text(128).optional().describe('Version of the kernel.'),
  capabilities: capabilities.optional().describe('What the kernel can do.'),
  interfaces: z.array(z.strictObject({
    name: text(15).describe('Name of the interface.'),
    addresses: z.array(text(49)).max(64).describe('Its addresses with the lengths of their prefixes.'),
  })).max(128).optional().describe('Interfaces on which VIPs may be.'),
  programs: z.strictObject({
    applied: count().describe('Programs that are in the kernel, whole.'),
    failed: count().describe('Programs that are not.'),
    digest: text(64).describe('Digest over all applied programs: equal digests, the same programs.'),
  }).optional().describe('How many programs there are.'),
  applied: z.array(text(192)).max(MAX_APPLIED).optional()
    .describe("Applied programs as 'namespace/name|contentHash', sorted. A list and no map: a merge patch replaces it as a whole. At most 5,000; programs.digest covers all."),
  failures: z.array(z.strictObject({
    virtualServer: virtualServerKey().describe('The VirtualServer, as namespace/name.'),
    code: text(64).describe('What is wrong, in one word.'),
    message: text(1024).describe('What is wrong and what to do.'),
  })).max(MAX_FAILURES).optional().describe('Programs that could not be applied; at most 64, programs.failed counts all.'),
  ownedVIPs: z.array(address()).max(MAX_OWNED_VIPS).optional().describe('VIPs that this node holds as a director.'),
  boundVIPs: z.array(address()).max(MAX_BINDS).optional().describe('VIPs that this node receives for as a real server: directors may send it packets for them.'),
  foreign: foreign.optional().describe('What is not ours and where ours should be; it is left alone.'),
  backends: z.array(z.strictObject({
    virtualServer: virtualServerKey().describe('The VirtualServer, as namespace/name.'),
    unhealthy: count().describe('Real servers that get no new connections because their check fails.'),
    ignored: count().describe('Real servers that are kept although their check fails: panic threshold, or everything behind an interface failed at once.'),
    draining: count().describe('Real servers, counted once a service, that only keep the connections they have.'),
    connections: count().optional().describe('At most so many connections they still have: 1, 2, 5, 10 and so on.'),
    drainedBy: time().optional().describe('When the last of them is let go of.'),
    message: text(1024).describe('Which, and why.'),
  })).max(MAX_BACKEND_REPORTS).optional().describe('VirtualServers with real servers that are unhealthy or drain, as this director sees them.'),
  drifts: integer(0, 2_147_483_647).optional().describe('How often something of ours had been changed behind our back and was put right, since the agent started.'),
  conditions: conditionsOf('IPVSNode'),
});

export const ipvsNode = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('IPVSNode'),
  metadata: clusterMetadata,
  spec: ipvsNodeSpec,
  status: ipvsNodeStatus.optional(),
});

export type IPVSNodeSpec = z.output<typeof ipvsNodeSpec>;
export type IPVSNodeBind = IPVSNodeSpec['realServer']['binds'][number];
export type IPVSNodeStatus = z.output<typeof ipvsNodeStatus>;

export interface IPVSNode {
  apiVersion: typeof API_VERSION;
  kind: 'IPVSNode';
  /** `name` is that of the node. */
  metadata: ObjectMetadata & ServerMetadata;
  spec: IPVSNodeSpec;
  status?: IPVSNodeStatus;
}
