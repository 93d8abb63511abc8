// Who is killed when, drawn from a seed. Plain data; rollout.ts does it.

import { between, random, shuffled } from '../random.ts';

/** `owner`: the agent of the director that holds a VIP; `director`: of one that holds another or none; `receiver`: of a node with real servers. */
export const victimKinds = ['controller', 'owner', 'director', 'receiver', 'apiserver', 'etcd'] as const;
export type VictimKind = (typeof victimKinds)[number];

export interface Kill {
  readonly victim: VictimKind;
  /** Which of several: taken modulo their number. */
  readonly which: number;
  /** After this many steps of the rollout, and so long after that. */
  readonly afterStep: number;
  readonly delayMs: number;
  /** How long it stays away. */
  readonly downMs: number;
}

export const KILLS_PER_SEED = 2;
/** So many seeds in a row, from one that follows a multiple of it, kill one of each kind. */
export const SEEDS_PER_ROUND = victimKinds.length / KILLS_PER_SEED;

/** The kills of a seed (1, 2, ...) in a rollout of so many steps. */
export function drawKills(seed: number, steps: number): Kill[] {
  const order = shuffled(random(Math.floor((seed - 1) / SEEDS_PER_ROUND) + 1_000_000), victimKinds);
  const at = ((seed - 1) % SEEDS_PER_ROUND) * KILLS_PER_SEED;
  const next = random(seed);
  return order.slice(at, at + KILLS_PER_SEED).map((victim) => ({
    victim, which: between(next, 0, 1_000), afterStep: between(next, 0, steps - 1), delayMs: between(next, 0, 700),
    // One in four is away for longer than a director's Lease of six seconds, so that others would take its VIPs if they could.
    downMs: next() < 0.25 ? between(next, 7_000, 9_000) : between(next, 0, 2_500),
  }));
}

/** Which seeds to run, by LAB_SEED (one of them) or else LAB_SEEDS (how many, from 1); one of each kind of victim unless told. Throws on anything else. */
export function seedsOf(environment: Readonly<Record<string, string | undefined>>): number[] {
  const number = (name: string): number | null => {
    const text = environment[name] ?? '';
    if (text === '') return null;
    if (!/^[1-9]\d{0,5}$/.test(text)) throw new Error(`${name}=${text}: must be a whole number from 1 on`);
    return Number(text);
  };
  const one = number('LAB_SEED');
  return one !== null ? [one] : Array.from({ length: number('LAB_SEEDS') ?? SEEDS_PER_ROUND }, (_, i) => i + 1);
}
