/**
 * Rules that a field's own type cannot say. Each exists twice, side by side: as a check in TypeScript, which standalone and
 * the controller run, and as CEL, which the API server runs (src/api/crd.ts puts it into the CRD). One table of cases
 * (test/unit/api/cases.ts) holds both to the same answer. Here: what a rule is, and the rules about addresses that several kinds share.
 */
import { canonical, classOf, familyOf, parsePrefix, type AddressClass } from '../../ip/ip.ts';
import { quote, type Problem, type ProblemCode } from './problems.ts';

export type Report = (path: string, message: string, fix: string) => void;

/** A CEL rule and the schema node it stands at: `spec`, `spec.vip`, `spec.ports[]`. */
export interface CelRule {
  readonly at: string;
  readonly rule: string;
  readonly message: string;
}

export interface Rule<T> {
  readonly code: ProblemCode;
  /** Empty where CEL cannot say it, or where the schema says it already (list keys); then `why`. */
  readonly cel: readonly CelRule[];
  readonly why?: string;
  readonly check: (object: T, report: Report) => void;
}

/** Runs every rule; the problems come in the order of the rules. */
export function runRules<T>(rules: readonly Rule<T>[], object: T): Problem[] {
  const problems: Problem[] = [];
  for (const { code, check } of rules) check(object, (path, message, fix) => problems.push({ code, path, message, fix }));
  return problems;
}

const CLASS_NAMES: Record<Exclude<AddressClass, 'unicast'>, string> = {
  unspecified: 'an unspecified address',
  loopback: 'a loopback address',
  linkLocal: 'a link-local address',
  multicast: 'a multicast address',
  broadcast: 'the broadcast address',
  reserved: 'an address of the reserved range 240.0.0.0/4',
};

/** Reports a text that is no canonical address. True if it is one. */
export function checkAddress(text: string, path: string, report: Report): boolean {
  if (isPlainIPv6(text)) return true;
  const form = canonical(text);
  if (form === text) return true;
  if (form !== null) report(path, `${quote(text)} is not the canonical form of this address`, `write ${form}`);
  else report(path, `${quote(text)} is not an IP address: ${whyNotAddress(text).join('; ')}`, whatToWrite(text));
  return false;
}

/** Reports an address that can be neither VIP nor real server. Says nothing about texts that are no address. */
export function checkUnicast(text: string, path: string, what: string, report: Report): void {
  if (startsPlainIPv4(text) || isPlainIPv6(text) || canonical(text) !== text) return;
  const kind = classOf(text);
  if (kind !== 'unicast') {
    report(path, `${text} is ${CLASS_NAMES[kind]} and cannot be ${what}`, 'use a unicast address that the network routes to this group of hosts');
  }
}

/**
 * Fast paths, because 100,000 addresses must be checked in a fraction of a second and reading one takes microseconds. They know
 * most addresses, and only good ones; everything else is read in earnest.
 * IPv4: the first number already tells that the class is plain unicast (if it is an address at all).
 */
function startsPlainIPv4(text: string): boolean {
  const dot = text.indexOf('.');
  if (dot < 1 || dot > 3) return false;
  const first = Number(text.slice(0, dot));
  return first > 0 && first < 224 && first !== 127 && first !== 169;
}

/** Global unicast (2000::/3) or unique local (fc00::/7) in canonical form with one '::' between groups none of which is 0. */
const PLAIN_IPV6 = /^(?:[23][0-9a-f]{3}|f[cd][0-9a-f]{2})(?::[1-9a-f][0-9a-f]{0,3})*:(?::[1-9a-f][0-9a-f]{0,3})+$/;

function isPlainIPv6(text: string): boolean {
  if (!PLAIN_IPV6.test(text)) return false;
  let colons = 0;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) === 0x3a) colons++;
  // n groups have n colons here. '::' must stand for two groups at least (RFC 5952, 4.2.2), so there are at most six.
  return colons <= 6;
}

