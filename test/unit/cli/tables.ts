/** IPVS tables for tests: any that the kernel can hold and text can say, and any that manifests can say. Not a test. */
import fc from 'fast-check';
import { canonical } from '../../../src/ip/ip.ts';
import { sortTable, type TableEntry } from '../../../src/cli/ipvs-table.ts';
import { destinationKey, serviceKey, SERVICE_FLAG, type Destination, type Family, type Service } from '../../../src/kernel/ipvs/types.ts';

export const service = (over: Partial<Service> = {}): Service => ({
  family: 'IPv4', protocol: 'TCP', address: '192.0.2.10', port: 80, fwmark: 0, scheduler: 'rr', flags: 0, timeoutSeconds: 0, prefixLength: 32, engine: '', ...over,
});

export const destination = (over: Partial<Destination> = {}): Destination => ({
  family: 'IPv4', address: '10.0.0.1', port: 80, method: 'direct', weight: 1, upper: 0, lower: 0, tunnelType: 'ipip', tunnelPort: 0, tunnelFlags: 0, ...over,
});

export const entry = (s: Partial<Service>, ...destinations: readonly Partial<Destination>[]): TableEntry => ({
  service: service(s), destinations: destinations.map((d) => destination({ port: s.port ?? 80, ...d })), line: 0,
});

/** Without line numbers, which depend on the text. */
export const withoutLines = (entries: readonly TableEntry[]) => entries.map(({ service: s, destinations }) => ({ service: s, destinations }));

const v4 = (net: string) => fc.tuple(fc.nat(31), fc.integer({ min: 1, max: 254 })).map(([a, b]) => `${net}.${a}.${b}`);
const v6 = (net: string) => fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 0xffff })).map(([a, b]) => canonical(`${net}:${a.toString(16)}::${b.toString(16)}`)!);
const address = (family: Family, who: 'vip' | 'server') => (family === 'IPv4' ? v4(who === 'vip' ? '198.18' : '10.1') : v6(who === 'vip' ? '2001:db8' : 'fd00'));
const port = fc.integer({ min: 1, max: 65_535 });
const family = fc.constantFrom<Family>('IPv4', 'IPv6');

/** What the three flags may be together with the scheduler that names them. */
const scheduling = fc.record({
  scheduler: fc.constantFrom('rr', 'wrr', 'lc', 'wlc', 'sh', 'dh', 'sed', 'nq', 'lblc', 'lblcr', 'mh', 'fo', 'ovf', 'none', 'twos'),
  flags: fc.subarray([SERVICE_FLAG.sched1, SERVICE_FLAG.sched2, SERVICE_FLAG.sched3, SERVICE_FLAG.onePacket]).map((bits) => bits.reduce((a, b) => a | b, 0)),
  engine: fc.constantFrom('', 'sip'),
});

const anyService: fc.Arbitrary<Service> = family.chain((f) => fc.tuple(
  scheduling, fc.boolean(), fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: f === 'IPv4' ? 0 : 1, max: f === 'IPv4' ? 32 : 128 }),
  fc.oneof(
    fc.record({ fwmark: fc.constant(0), protocol: fc.constantFrom('TCP', 'UDP', 'SCTP'), address: address(f, 'vip'), port: fc.oneof(port, fc.constant(0)) }),
    fc.record({ fwmark: fc.integer({ min: 1, max: 0xffff_ffff }), protocol: fc.constant('TCP'), address: fc.constant(''), port: fc.constant(0) }),
  ),
).map(([s, wish, timeoutSeconds, prefixLength, key]) => {
  const persistent = wish || (key.fwmark === 0 && key.port === 0);
  const full = f === 'IPv4' ? 32 : 128;
  return {
    family: f, ...s, ...key, flags: s.flags | (persistent ? SERVICE_FLAG.persistent : 0), timeoutSeconds: persistent ? timeoutSeconds : 0, prefixLength: persistent ? prefixLength : full,
  } as Service;
}));

const anyTunnel = fc.constantFrom<Pick<Destination, 'tunnelType' | 'tunnelPort' | 'tunnelFlags'>>(
  { tunnelType: 'ipip', tunnelPort: 0, tunnelFlags: 0 }, { tunnelType: 'gre', tunnelPort: 0, tunnelFlags: 0 }, { tunnelType: 'gre', tunnelPort: 0, tunnelFlags: 1 },
  { tunnelType: 'gue', tunnelPort: 6080, tunnelFlags: 0 }, { tunnelType: 'gue', tunnelPort: 5555, tunnelFlags: 1 }, { tunnelType: 'gue', tunnelPort: 6080, tunnelFlags: 2 },
);

