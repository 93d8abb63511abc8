/**
 * Reads IPVS back: netlink for everything, getsockopt where it says the same faster. What matters is never to call a partial
 * picture complete: dumps of this family lose entries when others are deleted meanwhile, and do not tell.
 * Reports what is there; compares nothing.
 */
import { setImmediate } from 'node:timers/promises';
import { AF } from '../netlink/libc.ts';
import type { NetlinkConnection } from '../netlink/connection.ts';
import { ERRNO, KernelError } from '../netlink/errors.ts';
import type { GenericFamily } from '../netlink/genl.ts';
import { COMMAND } from './constants.ts';
import type { Expected, IpvsObservation, IpvsWalk, ObservedService } from './contract.ts';
import { decodeDestination, decodeService, RowBuffer, skimService, type DecodedService } from './decode.ts';
import { compareKeys, DestinationTable } from './destinations.ts';
import { encodeServiceKey } from './encode.ts';
import type { DumpedTables } from './dumped-tables.ts';
import type { ListedService, SockoptReader } from './sockopt.ts';
import { serviceKey, type Service } from './types.ts';

/** Attempts to get the same answer twice from dumps that others may have disturbed. */
const ATTEMPTS = 4;
/** The clock is looked at after so many services; the event loop gets its turn when as many milliseconds have passed. */
const SLICE = 64;
const TURN_MS = 5;
/** Lists by getsockopt alone between two that ask netlink as well: with a read-back every ten seconds, a minute. */
const LISTS_PER_DUMP = 5;
const NOT_KNOWN = -1;

interface Slot { readonly listed: Listed; readonly observed: ObservedService }
interface Walk extends IpvsWalk {
  /** Reads some more services; false after the last. */
  readonly advance: () => boolean;
  readonly answer: () => IpvsObservation;
}
interface Listed { service: Service; readonly key: string; readonly destinations: number }
export interface ServiceList {
  readonly services: readonly Listed[];
  /** Whether `services[i]` is service `i` of getsockopt. */
  readonly plain: boolean;
  readonly complete: boolean;
  /** Services that we have no words for. */
  readonly skipped: string[];
}

export class IpvsReader {
  readonly #connection: NetlinkConnection;
  readonly #family: GenericFamily;
  /** Null: netlink only. */
  readonly #sockopt: SockoptReader | null;
  /** Null: each service by itself. */
  readonly #dumped: DumpedTables | null;
  readonly #rows = new RowBuffer();
  #sinceDump = 0;
  /** What the last readAll with an expectation answered, whole, and by place in the list. */
  #last = new Map<string, ObservedService>();
  readonly #slots: (Slot | undefined)[] = [];
  /** Whether a walk with an expectation began after `#last` was made: then the places are newer than that. */
  #torn = false;
  /** How many walks began. */
  #walks = 0;
  /** Whether an IPv6 service was seen by the last list, or may have been added since. */
  mayHaveIpv6 = true;

  constructor(connection: NetlinkConnection, family: GenericFamily, sockopt: SockoptReader | null, dumped: DumpedTables | null) {
    this.#connection = connection;
    this.#family = family;
    this.#sockopt = sockopt;
    this.#dumped = dumped;
  }

  /** See IpvsClient.readAll. */
  async readAll(signal?: AbortSignal, expected?: Expected): Promise<IpvsObservation> {
    const walk = this.walk(expected);
    let turn = performance.now();
    while (walk.advance()) {
      if (performance.now() - turn <= TURN_MS) continue;
      await setImmediate();
      signal?.throwIfAborted();
      turn = performance.now();
    }
    return walk.answer();
  }

