/**
 * The status of a host: one value made of verdicts, the agent's view and the folder's problems, written to STATE/status.json and shown
 * by `ipvs-operator status`. Pure. Conditions and reasons are those of api/v1alpha1/conditions.ts, as they will stand on the objects
 * in a cluster.
 */
import { portText, type VirtualServer } from '../api/v1alpha1/index.ts';
import { parseRealServer, type Program } from '../api/v1alpha1/program.ts';
import type { AgentView } from '../agent/agent.ts';
import { formatOperation } from '../agent/operation.ts';
import type { Failure } from '../agent/apply.ts';
import { drainsByService } from '../agent/drain.ts';
import { failuresByOwner } from '../agent/failures.ts';
import type { Unhealthy } from '../agent/health/watch.ts';
import type { Refusal } from '../agent/state.ts';
import type { Verdict } from '../controller/compile/compile.ts';
import { serviceKey } from '../kernel/ipvs/types.ts';

export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
}

export interface ServerStatus {
  readonly mode: string;
  readonly addresses: readonly string[];
  readonly ports: string;
  readonly scheduler: string;
  readonly role: string;
  /** `unhealthy`: down by their check; `ignored`: kept although it fails. */
  readonly backends: { readonly total: number; readonly ready: number; readonly draining: number; readonly unhealthy: number; readonly ignored: number };
  /** Real servers whose check fails, as `address port: reason: message`. */
  readonly unhealthy: readonly string[];
  readonly excluded: readonly { readonly backend: string; readonly reason: string; readonly message: string }[];
  readonly excludedCount: number;
  readonly conditions: readonly Condition[];
}

export interface FileProblemStatus {
  readonly file: string;
  readonly object: string;
  readonly code: string;
  readonly severity: string;
  readonly message: string;
}

export interface HostStatus {
  readonly version: 1;
  readonly node: string;
  readonly pid: number;
  /** Nothing is pending and nothing failed; what was refused stays refused until somebody changes something. */
  readonly settled: boolean;
  /** settled, and everything that the manifests ask for is in the kernel. */
  readonly ok: boolean;
  readonly sequence: number;
  readonly lastChange: number;
  readonly manifestsHash: string;
  readonly virtualServers: Readonly<Record<string, ServerStatus>>;
  readonly problems: readonly FileProblemStatus[];
  readonly failures: readonly { readonly operation: string; readonly code: string; readonly errno: number; readonly message: string }[];
  readonly drains: Readonly<Record<string, { readonly since: number; readonly deadline: number }>>;
  readonly foreign: AgentView['foreign'];
  readonly notes: readonly string[];
  readonly kernel: { readonly release: string; readonly ipvs: string | null; readonly netfilter: string | null };
  readonly operations: number;
  readonly drifts: number;
  /** Why the last reconcile could not be done at all; ''. */
  readonly error: string;
}

/** How many foreign things a status lists by name. */
const FOREIGN_SHOWN = 64;

export interface StatusInput {
  readonly node: string;
  readonly pid: number;
  readonly sequence: number;
  readonly lastChange: number;
  readonly pending: boolean;
  readonly manifestsHash: string;
  readonly servers: ReadonlyMap<string, VirtualServer>;
  readonly verdicts: ReadonlyMap<string, Verdict>;
  /** What is served; one without a verdict comes from the snapshot, because its manifest cannot be read. */
  readonly programs: ReadonlyMap<string, Program>;
  readonly view: AgentView;
  /** Real servers of a program whose check fails; absent: nothing is checked. */
  readonly unhealthy?: ((owner: string) => readonly Unhealthy[]) | undefined;
  readonly problems: readonly FileProblemStatus[];
  readonly error: string;
}

/** The whole status as a value. */
export function hostStatus(input: StatusInput): HostStatus {
  const virtualServers: Record<string, ServerStatus> = {};
  const servers = eachServer(input);
  for (let next = servers.next(); ; next = servers.next()) {
    if (next.done) return { ...next.value, virtualServers };
    const [key, server] = next.value;
    virtualServers[key] = server;
  }
}

/** The same as the parts of a JSON text: 10,000 VirtualServers as values and as one string would take 30 MB for a moment. */
export function* statusText(input: StatusInput): Iterable<string> {
  const servers = eachServer(input);
  let separator = '';
  yield '{"virtualServers":{';
  for (let next = servers.next(); ; next = servers.next()) {
    if (next.done) {
      yield `},${JSON.stringify(next.value).slice(1)}\n`;
      return;
    }
    const [key, server] = next.value;
    yield `${separator}${JSON.stringify(key)}:${JSON.stringify(server)}`;
    separator = ',';
  }
}

