/**
 * VIPPool: which addresses exist, who may use them, which directors serve them. Fields, defaults and bounds; rules that look
 * at more than one field are in vippool.rules.ts. Which address is free is decided in controller/compile.
 */
import { z } from 'zod';
import { address, clusterMetadata, integer, matchLabels, namespaceName, prefix, reference } from './fields.ts';
import { API_VERSION, MAX_DIRECTOR_GROUP_NAME, type ObjectMetadata } from './metadata.ts';
import { MAX_BLOCKS, MAX_STATIC_CIDRS } from './vocabulary.ts';

const MAX_EXCLUDED = 256;

const block = z.strictObject({
  cidr: prefix().optional().describe('A prefix, as 203.0.113.0/28. Instead of start and stop.'),
  start: address().optional().describe('First address of a range. With stop.'),
  stop: address().optional().describe('Last address of a range, included. With start.'),
});

const allowedNamespaces = z.strictObject({
  all: z.boolean().default(false).describe('Everybody may use this pool.'),
  matchLabels: matchLabels().optional().describe('Namespaces with all of these labels may use this pool. Standalone hosts know no namespace labels: use names.'),
  names: z.array(namespaceName()).min(1).max(256).optional().describe('Namespaces with these names may use this pool.'),
});

export const vipPoolSpec = z.strictObject({
  blocks: z.array(block).min(1).max(MAX_BLOCKS).describe('The addresses of this pool.'),
  excluded: z.array(address()).max(MAX_EXCLUDED).default([]).describe('Addresses of the blocks that are never used: gateways, hosts.'),
  allocateFirstLast: z.boolean().default(false)
    .describe('Allocate the first and the last address of each cidr block too. A pinned address is not affected.'),
  autoAssign: z.boolean().default(true).describe('Allocate from this pool for VirtualServers that pin no address.'),
  default: z.boolean().default(false).describe('Take addresses from this pool when a VirtualServer names none.'),
  allowedNamespaces: allowedNamespaces.prefault({}).describe('Who may use this pool. Empty: nobody.'),
  quotaPerNamespace: integer(1, 1_000_000).optional().describe('Most addresses a namespace may hold. Absent: no limit.'),
  directorGroupRef: reference(MAX_DIRECTOR_GROUP_NAME).optional().describe('DirectorGroup that serves these addresses. Absent: the only one.'),
  allowStaticBackendCIDRs: z.array(prefix()).max(MAX_STATIC_CIDRS).default([])
    .describe('Where real servers given by address may be. Empty: static backends are forbidden.'),
  disabled: z.boolean().default(false).describe('No new claims; those that exist stay.'),
});

export const vipPool = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('VIPPool'),
  metadata: clusterMetadata,
  spec: vipPoolSpec,
  status: z.unknown().optional(),
});

export type VIPPoolSpec = z.output<typeof vipPoolSpec>;
export type VIPPoolBlock = VIPPoolSpec['blocks'][number];

/** A VIPPool with every default applied. */
export interface VIPPool {
  apiVersion: typeof API_VERSION;
  kind: 'VIPPool';
  metadata: ObjectMetadata;
  spec: VIPPoolSpec;
}
