// The whole operator in a guest: deploy/install.yaml applied, a controller beside the API server, an agent on each node. What
// scenarios of the cluster have in common; what they prove is theirs. Whoever is of the product has the rights that deploy/install.yaml gives,
// and no others; only the scenario itself is admin.

import { resolve } from 'node:path';
import { virtualIPName } from '../../src/api/v1alpha1/index.ts';
import { untilInstalled } from '../cluster/installed.ts';
import { create, namespace, node } from '../cluster/objects.ts';
import { tokenOnNode } from '../cluster/tokens.ts';
import type { Daemon, Lab, LabCluster, LabClusterOptions } from './lab.ts';

export const system = 'ipvs-system';
const root = resolve(import.meta.dirname, '../..');

/** A node of the cluster: a host of the topology, its address there, and its labels. */
export interface NodeSpec { readonly name: string; readonly addresses: readonly string[]; readonly labels?: Readonly<Record<string, string>> }

export interface OperatorOptions {
  /** Default 1, which leads at once. Several elect one that leads. */
  readonly controllers?: number;
  /** More arguments of every agent. */
  readonly agentArgs?: readonly string[];
  /** More environment of every agent. */
  readonly agentEnvironment?: Readonly<Record<string, string>>;
  /** Called when the API server runs and nothing of ours does. */
  readonly before?: (cluster: LabCluster) => Promise<void>;
  /** More of the API server: its flags. */
  readonly server?: LabClusterOptions;
}

export interface Operator {
  readonly cluster: LabCluster;
  /** The first of them. */
  readonly controller: Daemon;
  readonly controllers: readonly Daemon[];
  readonly agents: Readonly<Record<string, Daemon>>;
  /** Of each node's agent, as its pod there would have it. */
  readonly tokens: Readonly<Record<string, string>>;
  /** An object as JSON; null when there is none. `name` with its namespace as `shop/web`. */
  get<T = Record<string, unknown>>(resource: string, name: string): Promise<T | null>;
  /** Waits until a VirtualServer `namespace/name` is Ready at its newest generation. Rejects with its conditions. */
  ready(name: string): Promise<void>;
  /** Which director holds an address, or ''. */
  owner(address: string): Promise<string>;
  /** The controller that leads by its own word, which needs no API server to be asked; null when none runs that says so. */
  leader(): Daemon | null;
}

/** Nodes that direct for the group `edge`. */
export const edge = { role: 'edge' } as const;

/** A director that stands still, as everything does on a busy machine, must not look like a dead one: where nobody is to take over. */
const PATIENT = ', failover: { leaseDurationSeconds: 60, renewSeconds: 5 }';
/** As a DirectorGroup has it that says nothing. */
export const USUAL_LEASE = ', failover: { leaseDurationSeconds: 6, renewSeconds: 2 }';

/** A group of all nodes labelled role=edge, and a default pool. `extra`: more of the group's spec, default a Lease that a busy machine does not break. */
export const basics = (cidr: string, extra = PATIENT): string => `
apiVersion: ipvs-operator.dev/v1alpha1
kind: DirectorGroup
metadata: { name: edge }
spec: { nodeSelector: { matchLabels: { role: edge } } ${extra} }
---
apiVersion: ipvs-operator.dev/v1alpha1
kind: VIPPool
metadata: { name: public }
spec: { blocks: [ { cidr: ${cidr} } ], default: true, allowedNamespaces: { all: true }, directorGroupRef: { name: edge }, allowStaticBackendCIDRs: [ 10.0.0.0/8 ] }
`;

export async function startOperator(lab: Lab, nodes: readonly NodeSpec[], objects: string, { controllers: count = 1, agentArgs = [], agentEnvironment = {}, before, server = {} }: OperatorOptions = {}): Promise<Operator> {
  const cluster = await lab.cluster({ controllerManager: true, ...server });
  await before?.(cluster);
  await cluster.applyFile(resolve(root, 'deploy/install.yaml'));
  await create(cluster, namespace('shop'), ...nodes.map((n) => node(n.name, n.addresses, n.labels ?? {})));
  await cluster.apply(objects);
  await untilInstalled(cluster, `${system}/ipvs-operator-controller`, `${system}/ipvs-operator-agent`);
  const controllerConfig = cluster.writeKubeconfig('controller', await cluster.tokenFor(`${system}/ipvs-operator-controller`, { expirationSeconds: 86_400 }));
  const controllers: Daemon[] = [];
  for (let i = 0; i < count; i++) {
    // All are in one network namespace, so each has a port of its own.
    const args = ['controller', '--kubeconfig', controllerConfig, '--namespace', system, '--listen', `127.0.0.1:${9821 + i}`];
    controllers.push(await lab.daemon(null, count === 1 ? [...args, '--no-leader-election'] : args));
  }
  const leader = (): Daemon | null => (count === 1 ? controllers : controllers.filter(({ log }) => log.lastIndexOf('"msg":"leading"') > log.lastIndexOf('"msg":"started"'))).find((c) => c.running) ?? null;
  // Ten processes that start at once take the one CPU away from each other for longer than a leader may be silent.
  if (count > 1) await lab.eventually(() => leader() !== null, { withinMs: 60_000, what: 'one of the controllers leads' });
  const agents: Record<string, Daemon> = {};
  const tokens: Record<string, string> = {};
  for (const { name } of nodes) {
    tokens[name] = await tokenOnNode(cluster, `${system}/ipvs-operator-agent`, name);
    const kubeconfig = cluster.writeKubeconfig(`agent-${name}`, tokens[name]!);
    agents[name] = await lab.daemon(name, ['agent', '--node', name, '--kubeconfig', kubeconfig, '--namespace', system, '--state', lab.host(name).path('agent'), ...agentArgs], { environment: agentEnvironment });
  }
  const get = async <T>(resource: string, name: string): Promise<T | null> => {
    const [space, short] = name.includes('/') ? name.split('/') as [string, string] : [undefined, name];
    const path = `/apis/ipvs-operator.dev/v1alpha1${space === undefined ? '' : `/namespaces/${space}`}/${resource}/${short}`;
    const { status, body } = await cluster.request<T>('GET', path);
    return status === 200 ? body : null;
  };
  return {
    cluster, controller: controllers[0]!, controllers, agents, tokens, get, leader,
    owner: async (address) => (await get<{ status?: { activeNode?: string } }>('virtualips', virtualIPName(address)))?.status?.activeNode ?? '',
    ready: async (name) => {
      let seen = 'nothing';
      await lab.eventually(async () => {
        const server = await get<{ metadata: { generation: number }; status?: { observedGeneration?: number; conditions?: { type: string; status: string; reason: string; message: string }[] } }>('virtualservers', name);
        seen = JSON.stringify(server?.status ?? null);
        return server?.status?.observedGeneration === server?.metadata.generation && server?.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;
      }, { withinMs: 60_000, what: `${name} is Ready` }).catch((error: Error) => { throw new Error(`${error.message}; its status: ${seen}`, { cause: error }); });
    },
  };
}
