/**
 * compile: what people wrote -> programs. Pure: no file system, no API server, no clock. Two steps: who gets which address
 * (claims.ts, needs everybody) and what each VirtualServer becomes (needs itself and its claim), so that a change of one backend
 * costs one program.
 */
import { createHash } from 'node:crypto';
import { endPortOf, type DirectorGroup, type VIPPool, type VirtualServer } from '../../api/v1alpha1/index.ts';
import { formatRealServer, groupSettings, type GroupSettings, type Program, type ProgramService, type ProgramSpec } from '../../api/v1alpha1/program.ts';
import { familyOf } from '../../ip/ip.ts';
import { inOrder, programCheck } from './checks.ts';
import { claimAll, groupOf, type Claim, type Claims } from './claims.ts';
import type { Cluster } from './cluster.ts';
import { endpointsOf, tunnelOf, type BadWeight, type Bind, type Endpoint, type Exclusion } from './endpoints.ts';
import { assignMarks, markNames } from './marks.ts';
import type { Memory } from './memory.ts';
import { poolHolds, readPool, type Pool } from './pools.ts';
import type { SourceProblem } from './sources.ts';

export interface CompileInput {
  readonly servers: ReadonlyMap<string, VirtualServer>;
  readonly pools: ReadonlyMap<string, VIPPool>;
  readonly groups: ReadonlyMap<string, DirectorGroup>;
  readonly memory: Memory;
  readonly cluster: Cluster;
  /** `namespace/name` of VirtualServers that cannot be read now and are served as they were. */
  readonly unread?: ReadonlySet<string>;
  /** Groups that cannot be read now, as they were. */
  readonly lastGroups?: ReadonlyMap<string, GroupSettings>;
}

/** What compile decided about one VirtualServer: the source of its Accepted and ResolvedRefs conditions. */
export interface Verdict {
  readonly accepted: boolean;
  /** A reason of the Accepted condition. */
  readonly reason: string;
  readonly message: string;
  readonly addresses: readonly string[];
  readonly pool: string;
  /** Where its addresses are of several pools: `pools[i]` has `addresses[i]`. Absent: `pool` has all. */
  readonly pools?: readonly string[];
  /** The DirectorGroup; '' where there is none. */
  readonly group: string;
  readonly backends: number;
  readonly excluded: readonly Exclusion[];
  readonly excludedCount: number;
  /** References that lead nowhere. */
  readonly problems: readonly SourceProblem[];
  /** Labels of nodes and annotations of Pods that are no weight, and do not count. */
  readonly badWeights: readonly BadWeight[];
  /** Annotations of Pods are asked for and cannot be read. */
  readonly podsUnknown: boolean;
  /** Nodes that have to receive for the VIPs, in modes DR and TUN. */
  readonly binds: readonly Bind[];
  /** Those of them that do not yet. */
  readonly waiting: readonly string[];
  /** Null when nothing is to be programmed. What is served may still be the form before (compiler.ts). */
  readonly program: Program | null;
}

/** What compiling one VirtualServer needs to know of all the others. */
export interface Context {
  readonly claims: Claims;
  readonly pools: ReadonlyMap<string, Pool>;
  readonly marks: ReadonlyMap<string, number>;
  readonly groups: ReadonlyMap<string, GroupSettings>;
  readonly memory: Memory;
  readonly cluster: Cluster;
}

/** The first step. Its result stays right until a pool, a group, or a VIP, port or suspension of a VirtualServer changes. */
export function prepare(input: CompileInput): Context {
  const pools = new Map<string, Pool>();
  for (const [name, pool] of input.pools) pools.set(name, readPool(pool));
  const unread = input.unread ?? new Set();
  const groups = new Map([...input.groups.values()].map((g) => [g.metadata.name, groupSettings(g)]));
  for (const [name, settings] of input.lastGroups ?? []) if (!groups.has(name)) groups.set(name, settings);
  const groupProblem = (pool: Pool): string | null => {
    const group = resolveGroup(pool, groups);
    return 'problem' in group ? group.problem : null;
  };
  const claims = claimAll({ servers: input.servers, pools, memory: input.memory, cluster: input.cluster, unread, groupProblem });
  const names = [...input.servers].flatMap(([key, server]) => markNames(key, server));
  for (const name of Object.keys(input.memory.marks)) if (unread.has(name.slice(0, name.indexOf('#')))) names.push(name);
  const marks = assignMarks(names, input.memory);
  return { claims, pools, marks, groups, memory: { ...claims.memory, marks: Object.fromEntries(marks) }, cluster: input.cluster };
}

