// Garbage in every object that we read, under the rights that deploy/install.yaml gives: each is refused by name, nobody crashes, nothing of it
// reaches a kernel, and who is not meant goes on serving. What the API server refuses by itself is asked too, so that it is known who does.

import assert from 'node:assert/strict';
import { allServe, API, balances, directors, nodes, post, realServers, serverOf, serviceOf, undisturbed, type ApiObject } from '../fleet.ts';
import { scenario, type Lab } from '../lab.ts';
import { basics, startOperator, type Operator } from '../operator.ts';
import { fleet, vip } from '../topologies.ts';

const direct = '10.0.1.201';
const targets = [`${vip}:80`, `${direct}:81`];
const SHOP = `${API}/namespaces/shop`;
const MERGE = { contentType: 'application/merge-patch+json' } as const;

interface Answer { readonly message?: string }
interface Conditions { readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[] }

/** A program as somebody writes it by hand, of a VirtualServer that does not exist. */
function programOf(name: string, address: string, realServer: string): ApiObject {
  return {
    apiVersion: 'ipvs-operator.dev/v1alpha1', kind: 'VirtualServerProgram', metadata: { name, namespace: 'shop', labels: { 'ipvs-operator.dev/director-group': 'edge' } },
    spec: {
      directorGroup: 'edge', contentHash: `hash-of-${name}`, addresses: [{ address, family: 'IPv4' }], mode: 'NAT', sourceAddress: 'Masquerade',
      scheduler: { name: 'rr', fallback: false, portAware: false, onePacket: false }, services: [{ ports: [{ name: '', protocol: 'TCP', port: 80, endPort: 80 }], mark: 0, realServers: [realServer] }],
      connectionLimits: { upper: 0, lower: 0 }, drainTimeoutSeconds: 0, slice: { index: 0, count: 1 }, generation: 1, virtualServer: { name, uid: '0b8f8d5e-7a5b-4f0c-9f53-3c1f4f6f0a10' },
    },
  };
}

/** What the agents say of each; null: the API server refuses it itself. */
const PROGRAMS: readonly { readonly name: string; readonly what: string; readonly address: string; readonly realServer: string; readonly code: string | null }[] = [
  { name: 'loopback', what: 'a VIP of the loopback network', address: '127.0.0.1', realServer: '10.0.1.21|80|1|', code: 'InvalidProgram' },
  { name: 'metadata', what: 'the metadata service as a real server', address: '10.0.1.220', realServer: '169.254.169.254|80|1|', code: 'InvalidProgram' },
  { name: 'itself', what: 'a VIP that is its own real server', address: '10.0.1.220', realServer: '10.0.1.220|80|1|', code: 'InvalidProgram' },
  { name: 'director', what: 'the address of a director', address: '10.0.1.12', realServer: '10.0.1.21|80|1|', code: 'AddressReserved' },
  { name: 'apiserver', what: 'the address of the API server', address: '192.168.250.254', realServer: '10.0.1.21|80|1|', code: 'AddressReserved' },
  { name: 'aaa-thief', what: 'the VIP and port of another', address: vip, realServer: '10.0.1.50|8080|1|', code: 'PortConflict' },
];

async function start(lab: Lab): Promise<Operator> {
  for (const { name } of realServers) await lab.serve(name, { tcp: [8080, 81] });
  const operator = await startOperator(lab, nodes, basics('10.0.1.192/27'));
  await post(operator, ...serviceOf('shop/web', realServers.map((r) => r.addresses[0]!)),
    serverOf('shop/web', { vip: { addresses: [vip] }, mode: 'NAT', ports: [{ port: 80 }], drain: { timeoutSeconds: 3600 }, backends: [{ serviceRef: { name: 'web' } }] }),
    serverOf('shop/direct', { vip: { addresses: [direct] }, mode: 'DR', ports: [{ port: 81 }], backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }] }));
  await allServe(lab, operator, targets);
  return operator;
}

