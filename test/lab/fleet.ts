// What scenarios of a whole fleet (topology `fleet`) have in common: its nodes, cheap questions to many VIPs at once, and whether every node's
// kernel is as it was. What they prove is theirs.

import assert from 'node:assert/strict';
import { difference } from './difference.ts';
import type { Host, Lab } from './lab.ts';
import { edge, type NodeSpec, type Operator } from './operator.ts';

export const directors: readonly NodeSpec[] = [1, 2, 3].map((i) => ({ name: `dir${i}`, addresses: [`10.0.1.1${i}`], labels: edge }));
export const realServers: readonly NodeSpec[] = [1, 2, 3, 4].map((i) => ({ name: `rs${i}`, addresses: [`10.0.1.2${i}`], labels: { role: 'web' } }));
export const nodes: readonly NodeSpec[] = [...directors, ...realServers];
export const API = '/apis/ipvs-operator.dev/v1alpha1';

export type Spread = Record<string, Record<string, number>>;

/** All four real servers twice. */
export const twiceEach = (targets: readonly string[]): Spread => Object.fromEntries(targets.map((t) => [t, Object.fromEntries(realServers.map(({ name }) => [name, 2]))]));

/** Who answers eight connections to each `address:port`, one after the other, in one process: a probe each would take a second each. */
export async function spread(client: Host, targets: readonly string[]): Promise<Spread> {
  const script = `for t in ${targets.join(' ')}; do for i in 1 2 3 4 5 6 7 8; do line=; { exec 3<>/dev/tcp/\${t%:*}/\${t#*:} && read -t 5 -r line <&3; exec 3>&-; } 2>/dev/null; echo "$t $line"; done; done`;
  const found: Spread = Object.fromEntries(targets.map((t) => [t, {}]));
  for (const line of (await client.run(`timeout 120 bash -c '${script}'`, { timeoutMs: 130_000 })).stdout.trim().split('\n')) {
    const [target, ...rest] = line.split(' ');
    const who = /"server":"(\w+)"/.exec(rest.join(' '))?.[1] ?? 'nobody';
    found[target!]![who] = (found[target!]![who] ?? 0) + 1;
  }
  return found;
}

/** Those of these targets at which somebody answers, be it with a refusal. */
export async function answering(client: Host, targets: readonly string[]): Promise<string[]> {
  const one = (t: string): string => `(text=$(timeout 3 bash -c 'exec 3<>/dev/tcp/${t.replace(':', '/')}' 2>&1); code=$?; case "$code $text" in 124*|*"No route"*|*unreachable*) ;; *) echo ${t};; esac) &`;
  return (await client.run(`${targets.map(one).join('\n')}\nwait`, { timeoutMs: 60_000 })).stdout.trim().split('\n').filter(Boolean).sort();
}

export type Snapshots = Record<string, string>;

export async function snapshots(lab: Lab): Promise<Snapshots> {
  const taken: Snapshots = {};
  for (const { name } of nodes) taken[name] = await lab.snapshot(name);
  return taken;
}

/** Waits until every node's kernel is as it was. */
export async function asBefore(lab: Lab, before: Snapshots, when: string): Promise<void> {
  for (const { name } of nodes) {
    await lab.eventually(async () => assert.deepEqual(difference(before[name]!, await lab.snapshot(name)), []), { withinMs: 60_000, what: `${name} is as before, ${when}` });
  }
}

/** No process ended, by itself or in a crash, and none was refused anything for want of rights. `controllerStarts`: how often the scenario itself started that one. */
export function undisturbed({ controller, agents, tokens }: Operator, controllerStarts = 1): void {
  for (const [name, { running, log }] of Object.entries({ controller, ...agents })) {
    assert.ok(running, `${name} runs`);
    assert.doesNotMatch(log, /is forbidden: User|denied request/, `${name} has the rights that it needs`);
    assert.ok(!Object.values(tokens).some((token) => log.includes(token)), `${name} tells no secrets`);
    assert.equal(log.split('"msg":"started"').length - 1, name === 'controller' ? controllerStarts : 1, `${name} was started once`);
  }
}

/** Creates objects of any kind, one after the other: kubectl costs a guest seconds. Rejects with the server's words. */
export async function post(operator: Operator, ...objects: readonly ApiObject[]): Promise<void> {
  for (const object of objects) {
    const { status, body } = await operator.cluster.request<{ message?: string }>('POST', collectionOf(object), object);
    if (status !== 201) throw new Error(`${object.kind} ${object.metadata.namespace ?? ''}/${object.metadata.name}: ${status} ${body.message ?? ''}`);
  }
}

export interface ApiObject { readonly apiVersion: string; readonly kind: string; readonly metadata: { readonly name: string; readonly namespace?: string; readonly [field: string]: unknown }; readonly [field: string]: unknown }

function collectionOf({ apiVersion, kind, metadata: { namespace } }: ApiObject): string {
  return `/${apiVersion.includes('/') ? 'apis' : 'api'}/${apiVersion}${namespace === undefined ? '' : `/namespaces/${namespace}`}/${kind.toLowerCase()}s`;
}

const OURS = 'ipvs-operator.dev/v1alpha1';
export const namespaceOf = (name: string): ApiObject => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
export const groupOf = (name: string, more: object = {}): ApiObject => ({ apiVersion: OURS, kind: 'DirectorGroup', metadata: { name }, spec: { nodeSelector: { matchLabels: edge }, ...more } });
export const poolOf = (name: string, spec: object): ApiObject => ({ apiVersion: OURS, kind: 'VIPPool', metadata: { name }, spec });
export const serverOf = (key: string, spec: object): ApiObject => {
  const [namespace, name] = key.split('/') as [string, string];
  return { apiVersion: OURS, kind: 'VirtualServer', metadata: { name, namespace }, spec: { scheduler: { name: 'rr' }, ...spec } };
};

/** A Service without a selector, with one slice of its own. */
export function serviceOf(key: string, addresses: readonly string[]): ApiObject[] {
  const [namespace, name] = key.split('/') as [string, string];
  return [
    { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec: { ports: [{ port: 80 }] } },
    {
      apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata: { name: `${name}-1`, namespace, labels: { 'kubernetes.io/service-name': name, 'endpointslice.kubernetes.io/managed-by': 'lab' } },
      addressType: 'IPv4', ports: [{ name: '', port: 8080, protocol: 'TCP' }], endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
    },
  ];
}

interface ServerStatus { readonly metadata: { readonly namespace: string; readonly name: string; readonly generation: number }; readonly status?: { readonly observedGeneration?: number; readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }[] } }

/** Waits until every VirtualServer that there is is Ready, and each target balances over all four real servers. */
export async function allServe(lab: Lab, operator: Operator, targets: readonly string[]): Promise<void> {
  await lab.eventually(async () => {
    const { body } = await operator.cluster.request<{ items: ServerStatus[] }>('GET', `${API}/virtualservers`);
    const waiting = body.items.filter((s) => s.status?.conditions?.find((c) => c.type === 'Ready')?.status !== 'True');
    assert.deepEqual(waiting.map((s) => `${s.metadata.namespace}/${s.metadata.name} ${JSON.stringify(s.status?.conditions)}`), []);
  }, { withinMs: 120_000, what: 'all VirtualServers are Ready' });
  // Nodes of DR and TUN come when they receive.
  await balances(lab, targets, 'each balances over all four');
}

export async function balances(lab: Lab, targets: readonly string[], what: string): Promise<void> {
  await lab.eventually(async () => assert.deepEqual(await spread(lab.host('c1'), targets), twiceEach(targets)), { withinMs: 60_000, what });
}
