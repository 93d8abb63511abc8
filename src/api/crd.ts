/**
 * CustomResourceDefinitions from zod schemas: pure, zod -> structural schema (structural.ts) -> manifest. Field types, bounds,
 * defaults and descriptions come from the schemas, cross-field rules from the CEL half of the rules, names and columns from
 * crd.kinds.ts. Not for writing files (tools/generate-crds.ts) and not for judging the result (crd.lint.ts).
 */
import { GROUP, VERSION } from './v1alpha1/metadata.ts';
import type { CelRule } from './v1alpha1/rules.ts';
import { DEFINITIONS, type Definition } from './crd.kinds.ts';
import { structural, type SchemaNode } from './structural.ts';

export type { SchemaNode };

export interface CustomResourceDefinition {
  apiVersion: 'apiextensions.k8s.io/v1';
  kind: 'CustomResourceDefinition';
  metadata: { name: string };
  spec: {
    group: string;
    scope: 'Namespaced' | 'Cluster';
    names: { kind: string; listKind: string; plural: string; singular: string; shortNames: string[]; categories: string[] };
    versions: {
      name: string; served: true; storage: true;
      subresources?: { status: Record<string, never> };
      additionalPrinterColumns: { name: string; type: string; jsonPath: string; priority?: number; description?: string }[];
      selectableFields?: { jsonPath: string }[];
      schema: { openAPIV3Schema: SchemaNode };
    }[];
  };
}

/** Every CRD, in the order of DEFINITIONS. */
export function allDefinitions(): CustomResourceDefinition[] {
  return DEFINITIONS.map(customResourceDefinition);
}

export function customResourceDefinition(d: Definition): CustomResourceDefinition {
  const spec = structural(d.spec);
  const root: SchemaNode = {
    type: 'object',
    description: d.description,
    properties: {
      apiVersion: { type: 'string', description: `Always ${GROUP}/${VERSION}.` },
      kind: { type: 'string', description: `Always ${d.kind}.` },
      metadata: d.name === undefined ? { type: 'object' } : { type: 'object', properties: { name: { type: 'string', ...d.name } } },
      spec,
    },
  };
  if (d.status !== undefined) root.properties!['status'] = { ...structural(d.status), description: 'What was observed. Written by controllers and agents only.' };
  if (spec.default === undefined) root.required = ['spec'];
  for (const [path, keys] of Object.entries(d.lists)) setListType(nodeAt(root, path), keys);
  for (const rule of d.rules) placeRule(root, rule);
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${d.plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: d.scope,
      names: { kind: d.kind, listKind: `${d.kind}List`, plural: d.plural, singular: d.kind.toLowerCase(), shortNames: [...d.shortNames], categories: ['ipvs'] },
      versions: [{
        name: VERSION, served: true, storage: true,
        ...(d.status === undefined ? {} : { subresources: { status: {} } }),
        additionalPrinterColumns: d.columns.map((c) => ({ ...c })),
        ...(d.selectable === undefined ? {} : { selectableFields: d.selectable.map((jsonPath) => ({ jsonPath })) }),
        schema: { openAPIV3Schema: root },
      }],
    },
  };
}

/** The node at `spec.ports[].name`; '' is the object itself. Throws Error when there is none: a rule or list key names a field that is gone. */
export function nodeAt(root: SchemaNode, path: string): SchemaNode {
  if (path === '') return root;
  let node: SchemaNode | undefined = root;
  for (const step of path.replaceAll('[]', '.[]').split('.')) node = step === '[]' ? node?.items : node?.properties?.[step];
  if (node === undefined) throw new Error(`there is no field ${path} in this schema`);
  return node;
}

function setListType(node: SchemaNode, keys: 'set' | 'atomic' | readonly string[]): void {
  if (keys === 'set' || keys === 'atomic') {
    node['x-kubernetes-list-type'] = keys;
  } else {
    node['x-kubernetes-list-type'] = 'map';
    node['x-kubernetes-list-map-keys'] = [...keys];
  }
}

function placeRule(root: SchemaNode, { at, rule, message }: CelRule): void {
  const node = nodeAt(root, at);
  (node['x-kubernetes-validations'] ??= []).push({ rule, message });
}
