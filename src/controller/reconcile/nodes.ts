/**
 * IPVSNodes: what each node is told: which groups it directs for, which VIPs it receives for, which addresses are never VIPs. Pure.
 */
import { isDeepStrictEqual } from 'node:util';
import { API_VERSION, MAX_RESERVED, type IPVSNode, type IPVSNodeBind } from '../../api/v1alpha1/index.ts';
import type { GroupSettings, ProgramTunnel } from '../../api/v1alpha1/program.ts';
import { familyOf } from '../../ip/ip.ts';
import type { Verdict } from '../compile/compile.ts';
import type { Node } from '../core.ts';

export interface NodesInput {
  readonly nodes: Iterable<Node>;
  readonly groups: Iterable<GroupSettings>;
  /** Verdicts that bind nodes, by VirtualServer, with the tunnel of their program. */
  readonly binding: Iterable<readonly [owner: string, verdict: Pick<Verdict, 'addresses' | 'binds'>, mode: 'DR' | 'TUN', tunnel: ProgramTunnel | null]>;
  readonly reserved: readonly string[];
  /** Nodes that have an IPVSNode already: they keep it, empty, for the agent there to clean up by. */
  readonly present: ReadonlySet<string>;
}

/** Groups that select a node, sorted. A group without a selector has every node. */
export function groupsOf(node: Node, groups: Iterable<GroupSettings>): string[] {
  const labels = node.metadata.labels ?? {};
  const selects = (g: GroupSettings) => Object.entries(g.nodeSelector ?? {}).every(([key, value]) => labels[key] === value);
  return [...groups].filter(selects).map((g) => g.name).sort();
}

export function desiredNodes({ nodes, groups, binding, reserved, present }: NodesInput): Map<string, IPVSNode> {
  const binds = new Map<string, IPVSNodeBind[]>();
  for (const [virtualServer, verdict, mode, tunnel] of binding) {
    for (const { node, localAddress } of verdict.binds) {
      for (const address of verdict.addresses) {
        const list = binds.get(node);
        const bind: IPVSNodeBind = { address, family: familyOf(address)!, mode, ...(tunnel === null ? {} : { tunnel }), localAddress, virtualServer };
        if (list) list.push(bind);
        else binds.set(node, [bind]);
      }
    }
  }
  const all = [...groups];
  const wanted = new Map<string, IPVSNode>();
  for (const node of nodes) {
    const { name, uid } = node.metadata;
    const directorGroups = groupsOf(node, all);
    const own = (binds.get(name) ?? []).sort(byAddress);
    if (directorGroups.length === 0 && own.length === 0 && !present.has(name)) continue;
    wanted.set(name, {
      apiVersion: API_VERSION, kind: 'IPVSNode',
      metadata: { name, ...(uid === undefined ? {} : { ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name, uid }] }) },
      spec: { directorGroups, realServer: { binds: own }, reservedAddresses: reserved.slice(0, MAX_RESERVED) },
    });
  }
  return wanted;
}

export function sameNode(present: IPVSNode, wanted: IPVSNode): boolean {
  return isDeepStrictEqual(present.spec, wanted.spec);
}

function byAddress(a: IPVSNodeBind, b: IPVSNodeBind): number {
  const [x, y] = [`${a.address} ${a.virtualServer} ${a.localAddress}`, `${b.address} ${b.virtualServer} ${b.localAddress}`];
  return x < y ? -1 : x > y ? 1 : 0;
}
