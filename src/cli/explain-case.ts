/**
 * The case: one VirtualServer with what follows from its facts and several steps ask for: its parsed form, its program, its directors,
 * who holds its VIPs. Pure. It judges nothing; that is explain-server.ts, explain-backends.ts, explain-vips.ts and explain-directors.ts.
 */
import { readShape } from '../api/shape.ts';
import { STATUS_SHAPES } from '../api/shapes.generated.ts';
import {
  fromServer, joinSlices, portText,
  type DirectorGroup, type IPVSNode, type JoinedProgram, type Problem, type ServerObjects, type VirtualServerStatus,
} from '../api/v1alpha1/index.ts';
import { parseRealServer, realServersFor, type Mode, type Program, type RealServer } from '../api/v1alpha1/program.ts';
import { memberOf } from '../agent/ownership/membership.ts';
import { addressesOf, valueOf, type Facts, type SeenLease } from './explain-facts.ts';

export interface Case {
  readonly facts: Facts;
  /** `namespace/name`. */
  readonly key: string;
  /** As the server has it; null: there is none, or it cannot be read. */
  readonly raw: RawServer | null;
  /** Null: there is none, or it breaks its schema; then `problems` says where. */
  readonly server: ServerObjects['VirtualServer'] | null;
  readonly problems: readonly Problem[];
  readonly status: VirtualServerStatus | undefined;
  /** Whether the status is about the newest generation. */
  readonly current: boolean;
  /** Null: no program. Undefined: cannot be told. */
  readonly program: JoinedProgram | null | undefined;
  readonly mode: Mode | undefined;
  readonly addresses: readonly string[];
  /** The DirectorGroup; '' for none; undefined: cannot be told. */
  readonly group: string | undefined;
  readonly groupObject: DirectorGroup | null | undefined;
  /** Directors of the group, by name; undefined: cannot be told. */
  readonly members: readonly IPVSNode[] | undefined;
  /** The Lease of each director that has one; undefined: cannot be told. */
  readonly leaseOf: ReadonlyMap<string, SeenLease> | undefined;
  /** Who holds each address: '' for nobody, undefined: cannot be told. */
  readonly holders: ReadonlyMap<string, string | undefined>;
  /** Whether the program has a real server that takes new connections; undefined: cannot be told. */
  readonly serves: boolean | undefined;
}

export interface RawServer {
  readonly metadata: { readonly uid?: string; readonly generation?: number; readonly deletionTimestamp?: string; readonly finalizers?: readonly string[] };
  readonly status?: unknown;
}

export function caseOf(facts: Facts): Case {
  const raw = (valueOf(facts.server) ?? null) as RawServer | null;
  const result = raw === null ? null : fromServer('VirtualServer', raw);
  const server = result?.ok ? result.object : null;
  const status = statusOf(raw);
  const programs = valueOf(facts.programs);
  const addresses = addressesOf(status, programs ?? []);
  const joined = programs === undefined ? undefined : programs.length === 0 ? null : joinSlices(programs);
  const program = joined === undefined || joined === null || 'program' in joined ? joined : undefined;
  const group = groupOf(facts, addresses);
  return {
    facts, key: `${facts.namespace}/${facts.name}`, raw, server, status, program, addresses, group,
    problems: result !== null && !result.ok ? result.problems : [],
    current: raw !== null && status?.observedGeneration !== undefined && status.observedGeneration === raw.metadata.generation,
    mode: program?.program.spec.mode ?? server?.spec.mode,
    groupObject: group === undefined ? undefined : valueOf(facts.groups.get(group)),
    members: group === undefined ? undefined : valueOf(facts.ipvsNodes)
      ?.filter((n) => n.spec.directorGroups.includes(group))
      .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)),
    leaseOf: directorLeases(facts),
    holders: new Map(addresses.map((a) => [a, holderOf(facts, status, a)])),
    serves: program === undefined ? undefined : program !== null && servicesOf(program.program).some((s) => s.ready.length > 0),
  };
}

/** A status that cannot be read is as good as none. */
export function statusOf(raw: RawServer | null): VirtualServerStatus | undefined {
  if (raw?.status === undefined) return undefined;
  const { value, problems } = readShape(STATUS_SHAPES.VirtualServer, raw.status, 'strip');
  return problems.length === 0 ? value as VirtualServerStatus : undefined;
}

export function conditionOf(c: Case, type: string) {
  return c.status?.conditions?.find((x) => x.type === type);
}

export interface ServedPort {
  /** `443/TCP of 203.0.113.10`. */
  readonly name: string;
  readonly all: readonly RealServer[];
  /** Those with a weight. */
  readonly ready: readonly RealServer[];
}

/** Every port on every VIP, with the real servers that directors have there. */
export function servicesOf({ spec }: Program): ServedPort[] {
  return spec.addresses.flatMap(({ address, family }) => spec.services.map(({ ports, realServers }) => {
    const all = realServersFor(spec.mode, realServers.flatMap((text) => parseRealServer(text) ?? []), family);
    const port = ports.map(portText).join(',');
    return { name: `${port} of ${address}`, all, ready: all.filter((r) => r.weight > 0) };
  }));
}

/** Nobody can read a VirtualIP without the permission; the controller's word is left. */
function holderOf(facts: Facts, status: VirtualServerStatus | undefined, address: string): string | undefined {
  const vip = valueOf(facts.virtualIPs.get(address));
  if (vip === undefined) return status?.addresses?.find((a) => a.value === address)?.activeNode;
  return vip?.status?.activeNode ?? '';
}

function groupOf(facts: Facts, addresses: readonly string[]): string | undefined {
  const programs = valueOf(facts.programs);
  if (programs?.[0]) return programs[0].spec.directorGroup;
  return addresses.flatMap((a) => valueOf(facts.virtualIPs.get(a))?.spec.directorGroup ?? [])[0];
}

/** A director's Lease is known by its holder: anybody else's object in its place says nothing of the director. */
function directorLeases(facts: Facts): ReadonlyMap<string, SeenLease> | undefined {
  const leases = valueOf(facts.leases);
  if (leases === undefined) return undefined;
  return new Map([...leases.values()].flatMap((seen): [string, SeenLease][] => {
    const member = memberOf(seen.lease);
    return member ? [[member.node, seen]] : [];
  }));
}
