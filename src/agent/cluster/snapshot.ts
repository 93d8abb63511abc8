/**
 * Snapshot: what a node needs to serve without the API server, in the state folder: what it was told (large, changes with every endpoint: a
 * base, and a journal of what changed since, which told-file.ts writes) and what it has by that (small, must be right soon). Lost or unreadable,
 * it is as if there never was one: the kernel is left as it is until the API server says what to do. A journal that is lost, or its end, is
 * less than that: the node serves what it was told before.
 */
import type { Log } from '../../kube/types.ts';
import type { IPVSNodeSpec } from '../../api/v1alpha1/index.ts';
import type { Program } from '../../api/v1alpha1/program.ts';
import { journalFile, readJournal } from '../journal.ts';
import type { StateFolder } from '../state-folder.ts';
import type { AssignmentState } from './assignment.ts';
import type { BindRecord } from './binds.ts';
import type { GroupDuty } from './programs.ts';

export const SNAPSHOT_VERSION = 1;
/** Names of the files, without `.json`. */
export const TOLD_FILE = 'cluster';
export const HELD_FILE = 'cluster-held';

interface BaseFile {
  readonly version: typeof SNAPSHOT_VERSION;
  /** Whose it is: a copied disk must not make two nodes one. */
  readonly node: string;
  /** Identity of this base, which the name of its journal repeats; earlier versions wrote none, and had no journal. */
  readonly base?: string;
  readonly spec: IPVSNodeSpec;
  readonly groups: readonly GroupDuty[];
  readonly programs: readonly Program[];
}

interface HeldFile {
  readonly version: typeof SNAPSHOT_VERSION;
  readonly node: string;
  readonly owned: readonly string[];
  readonly binds: readonly BindRecord[];
}

export interface Snapshot {
  readonly state: AssignmentState;
  /** VIPs that this node held. */
  readonly owned: ReadonlySet<string>;
  /** The base that this is, as long as nothing was appended; null: a new one is due, with all of this in it. */
  readonly base: string | null;
}

/** What a node was told, at one moment. */
export interface Told {
  readonly spec: IPVSNodeSpec;
  readonly groups: readonly GroupDuty[];
  readonly programs: readonly Program[];
}

/** What changed between two moments; null: not that. A program that is null is gone. */
export interface ToldChange {
  readonly spec: IPVSNodeSpec | null;
  readonly groups: readonly GroupDuty[] | null;
  /** By owner. */
  readonly programs: ReadonlyMap<string, Program | null>;
}

/** Null when there is none of this node. */
export function loadSnapshot(folder: StateFolder, node: string, log: Log): Snapshot | null {
  const told = read(folder, TOLD_FILE, node, log) as Partial<BaseFile> | null;
  if (!told || !isObject(told.spec) || !Array.isArray(told.programs) || !Array.isArray(told.groups)) return null;
  const held = read(folder, HELD_FILE, node, log) as Partial<HeldFile> | null;
  const { state, base } = withJournal(folder, told as BaseFile, log);
  const binds = Array.isArray(held?.binds) ? held.binds : [];
  const owned = new Set(Array.isArray(held?.owned) ? held.owned as string[] : []);
  return { state: { ...state, binds }, base, owned };
}

type ToldState = Omit<AssignmentState, 'binds'>;

/** The base and what was appended to its journal, as far as that can be read. */
function withJournal(folder: StateFolder, told: BaseFile, log: Log): { readonly state: ToldState; readonly base: string | null } {
  const { base } = told;
  let state: ToldState = { spec: told.spec, groups: byName(told.groups), programs: new Map(told.programs.map((p) => [p.owner, p])) };
  if (typeof base !== 'string') return { state, base: null };
  const { appends, problem } = readJournal(folder, TOLD_FILE, base);
  let applied = 0;
  for (const append of appends) {
    // Of another version, most likely; what comes after it may build on it.
    if (!append.every(isEntry)) break;
    for (const entry of append) state = after(state, entry);
    applied += 1;
  }
  const lost = applied < appends.length ? 'not entries of this version' : problem;
  if (lost !== null) {
    log.warn({ file: journalFile(TOLD_FILE, base), problem: lost, applied }, 'the end of the journal is lost: this is what the node was told before');
  }
  return { state, base: appends.length === 0 && problem === null ? base : null };
}

type Entry = { readonly program: Program } | { readonly gone: string } | { readonly spec: IPVSNodeSpec } | { readonly groups: readonly GroupDuty[] };

function isEntry(value: unknown): value is Entry {
  if (!isObject(value)) return false;
  const { program, gone, spec, groups } = value as { program?: unknown; gone?: unknown; spec?: unknown; groups?: unknown };
  return (isObject(program) && typeof (program as Partial<Program>).owner === 'string') || typeof gone === 'string' || isObject(spec) || Array.isArray(groups);
}

/** Programs are changed in place: there may be as many entries as there are programs. */
function after(state: ToldState, entry: Entry): ToldState {
  if ('spec' in entry) return { ...state, spec: entry.spec };
  if ('groups' in entry) return { ...state, groups: byName(entry.groups) };
  const programs = state.programs as Map<string, Program>;
  if ('program' in entry) programs.set(entry.program.owner, entry.program);
  else programs.delete(entry.gone);
  return state;
}

/** A change as the entries of one append. */
export function* toldEntries({ spec, groups, programs }: ToldChange): Iterable<string> {
  if (spec) yield JSON.stringify({ spec } satisfies Entry);
  if (groups) yield JSON.stringify({ groups } satisfies Entry);
  for (const [owner, program] of programs) yield JSON.stringify((program ? { program } : { gone: owner }) satisfies Entry);
}

const byName = (groups: readonly GroupDuty[]): ReadonlyMap<string, GroupDuty> => new Map(groups.map((g) => [g.settings.name, g]));
const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** Binds are in the other file as well: their deadlines outlive what this one is lost with. */
export function loadBinds(folder: StateFolder, node: string, log: Log): readonly BindRecord[] {
  const held = read(folder, HELD_FILE, node, log) as Partial<HeldFile> | null;
  return Array.isArray(held?.binds) ? held.binds : [];
}

/** A base as the parts of a JSON text: 5,000 programs as one string would take 30 MB for a moment. */
export function* toldText(node: string, base: string, { spec, groups, programs }: Told): Iterable<string> {
  const head: Omit<BaseFile, 'programs'> = { version: SNAPSHOT_VERSION, node, base, spec, groups };
  yield `${JSON.stringify(head).slice(0, -1)},"programs":[`;
  let separator = '';
  for (const program of programs) {
    yield `${separator}${JSON.stringify(program)}`;
    separator = ',';
  }
  yield ']}';
}

export function heldFile(node: string, owned: Iterable<string>, binds: readonly BindRecord[]): HeldFile {
  return { version: SNAPSHOT_VERSION, node, owned: [...owned].sort(), binds };
}

function read(folder: StateFolder, name: string, node: string, log: Log): object | null {
  const file = folder.read(name);
  if (file.state === 'missing') return null;
  const value = file.state === 'ok' ? file.value as { version?: unknown; node?: unknown } | null : null;
  if (value?.version === SNAPSHOT_VERSION && value.node === node) return value;
  const problem = file.state === 'corrupt' ? file.problem
    : value?.version === SNAPSHOT_VERSION ? `it is of node ${JSON.stringify(value.node)}` : 'not a snapshot of this version';
  log.warn({ file: `${name}.json`, problem }, 'snapshot lost: nothing is changed until the API server says what to do');
  return null;
}
