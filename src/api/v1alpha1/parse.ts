/**
 * From a value somebody wrote (YAML, JSON, an API server) to an object with its defaults, or to the list of what is wrong with it.
 * Pure. Looks at one object at a time.
 */
import { readShape, type Shape, type UnknownFields } from '../shape.ts';
import { SHAPES } from '../shapes.generated.ts';
import { API_VERSION, GROUP, objectKey } from './metadata.ts';
import type { DirectorGroup } from './directorgroup.ts';
import { DIRECTOR_GROUP_RULES } from './directorgroup.rules.ts';
import type { IPVSNode } from './ipvsnode.ts';
import { PROGRAM_RULES, VIRTUAL_IP_RULES } from './machine.rules.ts';
import { nearest, quote, type Problem } from './problems.ts';
import { runRules, type Rule } from './rules.ts';
import type { VIPPool } from './vippool.ts';
import { VIP_POOL_RULES } from './vippool.rules.ts';
import type { VirtualIP } from './virtualip.ts';
import type { VirtualServer } from './virtualserver.ts';
import type { VirtualServerProgram } from './virtualserverprogram.ts';
import { VIRTUAL_SERVER_RULES } from './virtualserver.rules.ts';

/** What people write. */
export type ApiObject = VirtualServer | VIPPool | DirectorGroup;
export type Kind = ApiObject['kind'];
/** What only the controller and the agents write. */
export type MachineObject = VirtualIP | VirtualServerProgram | IPVSNode;
export type MachineKind = MachineObject['kind'];

interface KindEntry {
  readonly namespaced: boolean;
  readonly shape: Shape;
  readonly rules: readonly Rule<never>[];
}

/** Every kind people write, with its shape and its rules. */
export const KINDS: Readonly<Record<Kind, KindEntry>> = {
  VirtualServer: { namespaced: true, shape: SHAPES.VirtualServer, rules: VIRTUAL_SERVER_RULES },
  VIPPool: { namespaced: false, shape: SHAPES.VIPPool, rules: VIP_POOL_RULES },
  DirectorGroup: { namespaced: false, shape: SHAPES.DirectorGroup, rules: DIRECTOR_GROUP_RULES },
};

/** Every kind machines write. */
export const MACHINE_KINDS: Readonly<Record<MachineKind, KindEntry>> = {
  VirtualIP: { namespaced: false, shape: SHAPES.VirtualIP, rules: VIRTUAL_IP_RULES },
  VirtualServerProgram: { namespaced: true, shape: SHAPES.VirtualServerProgram, rules: PROGRAM_RULES },
  IPVSNode: { namespaced: false, shape: SHAPES.IPVSNode, rules: [] },
};

export const ALL_KINDS: Readonly<Record<Kind | MachineKind, KindEntry>> = { ...KINDS, ...MACHINE_KINDS };

/** What can be told of an object even when it is wrong. */
export interface Identity {
  readonly kind: string | null;
  readonly namespace: string | null;
  readonly name: string | null;
  /** As objectKey() would say; null when kind or name are missing or the kind is not ours. */
  readonly key: string | null;
}

export type ParseResult<T = ApiObject> =
  | { readonly ok: true; readonly object: T }
  | { readonly ok: false; readonly problems: readonly Problem[]; readonly identity: Identity };

/**
 * Parses one object that a person wrote. Never throws. `ok: false` has at least one problem; ForeignKind alone means an object of another
 * API group, MachineKind alone one of ours that is not for people: no errors by themselves. Rules are checked only when every field
 * has its type.
 */
export function parseObject(value: unknown): ParseResult {
  const header = checkHeader(value);
  return 'problem' in header ? refused([header.problem], value) : parseKind<ApiObject>(header.kind, value);
}

/** Parses one object of this kind, whoever wrote it. Its header must be right; status is kept with the kinds that machines write. */
export function parseKind<T extends ApiObject | MachineObject>(kind: T['kind'], value: unknown, unknownFields: UnknownFields = 'refuse'): ParseResult<T> {
  const { shape, rules } = ALL_KINDS[kind];
  const read = readShape(shape, value, unknownFields);
  if (read.problems.length > 0) return refused(read.problems, value);
  const problems = runRules(rules as readonly Rule<unknown>[], read.value);
  return problems.length === 0 ? { ok: true, object: read.value as T } : refused(problems, value);
}

function refused(problems: readonly Problem[], value: unknown): ParseResult<never> {
  return { ok: false, problems, identity: identityOf(value) };
}

/** Whether this is an object of ours at all, and of which kind. */
function checkHeader(value: unknown): { kind: Kind } | { problem: Problem } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const message = `the document is ${quote(value)}, not a mapping with apiVersion and kind`;
    return { problem: { code: 'NotAnObject', path: '', message, fix: `start it with apiVersion: ${API_VERSION}` } };
  }
  const { apiVersion, kind } = value as { apiVersion?: unknown; kind?: unknown };
  if (typeof apiVersion !== 'string') return { problem: absentOrNotText('apiVersion', apiVersion, API_VERSION) };
  if (typeof kind !== 'string') return { problem: absentOrNotText('kind', kind, Object.keys(KINDS).join(', ')) };
  const ours = Object.hasOwn(KINDS, kind);
  const group = apiVersion.slice(0, Math.max(0, apiVersion.indexOf('/')));
  if (apiVersion === API_VERSION) {
    if (ours) return { kind: kind as Kind };
    if (Object.hasOwn(MACHINE_KINDS, kind)) {
      const message = `${kind} is written by the operator in a cluster, not by people; it is left alone`;
      return { problem: { code: 'MachineKind', path: '', message, fix: 'write a VirtualServer' } };
    }
    const near = nearest(kind, Object.keys(KINDS));
    const fix = near === null ? `use one of ${Object.keys(KINDS).join(', ')}` : `did you mean ${near}?`;
    return { problem: { code: 'UnknownKind', path: 'kind', message: `${API_VERSION} has no kind ${quote(kind)}`, fix } };
  }
  if (group === GROUP || ours) {
    const message = `${quote(apiVersion)} is not known for kind ${kind}`;
    return { problem: { code: 'UnknownApiVersion', path: 'apiVersion', message, fix: `write ${API_VERSION}` } };
  }
  return { problem: { code: 'ForeignKind', path: '', message: `${kind} of ${apiVersion} is not ours and is left alone`, fix: '' } };
}

function absentOrNotText(path: string, value: unknown, expected: string): Problem {
  return value === undefined
    ? { code: 'MissingField', path, message: `${path} is required`, fix: `add it: ${expected}` }
    : { code: 'WrongType', path, message: `${quote(value)} is not a text`, fix: `write ${expected}` };
}

function identityOf(value: unknown): Identity {
  const { kind, metadata } = (typeof value === 'object' && value !== null ? value : {}) as { kind?: unknown; metadata?: unknown };
  const { name, namespace } = (typeof metadata === 'object' && metadata !== null ? metadata : {}) as { name?: unknown; namespace?: unknown };
  const text = (v: unknown) => (typeof v === 'string' && v !== '' ? v : null);
  const known = typeof kind === 'string' && Object.hasOwn(ALL_KINDS, kind) ? ALL_KINDS[kind as Kind] : null;
  const where = known === null ? text(namespace) : known.namespaced ? text(namespace) ?? 'default' : null;
  const key = known === null || text(name) === null ? null
    : objectKey({ kind: kind as string, metadata: { name: name as string, ...(where === null ? {} : { namespace: where }) } });
  return { kind: text(kind), namespace: where, name: text(name), key };
}
