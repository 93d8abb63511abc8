// Deletion in every order, with packets: whatever a person deletes first, nothing sticks in Terminating, nothing of ours stays in a kernel,
// what belongs to others stays to the byte, and who is not meant goes on serving.

import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import {
  allServe, answering, API, asBefore, directors, groupOf, namespaceOf, nodes, poolOf, post, realServers, serverOf, serviceOf, snapshots, undisturbed, type ApiObject, type Snapshots,
} from '../fleet.ts';
import { scenario, type Lab } from '../lab.ts';
import { basics, startOperator, type Operator } from '../operator.ts';
import { THEIRS } from '../theirs.ts';
import { fleet, vip } from '../topologies.ts';

const KINDS = ['VirtualServer', 'Service', 'VIPPool', 'DirectorGroup', 'Namespace'] as const;
type Kind = (typeof KINDS)[number];

/** One thing of each kind, and the order in which they are deleted. `n` tells sets apart and is part of every name. */
interface Things { readonly n: number; readonly order: readonly Kind[] }

/**
 * Ten of the 120 orders. `shift` 1 and 2: the last kind is the first or second after the first one, around the circle; with those of -1 and -2
 * every ordered pair is first and last once. What is between turns, so that each kind comes before each other one in at least three orders.
 */
function orders(...shifts: readonly number[]): Things[] {
  return shifts.flatMap((shift, s) => KINDS.map((first, a) => {
    const last = KINDS[(a + shift + KINDS.length) % KINDS.length]!;
    const others = KINDS.filter((k) => k !== first && k !== last);
    const turn = (a + s) % 3;
    const between = [...others.slice(turn), ...others.slice(0, turn)];
    return { n: s * KINDS.length + a, order: [first, ...((a + s) % 2 ? between : between.toReversed()), last] };
  }));
}

const address = ({ n }: Things): string => `10.0.1.${100 + n}`;

/** The second VirtualServer of a set shares the VIP of the first. DR and TUN bind nodes and make tunnels; a range takes packet marks. */
const toNodes = [{ nodes: { selector: { matchLabels: { role: 'web' } } } }];
const SECOND: readonly { readonly port: number; readonly spec: object }[] = [
  { port: 81, spec: { mode: 'DR', ports: [{ port: 81 }], backends: toNodes } },
  { port: 81, spec: { mode: 'TUN', tun: { encapsulation: 'GUE' }, ports: [{ port: 81 }], backends: toNodes } },
  { port: 3005, spec: { mode: 'NAT', ports: [{ port: 3000, endPort: 3010 }], backends: [{ static: { endpoints: realServers.map((r) => ({ address: r.addresses[0] })) } }] } },
];
const second = ({ n }: Things) => SECOND[n % SECOND.length]!;
const targetsOf = (sets: readonly Things[]): string[] => sets.flatMap((set) => [`${address(set)}:80`, `${address(set)}:${second(set).port}`]);

function objectsOf(set: Things): ApiObject[] {
  const name = `d${set.n}`;
  return [
    namespaceOf(name), ...serviceOf(`${name}/web`, realServers.map((r) => r.addresses[0]!)),
    serverOf(`${name}/nat`, { vip: { poolRef: { name } }, mode: 'NAT', ports: [{ port: 80 }], backends: [{ serviceRef: { name: 'web' } }] }),
    serverOf(`${name}/second`, { vip: { sharedFrom: { name: 'nat' } }, ...second(set).spec }),
    poolOf(name, { blocks: [{ start: address(set), stop: address(set) }], allowedNamespaces: { names: [name] }, directorGroupRef: { name }, allowStaticBackendCIDRs: ['10.0.1.0/24'] }),
    groupOf(name, set.n === 1 ? { timeouts: { tcpSeconds: 800, tcpFinSeconds: 100, udpSeconds: 200 } } : {}),
  ];
}

/** Another's VirtualServer, which nobody means. */
const bystander = serverOf('shop/web', {
  vip: { addresses: [vip] }, mode: 'NAT', ports: [{ port: 80, targetPort: 8080 }], backends: [{ static: { endpoints: [{ address: '10.0.1.21' }, { address: '10.0.1.22' }] } }],
});

