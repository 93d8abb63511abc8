/**
 * VirtualServer: the API people use. Fields, defaults and bounds; descriptions are what `kubectl explain` prints.
 * Rules that look at more than one field are in virtualserver.rules.ts. A field is here only when it works.
 */
import { z } from 'zod';
import { address, integer, labelName, matchLabels, namespaceName, namespacedMetadata, reference } from './fields.ts';
import { healthCheck, slowStart } from './healthcheck.ts';
import { API_VERSION, MAX_VIRTUAL_SERVER_NAME, type NamespacedMetadata } from './metadata.ts';
import {
  DEFAULT_WEIGHT, FAMILIES, GUE_PORT, MAX_ADDRESSES, MAX_BACKENDS, MAX_ENDPOINTS, MAX_KERNEL_SECONDS, MAX_PORTS, MAX_WEIGHT, SCHEDULERS, type SchedulerName,
} from './vocabulary.ts';

export { MAX_ENDPOINTS, MAX_PORTS, MAX_WEIGHT, type SchedulerName };

const vip = z.strictObject({
  poolRef: reference().optional().describe('VIPPool to take the address from. Absent: the default pool, or the pool that holds the pinned addresses.'),
  families: z.array(z.enum(FAMILIES)).min(1).max(2).optional()
    .describe('Address families wanted, one address of each. Absent: those of `addresses`, or what the pool offers.'),
  addresses: z.array(address()).min(1).max(MAX_ADDRESSES).optional()
    .describe('Addresses to use, instead of any of the pool. Each must lie in a pool that admits this namespace.'),
  sharedFrom: reference(MAX_VIRTUAL_SERVER_NAME).optional()
    .describe('Use the address of another VirtualServer of this namespace, with other ports. Excludes every other field of vip.'),
});

const nat = z.strictObject({
  sourceAddress: z.enum(['Auto', 'Preserve', 'Masquerade', 'VirtualIP']).default('Auto').describe(
    'What the real server sees as the source. Preserve: the client; the director must then be on the way back. '
    + 'Masquerade: an address of the director. VirtualIP: the VIP itself, which moves with its owner, so connections survive a failover. Auto: Masquerade.'),
});

const tun = z.strictObject({
  encapsulation: z.enum(['IPIP', 'GUE', 'GRE']).default('IPIP')
    .describe('How packets travel to the real server. GUE: inside UDP; nodes that receive must have loaded the module fou.'),
  port: integer(1, 65535).optional().describe(`UDP port of the GUE receiver on the real server. Default ${GUE_PORT}. Only with GUE.`),
  checksum: z.enum(['None', 'Checksum', 'RemoteChecksum']).default('None')
    .describe('Checksum of the tunnel header: Checksum with GUE and GRE, RemoteChecksum with GUE only.'),
});

const port = z.strictObject({
  name: labelName().optional().describe('Name of the port, unique in this VirtualServer.'),
  port: integer(1, 65535).describe('Port of the VIP; the first one of a range.'),
  endPort: integer(1, 65535).optional().describe('Last port of a range, included. A range is one service: a client port is never rewritten.'),
  protocol: z.enum(['TCP', 'UDP', 'SCTP']).default('TCP').describe('Transport protocol.'),
  targetPort: integer(1, 65535).optional()
    .describe('Port on real servers of static and nodes backends; a Service has its own. Absent: the same port. Only NAT can rewrite it, and not for ranges.'),
});

const scheduler = z.strictObject({
  name: z.enum(SCHEDULERS).default('wrr').describe(
    'Who gets the next connection. rr, wrr: in turn. lc, wlc, sed, nq: fewest connections. sh, mh: by source address. '
    + 'dh, lblc, lblcr: by destination address. fo: highest weight. ovf: weight is the largest number of connections.'),
  fallback: z.boolean().default(false).describe('Pick another real server when the hashed one has weight 0. Only with sh and mh.'),
  portAware: z.boolean().default(false).describe('Hash the source port too. Only with sh and mh.'),
  onePacket: z.boolean().default(false)
    .describe('Schedule every datagram by itself. Only when all ports are UDP. With NAT the kernel does not rewrite answers then: only for traffic without answers.'),
});

const persistence = z.strictObject({
  timeoutSeconds: integer(1, MAX_KERNEL_SECONDS).default(300).describe('How long a client stays with its real server after its last connection ended.'),
  ipv4PrefixLength: integer(1, 32).default(32).describe('IPv4 clients with the same prefix of this length count as one.'),
  ipv6PrefixLength: integer(1, 128).default(128).describe('IPv6 clients with the same prefix of this length count as one.'),
  engine: z.enum(['sip']).optional().describe('What identifies a client instead of its address: sip, the Call-ID. Only when all ports are UDP.'),
  scope: z.enum(['Port', 'AllPorts']).default('Port')
    .describe('AllPorts: a client reaches the same real server on every port of this VirtualServer. Then ports are not rewritten.'),
});

