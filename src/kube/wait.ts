/** Waiting and being told to stop, the same way everywhere: an abort is always an Error of name AbortError, whatever the signal's reason is. */
import { setTimeout as timer } from 'node:timers/promises';

/** Waits; rejects with an AbortError when the signal is aborted. */
export type Sleep = (ms: number, signal: AbortSignal) => Promise<void>;

export const sleep: Sleep = (ms, signal) => timer(ms, undefined, { signal });

export class AbortError extends Error {
  override readonly name = 'AbortError';
  readonly code = 'ABORT_ERR';
  constructor(signal: AbortSignal) {
    super('stopped', { cause: signal.reason });
  }
}

export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** Throws an AbortError if the signal is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AbortError(signal);
}

/** Calls `stop` once, now or when the signal aborts. Returns how to forget about it, which also a long-lived signal needs. */
export function onAbort(signal: AbortSignal | undefined, stop: () => void): () => void {
  if (!signal) return () => {};
  if (signal.aborted) {
    stop();
    return () => {};
  }
  signal.addEventListener('abort', stop, { once: true });
  return () => signal.removeEventListener('abort', stop);
}

/** A controller that aborts with its parent. `detach` when done with it, or the parent keeps it. */
export function childOf(signal: AbortSignal | undefined): { readonly controller: AbortController; readonly detach: () => void } {
  const controller = new AbortController();
  return { controller, detach: onAbort(signal, () => controller.abort(signal?.reason)) };
}
