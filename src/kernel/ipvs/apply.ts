/**
 * Executes IPVS operations: encodes them into batches, sends, and turns the kernel's refusals into what level-triggered code
 * expects. Knows the order inside what it was given and never changes it; what the order should be is decided in agent/plan.
 */
import { setImmediate } from 'node:timers/promises';
import type { NetlinkConnection } from '../netlink/connection.ts';
import type { Refusal } from '../netlink/refusal.ts';
import { NLM_F } from '../netlink/constants.ts';
import { ERRNO, KernelError, type KernelErrorCode } from '../netlink/errors.ts';
import type { GenericFamily } from '../netlink/genl.ts';
import { BulkEncoder } from './bulk.ts';
import { CHUNK_BYTES, CHUNK_WEIGHT, chunkMessages, operationAt, OperationWeigher, Places } from './chunk.ts';
import { COMMAND } from './constants.ts';
import type { IpvsFailure, IpvsOperation, IpvsWork } from './contract.ts';
import { DestinationSeries, encodeDaemon, encodeDestinationKey, encodeService, encodeServiceKey, encodeTimeouts, LARGEST_MESSAGE } from './encode.ts';
import { CONVERSIONS, permissionDenied, refusalOf, schedulerMissing } from './refusal.ts';
import type { SchedulerLoader } from './scheduler-module.ts';
import { serviceKey, type SyncDaemon } from './types.ts';
import { operationObject, OperationValidator } from './validate.ts';

const COMMANDS: Record<IpvsOperation['kind'], number> = {
  addService: COMMAND.NEW_SERVICE, setService: COMMAND.SET_SERVICE, delService: COMMAND.DEL_SERVICE,
  addDestination: COMMAND.NEW_DEST, setDestination: COMMAND.SET_DEST, delDestination: COMMAND.DEL_DEST,
  setTimeouts: COMMAND.SET_CONFIG, startSync: COMMAND.NEW_DAEMON, stopSync: COMMAND.DEL_DAEMON,
};

export interface ApplyContext {
  readonly connection: NetlinkConnection;
  readonly family: GenericFamily;
  /** What runs now; asked when a daemon of that role is already there. */
  readonly syncDaemons: () => SyncDaemon[];
  readonly schedulers: SchedulerLoader;
  /** Called when a service is IPv6. */
  readonly onIpv6: () => void;
}

/** How long chunks follow one another before the event loop gets its turn, which costs as much as a third of a chunk. */
const TURN_MS = 3;

/** An operation in its converted form, what was asked for, and the place of that in what was given to apply. */
interface Item { readonly index: number; readonly operation: IpvsOperation; readonly original: IpvsOperation }

/** See IpvsClient.apply. Rejects with the signal's reason when aborted between chunks. */
export async function applyOperations(context: ApplyContext, work: readonly IpvsWork[], signal?: AbortSignal): Promise<IpvsFailure[]> {
  const run = new ApplyRun(context, work);
  for (let turn = performance.now(); ;) {
    signal?.throwIfAborted();
    run.chunk();
    if (run.finished) break;
    if (performance.now() - turn < TURN_MS) continue;
    await setImmediate();
    turn = performance.now();
  }
  return run.failures.sort((a, b) => a.index - b.index);
}

/** One walk over a list of work. */
class ApplyRun {
  readonly failures: IpvsFailure[] = [];
  readonly #context: ApplyContext;
  readonly #work: readonly IpvsWork[];
  readonly #validator = new OperationValidator();
  readonly #weigher = new OperationWeigher();
  readonly #series = new DestinationSeries();
  readonly #bulk = new BulkEncoder();
  readonly #weigh = (work: IpvsWork): number => this.#weigher.weigh(work);
  readonly #most: number;
  /** The operations of the chunk, by position of their message. */
  readonly #places: Places;
  /** Services that exist already and get their settings by SET_SERVICE: one a chunk, for it may change a scheduler. */
  readonly #existing: Item[] = [];
  #next = 0;
  /** Row of work[#next], where that is a table. */
  #row = 0;
  /** Weight of the next operation, -1 when not weighed yet: each is weighed once, for the weigher remembers. */
  #nextWeight = -1;
  /** Position of the last setService or delService of each service; made when first asked for. */
  #lastChange: Map<string, number> | undefined;

  constructor(context: ApplyContext, work: readonly IpvsWork[]) {
    this.#context = context;
    this.#work = work;
    this.#most = chunkMessages(context.connection);
    this.#places = new Places(this.#most);
  }

