/**
 * VirtualIPs: which there should be, from who has which address. Pure. Creating one is how an address is claimed: the API server lets
 * only one controller do it.
 */
import { isDeepStrictEqual } from 'node:util';
import { API_VERSION, GROUP_LABEL, virtualIPName, type VirtualIP, type VirtualIPClaim } from '../../api/v1alpha1/index.ts';
import type { ServerObjects } from '../../api/v1alpha1/index.ts';
import { familyOf } from '../../ip/ip.ts';
import type { Memory } from '../compile/memory.ts';
import type { Verdict } from '../compile/compile.ts';
import { hasLabels } from './writer.ts';

export interface ClaimedInput {
  readonly memory: Pick<Memory, 'claims' | 'ports'>;
  readonly servers: ReadonlyMap<string, Pick<ServerObjects['VirtualServer'], 'metadata'>>;
  readonly verdicts: ReadonlyMap<string, Pick<Verdict, 'accepted' | 'pool' | 'pools' | 'group'>>;
  /** VirtualIPs that there are. */
  readonly present: ReadonlyMap<string, VirtualIP>;
  /** The pool that has an address, where nothing else tells; '' where none has. */
  readonly poolOf: (address: string) => string;
  /** Whether a VirtualServer, as namespace/name, exists and cannot be read now: its claims stay as they are written. */
  readonly unread: (owner: string) => boolean;
}

/** By name. A VirtualServer that is refused now keeps what it had: its pool and group are those of before. */
export function desiredVirtualIPs({ memory, servers, verdicts, present, poolOf, unread }: ClaimedInput): Map<string, VirtualIP> {
  const claims = new Map<string, { claims: VirtualIPClaim[]; pool: string; group: string | null }>();
  const entryOf = (address: string) => {
    let entry = claims.get(address);
    if (!entry) claims.set(address, entry = { claims: [], pool: '', group: null });
    return entry;
  };
  for (const owner of Object.keys(memory.claims)) {
    const server = servers.get(owner);
    if (!server) continue;
    const verdict = verdicts.get(owner);
    const { namespace, name, uid = '' } = server.metadata;
    for (const [i, address] of memory.claims[owner]!.entries()) {
      const entry = entryOf(address);
      entry.claims.push({ namespace, name, uid, ports: [...memory.ports[owner] ?? []] });
      if (verdict?.pool) entry.pool = verdict.pools?.[i] ?? verdict.pool;
      if (verdict?.accepted) entry.group = verdict.group;
    }
  }
  for (const { spec } of present.values()) {
    for (const claim of spec.claims) {
      const owner = `${claim.namespace}/${claim.name}`;
      if (unread(owner) && !servers.has(owner)) entryOf(spec.address).claims.push(claim);
    }
  }
  const wanted = new Map<string, VirtualIP>();
  for (const [address, entry] of claims) {
    const name = virtualIPName(address);
    const before = present.get(name)?.spec;
    const directorGroup = entry.group ?? before?.directorGroup ?? '';
    // In one order, whatever the order in which they came.
    entry.claims.sort(byOwner);
    wanted.set(name, {
      apiVersion: API_VERSION, kind: 'VirtualIP',
      metadata: { name, labels: { [GROUP_LABEL]: directorGroup } },
      spec: {
        address, family: familyOf(address)!, poolRef: { name: entry.pool || before?.poolRef.name || poolOf(address) || 'unknown' },
        directorGroup, claims: entry.claims,
      },
    });
  }
  return wanted;
}

function byOwner(a: VirtualIPClaim, b: VirtualIPClaim): number {
  const [x, y] = [`${a.namespace}/${a.name}`, `${b.namespace}/${b.name}`];
  return x < y ? -1 : x > y ? 1 : 0;
}

export function sameVirtualIP(present: VirtualIP, wanted: VirtualIP): boolean {
  return isDeepStrictEqual(present.spec, wanted.spec) && hasLabels(present, wanted);
}