  /** See IpvsClient.walk; `answer` is readAll's. */
  walk(expected?: Expected): Walk {
    const list = (expected && this.#listAgain()) ?? this.list();
    const slots: (Slot | undefined)[] = expected ? this.#slots : [];
    let changed = this.#torn || slots.length !== list.services.length;
    slots.length = list.services.length;
    // What remembers places in the list is good for the newest walk only.
    const mine = ++this.#walks;
    if (expected) this.#torn = true;
    // Only what is expected to be known already is worth more than one way to read it.
    const dumped = expected !== undefined && this.#dumped?.pays(list.services.length, list.plain) ? this.#dumped : null;
    /** What the list does not tell, the reading before does. */
    const destinationsOf = (i: number): number => {
      const { key, destinations } = list.services[i]!;
      return destinations !== NOT_KNOWN ? destinations : slots[i]?.listed.key === key ? slots[i].observed.destinations.length : NOT_KNOWN;
    };
    let next = 0;
    const advance = (found?: Map<string, ObservedService>): boolean => {
      const newest = mine === this.#walks;
      let dumpedTo = next;
      for (const end = Math.min(next + SLICE, list.services.length); next < end; next++) {
        if (dumped !== null && newest && next === dumpedTo) dumpedTo = dumped.read(list.services, next, end, destinationsOf);
        const isDumped = next < dumpedTo && dumped!.has(next);
        /** As far as that can be told cheaply. */
        const is = (table: DestinationTable): boolean => isDumped ? dumped!.is(next, table) : list.plain && this.#sockopt!.destinationsAgain(next, table) === table;
        const listed = list.services[next]!;
        const slot = newest ? slots[next] : undefined;
        const wish = expected?.get(listed.key);
        // Connections are not compared, so what was read before may be old there: it will do where nothing is to change, and nobody asks for them.
        const settled = wish === undefined || wish.destinations === slot?.observed.destinations;
        if (slot?.listed === listed && settled && is(slot.observed.destinations)) {
          found?.set(listed.key, slot.observed);
          continue;
        }
        changed = true;
        const same = wish !== undefined && sameService(listed.service, wish.service);
        // The same value, once in memory.
        if (same) listed.service = wish.service;
        const observed = same && newest && is(wish.destinations)
          ? { service: wish.service, destinations: wish.destinations, complete: true }
          : isDumped ? { service: listed.service, destinations: dumped!.table(next), complete: true } : this.#observe(listed.service, listed.destinations);
        if (newest) slots[next] = observed === null ? undefined : { listed, observed };
        if (observed !== null) found?.set(listed.key, observed);
      }
      return next < list.services.length;
    };
    return {
      complete: list.complete, skipped: list.skipped, advance,
      next: () => {
        if (next >= list.services.length) return null;
        const found = new Map<string, ObservedService>();
        advance(found);
        return found;
      },
      answer: () => {
        const whole = mine === this.#walks;
        const services = changed || !whole ? new Map<string, ObservedService>() : this.#last;
        if (services !== this.#last) for (const slot of slots) if (slot !== undefined) services.set(slot.listed.key, slot.observed);
        if (expected && whole) {
          this.#last = services;
          this.#torn = false;
        }
        return { services, complete: list.complete && whole, skipped: list.skipped };
      },
    };
  }

  /**
   * What getsockopt says, which is atomic and whole as long as there is nothing but IPv4 services without engines. Null when there may
   * be more, or when it was not looked for long enough.
   */
  #listAgain(): ServiceList | null {
    if (this.#sockopt === null || this.mayHaveIpv6 || this.#sinceDump++ >= LISTS_PER_DUMP) return null;
    return plainList(this.#sockopt.services());
  }

  /** See IpvsClient.read. */
  read(wanted: readonly Service[]): IpvsObservation {
    const services = new Map<string, ObservedService>();
    for (const key of wanted) {
      const listed = this.#find(key);
      if (listed?.service.family === 'IPv6') this.mayHaveIpv6 = true;
      const observed = listed === null ? null : this.#observe(listed.service, listed.destinations);
      if (observed !== null) services.set(serviceKey(key), observed);
    }
    return { services, complete: true };
  }

  /** All services with the numbers of their destinations, as far as the kernel tells them. */
  list(): ServiceList {
    for (let attempt = 1; ; attempt++) {
      const listed = this.#sockopt === null ? null : this.#listFast(this.#sockopt);
      const list = listed ?? this.#listByNetlink();
      if (!list.complete && attempt < ATTEMPTS) continue;
      this.mayHaveIpv6 = !list.complete || list.services.some(({ service }) => service.family === 'IPv6');
      return list;
    }
  }

  /** IPv4 from getsockopt, which is atomic; IPv6 and persistence engines from a dump. Null when getsockopt does not answer. */
  #listFast(sockopt: SockoptReader): ServiceList | null {
    const v4 = sockopt.services();
    if (v4 === null) return null;
    const first = this.#dumpServices();
    this.#sinceDump = 0;
    const engines = new Map<string, string>();
    const services: Listed[] = [];
    const skipped: string[] = [];
    const add = (service: DecodedService, destinations: number): void => {
      if ('unknown' in service) skipped.push(service.unknown);
      else services.push({ service, key: serviceKey(service), destinations });
    };
    for (const service of first.decoded) {
      if (service.family === 'IPv6') add(service, NOT_KNOWN);
      else if (!('unknown' in service)) engines.set(serviceKey(service), service.engine);
    }
    let complete = first.complete && first.v4 === v4.length && sockopt.count() === v4.length;
    if (complete && first.decoded.length === 0) return plainList(v4)!;
    // What deleted an IPv6 service during the dump is seen by a second one; IPv4 ones were counted.
    const v6 = services.length > 0;
    if (complete && v6 && first.datagrams > 1) complete = sameServices(first.decoded, this.#dumpServices().decoded);
    for (const { service, destinations } of v4) {
      if ('unknown' in service || service.timeoutSeconds === 0) { add(service, destinations); continue; }
      const engine = engines.get(serviceKey(service)) ?? this.#engineOf(service);
      add(engine === '' ? service : { ...service, engine }, destinations);
    }
    return { services, plain: false, complete, skipped };
  }

  /** Everything by netlink: the reference. */
  #listByNetlink(): ServiceList {
    const first = this.#dumpServices(true);
    let { complete } = first;
    if (complete && first.datagrams > 1) complete = sameServices(first.decoded, this.#dumpServices(true).decoded);
    return {
      services: first.decoded.flatMap((service) => 'unknown' in service ? [] : [{ service, key: serviceKey(service), destinations: NOT_KNOWN }]),
      skipped: first.decoded.flatMap((service) => 'unknown' in service ? [service.unknown] : []),
      plain: false, complete,
    };
  }

  /** The dump of services. Unless `all`, IPv4 services without persistence are only counted. */
  #dumpServices(all = false): { decoded: DecodedService[]; v4: number; complete: boolean; datagrams: number } {
    let v4 = 0;
    const writer = this.#family.message(this.#connection.writer.reset(), COMMAND.GET_SERVICE, 0);
    const { items, complete, datagrams } = this.#connection.dump(writer, { operation: 'GET_SERVICE' }, (message): DecodedService | null => {
      if (!all) {
        const { family, persistent } = skimService(message);
        if (family === AF.INET) {
          v4++;
          if (!persistent) return null;
        }
      }
      return decodeService(message);
    }, () => { v4 = 0; });
    return { decoded: items.filter((item) => item !== null), v4, complete, datagrams };
  }

