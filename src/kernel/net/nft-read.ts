/**
 * `nft -j list table` -> the rules of ours that are in force. Whatever nft.ts would not have written (an edited, added or moved
 * rule, a chain at another hook) becomes an unreadable rule, so that comparison sees it; what is missing is simply not there.
 * Running `nft` is netfilter.ts.
 */
import type { Family } from '../../ip/ip.ts';
import { canonical, familyOf } from '../../ip/ip.ts';
import { KernelError } from '../netlink/errors.ts';
import { BASE_CHAINS, FAMILIES, NFT_FAMILY, mssChain } from './nft.ts';
import { EVERY_PORT, UNREADABLE, protocolOf, sortRules } from './rules.ts';
import type { MarkRule, MssRule, NetfilterRules, SourceNatRule } from './types.ts';

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type Expression = Json;

interface Table {
  readonly maps: Map<string, { readonly type: Json; readonly elements: readonly Json[] }>;
  readonly chains: Map<string, { readonly type: Json; readonly hook: Json; readonly priority: Json; readonly rules: Expression[][] }>;
  /** Objects that we never make. */
  readonly others: string[];
}

/** Reads what `nft -j list table inet ipvs_operator` printed. Throws KernelError PROTOCOL when it is not nft's JSON. */
export function parseNft(json: string): NetfilterRules {
  const table = readTable(json);
  const found: Found = { sourceNat: [], marks: [], mss: [], unreadable: [...table.others] };
  const used = new Set<string>(Object.keys(BASE_CHAINS));
  readMarks(table, found);
  readSourceNat(table, found, used);
  readMss(table, found, used);
  for (const name of table.chains.keys()) if (!used.has(name)) found.unreadable.push(`chain ${name}`);
  const marks = [...found.marks, ...found.unreadable.map((text) => unreadable(text))];
  return sortRules({ sourceNat: found.sourceNat, marks, mss: found.mss });
}

interface Found {
  readonly sourceNat: SourceNatRule[];
  readonly marks: MarkRule[];
  readonly mss: MssRule[];
  readonly unreadable: string[];
}

/** A rule that no wish contains, carrying the packet filter's words for people. */
export function unreadable(text: string): MarkRule {
  return { family: 'IPv4', protocol: 'TCP', vip: `${UNREADABLE}${text}`, ...EVERY_PORT, mark: 0 };
}

function readTable(json: string): Table {
  const table: Table = { maps: new Map(), chains: new Map(), others: [] };
  for (const item of list(field(parseJson(json), 'nftables'))) {
    const kind = Object.keys((item ?? {}) as object)[0] ?? '';
    const body = field(item, kind);
    const name = String(field(body, 'name') ?? '');
    switch (kind) {
      case 'metainfo': break;
      case 'table':
        if (field(body, 'flags') !== undefined) table.others.push(`table flags ${JSON.stringify(field(body, 'flags'))}`);
        break;
      case 'map':
        table.maps.set(name, { type: [field(body, 'type') ?? null, field(body, 'map') ?? null], elements: list(field(body, 'elem') ?? []) });
        break;
      case 'chain':
        table.chains.set(name, {
          type: field(body, 'type') ?? null, hook: field(body, 'hook') ?? null, priority: field(body, 'prio') ?? null, rules: [],
        });
        break;
      case 'rule': table.chains.get(String(field(body, 'chain')))?.rules.push([...list(field(body, 'expr'))]); break;
      default: table.others.push(`${kind} ${name}`);
    }
  }
  return table;
}

function parseJson(json: string): Json {
  try {
    return JSON.parse(json) as Json;
  } catch (cause) {
    throw new KernelError({ code: 'PROTOCOL', operation: 'nft -j list table', message: 'the output is no JSON', cause });
  }
}

function field(value: Json | undefined, name: string): Json | undefined {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Record<string, Json>)[name] : undefined;
}

function list(value: Json | undefined): readonly Json[] {
  if (!Array.isArray(value)) throw new KernelError({ code: 'PROTOCOL', operation: 'nft -j list table', message: 'the output has an unknown structure' });
  return value as readonly Json[];
}

/** Rules of a base chain that hangs where it should; otherwise none is in force. */
function baseRules(table: Table, name: keyof typeof BASE_CHAINS, found: Found): Expression[][] {
  const chain = table.chains.get(name);
  if (chain === undefined) return [];
  const wanted = BASE_CHAINS[name];
  if (chain.type === wanted.type && chain.hook === wanted.hook && chain.priority === wanted.priority) return chain.rules;
  found.unreadable.push(`chain ${name} at ${String(chain.hook)} ${String(chain.priority)}`);
  return [];
}

