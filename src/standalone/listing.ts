/**
 * Which manifests a folder holds right now: names, and enough of stat to tell a changed file. Reads no content. Synchronous: a
 * listing of a folder that changes meanwhile is worth nothing, and thousands of stats take milliseconds.
 */
import { lstatSync, readdirSync, statSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import type { FileProblem } from './problems.ts';

export interface ListedFile {
  readonly path: string;
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly modified: number;
  /** Equal as long as the file was not touched: device, inode, size, times of content and of status. */
  readonly signature: string;
}

export interface Listing {
  /** Device and inode of the folder; null when it cannot be read. */
  readonly identity: string | null;
  /** By name relative to the folder, sorted. */
  readonly files: ReadonlyMap<string, ListedFile>;
  /** Names, or folder names ending in '/', about which nothing can be said now: what came from there stays. */
  readonly unknown: readonly string[];
  readonly problems: readonly FileProblem[];
}

/** Files with these endings are manifests. Everything else (README, scripts, backups `x.yaml~`, `.x.yaml.swp`) is none of ours. */
const MANIFEST = /\.(ya?ml|json)$/i;

export function listFolder(folder: string): Listing {
  const found: Found = { files: [], unknown: [], problems: [] };
  let identity: string;
  try {
    const stats = statSync(folder);
    identity = identityOf(stats);
    walk(folder, '', [identity], found);
  } catch (error) {
    const message = `the folder ${folder} cannot be read: ${reasonOf(error)}; everything stays in force; create or mount it again`;
    return { identity: null, files: new Map(), unknown: ['/'], problems: [{ code: 'FolderGone', severity: 'error', file: '.', message }] };
  }
  found.files.sort(([a], [b]) => (a < b ? -1 : 1));
  return { identity, files: new Map(found.files), unknown: found.unknown, problems: found.problems };
}

interface Found {
  files: [string, ListedFile][];
  unknown: string[];
  problems: FileProblem[];
}

/** Throws what readdir throws. `above`: identities of this folder and those around it. */
function walk(folder: string, prefix: string, above: readonly string[], found: Found): void {
  for (const name of readdirSync(folder)) {
    // Dot files are editors' and Kubernetes' (`..data`): what they hold is reached by its visible name.
    if (name.startsWith('.')) continue;
    const path = join(folder, name);
    const relative = prefix + name;
    const stats = statOf(path, relative, found);
    if (stats === null) continue;
    if (stats.isDirectory()) walkInto(path, relative, identityOf(stats), above, found);
    else if (!MANIFEST.test(name)) continue;
    else if (!stats.isFile()) found.problems.push({ code: 'NotAFile', severity: 'error', file: relative, message: 'it is no regular file; replace it with one' });
    else found.files.push([relative, { path, size: stats.size, modified: stats.mtimeMs, signature: signatureOf(stats) }]);
  }
}

function walkInto(path: string, relative: string, identity: string, above: readonly string[], found: Found): void {
  if (above.includes(identity)) {
    const message = 'this link leads back to a folder around it and is not followed; remove it';
    found.problems.push({ code: 'SymlinkLoop', severity: 'info', file: relative, message });
    return;
  }
  try {
    walk(path, `${relative}/`, [...above, identity], found);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return; // gone since it was listed, as if it had never been listed
    found.unknown.push(`${relative}/`);
    const message = `it cannot be read: ${reasonOf(error)}; what came from it stays in force`;
    found.problems.push({ code: 'FolderUnreadable', severity: 'error', file: relative, message });
  }
}

/** stat of what a name leads to; null when it is gone, or (with a problem, if a manifest could be meant) leads nowhere. */
function statOf(path: string, relative: string, found: Found): Stats | null {
  try {
    return statSync(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' && !isLink(path)) return null; // gone since it was listed
    if (!MANIFEST.test(relative)) return null; // a broken link to something that is no manifest
    found.unknown.push(relative);
    if (code === 'ELOOP') {
      found.problems.push({ code: 'SymlinkLoop', severity: 'error', file: relative, message: 'this link leads to itself; remove it' });
      return null;
    }
    const reason = code === 'ENOENT' ? 'the link leads nowhere' : reasonOf(error);
    const message = `it cannot be read: ${reason}; what came from it stays in force`;
    found.problems.push({ code: 'FileUnreadable', severity: 'error', file: relative, message });
    return null;
  }
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
}

function identityOf(s: Stats): string {
  return `${s.dev}:${s.ino}`;
}

export function signatureOf(s: Stats): string {
  return `${s.dev}:${s.ino}:${s.size}:${s.mtimeMs}:${s.ctimeMs}`;
}

/** The kernel's words without the path that Node adds: `EACCES: permission denied`. */
export function reasonOf(error: unknown): string {
  return (error as Error).message.replace(/, \w+( '.*')?$/, '');
}
