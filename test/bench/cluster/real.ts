// Rows 3 and 4, with a real API server (etcd, RBAC, CEL) and the controller beside the guest (beside.ts), and everybody else in it: from an
// EndpointSlice that is written to the first new connection that its real server gets; and from one kubectl with all VirtualServers to the
// kernels of all directors. Runs inside the guest.

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { apiRequest, type ApiAnswer } from '../../cluster/request.ts';
import type { Lab } from '../../lab/lab.ts';
import { buildManagement } from '../../lab/management.ts';
import { inHost, killProcess, runCommand, startProcess } from '../../lab/process.ts';
import type { Topology } from '../../lab/topology.ts';
import type { Beside } from './beside.ts';
import { apply } from './kubectl.ts';
import { startAgent, type Product } from './product.ts';
import { busyMeter } from './bed.ts';
import { readRequests, total, writesBetween, type Requests } from './requests.ts';
import { nameOf, nodeAddress, NETWORK, PATHS, post, service, SHOP, slice, staticServer, virtualServer, vipOf } from './workload.ts';

export const DIRECTORS = ['dir1', 'dir2', 'dir3'];
const REAL_SERVERS = { rs1: '10.103.254.1', rs2: '10.103.254.2' } as const;
const CLIENT = '10.103.253.1';

const lanHost = (address: string): Topology['hosts'][string] => ({ links: { e0: { bridge: 'lan', addresses: [`${address}/${NETWORK.prefix}`] } } });

/** Three directors, two real servers and a client in one LAN. */
export const small: Topology = {
  name: 'bench-small', bridges: ['lan'],
  hosts: {
    ...Object.fromEntries(DIRECTORS.map((name, n) => [name, lanHost(nodeAddress(n))])),
    ...Object.fromEntries(Object.entries(REAL_SERVERS).map(([name, address]) => [name, lanHost(address)])), client: lanHost(CLIENT),
  },
};

const READY_WITHIN_MS = 120_000;
const LOST_MS = 30_000;
/** Between two looks whether all is there. */
const LOOK_MS = 500;
/** After everything is Ready, for what is told late: counted, but not waited for. */
const WRITTEN_WITHIN_MS = 60_000;

export interface RealBed {
  readonly lab: Lab;
  readonly cluster: {
    request<T>(method: string, path: string, body?: unknown): Promise<ApiAnswer<T>>;
    /** One kubectl, beside the guest. Resolves to how long it took; rejects with its words. */
    apply(objects: readonly object[]): Promise<number>;
  };
  readonly agents: readonly Product[];
}

/** An agent on each director, of the cluster that is beside this guest. */
export async function startReal(lab: Lab, nodeArguments: readonly string[] = []): Promise<RealBed> {
  const beside = JSON.parse(readFileSync(process.env['LAB_BESIDE']!, 'utf8')) as Beside;
  const [folder, ca] = ['/run/bench/real', readFileSync(beside.caFile)];
  mkdirSync(folder, { recursive: true });
  await buildManagement(lab.topology, lab.signal);
  await runCommand(['ip', 'link', 'set', 'vec0', 'master', 'mgmt', 'up']);
  const cluster: RealBed['cluster'] = {
    request: (method, path, body) => apiRequest(method, path, { url: beside.url, ca, token: beside.token, body }),
    apply: (objects) => apply(beside.folder, objects, lab.signal),
  };
  const agents: Product[] = [];
  for (const name of DIRECTORS) agents.push(await startAgent({ folder, kubeconfig: beside.kubeconfig, nodeArguments }, name, name));
  return { lab, cluster, agents };
}

/** Milliseconds from just before the slice is sent until the client has heard from its real server on a new connection. */
export async function connectionSamples({ lab, cluster, agents }: RealBed, changes: number): Promise<number[]> {
  for (const name of Object.keys(REAL_SERVERS)) await lab.serve(name, { tcp: [8080] });
  const { spec, ...rest } = virtualServer(0);
  await post(cluster, 'Service', { ...service(0), spec: { ports: [{ port: 80, targetPort: 8080, protocol: 'TCP' }] } });
  await post(cluster, 'EndpointSlice', slice(0, [REAL_SERVERS.rs1]));
  // The real servers are the client's neighbours: answers must go back by the director.
  await post(cluster, 'VirtualServer', { ...rest, spec: { ...spec as object, nat: { sourceAddress: 'Masquerade' } } });
  const dialer = startDialer(vipOf(0));
  const times: number[] = [];
  try {
    await dialer.hears('rs1', READY_WITHIN_MS).catch(async (error: Error) => {
      const { body } = await cluster.request<{ status?: unknown }>('GET', `${PATHS.VirtualServer.replace('/virtualservers', '')}/namespaces/${SHOP}/virtualservers/${nameOf(0)}`);
      throw new Error(`${error.message}; its status: ${JSON.stringify(body.status)}\n${agents.map((a) => a.tail()).join('\n')}`);
    });
    await sleep(5_000);
    const path = `/apis/discovery.k8s.io/v1/namespaces/${SHOP}/endpointslices/${nameOf(0)}-slice`;
    const busy = busyMeter();
    for (let i = 0; i < changes; i++) {
      const next = i % 2 === 0 ? 'rs2' : 'rs1';
      const heard = dialer.hears(next, LOST_MS);
      const began = process.hrtime.bigint();
      const answer = await cluster.request('PUT', path, slice(0, [REAL_SERVERS[next]]));
      if (answer.status !== 200) throw new Error(`the slice was not written: ${answer.status}`);
      times.push(Number(await heard - began) / 1e6);
      await sleep(700 + (i * 131) % 400);
    }
    lab.log(`connections: guest ${(busy() * 100).toFixed(0)} % busy`);
    return times;
  } finally {
    dialer.end();
    await cluster.request('DELETE', `/apis/ipvs-operator.dev/v1alpha1/namespaces/${SHOP}/virtualservers/${nameOf(0)}`);
  }
}

