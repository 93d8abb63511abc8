/**
 * Links by name during one `apply`: read when first needed, read again when something may have made or removed one. Netlink wants
 * numbers, and numbers change when a tunnel is made anew.
 */
import type { NetlinkConnection } from '../netlink/connection.ts';
import { ERRNO, KernelError } from '../netlink/errors.ts';
import { readLinks } from './rtnetlink-read.ts';
import type { Link } from './types.ts';

export class Links {
  readonly #connection: NetlinkConnection;
  #byName: Map<string, Link> | null = null;
  #complete = true;

  constructor(connection: NetlinkConnection) { this.#connection = connection; }

  /** Forgets what was read. */
  invalidate(): void { this.#byName = null; }

  /**
   * The link, or undefined when there is none of that name. Throws KernelError when links cannot be read, DUMP_INTERRUPTED when the list may only
   * not show it: who believed it gone would leave its address there for ever.
   */
  find(name: string): Link | undefined {
    if (this.#byName === null) {
      const { items, complete } = readLinks(this.#connection);
      this.#byName = new Map(items.map((link) => [link.name, link]));
      this.#complete = complete;
    }
    const link = this.#byName.get(name);
    if (link !== undefined || this.#complete) return link;
    const message = 'the links changed each time they were read, and it was not among them';
    throw new KernelError({ code: 'DUMP_INTERRUPTED', operation: 'RTM_GETLINK', object: name, message });
  }

  /** The link. Throws KernelError KERNEL_REFUSED with ENODEV, as the kernel would. */
  require(name: string, operation: string): Link {
    const link = this.find(name);
    if (link === undefined) throw new KernelError({ code: 'KERNEL_REFUSED', errno: ERRNO.ENODEV, operation, object: name, message: 'no such link' });
    return link;
  }
}