const weight = () => integer(0, MAX_WEIGHT);

const endpoint = z.strictObject({
  address: address().describe('Address of the real server.'),
  weight: weight().optional().describe('Overrides the weight of the backend. 0: no new connections.'),
});

const serviceRef = z.strictObject({
  name: labelName().describe('Name of the Service.'),
  namespace: namespaceName().optional().describe('Namespace of the Service. Absent: that of this VirtualServer. Another one has to give its permission.'),
  port: z.union([integer(1, 65535), labelName()]).optional()
    .describe("Port of the Service, by name or number; the Service's own target port is what the real servers get. Absent: its only port."),
  podWeights: z.enum(['Ignore', 'Annotation']).default('Ignore')
    .describe('Annotation: the annotation ipvs-operator.dev/weight of a Pod is percent of the weight of its endpoint. The controller must be allowed to list Pods (chart: rbac.readPods).'),
});

const nodes = z.strictObject({
  selector: z.strictObject({ matchLabels: matchLabels() }).describe('Which nodes.'),
});

const backend = z.strictObject({
  weight: weight().default(DEFAULT_WEIGHT).describe('Weight of each real server of this backend that has none of its own. 0: no new connections.'),
  static: z.strictObject({
    endpoints: z.array(endpoint).max(MAX_ENDPOINTS).describe('The real servers. Each address once.'),
  }).optional().describe('Real servers by address. The pool must allow them: VIPPool.spec.allowStaticBackendCIDRs.'),
  serviceRef: serviceRef.optional().describe('Real servers are the endpoints of a Service. Only in a cluster.'),
  nodes: nodes.optional().describe('Real servers are nodes, by their internal addresses. Only in a cluster.'),
});

const connectionLimits = z.strictObject({
  upper: integer(0, 2_147_483_647).default(0)
    .describe('Above this many connections a real server gets no new ones. The kernel counts finished ones too, for minutes. 0: no limit.'),
  lower: integer(0, 2_147_483_647).default(0).describe('It gets new ones again below this. 0: three quarters of upper.'),
});

const drain = z.strictObject({
  timeoutSeconds: integer(0, 86_400).default(300).describe('How long connections of a removed real server may go on before they are cut.'),
});

export const virtualServerSpec = z.strictObject({
  vip: vip.optional().describe('The address. Absent: one address of the default pool.'),
  mode: z.enum(['NAT', 'DR', 'TUN']).describe(
    'How packets reach the real servers. NAT: rewritten by the director, both ways. '
    + 'DR: by MAC address on the same network; answers go straight to the client. TUN: in a tunnel; answers go straight to the client.'),
  nat: nat.optional().describe('Only with mode NAT.'),
  tun: tun.optional().describe('Only with mode TUN. Absent: IPIP.'),
  ports: z.array(port).min(1).max(MAX_PORTS).describe('What is served, unique by port and protocol.'),
  scheduler: scheduler.prefault({}).describe('How connections are spread.'),
  persistence: persistence.optional().describe('Keep a client on its real server. Absent: off.'),
  backends: z.array(backend).min(1).max(MAX_BACKENDS).describe('Where the real servers come from, one source each: static, serviceRef or nodes.'),
  trafficPolicy: z.enum(['Cluster', 'Local']).default('Cluster')
    .describe('Which real servers a director uses. Cluster: all of them. Local: only those on its own node; needs a cluster.'),
  connectionLimits: connectionLimits.prefault({}).describe('Connection thresholds, per real server.'),
  healthCheck: healthCheck.optional()
    .describe('How directors check the real servers. Absent: not at all. Endpoints of a Service that are not ready get no connections either way.'),
  slowStart: slowStart.optional().describe('How a real server that comes back, or is new beside others, is given its share. Needs healthCheck. Absent: at once.'),
  drain: drain.prefault({}).describe('What happens to connections of a real server that goes away.'),
  suspend: z.boolean().default(false).describe('Keep the claim on the address, serve nothing.'),
});

export const virtualServer = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('VirtualServer'),
  metadata: namespacedMetadata,
  spec: virtualServerSpec,
  status: z.unknown().optional(),
});

export type VirtualServerSpec = z.output<typeof virtualServerSpec>;
export type VirtualServerPort = VirtualServerSpec['ports'][number];
export type VirtualServerBackend = VirtualServerSpec['backends'][number];
export type VirtualServerMode = VirtualServerSpec['mode'];

/** A VirtualServer with every default applied that does not depend on another field. */
export interface VirtualServer {
  apiVersion: typeof API_VERSION;
  kind: 'VirtualServer';
  metadata: NamespacedMetadata;
  spec: VirtualServerSpec;
}
