/**
 * The chart's default render as plain manifests: the files of deploy/kustomize/base, and deploy/install.yaml with all of it in one. Pure:
 * the render itself is Helm's. What only Helm understands is taken out, and the namespace, which Helm makes itself, put in.
 */
import { dump, loadAll } from 'js-yaml';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>>; readonly annotations?: Readonly<Record<string, string>> };
  readonly [field: string]: unknown;
}

export const NAMESPACE = 'ipvs-system';

const NOTE = (from: string) => `# Generated from ${from} by tools/generate-chart.ts (npm run generate). Do not edit.\n`;

/** Documents of a text, empty ones left out. */
export function readManifests(text: string): Manifest[] {
  return (loadAll(text) as (Manifest | null | undefined)[]).filter((one) => one !== null && one !== undefined);
}

/** What identifies an object. */
export const identity = ({ apiVersion, kind, metadata }: Manifest): string => `${apiVersion} ${kind} ${metadata.namespace ?? ''}/${metadata.name}`;

/** Without annotations of Helm. */
export function withoutHelm(manifest: Manifest): Manifest {
  const { annotations, ...metadata } = manifest.metadata;
  const kept = Object.entries(annotations ?? {}).filter(([name]) => !name.startsWith('helm.sh/'));
  return { ...manifest, metadata: kept.length === 0 ? metadata : { ...metadata, annotations: Object.fromEntries(kept) } };
}

const namespace: Manifest = {
  apiVersion: 'v1', kind: 'Namespace',
  metadata: { name: NAMESPACE, labels: { 'pod-security.kubernetes.io/enforce': 'privileged', 'pod-security.kubernetes.io/audit': 'privileged', 'pod-security.kubernetes.io/warn': 'privileged' } },
};

/** Which file of the base an object goes into. */
function fileOf({ kind, metadata }: Manifest): string {
  if (kind === 'CustomResourceDefinition') return 'crds.yaml';
  if (kind.startsWith('ValidatingAdmissionPolicy')) return 'admission.yaml';
  return `${metadata.labels?.['app.kubernetes.io/component'] ?? 'others'}.yaml`;
}

/** In this order they are in install.yaml too: what others need comes first. */
const FILES = ['namespace.yaml', 'crds.yaml', 'users.yaml', 'admission.yaml', 'controller.yaml', 'agent.yaml'];

/** Files below deploy/kustomize/base by name, from Helm's render of the chart with default values. */
export function kustomizeBase(render: string): Map<string, string> {
  const files = new Map<string, Manifest[]>([['namespace.yaml', [namespace]]]);
  for (const one of readManifests(render).map(withoutHelm)) files.set(fileOf(one), [...files.get(fileOf(one)) ?? [], one]);
  const unknown = [...files.keys()].filter((name) => !FILES.includes(name));
  if (unknown.length > 0) throw new Error(`tools/chart/manifests.ts does not know where in install.yaml ${unknown.join(', ')} belongs`);
  const kustomization = { apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization', resources: FILES.filter((name) => files.has(name)) };
  return new Map([
    ['kustomization.yaml', NOTE('deploy/chart') + dump(kustomization)],
    ...FILES.flatMap((name) => (files.has(name) ? [[name, NOTE('deploy/chart') + documents(files.get(name)!)] as const] : [])),
  ]);
}

/** deploy/install.yaml: all of the base, in one file. */
export function installFile(base: ReadonlyMap<string, string>): string {
  return NOTE('deploy/kustomize/base') + documents(FILES.flatMap((name) => readManifests(base.get(name) ?? '')));
}

function documents(manifests: readonly Manifest[]): string {
  return manifests.map((one) => dump(one, { lineWidth: 160, noRefs: true })).join('---\n');
}
