/**
 * What the agent reports of its node: IPVSNode.status, from the agent's view, the assignment and the claims. Pure. Conditions and reasons are
 * those of api/v1alpha1/conditions.ts.
 */
import { MAX_BINDS, MAX_FAILURES, type AppliedReport, type ConditionOf, type IPVSNodeStatus } from '../../api/v1alpha1/index.ts';
import { MAX_OWNED_VIPS } from '../../api/v1alpha1/vocabulary.ts';
import type { Program } from '../../api/v1alpha1/program.ts';
import { dropCondition, setCondition, type Condition } from '../../kube/conditions.ts';
import type { AgentView } from '../agent.ts';
import type { NodeIndex } from '../facts.ts';
import { failuresByOwner } from '../failures.ts';
import { formatOperation } from '../operation.ts';
import type { Blocked } from '../ownership/claimer.ts';
import type { Fragment, SharedState } from '../state.ts';
import type { Flushes } from '../tally.ts';
import type { HealthWatch } from '../health/watch.ts';
import { backendReports } from './backends.ts';
import { virtualServerOf } from './binds.ts';
import { namesOf, remedyFor, type Culprit } from './culprit.ts';
import type { ProgramProblem } from './programs.ts';

export interface NodeStatusInput {
  readonly version: string;
  /** uname -r. */
  readonly kernel: string;
  /** Generation of the spec that is in force; absent while there is none. */
  readonly generation: number | undefined;
  readonly directs: ReadonlySet<string>;
  /** Programs in force, by owner. */
  readonly programs: ReadonlyMap<string, Program>;
  readonly problems: ReadonlyMap<string, ProgramProblem>;
  readonly view: AgentView;
  readonly index: NodeIndex | null;
  /** The texts of programs that are in the kernel, whole. */
  readonly applied: (programs: readonly Pick<Fragment, 'owner' | 'contentHash'>[]) => AppliedReport;
  /** Whether a reconcile of everything was done. */
  readonly reconciled: boolean;
  /** Why the last reconcile could not be done at all. */
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly owned: ReadonlySet<string>;
  readonly blocked: ReadonlyMap<string, Blocked>;
  /** The caches are not complete: what is served is of before. */
  readonly usingSnapshot: boolean;
  /** Null while nothing is checked. */
  readonly health: Pick<HealthWatch, 'owners' | 'unhealthy' | 'massFailures'> | null;
  readonly flushes: Flushes;
  readonly culprits: readonly Culprit[];
  /** Those of the status before, for when they changed. */
  readonly conditions: readonly Condition[];
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** How long a flush is held against somebody. Milliseconds. */
export const FLUSH_SHOWN_MS = 600_000;
const MAX_MESSAGE = 1024;
const EXAMPLES = 8;

interface Failed {
  readonly virtualServer: string;
  readonly code: string;
  readonly message: string;
}

export function nodeStatus(input: NodeStatusInput): IPVSNodeStatus {
  const { version, kernel, generation, directs, view, index, owned, blocked, culprits, flushes, now } = input;
  const { failures, failing } = failuresOf(input);
  // As the kernel has them, which may be the form before the newest.
  const whole = [...view.fragments.values()].filter((f) => directs.has(f.directorGroup) && !failing.has(f.owner));
  const applied = input.applied(whole);
  const foreignVips = [...blocked].map(([address, { mac }]) => `${address} at ${mac || 'an unknown MAC address'}`);
  const examples = [...view.foreign.services, ...view.foreign.destinations, ...view.foreign.addresses, ...foreignVips]
    .slice(0, EXAMPLES).map((text) => text.slice(0, 256));
  const culprit = flushedLately(flushes, now) ? namesOf(culprits).slice(0, 64) : '';
  return {
    ...(generation !== undefined && { observedGeneration: generation }),
    agentVersion: version, kernel,
    ...(view.capabilities && {
      capabilities: {
        schedulers: [...view.capabilities.schedulers].filter((s) => s !== 'none').sort(),
        tunnels: [...view.capabilities.tunnelTypes].sort(),
        netfilter: view.netfilter ?? '',
      },
    }),
    interfaces: interfacesOf(index),
    programs: { applied: whole.length, failed: failing.size, digest: applied.digest },
    applied: applied.applied,
    failures: failures.slice(0, MAX_FAILURES),
    ownedVIPs: sortedOf(owned, MAX_OWNED_VIPS),
    boundVIPs: boundVips(view, input.reconciled, owned) as string[],
    foreign: {
      services: view.foreign.services.length, destinations: view.foreign.destinations.length, addresses: view.foreign.addresses.length + blocked.size, examples,
      ...(culprit !== '' && { culprit }),
    },
    backends: backendReports(view, input.health),
    drifts: view.drifts,
    conditions: [...conditionsOf(input, failures)],
  };
}

/** What is refused, failed or incomplete, by VirtualServer; `failing` has the owners of programs of which something is not in the kernel. */
function failuresOf({ view, problems, programs, error }: NodeStatusInput): { failures: Failed[]; failing: Set<string> } {
  const found = new Map<string, Failed>();
  const failing = new Set<string>();
  const add = (owner: string, code: string, message: string) => {
    const virtualServer = virtualServerOf(owner);
    failing.add(owner);
    if (!found.has(virtualServer)) found.set(virtualServer, { virtualServer, code, message: message.slice(0, MAX_MESSAGE) });
  };
  for (const { owner, code, message } of view.refusals) add(owner, code, message);
  for (const [owner, list] of failuresByOwner(view)) {
    const { operation, error: cause } = list[0]!;
    add(owner, cause.code, `${formatOperation(operation)}: ${cause.message}${list.length > 1 ? `, and ${list.length - 1} more` : ''}`);
  }
  for (const [owner, { code, message }] of problems) add(owner, code, message);
  if (error) for (const owner of programs.keys()) add(owner, error.code, error.message);
  return { failures: [...found.values()].sort((a, b) => (a.virtualServer < b.virtualServer ? -1 : 1)), failing };
}

function interfacesOf(index: NodeIndex | null): NonNullable<IPVSNodeStatus['interfaces']> {
  const links = new Map<string, string[]>();
  for (const { link, address, prefixLength } of index?.subnets ?? []) links.set(link, [...links.get(link) ?? [], `${address}/${prefixLength}`]);
  return [...links].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, 128).map(([name, addresses]) => ({ name, addresses: addresses.sort().slice(0, 64) }));
}