/** One VirtualServer after the other, and in the end what is said of all of them. */
function* eachServer(input: StatusInput): Generator<readonly [key: string, status: ServerStatus], Omit<HostStatus, 'virtualServers'>> {
  const { view } = input;
  const refusals = groupBy(view.refusals, (r) => r.owner);
  const failures = failuresByOwner(view);
  const draining = drainsByService(view.drains);
  let ready = true;
  const ofServers = input.problems.filter((p) => p.severity === 'error' && p.object.startsWith('VirtualServer/'));
  const broken = new Map(ofServers.map((p) => [p.object.slice('VirtualServer/'.length), p.message]));
  for (const [key, program] of input.programs) {
    if (input.verdicts.has(key)) continue;
    ready = false;
    yield [key, snapshotStatus(program, view, refusals.get(key) ?? [], failures.get(key) ?? [], draining, input.error)];
  }
  for (const [key, verdict] of input.verdicts) {
    const status = serverStatus(
      input.servers.get(key)!, verdict, view, refusals.get(key) ?? [], failures.get(key) ?? [], draining, key, input.error,
      broken.get(key), input.unhealthy?.(key) ?? [],
    );
    const unprogrammed = status.conditions.some((c) => c.type === 'Programmed' && c.status === 'False' && c.reason !== 'Suspended');
    if (!verdict.accepted || verdict.excludedCount > 0 || refusals.has(key) || unprogrammed) ready = false;
    yield [key, status];
  }
  const settled = !input.pending && view.failures.length === 0 && input.error === '';
  return {
    version: 1, node: input.node, pid: input.pid, settled,
    ok: settled && ready && !input.problems.some((p) => p.severity === 'error'),
    sequence: input.sequence, lastChange: input.lastChange, manifestsHash: input.manifestsHash, problems: input.problems,
    failures: view.failures.slice(0, FOREIGN_SHOWN).map(({ operation, error: { code, errno, message } }) =>
      ({ operation: formatOperation(operation), code, errno, message })),
    drains: view.drains,
    foreign: {
      services: view.foreign.services.slice(0, FOREIGN_SHOWN),
      destinations: view.foreign.destinations.slice(0, FOREIGN_SHOWN),
      addresses: view.foreign.addresses.slice(0, FOREIGN_SHOWN),
    },
    notes: view.notes,
    kernel: { release: view.capabilities?.kernel ?? '', ipvs: view.capabilities?.version ?? null, netfilter: view.netfilter },
    operations: view.operations, drifts: view.drifts, error: input.error,
  };
}

function serverStatus(
  server: VirtualServer, verdict: Verdict, view: AgentView, refusals: readonly Refusal[], failures: readonly Failure[],
  draining: ReadonlyMap<string, readonly string[]>, key: string, error: string, broken: string | undefined, sick: readonly Unhealthy[],
): ServerStatus {
  const fragment = view.fragments.get(key);
  const { spec } = server;
  const weights = verdict.program?.spec.services[0]?.realServers.map((r) => parseRealServer(r)!.weight) ?? [];
  const down = new Set(sick.filter((u) => u.state === 'Down').map((u) => u.address)).size;
  const ready = Math.max(weights.filter((w) => w > 0).length - down, 0);
  const { reason, message, excluded: [first], excludedCount } = verdict;
  const accepted: Condition = { type: 'Accepted', status: verdict.accepted && reason === 'Accepted' ? 'True' : 'False', reason, message };
  const leftOut = `${excludedCount} real server${excludedCount > 1 ? 's' : ''} left out`;
  const resolved: Condition = first
    ? { type: 'ResolvedRefs', status: 'False', reason: first.reason, message: `${leftOut}: ${first.message}` }
    : { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: '' };
  const programmed = programmedCondition(verdict, fragment?.role ?? 'none', refusals, failures, error);
  return {
    mode: spec.mode,
    addresses: verdict.addresses,
    ports: spec.ports.map(portText).join(','),
    scheduler: spec.scheduler.name,
    role: fragment?.role ?? 'none',
    backends: {
      total: verdict.backends, ready, draining: drainingOf(view, key, draining), unhealthy: down,
      ignored: new Set(sick.map((u) => u.address)).size - down,
    },
    unhealthy: sick.slice(0, FOREIGN_SHOWN).map(unhealthyText),
    excluded: verdict.excluded, excludedCount: verdict.excludedCount,
    conditions: [accepted, resolved, programmed, readyCondition(accepted, programmed, ready, sick), ...degraded(verdict, broken, sick)],
  };
}

/** Only when True: it works, but not as it was written. */
function degraded(verdict: Verdict, broken: string | undefined, sick: readonly Unhealthy[]): Condition[] {
  const yes = (reason: string, message: string): Condition[] => [{ type: 'Degraded', status: 'True', reason, message }];
  if (broken !== undefined) return yes('UsingLastGood', `the last good form is served: ${broken}`);
  if (!verdict.accepted && verdict.addresses.length > 0) return yes('UsingLastGood', verdict.message);
  const ignored = sick.filter((u) => u.state !== 'Down');
  if (ignored.length > 0) return yes('ChecksIgnored', `${ignored.length} real servers fail their health check and are kept: ${unhealthyText(ignored[0]!)}`);
  if (verdict.excludedCount > 0) return yes('EndpointsExcluded', `${verdict.excludedCount} of its real servers cannot be used; excluded names them`);
  return [];
}

