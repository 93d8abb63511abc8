/**
 * What compile may ask of the cluster around VirtualServers: Services with their endpoints, nodes, permissions, addresses that are
 * somebody's. An interface of values, so that compile stays pure; controller/surroundings.ts answers it from caches, a host without a
 * cluster by NO_CLUSTER.
 */
import type { ProgramTunnel } from '../../api/v1alpha1/program.ts';
import type { Endpoints, EndpointSlice, Service } from '../core.ts';

export interface ClusterNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Internal addresses: where real servers of the host network are. */
  readonly addresses: readonly string[];
}

export interface Cluster {
  /** False on a host without a cluster: then references are refused with that reason. */
  readonly present: boolean;
  service(key: string): Service | null;
  /** EndpointSlices of a Service, in a fixed order. */
  slices(key: string): readonly EndpointSlice[];
  /** core/v1 Endpoints of a Service that has no slices; null where there are none. */
  endpoints(key: string): Endpoints | null;
  /** Nodes that have all these labels, by name. */
  nodes(matchLabels: Readonly<Record<string, string>>): readonly ClusterNode[];
  /** The node that has this address as its own. */
  nodeOf(address: string): string | null;
  /** The label of weights of a node, as it is written (node-weight.ts reads it); null where there is none. */
  weightLabel(node: string): string | null;
  /** The annotation of weights of a Pod, `namespace/name`, as it is written; null where there is none, or Pods are not known. */
  podWeight(pod: string): string | null;
  /** Whether Pods are known: they are read only where a VirtualServer asks, and where the cluster lets us. */
  readonly podsKnown: boolean;
  /** Whether VirtualServers of one namespace may refer to a Service of another. */
  permits(fromNamespace: string, serviceKey: string): boolean;
  /** Whose an address is that must never become a VIP; null when it is free. */
  reserved(address: string): string | null;
  /** Where that ends: the last address of its network, or the address itself, as an integer; null when it is free. */
  reservedTo(address: string): bigint | null;
  /** Whether a node receives for a VIP already, in just this way: before that it must get no such packets. */
  receives(node: string, vip: string, way: Way): boolean;
  /** Whether a node has a VIP as a real server, perhaps from before: then it drops what comes from that address, taking it for its own. */
  bound(node: string, vip: string): boolean;
  /** Labels of a namespace; null where there are no namespaces, or it is not known yet. */
  namespaceLabels(namespace: string): Readonly<Record<string, string>> | null;
}

/** How packets reach a real server that receives for the VIP. */
export interface Way {
  readonly mode: 'DR' | 'TUN';
  readonly tunnel: ProgramTunnel | null;
}

interface Sent {
  readonly mode: string;
  readonly tunnel?: ProgramTunnel | null | undefined;
}

export function sameWay(a: Sent, b: Sent): boolean {
  const [x, y] = [a.tunnel ?? null, b.tunnel ?? null];
  return a.mode === b.mode && (x === y || (x !== null && y !== null && x.encapsulation === y.encapsulation && x.port === y.port && x.checksum === y.checksum));
}

export const NO_CLUSTER: Cluster = {
  present: false,
  service: () => null,
  slices: () => [],
  endpoints: () => null,
  nodes: () => [],
  nodeOf: () => null,
  weightLabel: () => null,
  podWeight: () => null,
  podsKnown: false,
  permits: () => false,
  reserved: () => null,
  reservedTo: () => null,
  receives: () => true,
  bound: () => false,
  namespaceLabels: () => null,
};
