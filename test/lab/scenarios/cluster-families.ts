// What a VirtualServer may be besides one mode over IPv4 and TCP, in packets: both families, UDP, real servers given by address,
// trafficPolicy Local, and NAT with and without the client's address. Edits of one VirtualServer are cluster-edits.ts.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { create, pod, service } from '../../cluster/objects.ts';
import { scenario, type Lab } from '../lab.ts';
import { edge, startOperator, type NodeSpec, type Operator } from '../operator.ts';
import { fleet } from '../topologies.ts';

const directors: NodeSpec[] = [1, 2, 3].map((i) => ({ name: `dir${i}`, addresses: [`10.0.1.1${i}`, `fd00:1::1${i}`], labels: edge }));
const realServers: NodeSpec[] = [1, 2, 3, 4].map((i) => ({ name: `rs${i}`, addresses: [`10.0.1.2${i}`, `fd00:1::2${i}`], labels: { role: 'web' } }));
const clients: Readonly<Record<string, readonly [string, string]>> = { c1: ['10.0.9.100', 'fd00:9::100'], lc: ['10.0.1.50', 'fd00:1::50'] };

const objects = `
apiVersion: ipvs-operator.dev/v1alpha1
kind: DirectorGroup
metadata: { name: edge }
spec: { nodeSelector: { matchLabels: { role: edge } }, failover: { leaseDurationSeconds: 60, renewSeconds: 20 } }
---
apiVersion: ipvs-operator.dev/v1alpha1
kind: VIPPool
metadata: { name: public }
spec:
  blocks: [ { cidr: 10.0.1.192/27 }, { cidr: "fd00:1::200/124" } ]
  default: true
  allowedNamespaces: { all: true }
  directorGroupRef: { name: edge }
  allowStaticBackendCIDRs: [ 10.0.0.0/8, "fd00::/8" ]
`;

/** A VirtualServer of the namespace `shop`. */
const server = (name: string, vips: readonly string[], spec: string, scheduler = 'rr'): string => `
apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: { name: ${name}, namespace: shop }
spec: { vip: { addresses: [ ${vips.map((address) => `"${address}"`).join(', ')} ] }, scheduler: { name: ${scheduler} }, drain: { timeoutSeconds: 3 }, ${spec} }
`;

const both = (number: number): readonly [string, string] => [`10.0.1.${number}`, `fd00:1::${number}`];
const even = { rs1: 3, rs2: 3, rs3: 3, rs4: 3 };

/** A cluster that gives Services addresses of both families. */
const dualStack = { apiServerFlags: ['--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112'] };

const podOn = (name: string, app: string, { name: node, addresses }: NodeSpec) => pod({ namespace: 'shop', name, labels: { app }, node, addresses });

/** TCP port 80 and UDP port 53 from both clients, and whom real servers see. */
async function balanced(lab: Lab, operator: Operator, vips: readonly string[], expected: Readonly<Record<string, number>>, sees: 'client' | 'director'): Promise<void> {
  for (const [family, address] of vips.entries()) {
    const owner = await operator.owner(address);
    const director = directors.find(({ name }) => name === owner)?.addresses[family];
    for (const [client, own] of Object.entries(clients)) {
      for (const [port, protocol] of [[80, 'tcp'], [53, 'udp']] as const) {
        const answers = await lab.get(client, { address, port, protocol, count: 12 });
        assert.deepEqual(answers.by, expected, `${client} to ${address} over ${protocol}: ${JSON.stringify(answers)}`);
        assert.deepEqual(answers.sources, [sees === 'client' ? own[family] : director], `whom real servers see of ${client} over ${protocol}`);
      }
    }
  }
}

/** Flows of UDP that keep their port, and whom each reaches. */
async function flows(lab: Lab, address: string): Promise<Record<number, string>> {
  const reached: Record<number, string> = {};
  for (let port = 6001; port <= 6008; port++) {
    reached[port] = (await lab.get('c1', { address, port: 53, protocol: 'udp', localPort: port })).sequence[0]!;
  }
  return reached;
}

/** A real server leaves, its flows move to others, and those of the others stay where they are. */
async function flowsMove(lab: Lab, vips: readonly string[], leave: () => Promise<unknown>): Promise<void> {
  const all = async (): Promise<Record<number, string>[]> => {
    const list: Record<number, string>[] = [];
    for (const address of vips) list.push(await flows(lab, address));
    return list;
  };
  const before = await all();
  for (const reached of before) assert.deepEqual(new Set(Object.values(reached)), new Set(['rs1', 'rs2', 'rs3', 'rs4']));
  assert.deepEqual(await all(), before, 'a flow keeps its real server');
  await leave();
  let now: Record<number, string>[] = [];
  await lab.eventually(async () => {
    now = await all();
    return !now.some((reached) => Object.values(reached).some((name) => name === 'rs4' || name === 'TIMEOUT'));
  }, { withinMs: 30_000, what: 'no flow goes to rs4' }).catch((error: Error) => { throw new Error(`${error.message}: ${JSON.stringify(now)}`, { cause: error }); });
  for (const [i, reached] of before.entries()) {
    for (const [port, name] of Object.entries(reached)) if (name !== 'rs4') assert.equal(now[i]![Number(port)], name, `the flow of port ${port} to ${vips[i]} stays`);
  }
}

