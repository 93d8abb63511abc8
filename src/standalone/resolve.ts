/**
 * One object for each key, out of the entries of all files: duplicates are named, and the one in force stays in force. Pure.
 */
import type { ApiObject } from '../api/v1alpha1/index.ts';
import type { FileProblem } from './problems.ts';

export interface Origin {
  /** Relative to the folder. */
  readonly file: string;
  /** From 0. */
  readonly document: number;
  /** Where the document starts, from 1. */
  readonly line: number;
}

export interface ManifestObject {
  readonly object: ApiObject;
  readonly origin: Origin;
}

export interface Entry extends ManifestObject {
  readonly key: string;
}

export interface Resolution {
  readonly objects: Map<string, ManifestObject>;
  readonly duplicates: readonly FileProblem[];
}

/**
 * `files`: the entries of each file, files in order. `inForce`: the result of the time before. Among several entries of one key the one
 * from the place in force wins, then one that is equal to what is in force, then the first.
 */
export function resolve(files: readonly (readonly Entry[])[], inForce: ReadonlyMap<string, ManifestObject>): Resolution {
  const objects = new Map<string, ManifestObject>();
  const several = new Map<string, Entry[]>();
  for (const entries of files) {
    for (const entry of entries) {
      const first = objects.get(entry.key);
      if (first === undefined) objects.set(entry.key, entry);
      else if (several.has(entry.key)) several.get(entry.key)!.push(entry);
      else several.set(entry.key, [first as Entry, entry]);
    }
  }
  const duplicates: FileProblem[] = [];
  for (const [key, candidates] of several) {
    const winner = choose(candidates, inForce.get(key));
    objects.set(key, winner);
    for (const loser of candidates) if (loser !== winner) duplicates.push(duplicate(key, loser, winner));
  }
  return { objects, duplicates };
}

function choose(candidates: readonly Entry[], before: ManifestObject | undefined): Entry {
  if (before === undefined) return candidates[0]!;
  const here = candidates.filter((c) => c.origin.file === before.origin.file);
  const pool = here.length > 0 ? here : candidates;
  return pool.find((c) => c.object === before.object) ?? pool[0]!;
}

function duplicate(key: string, loser: Entry, winner: Entry): FileProblem {
  const at = (o: Origin) => `${o.file} line ${o.line}`;
  const { file } = winner.origin;
  return {
    code: 'DuplicateObject', severity: 'error', file: loser.origin.file, document: loser.origin.document, line: loser.origin.line, object: key,
    message: `${key} is in ${at(winner.origin)} and in ${at(loser.origin)}; the one in ${file} is in force; remove one of them, or give it another name`,
  };
}

/** Whether two values of JSON are equal; the order of keys does not matter. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((value, i) => sameValue(value, b[i]));
  }
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length
    && keys.every((key) => Object.hasOwn(b, key) && sameValue((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]));
}
