/**
 * The moment between deleting a destination and making it anew in another mode (way.ts). The kernel cuts the connections of what was deleted in
 * a work item of its own, some milliseconds later (ip_vs_expire_nodest_conn_flush, since 5.9); a destination that is back before that has them
 * again, in a mode that it is in no longer (scenario edit-remade).
 */
import { setTimeout as timer } from 'node:timers/promises';

/** Waits; rejects when the signal is aborted. */
export type Wait = (ms: number, signal: AbortSignal | undefined) => Promise<void>;

/** "Gone within 0.3 s" was measured. Milliseconds. */
const CUT_MS = 300;

const wait: Wait = (ms, signal) => timer(ms, undefined, { signal });

/** Resolves when they are cut; or when the process is to end: the next one makes the destinations anew, and takes longer to begin. */
export async function untilCut(signal: AbortSignal | undefined, sleep = wait): Promise<void> {
  await sleep(CUT_MS, signal).catch((error: unknown) => { if (!signal?.aborted) throw error; });
}
