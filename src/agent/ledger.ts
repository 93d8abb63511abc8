/**
 * Ledger: what on this node is ours. The only memory the planner trusts, because nothing else can tell ours from foreign.
 * Written before the kernel is changed (additions) and after (removals), so that a kill at any moment leaves at worst an entry
 * for something that does not exist yet. Values and pure functions; files are state-folder.ts's business.
 */
import type { SyncDaemon, Timeouts } from '../kernel/ipvs/types.ts';
import { ADDRESS_PROTOCOL, type FouPort, type NetObservation, type Tunnel, type VipAddress } from '../kernel/net/types.ts';

export const LEDGER_VERSION = 1;

export interface Ledger {
  readonly version: typeof LEDGER_VERSION;
  /**
   * True when no trustworthy ledger was found: until the first complete reconcile, what stands where ours should stand is adopted
   * and nothing at all is deleted.
   */
  readonly fresh: boolean;
  /** By serviceKey(). */
  readonly services: Readonly<Record<string, ServiceEntry>>;
  /** By `link address`. */
  readonly addresses: Readonly<Record<string, VipAddress>>;
  readonly tunnels: Readonly<Record<string, Tunnel>>;
  /** By `family port`. */
  readonly fou: Readonly<Record<string, FouPort>>;
  /** What stood there before us, by path. */
  readonly sysctls: Readonly<Record<string, SysctlEntry>>;
  /** Timeouts before us, and ours; null while they are not ours. */
  readonly timeouts: { readonly original: Timeouts; readonly value: Timeouts } | null;
  readonly syncDaemons: readonly SyncDaemon[];
  /** Whether a packet-filter table or chains of ours may exist. */
  readonly rules: boolean;
}

export interface SysctlEntry {
  readonly original: string;
  readonly value: string;
  /** A VirtualServer that wanted it; absent: a side effect of another. */
  readonly owner?: string;
}

export interface ServiceEntry {
  readonly owner: string;
  /** Destinations found in a service that we adopted and that no manifest names: left alone, reported. destinationKey()s. */
  readonly kept?: readonly string[];
}

export function emptyLedger(fresh: boolean): Ledger {
  return {
    version: LEDGER_VERSION, fresh, services: {}, addresses: {}, tunnels: {}, fou: {}, sysctls: {}, timeouts: null, syncDaemons: [], rules: false,
  };
}

/** Reads a parsed JSON value. Null when it is no ledger of this version: then the caller starts with a fresh one. */
export function readLedger(value: unknown): Ledger | null {
  if (typeof value !== 'object' || value === null) return null;
  const v = value as Partial<Ledger>;
  const maps = [v.services, v.addresses, v.tunnels, v.fou, v.sysctls];
  if (v.version !== LEDGER_VERSION || !maps.every((m) => typeof m === 'object' && m !== null) || !Array.isArray(v.syncDaemons)) return null;
  return { ...emptyLedger(false), ...v, fresh: v.fresh === true } as Ledger;
}

/** Whether nothing at all is ours. */
export function ownsNothing(ledger: Ledger): boolean {
  const empty = (o: object) => Object.keys(o).length === 0;
  return empty(ledger.services) && empty(ledger.addresses) && empty(ledger.tunnels) && empty(ledger.fou) && empty(ledger.sysctls)
    && ledger.timeouts === null && ledger.syncDaemons.length === 0 && !ledger.rules;
}

/** Addresses that bear our mark. */
export function markedAddresses({ addresses }: NetObservation): Ledger['addresses'] {
  const marked = addresses.filter((a) => a.protocol === ADDRESS_PROTOCOL);
  return Object.fromEntries(marked.map(({ link, family, address }) => [`${link} ${address}`, { link, family, address }]));
}
