/** Values for tests: a plain service and destination to vary, and arbitrary sound ones. */
import fc from 'fast-check';
import { fromBytes } from '../../../../src/ip/ip.ts';
import { FORWARDING_METHODS, SERVICE_FLAG, TUNNEL_TYPES, type Destination, type Family, type Service } from '../../../../src/kernel/ipvs/types.ts';

export const service = (changes: Partial<Service> = {}): Service => ({
  family: 'IPv4', protocol: 'TCP', address: '192.0.2.1', port: 80, fwmark: 0, scheduler: 'wlc', flags: 0, timeoutSeconds: 0,
  prefixLength: changes.family === 'IPv6' ? 128 : 32, engine: '', ...changes,
});
export const fwmark = (mark: number, changes: Partial<Service> = {}): Service => service({ address: '', port: 0, fwmark: mark, ...changes });
export const persistent = (changes: Partial<Service> = {}): Service => service({ flags: SERVICE_FLAG.persistent, timeoutSeconds: 300, ...changes });
export const destination = (changes: Partial<Destination> = {}): Destination => ({
  family: 'IPv4', address: '10.0.0.1', port: 80, method: 'masq', weight: 1, upper: 0, lower: 0, tunnelType: 'ipip', tunnelPort: 0, tunnelFlags: 0, ...changes,
});

/** Unicast addresses that the kernel accepts for services and destinations. */
export const addressOf = (family: Family): fc.Arbitrary<string> => family === 'IPv4'
  ? fc.tuple(fc.integer({ min: 1, max: 126 }), fc.nat(255), fc.nat(255), fc.integer({ min: 1, max: 254 })).map((b) => b.join('.'))
  : fc.uint8Array({ minLength: 14, maxLength: 14 }).map((rest) => fromBytes(Uint8Array.of(0x20, 0x01, ...rest)));

const family = fc.constantFrom<Family>('IPv4', 'IPv6');
const port = fc.integer({ min: 1, max: 65535 });

/** Any service that validate.ts accepts, with schedulers that every kernel has. */
export const anyService: fc.Arbitrary<Service> = fc.tuple(family, fc.boolean(), fc.boolean(), fc.boolean()).chain(([f, isMark, isPersistent, onePacket]) => {
  const bits = f === 'IPv4' ? 32 : 128;
  return fc.record({
    family: fc.constant(f),
    protocol: isMark ? fc.constant('TCP' as const) : onePacket ? fc.constant('UDP' as const) : fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const),
    address: isMark ? fc.constant('') : addressOf(f),
    port: isMark ? fc.constant(0) : isPersistent ? fc.oneof(port, fc.constant(0)) : port,
    fwmark: isMark ? fc.integer({ min: 1, max: 0xffffffff }) : fc.constant(0),
    scheduler: fc.constantFrom('rr', 'wrr', 'lc', 'wlc', 'sed', 'nq'),
    flags: fc.constant((isPersistent ? SERVICE_FLAG.persistent : 0) | (onePacket ? SERVICE_FLAG.onePacket : 0)),
    timeoutSeconds: isPersistent ? fc.integer({ min: 1, max: 2_147_483 }) : fc.constant(0),
    prefixLength: isPersistent ? fc.integer({ min: 1, max: bits }) : fc.constant(bits),
    engine: fc.constant(''),
  }, { noNullPrototype: true });
});

/** Any destination that validate.ts accepts in this service. */
export const anyDestination = (s: Service): fc.Arbitrary<Destination> => fc.tuple(family, fc.constantFrom(...FORWARDING_METHODS), fc.constantFrom(...TUNNEL_TYPES), fc.nat(1_000_000)).chain(
  ([f, wished, type, upper]) => {
    const method = f === s.family ? wished : 'tunnel';
    const gue = method === 'tunnel' && type === 'gue';
    return fc.record({
      family: fc.constant(f),
      address: addressOf(f),
      port: s.fwmark === 0 && s.port !== 0 && method !== 'masq' ? fc.constant(s.port) : port,
      method: fc.constant(method),
      weight: fc.nat(65535),
      upper: fc.constant(upper),
      lower: fc.nat(upper),
      tunnelType: fc.constant(method === 'tunnel' ? type : 'ipip' as const),
      tunnelPort: gue ? port : fc.constant(0),
      tunnelFlags: method !== 'tunnel' || type === 'ipip' ? fc.constant(0) : gue ? fc.nat(2) : fc.nat(1),
    }, { noNullPrototype: true });
  });
