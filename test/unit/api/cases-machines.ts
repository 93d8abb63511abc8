/** The part of the table of cases (cases.ts) about the kinds that only machines write. */
import { MAX_APPLIED, MAX_BINDS, MAX_SLICES, MAX_SLICE_REAL_SERVERS } from '../../../src/api/v1alpha1/index.ts';
import { apiVersion, no, yes, type Case, type Fields } from './case.ts';

const uid = '0b8f8d5e-7a5b-4f0c-9f53-3c1f4f6f0a10';

export function virtualIP(spec: Fields = {}, metadata: Fields = {}, status?: Fields): Fields {
  return {
    apiVersion, kind: 'VirtualIP', metadata: { name: '203.0.113.10', ...metadata },
    spec: {
      address: '203.0.113.10', family: 'IPv4', poolRef: { name: 'public' }, directorGroup: 'edge',
      claims: [{ namespace: 'tenant-a', name: 'shop', uid, ports: ['TCP/80-80'] }], ...spec,
    },
    ...(status === undefined ? {} : { status }),
  };
}

export function virtualServerProgram(spec: Fields = {}, metadata: Fields = {}): Fields {
  return {
    apiVersion, kind: 'VirtualServerProgram', metadata: { name: 'shop', namespace: 'tenant-a', ...metadata },
    spec: {
      directorGroup: 'edge', contentHash: '0123456789abcdef', addresses: [{ address: '203.0.113.10', family: 'IPv4' }], mode: 'NAT', sourceAddress: 'Masquerade',
      scheduler: { name: 'wrr', fallback: false, portAware: false, onePacket: false }, services: [service()], connectionLimits: { upper: 0, lower: 0 },
      drainTimeoutSeconds: 300, slice: { index: 0, count: 1 }, generation: 3, virtualServer: { name: 'shop', uid }, ...spec,
    },
  };
}

export function ipvsNode(spec: Fields = {}, metadata: Fields = {}, status?: Fields): Fields {
  return {
    apiVersion, kind: 'IPVSNode', metadata: { name: 'edge-1.example', ...metadata },
    spec: { directorGroups: ['edge'], realServer: { binds: [] }, reservedAddresses: ['192.168.20.1'], ...spec },
    ...(status === undefined ? {} : { status }),
  };
}

const service = (realServers = ['192.168.20.15|8080|1|'], port = 80): Fields => ({ ports: [{ name: '', protocol: 'TCP', port, endPort: port }], mark: 0, realServers });
const realServers = (n: number, from = 0) => Array.from({ length: n }, (_, i) => `10.0.${(from + i) >> 8}.${(from + i) & 255}|80|1|node-${from + i}`);
const tunnel: Fields = { encapsulation: 'GUE', port: 6080, checksum: 'None' };
const check: Fields = { type: 'TCP', port: 0, path: 'Direct', periodSeconds: 5, timeoutSeconds: 2, riseCount: 2, fallCount: 3, onFailure: 'Quiesce', panicThresholdPercent: 0 };
const bind: Fields = { address: '203.0.113.10', family: 'IPv4', mode: 'DR', localAddress: '192.168.20.15', virtualServer: 'tenant-a/shop' };
const condition: Fields = { type: 'Ready', status: 'True', reason: 'Ready', message: '', lastTransitionTime: '2026-01-01T00:00:00Z', observedGeneration: 3 };
const status: Fields = {
  observedGeneration: 3, agentVersion: '0.1.0', kernel: '6.12.43', capabilities: { schedulers: ['rr', 'wrr'], tunnels: ['ipip'], netfilter: 'nft' },
  interfaces: [{ name: 'eth0', addresses: ['192.168.20.11/24', '2001:db8::11/64'] }], programs: { applied: 1, failed: 1, digest: '0123456789abcdef' },
  applied: ['tenant-a/shop|0123456789abcdef'], failures: [{ virtualServer: 'tenant-a/media', code: 'KernelFeatureMissing', message: 'load ip_vs_mh' }],
  ownedVIPs: ['203.0.113.10'], foreign: { services: 1, destinations: 2, addresses: 0, examples: ['TCP 10.96.0.1:443'], culprit: 'kube-proxy' }, drifts: 7, conditions: [condition],
};
const long = (n: number) => 'a'.repeat(n);

