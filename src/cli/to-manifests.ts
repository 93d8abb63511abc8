/**
 * An IPVS table as manifests: VirtualServers that say the same, and the pools that admit them. Pure. What manifests cannot say is
 * listed with the reason and left out whole, never bent; the same pipeline that `standalone` runs makes the same table of the rest.
 * Which addresses the pools hold is to-pools.ts's, the text is manifest-yaml.ts's.
 */
import {
  formatProblem, parseObject, GUE_PORT, SCHEDULERS, type SchedulerName, type VirtualServerMode,
} from '../api/v1alpha1/index.ts';
import { VirtualServerModel, type IVIPPool, type IVirtualServer } from '../api/v1alpha1/models.ts';
import { MAX_ENDPOINTS, MAX_PORTS, MAX_WEIGHT } from '../api/v1alpha1/vocabulary.ts';
import {
  destinationKey, SCHEDULER_FLAG, serviceKey, SERVICE_FLAG, TUNNEL_FLAG,
  type Destination, type ForwardingMethod, type Service,
} from '../kernel/ipvs/types.ts';
import { sortTable, type TableEntry } from './ipvs-table.ts';
import { poolsFor } from './to-pools.ts';

export interface ManifestOptions {
  /** Namespace of the VirtualServers. */
  readonly namespace: string;
  /** Name of the VIPPool; more than one are numbered. */
  readonly pool: string;
}

/** Something about one service that the reader of the manifests must know. */
export interface Remark {
  /** serviceKey(). */
  readonly service: string;
  /** Line of the text; 0 when there is none. */
  readonly line: number;
  readonly message: string;
}

export interface Manifests {
  readonly pools: readonly IVIPPool[];
  readonly virtualServers: readonly IVirtualServer[];
  /** Services that no manifest stands for. */
  readonly leftOut: readonly Remark[];
  readonly notes: readonly Remark[];
}

type Spec = IVirtualServer['spec'];

/** A service that manifests can say: everything but its port, and its port. */
interface Part {
  readonly entry: TableEntry;
  readonly shape: Omit<Spec, 'ports'>;
  readonly port: Spec['ports'][number];
}

const MODES: Readonly<Partial<Record<ForwardingMethod, VirtualServerMode>>> = { masq: 'NAT', direct: 'DR', tunnel: 'TUN' };
const CHECKSUMS = new Map([[TUNNEL_FLAG.none, 'None'], [TUNNEL_FLAG.checksum, 'Checksum'], [TUNNEL_FLAG.remoteChecksum, 'RemoteChecksum']] as const);

/** Why a service is left out. */
class Inexpressible extends Error {}

/** Never throws. Deterministic: the same table gives the same manifests. */
export function toManifests(table: readonly TableEntry[], options: ManifestOptions): Manifests {
  const leftOut: Remark[] = [];
  const notes: Remark[] = [];
  const remark = (list: Remark[], { service, line }: TableEntry, message: string) => list.push({ service: serviceKey(service), line, message });
  const sorted = sortTable(table);
  const vips = new Set(sorted.map(({ service }) => service.address));
  const groups = new Map<string, Part[]>();
  for (const entry of sorted) {
    try {
      const part = partOf(entry, vips);
      const signature = `${entry.service.address} ${JSON.stringify(part.shape)}`;
      const same = groups.get(signature);
      if (same) same.push(part);
      else groups.set(signature, [part]);
    } catch (error) {
      if (!(error instanceof Inexpressible)) throw error;
      remark(leftOut, entry, error.message);
    }
  }
  const virtualServers: IVirtualServer[] = [];
  const kept: TableEntry[] = [];
  for (const parts of groups.values()) {
    for (let i = 0; i < parts.length; i += MAX_PORTS) {
      const some = parts.slice(i, i + MAX_PORTS);
      const object = virtualServer(some, options);
      const parsed = parseObject(object);
      if (!parsed.ok) {
        for (const { entry } of some) remark(leftOut, entry, formatProblem(parsed.problems[0]!));
        continue;
      }
      virtualServers.push(object);
      for (const { entry } of some) {
        kept.push(entry);
        if (entry.destinations.length > 0) continue;
        remark(notes, entry, 'has no real servers, so nothing tells its mode; DR is written: correct it when you add real servers');
      }
    }
  }
  const { pools, coarse } = poolsFor(kept, options);
  for (const vip of coarse) {
    const message = 'has real servers in too many places for an exact list; its pool allows wider networks: see allowStaticBackendCIDRs';
    notes.push({ service: vip, line: 0, message });
  }
  return { pools, virtualServers, leftOut, notes };
}

