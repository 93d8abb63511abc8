/** meta/v1 conditions as a list, changed the way the API conventions want it. Pure. Which types and reasons exist is not known here. */

export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number;
  /** RFC 3339. */
  readonly lastTransitionTime: string;
}

/** Longest message (meta/v1 Condition): a status with a longer one is refused, and would never be written. Characters. */
const MAX_MESSAGE = 32_768;

export type WantedCondition = Omit<Condition, 'lastTransitionTime'>;

/**
 * The list with one condition set: in its old place, or last. lastTransitionTime is `now` (RFC 3339) only when the status is another
 * than before. A message that is too long is cut. Returns the very list it got when nothing changed, so that a caller can tell that there is nothing to write.
 */
export function setCondition(list: readonly Condition[], { message: whole, ...rest }: WantedCondition, now: string): readonly Condition[] {
  const wanted: WantedCondition = { ...rest, message: whole.slice(0, MAX_MESSAGE) };
  const index = list.findIndex((c) => c.type === wanted.type);
  const old = list[index];
  const same = old?.status === wanted.status && old.reason === wanted.reason && old.message === wanted.message
    && old.observedGeneration === wanted.observedGeneration;
  if (same) return list;
  const set: Condition = { ...wanted, lastTransitionTime: old?.status === wanted.status ? old.lastTransitionTime : now };
  return old ? list.with(index, set) : [...list, set];
}

/** The list without a condition: for types that are there only while they are True. The very list when there is none. */
export function dropCondition(list: readonly Condition[], type: string): readonly Condition[] {
  return list.some((c) => c.type === type) ? list.filter((c) => c.type !== type) : list;
}

export function findCondition(list: readonly Condition[] | undefined, type: string): Condition | undefined {
  return list?.find((c) => c.type === type);
}
