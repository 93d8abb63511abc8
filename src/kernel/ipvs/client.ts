/**
 * The real IpvsClient: one netlink connection, one getsockopt socket, and the parts that do the work (apply.ts, read.ts,
 * capabilities.ts). Here is only what they share: the family that may be reloaded, small queries, and closing.
 */
import { NetlinkConnection } from '../netlink/connection.ts';
import { NETLINK } from '../netlink/constants.ts';
import { createGenericDebug, debugPrinter, type NetlinkDebug } from '../netlink/debug.ts';
import { ERRNO, KernelError } from '../netlink/errors.ts';
import { GenericFamily } from '../netlink/genl.ts';
import type { MessageReader } from '../netlink/reader.ts';
import type { NetlinkSocket } from '../netlink/socket.ts';
import { CONTROL } from '../netlink/vocabulary.ts';
import { applyOperations, type ApplyContext } from './apply.ts';
import { probeCapabilities } from './capabilities.ts';
import { COMMAND, ENGINES, FAMILY_NAME, MODULE_NAME, SCHEDULERS } from './constants.ts';
import type { Expected, IpvsCapabilities, IpvsClient, IpvsFailure, IpvsObservation, IpvsWalk, IpvsWork, ServiceStatistics } from './contract.ts';
import { decodeDaemon, decodeService, decodeStatistics, decodeTimeouts } from './decode.ts';
import { DumpedTables } from './dumped-tables.ts';
import { Fingerprint } from './fingerprint.ts';
import { IpvsReader } from './read.ts';
import { SchedulerLoader, type ModuleAccess } from './scheduler-module.ts';
import { SockoptReader } from './sockopt.ts';
import { NO_SCHEDULER, serviceKey, type Service, type SyncDaemon, type Timeouts } from './types.ts';
import { IPVS_VOCABULARY } from './vocabulary.ts';

export interface IpvsOptions {
  /** Gets a line for each netlink message. Default: stderr when IPVS_NETLINK_DEBUG=1. */
  readonly debug?: (line: string) => void;
  /** Do not use getsockopt: slower, and for tests the reference. */
  readonly netlinkOnly?: boolean;
  /** For tests: read as where a system call costs this much, whatever it costs here (dumped-tables.ts). */
  readonly callMicroseconds?: number;
  /** For tests: a fake kernel instead of a socket. Implies netlinkOnly. */
  readonly socket?: NetlinkSocket;
  /** For tests: how scheduler modules are found and loaded. */
  readonly modules?: ModuleAccess;
}

/**
 * A client for the IPVS of the current network namespace, to which it belongs until closed. Opening needs no ip_vs module;
 * the first use without one throws KernelError MODULE_MISSING. Throws KernelError SYSTEM_CALL, PERMISSION_DENIED.
 */
export function openIpvs(options: IpvsOptions = {}): IpvsClient {
  const print = options.debug ?? debugPrinter();
  const debug = print === undefined ? undefined : createGenericDebug([IPVS_VOCABULARY], CONTROL, print);
  const connection = new NetlinkConnection(NETLINK.GENERIC, options.socket === undefined ? { debug } : { debug, socket: options.socket });
  try {
    const sockopt = options.netlinkOnly || options.socket !== undefined ? null : new SockoptReader();
    return new KernelIpvs(connection, sockopt, new SchedulerLoader(options.modules), debug, options.callMicroseconds);
  } catch (error) {
    connection.close();
    throw error;
  }
}

class KernelIpvs implements IpvsClient {
  readonly #connection: NetlinkConnection;
  #slow: NetlinkConnection | null = null;
  readonly #family: GenericFamily;
  readonly #sockopt: SockoptReader | null;
  readonly #dumped: DumpedTables | null;
  readonly #reader: IpvsReader;
  readonly #schedulers: SchedulerLoader;
  readonly #debug: NetlinkDebug | undefined;
  #capabilities: IpvsCapabilities | undefined;
  /** Schedulers that were asked for, whatever the answer. */
  #probed: ReadonlySet<string> = new Set();

  constructor(
    connection: NetlinkConnection,
    sockopt: SockoptReader | null,
    schedulers: SchedulerLoader,
    debug: NetlinkDebug | undefined,
    callMicroseconds: number | undefined,
  ) {
    this.#connection = connection;
    this.#family = new GenericFamily(connection, FAMILY_NAME, MODULE_NAME);
    this.#sockopt = sockopt;
    this.#dumped = sockopt === null ? null : new DumpedTables(this.#family, () => callMicroseconds ?? sockopt.callMicroseconds);
    this.#reader = new IpvsReader(connection, this.#family, sockopt, this.#dumped);
    this.#schedulers = schedulers;
    this.#debug = debug;
  }

