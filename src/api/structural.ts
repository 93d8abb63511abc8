/**
 * Structural schemas, as Kubernetes calls them, from zod schemas, by way of JSON Schema. For the CRDs and for the shapes that parsing
 * reads by; pure, and used when these are generated, not at run time.
 */
import { z } from 'zod';

/** A node of a structural schema: the part of JSONSchemaProps that we use. */
export interface SchemaNode {
  type?: 'object' | 'array' | 'string' | 'integer' | 'boolean' | 'number';
  format?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  pattern?: string;
  minimum?: number; maximum?: number;
  minLength?: number; maxLength?: number;
  minItems?: number; maxItems?: number;
  maxProperties?: number;
  properties?: Record<string, SchemaNode>;
  required?: string[];
  items?: SchemaNode;
  additionalProperties?: SchemaNode;
  'x-kubernetes-list-type'?: 'map' | 'set' | 'atomic';
  'x-kubernetes-list-map-keys'?: string[];
  'x-kubernetes-map-type'?: 'atomic' | 'granular';
  /** A number or a text; has no type, and the bounds of both. */
  'x-kubernetes-int-or-string'?: true;
  'x-kubernetes-validations'?: { rule: string; message: string }[];
}

/** JSON Schema of a zod schema, without what Kubernetes forbids (definitions, additionalProperties: false, propertyNames). */
export function structural(schema: z.ZodType): SchemaNode {
  const json = z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input', cycles: 'throw', reused: 'inline', unrepresentable: 'throw' });
  return clean(json as Record<string, unknown>);
}

const KEPT = [
  'type', 'format', 'description', 'default', 'enum', 'pattern', 'minimum', 'maximum', 'minLength', 'maxLength', 'minItems', 'maxItems', 'maxProperties',
  'required', 'x-kubernetes-map-type', 'x-kubernetes-list-type',
] as const;
/** Said by zod, and without meaning or forbidden in a CRD. */
const DROPPED = new Set(['propertyNames', '$schema', 'properties', 'items', 'additionalProperties']);

function clean(json: Record<string, unknown>): SchemaNode {
  if (json['anyOf'] !== undefined) return intOrString(json);
  const unknown = Object.keys(json).filter((key) => !(KEPT as readonly string[]).includes(key) && !DROPPED.has(key));
  if (unknown.length > 0) throw new Error(`no structural form is known for ${unknown.join(', ')} in ${JSON.stringify(json).slice(0, 200)}`);
  const node = Object.fromEntries(KEPT.filter((key) => json[key] !== undefined).map((key) => [key, json[key]])) as SchemaNode;
  // zod bounds every integer by what a double can count; such a bound says nothing to a reader.
  if (node.maximum === Number.MAX_SAFE_INTEGER) delete node.maximum;
  if (node.type === 'integer') node.format = node.maximum === undefined || node.maximum > 0x7fff_ffff ? 'int64' : 'int32';
  if (json['properties'] !== undefined) {
    node.properties = Object.fromEntries(Object.entries(json['properties'] as Record<string, Record<string, unknown>>).map(([name, child]) => [name, clean(child)]));
  }
  if (isObject(node.default) && node.properties !== undefined) node.default = filled(node.properties, node.default);
  if (json['items'] !== undefined) node.items = clean(json['items'] as Record<string, unknown>);
  if (typeof json['additionalProperties'] === 'object') node.additionalProperties = clean(json['additionalProperties'] as Record<string, unknown>);
  return node;
}

/**
 * A default with the defaults of the fields inside written out: the server runs a node's rules on its default before it fills that one,
 * and refuses a CRD whose `default: {}` lacks a field that a rule reads.
 */
function filled(properties: Record<string, SchemaNode>, value: Record<string, unknown>): Record<string, unknown> {
  const out = { ...value };
  for (const [name, child] of Object.entries(properties)) {
    if (out[name] === undefined && child.default !== undefined) out[name] = child.default;
  }
  return out;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A union of a whole number and a text: the one union that a CRD can say. Bounds of either apply to values of its type. */
function intOrString({ anyOf, description, ...rest }: Record<string, unknown>): SchemaNode {
  const alternatives = (anyOf as Record<string, unknown>[]).map(clean);
  if (alternatives.map((a) => a.type).join() !== 'integer,string' || Object.keys(rest).length > 0) {
    throw new Error(`no structural form is known for ${JSON.stringify({ anyOf, ...rest }).slice(0, 200)}`);
  }
  const bounds = Object.assign({}, ...alternatives) as SchemaNode;
  delete bounds.type;
  delete bounds.format;
  return { ...(description === undefined ? {} : { description: description as string }), 'x-kubernetes-int-or-string': true, ...bounds };
}
