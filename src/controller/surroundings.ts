/**
 * Surroundings: the answers to compile's questions about the cluster, from the caches. It also says whom a change concerns: which
 * VirtualServers have to be compiled again when a Service, a slice or a node changed. Reads stores and keeps indexes; writes nothing.
 */
import { WEIGHT_NAME } from '../api/v1alpha1/metadata.ts';
import type { IPVSNode } from '../api/v1alpha1/ipvsnode.ts';
import { ADDRESS_BITS, canonical, familyOf, fromBigInt, networkOf, parsePrefix, toBigInt } from '../ip/ip.ts';
import type { Store } from '../kube/store.ts';
import type { KubeObject } from '../kube/types.ts';
import { sameWay, type Cluster, type ClusterNode, type Way } from './compile/cluster.ts';
import { inRanges, rangeOf, type Range } from './compile/pools.ts';
import {
  SERVICE_NAME_LABEL,
  type Endpoints, type EndpointSlice, type Namespace, type Node, type Pod, type ReferenceGrant, type Service, type ServiceCIDR,
} from './core.ts';

/** A store as it is read here. */
type Reader<T extends KubeObject> = Pick<Store<T>, 'get' | 'values' | 'by'>;

export interface Caches {
  /** With the index `clusterIP`: serviceIPs. */
  readonly services: Reader<Service>;
  /** With the index `service`: sliceService. */
  readonly slices: Reader<EndpointSlice>;
  readonly endpoints: Reader<Endpoints>;
  readonly nodes: Reader<Node>;
  readonly namespaces: Reader<Namespace>;
  readonly serviceCIDRs: Reader<ServiceCIDR>;
  readonly grants: Reader<ReferenceGrant>;
  readonly ipvsNodes: Reader<IPVSNode & KubeObject>;
  /** Absent: nobody reads them. */
  readonly pods?: Reader<Pod>;
}

/** Index function of slices: the Service they belong to, as `namespace/name`. */
export function sliceService(slice: EndpointSlice): readonly string[] {
  const name = slice.metadata.labels?.[SERVICE_NAME_LABEL];
  return name === undefined ? [] : [`${slice.metadata.namespace ?? ''}/${name}`];
}

/** Index function of Services: their addresses inside the cluster, canonical. A headless one has `None`. */
export function serviceIPs({ spec }: Service): readonly string[] {
  return (spec?.clusterIPs ?? []).flatMap((ip) => canonical(ip) ?? []);
}

/** The addresses of a node that are somebody's own, canonical. `internal`: only those under which it is reached inside the cluster. */
export function nodeAddresses(node: Node, internal: boolean): string[] {
  return (node.status?.addresses ?? []).flatMap(({ type, address }) => {
    if (type !== 'InternalIP' && (internal || type !== 'ExternalIP')) return [];
    const text = canonical(address);
    return text === null ? [] : [text];
  });
}

/** The Service whose endpoints are the API servers. */
export const API_SERVER = 'default/kubernetes';

interface Network extends Range { readonly whose: string }

export class Surroundings implements Cluster {
  readonly present = true;
  readonly #caches: Caches;
  /** Whether the last program of a VirtualServer sent packets to a node already: then it goes on. */
  readonly #served: (node: string, vip: string, way: Way) => boolean;
  readonly #podsKnown: () => boolean;
  #nodes: ClusterNode[] = [];
  #nodeOf = new Map<string, string>();
  /** Of nodes that have the label. */
  #weightLabels = new Map<string, string>();
  #own = new Map<string, string>();
  #networks: Network[] = [];
  #stale = true;

  constructor(caches: Caches, served: (node: string, vip: string, way: Way) => boolean, podsKnown: () => boolean = () => caches.pods !== undefined) {
    this.#caches = caches;
    this.#served = served;
    this.#podsKnown = podsKnown;
  }