async function drop(operator: Operator, ...paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const { status } = await operator.cluster.request('DELETE', path);
    // The namespace, or the kind, was first and took it along; or it is on its way already.
    assert.ok([200, 202, 404, 409].includes(status), `DELETE ${path}: ${status}`);
  }
}

async function remove(operator: Operator, kind: Kind, { n }: Things): Promise<void> {
  const servers = ['nat', 'second'].map((name) => `${API}/namespaces/d${n}/virtualservers/${name}`);
  await drop(operator, ...{
    VirtualServer: n % 2 ? servers : servers.toReversed(),
    Service: [`/api/v1/namespaces/d${n}/services/web`], VIPPool: [`${API}/vippools/d${n}`], DirectorGroup: [`${API}/directorgroups/d${n}`], Namespace: [`/api/v1/namespaces/d${n}`],
  }[kind]);
}

/** What of a set is in the API server, and what sticks in Terminating. */
async function left(operator: Operator): Promise<string[]> {
  const found: string[] = [];
  for (const path of [...['virtualservers', 'virtualserverprograms', 'virtualips', 'vippools', 'directorgroups'].map((r) => `${API}/${r}`), '/api/v1/namespaces']) {
    const { status, body } = await operator.cluster.request<{ items: { metadata: { namespace?: string; name: string; deletionTimestamp?: string } }[] }>('GET', path);
    assert.equal(status, 200, path);
    for (const { metadata: { namespace, name, deletionTimestamp } } of body.items) {
      if (/^d\d+$/.test(namespace ?? name) || /^10\.0\.1\.1\d\d$/.test(name) || deletionTimestamp !== undefined) found.push(`${path} ${namespace ?? ''}/${name}`);
    }
  }
  return found;
}

/** Somebody else's services are reported by every director. */
async function foreignIsReported(lab: Lab, operator: Operator): Promise<void> {
  for (const { name } of directors) {
    await lab.eventually(async () => {
      const foreign = (await operator.get<{ status: { foreign: { services: number; examples: string[] } } }>('ipvsnodes', name))?.status.foreign;
      assert.deepEqual([foreign?.services, ['TCP 10.0.1.240:80', 'UDP [fd00:1::240]:53', 'FWM 77 IPv4'].filter((key) => !foreign?.examples.join().includes(key))], [3, []], JSON.stringify(foreign));
    }, { withinMs: 30_000, what: `${name} reports foreign services` });
  }
}

/** With somebody else's things on every node; `empty` is how they were before we came. */
async function start(lab: Lab): Promise<{ operator: Operator; empty: Snapshots }> {
  let empty: Snapshots = {};
  const operator = await startOperator(lab, nodes, basics('10.0.1.192/27'), {
    agentArgs: ['--bind-linger', '1'],
    before: async () => {
      for (const { name } of nodes) await lab.host(name).sh(THEIRS);
      empty = await snapshots(lab);
    },
  });
  for (const { name } of realServers) await lab.serve(name, { tcp: [8080, 81, 3005] });
  return { operator, empty };
}

