/**
 * Names for the debug printer: the control family and the rtnetlink messages that kernel/net sends or hears
 * (linux/genetlink.h, rtnetlink.h, if_link.h, if_addr.h). For people only: nothing is encoded or decoded by these tables.
 */
import { AF } from './libc.ts';
import type { AttributeTable, FamilyVocabulary, MessageVocabulary } from './debug.ts';
import type { MessageReader } from './reader.ts';

export const CONTROL: FamilyVocabulary = {
  name: 'CTRL',
  commands: { 1: 'NEWFAMILY', 2: 'DELFAMILY', 3: 'GETFAMILY', 7: 'NEWMCAST_GRP' },
  attributes: {
    1: ['FAMILY_ID', 'u16'], 2: ['FAMILY_NAME', 'string'], 3: ['VERSION', 'u32'], 4: ['HDRSIZE', 'u32'], 5: ['MAXATTR', 'u32'],
    6: ['OPS', 'bytes'], 7: ['MCAST_GROUPS', 'bytes'],
  },
};

const LINK: AttributeTable = {
  1: ['ADDRESS', 'mac'], 3: ['IFNAME', 'string'], 4: ['MTU', 'u32'], 5: ['LINK', 'u32'], 10: ['MASTER', 'u32'], 13: ['TXQLEN', 'u32'], 16: ['OPERSTATE', 'u8'],
  18: ['LINKINFO', { 1: ['KIND', 'string'], 2: ['DATA', 'bytes'] }], 19: ['NET_NS_PID', 'u32'], 26: ['AF_SPEC', 'bytes'], 28: ['NET_NS_FD', 'u32'],
};
const ADDRESS: AttributeTable = {
  1: ['ADDRESS', 'address'], 2: ['LOCAL', 'address'], 3: ['LABEL', 'string'], 4: ['BROADCAST', 'address'], 6: ['CACHEINFO', 'bytes'],
  8: ['FLAGS', 'hex32'], 11: ['PROTO', 'u8'],
};
const ROUTE: AttributeTable = {
  1: ['DST', 'address'], 2: ['SRC', 'address'], 4: ['OIF', 'u32'], 5: ['GATEWAY', 'address'], 6: ['PRIORITY', 'u32'], 7: ['PREFSRC', 'address'],
  15: ['TABLE', 'u32'],
};

const family = (message: MessageReader): string => {
  const value = message.word(0) & 0xff;
  return value === AF.INET ? 'inet' : value === AF.INET6 ? 'inet6' : `family ${value}`;
};
/** struct ifinfomsg { u8 family, pad; u16 type; s32 index; u32 flags, change }. */
const linkHeader = (m: MessageReader): string => `index ${m.word(4)} flags 0x${m.word(8).toString(16)} change 0x${m.word(12).toString(16)}`;
/** struct ifaddrmsg { u8 family, prefixlen, flags, scope; u32 index }. */
const addressHeader = (m: MessageReader): string => `${family(m)} index ${m.word(4)} /${(m.word(0) >>> 8) & 0xff} scope ${m.word(0) >>> 24}`;
/** struct rtmsg { u8 family, dst_len, src_len, tos; u8 table, protocol, scope, type; u32 flags }. */
const routeHeader = (m: MessageReader): string => {
  const second = m.word(4);
  return `${family(m)} /${(m.word(0) >>> 8) & 0xff} table ${second & 0xff} protocol ${(second >>> 8) & 0xff} scope ${(second >>> 16) & 0xff} type ${second >>> 24}`;
};

const link = (name: string): MessageVocabulary => ({ name, header: 16, describeHeader: linkHeader, attributes: LINK });
const address = (name: string): MessageVocabulary => ({ name, header: 8, describeHeader: addressHeader, attributes: ADDRESS });
const route = (name: string): MessageVocabulary => ({ name, header: 12, describeHeader: routeHeader, attributes: ROUTE });

const ROUTE_MESSAGES: Readonly<Record<number, MessageVocabulary>> = {
  16: link('RTM_NEWLINK'), 17: link('RTM_DELLINK'), 18: link('RTM_GETLINK'), 19: link('RTM_SETLINK'),
  20: address('RTM_NEWADDR'), 21: address('RTM_DELADDR'), 22: address('RTM_GETADDR'),
  24: route('RTM_NEWROUTE'), 25: route('RTM_DELROUTE'), 26: route('RTM_GETROUTE'),
};

/** For createDebug on a NETLINK_ROUTE connection. */
export function routeVocabulary(type: number): MessageVocabulary | undefined { return ROUTE_MESSAGES[type]; }
