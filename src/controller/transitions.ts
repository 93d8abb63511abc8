/**
 * Transitions: which changes of a VirtualServer's conditions are worth an event, and its words. Pure. Events tell of changes only:
 * the state itself stands in status.
 */
import type { VirtualServerStatus } from '../api/v1alpha1/index.ts';

export interface Transition {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly action: string;
  readonly note: string;
}

/** What people wait for, in the order in which it comes about. */
const TOLD = ['Accepted', 'ResolvedRefs', 'Programmed', 'Ready', 'Degraded'] as const;

export function transitions(before: VirtualServerStatus | undefined, after: VirtualServerStatus): Transition[] {
  const list: Transition[] = [];
  const old = new Set((before?.addresses ?? []).map((a) => a.value));
  const allocated = (after.addresses ?? []).filter((a) => !old.has(a.value)).map((a) => a.value);
  if (allocated.length > 0) list.push({ type: 'Normal', reason: 'AddressAllocated', action: 'Allocate', note: `has ${allocated.join(', ')}` });
  for (const type of TOLD) {
    const was = before?.conditions?.find((c) => c.type === type);
    const is = after.conditions?.find((c) => c.type === type);
    if (!is || (was?.status === is.status && was.reason === is.reason)) continue;
    const good = (is.status === 'True') === (type !== 'Degraded');
    // A condition that is good from the start is no news, and neither is waiting for directors.
    if (good ? was === undefined && type !== 'Ready' : is.reason === 'Pending' || is.reason === 'NotProgrammed' || is.reason === 'NotAccepted') continue;
    list.push({ type: good ? 'Normal' : 'Warning', reason: is.reason, action: type, note: is.message || `${type} is ${is.status}` });
  }
  return list;
}
