/** Preflight: facts in, findings out; and the readers of what /proc and configuration files say. No kernel is asked. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findingsText, preflightCommand } from '../../../src/cli/preflight.ts';
import { PREFLIGHT_USAGE } from '../../../src/cli/usages.ts';
import { preflightFindings, TUNNEL_MODULES } from '../../../src/cli/preflight-checks.ts';
import {
  flagOf, kubeProxySettings, managesForeignRoutes, neighbourOf, parseCapabilities, parseModuleList, parseProcIpvs,
  type HostFacts, type ModuleState, type Wants,
} from '../../../src/cli/preflight-facts.ts';
import type { Level } from '../../../src/cli/preflight-finding.ts';
import { readHost } from '../../../src/cli/preflight-read.ts';
import { wantsOf } from '../../../src/cli/preflight-wants.ts';
import { SCHEDULERS } from '../../../src/api/v1alpha1/index.ts';
import { NO_MEMORY } from '../../../src/controller/compile/memory.ts';
import { Compiler } from '../../../src/controller/compiler.ts';
import type { NetClient } from '../../../src/kernel/net/types.ts';
import { objectsOf } from './pipeline.ts';

const ALL = ['ip_vs', ...SCHEDULERS.map((s) => `ip_vs_${s}`), 'ip_vs_pe_sip', 'nf_conntrack', ...TUNNEL_MODULES];
const modules = (over: Readonly<Record<string, ModuleState>> = {}, otherwise: ModuleState = 'available') => new Map(ALL.map((n) => [n, over[n] ?? otherwise]));

/** A host that can do everything, and has nobody else on it. */
const facts = (over: Partial<HostFacts> = {}): HostFacts => ({
  kernel: '6.1.0-21-amd64', capabilities: (1n << 12n) | (1n << 13n), initialUserNamespace: true, modulesDisabled: false, modules: modules(),
  ipvs: { version: '1.2.1', connectionTableSize: 1_048_576, services: [] }, sysctlProblem: '', loopbackUp: true, ipv6: true, links: ['lo', 'e0'], netfilter: 'nft',
  neighbours: [], kubeProxy: null, keepalivedServes: false, swarmIngress: false, networkdManagesForeign: true, ledger: null, wants: null, ...over,
});
const wants = (over: Partial<Wants> = {}): Wants => ({
  virtualServers: 1, problems: [], director: true, realServer: false, vips: ['192.0.2.10'], families: new Set(['IPv4']), services: ['TCP 192.0.2.10:80'], schedulers: ['wrr'], engines: [],
  tunnelTypes: [], tunnelModules: [], rules: false, sysctls: [], ...over,
});
const process = (name: HostFacts['neighbours'][number]['name'], ...args: string[]) => ({ name, pid: 7, args: [name, ...args] });

test('a host that has everything gets no warning', () => {
  assert.deepEqual(preflightFindings(facts()).filter((f) => f.level !== 'ok'), []);
  assert.deepEqual(preflightFindings(facts({ wants: wants() })).filter((f) => f.level !== 'ok'), []);
});

const proxied = (mode: string, excludeCIDRs: string[] = []) => ({ kubeProxy: { mode, excludeCIDRs }, neighbours: [process('kube-proxy')] });

