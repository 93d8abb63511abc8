/**
 * What the rest of the agent asks of health checks: the seam between fragments, which say what a node is to be, and the checks that have a
 * say in it. Who checks is watch.ts; a node that only plans has nobody who does.
 */
import type { Program, RealServer } from '../../api/v1alpha1/program.ts';
import type { NodeIndex } from '../facts.ts';
import { readRealServers, usedHere } from '../real-servers.ts';
import type { ForwardedWay } from './forwarded.ts';
import { NOTHING_KNOWN, weigh, type Weights } from './weighing.ts';

export interface HealthSource {
  /** Programs whose weights may have changed since this was asked last. */
  changed(): ReadonlySet<string>;
  /** The program is directed here, and these are the ways of checks through its VIPs, by wayName(); null: it is not any more. */
  follow(owner: string, program: Program | null, index: NodeIndex, ways: Ways): void;
  /** Only for programs with a check. */
  weights(program: Program, index: NodeIndex): Weights;
}

export type Ways = ReadonlyMap<string, ForwardedWay>;

/** Nobody checks: everything is as it was before. */
export const UNWATCHED: HealthSource = {
  changed: () => NOBODY,
  follow: () => undefined,
  weights: (program, index) => weigh(program.spec, checkedHere(program, index), () => NOTHING_KNOWN, 0),
};

const NOBODY: ReadonlySet<string> = new Set();

/** The real servers that a director sends to, service by service. */
export function checkedHere(program: Program, index: NodeIndex): readonly (readonly RealServer[])[] {
  return readRealServers(program).map(({ realServers }) => usedHere(program, realServers, index));
}
