// Rows 1 and 2: from an EndpointSlice event on the controller's socket to the kernel of the director, in two parts with one clock:
// controller (event sent to it, until its write of the program arrives) and agent (event of the program sent to it, until word comes that
// the kernel has the new real server). What lies between, the API server's own time, is not in them. The stand-in and the controller are
// on the machine, the director with its agent is a guest of its own (director.ts), as in a cluster.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { managementServer } from '../../lab/management.ts';
import { startBed } from './bed.ts';
import { EYE_PORT, NODE, type Look, type Welcome } from './director.ts';
import { endpointsOf, nameOf, PATHS, SHOP, slice } from './workload.ts';
import { OUTSIDE } from './wire.ts';

export interface PipelineSample {
  readonly controllerMs: number;
  readonly agentMs: number;
  /** From the slice event to the kernel, the stand-in's time included. */
  readonly wholeMs: number;
}

export interface PipelineOptions {
  readonly log: (line: string) => void;
  readonly folder: string;
  readonly services: number;
  readonly reals: number;
  readonly changes: number;
  /** Boots the director's guest; resolves when it has ended, which it is made to by the signal. */
  readonly boot: (url: string, signal: AbortSignal) => Promise<unknown>;
  readonly nodeArguments: readonly string[];
}

/** From one change to the next: a prime to every period of the product, so that changes fall on all moments of them. Milliseconds. */
const EVERY_MS = 271;
/** Changes at the beginning that do not count: what was compiled for the loading is not what churn needs. */
const UNCOUNTED = 20;
/** What the agent may still be doing when a change is given up. */
const LOST_MS = 20_000;

export async function pipelineSamples({ log, folder, services, reals, changes, boot, nodeArguments }: PipelineOptions): Promise<{ readonly samples: PipelineSample[]; readonly welcome: Welcome }> {
  let guest: Promise<unknown> = Promise.resolve();
  const failed = new AbortController();
  const bed = await startBed({
    log, folder, name: `pipeline-${services}`, services, reals, elsewhere: [NODE], address: OUTSIDE, nodeArguments,
    onListening: (url) => { guest = boot(url, failed.signal); },
  });
  const samples: PipelineSample[] = [];
  const turns = new Map<number, number>();
  let written = { key: '', at: 0 };
  let told = { key: '', at: 0 };
  bed.api.onWrite = ({ collection, key, at }) => { if (collection === PATHS.VirtualServerProgram && key === written.key && written.at === 0) written = { key, at }; };
  bed.api.onEvent = ({ collection, key }, who) => { if (collection === PATHS.VirtualServerProgram && key === told.key && who.includes(` ${NODE}`)) told = { key, at: performance.now() }; };
  const eye = await openEye();
  try {
    for (let i = 0; i < UNCOUNTED + changes; i++) {
      const started = performance.now();
      const s = Math.floor(((i * 0.618034) % 1) * services);
      const turn = 1 + (turns.get(s) ?? 0) % 15;
      turns.set(s, turn);
      const addresses = endpointsOf(s, reals, turn);
      const key = `${SHOP}/${nameOf(s)}`;
      [written, told] = [{ key, at: 0 }, { key, at: 0 }];
      const before = performance.now();
      bed.put('EndpointSlice', slice(s, addresses));
      const now = await eye.sees({ service: s, address: addresses[0]! });
      if (now === null || told.at === 0) throw new Error(`change ${i} of ${key} never reached the kernel (written ${written.at}, told ${told.at})\n${bed.controller.tail()}`);
      if (i >= UNCOUNTED) samples.push({ controllerMs: written.at - before, agentMs: now - told.at, wholeMs: now - before });
      await sleep(Math.max(20, EVERY_MS - (performance.now() - started)));
    }
    log(`pipeline ${services}: controller ${bed.controller.memory('VmRSS').toFixed(1)} MB, ${bed.controller.cpuSeconds().toFixed(1)} s CPU`);
    return { samples, welcome: eye.welcome };
  } catch (error) {
    // A guest that does not answer would not end by itself.
    failed.abort();
    throw error;
  } finally {
    eye.end();
    await guest;
    await bed.end();
  }
}

interface Eye {
  readonly welcome: Welcome;
  /** Resolves to when word came that the kernel has it; null when it never did. */
  sees(look: Look): Promise<number | null>;
  end(): void;
}

async function openEye(): Promise<Eye> {
  const socket: Socket = connect({ host: managementServer, port: EYE_PORT, noDelay: true });
  await once(socket, 'connect');
  const lines = createInterface({ input: socket });
  const line = async (): Promise<string> => (await once(lines, 'line', { signal: AbortSignal.timeout(LOST_MS) }) as [string])[0];
  const welcome = JSON.parse(await line()) as Welcome;
  return {
    welcome,
    sees: async (look) => {
      socket.write(`${JSON.stringify(look)}\n`);
      try {
        await line();
        return performance.now();
      } catch (error) {
        if (error instanceof Error && error.name === 'AbortError') return null;
        throw error;
      }
    },
    end: () => socket.end(),
  };
}
