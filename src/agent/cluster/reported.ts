/**
 * Reported: what of IPVSNode.status the agent keeps of what it reads there: the conditions, for when they changed, and a digest of the whole, by
 * which it sees that somebody else wrote over its report. The report itself it wrote; with thousands of programs it is large. Pure.
 */
import { createHash } from 'node:crypto';
import type { IPVSNode } from '../../api/v1alpha1/index.ts';

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
  return createHash('sha256').update(JSON.stringify(status, sorted)).digest('hex');
}

function sorted(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
