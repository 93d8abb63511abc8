/**
 * Random histories of a cluster for property tests: what people, nodes and accidents do, as data, and how each step is done on a bench.
 * Also what must be so at every moment and in the end. Generators and predicates only; the properties are in controller.property.test.ts.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { KubeObject, Resource } from '../../../src/kube/types.ts';
import { joinSlices, RESOURCES, type VirtualIP, type VirtualServerProgram } from '../../../src/api/v1alpha1/index.ts';
import { readPorts } from '../../../src/controller/compile/occupancy.ts';
import { Refusal } from '../kube/fake-cluster.ts';
import { Bench, coreEndpoints, lease, namespace, node, service, slice } from './bench.ts';
import { endpoints, group, pin, pool, ports, server } from './compile/setup.ts';

type Fields = Record<string, unknown>;

/** What people wrote, as one object each. `drop`: it goes. */
export type Written =
  | { readonly do: 'server'; readonly key: string; readonly spec: Fields; readonly drop: boolean; readonly anew: boolean }
  | { readonly do: 'pool'; readonly name: string; readonly spec: Fields; readonly drop: boolean }
  | { readonly do: 'group'; readonly name: string; readonly spec: Fields; readonly drop: boolean }
  | { readonly do: 'node'; readonly n: number; readonly labels: Record<string, string>; readonly drop: boolean }
  | { readonly do: 'service'; readonly key: string; readonly named: boolean; readonly drop: boolean }
  | { readonly do: 'slice'; readonly key: string; readonly n: number; readonly hosts: readonly number[]; readonly drop: boolean }
  | { readonly do: 'endpoints'; readonly key: string; readonly hosts: readonly number[]; readonly drop: boolean }
  | { readonly do: 'namespace'; readonly name: string; readonly shop: boolean };

export type Step =
  | Written
  | { readonly do: 'lease'; readonly n: number; readonly drop: boolean }
  | { readonly do: 'report' }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'spoil'; readonly kind: 'VirtualIP' | 'VirtualServerProgram' | 'IPVSNode'; readonly nth: number; readonly emptied: boolean }
  | { readonly do: 'break' | 'compact' | 'garbage' | 'restart' };

const NAMES = ['a/one', 'a/two', 'a/three', 'b/one', 'b/four'] as const;
const NODES = 4;

const vip = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Fields>({}) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 4 }).map((n): Fields => pin(`203.0.113.${n}`)) },
  { weight: 1, arbitrary: fc.constantFrom<Fields>({ vip: { poolRef: { name: 'second' } } }, { vip: { families: ['IPv4', 'IPv6'], poolRef: { name: 'second' } } }, pin('203.0.113.1', '203.0.113.2')) },
  { weight: 2, arbitrary: fc.constantFrom('one', 'two').map((name): Fields => ({ vip: { sharedFrom: { name } } })) },
);
const portList = fc.constantFrom<Fields>(ports(80), ports(81), ports(80, 443), ports([3000, 3010]), ports([3005, 3007]), { ...ports(80, 81), persistence: { timeoutSeconds: 60, scope: 'AllPorts' } });
const backends = fc.oneof(
  fc.subarray(['10.0.0.1', '10.0.0.2', '10.0.0.3']).filter((l) => l.length > 0).map((list): Fields => endpoints(...list)),
  fc.constantFrom('web', 'api').map((name): Fields => ({ backends: [{ serviceRef: { name } }] })),
  fc.constant<Fields>({ mode: 'DR', backends: [{ nodes: { selector: { matchLabels: { role: 'web' } } } }] }),
);
const flag = fc.boolean();
const rarely = fc.integer({ min: 0, max: 3 }).map((n) => n === 0);
const hosts = fc.subarray([1, 2, 3, 4]);

export const written: fc.Arbitrary<Written> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({ do: fc.constant('server' as const), key: fc.constantFrom(...NAMES), spec: fc.tuple(vip, portList, backends, rarely).map(([v, p, b, suspend]): Fields => ({ ...v, ...p, ...b, suspend })), drop: rarely, anew: rarely }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('pool' as const), name: fc.constantFrom('public', 'second'), drop: rarely,
      spec: fc.constantFrom<Fields>({}, { disabled: true }, { quotaPerNamespace: 1 }, { allowedNamespaces: { names: ['a'] } }, { allowedNamespaces: { matchLabels: { shop: 'yes' } } }, { directorGroupRef: { name: 'edge' } }, { excluded: ['203.0.113.2'] }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('group' as const), name: fc.constantFrom('edge', 'core'), spec: fc.constantFrom<Fields>({}, { nodeSelector: { matchLabels: { edge: '' } } }), drop: rarely }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('node' as const), n: fc.integer({ min: 1, max: NODES }), labels: fc.constantFrom<Record<string, string>>({}, { edge: '' }, { role: 'web' }, { edge: '', role: 'web' }), drop: rarely }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('service' as const), key: fc.constantFrom('a/web', 'a/api', 'b/web'), named: flag, drop: rarely }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('slice' as const), key: fc.constantFrom('a/web', 'a/api', 'b/web'), n: fc.integer({ min: 1, max: 2 }), hosts, drop: rarely }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('endpoints' as const), key: fc.constantFrom('a/api'), hosts, drop: rarely }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('namespace' as const), name: fc.constantFrom('a', 'b'), shop: flag }) },
);

