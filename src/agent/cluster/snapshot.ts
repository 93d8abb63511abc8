/**
 * Snapshot: what a node needs to serve without the API server, in two files of the state folder: what it was told (large, changes with every
 * endpoint) and what it has by that (small, must be right soon). Lost or unreadable, it is as if there never was one: the kernel is left as
 * it is until the API server says what to do.
 */
import type { Log } from '../../kube/types.ts';
import type { IPVSNodeSpec } from '../../api/v1alpha1/index.ts';
import type { Program } from '../../api/v1alpha1/program.ts';
import type { StateFolder } from '../state-folder.ts';
import type { AssignmentState } from './assignment.ts';
import type { BindRecord } from './binds.ts';
import type { GroupDuty } from './programs.ts';

export const SNAPSHOT_VERSION = 1;
/** Names of the files, without `.json`. */
export const TOLD_FILE = 'cluster';
export const HELD_FILE = 'cluster-held';

interface Told {
  readonly version: typeof SNAPSHOT_VERSION;
  /** Whose it is: a copied disk must not make two nodes one. */
  readonly node: string;
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
}

/** Null when there is none of this node. */
export function loadSnapshot(folder: StateFolder, node: string, log: Log): Snapshot | null {
  const told = read(folder, TOLD_FILE, node, log) as Partial<Told> | null;
  if (!told || typeof told.spec !== 'object' || !Array.isArray(told.programs) || !Array.isArray(told.groups)) return null;
  const held = read(folder, HELD_FILE, node, log) as Partial<HeldFile> | null;
  return {
    state: {
      spec: told.spec, groups: new Map((told.groups as GroupDuty[]).map((g) => [g.settings.name, g])), programs: new Map((told.programs as Program[]).map((p) => [p.owner, p])),
      binds: Array.isArray(held?.binds) ? held.binds : [],
    },
    owned: new Set(Array.isArray(held?.owned) ? held.owned as string[] : []),
  };
}

/** Binds are in the other file as well: their deadlines outlive what this one is lost with. */
export function loadBinds(folder: StateFolder, node: string, log: Log): readonly BindRecord[] {
  const held = read(folder, HELD_FILE, node, log) as Partial<HeldFile> | null;
  return Array.isArray(held?.binds) ? held.binds : [];
}

/** As the parts of a JSON text: 5,000 programs as one string would take 30 MB for a moment. */
export function* toldText(node: string, spec: IPVSNodeSpec, groups: Iterable<GroupDuty>, programs: Iterable<Program>): Iterable<string> {
  const head: Omit<Told, 'programs'> = { version: SNAPSHOT_VERSION, node, spec, groups: [...groups] };
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
  const problem = file.state === 'corrupt' ? file.problem : value?.version === SNAPSHOT_VERSION ? `it is of node ${JSON.stringify(value.node)}` : 'not a snapshot of this version';
  log.warn({ file: `${name}.json`, problem }, 'snapshot lost: nothing is changed until the API server says what to do');
  return null;
}
