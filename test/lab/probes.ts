// The scenario's end of the probes: starts one probe process a host when it is first needed and turns lab.serve, faulty, get,
// hold, stream, big, arp and nd into its operations. The probe itself is probe/main.ts.

import { createInterface } from 'node:readline';
import { join } from 'node:path';
import type { HeldConnections, Lab, StreamReport } from './lab.ts';
import { compiledOnce, inHost, startProcess } from './process.ts';

export type Traffic = Pick<Lab, 'serve' | 'faulty' | 'get' | 'hold' | 'stream' | 'big' | 'arp' | 'nd'>;

interface Probe {
  ask(operation: string, options: object): Promise<unknown>;
}

/** `log` gets one line for each operation with its outcome. Probes end with the scenario, by `killAll`. */
export function createTraffic(log: (line: string) => void): Traffic {
  const probes = new Map<string, Promise<Probe>>();
  const ask = async (host: string, operation: string, options: object): Promise<unknown> => {
    let probe = probes.get(host);
    if (probe === undefined) {
      probe = startProbe(host, log);
      probes.set(host, probe);
    }
    try {
      const result = await (await probe).ask(operation, options);
      log(`${host} ${operation} ${JSON.stringify(options)} -> ${shorten(JSON.stringify(result))}`);
      return result;
    } catch (error) {
      log(`${host} ${operation} ${JSON.stringify(options)} -> ${String(error)}`);
      throw error;
    }
  };

  return {
    serve: async (host, options) => {
      const server = await ask(host, 'serve', { name: host, tcp: [], udp: [], bind: [], ...options });
      return { stop: async () => { await ask(host, 'stopServing', { server }); } };
    },
    faulty: async (host, options) => {
      const server = await ask(host, 'faulty', options);
      return {
        mood: async (mood) => { await ask(host, 'setMood', { server, mood }); },
        asked: async () => await ask(host, 'askedSince', { server }) as number,
      };
    },
    get: async (host, options) => await ask(host, 'get', options) as Awaited<ReturnType<Lab['get']>>,
    hold: async (host, options) => {
      const set = await ask(host, 'hold', options);
      return {
        check: async () => await ask(host, 'checkHeld', { set }) as Awaited<ReturnType<HeldConnections['check']>>,
        close: async () => { await ask(host, 'closeHeld', { set }); },
      };
    },
    stream: async (host, options) => {
      const stream = await ask(host, 'startStream', options);
      return {
        report: async () => await ask(host, 'reportStream', { stream }) as StreamReport,
        stop: async () => await ask(host, 'stopStream', { stream }) as StreamReport,
      };
    },
    big: async (host, options) => await ask(host, 'big', options) as Awaited<ReturnType<Lab['big']>>,
    arp: async (host, address, options = {}) => await ask(host, 'solicit', { address, link: 'e0', waitMs: 500, ...options }) as string[],
    nd: async (host, address, options = {}) => await ask(host, 'solicit', { address, link: 'e0', waitMs: 500, ...options }) as string[],
  };
}

async function startProbe(host: string, log: (line: string) => void): Promise<Probe> {
  const child = startProcess(inHost(host, ['node', join(import.meta.dirname, 'probe/main.ts')]), compiledOnce);
  const waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
  let next = 1;
  let stderr = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => { stderr += text; });
  child.stdin!.on('error', () => {}); // The close event below tells every waiting operation.
  const ready = new Promise<unknown>((resolve, reject) => waiting.set(0, { resolve, reject }));
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const { id, result, error } = JSON.parse(line) as { id: number; result?: unknown; error?: string };
    const waiter = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) waiter?.resolve(result);
    else waiter?.reject(new Error(`${host}: ${error}`));
  });
  child.once('close', (code) => {
    if (stderr !== '') log(`${host} probe: ${stderr}`);
    for (const { reject } of waiting.values()) reject(new Error(`the probe on ${host} ended (${code}): ${stderr}`));
    waiting.clear();
  });
  await ready;
  return {
    ask: (operation, options) => new Promise((resolve, reject) => {
      if (child.exitCode !== null || child.signalCode !== null) {
        reject(new Error(`the probe on ${host} is gone: ${stderr}`));
        return;
      }
      const id = next++;
      waiting.set(id, { resolve, reject });
      child.stdin!.write(`${JSON.stringify({ id, operation, options })}\n`);
    }),
  };
}

function shorten(text: string): string {
  return text.length <= 600 ? text : `${text.slice(0, 600)}... (${text.length} characters)`;
}
