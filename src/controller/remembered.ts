/**
 * Remembered: what the objects of the API server say of decisions that were made before: who holds which address with which ports, which
 * mark a range has, what was served last. Pure. It is compile's memory in a cluster, as the snapshot is on a host without one.
 */
import { joinSlices, type ServerObjects, type VirtualIP, type VirtualServerProgram } from '../api/v1alpha1/index.ts';
import type { Program } from '../api/v1alpha1/program.ts';
import { canonical } from '../ip/ip.ts';
import { asksFor } from './compile/claims.ts';
import { firstMark } from './compile/marks.ts';
import type { Memory } from './compile/memory.ts';
import { rangeText } from './compile/occupancy.ts';

/** A VirtualServer as it is now, by namespace/name. */
export type ServerOf = (owner: string) => ServerObjects['VirtualServer'] | undefined;

/**
 * Addresses and ports by claim. Two controllers at once may have given one VirtualServer two addresses: it keeps the lower, always the
 * same. Of a VirtualServer that was made anew under an old name counts what it may inherit: what it asks for.
 */
export function claimsOf(vips: Iterable<VirtualIP>, serverOf: ServerOf): Pick<Memory, 'claims' | 'ports'> {
  const claims: Record<string, string[]> = {};
  const ports: Record<string, string[]> = {};
  for (const { spec } of [...vips].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))) {
    for (const claim of spec.claims) {
      const owner = `${claim.namespace}/${claim.name}`;
      const server = serverOf(owner);
      if (server && server.metadata.uid !== claim.uid && !asksFor(server, spec.address)) continue;
      (claims[owner] ??= []).push(spec.address);
      ports[owner] = [...claim.ports];
    }
  }
  return { claims, ports };
}

/**
 * Claims with what is served without one: somebody deleted a VirtualIP, or its claims, and whoever is served there must not lose it to
 * a newcomer. Where others claim the address, the VirtualIP is right.
 */
export function withServed(claimed: Pick<Memory, 'claims' | 'ports'>, programs: Iterable<Program>): Pick<Memory, 'claims' | 'ports'> {
  const taken = new Set(Object.values(claimed.claims).flat());
  const claims: Record<string, readonly string[]> = { ...claimed.claims };
  const ports: Record<string, readonly string[]> = { ...claimed.ports };
  for (const { owner, spec } of programs) {
    const lost = spec.addresses.map((a) => a.address).filter((a) => !taken.has(a));
    if (lost.length === 0) continue;
    claims[owner] = [...claims[owner] ?? [], ...lost];
    ports[owner] ??= spec.services.flatMap((s) => s.ports.map((p) => rangeText({ protocol: p.protocol, first: p.port, last: p.endPort })));
  }
  return { claims, ports };
}

/**
 * VirtualServers whose program is not theirs any more: it serves an address that is claimed, and not by them; or it was written for
 * another one of their name. `written`: the programs of a VirtualServer that are there.
 */
export function lostOf(
  vips: Iterable<VirtualIP>,
  programs: Iterable<Program>,
  serverOf: ServerOf,
  written: (owner: string) => readonly VirtualServerProgram[],
): Set<string> {
  const claimed = new Map([...vips]
    .filter((v) => v.spec.claims.length > 0)
    .map(({ spec }) => [spec.address, new Set(spec.claims.map((c) => `${c.namespace}/${c.name}`))]));
  const lost = new Set<string>();
  for (const { owner, spec } of programs) {
    const uid = serverOf(owner)?.metadata.uid;
    const anothers = uid !== undefined && written(owner).some((p) => p.spec.virtualServer.uid !== uid);
    if (anothers || spec.addresses.some(({ address }) => claimed.get(address)?.has(owner) === false)) lost.add(owner);
  }
  return lost;
}

/**
 * Programs as they are written, by `namespace/name`: whole ones, whose addresses are some. Whoever may write anything in a namespace of their own
 * may write a program with a text that is none, and nothing that is decided for others must stumble over it.
 */
export function programsOf(objects: Iterable<VirtualServerProgram>): Map<string, Program> {
  const byOwner = Map.groupBy(objects, (o) => `${o.metadata.namespace}/${o.spec.virtualServer.name}`);
  const programs = new Map<string, Program>();
  for (const [owner, slices] of byOwner) {
    const joined = joinSlices(slices);
    if ('problem' in joined || !joined.program.spec.addresses.every(({ address }) => canonical(address) === address)) continue;
    programs.set(owner, joined.program);
  }
  return programs;
}

/**
 * Marks by the names of compile/marks.ts. A marked program of one port does not say whether its mark is that of a range or of AllPorts: the
 * mark itself does, unless names collided; then both names get it. Two controllers, one of them begun anew after an edit, must agree.
 */
export function marksOf(programs: Iterable<Program>): Memory['marks'] {
  const marks: Record<string, number> = {};
  for (const { owner, spec } of programs) {
    for (const { mark, ports } of spec.services) {
      if (mark === 0) continue;
      const [first] = ports;
      const names: string[] = [];
      if (spec.services.length === 1) names.push(`${owner}#all`);
      if (ports.length === 1 && first) names.push(`${owner}#${first.protocol}/${first.port}-${first.endPort}`);
      const told = names.find((name) => firstMark(name) === mark);
      for (const name of told === undefined ? names : [told]) marks[name] = mark;
    }
  }
  return marks;
}
