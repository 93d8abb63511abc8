/**
 * Prints netlink messages in words: direction, command, sequence, flags, attributes by name with readable values, errnos by
 * name. For people with IPVS_NETLINK_DEBUG=1; nothing depends on it. The vocabularies are tables: the control family and
 * rtnetlink in vocabulary.ts, IPVS in kernel/ipvs/vocabulary.ts.
 */
import { fromBytes } from '../../ip/ip.ts';
import { CTRL_ATTR, CTRL_CMD, GENL_HEADER, GENL_ID_CTRL, NLM_F, NLMSG } from './constants.ts';
import { errnoName, KernelError } from './errors.ts';
import { MessageReader, type AttributeReader } from './reader.ts';
import { refusalIn } from './refusal.ts';

/** What a connection tells about: whole datagrams. */
export interface NetlinkDebug {
  sent(bytes: Uint8Array, length: number): void;
  received(bytes: Uint8Array, length: number): void;
}

/** How a value is shown. 'address' is 4 or 16 bytes, 'mac' 6; 'errno' a negative number in a signed word. */
export type ValueKind = 'u8' | 'u16' | 'u16be' | 'u32' | 'i32' | 'u32be' | 'hex32' | 'u64' | 'string' | 'address' | 'mac' | 'bytes' | 'flag';
/** Attribute number to name and kind, or to name and the table of its nest. */
export interface AttributeTable { readonly [type: number]: readonly [name: string, kind: ValueKind | AttributeTable] }

/** How one type of message is shown. */
export interface MessageVocabulary {
  readonly name: string;
  /** Bytes of the fixed header before the attributes. */
  readonly header: number;
  /** The fixed header in words. */
  readonly describeHeader?: (message: MessageReader) => string;
  readonly attributes: AttributeTable;
}

/** A generic netlink family. */
export interface FamilyVocabulary {
  readonly name: string;
  readonly commands: Readonly<Record<number, string>>;
  readonly attributes: AttributeTable;
}

/** Whether IPVS_NETLINK_DEBUG asks for the printer; then a function that writes lines to stderr. */
export function debugPrinter(environment: Readonly<Record<string, string | undefined>> = process.env): ((line: string) => void) | undefined {
  const value = environment['IPVS_NETLINK_DEBUG'];
  return value === undefined || value === '' || value === '0' ? undefined : (line) => { process.stderr.write(`${line}\n`); };
}

/** A printer for a protocol whose nlmsg_type is the command (rtnetlink). */
export function createDebug(vocabularyOf: (type: number) => MessageVocabulary | undefined, print: (line: string) => void): NetlinkDebug {
  const show = (arrow: string) => (bytes: Uint8Array, length: number): void => {
    for (const line of describe(bytes, length, (message) => vocabularyOf(message.type))) print(`netlink ${arrow} ${line}`);
  };
  return { sent: show('>'), received: show('<') };
}

/** A printer for generic netlink. It learns the ids of the families from the answers to CTRL_CMD_GETFAMILY that it sees. */
export function createGenericDebug(families: readonly FamilyVocabulary[], control: FamilyVocabulary, print: (line: string) => void): NetlinkDebug {
  const byId = new Map<number, FamilyVocabulary>([[GENL_ID_CTRL, control]]);
  const vocabularyOf = (message: MessageReader): MessageVocabulary | undefined => {
    const family = byId.get(message.type);
    if (family === undefined || message.end - message.start < GENL_HEADER) return undefined;
    const command = message.command;
    return { name: `${family.name} ${family.commands[command] ?? `command ${command}`}`, header: GENL_HEADER, attributes: family.attributes };
  };
  const learn = (bytes: Uint8Array, length: number): void => {
    for (const message = new MessageReader(bytes, length); message.next();) {
      if (message.type !== GENL_ID_CTRL || message.command !== CTRL_CMD.NEWFAMILY) continue;
      let id = 0;
      let name = '';
      for (const a = message.genericAttributes(); a.next();) {
        if (a.type === CTRL_ATTR.FAMILY_ID) id = a.u16();
        if (a.type === CTRL_ATTR.FAMILY_NAME) name = a.string();
      }
      const family = families.find((candidate) => candidate.name === name);
      if (family !== undefined) byId.set(id, family);
    }
  };
  const show = (arrow: string, bytes: Uint8Array, length: number): void => {
    for (const line of describe(bytes, length, vocabularyOf)) print(`netlink ${arrow} ${line}`);
  };
  return {
    sent: (bytes, length) => show('>', bytes, length),
    received: (bytes, length) => {
      try {
        learn(bytes, length);
      } catch (error) {
        // Malformed bytes are shown as such below; the connection reports them to its caller.
        if (!(error instanceof KernelError)) throw error;
      }
      show('<', bytes, length);
    },
  };
}

