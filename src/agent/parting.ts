/**
 * Parting: a VIP that nobody wants any more stays for a moment after its services are gone. Clients whose connections ended with them send on,
 * and get a reset from the address; without it they would wait in silence until they give up. A VIP that another director is to have is still
 * wanted, and goes at once. State; time is an argument. Nothing of it outlives the process.
 */
import type { Program } from '../api/v1alpha1/program.ts';
import { keyOf, type Fragment } from './state.ts';

export class Parting {
  readonly #stayMs: number;
  /** By `link address`; milliseconds since the epoch. */
  readonly #until = new Map<string, number>();

  /** `stayMs` 0: VIPs go with their services. */
  constructor(stayMs: number) {
    this.#stayMs = stayMs;
  }

  /** VIPs that nobody wants and that stay, by `link address`. */
  get staying(): ReadonlySet<string> { return new Set(this.#until.keys()); }
  get any(): boolean { return this.#until.size > 0; }

  /** A program of a group that this node goes on directing for becomes another, or is gone. `old`: what it wanted of this node. */
  part(old: Fragment, program: Program | null, now: number): void {
    if (this.#stayMs === 0) return;
    const wanted = new Set(program?.spec.addresses.map((a) => a.address));
    for (const { vip, announce } of old.needs.vips) if (announce && !wanted.has(vip.address)) this.#until.set(keyOf.vip(vip), now + this.#stayMs);
  }

  /** Whether the time of some is over. */
  end(now: number): boolean {
    let ended = false;
    // More than its whole time is left: the clock was set back.
    for (const [key, until] of this.#until) if (until <= now || until - now > this.#stayMs) ended = this.#until.delete(key) || ended;
    return ended;
  }

  clear(): void { this.#until.clear(); }
}