/**
 * Whose second step may have another result, where only claims were decided anew: pools, groups and the cluster are as they were, and
 * who was edited is known. `verdicts`: results of before.
 */
export function* affectedBy(
  before: Context,
  after: Context,
  servers: ReadonlyMap<string, VirtualServer>,
  verdicts: ReadonlyMap<string, Verdict>,
): Generator<string, void, undefined> {
  const vips = new Set<string>();
  for (const [address, holder] of after.claims.vips) if (before.claims.vips.get(address) !== holder) vips.add(address);
  for (const address of before.claims.vips.keys()) if (!after.claims.vips.has(address)) vips.add(address);
  for (const [key, server] of servers) {
    const verdict = verdicts.get(key);
    const marked = () => markNames(key, server).some((name) => before.marks.get(name) !== after.marks.get(name));
    if (!verdict || !sameClaim(before.claims.byServer.get(key), after.claims.byServer.get(key)) || marked() || (vips.size > 0 && mayHave(verdict, vips))) yield key;
  }
}

function sameClaim(a: Claim | undefined, b: Claim | undefined): boolean {
  if (!a || !b) return a === b;
  if (!a.ok || !b.ok) return !a.ok && !b.ok && a.reason === b.reason && a.message === b.message;
  return a.pool.name === b.pool.name && a.addresses.length === b.addresses.length && a.addresses.every((address, i) => address === b.addresses[i]);
}

/** Whether some of these addresses may be real servers of a VirtualServer: a VIP is none, and is one again when it is no VIP any more. */
function mayHave({ accepted, program, addresses: served, excludedCount, waiting }: Verdict, addresses: ReadonlySet<string>): boolean {
  // Its form of before is served, whose real servers are not in the verdict.
  if (!accepted) return served.length > 0;
  if (program === null || excludedCount > 0 || waiting.length > 0) return true;
  return program.spec.services.some((s) => s.realServers.some((r) => addresses.has(r.slice(0, r.indexOf('|')))));
}

/** The second step. */
export function compileOne(key: string, server: VirtualServer, context: Context): Verdict {
  const claim = context.claims.byServer.get(key)!;
  if (!claim.ok) return refused(claim.reason, claim.message);
  if (markNames(key, server).some((name) => !context.marks.has(name))) {
    return refused('InvalidSpec', 'all 16,384 marks for port ranges are in use; remove a range or a scope AllPorts elsewhere');
  }
  const group = resolveGroup(claim.pool, context.groups);
  if ('problem' in group) return refused('Pending', group.problem);
  const endpoints = endpointsOf({
    server, pool: claim.pool, addresses: claim.addresses, vips: context.claims.vips, cluster: context.cluster,
    connectionSync: group.settings !== null && group.settings.connectionSync !== null,
  });
  const { eligible, count, excluded, excludedCount, problems, badWeights, podsUnknown, binds, waiting } = endpoints;
  const verdict: Omit<Verdict, 'program'> = {
    accepted: true, reason: 'Accepted', message: '', addresses: claim.addresses, pool: claim.pool.name, ...poolsOf(claim), group: group.settings?.name ?? '',
    backends: count, excluded, excludedCount, problems, badWeights, podsUnknown, binds, waiting,
  };
  if (server.spec.suspend) return { ...verdict, reason: 'Suspended', message: 'spec.suspend is true: the address is kept, nothing is served', program: null };
  return { ...verdict, program: { owner: key, spec: programSpec(key, server, claim.addresses, eligible, group.settings?.name ?? '', context) } };
}

function poolsOf({ pool, pools }: Claim & { readonly ok: true }): Pick<Verdict, 'pools'> {
  return pools.every((p) => p === pool) ? {} : { pools: pools.map((p) => p.name) };
}

/** What a verdict says of real servers, whether a VirtualServer is accepted or not. */
export type Followed = Omit<Verdict, 'accepted' | 'reason' | 'message' | 'pool' | 'pools' | 'group' | 'program'> & { readonly program: Program };