/** Opens new connections to a VIP, one after the other, and tells by whom it was answered, and when. */
function startDialer(address: string): { hears(server: string, withinMs: number): Promise<bigint>; end(): void } {
  const child = startProcess(inHost('client', ['node', join(import.meta.dirname, 'dialer.ts'), address, '80']));
  const waiting = new Map<string, (at: bigint) => void>();
  let errors = '';
  child.stderr!.on('data', (chunk: Buffer) => { errors += chunk.toString(); });
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const [server = '', at = '0'] = line.split(' ');
    waiting.get(server)?.(BigInt(at));
    waiting.delete(server);
  });
  return {
    hears: (server, withinMs) => new Promise((done, failed) => {
      const timer = setTimeout(() => failed(new Error(`the client did not hear ${server} within ${withinMs} ms ${errors}`)), withinMs);
      waiting.set(server, (at) => { clearTimeout(timer); done(at); });
    }),
    end: () => killProcess(child),
  };
}

export interface ApplySample {
  /** Its own time; the others are from when it was asked for. */
  readonly kubectlMs: number;
  readonly programmedMs: number;
  readonly readyMs: number;
  /** By the product, for each VirtualServer: by the time that all were programmed, and in all. */
  readonly writes?: { readonly programmed: number; readonly all: number };
}

export async function applySample({ lab, cluster, agents }: RealBed, servers: number, reals: number): Promise<ApplySample> {
  const objects = Array.from({ length: servers }, (_, s) => staticServer(s + 1, reals));
  const cpu = (): number[] => agents.map((p) => Math.round(p.cpuSeconds() * 10) / 10);
  lab.log(`CPU seconds before: ${JSON.stringify(cpu())}`);
  const requests = async (): Promise<Requests> => readRequests((await cluster.request<string>('GET', '/metrics')).body);
  const before = await requests();
  const writes = async (when: string): Promise<number> => {
    const written = writesBetween(before, await requests());
    lab.log(`writes ${when}: ${JSON.stringify(written)}`);
    return total(written) / servers;
  };
  const began = performance.now();
  let kubectlMs = 0;
  const kubectl = cluster.apply(objects).then((ms) => {
    kubectlMs = ms;
    lab.log(`kubectl took ${Math.round(ms)} ms; CPU seconds ${JSON.stringify(cpu())}`);
  });
  const programmed = async (): Promise<number> => {
    await kubectl;
    // One director after the other: looking takes a third of a second of the one CPU that they share.
    for (const name of DIRECTORS) {
      for (;;) {
        // Not /proc/net/ip_vs, which leaves services out where several namespaces have some. What was there before may not be gone yet.
        const lines = (await runCommand(inHost(name, ['ipvsadm', '-Sn']))).stdout.split('\n').length - 1;
        if (lines >= servers * (1 + reals)) break;
        if (performance.now() - began > 280_000) throw new Error(`not programmed: ${lines} lines on ${name}\n${agents[0]!.tail()}`);
        await sleep(LOOK_MS);
      }
    }
    return performance.now() - began;
  };
  const programmedMs = await programmed();
  lab.log(`programmed after ${Math.round(programmedMs)} ms; CPU seconds ${JSON.stringify(cpu())}`);
  const untilProgrammed = await writes('by then');
  const ready = async (): Promise<boolean> => {
    const { body } = await cluster.request<{ items: { status?: { conditions?: { type: string; status: string }[] } }[] }>('GET', `/apis/ipvs-operator.dev/v1alpha1/namespaces/${SHOP}/virtualservers`);
    return body.items.filter((o) => o.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True')).length === servers;
  };
  while (!await ready()) await sleep(1_000);
  const readyMs = performance.now() - began;
  lab.log(`ready after ${Math.round(readyMs)} ms; CPU seconds ${JSON.stringify(cpu())}`);
  await sleep(WRITTEN_WITHIN_MS);
  return { kubectlMs, programmedMs, readyMs, writes: { programmed: untilProgrammed, all: await writes('in all') } };
}
