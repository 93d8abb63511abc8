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
/** Reasons that only say that something is on its way. Who was not told of the waiting need not hear of its end. */
const WAITING: ReadonlySet<string> = new Set(['Pending', 'NotProgrammed', 'NotAccepted']);

export function transitions(before: VirtualServerStatus | undefined, after: VirtualServerStatus): Transition[] {
  const list: Transition[] = [];
  const old = new Set((before?.addresses ?? []).map((a) => a.value));
  const allocated = (after.addresses ?? []).filter((a) => !old.has(a.value));
  const atOnce = allocated.length > 0 && isReady(after) && !isReady(before);
  if (allocated.length > 0 && !atOnce) {
    list.push({ type: 'Normal', reason: 'AddressAllocated', action: 'Allocate', note: `has ${allocated.map((a) => a.value).join(', ')}` });
  }
  for (const type of TOLD) {
    const was = before?.conditions?.find((c) => c.type === type);
    const is = after.conditions?.find((c) => c.type === type);
    if (!is || (was?.status === is.status && was.reason === is.reason)) continue;
    const good = (is.status === 'True') === (type !== 'Degraded');
    // A condition that is good from the start is no news, and neither is waiting for directors.
    if (good ? type !== 'Ready' && (was === undefined || WAITING.has(was.reason)) : WAITING.has(is.reason)) continue;
    // With its addresses: of many that come at a time each is one Event, and not two.
    const note = type === 'Ready' && atOnce ? readyNote(allocated, after) : is.message || `${type} is ${is.status}`;
    list.push({ type: good ? 'Normal' : 'Warning', reason: is.reason, action: type, note });
  }
  return list;
}

function isReady(status: VirtualServerStatus | undefined): boolean {
  return status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;
}

/** `has 203.0.113.1 on edge-1; 2 of 2 directors run it` */
function readyNote(addresses: NonNullable<VirtualServerStatus['addresses']>, { directors }: VirtualServerStatus): string {
  const has = addresses.map(({ value, activeNode }) => (activeNode === undefined ? value : `${value} on ${activeNode}`)).join(', ');
  return `has ${has}${directors === undefined ? '' : `; ${directors.programmed} of ${directors.desired} directors run it`}`;
}
