// `lab.cluster()`: a real API server in the root namespace of a guest, reachable from every host over the management
// network, started when a scenario first asks for it and gone with the scenario. What it is made of: test/cluster/server.ts.

import { join } from 'node:path';
import { lastLines } from '../cluster/process.ts';
import { startCluster, type Cluster } from '../cluster/server.ts';
import type { HostContext } from './host.ts';
import type { LabCluster, LabClusterOptions } from './lab.ts';
import { buildManagement, managementAddress, managementServer, removeManagement, setPlugged } from './management.ts';

/** The port of the API server, as in any cluster. */
const port = 6443;
/** It takes 12 s on a free CPU, and a guest's CPU is not always free. */
const readyWithinMs = 120_000;

export interface ClusterHolder {
  /** Starts it, or hands out the one that runs. */
  cluster(options?: LabClusterOptions): Promise<LabCluster>;
  /** The end of its logs, for the log of a scenario that failed; empty when it was never asked for. */
  logs(): string;
  /** Ends it and takes its network away. */
  stop(): Promise<void>;
}

/** Starts nothing yet. */
export function createClusterHolder(context: HostContext): ClusterHolder {
  let started: Promise<LabCluster & Pick<Cluster, 'stop'>> | null = null;

  const start = async (options: LabClusterOptions): Promise<LabCluster & Pick<Cluster, 'stop'>> => {
    const { topology, signal, log, slowness } = context;
    const begun = performance.now();
    await buildManagement(topology, signal);
    const cluster = await startCluster({ ...options, folder: folderOf(context.folder), address: managementServer, port, readyWithinMs: readyWithinMs * slowness, signal });
    log(`API server ready at ${cluster.url} after ${Math.round(performance.now() - begun)} ms`);
    const plug = async (host: string, plugged: boolean): Promise<void> => {
      await setPlugged(topology, host, plugged, signal);
      log(`${host} ${plugged ? 'reaches' : 'is cut off from'} the API server`);
    };
    return {
      ...cluster,
      kubectl: async (args, more = {}) => {
        const result = await cluster.kubectl(args, { ...more, timeoutMs: (more.timeoutMs ?? 300_000) * slowness });
        log(`kubectl ${args.join(' ')}   [exit ${result.code}]\n${result.stdout}${result.stderr}`.trimEnd());
        return result;
      },
      address: managementServer,
      addressOf: (host) => managementAddress(topology, host),
      unplug: (host) => plug(host, false),
      plug: (host) => plug(host, true),
    };
  };

  return {
    cluster: (options) => {
      if (started !== null && options !== undefined) throw new Error('the cluster runs already: options belong to the first call of lab.cluster()');
      return started ??= start(options ?? {});
    },
    logs: () => (['apiserver', 'controller-manager', 'etcd'] as const)
      .map((part) => [part, lastLines(join(folderOf(context.folder), `${part}.log`))])
      .flatMap(([part, text]) => (text === '' ? [] : [`the end of ${part}.log:\n${text}`])).join('\n'),
    stop: async () => {
      if (started === null) return;
      const cluster = await started.catch(() => null); // Whoever called cluster() knows why it did not start.
      await cluster?.stop();
      await removeManagement(context.topology);
    },
  };
}

/** Where the cluster of a scenario keeps its files, below the scenario's folder. */
export function folderOf(scenarioFolder: string): string {
  return join(scenarioFolder, 'cluster');
}
