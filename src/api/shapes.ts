/**
 * The text of shapes.generated.ts: the shape of every kind, from its zod schema. Pure; tools/generate-crds.ts writes it, a test compares it.
 */
import type { z } from 'zod';
import { structural, type SchemaNode } from './structural.ts';
import { directorGroup } from './v1alpha1/directorgroup.ts';
import { ipvsNode } from './v1alpha1/ipvsnode.ts';
import { directorGroupStatus, vipPoolStatus, virtualServerStatus } from './v1alpha1/status.ts';
import { virtualIP } from './v1alpha1/virtualip.ts';
import { vipPool } from './v1alpha1/vippool.ts';
import { virtualServer } from './v1alpha1/virtualserver.ts';
import { virtualServerProgram } from './v1alpha1/virtualserverprogram.ts';
import type { Shape } from './shape.ts';

/** Words of a schema that parsing does not read. */
const UNREAD = new Set(['description', 'format', 'x-kubernetes-map-type', 'x-kubernetes-list-type']);

export const ZOD_SCHEMAS = {
  VirtualServer: virtualServer, VIPPool: vipPool, DirectorGroup: directorGroup,
  VirtualIP: virtualIP, VirtualServerProgram: virtualServerProgram, IPVSNode: ipvsNode,
} as const;
/** Parsing what a person wrote drops status; who reads from a server wants it. */
const STATUS_SCHEMAS = { VirtualServer: virtualServerStatus, VIPPool: vipPoolStatus, DirectorGroup: directorGroupStatus } as const;

export function shapesFile(): string {
  return `/** Generated from src/api/v1alpha1 by tools/generate-crds.ts (npm run generate). Do not edit. */
import type { Shape } from './shape.ts';

${table('SHAPES', ZOD_SCHEMAS)}
${table('STATUS_SHAPES', STATUS_SCHEMAS)}`;
}

function table(name: string, schemas: Readonly<Record<string, z.ZodType>>): string {
  const shapes = Object.fromEntries(Object.entries(schemas).map(([kind, schema]) => [kind, shapeOf(structural(schema))]));
  return `export const ${name}: Readonly<Record<'${Object.keys(schemas).join("' | '")}', Shape>> = ${JSON.stringify(shapes, null, 1)};\n`;
}

function shapeOf(node: SchemaNode): Shape {
  return JSON.parse(JSON.stringify(node, (key, value: unknown) => (UNREAD.has(key) && typeof value === 'string' ? undefined : value))) as Shape;
}
