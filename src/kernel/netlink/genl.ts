/**
 * Generic netlink families by name: their ids are given out at module load, so they are asked for once, remembered, and asked
 * for again when the kernel no longer knows them. No family of ours in particular.
 */
import { CTRL_ATTR, CTRL_CMD, GENL_ID_CTRL, NLM_F } from './constants.ts';
import type { NetlinkConnection } from './connection.ts';
import { ERRNO, KernelError } from './errors.ts';
import type { MessageWriter } from './writer.ts';

export class GenericFamily {
  readonly #connection: NetlinkConnection;
  readonly name: string;
  /** The kernel module that brings the family, for the error message. */
  readonly module: string;
  #id = 0;

  constructor(connection: NetlinkConnection, name: string, module: string) {
    this.#connection = connection;
    this.name = name;
    this.module = module;
  }

  /**
   * nlmsg_type of the family. Asks the kernel the first time; the lookup itself autoloads the module on an ordinary host.
   * Throws KernelError MODULE_MISSING when the family does not exist.
   */
  get id(): number {
    if (this.#id === 0) this.#id = this.#lookUp();
    return this.#id;
  }

  /** Forgets the id: the module was reloaded, or everything of one batch came back ENOENT. Returns whether it changed. */
  refresh(): boolean {
    const before = this.#id;
    this.#id = 0;
    return this.id !== before;
  }

  /** Begins a message of this family. */
  message(writer: MessageWriter, command: number, flags: number): MessageWriter {
    return writer.message(this.id, NLM_F.REQUEST | flags).generic(command);
  }

  #lookUp(): number {
    // A writer of its own: an id may be needed in the middle of a batch.
    const writer = this.#connection.scratch.reset();
    writer.message(GENL_ID_CTRL, NLM_F.REQUEST).generic(CTRL_CMD.GETFAMILY, 2).string(CTRL_ATTR.FAMILY_NAME, this.name);
    try {
      const [id] = this.#connection.request(writer, { operation: 'CTRL_CMD_GETFAMILY', object: this.name }, (message) => {
        for (const a = message.genericAttributes(); a.next();) if (a.type === CTRL_ATTR.FAMILY_ID) return a.u16();
        return 0;
      });
      if (!id) throw new KernelError({ code: 'PROTOCOL', operation: 'CTRL_CMD_GETFAMILY', object: this.name, message: 'the answer has no family id' });
      return id;
    } catch (error) {
      if (error instanceof KernelError && error.errno === ERRNO.ENOENT) {
        throw new KernelError({
          code: 'MODULE_MISSING', errno: ERRNO.ENOENT, operation: 'CTRL_CMD_GETFAMILY', object: this.name, cause: error,
          message: `the kernel has no ${this.name} family: \`modprobe ${this.module}\``,
        });
      }
      throw error;
    }
  }
}
