/**
 * Sources: which real servers the backends of a VirtualServer offer, and on which ports, before anybody judged them. Reads Services and
 * EndpointSlices by the rules of Kubernetes (conditions, named ports that differ per pod, several slices, dual stack). Pure.
 * Who may be used at all is endpoints.ts's to say.
 */
import { endPortOf, targetPortOf, type VirtualServer, type VirtualServerPort } from '../../api/v1alpha1/index.ts';
import { canonical, familyOf } from '../../ip/ip.ts';
import { podOf, type EndpointSlice, type Service, type ServicePort } from '../core.ts';
import type { Cluster } from './cluster.ts';

export interface Candidate {
  readonly address: string;
  /** Index in spec.backends. */
  readonly backend: number;
  readonly weight: number;
  /** 'static' by address, 'endpoint' of a Service, 'node' by its labels. */
  readonly origin: 'static' | 'endpoint' | 'node';
  /** The node it is on; '' where nobody said. */
  readonly node: string;
  /** `namespace/name` of the Pod whose annotation counts; '': none does. */
  readonly pod: string;
  /** For each of spec.ports the port on the real server; null where it does not serve that one; 0 where the packet keeps its own. */
  readonly targets: readonly (number | null)[];
}

export interface SourceProblem {
  readonly reason: 'ServiceNotFound' | 'PortNotFound' | 'RefNotPermitted';
  readonly message: string;
}

export interface Sources {
  readonly candidates: readonly Candidate[];
  /** Endpoints that are going and still answer, of Services that have ready ones: they serve on for as long as none of those can. */
  readonly standIns: readonly Candidate[];
  readonly problems: readonly SourceProblem[];
}

export function candidatesOf(server: VirtualServer, cluster: Cluster): Sources {
  const candidates: Candidate[] = [];
  const standIns: Candidate[] = [];
  const problems: SourceProblem[] = [];
  const keepsPort = keepsPorts(server);
  const fixed = server.spec.ports.map((p) => (keepsPort(p) ? 0 : targetPortOf(p)));
  // Ports, by their place in spec.ports, that no Service has so far. Other backends have every port, and so may those that cli/explain-backends.ts leaves out.
  let without: readonly number[] = server.spec.backends.every((b) => b.serviceRef !== undefined) ? [...fixed.keys()] : [];
  for (const [i, backend] of server.spec.backends.entries()) {
    const { weight } = backend;
    if (backend.static) {
      for (const { address, weight: own } of backend.static.endpoints) {
        const node = cluster.nodeOf(address) ?? '';
        candidates.push({ address, backend: i, weight: own ?? weight, origin: 'static', node, pod: '', targets: fixed });
      }
    } else if (backend.nodes) {
      for (const node of cluster.nodes(backend.nodes.selector.matchLabels)) {
        for (const address of node.addresses) candidates.push({ address, backend: i, weight, origin: 'node', node: node.name, pod: '', targets: fixed });
      }
    } else if (backend.serviceRef) {
      const found = endpointsOfService(server, i, cluster);
      if ('reason' in found) problems.push(found);
      else {
        candidates.push(...found.serving);
        standIns.push(...found.standIns);
        without = without.filter((port) => found.wanted[port] === null);
      }
    }
  }
  // A reference that leads nowhere may be the one for this port.
  if (problems.length === 0) for (const port of without) problems.push(portNotFound(server, port));
  return { candidates, standIns, problems };
}

/** Whether annotations of Pods have a say in its weights. */
export function asksPods({ spec }: VirtualServer): boolean {
  return spec.backends.some((b) => b.serviceRef?.podWeights === 'Annotation');
}

/** Every Service that a VirtualServer names, as `namespace/name`: whose changes concern it. */
export function servicesOf(server: VirtualServer): string[] {
  return server.spec.backends.flatMap(({ serviceRef: ref }) => (ref ? [`${ref.namespace ?? server.metadata.namespace}/${ref.name}`] : []));
}

/** A range, or a VirtualServer whose ports stick together, is a fwmark service: its packets keep their port. */
function keepsPorts(server: VirtualServer): (port: VirtualServerPort) => boolean {
  const all = server.spec.persistence?.scope === 'AllPorts';
  return (p) => all || endPortOf(p) !== p.port;
}

