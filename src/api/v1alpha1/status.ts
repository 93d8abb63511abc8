/**
 * What controllers report, per kind: `status`. Never written by people, so parsing drops it; the CRDs and `kubectl explain` show it.
 */
import { z } from 'zod';
import { CONDITIONS_OF, type ConditionKind } from './conditions.ts';
import { count, text, time } from './fields.ts';
import { FAMILIES, MAX_ADDRESSES, MAX_MEMBERS } from './vocabulary.ts';

/** Real servers named in status.excluded; more are only counted. */
export const MAX_EXCLUDED_IN_STATUS = 16;

/** States of a director in its group. */
export const MEMBER_STATES = {
  Live: 'It renews its Lease and can hold VIPs.',
  Lost: 'Its Lease ran out: the others hold its VIPs.',
  NotReady: 'It is live, but its IPVSNode is not Ready: it gets no VIPs.',
  Pending: 'Its agent has not reported yet.',
} as const;

export type MemberState = keyof typeof MEMBER_STATES;

/** Conditions as the API conventions have them. Texts, not enums: a status may come from another version. */
export const conditionsOf = (kind: ConditionKind) => z.array(z.strictObject({
  type: text(316).describe(`One of ${Object.keys(CONDITIONS_OF[kind]).join(', ')}.`),
  status: z.enum(['True', 'False', 'Unknown']).describe('Whether it is so.'),
  reason: text(1024).describe('Why, in one word.'),
  message: text(32768).describe('Why, for a person, and what to do.'),
  lastTransitionTime: time().describe('When status changed last.'),
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
  })).max(MAX_ADDRESSES).optional().describe('The VIPs.'),
  summary: z.strictObject({
    addresses: text(1024).optional().describe("The VIPs, as '203.0.113.10,2001:db8::10': kubectl shows only the first of a list."),
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
  conditions: conditionsOf('VirtualServer'),
});

export const vipPoolStatus = z.strictObject({
  observedGeneration,
  capacity: perFamily('addresses that can be allocated').describe('How many addresses there are.'),
  allocated: perFamily('addresses in use').describe('How many are in use.'),
  conditions: conditionsOf('VIPPool'),
});

export const directorGroupStatus = z.strictObject({
  observedGeneration,
  members: z.array(z.strictObject({
    node: text(253).describe('Name of the node.'),
    state: text(64).describe(`What it does: one of ${Object.keys(MEMBER_STATES).join(', ')}.`),
    since: time().optional().describe('Since when it is in this state.'),
    ownedVIPs: count().optional().describe('How many VIPs it holds.'),
  })).max(MAX_MEMBERS).optional().describe('The directors of this group.'),
  summary: z.strictObject({
    members: text(64).optional().describe("Live and all directors, as '2/3'."),
    ownedVIPs: count().optional().describe('VIPs that have an owner.'),
  }).optional().describe('For the columns of kubectl.'),
  conditions: conditionsOf('DirectorGroup'),
});

export type VirtualServerStatus = z.output<typeof virtualServerStatus>;
export type VIPPoolStatus = z.output<typeof vipPoolStatus>;
export type DirectorGroupStatus = z.output<typeof directorGroupStatus>;
