/**
 * The short way of apply for its largest work, a first load: services that are alike but for address and port, each followed by its
 * table, and for removing rows. It checks and encodes them in one loop, as copies of messages that the long way made, because what takes the time of
 * a first load is code that never ran before: fewer calls, no object, no text. Whatever is not of that kind it leaves to the long way.
 */
import type { MessageWriter } from '../netlink/writer.ts';
import { ipv4Word, swap16 } from './address-words.ts';
import type { Places } from './chunk.ts';
import type { IpvsOperation, IpvsWork } from './contract.ts';
import { DestinationRow, isPlainRow, ROW } from './destinations.ts';
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
  /** Where the last run stopped: an index into the work, and a row where that is a table. */
  next = 0;
  row = 0;
  /** Weight of what the last run took. */
  weight = 0;
  /** Weight of the operation before which the last run stopped, if it was asked for: weighing has a memory. Otherwise -1. */
  nextWeight = -1;

  /** Keeps the last message of `writer`, which the long way made of `operation`, if it can be copied for others of its kind. */
  learn(writer: MessageWriter, operation: IpvsOperation): void {
    const { kind } = operation;
    if (kind === 'addService' || kind === 'setService') {
      if (isPlainService(operation.service)) this.#services[kind] = keyed(writer.lastMessage(), operation.service);
    } else if (kind === 'addDestination' || kind === 'delDestination') {
      const { service, destination } = operation;
      if (!(destination instanceof DestinationRow) || !isPlainRow(destination.words, destination.at) || !isPlainService(service)) return;
      const template = keyed(writer.lastMessage(), service);
      this.#rows[kind] = template && { ...template, keyOf: null, weight: 0 };
    }
  }

  /** After the family's id changed, what was learnt is wrong. */
  forget(): void {
    this.#services.addService = this.#services.setService = null;
    this.#rows.addDestination = this.#rows.delDestination = null;
  }

  /**
   * Appends the messages of `work` from index `from` and row `row` on, as far as they are of the kind and fit, and tells `places`.
   * `weigh` is asked once for each service and once for the rows of each. `next`, `row`, `weight` and `nextWeight` tell the rest.
   */
  run(writer: MessageWriter, work: readonly IpvsWork[], from: number, row: number, room: Room, weigh: (work: IpvsWork) => number, places: Places): void {
    const { words } = writer;
    const start = writer.position;
    const limit = start + (room.bytes >>> 2);
    const first = places.length;
    const most = first + room.messages;
    let at = start;
    let last = start;
    this.next = from;
    this.row = row;
    this.weight = 0;
    this.nextWeight = -1;
    for (; places.length < most && this.next < work.length; this.next++) {
      const item = work[this.next]!;
      const { kind } = item;
      if (kind === 'addTable') {
        const { service, destinations } = item;
        const template = this.#rows.addDestination;
        if (template === null || (service !== template.keyOf && !rekey(template, item, weigh))) break;
        const { message, weight } = template;
        const { length } = message;
        const rows = destinations.words;
        const mostHere = Math.min(
          destinations.length - this.row,
          most - places.length,
          Math.floor((room.weight - this.weight) / weight),
          Math.floor((limit - at) / length),
        );
        let taken = 0;
        for (let r = this.row * ROW; taken < mostHere && isSoundRow(service, rows, r); taken++, r += ROW) {
          words.set(message, at);
          last = at;
          at += length;
          putDestination(words, at, rows, r);
          places.push(this.next, this.row + taken);
        }
        this.weight += taken * weight;
        this.row += taken;
        if (this.row < destinations.length) break;
        this.row = 0;
      } else if (kind === 'addDestination' || kind === 'delDestination') {
        const { service, destination } = item;
        const template = this.#rows[kind];
        if (template === null || !(destination instanceof DestinationRow)) break;
        if (service !== template.keyOf && !rekey(template, item, weigh)) break;
        const { message } = template;
        if (!isSoundRow(service, destination.words, destination.at) || this.weight + template.weight > room.weight || at + message.length > limit) break;
        this.weight += template.weight;
        words.set(message, at);
        last = at;
        at += message.length;
        if (kind === 'delDestination') {
          words[at - KEY_FROM_END.address] = destination.words[destination.at + 1]!;
          words[at - KEY_FROM_END.port] = swap16(destination.words[destination.at]! & 0xffff);
        } else {
          putDestination(words, at, destination.words, destination.at);
        }
        places.push(this.next, -1);
      } else if (kind === 'addService' || kind === 'setService') {
        const template = this.#services[kind];
        if (template === null || !alike(item.service, template.service) || at + template.message.length > limit) break;
        const weight = weigh(item);
        if (this.weight + weight > room.weight) {
          this.nextWeight = weight;
          break;
        }
        this.weight += weight;
        words.set(template.message, at);
        writeKey(words, at, item.service);
        last = at;
        at += template.message.length;
        places.push(this.next, -1);
      } else {
        break;
      }
    }
    if (places.length > first) writer.advance(places.length - first, last, at);
  }
}

/** The values of a row into the message that ends at word `end`. */
function putDestination(words: Uint32Array, end: number, row: Uint32Array, r: number): void {
  words[end - DESTINATION_FROM_END.address] = row[r + 1]!;
  words[end - DESTINATION_FROM_END.port] = swap16(row[r]! & 0xffff);
  words[end - DESTINATION_FROM_END.method] = row[r + 5]! & 0xff;
  words[end - DESTINATION_FROM_END.weight] = row[r + 6]!;
  words[end - DESTINATION_FROM_END.upper] = row[r + 7]!;
  words[end - DESTINATION_FROM_END.lower] = row[r + 8]!;
}

type RowWork = Extract<IpvsWork, { kind: 'addTable' | 'addDestination' | 'delDestination' }>;

/** Puts the key of another service into the template. False when it is none for that service. */
function rekey(template: RowTemplate, operation: RowWork, weigh: (work: IpvsWork) => number): boolean {
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
