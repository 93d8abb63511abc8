// What stands beside a guest for rows 3 and 4, on the machine itself: a real API server with etcd, a controller, and who types kubectl. In the
// guest an API server alone takes the one CPU. Needs root, for the wire into it.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startCluster } from '../../cluster/server.ts';
import { applyWhenAsked } from './kubectl.ts';
import { cpuSecondsOf, startController } from './product.ts';
import { DIRECTORS } from './real.ts';
import { OUTSIDE, withWire } from './wire.ts';
import { director, group, namespaces, PATHS, pool, post } from './workload.ts';

/** What the guest is told of it. */
export interface Beside {
  readonly url: string;
  readonly caFile: string;
  readonly token: string;
  readonly kubeconfig: string;
  /** Where kubectl is asked for (kubectl.ts). */
  readonly folder: string;
}

const SERVED_WITHIN_MS = 60_000;

/** Runs `work` with all of it standing: with a file that says where, and what the guest's kernel is to be told. */
export function withCluster<T>(workDirectory: string, signal: AbortSignal, work: (file: string, kernelArguments: readonly string[]) => Promise<T>): Promise<T> {
  return withWire(async (kernelArguments) => {
    const folder = join(workDirectory, 'beside');
    mkdirSync(folder, { recursive: true });
    const cluster = await startCluster({ folder: join(folder, 'cluster'), address: OUTSIDE, signal });
    try {
      await cluster.applyFile(resolve(import.meta.dirname, '../../../crds'));
      for (const object of namespaces()) await post(cluster, 'Namespace', object);
      for (const [n, name] of DIRECTORS.entries()) {
        const node = director(n, name);
        await post(cluster, 'Node', node);
        await cluster.request('PATCH', `${PATHS.Node}/${name}/status`, { status: node.status });
      }
      for (const deadline = performance.now() + SERVED_WITHIN_MS; (await cluster.request('POST', PATHS.DirectorGroup, group())).status !== 201; await sleep(200)) {
        if (performance.now() > deadline) throw new Error('the CRDs are not served');
      }
      await post(cluster, 'VIPPool', pool());
      const controller = await startController({ folder, kubeconfig: cluster.kubeconfig });
      try {
        const file = join(folder, 'beside.json');
        writeFileSync(file, JSON.stringify({ url: cluster.url, caFile: cluster.caFile, token: cluster.adminToken, kubeconfig: cluster.kubeconfig, folder } satisfies Beside));
        const ended = new AbortController();
        const cpu = (): Map<string, number> => new Map([...Object.entries(cluster.pids()), ['controller', controller.pid] as const].flatMap(([part, pid]) => (pid === undefined ? [] : [[part, cpuSecondsOf(pid)]])));
        let before = cpu();
        const said = (): string => [...cpu()].map(([part, seconds]) => `${part} ${(seconds - (before.get(part) ?? 0)).toFixed(1)}`).join(', ');
        const around = (when: 'before' | 'after'): void => {
          if (when === 'before') before = cpu();
          else process.stdout.write(`CPU seconds beside the guest while kubectl worked: ${said()}\n`);
        };
        const typing = applyWhenAsked(folder, cluster.kubeconfig, around, AbortSignal.any([signal, ended.signal]));
        try {
          return await work(file, kernelArguments);
        } finally {
          ended.abort();
          await typing;
          process.stdout.write(`CPU seconds beside the guest since kubectl began: ${said()}\n`);
        }
      } finally {
        process.stderr.write(controller.tail());
        await controller.kill();
      }
    } finally {
      await cluster.stop();
    }
  });
}
