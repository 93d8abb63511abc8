/**
 * An IPVS that lives behind a NetlinkSocket: services and destinations by key, the kernel's errnos, one answer per refusal and
 * one for the final ACK. It believes what it is sent (values are not checked): what matters here is what exists.
 */
import { COMMAND } from '../../../../src/kernel/ipvs/constants.ts';
import { decodeDestination, decodeService, RowBuffer } from '../../../../src/kernel/ipvs/decode.ts';
import { DestinationTable } from '../../../../src/kernel/ipvs/destinations.ts';
import { destinationKey, serviceKey, type Destination, type Service } from '../../../../src/kernel/ipvs/types.ts';
import { MessageReader } from '../../../../src/kernel/netlink/reader.ts';
import { MessageWriter } from '../../../../src/kernel/netlink/writer.ts';
import { errorReply, scriptedSocket, taken, type ScriptedSocket, type Sent } from '../netlink/scripted-socket.ts';

const NAMES = new Map<number, string>(Object.entries(COMMAND).map(([name, number]) => [number, name]));
const ERRNO = { EPERM: 1, ENOENT: 2, ESRCH: 3, EEXIST: 17 };

export interface FakeService { service: Service; destinations: Map<string, Destination> }

export class FakeKernel {
  readonly services = new Map<string, FakeService>();
  /** Commands by name, one list for each send, lookups of the family left out. */
  readonly batches: string[][] = [];
  readonly socket: ScriptedSocket;
  /** nlmsg_type of the family; change it to reload the module. 0: not loaded. */
  familyId = 28;
  permitted = true;
  readonly schedulers = new Set(['none', 'rr', 'wrr', 'wlc', 'mh', 'lc', 'sed', 'nq']);
  /** Sends whose answers the kernel drops, after doing the work. */
  dropAnswers = 0;
  /** Called before each batch: somebody else at work. */
  meanwhile: () => void = () => {};

  constructor() { this.socket = scriptedSocket((messages) => this.#answer(messages)); }

  destinationsOf(service: Service): Map<string, Destination> { return this.services.get(serviceKey(service))!.destinations; }

  #answer(messages: readonly Sent[]): (Uint8Array | number)[] {
    if (messages[0]!.type === 0x10) {
      const { sequence } = messages[0]!;
      if (this.familyId === 0) return [errorReply(sequence, ERRNO.ENOENT)];
      return [taken(new MessageWriter(64).message(0x10, 0, sequence).generic(1, 2).string(2, 'IPVS').u16(1, this.familyId)), errorReply(sequence, 0)];
    }
    this.meanwhile();
    const known = messages.map((m) => m.type === this.familyId);
    this.batches.push(messages.map((m, i) => known[i] ? NAMES.get(m.payload[0]!)! : 'stale'));
    const answers = messages.flatMap((message, i) => {
      const errno = !known[i] ? ERRNO.ENOENT : !this.permitted ? ERRNO.EPERM : this.#execute(message);
      return errno !== 0 || message.flags & 4 ? [errorReply(message.sequence, errno)] : [];
    });
    if (this.dropAnswers > 0) {
      this.dropAnswers--;
      return [...answers.slice(0, 1).filter((a) => a !== answers.at(-1)), -105];
    }
    return answers;
  }

  #execute(message: Sent): number {
    const command = message.payload[0]!;
    const reader = withHeader(message);
    const decoded = decodeService(reader);
    if ('unknown' in decoded) throw new Error('the fake knows TCP, UDP and SCTP');
    const key = serviceKey(decoded);
    const existing = this.services.get(key);
    if (command === COMMAND.NEW_SERVICE) {
      if (existing) return ERRNO.EEXIST;
      if (!this.schedulers.has(decoded.scheduler)) return ERRNO.ENOENT;
      this.services.set(key, { service: decoded, destinations: new Map() });
      return 0;
    }
    if (!existing) return ERRNO.ESRCH;
    if (command === COMMAND.SET_SERVICE) {
      if (!this.schedulers.has(decoded.scheduler)) return ERRNO.ENOENT;
      existing.service = decoded;
      return 0;
    }
    if (command === COMMAND.DEL_SERVICE) { this.services.delete(key); return 0; }
    const rows = new RowBuffer();
    decodeDestination(reader, decoded.family === 'IPv4' ? 2 : 10, rows);
    const destination = new DestinationTable(rows.take()).get(0);
    const destinationName = destinationKey(destination);
    const there = existing.destinations.has(destinationName);
    if (command === COMMAND.NEW_DEST && there) return ERRNO.EEXIST;
    if (command !== COMMAND.NEW_DEST && !there) return ERRNO.ENOENT;
    if (command === COMMAND.DEL_DEST) existing.destinations.delete(destinationName);
    else existing.destinations.set(destinationName, destination);
    return 0;
  }
}

/** The message with its header again, as a reader on it. */
function withHeader(message: Sent): MessageReader {
  const bytes = new Uint8Array(16 + message.payload.length);
  bytes.set(message.payload, 16);
  new DataView(bytes.buffer).setUint32(0, bytes.length, true);
  const reader = new MessageReader(bytes);
  reader.next();
  return reader;
}

