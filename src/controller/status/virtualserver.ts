/**
 * Status of a VirtualServer: what was decided about it, and how far its directors are, as conditions and counts. Pure; the clock's only
 * part in it is the time it is given. What is said here is all that a person sees with `kubectl get ivs`, so each message says what to do.
 */
import { CONDITIONS, WEIGHT_NAME, portText, type ReasonOf, type ConditionType, type ServerObjects, type VirtualServerStatus } from '../../api/v1alpha1/index.ts';
import { names, quote } from '../../api/v1alpha1/problems.ts';
import { parseRealServer, type Program } from '../../api/v1alpha1/program.ts';
import { familyOf } from '../../ip/ip.ts';
import { dropCondition, setCondition, type Condition } from '../../kube/conditions.ts';
import { sameWay } from '../compile/cluster.ts';
import type { Verdict } from '../compile/compile.ts';

/** What one director of the group says about one VirtualServer. */
export interface DirectorReport {
  readonly node: string;
  /** Its Lease is renewed. */
  readonly live: boolean;
  /** Hash of the program it runs; absent: none. */
  readonly hash?: string | undefined;
  readonly failure?: { readonly code: string; readonly message: string } | undefined;
  /** Real servers that it does not treat as the program wrote them; absent: none. */
  readonly backends?: { readonly unhealthy: number; readonly ignored: number; readonly draining: number; readonly message: string } | undefined;
}

/** Who holds one VIP. */
export interface Holder {
  /** '' for nobody. */
  readonly node: string;
  readonly live: boolean;
  /** Who else answers for it, in words; '' for nobody. */
  readonly duplicate: string;
  /** What directors say of why nobody has it for certain, in words; '' for nothing. */
  readonly why: string;
}

export interface ServerStatusInput {
  readonly server: ServerObjects['VirtualServer'];
  readonly verdict: Verdict;
  /** What is served: of the last accepted form, where the newest is refused. */
  readonly program: Program | null;
  /** Why a decision could not be written down, and so is none yet; '' when it was. */
  readonly unwritten: string;
  /** Why the API server does not take the program; '' when it has it. */
  readonly refused: string;
  readonly directors: readonly DirectorReport[];
  readonly holders: ReadonlyMap<string, Holder>;
  /** The program changed a moment ago: directors that are about to follow are no news. */
  readonly settling: boolean;
  /** RFC 3339. */
  readonly now: string;
}

type Said<T extends ConditionType> = { readonly status: 'True' | 'False' | 'Unknown'; readonly reason: ReasonOf<T> & string; readonly message: string };

/** Longest list of names in a message. */
const NAMES = 5;

export function virtualServerStatus(input: ServerStatusInput): VirtualServerStatus {
  const { server, verdict, program, holders, now } = input;
  const { generation } = server.metadata;
  const before = server.status;
  const live = input.directors.filter((d) => d.live);
  const hash = program?.spec.contentHash ?? null;
  const running = hash === null ? [] : live.filter((d) => d.hash === hash);
  const counts = countRealServers(program, witnessOf(input)?.backends);
  const nodes = [...new Set(verdict.addresses.flatMap((a) => holders.get(a)?.node || []))];
  const accepted = acceptedOf(input);
  const programmed = programmedOf(input, live, running.length);
  // A change that is on its way is not reported: it would be written once more a moment later.
  const fails = live.some((d) => d.failure !== undefined);
  const follows = input.settling && wasTrue(before, 'Programmed', generation) && programmed.status !== 'True' && live.length > 0 && !fails;
  const stays = follows ? { status: 'True', reason: 'Programmed', message: '' } as const : programmed;
  const ready = readyOf(input, accepted, stays, counts.ready);
  let conditions: readonly Condition[] = before?.conditions as readonly Condition[] | undefined ?? [];
  const say = <T extends ConditionType>(type: T, said: Said<T>): void => {
    conditions = setCondition(conditions, { type, ...said, ...(generation === undefined ? {} : { observedGeneration: generation }) }, now);
  };
  say('Accepted', accepted);
  say('ResolvedRefs', resolvedOf(verdict));
  say('Programmed', stays);
  say('Ready', ready);
  const stalled = stalledOf(accepted, stays);
  const degraded = degradedOf(input);
  if (stalled) say('Stalled', stalled);
  else conditions = dropCondition(conditions, 'Stalled');
  if (degraded) say('Degraded', degraded);
  else conditions = dropCondition(conditions, 'Degraded');
  const activeNode = nodes.join(',');
  return {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    addresses: verdict.addresses.map((value) => {
      const node = holders.get(value)?.node;
      return { value, family: familyOf(value)!, ...(node ? { activeNode: node } : {}) };
    }),
    summary: {
      ...(verdict.addresses.length > 0 ? { addresses: verdict.addresses.join(',').slice(0, 1024) } : {}),
      ports: portsText(server),
      backends: `${counts.ready}/${counts.total}`,
      ...(activeNode ? { activeNode: activeNode.slice(0, 1024) } : {}),
    },
    backends: {
      total: counts.total,
      ready: counts.ready,
      ...(counts.draining > 0 && { draining: counts.draining }),
      ...(counts.unhealthy > 0 && { unhealthy: counts.unhealthy }),
    },
    ...(verdict.excludedCount > 0 ? {
      excluded: verdict.excluded.map((e) => ({ backend: e.backend.slice(0, 64), reason: e.reason, message: e.message.slice(0, 1024) })),
      excludedCount: verdict.excludedCount,
    } : {}),
    directors: { desired: live.length, programmed: follows ? before?.directors?.programmed ?? running.length : running.length },
    conditions: [...conditions] as NonNullable<VirtualServerStatus['conditions']>,
  };
}

