/**
 * Reads what an explanation needs, with get and list only, and only what this VirtualServer touches. What may not be read is a value
 * too, with the permission that is missing; what the API server does not answer at all is an error.
 */
import { fromServer, RESOURCES, virtualIPName, VIRTUAL_SERVER_LABEL, type ResourceDescription } from '../api/v1alpha1/index.ts';
import { servicesOf } from '../controller/compile/sources.ts';
import { ENDPOINT_SLICES, ENDPOINTS, NODES, REFERENCE_GRANTS, SERVICE_NAME_LABEL, SERVICES, type Node } from '../controller/core.ts';
import { memberOf } from '../agent/ownership/membership.ts';
import { CONTROLLER_LEASE } from '../controller/options.ts';
import type { KubeClient, SelectOptions } from '../kube/client.ts';
import { ApiError, isForbidden, isNotFound } from '../kube/errors.ts';
import { LEASES, type Lease } from '../kube/lease.ts';
import { nameOf, type KubeObject, type Resource } from '../kube/types.ts';
import { isAbort } from '../kube/wait.ts';
import { statusOf, type RawServer } from './explain-case.ts';
import { addressesOf, valueOf, type Facts, type Read, type SeenLease } from './explain-facts.ts';
import { seeLeases, type LeaseClock } from './explain-leases.ts';

export interface Asked {
  readonly namespace: string;
  readonly name: string;
  readonly systemNamespace: string;
}

/** Without these there is nothing to explain: they concern every request. */
const FATAL: ReadonlySet<string> = new Set(['UNAUTHORIZED', 'UNREACHABLE', 'TIMEOUT']);

/** Rejects with ApiError UNAUTHORIZED, UNREACHABLE or TIMEOUT, CredentialsError, or AbortError. */
export async function readFacts(client: Pick<KubeClient, 'get' | 'listAll'>, asked: Asked, clock: LeaseClock): Promise<Facts> {
  const { namespace, name, systemNamespace } = asked;
  const reader = new Reader(client, clock.signal);
  const [server, programs, ipvsNodes, leases] = await Promise.all([
    reader.get({ ...described(RESOURCES.VirtualServer), parse: undefined } as unknown as Resource, name, namespace),
    reader.list(described(RESOURCES.VirtualServerProgram), { namespace, labelSelector: `${VIRTUAL_SERVER_LABEL}=${name}` }),
    reader.list(described(RESOURCES.IPVSNode)),
    reader.list(LEASES, { namespace: systemNamespace }),
  ]);
  const raw = valueOf(server) as RawServer | null | undefined;
  const parsed = raw ? fromServer('VirtualServer', raw) : null;
  const spec = parsed?.ok ? parsed.object : null;
  const services = spec === null ? [] : [...new Set(servicesOf(spec))];
  const others = new Set(services.map((key) => key.slice(0, key.indexOf('/'))).filter((n) => n !== namespace));
  const addresses = addressesOf(statusOf(raw ?? null), valueOf(programs) ?? []);
  const noNodes: Read<readonly Node[]> = { value: [] };
  const [virtualIPs, backends, grants, nodes, seen] = await Promise.all([
    each(addresses, (a) => reader.get(described(RESOURCES.VirtualIP), virtualIPName(a))),
    each(services, (key) => readService(reader, key)),
    each(others, (ns) => reader.list(REFERENCE_GRANTS, { namespace: ns })),
    spec?.spec.backends.some((b) => b.nodes) ? reader.list(NODES) : noNodes,
    judged(leases, reader, systemNamespace, clock),
  ]);
  const groupNames = [
    ...(valueOf(programs) ?? []).map((p) => p.spec.directorGroup),
    ...[...virtualIPs.values()].flatMap((v) => valueOf(v)?.spec.directorGroup ?? []),
  ];
  const groups = await each(new Set(groupNames.filter((g) => g !== '')), (g) => reader.get(described(RESOURCES.DirectorGroup), g));
  return {
    namespace, name, systemNamespace, now: clock.wallClock(), server, programs, virtualIPs, groups, ipvsNodes, leases: seen, grants, nodes,
    services: part(backends, (b) => b.service), slices: part(backends, (b) => b.slices), endpoints: part(backends, (b) => b.endpoints), bad: reader.bad,
  };
}

