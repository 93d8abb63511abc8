/**
 * Rules of a VirtualServer about its health check: which part belongs to which type, what can be checked where, and which characters may be
 * sent. Characters matter because a path with the end of a line in it would write headers of its own. Fields and bounds are in healthcheck.ts.
 */
import { X509Certificate } from 'node:crypto';
import { familyOf } from '../../ip/ip.ts';
import type { HealthCheckSpec } from './healthcheck.ts';
import { quote } from './problems.ts';
import { checkAddress, type Rule } from './rules.ts';
import { endPortOf } from './virtualserver.ports.ts';
import type { VirtualServer } from './virtualserver.ts';

/** As texts, because JavaScript and CEL (RE2) both read them. */
const PATH = '^/[!-~]*$';
const HOST = '^[A-Za-z0-9._:\\[\\]-]*$';
const SERVICE = '^[!-~]*$';
const BASE64 = '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$';
const LABEL = '[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?';
const DOMAIN = `^([.]|${LABEL}([.]${LABEL})*[.]?)$`;
/** 1,368 characters of base64 are 1,024 bytes only with this end. */
const LONGEST_PAYLOAD = 1_368;

const TYPES_OF = {
  http: ['HTTP', 'HTTPS'], grpc: ['GRPC'], udp: ['UDP'], dns: ['DNS'],
} as const satisfies Partial<Record<keyof HealthCheckSpec, readonly HealthCheckSpec['type'][]>>;
const PARTS = Object.keys(TYPES_OF) as (keyof typeof TYPES_OF)[];
const AT = 'spec.healthCheck';
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** CEL: the field matches. A raw text, so that no backslash is read twice. */
const celText = (part: string, field: string, pattern: string, message: string) => ({ at: `${AT}.${part}`, rule: `self.${field}.matches(r'${pattern}')`, message });