  apply(work: readonly IpvsWork[], signal?: AbortSignal): Promise<IpvsFailure[]> {
    const context: ApplyContext = {
      onIpv6: () => { this.#reader.mayHaveIpv6 = true; },
      connection: this.#connection, family: this.#family, syncDaemons: () => this.syncDaemons(), schedulers: this.#schedulers,
    };
    return applyOperations(context, work, signal);
  }

  async readAll(signal?: AbortSignal, expected?: Expected): Promise<IpvsObservation> {
    try {
      return await this.#reader.readAll(signal, expected);
    } catch (error) {
      if (!this.#stale(error)) throw error;
      return this.#reader.readAll(signal, expected);
    }
  }

  walk(expected: Expected): IpvsWalk { return this.#fresh(() => this.#reader.walk(expected)); }

  read(services: readonly Service[]): IpvsObservation { return this.#fresh(() => this.#reader.read(services)); }

  fingerprint(): string { return this.#fresh(() => new Fingerprint(this.#reader, this.#sockopt).take()); }

  timeouts(): Timeouts {
    return this.#fresh(() => {
      const writer = this.#family.message(this.#connection.writer.reset(), COMMAND.GET_CONFIG, 0);
      const [timeouts] = this.#connection.request(writer, { operation: 'GET_CONFIG' }, decodeTimeouts);
      if (timeouts === undefined) throw new KernelError({ code: 'PROTOCOL', operation: 'GET_CONFIG', message: 'no answer' });
      return timeouts;
    });
  }

  syncDaemons(): SyncDaemon[] {
    return this.#fresh(() => {
      const writer = this.#family.message(this.#connection.writer.reset(), COMMAND.GET_DAEMON, 0);
      return this.#connection.dump(writer, { operation: 'GET_DAEMON' }, decodeDaemon).items;
    });
  }

  async statistics(signal: AbortSignal): Promise<Map<string, ServiceStatistics>> {
    // Of its own: half of a dump may lie in it.
    const connection = this.#slow ??= new NetlinkConnection(NETLINK.GENERIC, { debug: this.#debug });
    const ask = async (): Promise<Map<string, ServiceStatistics>> => {
      const writer = this.#family.message(connection.writer.reset(), COMMAND.GET_SERVICE, 0);
      return statisticsIn((await connection.dumpSlowly(writer, { operation: 'GET_SERVICE' }, decodeCounted, signal)).items);
    };
    try {
      return await ask();
    } catch (error) {
      if (!this.#stale(error)) throw error;
      return ask();
    }
  }

  capabilities(schedulers: readonly string[] = [NO_SCHEDULER, ...SCHEDULERS]): IpvsCapabilities {
    const known = this.#capabilities;
    const came = (module: string): boolean => this.#schedulers.isLoaded(module);
    const missing = schedulers.filter((name) => !this.#probed.has(name) || (!known?.schedulers.has(name) && came(`ip_vs_${name}`)));
    const engineCame = ENGINES.some((name) => !known?.engines.has(name) && came(`ip_vs_pe_${name}`));
    if (known !== undefined && missing.length === 0 && !engineCame) return known;
    const found = probeCapabilities(missing, this.#schedulers, this.#debug);
    // Without a module everything may still come: ask again next time.
    if (found.version === null) return found;
    this.#probed = new Set([...this.#probed, ...missing]);
    this.#capabilities = { ...found, schedulers: new Set([...known?.schedulers ?? [], ...found.schedulers]) };
    return this.#capabilities;
  }

  close(): void {
    this.#connection.close();
    this.#slow?.close();
    this.#sockopt?.close();
    this.#dumped?.close();
  }

  /** Runs a query; once more when the module was reloaded and the family has another id. */
  #fresh<T>(query: () => T): T {
    try {
      return query();
    } catch (error) {
      if (!this.#stale(error)) throw error;
      return query();
    }
  }

  /** No query of this family answers ENOENT, so then the id is not known (any more). */
  #stale(error: unknown): boolean {
    return error instanceof KernelError && error.code === 'KERNEL_REFUSED' && error.errno === ERRNO.ENOENT && this.#family.refresh();
  }
}

/** A service and its counters. */
interface Counted { readonly service: ReturnType<typeof decodeService>; readonly statistics: ReturnType<typeof decodeStatistics> }

function decodeCounted(message: MessageReader): Counted { return { service: decodeService(message), statistics: decodeStatistics(message) }; }

function statisticsIn(items: readonly Counted[]): Map<string, ServiceStatistics> {
  const result = new Map<string, ServiceStatistics>();
  for (const { service, statistics: { wide: _, ...counters } } of items) if (!('unknown' in service)) result.set(serviceKey(service), counters);
  return result;
}