  /** One service by its key, null when it does not exist. */
  #find(key: Service): Omit<Listed, 'key'> | null {
    const fast = key.family === 'IPv4' ? this.#sockopt?.service(key) : undefined;
    // Null may also mean that getsockopt is gone, so netlink is asked.
    if (fast === null || fast === undefined) {
      const service = this.#get(key);
      return service === null ? null : { service, destinations: NOT_KNOWN };
    }
    const { service, destinations } = fast;
    if ('unknown' in service) return null;
    if (service.timeoutSeconds === 0) return { service, destinations };
    return { service: { ...service, engine: this.#engineOf(service) }, destinations };
  }

  #engineOf(service: Service): string { return this.#get(service)?.engine ?? ''; }

  #get(key: Service): Service | null {
    const writer = this.#family.message(this.#connection.writer.reset(), COMMAND.GET_SERVICE, 0);
    encodeServiceKey(writer, key);
    try {
      const [service] = this.#connection.request(writer, { operation: 'GET_SERVICE', object: serviceKey(key) }, decodeService);
      return service === undefined || 'unknown' in service ? null : service;
    } catch (error) {
      if (error instanceof KernelError && error.errno === ERRNO.ESRCH) return null;
      throw error;
    }
  }

  /** A service with its destinations, null when it is gone. */
  #observe(service: Service, destinations: number): ObservedService | null {
    if (destinations !== NOT_KNOWN && this.#sockopt !== null) {
      const answer = this.#sockopt.destinations(service, destinations);
      if (typeof answer === 'object') return { service, destinations: answer, complete: true };
    }
    const read = this.#dumpDestinations(service);
    // The dump of a service that does not exist is empty, without an error.
    if (read.destinations.length === 0 && this.#get(service) === null) return null;
    return { service, ...read };
  }

