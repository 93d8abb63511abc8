/**
 * Equal parts of many values as one: ten thousand VirtualServers say `scheduler: {name: rr, ...}` in ten thousand objects of 60 bytes.
 * For values that nobody changes. It knows no schema.
 */

/** Different values that are kept at most; beyond them it starts anew, and forgets nothing but a saving. */
const KEPT = 1024;

const NONE: readonly never[] = Object.freeze([]);

/** A copy without spare room: a list that was filled by `push` has room for sixteen more. One value for every empty list. */
export function exact<T>(list: readonly T[]): readonly T[] {
  return list.length === 0 ? NONE : list.slice();
}

export class Sharer {
  readonly #known = new Map<string, unknown>();

  /** The first value that was equal to this one, as JSON. */
  share<T>(value: T): T {
    const key = JSON.stringify(value);
    if (key === undefined) return value;
    const known = this.#known.get(key) as T | undefined;
    if (known !== undefined) return known;
    if (this.#known.size >= KEPT) this.#known.clear();
    this.#known.set(key, value);
    return value;
  }
}
