// A test bed without a real API server: the stand-in, filled with S VirtualServers, a controller, and agents on real kernels. What
// several measures begin with; each measure says what it does then.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { kubeconfigFor, startAgent, startController, type Product, type Where } from './product.ts';
import { StandIn } from './stand-in.ts';
import type { Stored } from './stand-in-objects.ts';
import { director, endpointsOf, group, namespaces, PATHS, pool, service, slice, virtualServer, type Kind } from './workload.ts';

export interface BedOptions {
  /** Says how far it is. */
  readonly log: (line: string) => void;
  /** Tells beds of one folder apart. */
  readonly name: string;
  readonly services: number;
  readonly reals: number;
  /** For states and logs. */
  readonly folder?: string;
  /** Hosts with an agent. */
  readonly hosts?: readonly string[];
  /** Nodes whose agents somebody else starts, when the API server listens. */
  readonly elsewhere?: readonly string[];
  /** Address of the stand-in. */
  readonly address?: string;
  /** More arguments for node, as --cpu-prof. */
  readonly nodeArguments?: readonly string[];
  /** The API server listens there. */
  readonly onListening?: (url: string) => void;
}

export interface Bed {
  readonly api: StandIn;
  readonly controller: Product;
  readonly agents: readonly Product[];
  /** Writes an object as a person would, at once. */
  put(kind: Kind, object: Stored): void;
  /** Resolves when so long nothing was written but Leases. */
  quiet(forMs: number): Promise<void>;
  end(): Promise<void>;
}

const PORT = 6444;
const LOADED_WITHIN_MS = 420_000;

export function keyOf({ metadata: { name, namespace } }: Stored): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** Resolves when every VirtualServer is Ready, or with no agents has its program, and nothing is written any more. */
export async function startBed(options: BedOptions): Promise<Bed> {
  const { log, name, services, reals, hosts = [], elsewhere = [], address = '127.0.0.1', nodeArguments, onListening } = options;
  const folder = join(options.folder ?? '/run/bench', name);
  const api = new StandIn();
  const put = (kind: Kind, object: Stored): void => {
    const key = keyOf(object);
    if (api.objects.all(PATHS[kind]).has(key)) api.objects.merge(PATHS[kind], key, object, false);
    else api.objects.create(PATHS[kind], key, object);
    if (object.status) api.objects.merge(PATHS[kind], key, { status: object.status } as Stored, true);
  };
  for (const object of namespaces()) put('Namespace', object);
  const nodes = [...hosts, ...elsewhere];
  nodes.forEach((node, n) => put('Node', director(n, node)));
  put('DirectorGroup', group());
  put('VIPPool', pool());
  for (let s = 0; s < services; s++) {
    put('Service', service(s));
    put('EndpointSlice', slice(s, endpointsOf(s, reals)));
    put('VirtualServer', virtualServer(s));
  }
  let lastWrite = performance.now();
  let writes = 0;
  api.onWrite = ({ collection }) => {
    if (collection === PATHS.Lease) return;
    lastWrite = performance.now();
    writes++;
  };
  await api.listen(address, PORT);
  const url = `http://${address}:${PORT}`;
  onListening?.(url);
  const where: Where = { folder, kubeconfig: kubeconfigFor(folder, url), ...(nodeArguments && { nodeArguments }) };
  const began = performance.now();
  const controller = await startController(where);
  const agents: Product[] = [];
  for (const host of hosts) agents.push(await startAgent(where, host, host));
  const all = [controller, ...agents];
  const alive = (): void => {
    const dead = all.find((one) => !one.running);
    if (dead) throw new Error(`${dead.name} ended:\n${dead.tail()}`);
  };
  const quiet = async (forMs: number): Promise<void> => {
    for (lastWrite = performance.now(); performance.now() - lastWrite < forMs;) {
      alive();
      await sleep(50);
    }
  };
  const bed: Bed = {
    api, controller, agents, put, quiet,
    end: async () => {
      await Promise.all(all.map((one) => one.kill()));
      await api.close();
    },
  };
  const done = (): boolean => (nodes.length === 0
    ? api.objects.all(PATHS.VirtualServerProgram).size === services
    : [...api.objects.all(PATHS.VirtualServer).values()].every((o) => (o.status?.['conditions'] as { type: string; status: string }[] | undefined)?.some((c) => c.type === 'Ready' && c.status === 'True') === true));
  while (!done()) {
    alive();
    if (performance.now() - began > LOADED_WITHIN_MS) throw new Error(`${name}: not loaded within ${LOADED_WITHIN_MS / 1000} s: ${[...api.objects.all(PATHS.VirtualServerProgram)].length} programs; ${JSON.stringify([...api.objects.all(PATHS.VirtualServer).values()][0]?.status)}\n${all.map((one) => `${one.name}: ${one.tail()}`).join('\n')}`);
    await sleep(250);
  }
  const readyMs = Math.round(performance.now() - began);
  await quiet(3_000);
  const cpu = all.map((one) => `${one.name} ${one.cpuSeconds().toFixed(1)} s CPU ${one.memory('VmRSS').toFixed(0)} MB`).join(', ');
  log(`${name}: ${services} VirtualServers x ${reals} ready after ${readyMs} ms, ${writes} writes; ${cpu}`);
  return bed;
}

/** CPU time of the whole guest is one CPU's: how busy it was, 0 to 1, since the last call. */
export function busyMeter(): () => number {
  const read = (): { idle: number; total: number } => {
    const fields = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/\s+/).slice(1, 9).map(Number);
    return { idle: fields[3]! + fields[4]!, total: fields.reduce((a, b) => a + b, 0) };
  };
  let before = read();
  return () => {
    const now = read();
    const busy = 1 - (now.idle - before.idle) / Math.max(1, now.total - before.total);
    before = now;
    return busy;
  };
}
