/**
 * What every kind has in common: group and version, object metadata, the key of an object. Plain data, and no schema: those are in
 * fields.ts and beside each kind.
 */
export const GROUP = 'ipvs-operator.dev';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}` as const;

/** Longest name of a VirtualServer: it becomes a label value, and label values end at 63 characters. */
export const MAX_VIRTUAL_SERVER_NAME = 63;
/** Longest name of a DirectorGroup, for the same reason. */
export const MAX_DIRECTOR_GROUP_NAME = 63;
/** Longest name of any object (Kubernetes). */
export const MAX_NAME = 253;

/** On every VirtualServerProgram: the group it is for, and its VirtualServer, for `kubectl get ivsp -l`. */
export const GROUP_LABEL = `${GROUP}/director-group`;
export const VIRTUAL_SERVER_LABEL = `${GROUP}/virtual-server`;
/**
 * A label of a Node, by its administrator, and an annotation of a Pod, by its owner: percent of the weight of the real servers there,
 * or of that one.
 */
export const WEIGHT_NAME = `${GROUP}/weight`;

/** Metadata as the rest of the program sees it. */
export interface ObjectMetadata {
  name: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}
export interface NamespacedMetadata extends ObjectMetadata {
  namespace: string;
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

/** What an API server adds to metadata. All of it is absent in a manifest, and in an object that is about to be created. */
export interface ServerMetadata {
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  /** RFC 3339. */
  creationTimestamp?: string;
  deletionTimestamp?: string;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
}

/** `VirtualServer/shop/web`, `VIPPool/public`: unique among all objects, and how a person sees it in logs. */
export function objectKey(o: { readonly kind: string; readonly metadata: { readonly name: string; readonly namespace?: string } }): string {
  return o.metadata.namespace === undefined
    ? `${o.kind}/${o.metadata.name}`
    : `${o.kind}/${o.metadata.namespace}/${o.metadata.name}`;
}