/** What is wrong, the check that finds it, how bad it is, what it says, what to do. */
const CASES: readonly (readonly [what: string, over: Partial<HostFacts>, check: string, level: Level, message: RegExp, fix: RegExp])[] = [
  ['no CAP_NET_RAW', { capabilities: 1n << 12n }, 'permissions', 'fail', /^CAP_NET_RAW is missing/, /run as root/],
  ['no capability at all', { capabilities: 0n }, 'permissions', 'fail', /CAP_NET_ADMIN and CAP_NET_RAW are missing/, /AmbientCapabilities/],
  ['a user namespace', { initialUserNamespace: false }, 'permissions', 'fail', /user namespace/, /outside/],
  ['ip_vs not loaded yet', { ipvs: null }, 'ip_vs', 'ok', /available, loaded when it is first used/, /^$/],
  ['ip_vs not in the kernel', { ipvs: null, modules: modules({ ip_vs: 'absent' }) }, 'ip_vs', 'fail', /ip_vs is not in this kernel \(6\.1\.0-21-amd64\)/, /linux-modules-extra/],
  ['ip_vs not in the kernel of a real server', { ipvs: null, modules: modules({ ip_vs: 'absent' }), wants: wants({ director: false, realServer: true }) }, 'ip_vs', 'warn', /not in this kernel/, /./],
  ['no list of modules', { ipvs: null, modules: modules({}, 'unknown') }, 'ip_vs', 'warn', /no \/lib\/modules\/6\.1\.0-21-amd64/, /^run on the host: modprobe ip_vs$/],
  ['modules that may not be loaded any more', { ipvs: null, modulesDisabled: true }, 'ip_vs', 'fail', /kernel\.modules_disabled is 1/, /modules-load\.d.*modprobe ip_vs/],
  ['schedulers that the kernel lacks', { modules: modules({ ip_vs_mh: 'absent', ip_vs_fo: 'absent' }) }, 'schedulers', 'warn', /^ip_vs_mh, ip_vs_fo are not in this kernel/, /another kernel/],
  ['schedulers of which nothing is known', { modules: modules({ ip_vs_mh: 'unknown', ip_vs_fo: 'unknown' }) }, 'schedulers', 'warn', /ip_vs_mh, ip_vs_fo are not loaded/, /modprobe -a ip_vs_mh ip_vs_fo/],
  ['a scheduler that the manifests name', { modules: modules({ ip_vs_mh: 'absent' }), wants: wants({ schedulers: ['mh'] }) }, 'schedulers', 'fail', /ip_vs_mh is not in this kernel/, /or choose another scheduler/],
  ['an engine that the manifests name', { modules: modules({ ip_vs_pe_sip: 'absent' }), wants: wants({ engines: ['sip'] }) }, 'persistence engines', 'fail', /ip_vs_pe_sip is not in this kernel/, /./],
  ['GUE on an old kernel', { kernel: '5.1.3', wants: wants({ tunnelTypes: ['gue'] }) }, 'tunnel gue', 'fail', /cannot send GUE/, /Linux 5\.2 or newer/],
  ['GRE on a kernel that just lacks it', { kernel: '5.2.0', wants: wants({ tunnelTypes: ['gre'] }) }, 'tunnel gre', 'fail', /cannot send GRE/, /use encapsulation IPIP/],
  ['tunnel devices, without manifests', { modules: modules({ fou: 'absent' }) }, 'tunnel devices', 'warn', /fou is not in this kernel/, /only real servers of mode TUN/],
  ['a tunnel device that this host receives by', { modules: modules({ fou: 'absent' }), wants: wants({ tunnelModules: ['fou', 'ipip'] }) }, 'tunnel devices', 'fail', /fou is not in this kernel/, /./],
  ['the default connection table', { ipvs: { version: '1.2.1', connectionTableSize: 4096, services: [] } }, 'connection table', 'warn', /4096 buckets/, /conn_tab_bits=20/],
  ['no connection tracking', { modules: modules({ nf_conntrack: 'absent' }) }, 'connection tracking', 'warn', /nf_conntrack is not in this kernel/, /./],
  ['no connection tracking for source NAT', { modules: modules({ nf_conntrack: 'absent' }), wants: wants({ rules: true }) }, 'connection tracking', 'fail', /nf_conntrack/, /./],
  ['no packet filter', { netfilter: null }, 'packet filter', 'warn', /neither nft nor iptables/, /install nftables/],
  ['no packet filter for source NAT', { netfilter: null, wants: wants({ rules: true }) }, 'packet filter', 'fail', /neither nft nor iptables/, /install nftables/],
  ['a packet filter that could not be tried', { netfilter: 'unknown' }, 'packet filter', 'warn', /takes CAP_NET_ADMIN/, /root/],
  ['lo down', { loopbackUp: false }, 'lo', 'fail', /EINVAL/, /^ip link set lo up$/],
  ['no IPv6', { ipv6: false }, 'IPv6', 'warn', /disabled/, /disable_ipv6=0/],
  ['no IPv6, and none asked for', { ipv6: false, wants: wants() }, 'IPv6', 'ok', /not needed/, /^$/],
  ['no IPv6 although manifests ask for it', { ipv6: false, wants: wants({ families: new Set(['IPv6']) }) }, 'IPv6', 'fail', /manifests ask for IPv6/, /disable_ipv6=0/],
  ['a read-only /proc/sys', { sysctlProblem: 'mounted read-only' }, '/proc/sys/net', 'fail', /mounted read-only/, /privileged/],
  ['a setting that would change', { wants: wants({ sysctls: [{ path: 'net/ipv4/ip_forward', value: '1', current: '0' }] }) }, 'sysctl net/ipv4/ip_forward', 'ok', /from 0 to 1, and back/, /^$/],
  ['a setting that is not there yet', { wants: wants({ sysctls: [{ path: 'net/ipv4/vs/conntrack', value: '1', current: null }] }) }, 'sysctl net/ipv4/vs/conntrack', 'ok', /set to 1 once it exists/, /^$/],
  ['no setting that would change', { wants: wants() }, 'sysctls', 'ok', /as they are needed/, /^$/],
  ['a wrong manifest', { wants: wants({ problems: ['a.yaml: no'] }) }, 'manifests', 'fail', /^a\.yaml: no$/, /ipvs-operator plan/],
  ['a host that no manifest concerns', { wants: wants({ director: false }) }, 'manifests', 'ok', /neither director nor real server/, /^$/],

  ['kube-proxy in ipvs mode', proxied('ipvs'), 'kube-proxy', 'fail', /ipvs mode deletes every service that it does not know/, /excludeCIDRs/],
  ['kube-proxy in ipvs mode with exclusions', proxied('ipvs', ['192.0.2.0/24']), 'kube-proxy', 'warn', /outside 192\.0\.2\.0\/24/, /choose VIPs from these/],
  ['kube-proxy in ipvs mode that excludes every VIP', { ...proxied('ipvs', ['192.0.2.0/24']), wants: wants() }, 'kube-proxy', 'ok', /hold every VIP/, /^$/],
  ['kube-proxy in ipvs mode that excludes some VIPs', { ...proxied('ipvs', ['192.0.2.0/24']), wants: wants({ vips: ['192.0.2.1', '198.51.100.1'] }) }, 'kube-proxy', 'fail', /not in its excludeCIDRs: 198\.51\.100\.1$/, /excludeCIDRs/],
  ['the device of a kube-proxy that cannot be seen', { links: ['lo', 'kube-ipvs0'] }, 'kube-proxy', 'fail', /kube-ipvs0/, /ip link del kube-ipvs0/],
  ['kube-proxy in nftables mode', proxied('nftables'), 'kube-proxy', 'warn', /flushes the whole IPVS table/, /iptables mode/],
  ['kube-proxy in iptables mode', proxied('iptables'), 'kube-proxy', 'ok', /does not touch IPVS/, /^$/],
  ['kube-proxy in a mode that cannot be told', proxied(''), 'kube-proxy', 'warn', /mode cannot be told/, /proxyMode/],
  ['kube-router', { neighbours: [process('kube-router')] }, 'kube-router', 'fail', /deletes every IPVS service/, /--run-service-proxy=false/],
  ['kube-router without its service proxy', { neighbours: [process('kube-router', '--run-service-proxy=false')] }, 'kube-router', 'ok', /is off/, /^$/],
  ['keepalived with services', { neighbours: [process('keepalived')], keepalivedServes: true }, 'keepalived', 'warn', /virtual_server blocks/, /ipvs-operator import/],
  ['keepalived for VRRP only', { neighbours: [process('keepalived')] }, 'keepalived', 'ok', /VRRP only/, /^$/],
  ['ldirectord', { neighbours: [process('ldirectord')] }, 'ldirectord', 'warn', /never touched/, /ldirectord\.cf/],
  ['kube-vip', { neighbours: [process('kube-vip')] }, 'kube-vip', 'warn', /binds VIPs/, /VIPPool/],
  ['docker swarm', { swarmIngress: true }, 'docker swarm', 'warn', /redirects published ports/, /mode=host/],
  ['systemd-networkd as it comes', { neighbours: [process('systemd-networkd')] }, 'systemd-networkd', 'warn', /removes routes and addresses/, /ManageForeignRoutes=no/],
  ['systemd-networkd that was told', { neighbours: [process('systemd-networkd')], networkdManagesForeign: false }, 'systemd-networkd', 'ok', /leaves the routes of others alone/, /^$/],
  ['services of others', { ipvs: { version: '1.2.1', connectionTableSize: 8192, services: ['TCP 203.0.113.1:80', 'FWM 5'] }, ledger: new Set(['FWM 5 IPv6']) }, 'IPVS table', 'warn', /services of others: TCP 203\.0\.113\.1:80;/, /save -o yaml/],
  ['services that are ours', { ipvs: { version: '1.2.1', connectionTableSize: 8192, services: ['FWM 5'] }, ledger: new Set(['FWM 5 IPv6']) }, 'IPVS table', 'ok', /all ours/, /^$/],
  ['a service of others that the manifests name', { ipvs: { version: '1.2.1', connectionTableSize: 8192, services: ['TCP 192.0.2.10:80'] }, ledger: new Set(), wants: wants() }, 'IPVS table', 'fail', /made by somebody else/, /ipvsadm -D/],
  ['the same before the first start', { ipvs: { version: '1.2.1', connectionTableSize: 8192, services: ['TCP 192.0.2.10:80'] }, wants: wants() }, 'IPVS table', 'ok', /adopts them/, /^$/],
];

