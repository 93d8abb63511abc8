// One changed real server on a loaded table, through the code of `standalone`: Host (compiler, snapshot), Agent, kernel. In
// place of the folder stands a scan that holds parsed objects already; the clock stops when reconcile returns. The
// loading of the table is not measured.

import { spawnSync } from 'node:child_process';
import { pino } from 'pino';
import { Agent } from '../../src/agent/agent.ts';
import { StateFolder } from '../../src/agent/state-folder.ts';
import { objectKey, type ApiObject } from '../../src/api/v1alpha1/index.ts';
import { openIpvs } from '../../src/kernel/ipvs/client.ts';
import { serviceKey } from '../../src/kernel/ipvs/types.ts';
import { openNet } from '../../src/kernel/net/client.ts';
import { Host } from '../../src/standalone/host.ts';
import type { ManifestFolder, ManifestObject, ManifestScan } from '../../src/standalone/manifests.ts';
import type { Sample } from './sample.ts';
import { desiredTable, parsed, POOL, virtualServer, type Size } from './workload.ts';

/** Changes a sample, of as many VirtualServers. */
const CHANGES = 25;
const NEW_WEIGHT = 7;

/** ms: median of the changes; first: the first one after the load; slowest. load: from parsed objects to the kernel. */
export async function changeSamples(size: Size, folderPath: string): Promise<Sample> {
  makeNic();
  const folder = StateFolder.open(folderPath);
  const kernel = { ipvs: openIpvs(), net: openNet() };
  // As the product does by default; whoever reads the log is not measured.
  const log = pino({ level: 'info' }, pino.destination({ dest: '/dev/null', sync: true }));
  const objects = new Map<string, ManifestObject>();
  const put = (value: unknown): string => {
    const object: ApiObject = parsed(value);
    const key = objectKey(object);
    objects.set(key, { object, origin: { file: 'bench.yaml', document: 0, line: 1 } });
    return key;
  };
  put(POOL);
  for (let s = 0; s < size.services; s++) put(virtualServer(s, size.reals));
  let changed = new Set(objects.keys());
  const manifests = { scan: (): ManifestScan => ({ objects, changed, problems: [], busy: false, complete: true, fingerprint: '', identity: '1:1' }) };
  const agent = new Agent(kernel, folder, { node: 'bench', role: 'director', labels: {}, clock: Date.now, log });
  const host = new Host({ node: 'bench', manifests: manifests as unknown as ManifestFolder, agent, folder, log, clock: Date.now });

  const started = performance.now();
  host.readManifests();
  const loaded = await agent.reconcile('full');
  const load = performance.now() - started;
  host.report(loaded, null);
  if (!loaded.settled) throw new Error(`the table was not loaded: ${JSON.stringify(loaded).slice(0, 500)} ${JSON.stringify(agent.view.refusals).slice(0, 500)}`);

  const times: number[] = [];
  const keys = [...desiredTable(size, 'rr').keys()];
  for (let i = 0; i < CHANGES; i++) {
    const s = Math.floor((i + 0.5) * size.services / CHANGES);
    changed = new Set([put(virtualServer(s, size.reals, NEW_WEIGHT))]);
    const start = performance.now();
    host.readManifests();
    const report = await agent.reconcile('changes');
    times.push(performance.now() - start);
    host.report(report, null);
    if (report.operations !== 1) throw new Error(`${report.operations} operations for one changed real server`);
    const service = desiredTable({ services: s + 1, reals: 1 }, 'rr').get(keys[s]!)!.service;
    const kernels = kernel.ipvs.read([service]).services.get(serviceKey(service))!.destinations;
    if (kernels.weight(0) !== NEW_WEIGHT) throw new Error(`the kernel still has weight ${kernels.weight(0)}`);
  }
  kernel.ipvs.close();
  kernel.net.close();
  folder.close();
  const sorted = [...times].sort((a, b) => a - b);
  return { ms: sorted[CHANGES >> 1]!, first: times[0]!, slowest: sorted.at(-1)!, load };
}

/** A NIC whose subnet holds every VIP. */
function makeNic(): void {
  for (const command of ['link add e0 type dummy', 'address add 10.99.255.254/14 dev e0', 'link set e0 up', 'link set lo up']) {
    const { status, stderr } = spawnSync('ip', command.split(' '));
    if (status !== 0) throw new Error(`ip ${command}: ${String(stderr)}`);
  }
}
