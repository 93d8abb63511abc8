/**
 * UDP ports that receive GUE (`ip fou add port PORT gue`), by the generic netlink family `fou`. Its refusals are ambiguous
 * (EADDRINUSE is "already there" or "somebody's socket"), so the list is asked before one is believed.
 */
import { AF } from '../netlink/libc.ts';
import { GENL_ID_CTRL, CTRL_ATTR, CTRL_CMD, NLM_F } from '../netlink/constants.ts';
import type { NetlinkConnection } from '../netlink/connection.ts';
import { ERRNO, KernelError } from '../netlink/errors.ts';
import type { MessageReader } from '../netlink/reader.ts';
import type { CommandRunner } from './command.ts';
import { FOU_ATTR, FOU_CMD, FOU_TYPE_GUE } from './rtnetlink-constants.ts';
import type { FouPort } from './types.ts';

const FAMILY = 'fou';

export class FouPorts {
  readonly #connection: NetlinkConnection;
  readonly #commands: CommandRunner;
  /** nlmsg_type; 0 while unknown. */
  #id = 0;

  /** `connection`: NETLINK_GENERIC. `commands`: to load the module, which carries no alias that would make the kernel do it. */
  constructor(connection: NetlinkConnection, commands: CommandRunner) {
    this.#connection = connection;
    this.#commands = commands;
  }

  /** GUE ports; none while the module is not loaded (looking does not load it). */
  list(): { readonly ports: FouPort[]; readonly complete: boolean } {
    for (const id of [this.#id, 0]) {
      this.#id = id || this.#lookUp();
      if (this.#id === 0) return { ports: [], complete: true };
      try {
        const writer = this.#connection.scratch.reset().message(this.#id, NLM_F.REQUEST).generic(FOU_CMD.GET);
        const { items, complete } = this.#connection.dump(writer, { operation: 'FOU_CMD_GET' }, decodeFou);
        return { ports: items.filter((port) => port !== null), complete };
      } catch (error) {
        // The module was reloaded and has another id now, or is gone.
        if (id === 0 || !(error instanceof KernelError) || error.errno !== ERRNO.ENOENT) throw error;
      }
    }
    return { ports: [], complete: false };
  }

  /** Opens a port. Succeeds when it is open already. Throws KernelError, MODULE_MISSING when the module cannot be loaded. */
  add(fou: FouPort): void {
    if (this.#has(fou)) return;
    if (this.#id === 0) this.#load(fou);
    this.#send(FOU_CMD.ADD, 'FOU_CMD_ADD', fou);
  }

  /** Closes a port. Succeeds when it is not open. */
  delete(fou: FouPort): void {
    if (this.#has(fou)) this.#send(FOU_CMD.DEL, 'FOU_CMD_DEL', fou);
  }

  #has(fou: FouPort): boolean {
    return this.list().ports.some((port) => port.family === fou.family && port.port === fou.port);
  }

  #send(command: number, operation: string, fou: FouPort): void {
    const writer = this.#connection.scratch.reset().message(this.#id, NLM_F.REQUEST).generic(command);
    writer.u16be(FOU_ATTR.PORT, fou.port).u8(FOU_ATTR.AF, fou.family === 'IPv4' ? AF.INET : AF.INET6);
    if (command === FOU_CMD.ADD) writer.u8(FOU_ATTR.TYPE, FOU_TYPE_GUE);
    const object = `${fou.family} UDP port ${fou.port}`;
    try {
      this.#connection.request(writer, { operation, object });
    } catch (error) {
      if (!(error instanceof KernelError) || error.errno !== ERRNO.EADDRINUSE) throw error;
      const message = 'another program has this UDP port; `ss -lunp` tells which';
      throw new KernelError({ code: 'KERNEL_REFUSED', errno: error.errno, operation, object, cause: error, message });
    }
  }

  #load(fou: FouPort): void {
    const loaded = this.#commands.runSync('modprobe', [FAMILY]);
    this.#id = this.#lookUp();
    if (this.#id !== 0) return;
    throw new KernelError({
      code: 'MODULE_MISSING', errno: ERRNO.ENOENT, operation: 'FOU_CMD_ADD', object: `${fou.family} UDP port ${fou.port}`,
      message: `the module fou is not loaded, and no kernel loads it by itself: on the host, \`modprobe fou\`, now and at boot${loaded.stderr ? ` (tried here: ${loaded.stderr.trim().slice(0, 200)})` : ''}`,
    });
  }

  /** By a dump of all families: asking for one by name makes the kernel look for a module. */
  #lookUp(): number {
    const writer = this.#connection.scratch.reset().message(GENL_ID_CTRL, NLM_F.REQUEST).generic(CTRL_CMD.GETFAMILY, 2);
    const { items } = this.#connection.dump(writer, { operation: 'CTRL_CMD_GETFAMILY' }, (message) => {
      let id = 0;
      let name = '';
      for (const a = message.genericAttributes(); a.next();) {
        if (a.type === CTRL_ATTR.FAMILY_ID) id = a.u16();
        else if (a.type === CTRL_ATTR.FAMILY_NAME) name = a.string();
      }
      return name === FAMILY ? id : 0;
    });
    return items.find((id) => id !== 0) ?? 0;
  }
}

/** An entry of the dump; null for ports that receive something else than GUE. */
export function decodeFou(message: MessageReader): FouPort | null {
  let port = 0;
  let type = 0;
  let af = 0;
  for (const a = message.genericAttributes(); a.next();) {
    switch (a.type) {
      case FOU_ATTR.PORT: port = a.u16be(); break;
      case FOU_ATTR.TYPE: type = a.u8(); break;
      case FOU_ATTR.AF: af = a.u8(); break;
    }
  }
  if (type !== FOU_TYPE_GUE || (af !== AF.INET && af !== AF.INET6)) return null;
  return { family: af === AF.INET ? 'IPv4' : 'IPv6', port };
}
