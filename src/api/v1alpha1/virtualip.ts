/**
 * VirtualIP: the claim on one address, and who serves it. Written by machines only: the controller creates it (create-or-409 is the lock
 * on the address) and keeps the claims; the owner's agent and the controller report in status. Fields and bounds; which VirtualServer
 * gets the address is decided in controller/compile.
 */
import { z } from 'zod';
import { address, clusterMetadata, groupName, integer, namespaceName, reference, text, time, uid, virtualServerName } from './fields.ts';
import { API_VERSION, type ObjectMetadata, type ServerMetadata } from './metadata.ts';
import { conditionsOf } from './status.ts';
import { FAMILIES, MAX_CLAIMS, MAX_PORTS } from './vocabulary.ts';

const claim = z.strictObject({
  namespace: namespaceName().describe('Namespace of the VirtualServer.'),
  name: virtualServerName().describe('Name of the VirtualServer.'),
  uid: uid().describe('Its uid: another VirtualServer of the same name has no right to this claim.'),
  ports: z.array(text(16)).max(MAX_PORTS).describe("Ports it has on this address, as 'TCP/80-80'."),
});

export const virtualIPSpec = z.strictObject({
  address: address().describe('The address, in canonical form. Never changes.'),
  family: z.enum(FAMILIES).describe('Its family.'),
  poolRef: reference().describe('VIPPool it was taken from.'),
  directorGroup: groupName().describe('DirectorGroup that serves it.'),
  claims: z.array(claim).max(MAX_CLAIMS).describe('VirtualServers that have it, each with its ports. Empty: about to be given back.'),
});

export const virtualIPStatus = z.strictObject({
  activeNode: text(253).optional().describe('The director that holds the address. Empty: none.'),
  since: time().optional().describe('Since when it holds it.'),
  epoch: z.int().min(0).optional().describe('Counts the changes of owner: of two that claim the address, the greater one is right.'),
  mac: text(17).optional().describe('MAC address that answers for it.'),
  claims: integer(0, MAX_CLAIMS).optional().describe('How many VirtualServers have it: for the columns of kubectl.'),
  conditions: conditionsOf('VirtualIP'),
});

export const virtualIP = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('VirtualIP'),
  metadata: clusterMetadata,
  spec: virtualIPSpec,
  status: virtualIPStatus.optional(),
});

export type VirtualIPSpec = z.output<typeof virtualIPSpec>;
export type VirtualIPClaim = VirtualIPSpec['claims'][number];
export type VirtualIPStatus = z.output<typeof virtualIPStatus>;

export interface VirtualIP {
  apiVersion: typeof API_VERSION;
  kind: 'VirtualIP';
  /** `name` is virtualIPName(spec.address). */
  metadata: ObjectMetadata & ServerMetadata;
  spec: VirtualIPSpec;
  status?: VirtualIPStatus;
}
