// Controllers as processes of their own against a real API server, and what a test needs around them: our objects and the core's by
// verbs that say what went wrong, agents imitated by what they would report, a wait that is generous. No assertions of its own.
//
//   const bench = await startBench({ folder, account: true });
//   const one = await bench.start('one');
//   await bench.post(virtualServer('shop/web', { ... }));
//   await bench.eventually('it is accepted', async () => await bench.condition('shop/web', 'Accepted') === 'True Accepted');
//   await bench.stop();

import { mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { joinSlices, reportApplied, type IPVSNode, type VirtualIP, type VirtualServerProgram, type VirtualServerStatus } from '../../src/api/v1alpha1/index.ts';
import { lastLines, startServerProcess, type ServerProcess } from './process.ts';
import { untilInstalled } from './installed.ts';
import { startCluster, type ClusterPart } from './server.ts';

const root = resolve(import.meta.dirname, '../..');
export const API = 'ipvs-operator.dev/v1alpha1';
export const SYSTEM = 'ipvs-system';
/** Far longer than anything here takes: the machine may be busy. */
const PATIENCE_MS = 300_000;

export interface Metadata { name: string; namespace?: string; uid?: string; resourceVersion?: string; generation?: number; labels?: Record<string, string>; deletionTimestamp?: string; ownerReferences?: unknown }
export interface Any { apiVersion: string; kind: string; metadata: Metadata; spec?: unknown; status?: unknown; [field: string]: unknown }

/** Where each kind lives: path of its group, plural, and whether it has namespaces. */
const KINDS: Readonly<Record<string, readonly [api: string, plural: string, namespaced: boolean]>> = {
  VirtualServer: [`/apis/${API}`, 'virtualservers', true], VIPPool: [`/apis/${API}`, 'vippools', false], DirectorGroup: [`/apis/${API}`, 'directorgroups', false],
  VirtualIP: [`/apis/${API}`, 'virtualips', false], VirtualServerProgram: [`/apis/${API}`, 'virtualserverprograms', true], IPVSNode: [`/apis/${API}`, 'ipvsnodes', false],
  Service: ['/api/v1', 'services', true], Endpoints: ['/api/v1', 'endpoints', true], Pod: ['/api/v1', 'pods', true], Node: ['/api/v1', 'nodes', false], Namespace: ['/api/v1', 'namespaces', false],
  EndpointSlice: ['/apis/discovery.k8s.io/v1', 'endpointslices', true], Lease: ['/apis/coordination.k8s.io/v1', 'leases', true], Event: ['/apis/events.k8s.io/v1', 'events', true],
  CustomResourceDefinition: ['/apis/apiextensions.k8s.io/v1', 'customresourcedefinitions', false], ReferenceGrant: ['/apis/gateway.networking.k8s.io/v1beta1', 'referencegrants', true],
};

export function pathOf(kind: string, namespace?: string, name?: string): string {
  const [api, plural, namespaced] = KINDS[kind]!;
  return `${api}${namespaced && namespace !== undefined ? `/namespaces/${namespace}` : ''}/${plural}${name === undefined ? '' : `/${name}`}`;
}

export interface Running {
  readonly name: string;
  readonly process: ServerProcess;
  /** A counter of its /metrics with all labels given, or the sum over those that are left out. */
  metric(name: string, labels?: Readonly<Record<string, string>>): Promise<number>;
  /** Writes to the API server, status included, that worked or not. */
  writes(): Promise<number>;
  /** Lines of its log as objects. */
  log(): { readonly level: number; readonly msg: string; readonly [field: string]: unknown }[];
}

export interface BenchOptions {
  readonly folder: string;
  /** Installs deploy/install.yaml and runs controllers under its service account, instead of crds/ and as admin. */
  readonly account?: boolean;
}

export async function startBench({ folder, account = false }: BenchOptions) {
  mkdirSync(folder, { recursive: true });
  const cluster = await startCluster({ folder, controllerManager: true });
  const running: Running[] = [];
  let kubeconfig = cluster.kubeconfig;
  await cluster.applyFile(join(root, account ? 'deploy/install.yaml' : 'crds'));
  await untilInstalled(cluster, ...(account ? [`${SYSTEM}/ipvs-operator-controller`] : []));
  if (account) kubeconfig = cluster.writeKubeconfig('controller', await cluster.tokenFor(`${SYSTEM}/ipvs-operator-controller`));
  else await send('POST', pathOf('Namespace'), { apiVersion: 'v1', kind: 'Namespace', metadata: { name: SYSTEM } });

  /** Parts of the cluster that a test took down. */
  const down = new Set<ClusterPart>();

  async function eventually(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
    let last: unknown;
    for (const deadline = performance.now() + PATIENCE_MS; ;) {
      const pids = cluster.pids();
      for (const part of ['etcd', 'apiserver', 'controller-manager'] as const) if (pids[part] === undefined && !down.has(part)) throw new Error(`${part} ended while waiting for: ${what}\n${cluster.log(part)}`);
      try {
        if (await holds()) return;
        last = undefined;
      } catch (error) {
        last = error; // The server may be away for a moment; it counts only when it lasts.
      }
      if (performance.now() > deadline) throw new Error(`not within ${PATIENCE_MS / 1000} s: ${what}\n${running.filter((r) => r.process.running).map((r) => lastLines(logOf(r.name), 12)).join('\n')}`, { cause: last });
      await sleep(100);
    }
  }

  async function send<T = Any>(method: string, path: string, body?: unknown, contentType?: string): Promise<T> {
    const answer = await cluster.request<T & { message?: string }>(method, path, body, contentType === undefined ? {} : { contentType });
    if (answer.status >= 300) throw Object.assign(new Error(`${method} ${path}: ${answer.status} ${answer.body.message ?? ''}`), { status: answer.status });
    return answer.body;
  }

  const get = async <T = Any>(kind: string, key: string): Promise<T | null> => {
    const [namespace, name] = partsOf(kind, key);
    const answer = await cluster.request<T>('GET', pathOf(kind, namespace, name));
    if (answer.status === 404) return null;
    if (answer.status !== 200) throw new Error(`GET ${kind} ${key}: ${answer.status}`);
    return answer.body;
  };

  /** 16 at a time. */
  const each = async <T>(things: readonly T[], work: (thing: T) => Promise<void>): Promise<void> => {
    const queue = [...things];
    await Promise.all(Array.from({ length: 16 }, async () => { while (queue.length > 0) await work(queue.shift()!); }));
  };

  /** Creates objects, with their status where they have one. */
  const post = (...objects: readonly object[]): Promise<void> => each(objects as Any[], async (o) => {
    await send('POST', pathOf(o.kind, o.metadata.namespace), o);
    if (o.status !== undefined) await send('PATCH', `${pathOf(o.kind, o.metadata.namespace, o.metadata.name)}/status`, { status: o.status });
  });

  const logOf = (name: string): string => join(folder, `controller-${name}.log`);

  const start = async (name: string, ...args: readonly string[]): Promise<Running> => {
    const file = logOf(name);
    const from = ((): number => { try { return readFileSync(file).length; } catch { return 0; /* Its first start. */ } })();
    const process = await startServerProcess(
      [globalThis.process.execPath, join(root, 'src/main.ts'), 'controller', '--kubeconfig', kubeconfig, '--namespace', SYSTEM, '--listen', '127.0.0.1:0', '--log-level', 'debug', '--writes-per-second', '2000', ...args], file, { POD_NAME: name });
    const log = (): Running['log'] extends () => infer L ? L : never => readFileSync(file).subarray(from).toString().split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));
    const port = (): number => Number(log().find((l) => typeof l['port'] === 'number')?.['port'] ?? 0);
    const scrape = async (): Promise<string> => await (await fetch(`http://127.0.0.1:${port()}/metrics`)).text();
    const metric = async (metricName: string, labels: Readonly<Record<string, string>> = {}): Promise<number> => {
      const lines = (await scrape()).split('\n').filter((l) => l.startsWith(`${metricName}{`) || l.startsWith(`${metricName} `));
      return lines.filter((l) => Object.entries(labels).every(([k, v]) => l.includes(`${k}="${v}"`))).reduce((sum, l) => sum + Number(l.slice(l.lastIndexOf(' '))), 0);
    };
    const one: Running = { name, process, log, metric, writes: () => metric('ipvs_operator_controller_writes_total') };
    running.push(one);
    await eventually(`controller ${name} is ready`, async () => {
      if (!process.running) throw new Error(`it ended: ${lastLines(file)}`);
      return port() > 0 && (await fetch(`http://127.0.0.1:${port()}/readyz`)).status === 200;
    });
    return one;
  };

  const list = async <T = Any>(kind: string, namespace?: string): Promise<T[]> => (await send<{ items: T[] }>('GET', pathOf(kind, namespace))).items;

  const status = async (key: string): Promise<VirtualServerStatus> => (await get<{ status?: VirtualServerStatus }>('VirtualServer', key))?.status ?? {};

  return {
    cluster, folder, eventually, send, get, list, post, start, status,
    /** SIGKILL, and a start again when `meanwhile` has ended. */
    without: async (part: ClusterPart, meanwhile: () => Promise<void>): Promise<void> => {
      down.add(part);
      await cluster.kill(part);
      await meanwhile();
      await cluster.start(part);
      down.delete(part);
    },
    /** Ends controllers and the cluster. */
    stop: async (): Promise<void> => {
      await Promise.all(running.map((r) => r.process.end(0)));
      await cluster.stop();
    },
    drop: async (kind: string, key: string): Promise<void> => {
      const [namespace, name] = partsOf(kind, key);
      await send('DELETE', pathOf(kind, namespace, name));
    },
    /** Merge patch. */
    patch: async (kind: string, key: string, patch: object, subresource = ''): Promise<void> => {
      const [namespace, name] = partsOf(kind, key);
      await send('PATCH', `${pathOf(kind, namespace, name)}${subresource}`, patch);
    },
    /** `True Ready`, or another condition. */
    condition: async (key: string, type = 'Ready'): Promise<string> => {
      const c = (await status(key)).conditions?.find((one) => one.type === type);
      return c ? `${c.status} ${c.reason}` : 'none';
    },
    message: async (key: string, type: string): Promise<string> => (await status(key)).conditions?.find((one) => one.type === type)?.message ?? '',
    /** The program of a VirtualServer, whole; null while it is not. */
    program: async (key: string) => {
      const slices = (await list<VirtualServerProgram>('VirtualServerProgram', key.slice(0, key.indexOf('/')))).filter((p) => p.spec.virtualServer.name === key.slice(key.indexOf('/') + 1));
      const joined = slices.length === 0 ? null : joinSlices(slices);
      return joined === null || 'problem' in joined ? null : joined.program.spec;
    },
    /** That directors live, for longer than a test lasts. */
    lives: async (...nodes: readonly string[]): Promise<void> => post(...nodes.map((n) => ({
      apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: `director-${n}`, namespace: SYSTEM, labels: { 'ipvs-operator.dev/lease': 'director' } },
      spec: { holderIdentity: n, leaseDurationSeconds: 36_000 },
    }))),
    /** What agents of these nodes would report now: programs of their groups run, VIPs bound, and VIPs without an owner taken by the first. */
    report: async (...nodes: readonly string[]): Promise<void> => {
      const [programs, vips, all] = [await list<VirtualServerProgram>('VirtualServerProgram'), await list<VirtualIP>('VirtualIP'), await list<IPVSNode>('IPVSNode')];
      const byOwner = [...Map.groupBy(programs, (p) => `${p.metadata.namespace}/${p.spec.virtualServer.name}`)];
      for (const name of nodes) {
        const node = all.find((n) => n.metadata.name === name);
        if (!node) continue;
        const applied = byOwner.flatMap(([owner, slices]): [string, string][] => {
          const joined = joinSlices(slices);
          return 'problem' in joined || !node.spec.directorGroups.includes(joined.program.spec.directorGroup) ? [] : [[owner, joined.program.spec.contentHash]];
        });
        const { applied: texts, digest } = reportApplied(applied);
        const report = { agentVersion: '0.1.0', applied: texts, programs: { applied: texts.length, failed: 0, digest }, boundVIPs: [...new Set(node.spec.realServer.binds.map((b) => b.address))].sort() };
        await send('PATCH', `${pathOf('IPVSNode', undefined, name)}/status`, { status: report });
        const free = vips.filter((v) => node.spec.directorGroups.includes(v.spec.directorGroup) && !v.status?.activeNode);
        await each(free, async (vip) => {
          await send('PATCH', `${pathOf('VirtualIP', undefined, vip.metadata.name)}/status`, { status: { activeNode: name } });
          (vip as { status?: object }).status = { ...vip.status, activeNode: name };
        });
      }
    },
  };
}

