// kill -9 of everything in the middle of rollouts, with real packets: controller, agents, API server, etcd, drawn from a seed. The
// cluster is started once a scenario and several seeds run in it, each from one variant of the services to the other.
// LAB_SEEDS=20 runs twenty seeds, LAB_SEED=7 the seventh alone. What is rolled out and who is killed: ../rollout/.

import assert from 'node:assert/strict';
import { difference } from '../difference.ts';
import { scenario, type HeldConnections, type Lab } from '../lab.ts';
import { startOperator } from '../operator.ts';
import { random } from '../random.ts';
import { apiState, kernelState, restOfKernel } from '../rollout/end-state.ts';
import { createServices, directors, group, other, ports, realServers, servers, vips, type Variant } from '../rollout/fleet-services.ts';
import { drawKills, seedsOf, type Kill } from '../rollout/kills.ts';
import { startKubelet, type Kubelet } from '../rollout/kubelet.ts';
import { rollOut, STEPS, type Fleet } from '../rollout/rollout.ts';
import { fleet } from '../topologies.ts';
import { watchVips } from '../vip-watch.ts';

interface Reference { readonly kernel: string; readonly api: string; readonly rest: string }

const SEEDS_PER_SCENARIO = 10;
const CLIENTS = ['c1', 'lc'];
/** From the last step or the last start on. A controller's Lease is 15 s, an API server needs up to 15 s, and a busy machine is no failure. */
const SETTLED_MS = 150_000;

async function startFleet(lab: Lab): Promise<Fleet> {
  for (const { name } of realServers) await lab.serve(name, { tcp: Object.values(ports) });
  const watch = await watchVips(lab, directors.map((d) => d.name));
  const operator = await startOperator(lab, [...directors, ...realServers], group, { controllers: 2 });
  const kubelet = startKubelet(lab, { ...Object.fromEntries(operator.controllers.map((c, i) => [`controller ${i + 1}`, c])), ...operator.agents });
  await createServices(operator.cluster);
  for (const server of Object.keys(vips)) await operator.ready(`shop/${server}`);
  return { lab, operator, kubelet, watch };
}

/** Waits until two looks, with a resync of the agents in between, are the same. */
async function stable({ lab, operator }: Fleet): Promise<Reference> {
  let before = '';
  await lab.eventually(async () => {
    const now = `${await kernelState(lab)}${await apiState(operator.cluster)}`;
    const same = now === before;
    if (before !== '' && !same) lab.log(`still moving:\n${difference(before, now).join('\n')}`);
    before = now;
    if (!same) await lab.sleep(11_000);
    return same;
  }, { withinMs: SETTLED_MS, what: 'nothing moves any more' });
  return { kernel: await kernelState(lab), api: await apiState(operator.cluster), rest: await restOfKernel(lab) };
}

/** Waits until something is as after a rollout that nobody disturbed. Rejects with what differs. */
async function equal({ lab }: Fleet, what: string, look: () => Promise<readonly string[]>): Promise<void> {
  let differs: readonly string[] = [];
  await lab.eventually(async () => {
    const before = differs.join('\n');
    differs = await look();
    if (differs.length > 0 && differs.join('\n') !== before) lab.log(`not yet: ${what}:\n${differs.join('\n')}`);
    if (differs.length > 0) await lab.sleep(1_000);
    return differs.length === 0;
  }, { withinMs: SETTLED_MS, what }).catch((error: Error) => { throw new Error(`${error.message}; it differs (- expected, + is):\n${differs.join('\n')}`, { cause: error }); });
}

/** Waits until kernels are as they should be, but for real servers that drain. */
async function reached(it: Fleet, { kernel }: Reference): Promise<void> {
  await equal(it, 'IPVS tables and addresses', async () => difference(kernel, await kernelState(it.lab)).filter((line) => !/^\+ .* -w 0( --tun|$)/.test(line)));
}

/** Waits until everything is as it should be. */
async function settled(it: Fleet, reference: Reference): Promise<void> {
  await equal(it, 'IPVS tables and addresses, nothing draining', async () => difference(reference.kernel, await kernelState(it.lab)));
  await equal(it, 'what the API server has', async () => difference(reference.api, await apiState(it.operator.cluster)));
  await equal(it, 'links, routes, rules, sysctls, packet filter', async () => difference(reference.rest, await restOfKernel(it.lab)));
}

interface Held { readonly server: keyof typeof vips; readonly connections: HeldConnections }

async function holdAll(lab: Lab): Promise<Held[]> {
  const all = CLIENTS.flatMap((client) => (Object.keys(vips) as (keyof typeof vips)[]).map((server) => ({ client, server })));
  return Promise.all(all.map(async ({ client, server }) => ({ server, connections: await lab.hold(client, { address: vips[server], port: ports.http, count: 6, everyMs: 500 }) })));
}

/** None is broken, and some are to real servers that left. */
async function allAlive(held: readonly Held[], from: Variant): Promise<void> {
  for (const { server, connections } of held) {
    const result = await connections.check();
    assert.equal(result.broken, 0, `held connections: ${JSON.stringify(result)}`);
    if (server === 'nat') assert.deepEqual(Object.keys(result.by).sort(), servers[from].nat, 'to who left and to who stays');
  }
}

