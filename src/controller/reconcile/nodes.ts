/**
 * IPVSNodes: what each node is told: which groups it directs for, which VIPs it receives for, which addresses are never VIPs. Pure.
 */
import { isDeepStrictEqual } from 'node:util';
import { API_VERSION, MAX_BINDS, MAX_RESERVED, type IPVSNode, type IPVSNodeBind } from '../../api/v1alpha1/index.ts';
import type { GroupSettings, ProgramTunnel } from '../../api/v1alpha1/program.ts';
import { MAX_GROUPS } from '../../api/v1alpha1/vocabulary.ts';
import { familyOf } from '../../ip/ip.ts';
import type { Verdict } from '../compile/compile.ts';
import type { Node } from '../core.ts';

/** What of an accepted VirtualServer binds nodes. It outlives a later refusal, as its program does. */
export interface Binding extends Pick<Verdict, 'addresses' | 'binds'> {
  readonly mode: 'DR' | 'TUN';
  /** Of its program. */
  readonly tunnel: ProgramTunnel | null;
}

export interface NodesInput {
  readonly nodes: Iterable<Node>;
  readonly groups: Iterable<GroupSettings>;
  /** Groups that cannot be read now, or are gone while somebody is served by them: nodes go on directing for them, and no other node begins. */
  readonly keptGroups: ReadonlySet<string>;
  /** By VirtualServer. */
  readonly bindings: Iterable<readonly [owner: string, binding: Binding]>;
  readonly reserved: readonly string[];
  /** IPVSNodes that there are. A node keeps its own, empty, for the agent there to clean up by. */
  readonly present: (name: string) => IPVSNode | undefined;
  /** Whether a VirtualServer is served in a form that cannot be decided about now: who receives for it goes on. */
  readonly kept: (owner: string) => boolean;
  /** Whether directors may still send packets of a VirtualServer to a node: then it goes on receiving. */
  readonly sends: (owner: string, node: string) => boolean;
}

export interface WantedNodes {
  readonly byName: ReadonlyMap<string, IPVSNode>;
  /** Whether some node only waits for directors to stop sending: to be looked at again when they were told. */
  readonly waiting: boolean;
  /** By node, how many binds its object cannot hold. Directors send it nothing for those VIPs. */
  readonly overfull: ReadonlyMap<string, number>;
}

/** Groups that select a node, sorted. A group without a selector has every node. */
export function groupsOf(node: Node, groups: Iterable<GroupSettings>): string[] {
  const labels = node.metadata.labels ?? {};
  const selects = (g: GroupSettings) => Object.entries(g.nodeSelector ?? {}).every(([key, value]) => labels[key] === value);
  return [...groups].filter(selects).map((g) => g.name).sort();
}

export function desiredNodes({ nodes, groups, keptGroups, bindings, reserved, present, kept, sends }: NodesInput): WantedNodes {
  const binds = new Map<string, Map<string, IPVSNodeBind>>();
  for (const [virtualServer, { binds: list, addresses, mode, tunnel }] of bindings) {
    for (const { node, localAddress } of list) {
      let own = binds.get(node);
      if (!own) binds.set(node, own = new Map());
      for (const address of addresses) {
        const bind: IPVSNodeBind = { address, family: familyOf(address)!, mode, ...(tunnel === null ? {} : { tunnel }), localAddress, virtualServer };
        own.set(identity(bind), bind);
      }
    }
  }
  const all = [...groups].filter((g) => !keptGroups.has(g.name));
  const byName = new Map<string, IPVSNode>();
  const overfull = new Map<string, number>();
  let waiting = false;
  for (const node of nodes) {
    const { name, uid } = node.metadata;
    const before = present(name)?.spec;
    const directorGroups = fitting(
      [...groupsOf(node, all), ...(before?.directorGroups ?? []).filter((g) => keptGroups.has(g))].sort(),
      before?.directorGroups, (g) => g, MAX_GROUPS,
    );
    const own = binds.get(name) ?? new Map<string, IPVSNodeBind>();
    for (const bind of before?.realServer.binds ?? []) {
      const { virtualServer } = bind;
      const goesOn = kept(virtualServer);
      if (own.has(identity(bind)) || !(goesOn || sends(virtualServer, name))) continue;
      own.set(identity(bind), bind);
      if (!goesOn) waiting = true;
    }
    if (directorGroups.length === 0 && own.size === 0 && before === undefined) continue;
    if (own.size > MAX_BINDS) overfull.set(name, own.size - MAX_BINDS);
    byName.set(name, {
      apiVersion: API_VERSION, kind: 'IPVSNode',
      metadata: { name, ...(uid === undefined ? {} : { ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name, uid }] }) },
      spec: {
        directorGroups, realServer: { binds: fitting([...own.values()].sort(byAddress), before?.realServer.binds, identity, MAX_BINDS) },
        // Of more than that the agent's own look is not sure. The controller gives none of them away.
        reservedAddresses: reserved.slice(0, MAX_RESERVED),
      },
    });
  }
  return { byName, waiting, overfull };
}

/** As many of a list as an object may hold, in its order. Those that the node has already go first: a VIP that is new takes no other's place. */
function fitting<T>(wanted: readonly T[], before: readonly T[] | undefined, nameOf: (one: T) => string, most: number): T[] {
  if (wanted.length <= most) return [...wanted];
  const had = new Set(before?.map(nameOf));
  const chosen = new Set([true, false].flatMap((known) => wanted.filter((one) => had.has(nameOf(one)) === known)).slice(0, most));
  return wanted.filter((one) => chosen.has(one));
}

export function sameNode(present: IPVSNode, wanted: IPVSNode): boolean {
  return isDeepStrictEqual(present.spec, wanted.spec);
}

/** What makes two binds one: only how packets arrive may change. */
function identity({ address, virtualServer, localAddress }: IPVSNodeBind): string {
  return `${address} ${virtualServer} ${localAddress}`;
}

function byAddress(a: IPVSNodeBind, b: IPVSNodeBind): number {
  const [x, y] = [identity(a), identity(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}
