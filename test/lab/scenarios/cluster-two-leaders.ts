// Two controllers that lead at the same time, as after a Lease that somebody deleted: VirtualServers come, are edited and go by the dozen while
// each of them decides about everything. No address is two's, nobody's VIP moves, no connection breaks, and both come to rest.

import assert from 'node:assert/strict';
import { allServe, API, directors, nodes, post, realServers, serverOf, serviceOf, spread, undisturbed } from '../fleet.ts';
import { scenario, type Lab } from '../lab.ts';
import { basics, startOperator, system, type Operator } from '../operator.ts';
import { fleet, vip } from '../topologies.ts';
import { watchVips } from '../vip-watch.ts';

const MERGE = { contentType: 'application/merge-patch+json' } as const;
const LISTEN = ['127.0.0.1:9821', '127.0.0.1:9829'] as const;
/** Every third one in DR: then both also tell nodes what to receive for. */
const shop = (i: number) => serverOf(`shop/s${i}`, i % 3 === 2
  ? { mode: 'DR', ports: [{ port: 81 }], backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }] }
  : { mode: 'NAT', ports: [{ port: 80 }], backends: [{ serviceRef: { name: 'web' } }] });
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

interface VIP { readonly metadata: { readonly name: string; readonly generation: number }; readonly spec: { readonly address: string; readonly claims: readonly { readonly name: string }[] }; readonly status?: { readonly activeNode?: string } }
interface Program { readonly metadata: { readonly name: string; readonly resourceVersion: string }; readonly spec: { readonly addresses: readonly { readonly address: string }[] } }
interface Any { readonly metadata: { readonly name: string; readonly resourceVersion: string; readonly generation: number } }

const list = async <T>({ cluster }: Operator, resource: string): Promise<readonly T[]> => (await cluster.request<{ items: T[] }>('GET', `${API}/${resource}`)).body.items;

/** What only controllers write, with its version. */
async function written(operator: Operator): Promise<string[]> {
  const all = await Promise.all(['virtualips', 'virtualserverprograms', 'ipvsnodes', 'virtualservers'].map(async (resource) =>
    (await list<Any>(operator, resource)).map(({ metadata: { name, generation, resourceVersion } }) => `${resource} ${name} ${resource === 'virtualserverprograms' ? resourceVersion : generation}`)));
  return all.flat().sort();
}

/** Each has an address of its own, with a program for it and for no other; returns addresses by name. */
async function eachItsOwn(operator: Operator, names: readonly string[]): Promise<Map<string, string>> {
  const vips = await list<VIP>(operator, 'virtualips');
  assert.deepEqual(vips.map((v) => v.spec.claims.length), Array(vips.length).fill(1), JSON.stringify(vips.map((v) => [v.spec.address, v.spec.claims.map((c) => c.name)])));
  const own = new Map(vips.map((v) => [v.spec.claims[0]!.name, v.spec.address]));
  assert.deepEqual([...own.keys()].sort(), [...names].sort());
  assert.deepEqual([own.size, new Set(own.values()).size], [vips.length, vips.length]);
  const programs = await list<Program>(operator, 'virtualserverprograms');
  assert.deepEqual(Object.fromEntries(programs.map((p) => [p.metadata.name, p.spec.addresses.map((a) => a.address)])), Object.fromEntries([...own].map(([name, address]) => [name, [address]])));
  return own;
}

/** Both of them lead, and wrote or tried to. */
async function writesOf(listen: string): Promise<number> {
  const text = await (await fetch(`http://${listen}/metrics`)).text();
  return [...text.matchAll(/^ipvs_operator_controller_writes_total\{[^}]*\} (\d+)/gm)].reduce((sum, [, n]) => sum + Number(n), 0);
}

/** For longer than counts in a status may wait. */
async function rests(lab: Lab, operator: Operator): Promise<void> {
  let before: string[] = [];
  await lab.eventually(async () => {
    before = await written(operator);
    await lab.sleep(12_000);
    assert.deepEqual(await written(operator), before);
  }, { withinMs: 120_000, what: 'both come to rest' });
}

