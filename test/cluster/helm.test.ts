/**
 * The life of a release on a real API server: installed, upgraded, refused a second time, uninstalled with everything that people wrote
 * still there, installed again. No pods run: there is no kubelet.
 */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { runCommand } from '../lab/process.ts';
import { programPath } from './programs.ts';
import { startCluster, type Cluster } from './server.ts';

const chart = resolve(import.meta.dirname, '../../deploy/chart');
const folder = mkdtempSync(join(tmpdir(), 'ipvs-helm-'));
let cluster: Cluster;

before(async () => { cluster = await startCluster({ folder }); });
after(async () => {
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function helm(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const home = { HELM_CACHE_HOME: join(folder, 'helm'), HELM_CONFIG_HOME: join(folder, 'helm'), HELM_DATA_HOME: join(folder, 'helm'), KUBECONFIG: cluster.kubeconfig };
  return runCommand([programPath('helm'), ...args], { timeoutMs: 180_000, environment: home });
}

async function ok(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await helm(...args);
  assert.equal(code, 0, stderr);
  return stdout;
}

async function namesOf(kind: string): Promise<string[]> {
  const { code, stdout, stderr } = await cluster.kubectl(['get', kind, '-A', '-o', 'jsonpath={range .items[*]}{.metadata.name}{"\\n"}{end}']);
  assert.equal(code, 0, stderr);
  return stdout.split('\n').filter((name) => name.includes('ipvs')).sort();
}

test('a release is installed, and says what to do next and what will not work', async () => {
  await cluster.apply('apiVersion: v1\nkind: Namespace\nmetadata: { name: ipvs-system, labels: { pod-security.kubernetes.io/enforce: restricted } }');
  const notes = await ok('install', 'ipvs-operator', chart, '--namespace', 'ipvs-system', '--set', 'podMonitor.enabled=false');
  assert.match(notes, /enforces Pod Security level restricted: no agent will start/);
  assert.match(notes, /pod-security\.kubernetes\.io\/enforce=privileged/);
  assert.match(notes, /image\.repository is ipvs-operator, which is in no registry/);
  assert.match(notes, /VIPPool/);
  assert.deepEqual(await namesOf('deployments,daemonsets'), ['ipvs-operator-agent', 'ipvs-operator-controller']);
  assert.equal((await namesOf('crds')).length, 6);
});

test('an upgrade changes what the values change, and its notes warn of nothing any more', async () => {
  await cluster.kubectl(['label', 'namespace', 'ipvs-system', '--overwrite', 'pod-security.kubernetes.io/enforce=privileged']);
  const notes = await ok('upgrade', 'ipvs-operator', chart, '--namespace', 'ipvs-system', '--set', 'image.repository=registry.example.org/ipvs,controller.replicas=3,admission.enabled=false');
  assert.doesNotMatch(notes, /WARNING/);
  const { stdout } = await cluster.kubectl(['-n', 'ipvs-system', 'get', 'deployment', 'ipvs-operator-controller', '-o', 'jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}']);
  assert.match(stdout, /^3 registry\.example\.org\/ipvs:\d/);
  assert.deepEqual(await namesOf('validatingadmissionpolicies'), []);
});

test('a second release in the same cluster is refused: two operators would fight over every kernel', async () => {
  const { code, stderr } = await helm('install', 'another', chart, '--namespace', 'elsewhere', '--create-namespace');
  assert.notEqual(code, 0);
  assert.match(stderr, /exists and cannot be imported|invalid ownership metadata/);
  assert.deepEqual(await namesOf('deployments'), ['ipvs-operator-controller']);
});

test('an uninstall leaves the CRDs and what people wrote, and the next install takes them over', async () => {
  await cluster.apply('apiVersion: ipvs-operator.dev/v1alpha1\nkind: VIPPool\nmetadata: { name: kept-ipvs }\nspec: { blocks: [ { cidr: 203.0.113.0/28 } ] }');
  await ok('uninstall', 'ipvs-operator', '--namespace', 'ipvs-system', '--wait');
  for (const kind of ['deployments,daemonsets', 'clusterroles', 'clusterrolebindings', 'roles', 'rolebindings', 'serviceaccounts', 'validatingadmissionpolicybindings']) assert.deepEqual(await namesOf(kind), [], kind);
  assert.equal((await namesOf('crds')).length, 6);
  assert.deepEqual(await namesOf('vippools'), ['kept-ipvs']);
  await ok('install', 'ipvs-operator', chart, '--namespace', 'ipvs-system');
  assert.deepEqual(await namesOf('vippools'), ['kept-ipvs']);
});

test('without crds.keep they go with the release', async () => {
  await ok('upgrade', 'ipvs-operator', chart, '--namespace', 'ipvs-system', '--set', 'crds.keep=false');
  await ok('uninstall', 'ipvs-operator', '--namespace', 'ipvs-system', '--wait');
  assert.deepEqual(await namesOf('crds'), []);
});

test('what kubectl installed is taken over by the command of docs/install.md, and what people wrote stays', async () => {
  await cluster.kubectl(['delete', 'namespace', 'ipvs-system', '--ignore-not-found', '--wait=false']);
  await cluster.apply(readFileSync(resolve(import.meta.dirname, '../../deploy/install.yaml'), 'utf8').replaceAll('ipvs-system', 'by-kubectl'));
  await cluster.apply('apiVersion: ipvs-operator.dev/v1alpha1\nkind: DirectorGroup\nmetadata: { name: edge }');
  const [, options] = /^helm upgrade --install ipvs-operator deploy\/chart -n ipvs-system --set \S+ (.*?) *#/m.exec(readFileSync(resolve(import.meta.dirname, '../../docs/install.md'), 'utf8'))!;
  const refused = await helm('install', 'ipvs-operator', chart, '--namespace', 'by-kubectl');
  assert.match(refused.stderr, /cannot be imported into the current release/);
  await ok('upgrade', '--install', 'ipvs-operator', chart, '--namespace', 'by-kubectl', '--set', 'image.repository=registry.example.org/taken', ...options!.split(/ +/));
  const { stdout } = await cluster.kubectl(['-n', 'by-kubectl', 'get', 'daemonset', 'ipvs-operator-agent', '-o', 'jsonpath={.spec.template.spec.containers[0].image}']);
  assert.match(stdout, /^registry\.example\.org\/taken:/);
  assert.equal((await cluster.kubectl(['get', 'dgroup', 'edge'])).code, 0);
  await ok('upgrade', 'ipvs-operator', chart, '--namespace', 'by-kubectl');
  await ok('rollback', 'ipvs-operator', '--namespace', 'by-kubectl');
});
