// The story of `npm run demo:cluster`: the chart and examples/kubernetes on a real API server, pods behind a VIP, more pods, fewer
// pods, and the death of the director that holds the VIP. Scheduler and kubelets are played (kubelets.ts); the story says so.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { create, node } from '../../cluster/objects.ts';
import { usualControllers } from '../../cluster/layout.ts';
import { createKubelets, type Kubelets } from '../kubelets.ts';
import { scenario, type Lab, type LabCluster, type Scenario } from '../lab.ts';
import type { Pod } from '../pod-spec.ts';
import { weights } from '../pods.ts';
import { macAddress } from '../topology.ts';
import { clusterPicture, directors, installKubectl, labels, nodeAddress, podAddress, system, topology, workers } from './cluster-network.ts';
import type { Stage } from './stage.ts';
import { chartName } from './story.ts';
import { watch, watchStream } from './traffic.ts';

/** Time of the whole act, in seconds: it waits for the person too. */
export const clusterActSeconds = 400;
/** Pinned in examples/kubernetes/dr.yaml. */
const ingressVip = '203.0.113.80';
const held = 12;
/** CAP_NET_ADMIN and CAP_NET_RAW of linux/capability.h, as /proc/PID/status has them. */
const netAdminAndRaw = '0000000000003000';

interface Scene { readonly lab: Lab; readonly stage: Stage; readonly cluster: LabCluster; readonly kubelets: Kubelets }

/** Helm's render of the chart must be in `shared`: see chartName. */
export function cluster(stage: Stage, shared: string): Scenario {
  return scenario({
    name: 'demo-cluster', about: 'the demo in a cluster: chart, examples, scaling, a dead director', topology, tags: ['cluster'], timeoutSeconds: clusterActSeconds,
    run: (lab) => story(lab, stage, readFileSync(join(shared, chartName), 'utf8')),
  });
}

/** Where the guest has the chart as Helm rendered it. */
const chartFile = '/tmp/chart.yaml';

/** All chapters. `chart`: Helm's render. Rejects when one cannot be told to its end. */
export async function story(lab: Lab, stage: Stage, chart: string): Promise<void> {
  writeFileSync(chartFile, chart);

  stage.chapter(1, 'A cluster', 'Two nodes for directing and three for pods, in a Linux kernel of their own, with a real etcd, API server and controller manager.');
  stage.tell({ kind: 'picture', lines: clusterPicture() });
  stage.doing('etcd, kube-apiserver and kube-controller-manager start');
  const cluster = await lab.cluster({ controllerManager: [...usualControllers, 'deployment-controller', 'replicaset-controller', 'daemonset-controller'] });
  installKubectl(cluster);
  // This kernel has no nftables, and an agent may not load what iptables would (docs/install.md): on a node kube-proxy has done it.
  await lab.host('ops').sh('modprobe -a ip_tables ip6_tables');
  await create(cluster, ...Object.entries(labels).map(([name, of]) => node(name, [nodeAddress(name)], of)));
  // The API server taints each new node as not ready; taking that off is a kubelet's doing elsewhere, and no DaemonSet without a toleration comes before.
  for (const name of Object.keys(labels)) await cluster.request('PATCH', `/api/v1/nodes/${name}`, { spec: { taints: null } });
  const nodes = await stage.type(lab, 'ops', 'kubectl get nodes');
  stage.claim('five nodes, two of them at the edge', [nodes.stdout.match(/ Ready /g)?.length, nodes.stdout.match(/^edge-\d .* edge /gm)?.length], [5, 2]);
  stage.say('There are no kubelets and no scheduler here: nodes are network namespaces, and the demo plays both. It runs the program of a container as a process.');
  stage.end();

  const kubelets = createKubelets(lab, cluster, { workers: Object.fromEntries(workers.map((name) => [name, labels[name]!])), addressOf: nodeAddress, podAddress });
  const scene: Scene = { lab, stage, cluster, kubelets };
  stage.chapter(2, 'The chart', 'It brings CRDs, rights, a controller (two replicas) and an agent on every node.');
  await install(scene);
  stage.end();

  stage.chapter(3, 'kubectl apply', 'The examples, unchanged: a pool of addresses, and three VirtualServers of three teams: NAT to pods, DR and TUN to nodes.');
  const vip = await examples(scene);
  stage.end();

  stage.chapter(4, 'Connections', 'A client outside opens connections to the address that the pool gave.');
  await connections(scene, vip);
  stage.end();

  stage.chapter(5, 'Scaling', 'More pods, then fewer, under connections that stay open.');
  await scaling(scene, vip);
  stage.end();

  stage.chapter(6, 'The director dies', 'The node that holds the VIP loses its power: no process says goodbye, its cables are dead.');
  await takeover(scene, vip);
  stage.end();
}