for (const [what, over, check, level, message, fix] of CASES) {
  test(`${level}: ${what}`, () => {
    const findings = preflightFindings(facts(over));
    const found = findings.find((f) => f.check === check && f.level === level);
    assert.ok(found, JSON.stringify(findings.filter((f) => f.check === check || f.level !== 'ok'), null, 1));
    assert.match(found.message, message);
    assert.match(found.fix, fix);
  });
}

test('whatever is not ok says what to do, and whatever is ok does not', () => {
  for (const [, over] of CASES) for (const f of preflightFindings(facts(over))) assert.equal(f.fix === '', f.level === 'ok', JSON.stringify(f));
});

test('findings are a line each, the fix below, the sum at the end', () => {
  assert.equal(findingsText([{ level: 'ok', check: 'lo', message: 'up', fix: '' }, { level: 'fail', check: 'ip_vs', message: 'a\nb', fix: 'do' }]),
    'ok    lo     up\nfail  ip_vs  a b\n             -> do\n\n1 ok, 0 to look at, 1 in the way\n');
});

test('capabilities are those in effect', () => {
  assert.equal(parseCapabilities('Name:\tx\nCapInh:\t0000000000000001\nCapEff:\t0000000000003000\n'), 0x3000n);
  assert.equal(parseCapabilities(''), 0n);
});

