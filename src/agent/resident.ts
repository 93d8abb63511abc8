/**
 * Resident: which part of this process's memory is a copy of files. Most of it is the program file of Node: what a start runs through stays
 * mapped, 30 MB that nothing ever asks for again. It can be let go of without loss, and what is needed comes back at the first touch, out of
 * the page cache. When that is worth it, is footprint.ts's.
 */
import { readFileSync } from 'node:fs';
import { letGo } from '../kernel/netlink/libc.ts';

/** A part of the address space; `end` is the first address behind it. */
export interface Span { readonly start: number; readonly end: number }

/** Smaller ones are not worth a system call. Bytes. */
const LEAST = 256 * 1024;
/** The beginning of an entry: addresses, permissions, offset, device, inode. An inode of 0 is no file. */
const HEAD = /^([0-9a-f]+)-([0-9a-f]+) (....) [0-9a-f]+ \S+ (\d+)/;

/** Out of /proc/self/smaps: what is mapped from a file, cannot be written to, and of which no page is another than the file's. */
export function cleanSpans(smaps: string): Span[] {
  const spans: Span[] = [];
  let span: Span | null = null;
  for (const line of smaps.split('\n')) {
    const head = HEAD.exec(line);
    if (head) {
      const [, start, end, permissions, inode] = head as unknown as [string, string, string, string, string];
      span = inode !== '0' && /^r-[-x]p$/.test(permissions) ? { start: parseInt(start, 16), end: parseInt(end, 16) } : null;
    } else if (span && line.startsWith('Anonymous:')) {
      // The last field that counts: pages that were written to, relocations for example, exist nowhere else.
      if (/^Anonymous: +0 kB$/.test(line) && span.end - span.start >= LEAST) spans.push(span);
      span = null;
    }
  }
  return spans;
}

/** Lets go of all that files have as well. Does nothing where the kernel does not tell what is mapped. */
export function forgetFiles(): void {
  let smaps: string;
  try {
    smaps = readFileSync('/proc/self/smaps', 'utf8');
  } catch {
    return; // A kernel without CONFIG_PROC_PAGE_MONITOR, or a sandbox: then the memory stays.
  }
  for (const { start, end } of cleanSpans(smaps)) letGo(start, end);
}

/** Bytes of resident memory that no file has. */
export function ownMemory(): number {
  // Pages: all, resident, and of those the ones of files.
  const [, resident = 1, files = 0] = readFileSync('/proc/self/statm', 'utf8').split(' ').map(Number);
  return process.memoryUsage.rss() * (1 - files / resident);
}