/**
 * VIPs for which packets may be sent to this node: bound as a real server, or held; with everything that this takes. Of what asks for them as of who
 * holds them, the last answer is remembered.
 */
function boundVips({ fragments, failures, shared }: AgentView, reconciled: boolean, owned: ReadonlySet<string>): readonly string[] {
  if (!reconciled) return [];
  const known = failures.length === 0 ? BOUND.get(shared) : undefined;
  if (known?.owned === owned) return known.list;
  const failed = failures.length === 0 ? new Map<string, unknown>() : failuresByOwner({ fragments, failures });
  const bound = new Set<string>();
  // The old way of one that changed its mode goes on beside the new one, and says nothing of that.
  const part = (f: Fragment) => !failed.has(f.owner) && virtualServerOf(f.owner) === f.owner;
  for (const fragment of fragments.values()) {
    if (!part(fragment)) continue;
    for (const { vip, announce } of fragment.needs.vips) if (!announce || owned.has(vip.address)) bound.add(vip.address);
  }
  const list = sortedOf(bound, MAX_BINDS);
  if (failures.length === 0) BOUND.set(shared, { owned, list });
  return list;
}

/** By what all programs together ask of the node, which is another object when it changes. */
const BOUND = new WeakMap<SharedState, { readonly owned: ReadonlySet<string>; readonly list: readonly string[] }>();
const SORTED = new WeakMap<ReadonlySet<string>, readonly string[]>();

/**
 * At most so many of a set that nobody changes; the same list for the same set, so that thousands of addresses are neither sorted nor
 * compared for each report.
 */
function sortedOf(set: ReadonlySet<string>, most: number): string[] {
  const known = SORTED.get(set);
  if (known) return known as string[];
  const list = [...set].sort().slice(0, most);
  SORTED.set(set, list);
  return list;
}

function flushedLately({ lastAt }: Flushes, now: number): boolean {
  return lastAt !== null && now - lastAt < FLUSH_SHOWN_MS;
}

