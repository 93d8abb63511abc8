/**
 * Slices: a program as objects of at most 1,000 real servers each, and back. Pure. Slices of one program carry the same contentHash, and
 * only a complete set is a program: a director must never see half of the real servers.
 */
import { API_VERSION, GROUP_LABEL, VIRTUAL_SERVER_LABEL } from './metadata.ts';
import type { Program, ProgramHealthCheck, ProgramService, ProgramSpec } from './program.ts';
import type { VirtualServerProgram } from './virtualserverprogram.ts';
import { MAX_SLICES, MAX_SLICE_REAL_SERVERS } from './vocabulary.ts';

/** What a program does not say of the VirtualServer it comes from. */
export interface ProgramSource {
  readonly uid: string;
  readonly generation: number;
}

/**
 * `shop`, `shop.1`, `shop.2`: a name of a VirtualServer has no dot, so these never meet the program of a VirtualServer `shop-1`.
 * Slice 0 has the plain name: `kubectl get ivsp shop` shows what nearly always is the whole program.
 */
export function sliceName(virtualServer: string, index: number): string {
  return index === 0 ? virtualServer : `${virtualServer}.${index}`;
}

/**
 * The objects that tell directors about a program: one, or as many as it has thousands of real servers. The same program gives the same
 * objects. Throws RangeError beyond MAX_SLICES.
 */
export function sliceProgram(program: Program, source: ProgramSource): VirtualServerProgram[] {
  const parts = cut(program.spec.services);
  if (parts.length > MAX_SLICES) {
    throw new RangeError(`${program.owner} has ${parts.length} slices of ${MAX_SLICE_REAL_SERVERS} real servers; at most ${MAX_SLICES} are allowed`);
  }
  const slash = program.owner.indexOf('/');
  const [namespace, name] = [program.owner.slice(0, slash), program.owner.slice(slash + 1)];
  const { services: _, tunnel, persistence, healthCheck, ...rest } = program.spec;
  return parts.map((services, index): VirtualServerProgram => ({
    apiVersion: API_VERSION,
    kind: 'VirtualServerProgram',
    metadata: {
      name: sliceName(name, index),
      namespace,
      labels: { [GROUP_LABEL]: rest.directorGroup, [VIRTUAL_SERVER_LABEL]: name },
      // Without blockOwnerDeletion, which would need a right on the finalizers of VirtualServers.
      ownerReferences: [{ apiVersion: API_VERSION, kind: 'VirtualServer', name, uid: source.uid, controller: true }],
    },
    spec: {
      ...rest,
      addresses: [...rest.addresses],
      ...(tunnel === null ? {} : { tunnel }),
      ...(persistence === null ? {} : { persistence }),
      ...(healthCheck === undefined ? {} : { healthCheck: copied(healthCheck) }),
      services: services.map((s) => ({ ...s, ports: [...s.ports], realServers: [...s.realServers] })),
      slice: { index, count: parts.length },
      generation: source.generation,
      virtualServer: { name, uid: source.uid },
    },
  }));
}

function copied({ http, ...rest }: ProgramHealthCheck): NonNullable<VirtualServerProgram['spec']['healthCheck']> {
  return { ...rest, ...(http === undefined ? {} : { http: { ...http, expectedStatuses: [...http.expectedStatuses] } }) };
}

/** Fills slices in the order of services and real servers. A service without real servers stands where it is met. */
function cut(services: readonly ProgramService[]): ProgramService[][] {
  let part: ProgramService[] = [];
  const parts = [part];
  let room = MAX_SLICE_REAL_SERVERS;
  for (const service of services) {
    let from = 0;
    do {
      if (room === 0) {
        parts.push(part = []);
        room = MAX_SLICE_REAL_SERVERS;
      }
      const realServers = service.realServers.slice(from, from + room);
      part.push({ ...service, realServers });
      from += realServers.length;
      room -= realServers.length;
    } while (from < service.realServers.length);
  }
  return parts;
}