  /** A Node, a ServiceCIDR or the API server's endpoints changed. */
  invalidate(): void { this.#stale = true; }

  service(key: string): Service | null { return this.#caches.services.get(key) ?? null; }

  slices(key: string): readonly EndpointSlice[] {
    const found = this.#caches.slices.by('service', key);
    return found.length < 2 ? found : [...found].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  endpoints(key: string): Endpoints | null { return this.#caches.endpoints.get(key) ?? null; }

  nodes(matchLabels: Readonly<Record<string, string>>): readonly ClusterNode[] {
    const wanted = Object.entries(matchLabels);
    return this.#fresh().#nodes.filter(({ labels }) => wanted.every(([key, value]) => labels[key] === value));
  }

  nodeOf(address: string): string | null { return this.#fresh().#nodeOf.get(address) ?? null; }

  weightLabel(node: string): string | null { return this.#fresh().#weightLabels.get(node) ?? null; }

  podWeight(pod: string): string | null { return this.#caches.pods?.get(pod)?.metadata.annotations?.[WEIGHT_NAME] ?? null; }

  get podsKnown(): boolean { return this.#podsKnown(); }

  /** Gateway API's ReferenceGrant: who may refer to what in the grant's namespace. */
  permits(fromNamespace: string, serviceKey: string): boolean {
    const slash = serviceKey.indexOf('/');
    const [namespace, name] = [serviceKey.slice(0, slash), serviceKey.slice(slash + 1)];
    for (const { metadata, spec } of this.#caches.grants.values()) {
      if (metadata.namespace !== namespace) continue;
      const from = spec?.from?.some((f) => f.group === 'ipvs-operator.dev' && f.kind === 'VirtualServer' && f.namespace === fromNamespace);
      const to = spec?.to?.some((t) => t.group === '' && t.kind === 'Service' && (t.name === undefined || t.name === '' || t.name === name));
      if (from && to) return true;
    }
    return false;
  }

  reserved(address: string): string | null {
    return this.#fresh().#own.get(address) ?? this.#networkOf(address)?.whose ?? this.#serviceOf(address);
  }

  reservedTo(address: string): bigint | null {
    return this.#networkOf(address)?.last ?? (this.#fresh().#own.has(address) || this.#serviceOf(address) !== null ? toBigInt(address) : null);
  }

  /** The first address or network within ranges that is somebody's, in words; null when none is. */
  reservedIn(ranges: readonly Range[]): string | null {
    for (const [address, whose] of this.#fresh().#own) if (inRanges(ranges, address)) return `${address} is ${whose}`;
    for (const { family, first, last, whose } of this.#networks) {
      const range = ranges.find((r) => r.family === family && r.first <= last && first <= r.last);
      if (range) return `${fromBigInt(range.first > first ? range.first : first, family)} is ${whose}`;
    }
    return null;
  }

  /** What a node reports is of the binds that it was told last, or says nothing of how packets may come. */
  receives(node: string, vip: string, way: Way): boolean {
    const { metadata, spec, status } = this.#caches.ipvsNodes.get(node) ?? {};
    const current = (status?.observedGeneration ?? Infinity) >= (metadata?.generation ?? 0);
    const told = spec?.realServer.binds.some((bind) => bind.address === vip && sameWay(bind, way)) === true;
    return (current && told && status?.boundVIPs?.includes(vip) === true) || this.#served(node, vip, way);
  }

  bound(node: string, vip: string): boolean {
    const status = this.#caches.ipvsNodes.get(node)?.status;
    return status?.boundVIPs?.includes(vip) === true && status.ownedVIPs?.includes(vip) !== true;
  }

  namespaceLabels(namespace: string): Readonly<Record<string, string>> | null {
    const known = this.#caches.namespaces.get(namespace);
    return known ? known.metadata.labels ?? {} : null;
  }

  /** Addresses that agents must never take for a VIP: those of the nodes and of the API servers. */
  get ownAddresses(): readonly string[] { return [...this.#fresh().#own.keys()].sort(); }

  #fresh(): this {
    if (!this.#stale) return this;
    this.#stale = false;
    this.#nodes = [];
    this.#nodeOf = new Map();
    this.#weightLabels = new Map();
    this.#own = new Map();
    this.#networks = [];
    for (const node of [...this.#caches.nodes.values()].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))) {
      const { name, labels = {} } = node.metadata;
      const addresses = nodeAddresses(node, true);
      this.#nodes.push({ name, labels, addresses });
      if (labels[WEIGHT_NAME] !== undefined) this.#weightLabels.set(name, labels[WEIGHT_NAME]);
      for (const address of addresses) this.#nodeOf.set(address, name);
      for (const address of nodeAddresses(node, false)) this.#own.set(address, `an address of node ${name}`);
      for (const cidr of node.spec?.podCIDRs ?? []) this.#reserve(cidr, `in the Pod network of node ${name} (${cidr})`);
    }
    for (const { endpoints } of this.slices(API_SERVER)) {
      for (const { addresses } of endpoints ?? []) {
        for (const text of addresses) {
          const address = canonical(text);
          if (address !== null && !this.#own.has(address)) this.#own.set(address, 'the address of an API server');
        }
      }
    }
    for (const { metadata, spec } of this.#caches.serviceCIDRs.values()) {
      for (const cidr of spec?.cidrs ?? []) this.#reserve(cidr, `in the Service network (${cidr}, ServiceCIDR ${metadata.name})`);
    }
    return this;
  }

  #reserve(cidr: string, whose: string): void {
    const network = networkText(cidr);
    if (parsePrefix(network)) this.#networks.push({ ...rangeOf(network), whose });
  }

  /** Before Kubernetes 1.33 nobody says which network the Services have; the addresses that they have already are known all the same. */
  #serviceOf(address: string): string | null {
    const [service] = this.#caches.services.by('clusterIP', address);
    return service === undefined ? null : `the address of Service ${service.metadata.namespace}/${service.metadata.name}`;
  }

  #networkOf(address: string): Network | undefined {
    const family = familyOf(address);
    if (family === null) return undefined;
    const value = toBigInt(address);
    return this.#fresh().#networks.find((n) => n.family === family && n.first <= value && value <= n.last);
  }
}

/** A prefix without the host bits that API servers let through; what is none stays as it is. */
function networkText(cidr: string): string {
  const [head = '', digits = ''] = cidr.split('/');
  const [address, length] = [canonical(head), Number(digits)];
  return address === null || digits === '' || !(length <= ADDRESS_BITS[familyOf(address)!]) ? cidr : `${networkOf(address, length)}/${digits}`;
}
