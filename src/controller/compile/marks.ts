/**
 * Fwmarks for services that are more than one port. IPVS compares the whole mark, so a range owns a value, the same on every director
 * (connection sync carries it). Pure: old values stay, new ones are a hash of the name, so a lost memory gives the same answer again
 * unless two names collide.
 */
import { createHash } from 'node:crypto';
import { endPortOf, type VirtualServer } from '../../api/v1alpha1/index.ts';
import type { Memory } from './memory.ts';

/**
 * 0x49000000 + 14 bits. Clear of kube-proxy's 0x4000 and 0x8000, and of small numbers that people write by hand. Nobody else's bits
 * survive on packets for these ports: IPVS leaves us no mask.
 */
export const MARK_BASE = 0x4900_0000;
const MARK_COUNT = 0x4000;

/** A group of ports that is one fwmark service: its place in the name of the mark. Null for an ordinary port. */
export function markNames(key: string, server: VirtualServer): string[] {
  if (server.spec.persistence?.scope === 'AllPorts') return [`${key}#all`];
  return server.spec.ports.filter((p) => p.endPort !== undefined && endPortOf(p) !== p.port).map((p) => `${key}#${p.protocol}/${p.port}-${p.endPort}`);
}

/** A mark for each name, as long as there are any: at most 16,384. Names in memory keep theirs. */
export function assignMarks(names: readonly string[], memory: Memory): ReadonlyMap<string, number> {
  const marks = new Map<string, number>();
  const used = new Set<number>();
  const fresh: string[] = [];
  for (const name of [...names].sort()) {
    const old = memory.marks[name];
    if (old !== undefined && isMark(old) && !used.has(old)) {
      marks.set(name, old);
      used.add(old);
    } else {
      fresh.push(name);
    }
  }
  for (const name of fresh) {
    if (used.size >= MARK_COUNT) break;
    let slot = firstMark(name) - MARK_BASE;
    while (used.has(MARK_BASE + slot)) slot = (slot + 1) % MARK_COUNT;
    marks.set(name, MARK_BASE + slot);
    used.add(MARK_BASE + slot);
  }
  return marks;
}

/** The mark that a name gets where no other has it. */
export function firstMark(name: string): number {
  return MARK_BASE + createHash('sha256').update(name).digest().readUInt16BE(0) % MARK_COUNT;
}

/** Memory comes from a file: a number that is no mark of ours could be anybody's. */
function isMark(mark: number): boolean {
  return mark >= MARK_BASE && mark < MARK_BASE + MARK_COUNT;
}
