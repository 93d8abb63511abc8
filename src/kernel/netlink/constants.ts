/**
 * Numbers of linux/netlink.h and linux/genetlink.h. No IPVS and no rtnetlink: those live with their codecs.
 */

/** Protocol numbers of AF_NETLINK sockets. */
export const NETLINK = { ROUTE: 0, GENERIC: 16 } as const;

/** nlmsghdr.nlmsg_type below NLMSG_MIN_TYPE (0x10). */
export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3, OVERRUN: 4, MIN_TYPE: 0x10 } as const;

/** nlmsghdr.nlmsg_flags. CAPPED and ACK_TLVS only in NLMSG_ERROR and NLMSG_DONE, where they overlap ROOT and MATCH. */
export const NLM_F = {
  REQUEST: 0x1, MULTI: 0x2, ACK: 0x4, ECHO: 0x8, DUMP_INTR: 0x10, DUMP_FILTERED: 0x20,
  ROOT: 0x100, MATCH: 0x200, DUMP: 0x300,
  REPLACE: 0x100, EXCL: 0x200, CREATE: 0x400, APPEND: 0x800,
  CAPPED: 0x100, ACK_TLVS: 0x200,
} as const;

/** Bytes of struct nlmsghdr, genlmsghdr, nlattr. */
export const NLMSG_HEADER = 16;
export const GENL_HEADER = 4;
export const NLA_HEADER = 4;

/** nlattr.nla_type: two flag bits above the type. */
export const NLA_F_NESTED = 0x8000;
export const NLA_TYPE_MASK = 0x3fff;

/** Extended ACK, enum nlmsgerr_attrs. */
export const NLMSGERR_ATTR = { MSG: 1, OFFS: 2 } as const;

/** setsockopt level and options of netlink sockets. */
export const SOL_NETLINK = 270;
export const NETLINK_OPTION = { ADD_MEMBERSHIP: 1, DROP_MEMBERSHIP: 2, CAP_ACK: 10, EXT_ACK: 11, GET_STRICT_CHK: 12 } as const;

/** The control family of generic netlink, linux/genetlink.h. */
export const GENL_ID_CTRL = 0x10;
export const CTRL_CMD = { NEWFAMILY: 1, GETFAMILY: 3 } as const;
export const CTRL_ATTR = { FAMILY_ID: 1, FAMILY_NAME: 2, VERSION: 3, HDRSIZE: 4, MAXATTR: 5, OPS: 6, MCAST_GROUPS: 7 } as const;

/**
 * Bytes of every send and receive buffer. A dump's datagrams are sized by the largest buffer ever given to recv on that
 * socket (up to 32 KiB), so every recv uses this one size; and throughput no longer grows above it.
 */
export const BUFFER_BYTES = 65536;

/** What one queued ACK or error costs of the receive buffer (sizeof(struct sk_buff) and its data, measured). */
export const ACK_COST = 768;