/** One line a message. Malformed bytes become a line that says so; nothing is thrown. */
export function describe(bytes: Uint8Array, length: number, vocabularyOf: (message: MessageReader) => MessageVocabulary | undefined): string[] {
  const lines: string[] = [];
  const message = new MessageReader(bytes, length);
  try {
    while (message.next()) lines.push(describeMessage(message, vocabularyOf));
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    lines.push(`malformed: ${error.message}: ${hex(bytes.subarray(0, Math.min(length, 256)))}`);
  }
  return lines;
}

function describeMessage(message: MessageReader, vocabularyOf: (message: MessageReader) => MessageVocabulary | undefined): string {
  const sequence = `seq ${message.sequence}`;
  if (message.type === NLMSG.ERROR) {
    const refusal = refusalIn(message);
    return refusal === null ? `ACK ${sequence}` : `ERROR ${sequence} ${errnoName(refusal.errno)}${refusal.message ? ` "${refusal.message}"` : ''}`;
  }
  if (message.type === NLMSG.DONE) {
    const errno = message.end - message.start >= 4 ? -(message.word(0) | 0) : 0;
    return `DONE ${sequence}${errno > 0 ? ` ${errnoName(errno)}` : ''}${message.flags & NLM_F.DUMP_INTR ? ' DUMP_INTR' : ''}`;
  }
  const vocabulary = vocabularyOf(message);
  if (vocabulary === undefined) return `type ${message.type} ${sequence} flags 0x${message.flags.toString(16)} ${hex(message.payload().subarray(0, 256))}`;
  const header = vocabulary.describeHeader?.(message) ?? '';
  const attributes = describeAttributes(message.attributes(vocabulary.header), vocabulary.attributes);
  return [vocabulary.name, sequence, flagNames(message.flags), header, attributes].filter(Boolean).join(' ');
}

function describeAttributes(attributes: AttributeReader, table: AttributeTable): string {
  const parts: string[] = [];
  while (attributes.next()) {
    const [name, kind] = table[attributes.type] ?? [`attribute ${attributes.type}`, 'bytes' as const];
    if (typeof kind === 'object') parts.push(`${name}{${describeAttributes(attributes.nested(), kind)}}`);
    else if (kind === 'flag') parts.push(name);
    else parts.push(`${name}=${valueText(attributes, kind)}`);
  }
  return parts.join(' ');
}

function valueText(attributes: AttributeReader, kind: Exclude<ValueKind, 'flag'>): string {
  switch (kind) {
    case 'u8': return String(attributes.u8());
    case 'u16': return String(attributes.u16());
    case 'u16be': return String(attributes.u16be());
    case 'u32': return String(attributes.u32());
    case 'i32': return String(attributes.i32());
    case 'u32be': return `0x${attributes.u32be().toString(16).padStart(8, '0')}`;
    case 'hex32': return `0x${attributes.u32().toString(16)}`;
    case 'u64': return String(attributes.u64());
    case 'string': return JSON.stringify(attributes.string());
    case 'address': return addressText(attributes.data());
    case 'mac': return Array.from(attributes.data(), (byte) => byte.toString(16).padStart(2, '0')).join(':');
    case 'bytes': return attributes.length > 64 ? `${hex(attributes.data().subarray(0, 64))}...(${attributes.length})` : hex(attributes.data());
  }
}

/** The kernel returns 16 bytes for IPv4 too; the last 12 are then zero. */
function addressText(bytes: Uint8Array): string {
  if (bytes.length === 16 && bytes.subarray(4).every((byte) => byte === 0)) return fromBytes(bytes.subarray(0, 4));
  return bytes.length === 4 || bytes.length === 16 ? fromBytes(bytes) : hex(bytes);
}

function flagNames(flags: number): string {
  const names: string[] = [];
  if (flags & NLM_F.ACK) names.push('ACK');
  if (flags & NLM_F.MULTI) names.push('MULTI');
  if (flags & NLM_F.DUMP_INTR) names.push('DUMP_INTR');
  if ((flags & NLM_F.DUMP) === NLM_F.DUMP) names.push('DUMP');
  else if (flags & NLM_F.REPLACE) names.push('REPLACE');
  else if (flags & NLM_F.EXCL) names.push('EXCL');
  if (flags & NLM_F.CREATE) names.push('CREATE');
  if (flags & NLM_F.APPEND) names.push('APPEND');
  return names.join('|');
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
