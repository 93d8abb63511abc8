/**
 * The IPVS half of plan: desired services against observed ones, field by field, as operations in phases. Pure.
 * The order of phases, and why nothing is ever flushed, is in plan.ts.
 */
import { compareKeys, rowsDiffer, type DestinationTable } from '../kernel/ipvs/destinations.ts';
import type { IpvsObservation, IpvsOperation, IpvsWork, ObservedService } from '../kernel/ipvs/contract.ts';
import { destinationKey, NO_SCHEDULER, SCHEDULER_FLAG, serviceKey, type Destination, type Service } from '../kernel/ipvs/types.ts';
import { drainKey, drainsByService, drainStep, serviceOf, startDrain, type DrainRecord, type DrainRecords } from './drain.ts';
import type { ServiceEntry } from './ledger.ts';
import type { DesiredService } from './state.ts';
import { wantedKey, waysOf } from './way.ts';

export interface IpvsPlanInput {
  readonly desired: ReadonlyMap<string, DesiredService>;
  readonly observed: IpvsObservation;
  readonly ledger: Readonly<Record<string, ServiceEntry>>;
  /** The ledger cannot tell ours from foreign: adopt, never delete. */
  readonly fresh: boolean;
  readonly drains: DrainRecords;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Only these service keys are looked at; null: all. */
  readonly scope: ReadonlySet<string> | null;
  /** Whether this kernel knows the scheduler `none`. */
  readonly noneScheduler: boolean;
  /** Services that this node refuses to look after now, but that may be served: not changed, not deleted. */
  readonly held?: (key: string, entry: ServiceEntry) => boolean;
  /** What is wanted was decided on partial facts: nothing may be deleted. */
  readonly additive?: boolean;
}

export interface IpvsPlan {
  /** New services whole: first without a scheduler where each destination would rebuild its table. */
  readonly create: IpvsWork[];
  readonly addDestinations: IpvsOperation[];
  readonly setServices: IpvsOperation[];
  readonly setDestinations: IpvsOperation[];
  readonly delDestinations: IpvsOperation[];
  /** Scheduler changes of live services: 16 ms each in the kernel, so one by one and last. And what must outlive a deletion. */
  readonly setSchedulers: IpvsOperation[];
  readonly delServices: IpvsOperation[];
  /** Ledger entries to write, or to drop (null), before applying. */
  readonly entries: Map<string, ServiceEntry | null>;
  /** Ledger keys to drop after applying. */
  readonly gone: string[];
  /** Drain records to set, or to drop (null), before applying. */
  readonly drains: Map<string, DrainRecord | null>;
  /** Drain records to drop after applying: until the deletion is done, a restart must know that the time is up. */
  readonly drained: Set<string>;
  /** Connections of those that go on draining, by drain key. */
  readonly remaining: Map<string, number>;
  /** Services with real servers that have to go before they can be as they are wanted: the next pass goes on. */
  readonly remade: Set<string>;
  readonly conflicts: { readonly key: string; readonly owner: string }[];
  /** Services of others, by key. */
  readonly foreign: string[];
  /** Destinations of others in services that we adopted: `service -> destination`. */
  readonly kept: string[];
}

/** From how many destinations on a service is worth building without its scheduler; mh rebuilds its whole table for each, so 2. */
const NONE_TRICK_FROM = 33;

export function planIpvs(input: IpvsPlanInput): IpvsPlan {
  const plan: IpvsPlan = {
    create: [], addDestinations: [], setServices: [], setDestinations: [], delDestinations: [], setSchedulers: [], delServices: [],
    entries: new Map(), gone: [], drains: new Map(), drained: new Set(), remaining: new Map(), remade: new Set(), conflicts: [], foreign: [], kept: [],
  };
  const drains = drainsByService(input.drains);
  for (const key of input.scope ?? input.desired.keys()) {
    const wanted = input.desired.get(key);
    if (wanted) planService(key, wanted, drains.get(key) ?? NO_LIST, input, plan);
    else planRemoval(key, drains.get(key) ?? NO_LIST, input, plan);
  }
  if (!input.scope) {
    for (const key of Object.keys(input.ledger)) if (!input.desired.has(key)) planRemoval(key, drains.get(key) ?? NO_LIST, input, plan);
    for (const [key, ids] of drains) if (!input.desired.has(key) && !(key in input.ledger)) forget(ids, plan);
    for (const key of input.observed.services.keys()) {
      if (!input.desired.has(key) && !(key in input.ledger)) plan.foreign.push(key);
    }
  }
  return plan;
}