export const CHECK_RULES: readonly Rule<VirtualServer>[] = [
  {
    code: 'CheckTimes',
    cel: [{ at: AT, rule: 'self.timeoutSeconds <= self.periodSeconds', message: 'timeoutSeconds must not be above periodSeconds' }],
    check({ spec: { healthCheck: check } }, report) {
      if (check === undefined || check.timeoutSeconds <= check.periodSeconds) return;
      const { timeoutSeconds, periodSeconds } = check;
      report(`${AT}.timeoutSeconds`,
        `a check may take ${timeoutSeconds} s, and the next one begins after ${periodSeconds} s: checks of one real server must not overlap`,
        `set timeoutSeconds to ${periodSeconds} or less, or periodSeconds to ${timeoutSeconds} or more`);
    },
  },
  {
    code: 'CheckOption',
    cel: [
      ...PARTS.map((part) => ({
        at: AT,
        rule: `!has(self.${part}) || self.type in [${TYPES_OF[part].map((t) => `'${t}'`).join(', ')}]`,
        message: `${part} is only for ${typesText(part)}`,
      })),
      { at: AT, rule: "!has(self.http) || self.http.caBundle == '' || self.type == 'HTTPS'", message: 'http.caBundle is only for type HTTPS' },
      { at: AT, rule: "self.type != 'DNS' || has(self.dns)", message: 'type DNS needs dns.name' },
    ],
    check({ spec: { healthCheck: check } }, report) {
      if (check === undefined) return;
      for (const part of PARTS) {
        if (check[part] === undefined || (TYPES_OF[part] as readonly string[]).includes(check.type)) continue;
        report(`${AT}.${part}`,
          `${part} is only for ${typesText(part)}, and the type is ${check.type}`,
          `set type to ${TYPES_OF[part].join(' or ')}, or remove ${part}`);
      }
      if (check.type === 'HTTP' && check.http !== undefined && check.http.caBundle !== '') {
        report(`${AT}.http.caBundle`, 'HTTP has no certificates, only HTTPS has', 'set type to HTTPS, or remove caBundle');
      }
      if (check.type === 'DNS' && check.dns === undefined) report(`${AT}.dns`, 'type DNS needs a name to ask for', 'add dns.name');
    },
  },
  {
    code: 'CheckPort',
    cel: [{
      at: 'spec',
      rule: "!has(self.healthCheck) || self.healthCheck.type == 'None' || has(self.healthCheck.port)"
        + " || ((!has(self.persistence) || self.persistence.scope != 'AllPorts') && self.ports.all(p, !has(p.endPort) || p.endPort == p.port))",
      message: 'healthCheck.port is needed with a range of ports or persistence.scope AllPorts: real servers have no port of their own there',
    }],
    check({ spec: { healthCheck: check, ports, persistence } }, report) {
      if (check === undefined || check.type === 'None' || check.port !== undefined) return;
      const range = ports.find((p) => endPortOf(p) !== p.port);
      const because = persistence?.scope === 'AllPorts' ? 'with persistence.scope AllPorts'
        : range === undefined ? null : `with the range ${range.port}-${endPortOf(range)}`;
      if (because === null) return;
      report(`${AT}.port`, `${because} a packet keeps its port, so the real servers have none that could be checked`, 'add healthCheck.port');
    },
  },
  {
    code: 'ModeMismatch',
    cel: [{
      at: 'spec',
      rule: "!has(self.healthCheck) || self.healthCheck.path != 'Forwarded' || self.mode in ['DR', 'TUN']",
      message: 'healthCheck.path Forwarded is only for modes DR and TUN',
    }],
    check({ spec: { healthCheck: check, mode } }, report) {
      if (check?.path === 'Forwarded' && mode === 'NAT') {
        report(`${AT}.path`,
          'Forwarded is only for modes DR and TUN: in mode NAT the real server has no VIP that it could lose',
          'remove path, or use mode DR or TUN');
      }
    },
  },
  {
    code: 'CheckText',
    cel: [
      celText('http', 'path', PATH,
        "path must begin with '/' and hold no spaces, no control characters and nothing but ASCII: it stands in the first line of a request"),
      celText('http', 'host', HOST, 'host must be a name or an address, with a port perhaps: it stands in the Host header'),
      {
        at: `${AT}.http`,
        rule: "self.caBundle == '' || (self.caBundle.contains('-----BEGIN CERTIFICATE-----') && !self.caBundle.contains('PRIVATE KEY'))",
        message: 'caBundle must be certificates in PEM, and nothing secret',
      },
      celText('grpc', 'service', SERVICE, 'service must hold no spaces, no control characters and nothing but ASCII: it is a name of the protocol'),
      {
        at: `${AT}.udp`,
        rule: `self.payload.matches(r'${BASE64}') && (self.payload.size() < ${LONGEST_PAYLOAD} || self.payload.endsWith('=='))`,
        message: 'payload must be base64 of at most 1024 bytes',
      },
      celText('dns', 'name', DOMAIN, 'name must be a domain name: labels of 1 to 63 letters, digits, - and _'),
    ],
    check({ spec: { healthCheck: check } }, report) {
      if (check === undefined) return;
      const { http, grpc, udp, dns } = check;
      if (http !== undefined && !matches(PATH, http.path)) {
        report(`${AT}.http.path`,
          `${quote(http.path)} does not begin with '/', or holds a space, a control character or something that is not ASCII: it stands in the first line of a request`,
          "begin it with '/', and write other characters as %20");
      }
      if (http !== undefined && !matches(HOST, http.host)) {
        report(`${AT}.http.host`,
          `${quote(http.host)} is neither a name nor an address: it stands in the Host header, without spaces and control characters`,
          'write it as shop.example or shop.example:8443');
      }
      const bundle = http === undefined || http.caBundle === '' ? null : whyNoBundle(http.caBundle);
      if (bundle !== null) report(`${AT}.http.caBundle`, bundle, 'write the certificates of the CA, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----');
      if (grpc !== undefined && !matches(SERVICE, grpc.service)) {
        report(`${AT}.grpc.service`,
          `${quote(grpc.service)} holds a space, a control character or something that is not ASCII: it is a name of the protocol`,
          'write it as shop.v1.Cart, or remove service');
      }
      if (udp !== undefined && !(matches(BASE64, udp.payload) && (udp.payload.length < LONGEST_PAYLOAD || udp.payload.endsWith('==')))) {
        report(`${AT}.udp.payload`, `${quote(udp.payload)} is not base64 of at most 1024 bytes`, 'encode the bytes with base64 -w0');
      }
      if (dns !== undefined && !matches(DOMAIN, dns.name)) {
        report(`${AT}.dns.name`,
          `${quote(dns.name)} is not a domain name: labels of 1 to 63 letters, digits, - and _, with dots between`,
          'write it as shop.example');
      }
    },
  },
  {
    code: 'InvalidAddress',
    cel: [{
      at: `${AT}.dns`,
      rule: "self.expectedAddress == '' || (isIP(self.expectedAddress) && ip.isCanonical(self.expectedAddress))",
      message: 'expectedAddress must be an IP address in canonical form',
    }],
    check({ spec: { healthCheck: check } }, report) {
      const expected = check?.dns?.expectedAddress ?? '';
      if (expected !== '') checkAddress(expected, `${AT}.dns.expectedAddress`, report);
    },
  },
  {
    code: 'FamilyMismatch',
    cel: [{
      at: `${AT}.dns`,
      rule: "self.expectedAddress == '' || self.expectedAddress.contains(':') == (self.record == 'AAAA')",
      message: 'an A record holds IPv4, an AAAA record IPv6',
    }],
    check({ spec: { healthCheck: check } }, report) {
      const family = familyOf(check?.dns?.expectedAddress ?? '');
      const { record } = check?.dns ?? {};
      if (family === null || (family === 'IPv6') === (record === 'AAAA')) return;
      report(`${AT}.dns.expectedAddress`,
        `no ${record} record holds an address of ${family}`,
        `set record to ${family === 'IPv6' ? 'AAAA' : 'A'}, or write another address`);
    },
  },
  {
    code: 'DuplicateStatus',
    cel: [],
    why: 'expectedStatuses is a list of type set',
    check({ spec: { healthCheck: check } }, report) {
      check?.http?.expectedStatuses.forEach((status, i, all) => {
        if (all.indexOf(status) < i) report(`${AT}.http.expectedStatuses[${i}]`, `${status} is in the list twice`, 'remove one of them');
      });
    },
  },
];

function typesText(part: keyof typeof TYPES_OF): string {
  const types = TYPES_OF[part];
  return types.length === 1 ? `type ${types[0]}` : `types ${types.join(' and ')}`;
}

/** Compiled once each; there are five. */
const COMPILED = new Map<string, RegExp>();

function matches(pattern: string, text: string): boolean {
  let regex = COMPILED.get(pattern);
  if (regex === undefined) COMPILED.set(pattern, regex = new RegExp(pattern));
  return regex.test(text);
}

/** Why a text is no bundle of certificates, or null. */
function whyNoBundle(pem: string): string | null {
  if (pem.includes('PRIVATE KEY')) return 'there is a private key in it, and everybody who may read programs would have it';
  const certificates = pem.match(CERTIFICATE);
  if (certificates === null) return 'there is no certificate in it';
  for (const [i, one] of certificates.entries()) {
    try {
      void new X509Certificate(one);
    } catch (error) {
      return `certificate ${i + 1} cannot be read: ${(error as Error).message}`;
    }
  }
  return null;
}
