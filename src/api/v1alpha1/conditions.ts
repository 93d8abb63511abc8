/**
 * Every condition and every reason, with its meaning in one line. The same words are in status, in logs, in events and in
 * documentation; none exists outside this table. Not for what is wrong inside one object (problems.ts).
 */

/** When a condition is there at all: always, or only while it is True. */
export type Polarity = 'always' | 'onlyWhenTrue';

interface ConditionEntry {
  readonly meaning: string;
  readonly polarity: Polarity;
  readonly reasons: Readonly<Record<string, string>>;
}

export const CONDITIONS = {
  Accepted: {
    meaning: 'The object is valid and the addresses it asks for are its own.',
    polarity: 'always',
    reasons: {
      Accepted: 'The object is valid and holds its addresses.',
      Pending: 'Not looked at yet.',
      InvalidSpec: 'The object contradicts itself or the API; the message says where.',
      PoolNotFound: 'The pool it names, or a default pool, does not exist.',
      NamespaceNotAllowed: 'The pool does not admit this namespace.',
      AddressOutsidePools: 'The address it asks for is in no pool.',
      AddressReserved: 'The address belongs to a node, a gateway, the cluster, or to no host at all.',
      AddressInUse: 'Another VirtualServer holds the address.',
      PoolExhausted: 'The pool has no free address, or the quota of the namespace is used up.',
      PortConflict: 'Another VirtualServer has this address, protocol and port.',
      Suspended: 'spec.suspend is true: the claim is kept, nothing is served.',
    },
  },
  ResolvedRefs: {
    meaning: 'Everything the object refers to exists and may be used.',
    polarity: 'always',
    reasons: {
      ResolvedRefs: 'Every reference is resolved.',
      ServiceNotFound: 'The Service does not exist.',
      PortNotFound: 'The Service has no such port.',
      RefNotPermitted: 'The reference leaves the namespace without permission.',
      EndpointNotPermitted: 'A real server may not be used: the pool does not allow static ones there, or its address is reserved.',
      UnsupportedBackendForMode: 'This forwarding mode cannot reach this kind of real server.',
    },
  },
  Programmed: {
    meaning: 'Every live director runs this generation.',
    polarity: 'always',
    reasons: {
      Programmed: 'Every live director runs this generation.',
      Pending: 'Not reported by any director yet.',
      NoDirector: 'No node is a director for this address.',
      PartiallyProgrammed: 'Some directors run another generation, or failed.',
      KernelFeatureMissing: 'A director has a kernel that cannot do what is asked for.',
      ForeignConflict: "Something that is not ours has this service or address; it is not touched.",
      Suspended: 'spec.suspend is true.',
    },
  },
  Ready: {
    meaning: 'Clients are served: accepted, programmed, owned, and at least one real server takes connections.',
    polarity: 'always',
    reasons: {
      Ready: 'Clients are served.',
      NotAccepted: 'See the condition Accepted.',
      NotProgrammed: 'See the condition Programmed.',
      NoReadyBackends: 'No real server takes new connections.',
      NoOwner: 'No director holds the address.',
      Suspended: 'spec.suspend is true.',
    },
  },
  Stalled: {
    meaning: 'Nothing more happens until somebody changes something.',
    polarity: 'onlyWhenTrue',
    reasons: {
      InvalidSpec: 'The object has to be corrected.',
      AddressUnavailable: 'The address cannot be given; the condition Accepted says why.',
      KernelFeatureMissing: 'A director needs another kernel, or the object another setting.',
      ForeignConflict: 'What is not ours has to make room.',
    },
  },
  Degraded: {
    meaning: 'It works, but not as it should.',
    polarity: 'onlyWhenTrue',
    reasons: {
      DuplicateAddress: 'Another host answers for the VIP.',
      UsingSnapshot: 'Served from the snapshot: there is no readable manifest, or no news from the controller.',
      UsingLastGood: 'The newest manifest is wrong; the last good one stays in force.',
      EndpointsExcluded: 'Some real servers cannot be used; status.excluded names them.',
    },
  },
} as const satisfies Record<string, ConditionEntry>;

export type ConditionType = keyof typeof CONDITIONS;
export type ReasonOf<T extends ConditionType> = keyof (typeof CONDITIONS)[T]['reasons'];

/** Why one real server is not used: status.excluded and logs. */
export const EXCLUSION_REASONS = {
  PortRemapInDR: 'DR and TUN cannot rewrite the port.',
  AddressReserved: 'The address belongs to a node, a gateway or the cluster, or to no host at all.',
  RealServerIsVIP: 'The address is one of our VIPs: packets would go in circles.',
  EndpointNotPermitted: 'The pool does not allow static real servers there.',
  FamilyMismatch: 'Another address family than the VIP, without a tunnel.',
  UnsupportedBackendForMode: 'This forwarding mode cannot reach it.',
} as const;

export type ExclusionReason = keyof typeof EXCLUSION_REASONS;

/** A condition as the Kubernetes API conventions have it. */
export interface Condition<T extends ConditionType = ConditionType> {
  type: T;
  status: 'True' | 'False' | 'Unknown';
  reason: ReasonOf<T> & string;
  message: string;
  /** RFC 3339. */
  lastTransitionTime: string;
  observedGeneration?: number;
}
