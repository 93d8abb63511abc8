/**
 * The Lease object and its times. Whose clock a renewTime comes from is never known: it is compared for equality only.
 */
import type { KubeObject, ObjectMeta, Resource } from './types.ts';

/** coordination.k8s.io/v1 LeaseSpec. */
export interface LeaseSpec {
  readonly holderIdentity?: string | undefined;
  readonly leaseDurationSeconds?: number | undefined;
  /** MicroTime. */
  readonly acquireTime?: string | undefined;
  readonly renewTime?: string | undefined;
  readonly leaseTransitions?: number | undefined;
}

export interface Lease extends KubeObject {
  readonly metadata: ObjectMeta;
  readonly spec?: LeaseSpec | undefined;
}

export const LEASES: Resource<Lease> = { group: 'coordination.k8s.io', version: 'v1', kind: 'Lease', plural: 'leases', namespaced: true };

/** Milliseconds since the epoch as meta/v1 MicroTime, which has exactly six digits. */
export function microTime(wallMs: number): string {
  return new Date(wallMs).toISOString().replace('Z', '000Z');
}

/** A MicroTime for `wallMs` that is another than `last`: a renewal within the same millisecond, or with a clock that stands still, is one. */
export function renewalTime(wallMs: number, last: string | undefined): string {
  const time = microTime(wallMs);
  return time === last ? time.replace('000Z', '001Z') : time;
}

/** Whether two states of a Lease are the same act of the same holder: client-go compares the same fields. */
export function sameRecord(a: LeaseSpec | undefined, b: LeaseSpec | undefined): boolean {
  return a?.holderIdentity === b?.holderIdentity && a?.renewTime === b?.renewTime && a?.acquireTime === b?.acquireTime
    && a?.leaseDurationSeconds === b?.leaseDurationSeconds && a?.leaseTransitions === b?.leaseTransitions;
}