/** What is served although no manifest says so now: read before a restart, unreadable since. */
function snapshotStatus(
  program: Program, view: AgentView, refusals: readonly Refusal[], failures: readonly Failure[],
  draining: ReadonlyMap<string, readonly string[]>, error: string,
): ServerStatus {
  const { owner, spec } = program;
  const message = 'its manifest cannot be read; the form of before the restart is served until it can';
  const verdict: Verdict = {
    accepted: true, reason: 'Accepted', message: '', addresses: spec.addresses.map((a) => a.address), pool: '', group: spec.directorGroup,
    backends: spec.services[0]?.realServers.length ?? 0, excluded: [], excludedCount: 0, problems: [], badWeights: [], podsUnknown: false,
    binds: [], waiting: [], program,
  };
  const accepted: Condition = { type: 'Accepted', status: 'Unknown', reason: 'Pending', message };
  const role = view.fragments.get(owner)?.role ?? 'none';
  const weights = spec.services[0]?.realServers.map((r) => parseRealServer(r)?.weight ?? 0) ?? [];
  const ports = spec.services.flatMap((s) => s.ports).map(portText);
  return {
    mode: spec.mode, addresses: verdict.addresses, ports: ports.join(','), scheduler: spec.scheduler.name, role,
    backends: { total: verdict.backends, ready: weights.filter((w) => w > 0).length, draining: drainingOf(view, owner, draining), unhealthy: 0, ignored: 0 },
    unhealthy: [], excluded: [], excludedCount: 0,
    conditions: [accepted, programmedCondition(verdict, role, refusals, failures, error), { type: 'Degraded', status: 'True', reason: 'UsingSnapshot', message }],
  };
}

function drainingOf(view: AgentView, owner: string, draining: ReadonlyMap<string, readonly string[]>): number {
  return (draining.size === 0 ? [] : view.fragments.get(owner)?.services ?? []).reduce((n, s) => n + (draining.get(serviceKey(s.service))?.length ?? 0), 0);
}

function programmedCondition(verdict: Verdict, role: string, refusals: readonly Refusal[], failures: readonly Failure[], error: string): Condition {
  const no = (reason: string, message: string): Condition => ({ type: 'Programmed', status: 'False', reason, message });
  if (!verdict.accepted) return no('Pending', 'not accepted');
  if (!verdict.program) return no('Suspended', verdict.message);
  if (error) return no('Pending', error);
  const refusal = refusals.find((r) => r.code !== 'EndpointNotPermitted');
  if (refusal) return no(PROGRAMMED_REASON[refusal.code], refusal.message);
  const failure = failures[0];
  if (failure) {
    const failed = `${failures.length} operation${failures.length > 1 ? 's' : ''} failed`;
    return no('PartiallyProgrammed', `${failed}: ${formatOperation(failure.operation)}: ${failure.error.message}`);
  }
  if (role === 'none') return no('NoDirector', 'this host is neither its director nor one of its real servers; see --role and the DirectorGroup');
  return { type: 'Programmed', status: 'True', reason: 'Programmed', message: '' };
}

const PROGRAMMED_REASON: Record<Refusal['code'], string> = {
  AddressReserved: 'ForeignConflict', NoInterface: 'NoDirector', KernelFeatureMissing: 'KernelFeatureMissing',
  ForeignConflict: 'ForeignConflict', EndpointNotPermitted: 'PartiallyProgrammed', InvalidProgram: 'PartiallyProgrammed', PortConflict: 'PartiallyProgrammed',
};

function readyCondition(accepted: Condition, programmed: Condition, ready: number, sick: readonly Unhealthy[]): Condition {
  const no = (reason: string, message: string): Condition => ({ type: 'Ready', status: 'False', reason, message });
  if (accepted.reason === 'Suspended') return no('Suspended', accepted.message);
  if (accepted.status !== 'True') return no('NotAccepted', accepted.message);
  if (programmed.status !== 'True') return no('NotProgrammed', programmed.message);
  if (ready === 0 && sick.length > 0) return no('NoReadyBackends', `every real server fails its health check: ${unhealthyText(sick[0]!)}`);
  if (ready === 0) return no('NoReadyBackends', 'no real server has a weight above 0; new connections are refused');
  return { type: 'Ready', status: 'True', reason: 'Ready', message: '' };
}

function unhealthyText({ address, port, state, reason, message }: Unhealthy): string {
  const what = state === 'Down' ? 'down' : state === 'Held' ? 'kept, since all behind its interface fail' : 'kept, since too few others are up';
  return `${address} ${port}: ${what}: ${reason}: ${message}`;
}

function groupBy<T>(list: readonly T[], key: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of list) {
    const group = groups.get(key(value));
    if (group) group.push(value);
    else groups.set(key(value), [value]);
  }
  return groups;
}
