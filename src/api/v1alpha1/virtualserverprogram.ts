/**
 * VirtualServerProgram as a custom resource: a ProgramSpec (program.ts), or one slice of it when it has more than 1,000 real servers, and
 * the VirtualServer it comes from. Written by the controller only. Fields and bounds; cutting and joining is slices.ts.
 */
import { z } from 'zod';
import { address, groupName, integer, machineMetadata, text, uid, virtualServerName } from './fields.ts';
import { programHealthCheck } from './healthcheck.ts';
import { API_VERSION, type NamespacedMetadata, type ServerMetadata } from './metadata.ts';
import { FAMILIES, MAX_ADDRESSES, MAX_KERNEL_SECONDS, MAX_PORTS, MAX_SLICES, MAX_SLICE_REAL_SERVERS } from './vocabulary.ts';

/** In Program null where there is none; here absent, because a CRD has no null. */
export const programTunnel = z.strictObject({
  encapsulation: z.enum(['IPIP', 'GUE', 'GRE']).describe('How packets travel to the real server.'),
  port: integer(0, 65535).describe('UDP port of the GUE receiver; 0 otherwise.'),
  checksum: z.enum(['None', 'Checksum', 'RemoteChecksum']).describe('Checksum of the tunnel header.'),
});

const port = z.strictObject({
  name: text(63).describe('Name of the port, or empty.'),
  protocol: z.enum(['TCP', 'UDP', 'SCTP']).describe('Transport protocol.'),
  port: integer(1, 65535).describe('Port of the VIP; the first one of a range.'),
  endPort: integer(1, 65535).describe('Last port; equal to port unless a range.'),
});

const service = z.strictObject({
  ports: z.array(port).min(1).max(MAX_PORTS).describe('One port, or everything that is marked into one fwmark service.'),
  mark: integer(0, 2_147_483_647).describe('The fwmark; 0: an ordinary service.'),
  realServers: z.array(text(320)).max(MAX_SLICE_REAL_SERVERS).describe("Real servers as 'ip|port|weight|node'; port 0: the packet's own."),
});

const persistence = z.strictObject({
  timeoutSeconds: integer(1, MAX_KERNEL_SECONDS).describe('How long a client stays with its real server.'),
  ipv4PrefixLength: integer(1, 32).describe('IPv4 clients with the same prefix count as one.'),
  ipv6PrefixLength: integer(1, 128).describe('IPv6 clients with the same prefix count as one.'),
  engine: text(16).describe('sip, or empty.'),
});

export const virtualServerProgramSpec = z.strictObject({
  directorGroup: groupName().describe('Directors of this group run it.'),
  contentHash: text(64).describe('Hash of the whole program. Equal hashes, equal programs; slices of one program have the same.'),
  addresses: z.array(z.strictObject({
    address: address().describe('The address.'),
    family: z.enum(FAMILIES).describe('Its family.'),
  })).max(MAX_ADDRESSES).describe('The VIPs.'),
  mode: z.enum(['NAT', 'DR', 'TUN']).describe('How packets reach the real servers.'),
  sourceAddress: z.enum(['Preserve', 'Masquerade', 'VirtualIP']).describe('NAT: what the real server sees as the source.'),
  tunnel: programTunnel.optional().describe('Only with mode TUN.'),
  scheduler: z.strictObject({
    name: text(16).describe('Scheduler of the kernel.'),
    fallback: z.boolean().describe('Pick another real server when the hashed one has weight 0.'),
    portAware: z.boolean().describe('Hash the source port too.'),
    onePacket: z.boolean().describe('Schedule every datagram by itself.'),
  }).describe('How connections are spread.'),
  persistence: persistence.optional().describe('Absent: off.'),
  services: z.array(service).max(MAX_PORTS).describe('One IPVS service per address each. A slice has those of which it has real servers.'),
  connectionLimits: z.strictObject({
    upper: integer(0, 2_147_483_647).describe('Above this a real server gets no new connections. 0: no limit.'),
    lower: integer(0, 2_147_483_647).describe('It gets new ones again below this.'),
  }).describe('Connection thresholds, per real server.'),
  drainTimeoutSeconds: integer(0, 86_400).describe('How long connections of a removed real server may go on.'),
  localOnly: z.literal(true).optional().describe('A director uses only the real servers on its own node. Absent: all of them.'),
  healthCheck: programHealthCheck.optional().describe('How directors check the real servers. Absent: they do not.'),
  slowStartSeconds: integer(1, 3600).optional().describe('How long the weight of a real server rises that came back, or is new beside others. Absent: not at all.'),
  slice: z.strictObject({
    index: integer(0, MAX_SLICES - 1).describe('From 0.'),
    count: integer(1, MAX_SLICES).describe('How many slices the program has.'),
  }).describe('Which part of the program this object is. Directors run complete programs only.'),
  generation: z.int().min(0).describe('Generation of the VirtualServer this was compiled from.'),
  virtualServer: z.strictObject({
    name: virtualServerName().describe('Name; the namespace is that of the program.'),
    uid: uid().describe('Its uid.'),
  }).describe('The VirtualServer.'),
});

export const virtualServerProgram = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('VirtualServerProgram'),
  metadata: machineMetadata,
  spec: virtualServerProgramSpec,
});

export type VirtualServerProgramSpec = z.output<typeof virtualServerProgramSpec>;

export interface VirtualServerProgram {
  apiVersion: typeof API_VERSION;
  kind: 'VirtualServerProgram';
  /** `name` is sliceName(spec.virtualServer.name, spec.slice.index). */
  metadata: NamespacedMetadata & ServerMetadata;
  spec: VirtualServerProgramSpec;
}
