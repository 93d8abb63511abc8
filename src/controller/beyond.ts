/**
 * Beyond: which programs a director runs that its report has no lines for. A report names the first MAX_APPLIED, sorted; of the others there is only
 * their part of the digest over all. When that part is just what the programs of its groups make, it runs them all; until it is again, as while one
 * of them changes, what was known of each goes on. Pure.
 */
import { appliedLine, MAX_APPLIED, sumOf, type IPVSNode } from '../api/v1alpha1/index.ts';
import type { Program } from '../api/v1alpha1/program.ts';

/** Content hashes by `namespace/name`. */
export type Hashes = ReadonlyMap<string, string>;

const NONE: Hashes = new Map();

/** `programs`: what directors should have, by `namespace/name`. `known`: the hash that this director was last known to run. */
export function beyondLines({ spec, status }: IPVSNode, programs: ReadonlyMap<string, Program>, known: (owner: string) => string | undefined): Hashes {
  const lines = status?.applied ?? [];
  const { digest = '' } = status?.programs ?? {};
  if (lines.length < MAX_APPLIED || !/^[0-9a-f]{16}$/.test(digest)) return NONE;
  const last = lines.at(-1)!;
  const failing = new Set((status?.failures ?? []).map((f) => f.virtualServer));
  const wanted = new Map<string, string>();
  const tail: string[] = [];
  for (const [owner, { spec: { directorGroup, contentHash } }] of programs) {
    const line = appliedLine(owner, contentHash);
    if (line <= last || failing.has(owner) || !spec.directorGroups.includes(directorGroup)) continue;
    wanted.set(owner, contentHash);
    tail.push(line);
  }
  const rest = BigInt.asUintN(64, BigInt(`0x${digest}`) - sumOf(lines));
  return rest === sumOf(tail) ? wanted : new Map([...wanted].filter(([owner, hash]) => known(owner) === hash));
}
