/**
 * Weighing: a program's real servers with the weights that they are to have now, from what is known of their checks. Pure; one service at a
 * time, since panic is a matter of a service. Who is checked, and with what, comes from here too: so that both speak of the same keys.
 */
import { formatRealServer, type ProgramHealthCheck, type ProgramSpec, type RealServer } from '../../api/v1alpha1/program.ts';
import { checkTarget, type CheckPath, type CheckTarget, type HealthCheck } from './check.ts';
import { panics } from './guard.ts';
import { UNKNOWN, type Health } from './verdict.ts';
import { effectiveWeight, type EffectiveWeight } from './weights.ts';

/** What is known about a real server; held: counted as up by the mass-failure guard; appearedAt: see weights.ts. */
export interface Known {
  readonly health: Health;
  readonly held: boolean;
  readonly appearedAt: number | null;
}

export const NOTHING_KNOWN: Known = { health: UNKNOWN, held: false, appearedAt: null };

/** Weights of the real servers of one program, by weightKey(). */
export interface Weights {
  readonly byServer: ReadonlyMap<string, EffectiveWeight>;
  /** Monotonic milliseconds at which one of them is another without any other cause; Infinity: never. */
  readonly nextChangeAt: number;
}

/** A real server of service `index` of its program. */
export function weightKey(index: number, r: RealServer): string {
  return `${index} ${formatRealServer(r)}`;
}

/** The target by which a real server is checked; null when it has no port that could be: its service takes every port. */
export function targetFor(check: ProgramHealthCheck, r: RealServer, path: CheckPath): CheckTarget | null {
  const port = check.port || r.port;
  return port === 0 ? null : checkTarget(r.address, checkOf(check, port), path);
}

function checkOf(check: ProgramHealthCheck, port: number): HealthCheck {
  const timing = {
    port, periodMs: check.periodSeconds * 1000, timeoutMs: check.timeoutSeconds * 1000, rise: check.riseCount, fall: check.fallCount,
  };
  const http = { path: check.http?.path ?? '/', host: check.http?.host ?? '', statuses: check.http?.expectedStatuses ?? [200] };
  switch (check.type) {
    case 'TCP': return { ...timing, type: 'TCP' };
    case 'HTTP': return { ...timing, type: 'HTTP', ...http };
    case 'HTTPS': return { ...timing, type: 'HTTPS', ...http, ca: check.http?.caBundle ?? '' };
    case 'GRPC': return { ...timing, type: 'GRPC', service: check.grpc?.service ?? '', tls: check.grpc?.transport === 'TLS' };
    case 'UDP': return { ...timing, type: 'UDP', payload: check.udp?.payload ?? '', reply: check.udp?.expectReply ?? false };
    case 'DNS': return { ...timing, type: 'DNS', name: check.dns?.name ?? '.', record: check.dns?.record ?? 'A', expected: check.dns?.expectedAddress ?? '' };
  }
}

type Know = (index: number, r: RealServer, position: number) => Known | null;

/**
 * `services`: the real servers of each service of the program that are used here. `know` tells what is known of one of them, null: it is
 * not checked.
 */
export function weigh(spec: ProgramSpec, services: readonly (readonly RealServer[])[], know: Know, now: number): Weights {
  const check = spec.healthCheck!;
  const byServer = new Map<string, EffectiveWeight>();
  let nextChangeAt = Infinity;
  for (const [index, realServers] of services.entries()) {
    const known = realServers.map((r, position) => know(index, r, position));
    // Of those that are meant to get connections: one of weight 0 is neither up nor missed.
    const meant = known.filter((_, i) => realServers[i]!.weight > 0);
    const up = meant.filter((k) => k === null || k.health.state !== 'Down' || k.held).length;
    const panic = panics(up, meant.length, check.panicThresholdPercent);
    for (const [i, r] of realServers.entries()) {
      const weight = effectiveWeight({
        written: r.weight, health: known[i]?.health ?? null, held: known[i]?.held ?? false, panic, onDown: check.onFailure,
        appearedAt: known[i]?.appearedAt ?? null, slowStartMs: (spec.slowStartSeconds ?? 0) * 1000, scheduler: spec.scheduler.name,
      }, now);
      byServer.set(weightKey(index, r), weight);
      if (weight.nextChangeAt !== null) nextChangeAt = Math.min(nextChangeAt, weight.nextChangeAt);
    }
  }
  return { byServer, nextChangeAt };
}
