/**
 * Names of the IPVS family for the debug printer. For people only.
 */
import type { AttributeTable, FamilyVocabulary } from '../netlink/debug.ts';
import { COMMAND, FAMILY_NAME } from './constants.ts';

const COUNTERS: AttributeTable = {
  1: ['CONNS', 'u64'], 2: ['INPKTS', 'u64'], 3: ['OUTPKTS', 'u64'], 4: ['INBYTES', 'u64'], 5: ['OUTBYTES', 'u64'],
  6: ['CPS', 'u64'], 7: ['INPPS', 'u64'], 8: ['OUTPPS', 'u64'], 9: ['INBPS', 'u64'], 10: ['OUTBPS', 'u64'], 11: ['PAD', 'bytes'],
};
const OLD_COUNTERS: AttributeTable = {
  1: ['CONNS', 'u32'], 2: ['INPKTS', 'u32'], 3: ['OUTPKTS', 'u32'], 4: ['INBYTES', 'u64'], 5: ['OUTBYTES', 'u64'],
  6: ['CPS', 'u32'], 7: ['INPPS', 'u32'], 8: ['OUTPPS', 'u32'], 9: ['INBPS', 'u32'], 10: ['OUTBPS', 'u32'], 11: ['PAD', 'bytes'],
};
const SERVICE: AttributeTable = {
  1: ['AF', 'u16'], 2: ['PROTOCOL', 'u16'], 3: ['ADDR', 'address'], 4: ['PORT', 'u16be'], 5: ['FWMARK', 'u32'], 6: ['SCHED_NAME', 'string'],
  7: ['FLAGS', 'hex32'], 8: ['TIMEOUT', 'u32'], 9: ['NETMASK', 'u32be'], 10: ['STATS', OLD_COUNTERS], 11: ['PE_NAME', 'string'], 12: ['STATS64', COUNTERS],
};
const DESTINATION: AttributeTable = {
  1: ['ADDR', 'address'], 2: ['PORT', 'u16be'], 3: ['FWD_METHOD', 'u32'], 4: ['WEIGHT', 'i32'], 5: ['U_THRESH', 'u32'], 6: ['L_THRESH', 'u32'],
  7: ['ACTIVE_CONNS', 'u32'], 8: ['INACT_CONNS', 'u32'], 9: ['PERSIST_CONNS', 'u32'], 10: ['STATS', OLD_COUNTERS], 11: ['ADDR_FAMILY', 'u16'],
  12: ['STATS64', COUNTERS], 13: ['TUN_TYPE', 'u8'], 14: ['TUN_PORT', 'u16be'], 15: ['TUN_FLAGS', 'u16'],
};
const DAEMON: AttributeTable = {
  1: ['STATE', 'u32'], 2: ['MCAST_IFN', 'string'], 3: ['SYNC_ID', 'u32'], 4: ['SYNC_MAXLEN', 'u16'], 5: ['MCAST_GROUP', 'address'],
  6: ['MCAST_GROUP6', 'address'], 7: ['MCAST_PORT', 'u16'], 8: ['MCAST_TTL', 'u8'],
};

export const IPVS_VOCABULARY: FamilyVocabulary = {
  name: FAMILY_NAME,
  commands: Object.fromEntries(Object.entries(COMMAND).map(([name, number]) => [number, name])),
  attributes: {
    1: ['SERVICE', SERVICE], 2: ['DEST', DESTINATION], 3: ['DAEMON', DAEMON],
    4: ['TIMEOUT_TCP', 'u32'], 5: ['TIMEOUT_TCP_FIN', 'u32'], 6: ['TIMEOUT_UDP', 'u32'],
  },
};
