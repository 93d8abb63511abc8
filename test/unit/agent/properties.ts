/** Random programs, nodes and histories for property tests; and the oracle: what the kernel must look like in the end. Generators only. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { NodeState } from '../../../src/agent/state.ts';
import type { Program, ProgramPort } from '../../../src/api/v1alpha1/program.ts';
import { destinationKey, serviceKey } from '../../../src/kernel/ipvs/types.ts';
import { sameRules } from '../../../src/kernel/net/rules.ts';
import type { SourceNatRule } from '../../../src/kernel/net/types.ts';
import type { FakeKernel } from '../fake-kernel.ts';
import { group, makeKernel, program, service, destination } from './setup.ts';

/** A small world, so that histories meet: four VIPs, three ports, some real servers of which one is this node. */
const VIPS = ['10.0.1.200', '10.0.1.201', 'fd00:1::200', '10.0.2.200'];
const REAL_SERVERS = ['10.0.1.21', '10.0.1.22', '10.0.2.23', 'fd00:1::21', 'fd00:1::22', '10.0.1.11', 'fd00:1::11'];

const realServer = (port: number) => fc.record({ address: fc.constantFrom(...REAL_SERVERS), weight: fc.integer({ min: 0, max: 3 }) }).map((r) => `${r.address}|${port}|${r.weight}|`);

/** `slot` keeps keys apart: compile lets no two programs have the same port, and each has marks of its own. */
const oneProgram = (slot: number): fc.Arbitrary<Program> => fc.record({
  mode: fc.constantFrom('NAT', 'DR', 'TUN'),
  sourceAddress: fc.constantFrom('Preserve', 'Masquerade', 'VirtualIP'),
  encapsulation: fc.constantFrom('IPIP', 'GRE', 'GUE'),
  scheduler: fc.constantFrom('rr', 'wlc', 'sh', 'mh'),
  persistent: fc.boolean(),
  vips: fc.uniqueArray(fc.constantFrom(...VIPS), { minLength: 1, maxLength: 2 }),
  range: fc.boolean(),
  upper: fc.constantFrom(0, 10),
  drain: fc.constantFrom(0, 60),
  realServers: fc.uniqueArray(realServer(80 + slot), { maxLength: 5, selector: (r) => r.split('|')[0] }),
}).map((r) => {
  const port = 80 + slot;
  const ports: ProgramPort[] = [{ name: '', protocol: 'TCP', port, endPort: port }];
  const media: ProgramPort[] = [{ name: 'media', protocol: 'UDP', port: 30_000 + slot * 100, endPort: 30_050 + slot * 100 }];
  return program({
    owner: `default/s${slot}`, directorGroup: 'edge', mode: r.mode, sourceAddress: r.mode === 'NAT' ? r.sourceAddress : 'Preserve',
    tunnel: r.mode === 'TUN' ? { encapsulation: r.encapsulation, port: r.encapsulation === 'GUE' ? 6080 : 0, checksum: 'None' } : null,
    vips: r.vips, scheduler: { name: r.scheduler }, connectionLimits: { upper: r.upper, lower: 0 }, drainTimeoutSeconds: r.drain,
    persistence: r.persistent ? { timeoutSeconds: 300, ipv4PrefixLength: 24, ipv6PrefixLength: 64, engine: '' } : null,
    services: [
      { ports, mark: 0, realServers: r.realServers },
      ...(r.range ? [{ ports: media, mark: 0x4900_0000 + slot, realServers: r.realServers.map((text) => text.replace(/\|\d+\|/, '|0|')) }] : []),
    ],
  });
});

export const programs: fc.Arbitrary<Program[]> = fc.tuple(...[0, 1, 2, 3].map((slot) => fc.option(oneProgram(slot), { nil: null }))).map((list) => list.filter((p) => p !== null));

/** One slot: only this program changes. */
export const change = fc.integer({ min: 0, max: 3 }).chain((slot) => fc.option(oneProgram(slot), { nil: null }).map((p) => ({ owner: `default/s${slot}`, program: p })));

/** Groups that ask for something of every director, or for nothing. */
export const groups = fc.constantFrom(
  group(), group({ timeouts: { tcp: 600, tcpFin: 60, udp: 120 } }), group({ connectionSync: { interface: 'e1', syncId: 7 } }),
);

export const role = fc.constantFrom('director' as const, 'real-server' as const, 'both' as const);

/** A node with things of others on it: services, one of them on a key that we may want; addresses; sysctls that stand anyhow. */
export const node = fc.record({
  forward4: fc.constantFrom('0', '1'), forward6: fc.constantFrom('0', '1'), redirects: fc.constantFrom('0', '1'), arpIgnore: fc.constantFrom('0', '1', '2'),
  e1forwards: fc.boolean(), acceptRa: fc.constantFrom('0', '1', '2'), conflict: fc.boolean(), vipThere: fc.boolean(),
});

export interface Foreign {
  /** Plain text of everything that belongs to others; equal texts, untouched strangers. */
  (): string;
}

