/**
 * One table of valid and invalid objects. It is run against zod and our rules here, and against a real API server with the generated CRDs
 * in test/cluster/crds.test.ts (which asks for strict field validation): both must give the same answer, except where `server` says why not.
 */
import { apiVersion, no, yes, type Case, type Fields } from './case.ts';
import { MACHINE_CASES } from './cases-machines.ts';
import { CERTIFICATE } from './certificate.ts';

export type { Case };

const web: Fields = { port: 80 };
const dns: Fields = { port: 53, protocol: 'UDP' };

/** One static backend with these addresses. */
export const backends = (...addresses: string[]): Fields[] => [{ static: { endpoints: addresses.map((address) => ({ address })) } }];

/** A VirtualServer that is valid, with `spec` laid over it. A field set to undefined is left out. */
export function virtualServer(spec: Fields = {}, metadata: Fields = {}): Fields {
  const merged = { mode: 'NAT', ports: [web], backends: backends('192.168.20.15', '192.168.20.16'), ...spec };
  return {
    apiVersion, kind: 'VirtualServer',
    metadata: { name: 'shop', namespace: 'tenant-a', ...metadata },
    spec: Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined)),
  };
}

export function vipPool(spec: Fields = {}, metadata: Fields = {}): Fields {
  return { apiVersion, kind: 'VIPPool', metadata: { name: 'public', ...metadata }, spec: { blocks: [{ cidr: '203.0.113.0/28' }], allowedNamespaces: { all: true }, ...spec } };
}

export function directorGroup(spec: Fields = {}, metadata: Fields = {}): Fields {
  return { apiVersion, kind: 'DirectorGroup', metadata: { name: 'edge', ...metadata }, spec };
}

const endpoint = (address: string) => virtualServer({ backends: backends(address) });
const vipAddress = (address: string) => virtualServer({ vip: { addresses: [address] }, backends: backends(address.includes(':') ? '2001:db8::15' : '192.168.20.15') });
const VIP0 = 'spec.vip.addresses[0]';
const RS0 = 'spec.backends[0].static.endpoints[0].address';

