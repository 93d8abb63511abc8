/**
 * The short way of apply for its largest work, a first load: services that are alike but for address and port, each followed by rows
 * of its table, and for removing rows. It checks and encodes them in one loop, as copies of messages that the long way made, because what takes the time of
 * a first load is code that never ran before: fewer calls, no object, no text. Whatever is not of that kind it leaves to the long way.
 */
import type { MessageWriter } from '../netlink/writer.ts';
import { ipv4Word, swap16 } from './address-words.ts';
import type { IpvsOperation } from './contract.ts';
import { DestinationRow, isPlainRow } from './destinations.ts';
import { DESTINATION_FROM_END, KEY_FROM_END, SERVICE_FROM_START } from './encode.ts';
import type { Service } from './types.ts';
import { isSoundRow } from './validate.ts';

/** A message of the long way, to be copied. */
interface Template {
  readonly message: Uint32Array;
  readonly service: Service;
}

/** A message about a destination, and the service whose key it has now, with what each of its rows weighs. */
interface RowTemplate extends Template {
  keyOf: Service | null;
  weight: number;
}

/** Where and how much a run may write. */
export interface Room {
  readonly messages: number;
  readonly weight: number;
  readonly bytes: number;
}

export class BulkEncoder {
  readonly #services: Record<'addService' | 'setService', Template | null> = { addService: null, setService: null };
  /** Messages with a destination, with what was last put into them. */
  readonly #rows: Record<'addDestination' | 'delDestination', RowTemplate | null> = { addDestination: null, delDestination: null };
  /** Weight of what the last run took. */
  weight = 0;
  /** Weight of the operation before which the last run stopped, if it was asked for: weighing has a memory. Otherwise -1. */
  nextWeight = -1;

  /** Keeps the last message of `writer`, which the long way made of `operation`, if it can be copied for others of its kind. */
  learn(writer: MessageWriter, operation: IpvsOperation): void {
    const { kind } = operation;
    if (kind === 'addService' || kind === 'setService') {
      if (isPlainService(operation.service)) this.#services[kind] = keyed(writer.lastMessage(), operation.service);
    } else if ((kind === 'addDestination' || kind === 'delDestination') && operation.destination instanceof DestinationRow && isPlainRow(operation.destination) && isPlainService(operation.service)) {
      const template = keyed(writer.lastMessage(), operation.service);
      this.#rows[kind] = template && { ...template, keyOf: null, weight: 0 };
    }
  }

  /** After the family's id changed, what was learnt is wrong. */
  forget(): void {
    this.#services.addService = this.#services.setService = null;
    this.#rows.addDestination = this.#rows.delDestination = null;
  }

  /**
   * Appends the messages of `operations` from index `from` on, as far as they are of the kind and fit; their indexes go to `chunk`.
   * `weigh` is asked once for each service and once for the rows of each. Returns how many; `weight` and `nextWeight` tell the rest.
   */
  run(writer: MessageWriter, operations: readonly IpvsOperation[], from: number, room: Room, weigh: (operation: IpvsOperation) => number, chunk: number[]): number {
    const { words } = writer;
    const start = writer.position;
    const limit = start + (room.bytes >>> 2);
    const most = Math.min(room.messages, operations.length - from);
    let at = start;
    let last = start;
    let count = 0;
    this.weight = 0;
    this.nextWeight = -1;
    for (; count < most; count++) {
      const operation = operations[from + count]!;
      const { kind } = operation;
      if (kind === 'addDestination' || kind === 'delDestination') {
        const { service, destination } = operation;
        const template = this.#rows[kind];
        if (template === null || !(destination instanceof DestinationRow)) break;
        if (service !== template.keyOf && !rekey(template, operation, weigh)) break;
        const { message } = template;
        if (!isSoundRow(service, destination) || this.weight + template.weight > room.weight || at + message.length > limit) break;
        this.weight += template.weight;
        words.set(message, at);
        last = at;
        at += message.length;
        const row = destination.words;
        const r = destination.at;
        if (kind === 'delDestination') {
          words[at - KEY_FROM_END.address] = row[r + 1]!;
          words[at - KEY_FROM_END.port] = swap16(row[r]! & 0xffff);
        } else {
          words[at - DESTINATION_FROM_END.address] = row[r + 1]!;
          words[at - DESTINATION_FROM_END.port] = swap16(row[r]! & 0xffff);
          words[at - DESTINATION_FROM_END.method] = row[r + 5]! & 0xff;
          words[at - DESTINATION_FROM_END.weight] = row[r + 6]!;
          words[at - DESTINATION_FROM_END.upper] = row[r + 7]!;
          words[at - DESTINATION_FROM_END.lower] = row[r + 8]!;
        }
      } else if (kind === 'addService' || kind === 'setService') {
        const template = this.#services[kind];
        if (template === null || !alike(operation.service, template.service) || at + template.message.length > limit) break;
        const weight = weigh(operation);
        if (this.weight + weight > room.weight) {
          this.nextWeight = weight;
          break;
        }
        this.weight += weight;
        words.set(template.message, at);
        writeKey(words, at, operation.service);
        last = at;
        at += template.message.length;
      } else {
        break;
      }
      chunk.push(from + count);
    }
    if (count > 0) writer.advance(count, last, at);
    return count;
  }
}

/** Puts the key of another service into the template. False when it is none for that service. */
function rekey(template: RowTemplate, operation: Extract<IpvsOperation, { kind: 'addDestination' | 'delDestination' }>, weigh: (operation: IpvsOperation) => number): boolean {
  const { service } = operation;
  if (!isPlainService(service) || service.protocol !== template.service.protocol) return false;
  writeKey(template.message, 0, service);
  template.keyOf = service;
  template.weight = weigh(operation);
  return true;
}

/** IPv4, no fwmark, a port, and an address that a host can have: only those differ from one another in two words. */
function isPlainService(service: Service): boolean {
  if (service.family !== 'IPv4' || service.fwmark !== 0 || service.port <= 0 || service.port > 0xffff || !Number.isInteger(service.port)) return false;
  const word = ipv4Word(service.address);
  const first = word & 0xff;
  return word >= 0 && first > 0 && first < 224;
}

/** Whether a service is sound because another one is: everything but address and port is the same. */
function alike(service: Service, sound: Service): boolean {
  return service.scheduler === sound.scheduler && service.flags === sound.flags && service.protocol === sound.protocol
    && service.timeoutSeconds === sound.timeoutSeconds && service.prefixLength === sound.prefixLength && service.engine === sound.engine
    && isPlainService(service);
}

function writeKey(words: Uint32Array, at: number, service: Service): void {
  words[at + SERVICE_FROM_START.address] = ipv4Word(service.address);
  words[at + SERVICE_FROM_START.port] = swap16(service.port);
}

/** A template, if its key is where it should be. */
function keyed(message: Uint32Array, service: Service): Template | null {
  const right = message[SERVICE_FROM_START.address] === ipv4Word(service.address) && message[SERVICE_FROM_START.port] === swap16(service.port);
  return right ? { message, service } : null;
}
