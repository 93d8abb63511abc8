/**
 * ManifestFolder: what a folder of manifests says, scan after scan. Reads only files that changed, keeps the last good form of what
 * is broken now, and lets nothing disappear because of a moment: a file between two renames, an unmounted volume, a typing error.
 * It judges no object (api/) and decides no policy (controller/compile).
 */
import { readFileSync, statSync } from 'node:fs';
import type { ApiObject } from '../api/v1alpha1/index.ts';
import { readDocuments, type ManifestDocument } from './documents.ts';
import { MAX_FILE_BYTES, contentName, folderName, tooLargeName } from './fingerprint.ts';
import { listFolder, reasonOf, signatureOf, type ListedFile } from './listing.ts';
import type { FileProblem } from './problems.ts';
import { resolve, sameValue, type ManifestObject, type Entry } from './resolve.ts';

export { watchFolder } from './watch.ts';
export type { FileProblem } from './problems.ts';
export type { ManifestObject, Origin } from './resolve.ts';

/** A file changed less than this many milliseconds ago is still being written, as far as anybody can tell. */
const SETTLE_MS = 150;
/** A file that changed this far in the future has a wrong clock and is not waited for. */
const CLOCK_SKEW_MS = 2_000;
/** Longest time that a file which is written all the time delays the removal of objects that are gone from others. */
const BUSY_LIMIT_MS = 2_000;

export interface ManifestScan {
  /** By objectKey: `VirtualServer/default/shop`, `VIPPool/public`. The same Map as before when nothing changed. */
  readonly objects: ReadonlyMap<string, ManifestObject>;
  /** Keys that are new, different or gone since the scan before. */
  readonly changed: ReadonlySet<string>;
  /** Sorted by file and document. */
  readonly problems: readonly FileProblem[];
  /** A file is being written, or a disappearance awaits confirmation: scan again in 100 ms or so. */
  readonly busy: boolean;
  /** False when the folder may hold objects that this scan cannot name: permits additions, never deletions. */
  readonly complete: boolean;
  /** folderName() of what was read. */
  readonly fingerprint: string;
  /** Device and inode of the folder; null while it is gone. */
  readonly identity: string | null;
}

interface FileState {
  /** '' when it must be read again in any case. */
  readonly signature: string;
  readonly content: string;
  readonly entries: readonly Entry[];
  readonly problems: readonly FileProblem[];
  readonly complete: boolean;
}