/** Keys of services of which something is to change, in the kernel or in what is remembered. */
export function touchedBy(plan: IpvsPlan): Set<string> {
  const keys = new Set<string>([...plan.entries.keys(), ...plan.gone]);
  for (const id of [...plan.drains.keys(), ...plan.drained]) keys.add(serviceOf(id));
  for (const list of [plan.create, plan.addDestinations, plan.setServices, plan.setDestinations, plan.delDestinations, plan.setSchedulers, plan.delServices]) {
    for (const operation of list) if ('service' in operation) keys.add(serviceKey(operation.service));
  }
  return keys;
}

function planService(key: string, wanted: DesiredService, drains: readonly string[], input: IpvsPlanInput, plan: IpvsPlan): void {
  const observed = input.observed.services.get(key);
  const entry = input.ledger[key];
  if (observed && !entry && !input.fresh) {
    plan.conflicts.push({ key, owner: wanted.owner });
    return;
  }
  if (!observed) {
    // The part of the list that is missing may hold somebody else's service of this key, which an addition would overwrite.
    if (!entry && !input.fresh && !input.observed.complete) return;
    if (entry?.owner !== wanted.owner || entry.kept) plan.entries.set(key, { owner: wanted.owner });
    create(wanted, input, plan);
    if (input.observed.complete) forget(drains, plan);
    return;
  }
  const kept = keptDestinations(entry, observed, wanted);
  for (const destination of kept) plan.kept.push(drainKey(key, destination));
  // Adopted when it was seen whole: destinations that were not seen would look like ours afterwards.
  const adopted = entry ? entry.owner === wanted.owner && sameList(entry.kept ?? NO_LIST, kept) : !observed.complete;
  if (!adopted) plan.entries.set(key, kept.length > 0 ? { owner: wanted.owner, kept } : { owner: wanted.owner });
  const leaving = planDestinations(key, wanted, observed, kept.length === 0 ? NOBODY : new Set(kept), drains.length > 0, input, plan);
  if (observed.complete && drains.length > 0) forget(drains.filter((id) => !leaving.draining.has(id) && !plan.drained.has(id)), plan);
  planFields(wanted, observed.service, leaving, plan);
}

const NO_LIST: readonly string[] = [];

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, i) => text === b[i]);
}

/** What stays although no manifest names it: found at adoption and recorded then; all that is found, at the moment of adoption. */
function keptDestinations(entry: ServiceEntry | undefined, observed: ObservedService, wanted: DesiredService): readonly string[] {
  if (entry && !entry.kept) return NO_LIST;
  // Under both keys: a second one that a mode gave is ours, and so is the first one that drains beside it.
  const named = new Set([wanted.destinations, waysOf(wanted.destinations, observed.destinations).wanted].flatMap((table) => table.toArray().map(destinationKey)));
  const candidates = entry?.kept ?? observed.destinations.toArray().map(destinationKey);
  return candidates.filter((k) => !named.has(k)).sort();
}

function create(wanted: DesiredService, input: IpvsPlanInput, plan: IpvsPlan): void {
  const { service, destinations } = wanted;
  const n = destinations.length;
  // An interrupted list may hide the service: then it is live, and must not lose its scheduler.
  const later = input.noneScheduler && input.observed.complete && (service.scheduler === 'mh' ? n > 1 : n >= NONE_TRICK_FROM);
  plan.create.push({ kind: 'addService', service: later ? { ...service, scheduler: NO_SCHEDULER } : service });
  if (n > 0) plan.create.push({ kind: 'addTable', service, destinations });
  if (later) plan.create.push({ kind: 'setService', service, changed: ['scheduler'] });
}

/** What is on its way out of a service. */
interface Leaving {
  /** Drain keys. */
  readonly draining: ReadonlySet<string>;
  /** Whether one is deleted now. */
  readonly deleting: boolean;
}