  /** Services by one dump, for a fingerprint; without the IPv4 ones if `others`. */
  listServices(others: boolean): DecodedService[] {
    if (!others) return this.#dumpServices(true).decoded;
    return this.#dumpServices().decoded.filter((service) => service.family === 'IPv6' || (!('unknown' in service) && service.engine !== ''));
  }

  /** Number of destinations by netlink; for services that getsockopt does not count. */
  countDestinations(service: Service): number { return this.#dumpDestinations(service).destinations.length; }

  #dumpDestinations(service: Service): { destinations: DestinationTable; complete: boolean } {
    const family = service.family === 'IPv4' ? AF.INET : AF.INET6;
    const name = { operation: 'GET_DEST', object: serviceKey(service) };
    let before: DestinationTable | null = null;
    for (let attempt = 1; ; attempt++) {
      const writer = this.#family.message(this.#connection.writer.reset(), COMMAND.GET_DEST, 0);
      encodeServiceKey(writer, service);
      this.#rows.reset();
      const outcome = this.#connection.dump(writer, name, (message) => decodeDestination(message, family, this.#rows), () => this.#rows.reset());
      const destinations = new DestinationTable(this.#rows.take());
      // One datagram is written under the kernel's lock. Several may have lost entries: believe what two attempts agree on.
      if (outcome.complete && (outcome.datagrams <= 1 || (before !== null && sameKeys(before, destinations)))) return { destinations, complete: true };
      if (attempt === ATTEMPTS) return { destinations, complete: false };
      before = destinations;
    }
  }
}

/** A list of nothing but services whose every field getsockopt tells; null otherwise. */
function plainList(v4: readonly ListedService[] | null): ServiceList | null {
  if (v4 === null || v4.some(({ service }) => 'unknown' in service || service.timeoutSeconds !== 0)) return null;
  return { services: v4 as readonly Listed[], plain: true, complete: true, skipped: [] };
}

/** Whether two services with the same key are the same. */
function sameService(a: Service, b: Service): boolean {
  return a.scheduler === b.scheduler && a.flags === b.flags && a.timeoutSeconds === b.timeoutSeconds && a.prefixLength === b.prefixLength && a.engine === b.engine;
}

function sameKeys(a: DestinationTable, b: DestinationTable): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (compareKeys(a.words, i, b.words, i) !== 0) return false;
  return true;
}

function sameServices(a: readonly DecodedService[], b: readonly DecodedService[]): boolean {
  const text = (service: DecodedService): string => 'unknown' in service ? service.unknown : serviceKey(service);
  if (a.length !== b.length) return false;
  const keys = new Set(a.map(text));
  return b.every((service) => keys.has(text(service)));
}
