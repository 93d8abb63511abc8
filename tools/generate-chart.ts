/**
 * Writes what is generated below deploy/: the CRD templates, values.yaml and the README's table of the chart, Argo CD's ConfigMap,
 * deploy/kustomize/base and deploy/install.yaml. The last two are Helm's render of the chart, so they need helm (sh tools/bootstrap.sh charts); without it they stay
 * as they are, and this says so. Run: npm run generate
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { argocdConfig } from './chart/argocd.ts';
import { crdTemplates } from './chart/crds.ts';
import { installFile, kustomizeBase, NAMESPACE } from './chart/manifests.ts';
import { valuesFile, withValuesTable, type ValueSchema } from './chart/values.ts';

const deploy = new URL('../deploy/', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, deploy), 'utf8');
const write = (path: string, text: string): void => {
  writeFileSync(new URL(path, deploy), text);
  console.log(`deploy/${path}: ${text.length} bytes`);
};

const crds = readdirSync(new URL('../crds/', deploy)).sort().map((name) => [name, read(`../crds/${name}`)] as const);
for (const [name, text] of crdTemplates(crds)) write(`chart/templates/${name}`, text);
const schema = JSON.parse(read('chart/values.schema.json')) as ValueSchema;
write('chart/values.yaml', valuesFile(schema));
write('chart/README.md', withValuesTable(read('chart/README.md'), schema));
write('argocd/argocd-cm.yaml', argocdConfig(read('argocd/health.lua')));

const built = new URL('../.lab/bin/helm', import.meta.url).pathname;
const helm = spawnSync(existsSync(built) ? built : 'helm', ['template', 'ipvs-operator', new URL('chart', deploy).pathname, '--namespace', NAMESPACE], { encoding: 'utf8' });
if ((helm.error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') {
  console.error('deploy/kustomize/base and deploy/install.yaml are as before: there is no helm; type: sh tools/bootstrap.sh charts');
} else if (helm.status !== 0) {
  console.error(helm.error?.message ?? helm.stderr);
  process.exitCode = 1;
} else {
  const base = kustomizeBase(helm.stdout);
  for (const [name, text] of base) write(`kustomize/base/${name}`, text);
  write('install.yaml', installFile(base));
}