export type Bench = Awaited<ReturnType<typeof startBench>>;

function partsOf(kind: string, key: string): [namespace: string | undefined, name: string] {
  const slash = key.indexOf('/');
  return KINDS[kind]![2] ? [key.slice(0, slash), key.slice(slash + 1)] : [undefined, key];
}

// Our kinds, as people write them: the server adds the defaults.

export function virtualServer(key: string, spec: object): Any {
  const [namespace, name] = partsOf('VirtualServer', key) as [string, string];
  return { apiVersion: API, kind: 'VirtualServer', metadata: { name, namespace }, spec: { mode: 'NAT', ports: [{ port: 80 }], ...spec } };
}
export const pool = (name: string, spec: object): Any => ({ apiVersion: API, kind: 'VIPPool', metadata: { name }, spec: { allowedNamespaces: { all: true }, ...spec } });
export const group = (name: string, matchLabels: Record<string, string>): Any => ({ apiVersion: API, kind: 'DirectorGroup', metadata: { name }, spec: { nodeSelector: { matchLabels } } });
export const toService = (name: string, more: object = {}): object => ({ backends: [{ serviceRef: { name, ...more } }] });
export const toStatic = (...addresses: readonly string[]): object => ({ backends: [{ static: { endpoints: addresses.map((address) => ({ address })) } }] });

/** An EndpointSlice that a test manages itself. */
export function endpointSlice(key: string, service: string, endpoints: readonly (string | object)[], ports: readonly object[] = [{ name: '', port: 8080, protocol: 'TCP' }], addressType = 'IPv4'): Any {
  const [namespace, name] = partsOf('EndpointSlice', key) as [string, string];
  return {
    apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata: { name, namespace, labels: { 'kubernetes.io/service-name': service, 'endpointslice.kubernetes.io/managed-by': 'test' } },
    addressType, ports, endpoints: endpoints.map((e) => (typeof e === 'string' ? { addresses: [e], conditions: { ready: true } } : e)),
  };
}