const NO_OPERATIONS: readonly IpvsOperation[] = [];
const NOBODY: ReadonlySet<string> = new Set();
const NOTHING_LEAVES: Leaving = { draining: NOBODY, deleting: false };

/**
 * Walks both sorted tables once. Allocates nothing where nothing changed: 10,000 services are looked at every ten seconds. `records`:
 * there are drains of this service.
 */
function planDestinations(
  key: string, wanted: DesiredService, observed: ObservedService, kept: ReadonlySet<string>, records: boolean, input: IpvsPlanInput, plan: IpvsPlan,
): Leaving {
  const { service } = wanted;
  const b = observed.destinations;
  // Read back as what was expected (IpvsClient.readAll).
  if (wanted.destinations === b) return NOTHING_LEAVES;
  const { wanted: a, remade } = waysOf(wanted.destinations, b);
  let draining: Set<string> | null = null;
  // After every weight that is raised: between the two a service would have nobody, and refuse clients.
  let quiesced: IpvsOperation[] | null = null;
  const before = plan.delDestinations.length;
  for (let i = 0, k = 0; i < a.length || k < b.length;) {
    const order = i >= a.length ? 1 : k >= b.length ? -1 : compareKeys(a.words, i, b.words, k);
    if (order < 0) {
      plan.addDestinations.push({ kind: 'addDestination', service, destination: a.row(i) });
      i++;
    } else if (order > 0) {
      if (observed.complete) leave(key, wanted, b, k, kept, records, draining ??= new Set(), quiesced ??= [], input, plan);
      k++;
    } else {
      const when = remade.size > 0 ? remade.get(destinationKey(a.row(i))) : undefined;
      if (when) {
        plan.remade.add(key);
        if (when === 'now' && mayDelete(input)) remake(key, service, b.get(k), draining ??= new Set(), input, plan);
      } else if (rowsDiffer(a.words, i, b.words, k) && !keepsWeight(wanted, a, i, b, k)) {
        const destination = a.get(i);
        const list = destination.weight === 0 ? quiesced ??= [] : plan.setDestinations;
        list.push({ kind: 'setDestination', service, destination, changed: changedFields(destination, b.get(k)) });
      }
      i++;
      k++;
    }
  }
  for (const operation of quiesced ?? NO_OPERATIONS) plan.setDestinations.push(operation);
  return draining === null ? NOTHING_LEAVES : { draining, deleting: plan.delDestinations.length > before };
}

/**
 * Whether all that differs is a weight that is lower in the kernel, of a real server of which nothing is known yet: it may have been
 * lowered for a reason.
 */
function keepsWeight({ service, undecided }: DesiredService, a: DestinationTable, i: number, b: DestinationTable, k: number): boolean {
  if (undecided === undefined || b.weight(k) >= a.weight(i)) return false;
  const destination = a.get(i);
  const changed = changedFields(destination, b.get(k));
  return changed.length === 1 && undecided.has(wantedKey(service, destination));
}

function leave(
  key: string, wanted: DesiredService, table: DestinationTable, row: number, kept: ReadonlySet<string>, records: boolean,
  draining: Set<string>, quiesced: IpvsOperation[], input: IpvsPlanInput, plan: IpvsPlan,
): void {
  const { service, drainSeconds, cut } = wanted;
  // The usual case of a bulk removal, without a text for each.
  if (drainSeconds === 0 && kept.size === 0 && !records && mayDelete(input)) {
    plan.delDestinations.push({ kind: 'delDestination', service, destination: table.row(row) });
    return;
  }
  const destination = table.get(row);
  const name = destinationKey(destination);
  if (kept.has(name)) return;
  if (cut?.has(wantedKey(service, destination)) && mayDelete(input)) {
    plan.delDestinations.push({ kind: 'delDestination', service, destination });
    return;
  }
  const id = drainKey(key, name);
  const known = input.drains[id];
  // One of a time to come is of a clock that was set back since: it would last until then.
  const record = known !== undefined && known.since <= input.now ? known : undefined;
  const step = drainStep(
    { protocol: service.protocol, fwmark: service.fwmark !== 0, weight: destination.weight, active: table.active(row), inactive: table.inactive(row) },
    record, drainSeconds, input.now,
  );
  if (step === 'delete' && mayDelete(input)) {
    plan.delDestinations.push({ kind: 'delDestination', service, destination });
    if (record) plan.drained.add(id);
    return;
  }
  draining.add(id);
  plan.remaining.set(id, table.active(row) + table.inactive(row));
  if (!record) plan.drains.set(id, startDrain(drainSeconds, input.now));
  if (destination.weight !== 0) {
    quiesced.push({ kind: 'setDestination', service, destination: { ...destination, weight: 0 }, changed: ['weight'] });
  }
}

