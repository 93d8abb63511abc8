/**
 * DriftLook: whether the table of IPVS is as it was left, by its fingerprint. After a change of our own the fingerprint is not known before it is
 * taken anew, which with thousands of services takes longer than the change of an endpoint; but how many services there are is known. So whoever
 * removes services in the same second is seen, as kube-proxy is, which works when the same endpoints change. State, no effects.
 */
import { servicesIn } from '../kernel/ipvs/fingerprint.ts';
import { isIpvs, type Work } from './operation.ts';
import type { Failure } from './apply.ts';

export class DriftLook {
  /** Null: something of ours changed since it was taken. */
  #fingerprint: string | null = null;
  /** How many services there should be, ours and others'; null: nobody knows. */
  #services: number | null = null;

  /** The table is as it should be, and this is its fingerprint; null: it is not known. */
  left(fingerprint: string | null): void {
    this.#fingerprint = fingerprint;
    this.#services = fingerprint === null ? null : servicesIn(fingerprint);
  }

  /** We changed something. */
  changed(work: readonly Work[], failures: readonly Failure[]): void {
    // A fingerprint has no weights.
    if (!work.some((w) => isIpvs(w) && w.kind !== 'setDestination')) return;
    this.#fingerprint = null;
    if (this.#services !== null) this.#services += balance(work) - balance(failures.map((f) => f.operation));
  }

  /** Whether it is another than it should be, as far as that is known. When not, this is what it should be from now on. */
  differs(fingerprint: string): boolean {
    if (this.#fingerprint === null ? this.#services !== null && servicesIn(fingerprint) !== this.#services : fingerprint !== this.#fingerprint) return true;
    this.left(fingerprint);
    return false;
  }
}

/** How many services more that is. */
function balance(work: readonly Work[]): number {
  return work.reduce((n, { kind }) => n + (kind === 'addService' ? 1 : kind === 'delService' ? -1 : 0), 0);
}