/**
 * A program of before with the real servers of today, for a VirtualServer that is refused and served on in its last form. `form`: the VirtualServer
 * as it was then, or as it may have been. Null when that makes a program of another form, or nobody knows whether its static real servers are
 * permitted.
 */
export function follow(key: string, form: VirtualServer, { spec: before }: Program, context: Context): Followed | null {
  const { claims, cluster, groups } = context;
  const addresses = before.addresses.map((a) => a.address);
  const pools = [...context.pools.values()].filter((p) => addresses.every((address) => poolHolds(p, address)));
  const pool = pools.sort((a, b) => (a.name < b.name ? -1 : 1))[0] ?? null;
  if (pool === null && form.spec.backends.some((b) => b.static)) return null;
  const endpoints = endpointsOf({
    server: form, pool, addresses, vips: claims.vips, cluster, connectionSync: (groups.get(before.directorGroup)?.connectionSync ?? null) !== null,
  });
  const { eligible, count, ...rest } = endpoints;
  const spec = programSpec(key, form, addresses, eligible, before.directorGroup, context);
  return formOf(spec) === formOf(before) ? { ...rest, addresses, backends: count, program: { owner: key, spec } } : null;
}

/** The same for two programs that differ in their real servers only. */
function formOf(spec: ProgramSpec): string {
  return hashOf({ ...spec, services: spec.services.map((s) => ({ ...s, realServers: [] })) });
}

/** Of one at which the second step failed for a reason that is ours: others must not wait for it, and it is told to whoever looks. */
export function undecided(error: unknown): Verdict {
  const why = error instanceof Error ? error.message : String(error);
  return refused('InvalidSpec', `it could not be compiled (${why}), which is a defect of ipvs-operator; report it with this VirtualServer and its Service`);
}

/** What of a VirtualServer the first step looks at: while this text is the same, so is its claim and everybody else's. */
export function claimSignature(server: VirtualServer): string {
  const { vip, ports, persistence } = server.spec;
  return JSON.stringify([vip, ports, persistence?.scope]);
}

function programSpec(
  key: string,
  server: VirtualServer,
  addresses: readonly string[],
  eligible: readonly (readonly Endpoint[])[],
  group: string,
  context: Context,
): ProgramSpec {
  const { spec } = server;
  const healthCheck = programCheck(spec);
  const slowStartSeconds = spec.slowStart?.windowSeconds ?? 0;
  const content: Omit<ProgramSpec, 'contentHash'> = {
    directorGroup: group,
    addresses: addresses.map((address) => ({ address, family: familyOf(address)! })),
    mode: spec.mode,
    sourceAddress: spec.mode !== 'NAT' ? 'Preserve' : sourceAddress(spec.nat?.sourceAddress ?? 'Auto', () => anyBound(addresses, eligible, context.cluster)),
    tunnel: tunnelOf(server),
    scheduler: { name: spec.scheduler.name, fallback: spec.scheduler.fallback, portAware: spec.scheduler.portAware, onePacket: spec.scheduler.onePacket },
    persistence: !spec.persistence ? null : {
      timeoutSeconds: spec.persistence.timeoutSeconds, ipv4PrefixLength: spec.persistence.ipv4PrefixLength,
      ipv6PrefixLength: spec.persistence.ipv6PrefixLength, engine: spec.persistence.engine ?? '',
    },
    services: programServices(key, server, eligible, context.marks),
    connectionLimits: { upper: spec.connectionLimits.upper, lower: spec.connectionLimits.lower },
    drainTimeoutSeconds: spec.drain.timeoutSeconds,
    ...(spec.trafficPolicy === 'Local' ? { localOnly: true } : {}),
    ...(healthCheck === null ? {} : { healthCheck }),
    ...(slowStartSeconds === 0 ? {} : { slowStartSeconds }),
  };
  return { ...content, contentHash: hashOf(content) };
}