const anyDestination = (s: Service): fc.Arbitrary<Destination> => fc.constantFrom<Destination['method']>('masq', 'direct', 'tunnel')
  .chain((method) => (method === 'tunnel' ? fc.tuple(family, anyTunnel) : fc.constant([s.family, { tunnelType: 'ipip', tunnelPort: 0, tunnelFlags: 0 }] as const)).chain(([f, tunnel]) => fc.record({
    family: fc.constant(f), address: address(f, 'server'), port: s.port === 0 ? fc.oneof(port, fc.constant(0)) : port, method: fc.constant(method),
    weight: fc.oneof(fc.nat(100), fc.nat(2_147_483_647)), upper: fc.oneof(fc.constant(0), fc.nat(70_000)), lower: fc.oneof(fc.constant(0), fc.nat(70_000)),
    tunnelType: fc.constant(tunnel.tunnelType), tunnelPort: fc.constant(tunnel.tunnelPort), tunnelFlags: fc.constant(tunnel.tunnelFlags),
  }))).map((d) => ({ ...d }) as Destination);

/** Any table that text can say, sorted. */
export const anyTable: fc.Arbitrary<TableEntry[]> = fc.uniqueArray(anyService, { selector: serviceKey, maxLength: 6 })
  .chain((services) => fc.tuple(...services.map((s) => fc.uniqueArray(anyDestination(s), { selector: destinationKey, maxLength: 5 }).map((destinations) => ({ service: s, destinations, line: 0 })))))
  .map((entries) => sortTable(entries));

/** A table that manifests can say: one shape a service, several services that share a VIP and a shape. */
const expressibleVip = fc.tuple(family, fc.constantFrom<Destination['method']>('masq', 'direct', 'tunnel')).chain(([f, method]) => fc.record({
  key: address(f, 'vip'),
  ports: fc.uniqueArray(fc.tuple(fc.constantFrom('TCP', 'UDP', 'SCTP'), port), { selector: ([p, n]) => `${p}${n}`, minLength: 1, maxLength: 12 }),
  target: fc.option(port, { nil: null }),
  scheduler: fc.constantFrom('rr', 'wrr', 'lc', 'wlc', 'sh', 'dh', 'sed', 'nq', 'lblc', 'lblcr', 'mh', 'fo', 'ovf'),
  sched: fc.subarray([SERVICE_FLAG.sched1, SERVICE_FLAG.sched2]), onePacket: fc.boolean(), sip: fc.boolean(),
  persistence: fc.option(fc.tuple(fc.integer({ min: 1, max: 2_147_483 }), fc.integer({ min: 1, max: f === 'IPv4' ? 32 : 128 })), { nil: null }),
  servers: (method === 'tunnel' ? family : fc.constant(f)).chain((rf) => fc.uniqueArray(fc.tuple(address(rf, 'server'), fc.nat(65_535)), { selector: ([a]) => a, maxLength: 8 })),
  limits: fc.option(fc.tuple(fc.integer({ min: 1, max: 70_000 }), fc.nat(70_000)), { nil: null }),
  tunnel: anyTunnel,
}).map((v) => v.ports.map(([protocol, n]): TableEntry => {
  const hashes = v.scheduler === 'sh' || v.scheduler === 'mh';
  const flags = (hashes ? v.sched.reduce<number>((a, b) => a | b, 0) : 0) | (v.onePacket && protocol === 'UDP' ? SERVICE_FLAG.onePacket : 0) | (v.persistence ? SERVICE_FLAG.persistent : 0);
  const tunnel = method === 'tunnel' ? v.tunnel : { tunnelType: 'ipip' as const, tunnelPort: 0, tunnelFlags: 0 };
  return {
    line: 0,
    service: {
      family: f, protocol: protocol as Service['protocol'], address: v.key, port: n, fwmark: 0, scheduler: v.scheduler, flags,
      timeoutSeconds: v.persistence?.[0] ?? 0, prefixLength: v.persistence?.[1] ?? (f === 'IPv4' ? 32 : 128), engine: v.persistence && v.sip && protocol === 'UDP' ? 'sip' : '',
    },
    destinations: v.servers.map(([a, weight]) => ({
      family: a.includes(':') ? 'IPv6' : 'IPv4', address: a, port: method === 'masq' ? v.target ?? n : n, method, weight,
      upper: v.limits?.[0] ?? 0, lower: Math.min(v.limits?.[0] ?? 0, v.limits?.[1] ?? 0), ...tunnel,
    })),
  };
})));

export const expressibleTable: fc.Arbitrary<TableEntry[]> = fc.uniqueArray(expressibleVip, { selector: (entries) => entries[0]!.service.address, maxLength: 5 })
  .map((vips) => sortTable(vips.flat()));
