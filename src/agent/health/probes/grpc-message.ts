/**
 * The two messages of grpc.health.v1.Health/Check, with gRPC's length before them. HealthCheckRequest { string service = 1 },
 * HealthCheckResponse { ServingStatus status = 1 }. Pure.
 */

export const SERVING_STATUS = { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } as const;

/** Flag (compressed or not) and length of a message, big-endian. */
const PREFIX = 5;
const STRING_1 = 0x0a;
const WIRE = { VARINT: 0, FIXED64: 1, BYTES: 2, FIXED32: 5 } as const;

export function encodeHealthRequest(service: string): Uint8Array {
  const name = Buffer.from(service);
  const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.of(STRING_1, ...varint(name.length)), name]);
  const prefix = Buffer.alloc(PREFIX);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

/** The serving status; null when the bytes are not exactly one uncompressed message of that kind. Unknown fields are read over. */
export function decodeHealthResponse(body: Uint8Array): number | null {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body.length < PREFIX || body[0] !== 0 || view.getUint32(1) !== body.length - PREFIX) return null;
  let status: number = SERVING_STATUS.UNKNOWN;
  for (let at = PREFIX; at < body.length;) {
    const tag = readVarint(body, at);
    if (tag === null) return null;
    const value = readVarint(body, tag.next);
    switch (tag.value & 7) {
      case WIRE.VARINT:
        if (value === null) return null;
        if (tag.value >>> 3 === 1) status = value.value;
        at = value.next;
        break;
      case WIRE.FIXED64: at = tag.next + 8; break;
      case WIRE.FIXED32: at = tag.next + 4; break;
      case WIRE.BYTES:
        if (value === null) return null;
        at = value.next + value.value;
        break;
      default: return null;
    }
    if (at > body.length) return null;
  }
  return status;
}

/** A varint of at most 32 bits; longer ones are read over and lose what is above. */
function readVarint(bytes: Uint8Array, from: number): { value: number; next: number } | null {
  let value = 0;
  for (let i = 0; i < 10; i++) {
    const byte = bytes[from + i];
    if (byte === undefined) return null;
    if (i < 5) value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return { value: value >>> 0, next: from + i + 1 };
  }
  return null;
}
