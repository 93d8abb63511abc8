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

  constructor(connection: NetlinkConnection) { this.#connection = connection; }

  /** Forgets what was read. */
  invalidate(): void { this.#byName = null; }

  /** The link, or undefined when there is none of that name. Throws KernelError when links cannot be read. */
  find(name: string): Link | undefined {
    this.#byName ??= new Map(readLinks(this.#connection).items.map((link) => [link.name, link]));
    return this.#byName.get(name);
  }

  /** The link. Throws KernelError KERNEL_REFUSED with ENODEV, as the kernel would. */
  require(name: string, operation: string): Link {
    const link = this.find(name);
    if (link === undefined) throw new KernelError({ code: 'KERNEL_REFUSED', errno: ERRNO.ENODEV, operation, object: name, message: 'no such link' });
    return link;
  }
}
