// The tables that the benchmark builds: S services with D real servers each, as desired state, as ipvsadm commands, and
// as VirtualServers. One arithmetic for all of them and for per-ack.c, so that ours and the peers build the same table.
// Measures nothing.

import { API_VERSION, parseObject, type ApiObject } from '../../src/api/v1alpha1/index.ts';
import type { DesiredService } from '../../src/agent/state.ts';
import type { ServiceEntry } from '../../src/agent/ledger.ts';
import { fromBigInt } from '../../src/ip/ip.ts';
import { DestinationTable } from '../../src/kernel/ipvs/destinations.ts';
import { serviceKey, type Destination, type Service } from '../../src/kernel/ipvs/types.ts';

export interface Size {
  readonly services: number;
  readonly reals: number;
}

const FIRST_VIP = 0x0a600001n; // 10.96.0.1
const FIRST_REAL = 0xac100001n; // 172.16.0.1
/** Where the real servers lie that replace the first ones. */
const OTHER_REAL = 0xac1a0001n; // 172.26.0.1
const PORT = 80;
const TARGET_PORT = 8080;

export const vipOf = (s: number): string => fromBigInt(FIRST_VIP + BigInt(s), 'IPv4');
const realOf = (i: number, other: boolean): string => fromBigInt((other ? OTHER_REAL : FIRST_REAL) + BigInt(i), 'IPv4');
const weightOf = (i: number): number => 1 + (i % 3);

/** The table as the agent wants it, by serviceKey(). `other`: the same services with other real servers. */
export function desiredTable({ services, reals }: Size, scheduler: string, other = false): Map<string, DesiredService> {
  const table = new Map<string, DesiredService>();
  for (let s = 0; s < services; s++) {
    const service: Service = {
      family: 'IPv4', protocol: 'TCP', address: vipOf(s), port: PORT, fwmark: 0, scheduler, flags: 0, timeoutSeconds: 0, prefixLength: 32, engine: '',
    };
    const destinations = DestinationTable.from(Array.from({ length: reals }, (_, d): Destination => ({
      family: 'IPv4', address: realOf(s * reals + d, other), port: TARGET_PORT, method: 'masq', weight: weightOf(s * reals + d), upper: 0, lower: 0,
      tunnelType: 'ipip', tunnelPort: 0, tunnelFlags: 0,
    })));
    table.set(serviceKey(service), { service, destinations, drainSeconds: 0, owner: `bench/web-${s}` });
  }
  return table;
}

/** What the ledger says when all of these services are ours. */
export function ledgerOf(table: ReadonlyMap<string, DesiredService>): Record<string, ServiceEntry> {
  return Object.fromEntries([...table].map(([key, { owner }]) => [key, { owner }]));
}

/** The table as `ipvsadm -R` reads it. */
export function ipvsadmCommands({ services, reals }: Size, scheduler: string): string {
  let text = '';
  for (let s = 0; s < services; s++) {
    const service = `-t ${vipOf(s)}:${PORT}`;
    text += `-A ${service} -s ${scheduler}\n`;
    for (let d = 0; d < reals; d++) text += `-a ${service} -r ${realOf(s * reals + d, false)}:${TARGET_PORT} -m -w ${weightOf(s * reals + d)}\n`;
  }
  return text;
}

export const POOL: unknown = {
  apiVersion: API_VERSION, kind: 'VIPPool', metadata: { name: 'bench' },
  spec: { blocks: [{ cidr: '10.96.0.0/14' }], default: true, allowedNamespaces: { all: true }, allowStaticBackendCIDRs: ['172.16.0.0/12'] },
};

/** One VirtualServer as somebody writes it. `weight`: of its first real server. */
export function virtualServer(s: number, reals: number, weight = weightOf(s * reals)): unknown {
  return {
    apiVersion: API_VERSION, kind: 'VirtualServer', metadata: { name: `web-${s}`, namespace: 'bench' },
    spec: {
      vip: { addresses: [vipOf(s)] }, mode: 'NAT', nat: { sourceAddress: 'Preserve' }, scheduler: { name: 'rr' },
      ports: [{ port: PORT, targetPort: TARGET_PORT }],
      backends: [{ static: { endpoints: Array.from({ length: reals }, (_, d) => ({ address: realOf(s * reals + d, false), weight: d === 0 ? weight : weightOf(s * reals + d) })) } }],
    },
  };
}

/** An object as the API reads it. Throws when it is refused, which would be a fault of this file. */
export function parsed(value: unknown): ApiObject {
  const result = parseObject(value);
  if (!result.ok) throw new Error(`the benchmark's own object is refused: ${JSON.stringify(result.problems)}`);
  return result.object;
}