type Reason<T> = Extract<ConditionOf<'IPVSNode'>, { type: T }>['reason'];

function conditionsOf(input: NodeStatusInput, failures: readonly Failed[]): readonly Condition[] {
  const { generation, conditions, now } = input;
  const at = new Date(now).toISOString();
  const generated = generation !== undefined && { observedGeneration: generation };
  const set = (
    list: readonly Condition[], type: ConditionOf<'IPVSNode'>['type'], status: Condition['status'], { reason, message }: { reason: string; message: string },
  ) => setCondition(list, { type, status, reason, message: message.slice(0, MAX_MESSAGE * 4), ...generated }, at);
  const ready = readiness(input, failures);
  const list = set(conditions, 'Ready', ready.reason === 'Ready' ? 'True' : ready.reason === 'Pending' ? 'Unknown' : 'False', ready);
  const troubles = troublesOf(input);
  if (troubles.length === 0) return dropCondition(list, 'Degraded');
  return set(list, 'Degraded', 'True', { reason: troubles[0]!.reason, message: troubles.map((t) => t.message).join('; ') });
}

function readiness({ view, reconciled, error, directs, programs }: NodeStatusInput, failures: readonly Failed[]): { reason: Reason<'Ready'>; message: string } {
  const denied = error?.code === 'PERMISSION_DENIED' ? error.message : view.failures.find((f) => f.error.code === 'PERMISSION_DENIED')?.error.message;
  if (denied !== undefined) return { reason: 'PermissionDenied', message: `${denied}; the agent needs CAP_NET_ADMIN and CAP_NET_RAW` };
  if (error) return { reason: 'ProgramsFailed', message: error.message };
  if (!reconciled) return { reason: 'Pending', message: 'the agent has begun and not compared everything yet' };
  if (view.capabilities?.version === null && directs.size > 0 && programs.size > 0) {
    return { reason: 'KernelModuleMissing', message: 'this kernel has no ip_vs; run: modprobe ip_vs, or install a kernel that has it' };
  }
  if (failures.length > 0) {
    const { virtualServer, code, message } = failures[0]!;
    const several = failures.length > 1 ? 's' : '';
    return { reason: 'ProgramsFailed', message: `${failures.length} VirtualServer${several}, as ${virtualServer}: ${code}: ${message}` };
  }
  return { reason: 'Ready', message: '' };
}

/** The worst first. */
function troublesOf({ view, health, flushes, culprits, usingSnapshot, blocked, now }: NodeStatusInput): { reason: Reason<'Degraded'>; message: string }[] {
  const troubles: { reason: Reason<'Degraded'>; message: string }[] = [];
  if (flushedLately(flushes, now)) {
    const reason = culprits.some((c) => c.name === 'kube-proxy') ? 'KubeProxyConflict' : 'ForeignFlush';
    const { services, times } = flushes;
    troubles.push({
      reason,
      message: `somebody removed ${services} of our virtual services, and they were made again (${times} times since the agent began); ${remedyFor(culprits)}`,
    });
  }
  const [silent] = health?.massFailures.values() ?? [];
  if (silent) {
    const { link, held } = silent;
    troubles.push({
      reason: 'MassFailure',
      message: `every checked real server behind ${link || 'routes'} stopped answering at once; ${held.size} are kept as they were; look at that network`,
    });
  }
  if (usingSnapshot) {
    troubles.push({
      reason: 'UsingSnapshot',
      message: 'not everything could be read from the API server since the agent began; what is missing is served as it was before',
    });
  }
  const first = [...blocked][0];
  if (first) {
    const [vip, { mac }] = first;
    const others = blocked.size > 1 ? `, and ${blocked.size - 1} more VIPs likewise` : '';
    const message = `${vip} is not taken, because ${mac || 'a host that does not tell its MAC address'} answers for it${others}`;
    troubles.push({ reason: 'ForeignConflict', message });
  }
  const conflict = view.refusals.find((r) => r.code === 'ForeignConflict');
  if (conflict) troubles.push({ reason: 'ForeignConflict', message: conflict.message });
  const missing = view.refusals.find((r) => r.code === 'KernelFeatureMissing');
  if (missing && view.capabilities?.version !== null) troubles.push({ reason: 'KernelModuleMissing', message: missing.message });
  return troubles;
}
