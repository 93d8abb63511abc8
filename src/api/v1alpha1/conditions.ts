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

/** Conditions of a VirtualServer. */
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
      PortsUnserved: 'Some of its ports have no real server that takes connections, and others have.',
      EndpointsExcluded: 'Some real servers cannot be used; status.excluded names them.',
      ChecksIgnored: 'Health checks fail and are not obeyed: too few others are up, or everything behind one interface failed at once.',
      InvalidNodeWeight: 'The label ipvs-operator.dev/weight of a node is no whole number from 0 to 65535, and does not count.',
      InvalidPodWeight: 'The annotation ipvs-operator.dev/weight of a Pod is no whole number from 0 to 65535, and does not count.',
      PodsUnknown: 'Weights of Pods are asked for (podWeights) and do not count, as the controller cannot list Pods.',
    },
  },
} as const satisfies Record<string, ConditionEntry>;

const VIP_POOL = {
  Ready: {
    meaning: 'The pool gives its addresses to those who may have them. True also when it has none left.',
    polarity: 'always',
    reasons: {
      Ready: 'Addresses can be taken from it.',
      Pending: 'Not looked at yet.',
      InvalidSpec: 'The object contradicts itself or the API; the message says where.',
      DirectorGroupNotFound: 'The DirectorGroup it names does not exist, or it names none and there are several.',
      PoolOverlap: 'Another pool has some of its addresses.',
      AddressReserved: 'Some of its addresses belong to nodes or to the cluster; those are not given.',
      PoolExhausted: 'Every address is in use; who needs another one is told so.',
      Disabled: 'spec.disabled is true: claims stay, new ones are refused.',
    },
  },
} as const satisfies Record<string, ConditionEntry>;

const DIRECTOR_GROUP = {
  Ready: {
    meaning: 'At least one node of the group can hold VIPs.',
    polarity: 'always',
    reasons: {
      Ready: 'At least one node can hold VIPs.',
      Pending: 'Not looked at yet.',
      InvalidSpec: 'The object contradicts itself or the API; the message says where.',
      NoMembers: 'No node has the labels of spec.nodeSelector.',
      NoLiveMember: 'No agent of the group is live.',
    },
  },
  Degraded: {
    meaning: 'It works, but not as it should.',
    polarity: 'onlyWhenTrue',
    reasons: {
      NoRedundancy: 'Only one node of the group is live: when it fails, nobody takes over.',
      MemberLost: 'A node of the group is not live; the others hold its VIPs.',
    },
  },
} as const satisfies Record<string, ConditionEntry>;

const VIRTUAL_IP = {
  Claimed: {
    meaning: 'A VirtualServer has a right to the address.',
    polarity: 'always',
    reasons: {
      Claimed: 'At least one VirtualServer has the address.',
      Released: 'No VirtualServer has it any more; it is being given back.',
    },
  },
  Owned: {
    meaning: 'A director holds the address and answers for it.',
    polarity: 'always',
    reasons: {
      Owned: 'A director holds the address; status.activeNode names it.',
      Pending: 'No director has taken it yet.',
      OwnerLost: 'Its director is not live any more; another one is about to take over.',
      AddressInUse: 'A host outside the group answers for the address, so no director takes it.',
    },
  },
  DuplicateAddress: {
    meaning: 'Somebody else answers for the address too.',
    polarity: 'onlyWhenTrue',
    reasons: {
      ForeignHost: 'A host that is no director answers for the address; the message has its MAC address.',
    },
  },
} as const satisfies Record<string, ConditionEntry>;

const IPVS_NODE = {
  Ready: {
    meaning: 'The agent is there, and the kernel does what this node is told.',
    polarity: 'always',
    reasons: {
      Ready: 'Everything that this node is told is in its kernel.',
      Pending: 'The agent has not reported yet.',
      ProgramsFailed: 'Some programs are not in the kernel; status.failures names them.',
      KernelModuleMissing: 'The kernel has no ip_vs; load the module, or install a kernel that has it.',
      PermissionDenied: 'The agent may not change the kernel: CAP_NET_ADMIN or CAP_NET_RAW is missing.',
    },
  },
  Degraded: {
    meaning: 'It works, but not as it should.',
    polarity: 'onlyWhenTrue',
    reasons: {
      ForeignFlush: 'Somebody removes our virtual services again and again; status.foreign says who, if it can be told.',
      KubeProxyConflict: 'kube-proxy in mode ipvs shares this kernel and is not told to leave our addresses alone.',
      ForeignConflict: 'What is not ours stands where ours should be; it is left alone.',
      MassFailure: 'Everything behind one interface stopped answering its health checks at once; real servers are kept as they were.',
      UsingSnapshot: 'Served from the snapshot: there is no news from the API server.',
      KernelModuleMissing: 'A module that some program needs is missing: a scheduler, an engine, a kind of tunnel.',
    },
  },
} as const satisfies Record<string, ConditionEntry>;

/** Conditions of every kind that has any. */
export const CONDITIONS_OF = { VirtualServer: CONDITIONS, VIPPool: VIP_POOL, DirectorGroup: DIRECTOR_GROUP, VirtualIP: VIRTUAL_IP, IPVSNode: IPVS_NODE } as const;

export type ConditionKind = keyof typeof CONDITIONS_OF;

/** A condition of one kind, with the reasons that its type has there: `ConditionOf<'IPVSNode'>`. */
export type ConditionOf<K extends ConditionKind> = {
  [T in keyof (typeof CONDITIONS_OF)[K] & string]: ConditionBody & { type: T; reason: ReasonsIn<(typeof CONDITIONS_OF)[K][T]> };
}[keyof (typeof CONDITIONS_OF)[K] & string];

type ReasonsIn<E> = E extends { reasons: infer R } ? keyof R & string : never;

export type ConditionType = keyof typeof CONDITIONS;
export type ReasonOf<T extends ConditionType> = keyof (typeof CONDITIONS)[T]['reasons'];

/** Why one real server is not used: status.excluded and logs. */
export const EXCLUSION_REASONS = {
  PortRemapInDR: 'DR and TUN cannot rewrite the port.',
  EndpointNotPermitted: 'The pool does not allow static real servers there, or the address is a VIP of ours or of no host at all.',
  UnsupportedBackendForMode: 'This forwarding mode cannot reach it.',
} as const;

export type ExclusionReason = keyof typeof EXCLUSION_REASONS;

interface ConditionBody {
  status: 'True' | 'False' | 'Unknown';
  message: string;
  /** RFC 3339. */
  lastTransitionTime: string;
  observedGeneration?: number;
}

/** A condition of a VirtualServer, as the Kubernetes API conventions have it. */
export interface Condition<T extends ConditionType = ConditionType> extends ConditionBody {
  type: T;
  reason: ReasonOf<T> & string;
}