export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 24, arbitrary: written },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('lease' as const), n: fc.integer({ min: 1, max: NODES }), drop: rarely }) },
  { weight: 3, arbitrary: fc.constant({ do: 'report' as const }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(5, 60, 300, 2_000) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('spoil' as const), kind: fc.constantFrom('VirtualIP' as const, 'VirtualServerProgram' as const, 'IPVSNode' as const), nth: fc.nat(5), emptied: flag }) },
  { weight: 3, arbitrary: fc.constantFrom<Step>({ do: 'break' }, { do: 'compact' }, { do: 'garbage' }, { do: 'restart' }) },
);

/** Does a step of people. Others are the property's. */
export function write(b: Bench, w: Written): void {
  switch (w.do) {
    case 'server':
      if (w.drop || w.anew) b.drop('VirtualServer', w.key);
      if (!w.drop) b.put(server(w.key, w.spec));
      return;
    case 'pool': {
      const blocks = w.name === 'public' ? [{ cidr: '203.0.113.0/29' }] : [{ cidr: '198.51.100.0/30' }, { cidr: '2001:db8::/126' }];
      if (w.drop) b.drop('VIPPool', w.name);
      else b.put(pool(w.name, { blocks, ...w.spec, ...(w.name === 'public' ? {} : { excluded: [] }) }));
      return;
    }
    case 'group':
      if (w.drop) b.drop('DirectorGroup', w.name);
      else b.put(group(w.name, w.spec));
      return;
    case 'node':
      if (w.drop) b.drop('Node', `n${w.n}`);
      else b.put(node(`n${w.n}`, [`192.0.2.${w.n}`], w.labels));
      return;
    case 'service':
      if (w.drop) b.drop('Service', w.key);
      else b.put(w.named ? service(w.key, { name: 'http', port: 80, targetPort: 'http' }) : service(w.key));
      return;
    case 'slice': {
      const key = `${w.key}-${w.n}`;
      if (w.drop) b.drop('EndpointSlice', key);
      else b.put(slice(key, w.key.slice(w.key.indexOf('/') + 1), w.hosts.map((h) => `10.1.${w.n}.${h}`), [{ name: w.n === 1 ? '' : 'http', port: 8080, protocol: 'TCP' }]));
      return;
    }
    case 'endpoints':
      if (w.drop) b.drop('Endpoints', w.key);
      else b.put(coreEndpoints(w.key, ...w.hosts.map((h) => `10.9.0.${h}`)));
      return;
    case 'namespace': b.put(namespace(w.name, w.shop ? { shop: 'yes' } : {}));
  }
}

export const NODE_NAMES = Array.from({ length: NODES }, (_, i) => `n${i + 1}`);

/** Where every history begins: something to lose. */
export function begin(b: Bench): void {
  for (const name of ['a', 'b']) b.put(namespace(name));
  b.put(pool(), pool('second', { blocks: [{ cidr: '198.51.100.0/30' }, { cidr: '2001:db8::/126' }] }), group('edge'), ...NODE_NAMES.slice(0, 2).map((n, i) => node(n, [`192.0.2.${i + 1}`], { edge: '' })), lease('n1'), lease('n2'));
}

/** Does a step that is not people's. 'restart' is the caller's. */
export async function happen(b: Bench, s: Exclude<Step, Written>): Promise<void> {
  switch (s.do) {
    case 'lease':
      if (s.drop) b.drop('Lease', `ipvs-system/director-n${s.n}`);
      else b.put(lease(`n${s.n}`));
      return;
    case 'report': b.report(...NODE_NAMES); return;
    case 'wait': await b.pass(s.ms); return;
    case 'spoil': {
      const keys = [...b.api.all<KubeObject>(RESOURCES[s.kind] as unknown as Resource<KubeObject>).keys()].sort();
      const key = keys[s.nth % keys.length];
      if (key === undefined) return;
      const object = b.get(s.kind, key)!;
      if (!s.emptied) b.drop(s.kind, key);
      else if (object.kind === 'VirtualIP') b.put({ ...object, spec: { ...object.spec, claims: [] } });
      else if (object.kind === 'IPVSNode') b.put({ ...object, spec: { ...object.spec, directorGroups: [], realServer: { binds: [] } } });
      else b.put({ ...object, spec: { ...object.spec, services: object.spec.services.map((one) => ({ ...one, realServers: [] })) } });
      return;
    }
    case 'break': b.api.breakWatches(); return;
    case 'compact': b.api.cluster.compact(); return;
    case 'garbage': b.api.collectGarbage(); return;
    case 'restart': return;
  }
}

