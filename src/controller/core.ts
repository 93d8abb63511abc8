/**
 * The kinds of Kubernetes that the controller reads, with the fields that it reads, and how each is cut down before it is kept: a
 * thousand EndpointSlices with everything in them are 30 MB. Not our own kinds (api/) and not how they are fetched (kube/).
 */
import { WEIGHT_NAME } from '../api/v1alpha1/metadata.ts';
import type { KubeObject, Resource } from '../kube/types.ts';

export interface Service extends KubeObject {
  readonly spec?: {
    readonly type?: string; readonly selector?: Readonly<Record<string, string>>; readonly ports?: readonly ServicePort[]; readonly clusterIPs?: readonly string[];
  };
}

export interface ServicePort {
  readonly name?: string;
  readonly port: number;
  readonly protocol?: string;
  readonly targetPort?: number | string;
}

/** discovery.k8s.io/v1 */
export interface EndpointSlice extends KubeObject {
  readonly addressType: string;
  readonly endpoints?: readonly SliceEndpoint[] | null;
  readonly ports?: readonly SlicePort[] | null;
}

export interface SliceEndpoint {
  readonly addresses: readonly string[];
  readonly conditions?: { readonly ready?: boolean; readonly serving?: boolean; readonly terminating?: boolean };
  readonly nodeName?: string;
  /** As the server sends it. */
  readonly targetRef?: { readonly kind?: string; readonly name?: string };
  /** What is kept of it: the Pod, which is in the slice's namespace. */
  readonly pod?: string;
}

/** `name` is that of the Service's port, '' for the only one; `port` absent means every port. */
export interface SlicePort {
  readonly name?: string;
  readonly protocol?: string;
  readonly port?: number;
}

/** core/v1 Endpoints: only for Services that no EndpointSlice mirrors. */
export interface Endpoints extends KubeObject {
  readonly subsets?: readonly {
    readonly addresses?: readonly { readonly ip: string; readonly nodeName?: string }[];
    readonly notReadyAddresses?: readonly { readonly ip: string; readonly nodeName?: string }[];
    readonly ports?: readonly { readonly name?: string; readonly port: number; readonly protocol?: string }[];
  }[];
}

