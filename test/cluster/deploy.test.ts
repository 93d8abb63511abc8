/**
 * What is below deploy/ and examples/, with the real programs: helm renders and refuses, kubeconform agrees, kubectl builds the kustomize
 * base and the API server takes all of it. Who may do what on that server is deploy-rights.test.ts.
 */
import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { globSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { dump } from 'js-yaml';
import { JUDGED_KINDS } from '../../tools/chart/argocd.ts';
import { identity, kustomizeBase, readManifests, withoutHelm, type Manifest } from '../../tools/chart/manifests.ts';
import { runCommand } from '../lab/process.ts';
import { untilInstalled } from './installed.ts';
import { programPath } from './programs.ts';
import { writeSchemas } from './schemas.ts';
import { startCluster, type Cluster } from './server.ts';

const root = resolve(import.meta.dirname, '../..');
const chart = join(root, 'deploy/chart');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
const folder = mkdtempSync(join(tmpdir(), 'ipvs-deploy-'));
let cluster: Cluster;

before(async () => { cluster = await startCluster({ folder }); });
after(async () => {
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Everything that can be on at once. */
const ALL_ON = {
  image: { repository: 'registry.example.org/ipvs', digest: `sha256:${'0123456789abcdef'.repeat(4)}`, pullPolicy: 'Always' },
  imagePullSecrets: [{ name: 'registry' }],
  namespace: { create: true },
  rbac: { readPods: true },
  controller: {
    replicas: 3, port: 8080, logLevel: 'debug', writesPerSecond: 500, tolerations: [{ key: 'a', operator: 'Exists' }], podAnnotations: { a: 'b' }, podLabels: { c: 'd' },
    affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1, podAffinityTerm: { topologyKey: 'zone', labelSelector: { matchLabels: { a: 'b' } } } }] } },
    extraArgs: ['--no-leader-election'], extraEnv: [{ name: 'A', value: 'b' }], priorityClassName: 'mine', nodeSelector: { disk: 'ssd' }, resources: { limits: { memory: '3Gi' } },
  },
  agent: {
    listen: { host: '', port: 9000 }, logLevel: 'trace', stateFolder: '/data/ipvs', modules: { load: true }, seLinuxOptions: { type: 'spc_t' }, appArmorProfile: { type: 'Unconfined' },
    podAnnotations: { a: 'b' }, podLabels: { c: 'd' }, extraArgs: ['--resync', '30'], extraEnv: [{ name: 'KUBERNETES_SERVICE_HOST', value: '192.0.2.1' }], minReadySeconds: 0,
    priorityClassName: 'ours', nodeSelector: { rack: 'r1' }, resources: { limits: { memory: '2Gi' } }, tolerations: [{ key: 'e', operator: 'Exists' }], updateStrategy: { type: 'OnDelete' },
    affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'Exists' }] }] } } },
  },
  podMonitor: { enabled: true, labels: { release: 'prometheus' }, interval: '15s' },
};
/** Everything that can be off. */
const ALL_OFF = {
  crds: { enabled: false }, admission: { enabled: false }, rbac: { aggregate: false }, controller: { podDisruptionBudget: { enabled: false }, resources: {}, priorityClassName: '', nodeSelector: {} },
  agent: { resources: {}, priorityClassName: '', nodeSelector: {}, tolerations: [] },
};

let files = 0;
function helm(args: readonly string[], values: object = {}): Promise<{ code: number; stdout: string; stderr: string }> {
  const file = join(folder, `values-${files++}.yaml`);
  writeFileSync(file, dump(values));
  const home = { HELM_CACHE_HOME: join(folder, 'helm'), HELM_CONFIG_HOME: join(folder, 'helm'), HELM_DATA_HOME: join(folder, 'helm'), KUBECONFIG: cluster.kubeconfig };
  return runCommand([programPath('helm'), ...args, '--values', file], { timeoutMs: 180_000, environment: home });
}

async function rendered(values: object = {}, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await helm(['template', 'ipvs-operator', chart, '--namespace', 'ipvs-system', ...args], values);
  assert.equal(code, 0, stderr);
  return stdout;
}

test('the controller may list Pods only where somebody allows it', async () => {
  const reads = /resources: \[services, endpoints, nodes, namespaces, pods\]/;
  assert.doesNotMatch(await rendered(), /\bpods\b[^\n]*\]/);
  assert.match(await rendered({ rbac: { readPods: true } }), reads);
});

const byIdentity = (manifests: readonly Manifest[]) => new Map(manifests.map((one) => [identity(one), withoutHelm(one)]));

test('helm finds nothing to complain about', async () => {
  for (const values of [{}, ALL_ON, ALL_OFF]) {
    const { code, stdout } = await helm(['lint', chart, '--strict'], values);
    assert.equal(code, 0, stdout);
    assert.doesNotMatch(stdout, /\[(WARNING|ERROR)\]/);
  }
});

