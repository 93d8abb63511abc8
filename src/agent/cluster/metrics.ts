/**
 * The agent's metrics: which of the catalogue's instruments is fed by what. Names and help are observe/catalogue.ts's. Nothing is read before
 * somebody asks.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { AGENT_METRICS, KUBE_METRICS } from '../../observe/catalogue.ts';
import { instrumentsOf } from '../../observe/definition.ts';
import { Counter, type Labels } from '../../observe/instruments.ts';
import type { Metrics } from '../../observe/metrics.ts';
import { fillReflectors, type WatchedResource } from '../../observe/reflectors.ts';
import type { Program } from '../../api/v1alpha1/program.ts';
import type { IpvsClient, ServiceStatistics } from '../../kernel/ipvs/contract.ts';
import { serviceKey } from '../../kernel/ipvs/types.ts';
import { isModuleMissing } from '../../kernel/netlink/errors.ts';
import type { Agent, Report } from '../agent.ts';
import type { HealthWatch } from '../health/watch.ts';
import type { Loop, Pass } from '../loop.ts';
import type { ClusterHost } from './host.ts';

export interface AgentMetrics {
  /** One reconcile; null: it could not be done at all. */
  readonly pass: (report: Report | null, pass: Pass) => void;
  /** Fills at each scrape what agent and host know. */
  watch(
    host: ClusterHost,
    agent: Agent,
    health: () => HealthWatch | null,
    loop: () => Loop | null,
    ipvs: Pick<IpvsClient, 'statistics'>,
    now: () => number,
    signal: AbortSignal,
  ): void;
}

/** Services whose counters are taken over between two turns of the event loop. */
const AT_ONCE = 128;

/** What names a service of the kernel to people. */
export interface ServiceName extends Record<string, string> {
  namespace: string;
  name: string;
  address: string;
  /** 'first-last' for a range; several of one fwmark service with commas. */
  port: string;
  protocol: string;
}

export function agentMetrics(metrics: Metrics, version: string): AgentMetrics {
  const kube = instrumentsOf(metrics, KUBE_METRICS);
  const own = instrumentsOf(metrics, AGENT_METRICS);
  kube.buildInfo.set({ version, role: 'agent' }, 1);
  return {
    pass(report, { extent, tookMs }) {
      own.reconciles.inc({ extent, result: report && report.failures.length === 0 ? 'success' : 'error' });
      own.reconcileDuration.observe({ extent }, tookMs / 1000);
      own.settled.set(report?.settled ? 1 : 0);
    },
    watch(host, agent, health, loop, ipvs, now, signal) {
      metrics.collect(async () => {
        fillReflectors(kube, merged(host.inputs.reflectors), now());
        const { tally, view } = agent;
        for (const [kind, count] of tally.operations) own.operations.set({ kind }, count);
        for (const [code, count] of tally.failures) own.failures.set({ code }, count);
        own.drifts.set(tally.drifts);
        const { applied, failed, bound } = host.reporting.said;
        own.programs.set({ state: 'applied' }, applied);
        own.programs.set({ state: 'failed' }, failed);
        own.ownedVips.set(host.directing.owned.size);
        own.boundVips.set(bound);
        const { claimed, lost, conflicts } = host.directing.counts;
        own.ownerChanges.set({ change: 'claimed' }, claimed);
        own.ownerChanges.set({ change: 'lost' }, lost);
        own.probeConflicts.set(conflicts);
        own.announcements.set({ result: 'success' }, (tally.operations.get('announce') ?? 0) + (loop()?.announced.sent ?? 0));
        own.announcements.set({ result: 'error' }, loop()?.announced.failed ?? 0);
        for (const what of ['services', 'destinations', 'addresses'] as const) own.foreign.set({ what }, view.foreign[what].length);
        const checks = health();
        if (checks) {
          const { results, latenessSumMs, missed, turns } = checks.counts;
          own.healthTargets.set(checks.targets);
          for (const [type, reasons] of results) for (const [result, count] of reasons) own.healthChecks.set({ type, result }, count);
          own.healthLateness.set(latenessSumMs / 1000);
          own.healthMissed.set(missed);
          own.healthTurns.set(turns);
        }
        own.snapshot.set(host.usingSnapshot ? 1 : 0);
        await serviceCounters(await statisticsOf(ipvs, view.fragments.size > 0, signal), serviceNames(host.assignment.programs));
      });
    },
  };

  /**
   * A few services at a time: with thousands, a change of an endpoint would wait for it. Whoever scrapes sees those of before until all
   * are there.
   */
  async function serviceCounters(statistics: ReadonlyMap<string, ServiceStatistics>, names: ReadonlyMap<string, ServiceName>): Promise<void> {
    const anew = [own.connections, own.packets, own.bytes].map((c) => new Counter<Labels>(c.name, c.help, c.labelNames));
    const [connections, packets, bytes] = anew as [Counter<Labels>, Counter<Labels>, Counter<Labels>];
    let n = 0;
    for (const [key, { connections: count, inPackets, outPackets, inBytes, outBytes }] of statistics) {
      if (++n % AT_ONCE === 0) await turn();
      const labels = names.get(key);
      // Not ours.
      if (!labels) continue;
      connections.set(labels, Number(count));
      packets.set({ ...labels, direction: 'in' }, Number(inPackets));
      packets.set({ ...labels, direction: 'out' }, Number(outPackets));
      bytes.set({ ...labels, direction: 'in' }, Number(inBytes));
      bytes.set({ ...labels, direction: 'out' }, Number(outBytes));
    }
    own.connections.take(connections as never);
    own.packets.take(packets as never);
    own.bytes.take(bytes as never);
  }
}

