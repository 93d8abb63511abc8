/**
 * What the rest of the house may ask of IPVS: the whole contract, with every failure mode. client.ts is the real one.
 * Above this line nobody knows netlink; below it nobody knows manifests.
 */
import type { DestinationTable } from './destinations.ts';
import type { KernelError } from '../netlink/errors.ts';
import type { Destination, Service, SyncDaemon, Timeouts } from './types.ts';

/** One change of the IPVS table. A plain value; agent/operation.ts prints it. */
export type IpvsOperation =
  | { readonly kind: 'addService'; readonly service: Service }
  /** Every field is sent (the kernel's SET is a PUT). `changed` names the fields that differ, for people. */
  | { readonly kind: 'setService'; readonly service: Service; readonly changed: readonly string[] }
  | { readonly kind: 'delService'; readonly service: Service }
  | { readonly kind: 'addDestination'; readonly service: Service; readonly destination: Destination }
  | { readonly kind: 'setDestination'; readonly service: Service; readonly destination: Destination; readonly changed: readonly string[] }
  | { readonly kind: 'delDestination'; readonly service: Service; readonly destination: Destination }
  | { readonly kind: 'setTimeouts'; readonly timeouts: Timeouts }
  | { readonly kind: 'startSync'; readonly daemon: SyncDaemon }
  | { readonly kind: 'stopSync'; readonly daemon: SyncDaemon };

/**
 * Every row of a table, added to a service: what a first load consists of. One value instead of one a row, because ten thousand of
 * those cost more time, in garbage collection, than writing their messages does. unfold() makes single operations of it.
 */
export interface TableAddition { readonly kind: 'addTable'; readonly service: Service; readonly destinations: DestinationTable }

/** What apply takes. */
export type IpvsWork = IpvsOperation | TableAddition;

/** By serviceKey(). */
export type Expected = ReadonlyMap<string, ExpectedService>;
export interface ExpectedService { readonly service: Service; readonly destinations: DestinationTable }

/** One service as the kernel has it. */
export interface ObservedService {
  readonly service: Service;
  readonly destinations: DestinationTable;
  /** False when the destinations could not be read whole: permits additions, never deletions. */
  readonly complete: boolean;
}

export interface IpvsObservation {
  /** By serviceKey(). */
  readonly services: Map<string, ObservedService>;
  /** False when the list of services may miss some (interrupted, truncated, error): permits additions, never deletions. */
  readonly complete: boolean;
  /** Services of protocols that we have no word for (the kernel accepts any number), as text. Never ours, never touched. */
  readonly skipped?: readonly string[];
}

/** 64-bit statistics of a service (IPVS_SVC_ATTR_STATS64). */
export interface ServiceStatistics {
  readonly connections: bigint;
  readonly inPackets: bigint; readonly outPackets: bigint;
  readonly inBytes: bigint; readonly outBytes: bigint;
}

export interface IpvsCapabilities {
  readonly kernel: string;
  /** Version as IPVS reports it, '1.2.1'; null when the module is absent. */
  readonly version: string | null;
  readonly connectionTableSize: number;
  /** Schedulers that answered the probe, 'none' included where the kernel knows it. */
  readonly schedulers: ReadonlySet<string>;
  readonly engines: ReadonlySet<string>;
  readonly tunnelTypes: ReadonlySet<string>;
  readonly ipv6: boolean;
  readonly stats64: boolean;
}

export interface IpvsClient {
  /**
   * Executes operations in order, in chunks of at most 64 KiB with a yield to the event loop between them, one ACK a chunk.
   * Converts what level-triggered code expects: add of an existing thing becomes set, set of a missing destination becomes add,
   * delete of a missing thing succeeds. A service that vanished under its destinations fails with code SERVICE_GONE; the
   * next reconcile re-creates it whole. Returns the failures only; throws KernelError only for what makes every operation
   * fail (EPERM, no ip_vs module). Aborting stops between chunks. A row of a table fails alone, as the addDestination that it is.
   */
  apply(work: readonly IpvsWork[], signal?: AbortSignal): Promise<IpvsFailure[]>;

  /**
   * Everything in this network namespace. Yields every few milliseconds. `expected`, by serviceKey(): what is thought to be there.
   * Where the kernel has the same (connection counters aside), the answer holds the very objects of `expected`, or of the answer before:
   * so a table that nobody touched costs neither memory nor time to compare. The answer is not to be changed. IPv6 services of others,
   * which only a dump of all shows, are then looked for now and then while nobody has seen one.
   */
  readAll(signal?: AbortSignal, expected?: Expected): Promise<IpvsObservation>;
  /**
   * The same for who has something more urgent to do in between: the list at once, the services piece by piece. May be left at any point,
   * and others may be begun meanwhile.
   */
  walk(expected: Expected): IpvsWalk;
  /** Only these services; a missing one is absent from the result. Synchronous: one or two round trips a service. */
  read(services: readonly Service[]): IpvsObservation;
  /**
   * A cheap fingerprint of the list of services (keys, schedulers, flags, numbers of destinations), for the drift probe of
   * every second: two equal values mean that no service appeared, vanished or lost destinations. IPv6 is
   * looked at once this client saw or added an IPv6 service, and destinations are counted for the first 128 of them
   * (fingerprint.ts says why). It begins with how many services that were: servicesIn().
   */
  fingerprint(): string;

  timeouts(): Timeouts;
  syncDaemons(): SyncDaemon[];
  /**
   * Counters of all services, with turns of the event loop in between: 4 µs a service add up. One at a time. Rejects with the signal's
   * reason, and KernelError.
   */
  statistics(signal: AbortSignal): Promise<Map<string, ServiceStatistics>>;
  /**
   * What this kernel can do. `schedulers` names those worth asking for (all known if absent). Remembered, the same value again and again;
   * what was missing is asked for once more when its module has been loaded since.
   */
  capabilities(schedulers?: readonly string[]): IpvsCapabilities;
  close(): void;
}

/** A reading of everything in pieces. Whatever happens between two of them, each piece is what the kernel has when it is read. */
export interface IpvsWalk {
  /** As of IpvsObservation, for the list of services, which was read when the walk began. */
  readonly complete: boolean;
  readonly skipped: readonly string[];
  /** The next few services, by key, in a millisecond or so; those that are gone by now are left out. Null after the last. */
  readonly next: () => ReadonlyMap<string, ObservedService> | null;
}

export interface IpvsFailure {
  /** Index into the work given to apply. */
  readonly index: number;
  readonly operation: IpvsOperation;
  readonly error: KernelError;
}