test('the default render is the kustomize base, object by object, and the base is fresh', async () => {
  const render = await rendered();
  const { code, stdout, stderr } = await cluster.kubectl(['kustomize', join(root, 'deploy/kustomize/base')]);
  assert.equal(code, 0, stderr);
  const base = byIdentity(readManifests(stdout));
  assert.ok(base.delete('v1 Namespace /ipvs-system'), 'the base has the namespace, which helm makes itself');
  assert.deepEqual(base, byIdentity(readManifests(render)));
  for (const [name, text] of kustomizeBase(render)) assert.equal(readFileSync(join(root, 'deploy/kustomize/base', name), 'utf8'), text, `${name} is stale: npm run generate`);
});

test('an overlay puts in another image, and so does the sed of docs/install.md', async () => {
  const overlay = join(folder, 'overlay');
  mkdirSync(overlay);
  writeFileSync(join(overlay, 'kustomization.yaml'), dump({ resources: [relative(realpathSync(overlay), join(root, 'deploy/kustomize/base'))], images: [{ name: 'ipvs-operator', newName: 'registry.example.org/ipvs-operator' }] }));
  const built = await cluster.kubectl(['kustomize', overlay]);
  assert.equal(built.code, 0, built.stderr);
  const expression = /`sed '([^']+)' deploy\/install\.yaml/.exec(readFileSync(join(root, 'docs/install.md'), 'utf8'))![1]!;
  const { stdout } = await runCommand(['sed', expression, join(root, 'deploy/install.yaml')]);
  for (const text of [built.stdout, stdout]) assert.deepEqual(text.match(/image: .*/g), Array(2).fill(`image: registry.example.org/ipvs-operator:${version}`));
});

test('with everything on, every value is where it belongs', async () => {
  const objects = readManifests(await rendered(ALL_ON));
  const text = (kind: string, name: string) => JSON.stringify(objects.find((one) => one.kind === kind && one.metadata.name === name));
  const controller = text('Deployment', 'ipvs-operator-controller');
  for (const part of [`"image":"registry.example.org/ipvs@${ALL_ON.image.digest}"`, '"imagePullSecrets":[{"name":"registry"}]', '"replicas":3', '"--listen",":8080"', '"--log-level","debug"', '"--writes-per-second","500"',
    '"--no-leader-election"', '{"name":"A","value":"b"}', '"containerPort":8080', '"podAntiAffinity"', '"annotations":{"a":"b"}', '"c":"d"', '"imagePullPolicy":"Always"', '"tolerations":[{"key":"a","operator":"Exists"}]',
    '"priorityClassName":"mine"', '"nodeSelector":{"disk":"ssd",', '"limits":{"memory":"3Gi"}']) assert.ok(controller.includes(part), `${part} in ${controller}`);
  const agent = text('DaemonSet', 'ipvs-operator-agent');
  for (const part of ['"--listen",":9000"', '"hostPort":9000', '"path":"/data/ipvs"', '"add":["NET_ADMIN","NET_RAW","SYS_MODULE"]', '"mountPath":"/lib/modules","readOnly":true', '"seLinuxOptions":{"type":"spc_t"}',
    '"appArmorProfile":{"type":"Unconfined"}', '"--resync","30"', '"minReadySeconds":0', '"nodeAffinity"', '"--log-level","trace"', '{"name":"KUBERNETES_SERVICE_HOST","value":"192.0.2.1"}', '"annotations":{"a":"b"}', '"c":"d"',
    '"imagePullPolicy":"Always"', '"imagePullSecrets":[{"name":"registry"}]', '"tolerations":[{"key":"e","operator":"Exists"}]', '"priorityClassName":"ours"', '"rack":"r1"', '"limits":{"memory":"2Gi"}',
    '"type":"OnDelete"']) assert.ok(agent.includes(part), `${part} in ${agent}`);
  assert.doesNotMatch(agent, /"httpGet":\{"host"/, 'a probe of the node\'s address');
  const monitors = objects.filter(({ kind }) => kind === 'PodMonitor').map((one) => JSON.stringify(one));
  assert.equal(monitors.length, 2);
  for (const monitor of monitors) for (const part of ['"release":"prometheus"', '"interval":"15s"', '"port":"health"']) assert.ok(monitor.includes(part), `${part} in ${monitor}`);
  assert.match(text('Namespace', 'ipvs-system'), /"pod-security.kubernetes.io\/enforce":"privileged"/);
  assert.match(text('Namespace', 'ipvs-system'), /"helm.sh\/resource-policy":"keep"/, 'an upgrade without the value would delete it with all that is in it, the release too');
  assert.match(text('CustomResourceDefinition', 'virtualservers.ipvs-operator.dev'), /"helm.sh\/resource-policy":"keep"/);
});

test('with everything off, nothing of it is there, and CRDs are not kept unless told', async () => {
  const kinds = new Set(readManifests(await rendered(ALL_OFF)).map(({ kind }) => kind));
  assert.deepEqual([...kinds].sort(), ['ClusterRole', 'ClusterRoleBinding', 'DaemonSet', 'Deployment', 'Role', 'RoleBinding', 'ServiceAccount']);
  assert.doesNotMatch(await rendered({ crds: { keep: false } }), /resource-policy/);
});

test('an IPv6 address to listen on is written as one', async () => {
  assert.match(await rendered({ agent: { listen: { host: '::1' } } }), /"\[::1\]:9822"/);
});

test('another namespace is the same in objects, arguments, bindings and policies', async () => {
  const { stdout } = await helm(['template', 'x', chart, '--namespace', 'elsewhere']);
  assert.doesNotMatch(stdout, /ipvs-system/);
  assert.equal(stdout.match(/system:serviceaccount:elsewhere:/g)?.length, 2);
});

for (const [what, values, path] of [
  ['a typing error at the top', { contoller: { replicas: 1 } }, /contoller/],
  ['a typing error inside', { agent: { lisen: { port: 1 } } }, /lisen/],
  ['a typing error deep inside', { controller: { podDisruptionBudget: { enable: false } } }, /enable/],
  ['a text for a number', { controller: { replicas: 'two' } }, /replicas/],
  ['a number out of bounds', { agent: { listen: { port: 70000 } } }, /port/],
  ['a word that is none of the choices', { agent: { logLevel: 'loud' } }, /logLevel/],
  ['a digest that is none', { image: { digest: 'sha256:abc' } }, /digest/],
  ['a number for an annotation, which the API server takes no better', { agent: { podAnnotations: { 'prometheus.io/port': 9822 } } }, /podAnnotations/],
  ['a boolean for a label of a node', { controller: { nodeSelector: { infra: true } } }, /nodeSelector/],
  ['a repository with its tag', { image: { repository: 'registry.example.org:5000/ipvs:0.1.0' } }, /repository/],
  ['an address in brackets', { agent: { listen: { host: '[::1]' } } }, /host/],
  ['a state folder that is no path', { agent: { stateFolder: 'here' } }, /stateFolder/],
] as const) {
  test(`the values are refused by name: ${what}`, async () => {
    const { code, stderr } = await helm(['template', 'ipvs-operator', chart], values);
    assert.notEqual(code, 0);
    assert.match(stderr, path);
  });
}

test('an old cluster is refused', async () => {
  const { code, stderr } = await helm(['template', 'ipvs-operator', chart, '--kube-version', 'v1.30.9']);
  assert.notEqual(code, 0);
  assert.match(stderr, /1\.31/);
});

test('plain kubectl apply does for crds/, for install.yaml and for the examples', async () => {
  for (const path of ['crds', 'deploy/install.yaml']) {
    const { code, stderr } = await cluster.kubectl(['apply', '-f', join(root, path)]);
    assert.deepEqual([code, stderr], [0, ''], path);
  }
  await established();
  const { code, stderr } = await cluster.kubectl(['apply', '-f', join(root, 'examples/kubernetes')]);
  assert.deepEqual([code, stderr], [0, '']);
});

test('the API server takes install.yaml, all of it and strictly, and changes over from plain kubectl apply', async () => {
  const { code, stdout, stderr } = await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '--validate=strict', '-f', join(root, 'deploy/install.yaml')]);
  assert.equal(code, 0, stderr);
  assert.equal(stderr, '', 'no warning');
  assert.equal(stdout.trim().split('\n').length, readManifests(readFileSync(join(root, 'deploy/install.yaml'), 'utf8')).length);
  const again = await cluster.kubectl(['diff', '--server-side', '-f', join(root, 'deploy/install.yaml')]);
  assert.equal(again.code, 0, `nothing is left to change: ${again.stdout}`);
  await established();
});

async function established(): Promise<void> {
  await untilInstalled(cluster);
  // And what kubectl is told of it, which is another list.
  for (const deadline = performance.now() + 180_000; ; await sleep(200)) {
    const { stdout } = await cluster.kubectl(['api-resources', '--api-group=ipvs-operator.dev', '-o', 'name']);
    if (stdout.trim().split('\n').length === 6) return;
    assert.ok(performance.now() < deadline, stdout);
  }
}

test('kubeconform agrees with every render and every example, by the schemas of this server', async () => {
  const schemas = join(folder, 'schemas');
  mkdirSync(schemas, { recursive: true });
  const location = await writeSchemas(cluster, schemas);
  const conform = (stdin: string, ...skip: string[]) => runCommand([programPath('kubeconform'), '-strict', '-summary', '-schema-location', location, ...skip.flatMap((kind) => ['-skip', kind])], { stdin, timeoutMs: 120_000 });
  for (const [what, text] of [
    ['default', await rendered()], ['all on', await rendered(ALL_ON)], ['all off', await rendered(ALL_OFF)], ['install.yaml', readFileSync(join(root, 'deploy/install.yaml'), 'utf8')],
    ...globSync('examples/kubernetes/*.yaml', { cwd: root }).map((file) => [file, readFileSync(join(root, file), 'utf8')] as const),
  ] as const) {
    // PodMonitor is the Prometheus operator's, of which this server knows nothing.
    const { code, stdout, stderr } = await conform(text, 'PodMonitor');
    assert.equal(code, 0, `${what}: ${stdout}${stderr}`);
    assert.match(stdout, /Valid: [1-9]\d*, Invalid: 0, Errors: 0/, what);
  }
  const bad = await conform('apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: a }\nspec: { selector: {}, template: { spec: { containers: [{ name: a, imag: b }] } } }\n');
  assert.equal(bad.code, 1, 'and it would say so');
  assert.match(bad.stdout, /imag/);
});

test('the API server takes the examples, strictly', async () => {
  const { code, stderr } = await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '--validate=strict', ...globSync('examples/kubernetes/*.yaml', { cwd: root }).sort().flatMap((file) => ['-f', join(root, file)])]);
  // Namespaces stand in the same files as what is in them.
  assert.equal(code, 0, stderr);
  const { stdout } = await cluster.kubectl(['get', 'ipvs', '-A', '-o', 'name']);
  assert.equal(stdout.trim().split('\n').length, 5, stdout);
});

for (const [file, pick] of [
  ['examples/argocd/ipvs-operator.yaml', (one: Manifest) => (one as unknown as { spec: { source: { helm: { valuesObject: object } } } }).spec.source.helm.valuesObject],
  ['examples/flux/ipvs-operator.yaml', (one: Manifest) => (one as unknown as { spec: { values: object } }).spec.values],
] as const) {
  test(`the values in ${file} are values of the chart`, async () => {
    const manifest = readManifests(readFileSync(join(root, file), 'utf8')).find(({ kind }) => kind === 'Application' || kind === 'HelmRelease')!;
    assert.match(await rendered(pick(manifest)), /image: registry\.example\.org\/ipvs-operator:/);
  });
}

test('the command of deploy/argocd/README.md adds the health checks to what Argo CD has', async () => {
  await cluster.apply('apiVersion: v1\nkind: Namespace\nmetadata: { name: argocd }\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: argocd-cm, namespace: argocd }\ndata: { url: "https://argocd.example.org" }');
  const [, command] = /^kubectl (.*patch configmap.*)$/m.exec(readFileSync(join(root, 'deploy/argocd/README.md'), 'utf8'))!;
  const { code, stderr } = await cluster.kubectl(command!.replace('deploy/argocd', join(root, 'deploy/argocd')).split(' '));
  assert.equal(code, 0, stderr);
  const { body } = await cluster.request<{ data: Record<string, string> }>('GET', '/api/v1/namespaces/argocd/configmaps/argocd-cm');
  assert.deepEqual(Object.keys(body.data).sort(), [...JUDGED_KINDS.map((kind) => `resource.customizations.health.ipvs-operator.dev_${kind}`), 'url'].sort());
});

test('uninstalled as docs/install.md says, everything of install.yaml is gone but the CRDs, and what people wrote is there', async () => {
  const page = readFileSync(join(root, 'docs/install.md'), 'utf8');
  const commands = [...page.matchAll(/^kubectl (delete (?:clusterroles,\S+|namespace) .*)$/gm)].map(([, command]) => command!.split(' '));
  assert.equal(commands.length, 2);
  // Nobody empties a namespace here: there is no controller manager.
  for (const command of commands) assert.equal((await cluster.kubectl([...command, '--wait=false'])).code, 0, command.join(' '));
  const { stdout } = await cluster.kubectl(['get', '-f', join(root, 'deploy/install.yaml'), '--ignore-not-found', '-o', 'json']);
  const left = (JSON.parse(stdout) as { items: Manifest[] }).items.filter(({ metadata }) => metadata.namespace === undefined).map(({ kind }) => kind);
  assert.deepEqual(left.sort(), ['Namespace', ...Array<string>(6).fill('CustomResourceDefinition')].sort());
  assert.equal((await cluster.kubectl(['get', 'ipvs', '-A', '-o', 'name'])).stdout.trim().split('\n').length, 5);
});
