/** The reference pages, as text made from the tables in the source: docs/errors.md, docs/api.md, docs/metrics.md. Pure; generate-docs.ts writes them. */
import { allDefinitions, type SchemaNode } from '../src/api/crd.ts';
import { CONDITIONS_OF, EXCLUSION_REASONS } from '../src/api/v1alpha1/conditions.ts';
import { KINDS } from '../src/api/v1alpha1/parse.ts';
import { PROBLEM_CODES } from '../src/api/v1alpha1/problems.ts';
import { PROGRAM_CODES } from '../src/agent/cluster/programs.ts';
import { REFUSAL_CODES } from '../src/agent/state.ts';
import { STATE_FOLDER_CODES } from '../src/agent/state-folder.ts';
import { KERNEL_ERROR_CODES } from '../src/kernel/netlink/errors.ts';
import { CREDENTIALS_ERROR_CODES } from '../src/kube/credentials.ts';
import { API_ERROR_CODES } from '../src/kube/errors.ts';
import { HEALTH_CODES } from '../src/observe/listen.ts';
import { FILE_PROBLEM_CODES } from '../src/standalone/problems.ts';
import { metricsPage } from './metrics-page.ts';

const NOTE = '<!-- Made by `npm run generate` from the tables in the source; a test proves it fresh. -->';

/** Pages by file name below docs/. */
export function pages(): Map<string, string> {
  return new Map([['errors.md', errorsPage()], ['api.md', apiPage()], ['metrics.md', metricsPage(NOTE, table)]]);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');
}

const meanings = (codes: Readonly<Record<string, string>>, head = 'code') => table([head, 'meaning'], Object.entries(codes).map(([code, meaning]) => [`\`${code}\``, meaning]));

function errorsPage(): string {
  const conditions = Object.entries(CONDITIONS_OF).flatMap(([kind, types]) => [
    `## Conditions of a ${kind}`, ...(kind === 'VirtualServer' ? ['In `ipvs-operator status NAMESPACE/NAME`, `status.json` and the status of the object.'] : []),
    ...Object.entries(types).map(([type, { meaning, reasons }]) => `### ${type}\n\n${meaning}\n\n${meanings(reasons, 'reason')}`),
  ]);
  return [
    NOTE, '# Reasons and error codes', 'Every code is stable: scripts and alerts may match on it. Each comes with a message that names the object, the field or the operation, and what to do.',
    ...conditions,
    '## Real servers that are left out', meanings(EXCLUSION_REASONS),
    '## What is wrong with an object', 'Found when it is read; the object stays in its last good form.', meanings(PROBLEM_CODES),
    '## Why a node does not obey a program', meanings(PROGRAM_CODES),
    '## What is wrong with the folder or a file', meanings(FILE_PROBLEM_CODES),
    '## Why this node does not serve a part', meanings(REFUSAL_CODES),
    '## The kernel', 'With errno and operation in the message.', meanings(KERNEL_ERROR_CODES),
    '## The API server', 'With the request and the server\'s own words in the message. Controller and agents try again by themselves.', meanings({ ...API_ERROR_CODES, INVALID_OBJECT: 'An object of one of our kinds breaks its schema, as after a change of versions; its last good version is in use. The message names it and the field.' }),
    '## Credentials', 'A kubeconfig or service account that cannot be used.', meanings(CREDENTIALS_ERROR_CODES),
    '## The process', meanings({ ...STATE_FOLDER_CODES, ...HEALTH_CODES, USAGE: 'A command-line option is unknown, missing or wrong. Exit code 64.' }),
  ].join('\n\n') + '\n';
}

function apiPage(): string {
  const parts = [
    NOTE, '# The kinds', 'Group `ipvs-operator.dev`, version `v1alpha1`. A field is here only when it works. Rules that join several fields are listed under each kind.',
    `People write ${Object.keys(KINDS).join(', ')}, on a host without a cluster into files. The other kinds are between the controller and the agents; they are here to be read.`,
  ];
  for (const crd of allDefinitions()) {
    const root = crd.spec.versions[0]!.schema.openAPIV3Schema;
    const spec = root.properties!['spec']!;
    const rows: string[][] = [];
    const rules: string[] = (root['x-kubernetes-validations'] ?? []).map((v) => v.message);
    walk(spec, 'spec', rows, rules);
    const head = `${crd.spec.scope === 'Cluster' ? 'Cluster-wide' : 'In a namespace'}; \`kubectl get ${crd.spec.names.shortNames[0]}\`.`;
    parts.push(`## ${crd.spec.names.kind}`, root.description ?? '', head, table(['field', 'type', 'default', 'meaning'], rows));
    const status = root.properties!['status'];
    if (status !== undefined && !Object.hasOwn(KINDS, crd.spec.names.kind)) {
      const reported: string[][] = [];
      walk(status, 'status', reported, rules);
      parts.push(table(['field', 'type', 'meaning'], reported.map(([field, type, , meaning]) => [field!, type!, meaning!])));
    }
    if (rules.length > 0) parts.push(`Rules:\n\n${[...new Set(rules)].map((r) => `* ${r}`).join('\n')}`);
  }
  return parts.filter((p) => p !== '').join('\n\n') + '\n';
}

function walk(node: SchemaNode, path: string, rows: string[][], rules: string[]): void {
  for (const { message } of node['x-kubernetes-validations'] ?? []) rules.push(message);
  if (node.items) walk(node.items, `${path}[]`, rows, rules);
  for (const [name, child] of Object.entries(node.properties ?? {})) {
    const needed = node.required?.includes(name) ? ' (required)' : '';
    rows.push([`\`${path}.${name}\`${needed}`, typeOf(child), child.default === undefined || typeof child.default === 'object' ? '' : `\`${String(child.default)}\``, child.description ?? '']);
    walk(child, `${path}.${name}`, rows, rules);
  }
}

function typeOf(node: SchemaNode): string {
  if (node['x-kubernetes-int-or-string']) return `${node.minimum ?? ''}..${node.maximum ?? ''} or string`;
  if (node.enum) return node.enum.map((v) => `\`${String(v)}\``).join(', ');
  if (node.items) return `list of ${typeOf(node.items)}`;
  if (node.format === 'date-time') return 'time';
  if (node.type === 'integer') return `${node.minimum ?? ''}..${node.maximum ?? ''}`;
  if (node.additionalProperties) return 'map';
  return node.type ?? 'any';
}
