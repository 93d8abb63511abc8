/**
 * What is wrong with a target, in words: programs come over a network and are not trusted, and a target with a problem is not checked.
 * Pure. The same bounds belong into the API's schema, where people meet them first.
 */
import { familyOf } from '../../ip/ip.ts';
import { CHECK_TYPES, type CheckTarget, type HealthCheck, type HttpCheck } from './check.ts';

export const BOUNDS = {
  periodMs: [100, 3_600_000], timeoutMs: [10, 3_600_000], count: [1, 100], port: [1, 65_535], status: [200, 599],
  path: 1_024, host: 253, service: 1_024, payloadBytes: 1_024, statuses: 100, ca: 65_536,
} as const;

/** Printable ASCII without space: what may stand in a request line. Control characters would let a path write headers of its own. */
const VISIBLE = /^[\x21-\x7e]+$/;
/** A name, or an address with a port perhaps: what may stand in a Host header. */
const HOST = /^[A-Za-z0-9._:[\]-]+$/;
/** Labels of 1 to 63 characters; the root dot at the end may be there. */
const DOMAIN = /^(?=.{1,254}$)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** The first problem, or null when the target can be checked. Takes anything of the right outer shape. */
export function problemOf({ address, family, check, path }: CheckTarget): string | null {
  if (familyOf(address) === null) return `address ${JSON.stringify(address)} is not an IP address`;
  const problem = timing(check) ?? particular(check);
  if (problem !== null) return problem;
  if (path.kind === 'Direct') return family === familyOf(address) ? null : `family ${family} is not that of ${address}`;
  if (path.kind !== 'Forwarded') return `path ${JSON.stringify((path as { kind: unknown }).kind)} is unknown`;
  if (familyOf(path.vip) !== family) return `VIP ${JSON.stringify(path.vip)} is not of family ${family}`;
  if (familyOf(path.source) !== family) return `source ${JSON.stringify(path.source)} is not of family ${family}`;
  return within(path.mark, 1, 0xffff_ffff) ? null : 'mark must be 1 to 4294967295';
}

function timing(check: HealthCheck): string | null {
  const { port, periodMs, timeoutMs, rise, fall } = check;
  if (!within(port, ...BOUNDS.port)) return `port ${port} is not between 1 and 65535`;
  if (!within(periodMs, ...BOUNDS.periodMs)) return `period ${periodMs} ms is not between 100 ms and an hour`;
  if (!within(timeoutMs, ...BOUNDS.timeoutMs)) return `timeout ${timeoutMs} ms is not between 10 ms and an hour`;
  if (timeoutMs > periodMs) return `timeout ${timeoutMs} ms is longer than period ${periodMs} ms`;
  if (!within(rise, ...BOUNDS.count)) return `rise ${rise} is not between 1 and 100`;
  return within(fall, ...BOUNDS.count) ? null : `fall ${fall} is not between 1 and 100`;
}

function particular(check: HealthCheck): string | null {
  switch (check.type) {
    case 'TCP': return null;
    case 'HTTP': return http(check);
    case 'HTTPS': return http(check) ?? (check.ca.length <= BOUNDS.ca ? null : 'ca is longer than 64 KiB');
    case 'GRPC':
      return check.service === '' || fits(check.service, VISIBLE, BOUNDS.service) ? null : 'service is not up to 1024 printable characters without spaces';
    case 'UDP':
      return BASE64.test(check.payload) && check.payload.length <= Math.ceil(BOUNDS.payloadBytes / 3) * 4 ? null
        : 'payload is not base64 of at most 1024 bytes';
    case 'DNS': return dns(check);
    default: return `type ${JSON.stringify((check as { type: unknown }).type)} is not one of ${CHECK_TYPES.join(', ')}`;
  }
}

function http({ path, host, statuses }: HttpCheck): string | null {
  if (!path.startsWith('/') || !fits(path, VISIBLE, BOUNDS.path)) {
    return 'path does not begin with "/", or holds a space, a control character or more than 1024 characters';
  }
  if (host !== '' && !fits(host, HOST, BOUNDS.host)) return 'host is not a name or an address';
  if (statuses.length === 0 || statuses.length > BOUNDS.statuses) return 'statuses must be 1 to 100 numbers';
  return statuses.every((s) => within(s, ...BOUNDS.status)) ? null : 'statuses must be between 200 and 599';
}

function dns({ name, record, expected }: Extract<HealthCheck, { type: 'DNS' }>): string | null {
  if (name !== '.' && !DOMAIN.test(name)) return 'name is not a domain name';
  if (record !== 'A' && record !== 'AAAA') return 'record is not A or AAAA';
  if (expected === '') return null;
  return familyOf(expected) === (record === 'A' ? 'IPv4' : 'IPv6') ? null : `expected is not an address that an ${record} record can hold`;
}

function within(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high;
}

function fits(text: string, pattern: RegExp, longest: number): boolean {
  return text.length <= longest && pattern.test(text);
}