/** Deleted now; the record brings about the next pass, soon, which adds it as it is wanted. */
function remake(key: string, service: Service, destination: Destination, draining: Set<string>, input: IpvsPlanInput, plan: IpvsPlan): void {
  const id = drainKey(key, destinationKey(destination));
  plan.delDestinations.push({ kind: 'delDestination', service, destination });
  plan.drains.set(id, startDrain(0, input.now));
  draining.add(id);
}

function mayDelete(input: IpvsPlanInput): boolean {
  return input.observed.complete && !input.fresh && !input.additive;
}

function forget(ids: readonly string[], plan: IpvsPlan): void {
  for (const id of ids) plan.drains.set(id, null);
}

function planFields({ service: wanted, quiesced }: DesiredService, observed: Service, { draining, deleting }: Leaving, plan: IpvsPlan): void {
  const refusing = draining.size > 0 || quiesced === true;
  if (wanted === observed && !refusing) return;
  // Without the fallback flag sh and mh refuse the clients that hash to a real server of weight 0.
  const hashes = wanted.scheduler === 'sh' || wanted.scheduler === 'mh';
  const service = refusing && hashes ? { ...wanted, flags: wanted.flags | SCHEDULER_FLAG.fallback } : wanted;
  if (service.scheduler === observed.scheduler && service.flags === observed.flags && service.timeoutSeconds === observed.timeoutSeconds
    && service.prefixLength === observed.prefixLength && service.engine === observed.engine) return;
  const changed: string[] = [];
  if (service.scheduler !== observed.scheduler) changed.push('scheduler');
  if (service.flags !== observed.flags) changed.push('flags');
  if (service.timeoutSeconds !== observed.timeoutSeconds) changed.push('persistence timeout');
  if (service.prefixLength !== observed.prefixLength) changed.push('persistence prefix length');
  if (service.engine !== observed.engine) changed.push('persistence engine');
  // From no scheduler to one is cheap and urgent: an interrupted load left it refusing clients.
  const live = service.scheduler !== observed.scheduler && observed.scheduler !== NO_SCHEDULER;
  // The fallback flag goes only after the last real server of weight 0 went, or came back.
  const settling = hashes && (deleting || (observed.flags & ~service.flags & SCHEDULER_FLAG.fallback) !== 0);
  (live || settling ? plan.setSchedulers : plan.setServices).push({ kind: 'setService', service, changed });
}

function planRemoval(key: string, drains: readonly string[], input: IpvsPlanInput, plan: IpvsPlan): void {
  const entry = input.ledger[key];
  if (!entry) return forget(drains, plan);
  if (!mayDelete(input) || input.held?.(key, entry)) return;
  const observed = input.observed.services.get(key);
  if (!observed) {
    // Gone already: then it must not be ours any longer, whatever else fails, for the next one of this key may be somebody else's.
    plan.entries.set(key, null);
    return forget(drains, plan);
  }
  if (!observed.complete) return;
  const kept = new Set(entry.kept ?? []);
  if (kept.size > 0) {
    // Not ours alone: our destinations go, theirs and the service stay.
    for (const destination of observed.destinations.toArray()) {
      if (!kept.has(destinationKey(destination))) plan.delDestinations.push({ kind: 'delDestination', service: observed.service, destination });
    }
  } else {
    plan.delServices.push({ kind: 'delService', service: observed.service });
  }
  plan.gone.push(key);
  forget(drains, plan);
}

function changedFields(a: Destination, b: Destination): string[] {
  const fields = ['method', 'weight', 'upper', 'lower', 'tunnelType', 'tunnelPort', 'tunnelFlags'] as const;
  return fields.filter((f) => a[f] !== b[f]);
}
