/**
 * How a check reaches a real server: to its own address, or through a VIP as clients' packets do. Pure. Of several VIPs of a family the first
 * one is taken: a real server receives for all of them by the same means.
 */
import { realServersFor, type Program, type RealServer } from '../../api/v1alpha1/program.ts';
import { contains, familyOf, type Family } from '../../ip/ip.ts';
import { forwardedTo, isForwarded } from '../desired-director.ts';
import type { NodeIndex } from '../facts.ts';
import { DIRECT, type CheckPath } from './check.ts';
import { wayName } from './forwarded.ts';
import type { Ways } from './source.ts';

/** Null: it cannot be checked that way from here, for want of a VIP of a family that it serves, of a way, or of an address to ask from. */
export function pathOf(program: Program, at: number, r: RealServer, index: NodeIndex, ways: Ways): CheckPath | null {
  const { spec } = program;
  if (!isForwarded(program)) return DIRECT;
  const part = spec.services[at];
  const vip = spec.addresses.find((a) => a.family === familyOf(r.address)) ?? spec.addresses.find((a) => realServersFor(spec.mode, [r], a.family).length > 0);
  if (!part || !vip) return null;
  const mark = ways.get(wayName(forwardedTo(program, part, r, vip.family)))?.mark;
  const source = sourceFor(vip.address, r.address, vip.family, index);
  return mark === undefined || source === null ? null : { kind: 'Forwarded', vip: vip.address, mark, source };
}

/** What of this node decides how the real servers of a program are reached, as text; '' where nothing does. */
export function pathDependsOn(program: Program, { subnets }: NodeIndex): string {
  return isForwarded(program) ? JSON.stringify(subnets) : '';
}

/** An address of this node that is no VIP: in the real server's network, or else in the VIP's, or else any. */
function sourceFor(vip: string, realServer: string, family: Family, { subnets }: NodeIndex): string | null {
  const same = subnets.filter((s) => s.family === family);
  const near = [realServer, vip].map((address) => same.find((s) => familyOf(address) === family && contains(s.address, s.prefixLength, address)));
  return (near.find((s) => s !== undefined) ?? same[0])?.address ?? null;
}
