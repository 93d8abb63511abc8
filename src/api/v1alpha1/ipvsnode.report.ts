/**
 * The texts by which an agent says in IPVSNode.status which programs it runs, and the controller reads them: whether a director runs
 * this VirtualServer in this form. Pure.
 */
import { createHash } from 'node:crypto';
import { MAX_APPLIED } from './vocabulary.ts';

export interface AppliedReport {
  /** For status.applied: `namespace/name|contentHash`, sorted, at most MAX_APPLIED. */
  readonly applied: string[];
  /** For status.programs.digest: over all, also those beyond MAX_APPLIED. */
  readonly digest: string;
}

/** The text of one program. */
export function appliedLine(virtualServer: string, contentHash: string): string { return `${virtualServer}|${contentHash}`; }

/** What to report of programs that are in the kernel, whole: content hashes by `namespace/name`. */
export function reportApplied(programs: Iterable<readonly [virtualServer: string, contentHash: string]>): AppliedReport {
  return appliedReport(Array.from(programs, ([virtualServer, contentHash]) => appliedLine(virtualServer, contentHash)).sort());
}

/** The same of their texts, sorted. */
export function appliedReport(lines: readonly string[]): AppliedReport {
  return { applied: lines.slice(0, MAX_APPLIED), digest: createHash('sha256').update(lines.join('\n')).digest().toString('hex', 0, 8) };
}

/** Content hashes by `namespace/name`. A text of another form is left out: then that program counts as not applied. */
export function readApplied(applied: readonly string[]): Map<string, string> {
  const hashes = new Map<string, string>();
  for (const text of applied) {
    const bar = text.lastIndexOf('|');
    if (bar > 0) hashes.set(text.slice(0, bar), text.slice(bar + 1));
  }
  return hashes;
}
