/**
 * A short text that differs when the list of services does: for a drift probe that runs every second. Cheap rather than
 * complete: weights and settings of destinations are left to the full read-back.
 */
import type { IpvsReader } from './read.ts';
import type { SockoptReader } from './sockopt.ts';
import { serviceKey } from './types.ts';

/**
 * Services that getsockopt does not count (IPv6) have their destinations counted one dump each (60 µs); beyond this many only
 * the services themselves are compared.
 */
export const COUNTED_SERVICES = 128;

export class Fingerprint {
  readonly #reader: IpvsReader;
  readonly #sockopt: SockoptReader | null;
  /** Two independent 32-bit lanes: equal by chance once in 2^64. */
  #a = 0x811c9dc5;
  #b = 0x9747b28c;

  constructor(reader: IpvsReader, sockopt: SockoptReader | null) {
    this.#reader = reader;
    this.#sockopt = sockopt;
  }

  take(): string {
    const v4 = this.#sockopt?.mixServices((word) => this.#mix(word)) ?? null;
    // The dump costs 4 µs a service, also for those that getsockopt already told: only where IPv6 services are known.
    const others = v4 !== null && !this.#reader.mayHaveIpv6 ? [] : this.#reader.listServices(v4 !== null);
    for (const [i, service] of others.entries()) {
      if ('unknown' in service) { this.#mixText(service.unknown); continue; }
      this.#mixText(`${serviceKey(service)} ${service.scheduler} ${service.engine}`);
      this.#mix(service.flags);
      this.#mix(service.timeoutSeconds);
      this.#mix(service.prefixLength);
      if (i < COUNTED_SERVICES) this.#mix(this.#reader.countDestinations(service));
    }
    return `${(v4 ?? 0) + others.length}-${this.#a.toString(16)}${this.#b.toString(16)}`;
  }

  #mix(word: number): void {
    // FNV-1a on words, and MurmurHash3's mixing of a word.
    this.#a = Math.imul(this.#a ^ word, 0x01000193) >>> 0;
    this.#a ^= this.#a >>> 15;
    let k = Math.imul(word, 0xcc9e2d51);
    k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
    const b = this.#b ^ k;
    this.#b = (Math.imul((b << 13) | (b >>> 19), 5) + 0xe6546b64) >>> 0;
  }

  #mixText(text: string): void {
    for (let i = 0; i < text.length; i++) this.#mix(text.charCodeAt(i));
  }
}

/** How many services were looked at for a fingerprint. */
export function servicesIn(fingerprint: string): number {
  return Number.parseInt(fingerprint, 10);
}
