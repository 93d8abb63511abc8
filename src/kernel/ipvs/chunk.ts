/**
 * Cuts a list of operations into batches: no more bytes than one send should have, no more work than the event loop should
 * wait for. Decides sizes only; apply.ts sends them.
 */
import type { NetlinkConnection } from '../netlink/connection.ts';
import type { IpvsOperation } from './contract.ts';
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

  weigh(operation: IpvsOperation): number {
    switch (operation.kind) {
      case 'addDestination': case 'setDestination': case 'delDestination': {
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

/** Most messages in a chunk, so that even if all are refused every answer fits into the receive buffer. */
export function chunkMessages(connection: NetlinkConnection): number {
  return Math.max(1, Math.min(CHUNK_WEIGHT, connection.maximumBatch));
}
