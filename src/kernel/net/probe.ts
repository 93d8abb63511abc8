/**
 * Asks a network whether somebody has an address, before we take it: three questions on the link where the address would be, and a while to
 * listen. One socket a link and family for the time of the question. What follows from an answer is agent/ownership's.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as timer } from 'node:timers/promises';
import { toBytes } from '../../ip/ip.ts';
import { AF, MSG, SO, SOCK, SOL_SOCKET, bind, close, recv, sendto, setsockopt, socket } from '../netlink/libc.ts';
import { ERRNO, KernelError } from '../netlink/errors.ts';
import { ipv6Address, packetAddress } from './announce.ts';
import { macBytes } from './announcement.ts';
import { arpProbe, ND, neighbourProbe, readArp, readNeighbour, solicitedNode, type Heard } from './probe-packets.ts';
import type { Link, VipAddress } from './types.ts';

export type ProbeOutcome =
  | { readonly state: 'silent' }
  /** Somebody has the address, or is about to take it ('wants'). `mac` is '' when it did not tell. */
  | { readonly state: 'answered'; readonly mac: string; readonly says: Heard['says'] }
  /** It could not be asked. */
  | { readonly state: 'failed'; readonly error: KernelError };

export interface ProbeOptions {
  readonly signal?: AbortSignal | undefined;
  /** Questions, and milliseconds after each. */
  readonly questions?: number;
  readonly everyMs?: number;
}

const QUESTIONS = 3;
const EVERY_MS = 200;
/** How often the answers are read while waiting. */
const READ_MS = 20;
/** Of one reading: a flood must not hold the event loop up. */
const MAX_READ = 2_048;
/** Hundreds of answers may come at the same moment. */
const RECEIVE_BUFFER = 1 << 20;

/** linux/in.h, in6.h, icmpv6.h. */
const IPPROTO_ICMPV6 = 58;
const IPPROTO_IPV6 = 41;
const IPV6 = { MULTICAST_IF: 17, MULTICAST_HOPS: 18, MULTICAST_LOOP: 19, ADD_MEMBERSHIP: 20 } as const;
const ICMPV6_FILTER = 1;

/** The part of a link that probing needs. */
export type ProbeLink = Pick<Link, 'name' | 'index' | 'mac'>;

/** One socket that asks and listens. */
interface Channel {
  readonly vips: readonly VipAddress[];
  ask(vip: VipAddress): void;
  read(bytes: Uint8Array): Heard | null;
  readonly fd: number;
}

/**
 * Asks for each of the VIPs on its link. Resolves after at least `questions * everyMs` milliseconds, or as soon as every one was answered, with one
 * outcome an address. What this host itself says does not count. Rejects only with an AbortError.
 */
export async function probe(vips: readonly VipAddress[], links: readonly ProbeLink[], options: ProbeOptions = {}): Promise<Map<string, ProbeOutcome>> {
  const { signal, questions = QUESTIONS, everyMs = EVERY_MS } = options;
  signal?.throwIfAborted();
  const outcomes = new Map<string, ProbeOutcome>(vips.map((v) => [v.address, { state: 'silent' }]));
  const own = new Set(links.map((l) => l.mac));
  const open = (v: VipAddress): boolean => outcomes.get(v.address)?.state === 'silent';
  const channels: Channel[] = [];
  try {
    for (const group of perLink(vips)) {
      guard(outcomes, group, () => channels.push(openChannel(group, links)));
    }
    const waiting = (): boolean => channels.some((c) => c.vips.some(open));
    for (let asked = 0; asked < questions && waiting(); asked++) {
      for (const c of channels) for (const vip of c.vips) if (open(vip)) guard(outcomes, [vip], () => c.ask(vip));
      // From each question on, not from the first: a process that stood still for all of the time would ask the last ones and hear no answer.
      const until = performance.now() + everyMs;
      for (let left = everyMs; left > 0 && waiting(); left = until - performance.now()) {
        await timer(Math.min(READ_MS, left), undefined, signal && { signal });
        for (const c of channels) guard(outcomes, c.vips, () => listen(c, own, outcomes));
      }
    }
  } finally {
    for (const { fd } of channels) close(fd);
  }
  return outcomes;
}

function perLink(vips: readonly VipAddress[]): VipAddress[][] {
  return [...Map.groupBy(vips, (v) => `${v.link} ${v.family}`).values()];
}

/** Runs it; when it fails, so have those of the addresses that nobody answered for. */
function guard(outcomes: Map<string, ProbeOutcome>, vips: readonly VipAddress[], work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    for (const { address } of vips) if (outcomes.get(address)?.state === 'silent') outcomes.set(address, { state: 'failed', error });
  }
}

