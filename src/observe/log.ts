/**
 * The log of a process that is to run for ever: a JSON line each on stdout. A log that cannot be written stops nothing: where its disk is
 * full, its reader gone or its terminal closed, lines are lost, and how many is the next line that can be written. It is not what the
 * library does by itself: it ends the process then, and on the way out tries for ever to write what is left, so that it neither works nor ends.
 */
import { writeSync } from 'node:fs';
import { pino, type Logger } from 'pino';

const STDOUT = 1;
/** A pipe that somebody made non-blocking may be full for a moment: so often it is tried again, with this pause. Milliseconds. */
const TRIES = 10;
const PAUSE_MS = 10;
/** Nobody wakes it: for waiting without a turn of the event loop. */
const NOBODY = new Int32Array(new SharedArrayBuffer(4));
/** Level `warn` of pino. */
const WARN = 40;

/** Writes bytes and says how many it wrote. Throws what the system says. */
export type WriteBytes = (bytes: Uint8Array) => number;

/** `base`: what every line says, as which component and node. */
export function openLog(level: string, base: Readonly<Record<string, string>>, write: WriteBytes = (bytes) => writeSync(STDOUT, bytes)): Logger {
  return pino({ level, base, redact: ['token', 'authorization', '*.token', '*.authorization'] }, new LogOutput(base, write));
}

class LogOutput {
  readonly #base: Readonly<Record<string, string>>;
  readonly #write: WriteBytes;
  /** Of a line that was written in part: what follows begins a line of its own. */
  #rest: Uint8Array = new Uint8Array();
  #lost = 0;
  #why = '';

  constructor(base: Readonly<Record<string, string>>, write: WriteBytes) {
    this.#base = base;
    this.#write = write;
  }

  /** Never throws. */
  write(line: string): void {
    if (!this.#out(this.#rest)) {
      this.#lost++;
      return;
    }
    if (this.#out(Buffer.from(this.#lostLine() + line))) this.#lost = 0;
    // Begun lines are not lost: they are ended first.
    else if (this.#rest.length === 0) this.#lost++;
    else this.#lost = 0;
  }

  #lostLine(): string {
    if (this.#lost === 0) return '';
    return `${JSON.stringify({ level: WARN, time: Date.now(), ...this.#base, lost: this.#lost, err: this.#why, msg: 'lines of this log could not be written' })}\n`;
  }

  /** Whether all of it was written; of what was begun the rest is kept. */
  #out(bytes: Uint8Array): boolean {
    let done = 0;
    for (let tries = 0; done < bytes.length;) {
      try {
        done += this.#write(bytes.subarray(done));
      } catch (error) {
        const { code = '' } = error as NodeJS.ErrnoException;
        this.#why = code;
        // Who has lost lines already waits no more for each.
        if (code === 'EAGAIN' && this.#lost === 0 && ++tries < TRIES) {
          Atomics.wait(NOBODY, 0, 0, PAUSE_MS);
          continue;
        }
        break;
      }
    }
    this.#rest = done === 0 && bytes !== this.#rest ? new Uint8Array() : bytes.subarray(done);
    return done === bytes.length;
  }
}
