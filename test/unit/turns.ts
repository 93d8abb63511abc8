/** Turns of the event loop, counted: what gives others their turn gives it on a fast machine too, where no timer is due meanwhile. */

/** How often the event loop turned before `work` was done; `turns` is how often until now. */
export async function turnsDuring(work: (turns: () => number) => Promise<unknown>): Promise<number> {
  let count = 0;
  let next: NodeJS.Immediate | null = null;
  const turn = (): void => {
    count++;
    next = setImmediate(turn);
  };
  next = setImmediate(turn);
  try {
    await work(() => count);
  } finally {
    clearImmediate(next);
  }
  return count;
}

/** These, and how often the event loop had turned when the last was taken: an fsync that is waited for at the end is no turn between them. */
export function* watched<T>(all: Iterable<T>, turns: () => number, atEnd: (count: number) => void): Iterable<T> {
  yield* all;
  atEnd(turns());
}
