/**
 * Dirty: what is not written yet, or has to be looked at again. What failed waits for its time, longer after each failure; what is new
 * never waits for what failed. State without effects.
 */

/** Phases that look at everything of their kind. `claims`: what VirtualIPs say is to be decided upon anew. */
export type Part = 'claims' | 'virtualIPs' | 'nodes' | 'release';

const RETRY_MS = { min: 200, max: 10_000 };

export class Dirty {
  /** VirtualServers whose program is to be written, as namespace/name. */
  readonly programs = new Set<string>();
  readonly #parts = new Set<Part>(['virtualIPs', 'nodes', 'release']);
  readonly #later = { programs: new Set<string>(), parts: new Set<Part>() };
  #waitMs = 0;
  #dueAt = Infinity;
  #failed = false;
  #retried = false;

  mark(...parts: readonly Part[]): void { for (const part of parts) this.#parts.add(part); }

  has(part: Part): boolean { return this.#parts.has(part); }

  /** Whether a part is dirty; from now on it is not. */
  take(part: Part): boolean { return this.#parts.delete(part); }

  /** Not done: to be tried again in its time. */
  failed(...parts: readonly Part[]): void {
    for (const part of parts) this.#later.parts.add(part);
    this.#failed = true;
  }

  failedProgram(owner: string): void {
    this.#later.programs.add(owner);
    this.#failed = true;
  }

  /** Before a pass: what waited long enough is dirty again. `now`: monotonic milliseconds. */
  begin(now: number): void {
    this.#failed = false;
    this.#retried = now >= this.#dueAt;
    if (!this.#retried) return;
    this.#dueAt = Infinity;
    for (const owner of this.#later.programs) this.programs.add(owner);
    for (const part of this.#later.parts) this.#parts.add(part);
    this.#later.programs.clear();
    this.#later.parts.clear();
  }

  /** After a pass. Returns whether nothing failed in it. */
  end(now: number): boolean {
    if (this.#failed) {
      // Something new that fails does not hold up the rest, nor does it come sooner.
      if (this.#retried || this.#dueAt === Infinity) this.#waitMs = Math.min(Math.max(this.#waitMs * 2, RETRY_MS.min), RETRY_MS.max);
      this.#dueAt = Math.min(this.#dueAt, now + this.#waitMs);
    } else if (this.#retried) {
      this.#waitMs = 0;
    }
    return !this.#failed;
  }

  /** Milliseconds until something that failed is due; Infinity: nothing failed. */
  nextDue(now: number): number { return Math.max(0, this.#dueAt - now); }
}
