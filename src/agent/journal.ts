/**
 * A journal: what changed in something that has a file of its own in the state folder, one append after the other. Each line carries a checksum
 * over all lines before it, and each append ends with a line that says so: what a crash left of one is not there, and nothing is after it.
 * It knows no meaning of what is in it, and not when it has grown too large.
 */
import { hash } from 'node:crypto';
import { closeSync, fsync, fsyncSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { blocks, StateFolderError, type StateFolder } from './state-folder.ts';

/** Characters of a checksum. */
const SUM = 16;
/** Last line of each append. */
const END = '{"end":true}';
const END_BYTES = Buffer.from(END);

/** `of`: what its file is the journal of; `base`: the identity of that file's content. */
export const journalFile = (of: string, base: string): string => `${of}.${base}.journal`;

export class Journal {
  readonly file: string;
  readonly #folder: StateFolder;
  #fd: number | null = null;
  #state: 'open' | 'writing' | 'ended' = 'open';
  #sum: string;
  #size = 0;

  /** An empty one; its file is made by the first append, in place of one that may be there. */
  constructor(folder: StateFolder, of: string, base: string) {
    this.#folder = folder;
    this.file = journalFile(of, base);
    this.#sum = base;
  }

  /** Bytes. */
  get size(): number { return this.#size; }

  /**
   * On disk when it resolves; the event loop has its turns meanwhile. Never while another append runs. Rejects with StateFolderError
   * STATE_UNUSABLE, and then takes nothing more: whatever came after a torn place would never be read.
   */
  async append(entries: Iterable<string>): Promise<void> {
    const made = this.#begin();
    try {
      const fd = this.#fd ??= this.#open();
      for (const _ of this.#write(fd, entries)) await turn();
      await promisify(fsync)(fd);
      if (made) await this.#folder.sync();
      this.#done();
    } catch (cause) {
      throw this.#tear(cause);
    }
  }

  /** The same without a turn of the event loop. */
  appendNow(entries: Iterable<string>): void {
    const made = this.#begin();
    try {
      const fd = this.#fd ??= this.#open();
      for (const _ of this.#write(fd, entries)) { /* One block after the other. */ }
      fsyncSync(fd);
      if (made) this.#folder.syncNow();
      this.#done();
    } catch (cause) {
      throw this.#tear(cause);
    }
  }

  /** It takes nothing more. An append that runs comes to its end. */
  close(): void {
    const writing = this.#state === 'writing';
    this.#state = 'ended';
    if (!writing) this.#letGo();
  }

  /** And its file goes: nothing that it belongs to will ever stand. */
  discard(): void {
    this.close();
    try { rmSync(join(this.#folder.path, this.file), { force: true }); } catch { /* It is in nobody's way, and goes with the next removeJournals. */ }
  }

  /** Whether its file is still to be made. */
  #begin(): boolean {
    if (this.#state !== 'open') throw new StateFolderError('STATE_UNUSABLE', `${this.file} takes nothing more: it is ${this.#state}`);
    this.#state = 'writing';
    return this.#fd === null;
  }

  #open(): number {
    this.#folder.assertWritable();
    return openSync(join(this.#folder.path, this.file), 'w', 0o600);
  }

  #done(): void {
    if (this.#state === 'writing') this.#state = 'open';
    else this.#letGo();
  }

  #tear(cause: unknown): StateFolderError {
    this.#state = 'ended';
    this.#letGo();
    return new StateFolderError('STATE_UNUSABLE', `${this.file} cannot be written: ${(cause as Error).message}`, cause);
  }

  #letGo(): void {
    const fd = this.#fd;
    this.#fd = null;
    if (fd === null) return;
    try { closeSync(fd); } catch { /* What should be on the disk was synced before. */ }
  }

  *#write(fd: number, entries: Iterable<string>): Iterable<void> {
    for (const block of blocks(this.#lines(entries))) {
      this.#folder.assertWritable();
      const bytes = Buffer.from(block);
      writeFileSync(fd, bytes);
      this.#size += bytes.length;
      yield;
    }
  }

  *#lines(entries: Iterable<string>): Iterable<string> {
    for (const entry of entries) yield this.#line(entry);
    yield this.#line(END);
  }

  #line(entry: string): string {
    this.#sum = sumOf(this.#sum, Buffer.from(entry));
    return `${this.#sum} ${entry}\n`;
  }
}

export interface JournalReading {
  /** Of each append that is whole: its entries. */
  readonly appends: readonly (readonly unknown[])[];
  /** Why nothing was read after those; null: there is nothing. */
  readonly problem: string | null;
}

/** What is whole from its beginning on; no file is an empty journal. Does not throw. */
export function readJournal(folder: StateFolder, of: string, base: string): JournalReading {
  let bytes: Buffer;
  try {
    bytes = readFileSync(join(folder.path, journalFile(of, base)));
  } catch (error) {
    return { appends: [], problem: (error as NodeJS.ErrnoException).code === 'ENOENT' ? null : (error as Error).message };
  }
  const appends: unknown[][] = [];
  let entries: unknown[] = [];
  let sum = base;
  for (let from = 0, line = 1; from < bytes.length; line++) {
    const end = bytes.indexOf('\n', from);
    if (end < 0) return { appends, problem: `line ${line} is cut off` };
    const entry = bytes.subarray(from + SUM + 1, end);
    sum = sumOf(sum, entry);
    if (bytes.toString('latin1', from, from + SUM + 1) !== `${sum} `) return { appends, problem: `line ${line}: the checksum does not match` };
    from = end + 1;
    if (entry.equals(END_BYTES)) {
      appends.push(entries);
      entries = [];
      continue;
    }
    try {
      entries.push(JSON.parse(entry.toString()));
    } catch (error) {
      return { appends, problem: `line ${line}: ${(error as Error).message}` };
    }
  }
  return { appends, problem: entries.length > 0 ? 'the last append is cut off' : null };
}

/** Removes the journals of all contents but one. Throws what the file system says. */
export function removeJournals(folder: StateFolder, of: string, but: string | null): void {
  folder.assertWritable();
  const keep = but === null ? null : journalFile(of, but);
  for (const file of readdirSync(folder.path)) {
    if (file.startsWith(`${of}.`) && file.endsWith('.journal') && file !== keep) rmSync(join(folder.path, file), { force: true });
  }
}

function sumOf(before: string, entry: Buffer): string {
  return hash('sha256', Buffer.concat([Buffer.from(before), entry])).slice(0, SUM);
}
