/**
 * What a CRD has beyond the fields of its kind: names, scope, columns of `kubectl get`, and how lists merge under server-side
 * apply. Data only; crd.ts makes manifests of it.
 */
import type { z } from 'zod';
import type { CelRule, Rule } from './v1alpha1/rules.ts';
import { LABEL } from './v1alpha1/fields.ts';
import { ipvsNodeSpec, ipvsNodeStatus } from './v1alpha1/ipvsnode.ts';
import { PROGRAM_RULES, VIRTUAL_IP_RULES } from './v1alpha1/machine.rules.ts';
import { MAX_DIRECTOR_GROUP_NAME, MAX_VIRTUAL_SERVER_NAME } from './v1alpha1/metadata.ts';
import { sliceName } from './v1alpha1/slices.ts';
import { virtualIPSpec, virtualIPStatus } from './v1alpha1/virtualip.ts';
import { MAX_VIRTUAL_IP_NAME } from './v1alpha1/virtualip.name.ts';
import { virtualServerProgramSpec } from './v1alpha1/virtualserverprogram.ts';
import { MAX_SLICES } from './v1alpha1/vocabulary.ts';
import { virtualServerSpec } from './v1alpha1/virtualserver.ts';
import { vipPoolSpec } from './v1alpha1/vippool.ts';
import { directorGroupSpec } from './v1alpha1/directorgroup.ts';
import { directorGroupStatus, vipPoolStatus, virtualServerStatus } from './v1alpha1/status.ts';
import { VIRTUAL_SERVER_RULES } from './v1alpha1/virtualserver.rules.ts';
import { VIP_POOL_RULES } from './v1alpha1/vippool.rules.ts';
import { DIRECTOR_GROUP_RULES } from './v1alpha1/directorgroup.rules.ts';

export interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date' | 'boolean';
  readonly jsonPath: string;
  /** 1: only with `-o wide`. */
  readonly priority?: 1;
}

export interface Definition {
  readonly kind: string;
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly scope: 'Namespaced' | 'Cluster';
  readonly description: string;
  /** What a name must be beyond what Kubernetes asks; also the bound that rules about names are priced by. */
  readonly name?: { readonly maxLength: number; readonly pattern?: string };
  readonly spec: z.ZodType;
  /** Absent: the kind has none. */
  readonly status?: z.ZodType;
  readonly rules: readonly CelRule[];
  /** For every list: the keys that identify an item, `set` for unique scalars, or `atomic`. */
  readonly lists: Readonly<Record<string, 'set' | 'atomic' | readonly string[]>>;
  readonly columns: readonly Column[];
  /** Fields that a watch can select by. */
  readonly selectable?: readonly string[];
}

const celOf = <T>(rules: readonly Rule<T>[]): CelRule[] => rules.flatMap((r) => r.cel);
const condition = (type: string, field: 'status' | 'reason') => `.status.conditions[?(@.type=="${type}")].${field}`;
const AGE: Column = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };

export const DEFINITIONS: readonly Definition[] = [
  {
    kind: 'VirtualServer',
    plural: 'virtualservers',
    shortNames: ['ivs', 'ipvs'],
    scope: 'Namespaced',
    description: 'A service on an address of its own (VIP), balanced over real servers by Linux IPVS.',
    name: { maxLength: MAX_VIRTUAL_SERVER_NAME, pattern: LABEL.source },
    spec: virtualServerSpec.describe('What is wanted.'),
    status: virtualServerStatus,
    rules: celOf(VIRTUAL_SERVER_RULES),
    lists: {
      'spec.vip.families': 'set',
      'spec.vip.addresses': 'set',
      'spec.ports': ['port', 'protocol'],
      'spec.backends': 'atomic',
      'spec.backends[].static.endpoints': ['address'],
      'spec.healthCheck.http.expectedStatuses': 'set',
      'status.addresses': ['value'],
      'status.excluded': 'atomic',
      'status.conditions': ['type'],
    },
    columns: [
      { name: 'Mode', type: 'string', jsonPath: '.spec.mode' },
      { name: 'Address', type: 'string', jsonPath: '.status.summary.addresses' },
      { name: 'Ports', type: 'string', jsonPath: '.status.summary.ports' },
      { name: 'Backends', type: 'string', jsonPath: '.status.summary.backends' },
      { name: 'Node', type: 'string', jsonPath: '.status.summary.activeNode' },
      { name: 'Ready', type: 'string', jsonPath: condition('Ready', 'status') },
      AGE,
      { name: 'Scheduler', type: 'string', jsonPath: '.spec.scheduler.name', priority: 1 },
      { name: 'Pool', type: 'string', jsonPath: '.spec.vip.poolRef.name', priority: 1 },
      { name: 'Programmed', type: 'string', jsonPath: condition('Programmed', 'status'), priority: 1 },
      { name: 'Reason', type: 'string', jsonPath: condition('Ready', 'reason'), priority: 1 },
    ],
  },
  {
    kind: 'VIPPool',
    plural: 'vippools',
    shortNames: ['vippool'],
    scope: 'Cluster',
    description: 'Addresses that VirtualServers may use, and who may use them.',
    spec: vipPoolSpec.describe('What is wanted.'),
    status: vipPoolStatus,
    rules: celOf(VIP_POOL_RULES),
    lists: {
      'spec.blocks': 'atomic',
      'spec.excluded': 'set',
      'spec.allowedNamespaces.names': 'set',
      'spec.allowStaticBackendCIDRs': 'set',
      'status.conditions': ['type'],
    },
    columns: [
      { name: 'Default', type: 'boolean', jsonPath: '.spec.default' },
      { name: 'Disabled', type: 'boolean', jsonPath: '.spec.disabled' },
      { name: 'IPv4', type: 'string', jsonPath: '.status.capacity.ipv4' },
      { name: 'IPv4 used', type: 'string', jsonPath: '.status.allocated.ipv4' },
      { name: 'IPv6 used', type: 'string', jsonPath: '.status.allocated.ipv6' },
      { name: 'Ready', type: 'string', jsonPath: condition('Ready', 'status') },
      AGE,
      { name: 'Directors', type: 'string', jsonPath: '.spec.directorGroupRef.name', priority: 1 },
    ],
  },
  {
    kind: 'DirectorGroup',
    plural: 'directorgroups',
    shortNames: ['dgroup'],
    scope: 'Cluster',
    description: 'Nodes that direct, the interface they do it on, and settings that belong to the director rather than to a service.',
    name: { maxLength: MAX_DIRECTOR_GROUP_NAME },
    spec: directorGroupSpec.prefault({}).describe('What is wanted.'),
    status: directorGroupStatus,
    rules: celOf(DIRECTOR_GROUP_RULES),
    lists: {
      'status.members': ['node'],
      'status.conditions': ['type'],
    },
    columns: [
      { name: 'Interface', type: 'string', jsonPath: '.spec.interface.match' },
      { name: 'Sync', type: 'boolean', jsonPath: '.spec.connectionSync.enabled' },
      { name: 'Members', type: 'string', jsonPath: '.status.summary.members' },
      { name: 'VIPs', type: 'integer', jsonPath: '.status.summary.ownedVIPs' },
      { name: 'Ready', type: 'string', jsonPath: condition('Ready', 'status') },
      AGE,
      { name: 'Lease', type: 'integer', jsonPath: '.spec.failover.leaseDurationSeconds', priority: 1 },
    ],
  },
  {
    kind: 'VirtualIP',
    plural: 'virtualips',
    shortNames: ['vip'],
    scope: 'Cluster',
    description: 'The claim on one address, and the director that holds it. Written by the operator; not for people.',
    name: { maxLength: MAX_VIRTUAL_IP_NAME },
    spec: virtualIPSpec.describe('Who has the address. Written by the controller.'),
    status: virtualIPStatus,
    rules: celOf(VIRTUAL_IP_RULES),
    lists: {
      'spec.claims': ['namespace', 'name'],
      'spec.claims[].ports': 'atomic',
      'status.conditions': ['type'],
    },
    columns: [
      { name: 'Address', type: 'string', jsonPath: '.spec.address' },
      { name: 'Node', type: 'string', jsonPath: '.status.activeNode' },
      { name: 'Group', type: 'string', jsonPath: '.spec.directorGroup' },
      { name: 'Claims', type: 'integer', jsonPath: '.status.claims' },
      { name: 'Owned', type: 'string', jsonPath: condition('Owned', 'status') },
      AGE,
      { name: 'Pool', type: 'string', jsonPath: '.spec.poolRef.name', priority: 1 },
      { name: 'MAC', type: 'string', jsonPath: '.status.mac', priority: 1 },
      { name: 'Epoch', type: 'integer', jsonPath: '.status.epoch', priority: 1 },
      { name: 'Since', type: 'date', jsonPath: '.status.since', priority: 1 },
    ],
    selectable: ['.spec.directorGroup'],
  },
  {
    kind: 'VirtualServerProgram',
    plural: 'virtualserverprograms',
    shortNames: ['ivsp'],
    scope: 'Namespaced',
    description: 'What directors are told about one VirtualServer, compiled. Written by the controller; not for people.',
    name: { maxLength: sliceName('x'.repeat(MAX_VIRTUAL_SERVER_NAME), MAX_SLICES).length },
    spec: virtualServerProgramSpec.describe('The program, or one slice of it.'),
    rules: celOf(PROGRAM_RULES),
    lists: {
      'spec.addresses': 'atomic',
      'spec.services': 'atomic',
      'spec.services[].ports': 'atomic',
      'spec.services[].realServers': 'atomic',
      'spec.healthCheck.http.expectedStatuses': 'atomic',
    },
    columns: [
      { name: 'Group', type: 'string', jsonPath: '.spec.directorGroup' },
      { name: 'Mode', type: 'string', jsonPath: '.spec.mode' },
      { name: 'Slice', type: 'integer', jsonPath: '.spec.slice.index' },
      { name: 'Of', type: 'integer', jsonPath: '.spec.slice.count' },
      { name: 'Generation', type: 'integer', jsonPath: '.spec.generation' },
      { name: 'Hash', type: 'string', jsonPath: '.spec.contentHash' },
      AGE,
    ],
    selectable: ['.spec.directorGroup'],
  },
  {
    kind: 'IPVSNode',
    plural: 'ipvsnodes',
    shortNames: ['ivn'],
    scope: 'Cluster',
    description: 'What one node is told, and what its agent observed and did. Written by the operator; not for people.',
    spec: ipvsNodeSpec.describe('What the node is told. Written by the controller.'),
    status: ipvsNodeStatus,
    rules: [],
    lists: {
      'spec.directorGroups': 'set',
      'spec.realServer.binds': 'atomic',
      'spec.reservedAddresses': 'atomic',
      'status.capabilities.schedulers': 'atomic',
      'status.capabilities.tunnels': 'atomic',
      'status.interfaces': 'atomic',
      'status.interfaces[].addresses': 'atomic',
      'status.applied': 'atomic',
      'status.failures': 'atomic',
      'status.backends': 'atomic',
      'status.ownedVIPs': 'atomic',
      'status.boundVIPs': 'atomic',
      'status.foreign.examples': 'atomic',
      'status.conditions': ['type'],
    },
    columns: [
      { name: 'Ready', type: 'string', jsonPath: condition('Ready', 'status') },
      { name: 'Groups', type: 'string', jsonPath: '.spec.directorGroups' },
      { name: 'Programs', type: 'integer', jsonPath: '.status.programs.applied' },
      { name: 'Kernel', type: 'string', jsonPath: '.status.kernel' },
      { name: 'Version', type: 'string', jsonPath: '.status.agentVersion' },
      AGE,
      { name: 'Failed', type: 'integer', jsonPath: '.status.programs.failed', priority: 1 },
      { name: 'Degraded', type: 'string', jsonPath: condition('Degraded', 'reason'), priority: 1 },
      { name: 'Reason', type: 'string', jsonPath: condition('Ready', 'reason'), priority: 1 },
    ],
  },
];