function portsText(server: ServerObjects['VirtualServer']): string {
  return server.spec.ports.map(portText).join(',').slice(0, 1024);
}

/** Whose word counts about real servers: that of the director whom clients reach; where nobody is, that of a live one. */
function witnessOf({ verdict, holders, directors }: ServerStatusInput): DirectorReport | undefined {
  const holder = verdict.addresses.map((a) => holders.get(a)?.node ?? '').find((node) => node !== '');
  return directors.find((d) => d.node === holder) ?? directors.find((d) => d.live);
}

/** Different real servers of all ports, and those of them that take new connections. */
function countRealServers(program: Program | null, seen: DirectorReport['backends']): { total: number; ready: number; unhealthy: number; draining: number } {
  const weights = new Map<string, number>();
  for (const service of program?.spec.services ?? []) {
    for (const text of service.realServers) {
      const r = parseRealServer(text);
      if (r) weights.set(r.address, Math.max(weights.get(r.address) ?? 0, r.weight));
    }
  }
  const meant = [...weights.values()].filter((w) => w > 0).length;
  const unhealthy = Math.min(seen?.unhealthy ?? 0, meant);
  return { total: weights.size, ready: meant - unhealthy, unhealthy, draining: seen?.draining ?? 0 };
}

function acceptedOf({ verdict, unwritten }: ServerStatusInput): Said<'Accepted'> {
  if (unwritten !== '') return { status: 'Unknown', reason: 'Pending', message: unwritten };
  const known = verdict.reason in CONDITIONS.Accepted.reasons ? verdict.reason as ReasonOf<'Accepted'> : 'InvalidSpec';
  return { status: verdict.accepted && verdict.reason === 'Accepted' ? 'True' : 'False', reason: known, message: verdict.message };
}

function resolvedOf(verdict: Verdict): Said<'ResolvedRefs'> {
  const [problem] = verdict.problems;
  if (problem) return { status: 'False', reason: problem.reason, message: verdict.problems.map((p) => p.message).join('; ') };
  const [first] = verdict.excluded;
  // Some that cannot be used are the Degraded condition's; when none is left, the reference is of no use.
  if (first && verdict.backends === 0) {
    const reason = first.reason === 'EndpointNotPermitted' ? 'EndpointNotPermitted' : 'UnsupportedBackendForMode';
    return { status: 'False', reason, message: `none of ${verdict.excludedCount} real servers can be used: ${first.message}` };
  }
  return { status: 'True', reason: 'ResolvedRefs', message: '' };
}

