/**
 * What controllers report, per kind: `status`. Never written by people, so parsing drops it; the CRDs and `kubectl explain` show it.
 */
import { z } from 'zod';
import { FAMILIES } from './vocabulary.ts';
import { CONDITIONS } from './conditions.ts';

/** Real servers named in status.excluded; more are only counted. */
export const MAX_EXCLUDED_IN_STATUS = 16;

const text = (max: number) => z.string().max(max);
const count = () => z.int().min(0).max(2_147_483_647);
const conditionTypes = Object.keys(CONDITIONS).join(', ');

const conditions = z.array(z.strictObject({
  type: text(316).describe(`One of ${conditionTypes}.`),
  status: z.enum(['True', 'False', 'Unknown']).describe('Whether it is so.'),
  reason: text(1024).describe('Why, in one word.'),
  message: text(32768).describe('Why, for a person, and what to do.'),
  lastTransitionTime: z.iso.datetime().describe('When status changed last.'),
  observedGeneration: z.int().min(0).optional().describe('Generation of the object this was said of.'),
})).max(16).optional().describe('The state of this object in a few words each.');

const observedGeneration = z.int().min(0).optional().describe('Generation of the spec that this status is about.');
const perFamily = (what: string) => z.strictObject({
  ipv4: text(40).optional().describe(`IPv4: ${what}, as a decimal number.`),
  ipv6: text(40).optional().describe(`IPv6: ${what}, as a decimal number.`),
}).optional();

export const virtualServerStatus = z.strictObject({
  observedGeneration,
  addresses: z.array(z.strictObject({
    value: text(45).describe('The address.'),
    family: z.enum(FAMILIES).describe('Its family.'),
    activeNode: text(253).optional().describe('The director that holds it.'),
  })).max(16).optional().describe('The VIPs.'),
  summary: z.strictObject({
    ports: text(1024).optional().describe("As '80/TCP,443/TCP'."),
    backends: text(64).optional().describe("Ready and all real servers, as '99/100'."),
    activeNode: text(1024).optional().describe('The directors that hold the VIPs.'),
  }).optional().describe('For the columns of kubectl.'),
  backends: z.strictObject({
    total: count().optional().describe('All real servers.'),
    ready: count().optional().describe('Those that take new connections.'),
    draining: count().optional().describe('Those that only keep the connections they have.'),
    unhealthy: count().optional().describe('Those whose health check fails.'),
  }).optional().describe('How many real servers there are.'),
  excluded: z.array(z.strictObject({
    backend: text(64).describe('The real server.'),
    reason: text(64).describe('Why it is not used, in one word.'),
    message: text(1024).describe('Why it is not used.'),
  })).max(MAX_EXCLUDED_IN_STATUS).optional().describe('Real servers that cannot be used.'),
  excludedCount: count().optional().describe('How many there are in all.'),
  directors: z.strictObject({
    desired: count().optional().describe('Directors that should run this generation.'),
    programmed: count().optional().describe('Directors that run it.'),
  }).optional().describe('How far the directors are.'),
  conditions,
});

export const vipPoolStatus = z.strictObject({
  observedGeneration,
  capacity: perFamily('addresses that can be allocated').describe('How many addresses there are.'),
  allocated: perFamily('addresses in use').describe('How many are in use.'),
  conditions,
});

export const directorGroupStatus = z.strictObject({
  observedGeneration,
  members: z.array(z.strictObject({
    node: text(253).describe('Name of the node.'),
    state: text(64).describe('What it does, in one word.'),
    ownedVIPs: count().optional().describe('How many VIPs it holds.'),
  })).max(1000).optional().describe('The directors of this group.'),
  conditions,
});

export type VirtualServerStatus = z.output<typeof virtualServerStatus>;
export type VIPPoolStatus = z.output<typeof vipPoolStatus>;
export type DirectorGroupStatus = z.output<typeof directorGroupStatus>;
