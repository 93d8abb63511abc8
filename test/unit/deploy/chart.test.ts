/** What is generated below deploy/ is fresh, the chart is of the version of the program, and its values say what they are. Helm itself: test/cluster/deploy.test.ts. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { load } from 'js-yaml';
import { CONDITIONS_OF } from '../../../src/api/v1alpha1/conditions.ts';
import { argocdConfig, JUDGED_KINDS } from '../../../tools/chart/argocd.ts';
import { crdTemplate, crdTemplates, escapeTemplate } from '../../../tools/chart/crds.ts';
import { identity, installFile, kustomizeBase, readManifests } from '../../../tools/chart/manifests.ts';
import { valueRows, valuesFile, withValuesTable, type ValueSchema } from '../../../tools/chart/values.ts';
import { installed, names, read } from './files.ts';

const schema = JSON.parse(read('deploy/chart/values.schema.json')) as ValueSchema;
const HINT = 'stale: run npm run generate';

test('the CRD templates are those of crds/, each of them, and no others', () => {
  const templates = crdTemplates(names('crds').map((name) => [name, read(`crds/${name}`)] as const));
  assert.deepEqual(names('deploy/chart/templates').filter((name) => name.startsWith('crd-')), [...templates.keys()].sort());
  for (const [name, text] of templates) assert.equal(read(`deploy/chart/templates/${name}`), text, `${name}: ${HINT}`);
});

test('a CRD template is the CRD between its two conditions, and what Helm would read as its own is escaped', () => {
  assert.equal(crdTemplate('# note\nkind: X\nmetadata:\n  name: a.b\nspec:\n  description: use {{ this }}\n').split('\n').slice(1).join('\n'), [
    '{{- if .Values.crds.enabled }}', 'kind: X', 'metadata:', '  name: a.b', '  {{- if .Values.crds.keep }}', '  annotations:', '    helm.sh/resource-policy: keep', '  {{- end }}',
    'spec:', '  description: use {{ "{{" }} this }}', '{{- end }}', '',
  ].join('\n'));
  assert.equal(escapeTemplate('a {{{{ b }}'), 'a {{ "{{" }}{{ "{{" }} b }}');
  assert.throws(() => crdTemplate('kind: X\n'), /without metadata\.name/);
});

test('values.yaml and the table of the README are made of values.schema.json', () => {
  assert.equal(read('deploy/chart/values.yaml'), valuesFile(schema), HINT);
  assert.equal(read('deploy/chart/README.md'), withValuesTable(read('deploy/chart/README.md'), schema), HINT);
  assert.throws(() => withValuesTable('no marks', schema), /needs <!-- values/);
});

test('values.yaml has exactly the values of the schema, with their defaults', () => {
  const flat = (value: unknown, one: ValueSchema, path: string): string[] => (one.properties === undefined
    ? [`${path}=${JSON.stringify(value)}`]
    : Object.entries(value as Record<string, unknown>).flatMap(([name, inner]) => flat(inner, one.properties![name]!, `${path}.${name}`)));
  const rows = valueRows(schema).map(([name, value]) => `.${name!.slice(1, -1)}=${value!.slice(1, -1)}`);
  assert.deepEqual(flat(load(read('deploy/chart/values.yaml')), schema, ''), rows);
  assert.ok(rows.length > 30);
});

test('every value has a description and a default, and no group takes values that nobody knows', () => {
  const complaints: string[] = [];
  const walk = (one: ValueSchema, path: string): void => {
    if (path !== '' && !one.description) complaints.push(`${path} has no description`);
    if (one.properties === undefined) {
      if (!('default' in one) && path !== '.global') complaints.push(`${path} has no default`);
      return;
    }
    if (one.additionalProperties !== false) complaints.push(`${path} takes anything`);
    for (const [name, inner] of Object.entries(one.properties)) walk(inner, `${path}.${name}`);
  };
  walk(schema, '');
  assert.deepEqual(complaints, []);
});

test('every value is used by a template, and every value that a template uses exists', () => {
  const templates = names('deploy/chart/templates').filter((name) => !name.startsWith('crd-')).map((name) => read(`deploy/chart/templates/${name}`)).join('\n');
  const leaf = (row: string[]) => row[0]!.slice(1, -1).split('.').at(-1)!;
  const used = new Set([...templates.matchAll(/\.([a-zA-Z]+)/g)].map(([, name]) => name!));
  for (const row of valueRows(schema)) if (!row[0]!.includes('crds.')) assert.ok(used.has(leaf(row)), `no template uses ${row[0]}`);
  const known = new Set(valueRows(schema).flatMap(([path]) => { const parts = path!.slice(1, -1).split('.'); return parts.map((_, i) => parts.slice(0, i + 1).join('.')); }));
  for (const [, path] of templates.matchAll(/\.Values\.([a-zA-Z.]+[a-zA-Z])/g)) assert.ok(known.has(path!), `a template uses ${path}, which no value is`);
});

test('chart, application and package have one version', () => {
  const { version } = JSON.parse(read('package.json')) as { version: string };
  const chart = load(read('deploy/chart/Chart.yaml')) as { version: string; appVersion: string };
  assert.deepEqual([chart.version, chart.appVersion], [version, version]);
});

test('install.yaml is the kustomize base in one file, and the base has every file that it names', () => {
  const base = new Map(names('deploy/kustomize/base').map((name) => [name, read(`deploy/kustomize/base/${name}`)] as const));
  assert.equal(read('deploy/install.yaml'), installFile(base), HINT);
  const { resources } = load(base.get('kustomization.yaml')!) as { resources: string[] };
  assert.deepEqual([...resources, 'kustomization.yaml'].sort(), [...base.keys()]);
});

test('install.yaml has the CRDs as they are, each object once, and what others need first', () => {
  const crds = names('crds').map((name) => readManifests(read(`crds/${name}`))[0]!);
  for (const crd of crds) assert.deepEqual(installed.find((one) => identity(one) === identity(crd)), crd, `${crd.metadata.name}: ${HINT}`);
  assert.equal(new Set(installed.map(identity)).size, installed.length);
  const place = (kind: string) => installed.findIndex((one) => one.kind === kind);
  assert.equal(place('Namespace'), 0);
  for (const workload of ['Deployment', 'DaemonSet']) for (const first of ['CustomResourceDefinition', 'ServiceAccount']) assert.ok(place(first) < place(workload));
});

test('the base leaves out what is Helm\'s, and refuses a render with something it does not know', () => {
  const render = 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a, labels: { app.kubernetes.io/component: agent }, annotations: { helm.sh/resource-policy: keep } }\n---\n# nothing\n';
  assert.doesNotMatch(kustomizeBase(render).get('agent.yaml')!, /annotations|helm/);
  assert.throws(() => kustomizeBase('apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n'), /does not know where .* others\.yaml belongs/);
});

test('the ConfigMap of Argo CD is made of health.lua, for every kind that people write', () => {
  const script = read('deploy/argocd/health.lua');
  assert.equal(read('deploy/argocd/argocd-cm.yaml'), argocdConfig(script), HINT);
  const { data } = load(read('deploy/argocd/argocd-cm.yaml')) as { data: Record<string, string> };
  assert.deepEqual(data, Object.fromEntries(JUDGED_KINDS.map((kind) => [`resource.customizations.health.ipvs-operator.dev_${kind}`, script])));
});

test('the health script names conditions and reasons that its kinds have', () => {
  const script = read('deploy/argocd/health.lua').replace(/--.*$/gm, '');
  const of = (kind: typeof JUDGED_KINDS[number]) => Object.entries(CONDITIONS_OF[kind]) as [string, { reasons: object }][];
  const types = new Set(JUDGED_KINDS.flatMap((kind) => of(kind).map(([type]) => type)));
  const reasons = new Set(JUDGED_KINDS.flatMap((kind) => of(kind).flatMap(([type, one]) => (type === 'Ready' ? Object.keys(one.reasons) : []))));
  const named = [...script.matchAll(/(\w+) = true/g)].map((match) => match[1]!);
  assert.ok(named.length >= 5);
  for (const reason of named) assert.ok(reasons.has(reason), `no Ready condition has the reason ${reason}`);
  const conditions = [...script.matchAll(/condition\.(\w+)/g)].map((match) => match[1]!);
  for (const type of conditions) assert.ok(types.has(type), `no kind has a condition ${type}`);
});