export interface Node extends KubeObject {
  readonly spec?: { readonly podCIDRs?: readonly string[]; readonly unschedulable?: boolean };
  readonly status?: {
    readonly addresses?: readonly { readonly type: string; readonly address: string }[];
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

export type Namespace = KubeObject;

/** Metadata only, and only where a VirtualServer asks for weights of Pods. */
export type Pod = KubeObject;

/** networking.k8s.io/v1 since Kubernetes 1.33. */
export interface ServiceCIDR extends KubeObject {
  readonly spec?: { readonly cidrs?: readonly string[] };
}

/** gateway.networking.k8s.io/v1beta1, where it is installed: who may refer to what in this namespace. */
export interface ReferenceGrant extends KubeObject {
  readonly spec?: {
    readonly from?: readonly { readonly group: string; readonly kind: string; readonly namespace: string }[];
    readonly to?: readonly { readonly group: string; readonly kind: string; readonly name?: string }[];
  };
}

/** Label of an EndpointSlice that names its Service (discovery.k8s.io/v1). */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';

export const SERVICES: Resource<Service> = { group: '', version: 'v1', kind: 'Service', plural: 'services', namespaced: true };
export const ENDPOINT_SLICES: Resource<EndpointSlice> = {
  group: 'discovery.k8s.io', version: 'v1', kind: 'EndpointSlice', plural: 'endpointslices', namespaced: true,
};
export const ENDPOINTS: Resource<Endpoints> = { group: '', version: 'v1', kind: 'Endpoints', plural: 'endpoints', namespaced: true };
export const NODES: Resource<Node> = { group: '', version: 'v1', kind: 'Node', plural: 'nodes', namespaced: false };
export const PODS: Resource<Pod> = { group: '', version: 'v1', kind: 'Pod', plural: 'pods', namespaced: true, metadataOnly: true };
export const NAMESPACES: Resource<Namespace> = { group: '', version: 'v1', kind: 'Namespace', plural: 'namespaces', namespaced: false };
export const SERVICE_CIDRS: Resource<ServiceCIDR> = { group: 'networking.k8s.io', version: 'v1', kind: 'ServiceCIDR', plural: 'servicecidrs', namespaced: false };
export const REFERENCE_GRANTS: Resource<ReferenceGrant> = {
  group: 'gateway.networking.k8s.io', version: 'v1beta1', kind: 'ReferenceGrant', plural: 'referencegrants', namespaced: true,
};

/** What is kept of an object's metadata; labels only where they are read. */
function metadata({ name, namespace, uid, resourceVersion, labels }: KubeObject['metadata'], withLabels: boolean): KubeObject['metadata'] {
  return {
    name, ...(namespace === undefined ? {} : { namespace }), ...(uid === undefined ? {} : { uid }), ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(withLabels && labels !== undefined ? { labels } : {}),
  };
}

export function trimService(s: Service): Service {
  const { type, selector, ports, clusterIPs } = s.spec ?? {};
  return {
    apiVersion: s.apiVersion, kind: s.kind, metadata: metadata(s.metadata, false),
    spec: {
      ...(type === undefined ? {} : { type }), ...(selector === undefined ? {} : { selector }), ...(clusterIPs === undefined ? {} : { clusterIPs }),
      ports: (ports ?? []).map(({ name, port, protocol, targetPort }) => ({
        port, ...(name === undefined ? {} : { name }), ...(protocol === undefined ? {} : { protocol }), ...(targetPort === undefined ? {} : { targetPort }),
      })),
    },
  };
}

/** Name of the Pod behind an endpoint; '' where there is none. */
export function podOf({ pod, targetRef }: SliceEndpoint): string {
  return pod ?? (targetRef?.kind === 'Pod' ? targetRef.name ?? '' : '');
}

/** Zones, hints and host names go; of target references the name of a Pod stays. */
export function trimSlice(s: EndpointSlice): EndpointSlice {
  const service = s.metadata.labels?.[SERVICE_NAME_LABEL];
  return {
    apiVersion: s.apiVersion, kind: s.kind,
    metadata: { ...metadata(s.metadata, false), ...(service === undefined ? {} : { labels: { [SERVICE_NAME_LABEL]: service } }) },
    addressType: s.addressType,
    ports: s.ports ?? [],
    endpoints: (s.endpoints ?? []).map((e) => {
      const { addresses, conditions, nodeName } = e;
      const pod = podOf(e);
      return { addresses, ...(conditions === undefined ? {} : { conditions }), ...(nodeName === undefined ? {} : { nodeName }), ...(pod === '' ? {} : { pod }) };
    }),
  };
}

export function trimNode(n: Node): Node {
  return {
    apiVersion: n.apiVersion, kind: n.kind, metadata: metadata(n.metadata, true),
    spec: { podCIDRs: n.spec?.podCIDRs ?? [] },
    // Heartbeats change a Node's conditions every few minutes; only its addresses matter here.
    status: { addresses: (n.status?.addresses ?? []).map(({ type, address }) => ({ type, address })) },
  };
}

export function trimNamespace(n: Namespace): Namespace {
  return { apiVersion: n.apiVersion, kind: n.kind, metadata: metadata(n.metadata, true) };
}

/** One annotation of a Pod is read, so of most nothing is kept but that they are there. */
export function trimPod({ metadata: { name, namespace, resourceVersion, annotations } }: Pod): Pod {
  const weight = annotations?.[WEIGHT_NAME];
  return {
    apiVersion: 'v1', kind: 'Pod',
    metadata: {
      name, ...(namespace === undefined ? {} : { namespace }), ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(weight === undefined ? {} : { annotations: { [WEIGHT_NAME]: weight } }),
    },
  };
}