export class ManifestFolder {
  readonly #folder: string;
  #files = new Map<string, FileState>();
  #objects: ReadonlyMap<string, ManifestObject> = new Map();
  /** Keys that no file names any more, and since when (ms). */
  #missing = new Map<string, number>();
  #duplicates: readonly FileProblem[] = [];
  /** Identity of the folder when it last held manifests. */
  #identity: string | null = null;
  #fingerprint = folderName([]);
  /** Nothing was read yet. */
  #first = true;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Looks at the folder once. `now`: milliseconds since the epoch, the clock of the file system. Never throws for what it finds there. */
  scan(now: number): ManifestScan {
    const listing = listFolder(this.#folder);
    const replaced = listing.identity !== null && listing.files.size === 0 && this.#files.size > 0 && this.#identity !== null && listing.identity !== this.#identity;
    if (listing.identity === null || replaced) {
      const problems = replaced ? [replacedByNothing(this.#folder)] : listing.problems;
      return {
        objects: this.#objects, changed: new Set(), problems: this.#allProblems(problems), busy: false, complete: false,
        fingerprint: this.#fingerprint, identity: null,
      };
    }
    if (listing.files.size > 0 || this.#files.size === 0) this.#identity = listing.identity;

    let writing = 0;
    let dirty = this.#missing.size > 0;
    for (const [file, listed] of listing.files) {
      if (this.#files.get(file)?.signature === listed.signature) continue;
      const age = now - listed.modified;
      const state = age < SETTLE_MS && age > -CLOCK_SKEW_MS ? null : this.#read(file, listed);
      if (state === null) writing++;
      else {
        this.#files.set(file, state);
        dirty = true;
      }
    }
    if (writing === 0) this.#first = false;
    for (const file of this.#files.keys()) {
      if (listing.files.has(file) || listing.unknown.some((u) => u === file || (u.endsWith('/') && file.startsWith(u)))) continue;
      this.#files.delete(file);
      dirty = true;
    }
    const { changed, waiting } = dirty ? this.#resolve(now, writing > 0) : { changed: new Set<string>(), waiting: false };
    const problems = this.#allProblems(listing.problems);
    return {
      objects: this.#objects, changed, problems, busy: writing > 0 || waiting, fingerprint: this.#fingerprint, identity: listing.identity,
      complete: writing === 0 && listing.unknown.length === 0 && [...this.#files.values()].every((f) => f.complete),
    };
  }

  /** Reads one file; null when it changed meanwhile. */
  #read(file: string, listed: ListedFile): FileState | null {
    if (listed.size > MAX_FILE_BYTES) {
      const [size, most] = [(listed.size / 1024 / 1024).toFixed(1), MAX_FILE_BYTES / 1024 / 1024];
      const message = `${size} MiB are more than the ${most} MiB of a manifest; split it; what came from it before stays in force`;
      return this.#broken(file, listed.signature, tooLargeName(listed.size), { code: 'FileTooLarge', severity: 'error', file, message });
    }
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(listed.path);
      if (signatureOf(statSync(listed.path)) !== listed.signature) return null;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null; // gone since it was listed; the next scan sees that
      // Without a signature it is tried again each time: the reason may pass without a trace in stat.
      const message = `it cannot be read: ${reasonOf(error)}; what came from it stays in force`;
      return this.#broken(file, '', 'unreadable', { code: 'FileUnreadable', severity: 'error', file, message });
    }
    const content = contentName(bytes);
    // `program > shop.yaml` empties the file before the program has begun, and a full disk leaves it so.
    // What came from it before this process began is not known where it was so then, or could not be read: it may be something.
    const before = this.#files.get(file);
    if (bytes.length === 0 && (before === undefined ? this.#first : !before.complete || before.entries.length > 0)) {
      const message = 'it is empty, as after a write that has just begun or met a full disk; what came from it before stays in force; delete the file if nothing of it is wanted';
      return this.#broken(file, listed.signature, content, { code: 'FileEmpty', severity: 'error', file, message });
    }
    let text: string;
    try {
      text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      // The decoder says no more than that; where the wrong byte is would need a decoder of our own.
      const message = 'it is not UTF-8; save it as UTF-8; what came from it before stays in force';
      return this.#broken(file, listed.signature, content, { code: 'InvalidEncoding', severity: 'error', file, message });
    }
    const { documents, problems, complete } = readDocuments(text, /\.json$/i.test(file) ? 'json' : 'yaml');
    const entries = documents.flatMap((d) => this.#entry(file, d) ?? []);
    if (!complete) entries.push(...this.#keptFrom(file, new Set(documents.map((d) => d.key))));
    // A wrong object with a name and a last good form hides nothing; one without a last good form is an object that is not in `objects`.
    const named = documents.every((d) => d.object !== null || d.key === null || this.#objects.has(d.key));
    return { signature: listed.signature, content, entries, problems: problems.map((p) => ({ ...p, file })), complete: complete && named };
  }

  /** A document as an entry: the new object, or the one in force when the new one is wrong. An equal object stays the same value. */
  #entry(file: string, d: ManifestDocument): Entry | null {
    if (d.key === null) return null;
    const before = this.#objects.get(d.key)?.object;
    const object: ApiObject | undefined = d.object === null ? before : before !== undefined && sameValue(before, d.object) ? before : d.object;
    return object === undefined ? null : { key: d.key, object, origin: { file, document: d.index, line: d.line } };
  }

  /** What came from a file before, except these keys. */
  #keptFrom(file: string, except: ReadonlySet<string | null>): readonly Entry[] {
    return (this.#files.get(file)?.entries ?? []).filter((e) => !except.has(e.key));
  }

  /** The state of a file of which nothing could be read. */
  #broken(file: string, signature: string, content: string, problem: FileProblem): FileState {
    return { signature, content, entries: this.#keptFrom(file, new Set()), problems: [problem], complete: false };
  }

  /** Chooses among the entries of all files, and holds back what disappeared for a moment only. */
  #resolve(now: number, writing: boolean): { changed: Set<string>; waiting: boolean } {
    const names = [...this.#files.keys()].sort();
    const { objects, duplicates } = resolve(names.map((name) => this.#files.get(name)!.entries), this.#objects);
    const missing = new Map<string, number>();
    for (const [key, before] of this.#objects) {
      if (objects.has(key)) continue;
      const since = this.#missing.get(key) ?? now;
      // Editors rename the old file away before they write the new one, and an object may be moving to a file that is being written.
      const unconfirmed = !this.#files.has(before.origin.file) && now - since < SETTLE_MS;
      if (!unconfirmed && !(writing && now - since < BUSY_LIMIT_MS)) continue;
      missing.set(key, since);
      objects.set(key, before);
    }
    const changed = new Set<string>();
    for (const [key, { object }] of objects) if (this.#objects.get(key)?.object !== object) changed.add(key);
    for (const key of this.#objects.keys()) if (!objects.has(key)) changed.add(key);
    this.#missing = missing;
    this.#duplicates = duplicates;
    this.#objects = objects;
    this.#fingerprint = folderName(names.map((name) => [name, this.#files.get(name)!.content]));
    return { changed, waiting: missing.size > 0 };
  }

  #allProblems(more: readonly FileProblem[]): FileProblem[] {
    const all = [...more, ...this.#duplicates, ...[...this.#files.values()].flatMap((f) => f.problems)];
    return all.sort((a, b) => (a.file === b.file ? (a.document ?? -1) - (b.document ?? -1) : a.file < b.file ? -1 : 1));
  }
}

function replacedByNothing(folder: string): FileProblem {
  return {
    code: 'FolderGone', severity: 'error', file: '.',
    message: `${folder} is another folder than before, and empty, like the mount point of an unmounted volume; everything stays in force; mount it again, or, if nothing is wanted any more, put an empty file empty.yaml into it`,
  };
}
