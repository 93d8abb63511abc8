/**
 * What an API server would refuse in a CRD, or price too high, found before it sees it: structural rules, list keys, bounds,
 * CEL that names fields which are not there. Pure; returns complaints. A lint, not a proof: a real API server has the last word.
 */
import type { CustomResourceDefinition, SchemaNode } from './crd.ts';

/** Keys of JSON Schema that apiextensions/v1 refuses, or that our schemas have no use for. */
const FORBIDDEN_KEYS = new Set([
  'definitions', 'dependencies', 'deprecated', 'discriminator', 'id', 'patternProperties', 'readOnly', 'writeOnly', 'xml', '$ref', '$schema', '$defs',
  'uniqueItems', 'const', 'propertyNames', 'anyOf', 'oneOf', 'allOf', 'not', 'examples', 'exclusiveMinimum', 'exclusiveMaximum',
]);
const TYPES = new Set(['object', 'array', 'string', 'integer', 'boolean', 'number']);
/** CEL names that may follow `self.` without being a field. */
const CEL_METHODS = new Set(['all', 'exists', 'exists_one', 'filter', 'map', 'size', 'matches', 'contains', 'startsWith', 'endsWith', 'substring', 'lastIndexOf']);

export function lintDefinition(crd: CustomResourceDefinition): string[] {
  const complaints: string[] = [];
  const root = crd.spec.versions[0]!.schema.openAPIV3Schema;
  for (const name of ['spec', 'status']) if (root.properties![name] !== undefined) walk(root.properties![name], name, complaints);
  for (const { rule, message } of root['x-kubernetes-validations'] ?? []) lintRule(withName(root), rule, message, (what) => complaints.push(`object: ${what}`));
  for (const { jsonPath } of crd.spec.versions[0]!.selectableFields ?? []) {
    if (!exists(root, jsonPath.split('.').filter((f) => f !== ''))) complaints.push(`selectable field: there is no ${jsonPath}`);
  }
  for (const column of crd.spec.versions[0]!.additionalPrinterColumns) {
    const fields = column.jsonPath.replace(/\[[^\]]*\]/g, '[]').split('.').filter((f) => f !== '');
    if (fields[0] !== 'metadata' && !exists(root, fields)) complaints.push(`column ${column.name}: there is no ${column.jsonPath}`);
  }
  return complaints;
}

/** Every object has a name, whether the schema says so or not. */
function withName(root: SchemaNode): SchemaNode {
  const metadata = { ...root.properties!['metadata'], required: ['name'] };
  return { ...root, properties: { ...root.properties, metadata }, required: [...(root.required ?? []), 'metadata'] };
}

function exists(root: SchemaNode, fields: readonly string[]): boolean {
  let node: SchemaNode | undefined = root;
  for (const field of fields) {
    node = node?.properties?.[field.replace('[]', '')];
    if (field.endsWith('[]')) node = node?.items;
  }
  return node !== undefined;
}

function walk(node: SchemaNode, path: string, out: string[]): void {
  const say = (what: string) => out.push(`${path}: ${what}`);
  for (const key of Object.keys(node)) if (FORBIDDEN_KEYS.has(key)) say(`${key} is not allowed`);
  if (node['x-kubernetes-int-or-string'] === true) {
    if (node.type !== undefined) say('int-or-string has no type');
  } else if (node.type === undefined || !TYPES.has(node.type)) say('has no type');
  if (node.properties !== undefined && node.additionalProperties !== undefined) say('properties and additionalProperties exclude each other');
  if (node.type === 'object' && node.properties === undefined && node.additionalProperties === undefined) say('an object without fields keeps nothing');
  if (node.type === 'string' && node.maxLength === undefined && node.enum === undefined && node.format === undefined) say('a text needs maxLength or enum');
  if (node.type === 'array') lintList(node, say);
  if (node.additionalProperties !== undefined && node.maxProperties === undefined) say('a map needs maxProperties');
  if (node.type === 'integer' && node.format === 'int32' && (node.maximum ?? 0) > 0x7fffffff) say('does not fit int32');
  for (const name of node.required ?? []) {
    if (node.properties?.[name] === undefined) say(`requires ${name}, which does not exist`);
    else if (node.properties[name].default !== undefined) say(`requires ${name}, which has a default`);
  }
  for (const [name, child] of Object.entries(node.default === undefined ? {} : node.properties ?? {})) {
    if (child.default !== undefined && (node.default as Record<string, unknown>)[name] === undefined) {
      say(`its default lacks that of ${name}, which the server does not fill in before it runs the rules`);
    }
  }
  if (node.default !== undefined && node.type === 'object' && (node.required ?? []).length > 0) say(`its default lacks ${node.required!.join(', ')}`);
  for (const { rule, message } of node['x-kubernetes-validations'] ?? []) lintRule(node, rule, message, say);
  for (const [name, child] of Object.entries(node.properties ?? {})) {
    if (child.description === undefined) out.push(`${path}.${name}: has no description`);
    walk(child, `${path}.${name}`, out);
  }
  if (node.items !== undefined) walk(node.items, `${path}[]`, out);
  if (node.additionalProperties !== undefined) walk(node.additionalProperties, `${path}{}`, out);
}

function lintList(node: SchemaNode, say: (what: string) => void): void {
  if (node.items === undefined) return void say('a list needs items');
  if (node.maxItems === undefined) say('a list needs maxItems');
  const type = node['x-kubernetes-list-type'];
  if (type === undefined) say('a list needs x-kubernetes-list-type');
  if (type === 'set' && node.items.type === 'object') say('a set has scalars');
  if (type !== 'map') return;
  const keys = node['x-kubernetes-list-map-keys'] ?? [];
  if (keys.length === 0) say('a list of type map needs keys');
  for (const key of keys) {
    const field = node.items.properties?.[key];
    if (field === undefined) say(`key ${key} does not exist`);
    else if (field.type === 'object' || field.type === 'array') say(`key ${key} is no scalar`);
    else if (field.default === undefined && !(node.items.required ?? []).includes(key)) say(`key ${key} is neither required nor defaulted`);
  }
}

/** Fields that a rule reads must exist, and those that may be absent must be asked for with has() first. */
function lintRule(node: SchemaNode, rule: string, message: string, say: (what: string) => void): void {
  if (message === '' || message.length > 2048) say(`the rule "${rule}" needs a message`);
  if (rule.split('(').length !== rule.split(')').length) say(`unbalanced parentheses in "${rule}"`);
  for (const [, chain] of rule.matchAll(/\bself((?:\.[A-Za-z_]\w*)+)/g)) {
    let at: SchemaNode | undefined = node;
    let text = 'self';
    for (const name of chain!.slice(1).split('.')) {
      if (at?.properties === undefined || (CEL_METHODS.has(name) && at.properties[name] === undefined)) {
        if (!CEL_METHODS.has(name)) say(`"${rule}" reads ${name} of what has no fields`);
        break;
      }
      text += `.${name}`;
      const field: SchemaNode | undefined = at.properties[name];
      if (field === undefined) say(`"${rule}" reads ${text}, which does not exist`);
      else if (field.default === undefined && !(at.required ?? []).includes(name) && !rule.includes(`has(${text})`)) {
        say(`"${rule}" reads ${text}, which may be absent, without has(${text})`);
      }
      at = field;
    }
  }
}