export const twoLeaders = scenario({
  name: 'cluster-two-leaders',
  about: 'two controllers that lead at once, while VirtualServers come, are edited and go: no address twice, no VIP that moves, no connection broken, and they come to rest',
  topology: fleet,
  tags: ['cluster', 'long'],
  memoryMegabytes: 2_560,
  timeoutSeconds: 600,
  run: async (lab) => {
    for (const { name } of realServers) await lab.serve(name, { tcp: [8080, 81] });
    const watch = await watchVips(lab, directors.map((d) => d.name));
    const operator = await startOperator(lab, nodes, basics('10.0.1.192/27'));
    const { cluster } = operator;
    const kubeconfig = cluster.writeKubeconfig('second', await cluster.tokenFor(`${system}/ipvs-operator-controller`, { expirationSeconds: 86_400 }));
    const second = await lab.daemon(null, ['controller', '--kubeconfig', kubeconfig, '--namespace', system, '--listen', LISTEN[1], '--no-leader-election']);
    for (const listen of LISTEN) await lab.eventually(async () => (await fetch(`http://${listen}/readyz`)).status === 200, { withinMs: 60_000, what: `the controller at ${listen} is ready` });
    await post(operator, ...serviceOf('shop/web', realServers.map((r) => r.addresses[0]!)),
      serverOf('shop/held', { vip: { addresses: [vip] }, mode: 'NAT', ports: [{ port: 80, targetPort: 8080 }], backends: [{ static: { endpoints: [{ address: '10.0.1.21' }, { address: '10.0.1.22' }] } }] }));
    await operator.ready('shop/held');
    const held = await lab.hold('c1', { address: vip, port: 80, count: 4 });

    const come = async (numbers: readonly number[]): Promise<void> => { await Promise.all(numbers.map((i) => post(operator, shop(i)))); };
    const go = async (numbers: readonly number[]): Promise<void> => {
      await Promise.all(numbers.map(async (i) => assert.equal((await cluster.request('DELETE', `${API}/namespaces/shop/virtualservers/s${i}`)).status, 200)));
    };
    const targetsOf = (own: ReadonlyMap<string, string>): string[] => [...own].flatMap(([name, address]) => (name === 'held' ? [] : [`${address}:${Number(name.slice(1)) % 3 === 2 ? 81 : 80}`]));
    const named = (numbers: readonly number[]): string[] => ['held', ...numbers.map((i) => `s${i}`)];

    await come(range(0, 18));
    await lab.eventually(() => eachItsOwn(operator, named(range(0, 18))), { withinMs: 120_000, what: 'each has its own address' });
    const first = await eachItsOwn(operator, named(range(0, 18)));
    await allServe(lab, operator, targetsOf(first));
    await watch.caughtUp();
    const settled = watch.moves.length;

    // Others come while some go, and an endpoint leaves: addresses that are given back are wanted at the same moment.
    await Promise.all([
      go(range(0, 6)), come(range(18, 28)),
      cluster.request('PATCH', '/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/web-1', { endpoints: [21, 22, 23].map((n) => ({ addresses: [`10.0.1.${n}`], conditions: { ready: true } })) }, MERGE),
    ]);
    await lab.eventually(() => eachItsOwn(operator, named(range(6, 28))), { withinMs: 120_000, what: 'each has its own address again' });
    await rests(lab, operator);
    const now = await eachItsOwn(operator, named(range(6, 28)));
    for (const i of range(6, 18)) assert.equal(now.get(`s${i}`), first.get(`s${i}`), `s${i} keeps its address`);
    await lab.eventually(async () => {
      const found = await spread(lab.host('c1'), targetsOf(now));
      for (const [target, by] of Object.entries(found)) assert.deepEqual(Object.keys(by).sort(), target.endsWith(':81') ? ['rs1', 'rs2', 'rs3', 'rs4'] : ['rs1', 'rs2', 'rs3'], target);
    }, { withinMs: 60_000, what: 'each is served by those that it has now' });

    // No VIP was on two directors, and none of those that stay moved.
    await watch.caughtUp();
    assert.deepEqual(watch.overlaps, []);
    for (const { spec: { address }, status } of await list<VIP>(operator, 'virtualips')) assert.deepEqual(watch.holders(address), [status?.activeNode], address);
    const staying = new Set(named(range(6, 18)).map((name) => now.get(name)));
    assert.deepEqual(watch.moves.slice(settled).filter((m) => staying.has(m.vip)), []);
    assert.ok(watch.moves.slice(settled).some((m) => m.kind === 'went') && watch.moves.slice(settled).some((m) => m.kind === 'came'), 'moves are seen');
    const check = await held.check();
    assert.deepEqual([check.alive, check.broken], [4, 0], JSON.stringify(check));
    await held.close();

    // It was a contest.
    const writes = await Promise.all(LISTEN.map(writesOf));
    lab.log(`writes of each: ${writes.join(' and ')}`);
    assert.ok(writes.every((n) => n > 0), `writes of each: ${writes.join(' and ')}`);

    await Promise.all([go(range(6, 28)), cluster.request('DELETE', `${API}/namespaces/shop/virtualservers/held`)]);
    await lab.eventually(async () => assert.deepEqual([(await list<VIP>(operator, 'virtualips')).map((v) => v.spec.address), await list(operator, 'virtualserverprograms')], [[], []]), { withinMs: 120_000, what: 'every address is given back' });
    for (const { name } of directors) await lab.eventually(async () => assert.deepEqual(await lab.host(name).ipvsSave(), []), { withinMs: 60_000, what: `${name} serves nothing any more` });
    assert.ok(second.running);
    undisturbed(operator);
  },
});
