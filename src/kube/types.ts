/**
 * What every Kubernetes object has, how a kind is described to this runtime, and the URL of an object. Plain data and pure functions.
 * Not here: what any particular kind contains.
 */

/** meta/v1 OwnerReference. */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean | undefined;
  readonly blockOwnerDeletion?: boolean | undefined;
}

/** meta/v1 ObjectMeta as it is on the wire: times are RFC 3339 strings. managedFields are never kept. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string | undefined;
  readonly uid?: string | undefined;
  /** Opaque: compared for equality only. */
  readonly resourceVersion?: string | undefined;
  readonly generation?: number | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly ownerReferences?: readonly OwnerReference[] | undefined;
  readonly creationTimestamp?: string | undefined;
  readonly deletionTimestamp?: string | undefined;
  readonly finalizers?: readonly string[] | undefined;
}

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** A kind, as its URLs and objects need it. */
export interface Resource<T extends KubeObject = KubeObject> {
  /** '' for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** Lower case, as in the URL. */
  readonly plural: string;
  readonly namespaced: boolean;
  /** Lists and watches fetch metadata only (meta/v1 PartialObjectMetadata): of thousands of large objects the part that is wanted. */
  readonly metadataOnly?: boolean;
  /** Checks and completes an object as read from the server; throws when it fails the schema. Only the reflector calls it. */
  readonly parse?: (value: unknown) => T;
}

/** The logger this runtime writes to; pino's Logger is one. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** `namespace/name`, or `name` for a cluster-scoped object: unique within a kind. */
export function keyOf(object: { readonly metadata: { readonly name: string; readonly namespace?: string | undefined } }): string {
  const { namespace, name } = object.metadata;
  return namespace ? `${namespace}/${name}` : name;
}

/** The opposite of `keyOf`. */
export function partsOf(key: string): { readonly namespace: string | undefined; readonly name: string } {
  const slash = key.indexOf('/');
  return slash < 0 ? { namespace: undefined, name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** 'v1', 'apps/v1'. */
export function apiVersionOf(resource: Pick<Resource, 'group' | 'version'>): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

/** 'virtualservers.example.org', 'nodes': how errors and logs name a kind. */
export function nameOf(resource: Pick<Resource, 'group' | 'plural'>): string {
  return resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`;
}

/** URL path of the list of a kind, in one namespace or in all. Throws TypeError when a cluster-scoped kind gets a namespace. */
export function collectionPath(resource: Resource, namespace?: string): string {
  if (namespace && !resource.namespaced) throw new TypeError(`${nameOf(resource)} is cluster-scoped and was asked for in namespace ${namespace}`);
  const root = resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  return `${root}${namespace ? `/namespaces/${encodeURIComponent(namespace)}` : ''}/${resource.plural}`;
}

/** URL path of one object. Throws TypeError when a namespaced kind gets no namespace, when a cluster-scoped one does, or without a name. */
export function objectPath(resource: Resource, name: string, namespace?: string, subresource?: string): string {
  if (resource.namespaced && !namespace) throw new TypeError(`${nameOf(resource)} is namespaced and ${name || 'an object'} was asked for without a namespace`);
  if (name === '') throw new TypeError(`${nameOf(resource)}: an object needs a name`);
  return `${collectionPath(resource, namespace)}/${encodeURIComponent(name)}${subresource ? `/${subresource}` : ''}`;
}
