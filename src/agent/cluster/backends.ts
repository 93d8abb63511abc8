/**
 * What a director says about real servers that are not as the program wrote them: down by their check, counted as up although it fails, or
 * on their way out. One line a VirtualServer, in IPVSNode.status. Pure.
 */
import type { IPVSNodeStatus } from '../../api/v1alpha1/index.ts';
import { MAX_BACKEND_REPORTS } from '../../api/v1alpha1/vocabulary.ts';
import type { AgentView } from '../agent.ts';
import { serviceOf, type DrainRecord } from '../drain.ts';
import type { HealthWatch, Unhealthy } from '../health/watch.ts';
import { virtualServerOf } from './binds.ts';

export type BackendReport = NonNullable<IPVSNodeStatus['backends']>[number];

/** How many real servers a message names. */
const NAMED = 3;
const MAX_MESSAGE = 1024;

/**
 * Sorted, and at most MAX_BACKEND_REPORTS; of a VirtualServer without trouble there is none. Of thousands only those that drain and those that are
 * checked are looked at.
 */
export function backendReports(
  { services, drains, remaining }: Pick<AgentView, 'services' | 'drains' | 'remaining'>,
  health: Pick<HealthWatch, 'owners' | 'unhealthy'> | null,
): BackendReport[] {
  const draining = new Map<string, (readonly [id: string, record: DrainRecord])[]>();
  for (const [id, record] of Object.entries(drains)) {
    const owner = services.get(serviceOf(id))?.owner;
    if (owner === undefined) continue;
    const list = draining.get(owner);
    if (list) list.push([id, record]);
    else draining.set(owner, [[id, record]]);
  }
  const reports: BackendReport[] = [];
  for (const owner of new Set([...draining.keys(), ...health?.owners ?? []])) {
    const sick = health?.unhealthy(owner) ?? [];
    const leaving = draining.get(owner) ?? [];
    if (sick.length === 0 && leaving.length === 0) continue;
    const down = sick.filter((u) => u.state === 'Down');
    const until = Math.max(...leaving.map(([, { deadline }]) => deadline));
    reports.push({
      virtualServer: virtualServerOf(owner), unhealthy: addresses(down), ignored: addresses(sick) - addresses(down), draining: leaving.length,
      ...(leaving.length > 0 && { connections: coarse(leaving.reduce((n, [id]) => n + (remaining.get(id) ?? 0), 0)), drainedBy: new Date(until).toISOString() }),
      message: messageOf(sick, leaving.map(([id]) => id)),
    });
  }
  return reports.sort((a, b) => (a.virtualServer < b.virtualServer ? -1 : 1)).slice(0, MAX_BACKEND_REPORTS);
}

function addresses(list: readonly Unhealthy[]): number {
  return new Set(list.map((u) => u.address)).size;
}

function messageOf(sick: readonly Unhealthy[], leaving: readonly string[]): string {
  const at = (u: Unhealthy) => `${u.address.includes(':') ? `[${u.address}]` : u.address}:${u.port}`;
  const how = ({ state }: Unhealthy) => (state === 'Down' ? 'is down'
    : state === 'Held' ? 'fails with all others behind its interface and is kept' : 'fails, and too few others are up');
  const words = [
    ...some(sick.map((u) => `${at(u)} ${how(u)}: ${u.reason}: ${u.message}`)),
    ...some(leaving.map((id) => `${id.slice(id.indexOf(' -> ') + 4)} drains`)),
  ];
  return words.join('; ').slice(0, MAX_MESSAGE);
}

function some(texts: readonly string[]): string[] {
  const more = texts.length - NAMED;
  return more > 0 ? [...texts.slice(0, NAMED), `and ${more} more`] : [...texts];
}

/** Up to 1, 2, 5, 10, 20, 50 ...: a number that changes each second would be a write each second. */
function coarse(n: number): number {
  for (let ten = 1; ; ten *= 10) for (const step of [1, 2, 5]) if (n <= step * ten) return n === 0 ? 0 : step * ten;
}