/** The contentHash of a program, whoever built the object and in whatever order: one that is another was not written by a controller. */
export function hashOf(spec: Omit<ProgramSpec, 'contentHash'>): string {
  const {
    directorGroup, addresses, mode, sourceAddress, tunnel, scheduler, persistence, services, connectionLimits, drainTimeoutSeconds,
    localOnly, healthCheck, slowStartSeconds,
  } = spec;
  const content = {
    directorGroup,
    addresses: addresses.map(({ address, family }) => ({ address, family })),
    mode, sourceAddress,
    tunnel: tunnel && { encapsulation: tunnel.encapsulation, port: tunnel.port, checksum: tunnel.checksum },
    scheduler: { name: scheduler.name, fallback: scheduler.fallback, portAware: scheduler.portAware, onePacket: scheduler.onePacket },
    persistence: persistence && {
      timeoutSeconds: persistence.timeoutSeconds,
      ipv4PrefixLength: persistence.ipv4PrefixLength,
      ipv6PrefixLength: persistence.ipv6PrefixLength,
      engine: persistence.engine,
    },
    services: services.map(({ ports, mark, realServers }) => ({
      ports: ports.map(({ name, protocol, port, endPort }) => ({ name, protocol, port, endPort })), mark, realServers,
    })),
    connectionLimits: { upper: connectionLimits.upper, lower: connectionLimits.lower },
    drainTimeoutSeconds,
    // Absent where there is nothing, so that programs written before these fields were keep their hash.
    ...(localOnly ? { localOnly } : {}),
    ...(healthCheck ? { healthCheck: inOrder(healthCheck) } : {}),
    ...(slowStartSeconds ? { slowStartSeconds } : {}),
  };
  return createHash('sha256').update(JSON.stringify(content)).digest().toString('hex', 0, 8);
}

/** Ordinary ports are a service each; a range is one, and scope AllPorts makes one of everything. */
function programServices(key: string, server: VirtualServer, eligible: readonly (readonly Endpoint[])[], marks: ReadonlyMap<string, number>): ProgramService[] {
  const ports = server.spec.ports.map((p) => ({ name: p.name ?? '', protocol: p.protocol, port: p.port, endPort: endPortOf(p) }));
  const servers = (list: readonly Endpoint[]) => list.map(formatRealServer).sort();
  if (server.spec.persistence?.scope === 'AllPorts') {
    return [{ ports, mark: marks.get(`${key}#all`)!, realServers: servers(eligible[0]!) }];
  }
  return ports.map((p, i) => {
    const range = p.endPort !== p.port;
    return { ports: [p], mark: range ? marks.get(`${key}#${p.protocol}/${p.port}-${p.endPort}`)! : 0, realServers: servers(eligible[i]!) };
  });
}

/** Whether some real server's node has one of the VIPs itself: after an edit from DR or TUN, for as long as nodes keep them. */
function anyBound(addresses: readonly string[], eligible: readonly (readonly Endpoint[])[], cluster: Cluster): boolean {
  return eligible.some((list) => list.some(({ node }) => node !== '' && addresses.some((vip) => cluster.bound(node, vip))));
}

function sourceAddress(choice: 'Auto' | 'Preserve' | 'Masquerade' | 'VirtualIP', bound: () => boolean): ProgramSpec['sourceAddress'] {
  // From the VIP nothing reaches a node that has it too; the director's own address serves until it has not.
  if (choice === 'VirtualIP' && bound()) return 'Masquerade';
  // Auto works from every network; whoever wants to see clients routes replies through the director and says Preserve.
  return choice === 'Auto' ? 'Masquerade' : choice;
}

function resolveGroup(pool: Pool, groups: ReadonlyMap<string, GroupSettings>): { settings: GroupSettings | null } | { problem: string } {
  const name = groupOf(pool);
  if (name) {
    const settings = groups.get(name);
    return settings ? { settings } : { problem: `DirectorGroup ${name} of VIPPool ${pool.name} does not exist; create it` };
  }
  if (groups.size > 1) return { problem: `VIPPool ${pool.name} names no directorGroupRef and there are ${groups.size} DirectorGroups; name one` };
  return { settings: [...groups.values()][0] ?? null };
}

function refused(reason: string, message: string): Verdict {
  return {
    accepted: false, reason, message, addresses: [], pool: '', group: '', backends: 0, excluded: [], excludedCount: 0, problems: [],
    badWeights: [], podsUnknown: false, binds: [], waiting: [], program: null,
  };
}
