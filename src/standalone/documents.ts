/**
 * The text of one file as objects: splits it into documents, so that a broken one does not hide the others, parses YAML or JSON,
 * unfolds Lists, and lets the API judge every object. Pure. Nothing of the text survives in the result.
 */
import { CORE_SCHEMA, YAMLException, load, mergeTag } from 'js-yaml';
import { Sharer } from '../api/share.ts';
import { API_VERSION, formatProblem, KINDS, parseObject, type ApiObject, type Problem } from '../api/v1alpha1/index.ts';
import { clusterFields } from './needs-cluster.ts';
import type { FileProblem } from './problems.ts';

const KIND_NAMES = Object.keys(KINDS) as ApiObject['kind'][];

/** Problems of one object that are listed; the rest is counted. */
const MAX_PROBLEMS = 16;
/** Aliases (`*name`) in one document. A manifest has a few; many are an attempt to blow it up. */
const MAX_ALIASES = 1000;
/** YAML 1.2 with merge keys (`<<`), which many write for templates. */
const SCHEMA = CORE_SCHEMA.withTags(mergeTag);

export interface ManifestDocument {
  /** From 0. Items of a List share the index of their document. */
  readonly index: number;
  /** Line in the file where the document starts, from 1. */
  readonly line: number;
  /** objectKey; null when it cannot be told, or the object is not ours. */
  readonly key: string | null;
  /** null when it is wrong or not ours. */
  readonly object: ApiObject | null;
}

export interface FileContent {
  readonly documents: readonly ManifestDocument[];
  /** Without the field `file`. */
  readonly problems: readonly Omit<FileProblem, 'file'>[];
  /** False when there may be objects in the file that could not be told: a document that is no YAML, or an object without a name. */
  readonly complete: boolean;
}

export function readDocuments(text: string, format: 'yaml' | 'json'): FileContent {
  const out: Collector = { documents: [], problems: [], complete: true };
  if (format === 'json') {
    readJson(text, out);
    return out;
  }
  splitDocuments(text).forEach(({ source, line }, index) => {
    let value: unknown;
    try {
      value = load(source, { schema: SCHEMA, maxAliases: MAX_ALIASES });
    } catch (error) {
      addYamlError(error, index, line, out);
      return;
    }
    if (value !== null) addObjects(value, index, line, out);
  });
  return out;
}

interface Collector {
  documents: ManifestDocument[];
  problems: Omit<FileProblem, 'file'>[];
  complete: boolean;
}

/**
 * The documents of a YAML stream with the lines they start at. `---` or `...` at the start of a line ends a document wherever it stands
 * (YAML 1.2.2, 9.1.2), so no parser is needed for this. Documents of comments and blank lines only are left out; directives
 * (`%YAML`) stay with the document that follows them.
 */
export function splitDocuments(text: string): { source: string; line: number }[] {
  const documents: { source: string; line: number }[] = [];
  let start = text.startsWith('\uFEFF') ? 1 : 0;
  let line = 1;
  let counted = 0;
  const push = (end: number) => {
    const source = text.slice(start, end);
    if (DIRECTIVE.test(source) && !MORE_THAN_DIRECTIVES.test(source)) return;
    if (HAS_CONTENT.test(source.startsWith('---') ? source.slice(3) : source)) documents.push({ source, line });
    for (; counted < end; counted++) if (text.charCodeAt(counted) === 0x0a) line++;
    start = end;
  };
  for (const match of text.matchAll(MARKER)) {
    push(match.index);
    // '...' belongs to no document: what follows it starts after it.
    if (match[0] === '...') start += 3;
  }
  push(text.length);
  return documents;
}

