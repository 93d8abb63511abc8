/**
 * From results to a verdict: the state machine of one target. Pure. What a verdict does to a weight is weights.ts's; when everybody fails at
 * once, guard.ts has a say.
 *
 *                first result passes
 *     Unknown ----------------------------> Up
 *        |                                  |  ^
 *        | first result fails   fall fails  |  | rise passes
 *        |                      in a row    v  | in a row
 *        +-------------------------------> Down
 *
 * The first result decides alone, in both directions: a real server that is dead when an agent starts must not be served `fall` periods
 * long. Until then the state is Unknown, which says nothing: the real server counts as it did before.
 */
import type { HealthCheck } from './check.ts';
import { passes, type Result } from './outcome.ts';

export interface Health {
  readonly state: 'Unknown' | 'Up' | 'Down';
  /** Monotonic milliseconds of the result that made the state what it is; of Unknown, null. */
  readonly since: number | null;
  /** The last results that all passed, or all failed. */
  readonly streak: number;
  /** When the first of the failed results began that nothing passed since; null when the last one passed. */
  readonly failingSince: number | null;
  /** Whether any result ever passed. */
  readonly everUp: boolean;
  /** Whether the state before this one was Down: then it came back. */
  readonly recovered: boolean;
  /** How often the state went from Up to Down or back. */
  readonly turns: number;
  /** The last result that says something; null before the first. */
  readonly last: Result | null;
}

export const UNKNOWN: Health = { state: 'Unknown', since: null, streak: 0, failingSince: null, everUp: false, recovered: false, turns: 0, last: null };

/** The health after one more result. A result that says nothing about the real server changes nothing. */
export function advance(health: Health, result: Result, { rise, fall }: Pick<HealthCheck, 'rise' | 'fall'>): Health {
  const passed = passes(result.reason);
  if (passed === null) return health;
  const same = health.last !== null && passed === (health.failingSince === null);
  const streak = same ? health.streak + 1 : 1;
  const state = nextState(health.state, passed, streak, passed ? rise : fall);
  const turned = state !== health.state;
  return {
    state, streak, last: result,
    since: turned ? result.at + result.tookMs : health.since,
    failingSince: passed ? null : health.failingSince ?? result.at,
    everUp: health.everUp || passed,
    recovered: turned ? health.state === 'Down' : health.recovered,
    turns: health.turns + (turned && health.state !== 'Unknown' ? 1 : 0),
  };
}

function nextState(state: Health['state'], passed: boolean, streak: number, needed: number): Health['state'] {
  const to = passed ? 'Up' : 'Down';
  return state === 'Unknown' || streak >= needed ? to : state;
}
