/**
 * What manifests ask of this host, found by the pipeline itself, with a kernel that is taken to have everything: compile, desired, join.
 * So preflight and standalone cannot disagree. Pure.
 */
import { desired } from '../agent/desired.ts';
import { indexFacts, type RoleChoice } from '../agent/facts.ts';
import { joinNeeds, type Fragment } from '../agent/state.ts';
import { SCHEDULERS } from '../api/v1alpha1/index.ts';
import { familyOf } from '../ip/ip.ts';
import type { IpvsCapabilities } from '../kernel/ipvs/contract.ts';
import { serviceKey } from '../kernel/ipvs/types.ts';
import type { NetObservation, Tunnel } from '../kernel/net/types.ts';
import type { Compiler, Objects } from '../controller/compiler.ts';
import type { Wants } from './preflight-facts.ts';

/** A kernel that can do everything: what this one cannot is found by other means, one by one. */
const ABLE: IpvsCapabilities = {
  kernel: '', version: '1.2.1', connectionTableSize: 4096, schedulers: new Set<string>(SCHEDULERS), engines: new Set(['sip']),
  tunnelTypes: new Set(['ipip', 'gue', 'gre']), ipv6: true, stats64: true,
};

const MODULE_OF: Readonly<Record<Tunnel['kind'], string>> = { ipip: 'ipip', sit: 'sit', gre: 'ip_gre', ip6tnl: 'ip6_tunnel', ip6gre: 'ip6_gre' };

export interface WantsInput {
  readonly objects: Objects;
  /** Of files. */
  readonly problems: readonly string[];
  readonly compiler: Compiler;
  readonly net: NetObservation;
  readonly node: string;
  readonly role: RoleChoice;
  readonly labels: Readonly<Record<string, string>>;
  /** `link address` of the ledger. */
  readonly ours: ReadonlySet<string>;
  /** Null: no such setting. */
  readonly readSysctl: (path: string) => string | null;
}

export function wantsOf(input: WantsInput): Wants {
  const { compiler, net } = input;
  const change = compiler.update(input.objects, new Set(input.objects.keys()), false);
  const index = indexFacts({
    name: input.node, role: input.role, labels: input.labels, links: net.links, addresses: net.addresses, ours: input.ours, capabilities: ABLE, netfilter: 'nft',
  });
  const groups = compiler.groups;
  const programs = [...change.programs.values()].flatMap((p) => p ?? []);
  const fragments: Fragment[] = programs.map((p) => desired(p, groups.get(p.spec.directorGroup) ?? null, index));
  const shared = joinNeeds(fragments, groups.values());
  const directed = programs.filter((_, i) => fragments[i]!.services.length > 0);
  const tunnels = [...shared.tunnels.values()].map(({ value }) => MODULE_OF[value.kind]);
  const fou = [...shared.fou.values()].map(({ value }) => (value.family === 'IPv4' ? 'fou' : 'fou6'));
  return {
    virtualServers: [...input.objects.keys()].filter((k) => k.startsWith('VirtualServer/')).length,
    problems: [
      ...input.problems,
      ...[...compiler.verdicts].filter(([, v]) => !v.accepted).map(([name, v]) => `VirtualServer ${name}: ${v.reason}: ${v.message}`),
      ...[...compiler.verdicts].flatMap(([name, { excluded }]) => excluded.map((e) => `VirtualServer ${name}: ${e.reason}: ${e.message}`)),
      ...fragments.flatMap((f) => f.refusals.map((r) => `VirtualServer ${r.owner}: ${r.code}: ${r.message}`)),
    ],
    director: fragments.some((f) => f.role === 'director' || f.role === 'both'),
    realServer: fragments.some((f) => f.role === 'realServer' || f.role === 'both'),
    vips: unique(programs.flatMap((p) => p.spec.addresses.map((a) => a.address))),
    families: new Set(programs.flatMap((p) => p.spec.addresses.flatMap((a) => familyOf(a.address) ?? []))),
    services: fragments.flatMap((f) => f.services.map((s) => serviceKey(s.service))),
    schedulers: unique(directed.map((p) => p.spec.scheduler.name)),
    engines: unique(directed.flatMap((p) => p.spec.persistence?.engine || [])),
    tunnelTypes: unique(directed.flatMap((p) => p.spec.tunnel?.encapsulation.toLowerCase() ?? [])),
    tunnelModules: unique([...tunnels, ...fou]),
    rules: shared.rules.sourceNat.length + shared.rules.marks.length + shared.rules.mss.length > 0,
    sysctls: [...shared.sysctls.values()].flatMap(({ value: { path, value, onlyFrom } }) => {
      const current = input.readSysctl(path);
      return current === value || (onlyFrom && current !== null && !onlyFrom.includes(current)) ? [] : [{ path, value, current }];
    }),
  };
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)].sort();
}
