/**
 * Calls back when a folder of manifests may have changed: at once where the kernel tells (inotify), within a second where it does not
 * (network file systems, exhausted inotify limits, a folder that is not there yet). Says nothing about what changed: scan to see.
 */
import { readdirSync, statSync, watch, type FSWatcher } from 'node:fs';
import { join } from 'node:path';

/** Several events of one save become one call. Milliseconds. */
const DEBOUNCE_MS = 50;
/** The poll that needs no kernel's help. Milliseconds. */
const POLL_MS = 1_000;
/** Folders that are watched; the rest is found by the poll. */
const MAX_WATCHED = 64;

/**
 * Calls `onChange` until `signal` aborts: soon after an event, and each second in any case. Never throws, whatever happens to the
 * folder; `onChange` must not throw either.
 */
export function watchFolder(folder: string, onChange: () => void, signal: AbortSignal, pollMs = POLL_MS): void {
  if (signal.aborted) return;
  const watchers = new Map<string, FSWatcher>();
  let pending: NodeJS.Timeout | null = null;
  const fire = () => {
    pending = null;
    onChange();
  };
  const event = () => { pending ??= setTimeout(fire, DEBOUNCE_MS); };
  const poll = setInterval(() => {
    renewWatchers(folder, watchers, event);
    event();
  }, pollMs);
  renewWatchers(folder, watchers, event);
  signal.addEventListener('abort', () => {
    clearInterval(poll);
    if (pending !== null) clearTimeout(pending);
    for (const watcher of watchers.values()) watcher.close();
    watchers.clear();
  }, { once: true });
}

/** Watches every folder there is; drops what is gone. A folder that was replaced is another one. */
function renewWatchers(folder: string, watchers: Map<string, FSWatcher>, event: () => void): void {
  const present = foldersIn(folder);
  for (const [id, watcher] of watchers) {
    if (present.has(id)) continue;
    watcher.close();
    watchers.delete(id);
  }
  for (const [id, path] of present) {
    if (watchers.has(id)) continue;
    try {
      const watcher = watch(path, { persistent: true }, event);
      watchers.set(id, watcher);
      watcher.on('error', () => {
        // The poll goes on, and renews this watcher if the folder is still there.
        watcher.close();
        watchers.delete(id);
      });
    } catch {
      // No inotify for this folder (ENOSPC, EMFILE, ENOENT): the poll covers it and tries again.
    }
  }
}

/** Folders by device, inode and birth, the given one first; at most MAX_WATCHED, dot folders and links aside. */
function foldersIn(root: string): Map<string, string> {
  const found = new Map<string, string>();
  const queue = [root];
  for (let path = queue.shift(); path !== undefined && found.size < MAX_WATCHED; path = queue.shift()) {
    try {
      const { dev, ino, birthtimeMs } = statSync(path);
      // A folder that is made anew often gets the inode number of the one before.
      found.set(`${dev}:${ino}:${birthtimeMs}`, path);
      for (const entry of readdirSync(path, { withFileTypes: true })) {
        if (entry.isDirectory() && !entry.name.startsWith('.')) queue.push(join(path, entry.name));
      }
    } catch {
      // Gone or unreadable: the scan reports it, and the next poll looks again.
    }
  }
  return found;
}