const VIRTUAL_IP: readonly Case[] = [
  yes('a claimed address', virtualIP()),
  yes('an address that two share', virtualIP({ claims: [{ namespace: 'tenant-a', name: 'shop', uid, ports: ['TCP/80-80'] }, { namespace: 'tenant-a', name: 'media', uid: long(36), ports: ['UDP/30000-30100', 'SCTP/5000-5000'] }] })),
  yes('an address that nobody has any more', virtualIP({ claims: [] })),
  yes('an IPv6 address under its expanded name', virtualIP({ address: '2001:db8::10', family: 'IPv6' }, { name: '2001-0db8-0000-0000-0000-0000-0000-0010' })),
  yes('an address with its owner', virtualIP({}, {}, { activeNode: 'edge-1', since: '2026-01-01T00:00:00Z', epoch: 12, mac: '02:00:00:00:00:01', claims: 1, conditions: [{ ...condition, type: 'Owned', reason: 'Owned' }] })),

  no('a VirtualIP without an address', virtualIP({ address: undefined }), 'MissingField', 'spec.address'),
  no('a VirtualIP that is no address', virtualIP({ address: '203.0.113' }, { name: '203.0.113' }), 'InvalidAddress', 'spec.address'),
  no('a VirtualIP that is not canonical', virtualIP({ address: '2001:DB8::10', family: 'IPv6' }, { name: '2001-0db8-0000-0000-0000-0000-0000-0010' }), 'InvalidAddress', 'spec.address'),
  no('a VirtualIP of the wrong family', virtualIP({ family: 'IPv6' }), 'FamilyMismatch', 'spec.family'),
  no('a VirtualIP under the name of another', virtualIP({}, { name: '203.0.113.11' }), 'NameMismatch', 'metadata.name'),
  no('an IPv6 VirtualIP under a short name', virtualIP({ address: '2001:db8::10', family: 'IPv6' }, { name: '2001-db8-0-0-0-0-0-10' }), 'NameMismatch', 'metadata.name'),
  no('an IPv6 VirtualIP under the name of another', virtualIP({ address: '2001:db8::10', family: 'IPv6' }, { name: '2001-0db8-0000-0000-0000-0000-0000-0011' }), 'NameMismatch', 'metadata.name',
    { accepts: true, why: 'CEL of Kubernetes 1.31 has no affordable way from such a name to an address; only the controller writes it' }),
  no('an IPv6 VirtualIP under a name of words', virtualIP({ address: '2001:db8::10', family: 'IPv6' }, { name: 'shop' }), 'NameMismatch', 'metadata.name'),
  no('257 claims', virtualIP({ claims: Array.from({ length: 257 }, (_, i) => ({ namespace: 'tenant-a', name: `s${i}`, uid, ports: [] })) }), 'OutOfRange', 'spec.claims'),
  no('a claim without uid', virtualIP({ claims: [{ namespace: 'tenant-a', name: 'shop', ports: [] }] }), 'MissingField', 'spec.claims[0].uid'),
  no('an unknown field in a VirtualIP', virtualIP({ colour: 'red' }), 'UnknownField', 'spec.colour'),
];

