/**
 * Collects rtnetlink operations into one send of many messages, and turns the kernel's answers back into outcomes of operations.
 * A thousand VIPs are a few sends. Order is kept: a batch is sent before anything that must see its effect.
 */
import { ADDRESS_BITS } from '../../ip/ip.ts';
import type { NetlinkConnection } from '../netlink/connection.ts';
import type { Refusal } from '../netlink/refusal.ts';
import { ERRNO, KernelError } from '../netlink/errors.ts';
import { MessageWriter } from '../netlink/writer.ts';
import type { Links } from './links.ts';
import { readAddresses, readLinks } from './rtnetlink-read.ts';
import {
  ALREADY, LARGEST_MESSAGE, TUNNEL_KINDS, encodeAddAddress, encodeAddLocalRoute, encodeAddTunnel, encodeDelAddress, encodeDelLink, encodeLinkUp, refusedOperation,
} from './rtnetlink-write.ts';
import type { NetOperation, Tunnel, VipAddress } from './types.ts';

export type RouteOperation = Extract<NetOperation, { kind: 'addTunnel' | 'delTunnel' | 'linkUp' | 'addAddress' | 'delAddress' | 'addLocalRoute' }>;

/** What a message is called in errors. */
const MESSAGE_NAME: Record<RouteOperation['kind'], string> = {
  addTunnel: 'RTM_NEWLINK', delTunnel: 'RTM_DELLINK', linkUp: 'RTM_SETLINK', addAddress: 'RTM_NEWADDR', delAddress: 'RTM_DELADDR', addLocalRoute: 'RTM_NEWROUTE',
};
/** The kernel holds the rtnl lock message by message, but we do not run for longer than this many without a yield. */
const LARGEST_BATCH = 512;
/** An operation becomes at most this many messages. */
const MESSAGES_PER_OPERATION = 2;

export function isRouteOperation(operation: NetOperation): operation is RouteOperation { return operation.kind in MESSAGE_NAME; }

interface Pending {
  readonly index: number;
  readonly operation: RouteOperation;
  readonly tolerated: readonly number[];
}

export class RouteBatch {
  readonly #connection: NetlinkConnection;
  readonly #links: Links;
  readonly #fail: (index: number, error: unknown) => void;
  readonly #writer = new MessageWriter();
  /** One entry a message. */
  #pending: Pending[] = [];
  /** A tunnel comes or goes in this batch: names and indexes are not what was read. */
  #linksChange = false;
  /** `link address` of IPv6 addresses that lost duplicate address detection; read when first needed. */
  #dadFailed: ReadonlySet<string> | null = null;

  /** `fail` is called at most once for an operation, with what `asKernelError` takes. */
  constructor(connection: NetlinkConnection, links: Links, fail: (index: number, error: unknown) => void) {
    this.#connection = connection;
    this.#links = links;
    this.#fail = fail;
  }

  /** Whether `flush` has to be called before another operation is added. */
  get isFull(): boolean {
    return this.#pending.length + MESSAGES_PER_OPERATION > Math.min(LARGEST_BATCH, this.#connection.maximumBatch)
      || !this.#writer.wouldFit(MESSAGES_PER_OPERATION * LARGEST_MESSAGE);
  }

  /** Appends the messages of one operation. What is wrong with it is reported, never thrown. */
  add(index: number, operation: RouteOperation): void {
    try {
      this.#encode(index, operation);
    } catch (error) {
      this.#fail(index, error);
    }
  }

  #encode(index: number, operation: RouteOperation): void {
    const writer = this.#writer;
    const push = (tolerated: readonly number[] = ALREADY[operation.kind] ?? []): void => { this.#pending.push({ index, operation, tolerated }); };
    switch (operation.kind) {
      case 'addTunnel':
        encodeAddTunnel(writer, operation.tunnel);
        push();
        this.#linksChange = true;
        return;
      case 'delTunnel': {
        const link = this.#find(operation.name);
        if (link === undefined) return;
        // The last line of defence for a physical NIC's or a bridge's name that got into a ledger.
        if (!TUNNEL_KINDS.includes(link.kind)) {
          const message = `it is no tunnel (kind ${link.kind || 'none'})`;
          throw new KernelError({ code: 'INVALID', operation: 'RTM_DELLINK', object: operation.name, message });
        }
        encodeDelLink(writer, operation.name);
        push();
        this.#linksChange = true;
        return;
      }
      case 'linkUp':
        encodeLinkUp(writer, operation.name);
        return push();
      case 'addAddress': {
        const link = this.#find(operation.vip.link) ?? this.#links.require(operation.vip.link, 'RTM_NEWADDR');
        // An address that lost DAD stays unusable whatever its lifetimes become.
        if (operation.vip.family === 'IPv6' && this.#hasDadFailed(operation.vip)) {
          encodeDelAddress(writer, operation.vip, link.index);
          push(ALREADY['delAddress']);
        }
        encodeAddAddress(writer, operation.vip, link);
        return push();
      }
      case 'delAddress': {
        const link = this.#find(operation.vip.link);
        if (link === undefined) return;
        encodeDelAddress(writer, operation.vip, link.index);
        return push();
      }
      case 'addLocalRoute': {
        const link = this.#find(operation.route.link) ?? this.#links.require(operation.route.link, 'RTM_NEWROUTE');
        if (operation.route.family === 'IPv4') {
          encodeAddLocalRoute(writer, operation.route, link.index);
          return push();
        }
        // IPv6: a route of ours would outlive the address, for the kernel removes only its own. Binding anew makes that one, and
        // without it the VIP received nothing anyway.
        encodeDelAddress(writer, operation.route, link.index);
        push(ALREADY['delAddress']);
        encodeAddAddress(writer, operation.route, link);
        return push([]);
      }
    }
  }

