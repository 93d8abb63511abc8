// JSON schemas for kubeconform, one file a kind, out of the OpenAPI document of the API server that a test runs: no network, the very
// version under test, and our CRDs as the server publishes them. Strict: a field that the server does not know is an error.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster } from './server.ts';

type Schema = { [key: string]: unknown };
interface OpenApi { readonly definitions: Readonly<Record<string, Schema>> }

const PREFIX = '#/definitions/';

/** Writes KIND-GROUP-VERSION.json for every kind into the folder; returns what kubeconform wants as -schema-location. */
export async function writeSchemas(cluster: Pick<Cluster, 'request'>, folder: string): Promise<string> {
  const { status, body } = await cluster.request<OpenApi>('GET', '/openapi/v2');
  if (status !== 200) throw new Error(`/openapi/v2: ${status}`);
  for (const [name, schema] of Object.entries(body.definitions)) {
    for (const { group, version, kind } of (schema['x-kubernetes-group-version-kind'] ?? []) as { group: string; version: string; kind: string }[]) {
      const definitions = Object.fromEntries([...reachable(body.definitions, name)].map((one) => [one, strict(body.definitions[one]!)]));
      // For the core kubeconform has the version in the place of the group.
      writeFileSync(join(folder, `${kind.toLowerCase()}-${group || version}-${version}.json`), JSON.stringify({ $ref: `${PREFIX}${name}`, definitions }));
    }
  }
  return join(folder, '{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json');
}

/** The definition and all that it refers to. */
function reachable(definitions: OpenApi['definitions'], name: string, found = new Set<string>()): Set<string> {
  if (found.has(name)) return found;
  found.add(name);
  for (const [, next] of JSON.stringify(definitions[name]).matchAll(/"\$ref":"#\/definitions\/([^"]+)"/g)) reachable(definitions, next!, found);
  return found;
}

/** Closes every object whose fields are known; an int-or-string is a text in the document and may be a number; null is as good as absent. */
function strict(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(strict);
  if (typeof schema !== 'object' || schema === null) return schema;
  const { format, type, ...rest } = schema as Schema;
  const inner = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, key === 'properties' ? mapValues(value as Schema, strict) : strict(value)]));
  if (format === 'int-or-string' || rest['x-kubernetes-int-or-string'] === true) return { ...inner, type: ['string', 'integer'] };
  const open = rest['properties'] === undefined || rest['additionalProperties'] !== undefined || rest['x-kubernetes-preserve-unknown-fields'] === true;
  return { ...inner, ...(type === undefined ? {} : { type }), ...(open ? {} : { additionalProperties: false }) };
}

function mapValues(of: Schema, map: (value: unknown) => unknown): Schema {
  return Object.fromEntries(Object.entries(of).map(([key, value]) => [key, map(value)]));
}
