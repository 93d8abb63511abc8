/**
 * A disk that writes down what is done to one folder, call by call, and may refuse a call: from that, what a crash after any of them leaves. It
 * stands in for the functions of node:fs, so that what is tested does not know of it, and leaves alone who writes elsewhere in the process. It
 * knows nothing of what is in the files.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { dirname, basename } from 'node:path';

/** A file, whatever its name; what it had at the start. */
interface Inode { readonly bytes: Buffer }

interface Write { readonly at: number; readonly bytes: Buffer }

type Step =
  | { readonly op: 'link'; readonly name: string; readonly inode: Inode }
  | { readonly op: 'truncate'; readonly inode: Inode }
  | { readonly op: 'write'; readonly inode: Inode; readonly at: number; readonly bytes: Buffer }
  | { readonly op: 'sync'; readonly inode: Inode; readonly writes: number }
  | { readonly op: 'rename'; readonly from: string; readonly to: string }
  | { readonly op: 'remove'; readonly name: string }
  | { readonly op: 'sync folder' };

/** Names and contents of the files of a folder. */
export type Image = ReadonlyMap<string, Buffer>;

export interface RecordedDisk {
  readonly steps: readonly Step[];
  /** Called before each call; what it returns is thrown instead, and of a write half is done. */
  refuse: (op: Step['op'], name: string) => Error | null;
  /** Milliseconds that an fsync takes which does not block; the name of the folder is empty. */
  delayMs: (name: string) => number;
  /** Until when such an fsync is held up besides; null: it is not. */
  holds: (name: string) => Promise<void> | null;
  /** What may be on the disk after the first `count` steps: what was done, and what a power failure may leave of it. Equal contents are one Buffer. */
  images(count: number): Image[];
  stop(): void;
}

/** `note` is called before each step, with its number from 0. Call `stop` at the end. */
export function recordDisk(folder: string, before: Image, note: (step: number) => void): RecordedDisk {
  const { openSync, closeSync, writeSync, writeFileSync, fsyncSync, fsync, renameSync, rmSync } = fs;
  const real = { openSync, closeSync, writeSync, writeFileSync, fsyncSync, fsync, renameSync, rmSync };
  const steps: Step[] = [];
  const open = new Map<number, { readonly name: string; readonly inode: Inode; at: number } | 'folder'>();
  const start = new Map([...before].map(([name, bytes]): [string, Inode] => [name, { bytes }]));
  /** As the folder is now; and how much was written to each file since it was empty. */
  const names = new Map(start);
  const written = new Map<Inode, number>();
  const isHere = (path: unknown): path is string => typeof path === 'string' && dirname(path) === folder;
  const nameOf = (fd: number): string => { const file = open.get(fd); return file === undefined || file === 'folder' ? '' : file.name; };
  const step = (next: Step): void => { steps.push(next); };
  const refused = (op: Step['op'], name: string): void => {
    const error = disk.refuse(op, name);
    if (error) throw error;
  };
  const write = (fd: number, bytes: Buffer, at: number | null): number => {
    const file = open.get(fd);
    assert.ok(file !== undefined && file !== 'folder');
    const error = disk.refuse('write', file.name);
    const done = error ? bytes.subarray(0, bytes.length >> 1) : bytes;
    note(steps.length);
    real.writeSync(fd, done, 0, done.length, at);
    written.set(file.inode, (written.get(file.inode) ?? 0) + 1);
    step({ op: 'write', inode: file.inode, at: at ?? file.at, bytes: Buffer.from(done) });
    if (at === null) file.at += done.length;
    if (error) throw error;
    return done.length;
  };
  const synced = (fd: number): void => {
    const file = open.get(fd);
    if (file === undefined) return real.fsyncSync(fd);
    refused(file === 'folder' ? 'sync folder' : 'sync', nameOf(fd));
    note(steps.length);
    step(file === 'folder' ? { op: 'sync folder' } : { op: 'sync', inode: file.inode, writes: written.get(file.inode) ?? 0 });
  };
  const contents = new Contents();
  const disk: RecordedDisk = {
    steps, refuse: () => null, delayMs: () => 0, holds: () => null,
    images: (count) => imagesOf(start, steps.slice(0, count), contents),
    stop: () => { Object.assign(fs, real); syncBuiltinESMExports(); },
  };
  Object.assign(fs, {
    openSync: (path: string, flags: string, mode?: number) => {
      if (path === folder) { const fd = real.openSync(path, flags); open.set(fd, 'folder'); return fd; }
      if (!isHere(path) || flags !== 'w') return real.openSync(path, flags, mode);
      const name = basename(path);
      refused('link', name);
      note(steps.length);
      const fd = real.openSync(path, flags, mode);
      const known = names.get(name);
      const inode: Inode = known ?? { bytes: Buffer.alloc(0) };
      names.set(name, inode);
      written.set(inode, 0);
      open.set(fd, { name, inode, at: 0 });
      step(known ? { op: 'truncate', inode } : { op: 'link', name, inode });
      return fd;
    },
    closeSync: (fd: number) => { open.delete(fd); real.closeSync(fd); },
    writeSync: (...args: Parameters<typeof real.writeSync>) => (open.has(args[0]) ? write(args[0], Buffer.from(args[1] as string), (args[2] as number | undefined) ?? null) : real.writeSync(...args)),
    writeFileSync: (...args: Parameters<typeof real.writeFileSync>) => { if (open.has(args[0] as number)) write(args[0] as number, Buffer.from(args[1] as string), null); else real.writeFileSync(...args); },
    fsyncSync: (fd: number) => { synced(fd); },
    fsync: (fd: number, done: (error: Error | null) => void) => {
      const file = open.get(fd);
      if (file === undefined) return real.fsync(fd, done);
      const writes = file === 'folder' ? 0 : written.get(file.inode) ?? 0;
      const end = (): void => {
        try {
          refused(file === 'folder' ? 'sync folder' : 'sync', nameOf(fd));
          note(steps.length);
          step(file === 'folder' ? { op: 'sync folder' } : { op: 'sync', inode: file.inode, writes });
        } catch (error) {
          return done(error as Error);
        }
        done(null);
      };
      const held = disk.holds(nameOf(fd));
      if (held) void held.then(end);
      else setTimeout(end, disk.delayMs(nameOf(fd)));
    },
    renameSync: (from: string, to: string) => {
      if (isHere(from)) { refused('rename', basename(to)); note(steps.length); }
      real.renameSync(from, to);
      if (!isHere(from)) return;
      names.set(basename(to), names.get(basename(from))!);
      names.delete(basename(from));
      step({ op: 'rename', from: basename(from), to: basename(to) });
    },
    rmSync: (path: string, options: object) => {
      const there = isHere(path) && fs.existsSync(path);
      if (there) { refused('remove', basename(path)); note(steps.length); }
      real.rmSync(path, options);
      if (!there) return;
      names.delete(basename(path));
      step({ op: 'remove', name: basename(path) });
    },
  });
  syncBuiltinESMExports();
  return disk;
}