  #find(name: string): ReturnType<Links['find']> {
    if (this.#linksChange) this.flush();
    return this.#links.find(name);
  }

  #hasDadFailed(vip: VipAddress): boolean {
    if (this.#dadFailed === null) {
      const names = new Map(readLinks(this.#connection).items.map((link) => [link.index, link.name]));
      this.#dadFailed = new Set(readAddresses(this.#connection, names).items.filter((a) => a.dadFailed).map((a) => `${a.link} ${a.address}`));
    }
    return this.#dadFailed.has(`${vip.link} ${vip.address}`);
  }

  /** Sends what was added and reports whom the kernel refused. */
  flush(): void {
    const pending = this.#pending;
    if (pending.length === 0) return;
    this.#pending = [];
    const failed = new Set<number>();
    const fail = (index: number, error: unknown): void => {
      if (failed.has(index)) return;
      failed.add(index);
      this.#fail(index, error);
    };
    try {
      const { refused } = this.#connection.transact(this.#writer);
      if (this.#linksChange) this.#links.invalidate();
      for (const [position, refusal] of refused) {
        const { index, operation, tolerated } = pending[position]!;
        if (tolerated.includes(refusal.errno)) continue;
        if (operation.kind === 'addTunnel' && refusal.errno === ERRNO.EEXIST && this.#isThere(operation.tunnel)) continue;
        fail(index, this.#refused(refusal, operation));
      }
    } catch (error) {
      // Answers were lost, or the socket failed: what took effect is unknown, so every operation of the batch is.
      for (const { index } of pending) fail(index, error);
    } finally {
      this.#writer.reset();
      this.#linksChange = false;
    }
  }

  #isThere(tunnel: Tunnel): boolean {
    const link = this.#links.find(tunnel.name);
    return link !== undefined && link.kind === tunnel.kind && link.tunnelLocal === tunnel.local && link.tunnelRemote === '';
  }

  #refused(refusal: Refusal, operation: RouteOperation): KernelError {
    const context = operation.kind === 'addTunnel' ? { tunnel: operation.tunnel }
      : operation.kind === 'addAddress' ? { address: operation.vip } : operation.kind === 'addLocalRoute' ? { address: operation.route } : {};
    return refusedOperation(refusal, MESSAGE_NAME[operation.kind], objectOf(operation), context);
  }
}

function objectOf(operation: NetOperation): string {
  switch (operation.kind) {
    case 'addTunnel': return `${operation.tunnel.name} ${operation.tunnel.kind} local ${operation.tunnel.local}`;
    case 'delTunnel': case 'linkUp': return operation.name;
    case 'addAddress': case 'delAddress': case 'announce': return `${operation.vip.address}/${ADDRESS_BITS[operation.vip.family]} dev ${operation.vip.link}`;
    case 'addLocalRoute': return `${operation.route.address}/${ADDRESS_BITS[operation.route.family]} dev ${operation.route.link}`;
    case 'addFou': case 'delFou': return `${operation.fou.family} UDP port ${operation.fou.port}`;
    case 'setSysctl': return operation.sysctl.path;
    case 'setRules': return 'packet-filter rules';
  }
}

/** Any failure of an operation as a KernelError. Errors of the program itself (not of addresses or the kernel) are thrown on. */
export function asKernelError(error: unknown, operation: NetOperation): KernelError {
  if (error instanceof KernelError) return error;
  // ip.ts says RangeError of text that is no address.
  if (error instanceof RangeError) {
    return new KernelError({ code: 'INVALID', operation: operation.kind, object: objectOf(operation), message: error.message, cause: error });
  }
  throw error;
}
