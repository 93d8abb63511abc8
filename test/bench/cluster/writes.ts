// Row 5: what the product writes to the API server, of all kinds, counted where it arrives: while nothing happens, under churn, and
// for one change alone. D directors, S VirtualServers.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab } from '../../lab/lab.ts';
import { startBed } from './bed.ts';
import { LEFT_ALONE_MS, memoryOf, type MemorySample } from './memory.ts';
import type { Write } from './stand-in.ts';
import { endpointsOf, PATHS, slice } from './workload.ts';

export interface WritesSample {
  /** Writes a second with nothing to do, Leases included. */
  readonly idlePerSecond: number;
  /** Writes beyond those, by change. */
  readonly perChange: number;
  readonly perLoneChange: number;
  readonly agents: readonly MemorySample[];
}

export interface WritesOptions {
  readonly services: number;
  readonly reals: number;
  readonly hosts: readonly string[];
  readonly address: string;
  readonly idleMs: number;
  readonly churnMs: number;
}

/** Changes a second. */
const RATE = 20;
/** Services that are rolled out at a time: each has a change a second. An endpoint comes, or goes. */
const AT_ONCE = 20;
/** How long after the last change something may still be written for it: longer than any wait of the product. */
const AFTER_MS = 25_000;

export async function writesSample(lab: Lab, { services, reals, hosts, address, idleMs, churnMs }: WritesOptions): Promise<WritesSample> {
  const bed = await startBed({ log: (line) => lab.log(line), name: 'writes', services, reals, hosts, address });
  try {
    await bed.quiet(AFTER_MS);
    await sleep(Math.max(0, LEFT_ALONE_MS - AFTER_MS));
    const agents = bed.agents.map(memoryOf);
    const kinds = new Map<string, number>();
    let writes: Write[] = [];
    bed.api.onWrite = (write) => { writes.push(write); };
    const counted = (what: string): number => {
      kinds.clear();
      for (const { method, collection, subresource } of writes) {
        const kind = `${method} ${collection.slice(collection.lastIndexOf('/') + 1)}${subresource ? `/${subresource}` : ''}`;
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      }
      lab.log(`${what}: ${JSON.stringify(Object.fromEntries(kinds))}`);
      return writes.filter(({ collection }) => collection !== PATHS.Lease).length;
    };

    writes = [];
    await sleep(idleMs);
    const idleOther = counted(`idle for ${idleMs / 1000} s`);
    const idlePerSecond = writes.length / (idleMs / 1000);
    if (idleOther > 0) lab.log(`not only Leases: ${idleOther}`);

    writes = [];
    const changes = Math.round(churnMs / 1000 * RATE);
    const began = performance.now();
    for (let i = 0; i < changes; i++) {
      const s = i % AT_ONCE;
      const more = Math.floor(i / AT_ONCE) % 2 === 0;
      bed.put('EndpointSlice', slice(s, [...endpointsOf(s, reals), ...(more ? [endpointsOf(s, reals, 1)[0]!] : [])]));
      await sleep(Math.max(0, began + (i + 1) * 1000 / RATE - performance.now()));
    }
    await sleep(AFTER_MS);
    const perChange = counted(`${changes} changes`) / changes;

    writes = [];
    bed.put('EndpointSlice', slice(services - 1, endpointsOf(services - 1, reals, 1)));
    await sleep(AFTER_MS);
    const perLoneChange = counted('one change alone');
    return { idlePerSecond, perChange, perLoneChange, agents };
  } finally {
    await bed.end();
  }
}
