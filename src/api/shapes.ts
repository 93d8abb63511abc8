/**
 * The text of shapes.generated.ts: the shape of every kind, from its zod schema. Pure; tools/generate-crds.ts writes it, a test compares it.
 */
import { structural, type SchemaNode } from './structural.ts';
import { directorGroup } from './v1alpha1/directorgroup.ts';
import { vipPool } from './v1alpha1/vippool.ts';
import { virtualServer } from './v1alpha1/virtualserver.ts';
import type { Shape } from './shape.ts';

/** Words of a schema that parsing does not read. */
const UNREAD = new Set(['description', 'format', 'x-kubernetes-map-type', 'x-kubernetes-list-type']);

export const ZOD_SCHEMAS = { VirtualServer: virtualServer, VIPPool: vipPool, DirectorGroup: directorGroup } as const;

export function shapesFile(): string {
  const shapes = Object.fromEntries(Object.entries(ZOD_SCHEMAS).map(([kind, schema]) => [kind, shapeOf(structural(schema))]));
  return `/** Generated from src/api/v1alpha1 by tools/generate-crds.ts (npm run generate). Do not edit. */
import type { Shape } from './shape.ts';

export const SHAPES: Readonly<Record<'${Object.keys(ZOD_SCHEMAS).join("' | '")}', Shape>> = ${JSON.stringify(shapes, null, 1)};
`;
}

function shapeOf(node: SchemaNode): Shape {
  return JSON.parse(JSON.stringify(node, (key, value: unknown) => (UNREAD.has(key) && typeof value === 'string' ? undefined : value))) as Shape;
}
