/**
 * The real servers of a VirtualServer as they stand: what its program asks for, what the kernel has, what is draining. Pure.
 * Without the kernel only what was asked for.
 */
import type { DrainRecords } from '../agent/drain.ts';
import { drainKey } from '../agent/drain.ts';
import { parseRealServer, realServersFor, type Program, type ProgramAddress, type ProgramService } from '../api/v1alpha1/program.ts';
import type { IpvsObservation } from '../kernel/ipvs/contract.ts';
import { destinationKey, serviceKey, type Service } from '../kernel/ipvs/types.ts';

export interface LiveRealServer {
  /** serviceKey(). */
  readonly service: string;
  /** destinationKey(); the address alone where it is not in the kernel. */
  readonly realServer: string;
  readonly weight: number;
  /** Connections; null where the kernel was not asked or has none of it. */
  readonly active: number | null;
  readonly inactive: number | null;
  /** Seconds until its connections are cut; null unless it is leaving. */
  readonly drainSecondsLeft: number | null;
  /**
   * serving; quiesced (weight 0); draining; missing (asked for, not in the kernel); extra (in the kernel, not asked for); unknown (the
   * kernel was not asked).
   */
  readonly state: 'serving' | 'quiesced' | 'draining' | 'missing' | 'extra' | 'unknown';
}

interface DirectedService {
  readonly key: Pick<Service, 'family' | 'protocol' | 'address' | 'port' | 'fwmark'>;
  readonly service: ProgramService;
  readonly vip: ProgramAddress;
}

/** The services of a program on a director, with what each key needs. */
export function servicesOf({ spec }: Program): DirectedService[] {
  return spec.addresses.flatMap((vip) => spec.services.map((service) => ({
    service, vip,
    key: service.mark === 0
      ? { family: vip.family, protocol: service.ports[0]!.protocol, address: vip.address, port: service.ports[0]!.port, fwmark: 0 }
      : { family: vip.family, protocol: 'TCP' as const, address: '', port: 0, fwmark: service.mark },
  })));
}

/** `observation` null: the kernel was not asked. `now`: milliseconds since the epoch. */
export function realServersOf(program: Program, observation: IpvsObservation | null, drains: DrainRecords, now: number): LiveRealServer[] {
  const rows = new Map<string, LiveRealServer>();
  for (const { key, service, vip } of servicesOf(program)) {
    const name = serviceKey(key);
    const all = service.realServers.flatMap((text) => parseRealServer(text) ?? []);
    const asked = new Map(realServersFor(program.spec.mode, all, vip.family).map((r) => [r.address, r]));
    const seen = new Set<string>();
    for (const d of observation?.services.get(name)?.destinations.toArray().map((value, row) => ({ value, row })) ?? []) {
      const table = observation!.services.get(name)!.destinations;
      const realServer = destinationKey(d.value);
      const drain = drains[drainKey(name, realServer)];
      seen.add(d.value.address);
      rows.set(`${name} ${realServer}`, {
        service: name, realServer, weight: d.value.weight, active: table.active(d.row), inactive: table.inactive(d.row),
        drainSecondsLeft: drain ? Math.max(0, Math.round((drain.deadline - now) / 1000)) : null,
        state: drain ? 'draining' : !asked.has(d.value.address) ? 'extra' : d.value.weight === 0 ? 'quiesced' : 'serving',
      });
    }
    for (const [address, { weight }] of asked) {
      if (seen.has(address)) continue;
      rows.set(`${name} ${address}`, {
        service: name, realServer: address, weight, active: null, inactive: null, drainSecondsLeft: null,
        state: observation ? 'missing' : 'unknown',
      });
    }
  }
  return [...rows.values()];
}

/** Connections of all of them; null where nothing is known. */
export function connectionsOf(rows: readonly LiveRealServer[]): { active: number; inactive: number } | null {
  const known = rows.filter((r) => r.active !== null);
  if (known.length === 0) return null;
  return { active: known.reduce((n, r) => n + r.active!, 0), inactive: known.reduce((n, r) => n + r.inactive!, 0) };
}