const VIRTUAL_SERVER: readonly Case[] = [
  yes('the smallest VirtualServer', virtualServer()),
  yes('a NAT service with its own target port', virtualServer({ ports: [{ port: 80, targetPort: 8080 }] })),
  yes('a NAT service that hides behind the VIP', virtualServer({ nat: { sourceAddress: 'VirtualIP' } })),
  yes('a DR service that writes its target port out', virtualServer({ mode: 'DR', ports: [{ port: 80, targetPort: 80 }] })),
  yes('a TUN service with GUE, port and remote checksum', virtualServer({ mode: 'TUN', tun: { encapsulation: 'GUE', port: 6080, checksum: 'RemoteChecksum' } })),
  yes('a TUN service with GRE and checksum', virtualServer({ mode: 'TUN', tun: { encapsulation: 'GRE', checksum: 'Checksum' } })),
  yes('an IPv4 VIP over IPv6 real servers, in tunnels', virtualServer({ mode: 'TUN', vip: { addresses: ['203.0.113.10'] }, backends: backends('2001:db8::15') })),
  yes('a dual-stack VIP with real servers of both families', virtualServer({ vip: { addresses: ['203.0.113.10', '2001:db8::10'] }, backends: backends('192.168.20.15', '2001:db8::15') })),
  yes('a pinned address in a named pool', virtualServer({ vip: { poolRef: { name: 'public' }, addresses: ['203.0.113.10'] } })),
  yes('an address shared with another VirtualServer', virtualServer({ vip: { sharedFrom: { name: 'other' } } })),
  yes('an empty vip: one address of the default pool', virtualServer({ vip: {} })),
  yes('the same port for TCP, UDP and SCTP', virtualServer({ ports: [{ port: 53 }, dns, { port: 53, protocol: 'SCTP' }] })),
  yes('a range of ports', virtualServer({ ports: [{ port: 30000, endPort: 30100, protocol: 'UDP' }] })),
  yes('two ranges that touch', virtualServer({ ports: [{ port: 10, endPort: 19 }, { port: 20, endPort: 29 }] })),
  yes('a range of one port with another target port', virtualServer({ ports: [{ port: 80, endPort: 80, targetPort: 8080 }] })),
  yes('mh with fallback and ports', virtualServer({ scheduler: { name: 'mh', fallback: true, portAware: true } })),
  yes('one-packet scheduling of UDP', virtualServer({ ports: [dns], scheduler: { name: 'rr', onePacket: true } })),
  yes('sip over UDP', virtualServer({ ports: [{ port: 5060, protocol: 'UDP' }], persistence: { engine: 'sip' } })),
  yes('persistence across all ports', virtualServer({ ports: [{ port: 80 }, { port: 443 }], persistence: { scope: 'AllPorts', timeoutSeconds: 600 } })),
  yes('persistence as long as the kernel can count', virtualServer({ persistence: { timeoutSeconds: 2147483 } })),
  yes('a quiesced real server, and the greatest weight', virtualServer({ backends: [{ weight: 65535, static: { endpoints: [{ address: '192.168.20.15', weight: 0 }, { address: '192.168.20.16', weight: 65535 }] } }] })),
  yes('no real servers yet', virtualServer({ backends: backends() })),
  yes('thresholds', virtualServer({ connectionLimits: { upper: 100, lower: 80 } })),
  yes('what an API server adds to metadata, and a status', { ...virtualServer({}, { uid: 'x', resourceVersion: '7', generation: 3, creationTimestamp: '2026-01-01T00:00:00Z', managedFields: [{ manager: 'kubectl' }] }), status: { observedGeneration: 3 } }),

  no('an unknown field', virtualServer({ shceduler: { name: 'rr' } }), 'UnknownField', 'spec.shceduler'),
  no('an unknown field deep inside', virtualServer({ ports: [{ port: 80, taretPort: 80 }] }), 'UnknownField', 'spec.ports[0].taretPort'),
  no('no mode', virtualServer({ mode: undefined }), 'MissingField', 'spec.mode'),
  no('no ports', virtualServer({ ports: undefined }), 'MissingField', 'spec.ports'),
  no('an empty list of ports', virtualServer({ ports: [] }), 'OutOfRange', 'spec.ports'),
  no('no backends', virtualServer({ backends: undefined }), 'MissingField', 'spec.backends'),
  no('an unknown mode', virtualServer({ mode: 'Dr' }), 'UnknownValue', 'spec.mode'),
  no('an unknown scheduler', virtualServer({ scheduler: { name: 'wrrr' } }), 'UnknownValue', 'spec.scheduler.name'),
  no('an unknown protocol', virtualServer({ ports: [{ port: 80, protocol: 'tcp' }] }), 'UnknownValue', 'spec.ports[0].protocol'),
  no('a port as a text', virtualServer({ ports: [{ port: '80' }] }), 'WrongType', 'spec.ports[0].port'),
  no('a port with a fraction', virtualServer({ ports: [{ port: 80.5 }] }), 'WrongType', 'spec.ports[0].port'),
  no('a mapping where a list belongs', virtualServer({ ports: { port: 80 } }), 'WrongType', 'spec.ports'),
  no('a key without a value', virtualServer({ tun: null }), 'WrongType', 'spec.tun', { accepts: true, why: 'the server drops null where no null is allowed' }),
  no('port 0', virtualServer({ ports: [{ port: 0 }] }), 'OutOfRange', 'spec.ports[0].port'),
  no('port 65536', virtualServer({ ports: [{ port: 65536 }] }), 'OutOfRange', 'spec.ports[0].port'),
  no('weight -1', virtualServer({ backends: [{ static: { endpoints: [{ address: '192.168.20.15', weight: -1 }] } }] }), 'OutOfRange', 'spec.backends[0].static.endpoints[0].weight'),
  no('weight 65536', virtualServer({ backends: [{ weight: 65536, static: { endpoints: [] } }] }), 'OutOfRange', 'spec.backends[0].weight'),
  no('a persistence that overflows the kernel timer', virtualServer({ persistence: { timeoutSeconds: 2147484 } }), 'OutOfRange', 'spec.persistence.timeoutSeconds'),
  no('persistence of 0 seconds', virtualServer({ persistence: { timeoutSeconds: 0 } }), 'OutOfRange', 'spec.persistence.timeoutSeconds'),
  no('more than 16 backends', virtualServer({ backends: Array.from({ length: 17 }, (_, i) => backends(`192.168.20.${i + 1}`)[0]) }), 'OutOfRange', 'spec.backends'),
  no('more than 1000 real servers in one backend', virtualServer({ backends: backends(...Array.from({ length: 1001 }, (_, i) => `10.0.${i >> 8}.${i & 255}`)) }), 'OutOfRange', 'spec.backends[0].static.endpoints'),
  no('a name with capitals', virtualServer({}, { name: 'Shop' }), 'InvalidName', 'metadata.name'),
  no('a name of 64 characters', virtualServer({}, { name: 'a'.repeat(64) }), 'OutOfRange', 'metadata.name'),
  no('no name', virtualServer({}, { name: undefined }), 'MissingField', 'metadata.name'),
  no('a label that is a number', virtualServer({}, { labels: { tier: 1 } }), 'WrongType', 'metadata.labels.tier'),

  no('a shared address with a pool', virtualServer({ vip: { sharedFrom: { name: 'other' }, poolRef: { name: 'public' } } }), 'VIPSourceConflict', 'spec.vip'),
  no('a shared address with a pinned one', virtualServer({ vip: { sharedFrom: { name: 'other' }, addresses: ['203.0.113.10'] } }), 'VIPSourceConflict', 'spec.vip'),
  no('a VIP with leading zeros', vipAddress('010.0.0.1'), 'InvalidAddress', VIP0),
  no('a VIP with a prefix length', vipAddress('203.0.113.10/32'), 'InvalidAddress', VIP0),
  no('a VIP with a zone', vipAddress('fd00::1%eth0'), 'InvalidAddress', VIP0),
  no('a VIP that is IPv4 written as IPv6', vipAddress('::ffff:203.0.113.10'), 'InvalidAddress', VIP0),
  no('a VIP in capitals', vipAddress('2001:DB8::10'), 'InvalidAddress', VIP0),
  no('a VIP with zeros written out', vipAddress('2001:db8:0:0:0:0:0:10'), 'InvalidAddress', VIP0),
  no("a VIP with '::' for one group", vipAddress('2001:db8::1:2:3:4:5'), 'InvalidAddress', VIP0),
  no('a host name as VIP', vipAddress('shop.example'), 'InvalidAddress', VIP0),
  no('a VIP of three numbers', vipAddress('203.0.113'), 'InvalidAddress', VIP0),
  no('a VIP with 256 in it', vipAddress('203.0.113.256'), 'InvalidAddress', VIP0),
  no('a VIP on loopback', vipAddress('127.0.0.1'), 'ForbiddenAddress', VIP0),
  no('an IPv6 VIP on loopback', vipAddress('::1'), 'ForbiddenAddress', VIP0),
  no('a link-local VIP', vipAddress('169.254.1.1'), 'ForbiddenAddress', VIP0),
  no('a link-local IPv6 VIP', vipAddress('fe80::1'), 'ForbiddenAddress', VIP0),
  no('a multicast VIP', vipAddress('224.0.0.1'), 'ForbiddenAddress', VIP0),
  no('a multicast IPv6 VIP', vipAddress('ff02::1'), 'ForbiddenAddress', VIP0),
  no('the unspecified address as VIP', vipAddress('0.0.0.0'), 'ForbiddenAddress', VIP0),
  no('an address of 0.0.0.0/8 as VIP', vipAddress('0.1.2.3'), 'ForbiddenAddress', VIP0),
  no('the unspecified IPv6 address as VIP', vipAddress('::'), 'ForbiddenAddress', VIP0),
  no('the broadcast address as VIP', vipAddress('255.255.255.255'), 'ForbiddenAddress', VIP0),
  no('a reserved VIP', vipAddress('240.0.0.1'), 'ForbiddenAddress', VIP0),
  no('a real server with leading zeros', endpoint('010.0.0.1'), 'InvalidAddress', RS0),
  no('a real server with its port', endpoint('192.168.20.15:8080'), 'InvalidAddress', RS0),
  no('a real server on loopback', endpoint('127.0.0.1'), 'ForbiddenAddress', RS0),
  no('the metadata service as real server', endpoint('169.254.169.254'), 'ForbiddenAddress', RS0),
  no('a multicast real server', endpoint('239.1.1.1'), 'ForbiddenAddress', RS0),
  no('the same VIP twice', virtualServer({ vip: { addresses: ['203.0.113.10', '203.0.113.10'] } }), 'DuplicateAddress', 'spec.vip.addresses[1]'),
  no('the same family twice', virtualServer({ vip: { families: ['IPv4', 'IPv4'] } }), 'DuplicateAddress', 'spec.vip.families[1]'),
  no('an IPv4 address in an IPv6 family', virtualServer({ vip: { families: ['IPv6'], addresses: ['203.0.113.10'] }, backends: backends('2001:db8::15') }), 'FamilyMismatch', VIP0),
  no('nat settings in mode DR', virtualServer({ mode: 'DR', nat: { sourceAddress: 'Auto' } }), 'ModeMismatch', 'spec.nat'),
  no('tunnel settings in mode NAT', virtualServer({ tun: { encapsulation: 'GRE' } }), 'ModeMismatch', 'spec.tun'),
  no('a port for IPIP', virtualServer({ mode: 'TUN', tun: { port: 6080 } }), 'TunnelOption', 'spec.tun.port'),
  no('a checksum for IPIP', virtualServer({ mode: 'TUN', tun: { checksum: 'Checksum' } }), 'TunnelOption', 'spec.tun.checksum'),
  no('a remote checksum for GRE', virtualServer({ mode: 'TUN', tun: { encapsulation: 'GRE', checksum: 'RemoteChecksum' } }), 'TunnelOption', 'spec.tun.checksum'),
  no('fallback for rr', virtualServer({ scheduler: { name: 'rr', fallback: true } }), 'SchedulerOption', 'spec.scheduler.fallback'),
  no('portAware for dh', virtualServer({ scheduler: { name: 'dh', portAware: true } }), 'SchedulerOption', 'spec.scheduler.portAware'),
  no('lower above upper', virtualServer({ connectionLimits: { upper: 10, lower: 11 } }), 'ThresholdsInverted', 'spec.connectionLimits.lower'),
  no('lower without upper', virtualServer({ connectionLimits: { lower: 5 } }), 'ThresholdsInverted', 'spec.connectionLimits.lower'),
  no('a range that ends before it starts', virtualServer({ ports: [{ port: 100, endPort: 99 }] }), 'RangeInverted', 'spec.ports[0].endPort'),
  no('the same port twice', virtualServer({ ports: [web, web] }), 'PortOverlap', 'spec.ports[1]'),
  no('a port inside a range', virtualServer({ ports: [{ port: 10, endPort: 20 }, { port: 20 }] }), 'PortOverlap', 'spec.ports[1]'),
  no('two ports of one name', virtualServer({ ports: [{ name: 'web', port: 80 }, { name: 'web', port: 443 }] }), 'DuplicatePortName', 'spec.ports[1].name'),
  no('another target port in DR', virtualServer({ mode: 'DR', ports: [{ port: 80, targetPort: 8080 }] }), 'TargetPortFixed', 'spec.ports[0].targetPort'),
  no('another target port in TUN', virtualServer({ mode: 'TUN', ports: [{ port: 80, targetPort: 8080 }] }), 'TargetPortFixed', 'spec.ports[0].targetPort'),
  no('another target port for a range', virtualServer({ ports: [{ port: 10, endPort: 20, targetPort: 30 }] }), 'TargetPortFixed', 'spec.ports[0].targetPort'),
  no('another target port with persistence across all ports', virtualServer({ ports: [{ port: 80, targetPort: 8080 }], persistence: { scope: 'AllPorts' } }), 'TargetPortFixed', 'spec.ports[0].targetPort'),
  no('one-packet scheduling with a TCP port', virtualServer({ ports: [dns, { port: 53 }], scheduler: { onePacket: true } }), 'NeedsUDP', 'spec.scheduler.onePacket'),
  no('sip over TCP', virtualServer({ persistence: { engine: 'sip' } }), 'NeedsUDP', 'spec.persistence.engine'),
  no('a real server with the address of the VIP', virtualServer({ vip: { addresses: ['203.0.113.10'] }, backends: backends('203.0.113.10') }), 'RealServerIsVIP', RS0),
  no('an IPv4 real server for an IPv6 VIP in NAT', virtualServer({ vip: { addresses: ['2001:db8::10'] } }), 'EndpointFamily', RS0),
  no('an IPv6 real server for an IPv4 family in DR', virtualServer({ mode: 'DR', vip: { families: ['IPv4'] }, backends: backends('2001:db8::15') }), 'EndpointFamily', RS0),
  no('the same real server twice', virtualServer({ backends: backends('192.168.20.15', '192.168.20.15') }), 'DuplicateEndpoint', 'spec.backends[0].static.endpoints[1].address'),
  no('the same real server in two backends', virtualServer({ backends: [...backends('192.168.20.15'), ...backends('192.168.20.15')] }), 'DuplicateEndpoint', 'spec.backends[1].static.endpoints[0].address',
    { accepts: true, why: 'CEL would have to compare 16,000 real servers with each other; compile refuses it' }),
];

