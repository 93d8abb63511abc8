/**
 * What was read of a cluster for one VirtualServer, before anybody judged it: objects, or why they could not be read. Values only;
 * reading is explain-read.ts, judging explain-case.ts and what it calls.
 */
import type { DirectorGroup, IPVSNode, VirtualIP, VirtualServerProgram, VirtualServerStatus } from '../api/v1alpha1/index.ts';
import type { Endpoints, EndpointSlice, Node, ReferenceGrant, Service } from '../controller/core.ts';
import { familyOf } from '../ip/ip.ts';
import type { Lease } from '../kube/lease.ts';

/** Why something is not known. */
export interface Unread {
  /** 'forbidden': the account may not; 'noKind': the cluster has no such kind; 'failed': anything else. */
  readonly why: 'forbidden' | 'noKind' | 'failed';
  readonly text: string;
  /** As `kubectl auth can-i` takes it: `list leases.coordination.k8s.io -n ipvs-system`. */
  readonly permission: string;
}

export type Read<T> = { readonly value: T } | { readonly unread: Unread };

/** A Lease, and whether its holder is live: it was renewed while we looked, or not long before. */
export interface SeenLease {
  readonly lease: Lease;
  readonly live: boolean;
}

export interface Facts {
  readonly namespace: string;
  readonly name: string;
  /** Where the operator runs and its Leases are. */
  readonly systemNamespace: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** As the server has it; null: there is none. */
  readonly server: Read<unknown>;
  readonly programs: Read<readonly VirtualServerProgram[]>;
  /** By address: those that addressesOf() names. Null: there is none. */
  readonly virtualIPs: ReadonlyMap<string, Read<VirtualIP | null>>;
  /** Of the VirtualIPs and programs, by name. Null: there is none. */
  readonly groups: ReadonlyMap<string, Read<DirectorGroup | null>>;
  readonly ipvsNodes: Read<readonly IPVSNode[]>;
  /** All of systemNamespace, by name. */
  readonly leases: Read<ReadonlyMap<string, SeenLease>>;
  /** Of each Service that the backends name, as `namespace/name`. */
  readonly services: ReadonlyMap<string, Read<Service | null>>;
  readonly slices: ReadonlyMap<string, Read<readonly EndpointSlice[]>>;
  /** Only for Services without slices. */
  readonly endpoints: ReadonlyMap<string, Read<Endpoints | null>>;
  /** Read when a backend is `nodes`. */
  readonly nodes: Read<readonly Node[]>;
  /** Of each other namespace whose Services the backends name. */
  readonly grants: ReadonlyMap<string, Read<readonly ReferenceGrant[]>>;
  /** Objects that break their schema, each with what is wrong: they were left out. */
  readonly bad: readonly string[];
}

/** The addresses to look after: those the controller reports, and those of the program. */
export function addressesOf(status: VirtualServerStatus | undefined, programs: readonly VirtualServerProgram[]): string[] {
  const all = [...(status?.addresses ?? []).map((a) => a.value), ...programs.flatMap((p) => p.spec.addresses.map((a) => a.address))];
  return [...new Set(all)].filter((a) => familyOf(a) !== null);
}

/** The value, or undefined where it could not be read. */
export function valueOf<T>(read: Read<T> | undefined): T | undefined {
  return read !== undefined && 'value' in read ? read.value : undefined;
}
