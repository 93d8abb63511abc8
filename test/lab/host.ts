// One host of a topology as scenarios see it: commands, sysctls, tables. Runs inside a guest only.

import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { sysctlFile } from './build.ts';
import type { Host, RunOptions, RunResult } from './lab.ts';
import { inHost, runCommand } from './process.ts';
import { macAddress, type Topology } from './topology.ts';

export interface HostContext {
  readonly topology: Topology;
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
  /** Multiplies every time limit (suite.ts). */
  readonly slowness: number;
  /** Folder of this scenario, in RAM. */
  readonly folder: string;
}

/** Throws when the topology has no host of that name. */
export function createHost(context: HostContext, name: string): Host {
  if (context.topology.hosts[name] === undefined) {
    throw new Error(`topology ${context.topology.name} has no host ${name}; it has ${Object.keys(context.topology.hosts).join(', ')}`);
  }

  const run = async (command: string, options: RunOptions = {}): Promise<RunResult> => {
    const result = await runCommand(inHost(name, ['sh', '-c', command]), { signal: context.signal, ...options, timeoutMs: (options.timeoutMs ?? 120_000) * context.slowness });
    const output = `${result.stdout}${result.stderr}`.trimEnd();
    context.log(`${name}$ ${command}${result.code === 0 ? '' : `   [exit ${result.code}]`}${output === '' ? '' : `\n${indent(output)}`}`);
    return result;
  };

  const sh = async (script: string, options: RunOptions = {}): Promise<string> => {
    const result = await run(script, options);
    if (result.code !== 0) throw new Error(`${name}: exit ${result.code}: ${`${result.stderr}${result.stdout}`.trim()}\nof: ${script}`);
    return result.stdout;
  };

  async function sysctl(path: string): Promise<string | null>;
  async function sysctl(path: string, value: string | number): Promise<void>;
  async function sysctl(path: string, value?: string | number): Promise<string | null | void> {
    const file = sysctlFile(path);
    if (value !== undefined) {
      await sh(`echo '${value}' > ${file}`);
      return;
    }
    const result = await runCommand(inHost(name, ['cat', file]), { signal: context.signal });
    return result.code === 0 ? result.stdout.trim() : null;
  }

  return {
    name,
    run,
    sh,
    sysctl,
    ipvs: () => sh('ipvsadm -Ln'),
    ipvsSave: async () => lines(await sh('ipvsadm -Sn')).sort(),
    addresses: async () => {
      const found = lines((await runCommand(inHost(name, ['ip', '-o', 'addr', 'show']), { signal: context.signal })).stdout);
      return found
        .map((line) => /^\d+: (\S+) +inet6? (\S+)/.exec(line))
        .filter((match) => match !== null && !match[2]!.startsWith('fe80:'))
        .map((match) => `${match![1]} ${match![2]}`);
    },
    flushNeighbours: async () => { await sh('ip neigh flush all; ip -6 neigh flush all'); },
    mac: (link = 'e0') => macAddress(context.topology, name, link),
    path: (file) => {
      const path = join(context.folder, name, file);
      mkdirSync(dirname(path), { recursive: true });
      return path;
    },
  };
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line.trim() !== '').map((line) => line.trimEnd());
}

function indent(text: string): string {
  return text.split('\n').map((line) => `    ${line}`).join('\n');
}