const service = (ref: Fields = {}, more: Fields = {}): Fields => ({ serviceRef: { name: 'shop', ...ref }, ...more });
const nodes = (matchLabels: Fields = { role: 'web' }): Fields => ({ nodes: { selector: { matchLabels } } });
const from = (...sources: Fields[]) => virtualServer({ backends: sources });
const B0 = 'spec.backends[0]';

const BACKENDS: readonly Case[] = [
  yes('a Service as backend', from(service())),
  yes('a Service by the name of its port', from(service({ port: 'http' }))),
  yes('a Service by the number of its port', from(service({ port: 8080 }))),
  yes('a Service of another namespace, with a weight', from(service({ namespace: 'tenant-b', port: 'a'.repeat(63) }, { weight: 0 }))),
  yes('nodes as backend', from(nodes())),
  yes('nodes by a label with a prefix', from(nodes({ 'node-role.kubernetes.io/web': '' }))),
  yes('every kind of source beside each other', from(service({ port: 'http' }, { weight: 100 }), ...backends('192.168.20.15'), nodes())),
  yes('a target port for what is no Service', virtualServer({ ports: [{ port: 80, targetPort: 8080 }], backends: [service(), nodes()] })),
  yes('a Service in DR, which nobody but the Service knows the port of', virtualServer({ mode: 'DR', backends: [service()] })),
  yes('a Service behind an IPv6 VIP', virtualServer({ vip: { addresses: ['2001:db8::10'] }, backends: [service()] })),
  yes('real servers of the own node only', virtualServer({ trafficPolicy: 'Local', backends: [service()] })),

  no('a backend that is empty', from({}), 'BackendSource', B0),
  no('a backend with a weight and nothing else', from({ weight: 1 }), 'BackendSource', B0),
  no('a backend of a Service and addresses', from({ ...service(), ...backends('192.168.20.15')[0] }), 'BackendSource', B0),
  no('a second backend of nodes and a Service', from(service(), { ...nodes(), ...service() }), 'BackendSource', 'spec.backends[1]'),
  no('a Service without a name', from({ serviceRef: {} }), 'MissingField', `${B0}.serviceRef.name`),
  no('a Service with its namespace in the name', from(service({ name: 'tenant-b/shop' })), 'InvalidName', `${B0}.serviceRef.name`),
  no('a Service whose port is 0', from(service({ port: 0 })), 'OutOfRange', `${B0}.serviceRef.port`),
  no('a Service whose port is 65536', from(service({ port: 65536 })), 'OutOfRange', `${B0}.serviceRef.port`),
  no('a Service whose port is a fraction', from(service({ port: 80.5 })), 'WrongType', `${B0}.serviceRef.port`),
  no('a Service whose port is true', from(service({ port: true })), 'WrongType', `${B0}.serviceRef.port`),
  no('a Service whose port has a name with capitals', from(service({ port: 'HTTP' })), 'InvalidName', `${B0}.serviceRef.port`),
  no('a Service whose port has an empty name', from(service({ port: '' })), 'InvalidName', `${B0}.serviceRef.port`),
  no('a Service whose port has a name of 64 letters', from(service({ port: 'a'.repeat(64) })), 'OutOfRange', `${B0}.serviceRef.port`),
  no('an unknown field of a Service', from(service({ targetPort: 80 })), 'UnknownField', `${B0}.serviceRef.targetPort`),
  no('nodes without a choice', from({ nodes: {} }), 'MissingField', `${B0}.nodes.selector`),
  no('nodes by no label', from(nodes({})), 'EmptySelector', `${B0}.nodes.selector.matchLabels`),
  no('a target port where every backend is a Service', virtualServer({ ports: [{ port: 80, targetPort: 8080 }], backends: [service()] }), 'TargetPortUnused', 'spec.ports[0].targetPort'),
  no('another target port in DR, beside a Service', virtualServer({ mode: 'DR', ports: [{ port: 80, targetPort: 8080 }], backends: [service(), nodes()] }), 'TargetPortFixed', 'spec.ports[0].targetPort'),
  no('a static real server with the address of the VIP, beside a Service', virtualServer({ vip: { addresses: ['203.0.113.10'] }, backends: [service(), ...backends('203.0.113.10')] }), 'RealServerIsVIP', 'spec.backends[1].static.endpoints[0].address'),
  no('a static real server of another family, beside a Service', virtualServer({ vip: { families: ['IPv6'] }, backends: [service(), ...backends('192.168.20.15')] }), 'EndpointFamily', 'spec.backends[1].static.endpoints[0].address'),
  no('an unknown traffic policy', virtualServer({ trafficPolicy: 'local' }), 'UnknownValue', 'spec.trafficPolicy'),
  no('a name with a dot', virtualServer({}, { name: 'shop.1' }), 'InvalidName', 'metadata.name'),
];