/** By serviceKey(). */
export function serviceNames(programs: ReadonlyMap<string, Program>): Map<string, ServiceName> {
  const names = new Map<string, ServiceName>();
  for (const [owner, { spec }] of programs) {
    const slash = owner.indexOf('/');
    for (const { address, family } of spec.addresses) {
      for (const { ports, mark } of spec.services) {
        const [first] = ports;
        if (!first) continue;
        const key = serviceKey(mark === 0
          ? { family, protocol: first.protocol, address, port: first.port, fwmark: 0 }
          : { family, protocol: 'TCP', address: '', port: 0, fwmark: mark });
        // Several VIPs of a family share one fwmark service: it bears the first.
        if (names.has(key)) continue;
        names.set(key, {
          namespace: owner.slice(0, slash), name: owner.slice(slash + 1), address,
          port: ports.map((p) => (p.endPort === p.port ? String(p.port) : `${p.port}-${p.endPort}`)).join(','),
          protocol: [...new Set(ports.map((p) => p.protocol))].join(','),
        });
      }
    }
  }
  return names;
}

/** A node that directs nothing does not load ip_vs for a scrape. */
async function statisticsOf(ipvs: Pick<IpvsClient, 'statistics'>, any: boolean, signal: AbortSignal): Promise<ReadonlyMap<string, ServiceStatistics>> {
  if (!any) return new Map();
  try {
    return await ipvs.statistics(signal);
  } catch (error) {
    if (isModuleMissing(error)) return new Map();
    throw error;
  }
}

type Watched = ClusterHost['inputs']['reflectors'][number];

/** The programs of several groups are one kind. */
function merged(list: readonly Watched[]): WatchedResource[] {
  return [...Map.groupBy(list, (r) => r.resource)].map(([resource, same]) => {
    const all = same.map((s) => s.reflector);
    const sum = (of: (stats: Watched['reflector']['stats']) => number) => all.reduce((n, r) => n + of(r.stats), 0);
    const times = all.flatMap((r) => r.stats.lastEventAt ?? []);
    return {
      resource,
      stats: {
        lists: sum((s) => s.lists),
        watches: sum((s) => s.watches),
        events: sum((s) => s.events),
        errors: sum((s) => s.errors),
        badObjects: sum((s) => s.badObjects),
        lastEventAt: times.length === all.length ? Math.min(...times) : null,
      },
      synced: all.every((r) => r.synced), objects: all.reduce((n, r) => n + r.store.size, 0),
    };
  });
}
