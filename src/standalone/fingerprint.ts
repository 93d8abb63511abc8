/**
 * A name for the content of a folder of manifests: equal names, equal content. `ipvs-operator status` shows it as manifestsHash, so that
 * whoever writes the files can tell when a host speaks of what they wrote. Not for finding changes: manifests.ts does that by stat.
 */
import { createHash } from 'node:crypto';

/** Largest manifest that is read, in bytes. 4 MiB hold 100,000 real servers. */
export const MAX_FILE_BYTES = 4 * 1024 * 1024;

/** What stands for the content of one file: sha256 in hex, or its size where it is too large to be read. */
export function contentName(content: Uint8Array): string {
  return content.length > MAX_FILE_BYTES ? tooLargeName(content.length) : createHash('sha256').update(content).digest('hex');
}

export function tooLargeName(bytes: number): string {
  return `${bytes} bytes`;
}

/** The name of a folder, from relative file names and contentName() of each. */
export function folderName(files: Iterable<readonly [file: string, content: string]>): string {
  const hash = createHash('sha256');
  for (const [file, content] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) hash.update(`${file}\0${content}\0`);
  return hash.digest('hex');
}