function virtualServer(parts: readonly Part[], { namespace }: ManifestOptions): IVirtualServer {
  const first = parts[0]!;
  const { vip, mode, nat, tun, ...rest } = first.shape;
  const model = new VirtualServerModel({
    metadata: { name: nameOf(first.entry.service), namespace },
    // Every manifest in the order of the documentation: what, how, on which ports, then the rest.
    spec: { ...(vip ? { vip } : {}), mode, ...(nat ? { nat } : {}), ...(tun ? { tun } : {}), ports: parts.map((p) => p.port), ...rest },
  });
  return model.toJSON() as IVirtualServer;
}

/** `vs-192-0-2-10-tcp-80`: unique, since a service's address, protocol and port are. At most 53 characters. */
function nameOf({ address, protocol, port }: Service): string {
  return `vs-${address.replaceAll(/[.:]/g, '-')}-${protocol.toLowerCase()}-${port}`;
}

/** Throws Inexpressible. */
function partOf(entry: TableEntry, vips: ReadonlySet<string>): Part {
  const { service, destinations } = entry;
  if (service.fwmark !== 0) {
    throw new Inexpressible(
      'a fwmark service does not say which ports it serves; write a VirtualServer by hand, with port and endPort for a range, or persistence.scope AllPorts: the marks are then made for you');
  }
  if (service.port === 0) {
    throw new Inexpressible(
      'it serves every port; write a VirtualServer by hand with the ports that are needed, and persistence.scope AllPorts if they belong together');
  }
  for (const d of destinations) {
    if (d.weight > MAX_WEIGHT) throw new Inexpressible(`${destinationKey(d)} has weight ${d.weight}, above ${MAX_WEIGHT}; scale the weights of this service down`);
    if (vips.has(d.address)) throw new Inexpressible(`the real server ${destinationKey(d)} has the address of a virtual service; give it the host's own address`);
  }
  const targetPort = targetPortOf(service, destinations);
  const { upper, lower } = same(destinations, ({ upper, lower }) => ({ upper, lower }),
    'its real servers have different connection thresholds; give all of them the same') ?? { upper: 0, lower: 0 };
  return {
    entry,
    port: { port: service.port, protocol: service.protocol, ...(targetPort === service.port ? {} : { targetPort }) },
    shape: {
      vip: { addresses: [service.address] },
      ...forwardingOf(destinations),
      scheduler: schedulerOf(service),
      ...persistenceOf(service),
      backends: backendsOf(destinations),
      ...(upper || lower ? { connectionLimits: { upper, ...(lower ? { lower } : {}) } } : {}),
    },
  };
}

function forwardingOf(destinations: readonly Destination[]): Pick<Spec, 'mode' | 'nat' | 'tun'> {
  const method = same(destinations, (d) => d.method,
    'its real servers have different forwarding methods; split it into services of one method each, on other addresses') ?? 'direct';
  const mode = MODES[method];
  if (!mode) throw new Inexpressible(`forwarding method ${method} is the kernel's own; add the real server again with the method that is meant`);
  const families = new Set(destinations.map((d) => d.family));
  if (families.size > 1) throw new Inexpressible('it has IPv4 and IPv6 real servers; a VIP is served by those of one family; remove the others');
  // What ipvsadm sets up keeps the client's address; only our own Auto rewrites it.
  if (mode === 'NAT') return { mode, nat: { sourceAddress: 'Preserve' } };
  if (mode === 'DR') return { mode };
  const tunnel = same(destinations, ({ tunnelType, tunnelPort, tunnelFlags }) => ({ tunnelType, tunnelPort, tunnelFlags }),
    'its real servers have different tunnels; give all of them the same type, port and checksum')!;
  const checksum = CHECKSUMS.get(tunnel.tunnelFlags as 0 | 1 | 2);
  if (checksum === undefined) throw new Inexpressible(`tunnel flags ${tunnel.tunnelFlags} have no meaning; set one of --tun-nocsum, --tun-csum and --tun-remcsum`);
  const encapsulation = ({ ipip: 'IPIP', gue: 'GUE', gre: 'GRE' } as const)[tunnel.tunnelType];
  const port = encapsulation === 'GUE' && tunnel.tunnelPort !== GUE_PORT ? { port: tunnel.tunnelPort } : {};
  return { mode, tun: { encapsulation, ...port, ...(checksum === 'None' ? {} : { checksum }) } };
}

