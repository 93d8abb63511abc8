/**
 * The state folder: ledger, drain records and snapshot on disk, for one process at a time. Every file is written whole and atomically
 * (temporary file, fsync, rename) with a checksum and a version; a file that fails any check is reported, set aside and treated as lost.
 * What lost state means is decided by its readers: observe and adopt, never delete.
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, fsync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { flock } from '../kernel/netlink/libc.ts';

/** sys/file.h: exclusive, do not wait. */
const LOCK_EX_NB = 2 | 4;

/** Version of the files' envelope, not of what is in it. */
const ENVELOPE = 1;
/** Stands where the checksum will be. */
const NO_DIGEST = '0'.repeat(64);
/** Characters that are written at once. */
const BLOCK = 64 * 1024;

export type ReadResult =
  | { readonly state: 'ok'; readonly value: unknown }
  | { readonly state: 'missing' }
  /** `problem` says what is wrong; the file was renamed to `<name>.corrupt`. */
  | { readonly state: 'corrupt'; readonly problem: string };

export const STATE_FOLDER_CODES = {
  STATE_LOCKED: 'Another ipvs-operator has this state folder. Stop it, or name another folder with --state.',
  STATE_UNUSABLE: 'The state folder cannot be made, read or written; the message has the reason of the file system.',
} as const;

export type StateFolderCode = keyof typeof STATE_FOLDER_CODES;

export class StateFolderError extends Error {
  override readonly name = 'StateFolderError';
  readonly code: StateFolderCode;
  constructor(code: StateFolderCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

export class StateFolder {
  readonly path: string;
  #lock: number | null;
  /** How often each file was begun to be written, by name. */
  readonly #begun = new Map<string, number>();

  private constructor(path: string, lock: number | null) {
    this.path = path;
    this.#lock = lock;
  }

  /**
   * Opens (and makes) the folder and locks it for this process; the kernel lets go of the lock when the process ends, however it ends.
   * Throws StateFolderError: STATE_LOCKED when another process has it, STATE_UNUSABLE when it cannot be made or written.
   */
  static open(path: string): StateFolder {
    let fd: number;
    try {
      makeFolder(path);
      fd = openSync(join(path, 'lock'), 'a', 0o600);
    } catch (cause) {
      throw new StateFolderError('STATE_UNUSABLE', `state folder ${path} cannot be used: ${(cause as Error).message}; name another with --state`, cause);
    }
    if (!flock(fd, LOCK_EX_NB)) {
      closeSync(fd);
      throw new StateFolderError('STATE_LOCKED', `state folder ${path} is in use by another ipvs-operator; stop it, or name another folder with --state`);
    }
    return new StateFolder(path, fd);
  }

  /** For looking only: takes no lock, writes nothing. */
  static view(path: string): StateFolder {
    return new StateFolder(path, null);
  }

  read(name: string): ReadResult {
    const file = join(this.path, `${name}.json`);
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { state: 'missing' };
      return { state: 'corrupt', problem: `${file}: ${(error as Error).message}` };
    }
    const end = text.indexOf('\n');
    const problem = checkEnvelope(text.slice(0, end < 0 ? 0 : end), text.slice(end + 1));
    if (problem === null) {
      try {
        return { state: 'ok', value: JSON.parse(text.slice(end + 1)) };
      } catch (error) {
        return this.#setAside(file, `${(error as Error).message}`);
      }
    }
    return this.#setAside(file, problem);
  }

  /** Replaces a file whole. Throws StateFolderError STATE_UNUSABLE; the old file then still stands. */
  write(name: string, value: unknown): void {
    this.writeParts(name, [JSON.stringify(value)]);
  }

  /** The same with the parts of a JSON text: 10,000 programs as one string would need ten times their memory for a moment. */
  writeParts(name: string, parts: Iterable<string>): void {
    this.#replace(`${name}.json`, (fd) => {
      for (const _ of enveloped(fd, parts)) { /* One block after the other. */ }
    });
  }

  /**
   * The same with a turn of the event loop after each block, for what is large and in no hurry. A write of that name that begins later
   * overtakes it, and then this one replaces nothing. Rejects with StateFolderError STATE_UNUSABLE, also when the signal aborted before the
   * old file was replaced.
   */
  async writePartsSlowly(name: string, parts: Iterable<string>, signal?: AbortSignal): Promise<void> {
    const file = join(this.path, `${name}.json`);
    const mine = this.#begin(file);
    const temporary = `${file}.slow.tmp`;
    try {
      const fd = openSync(temporary, 'w', 0o600);
      try {
        for (const _ of enveloped(fd, parts)) {
          await turn();
          signal?.throwIfAborted();
        }
        await promisify(fsync)(fd);
      } finally {
        closeSync(fd);
      }
      signal?.throwIfAborted();
      if (this.#lock !== null && this.#begun.get(file) === mine) renameSync(temporary, file);
    } catch (cause) {
      // On a full disk it is in the way of everything else. Where it cannot be removed the next writing truncates it.
      if (this.#lock !== null) {
        try { rmSync(temporary, { force: true }); } catch { /* said below */ }
      }
      throw new StateFolderError('STATE_UNUSABLE', `${file} cannot be written: ${(cause as Error).message}`, cause);
    }
  }

  /** Replaces a file whole, without an envelope: for what other programs read. */
  writeText(name: string, text: string | Iterable<string>): void {
    this.#replace(name, (fd) => {
      for (const block of blocks(typeof text === 'string' ? [text] : text)) writeFileSync(fd, block);
    });
  }

  /** Bytes of a file; 0: there is none that could be looked at. */
  sizeOf(name: string): number {
    try {
      return statSync(join(this.path, `${name}.json`)).size;
    } catch {
      return 0; // Who reads it will hear why.
    }
  }

  /** What was made, replaced and removed in it stays so when the power fails. Rejects with StateFolderError STATE_UNUSABLE. */
  async sync(): Promise<void> {
    const fd = this.#openItself();
    try {
      await promisify(fsync)(fd).catch((error: unknown) => this.#notSynced(error));
    } finally {
      closeSync(fd);
    }
  }

  /** The same at once. Throws StateFolderError STATE_UNUSABLE. */
  syncNow(): void {
    const fd = this.#openItself();
    try {
      fsyncSync(fd);
    } catch (error) {
      this.#notSynced(error);
    } finally {
      closeSync(fd);
    }
  }

  /** Throws StateFolderError STATE_UNUSABLE when this process may not write here. */
  assertWritable(): void {
    if (this.#lock === null) throw new StateFolderError('STATE_UNUSABLE', `state folder ${this.path} is closed, or was opened for looking only`);
  }

  #openItself(): number {
    try {
      return openSync(this.path, 'r');
    } catch (cause) {
      throw new StateFolderError('STATE_UNUSABLE', `${this.path} cannot be read: ${(cause as Error).message}`, cause);
    }
  }

  /** Some file systems have no such thing for folders, and say EINVAL. */
  #notSynced(cause: unknown): void {
    if ((cause as NodeJS.ErrnoException).code !== 'EINVAL') {
      throw new StateFolderError('STATE_UNUSABLE', `${this.path} cannot be written: ${(cause as Error).message}`, cause);
    }
  }

  #begin(file: string): number {
    this.assertWritable();
    const times = (this.#begun.get(file) ?? 0) + 1;
    this.#begun.set(file, times);
    return times;
  }

  #replace(name: string, write: (fd: number) => void): void {
    const file = join(this.path, name);
    this.#begin(file);
    try {
      const fd = openSync(`${file}.tmp`, 'w', 0o600);
      try {
        write(fd);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(`${file}.tmp`, file);
    } catch (cause) {
      throw new StateFolderError('STATE_UNUSABLE', `${file} cannot be written: ${(cause as Error).message}`, cause);
    }
  }

  /** Lets another process have it. May be called again: the descriptor may be somebody else's by then. */
  close(): void {
    const lock = this.#lock;
    this.#lock = null;
    if (lock !== null) closeSync(lock);
  }

  #setAside(file: string, problem: string): ReadResult {
    // Kept for whoever wants to know what happened. Where it cannot be renamed it will be overwritten, which is as good.
    if (this.#lock !== null) {
      try { renameSync(file, `${file}.corrupt`); } catch { /* said above */ }
    }
    return { state: 'corrupt', problem: `${file}: ${problem}` };
  }
}

