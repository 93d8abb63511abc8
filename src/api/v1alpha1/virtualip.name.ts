/** The name of a VirtualIP is its address: so two claims on one address meet in one object. Pure; knows no schema. */
import { ADDRESS_BITS, canonical, familyOf, toBytes } from '../../ip/ip.ts';

/** Characters of a fully expanded IPv6 address. */
export const MAX_VIRTUAL_IP_NAME = 39;

/** `203.0.113.10` as it is; `2001:db8::10` as `2001-0db8-0000-0000-0000-0000-0000-0010`. Throws RangeError on what is no address. */
export function virtualIPName(address: string): string {
  if (familyOf(address) === 'IPv4') return address;
  const bytes = toBytes(address);
  const groups = Array.from({ length: ADDRESS_BITS.IPv6 / 16 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16).padStart(4, '0'));
  return groups.join('-');
}

/** The canonical address behind a name; null when it is none that virtualIPName() gives. */
export function addressOfVirtualIP(name: string): string | null {
  const address = canonical(name.replaceAll('-', ':'));
  return address !== null && virtualIPName(address) === name ? address : null;
}