function programmedOf({ verdict, program, directors, settling, refused }: ServerStatusInput, live: readonly DirectorReport[], running: number): Said<'Programmed'> {
  const no = (reason: ReasonOf<'Programmed'>, message: string): Said<'Programmed'> => ({ status: 'False', reason, message });
  if (verdict.accepted && verdict.program === null) return no('Suspended', verdict.message);
  if (program === null) return no('Pending', 'see the condition Accepted');
  const group = program.spec.directorGroup;
  if (group === '') return no('NoDirector', 'there is no DirectorGroup; create one whose nodeSelector selects the nodes that are to direct');
  if (directors.length === 0) return no('NoDirector', `DirectorGroup ${group} selects no node; give nodes its labels`);
  if (live.length === 0) return no('NoDirector', `no agent of DirectorGroup ${group} is live (${nodesOf(directors)}); look at the agents' pods and their Leases`);
  const failed = live.filter((d) => d.failure !== undefined);
  const [first] = failed;
  if (first?.failure) {
    const { code } = first.failure;
    const reason = code === 'KernelFeatureMissing' || code === 'ForeignConflict' ? code
      : code === 'NoInterface' && failed.length === live.length ? 'NoDirector' : 'PartiallyProgrammed';
    return no(reason, `${first.node}: ${first.failure.message}${failed.length > 1 ? ` (and ${failed.length - 1} more of ${live.length} directors)` : ''}`);
  }
  if (awaitsNodes(verdict, program)) {
    const { mode } = verdict.program!.spec;
    const waiting = verdict.waiting.slice(0, NAMES).join(', ');
    return no('Pending',
      `served in mode ${program.spec.mode} until nodes receive in mode ${mode}; waiting for ${waiting}: is an agent running there?`);
  }
  if (running === live.length) return { status: 'True', reason: 'Programmed', message: '' };
  if (refused !== '') return no('Pending', `the API server does not take its program, so no director knows of it: ${refused}`);
  const behind = live.filter((d) => d.hash !== program.spec.contentHash);
  // Directors follow one after the other; as long as they have time for it, that is one state and not several.
  return no(running === 0 || settling ? 'Pending' : 'PartiallyProgrammed', `${running} of ${live.length} directors run it; waiting for ${nodesOf(behind)}`);
}

/** Whether what is served goes another way than what was accepted, for want of nodes that receive (compiler.ts). */
function awaitsNodes({ accepted, program: wanted }: Verdict, program: Program): boolean {
  return accepted && wanted !== null && !sameWay(wanted.spec, program.spec);
}

function readyOf(input: ServerStatusInput, accepted: Said<'Accepted'>, programmed: Said<'Programmed'>, readyServers: number): Said<'Ready'> {
  const { verdict, program, holders } = input;
  const no = (reason: ReasonOf<'Ready'>, message: string): Said<'Ready'> => ({ status: 'False', reason, message });
  if (accepted.reason === 'Suspended') return no('Suspended', accepted.message);
  if (accepted.status !== 'True') return no('NotAccepted', accepted.message);
  if (program !== null && awaitsNodes(verdict, program)) return no('NotProgrammed', programmed.message);
  const orphans = verdict.addresses.filter((a) => !holders.get(a)?.live);
  // Clients are served as soon as the owner of each address runs the program, whatever other directors are still doing.
  const owners = new Set(verdict.addresses.map((a) => holders.get(a)?.node ?? ''));
  const hash = program?.spec.contentHash;
  const owning = input.directors.filter((d) => owners.has(d.node));
  const run = orphans.length === 0 && hash !== undefined && owning.length > 0 && owning.every((d) => d.live && d.hash === hash);
  const enough = run || (orphans.length === 0 && input.settling && programmed.reason === 'PartiallyProgrammed');
  if (programmed.status !== 'True' && !enough) return no('NotProgrammed', programmed.message);
  if (readyServers === 0) {
    const { waiting, problems, excluded } = verdict;
    const awaited = waiting.length > 0 ? `; waiting for ${waiting.slice(0, NAMES).join(', ')} to receive for the VIP: is an agent running there?` : '';
    const unhealthy = witnessOf(input)?.backends;
    const failing = unhealthy && unhealthy.unhealthy > 0 ? `every real server fails its health check: ${unhealthy.message}` : undefined;
    const why = failing ?? problems[0]?.message ?? excluded[0]?.message ?? nobodyOf(input);
    return no('NoReadyBackends', `${why}${awaited}`);
  }
  if (orphans.length > 0) {
    // They see more of it than can be seen from here, as that a dead director's kernel still answers: then no other takes over.
    for (const a of orphans) if (holders.get(a)?.why) return no('NoOwner', `${a}: ${holders.get(a)!.why}`);
    const lost = [...new Set(orphans.flatMap((a) => holders.get(a)?.node || []))];
    const vips = orphans.join(', ');
    return no('NoOwner', lost.length > 0
      ? `${lost.join(', ')}, which held ${vips}, is not live any more; another director is to take over`
      : `no director holds ${vips}; look at kubectl get vip`);
  }
  return { status: 'True', reason: 'Ready', message: '' };
}

