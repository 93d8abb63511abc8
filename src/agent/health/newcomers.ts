/**
 * Newcomers: real servers that appeared in a service that had others already, for slow start. Not who was there when the service was first
 * looked after, by this process: a restart, or a VIP that comes over, makes nobody new. State of watch.ts, by program; what is made of it
 * is weights.ts's.
 */
import type { Program, RealServer } from '../../api/v1alpha1/program.ts';

type Services = readonly (readonly RealServer[])[];

/** A real server of another weight, or on another node, is the same one. */
const nameOf = ({ address, port }: RealServer): string => `${address} ${port}`;

export class Newcomers {
  /** By owner, then by name: when each appeared, in monotonic milliseconds. */
  readonly #byOwner = new Map<string, Map<string, number>>();

  /** Looks at a program as it is now; `before`: its real servers as they were looked at last, null: it was not. */
  look({ owner, spec }: Program, services: Services, before: Services | null, now: number): void {
    const windowMs = (spec.slowStartSeconds ?? 0) * 1_000;
    const known = new Set(before?.flat().map(nameOf));
    if (windowMs === 0 || known.size === 0) return void this.#byOwner.delete(owner);
    const old = this.#byOwner.get(owner);
    const mine = new Map<string, number>();
    for (const name of services.flat().map(nameOf)) {
      // This may be asked several times of one program before that is what was looked at last.
      const at = old?.get(name) ?? (known.has(name) ? undefined : now);
      if (at !== undefined && now - at < windowMs) mine.set(name, at);
    }
    if (mine.size > 0) this.#byOwner.set(owner, mine);
    else this.#byOwner.delete(owner);
  }

  forget(owner: string): void {
    this.#byOwner.delete(owner);
  }

  /** Null: it was there from the start, or long enough. */
  appearedAt(owner: string, r: RealServer): number | null {
    return this.#byOwner.get(owner)?.get(nameOf(r)) ?? null;
  }
}
