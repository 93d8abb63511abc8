/**
 * Packet-filter rules as values: one order, one comparison, and the checks that come before any text is made of them.
 * Rules become shell-free but still textual input of `nft` and `iptables-restore`, so nothing unchecked may pass.
 * No rendering here: nft.ts and iptables.ts do that; and no policy: which rules a node needs is decided in agent/desired.
 */
import { canonical, familyOf } from '../../ip/ip.ts';
import { KernelError } from '../netlink/errors.ts';
import type { MarkRule, MssRule, NetfilterRules, SourceNatRule } from './types.ts';

/** Every port of a protocol: the rule then does not look at the port. */
export const EVERY_PORT = { firstPort: 0, lastPort: 65535 } as const;

/** RFC 879: every host takes 536 bytes on IPv4, and no tunnel of ours leaves less. Below it a rule is a mistake. */
const SMALLEST_MSS = 536;
const LARGEST_MSS = 65494;

/**
 * Begins the `vip` of a rule that was read back but is not of a form that we write: somebody edited or added it. The text after
 * it is the packet filter's own. Such a rule never equals a wished one, so it is drift and `setRules` repairs it.
 */
export const UNREADABLE = '? ';

type Rule = SourceNatRule | MarkRule | MssRule;
/** Fields in order of comparison. */
const ORDER = ['family', 'vip', 'protocol', 'firstPort', 'lastPort', 'mark', 'to', 'mss'] as const;

function compare(a: Rule, b: Rule): number {
  for (const field of ORDER) {
    const x = (a as unknown as Record<string, string | number | undefined>)[field];
    const y = (b as unknown as Record<string, string | number | undefined>)[field];
    if (x === y || x === undefined || y === undefined) continue;
    return x < y ? -1 : 1;
  }
  return 0;
}

function sorted<R extends Rule>(rules: readonly R[]): R[] {
  return [...rules].sort(compare).filter((rule, i, all) => i === 0 || compare(all[i - 1]!, rule) !== 0);
}

/**
 * The same rules in the one order (family, vip, protocol, ports, mark, ...), without duplicates; of two MSS for one VIP the
 * smaller, since the rule knows no port. `readRules` returns this form.
 */
export function sortRules(rules: NetfilterRules): NetfilterRules {
  const mss = sorted(rules.mss).filter((rule, i, all) => i === 0 || all[i - 1]!.family !== rule.family || all[i - 1]!.vip !== rule.vip);
  return { sourceNat: sorted(rules.sourceNat), marks: sorted(rules.marks), mss };
}

/** Whether two sets of rules mean the same, whatever their order. null means no rules. */
export function sameRules(a: NetfilterRules | null, b: NetfilterRules | null): boolean {
  const x = sortRules(a ?? { sourceNat: [], marks: [], mss: [] });
  const y = sortRules(b ?? { sourceNat: [], marks: [], mss: [] });
  return sameList(x.sourceNat, y.sourceNat) && sameList(x.marks, y.marks) && sameList(x.mss, y.mss);
}

function sameList(a: readonly Rule[], b: readonly Rule[]): boolean {
  return a.length === b.length && a.every((rule, i) => compare(rule, b[i]!) === 0);
}

export function isEmpty(rules: NetfilterRules): boolean {
  return rules.sourceNat.length === 0 && rules.marks.length === 0 && rules.mss.length === 0;
}

/**
 * Checks and sorts. Throws KernelError INVALID naming the first rule that is wrong: an address that is not canonical or of the
 * other family, a port, mark or MSS out of range, or two mark rules for the same port (the kernel could only obey one).
 */
export function checkRules(rules: NetfilterRules): NetfilterRules {
  const checked = sortRules(rules);
  for (const rule of checked.sourceNat) {
    checkTarget(rule);
    checkPorts(rule);
    if (rule.to !== '' && (canonical(rule.to) !== rule.to || familyOf(rule.to) !== rule.family)) {
      throw invalid(rule, `${JSON.stringify(rule.to)} is no ${rule.family} address`);
    }
    if (!isWord(rule.mark)) throw invalid(rule, `mark ${rule.mark} is out of range`);
  }
  let before: MarkRule | null = null;
  for (const rule of checked.marks) {
    checkTarget(rule);
    checkPorts(rule);
    if (!isWord(rule.mark) || rule.mark === 0) throw invalid(rule, `mark ${rule.mark} is out of range`);
    if (before !== null && before.family === rule.family && before.vip === rule.vip && before.protocol === rule.protocol && before.lastPort >= rule.firstPort) {
      throw invalid(rule, `its ports overlap those of mark ${before.mark}`);
    }
    before = rule;
  }
  for (const rule of checked.mss) {
    checkTarget(rule);
    if (!Number.isInteger(rule.mss) || rule.mss < SMALLEST_MSS || rule.mss > LARGEST_MSS) {
      throw invalid(rule, `an MSS is ${SMALLEST_MSS}..${LARGEST_MSS}, not ${rule.mss}`);
    }
  }
  return checked;
}

function checkTarget(rule: Rule): void {
  if (canonical(rule.vip) !== rule.vip || familyOf(rule.vip) !== rule.family) {
    throw invalid(rule, `${JSON.stringify(rule.vip)} is no canonical ${rule.family} address`);
  }
}

function checkPorts(rule: SourceNatRule | MarkRule): void {
  if (!(rule.protocol in PROTOCOL_NUMBER)) throw invalid(rule, `protocol ${rule.protocol}`);
  const { firstPort, lastPort } = rule;
  if (!Number.isInteger(firstPort) || !Number.isInteger(lastPort) || firstPort < 0 || lastPort > 65535 || firstPort > lastPort) {
    throw invalid(rule, `ports ${firstPort}-${lastPort}`);
  }
}

function isWord(value: number): boolean { return Number.isInteger(value) && value >= 0 && value <= 0xffffffff; }

function invalid(rule: Rule, message: string): KernelError {
  return new KernelError({ code: 'INVALID', operation: 'setRules', object: `rule for ${rule.vip}`, message });
}

export function isEveryPort(rule: { firstPort: number; lastPort: number }): boolean {
  return rule.firstPort === EVERY_PORT.firstPort && rule.lastPort === EVERY_PORT.lastPort;
}

/** linux/in.h IPPROTO_*. */
export const PROTOCOL_NUMBER = { TCP: 6, UDP: 17, SCTP: 132 } as const;

/** 'TCP' for 'tcp', '6' or 6; null for anything that is no protocol of ours. */
export function protocolOf(text: string | number): 'TCP' | 'UDP' | 'SCTP' | null {
  switch (text) {
    case 'tcp': case '6': case 6: return 'TCP';
    case 'udp': case '17': case 17: return 'UDP';
    case 'sctp': case '132': case 132: return 'SCTP';
    default: return null;
  }
}
