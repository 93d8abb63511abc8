/**
 * What this kernel's IPVS can do, found by trying: in a network namespace made for the purpose and left again at once, or,
 * where that is not permitted, with a fwmark service that no packet can match. Reports; what to refuse is decided above.
 */
import { closeSync, openSync } from 'node:fs';
import { release } from 'node:os';
import { NetlinkConnection } from '../netlink/connection.ts';
import type { Refusal } from '../netlink/refusal.ts';
import { NETLINK, NLM_F } from '../netlink/constants.ts';
import type { NetlinkDebug } from '../netlink/debug.ts';
import { ERRNO, KernelError } from '../netlink/errors.ts';
import { GenericFamily } from '../netlink/genl.ts';
import { CLONE_NEWNET, setns, unshare } from '../netlink/libc.ts';
import { COMMAND, ENGINES, FAMILY_NAME, MODULE_NAME, SCHEDULERS } from './constants.ts';
import type { IpvsCapabilities } from './contract.ts';
import { decodeInfo, decodeStatistics, decodeTunnelSupport } from './decode.ts';
import { encodeDestination, encodeService, encodeServiceKey } from './encode.ts';
import { SchedulerLoader } from './scheduler-module.ts';
import { NO_SCHEDULER, SERVICE_FLAG, type Destination, type Service } from './types.ts';

/** 'IPVS' as a number: a mark that no rule sets. The probe takes the first free one from here. */
const PROBE_MARK = 0x49505653;
/** RTM_NEWLINK and IFF_UP; lo is always interface 1. */
const RTM_NEWLINK = 16;
const IFF_UP = 1;
const LOOPBACK_INDEX = 1;

/** For destinations that no packet will ever reach (RFC 5737). */
const PROBE_DESTINATION: Destination = {
  family: 'IPv4', address: '192.0.2.1', port: 0, method: 'tunnel', weight: 0, upper: 0, lower: 0, tunnelType: 'gue', tunnelPort: 6080, tunnelFlags: 0,
};

/**
 * Probes the kernel. `schedulers` names those worth asking for, as each question may load a module. Without an ip_vs module
 * `version` is null and everything else empty; whoever needs IPVS then gets MODULE_MISSING. Throws other KernelErrors.
 */
export function probeCapabilities(
  schedulers: readonly string[] = [NO_SCHEDULER, ...SCHEDULERS],
  loader = new SchedulerLoader(),
  debug?: NetlinkDebug,
): IpvsCapabilities {
  try {
    return inScratchNamespace(() => withConnection(debug, (probe) => {
      bringLoopbackUp();
      return probe.run(schedulers, loader);
    }));
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    if (error.code === 'MODULE_MISSING') return NOTHING;
    // unshare needs CAP_SYS_ADMIN, which IPVS itself does not.
    if (error.operation !== 'unshare') throw error;
  }
  try {
    return withConnection(debug, (probe) => probe.run(schedulers, loader));
  } catch (error) {
    if (error instanceof KernelError && error.code === 'MODULE_MISSING') return NOTHING;
    throw error;
  }
}

const NOTHING: IpvsCapabilities = {
  kernel: release(), version: null, connectionTableSize: 0, schedulers: new Set(), engines: new Set(), tunnelTypes: new Set(), ipv6: false, stats64: false,
};

/**
 * Runs synchronous work in a new network namespace, and returns to the old one whatever happens. Never await in it: other
 * work of this process would run, and threads could be born, in the wrong namespace.
 */
export function inScratchNamespace<T>(work: () => T): T {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    unshare(CLONE_NEWNET);
    try {
      return work();
    } finally {
      setns(home, CLONE_NEWNET);
    }
  } finally {
    closeSync(home);
  }
}

/** A destination needs the local routing table, which exists once lo was up. */
function bringLoopbackUp(): void {
  const route = new NetlinkConnection(NETLINK.ROUTE);
  try {
    // struct ifinfomsg: family, type; index; flags; change.
    const writer = route.writer.reset().message(RTM_NEWLINK, NLM_F.REQUEST).word(0).word(LOOPBACK_INDEX).word(IFF_UP).word(IFF_UP);
    route.request(writer, { operation: 'RTM_NEWLINK', object: 'lo' });
  } finally {
    route.close();
  }
}

function withConnection<T>(debug: NetlinkDebug | undefined, work: (probe: Probe) => T): T {
  const connection = new NetlinkConnection(NETLINK.GENERIC, { debug });
  try {
    return work(new Probe(connection));
  } finally {
    connection.close();
  }
}