/** Why nobody takes connections, where no reference is wrong and nobody was excluded. */
function nobodyOf({ server: { metadata: { namespace }, spec }, program, verdict }: ServerStatusInput): string {
  if (program?.spec.services.some((s) => s.realServers.length > 0)) return 'no real server has a weight above 0; new connections are refused';
  // What they wait for is said beside it.
  if (verdict.waiting.length > 0) return 'there is no real server yet';
  const reasons = spec.backends.map(({ serviceRef: ref, nodes }) => {
    const look = 'look at its Pods, or at its EndpointSlices where it has no selector';
    if (ref) return `Service ${ref.namespace ?? namespace}/${ref.name} has no endpoint that is ready for this: ${look}`;
    if (nodes) return `no node has the labels ${Object.entries(nodes.selector.matchLabels).map(([key, value]) => `${key}=${value}`).join(',')}`;
    return 'a static backend has no endpoints';
  });
  return `there is no real server, so new connections are refused: ${[...new Set(reasons)].join('; ')}`;
}

const UNAVAILABLE: ReadonlySet<string> = new Set([
  'PoolNotFound', 'NamespaceNotAllowed', 'AddressOutsidePools', 'AddressReserved', 'AddressInUse', 'PoolExhausted', 'PortConflict',
]);

function stalledOf(accepted: Said<'Accepted'>, programmed: Said<'Programmed'>): Said<'Stalled'> | null {
  if (accepted.reason === 'InvalidSpec') return { status: 'True', reason: 'InvalidSpec', message: accepted.message };
  if (UNAVAILABLE.has(accepted.reason)) return { status: 'True', reason: 'AddressUnavailable', message: accepted.message };
  const { reason, message } = programmed;
  if (reason === 'KernelFeatureMissing' || reason === 'ForeignConflict') return { status: 'True', reason, message };
  return null;
}

function degradedOf(input: ServerStatusInput): Said<'Degraded'> | null {
  const { verdict, program, holders } = input;
  for (const address of verdict.addresses) {
    const duplicate = holders.get(address)?.duplicate;
    if (duplicate) return { status: 'True', reason: 'DuplicateAddress', message: duplicate };
  }
  if (!verdict.accepted && program !== null) return { status: 'True', reason: 'UsingLastGood', message: verdict.message };
  const unserved = unservedOf(program);
  if (unserved.length > 0) {
    const message = `nobody serves ${unserved.join(', ')}: no real server there takes connections, and clients are refused; the other ports are served`;
    return { status: 'True', reason: 'PortsUnserved', message };
  }
  const ignored = witnessOf(input)?.backends;
  if (ignored && ignored.ignored > 0) {
    const message = `${ignored.ignored} real servers fail their health check and are kept: ${ignored.message}`;
    return { status: 'True', reason: 'ChecksIgnored', message };
  }
  if (verdict.excludedCount > 0) {
    const message = `${verdict.excludedCount} of its real servers cannot be used; status.excluded names them`;
    return { status: 'True', reason: 'EndpointsExcluded', message };
  }
  const badWeight = badWeightOf(verdict, 'Node') ?? badWeightOf(verdict, 'Pod');
  if (badWeight !== null || !verdict.podsUnknown) return badWeight;
  const message = `the annotation ${WEIGHT_NAME} of its Pods is asked for and does not count: the controller cannot list Pods (chart: rbac.readPods)`;
  return { status: 'True', reason: 'PodsUnknown', message };
}

