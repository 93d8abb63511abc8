/**
 * A network of addresses, ready to be compared with many of them: a director asks for thousands of VIPs each second which NIC they belong
 * to. Pure.
 */
import { toBytes } from '../ip/ip.ts';

export interface Network {
  readonly bytes: Uint8Array;
  /** Bits. */
  readonly length: number;
}

/** `address` may have host bits. Throws RangeError on what is no address. */
export function networkOf(address: string, length: number): Network {
  return { bytes: toBytes(address), length };
}

/** Whether an address, as bytes, lies in it. Addresses of the other family never do. */
export function covers({ bytes, length }: Network, address: Uint8Array): boolean {
  if (bytes.length !== address.length) return false;
  const whole = length >> 3;
  for (let i = 0; i < whole; i++) if (bytes[i] !== address[i]) return false;
  const mask = (0xff00 >> (length & 7)) & 0xff;
  return mask === 0 || ((bytes[whole]! ^ address[whole]!) & mask) === 0;
}
