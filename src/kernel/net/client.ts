/**
 * NetClient on the real kernel: wires rtnetlink, generic netlink, sysctls, the packet filter and announcements behind the contract
 * of types.ts. Order and wishes are the caller's; here operations are only put into as few system calls as possible.
 */
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import { NETLINK } from '../netlink/constants.ts';
import { NetlinkConnection } from '../netlink/connection.ts';
import { createDebug, createGenericDebug, debugPrinter } from '../netlink/debug.ts';
import { CONTROL, routeVocabulary } from '../netlink/vocabulary.ts';
import { announce } from './announce.ts';
import { systemCommands, type CommandRunner } from './command.ts';
import { FouPorts } from './fou.ts';
import { Links } from './links.ts';
import { lazyNetfilter } from './netfilter.ts';
import { RouteBatch, asKernelError, isRouteOperation } from './route-batch.ts';
import { linkNames, readAddresses, readLinks, readLocalRoutes, readSlowly, type Listing } from './rtnetlink-read.ts';
import { PROC_SYS, readSysctl, writeSysctl } from './sysctl.ts';
import { watchNet } from './watch.ts';
import type { Address, Link, LocalRoute, NetClient, NetFailure, NetObservation, NetOperation } from './types.ts';

export interface NetOptions {
  readonly commands?: CommandRunner;
  /** Where sysctls are; a container may have a writable mount of the host's elsewhere. */
  readonly procSys?: string;
  /** Replaces the sockets in tests. */
  readonly connections?: { readonly route: NetlinkConnection; readonly generic: NetlinkConnection };
}

/** Opens the sockets in the current network namespace, to which the client belongs for ever. Throws KernelError. */
export function openNet(options: NetOptions = {}): NetClient {
  const commands = options.commands ?? systemCommands;
  const procSys = options.procSys ?? PROC_SYS;
  const { route, generic } = options.connections ?? openConnections();
  /** For what is read slowly: half of a dump may lie in it. Opened when it is first needed. */
  let slow: NetlinkConnection | null = null;
  const fou = new FouPorts(generic, commands);
  const netfilter = lazyNetfilter(commands);

  function observe(): NetObservation {
    const links = readLinks(route);
    const names = linkNames(links.items);
    const addresses = readAddresses(route, names);
    return whole({ links, addresses, localRoutes: readLocalRoutes(route, names) });
  }

  function whole({ links, addresses, localRoutes }: { links: Listing<Link>; addresses: Listing<Address>; localRoutes: Listing<LocalRoute> }): NetObservation {
    const ports = fou.list();
    return {
      links: links.items, addresses: addresses.items, localRoutes: localRoutes.items, fou: ports.ports,
      complete: links.complete && addresses.complete && localRoutes.complete && ports.complete,
    };
  }

  /** One after the other: they share a socket. */
  let reading: Promise<unknown> = Promise.resolve();
  function observeSlowly(signal: AbortSignal): Promise<NetObservation> {
    const before = reading.catch(() => { /* Who asked for it was told. */ });
    const observed = before.then(async () => {
      signal.throwIfAborted();
      return whole(await readSlowly(slow ??= options.connections?.route ?? openRoute(), signal));
    });
    reading = observed;
    return observed;
  }

  /** What is no rtnetlink message: one call each. */
  async function applySingle(operation: NetOperation, links: Links): Promise<void> {
    switch (operation.kind) {
      case 'addFou': return fou.add(operation.fou);
      case 'delFou': return fou.delete(operation.fou);
      case 'setSysctl': return writeSysctl(operation.sysctl, procSys);
      case 'setRules': return netfilter.set(operation.rules);
      case 'announce': return announce(operation.vip, links.require(operation.vip.link, 'announce'));
      default: throw new TypeError(`${operation.kind} is a matter of rtnetlink`);
    }
  }

  async function apply(operations: readonly NetOperation[]): Promise<NetFailure[]> {
    const failures: NetFailure[] = [];
    const fail = (index: number, error: unknown): void => {
      failures.push({ index, operation: operations[index]!, error: asKernelError(error, operations[index]!) });
    };
    const links = new Links(route);
    const batch = new RouteBatch(route, links, fail);
    for (const [index, operation] of operations.entries()) {
      if (isRouteOperation(operation)) {
        if (batch.isFull) {
          batch.flush();
          await yieldToLoop();
        }
        batch.add(index, operation);
        continue;
      }
      batch.flush();
      try {
        await applySingle(operation, links);
      } catch (error) {
        fail(index, error);
      }
    }
    batch.flush();
    return failures.sort((a, b) => a.index - b.index);
  }

  return {
    observe, observeSlowly, apply,
    readSysctl: (path) => readSysctl(path, procSys),
    // Where none works there are no rules.
    readRules: () => netfilter.backend(false)?.read() ?? null,
    readRulesSlowly: async () => await netfilter.backend(false)?.readSlowly() ?? null,
    netfilterBackend: (missed) => netfilter.backend(missed)?.name ?? null,
    watch: (onChange, signal) => watchNet(onChange, signal),
    close() {
      route.close();
      slow?.close();
      generic.close();
    },
  };
}

/** Strict: the kernel then filters the dump of routes, and refuses what it does not understand instead of ignoring it. */
function openRoute(): NetlinkConnection {
  const print = debugPrinter();
  return new NetlinkConnection(NETLINK.ROUTE, { strict: true, ...(print && { debug: createDebug(routeVocabulary, print) }) });
}

function openConnections(): { route: NetlinkConnection; generic: NetlinkConnection } {
  const print = debugPrinter();
  const route = openRoute();
  try {
    return { route, generic: new NetlinkConnection(NETLINK.GENERIC, { ...(print && { debug: createGenericDebug([], CONTROL, print) }) }) };
  } catch (error) {
    route.close();
    throw error;
  }
}