/** Ports without a real server that takes connections, where others have one: `443/TCP`. */
function unservedOf(program: Program | null): string[] {
  const services = program?.spec.services ?? [];
  const served = services.map((s) => s.realServers.some((r) => (parseRealServer(r)?.weight ?? 0) > 0));
  if (!served.includes(true) || !served.includes(false)) return [];
  return services.flatMap((s, i) => (served[i] ? [] : s.ports.map(portText)));
}

function badWeightOf({ badWeights }: ServerStatusInput['verdict'], kind: 'Node' | 'Pod'): Said<'Degraded'> | null {
  const list = badWeights.filter((b) => b.kind === kind).map((b) => `${b.name} (${quote(b.text)})`).sort();
  if (list.length === 0) return null;
  const whose = kind === 'Node' ? `label ${WEIGHT_NAME} of node` : `annotation ${WEIGHT_NAME} of Pod`;
  const message = `the ${whose} ${names(list, NAMES)} is no whole number from 0 to 65535, and does not count`;
  return { status: 'True', reason: `Invalid${kind}Weight`, message };
}

function wasTrue(before: VirtualServerStatus | undefined, type: string, generation: number | undefined): boolean {
  return before?.observedGeneration === generation && before?.conditions?.some((c) => c.type === type && c.status === 'True') === true;
}

function nodesOf(directors: readonly DirectorReport[]): string {
  return names(directors.map((d) => d.node).sort(), NAMES);
}

/** Whether two statuses say the same, apart from when. */
export function flips(before: VirtualServerStatus | undefined, after: VirtualServerStatus): boolean {
  const states = (s: VirtualServerStatus | undefined) => (s?.conditions ?? []).map((c) => [c.type, c.status, c.reason]).sort();
  const text = (s: VirtualServerStatus | undefined) => JSON.stringify([s?.observedGeneration, s?.addresses, states(s)]);
  return text(before) !== text(after);
}

/** Whether there is to tell that clients are served, and nothing that cannot wait: it was not told so, or not of the newest form. */
export function becameReady(before: VirtualServerStatus | undefined, after: VirtualServerStatus): boolean {
  const ready = (status: VirtualServerStatus | undefined) => status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;
  return ready(after) && (!ready(before) || before?.observedGeneration !== after.observedGeneration);
}

/**
 * Whether there is only to tell that claims, directors or the holders of its VIPs have not followed the newest form yet: of a form that was told
 * nothing of, or only that directors have not, where now nobody holds its VIPs.
 */
export function isOnItsWay(before: VirtualServerStatus | undefined, after: VirtualServerStatus): boolean {
  const reason = (status: VirtualServerStatus | undefined, type: ConditionType) => status?.conditions?.find((c) => c.type === type)?.reason;
  const accepted = reason(after, 'Accepted');
  const [programmed, ready] = [reason(after, 'Programmed'), reason(after, 'Ready')];
  const unheld = accepted === 'Accepted' && programmed === 'Programmed' && (ready === 'NoOwner' || ready === 'NotProgrammed');
  if (before !== undefined && before.observedGeneration === after.observedGeneration) return unheld && reason(before, 'Programmed') === 'Pending';
  return unheld || (accepted === 'Accepted' ? programmed === 'Pending' : accepted === 'Pending');
}

/** For a VirtualServer whose newest form no schema accepts. */
export function invalidStatus(before: VirtualServerStatus | undefined, generation: number | undefined, problem: string, now: string): VirtualServerStatus {
  const observed = generation === undefined ? {} : { observedGeneration: generation };
  let conditions: readonly Condition[] = before?.conditions as readonly Condition[] | undefined ?? [];
  const say = (type: ConditionType, status: 'True' | 'False', reason: string) => {
    conditions = setCondition(conditions, { type, status, reason, message: problem, ...observed }, now);
  };
  say('Accepted', 'False', 'InvalidSpec');
  say('Stalled', 'True', 'InvalidSpec');
  if (before?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True')) say('Degraded', 'True', 'UsingLastGood');
  else say('Ready', 'False', 'NotAccepted');
  return { ...before, ...observed, conditions: [...conditions] as NonNullable<VirtualServerStatus['conditions']> };
}