test('/proc/net/ip_vs tells version, size and services', () => {
  assert.deepEqual(parseProcIpvs(`IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A000003:0055 sh  
  -> 01010109:0055      Masq    1      0          0         
UDP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0035 rr 
FWM  FFFFFFFF rr 
`), { version: '1.2.1', connectionTableSize: 4096, services: ['TCP 10.0.0.3:85', 'UDP [2001:db8::1]:53', 'FWM 4294967295'] });
  assert.equal(parseProcIpvs(''), null);
});

test('modules are found packed and plain, with - for _', () => {
  const names = parseModuleList('kernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/lib/libcrc32c.ko.xz\nkernel/net/ipv4/ip-gre.ko:\n');
  assert.deepEqual([...names].sort(), ['ip_gre', 'ip_vs', 'libcrc32c']);
  assert.deepEqual([...parseModuleList('kernel/net/ipv6/ipv6.ko\nkernel/x/y.ko\n')], ['ipv6', 'y']);
});

const COMMAND_LINES: readonly (readonly [args: string[], name: string | null])[] = [
  [['/usr/local/bin/kube-proxy', '--config=/x'], 'kube-proxy'], [['/usr/bin/perl', '-w', '/usr/sbin/ldirectord', '/etc/ldirectord.cf', 'start'], 'ldirectord'], [['/usr/bin/perl', '/usr/sbin/ldirectord', 'start'], 'ldirectord'],
  [['/lib/systemd/systemd-networkd'], 'systemd-networkd'], [['vim', 'keepalived'], null], [['/usr/sbin/keepalived', '-n'], 'keepalived'], [[], null], [[''], null],
];
for (const [args, name] of COMMAND_LINES) {
  test(`the command line ${JSON.stringify(args.join(' '))} is ${name ?? 'nobody we know'}`, () => assert.equal(neighbourOf(args), name));
}

