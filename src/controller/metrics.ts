/**
 * The controller's metrics: which of the catalogue's instruments is fed by what. Names and help are observe/catalogue.ts's.
 */
import { CONTROLLER_METRICS, KUBE_METRICS } from '../observe/catalogue.ts';
import { instrumentsOf } from '../observe/definition.ts';
import type { Metrics } from '../observe/metrics.ts';
import { fillReflectors } from '../observe/reflectors.ts';
import { findCondition, type Condition } from '../kube/conditions.ts';
import type { Controller } from './controller.ts';
import type { CountWrite } from './reconcile/writer.ts';
import type { World } from './world.ts';

export interface ControllerMetrics {
  readonly count: CountWrite;
  readonly pass: (ms: number, ok: boolean) => void;
  readonly leads: (leads: boolean) => void;
  /** Fills at each scrape what caches and controller know. */
  watch(world: World, controller: Controller, now: () => number): void;
}

const CONDITIONS = ['Accepted', 'ResolvedRefs', 'Programmed', 'Ready'] as const;
const STATUSES = ['True', 'False', 'Unknown'] as const;

export function controllerMetrics(metrics: Metrics, version: string): ControllerMetrics {
  const kube = instrumentsOf(metrics, KUBE_METRICS);
  const own = instrumentsOf(metrics, CONTROLLER_METRICS);
  kube.buildInfo.set({ version, role: 'controller' }, 1);
  own.leader.set(0);
  return {
    count: (kind, verb, ok) => own.writes.inc({ kind, verb, result: ok ? 'success' : 'error' }),
    pass: (ms, ok) => {
      own.reconciles.inc({ kind: 'all', result: ok ? 'success' : 'error' });
      own.reconcileDuration.observe({ kind: 'all' }, ms / 1000);
    },
    leads: (leads) => {
      own.leader.set(leads ? 1 : 0);
      own.leaderChanges.inc();
    },
    watch(world, controller, now) {
      metrics.collect(() => {
        fillReflectors(kube, world.stats, now());
        own.programs.set(controller.programs);
        own.compiles.set(controller.compiles);
        const counts = new Map<string, number>();
        for (const { status } of world.virtualServers.store.values()) {
          for (const condition of CONDITIONS) {
            const key = `${condition} ${findCondition(status?.conditions as readonly Condition[] | undefined, condition)?.status ?? 'Unknown'}`;
            counts.set(key, (counts.get(key) ?? 0) + 1);
          }
        }
        for (const condition of CONDITIONS) for (const status of STATUSES) own.virtualServers.set({ condition, status }, counts.get(`${condition} ${status}`) ?? 0);
        // A pool that is gone has no addresses.
        own.addresses.clear();
        for (const { metadata: { name: pool }, status } of world.pools.store.values()) {
          for (const [family, key] of [['IPv4', 'ipv4'], ['IPv6', 'ipv6']] as const) {
            own.addresses.set({ pool, family, state: 'capacity' }, Number(status?.capacity?.[key] ?? 0));
            own.addresses.set({ pool, family, state: 'allocated' }, Number(status?.allocated?.[key] ?? 0));
          }
        }
      });
    },
  };
}