/** Calls are refused, and answers are lost, now and then; until the returned function is called. */
export function roughen(b: Bench, random: () => number): () => void {
  const refusals = [[500, 'InternalError'], [503, 'ServiceUnavailable'], [429, 'TooManyRequests'], [409, 'Conflict'], [504, 'Timeout']] as const;
  b.api.arrives = () => {
    if (random() > 0.04) return;
    const [status, reason] = refusals[Math.floor(random() * refusals.length)]!;
    throw new Refusal(status, reason, 'not now');
  };
  b.api.loses = () => random() < 0.03;
  return () => {
    b.api.arrives = () => {};
    b.api.loses = () => false;
  };
}

/** At every moment, whoever writes: a VirtualIP is of one namespace, and each port of one VirtualServer. */
export function soundClaims({ spec }: VirtualIP): void {
  assert.ok(new Set(spec.claims.map((c) => c.namespace)).size <= 1, `${spec.address} is claimed by two namespaces`);
  const taken = new Map<string, string>();
  for (const c of spec.claims) {
    for (const { protocol, first, last } of readPorts(c.ports)) {
      for (let port = first; port <= last; port++) {
        const other = taken.get(`${protocol}/${port}`);
        assert.equal(other, undefined, `${spec.address} ${protocol} ${port} is claimed by ${other} and ${c.name}`);
        taken.set(`${protocol}/${port}`, c.name);
      }
    }
  }
}

/** At every moment, where one controller leads at a time and nobody takes VirtualIPs away: what a program serves is claimed. */
export function claimedFirst(b: Bench, { metadata, spec }: VirtualServerProgram): void {
  for (const { address } of spec.addresses) {
    const claims = b.all('VirtualIP').find((v) => v.spec.address === address)?.spec.claims ?? [];
    assert.ok(claims.some((c) => c.namespace === metadata.namespace && c.name === spec.virtualServer.name), `${metadata.namespace}/${metadata.name} serves ${address}, which it has not claimed`);
  }
}

/** At rest. */
export function consistent(b: Bench): void {
  const servers = new Map(b.all('VirtualServer').map((s) => [`${s.metadata.namespace}/${s.metadata.name}`, s]));
  const vips = b.all('VirtualIP');
  for (const v of vips) {
    soundClaims(v);
    assert.ok(v.spec.claims.length > 0, `${v.spec.address} is nobody's and there`);
    for (const c of v.spec.claims) assert.equal(servers.get(`${c.namespace}/${c.name}`)?.metadata.uid, c.uid, `${v.spec.address} is claimed by ${c.namespace}/${c.name}, which is another or none`);
    assert.equal(v.status?.claims, v.spec.claims.length);
  }
  const byOwner = Map.groupBy(b.all('VirtualServerProgram'), (p) => `${p.metadata.namespace}/${p.spec.virtualServer.name}`);
  const served = new Map<string, string>();
  for (const [owner, slices] of byOwner) {
    const joined = joinSlices(slices);
    assert.ok(!('problem' in joined), `${owner}: ${JSON.stringify(joined)}`);
    assert.equal(joined.uid, servers.get(owner)?.metadata.uid, `${owner} has a program of another`);
    for (const slice of slices) claimedFirst(b, slice);
    for (const { address } of joined.program.spec.addresses) {
      for (const { protocol, port, endPort } of joined.program.spec.services.flatMap((s) => [...s.ports])) {
        for (let p = port; p <= endPort; p++) {
          const place: string = `${address} ${protocol}/${p}`;
          assert.equal(served.get(place), undefined, `${place} is served by ${served.get(place)} and ${owner}`);
          served.set(place, owner);
        }
      }
    }
    // Nobody sends where nobody receives.
    if (joined.program.spec.mode === 'NAT') continue;
    for (const r of joined.program.spec.services.flatMap((s) => s.realServers)) {
      const on = r.slice(r.lastIndexOf('|') + 1);
      const binds = b.get('IPVSNode', on)?.spec.realServer.binds ?? [];
      for (const { address } of joined.program.spec.addresses) assert.ok(binds.some((x) => x.address === address && x.virtualServer === owner), `${owner} sends ${address} to ${on}, which is not told to receive`);
    }
  }
  for (const [key, { metadata, status, spec }] of servers) {
    assert.equal(status?.observedGeneration, metadata.generation, `${key} was not looked at`);
    const accepted = status?.conditions?.find((c) => c.type === 'Accepted');
    if (accepted?.status === 'True') assert.ok(byOwner.has(key), `${key} is accepted and has no program`);
    if (spec.suspend && accepted?.reason === 'Suspended') assert.ok(!byOwner.has(key), `${key} is suspended and has a program`);
  }
}
