/**
 * The process's own memory. Node takes memory for a burst of work and keeps it for the next; an agent has one burst, when it starts,
 * and then idles for months on hosts whose memory belongs to others. Here it is told to grow late and to give back early. It changes no
 * behaviour and may be left out.
 */
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { trimHeap } from '../kernel/netlink/libc.ts';
import { forgetFiles, ownMemory } from './resident.ts';

/** Looks at the size every so many milliseconds. */
const LOOK_MS = 2_000;
/**
 * Nothing is given back while there is work, and this long after, nor so soon after the time before. A collection holds the event loop up:
 * 200 ms with 5,000 VirtualServers.
 */
const QUIET_MS = 3_000;
const AGAIN_MS = 30_000;
/** Garbage that is left alone: an eighth of what was left by the collection before. */
const GROWTH = 1.125;

/**
 * Call before the program loads its code. The young generation stays at 1 MB instead of growing to 3 × 16 MB, of which nothing
 * comes back. Loading 100,000 real servers then takes a tenth longer, and 100 MB less at its peak.
 */
export function growLate(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}

/**
 * There will be work for as long as the process lives: from now on the young generation grows with it, up to 3 × 16 MB, so that what is garbage
 * soon does not get old first. With 5,000 VirtualServers of which one changes each quarter of a second, everything was collected each six seconds.
 */
export function growAsNeeded(): void {
  setFlagsFromString('--semi-space-growth-factor=2');
}

/**
 * The same, up to about so many bytes. To be called whenever there was work: when memory was given back it grows again. An agent that takes in a
 * thousand programs spends a quarter of its time on collecting 1 MB at a time, and a tenth with 8 MB; with 48 MB it is no faster.
 */
export function growUpTo(bytes: number): void {
  const young = getHeapSpaceStatistics().find((space) => space.space_name === 'new_space');
  if ((young?.space_size ?? Infinity) < bytes) growAsNeeded();
  else growLate();
}

/**
 * Call before the program loads its code. Without its compilers, a process that has little to do is 8 MB smaller: so much of the
 * program file is theirs and is read when they first run.
 */
export function optimizeLater(): void {
  for (const flag of ['--no-opt', '--no-maglev', '--no-sparkplug']) setFlagsFromString(flag);
}

/** There is much to do: from now on what runs often is compiled. */
export function optimize(): void {
  for (const flag of ['--opt', '--maglev', '--sparkplug']) setFlagsFromString(flag);
}

/** Collects all garbage and returns free memory to the system, and with it what of the program file only the start needed. */
export function giveBack(): void {
  setFlagsFromString('--expose-gc');
  // 'last-resort' also shrinks what is kept for later and throws away code that can be compiled again.
  (runInNewContext('gc') as (options: object) => void)({ type: 'major', flavor: 'last-resort' });
  trimHeap();
  forgetFiles();
}

export interface FootprintOptions {
  /** Monotonic milliseconds. */
  readonly now?: () => number;
  /** Bytes that no file has: pages of the program file come back as they are needed, and are no garbage. */
  readonly residentMemory?: () => number;
  readonly giveBack?: () => void;
  /** Called once, when the start is over and what only it needed was given back. */
  readonly settled?: () => void;
}

/** Gives memory back when the process is quiet and larger than it needs to be. */
export class Footprint {
  readonly #now: () => number;
  readonly #residentMemory: () => number;
  readonly #giveBack: () => void;
  readonly #settled: () => void;
  #worked: number;
  /** Bytes after the last collection, and when that was; 0 before the first, which is due once the start is over. */
  #least = 0;
  #gaveBackAt = -Infinity;

  constructor({ now = () => performance.now(), residentMemory = ownMemory, giveBack: give = giveBack, settled = () => {} }: FootprintOptions = {}) {
    this.#now = now;
    this.#residentMemory = residentMemory;
    this.#giveBack = give;
    this.#settled = settled;
    this.#worked = now();
  }

  /** There was work that may come again soon. */
  worked(): void { this.#worked = this.#now(); }

  /** Looks once. */
  look(): void {
    const now = this.#now();
    if (now - this.#worked < QUIET_MS || now - this.#gaveBackAt < AGAIN_MS || this.#residentMemory() < this.#least * GROWTH) return;
    this.#gaveBackAt = now;
    this.#giveBack();
    if (this.#least === 0) this.#settled();
    this.#least = this.#residentMemory();
  }

  /** Looks until the signal aborts, or something is in the way: memory is not worth the process. */
  watch(signal: AbortSignal): void {
    const timer = setInterval(() => {
      try {
        this.look();
      } catch {
        // Where /proc is not as it should be, memory is kept: nobody is served worse by that.
        clearInterval(timer);
      }
    }, LOOK_MS).unref();
    signal.addEventListener('abort', () => clearInterval(timer), { once: true });
  }
}