test('flags are read with = and without', () => {
  assert.equal(flagOf(['a', '--mode=x'], 'mode'), 'x');
  assert.equal(flagOf(['a', '--mode', 'y'], 'mode'), 'y');
  assert.equal(flagOf(['a', '--modes=y'], 'mode'), undefined);
});

test('kube-proxy’s configuration file counts, and its flags where there is none', () => {
  assert.deepEqual(kubeProxySettings(['kube-proxy', '--proxy-mode=iptables'], 'mode: ipvs\nipvs:\n  excludeCIDRs: [192.0.2.0/24]\n'), { mode: 'ipvs', excludeCIDRs: ['192.0.2.0/24'] });
  assert.deepEqual(kubeProxySettings(['kube-proxy', '--proxy-mode=ipvs', '--ipvs-exclude-cidrs=192.0.2.0/24,198.51.100.0/24'], null), { mode: 'ipvs', excludeCIDRs: ['192.0.2.0/24', '198.51.100.0/24'] });
  for (const odd of ['', '- a', '{', 'mode: 5\nipvs: null']) assert.deepEqual(kubeProxySettings([], odd), { mode: '', excludeCIDRs: [] });
});

test('the last ManageForeignRoutes counts, comments do not', () => {
  assert.equal(managesForeignRoutes([]), true);
  assert.equal(managesForeignRoutes(['[Network]\n#ManageForeignRoutes=no\n']), true);
  assert.equal(managesForeignRoutes(['[Network]\nManageForeignRoutes = no\n']), false);
  assert.equal(managesForeignRoutes(['ManageForeignRoutes=no\n', 'ManageForeignRoutes=yes\n']), true);
  assert.equal(managesForeignRoutes(['ManageForeignRoutes=yes\n', 'ManageForeignRoutes=false\n']), false);
});

const MANIFESTS = `
apiVersion: ipvs-operator.dev/v1alpha1
kind: VIPPool
metadata: {name: lab}
spec: {blocks: [{cidr: 192.0.2.0/28}], allowedNamespaces: {all: true}, allowStaticBackendCIDRs: [192.0.2.0/24]}
---
apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: {name: nat}
spec: {vip: {addresses: [192.0.2.10]}, mode: NAT, ports: [{port: 80}], scheduler: {name: mh}, backends: [{static: {endpoints: [{address: 192.0.2.21}]}}]}
---
apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: {name: tun}
spec: {vip: {addresses: [192.0.2.11]}, mode: TUN, tun: {encapsulation: GUE}, ports: [{port: 80}], backends: [{static: {endpoints: [{address: 192.0.2.30}]}}]}
---
apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: {name: lost}
spec: {vip: {addresses: [198.51.100.1]}, mode: DR, ports: [{port: 80}], backends: [{static: {endpoints: [{address: 192.0.2.30}]}}]}
---
apiVersion: ipvs-operator.dev/v1alpha1
kind: VirtualServer
metadata: {name: part}
spec: {vip: {addresses: [192.0.2.12]}, mode: DR, suspend: true, ports: [{port: 80}], backends: [{static: {endpoints: [{address: 203.0.113.9}]}}]}
`;