const PROGRAM: readonly Case[] = [
  yes('a small program', virtualServerProgram()),
  yes('a program with everything', virtualServerProgram({
    mode: 'TUN', sourceAddress: 'Preserve', tunnel, persistence: { timeoutSeconds: 300, ipv4PrefixLength: 32, ipv6PrefixLength: 128, engine: '' },
    services: [service(), { ...service(['2001:db8::15|0|65535|edge-1'], 30000), mark: 0x4900_0001 }],
  })),
  yes('a program for the real servers of the own node', virtualServerProgram({ localOnly: true })),
  yes('a program with a check by a connection, and slow start', virtualServerProgram({ healthCheck: check, slowStartSeconds: 3600 })),
  yes('a program with a check by HTTPS', virtualServerProgram({ healthCheck: { ...check, type: 'HTTPS', http: { path: '/', host: '', expectedStatuses: [200], caBundle: '' } } })),
  yes('a program with a check by gRPC inside TLS', virtualServerProgram({ healthCheck: { ...check, type: 'GRPC', grpc: { service: '', transport: 'TLS' } } })),
  yes('a program with a check by gRPC', virtualServerProgram({ healthCheck: { ...check, type: 'GRPC', grpc: { service: '' } } })),
  yes('a program with a check by UDP', virtualServerProgram({ healthCheck: { ...check, type: 'UDP', udp: { payload: 'cGluZw==', expectReply: true } } })),
  yes('a program with a check by DNS', virtualServerProgram({ healthCheck: { ...check, type: 'DNS', dns: { name: 'shop.example', record: 'A', expectedAddress: '' } } })),
  yes('a program of no group', virtualServerProgram({ directorGroup: '' })),
  yes('a program that serves nothing', virtualServerProgram({ addresses: [], services: [] })),
  yes('a full slice', virtualServerProgram({ services: [service(realServers(600)), service(realServers(400, 600), 443)] })),
  yes('the last of many slices', virtualServerProgram({ slice: { index: MAX_SLICES - 1, count: MAX_SLICES } }, { name: `shop.${MAX_SLICES - 1}` })),
  yes('a slice of the VirtualServer with the longest name', virtualServerProgram({ slice: { index: 2047, count: 2048 }, virtualServer: { name: long(63), uid } }, { name: `${long(63)}.2047` })),

  no('a program with one real server too many', virtualServerProgram({ services: [service(realServers(600)), service(realServers(401, 600), 443)] }), 'OutOfRange', 'spec.services'),
  no('a service with one real server too many', virtualServerProgram({ services: [service(realServers(MAX_SLICE_REAL_SERVERS + 1))] }), 'OutOfRange', 'spec.services[0].realServers'),
  no('slice 2 of 2', virtualServerProgram({ slice: { index: 2, count: 2 } }, { name: 'shop.2' }), 'OutOfRange', 'spec.slice.index'),
  no('a slice under the name of another VirtualServer', virtualServerProgram({ slice: { index: 1, count: 2 } }, { name: 'shop-1' }), 'NameMismatch', 'metadata.name'),
  no('slice 0 under a numbered name', virtualServerProgram({}, { name: 'shop.0' }), 'NameMismatch', 'metadata.name'),
  no('a program of an unknown mode', virtualServerProgram({ mode: 'L7' }), 'UnknownValue', 'spec.mode'),
  no('a program that is local and is not', virtualServerProgram({ localOnly: false }), 'UnknownValue', 'spec.localOnly'),
  no('a program with a check by nothing', virtualServerProgram({ healthCheck: { ...check, type: 'None' } }), 'UnknownValue', 'spec.healthCheck.type'),
  no('a program with half a check', virtualServerProgram({ healthCheck: { ...check, port: undefined } }), 'MissingField', 'spec.healthCheck.port'),
  no('a program with a check of headers', virtualServerProgram({ healthCheck: { ...check, type: 'HTTP', http: { path: '/', host: '', expectedStatuses: [200], caBundle: '', headers: {} } } }), 'UnknownField', 'spec.healthCheck.http.headers'),
  no('a program that starts slowly in no time', virtualServerProgram({ slowStartSeconds: 0 }), 'OutOfRange', 'spec.slowStartSeconds'),
  no('a program without hash', virtualServerProgram({ contentHash: undefined }), 'MissingField', 'spec.contentHash'),
  no('a program of no VirtualServer', virtualServerProgram({ virtualServer: undefined }), 'MissingField', 'spec.virtualServer'),
  no('an unknown field in a program', virtualServerProgram({ slice: { index: 0, count: 1, total: 7 } }), 'UnknownField', 'spec.slice.total'),
];

const IPVS_NODE: readonly Case[] = [
  yes('a node that is told nothing yet', ipvsNode({ directorGroups: [], reservedAddresses: [] })),
  yes('a node that receives in DR and TUN', ipvsNode({ realServer: { binds: [bind, { ...bind, mode: 'TUN', tunnel }] } })),
  yes('a node with a whole report', ipvsNode({}, {}, status)),
  yes('a node with as many binds as there may be', ipvsNode({ realServer: { binds: Array.from({ length: MAX_BINDS }, () => bind) } })),

  no('a node without binds', ipvsNode({ realServer: {} }), 'MissingField', 'spec.realServer.binds'),
  no('a bind in mode NAT', ipvsNode({ realServer: { binds: [{ ...bind, mode: 'NAT' }] } }), 'UnknownValue', 'spec.realServer.binds[0].mode'),
  no('one bind too many', ipvsNode({ realServer: { binds: Array.from({ length: MAX_BINDS + 1 }, () => bind) } }), 'OutOfRange', 'spec.realServer.binds'),
  no('an unknown field in a node', ipvsNode({ spare: true }), 'UnknownField', 'spec.spare'),
];

export const MACHINE_CASES: readonly Case[] = [...VIRTUAL_IP, ...PROGRAM, ...IPVS_NODE];

/** Reports; only a server that takes them at /status judges them. */
export const STATUS_CASES: readonly Case[] = [
  no('65 failures', ipvsNode({}, {}, { failures: Array.from({ length: 65 }, () => ({ virtualServer: 'a/b', code: 'X', message: '' })) }), 'OutOfRange', 'status.failures'),
  no('more applied programs than are reported', ipvsNode({}, {}, { applied: Array.from({ length: MAX_APPLIED + 1 }, (_, i) => `a/s${i}|0123456789abcdef`) }), 'OutOfRange', 'status.applied'),
  no('an owner since never', virtualIP({}, {}, { since: 'yesterday' }), 'WrongType', 'status.since'),
  yes('a moment with its time zone', virtualIP({}, {}, { since: '2026-01-01T00:00:00.123456+01:00' })),
  no('an epoch below 0', virtualIP({}, {}, { epoch: -1 }), 'OutOfRange', 'status.epoch'),
];
