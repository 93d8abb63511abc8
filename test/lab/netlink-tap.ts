// What a host's kernel is told over netlink, seen by the kernel itself: an nlmon device copies every message of one network
// namespace, whoever sent it, and tcpdump writes them to a file. For proving that a program changed nothing, whatever it logs.
// It does not see setsockopt, files of /proc, or other namespaces (the capability probe's scratch namespace, for one).

import { existsSync, readFileSync } from 'node:fs';
import type { Lab } from './lab.ts';
import { inHost, killProcess, startProcess } from './process.ts';

export interface NetlinkTap {
  /** Every message so far that asked the kernel to change something, in order, as `route 20` or `generic 7 of family 28`. */
  changes(): Promise<string[]>;
  stop(): void;
}

/** linux/netlink.h */
const FAMILY = { route: 0, generic: 16 } as const;
/** DLT_NETLINK; pcap-linktype(7). */
const LINKTYPE_NETLINK = 253;
/** sll_pkttype of linux/if_packet.h: a message on its way to the kernel. */
const PACKET_KERNEL = 7;
/** linux/rtnetlink.h */
const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
/** linux/genetlink.h: the controller, which is only ever asked. */
const GENL_ID_CTRL = 16;
/** linux/ip_vs.h: GET_SERVICE, GET_DEST, GET_DAEMON, GET_CONFIG, GET_INFO. */
const IPVS_GETS: ReadonlySet<number> = new Set([4, 8, 11, 13, 15]);
/** An address of nobody, whose neighbour entry marks a place in the stream of messages. */
const marker = '192.0.2.99';

/** Taps a host from now on. Ends with the scenario at the latest. */
export async function tapNetlink(lab: Lab, host: string): Promise<NetlinkTap> {
  const file = lab.host(host).path('netlink.pcap');
  await lab.host(host).sh('modprobe nlmon && ip link add nlmon0 type nlmon && ip link set nlmon0 up');
  const tcpdump = startProcess(inHost(host, ['tcpdump', '-Z', 'root', '-U', '--immediate-mode', '-s', '65535', '-B', '16384', '-i', 'nlmon0', '-w', file]));
  tcpdump.stderr!.resume();
  tcpdump.stdout!.resume();
  const read = (): string[] => (existsSync(file) ? readChanges(readFileSync(file)) : []);
  let marks = 0;
  /** Whatever was sent before this is in the file afterwards: so a tap that sees nothing cannot pass for a silent kernel. */
  const mark = async (): Promise<void> => {
    await lab.eventually(async () => {
      await lab.host(host).sh(`ip neigh replace ${marker} lladdr 02:00:00:00:00:99 dev e0 nud permanent; ip neigh del ${marker} dev e0`);
      marks++;
      for (let tries = 0; tries < 20; tries++) {
        if (read().filter((c) => c === `route ${RTM_NEWNEIGH}`).length === marks) return true;
        await lab.sleep(50);
      }
      return false;
    }, { withinMs: 30_000, what: `the tap on ${host} sees what is sent` });
  };
  await mark();
  return {
    changes: async () => {
      await mark();
      return read().filter((c) => c !== `route ${RTM_NEWNEIGH}` && c !== `route ${RTM_DELNEIGH}`);
    },
    stop: () => killProcess(tcpdump),
  };
}

/** Reads a pcap file, which may end in the middle of a packet. */
export function readChanges(bytes: Buffer): string[] {
  if (bytes.length < 24) return [];
  if (bytes.readUInt32LE(0) !== 0xa1b2_c3d4 || bytes.readUInt32LE(20) !== LINKTYPE_NETLINK) throw new Error('not a capture of netlink');
  const changes: string[] = [];
  for (let at = 24; at + 16 <= bytes.length;) {
    const length = bytes.readUInt32LE(at + 8);
    const packet = bytes.subarray(at + 16, at + 16 + length);
    at += 16 + length;
    if (packet.length < length || packet.readUInt16BE(0) !== PACKET_KERNEL) continue;
    changes.push(...changesIn(packet.readUInt16BE(14), packet.subarray(16)));
  }
  return changes;
}

/** One send may carry many messages; struct nlmsghdr is length, type, flags, sequence, port. */
function changesIn(family: number, messages: Buffer): string[] {
  const changes: string[] = [];
  for (let at = 0; at + 16 <= messages.length;) {
    const [length, type] = [messages.readUInt32LE(at), messages.readUInt16LE(at + 4)];
    if (length < 16) break;
    const command = at + 16 < messages.length ? messages.readUInt8(at + 16) : 0;
    at += (length + 3) & ~3;
    if (type < 16) continue; // NLMSG_NOOP, _ERROR, _DONE
    // Each rtnetlink object has four types in a row: new, delete, get, set.
    if (family === FAMILY.route) changes.push(...((type & 3) === 2 ? [] : [`route ${type}`]));
    else if (family !== FAMILY.generic) changes.push(`${type} of protocol ${family}`);
    else if (type !== GENL_ID_CTRL && !IPVS_GETS.has(command)) changes.push(`generic ${command} of family ${type}`);
  }
  return changes;
}
