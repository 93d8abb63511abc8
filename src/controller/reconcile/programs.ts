/**
 * Programs as objects: the slices that there should be for one VirtualServer. Pure. Cutting is api/v1alpha1/slices.ts.
 */
import { isDeepStrictEqual } from 'node:util';
import { sliceProgram, type ServerObjects, type VirtualServerProgram } from '../../api/v1alpha1/index.ts';
import type { Program, ProgramSpec } from '../../api/v1alpha1/program.ts';
import { hasLabels } from './writer.ts';

/** By `namespace/name`, the first slice last: it says which hash is the program, so it is written when the others are there. */
export function desiredPrograms(program: Program | null, server: Pick<ServerObjects['VirtualServer'], 'metadata'>): Map<string, VirtualServerProgram> {
  if (program === null) return new Map();
  const { uid = '', generation = 0 } = server.metadata;
  const slices = sliceProgram(program, { uid, generation });
  return new Map(slices.reverse().map((o) => [`${o.metadata.namespace}/${o.metadata.name}`, o]));
}

/** The generation is left out: a new one that compiles to the same program is not worth a write to every director. */
export function sameProgram(present: VirtualServerProgram, wanted: VirtualServerProgram): boolean {
  const { generation: _, ...there } = present.spec;
  const { generation: __, ...want } = wanted.spec;
  return isDeepStrictEqual(there, want) && hasLabels(present, wanted);
}

/** 0: takes real servers, ports or addresses away, 1: adds some, 2: anything else. */
export function urgency(present: readonly VirtualServerProgram[], program: Program | null): 0 | 1 | 2 {
  const had = new Set(present.flatMap((o) => partsOf(o.spec)));
  const has = new Set(program ? partsOf(program.spec) : []);
  if ([...had].some((r) => !has.has(r))) return 0;
  return [...has].some((r) => !had.has(r)) ? 1 : 2;
}

/** Address and port of each VIP and of each real server. */
function partsOf({ addresses, services }: Pick<ProgramSpec, 'addresses' | 'services'>): string[] {
  const ports = services.flatMap((s) => s.ports.map((p) => `${p.protocol} ${p.port}-${p.endPort}`));
  return [...addresses.flatMap(({ address }) => ports.map((port) => `${address} ${port}`)), ...services.flatMap((s) => s.realServers.map(nameOf))];
}

/** Address and port of `ip|port|weight|node`. */
function nameOf(realServer: string): string {
  return realServer.slice(0, realServer.indexOf('|', realServer.indexOf('|') + 1));
}