function schedulerOf({ scheduler, flags, protocol }: Service): NonNullable<Spec['scheduler']> {
  if (!SCHEDULERS.includes(scheduler as SchedulerName)) {
    throw new Inexpressible(`scheduler ${scheduler} cannot be asked for; choose one of ${SCHEDULERS.join(', ')}`);
  }
  const hashes = scheduler === 'sh' || scheduler === 'mh';
  if (flags & SERVICE_FLAG.sched3 || (!hashes && flags & (SERVICE_FLAG.sched1 | SERVICE_FLAG.sched2))) {
    throw new Inexpressible(`scheduler ${scheduler} gives its flags no meaning; remove them (-b)`);
  }
  if (flags & SERVICE_FLAG.onePacket && protocol !== 'UDP') throw new Inexpressible(`one-packet scheduling is for UDP, and this is ${protocol}; remove -o`);
  return {
    name: scheduler as SchedulerName,
    ...(flags & SCHEDULER_FLAG.fallback ? { fallback: true } : {}), ...(flags & SCHEDULER_FLAG.portAware ? { portAware: true } : {}),
    ...(flags & SERVICE_FLAG.onePacket ? { onePacket: true } : {}),
  };
}

function persistenceOf({ family, protocol, flags, timeoutSeconds, prefixLength, engine }: Service): Pick<Spec, 'persistence'> {
  if (!(flags & SERVICE_FLAG.persistent)) {
    if (engine !== '') throw new Inexpressible(`persistence engine ${engine} does nothing without persistence; add -p, or remove --pe`);
    return {};
  }
  if (engine !== '' && engine !== 'sip') throw new Inexpressible(`persistence engine ${engine} cannot be asked for; only sip can`);
  if (engine === 'sip' && protocol !== 'UDP') throw new Inexpressible(`persistence engine sip is for UDP, and this is ${protocol}; remove --pe`);
  const usual = prefixLength === (family === 'IPv4' ? 32 : 128);
  const prefix = usual ? {} : family === 'IPv4' ? { ipv4PrefixLength: prefixLength } : { ipv6PrefixLength: prefixLength };
  return { persistence: { timeoutSeconds, ...prefix, ...(engine === 'sip' ? { engine } : {}) } };
}

/** One port for all: a manifest gives the port of the service, not of each real server. */
function targetPortOf(service: Service, destinations: readonly Destination[]): number {
  const port = same(destinations, (d) => d.port,
    'its real servers listen on different ports; a VirtualServer has one targetPort for each port: let them listen on the same one') ?? service.port;
  const method = destinations[0]?.method;
  if (port !== service.port && method !== 'masq') {
    const whoDoes = method === 'tunnel' ? 'tunnels do' : 'direct routing does';
    throw new Inexpressible(
      `its real servers are given with port ${port}, but ${whoDoes} not rewrite ports: they are reached on ${service.port}; write port ${service.port}, or use NAT (-m)`);
  }
  return port;
}

function backendsOf(destinations: readonly Destination[]): Spec['backends'] {
  const weights = new Set(destinations.map((d) => d.weight));
  const [only] = weights;
  const common = weights.size === 1 && only !== 1 ? { weight: only! } : {};
  const endpoints = destinations.map((d) => ({ address: d.address, ...(weights.size > 1 ? { weight: d.weight } : {}) }));
  const backends: Spec['backends'] = [];
  for (let i = 0; i === 0 || i < endpoints.length; i += MAX_ENDPOINTS) backends.push({ ...common, static: { endpoints: endpoints.slice(i, i + MAX_ENDPOINTS) } });
  return backends;
}

/** What all real servers have in common; undefined when there are none. Throws Inexpressible when they differ. */
function same<T>(destinations: readonly Destination[], part: (d: Destination) => T, otherwise: string): T | undefined {
  const [first, ...others] = destinations;
  if (!first) return undefined;
  const value = part(first);
  const text = JSON.stringify(value);
  if (others.some((d) => JSON.stringify(part(d)) !== text)) throw new Inexpressible(otherwise);
  return value;
}
