/**
 * Reports: what the agents say, ready to be asked for one VirtualServer: who directs for a group, who is live, what each runs. It reads
 * IPVSNodes once a change, because a status has thousands of lines and is asked for thousands of VirtualServers.
 */
import { readApplied, type IPVSNode, type IPVSNodeStatus, type VirtualIP } from '../api/v1alpha1/index.ts';
import type { Program } from '../api/v1alpha1/program.ts';
import { beyondLines, type Hashes } from './beyond.ts';
import type { DirectorReport, Holder } from './status/virtualserver.ts';

interface Report {
  readonly groups: readonly string[];
  /** Content hashes by `namespace/name`, as the lines say that it was read from. */
  readonly applied: Map<string, string>;
  /** Of programs that have no line. */
  readonly beyond: Hashes;
  readonly failures: ReadonlyMap<string, { readonly code: string; readonly message: string }>;
  readonly backends: ReadonlyMap<string, BackendReport>;
  readonly bound: ReadonlySet<string>;
  readonly node: IPVSNode;
}

/** Real servers that are not as the program wrote them. */
export type BackendReport = NonNullable<IPVSNodeStatus['backends']>[number];

const NOBODY: Holder = { node: '', live: false, duplicate: '', why: '' };

export class Reports {
  readonly #reports = new Map<string, Report>();
  readonly #programs: () => ReadonlyMap<string, Program>;
  #live: ReadonlySet<string> = new Set();

  /** `programs`: what directors should have, by `namespace/name`. */
  constructor(programs: () => ReadonlyMap<string, Program> = () => new Map()) {
    this.#programs = programs;
  }

  /** Takes a node as it is now. Returns the VirtualServers of which it says something else than before. */
  update(name: string, node: IPVSNode | undefined): Set<string> {
    const old = this.#reports.get(name);
    if (!node) {
      this.#reports.delete(name);
      return new Set([...old?.applied.keys() ?? [], ...old?.beyond.keys() ?? [], ...old?.failures.keys() ?? [], ...old?.backends.keys() ?? []]);
    }
    const { status, spec } = node;
    // First, for the lines of before are taken over.
    const beyond = beyondLines(node, this.#programs(), (owner) => old?.applied.get(owner) ?? old?.beyond.get(owner));
    const { applied, changed } = nextApplied(old, status?.applied ?? []);
    const next: Report = {
      node, groups: spec.directorGroups, applied, beyond,
      failures: new Map((status?.failures ?? []).map(({ virtualServer, code, message }) => [virtualServer, { code, message }])),
      backends: new Map((status?.backends ?? []).map((b) => [b.virtualServer, b])),
      bound: new Set(status?.boundVIPs ?? []),
    };
    this.#reports.set(name, next);
    for (const [owner, hash] of beyond) if (old?.beyond.get(owner) !== hash) changed.add(owner);
    for (const owner of old?.beyond.keys() ?? []) if (!beyond.has(owner)) changed.add(owner);
    for (const [key, { code, message }] of next.failures) if (old?.failures.get(key)?.message !== message || old.failures.get(key)?.code !== code) changed.add(key);
    for (const key of old?.failures.keys() ?? []) if (!next.failures.has(key)) changed.add(key);
    for (const key of new Set([...next.backends.keys(), ...old?.backends.keys() ?? []])) {
      if (!sameBackends(next.backends.get(key), old?.backends.get(key))) changed.add(key);
    }
    return changed;
  }

  /** Takes who is live now. Returns whether that is news. */
  setLive(live: ReadonlySet<string>): boolean {
    const same = live.size === this.#live.size && [...live].every((n) => this.#live.has(n));
    this.#live = live;
    return !same;
  }

  isLive(node: string): boolean { return this.#live.has(node); }

  node(name: string): IPVSNode | undefined { return this.#reports.get(name)?.node; }

  /** Directors of a group, as they speak of one VirtualServer. */
  directors(group: string, owner: string): DirectorReport[] {
    const list: DirectorReport[] = [];
    for (const [node, { groups, applied, beyond, failures, backends }] of this.#reports) {
      if (!groups.includes(group)) continue;
      const live = this.#live.has(node);
      list.push({ node, live, hash: applied.get(owner) ?? beyond.get(owner), failure: failures.get(owner), backends: backends.get(owner) });
    }
    return list;
  }

  members(group: string): string[] {
    return [...this.#reports].filter(([, r]) => r.groups.includes(group)).map(([node]) => node);
  }

  holder(vip: VirtualIP | undefined): Holder {
    if (!vip?.status) return NOBODY;
    const { activeNode = '', conditions = [] } = vip.status;
    const duplicate = conditions.find((c) => c.type === 'DuplicateAddress' && c.status === 'True');
    const unowned = conditions.find((c) => c.type === 'Owned' && c.status !== 'True');
    return { node: activeNode, live: this.#live.has(activeNode), duplicate: duplicate?.message ?? '', why: unowned?.message ?? '' };
  }
}

/**
 * Reads thousands of lines of which a few are others than before: those alone, into the map of before. They are sorted; where they are
 * not, all are read.
 */
function nextApplied(old: Report | undefined, lines: readonly string[]): { applied: Map<string, string>; changed: Set<string> } {
  const was = old?.node.status?.applied ?? [];
  const applied = old?.applied ?? new Map<string, string>();
  if (!isSorted(was) || !isSorted(lines)) {
    const next = readApplied(lines);
    return { applied: next, changed: new Set([...applied.keys(), ...next.keys()].filter((key) => applied.get(key) !== next.get(key))) };
  }
  const [gone, come]: [string[], string[]] = [[], []];
  for (let i = 0, j = 0; i < was.length || j < lines.length;) {
    const [a, b] = [was[i], lines[j]];
    if (a === b) [i, j] = [i + 1, j + 1];
    else if (b === undefined || (a !== undefined && a < b)) gone.push(was[i++]!);
    else come.push(lines[j++]!);
  }
  const [before, now] = [readApplied(gone), readApplied(come)];
  for (const key of before.keys()) applied.delete(key);
  for (const [key, hash] of now) applied.set(key, hash);
  return { applied, changed: new Set([...before.keys(), ...now.keys()]) };
}

function isSorted(lines: readonly string[]): boolean {
  for (let i = 1; i < lines.length; i++) if (lines[i - 1]! >= lines[i]!) return false;
  return true;
}

/** What a VirtualServer's status says of them; how many connections are left and until when is the node's to say. */
function sameBackends(a: BackendReport | undefined, b: BackendReport | undefined): boolean {
  return a === b || (a?.unhealthy === b?.unhealthy && a?.ignored === b?.ignored && a?.draining === b?.draining && a?.message === b?.message);
}
