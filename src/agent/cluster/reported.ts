/**
 * Reported: what of IPVSNode.status the agent keeps of what it reads there: the conditions, for when they changed, and whether the whole is what
 * it wrote, by which it sees that somebody else wrote over its report. The report itself it has; with thousands of programs it is large. Pure.
 */
import type { IPVSNode, IPVSNodeStatus } from '../../api/v1alpha1/index.ts';
import type { Edit } from '../../kube/client.ts';

export interface WatchedNode extends IPVSNode {
  /** Whether its status is what this agent wrote. */
  readonly ours?: boolean;
}

/** To be stored instead of the object as it was read. */
export function withoutReport(node: IPVSNode, recognises: (status: IPVSNodeStatus) => boolean): WatchedNode {
  const { status, ...rest } = node;
  const conditions = status?.conditions;
  return { ...rest, ...(conditions && { status: { conditions } }), ours: recognises(status ?? {}) };
}

/** By value, whatever the order of keys: a server keeps its own; and undefined is as good as absent. */
export function sameReport(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null || Array.isArray(a) !== Array.isArray(b)) return false;
  if (Array.isArray(a)) return a.length === (b as unknown[]).length && a.every((item, i) => sameReport(item, (b as unknown[])[i]));
  const [mine, theirs] = [a, b] as readonly Readonly<Record<string, unknown>>[];
  return [...new Set([...Object.keys(mine!), ...Object.keys(theirs!)])].every((key) => sameReport(mine![key], theirs![key]));
}

/**
 * What of a report is new: nothing; only in which form programs run that ran before, and who drains, as after every change of an endpoint;
 * or anything else.
 */
export function newsIn(before: IPVSNodeStatus, after: IPVSNodeStatus): 'nothing' | 'forms' | 'more' {
  const { applied: formerly = [], programs: programsBefore, backends: backendsBefore, ...restBefore } = before;
  const { applied = [], programs, backends, ...rest } = after;
  const form = (text: string | undefined): string | undefined => text?.slice(0, text.lastIndexOf('|'));
  const sameForms = formerly.length === applied.length && programsBefore?.digest === programs?.digest && formerly.every((text, i) => text === applied[i]);
  if (!sameForms && (formerly.length !== applied.length || !formerly.every((text, i) => text === applied[i] || form(text) === form(applied[i])))) return 'more';
  if (programsBefore?.applied !== programs?.applied || programsBefore?.failed !== programs?.failed) return 'more';
  if (!same(restBefore, rest) || !same(healthIn(backendsBefore), healthIn(backends))) return 'more';
  return sameForms && same({ backends: backendsBefore }, { backends }) ? 'nothing' : 'forms';
}

/** Of those that do not only drain, and how many. */
function healthIn(backends: IPVSNodeStatus['backends']): object {
  return { sick: (backends ?? []).flatMap(({ virtualServer, unhealthy, ignored }) => (unhealthy + ignored === 0 ? [] : [[virtualServer, unhealthy, ignored]])) };
}

/**
 * What is there in every report, and is all that differs from one to the next under churn. All of it is one value each to a server, but
 * for the lines.
 */
const EDITED = ['programs', 'backends', 'drifts', 'ownedVIPs', 'boundVIPs'] as const;

/** From one report to the next, for an object that has the one before; null when more is new than that is for. */
export function editsBetween(before: IPVSNodeStatus, after: IPVSNodeStatus): Edit[] | null {
  const { applied: formerly = [], ...restBefore } = before;
  const { applied = [], ...rest } = after;
  if (!before.programs || formerly.length !== applied.length || !same({ ...restBefore, ...pick(after, EDITED) }, rest)) return null;
  const lines = applied.flatMap((text, i): Edit[] => (text === formerly[i] ? [] : [{ op: 'replace', path: `/status/applied/${i}`, value: text }]));
  const fields = EDITED.flatMap((field): Edit[] => {
    if (same({ value: before[field] }, { value: after[field] })) return [];
    return [{ op: 'replace', path: `/status/${field}`, value: after[field] }];
  });
  // A digest over all of them: whoever has it has the lines that the places are of.
  return [{ op: 'test', path: '/status/programs/digest', value: before.programs.digest }, ...lines, ...fields];
}

function pick(status: IPVSNodeStatus, fields: readonly (keyof IPVSNodeStatus)[]): IPVSNodeStatus {
  return Object.fromEntries(fields.flatMap((field) => (status[field] === undefined ? [] : [[field, status[field]]])));
}

/** By value; lists that are the same object are not looked into. */
function same(a: object, b: object): boolean {
  const [mine, theirs] = [a, b] as readonly Readonly<Record<string, unknown>>[];
  const equal = (key: string): boolean => mine![key] === theirs![key] || JSON.stringify(mine![key]) === JSON.stringify(theirs![key]);
  return [...new Set([...Object.keys(mine!), ...Object.keys(theirs!)])].every(equal);
}
