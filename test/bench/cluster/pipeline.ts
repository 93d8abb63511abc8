// Rows 1 and 2: from an EndpointSlice event on the controller's socket to the kernel of the director, in two parts with one clock:
// controller (event sent to it, until its write of the program arrives) and agent (event of the program sent to it, until the kernel,
// read each millisecond, has the new real server). What lies between, the API server's own time, is not in them.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab } from '../../lab/lab.ts';
import { openIpvs } from '../../../src/kernel/ipvs/client.ts';
import type { Service } from '../../../src/kernel/ipvs/types.ts';
import { busyMeter, startBed, ROOT_NODE } from './bed.ts';
import { endpointsOf, nameOf, PATHS, SHOP, slice, vipOf } from './workload.ts';

export interface PipelineSample {
  readonly controllerMs: number;
  readonly agentMs: number;
  /** From the slice event to the kernel, the stand-in's time included. */
  readonly wholeMs: number;
}

/** From one change to the next: a prime to every period of the product, so that changes fall on all moments of them. Milliseconds. */
const EVERY_MS = 271;
/** What the agent may still be doing when a change is given up. */
const LOST_MS = 20_000;
const POLL_MS = 1;

export async function pipelineSamples(lab: Lab, services: number, reals: number, changes: number, nodeArguments: readonly string[] = []): Promise<PipelineSample[]> {
  const bed = await startBed({ lab, name: `pipeline-${services}`, services, reals, nodeArguments });
  const ipvs = openIpvs();
  const busy = busyMeter();
  const samples: PipelineSample[] = [];
  const turns = new Map<number, number>();
  let written = { key: '', at: 0 };
  let told = { key: '', at: 0 };
  bed.api.onWrite = ({ collection, key, at }) => { if (collection === PATHS.VirtualServerProgram && key === written.key && written.at === 0) written = { key, at }; };
  bed.api.onEvent = ({ collection, key }, who) => { if (collection === PATHS.VirtualServerProgram && key === told.key && who.includes(` ${ROOT_NODE}`)) told = { key, at: performance.now() }; };
  try {
    for (let i = 0; i < changes; i++) {
      const started = performance.now();
      const s = Math.floor(((i * 0.618034) % 1) * services);
      const turn = 1 + (turns.get(s) ?? 0) % 15;
      turns.set(s, turn);
      const addresses = endpointsOf(s, reals, turn);
      const key = `${SHOP}/${nameOf(s)}`;
      [written, told] = [{ key, at: 0 }, { key, at: 0 }];
      const before = performance.now();
      bed.put('EndpointSlice', slice(s, addresses));
      const service: Service = { family: 'IPv4', protocol: 'TCP', address: vipOf(s), port: 80, fwmark: 0, scheduler: 'rr', flags: 0, timeoutSeconds: 0, prefixLength: 32, engine: '' };
      for (;;) {
        await sleep(POLL_MS);
        if (told.at > 0 && has(ipvs.read([service]), addresses[0]!)) break;
        if (performance.now() - before > LOST_MS) throw new Error(`change ${i} of ${key} never reached the kernel (written ${written.at}, told ${told.at})\n${bed.controller.tail()}\n${bed.agents[0]!.tail()}`);
      }
      const now = performance.now();
      samples.push({ controllerMs: written.at - before, agentMs: now - told.at, wholeMs: now - before });
      await sleep(Math.max(20, EVERY_MS - (performance.now() - started)));
    }
    const mine = bed.agents[0]!;
    lab.log(`pipeline ${services}: guest ${(busy() * 100).toFixed(0)} % busy; agent ${mine.memory('VmRSS').toFixed(1)} MB, controller ${bed.controller.memory('VmRSS').toFixed(1)} MB`);
    return samples;
  } finally {
    ipvs.close();
    await bed.end();
  }
}

function has({ services }: ReturnType<ReturnType<typeof openIpvs>['read']>, address: string): boolean {
  for (const { destinations } of services.values()) {
    for (let d = 0; d < destinations.length; d++) if (destinations.get(d).address === address && destinations.weight(d) > 0) return true;
  }
  return false;
}
