/** Rules of a VIPPool that look at one pool alone. Overlap with node, Service or Pod addresses is decided in controller/compile. */
import { canonical, familyOf, fromBigInt, parsePrefix, toBigInt, ADDRESS_BITS, type Family } from '../../ip/ip.ts';
import { celCanonical, celPrefix, celUnicast, checkAddress, checkPrefix, type Rule } from './rules.ts';
import type { VIPPool, VIPPoolBlock } from './vippool.ts';

/** Networks in which no VIP can be. RFC 6890, 1112, 4291; IPv4-mapped addresses are no addresses of their own. */
const FORBIDDEN: readonly (readonly [cidr: string, what: string])[] = [
  ['0.0.0.0/8', 'unspecified'], ['127.0.0.0/8', 'loopback'], ['169.254.0.0/16', 'link-local'], ['224.0.0.0/4', 'multicast'], ['240.0.0.0/4', 'reserved'],
  ['::/127', 'unspecified and loopback'], ['::ffff:0:0/96', 'IPv4-mapped'], ['fe80::/10', 'link-local'], ['ff00::/8', 'multicast'],
];

/** First and last address of a block as integers; null where the block is not well formed, which other rules report. */
export function blockRange(block: VIPPoolBlock): { family: Family; first: bigint; last: bigint } | null {
  if (block.cidr !== undefined) {
    const prefix = parsePrefix(block.cidr);
    if (prefix === null) return null;
    const first = toBigInt(prefix.address);
    return { family: prefix.family, first, last: first + (1n << BigInt(ADDRESS_BITS[prefix.family] - prefix.length)) - 1n };
  }
  const { start = '', stop = '' } = block;
  const family = familyOf(start);
  if (family === null || familyOf(stop) !== family) return null;
  return { family, first: toBigInt(start), last: toBigInt(stop) };
}

const FORBIDDEN_RANGES = FORBIDDEN.map(([cidr, what]) => {
  // parsePrefix refuses IPv4-mapped text on purpose, so this one range is written out.
  const range = cidr.startsWith('::ffff') ? { family: 'IPv6' as const, first: 0xffff_0000_0000n, last: 0xffff_ffff_ffffn } : blockRange({ cidr })!;
  return { cidr, what, ...range };
});
/** For CEL, without the mapped range, which the server's cidr() refuses as we do. */
const CEL_FORBIDDEN = FORBIDDEN.filter(([cidr]) => !cidr.startsWith('::ffff')).map(([cidr]) => `'${cidr}'`).join(', ');

const isRange = (b: VIPPoolBlock) => b.cidr === undefined && b.start !== undefined && b.stop !== undefined;

