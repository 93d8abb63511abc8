/**
 * What a director says about real servers that are not as the program wrote them: down by their check, counted as up although it fails, or
 * on their way out. One line a VirtualServer, in IPVSNode.status. Pure.
 */
import type { IPVSNodeStatus } from '../../api/v1alpha1/index.ts';
import { MAX_BACKEND_REPORTS } from '../../api/v1alpha1/vocabulary.ts';
import { parseServiceKey, serviceKey, type Service } from '../../kernel/ipvs/types.ts';
import type { AgentView } from '../agent.ts';
import type { Unhealthy } from '../health/watch.ts';
import { virtualServerOf } from './binds.ts';

export type BackendReport = NonNullable<IPVSNodeStatus['backends']>[number];

/** How many real servers a message names. */
const NAMED = 3;
const MAX_MESSAGE = 1024;

/** Sorted, and at most MAX_BACKEND_REPORTS; of a VirtualServer without trouble there is none. */
export function backendReports({ fragments, drains, remaining }: Pick<AgentView, 'fragments' | 'drains' | 'remaining'>, unhealthy: (owner: string) => readonly Unhealthy[]): BackendReport[] {
  const byService = Map.groupBy(Object.entries(drains), ([id]) => id.slice(0, id.indexOf(' -> ')));
  // Thousands of services, of which few drain: their keys are not made for that.
  const places = new Set([...byService.keys()].map((key) => placeOf(parseServiceKey(key)!)));
  const reports: BackendReport[] = [];
  for (const { owner, services } of fragments.values()) {
    if (services.length === 0) continue;
    const sick = unhealthy(owner);
    const leaving = services.flatMap(({ service }) => (places.has(placeOf(service)) ? byService.get(serviceKey(service)) ?? [] : []));
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

/** What all services with one address or mark have in common. */
function placeOf({ fwmark, address }: Pick<Service, 'fwmark' | 'address'>): string | number { return fwmark === 0 ? address : fwmark; }

function addresses(list: readonly Unhealthy[]): number {
  return new Set(list.map((u) => u.address)).size;
}

function messageOf(sick: readonly Unhealthy[], leaving: readonly string[]): string {
  const at = (u: Unhealthy) => `${u.address.includes(':') ? `[${u.address}]` : u.address}:${u.port}`;
  const words = [
    ...some(sick.map((u) => `${at(u)} ${u.state === 'Down' ? 'is down' : u.state === 'Held' ? 'fails with all others behind its interface and is kept' : 'fails, and too few others are up'}: ${u.reason}: ${u.message}`)),
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
