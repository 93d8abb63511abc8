// Who runs what: scenarios in batches, one for each kind and size of guest, and lanes that each go through some of the batches, one
// guest at a time. Pure; batch.ts runs a batch's scenarios, suite.ts the lanes.
//
// A guest waits for a third of its time (for a Lease, a timeout, a drain), so two share a CPU where memory allows it; the second, which takes small
// guests only, is the one that gives way. Two with an API server would make each other slow instead: of those there is one a CPU.

import type { Backend } from './boot.ts';
import type { Scenario } from './lab.ts';

export interface Batch {
  readonly backend: Backend;
  /** What one of its guests needs in /dev/shm. */
  readonly megabytes: number;
  /** In the order in which guests take them. */
  readonly scenarios: readonly Scenario[];
}

export interface Lane {
  /** That its guests are pinned to. */
  readonly cpu: number;
  /** Its guests leave two thirds of the CPU to the others', if those want it. */
  readonly yields: boolean;
  /** There is no room for its small guests beside large ones: it waits until those are gone. */
  readonly waits: boolean;
  /** In this order. Several lanes may share a batch. */
  readonly batches: readonly Batch[];
}

export interface Machine {
  /** Those that guests are pinned to, the first lane's first. */
  readonly cpus: readonly number[];
  /** What guests may have. */
  readonly freeMegabytes: number;
  /** At most this many lanes; for a person who says so. */
  readonly most?: number | undefined;
}

/** What a guest with one network and the product on its hosts needs at most, in /dev/shm. */
export const guestMegabytes = 512;

/** By kind and size, those with large guests first: they take the longest, and small ones fill the gaps at the end. */
export function batchesOf(scenarios: readonly Scenario[], backendOf: (one: Scenario) => Backend, megabytesOf: (one: Scenario) => number): Batch[] {
  const batches = new Map<string, { backend: Backend; megabytes: number; scenarios: Scenario[] }>();
  for (const one of scenarios) {
    const [backend, megabytes] = [backendOf(one), megabytesOf(one)];
    const key = `${backend} ${megabytes}`;
    if (!batches.has(key)) batches.set(key, { backend, megabytes, scenarios: [] });
    batches.get(key)!.scenarios.push(one);
  }
  for (const batch of batches.values()) batch.scenarios.sort((a, b) => (b.timeoutSeconds ?? 0) - (a.timeoutSeconds ?? 0));
  return [...batches.values()].sort((a, b) => b.megabytes - a.megabytes);
}

/**
 * The first lanes, one a CPU, take everything of User-Mode Linux; the next, as many again where there is memory, only small guests. QEMU has
 * all CPUs and waits for none of them: one lane begins with it, a further one where that may be. At least one lane, however little memory there is.
 */
export function planLanes(batches: readonly Batch[], { cpus, freeMegabytes, most = Infinity }: Machine): Lane[] {
  const uml = batches.filter(({ backend }) => backend === 'uml');
  const qemu = batches.filter(({ backend }) => backend === 'qemu');
  const small = uml.filter(({ megabytes }) => megabytes <= guestMegabytes);
  const count = (of: readonly Batch[]): number => of.reduce((sum, { scenarios }) => sum + scenarios.length, 0);
  const largest = Math.max(0, ...uml.map(({ megabytes }) => megabytes));
  const lanes: (Lane & { batches: Batch[] })[] = [];
  const add = (of: readonly Batch[], waits = false): void => {
    lanes.push({ cpu: cpus[lanes.length % cpus.length]!, yields: lanes.length >= cpus.length, waits, batches: [...of] });
  };
  const roomFor = (each: number): number => Math.max(0, Math.floor((freeMegabytes - first * each) / guestMegabytes));

  const first = Math.min(cpus.length, most, count(uml), Math.max(1, Math.floor(freeMegabytes / Math.max(largest, 1))));
  for (let i = 0; i < first; i++) add(uml);
  const more = Math.min(cpus.length, most - first, count(small) - first, roomFor(guestMegabytes));
  for (let i = 0; i < more; i++) add(small, i >= roomFor(largest));
  if (qemu.length > 0) {
    if (lanes.length > first) lanes[first]!.batches.unshift(...qemu);
    else if (lanes.length < most) add(qemu);
    else lanes[0]!.batches.push(...qemu);
  }
  return lanes;
}
