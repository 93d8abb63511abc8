/** The IPVS half of FakeKernel: services, destinations, timeouts, daemons. Semantics of reference A.1 and A.4; no packets. */
import type { IpvsCapabilities, IpvsClient, IpvsFailure, IpvsObservation, IpvsOperation, IpvsWalk, IpvsWork, ObservedService, ServiceStatistics } from '../../src/kernel/ipvs/contract.ts';
import { unfold } from '../../src/agent/operation.ts';
import { DestinationRow, DestinationTable, ROW } from '../../src/kernel/ipvs/destinations.ts';
import { destinationKey, serviceKey, type Destination, type Service, type SyncDaemon, type Timeouts } from '../../src/kernel/ipvs/types.ts';
import { ERRNO, KernelError } from '../../src/kernel/netlink/errors.ts';
import { refusal, type Trap } from './fake-kernel.ts';
import type { FakeNet } from './fake-net.ts';

export interface FakeDestination {
  destination: Destination;
  active: number;
  inactive: number;
}

export interface FakeService {
  service: Service;
  destinations: Map<string, FakeDestination>;
}

/** Which reads are whole. `hide`: keys that an interrupted dump misses. */
export interface Lies {
  services?: { readonly hide: (key: string) => boolean };
  destinations?: { readonly hide: (service: string, destination: string) => boolean };
}

export class FakeIpvs implements IpvsClient {
  readonly services = new Map<string, FakeService>();
  readonly daemons: SyncDaemon[] = [];
  timeoutsNow: Timeouts = { tcp: 900, tcpFin: 120, udp: 300 };
  /** What modprobe would find. */
  schedulers = new Set(['none', 'rr', 'wrr', 'lc', 'wlc', 'sh', 'dh', 'sed', 'nq', 'lblc', 'lblcr', 'mh', 'fo', 'ovf']);
  engines = new Set(['sip']);
  tunnelTypes = new Set(['ipip', 'gue', 'gre']);
  module = true;
  ipv6 = true;
  lies: Lies = {};
  /** How often which read was made, and the keys that read() was asked for. */
  readonly reads = { all: 0, walks: 0, fingerprint: 0, keys: [] as string[] };
  readonly #trap: Trap;
  readonly #net: FakeNet;
  #asked = new Set<string>();

  constructor(trap: Trap, net: FakeNet) {
    this.#trap = trap;
    this.#net = net;
  }

  /** Puts a service there as somebody else would: no operation is counted. */
  put(service: Service, destinations: readonly Destination[] = []): FakeService {
    this.#load();
    const entry = { service, destinations: new Map(destinations.map((d) => [destinationKey(d), { destination: d, active: 0, inactive: 0 }])) };
    this.services.set(serviceKey(service), entry);
    return entry;
  }

  connections(service: string, destination: string, active: number, inactive = 0): void {
    const d = this.services.get(service)!.destinations.get(destination)!;
    d.active = active;
    d.inactive = inactive;
  }

  async apply(work: readonly IpvsWork[], signal?: AbortSignal): Promise<IpvsFailure[]> {
    const failures: IpvsFailure[] = [];
    this.#need('apply');
    this.#load();
    for (const [index, operation] of work.flatMap((w, index) => unfold([w]).map((operation) => [index, operation] as const))) {
      if (index % 64 === 0) signal?.throwIfAborted();
      const error = this.#trap.before(operation) ?? this.#execute(operation);
      if (error) failures.push({ index, operation, error });
      else this.#trap.after(operation);
    }
    return failures;
  }

