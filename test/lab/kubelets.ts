// Plays scheduler and kubelets for a cluster in a guest, as far as its Pods need: puts them on nodes, starts what their container
// would be, asks their readiness probe, reports it, and ends them. Not in the background: `settled` does what there is to do and
// waits for it. No images and no pod networks: a container of the product is a process in its node's network with the container's
// arguments, variables, account, user, capabilities and folders; any other is a server of the lab on the pod's address.

import { copyFileSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Daemon, Lab, LabCluster } from './lab.ts';
import { argumentsOf, environmentOf, nameOf, place, portOf, privilegesOf, type Pod } from './pod-spec.ts';

const root = resolve(import.meta.dirname, '../..');
const accountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Between two rounds of readiness probes. */
const roundMs = 700;
/** What the image of the product consists of, by its place there. Mounted, not named: a user without rights may not see the checkout. */
const image: readonly Mount[] = ['dist', 'node_modules', 'package.json'].map((part) => ({ source: `${root}/${part}`, target: `/app/${part}` }));

interface Mount { readonly source: string; readonly target: string }

export interface Running {
  readonly pod: string;
  readonly node: string;
  readonly address: string;
  /** The product's process, and what its container's arguments say; null for servers of the lab. */
  readonly process: { readonly daemon: Daemon; readonly args: readonly string[] } | null;
  readonly ready: boolean;
  /** Ends what runs, as SIGTERM does. */
  readonly stop: () => Promise<unknown>;
}

export interface Kubelets {
  /** Works until each of these namespaces has so many Pods that are ready, and none that is to end or to begin. Rejects after two minutes. */
  settled(expected: Readonly<Record<string, number>>): Promise<void>;
  /** Looks once and does what there is to do: for Pods that may not end yet. */
  work(): Promise<void>;
  /** Pods that run, in the order of their start. */
  running(space: string): Running[];
  /** Pods that are told to end keep running until the function that this returns is called, as those do that finish what they have begun. */
  postpone(space: string): () => void;
}

export interface KubeletsOptions {
  /** Labels of the nodes on which Pods may be put that name none, by node. */
  readonly workers: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly addressOf: (node: string) => string;
  /** The address of the n-th Pod of a node, from 1, in a /24 that is the node's. */
  readonly podAddress: (node: string, n: number) => string;
}