/** Not mkdir's own recursion: that one never ends where a folder exists and answers ENOENT to making another in it, as /proc does. */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  const parent = dirname(path);
  if (parent !== path) makeFolder(parent);
  mkdirSync(path, { mode: 0o700 });
}

function checkEnvelope(head: string, body: string): string | null {
  let envelope: { version?: unknown; sha256?: unknown };
  try {
    envelope = JSON.parse(head) as typeof envelope;
  } catch {
    return 'no header line: truncated or not ours';
  }
  if (envelope.version !== ENVELOPE) return `version ${String(envelope.version)} is not ${ENVELOPE}`;
  return envelope.sha256 === digest(body) ? null : 'the checksum does not match';
}

/** Writes an envelope with the parts of a JSON text in it, block by block: yields after each. */
function* enveloped(fd: number, parts: Iterable<string>): Iterable<void> {
  const hash = createHash('sha256');
  // Of the same length as what replaces it.
  const head = (sha256: string) => `${JSON.stringify({ version: ENVELOPE, sha256 })}\n`;
  writeSync(fd, head(NO_DIGEST));
  for (const block of blocks(parts)) {
    hash.update(block);
    writeFileSync(fd, block);
    yield;
  }
  writeSync(fd, head(hash.digest('hex')), 0);
}

/** Small parts joined, so that writing them takes few system calls. */
export function* blocks(parts: Iterable<string>): Iterable<string> {
  let block = '';
  for (const part of parts) {
    block += part;
    if (block.length < BLOCK) continue;
    yield block;
    block = '';
  }
  if (block !== '') yield block;
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