/** Questions to one kernel, in one namespace. Whatever it adds, it removes. */
class Probe {
  readonly #connection: NetlinkConnection;
  readonly #family: GenericFamily;
  #mark = PROBE_MARK;

  constructor(connection: NetlinkConnection) {
    this.#connection = connection;
    this.#family = new GenericFamily(connection, FAMILY_NAME, MODULE_NAME);
  }

  run(schedulers: readonly string[], loader: SchedulerLoader): IpvsCapabilities {
    const info = this.#info();
    const known = new Set(schedulers.filter((scheduler) => loader.ready(scheduler) && this.#accepts({ scheduler })));
    const any = [...known][0] ?? (this.#accepts({ scheduler: NO_SCHEDULER }) ? NO_SCHEDULER : 'rr');
    const engines = ENGINES.filter((engine) => this.#accepts({ scheduler: any, engine, flags: SERVICE_FLAG.persistent, timeoutSeconds: 60 }));
    const ipv6 = this.#accepts({ scheduler: any, family: 'IPv6', prefixLength: 128 });
    let tunnels = { type: false, flags: false };
    let stats64 = false;
    this.#accepts({ scheduler: any }, (service) => {
      tunnels = this.#tunnels(service);
      stats64 = this.#stats64(service);
    });
    return {
      kernel: release(), ...info, schedulers: known, engines: new Set(engines), ipv6, stats64,
      tunnelTypes: new Set(['ipip', ...(tunnels.type ? ['gue'] : []), ...(tunnels.flags ? ['gre'] : [])]),
    };
  }

  #info(): { version: string; connectionTableSize: number } {
    const writer = this.#family.message(this.#connection.writer.reset(), COMMAND.GET_INFO, 0);
    const [info] = this.#connection.request(writer, { operation: 'GET_INFO' }, decodeInfo);
    if (info === undefined) throw new KernelError({ code: 'PROTOCOL', operation: 'GET_INFO', message: 'no answer' });
    return info;
  }

  /** Whether the kernel takes a service like this; runs `use` while it exists. */
  #accepts(wish: Partial<Service>, use?: (service: Service) => void): boolean {
    const service: Service = {
      family: 'IPv4', protocol: 'TCP', address: '', port: 0, fwmark: this.#mark, scheduler: '', flags: 0, timeoutSeconds: 0, prefixLength: 32, engine: '', ...wish,
    };
    const refusal = this.#do(COMMAND.NEW_SERVICE, (writer) => encodeService(writer, service));
    if (refusal?.errno === ERRNO.EEXIST) { // somebody's, or left by a probe that was killed
      this.#mark++;
      return this.#accepts({ ...wish, fwmark: this.#mark }, use);
    }
    if (refusal?.errno === ERRNO.EPERM) {
      const message = 'IPVS needs CAP_NET_ADMIN in the initial user namespace';
      throw new KernelError({ code: 'PERMISSION_DENIED', errno: refusal.errno, operation: 'NEW_SERVICE', message });
    }
    if (refusal !== null) return false;
    try {
      use?.(service);
    } finally {
      this.#do(COMMAND.DEL_SERVICE, (writer) => encodeServiceKey(writer, service));
    }
    return true;
  }

  /** Kernels ignore attributes that they do not know, so what counts is what they report back. */
  #tunnels(service: Service): { type: boolean; flags: boolean } {
    const refusal = this.#do(COMMAND.NEW_DEST, (writer) => {
      encodeServiceKey(writer, service);
      encodeDestination(writer, PROBE_DESTINATION);
    });
    if (refusal !== null) return { type: false, flags: false };
    const writer = this.#family.message(this.#connection.writer.reset(), COMMAND.GET_DEST, 0);
    encodeServiceKey(writer, service);
    return this.#connection.dump(writer, { operation: 'GET_DEST' }, decodeTunnelSupport).items[0] ?? { type: false, flags: false };
  }

  #stats64(service: Service): boolean {
    const writer = this.#family.message(this.#connection.writer.reset(), COMMAND.GET_SERVICE, 0);
    encodeServiceKey(writer, service);
    return this.#connection.request(writer, { operation: 'GET_SERVICE' }, decodeStatistics)[0]?.wide ?? false;
  }

  #do(command: number, write: (writer: NetlinkConnection['writer']) => void): Refusal | null {
    const writer = this.#family.message(this.#connection.writer.reset(), command, 0);
    write(writer);
    return this.#connection.transact(writer).refused.get(0) ?? null;
  }
}