export function createKubelets(lab: Lab, cluster: LabCluster, { workers, addressOf, podAddress }: KubeletsOptions): Kubelets {
  const started = new Map<string, Running>();
  const postponed = new Set<string>();
  /** Addresses of Pods that were given on a node, and the link that has them. */
  const links = new Map<string, { link: Promise<unknown>; used: number }>();
  const told = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const { status, body: answer } = await cluster.request<T & { message?: string }>(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${answer.message ?? ''}`);
    return answer;
  };
  const pathOf = ({ metadata }: Pod): string => `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`;

  /** What is mounted for a volume: of the node, or of the guest where every network namespace sees its own anyway. */
  const sourceOf = (node: string, { path, type = '' }: { path: string; type?: string }): Mount['source'] => (
    path.startsWith('/proc/') ? path : provide(path.startsWith('/run/') ? path : lab.host(node).path(`root${path}`), type.startsWith('File')));

  type Started = Pick<Running, 'process' | 'stop'>;

  const startProduct = async (pod: Pod, node: string): Promise<Started> => {
    const { spec: { serviceAccountName, volumes = [], containers: [container] }, metadata } = pod;
    const { status: { token } } = await told<{ status: { token: string } }>('POST', `/api/v1/namespaces/${metadata.namespace}/serviceaccounts/${serviceAccountName}/token`, {
      apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 3607, boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: metadata.name, uid: metadata.uid } },
    });
    const account = provide(lab.host(node).path(`accounts/${metadata.uid}`), false);
    for (const [file, text] of [['token', token], ['namespace', metadata.namespace]] as const) writeFileSync(`${account}/${file}`, text);
    copyFileSync(cluster.caFile, `${account}/ca.crt`);
    const mounts: Mount[] = [...image, { source: account, target: accountFolder }, ...(container.volumeMounts ?? []).map(({ name, mountPath }) => {
      const volume = volumes.find((one) => one.name === name)?.hostPath;
      if (volume === undefined) throw new Error(`${nameOf(pod)}: the volume ${name} is of a kind that no test knew so far`);
      return { source: sourceOf(node, volume), target: mountPath };
    })];
    for (const { source, target } of mounts) provide(target, statSync(source).isFile());
    const script = [...mounts.map(({ source, target }) => `mount --bind '${source}' '${target}'`), 'exec "$0" "$@"'].join(' && ');
    const args = argumentsOf(pod);
    const daemon = await lab.daemon(node, args, {
      command: ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, ...privilegesOf(pod), '/app/node_modules/.bin/node', '/app/dist/main.js'],
      environment: { ...environmentOf(pod), KUBERNETES_SERVICE_HOST: cluster.address, KUBERNETES_SERVICE_PORT: String(cluster.port) },
    });
    return { process: { daemon, args }, stop: () => daemon.stop() };
  };

  /** The program of the examples: `netexec --http-port=8080`. */
  const startServer = async (pod: Pod, node: string, address: string): Promise<Started> => {
    const port = Number(/--http-port=(\d+)/.exec(pod.spec.containers[0].args.join(' '))?.[1]);
    if (Number.isNaN(port)) throw new Error(`${nameOf(pod)}: no test knows what ${pod.spec.containers[0].image} ${pod.spec.containers[0].args.join(' ')} is`);
    const server = await lab.serve(node, { name: pod.metadata.name, tcp: [port], ...(pod.spec.hostNetwork === true ? {} : { bind: [address] }) });
    return { process: null, stop: () => server.stop() };
  };

  const start = async (pod: Pod, node: string): Promise<Running> => {
    let address = addressOf(node);
    if (pod.spec.hostNetwork !== true) {
      const { link, used } = links.get(node) ?? { link: lab.host(node).sh('ip link add cni0 type bridge && ip link set cni0 up'), used: 0 };
      links.set(node, { link, used: used + 1 });
      await link;
      address = podAddress(node, used + 1);
      await lab.host(node).sh(`ip addr add ${address}/24 dev cni0`);
    }
    const running = await (pod.spec.serviceAccountName?.startsWith('ipvs-operator-') ? startProduct(pod, node) : startServer(pod, node, address));
    return { pod: pod.metadata.name, node, address, ready: false, ...running };
  };

  const isReady = async (pod: Pod, { node, address, process }: Running): Promise<boolean> => {
    const probe = pod.spec.containers[0].readinessProbe?.httpGet;
    if (process === null || probe === undefined) return true; // A server of the lab listens when it is started.
    if (!process.daemon.running) throw new Error(`${nameOf(pod)} ended:\n${process.daemon.log.slice(-3000)}`);
    // bash, because Debian's busybox has a wget that dies in a guest, and nothing else of the kind is always there.
    const ask = `exec 3<>/dev/tcp/${probe.host ?? address}/${portOf(pod.spec, probe.port)} && printf "GET ${probe.path} HTTP/1.0\\r\\n\\r\\n" >&3 && read -r _ status _ <&3 && [ "$status" = 200 ]`;
    return (await lab.host(node).run(`timeout 5 bash -c '${ask}' 2>/dev/null`)).code === 0;
  };

  const report = (pod: Pod, { node, address }: Running, ready: boolean): Promise<unknown> => told('PATCH', `${pathOf(pod)}/status`, {
    status: {
      phase: 'Running', hostIP: addressOf(node), podIP: address, podIPs: [{ ip: address }],
      conditions: ['PodScheduled', 'Initialized', 'ContainersReady', 'Ready'].map((type) => ({ type, status: ready || !/Ready$/.test(type) ? 'True' : 'False' })),
      containerStatuses: [{ name: pod.spec.containers[0].name, image: pod.spec.containers[0].image, imageID: '', restartCount: 0, started: true, ready, state: { running: { startedAt: new Date().toISOString() } } }],
    },
  });

  const end = async (pod: Pod): Promise<void> => {
    const one = started.get(nameOf(pod));
    await one?.stop();
    if (one !== undefined && pod.spec.hostNetwork !== true) await lab.host(one.node).sh(`ip addr del ${one.address}/24 dev cni0`);
    started.delete(nameOf(pod));
    await told('DELETE', `${pathOf(pod)}?gracePeriodSeconds=0`);
  };

  /** Returns what was still to be done when it looked. */
  const work = async (): Promise<Pod[]> => {
    const pods = (await told<{ items: Pod[] }>('GET', '/api/v1/pods')).items;
    const open = pods.filter((pod) => pod.metadata.deletionTimestamp !== undefined || started.get(nameOf(pod))?.ready !== true);
    // Placed one after the other, since each counts for the next; started side by side.
    const todo: (() => Promise<void>)[] = [];
    for (const pod of open) {
      const known = started.get(nameOf(pod));
      if (pod.metadata.deletionTimestamp !== undefined) {
        if (!postponed.has(pod.metadata.namespace)) todo.push(() => end(pod));
      } else if (known === undefined) {
        const node = pod.spec.nodeName ?? place(pod, workers, pods);
        if (pod.spec.nodeName === undefined) {
          await told('POST', `${pathOf(pod)}/binding`, { apiVersion: 'v1', kind: 'Binding', metadata: { name: pod.metadata.name }, target: { apiVersion: 'v1', kind: 'Node', name: node } });
          pods[pods.indexOf(pod)] = { ...pod, spec: { ...pod.spec, nodeName: node } };
        }
        const bound: Pod = { ...pod, spec: { ...pod.spec, nodeName: node } };
        todo.push(async () => { started.set(nameOf(pod), await start(bound, node)); });
      } else {
        todo.push(async () => {
          const ready = await isReady(pod, known);
          if (ready || pod.status?.podIP === undefined) await report(pod, known, ready);
          started.set(nameOf(pod), { ...known, ready });
        });
      }
    }
    await Promise.all(todo.map((one) => one()));
    return open;
  };

  return {
    work: async () => { await work(); },
    settled: async (expected) => {
      let seen = '';
      await lab.eventually(async () => {
        const open = await work();
        // Asking takes the one CPU away from who is asked.
        if (open.length > 0) await lab.sleep(roundMs);
        const count = (space: string): number => [...started.keys()].filter((name) => name.startsWith(`${space}/`)).length;
        seen = `${Object.keys(expected).map((space) => `${count(space)} in ${space}`).join(', ')}; not ready, or to end: ${open.map(nameOf).join(' ') || 'none'}`;
        return open.length === 0 && Object.entries(expected).every(([space, wanted]) => count(space) === wanted);
      }, { withinMs: 120_000, what: `${JSON.stringify(expected)} pods` }).catch((error: Error) => { throw new Error(`${error.message}; ${seen}`, { cause: error }); });
    },
    running: (space) => [...started].filter(([name]) => name.startsWith(`${space}/`)).map(([, one]) => one),
    postpone: (space) => {
      postponed.add(space);
      return () => postponed.delete(space);
    },
  };
}

/** Makes a folder, or an empty file, unless it is there. */
function provide(path: string, file: boolean): string {
  if (existsSync(path)) return path;
  mkdirSync(file ? dirname(path) : path, { recursive: true });
  if (file) writeFileSync(path, '');
  return path;
}
