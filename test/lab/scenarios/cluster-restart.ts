// A restart with nothing to do changes nothing: not in the kernel, by the kernel's own account, and not on the API server.

import assert from 'node:assert/strict';
import { difference } from '../difference.ts';
import { scenario, type Lab } from '../lab.ts';
import { tapNetlink, type NetlinkTap } from '../netlink-tap.ts';
import { startOperator, type Operator } from '../operator.ts';
import { apiState, kernelState, versions, restOfKernel } from '../rollout/end-state.ts';
import { createServices, directors, group, ports, realServers, rollout, vips } from '../rollout/fleet-services.ts';
import { fleet } from '../topologies.ts';

const nodes = [...directors, ...realServers].map((n) => n.name);
/** A full compare of the agent (--resync, 10 s) and some more. Milliseconds. */
const RESYNC_MS = 13_000;

/** What each node's kernel was told since `before`. */
async function told(taps: Readonly<Record<string, NetlinkTap>>, before: Readonly<Record<string, number>> = {}): Promise<Record<string, string[]>> {
  const all: Record<string, string[]> = {};
  for (const [node, tap] of Object.entries(taps)) all[node] = (await tap.changes()).slice(before[node] ?? 0);
  return all;
}

const lengths = (lists: Readonly<Record<string, readonly string[]>>): Record<string, number> => Object.fromEntries(Object.entries(lists).map(([node, list]) => [node, list.length]));

/** Waits until nothing changes any more for as long as a resync takes. */
async function quiet(lab: Lab, operator: Operator): Promise<void> {
  let before = '';
  await lab.eventually(async () => {
    const now = `${await kernelState(lab)}${await apiState(operator.cluster)}${await versions(operator.cluster)}`;
    const same = now === before;
    before = now;
    if (!same) await lab.sleep(RESYNC_MS);
    return same;
  }, { withinMs: 150_000, what: 'nothing moves any more' });
}

export const idle = scenario({
  name: 'cluster-restart-idle',
  about: 'agents and controller are killed and start again: no changing netlink message on any node, as the kernel sees it, no write to the API server, no connection broken',
  topology: fleet,
  tags: ['cluster', 'restart'],
  memoryMegabytes: 2_560,
  timeoutSeconds: 500,
  run: async (lab) => {
    for (const { name } of realServers) await lab.serve(name, { tcp: Object.values(ports) });
    const operator = await startOperator(lab, [...directors, ...realServers], group);
    const { cluster, agents } = operator;
    await createServices(cluster);
    for (const server of Object.keys(vips)) await operator.ready(`shop/${server}`);
    const taps: Record<string, NetlinkTap> = {};
    for (const node of nodes) taps[node] = await tapNetlink(lab, node);

    // The taps see what an agent does: otherwise their silence means nothing.
    const start = lengths(await told(taps));
    for (const step of rollout('A', 1).flat().filter((s) => /^(edit|rs4 joins)/.test(s.what))) await step.run(cluster);
    for (const server of Object.keys(vips)) await operator.ready(`shop/${server}`);
    await quiet(lab, operator);
    const seen = await told(taps, start);
    lab.log(`changes of an edit: ${JSON.stringify(seen)}`);
    for (const { name } of directors) assert.ok(seen[name]!.some((c) => c.startsWith('generic')), `an edited real server is seen on ${name}`);
    assert.ok(seen['rs4']!.some((c) => c.startsWith('route 20')), 'a VIP that is bound is seen on rs4');

    const held = await lab.hold('c1', { address: vips.nat, port: ports.http, count: 12 });
    const [kernel, rest, state, versionsBefore] = [await kernelState(lab), await restOfKernel(lab), await apiState(cluster), await versions(cluster)];
    const before = lengths(await told(taps));
    const logged = Object.fromEntries(nodes.map((node) => [node, agents[node]!.log.length]));
    await operator.controller.kill();
    for (const [i, node] of nodes.entries()) await (i % 2 === 0 ? agents[node]!.kill() : agents[node]!.stop());
    for (const node of nodes) await agents[node]!.start();
    await operator.controller.start();
    const since = (node: string): string => agents[node]!.log.slice(logged[node]);
    await lab.eventually(() => nodes.every((node) => since(node).includes('"msg":"begun"')), { withinMs: 120_000, what: 'every agent has begun again' });
    await lab.sleep(RESYNC_MS);

    assert.deepEqual(await told(taps, before), Object.fromEntries(nodes.map((node) => [node, []])), 'what kernels were told');
    for (const node of nodes) assert.deepEqual(since(node).split('\n').filter((line) => line.includes('"msg":"kernel"')), [], `${node} says that it changed something`);
    assert.deepEqual(difference(kernel, await kernelState(lab)), [], 'addresses and IPVS tables');
    assert.deepEqual(difference(rest, await restOfKernel(lab)), [], 'links, routes, sysctls, packet filter');
    assert.deepEqual(difference(state, await apiState(cluster)), [], 'what the API server has');
    assert.deepEqual(difference(versionsBefore, await versions(cluster)), [], 'objects that were written');
    assert.equal((await held.check()).broken, 0);
  },
});