const manyOrders = (name: string, how: string, shifts: readonly number[], burst: boolean) => scenario({
  name, tags: ['cluster', 'long'], topology: fleet, timeoutSeconds: 600,
  about: `VirtualServer, Service, pool, group and namespace deleted in ten orders, ${how}: nothing sticks, nothing of ours stays in a kernel, everything foreign does`,
  run: async (lab) => {
    const { operator, empty } = await start(lab);
    await post(operator, bystander);
    await operator.ready('shop/web');
    const before = await snapshots(lab);
    const held = await lab.hold('c1', { address: vip, port: 80, count: 4 });
    const all = orders(...shifts);
    // Five at a time: with more, a guest's API server is busy with their watches alone.
    for (const sets of [all.slice(0, 5), all.slice(5)]) {
      await post(operator, ...sets.flatMap(objectsOf));
      await allServe(lab, operator, targetsOf(sets));
      await foreignIsReported(lab, operator);
      if (burst) for (const set of sets) for (const kind of set.order) await remove(operator, kind, set);
      for (const step of burst ? [] : KINDS.keys()) {
        for (const set of sets) await remove(operator, set.order[step]!, set);
        await lab.sleep(2_000);
      }
      await lab.eventually(async () => assert.deepEqual(await left(operator), []), { withinMs: 120_000, what: 'nothing is left' });
      await asBefore(lab, before, 'after five orders');
      assert.deepEqual(await answering(lab.host('c1'), targetsOf(sets)), []);
      assert.deepEqual((await lab.get('c1', { address: vip, port: 80, count: 4 })).by, { rs1: 2, rs2: 2 }, 'the bystander serves');
    }
    assert.equal((await held.check()).broken, 0, 'connections of the bystander');
    await held.close();
    await drop(operator, `${API}/namespaces/shop/virtualservers/web`, `${API}/vippools/public`, `${API}/directorgroups/edge`);
    await asBefore(lab, empty, 'when nothing is served any more');
    await dropKinds(lab, operator, CRDS);
    await lab.sleep(2_000);
    await asBefore(lab, empty, 'with the CRDs deleted last');
    undisturbed(operator);
  },
});

export const burst = manyOrders('cluster-deletion-burst', 'one right after the other', [1, 2], true);
export const rests = manyOrders('cluster-deletion-rests', 'each when the one before has had its effect', [-1, -2], false);

async function dropKinds(lab: Lab, operator: Operator, names: readonly string[], restMs = 0): Promise<void> {
  for (const name of names) {
    await drop(operator, `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}.ipvs-operator.dev`);
    await lab.sleep(restMs);
  }
  await lab.eventually(async () => (await operator.cluster.request('GET', API)).status === 404, { withinMs: 60_000, what: 'the kinds are gone' });
}

const crds = resolve(import.meta.dirname, '../../../crds');
const CRDS = ['ipvsnodes', 'virtualips', 'virtualserverprograms', 'virtualservers', 'vippools', 'directorgroups'];

export const kinds = scenario({
  name: 'cluster-deletion-kinds',
  about: 'the CRDs deleted before everything else, and in the middle of the rest: nothing sticks, nothing of ours stays in a kernel, and installed again they serve again, without a restart',
  topology: fleet,
  tags: ['cluster', 'long'],
  timeoutSeconds: 600,
  run: async (lab) => {
    const { operator, empty } = await start(lab);
    const { cluster } = operator;
    const rounds: readonly { readonly what: string; readonly n: number; readonly before: readonly Kind[]; readonly kinds: readonly string[]; readonly restMs: number }[] = [
      { what: 'first, those of machines before those of people', n: 0, before: [], kinds: CRDS, restMs: 0 },
      { what: 'in the middle, one by one, those of people first', n: 1, before: ['Service', 'VIPPool'], kinds: CRDS.toReversed(), restMs: 1_500 },
    ];
    for (const [i, { what, n, before, kinds: list, restMs }] of rounds.entries()) {
      const set: Things = { n, order: [] };
      if (i > 0) await cluster.applyFile(crds);
      await lab.eventually(() => post(operator, groupOf(`d${n}`)), { withinMs: 60_000, what: 'the server takes our kinds' });
      await post(operator, ...objectsOf(set).filter((o) => o.kind !== 'DirectorGroup'));
      await allServe(lab, operator, targetsOf([set]));
      for (const kind of before) await remove(operator, kind, set);
      await dropKinds(lab, operator, list, restMs);
      for (const kind of KINDS) await remove(operator, kind, set);
      await asBefore(lab, empty, `with the CRDs deleted ${what}`);
      assert.deepEqual(await answering(lab.host('c1'), targetsOf([set])), []);
      await lab.eventually(async () => (await cluster.request('GET', `/api/v1/namespaces/d${n}`)).status === 404, { withinMs: 120_000, what: 'the namespace is gone' });
    }
    undisturbed(operator);
  },
});