  get finished(): boolean { return this.#next >= this.#work.length && this.#existing.length === 0; }

  /** Encodes, sends and settles the next chunk. */
  chunk(): void {
    const existing = this.#existing.shift();
    if (existing !== undefined) {
      this.#resend([existing]);
      return;
    }
    this.#select();
    const refused = this.#send();
    if (refused.size === 0) return;
    const again: Item[] = [];
    const later = new Map<string, number>();
    for (let position = 0; position < this.#places.length; position++) {
      const { index, operation } = this.#at(position);
      if (operation.kind !== 'addService' && operation.kind !== 'setService') later.set(operationObject(operation), index);
    }
    for (const [position, refusal] of refused) {
      const item = this.#at(position);
      const instead = this.#settle(item, refusal);
      if (instead === null || this.#superseded(item, later)) continue;
      (instead.kind === 'setService' ? this.#existing : again).push({ ...item, operation: instead });
    }
    this.#resend(again);
  }

  /** The operation of a position of the chunk. */
  #at(position: number): Item {
    const index = this.#places.indexes[position]!;
    const operation = operationAt(this.#work[index]!, this.#places.rows[position]!);
    return { index, operation, original: operation };
  }

  /** Encodes the operations of the next chunk into the writer; what is invalid fails here and is not sent. */
  #select(): void {
    const places = this.#places;
    places.length = 0;
    const writer = this.#context.connection.writer.reset();
    let weight = 0;
    while (this.#next < this.#work.length && places.length < this.#most) {
      const work = this.#work[this.#next]!;
      if (work.kind === 'addTable' && this.#row >= work.destinations.length) {
        this.#advance(work);
        continue;
      }
      const operation = operationAt(work, this.#row);
      if (this.#nextWeight < 0) {
        const error = this.#validator.check(operation) ?? this.#unloadable(operation);
        if (error !== null) {
          this.failures.push({ index: this.#next, operation, error });
          this.#advance(work);
          continue;
        }
        this.#nextWeight = this.#weigher.weigh(operation);
      }
      if (places.length > 0 && (weight + this.#nextWeight > CHUNK_WEIGHT || writer.bytesUsed + LARGEST_MESSAGE > CHUNK_BYTES)) break;
      weight += this.#nextWeight;
      this.#encode(operation);
      places.push(this.#next, work.kind === 'addTable' ? this.#row : -1);
      this.#bulk.learn(writer, operation);
      this.#advance(work);
      const room = { messages: this.#most - places.length, weight: CHUNK_WEIGHT - weight, bytes: CHUNK_BYTES - writer.bytesUsed };
      this.#bulk.run(writer, this.#work, this.#next, this.#row, room, this.#weigh, places);
      this.#next = this.#bulk.next;
      this.#row = this.#bulk.row;
      this.#nextWeight = this.#bulk.nextWeight;
      weight += this.#bulk.weight;
    }
  }

  /** To the next row, or behind `work`. */
  #advance(work: IpvsWork): void {
    if (work.kind === 'addTable' && ++this.#row < work.destinations.length) return;
    this.#next++;
    this.#row = 0;
  }

  /** Why an operation's scheduler must not be named, or null. */
  #unloadable(operation: IpvsOperation): KernelError | null {
    if (operation.kind !== 'addService' && operation.kind !== 'setService') return null;
    return this.#context.schedulers.ready(operation.service.scheduler) ? null : schedulerMissing(operation);
  }

  /** Sends the chunk. Returns the refusals by position; where nobody knows what happened, all have failed. */
  #send(): ReadonlyMap<number, Refusal> {
    const { length } = this.#places;
    const lost = (error: KernelError): void => {
      for (let position = 0; position < length; position++) {
        const { index, operation } = this.#at(position);
        this.failures.push({ index, operation, error });
      }
    };
    const refused = this.#transact(lost);
    // ENOENT for everything is also what an id says that the kernel no longer knows.
    const stale = refused.size > 0 && refused.size === length && [...refused.values()].every((r) => r.errno === ERRNO.ENOENT);
    if (!stale || !this.#context.family.refresh()) return refused;
    this.#bulk.forget();
    this.#context.connection.writer.reset();
    for (let position = 0; position < length; position++) this.#encode(this.#at(position).operation);
    return this.#transact(lost);
  }

  /** One batch; once more when its answers were lost, for every operation may be repeated. `lost` is told when they were lost again. */
  #transact(lost: (error: KernelError) => void): ReadonlyMap<number, Refusal> {
    const { connection } = this.#context;
    for (let attempt = 1; ; attempt++) {
      try {
        return connection.transact(connection.writer).refused;
      } catch (error) {
        if (!(error instanceof KernelError) || error.code === 'SYSTEM_CALL' || error.code === 'PERMISSION_DENIED') throw error;
        if (attempt < 2) continue;
        lost(error);
        return new Map();
      }
    }
  }

  /** What a refusal means: an operation to try instead, or null when it is settled (as success or as a failure). */
  #settle({ index, operation }: Item, refusal: Refusal): IpvsOperation | null {
    if (refusal.errno === ERRNO.EPERM) throw permissionDenied(operation);
    const conversion = CONVERSIONS[operation.kind][refusal.errno];
    switch (conversion) {
      case 'done': return null;
      case 'setService': case 'setDestination': return { ...operation, kind: conversion, changed: [] } as unknown as IpvsOperation;
      case 'addDestination': return { ...operation, kind: conversion } as unknown as IpvsOperation;
      case 'restartSync': return this.#restartSync(index, operation as Extract<IpvsOperation, { kind: 'startSync' }>);
      default:
        this.failures.push({ index, operation, error: refusalOf(operation, refusal, conversion) });
        return null;
    }
  }

  /** A daemon of that role runs. With the same settings that is success; otherwise it is stopped, to be started again. */
  #restartSync(index: number, operation: Extract<IpvsOperation, { kind: 'startSync' }>): IpvsOperation | null {
    const wanted = operation.daemon;
    const running = this.#context.syncDaemons().find((daemon) => daemon.role === wanted.role);
    if (running === undefined) return operation;
    if (sameDaemon(wanted, running)) return null;
    const stop: Item = { index, operation: { kind: 'stopSync', daemon: running }, original: operation };
    const failures = this.failures.length;
    this.#resend([stop]);
    return this.failures.length === failures ? operation : null;
  }

  /** Operations in their converted form, once. What is refused again has lost a race with somebody else, or is impossible. */
  #resend(items: readonly Item[]): void {
    if (items.length === 0) return;
    this.#context.connection.writer.reset();
    for (const { operation } of items) this.#encode(operation);
    const lost = (error: KernelError): void => {
      for (const { index, original } of items) this.failures.push({ index, operation: original, error });
    };
    for (const [position, refusal] of this.#transact(lost)) {
      const { index, operation, original } = items[position]!;
      if (refusal.errno === ERRNO.EPERM) throw permissionDenied(operation);
      const conversion = CONVERSIONS[operation.kind][refusal.errno];
      if (conversion === 'done') continue;
      const code: KernelErrorCode | undefined = conversion === 'SERVICE_GONE' || conversion === 'MODULE_MISSING' ? conversion : undefined;
      this.failures.push({ index, operation: original, error: refusalOf(operation, refusal, code) });
    }
  }

  /**
   * Whether a later operation settles the same thing anyway, so that repeating this one after its chunk would undo it.
   * `addService` with scheduler none on a live service is the case that matters: SET(none) must not follow SET(mh).
   * `later` has the last operation of the chunk on each destination, and the last removal of each service.
   */
  #superseded({ index, operation }: Item, later: ReadonlyMap<string, number>): boolean {
    if (operation.kind === 'addService') {
      this.#lastChange ??= lastChanges(this.#work);
      return (this.#lastChange.get(serviceKey(operation.service)) ?? -1) > index;
    }
    return (later.get(operationObject(operation)) ?? -1) > index
      || ('destination' in operation && (later.get(serviceKey(operation.service)) ?? -1) > index);
  }

  #encode(operation: IpvsOperation): void {
    const { connection: { writer }, family: { id } } = this.#context;
    const { kind } = operation;
    const command = COMMANDS[kind];
    if (kind === 'addDestination' || kind === 'setDestination') return this.#series.write(writer, id, command, operation.service, operation.destination);
    writer.message(id, NLM_F.REQUEST).generic(command);
    switch (kind) {
      case 'delDestination':
        encodeServiceKey(writer, operation.service);
        return encodeDestinationKey(writer, operation.destination);
      case 'addService': case 'setService':
        if (operation.service.family === 'IPv6') this.#context.onIpv6();
        return encodeService(writer, operation.service);
      case 'delService': return encodeServiceKey(writer, operation.service);
      case 'setTimeouts': return encodeTimeouts(writer, operation.timeouts);
      case 'startSync': case 'stopSync': return encodeDaemon(writer, operation.daemon);
    }
  }
}

function lastChanges(work: readonly IpvsWork[]): Map<string, number> {
  const last = new Map<string, number>();
  for (const [i, operation] of work.entries()) {
    if (operation.kind === 'setService' || operation.kind === 'delService') last.set(serviceKey(operation.service), i);
  }
  return last;
}

/** Whether a running daemon is what is wanted; 0 and '' want whatever the kernel chose. */
function sameDaemon(wanted: SyncDaemon, running: SyncDaemon): boolean {
  return wanted.interface === running.interface && wanted.syncId === running.syncId && wanted.group === running.group
    && (wanted.maxLength === 0 || wanted.maxLength === running.maxLength)
    && (wanted.port === 0 || wanted.port === running.port) && (wanted.ttl === 0 || wanted.ttl === running.ttl);
}