/** A VirtualServer with this health check. */
const checked = (healthCheck: Fields, spec: Fields = {}) => virtualServer({ healthCheck, ...spec });
const H = 'spec.healthCheck';
const range: Fields = { ports: [{ port: 30000, endPort: 30100, protocol: 'UDP' }] };
const http = (part: Fields, type = 'HTTP') => checked({ type, http: part });
const query = (part: Fields = {}) => checked({ type: 'DNS', dns: { name: 'shop.example', ...part } });
const bytes = (n: number) => Buffer.alloc(n, 7).toString('base64');

const HEALTH_CHECKS: readonly Case[] = [
  yes('a health check by a connection', checked({})),
  yes('a health check that is switched off', checked({ type: 'None' })),
  yes('a health check with everything', checked({
    type: 'HTTPS', port: 8443, path: 'Forwarded', periodSeconds: 3600, timeoutSeconds: 3600, riseCount: 100, fallCount: 100, onFailure: 'Remove', panicThresholdPercent: 100,
    http: { path: '/healthz?full=1&x=%20#~', host: 'shop.example:8443', expectedStatuses: [200, 204, 599], caBundle: CERTIFICATE },
  }, { mode: 'DR' })),
  yes('an HTTP check of the defaults', checked({ type: 'HTTP' })),
  yes('an HTTP check with an IPv6 host', http({ host: '[2001:db8::15]:8080' })),
  yes('an HTTPS check by a bundle of two certificates', http({ caBundle: `# ours\n${CERTIFICATE}${CERTIFICATE}` }, 'HTTPS')),
  yes('an HTTP check for as many statuses as there may be', http({ expectedStatuses: Array.from({ length: 100 }, (_, i) => 200 + i) })),
  yes('an HTTP check of the longest path', http({ path: `/${'a'.repeat(1023)}` })),
  yes('a gRPC check inside TLS', checked({ type: 'GRPC', grpc: { transport: 'TLS' } })),
  yes('a gRPC check of a service', checked({ type: 'GRPC', grpc: { service: 'shop.v1.Cart' } })),
  yes('a gRPC check of the server', checked({ type: 'GRPC' })),
  yes('a UDP check with the longest payload', checked({ type: 'UDP', udp: { payload: bytes(1024), expectReply: true } }, { ports: [dns] })),
  yes('a UDP check of the defaults', checked({ type: 'UDP' }, { ports: [dns] })),
  yes('a DNS check for an IPv6 address', query({ name: '_srv.shop-1.example.', record: 'AAAA', expectedAddress: '2001:db8::10' })),
  yes('a DNS check for an address that no VIP can have', query({ expectedAddress: '127.0.0.2' })),
  yes('a DNS check of the root', query({ name: '.' })),
  yes('a DNS check of a label of 63 letters', query({ name: `${'a'.repeat(63)}.example` })),
  yes('a connection to a UDP port, as DNS servers take too', checked({ type: 'TCP' }, { ports: [dns] })),
  yes('a check of a port for a range', checked({ type: 'UDP', port: 30000 }, range)),
  yes('a check of a range of one port', checked({}, { ports: [{ port: 80, endPort: 80 }] })),
  yes('no check of a range', checked({ type: 'None' }, range)),
  yes('a check of a port with persistence across all ports', checked({ port: 80 }, { persistence: { scope: 'AllPorts' } })),
  yes('a check through the tunnel', checked({ path: 'Forwarded' }, { mode: 'TUN' })),
  yes('a slow start of an hour', virtualServer({ slowStart: { windowSeconds: 3600 } })),
  yes('a slow start of nothing', virtualServer({ slowStart: {} })),

  no('a health check of an unknown type', checked({ type: 'ICMP' }), 'UnknownValue', `${H}.type`),
  no('a health check that runs a program', checked({ exec: { command: ['true'] } }), 'UnknownField', `${H}.exec`),
  no('a health check of another host', checked({ address: '192.168.20.99' }), 'UnknownField', `${H}.address`),
  no('an HTTP check with headers', http({ headers: { Cookie: 'x' } }), 'UnknownField', `${H}.http.headers`),
  no('an HTTP check with another method', http({ method: 'POST' }), 'UnknownField', `${H}.http.method`),
  no('a check of port 0', checked({ port: 0 }), 'OutOfRange', `${H}.port`),
  no('a check every 0 seconds', checked({ periodSeconds: 0 }), 'OutOfRange', `${H}.periodSeconds`),
  no('a check every 3601 seconds', checked({ periodSeconds: 3601 }), 'OutOfRange', `${H}.periodSeconds`),
  no('a rise of 0', checked({ riseCount: 0 }), 'OutOfRange', `${H}.riseCount`),
  no('a fall of 101', checked({ fallCount: 101 }), 'OutOfRange', `${H}.fallCount`),
  no('a panic above 100 percent', checked({ panicThresholdPercent: 101 }), 'OutOfRange', `${H}.panicThresholdPercent`),
  no('a check that takes longer than its period', checked({ periodSeconds: 5, timeoutSeconds: 6 }), 'CheckTimes', `${H}.timeoutSeconds`),
  no('a period below the default of the timeout', checked({ periodSeconds: 1 }), 'CheckTimes', `${H}.timeoutSeconds`),
  no('an HTTP path for a connection', checked({ http: {} }), 'CheckOption', `${H}.http`),
  no('an HTTP path for nothing', checked({ type: 'None', http: {} }), 'CheckOption', `${H}.http`),
  no('a gRPC service for HTTP', checked({ type: 'HTTP', grpc: {} }), 'CheckOption', `${H}.grpc`),
  no('a payload for DNS', checked({ type: 'DNS', dns: { name: 'shop.example' }, udp: {} }), 'CheckOption', `${H}.udp`),
  no('a DNS name for UDP', checked({ type: 'UDP', dns: { name: 'shop.example' } }), 'CheckOption', `${H}.dns`),
  no('a DNS check without a question', checked({ type: 'DNS' }), 'CheckOption', `${H}.dns`),
  no('a DNS check without a name', checked({ type: 'DNS', dns: {} }), 'MissingField', `${H}.dns.name`),
  no('a CA for HTTP', http({ caBundle: CERTIFICATE }), 'CheckOption', `${H}.http.caBundle`),
  no('a check of a range without a port', checked({ type: 'UDP' }, range), 'CheckPort', `${H}.port`),
  no('a check without a port with persistence across all ports', checked({}, { persistence: { scope: 'AllPorts' } }), 'CheckPort', `${H}.port`),
  no('a check through the forwarding method in NAT', checked({ path: 'Forwarded' }), 'ModeMismatch', `${H}.path`),
  no('a path that ends the line', http({ path: '/ HTTP/1.1\r\nX: y' }), 'CheckText', `${H}.http.path`),
  no('a path with a space', http({ path: '/a b' }), 'CheckText', `${H}.http.path`),
  no('a path with a line feed at its end', http({ path: '/a\n' }), 'CheckText', `${H}.http.path`),
  no('a path in other letters', http({ path: '/gru\u00df' }), 'CheckText', `${H}.http.path`),
  no('a path with a DEL', http({ path: '/a\u007f' }), 'CheckText', `${H}.http.path`),
  no('a path without a slash', http({ path: 'healthz' }), 'CheckText', `${H}.http.path`),
  no('an empty path', http({ path: '' }), 'CheckText', `${H}.http.path`),
  no('a URL as path', http({ path: 'http://169.254.169.254/' }), 'CheckText', `${H}.http.path`),
  no('a path of 1025 characters', http({ path: `/${'a'.repeat(1024)}` }), 'OutOfRange', `${H}.http.path`),
  no('a host with a line end', http({ host: 'shop.example\r\nX: y' }), 'CheckText', `${H}.http.host`),
  no('a host with a line feed at its end', http({ host: 'shop.example\n' }), 'CheckText', `${H}.http.host`),
  no('a host with a user', http({ host: 'me@shop.example' }), 'CheckText', `${H}.http.host`),
  no('a host of 254 characters', http({ host: 'a'.repeat(254) }), 'OutOfRange', `${H}.http.host`),
  no('no status at all', http({ expectedStatuses: [] }), 'OutOfRange', `${H}.http.expectedStatuses`),
  no('101 statuses', http({ expectedStatuses: Array.from({ length: 101 }, (_, i) => 200 + i) }), 'OutOfRange', `${H}.http.expectedStatuses`),
  no('an interim status', http({ expectedStatuses: [100] }), 'OutOfRange', `${H}.http.expectedStatuses[0]`),
  no('a status of 600', http({ expectedStatuses: [200, 600] }), 'OutOfRange', `${H}.http.expectedStatuses[1]`),
  no('the same status twice', http({ expectedStatuses: [200, 204, 200] }), 'DuplicateStatus', `${H}.http.expectedStatuses[2]`),
  no('a CA that is no certificate', http({ caBundle: 'ca.pem' }, 'HTTPS'), 'CheckText', `${H}.http.caBundle`),
  no('a CA with its key', http({ caBundle: `${CERTIFICATE}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n` }, 'HTTPS'), 'CheckText', `${H}.http.caBundle`),
  no('a CA that is cut', http({ caBundle: CERTIFICATE.replace('zj0CAQYIKoZIzj0DAQcDQgAEuwQ6', '') }, 'HTTPS'), 'CheckText', `${H}.http.caBundle`, { accepts: true, why: 'CEL cannot read certificates; compile refuses it' }),
  no('a CA of 16385 characters', http({ caBundle: CERTIFICATE.padEnd(16_385) }, 'HTTPS'), 'OutOfRange', `${H}.http.caBundle`),
  no('a gRPC service with a space', checked({ type: 'GRPC', grpc: { service: 'shop Cart' } }), 'CheckText', `${H}.grpc.service`),
  no('a payload that is no base64', checked({ type: 'UDP', udp: { payload: 'ping!' } }), 'CheckText', `${H}.udp.payload`),
  no('a payload without its padding', checked({ type: 'UDP', udp: { payload: 'cGluZw' } }), 'CheckText', `${H}.udp.payload`),
  no('a payload of 1025 bytes', checked({ type: 'UDP', udp: { payload: bytes(1025) } }), 'CheckText', `${H}.udp.payload`),
  no('a payload of 1026 bytes', checked({ type: 'UDP', udp: { payload: bytes(1026) } }), 'CheckText', `${H}.udp.payload`),
  no('a payload of 1369 characters', checked({ type: 'UDP', udp: { payload: 'A'.repeat(1369) } }), 'OutOfRange', `${H}.udp.payload`),
  no('a DNS name with a space', query({ name: 'shop example' }), 'CheckText', `${H}.dns.name`),
  no('a DNS name with an empty label', query({ name: 'shop..example' }), 'CheckText', `${H}.dns.name`),
  no('an empty DNS name', query({ name: '' }), 'CheckText', `${H}.dns.name`),
  no('a DNS label of 64 letters', query({ name: `${'a'.repeat(64)}.example` }), 'CheckText', `${H}.dns.name`),
  no('a DNS label that ends with a hyphen', query({ name: 'shop-.example' }), 'CheckText', `${H}.dns.name`),
  no('an MX record', query({ record: 'MX' }), 'UnknownValue', `${H}.dns.record`),
  no('an expected address that is none', query({ expectedAddress: 'shop' }), 'InvalidAddress', `${H}.dns.expectedAddress`),
  no('an expected address that is not canonical', query({ record: 'AAAA', expectedAddress: '2001:DB8::1' }), 'InvalidAddress', `${H}.dns.expectedAddress`),
  no('an IPv6 address in an A record', query({ expectedAddress: '2001:db8::1' }), 'FamilyMismatch', `${H}.dns.expectedAddress`),
  no('an IPv4 address in an AAAA record', query({ record: 'AAAA', expectedAddress: '203.0.113.10' }), 'FamilyMismatch', `${H}.dns.expectedAddress`),
  no('a slow start of more than an hour', virtualServer({ slowStart: { windowSeconds: 3601 } }), 'OutOfRange', 'spec.slowStart.windowSeconds'),
  no('a slow start below 0', virtualServer({ slowStart: { windowSeconds: -1 } }), 'OutOfRange', 'spec.slowStart.windowSeconds'),
];

