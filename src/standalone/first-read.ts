/**
 * Reading a folder whose files may just be being written: waits, a while, until none is. What is not read yet must not look deleted.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ManifestFolder, ManifestScan } from './manifests.ts';

/** How long a file may keep us waiting. */
const SETTLE_MS = 5_000;
/** Pause before a file that is being written is looked at again. */
export const BUSY_MS = 100;

/** Calls `read` until it says that nothing is being written, the time is up, or the signal is aborted. */
export async function untilSettled(read: () => { readonly busy: boolean }, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + SETTLE_MS;
  while (read().busy && performance.now() < deadline && !signal.aborted) await sleep(BUSY_MS);
}

/** One scan of a folder that is not being watched. */
export async function settledScan(folder: ManifestFolder, signal: AbortSignal): Promise<ManifestScan> {
  let scan!: ManifestScan;
  await untilSettled(() => (scan = folder.scan(Date.now())), signal);
  return scan;
}
