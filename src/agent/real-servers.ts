/**
 * The real servers that a program names and that may be ones: programs come over a network, and neither packets nor checks go to
 * loopback, link-local or multicast addresses, nor to a VIP of the program. Pure; who of them is used is desired-director.ts's.
 */
import { parseRealServer, type Program, type RealServer } from '../api/v1alpha1/program.ts';
import { classOf, familyOf } from '../ip/ip.ts';
import type { NodeIndex } from './facts.ts';

/** A service of a program with its real servers read. */
export interface ReadService {
  readonly index: number;
  readonly realServers: readonly RealServer[];
  /** Texts that are no real server that may be one. */
  readonly refused: readonly string[];
}

export function readRealServers({ spec }: Program): ReadService[] {
  const vips = new Set(spec.addresses.map((a) => a.address));
  return spec.services.map((service, index) => {
    const realServers: RealServer[] = [];
    const refused: string[] = [];
    for (const text of service.realServers) {
      const r = parseRealServer(text);
      if (r && permitted(r.address) && !vips.has(r.address)) realServers.push(r);
      else refused.push(text);
    }
    return { index, realServers, refused };
  });
}

/** Those of them that this node sends to as a director. */
export function usedHere({ spec }: Program, realServers: readonly RealServer[], index: NodeIndex): readonly RealServer[] {
  return spec.localOnly ? realServers.filter((r) => r.node === index.facts.name) : realServers;
}

function permitted(address: string): boolean {
  return familyOf(address) !== null && classOf(address) === 'unicast';
}
