/**
 * Memory: the decisions of earlier compilations that later ones must not overturn: who holds which address, which mark a range has.
 * In a cluster it is what VirtualIPs and programs say; in standalone, a part of the snapshot. A value; without it compile decides anew.
 */
export interface Memory {
  /** Addresses by `namespace/name` of the VirtualServer that holds them. */
  readonly claims: Readonly<Record<string, readonly string[]>>;
  /** Ports they held there, as `TCP/80-80`, by the same name. */
  readonly ports: Readonly<Record<string, readonly string[]>>;
  /** Fwmarks by `namespace/name#range`. */
  readonly marks: Readonly<Record<string, number>>;
}

export const NO_MEMORY: Memory = { claims: {}, ports: {}, marks: {} };

/** Reads a parsed JSON value; anything that is not of this form is no memory. */
export function readMemory(value: unknown): Memory {
  if (typeof value !== 'object' || value === null) return NO_MEMORY;
  const { claims, ports = {}, marks } = value as Partial<Memory>;
  const texts = (v: unknown) => Array.isArray(v) && v.every((a) => typeof a === 'string');
  const valid = isRecord(claims, texts) && isRecord(ports, texts) && isRecord(marks, (v) => Number.isInteger(v));
  return valid ? { claims: claims!, ports, marks: marks! } : NO_MEMORY;
}

function isRecord(value: unknown, valid: (v: unknown) => boolean): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every(valid);
}