function listen(channel: Channel, own: ReadonlySet<string>, outcomes: Map<string, ProbeOutcome>): void {
  const buffer = new Uint8Array(2048);
  for (let i = 0; i < MAX_READ; i++) {
    const length = recv(channel.fd, buffer, MSG.DONTWAIT);
    if (length === -ERRNO.EINTR) continue;
    if (length === -ERRNO.ENETDOWN) throw new KernelError({ code: 'SYSTEM_CALL', errno: ERRNO.ENETDOWN, operation: 'probe', object: channel.vips[0]!.link });
    if (length < 0) return;
    const heard = channel.read(buffer.subarray(0, length));
    if (!heard || own.has(heard.mac)) continue;
    const before = outcomes.get(heard.address);
    // Who holds it says more than who wants it.
    if (before?.state === 'silent' || (before?.state === 'answered' && before.says === 'wants')) {
      outcomes.set(heard.address, { state: 'answered', mac: heard.mac, says: heard.says });
    }
  }
}

function openChannel(vips: readonly VipAddress[], links: readonly ProbeLink[]): Channel {
  const { link: name, family } = vips[0]!;
  const link = links.find((l) => l.name === name);
  if (link === undefined) throw new KernelError({ code: 'KERNEL_REFUSED', errno: ERRNO.ENODEV, operation: 'probe', object: name, message: 'no such link' });
  const mac = macBytes(link.mac);
  if (mac === null) {
    const message = 'the link has no MAC address: nobody resolves addresses on it';
    throw new KernelError({ code: 'INVALID', operation: 'probe', object: `${vips[0]!.address} on ${name}`, message });
  }
  return family === 'IPv4' ? arpChannel(vips, link, mac) : neighbourChannel(vips, link, mac);
}

function arpChannel(vips: readonly VipAddress[], { index }: ProbeLink, mac: Uint8Array): Channel {
  const to = packetAddress(index);
  const fd = socket(AF.PACKET, SOCK.DGRAM, 0);
  return prepared(fd, () => {
    largeBuffer(fd);
    // Only now does anything arrive: ARP of this link, and of what this host sends nothing.
    bind(fd, to);
    return { vips, fd, ask: (vip) => { sendto(fd, arpProbe(mac, vip.address), to); }, read: readArp };
  });
}

function neighbourChannel(vips: readonly VipAddress[], { name, index }: ProbeLink, mac: Uint8Array): Channel {
  const nonce = randomBytes(6);
  const fd = socket(AF.INET6, SOCK.RAW, IPPROTO_ICMPV6);
  return prepared(fd, () => {
    largeBuffer(fd);
    setsockopt(fd, SOL_SOCKET, SO.BINDTODEVICE, Buffer.from(`${name}\0`));
    setsockopt(fd, IPPROTO_ICMPV6, ICMPV6_FILTER, onlyNeighbours());
    setsockopt(fd, IPPROTO_IPV6, IPV6.MULTICAST_IF, index);
    setsockopt(fd, IPPROTO_IPV6, IPV6.MULTICAST_LOOP, 0);
    // Receivers drop neighbour discovery whose hop limit is not 255: it came through a router.
    setsockopt(fd, IPPROTO_IPV6, IPV6.MULTICAST_HOPS, 255);
    for (const vip of vips) joinGroup(fd, solicitedNode(vip.address), index);
    return { vips, fd, ask: (vip) => { sendto(fd, neighbourProbe(mac, vip.address, nonce), ipv6Address(solicitedNode(vip.address), index)); }, read: readNeighbour };
  });
}

/** struct ipv6_mreq: group, interface. In the group are heard the questions of others who want the address. */
function joinGroup(fd: number, group: string, index: number): void {
  const request = new Uint8Array(20);
  request.set(toBytes(group));
  new DataView(request.buffer).setInt32(16, index, true);
  try {
    setsockopt(fd, IPPROTO_IPV6, IPV6.ADD_MEMBERSHIP, request);
  } catch (error) {
    // Twice in the same group (two VIPs with the same last three bytes), or more groups than the kernel allows (net.core.optmem_max):
    // answers of holders come without it.
    if (!(error instanceof KernelError)) throw error;
  }
}

/** struct icmp6_filter: a bit for each type, 1 drops it. */
function onlyNeighbours(): Uint8Array {
  const words = new Uint32Array(8).fill(0xffffffff);
  for (const type of Object.values(ND)) words[type >>> 5]! &= ~(1 << (type & 31));
  return new Uint8Array(words.buffer);
}

function largeBuffer(fd: number): void {
  try {
    setsockopt(fd, SOL_SOCKET, SO.RCVBUFFORCE, RECEIVE_BUFFER);
  } catch (error) {
    // Needs CAP_NET_ADMIN in the first user namespace; the usual buffer holds some hundred answers.
    if (!(error instanceof KernelError)) throw error;
  }
}

/** The channel, or nothing left open. */
function prepared(fd: number, make: () => Channel): Channel {
  try {
    return make();
  } catch (error) {
    close(fd);
    throw error;
  }
}