/** Services and addresses of all directors. */
async function kernels(lab: Lab): Promise<Record<string, readonly string[]>> {
  const found: Record<string, readonly string[]> = {};
  for (const { name } of directors) found[name] = [...await lab.host(name).ipvsSave(), ...await lab.host(name).addresses()];
  return found;
}

const failuresOf = async (operator: Operator, node: string): Promise<Record<string, string>> => {
  const status = (await operator.get<{ status?: { failures?: { virtualServer: string; code: string }[] } }>('ipvsnodes', node))?.status;
  return Object.fromEntries((status?.failures ?? []).map((f) => [f.virtualServer, f.code]));
};

export const machines = scenario({
  name: 'cluster-garbage-machines',
  about: 'programs, reports and labels that were written by hand: refused by whoever may refuse, named by the agents, put right, and nobody is disturbed',
  topology: fleet,
  tags: ['cluster', 'long'],
  timeoutSeconds: 600,
  run: async (lab) => {
    const operator = await start(lab);
    const { cluster, tokens } = operator;
    const owner = await operator.owner(vip);
    const other = directors.find((d) => d.name !== owner)!.name;
    const held = await lab.hold('c1', { address: vip, port: 80, count: 4 });
    const before = await kernels(lab);

    // Agents may not write for others, nor what only the controller writes; who owns a namespace may not either.
    const asRs1 = { token: tokens['rs1']!, ...MERGE };
    await lab.eventually(async () => (await cluster.request('PATCH', `${API}/ipvsnodes/${owner}/status`, { status: { kernel: 'x' } }, asRs1)).status === 403, { withinMs: 60_000, what: 'the policy is in force' });
    const refused = await cluster.request<Answer>('PATCH', `${API}/ipvsnodes/${owner}/status`, { status: { boundVIPs: [], ownedVIPs: [], applied: [] } }, asRs1);
    assert.match(`${refused.status} ${refused.body.message}`, new RegExp(`^403 .*the agent of rs1 may not report for ${owner}`));
    const given = await cluster.request<Answer>('PATCH', `${API}/virtualips/${vip}/status`, { status: { activeNode: other } }, asRs1);
    assert.match(`${given.status} ${given.body.message}`, new RegExp(`^403 .*the agent of rs1 may not give ${vip.replaceAll('.', '\\.')} to ${other}`));
    assert.equal((await cluster.request('POST', `${SHOP}/virtualserverprograms`, programOf('by-agent', '10.0.1.220', '10.0.1.21|80|1|'), { token: tokens['rs1']! })).status, 403);
    assert.equal((await cluster.request('PATCH', `${API}/ipvsnodes/rs1`, { spec: { directorGroups: ['edge'] } }, asRs1)).status, 403);

    // An administrator may write programs, and nobody takes them away while the controller is not there: then the agents are alone with them.
    await operator.controller.kill();
    for (const { name, address, realServer, what, code } of PROGRAMS) {
      const { status, body } = await cluster.request<Answer>('POST', `${SHOP}/virtualserverprograms`, programOf(name, address, realServer));
      assert.equal(status, code === null ? 422 : 201, `${what}: ${body.message}`);
    }
    const wanted = Object.fromEntries(PROGRAMS.flatMap(({ name, code }) => (code === null ? [] : [[`shop/${name}`, code]])));
    for (const { name } of directors) await lab.eventually(async () => assert.deepEqual(await failuresOf(operator, name), wanted), { withinMs: 60_000, what: `${name} names each` });
    assert.deepEqual(await kernels(lab), before, 'nothing of it is in a kernel');
    await balances(lab, targets, 'others are served');
    for (const { name } of directors) assert.match(operator.agents[name]!.log, /"virtualServer":"shop\/metadata","code":"InvalidProgram"/);

    // Labels by which we find our own.
    await cluster.request('PATCH', `/apis/coordination.k8s.io/v1/namespaces/ipvs-system/leases/director-${owner}`, { metadata: { labels: { 'ipvs-operator.dev/lease': null } } }, MERGE);
    const programPath = `${SHOP}/virtualserverprograms/web`;
    await cluster.request('PATCH', programPath, { metadata: { labels: { 'ipvs-operator.dev/director-group': null } }, spec: { services: [{ ports: [{ name: '', protocol: 'TCP', port: 80, endPort: 80 }], mark: 0, realServers: ['10.0.1.21|8080|1|rs1'] }] } }, MERGE);
    await cluster.request('PATCH', `${API}/virtualips/${vip}`, { metadata: { labels: null } }, MERGE);
    await lab.eventually(async () => (await cluster.request<{ metadata: { labels?: Record<string, string> } }>('GET', `/apis/coordination.k8s.io/v1/namespaces/ipvs-system/leases/director-${owner}`)).body.metadata.labels?.['ipvs-operator.dev/lease'] === 'director', { withinMs: 60_000, what: 'the Lease has its label again' });
    await operator.controller.start();
    await lab.eventually(async () => {
      const { body } = await cluster.request<{ items: { metadata: { name: string; labels?: Record<string, string> }; spec: { services: { realServers: string[] }[] } }[] }>('GET', `${SHOP}/virtualserverprograms`);
      assert.deepEqual(body.items.map((p) => [p.metadata.name, p.metadata.labels?.['ipvs-operator.dev/director-group'], p.spec.services[0]!.realServers.length]), [['direct', 'edge', 4], ['web', 'edge', 4]]);
    }, { withinMs: 60_000, what: 'the controller takes away what is not its own, and puts its own right' });
    for (const { name } of directors) await lab.eventually(async () => assert.deepEqual(await failuresOf(operator, name), {}), { withinMs: 60_000, what: `${name} has nothing to complain of` });
    await lab.eventually(async () => assert.deepEqual(await kernels(lab), before), { withinMs: 60_000, what: 'the kernels are as before' });

    // Reports that somebody wrote over, by an administrator's hand.
    await operator.ready('shop/web');
    interface Told extends Conditions { readonly observedGeneration?: number; readonly addresses?: readonly { readonly value: string; readonly activeNode: string }[]; readonly ownedVIPs?: readonly string[]; readonly boundVIPs?: readonly string[]; readonly applied?: readonly string[] }
    const nonsense = (type: string, status: string) => [{ type, status, reason: 'Nonsense', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' }];
    const spoiled: readonly (readonly [path: string, status: object, right: (told: Told) => boolean])[] = [
      [`${SHOP}/virtualservers/web`, { addresses: [{ value: '198.51.100.66', family: 'IPv4', activeNode: 'nobody' }], observedGeneration: 77, conditions: nonsense('Ready', 'False') },
        ({ addresses, observedGeneration }) => observedGeneration === 1 && addresses?.length === 1 && addresses[0]!.value === vip && addresses[0]!.activeNode === owner],
      [`${API}/ipvsnodes/${owner}`, { ownedVIPs: [], boundVIPs: ['198.51.100.66'], applied: [], observedGeneration: 77, conditions: nonsense('Degraded', 'True') },
        ({ ownedVIPs, boundVIPs, applied, observedGeneration }) => ownedVIPs?.includes(vip) === true && boundVIPs?.includes('198.51.100.66') === false && applied?.length === 2 && observedGeneration !== 77],
      [`${API}/ipvsnodes/rs2`, { boundVIPs: [] }, ({ boundVIPs }) => boundVIPs?.includes(direct) === true],
    ];
    for (const [path, status, right] of spoiled) {
      assert.equal((await cluster.request('PATCH', `${path}/status`, { status }, MERGE)).status, 200, path);
      await lab.eventually(async () => {
        const { status: told } = (await cluster.request<{ status: Told }>('GET', path)).body;
        assert.ok(right(told) && told.conditions?.every((c) => c.reason !== 'Nonsense') && told.conditions.some((c) => c.type === 'Ready' && c.status === 'True'), JSON.stringify(told));
      }, { withinMs: 60_000, what: `the report is made again: ${path}` });
    }
    await lab.eventually(async () => assert.deepEqual(await kernels(lab), before), { withinMs: 60_000, what: 'and nothing moved' });
    assert.equal(await operator.owner(vip), owner, 'the VIP has not moved in all this');
    assert.deepEqual([(await held.check()).alive, (await held.check()).broken], [4, 0]);
    await held.close();

    // Whose name stands on a VirtualIP decides; a name of nobody is corrected, at the price of a takeover.
    await cluster.request('PATCH', `${API}/virtualips/${vip}/status`, { status: { activeNode: 'nobody' } }, MERGE);
    await lab.eventually(async () => /^dir\d$/.test(await operator.owner(vip)), { withinMs: 60_000, what: 'a director has the VIP' });
    await balances(lab, targets, 'and it serves');
    undisturbed(operator, 2);
  },
});

export const people = scenario({
  name: 'cluster-garbage-people',
  about: 'an unknown version, endpoints that may not be, hundreds of VirtualServers that mean nothing: refused by name, and an edit of another arrives all the same',
  topology: fleet,
  tags: ['cluster'],
  timeoutSeconds: 600,
  run: async (lab) => {
    const operator = await start(lab);
    const { cluster } = operator;
    const held = await lab.hold('c1', { address: vip, port: 80, count: 4 });
    const condition = async (name: string, type: string): Promise<string> => {
      const c = (await operator.get<{ status?: Conditions }>('virtualservers', `shop/${name}`))?.status?.conditions?.find((one) => one.type === type);
      return c ? `${c.status} ${c.reason}: ${c.message}` : 'none';
    };

    const unknown = await cluster.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify({ ...serverOf('shop/future', {}), apiVersion: 'ipvs-operator.dev/v9' }) });
    assert.match(`${unknown.code} ${unknown.stderr}`, /^1 .*no matches for kind "VirtualServer" in version "ipvs-operator.dev\/v9"/s);
    const misspelt = await cluster.request<Answer>('POST', `${SHOP}/virtualservers?fieldValidation=Strict`, serverOf('shop/misspelt', { schedular: {}, mode: 'NAT', ports: [{ port: 80 }], backends: [{ serviceRef: { name: 'web' } }] }));
    assert.match(`${misspelt.status} ${misspelt.body.message}`, /^4\d\d .*schedular/);

    // The API server itself keeps such endpoints out of a slice; the VIP of another, and its own, it cannot know.
    const [service, slice] = serviceOf('shop/loop', ['169.254.169.254']) as [ApiObject, ApiObject];
    const linkLocal = await cluster.request<Answer>('POST', '/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices', slice);
    assert.match(`${linkLocal.status} ${linkLocal.body.message}`, /^422 .*link-local/);
    await post(operator, service, ...serviceOf('shop/loop', [vip, direct, '10.0.1.202', '10.0.1.24']).slice(1),
      { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata: { name: 'loop-2', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'loop' } }, addressType: 'FQDN', ports: [{ name: '', port: 8080 }], endpoints: [{ addresses: ['metadata.internal'] }] },
      serverOf('shop/loop', { vip: { addresses: ['10.0.1.202'] }, mode: 'NAT', ports: [{ port: 80 }], backends: [{ serviceRef: { name: 'loop' } }] }));
    await lab.eventually(async () => {
      const excluded = (await operator.get<{ status?: { excluded?: { backend: string; reason: string }[] } }>('virtualservers', 'shop/loop'))?.status?.excluded?.map((e) => `${e.backend} ${e.reason}`) ?? [];
      assert.deepEqual(excluded.filter((e) => e.startsWith('10.')).sort(), ['10.0.1.202', vip, direct].map((a) => `${a} EndpointNotPermitted`).sort(), excluded.join());
    }, { withinMs: 60_000, what: 'each of the three VIPs is refused as a real server, by name' });
    await lab.eventually(async () => {
      for (const { name } of directors) {
        assert.deepEqual((await lab.host(name).ipvsSave()).filter((line) => line.includes('10.0.1.202')), ['-A -t 10.0.1.202:80 -s rr', '-a -t 10.0.1.202:80 -r 10.0.1.24:8080 -m -w 1'], name);
      }
      assert.deepEqual((await lab.get('c1', { address: '10.0.1.202', port: 80, count: 2 })).by, { rs4: 2 });
    }, { withinMs: 60_000, what: 'the one that is permitted serves' });
    await balances(lab, targets, 'whose VIPs were named as real servers serve on');

    // Labels removed: an endpoint slice without its label is nobody's, and a node without its label no director.
    await cluster.request('PATCH', '/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/loop-1', { metadata: { labels: { 'kubernetes.io/service-name': null } } }, MERGE);
    await lab.eventually(async () => assert.match(await condition('loop', 'Ready'), /^False NoReadyBackends: ./), { withinMs: 60_000, what: 'its VirtualServer says that it has no real server' });
    await balances(lab, targets, 'others are not concerned');

    // Valid to the schema and senseless, each in its way.
    const backends = [{ static: { endpoints: [{ address: '10.0.1.21' }] } }];
    const senseless: readonly (readonly [reason: string, spec: (i: number) => object])[] = [
      ['PoolNotFound', () => ({ vip: { poolRef: { name: 'nowhere' } } })],
      ['AddressOutsidePools', (i) => ({ vip: { addresses: [`198.51.100.${i % 250 + 1}`] } })],
      ['PortConflict', () => ({ vip: { addresses: [vip] } })],
      ['Pending', () => ({ vip: { sharedFrom: { name: 'nobody' } } })],
    ];
    const many = 200;
    for (let i = 0; i < many; i += 10) {
      await Promise.all(Array.from({ length: 10 }, (_, j) => post(operator, serverOf(`shop/bad-${i + j}`, { ...senseless[(i + j) % senseless.length]![1](i + j), mode: 'NAT', ports: [{ port: 80 }], backends }))));
    }
    await cluster.request('PATCH', `${SHOP}/virtualservers/web`, { spec: { backends: [{ static: { endpoints: [{ address: '10.0.1.23', weight: 1 }] } }], ports: [{ port: 80, targetPort: 8080 }] } }, MERGE);
    const edited = performance.now();
    await lab.eventually(async () => assert.deepEqual((await lab.get('lc', { address: vip, port: 80, count: 3 })).by, { rs3: 3 }), { withinMs: 30_000, what: 'the edit of the one that means something arrives' });
    lab.log(`the edit arrived after ${Math.round(performance.now() - edited)} ms, with ${many} senseless VirtualServers`);
    await lab.eventually(async () => {
      const { body } = await cluster.request<{ items: { metadata: { name: string }; status?: Conditions }[] }>('GET', `${SHOP}/virtualservers`);
      const told = body.items.filter((s) => s.metadata.name.startsWith('bad-'));
      const wrong = told.filter((s) => s.status?.conditions?.find((c) => c.type === 'Accepted')?.reason !== senseless[Number(s.metadata.name.slice(4)) % senseless.length]![0]);
      assert.deepEqual([told.length, wrong.map((s) => `${s.metadata.name} ${JSON.stringify(s.status?.conditions)}`).slice(0, 3)], [many, []]);
    }, { withinMs: 60_000, what: 'each is told why' });
    assert.deepEqual([(await held.check()).alive, (await held.check()).broken], [4, 0], 'connections to real servers that left go on');
    await held.close();
    undisturbed(operator);
  },
});