/** Clients of the port would be refused, whoever serves the others. */
function portNotFound({ metadata, spec: { ports, backends } }: VirtualServer, index: number): SourceProblem {
  const { name, port, protocol } = ports[index]!;
  const refs = backends.flatMap(({ serviceRef: ref }) => (ref ? [ref] : []));
  const names = refs.map((r) => `${r.namespace ?? metadata.namespace}/${r.name}${r.port === undefined ? '' : ` (port ${r.port})`}`);
  const which = `${name === undefined ? '' : `${name} `}${port}/${protocol}`;
  const fix = "give the port the name or the number that it has there, or name that in a backend's serviceRef.port";
  return {
    reason: 'PortNotFound',
    message: `spec.ports[${index}]: nobody serves ${which}, for Service ${[...new Set(names)].join(', ')} has no port of that name, number or protocol; ${fix}`,
  };
}

function endpointsOfService(server: VirtualServer, backend: number, cluster: Cluster): (Choice<Candidate> & { readonly wanted: readonly Wanted[] }) | SourceProblem {
  const { serviceRef, weight } = server.spec.backends[backend]!;
  const ref = serviceRef!;
  const path = `spec.backends[${backend}].serviceRef`;
  const { namespace } = server.metadata;
  const key = `${ref.namespace ?? namespace}/${ref.name}`;
  if (ref.namespace !== undefined && ref.namespace !== namespace && !cluster.permits(namespace, key)) {
    return {
      reason: 'RefNotPermitted',
      message: `${path}: Service ${key} is in another namespace, which gives no permission; create a ReferenceGrant there from VirtualServers of namespace ${namespace} to Service ${ref.name}`,
    };
  }
  const service = cluster.service(key);
  if (!service) return { reason: 'ServiceNotFound', message: `${path}: Service ${key} does not exist; create it, or correct the name` };
  const keepsPort = keepsPorts(server);
  const wanted = server.spec.ports.map((p) => (keepsPort(p) ? 'any' as const : servicePortFor(server.spec.ports, p, ref.port, service)));
  if (wanted.every((w) => w === null)) {
    const have = (service.spec?.ports ?? []).map((p) => `${p.name ?? ''}${p.name ? ' ' : ''}${p.port}/${p.protocol ?? 'TCP'}`).join(', ') || 'no ports';
    const port = ref.port ?? `for ${server.spec.ports.map((p) => `${p.port}/${p.protocol}`).join(', ')}`;
    return { reason: 'PortNotFound', message: `${path}: Service ${key} has no port ${port} (it has ${have}); set port to one of them` };
  }
  const asked = ref.podWeights === 'Annotation';
  const podKey = (pod: string): string => (asked && pod !== '' ? `${ref.namespace ?? namespace}/${pod}` : '');
  const candidate = (e: Merged): Candidate => ({ address: e.address, backend, weight, origin: 'endpoint', node: e.node, pod: podKey(e.pod), targets: e.targets });
  const { serving, standIns } = select(merge(server, wanted, slicesOf(key, cluster)));
  return { serving: serving.map(candidate), standIns: standIns.map(candidate), wanted };
}

type Wanted = ServicePort | 'any' | null;

/**
 * The port of the Service behind one port of the VirtualServer. A named port serves the port of the VirtualServer that has the same
 * name, if one has, else all of them. Without one: the same name, else the same number, else the only one.
 */
function servicePortFor(ports: readonly VirtualServerPort[], p: VirtualServerPort, named: string | number | undefined, service: Service): Wanted {
  const offered = (service.spec?.ports ?? []).filter((s) => (s.protocol ?? 'TCP') === p.protocol);
  if (named !== undefined) {
    const port = offered.find((s) => s.name === named || s.port === named);
    if (port === undefined) return null;
    const sameName = ports.some((other) => other.name !== undefined && other.name === port.name);
    return sameName && p.name !== port.name ? null : port;
  }
  const sameName = p.name === undefined ? undefined : offered.find((s) => s.name === p.name);
  return sameName ?? offered.find((s) => s.port === p.port) ?? (offered.length === 1 ? offered[0]! : null);
}