/** Reports a text that is no canonical prefix. True if it is one. */
export function checkPrefix(text: string, path: string, report: Report): boolean {
  const parsed = parsePrefix(text);
  if (parsed !== null && `${parsed.address}/${parsed.length}` === text) return true;
  const [head = '', digits = ''] = text.split('/');
  if (parsed !== null) {
    report(path, `${quote(text)} is not the canonical form of this prefix`, `write ${parsed.address}/${parsed.length}`);
  } else if (familyOf(text) !== null) {
    report(path, `${quote(text)} has no prefix length`, `write ${text}/${familyOf(text) === 'IPv4' ? 32 : 128} for this one address`);
  } else if (familyOf(head) === null) {
    const why = whyNotAddress(head).join('; ');
    report(path, `${quote(text)} is not a prefix: ${why}`, 'write an address, a slash and a length, as 203.0.113.0/28');
  } else if (!/^(0|[1-9]\d{0,2})$/.test(digits) || Number(digits) > (familyOf(head) === 'IPv4' ? 32 : 128)) {
    report(path, `${quote(text)} has no valid length after the slash`, `write a number from 0 to ${familyOf(head) === 'IPv4' ? 32 : 128} without leading zeros`);
  } else report(path, `${quote(text)} has bits set after the first ${digits}`, 'write the network address itself, as 203.0.113.0/28');
  return false;
}

function whyNotAddress(text: string): string[] {
  if (/^\d+(\.\d+){3}$/.test(text)) {
    return text.split('.').some((n) => n.length > 1 && n.startsWith('0'))
      ? ['a number with a leading zero is octal to some programs and decimal to others']
      : ['its numbers go from 0 to 255'];
  }
  if (/^\d+(\.\d+)*$/.test(text)) return ['an IPv4 address has four numbers'];
  if (text.includes('/')) return ['it has a prefix length'];
  if (text.includes('%')) return ['it has a zone'];
  if (/^::ffff:/i.test(text)) return ['it is IPv4 written as IPv6'];
  if (/^\d+(\.\d+){3}:\d+$/.test(text) || text.startsWith('[')) return ['it has a port or brackets'];
  if (text !== text.trim()) return ['it has white space around it'];
  if (/^[0-9a-f:.]*$/i.test(text)) return ['it is neither four numbers with dots nor IPv6'];
  return ['names are not looked up'];
}

function whatToWrite(text: string): string {
  if (/^\d+(\.\d+){3}$/.test(text) && text.split('.').some((n) => n.length > 1 && n.startsWith('0'))) return 'write every number without leading zeros, as 10.0.0.1';
  if (text.includes('/')) return 'write the address without the slash and what follows';
  if (text.includes('%')) return 'write the address without its zone';
  if (/^::ffff:/i.test(text)) return 'write the IPv4 address alone';
  if (/:\d+$/.test(text) && text.includes('.')) return 'write the address alone; ports are in spec.ports';
  return 'write an address, as 203.0.113.10 or 2001:db8::10';
}

/** CEL: `self` is a canonical IP address. The server's isIP refuses zones, leading zeros and IPv4-mapped addresses, as we do. */
export function celCanonical(at: string): CelRule {
  return { at, rule: 'isIP(self) && ip.isCanonical(self)', message: 'must be an IP address in canonical form' };
}

/** CEL: `self` is an address that can be a VIP or a real server; true for what is no address, which celCanonical refuses. */
export function celUnicast(at: string): CelRule {
  return {
    at,
    rule: "!isIP(self) || (ip(self).isGlobalUnicast() && !self.matches('^(0|24[0-9]|25[0-5])[.]'))",
    message: 'must not be a loopback, link-local, multicast, broadcast, unspecified or reserved address',
  };
}

/** CEL: `self` is a canonical prefix without host bits. */
export function celPrefix(at: string): CelRule {
  return { at, rule: 'isCIDR(self) && string(cidr(self).masked()) == self', message: 'must be a network prefix in canonical form without host bits' };
}
