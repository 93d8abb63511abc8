/**
 * The texts by which an agent says in IPVSNode.status which programs it runs, and the controller reads them: whether a director runs
 * this VirtualServer in this form. Pure.
 */
import { hash } from 'node:crypto';
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

/** The same of their texts, sorted. `sum`: sumOf(lines), for who has it. */
export function appliedReport(lines: readonly string[], sum = sumOf(lines)): AppliedReport {
  return { applied: lines.slice(0, MAX_APPLIED), digest: sum.toString(16).padStart(16, '0') };
}

/** What the digest is made of: the sum of a hash of each text, so that of thousands the one that changed can be taken out and put in. */
export function sumOf(lines: Iterable<string>): bigint {
  let sum = 0n;
  for (const line of lines) sum += BigInt(`0x${hash('sha256', line).slice(0, 16)}`);
  return BigInt.asUintN(64, sum);
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
