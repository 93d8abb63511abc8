/**
 * Health checks and slow start: the fields of spec.healthCheck and spec.slowStart of a VirtualServer, and what of them a program carries.
 * Rules that look at more than one field, or at characters, are in virtualserver.checks.ts. Whoever may write a VirtualServer chooses no
 * header but Host, no body, no method and no other target than its real servers: there are no fields for these.
 */
import { z } from 'zod';
import { integer, text } from './fields.ts';
import { CHECK_BOUNDS as BOUNDS } from './vocabulary.ts';

const statuses = () => z.array(integer(200, 599)).min(1).max(BOUNDS.statuses);

const http = z.strictObject({
  path: text(BOUNDS.path).default('/').describe("What is asked for, with GET: '/', then printable ASCII without spaces. Redirects are not followed."),
  host: text(BOUNDS.host).default('').describe('Host header, and the server name of TLS. Empty: the address of the real server, and no server name.'),
  expectedStatuses: statuses().default([200]).describe('Statuses that pass.'),
  caBundle: text(BOUNDS.caBundle).default('')
    .describe('Certificates in PEM; that of the real server must be signed by one of them, and be for host where there is one. Empty: any certificate will do. Only with HTTPS.'),
});

const grpc = z.strictObject({
  service: text(BOUNDS.service).default('').describe('Service that grpc.health.v1.Health/Check is asked about. Empty: the server as a whole.'),
  transport: z.enum(['Plaintext', 'TLS']).default('Plaintext').describe('TLS: HTTP/2 inside TLS, with any certificate.'),
});

const udp = z.strictObject({
  payload: text(BOUNDS.payload).default('').describe('Base64 of the datagram that is sent, at most 1024 bytes. Empty: one zero byte.'),
  expectReply: z.boolean().default(false).describe('Whether an answer must come, whatever it says. False: down only when the datagram is refused (ICMP).'),
});

const dns = z.strictObject({
  name: text(BOUNDS.domain).describe("Name that is asked for. '.' is the root."),
  record: z.enum(['A', 'AAAA']).default('A').describe('Record that is asked for.'),
  expectedAddress: text(45).default('').describe('An address that must be among the answers. Empty: NOERROR will do.'),
});

/** Words that spec.healthCheck and a program share. */
const PATH = 'Direct: to the address of the real server. Forwarded: to the VIP through the forwarding method, as packets of clients go; only with modes DR and TUN.';
const ON_FAILURE = 'What happens to a real server that is down. Quiesce: weight 0, its connections go on. Remove: it is taken out of the kernel.';
const PANIC = 'When fewer than this share of the real servers of a service are up, all of them count as up. 0: never.';

export const healthCheck = z.strictObject({
  type: z.enum(['None', 'TCP', 'HTTP', 'HTTPS', 'GRPC', 'UDP', 'DNS']).default('TCP').describe(
    'What passes. TCP: a connection. HTTP, HTTPS: a status. GRPC: SERVING. UDP: no refusal. DNS: an answer. None: nothing is checked.'),
  port: integer(1, 65535).optional()
    .describe('Port that is checked. Absent: the port of the real server; needed where that is any (a range, persistence.scope AllPorts).'),
  path: z.enum(['Direct', 'Forwarded']).default('Direct').describe(PATH),
  periodSeconds: integer(1, 3600).default(5).describe('From one check to the next.'),
  timeoutSeconds: integer(1, 3600).default(2).describe('How long a check may take; not more than periodSeconds.'),
  riseCount: integer(1, 100).default(2).describe('Passed checks in a row that bring a real server back.'),
  fallCount: integer(1, 100).default(3).describe('Failed checks in a row that take it out. The very first check decides alone.'),
  onFailure: z.enum(['Quiesce', 'Remove']).default('Quiesce').describe(ON_FAILURE),
  panicThresholdPercent: integer(0, 100).default(0).describe(PANIC),
  http: http.optional().describe('Only with types HTTP and HTTPS. Absent: GET /, status 200.'),
  grpc: grpc.optional().describe('Only with type GRPC.'),
  udp: udp.optional().describe('Only with type UDP.'),
  dns: dns.optional().describe('Only with type DNS, and needed there.'),
});

export const slowStart = z.strictObject({
  windowSeconds: integer(0, 3600).default(0)
    .describe('How long the weight of a real server rises that a check brought back, or that is new beside others. 0: it has its whole weight at once.'),
});

export type HealthCheckSpec = z.output<typeof healthCheck>;

/** In a program: the same, complete, without None. Written by the controller, which ran the rules; what an agent must distrust it checks itself. */
export const programHealthCheck = z.strictObject({
  type: z.enum(['TCP', 'HTTP', 'HTTPS', 'GRPC', 'UDP', 'DNS']).describe('What passes.'),
  port: integer(0, 65535).describe('Port that is checked; 0: the port of the real server.'),
  path: z.enum(['Direct', 'Forwarded']).describe(PATH),
  periodSeconds: integer(1, 3600).describe('From one check to the next.'),
  timeoutSeconds: integer(1, 3600).describe('How long a check may take.'),
  riseCount: integer(1, 100).describe('Passed checks in a row that bring a real server back.'),
  fallCount: integer(1, 100).describe('Failed checks in a row that take it out.'),
  onFailure: z.enum(['Quiesce', 'Remove']).describe(ON_FAILURE),
  panicThresholdPercent: integer(0, 100).describe(PANIC),
  http: z.strictObject({
    path: text(BOUNDS.path).describe('What is asked for, with GET.'),
    host: text(BOUNDS.host).describe('Host header, or empty.'),
    expectedStatuses: statuses().describe('Statuses that pass.'),
    caBundle: text(BOUNDS.caBundle).describe('Certificates in PEM, or empty.'),
  }).optional().describe('With types HTTP and HTTPS.'),
  grpc: z.strictObject({
    service: text(BOUNDS.service).describe('Service that is asked about, or empty.'),
    transport: z.enum(['Plaintext', 'TLS']).optional().describe('Absent: Plaintext.'),
  }).optional().describe('With type GRPC.'),
  udp: z.strictObject({
    payload: text(BOUNDS.payload).describe('Base64, or empty.'),
    expectReply: z.boolean().describe('Whether an answer must come.'),
  }).optional().describe('With type UDP.'),
  dns: z.strictObject({
    name: text(BOUNDS.domain).describe('Name that is asked for.'),
    record: z.enum(['A', 'AAAA']).describe('Record that is asked for.'),
    expectedAddress: text(45).describe('An address that must be among the answers, or empty.'),
  }).optional().describe('With type DNS.'),
});