class Reader {
  readonly #client: Pick<KubeClient, 'get' | 'listAll'>;
  readonly #signal: AbortSignal;
  readonly bad: string[] = [];

  constructor(client: Pick<KubeClient, 'get' | 'listAll'>, signal: AbortSignal) {
    this.#client = client;
    this.#signal = signal;
  }

  /** Null: there is no such object. */
  async get<T extends KubeObject>(resource: Resource<T>, name: string, namespace?: string): Promise<Read<T | null>> {
    const { parse } = resource;
    return await this.#try(`get ${nameOf(resource)}/${name}`, namespace, async () => {
      const object = await this.#client.get(resource, name, namespace, { signal: this.#signal });
      return parse ? parse(object) : object;
    }, null);
  }

  /** Objects that break their schema are left out, and named in `bad`. */
  async list<T extends KubeObject>(resource: Resource<T>, select: SelectOptions = {}): Promise<Read<readonly T[]>> {
    const { parse } = resource;
    return await this.#try(`list ${nameOf(resource)}`, select.namespace, async () => {
      const { items } = await this.#client.listAll(resource, { ...select, signal: this.#signal });
      return parse ? items.flatMap((item) => this.#parsed(parse, item)) : items;
    });
  }

  #parsed<T>(parse: (value: unknown) => T, item: unknown): T[] {
    try {
      return [parse(item)];
    } catch (error) {
      this.bad.push((error as Error).message);
      return [];
    }
  }

  /** `absent`: what it is when the kind is there and the object is not. */
  async #try<T>(what: string, namespace: string | undefined, read: () => Promise<T>, ...absent: readonly T[]): Promise<Read<T>> {
    const permission = `${what}${namespace === undefined ? '' : ` -n ${namespace}`}`;
    try {
      return { value: await read() };
    } catch (error) {
      if (isAbort(error) || (error instanceof ApiError && FATAL.has(error.code))) throw error;
      // Only the answer about a missing object names it.
      if (isNotFound(error) && absent.length > 0 && (error as ApiError).details?.name !== undefined) return { value: absent[0]! };
      return { unread: { why: isForbidden(error) ? 'forbidden' : isNotFound(error) ? 'noKind' : 'failed', text: (error as Error).message, permission } };
    }
  }
}

async function readService(reader: Reader, key: string) {
  const slash = key.indexOf('/');
  const [namespace, name] = [key.slice(0, slash), key.slice(slash + 1)];
  const [service, slices] = await Promise.all([
    reader.get(SERVICES, name, namespace),
    reader.list(ENDPOINT_SLICES, { namespace, labelSelector: `${SERVICE_NAME_LABEL}=${name}` }),
  ]);
  // As the controller has it: only where nobody mirrors them into slices.
  const endpoints = valueOf(slices)?.length === 0 ? await reader.get(ENDPOINTS, name, namespace) : { value: null };
  return { service, slices, endpoints };
}

async function judged(leases: Read<readonly Lease[]>, reader: Reader, namespace: string, clock: LeaseClock): Promise<Read<ReadonlyMap<string, SeenLease>>> {
  if ('unread' in leases) return leases;
  // A look that fails shows nothing new: whoever is doubted stays so.
  const again = async (): Promise<readonly Lease[]> => valueOf(await reader.list(LEASES, { namespace })) ?? [];
  return { value: await seeLeases(leases.value, again, (l) => l.metadata.name === CONTROLLER_LEASE || memberOf(l) !== null, clock) };
}

async function each<T>(keys: Iterable<string>, read: (key: string) => Promise<T>): Promise<Map<string, T>> {
  return new Map(await Promise.all([...keys].map(async (key): Promise<[string, T]> => [key, await read(key)])));
}

function part<A, B>(map: ReadonlyMap<string, A>, of: (a: A) => B): Map<string, B> {
  return new Map([...map].map(([key, a]) => [key, of(a)]));
}

/** api's descriptions are kube's resources: the rooms do not know each other's types. */
function described<T extends KubeObject>(description: ResourceDescription<T>): Resource<T> {
  return description;
}