const BLOCK0 = 'spec.blocks[0]';
const pool = (...blocks: Fields[]) => vipPool({ blocks });

const VIP_POOL: readonly Case[] = [
  yes('a pool of a prefix and a range', pool({ cidr: '203.0.113.0/28' }, { start: '198.51.100.10', stop: '198.51.100.20' })),
  yes('a pool of one address', pool({ cidr: '203.0.113.10/32' })),
  yes('a pool of one address, as a range', pool({ start: '203.0.113.10', stop: '203.0.113.10' })),
  yes('an IPv6 pool', pool({ cidr: '2001:db8::/112' })),
  yes('a pool with everything', vipPool({ excluded: ['203.0.113.1'], allocateFirstLast: true, autoAssign: false, default: true, allowedNamespaces: { matchLabels: { team: 'shop' }, names: ['tenant-a'] }, quotaPerNamespace: 16, directorGroupRef: { name: 'edge' }, allowStaticBackendCIDRs: ['192.168.0.0/16', '0.0.0.0/0'], disabled: true })),
  yes('a pool that admits nobody', vipPool({ allowedNamespaces: {} })),

  no('a pool without blocks', vipPool({ blocks: [] }), 'OutOfRange', 'spec.blocks'),
  no('a pool in a namespace', vipPool({}, { namespace: 'tenant-a' }), 'UnknownField', 'metadata.namespace', { accepts: true, why: 'the server drops it, or the client does' }),
  no('an empty block', pool({}), 'BlockForm', BLOCK0),
  no('a block with a prefix and a range', pool({ cidr: '203.0.113.0/28', start: '203.0.113.1', stop: '203.0.113.2' }), 'BlockForm', BLOCK0),
  no('a block without an end', pool({ start: '203.0.113.1' }), 'BlockForm', BLOCK0),
  no('a prefix with host bits', pool({ cidr: '203.0.113.1/28' }), 'InvalidPrefix', `${BLOCK0}.cidr`),
  no('an address without its length', pool({ cidr: '203.0.113.10' }), 'InvalidPrefix', `${BLOCK0}.cidr`),
  no('a prefix of 33 bits', pool({ cidr: '203.0.113.0/33' }), 'InvalidPrefix', `${BLOCK0}.cidr`),
  no('a prefix that is not canonical', pool({ cidr: '2001:DB8::/112' }), 'InvalidPrefix', `${BLOCK0}.cidr`),
  no('a prefix of real servers with host bits', vipPool({ allowStaticBackendCIDRs: ['192.168.1.1/16'] }), 'InvalidPrefix', 'spec.allowStaticBackendCIDRs[0]'),
  no('a range from no address', pool({ start: '203.0.113', stop: '203.0.113.20' }), 'InvalidAddress', `${BLOCK0}.start`),
  no('an excluded address that is none', vipPool({ excluded: ['gateway'] }), 'InvalidAddress', 'spec.excluded[0]'),
  no('a range backwards', pool({ start: '203.0.113.20', stop: '203.0.113.10' }), 'RangeInverted', BLOCK0, { accepts: true, why: 'CEL cannot compare addresses; compile refuses it' }),
  no('a range of two families', pool({ start: '203.0.113.20', stop: '2001:db8::1' }), 'FamilyMismatch', BLOCK0),
  no('a pool on loopback', pool({ cidr: '127.0.0.0/24' }), 'ForbiddenAddress', BLOCK0),
  no('a pool that contains loopback', pool({ cidr: '64.0.0.0/2' }), 'ForbiddenAddress', BLOCK0),
  no('a pool of everything', pool({ cidr: '::/0' }), 'ForbiddenAddress', BLOCK0),
  no('a range that runs into multicast', pool({ start: '223.255.255.0', stop: '224.0.0.5' }), 'ForbiddenAddress', BLOCK0),
  no('a range across link-local', pool({ start: '169.253.0.0', stop: '169.255.0.0' }), 'ForbiddenAddress', BLOCK0, { accepts: true, why: 'CEL sees the two ends only' }),
  no('a link-local IPv6 pool', pool({ cidr: 'fe80::/64' }), 'ForbiddenAddress', BLOCK0),
  no('everybody and somebody', vipPool({ allowedNamespaces: { all: true, names: ['tenant-a'] } }), 'NamespaceSelection', 'spec.allowedNamespaces'),
  no('a choice by no label', vipPool({ allowedNamespaces: { matchLabels: {} } }), 'EmptySelector', 'spec.allowedNamespaces.matchLabels'),
  no('a group whose name is too long', vipPool({ directorGroupRef: { name: 'a'.repeat(64) } }), 'OutOfRange', 'spec.directorGroupRef.name'),
  no('a quota of 0', vipPool({ quotaPerNamespace: 0 }), 'OutOfRange', 'spec.quotaPerNamespace'),
];