/** Matches the rules of a base chain with those that a family should have, in their order; returns the families in force. */
function familiesInForce(table: Table, base: keyof typeof BASE_CHAINS, found: Found, ...expected: ((family: Family) => Expression[])[]): Family[] {
  const wanted = new Map(expected.flatMap((one, place) => FAMILIES.map((family) => [canonicalText(one(family)), { family, place }] as const)));
  const seen = new Map<Family, number>();
  for (const rule of baseRules(table, base, found)) {
    const { family, place } = wanted.get(canonicalText(rule)) ?? {};
    if (family === undefined || place !== (seen.get(family) ?? 0)) found.unreadable.push(`${base} ${JSON.stringify(rule)}`);
    else seen.set(family, place + 1);
  }
  return [...seen].flatMap(([family, count]) => (count === expected.length ? [family] : []));
}

/** Text that is equal for equal JSON: members sorted, and the two forms that versions of nft use for `syn|rst` as one. */
function canonicalText(value: Json): string {
  const sorted = JSON.stringify(value, (_key, member: Json) => {
    if (member === null || typeof member !== 'object' || Array.isArray(member)) return member;
    return Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
  return sorted.replace('{"|":["syn","rst"]}', '["syn","rst"]');
}

/** Elements of a map of ours. A map of other types than ours holds no rule in force. */
function elementsOf(table: Table, name: string, type: Json, found: Found): [Json, Json][] {
  const map = table.maps.get(name);
  if (map === undefined) return [];
  if (JSON.stringify(map.type) !== JSON.stringify(type)) {
    found.unreadable.push(`map ${name}`);
    return [];
  }
  const pairs: [Json, Json][] = [];
  for (const element of map.elements) {
    if (Array.isArray(element) && element.length === 2) pairs.push([element[0] as Json, element[1] as Json]);
    else found.unreadable.push(`element ${JSON.stringify(element)} of ${name}`);
  }
  return pairs;
}

const payload = (protocol: string, name: string): Json => ({ payload: { protocol, field: name } });

function readMarks(table: Table, found: Found): void {
  const expected = (family: Family): Expression[] => [{
    mangle: {
      key: { meta: { key: 'mark' } },
      value: {
        map: {
          key: { concat: [payload(NFT_FAMILY[family].keyword, 'daddr'), { meta: { key: 'l4proto' } }, payload('th', 'dport')] },
          data: `@mark_${NFT_FAMILY[family].name}`,
        },
      },
    },
  }];
  for (const family of familiesInForce(table, 'marking', found, expected)) {
    const name = `mark_${NFT_FAMILY[family].name}`;
    for (const [key, mark] of elementsOf(table, name, [[NFT_FAMILY[family].type, 'inet_proto', 'inet_service'], 'mark'], found)) {
      const rule = markElement(family, key, mark);
      if (rule === null) found.unreadable.push(`element ${JSON.stringify([key, mark])} of ${name}`);
      else found.marks.push(rule);
    }
  }
}

function markElement(family: Family, key: Json, mark: Json): MarkRule | null {
  const parts = field(key, 'concat');
  if (!Array.isArray(parts) || parts.length !== 3 || typeof mark !== 'number') return null;
  const [address, protocolName, portPart] = parts as Json[];
  const vip = addressOf(address, family);
  const protocol = protocolOf(protocolName as string);
  const ports = portsOf(portPart);
  return vip === null || protocol === null || ports === null ? null : { family, protocol, vip, ...ports, mark };
}

function addressOf(value: Json | undefined, family: Family): string | null {
  const address = typeof value === 'string' ? canonical(value) : null;
  return address !== null && familyOf(address) === family ? address : null;
}

function portsOf(value: Json | undefined): { firstPort: number; lastPort: number } | null {
  if (typeof value === 'number') return { firstPort: value, lastPort: value };
  const range = field(value, 'range');
  if (!Array.isArray(range) || range.length !== 2) return null;
  const [firstPort, lastPort] = range as Json[];
  return typeof firstPort === 'number' && typeof lastPort === 'number' ? { firstPort, lastPort } : null;
}

function jumpTarget(verdict: Json): string {
  return String(field(field(verdict, 'jump'), 'target') ?? '');
}

function readSourceNat(table: Table, found: Found, used: Set<string>): void {
  const expected = (family: Family): Expression[] =>
    [{ vmap: { key: { ct: { key: `${NFT_FAMILY[family].keyword} daddr`, dir: 'original' } }, data: `@snat_${NFT_FAMILY[family].name}` } }];
  const past = (family: Family): Expression[] => [{ vmap: { key: payload(NFT_FAMILY[family].keyword, 'daddr'), data: `@direct_${NFT_FAMILY[family].name}` } }];
  for (const family of familiesInForce(table, 'source_nat', found, past, expected)) {
    const { name, type } = NFT_FAMILY[family];
    const direct = new Set(elementsOf(table, `direct_${name}`, [type, 'verdict'], found)
      .flatMap(([vip, verdict]) => (JSON.stringify(verdict) === '{"return":null}' ? [String(vip)] : [])));
    const addresses = new Map(elementsOf(table, `to_${name}`, [type, type], found).map(([vip, to]) => [String(vip), to]));
    for (const [key, verdict] of elementsOf(table, `snat_${name}`, [type, 'verdict'], found)) {
      const vip = addressOf(key, family);
      const target = jumpTarget(verdict);
      const chain = /^snat_\d+$/.test(target) ? table.chains.get(target) : undefined;
      if (vip === null || chain === undefined || !direct.delete(String(key))) {
        found.unreadable.push(`element ${JSON.stringify([key, verdict])} of snat_${name}`);
        continue;
      }
      used.add(target);
      for (const expressions of chain.rules) {
        const rule = sourceNatRule(family, vip, expressions, addresses.get(String(key)));
        if (rule === null) found.unreadable.push(`${target} ${JSON.stringify(expressions)}`);
        else found.sourceNat.push(rule);
      }
    }
    for (const vip of direct) found.unreadable.push(`element ${vip} of direct_${name}`);
  }
}

/**
 * [meta mark M] meta l4proto P [ct original proto-dst PORTS] snat|masquerade; anything else is null. `mapped`: the VIP's entry in the
 * address map.
 */
function sourceNatRule(family: Family, vip: string, expressions: Expression[], mapped: Json | undefined): SourceNatRule | null {
  const rest = [...expressions];
  const mark = takeMatch(rest, { meta: { key: 'mark' } });
  const protocol = protocolOf((takeMatch(rest, { meta: { key: 'l4proto' } }) ?? '') as string);
  const port = takeMatch(rest, { ct: { key: 'proto-dst', dir: 'original' } });
  const ports = port === undefined ? EVERY_PORT : portsOf(port);
  if (protocol === null || ports === null || rest.length !== 1 || (mark !== undefined && typeof mark !== 'number')) return null;
  const to = sourceOf(family, rest[0]!, mapped);
  return to === null ? null : { family, protocol, vip, ...ports, mark: mark ?? 0, to };
}

/** The address of `snat`, '' for `masquerade`, null for any other form of either. */
function sourceOf(family: Family, expression: Expression, mapped: Json | undefined): string | null {
  const { keyword, name } = NFT_FAMILY[family];
  const text = canonicalText(expression);
  if (text === '{"masquerade":null}') return '';
  const byMap: Json = { map: { key: { ct: { key: `${keyword} daddr`, dir: 'original' } }, data: `@to_${name}` } };
  const address = field(field(expression, 'snat'), 'addr') ?? null;
  if (text !== canonicalText({ snat: { family: keyword, addr: address } })) return null;
  return addressOf(canonicalText(address) === canonicalText(byMap) ? mapped : address, family);
}

/** Takes the leading `left == right` off and returns `right`; undefined when the next expression is another. */
function takeMatch(expressions: Expression[], left: Json): Json | undefined {
  const match = field(expressions[0], 'match');
  if (field(match, 'op') !== '==' || canonicalText(field(match, 'left') ?? null) !== canonicalText(left)) return undefined;
  expressions.shift();
  return field(match, 'right');
}

function readMss(table: Table, found: Found, used: Set<string>): void {
  const expected = (family: Family): Expression[] => [
    { match: { op: '==', left: { '&': [payload('tcp', 'flags'), ['syn', 'rst']] }, right: 'syn' } },
    { vmap: { key: payload(NFT_FAMILY[family].keyword, 'saddr'), data: `@mss_${NFT_FAMILY[family].name}` } },
  ];
  for (const family of familiesInForce(table, 'mss_clamp', found, expected)) {
    const { name, type } = NFT_FAMILY[family];
    for (const [key, verdict] of elementsOf(table, `mss_${name}`, [type, 'verdict'], found)) {
      const vip = addressOf(key, family);
      const mss = clampOf(table, jumpTarget(verdict));
      if (vip === null || mss === null) {
        found.unreadable.push(`element ${JSON.stringify([key, verdict])} of mss_${name}`);
        continue;
      }
      used.add(mssChain(mss));
      found.mss.push({ family, vip, mss });
    }
  }
}

/** The MSS of a clamping chain that is exactly as we write it; null otherwise. */
function clampOf(table: Table, chain: string): number | null {
  const mss = Number(/^mss_(\d+)$/.exec(chain)?.[1] ?? NaN);
  const size: Json = { 'tcp option': { name: 'maxseg', field: 'size' } };
  const expected = canonicalText([[{ match: { op: '>', left: size, right: mss } }, { mangle: { key: size, value: mss } }]]);
  return canonicalText(table.chains.get(chain)?.rules ?? null) === expected ? mss : null;
}
