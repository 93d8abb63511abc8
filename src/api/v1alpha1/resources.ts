/**
 * Our kinds as an API server has them: where they live, and how an object that was read there becomes one of ours, with what only a
 * server knows (uid, generation, status). Manifests are parse.ts's. What machines wrote may come from a newer version: fields that this
 * one does not know are stripped, in status always and in the kinds that machines write also in spec. In what people wrote such a field
 * is refused here too: it may be one that keeps somebody out.
 */
import { readShape } from '../shape.ts';
import { STATUS_SHAPES } from '../shapes.generated.ts';
import type { DirectorGroup } from './directorgroup.ts';
import type { IPVSNode } from './ipvsnode.ts';
import { API_VERSION, GROUP, VERSION, type ServerMetadata } from './metadata.ts';
import { ALL_KINDS, KINDS, parseKind, type ApiObject, type Kind, type MachineObject, type ParseResult } from './parse.ts';
import { formatProblem, type Problem } from './problems.ts';
import type { DirectorGroupStatus, VIPPoolStatus, VirtualServerStatus } from './status.ts';
import type { VIPPool } from './vippool.ts';
import type { VirtualIP } from './virtualip.ts';
import type { VirtualServer } from './virtualserver.ts';
import type { VirtualServerProgram } from './virtualserverprogram.ts';

/** An object with what its server added. Usable wherever the object alone is. */
export type FromServer<T extends ApiObject, Status> = Omit<T, 'metadata'> & { metadata: T['metadata'] & ServerMetadata; status?: Status };

export interface ServerObjects {
  VirtualServer: FromServer<VirtualServer, VirtualServerStatus>;
  VIPPool: FromServer<VIPPool, VIPPoolStatus>;
  DirectorGroup: FromServer<DirectorGroup, DirectorGroupStatus>;
  VirtualIP: VirtualIP;
  VirtualServerProgram: VirtualServerProgram;
  IPVSNode: IPVSNode;
}

/** What a client needs to know of a kind. */
export interface ResourceDescription<T> {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  /** Throws InvalidObject. */
  readonly parse: (value: unknown) => T;
}

/** An object on a server that does not keep to its schema: an older CRD is installed, or a newer one than this program knows. */
export class InvalidObject extends TypeError {
  readonly code = 'INVALID_OBJECT';
  readonly problems: readonly Problem[];

  constructor(who: string, problems: readonly Problem[]) {
    super(`${who}: ${problems.map(formatProblem).join('; ')}`);
    this.problems = problems;
  }
}

/**
 * Reads one object of this kind. Never throws. A status that cannot be read is as good as none: whoever it belongs to writes it again.
 * Items of a list may come without apiVersion and kind.
 */
export function fromServer<K extends keyof ServerObjects>(kind: K, value: unknown): ParseResult<ServerObjects[K]> {
  const raw = isRecord(value) ? { apiVersion: API_VERSION, kind, ...value } : value;
  const people = Object.hasOwn(KINDS, kind);
  const result = people
    ? parseKind<ApiObject>(kind as Kind, isRecord(raw) ? written(raw) : raw)
    : parseKind<MachineObject>(kind as MachineObject['kind'], isRecord(raw) ? withoutStatus(raw) : raw, 'strip');
  if (!result.ok) return result;
  const { metadata, status } = raw as { metadata: Record<string, unknown>; status?: unknown };
  const shape = people ? STATUS_SHAPES[kind as Kind] : ALL_KINDS[kind].shape.properties!['status'];
  // Once: an agent reports thousands of lines in it.
  const read = shape !== undefined && status !== undefined ? readShape(shape, status, 'strip') : null;
  const object = {
    ...result.object,
    metadata: { ...result.object.metadata, ...serverMetadata(metadata) },
    ...(read?.problems.length === 0 ? { status: read.value } : {}),
  };
  return { ok: true, object: object as unknown as ServerObjects[K] };
}

/** The part that a person writes: a server may add fields to metadata that no version of ours has heard of. */
function written({ apiVersion, kind, metadata, spec }: Record<string, unknown>): Record<string, unknown> {
  if (!isRecord(metadata)) return { apiVersion, kind, metadata, spec };
  const own = Object.fromEntries(['name', 'namespace', 'labels', 'annotations'].flatMap((f) => (metadata[f] === undefined ? [] : [[f, metadata[f]]])));
  return { apiVersion, kind, metadata: own, ...(spec === undefined ? {} : { spec }) };
}

function withoutStatus({ status: _, ...rest }: Record<string, unknown>): Record<string, unknown> {
  return rest;
}

const TEXTS = ['uid', 'resourceVersion', 'creationTimestamp', 'deletionTimestamp'] as const;

function serverMetadata(metadata: Record<string, unknown>): ServerMetadata {
  const out: ServerMetadata = {};
  for (const field of TEXTS) if (typeof metadata[field] === 'string') out[field] = metadata[field];
  if (typeof metadata['generation'] === 'number') out.generation = metadata['generation'];
  if (Array.isArray(metadata['finalizers'])) out.finalizers = metadata['finalizers'] as string[];
  if (Array.isArray(metadata['ownerReferences'])) out.ownerReferences = metadata['ownerReferences'] as NonNullable<ServerMetadata['ownerReferences']>;
  return out;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function describe<K extends keyof ServerObjects>(kind: K, plural: string): ResourceDescription<ServerObjects[K]> {
  return {
    group: GROUP, version: VERSION, kind, plural, namespaced: ALL_KINDS[kind].namespaced,
    parse(value) {
      const result = fromServer(kind, value);
      if (!result.ok) throw new InvalidObject(result.identity.key ?? kind, result.problems);
      return result.object;
    },
  };
}

/** For clients, one a kind. */
export const RESOURCES: { readonly [K in keyof ServerObjects]: ResourceDescription<ServerObjects[K]> } = {
  VirtualServer: describe('VirtualServer', 'virtualservers'),
  VIPPool: describe('VIPPool', 'vippools'),
  DirectorGroup: describe('DirectorGroup', 'directorgroups'),
  VirtualIP: describe('VirtualIP', 'virtualips'),
  VirtualServerProgram: describe('VirtualServerProgram', 'virtualserverprograms'),
  IPVSNode: describe('IPVSNode', 'ipvsnodes'),
};
