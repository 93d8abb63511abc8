// Chance with a seed, so that a failing run can be repeated: the same seed draws the same.

/** 0 <= x < 1. */
export type Random = () => number;

/** A 32-bit counter, mixed (Weyl sequence and the finalizer of MurmurHash3): neighbouring seeds have nothing in common from the first draw on. */
export function random(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e37_79b9) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 16), 0x85eb_ca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2_ae35);
    return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
  };
}

/** A whole number from `least` to `most`, both included. */
export function between(next: Random, least: number, most: number): number {
  return least + Math.floor(next() * (most - least + 1));
}

/** One of a list that is not empty. */
export function pick<T>(next: Random, list: readonly T[]): T {
  return list[between(next, 0, list.length - 1)]!;
}

/** The same elements in another order. */
export function shuffled<T>(next: Random, list: readonly T[]): T[] {
  const all = [...list];
  for (let i = all.length - 1; i > 0; i--) {
    const j = between(next, 0, i);
    [all[i], all[j]] = [all[j]!, all[i]!];
  }
  return all;
}