/** Of what was not synced, nothing, half and everything; of what was done to names since the folder was synced, every beginning, and all but one. */
function imagesOf(start: ReadonlyMap<string, Inode>, steps: readonly Step[], contents: Contents): Image[] {
  const writes = new Map<Inode, Written>();
  for (const inode of start.values()) writes.set(inode, { bytes: inode.bytes, all: [], safe: 0 });
  const names: Step[] = [];
  let safe = 0;
  for (const s of steps) {
    if (s.op === 'link' || s.op === 'truncate') writes.set(s.inode, { bytes: Buffer.alloc(0), all: [], safe: 0 });
    if (s.op === 'write') writes.get(s.inode)!.all.push(s);
    if (s.op === 'sync') writes.get(s.inode)!.safe = s.writes;
    if (s.op === 'sync folder') safe = names.length;
    if (s.op === 'link' || s.op === 'rename' || s.op === 'remove') names.push(s);
  }
  const images: Image[] = [];
  const unsafe = [...names.keys()].slice(safe);
  const beginnings = [safe, ...unsafe.map((i) => i + 1)].map((count) => names.slice(0, count));
  for (const kept of [...beginnings, ...unsafe.map((i) => names.toSpliced(i, 1))]) {
    const folder = new Map(start);
    for (const s of kept) {
      if (s.op === 'link') folder.set(s.name, s.inode);
      if (s.op === 'remove') folder.delete(s.name);
      const renamed = s.op === 'rename' && folder.get(s.from);
      if (s.op !== 'rename' || !renamed) continue;
      folder.set(s.to, renamed);
      folder.delete(s.from);
    }
    const files = [...folder].map(([name, inode]) => [name, writes.get(inode)!] as const);
    const shares = files.every(([, { all, safe }]) => safe === all.length) ? [1] : [0, 0.5, 1];
    for (const share of shares) images.push(new Map(files.map(([name, written]) => [name, contents.of(written, share)])));
  }
  return images;
}

/** What a file had when it was empty, or at the start, and what was written to it since. */
interface Written { bytes: Buffer; all: Write[]; safe: number }

/** Contents of files: each is made once, however many images have it. */
class Contents {
  readonly #byText = new Map<string, Buffer>();
  /** By the first write and how many there are: the same write is in every list that has it. */
  readonly #byWrites = new Map<Write, Map<string, Buffer>>();

  of(written: Written, share: number): Buffer {
    const { all, safe } = written;
    if (all.length === 0) return this.#one(written.bytes);
    let known = this.#byWrites.get(all[0]!);
    if (!known) this.#byWrites.set(all[0]!, known = new Map());
    const key = safe === all.length ? `${all.length}` : `${all.length} ${safe} ${share}`;
    let content = known.get(key);
    if (!content) known.set(key, content = this.#one(contentOf(written, share)));
    return content;
  }

  #one(bytes: Buffer): Buffer {
    const text = bytes.toString('latin1');
    const known = this.#byText.get(text);
    if (!known) this.#byText.set(text, bytes);
    return known ?? bytes;
  }
}

function contentOf({ bytes: before, all, safe }: Written, share: number): Buffer {
  const unsafe = all.slice(safe);
  const total = unsafe.reduce((sum, { bytes }) => sum + bytes.length, 0);
  let left = Math.floor(total * share);
  let content = before;
  for (const [i, { at, bytes }] of all.entries()) {
    const done = i < safe ? bytes : bytes.subarray(0, left);
    if (i >= safe) left -= done.length;
    if (done.length === 0) continue;
    if (content.length < at + done.length) content = Buffer.concat([content, Buffer.alloc(at + done.length - content.length)]);
    else content = Buffer.from(content);
    done.copy(content, at);
  }
  return content;
}