  #execute(o: IpvsOperation): KernelError | null {
    switch (o.kind) {
      case 'addService': case 'setService': {
        if (!this.schedulers.has(o.service.scheduler)) return refusal('NEW_SERVICE', ERRNO.ENOENT, 'MODULE_MISSING');
        const there = this.services.get(serviceKey(o.service));
        if (there) there.service = o.service;
        else if (o.kind === 'setService') return refusal('SET_SERVICE', ERRNO.ESRCH, 'SERVICE_GONE');
        else this.services.set(serviceKey(o.service), { service: o.service, destinations: new Map() });
        return null;
      }
      case 'delService':
        this.services.delete(serviceKey(o.service));
        return null;
      case 'addDestination': case 'setDestination': {
        const service = this.services.get(serviceKey(o.service));
        if (!service) return refusal('NEW_DEST', ERRNO.ESRCH, 'SERVICE_GONE');
        const there = service.destinations.get(destinationKey(o.destination));
        // A plan's destinations may be views on its tables.
        const destination = o.destination instanceof DestinationRow ? o.destination.toJSON() : o.destination;
        if (there) there.destination = destination;
        else service.destinations.set(destinationKey(destination), { destination, active: 0, inactive: 0 });
        return null;
      }
      case 'delDestination':
        this.services.get(serviceKey(o.service))?.destinations.delete(destinationKey(o.destination));
        return null;
      case 'setTimeouts':
        this.timeoutsNow = o.timeouts;
        return null;
      case 'startSync':
        if (this.daemons.some((d) => d.role === o.daemon.role)) return refusal('NEW_DAEMON', ERRNO.EEXIST);
        this.daemons.push(o.daemon);
        return null;
      case 'stopSync': {
        const at = this.daemons.findIndex((d) => d.role === o.daemon.role);
        if (at >= 0) this.daemons.splice(at, 1);
        return null;
      }
    }
  }

  async readAll(): Promise<IpvsObservation> {
    this.reads.all++;
    return this.#observe([...this.services.keys()], this.lies.services?.hide);
  }

  /** Three services a piece. */
  walk(): IpvsWalk {
    this.reads.walks++;
    const keys = [...this.services.keys()];
    const { complete } = this.#observe([], this.lies.services?.hide);
    return {
      complete, skipped: [],
      next: () => (keys.length === 0 ? null : this.#observe(keys.splice(0, 3), this.lies.services?.hide).services),
    };
  }

  read(services: readonly Service[]): IpvsObservation {
    const keys = services.map(serviceKey);
    this.reads.keys.push(...keys);
    return this.#observe(keys, undefined);
  }

  #observe(keys: readonly string[], hide: ((key: string) => boolean) | undefined): IpvsObservation {
    this.#need('GET_SERVICE');
    this.#load();
    const services = new Map<string, ObservedService>();
    for (const key of keys) {
      const entry = this.services.get(key);
      if (!entry || hide?.(key)) continue;
      const hidden = this.lies.destinations?.hide;
      const shown = [...entry.destinations.values()].filter((d) => !hidden?.(key, destinationKey(d.destination))).reverse();
      services.set(key, { service: entry.service, destinations: pack(shown), complete: !hidden });
    }
    return { services, complete: !hide };
  }

  fingerprint(): string {
    this.reads.fingerprint++;
    this.#need('GET_SERVICE');
    return [`${this.services.size}-`, ...[...this.services].map(([key, { service, destinations }]) => `${key} ${service.scheduler} ${service.flags} ${destinations.size}`).sort()].join('\n');
  }

  timeouts(): Timeouts {
    this.#need('GET_CONFIG');
    return this.timeoutsNow;
  }

  syncDaemons(): SyncDaemon[] {
    this.#need('GET_DAEMON');
    return [...this.daemons];
  }

  async statistics(): Promise<Map<string, ServiceStatistics>> { return new Map(); }

  capabilities(schedulers: readonly string[] = [...this.schedulers]): IpvsCapabilities {
    if (this.module) this.#load();
    for (const s of schedulers) this.#asked.add(s);
    return {
      kernel: '6.1.0-fake', version: this.module ? '1.2.1' : null, connectionTableSize: 4096,
      schedulers: new Set(this.module ? [...this.#asked].filter((s) => this.schedulers.has(s)) : []),
      engines: new Set(this.module ? this.engines : []), tunnelTypes: new Set(this.module ? this.tunnelTypes : []), ipv6: this.ipv6, stats64: true,
    };
  }

  close(): void {}

  snapshot(): unknown {
    const services = [...this.services].map(([key, { service, destinations }]) => [key, { service, destinations: sortedEntries(destinations, (d) => d.destination) }] as const);
    return { services: Object.fromEntries(services.sort(byKey)), timeouts: this.timeoutsNow, daemons: [...this.daemons].sort((a, b) => (a.role < b.role ? -1 : 1)) };
  }

  #need(operation: string): void {
    if (!this.module) throw new KernelError({ code: 'MODULE_MISSING', operation, message: 'no ip_vs' });
  }

  /** The module goes, as on a host that boots a kernel without it: nothing of it is left. */
  unload(): void {
    this.module = false;
    this.services.clear();
    this.daemons.length = 0;
    this.timeoutsNow = { tcp: 900, tcpFin: 120, udp: 300 };
  }

  /** net.ipv4.vs exists from the moment the module is loaded. */
  #load(): void { this.#net.loadIpvs(); }
}

function pack(list: readonly FakeDestination[]): DestinationTable {
  const table = DestinationTable.from(list.map((d) => d.destination));
  if (list.every((d) => d.active === 0 && d.inactive === 0)) return table;
  const rows = new Map(table.toArray().map((d, row) => [destinationKey(d), row]));
  for (const d of list) {
    const row = rows.get(destinationKey(d.destination))!;
    table.words[row * ROW + 10] = d.active;
    table.words[row * ROW + 11] = d.inactive;
  }
  return table;
}

export function byKey(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
}

function sortedEntries<T, R>(map: ReadonlyMap<string, T>, of: (value: T) => R): Record<string, R> {
  return Object.fromEntries([...map].map(([k, v]) => [k, of(v)] as const).sort(byKey));
}
