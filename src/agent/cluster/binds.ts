/**
 * Binds: what a node is told as a real server, with those that are not told any more and go on for a while, as programs of their own. So VIP,
 * ARP policy, tunnels and MSS come from the one path that also a host without a cluster takes (desired-real-server.ts). Pure.
 */
import type { IPVSNodeBind } from '../../api/v1alpha1/index.ts';
import type { Program, ProgramSpec } from '../../api/v1alpha1/program.ts';
import type { Receiving } from '../duties.ts';

/** A bind, and until when it goes on although nobody tells it any more; null: it is told. Milliseconds since the epoch: it outlives restarts. */
export interface BindRecord {
  readonly bind: IPVSNodeBind;
  readonly until: number | null;
}

/** How long a VIP stays bound after the last real server left: rolling restarts come back, and directors may still send. Milliseconds. */
export const LINGER_MS = 600_000;

/**
 * What is bound from now on. `lingerMs` says for each VirtualServer how long, which is never less than its connections may take to drain.
 * Returns the very list when nothing changed.
 */
export function nextBinds(
  records: readonly BindRecord[],
  told: readonly IPVSNodeBind[],
  lingerMs: (virtualServer: string) => number,
  now: number,
): readonly BindRecord[] {
  const wanted = new Map(told.map((bind) => [keyOf(bind), bind]));
  const next: BindRecord[] = [];
  let changed = false;
  for (const record of records) {
    const key = keyOf(record.bind);
    if (wanted.delete(key)) {
      changed ||= record.until !== null;
      next.push(record.until === null ? record : { ...record, until: null });
    } else if (record.until === null) {
      changed = true;
      next.push({ ...record, until: now + lingerMs(record.bind.virtualServer) });
    } else if (record.until > now) {
      next.push(record);
    } else {
      changed = true;
    }
  }
  for (const bind of wanted.values()) next.push({ bind, until: null });
  return changed || wanted.size > 0 ? next : records;
}

/** When the next of them is over; null: none is. */
export function nextEnd(records: readonly BindRecord[]): number | null {
  return records.reduce<number | null>((first, { until }) => (until !== null && (first === null || until < first) ? until : first), null);
}

/** What this node receives for, by VirtualServer. */
export function receivingOf(records: readonly BindRecord[]): Map<string, Receiving[]> {
  const receives = new Map<string, Receiving[]>();
  for (const { bind: { virtualServer, address: vip, localAddress } } of records) {
    const list = receives.get(virtualServer);
    if (list) list.push({ vip, localAddress });
    else receives.set(virtualServer, [{ vip, localAddress }]);
  }
  return receives;
}

/**
 * One program a VirtualServer, for those of which this node does not run the real one. A VirtualServer that changed its mode or tunnel has two
 * for a while: the old way goes on until no director uses it; its owner bears the way in brackets.
 */
export function bindPrograms(node: string, records: readonly BindRecord[]): Map<string, Program> {
  const ways = new Map<string, { readonly told: boolean; readonly binds: IPVSNodeBind[] }>();
  for (const { bind, until } of records) {
    const key = JSON.stringify([bind.virtualServer, bind.mode, bind.tunnel]);
    const way = ways.get(key);
    if (way) way.binds.push(bind);
    if (!way || (until === null && !way.told)) ways.set(key, { told: until === null, binds: way?.binds ?? [bind] });
  }
  const programs = new Map<string, Program>();
  for (const { binds } of [...ways.values()].sort((a, b) => Number(b.told) - Number(a.told))) {
    const { virtualServer, mode, tunnel } = binds[0]!;
    const through = tunnel ? ` ${tunnel.encapsulation} ${tunnel.port} ${tunnel.checksum}` : '';
    const owner = programs.has(virtualServer) ? `${virtualServer} (${mode}${through})` : virtualServer;
    programs.set(owner, { owner, spec: specOf(node, binds) });
  }
  return programs;
}

/** The VirtualServer of a program's owner, which may be one of a bind. */
export function virtualServerOf(owner: string): string {
  const bracket = owner.indexOf(' (');
  return bracket < 0 ? owner : owner.slice(0, bracket);
}

/** No director ever reads it, so most of it says nothing; a program without a service would be none. */
function specOf(node: string, binds: readonly IPVSNodeBind[]): ProgramSpec {
  const { mode, tunnel } = binds[0]!;
  const addresses = new Map(binds.map(({ address, family }) => [address, family]));
  const locals = new Set(binds.map((b) => b.localAddress));
  return {
    directorGroup: '', contentHash: '', mode, sourceAddress: 'Preserve', tunnel: tunnel ?? null, persistence: null,
    addresses: [...addresses].map(([address, family]) => ({ address, family })).sort((a, b) => (a.address < b.address ? -1 : 1)),
    scheduler: { name: 'rr', fallback: false, portAware: false, onePacket: false },
    services: [{ ports: [{ name: '', protocol: 'TCP', port: 1, endPort: 1 }], mark: 0, realServers: [...locals].sort().map((address) => `${address}|0|1|${node}`) }],
    connectionLimits: { upper: 0, lower: 0 }, drainTimeoutSeconds: 0,
  };
}

function keyOf({ address, mode, tunnel, localAddress, virtualServer }: IPVSNodeBind): string {
  return JSON.stringify([virtualServer, address, localAddress, mode, tunnel && [tunnel.encapsulation, tunnel.port, tunnel.checksum]]);
}