test('the pipeline tells what manifests want of this host', () => {
  const wanted = wantsOf({
    objects: objectsOf(MANIFESTS), problems: ['x.yaml: broken'], compiler: new Compiler(NO_MEMORY), node: 'n', role: 'auto', labels: {}, ours: new Set(),
    readSysctl: (path) => (path === 'net/ipv4/ip_forward' ? '1' : path.startsWith('net/ipv4/vs/') ? null : '0'),
    net: {
      complete: true, fou: [], localRoutes: [],
      links: [{ name: 'e0', index: 2, kind: '', up: true, carrier: true, loopback: false, mtu: 1500, mac: '', tunnelLocal: '', tunnelRemote: '' }],
      addresses: [{ link: 'e0', family: 'IPv4', address: '192.0.2.30', prefixLength: 24, deprecated: false, dadFailed: false, protocol: 0 }],
    },
  });
  assert.deepEqual([wanted.director, wanted.realServer, wanted.virtualServers], [true, true, 4]);
  assert.deepEqual([wanted.schedulers, wanted.tunnelTypes, wanted.tunnelModules, wanted.rules], [['mh'], [], ['fou', 'ipip'], true]);
  assert.deepEqual(wanted.services, ['TCP 192.0.2.10:80']);
  assert.equal(wanted.problems[0], 'x.yaml: broken');
  assert.match(wanted.problems[1]!, /^VirtualServer default\/lost: AddressOutsidePools/);
  assert.match(wanted.problems[2]!, /^VirtualServer default\/part: EndpointNotPermitted: .*203\.0\.113\.9/, 'a real server that is left out');
  assert.equal(wanted.problems.length, 3);
  const sysctl = (path: string) => wanted.sysctls.find((s) => s.path === path);
  assert.equal(sysctl('net/ipv4/ip_forward'), undefined, 'it stands right already');
  assert.deepEqual(sysctl('net/ipv4/conf/all/arp_announce'), { path: 'net/ipv4/conf/all/arp_announce', value: '2', current: '0' });
  assert.equal(sysctl('net/ipv4/vs/conntrack')?.current, null);
});

test('sysctls are looked at where the host\'s are, which in a container is not /proc/sys', async (t) => {
  const procSys = mkdtempSync(join(tmpdir(), 'preflight-'));
  t.after(() => rmSync(procSys, { recursive: true }));
  const net = { netfilterBackend: () => null } as Pick<NetClient, 'netfilterBackend'> as NetClient;
  const read = async () => readHost(net, { complete: true, links: [], addresses: [], localRoutes: [], fou: [] }, new AbortController().signal, procSys);
  assert.match((await read()).sysctlProblem, /ENOENT/, 'nothing is mounted there');
  mkdirSync(join(procSys, 'net/ipv4'), { recursive: true });
  mkdirSync(join(procSys, 'net/ipv6/conf/all'), { recursive: true });
  writeFileSync(join(procSys, 'net/ipv4/ip_forward'), '0\n');
  writeFileSync(join(procSys, 'net/ipv6/conf/all/disable_ipv6'), '1\n');
  const { sysctlProblem, ipv6 } = await read();
  assert.deepEqual([sysctlProblem, ipv6], ['', false]);
});

test('wrong options are refused before anything is looked at', async () => {
  const never = new AbortController().signal;
  await assert.rejects(preflightCommand(['-o', 'xml'], never), { code: 'USAGE', message: /-o xml: must be json/ });
  await assert.rejects(preflightCommand(['--wrong'], never), { code: 'USAGE' });
  assert.match(PREFLIGHT_USAGE, /Exit code: 0/);
});
