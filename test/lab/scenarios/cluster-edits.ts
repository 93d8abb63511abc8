// One VirtualServer, edited live through the API server with connections held over every edit: scheduler, weight, mode, port, VIP.
// What each edit promises is the table `edits`. It is not for other forms of a VirtualServer: cluster-families.ts.

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { scenario, type Answers, type HeldConnections, type Lab } from '../lab.ts';
import { basics, edge, startOperator, type NodeSpec, type Operator } from '../operator.ts';
import { fleet, vip } from '../topologies.ts';

const otherVip = '10.0.1.201';
const directors: NodeSpec[] = ['dir1', 'dir2', 'dir3'].map((name, i) => ({ name, addresses: [`10.0.1.1${i + 1}`], labels: edge }));
// Three by label, the fourth by address: both kinds of source, and only the fourth has a weight that is edited.
const realServers: NodeSpec[] = ['rs1', 'rs2', 'rs3', 'rs4'].map((name, i) => ({ name, addresses: [`10.0.1.2${i + 1}`], labels: i < 3 ? { role: 'web' } : {} }));
const clients = { c1: '10.0.9.100', lc: '10.0.1.50' } as const;

/** What of the VirtualServer is edited. */
interface Form {
  readonly mode: 'NAT' | 'DR' | 'TUN';
  readonly scheduler: 'rr' | 'wrr' | 'wlc' | 'mh';
  /** Of rs4; the others have 1. */
  readonly weight: number;
  readonly ports: readonly number[];
  readonly address: string;
}

const manifest = ({ mode, scheduler, weight, ports, address }: Form): string => `
apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: { name: web, namespace: shop }
spec:
  vip: { addresses: [ ${address} ] }
  mode: ${mode}
  drain: { timeoutSeconds: 3600 }
  scheduler: { name: ${scheduler} }
  ports: [ ${ports.map((port) => `{ name: p${port}, port: ${port} }`).join(', ')} ]
  backends:
  - { nodes: { selector: { matchLabels: { role: web } } } }
  - { static: { endpoints: [ { address: 10.0.1.24, weight: ${weight} } ] } }
`;

interface Edit {
  readonly what: string;
  readonly change: Partial<Form>;
  /** Answers of 12 new connections to each port, from each client; a function where the kernel decides. */
  readonly spread: Readonly<Record<string, number>> | ((by: Readonly<Record<string, number>>) => boolean);
  /** It resets what is held. */
  readonly cut?: true;
}

const even = { rs1: 3, rs2: 3, rs3: 3, rs4: 3 };
/** A client's address decides. */
const oneEach = (by: Readonly<Record<string, number>>): boolean => isDeepStrictEqual(Object.values(by), [12]);

/**
 * What an edit does to connections, and why:
 *
 * Who leaves drains for longer than all of this may take on a busy machine.
 *
 *   scheduler, weight    nothing: a connection keeps its real server
 *   mode                 nothing until spec.drain is over: a connection keeps the way in which it began, and what that way needs stays
 *   mode, DR to NAT      a reset, where the real server's port is the VIP's: both modes would share one entry of the kernel (agent/way.ts)
 *   port added           nothing
 *   port or VIP removed  a reset at the client's next packet: nobody serves what the connection was made to
 */
const edits: readonly Edit[] = [
  { what: 'mode NAT, out of DR that was there first', change: { mode: 'NAT' }, spread: even, cut: true },
  { what: 'scheduler wlc', change: { scheduler: 'wlc' }, spread: (by) => Object.values(by).reduce((a, b) => a + b, 0) === 12 },
  { what: 'weight 3 with wrr', change: { scheduler: 'wrr', weight: 3 }, spread: { rs1: 2, rs2: 2, rs3: 2, rs4: 6 } },
  { what: 'weight 0', change: { weight: 0 }, spread: { rs1: 4, rs2: 4, rs3: 4 } },
  { what: 'scheduler mh', change: { scheduler: 'mh', weight: 1 }, spread: oneEach },
  { what: 'mode DR', change: { mode: 'DR', scheduler: 'rr' }, spread: even },
  { what: 'mode TUN', change: { mode: 'TUN' }, spread: even },
  { what: 'mode DR again', change: { mode: 'DR' }, spread: even },
  { what: 'mode NAT', change: { mode: 'NAT' }, spread: even },
  { what: 'mode TUN out of NAT', change: { mode: 'TUN' }, spread: even },
  { what: 'port added', change: { ports: [80, 81] }, spread: even },
];

/** As ipvsadm -Sn writes a mode. */
const flag = { NAT: '-m', DR: '-g', TUN: '-i' } as const;

interface Held { readonly since: string; readonly port: number; readonly count: number; readonly connections: HeldConnections }

async function hold(lab: Lab, since: string, address: string, port: number): Promise<Held[]> {
  return Promise.all(Object.keys(clients).map(async (client) => ({ since: `${since}, ${client}`, port, count: 4, connections: await lab.hold(client, { address, port, count: 4 }) })));
}

