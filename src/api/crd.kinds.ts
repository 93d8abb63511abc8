/**
 * What a CRD has beyond the fields of its kind: names, scope, columns of `kubectl get`, and how lists merge under server-side
 * apply. Data only; crd.ts makes manifests of it.
 */
import type { z } from 'zod';
import type { CelRule, Rule } from './v1alpha1/rules.ts';
import { MAX_VIRTUAL_SERVER_NAME } from './v1alpha1/metadata.ts';
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
  readonly maxName?: number;
  readonly spec: z.ZodType;
  readonly status: z.ZodType;
  readonly rules: readonly CelRule[];
  /** For every list: the keys that identify an item, `set` for unique scalars, or `atomic`. */
  readonly lists: Readonly<Record<string, 'set' | 'atomic' | readonly string[]>>;
  readonly columns: readonly Column[];
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
    maxName: MAX_VIRTUAL_SERVER_NAME,
    spec: virtualServerSpec.describe('What is wanted.'),
    status: virtualServerStatus,
    rules: celOf(VIRTUAL_SERVER_RULES),
    lists: {
      'spec.vip.families': 'set',
      'spec.vip.addresses': 'set',
      'spec.ports': ['port', 'protocol'],
      'spec.backends': 'atomic',
      'spec.backends[].static.endpoints': ['address'],
      'status.addresses': ['value'],
      'status.excluded': 'atomic',
      'status.conditions': ['type'],
    },
    columns: [
      { name: 'Mode', type: 'string', jsonPath: '.spec.mode' },
      { name: 'Address', type: 'string', jsonPath: '.status.addresses[*].value' },
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
      { name: 'Ready', type: 'string', jsonPath: condition('Ready', 'status') },
      AGE,
    ],
  },
];