export const families = scenario({
  name: 'cluster-families',
  about: 'both families and UDP, over a Service in NAT and over nodes in DR: balanced for both clients, and flows of a real server that leaves move; a VIP of one family is taken away',
  topology: fleet,
  tags: ['cluster'],
  timeoutSeconds: 600,
  run: async (lab) => {
    const [web, turn] = [both(200), both(201)];
    for (const { name } of realServers) await lab.serve(name, { tcp: [80, 8080], udp: [5353] });
    const operator = await startOperator(lab, [...directors, ...realServers], objects, { server: dualStack });
    const { cluster } = operator;
    const dual = service('shop', 'web', { app: 'web' }, [{ name: 'http', port: 80, targetPort: 8080 }, { name: 'dns', port: 53, targetPort: 5353, protocol: 'UDP' }]);
    await create(cluster, { ...dual, spec: { ...dual['spec'] as object, ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv4', 'IPv6'] } }, ...realServers.map((node) => podOn(`web-${node.name}`, 'web', node)));
    const ports = 'ports: [ { name: http, port: 80 }, { name: dns, port: 53, protocol: UDP } ]';
    await cluster.apply([
      server('web', web, `mode: NAT, ${ports}, backends: [ { serviceRef: { name: web } } ]`),
      server('turn', turn, `mode: DR, ${ports}, backends: [ { nodes: { selector: { matchLabels: { role: web } } } } ]`),
    ].join('---'));
    await operator.ready('shop/web');
    await operator.ready('shop/turn');
    for (const { name } of realServers) {
      await lab.eventually(async () => (await lab.host(name).addresses()).filter((a) => turn.some((vip) => a.includes(` ${vip}/`))).length === 2, { withinMs: 60_000, what: `${name} receives for both VIPs` });
      // On the VIPs, since a socket on all addresses would answer from the wrong one.
      await lab.serve(name, { udp: [53], bind: turn });
    }
    // Ready with the first of them: the others may come later, nodes when they receive, pods when their slice has them.
    for (const [vips, flag] of [[turn, '-g'], [web, '-m']] as const) {
      for (const address of vips) {
        await lab.eventually(async () => (await lab.host(await operator.owner(address)).ipvsSave()).filter((line) => line.includes(` ${flag} `)).length === 16, { withinMs: 60_000, what: `all four are used on four ports, by the owner of ${address}` });
      }
    }

    await balanced(lab, operator, web, even, 'director');
    await balanced(lab, operator, turn, even, 'client');
    await flowsMove(lab, web, () => cluster.request('DELETE', '/api/v1/namespaces/shop/pods/web-rs4?gracePeriodSeconds=0'));
    await flowsMove(lab, turn, () => cluster.kubectl(['label', 'node', 'rs4', 'role-']));
    const three = { rs1: 4, rs2: 4, rs3: 4 };
    await balanced(lab, operator, web, three, 'director');
    await balanced(lab, operator, turn, three, 'client');

    const [four, six] = await Promise.all(web.map((address) => lab.hold('c1', { address, port: 80, count: 3 })));
    await cluster.apply(server('web', [web[0]], `mode: NAT, ${ports}, backends: [ { serviceRef: { name: web } } ]`));
    await lab.eventually(async () => (await six!.check()).broken === 3, { withinMs: 30_000, what: 'connections to the address that was taken away end' });
    assert.deepEqual((await six!.check()).reasons, { ECONNRESET: 3 });
    assert.equal((await four!.check()).alive, 3, 'those to the other go on');
    await balanced(lab, operator, [web[0]], three, 'director');
  },
});

/** Waits until each client is answered by one real server only. */
async function onlyBy(lab: Lab, address: string, name: string): Promise<void> {
  for (const client of Object.keys(clients)) {
    let answers: unknown;
    await lab.eventually(async () => {
      const { by } = answers = await lab.get(client, { address, port: 80, count: 6 });
      return isDeepStrictEqual(by, { [name]: 6 });
    }, { withinMs: 30_000, what: `${client} is answered by ${name}` }).catch((error: Error) => { throw new Error(`${error.message}: ${JSON.stringify(answers)}`, { cause: error }); });
  }
}

export const policies = scenario({
  name: 'cluster-policies',
  about: 'trafficPolicy Local: the VIP goes where a real server is, and only that one answers, in NAT and DR; static real servers with weights; NAT that hides the client, and NAT that shows it, changed under held connections',
  topology: fleet,
  tags: ['cluster', 'long'],
  timeoutSeconds: 600,
  run: async (lab) => {
    const [podVip, nodeVip, plainVip] = ['10.0.1.200', '10.0.1.201', '10.0.1.202'];
    for (const { name } of [...realServers, ...directors]) await lab.serve(name, { tcp: [80, 8080] });
    const operator = await startOperator(lab, [...directors, ...realServers], objects);
    const { cluster } = operator;
    const [, dir2, dir3] = directors;
    await create(cluster, service('shop', 'local', { app: 'local' }, [{ port: 80, targetPort: 8080 }]), podOn('local-rs1', 'local', realServers[0]!), podOn('local-dir2', 'local', dir2!));
    await cluster.kubectl(['label', 'node', 'dir3', 'rs1', 'tier=local']);
    const plain = (source: string): string => server('plain', [plainVip], `mode: NAT, nat: { sourceAddress: ${source} }, ports: [ { port: 80, targetPort: 8080 } ], backends: [ { weight: 3, static: { endpoints: [ { address: 10.0.1.21 }, { address: 10.0.1.22, weight: 1 } ] } } ]`, 'wrr');
    await cluster.apply([
      server('pods', [podVip], 'mode: NAT, trafficPolicy: Local, ports: [ { port: 80 } ], backends: [ { serviceRef: { name: local } } ]'),
      server('nodes', [nodeVip], 'mode: DR, trafficPolicy: Local, ports: [ { port: 80 } ], backends: [ { nodes: { selector: { matchLabels: { tier: local } } } } ]'),
      plain('Masquerade'),
    ].join('---'));
    for (const name of ['shop/pods', 'shop/nodes', 'shop/plain']) await operator.ready(name);

    await onlyBy(lab, podVip, 'dir2');
    await onlyBy(lab, nodeVip, 'dir3');
    assert.deepEqual([await operator.owner(podVip), await operator.owner(nodeVip)], ['dir2', 'dir3'], 'a VIP is where a real server is');
    // The real servers move to other directors.
    await create(cluster, podOn('local-dir3', 'local', dir3!));
    await cluster.kubectl(['label', 'node', 'dir1', 'tier=local']);
    await lab.sleep(2_000);
    assert.deepEqual([await operator.owner(podVip), await operator.owner(nodeVip)], ['dir2', 'dir3'], 'nothing moves while there is one');
    await onlyBy(lab, podVip, 'dir2');
    await onlyBy(lab, nodeVip, 'dir3');
    await cluster.request('DELETE', '/api/v1/namespaces/shop/pods/local-dir2?gracePeriodSeconds=0');
    await cluster.kubectl(['label', 'node', 'dir3', 'tier-']);
    await onlyBy(lab, podVip, 'dir3');
    await onlyBy(lab, nodeVip, 'dir1');
    await cluster.request('DELETE', '/api/v1/namespaces/shop/pods/local-dir3?gracePeriodSeconds=0');
    await lab.eventually(async () => isDeepStrictEqual((await lab.get('c1', { address: podVip, port: 80, count: 3 })).errors, { ECONNREFUSED: 3 }), { withinMs: 30_000, what: 'the pod on rs1 is nobody\'s: clients are refused, not left to wait' });

    // Static real servers, weighted 3 to 1; the director hides the client, then shows it, then hides it again.
    const holder = await operator.owner(plainVip);
    const director = directors.find(({ name }) => name === holder)!.addresses[0]!;
    const sees = async (clientsThen: readonly string[], source: (client: string) => string): Promise<void> => {
      for (const client of clientsThen) {
        let answers: unknown;
        await lab.eventually(async () => {
          const { by, sources } = answers = await lab.get(client, { address: plainVip, port: 80, count: 12 });
          return isDeepStrictEqual([by, sources], [{ rs1: 9, rs2: 3 }, [source(client)]]);
        }, { withinMs: 30_000, what: `real servers see ${source(client)}` }).catch((error: Error) => { throw new Error(`${error.message}: ${JSON.stringify(answers)}`, { cause: error }); });
      }
    };
    await sees(['c1', 'lc'], () => director);
    const hidden = await lab.hold('c1', { address: plainVip, port: 80, count: 4 });
    for (const name of ['rs1', 'rs2']) await lab.host(name).sh(`ip route replace default via ${director}`);
    await cluster.apply(plain('Preserve'));
    await operator.ready('shop/plain');
    await sees(['c1'], (client) => clients[client]![0]);
    assert.deepEqual((await lab.get('lc', { address: plainVip, port: 80 })).errors, { TIMEOUT: 1 }, 'a client in the LAN of the real servers is answered around the director');
    const shown = await lab.hold('c1', { address: plainVip, port: 80, count: 4 });
    assert.equal((await hidden.check()).alive, 4);
    await cluster.apply(plain('Masquerade'));
    await operator.ready('shop/plain');
    await sees(['c1', 'lc'], () => director);
    assert.deepEqual([(await hidden.check()).alive, (await shown.check()).alive], [4, 4], 'connections keep what the director did when they began');
  },
});