/** New connections are served by everybody whom the variant has, and by nobody else; one MAC address answers for each VIP. */
async function served({ lab, operator, watch }: Fleet, variant: Variant): Promise<void> {
  for (const [server, address] of Object.entries(vips) as [keyof typeof vips, string][]) {
    const [client] = server === 'tun' ? ['lc'] : ['c1'];
    const { by, errors } = await lab.get(client, { address, port: ports.http, count: 12 });
    assert.deepEqual([Object.keys(by).sort(), errors], [servers[variant][server], {}], server);
    const owner = await operator.owner(address);
    assert.deepEqual(watch.holders(address), [owner], `who has ${address}`);
    assert.deepEqual(await lab.arp('lc', address), [lab.host(owner).mac()], `who answers for ${address}`);
  }
}

async function oneSeed(it: Fleet, seed: number, kills: readonly Kill[], from: Variant, reference: Reference): Promise<void> {
  const { lab, kubelet, watch } = it;
  const before = { moves: watch.moves.length, overlaps: watch.overlaps.length, restarts: agentRestarts(kubelet) };
  const began = performance.now();
  const held = await holdAll(lab);
  let rolled: number;
  try {
    await rollOut(it, from, nextRound(), random(seed), kills);
    rolled = performance.now();
    await reached(it, reference);
    // Held until here: who left drains. Closed, so that this ends.
    await allAlive(held, from);
  } finally {
    await Promise.all(held.map(({ connections }) => connections.close()));
  }
  await settled(it, reference);
  await served(it, other(from));
  await watch.caughtUp();
  assert.deepEqual(watch.overlaps.slice(before.overlaps), [], 'a VIP on two directors');
  assert.deepEqual(watch.moves.slice(before.moves), [], 'kills move no VIP: the kernel of who has it goes on');
  // A controller that lost its Lease ends; an agent has no reason to.
  assert.deepEqual(agentRestarts(kubelet), before.restarts, 'agents that ended by themselves');
  lab.log(`seed ${seed} passed: rollout ${Math.round(rolled - began)} ms, all ${Math.round(performance.now() - began)} ms`);
}

const agentRestarts = ({ restarts }: Kubelet): [string, number][] => [...restarts].filter(([name]) => !name.startsWith('controller'));

let rounds = 0;
/** Pods of each round have names of their own. */
const nextRound = (): number => ++rounds;

const seeds = seedsOf(process.env);

export const kill = Array.from({ length: Math.ceil(seeds.length / SEEDS_PER_SCENARIO) }, (_, i) => seeds.slice(i * SEEDS_PER_SCENARIO, (i + 1) * SEEDS_PER_SCENARIO)).map((mine, i) => scenario({
  name: `cluster-kill-${i + 1}`,
  about: `kill -9 of controller, agents, API server and etcd in a rollout (${mine.length === 1 ? `seed ${mine[0]}` : `seeds ${mine[0]} to ${mine.at(-1)}`}): the same end state, no held connection broken, no VIP moved`,
  topology: fleet,
  tags: ['cluster', 'kill', 'long'],
  memoryMegabytes: 2_560,
  timeoutSeconds: 300 + 150 * mine.length,
  run: async (lab) => {
    rounds = 0;
    const it = await startFleet(lab);
    // Undisturbed there and back first: what a variant looks like. Also of nodes that served before and linger.
    const references = new Map<Variant, Reference>();
    for (const from of ['A', 'B'] as const) {
      await rollOut(it, from, nextRound(), random(0), []);
      references.set(other(from), await stable(it));
      await served(it, other(from));
    }
    const [a, b] = [references.get('A')!, references.get('B')!];
    assert.ok(difference(a.kernel, b.kernel).length > 0 && difference(a.api, b.api).length > 0, 'a rollout that changes nothing proves nothing');
    assert.doesNotMatch(`${a.api}\n${b.api}`, / stale |Ready=False|Programmed=False|Degraded|DuplicateAddress=True/, 'undisturbed, all is well');
    const failures: string[] = [];
    let at: Variant = 'A';
    for (const seed of mine) {
      // A seed goes the same way whether it runs alone or in a row.
      const from: Variant = seed % 2 === 1 ? 'A' : 'B';
      if (from !== at) {
        await rollOut(it, at, nextRound(), random(0), []);
        await settled(it, references.get(from)!);
      }
      const kills = drawKills(seed, STEPS);
      lab.log(`seed ${seed}, ${from} to ${other(from)}: ${JSON.stringify(kills)}`);
      try {
        await oneSeed(it, seed, kills, from, references.get(other(from))!);
      } catch (error) {
        const text = `seed ${seed} failed (${kills.map((k) => `${k.victim} after step ${k.afterStep}`).join(', ')}); again: LAB_SEED=${seed} npm run lab -- cluster-kill\n${(error as Error).stack}`;
        lab.log(text);
        failures.push(text);
        // The others are worth something only where this one left nothing behind.
        await settled(it, references.get(other(from))!).catch((left: Error) => { throw new Error([...failures, left.message].join('\n'), { cause: left }); });
      }
      at = other(from);
    }
    assert.deepEqual(failures, []);
    lab.log(`ended by themselves: ${JSON.stringify([...it.kubelet.restarts])}`);
  },
}));
