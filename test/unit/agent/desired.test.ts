/** What each mode, family and role needs on a node: reference modes.md section 1 as a table. Then roles, refusals, marks. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { desired } from '../../../src/agent/desired.ts';
import { indexFacts, interfaceFor, type RoleChoice } from '../../../src/agent/facts.ts';
import { joinNeeds, NO_NEEDS, type Fragment } from '../../../src/agent/state.ts';
import type { ProgramTunnel } from '../../../src/api/v1alpha1/program.ts';
import { SCHEDULER_FLAG, SERVICE_FLAG, serviceKey } from '../../../src/kernel/ipvs/types.ts';
import { ADDRESS_PROTOCOL } from '../../../src/kernel/net/types.ts';
import { facts, fragments, group, makeKernel, program, type ProgramFields } from './setup.ts';

const only = (fields: ProgramFields, role: RoleChoice = 'director', change: (k: ReturnType<typeof makeKernel>) => void = () => {}): Fragment => {
  const kernel = makeKernel();
  change(kernel);
  return fragments(kernel, [program(fields)], { role })[0]!;
};

const sysctls = (f: Fragment) => Object.fromEntries(f.needs.sysctls.map((s) => [s.path.replace(/^net\//, ''), s.value]));
const vips = (f: Fragment) => f.needs.vips.map((v) => `${v.vip.address} on ${v.vip.link}${v.announce ? ', announced' : ''}`);

const VS4 = { 'ipv4/vs/expire_nodest_conn': '1', 'ipv4/vs/expire_quiescent_template': '1' };
const NAT4 = { ...VS4, 'ipv4/vs/conntrack': '1', 'ipv4/ip_forward': '1', 'ipv4/conf/all/send_redirects': '0', 'ipv4/conf/e0/send_redirects': '0' };
const NAT6 = { ...VS4, 'ipv4/vs/conntrack': '1', 'ipv6/conf/all/forwarding': '1', 'ipv6/conf/e0/accept_ra': '2' };
const QUIET = { 'ipv4/conf/all/arp_ignore': '1', 'ipv4/conf/all/arp_announce': '2' };
const V6 = { vips: ['fd00:1::200'], realServers: ['fd00:1::21'] };

// ---- the director's part

const DIRECTOR: readonly [string, ProgramFields, { sysctls: Record<string, string>; vips: string[]; to: string }][] = [
  ['NAT that keeps the client: forwarding, no redirects, conntrack, no source NAT', {}, { sysctls: NAT4, vips: ['10.0.1.200 on e0, announced'], to: '' }],
  ['NAT behind the director: the same and source NAT to whatever goes out', { sourceAddress: 'Masquerade' }, { sysctls: NAT4, vips: ['10.0.1.200 on e0, announced'], to: 'IPv4 TCP 10.0.1.200:80-80 -> any' }],
  ['NAT behind the VIP: source NAT to the VIP', { sourceAddress: 'VirtualIP' }, { sysctls: NAT4, vips: ['10.0.1.200 on e0, announced'], to: 'IPv4 TCP 10.0.1.200:80-80 -> 10.0.1.200' }],
  ['two-armed NAT: no redirects on the inner NIC either', { realServers: ['10.0.2.21'] }, { sysctls: { ...NAT4, 'ipv4/conf/e1/send_redirects': '0' }, vips: ['10.0.1.200 on e0, announced'], to: '' }],
  ['NAT of IPv6: forwarding, and router advertisements still heard', V6, { sysctls: NAT6, vips: ['fd00:1::200 on e0, announced'], to: '' }],
  ['NAT of IPv6 with source NAT', { ...V6, sourceAddress: 'Masquerade' }, { sysctls: NAT6, vips: ['fd00:1::200 on e0, announced'], to: 'IPv6 TCP fd00:1::200:80-80 -> any' }],
  ['NAT of both families', { vips: ['10.0.1.200', 'fd00:1::200'], realServers: ['10.0.1.21', 'fd00:1::21'] }, { sysctls: { ...NAT4, ...NAT6 }, vips: ['10.0.1.200 on e0, announced', 'fd00:1::200 on e0, announced'], to: '' }],
  ['DR: no forwarding, nothing but the VIP and what IPVS needs', { mode: 'DR' }, { sysctls: VS4, vips: ['10.0.1.200 on e0, announced'], to: '' }],
  ['DR of IPv6', { ...V6, mode: 'DR' }, { sysctls: VS4, vips: ['fd00:1::200 on e0, announced'], to: '' }],
  ['TUN: no forwarding either', { mode: 'TUN' }, { sysctls: VS4, vips: ['10.0.1.200 on e0, announced'], to: '' }],
  ['TUN of IPv6', { ...V6, mode: 'TUN' }, { sysctls: VS4, vips: ['fd00:1::200 on e0, announced'], to: '' }],
  ['TUN of IPv4 over IPv6', { mode: 'TUN', realServers: ['fd00:1::21'] }, { sysctls: VS4, vips: ['10.0.1.200 on e0, announced'], to: '' }],
];
for (const [name, fields, expected] of DIRECTOR) {
  test(`director: ${name}`, () => {
    const f = only(fields);
    assert.deepEqual(f.refusals, []);
    assert.equal(f.role, 'director');
    assert.deepEqual({ sysctls: sysctls(f), vips: vips(f) }, { sysctls: expected.sysctls, vips: expected.vips });
    assert.equal(f.needs.sourceNat.map((r) => `${r.family} ${r.protocol} ${r.vip}:${r.firstPort}-${r.lastPort} -> ${r.to || 'any'}`).join(), expected.to);
    assert.deepEqual([f.needs.tunnels, f.needs.fou, f.needs.mss], [[], [], []], 'tunnels are the real server\'s');
  });
}

const tunnel = (encapsulation: ProgramTunnel['encapsulation'], checksum: ProgramTunnel['checksum'] = 'None'): ProgramTunnel => ({ encapsulation, port: encapsulation === 'GUE' ? 6080 : 0, checksum });

const METHODS: readonly [string, ProgramFields, string][] = [
  ['NAT rewrites the port', { realServers: ['10.0.1.21|8080|3|'] }, '10.0.1.21:8080 masq weight 3'],
  ['DR keeps the service\'s port, whatever a program says', { mode: 'DR', realServers: ['10.0.1.21|8080|3|'] }, '10.0.1.21:80 direct weight 3'],
  ['IPIP', { mode: 'TUN', tunnel: tunnel('IPIP') }, '10.0.1.21:80 tunnel ipip'],
  ['GRE with checksum', { mode: 'TUN', tunnel: tunnel('GRE', 'Checksum') }, '10.0.1.21:80 tunnel gre flags 1'],
  ['GUE with remote checksum', { mode: 'TUN', tunnel: tunnel('GUE', 'RemoteChecksum') }, '10.0.1.21:80 tunnel gue port 6080 flags 2'],
  ['limits', { connectionLimits: { upper: 9, lower: 4 } }, '10.0.1.21:80 masq limits 4..9'],
];
for (const [name, fields, expected] of METHODS) {
  test(`destination: ${name}`, () => {
    const f = only({ realServers: ['10.0.1.21'], ...fields });
    const [d] = f.services[0]!.destinations.toArray();
    const words = [`${d!.address}:${d!.port}`, d!.method];
    if (d!.method === 'tunnel') words.push(d!.tunnelType);
    if (d!.weight !== 1) words.push(`weight ${d!.weight}`);
    if (d!.tunnelPort) words.push(`port ${d!.tunnelPort}`);
    if (d!.tunnelFlags) words.push(`flags ${d!.tunnelFlags}`);
    if (d!.upper) words.push(`limits ${d!.lower}..${d!.upper}`);
    assert.equal(words.join(' '), expected);
  });
}

test('a VIP gets real servers of its own family; only TUN crosses, and only where there are none of its own', () => {
  const both = { vips: ['10.0.1.200', 'fd00:1::200'], realServers: ['10.0.1.21', 'fd00:1::21'] };
  const addresses = (f: Fragment) => f.services.map((s) => s.destinations.toArray().map((d) => d.address).join());
  assert.deepEqual(addresses(only(both)), ['10.0.1.21', 'fd00:1::21']);
  assert.deepEqual(addresses(only({ ...both, mode: 'TUN' })), ['10.0.1.21', 'fd00:1::21']);
  assert.deepEqual(addresses(only({ ...both, realServers: ['fd00:1::21'] })), ['', 'fd00:1::21']);
  assert.deepEqual(addresses(only({ ...both, realServers: ['fd00:1::21'], mode: 'TUN' })), ['fd00:1::21', 'fd00:1::21']);
});

test('two entries of a program that are one destination are added once', () => {
  const f = only({ mode: 'DR', realServers: ['10.0.1.21|80|3|', '10.0.1.21|81|5|'] });
  assert.deepEqual(f.services[0]!.destinations.toArray().map((d) => d.weight), [3]);
});

test('scheduler flags and persistence become the kernel\'s, per family', () => {
  const f = only({
    vips: ['10.0.1.200', 'fd00:1::200'], protocol: 'UDP', scheduler: { name: 'mh', fallback: true, portAware: true, onePacket: true },
    persistence: { timeoutSeconds: 120, ipv4PrefixLength: 24, ipv6PrefixLength: 64, engine: 'sip' },
  });
  const flags = SCHEDULER_FLAG.fallback | SCHEDULER_FLAG.portAware | SERVICE_FLAG.onePacket | SERVICE_FLAG.persistent;
  assert.deepEqual(f.services.map(({ service: s }) => [s.scheduler, s.flags, s.timeoutSeconds, s.prefixLength, s.engine]), [['mh', flags, 120, 24, 'sip'], ['mh', flags, 120, 64, 'sip']]);
  assert.deepEqual(only({ vips: ['10.0.1.200', 'fd00:1::200'] }).services.map((s) => s.service.prefixLength), [32, 128]);
});

test('a range of ports is one fwmark service, marked on the VIP, and source NAT follows the mark', () => {
  const f = only({
    vips: ['10.0.1.200', 'fd00:1::200'], sourceAddress: 'Masquerade',
    services: [{ ports: [{ name: 'a', protocol: 'UDP', port: 30_000, endPort: 30_100 }, { name: 'b', protocol: 'TCP', port: 80, endPort: 80 }], mark: 77, realServers: ['10.0.1.21|0|1|'] }],
  });
  assert.deepEqual(f.services.map((s) => serviceKey(s.service)), ['FWM 77 IPv4', 'FWM 77 IPv6']);
  assert.deepEqual(f.needs.marks.map((m) => `${m.family} ${m.protocol} ${m.vip}:${m.firstPort}-${m.lastPort} = ${m.mark}`), [
    'IPv4 UDP 10.0.1.200:30000-30100 = 77', 'IPv4 TCP 10.0.1.200:80-80 = 77', 'IPv6 UDP fd00:1::200:30000-30100 = 77', 'IPv6 TCP fd00:1::200:80-80 = 77',
  ]);
  assert.ok(f.needs.sourceNat.every((r) => r.mark === 77) && f.needs.sourceNat.length === 4);
  assert.equal(f.services[0]!.destinations.get(0).port, 0, 'the port of the packet stays');
});

// ---- the real server's part

interface RealServerNeeds { readonly on: 'lo' | 'tunnel' | 'nothing'; readonly kind?: string; readonly sysctls?: Record<string, string>; readonly fou?: string; readonly mss?: number; readonly checksum?: boolean }

const TUN4 = { ...QUIET, 'ipv4/conf/all/rp_filter': '0', 'ipv4/conf/TUNNEL/rp_filter': '0' };
const mine = { realServers: ['10.0.1.11', '10.0.1.22'] };
const mine6 = { vips: ['fd00:1::200'], realServers: ['fd00:1::11'] };
const REAL_SERVER: readonly [string, ProgramFields, RealServerNeeds][] = [
  ['NAT asks for nothing', mine, { on: 'nothing' }],
  ['DR: the VIP on lo, and silence about it', { ...mine, mode: 'DR' }, { on: 'lo', sysctls: QUIET }],
  ['DR of IPv6: the VIP on lo, no sysctl', { ...mine6, mode: 'DR' }, { on: 'lo' }],
  ['TUN with IPIP', { ...mine, mode: 'TUN' }, { on: 'tunnel', kind: 'ipip', sysctls: TUN4, mss: 1500 - 20 - 40 }],
  ['TUN with GRE', { ...mine, mode: 'TUN', tunnel: tunnel('GRE') }, { on: 'tunnel', kind: 'gre', sysctls: TUN4, mss: 1500 - 24 - 40 }],
  ['TUN with GRE and checksum', { ...mine, mode: 'TUN', tunnel: tunnel('GRE', 'Checksum') }, { on: 'tunnel', kind: 'gre', sysctls: TUN4, mss: 1500 - 28 - 40, checksum: true }],
  ['TUN with GUE', { ...mine, mode: 'TUN', tunnel: tunnel('GUE') }, { on: 'tunnel', kind: 'ipip', sysctls: TUN4, fou: 'IPv4 6080', mss: 1500 - 32 - 40 }],
  ['TUN with GUE and remote checksum', { ...mine, mode: 'TUN', tunnel: tunnel('GUE', 'RemoteChecksum') }, { on: 'tunnel', kind: 'ipip', sysctls: TUN4, fou: 'IPv4 6080', mss: 1500 - 40 - 40 }],
  ['TUN of IPv6: no reverse path filter there', { ...mine6, mode: 'TUN' }, { on: 'tunnel', kind: 'ip6tnl', mss: 1500 - 40 - 60 }],
  ['TUN of IPv6 with GRE', { ...mine6, mode: 'TUN', tunnel: tunnel('GRE') }, { on: 'tunnel', kind: 'ip6gre', mss: 1500 - 44 - 60 }],
  ['TUN of IPv6 with GUE', { ...mine6, mode: 'TUN', tunnel: tunnel('GUE') }, { on: 'tunnel', kind: 'ip6tnl', fou: 'IPv6 6080', mss: 1500 - 52 - 60 }],
  ['TUN of IPv6 over IPv4: the filter of IPv4 does not see what is inside', { vips: ['fd00:1::200'], realServers: ['10.0.1.11'], mode: 'TUN' }, { on: 'tunnel', kind: 'sit', mss: 1500 - 20 - 60 }],
  ['TUN of IPv4 over IPv6', { vips: ['10.0.1.200'], realServers: ['fd00:1::11'], mode: 'TUN' }, { on: 'tunnel', kind: 'ip6tnl', sysctls: TUN4, mss: 1500 - 40 - 40 }],
];
for (const [name, fields, expected] of REAL_SERVER) {
  test(`real server: ${name}`, () => {
    const f = only(fields, 'real-server');
    const vip = fields.vips?.[0] ?? '10.0.1.200';
    assert.deepEqual([f.role, f.refusals, f.services], ['realServer', [], []]);
    const [device] = f.needs.tunnels;
    assert.deepEqual(vips(f), expected.on === 'nothing' ? [] : [`${vip} on ${expected.on === 'lo' ? 'lo' : device!.name}`]);
    const wanted = Object.fromEntries(Object.entries(expected.sysctls ?? {}).map(([path, value]) => [path.replace('TUNNEL', device?.name ?? ''), value]));
    assert.deepEqual(sysctls(f), wanted);
    assert.deepEqual(f.needs.tunnels.map((t) => [t.kind, t.checksum, t.name.length <= 15]), expected.kind ? [[expected.kind, expected.checksum ?? false, true]] : []);
    assert.equal(f.needs.fou.map((p) => `${p.family} ${p.port}`).join(), expected.fou ?? '');
    assert.deepEqual(f.needs.mss.map((m) => [m.vip, m.mss]), expected.mss ? [[vip, expected.mss]] : []);
    assert.deepEqual(f.needs.sourceNat, []);
  });
}

test('a real server of one family binds only the VIP that it receives for', () => {
  const f = only({ mode: 'DR', vips: ['10.0.1.200', 'fd00:1::200'], realServers: ['10.0.1.11', 'fd00:1::21'] }, 'real-server');
  assert.deepEqual(vips(f), ['10.0.1.200 on lo']);
});

test('of two tunnels to one VIP the smaller MSS counts, and a node without a packet filter goes without', () => {
  const kernel = makeKernel();
  const two = [program({ ...mine, mode: 'TUN' }), program({ ...mine, owner: 'default/b', port: 81, mode: 'TUN', tunnel: tunnel('GUE') })];
  assert.deepEqual(joinNeeds(fragments(kernel, two, { role: 'real-server' }), []).rules.mss.map((m) => m.mss), [1428]);
  assert.deepEqual(fragments(kernel, two, { role: 'real-server', netfilter: null }).flatMap((f) => f.needs.mss), []);
});

// ---- roles

const here = ['10.0.1.11', '10.0.1.22'];
const elsewhere = ['10.0.1.21', '10.0.1.22'];
const ROLES: readonly [RoleChoice, string, Record<string, string> | null, readonly string[], string][] = [
  ['director', 'a director', null, elsewhere, 'director'], ['director', 'a director that is an endpoint, too', null, here, 'both'],
  ['both', 'both', null, here, 'both'], ['both', 'both, with no endpoint here', null, elsewhere, 'director'],
  ['real-server', 'a real server', null, here, 'realServer'], ['real-server', 'a real server that has no endpoint here', null, elsewhere, 'none'],
  ['auto', 'auto without a group, no endpoint here: director', null, elsewhere, 'director'], ['auto', 'auto without a group, endpoint here: real server', null, here, 'realServer'],
  ['auto', 'auto, selected by the group', { site: 'x' }, elsewhere, 'director'], ['auto', 'auto, selected by the group and an endpoint', { site: 'x' }, here, 'both'],
  ['auto', 'auto, not selected, endpoint here', { site: 'y' }, here, 'realServer'], ['auto', 'auto, not selected, no endpoint here', { site: 'y' }, elsewhere, 'none'],
];
for (const [role, name, nodeSelector, realServers, expected] of ROLES) {
  test(`role ${role}: ${name}`, () => {
    const f = fragments(makeKernel(), [program({ mode: 'DR', directorGroup: 'edge', realServers })], { role, labels: { site: 'x' } }, [group({ nodeSelector })])[0]!;
    assert.equal(f.role, expected);
    if (expected === 'none') assert.equal(f.needs, NO_NEEDS);
    assert.equal(vips(f).some((v) => v.endsWith('announced')), expected === 'director' || expected === 'both', 'only directors announce');
  });
}

// ---- refusals

const REFUSED: readonly [string, ProgramFields, string, RegExp, ((k: ReturnType<typeof makeKernel>) => void)?][] = [
  ["the node's own address", { vips: ['10.0.1.11'] }, 'AddressReserved', /this node's own address/],
  ['the only address of a NIC, a host prefix', { vips: ['10.7.7.7'] }, 'AddressReserved', /own address/, (k) => { k.net.addLink({ name: 'cloud' }); k.net.address('cloud', '10.7.7.7', 32); }],
  ['loopback', { vips: ['127.0.0.5'] }, 'AddressReserved', /loopback/],
  ['multicast', { vips: ['224.0.0.1'] }, 'AddressReserved', /multicast/],
  ['link-local', { vips: ['fe80::5'] }, 'AddressReserved', /linkLocal/],
  ['no address at all', { vips: ['nonsense'] }, 'AddressReserved', /not an IP address/],
  ['no subnet for the VIP', { vips: ['192.0.2.1'] }, 'NoInterface', /no interface of this node has a subnet that holds 192\.0\.2\.1/],
  ['no scheduler', { scheduler: { name: 'xyz' } }, 'KernelFeatureMissing', /modprobe ip_vs_xyz/],
  ['no engine', { persistence: { timeoutSeconds: 1, ipv4PrefixLength: 32, ipv6PrefixLength: 128, engine: 'sip' } }, 'KernelFeatureMissing', /ip_vs_pe_sip/, (k) => { k.ipvs.engines.clear(); }],
  ['no GUE', { mode: 'TUN', tunnel: tunnel('GUE') }, 'KernelFeatureMissing', /use IPIP/, (k) => { k.ipvs.tunnelTypes.delete('gue'); }],
  ['no IPv6', V6, 'KernelFeatureMissing', /IPv6 is disabled/, (k) => { k.ipvs.ipv6 = false; }],
  ['no ip_vs', {}, 'KernelFeatureMissing', /modprobe ip_vs/, (k) => { k.ipvs.module = false; }],
  ['no packet filter for source NAT', { sourceAddress: 'Masquerade' }, 'KernelFeatureMissing', /install nftables or iptables/, (k) => { k.net.backend = null; }],
  ['a real server that is loopback', { realServers: ['127.0.0.1'] }, 'EndpointNotPermitted', /1 real server refused/],
  ['a real server that is a VIP', { realServers: ['10.0.1.200', '10.0.1.21'] }, 'EndpointNotPermitted', /1 real server refused/],
  ['real servers in no known form', { realServers: ['a|b', '10.0.1.21|80|-1|'] }, 'EndpointNotPermitted', /2 real servers refused/],
];
for (const [name, fields, code, message, change] of REFUSED) {
  test(`refused: ${name}`, () => {
    const f = only(fields, 'director', change);
    assert.deepEqual(f.refusals.map((r) => r.code), [code]);
    assert.match(f.refusals[0]!.message, message);
    if (code === 'EndpointNotPermitted') {
      assert.ok(f.services.every((s) => s.destinations.toArray().every((d) => d.address === '10.0.1.21')), 'the others serve');
      assert.deepEqual(f.refusedVips, []);
    } else {
      assert.deepEqual([f.services, f.needs, f.refusedVips], [[], NO_NEEDS, fields.vips ?? ['10.0.1.200']]);
    }
  });
}

test('one VIP that is refused does not take the other with it', () => {
  const f = only({ vips: ['10.0.1.200', '192.0.2.1'] });
  assert.deepEqual([vips(f), f.refusals.map((r) => r.code), f.refusedVips], [['10.0.1.200 on e0, announced'], ['NoInterface'], ['192.0.2.1']]);
});

test('of two NICs that would do, the one with a carrier has the VIP', () => {
  const two = (dead: string) => (k: ReturnType<typeof makeKernel>) => {
    k.net.addLink({ name: 'e2', mac: '02:00:00:00:03:11' });
    k.net.address('e2', '10.0.1.13', 24);
    k.net.links = k.net.links.map((l) => (l.name === dead ? { ...l, carrier: false } : l));
  };
  for (const [dead, has] of [['', 'e0'], ['e0', 'e2'], ['e2', 'e0']] as const) {
    assert.deepEqual(vips(only({}, 'director', two(dead))), [`10.0.1.200 on ${has}, announced`], `in one network, ${dead} is dead`);
    const kernel = makeKernel();
    two(dead)(kernel);
    const byName = fragments(kernel, [program({ directorGroup: 'edge' })], { role: 'director' }, [group({ interface: { match: 'Regex', regex: 'e[02]' } })])[0]!;
    assert.deepEqual(vips(byName), [`10.0.1.200 on ${has}, announced`], `by name, ${dead} is dead`);
  }
});

test('a kernel whose IPVS has no IPv6 serves the IPv4 VIP of a dual-stack VirtualServer', () => {
  const f = only({ vips: ['10.0.1.200', 'fd00:1::200'] }, 'director', (k) => { k.ipvs.ipv6 = false; });
  assert.deepEqual([vips(f), f.services.map((s) => serviceKey(s.service))], [['10.0.1.200 on e0, announced'], ['TCP 10.0.1.200:80']]);
  assert.deepEqual([f.refusals.map((r) => [r.code, r.vip]), f.refusedVips], [[['KernelFeatureMissing', 'fd00:1::200']], ['fd00:1::200']]);
});

test('a kernel without NAT needs no packet filter, and a Preserve service none either', () => {
  assert.deepEqual(only({}, 'director', (k) => { k.net.backend = null; }).refusals, []);
  assert.deepEqual(only({ mode: 'DR' }, 'director', (k) => { k.net.backend = null; }).refusals, []);
});

test('a VIP that a script bound as a host prefix, or that we bound, is no address of the node', () => {
  for (const change of [
    (k: ReturnType<typeof makeKernel>) => { k.net.address('lo', '10.0.1.200', 32); },
    (k: ReturnType<typeof makeKernel>) => { k.net.address('e0', '10.0.1.200', 32); },
    (k: ReturnType<typeof makeKernel>) => { k.net.addLink({ name: 'tunl0', kind: 'ipip', tunnelLocal: '0.0.0.0' }); k.net.address('tunl0', '10.0.1.200', 32); },
    (k: ReturnType<typeof makeKernel>) => { k.net.addLink({ name: 'e9' }); k.net.address('e9', '10.0.1.200', 32, { protocol: ADDRESS_PROTOCOL }); },
  ]) {
    assert.deepEqual(only({}, 'director', change).refusals, []);
  }
});

test('the NIC is the one whose subnet holds the VIP most narrowly, or the one that the group names', () => {
  const kernel = makeKernel();
  kernel.net.addLink({ name: 'wide' });
  kernel.net.address('wide', '10.0.0.1', 8);
  const index = facts(kernel);
  const on = (vip: string, g: Parameters<typeof group>[0] | null) => interfaceFor(vip, g === null ? null : group(g), index);
  assert.deepEqual(on('10.0.1.200', null), { link: 'e0' });
  assert.deepEqual(on('10.9.9.9', null), { link: 'wide' });
  assert.deepEqual(on('10.0.1.200', { interface: { match: 'Name', name: 'e1' } }), { link: 'e1' });
  assert.deepEqual(on('10.0.1.200', { interface: { match: 'Regex', regex: 'e[1-9]' } }), { link: 'e1' });
  assert.match((on('10.0.1.200', { interface: { match: 'Regex', regex: '1' } }) as { problem: string }).problem, /no interface of this node matches/, 'the whole name has to match');
  assert.match((on('10.0.1.200', { interface: { match: 'Name', name: 'e7' } }) as { problem: string }).problem, /names interface e7/);
  assert.match((on('203.0.113.1', null) as { problem: string }).problem, /10\.0\.1\.11\/24 on e0/, 'it says what there is');
});

test('lo and link-local subnets hold no VIP', () => {
  const index = indexFacts({ ...facts(makeKernel()).facts, addresses: [{ link: 'lo', family: 'IPv4', address: '127.0.0.1', prefixLength: 8, deprecated: false, dadFailed: false, protocol: 0 }, { link: 'e0', family: 'IPv6', address: 'fe80::1', prefixLength: 64, deprecated: false, dadFailed: false, protocol: 0 }] });
  assert.deepEqual(index.subnets, []);
});

test('a routed host whose address is a host prefix on lo is a real server, not a director that would answer for the VIP', () => {
  const kernel = makeKernel();
  const { facts: given } = facts(kernel, { role: 'auto' });
  const routed = { ...given, addresses: [...given.addresses, { link: 'lo', family: 'IPv4', address: '10.7.7.7', prefixLength: 32, deprecated: false, dadFailed: false, protocol: 0 } as const] };
  const f = desired(program({ mode: 'DR', realServers: ['10.7.7.7'] }), null, indexFacts(routed));
  assert.deepEqual([f.role, vips(f)], ['realServer', ['10.0.1.200 on lo']]);
});
