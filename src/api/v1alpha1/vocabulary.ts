/**
 * Words and numbers of the API that code needs beside the schemas: schedulers, defaults, bounds. Free of zod, so that a process that
 * parses manifests does not load it.
 */

export const FAMILIES = ['IPv4', 'IPv6'] as const;

/** Every scheduler of Linux IPVS that can be asked for (`twos` exists in no kernel that distributions ship). */
export const SCHEDULERS = ['rr', 'wrr', 'lc', 'wlc', 'sh', 'dh', 'sed', 'nq', 'lblc', 'lblcr', 'mh', 'fo', 'ovf'] as const;

export type SchedulerName = (typeof SCHEDULERS)[number];

/** Largest weight accepted: the kernel takes 2^31-1, but its weighted sums overflow far below that. */
export const MAX_WEIGHT = 65_535;
/** Weight of a real server that neither its endpoint nor its backend gives one. */
export const DEFAULT_WEIGHT = 1;
/** IANA's port of GUE (draft-ietf-intarea-gue). */
export const GUE_PORT = 6080;

/** Of a pool. */
export const MAX_BLOCKS = 64;
export const MAX_STATIC_CIDRS = 64;

export const MAX_PORTS = 64;
export const MAX_BACKENDS = 16;
export const MAX_ENDPOINTS = 1000;
export const MAX_ADDRESSES = 16;

/** Real servers in one VirtualServerProgram object, over all its services; a larger program is cut into slices. */
export const MAX_SLICE_REAL_SERVERS = 1000;
/** Slices of one program: more real servers (2,048,000, counted once a port) are more than 64 ports of 16 full backends can name. */
export const MAX_SLICES = 2048;
/** VirtualServers on one VIP. */
export const MAX_CLAIMS = 256;
/** VIPs that one node binds as a real server. With the longest names there are an IPVSNode stays below the 1.5 MB of etcd. */
export const MAX_BINDS = 4096;
/** Addresses that must never be a VIP: those of 2,500 dual-stack nodes with two addresses a family. */
export const MAX_RESERVED = 10_000;
/** Programs that an IPVSNode reports one by one (about 250 KB); beyond them there is the digest. */
export const MAX_APPLIED = 5000;
/** VIPs that one director may own. */
export const MAX_OWNED_VIPS = 5000;
/** Failures that an IPVSNode names; more are only counted. */
export const MAX_FAILURES = 64;

/** VirtualServers of which an IPVSNode reports unhealthy or draining real servers. */
export const MAX_BACKEND_REPORTS = 256;

/** DirectorGroups that one node may direct for. */
export const MAX_GROUPS = 64;
/** Directors that the status of a DirectorGroup names; more are only counted. */
export const MAX_MEMBERS = 1000;

/** Most labels in a selector: a bound that the CRD needs to price its rules. */
export const MAX_LABELS = 64;

/**
 * Largest number of seconds the kernel keeps in a timer of 32 bits without overflow: INT_MAX / HZ with HZ=1000, the largest
 * HZ there is (net/netfilter/ipvs/ip_vs_ctl.c computes value * HZ; smaller HZ allow more, but a manifest must mean the
 * same on every director).
 */
export const MAX_KERNEL_SECONDS = 2_147_483;

/** Longest texts and lists of a health check; `payload` in base64, of 1,024 bytes. The checks themselves (agent/health) take no more. */
export const CHECK_BOUNDS = { path: 1_024, host: 253, service: 1_024, payload: 1_368, domain: 254, statuses: 100, caBundle: 16_384 } as const;
