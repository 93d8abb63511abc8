/**
 * Two guards against believing checks too much. Pure.
 *
 * Mass failure: when everything behind one interface goes silent within one period, it is more likely our own network, and emptying every
 * service would make a cut cable worse. Those that were good until then are held: they count as up, and the director says Degraded. One
 * sign of life from behind that interface, even a refusal, ends it: whoever refuses is reached.
 *
 * Panic: when fewer real servers of one service are up than a share, all of them count as up: the few would be overrun.
 */
import type { CheckTiming } from './check.ts';
import { heard } from './outcome.ts';
import type { Health } from './verdict.ts';

/** One target as the guard sees it. */
export interface GuardMember {
  readonly key: string;
  /** The interface that its packets leave by. */
  readonly link: string;
  /** Address of the real server: two ports of one host prove nothing about a network. */
  readonly address: string;
  readonly check: Pick<CheckTiming, 'periodMs' | 'timeoutMs' | 'rise'>;
  readonly health: Health;
}

export interface MassFailure {
  readonly link: string;
  /** Monotonic milliseconds: when the first of them failed. */
  readonly since: number;
  /** Keys of the targets that count as up. */
  readonly held: ReadonlySet<string>;
  /** When the last is let go of; null while nothing has been heard from behind the link. */
  readonly until: number | null;
}

/** Checks begin late on a busy node, and results come later than their timeout. */
const SLACK_MS = 1_000;

/**
 * The links that failed as a whole, by name. `previous` is the last answer: after the first sign of life the held ones get the time that they
 * need to pass their checks, or else a service would lose all but one real server at the very moment its network comes back.
 */
export function massFailures(members: Iterable<GuardMember>, previous: ReadonlyMap<string, MassFailure>, now: number): Map<string, MassFailure> {
  const failures = new Map<string, MassFailure>();
  for (const [link, behind] of Map.groupBy(members, (m) => m.link)) {
    const before = previous.get(link);
    const failure = failureOf(link, behind, before) ?? (before && ending(before, behind, now));
    if (failure) failures.set(link, failure);
  }
  return failures;
}

function failureOf(link: string, behind: readonly GuardMember[], before: MassFailure | undefined): MassFailure | null {
  const silent = behind.filter(({ health }) => health.failingSince !== null && !heard(health.last!.reason));
  const once = silent.filter((m) => m.health.everUp);
  // Those that never passed say nothing about when: they are of the failure when nobody else is, as after a restart with the cable out.
  const deciding = once.length > 0 ? once : silent;
  const latest = largest(deciding, (m) => m.health.failingSince!);
  const window = SLACK_MS + largest(deciding, (m) => m.check.periodMs + m.check.timeoutMs);
  const together = deciding.filter((m) => m.health.failingSince! >= latest - window || before?.held.has(m.key));
  if (new Set(together.map((m) => m.address)).size < 2) return null;
  const since = -largest(together, (m) => -m.health.failingSince!);
  // Whoever was heard before the first of them failed says nothing yet: with a longer period it is only not asked again so far.
  if (behind.some(({ health: { last } }) => last !== null && heard(last.reason) && last.at >= since)) return null;
  // Nobody is taken out so far: nothing to hold, and nothing to alarm people with.
  if (together.every((m) => m.health.state !== 'Down')) return null;
  const newcomers = silent.filter((m) => !m.health.everUp && m.health.failingSince! >= since);
  return { link, since, held: new Set([...together, ...newcomers].map((m) => m.key)), until: null };
}

/** Something was heard: each held target is let go of when it passes, when it refuses, or when its time is over. */
function ending(before: MassFailure, behind: readonly GuardMember[], now: number): MassFailure | null {
  const held = behind.filter((m) => before.held.has(m.key));
  const until = before.until ?? now + SLACK_MS + largest(held, ({ check }) => check.periodMs * check.rise + check.timeoutMs);
  const waiting = held.filter(({ health }) => (health.failingSince === null ? health.state === 'Down' : !heard(health.last!.reason)));
  return now < until && waiting.length > 0 ? { ...before, held: new Set(waiting.map((m) => m.key)), until } : null;
}

/** 100,000 arguments would be too many for Math.max. */
function largest(members: readonly GuardMember[], of: (member: GuardMember) => number): number {
  return members.reduce((most, m) => Math.max(most, of(m)), -Infinity);
}

/** Whether fewer than `thresholdPercent` of a service's real servers are up: then all of them count as up. 0: never. */
export function panics(up: number, total: number, thresholdPercent: number): boolean {
  return total > 0 && up * 100 < thresholdPercent * total;
}
