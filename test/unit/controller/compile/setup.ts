/** Objects as parse would give them, and compile in one call. Builders only. */
import assert from 'node:assert/strict';
import { formatProblem, parseObject, type ApiObject, type DirectorGroup, type VIPPool, type VirtualServer } from '../../../../src/api/v1alpha1/index.ts';
import { compileOne, prepare, type Context, type Verdict } from '../../../../src/controller/compile/compile.ts';
import { NO_CLUSTER, type Cluster } from '../../../../src/controller/compile/cluster.ts';
import { NO_MEMORY, type Memory } from '../../../../src/controller/compile/memory.ts';

const apiVersion = 'ipvs-operator.dev/v1alpha1';

type Fields = Record<string, unknown>;

export function parsed<T extends ApiObject>(value: unknown): T {
  const result = parseObject(value);
  assert.ok(result.ok, result.ok ? '' : result.problems.map(formatProblem).join('\n'));
  return result.object as T;
}

/** `name` may be `namespace/name`; the namespace is default otherwise. */
export function server(name: string, spec: Fields = {}): VirtualServer {
  const [namespace, short] = name.includes('/') ? name.split('/') : ['default', name];
  return parsed({
    apiVersion, kind: 'VirtualServer', metadata: { name: short, namespace },
    spec: { mode: 'NAT', ports: [{ port: 80 }], backends: [{ static: { endpoints: [{ address: '10.0.0.21' }] } }], ...spec },
  });
}

export const pin = (...addresses: string[]): Fields => ({ vip: { addresses } });
export const ports = (...list: (number | [number, number] | Fields)[]): Fields =>
  ({ ports: list.map((p) => (typeof p === 'number' ? { port: p } : Array.isArray(p) ? { port: p[0], endPort: p[1] } : p)) });
export const endpoints = (...list: (string | Fields)[]): Fields => ({ backends: [{ static: { endpoints: list.map((e) => (typeof e === 'string' ? { address: e } : e)) } }] });

/** 203.0.113.0/29: .1 to .6 may be allocated. */
export function pool(name = 'public', spec: Fields = {}): VIPPool {
  return parsed({
    apiVersion, kind: 'VIPPool', metadata: { name },
    spec: { blocks: [{ cidr: '203.0.113.0/29' }], default: name === 'public', allowedNamespaces: { all: true }, allowStaticBackendCIDRs: ['10.0.0.0/8', 'fd00::/16'], ...spec },
  });
}

export function group(name: string, spec: Fields = {}): DirectorGroup {
  return parsed({ apiVersion, kind: 'DirectorGroup', metadata: { name }, spec });
}

export interface World {
  servers?: readonly VirtualServer[];
  pools?: readonly VIPPool[];
  groups?: readonly DirectorGroup[];
  memory?: Memory;
  labels?: Record<string, Record<string, string>>;
  unread?: readonly string[];
  cluster?: Cluster;
}

export function key(s: VirtualServer): string { return `${s.metadata.namespace}/${s.metadata.name}`; }

export interface Compiled {
  readonly context: Context;
  readonly memory: Memory;
  readonly verdicts: Record<string, Verdict>;
  /** `203.0.113.1` or `PoolExhausted`, by name without the default namespace. */
  readonly outcome: Record<string, string>;
}

export function compile({ servers = [], pools = [pool()], groups = [], memory = NO_MEMORY, labels, unread = [], cluster = NO_CLUSTER }: World): Compiled {
  const context = prepare({
    servers: new Map(servers.map((s) => [key(s), s])), pools: new Map(pools.map((p) => [p.metadata.name, p])), groups: new Map(groups.map((g) => [g.metadata.name, g])),
    memory, cluster: { ...cluster, namespaceLabels: (ns) => (labels ? labels[ns] ?? {} : null) }, unread: new Set(unread),
  });
  const verdicts = Object.fromEntries(servers.map((s) => [key(s), compileOne(key(s), s, context)]));
  const outcome = Object.fromEntries(Object.entries(verdicts).map(([k, v]) => [k.replace(/^default\//, ''), v.accepted ? v.addresses.join(',') : v.reason]));
  return { context, memory: context.memory, verdicts, outcome };
}