export const VIP_POOL_RULES: readonly Rule<VIPPool>[] = [
  {
    code: 'BlockForm',
    cel: [{
      at: 'spec.blocks[]',
      rule: 'has(self.cidr) ? (!has(self.start) && !has(self.stop)) : (has(self.start) && has(self.stop))',
      message: 'a block has either cidr, or start and stop',
    }],
    check({ spec: { blocks } }, report) {
      blocks.forEach((b, i) => {
        if (b.cidr === undefined ? !isRange(b) : b.start !== undefined || b.stop !== undefined) {
          const given = Object.keys(b).join(' and ');
          report(`spec.blocks[${i}]`, `a block has either cidr, or start and stop; this one has ${given === '' ? 'nothing' : given}`,
            'write { cidr: 203.0.113.0/28 } or { start: 203.0.113.10, stop: 203.0.113.20 }');
        }
      });
    },
  },
  {
    code: 'InvalidPrefix',
    cel: [celPrefix('spec.blocks[].cidr'), celPrefix('spec.allowStaticBackendCIDRs[]')],
    check({ spec }, report) {
      spec.blocks.forEach((b, i) => { if (b.cidr !== undefined) checkPrefix(b.cidr, `spec.blocks[${i}].cidr`, report); });
      spec.allowStaticBackendCIDRs.forEach((c, i) => checkPrefix(c, `spec.allowStaticBackendCIDRs[${i}]`, report));
    },
  },
  {
    code: 'InvalidAddress',
    cel: [celCanonical('spec.blocks[].start'), celCanonical('spec.blocks[].stop'), celCanonical('spec.excluded[]')],
    check({ spec }, report) {
      spec.blocks.forEach((b, i) => {
        if (b.start !== undefined) checkAddress(b.start, `spec.blocks[${i}].start`, report);
        if (b.stop !== undefined) checkAddress(b.stop, `spec.blocks[${i}].stop`, report);
      });
      spec.excluded.forEach((a, i) => checkAddress(a, `spec.excluded[${i}]`, report));
    },
  },
  {
    code: 'RangeInverted',
    cel: [],
    why: 'CEL cannot compare addresses; the families are compared below',
    check({ spec: { blocks } }, report) {
      blocks.forEach((b, i) => {
        const range = isRange(b) ? blockRange(b) : null;
        if (range !== null && range.first > range.last) {
          report(`spec.blocks[${i}]`, `the range ends at ${b.stop}, before it starts at ${b.start}`, 'swap start and stop');
        }
      });
    },
  },
  {
    code: 'FamilyMismatch',
    cel: [{
      at: 'spec.blocks[]',
      rule: "!has(self.start) || !has(self.stop) || self.start.contains(':') == self.stop.contains(':')",
      message: 'start and stop must be of one family',
    }],
    check({ spec: { blocks } }, report) {
      blocks.forEach((b, i) => {
        if (!isRange(b) || canonical(b.start!) === null || canonical(b.stop!) === null) return;
        const [start, stop] = [familyOf(b.start!), familyOf(b.stop!)];
        if (start !== stop) report(`spec.blocks[${i}]`, `start is ${start} and stop is ${stop}`, 'write one block for each family');
      });
    },
  },
  {
    code: 'ForbiddenAddress',
    cel: [
      {
        at: 'spec.blocks[].cidr',
        // Of two prefixes one holds the first address of the other, or they have nothing in common. (containsCIDR() of Kubernetes 1.31 is wrong.)
        rule: `!isCIDR(self) || [${CEL_FORBIDDEN}].all(f, !cidr(f).containsIP(cidr(self).ip()) && !cidr(self).containsIP(cidr(f).ip()))`,
        message: 'must not contain loopback, link-local, multicast, unspecified or reserved addresses',
      },
      celUnicast('spec.blocks[].start'), celUnicast('spec.blocks[].stop'),
    ],
    check({ spec: { blocks } }, report) {
      blocks.forEach((b, i) => {
        const range = blockRange(b);
        if (range === null || range.first > range.last) return;
        const hit = FORBIDDEN_RANGES.find((f) => f.family === range.family && f.first <= range.last && range.first <= f.last);
        if (hit === undefined) return;
        const first = fromBigInt(hit.first > range.first ? hit.first : range.first, hit.family);
        report(`spec.blocks[${i}]`,
          `the block contains ${hit.what} addresses (${first} is in ${hit.cidr}), which can be no VIP`,
          'use a block of unicast addresses');
      });
    },
  },
  {
    code: 'NamespaceSelection',
    cel: [{
      at: 'spec.allowedNamespaces',
      rule: '!self.all || (!has(self.matchLabels) && !has(self.names))',
      message: 'all excludes matchLabels and names',
    }],
    check({ spec: { allowedNamespaces: n } }, report) {
      if (n.all && (n.matchLabels !== undefined || n.names !== undefined)) {
        report('spec.allowedNamespaces', 'all admits every namespace, so matchLabels and names say nothing', 'remove all, or remove the others');
      }
    },
  },
  {
    code: 'EmptySelector',
    cel: [{ at: 'spec.allowedNamespaces.matchLabels', rule: 'self.size() > 0', message: 'needs at least one label; to admit everybody write all: true' }],
    check({ spec: { allowedNamespaces: { matchLabels } } }, report) {
      if (matchLabels !== undefined && Object.keys(matchLabels).length === 0) {
        report('spec.allowedNamespaces.matchLabels', 'no label is given', 'write all: true to admit everybody, or remove matchLabels to admit nobody');
      }
    },
  },
];