export function strangeNode(r: { forward4: string; forward6: string; redirects: string; arpIgnore: string; e1forwards: boolean; acceptRa: string; conflict: boolean; vipThere: boolean }): { kernel: FakeKernel; foreign: Foreign } {
  const kernel = makeKernel();
  const { net, ipvs } = kernel;
  net.write('net/ipv4/ip_forward', r.forward4);
  net.write('net/ipv6/conf/all/forwarding', r.forward6);
  net.write('net/ipv4/conf/all/accept_redirects', r.redirects);
  net.write('net/ipv4/conf/all/arp_ignore', r.arpIgnore);
  net.write('net/ipv6/conf/e0/accept_ra', r.acceptRa);
  if (r.e1forwards) for (const family of ['ipv4', 'ipv6']) net.write(`net/${family}/conf/e1/forwarding`, '1');
  ipvs.put(service({ address: '10.0.1.99', scheduler: 'wlc' }), [destination('10.0.1.98', { weight: 7 })]);
  ipvs.put(service({ protocol: 'TCP', address: '', port: 0, fwmark: 77 }), [destination('10.0.1.97', { port: 0 })]);
  const strangers = ['TCP 10.0.1.99:80', 'FWM 77 IPv4'];
  if (r.conflict) {
    ipvs.put(service({ port: 81, scheduler: 'lc' }), [destination('10.0.1.96', { port: 8080 })]);
    strangers.push('TCP 10.0.1.200:81');
  }
  net.address('e0', '10.0.1.77', 32);
  if (r.vipThere) net.address('e0', '10.0.1.201', 32);
  const addresses = new Set(net.addresses.map((a) => JSON.stringify(a)));
  // What nothing of ours may ever write: e1's redirects policy is not among it.
  const sysctls = ['net/ipv4/conf/all/accept_redirects', 'net/ipv4/vs/sloppy_tcp', 'net/ipv4/conf/lo/arp_ignore', 'net/ipv6/conf/e1/accept_ra'];
  ipvs.capabilities();
  return {
    kernel,
    foreign: () => JSON.stringify([
      strangers.map((key) => [ipvs.services.get(key)?.service, [...ipvs.services.get(key)?.destinations ?? []]]),
      [...addresses].map((a) => net.addresses.some((now) => JSON.stringify(now) === a)),
      sysctls.slice(1).map((path) => net.sysctls.get(path)),
    ]),
  };
}

/** Whether the kernel is as wished. `conflicts`: keys that others hold. */
export function assertReached(kernel: FakeKernel, wanted: NodeState, conflicts: ReadonlySet<string> = new Set()): void {
  const { ipvs, net } = kernel;
  for (const [key, { service: s, destinations }] of wanted.services) {
    if (conflicts.has(key)) continue;
    const there = ipvs.services.get(key);
    assert.ok(there, `${key} is missing`);
    assert.deepEqual(there.service, s, key);
    const byKey = (list: Iterable<ReturnType<typeof destination>>) => Object.fromEntries([...list].map((d) => [destinationKey(d), d]));
    // A real server that came to DR, or from it, may have a second key for ever (agent/way.ts); never two.
    const found = [...there.destinations.values()].map(({ destination: d }) => (d.method !== 'masq' && d.port < 2 ? { ...d, port: s.port } : d));
    assert.equal(found.length, destinations.length, key);
    assert.deepEqual(byKey(found), byKey(destinations.toArray()), key);
  }
  const { shared } = wanted;
  for (const [key, { value: { vip } }] of shared.vips) {
    if (conflicts.size > 0) continue;
    assert.ok(net.addresses.some((a) => `${a.link} ${a.address}` === key), `${vip.address} is not on ${vip.link}`);
    assert.ok(net.localRoutes.some((a) => `${a.link} ${a.address}` === key), `${vip.address} has no local route`);
  }
  for (const [name, { value }] of shared.tunnels) assert.deepEqual(net.links.filter((l) => l.name === name).map((l) => [l.kind, l.tunnelLocal, l.up]), [[value.kind, value.local, true]]);
  for (const [key, { value }] of shared.fou) assert.ok(net.fou.some((f) => f.family === value.family && f.port === value.port), key);
  for (const [path, { value }] of shared.sysctls) {
    const now = net.sysctls.get(path);
    if (!value.onlyFrom || now === value.onlyFrom[0]) assert.equal(now, value.value, path);
  }
  // Those of before stay for connections that began in NAT, where a service has another mode now.
  const outlived = (r: SourceNatRule) => (wanted.services.get(serviceKey({ ...r, address: r.vip, port: r.firstPort, fwmark: r.mark }))?.destinations.toArray()[0]?.method ?? 'masq') !== 'masq';
  const rules = net.rules && { ...net.rules, sourceNat: net.rules.sourceNat.filter((r) => !outlived(r)) };
  if (conflicts.size === 0) assert.ok(sameRules(rules, shared.rules), 'rules');
  if (shared.timeouts) assert.deepEqual(ipvs.timeoutsNow, shared.timeouts);
  assert.deepEqual(ipvs.daemons.map((d) => d.role).sort(), shared.syncDaemons.map((d) => d.role).sort());
}
