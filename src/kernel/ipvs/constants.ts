/**
 * Numbers of linux/ip_vs.h: commands and attributes of the generic netlink family, and the older getsockopt interface.
 * Numbers only; what they mean for us is in types.ts, and how they are written in encode.ts.
 */

export const FAMILY_NAME = 'IPVS';
export const MODULE_NAME = 'ip_vs';

/** enum of IPVS_CMD_*. */
export const COMMAND = {
  NEW_SERVICE: 1, SET_SERVICE: 2, DEL_SERVICE: 3, GET_SERVICE: 4, NEW_DEST: 5, SET_DEST: 6, DEL_DEST: 7, GET_DEST: 8,
  NEW_DAEMON: 9, DEL_DAEMON: 10, GET_DAEMON: 11, SET_CONFIG: 12, GET_CONFIG: 13, SET_INFO: 14, GET_INFO: 15, ZERO: 16, FLUSH: 17,
} as const;

/** IPVS_CMD_ATTR_*: first level. */
export const ATTR = { SERVICE: 1, DEST: 2, DAEMON: 3, TIMEOUT_TCP: 4, TIMEOUT_TCP_FIN: 5, TIMEOUT_UDP: 6 } as const;

/** IPVS_SVC_ATTR_*. */
export const SVC = {
  AF: 1, PROTOCOL: 2, ADDR: 3, PORT: 4, FWMARK: 5, SCHED_NAME: 6, FLAGS: 7, TIMEOUT: 8, NETMASK: 9, STATS: 10, PE_NAME: 11, STATS64: 12,
} as const;

/** IPVS_DEST_ATTR_*. */
export const DEST = {
  ADDR: 1, PORT: 2, FWD_METHOD: 3, WEIGHT: 4, U_THRESH: 5, L_THRESH: 6, ACTIVE_CONNS: 7, INACT_CONNS: 8, PERSIST_CONNS: 9, STATS: 10,
  ADDR_FAMILY: 11, STATS64: 12, TUN_TYPE: 13, TUN_PORT: 14, TUN_FLAGS: 15,
} as const;

/** IPVS_DAEMON_ATTR_*. */
export const DAEMON = { STATE: 1, MCAST_IFN: 2, SYNC_ID: 3, SYNC_MAXLEN: 4, MCAST_GROUP: 5, MCAST_GROUP6: 6, MCAST_PORT: 7, MCAST_TTL: 8 } as const;
/** IP_VS_STATE_MASTER, IP_VS_STATE_BACKUP. */
export const DAEMON_STATE = { master: 1, backup: 2 } as const;

/** IPVS_STATS_ATTR_*; the same in STATS (32 bits) and STATS64. */
export const STATS = { CONNS: 1, INPKTS: 2, OUTPKTS: 3, INBYTES: 4, OUTBYTES: 5 } as const;

/** IPVS_INFO_ATTR_*. */
export const INFO = { VERSION: 1, CONN_TAB_SIZE: 2 } as const;

/** linux/in.h */
export const IPPROTO = { TCP: 6, UDP: 17, SCTP: 132 } as const;

/** IP_VS_CONN_F_FWD_MASK: the rest of a destination's flags are the kernel's. */
export const FORWARD_MASK = 7;

/** The getsockopt interface, level IPPROTO_IP: IP_VS_SO_GET_*. IPv4 only, but ten times faster than netlink for reading. */
export const SOCKOPT = { LEVEL: 0, GET_INFO: 1153, GET_SERVICES: 1154, GET_SERVICE: 1155, GET_DESTS: 1156 } as const;

/** Schedulers of Linux 6.x, by module name without `ip_vs_`; and the kernel's word for no scheduler. */
export const SCHEDULERS: readonly string[] = ['rr', 'wrr', 'lc', 'wlc', 'lblc', 'lblcr', 'dh', 'sh', 'sed', 'nq', 'fo', 'ovf', 'mh'];
/** Persistence engines of Linux 6.x. */
export const ENGINES: readonly string[] = ['sip'];