const MARKER = /^(?:---|\.\.\.)(?=[ \t\r\n]|$)/gm;
const DIRECTIVE = /^%/m;
/** A line that is neither blank nor comment nor directive. */
const MORE_THAN_DIRECTIVES = /^(?!%|[ \t]*(?:#.*)?\r?$)/m;
/** A line with something else than a comment on it. */
const HAS_CONTENT = /^[ \t]*[^\s#]/m;

function readJson(text: string, out: Collector): void {
  let value: unknown;
  try {
    value = JSON.parse(text.startsWith('\uFEFF') ? text.slice(1) : text);
  } catch (error) {
    out.complete = false;
    const reason = (error as Error).message.replace(/\s+/g, ' ');
    const message = `not JSON: ${reason}; what came from this file before stays in force`;
    out.problems.push({ code: 'InvalidJson', severity: 'error', message });
    return;
  }
  addObjects(value, 0, 1, out);
}

function addYamlError(error: unknown, index: number, line: number, out: Collector): void {
  out.complete = false;
  const mark = error instanceof YAMLException ? error.mark : undefined;
  const reason = error instanceof YAMLException ? error.reason : (error as Error).message;
  const at = mark === undefined ? line : line + mark.line;
  const where = mark === undefined ? `line ${at}` : `line ${at}, column ${mark.column + 1}`;
  const message = `${where}: not YAML: ${reason}; what came from this document before stays in force`;
  out.problems.push({ code: 'InvalidYaml', severity: 'error', document: index, line: at, message });
}

/** One document: an object, or a List of them. */
function addObjects(value: unknown, index: number, line: number, out: Collector): void {
  const items = itemsOf(value);
  if (items === null) return addObject(value, index, line, out);
  if (items === undefined) {
    out.complete = false;
    out.problems.push({ code: 'InvalidList', severity: 'error', document: index, line, message: 'items: a List needs a list of items; add it' });
    return;
  }
  for (const item of items) addObject(item, index, line, out);
}

/** The items of a List (`v1/List`, or `VirtualServerList` as an API server writes it); undefined when it has none, null when it is no List. */
function itemsOf(value: unknown): readonly unknown[] | null | undefined {
  if (typeof value !== 'object' || value === null) return null;
  const { kind, items } = value as { kind?: unknown; items?: unknown };
  if (typeof kind !== 'string' || !/^(VirtualServer|VIPPool|DirectorGroup)?List$/.test(kind)) return null;
  return Array.isArray(items) ? items : undefined;
}

function addObject(value: unknown, index: number, line: number, out: Collector): void {
  const result = parseObject(value);
  if (result.ok) {
    const key = keyOf(result.object);
    const fields = clusterFields(result.object);
    out.documents.push({ index, line, key, object: fields.length > 0 ? null : detach(result.object) });
    for (const field of fields) out.problems.push({ code: 'NeedsCluster', severity: 'error', document: index, line, object: key, message: formatProblem(field) });
    return;
  }
  const { problems, identity } = result;
  // What `kubectl get ipvs -A -o yaml` prints holds objects of the operator beside those that people wrote.
  const foreign = problems.every((p) => p.code === 'ForeignKind' || p.code === 'MachineKind');
  if (!foreign) out.documents.push({ index, line, key: identity.key, object: null });
  if (!foreign && identity.key === null) out.complete = false;
  const shown = problems.length > MAX_PROBLEMS ? problems.slice(0, MAX_PROBLEMS) : problems;
  shown.forEach((p: Problem, i) => {
    const more = i === MAX_PROBLEMS - 1 && problems.length > MAX_PROBLEMS ? ` (and ${problems.length - MAX_PROBLEMS} more)` : '';
    out.problems.push({
      code: p.code, severity: foreign ? 'info' : 'error', document: index, line,
      ...(identity.key === null ? {} : { object: identity.key }), message: formatProblem(p) + more,
    });
  });
}

function keyOf(o: ApiObject): string {
  return o.kind === 'VirtualServer' ? `${o.kind}/${o.metadata.namespace}/${o.metadata.name}` : `${o.kind}/${o.metadata.name}`;
}

/** Parts of VirtualServers that are the same in most of them. */
const sharer = new Sharer();

/**
 * A copy that shares nothing with the text. A string that V8 cut out of the file keeps the whole file alive: 4 MB for one address of
 * 13 characters. Through JSON every string is made anew; what is the same in many objects is made once.
 */
function detach(object: ApiObject): ApiObject {
  const { kind } = object;
  const copy = { ...JSON.parse(JSON.stringify(object)) as ApiObject, apiVersion: API_VERSION, kind: KIND_NAMES.find((k) => k === kind)! } as ApiObject;
  if (copy.kind !== 'VirtualServer') return copy;
  const { spec } = copy;
  return {
    ...copy,
    spec: {
      ...spec,
      scheduler: sharer.share(spec.scheduler), connectionLimits: sharer.share(spec.connectionLimits), drain: sharer.share(spec.drain),
      ports: sharer.share(spec.ports),
      ...(spec.nat === undefined ? {} : { nat: sharer.share(spec.nat) }), ...(spec.tun === undefined ? {} : { tun: sharer.share(spec.tun) }),
      ...(spec.persistence === undefined ? {} : { persistence: sharer.share(spec.persistence) }),
    },
  };
}