async function install({ lab, stage, cluster, kubelets }: Scene): Promise<void> {
  stage.say(`Helm has rendered deploy/chart with its default values into ${chartFile}:`);
  const applied = await stage.type(lab, 'ops', `kubectl create namespace ${system} && kubectl apply --server-side -f ${chartFile} | tee /tmp/applied | grep -E '^(daemonset|deployment)'`);
  const rendered = readFileSync(chartFile, 'utf8').match(/^kind: /gm)?.length;
  stage.claim(`all ${rendered} objects of the chart are applied${applied.stderr}`, (await lab.host('ops').sh('cat /tmp/applied')).match(/serverside-applied$/gm)?.length, rendered);
  stage.doing('two controllers and five agents start');
  await kubelets.settled({ [system]: 7 });
  const workload = async (path: string): Promise<{ readyReplicas?: number; numberReady?: number }> => (await object<{ status: object }>(cluster, `/apis/apps/v1/namespaces/${system}/${path}`)).status;
  await lab.eventually(async () => (await workload('deployments/ipvs-operator-controller')).readyReplicas === 2 && (await workload('daemonsets/ipvs-operator-agent')).numberReady === 5,
    { withinMs: 60_000, what: 'the controller manager has counted them' });
  const shown = await stage.type(lab, 'ops', `kubectl -n ${system} get deployments,daemonsets -o custom-columns=KIND:.kind,NAME:.metadata.name,WANTED:.spec.replicas,ON-NODES:.status.desiredNumberScheduled,READY:.status.readyReplicas,READY-NODES:.status.numberReady`);
  stage.claim('controllers and agents are ready', [/Deployment .* 2 +<none>$/m.test(shown.stdout), /DaemonSet .* 5$/m.test(shown.stdout)], [true, true]);
  // One that had to begin again counts when it is there.
  await lab.eventually(() => kubelets.running(system).every(({ process }) => process?.daemon.running), { withinMs: 60_000, what: 'each of them runs' });
  const found = kubelets.running(system).map(({ process }) => {
    const pid = process?.daemon.pid;
    const [node, main, ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
    const of = (field: string): string | undefined => new RegExp(`^${field}:\\s+(\\S+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return { program: [node, main].join(' '), same: isDeepStrictEqual(args, process?.args), user: of('Uid'), capabilities: of('CapEff') };
  });
  const program = '/app/node_modules/.bin/node /app/dist/main.js';
  stage.claim('each has the arguments of its pod; agents have NET_ADMIN and NET_RAW and nothing else, controllers nothing', found.toSorted((a, b) => Number(b.user) - Number(a.user)), [
    ...Array.from({ length: 2 }, () => ({ program, same: true, user: '65532', capabilities: '0000000000000000' })),
    ...Array.from({ length: 5 }, () => ({ program, same: true, user: '0', capabilities: netAdminAndRaw })),
  ]);
}

/** Returns the address of the Service `web`. */
async function examples({ lab, stage, cluster, kubelets }: Scene): Promise<string> {
  await stage.type(lab, 'ops', 'kubectl apply --server-side -f examples/kubernetes/ | grep ipvs-operator');
  stage.doing('pods start');
  // Nobody runs what its nodes serve: the example has no workload.
  await lab.serve('node-1', { tcp: [8554] });
  await kubelets.settled({ shop: 3, ingress: 2 });
  stage.doing('addresses are given, directors and real servers are told, and take up their part');
  for (const [space, name] of [['shop', 'web'], ['ingress', 'ingress'], ['media', 'media']] as const) {
    await lab.eventually(async () => (await lab.host('ops').run(`kubectl -n ${space} wait --for=condition=Ready --timeout=20s ivs/${name}`)).code === 0, { withinMs: 60_000, what: `${space}/${name} is Ready` });
  }
  const shown = await stage.type(lab, 'ops', 'kubectl get ivs,vip,ivn -A');
  stage.claim('three VirtualServers have an address and are ready', shown.stdout.match(/^\w+ +virtualserver\S+ .*203\.0\.113\.\d+ .* True /gm)?.length, 3);
  const vip = await addressOf(cluster, 'shop', 'web');
  const owner = await ownerOf(cluster, vip);
  await lab.eventually(async () => Object.keys(await weights(lab, owner, vip, 80) ?? {}).length === 3, { withinMs: 60_000, what: 'three pods are its real servers' });
  stage.say(`ops asks its LAN who has ${vip}:`);
  const answers = await lab.arp('ops', vip);
  stage.claim(`${owner} answers, and nobody else`, answers, [macAddress(lab.topology, owner, 'e0')]);
  return vip;
}

async function connections({ lab, stage, kubelets }: Scene, vip: string): Promise<void> {
  const servers = kubelets.running('shop').map(({ pod }) => pod);
  // The client's process and the neighbours' addresses are found before anybody looks; counted like the others.
  const first = await lab.get('c1', { address: vip, port: 80, count: 3 });
  stage.counted(3, 3 - sum(first.by));
  await stage.turn(lab);
  const { by, opened, lost, sources } = await watch(lab, stage, { client: 'c1', address: vip, servers, count: 60 });
  stage.claim(`${opened} connections over three pods by wlc, none lost`, { lost, shared: servers.every((pod) => (by[pod] ?? 0) >= 10) }, { lost: 0, shared: true });
  const direct = await lab.get('c1', { address: ingressVip, port: 80, count: 12 });
  stage.counted(12, 12 - sum(direct.by));
  stage.say(`The same client opens 12 to ${ingressVip}, which is in DR mode, persistent:`);
  stage.claim('all 12 arrive at one node, which sees the client itself', { one: Object.values(direct.by), sources: direct.sources }, { one: [12], sources: ['198.51.100.100'] });
  stage.claim('pods behind NAT see a director', sources.every((source) => directors.map(nodeAddress).includes(source)), true);
}

async function scaling({ lab, stage, cluster, kubelets }: Scene, vip: string): Promise<void> {
  const before = new Set(kubelets.running('shop').map(({ pod }) => pod));
  const connections = await lab.hold('ops', { address: vip, port: 80, count: held, everyMs: 500 });
  const options = { client: 'c1', address: vip };
  await stage.type(lab, 'ops', 'kubectl -n shop scale deployment web --replicas=5');
  stage.doing('two more pods start');
  await kubelets.settled({ shop: 5 });
  const five = kubelets.running('shop').map(({ pod }) => pod);
  const table = async (): Promise<number[]> => Object.values(await weights(lab, await ownerOf(cluster, vip), vip, 80) ?? {});
  await lab.eventually(async () => (await table()).length === 5, { withinMs: 60_000, what: 'five real servers' });
  await stage.turn(lab);
  const more = await watch(lab, stage, { ...options, servers: five, count: 60, scale: 30 });
  stage.claim('the two new pods take their share, none is lost', { lost: more.lost, shared: five.filter((pod) => !before.has(pod)).map((pod) => (more.by[pod] ?? 0) >= 10) }, { lost: 0, shared: [true, true] });

  const release = kubelets.postpone('shop');
  await stage.type(lab, 'ops', 'kubectl -n shop scale deployment web --replicas=2');
  stage.doing('three pods are to end, when their connections have');
  await lab.eventually(async () => (await table()).filter((weight) => weight > 0).length === 2, { withinMs: 60_000, what: 'three real servers drain' });
  const leaving = await ending(cluster, 'shop');
  await stage.turn(lab);
  const fewer = await watch(lab, stage, { ...options, servers: five, count: 30, scale: 30, note: (pod) => (leaving.includes(pod) ? 'leaving' : '') });
  stage.claim('those that leave get no new connection', { lost: fewer.lost, leaving: leaving.map((pod) => fewer.by[pod] ?? 0) }, { lost: 0, leaving: [0, 0, 0] });
  const { alive, broken, by } = await connections.check();
  const staying = leaving.reduce((all, pod) => all + (by[pod] ?? 0), 0);
  stage.claim(`all ${held} held connections go on, ${staying} of them on pods that leave`, { alive, broken, some: staying > 0 }, { alive: held, broken: 0, some: true });
  stage.counted(held, broken);
  await connections.close();
  release();
  stage.doing('the connections end, and the pods with them');
  await kubelets.settled({ shop: 2 });
  await lab.eventually(async () => (await table()).length === 2, { withinMs: 60_000, what: 'two real servers are left' });
  const shown = await stage.type(lab, await ownerOf(cluster, vip), `ipvsadm -Ln -t ${vip}:80`);
  stage.claim('two real servers are left in the kernel', shown.stdout.match(/^ +-> 10\./gm)?.length, 2);
}

async function takeover({ lab, stage, cluster, kubelets }: Scene, vip: string): Promise<void> {
  const owner = await ownerOf(cluster, vip);
  const other = directors.find((name) => name !== owner)!;
  const servers = kubelets.running('shop').map(({ pod }) => pod);
  const agent = kubelets.running(system).find(({ node, pod }) => node === owner && pod.includes('agent'))!.process!.daemon;
  await stage.type(lab, 'ops', 'kubectl get vip');
  await stage.turn(lab);
  const stream = await lab.stream('c1', { address: vip, port: 80, everyMs: 100, timeoutMs: 2_000 });
  const shown = { servers, scale: 60 };
  await watchStream(lab, stage, stream, { ...shown, milliseconds: 1500, caption: `${owner} directs` });
  await cluster.unplug(owner);
  await stage.type(lab, owner, `kill -9 ${agent.pid}; ip link set e0 down`);
  const { ok } = await stream.report();
  const after = await watchStream(lab, stage, stream, { ...shown, milliseconds: 180_000, until: (report) => report.ok >= ok + 10, caption: `${owner} is dead` });
  await lab.eventually(async () => {
    const { items } = await object<{ items: { status?: { activeNode?: string } }[] }>(cluster, '/apis/ipvs-operator.dev/v1alpha1/virtualips');
    return items.every(({ status }) => status?.activeNode === other);
  }, { withinMs: 60_000, what: `${other} holds every address` });
  await watchStream(lab, stage, stream, { ...shown, milliseconds: 1500, caption: `${other} directs` });
  const { maxGapMs } = await stream.stop();
  stage.claim(`after ${(maxGapMs / 1000).toFixed(1)} s without an answer (a director may be silent for 6 s) clients are served again`, after.ok >= ok + 10 && maxGapMs < 180_000, true);
  const moved = await stage.type(lab, 'ops', 'kubectl get vip', other);
  stage.claim(`all addresses are ${other}'s`, moved.stdout.match(new RegExp(` ${other} `, 'g'))?.length, 3);
  stage.claim(`${other} answers for ${vip}, and nobody else`, await lab.arp('ops', vip), [macAddress(lab.topology, other, 'e0')]);
  const { lost, opened, by } = await watch(lab, stage, { client: 'c1', address: vip, servers, count: 30 });
  stage.claim(`${opened} more connections over both pods, none lost`, { lost, shared: servers.map((pod) => (by[pod] ?? 0) >= 8) }, { lost: 0, shared: [true, true] });
}

const sum = (by: Readonly<Record<string, number>>): number => Object.values(by).reduce((total, n) => total + n, 0);

async function object<T>(cluster: LabCluster, path: string): Promise<T> {
  const { status, body } = await cluster.request<T>('GET', path);
  if (status !== 200) throw new Error(`${path}: ${status} ${JSON.stringify(body)}`);
  return body;
}

async function addressOf(cluster: LabCluster, space: string, name: string): Promise<string> {
  const { status } = await object<{ status: { addresses: { value: string }[] } }>(cluster, `/apis/ipvs-operator.dev/v1alpha1/namespaces/${space}/virtualservers/${name}`);
  return status.addresses[0]!.value;
}

async function ownerOf(cluster: LabCluster, vip: string): Promise<string> {
  return (await object<{ status?: { activeNode?: string } }>(cluster, `/apis/ipvs-operator.dev/v1alpha1/virtualips/${vip}`)).status?.activeNode ?? '';
}

/** Names of Pods that are told to end and have not. */
async function ending(cluster: LabCluster, space: string): Promise<string[]> {
  const { items } = await object<{ items: Pod[] }>(cluster, `/api/v1/namespaces/${space}/pods`);
  return items.filter(({ metadata }) => metadata.deletionTimestamp !== undefined).map(({ metadata }) => metadata.name);
}
