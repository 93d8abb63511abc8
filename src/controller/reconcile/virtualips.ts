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
  readonly verdicts: ReadonlyMap<string, Pick<Verdict, 'accepted' | 'pool' | 'group'>>;
  /** A VirtualIP as it is; by name. */
  readonly present: (name: string) => VirtualIP | undefined;
}

/** By name. A VirtualServer that is refused now keeps what it had: its pool and group are those of before. */
export function desiredVirtualIPs({ memory, servers, verdicts, present }: ClaimedInput): Map<string, VirtualIP> {
  const claims = new Map<string, { claims: VirtualIPClaim[]; pool: string; group: string }>();
  for (const owner of Object.keys(memory.claims).sort()) {
    const server = servers.get(owner);
    if (!server) continue;
    const verdict = verdicts.get(owner);
    const { namespace, name, uid = '' } = server.metadata;
    for (const address of memory.claims[owner]!) {
      let entry = claims.get(address);
      if (!entry) claims.set(address, entry = { claims: [], pool: '', group: '' });
      entry.claims.push({ namespace, name, uid, ports: [...memory.ports[owner] ?? []] });
      if (verdict?.accepted) Object.assign(entry, { pool: verdict.pool, group: verdict.group });
    }
  }
  const wanted = new Map<string, VirtualIP>();
  for (const [address, entry] of claims) {
    const name = virtualIPName(address);
    const before = present(name)?.spec;
    const directorGroup = entry.pool ? entry.group : before?.directorGroup ?? '';
    wanted.set(name, {
      apiVersion: API_VERSION, kind: 'VirtualIP',
      metadata: { name, labels: { [GROUP_LABEL]: directorGroup } },
      spec: { address, family: familyOf(address)!, poolRef: { name: entry.pool || before?.poolRef.name || 'unknown' }, directorGroup, claims: entry.claims },
    });
  }
  return wanted;
}

export function sameVirtualIP(present: VirtualIP, wanted: VirtualIP): boolean {
  return isDeepStrictEqual(present.spec, wanted.spec) && hasLabels(present, wanted);
}