export const edited = scenario({
  name: 'cluster-edits',
  about: 'one VirtualServer edited live (scheduler, weight, NAT to DR to TUN and back, port, VIP): new connections go as the new form says, held ones live, or are reset where nobody serves them any more',
  topology: fleet,
  tags: ['cluster'],
  timeoutSeconds: 600,
  run: async (lab) => {
    for (const { name } of realServers) await lab.serve(name, { tcp: [80, 81] });
    const operator = await startOperator(lab, [...directors, ...realServers], basics('10.0.1.192/27'));
    let form: Form = { mode: 'DR', scheduler: 'rr', weight: 1, ports: [80], address: vip };
    await operator.cluster.apply(manifest(form));
    await operator.ready('shop/web');
    const owner = await operator.owner(vip);
    const wrong: string[] = [];
    const held: Held[] = [];
    const look = async (what: string, edit: () => Promise<unknown>): Promise<void> => {
      await edit().catch((error: Error) => { wrong.push(`${what}: ${error.message}`); });
    };
    await look('at first', () => balanced(lab, operator, form, even));
    held.push(...await hold(lab, 'at first', vip, 80));

    for (const { what, change, spread, cut } of edits) {
      const before = form;
      form = { ...form, ...change };
      const newcomers = await lab.stream('c1', { address: vip, port: 80, everyMs: 100, timeoutMs: 10_000 });
      lab.log(`EDIT ${what}`);
      await operator.cluster.apply(manifest(form));
      await look(what, () => operator.ready('shop/web'));
      await look(what, () => inForce(lab, owner, form));
      const { errors, maxGapMs } = await newcomers.stop();
      // A connection that was just being opened is cut like those that are held.
      if (Object.keys(errors).some((code) => code !== 'ECONNRESET' || !cut)) wrong.push(`${what}: new connections during the edit: ${JSON.stringify({ errors, maxGapMs })}`);
      await look(what, () => balanced(lab, operator, form, spread));
      if (cut) for (const { since, count, connections } of held.splice(0)) await look(`${what}: connections of ${since}`, () => reset(lab, connections, count));
      for (const { since, count, connections } of held) {
        const result = await connections.check();
        if (result.alive !== count) wrong.push(`${what}: connections of ${since}: ${JSON.stringify(result)}`);
      }
      if (before.mode !== form.mode) held.push(...await hold(lab, what, vip, 80));
    }
    assert.equal(await operator.owner(vip), owner, 'no edit moves the VIP');

    lab.log('EDIT port removed');
    const stay = await hold(lab, 'port 81', vip, 81);
    form = { ...form, ports: [81] };
    await operator.cluster.apply(manifest(form));
    await operator.ready('shop/web');
    await look('port removed', () => inForce(lab, owner, form));
    for (const { since, count, connections } of held) await look(`port removed: connections of ${since}`, () => reset(lab, connections, count));
    for (const { since, count, connections } of stay) await look('port removed', async () => assert.equal((await connections.check()).alive, count, since));
    await look('port removed', () => balanced(lab, operator, form, even));
    await look('port removed', async () => assert.deepEqual((await lab.get('c1', { address: vip, port: 80 })).errors, { ECONNREFUSED: 1 }));

    lab.log('EDIT VIP');
    form = { ...form, address: otherVip };
    await operator.cluster.apply(manifest(form));
    await operator.ready('shop/web');
    await look('VIP changed', async () => inForce(lab, await operator.owner(otherVip), form));
    for (const { since, count, connections } of stay) await look(`VIP changed: connections of ${since}`, () => reset(lab, connections, count));
    await look('VIP changed', () => balanced(lab, operator, form, even));
    await look('VIP changed', () => lab.eventually(async () => await operator.get('virtualips', vip) === null, { withinMs: 30_000, what: 'the old VIP is given back' }));
    await look('VIP changed', () => lab.eventually(async () => isDeepStrictEqual(await lab.arp('lc', vip), []), { withinMs: 30_000, what: 'nobody answers for the old VIP' }));
    assert.deepEqual(wrong, []);
  },
});

/** Waits until the kernel of a director has a form, by its list. Real servers that leave have weight 0 and are not looked at. */
async function inForce(lab: Lab, director: string, { mode, scheduler, ports, address, weight }: Form): Promise<void> {
  const wanted = ports.flatMap((port) => [
    `-A -t ${address}:${port} -s ${scheduler}`,
    ...realServers.map(({ addresses: [ip] }) => `-a -t ${address}:${port} -r ${ip}:${mode === 'NAT' ? port : 'any'} ${flag[mode]} -w ${ip === '10.0.1.24' ? weight : 1}`),
  ]).filter((line) => !line.endsWith('-w 0')).sort();
  let found: string[] = [];
  await lab.eventually(async () => {
    // In DR and TUN a real server's port says nothing.
    found = (await lab.host(director).ipvsSave()).map((line) => line.replace(/ --tun-type ipip$/, '').replace(/:\d+ -(g|i) /, ':any -$1 ')).filter((line) => !line.endsWith('-w 0')).sort();
    return isDeepStrictEqual(found, wanted);
  }, { withinMs: 30_000, what: `${director} has ${mode} ${scheduler}` }).catch((error: Error) => { throw new Error(`${error.message}; it has ${JSON.stringify(found)}`, { cause: error }); });
}

/** New connections from both clients to every port, and whom real servers see. */
async function balanced(lab: Lab, operator: Operator, { mode, ports, address }: Form, spread: Edit['spread']): Promise<void> {
  const holder = await operator.owner(address);
  const director = directors.find(({ name }) => name === holder)?.addresses[0];
  for (const [client, own] of Object.entries(clients)) {
    for (const port of ports) {
      const answers: Answers = await lab.get(client, { address, port, count: 12 });
      const fits = typeof spread === 'function' ? spread(answers.by) : isDeepStrictEqual(answers.by, spread);
      assert.ok(fits, `${client} to port ${port}: ${JSON.stringify(answers)}`);
      assert.deepEqual(answers.sources, [mode === 'NAT' ? director : own], `whom real servers see of ${client}`);
    }
  }
}

/** All of them end, and by a reset: none is left to wait for an answer that never comes. */
async function reset(lab: Lab, connections: HeldConnections, count: number): Promise<void> {
  let result: unknown = null;
  await lab.eventually(async () => {
    const { broken, reasons } = await connections.check();
    result = reasons;
    return broken === count;
  }, { withinMs: 10_000, what: 'they end' });
  assert.deepEqual(result, { ECONNRESET: count });
}
