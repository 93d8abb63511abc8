/**
 * Field types that several kinds share, as zod schemas: names, metadata, addresses, references, label selectors. Rules that look at
 * more than one field are in rules.ts and in the files beside each kind.
 */
import { z } from 'zod';
import { MAX_DIRECTOR_GROUP_NAME, MAX_NAME, MAX_VIRTUAL_SERVER_NAME } from './metadata.ts';
import { MAX_LABELS } from './vocabulary.ts';

/** RFC 1123 label: lower case letters, digits and '-', at most 63 characters. Names of namespaces, VirtualServers and Services. */
export const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
/** RFC 1123 subdomain: labels joined by dots. */
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

export const namespaceName = () => z.string().max(63).regex(LABEL);
/** A label too, not a subdomain: names of programs are made of it and a dot (slices.ts). */
export const virtualServerName = () => z.string().max(MAX_VIRTUAL_SERVER_NAME).regex(LABEL);
/** Names of Services and of ports: labels. */
export const labelName = () => z.string().max(63).regex(LABEL);
export const objectName = (max: number) => z.string().max(max).regex(SUBDOMAIN);

const stringMap = z.record(z.string(), z.string());

/** Set by an API server, in every object that `kubectl get -o yaml` wrote; accepted and dropped. */
const serverSet = {
  uid: z.unknown().optional(),
  resourceVersion: z.unknown().optional(),
  generation: z.unknown().optional(),
  generateName: z.unknown().optional(),
  creationTimestamp: z.unknown().optional(),
  deletionTimestamp: z.unknown().optional(),
  deletionGracePeriodSeconds: z.unknown().optional(),
  managedFields: z.unknown().optional(),
  ownerReferences: z.unknown().optional(),
  finalizers: z.unknown().optional(),
  selfLink: z.unknown().optional(),
};

export const namespacedMetadata = z.strictObject({
  name: virtualServerName(),
  namespace: namespaceName().default('default'),
  labels: stringMap.optional(),
  annotations: stringMap.optional(),
  ...serverSet,
});

/** Of an object that only machines write, in the namespace of its VirtualServer. */
export const machineMetadata = z.strictObject({
  name: objectName(MAX_NAME),
  namespace: namespaceName(),
  labels: stringMap.optional(),
  annotations: stringMap.optional(),
  ...serverSet,
});

export const clusterMetadata = z.strictObject({
  name: objectName(MAX_NAME),
  labels: stringMap.optional(),
  annotations: stringMap.optional(),
  ...serverSet,
});

export const directorGroupMetadata = z.strictObject({
  name: objectName(MAX_DIRECTOR_GROUP_NAME),
  labels: stringMap.optional(),
  annotations: stringMap.optional(),
  ...serverSet,
});

/** Longest text of an IP address (IPv6 with an IPv4 tail, INET6_ADDRSTRLEN - 1). Its syntax is a rule, not a pattern: see rules.ts. */
export const address = () => z.string().min(2).max(45);
/** An address, a slash and up to three digits. */
export const prefix = () => z.string().min(4).max(49);
/** Whole number within bounds, both included. */
export const integer = (min: number, max: number) => z.int().min(min).max(max);
/** Reference to a cluster-scoped object by its name. */
export const reference = (max = MAX_NAME) => z.strictObject({ name: objectName(max).describe('Name of the object.') });

/** Any text up to a length. */
export const text = (max: number) => z.string().max(max);
/** A moment as RFC 3339 writes it. The server checks the numbers too. */
export const time = () => text(64).regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/).meta({ format: 'date-time' });
/** How many of something. */
export const count = () => z.int().min(0).max(2_147_483_647);
/** Name of a DirectorGroup as machines pass it on; empty where there is no group. */
export const groupName = () => text(MAX_DIRECTOR_GROUP_NAME);
/** uid of an object: today 36 characters, promised is none. */
export const uid = () => text(128);

/** Label keys and values that must all be equal. */
export const matchLabels = () =>
  z.record(z.string(), z.string().max(63))
    .refine((labels) => Object.keys(labels).length <= MAX_LABELS, `a selector has at most ${MAX_LABELS} labels`)
    .meta({ maxProperties: MAX_LABELS, 'x-kubernetes-map-type': 'atomic' })
    .describe('Labels that must all be present with exactly these values.');
