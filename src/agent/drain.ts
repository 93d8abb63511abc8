/**
 * Drain: how a real server leaves without breaking its connections. Weight 0 first; deleted when it has no connection left or its
 * time is up. Pure: the time is an argument, the records are a value that the caller keeps (they survive a restart in the state folder).
 */
import type { Protocol } from '../kernel/ipvs/types.ts';

/** By `serviceKey -> destinationKey`. */
export type DrainRecords = Readonly<Record<string, DrainRecord>>;

export interface DrainRecord {
  /** Milliseconds since the epoch: a restart must not prolong a drain. */
  readonly since: number;
  readonly deadline: number;
}

export type DrainStep = 'quiesce' | 'wait' | 'delete';

export interface Leaving {
  readonly protocol: Protocol;
  readonly fwmark: boolean;
  readonly weight: number;
  readonly active: number;
  readonly inactive: number;
}

export function drainKey(service: string, destination: string): string {
  return `${service} -> ${destination}`;
}

/** The service of a drain key. */
export function serviceOf(id: string): string { return id.slice(0, id.indexOf(' -> ')); }

/** Records are never changed in place, so what was found of them is remembered: a comparison in pieces asks with each piece. */
const BY_SERVICE = new WeakMap<DrainRecords, ReadonlyMap<string, readonly string[]>>();
const NO_RECORDS: DrainRecords = {};

/** Drain keys by service. */
export function drainsByService(drains: DrainRecords): ReadonlyMap<string, readonly string[]> {
  let map = BY_SERVICE.get(drains);
  if (!map) BY_SERVICE.set(drains, map = Map.groupBy(Object.keys(drains), serviceOf));
  return map;
}

/** The records of these services alone. */
export function drainsOf(drains: DrainRecords, services: Iterable<string>): DrainRecords {
  const map = drainsByService(drains);
  const some: Record<string, DrainRecord> = {};
  let any = false;
  for (const service of map.size === 0 ? [] : services) for (const id of map.get(service) ?? []) [some[id], any] = [drains[id]!, true];
  return any ? some : NO_RECORDS;
}

/**
 * What to do now with a destination that no manifest names any more.
 * A first sight always quiesces and never deletes, even with no connection in sight: a SYN may be on its way, and the counters
 * are read before the weight takes effect. Only a drain time of 0 deletes at once.
 */
export function drainStep(leaving: Leaving, record: DrainRecord | undefined, drainSeconds: number, now: number): DrainStep {
  if (drainSeconds === 0) return 'delete';
  // A record alone proves nothing: the process may have been killed between writing it and setting the weight.
  if (!record || leaving.weight !== 0) return 'quiesce';
  if (now >= record.deadline) return 'delete';
  return idle(leaving) ? 'delete' : 'wait';
}

export function startDrain(drainSeconds: number, now: number): DrainRecord {
  return { since: now, deadline: now + drainSeconds * 1000 };
}

// TCP and SCTP count as active until closed; what remains inactive (TIME_WAIT, FIN_WAIT) carries no data.
// UDP flows only ever count as inactive, and a fwmark service may carry UDP.
function idle(leaving: Leaving): boolean {
  const onlyActiveCounts = !leaving.fwmark && leaving.protocol !== 'UDP';
  return leaving.active === 0 && (onlyActiveCounts || leaving.inactive === 0);
}
