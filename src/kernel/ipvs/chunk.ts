/**
 * Cuts a list of operations into batches: no more bytes than one send should have, no more work than the event loop should
 * wait for. Decides sizes only; apply.ts sends them.
 */
import type { NetlinkConnection } from '../netlink/connection.ts';
import type { IpvsOperation, IpvsWork } from './contract.ts';
import { NO_SCHEDULER, serviceKey, type Service } from './types.ts';

/** Bytes: throughput no longer grows above, the kernel spends 1 to 3 ms on it. */
export const CHUNK_BYTES = 60 * 1024;
/** What a chunk may weigh. A destination costs the kernel 1.3 to 2 µs, and weighs 1. */
export const CHUNK_WEIGHT = 512;
/** mh builds a table of 4093 slots anew for each change of a live service: 0.1 to 0.25 ms. */
export const MH_WEIGHT = 16;

/** Weighs operations one after the other, remembering which services have no scheduler yet. */
export class OperationWeigher {
  /** Keys of services that an operation of this apply created or left without a scheduler: changing them is cheap. */
  readonly #idle = new Set<string>();
  #lastService: Service | undefined;
  #lastWeight = 1;

  /** A table weighs what one of its rows does. */
  weigh(operation: IpvsWork): number {
    switch (operation.kind) {
      case 'addTable': case 'addDestination': case 'setDestination': case 'delDestination': {
        const { service } = operation;
        if (service.scheduler !== 'mh') return 1;
        if (service !== this.#lastService) {
          this.#lastService = service;
          this.#lastWeight = this.#idle.has(serviceKey(service)) ? 1 : MH_WEIGHT;
        }
        return this.#lastWeight;
      }
      case 'addService': case 'setService': return this.#weighService(operation.service, operation.kind === 'addService', operation);
      case 'delService': return 1;
      // Each starts or stops a kernel thread, or walks every protocol: rare enough to stand alone.
      case 'setTimeouts': case 'startSync': case 'stopSync': return CHUNK_WEIGHT;
    }
  }

  #weighService(service: Service, isNew: boolean, operation: IpvsOperation): number {
    this.#lastService = undefined;
    if (service.scheduler === NO_SCHEDULER) {
      this.#idle.add(serviceKey(service));
      // Taking the scheduler from a live service waits for an RCU grace period, like any change of it.
      return !isNew && changesScheduler(operation) ? CHUNK_WEIGHT : 1;
    }
    const wasIdle = this.#idle.size > 0 && this.#idle.delete(serviceKey(service));
    if (!isNew && !wasIdle && changesScheduler(operation)) return CHUNK_WEIGHT;
    return service.scheduler === 'mh' ? MH_WEIGHT : 1;
  }
}

function changesScheduler(operation: IpvsOperation): boolean {
  return operation.kind === 'setService' && operation.changed.includes('scheduler');
}

/**
 * What each message of a chunk came from: an index into the work, and the row where that is a table, otherwise -1. Numbers, in
 * arrays that are reused: objects would cost a garbage collection each chunk.
 */
export class Places {
  readonly indexes: Int32Array;
  readonly rows: Int32Array;
  length = 0;

  constructor(most: number) {
    this.indexes = new Int32Array(most);
    this.rows = new Int32Array(most);
  }

  push(index: number, row: number): void {
    this.indexes[this.length] = index;
    this.rows[this.length++] = row;
  }
}

/** Row `row` of a piece of work as an operation of its own; what is no table is one. */
export function operationAt(work: IpvsWork, row: number): IpvsOperation {
  return work.kind === 'addTable' ? { kind: 'addDestination', service: work.service, destination: work.destinations.row(row) } : work;
}

/** Most messages in a chunk, so that even if all are refused every answer fits into the receive buffer. */
export function chunkMessages(connection: NetlinkConnection): number {
  return Math.max(1, Math.min(CHUNK_WEIGHT, connection.maximumBatch));
}