/** Why objects are no program (yet). */
export const SLICE_CODES = {
  SlicesMissing: 'Not every slice of the program is there; the program in force stays.',
  SlicesContradict: 'Two slices claim one place, or slices of one program disagree; the program in force stays.',
} as const;

export interface SliceProblem {
  readonly code: keyof typeof SLICE_CODES;
  readonly message: string;
}

export interface JoinedProgram {
  readonly program: Program;
  /** The newest generation of the VirtualServer that compiled to this program. */
  readonly generation: number;
  readonly uid: string;
}

/**
 * The program that these objects are: all objects of one VirtualServer, in any order. What slice 0 says is the program: slices of another
 * hash are left from before, or come before their slice 0. Never throws for objects that parsing accepted.
 */
export function joinSlices(objects: readonly VirtualServerProgram[]): JoinedProgram | { readonly problem: SliceProblem } {
  const first = objects.find((o) => o.spec.slice.index === 0);
  if (first === undefined) return missing(objects[0], 'slice 0');
  const { namespace } = first.metadata;
  const { contentHash, slice: { count }, virtualServer } = first.spec;
  const who = `${namespace}/${virtualServer.name}`;
  const parts: (VirtualServerProgram | undefined)[] = new Array(count).fill(undefined);
  for (const object of objects) {
    const { spec } = object;
    if (spec.contentHash !== contentHash) continue;
    const index = spec.slice.index;
    const other = object.metadata.namespace !== namespace || spec.virtualServer.name !== virtualServer.name
      || spec.virtualServer.uid !== virtualServer.uid || spec.slice.count !== count || index >= count;
    if (other) {
      return contradict(who, `${object.metadata.namespace}/${object.metadata.name} is not of one program with ${first.metadata.name}`);
    }
    if (parts[index] !== undefined) return contradict(who, `${parts[index].metadata.name} and ${object.metadata.name} are both slice ${index}`);
    parts[index] = object;
  }
  const gap = parts.indexOf(undefined);
  if (gap >= 0) return missing(first, `${parts.filter((p) => p === undefined).length} of ${count} slices, the first is ${gap},`);
  const complete = parts as VirtualServerProgram[];
  const { services: _s, slice: _i, generation: _g, virtualServer: _v, tunnel, persistence, ...rest } = first.spec;
  const spec: ProgramSpec = { ...rest, tunnel: tunnel ?? null, persistence: persistence ?? null, services: joinServices(complete) };
  return { program: { owner: who, spec }, generation: Math.max(...complete.map((o) => o.spec.generation)), uid: virtualServer.uid };
}

/** Pieces of one service have the same ports, and no two services of a program do. */
function joinServices(parts: readonly VirtualServerProgram[]): ProgramService[] {
  if (parts.length === 1) return [...parts[0]!.spec.services];
  const joined = new Map<string, { ports: ProgramService['ports']; mark: number; realServers: string[] }>();
  for (const { spec } of parts) {
    for (const { ports, mark, realServers } of spec.services) {
      const key = JSON.stringify([mark, ports.map((p) => [p.protocol, p.port, p.endPort])]);
      const before = joined.get(key);
      if (before === undefined) joined.set(key, { ports, mark, realServers: [...realServers] });
      else for (const r of realServers) before.realServers.push(r);
    }
  }
  return [...joined.values()];
}

function missing(object: VirtualServerProgram | undefined, what: string): { problem: SliceProblem } {
  const who = object === undefined ? 'a program' : `the program of ${object.metadata.namespace}/${object.spec.virtualServer.name}`;
  return { problem: { code: 'SlicesMissing', message: `${what} of ${who} is not there yet; the controller writes it` } };
}

function contradict(who: string, what: string): { problem: SliceProblem } {
  return { problem: { code: 'SlicesContradict', message: `${what} (program of ${who}); the controller will write it anew; if it does not, delete both` } };
}