/** Slices of a Service; made of its Endpoints object where nobody mirrors that into slices. */
function slicesOf(key: string, cluster: Cluster): readonly EndpointSlice[] {
  const slices = cluster.slices(key);
  const endpoints = slices.length === 0 ? cluster.endpoints(key) : null;
  if (!endpoints) return slices;
  return (endpoints.subsets ?? []).flatMap((subset) => (['IPv4', 'IPv6'] as const).map((addressType): EndpointSlice => {
    const of = (list: typeof subset.addresses, ready: boolean) => (list ?? []).filter(({ ip }) => familyOf(ip) === addressType)
      .map(({ ip, nodeName }) => ({ addresses: [ip], conditions: { ready, serving: ready }, ...(nodeName === undefined ? {} : { nodeName }) }));
    return {
      apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata: { name: endpoints.metadata.name }, addressType,
      ports: subset.ports ?? [], endpoints: [...of(subset.addresses, true), ...of(subset.notReadyAddresses, false)],
    };
  }));
}

interface Merged {
  readonly address: string;
  node: string;
  pod: string;
  readonly ready: boolean;
  /** Still answers, and is going. */
  readonly leaving: boolean;
  targets: (number | null)[];
}

/**
 * One entry an address: a pod may be in several slices, with other ports in each, or twice while a slice is being split. Two pods may have one
 * address, one after the other or on the network of one host: what the one says that does not serve, or is going, is nothing to the other.
 */
function merge(server: VirtualServer, wanted: readonly Wanted[], slices: readonly EndpointSlice[]): Merged[] {
  const merged = new Map<string, Merged>();
  for (const slice of slices) {
    if (slice.addressType !== 'IPv4' && slice.addressType !== 'IPv6') continue; // FQDN: no address to send to
    const targets = wanted.map((w, i) => targetIn(slice, w, server.spec.ports[i]!));
    if (targets.every((t) => t === null)) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const { addresses, conditions, nodeName } = endpoint;
      // The first one speaks for all (discovery.k8s.io/v1, Endpoint.addresses).
      const first = addresses[0];
      if (first === undefined) continue;
      // One address has one text: what is compared with VIPs and nodes must not be written in another way. What is none is refused by name.
      const address = canonical(first) ?? first;
      // Absent means true (ready, serving) and false (terminating).
      const ready = conditions?.ready !== false;
      const leaving = conditions?.terminating === true && conditions.serving !== false;
      const old = merged.get(address);
      const next: Merged = { address, node: nodeName ?? '', pod: podOf(endpoint), ready, leaving, targets: [...targets] };
      const rank = old ? rankOf(next) - rankOf(old) : 1;
      if (rank > 0) merged.set(address, next);
      else if (old && rank === 0) {
        old.node ||= next.node;
        old.pod ||= next.pod;
        old.targets = old.targets.map((t, i) => t ?? targets[i]!);
      }
    }
  }
  return [...merged.values()];
}

/** Who serves comes before who is going and still answers, and both before who does neither. */
function rankOf({ ready, leaving }: Merged): number { return ready ? 2 : leaving ? 1 : 0; }

/**
 * The port of one slice's endpoints: named ports of a Service may be another number in each pod. spec.ports[].targetPort is for the other
 * sources.
 */
function targetIn(slice: EndpointSlice, wanted: Wanted, p: VirtualServerPort): number | null {
  if (wanted === null) return null;
  if (wanted === 'any') return 0;
  const port = (slice.ports ?? []).find((s) => (s.name ?? '') === (wanted.name ?? '') && (s.protocol ?? 'TCP') === p.protocol);
  // A slice port without a number means every port.
  return port === undefined ? null : port.port ?? p.port;
}

/** Who serves, and who would if none of those can. */
interface Choice<T> { readonly serving: readonly T[]; readonly standIns: readonly T[] }

/** Ready ones; where there are none, those that go but still answer: better than nobody. */
function select(endpoints: readonly Merged[]): Choice<Merged> {
  const ready = endpoints.filter((e) => e.ready);
  const leaving = ready.length === endpoints.length ? [] : endpoints.filter((e) => e.leaving && !e.ready);
  return ready.length > 0 ? { serving: ready, standIns: leaving } : { serving: leaving, standIns: [] };
}
