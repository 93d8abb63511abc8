// Rows 6 and 7: resident memory of an agent and of a controller, read when everything was written and half a minute more has passed.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab } from '../../lab/lab.ts';
import { startBed, type BedOptions } from './bed.ts';
import type { Product } from './product.ts';

export interface MemorySample {
  /** MB of 10^6 bytes: VmRSS, VmHWM, RssFile. */
  readonly resident: number;
  readonly peak: number;
  readonly files: number;
}

/** From the last write to the reading: several read-backs of everything. */
export const LEFT_ALONE_MS = 35_000;

export function memoryOf(product: Product): MemorySample {
  return { resident: product.memory('VmRSS'), peak: product.memory('VmHWM'), files: product.memory('RssFile') };
}

/** Of each agent of a bed with an agent on each of these hosts. */
export async function agentMemory(lab: Lab, options: Pick<BedOptions, 'services' | 'reals' | 'hosts' | 'address'>): Promise<MemorySample[]> {
  const bed = await startBed({ log: (line) => lab.log(line), name: `agents-${options.services}`, ...options });
  try {
    await sleep(LEFT_ALONE_MS);
    const samples = bed.agents.map(memoryOf);
    lab.log(`memory of agents, ${options.services} x ${options.reals}: ${JSON.stringify(samples.map((s) => Math.round(s.resident * 10) / 10))}, controller ${JSON.stringify(memoryOf(bed.controller))}`);
    return samples;
  } finally {
    await bed.end();
  }
}

export async function controllerMemory(lab: Lab, services: number, reals: number): Promise<MemorySample> {
  const bed = await startBed({ log: (line) => lab.log(line), name: `controller-${services}-${reals}`, services, reals });
  try {
    await sleep(LEFT_ALONE_MS);
    const sample = memoryOf(bed.controller);
    lab.log(`memory of the controller, ${services} x ${reals}: ${JSON.stringify(sample)}`);
    return sample;
  } finally {
    await bed.end();
  }
}