const DIRECTOR_GROUP: readonly Case[] = [
  yes('an empty group: every node, the NIC of the subnet', directorGroup()),
  yes('a group with everything', directorGroup({ nodeSelector: { matchLabels: { 'node-role/edge': '' } }, interface: { match: 'Name', name: 'eth0' }, connectionSync: { enabled: true, interface: 'eth1', syncId: 7 }, timeouts: { tcpSeconds: 1800, udpSeconds: 60 } })),
  yes('an interface by pattern', directorGroup({ interface: { match: 'Regex', regex: 'eth[0-9]+' } })),
  yes('a quick failover', directorGroup({ failover: { leaseDurationSeconds: 3, renewSeconds: 1 } })),
  yes('a failover as slow as it may be', directorGroup({ failover: { leaseDurationSeconds: 60, renewSeconds: 20 } })),
  yes('a failover with half the lease to renew', directorGroup({ failover: { renewSeconds: 3 } })),
  yes('a group with the longest name', directorGroup({}, { name: 'a'.repeat(63) })),
  no('a failover setting, which this version does not have', directorGroup({ failover: { failback: 'Never' } }), 'UnknownField', 'spec.failover.failback'),
  no('a lease of 2 seconds', directorGroup({ failover: { leaseDurationSeconds: 2, renewSeconds: 1 } }), 'OutOfRange', 'spec.failover.leaseDurationSeconds'),
  no('a lease of 61 seconds', directorGroup({ failover: { leaseDurationSeconds: 61 } }), 'OutOfRange', 'spec.failover.leaseDurationSeconds'),
  no('a renewal every 0 seconds', directorGroup({ failover: { renewSeconds: 0 } }), 'OutOfRange', 'spec.failover.renewSeconds'),
  no('a renewal every 21 seconds', directorGroup({ failover: { leaseDurationSeconds: 60, renewSeconds: 21 } }), 'OutOfRange', 'spec.failover.renewSeconds'),
  no('a renewal that one lost message makes late', directorGroup({ failover: { renewSeconds: 4 } }), 'FailoverTimes', 'spec.failover.renewSeconds'),
  no('a group whose name fits no label', directorGroup({}, { name: 'a'.repeat(64) }), 'OutOfRange', 'metadata.name'),
  no('match Name without a name', directorGroup({ interface: { match: 'Name' } }), 'InterfaceMatch', 'spec.interface.name'),
  no('a name without match Name', directorGroup({ interface: { name: 'eth0' } }), 'InterfaceMatch', 'spec.interface.name'),
  no('match Regex without a pattern', directorGroup({ interface: { match: 'Regex' } }), 'InterfaceMatch', 'spec.interface.regex'),
  no('a pattern that is none', directorGroup({ interface: { match: 'Regex', regex: 'eth[0-' } }), 'InterfaceMatch', 'spec.interface.regex', { accepts: true, why: 'CEL compiles patterns of its own syntax only when it matches' }),
  no('an interface name that is too long', directorGroup({ interface: { match: 'Name', name: 'a'.repeat(16) } }), 'OutOfRange', 'spec.interface.name'),
  no('an interface name with a slash', directorGroup({ interface: { match: 'Name', name: 'eth/0' } }), 'InvalidName', 'spec.interface.name'),
  no('synchronisation on no interface', directorGroup({ connectionSync: { enabled: true } }), 'SyncInterface', 'spec.connectionSync.interface'),
  no('sync id 256', directorGroup({ connectionSync: { syncId: 256 } }), 'OutOfRange', 'spec.connectionSync.syncId'),
  no('a timeout of 0', directorGroup({ timeouts: { tcpSeconds: 0 } }), 'OutOfRange', 'spec.timeouts.tcpSeconds'),
  no('a selector without labels', directorGroup({ nodeSelector: { matchLabels: {} } }), 'EmptySelector', 'spec.nodeSelector.matchLabels'),
];

export const CASES: readonly Case[] = [...VIRTUAL_SERVER, ...BACKENDS, ...HEALTH_CHECKS, ...VIP_POOL, ...DIRECTOR_GROUP, ...MACHINE_CASES];
