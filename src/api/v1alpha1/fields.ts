/**
 * Field types that several kinds share, as zod schemas: names, metadata, addresses, references, label selectors. Rules that look at
 * more than one field are in rules.ts and in the files beside each kind.
 */
import { z } from 'zod';
import { MAX_NAME, MAX_VIRTUAL_SERVER_NAME } from './metadata.ts';
import { MAX_LABELS } from './vocabulary.ts';

/** RFC 1123 label: lower case letters, digits and '-', at most 63 characters. Names of namespaces and of VirtualServers. */
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
/** RFC 1123 subdomain: labels joined by dots. */
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

export const namespaceName = () => z.string().max(63).regex(LABEL);
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
  name: objectName(MAX_VIRTUAL_SERVER_NAME),
  namespace: namespaceName().default('default'),
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

/** Longest text of an IP address (IPv6 with an IPv4 tail, INET6_ADDRSTRLEN - 1). Its syntax is a rule, not a pattern: see rules.ts. */
export const address = () => z.string().min(2).max(45);
/** An address, a slash and up to three digits. */
export const prefix = () => z.string().min(4).max(49);
/** Whole number within bounds, both included. */
export const integer = (min: number, max: number) => z.int().min(min).max(max);
/** Reference to a cluster-scoped object by its name. */
export const reference = (max = MAX_NAME) => z.strictObject({ name: objectName(max).describe('Name of the object.') });

/** Label keys and values that must all be equal. */
export const matchLabels = () =>
  z.record(z.string(), z.string().max(63))
    .refine((labels) => Object.keys(labels).length <= MAX_LABELS, `a selector has at most ${MAX_LABELS} labels`)
    .meta({ maxProperties: MAX_LABELS, 'x-kubernetes-map-type': 'atomic' })
    .describe('Labels that must all be present with exactly these values.');
