/**
 * The kernel's no: what an NLMSG_ERROR says, extended acknowledgement included, and the exception that it becomes. Which answer
 * belongs to which request is connection.ts's.
 */
import { NLM_F, NLMSGERR_ATTR } from './constants.ts';
import { ERRNO, KernelError } from './errors.ts';
import type { MessageReader } from './reader.ts';

/** The kernel's no to one message. */
export interface Refusal {
  /** Positive. */
  readonly errno: number;
  /** Extended ACK: the kernel's own words, '' where it has none (IPVS never has). */
  readonly message: string;
  /** Extended ACK: offset of the attribute at fault in the request, -1 if not told. */
  readonly offset: number;
}

/** Names a request in errors. */
export interface RequestName {
  readonly operation: string;
  readonly object?: string;
}

/** Bytes of `int error` and the echoed header in struct nlmsgerr. */
const ERROR_BODY = 4 + 16;

/** What an NLMSG_ERROR says: null is an acknowledgement. */
export function refusalIn(reader: MessageReader): Refusal | null {
  const errno = -(reader.word(0) | 0);
  if (errno <= 0) return null;
  // Without NETLINK_CAP_ACK the request is echoed whole after its header; extended attributes follow whichever it is.
  const echoed = reader.flags & NLM_F.CAPPED ? 16 : reader.word(4);
  return { errno, ...(reader.flags & NLM_F.ACK_TLVS ? extendedAck(reader, Math.max(ERROR_BODY, 4 + ((echoed + 3) & ~3))) : { message: '', offset: -1 }) };
}

/** What the attributes of an extended acknowledgement say, which begin `skip` bytes into the message. */
export function extendedAck(reader: MessageReader, skip: number): { message: string; offset: number } {
  let message = '';
  let offset = -1;
  if (reader.end - reader.start <= skip) return { message, offset };
  for (const attributes = reader.attributes(skip); attributes.next();) {
    if (attributes.type === NLMSGERR_ATTR.MSG) message = attributes.string();
    else if (attributes.type === NLMSGERR_ATTR.OFFS) offset = attributes.u32();
  }
  return { message, offset };
}

/** The exception for a refused request. */
export function refusalError(refusal: Refusal, name: RequestName): KernelError {
  const permission = refusal.errno === ERRNO.EPERM || refusal.errno === ERRNO.EACCES;
  return new KernelError({
    code: permission ? 'PERMISSION_DENIED' : 'KERNEL_REFUSED', errno: refusal.errno, operation: name.operation, object: name.object ?? '',
    message: [refusal.message, permission ? 'CAP_NET_ADMIN is needed' : ''].filter(Boolean).join('; '),
  });
}
