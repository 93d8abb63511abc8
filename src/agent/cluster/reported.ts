/**
 * Reported: what of IPVSNode.status the agent keeps of what it reads there: the conditions, for when they changed, and a digest of the whole, by
 * which it sees that somebody else wrote over its report. The report itself it wrote; with thousands of programs it is large. Pure.
 */
import { createHash } from 'node:crypto';
import type { IPVSNode, IPVSNodeStatus } from '../../api/v1alpha1/index.ts';

export interface WatchedNode extends IPVSNode {
  readonly reported?: string;
}

/** To be stored instead of the object as it was read. */
export function withoutReport(node: IPVSNode): WatchedNode {
  const { status, ...rest } = node;
  const conditions = status?.conditions;
  return { ...rest, ...(conditions && { status: { conditions } }), reported: digestOf(status ?? {}) };
}

/** Equal for equal contents, whatever the order of keys: a server keeps its own. */
export function digestOf(status: object): string {
  const hash = createHash('sha256');
  for (const part of canonical(status)) hash.update(part);
  return hash.digest('hex');
}

/** Keys in order. Lists of texts, which are what is large in a report, are written by the runtime in one go. */
function* canonical(value: unknown): Generator<string> {
  if (Array.isArray(value) && value.some((item) => typeof item === 'object' && item !== null)) {
    for (const item of value) {
      yield '[';
      yield* canonical(item);
    }
    yield ']';
  } else if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const [key, item] of Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (item === undefined) continue;
      yield `{${JSON.stringify(key)}:`;
      yield* canonical(item);
    }
    yield '}';
  } else {
    yield JSON.stringify(value) ?? 'null';
  }
}

/** What of a report is new: nothing; only in which form programs run that ran before; or anything else. */
export function newsIn(before: IPVSNodeStatus, after: IPVSNodeStatus): 'nothing' | 'forms' | 'more' {
  const { applied: formerly = [], programs: programsBefore, ...restBefore } = before;
  const { applied = [], programs, ...rest } = after;
  const form = (text: string | undefined): string | undefined => text?.slice(0, text.lastIndexOf('|'));
  const sameForms = formerly.length === applied.length && programsBefore?.digest === programs?.digest && formerly.every((text, i) => text === applied[i]);
  if (!sameForms && (formerly.length !== applied.length || !formerly.every((text, i) => text === applied[i] || form(text) === form(applied[i])))) return 'more';
  if (programsBefore?.applied !== programs?.applied || programsBefore?.failed !== programs?.failed || !same(restBefore, rest)) return 'more';
  return sameForms ? 'nothing' : 'forms';
}

/** By value; lists that are the same object are not looked into. */
function same(a: object, b: object): boolean {
  const [mine, theirs] = [a, b] as readonly Readonly<Record<string, unknown>>[];
  return [...new Set([...Object.keys(mine!), ...Object.keys(theirs!)])].every((key) => mine![key] === theirs![key] || JSON.stringify(mine![key]) === JSON.stringify(theirs![key]));
}
