/** Work on many things, some at a time, of which one failure stops none. How much work there may be a second is the budget's. */

/** Runs `work` on all items, `width` at a time. Rejects with an AbortError; other errors go to `failed`, and the rest goes on. */
export async function inParallel<T>(
  items: Iterable<T>,
  width: number,
  signal: AbortSignal,
  work: (item: T) => Promise<void>,
  failed: (item: T, error: unknown) => void,
): Promise<void> {
  const queue = items[Symbol.iterator]();
  const worker = async (first: IteratorResult<T>): Promise<void> => {
    for (let next = first; !next.done; next = queue.next()) {
      signal.throwIfAborted();
      try {
        await work(next.value);
      } catch (error) {
        if (signal.aborted) throw error;
        failed(next.value, error);
      }
    }
  };
  const workers: Promise<void>[] = [];
  // Most passes have nothing to write: who would find nothing to do is not begun.
  for (let next = queue.next(); !next.done; next = queue.next()) {
    if (workers.push(worker(next)) >= width) break;
  }
  await Promise.all(workers);
}
