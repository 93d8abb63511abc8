/**
 * Numbers of linux/rtnetlink.h, if_link.h, if_addr.h, if_tunnel.h and fou.h, as far as this product uses them. Only numbers here.
 */

export const RTM = {
  NEWLINK: 16, DELLINK: 17, GETLINK: 18, SETLINK: 19, NEWADDR: 20, DELADDR: 21, GETADDR: 22, NEWROUTE: 24, DELROUTE: 25, GETROUTE: 26,
} as const;

/** Multicast groups, enum rtnetlink_groups. */
export const RTNLGRP = { LINK: 1, IPV4_IFADDR: 5, IPV4_ROUTE: 7, IPV6_IFADDR: 9, IPV6_ROUTE: 11 } as const;

/** Bytes of struct ifinfomsg, ifaddrmsg, rtmsg. */
export const IFINFOMSG = 16;
export const IFADDRMSG = 8;
export const RTMSG = 12;

/** ifinfomsg.ifi_flags. */
export const IFF = { UP: 0x1, LOOPBACK: 0x8, LOWER_UP: 0x10000 } as const;
export const IFLA = { ADDRESS: 1, IFNAME: 3, MTU: 4, LINK: 5, LINKINFO: 18, EXT_MASK: 29 } as const;
export const IFLA_INFO = { KIND: 1, DATA: 2 } as const;
/** Leaves the statistics out of a dump: two thirds of its bytes. */
export const RTEXT_FILTER_SKIP_STATS = 1 << 3;
/** ipip, sit, ip6tnl. PROTO 0 on ip6tnl carries both families (`mode any`). */
export const IFLA_IPTUN = { LOCAL: 2, REMOTE: 3, PROTO: 9 } as const;
/** gre, ip6gre. */
export const IFLA_GRE = { IFLAGS: 2, OFLAGS: 3, LOCAL: 6, REMOTE: 7 } as const;
/** GRE_CSUM in IFLAGS and OFLAGS, in network order on the wire. */
export const GRE_CSUM = 0x8000;

export const IFA = { ADDRESS: 1, LOCAL: 2, CACHEINFO: 6, FLAGS: 8, PROTO: 11 } as const;
export const IFA_F = { NODAD: 0x02, DADFAILED: 0x08, DEPRECATED: 0x20 } as const;
/** struct ifa_cacheinfo: preferred and valid lifetime in seconds, two timestamps. */
export const FOREVER = 0xffffffff;

export const RT_TABLE_LOCAL = 255;
export const RTN_LOCAL = 2;
export const RTPROT_KERNEL = 2;
export const RT_SCOPE = { UNIVERSE: 0, HOST: 254 } as const;
export const RTA = { DST: 1, OIF: 4, PREFSRC: 7, TABLE: 15 } as const;

/** Generic netlink family `fou`. */
export const FOU_CMD = { ADD: 1, DEL: 2, GET: 3 } as const;
export const FOU_ATTR = { PORT: 1, AF: 2, IPPROTO: 3, TYPE: 4 } as const;
export const FOU_TYPE_GUE = 2;
