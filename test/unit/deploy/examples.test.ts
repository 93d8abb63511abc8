/** Examples for a cluster parse, name what exists, and go together: an example that is wrong teaches the wrong thing. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, globSync } from 'node:fs';
import { formatProblem, KINDS, parseObject } from '../../../src/api/v1alpha1/index.ts';
import { readPool, admits, poolHolds } from '../../../src/controller/compile/pools.ts';
import type { VIPPool, VirtualServer } from '../../../src/api/v1alpha1/index.ts';
import { readManifests, type Manifest } from '../../../tools/chart/manifests.ts';
import { read, root } from './files.ts';

const filesOf = (folder: string): string[] => globSync(`examples/${folder}/*.yaml`, { cwd: root }).sort();
const cluster = filesOf('kubernetes').flatMap((file) => readManifests(read(file)));
const of = (kind: string): Manifest[] => cluster.filter((one) => one.kind === kind);
const ours = cluster.filter(({ kind }) => Object.hasOwn(KINDS, kind));

test('there is one of each mode, and one of each kind that people write', () => {
  assert.deepEqual(of('VirtualServer').map((one) => (one['spec'] as { mode: string }).mode).sort(), ['DR', 'NAT', 'TUN']);
  for (const kind of Object.keys(KINDS)) assert.ok(of(kind).length > 0, kind);
});

for (const one of ours) {
  test(`${one.kind} ${one.metadata.name} of examples/kubernetes has no problem`, () => {
    const result = parseObject(one);
    assert.ok(result.ok, result.ok ? '' : result.problems.map(formatProblem).join('\n'));
  });
}

test('the manifests of the README and of the examples for a host without a cluster have no problem', () => {
  const inReadme = [...read('README.md').matchAll(/^```yaml\n([^]*?)^```/gm)].flatMap(([, text]) => readManifests(text!));
  assert.deepEqual(inReadme.map(({ kind }) => kind), ['VIPPool', 'VirtualServer']);
  const files = ['tutorial', 'web'].flatMap(filesOf);
  assert.equal(files.length, 4);
  for (const one of [...inReadme, ...files.flatMap((file) => readManifests(read(file)))]) {
    const result = parseObject(one);
    assert.ok(result.ok, result.ok ? '' : result.problems.map(formatProblem).join('\n'));
  }
});

test('every VirtualServer of the examples is in a namespace that the pool admits, pins an address that it holds, and names a Service that is there', () => {
  const parsed = ours.map((one) => { const result = parseObject(one); assert.ok(result.ok); return result.object; });
  const pools = parsed.filter((one) => one.kind === 'VIPPool').map((one) => readPool(one as VIPPool));
  const services = new Set(of('Service').map(({ metadata }) => `${metadata.namespace}/${metadata.name}`));
  for (const one of parsed.filter(({ kind }) => kind === 'VirtualServer') as VirtualServer[]) {
    const { namespace } = one.metadata;
    const labels = of('Namespace').find(({ metadata }) => metadata.name === namespace)?.metadata.labels ?? null;
    const pool = pools.find((candidate) => admits(candidate, namespace, labels));
    assert.ok(pool, `a pool admits ${namespace}`);
    for (const address of one.spec.vip?.addresses ?? []) assert.ok(poolHolds(pool, address), address);
    for (const { serviceRef } of one.spec.backends) if (serviceRef) assert.ok(services.has(`${serviceRef.namespace ?? namespace}/${serviceRef.name}`), serviceRef.name);
  }
  const groups = new Set(of('DirectorGroup').map(({ metadata }) => metadata.name));
  for (const pool of pools) assert.ok(groups.has(pool.object.spec.directorGroupRef!.name));
});

test('an example with a slow start has weights that can rise', () => {
  const rising = ours.filter(({ kind, spec }) => kind === 'VirtualServer' && (spec as VirtualServer['spec']).slowStart !== undefined).map(({ spec }) => spec as VirtualServer['spec']);
  assert.ok(rising.length > 0);
  for (const { backends } of rising) for (const { weight = 1 } of backends) assert.ok(weight > 10, 'of 1 there are no steps');
});

for (const folder of ['argocd', 'flux']) {
  test(`the objects of examples/${folder} are complete and point to folders that exist`, () => {
    const objects = filesOf(folder).flatMap((file) => readManifests(read(file)));
    assert.ok(objects.length >= 2);
    for (const { apiVersion, kind, metadata } of objects) assert.ok(apiVersion && kind && metadata.name, JSON.stringify(metadata));
    const paths = [...JSON.stringify(objects).matchAll(/"(?:path|chart)":"(?:\.\/)?([^"]+)"/g)].map(([, path]) => path!);
    assert.ok(paths.includes('deploy/chart') && paths.includes('examples/kubernetes'));
    for (const path of paths) assert.ok(existsSync(`${root}${path}`), path);
  });
}

test('Flux does not wait for agents in an upgrade, which goes from node to node: when its time is over it tries no more', () => {
  const release = readManifests(read('examples/flux/ipvs-operator.yaml')).find(({ kind }) => kind === 'HelmRelease')!['spec'] as { upgrade: { disableWait?: boolean; remediation: { retries: number } } };
  assert.deepEqual(release.upgrade, { disableWait: true, remediation: { retries: 0 } });
});

test('Argo CD and Flux make the namespace with the level that agents need', () => {
  for (const folder of ['argocd', 'flux']) assert.match(filesOf(folder).map(read).join('\n'), /pod-security\.kubernetes\.io\/enforce: privileged/);
  assert.match(read('examples/argocd/ipvs-operator.yaml'), /ServerSideApply=true/);
});
