/**
 * Which real servers a VirtualServer may have, with their weights; and which it may not, with the reason. Pure.
 */
import type { ExclusionReason } from '../../api/v1alpha1/conditions.ts';
import type { VirtualServer } from '../../api/v1alpha1/index.ts';
import { familyOf, type Family } from '../../ip/ip.ts';
import { inRanges, type Pool } from './pools.ts';

export interface Exclusion {
  readonly backend: string;
  readonly reason: ExclusionReason;
  readonly message: string;
}

export interface Endpoint {
  readonly address: string;
  readonly weight: number;
}

export interface Endpoints {
  readonly eligible: readonly Endpoint[];
  /** At most EXCLUDED_SHOWN; `excludedCount` has the whole number. */
  readonly excluded: readonly Exclusion[];
  readonly excludedCount: number;
}

/** How many exclusions a status shows (api.md). */
export const EXCLUDED_SHOWN = 16;

export function endpointsOf(server: VirtualServer, pool: Pool, addresses: readonly string[], vips: ReadonlyMap<string, string>, connectionSync: boolean): Endpoints {
  const families = new Set(addresses.map((a) => familyOf(a)!));
  const eligible = new Map<string, Endpoint>();
  const excluded: Exclusion[] = [];
  let excludedCount = 0;
  for (const backend of server.spec.backends) {
    for (const { address, weight } of backend.static.endpoints) {
      if (eligible.has(address)) continue;
      const why = unfit(server, pool, address, families, vips, connectionSync);
      if (!why) {
        eligible.set(address, { address, weight: weight ?? backend.weight });
      } else {
        excludedCount++;
        if (excluded.length < EXCLUDED_SHOWN) excluded.push({ backend: address, ...why });
      }
    }
  }
  return { eligible: [...eligible.values()], excluded, excludedCount };
}

function unfit(server: VirtualServer, pool: Pool, address: string, families: ReadonlySet<Family>, vips: ReadonlyMap<string, string>, connectionSync: boolean): Omit<Exclusion, 'backend'> | null {
  const holder = vips.get(address);
  if (holder) return { reason: 'EndpointNotPermitted', message: `${address} is the VIP of ${holder}: a VIP is never a real server` };
  if (!inRanges(pool.staticBackends, address)) {
    return { reason: 'EndpointNotPermitted', message: `VIPPool ${pool.name} does not permit ${address} as a static backend; add its network to spec.allowStaticBackendCIDRs` };
  }
  const family = familyOf(address)!;
  if (families.has(family)) return null;
  if (server.spec.mode !== 'TUN') {
    return { reason: 'UnsupportedBackendForMode', message: `${address} is ${family} but the VIP is not; only mode TUN crosses families` };
  }
  return connectionSync
    ? { reason: 'UnsupportedBackendForMode', message: `${address} is ${family} but the VIP is not, and the director group has connectionSync: the kernel refuses both together` }
    : null;
}
