/**
 * From what the API server has to what the agent takes: slices to programs, DirectorGroups to settings. Pure. A program that makes no sense
 * or cannot come from our compiler is refused whole, so that who can write programs by hand gains nothing by it.
 */
import { SLICE_CODES, joinSlices, type DirectorGroup, type VirtualServerProgram } from '../../api/v1alpha1/index.ts';
import { groupSettings, parseRealServer, type GroupSettings, type Program } from '../../api/v1alpha1/program.ts';
import { classOf, familyOf } from '../../ip/ip.ts';

/** A group as directors obey it. */
export interface GroupDuty {
  readonly settings: GroupSettings;
  readonly leaseDurationSeconds: number;
  readonly renewSeconds: number;
}

export function groupDutyOf(group: DirectorGroup): GroupDuty {
  const { leaseDurationSeconds, renewSeconds } = group.spec.failover;
  return { settings: groupSettings(group), leaseDurationSeconds, renewSeconds };
}

/** Why objects are no program for this node. */
export const PROGRAM_CODES = {
  ...SLICE_CODES,
  InvalidProgram: 'A program that did not come from our compiler; the program in force stays.',
} as const;

export interface ProgramProblem {
  readonly code: keyof typeof PROGRAM_CODES;
  readonly message: string;
}

/** The program that all objects of one VirtualServer and group are; or why they are none. */
export function programOf(objects: readonly VirtualServerProgram[]): { readonly program: Program } | { readonly problem: ProgramProblem } {
  const joined = joinSlices(objects);
  if ('problem' in joined) return joined;
  const forged = forgery(joined.program);
  if (forged === null) return { program: joined.program };
  return { problem: { code: 'InvalidProgram', message: `${forged} (program of ${joined.program.owner}); nothing of it is done` } };
}

/** What our compiler never writes; null when there is nothing of the kind. */
function forgery({ spec }: Program): string | null {
  const vips = new Set(spec.addresses.map((a) => a.address));
  for (const vip of vips) {
    if (familyOf(vip) === null || classOf(vip) !== 'unicast') return `${JSON.stringify(vip)} is never a VIP`;
  }
  for (const { realServers } of spec.services) {
    for (const text of realServers) {
      const address = parseRealServer(text)?.address;
      if (address === undefined || familyOf(address) === null || classOf(address) !== 'unicast' || vips.has(address)) {
        return `${JSON.stringify(text)} is never a real server`;
      }
    }
  }
  return null;
}

/** Nodes that have a real server which takes connections: where a VIP of trafficPolicy Local should be. Null: anywhere. */
export function localNodes({ spec }: Program): ReadonlySet<string> | null {
  if (!spec.localOnly) return null;
  const nodes = new Set<string>();
  for (const { realServers } of spec.services) {
    for (const text of realServers) {
      const r = parseRealServer(text);
      if (r && r.weight > 0 && r.node !== '') nodes.add(r.node);
    }
  }
  return nodes;
}
